//! Why a value could not be encoded or decoded, without the type of any codec's library.

use std::fmt;

use super::{ReadError, WriteError};

/// A value could not be encoded.
///
/// It is a serde error too, so that a codec can use it as its serializer's.
///
/// ```
/// use sysv_channel::codec::EncodeError;
///
/// let error = EncodeError::new("a price must not be negative");
/// assert_eq!(error.to_string(), "a price must not be negative");
/// assert!(error.write_error().is_none());
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct EncodeError(
    /// Boxed to be one word that is never null, as `DecodeError`.
    Box<Reason>,
);

#[derive(Clone, PartialEq, Eq)]
enum Reason {
    Write(WriteError),
    Message(Box<str>),
    /// The codec refuses the part of the value to which the path leads.
    #[cfg(any(feature = "bincode", feature = "postcard", feature = "json"))]
    Refused {
        path: String,
        what: Box<str>,
    },
}

/// Of a path, in bytes: a value that is too deep has a long one.
#[cfg(any(feature = "bincode", feature = "postcard", feature = "json"))]
const MAX_PATH: usize = 120;

impl EncodeError {
    /// For a value whose second encoding is longer than its first.
    pub(crate) fn changed_length() -> Self {
        EncodeError::new(
            "the value was longer when it was encoded a second time: its Serialize must give the same \
             bytes for the same value",
        )
    }

    /// An error that shows `message`.
    #[cold]
    pub fn new(message: impl Into<String>) -> Self {
        EncodeError(Box::new(Reason::Message(message.into().into_boxed_str())))
    }

    /// There is no memory for an encoded value of so many bytes.
    #[cold]
    pub(crate) fn no_memory(len: usize) -> Self {
        EncodeError::new(ReadError::NoMemory { len }.to_string())
    }

    /// The writer's refusal, if that is why the value could not be encoded.
    pub fn write_error(&self) -> Option<WriteError> {
        match *self.0 {
            Reason::Write(error) => Some(error),
            _ => None,
        }
    }

    /// An error that will say where in the value it is.
    #[cfg(any(feature = "bincode", feature = "postcard", feature = "json"))]
    #[cold]
    pub(super) fn refused(what: &str) -> Self {
        EncodeError(Box::new(Reason::Refused { path: String::new(), what: what.into() }))
    }

    /// Says that the error is within the part of a value to which `step` leads.
    #[cfg(any(feature = "bincode", feature = "postcard", feature = "json"))]
    #[cold]
    pub(super) fn within_step(mut self, step: impl FnOnce() -> String) -> Self {
        if let Reason::Refused { path, .. } = &mut *self.0 {
            path.insert_str(0, &step());
            if path.len() > MAX_PATH {
                // What is nearest to the error tells most.
                let mut start = path.len() - MAX_PATH / 2;
                while !path.is_char_boundary(start) {
                    start += 1;
                }
                *path = format!("…{}", &path[start..]);
            }
        }
        self
    }

    #[cfg(any(feature = "bincode", feature = "postcard", feature = "json"))]
    #[cold]
    pub(super) fn within(self, separator: &str, name: &str) -> Self {
        self.within_step(|| format!("{separator}{name}"))
    }

    /// Says of which type the value is.
    #[cfg(any(feature = "bincode", feature = "postcard", feature = "json"))]
    #[cold]
    pub(super) fn within_type(self, type_name: &str) -> Self {
        self.within("", &crate::schema::short_type_name(type_name))
    }
}

impl serde::ser::Error for EncodeError {
    #[cold]
    fn custom<T: fmt::Display>(message: T) -> Self {
        EncodeError::new(message.to_string())
    }
}

impl From<WriteError> for EncodeError {
    #[cold]
    fn from(error: WriteError) -> Self {
        EncodeError(Box::new(Reason::Write(error)))
    }
}

impl fmt::Display for EncodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.0 {
            Reason::Write(error) => error.fmt(f),
            Reason::Message(message) => f.write_str(message),
            #[cfg(any(feature = "bincode", feature = "postcard", feature = "json"))]
            Reason::Refused { path, what } => write!(f, "{path}: {what}"),
        }
    }
}

impl fmt::Debug for EncodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EncodeError({:?})", self.to_string())
    }
}

impl std::error::Error for EncodeError {}

/// Bytes are not the encoding of a value.
///
/// It is a serde error too, so that a codec can use it as its deserializer's.
///
/// ```
/// use sysv_channel::codec::DecodeError;
///
/// let error = DecodeError::new("a price must not be negative");
/// assert_eq!(error.to_string(), "a price must not be negative");
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct DecodeError(
    /// Boxed twice to be one word that is never null: the compiler then sees which branch failed
    /// and keeps numbers in registers. Measured: halves the time to decode a `Vec<u64>`.
    Box<Box<str>>,
);

impl DecodeError {
    /// An error that shows `message`.
    #[cold]
    pub fn new(message: impl Into<String>) -> Self {
        DecodeError(Box::new(message.into().into_boxed_str()))
    }

    /// Says which type was to be decoded.
    #[cfg(any(feature = "bincode", feature = "postcard", feature = "json"))]
    #[cold]
    pub(super) fn within_type(self, type_name: &str) -> Self {
        DecodeError::new(format!("{}: {}", crate::schema::short_type_name(type_name), self.0))
    }
}

impl From<ReadError> for DecodeError {
    #[cold]
    fn from(error: ReadError) -> Self {
        DecodeError::new(error.to_string())
    }
}

impl serde::de::Error for DecodeError {
    #[cold]
    fn custom<T: fmt::Display>(message: T) -> Self {
        DecodeError::new(message.to_string())
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DecodeError({:?})", self.0)
    }
}

impl std::error::Error for DecodeError {}
