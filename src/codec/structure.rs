//! What an encoder says of the parts of a value.

use std::any::type_name;

use serde::Serialize;

use super::EncodeError;
use crate::schema::shapes::{ShapeOf, written_otherwise};

/// What parts belong to.
#[derive(Clone, Copy)]
pub(super) enum Of {
    Tuple,
    Struct(&'static str),
    Variant(&'static str, &'static str),
    Sequence,
    Map,
}

impl Of {
    /// How many values make an element: an entry of a map is two.
    #[inline]
    pub(super) fn each(self) -> usize {
        if matches!(self, Of::Map) { 2 } else { 1 }
    }

    pub(super) fn name(self) -> String {
        match self {
            Of::Tuple => "a tuple".to_owned(),
            Of::Struct(name) => format!("`{name}`"),
            Of::Variant(name, variant) => format!("`{name}::{variant}`"),
            Of::Sequence => "a sequence".to_owned(),
            Of::Map => "a map".to_owned(),
        }
    }

    /// The step of a path that leads through it to one of its fields.
    pub(super) fn step(self, field: &str) -> String {
        match self {
            Of::Variant(_, variant) => format!("::{variant}.{field}"),
            _ => format!(".{field}"),
        }
    }
}

pub(super) const OUT_OF_TURN: &str =
    "the Serialize of a map wrote keys and values that do not alternate";

/// Looks whether a value has the fields that are read, where one of its tuples may not.
#[cold]
pub(super) fn check<T: Serialize>(
    shape_of: ShapeOf,
    value: &T,
    self_describing: bool,
) -> Result<(), EncodeError> {
    let Some((path, how)) = written_otherwise(shape_of, value, self_describing) else {
        return Ok(());
    };
    let what = format!(
        "{how}: what `skip_serializing_if` skips in a tuple has no name, and the receiver would take \
         what follows for it; always write it, or name the fields and use a codec whose format \
         describes itself, such as Json"
    );
    Err(EncodeError::refused(&what).within("", &path).within_type(type_name::<T>()))
}

/// The parts are as many as announced, or a receiver reads something else. Counted in values; `last`
/// is the field written last, if it has a name.
#[cold]
pub(super) fn miscounted(of: Of, announced: usize, written: usize, last: &str) -> EncodeError {
    let each = of.each();
    let parts = if matches!(of, Of::Sequence | Of::Map) { "elements" } else { "fields" };
    let half = if written.is_multiple_of(each) { "" } else { " and a half" };
    let last = if last.is_empty() { String::new() } else { format!(", the last `{last}`") };
    EncodeError::refused(&format!(
        "the Serialize of {} announced {} {parts} and wrote {}{half}{last}: the receiver would read \
         something else",
        of.name(),
        announced / each,
        written / each,
    ))
}
