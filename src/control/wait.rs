//! Waiting, for both ends of a channel: look, spin, sleep at the doorbell, look again.

use std::sync::Arc;
use std::time::Duration;

use super::doorbell::Parked;
use super::{Control, Doorbell, Listener, Registrant, WaitError, lane_word, semaphores, word};
use crate::sys::{self, Deadline, Ordering};

/// How many times a spinning side looks around before it asks the kernel whether its bell was rung:
/// about a millisecond.
const ROUNDS_UNASKED: u64 = 512;

/// One end that waits: its bell, its figures, and where the two ends say which processor they last
/// waited on.
#[derive(Clone, Copy)]
pub(crate) struct End {
    bell: Doorbell,
    parks: usize,
    wakeups: usize,
    mine: usize,
    other: usize,
}

/// When a [`Waiter`] looks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Look {
    /// Before anything else.
    First,
    /// Between two looks that follow at once.
    Spinning,
    /// When it has said that it sleeps: what it misses now has to ring.
    Parked,
    /// After it was woken, before it sleeps again.
    Woken,
}

/// What an end waits for.
pub(crate) trait Waiter {
    type Found;
    type Error: From<WaitError>;

    /// Which end waits.
    fn end(&self) -> End;

    /// What sleeps at the end's bell in its place, if something does.
    fn listener(&self) -> Option<Arc<Listener>> {
        None
    }

    /// Looks for it, without waiting.
    fn look(&mut self, when: Look) -> Result<Option<Self::Found>, Self::Error>;

    /// Called instead of waiting where the first look found nothing and the call does not wait.
    /// Says why there is nothing (empty or full, the peer gone, the channel removed), or returns
    /// what a last look found.
    fn poll(&mut self) -> Result<Self::Found, Self::Error>;

    /// Learns that a wake-up was perhaps made by no peer, or that a park timed out: what is known of
    /// the peers has to be asked again.
    fn recheck(&mut self, _timed_out: bool) {}
}

impl Control {
    /// The receiver at this place, which waits for the sender on `lane`.
    #[inline]
    pub(crate) fn receiving_end(&self, place: usize, lane: usize) -> End {
        let words = self.layout().receiver(place);
        End {
            bell: self.receiver_bell(place),
            parks: words.parks,
            wakeups: words.wakeups,
            mine: words.processor,
            other: self.layout().lane(lane) + lane_word::PROCESSOR,
        }
    }

    /// The sender on `lane`, which waits for the receiver.
    #[inline]
    pub(crate) fn sending_end(&self, lane: usize) -> End {
        let block = self.layout().lane(lane);
        End {
            bell: self.lane_bell(lane),
            parks: block + lane_word::PARKS,
            wakeups: block + lane_word::WAKEUPS,
            mine: block + lane_word::PROCESSOR,
            other: word::RECEIVER_PROCESSOR,
        }
    }

    /// Adds to a figure that one party alone writes.
    #[inline]
    pub(crate) fn count(&self, at: usize, more: u64) -> u64 {
        let word = self.word(at);
        let sum = word.load(Ordering::Relaxed).wrapping_add(more);
        word.store(sum, Ordering::Relaxed);
        sum
    }

    /// Registrant until a look finds something, at most until the deadline; spins for `spin` before it sleeps.
    #[inline]
    pub(crate) fn wait<W: Waiter>(
        &self,
        deadline: Deadline,
        spin: Duration,
        waiter: &mut W,
    ) -> Result<W::Found, W::Error> {
        if let Some(found) = waiter.look(Look::First)? {
            return Ok(found);
        }
        if deadline.is_now() {
            return waiter.poll();
        }
        let end = waiter.end();
        if let Some(found) = self.spin(spin, deadline, end, || waiter.look(Look::Spinning))? {
            return Ok(found);
        }
        let listener = waiter.listener();
        let found = self.wait_parked(deadline, end, listener.as_deref(), waiter);
        if let Some(listener) = listener {
            listener.end_wait(Registrant::Thread);
        }
        found
    }

    fn wait_parked<W: Waiter>(
        &self,
        deadline: Deadline,
        end: End,
        listener: Option<&Listener>,
        waiter: &mut W,
    ) -> Result<W::Found, W::Error> {
        let (mut late, mut parks) = (false, 0);
        span!(self, "wait");
        loop {
            self.count(end.parks, 1);
            event!(TRACE, self, bell = end.bell.bell, "goes to sleep");
            let look = || waiter.look(Look::Parked);
            let parked = self.park(end.bell, listener, deadline, parks, look)?;
            parks = parks.saturating_add(1);
            if let Parked::Found(found) = parked {
                return Ok(found);
            }
            self.count(end.wakeups, 1);
            event!(
                TRACE,
                self,
                bell = end.bell.bell,
                rung = matches!(parked, Parked::Rung),
                "woke up"
            );
            if !matches!(parked, Parked::Rung) {
                waiter.recheck(matches!(parked, Parked::Elapsed));
            }
            if let Some(found) = waiter.look(Look::Woken)? {
                return Ok(found);
            }
            // The bell may be rung for nothing, time and again.
            if std::mem::replace(&mut late, deadline.has_passed()) {
                return Err(WaitError::Timeout { channel: self.name() }.into());
            }
        }
    }

    /// Looks until there is something, `spin` or the deadline is over, the other end turns out to
    /// wait for this very processor, or the bell was rung, as the kernel does for the dead.
    #[inline]
    pub(crate) fn spin<R, E>(
        &self,
        spin: Duration,
        deadline: Deadline,
        end: End,
        mut look: impl FnMut() -> Result<Option<R>, E>,
    ) -> Result<Option<R>, E> {
        let spin = sys::spin_budget(deadline.remaining().map_or(spin, |left| left.min(spin)));
        if spin.is_zero() {
            return Ok(None);
        }
        let until = Deadline::after(spin);
        // What is on its way is seen before anything else is asked.
        let mut looks = 8;
        for round in 1_u64.. {
            for _ in 0..looks {
                if let Some(found) = look()? {
                    return Ok(Some(found));
                }
                sys::spin_hint();
            }
            let ask = round % ROUNDS_UNASKED == 0;
            if self.share_processor(end)
                || until.has_passed()
                || ask && self.was_rung(end.bell.bell)
            {
                break;
            }
            if ask {
                self.poll_removed_now_and_then();
                if self.is_removed() {
                    break;
                }
            }
            looks = 64;
        }
        Ok(None)
    }

    /// Whether a bell was rung, or is gone.
    fn was_rung(&self, bell: u16) -> bool {
        !matches!(semaphores::is_zero(self.set, bell), Ok(true))
    }

    /// Whether both ends last waited on the processor that this one runs on: then the other cannot
    /// do what is waited for before this one sleeps.
    ///
    /// A hint: either may have moved since. Measured with two processes on one processor, a call and
    /// its reply: 53 microseconds without, 12 with.
    fn share_processor(&self, end: End) -> bool {
        let Some(here) = sys::current_processor() else { return false };
        let said = self.word(end.mine);
        if said.load(Ordering::Relaxed) != here {
            said.store(here, Ordering::Relaxed);
        }
        self.word(end.other).load(Ordering::Relaxed) == here
    }
}
