//! What can go wrong with looking at a channel.

use std::error::Error;
use std::fmt;

use super::text::channel;
use crate::name::{InvalidName, Name};
use crate::sys::{Key, SystemError};

/// Why a channel cannot be looked at, or is none.
///
/// ```
/// use sysv_channel::{InspectError, inspect};
///
/// let error = inspect("never created").unwrap_err();
/// assert!(matches!(error, InspectError::NotFound { .. }));
/// assert!(error.to_string().starts_with("channel \"never created\" does not exist"));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum InspectError {
    /// The name is empty or longer than 255 bytes.
    InvalidName(InvalidName),
    /// There is no such channel.
    NotFound {
        /// What was asked for.
        name: Name,
    },
    /// The key belongs to something else: another program's object, or a channel of another name.
    KeyCollision {
        /// The key.
        key: Key,
        /// What was found there.
        found: String,
    },
    /// A creator is making the channel, or was killed before it had; or its header was written over.
    Unfinished {
        /// The key.
        key: Key,
    },
    /// One of its objects was removed by hand.
    Incomplete {
        /// The key.
        key: Key,
        /// Which object is gone.
        missing: &'static str,
    },
    /// The channel was made by a version of this crate with another layout.
    WrongVersion {
        /// The key.
        key: Key,
        /// The channel's layout version.
        found: u64,
        /// This crate's.
        expected: u64,
    },
    /// The channel's header contradicts itself.
    Damaged {
        /// The key.
        key: Key,
        /// What is wrong with it.
        what: String,
    },
    /// A system call failed.
    System(SystemError),
}

impl fmt::Display for InspectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            InspectError::InvalidName(error) => error.fmt(f),
            InspectError::NotFound { name } => {
                write!(f, "{} does not exist: `list` says which do", channel(name))
            }
            InspectError::KeyCollision { key, found } => write!(f, "key {key} is taken by {found}"),
            InspectError::Unfinished { key } => write!(
                f,
                "the channel at key {key} has no header: a creator is making it, was killed before it had, or \
                 the header was written over; its next creator, `sweep` or `unlink` removes what is left"
            ),
            InspectError::Incomplete { key, missing } => write!(
                f,
                "the {missing} of the channel at key {key} was removed: its users are told so, and `unlink` \
                 removes what is left"
            ),
            InspectError::WrongVersion { key, found, expected } => write!(
                f,
                "the channel at key {key} has layout version {found}, this program speaks {expected}: look \
                 at it with the version of sysv-channel that made it"
            ),
            InspectError::Damaged { key, what } => write!(
                f,
                "the header of the channel at key {key} is damaged: {what}; remove it with `unlink`"
            ),
            InspectError::System(error) => error.fmt(f),
        }
    }
}

impl Error for InspectError {}

impl From<SystemError> for InspectError {
    fn from(error: SystemError) -> Self {
        InspectError::System(error)
    }
}

impl From<InvalidName> for InspectError {
    fn from(error: InvalidName) -> Self {
        InspectError::InvalidName(error)
    }
}
