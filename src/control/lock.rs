//! The lock of a channel, as a guard; and what its holder removes.

use super::find::{Identified, identify, ignore_gone};
use super::semaphores::{self, USERS};
use super::{Control, Owner};
use crate::error::OpenError;
use crate::sys::{Deadline, Fault, Key, SemaphoreSet, SystemError, fault, process};

/// How often the last users may change before another party is left to look.
const LOOKS: usize = 100;

/// What to do with the lock after looking.
pub(super) enum Outcome {
    /// Become a user.
    Use(Box<Control>),
    /// The set may be gone: look it up again.
    Retry,
}

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
    pub(super) fn sign(set: SemaphoreSet) -> Result<Option<Self>, SystemError> {
        Ok(semaphores::sign(set)?.then(|| Locked::of(set)))
    }

    fn of(set: SemaphoreSet) -> Self {
        Locked { set, token: process::token(), looks_again: true }
    }

    pub(super) fn set(&self) -> SemaphoreSet {
        self.set
    }

    /// Does something under the lock and gives it back.
    pub(super) fn run(
        self,
        action: impl FnOnce(&Locked) -> Result<Outcome, OpenError>,
    ) -> Result<Option<Control>, OpenError> {
        match action(&self)? {
            Outcome::Use(control) => match self.become_user() {
                Ok(()) => Ok(Some(*control)),
                Err(error) => {
                    control.detach();
                    Err(error.into())
                }
            },
            Outcome::Retry => Ok(None),
        }
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

/// Removes the channel on this set if it is not in use and need not stay. `known` helps to tell its
/// objects where it is not whole any more.
///
/// Nothing is lost when this fails: a creator of the name or `sweep` finds the rest.
pub(super) fn remove_if_unused(
    set: SemaphoreSet,
    known: Option<&Control>,
) -> Result<(), OpenError> {
    for _ in 0..LOOKS {
        if set.value(USERS)? != 0 {
            return Ok(());
        }
        let Some(locked) = Locked::take(set, Deadline::now())? else { return Ok(()) };
        let locked = locked.without_looking_again();
        if set.value(USERS)? == 0 {
            // One that is kept, for its values or because it is durable, has been looked at.
            return remove_unused(locked, false, known).map(drop);
        }
    }
    Ok(())
}

/// Removes a channel that is not in use, unless it has to stay; says whether it did, and gives the
/// lock back.
pub(super) fn remove_unused(
    locked: Locked,
    even_with_values: bool,
    known: Option<&Control>,
) -> Result<bool, OpenError> {
    let set = locked.set();
    let Some(key) = Key::new(set.key()) else { return Ok(false) };
    match identify(key, set, Owner::Myself, known)? {
        Identified::Channel(mapped, queue) => {
            let control = Control::new(mapped, set, queue);
            let stays = !even_with_values && control.stays();
            let removed = if stays { Ok(()) } else { control.remove_all() };
            control.detach();
            removed?;
            if stays {
                return Ok(false);
            }
        }
        Identified::Rest(rest) => {
            rest.remove()?;
            ignore_gone(set.remove())?;
        }
    }
    locked.forget();
    Ok(true)
}

/// Removes what a creator left that was killed before it signed; `false` if another process signed
/// it. A creator that is alive finds its set signed or gone, and makes a new one.
pub(super) fn remove_unsigned(set: SemaphoreSet) -> Result<bool, SystemError> {
    if fault(Fault::UnsignedNotClaimed) {
        return Ok(set.remove().is_ok());
    }
    let Some(locked) = Locked::sign(set)? else { return Ok(false) };
    set.remove()?;
    locked.forget();
    Ok(true)
}
