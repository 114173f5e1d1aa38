//! By queue: the value itself as a message, or the descriptor of a ring record.

use std::mem;
use std::time::Duration;

use super::{Encode, Sender, State, Turn};
use crate::channel::envelope::Envelope;
use crate::channel::space::{self, Place};
use crate::codec::{Codec, Writer};
use crate::control::links::Proof;
use crate::control::{ENVELOPE, lane_word, word};
use crate::error::SendError;
use crate::ring::Flags;
use crate::sys::{
    Deadline, Fault, MessageBuffer, MessageQueue, Ordering, SystemErrorKind, Wait, fault,
};
use crate::tag::Tag;

impl<T, C: Codec<T>> Sender<T, C> {
    /// Sends a small value as a message, a larger one as a record with a descriptor.
    pub(super) fn send_by_queue<V: Encode>(
        &self,
        state: &mut State,
        queue: MessageQueue,
        tag: Tag,
        value: &V,
        deadline: Deadline,
    ) -> Result<usize, SendError> {
        self.announce_leftover(state, queue, deadline)?;
        let layout = *self.control.layout();
        if !layout.sends_inline() || V::IN_RING && layout.has_ring() {
            return self.send_announced(state, queue, tag, value, deadline);
        }
        let message = message(state);
        let text = &mut message.text_mut_full()[ENVELOPE..];
        let (mut len, mut fits) = self.encode(value, &mut Writer::new(text))?;
        if !fits && len <= layout.inline_limit {
            message.grow(ENVELOPE + len);
            let text = &mut message.text_mut_full()[ENVELOPE..];
            (len, fits) = self.encode(value, &mut Writer::new(text))?;
            if !fits {
                return Err(self.changed_length());
            }
        }
        if fits {
            let inline = self.inline(state, len);
            value.goes_as(Proof::Message);
            self.send_envelope(state, queue, tag, inline, deadline)?;
            return Ok(len);
        }
        if !layout.has_ring() {
            return Err(self.control.too_long());
        }
        if len > self.producer(state).max_payload(tag) {
            return self.send_in_fragments(state, tag, value, len, deadline);
        }
        let len = self.fill_exactly(state, tag, value, len, deadline)?;
        value.goes_as(Proof::Record(self.producer(state).tail()));
        self.publish_announced(state, queue, len, tag, Flags::WHOLE, deadline)?;
        Ok(len)
    }

    /// What goes in front of a value of so many bytes that is itself a message.
    pub(super) fn inline(&self, state: &mut State, len: usize) -> Envelope {
        let number = state.messages;
        state.messages = number.wrapping_add(1);
        Envelope::Inline { len, lane: self.lane, generation: self.generation, number }
    }

    /// Sends a value of any length as a record with a descriptor.
    fn send_announced(
        &self,
        state: &mut State,
        queue: MessageQueue,
        tag: Tag,
        value: &impl Encode,
        deadline: Deadline,
    ) -> Result<usize, SendError> {
        let room = self.wait_for_producer(state, value, deadline, |producer| {
            producer.reserve_available(tag)
        })?;
        let producer = self.producer(state);
        let (mut len, fits) = producer.fill(room, |writer| self.encode(value, writer))?;
        if !fits {
            if len > producer.max_payload(tag) {
                return self.send_in_fragments(state, tag, value, len, deadline);
            }
            len = self.fill_exactly(state, tag, value, len, deadline)?;
        }
        value.goes_as(Proof::Record(self.producer(state).tail()));
        self.publish_announced(state, queue, len, tag, Flags::WHOLE, deadline)?;
        Ok(len)
    }

    /// Sends the descriptor that the lane's last owner may not have sent.
    pub(super) fn announce_leftover(
        &self,
        state: &mut State,
        queue: MessageQueue,
        deadline: Deadline,
    ) -> Result<(), SendError> {
        let Some(record) = state.unannounced else { return Ok(()) };
        let descriptor = Envelope::Descriptor { lane: self.lane, position: record.position };
        self.send_envelope(state, queue, record.tag, descriptor, deadline)?;
        self.announce(record.end());
        state.unannounced = None;
        Ok(())
    }

    /// Publishes a record and puts its descriptor on the queue; takes it back if that fails.
    pub(super) fn publish_announced(
        &self,
        state: &mut State,
        queue: MessageQueue,
        len: usize,
        tag: Tag,
        flags: Flags,
        deadline: Deadline,
    ) -> Result<(), SendError> {
        let producer = self.producer(state);
        let position = producer.tail();
        producer.publish(len, tag, flags);
        let end = producer.tail();
        let descriptor = Envelope::Descriptor { lane: self.lane, position };
        let sent = self.send_envelope(state, queue, tag, descriptor, deadline);
        match sent {
            Ok(()) => self.announce(end),
            Err(_) => self.producer(state).retract(position),
        }
        sent
    }

    pub(super) fn announce(&self, end: u64) {
        // Release: pairs with the receiver's Acquire load before it looks behind a record that was
        // announced.
        point!("announce.before");
        self.control.lane_word(self.lane, lane_word::ANNOUNCED).store(end, Ordering::Release);
        point!("announce.after");
    }

    /// Puts the message in the buffer on the queue, with this envelope.
    pub(super) fn send_envelope(
        &self,
        state: &mut State,
        queue: MessageQueue,
        tag: Tag,
        envelope: Envelope,
        deadline: Deadline,
    ) -> Result<(), SendError> {
        let len = self.control.layout().padded(envelope.text_len());
        let message = message(state);
        message.grow(len);
        message.set_type(tag.get());
        message.set_len(len);
        envelope.write(&mut message.text_mut_full()[..ENVELOPE]);
        let bytes = message.text().len() as u64;
        if deadline.is_now()
            && let Turn::Task(place) = &mut state.turn
        {
            let place = place.take();
            self.send_in_tasks_turn(state, queue, bytes, place)?;
        } else if deadline.is_now() {
            // What does not wait has no place in line.
            self.wait::<(), SendError>(state, deadline, Duration::ZERO, |sender, state| {
                let sent =
                    if space::may_try(&sender.control, sender.lane, &mut state.granted, bytes) {
                        sender.try_queue(queue, self::message(state))?
                    } else {
                        sender.try_spare(queue, self::message(state))?
                    };
                Ok(sent.then_some(()))
            })?;
        } else if !space::may_try(&self.control, self.lane, &mut state.granted, bytes)
            || !self.try_queue(queue, self::message(state))?
        {
            self.send_in_turn(state, queue, bytes, deadline)?;
        }
        // Relaxed: a receiver that sees it comes to the queue's lock in the kernel after this message did.
        self.control.word(word::QUEUE_SENDS).fetch_add(1, Ordering::Relaxed);
        point!("send.counted");
        Ok(())
    }

    /// Puts a message on the queue if there is room.
    fn try_queue(&self, queue: MessageQueue, message: &MessageBuffer) -> Result<bool, SendError> {
        let failed = |error| self.control.wait_error(error);
        match queue.send(message, Wait::No) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == SystemErrorKind::WouldBlock => {
                // Its owner may have made the queue smaller than the message: it would wait for ever.
                let capacity = queue.stat().map_err(failed)?.capacity;
                let needed = message.text().len() as u64;
                if needed > capacity {
                    let channel = self.control.name();
                    return Err(SendError::QueueTooSmall { channel, needed, capacity });
                }
                Ok(false)
            }
            Err(error) => Err(failed(error).into()),
        }
    }

    /// Puts a message on the queue if there is more room than those in line need.
    fn try_spare(&self, queue: MessageQueue, message: &MessageBuffer) -> Result<bool, SendError> {
        let bytes = message.text().len() as u64;
        let failed = |error| self.control.wait_error(error);
        let has_spare = || space::has_spare(&self.control, queue, self.lane, bytes);
        // The dead keep their places until a sender looks.
        let spare = has_spare().map_err(failed)?
            || space::forget_dead(&self.control).map_err(failed)? && has_spare().map_err(failed)?;
        if spare { self.try_queue(queue, message) } else { Ok(false) }
    }

    /// Waits in line for room, and puts the message in the buffer on the queue.
    fn send_in_turn(
        &self,
        state: &mut State,
        queue: MessageQueue,
        bytes: u64,
        deadline: Deadline,
    ) -> Result<(), SendError> {
        let mut place = self.stand_in_line(state, bytes)?;
        let (mut parked, mut tried) = (false, true);
        // No spinning: each look is a system call.
        let sent = self.wait::<(), SendError>(state, deadline, Duration::ZERO, |sender, state| {
            if !mem::replace(&mut parked, true) {
                return Ok(None);
            }
            let sent = sender.try_in_turn(state, queue, bytes, &mut place)?;
            tried = sent.is_some();
            Ok(sent.filter(|sent| *sent).map(drop))
        });
        match sent {
            // There may be room that those in line do not need.
            Err(SendError::Timeout { .. })
                if !tried && self.try_spare(queue, message(state))? =>
            {
                Ok(())
            }
            sent => sent,
        }
    }

    /// Takes a place in line. The kernel rings the others if this process dies there.
    fn stand_in_line(&self, state: &mut State, bytes: u64) -> Result<Place, SendError> {
        if !state.armed {
            let armed = space::arm_others(&self.control, self.lane);
            armed.map_err(|error| self.control.wait_error(error))?;
            state.armed = true;
        }
        Ok(Place::take(self.control.clone(), self.lane, bytes))
    }

    /// Asks for room, and puts the message in the buffer on the queue if it is this sender's turn; `false` if
    /// there is no room, and `None` if others are first.
    fn try_in_turn(
        &self,
        state: &mut State,
        queue: MessageQueue,
        bytes: u64,
        place: &mut Place,
    ) -> Result<Option<bool>, SendError> {
        let given = place.ask();
        state.granted = given.unwrap_or(0);
        if given.is_none() {
            if place.takes_free() {
                state.granted = bytes;
            } else if place.yields(
                !mem::replace(&mut state.looked_at_line, true),
                mem::take(&mut state.park_timed_out),
            )? {
                return Ok(None);
            }
        }
        if !self.try_queue(queue, message(state))? {
            state.granted = 0;
            // A sender that filled the queue may have been stopped before it rang.
            if !fault(Fault::FullNotRung) {
                self.notify_receiver()?;
            }
            return Ok(Some(false));
        }
        place.has_sent();
        match state.granted.checked_sub(bytes) {
            Some(left) => state.granted = left,
            None => place.dissolve_line(),
        }
        Ok(Some(true))
    }

    /// Puts the message in the buffer on the queue for a task, if it is its turn: a task that waits keeps its place
    /// in line from one poll to the next.
    fn send_in_tasks_turn(
        &self,
        state: &mut State,
        queue: MessageQueue,
        bytes: u64,
        place: Option<Place>,
    ) -> Result<(), SendError> {
        let mut place = match place {
            Some(place) => place,
            None if space::may_try(&self.control, self.lane, &mut state.granted, bytes)
                && self.try_queue(queue, message(state))? =>
            {
                return Ok(());
            }
            None => self.stand_in_line(state, bytes)?,
        };
        let now = Deadline::now();
        let sent = self.wait::<(), SendError>(state, now, Duration::ZERO, |sender, state| {
            let sent = sender.try_in_turn(state, queue, bytes, &mut place)?;
            Ok(sent.filter(|sent| *sent).map(drop))
        });
        if let Err(SendError::Full { .. }) = sent {
            state.turn = Turn::Task(Some(place));
        }
        sent
    }
}

pub(super) fn message(state: &mut State) -> &mut MessageBuffer {
    state.message.as_mut().expect("a channel with a queue has a message buffer")
}
