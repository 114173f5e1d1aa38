//! Parts of a reply that is a stream: they go while their caller takes them.
//!
//! A part that may not go yet is its handler's to keep. A handler that waits is woken by the receiver's thread,
//! which is rung by the caller and looks after all that wait whenever it looks for values; the handler on that
//! very thread waits at the receiver's bell itself.

use std::sync::Arc;
use std::sync::PoisonError;
use std::task::Waker;
use std::time::Duration;

use super::waiting::KEEPING;
use super::{Due, Origin, ReplyProducers};
use crate::channel::calls::credit;
use crate::control::{End, Listener, Look, Waiter};
use crate::error::{RecvError, SendError};
use crate::sys::thread::{Parker, current_id};
use crate::sys::{Deadline, Ordering};
use crate::transfer::Refusal;

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
#[derive(Clone, Copy)]
struct Waiting {
    to: Origin,
    due: Due,
    stream: Stream,
    /// How long its next part is, with what stands in front.
    len: usize,
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
    /// Whether a part of so many bytes may go now: `Late` if it has to wait.
    fn look_at(&self, it: &Waiting) -> PartWait {
        let (lane, call) = (it.to.lane, it.due.call);
        if !self.is_waited_for(lane, it.to.generation, Some(it.due)) {
            return PartWait::Gone;
        }
        match credit::is_ahead(&self.control, lane, it.stream.slot, call, it.stream.sent) {
            None => PartWait::Gone,
            Some(true) => PartWait::Late,
            Some(false) => {
                let way = self.way(lane);
                let limit = usize::try_from(self.control.longest_reply()).unwrap_or(usize::MAX);
                match way.kept.saturating_add(it.len).saturating_add(KEEPING) {
                    _ if way.closed => PartWait::Gone,
                    kept if way.kept > 0 && kept > limit => PartWait::Late,
                    _ => PartWait::Room,
                }
            }
        }
    }

    /// Sends a part of a stream, if one may go now. Counts it.
    pub(in crate::channel) fn send_part(
        &self,
        to: Origin,
        head: &[u8],
        value: &[u8],
        due: Due,
        stream: &mut Stream,
    ) -> Result<PartWait, SendError> {
        self.check(to)?;
        if value.len() as u64 > self.max_value() {
            return Err(self.too_long());
        }
        match self.look_at(&Waiting { to, due, stream: *stream, len: head.len() + value.len() }) {
            PartWait::Room => {}
            wait => return Ok(wait),
        }
        let sent = self.send_bytes(to, head, value, Some(due), 0);
        if sent.as_ref().map_or_else(SendError::was_sent, |()| true) {
            stream.count(value.len());
        }
        match sent {
            Ok(()) => Ok(PartWait::Room),
            Err(SendError::Full { .. }) => Ok(PartWait::Late),
            Err(error) => Err(error),
        }
    }

    /// Waits until the next part may go, which has so many bytes. Ends with `Closed` when the receiver is
    /// closed, unless the handler knows.
    pub(in crate::channel) fn await_part(
        self: &Arc<Self>,
        to: Origin,
        due: Due,
        stream: Stream,
        len: usize,
        until: Deadline,
        knows_closed: bool,
    ) -> PartWait {
        let it = Waiting { to, due, stream, len };
        let until = until.earlier(due.deadline);
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
        let mut nap = FIRST_NAP;
        self.change_handlers(|handlers| {
            handlers.push(WaitingHandler { it, closed, waker: waker.clone(), woken: false });
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
                    nap = LONGEST_NAP.min(2 * nap);
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
