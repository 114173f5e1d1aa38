//! The side that writes records.

use std::sync::Arc;

use super::{
    Damage, Flags, HEADER, LINE, MARK, POSITION_LIMIT, Place, Record, Ring, STAMP_FLAGS, WIDE_TAG,
};
use crate::sys::bytes::Writer;
use crate::sys::{Fault, Ordering, Segment, fault};
use crate::tag::Tag;

/// How many lines are taken over from the other core before the next record needs them.
const TAKEN_AHEAD: u64 = 4;

/// The writing side of a ring. There is one at a time; the lane's role sees to that.
pub(crate) struct Producer {
    ring: Ring,
    /// The line that the next record starts on.
    position: u64,
    /// Everything before this was taken; at or behind the shared `head` and `delivered`.
    taken: u64,
}

/// Room for the payload of the next record.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Room {
    pub(super) offset: usize,
    pub(crate) len: usize,
}

impl Producer {
    /// Takes the ring over behind the last record that a predecessor published.
    ///
    /// Also says which record, not taken yet, was the last: its descriptor may be missing.
    pub(crate) fn attach(
        segment: Arc<Segment>,
        place: Place,
    ) -> Result<(Self, Option<Record>), Damage> {
        let ring = Ring::new(segment, place);
        // Acquire: pairs with the consumer's Release store in `Consumer::advance`, so that lines
        // before it may be written over.
        let order =
            if fault(Fault::TakeoverRelaxed) { Ordering::Relaxed } else { Ordering::Acquire };
        let taken = ring.delivered().load(order);
        if taken >= POSITION_LIMIT {
            return Err(Damage { position: taken, what: "the delivered position is out of range" });
        }
        let mut position = taken;
        let mut last = None;
        while position < taken + ring.lines() && !fault(Fault::NoWalk) {
            // Relaxed: a predecessor published before it gave up the lane, and a lane changes hands
            // in the kernel.
            let stamp = ring.stamp(position).load(Ordering::Relaxed);
            if stamp & !STAMP_FLAGS != position + 1 {
                break;
            }
            let Ok(record) = ring.record(position) else {
                // A record that is damaged is written over: nothing behind it could be found. The
                // consumer must not come upon it before that. Relaxed: ordered by whatever tells
                // the consumer of this owner.
                ring.stamp(position).store(0, Ordering::Relaxed);
                break;
            };
            position = record.end();
            if stamp & MARK == 0 && !record.flags.is_padding() {
                last = Some(record);
            }
        }
        Ok((Producer { ring, position, taken }, last))
    }

    /// The position of the next record.
    #[inline]
    pub(crate) fn position(&self) -> u64 {
        self.position
    }

    /// The longest payload of one record with `tag`, in bytes.
    #[inline]
    pub(crate) fn max_payload(&self, tag: Tag) -> usize {
        self.ring.max_record_lines() as usize * LINE - header_len(tag)
    }

    /// Lines that may be written now, the one that must follow a record not counted.
    #[inline]
    fn free(&self) -> u64 {
        let following = if fault(Fault::FollowingLineNotFree) { 0 } else { 1 };
        (self.taken + self.ring.lines()).saturating_sub(self.position + following)
    }

    /// Learns how far the consumer is, until `wanted` lines are free or the truth is known.
    fn refresh(&mut self, wanted: u64) -> Result<u64, Damage> {
        // Acquire, both: they pair with the consumer's Release stores in `Consumer::advance` and
        // `Consumer::publish_head`; what was read there may be written over here.
        let head = self.ring.head().load(Ordering::Acquire);
        if head > self.taken && head <= self.position {
            self.taken = head;
        }
        if self.free() < wanted {
            let delivered = self.ring.delivered().load(Ordering::Acquire);
            if delivered > self.position || delivered < self.taken {
                let what = "the delivered position is not between head and tail";
                return Err(Damage { position: delivered, what });
            }
            self.taken = delivered;
        }
        Ok(self.free())
    }

    /// Room for a payload of exactly `len` bytes, or `None` while the ring is too full for it.
    ///
    /// `len` must not be above [`Producer::max_payload`].
    pub(crate) fn room_for(&mut self, len: usize, tag: Tag) -> Result<Option<Room>, Damage> {
        debug_assert!(len <= self.max_payload(tag));
        let lines = (header_len(tag) + len).div_ceil(LINE) as u64;
        let to_end = self.ring.lines_to_end(self.position);
        let padding = if lines > to_end { to_end } else { 0 };
        if self.free() < padding + lines && self.refresh(padding + lines)? < padding + lines {
            return self.check_oldest().map(|()| None);
        }
        if padding > 0 {
            let len = padding as usize * LINE - HEADER;
            self.publish_record(padding, len, 0, Flags::PADDING);
        }
        Ok(Some(self.room(lines, tag)))
    }

    /// The room that is there now without padding, at most that of the longest record; or `None`.
    ///
    /// It may be too small for the value; [`Producer::room_for`] then finds the right one.
    #[inline]
    pub(crate) fn room_now(&mut self, tag: Tag) -> Result<Option<Room>, Damage> {
        // Asking again below an eighth, not at the last line, spares most values a second encoding.
        let enough = (self.ring.lines() / 8).max(1);
        let free = self.free();
        let free = if free < enough { self.refresh(enough)? } else { free };
        let lines =
            free.min(self.ring.lines_to_end(self.position)).min(self.ring.max_record_lines());
        if lines == 0 {
            return self.check_oldest().map(|()| None);
        }
        Ok(Some(self.room(lines, tag)))
    }

    /// Before waiting for room: refuses to wait for a consumer that cannot see the oldest record,
    /// and goes on where that one stands.
    fn check_oldest(&mut self) -> Result<(), Damage> {
        // Relaxed: written by this side or by a predecessor whom `attach` followed.
        let stamp = self.ring.stamp(self.taken).load(Ordering::Relaxed) & !STAMP_FLAGS;
        let seen = self.taken == self.position || stamp == self.taken + 1;
        if seen || self.ring.delivered().load(Ordering::Acquire) != self.taken {
            return Ok(());
        }
        self.position = self.taken;
        let what = "its stamp was overwritten; the values from there on are lost";
        Err(Damage { position: self.taken, what })
    }

    #[inline]
    fn room(&self, lines: u64, tag: Tag) -> Room {
        let header = header_len(tag);
        Room {
            offset: self.ring.offset(self.position) + header,
            len: lines as usize * LINE - header,
        }
    }

    /// Writes a payload into `room`. Nothing is published yet.
    #[inline]
    pub(crate) fn fill<R>(&self, room: Room, write: impl FnOnce(&mut Writer<'_>) -> R) -> R {
        self.ring.segment.write(room.offset, room.len, write)
    }

    /// The first byte of `room`.
    pub(super) fn start_of(&self, room: Room) -> *mut u8 {
        // SAFETY: the room lies within the segment's lines, all of them free; nothing is read or
        // written through the slice itself.
        unsafe { self.ring.segment.lend_mut(room.offset, room.len) }.as_mut_ptr()
    }

    /// Lends the first `len` bytes of `room` as a slice.
    pub(crate) fn lend<R>(&self, room: Room, len: usize, write: impl FnOnce(&mut [u8]) -> R) -> R {
        assert!(len <= room.len, "a lent slice stays within its room");
        // SAFETY: the lines from `position` on are free, so no consumer reads them before the
        // stamp is published, and this producer, the only one, is borrowed by the closure's caller.
        write(unsafe { self.ring.segment.lend_mut(room.offset, len) })
    }

    /// Publishes the record whose payload of `len` bytes stands in the room last given.
    #[inline(always)]
    pub(crate) fn publish(&mut self, len: usize, tag: Tag, flags: Flags) {
        if tag.get() >= WIDE_TAG {
            return self.publish_wide(len, tag, flags);
        }
        let lines = (HEADER + len).div_ceil(LINE) as u64;
        self.publish_record(lines, len, tag.get() as u64, flags);
    }

    #[inline(never)]
    fn publish_wide(&mut self, len: usize, tag: Tag, flags: Flags) {
        let lines = (header_len(tag) + len).div_ceil(LINE) as u64;
        let at = self.ring.offset(self.position) + HEADER;
        self.ring.segment.copy_in(at, &tag.get().to_le_bytes());
        self.publish_record(lines, len + 8, 0, Flags(flags.0 | Flags::WIDE));
    }

    #[inline(always)]
    fn publish_record(&mut self, lines: u64, len: usize, tag: u64, flags: Flags) {
        let word = len as u64 | tag << 32 | u64::from(flags.0) << 56;
        let at = self.ring.offset(self.position) + 8;
        if fault(Fault::StampBeforeHeader) {
            self.ring.stamp(self.position).store(flags.stamp(self.position), Ordering::Release);
        }
        point!("publish.encoded");
        self.ring.segment.copy_in(at, &word.to_le_bytes());
        point!("publish.header");
        // Relaxed: ordered before the stamp by the stamp's Release; the consumer looks at this line
        // only after it has seen that stamp.
        if !fault(Fault::NextStampNotCleared) {
            self.ring.stamp(self.position + lines).store(0, Ordering::Relaxed);
        }
        point!("publish.cleared");
        // Release: pairs with the consumer's Acquire load in `Consumer::stamped` and a successor's
        // in `attach`; header, payload and the cleared stamp are seen by whoever sees this one.
        let order =
            if fault(Fault::StampStoreRelaxed) { Ordering::Relaxed } else { Ordering::Release };
        self.ring.stamp(self.position).store(flags.stamp(self.position), order);
        point!("publish.stamped");
        self.position += lines;
        // NB: the lines that the next record will write, if it is as long, and the one that it has to
        // clear are taken over from the other core now, while nobody waits for them; then its stamp
        // waits for one line and not for all. Measured in a round trip of a small struct: 290 ns
        // without, 230 with.
        let ahead = lines.min(TAKEN_AHEAD).min(self.free().saturating_sub(1));
        for line in 1..=ahead {
            if !fault(Fault::NextStampNotCleared) {
                self.ring.stamp(self.position + line).store(0, Ordering::Relaxed);
            }
        }
    }

    /// Takes back the last record, which nobody was told of.
    pub(crate) fn retract(&mut self, position: u64) {
        if fault(Fault::NotRetracted) {
            return;
        }
        // Relaxed: the consumer finds this record by its descriptor alone, and none was sent.
        point!("retract.before");
        self.ring.stamp(position).store(0, Ordering::Relaxed);
        point!("retract.after");
        self.position = position;
    }
}

/// Bytes in front of the payload.
#[inline]
fn header_len(tag: Tag) -> usize {
    if tag.get() < WIDE_TAG { HEADER } else { HEADER + 8 }
}
