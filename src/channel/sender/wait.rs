//! Waiting for room, and for what comes back.

use std::sync::Arc;
use std::time::Duration;

use super::{Sender, State};
use crate::codec::Codec;
use crate::control::{End, Listener, Look, WaitError, Waiter};
use crate::error::SendError;
use crate::sys::{Deadline, Fault, fault};

/// What to do while there is no receiver.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(in crate::channel) enum OnDisconnect {
    /// Stop waiting.
    GiveUp,
    /// Wait for the next one.
    Stay,
}

impl<T, C: Codec<T>> Sender<T, C> {
    /// Looks until there is something, the deadline has passed or the receiver is gone.
    pub(in crate::channel) fn wait<R, E: From<SendError> + From<WaitError>>(
        &self,
        state: &mut State,
        deadline: Deadline,
        spin: Duration,
        look: impl FnMut(&Self, &mut State) -> Result<Option<R>, E>,
    ) -> Result<R, E> {
        self.wait_or_lose(state, deadline, spin, look, |_| Ok(OnDisconnect::GiveUp))
    }

    /// Looks until there is something or the deadline has passed; whenever the receiver is gone,
    /// `lost` says whether that ends it too.
    #[inline]
    pub(in crate::channel) fn wait_or_lose<R, E: From<SendError> + From<WaitError>>(
        &self,
        state: &mut State,
        deadline: Deadline,
        spin: Duration,
        look: impl FnMut(&Self, &mut State) -> Result<Option<R>, E>,
        lost: impl FnMut(&Self) -> Result<OnDisconnect, E>,
    ) -> Result<R, E> {
        let mut waiter = SenderWaiter { sender: self, state, look, lost };
        self.control.wait(deadline, spin, &mut waiter)
    }

    /// Sleeps on this lane's bell until `condition` holds, whichever receivers come and go meanwhile.
    pub(in crate::channel) fn park_until(
        &self,
        deadline: Deadline,
        condition: impl Fn(&Self) -> Result<bool, SendError>,
    ) -> Result<(), SendError> {
        let mut state = self.enter()?;
        let look = |sender: &Self, _: &mut State| Ok(condition(sender)?.then_some(()));
        self.wait_or_lose(&mut state, deadline, Duration::ZERO, look, |_| Ok(OnDisconnect::Stay))
    }

    #[cfg(all(test, loom))]
    pub(in crate::channel) fn has_looked_at_line(&self) {
        self.state.borrow_mut().looked_at_line = true;
    }
}

/// A sender that waits for what `look` finds.
struct SenderWaiter<'a, T, C, F, L> {
    sender: &'a Sender<T, C>,
    state: &'a mut State,
    look: F,
    lost: L,
}

impl<T, C, F, L, R, E> SenderWaiter<'_, T, C, F, L>
where
    C: Codec<T>,
    F: FnMut(&Sender<T, C>, &mut State) -> Result<Option<R>, E>,
    L: FnMut(&Sender<T, C>) -> Result<OnDisconnect, E>,
    E: From<SendError>,
{
    #[inline]
    fn next(&mut self) -> Result<Option<R>, E> {
        (self.look)(self.sender, self.state)
    }

    /// Whether the receiver is gone and that ends the wait.
    fn gives_up(&mut self) -> Result<bool, E> {
        Ok(self.sender.receiver_is_gone()? && (self.lost)(self.sender)? == OnDisconnect::GiveUp)
    }

    /// Looks once more, now that the receiver is gone: it may have answered or made room before.
    fn last_look(&mut self) -> Result<R, E> {
        let found = if fault(Fault::NoLastLook) { None } else { self.next()? };
        found.ok_or_else(|| self.sender.disconnected().into())
    }
}

impl<T, C, F, L, R, E> Waiter for SenderWaiter<'_, T, C, F, L>
where
    C: Codec<T>,
    F: FnMut(&Sender<T, C>, &mut State) -> Result<Option<R>, E>,
    L: FnMut(&Sender<T, C>) -> Result<OnDisconnect, E>,
    E: From<SendError> + From<WaitError>,
{
    type Found = R;
    type Error = E;

    #[inline]
    fn end(&self) -> End {
        self.sender.control.sending_end(self.sender.lane)
    }

    fn listener(&self) -> Option<Arc<Listener>> {
        self.sender.listener.borrow().clone()
    }

    #[inline]
    fn look(&mut self, when: Look) -> Result<Option<R>, E> {
        match when {
            Look::First => self.next(),
            Look::Spinning => {
                let found = self.next()?;
                if found.is_none() {
                    self.sender.check_open()?;
                }
                Ok(found)
            }
            Look::Parked => {
                if let Some(found) = self.next()? {
                    return Ok(Some(found));
                }
                self.sender.check_open()?;
                if !self.state.looked_at_receiver {
                    if self.gives_up()? {
                        return self.last_look().map(Some);
                    }
                    self.state.looked_at_receiver = true;
                }
                Ok(None)
            }
            // A look may be a system call, and the next follows at once.
            Look::Woken => Ok(None),
        }
    }

    fn poll(&mut self) -> Result<R, E> {
        let control = &self.sender.control;
        control.poll_removed_now_and_then();
        if control.is_removed() {
            return Err(control.removed().into());
        }
        if self.gives_up()? {
            return self.last_look();
        }
        Err(SendError::Full { channel: control.name() }.into())
    }

    fn recheck(&mut self, timed_out: bool) {
        (self.state.looked_at_receiver, self.state.looked_at_line) = (false, false);
        self.state.park_timed_out = timed_out;
    }
}
