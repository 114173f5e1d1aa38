//! What can go wrong, for each operation.

use std::fmt;
use std::sync::Arc;

use crate::codec::DecodeError;
use crate::error::{AttachError, OpenError, Process, RecvError, SendError, The};
use crate::name::Name;

/// Why a server could not be bound.
#[derive(Debug)]
#[non_exhaustive]
pub enum BindError {
    /// Another server is bound to the name.
    AlreadyBound {
        /// The name.
        name: Name,
        /// Its process.
        pid: i32,
    },
    /// The deadline passed while another server was there.
    Timeout {
        /// The name.
        name: Name,
    },
    /// The channel could not be opened or created.
    Open(OpenError),
    /// The server could not be attached to it.
    Attach(AttachError),
}

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BindError::AlreadyBound { name, pid } => write!(
                f,
                "{} serves {name} already: end it, take another name, or stand by \
                 for its place (ServerOptions::stand_by)",
                Process(*pid)
            ),
            BindError::Timeout { name } => {
                write!(f, "the other server of {name} was still there at the deadline")
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

/// Why a client could not be connected.
#[derive(Debug)]
#[non_exhaustive]
pub enum ConnectError {
    /// As many clients are connected as the server was bound for.
    TooManyClients {
        /// The channel of the server.
        channel: Arc<Name>,
        /// How many.
        clients: usize,
    },
    /// There is no server of this name, or it serves other types.
    Open(OpenError),
    /// The client could not be attached.
    Attach(AttachError),
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ConnectError::TooManyClients { channel, clients } => write!(
                f,
                "{clients} clients are connected to {}, as many as its server takes: end one, or \
                 bind the server for more (ServerOptions::clients)",
                The(channel)
            ),
            ConnectError::Open(error) => error.fmt(f),
            ConnectError::Attach(error) => error.fmt(f),
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
                ConnectError::TooManyClients { channel, clients: lanes }
            }
            error => ConnectError::Attach(error),
        }
    }
}

/// Why a call has no reply.
#[derive(Debug)]
#[non_exhaustive]
pub enum CallError {
    /// The deadline passed.
    Timeout {
        /// Whether the server had received the request: it may have been executed then, and else
        /// never will be.
        received: bool,
    },
    /// The server died, or went away, or was closed and dropped the request.
    ServerDied {
        /// Whether it had received the request: it may have been executed then, and else never
        /// will be.
        received: bool,
    },
    /// There was no room for the request, and the call was not to wait.
    Full,
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
    OwnServer,
    /// The server's handler panicked; its message.
    Panicked(String),
    /// The server dropped the request without a reply.
    Dropped,
    /// The server could not decode the request; its reason.
    Unreadable(String),
    /// The server could not send its reply; its reason.
    Unsendable(String),
    /// The reply could not be decoded.
    Decode(DecodeError),
    /// The request could not be sent.
    Send(SendError),
    /// Waiting for the reply failed.
    Wait(RecvError),
    /// The server's channel is gone, and there is no other.
    Reconnect(ConnectError),
}

impl CallError {
    /// The same for a call that is made again: one that a server had received before, which is gone,
    /// may have been executed by that one, however it ended now.
    pub(super) fn of_call_received_before(self, received: bool) -> Self {
        match self {
            CallError::Timeout { .. } if received => CallError::Timeout { received },
            CallError::ServerDied { .. } | CallError::Full if received => {
                CallError::ServerDied { received }
            }
            error => error,
        }
    }

    /// Whether the deadline passed.
    pub fn is_timeout(&self) -> bool {
        matches!(self, CallError::Timeout { .. })
    }

    /// Whether the server died or went away.
    pub fn is_server_died(&self) -> bool {
        matches!(self, CallError::ServerDied { .. })
    }

    /// Whether there was no room for the request, and the call was not to wait.
    pub fn is_full(&self) -> bool {
        matches!(self, CallError::Full)
    }
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let received = |received: &bool| match received {
            true => "the server had received the request and may have executed it",
            false => "the server had not received the request, and none will execute it",
        };
        match self {
            CallError::Timeout { received: it } => {
                write!(f, "no reply came until the deadline; {}", received(it))
            }
            CallError::ServerDied { received: it } => {
                write!(f, "the server died or went away; {}", received(it))
            }
            CallError::Full => f.write_str("there is no room for the request"),
            CallError::OwnServer => f.write_str(
                "the call was made by a handler of the very server that it calls, which cannot answer \
                 before the handler returns: call the function itself, or serve with several threads \
                 (Server::serve_concurrently)",
            ),
            CallError::Panicked(message) => write!(f, "the server's handler panicked: {message}"),
            CallError::Dropped => f.write_str("the server dropped the request without a reply"),
            CallError::Unreadable(why) => write!(f, "the server cannot read the request: {why}"),
            CallError::Unsendable(why) => write!(f, "the server could not send its reply: {why}"),
            CallError::Decode(error) => write!(f, "the reply cannot be decoded: {error}"),
            CallError::Send(error) => write!(f, "the request could not be sent: {error}"),
            CallError::Wait(error) => write!(f, "waiting for the reply failed: {error}"),
            CallError::Reconnect(error) => write!(f, "the server's channel is gone: {error}"),
        }
    }
}

impl std::error::Error for CallError {}

/// Why a reply did not go. A server can ignore it: the other side has given up, died, or is told.
#[derive(Debug)]
#[non_exhaustive]
pub enum ReplyError {
    /// The client is gone, or takes no answer to this call any more.
    ClientGone,
    /// The client has left so many replies unread that there is no room for this one.
    Full,
    /// The reply is longer than the server's longest; the client was told.
    TooLong {
        /// The longest encoded reply, in bytes.
        max: u64,
    },
    /// The reply could not be sent; the client was told, if that was possible.
    Send(SendError),
}

impl fmt::Display for ReplyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ReplyError::ClientGone => f.write_str("the client is gone"),
            ReplyError::Full => f.write_str("the client does not take its replies"),
            ReplyError::TooLong { max } => write!(
                f,
                "the reply is longer than {max} bytes: bind the server with a greater \
                 ServerOptions::max_value"
            ),
            ReplyError::Send(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for ReplyError {}

/// Why a server received no request.
#[derive(Debug)]
#[non_exhaustive]
pub enum ServeError {
    /// Nothing is there, and the call was not to wait.
    Empty,
    /// Nothing came until the deadline passed.
    Timeout,
    /// Its channel was removed.
    Removed,
    /// Receiving failed.
    Receive(RecvError),
}

impl ServeError {
    /// Whether nothing was there, and the call was not to wait.
    pub fn is_empty(&self) -> bool {
        matches!(self, ServeError::Empty)
    }

    /// Whether the deadline passed.
    pub fn is_timeout(&self) -> bool {
        matches!(self, ServeError::Timeout)
    }
}

impl fmt::Display for ServeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ServeError::Empty => f.write_str("no request is there"),
            ServeError::Timeout => f.write_str("no request came until the deadline"),
            ServeError::Removed => f.write_str("the server's channel was removed"),
            ServeError::Receive(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for ServeError {}
