//! What can go wrong, for each operation.

use std::fmt;
use std::sync::Arc;

use crate::codec::DecodeError;
use crate::error::{AttachError, OpenError, Process, RecvError, SendError, The};
use crate::name::Name;

/// Why a mailbox could not be bound.
#[derive(Debug)]
#[non_exhaustive]
pub enum BindError {
    /// Another actor has the mailbox.
    AlreadyBound {
        /// The name.
        name: Name,
        /// Its process.
        pid: i32,
    },
    /// The deadline passed while another actor was there.
    Timeout {
        /// The name.
        name: Name,
    },
    /// The channel could not be opened or created.
    Open(OpenError),
    /// The mailbox could not be attached to it.
    Attach(AttachError),
}

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BindError::AlreadyBound { name, pid } => write!(
                f,
                "{} has the mailbox {name} already: end it, take another name, or stand by \
                 for its place (MailboxOptions::stand_by)",
                Process(*pid)
            ),
            BindError::Timeout { name } => {
                write!(f, "the other actor of the mailbox {name} was still there at the deadline")
            }
            BindError::Open(error) => error.fmt(f),
            BindError::Attach(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for BindError {}

impl From<OpenError> for BindError {
    fn from(error: OpenError) -> Self {
        BindError::Open(error)
    }
}

/// Why an address could not be connected.
#[derive(Debug)]
#[non_exhaustive]
pub enum ConnectError {
    /// As many addresses are connected as the mailbox was bound for.
    TooManyAddresses {
        /// The channel of the mailbox.
        channel: Arc<Name>,
        /// How many.
        addresses: usize,
    },
    /// There is no mailbox of this name, or it takes other messages.
    Open(OpenError),
    /// The address could not be attached.
    Attach(AttachError),
    /// The address is in the middle of another call, whose `Serialize` made this one.
    Reentrant {
        /// The name of the mailbox.
        name: Name,
    },
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ConnectError::TooManyAddresses { channel, addresses } => write!(
                f,
                "{addresses} addresses are connected to {}, as many as the mailbox takes: drop one, \
                 or bind it for more (MailboxOptions::addresses)",
                The(channel)
            ),
            ConnectError::Open(error) => error.fmt(f),
            ConnectError::Attach(error) => error.fmt(f),
            ConnectError::Reentrant { name } => write!(
                f,
                "this address of the mailbox {name} is in the middle of another call: a Serialize \
                 must not use the address that it is sent through; give it a clone"
            ),
        }
    }
}

impl std::error::Error for ConnectError {}

impl From<OpenError> for ConnectError {
    fn from(error: OpenError) -> Self {
        ConnectError::Open(error)
    }
}

impl From<AttachError> for ConnectError {
    fn from(error: AttachError) -> Self {
        match error {
            AttachError::LanesExhausted { channel, lanes } => {
                ConnectError::TooManyAddresses { channel, addresses: lanes }
            }
            error => ConnectError::Attach(error),
        }
    }
}

/// Why a message was not told.
#[derive(Debug)]
#[non_exhaustive]
pub enum TellError {
    /// The mailbox is full, and the call was not to wait.
    Full,
    /// The mailbox was full, or had no actor, until the deadline passed.
    Timeout,
    /// The mailbox has no actor, and the call was not to wait, or it is private and its actor has
    /// ended: no other comes.
    Gone,
    /// The address could not be connected.
    Connect(ConnectError),
    /// The message could not be sent.
    Send(SendError),
}

impl TellError {
    /// Whether the mailbox is full, and the call was not to wait.
    pub fn is_full(&self) -> bool {
        matches!(self, TellError::Full)
    }

    /// Whether the deadline passed.
    pub fn is_timeout(&self) -> bool {
        matches!(self, TellError::Timeout)
    }

    /// Whether the mailbox has no actor, and the call was not to wait or none can come.
    pub fn is_gone(&self) -> bool {
        matches!(self, TellError::Gone)
    }
}

impl fmt::Display for TellError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TellError::Full => {
                f.write_str("the mailbox is full: wait with tell, or tell less until it is read")
            }
            TellError::Timeout => f.write_str(
                "the mailbox was full or had no actor until the deadline; the message was not told",
            ),
            TellError::Gone => f.write_str(
                "the mailbox has no actor: start one, or wait for it with tell (a private \
                     mailbox never has another)",
            ),
            TellError::Connect(error) => write!(f, "the address cannot be connected: {error}"),
            TellError::Send(error) => write!(f, "the message could not be sent: {error}"),
        }
    }
}

impl std::error::Error for TellError {}

impl From<ConnectError> for TellError {
    fn from(error: ConnectError) -> Self {
        TellError::Connect(error)
    }
}

/// Why an ask has no reply.
#[derive(Debug)]
#[non_exhaustive]
pub enum AskError {
    /// No reply came until the deadline; the message may still be read.
    Timeout,
    /// The actor's process ended before it replied, or had ended before if its mailbox is private.
    Died,
    /// The process that held the reply port dropped it, or died.
    Dropped,
    /// The actor could not decode the message; its reason.
    Unreadable(String),
    /// The reply could not be sent; the reason.
    Unsendable(String),
    /// The reply could not be decoded.
    Decode(DecodeError),
    /// The message was not told.
    Tell(TellError),
    /// Waiting for the reply failed.
    Wait(RecvError),
}

impl AskError {
    /// Whether the deadline passed, be it for telling or for the reply.
    pub fn is_timeout(&self) -> bool {
        matches!(self, AskError::Timeout | AskError::Tell(TellError::Timeout))
    }

    /// Whether the actor's process ended before it replied.
    pub fn is_died(&self) -> bool {
        matches!(self, AskError::Died)
    }

    /// Whether whoever held the reply port dropped it, or died.
    pub fn is_dropped(&self) -> bool {
        matches!(self, AskError::Dropped)
    }
}

impl fmt::Display for AskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AskError::Timeout => f.write_str(
                "no reply came until the deadline; the message may still be read: ask again only \
                 what may be done twice, or wait longer with ask_timeout",
            ),
            AskError::Died => f.write_str(
                "the actor's process ended before it replied; it may have read the message, and \
                 its successor may still do so: ask again only what may be done twice",
            ),
            AskError::Dropped => f.write_str(
                "whoever held the reply port dropped it without a reply, or died with it",
            ),
            AskError::Unreadable(why) => write!(f, "the actor cannot read the message: {why}"),
            AskError::Unsendable(why) => write!(f, "the reply could not be sent: {why}"),
            AskError::Decode(error) => write!(f, "the reply cannot be decoded: {error}"),
            AskError::Tell(error) => error.fmt(f),
            AskError::Wait(error) => write!(f, "waiting for the reply failed: {error}"),
        }
    }
}

impl std::error::Error for AskError {}

impl From<TellError> for AskError {
    fn from(error: TellError) -> Self {
        AskError::Tell(error)
    }
}

/// Why a reply did not go. An actor can ignore it: the other side has given up, died, or is told.
#[derive(Debug)]
#[non_exhaustive]
pub enum ReplyError {
    /// The asker is gone, or the actor that was asked.
    Gone,
    /// The port is not this process's to answer: it was passed on, or never received.
    PassedOn,
    /// The asker has left so many answers unread that there is no room for this one, or the mailbox
    /// through which a forwarded reply goes was full for a second; the asker was told, if that was
    /// possible.
    Full,
    /// The reply is longer than the mailbox's longest; the asker was told, if that was possible.
    TooLong {
        /// The longest encoded reply, in bytes.
        max: u64,
    },
    /// The home of a forwarded port could not be opened.
    Open(OpenError),
    /// The home of a forwarded port could not be attached.
    Attach(AttachError),
    /// The reply could not be sent; the asker was told, if that was possible.
    Send(SendError),
}

impl From<SendError> for ReplyError {
    fn from(error: SendError) -> Self {
        match error {
            SendError::Disconnected { .. } | SendError::Removed { .. } => ReplyError::Gone,
            SendError::Full { .. } | SendError::Timeout { .. } => ReplyError::Full,
            SendError::TooLong { max, .. } => ReplyError::TooLong { max },
            error => ReplyError::Send(error),
        }
    }
}

impl fmt::Display for ReplyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ReplyError::Gone => f.write_str("the asker is gone, or the actor that was asked"),
            ReplyError::PassedOn => f.write_str("the reply port was passed on"),
            ReplyError::Full => f.write_str("there is no room for the reply"),
            ReplyError::TooLong { max } => write!(
                f,
                "the reply is longer than {max} bytes: bind the mailbox with a greater \
                 MailboxOptions::max_value"
            ),
            ReplyError::Open(error) => write!(f, "the way back cannot be opened: {error}"),
            ReplyError::Attach(error) => write!(f, "the way back cannot be taken: {error}"),
            ReplyError::Send(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for ReplyError {}

/// Why an actor could not be watched.
#[derive(Debug)]
#[non_exhaustive]
pub enum WatchError {
    /// No actor came within ten seconds, or none ended within the time to wait.
    Timeout,
    /// The address could not be connected.
    Connect(ConnectError),
    /// Watching failed.
    Watch(SendError),
}

impl WatchError {
    /// Whether the time passed.
    pub fn is_timeout(&self) -> bool {
        matches!(self, WatchError::Timeout)
    }
}

impl fmt::Display for WatchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WatchError::Timeout => f.write_str("the time passed"),
            WatchError::Connect(error) => write!(f, "the address cannot be connected: {error}"),
            WatchError::Watch(error) => write!(f, "watching failed: {error}"),
        }
    }
}

impl std::error::Error for WatchError {}

impl From<ConnectError> for WatchError {
    fn from(error: ConnectError) -> Self {
        WatchError::Connect(error)
    }
}
