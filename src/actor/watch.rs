//! Being told of an actor's end.

use std::fmt;
use std::task::{Context, Poll};
use std::time::Duration;

use super::error::WatchError;
use crate::Sender;
use crate::channel::Untyped;
use crate::error::{RecvError, SendError};
use crate::sys::Deadline;
use crate::wait_set::Waits;

/// Waits for the end of one actor: of its process, however it ends, or of its mailbox. Another actor
/// that takes its place does not count as it.
///
/// It takes one of the mailbox's places. An actor that is to have the end in its own mailbox
/// [watches into](super::Address::watch_into) that.
///
/// ```
/// use sysv_channel::actor::{Address, Mailbox};
///
/// # let name = format!("doc-watch-{}", std::process::id());
/// # let name = name.as_str();
/// let child = Mailbox::<String>::bind(name)?;
/// let watch = Address::<String>::connect(name)?.watch()?;
/// assert!(!watch.is_over()?);
/// drop(child);
/// watch.wait()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Watch {
    sender: Sender<(), Untyped>,
    actor: u64,
}

impl Watch {
    pub(super) fn begin(
        sender: Sender<(), Untyped>,
        deadline: Deadline,
    ) -> Result<Self, WatchError> {
        match sender.await_first_receiver(deadline) {
            Ok(actor) => Ok(Watch { sender, actor }),
            Err(SendError::Timeout { channel: mailbox }) => Err(WatchError::NoActor { mailbox }),
            Err(error) => Err(WatchError::Watch(error)),
        }
    }

    /// What it watches by, and whom.
    pub(super) fn into_parts(self) -> (Sender<(), Untyped>, u64) {
        (self.sender, self.actor)
    }

    /// Waits until the actor has ended; at once if it had ended before the watch began.
    ///
    /// # Errors
    /// [`WatchError::Watch`] if the kernel refuses.
    pub fn wait(&self) -> Result<(), WatchError> {
        self.wait_by(Deadline::never())
    }

    /// Waits until the actor has ended, at most `timeout`.
    ///
    /// # Errors
    /// [`WatchError::Timeout`] if it has not; else as [`wait`](Watch::wait).
    pub fn wait_timeout(&self, timeout: Duration) -> Result<(), WatchError> {
        self.wait_by(Deadline::after(timeout))
    }

    fn wait_by(&self, deadline: Deadline) -> Result<(), WatchError> {
        match self.sender.await_end_of(self.actor, deadline) {
            // A mailbox that was removed has no actor.
            Ok(()) | Err(SendError::Disconnected { .. } | SendError::Removed { .. }) => Ok(()),
            Err(SendError::Timeout { channel: mailbox }) => Err(WatchError::Timeout { mailbox }),
            Err(error) => Err(WatchError::Watch(error)),
        }
    }

    /// Whether the actor has ended.
    ///
    /// # Errors
    /// As [`wait`](Watch::wait).
    pub fn is_over(&self) -> Result<bool, WatchError> {
        match self.sender.has_ended(self.actor) {
            // As above, also where a part was removed that an actor does without.
            Ok(false) => Ok(self.sender.is_removed()),
            Err(SendError::Disconnected { .. } | SendError::Removed { .. }) => Ok(true),
            ended => ended.map_err(WatchError::Watch),
        }
    }
}

impl Waits for Watch {
    fn is_ready(&self) -> Result<bool, RecvError> {
        self.sender.is_end_of(self.actor)
    }

    fn poll_ready(&self, context: &mut Context<'_>) -> Poll<Result<(), RecvError>> {
        match self.sender.poll_end_of(self.actor, context.waker()) {
            Ok(false) => Poll::Pending,
            ended => Poll::Ready(ended.map(drop)),
        }
    }

    fn stop_polling(&self) {
        self.sender.disarm();
    }

    fn spin(&self) -> Duration {
        // Each look is a system call.
        Duration::ZERO
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch").field("mailbox", &self.sender).finish_non_exhaustive()
    }
}
