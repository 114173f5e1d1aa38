//! The processor's atomics.

pub(crate) use std::sync::atomic::{AtomicU64, Ordering, fence};

/// Tells the processor that the caller spins.
#[inline]
pub(crate) fn spin_hint() {
    std::hint::spin_loop();
}
