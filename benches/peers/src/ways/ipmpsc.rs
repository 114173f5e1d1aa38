//! ipmpsc: a ring in a mapped file, with a lock and a condition variable.

use std::hint::black_box;
use std::time::Duration;

use ipmpsc::{Receiver, Sender, SharedRingBuffer};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;
use sysv_channel::codec::Bytes;

use super::{Rx, Setting, Tx, Way};
use crate::values::{Lent, Small, Value, Wait};
use crate::{Failure, stop};

pub struct Ipmpsc;

pub struct Receiving {
    rx: Receiver,
    wait: Wait,
}

/// A pause to look whether the run is to end.
const A_WHILE: Duration = Duration::from_secs(1);

/// Calls what waits for a while, until it has what it waits for.
fn in_the_end<T>(call: impl Fn() -> Result<Option<T>, ipmpsc::Error>) -> Result<T, Failure> {
    loop {
        if let Some(done) = call()? {
            return Ok(done);
        }
        if stop::asked() {
            return Err("it was asked to stop".into());
        }
    }
}

fn put(tx: &Sender, value: &impl Serialize) -> Result<(), Failure> {
    in_the_end(|| Ok(tx.send_timeout(value, A_WHILE)?.then_some(())))
}

fn take<T: for<'de> Deserialize<'de>>(from: &Receiving) -> Result<T, Failure> {
    match from.wait {
        Wait::Block => in_the_end(|| from.rx.recv_timeout(A_WHILE)),
        Wait::Spin => stop::spin(|| Ok(from.rx.try_recv()?)),
    }
}

impl<V: Value> Way<V> for Ipmpsc
where
    Sender: Tx<V>,
    Receiving: Rx<V>,
{
    const NAME: &'static str = "ipmpsc";
    type Meeting = [SharedRingBuffer; 2];
    type Tx = Sender;
    type Rx = Receiving;

    fn meet(setting: Setting) -> Result<(Self::Meeting, String), Failure> {
        let size = u32::try_from((setting.len * 4).max(1 << 20) + 4096)?;
        let (there_path, there) = SharedRingBuffer::create_temp(size)?;
        let (back_path, back) = SharedRingBuffer::create_temp(1 << 20)?;
        Ok(([there, back], format!("{there_path}\n{back_path}")))
    }

    fn join(address: &str, Setting { wait, .. }: Setting) -> Result<(Sender, Receiving), Failure> {
        let (there, back) = address.split_once('\n').ok_or("that is no address")?;
        let rx = Receiver::new(SharedRingBuffer::open(there)?);
        Ok((Sender::new(SharedRingBuffer::open(back)?), Receiving { rx, wait }))
    }

    fn connect(
        [there, back]: Self::Meeting,
        Setting { wait, senders, .. }: Setting,
    ) -> Result<(Vec<Sender>, Receiving), Failure> {
        let txs = (0..senders).map(|_| Sender::new(there.clone())).collect();
        Ok((txs, Receiving { rx: Receiver::new(back), wait }))
    }
}

impl<V: Small> Tx<V> for Sender {
    fn send(&mut self, value: &V) -> Result<(), Failure> {
        put(self, value)
    }
}

impl<V: Small> Rx<V> for Receiving {
    fn recv(&mut self) -> Result<u64, Failure> {
        Ok(black_box(take::<V>(self)?).id())
    }
}

impl Tx<Bytes> for Sender {
    fn send(&mut self, value: &Bytes) -> Result<(), Failure> {
        put(self, &serde_bytes::Bytes::new(value))
    }
}

impl Rx<Bytes> for Receiving {
    fn recv(&mut self) -> Result<u64, Failure> {
        Ok(Bytes::from(black_box(take::<ByteBuf>(self)?).into_vec()).id())
    }
}

/// It lends a receiver the ring's memory; a sender copies in.
impl Tx<Lent<true>> for Sender {
    fn send(&mut self, value: &Lent<true>) -> Result<(), Failure> {
        put(self, &serde_bytes::Bytes::new(&value.bytes))
    }
}

impl Rx<Lent<true>> for Receiving {
    fn recv(&mut self) -> Result<u64, Failure> {
        stop::spin(|| {
            let mut lending = self.rx.zero_copy_context();
            Ok(lending.try_recv::<&[u8]>()?.map(Lent::<true>::look))
        })
    }
}
