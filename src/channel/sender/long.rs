//! In fragments, for a task: a value whose bytes are all there goes on whenever there is room.

use std::time::Duration;

use super::{Encode, Sender, State};
use crate::channel::fragmented::Fragmented;
use crate::codec::{Codec, EncodeError, Writer};
use crate::control::lane_word;
use crate::error::SendError;
use crate::ring::Flags;
use crate::sys::{Deadline, Fault, fault};
use crate::tag::Tag;

/// A value that goes in fragments, and how far it is.
pub(super) struct Long {
    bytes: Vec<u8>,
    /// Whether there is something to be done once it has gone.
    pub(super) has_parts: bool,
    /// How many of the bytes have gone.
    sent: usize,
    /// Where the first fragment stands.
    start: Option<u64>,
    /// Which receiver it goes to.
    generation: u64,
    /// Whether the last fragment stands in the ring.
    whole: bool,
}

impl Long {
    pub(super) fn new(bytes: Vec<u8>, has_parts: bool) -> Self {
        Long { bytes, has_parts, sent: 0, start: None, generation: 0, whole: false }
    }
}

impl<T, C: Codec<T>> Sender<T, C> {
    /// The encoded bytes of a value whose length is known, in this process's memory.
    pub(super) fn encode_apart(
        &self,
        value: &impl Encode,
        len: usize,
    ) -> Result<Vec<u8>, SendError> {
        let mut bytes = Vec::new();
        if bytes.try_reserve_exact(len).is_err() {
            return Err(self.unencodable(EncodeError::no_memory(len)));
        }
        bytes.resize(len, 0);
        let (again, fits) = self.encode(value, &mut Writer::new(&mut bytes))?;
        if !fits || again != len {
            return Err(self.changed_length());
        }
        Ok(bytes)
    }

    /// Sends what there is room for, and looks whether all was received.
    ///
    /// # Errors
    /// [`SendError::Full`] if the task has to wait.
    pub(super) fn advance_long(
        &self,
        state: &mut State,
        tag: Tag,
        long: &mut Long,
    ) -> Result<(), SendError> {
        let look = |sender: &Self, state: &mut State| sender.look_at_long(state, tag, long);
        match self.wait::<(), SendError>(state, Deadline::now(), Duration::ZERO, look) {
            Ok(()) => self.sent(long.bytes.len()),
            Err(full @ SendError::Full { .. }) => Err(full),
            // The receiver may hand the value over in this very moment: one of the two wins.
            Err(_) if self.take_long_back(long) => self.sent(long.bytes.len()),
            Err(error) => Err(error),
        }
    }

    fn look_at_long(
        &self,
        state: &mut State,
        tag: Tag,
        long: &mut Long,
    ) -> Result<Option<()>, SendError> {
        let word = Fragmented(self.control.lane_word(self.lane, lane_word::FRAGMENTED));
        if let (Some(start), true) = (long.start, long.whole)
            && word.is_done(start)
        {
            return Ok(Some(()));
        }
        let generation = self.receiver_generation();
        if long.start.is_some() && generation != long.generation && !fault(Fault::LongNotRestarted)
        {
            // Another receiver has come: the first fragments may be lost.
            (long.sent, long.start, long.whole) = (0, None, false);
        }
        while !long.whole {
            let rest = &long.bytes[long.sent..];
            let len = rest.len().min(self.producer(state).fragment_len(tag));
            let Some(room) = self.found_room(self.producer(state).reserve(len, tag))? else {
                return Ok(None);
            };
            let start = *long.start.get_or_insert(self.producer(state).tail());
            if long.sent == 0 {
                long.generation = generation;
                word.open(start);
            }
            let producer = self.producer(state);
            let written = producer.fill(room, |writer| writer.write(&rest[..len]));
            debug_assert!(written.is_ok());
            let last = len == rest.len();
            let flags = Flags::part(long.sent == 0, last);
            match self.control.queue {
                Some(queue) if last => {
                    self.publish_announced(state, queue, len, tag, flags, Deadline::now())?;
                }
                _ => producer.publish(len, tag, flags),
            }
            long.sent += len;
            long.whole = last;
            self.notify_receiver()?;
        }
        self.check_not_damaged()?;
        Ok(long.start.filter(|start| word.is_done(*start)).map(drop))
    }

    /// Takes back a value that is on its way; whether it was received before.
    pub(super) fn take_long_back(&self, long: &Long) -> bool {
        let (Some(start), true) = (long.start, long.whole) else { return false };
        let word = Fragmented(self.control.lane_word(self.lane, lane_word::FRAGMENTED));
        !word.withdraw(start) && word.is_done(start)
    }
}
