//! Shared-memory segments: words as loom atomics, lines with a stamp and tracked bytes.

use std::cell::UnsafeCell;
use std::sync::Arc;

use loom::cell::{ConstPtr, MutPtr, UnsafeCell as UnsafeGuard};
use loom::sync::Mutex;

use super::AtomicU64;
use super::kernel::{self, EEXIST, EIDRM, ENOENT, ownership};
use crate::sys::bytes::{Reader, Writer};
use crate::sys::{Key, ObjectKind, ObjectName, SegmentPlan, SegmentStat, SystemError};

const LINE: usize = 64;

/// A segment, by its id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SegmentId {
    id: i32,
    key: i32,
}

pub(super) struct SegmentObject {
    key: i32,
    plan: SegmentPlan,
    mode: u32,
    creator: u64,
    removed: Mutex<bool>,
    words: Vec<AtomicU64>,
    /// Guards the bytes between words and lines, which are written before any process reads them.
    plain: UnsafeGuard<()>,
    lines: Vec<Line>,
    /// The bytes themselves, in words so that they are aligned.
    memory: UnsafeCell<Vec<u64>>,
}

impl kernel::Object for SegmentObject {
    #[cfg(test)]
    fn left(&self) -> Option<&'static str> {
        let removed = *self.removed.lock().expect("a model's kernel does not panic");
        (!removed).then_some("a segment")
    }
}

/// The first word of a line is an atomic; loom watches which threads touch the rest.
struct Line {
    stamp: UnsafeCell<AtomicU64>,
    guard: UnsafeGuard<()>,
}

/// An attached segment.
pub(crate) struct Segment {
    object: Arc<SegmentObject>,
    id: SegmentId,
}

// SAFETY: all threads of a model run on one thread of the operating system, one at a time, and
// loom's guards report those accesses that are not ordered.
unsafe impl Send for SegmentObject {}

// SAFETY: as above.
unsafe impl Sync for SegmentObject {}

impl SegmentId {
    /// How errors name it.
    pub(crate) fn name(&self) -> ObjectName {
        ObjectName { kind: ObjectKind::Segment, key: self.key, id: Some(self.id) }
    }

    pub(crate) fn create(key: Key, plan: SegmentPlan, mode: u32) -> Result<Self, SystemError> {
        if !kernel::step() {
            return Err(missing(key.raw(), EIDRM));
        }
        kernel::with_names(|| {
            if find(key.raw()).is_some() {
                return Err(missing(key.raw(), EEXIST));
            }
            let lines = (plan.len - plan.lines_at).div_ceil(LINE);
            let line =
                || Line { stamp: UnsafeCell::new(AtomicU64::new(0)), guard: UnsafeGuard::new(()) };
            let id = kernel::add(Arc::new(SegmentObject {
                key: key.raw(),
                plan,
                mode,
                creator: kernel::current_process(),
                removed: Mutex::new(false),
                words: (0..plan.words / 8).map(|_| AtomicU64::new(0)).collect(),
                plain: UnsafeGuard::new(()),
                lines: (0..lines).map(|_| line()).collect(),
                memory: UnsafeCell::new(vec![0; plan.len.div_ceil(8)]),
            }));
            Ok(SegmentId { id, key: key.raw() })
        })
    }

    pub(crate) fn open(key: Key) -> Result<Self, SystemError> {
        if !kernel::step() {
            return Err(missing(key.raw(), EIDRM));
        }
        kernel::with_names(|| {
            let id = find(key.raw()).ok_or_else(|| missing(key.raw(), ENOENT))?;
            Ok(SegmentId { id, key: key.raw() })
        })
    }

    pub(crate) fn id(&self) -> i32 {
        self.id
    }

    fn object(&self, call: &'static str) -> Result<Arc<SegmentObject>, SystemError> {
        let gone = || {
            let name = self.name();
            SystemError::new(name, call, EIDRM)
        };
        let object = kernel::object::<SegmentObject>(self.id).ok_or_else(gone)?;
        let removed = *object.removed.lock().expect("a model's kernel does not panic");
        if removed { Err(gone()) } else { Ok(object) }
    }

    pub(crate) fn attach(&self, _read_only: bool) -> Result<Segment, SystemError> {
        if !kernel::step() {
            return Err(missing(self.key, EIDRM));
        }
        Ok(Segment { object: self.object("shmat")?, id: *self })
    }

    pub(crate) fn stat(&self) -> Result<SegmentStat, SystemError> {
        if !kernel::step() {
            return Err(missing(self.key, EIDRM));
        }
        let object = self.object("shmctl")?;
        Ok(SegmentStat {
            ownership: ownership(object.key, object.mode),
            size: object.plan.len,
            removed: false,
            // Neither the kernel's own reference nor the one taken for this call.
            attached: Arc::strong_count(&object) as u64 - 2,
            creator_pid: object.creator as i32,
            last_pid: 0,
            last_attach: None,
            last_detach: None,
            last_change: None,
        })
    }

    pub(crate) fn remove(&self) -> Result<(), SystemError> {
        if !kernel::step() {
            return Err(missing(self.key, EIDRM));
        }
        kernel::with_names(|| {
            let object = self.object("shmctl")?;
            *object.removed.lock().expect("a model's kernel does not panic") = true;
            Ok(())
        })
    }
}

/// What a range of bytes touches, while it is read or written.
enum Touched {
    Plain,
    Lines { first: usize, last: usize },
}

impl Segment {
    pub(crate) fn len(&self) -> usize {
        self.object.plan.len
    }

    pub(crate) fn id(&self) -> SegmentId {
        self.id
    }

    /// A word: any in the leading words, the first of each line behind `lines_at`.
    pub(crate) fn word(&self, offset: usize) -> &AtomicU64 {
        let plan = &self.object.plan;
        if offset < plan.words {
            return &self.object.words[offset / 8];
        }
        assert!(
            offset >= plan.lines_at && (offset - plan.lines_at).is_multiple_of(LINE),
            "byte {offset} is no word of the model's segment"
        );
        let line = &self.object.lines[(offset - plan.lines_at) / LINE];
        // SAFETY: a shared reference for an atomic access; `overwrite` is its own short access.
        unsafe { &*line.stamp.get() }
    }

    fn touched(&self, offset: usize, len: usize) -> Touched {
        let plan = &self.object.plan;
        assert!(offset + len <= plan.len, "{len} bytes at {offset} are outside the segment");
        assert!(offset >= plan.words, "bytes at {offset} are words");
        if offset < plan.lines_at {
            assert!(offset + len <= plan.lines_at, "a range ends where the lines begin");
            return Touched::Plain;
        }
        let first = (offset - plan.lines_at) / LINE;
        let last = (offset - plan.lines_at + len.max(1) - 1) / LINE;
        Touched::Lines { first, last }
    }

    fn start(&self, offset: usize) -> *mut u8 {
        // SAFETY: the vector is never resized; a pointer to its start is all that is taken.
        let memory = unsafe { (*self.object.memory.get()).as_mut_ptr() };
        memory.cast::<u8>().wrapping_add(offset)
    }

    fn reading(&self, offset: usize, len: usize) -> Vec<ConstPtr<()>> {
        match self.touched(offset, len) {
            Touched::Plain => vec![self.object.plain.get()],
            Touched::Lines { first, last } => {
                self.object.lines[first..=last].iter().map(|line| line.guard.get()).collect()
            }
        }
    }

    fn writing(&self, offset: usize, len: usize) -> Vec<MutPtr<()>> {
        match self.touched(offset, len) {
            Touched::Plain => vec![self.object.plain.get_mut()],
            Touched::Lines { first, last } => {
                self.object.lines[first..=last].iter().map(|line| line.guard.get_mut()).collect()
            }
        }
    }

    /// Payload over the first word of a line is what its stamp reads as from then on.
    fn payload_over_stamps(&self, offset: usize, len: usize) {
        let Touched::Lines { first, last } = self.touched(offset, len) else { return };
        for index in first..=last {
            let at = self.object.plan.lines_at + index * LINE;
            if at >= offset && at < offset + len {
                let mut word = [0; 8];
                // SAFETY: the segment ends with a whole line, so eight bytes are there.
                unsafe { std::ptr::copy_nonoverlapping(self.start(at), word.as_mut_ptr(), 8) };
                // SAFETY: no reference to the stamp is held over a step; loom reports an access
                // that is not ordered with this one.
                let stamp = unsafe { &mut *self.object.lines[index].stamp.get() };
                stamp.overwrite(u64::from_le_bytes(word));
            }
        }
    }

    pub(crate) fn prefetch(&self, _offset: usize) {}

    pub(crate) fn read<R>(&self, offset: usize, len: usize, f: impl FnOnce(Reader<'_>) -> R) -> R {
        if !kernel::step() {
            return f(Reader::new(&[]));
        }
        let _guards = self.reading(offset, len);
        // SAFETY: the range was checked, and the memory lives as long as `self`.
        f(unsafe { Reader::from_shared(self.start(offset), len) })
    }

    pub(crate) fn write<R>(
        &self,
        offset: usize,
        len: usize,
        f: impl FnOnce(&mut Writer<'_>) -> R,
    ) -> R {
        if !kernel::step() {
            return f(&mut Writer::new(&mut []));
        }
        // A range is lent whole though less is written, so only what was written counts.
        let before = self.bytes(offset, len);
        // SAFETY: the range was checked, and the memory lives as long as `self`.
        let result = f(&mut unsafe { Writer::from_raw(self.start(offset), len) });
        let after = self.bytes(offset, len);
        let changed = before.iter().zip(&after).rposition(|(before, after)| before != after);
        let written = changed.map_or(1, |last| last + 1).min(len);
        drop(self.writing(offset, written));
        self.payload_over_stamps(offset, written);
        result
    }

    fn bytes(&self, offset: usize, len: usize) -> Vec<u8> {
        let _ = self.touched(offset, len);
        let mut bytes = vec![0; len];
        // SAFETY: the range was checked by `touched`.
        unsafe { std::ptr::copy_nonoverlapping(self.start(offset), bytes.as_mut_ptr(), len) };
        bytes
    }

    /// Lends a range.
    ///
    /// # Safety
    /// No process writes to it while the slice lives.
    pub(crate) unsafe fn lend(&self, offset: usize, len: usize) -> &[u8] {
        drop(self.reading(offset, len));
        // SAFETY: the range was checked; the caller vouches that no process writes to it.
        unsafe { std::slice::from_raw_parts(self.start(offset), len) }
    }

    /// Lends a range to be filled.
    ///
    /// # Safety
    /// No other thread uses it while the slice lives.
    #[allow(clippy::mut_from_ref)]
    pub(crate) unsafe fn lend_mut(&self, offset: usize, len: usize) -> &mut [u8] {
        drop(self.writing(offset, len));
        // SAFETY: the range was checked; the caller vouches that no other thread uses it.
        unsafe { std::slice::from_raw_parts_mut(self.start(offset), len) }
    }

    pub(crate) fn copy_in(&self, offset: usize, bytes: &[u8]) {
        if kernel::step() {
            self.put(offset, bytes);
        }
    }

    fn put(&self, offset: usize, bytes: &[u8]) {
        let _guards = self.writing(offset, bytes.len());
        // SAFETY: the range was checked, and private memory does not overlap the segment.
        unsafe {
            std::ptr::copy_nonoverlapping(bytes.as_ptr(), self.start(offset), bytes.len());
        }
        self.payload_over_stamps(offset, bytes.len());
    }

    pub(crate) fn copy_out(&self, offset: usize, bytes: &mut [u8]) {
        if kernel::step() {
            let _guards = self.reading(offset, bytes.len());
            // SAFETY: the range was checked, and private memory does not overlap the segment.
            unsafe {
                std::ptr::copy_nonoverlapping(self.start(offset), bytes.as_mut_ptr(), bytes.len());
            }
        }
    }

    /// What msgrcv writes: the type word, then the text. Part of one call, so no step of its own.
    pub(super) fn kernel_copy_in(&self, offset: usize, type_: i64, text: &[u8]) {
        let line = (offset - self.object.plan.lines_at) / LINE;
        // SAFETY: as in `payload_over_stamps`.
        unsafe { &mut *self.object.lines[line].stamp.get() }.overwrite(type_ as u64);
        if !text.is_empty() {
            self.put(offset + 8, text);
        }
    }
}

/// Whether the kernel counts memory before it is used.
pub(crate) fn memory_is_counted() -> bool {
    false
}

fn find(key: i32) -> Option<i32> {
    let mut segments =
        kernel::objects::<SegmentObject>().into_iter().filter(|(_, segment)| segment.key == key);
    segments
        .find(|(_, segment)| !*segment.removed.lock().expect("a model's kernel does not panic"))
        .map(|(id, _)| id)
}

fn missing(key: i32, errno: i32) -> SystemError {
    kernel::error(ObjectKind::Segment, key, None, "shmget", errno)
}
