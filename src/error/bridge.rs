//! What can go wrong with attaching an end of a bridge.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use super::AttachError;
use super::text::{Process, channel};
use crate::name::Name;
use crate::sys::SystemError;

/// Why a [`Channel`](crate::Channel) gave no end of a [bridge](crate::bridge).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum BridgeError {
    /// The sender or the receiver, which an end is, could not attach.
    Attach(AttachError),
    /// The channel may have several receivers: values in their hands have no order.
    SeveralReceivers {
        /// The channel.
        channel: Arc<Name>,
        /// How many it can have.
        receivers: usize,
    },
    /// Another process has the link.
    LinkInUse {
        /// The channel.
        channel: Arc<Name>,
        /// The process; 0 if it is in another pid namespace.
        pid: i32,
    },
    /// All links that the channel can remember are in use.
    LinksExhausted {
        /// The channel.
        channel: Arc<Name>,
    },
    /// Another process has begun to attach, and does not come to an end.
    Busy {
        /// The channel.
        channel: Arc<Name>,
        /// The process; 0 if it is in another pid namespace.
        pid: i32,
    },
    /// A system call failed.
    System {
        /// The channel.
        channel: Arc<Name>,
        /// The call, and what the kernel says.
        error: SystemError,
    },
}

impl From<AttachError> for BridgeError {
    fn from(error: AttachError) -> Self {
        BridgeError::Attach(error)
    }
}

impl fmt::Display for BridgeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BridgeError::Attach(error) => error.fmt(f),
            BridgeError::SeveralReceivers { channel: name, receivers } => write!(
                f,
                "{} may have {receivers} receivers, and an outlet keeps its values in order: create it for one \
                 receiver",
                channel(name)
            ),
            BridgeError::LinkInUse { channel: name, pid } => write!(
                f,
                "{} has this link into {}: end it first, or use another link",
                Process(*pid),
                channel(name)
            ),
            BridgeError::LinksExhausted { channel: name } => write!(
                f,
                "all links that {} remembers are in use: end one of the bridges into it",
                channel(name)
            ),
            BridgeError::Busy { channel: name, pid } => write!(
                f,
                "{} is about to attach to {} and does not come to an end: try again, or end it",
                Process(*pid),
                channel(name)
            ),
            BridgeError::System { channel: name, error } => {
                write!(f, "{}: {error}", channel(name))
            }
        }
    }
}

impl Error for BridgeError {}
