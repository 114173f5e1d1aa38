//! The side that writes records.

use std::sync::Arc;
use std::time::Duration;

use super::{
    CONSUMED, Damage, Flags, HEAD_OUT_OF_RANGE, HEADER, LINE, POSITION_LIMIT, Record, Ring,
    RingLayout, STAMP_FLAGS, WATCHED, WIDE_TAG,
};
use crate::sys::bytes::Writer;
use crate::sys::{Fault, Moment, Ordering, Segment, fault, fence, ordering};
use crate::tag::Tag;

/// How many lines the producer's core fetches from the consumer's before the next record needs them.
const FETCHED_AHEAD: u64 = 4;

/// A record of so many lines is bulk. Streams of values of 200 bytes take 50 ns each through 4 MiB, 77 through
/// 256 KiB.
const BULK_LINES: u64 = 4;

/// In what time long records fill a window, if they are streamed: with 256 KiB, 25 MB a second. Below, large
/// memory gains nothing.
const STREAM_WINDOW: Duration = Duration::from_millis(10);

/// The writing side of a ring: the lane owner's, or of a return ring the receiver's. The role semaphores
/// keep it to one at a time.
pub(crate) struct Producer {
    ring: Ring,
    /// The end of the last record.
    tail: u64,
    /// Lines that will be filled with padding in front of the next record, since a window ended.
    skipped: u64,
    /// The head as it was last read; the shared one may be ahead of it.
    cached_head: u64,
    /// How far it may write, as it has told observers.
    reach: u64,
    /// How far it may write now: what the consumer has left free of that.
    limit: u64,
    /// With fewer free lines than this it asks anew how far it may write.
    enough: u64,
    /// The position from which on the producer asks whether to begin anew at the array's start.
    window_end: u64,
    /// Lines of long records since it asked last, and when that was.
    bulk: u64,
    asked: Moment,
}

/// Free bytes of the ring for the payload of the next record.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reservation {
    pub(super) offset: usize,
    pub(crate) len: usize,
}

impl Reservation {
    /// The `len` bytes of it behind the first `at`.
    pub(crate) fn part(self, at: usize, len: usize) -> Self {
        assert!(at + len <= self.len, "a part stays within its reservation");
        Reservation { offset: self.offset + at, len }
    }
}

impl Producer {
    /// Takes the ring over behind the last record that a predecessor published.
    ///
    /// Also says which record is the last, if it was not consumed: its descriptor may be missing.
    pub(crate) fn attach(
        segment: Arc<Segment>,
        layout: RingLayout,
    ) -> Result<(Self, Option<Record>), Damage> {
        let ring = Ring::new(segment, layout);
        // Acquire: pairs with the consumer's Release store in `Consumer::advance`, so that lines
        // before the head may be written over.
        let order = ordering(Ordering::Acquire, Fault::TakeoverRelaxed);
        let head = ring.head().load(order);
        if head >= POSITION_LIMIT {
            return Err(Damage { position: head, what: HEAD_OUT_OF_RANGE });
        }
        let mut tail = head;
        let mut last = None;
        while tail < head + ring.lines() && !fault(Fault::NoWalk) {
            // Relaxed: a predecessor published before it gave up the lane, and a lane changes hands
            // in the kernel.
            let stamp = ring.stamp(tail).load(Ordering::Relaxed);
            if stamp & !STAMP_FLAGS != tail + 1 {
                break;
            }
            let Ok(record) = ring.record(tail) else {
                // A damaged record is written over, since nothing behind it can be found. The
                // consumer must not come upon it before that. Relaxed: the lane's generation, or
                // the next stamp, carries it to the consumer.
                ring.stamp(tail).store(0, Ordering::Relaxed);
                break;
            };
            tail = record.end();
            if stamp & CONSUMED == 0 && !record.flags.is_padding() {
                last = Some(record);
            }
        }
        let (bulk, asked) = (0, Moment::now());
        let cached_head = head;
        // Relaxed: a predecessor's, as the stamps. What it may have written over is not told anew; and a
        // scribbled one is not believed beyond what it can have been.
        let reach = match WATCHED {
            true => ring.reach().load(Ordering::Relaxed).min(head + ring.lines()),
            false => u64::MAX,
        };
        let (skipped, window_end, limit, enough) = (0, 0, 0, 0);
        let mut producer = Producer {
            ring,
            tail,
            skipped,
            cached_head,
            reach,
            limit,
            enough,
            window_end,
            bulk,
            asked,
        };
        producer.extend_reach(0);
        producer.begin_window();
        Ok((producer, last))
    }

    /// Begins to count anew what goes through a window.
    fn begin_window(&mut self) {
        self.aim_window();
        self.bulk = 0;
        self.asked = Moment::now();
    }

    /// Has the window end with the array's first, or as many lines from here on.
    fn aim_window(&mut self) {
        let RingLayout { lines, window, .. } = self.ring.layout;
        let index = self.ring.index(self.tail);
        let used = if index < window { index } else { 0 };
        self.window_end = if window < lines { self.tail + window - used } else { u64::MAX };
    }

    /// At the end of a window: has the next record, of so many lines or a number not known yet, stand at
    /// the array's start, unless long records are streamed or the consumer has not left room there.
    ///
    /// Nothing is published before that record: a consumer that waits looks only when it comes.
    #[cold]
    #[inline(never)]
    fn end_window(&mut self, lines: u64) -> Result<(), Damage> {
        if self.skipped > 0 {
            return Ok(());
        }
        let RingLayout { window, .. } = self.ring.layout;
        if self.ring.index(self.tail) < window {
            // The array ended meanwhile.
            self.aim_window();
            return Ok(());
        }
        if self.bulk < window / 2 || self.asked.elapsed() >= STREAM_WINDOW {
            if fault(Fault::WindowEndedEarly) {
                self.cached_head = self.tail;
            }
            let rest = self.ring.lines_to_end(self.tail);
            let wanted = rest + lines.max(window / 2);
            if self.room() >= wanted || self.find_head(wanted)? >= wanted {
                self.skipped = rest;
                self.extend_reach(lines);
                return Ok(());
            }
        }
        self.begin_window();
        Ok(())
    }

    /// Goes on where the last record ends after all.
    #[cold]
    fn skip_nothing(&mut self) {
        self.skipped = 0;
        self.begin_window();
    }

    /// The position of the next record.
    #[inline]
    pub(crate) fn tail(&self) -> u64 {
        self.tail + self.skipped
    }

    /// The end of the last record: no later one stands before it.
    pub(crate) fn end(&self) -> u64 {
        self.tail
    }

    /// The longest payload of one record with `tag`, in bytes.
    #[inline]
    pub(crate) fn max_payload(&self, tag: Tag) -> usize {
        self.ring.max_record_lines() as usize * LINE - header_len(tag)
    }

    /// Lines that a record may take now. The line behind it has to be free too and is not counted.
    #[inline]
    fn free(&self) -> u64 {
        self.up_to(self.limit)
    }

    /// Lines that the consumer has left free, as far as is known.
    #[inline]
    fn room(&self) -> u64 {
        self.up_to(self.cached_head + self.ring.lines())
    }

    #[inline]
    fn up_to(&self, limit: u64) -> u64 {
        let following = if fault(Fault::FollowingLineNotFree) { 0 } else { 1 };
        limit.saturating_sub(self.tail() + following)
    }

    /// Finds out whether `wanted` lines are free, and says how many are that may be written.
    fn refresh(&mut self, wanted: u64) -> Result<u64, Damage> {
        if self.room() < wanted {
            self.find_head(wanted)?;
        }
        self.extend_reach(wanted);
        Ok(self.free())
    }

    /// Reads the hint of the head and, if that does not free `wanted` lines, the head itself; how many
    /// lines the consumer has left free.
    fn find_head(&mut self, wanted: u64) -> Result<u64, Damage> {
        // Acquire, both: they pair with the consumer's Release stores in `Consumer::advance` and
        // `Consumer::publish_head_hint`; what the consumer has read may be written over here.
        let hint = self.ring.head_hint().load(Ordering::Acquire);
        if hint > self.cached_head && hint <= self.tail {
            self.cached_head = hint;
        }
        if self.room() < wanted {
            let head = self.ring.head().load(Ordering::Acquire);
            if head > self.tail || head < self.cached_head {
                let what = "the head is not between its earlier value and the tail";
                return Err(Damage { position: head, what });
            }
            self.cached_head = head;
        }
        Ok(self.room())
    }

    /// Tells observers, before it is so, that `wanted` lines may be written over, and as many as the
    /// longest record takes. See `Observer`.
    fn extend_reach(&mut self, wanted: u64) {
        let free_up_to = self.cached_head + self.ring.lines();
        let longest = self.ring.max_record_lines();
        let needed = self.tail() + 1 + wanted.max(longest);
        if self.reach < needed.min(free_up_to) {
            // So many more that it is seldom told.
            self.reach = free_up_to.min(needed + self.ring.head_interval());
            self.ring.reach().store(self.reach, Ordering::Relaxed);
            // Release: pairs with the Acquire fence in `Observer::is_whole`. One that sees what is
            // written after it sees how far that may go.
            fence(Ordering::Release);
        }
        self.limit = free_up_to.min(self.reach);
        // A value whose length is not known yet is encoded once where there is room for the longest.
        let is_short = self.limit < free_up_to;
        self.enough = if is_short { longest } else { self.ring.head_interval().max(1) };
    }

    /// Reserves room for a payload of exactly `len` bytes; `None` while the ring is too full for it.
    ///
    /// `len` must not be above [`Producer::max_payload`].
    pub(crate) fn reserve(&mut self, len: usize, tag: Tag) -> Result<Option<Reservation>, Damage> {
        debug_assert!(len <= self.max_payload(tag));
        let lines = (header_len(tag) + len).div_ceil(LINE) as u64;
        if self.tail >= self.window_end {
            self.end_window(lines)?;
            if self.skipped > 0 && self.free() < lines && self.refresh(lines)? < lines {
                self.skip_nothing();
            }
        }
        let to_end = self.ring.lines_to_end(self.tail());
        let padding = if lines > to_end { to_end } else { 0 };
        if self.free() < padding + lines && self.refresh(padding + lines)? < padding + lines {
            return self.check_oldest().map(|()| None);
        }
        if padding > 0 {
            self.publish_padding(padding);
        }
        Ok(Some(self.reservation(lines, tag)))
    }

    /// Reserves what is free in front of the array's end, at most a record of the longest; `None` if
    /// that is nothing.
    ///
    /// It may be too little for the value; [`Producer::reserve`] is asked for the right length then.
    #[inline]
    pub(crate) fn reserve_available(&mut self, tag: Tag) -> Result<Option<Reservation>, Damage> {
        if self.tail >= self.window_end {
            self.end_window(0)?;
        }
        // Reading the head again before the last line is reached spares most values a second encoding.
        let free = self.free();
        let free = match free < self.enough {
            true => self.refresh(self.ring.head_interval().max(1))?,
            false => free,
        };
        let lines = free.min(self.ring.lines_to_end(self.tail())).min(self.ring.max_record_lines());
        if lines == 0 {
            return self.check_oldest().map(|()| None);
        }
        Ok(Some(self.reservation(lines, tag)))
    }

    /// Before the producer waits for room: refuses to wait for a consumer that cannot see the oldest
    /// record, and goes on where that one stands.
    fn check_oldest(&mut self) -> Result<(), Damage> {
        // Relaxed: this producer wrote it, or a predecessor of which `attach` has read it.
        let stamp = self.ring.stamp(self.cached_head).load(Ordering::Relaxed) & !STAMP_FLAGS;
        let visible = self.cached_head == self.tail || stamp == self.cached_head + 1;
        // Acquire: pairs with the consumer's Release store in `Consumer::advance`.
        if visible || self.ring.head().load(Ordering::Acquire) != self.cached_head {
            return Ok(());
        }
        (self.tail, self.skipped) = (self.cached_head, 0);
        let what = "its stamp was overwritten; the values from there on are lost";
        Err(Damage { position: self.cached_head, what })
    }

    #[inline]
    fn reservation(&self, lines: u64, tag: Tag) -> Reservation {
        let header = header_len(tag);
        Reservation {
            offset: self.ring.offset(self.tail()) + header,
            len: lines as usize * LINE - header,
        }
    }

    /// Writes a payload into the reservation. Nothing is published yet.
    #[inline]
    pub(crate) fn fill<R>(
        &self,
        reservation: Reservation,
        write: impl FnOnce(&mut Writer<'_>) -> R,
    ) -> R {
        self.ring.segment.write(reservation.offset, reservation.len, write)
    }

    /// The first byte of the reservation.
    pub(super) fn start_of(&self, reservation: Reservation) -> *mut u8 {
        // SAFETY: the reservation lies within the segment's lines, all of them free; nothing is read or
        // written through the slice itself.
        unsafe { self.ring.segment.lend_mut(reservation.offset, reservation.len) }.as_mut_ptr()
    }

    /// Lends the first `len` bytes of the reservation as a slice.
    pub(crate) fn lend<R>(
        &self,
        reservation: Reservation,
        len: usize,
        write: impl FnOnce(&mut [u8]) -> R,
    ) -> R {
        assert!(len <= reservation.len, "a lent slice stays within its reservation");
        // SAFETY: the lines from the tail on are free, so no consumer reads them before the
        // stamp is published, and this producer, the only one, is borrowed by the closure's caller.
        write(unsafe { self.ring.segment.lend_mut(reservation.offset, len) })
    }

    /// Publishes the record whose payload of `len` bytes stands in the last reservation.
    #[inline(always)]
    pub(crate) fn publish(&mut self, len: usize, tag: Tag, flags: Flags) {
        if self.skipped > 0 {
            self.publish_skipped();
        }
        if tag.get() >= WIDE_TAG {
            return self.publish_wide(len, tag, flags);
        }
        let lines = (HEADER + len).div_ceil(LINE) as u64;
        self.publish_record(lines, len, tag.get() as u64, flags);
    }

    /// Fills the array's rest behind a window, before the record that stands at its start already.
    #[cold]
    #[inline(never)]
    fn publish_skipped(&mut self) {
        point!("publish.window");
        self.publish_padding(self.skipped);
        self.skipped = 0;
        self.begin_window();
    }

    /// Fills so many lines, up to the array's end.
    fn publish_padding(&mut self, lines: u64) {
        self.publish_header(lines, lines as usize * LINE - HEADER, 0, Flags::PADDING);
        self.tail += lines;
    }

    #[inline(never)]
    fn publish_wide(&mut self, len: usize, tag: Tag, flags: Flags) {
        let lines = (header_len(tag) + len).div_ceil(LINE) as u64;
        let at = self.ring.offset(self.tail) + HEADER;
        self.ring.segment.copy_in(at, &tag.get().to_le_bytes());
        self.publish_record(lines, len + 8, 0, Flags(flags.0 | Flags::WIDE));
    }

    #[inline(always)]
    fn publish_record(&mut self, lines: u64, len: usize, tag: u64, flags: Flags) {
        self.publish_header(lines, len, tag, flags);
        self.tail += lines;
        if lines >= BULK_LINES {
            self.bulk += lines;
        }
        // NB: the stores fetch from the consumer's core the lines that the next record will write, if it
        // is as long, and the one that it has to clear, while no side waits for them; then its stamp
        // waits for one line and not for all. Measured in a round trip of a small struct: 290 ns
        // without, 230 with.
        let ahead = lines.min(FETCHED_AHEAD).min(self.free().saturating_sub(1));
        for line in 1..=ahead {
            if !fault(Fault::NextStampNotCleared) {
                self.ring.stamp(self.tail + line).store(0, Ordering::Relaxed);
            }
        }
    }

    /// Writes the header of the record at the tail, and its stamp.
    #[inline(always)]
    fn publish_header(&self, lines: u64, len: usize, tag: u64, flags: Flags) {
        let word = len as u64 | tag << 32 | u64::from(flags.0) << 56;
        let at = self.ring.offset(self.tail) + 8;
        if fault(Fault::StampBeforeHeader) {
            self.ring.stamp(self.tail).store(flags.stamp(self.tail), Ordering::Release);
        }
        point!("publish.encoded");
        self.ring.segment.copy_in(at, &word.to_le_bytes());
        point!("publish.header");
        // Relaxed: ordered before the stamp by the stamp's Release; the consumer looks at this line
        // only after it has seen that stamp.
        if !fault(Fault::NextStampNotCleared) {
            self.ring.stamp(self.tail + lines).store(0, Ordering::Relaxed);
        }
        point!("publish.cleared");
        // Release: pairs with the Acquire loads in `Consumer::stamped` and `Consumer::waiting`: a
        // side that sees this stamp sees header, payload and the cleared stamp.
        let order = ordering(Ordering::Release, Fault::StampStoreRelaxed);
        self.ring.stamp(self.tail).store(flags.stamp(self.tail), order);
        point!("publish.stamped");
    }

    /// Takes back the last record, at `position`, whose descriptor was not sent.
    pub(crate) fn retract(&mut self, position: u64) {
        if fault(Fault::NotRetracted) {
            return;
        }
        // Relaxed: the consumer finds this record by its descriptor alone, and none was sent.
        point!("retract.before");
        self.ring.stamp(position).store(0, Ordering::Relaxed);
        point!("retract.after");
        self.tail = position;
    }
}

/// Bytes in front of the payload.
#[inline]
fn header_len(tag: Tag) -> usize {
    if tag.get() < WIDE_TAG { HEADER } else { HEADER + 8 }
}
