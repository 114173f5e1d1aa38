//! iceoryx2 publish and subscribe: values of fixed size, which are not encoded, so the small struct
//! is plain old data here. Owned bytes are copied into a loan, and out of a sample.
//!
//! A publisher waits for room instead of overwriting. Where others sleep, an event goes with each
//! value, as its examples have it.

use std::hint::black_box;
use std::thread;
use std::time::Duration;

use iceoryx2::port::BackpressureAction;
use iceoryx2::port::listener::Listener;
use iceoryx2::port::notifier::Notifier;
use iceoryx2::port::publisher::Publisher;
use iceoryx2::port::subscriber::Subscriber;
use iceoryx2::prelude::*;
use iceoryx2::sample::Sample;
use sysv_channel::codec::Bytes;

use super::{Rx, Setting, Tx, Way};
use crate::shared_files::{Files, Kind, node};
use crate::values::{Lent, Tick, Value, Wait};
use crate::{Failure, stop};

pub struct Iceoryx;

/// What travels, in place of one of this program's values.
type Slice = [u8];

/// As many as the rings of the others hold of a small struct, or a few large ones.
fn slots(len: usize) -> usize {
    ((1 << 18) / len.max(64)).clamp(4, 4096)
}

pub struct Sending<T: std::fmt::Debug + ZeroCopySend + ?Sized + 'static> {
    port: Publisher<Kind, T, ()>,
    event: Option<Notifier<Kind>>,
    /// Kept for as long as the port.
    _node: Node<Kind>,
}

pub struct Receiving<T: std::fmt::Debug + ZeroCopySend + ?Sized + 'static> {
    port: Subscriber<Kind, T, ()>,
    event: Option<Listener<Kind>>,
    _node: Node<Kind>,
    /// Removed after the ports.
    _files: Option<Files>,
}

impl<T: std::fmt::Debug + ZeroCopySend + ?Sized> Sending<T> {
    fn sent(&self) -> Result<(), Failure> {
        if let Some(event) = &self.event {
            event.notify()?;
        }
        Ok(())
    }
}

/// So long at most without a look whether the run is to end.
const A_WHILE: Duration = Duration::from_secs(1);

macro_rules! service {
    ($node:ident, $name:ident, $setting:ident, $payload:ty) => {
        $node
            .service_builder(&$name.try_into()?)
            .publish_subscribe::<$payload>()
            .max_publishers(1)
            .max_subscribers(1)
            .enable_safe_overflow(false)
            .history_size(0)
            .subscriber_max_buffer_size(slots($setting.len))
            .open_or_create()?
    };
}

macro_rules! event {
    ($node:ident, $name:ident) => {
        $node.service_builder(&$name.try_into()?).event().open_or_create()?
    };
}

/// A way over ports for one kind of payload.
macro_rules! ways {
    ([$($generic:tt)*] $value:ty, $payload:ty) => {
        impl<$($generic)*> Way<$value> for Iceoryx {
            const NAME: &'static str = "iceoryx2";
            type Meeting = (Files, String);
            type Tx = Sending<$payload>;
            type Rx = Receiving<$payload>;

            fn meet(_: Setting) -> Result<(Self::Meeting, String), Failure> {
                let (files, address) = Files::make()?;
                Ok(((files, address.clone()), address))
            }

            fn join(address: &str, setting: Setting) -> Result<(Self::Tx, Self::Rx), Failure> {
                let rx = <Receiving<$payload>>::open(address, "there", setting)?;
                Ok((<Sending<$payload>>::open(address, "back", setting)?, rx))
            }

            fn connect(
                (files, address): Self::Meeting,
                setting: Setting,
            ) -> Result<(Vec<Self::Tx>, Self::Rx), Failure> {
                let mut rx = <Receiving<$payload>>::open(&address, "back", setting)?;
                rx._files = Some(files);
                Ok((vec![<Sending<$payload>>::open(&address, "there", setting)?], rx))
            }
        }
    };
}

macro_rules! ports {
    ($payload:ty, $publisher:ident, $len:ident => $sized:expr) => {
        impl Sending<$payload> {
            fn open(address: &str, name: &str, setting: Setting) -> Result<Self, Failure> {
                let node = node(address)?;
                let service = service!(node, name, setting, $payload);
                let $len = setting.len.max(64);
                let $publisher = service
                    .publisher_builder()
                    .backpressure_strategy(BackpressureStrategy::RetryUntilDelivered)
                    .set_backpressure_handler(|_| match stop::asked() {
                        true => BackpressureAction::DiscardDataAndFail,
                        false => BackpressureAction::Retry,
                    });
                let port = $sized.create()?;
                let event = match setting.wait {
                    Wait::Spin => None,
                    Wait::Block => {
                        let event = event!(node, name);
                        while event.dynamic_config().number_of_listeners() == 0 {
                            thread::yield_now();
                        }
                        Some(event.notifier_builder().create()?)
                    }
                };
                // A value that is sent to nobody would be lost.
                while service.dynamic_config().number_of_subscribers() == 0 {
                    thread::yield_now();
                }
                Ok(Sending { port, event, _node: node })
            }
        }

        impl Receiving<$payload> {
            fn open(address: &str, name: &str, setting: Setting) -> Result<Self, Failure> {
                let node = node(address)?;
                let event = match setting.wait {
                    Wait::Spin => None,
                    Wait::Block => Some(event!(node, name).listener_builder().create()?),
                };
                let service = service!(node, name, setting, $payload);
                let port = service.subscriber_builder().create()?;
                Ok(Receiving { port, event, _node: node, _files: None })
            }

            fn receive(&self) -> Result<Sample<Kind, $payload, ()>, Failure> {
                let Some(event) = &self.event else {
                    return stop::spin(|| Ok(self.port.receive()?));
                };
                loop {
                    if let Some(sample) = self.port.receive()? {
                        return Ok(sample);
                    }
                    // It fails where this process stood still and goes on: then look again.
                    let _ = event.timed_wait_one(A_WHILE);
                    if stop::asked() {
                        return Err("it was asked to stop".into());
                    }
                }
            }
        }
    };
}

ports!(Tick, publisher, _len => publisher);
ports!(Slice, publisher, len => publisher.initial_max_slice_len(len));
ways!([] Tick, Tick);
ways!([] Bytes, Slice);
ways!([const ALL: bool] Lent<ALL>, Slice);

impl Tx<Tick> for Sending<Tick> {
    fn send(&mut self, value: &Tick) -> Result<(), Failure> {
        self.port.loan_uninit()?.write_payload(*value).send()?;
        self.sent()
    }
}

impl Rx<Tick> for Receiving<Tick> {
    fn recv(&mut self) -> Result<u64, Failure> {
        Ok(black_box(*self.receive()?).id())
    }
}

impl Tx<Bytes> for Sending<Slice> {
    fn send(&mut self, value: &Bytes) -> Result<(), Failure> {
        self.port.loan_slice_uninit(value.len())?.write_from_slice(value).send()?;
        self.sent()
    }
}

impl Rx<Bytes> for Receiving<Slice> {
    fn recv(&mut self) -> Result<u64, Failure> {
        let sample = self.receive()?;
        Ok(black_box(Bytes::from(sample.payload())).id())
    }
}

impl<const ALL: bool> Tx<Lent<ALL>> for Sending<Slice> {
    fn send(&mut self, value: &Lent<ALL>) -> Result<(), Failure> {
        let loan = self.port.loan_slice_uninit(value.bytes.len())?;
        // SAFETY: the kernel made the memory zero before it was ever lent, and any bytes will do.
        let mut loan = unsafe { loan.assume_init() };
        value.fill(loan.payload_mut());
        loan.send()?;
        self.sent()
    }
}

impl<const ALL: bool> Rx<Lent<ALL>> for Receiving<Slice> {
    fn recv(&mut self) -> Result<u64, Failure> {
        Ok(Lent::<ALL>::look(self.receive()?.payload()))
    }
}
