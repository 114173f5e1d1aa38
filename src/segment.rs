//! The bare shared-memory segment.
//!
//! A [`Segment`] is a System V shared-memory segment and nothing else: bytes that every process which
//! attaches it may read and write at any moment, without header, type or lock. So no reference to its
//! bytes is ever made: what is read and written is copied, by atomic accesses, and words are lent as
//! the standard library's atomics.

mod error;
mod options;

use std::fmt;
use std::ops::{Bound, Range, RangeBounds};
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, AtomicI64, AtomicU32, AtomicU64, Ordering, fence};

pub use error::{SegmentAccessError, SegmentError};
pub use options::SegmentOptions;
#[cfg(feature = "pod")]
use zerocopy::{FromBytes, Immutable, IntoBytes};

use crate::bare::BareError;
use crate::private::Private;
use crate::sys::{self, Key, SegmentStat, SystemErrorKind};

/// A bare shared-memory segment: bytes that programs in any language share.
///
/// It is attached (mapped) while this lives, as [shmat(2)](https://man7.org/linux/man-pages/man2/shmat.2.html)
/// does, and detached on drop. Offsets and sizes are in bytes; one beyond the segment's size is an error.
///
/// - **Any process may write at any moment.** A value or range is copied in accesses of 1, 2, 4 or 8
///   bytes, each as wide as its offset allows. So what has 1, 2, 4 or 8 bytes, at an offset that is a
///   multiple of its size, is read and written whole; anything longer may be torn, partly old and
///   partly new, while another program writes. Whatever must not be needs an agreement: a flag
///   as below, or [`Semaphores`](crate::Semaphores).
/// - **Order.** What one call stores is seen before what a later one stores, and a later load sees no
///   older state than an earlier one: a reader that loads the flag first sees the text that was
///   stored before the flag. (Release and Acquire fences; a C program does its part with
///   `stdatomic.h`.)
/// - **Words.** [`atomic_u32`](Segment::atomic_u32) and its like lend a word with every operation and
///   ordering of [`std::sync::atomic`].
/// - **Lifetime.** The segment stays in the kernel until [`remove`](Segment::remove) or a reboot, with
///   what it holds; only a [`private`](Segment::private) one is removed on drop, or when its process
///   exits. A removed segment loses its key at once, works on for those that have it attached, and goes
///   with the last of them: [`stat`](Segment::stat) tells. It never becomes smaller: System V has no
///   call for that.
/// - **Processes.** A forked child has it attached too; `exec` detaches it.
/// - **Key.** A segment is found by its key; one that has none (`IPC_PRIVATE`), and that programs tell each
///   other by its id, is not.
/// - **Memory.** A segment that a program made of huge pages (`SHM_HUGETLB`) without reserving them kills
///   (SIGBUS) a process that touches a page that the kernel does not have; see
///   [shmget(2)](https://man7.org/linux/man-pages/man2/shmget.2.html).
/// - **No channel.** The name or key of a [`Channel`](crate::Channel) is refused.
///
/// ```
/// use sysv_channel::Segment;
/// use std::sync::atomic::Ordering;
///
/// // struct { int written; char text[2048]; }
/// let segment = Segment::private(4 + 2048)?;
///
/// // Another process would say Segment::open(key).
/// let reader = Segment::open(segment.key())?;
/// segment.store_bytes(4, b"hello")?;
/// segment.atomic_i32(0)?.store(1, Ordering::Release);
///
/// assert_eq!(reader.atomic_i32(0)?.load(Ordering::Acquire), 1);
/// assert_eq!(reader.load_bytes(4..9)?, b"hello");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Segment {
    memory: sys::Segment,
    key: Key,
    read_only: bool,
    /// A private segment's object, which goes with this.
    _private: Option<Arc<Private>>,
}

impl Segment {
    /// The key by which other processes open the segment.
    pub fn key(&self) -> Key {
        self.key
    }

    /// The kernel's number for the segment, as `ipcs -m` shows it.
    pub fn id(&self) -> i32 {
        self.memory.id().id()
    }

    /// Its size in bytes, as its creator asked for; it never changes.
    pub fn size(&self) -> usize {
        self.memory.len()
    }

    /// Whether it was attached for reading alone, see [`SegmentOptions::read_only`].
    pub fn is_read_only(&self) -> bool {
        self.read_only
    }

    /// Copies out a range; `..` is the whole segment.
    ///
    /// # Errors
    /// [`SegmentAccessError::OutOfBounds`]; [`SegmentAccessError::NoMemory`] if there is none for the copy.
    ///
    /// ```
    /// use sysv_channel::Segment;
    ///
    /// let segment = Segment::private(2048)?;
    /// assert_eq!(segment.load_bytes(2040..)?, [0; 8]);
    /// let error = segment.load_bytes(2040..2060).unwrap_err().to_string();
    /// assert!(error.ends_with("has 2048 bytes; 2040..2060 was asked for"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn load_bytes(
        &self,
        range: impl RangeBounds<usize>,
    ) -> Result<Vec<u8>, SegmentAccessError> {
        let range = self.within(self.range(range))?;
        let mut bytes = Vec::new();
        if bytes.try_reserve_exact(range.len()).is_err() {
            return Err(SegmentAccessError::NoMemory { object: self.object(), len: range.len() });
        }
        bytes.resize(range.len(), 0);
        self.copy_out(range.start, &mut bytes);
        Ok(bytes)
    }

    /// Copies out as many bytes as `bytes` has, from `offset` on.
    ///
    /// # Errors
    /// [`SegmentAccessError::OutOfBounds`]; nothing is copied then.
    pub fn load_into(&self, offset: usize, bytes: &mut [u8]) -> Result<(), SegmentAccessError> {
        self.within(offset..offset.saturating_add(bytes.len()))?;
        self.copy_out(offset, bytes);
        Ok(())
    }

    /// Copies `bytes` to `offset`.
    ///
    /// # Errors
    /// [`SegmentAccessError::OutOfBounds`], or [`SegmentAccessError::ReadOnly`] if it was attached for
    /// reading alone; nothing is stored then.
    pub fn store_bytes(&self, offset: usize, bytes: &[u8]) -> Result<(), SegmentAccessError> {
        self.writable()?;
        self.within(offset..offset.saturating_add(bytes.len()))?;
        // Pairs with the fence of `copy_out`: a reader that sees these bytes sees what was stored before.
        fence(Ordering::Release);
        self.memory.store(offset, bytes);
        Ok(())
    }

    fn copy_out(&self, offset: usize, bytes: &mut [u8]) {
        self.memory.load(offset, bytes);
        // Pairs with the fence of `store_bytes`: what is loaded later is as new as this.
        fence(Ordering::Acquire);
    }

    /// Copies out the value at `offset`, which may be any; feature `pod`.
    ///
    /// It may be torn, see [`Segment`]. zerocopy's derives check that any bytes make a `T`.
    ///
    /// # Errors
    /// [`SegmentAccessError::OutOfBounds`].
    ///
    /// ```
    /// use std::mem::offset_of;
    /// use sysv_channel::Segment;
    /// use zerocopy::{FromBytes, Immutable, IntoBytes};
    ///
    /// /// `struct { int32_t written; char text[2048]; }`
    /// #[derive(FromBytes, IntoBytes, Immutable)]
    /// #[repr(C)]
    /// struct Shared {
    ///     written: i32,
    ///     text: [u8; 2048],
    /// }
    ///
    /// let segment = Segment::private(size_of::<Shared>())?;
    /// segment.store(offset_of!(Shared, written), &7_i32)?;
    /// let shared: Shared = segment.load(0)?;
    /// assert_eq!((shared.written, shared.text[0]), (7, 0));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[cfg(feature = "pod")]
    pub fn load<T: FromBytes + IntoBytes>(&self, offset: usize) -> Result<T, SegmentAccessError> {
        self.within(offset..offset.saturating_add(size_of::<T>()))?;
        let mut value = T::new_zeroed();
        self.copy_out(offset, value.as_mut_bytes());
        Ok(value)
    }

    /// Copies a value to `offset`, which may be any; feature `pod`.
    ///
    /// Others may see it torn, see [`Segment`].
    ///
    /// # Errors
    /// As [`store_bytes`](Segment::store_bytes).
    #[cfg(feature = "pod")]
    pub fn store<T: IntoBytes + Immutable>(
        &self,
        offset: usize,
        value: &T,
    ) -> Result<(), SegmentAccessError> {
        self.store_bytes(offset, value.as_bytes())
    }

    /// The word at `offset`, a multiple of 4.
    ///
    /// # Errors
    /// [`SegmentAccessError::OutOfBounds`], [`SegmentAccessError::Unaligned`], or
    /// [`SegmentAccessError::ReadOnly`] if the segment was attached for reading alone, where a store
    /// would end the process: [`load_into`](Segment::load_into) reads such a word whole.
    ///
    /// ```
    /// use std::sync::atomic::Ordering;
    /// use sysv_channel::Segment;
    ///
    /// let segment = Segment::private(64)?;
    /// let count = segment.atomic_u32(4)?;
    /// assert_eq!(count.fetch_add(2, Ordering::Relaxed), 0);
    /// let set = count.compare_exchange(2, 9, Ordering::AcqRel, Ordering::Acquire);
    /// assert_eq!((set, segment.atomic_u32(4)?.load(Ordering::Relaxed)), (Ok(2), 9));
    /// assert!(segment.atomic_u32(6).is_err());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn atomic_u32(&self, offset: usize) -> Result<&AtomicU32, SegmentAccessError> {
        self.aligned::<AtomicU32>(offset)?;
        Ok(self.memory.u32(offset))
    }

    /// The word at `offset`, a multiple of 4; C's `int`.
    ///
    /// # Errors
    /// As [`atomic_u32`](Segment::atomic_u32).
    pub fn atomic_i32(&self, offset: usize) -> Result<&AtomicI32, SegmentAccessError> {
        self.aligned::<AtomicI32>(offset)?;
        Ok(self.memory.i32(offset))
    }

    /// The word at `offset`, a multiple of 8.
    ///
    /// # Errors
    /// As [`atomic_u32`](Segment::atomic_u32).
    pub fn atomic_u64(&self, offset: usize) -> Result<&AtomicU64, SegmentAccessError> {
        self.aligned::<AtomicU64>(offset)?;
        Ok(self.memory.word(offset))
    }

    /// The word at `offset`, a multiple of 8; C's `long`.
    ///
    /// # Errors
    /// As [`atomic_u32`](Segment::atomic_u32).
    pub fn atomic_i64(&self, offset: usize) -> Result<&AtomicI64, SegmentAccessError> {
        self.aligned::<AtomicI64>(offset)?;
        Ok(self.memory.i64(offset))
    }

    /// Owner, mode, size, who has it attached, last users and times; whether it was removed.
    ///
    /// # Errors
    /// [`SegmentError::Removed`] if this process went to another ipc namespace,
    /// [`SegmentError::System`] otherwise.
    pub fn stat(&self) -> Result<SegmentStat, SegmentError> {
        Ok(self.memory.id().stat()?)
    }

    /// Gives the segment to a user and a group, and sets its nine permission bits.
    ///
    /// The creator keeps the right to change and remove it; those that have it attached keep it.
    ///
    /// # Errors
    /// [`SegmentError::InvalidOption`] for more than nine bits, and for a user or group that the kernel
    /// does not know, as 4,294,967,295 (-1); [`SegmentError::System`] of kind
    /// [`PermissionDenied`](crate::SystemErrorKind::PermissionDenied) for others than the owner.
    pub fn set_permissions(&self, uid: u32, gid: u32, mode: u32) -> Result<(), SegmentError> {
        SegmentError::check_mode(mode)?;
        let set = self.memory.id().set_permissions(uid, gid, mode);
        // The kernel says EINVAL for a segment that is gone and for a number that no user has alike.
        if set.as_ref().is_err_and(|error| error.kind() == SystemErrorKind::Removed)
            && self.stat().is_ok()
        {
            return Err(SegmentError::InvalidOption(format!(
                "the kernel knows no user {uid} or no group {gid}: to keep one, give what `stat` says"
            )));
        }
        Ok(set?)
    }

    /// Removes the segment: its key is free at once, its memory when it is attached nowhere.
    ///
    /// # Errors
    /// [`SegmentError::Removed`] if it was removed before; [`SegmentError::System`] of kind
    /// [`PermissionDenied`](crate::SystemErrorKind::PermissionDenied) for others than the owner.
    pub fn remove(&self) -> Result<(), SegmentError> {
        // The kernel removes one again without a word.
        if self.stat()?.removed {
            return Err(SegmentError::Removed { object: self.object() });
        }
        Ok(self.memory.id().remove()?)
    }

    fn object(&self) -> String {
        self.memory.id().name().to_string()
    }

    fn range(&self, range: impl RangeBounds<usize>) -> Range<usize> {
        let start = match range.start_bound() {
            Bound::Included(&start) => start,
            Bound::Excluded(&before) => before.saturating_add(1),
            Bound::Unbounded => 0,
        };
        let end = match range.end_bound() {
            Bound::Included(&last) => last.saturating_add(1),
            Bound::Excluded(&end) => end,
            Bound::Unbounded => self.size().max(start),
        };
        start..end
    }

    fn within(&self, range: Range<usize>) -> Result<Range<usize>, SegmentAccessError> {
        if range.start <= range.end && range.end <= self.size() {
            return Ok(range);
        }
        Err(SegmentAccessError::OutOfBounds { object: self.object(), size: self.size(), range })
    }

    fn writable(&self) -> Result<(), SegmentAccessError> {
        if self.read_only {
            return Err(SegmentAccessError::ReadOnly { object: self.object() });
        }
        Ok(())
    }

    fn aligned<A>(&self, offset: usize) -> Result<(), SegmentAccessError> {
        self.writable()?;
        let size = size_of::<A>();
        self.within(offset..offset.saturating_add(size))?;
        if !offset.is_multiple_of(size) {
            return Err(SegmentAccessError::Unaligned { object: self.object(), offset, size });
        }
        Ok(())
    }
}

impl fmt::Debug for Segment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Segment")
            .field("key", &self.key)
            .field("id", &self.id())
            .field("size", &self.size())
            .field("read_only", &self.read_only)
            .finish()
    }
}
