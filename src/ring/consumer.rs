//! The side that consumes records.

use std::sync::Arc;

use super::{
    CONSUMED, Damage, FRAGMENT, Flags, HEAD_OUT_OF_RANGE, HEADER, LINE, PADDING, POSITION_LIMIT,
    Record, Ring, RingLayout, STAMP_FLAGS, TrustedPeers,
};
use crate::sys::bytes::Reader;
use crate::sys::{Fault, Ordering, Segment, fault, ordering};
use crate::tag::Tag;

/// The consuming side of a ring: the receiver's, or of a return ring the lane owner's. The role semaphores
/// keep it to one at a time.
pub(crate) struct Consumer {
    ring: Ring,
    /// The end of the longest prefix of consumed records: what the shared head says.
    head: u64,
    /// What the shared hint of the head says: an earlier `head`, or what a predecessor left.
    head_hint: u64,
    /// How many records after `head` were consumed out of order, at most; with 0 none is to be skipped.
    consumed_ahead: usize,
    /// Whether `head` moved since [`Consumer::take_moved`] was last asked.
    moved: bool,
}

/// What the stamp of the oldest record shows, without a look at its header.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Peeked {
    /// A value that is next in turn, or the last fragment of one.
    Value,
    /// Padding, a fragment, or a record that was consumed out of order: [`Consumer::next`] tells which.
    Other,
    /// No record.
    Empty,
}

/// What stands at a position that a descriptor named.
pub(crate) enum Found {
    /// A record that was not consumed.
    Record(Record),
    /// A record that was consumed before.
    Consumed,
    /// No record.
    Nothing,
}

impl Consumer {
    /// Takes the ring over where a predecessor left it.
    pub(crate) fn attach(segment: Arc<Segment>, layout: RingLayout) -> Result<Self, Damage> {
        let ring = Ring::new(segment, layout);
        // Relaxed: a predecessor's store came before it gave up the role, and a role changes hands in
        // the kernel.
        let head = ring.head().load(Ordering::Relaxed);
        let head = if fault(Fault::HeadIgnored) { 0 } else { head };
        if head >= POSITION_LIMIT {
            return Err(Damage { position: head, what: HEAD_OUT_OF_RANGE });
        }
        // Relaxed: a predecessor's, as the head; or whatever was scribbled there, which is written over.
        let head_hint = ring.head_hint().load(Ordering::Relaxed);
        // A predecessor may have consumed records out of order: counting one has them skipped.
        let mut consumer = Consumer { ring, head, head_hint, consumed_ahead: 1, moved: true };
        consumer.publish_head_hint();
        consumer.skip_consumed_ahead();
        Ok(consumer)
    }

    /// The end of the longest prefix of consumed records.
    #[inline]
    pub(crate) fn head(&self) -> u64 {
        self.head
    }

    /// The stamp at `position`, if a record stands there.
    #[inline]
    fn stamped(&self, position: u64) -> Option<u64> {
        // Acquire: pairs with the producer's Release store in `Producer::publish_record`.
        let order = ordering(Ordering::Acquire, Fault::StampLoadRelaxed);
        let stamp = self.ring.stamp(position).load(order);
        (stamp & !STAMP_FLAGS == position + 1).then_some(stamp)
    }

    /// What stands next in turn, by its stamp alone.
    #[inline(always)]
    pub(crate) fn peek(&mut self) -> Peeked {
        match self.stamped(self.head) {
            Some(stamp) if stamp & STAMP_FLAGS == 0 => Peeked::Value,
            Some(_) => Peeked::Other,
            None => {
                self.publish_head_hint();
                Peeked::Empty
            }
        }
    }

    /// The record at which [`Consumer::peek`] saw a value, if it is the whole value.
    #[inline(always)]
    pub(crate) fn peeked_record(&self) -> Option<Record> {
        self.ring.record(self.head).ok().filter(|record| record.flags.is_whole())
    }

    /// The oldest record that was not consumed, or `None` when the ring is empty.
    ///
    /// For rings whose producer retracts no record: a stamp alone says that the header can be read.
    #[inline]
    pub(crate) fn next(&mut self) -> Result<Option<Record>, Damage> {
        // A value that is next in turn, as most are, costs one load.
        if self.stamped(self.head) == Some(self.head + 1) || self.skip_consumed()? {
            self.ring.record(self.head).map(Some)
        } else {
            Ok(None)
        }
    }

    /// Moves the head over padding and over what was consumed out of order; `true` if a record stands
    /// there then.
    pub(crate) fn skip_consumed(&mut self) -> Result<bool, Damage> {
        // Every record takes a line, so as many steps as there are lines suffice, whatever the stamps
        // say.
        for _ in 0..self.ring.lines() {
            let Some(stamp) = self.stamped(self.head) else {
                self.publish_head_hint();
                return Ok(false);
            };
            if stamp & (CONSUMED | PADDING) == 0 {
                return Ok(true);
            }
            let end = self.ring.record(self.head)?.end();
            self.advance(end);
        }
        Ok(false)
    }

    /// Moves the head over what was consumed out of order, and over padding before and between.
    #[inline(always)]
    fn skip_consumed_ahead(&mut self) {
        if self.consumed_ahead > 0 {
            self.skip_out_of_order();
        }
    }

    #[inline(never)]
    fn skip_out_of_order(&mut self) {
        // `next` and `find` report damage; here it only ends the prefix.
        if matches!(self.skip_consumed(), Ok(false)) {
            self.consumed_ahead = 0;
        }
    }

    /// The record at `position`, padding included, and whether it was consumed.
    ///
    /// The caller reached `position` record by record, or has it from a descriptor. A value that is
    /// not below `announced` is left alone: the producer may be retracting it and writing another
    /// over it in this moment.
    pub(crate) fn at(
        &self,
        position: u64,
        announced: u64,
    ) -> Result<Option<(Record, bool)>, Damage> {
        if position < self.head || position - self.head >= self.ring.lines() {
            return Ok(None);
        }
        let Some(stamp) = self.stamped(position) else { return Ok(None) };
        let announced = position < announced || fault(Fault::AnnouncedIgnored);
        if stamp & (CONSUMED | PADDING | FRAGMENT) == 0 && !announced {
            return Ok(None);
        }
        Ok(Some((self.ring.record(position)?, stamp & CONSUMED != 0)))
    }

    /// What stands at a `position` that a descriptor names.
    pub(crate) fn find(&mut self, position: u64) -> Result<Found, Damage> {
        // Padding in front would make a record that is next in order look out of order.
        self.skip_consumed()?;
        if position < self.head {
            return Ok(Found::Consumed);
        }
        Ok(match self.at(position, u64::MAX)? {
            Some((_, true)) => Found::Consumed,
            Some((record, false)) if !record.flags.is_padding() => Found::Record(record),
            _ => Found::Nothing,
        })
    }

    /// Hands the record's payload to `read`.
    #[inline]
    pub(crate) fn read<R>(&self, record: &Record, read: impl FnOnce(Reader<'_>) -> R) -> R {
        self.ring.segment.read(record.payload, record.len, read)
    }

    /// Lends the record's payload as a slice, until it is consumed.
    pub(crate) fn lend(&self, record: &Record, trust: TrustedPeers) -> &[u8] {
        super::lend(&self.ring.segment, record.payload, record.len, trust)
    }

    /// Consumes the record: from here on it counts as handed over.
    #[inline]
    pub(crate) fn consume(&mut self, record: &Record) {
        if record.position == self.head {
            self.consume_next(record.end());
        } else {
            // Relaxed: the flag is for this consumer and its successors, which come by way of the role
            // semaphore; the producer writes over it only when the head has passed it.
            self.ring
                .stamp(record.position)
                .store(record.flags.stamp(record.position) | CONSUMED, Ordering::Relaxed);
            point!("consume.out_of_order");
            self.consumed_ahead += 1;
            self.skip_consumed_ahead();
        }
    }

    /// Consumes the record that is next in turn and ends at `end`.
    #[inline(always)]
    pub(crate) fn consume_next(&mut self, end: u64) {
        self.advance(end);
        self.skip_consumed_ahead();
    }

    #[inline]
    fn advance(&mut self, head: u64) {
        self.head = head;
        self.moved = true;
        // Release: pairs with the producer's Acquire loads in `Producer::refresh` and `attach`;
        // the reads of the payload are done before the lines are written over.
        let order = ordering(Ordering::Release, Fault::HeadRelaxed);
        point!("consume.before");
        self.ring.head().store(head, order);
        point!("consume.head");
        // A hint now and then keeps a busy producer off the head's line.
        if head - self.head_hint >= self.ring.head_interval() {
            self.publish_head_hint();
        }
    }

    #[inline]
    fn publish_head_hint(&mut self) {
        if self.head_hint != self.head {
            self.head_hint = self.head;
            // Release: pairs with the producer's Acquire load in `Producer::refresh`.
            self.ring.head_hint().store(self.head, Ordering::Release);
            point!("consume.head_hint");
        }
    }

    /// Whether room came free since the last call: then a producer that waits has to be woken.
    #[inline]
    pub(crate) fn take_moved(&mut self) -> bool {
        std::mem::take(&mut self.moved)
    }

    /// The records of values that wait in a ring, oldest first, for a party that is not its consumer:
    /// nothing is written. What comes or goes meanwhile is seen or not.
    pub(crate) fn waiting(
        segment: Arc<Segment>,
        layout: RingLayout,
    ) -> impl Iterator<Item = Record> {
        let ring = Ring::new(segment, layout);
        // Relaxed: a record that is read has its stamp's order.
        let start = ring.head().load(Ordering::Relaxed);
        let mut position = start;
        std::iter::from_fn(move || {
            while start < POSITION_LIMIT && position - start < ring.lines() {
                // Acquire: pairs with the producer's Release store in `Producer::publish_record`.
                let stamp = ring.stamp(position).load(Ordering::Acquire);
                if stamp & !STAMP_FLAGS != position + 1 {
                    return None;
                }
                let record = ring.record(position).ok()?;
                position = record.end();
                if stamp & (CONSUMED | PADDING) == 0 {
                    return Some(record);
                }
            }
            None
        })
    }

    /// Where the last records of values wait in a ring, for a party that is not its consumer, and whether
    /// they are whole values.
    pub(crate) fn last_records(
        segment: Arc<Segment>,
        layout: RingLayout,
    ) -> impl Iterator<Item = (u64, bool)> {
        let last = Consumer::waiting(segment, layout).filter(|record| record.flags.is_last());
        last.map(|record| (record.position, record.flags.is_whole()))
    }

    /// Whether a value waits in a ring, in one record or in fragments, for which `counts` says `true`,
    /// for a party that is not its consumer: it gets the positions of the value's first and last record.
    pub(crate) fn holds_value(
        segment: Arc<Segment>,
        layout: RingLayout,
        counts: impl Fn(u64, u64) -> bool,
    ) -> bool {
        let mut start = None;
        Consumer::waiting(segment, layout).any(|record| {
            if record.flags.is_first() {
                start = Some(record.position);
            }
            record.flags.is_last()
                && start.take().is_some_and(|first| counts(first, record.position))
        })
    }
}

impl Ring {
    /// Copies and checks the header of the record whose stamp was seen at `position`.
    #[inline(always)]
    pub(super) fn record(&self, position: u64) -> Result<Record, Damage> {
        let damage = |what| Damage { position, what };
        let offset = self.offset(position);
        let mut word = [0; 8];
        self.segment.copy_out(offset + 8, &mut word);
        let word = u64::from_le_bytes(word);
        let mut len = (word & 0xffff_ffff) as usize;
        let mut tag = (word >> 32 & 0xff_ffff) as i64;
        let flags = Flags((word >> 56) as u8);
        let lines = (HEADER + len).div_ceil(LINE) as u64;
        if lines > self.lines_to_end(position) {
            return Err(damage("its length reaches over the end of the ring"));
        }
        if lines > 1 {
            // NB: measured in calls whose requests and replies take two lines: 346 ns, 378 without.
            self.segment.prefetch(offset + LINE);
        }
        let mut payload = offset + HEADER;
        if flags.is_padding() {
            if flags != Flags::PADDING {
                return Err(damage("it is padding and a value at once"));
            }
            if lines != self.lines_to_end(position) {
                return Err(damage("its padding does not end with the ring"));
            }
            return Ok(Record { position, lines, payload, len, tag: Tag::DEFAULT, flags });
        }
        if lines > self.max_record_lines() {
            return Err(damage("it is longer than a record can be"));
        }
        if flags.0 & Flags::WIDE != 0 {
            if len < 8 {
                return Err(damage("its length does not cover its tag"));
            }
            let mut wide = [0; 8];
            self.segment.copy_out(payload, &mut wide);
            tag = i64::from_le_bytes(wide);
            payload += 8;
            len -= 8;
        }
        if len as u64 > self.layout.max_value {
            return Err(damage("it is longer than the channel's longest value"));
        }
        let tag = Tag::new(tag).ok_or(damage("its tag is not above zero"))?;
        Ok(Record { position, lines, payload, len, tag, flags })
    }
}
