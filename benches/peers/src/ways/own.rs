//! This crate's channels, and its bare queue.

use std::time::Duration;

use sysv_channel::codec::{Bincode, Bytes, Codec, Pod, Raw};
use sysv_channel::{Channel, Options, Queue, Receiver, Sender, TrustedPeers};

use super::{Rx, Setting, Tx, Way};
use crate::Failure;
use crate::process::unused_name;
use crate::stop::{self, spin};
use crate::values::{Lent, Order, Tick, Value, Wait};

pub struct Ring;
/// The same, with rings of so many KiB.
pub struct RingOf<const KIB: usize>;
pub struct Mixed;
pub struct BareQueue;

/// What this crate carries as it is, with the codec that suits it.
pub trait Own: Value {
    type Codec: Codec<Self>;
}

impl Own for Order {
    type Codec = Bincode;
}

impl Own for Tick {
    type Codec = Pod;
}

impl Own for Bytes {
    type Codec = Raw;
}

/// Longer than anything here takes.
const ALWAYS: Duration = Duration::from_secs(3600);
const DEFAULT_INLINE_LIMIT: usize = 1024;
const RING_ONLY: usize = 0;

fn options<T, C: Codec<T>>(inline: usize, setting: Setting) -> Options<T, C> {
    let options = Channel::<T, C>::options().lanes(setting.senders).inline_limit(inline);
    match setting.wait {
        Wait::Spin => options.spin(ALWAYS),
        // By default it looks for the time that waking somebody takes, which on one core keeps
        // the other side from running.
        Wait::Block if setting.one_core => options.spin(Duration::ZERO),
        Wait::Block => options,
    }
}

type Met<T, C> = (Vec<Sender<T, C>>, Receiver<T, C>);
type Joined<T, C> = (Sender<T, C>, Receiver<T, C>);

fn meet<T, C: Codec<T>>(
    options: impl Fn(Setting) -> Options<T, C>,
    setting: Setting,
) -> Result<(Met<T, C>, String), Failure> {
    let name = unused_name();
    let there = options(setting).create(format!("{name} there"))?;
    let txs = (0..setting.senders).map(|_| there.sender()).collect::<Result<_, _>>()?;
    let back = options(Setting { senders: 1, ..setting }).create(format!("{name} back"))?;
    Ok(((txs, back.receiver()?), name))
}

fn join<T, C: Codec<T>>(options: Options<T, C>, name: &str) -> Result<Joined<T, C>, Failure> {
    let rx = options.open(format!("{name} there"))?.receiver()?;
    Ok((options.open(format!("{name} back"))?.sender()?, rx))
}

/// A way over channels whose options are given by the setting.
macro_rules! way {
    ([$($generic:tt)*] $way:ty, $value:ty, $sent:ty, $codec:ty, $name:literal, $options:expr) => {
        impl<$($generic)*> Way<$value> for $way {
            const NAME: &'static str = $name;
            type Meeting = Met<$sent, $codec>;
            type Tx = Sender<$sent, $codec>;
            type Rx = Receiver<$sent, $codec>;

            fn meet(setting: Setting) -> Result<(Self::Meeting, String), Failure> {
                meet($options, setting)
            }

            fn join(address: &str, setting: Setting) -> Result<(Self::Tx, Self::Rx), Failure> {
                join($options(setting), address)
            }

            fn connect(met: Self::Meeting, _: Setting) -> Result<Self::Meeting, Failure> {
                Ok(met)
            }
        }
    };
}

way!([V: Own] Ring, V, V, V::Codec, "ring only", |setting: Setting| options(RING_ONLY, setting));

way!([const KIB: usize] RingOf<KIB>, Bytes, Bytes, Raw, "ring only", |setting: Setting| {
    options(RING_ONLY, setting).capacity(KIB << 10)
});

way!([V: Own] Mixed, V, V, V::Codec, "mixed", |setting: Setting| options(
    DEFAULT_INLINE_LIMIT,
    setting
));

// In one piece, at most half the ring. Of long ones four, so that both sides have something to do.
way!([const ALL: bool] Ring, Lent<ALL>, Bytes, Raw, "ring only", |setting: Setting| {
    // SAFETY: only this program opens the channel, by a name of its own.
    let trust = unsafe { TrustedPeers::promise() };
    let options = options(RING_ONLY, setting).in_place(trust);
    if setting.len > 1 << 20 { options.capacity(setting.len * 4) } else { options }
});

impl<V: Value, C: Codec<V>> Tx<V> for Sender<V, C> {
    #[inline]
    fn send(&mut self, value: &V) -> Result<(), Failure> {
        Ok(Sender::send(self, value)?)
    }
}

impl<V: Value, C: Codec<V>> Rx<V> for Receiver<V, C> {
    #[inline]
    fn recv(&mut self) -> Result<u64, Failure> {
        Ok(std::hint::black_box(Receiver::recv(self)?).id())
    }
}

impl<const ALL: bool> Tx<Lent<ALL>> for Sender<Bytes, Raw> {
    fn send(&mut self, value: &Lent<ALL>) -> Result<(), Failure> {
        Ok(self.send_with(value.bytes.len(), |memory| value.fill(memory))?)
    }
}

impl<const ALL: bool> Rx<Lent<ALL>> for Receiver<Bytes, Raw> {
    fn recv(&mut self) -> Result<u64, Failure> {
        Ok(Lent::<ALL>::look(self.recv_in_place()?.bytes()))
    }
}

// ------------------------------------------------------------------ the bare queue

/// A queue that goes with its maker.
pub struct Line<V, C> {
    queue: Queue<V, C>,
    wait: Wait,
    made: bool,
}

impl<V, C> Drop for Line<V, C> {
    fn drop(&mut self) {
        if self.made {
            stop::forget_queue(self.queue.id());
            let _ = self.queue.remove();
        }
    }
}

impl<V: Own> Way<V> for BareQueue {
    const NAME: &'static str = "bare Queue";
    type Meeting = (Vec<Self::Tx>, Self::Rx);
    type Tx = Line<V, V::Codec>;
    type Rx = Line<V, V::Codec>;

    fn meet(setting: Setting) -> Result<(Self::Meeting, String), Failure> {
        let name = unused_name();
        let make = |which| -> Result<_, Failure> {
            let queue = Queue::create(format!("{name} {which}"))?;
            stop::adopt_queue(queue.id());
            Ok(Line { queue, wait: setting.wait, made: true })
        };
        Ok(((vec![make("there")?], make("back")?), name))
    }

    fn join(address: &str, setting: Setting) -> Result<(Self::Tx, Self::Rx), Failure> {
        let open = |which| -> Result<_, Failure> {
            let queue = Queue::open(format!("{address} {which}"))?;
            Ok(Line { queue, wait: setting.wait, made: false })
        };
        Ok((open("back")?, open("there")?))
    }

    fn connect(met: Self::Meeting, _: Setting) -> Result<Self::Meeting, Failure> {
        Ok(met)
    }
}

impl<V: Value, C: Codec<V>> Tx<V> for Line<V, C> {
    fn send(&mut self, value: &V) -> Result<(), Failure> {
        Ok(self.queue.send(value)?)
    }
}

impl<V: Value, C: Codec<V>> Rx<V> for Line<V, C> {
    fn recv(&mut self) -> Result<u64, Failure> {
        let value = match self.wait {
            Wait::Block => self.queue.recv()?,
            Wait::Spin => spin(|| match self.queue.try_recv() {
                Err(error) if error.is_empty() => Ok(None),
                received => Ok(Some(received?)),
            })?,
        };
        Ok(value.id())
    }
}
