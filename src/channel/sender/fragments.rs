//! In fragments: a value longer than half the ring.

use super::{Encode, Sender, State};
use crate::channel::fragmented::Fragmented;
use crate::codec::Codec;
use crate::control::links::Proof;
use crate::control::{WaitError, lane_word, word};
use crate::error::SendError;
use crate::ring::{Producer, Reservation};
use crate::sys::{Deadline, Fault, Ordering, fault};
use crate::tag::Tag;

/// Why a value in fragments goes no further.
enum Interrupted {
    /// Another receiver has come: the first fragments may be lost.
    Restart,
    Fail(SendError),
}

impl From<SendError> for Interrupted {
    fn from(error: SendError) -> Self {
        Interrupted::Fail(error)
    }
}

impl From<WaitError> for Interrupted {
    fn from(slept: WaitError) -> Self {
        Interrupted::Fail(slept.into())
    }
}

impl<T, C: Codec<T>> Sender<T, C> {
    /// Sends a value that is longer than half the ring, and waits until it was handed over.
    pub(super) fn send_in_fragments(
        &self,
        state: &mut State,
        tag: Tag,
        value: &impl Encode,
        len: usize,
        deadline: Deadline,
    ) -> Result<usize, SendError> {
        if deadline.is_now() {
            let max = self.producer(state).max_payload(tag);
            return Err(SendError::NeedsWaiting { channel: self.control.name(), len, max });
        }
        let word = Fragmented(self.control.lane_word(self.lane, lane_word::FRAGMENTED));
        value.goes_as(Proof::Long(word.state()));
        self.begin_long();
        loop {
            match self.send_fragments_once(state, tag, value, len, deadline) {
                Ok(()) => return Ok(len),
                // Receivers may come and go, or seem to, for longer than the caller has time.
                Err(Interrupted::Restart) if deadline.has_passed() => {
                    return Err(SendError::Timeout { channel: self.control.name() });
                }
                Err(Interrupted::Restart) => {}
                Err(Interrupted::Fail(error)) => return Err(error),
            }
        }
    }

    fn send_fragments_once(
        &self,
        state: &mut State,
        tag: Tag,
        value: &impl Encode,
        limit: usize,
        deadline: Deadline,
    ) -> Result<(), Interrupted> {
        let generation = self.receiver_generation();
        let long = Fragmented(self.control.lane_word(self.lane, lane_word::FRAGMENTED));
        let mut start = None;
        let streamed = {
            let state = &mut *state;
            let mut streaming = Streaming { producer: state.producer.take(), state };
            let Streaming { state, producer } = &mut streaming;
            let producer = producer.as_mut().expect("fragments go through a ring");
            let mut wait =
                |producer: &mut Producer, len: usize| -> Result<Reservation, Interrupted> {
                    if start.is_some() {
                        self.notify_receiver()?;
                    }
                    let room = self.wait(state, deadline, self.local.spin, |sender, state| {
                        if start.is_some() && sender.receiver_generation() != generation {
                            return Err(Interrupted::Restart);
                        }
                        let room = sender.found_room(producer.reserve(len, tag))?;
                        if room.is_none() {
                            sender.take_replies_for(value, state, deadline)?;
                        }
                        Ok(room)
                    })?;
                    let first = *start.get_or_insert(producer.tail());
                    if first == producer.tail() {
                        long.open(first);
                    }
                    Ok(room)
                };
            producer.stream(tag, limit, &mut wait, |writer| {
                let encoded = value.encode(writer);
                if writer.is_too_long() {
                    return Err(self.changed_length());
                }
                encoded.map_err(|error| self.unencodable(error))
            })?
        };
        streamed.result?;
        let start = start.expect("streaming asks for room at least once");
        let finish = || -> Result<(), Interrupted> {
            match self.control.queue {
                None => self.producer(state).publish(streamed.last, tag, streamed.flags),
                Some(queue) => {
                    let flags = streamed.flags;
                    self.publish_announced(state, queue, streamed.last, tag, flags, deadline)?;
                }
            }
            if streamed.flags.is_whole() {
                return Ok(());
            }
            self.notify_receiver()?;
            self.wait(state, deadline, self.local.spin, |sender, state| {
                if long.is_done(start) {
                    return Ok(Some(()));
                }
                let changed = sender.receiver_generation() != generation;
                if changed && !fault(Fault::LongNotRestarted) {
                    return Err(Interrupted::Restart);
                }
                sender.check_not_damaged()?;
                sender.take_replies_for(value, state, deadline)?;
                Ok(None)
            })
        };
        let mut finish = finish;
        match finish() {
            // The receiver may hand the value over in this very moment: one of the two wins.
            Err(_)
                if !streamed.flags.is_whole() && !long.withdraw(start) && long.is_done(start) =>
            {
                Ok(())
            }
            finished => finished,
        }
    }

    /// A value begins to go in fragments, perhaps several times.
    pub(super) fn begin_long(&self) {
        let number = self.control.lane_word(self.lane, lane_word::LONG_VALUES);
        let begun = number.load(Ordering::Relaxed).wrapping_add(1);
        // Release: pairs with the Acquire in `Sources::long_number`, which sees then what became of the value
        // before.
        number.store(begun, Ordering::Release);
    }

    pub(super) fn receiver_generation(&self) -> u64 {
        // Relaxed: only says that another has come; who has the value is settled in `Fragmented`.
        self.control.word(word::RECEIVER_GENERATION).load(Ordering::Relaxed)
    }
}

/// A state whose producer is out while it streams, so that waiting can use both; it comes back also
/// when encoding the value panics.
struct Streaming<'s> {
    state: &'s mut State,
    producer: Option<Producer>,
}

impl Drop for Streaming<'_> {
    fn drop(&mut self) {
        self.state.producer = self.producer.take();
    }
}
