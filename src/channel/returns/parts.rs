//! Parts of a reply that is a stream: they go while their caller takes them.
//!
//! A part has gone once all of it stands in the ring, where it outlives this process. One that may not go yet is its
//! handler's to keep, and so is one that goes piece by piece: it lies with the replies that wait, in their order,
//! and its handler waits for it (`Ticket`). Behind each part stays room for the stream's end, which then
//! waits for nothing.
//!
//! A handler that waits is woken by the receiver's thread,
//! which is rung by the caller and looks after all that wait whenever it looks for values; the handler on that
//! very thread waits at the receiver's bell itself.

use std::sync::Arc;
use std::sync::PoisonError;
use std::task::Waker;
use std::time::Duration;

use super::waiting::Ticket;
use super::{Due, Origin, Reply, ReplyLane, ReplyProducers};
use crate::channel::calls::credit;
use crate::control::{ADDRESS, End, Listener, Look, Waiter, lane_word};
use crate::error::{RecvError, SendError};
use crate::ring::LINE;
use crate::sys::thread::{Parker, current_id};
use crate::sys::{Deadline, Ordering, fence};
use crate::tag::Tag;
use crate::transfer::Refusal;

/// The room that the end of a stream takes, with what stands in front.
const END_LEN: usize = ADDRESS + 16;

/// How long a handler on another thread than the receiver's first waits before it looks for itself, in case that
/// thread does something else. Each time it takes twice as long.
const FIRST_NAP: Duration = Duration::from_millis(1);
const LONGEST_NAP: Duration = Duration::from_millis(100);

/// A stream of replies, as its handler sends it.
#[derive(Clone, Copy)]
pub(crate) struct Stream {
    /// The caller's slot: see `calls::credit`.
    pub(crate) slot: usize,
    /// How much was sent.
    pub(crate) sent: u64,
}

impl Stream {
    /// A part of so many bytes was sent.
    pub(in crate::channel) fn count(&mut self, len: usize) {
        self.sent = self.sent.wrapping_add(credit::charge(len));
    }
}

/// A stream that waits until more of it may go.
#[derive(Clone)]
pub(in crate::channel) struct Waiting {
    pub(in crate::channel) to: Origin,
    pub(in crate::channel) due: Due,
    pub(in crate::channel) stream: Stream,
    /// Its next part, if it waits for room already.
    pub(in crate::channel) part: Option<Ticket>,
}

/// What became of a part.
pub(in crate::channel) enum PartSent {
    /// All of it stands in the ring.
    Gone,
    /// It may not go yet.
    No(PartWait),
    /// It lies with the replies that wait for room, and is to be waited for.
    Waits(Ticket),
}

/// Such a stream whose handler waits on another thread than the receiver's.
pub(super) struct WaitingHandler {
    it: Waiting,
    /// Whether the receiver was closed when the handler last looked.
    closed: bool,
    waker: Waker,
    /// Whether it was woken since it last looked.
    woken: bool,
}

/// How waiting for a caller to take parts ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum PartWait {
    /// The next part may go, as far as is known.
    Room,
    /// The caller takes no more.
    Gone,
    /// The deadline passed.
    Late,
    /// The receiver was closed, and the handler has not been told.
    Closed,
}

impl ReplyProducers {
    /// Whether the next part may go now, or has gone: `Late` if it has to wait.
    fn look_at(&self, it: &Waiting) -> PartWait {
        let lane = it.to.lane;
        if let Some(part) = &it.part {
            let mut way = self.way(lane);
            if part.waits() && !way.closed {
                self.forward_or_clear(&mut way, lane);
            }
            return match part.waits() {
                true if way.closed || self.is_ahead(it).is_none() => PartWait::Gone,
                true => PartWait::Late,
                false if part.was_sent() => self.look_for_end(&mut way, lane),
                false => PartWait::Gone,
            };
        }
        match self.is_ahead(it) {
            Some(true) => PartWait::Late,
            Some(false) if !self.way(lane).closed => PartWait::Room,
            _ => PartWait::Gone,
        }
    }

    /// Whether the caller is behind with the stream; `None` if it reads it no more.
    fn is_ahead(&self, it: &Waiting) -> Option<bool> {
        let Waiting { to, due, stream, .. } = it;
        if !self.is_waited_for(to.lane, to.generation, Some(*due)) {
            return None;
        }
        let window = credit::window(&self.control);
        credit::is_ahead(&self.control, to.lane, stream.slot, due.call, stream.sent, window)
    }

    /// Behind a part that has gone: `Room` if there is some for the end of its stream.
    fn look_for_end(&self, way: &mut ReplyLane, lane: usize) -> PartWait {
        if way.closed || !way.waiting.is_empty() || self.is_busy(way) || self.has_room(way, lane) {
            return PartWait::Room;
        }
        // Before the second look: a sender that makes room after it sees this and rings.
        self.control.lane_word(lane, lane_word::REPLIES_WAIT).swap(1, Ordering::Relaxed);
        // SeqCst: pairs with `notify_of_room`.
        fence(Ordering::SeqCst);
        if self.has_room(way, lane) { PartWait::Room } else { PartWait::Late }
    }

    fn has_room(&self, way: &mut ReplyLane, lane: usize) -> bool {
        let room = self.producer(way, lane).and_then(|it| it.reserve(END_LEN, Tag::DEFAULT));
        // A lane that is damaged has nothing to wait for.
        room.map_or(true, |room| room.is_some())
    }

    /// Sends a part of a stream, if one may go now. Counts it.
    ///
    /// One that does not go at once is put behind the replies that wait if the call `waits`.
    pub(in crate::channel) fn send_part(
        &self,
        to: Origin,
        head: &[u8],
        value: &[u8],
        due: Due,
        stream: &mut Stream,
        waits: bool,
    ) -> Result<PartSent, SendError> {
        self.check(to)?;
        if value.len() as u64 > self.max_value() {
            return Err(self.too_long());
        }
        match self.look_at(&Waiting { to, due, stream: *stream, part: None }) {
            PartWait::Room => {}
            wait => return Ok(PartSent::No(wait)),
        }
        let reply = Reply { generation: to.generation, head, value, beyond: 0 };
        let sent = self.put_part(to, &reply, due, waits);
        let gone = match &sent {
            Ok(sent) => matches!(sent, PartSent::Gone),
            Err(error) => error.was_sent(),
        };
        if gone {
            stream.count(value.len());
        }
        sent
    }

    fn put_part(
        &self,
        to: Origin,
        reply: &Reply<'_>,
        due: Due,
        waits: bool,
    ) -> Result<PartSent, SendError> {
        let (mut way, lane) = (self.way(to.lane), to.lane);
        // Once more: it may have waited for the lock.
        self.check(to)?;
        if way.closed {
            return Err(SendError::Disconnected { channel: self.control.name() });
        }
        let (tag, len) = (Tag::DEFAULT, reply.len());
        let producer = self.producer(&mut way, lane).map_err(|it| self.damaged(lane, it))?;
        let longest = producer.max_payload(tag);
        if len > longest && !waits {
            let (channel, len) = (self.control.name(), reply.value.len());
            return Err(SendError::NeedsWaiting {
                channel,
                len,
                max: longest - (reply.len() - len),
            });
        }
        if way.waiting.is_empty() && !self.is_busy(&way) {
            if len <= longest {
                let behind = (len + END_LEN + LINE).min(longest);
                let room = self.producer(&mut way, lane).and_then(|it| it.reserve(behind, tag));
                if room.map_err(|damage| self.damaged(lane, damage))?.is_some() {
                    return match self.send_now(&mut way, lane, reply) {
                        Err(SendError::Full { .. }) => Ok(PartSent::No(PartWait::Late)),
                        sent => sent.map(|_| PartSent::Gone),
                    };
                }
            } else if self.stream(&mut way, to, reply)? {
                return Ok(match self.has_room(&mut way, lane) {
                    true => PartSent::Gone,
                    false => PartSent::Waits(Ticket::new(true)),
                });
            }
        }
        if !waits {
            return Ok(PartSent::No(PartWait::Late));
        }
        let ticket = Ticket::new(false);
        self.put_behind(&mut way, lane, reply, Some(due), Some(ticket.clone()))?;
        Ok(PartSent::Waits(ticket))
    }

    /// Gives up waiting for a part; says whether it has gone nevertheless.
    pub(in crate::channel) fn end_wait(&self, to: Origin, part: &Ticket) -> bool {
        self.take_back(&mut self.way(to.lane), to.lane, part)
    }

    /// Waits until the next part may go, or has gone. Ends with `Closed` when the receiver is
    /// closed, unless the handler knows.
    pub(in crate::channel) fn await_part(
        self: &Arc<Self>,
        it: Waiting,
        until: Deadline,
        knows_closed: bool,
    ) -> PartWait {
        let until = until.earlier(it.due.deadline);
        // Relaxed: the thread that last received is this one, or another.
        if self.receiving.load(Ordering::Relaxed) == current_id() {
            self.await_part_here(it, until, knows_closed)
        } else {
            self.await_part_beside(it, until, knows_closed)
        }
    }

    /// On the receiver's thread, in its place.
    fn await_part_here(&self, it: Waiting, until: Deadline, knows_closed: bool) -> PartWait {
        let mut waiter = PartWaiter { returns: self, it, knows_closed };
        match self.control.wait(until, self.spin, &mut waiter) {
            Ok(ended) => ended,
            Err(RecvError::Timeout { .. }) => PartWait::Late,
            // It was removed, which the next part tells.
            Err(_) => PartWait::Gone,
        }
    }

    /// On any other thread: the receiver's wakes it.
    fn await_part_beside(&self, it: Waiting, until: Deadline, knows_closed: bool) -> PartWait {
        let parker = Parker::new();
        let (waker, closed) = (parker.waker(), knows_closed);
        let progress = || it.part.as_ref().map(Ticket::progress);
        let (mut nap, mut before) = (FIRST_NAP, progress());
        self.change_handlers(|handlers| {
            handlers.push(WaitingHandler {
                it: it.clone(),
                closed,
                waker: waker.clone(),
                woken: false,
            });
        });
        let ended = loop {
            credit::says_that_parts_wait(&self.control, it.to.lane);
            match self.look_at(&it) {
                PartWait::Late if !self.is_owned(it.to.lane) => break PartWait::Gone,
                PartWait::Late if !knows_closed && self.is_receiver_closed() => {
                    break PartWait::Closed;
                }
                PartWait::Late if !until.has_passed() => {
                    // Nothing comes between this and the park: what wakes it after this ends that.
                    if !self.was_woken(waker) {
                        parker.park(if cfg!(loom) {
                            until
                        } else {
                            until.earlier(Deadline::after(nap))
                        });
                    }
                    let now = progress();
                    nap = if now == before { LONGEST_NAP.min(2 * nap) } else { FIRST_NAP };
                    before = now;
                }
                ended => break ended,
            }
        };
        self.change_handlers(|handlers| handlers.retain(|it| !it.waker.will_wake(waker)));
        ended
    }

    /// Whether a handler was woken since this was last asked.
    fn was_woken(&self, waker: &Waker) -> bool {
        let mut handlers = self.waiting_handlers();
        let me = handlers.iter_mut().find(|it| it.waker.will_wake(waker));
        me.is_some_and(|me| std::mem::take(&mut me.woken))
    }

    fn change_handlers(&self, change: impl FnOnce(&mut Vec<WaitingHandler>)) {
        let mut handlers = self.waiting_handlers();
        change(&mut handlers);
        self.handlers_wait.swap(handlers.len() as u64, Ordering::Relaxed);
    }

    fn waiting_handlers(&self) -> impl std::ops::DerefMut<Target = Vec<WaitingHandler>> {
        self.handlers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes the handlers that wait for no reason any more. `before_sleep` those of callers that were killed,
    /// which takes a system call.
    #[cold]
    pub(super) fn wake_handlers(&self, before_sleep: bool) {
        for handler in self.waiting_handlers().iter_mut() {
            let lane = handler.it.to.lane;
            credit::says_that_parts_wait(&self.control, lane);
            if self.look_at(&handler.it) != PartWait::Late
                || handler.closed != self.is_receiver_closed()
                || before_sleep && !self.is_owned(lane)
            {
                handler.woken = true;
                handler.waker.wake_by_ref();
            }
        }
    }
}

/// A handler on the receiver's thread that waits until its caller has taken parts.
struct PartWaiter<'a> {
    returns: &'a ReplyProducers,
    it: Waiting,
    knows_closed: bool,
}

impl PartWaiter<'_> {
    fn ended(&self) -> Option<PartWait> {
        match self.returns.look_at(&self.it) {
            PartWait::Late if !self.knows_closed && self.returns.is_receiver_closed() => {
                Some(PartWait::Closed)
            }
            PartWait::Late => None,
            ended => Some(ended),
        }
    }
}

impl Waiter for PartWaiter<'_> {
    type Found = PartWait;
    type Error = RecvError;

    fn end(&self) -> End {
        self.returns.control.receiving_end(self.returns.place, self.it.to.lane)
    }

    fn listener(&self) -> Option<Arc<Listener>> {
        self.returns.listener()
    }

    fn look(&mut self, when: Look) -> Result<Option<PartWait>, RecvError> {
        let lane = self.it.to.lane;
        match when {
            Look::Woken => return Ok(None),
            Look::Parked => {
                self.returns.flush(true);
                credit::says_that_parts_wait(&self.returns.control, lane);
                if !self.returns.is_owned(lane) {
                    return Ok(Some(PartWait::Gone));
                }
            }
            Look::First | Look::Spinning => self.returns.flush(false),
        }
        Ok(self.ended())
    }

    fn poll(&mut self) -> Result<PartWait, RecvError> {
        Ok(self.ended().unwrap_or(PartWait::Late))
    }
}
