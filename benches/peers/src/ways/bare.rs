//! Mapped memory with nothing around it: slots of equal size, each behind a stamp.
//!
//! Nobody sleeps, nobody notices a death, nothing is checked: what the machine can do, and no more.

use std::fs::File;
use std::hint::black_box;
use std::os::fd::AsRawFd;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap};
use sysv_channel::codec::Bytes;

use super::{Rx, Setting, Tx, Way};
use crate::Failure;
use crate::stop::spin;
use crate::values::{Lent, Small, Value};

pub struct Bare;

/// Before the slots: how many the receiver is done with, on a pair of lines of its own.
const HEAD: usize = 128;
/// Before the bytes of a slot: its stamp, which is the value's number counted from one, and the
/// length.
const SLOT_HEAD: usize = 16;

/// About as much as a ring of this crate has by default: what is written anew has left the other core's
/// own caches.
const BYTES: usize = 4 << 20;

/// One direction's memory.
pub struct Memory {
    /// Which the other side opens by way of this process.
    file: File,
    start: NonNull<u8>,
    stride: usize,
    slots: u64,
}

// SAFETY: a mapping belongs to no thread.
unsafe impl Send for Memory {}
// SAFETY: its words are atomic; a slot's bytes are handed over by its stamp and by the head.
unsafe impl Sync for Memory {}

impl Memory {
    /// As many bytes as it takes, how many slots there are, and how far apart.
    fn sizes(len: usize) -> (usize, u64, usize) {
        let stride = (SLOT_HEAD + len).max(64).next_multiple_of(64);
        let slots = (BYTES / stride).clamp(4, 4096).next_power_of_two();
        (HEAD + stride * slots, slots as u64, stride)
    }

    pub fn make(len: usize) -> Result<Arc<Self>, Failure> {
        let file = File::from(memfd_create("peers", MFdFlags::MFD_CLOEXEC)?);
        file.set_len(Memory::sizes(len).0 as u64)?;
        Memory::map(file, len)
    }

    pub fn open(path: &str, len: usize) -> Result<Arc<Self>, Failure> {
        Memory::map(File::options().read(true).write(true).open(path)?, len)
    }

    fn map(file: File, len: usize) -> Result<Arc<Self>, Failure> {
        let (size, slots, stride) = Self::sizes(len);
        let flags = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: a new mapping takes nothing away.
        let start = unsafe { mmap(None, size.try_into()?, flags, MapFlags::MAP_SHARED, &file, 0) }?;
        Ok(Arc::new(Memory { file, start: start.cast(), stride, slots }))
    }

    /// Where another process finds it.
    pub fn path(&self) -> String {
        format!("/proc/{}/fd/{}", std::process::id(), self.file.as_raw_fd())
    }

    pub fn word(&self, offset: usize) -> &AtomicU64 {
        // SAFETY: the offset is a multiple of eight within the mapping.
        let word = unsafe { self.start.add(offset) };
        // SAFETY: the word is aligned, and only used as an atomic one.
        unsafe { word.cast().as_ref() }
    }

    fn slot(&self, position: u64) -> usize {
        HEAD + (position & (self.slots - 1)) as usize * self.stride
    }

    /// A slot's bytes, for whose turn it is.
    #[expect(clippy::mut_from_ref, reason = "the stamp and the head say whose turn it is")]
    fn bytes(&self, slot: usize) -> &mut [u8] {
        // SAFETY: the offset is within the mapping.
        let start = unsafe { self.start.add(slot + SLOT_HEAD) };
        // SAFETY: so many bytes are the slot's; the other side does not touch them now.
        unsafe { std::slice::from_raw_parts_mut(start.as_ptr(), self.stride - SLOT_HEAD) }
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        let size = HEAD + self.stride * self.slots as usize;
        // SAFETY: nothing refers to the mapping after its owner.
        let _ = unsafe { munmap(self.start.cast(), size) };
    }
}

pub struct Producer {
    memory: Arc<Memory>,
    position: u64,
    /// The head, as it was last seen.
    head: u64,
}

impl Producer {
    #[inline]
    fn put(
        &mut self,
        write: impl FnOnce(&mut [u8]) -> Result<usize, Failure>,
    ) -> Result<(), Failure> {
        let Producer { memory, position, head } = self;
        if *position - *head == memory.slots {
            *head = spin(|| {
                let head = memory.word(0).load(Ordering::Acquire);
                Ok((*position - head < memory.slots).then_some(head))
            })?;
        }
        let slot = memory.slot(*position);
        let len = write(memory.bytes(slot))?;
        memory.word(slot + 8).store(len as u64, Ordering::Relaxed);
        *position += 1;
        memory.word(slot).store(*position, Ordering::Release);
        Ok(())
    }
}

pub struct Consumer {
    memory: Arc<Memory>,
    position: u64,
}

impl Consumer {
    #[inline]
    fn take<R>(&mut self, read: impl FnOnce(&[u8]) -> Result<R, Failure>) -> Result<R, Failure> {
        let Consumer { memory, position } = self;
        let slot = memory.slot(*position);
        let stamp = memory.word(slot);
        *position += 1;
        spin(|| Ok((stamp.load(Ordering::Acquire) == *position).then_some(())))?;
        let len = memory.word(slot + 8).load(Ordering::Relaxed) as usize;
        let done = read(&memory.bytes(slot)[..len]);
        // Every eighth of the slots: the producer fetches that line less often.
        if *position % (memory.slots / 8).max(1) == 0 {
            memory.word(0).store(*position, Ordering::Release);
        }
        done
    }
}

impl<V: Value> Way<V> for Bare
where
    Producer: Tx<V>,
    Consumer: Rx<V>,
{
    const NAME: &'static str = "bare memory";
    type Meeting = (Vec<Producer>, Consumer);
    type Tx = Producer;
    type Rx = Consumer;

    fn meet(setting: Setting) -> Result<(Self::Meeting, String), Failure> {
        let (there, back) = (Memory::make(setting.len)?, Memory::make(0)?);
        let address = format!("{} {}", there.path(), back.path());
        let producer = Producer { memory: there, position: 0, head: 0 };
        Ok(((vec![producer], Consumer { memory: back, position: 0 }), address))
    }

    fn join(address: &str, setting: Setting) -> Result<(Producer, Consumer), Failure> {
        let (there, back) = address.split_once(' ').ok_or("that is no address")?;
        let producer = Producer { memory: Memory::open(back, 0)?, position: 0, head: 0 };
        Ok((producer, Consumer { memory: Memory::open(there, setting.len)?, position: 0 }))
    }

    fn connect(met: Self::Meeting, _: Setting) -> Result<Self::Meeting, Failure> {
        Ok(met)
    }
}

impl<V: Small> Tx<V> for Producer {
    #[inline]
    fn send(&mut self, value: &V) -> Result<(), Failure> {
        self.put(|slot| value.encode(slot))
    }
}

impl<V: Small> Rx<V> for Consumer {
    #[inline]
    fn recv(&mut self) -> Result<u64, Failure> {
        self.take(|slot| Ok(black_box(V::decode(slot)?).id()))
    }
}

impl Tx<Bytes> for Producer {
    fn send(&mut self, value: &Bytes) -> Result<(), Failure> {
        self.put(|slot| {
            slot[..value.len()].copy_from_slice(value);
            Ok(value.len())
        })
    }
}

impl Rx<Bytes> for Consumer {
    fn recv(&mut self) -> Result<u64, Failure> {
        self.take(|slot| Ok(black_box(Bytes::from(slot)).id()))
    }
}

impl<const ALL: bool> Tx<Lent<ALL>> for Producer {
    fn send(&mut self, value: &Lent<ALL>) -> Result<(), Failure> {
        self.put(|slot| {
            value.fill(slot);
            Ok(value.bytes.len())
        })
    }
}

impl<const ALL: bool> Rx<Lent<ALL>> for Consumer {
    fn recv(&mut self) -> Result<u64, Failure> {
        self.take(|slot| Ok(Lent::<ALL>::look(slot)))
    }
}
