//! What can go wrong with a bare segment.

use std::error::Error;
use std::fmt;
use std::ops::Range;

use crate::bare::bare_error;
use crate::error::text::{Unmapped, channel, segment};
use crate::name::{InvalidName, Name};
use crate::sys::{SystemError, SystemErrorKind};

/// Why a segment was not created, opened, looked at, changed or removed.
///
/// ```
/// use sysv_channel::{Segment, SegmentError};
///
/// let error = Segment::open("never created").unwrap_err();
/// assert!(matches!(error, SegmentError::NotFound { .. }));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum SegmentError {
    /// The name is empty or too long.
    InvalidName(InvalidName),
    /// That is a channel's name, key or handle, and a channel's memory is not to be used as a bare
    /// segment.
    IsChannel {
        /// What was asked for.
        name: Name,
    },
    /// An option that the kernel has no use for.
    InvalidOption(String),
    /// No segment has that name.
    NotFound {
        /// What was asked for.
        name: Name,
    },
    /// A segment has that name already.
    AlreadyExists {
        /// What was asked for.
        name: Name,
    },
    /// The segment has fewer bytes than were asked for.
    TooSmall {
        /// The segment.
        object: String,
        /// Its size in bytes.
        size: usize,
        /// How many were asked for.
        wanted: usize,
    },
    /// Another user owns or created the segment.
    NotOwned {
        /// The segment.
        object: String,
        /// Its owner's user id.
        uid: u32,
        /// Its creator's user id.
        creator_uid: u32,
    },
    /// The segment's mode does not let this user attach it so.
    NotAllowed {
        /// The segment.
        object: String,
        /// Its nine permission bits.
        mode: u32,
        /// Whether it was to be attached for reading alone.
        read_only: bool,
    },
    /// The segment was removed.
    Removed {
        /// The segment.
        object: String,
    },
    /// This process is exiting, and a private segment that it made now would stay behind.
    Exiting,
    /// A system call failed.
    System(SystemError),
}

impl SegmentError {
    /// Whether there is no such segment.
    pub fn is_not_found(&self) -> bool {
        matches!(self, SegmentError::NotFound { .. })
    }

    /// Whether there is such a segment already.
    pub fn is_already_exists(&self) -> bool {
        matches!(self, SegmentError::AlreadyExists { .. })
    }

    /// Whether the segment was removed.
    pub fn is_removed(&self) -> bool {
        matches!(self, SegmentError::Removed { .. })
    }
}

impl fmt::Display for SegmentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SegmentError::InvalidName(error) => error.fmt(f),
            SegmentError::IsChannel { name } => {
                write!(f, "{} is no bare segment: open it with Channel::open", channel(name))
            }
            SegmentError::InvalidOption(what) => write!(f, "unusable segment option: {what}"),
            SegmentError::NotFound { name } => write!(
                f,
                "{} is not there: create it first, check the name, or look whether it is in another \
                 ipc namespace (a container has its own)",
                segment(name)
            ),
            SegmentError::AlreadyExists { name } => {
                write!(f, "{} exists: open it, or remove it first (ipcrm)", segment(name))
            }
            SegmentError::TooSmall { object, size, wanted } => write!(
                f,
                "{object} has {size} bytes, and at least {wanted} were asked for: do all its programs \
                 lay it out alike? A segment never grows: to have a larger one, remove it first (ipcrm)"
            ),
            SegmentError::NotOwned { object, uid, creator_uid } => write!(
                f,
                "{object} belongs to user {uid} and was created by user {creator_uid}: refused; \
                 SegmentOptions::owner allows a user that you trust{}",
                Unmapped(&[*uid, *creator_uid])
            ),
            SegmentError::NotAllowed { object, mode, read_only: true } => write!(
                f,
                "{object} has mode {mode:#o}, which does not let this user read it: ask its owner"
            ),
            SegmentError::NotAllowed { object, mode, read_only: false } => write!(
                f,
                "{object} has mode {mode:#o}, which does not let this user read and write it: ask its \
                 owner, or attach it with SegmentOptions::read_only where reading is enough"
            ),
            SegmentError::Removed { object } => {
                write!(f, "{object} was removed: create or open it again")
            }
            SegmentError::Exiting => f.write_str(
                "this process is exiting and has given up its private segments: it makes no other",
            ),
            SegmentError::System(error) => error.fmt(f),
        }
    }
}

// Without a source: what an error was caused by is part of its text.
impl Error for SegmentError {}

bare_error!(SegmentError);

impl From<SystemError> for SegmentError {
    fn from(error: SystemError) -> Self {
        match error.kind() {
            SystemErrorKind::Removed => SegmentError::Removed { object: error.object() },
            _ => SegmentError::System(error),
        }
    }
}

impl From<InvalidName> for SegmentError {
    fn from(error: InvalidName) -> Self {
        SegmentError::InvalidName(error)
    }
}

/// Why bytes of a segment were not read or written. None were.
///
/// ```
/// use sysv_channel::{Segment, SegmentAccessError};
///
/// let segment = Segment::private(8)?;
/// let error = segment.store_bytes(6, b"long").unwrap_err();
/// assert!(matches!(error, SegmentAccessError::OutOfBounds { size: 8, .. }));
/// # Ok::<(), sysv_channel::SegmentError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum SegmentAccessError {
    /// The segment does not have these bytes.
    OutOfBounds {
        /// The segment.
        object: String,
        /// Its size in bytes.
        size: usize,
        /// What was asked for.
        range: Range<usize>,
    },
    /// A word stands at a multiple of its size.
    Unaligned {
        /// The segment.
        object: String,
        /// The offset that was asked for.
        offset: usize,
        /// The word's size in bytes.
        size: usize,
    },
    /// The segment was attached for reading alone.
    ReadOnly {
        /// The segment.
        object: String,
    },
    /// There is no memory for a copy.
    NoMemory {
        /// The segment.
        object: String,
        /// How many bytes were to be copied.
        len: usize,
    },
}

impl fmt::Display for SegmentAccessError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SegmentAccessError::OutOfBounds { object, size, range } => {
                write!(f, "{object} has {size} bytes; {}..{} was asked for", range.start, range.end)
            }
            SegmentAccessError::Unaligned { object, offset, size } => write!(
                f,
                "an atomic word of {size} bytes stands at a multiple of {size}, and {offset} of {object} \
                 is none: load and store copy from and to any offset"
            ),
            SegmentAccessError::ReadOnly { object } => write!(
                f,
                "{object} was attached for reading alone: open it without SegmentOptions::read_only to \
                 store, or use load"
            ),
            SegmentAccessError::NoMemory { object, len } => {
                write!(f, "this process has no memory for a copy of {len} bytes of {object}")
            }
        }
    }
}

impl Error for SegmentAccessError {}
