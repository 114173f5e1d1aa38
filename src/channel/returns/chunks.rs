//! A reply that goes into the ring as it is encoded, chunk by chunk, with no lock taken in between.

use std::time::Duration;

use super::{Origin, ReplyLane, ReplyProducers, WAIT_IN_ALL};
use crate::codec::WriteError;
use crate::control::ADDRESS;
use crate::error::SendError;
use crate::ring::Cutter;
use crate::tag::Tag;

/// A reply that goes into the ring as it is encoded.
pub(super) struct ChunkedReply<'a> {
    returns: &'a ReplyProducers,
    to: Origin,
    head: &'a [u8],
    /// What is being written; missing before the first chunk went.
    record: Option<Cutter>,
    /// How long to wait for room.
    left: Duration,
    /// Why no more of it went.
    pub(super) failure: Option<SendError>,
}

impl<'a> ChunkedReply<'a> {
    pub(super) fn new(returns: &'a ReplyProducers, to: Origin, head: &'a [u8]) -> Self {
        ChunkedReply { returns, to, head, record: None, left: WAIT_IN_ALL, failure: None }
    }

    /// Whether a part of it went.
    pub(super) fn has_begun(&self) -> bool {
        self.record.is_some()
    }

    /// Takes what was encoded next.
    pub(super) fn put(&mut self, chunk: &[u8], more: &[u8]) -> Result<(), WriteError> {
        if self.failure.is_none() {
            let returns = self.returns;
            let mut way = returns.way(self.to.lane);
            self.failure = self.write(&mut way, chunk, more).err();
        }
        if self.failure.is_some() { Err(WriteError::Interrupted) } else { Ok(()) }
    }

    fn write(&mut self, way: &mut ReplyLane, chunk: &[u8], more: &[u8]) -> Result<(), SendError> {
        // Encoding may have taken its time.
        self.returns.check(self.to)?;
        if way.closed {
            return Err(SendError::Disconnected { channel: self.returns.control.name() });
        }
        if self.record.is_none() {
            self.begin(way, ADDRESS + self.head.len() + chunk.len() + more.len())?;
            self.append(way, &self.to.generation.to_le_bytes())?;
            self.append(way, self.head)?;
        }
        self.append(way, chunk)?;
        self.append(way, more)
    }

    /// Finds room for the beginning of a reply that has `len` bytes or more.
    fn begin(&mut self, way: &mut ReplyLane, len: usize) -> Result<(), SendError> {
        let returns = self.returns;
        let full = || SendError::Full { channel: returns.control.name() };
        if self.returns.is_busy(way) || !way.waiting.is_empty() {
            return Err(full());
        }
        let (tag, lane) = (Tag::DEFAULT, self.to.lane);
        let damaged = |damage| returns.damaged(lane, damage);
        let producer = returns.producer(way, lane).map_err(damaged)?;
        // All that there is, for what comes behind it.
        let free = producer.reserve_available(tag).map_err(damaged)?;
        let room = match free {
            Some(_) if len > producer.max_payload(tag) => {
                let len = producer.fragment_len(tag);
                Some(returns.find_room(producer, self.to, len, &mut self.left)?)
            }
            Some(room) if room.len >= len => Some(room),
            Some(_) => producer.reserve(len, tag).map_err(damaged)?,
            None => None,
        };
        let room = room.ok_or_else(full)?;
        self.record = Some(Cutter::new(producer, tag, room));
        way.busy = true;
        Ok(())
    }

    fn append(&mut self, way: &mut ReplyLane, bytes: &[u8]) -> Result<(), SendError> {
        let (returns, to) = (self.returns, self.to);
        let record = self.record.as_mut().expect("it has begun");
        let producer = returns.producer(way, to.lane);
        let producer = producer.map_err(|damage| returns.damaged(to.lane, damage))?;
        if !record.goes_on(producer) {
            return Err(SendError::Disconnected { channel: returns.control.name() });
        }
        record.append(producer, bytes, |producer, len| {
            returns.find_room(producer, to, len, &mut self.left)
        })
    }

    /// Sends the rest.
    pub(super) fn finish(&mut self, rest: &[u8]) -> Result<(), SendError> {
        let returns = self.returns;
        let mut way = returns.way(self.to.lane);
        let written = self.write(&mut way, rest, &[]);
        if written.is_ok()
            && let (Some(record), Some(producer)) = (self.record.take(), &mut way.producer)
        {
            record.finish(producer);
            self.end(&mut way);
            drop(way);
            return returns.notify(self.to.lane);
        }
        drop(way);
        written
    }

    /// Has those that came meanwhile go.
    fn end(&self, way: &mut ReplyLane) {
        way.busy = false;
        if !way.closed && !way.waiting.is_empty() {
            // A lane that is damaged is noticed by the receiver.
            let _ = self.returns.forward(way, self.to.lane);
        }
    }
}

impl Drop for ChunkedReply<'_> {
    /// Of a reply that was not sent after all, the next one's first fragment ends what went.
    fn drop(&mut self) {
        if self.record.take().is_some() {
            self.end(&mut self.returns.way(self.to.lane));
        }
    }
}
