//! A semaphore that is held.

use std::fmt;

use super::{SemaphoreOp, SemaphoreOpError, Semaphores};
use crate::sys::process;

/// What was acquired of a semaphore, given back when this is dropped; see
/// [`Semaphores::acquire_guard`].
///
/// If the process ends first, however it does, the kernel gives it back. A forked child has acquired
/// nothing: its copy of its parent's guard gives nothing back. A guard that is leaked
/// ([`std::mem::forget`]) is given back when the process ends.
#[must_use = "what was acquired is given back when the guard is dropped"]
pub struct SemaphoreGuard<'a> {
    semaphores: &'a Semaphores,
    index: u16,
    amount: u16,
    /// The process that has acquired it.
    token: u64,
    held: bool,
}

impl<'a> SemaphoreGuard<'a> {
    pub(super) fn new(semaphores: &'a Semaphores, index: u16, amount: u16, token: u64) -> Self {
        SemaphoreGuard { semaphores, index, amount, token, held: true }
    }

    /// Which semaphore of the set is held.
    pub fn index(&self) -> u16 {
        self.index
    }

    /// How much of it is.
    pub fn amount(&self) -> u16 {
        self.amount
    }

    /// Gives it back, and says if that failed, which a drop cannot.
    ///
    /// # Errors
    /// [`SemaphoreOpError::NotHolder`] in a forked child; [`SemaphoreOpError::Overflow`] if other
    /// programs have released more than they acquired; [`SemaphoreOpError::Removed`] if the set was
    /// removed, where nothing is left to be given back.
    pub fn release(mut self) -> Result<(), SemaphoreOpError> {
        self.give_back()
    }

    fn give_back(&mut self) -> Result<(), SemaphoreOpError> {
        self.held = false;
        if self.token != process::token() {
            return Err(SemaphoreOpError::NotHolder { object: self.semaphores.object() });
        }
        // Nothing is given to another set that has the id now.
        self.semaphores.check_identity()?;
        self.semaphores.try_operate(&[SemaphoreOp::release(self.index, self.amount).undo()])
    }
}

impl Drop for SemaphoreGuard<'_> {
    fn drop(&mut self) {
        if self.held {
            // A destructor has no caller to tell; what the kernel refuses now it undoes at the process's end.
            let _ = self.give_back();
        }
    }
}

impl fmt::Debug for SemaphoreGuard<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SemaphoreGuard")
            .field("semaphores", &self.semaphores)
            .field("index", &self.index)
            .field("amount", &self.amount)
            .finish()
    }
}
