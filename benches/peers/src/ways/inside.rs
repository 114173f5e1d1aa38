//! Channels within one process: rtrb and crossbeam-channel, whose values are moved, not encoded.

use std::hint::black_box;

use super::{Inside, Rx, Setting, Tx};
use crate::Failure;
use crate::stop::spin;
use crate::values::{Value, Wait};

/// As many as the rings of the others hold of a small struct.
const SLOTS: usize = 4096;

pub struct Rtrb;

impl<V: Value> Inside<V> for Rtrb {
    const NAME: &'static str = "rtrb, in process";
    type Tx = rtrb::Producer<V>;
    type Rx = rtrb::Consumer<V>;

    fn channel(_: Setting) -> (Vec<Self::Tx>, Self::Rx) {
        let (tx, rx) = rtrb::RingBuffer::new(SLOTS);
        (vec![tx], rx)
    }
}

impl<V: Value> Tx<V> for rtrb::Producer<V> {
    #[inline]
    fn send(&mut self, value: &V) -> Result<(), Failure> {
        let mut value = Some(value.clone());
        spin(|| {
            let Some(next) = value.take() else { return Err("it was sent".into()) };
            match self.push(next) {
                Ok(()) => Ok(Some(())),
                Err(rtrb::PushError::Full(back)) if self.is_abandoned() => {
                    drop(back);
                    Err("the receiver is gone".into())
                }
                Err(rtrb::PushError::Full(back)) => {
                    value = Some(back);
                    Ok(None)
                }
            }
        })
    }
}

impl<V: Value> Rx<V> for rtrb::Consumer<V> {
    #[inline]
    fn recv(&mut self) -> Result<u64, Failure> {
        spin(|| match self.pop() {
            Ok(value) => Ok(Some(black_box(value).id())),
            Err(_) if self.is_abandoned() && self.is_empty() => Err("the sender is gone".into()),
            Err(_) => Ok(None),
        })
    }
}

pub struct Crossbeam;

pub struct Receiving<V> {
    rx: crossbeam_channel::Receiver<V>,
    wait: Wait,
}

impl<V: Value> Inside<V> for Crossbeam {
    const NAME: &'static str = "crossbeam, in process";
    type Tx = crossbeam_channel::Sender<V>;
    type Rx = Receiving<V>;

    fn channel(Setting { senders, wait, .. }: Setting) -> (Vec<Self::Tx>, Self::Rx) {
        let (tx, rx) = crossbeam_channel::bounded(SLOTS);
        (vec![tx; senders], Receiving { rx, wait })
    }
}

impl<V: Value> Tx<V> for crossbeam_channel::Sender<V> {
    fn send(&mut self, value: &V) -> Result<(), Failure> {
        Ok(crossbeam_channel::Sender::send(self, value.clone()).map_err(|_| "it is gone")?)
    }
}

impl<V: Value> Rx<V> for Receiving<V> {
    fn recv(&mut self) -> Result<u64, Failure> {
        let value = match self.wait {
            Wait::Block => self.rx.recv()?,
            Wait::Spin => spin(|| match self.rx.try_recv() {
                Err(error) if error.is_empty() => Ok(None),
                received => Ok(Some(received?)),
            })?,
        };
        Ok(black_box(value).id())
    }
}
