//! Semaphore sets.

use std::ptr::{self, null_mut};

use nix::libc::{self, c_int, c_short, c_void, sembuf, timespec};

use super::clock::Deadline;
use super::ffi::{self, SemidDs, Seminfo, check, retry};
use super::guarded::Guarded;
use crate::sys::{
    Key, ObjectKind, ObjectName, Ownership, SemOp, SetStat, SystemError, SystemErrorKind,
};

/// Operations that are handed over without an allocation.
const FEW: usize = 8;
/// The longest that one call waits; then the deadline is looked at again.
const LONGEST_WAIT: u64 = 1 << 30;

/// A semaphore set; the object stays when this is dropped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct SemaphoreSet {
    id: i32,
    key: i32,
}

impl SemaphoreSet {
    /// Makes a set of `count` semaphores, all zero, that must not exist yet.
    pub(crate) fn create(key: Key, count: usize, mode: u32) -> Result<Self, SystemError> {
        get(key.raw(), count, libc::IPC_CREAT | libc::IPC_EXCL | mode as c_int)
    }

    /// Makes a set without a key.
    #[cfg(test)]
    pub(crate) fn create_private(count: usize, mode: u32) -> Result<Self, SystemError> {
        get(libc::IPC_PRIVATE, count, libc::IPC_CREAT | mode as c_int)
    }

    /// Finds the set with this key, also one that the caller may not use.
    pub(crate) fn open(key: Key) -> Result<Self, SystemError> {
        get(key.raw(), 0, 0)
    }

    pub(crate) fn id(&self) -> i32 {
        self.id
    }

    pub(crate) fn key(&self) -> i32 {
        self.key
    }

    /// How errors name it.
    pub(crate) fn name(&self) -> ObjectName {
        ObjectName { kind: ObjectKind::Set, key: self.key, id: Some(self.id) }
    }

    fn error(&self, call: &'static str, errno: c_int) -> SystemError {
        SystemError::new(self.name(), call, errno)
    }

    /// Does all operations in one atomic step, waiting until it can, at most until `deadline`;
    /// `WouldBlock` then, or when an operation that does not wait is impossible.
    ///
    /// A deadline that has passed means to try without waiting.
    pub(crate) fn operate(&self, ops: &[SemOp], deadline: Deadline) -> Result<(), SystemError> {
        let mut few = [raw(SemOp::zero(0)); FEW];
        let mut many = Vec::new();
        let operations = if ops.len() <= FEW {
            few[..ops.len()].iter_mut().zip(ops).for_each(|(to, op)| *to = raw(*op));
            &mut few[..ops.len()]
        } else {
            many.extend(ops.iter().copied().map(raw));
            &mut many[..]
        };
        point!("semop.before");
        let done = self.operate_raw(operations, deadline);
        point!("semop.after");
        done.map_err(|errno| self.error("semop", errno))
    }

    fn operate_raw(&self, operations: &mut [sembuf], deadline: Deadline) -> Result<(), c_int> {
        let (start, count) = (operations.as_mut_ptr(), operations.len());
        loop {
            let remaining = deadline.remaining();
            let reply = match remaining {
                Some(left) if !left.is_zero() => {
                    let timeout = timespec {
                        tv_sec: left.as_secs().min(LONGEST_WAIT) as _,
                        tv_nsec: left.subsec_nanos().into(),
                    };
                    // SAFETY: `count` operations and the timeout outlive the call.
                    check(unsafe { ffi::semtimedop(self.id, start, count, &timeout) })
                }
                _ => {
                    if remaining.is_some() {
                        let no_wait = libc::IPC_NOWAIT as c_short;
                        operations.iter_mut().for_each(|op| op.sem_flg |= no_wait);
                    }
                    // SAFETY: `count` operations outlive the call.
                    check(unsafe { libc::semop(self.id, start, count) })
                }
            };
            match reply {
                Ok(_) => return Ok(()),
                Err(libc::EINTR) => {}
                Err(libc::EAGAIN)
                    if remaining.is_some_and(|left| left.as_secs() > LONGEST_WAIT) => {}
                Err(errno) => return Err(errno),
            }
        }
    }

    /// The value of one semaphore.
    pub(crate) fn value(&self, index: u16) -> Result<u16, SystemError> {
        self.control(index, libc::GETVAL, null_mut()).map(|value| value as u16)
    }

    /// The values of all.
    pub(crate) fn values(&self) -> Result<Vec<u16>, SystemError> {
        let count = self.stat()?.count;
        let values = self.with_memory(count, |memory| {
            self.control(0, libc::GETALL, memory.start())?;
            Ok(memory.numbers().to_vec())
        })?;
        // A set of another size had the id by then.
        match self.stat()?.count == count {
            true => Ok(values),
            false => Err(SystemError::removed(self.name())),
        }
    }

    /// Has the kernel use memory for the values of all semaphores.
    fn with_memory<R>(
        &self,
        values: usize,
        call: impl FnOnce(&mut Guarded) -> Result<R, SystemError>,
    ) -> Result<R, SystemError> {
        let called = Guarded::lend(values, call).map_err(|errno| self.error("mmap", errno))?;
        called.map_err(|error| self.replaced(error))
    }

    /// What an error means where the kernel was given memory for all semaphores of the set: there are more of
    /// them, so the set was removed, and another has its id.
    fn replaced(&self, error: SystemError) -> SystemError {
        match error.raw_os_error() {
            libc::EFAULT => SystemError::removed(self.name()),
            _ => error,
        }
    }

    /// The process that changed one semaphore last, 0 if none did.
    pub(crate) fn last_pid(&self, index: u16) -> Result<i32, SystemError> {
        self.control(index, libc::GETPID, null_mut())
    }

    /// Sets one semaphore, and takes from every process what it would undo of it.
    pub(crate) fn set_value(&self, index: u16, value: u16) -> Result<(), SystemError> {
        // The number stands where the union of semctl has its int.
        let bits = usize::from(value);
        let bits = if cfg!(target_endian = "big") { bits << 32 } else { bits };
        self.control(index, libc::SETVAL, ptr::without_provenance_mut(bits)).map(drop)
    }

    /// Sets all, one value for each, and takes from every process what it would undo.
    pub(crate) fn set_values(&self, values: &[u16]) -> Result<(), SystemError> {
        if self.stat()?.count != values.len() {
            return Err(SystemError::removed(self.name()));
        }
        self.with_memory(values.len(), |memory| {
            memory.numbers().copy_from_slice(values);
            self.control(0, libc::SETALL, memory.start()).map(drop)
        })
    }

    /// How many wait for one semaphore to become larger.
    pub(crate) fn waiting(&self, index: u16) -> Result<i32, SystemError> {
        self.control(index, libc::GETNCNT, null_mut())
    }

    /// How many wait for one semaphore to be zero.
    pub(crate) fn waiting_for_zero(&self, index: u16) -> Result<i32, SystemError> {
        self.control(index, libc::GETZCNT, null_mut())
    }

    /// Owner, size and times, also of a set that the caller may not read.
    pub(crate) fn stat(&self) -> Result<SetStat, SystemError> {
        self.read().map(|raw| set_stat(&raw))
    }

    pub(crate) fn set_permissions(&self, uid: u32, gid: u32, mode: u32) -> Result<(), SystemError> {
        let mut raw = self.read()?;
        raw.sem_perm.uid = uid;
        raw.sem_perm.gid = gid;
        raw.sem_perm.mode = mode as _;
        self.control(0, libc::IPC_SET, ptr::from_mut(&mut raw).cast()).map(drop)
    }

    /// Removes the set and wakes all that wait on it.
    pub(crate) fn remove(&self) -> Result<(), SystemError> {
        self.check_identity()?;
        let removed = self.control(0, libc::IPC_RMID, null_mut());
        point!("semctl.removed");
        removed.map(drop)
    }

    /// Every set of this ipc namespace, also those that the caller may not read.
    pub(crate) fn list() -> Result<Vec<(SemaphoreSet, SetStat)>, SystemError> {
        // SAFETY: Seminfo is plain numbers, for which all zero is valid.
        let mut info: Seminfo = unsafe { std::mem::zeroed() };
        let highest = control(0, 0, libc::SEM_INFO, ptr::from_mut(&mut info).cast());
        let mut sets = Vec::new();
        for index in 0..=highest.unwrap_or(-1) {
            // SAFETY: SemidDs is plain numbers, for which all zero is valid.
            let mut raw: SemidDs = unsafe { std::mem::zeroed() };
            // An index without a set is an error, and no news.
            if let Ok(id) = control(index, 0, ffi::SEM_STAT_ANY, ptr::from_mut(&mut raw).cast()) {
                let stat = set_stat(&raw);
                sets.push((SemaphoreSet { id, key: stat.ownership.key }, stat));
            }
        }
        // SEM_INFO counts the sets in `semusz`; kernels before 4.17 lack SEM_STAT_ANY.
        if highest.is_ok() && (info.semusz == 0 || !sets.is_empty()) {
            return Ok(sets);
        }
        let table = std::fs::read_to_string("/proc/sysvipc/sem").map_err(|error| {
            let errno = error.raw_os_error().unwrap_or(libc::EIO);
            SystemError::new("/proc/sysvipc/sem", "read", errno)
        })?;
        Ok(table.lines().skip(1).filter_map(parse_line).collect())
    }

    fn read(&self) -> Result<SemidDs, SystemError> {
        // SAFETY: SemidDs is plain numbers, for which all zero is valid.
        let mut raw: SemidDs = unsafe { std::mem::zeroed() };
        let argument = ptr::from_mut(&mut raw).cast();
        ffi::stat(self.id, ffi::SEM_STAT_ANY, |id, command| control(id, 0, command, argument))
            .map_err(|errno| self.error("semctl", errno))?;
        match ffi::key_of(&raw.sem_perm) == self.key {
            true => Ok(raw),
            // The id is another's: of another ipc namespace, or of a set made after this one was removed.
            false => Err(SystemError::removed(self.name())),
        }
    }

    /// Refuses what is done to the set with this id if it is another set.
    pub(crate) fn check_identity(&self) -> Result<(), SystemError> {
        match self.read() {
            Err(error) if error.kind() == SystemErrorKind::Removed => Err(error),
            // Of a set that this process may not look at, the call that follows says so.
            _ => Ok(()),
        }
    }

    fn control(
        &self,
        index: u16,
        command: c_int,
        argument: *mut c_void,
    ) -> Result<c_int, SystemError> {
        control(self.id, index, command, argument).map_err(|errno| self.error("semctl", errno))
    }
}

fn raw(op: SemOp) -> sembuf {
    let undo = if op.undo { libc::SEM_UNDO } else { 0 };
    let no_wait = if op.wait { 0 } else { libc::IPC_NOWAIT };
    sembuf { sem_num: op.index, sem_op: op.delta, sem_flg: (undo | no_wait) as c_short }
}

fn set_stat(raw: &SemidDs) -> SetStat {
    SetStat {
        ownership: Ownership {
            key: ffi::key_of(&raw.sem_perm),
            uid: raw.sem_perm.uid,
            gid: raw.sem_perm.gid,
            creator_uid: raw.sem_perm.cuid,
            creator_gid: raw.sem_perm.cgid,
            mode: raw.sem_perm.mode as u32 & 0o777,
        },
        count: raw.sem_nsems as usize,
        last_operation: raw.sem_otime,
        last_change: raw.sem_ctime,
    }
}

/// A line of /proc/sysvipc/sem: key semid perms nsems uid gid cuid cgid otime ctime.
fn parse_line(line: &str) -> Option<(SemaphoreSet, SetStat)> {
    let mut fields = line.split_whitespace();
    let key = fields.next()?.parse().ok()?;
    let id = fields.next()?.parse().ok()?;
    let mode = u32::from_str_radix(fields.next()?, 8).ok()?;
    let count = fields.next()?.parse().ok()?;
    let mut number = || fields.next()?.parse::<i64>().ok();
    let ownership = Ownership {
        key,
        uid: number()? as u32,
        gid: number()? as u32,
        creator_uid: number()? as u32,
        creator_gid: number()? as u32,
        mode: mode & 0o777,
    };
    let (last_operation, last_change) = (number()?, number()?);
    Some((SemaphoreSet { id, key }, SetStat { ownership, count, last_operation, last_change }))
}

fn get(key: i32, count: usize, flags: c_int) -> Result<SemaphoreSet, SystemError> {
    // More semaphores than an int counts are more than the kernel allows, and it says so.
    let asked = c_int::try_from(count).unwrap_or(c_int::MAX);
    // SAFETY: semget takes and returns numbers.
    let id = check(unsafe { libc::semget(key, asked, flags) });
    point!("semget.after");
    id.map(|id| SemaphoreSet { id, key }).map_err(|errno| {
        let name = ObjectName { kind: ObjectKind::Set, key, id: None };
        SystemError::new(name, "semget", errno)
    })
}

/// semctl(2); `argument` is what the command wants: nothing, a number, a semid_ds, a seminfo, or an
/// array.
fn control(id: i32, index: u16, command: c_int, argument: *mut c_void) -> Result<c_int, c_int> {
    // SAFETY: every caller passes the structure that its command reads or fills, or a number to
    // SETVAL, which follows no pointer; a pointer is passed as the union that semctl takes.
    retry(|| check(unsafe { libc::semctl(id, c_int::from(index), command, argument) }))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::sys::{Cleanup, SystemErrorKind};

    fn kind(result: Result<(), SystemError>) -> SystemErrorKind {
        result.unwrap_err().kind()
    }

    #[test]
    fn operations_are_done_all_or_none() {
        let set = SemaphoreSet::create_private(2, 0o600).unwrap();
        let _cleanup = Cleanup(|| drop(set.remove()));
        let both = [SemOp::add(0, 1), SemOp::add(1, -1).no_wait()];
        assert_eq!(kind(set.operate(&both, Deadline::never())), SystemErrorKind::WouldBlock);
        assert_eq!(set.values().unwrap(), [0, 0]);
        set.operate(&[SemOp::add(1, 3)], Deadline::never()).unwrap();
        set.operate(&both, Deadline::never()).unwrap();
        assert_eq!(set.values().unwrap(), [1, 2]);
        assert_eq!(
            (set.value(1).unwrap(), set.last_pid(1).unwrap()),
            (2, super::super::process::pid())
        );
        assert_eq!(
            kind(set.operate(&[SemOp::add(0, 32767)], Deadline::never())),
            SystemErrorKind::Overflow
        );
    }

    #[test]
    fn deadlines_end_a_wait_and_a_passed_one_tries_once() {
        let set = SemaphoreSet::create_private(1, 0o600).unwrap();
        let _cleanup = Cleanup(|| drop(set.remove()));
        let take = [SemOp::add(0, -1)];
        for deadline in [Deadline::now(), Deadline::after(Duration::from_millis(5))] {
            assert_eq!(kind(set.operate(&take, deadline)), SystemErrorKind::WouldBlock);
            assert!(deadline.has_passed());
        }
        set.operate(&[SemOp::add(0, 2)], Deadline::now()).unwrap();
        set.operate(&take, Deadline::now()).unwrap();
        set.operate(&take, Deadline::after(Duration::from_secs(1 << 40))).unwrap();
        set.operate(&[SemOp::zero(0)], Deadline::now()).unwrap();
    }

    #[test]
    fn the_values_of_a_larger_set_go_no_further_than_the_memory_for_them() {
        let set = SemaphoreSet::create_private(3000, 0o600).unwrap();
        let _cleanup = Cleanup(|| drop(set.remove()));
        for (count, command) in [(2, libc::GETALL), (2, libc::SETALL), (2999, libc::GETALL)] {
            let call = |memory: &mut Guarded| set.control(0, command, memory.start());
            let error = set.with_memory(count, call).unwrap_err();
            assert_eq!(error.kind(), SystemErrorKind::Removed, "{count}");
        }
        assert_eq!(set.values().unwrap(), [0; 3000]);
    }

    #[test]
    fn many_operations_in_one_call() {
        let set = SemaphoreSet::create_private(200, 0o600).unwrap();
        let _cleanup = Cleanup(|| drop(set.remove()));
        let all: Vec<_> = (0..200).map(|index| SemOp::add(index, 1)).collect();
        set.operate(&all, Deadline::never()).unwrap();
        assert_eq!(set.values().unwrap(), [1; 200]);
    }

    #[test]
    fn removal_wakes_a_waiter() {
        let set = SemaphoreSet::create_private(1, 0o600).unwrap();
        let _cleanup = Cleanup(|| drop(set.remove()));
        std::thread::scope(|scope| {
            let waiter = scope.spawn(|| set.operate(&[SemOp::add(0, -1)], Deadline::never()));
            set.remove().unwrap();
            assert_eq!(kind(waiter.join().unwrap()), SystemErrorKind::Removed);
        });
    }

    #[test]
    fn stat_permissions_and_list() {
        let set = SemaphoreSet::create(Key::random(), 3, 0o640).unwrap();
        let _cleanup = Cleanup(|| drop(set.remove()));
        let stat = set.stat().unwrap();
        assert_eq!((stat.count, stat.ownership.mode, stat.last_operation), (3, 0o640, 0));
        assert_eq!(stat.ownership.uid, super::super::process::effective_uid());
        assert!(SemaphoreSet::list().unwrap().contains(&(set, stat)));
        let table = std::fs::read_to_string("/proc/sysvipc/sem").unwrap();
        assert!(table.lines().filter_map(parse_line).any(|line| line == (set, stat)));
        assert_eq!(SemaphoreSet::open(Key::new(set.key()).unwrap()), Ok(set));
        set.set_permissions(stat.ownership.uid, stat.ownership.gid, 0o600).unwrap();
        assert_eq!(set.stat().unwrap().ownership.mode, 0o600);
    }

    #[test]
    fn too_many_semaphores_name_the_sysctl() {
        let error = SemaphoreSet::create_private(1 << 20, 0o600).unwrap_err();
        assert_eq!(error.kind(), SystemErrorKind::LimitReached);
        assert!(error.to_string().contains("the first number of kernel.sem"), "{error}");
    }
}
