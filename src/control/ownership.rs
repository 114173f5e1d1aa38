//! Whose objects a program trusts.

use super::header::Header;
use crate::error::OpenError;
use crate::sys::{Ownership, process};

/// Whose channels, queues, segments and semaphores may be opened. An object's owner and its creator both count, since an
/// owner can give an object away.
///
/// In a user namespace the kernel gives one user id, 65534 unless `kernel.overflowuid` says
/// otherwise, for every user that the namespace does not map. Such an owner is trusted by
/// [`Owner::Anyone`] alone, also by a process that itself runs as that user.
///
/// ```no_run
/// use sysv_channel::{Channel, Owner};
///
/// // Created by user 1000 with mode 0660; this program is in its group.
/// let orders = Channel::<u32>::options().owner(Owner::User(1000)).open("orders")?;
/// # Ok::<(), sysv_channel::OpenError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Owner {
    /// Only this process's effective user.
    #[default]
    Myself,
    /// This process's effective user, and this one.
    User(u32),
    /// Any user: only where every user of the machine is trusted.
    Anyone,
}

impl Owner {
    /// Whether an object with this ownership may be used.
    pub(crate) fn allows(self, ownership: &Ownership) -> bool {
        let me = process::effective_uid();
        let trusted = |uid: u32| match self {
            Owner::Anyone => true,
            Owner::User(user) if uid == user => !process::is_overflow_uid(uid),
            Owner::Myself | Owner::User(_) => uid == me && !process::is_overflow_uid(uid),
        };
        trusted(ownership.uid) && trusted(ownership.creator_uid)
    }

    /// Refuses an object that an untrusted user owns or created.
    pub(crate) fn check(self, object: String, ownership: &Ownership) -> Result<(), OpenError> {
        if self.allows(ownership) {
            return Ok(());
        }
        Err(OpenError::NotOwned { object, uid: ownership.uid, creator_uid: ownership.creator_uid })
    }
}

/// Refuses an object whose permissions are not the channel's.
pub(super) fn check_mode(
    object: String,
    ownership: &Ownership,
    header: &Header,
) -> Result<(), OpenError> {
    if ownership.mode == header.mode {
        return Ok(());
    }
    Err(OpenError::WrongMode { object, found: ownership.mode, expected: header.mode })
}
