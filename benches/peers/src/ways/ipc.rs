//! ipc-channel: typed channels, its channel for bytes as they are, and its shared memory.

use std::hint::black_box;

use ipc_channel::TryRecvError;
use ipc_channel::ipc::{
    self, IpcBytesReceiver, IpcBytesSender, IpcOneShotServer, IpcReceiver, IpcSender,
    IpcSharedMemory,
};
use serde::{Deserialize, Serialize};
use sysv_channel::codec::Bytes;

use super::{Rx, Setting, Tx, Way};
use crate::Failure;
use crate::stop::spin;
use crate::values::{Lent, Small, Value, Wait};

pub struct IpcChannel;

pub struct Receiving<R> {
    rx: R,
    wait: Wait,
}

impl<R> Receiving<R> {
    fn recv<T, E: Into<Failure>>(
        &self,
        recv: impl Fn(&R) -> Result<T, E>,
        try_recv: impl Fn(&R) -> Result<T, TryRecvError>,
    ) -> Result<T, Failure> {
        match self.wait {
            Wait::Block => recv(&self.rx).map_err(Into::into),
            Wait::Spin => spin(|| match try_recv(&self.rx) {
                Err(TryRecvError::Empty) => Ok(None),
                Err(TryRecvError::IpcError(error)) => Err(error.into()),
                Ok(value) => Ok(Some(value)),
            }),
        }
    }
}

/// What the other side sends first: this side's ends.
type Ends<T, R> = (T, R);

fn join<T, R>(
    address: &str,
    channel: impl Fn() -> Result<(T, R), Failure>,
) -> Result<(T, R), Failure>
where
    T: Serialize + for<'de> Deserialize<'de>,
    R: Serialize + for<'de> Deserialize<'de>,
{
    let ((there, rx), (tx, back)) = (channel()?, channel()?);
    IpcSender::<Ends<T, R>>::connect(address.to_owned())?.send((there, back))?;
    Ok((tx, rx))
}

/// A way over one of its kinds of channels.
macro_rules! way {
    ([$($generic:tt)*] $value:ty, $tx:ty, $rx:ty, $channel:expr) => {
        impl<$($generic)*> Way<$value> for IpcChannel {
            const NAME: &'static str = "ipc-channel";
            type Meeting = IpcOneShotServer<Ends<$tx, $rx>>;
            type Tx = $tx;
            type Rx = Receiving<$rx>;

            fn meet(_: Setting) -> Result<(Self::Meeting, String), Failure> {
                Ok(IpcOneShotServer::new()?)
            }

            fn join(address: &str, setting: Setting) -> Result<(Self::Tx, Self::Rx), Failure> {
                let (tx, rx) = join(address, || Ok($channel?))?;
                Ok((tx, Receiving { rx, wait: setting.wait }))
            }

            fn connect(
                meeting: Self::Meeting,
                setting: Setting,
            ) -> Result<(Vec<Self::Tx>, Self::Rx), Failure> {
                let (_, (tx, rx)) = meeting.accept()?;
                Ok((vec![tx; setting.senders], Receiving { rx, wait: setting.wait }))
            }
        }
    };
}

way!([V: Small] V, IpcSender<V>, IpcReceiver<V>, ipc::channel());
way!([] Bytes, IpcBytesSender, IpcBytesReceiver, ipc::bytes_channel());
// It makes a region for each, and copies in.
way!(
    [] Lent<true>,
    IpcSender<IpcSharedMemory>,
    IpcReceiver<IpcSharedMemory>,
    ipc::channel()
);

impl<V: Small> Tx<V> for IpcSender<V> {
    fn send(&mut self, value: &V) -> Result<(), Failure> {
        Ok(IpcSender::send(self, value.clone())?)
    }
}

impl<V: Small> Rx<V> for Receiving<IpcReceiver<V>> {
    fn recv(&mut self) -> Result<u64, Failure> {
        Ok(black_box(Receiving::recv(self, IpcReceiver::recv, IpcReceiver::try_recv)?).id())
    }
}

impl Tx<Bytes> for IpcBytesSender {
    fn send(&mut self, value: &Bytes) -> Result<(), Failure> {
        Ok(IpcBytesSender::send(self, value)?)
    }
}

impl Rx<Bytes> for Receiving<IpcBytesReceiver> {
    fn recv(&mut self) -> Result<u64, Failure> {
        let bytes = Receiving::recv(self, IpcBytesReceiver::recv, IpcBytesReceiver::try_recv)?;
        Ok(Bytes::from(black_box(bytes)).id())
    }
}

impl Tx<Lent<true>> for IpcSender<IpcSharedMemory> {
    fn send(&mut self, value: &Lent<true>) -> Result<(), Failure> {
        Ok(IpcSender::send(self, IpcSharedMemory::from_bytes(&value.bytes))?)
    }
}

impl Rx<Lent<true>> for Receiving<IpcReceiver<IpcSharedMemory>> {
    fn recv(&mut self) -> Result<u64, Failure> {
        let memory = Receiving::recv(self, IpcReceiver::recv, IpcReceiver::try_recv)?;
        Ok(Lent::<true>::look(&memory))
    }
}
