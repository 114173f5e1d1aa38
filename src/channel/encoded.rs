//! A value encoded in this process's memory, where it must not be encoded straight into a ring.

use std::cell::Cell;
use std::mem;
use std::ops::Deref;

use crate::codec::{EncodeError, Writer};

/// How much of a value is encoded at a time that goes on before it is whole, in bytes. It fits into a
/// processor's first cache.
pub(super) const CHUNK: usize = if cfg!(loom) { 32 } else { 8 << 10 };

/// How much memory a thread keeps for the next value, in bytes. Longer ones are encoded twice, to
/// learn how long they are.
const KEPT: usize = 64 << 10;

/// How much it begins with.
const SHORT: usize = 512;

std::thread_local! {
    static SPARE: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// Memory for a chunk.
pub(super) struct Chunk(Vec<u8>);

impl Chunk {
    pub(super) fn take() -> Result<Self, EncodeError> {
        // Taken: encoding may send another value. A thread that ends has none any more.
        let mut memory = SPARE.try_with(Cell::take).unwrap_or_default();
        let more = CHUNK.saturating_sub(memory.len());
        if memory.try_reserve_exact(more).is_err() {
            return Err(EncodeError::no_memory(CHUNK));
        }
        memory.resize(memory.len() + more, 0);
        Ok(Chunk(memory))
    }

    pub(super) fn memory(&mut self) -> &mut [u8] {
        &mut self.0[..CHUNK]
    }
}

impl Drop for Chunk {
    fn drop(&mut self) {
        let _ = SPARE.try_with(|spare| spare.set(mem::take(&mut self.0)));
    }
}

/// The encoded bytes.
pub(crate) struct Encoded {
    /// Longer than the value: what is behind it is for the next one.
    memory: Vec<u8>,
    len: usize,
}

/// Why there are none.
pub(crate) enum NotEncoded {
    TooLong,
    Failed(EncodeError),
}

impl Encoded {
    /// Encodes, up to `max` bytes.
    pub(crate) fn new(
        max: u64,
        encode: impl Fn(&mut Writer<'_>) -> Result<(), EncodeError>,
    ) -> Result<Self, NotEncoded> {
        // Taken: encoding may send another value. A thread that ends has none any more.
        let memory = SPARE.try_with(Cell::take).unwrap_or_default();
        let mut encoded = Encoded { memory, len: 0 };
        if encoded.memory.is_empty() {
            encoded.make_room(SHORT)?;
        }
        if !encoded.fill(max, &encode)? {
            encoded.make_room(encoded.len)?;
            if !encoded.fill(max, &encode)? {
                return Err(NotEncoded::Failed(EncodeError::changed_length()));
            }
        }
        Ok(encoded)
    }

    /// Encodes into the memory; `false` if that is too short for it.
    fn fill(
        &mut self,
        max: u64,
        encode: impl Fn(&mut Writer<'_>) -> Result<(), EncodeError>,
    ) -> Result<bool, NotEncoded> {
        let mut writer = Writer::new(&mut self.memory);
        writer.limit(usize::try_from(max).unwrap_or(usize::MAX));
        let result = encode(&mut writer);
        // Asked first, since a Serialize can go on after an error of its serializer.
        if writer.is_too_long() {
            return Err(NotEncoded::TooLong);
        }
        result.map_err(NotEncoded::Failed)?;
        let fits = writer.fits();
        self.len = writer.len();
        Ok(fits)
    }

    fn make_room(&mut self, len: usize) -> Result<(), NotEncoded> {
        let room = if len <= KEPT { len.next_power_of_two() } else { len };
        self.memory.clear();
        if self.memory.try_reserve_exact(room).is_err() {
            return Err(NotEncoded::Failed(EncodeError::no_memory(len)));
        }
        self.memory.resize(room, 0);
        Ok(())
    }
}

impl Deref for Encoded {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        &self.memory[..self.len]
    }
}

impl Drop for Encoded {
    fn drop(&mut self) {
        if self.memory.len() <= KEPT {
            let _ = SPARE.try_with(|spare| spare.set(mem::take(&mut self.memory)));
        }
    }
}
