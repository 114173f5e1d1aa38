//! What can go wrong with servers and mailboxes alike.

use std::fmt;
use std::sync::Arc;

use super::Kind;
use crate::error::text::{Named, Process};
use crate::error::{AttachError, OpenError};
use crate::name::Name;

/// A server or a mailbox, as an error names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    kind: Kind,
    name: Arc<Name>,
}

impl Service {
    pub(crate) fn new(kind: Kind, name: impl Into<Arc<Name>>) -> Self {
        Service { kind, name: name.into() }
    }

    /// The server of this name.
    pub fn server(name: impl Into<Name>) -> Self {
        Service::new(Kind::Server, name.into())
    }

    /// The mailbox of this name.
    pub fn mailbox(name: impl Into<Name>) -> Self {
        Service::new(Kind::Mailbox, name.into())
    }

    /// Its name.
    pub fn name(&self) -> &Name {
        &self.name
    }
}

impl fmt::Display for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.kind {
            Kind::Server => "server",
            Kind::Mailbox => "mailbox",
        };
        Named { what, name: &self.name }.fmt(f)
    }
}

/// Why a server or a mailbox could not be bound.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum BindError {
    /// Another process is bound to the name.
    AlreadyBound {
        /// The server or mailbox.
        service: Service,
        /// The process; 0 if it is in another pid namespace.
        pid: i32,
    },
    /// The deadline passed while another process was bound to the name.
    Timeout {
        /// The server or mailbox.
        service: Service,
    },
    /// Options that contradict each other or that the kernel's limits do not allow.
    InvalidOptions {
        /// The server or mailbox; `None` for a private one.
        service: Option<Service>,
        /// Which option, and what it may be.
        what: String,
    },
    /// Clients or addresses are still connected to an earlier server or mailbox of the name, whose values
    /// may be longer than these options allow.
    LongerValues {
        /// The server or mailbox.
        service: Service,
        /// The longest encoded value by these options, in bytes.
        mine: u64,
        /// The longest that they may send.
        theirs: u64,
    },
    /// The channel could not be opened or created.
    Open(OpenError),
    /// The channel could not be received from.
    Attach(AttachError),
}

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BindError::AlreadyBound { service, pid } => write!(
                f,
                "{} is bound to {service} already: end it, take another name, or stand by for its \
                 place ({}::stand_by)",
                Process(*pid),
                service.kind.bind_options()
            ),
            BindError::Timeout { service } => write!(
                f,
                "another process was still bound to {service} at the deadline: end it, or stand by \
                 for longer"
            ),
            BindError::InvalidOptions { service: Some(service), what } => {
                write!(f, "{service} cannot be bound with these options: {what}")
            }
            BindError::InvalidOptions { service: None, what } => {
                write!(f, "a private mailbox cannot be made with these options: {what}")
            }
            BindError::LongerValues { service, mine, theirs } => write!(
                f,
                "{service} has values of up to {theirs} bytes as long as those are connected that an \
                 earlier one had, and is to be bound for {mine}: bind it with \
                 {}::max_value({theirs}), or when they are gone",
                service.kind.bind_options()
            ),
            BindError::Open(error) => error.fmt(f),
            BindError::Attach(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for BindError {}

impl BindError {
    pub(super) fn of_open(kind: Kind, error: OpenError) -> Self {
        match error {
            OpenError::InvalidOptions { name, what } => {
                let service = name.map(|name| Service::new(kind, name));
                BindError::InvalidOptions { service, what }
            }
            OpenError::LongerValues { name, mine, theirs } => {
                BindError::LongerValues { service: Service::new(kind, name), mine, theirs }
            }
            error => BindError::Open(error),
        }
    }
}

/// Why a client or an address could not be connected.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConnectError {
    /// As many clients are connected as the server was bound for, or addresses as the mailbox was.
    TooManyClients {
        /// The server or mailbox.
        service: Service,
        /// How many.
        clients: usize,
    },
    /// There is no server or mailbox of this name, or not yet, and nobody is connected to the last one.
    NotFound {
        /// The server or mailbox.
        service: Service,
    },
    /// Its values may be longer than this program is ready for.
    LongerValues {
        /// The server or mailbox.
        service: Service,
        /// The longest encoded value that this program is ready for, in bytes.
        mine: u64,
        /// The longest that the server or mailbox takes and sends.
        theirs: u64,
    },
    /// Its channel could not be opened, as where it serves other types.
    Open(OpenError),
    /// The client or address could not be attached.
    Attach(AttachError),
    /// The client or address is in the middle of another call, whose `Serialize` or `Deserialize` made
    /// this one.
    Reentrant {
        /// The server or mailbox.
        service: Service,
    },
}

impl ConnectError {
    pub(crate) fn of_open(kind: Kind, error: OpenError) -> Self {
        match error {
            OpenError::NotFound { name } => {
                ConnectError::NotFound { service: Service::new(kind, name) }
            }
            OpenError::LongerValues { name, mine, theirs } => {
                ConnectError::LongerValues { service: Service::new(kind, name), mine, theirs }
            }
            error => ConnectError::Open(error),
        }
    }

    pub(crate) fn of_attach(kind: Kind, error: AttachError) -> Self {
        match error {
            AttachError::LanesExhausted { channel, lanes } => ConnectError::TooManyClients {
                service: Service::new(kind, channel),
                clients: lanes,
            },
            error => ConnectError::Attach(error),
        }
    }
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ConnectError::TooManyClients { service, clients } => {
                let peers = service.kind.spelling().lanes;
                write!(
                    f,
                    "as many {peers} are connected to {service} as it takes ({clients}): drop one, or \
                     bind it for more ({}::{peers}) when all of them are gone",
                    service.kind.bind_options()
                )
            }
            ConnectError::NotFound { service } => write!(
                f,
                "{service} is not there: no process has bound it yet, it was closed, or it is in \
                 another ipc namespace (a container has its own); start the program first that binds \
                 it, or wait for that"
            ),
            ConnectError::LongerValues { service, mine, theirs } => write!(
                f,
                "{service} has values of up to {theirs} bytes, and this program is ready for {mine}: \
                 connect with {}::max_value({theirs})",
                service.kind.connect_options()
            ),
            ConnectError::Open(error) => error.fmt(f),
            ConnectError::Attach(error) => error.fmt(f),
            ConnectError::Reentrant { service } => {
                let (peer, another) = match service.kind {
                    Kind::Server => ("client", "another one (Client::try_clone)"),
                    Kind::Mailbox => ("address", "a clone"),
                };
                write!(
                    f,
                    "this {peer} of {service} is in the middle of another call: a Serialize or \
                     Deserialize must not use the {peer} that runs it; give it {another}"
                )
            }
        }
    }
}

impl std::error::Error for ConnectError {}
