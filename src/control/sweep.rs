//! Removing what crashes left behind.

use super::Owner;

use super::lock::{Locked, remove_unsigned, remove_unused};
use super::semaphores::{self, Signature, USERS};
use crate::error::OpenError;
use crate::sys::{Deadline, Fault, Key, SemaphoreSet, SystemErrorKind, at_exit, fault};

/// A channel that [`sweep`] removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Removed {
    /// The key of its objects.
    pub key: Key,
}

/// Removes this user's channels that are not in use, that are not durable and that hold no value.
///
/// A channel is removed with its last user; what crashes leave is adopted by the next creator of
/// the name, or removed here. Objects of other users and of other programs are never touched.
///
/// A named set that a killed creator had made but not yet signed looks like any program's fresh set
/// and stays for the next creator of the name, whatever its options, or for
/// [`Channel::unlink`](crate::Channel::unlink); that of a private channel is known by its key.
///
/// Nothing is removed while this process exits.
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

/// Like [`sweep`], and also removes channels that are durable or hold values, if they are not in use.
///
/// Of a channel whose header another program removed or wrote over nothing says what it is:
/// [`Channel::unlink`](crate::Channel::unlink) by its name or key removes what is left.
///
/// # Errors
/// [`OpenError::System`] if the kernel does not list its semaphore sets.
pub fn sweep_all() -> Result<Vec<Removed>, OpenError> {
    sweep_where(true)
}

fn sweep_where(even_with_values: bool) -> Result<Vec<Removed>, OpenError> {
    let mut removed = Vec::new();
    // As in `unlink`.
    let Some(_entry) = at_exit::begin() else { return Ok(removed) };
    for (set, stat) in SemaphoreSet::list()? {
        let Some(key) = Key::new(stat.ownership.key) else { continue };
        if !Owner::Myself.allows(&stat.ownership) {
            continue;
        }
        match sweep_one(set, key, even_with_values) {
            Ok(true) => {
                #[cfg(feature = "tracing")]
                tracing::info!(target: "sysv_channel", %key, "what crashes left behind was removed");
                removed.push(Removed { key });
            }
            Ok(false) => {}
            // Another remover was faster.
            Err(OpenError::System(error)) if error.kind() == SystemErrorKind::Removed => {}
            // Another program's object under the key of a channel, or a header beyond reading: not
            // for us to remove. `unlink` says what it is.
            Err(_) => {}
        }
    }
    Ok(removed)
}

fn sweep_one(set: SemaphoreSet, key: Key, even_with_values: bool) -> Result<bool, OpenError> {
    match semaphores::inspect(set)? {
        Signature::Signed => {}
        // Its key says whose it is.
        Signature::Unsigned if key.is_private() && !fault(Fault::UnsignedKept) => {
            return Ok(remove_unsigned(set)?);
        }
        Signature::Unsigned | Signature::Foreign => return Ok(false),
    }
    if set.value(USERS)? != 0 {
        return Ok(false);
    }
    let Some(locked) = Locked::take(set, Deadline::now())? else { return Ok(false) };
    if set.value(USERS)? != 0 && !fault(Fault::UsersLookedAtOnce) {
        return Ok(false);
    }
    let locked = locked.without_looking_again();
    remove_unused(locked, even_with_values, None)
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::control::{MAX_LANES, MAX_RECEIVERS};
    use crate::sys::Cleanup;

    fn sweeps(key: Key, count: usize, mode: u32) -> bool {
        let set = SemaphoreSet::create(key, count, mode).unwrap();
        let _cleanup = Cleanup(|| drop(set.remove()));
        let swept = sweep_one(set, key, true).unwrap();
        assert_eq!(set.stat().is_err(), swept);
        swept
    }

    #[test]
    fn unsigned_set_is_swept_if_its_key_says_whose_it_is() {
        let other = || std::iter::repeat_with(Key::random).find(|key| !key.is_private()).unwrap();
        let of = |lanes| semaphores::count(lanes, 1);
        for lanes in [1, 32, MAX_LANES] {
            assert!(sweeps(Key::private(), of(lanes), 0o600));
            assert!(sweeps(Key::private(), of(lanes), 0o660));
            assert!(!sweeps(other(), of(lanes), 0o600));
        }
        assert!(sweeps(Key::private(), semaphores::count(MAX_LANES, MAX_RECEIVERS), 0o600));
        for (count, mode) in [(of(0), 0o600), (of(1) + 1, 0o600), (1, 0o600), (of(1), 0o400)] {
            assert!(!sweeps(Key::private(), count, mode), "{count} {mode:o}");
        }
        assert!(!sweeps(Key::private(), of(MAX_LANES + MAX_RECEIVERS + 1), 0o600));
    }
}
