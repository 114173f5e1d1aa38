//! The side that takes records.

use std::sync::Arc;

use super::{
    Damage, MARK, PADDING, PIECE, POSITION_LIMIT, Place, Record, Ring, STAMP_FLAGS, TrustedPeers,
};
use crate::sys::bytes::Reader;
use crate::sys::{Fault, Ordering, Segment, fault};

/// The taking side of a ring. There is one at a time; the receiver's role sees to that.
pub(crate) struct Consumer {
    ring: Ring,
    /// The end of the longest prefix of taken records: what the shared `delivered` says.
    position: u64,
    /// What the shared `head` says.
    head: u64,
    /// How many records behind `position` are marked as taken.
    marked: usize,
    /// Whether `delivered` moved since the producer was last looked after.
    moved: bool,
}

/// What a glance at the oldest record shows.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Glance {
    /// A value that is next in turn, or the last fragment of one.
    Value,
    /// Something that takes a longer look: padding, a mark, a fragment.
    Other,
    /// Nothing.
    Nothing,
}

/// What stands at a position that a descriptor named.
pub(crate) enum Found {
    /// A record that waits to be taken.
    Record(Record),
    /// A record that was taken before.
    Taken,
    /// No record.
    Nothing,
}

impl Consumer {
    /// Takes the ring over where a predecessor left it.
    pub(crate) fn attach(segment: Arc<Segment>, place: Place) -> Result<Self, Damage> {
        let ring = Ring::new(segment, place);
        // Relaxed: a predecessor's store came before it gave up the role, and a role changes hands in
        // the kernel.
        let position = ring.delivered().load(Ordering::Relaxed);
        let position = if fault(Fault::DeliveredIgnored) { 0 } else { position };
        if position >= POSITION_LIMIT {
            return Err(Damage { position, what: "the delivered position is out of range" });
        }
        // A predecessor may have left marks: counting one makes the first look skip them.
        let mut consumer = Consumer { ring, position, head: position, marked: 1, moved: true };
        consumer.publish_head();
        consumer.skip_marked();
        Ok(consumer)
    }

    /// How far everything was taken.
    #[inline]
    pub(crate) fn position(&self) -> u64 {
        self.position
    }

    /// The stamp at `position`, if a record stands there.
    #[inline]
    fn stamped(&self, position: u64) -> Option<u64> {
        // Acquire: pairs with the producer's Release store in `Producer::publish_record`.
        let order =
            if fault(Fault::StampLoadRelaxed) { Ordering::Relaxed } else { Ordering::Acquire };
        let stamp = self.ring.stamp(position).load(order);
        (stamp & !STAMP_FLAGS == position + 1).then_some(stamp)
    }

    /// What stands next in turn.
    #[inline(always)]
    pub(crate) fn glance(&mut self) -> Glance {
        match self.stamped(self.position) {
            Some(stamp) if stamp & STAMP_FLAGS == 0 => Glance::Value,
            Some(_) => Glance::Other,
            None => {
                self.publish_head();
                Glance::Nothing
            }
        }
    }

    /// The record at which a glance showed a value, if it is a whole one.
    #[inline(always)]
    pub(crate) fn whole(&self) -> Option<Record> {
        self.ring.record(self.position).ok().filter(|record| record.flags.is_whole())
    }

    /// The oldest record that was not taken, or `None` when the ring has run dry.
    ///
    /// For rings whose records are not taken back: the header is read on the stamp's word.
    #[inline]
    pub(crate) fn next(&mut self) -> Result<Option<Record>, Damage> {
        // A value that is next in turn, as most are, costs one look.
        if self.stamped(self.position) == Some(self.position + 1) || self.skip()? {
            self.ring.record(self.position).map(Some)
        } else {
            Ok(None)
        }
    }

    /// Moves over padding and over what was taken out of turn; whether a record stands behind it.
    fn skip(&mut self) -> Result<bool, Damage> {
        // Every record takes a line, so a lap bounds the search whatever the stamps say.
        for _ in 0..self.ring.lines() {
            let Some(stamp) = self.stamped(self.position) else {
                self.publish_head();
                return Ok(false);
            };
            if stamp & (MARK | PADDING) == 0 {
                return Ok(true);
            }
            let end = self.ring.record(self.position)?.end();
            self.advance(end);
        }
        Ok(false)
    }

    /// Moves over what was taken out of turn, and over padding before and between.
    #[inline(always)]
    fn skip_marked(&mut self) {
        if self.marked > 0 {
            self.skip_some();
        }
    }

    #[inline(never)]
    fn skip_some(&mut self) {
        // Damage is reported by whoever looks for a record; here it only ends the prefix.
        if matches!(self.skip(), Ok(false)) {
            self.marked = 0;
        }
    }

    /// The record at `position`, padding included, and whether it was taken.
    ///
    /// `position` must be one that was reached record by record, or be named by a descriptor. A
    /// value that is not below `announced` is left alone: its sender may be taking it back and
    /// writing another over it in this moment.
    pub(crate) fn at(
        &self,
        position: u64,
        announced: u64,
    ) -> Result<Option<(Record, bool)>, Damage> {
        if position < self.position || position - self.position >= self.ring.lines() {
            return Ok(None);
        }
        let Some(stamp) = self.stamped(position) else { return Ok(None) };
        let told = position < announced || fault(Fault::AnnouncedIgnored);
        if stamp & (MARK | PADDING | PIECE) == 0 && !told {
            return Ok(None);
        }
        Ok(Some((self.ring.record(position)?, stamp & MARK != 0)))
    }

    /// What stands at a `position` that a descriptor names.
    pub(crate) fn find(&mut self, position: u64) -> Result<Found, Damage> {
        // Padding in front would make a record that is next in turn look out of turn.
        self.skip()?;
        if position < self.position {
            return Ok(Found::Taken);
        }
        Ok(match self.at(position, u64::MAX)? {
            Some((_, true)) => Found::Taken,
            Some((record, false)) if !record.flags.is_padding() => Found::Record(record),
            _ => Found::Nothing,
        })
    }

    /// Hands the record's payload to `read`.
    #[inline]
    pub(crate) fn read<R>(&self, record: &Record, read: impl FnOnce(Reader<'_>) -> R) -> R {
        self.ring.segment.read(record.payload, record.len, read)
    }

    /// Lends the record's payload as a slice, until it is taken.
    pub(crate) fn lend(&self, record: &Record, trust: TrustedPeers) -> &[u8] {
        super::lend(&self.ring.segment, record.payload, record.len, trust)
    }

    /// Takes the record: from here on it counts as handed over.
    #[inline]
    pub(crate) fn take(&mut self, record: &Record) {
        if record.position == self.position {
            self.take_next(record.end());
        } else {
            // Relaxed: the mark is for this side and its successors, who come through the role
            // semaphore; the producer writes over it only when `delivered` has passed.
            self.ring
                .stamp(record.position)
                .store(record.flags.stamp(record.position) | MARK, Ordering::Relaxed);
            point!("take.marked");
            self.marked += 1;
            self.skip_marked();
        }
    }

    /// Takes the record that is next in turn and ends at `end`.
    #[inline(always)]
    pub(crate) fn take_next(&mut self, end: u64) {
        self.advance(end);
        self.skip_marked();
    }

    #[inline]
    fn advance(&mut self, to: u64) {
        self.position = to;
        self.moved = true;
        // Release: pairs with the producer's Acquire loads in `Producer::refresh` and `attach`;
        // the reads of the payload are done before the lines are written over.
        let order =
            if fault(Fault::DeliveredRelaxed) { Ordering::Relaxed } else { Ordering::Release };
        point!("take.before");
        self.ring.delivered().store(to, order);
        point!("take.delivered");
        // A publication every eighth of the ring keeps the producer off the line above.
        if to - self.head >= self.ring.lines() / 8 {
            self.publish_head();
        }
    }

    #[inline]
    fn publish_head(&mut self) {
        if self.head != self.position {
            self.head = self.position;
            // Release: pairs with the producer's Acquire load in `Producer::refresh`.
            self.ring.head().store(self.position, Ordering::Release);
            point!("take.head");
        }
    }

    /// Whether room came free since the last call: then a waiting producer must be looked after.
    #[inline]
    pub(crate) fn take_moved(&mut self) -> bool {
        std::mem::take(&mut self.moved)
    }

    /// How many values wait in a ring, for a party that does not take them: nothing is written. What
    /// comes and goes meanwhile is counted or not. `long_waits` says whether a last fragment stands for
    /// a value.
    pub(crate) fn count_values(segment: Arc<Segment>, place: Place, long_waits: bool) -> u64 {
        let ring = Ring::new(segment, place);
        let start = ring.delivered().load(Ordering::Relaxed);
        let (mut position, mut values) = (start, 0);
        while start < POSITION_LIMIT && position - start < ring.lines() {
            // Acquire: pairs with the producer's Release store in `Producer::publish_record`.
            let stamp = ring.stamp(position).load(Ordering::Acquire);
            if stamp & !STAMP_FLAGS != position + 1 {
                break;
            }
            let Ok(record) = ring.record(position) else { break };
            position = record.end();
            let counts = record.flags.is_whole() || record.flags.is_last() && long_waits;
            values += u64::from(stamp & (MARK | PADDING) == 0 && counts);
        }
        values
    }

    /// Whether the record at a position that a descriptor names was taken, for such a party too.
    pub(crate) fn is_taken(segment: Arc<Segment>, place: Place, position: u64) -> bool {
        let ring = Ring::new(segment, place);
        // Relaxed, both: written by the receiver alone, and nothing is read on the strength of it.
        if position < ring.delivered().load(Ordering::Relaxed) {
            return true;
        }
        let stamp = ring.stamp(position).load(Ordering::Relaxed);
        stamp & !STAMP_FLAGS == position.wrapping_add(1) && stamp & MARK != 0
    }

    /// Whether a whole value waits here, be it in one record or in fragments, that `counts`: it is
    /// asked with the positions of the value's first and last record.
    pub(crate) fn holds_value(&self, counts: impl Fn(u64, u64) -> bool) -> bool {
        let mut position = self.position;
        let mut start = None;
        while position - self.position < self.ring.lines() {
            let Some(stamp) = self.stamped(position) else { return false };
            let Ok(record) = self.ring.record(position) else { return false };
            position = record.end();
            if stamp & MARK != 0 || record.flags.is_padding() {
                continue;
            }
            if record.flags.is_first() {
                start = Some(record.position);
            }
            if record.flags.is_last()
                && start.take().is_some_and(|first| counts(first, record.position))
            {
                return true;
            }
        }
        false
    }
}
