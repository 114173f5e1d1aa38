//! What can go wrong, an enum for each operation.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use crate::codec::{DecodeError, EncodeError};
use crate::name::{Handle, InvalidName, Name};
use crate::sys::{Key, SystemError, process};

/// Why a channel was not created or opened.
///
/// ```
/// use sysv_channel::{Channel, OpenError};
///
/// let error = Channel::<u32>::open("nobody made this").unwrap_err();
/// assert!(matches!(error, OpenError::NotFound { .. }));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
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
        /// What was asked for.
        name: Name,
        /// That process; 0 if it is in another pid namespace.
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
            OpenError::NotFound { name: Name::Handle(handle) } => write!(
                f,
                "{handle} is gone: its last user has closed it, or it is in another ipc namespace \
                 (a container has its own); whoever hands out a handle keeps the channel until the \
                 other has opened it"
            ),
            OpenError::NotFound { name } => write!(
                f,
                "no channel {name}: no process has created it yet, its last user has closed it, or \
                 it is in another ipc namespace (a container has its own); start its creator first, \
                 or wait for it"
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
                 Options::owner allows a user that you trust{}",
                Unmapped(&[*uid, *creator_uid])
            ),
            OpenError::WrongMode { object, found, expected } => write!(
                f,
                "{object} has permissions {found:03o}, its channel was created with \
                 {expected:03o}: somebody changed them"
            ),
            OpenError::WrongVersion { key, found, expected } => write!(
                f,
                "the channel at key {key} has layout version {found}, this program speaks {expected}: build \
                 both sides with one version of sysv-channel"
            ),
            OpenError::WrongType { name, mine, theirs, difference } => write!(
                f,
                "{} carries {theirs}, this program asked for {mine}: {difference}",
                The(name)
            ),
            OpenError::WrongCodec { name, mine, theirs } => write!(
                f,
                "the values of {} are encoded by {theirs:?}, this program asked for {mine:?}: name \
                 the same codec on both sides",
                The(name)
            ),
            OpenError::Undecodable { name, why } => write!(
                f,
                "channel {name} cannot carry this type: {why}; change the type, name a codec whose \
                 format describes itself (codec::Json, feature `json`), or vouch for the type with \
                 Options::schema"
            ),
            OpenError::LongerValues { name, mine, theirs } => write!(
                f,
                "{} takes values of up to {theirs} bytes, this program asked for {mine}: open it \
                 with max_value({theirs})",
                The(name)
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
            OpenError::Busy { name, pid } => write!(
                f,
                "{} holds the lock of {} and does not give it back: it may be stopped; continue or \
                 end it",
                Process(*pid),
                The(name)
            ),
            OpenError::UndoIgnored => f.write_str(
                "this kernel ignores SEM_UNDO (gVisor does), so a peer's death would go unnoticed: \
                 channels do not work here",
            ),
            OpenError::System(error) => error.fmt(f),
        }
    }
}

// What an error was caused by is part of its text, so it has no source: a program that prints both
// would print it twice.
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
        match self {
            AttachError::LanesExhausted { channel, lanes: 1 } => write!(
                f,
                "the one lane of {} has a sender: close it, or create the channel with more lanes \
                 (Options::lanes)",
                The(channel)
            ),
            AttachError::LanesExhausted { channel, lanes } => write!(
                f,
                "all {lanes} lanes of {} have a sender: close one, or create the channel with more \
                 (Options::lanes)",
                The(channel)
            ),
            AttachError::ReceiverExists { channel, pid } => write!(
                f,
                "{} has the receiver of {}: a channel has one at a time",
                Process(*pid),
                The(channel)
            ),
            AttachError::Removed { channel } => removed(f, channel),
            AttachError::Forked { channel } => forked(f, channel),
            AttachError::Corrupt { channel, what } => damaged(f, channel, what),
            AttachError::System { channel, error } => write!(f, "{}: {error}", The(channel)),
        }
    }
}

// Without a source, as above.
impl Error for AttachError {}

/// How errors name a channel.
pub(crate) struct The<'a>(pub(crate) &'a Name);

impl fmt::Display for The<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Name::Text(text) => write!(f, "channel {text:?}"),
            Name::Key(key) | Name::Handle(Handle { key, .. }) => {
                write!(f, "the channel at key {key}")
            }
        }
    }
}

fn removed(f: &mut fmt::Formatter<'_>, channel: &Name) -> fmt::Result {
    write!(
        f,
        "{} was removed (unlink, ipcrm), or this process left its ipc namespace: what it held is \
         lost; create or open it again",
        The(channel)
    )
}

fn forked(f: &mut fmt::Formatter<'_>, channel: &Name) -> fmt::Result {
    write!(
        f,
        "this endpoint of {} belongs to the parent of this forked process: open the channel again \
         in the child",
        The(channel)
    )
}

/// A process as messages name it: by the number that the kernel told.
pub(crate) struct Process(pub(crate) i32);

impl fmt::Display for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            // What the kernel says of a process that has no number here.
            0 => f.write_str("a process of another pid namespace"),
            pid => write!(f, "process {pid}"),
        }
    }
}

/// What there is to say of users that an object's owner or creator may be.
pub(crate) struct Unmapped<'a>(pub(crate) &'a [u32]);

impl fmt::Display for Unmapped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.iter().find(|&&uid| process::is_overflow_uid(uid)) {
            Some(uid) => write!(
                f,
                "; but {uid} is here every user that this process's user namespace does not map \
                 (see user_namespaces(7)), which Owner::Anyone alone trusts"
            ),
            None => Ok(()),
        }
    }
}

fn reentrant(f: &mut fmt::Formatter<'_>, channel: &Name) -> fmt::Result {
    write!(
        f,
        "this endpoint of {} is in the middle of another call: a Serialize or Deserialize must \
         not use the endpoint that is running it",
        The(channel)
    )
}

fn no_way_back(f: &mut fmt::Formatter<'_>, channel: &Name) -> fmt::Result {
    write!(f, "{} has no way back: create it with a return_capacity above 0", The(channel))
}

fn damaged(f: &mut fmt::Formatter<'_>, channel: &Name, what: &str) -> fmt::Result {
    write!(f, "the shared memory of {} is damaged: {what}", The(channel))
}

/// Why a value was not sent. It was not, whichever this is, but for
/// [`NotWoken`](SendError::NotWoken), and for a [`Removed`](SendError::Removed) that came while the
/// value was on its way: then the receiver may have it.
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
    /// A receiver has come and none is attached now.
    Disconnected {
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
        /// The option that says so.
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
    /// The channel has no way back: see
    /// [`Options::return_capacity`](crate::Options::return_capacity).
    NoWayBack {
        /// The channel.
        channel: Arc<Name>,
    },
    /// The endpoint is in the middle of another call.
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

    /// Whether the channel was removed.
    pub fn is_removed(&self) -> bool {
        matches!(self, SendError::Removed { .. })
    }
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SendError::Full { channel } => write!(f, "{} is full", The(channel)),
            SendError::Timeout { channel } => {
                write!(f, "{} stayed full until the deadline", The(channel))
            }
            SendError::Disconnected { channel } => {
                write!(f, "the receiver of {} is gone", The(channel))
            }
            SendError::Removed { channel } => removed(f, channel),
            SendError::TooLong { channel, max, option } => write!(
                f,
                "the encoded value is longer than {max} bytes, the most that goes through {}: create \
                 it with a larger {option}",
                The(channel)
            ),
            SendError::QueueTooSmall { channel, needed, capacity } => write!(
                f,
                "the value needs a message of {needed} bytes, and the queue of {} holds only \
                 {capacity} now: its msg_qbytes was lowered (msgctl), raise it again",
                The(channel)
            ),
            SendError::NeedsWaiting { channel, len, max } => write!(
                f,
                "a value of {len} bytes goes through {} in fragments, since it is longer than \
                 {max}, and so needs a call that waits; or create the channel with a larger \
                 capacity",
                The(channel)
            ),
            SendError::Encode { channel, error } => {
                write!(f, "a value for {} could not be encoded: {error}", The(channel))
            }
            SendError::NotWoken { channel, error } => write!(
                f,
                "the value was sent, but the receiver of {} sleeps and could not be woken: {error}",
                The(channel)
            ),
            SendError::NoWayBack { channel } => no_way_back(f, channel),
            SendError::Reentrant { channel } => reentrant(f, channel),
            SendError::Forked { channel } => forked(f, channel),
            SendError::Corrupt { channel, what } => damaged(f, channel, what),
            SendError::System { channel, error } => write!(f, "{}: {error}", The(channel)),
        }
    }
}

// Without a source, as above.
impl Error for SendError {}

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
    /// Senders have come, none is attached now and nothing is left. For what comes back to a sender:
    /// the receiver is gone.
    Disconnected {
        /// The channel.
        channel: Arc<Name>,
    },
    /// The channel was removed, or this process went to another ipc namespace. Every later call
    /// says so too, and what the channel held is lost.
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
    /// Messages that dead receivers had in hand fill the places kept for them, and none matches:
    /// take those first, with [`Select::Any`](crate::Select::Any).
    SlotsFull {
        /// The channel.
        channel: Arc<Name>,
    },
    /// An earlier call made room, but could not wake the sender that waits for it: this process has
    /// no right to any more, perhaps. Said once; the next call goes on.
    NotWoken {
        /// The channel.
        channel: Arc<Name>,
        /// What the kernel says.
        error: SystemError,
    },
    /// The channel has no way back: see
    /// [`Options::return_capacity`](crate::Options::return_capacity).
    NoWayBack {
        /// The channel.
        channel: Arc<Name>,
    },
    /// The endpoint is in the middle of another call.
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

    /// Whether the channel was removed.
    pub fn is_removed(&self) -> bool {
        matches!(self, RecvError::Removed { .. })
    }
}

impl fmt::Display for RecvError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RecvError::Empty { channel } => write!(f, "{} is empty", The(channel)),
            RecvError::Timeout { channel } => {
                write!(f, "{} stayed empty until the deadline", The(channel))
            }
            RecvError::Disconnected { channel } => {
                write!(f, "the other side of {} is gone and nothing is left", The(channel))
            }
            RecvError::Removed { channel } => removed(f, channel),
            RecvError::Decode { channel, error } => {
                write!(f, "a value of {} was dropped: {error}", The(channel))
            }
            RecvError::NoSelection { channel } => write!(
                f,
                "{} has only rings and hands values over in order: create it with an inline_limit \
                 above 0 to select by tag",
                The(channel)
            ),
            RecvError::NotTrusted { channel } => write!(
                f,
                "reading in place from {} needs the promise that all peers keep to the protocol: \
                 Options::in_place",
                The(channel)
            ),
            RecvError::SlotsFull { channel } => write!(
                f,
                "values of {} that dead receivers had in hand wait to be taken, and none has the \
                 tag asked for: receive them with Select::Any first",
                The(channel)
            ),
            RecvError::NotWoken { channel, error } => write!(
                f,
                "a sender of {} waits for room that there is now, and could not be woken: {error}",
                The(channel)
            ),
            RecvError::NoWayBack { channel } => no_way_back(f, channel),
            RecvError::Reentrant { channel } => reentrant(f, channel),
            RecvError::Forked { channel } => forked(f, channel),
            RecvError::Corrupt { channel, what } => damaged(f, channel, what),
            RecvError::System { channel, error } => write!(f, "{}: {error}", The(channel)),
        }
    }
}

// Without a source, as above.
impl Error for RecvError {}
