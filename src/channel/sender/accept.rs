//! Waiting for what comes back: see `replies`.

use super::wait::OnDisconnect;
use super::{Sender, State};
use crate::codec::{Codec, Reader};
use crate::control::WaitError;
use crate::error::{RecvError, SendError};
use crate::ring::Peeked;
use crate::sys::Deadline;

impl<T, C: Codec<T>> Sender<T, C> {
    /// Waits until `accept` makes something of a reply. Whenever no receiver is there, `lost`
    /// says whether to go on waiting for the next one; it is over when no reply stands there and
    /// `is_over` said so before the look.
    pub(in crate::channel) fn accept_back_unless<R>(
        &self,
        deadline: Deadline,
        is_over: impl Fn(&Self) -> bool,
        mut accept: impl FnMut(Reader<'_>) -> Option<R>,
        mut lost: impl FnMut(&Self) -> Result<OnDisconnect, RecvError>,
    ) -> Result<R, RecvError> {
        let mut state = self.enter().map_err(back_error)?;
        if state.replies.is_none() {
            return Err(self.no_way_back());
        }
        let look = |sender: &Self, state: &mut State| {
            // Looked at first: a reply that stands there then came before its sender went.
            let is_over = is_over(sender);
            let Some(replies) = &mut state.replies else { return Ok(None) };
            match replies.peek() {
                Peeked::Empty if is_over => Err(AcceptError(back_error(sender.disconnected()))),
                Peeked::Empty => Ok(None),
                Peeked::Value | Peeked::Other => Ok(Some(())),
            }
        };
        let mut useless = 0;
        loop {
            let lost = |sender: &Self| lost(sender).map_err(AcceptError);
            self.wait_or_lose(&mut state, deadline, self.local.spin, &look, lost)
                .map_err(|AcceptError(error)| error)?;
            let Some(replies) = state.replies.as_mut() else {
                return Err(self.no_way_back());
            };
            // NB: taken here and not by `look`, since what that finds is handed up through memory.
            let found = replies.next(&self.control, self.lane, deadline, &mut accept);
            let damaged = |damage| back_error(self.damaged(damage));
            if let Some(found) = found.map_err(damaged)? {
                return Ok(found);
            }
            useless += 1;
            if useless > 1 && deadline.has_passed() {
                return Err(crate::channel::nothing_came(&self.control, deadline));
            }
        }
    }

    #[cold]
    fn no_way_back(&self) -> RecvError {
        let what = "its header has no rings for replies, which a server's or a mailbox's has: another \
                    program wrote over it";
        RecvError::Corrupt { channel: self.control.name(), what: what.to_owned() }
    }
}

/// Why waiting for something from the receiver ended.
struct AcceptError(RecvError);

impl From<SendError> for AcceptError {
    fn from(error: SendError) -> Self {
        AcceptError(back_error(error))
    }
}

impl From<WaitError> for AcceptError {
    fn from(slept: WaitError) -> Self {
        AcceptError(slept.into())
    }
}

/// What an error of the sending side means to a caller that waits for something to come back.
pub(in crate::channel) fn back_error(error: SendError) -> RecvError {
    match error {
        SendError::Full { channel } => RecvError::Empty { channel },
        SendError::Timeout { channel } => RecvError::Timeout { channel },
        SendError::Removed { channel } => RecvError::Removed { channel },
        SendError::NotWoken { channel, error } => RecvError::NotWoken { channel, error },
        SendError::Reentrant { channel } => RecvError::Reentrant { channel },
        SendError::Forked { channel } => RecvError::Forked { channel },
        SendError::Closed { channel } => RecvError::Closed { channel },
        SendError::Corrupt { channel, what } => RecvError::Corrupt { channel, what },
        SendError::System { channel, error } => RecvError::System { channel, error },
        SendError::Disconnected { channel }
        | SendError::TooLong { channel, .. }
        | SendError::QueueTooSmall { channel, .. }
        | SendError::NeedsWaiting { channel, .. }
        | SendError::Encode { channel, .. } => RecvError::Disconnected { channel },
    }
}
