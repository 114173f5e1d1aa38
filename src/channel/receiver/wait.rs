//! Waiting for values.

use std::sync::Arc;
use std::time::Duration;

use super::Receiver;
use super::state::State;
use crate::channel::Delivery;
use crate::codec::Codec;
use crate::control::{End, Listener, Look, Waiter, word};
use crate::error::RecvError;
use crate::sys::{Deadline, Fault, Ordering, fault};
use crate::tag::Select;

impl<T, C: Codec<T>> Receiver<T, C> {
    /// Waits until a value is ready, the deadline has passed or the senders are gone.
    #[inline]
    pub(super) fn wait(
        &self,
        state: &mut State,
        select: Select,
        deadline: Deadline,
        spin: Duration,
    ) -> Result<Delivery, RecvError> {
        let mut waiter = ReceiverWaiter { receiver: self, state, select, deadline };
        self.control.wait(deadline, spin, &mut waiter)
    }

    /// Refuses to wait once the receiver was closed.
    #[inline]
    pub(super) fn check_open(&self) -> Result<(), RecvError> {
        match self.is_closed() {
            true => Err(RecvError::Closed { channel: self.control.name() }),
            false => Ok(()),
        }
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
            false => {
                event!(INFO, self.control, "the senders are gone");
                self.disconnected()
            }
        }
    }

    /// Whether a sender has left since this was last asked: a hint that lets a call ask the kernel.
    fn take_sender_left(&self) -> bool {
        // Relaxed, and cleared before the look.
        let left = self.control.word(word::SENDER_LEFT);
        left.load(Ordering::Relaxed) != 0 && left.swap(0, Ordering::Relaxed) != 0
    }

    /// Has the next call ask again, which then says the same.
    fn keep_sender_left(&self) {
        self.control.word(word::SENDER_LEFT).swap(1, Ordering::Relaxed);
    }

    /// Whether a call that does not wait has something to receive, or to tell of the channel's end.
    pub(super) fn is_ready_in(&self, state: &mut State) -> Result<bool, RecvError> {
        let control = &*self.control;
        let ask_kernel = self.take_sender_left() || state.sources.is_time_to_ask();
        let mut gone = false;
        if ask_kernel {
            control.poll_removed_now_and_then();
            gone = self.senders_are_gone()?;
            if gone {
                self.keep_sender_left();
            }
        }
        Ok(control.is_removed()
            || state.sources.is_ready(control, ask_kernel)?
            || gone && !state.sources.await_others(control, Select::Any))
    }

    /// Whether senders have come and none is attached now.
    fn senders_are_gone(&self) -> Result<bool, RecvError> {
        if self.local.stays_open || self.control.header.durable || !self.control.senders_came() {
            return Ok(false);
        }
        match self.control.has_sender() {
            Ok(there) => Ok(!there),
            Err(error) => Err(self.control.wait_error(error).into()),
        }
    }
}

/// A receiver that waits for values.
struct ReceiverWaiter<'a, T, C> {
    receiver: &'a Receiver<T, C>,
    state: &'a mut State,
    select: Select,
    deadline: Deadline,
}

impl<T, C: Codec<T>> ReceiverWaiter<'_, T, C> {
    /// Looks for a value, also on the queue whose messages no count announced, if `ask_kernel`.
    #[inline]
    fn next(&mut self, ask_kernel: bool) -> Result<Option<Delivery>, RecvError> {
        self.state.sources.look(&self.receiver.control, self.select, ask_kernel, self.deadline)
    }

    /// Whether another receiver has a value in hand that may come to this one.
    fn awaits_others(&self) -> bool {
        self.state.sources.await_others(&self.receiver.control, self.select)
    }

    /// What ends the wait beside values and the end of the senders.
    fn check_told(&self) -> Result<(), RecvError> {
        match self.receiver.has_holder_changed() || self.receiver.was_nudged() {
            true => Err(RecvError::Timeout { channel: self.receiver.control.name() }),
            false => Ok(()),
        }
    }

    /// Looks a last time where the senders are gone.
    fn look_at_senders(&mut self) -> Result<Option<Delivery>, RecvError> {
        if self.state.looked_at_senders {
            return Ok(None);
        }
        // Looked at before the last look for values, which then finds all there are.
        if self.receiver.senders_are_gone()? {
            let last = if fault(Fault::NoLastLook) { None } else { self.next(true)? };
            if last.is_some() {
                return Ok(last);
            }
            // Looked at again after every wake-up.
            if self.awaits_others() {
                return Ok(None);
            }
            return Err(self.receiver.senders_gone());
        }
        self.state.looked_at_senders = true;
        Ok(None)
    }
}

impl<T, C: Codec<T>> Waiter for ReceiverWaiter<'_, T, C> {
    type Found = Delivery;
    type Error = RecvError;

    #[inline]
    fn end(&self) -> End {
        self.state.sources.lanes.end(&self.receiver.control)
    }

    fn listener(&self) -> Option<Arc<Listener>> {
        self.receiver.listener()
    }

    #[inline]
    fn look(&mut self, when: Look) -> Result<Option<Delivery>, RecvError> {
        match when {
            Look::First => self.next(false),
            Look::Spinning => {
                self.receiver.returns.flush(false);
                let found = self.next(false)?;
                if found.is_none() {
                    self.receiver.check_open()?;
                    self.check_told()?;
                }
                Ok(found)
            }
            Look::Parked => {
                self.receiver.check_open()?;
                self.receiver.returns.flush(true);
                if let Some(delivery) = self.next(true)? {
                    return Ok(Some(delivery));
                }
                self.check_told()?;
                self.look_at_senders()
            }
            Look::Woken => {
                let found = self.next(true)?;
                if found.is_none() && self.receiver.ends_on_any_wakeup() {
                    return Err(RecvError::Timeout { channel: self.receiver.control.name() });
                }
                Ok(found)
            }
        }
    }

    fn poll(&mut self) -> Result<Delivery, RecvError> {
        match self.poll_once() {
            #[cfg(not(loom))]
            Err(RecvError::Empty { .. }) if self.receiver.arm_event()? => {
                // Whatever hints say: what is not seen now has to ring.
                self.state.sources.ask_now();
                let polled = match self.poll_once() {
                    Err(empty @ RecvError::Empty { .. }) => {
                        self.receiver.check_open()?;
                        if self.check_told().is_err() {
                            // The layer above has something to look at, with the next call.
                            self.receiver.set_event();
                        }
                        return Err(empty);
                    }
                    polled => polled,
                };
                self.receiver.set_event();
                polled
            }
            polled => polled,
        }
    }

    fn recheck(&mut self, _timed_out: bool) {
        self.state.looked_at_senders = false;
        self.receiver.sender_may_have_gone.set(true);
    }
}

impl<T, C: Codec<T>> ReceiverWaiter<'_, T, C> {
    fn poll_once(&mut self) -> Result<Delivery, RecvError> {
        let control = &*self.receiver.control;
        if self.receiver.take_sender_left() || self.state.sources.is_time_to_ask() {
            control.poll_removed_now_and_then();
            if control.is_removed() {
                return Err(control.removed().into());
            }
            let gone = self.receiver.senders_are_gone()?;
            if let Some(delivery) = self.next(true)? {
                return Ok(delivery);
            }
            if gone {
                self.receiver.keep_sender_left();
                if !self.awaits_others() {
                    return Err(self.receiver.senders_gone());
                }
            }
        }
        Err(RecvError::Empty { channel: control.name() })
    }
}
