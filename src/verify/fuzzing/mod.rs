//! What the fuzz targets in `tests/fuzz` drive; no part of the crate's interface.
//!
//! Each file beside this one is a child of the module whose private parts it drives.

use std::sync::Arc;

use crate::codec::Reader;
use crate::sys::{Segment, SegmentId};

pub use crate::channel::fuzzing::messages;
pub use crate::control::fuzzing::header;
pub use crate::ring::fuzzing::records;

/// A segment of this process alone, written anew for each input.
pub struct Memory {
    pub(crate) segment: Arc<Segment>,
}

impl Memory {
    /// A segment of `len` bytes; the kernel forgets it with the process.
    pub fn new(len: usize) -> Self {
        let id = SegmentId::create_private(len, 0o600).expect("a segment");
        let segment = id.attach(false);
        id.remove().expect("a segment of our own is removed");
        Memory { segment: Arc::new(segment.expect("a segment of our own is mapped")) }
    }

    /// Reads `bytes` from shared memory: at the segment's end, so that what lies behind them is not
    /// mapped.
    pub fn holding<R>(&self, bytes: &[u8], read: impl FnOnce(Reader<'_>) -> R) -> R {
        let at = self.segment.len() - bytes.len();
        self.segment.copy_in(at, bytes);
        self.segment.read(at, bytes.len(), read)
    }

    pub(crate) fn clear(&self) {
        const ZEROS: [u8; 4096] = [0; 4096];
        let len = self.segment.len();
        for at in (0..len).step_by(ZEROS.len()) {
            self.segment.copy_in(at, &ZEROS[..ZEROS.len().min(len - at)]);
        }
    }
}

/// An input, taken apart; past its end everything is zero.
pub(crate) struct Script<'a>(pub(crate) &'a [u8]);

impl<'a> Script<'a> {
    pub(crate) fn is_over(&self) -> bool {
        self.0.is_empty()
    }

    /// The next `len` bytes, or what is left.
    pub(crate) fn bytes(&mut self, len: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(len.min(self.0.len()));
        self.0 = rest;
        taken
    }

    fn array<const N: usize>(&mut self) -> [u8; N] {
        let mut array = [0; N];
        let bytes = self.bytes(N);
        array[..bytes.len()].copy_from_slice(bytes);
        array
    }

    pub(crate) fn byte(&mut self) -> u8 {
        let [byte] = self.array();
        byte
    }

    /// A number below `end`.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        let number = u16::from_le_bytes(self.array());
        usize::from(number) % end
    }

    /// A number, one of those that checks turn on more often than chance would have it.
    pub(crate) fn number(&mut self) -> u64 {
        let form = self.byte();
        match form % 4 {
            0 => u64::from(self.byte()),
            1 => 1 << (form >> 2),
            2 => u64::MAX >> (form >> 2),
            _ => u64::from_le_bytes(self.array()),
        }
    }
}
