//! What can go wrong with sending.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use super::text::{Describe, Words, channel, damaged, forked, removed};
use crate::codec::EncodeError;
use crate::name::Name;
use crate::sys::SystemError;
use crate::transfer::Refusal;

/// The option that bounds what goes in one piece.
pub(crate) const PIECE: &str = "capacity: half of one that is named takes one value";

/// Why a value was not sent. It was not, whichever this is, but for
/// [`NotWoken`](SendError::NotWoken).
///
/// ```
/// let (tx, _rx) = sysv_channel::channel::<u32>()?;
/// let error = loop {
///     match tx.try_send(&7) {
///         Ok(()) => continue,
///         Err(error) => break error,
///     }
/// };
/// assert!(error.is_full());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum SendError {
    /// There is no room, and the call was not to wait.
    Full {
        /// The channel.
        channel: Arc<Name>,
    },
    /// There was no room until the deadline passed.
    Timeout {
        /// The channel.
        channel: Arc<Name>,
    },
    /// A receiver has come and none is attached now. One that was killed has not said so: the kernel is
    /// asked when a call finds no room, so there may be no word of it before.
    Disconnected {
        /// The channel.
        channel: Arc<Name>,
    },
    /// Its [closer](crate::Sender::closer) ended the call, or one before it that did not say so, as
    /// [`send_all`](crate::Sender::send_all). The next one sends again.
    Closed {
        /// The channel.
        channel: Arc<Name>,
    },
    /// The channel was removed, or this process went to another ipc namespace. Every later call
    /// says so too.
    Removed {
        /// The channel.
        channel: Arc<Name>,
    },
    /// The encoded value is longer than the channel takes.
    TooLong {
        /// The channel.
        channel: Arc<Name>,
        /// The longest encoded value, in bytes.
        max: u64,
        /// The option of its creator that says so.
        option: &'static str,
    },
    /// The channel's queue was made smaller, by `msgctl`, than the message that stands for the value.
    QueueTooSmall {
        /// The channel.
        channel: Arc<Name>,
        /// Bytes of the message.
        needed: u64,
        /// Bytes that the queue holds now (`msg_qbytes`).
        capacity: u64,
    },
    /// The encoded value goes in fragments, which needs a waiting call.
    NeedsWaiting {
        /// The channel.
        channel: Arc<Name>,
        /// The value's length in bytes.
        len: usize,
        /// The longest value that goes in one piece.
        max: usize,
    },
    /// The value could not be encoded.
    Encode {
        /// The channel.
        channel: Arc<Name>,
        /// Why.
        error: EncodeError,
    },
    /// The value **was** sent, but the sleeping receiver could not be woken: this process has no
    /// right to any more, perhaps. The receiver takes the value when something else wakes it.
    NotWoken {
        /// The channel.
        channel: Arc<Name>,
        /// What the kernel says.
        error: SystemError,
    },
    /// The sender is in the middle of another call: a `Serialize`, the iterator of
    /// [`send_all`](crate::Sender::send_all) or the closure of
    /// [`send_with`](crate::Sender::send_with) uses it.
    Reentrant {
        /// The channel.
        channel: Arc<Name>,
    },
    /// The endpoint belongs to this process's parent.
    Forked {
        /// The channel.
        channel: Arc<Name>,
    },
    /// The shared memory says what no program of this crate writes.
    Corrupt {
        /// The channel.
        channel: Arc<Name>,
        /// What is wrong.
        what: String,
    },
    /// A system call failed.
    System {
        /// The channel.
        channel: Arc<Name>,
        /// The call, and what the kernel says.
        error: SystemError,
    },
}

impl SendError {
    /// Whether there was no room, and the call was not to wait.
    pub fn is_full(&self) -> bool {
        matches!(self, SendError::Full { .. })
    }

    /// Whether the deadline passed.
    pub fn is_timeout(&self) -> bool {
        matches!(self, SendError::Timeout { .. })
    }

    /// Whether no receiver is attached, though one had come.
    pub fn is_disconnected(&self) -> bool {
        matches!(self, SendError::Disconnected { .. })
    }

    /// Whether its closer ended the call.
    pub fn is_closed(&self) -> bool {
        matches!(self, SendError::Closed { .. })
    }

    /// Whether the channel was removed.
    pub fn is_removed(&self) -> bool {
        matches!(self, SendError::Removed { .. })
    }
}

impl Refusal for SendError {
    fn was_sent(&self) -> bool {
        matches!(self, SendError::NotWoken { .. })
    }
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.describe(channel, f)
    }
}

impl Describe for SendError {
    fn describe(&self, named: Words, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SendError::Full { channel: name } => write!(
                f,
                "{} is full: wait for room with send, or try again when its receiver has received",
                named(name)
            ),
            SendError::Timeout { channel: name } => {
                write!(f, "{} stayed full until the deadline; the value was not sent", named(name))
            }
            SendError::Disconnected { channel: name } => {
                write!(f, "the receiver of {} is gone; the value was not sent", named(name))
            }
            SendError::Closed { channel: name } => write!(
                f,
                "waiting for room in {} was ended by its closer; the value was not sent",
                named(name)
            ),
            SendError::Removed { channel: name } => removed(f, &named(name)),
            SendError::TooLong { channel: name, max, option } => {
                let named = named(name);
                let enlarge = named.enlarge();
                let way = if *option == PIECE { "in one piece through" } else { "through" };
                write!(
                    f,
                    "the encoded value is longer than {max} bytes, the most that goes {way} \
                     {named}: {enlarge}{option}"
                )
            }
            SendError::NeedsWaiting { channel: name, len, max } => {
                let named = named(name);
                let enlarge = named.enlarge();
                let replies = if named.replies() { " (of a stream: reply_capacity)" } else { "" };
                write!(
                    f,
                    "a value of {len} bytes goes through {named} in fragments, since it is longer \
                     than {max}, and so needs a call that waits; or {enlarge}capacity{replies}"
                )
            }
            SendError::QueueTooSmall { channel: name, needed, capacity } => write!(
                f,
                "the value needs a message of {needed} bytes, and the queue of {} holds only \
                 {capacity} now: its msg_qbytes was lowered (msgctl), raise it again",
                named(name)
            ),
            SendError::Encode { channel: name, error } => {
                write!(f, "a value for {} could not be encoded: {error}", named(name))
            }
            SendError::NotWoken { channel: name, error } => write!(
                f,
                "the value was sent, but the receiver of {} sleeps and could not be woken: {error}",
                named(name)
            ),
            SendError::Reentrant { channel: name } => write!(
                f,
                "this sender of {} is in the middle of another call: a Serialize, the iterator of \
                 send_all and the closure of send_with must not use the sender that runs them; give \
                 them another one (Sender::try_clone)",
                named(name)
            ),
            SendError::Forked { channel: name } => forked(f, &named(name)),
            SendError::Corrupt { channel: name, what } => damaged(f, &named(name), what),
            SendError::System { channel: name, error } => write!(f, "{}: {error}", named(name)),
        }
    }
}

impl Error for SendError {}
