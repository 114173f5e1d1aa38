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

pub(crate) struct Shape {
    trace: Trace,
    /// How many fields every tuple of the type is read with; [`MIXED`] where they differ.
    fields: usize,
}

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
        Ok(_) => {
            let fields = trace.fields_of_all().unwrap_or(MIXED);
            Some(&*Box::leak(Box::new(Shape { trace, fields })))
        }
        Err(_) => None,
    };
    *shapes().entry(key).or_insert(shape)
}

/// A tuple struct, or a variant with numbered fields, as it is announced.
#[derive(Clone, Copy)]
struct Tuple {
    name: &'static str,
    /// Empty for a struct.
    variant: &'static str,
    fields: usize,
}

impl Tuple {
    /// Whether it is the same, by where its names stand in memory.
    fn is(&self, other: &Tuple) -> bool {
        self.fields == other.fields
            && std::ptr::eq(self.name, other.name)
            && std::ptr::eq(self.variant, other.variant)
    }
}

/// How many fields every tuple has, where no tuple was announced yet.
pub(crate) const UNKNOWN: usize = usize::MAX;
const MIXED: usize = usize::MAX - 1;

/// Whether a tuple struct, or the tuple variant of an enum, is read with as many fields, wherever
/// it stands in values of a type, and with how many every tuple of the type is: `all`, once it is
/// known. Where it is not read so, a value has to be looked at as a whole, with
/// [`written_otherwise`].
#[inline(never)]
pub(crate) fn is_read_so(
    shape_of: ShapeOf,
    all: usize,
    name: &'static str,
    variant: &'static str,
    fields: usize,
) -> (usize, bool) {
    let all = if all == UNKNOWN { of_all(shape_of) } else { all };
    (all, all == fields || is_known(shape_of, Tuple { name, variant, fields }))
}

/// Of types, and of their tuples: as many as are kept in mind.
const KNOWN: usize = 64;

/// Multiplicative hashing, by the golden ratio: functions and names stand close together in memory.
fn place(key: usize) -> usize {
    key.wrapping_mul(0x9e37_79b9_7f4a_7c15_u64 as usize) >> (usize::BITS - KNOWN.ilog2())
}

/// How many fields every tuple of a type is read with.
fn of_all(shape_of: ShapeOf) -> usize {
    std::thread_local! {
        static LAST: [Cell<(usize, usize)>; KNOWN] = const { [const { Cell::new((0, 0)) }; KNOWN] };
    }
    let key = shape_of as usize;
    LAST.with(|last| {
        let known = &last[place(key)];
        let (of, fields) = known.get();
        if of == key {
            return fields;
        }
        // While the type is traced the next value may know more.
        let Some(shape) = shape_of() else {
            return MIXED;
        };
        known.set((key, shape.fields));
        shape.fields
    })
}

fn is_known(shape_of: ShapeOf, tuple: Tuple) -> bool {
    std::thread_local! {
        static LAST: [Cell<Option<(ShapeOf, Tuple)>>; KNOWN] =
            const { [const { Cell::new(None) }; KNOWN] };
    }
    let names = (tuple.name.as_ptr() as usize).rotate_left(20) ^ tuple.variant.as_ptr() as usize;
    let key = names ^ shape_of as usize;
    LAST.with(|last| {
        let last = &last[place(key)];
        let known = last.get();
        if known.is_some_and(|(of, known)| of as usize == shape_of as usize && known.is(&tuple)) {
            return true;
        }
        let Some(Shape { trace, .. }) = shape_of() else {
            return true;
        };
        let variant = (!tuple.variant.is_empty()).then_some(tuple.variant);
        let so = trace.all_have(tuple.name, variant, tuple.fields);
        if so {
            last.set(Some((shape_of, tuple)));
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
    let Shape { trace, .. } = shape_of()?;
    let mut written = Written::new(self_describing);
    written.follow(trace, value);
    written.otherwise()
}
