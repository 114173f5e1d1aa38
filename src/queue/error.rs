//! What can go wrong with a bare queue.

use std::error::Error;
use std::fmt;

use crate::bare::bare_error;
use crate::codec::{DecodeError, EncodeError};
use crate::error::text::{Unmapped, channel, queue};
use crate::name::{InvalidName, Name};
use crate::sys::{ObjectName, SystemError, SystemErrorKind};
use crate::tag::Tag;
use crate::transfer::Refusal;

/// Why a queue was not created, opened, looked at, changed or removed.
///
/// ```
/// use sysv_channel::{Queue, QueueError};
///
/// let error = Queue::<u32>::open("never created").unwrap_err();
/// assert!(matches!(error, QueueError::NotFound { .. }));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum QueueError {
    /// The name is empty or too long.
    InvalidName(InvalidName),
    /// That is a channel's name, key or handle, and a channel's queue is not to be used as a bare
    /// one.
    IsChannel {
        /// What was asked for.
        name: Name,
    },
    /// An option that the kernel has no use for.
    InvalidOption(String),
    /// No receiver could decode a value of this type.
    Undecodable {
        /// Which part of the type stands against it, and how.
        why: String,
    },
    /// No queue has that name.
    NotFound {
        /// What was asked for.
        name: Name,
    },
    /// A queue has that name already.
    AlreadyExists {
        /// What was asked for.
        name: Name,
    },
    /// Another user owns or created the queue.
    NotOwned {
        /// The queue.
        object: String,
        /// Its owner's user id.
        uid: u32,
        /// Its creator's user id.
        creator_uid: u32,
    },
    /// The queue was removed.
    Removed {
        /// The queue.
        object: String,
    },
    /// This process is exiting, and a private queue that it made now would stay behind.
    Exiting,
    /// A system call failed.
    System(SystemError),
}

impl QueueError {
    /// Whether there is no such queue.
    pub fn is_not_found(&self) -> bool {
        matches!(self, QueueError::NotFound { .. })
    }

    /// Whether there is such a queue already.
    pub fn is_already_exists(&self) -> bool {
        matches!(self, QueueError::AlreadyExists { .. })
    }

    /// Whether the queue was removed.
    pub fn is_removed(&self) -> bool {
        matches!(self, QueueError::Removed { .. })
    }
}

impl fmt::Display for QueueError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            QueueError::InvalidName(error) => error.fmt(f),
            QueueError::IsChannel { name } => {
                write!(f, "{} is no bare queue: open it with Channel::open", channel(name))
            }
            QueueError::InvalidOption(what) => write!(f, "unusable queue option: {what}"),
            QueueError::Exiting => f.write_str(
                "this process is exiting and has given up its private queues: it makes no other",
            ),
            QueueError::Undecodable { why } => write!(
                f,
                "a queue cannot carry this type: {why}; or vouch for the type with \
                 QueueOptions::schema"
            ),
            QueueError::NotFound { name } => write!(
                f,
                "{} is not there: create it first, check the name, or look whether it is in another \
                 ipc namespace (a container has its own)",
                queue(name)
            ),
            QueueError::AlreadyExists { name } => {
                write!(f, "{} exists: open it, or remove it first (ipcrm)", queue(name))
            }
            QueueError::NotOwned { object, uid, creator_uid } => write!(
                f,
                "{object} belongs to user {uid} and was created by user {creator_uid}: refused; \
                 QueueOptions::owner allows a user that you trust{}",
                Unmapped(&[*uid, *creator_uid])
            ),
            QueueError::Removed { object } => removed(f, object),
            QueueError::System(error) => error.fmt(f),
        }
    }
}

// Without a source: what an error was caused by is part of its text.
impl Error for QueueError {}

bare_error!(QueueError);

impl From<SystemError> for QueueError {
    fn from(error: SystemError) -> Self {
        match error.kind() {
            SystemErrorKind::Removed => QueueError::Removed { object: error.object() },
            _ => QueueError::System(error),
        }
    }
}

impl From<InvalidName> for QueueError {
    fn from(error: InvalidName) -> Self {
        QueueError::InvalidName(error)
    }
}

/// A limit that a message is too long for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum QueueLimit {
    /// `kernel.msgmax`, the longest message of the system.
    Message,
    /// The queue's own capacity in bytes (`msg_qbytes`).
    Capacity,
}

/// Why a value was not sent. It was not, whichever this is.
///
/// ```
/// use sysv_channel::Queue;
///
/// let queue = Queue::<u32>::options().capacity(6).private()?;
/// queue.try_send(&1)?;
/// assert!(queue.try_send(&2).unwrap_err().is_full());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum QueueSendError {
    /// There is no room, and the call was not to wait.
    Full {
        /// The queue.
        object: String,
    },
    /// There was no room until the deadline passed.
    Timeout {
        /// The queue.
        object: String,
    },
    /// The encoded value is longer than a message can be, now and however long one waits.
    TooLong {
        /// The queue.
        object: String,
        /// The length of the encoded value in bytes.
        len: usize,
        /// The longest that goes, in bytes.
        max: usize,
        /// Where that comes from.
        limit: QueueLimit,
    },
    /// The value could not be encoded.
    Encode(EncodeError),
    /// The queue was removed.
    Removed {
        /// The queue.
        object: String,
    },
    /// A system call failed.
    System(SystemError),
}

impl QueueSendError {
    /// Whether there was no room, and the call was not to wait.
    pub fn is_full(&self) -> bool {
        matches!(self, QueueSendError::Full { .. })
    }

    /// Whether the deadline passed.
    pub fn is_timeout(&self) -> bool {
        matches!(self, QueueSendError::Timeout { .. })
    }

    /// Whether the queue was removed.
    pub fn is_removed(&self) -> bool {
        matches!(self, QueueSendError::Removed { .. })
    }
}

impl Refusal for QueueSendError {
    fn was_sent(&self) -> bool {
        false
    }
}

impl fmt::Display for QueueSendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            QueueSendError::Full { object } => {
                write!(f, "{object} is full: receive from it, or raise its capacity")
            }
            QueueSendError::Timeout { object } => {
                write!(f, "{object} stayed full until the deadline: does any process receive?")
            }
            QueueSendError::TooLong { object, len, max, limit } => {
                write!(f, "a value of {len} bytes is too long for {object}, which takes {max}: ")?;
                f.write_str(match limit {
                    QueueLimit::Message => "raise kernel.msgmax, or send it through a Channel",
                    QueueLimit::Capacity => {
                        "raise its capacity (Queue::set_capacity, up to kernel.msgmnb)"
                    }
                })
            }
            QueueSendError::Encode(error) => error.fmt(f),
            QueueSendError::Removed { object } => removed(f, object),
            QueueSendError::System(error) => error.fmt(f),
        }
    }
}

// Without a source, as above.
impl Error for QueueSendError {}

impl From<SystemError> for QueueSendError {
    fn from(error: SystemError) -> Self {
        match error.kind() {
            SystemErrorKind::Removed => QueueSendError::Removed { object: error.object() },
            _ => QueueSendError::System(error),
        }
    }
}

impl From<EncodeError> for QueueSendError {
    fn from(error: EncodeError) -> Self {
        QueueSendError::Encode(error)
    }
}

/// Why no value was received, or none was shown.
///
/// ```
/// use sysv_channel::Queue;
///
/// let queue = Queue::<u32>::private()?;
/// assert!(queue.try_recv().unwrap_err().is_empty());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum QueueRecvError {
    /// No such message is there, and the call was not to wait.
    Empty {
        /// The queue.
        object: String,
    },
    /// No such message came until the deadline passed.
    Timeout {
        /// The queue.
        object: String,
    },
    /// The message is no value of this type. `recv` has taken it off, `peek` has left it.
    Decode {
        /// The queue.
        object: String,
        /// The message's tag.
        tag: Tag,
        /// The length of its text in bytes.
        len: usize,
        /// What is wrong with it.
        error: DecodeError,
    },
    /// The message is longer than any that the system lets one send now. `recv` has taken it off,
    /// `peek` has left it.
    Corrupt {
        /// The queue.
        object: String,
        /// The message's tag, unless it was left there.
        tag: Option<Tag>,
        /// Its text has more bytes than this; how many more, the kernel does not tell.
        longer_than: usize,
    },
    /// The queue was removed.
    Removed {
        /// The queue.
        object: String,
    },
    /// A system call failed.
    System(SystemError),
}

impl QueueRecvError {
    /// Whether no such message was there, and the call was not to wait.
    pub fn is_empty(&self) -> bool {
        matches!(self, QueueRecvError::Empty { .. })
    }

    /// Whether the deadline passed.
    pub fn is_timeout(&self) -> bool {
        matches!(self, QueueRecvError::Timeout { .. })
    }

    /// Whether the queue was removed.
    pub fn is_removed(&self) -> bool {
        matches!(self, QueueRecvError::Removed { .. })
    }

    pub(super) fn decode(object: ObjectName, tag: Tag, len: usize, error: DecodeError) -> Self {
        QueueRecvError::Decode { object: object.to_string(), tag, len, error }
    }
}

impl fmt::Display for QueueRecvError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            QueueRecvError::Empty { object } => write!(f, "{object} holds no such message now"),
            QueueRecvError::Timeout { object } => {
                write!(f, "no such message came to {object} until the deadline")
            }
            QueueRecvError::Decode { object, tag, len, error } => write!(
                f,
                "a message of type {tag} and {len} bytes on {object} is no value of the expected \
                 type: {error}; do all its senders use the same type and codec?"
            ),
            QueueRecvError::Corrupt { object, tag, longer_than } => {
                f.write_str("a message")?;
                if let Some(tag) = tag {
                    write!(f, " of type {tag}")?;
                }
                write!(
                    f,
                    " on {object} has more than {longer_than} bytes, the most that kernel.msgmax \
                     allows: it was sent before that was lowered"
                )
            }
            QueueRecvError::Removed { object } => removed(f, object),
            QueueRecvError::System(error) => error.fmt(f),
        }
    }
}

// Without a source, as above.
impl Error for QueueRecvError {}

impl From<SystemError> for QueueRecvError {
    fn from(error: SystemError) -> Self {
        match error.kind() {
            SystemErrorKind::Removed => QueueRecvError::Removed { object: error.object() },
            _ => QueueRecvError::System(error),
        }
    }
}

fn removed(f: &mut fmt::Formatter<'_>, object: &str) -> fmt::Result {
    write!(f, "{object} was removed: create or open it again")
}
