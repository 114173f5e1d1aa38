//! The processor's atomics.

use std::time::Duration;

pub(crate) use std::sync::atomic::{AtomicU64, Ordering, fence};

/// Tells the processor that the caller spins.
#[inline]
pub(crate) fn spin_hint() {
    std::hint::spin_loop();
}

/// One more than the number of the processor that this thread runs on, or did a moment ago.
#[inline]
pub(crate) fn current_processor() -> Option<u64> {
    // SAFETY: the call takes nothing and returns a number.
    let number = unsafe { nix::libc::sched_getcpu() };
    u64::try_from(number).ok().map(|number| number + 1)
}

/// How long a call may spin before it sleeps, of what was asked for.
#[inline]
pub(crate) fn spin_budget(asked: Duration) -> Duration {
    asked
}
