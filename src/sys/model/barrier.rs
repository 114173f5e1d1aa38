//! The fence that only one side pays for, as two fences: loom has none that covers other threads.

use super::{Ordering, fence};

/// Every process of a model can.
pub(crate) fn register_waker() -> bool {
    true
}

/// The waker's half.
pub(crate) fn light_barrier() {
    fence(Ordering::SeqCst);
}

/// The sleeper's half.
pub(crate) fn heavy_barrier() -> bool {
    fence(Ordering::SeqCst);
    true
}
