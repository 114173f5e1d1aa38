//! Waiting for room, and for what comes back.

use std::time::Duration;

use super::{Sender, State};
use crate::codec::Codec;
use crate::control::{Parked, Slept, lane_word};
use crate::error::SendError;
use crate::sys::{Deadline, Fault, fault};

/// What to do while there is no receiver.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(in crate::channel) enum Lost {
    /// Stop waiting.
    GiveUp,
    /// Wait for the next one.
    Stay,
}

impl<T, C: Codec<T>> Sender<T, C> {
    /// Looks until there is something, the deadline has passed or the receiver is gone.
    pub(in crate::channel) fn wait<R, E: From<SendError> + From<Slept>>(
        &self,
        state: &mut State,
        deadline: Deadline,
        spin: Duration,
        look: impl FnMut(&Self, &mut State) -> Result<Option<R>, E>,
    ) -> Result<R, E> {
        self.wait_or_lose(state, deadline, spin, look, |_| Ok(Lost::GiveUp))
    }

    /// Looks until there is something or the deadline has passed; whenever the receiver is gone,
    /// `lost` says whether that ends it too.
    pub(in crate::channel) fn wait_or_lose<R, E: From<SendError> + From<Slept>>(
        &self,
        state: &mut State,
        deadline: Deadline,
        spin: Duration,
        mut look: impl FnMut(&Self, &mut State) -> Result<Option<R>, E>,
        mut lost: impl FnMut(&Self) -> Result<Lost, E>,
    ) -> Result<R, E> {
        if let Some(found) = look(self, state)? {
            return Ok(found);
        }
        if deadline.is_now() {
            self.control.poll_removed_now_and_then();
            if self.control.is_removed() {
                return Err(self.control.removed().into());
            }
            if !self.receiver_is_gone()? || lost(self)? == Lost::Stay {
                return Err(SendError::Full { channel: self.control.name() }.into());
            }
            return self.last_look(state, look);
        }
        let ends = self.control.sending_end(self.lane);
        if let Some(found) = self.control.spin(spin, deadline, ends, || look(self, state))? {
            return Ok(found);
        }
        let (mut late, mut parks) = (false, 0);
        loop {
            self.count(lane_word::PARKS, 1);
            let parked = self.control.park(self.bell, deadline, parks, || {
                if let Some(found) = look(self, state)? {
                    return Ok(Some(found));
                }
                if !state.looked_at_receiver {
                    if self.receiver_is_gone()? && lost(self)? == Lost::GiveUp {
                        return self.last_look(state, &mut look).map(Some);
                    }
                    state.looked_at_receiver = true;
                }
                Ok(None)
            })?;
            match parked {
                Parked::Found(found) => return Ok(found),
                Parked::Rung => {}
                Parked::Stirred | Parked::NapOver => {
                    (state.looked_at_receiver, state.looked_at_line) = (false, false);
                    state.nap_over = matches!(parked, Parked::NapOver);
                }
            }
            parks = parks.saturating_add(1);
            self.count(lane_word::WAKEUPS, 1);
            // The bell may be rung for nothing, time and again.
            if std::mem::replace(&mut late, deadline.has_passed()) {
                return Err(E::from(Slept::Timeout { channel: self.control.name() }));
            }
        }
    }

    /// Sleeps on this lane's bell until `condition` holds, whichever receivers come and go meanwhile.
    pub(in crate::channel) fn park_until(
        &self,
        deadline: Deadline,
        condition: impl Fn(&Self) -> Result<bool, SendError>,
    ) -> Result<(), SendError> {
        let mut state = self.enter()?;
        let look = |sender: &Self, _: &mut State| Ok(condition(sender)?.then_some(()));
        self.wait_or_lose(&mut state, deadline, Duration::ZERO, look, |_| Ok(Lost::Stay))
    }

    #[cfg(all(test, loom))]
    pub(in crate::channel) fn has_looked_at_line(&self) {
        self.state.borrow_mut().looked_at_line = true;
    }

    /// Looks once more, now that the receiver is gone: it may have answered or made room before.
    fn last_look<R, E: From<SendError>>(
        &self,
        state: &mut State,
        mut look: impl FnMut(&Self, &mut State) -> Result<Option<R>, E>,
    ) -> Result<R, E> {
        let found = if fault(Fault::NoLastLook) { None } else { look(self, state)? };
        found.ok_or_else(|| self.disconnected().into())
    }
}
