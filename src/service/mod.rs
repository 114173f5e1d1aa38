//! What servers and mailboxes share: one process binds a name, others connect to it, and each of those
//! has a way back.
//!
//! | file | subject |
//! |---|---|
//! | `bind` | binding a name, standing by for it |
//! | `connect` | connecting to what is bound |
//! | `reply` | what a reply begins with |
//! | `error` | what can go wrong, in the words of a server's user or of a mailbox's |

mod bind;
mod connect;
mod error;
pub(crate) mod reply;

pub(crate) use bind::BindOptions;
pub(crate) use connect::ConnectOptions;
pub use error::{BindError, ConnectError, Service};

use std::time::Duration;

use crate::Options;
use crate::codec::Codec;
use crate::control::Heads;
use crate::error::text::Spelling;
use crate::schema::Schema;

/// How often a name may appear or vanish between looking and making, or attaching.
const ATTEMPTS: usize = 100;

/// Which of the two a service is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Server,
    Mailbox,
}

impl Kind {
    /// How errors of the channel name the options.
    fn spelling(self) -> Spelling {
        match self {
            Kind::Server => Spelling::SERVER,
            Kind::Mailbox => Spelling::MAILBOX,
        }
    }

    /// What the user binds it with.
    fn bind_options(self) -> &'static str {
        match self {
            Kind::Server => "ServerOptions",
            Kind::Mailbox => "MailboxOptions",
        }
    }

    /// What the user connects to it with.
    fn connect_options(self) -> &'static str {
        match self {
            Kind::Server => "ClientOptions",
            Kind::Mailbox => "AddressOptions",
        }
    }
}

/// The types and the codec that a server's header names, whichever this program does.
#[cfg(not(loom))]
#[derive(Debug, Clone)]
pub(crate) struct Carried {
    pub(crate) schema: Schema,
    pub(crate) codec: &'static str,
}

/// What both sides of a service's channel must agree on.
pub(crate) struct Protocol {
    pub(crate) kind: Kind,
    pub(crate) schema: Schema,
    /// The codec, if it is not the one that the types name.
    #[cfg(not(loom))]
    pub(crate) codec: Option<&'static str>,
    pub(crate) heads: Heads,
}

impl Protocol {
    /// Names other types and another codec than this program's, if there are any.
    #[cfg(not(loom))]
    pub(crate) fn carrying(self, carried: Option<&Carried>) -> Self {
        match carried {
            Some(Carried { schema, codec }) => {
                Protocol { schema: schema.clone(), codec: Some(codec), ..self }
            }
            None => self,
        }
    }

    /// Completes the options of a channel that is created or opened for a service.
    fn apply<T, C: Codec<T>>(
        self,
        options: Options<T, C>,
        spin: Option<Duration>,
    ) -> Options<T, C> {
        let Protocol { kind, schema, heads, .. } = self;
        #[cfg(not(loom))]
        let options = match self.codec {
            Some(codec) => options.codec(codec),
            None => options,
        };
        let options = options.spelling(kind.spelling()).schema(schema).heads(heads);
        let options = options.calls(kind == Kind::Server);
        match spin {
            Some(time) => options.spin(time),
            None => options,
        }
    }
}
