//! By ring: the value is encoded straight into the lane's memory.

use super::queue::message;
use super::{Encode, Sender, State};
use crate::channel::lane_damage;
use crate::codec::{Codec, EncodeError, Raw, Reader, Writer};
use crate::control::ENVELOPE;
use crate::control::links::Proof;
use crate::error::{PIECE, SendError};
use crate::ring::{Damage, Flags, Producer};
use crate::sys::Deadline;
use crate::tag::Tag;

impl<T, C: Codec<T>> Sender<T, C> {
    /// Encodes straight into the ring; returns the encoded length.
    #[inline]
    pub(super) fn send_by_ring(
        &self,
        state: &mut State,
        tag: Tag,
        value: &impl Encode,
        deadline: Deadline,
    ) -> Result<usize, SendError> {
        let room = match self.producer(state).reserve_available(tag) {
            Ok(Some(room)) => room,
            Ok(None) => self.wait_for_producer(state, value, deadline, |producer| {
                producer.reserve_available(tag)
            })?,
            Err(damage) => return Err(self.damaged(damage)),
        };
        let producer = self.producer(state);
        let (len, fits) = producer.fill(room, |writer| self.encode(value, writer))?;
        if fits {
            value.goes_as(Proof::Record(producer.tail()));
            producer.publish(len, tag, Flags::WHOLE);
            return Ok(len);
        }
        if len > producer.max_payload(tag) {
            return self.send_in_fragments(state, tag, value, len, deadline);
        }
        let len = self.fill_exactly(state, tag, value, len, deadline)?;
        let producer = self.producer(state);
        value.goes_as(Proof::Record(producer.tail()));
        producer.publish(len, tag, Flags::WHOLE);
        Ok(len)
    }

    /// Waits for room of the length that a first pass found, and encodes again.
    pub(super) fn fill_exactly(
        &self,
        state: &mut State,
        tag: Tag,
        value: &impl Encode,
        len: usize,
        deadline: Deadline,
    ) -> Result<usize, SendError> {
        let room =
            self.wait_for_producer(state, value, deadline, |producer| producer.reserve(len, tag))?;
        let producer = self.producer(state);
        let (again, fits) = producer.fill(room, |writer| self.encode(value, writer))?;
        if fits { Ok(again) } else { Err(self.changed_length()) }
    }

    /// Encodes a value; returns its length, and whether it fitted.
    #[inline]
    pub(super) fn encode(
        &self,
        value: &impl Encode,
        writer: &mut Writer<'_>,
    ) -> Result<(usize, bool), SendError> {
        let max = usize::try_from(self.control.max_value()).unwrap_or(usize::MAX);
        writer.limit(max.saturating_add(value.head()));
        let encoded = value.encode(writer);
        // Asked first, since a Serialize can go on after an error of its serializer.
        if writer.is_too_long() {
            return Err(self.control.too_long());
        }
        encoded.map_err(|error| self.unencodable(error))?;
        Ok((writer.len(), writer.fits()))
    }

    pub(super) fn producer<'s>(&self, state: &'s mut State) -> &'s mut Producer {
        state.producer.as_mut().expect("a bulk value goes through a ring")
    }

    pub(super) fn wait_for_producer<R>(
        &self,
        state: &mut State,
        value: &impl Encode,
        deadline: Deadline,
        mut look: impl FnMut(&mut Producer) -> Result<Option<R>, Damage>,
    ) -> Result<R, SendError> {
        self.wait(state, deadline, self.local.spin, |sender, state| {
            let room = sender.found_room(look(sender.producer(state)))?;
            if room.is_none() {
                sender.take_replies_for(value, state, deadline)?;
            }
            Ok(room)
        })
    }

    /// Has a value that waits take what came back.
    #[inline]
    pub(super) fn take_replies_for<V: Encode>(
        &self,
        value: &V,
        state: &mut State,
        deadline: Deadline,
    ) -> Result<(), SendError> {
        let (true, Some(replies)) = (V::TAKES_REPLIES, &mut state.replies) else { return Ok(()) };
        let mut accept = |reply: Reader<'_>| -> Option<()> {
            value.take_reply(reply);
            None
        };
        let taken = replies.next(&self.control, self.lane, deadline, &mut accept);
        taken.map(drop).map_err(|damage| self.damaged(damage))
    }

    /// What a look for room found; there is no use in waiting where no receiver will make any.
    pub(super) fn found_room<R>(
        &self,
        room: Result<Option<R>, Damage>,
    ) -> Result<Option<R>, SendError> {
        let room = room.map_err(|damage| self.damaged(damage))?;
        if room.is_none() {
            self.check_not_damaged()?;
            self.claim_again();
        }
        Ok(room)
    }

    /// Makes the lane visible again, if another program wrote over the number of those that are.
    fn claim_again(&self) {
        let control = &self.control;
        if control.claimed() <= self.lane {
            control.claim_lane(self.lane);
            control.notify_receivers();
        }
    }

    #[cold]
    pub(super) fn unencodable(&self, error: EncodeError) -> SendError {
        SendError::Encode { channel: self.control.name(), error }
    }

    #[cold]
    pub(super) fn changed_length(&self) -> SendError {
        self.unencodable(EncodeError::changed_length())
    }

    #[cold]
    pub(in crate::channel) fn damaged(&self, damage: Damage) -> SendError {
        SendError::Corrupt { channel: self.control.name(), what: lane_damage(self.lane, damage) }
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
    /// [`SendError::TooLong`] if `len` is more than goes in one piece (see
    /// [`Options::capacity`](crate::Options::capacity)) or, without rings, its `inline_limit`; else as [`send`](Sender::send).
    pub fn send_with(&self, len: usize, fill: impl FnOnce(&mut [u8])) -> Result<(), SendError> {
        self.told(self.fill_and_send(len, fill))
    }

    fn fill_and_send(&self, len: usize, fill: impl FnOnce(&mut [u8])) -> Result<(), SendError> {
        let (tag, deadline) = (Tag::DEFAULT, Deadline::never());
        let empty = |_: &mut Writer<'_>| Ok(());
        let state = &mut *self.enter()?;
        self.check_receiver()?;
        if let Some(queue) = self.control.queue {
            self.announce_leftover(state, queue, deadline)?;
        }
        let ring = state.producer.as_ref().map(|producer| producer.max_payload(tag) as u64);
        let max = ring.unwrap_or(u64::MAX).min(self.control.max_value());
        if len as u64 > max {
            return Err(match ring {
                Some(ring) if ring == max => {
                    SendError::TooLong { channel: self.control.name(), max, option: PIECE }
                }
                _ => self.control.too_long(),
            });
        }
        if let (None, Some(queue)) = (ring, self.control.queue) {
            let message = message(state);
            message.grow(ENVELOPE + len);
            fill(&mut message.text_mut_full()[ENVELOPE..][..len]);
            let inline = self.inline(state, len);
            self.send_envelope(state, queue, tag, inline, deadline)?;
            return self.sent(len);
        }
        let room =
            self.wait_for_producer(state, &empty, deadline, |producer| producer.reserve(len, tag))?;
        self.producer(state).lend(room, len, fill);
        match self.control.queue {
            None => self.producer(state).publish(len, tag, Flags::WHOLE),
            Some(queue) => {
                self.publish_announced(state, queue, len, tag, Flags::WHOLE, deadline)?;
            }
        }
        self.sent(len)
    }
}
