//! The sending endpoint: which path a value takes, and waiting for room.

use std::cell::{RefCell, RefMut};
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use super::envelope::Envelope;
use super::long::Long;
use super::{Channel, Patience};
use crate::DefaultCodec;
use crate::codec::{Codec, Raw, Writer};
use crate::control::{Control, Doorbell, ENVELOPE, Parked, Slept, lane_word, semaphores, word};
use crate::error::{AttachError, SendError};
use crate::ring::{Consumer, Damage, Flags, Producer, Record, Room, TrustedPeers};
use crate::sys::{
    Fault, MessageBuffer, MessageQueue, Ordering, SystemErrorKind, Wait, fault, fence,
};
use crate::tag::Tag;

/// The sending side of a channel, in one process at one time.
///
/// Each sender owns a lane of the channel; another one comes from
/// [`try_clone`](Sender::try_clone), since lanes can run out. Values of one sender arrive in the
/// order in which they were sent. Methods work through `&self`; a sender can move to another
/// thread, and cannot be shared by two.
///
/// A value whose `send` returned is in the kernel's memory: it is delivered even if this process
/// dies in the next moment.
///
/// ```
/// let (tx, rx) = sysv_channel::channel::<(u64, String)>()?;
/// tx.send(&(7, "seven".to_owned()))?;
/// assert_eq!(rx.recv()?, (7, "seven".to_owned()));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Sender<T, C = DefaultCodec> {
    pub(super) control: Arc<Control>,
    pub(super) lane: usize,
    /// Which owner of the lane this is.
    pub(super) generation: u64,
    bell: Doorbell,
    pub(super) spin: Duration,
    /// Handed on to a receiver that is made from this sender's channel.
    trust: Option<TrustedPeers>,
    state: RefCell<State>,
    value: PhantomData<fn(&T) -> C>,
}

pub(super) struct State {
    producer: Option<Producer>,
    /// The way back from the receiver, if the channel has one.
    pub(super) back: Option<Consumer>,
    /// Where queue messages are made; present if there is a queue.
    message: Option<MessageBuffer>,
    /// A record of the lane's last owner whose descriptor may be missing.
    unannounced: Option<Record>,
    /// Whether the receiver's role was looked at since something last stirred.
    looked_at_receiver: bool,
    /// Whether records were published without ringing.
    must_ring: bool,
}

/// Why a value in fragments goes no further.
enum Stop {
    /// Another receiver has come: the first fragments may be lost.
    Restart,
    Fail(SendError),
}

impl From<Slept> for SendError {
    fn from(slept: Slept) -> Self {
        match slept {
            Slept::Timeout => SendError::Timeout,
            Slept::Removed => SendError::Disconnected,
            Slept::Failed(error) => SendError::System(error),
        }
    }
}

impl From<SendError> for Stop {
    fn from(error: SendError) -> Self {
        Stop::Fail(error)
    }
}

impl From<Slept> for Stop {
    fn from(slept: Slept) -> Self {
        Stop::Fail(slept.into())
    }
}

impl<T, C: Codec<T>> Sender<T, C> {
    /// Takes a free lane of the channel.
    pub(super) fn attach(
        control: Arc<Control>,
        spin: Duration,
        trust: Option<TrustedPeers>,
    ) -> Result<Self, AttachError> {
        if !control.is_ours() {
            return Err(AttachError::Forked);
        }
        let lane = take_free_lane(&control)?;
        let bell = control.lane_bell(lane);
        let mut sender = Sender {
            lane,
            generation: 0,
            bell,
            spin,
            trust,
            state: RefCell::new(State {
                producer: None,
                back: None,
                message: None,
                unannounced: None,
                looked_at_receiver: false,
                must_ring: false,
            }),
            value: PhantomData,
            // From here on dropping the sender gives the lane back.
            control,
        };
        sender.prepare()?;
        Ok(sender)
    }

    fn prepare(&mut self) -> Result<(), AttachError> {
        let control = &self.control;
        let state = self.state.get_mut();
        control.reset_bell(self.bell).map_err(super::attach_error)?;
        if control.layout().has_ring() {
            let place = control.layout().ring(self.lane);
            let (producer, last) = Producer::attach(control.segment.clone(), place)
                .map_err(|damage| AttachError::Corrupt { what: lane_damage(self.lane, damage) })?;
            let announced = control.lane_word(self.lane, lane_word::ANNOUNCED);
            let announced = announced.load(Ordering::Relaxed);
            if control.layout().has_queue() {
                let left = last.filter(|last| last.position >= announced && last.flags.is_last());
                state.unannounced = left.filter(|_| !fault(Fault::LeftoverNotAnnounced));
            }
            // Relaxed: ordered before the generation by its Release. Of a record that stands before
            // this, the receiver knows that its sender is gone.
            let owned_from = control.lane_word(self.lane, lane_word::OWNED_FROM);
            owned_from.store(producer.position(), Ordering::Relaxed);
            state.producer = Some(producer);
        }
        // Release: pairs with the receiver's Acquire load in `Origin`.
        let generation = control.lane_word(self.lane, lane_word::GENERATION);
        self.generation = generation.fetch_add(1, Ordering::Release).wrapping_add(1);
        if control.layout().return_lines > 0 {
            let place = control.layout().return_ring(self.lane);
            let consumer = Consumer::attach(control.segment.clone(), place);
            state.back =
                Some(consumer.map_err(|damage| AttachError::Corrupt {
                    what: lane_damage(self.lane, damage),
                })?);
        }
        if control.layout().has_queue() {
            state.message = Some(MessageBuffer::with_capacity(control.layout().message_len()));
        }
        control.claim_lane(self.lane);
        control.word(word::SENDERS_CAME).swap(1, Ordering::Relaxed);
        control.word(word::SENDER_LEFT).swap(0, Ordering::Relaxed);
        // A predecessor may have died between its message and this.
        control.word(word::EVENTS).fetch_add(1, Ordering::Release);
        Ok(())
    }

    /// Another sender on a lane of its own.
    ///
    /// # Errors
    /// [`AttachError`], as [`Channel::sender`].
    pub fn try_clone(&self) -> Result<Self, AttachError> {
        Sender::attach(self.control.clone(), self.spin, self.trust)
    }

    /// Sends a value, and waits while the channel is full.
    ///
    /// # Errors
    /// [`SendError`]; the value was not sent then.
    #[inline]
    pub fn send(&self, value: &T) -> Result<(), SendError> {
        self.send_value(Tag::DEFAULT, value, Patience::for_ever())
    }

    /// Sends a value if there is room now.
    ///
    /// # Errors
    /// [`SendError::Full`] if there is none; [`SendError::NeedsWaiting`] for a value so long that it
    /// goes in fragments; else as [`send`](Sender::send).
    pub fn try_send(&self, value: &T) -> Result<(), SendError> {
        self.send_value(Tag::DEFAULT, value, Patience::none())
    }

    /// Sends a value, and waits at most `timeout` for room.
    ///
    /// # Errors
    /// [`SendError::Timeout`] if there was none; else as [`send`](Sender::send).
    pub fn send_timeout(&self, value: &T, timeout: Duration) -> Result<(), SendError> {
        self.send_value(Tag::DEFAULT, value, Patience::until(timeout))
    }

    /// Like [`send`](Sender::send), with a tag that the receiver can select by.
    ///
    /// # Errors
    /// As [`send`](Sender::send).
    pub fn send_tagged(&self, tag: Tag, value: &T) -> Result<(), SendError> {
        self.send_value(tag, value, Patience::for_ever())
    }

    /// Like [`try_send`](Sender::try_send), with a tag.
    ///
    /// # Errors
    /// As [`try_send`](Sender::try_send).
    pub fn try_send_tagged(&self, tag: Tag, value: &T) -> Result<(), SendError> {
        self.send_value(tag, value, Patience::none())
    }

    /// Like [`send_timeout`](Sender::send_timeout), with a tag.
    ///
    /// # Errors
    /// As [`send_timeout`](Sender::send_timeout).
    pub fn send_tagged_timeout(
        &self,
        tag: Tag,
        value: &T,
        timeout: Duration,
    ) -> Result<(), SendError> {
        self.send_value(tag, value, Patience::until(timeout))
    }

    /// Sends values one after another, waits while the channel is full, and wakes the receiver once
    /// where one wake-up serves several values. Returns how many were sent.
    ///
    /// ```
    /// let (tx, rx) = sysv_channel::channel::<u32>()?;
    /// assert_eq!(tx.send_all(&[1, 2, 3])?, 3);
    /// assert_eq!(rx.try_iter().collect::<Result<Vec<_>, _>>()?, [1, 2, 3]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`SendError`] for the first value that could not be sent, with nothing sent before it; if
    /// some were sent, their number is returned instead, and sending the next tells why.
    pub fn send_all<'v>(&self, values: impl IntoIterator<Item = &'v T>) -> Result<usize, SendError>
    where
        T: 'v,
    {
        let mut state = self.enter()?;
        let batch = Batch { sender: self, state: &mut state };
        let mut sent = 0;
        for value in values {
            let result = self.send_in(batch.state, Tag::DEFAULT, value, Patience::for_ever(), true);
            match result {
                Ok(()) => sent += 1,
                Err(error) if sent == 0 => return Err(error),
                Err(_) => break,
            }
        }
        batch.state.must_ring = true;
        Ok(sent)
    }

    pub(super) fn enter(&self) -> Result<RefMut<'_, State>, SendError> {
        if !self.control.is_ours() {
            return Err(SendError::Forked);
        }
        self.state.try_borrow_mut().map_err(|_| SendError::Reentrant)
    }

    #[inline]
    fn send_value(&self, tag: Tag, value: &T, patience: Patience) -> Result<(), SendError> {
        let mut state = self.enter()?;
        self.send_in(&mut state, tag, value, patience, false)
    }

    #[inline]
    fn send_in(
        &self,
        state: &mut State,
        tag: Tag,
        value: &T,
        patience: Patience,
        batch: bool,
    ) -> Result<(), SendError> {
        self.check_receiver()?;
        let len = match self.control.queue {
            None => self.send_by_ring(state, tag, value, patience)?,
            Some(queue) => self.send_by_queue(state, queue, tag, value, patience)?,
        };
        self.sent(state, len, batch);
        Ok(())
    }

    /// Refuses to send to a receiver that said goodbye.
    #[inline]
    fn check_receiver(&self) -> Result<(), SendError> {
        // Relaxed: a hint; the semaphore decides.
        if self.control.word(word::RECEIVER_LEFT).load(Ordering::Relaxed) != 0
            && self.receiver_is_gone()?
        {
            return Err(SendError::Disconnected);
        }
        Ok(())
    }

    /// What follows a value that was sent.
    #[inline]
    fn sent(&self, state: &mut State, len: usize, batch: bool) {
        if batch {
            state.must_ring = true;
        } else {
            self.ring_receiver(state);
        }
        self.count(lane_word::SENT_VALUES, 1);
        self.count(lane_word::SENT_BYTES, len as u64);
    }

    #[inline]
    fn ring_receiver(&self, state: &mut State) {
        state.must_ring = false;
        self.control.ring(self.control.items_bell());
    }

    /// Adds to a figure that only this lane's owner writes.
    #[inline]
    fn count(&self, at: usize, more: u64) {
        let word = self.control.lane_word(self.lane, at);
        word.store(word.load(Ordering::Relaxed).wrapping_add(more), Ordering::Relaxed);
    }

    // ------------------------------------------------------------------ ring

    /// Encodes straight into the ring; returns the encoded length.
    #[inline]
    fn send_by_ring(
        &self,
        state: &mut State,
        tag: Tag,
        value: &T,
        patience: Patience,
    ) -> Result<usize, SendError> {
        let room = match self.producer(state).room_now(tag) {
            Ok(Some(room)) => room,
            Ok(None) => {
                self.wait_for_producer(state, patience, |producer| producer.room_now(tag))?
            }
            Err(damage) => return Err(self.damaged(damage)),
        };
        let producer = self.producer(state);
        let (len, fits) = producer.fill(room, |writer| self.encode(value, writer))?;
        if fits {
            producer.publish(len, tag, Flags::WHOLE);
            return Ok(len);
        }
        if len > producer.max_payload(tag) {
            return self.send_in_fragments(state, tag, value, len, patience);
        }
        let len = self.fill_exactly(state, tag, value, len, patience)?;
        self.producer(state).publish(len, tag, Flags::WHOLE);
        Ok(len)
    }

    /// Waits for room of the length that a first pass found, and encodes again.
    fn fill_exactly(
        &self,
        state: &mut State,
        tag: Tag,
        value: &T,
        len: usize,
        patience: Patience,
    ) -> Result<usize, SendError> {
        let room =
            self.wait_for_producer(state, patience, |producer| producer.room_for(len, tag))?;
        let producer = self.producer(state);
        let (again, fits) = producer.fill(room, |writer| self.encode(value, writer))?;
        if fits { Ok(again) } else { Err(changed_length()) }
    }

    /// Encodes a value; returns its length, and whether it fitted.
    #[inline]
    fn encode(&self, value: &T, writer: Writer<'_>) -> Result<(usize, bool), SendError> {
        let max = usize::try_from(self.control.max_value()).unwrap_or(usize::MAX);
        let mut writer = writer.limited(max);
        let encoded = C::encode(value, &mut writer);
        // Asked first, since a Serialize can go on after an error of its serializer.
        if writer.is_too_long() {
            return Err(self.control.too_long());
        }
        encoded?;
        Ok((writer.len(), writer.fits()))
    }

    fn producer<'s>(&self, state: &'s mut State) -> &'s mut Producer {
        state.producer.as_mut().expect("a bulk value goes through a ring")
    }

    fn wait_for_producer<R>(
        &self,
        state: &mut State,
        patience: Patience,
        mut look: impl FnMut(&mut Producer) -> Result<Option<R>, Damage>,
    ) -> Result<R, SendError> {
        self.wait(state, patience, self.spin, |sender, state| {
            look(sender.producer(state)).map_err(|damage| sender.damaged(damage))
        })
    }

    fn damaged(&self, damage: Damage) -> SendError {
        SendError::Corrupt { what: lane_damage(self.lane, damage) }
    }

    // ------------------------------------------------------------------ queue

    /// Sends a small value as a message, a larger one as a record with a descriptor.
    fn send_by_queue(
        &self,
        state: &mut State,
        queue: MessageQueue,
        tag: Tag,
        value: &T,
        patience: Patience,
    ) -> Result<usize, SendError> {
        self.announce_leftover(state, queue, patience)?;
        let layout = *self.control.layout();
        let message = message(state);
        let text = &mut message.text_mut_full()[ENVELOPE..][..layout.inline_limit];
        let (len, fits) = self.encode(value, Writer::new(text))?;
        if fits {
            let inline = Envelope::Inline { len, lane: self.lane, generation: self.generation };
            self.send_envelope(state, queue, tag, inline, patience)?;
            return Ok(len);
        }
        if !layout.has_ring() {
            return Err(self.control.too_long());
        }
        if len > self.producer(state).max_payload(tag) {
            return self.send_in_fragments(state, tag, value, len, patience);
        }
        let len = self.fill_exactly(state, tag, value, len, patience)?;
        self.publish_announced(state, queue, len, tag, Flags::WHOLE, patience)?;
        Ok(len)
    }

    /// Sends the descriptor that the lane's last owner may not have sent.
    fn announce_leftover(
        &self,
        state: &mut State,
        queue: MessageQueue,
        patience: Patience,
    ) -> Result<(), SendError> {
        let Some(record) = state.unannounced else { return Ok(()) };
        let descriptor = Envelope::Descriptor { lane: self.lane, position: record.position };
        self.send_envelope(state, queue, record.tag, descriptor, patience)?;
        self.announce(record.end());
        state.unannounced = None;
        Ok(())
    }

    /// Publishes a record and puts its descriptor on the queue; takes it back if that fails.
    fn publish_announced(
        &self,
        state: &mut State,
        queue: MessageQueue,
        len: usize,
        tag: Tag,
        flags: Flags,
        patience: Patience,
    ) -> Result<(), SendError> {
        let producer = self.producer(state);
        let position = producer.position();
        producer.publish(len, tag, flags);
        let end = producer.position();
        let descriptor = Envelope::Descriptor { lane: self.lane, position };
        let sent = self.send_envelope(state, queue, tag, descriptor, patience);
        match sent {
            Ok(()) => self.announce(end),
            Err(_) => self.producer(state).retract(position),
        }
        sent
    }

    fn announce(&self, end: u64) {
        // Release: pairs with the receiver's Acquire load before it looks behind a record that was
        // announced.
        self.control.lane_word(self.lane, lane_word::ANNOUNCED).store(end, Ordering::Release);
    }

    /// Puts the message in the buffer on the queue, with this envelope.
    fn send_envelope(
        &self,
        state: &mut State,
        queue: MessageQueue,
        tag: Tag,
        envelope: Envelope,
        patience: Patience,
    ) -> Result<(), SendError> {
        let message = message(state);
        message.set_type(tag.get());
        message.set_len(envelope.text_len());
        envelope.write(&mut message.text_mut_full()[..ENVELOPE]);
        if !try_queue(queue, message)? {
            // No spinning: each look is a system call.
            self.wait::<(), SendError>(state, patience, Duration::ZERO, |sender, state| {
                sender.want_queue_space();
                Ok(try_queue(queue, self::message(state))?.then_some(()))
            })?;
        }
        // Release: pairs with the receiver's Acquire load of the count.
        self.control.word(word::EVENTS).fetch_add(1, Ordering::Release);
        Ok(())
    }

    /// Asks the receiver to ring this lane when it has taken a message.
    fn want_queue_space(&self) {
        if fault(Fault::QueueSpaceNotWanted) {
            return;
        }
        let word = self.control.word(word::WANT_QUEUE + self.lane / 64 * 8);
        word.fetch_or(1 << (self.lane % 64), Ordering::Relaxed);
        // SeqCst: pairs with the fence of the receiver between msgrcv and its look at the bitmap.
        fence(Ordering::SeqCst);
    }

    // ------------------------------------------------------------------ fragments

    /// Sends a value that is longer than half the ring, and waits until it was handed over.
    fn send_in_fragments(
        &self,
        state: &mut State,
        tag: Tag,
        value: &T,
        len: usize,
        patience: Patience,
    ) -> Result<usize, SendError> {
        if patience.is_none() {
            let max = self.producer(state).max_payload(tag);
            return Err(SendError::NeedsWaiting { len, max });
        }
        loop {
            match self.send_fragments_once(state, tag, value, len, patience) {
                Ok(()) => return Ok(len),
                Err(Stop::Restart) => {}
                Err(Stop::Fail(error)) => return Err(error),
            }
        }
    }

    fn send_fragments_once(
        &self,
        state: &mut State,
        tag: Tag,
        value: &T,
        limit: usize,
        patience: Patience,
    ) -> Result<(), Stop> {
        let generation = self.receiver_generation();
        let long = Long(self.control.lane_word(self.lane, lane_word::LONG));
        let mut start = None;
        let streamed = {
            let state = &mut *state;
            let mut streaming = Streaming { producer: state.producer.take(), state };
            let Streaming { state, producer } = &mut streaming;
            let producer = producer.as_mut().expect("fragments go through a ring");
            let mut wait = |producer: &mut Producer, len: usize| -> Result<Room, Stop> {
                if start.is_some() {
                    self.ring_receiver(state);
                }
                let room = self.wait(state, patience, self.spin, |sender, _| {
                    if start.is_some() && sender.receiver_generation() != generation {
                        return Err(Stop::Restart);
                    }
                    let room = producer.room_for(len, tag);
                    room.map_err(|damage| sender.damaged(damage).into())
                })?;
                let first = *start.get_or_insert(producer.position());
                if first == producer.position() {
                    long.open(first);
                }
                Ok(room)
            };
            producer.stream(tag, limit, &mut wait, |writer| {
                let encoded = C::encode(value, writer);
                if writer.is_too_long() {
                    return Err(changed_length());
                }
                encoded.map_err(SendError::Encode)
            })?
        };
        streamed.result?;
        let start = start.expect("streaming asks for room at least once");
        let finish = || -> Result<(), Stop> {
            match self.control.queue {
                None => self.producer(state).publish(streamed.last, tag, streamed.flags),
                Some(queue) => {
                    let flags = streamed.flags;
                    self.publish_announced(state, queue, streamed.last, tag, flags, patience)?;
                }
            }
            if streamed.flags.is_whole() {
                return Ok(());
            }
            self.ring_receiver(state);
            self.wait(state, patience, self.spin, |sender, _| {
                if long.is_done(start) {
                    return Ok(Some(()));
                }
                let changed = sender.receiver_generation() != generation;
                if changed && !fault(Fault::LongNotRestarted) {
                    return Err(Stop::Restart);
                }
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

    fn receiver_generation(&self) -> u64 {
        // Acquire: pairs with the Release in the receiver's attaching.
        self.control.word(word::RECEIVER_GENERATION).load(Ordering::Acquire)
    }

    // ------------------------------------------------------------------ waiting

    /// Looks until there is something, the patience ends or the receiver is gone.
    pub(super) fn wait<R, E: From<SendError> + From<Slept>>(
        &self,
        state: &mut State,
        patience: Patience,
        spin: Duration,
        mut look: impl FnMut(&Self, &mut State) -> Result<Option<R>, E>,
    ) -> Result<R, E> {
        if let Some(found) = look(self, state)? {
            return Ok(found);
        }
        if patience.is_none() {
            let gone = self.receiver_is_gone()?;
            return Err(if gone { SendError::Disconnected } else { SendError::Full }.into());
        }
        if state.must_ring {
            self.ring_receiver(state);
        }
        if let Some(found) = Control::spin(spin, patience.deadline(), || look(self, state))? {
            return Ok(found);
        }
        loop {
            self.count(lane_word::PARKS, 1);
            let parked = self.control.park(self.bell, patience.deadline(), || {
                if let Some(found) = look(self, state)? {
                    return Ok(Some(found));
                }
                if !state.looked_at_receiver {
                    if self.receiver_is_gone()? {
                        return Err(E::from(SendError::Disconnected));
                    }
                    state.looked_at_receiver = true;
                }
                Ok(None)
            })?;
            match parked {
                Parked::Found(found) => return Ok(found),
                Parked::Rung => {}
                Parked::Stirred => state.looked_at_receiver = false,
            }
            self.count(lane_word::WAKEUPS, 1);
        }
    }

    /// Whether a receiver has come and none is attached now.
    pub(super) fn receiver_is_gone(&self) -> Result<bool, SendError> {
        if self.control.header.durable || !self.control.receiver_came() {
            return Ok(false);
        }
        match self.control.has_receiver() {
            Ok(there) => Ok(!there),
            Err(error) => Err(Slept::from(error).into()),
        }
    }

    /// The channel that this sender belongs to.
    pub fn channel(&self) -> Channel<T, C> {
        Channel::from_control(self.control.clone(), self.spin, self.trust)
    }
}

impl<T> Sender<T, Raw>
where
    Raw: Codec<T>,
{
    /// Sends `len` bytes that `fill` writes straight into the channel's memory, and waits while
    /// there is no room.
    ///
    /// The slice holds old bytes at first, and all of it is sent.
    ///
    /// ```
    /// use sysv_channel::Channel;
    /// use sysv_channel::codec::{Bytes, Raw};
    ///
    /// let frames = Channel::<Bytes, Raw>::options().inline_limit(0).private()?;
    /// let (tx, rx) = (frames.sender()?, frames.receiver()?);
    /// tx.send_with(1000, |bytes| bytes.fill(7))?;
    /// assert_eq!(rx.recv()?.len(), 1000);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`SendError::TooLong`] if `len` is more than goes in one piece, half the channel's capacity
    /// or, without rings, its `inline_limit`; else as [`send`](Sender::send).
    pub fn send_with(&self, len: usize, fill: impl FnOnce(&mut [u8])) -> Result<(), SendError> {
        let (tag, patience) = (Tag::DEFAULT, Patience::for_ever());
        let state = &mut *self.enter()?;
        self.check_receiver()?;
        if let Some(queue) = self.control.queue {
            self.announce_leftover(state, queue, patience)?;
        }
        let ring = state.producer.as_ref().map(|producer| producer.max_payload(tag) as u64);
        let max = ring.unwrap_or(u64::MAX).min(self.control.max_value());
        if len as u64 > max {
            return Err(SendError::TooLong { max });
        }
        if let (None, Some(queue)) = (ring, self.control.queue) {
            fill(&mut message(state).text_mut_full()[ENVELOPE..][..len]);
            let inline = Envelope::Inline { len, lane: self.lane, generation: self.generation };
            self.send_envelope(state, queue, tag, inline, patience)?;
            self.sent(state, len, false);
            return Ok(());
        }
        let room =
            self.wait_for_producer(state, patience, |producer| producer.room_for(len, tag))?;
        self.producer(state).lend(room, len, fill);
        match self.control.queue {
            None => self.producer(state).publish(len, tag, Flags::WHOLE),
            Some(queue) => {
                self.publish_announced(state, queue, len, tag, Flags::WHOLE, patience)?;
            }
        }
        self.sent(state, len, false);
        Ok(())
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

/// Rings at the end of a batch, also when the values' iterator panics.
struct Batch<'a, T, C: Codec<T>> {
    sender: &'a Sender<T, C>,
    state: &'a mut State,
}

impl<T, C: Codec<T>> Drop for Batch<'_, T, C> {
    fn drop(&mut self) {
        if self.state.must_ring {
            self.sender.ring_receiver(self.state);
        }
    }
}

fn message(state: &mut State) -> &mut MessageBuffer {
    state.message.as_mut().expect("a channel with a queue has a message buffer")
}

/// Puts a message on the queue if there is room.
fn try_queue(queue: MessageQueue, message: &MessageBuffer) -> Result<bool, SendError> {
    match queue.send(message, Wait::No) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == SystemErrorKind::WouldBlock => {
            // Somebody may have made the queue smaller than the message: it would wait for ever.
            let capacity = queue.stat().map_err(Slept::from)?.capacity;
            if message.text().len() as u64 > capacity {
                return Err(SendError::TooLong { max: capacity.saturating_sub(ENVELOPE as u64) });
            }
            Ok(false)
        }
        Err(error) => Err(Slept::from(error).into()),
    }
}

pub(super) fn changed_length() -> SendError {
    SendError::Encode(crate::codec::EncodeError::new(
        "the value was longer when it was encoded a second time: its Serialize must give the same \
         bytes for the same value",
    ))
}

pub(super) fn lane_damage(lane: usize, damage: Damage) -> String {
    format!("lane {lane}, line {}: {}", damage.position, damage.what)
}

/// Takes the first free lane.
fn take_free_lane(control: &Control) -> Result<usize, AttachError> {
    let lanes = control.layout().lanes;
    let values = control.set.values().map_err(super::attach_error)?;
    for lane in 0..lanes {
        let free = values.get(usize::from(semaphores::lane_role(lane))) == Some(&0);
        if free && semaphores::take_lane(control.set, lane).map_err(super::attach_error)? {
            return Ok(lane);
        }
    }
    Err(AttachError::LanesExhausted { lanes })
}

impl<T, C> Drop for Sender<T, C> {
    fn drop(&mut self) {
        if !self.control.is_ours() {
            return;
        }
        // The hint comes before the role is given up, so that it is there when the bell rings.
        self.control.word(word::SENDER_LEFT).swap(1, Ordering::Relaxed);
        // A set that is gone needs no goodbye.
        let _ = semaphores::release_lane(self.control.set, self.lane);
    }
}

impl<T, C> fmt::Debug for Sender<T, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender")
            .field("channel", &self.control.header.name)
            .field("lane", &self.lane)
            .finish()
    }
}
