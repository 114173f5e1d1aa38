//! What can go wrong where a channel's type is not there.

use std::error::Error;
use std::fmt;

use crate::codec::EncodeError;
use crate::error::{InspectError, OpenError};
use crate::inspect::ChannelKind;
use crate::name::Name;
use crate::rpc::{BindError, ConnectError};

/// Why a text is no shape.
///
/// ```
/// use sysv_channel::dynamic::{Shape, ShapeError};
///
/// assert!(matches!(Shape::parse("Order{id:u64,sym…"), Err(ShapeError::Truncated { .. })));
/// assert!(matches!(Shape::parse("Order{id}"), Err(ShapeError::Malformed { at: 8, .. })));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ShapeError {
    /// The header had no room for all of it.
    Truncated {
        /// Bytes that are there.
        len: usize,
    },
    /// No [`Schema`](crate::Schema) writes such a text.
    Malformed {
        /// Where, in bytes from its beginning.
        at: usize,
        /// What is wrong there.
        what: &'static str,
    },
}

impl fmt::Display for ShapeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ShapeError::Truncated { len } => write!(
                f,
                "the shape of the type is longer than the {len} bytes for which a channel's header has room: \
                 a program that has the type itself can open the channel"
            ),
            ShapeError::Malformed { at, what } => {
                write!(f, "the text is no shape of a type: {what}, at byte {at}")
            }
        }
    }
}

impl Error for ShapeError {}

/// Why a value is not one of a shape.
///
/// ```
/// use sysv_channel::dynamic::{Shape, Value};
///
/// let shape = Shape::parse("Order{id:u64,side:Side[Buy|Sell(f64)]}")?;
/// let order = Value::fields([("id", 7.into()), ("side", "Sel".into())]);
/// let error = shape.check(&order).unwrap_err();
/// assert_eq!(error.path(), "$.side");
/// assert!(error.to_string().starts_with("$.side: no variant \"Sel\" of Side; expected one of"));
/// # Ok::<(), sysv_channel::dynamic::ShapeError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ValueError {
    /// From the inside outwards, while it is made.
    path: String,
    what: String,
}

impl ValueError {
    /// Says that it is within what a step leads to.
    #[cold]
    pub(super) fn within(mut self, step: &str) -> Self {
        self.path.insert_str(0, step);
        self
    }

    /// Which part of the value it is about, from the whole, which is `$`: `$.orders[3].price`.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// What is wrong there.
    pub fn what(&self) -> &str {
        &self.what
    }
}

impl From<String> for ValueError {
    #[cold]
    fn from(what: String) -> Self {
        ValueError { path: String::new(), what }
    }
}

impl From<&str> for ValueError {
    #[cold]
    fn from(what: &str) -> Self {
        what.to_owned().into()
    }
}

impl fmt::Display for ValueError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.what)
    }
}

impl Error for ValueError {}

impl From<ValueError> for EncodeError {
    fn from(error: ValueError) -> Self {
        EncodeError::new(error.to_string())
    }
}

/// The step of a path to a field, an entry or the content of a variant.
pub(super) fn step(name: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || c == '_';
    match name.starts_with(|c: char| plain(c) && !c.is_numeric()) && name.chars().all(plain) {
        true => format!(".{name}"),
        false => format!("[{name:?}]"),
    }
}

/// Why a channel, or a server, cannot be used without its type.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum DynamicError {
    /// It cannot be looked at, or does not exist.
    Inspect(InspectError),
    /// It cannot be opened.
    Open(OpenError),
    /// There is no place at the server.
    Connect(ConnectError),
    /// The server cannot be bound.
    Bind(BindError),
    /// A server's requests and replies go by one codec, which the channel's header names.
    CodecsDiffer {
        /// What was to be bound.
        name: Name,
        /// The name of the requests' codec.
        request: &'static str,
        /// The name of the replies' codec.
        reply: &'static str,
    },
    /// It is used for something else.
    WrongKind {
        /// What was asked for.
        name: Name,
        /// What it is.
        found: ChannelKind,
        /// What was expected.
        expected: ChannelKind,
    },
    /// This program does not know the codec: it is the other program's own, or a feature is not switched on.
    UnknownCodec {
        /// What was asked for; `None` where only a shape was.
        name: Option<Name>,
        /// The codec's name.
        codec: String,
        /// The names of the codecs that this program knows.
        known: Vec<&'static str>,
    },
    /// Only the name of the type is known, and the codec's format does not describe itself.
    Untraced {
        /// What was asked for; `None` where only a shape was.
        name: Option<Name>,
        /// The text of its shape.
        shape: String,
    },
    /// The text of its type's shape cannot be used.
    Shape {
        /// What was asked for; `None` where only a shape was.
        name: Option<Name>,
        /// Why.
        error: ShapeError,
    },
}

impl fmt::Display for DynamicError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DynamicError::Inspect(error) => error.fmt(f),
            DynamicError::Open(error) => error.fmt(f),
            DynamicError::Connect(error) => error.fmt(f),
            DynamicError::Bind(error) => error.fmt(f),
            DynamicError::CodecsDiffer { name, request, reply } => write!(
                f,
                "{name}: requests are encoded by {request:?} and replies by {reply:?}, and a server has one \
                 codec for both: name the same"
            ),
            DynamicError::WrongKind { name, found, expected } => {
                let noun = |kind: &ChannelKind| match kind {
                    ChannelKind::Channel => "a channel",
                    ChannelKind::Server => "a server",
                    ChannelKind::Mailbox => "a mailbox",
                };
                let way = match found {
                    ChannelKind::Channel => "open it as a channel",
                    ChannelKind::Server => "call it with a DynamicClient",
                    ChannelKind::Mailbox => "tell it something by an Address of its type",
                };
                write!(f, "{name} is {}, not {}: {way}", noun(found), noun(expected))
            }
            DynamicError::UnknownCodec { name, codec, known } => write!(
                f,
                "the values{} are encoded by {codec:?}, and this program knows {}: it may need a feature of \
                 sysv-channel (postcard, json), or the type itself",
                of(name),
                known.join(", ")
            ),
            DynamicError::Untraced { name, shape } => write!(
                f,
                "of the type{} only the name is known, {shape}: its values cannot be told apart without the type \
                 itself",
                of(name)
            ),
            DynamicError::Shape { name: Some(name), error } => write!(f, "{name}: {error}"),
            DynamicError::Shape { name: None, error } => error.fmt(f),
        }
    }
}

fn of(name: &Option<Name>) -> String {
    name.as_ref().map_or(String::new(), |name| format!(" of {name}"))
}

impl Error for DynamicError {}

impl From<InspectError> for DynamicError {
    fn from(error: InspectError) -> Self {
        DynamicError::Inspect(error)
    }
}

impl From<OpenError> for DynamicError {
    fn from(error: OpenError) -> Self {
        DynamicError::Open(error)
    }
}

impl From<BindError> for DynamicError {
    fn from(error: BindError) -> Self {
        DynamicError::Bind(error)
    }
}

impl From<ConnectError> for DynamicError {
    fn from(error: ConnectError) -> Self {
        DynamicError::Connect(error)
    }
}
