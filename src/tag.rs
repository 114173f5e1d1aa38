//! Tags and selection: the `mtype` of System V messages.

use std::fmt;
use std::num::NonZeroI64;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// What a value is marked with, from 1 to `i64::MAX`: the `mtype` of a System V message.
///
/// A receiver can ask for values of one tag, or for the lowest first. Values sent without a tag
/// carry [`Tag::DEFAULT`]. See [`msgop(2)`](https://man7.org/linux/man-pages/man2/msgop.2.html).
///
/// ```
/// use sysv_channel::Tag;
///
/// assert_eq!(Tag::new(7).unwrap().get(), 7);
/// assert!(Tag::new(0).is_none() && Tag::new(-1).is_none());
/// assert_eq!(Tag::DEFAULT.get(), 1);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tag(NonZeroI64);

impl Tag {
    /// The tag of values that were sent without one: 1.
    pub const DEFAULT: Tag = Tag(NonZeroI64::new(1).unwrap());

    /// A tag, or `None` for a number below 1, which the kernel does not take as `mtype`.
    pub const fn new(number: i64) -> Option<Tag> {
        match NonZeroI64::new(number) {
            Some(nonzero) if number > 0 => Some(Tag(nonzero)),
            _ => None,
        }
    }

    /// The number, 1 or above.
    pub const fn get(self) -> i64 {
        self.0.get()
    }
}

impl Default for Tag {
    fn default() -> Self {
        Tag::DEFAULT
    }
}

impl fmt::Debug for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tag({})", self.0)
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl From<Tag> for i64 {
    fn from(tag: Tag) -> i64 {
        tag.get()
    }
}

/// A number that is no [`Tag`]: zero or negative.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InvalidTag(i64);

impl fmt::Display for InvalidTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is no tag: the kernel takes 1 to {} as mtype", self.0, i64::MAX)
    }
}

impl std::error::Error for InvalidTag {}

impl TryFrom<i64> for Tag {
    type Error = InvalidTag;

    fn try_from(number: i64) -> Result<Self, InvalidTag> {
        Tag::new(number).ok_or(InvalidTag(number))
    }
}

impl Serialize for Tag {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.get().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Tag {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Tag::try_from(i64::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

/// Which values a receiver asks for, by tag, as `msgtyp` of `msgrcv`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Select {
    /// The oldest value, whatever its tag.
    #[default]
    Any,
    /// The oldest value with this tag.
    Exactly(Tag),
    /// The oldest value with the lowest tag that is not above this one: tags as priorities.
    UpTo(Tag),
    /// The oldest value with any other tag.
    Except(Tag),
}

impl Select {
    /// Whether a value with `tag` is asked for.
    ///
    /// ```
    /// use sysv_channel::{Select, Tag};
    ///
    /// let seven = Tag::new(7).unwrap();
    /// assert!(Select::UpTo(seven).matches(Tag::DEFAULT));
    /// assert!(!Select::Except(seven).matches(seven));
    /// ```
    pub fn matches(self, tag: Tag) -> bool {
        match self {
            Select::Any => true,
            Select::Exactly(wanted) => tag == wanted,
            Select::UpTo(highest) => tag <= highest,
            Select::Except(unwanted) => tag != unwanted,
        }
    }
}

/// A received value with its tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Message<T> {
    /// The tag that it was sent with.
    pub tag: Tag,
    /// The value.
    pub value: T,
}
