//! One step of an atomic operation on a semaphore set.

/// Adds to, takes from, or waits for zero on one semaphore; see semop(2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SemOp {
    pub(crate) index: u16,
    /// What to add; 0 waits until the semaphore is zero.
    pub(crate) delta: i16,
    /// Whether the kernel takes it back when the process dies.
    pub(crate) undo: bool,
    /// Whether to wait while the operation is impossible.
    pub(crate) wait: bool,
}

impl SemOp {
    /// Adds `delta`; a negative one waits until the semaphore is large enough.
    pub(crate) fn add(index: u16, delta: i16) -> Self {
        SemOp { index, delta, undo: false, wait: true }
    }

    /// Waits until the semaphore is zero.
    pub(crate) fn zero(index: u16) -> Self {
        SemOp::add(index, 0)
    }

    /// To be taken back when the process dies.
    pub(crate) fn undo(mut self) -> Self {
        self.undo = true;
        self
    }

    /// Not to be waited for.
    pub(crate) fn no_wait(mut self) -> Self {
        self.wait = false;
        self
    }
}
