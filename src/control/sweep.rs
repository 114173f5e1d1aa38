//! Removing what crashes left behind.

use super::Owner;
use super::closing::{remove_if_idle, tidy};
use super::find::Evidence;
use super::semaphores::{self, Claim, USERS};
use crate::error::OpenError;
use crate::sys::{Deadline, Fault, Key, SemaphoreSet, SystemErrorKind, fault};

/// A channel that [`sweep`] removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Removed {
    /// The key of its objects.
    pub key: Key,
}

/// Removes this user's channels that nobody uses, that are not durable and that hold no value.
///
/// A channel is removed with its last user; what crashes leave is adopted by the next creator of
/// the name, or removed here. Objects of other users and of other programs are never touched.
///
/// A set that a killed creator had made but not yet signed looks like any program's fresh set and
/// stays; `ipcs -s` shows it with its owner.
///
/// # Errors
/// [`OpenError::System`] if the kernel does not list its semaphore sets.
///
/// ```
/// for removed in sysv_channel::sweep()? {
///     println!("removed the channel at key {}", removed.key);
/// }
/// # Ok::<(), sysv_channel::OpenError>(())
/// ```
pub fn sweep() -> Result<Vec<Removed>, OpenError> {
    sweep_where(false)
}

/// Like [`sweep`], and also removes channels that are durable or hold values, if nobody uses them.
///
/// # Errors
/// [`OpenError::System`] if the kernel does not list its semaphore sets.
pub fn sweep_all() -> Result<Vec<Removed>, OpenError> {
    sweep_where(true)
}

fn sweep_where(even_with_values: bool) -> Result<Vec<Removed>, OpenError> {
    let mut removed = Vec::new();
    for (set, stat) in SemaphoreSet::list()? {
        let Some(key) = Key::new(stat.ownership.key) else { continue };
        if !Owner::Myself.allows(&stat.ownership) {
            continue;
        }
        match sweep_one(set, even_with_values) {
            Ok(true) => removed.push(Removed { key }),
            Ok(false) => {}
            // Another remover was faster.
            Err(OpenError::System(error)) if error.kind() == SystemErrorKind::Removed => {}
            // Somebody else's object under the key of a channel, or a header beyond reading: not
            // for us to remove. `unlink` says what it is.
            Err(_) => {}
        }
    }
    Ok(removed)
}

fn sweep_one(set: SemaphoreSet, even_with_values: bool) -> Result<bool, OpenError> {
    if semaphores::inspect(set)? != Claim::Signed
        || set.value(USERS)? != 0
        || !semaphores::lock(set, Deadline::immediate())?
    {
        return Ok(false);
    }
    if set.value(USERS)? != 0 && !fault(Fault::UsersLookedAtOnce) {
        semaphores::unlock(set)?;
        // The last user may have found the lock taken meanwhile and left the rest to us.
        tidy(set, Evidence::Signature);
        return Ok(false);
    }
    if remove_if_idle(set, even_with_values, Evidence::Signature)? {
        return Ok(true);
    }
    semaphores::unlock(set)?;
    Ok(false)
}
