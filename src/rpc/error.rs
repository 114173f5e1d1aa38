//! What can go wrong, for each operation.

use std::fmt;
use std::sync::Arc;

use crate::SystemError;
use crate::codec::DecodeError;
use crate::error::text::{Describe, server};
use crate::error::{RecvError, SendError};
use crate::name::Name;
use crate::service::ConnectError;
use crate::sys::Deadline;
use crate::transfer::Refusal;

/// Why a call has no reply.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum CallError {
    /// The deadline passed.
    Timeout {
        /// The server.
        server: Arc<Name>,
        /// Whether it had received the request. If so, the request may have been executed, or dropped
        /// because it came late; if not, it never will be executed.
        received: bool,
    },
    /// The stream did not end in time: its deadline passed after some parts had come, or the next part did not come
    /// within the client's.
    Unfinished {
        /// The server.
        server: Arc<Name>,
        /// How many parts came.
        parts: u64,
    },
    /// The server died, or went away, or was closed and dropped the request.
    ServerDied {
        /// The server.
        server: Arc<Name>,
        /// Whether it had received the request. If so, the request may have been executed; if not, it
        /// never will be.
        received: bool,
    },
    /// There was no room for the request, and the call was not to wait.
    Full {
        /// The server.
        server: Arc<Name>,
    },
    /// A handler of the very server that was called made the call, and no other thread can answer
    /// before it returns. The request was not sent, or is cancelled.
    ///
    /// This is noticed of [`Server::serve`](super::Server::serve), and of
    /// [`Server::serve_concurrently`](super::Server::serve_concurrently) with one thread, for calls
    /// that are made on the handler's thread. It is not noticed, and the call waits until its deadline,
    /// where all of several threads call their own server, where the call is made by another thread
    /// that the handler waits for or by way of another server, and where the program receives the
    /// requests itself, with [`Server::recv`](super::Server::recv) or
    /// [`Server::incoming`](super::Server::incoming).
    OwnServer {
        /// The server.
        server: Arc<Name>,
    },
    /// The client is in the middle of another call, whose `Serialize` or `Deserialize` made this
    /// one. The request was not sent.
    Reentrant {
        /// The server.
        server: Arc<Name>,
    },
    /// The outcome of the pending call was taken before.
    Taken {
        /// The server.
        server: Arc<Name>,
    },
    /// The client reads as many streams of replies at a time as it can. The request was not sent.
    TooManyStreams {
        /// The server.
        server: Arc<Name>,
        /// How many streams a client can read at a time.
        most: usize,
    },
    /// The pending call was started by another client than the one that was to wait for it.
    OtherClient {
        /// The server of the client that was to wait.
        server: Arc<Name>,
    },
    /// The server's handler panicked.
    Panicked {
        /// The server.
        server: Arc<Name>,
        /// What the panic said.
        message: String,
    },
    /// The server dropped the request without a reply.
    Dropped {
        /// The server.
        server: Arc<Name>,
    },
    /// The server could not decode the request.
    Unreadable {
        /// The server.
        server: Arc<Name>,
        /// Its reason.
        why: String,
    },
    /// The server was to pass the request on to another one and cannot, now or later: neither has executed it, and
    /// none will. The same call would end so again.
    NotPassedOn {
        /// The server.
        server: Arc<Name>,
        /// Its reason.
        why: String,
    },
    /// The server could not send its reply.
    Unsendable {
        /// The server.
        server: Arc<Name>,
        /// Its reason.
        why: String,
    },
    /// The reply could not be decoded.
    Decode {
        /// The server.
        server: Arc<Name>,
        /// Why.
        error: DecodeError,
    },
    /// The request could not be sent. [`SendError::NotWoken`] is the one that says otherwise: it was sent
    /// to a server that sleeps, and is cancelled, so that a server which comes to it later does not
    /// execute it. One that came to it in this moment may have.
    Send(SendError),
    /// Waiting for the reply failed.
    Wait(RecvError),
    /// The server's channel is gone, and there is no other. A call that a server had received before is
    /// [`ServerDied`](CallError::ServerDied) instead.
    Reconnect(ConnectError),
}

impl CallError {
    /// The same for a call that ended by that deadline: of a handler that gave up because it had passed, word comes
    /// before this side has looked at its clock.
    pub(super) fn of_call_until(self, deadline: Deadline) -> Self {
        match self {
            CallError::Dropped { server } if deadline.has_passed() => {
                CallError::Timeout { server, received: true }
            }
            error => error,
        }
    }

    /// The same for a call that is made again: one that a server had received before, which is gone,
    /// may have been executed by that one, however it ended now.
    pub(super) fn of_call_received_before(self, received: bool, server: &Arc<Name>) -> Self {
        let server = server.clone();
        match self {
            CallError::Timeout { .. } if received => CallError::Timeout { server, received },
            CallError::ServerDied { .. }
            | CallError::Full { .. }
            | CallError::OwnServer { .. }
            | CallError::NotPassedOn { .. }
            | CallError::Send(_)
            | CallError::Reconnect(_)
                if received =>
            {
                CallError::ServerDied { server, received }
            }
            error => error,
        }
    }

    /// Whether the deadline passed.
    pub fn is_timeout(&self) -> bool {
        matches!(self, CallError::Timeout { .. } | CallError::Unfinished { .. })
    }

    /// Whether the server died or went away.
    pub fn is_server_died(&self) -> bool {
        matches!(self, CallError::ServerDied { .. })
    }

    /// Whether there was no room for the request, and the call was not to wait.
    pub fn is_full(&self) -> bool {
        matches!(self, CallError::Full { .. })
    }
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what_became = |received: &bool| match received {
            true => "it had received the request and may have executed it",
            false => "it had not received the request, and no server will execute it",
        };
        match self {
            CallError::Timeout { server: name, received } => write!(
                f,
                "no reply came from {} until the deadline; {}",
                server(name),
                what_became(received)
            ),
            CallError::Unfinished { server: name, parts } => write!(
                f,
                "the stream from {} did not end in time: {parts} of its parts came, and the next did not \
                 until the deadline; wait longer with next_timeout, ClientOptions::deadline or stream_timeout",
                server(name)
            ),
            CallError::ServerDied { server: name, received } => write!(
                f,
                "{} died, went away or was closed; {}",
                server(name),
                what_became(received)
            ),
            CallError::Full { server: name } => write!(
                f,
                "there is no room for the request to {}: wait for room with call, or for earlier \
                 calls to be received",
                server(name)
            ),
            CallError::OwnServer { server: name } => write!(
                f,
                "the call was made by a handler of {} itself, which cannot answer before the \
                 handler returns: call the function itself, or serve with several threads \
                 (Server::serve_concurrently)",
                server(name)
            ),
            CallError::Reentrant { server: name } => write!(
                f,
                "this client of {} is in the middle of another call: a Serialize or Deserialize \
                 must not use the client that runs it; give it another one (Client::try_clone)",
                server(name)
            ),
            CallError::Taken { server: name } => write!(
                f,
                "the outcome of this call to {} was taken before: a pending call has one",
                server(name)
            ),
            CallError::TooManyStreams { server: name, most } => write!(
                f,
                "this client of {} reads {most} streams of replies already, the most at a time: end \
                 one, or use another client (Client::try_clone)",
                server(name)
            ),
            CallError::OtherClient { server: name } => write!(
                f,
                "this client of {} did not start the pending call: wait for it with the one that did, \
                 or with Pending::wait",
                server(name)
            ),
            CallError::Panicked { server: name, message } => {
                write!(f, "the handler of {} panicked: {message}", server(name))
            }
            CallError::Dropped { server: name } => {
                write!(f, "{} dropped the request without a reply", server(name))
            }
            CallError::Unreadable { server: name, why } => {
                write!(f, "{} cannot decode the request: {why}", server(name))
            }
            CallError::NotPassedOn { server: name, why } => write!(
                f,
                "{} cannot pass the request on, and no server will execute it: {why}",
                server(name)
            ),
            CallError::Unsendable { server: name, why } => {
                write!(f, "{} could not send its reply: {why}", server(name))
            }
            CallError::Decode { server: name, error } => {
                write!(f, "the reply of {} cannot be decoded: {error}", server(name))
            }
            CallError::Send(error) if error.was_sent() => {
                write!(f, "the request is cancelled, and may have been executed: {error}")
            }
            CallError::Send(error) => {
                write!(f, "the request could not be sent: {}", error.in_words_of(server))
            }
            CallError::Wait(error) => {
                write!(f, "waiting for the reply failed: {}", error.in_words_of(server))
            }
            CallError::Reconnect(error) => {
                write!(f, "the server is gone, and the next one cannot be called: {error}")
            }
        }
    }
}

impl std::error::Error for CallError {}

impl Refusal for CallError {
    fn was_sent(&self) -> bool {
        matches!(self, CallError::Send(error) if error.was_sent())
    }
}

/// Why a reply did not go. A server can ignore it: the client has given up, died, or is told why, if there
/// is room for that.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReplyError {
    /// The client is gone, or takes no reply to this call any more.
    ClientGone {
        /// The server.
        server: Arc<Name>,
    },
    /// The client has left so many replies unread that there is no room for this one. Its caller is told
    /// ([`CallError::Unsendable`]) if there is room for that, and else waits until the deadline.
    Full {
        /// The server.
        server: Arc<Name>,
    },
    /// The client is so far behind with the parts of its stream that this one has to wait, and the call was
    /// not to, or no longer. It was not sent.
    WouldWait {
        /// The server.
        server: Arc<Name>,
    },
    /// The server was closed, its drain is over, and the client has not taken the parts before this one, which
    /// was not sent.
    Closing {
        /// The server.
        server: Arc<Name>,
    },
    /// The reply is longer than the server's longest; the client was told.
    TooLong {
        /// The server.
        server: Arc<Name>,
        /// The longest encoded reply, in bytes.
        max: u64,
    },
    /// The reply could not be sent; the client was told, if that was possible. [`SendError::NotWoken`] is
    /// the one that says otherwise: the reply was sent, and the client has it when something else wakes
    /// it.
    Send(SendError),
}

impl fmt::Display for ReplyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ReplyError::ClientGone { server: name } => write!(
                f,
                "a client of {} is gone or has given its call up: its reply was dropped",
                server(name)
            ),
            ReplyError::Full { server: name } => write!(
                f,
                "a client of {} does not take its replies: this one was dropped, as there is no \
                 room for it",
                server(name)
            ),
            ReplyError::WouldWait { server: name } => write!(
                f,
                "a client of {} is behind with the parts of its stream: send this one again later, or \
                 wait with Responder::part",
                server(name)
            ),
            ReplyError::Closing { server: name } => write!(
                f,
                "{} was closed, and its client has not taken the parts of its stream in the time of \
                 ServerOptions::drain",
                server(name)
            ),
            ReplyError::TooLong { server: name, max } => write!(
                f,
                "the reply is longer than {max} bytes, the most that {} replies: bind it with a \
                 greater ServerOptions::max_value",
                server(name)
            ),
            ReplyError::Send(error) if error.was_sent() => error.fmt(f),
            ReplyError::Send(error) => {
                write!(f, "the reply could not be sent: {}", error.in_words_of(server))
            }
        }
    }
}

impl std::error::Error for ReplyError {}

/// Why a server received no request.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ServeError {
    /// Nothing is there, and the call was not to wait.
    Empty {
        /// The server.
        server: Arc<Name>,
    },
    /// Nothing came until the deadline passed.
    Timeout {
        /// The server.
        server: Arc<Name>,
    },
    /// Its channel was removed.
    Removed {
        /// The server.
        server: Arc<Name>,
    },
    /// Receiving failed.
    Receive(RecvError),
    /// A thread to serve with could not be started. Nothing was received.
    NoThread {
        /// The server.
        server: Arc<Name>,
        /// What the kernel says.
        error: SystemError,
    },
}

impl ServeError {
    /// Whether nothing was there, and the call was not to wait.
    pub fn is_empty(&self) -> bool {
        matches!(self, ServeError::Empty { .. })
    }

    /// Whether the deadline passed.
    pub fn is_timeout(&self) -> bool {
        matches!(self, ServeError::Timeout { .. })
    }

    /// Whether the server's channel was removed.
    pub fn is_removed(&self) -> bool {
        matches!(self, ServeError::Removed { .. })
    }
}

impl From<RecvError> for ServeError {
    fn from(error: RecvError) -> Self {
        match error {
            RecvError::Removed { channel: server } => ServeError::Removed { server },
            error => ServeError::Receive(error),
        }
    }
}

impl fmt::Display for ServeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ServeError::Empty { server: name } => {
                write!(f, "no request to {} is there now", server(name))
            }
            ServeError::Timeout { server: name } => {
                write!(f, "no request came to {} until the deadline", server(name))
            }
            ServeError::Removed { server: name } => write!(
                f,
                "the channel of {} was removed (unlink, ipcrm), or this process left its ipc \
                 namespace: bind the server again",
                server(name)
            ),
            ServeError::Receive(error) => {
                write!(f, "no request could be received: {}", error.in_words_of(server))
            }
            ServeError::NoThread { server: name, error } => write!(
                f,
                "{} could not start all of its threads: {error}; or serve with fewer",
                server(name)
            ),
        }
    }
}

impl std::error::Error for ServeError {}
