//! The receiver's side of a call: who sent a request, what closes the receiver, and draining it.

mod parts;

pub(crate) use self::parts::Parts;

use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use super::{credit, has_cancelled};
use crate::channel::origin::Origin;
use crate::channel::peer::Peer;
use crate::channel::ports::{PortId, is_last_ask};
use crate::channel::receiver::{Receiver, WakeOn};
use crate::channel::returns::{Due, ReplyProducers};
use crate::codec::{Codec, DecodeError, EncodeError, Reader, Writer};
use crate::control::{End, Listener, Look, Waiter};
use crate::error::{RecvError, SendError};
use crate::name::Name;
use crate::sys::{Deadline, Moment, Ordering, fence};
use crate::tag::{Select, Tag};

impl<T, C: Codec<T>> Receiver<T, C> {
    /// Is a service's: it waits on when all senders are gone, since others will come, until it is closed,
    /// which is for good.
    pub(crate) fn of_service(mut self) -> Self {
        (self.local.stays_open, self.closes_for_good) = (true, true);
        self
    }

    /// A handler that waits until its caller takes parts goes on for so long once it is closed.
    pub(crate) fn drained_for(self, drain: Duration) -> Self {
        self.returns.set_drain(drain);
        self
    }

    /// Whether it was closed.
    pub(crate) fn is_closed(&self) -> bool {
        self.returns.is_receiver_closed()
    }

    /// Receives what `make` makes of a value and its sender.
    #[inline]
    pub(crate) fn receive_call<V>(
        &self,
        deadline: Deadline,
        make: impl Fn(Reader<'_>, Origin) -> Result<V, DecodeError>,
    ) -> Result<V, RecvError> {
        let make = |reader: Reader<'_>, _, origin| make(reader, origin);
        self.returns.is_received_here();
        self.receive_from(Select::Any, deadline, make)
    }

    /// A moment before the request was sent that was received last, if this receiver looked for it then.
    pub(crate) fn seen_empty(&self) -> Option<Moment> {
        self.state.try_borrow().ok()?.sources.lanes.seen_empty
    }

    /// Receives what `make` makes of a selected value, its tag and its sender; waiting ends as at the deadline
    /// with what `wake_on` names.
    pub(crate) fn receive_selected<V>(
        &self,
        select: Select,
        deadline: Deadline,
        wake_on: WakeOn,
        make: impl Fn(Reader<'_>, Tag, Origin) -> Result<V, DecodeError>,
    ) -> Result<V, RecvError> {
        self.returns.is_received_here();
        self.waking_on(wake_on, || self.receive_from(select, deadline, make))
    }

    /// What a call is told that found nothing until the deadline, or now.
    pub(crate) fn nothing_came(&self, deadline: Deadline) -> RecvError {
        crate::channel::nothing_came(&self.control, deadline)
    }

    /// The longest value, without its head, in bytes.
    pub(crate) fn max_value(&self) -> u64 {
        self.control.max_value()
    }

    /// The way back to the sender of a value.
    pub(crate) fn caller(&self, origin: Origin) -> Caller {
        Caller { returns: self.returns.clone(), origin }
    }

    /// The way back to the sender of a request that a reply is due to.
    pub(crate) fn outstanding(&self, origin: Origin, due: Due) -> RequestGuard {
        self.returns.add_outstanding(origin, due);
        RequestGuard { caller: self.caller(origin), call: due.call }
    }
}

impl<T, C> Receiver<T, C> {
    /// How errors name the channel.
    pub(crate) fn name(&self) -> Arc<Name> {
        self.control.name()
    }

    /// Has it receive nothing more.
    pub(crate) fn close(&self) {
        self.returns.close_receiver();
    }

    /// Closes it, waits until every request in hand is answered that a caller waits for, at most until
    /// the deadline, and lets the next receiver have its place.
    pub(crate) fn end(&self, deadline: Deadline) {
        self.close();
        self.drain(deadline);
        self.release();
    }

    /// Sends what replies wait for room until it is `over`, and receives nothing; `false` at the
    /// deadline, or when the channel is gone. Whatever makes it over has to ring.
    pub(crate) fn attend(&self, deadline: Deadline, over: impl Fn() -> bool) -> bool {
        loop {
            // A reply that is late is not waited for, nor one that is still due.
            let until = deadline.earlier(self.returns.next_late());
            let mut waiter = DrainWaiter { receiver: self, over: &over };
            match self.control.wait(until, Duration::ZERO, &mut waiter) {
                Ok(true) => return true,
                // A reply became late, and not this wait, or it is time to look which is late next.
                Ok(false) | Err(RecvError::Timeout { .. }) if !deadline.has_passed() => {}
                _ => return over(),
            }
        }
    }

    /// Waits until every reply has gone that waits for room, at most until the deadline.
    pub(crate) fn send_kept(&self, deadline: Deadline) {
        if self.returns.keeps_replies() {
            self.drain(deadline);
        }
    }

    /// Waits until every request in hand is answered, and every reply has gone, that a caller waits
    /// for.
    fn drain(&self, deadline: Deadline) {
        if !self.control.is_ours() || self.is_released() || self.returns.is_idle() {
            return;
        }
        self.returns.watch(true);
        self.attend(deadline, || self.returns.is_idle());
        self.returns.watch(false);
    }

    /// What rings this receiver.
    pub(crate) fn bell(&self) -> ReceiverBell {
        ReceiverBell(self.returns.clone())
    }
}

/// A receiver that receives nothing, until it is over.
struct DrainWaiter<'a, T, C, F> {
    receiver: &'a Receiver<T, C>,
    over: &'a F,
}

impl<T, C, F: Fn() -> bool> Waiter for DrainWaiter<'_, T, C, F> {
    /// Whether it is over; else something happened.
    type Found = bool;
    type Error = RecvError;

    fn end(&self) -> End {
        self.receiver.control.receiving_end(self.receiver.place, 0)
    }

    fn listener(&self) -> Option<Arc<Listener>> {
        self.receiver.listener()
    }

    fn look(&mut self, when: Look) -> Result<Option<bool>, RecvError> {
        if when == Look::Woken {
            return Ok(Some(false));
        }
        self.receiver.returns.flush(true);
        Ok((self.over)().then_some(true))
    }

    fn poll(&mut self) -> Result<bool, RecvError> {
        Ok((self.over)())
    }

    fn recheck(&mut self, _timed_out: bool) {
        self.receiver.sender_may_have_gone.set(true);
    }
}

/// Who sent a request: the way back to it, for any thread of the receiver's process.
#[derive(Clone)]
pub(crate) struct Caller {
    returns: Arc<ReplyProducers>,
    origin: Origin,
}

impl Caller {
    /// Whether it still waits for replies, as far as it told.
    ///
    /// Asked after the request was handed over: a caller that was told that its request was not
    /// taken is not there any more.
    pub(crate) fn is_there(&self) -> bool {
        // SeqCst: pairs with `Sender::renew_generation`.
        fence(Ordering::SeqCst);
        self.returns.is_there(self.origin.lane, self.origin.generation)
    }

    /// Whether it was killed, which takes a system call.
    pub(crate) fn was_killed(&self) -> bool {
        self.origin.was_killed(self.returns.control())
    }

    /// Which process it is, as far as the kernel vouches for it.
    pub(crate) fn peer(&self) -> Option<Peer> {
        self.origin.peer(self.returns.control())
    }

    /// Who sent the request.
    pub(crate) fn origin(&self) -> Origin {
        self.origin
    }

    /// How errors name the channel.
    pub(crate) fn channel(&self) -> Arc<Name> {
        self.returns.control().name()
    }

    /// The longest reply, in bytes.
    pub(crate) fn max_value(&self) -> u64 {
        self.returns.max_value()
    }

    /// Whether this caller, an asker, has asked nothing since this ask.
    pub(crate) fn is_last_ask(&self, ask: u64) -> bool {
        is_last_ask(self.returns.control(), PortId { lane: self.origin.lane, ask })
    }

    /// Whether the caller waits no more for the reply to this call.
    pub(crate) fn has_cancelled(&self, call: u64) -> bool {
        has_cancelled(self.returns.control(), self.origin.lane, call)
    }

    /// Whether it takes a reply to this call, as far as it told. A caller whose deadline passes tells.
    pub(crate) fn takes_reply(&self, call: u64) -> bool {
        self.origin.is_there(self.returns.control()) && !self.has_cancelled(call)
    }

    /// Has a reply encoded, and sends it behind a head. It is due to a call: where it has to wait and
    /// the caller waits no more for it, it is thrown away.
    pub(crate) fn reply_behind(
        &self,
        head: &[u8],
        due: Due,
        encode: impl Fn(&mut Writer<'_>) -> Result<(), EncodeError>,
    ) -> Result<(), SendError> {
        self.returns.send_value(self.origin, head, encode, Some(due))
    }

    /// Sends a reply that was encoded, behind a head. Behind a stream that the caller reads in its first slot
    /// there is room for it as well, and for the parts of that which come from another process.
    pub(crate) fn reply_with(&self, head: &[u8], bytes: &[u8]) -> Result<(), SendError> {
        let reads = credit::is_open(self.returns.control(), self.origin.lane, 0);
        let beyond = if reads { credit::KEPT_AHEAD } else { 0 };
        self.returns.send_bytes(self.origin, head, bytes, None, beyond)
    }
}

/// Who sent a request that a reply is due to: a receiver that drains waits until it is dropped, or the
/// caller waits no more.
pub(crate) struct RequestGuard {
    caller: Caller,
    call: u64,
}

impl RequestGuard {
    /// Whether the receiver was closed.
    pub(crate) fn is_receiver_closed(&self) -> bool {
        self.caller.returns.is_receiver_closed()
    }
}

impl Deref for RequestGuard {
    type Target = Caller;

    #[inline]
    fn deref(&self) -> &Caller {
        &self.caller
    }
}

impl Drop for RequestGuard {
    fn drop(&mut self) {
        self.caller.returns.let_go(self.caller.origin, self.call);
    }
}

/// Rings the receiver, from any thread of its process.
pub(crate) struct ReceiverBell(Arc<ReplyProducers>);

impl ReceiverBell {
    pub(crate) fn notify(&self) {
        self.0.notify_receiver();
    }

    /// Has a call end that waits for values, so that its layer looks around.
    pub(crate) fn nudge(&self) {
        self.0.nudge_receiver();
    }
}
