//! Atomics whose every access is a step of the calling process.

use std::time::Duration;

use super::kernel;

pub(crate) use std::sync::atomic::Ordering;

/// A loom atomic; a dead process's accesses have no effect.
#[derive(Debug)]
pub(crate) struct AtomicU64(loom::sync::atomic::AtomicU64);

impl AtomicU64 {
    pub(crate) fn new(value: u64) -> Self {
        AtomicU64(loom::sync::atomic::AtomicU64::new(value))
    }

    pub(crate) fn load(&self, order: Ordering) -> u64 {
        if kernel::step() { self.0.load(order) } else { 0 }
    }

    pub(crate) fn store(&self, value: u64, order: Ordering) {
        if kernel::step() {
            self.0.store(value, order);
        }
    }

    pub(crate) fn swap(&self, value: u64, order: Ordering) -> u64 {
        if kernel::step() { self.0.swap(value, order) } else { 0 }
    }

    pub(crate) fn fetch_add(&self, value: u64, order: Ordering) -> u64 {
        if kernel::step() { self.0.fetch_add(value, order) } else { 0 }
    }

    pub(crate) fn fetch_or(&self, value: u64, order: Ordering) -> u64 {
        if kernel::step() { self.0.fetch_or(value, order) } else { 0 }
    }

    pub(crate) fn fetch_and(&self, value: u64, order: Ordering) -> u64 {
        if kernel::step() { self.0.fetch_and(value, order) } else { 0 }
    }

    pub(crate) fn fetch_max(&self, value: u64, order: Ordering) -> u64 {
        if kernel::step() { self.0.fetch_max(value, order) } else { 0 }
    }

    pub(crate) fn compare_exchange(
        &self,
        current: u64,
        new: u64,
        success: Ordering,
        failure: Ordering,
    ) -> Result<u64, u64> {
        if !kernel::step() {
            return Err(!current);
        }
        self.0.compare_exchange(current, new, success, failure)
    }

    /// The value without synchronisation: a write by the kernel, or payload over a stamp.
    pub(super) fn overwrite(&mut self, value: u64) {
        self.0.with_mut(|word| *word = value);
    }
}

/// A fence, and before it a point at which another thread may run: loom takes a fence for none,
/// which would hide what happens between the accesses around it.
pub(crate) fn fence(order: Ordering) {
    if kernel::step() {
        kernel::yield_point();
        loom::sync::atomic::fence(order);
    }
}

/// Lets another thread run: a thread that spins waits for one.
pub(crate) fn spin_hint() {
    loom::thread::yield_now();
}

/// A model's threads have none.
pub(crate) fn current_processor() -> Option<u64> {
    None
}

/// No thread spins in a model: every way to sleep is to be explored.
pub(crate) fn spin_budget(_asked: Duration) -> Duration {
    Duration::ZERO
}
