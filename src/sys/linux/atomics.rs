//! The processor's atomics.

use std::time::Duration;

pub(crate) use std::sync::atomic::{AtomicU64, Ordering, fence};

/// Tells the processor that the caller spins.
#[inline]
pub(crate) fn spin_hint() {
    std::hint::spin_loop();
}

/// How long a call may look for itself before it sleeps.
#[inline]
pub(crate) fn spin_budget(asked: Duration) -> Duration {
    asked
}
