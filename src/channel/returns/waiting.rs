//! Replies that wait in this process for room in their lane's ring.

use std::sync::{Arc, PoisonError};

use super::{Due, Reply, ReplyLane, ReplyProducers};
use crate::codec::EncodeError;
use crate::control::lane_word;
use crate::error::SendError;
use crate::ring::Damage;
use crate::sys::{AtomicU64, Deadline, Ordering};
use crate::tag::Tag;

/// What keeping a reply costs beside its bytes.
pub(super) const KEEPING: usize = 128;

/// What became of a reply whose handler waits until it stands in the ring.
///
/// Relaxed, all of it: written and read under the lane's lock.
#[derive(Clone)]
pub(in crate::channel) struct Ticket(Arc<AtomicU64>);

impl Ticket {
    /// Else, it waits, and so many bytes of it went.
    const SENT: u64 = u64::MAX;
    const DROPPED: u64 = u64::MAX - 1;

    pub(super) fn new(sent: bool) -> Self {
        Ticket(Arc::new(AtomicU64::new(if sent { Ticket::SENT } else { 0 })))
    }

    /// What changes when more of it goes.
    pub(super) fn progress(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    pub(super) fn waits(&self) -> bool {
        self.progress() < Ticket::DROPPED
    }

    pub(super) fn was_sent(&self) -> bool {
        self.progress() == Ticket::SENT
    }

    fn becomes(&self, what: u64) {
        self.0.store(what, Ordering::Relaxed);
    }
}

/// A reply that waits for room.
pub(super) struct PendingReply {
    to: u64,
    /// The address and the reply.
    bytes: Vec<u8>,
    /// How much of it went.
    gone: usize,
    due: Option<Due>,
    /// Where its handler waits for it, what tells that.
    ticket: Option<Ticket>,
}

impl PendingReply {
    /// What it takes of the memory for replies whose handlers do not wait until they have gone.
    fn kept(&self) -> usize {
        if self.ticket.is_some() { 0 } else { self.bytes.len() + KEEPING }
    }
}

impl ReplyLane {
    fn push(&mut self, pending: PendingReply) {
        self.kept += pending.kept();
        self.waiting.push_back(pending);
    }

    fn pop(&mut self, becomes: u64) {
        if let Some(waiting) = self.waiting.pop_front() {
            self.kept -= waiting.kept();
            if let Some(ticket) = waiting.ticket {
                ticket.becomes(becomes);
            }
        }
    }

    fn clear(&mut self) {
        while !self.waiting.is_empty() {
            self.pop(Ticket::DROPPED);
        }
    }
}

impl ReplyProducers {
    /// Keeps a reply, to send it behind those that wait already.
    pub(super) fn send_later(
        &self,
        way: &mut ReplyLane,
        lane: usize,
        reply: &Reply<'_>,
        due: Option<Due>,
    ) -> Result<(), SendError> {
        let len = reply.len();
        let limit = self.control.longest_reply().saturating_add(reply.beyond);
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let kept = way.kept.saturating_add(len).saturating_add(KEEPING);
        if way.kept > 0 && kept > limit {
            return Err(SendError::Full { channel: self.control.name() });
        }
        self.put_behind(way, lane, reply, due, None)?;
        // A handler whose reply went here has its thread looked after by the receiver's.
        // Relaxed: it says so before it looks a last time.
        if self.handlers_wait.load(Ordering::Relaxed) != 0 {
            self.notify_receiver();
        }
        Ok(())
    }

    /// Puts a reply behind those that wait already, and sends what has room.
    pub(super) fn put_behind(
        &self,
        way: &mut ReplyLane,
        lane: usize,
        reply: &Reply<'_>,
        due: Option<Due>,
        ticket: Option<Ticket>,
    ) -> Result<(), SendError> {
        let len = reply.len();
        let mut bytes = Vec::new();
        if bytes.try_reserve_exact(len).is_err() {
            return Err(self.unencodable(EncodeError::no_memory(len)));
        }
        bytes.extend_from_slice(&reply.generation.to_le_bytes());
        bytes.extend_from_slice(reply.head);
        bytes.extend_from_slice(reply.value);
        if way.waiting.is_empty() {
            self.waits(lane, true);
        }
        way.push(PendingReply { to: reply.generation, bytes, gone: 0, due, ticket });
        self.forward(way, lane).map_err(|damage| self.damaged(lane, damage))
    }

    /// Takes back a reply that waits, and says whether it had gone already. Of what went in part, the next reply's
    /// first fragment ends it.
    pub(super) fn take_back(&self, way: &mut ReplyLane, lane: usize, ticket: &Ticket) -> bool {
        if ticket.waits() {
            let its = |it: &PendingReply| {
                it.ticket.as_ref().is_some_and(|its| Arc::ptr_eq(&its.0, &ticket.0))
            };
            way.waiting.retain(|it| !its(it));
            if way.waiting.is_empty() {
                self.all_gone(lane);
            }
        }
        ticket.was_sent()
    }

    /// Sends what has room of the replies that wait, and drops them in a lane that is damaged: its sender learns it
    /// when it looks.
    pub(super) fn forward_or_clear(&self, way: &mut ReplyLane, lane: usize) {
        if self.forward(way, lane).is_err() {
            self.drop_all(way, lane);
        }
    }

    fn drop_all(&self, way: &mut ReplyLane, lane: usize) {
        way.clear();
        way.producer = None;
        self.all_gone(lane);
    }

    /// Whether replies wait for room.
    #[inline]
    pub(in crate::channel) fn keeps_replies(&self) -> bool {
        // Relaxed: raised by this process.
        self.waiting_lanes.load(Ordering::Relaxed) != 0
    }

    /// Sends what waited and has room now. `before_sleep`, replies for a sender that was killed are
    /// dropped, which takes a system call.
    #[inline]
    pub(in crate::channel) fn flush(&self, before_sleep: bool) {
        // Looked at again before the receiver sleeps.
        if self.keeps_replies() {
            self.forward_all(before_sleep);
        }
        // Relaxed: a handler that waits says so before it looks a last time, and a waker rings after it has made it so.
        if self.handlers_wait.load(Ordering::Relaxed) != 0 {
            self.wake_handlers(before_sleep);
        }
    }

    #[cold]
    fn forward_all(&self, before_sleep: bool) {
        let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for lane in waiting {
            let mut way = self.way(lane);
            if way.waiting.is_empty() {
                continue;
            }
            if before_sleep && !self.is_owned(lane) {
                self.drop_all(&mut way, lane);
            } else {
                self.forward_or_clear(&mut way, lane);
            }
        }
    }

    fn all_gone(&self, lane: usize) {
        self.control.lane_word(lane, lane_word::REPLIES_WAIT).swap(0, Ordering::Relaxed);
        self.waits(lane, false);
    }

    fn waits(&self, lane: usize, waits: bool) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.retain(|other| *other != lane);
        if waits {
            waiting.push(lane);
        }
        self.waiting_lanes.swap(waiting.len() as u64, Ordering::Relaxed);
    }

    /// When the first of those that wait is late, or of the requests in hand where these are watched.
    pub(in crate::channel) fn next_late(&self) -> Deadline {
        let mut next = Deadline::never();
        if self.keeps_replies() {
            let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner).clone();
            let late = |lane| Some(self.way(lane).waiting.front()?.due?.deadline);
            next = waiting.into_iter().filter_map(late).fold(next, Deadline::earlier);
        }
        if self.watched.load(Ordering::Relaxed) != 0 {
            for lane in 0..self.lanes.len() {
                let way = self.way(lane);
                let deadlines = way.outstanding.iter().map(|(_, due)| due.deadline);
                // What is late already stays in hand.
                let ahead = deadlines.filter(|deadline| !deadline.has_passed());
                next = ahead.fold(next, Deadline::earlier);
            }
        }
        next
    }

    pub(super) fn forward(&self, way: &mut ReplyLane, lane: usize) -> Result<(), Damage> {
        if self.is_busy(way) {
            return Ok(());
        }
        // Before the look for room: a sender that makes some after it sees this and rings.
        self.control.lane_word(lane, lane_word::REPLIES_WAIT).swap(1, Ordering::Relaxed);
        let mut sent = false;
        while let Some(waiting) = way.waiting.front() {
            // The next reply's first fragment ends one of which a part has gone.
            if !self.is_waited_for(lane, waiting.to, waiting.due) {
                way.pop(Ticket::DROPPED);
                continue;
            }
            self.producer(way, lane)?;
            let (Some(producer), Some(waiting)) = (&mut way.producer, way.waiting.front_mut())
            else {
                break;
            };
            let left = &waiting.bytes[waiting.gone..];
            let Some(gone) = producer.send_fragment(Tag::DEFAULT, left, waiting.gone == 0)? else {
                break;
            };
            sent = true;
            waiting.gone += gone;
            if let Some(ticket) = &waiting.ticket {
                ticket.becomes(waiting.gone as u64);
            }
            if waiting.gone == waiting.bytes.len() {
                way.pop(Ticket::SENT);
            }
        }
        if way.waiting.is_empty() {
            self.all_gone(lane);
        }
        if sent {
            self.control.notify(self.control.lane_bell(lane));
        }
        Ok(())
    }
}
