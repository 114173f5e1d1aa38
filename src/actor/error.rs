//! What can go wrong, for each operation.

use std::fmt;
use std::sync::Arc;

use crate::codec::DecodeError;
use crate::error::text::{Describe, mailbox};
use crate::error::{AttachError, OpenError, RecvError, SendError};
use crate::name::Name;
use crate::service::ConnectError;
use crate::transfer::Refusal;

/// Why a message was not told.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum TellError {
    /// The mailbox is full, and the call was not to wait.
    Full {
        /// The mailbox.
        mailbox: Arc<Name>,
    },
    /// The mailbox was full, or had no actor, until the deadline passed.
    Timeout {
        /// The mailbox.
        mailbox: Arc<Name>,
    },
    /// The mailbox has no actor, and the call was not to wait, or it is private and its actor has
    /// ended: no other comes.
    Gone {
        /// The mailbox.
        mailbox: Arc<Name>,
    },
    /// The address could not be connected.
    Connect(ConnectError),
    /// The message could not be sent. [`SendError::NotWoken`] is the one that says otherwise: it was
    /// sent, reply ports and all, and the actor reads it when something else wakes it.
    Send(SendError),
}

impl Refusal for TellError {
    fn was_sent(&self) -> bool {
        matches!(self, TellError::Send(error) if error.was_sent())
    }
}

impl TellError {
    /// Whether the mailbox is full, and the call was not to wait.
    pub fn is_full(&self) -> bool {
        matches!(self, TellError::Full { .. })
    }

    /// Whether the deadline passed.
    pub fn is_timeout(&self) -> bool {
        matches!(self, TellError::Timeout { .. })
    }

    /// Whether the mailbox has no actor, and the call was not to wait or none can come.
    pub fn is_gone(&self) -> bool {
        matches!(self, TellError::Gone { .. })
    }
}

impl fmt::Display for TellError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TellError::Full { mailbox: name } => write!(
                f,
                "{} is full: wait with tell, or tell less until it is read",
                mailbox(name)
            ),
            TellError::Timeout { mailbox: name } => write!(
                f,
                "{} was full or had no actor until the deadline; the message was not told",
                mailbox(name)
            ),
            TellError::Gone { mailbox: name } => match **name {
                Name::Handle(_) => write!(
                    f,
                    "the actor of {} has ended, and a private mailbox never has another",
                    mailbox(name)
                ),
                _ => {
                    write!(f, "{} has no actor: start one, or wait for it with tell", mailbox(name))
                }
            },
            TellError::Connect(error) => write!(f, "the address cannot be connected: {error}"),
            TellError::Send(error) if error.was_sent() => error.fmt(f),
            TellError::Send(error) => {
                write!(f, "the message could not be sent: {}", error.in_words_of(mailbox))
            }
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
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum AskError {
    /// No reply came until the deadline; the message may still be read.
    Timeout {
        /// The mailbox.
        mailbox: Arc<Name>,
    },
    /// The stream did not end in time: its deadline passed after some parts had come, or the next part did not come
    /// within ten seconds.
    Unfinished {
        /// The mailbox.
        mailbox: Arc<Name>,
        /// How many parts came.
        parts: u64,
    },
    /// The actor's process ended before it replied, or had ended before if its mailbox is private.
    Died {
        /// The mailbox.
        mailbox: Arc<Name>,
    },
    /// The process that held the reply port dropped it, or died, or found no room in the mailbox, neither
    /// for the reply nor for word of it.
    Dropped {
        /// The mailbox.
        mailbox: Arc<Name>,
    },
    /// The actor could not decode the message.
    Unreadable {
        /// The mailbox.
        mailbox: Arc<Name>,
        /// Its reason.
        why: String,
    },
    /// The reply could not be sent.
    Unsendable {
        /// The mailbox.
        mailbox: Arc<Name>,
        /// The reason.
        why: String,
    },
    /// The reply could not be decoded.
    Decode {
        /// The mailbox.
        mailbox: Arc<Name>,
        /// Why.
        error: DecodeError,
    },
    /// The message was not told; or it was, where the error is [`SendError::NotWoken`], and its reply
    /// is not waited for.
    Tell(TellError),
    /// Waiting for the reply failed; with [`RecvError::Removed`], since the mailbox was removed: the actor may have read
    /// the message.
    Wait(RecvError),
}

impl AskError {
    /// Why waiting for the reply of an actor that has not died ended.
    pub(super) fn of_waiting(mailbox: Arc<Name>, error: RecvError) -> Self {
        match error {
            // A private mailbox goes with its actor.
            RecvError::Removed { .. } if matches!(*mailbox, Name::Handle(_)) => {
                AskError::Died { mailbox }
            }
            error => AskError::Wait(error),
        }
    }

    /// Whether the deadline passed, be it for telling, for the reply or for the end of a stream.
    pub fn is_timeout(&self) -> bool {
        use AskError::{Tell, Timeout, Unfinished};
        matches!(self, Timeout { .. } | Unfinished { .. } | Tell(TellError::Timeout { .. }))
    }

    /// Whether the actor's process ended before it replied.
    pub fn is_died(&self) -> bool {
        matches!(self, AskError::Died { .. })
    }

    /// Whether the process that held the reply port dropped it, or died, or found no room.
    pub fn is_dropped(&self) -> bool {
        matches!(self, AskError::Dropped { .. })
    }
}

impl fmt::Display for AskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AskError::Timeout { mailbox: name } => write!(
                f,
                "no reply came from {} until the deadline; the message may still be read: ask again \
                 only what may be done twice, or wait longer with ask_timeout",
                mailbox(name)
            ),
            AskError::Unfinished { mailbox: name, parts } => write!(
                f,
                "the stream from {} did not end in time: {parts} of its parts came, and the next did not \
                 until the deadline; wait longer with next_timeout or stream_timeout",
                mailbox(name)
            ),
            AskError::Died { mailbox: name } => match **name {
                Name::Handle(_) => write!(
                    f,
                    "the actor of {} ended before it replied, and a private mailbox never has \
                     another; it may have read the message",
                    mailbox(name)
                ),
                _ => write!(
                    f,
                    "the actor of {} ended before it replied; it may have read the message, and its \
                     successor may still do so: ask again only what may be done twice",
                    mailbox(name)
                ),
            },
            AskError::Dropped { mailbox: name } => write!(
                f,
                "the reply port of an ask to {} was dropped without a reply, or its holder died, or \
                 found no room for the reply there",
                mailbox(name)
            ),
            AskError::Unreadable { mailbox: name, why } => {
                write!(f, "the actor of {} cannot decode the message: {why}", mailbox(name))
            }
            AskError::Unsendable { mailbox: name, why } => {
                write!(f, "the reply to an ask to {} could not be sent: {why}", mailbox(name))
            }
            AskError::Decode { mailbox: name, error } => {
                write!(f, "the reply from {} cannot be decoded: {error}", mailbox(name))
            }
            AskError::Tell(error) => error.fmt(f),
            AskError::Wait(error) => {
                write!(f, "waiting for the reply failed: {}", error.in_words_of(mailbox))
            }
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
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReplyError {
    /// The asker is gone, or the actor that was asked.
    Gone {
        /// The mailbox that was asked.
        mailbox: Arc<Name>,
    },
    /// The asker is so far behind with the parts of its stream that this one has to wait, and the call was not to,
    /// or no longer. It was not sent.
    WouldWait {
        /// The mailbox that was asked.
        mailbox: Arc<Name>,
    },
    /// The mailbox was closed more than a second ago, and the asker has not taken the parts before this one, which
    /// was not sent.
    Closing {
        /// The mailbox that was asked.
        mailbox: Arc<Name>,
    },
    /// The port is not this process's to answer: it was passed on, or never received.
    PassedOn {
        /// The mailbox that was asked.
        mailbox: Arc<Name>,
    },
    /// The asker has left so many replies unread that there is no room for this one, or the mailbox
    /// through which a forwarded reply goes was full for a second; the asker was told, if that was
    /// possible.
    Full {
        /// The mailbox that was asked.
        mailbox: Arc<Name>,
    },
    /// The reply is longer than the mailbox's longest; the asker was told, if that was possible.
    TooLong {
        /// The mailbox that was asked.
        mailbox: Arc<Name>,
        /// The longest encoded reply, in bytes.
        max: u64,
    },
    /// The home of a forwarded port could not be opened.
    Open(OpenError),
    /// The home of a forwarded port could not be attached.
    Attach(AttachError),
    /// The reply could not be sent; the asker was told, if that was possible. [`SendError::NotWoken`] is
    /// the one that says otherwise: the reply was sent, and goes on when something else wakes the
    /// asker, or the actor that it goes by.
    Send(SendError),
}

impl Refusal for ReplyError {
    fn was_sent(&self) -> bool {
        matches!(self, ReplyError::Send(error) if error.was_sent())
    }
}

impl ReplyError {
    /// What became of a part of a stream.
    pub(super) fn of_part(self) -> Self {
        match self {
            ReplyError::Full { mailbox } => ReplyError::WouldWait { mailbox },
            ReplyError::Send(SendError::Closed { channel: mailbox }) => {
                ReplyError::Closing { mailbox }
            }
            error => error,
        }
    }
}

impl From<SendError> for ReplyError {
    fn from(error: SendError) -> Self {
        match error {
            SendError::Disconnected { channel: mailbox }
            | SendError::Removed { channel: mailbox } => ReplyError::Gone { mailbox },
            SendError::Full { channel: mailbox } | SendError::Timeout { channel: mailbox } => {
                ReplyError::Full { mailbox }
            }
            SendError::TooLong { channel: mailbox, max, .. } => {
                ReplyError::TooLong { mailbox, max }
            }
            error => ReplyError::Send(error),
        }
    }
}

impl fmt::Display for ReplyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ReplyError::Gone { mailbox: name } => write!(
                f,
                "the asker is gone, or the actor of {} that was asked: the reply was dropped",
                mailbox(name)
            ),
            ReplyError::WouldWait { mailbox: name } => write!(
                f,
                "an asker of {} is behind with the parts of its stream: send this one again later, or \
                 wait with StreamTo::part",
                mailbox(name)
            ),
            ReplyError::Closing { mailbox: name } => write!(
                f,
                "{} was closed, and its asker has not taken the parts of its stream within a second",
                mailbox(name)
            ),
            ReplyError::PassedOn { mailbox: name } => write!(
                f,
                "this reply port of {} is not this process's to answer: it was passed on, and the \
                 process that received it replies, or it never came with a message",
                mailbox(name)
            ),
            ReplyError::Full { mailbox: name } => write!(
                f,
                "there is no room for the reply: the asker does not take its replies, or {}, by \
                 which it goes, is full",
                mailbox(name)
            ),
            ReplyError::TooLong { mailbox: name, max } => write!(
                f,
                "the reply is longer than {max} bytes, the most that {} replies: bind it with a \
                 greater MailboxOptions::max_value",
                mailbox(name)
            ),
            ReplyError::Open(error) => {
                write!(f, "the way back cannot be opened: {}", error.in_words_of(mailbox))
            }
            ReplyError::Attach(error) => {
                write!(f, "the way back cannot be taken: {}", error.in_words_of(mailbox))
            }
            ReplyError::Send(error) if error.was_sent() => error.fmt(f),
            ReplyError::Send(error) => {
                write!(f, "the reply could not be sent: {}", error.in_words_of(mailbox))
            }
        }
    }
}

impl std::error::Error for ReplyError {}

/// Why an actor could not be watched.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum WatchError {
    /// No actor came within ten seconds, so that there is none to be watched.
    NoActor {
        /// The mailbox.
        mailbox: Arc<Name>,
    },
    /// The actor has not ended within the time to wait.
    Timeout {
        /// The mailbox.
        mailbox: Arc<Name>,
    },
    /// The address could not be connected.
    Connect(ConnectError),
    /// Watching failed.
    Watch(SendError),
}

impl WatchError {
    /// Whether the time passed, be it for an actor to come or for one to end.
    pub fn is_timeout(&self) -> bool {
        matches!(self, WatchError::NoActor { .. } | WatchError::Timeout { .. })
    }
}

impl fmt::Display for WatchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WatchError::NoActor { mailbox: name } => write!(
                f,
                "no actor came to {} within ten seconds: start the one that is to be watched first",
                mailbox(name)
            ),
            WatchError::Timeout { mailbox: name } => {
                write!(f, "the actor of {} has not ended until the deadline", mailbox(name))
            }
            WatchError::Connect(error) => write!(f, "the address cannot be connected: {error}"),
            WatchError::Watch(error) => {
                write!(f, "watching failed: {}", error.in_words_of(mailbox))
            }
        }
    }
}

impl std::error::Error for WatchError {}

impl From<ConnectError> for WatchError {
    fn from(error: ConnectError) -> Self {
        WatchError::Connect(error)
    }
}
