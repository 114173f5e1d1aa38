//! What comes back to a sender: see `returns` for the other side.

use std::mem;

use super::joined::Joined;
use super::sender::{Sender, State};
use crate::codec::{Codec, Reader};
use crate::control::{Control, Slept, lane_word};
use crate::error::{RecvError, SendError};
use crate::ring::{Consumer, Damage, Peeked, Record};
use crate::sys::{Deadline, Fault, Ordering, fault};

/// The taking side of a lane's return ring.
pub(super) struct Answers {
    consumer: Consumer,
    /// Whom answers must be for.
    generation: u64,
    /// The fragments of an answer that were collected so far.
    partial: Option<Joined>,
    /// Memory for the next one.
    spare: Vec<u8>,
}

impl Answers {
    /// Takes the ring over, empty: all that is in it is for former owners of the lane, and would
    /// keep answers for this one out.
    pub(super) fn attach(control: &Control, lane: usize, generation: u64) -> Result<Self, Damage> {
        let layout = control.return_ring_of(lane);
        let mut consumer = Consumer::attach(control.segment.clone(), layout)?;
        while let Some(record) = consumer.next()? {
            consumer.consume(&record);
        }
        Ok(Answers { consumer, generation, partial: None, spare: Vec::new() })
    }

    /// Has `accept` look at answers until it makes something of one, or they run dry; those that it
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
            // For a former owner, or a fragment; none that comes meanwhile need be more.
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
        let goes_on = fault(Fault::HalfAnswerKept) && self.partial.is_some();
        if record.flags.is_first() && !goes_on {
            let before = self.partial.take().map(Joined::into_memory);
            let memory = before.unwrap_or_else(|| mem::take(&mut self.spare));
            self.partial = Some(Joined::begin(memory));
        }
        let Some(mut joined) = self.partial.take() else { return Ok(None) };
        joined.append(taking.consumer, record, control.longest_answer())?;
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

    /// Rings the receiver if it has answers that wait for the room that was just made.
    #[inline]
    fn make_room_known(&mut self, control: &Control, lane: usize) {
        if self.consumer.take_moved() {
            ring_for_waiting(control, lane);
        }
    }
}

/// Rings the receiver if it has answers for this lane that wait.
#[inline]
pub(super) fn ring_for_waiting(control: &Control, lane: usize) {
    control.waker_fence();
    // Relaxed: after the fence; the receiver sets it before it looks after them a last time.
    if control.lane_word(lane, lane_word::ANSWERS_WAIT).load(Ordering::Relaxed) != 0 {
        control.ring(control.items_bell());
    }
}

fn is_for(generation: u64, reader: &mut Reader<'_>) -> bool {
    let address = reader.read_array().map(u64::from_le_bytes);
    address == Ok(generation) || fault(Fault::AnswerNotAddressed)
}

/// Takes an answer, also when decoding it panics: it never comes twice.
struct Taking<'a> {
    consumer: &'a mut Consumer,
    record: &'a Record,
}

impl Drop for Taking<'_> {
    fn drop(&mut self) {
        self.consumer.consume(self.record);
    }
}

impl<T, C: Codec<T>> Sender<T, C> {
    /// Waits until `accept` makes something of an answer. Whenever no receiver is there, `lost`
    /// says whether to go on waiting for the next one; it is over when no answer stands there and
    /// `is_over` said so before the look.
    pub(super) fn accept_back_unless<R>(
        &self,
        deadline: Deadline,
        is_over: impl Fn(&Self) -> bool,
        mut accept: impl FnMut(Reader<'_>) -> Option<R>,
        mut lost: impl FnMut(&Self) -> Result<Lost, RecvError>,
    ) -> Result<R, RecvError> {
        let mut state = self.enter().map_err(back_error)?;
        if state.answers.is_none() {
            return Err(self.no_way_back());
        }
        let look = |sender: &Self, state: &mut State| {
            // Looked at first: an answer that stands there then came before its sender went.
            let is_over = is_over(sender);
            let Some(answers) = &mut state.answers else { return Ok(None) };
            match answers.consumer.peek() {
                Peeked::Empty if is_over => Err(Stop(back_error(sender.disconnected()))),
                Peeked::Empty => Ok(None),
                Peeked::Value | Peeked::Other => Ok(Some(())),
            }
        };
        let mut useless = 0;
        loop {
            let lost = |sender: &Self| lost(sender).map_err(Stop);
            self.wait_or_lose(&mut state, deadline, self.spin, &look, lost)
                .map_err(|Stop(error)| error)?;
            let Some(answers) = state.answers.as_mut() else {
                return Err(self.no_way_back());
            };
            // NB: taken here and not by `look`, since what that finds is handed up through memory.
            let found = answers.next(&self.control, self.lane, deadline, &mut accept);
            let damaged = |damage| back_error(self.damaged(damage));
            if let Some(found) = found.map_err(damaged)? {
                return Ok(found);
            }
            useless += 1;
            if useless > 1 && deadline.has_passed() {
                return Err(super::nothing_came(&self.control, deadline));
            }
        }
    }

    #[cold]
    fn no_way_back(&self) -> RecvError {
        let what = "its header has no rings for answers, which a server's or a mailbox's has: another \
                    program wrote over it";
        RecvError::Corrupt { channel: self.control.name(), what: what.to_owned() }
    }
}

/// What to do while there is no receiver.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Lost {
    /// Stop waiting.
    GiveUp,
    /// Wait for the next one.
    Stay,
}

/// Why waiting for something from the receiver ended.
struct Stop(RecvError);

impl From<SendError> for Stop {
    fn from(error: SendError) -> Self {
        Stop(back_error(error))
    }
}

impl From<Slept> for Stop {
    fn from(slept: Slept) -> Self {
        Stop(slept.into())
    }
}

/// What an error of the sending side means to one who waits for something to come back.
pub(super) fn back_error(error: SendError) -> RecvError {
    match error {
        SendError::Full { channel } => RecvError::Empty { channel },
        SendError::Timeout { channel } => RecvError::Timeout { channel },
        SendError::Removed { channel } => RecvError::Removed { channel },
        SendError::NotWoken { channel, error } => RecvError::NotWoken { channel, error },
        SendError::Reentrant { channel } => RecvError::Reentrant { channel },
        SendError::Forked { channel } => RecvError::Forked { channel },
        SendError::Corrupt { channel, what } => RecvError::Corrupt { channel, what },
        SendError::System { channel, error } => RecvError::System { channel, error },
        SendError::Disconnected { channel }
        | SendError::TooLong { channel, .. }
        | SendError::QueueTooSmall { channel, .. }
        | SendError::NeedsWaiting { channel, .. }
        | SendError::Encode { channel, .. } => RecvError::Disconnected { channel },
    }
}
