//! What an encoder says of the parts of a value.

use std::any::type_name;

use serde::Serialize;

use super::EncodeError;
use crate::schema::shapes::{ShapeOf, written_otherwise};
use crate::transfer;

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

    #[inline]
    pub(super) fn variant(self) -> Option<&'static str> {
        match self {
            Of::Variant(_, variant) => Some(variant),
            _ => None,
        }
    }

    /// The step of a path that leads through it to one of its fields.
    pub(super) fn step(self, field: &str) -> String {
        step(self.variant(), field)
    }
}

pub(super) const OUT_OF_TURN: &str =
    "the Serialize of a map wrote keys and values that do not alternate";

fn step(variant: Option<&str>, field: &str) -> String {
    match variant {
        Some(variant) => format!("::{variant}.{field}"),
        None => format!(".{field}"),
    }
}

/// Says that an error is within a field with this name, of a variant or a struct.
///
/// NB: not of an [`Of`], which does not fit into registers: every field would write it to the stack.
#[cold]
#[inline(never)]
pub(super) fn within_field(error: EncodeError, of: Option<&str>, field: &str) -> EncodeError {
    error.within_step(|| step(of, field))
}

/// Says that an error is within a field with this number.
#[cold]
#[inline(never)]
pub(super) fn within_number(error: EncodeError, of: Option<&str>, number: usize) -> EncodeError {
    within_field(error, of, &number.to_string())
}

/// Looks whether a value is written as it is read, where one of its parts may not be.
#[cold]
pub(super) fn check<T: Serialize>(
    shape_of: ShapeOf,
    value: &T,
    self_describing: bool,
) -> Result<(), EncodeError> {
    let otherwise = transfer::looking(|| written_otherwise(shape_of, value, self_describing));
    let Some((path, how)) = otherwise else { return Ok(()) };
    let cure = if self_describing {
        "always write it, or name the fields"
    } else {
        "always write it, or name the fields and use a codec whose format describes itself, such as \
         Json"
    };
    let what = format!(
        "{how}: the receiver would take what follows for what is left out, as by \
         `skip_serializing_if` in a tuple, or by a `with` module that writes nothing for `None`; \
         {cure}"
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
