//! The shapes of the types that this process encodes, each traced once.
//!
//! A tuple struct says its fields' names nowhere, so one that leaves a field out, for serde's
//! `skip_serializing_if`, shows it in the number of fields alone that it announces. Whether that is
//! the number which is read stands in the shape.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, PoisonError};

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::trace::{Trace, Written};
use crate::transfer;

/// [`shape_of`] a type, which stands for the type.
pub(crate) type ShapeOf = fn() -> Option<&'static Shape>;

pub(crate) struct Shape(Trace);

/// The shape of `T`; none where its `Deserialize` panics, or while a type is traced.
pub(crate) fn shape_of<T: DeserializeOwned>() -> Option<&'static Shape> {
    static SHAPES: Mutex<BTreeMap<usize, Option<&'static Shape>>> = Mutex::new(BTreeMap::new());
    let shapes = || SHAPES.lock().unwrap_or_else(PoisonError::into_inner);
    // Two types for which the compiler makes one function have one shape.
    let key = shape_of::<T> as ShapeOf as usize;
    if let Some(&known) = shapes().get(&key) {
        return known;
    }
    if transfer::is_tracing() {
        return None;
    }
    let mut trace = Trace::new();
    let run = AssertUnwindSafe(|| trace.run::<T>(|_, value| drop(value)));
    let shape = match catch_unwind(|| transfer::tracing(run)) {
        Ok(_) => Some(&*Box::leak(Box::new(Shape(trace)))),
        Err(_) => None,
    };
    *shapes().entry(key).or_insert(shape)
}

/// A tuple struct, or a variant with numbered fields, as it is announced.
#[derive(Clone, Copy)]
pub(crate) struct Tuple {
    pub(crate) name: &'static str,
    pub(crate) variant: Option<&'static str>,
    pub(crate) fields: usize,
}

impl Tuple {
    /// Whether it is the same, by where its names stand in memory.
    #[inline]
    pub(crate) fn is(&self, other: &Tuple) -> bool {
        let variants = match (self.variant, other.variant) {
            (Some(mine), Some(theirs)) => std::ptr::eq(mine, theirs),
            (mine, theirs) => mine.is_none() && theirs.is_none(),
        };
        self.fields == other.fields && std::ptr::eq(self.name, other.name) && variants
    }
}

/// Whether a tuple is read with as many fields, wherever it stands in values of a type. Where it is
/// not, a value has to be looked at as a whole, with [`written_otherwise`].
pub(crate) fn is_read_so(shape_of: ShapeOf, tuple: Tuple) -> bool {
    const KNOWN: usize = 64;
    std::thread_local! {
        static LAST: [Cell<Option<(ShapeOf, Tuple)>>; KNOWN] =
            const { [const { Cell::new(None) }; KNOWN] };
    }
    // Multiplicative hashing, by the golden ratio: the names stand close together in memory.
    let variant = tuple.variant.map_or(0, |variant| variant.as_ptr() as usize);
    let key = (tuple.name.as_ptr() as usize).rotate_left(20) ^ variant ^ shape_of as usize;
    let number = key.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (usize::BITS - KNOWN.ilog2());
    LAST.with(|last| {
        let known = last[number].get();
        if known.is_some_and(|(of, known)| of as usize == shape_of as usize && known.is(&tuple)) {
            return true;
        }
        let Some(Shape(trace)) = shape_of() else {
            return true;
        };
        let so = trace.all_have(tuple.name, tuple.variant, tuple.fields);
        if so {
            last[number].set(Some((shape_of, tuple)));
        }
        so
    })
}

/// Where a value has other fields than are read, and how.
pub(crate) fn written_otherwise<T: Serialize>(
    shape_of: ShapeOf,
    value: &T,
    self_describing: bool,
) -> Option<(String, String)> {
    let Shape(trace) = shape_of()?;
    let mut written = Written::new(self_describing);
    written.follow(trace, value);
    written.wrong().map(|wrong| (wrong.path, wrong.how))
}
