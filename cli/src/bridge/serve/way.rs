//! The way of messages to the `call` that welcomed this bridge.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use zenoh::Wait;
use zenoh::pubsub::Publisher;
use zenoh::qos::{CongestionControl, Priority};

use super::super::calls_wire::{self, Down, DownWhat};
use super::super::link::{Figures, Link};
use super::super::session::refused;
use super::meeting::Welcome;
use crate::failure::Failure;

pub(super) struct Way {
    pub(super) session: u64,
    pub(super) instance: u64,
    /// The longest request that arrives, in bytes.
    pub(super) longest: u64,
    from: u64,
    sending: Mutex<Sending>,
    began: Instant,
    /// The least time there and back that was measured, in microseconds; `u64::MAX` if none was.
    least: AtomicU64,
    figures: Arc<Figures>,
}

struct Sending {
    publisher: Publisher<'static>,
    /// The number of the last message.
    number: u64,
}

impl Way {
    pub(super) fn begin(link: &Link, welcome: &Welcome, from: u64) -> Result<Self, Failure> {
        let key = link.key(format_args!("calls/down/{:016x}", welcome.instance));
        let publisher = link.session.declare_publisher(key);
        let publisher = publisher
            .congestion_control(CongestionControl::Block)
            .priority(Priority::InteractiveHigh)
            .express(true);
        let publisher = publisher.wait().map_err(refused)?;
        Ok(Way {
            session: welcome.session,
            instance: welcome.instance,
            longest: welcome.longest,
            from,
            sending: Mutex::new(Sending { publisher, number: 0 }),
            began: Instant::now(),
            least: AtomicU64::new(u64::MAX),
            figures: link.figures.clone(),
        })
    }

    pub(super) fn send(&self, what: DownWhat) {
        self.send_if(what, Vec::new(), |_| true);
    }

    /// Sends a message, unless `is_sent` says otherwise, which is told the number that it has. What does not arrive is
    /// noticed by what comes after it.
    pub(super) fn send_if(
        &self,
        what: DownWhat,
        bytes: Vec<u8>,
        is_sent: impl FnOnce(u64) -> bool,
    ) {
        let mut sending = self.sending.lock().unwrap_or_else(PoisonError::into_inner);
        let number = sending.number + 1;
        if !is_sent(number) {
            return;
        }
        sending.number = number;
        let down = Down { session: self.session, from: self.from, number, what };
        let _ = sending.publisher.put(calls_wire::encode(&down, bytes)).wait();
    }

    pub(super) fn ping(&self) {
        let stamp = self.began.elapsed().as_micros() as u64;
        self.send(DownWhat::Ping { stamp });
    }

    /// The answer to a ping has come.
    pub(super) fn measure(&self, stamp: u64) {
        let time = (self.began.elapsed().as_micros() as u64).saturating_sub(stamp);
        self.figures.round_trip.store(time.max(1), Ordering::Relaxed);
        self.least.fetch_min(time, Ordering::Relaxed);
    }

    /// How long a message is on its way at least.
    pub(super) fn half_way(&self) -> Duration {
        match self.least.load(Ordering::Relaxed) {
            u64::MAX => Duration::ZERO,
            least => Duration::from_micros(least / 2),
        }
    }
}
