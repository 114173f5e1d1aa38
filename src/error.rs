//! What can go wrong, an enum for each operation.

use std::error::Error;
use std::fmt;

use crate::codec::{DecodeError, EncodeError};
use crate::name::{InvalidName, Name};
use crate::sys::{Key, SystemError};

/// Why a channel was not created or opened.
///
/// ```
/// use sysv_channel::{Channel, OpenError};
///
/// let error = Channel::<u32>::open("nobody made this").unwrap_err();
/// assert!(matches!(error, OpenError::NotFound { .. }));
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum OpenError {
    /// The name is empty or longer than 255 bytes.
    InvalidName(InvalidName),
    /// Options that contradict each other or that the kernel's limits do not allow.
    InvalidOptions(String),
    /// There is no such channel, or not yet.
    NotFound {
        /// What was asked for.
        name: Name,
    },
    /// A channel of this name exists and somebody uses it.
    AlreadyExists {
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
    /// Another user owns or created an object under this key.
    NotOwned {
        /// The object.
        object: String,
        /// Its owner's user id.
        uid: u32,
        /// Its creator's user id.
        creator_uid: u32,
    },
    /// An object's permissions are not those that the channel was created with.
    WrongMode {
        /// The object.
        object: String,
        /// Its permission bits.
        found: u32,
        /// Those in the channel's header.
        expected: u32,
    },
    /// The channel was made by a version of this crate with another layout.
    WrongVersion {
        /// The channel's layout version.
        found: u64,
        /// This crate's.
        expected: u64,
    },
    /// The channel carries another type.
    WrongType {
        /// The type that this program names.
        mine: String,
        /// The type that the creator named.
        theirs: String,
        /// The first difference between the two.
        difference: String,
    },
    /// The channel's values are encoded by another codec.
    WrongCodec {
        /// The codec that this program names.
        mine: &'static str,
        /// The codec that the creator named.
        theirs: String,
    },
    /// The channel takes longer values than this program asked for.
    LongerValues {
        /// The longest encoded value that this program asked for, in bytes.
        mine: u64,
        /// The creator's.
        theirs: u64,
    },
    /// `create` found an unused channel that still holds values, with other sizes than asked for.
    HoldsValues {
        /// What was asked for.
        name: Name,
    },
    /// The channel's header contradicts itself.
    Corrupt {
        /// The channel's key.
        key: Key,
        /// What is wrong with it.
        what: String,
    },
    /// Another process has held the channel's lock for too long; it is stopped, perhaps.
    Busy {
        /// That process.
        pid: i32,
    },
    /// The kernel ignores `SEM_UNDO`, on which everything here rests (gVisor does).
    UndoIgnored,
    /// A system call failed.
    System(SystemError),
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OpenError::InvalidName(error) => error.fmt(f),
            OpenError::InvalidOptions(what) => write!(f, "unusable channel options: {what}"),
            OpenError::NotFound { name } => write!(
                f,
                "no channel {name}: nobody has created it yet, or its last user has closed it; \
                 Options::wait_for_creation waits for a creator"
            ),
            OpenError::AlreadyExists { name } => {
                write!(f, "channel {name} exists and is in use: open it, or take another name")
            }
            OpenError::KeyCollision { key, found } => write!(
                f,
                "key {key} is taken by {found}: it was left alone; take another name, or remove \
                 it with ipcrm if it is yours"
            ),
            OpenError::NotOwned { object, uid, creator_uid } => write!(
                f,
                "{object} belongs to user {uid} and was created by user {creator_uid}: refused; \
                 Options::owner allows a user that you trust"
            ),
            OpenError::WrongMode { object, found, expected } => write!(
                f,
                "{object} has permissions {found:03o}, its channel was created with \
                 {expected:03o}: somebody changed them"
            ),
            OpenError::WrongVersion { found, expected } => write!(
                f,
                "the channel has layout version {found}, this program speaks {expected}: build \
                 both sides with one version of sysv-channel"
            ),
            OpenError::WrongType { mine, theirs, difference } => write!(
                f,
                "the channel carries {theirs}, this program asked for {mine}: {difference}"
            ),
            OpenError::WrongCodec { mine, theirs } => write!(
                f,
                "the channel's values are encoded by {theirs:?}, this program asked for {mine:?}: \
                 name the same codec on both sides"
            ),
            OpenError::LongerValues { mine, theirs } => write!(
                f,
                "the channel takes values of up to {theirs} bytes, this program asked for {mine}: \
                 open it with max_value({theirs})"
            ),
            OpenError::HoldsValues { name } => write!(
                f,
                "channel {name} is unused but still holds values, and has other sizes than asked \
                 for: open it and take them, or remove it with unlink"
            ),
            OpenError::Corrupt { key, what } => write!(
                f,
                "the header of the channel at key {key} is damaged: {what}; remove it with unlink"
            ),
            OpenError::Busy { pid } => write!(
                f,
                "process {pid} holds the channel's lock and does not give it back: it may be \
                 stopped; continue or end it"
            ),
            OpenError::UndoIgnored => f.write_str(
                "this kernel ignores SEM_UNDO (gVisor does), so a peer's death would go unnoticed: \
                 channels do not work here",
            ),
            OpenError::System(error) => error.fmt(f),
        }
    }
}

impl Error for OpenError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            OpenError::InvalidName(error) => Some(error),
            OpenError::System(error) => Some(error),
            _ => None,
        }
    }
}

impl From<SystemError> for OpenError {
    fn from(error: SystemError) -> Self {
        OpenError::System(error)
    }
}

impl From<InvalidName> for OpenError {
    fn from(error: InvalidName) -> Self {
        OpenError::InvalidName(error)
    }
}

/// Why a [`Channel`](crate::Channel) gave no sender or receiver.
#[derive(Debug)]
#[non_exhaustive]
pub enum AttachError {
    /// Every lane has a sender.
    LanesExhausted {
        /// How many lanes the channel has.
        lanes: usize,
    },
    /// The channel has a receiver, and can have only one.
    ReceiverExists {
        /// The process that attached it.
        pid: i32,
    },
    /// The channel was removed.
    Removed,
    /// The channel was opened by this process's parent, before a fork.
    Forked,
    /// The shared memory says what no program of this crate writes.
    Corrupt {
        /// What is wrong.
        what: String,
    },
    /// A system call failed.
    System(SystemError),
}

impl fmt::Display for AttachError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AttachError::LanesExhausted { lanes } => write!(
                f,
                "all {lanes} lanes of the channel have a sender: close one, or create the channel \
                 with more (Options::lanes)"
            ),
            AttachError::ReceiverExists { pid } => {
                write!(f, "process {pid} has the channel's receiver: a channel has one at a time")
            }
            AttachError::Removed => f.write_str(REMOVED),
            AttachError::Forked => f.write_str(FORKED),
            AttachError::Corrupt { what } => write!(f, "{DAMAGED}: {what}"),
            AttachError::System(error) => error.fmt(f),
        }
    }
}

impl Error for AttachError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            AttachError::System(error) => Some(error),
            _ => None,
        }
    }
}

const REMOVED: &str = "the channel was removed: create or open it again";
const FORKED: &str = "this endpoint belongs to the parent of this forked process: open the channel \
                      again in the child";
const REENTRANT: &str = "this endpoint is in the middle of another call: a Serialize or Deserialize \
                         must not use the endpoint that is running it";
const DAMAGED: &str = "the channel's shared memory is damaged";

/// Why a value was not sent. It was not, whichever this is.
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
#[derive(Debug)]
#[non_exhaustive]
pub enum SendError {
    /// There is no room, and the call was not to wait.
    Full,
    /// There was no room until the deadline passed.
    Timeout,
    /// A receiver has come and none is attached now, or the channel was removed.
    Disconnected,
    /// The encoded value is longer than the channel takes.
    TooLong {
        /// The longest encoded value, in bytes.
        max: u64,
    },
    /// The encoded value goes in fragments, which needs a waiting call.
    NeedsWaiting {
        /// The value's length in bytes.
        len: usize,
        /// The longest value that goes in one piece.
        max: usize,
    },
    /// The value could not be encoded.
    Encode(EncodeError),
    /// The endpoint is in the middle of another call.
    Reentrant,
    /// The endpoint belongs to this process's parent.
    Forked,
    /// The shared memory says what no program of this crate writes.
    Corrupt {
        /// What is wrong.
        what: String,
    },
    /// A system call failed.
    System(SystemError),
}

impl SendError {
    /// Whether there was no room, and the call was not to wait.
    pub fn is_full(&self) -> bool {
        matches!(self, SendError::Full)
    }

    /// Whether the deadline passed.
    pub fn is_timeout(&self) -> bool {
        matches!(self, SendError::Timeout)
    }

    /// Whether no receiver is attached, though one had come.
    pub fn is_disconnected(&self) -> bool {
        matches!(self, SendError::Disconnected)
    }
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SendError::Full => f.write_str("the channel is full"),
            SendError::Timeout => f.write_str("the channel stayed full until the deadline"),
            SendError::Disconnected => {
                f.write_str("the channel's receiver is gone, or the channel was removed")
            }
            SendError::TooLong { max } => write!(
                f,
                "the encoded value is longer than the {max} bytes that the channel was created \
                 for (Options::max_value, Options::inline_limit)"
            ),
            SendError::NeedsWaiting { len, max } => write!(
                f,
                "a value of {len} bytes goes in fragments, since it is longer than {max}: use send \
                 or send_timeout, or create the channel with a larger capacity"
            ),
            SendError::Encode(error) => error.fmt(f),
            SendError::Reentrant => f.write_str(REENTRANT),
            SendError::Forked => f.write_str(FORKED),
            SendError::Corrupt { what } => write!(f, "{DAMAGED}: {what}"),
            SendError::System(error) => error.fmt(f),
        }
    }
}

impl Error for SendError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            SendError::Encode(error) => Some(error),
            SendError::System(error) => Some(error),
            _ => None,
        }
    }
}

impl From<EncodeError> for SendError {
    fn from(error: EncodeError) -> Self {
        SendError::Encode(error)
    }
}

/// Why no value was received.
///
/// ```
/// let (tx, rx) = sysv_channel::channel::<u32>()?;
/// assert!(rx.try_recv().unwrap_err().is_empty());
/// drop(tx);
/// assert!(rx.recv().unwrap_err().is_disconnected());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum RecvError {
    /// Nothing is there, and the call was not to wait.
    Empty,
    /// Nothing came until the deadline passed.
    Timeout,
    /// Senders have come, none is attached now and nothing is left; or the channel was removed.
    Disconnected,
    /// A value was taken off but could not be decoded; the next call goes on with the next.
    Decode(DecodeError),
    /// Selection needs a queue, and this channel has only rings.
    NoSelection,
    /// Reading in place was not allowed when the channel was opened.
    NotTrusted,
    /// Messages that dead receivers had in hand fill the places kept for them, and none matches:
    /// take those first, with [`Select::Any`](crate::Select::Any).
    SlotsFull,
    /// The endpoint is in the middle of another call.
    Reentrant,
    /// The endpoint belongs to this process's parent.
    Forked,
    /// The shared memory or the queue holds what no program of this crate writes.
    Corrupt {
        /// What is wrong, and whether the channel goes on.
        what: String,
    },
    /// A system call failed.
    System(SystemError),
}

impl RecvError {
    /// Whether nothing was there, and the call was not to wait.
    pub fn is_empty(&self) -> bool {
        matches!(self, RecvError::Empty)
    }

    /// Whether the deadline passed.
    pub fn is_timeout(&self) -> bool {
        matches!(self, RecvError::Timeout)
    }

    /// Whether all senders are gone and nothing is left.
    pub fn is_disconnected(&self) -> bool {
        matches!(self, RecvError::Disconnected)
    }
}

impl fmt::Display for RecvError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RecvError::Empty => f.write_str("the channel is empty"),
            RecvError::Timeout => f.write_str("the channel stayed empty until the deadline"),
            RecvError::Disconnected => f.write_str(
                "the channel's senders are gone and nothing is left, or the channel was removed",
            ),
            RecvError::Decode(error) => write!(f, "a value was dropped: {error}"),
            RecvError::NoSelection => f.write_str(
                "this channel has only rings and hands values over in order: create it with an \
                 inline_limit above 0 to select by tag",
            ),
            RecvError::NotTrusted => f.write_str(
                "reading in place needs the promise that all peers keep to the protocol: \
                 Options::in_place",
            ),
            RecvError::SlotsFull => f.write_str(
                "values that dead receivers had in hand wait to be taken, and none has the tag \
                 asked for: receive them with Select::Any first",
            ),
            RecvError::Reentrant => f.write_str(REENTRANT),
            RecvError::Forked => f.write_str(FORKED),
            RecvError::Corrupt { what } => write!(f, "{DAMAGED}: {what}"),
            RecvError::System(error) => error.fmt(f),
        }
    }
}

impl Error for RecvError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            RecvError::Decode(error) => Some(error),
            RecvError::System(error) => Some(error),
            _ => None,
        }
    }
}

impl From<DecodeError> for RecvError {
    fn from(error: DecodeError) -> Self {
        RecvError::Decode(error)
    }
}
