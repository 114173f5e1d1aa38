//! The fragments of a value or a reply, joined.

use crate::codec::{ReadError, Reader};
use crate::ring::{Consumer, Damage, Record};

/// How much memory is kept for the next one, in bytes.
pub(super) const SPARE: usize = 1 << 20;

/// How much is kept of what there is no memory for, in bytes: the head that says who asked.
const BEGINNING: usize = 256;

/// The bytes of fragments, and how many more there were once memory for them was not to be had.
#[derive(Default)]
pub(super) struct Joined {
    bytes: Vec<u8>,
    missing: usize,
}

impl Joined {
    /// Begins in the memory of an earlier one.
    pub(super) fn begin(mut memory: Vec<u8>) -> Self {
        memory.clear();
        Joined { bytes: memory, missing: 0 }
    }

    /// Makes room for so many bytes, if there is any.
    pub(super) fn expect(&mut self, len: usize) {
        // Where this fails, growing will.
        let _ = self.bytes.try_reserve(len);
    }

    /// Appends a fragment, if that does not make more than `longest` bytes; or, once there is no memory
    /// for them, counts it. The sender waits until its value is consumed, so the rest is consumed all the
    /// same, and the receiver gets an error from decoding.
    pub(super) fn append(
        &mut self,
        consumer: &Consumer,
        record: &Record,
        longest: u64,
    ) -> Result<(), Damage> {
        let len = (self.bytes.len() + self.missing).saturating_add(record.len);
        if len as u64 > longest {
            let what = "its fragments make a value longer than the channel's maximum";
            return Err(Damage { position: record.position, what });
        }
        consumer.read(record, |fragment| {
            let len = fragment.remaining();
            if self.missing == 0 && fragment.append_to(&mut self.bytes).is_ok() {
                return;
            }
            if self.missing == 0 {
                self.missing = self.bytes.len().saturating_sub(BEGINNING);
                self.bytes.truncate(BEGINNING);
                self.bytes.shrink_to_fit();
            }
            self.missing = self.missing.saturating_add(len);
        });
        Ok(())
    }

    /// How many bytes there are in memory.
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// The bytes, if there was memory for all of them.
    pub(super) fn bytes(&self) -> Result<&[u8], ReadError> {
        match Reader::of_beginning(&self.bytes, self.missing).no_memory() {
            Some(error) => Err(error),
            None => Ok(&self.bytes),
        }
    }

    /// Has the bytes read, and perhaps moved out.
    pub(super) fn read<R>(&mut self, read: impl FnOnce(Reader<'_>) -> R) -> R {
        if self.missing > 0 {
            return read(Reader::of_beginning(&self.bytes, self.missing));
        }
        read(Reader::of_vector(&mut self.bytes))
    }

    /// The memory, for another one to begin in.
    pub(super) fn into_memory(self) -> Vec<u8> {
        self.bytes
    }

    /// The memory to keep for the next one, if it is not too much.
    pub(super) fn into_spare(self) -> Option<Vec<u8>> {
        (self.bytes.capacity() <= SPARE).then_some(self.bytes)
    }
}
