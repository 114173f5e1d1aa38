//! What can go wrong with attaching an end of a channel.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use super::text::{Describe, Process, Words, channel, damaged, forked, removed};
use crate::name::Name;
use crate::sys::SystemError;

/// Why a [`Channel`](crate::Channel) gave no sender or receiver.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum AttachError {
    /// Every lane has a sender.
    LanesExhausted {
        /// The channel.
        channel: Arc<Name>,
        /// How many lanes the channel has.
        lanes: usize,
    },
    /// The channel has a receiver, and can have only one.
    ReceiverExists {
        /// The channel.
        channel: Arc<Name>,
        /// The process that attached it; 0 if it is in another pid namespace.
        pid: i32,
    },
    /// The channel has as many receivers as it can have.
    ReceiversExhausted {
        /// The channel.
        channel: Arc<Name>,
        /// How many it can have.
        receivers: usize,
    },
    /// The channel was removed, or this process went to another ipc namespace.
    Removed {
        /// The channel.
        channel: Arc<Name>,
    },
    /// The channel was opened by this process's parent, before a fork.
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

impl AttachError {
    /// Whether the channel was removed.
    pub fn is_removed(&self) -> bool {
        matches!(self, AttachError::Removed { .. })
    }
}

impl fmt::Display for AttachError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.describe(channel, f)
    }
}

impl Describe for AttachError {
    fn describe(&self, named: Words, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AttachError::LanesExhausted { channel: name, lanes } => {
                let named = named(name);
                let (place, more) = named.places();
                match lanes {
                    1 => write!(f, "the one {place} of {named} is taken: close it, or {more}"),
                    _ => {
                        write!(f, "all {lanes} {place}s of {named} are taken: close one, or {more}")
                    }
                }
            }
            AttachError::ReceiverExists { channel: name, pid } => write!(
                f,
                "{} has the receiver of {}: a channel has one at a time",
                Process(*pid),
                named(name)
            ),
            AttachError::ReceiversExhausted { channel: name, receivers } => write!(
                f,
                "{} has all its {receivers} receivers: close one, or create it for more \
                 (Options::receivers)",
                named(name)
            ),
            AttachError::Removed { channel: name } => removed(f, &named(name)),
            AttachError::Forked { channel: name } => forked(f, &named(name)),
            AttachError::Corrupt { channel: name, what } => damaged(f, &named(name), what),
            AttachError::System { channel: name, error } => write!(f, "{}: {error}", named(name)),
        }
    }
}

impl Error for AttachError {}
