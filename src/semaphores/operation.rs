//! One operation of an atomic step.

use super::HIGHEST;
use crate::sys::SemOp;

/// One operation on one semaphore of a set, see [`Semaphores::operate`](super::Semaphores::operate).
///
/// ```
/// use sysv_channel::{SemaphoreOp, Semaphores};
///
/// // Readers count in semaphore 1; a writer has semaphore 0 and waits until there are none.
/// let lock = Semaphores::private(&[1, 0])?;
/// let write = [SemaphoreOp::acquire(0, 1).undo(), SemaphoreOp::wait_for_zero(1)];
/// lock.operate(&write)?;
/// lock.operate(&[SemaphoreOp::release(0, 1).undo()])?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SemaphoreOp {
    index: u16,
    kind: Kind,
    undo: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Acquire(u16),
    Release(u16),
    WaitForZero,
}

impl SemaphoreOp {
    /// Takes `amount`, 1 to 32,767, from the semaphore at `index`; impossible while it is smaller.
    pub const fn acquire(index: u16, amount: u16) -> Self {
        SemaphoreOp { index, kind: Kind::Acquire(amount), undo: false }
    }

    /// Adds `amount`, 1 to 32,767, to the semaphore at `index`.
    pub const fn release(index: u16, amount: u16) -> Self {
        SemaphoreOp { index, kind: Kind::Release(amount), undo: false }
    }

    /// Changes nothing, and is impossible while the semaphore at `index` is not 0.
    pub const fn wait_for_zero(index: u16) -> Self {
        SemaphoreOp { index, kind: Kind::WaitForZero, undo: false }
    }

    /// Has the kernel take it back when the process ends (`SEM_UNDO`).
    ///
    /// The kernel keeps one sum for each process and semaphore: a release with undo settles an acquire
    /// with undo. One without leaves the sum, and the process's end then adds to the semaphore once
    /// more. What cannot be taken back whole, as the semaphore is too small, is taken back as far as
    /// it goes.
    pub const fn undo(mut self) -> Self {
        self.undo = true;
        self
    }

    /// Which semaphore of the set it is about.
    pub const fn index(&self) -> u16 {
        self.index
    }

    /// As the kernel takes it; the amount if that is none.
    pub(super) fn raw(&self) -> Result<SemOp, u16> {
        let delta = match self.kind {
            Kind::Acquire(amount) => -valid(amount)?,
            Kind::Release(amount) => valid(amount)?,
            Kind::WaitForZero => 0,
        };
        let op = SemOp::add(self.index, delta);
        Ok(if self.undo { op.undo() } else { op })
    }
}

fn valid(amount: u16) -> Result<i16, u16> {
    match i16::try_from(amount) {
        Ok(delta @ 1..) => Ok(delta),
        _ => Err(amount),
    }
}

const _: () = assert!(HIGHEST == i16::MAX as u16);
