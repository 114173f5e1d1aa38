//! A single-producer single-consumer ring of records over 64-byte lines of shared memory.
//!
//! ```text
//! producer                                   consumer
//!   clear the stamp of the line that follows
//!   write header and payload
//!   stamp.store(position + 1, Release)  --->   stamp.load(Acquire) == position + 1
//!                                              read header and payload
//!   head.load(Acquire)                  <---   head.store(end, Release)
//!   write over those lines
//! ```
//!
//! A record starts on a line and takes whole lines: the stamp, a word with length, tag and flags,
//! the payload. It never wraps; a padding record fills the end of the array. The stamp is the
//! record's position, counted in lines since the ring began, plus one; it is the only thing that
//! the consumer waits for, so a value of up to 48 bytes costs one cache line moved between cores.
//! Old payload never passes for a stamp, because the producer clears the stamp of the following
//! line before it publishes; that line has to be free too.
//!
//! No tail is shared. A producer that takes the ring over walks the stamps from the head, the exact
//! end of what was consumed, and goes on behind the last; a half-written record has no stamp. A hint
//! of the head, repeated now and then on a line of its own, keeps a busy producer off the line that
//! the consumer writes with every value.
//!
//! Lines that the consumer's core still caches are dear to write: a core gets rid of them only while it
//! reads as many others as its cache holds. Bulk is fastest through a ring larger than that, and small
//! values need the memory for something else. So the producer uses a [window](RingLayout::window) of a
//! large array: behind it, it fills the rest of the array with padding and begins anew at the start, unless
//! what went is a stream of long records, or the consumer has not come as far.
//!
//! A record consumed out of order keeps its lines and gets [`CONSUMED`] in its stamp; the head moves over
//! it once everything before it was consumed.
//!
//! A party that takes no part can watch (`Observer`): a record that was consumed stands there until it is written
//! over, and a producer tells before it writes how far it may go.
//!
//! Nothing read from the ring is trusted: a header is copied once and checked against the array.

mod consumer;
mod fragments;
#[cfg(fuzzing)]
#[path = "../verify/fuzzing/records.rs"]
pub(crate) mod fuzzing;
mod lend;
#[cfg(not(loom))]
mod observer;
mod producer;

use std::sync::Arc;

use crate::sys::{AtomicU64, Segment};
use crate::tag::Tag;

pub(crate) use consumer::{Consumer, Found, Peeked};
pub(crate) use fragments::Cutter;
pub(crate) use lend::lend;
#[cfg(not(loom))]
pub(crate) use observer::{Observed, Observer};
pub(crate) use producer::{Producer, Reservation};

pub use lend::TrustedPeers;

/// Bytes in a line: one cache line of every x86-64 and most other processors.
pub(crate) const LINE: usize = 64;

/// Set in the stamp of a record that was consumed out of order.
const CONSUMED: u64 = 1 << 63;

/// Set in the stamp of padding.
const PADDING: u64 = 1 << 62;

/// Set in the stamp of a fragment that is not the last. Like padding it is never retracted, so the stamp
/// alone says that its header can be read; a value may be retracted until its descriptor was sent.
const FRAGMENT: u64 = 1 << 61;

/// What a stamp says beside the position.
const STAMP_FLAGS: u64 = CONSUMED | PADDING | FRAGMENT;

/// Whether observers may read along, which are told what is written over. A model has none.
pub(crate) const WATCHED: bool = cfg!(not(loom));

/// Positions end here, so that a stamp is never zero and never runs into its flags.
const POSITION_LIMIT: u64 = 1 << 60;

/// What is wrong with a head at or above that.
const HEAD_OUT_OF_RANGE: &str = "the head is out of range";

/// Stamp and the word of length, tag and flags.
const HEADER: usize = 16;

/// Tags from here on take eight bytes in front of the payload.
const WIDE_TAG: i64 = 1 << 24;

/// What a record is, beside its length and tag.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Flags(u8);

impl Flags {
    /// A value in one record.
    pub(crate) const WHOLE: Flags = Flags(0b011);
    /// The first of several fragments.
    pub(crate) const FIRST: Flags = Flags(0b001);
    /// The last of several fragments.
    pub(crate) const LAST: Flags = Flags(0b010);
    /// Fills the array's end; holds no value.
    const PADDING: Flags = Flags(0b100);
    const WIDE: u8 = 0b1000;

    /// A part of a value: the first of its parts, the last, both or neither.
    #[inline]
    pub(crate) fn part(first: bool, last: bool) -> Flags {
        let flag = |is: bool, flag: Flags| if is { flag.0 } else { 0 };
        Flags(flag(first, Flags::FIRST) | flag(last, Flags::LAST))
    }

    /// Whether it only fills the end of the array.
    #[inline]
    pub(crate) fn is_padding(self) -> bool {
        self.0 & Flags::PADDING.0 != 0
    }

    /// The stamp of such a record at `position`.
    #[inline]
    fn stamp(self, position: u64) -> u64 {
        let flags = if self.is_padding() {
            PADDING
        } else if self.is_last() {
            0
        } else {
            FRAGMENT
        };
        (position + 1) | flags
    }

    /// Whether a value starts here.
    #[inline]
    pub(crate) fn is_first(self) -> bool {
        self.0 & Flags::FIRST.0 != 0
    }

    /// Whether a value ends here.
    #[inline]
    pub(crate) fn is_last(self) -> bool {
        self.0 & Flags::LAST.0 != 0
    }

    /// Whether the record is a value by itself.
    #[inline]
    pub(crate) fn is_whole(self) -> bool {
        self.is_first() && self.is_last()
    }
}

/// A record, as a checked copy of its header tells.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Record {
    /// Its first line, counted since the ring began.
    pub(crate) position: u64,
    /// How many lines it takes.
    lines: u64,
    /// Where its payload starts in the segment.
    payload: usize,
    /// Payload bytes.
    pub(crate) len: usize,
    pub(crate) tag: Tag,
    pub(crate) flags: Flags,
}

impl Record {
    /// The position behind it.
    #[inline]
    pub(crate) fn end(&self) -> u64 {
        self.position + self.lines
    }
}

/// Something in the ring that no producer of this crate writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Damage {
    /// Where, in lines since the ring began.
    pub(crate) position: u64,
    /// What is wrong there, as the end of a sentence.
    pub(crate) what: &'static str,
}

/// Where a ring's parts stand in the segment, in bytes, and what goes through it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RingLayout {
    /// The first line.
    pub(crate) lines_at: usize,
    /// How many lines: a power of two, 2 or more.
    pub(crate) lines: u64,
    /// How many of them are used while little goes through the ring: a power of two, 2 or more. Where it
    /// is all of them, they are used in turn whatever goes.
    pub(crate) window: u64,
    /// The longest record, in lines: half the array at most, so that padding and record together fit; half
    /// a window where a record can be retracted, since it may leave padding behind of which no consumer
    /// that waits is told.
    pub(crate) max_record: u64,
    /// The word of the head: the end of the longest prefix of consumed records.
    pub(crate) head_at: usize,
    /// The word of its hint, which may lag behind.
    pub(crate) head_hint_at: usize,
    /// The word of how far the producer may write, which observers look at.
    pub(crate) reach_at: usize,
    /// The longest value that goes through it, in bytes.
    pub(crate) max_value: u64,
}

/// The shared parts of a ring, as both sides see them.
struct Ring {
    segment: Arc<Segment>,
    layout: RingLayout,
}

impl Ring {
    fn new(segment: Arc<Segment>, layout: RingLayout) -> Self {
        debug_assert!(layout.lines.is_power_of_two() && layout.lines >= 2);
        debug_assert!(
            layout.window.is_power_of_two() && (2..=layout.lines).contains(&layout.window)
        );
        debug_assert!(layout.max_record <= layout.lines / 2);
        Ring { segment, layout }
    }

    #[inline]
    fn lines(&self) -> u64 {
        self.layout.lines
    }

    /// The longest record, in lines: what the 32 bits of a header's length can say, too.
    #[inline]
    fn max_record_lines(&self) -> u64 {
        self.layout.max_record.min(u64::from(u32::MAX) / LINE as u64)
    }

    /// After how many lines each side says or asks anew where the head is, at the latest.
    #[inline]
    fn head_interval(&self) -> u64 {
        self.layout.window / 8
    }

    #[inline]
    fn index(&self, position: u64) -> u64 {
        position & (self.layout.lines - 1)
    }

    /// Lines from `position` to the end of the array.
    #[inline]
    fn lines_to_end(&self, position: u64) -> u64 {
        self.layout.lines - self.index(position)
    }

    #[inline]
    fn offset(&self, position: u64) -> usize {
        self.layout.lines_at + self.index(position) as usize * LINE
    }

    #[inline]
    fn stamp(&self, position: u64) -> &AtomicU64 {
        self.segment.word(self.offset(position))
    }

    #[inline]
    fn head(&self) -> &AtomicU64 {
        self.segment.word(self.layout.head_at)
    }

    #[inline]
    fn head_hint(&self) -> &AtomicU64 {
        self.segment.word(self.layout.head_hint_at)
    }

    #[inline]
    fn reach(&self) -> &AtomicU64 {
        self.segment.word(self.layout.reach_at)
    }
}

#[cfg(all(test, not(loom)))]
mod tests;
