//! The lock of a channel, as a guard.

use super::closing::remove_if_unused;
use super::semaphores;
use crate::sys::{Deadline, Fault, SemaphoreSet, SystemError, fault, process};

/// A set whose lock this process holds, and gives back when this is dropped.
///
/// The holder, once it has given the lock back, looks whether the channel is unused: the last user
/// may have found the lock taken meanwhile, and never waits for it.
pub(super) struct Locked {
    set: SemaphoreSet,
    /// The process that took the lock; a forked child has none, and a killed one gives it back by
    /// its undo entry.
    token: u64,
    looks_again: bool,
}

impl Locked {
    /// Takes the lock; `None` when the deadline passed.
    pub(super) fn take(set: SemaphoreSet, deadline: Deadline) -> Result<Option<Self>, SystemError> {
        Ok(semaphores::lock(set, deadline)?.then(|| Locked::of(set)))
    }

    /// Signs an unsigned set and takes its lock in one step; `None` if another process did.
    pub(super) fn claim(set: SemaphoreSet) -> Result<Option<Self>, SystemError> {
        Ok(semaphores::claim(set)?.then(|| Locked::of(set)))
    }

    fn of(set: SemaphoreSet) -> Self {
        Locked { set, token: process::token(), looks_again: true }
    }

    pub(super) fn set(&self) -> SemaphoreSet {
        self.set
    }

    /// Gives the lock back without another look.
    pub(super) fn without_looking_again(mut self) -> Self {
        self.looks_again = false;
        self
    }

    /// Gives the lock back and becomes a user, in one step.
    pub(super) fn become_user(self) -> Result<(), SystemError> {
        semaphores::unlock_as_user(self.set)?;
        self.forget();
        Ok(())
    }

    /// Keeps the lock from being given back, as `SemaphorePermit::forget` in tokio does: the set is gone,
    /// or the lock was given back in another way.
    pub(super) fn forget(mut self) {
        // No process has the token zero.
        self.token = 0;
    }
}

impl Drop for Locked {
    fn drop(&mut self) {
        if self.token != process::token() || fault(Fault::LockKept) {
            return;
        }
        // It fails where the set was removed, and then nothing is left to look at.
        let unlocked = semaphores::unlock(self.set).is_ok();
        if unlocked && self.looks_again && !fault(Fault::NoSecondLook) {
            // A creator of the name or `sweep` finds what could not be removed.
            let _ = remove_if_unused(self.set, None);
        }
    }
}
