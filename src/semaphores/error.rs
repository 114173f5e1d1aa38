//! What can go wrong with a bare semaphore set.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use super::HIGHEST;
use crate::bare::bare_error;
use crate::error::text::{Unmapped, channel, semaphores};
use crate::name::{InvalidName, Name};
use crate::sys::{SystemError, SystemErrorKind};

/// Why a semaphore set was not created, opened, looked at, changed or removed.
///
/// ```
/// use sysv_channel::{Semaphores, SemaphoresError};
///
/// let error = Semaphores::open("never created").unwrap_err();
/// assert!(matches!(error, SemaphoresError::NotFound { .. }));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum SemaphoresError {
    /// The name is empty or too long.
    InvalidName(InvalidName),
    /// That is a channel's name, key or handle, and a channel's semaphores are not to be used as bare
    /// ones.
    IsChannel {
        /// What was asked for.
        name: Name,
    },
    /// An option or a value that the kernel has no use for.
    InvalidOption(String),
    /// No semaphore set has that name.
    NotFound {
        /// What was asked for.
        name: Name,
    },
    /// A semaphore set has that name already.
    AlreadyExists {
        /// What was asked for.
        name: Name,
    },
    /// The set is there, and its creator has not initialised it in time.
    NotInitialised {
        /// The set.
        object: String,
        /// The kernel's number for it.
        id: i32,
        /// How long it was waited for.
        waited: Duration,
        /// The process that has set its values, without an operation after it, if one has.
        set_by: Option<i32>,
    },
    /// The set has fewer semaphores than were asked for.
    TooFew {
        /// The set.
        object: String,
        /// How many it has.
        count: usize,
        /// How many were asked for.
        wanted: usize,
    },
    /// The set has no semaphore of that index.
    NoSuchSemaphore {
        /// The set.
        object: String,
        /// What was asked for; the first is 0.
        index: u16,
        /// How many it has.
        count: usize,
    },
    /// Another user owns or created the set.
    NotOwned {
        /// The set.
        object: String,
        /// Its owner's user id.
        uid: u32,
        /// Its creator's user id.
        creator_uid: u32,
    },
    /// The set was removed.
    Removed {
        /// The set.
        object: String,
    },
    /// This process is exiting, and a private set that it made now would stay behind.
    Exiting,
    /// A system call failed.
    System(SystemError),
}

impl SemaphoresError {
    /// Whether there is no such set.
    pub fn is_not_found(&self) -> bool {
        matches!(self, SemaphoresError::NotFound { .. })
    }

    /// Whether there is such a set already.
    pub fn is_already_exists(&self) -> bool {
        matches!(self, SemaphoresError::AlreadyExists { .. })
    }

    /// Whether the set was removed.
    pub fn is_removed(&self) -> bool {
        matches!(self, SemaphoresError::Removed { .. })
    }
}

impl fmt::Display for SemaphoresError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SemaphoresError::InvalidName(error) => error.fmt(f),
            SemaphoresError::IsChannel { name } => {
                write!(f, "{} is no bare semaphore set: open it with Channel::open", channel(name))
            }
            SemaphoresError::InvalidOption(what) => write!(f, "unusable semaphore option: {what}"),
            SemaphoresError::NotFound { name } => write!(
                f,
                "{} is not there: create it first, check the name, or look whether it is in another \
                 ipc namespace (a container has its own)",
                semaphores(name)
            ),
            SemaphoresError::AlreadyExists { name } => {
                write!(f, "{} exists: open it, or remove it first (ipcrm)", semaphores(name))
            }
            SemaphoresError::NotInitialised { object, id, waited, set_by } => {
                write!(f, "{object} is there, and was not initialised within {waited:?}: ")?;
                match set_by {
                    Some(pid) => write!(f, "process {pid} has set values and done no operation")?,
                    None => f.write_str("its creator ended before it set the values, or is stopped")?,
                }
                write!(
                    f,
                    "; if its creator waits in its first operation, or does none, take the set as it is with \
                     SemaphoresOptions::accept_uninitialised; if it ended, remove the set (ipcrm -s {id}) and \
                     start it again"
                )
            }
            SemaphoresError::TooFew { object, count, wanted } => write!(
                f,
                "{object} has {count} semaphores, and at least {wanted} were asked for: a set never \
                 grows; to have a larger one, remove it first (ipcrm)"
            ),
            SemaphoresError::NoSuchSemaphore { object, index, count } => {
                no_such(f, object, *index, *count)
            }
            SemaphoresError::NotOwned { object, uid, creator_uid } => write!(
                f,
                "{object} belongs to user {uid} and was created by user {creator_uid}: refused; \
                 SemaphoresOptions::owner allows a user that you trust{}",
                Unmapped(&[*uid, *creator_uid])
            ),
            SemaphoresError::Removed { object } => removed(f, object),
            SemaphoresError::Exiting => f.write_str(
                "this process is exiting and has given up its private semaphores: it makes no others",
            ),
            SemaphoresError::System(error) => error.fmt(f),
        }
    }
}

// Without a source: what an error was caused by is part of its text.
impl Error for SemaphoresError {}

bare_error!(SemaphoresError);

impl From<SystemError> for SemaphoresError {
    fn from(error: SystemError) -> Self {
        match error.kind() {
            SystemErrorKind::Removed => SemaphoresError::Removed { object: error.object() },
            _ => SemaphoresError::System(error),
        }
    }
}

impl From<InvalidName> for SemaphoresError {
    fn from(error: InvalidName) -> Self {
        SemaphoresError::InvalidName(error)
    }
}

/// Why operations were not done. None was, whichever this is.
///
/// ```
/// use sysv_channel::Semaphores;
///
/// let set = Semaphores::private(&[0])?;
/// assert!(set.try_acquire(0, 1).unwrap_err().is_would_block());
/// # Ok::<(), sysv_channel::SemaphoresError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum SemaphoreOpError {
    /// They are not possible now, and the call was not to wait.
    WouldBlock {
        /// The set.
        object: String,
    },
    /// They were not possible until the deadline passed.
    Timeout {
        /// The set.
        object: String,
    },
    /// The set has no semaphore of that index.
    NoSuchSemaphore {
        /// The set.
        object: String,
        /// What was asked for; the first is 0.
        index: u16,
        /// How many it has.
        count: usize,
    },
    /// An operation takes or adds 1 to 32,767.
    InvalidAmount {
        /// The set.
        object: String,
        /// Which semaphore.
        index: u16,
        /// What was to be taken or added.
        amount: u16,
    },
    /// The kernel does not do as many operations in one call.
    TooMany {
        /// How many they were.
        count: usize,
        /// What the kernel said.
        error: SystemError,
    },
    /// A semaphore would become more than 32,767, or what is to be undone of it.
    Overflow {
        /// The set.
        object: String,
    },
    /// The guard was made before this process was forked, which has acquired nothing.
    NotHolder {
        /// The set.
        object: String,
    },
    /// The set was removed.
    Removed {
        /// The set.
        object: String,
    },
    /// A system call failed.
    System(SystemError),
}

impl SemaphoreOpError {
    /// Whether the operations were not possible, and the call was not to wait.
    pub fn is_would_block(&self) -> bool {
        matches!(self, SemaphoreOpError::WouldBlock { .. })
    }

    /// Whether the deadline passed.
    pub fn is_timeout(&self) -> bool {
        matches!(self, SemaphoreOpError::Timeout { .. })
    }

    /// Whether the set was removed.
    pub fn is_removed(&self) -> bool {
        matches!(self, SemaphoreOpError::Removed { .. })
    }
}

impl fmt::Display for SemaphoreOpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SemaphoreOpError::WouldBlock { object } => {
                write!(
                    f,
                    "not possible now: a semaphore of {object} is too small, or not 0 (Semaphores::values shows them)"
                )
            }
            SemaphoreOpError::Timeout { object } => write!(
                f,
                "not possible until the deadline: a semaphore of {object} stayed too small, or not 0 \
                 (Semaphores::values shows them); Semaphores::last_pid names the process that changed it last"
            ),
            SemaphoreOpError::NoSuchSemaphore { object, index, count } => {
                no_such(f, object, *index, *count)
            }
            SemaphoreOpError::InvalidAmount { object, index, amount } => write!(
                f,
                "semaphore {index} of {object} was to change by {amount}: an operation takes or adds 1 \
                 to {HIGHEST}"
            ),
            SemaphoreOpError::TooMany { count, error } => {
                write!(f, "{count} operations are too many for one call: {error}")
            }
            SemaphoreOpError::Overflow { object } => write!(
                f,
                "a semaphore of {object}, or what its process is to undo of it, would be more than \
                 {HIGHEST}: does a program release more than it acquires?"
            ),
            SemaphoreOpError::NotHolder { object } => write!(
                f,
                "this guard was made before this process was forked: what it holds of {object} is the \
                 parent's; acquire it here"
            ),
            SemaphoreOpError::Removed { object } => removed(f, object),
            SemaphoreOpError::System(error) => error.fmt(f),
        }
    }
}

// Without a source, as above.
impl Error for SemaphoreOpError {}

fn no_such(f: &mut fmt::Formatter<'_>, object: &str, index: u16, count: usize) -> fmt::Result {
    write!(f, "{object} has {count} semaphores, 0 to {}, and none {index}", count.saturating_sub(1))
}

fn removed(f: &mut fmt::Formatter<'_>, object: &str) -> fmt::Result {
    write!(f, "{object} was removed: create or open it again")
}
