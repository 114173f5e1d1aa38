//! One lane, as the receiver sees it.

use std::mem;

use super::Delivery;
use super::joined::{Joined, SPARE};
use crate::codec::{ReadError, Reader};
use crate::control::{Control, Doorbell, lane_word};
use crate::error::RecvError;
use crate::ring::{Consumer, Damage, Found, Peeked, Record, TrustedPeers};
use crate::sys::{Deadline, Fault, Ordering, fault};

/// A claimed lane's ring, and the fragments that were collected from it.
pub(super) struct LaneConsumer {
    lane: usize,
    bell: Doorbell,
    /// Missing before the first look, and while the lane's memory is damaged.
    consumer: Option<Consumer>,
    /// The owner under which damage was found; the next one starts afresh.
    damaged_under: Option<u64>,
    /// How far fragments were looked for, where descriptors decide the order of values. Where there are none
    /// and values are held, the end of the last one.
    scanned: u64,
    partial: Option<Partial>,
    /// A value in fragments that is ready.
    whole: Joined,
    /// Where its first and its last fragment stand, until it is handed over: a look may only have asked
    /// whether there is something.
    ready: Option<(u64, u64)>,
    /// Memory for the next one, and how long the last one was, if not longer than `SPARE`.
    spare: Vec<u8>,
    last_len: usize,
}

/// The fragments of a value that were collected so far.
struct Partial {
    /// Where the first one stood: what the value is known by.
    start: u64,
    joined: Joined,
    /// Where the last fragment stands, once it was seen.
    last: Option<u64>,
}

/// How much one search in a ring looks at: as many records as the ring has lines, which is at least what
/// stood there when the search began, and after that what comes until the caller's deadline.
///
/// Nothing else ends a search in fragments that are written as fast as they are collected.
struct SearchBudget {
    left: u64,
    deadline: Deadline,
}

impl SearchBudget {
    fn new(control: &Control, deadline: Deadline) -> Self {
        SearchBudget { left: control.layout().ring_lines, deadline }
    }

    #[inline]
    fn is_spent(&mut self) -> bool {
        if self.left == 0 {
            return self.deadline.has_passed();
        }
        self.left -= 1;
        false
    }
}

impl LaneConsumer {
    /// The lane starts with the first look at it.
    pub(super) fn new(control: &Control, lane: usize) -> Self {
        LaneConsumer {
            lane,
            bell: control.lane_bell(lane),
            consumer: None,
            damaged_under: None,
            scanned: 0,
            partial: None,
            whole: Joined::default(),
            ready: None,
            spare: Vec::new(),
            last_len: 0,
        }
    }

    fn start(&mut self, control: &Control) -> Result<(), RecvError> {
        let layout = control.ring_of(self.lane);
        let attached = Consumer::attach(control.segment.clone(), layout);
        let consumer = attached.map_err(|damage| self.damaged(control, damage))?;
        self.scanned = consumer.head();
        self.consumer = Some(consumer);
        // A predecessor may have found the ring damaged; this receiver did not.
        control.lane_word(self.lane, lane_word::DAMAGED_GENERATION).swap(0, Ordering::Relaxed);
        self.notify_if_moved(control);
        Ok(())
    }

    /// Reads the lane no more until it has another owner.
    #[cold]
    fn damaged(&mut self, control: &Control, damage: Damage) -> RecvError {
        self.consumer = None;
        self.partial = None;
        self.ready = None;
        let owner = self.generation(control);
        self.damaged_under = Some(owner);
        // The owner must not wait for room, since this receiver makes none. `ring` orders it.
        control.lane_word(self.lane, lane_word::DAMAGED_GENERATION).swap(owner, Ordering::Relaxed);
        control.notify(self.bell);
        event!(
            WARN,
            control,
            lane = self.lane,
            line = damage.position,
            what = damage.what,
            "a lane is damaged, and ignored until another sender owns it"
        );
        RecvError::Corrupt {
            channel: control.name(),
            what: format!(
                "lane {}, line {}: {}; the lane is ignored until another sender owns it",
                self.lane, damage.position, damage.what
            ),
        }
    }

    fn generation(&self, control: &Control) -> u64 {
        control.lane_word(self.lane, lane_word::GENERATION).load(Ordering::Relaxed)
    }

    /// Whether the lane can be used; one that was damaged gets a new start with a new owner.
    #[inline]
    fn usable(&mut self, control: &Control) -> Result<bool, RecvError> {
        if self.consumer.is_some() {
            return Ok(true);
        }
        if !control.layout().has_ring() || self.damaged_under == Some(self.generation(control)) {
            return Ok(false);
        }
        self.start(control)?;
        Ok(true)
    }

    /// Wakes the sender if room came free that it may wait for.
    #[inline]
    pub(super) fn notify_if_moved(&mut self, control: &Control) {
        if self.consumer.as_mut().is_some_and(Consumer::take_moved) {
            control.notify(self.bell);
        }
    }

    /// Wakes the sender, which may wait for more than room.
    pub(super) fn notify(&mut self, control: &Control) {
        if let Some(consumer) = &mut self.consumer {
            consumer.take_moved();
        }
        control.notify(self.bell);
    }

    /// What the stamp of the lane's next record shows.
    #[inline(always)]
    pub(super) fn peek(&mut self) -> Peeked {
        self.consumer.as_mut().map_or(Peeked::Other, Consumer::peek)
    }

    /// The lane's next value, in order.
    #[inline]
    pub(super) fn next(
        &mut self,
        control: &Control,
        deadline: Deadline,
    ) -> Result<Option<Delivery>, RecvError> {
        self.find(control, deadline, |lane| {
            let Some(consumer) = lane.consumer.as_mut() else { return Ok(None) };
            consumer.next()
        })
    }

    /// The lane's next value behind those that are held, in order.
    pub(super) fn next_behind(
        &mut self,
        control: &Control,
        deadline: Deadline,
    ) -> Result<Option<Delivery>, RecvError> {
        self.find(control, deadline, LaneConsumer::next_record_behind)
    }

    /// The first record behind those that are held that was not consumed; what lies before it is passed.
    fn next_record_behind(&mut self) -> Result<Option<Record>, Damage> {
        let Some(consumer) = self.consumer.as_mut() else { return Ok(None) };
        consumer.skip_consumed()?;
        self.scanned = self.scanned.max(consumer.head());
        // No producer takes a record back where there is no queue, and as many steps as the ring has lines are all.
        while let Some((record, consumed)) = consumer.at(self.scanned, u64::MAX)? {
            if !consumed && !record.flags.is_padding() {
                return Ok(Some(record));
            }
            self.scanned = record.end();
        }
        Ok(None)
    }

    /// The value that is whole with one of the records that `next` gives, one after another: parts of a value are
    /// collected meanwhile.
    #[inline]
    fn find(
        &mut self,
        control: &Control,
        deadline: Deadline,
        next: impl FnMut(&mut Self) -> Result<Option<Record>, Damage>,
    ) -> Result<Option<Delivery>, RecvError> {
        if !self.usable(control)? {
            return Ok(None);
        }
        let found = self.find_by(control, deadline, next);
        self.notify_if_moved(control);
        match found {
            Ok(found) => Ok(found),
            Err(damage) => Err(self.damaged(control, damage)),
        }
    }

    #[inline]
    fn find_by(
        &mut self,
        control: &Control,
        deadline: Deadline,
        mut next: impl FnMut(&mut Self) -> Result<Option<Record>, Damage>,
    ) -> Result<Option<Delivery>, Damage> {
        let mut budget = SearchBudget::new(control, deadline);
        while !budget.is_spent() {
            let Some(record) = next(self)? else { return Ok(None) };
            if record.flags.is_whole() {
                return Ok(Some(Delivery::Record { lane: self.lane, record, slot: None }));
            }
            if record.flags.is_last() {
                if let Some(delivery) = self.completed(control, record, None)? {
                    return Ok(Some(delivery));
                }
                self.drop_rest(control, &record);
            } else {
                self.collect_fragment(control, &record)?;
                self.notify_if_moved(control);
            }
        }
        Ok(None)
    }

    /// The record is held: what comes next stands behind it.
    pub(super) fn pass(&mut self, record: &Record) {
        self.scanned = record.end();
    }

    /// Has what is held found again.
    pub(super) fn rewind(&mut self) {
        self.scanned = self.consumer.as_ref().map_or(0, Consumer::head);
    }

    /// Frees what fills the ring behind a value that was held, and wakes the sender.
    pub(super) fn free_padding(&mut self, control: &Control) {
        if let Some(consumer) = &mut self.consumer {
            // What is damaged is found with the next look.
            let _ = consumer.skip_consumed();
        }
        if !fault(Fault::SpaceNotRung) {
            self.notify_if_moved(control);
        }
    }

    /// Collects what waits to be collected, where descriptors decide the order of values.
    pub(super) fn collect(
        &mut self,
        control: &Control,
        deadline: Deadline,
    ) -> Result<(), RecvError> {
        if !self.usable(control)? {
            return Ok(());
        }
        let collected = self.collect_records(control, deadline);
        self.notify_if_moved(control);
        collected.map_err(|damage| self.damaged(control, damage))
    }

    fn collect_records(&mut self, control: &Control, deadline: Deadline) -> Result<(), Damage> {
        // Acquire: pairs with the sender's Release store when it has put a descriptor on the queue.
        // A value behind it may still be retracted, so the search must not pass it.
        let announced = control.lane_word(self.lane, lane_word::ANNOUNCED).load(Ordering::Acquire);
        let mut budget = SearchBudget::new(control, deadline);
        while !budget.is_spent() {
            let Some(consumer) = self.consumer.as_mut() else { return Ok(()) };
            self.scanned = self.scanned.max(consumer.head());
            let Some((record, consumed)) = consumer.at(self.scanned, announced)? else {
                return Ok(());
            };
            if !consumed && !record.flags.is_padding() {
                if record.flags.is_last() {
                    if let (false, Some(partial)) = (record.flags.is_first(), &mut self.partial) {
                        partial.last.get_or_insert(record.position);
                    }
                } else {
                    self.collect_fragment(control, &record)?;
                    self.notify_if_moved(control);
                }
            }
            self.scanned = record.end();
        }
        Ok(())
    }

    fn collect_fragment(&mut self, control: &Control, record: &Record) -> Result<(), Damage> {
        if record.flags.is_first() {
            // Whatever was there before will not be completed: its sender gave up or died.
            let before = self.partial.take().map(|partial| partial.joined.into_memory());
            let memory = before.unwrap_or_else(|| mem::take(&mut self.spare));
            let mut joined = Joined::begin(memory);
            joined.expect(self.last_len);
            self.partial = Some(Partial { start: record.position, joined, last: None });
        }
        let Some(consumer) = self.consumer.as_mut() else { return Ok(()) };
        if let Some(partial) = &mut self.partial {
            partial.joined.append(consumer, record, control.longest_value())?;
        }
        consumer.consume(record);
        Ok(())
    }

    /// The value that ends with `record`, if all its fragments were collected.
    fn completed(
        &mut self,
        control: &Control,
        record: Record,
        slot: Option<usize>,
    ) -> Result<Option<Delivery>, Damage> {
        if let Some((start, last)) = self.ready
            && last == record.position
        {
            return Ok(Some(Delivery::Fragments { lane: self.lane, record, start, slot }));
        }
        // A look back at what was held meets the end of one that its sender gave up: the fragments that were collected
        // since are of another, which stands behind it.
        if self.partial.as_ref().is_some_and(|partial| record.position < partial.start) {
            return Ok(None);
        }
        let (Some(consumer), Some(mut partial)) = (self.consumer.as_mut(), self.partial.take())
        else {
            return Ok(None);
        };
        partial.joined.append(consumer, &record, control.longest_value())?;
        let Partial { start, joined, .. } = partial;
        self.last_len = joined.len().min(SPARE);
        self.whole = joined;
        self.ready = Some((start, record.position));
        Ok(Some(Delivery::Fragments { lane: self.lane, record, start, slot }))
    }

    /// The value that a descriptor names; `None` if it was consumed before or can never be whole.
    pub(super) fn resolve(
        &mut self,
        control: &Control,
        position: u64,
        slot: usize,
    ) -> Result<Option<Delivery>, RecvError> {
        if !self.usable(control)? {
            return Ok(None);
        }
        let resolved = self.resolve_record(control, position, slot);
        self.notify_if_moved(control);
        match resolved {
            Ok(Some(delivery)) => Ok(delivery),
            Ok(None) => Err(RecvError::Corrupt {
                channel: control.name(),
                what: format!(
                    "a descriptor names line {position} of lane {}, where no value is; it was \
                     dropped",
                    self.lane
                ),
            }),
            Err(damage) => Err(self.damaged(control, damage)),
        }
    }

    /// The outer `None` says that there is no such record.
    fn resolve_record(
        &mut self,
        control: &Control,
        position: u64,
        slot: usize,
    ) -> Result<Option<Option<Delivery>>, Damage> {
        let Some(consumer) = self.consumer.as_mut() else { return Ok(None) };
        let record = match consumer.find(position)? {
            Found::Consumed => return Ok(Some(None)),
            Found::Nothing => return Ok(None),
            Found::Record(record) => record,
        };
        if record.flags.is_whole() {
            return Ok(Some(Some(Delivery::Record { lane: self.lane, record, slot: Some(slot) })));
        }
        if !record.flags.is_last() {
            return Ok(None);
        }
        if self.ready.is_some_and(|(_, last)| last == position) {
            // It was held, and is found again.
            return self.completed(control, record, Some(slot)).map(Some);
        }
        // What belongs to this value stands there already.
        self.collect_records(control, Deadline::now())?;
        let belongs = |partial: &Partial| match partial.last {
            Some(last) => last == position,
            None => self.scanned == position,
        };
        if self.partial.as_ref().is_some_and(belongs) {
            return self.completed(control, record, Some(slot)).map(Some);
        }
        self.drop_rest(control, &record);
        Ok(Some(None))
    }

    /// Consumes the last fragment of a value whose others are gone: its sender took it back or starts
    /// again, or a receiver handed it over and died before it could consume the record.
    fn drop_rest(&mut self, control: &Control, record: &Record) {
        self.consume(record);
        // Release: as in `publish_receiver_start`. The sender is rung.
        let receiver_start = control.lane_word(self.lane, lane_word::RECEIVER_START);
        receiver_start.swap(record.end(), Ordering::Release);
        self.notify(control);
    }

    /// Consumes a record: it counts as handed over.
    #[inline]
    pub(super) fn consume(&mut self, record: &Record) {
        if let Some(consumer) = &mut self.consumer {
            consumer.consume(record);
        }
    }

    /// The bytes of a value in fragments that is ready, if there was memory for all of them.
    pub(super) fn whole(&self) -> Result<&[u8], ReadError> {
        self.whole.bytes()
    }

    /// Has the bytes of a value in fragments that is ready read, and perhaps moved out.
    pub(super) fn read_whole<R>(&mut self, read: impl FnOnce(Reader<'_>) -> R) -> R {
        self.whole.read(read)
    }

    /// Gives back the memory of the value in fragments that begins at `start` and was handed over. (One that was held
    /// has none if its sender gave it up and another one is ready.)
    pub(super) fn forget_whole(&mut self, start: u64) {
        if self.ready.is_none_or(|(ready, _)| ready != start) {
            return;
        }
        self.ready = None;
        if let Some(spare) = mem::take(&mut self.whole).into_spare() {
            self.spare = spare;
        }
    }

    /// Reads the encoded bytes of a record that is ready.
    #[inline]
    pub(super) fn read<R>(&self, record: &Record, read: impl FnOnce(Reader<'_>) -> R) -> R {
        match &self.consumer {
            Some(consumer) => consumer.read(record, read),
            // A lane that is given up has nothing ready.
            None => read(Reader::new(&[])),
        }
    }

    /// Lends the encoded bytes of a record that is ready.
    pub(super) fn lend(&self, record: &Record, trust: TrustedPeers) -> &[u8] {
        self.consumer.as_ref().map_or(&[], |consumer| consumer.lend(record, trust))
    }

    /// The value that [`LaneConsumer::peek`] saw.
    #[inline(always)]
    pub(super) fn peeked_record<'i>(&'i mut self, control: &'i Control) -> Option<NextRecord<'i>> {
        let record = self.consumer.as_ref()?.peeked_record()?;
        Some(NextRecord { lane: self, control, record })
    }
}

/// A value in one record that is next in turn. It is handed over when this is dropped, also because
/// decoding it panics: a poisoned value never comes twice.
pub(super) struct NextRecord<'i> {
    lane: &'i mut LaneConsumer,
    control: &'i Control,
    record: Record,
}

impl NextRecord<'_> {
    #[inline(always)]
    pub(super) fn record(&self) -> &Record {
        &self.record
    }

    /// Keeps the value from being handed over here.
    #[inline(always)]
    pub(super) fn keep(self) -> Record {
        let record = self.record;
        mem::forget(self);
        record
    }

    /// Hands the encoded bytes to `read`.
    #[inline(always)]
    pub(super) fn read<R>(&self, read: impl FnOnce(Reader<'_>) -> R) -> R {
        self.lane.read(&self.record, read)
    }
}

impl Drop for NextRecord<'_> {
    #[inline(always)]
    fn drop(&mut self) {
        if let Some(consumer) = &mut self.lane.consumer {
            consumer.consume_next(self.record.end());
        }
        if !fault(Fault::SpaceNotRung) {
            self.lane.notify_if_moved(self.control);
        }
    }
}
