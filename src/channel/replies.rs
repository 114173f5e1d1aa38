//! What comes back to a sender: see `returns` for the other side.

use std::mem;

use super::joined::Joined;
use crate::codec::Reader;
use crate::control::{Control, lane_word};
use crate::ring::{Consumer, Damage, Peeked, Record};
use crate::sys::{Deadline, Fault, Ordering, fault};

/// The taking side of a lane's return ring.
pub(super) struct Replies {
    consumer: Consumer,
    /// Whom replies must be for.
    generation: u64,
    /// The fragments of a reply that were collected so far.
    partial: Option<Joined>,
    /// Memory for the next one.
    spare: Vec<u8>,
}

impl Replies {
    /// Takes the ring over, empty: all that is in it is for former owners of the lane, and would
    /// keep replies for this one out.
    pub(super) fn attach(control: &Control, lane: usize, generation: u64) -> Result<Self, Damage> {
        let layout = control.return_ring_of(lane);
        let mut consumer = Consumer::attach(control.segment.clone(), layout)?;
        while let Some(record) = consumer.next()? {
            consumer.consume(&record);
        }
        Ok(Replies { consumer, generation, partial: None, spare: Vec::new() })
    }

    /// What the stamp of the next reply shows.
    #[inline(always)]
    pub(super) fn peek(&mut self) -> Peeked {
        self.consumer.peek()
    }

    /// Has `accept` look at replies until it makes something of one, or they run dry; those that it
    /// makes nothing of are gone.
    pub(super) fn next<R>(
        &mut self,
        control: &Control,
        lane: usize,
        deadline: Deadline,
        accept: &mut impl FnMut(Reader<'_>) -> Option<R>,
    ) -> Result<Option<R>, Damage> {
        let mut useless = 0;
        while let Some(record) = self.consumer.next()? {
            let found = if record.flags.is_whole() {
                self.whole(&record, accept)
            } else {
                self.fragment(control, &record, accept)?
            };
            self.make_room_known(control, lane);
            if found.is_some() {
                return Ok(found);
            }
            // It was for a former owner, refused by `accept`, or completed no reply. As many
            // records as the ring has lines may have stood there at the start; later ones are
            // looked at only until the deadline.
            useless += 1;
            if useless > control.layout().return_lines && deadline.has_passed() {
                break;
            }
        }
        Ok(None)
    }

    #[inline]
    fn whole<R>(
        &mut self,
        record: &Record,
        accept: &mut impl FnMut(Reader<'_>) -> Option<R>,
    ) -> Option<R> {
        let generation = self.generation;
        let taking = Taking { consumer: &mut self.consumer, record };
        taking.consumer.read(record, |mut reader| {
            is_for(generation, &mut reader).then(|| accept(reader)).flatten()
        })
    }

    fn fragment<R>(
        &mut self,
        control: &Control,
        record: &Record,
        accept: &mut impl FnMut(Reader<'_>) -> Option<R>,
    ) -> Result<Option<R>, Damage> {
        let taking = Taking { consumer: &mut self.consumer, record };
        let goes_on = fault(Fault::HalfReplyKept) && self.partial.is_some();
        if record.flags.is_first() && !goes_on {
            let before = self.partial.take().map(Joined::into_memory);
            let memory = before.unwrap_or_else(|| mem::take(&mut self.spare));
            self.partial = Some(Joined::begin(memory));
        }
        let Some(mut joined) = self.partial.take() else { return Ok(None) };
        joined.append(taking.consumer, record, control.longest_reply())?;
        if !record.flags.is_last() {
            self.partial = Some(joined);
            return Ok(None);
        }
        drop(taking);
        let generation = self.generation;
        let found = joined
            .read(|mut reader| is_for(generation, &mut reader).then(|| accept(reader)).flatten());
        if let Some(spare) = joined.into_spare() {
            self.spare = spare;
        }
        Ok(found)
    }

    /// Rings the receiver if it has replies that wait for the room that was just made.
    #[inline]
    fn make_room_known(&mut self, control: &Control, lane: usize) {
        if self.consumer.take_moved() {
            notify_of_room(control, lane);
        }
    }
}

/// Rings the receiver if it has replies for this lane that wait.
#[inline]
pub(super) fn notify_of_room(control: &Control, lane: usize) {
    control.waker_fence();
    // Relaxed: after the fence; the receiver sets it before it looks after them a last time.
    if control.lane_word(lane, lane_word::REPLIES_WAIT).load(Ordering::Relaxed) != 0 {
        control.notify_receivers();
    }
}

fn is_for(generation: u64, reader: &mut Reader<'_>) -> bool {
    let address = reader.read_array().map(u64::from_le_bytes);
    address == Ok(generation) || fault(Fault::ReplyNotAddressed)
}

/// Takes a reply, also when decoding it panics: it never comes twice.
struct Taking<'a> {
    consumer: &'a mut Consumer,
    record: &'a Record,
}

impl Drop for Taking<'_> {
    fn drop(&mut self) {
        self.consumer.consume(self.record);
    }
}
