//! The bare semaphore set.
//!
//! [`Semaphores`] is a System V semaphore set and nothing else. What System V leaves open, how a set
//! is made and given its values without another program using it in between, `options.rs` closes as
//! Stevens does: by `sem_otime`, which stays 0 until the first operation.

mod error;
mod guard;
mod operation;
mod options;

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

pub use error::{SemaphoreOpError, SemaphoresError};
pub use guard::SemaphoreGuard;
pub use operation::SemaphoreOp;
pub use options::SemaphoresOptions;

use crate::bare::BareError;
use crate::private::Private;
use crate::sys::{Deadline, Key, Ownership, SemOp, SemaphoreSet, SystemErrorKind, moment, process};

/// The highest value of a semaphore (`SEMVMX`).
const HIGHEST: u16 = 32_767;

/// A bare semaphore set: semaphores that programs in any language share.
///
/// A semaphore is a number from 0 to 32,767. [`acquire`](Semaphores::acquire) takes from it, and waits
/// while it is too small; [`release`](Semaphores::release) adds to it;
/// [`wait_for_zero`](Semaphores::wait_for_zero) waits until it is 0. Several semaphores of a set are
/// changed in one atomic step by [`operate`](Semaphores::operate).
///
/// - **Initial values.** A set that is created has its values before any program opens it by this
///   crate: [`open`](Semaphores::open) waits for its creator's first operation, which
///   [`create`](Semaphores::create) does itself. (System V makes and initialises in two steps; see NOTES in
///   [semget(2)](https://man7.org/linux/man-pages/man2/semget.2.html) and Stevens, UNIX Network Programming,
///   volume 2.)
/// - **Undo.** What an operation with [`undo`](SemaphoreOp::undo) did, the kernel takes back when its
///   process ends, however it does. It is the process's, whichever thread did it; it outlives `exec`,
///   and a forked child has none of it. [`set_value`](Semaphores::set_value) takes all of it away. A
///   kernel that ignores it, as gVisor does, is not found out here.
/// - **Guards.** [`acquire_guard`](Semaphores::acquire_guard) acquires with undo, and its
///   [`SemaphoreGuard`] gives back when it is dropped.
/// - **Signals** end no call, and a timeout counts on; removal ends every call.
/// - **Lifetime.** The set stays in the kernel until [`remove`](Semaphores::remove) or a reboot; only a
///   [`private`](Semaphores::private) one is removed on drop, or when its process exits.
/// - **Key.** A set is found by its key; one that has none (`IPC_PRIVATE`), and that programs tell each other by its
///   id, is not. The kernel gives the id of a set that was removed to another after some millions, and each ipc
///   namespace has ids of its own. What looks, sets or removes tells the two apart by the key, and so does a
///   guard; a bare operation, which is one system call, does not.
/// - **No channel.** The name or key of a [`Channel`](crate::Channel) is refused.
///
/// All calls take `&self` and may be made from many threads. See
/// [semop(2)](https://man7.org/linux/man-pages/man2/semop.2.html).
///
/// ```
/// use sysv_channel::{SemaphoreOp, Semaphores};
///
/// // A lock, and a count of 10 free places.
/// let semaphores = Semaphores::private(&[1, 10])?;
///
/// // Another process would say Semaphores::open(key).
/// {
///     let _guard = semaphores.acquire_guard(0, 1)?;
///     assert!(semaphores.try_acquire(0, 1).unwrap_err().is_would_block());
/// }
/// let both = [SemaphoreOp::acquire(0, 1).undo(), SemaphoreOp::acquire(1, 3)];
/// semaphores.operate(&both)?;
/// assert_eq!(semaphores.values()?, [0, 7]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Semaphores {
    set: SemaphoreSet,
    key: Key,
    /// How many semaphores the set has, which never changes.
    count: usize,
    /// A private set's object, which goes with this.
    _private: Option<Arc<Private>>,
}

/// The state of a semaphore set at one moment; see `struct semid_ds` in
/// [semctl(2)](https://man7.org/linux/man-pages/man2/semctl.2.html).
///
/// ```
/// use sysv_channel::Semaphores;
///
/// let stat = Semaphores::options().mode(0o660).private(&[1, 1, 0])?.stat()?;
/// assert_eq!((stat.count, stat.ownership.mode), (3, 0o660));
/// assert!(stat.last_operation.is_some());
/// # Ok::<(), sysv_channel::SemaphoresError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct SemaphoresStat {
    /// Owner, creator and permissions.
    pub ownership: Ownership,
    /// How many semaphores the set has (`sem_nsems`).
    pub count: usize,
    /// When an operation was last done, to the second (`sem_otime`). Where none was, its creator has
    /// not initialised it, or is a program that does so without an operation.
    pub last_operation: Option<SystemTime>,
    /// When the set was created, its values set or its settings changed, to the second.
    pub last_change: Option<SystemTime>,
}

impl Semaphores {
    /// Takes `amount`, 1 to 32,767, from a semaphore, waiting until it is as large. Without undo: see
    /// [`acquire_guard`](Semaphores::acquire_guard).
    ///
    /// # Errors
    /// As [`operate`](Semaphores::operate).
    pub fn acquire(&self, index: u16, amount: u16) -> Result<(), SemaphoreOpError> {
        self.operate(&[SemaphoreOp::acquire(index, amount)])
    }

    /// Takes `amount` from a semaphore if it is as large now.
    ///
    /// # Errors
    /// [`SemaphoreOpError::WouldBlock`], or as [`operate`](Semaphores::operate).
    pub fn try_acquire(&self, index: u16, amount: u16) -> Result<(), SemaphoreOpError> {
        self.try_operate(&[SemaphoreOp::acquire(index, amount)])
    }

    /// Takes `amount` from a semaphore, waiting at most that long until it is as large.
    ///
    /// # Errors
    /// [`SemaphoreOpError::Timeout`], or as [`operate`](Semaphores::operate).
    pub fn acquire_timeout(
        &self,
        index: u16,
        amount: u16,
        timeout: Duration,
    ) -> Result<(), SemaphoreOpError> {
        self.operate_timeout(&[SemaphoreOp::acquire(index, amount)], timeout)
    }

    /// Adds `amount`, 1 to 32,767, to a semaphore; it never waits.
    ///
    /// # Errors
    /// [`SemaphoreOpError::Overflow`] if it would be more than 32,767, or as
    /// [`operate`](Semaphores::operate).
    pub fn release(&self, index: u16, amount: u16) -> Result<(), SemaphoreOpError> {
        self.operate(&[SemaphoreOp::release(index, amount)])
    }

    /// Waits until a semaphore is 0. It needs read permission alone.
    ///
    /// # Errors
    /// As [`operate`](Semaphores::operate).
    pub fn wait_for_zero(&self, index: u16) -> Result<(), SemaphoreOpError> {
        self.operate(&[SemaphoreOp::wait_for_zero(index)])
    }

    /// Waits until a semaphore is 0, at most that long.
    ///
    /// # Errors
    /// [`SemaphoreOpError::Timeout`], or as [`operate`](Semaphores::operate).
    pub fn wait_for_zero_timeout(
        &self,
        index: u16,
        timeout: Duration,
    ) -> Result<(), SemaphoreOpError> {
        self.operate_timeout(&[SemaphoreOp::wait_for_zero(index)], timeout)
    }

    /// Does all operations in one atomic step, waiting until all are possible; none does nothing.
    ///
    /// # Errors
    /// The operations were not done, whichever it is: [`SemaphoreOpError::NoSuchSemaphore`] and
    /// [`SemaphoreOpError::InvalidAmount`] for what cannot be, [`SemaphoreOpError::TooMany`] for more than
    /// `kernel.sem` lets one call do (usually 500), [`SemaphoreOpError::Overflow`],
    /// [`SemaphoreOpError::Removed`] if the set was removed; [`SemaphoreOpError::System`] otherwise.
    pub fn operate(&self, ops: &[SemaphoreOp]) -> Result<(), SemaphoreOpError> {
        self.operate_until(ops, Deadline::never())
    }

    /// Does all operations in one atomic step, if all are possible now.
    ///
    /// # Errors
    /// [`SemaphoreOpError::WouldBlock`], or as [`operate`](Semaphores::operate).
    pub fn try_operate(&self, ops: &[SemaphoreOp]) -> Result<(), SemaphoreOpError> {
        self.operate_until(ops, Deadline::now())
    }

    /// Does all operations in one atomic step, waiting at most that long until all are possible.
    ///
    /// # Errors
    /// [`SemaphoreOpError::Timeout`], or as [`operate`](Semaphores::operate).
    pub fn operate_timeout(
        &self,
        ops: &[SemaphoreOp],
        timeout: Duration,
    ) -> Result<(), SemaphoreOpError> {
        self.operate_until(ops, Deadline::after(timeout))
    }

    /// Does all operations in one atomic step, waiting until then at most until all are possible.
    ///
    /// # Errors
    /// [`SemaphoreOpError::Timeout`], or as [`operate`](Semaphores::operate).
    pub fn operate_deadline(
        &self,
        ops: &[SemaphoreOp],
        deadline: Instant,
    ) -> Result<(), SemaphoreOpError> {
        self.operate_until(ops, Deadline::at(deadline))
    }

    fn operate_until(
        &self,
        ops: &[SemaphoreOp],
        deadline: Deadline,
    ) -> Result<(), SemaphoreOpError> {
        // The kernel takes no operation at all for a mistake.
        if ops.is_empty() {
            return Ok(());
        }
        let raw = ops.iter().map(|op| self.check(op)).collect::<Result<Vec<SemOp>, _>>()?;
        self.set.operate(&raw, deadline).map_err(|error| {
            let object = self.object();
            match error.kind() {
                SystemErrorKind::WouldBlock if deadline.is_now() => {
                    SemaphoreOpError::WouldBlock { object }
                }
                SystemErrorKind::WouldBlock => SemaphoreOpError::Timeout { object },
                SystemErrorKind::TooLong => SemaphoreOpError::TooMany { count: ops.len(), error },
                SystemErrorKind::Overflow => SemaphoreOpError::Overflow { object },
                SystemErrorKind::Removed => SemaphoreOpError::Removed { object },
                _ => SemaphoreOpError::System(error),
            }
        })
    }

    fn check(&self, op: &SemaphoreOp) -> Result<SemOp, SemaphoreOpError> {
        let index = op.index();
        if usize::from(index) >= self.count {
            let (object, count) = (self.object(), self.count);
            return Err(SemaphoreOpError::NoSuchSemaphore { object, index, count });
        }
        op.raw().map_err(|amount| SemaphoreOpError::InvalidAmount {
            object: self.object(),
            index,
            amount,
        })
    }

    /// Takes `amount` from a semaphore with undo, waiting until it is as large, until the guard is
    /// dropped or the process ends.
    ///
    /// # Errors
    /// As [`operate`](Semaphores::operate).
    ///
    /// ```
    /// use sysv_channel::Semaphores;
    ///
    /// let places = Semaphores::private(&[3])?;
    /// let two = places.acquire_guard(0, 2)?;
    /// assert_eq!(places.value(0)?, 1);
    /// drop(two);
    /// assert_eq!(places.value(0)?, 3);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn acquire_guard(
        &self,
        index: u16,
        amount: u16,
    ) -> Result<SemaphoreGuard<'_>, SemaphoreOpError> {
        self.guard_until(index, amount, Deadline::never())
    }

    /// The same, if the semaphore is as large now.
    ///
    /// # Errors
    /// [`SemaphoreOpError::WouldBlock`], or as [`operate`](Semaphores::operate).
    pub fn try_acquire_guard(
        &self,
        index: u16,
        amount: u16,
    ) -> Result<SemaphoreGuard<'_>, SemaphoreOpError> {
        self.guard_until(index, amount, Deadline::now())
    }

    /// The same, waiting at most that long.
    ///
    /// # Errors
    /// [`SemaphoreOpError::Timeout`], or as [`operate`](Semaphores::operate).
    pub fn acquire_guard_timeout(
        &self,
        index: u16,
        amount: u16,
        timeout: Duration,
    ) -> Result<SemaphoreGuard<'_>, SemaphoreOpError> {
        self.guard_until(index, amount, Deadline::after(timeout))
    }

    fn guard_until(
        &self,
        index: u16,
        amount: u16,
        deadline: Deadline,
    ) -> Result<SemaphoreGuard<'_>, SemaphoreOpError> {
        let token = process::token();
        self.operate_until(&[SemaphoreOp::acquire(index, amount).undo()], deadline)?;
        Ok(SemaphoreGuard::new(self, index, amount, token))
    }

    /// The key by which other processes open the set.
    pub fn key(&self) -> Key {
        self.key
    }

    /// The kernel's number for the set, as `ipcs -s` shows it.
    pub fn id(&self) -> i32 {
        self.set.id()
    }

    /// How many semaphores it has; that never changes.
    pub fn count(&self) -> usize {
        self.count
    }

    /// The value of one semaphore, which others may change at any moment.
    ///
    /// # Errors
    /// [`SemaphoresError::NoSuchSemaphore`], [`SemaphoresError::Removed`] if the set was removed;
    /// [`SemaphoresError::System`] otherwise.
    pub fn value(&self, index: u16) -> Result<u16, SemaphoresError> {
        Ok(self.set.value(self.there(index)?)?)
    }

    /// The values of all semaphores at one moment.
    ///
    /// # Errors
    /// As [`value`](Semaphores::value).
    pub fn values(&self) -> Result<Vec<u16>, SemaphoresError> {
        Ok(self.set.values()?)
    }

    /// Sets one semaphore, 0 to 32,767, and wakes those that wait for its new value.
    ///
    /// **It takes away what the kernel would undo of it**, in every process: those that hold it with
    /// undo, as a [`SemaphoreGuard`] does, no longer give it back when they die, and one that gives it
    /// back after this owes as much when its process ends. Set values while no process holds any.
    ///
    /// # Errors
    /// [`SemaphoresError::InvalidOption`] for a value above 32,767, or as [`value`](Semaphores::value).
    pub fn set_value(&self, index: u16, value: u16) -> Result<(), SemaphoresError> {
        options::check_values(&[value])?;
        Ok(self.set.set_value(self.there(index)?, value)?)
    }

    /// Sets all semaphores in one step, with a value for each, as [`set_value`](Semaphores::set_value)
    /// does one.
    ///
    /// # Errors
    /// [`SemaphoresError::InvalidOption`] for another number of values than the set has, or for one
    /// above 32,767, or as [`value`](Semaphores::value).
    pub fn set_values(&self, values: &[u16]) -> Result<(), SemaphoresError> {
        options::check_values(values)?;
        if values.len() != self.count {
            return Err(SemaphoresError::InvalidOption(format!(
                "{} values were given for {}, which has {} semaphores",
                values.len(),
                self.object(),
                self.count
            )));
        }
        Ok(self.set.set_values(values)?)
    }

    /// How many threads, of all processes, wait to acquire a semaphore (`GETNCNT`).
    ///
    /// # Errors
    /// As [`value`](Semaphores::value).
    pub fn waiting(&self, index: u16) -> Result<usize, SemaphoresError> {
        Ok(self.set.waiting(self.there(index)?)?.max(0) as usize)
    }

    /// How many threads, of all processes, wait until a semaphore is 0 (`GETZCNT`).
    ///
    /// # Errors
    /// As [`value`](Semaphores::value).
    pub fn waiting_for_zero(&self, index: u16) -> Result<usize, SemaphoresError> {
        Ok(self.set.waiting_for_zero(self.there(index)?)?.max(0) as usize)
    }

    /// The process that changed a semaphore last, or had what it did undone (`GETPID`); 0 if none did.
    ///
    /// # Errors
    /// As [`value`](Semaphores::value).
    pub fn last_pid(&self, index: u16) -> Result<i32, SemaphoresError> {
        Ok(self.set.last_pid(self.there(index)?)?)
    }

    /// Owner, mode, size and times.
    ///
    /// # Errors
    /// [`SemaphoresError::Removed`] if the set was removed, [`SemaphoresError::System`] otherwise.
    pub fn stat(&self) -> Result<SemaphoresStat, SemaphoresError> {
        let stat = self.set.stat()?;
        Ok(SemaphoresStat {
            ownership: stat.ownership,
            count: stat.count,
            last_operation: moment(stat.last_operation),
            last_change: moment(stat.last_change),
        })
    }

    /// Gives the set to a user and a group, and sets its nine permission bits.
    ///
    /// The creator keeps the right to change and remove it.
    ///
    /// # Errors
    /// [`SemaphoresError::InvalidOption`] for more than nine bits, and for a user or group that the
    /// kernel does not know, as 4,294,967,295 (-1); [`SemaphoresError::System`] of kind
    /// [`PermissionDenied`](crate::SystemErrorKind::PermissionDenied) for others than the owner;
    /// [`SemaphoresError::Removed`] if the set was.
    pub fn set_permissions(&self, uid: u32, gid: u32, mode: u32) -> Result<(), SemaphoresError> {
        SemaphoresError::check_mode(mode)?;
        let set = self.set.set_permissions(uid, gid, mode);
        // The kernel says EINVAL for a set that is gone and for a number that no user has alike.
        if set.as_ref().is_err_and(|error| error.kind() == SystemErrorKind::Removed)
            && self.set.stat().is_ok()
        {
            return Err(SemaphoresError::InvalidOption(format!(
                "the kernel knows no user {uid} or no group {gid}: to keep one, give what `stat` says"
            )));
        }
        Ok(set?)
    }

    /// Removes the set; every call that waits on it ends with `Removed`.
    ///
    /// # Errors
    /// [`SemaphoresError::Removed`] if another process did; [`SemaphoresError::System`] of kind
    /// [`PermissionDenied`](crate::SystemErrorKind::PermissionDenied) for others than the owner.
    pub fn remove(&self) -> Result<(), SemaphoresError> {
        Ok(self.set.remove()?)
    }

    /// The index, if the set has it: the kernel says of another that the set is gone.
    fn there(&self, index: u16) -> Result<u16, SemaphoresError> {
        if usize::from(index) < self.count {
            return Ok(index);
        }
        let (object, count) = (self.object(), self.count);
        Err(SemaphoresError::NoSuchSemaphore { object, index, count })
    }

    /// Whether the id is still this set's.
    fn check_identity(&self) -> Result<(), SemaphoreOpError> {
        self.set.check_identity().map_err(|error| match error.kind() {
            SystemErrorKind::Removed => SemaphoreOpError::Removed { object: self.object() },
            _ => SemaphoreOpError::System(error),
        })
    }

    fn object(&self) -> String {
        self.set.name().to_string()
    }
}

impl fmt::Debug for Semaphores {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Semaphores")
            .field("key", &self.key)
            .field("id", &self.id())
            .field("count", &self.count)
            .finish()
    }
}
