//! What can go wrong with finding and making a channel.

use std::error::Error;
use std::fmt;

use super::AttachError;
use super::text::{Describe, Process, Unmapped, Words, channel};
use crate::name::{InvalidName, Name};
use crate::sys::{Key, SystemError};

/// Why a channel was not created or opened.
///
/// ```
/// use sysv_channel::{Channel, OpenError};
///
/// let error = Channel::<u32>::open("never created").unwrap_err();
/// assert!(matches!(error, OpenError::NotFound { .. }));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum OpenError {
    /// The name is empty or longer than 255 bytes.
    InvalidName(InvalidName),
    /// Options that contradict each other or that the kernel's limits do not allow.
    InvalidOptions {
        /// The name; `None` for what is private.
        name: Option<Name>,
        /// Which option, and what it may be.
        what: String,
    },
    /// There is no such channel, or not yet.
    NotFound {
        /// What was asked for.
        name: Name,
    },
    /// A channel of this name exists and is in use.
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
        /// The channel's key.
        key: Key,
        /// The channel's layout version.
        found: u64,
        /// This crate's.
        expected: u64,
    },
    /// The channel carries another type.
    WrongType {
        /// What was asked for.
        name: Name,
        /// The type that this program names.
        mine: String,
        /// The type that the creator named.
        theirs: String,
        /// The first difference between the two.
        difference: String,
    },
    /// The channel's values are encoded by another codec.
    WrongCodec {
        /// What was asked for.
        name: Name,
        /// The codec that this program names.
        mine: &'static str,
        /// The codec that the creator named.
        theirs: String,
    },
    /// No receiver could decode a value of this type.
    Undecodable {
        /// What was asked for.
        name: Name,
        /// Which part of the type stands against it, and how.
        why: String,
    },
    /// The channel takes longer values than this program asked for.
    LongerValues {
        /// What was asked for.
        name: Name,
        /// The longest encoded value that this program asked for, in bytes.
        mine: u64,
        /// The creator's.
        theirs: u64,
    },
    /// `create` found an unused channel that is kept, since it is durable or holds values, and that
    /// was made with other options.
    OtherOptions {
        /// What was asked for.
        name: Name,
        /// Whether it is durable; else it holds values.
        durable: bool,
        /// Which options differ, and how.
        difference: String,
    },
    /// The channel's header contradicts itself.
    Corrupt {
        /// The channel's key.
        key: Key,
        /// What is wrong with it.
        what: String,
    },
    /// Another process has held the channel's lock for five seconds; it is stopped, perhaps.
    Busy {
        /// What was asked for.
        name: Name,
        /// That process; 0 if it is in another pid namespace.
        pid: i32,
    },
    /// The channel has users, so [`unlink_unused`](crate::Channel::unlink_unused) does not remove it.
    InUse {
        /// What was asked for.
        name: Name,
        /// How many; each end of a channel is one.
        users: usize,
    },
    /// Values wait in the channel, so [`unlink_unused`](crate::Channel::unlink_unused) does not remove it.
    HoldsValues {
        /// What was asked for.
        name: Name,
    },
    /// Other processes made the channel and removed it, time and again, while this one looked for it.
    Unsettled {
        /// What was asked for.
        name: Name,
    },
    /// The channel was made, but one of its ends could not be attached.
    Attach(AttachError),
    /// The kernel ignores `SEM_UNDO`, on which everything here rests (gVisor does).
    UndoIgnored,
    /// This process is exiting, and a channel that it created or opened now would stay behind.
    Exiting {
        /// What was asked for.
        name: Name,
    },
    /// A system call failed.
    System(SystemError),
}

/// What to do about another type.
const SAME_TYPE: &str = "build all programs with one type, or end those that use the other one and, if it \
                         is still there then, remove it with unlink";

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.describe(channel, f)
    }
}

impl Describe for OpenError {
    fn describe(&self, named: Words, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OpenError::InvalidName(error) => write!(f, "{error}"),
            OpenError::InvalidOptions { name: Some(name), what } => {
                write!(f, "{} cannot be made with these options: {what}", named(name))
            }
            OpenError::InvalidOptions { name: None, what } => {
                write!(f, "a private channel cannot be made with these options: {what}")
            }
            OpenError::NotFound { name: name @ Name::Handle(_) } => write!(
                f,
                "{}, which was to be opened by its handle, is gone: its last user has closed it, \
                 or it is in another ipc namespace (a container has its own); a process that hands \
                 out a handle keeps the channel until the other has opened it",
                named(name)
            ),
            OpenError::NotFound { name } => write!(
                f,
                "{} is not there: no process has created it yet, its last user has closed it or \
                 another has removed it, it is in another ipc namespace (a container has its own), or \
                 what has that name is a bare Queue; a program that opens it is started after the one \
                 that creates it, or waits for that",
                named(name)
            ),
            OpenError::AlreadyExists { name } => {
                write!(f, "{} exists and is in use: open it, or take another name", named(name))
            }
            OpenError::KeyCollision { key, found } => write!(
                f,
                "key {key} is taken by {found}: it was left alone; take another name, or remove \
                 it with ipcrm if it is yours"
            ),
            OpenError::NotOwned { object, uid, creator_uid } => write!(
                f,
                "{object} belongs to user {uid} and was created by user {creator_uid}: refused; the \
                 option owner (Options::owner) allows a user that you trust{}",
                Unmapped(&[*uid, *creator_uid])
            ),
            OpenError::WrongMode { object, found, expected } => write!(
                f,
                "{object} has permissions {found:03o}, its channel was created with \
                 {expected:03o}: they were changed (ipcs shows them), so set them back, or remove \
                 the channel with unlink"
            ),
            OpenError::WrongVersion { key, found, expected } => write!(
                f,
                "the channel at key {key} has layout version {found}, this program speaks {expected}: build \
                 both sides with one version of sysv-channel"
            ),
            OpenError::WrongType { name, mine, theirs, difference } if mine == theirs => write!(
                f,
                "{} carries another {theirs} than the {mine} of this program: {difference}; {SAME_TYPE}",
                named(name)
            ),
            OpenError::WrongType { name, mine, theirs, difference } => write!(
                f,
                "{} carries {theirs}, this program asked for {mine}: {difference}; {SAME_TYPE}",
                named(name)
            ),
            OpenError::WrongCodec { name, mine, theirs } => write!(
                f,
                "the values of {} are encoded by {theirs:?}, this program asked for {mine:?}: name \
                 the same codec on both sides",
                named(name)
            ),
            OpenError::Undecodable { name, why } => write!(
                f,
                "{} cannot carry this type: {why}; a plain channel takes the type as it is if \
                 Options::schema vouches for it",
                named(name)
            ),
            OpenError::LongerValues { name, mine, theirs } => write!(
                f,
                "{} takes values of up to {theirs} bytes, this program is ready for {mine}: open \
                 it with max_value({theirs})",
                named(name)
            ),
            OpenError::OtherOptions { name, durable, difference } => write!(
                f,
                "{} is unused, but {}, and was created with other options ({difference}): open it, \
                 create it with the same, or remove it with unlink",
                named(name),
                if *durable { "durable" } else { "still holds values" }
            ),
            OpenError::Corrupt { key, what } => write!(
                f,
                "the header of the channel at key {key} is damaged: {what}; remove it with unlink"
            ),
            OpenError::Busy { name, pid } => write!(
                f,
                "{} holds the lock of {} and does not give it back: it may be stopped; continue or \
                 end it",
                Process(*pid),
                named(name)
            ),
            OpenError::InUse { name, users } => write!(
                f,
                "{} is in use ({users} open) and was not removed: end its users first, or remove it under \
                 them with unlink",
                named(name)
            ),
            OpenError::HoldsValues { name } => write!(
                f,
                "{} holds values and was not removed: receive them first, or remove it with them by unlink",
                named(name)
            ),
            OpenError::Unsettled { name } => write!(
                f,
                "{} was made and removed by other processes, time and again, while this one looked \
                 for it: try again, or see to it that its users keep it",
                named(name)
            ),
            OpenError::Attach(error) => error.describe(named, f),
            OpenError::UndoIgnored => f.write_str(
                "this kernel ignores SEM_UNDO (gVisor does), so a peer's death would go unnoticed: \
                 channels do not work here",
            ),
            OpenError::Exiting { name } => write!(
                f,
                "this process is exiting and has given up its channels: it neither creates nor opens \
                 {}",
                named(name)
            ),
            OpenError::System(error) => write!(f, "{error}"),
        }
    }
}

impl Error for OpenError {}

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
