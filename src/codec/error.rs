//! Why a value could not be encoded or decoded, without the type of any codec's library.

use std::fmt;

use super::{ReadError, WriteError};

/// A value could not be encoded.
///
/// ```
/// use sysv_channel::codec::EncodeError;
///
/// let error = EncodeError::new("a price must not be negative");
/// assert_eq!(error.to_string(), "a price must not be negative");
/// assert!(error.write_error().is_none());
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct EncodeError(Reason);

#[derive(Clone, PartialEq, Eq)]
enum Reason {
    Write(WriteError),
    Message(Box<str>),
}

impl EncodeError {
    /// An error that shows `message`.
    #[cold]
    pub fn new(message: impl Into<String>) -> Self {
        EncodeError(Reason::Message(message.into().into_boxed_str()))
    }

    /// The writer's refusal, if that is why the value could not be encoded.
    pub fn write_error(&self) -> Option<WriteError> {
        match self.0 {
            Reason::Write(error) => Some(error),
            Reason::Message(_) => None,
        }
    }
}

impl From<WriteError> for EncodeError {
    #[cold]
    fn from(error: WriteError) -> Self {
        EncodeError(Reason::Write(error))
    }
}

impl fmt::Display for EncodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Reason::Write(error) => error.fmt(f),
            Reason::Message(message) => f.write_str(message),
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
