//! What a channel or a bare object is found by.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::sys::Key;

/// The longest name, in bytes.
pub(crate) const MAX_NAME: usize = 255;

/// What a channel, queue, segment or semaphore set is found by: a name, or a System V key agreed on by other means.
///
/// A name is hashed to a key; a channel's header holds the whole name, so that two names with one
/// key are told apart. A [`Key`] serves programs that must agree with others that know nothing of
/// this crate.
///
/// ```
/// use sysv_channel::{Key, Name};
///
/// let by_name = Name::from("orders");
/// let by_key = Name::from(Key::new(0x5eed).unwrap());
/// assert_ne!(by_name, by_key);
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Name {
    /// A string of 1 to 255 bytes.
    Text(String),
    /// A raw System V key.
    Key(Key),
    /// One very channel, named or private.
    Handle(Handle),
}

/// One very channel, to be sent to another process: to a child, or inside a message.
///
/// It opens the channel that it was taken from and no later one with the same key. A handle is no
/// user: the process that hands it out keeps the channel until the other has opened it.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use sysv_channel::{Channel, Handle};
///
/// let replies = Channel::<String>::private()?;
/// let handle: Handle = replies.handle();
/// let same = Channel::<String>::open(handle)?;
/// same.sender()?.send(&"hello".to_owned())?;
/// assert_eq!(replies.receiver()?.recv()?, "hello");
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Handle {
    pub(crate) key: Key,
    pub(crate) incarnation: u64,
}

impl Serialize for Handle {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (self.key, self.incarnation).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Handle {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (key, incarnation) = Deserialize::deserialize(deserializer)?;
        Ok(Handle { key, incarnation })
    }
}

impl fmt::Display for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "channel {:016x} at key {}", self.incarnation, self.key)
    }
}

/// A name that is empty or longer than 255 bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidName {
    length: usize,
}

impl fmt::Display for InvalidName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a name has 1 to {MAX_NAME} bytes, this one has {}", self.length)
    }
}

impl std::error::Error for InvalidName {}

impl Name {
    /// The System V key that this name stands for.
    pub(crate) fn key(&self) -> Result<Key, InvalidName> {
        match self {
            Name::Text(text) if text.is_empty() || text.len() > MAX_NAME => {
                Err(InvalidName { length: text.len() })
            }
            Name::Text(text) => Ok(Key::from_name(text)),
            Name::Key(key) | Name::Handle(Handle { key, .. }) => Ok(*key),
        }
    }

    /// The text that a channel's header holds: empty for a raw key.
    pub(crate) fn text(&self) -> &str {
        match self {
            Name::Text(text) => text,
            Name::Key(_) | Name::Handle(_) => "",
        }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Name::Text(text) => write!(f, "{text:?}"),
            Name::Key(key) => write!(f, "key {key}"),
            Name::Handle(handle) => handle.fmt(f),
        }
    }
}

impl From<&str> for Name {
    fn from(text: &str) -> Self {
        Name::Text(text.to_owned())
    }
}

impl From<String> for Name {
    fn from(text: String) -> Self {
        Name::Text(text)
    }
}

impl From<&String> for Name {
    fn from(text: &String) -> Self {
        Name::Text(text.clone())
    }
}

impl From<Key> for Name {
    fn from(key: Key) -> Self {
        Name::Key(key)
    }
}

impl From<Handle> for Name {
    fn from(handle: Handle) -> Self {
        Name::Handle(handle)
    }
}
