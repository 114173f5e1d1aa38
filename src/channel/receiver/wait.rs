//! Waiting for values.

use std::time::Duration;

use super::Receiver;
use super::state::{State, count};
use crate::channel::Ready;
use crate::channel::inbox::InHand;
use crate::codec::Codec;
use crate::control::{Parked, word};
use crate::error::RecvError;
use crate::ring::Peeked;
use crate::sys::{Deadline, Fault, Ordering, fault};
use crate::tag::Select;

/// Why a receiver stopped looking.
struct Closed;

impl<T, C: Codec<T>> Receiver<T, C> {
    /// The next value of a channel without a queue, if it is a record that comes while this spins;
    /// else `wait` sees to it, and `spin` says how long that is to spin.
    // NB: what follows is `wait` again, for the one case that a busy feed sees, because a `Ready`
    // in a `Result` is handed up through memory, where the processor waits for its parts. So nothing
    // larger than a word goes up here: measured with a plain struct of 48 bytes, 12 ns a value.
    #[inline(always)]
    pub(super) fn next_in_feed<'s>(
        &'s self,
        state: &'s mut State,
        deadline: Deadline,
        spin: &mut Duration,
    ) -> Option<(usize, InHand<'s>)> {
        let control = &*self.control;
        if control.queue.is_some() {
            return None;
        }
        let mut peeked = state.intake.peek(control);
        if peeked == Peeked::Empty && !deadline.is_now() {
            let ends = state.intake.ends(control);
            let seen = control.spin(self.spin, deadline, ends, || {
                // A sender that makes room for the rest of an answer waits for it, and sends
                // nothing before.
                self.returns.look_after(false);
                match state.intake.peek(control) {
                    Peeked::Empty if self.is_closed() => Err(Closed),
                    Peeked::Empty => Ok(None),
                    seen => Ok(Some(seen)),
                }
            });
            if let Ok(Some(seen)) = seen {
                peeked = seen;
            }
        }
        match peeked {
            Peeked::Value => state.intake.in_hand(control),
            // Padding, for one: the value behind it is about to come.
            Peeked::Other => None,
            Peeked::Empty => {
                *spin = Duration::ZERO;
                None
            }
        }
    }

    /// Looks until a value is ready, the deadline has passed or the senders are gone.
    #[inline]
    pub(super) fn wait(
        &self,
        state: &mut State,
        select: Select,
        deadline: Deadline,
        spin: Duration,
    ) -> Result<Ready, RecvError> {
        let control = &*self.control;
        if let Some(ready) = state.intake.look(control, select, false, deadline)? {
            return Ok(ready);
        }
        if deadline.is_now() {
            return self.poll(state, select);
        }
        let spun = control.spin(spin, deadline, state.intake.ends(control), || {
            self.returns.look_after(false);
            let found = state.intake.look(control, select, false, deadline)?;
            if found.is_none() && self.is_closed() {
                return Err(self.disconnected());
            }
            if found.is_none() && self.is_told() {
                return Err(RecvError::Timeout { channel: control.name() });
            }
            Ok(found)
        })?;
        if let Some(ready) = spun {
            return Ok(ready);
        }
        let (mut late, mut parks) = (false, 0);
        loop {
            self.count(word::RECEIVER_PARKS, 1);
            let parked = control.park(control.items_bell(), deadline, parks, || {
                if self.is_closed() {
                    return Err(self.disconnected());
                }
                self.returns.look_after(true);
                if let Some(ready) = state.intake.look(control, select, true, deadline)? {
                    return Ok(Some(ready));
                }
                if self.is_told() {
                    return Err(RecvError::Timeout { channel: control.name() });
                }
                if !state.looked_at_senders {
                    // Looked at before the last look for values, which then finds all there are.
                    if self.senders_are_gone()? {
                        let last = if fault(Fault::NoLastLook) {
                            None
                        } else {
                            state.intake.look(control, select, true, deadline)?
                        };
                        return last.map(Some).ok_or_else(|| self.senders_gone());
                    }
                    state.looked_at_senders = true;
                }
                Ok(None)
            })?;
            match parked {
                Parked::Found(ready) => return Ok(ready),
                Parked::Rung => {}
                Parked::Stirred | Parked::NapOver => state.looked_at_senders = false,
            }
            parks = parks.saturating_add(1);
            self.count(word::RECEIVER_WAKEUPS, 1);
            if let Some(ready) = state.intake.look(control, select, true, deadline)? {
                return Ok(ready);
            }
            // The bell may be rung for nothing, time and again.
            if std::mem::replace(&mut late, deadline.has_passed()) || self.is_attentive() {
                return Err(RecvError::Timeout { channel: control.name() });
            }
        }
    }

    /// What a caller that does not wait is told when nothing was found.
    fn poll(&self, state: &mut State, select: Select) -> Result<Ready, RecvError> {
        let control = &*self.control;
        // Relaxed, and cleared before the look: a hint that lets this call ask the kernel.
        let left = control.word(word::SENDER_LEFT);
        let left = left.load(Ordering::Relaxed) != 0 && left.swap(0, Ordering::Relaxed) != 0;
        if left || state.intake.is_time_to_ask() {
            control.poll_removed_now_and_then();
            if control.is_removed() {
                return Err(control.removed().into());
            }
            let gone = self.senders_are_gone()?;
            let deadline = Deadline::now();
            if let Some(ready) = state.intake.look(control, select, true, deadline)? {
                return Ok(ready);
            }
            if gone {
                // So that the next call asks again, and says the same.
                control.word(word::SENDER_LEFT).swap(1, Ordering::Relaxed);
                return Err(self.senders_gone());
            }
        }
        Err(RecvError::Empty { channel: control.name() })
    }

    #[cold]
    fn disconnected(&self) -> RecvError {
        RecvError::Disconnected { channel: self.control.name() }
    }

    /// What is said where the senders are gone: as of a sender whose receiver is.
    #[cold]
    fn senders_gone(&self) -> RecvError {
        match self.control.was_removed() {
            true => self.control.removed().into(),
            false => self.disconnected(),
        }
    }

    /// Whether senders have come and none is attached now.
    fn senders_are_gone(&self) -> Result<bool, RecvError> {
        if self.stays_open || self.control.header.durable || !self.control.senders_came() {
            return Ok(false);
        }
        match self.control.has_sender() {
            Ok(there) => Ok(!there),
            Err(error) => Err(self.control.slept(error).into()),
        }
    }

    #[inline]
    fn count(&self, at: usize, more: u64) {
        count(&self.control, at, more);
    }
}
