//! Panics of the user's code in the middle of ours.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::Waker;

use crate::codec::DecodeError;

/// What a panic said.
pub(crate) fn text_of(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("a panic without a message")
}

/// Wakes what another part of the program registered, whose panic is its own.
pub(crate) fn waking(waker: Waker) {
    // The thread's panic hook has told of it. A model's kills are panics, and are left alone.
    if cfg!(loom) {
        return waker.wake();
    }
    let _ = catch_unwind(AssertUnwindSafe(|| waker.wake()));
}

/// Decodes; a type that panics over what stands there cannot be decoded from it.
///
/// A model's kills are panics, and are left alone.
#[inline]
pub(crate) fn decoding<V>(
    decode: impl FnOnce() -> Result<V, DecodeError>,
) -> Result<V, DecodeError> {
    if cfg!(loom) {
        return decode();
    }
    catch_unwind(AssertUnwindSafe(decode)).unwrap_or_else(|panic| {
        Err(DecodeError::new(format!("decoding panicked: {}", text_of(&*panic))))
    })
}
