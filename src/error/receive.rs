//! What can go wrong with receiving.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use super::text::{Describe, Words, channel, damaged, forked, removed};
use crate::codec::DecodeError;
use crate::name::Name;
use crate::sys::SystemError;

/// Why no value was received.
///
/// ```
/// let (tx, rx) = sysv_channel::channel::<u32>()?;
/// assert!(rx.try_recv().unwrap_err().is_empty());
/// drop(tx);
/// assert!(rx.recv().unwrap_err().is_disconnected());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum RecvError {
    /// Nothing is there, and the call was not to wait.
    Empty {
        /// The channel.
        channel: Arc<Name>,
    },
    /// Nothing came until the deadline passed.
    Timeout {
        /// The channel.
        channel: Arc<Name>,
    },
    /// Senders have come, none is attached now and nothing is left.
    Disconnected {
        /// The channel.
        channel: Arc<Name>,
    },
    /// Its [closer](crate::Receiver::closer) ended the call, or one before it that did not say so. Nothing is
    /// lost; the next call receives again.
    Closed {
        /// The channel.
        channel: Arc<Name>,
    },
    /// The channel was removed, or this process went to another ipc namespace. Every later call
    /// says so too, and what the channel held is lost, but for the reply to a [call](crate::rpc) or an
    /// [ask](crate::actor::Address::ask) that came before.
    Removed {
        /// The channel.
        channel: Arc<Name>,
    },
    /// A value was taken off but could not be decoded; the next call goes on with the next.
    Decode {
        /// The channel.
        channel: Arc<Name>,
        /// Why.
        error: DecodeError,
    },
    /// Selection needs a queue, and this channel has only rings.
    NoSelection {
        /// The channel.
        channel: Arc<Name>,
    },
    /// Reading in place was not allowed when the channel was opened.
    NotTrusted {
        /// The channel.
        channel: Arc<Name>,
    },
    /// The channel has rings: a guard needs one whose values are messages alone, since the sender of a longer
    /// value waits until it is received.
    NoGuard {
        /// The channel.
        channel: Arc<Name>,
    },
    /// Messages that receivers gave back, or had in hand when they died, fill the places kept for them, and
    /// none matches: take those first, with [`Select::Any`](crate::Select::Any).
    SlotsFull {
        /// The channel.
        channel: Arc<Name>,
    },
    /// An [`Outlet`](crate::bridge::Outlet) holds as many values as it can, or one that was given out as long ago as an
    /// [`Inlet`](crate::bridge::Inlet) remembers: settle the oldest first.
    HeldTooMany {
        /// The channel.
        channel: Arc<Name>,
        /// How many it holds.
        held: usize,
    },
    /// An earlier call made room, but could not wake the sender that waits for it: this process has
    /// no right to any more, perhaps. Said once; the next call goes on.
    NotWoken {
        /// The channel.
        channel: Arc<Name>,
        /// What the kernel says.
        error: SystemError,
    },
    /// The endpoint is in the middle of another call: a `Deserialize` uses it, or a
    /// [`Lease`](crate::Lease) or [`RecvGuard`](crate::RecvGuard) of it is still held.
    Reentrant {
        /// The channel.
        channel: Arc<Name>,
    },
    /// The endpoint belongs to this process's parent.
    Forked {
        /// The channel.
        channel: Arc<Name>,
    },
    /// The shared memory or the queue holds what no program of this crate writes.
    Corrupt {
        /// The channel.
        channel: Arc<Name>,
        /// What is wrong, and whether the channel goes on.
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

impl RecvError {
    /// Whether nothing was there, and the call was not to wait.
    pub fn is_empty(&self) -> bool {
        matches!(self, RecvError::Empty { .. })
    }

    /// Whether the deadline passed.
    pub fn is_timeout(&self) -> bool {
        matches!(self, RecvError::Timeout { .. })
    }

    /// Whether all senders are gone and nothing is left.
    pub fn is_disconnected(&self) -> bool {
        matches!(self, RecvError::Disconnected { .. })
    }

    /// Whether its closer ended the call.
    pub fn is_closed(&self) -> bool {
        matches!(self, RecvError::Closed { .. })
    }

    /// Whether the channel was removed.
    pub fn is_removed(&self) -> bool {
        matches!(self, RecvError::Removed { .. })
    }
}

impl fmt::Display for RecvError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.describe(channel, f)
    }
}

impl Describe for RecvError {
    fn describe(&self, named: Words, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RecvError::Empty { channel: name } => {
                write!(f, "{} is empty now; recv waits for a value", named(name))
            }
            RecvError::Timeout { channel: name } => {
                write!(f, "{} stayed empty until the deadline", named(name))
            }
            RecvError::Disconnected { channel: name } => {
                write!(f, "the other side of {} is gone and nothing is left", named(name))
            }
            RecvError::Closed { channel: name } => {
                write!(
                    f,
                    "receiving from {} was ended by its closer; call again to go on",
                    named(name)
                )
            }
            RecvError::Removed { channel: name } => removed(f, &named(name)),
            RecvError::Decode { channel: name, error } => {
                write!(f, "a value of {} cannot be decoded and was dropped: {error}", named(name))
            }
            RecvError::NoSelection { channel: name } => write!(
                f,
                "{} has only rings and hands values over in order: create it with an inline_limit \
                 above 0 to select by tag",
                named(name)
            ),
            RecvError::NotTrusted { channel: name } => write!(
                f,
                "reading in place from {} needs the promise that all peers keep to the protocol: \
                 Options::in_place",
                named(name)
            ),
            RecvError::NoGuard { channel: name } => write!(
                f,
                "{} has rings, and values with a guard come through the queue alone: create it with a \
                 capacity of 0",
                named(name)
            ),
            RecvError::HeldTooMany { channel: name, held } => write!(
                f,
                "the outlet of {} holds {held} values and can give out no more: settle the oldest first",
                named(name)
            ),
            RecvError::SlotsFull { channel: name } => write!(
                f,
                "values of {} that receivers gave back, or had in hand when they died, wait to be \
                 taken, and none has the tag asked for: receive them with Select::Any first",
                named(name)
            ),
            RecvError::NotWoken { channel: name, error } => write!(
                f,
                "a sender of {} waits for room that there is now, and could not be woken: {error}",
                named(name)
            ),
            RecvError::Reentrant { channel: name } => write!(
                f,
                "this endpoint of {} is in the middle of another call: a Deserialize must not use \
                 the endpoint that runs it, and a Lease or RecvGuard has to be dropped before the \
                 next call",
                named(name)
            ),
            RecvError::Forked { channel: name } => forked(f, &named(name)),
            RecvError::Corrupt { channel: name, what } => damaged(f, &named(name), what),
            RecvError::System { channel: name, error } => write!(f, "{}: {error}", named(name)),
        }
    }
}

impl Error for RecvError {}
