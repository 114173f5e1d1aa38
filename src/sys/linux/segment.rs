//! Shared-memory segments.

use std::ptr::{self, NonNull, null, null_mut};
use std::sync::atomic::{AtomicI32, AtomicI64, AtomicU8, AtomicU16, AtomicU32};

use nix::errno::Errno;
use nix::libc::{self, c_int, shmid_ds};

use super::atomics::{AtomicU64, Ordering};
use super::ffi::{self, check};
use crate::sys::bytes::{Reader, Writer};
use crate::sys::{
    Key, ObjectKind, ObjectName, Ownership, SegmentPlan, SegmentStat, SystemError, SystemErrorKind,
    moment,
};

/// Bit of the mode: removed, and there only for processes that have it mapped. See shmctl(2).
const SHM_DEST: u32 = 0o1000;

/// A segment; it stays when this is dropped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct SegmentId {
    id: i32,
    key: i32,
}

impl SegmentId {
    /// Makes a segment of zero bytes that must not exist yet. Its memory is not reserved.
    pub(crate) fn create(key: Key, plan: SegmentPlan, mode: u32) -> Result<Self, SystemError> {
        make(key.raw(), plan.len, mode)
    }

    /// The same of a segment whose memory the kernel counts when it is made: what it cannot promise
    /// is refused here, and kills no process later.
    pub(crate) fn create_counted(key: Key, len: usize, mode: u32) -> Result<Self, SystemError> {
        get(key.raw(), len, libc::IPC_CREAT | libc::IPC_EXCL | mode as c_int)
    }

    /// The same without a key.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn create_private(len: usize, mode: u32) -> Result<Self, SystemError> {
        make(libc::IPC_PRIVATE, len, mode)
    }

    /// Finds the segment with this key, also one that the caller may not use.
    pub(crate) fn open(key: Key) -> Result<Self, SystemError> {
        get(key.raw(), 0, 0)
    }

    pub(crate) fn id(&self) -> i32 {
        self.id
    }

    /// How errors name it.
    pub(crate) fn name(&self) -> ObjectName {
        ObjectName { kind: ObjectKind::Segment, key: self.key, id: Some(self.id) }
    }

    fn error(&self, call: &'static str, errno: c_int) -> SystemError {
        SystemError::new(self.name(), call, errno)
    }

    /// Maps the segment, whole.
    pub(crate) fn attach(&self, read_only: bool) -> Result<Segment, SystemError> {
        let flags = if read_only { libc::SHM_RDONLY } else { 0 };
        // SAFETY: a new mapping at an address of the kernel's choice touches nothing else.
        let start = unsafe { libc::shmat(self.id, null(), flags) };
        let errno = Errno::last_raw();
        point!("shmat.after");
        match NonNull::new(start.cast()) {
            Some(start) if start.as_ptr() as isize != -1 => {
                // Asked of what is mapped, whose id is no other's from here on: it may not be the segment that
                // was found, nor as large.
                let mut mapped = Segment { segment: *self, start, len: 0 };
                mapped.len = self.stat()?.size;
                Ok(mapped)
            }
            _ => Err(self.error("shmat", errno)),
        }
    }

    /// Owner, size, counts and times, also of a segment that the caller may not read.
    pub(crate) fn stat(&self) -> Result<SegmentStat, SystemError> {
        let raw = self.read()?;
        Ok(SegmentStat {
            ownership: Ownership {
                key: ffi::key_of(&raw.shm_perm),
                uid: raw.shm_perm.uid,
                gid: raw.shm_perm.gid,
                creator_uid: raw.shm_perm.cuid,
                creator_gid: raw.shm_perm.cgid,
                mode: raw.shm_perm.mode as u32 & 0o777,
            },
            size: raw.shm_segsz,
            removed: raw.shm_perm.mode as u32 & SHM_DEST != 0,
            attached: raw.shm_nattch,
            creator_pid: raw.shm_cpid,
            last_pid: raw.shm_lpid,
            last_attach: moment(raw.shm_atime),
            last_detach: moment(raw.shm_dtime),
            last_change: moment(raw.shm_ctime),
        })
    }

    pub(crate) fn set_permissions(&self, uid: u32, gid: u32, mode: u32) -> Result<(), SystemError> {
        let mut raw = self.read()?;
        raw.shm_perm.uid = uid;
        raw.shm_perm.gid = gid;
        raw.shm_perm.mode = mode as _;
        control(self.id, libc::IPC_SET, &mut raw)
            .map(drop)
            .map_err(|errno| self.error("shmctl", errno))
    }

    /// Takes the key away at once, and the memory once no process has it mapped.
    pub(crate) fn remove(&self) -> Result<(), SystemError> {
        // Not one of another key that has the id now. Of one that this process may not look at, the call says so.
        if let Err(error) = self.read()
            && error.kind() == SystemErrorKind::Removed
        {
            return Err(error);
        }
        let removed = control(self.id, libc::IPC_RMID, null_mut());
        point!("shmctl.removed");
        removed.map(drop).map_err(|errno| self.error("shmctl", errno))
    }

    /// How many of its bytes are in memory; `None` where procfs does not say. See
    /// proc_sysvipc(5).
    pub(crate) fn resident(&self) -> Option<u64> {
        let table = std::fs::read_to_string("/proc/sysvipc/shm").ok()?;
        let id = self.id.to_string();
        let line = table.lines().find(|line| line.split_whitespace().nth(1) == Some(&id))?;
        line.split_whitespace().nth(14)?.parse().ok()
    }

    fn read(&self) -> Result<shmid_ds, SystemError> {
        // SAFETY: shmid_ds is plain numbers, for which all zero is valid.
        let mut raw: shmid_ds = unsafe { std::mem::zeroed() };
        ffi::stat(self.id, ffi::SHM_STAT_ANY, |id, command| control(id, command, &mut raw))
            .map_err(|errno| self.error("shmctl", errno))?;
        // A segment that is removed while it is mapped has no key any more.
        let is_removed = raw.shm_perm.mode as u32 & SHM_DEST != 0;
        match is_removed || ffi::key_of(&raw.shm_perm) == self.key {
            true => Ok(raw),
            // The id is another's: of another ipc namespace, or of a segment made after this one was removed.
            false => Err(SystemError::removed(self.name())),
        }
    }
}

/// Whether the kernel counts the memory of a segment when it is made, as if all of it were used: if
/// vm.overcommit_memory is 2, SHM_NORESERVE is ignored. See shmget(2), proc_sys_vm(5).
pub(crate) fn memory_is_counted() -> bool {
    std::fs::read("/proc/sys/vm/overcommit_memory").is_ok_and(|text| text.starts_with(b"2"))
}

fn make(key: i32, len: usize, mode: u32) -> Result<SegmentId, SystemError> {
    get(key, len, libc::IPC_CREAT | libc::IPC_EXCL | libc::SHM_NORESERVE | mode as c_int)
}

fn get(key: i32, len: usize, flags: c_int) -> Result<SegmentId, SystemError> {
    // SAFETY: shmget takes and returns numbers.
    let id = check(unsafe { libc::shmget(key, len, flags) });
    point!("shmget.after");
    id.map(|id| SegmentId { id, key }).map_err(|errno| {
        let name = ObjectName { kind: ObjectKind::Segment, key, id: None };
        SystemError::new(name, "shmget", errno)
    })
}

/// shmctl(2); `argument` is the shmid_ds that the command reads or fills, if any.
fn control(id: i32, command: c_int, argument: *mut shmid_ds) -> Result<c_int, c_int> {
    // SAFETY: every caller passes a whole shmid_ds, or null to IPC_RMID, which ignores it.
    check(unsafe { libc::shmctl(id, command, argument) })
}

/// A mapped segment; unmapped when dropped.
///
/// Other processes may change any byte at any time. A store into a segment attached read-only
/// kills the process (SIGSEGV).
#[derive(Debug)]
pub(crate) struct Segment {
    segment: SegmentId,
    start: NonNull<u8>,
    len: usize,
}

// SAFETY: the mapping belongs to the process, not to a thread.
unsafe impl Send for Segment {}
// SAFETY: through a shared reference the memory is reached by atomics, by raw copies of bytes, or
// by unsafe functions whose callers vouch for exclusion.
unsafe impl Sync for Segment {}

impl Segment {
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn id(&self) -> SegmentId {
        self.segment
    }

    /// The start of a range that was checked against the segment's size.
    #[inline]
    pub(super) fn range_mut(&self, offset: usize, len: usize) -> *mut u8 {
        if offset > self.len || len > self.len - offset {
            outside(offset, len, self.len);
        }
        // SAFETY: the offset is within the mapping, as just checked.
        unsafe { self.start.as_ptr().add(offset) }
    }

    /// The word at `offset`, a multiple of 8.
    #[inline]
    pub(crate) fn word(&self, offset: usize) -> &AtomicU64 {
        if !offset.is_multiple_of(8) {
            unaligned(offset);
        }
        let word: *const AtomicU64 = self.range_mut(offset, 8).cast();
        // SAFETY: the range is inside the mapping, which starts on a page and lives as long as
        // `self`, and the offset is a multiple of 8.
        unsafe { &*word }
    }

    /// Copies from `offset` to `bytes` what any thread or process may be changing: by atomic loads,
    /// each of the most bytes, up to 8, that its offset and what is left allow.
    pub(crate) fn load(&self, mut offset: usize, mut bytes: &mut [u8]) {
        while !bytes.is_empty() {
            let (part, rest) = bytes.split_at_mut(width(offset, bytes.len()));
            match part.len() {
                8 => part.copy_from_slice(&self.word(offset).load(Ordering::Relaxed).to_ne_bytes()),
                4 => part.copy_from_slice(&self.u32(offset).load(Ordering::Relaxed).to_ne_bytes()),
                2 => part.copy_from_slice(&self.u16(offset).load(Ordering::Relaxed).to_ne_bytes()),
                _ => part.copy_from_slice(&[self.u8(offset).load(Ordering::Relaxed)]),
            }
            offset += part.len();
            bytes = rest;
        }
    }

    /// Copies `bytes` to `offset`, by atomic stores as [`Segment::load`] loads.
    pub(crate) fn store(&self, mut offset: usize, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let (part, rest) = bytes.split_at(width(offset, bytes.len()));
            match *part {
                [a, b, c, d, e, f, g, h] => {
                    let word = u64::from_ne_bytes([a, b, c, d, e, f, g, h]);
                    self.word(offset).store(word, Ordering::Relaxed);
                }
                [a, b, c, d] => {
                    self.u32(offset).store(u32::from_ne_bytes([a, b, c, d]), Ordering::Relaxed);
                }
                [a, b] => self.u16(offset).store(u16::from_ne_bytes([a, b]), Ordering::Relaxed),
                _ => self.u8(offset).store(part[0], Ordering::Relaxed),
            }
            offset += part.len();
            bytes = rest;
        }
    }

    /// Lets `f` read a range that others may be changing.
    #[inline]
    pub(crate) fn read<R>(&self, offset: usize, len: usize, f: impl FnOnce(Reader<'_>) -> R) -> R {
        let start = self.range_mut(offset, len);
        // SAFETY: the range is inside the mapping, which lives as long as `self`.
        f(unsafe { Reader::from_shared(start, len) })
    }

    /// Lets `f` fill a range that others may be reading.
    #[inline]
    pub(crate) fn write<R>(
        &self,
        offset: usize,
        len: usize,
        f: impl FnOnce(&mut Writer<'_>) -> R,
    ) -> R {
        let start = self.range_mut(offset, len);
        // SAFETY: the range is inside the mapping, which lives as long as `self`.
        f(&mut unsafe { Writer::from_raw(start, len) })
    }

    /// A range as a slice.
    ///
    /// # Safety
    /// No thread of this process or another may write to the range while the slice lives.
    #[inline]
    pub(crate) unsafe fn lend(&self, offset: usize, len: usize) -> &[u8] {
        let start = self.range_mut(offset, len);
        // SAFETY: the range is inside the mapping; the caller vouches that no thread writes to it.
        unsafe { std::slice::from_raw_parts(start, len) }
    }

    /// A range as a slice to be filled.
    ///
    /// # Safety
    /// No other thread, of this process or another, may access the range while the slice lives.
    #[inline]
    #[allow(clippy::mut_from_ref)]
    pub(crate) unsafe fn lend_mut(&self, offset: usize, len: usize) -> &mut [u8] {
        let start = self.range_mut(offset, len);
        // SAFETY: the range is inside the mapping; the caller vouches that no other thread uses it.
        unsafe { std::slice::from_raw_parts_mut(start, len) }
    }

    /// Has the line at `offset` brought into the cache, before it is needed.
    #[inline(always)]
    pub(crate) fn prefetch(&self, offset: usize) {
        #[cfg(target_arch = "x86_64")]
        {
            use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
            let line = self.start.as_ptr().wrapping_add(offset);
            // SAFETY: nothing is read or written, wherever the pointer leads.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(line.cast()) };
        }
        #[cfg(not(target_arch = "x86_64"))]
        let _ = offset;
    }

    /// Copies `bytes` to `offset`.
    #[inline]
    pub(crate) fn copy_in(&self, offset: usize, bytes: &[u8]) {
        let start = self.range_mut(offset, bytes.len());
        // SAFETY: the range was checked, and private memory does not overlap the segment.
        unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), start, bytes.len()) }
    }

    /// Copies from `offset` to `bytes`.
    #[inline]
    pub(crate) fn copy_out(&self, offset: usize, bytes: &mut [u8]) {
        let start = self.range_mut(offset, bytes.len());
        // SAFETY: the range was checked, and private memory does not overlap the segment.
        unsafe { ptr::copy_nonoverlapping(start, bytes.as_mut_ptr(), bytes.len()) }
    }
}

/// Atomics of the other sizes, at an offset that is a multiple of the size.
macro_rules! words {
    ($($name:ident: $atomic:ty),*) => {
        impl Segment {
            $(
                #[inline]
                pub(crate) fn $name(&self, offset: usize) -> &$atomic {
                    if !offset.is_multiple_of(size_of::<$atomic>()) {
                        unaligned(offset);
                    }
                    let word: *const $atomic = self.range_mut(offset, size_of::<$atomic>()).cast();
                    // SAFETY: the range is inside the mapping, which starts on a page and lives as
                    // long as `self`, and the offset is a multiple of the size.
                    unsafe { &*word }
                }
            )*
        }
    };
}

words!(u8: AtomicU8, u16: AtomicU16, u32: AtomicU32, i32: AtomicI32, i64: AtomicI64);

/// The most bytes, of 1, 2, 4 or 8, that one access at `offset` takes of `left`, which is not zero.
fn width(offset: usize, left: usize) -> usize {
    let aligned = offset.trailing_zeros().min(3);
    1 << left.ilog2().min(aligned)
}

// NB: by value, since a panic in place has its figures in memory before it is known that they are
// needed. Measured with a plain struct, sent and received by one thread: 21 ns, 26 with `assert!`.
#[cold]
#[inline(never)]
fn outside(offset: usize, len: usize, all: usize) -> ! {
    panic!("{len} bytes at {offset} of a segment of {all} bytes")
}

#[cold]
#[inline(never)]
fn unaligned(offset: usize) -> ! {
    panic!("word at unaligned offset {offset}")
}

impl Drop for Segment {
    fn drop(&mut self) {
        // SAFETY: the mapping was made by `attach`, and every borrow of it has ended.
        unsafe { libc::shmdt(self.start.as_ptr().cast()) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::Cleanup;

    fn bytes(len: usize) -> SegmentPlan {
        SegmentPlan { len, words: 0, lines_at: 0 }
    }

    #[test]
    fn two_mappings_show_the_same_memory() {
        let id = SegmentId::create_private(8192, 0o600).unwrap();
        let _cleanup = Cleanup(|| drop(id.remove()));
        let (one, other) = (id.attach(false).unwrap(), id.attach(true).unwrap());
        assert_eq!((one.len(), other.id()), (8192, id));
        assert_eq!(one.word(8184).load(Ordering::Relaxed), 0);
        one.word(8184).store(7, Ordering::Relaxed);
        assert_eq!(other.word(8184).load(Ordering::Relaxed), 7);
        one.write(3, 4, |writer| writer.write(b"four")).unwrap();
        assert_eq!(other.read(3, 4, |mut reader| reader.read_array()), Ok(*b"four"));
        one.copy_in(100, b"bytes");
        let mut bytes = [0; 5];
        other.copy_out(100, &mut bytes);
        assert_eq!(&bytes, b"bytes");
        // SAFETY: this thread alone uses the segment, and writes nothing until the slices are gone.
        assert_eq!(unsafe { other.lend(100, 5) }, b"bytes");
        // SAFETY: as above.
        let last = unsafe { one.lend_mut(8191, 1) };
        last[0] = 1;
        assert_eq!(id.stat().unwrap().attached, 2);
        drop(one);
        assert_eq!(id.stat().unwrap().attached, 1);
    }

    #[test]
    fn ranges_outside_are_refused() {
        let id = SegmentId::create_private(4096, 0o600).unwrap();
        let _cleanup = Cleanup(|| drop(id.remove()));
        let segment = id.attach(false).unwrap();
        let refused = |f: &dyn Fn()| {
            std::panic::catch_unwind(std::panic::AssertUnwindSafe(f)).unwrap_err();
        };
        refused(&|| _ = segment.word(4096));
        refused(&|| _ = segment.word(4));
        refused(&|| _ = segment.word(usize::MAX - 7));
        refused(&|| segment.copy_in(4090, &[0; 7]));
        refused(&|| segment.read(usize::MAX, 2, |_| ()));
        refused(&|| segment.read(1, usize::MAX, |_| ()));
        segment.read(4096, 0, |reader| assert_eq!(reader.remaining(), 0));
    }

    #[test]
    fn copies_are_whole_at_every_offset_and_length_and_touch_nothing_else() {
        let id = SegmentId::create_private(4096, 0o600).unwrap();
        let _cleanup = Cleanup(|| drop(id.remove()));
        let segment = id.attach(false).unwrap();
        for offset in 0..16 {
            for len in 0..40 {
                segment.store(0, &[0xee; 64]);
                let bytes: Vec<u8> = (1..=len).collect();
                segment.store(offset, &bytes);
                let mut all = [0; 64];
                segment.copy_out(0, &mut all);
                let end = offset + bytes.len();
                assert!(all[..offset].iter().chain(&all[end..]).all(|byte| *byte == 0xee));
                assert_eq!(all[offset..end], bytes);
                let mut back = vec![0; bytes.len()];
                segment.load(offset, &mut back);
                assert_eq!(back, bytes);
            }
        }
        assert_eq!((width(8, 100), width(4, 100), width(6, 3), width(0, 7)), (8, 4, 2, 4));
        assert_eq!((width(3, 8), width(8, 1), width(4, 4)), (1, 1, 4));
    }

    #[test]
    fn stat_and_permissions() {
        let id = SegmentId::create(Key::random(), bytes(5000), 0o640).unwrap();
        let _cleanup = Cleanup(|| drop(id.remove()));
        let stat = id.stat().unwrap();
        assert_eq!((stat.size, stat.ownership.mode, stat.ownership.key), (5000, 0o640, id.key));
        assert_eq!(stat.creator_pid, crate::sys::process::pid());
        assert_eq!(SegmentId::open(Key::new(id.key).unwrap()), Ok(id));
        id.set_permissions(stat.ownership.uid, stat.ownership.gid, 0o600).unwrap();
        assert_eq!(id.stat().unwrap().ownership.mode, 0o600);
    }

    #[test]
    fn errors_tell_missing_from_removed_from_too_large() {
        let key = Key::random();
        assert_eq!(SegmentId::open(key).unwrap_err().kind(), SystemErrorKind::NotFound);
        let id = SegmentId::create(key, bytes(1), 0o600).unwrap();
        let twice = SegmentId::create(key, bytes(1), 0o600).unwrap_err();
        id.remove().unwrap();
        assert_eq!(twice.kind(), SystemErrorKind::AlreadyExists);
        assert_eq!(id.attach(false).unwrap_err().kind(), SystemErrorKind::Removed);
        let none = SegmentId::create(key, bytes(0), 0o600).unwrap_err();
        assert_eq!(none.kind(), SystemErrorKind::LimitReached);
    }
}
