//! What request and response need of the two ends beside what everybody does.
//!
//! A caller has to know whether its request was consumed, and by which receiver. On a channel without a queue the
//! head says whether. Two facts each prove that it was a receiver which is gone:
//!
//! - `RECEIVER_START`, where each receiver writes the head that it found when it took the role, has
//!   reached the request's end;
//! - the request was consumed, and after the caller saw that there was no receiver.
//!
//! A caller that may repeat its call does so for one of these alone, and otherwise leaves its request
//! where the next receiver finds it: so no receiver executes a call twice. A caller that may not, and
//! finds no receiver, wants to be sure that its request will not be consumed any more, and becomes a new
//! owner of its lane: what a former owner sent is executed no more. The two fences there make sure that
//! either the caller sees the request consumed or the receiver sees the caller gone.

use std::cell::{Cell, RefCell};
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, PoisonError, Weak};

use super::answers::{Lost, back_error, ring_for_waiting};
use super::holders::Attention;
use super::receiver::Receiver;
use super::returns::{Due, Origin, Returns, WhenFull};
use super::sender::{Headed, Request, Sender};
use crate::codec::{Codec, DecodeError, EncodeError, Reader, Writer};
use crate::control::{Control, Parked, lane_word, semaphores, word};
use crate::error::{AttachError, OpenError, RecvError, SendError};
use crate::name::{Handle, Name};
use crate::schema::Schema;
use crate::sys::{AtExit, AtomicU64, Deadline, Fault, Mutex, Ordering, at_exit, fault, fence};
use crate::tag::{Select, Tag};
use crate::transfer;

/// How many cancelled calls a lane remembers behind one that is waited for.
const CANCELLED: u64 = 7;

/// The codec of a channel whose values the layer above encodes and decodes by closures, behind heads of
/// its own.
pub(crate) struct Untyped;

impl Codec<()> for Untyped {
    const NAME: &'static str = "untyped";

    fn encode(_: &(), _: &mut Writer<'_>) -> Result<(), EncodeError> {
        Ok(())
    }

    fn decode(_: Reader<'_>) -> Result<(), DecodeError> {
        Ok(())
    }

    fn schema() -> Schema {
        Schema::bytes("Untyped")
    }
}

/// Why there is no answer.
#[derive(Debug)]
pub(crate) enum Unanswered {
    /// The receiver that had taken the request is gone.
    Died,
    /// No receiver is there, none stands by, and none had taken the request.
    NoReceiver,
    Failed(RecvError),
}

impl<T, C: Codec<T>> Sender<T, C> {
    /// Sends a value behind a head; says where the ring stands then. While it waits for room,
    /// `take_answer` has what comes back.
    pub(crate) fn send_behind<V, D: Codec<V>>(
        &self,
        head: &[u8],
        value: &V,
        deadline: Deadline,
        take_answer: impl FnMut(Reader<'_>),
    ) -> Result<u64, SendError> {
        let encode = |out: &mut Writer<'_>| -> Result<(), EncodeError> {
            out.write(head)?;
            transfer::encode::<V, D>(value, out)
        };
        let value = Headed { head: head.len(), encode };
        let request = Request { value, take_answer: RefCell::new(take_answer) };
        transfer::sending::<V, _, _>(|| self.send_positioned(&request, deadline))
    }

    /// Waits until `accept` makes something of an answer to what ended at `end` in the ring. A
    /// caller that is to `stay` waits for the next receiver as long as none has taken it.
    pub(crate) fn wait_for_answer<R>(
        &self,
        end: u64,
        deadline: Deadline,
        stay: bool,
        mut accept: impl FnMut(Reader<'_>) -> Option<R>,
    ) -> Result<R, Unanswered> {
        let died = Cell::new(false);
        let is_over = |sender: &Self| {
            died.set(sender.was_consumed_by_a_predecessor(end));
            died.get()
        };
        let lost = |sender: &Self| {
            // In this order: whichever receiver took it had the role before, and so is gone.
            let consumed = sender.was_consumed(end);
            let late = fault(Fault::TakenAskedLate);
            let stays = if consumed {
                sender.has_receiver().map_err(back_error)?
            } else {
                stay && !late || sender.has_standby()?
            };
            died.set(!stays && (consumed || late && sender.was_consumed(end)));
            Ok(if stays { Lost::Stay } else { Lost::GiveUp })
        };
        match self.accept_back_unless(deadline, is_over, &mut accept, lost) {
            Ok(answer) => Ok(answer),
            Err(error @ RecvError::Removed { .. }) => {
                self.answer_left(&mut accept).ok_or(Unanswered::Failed(error))
            }
            Err(RecvError::Disconnected { .. }) if died.get() => Err(Unanswered::Died),
            Err(RecvError::Disconnected { .. }) => Err(Unanswered::NoReceiver),
            Err(error) => Err(Unanswered::Failed(error)),
        }
    }

    /// Sends what the layer above encodes behind a head of so many bytes.
    pub(crate) fn send_as(
        &self,
        tag: Tag,
        head: usize,
        encode: impl Fn(&mut Writer<'_>) -> Result<(), EncodeError>,
        deadline: Deadline,
    ) -> Result<(), SendError> {
        self.send_encoded(tag, &Headed { head, encode }, deadline)
    }

    /// Waits until `accept` makes something of an answer, while the receiver is the one of that
    /// generation.
    ///
    /// [`RecvError::Disconnected`] once that one is gone.
    pub(crate) fn wait_for_answer_of<R>(
        &self,
        receiver: u64,
        deadline: Deadline,
        mut accept: impl FnMut(Reader<'_>) -> Option<R>,
    ) -> Result<R, RecvError> {
        let replaced = |sender: &Self| sender.is_replaced(receiver);
        match self.accept_back_unless(deadline, replaced, &mut accept, |_| Ok(Lost::GiveUp)) {
            Err(error @ RecvError::Removed { .. }) => self.answer_left(&mut accept).ok_or(error),
            answer => answer,
        }
    }

    /// What `accept` makes of the answers that stand in this process's memory when the channel was
    /// removed: a caller is told the truth about its own request.
    // NB: a channel says Removed at once and for good, and so does `recv_back`. A call ends with this.
    #[cold]
    fn answer_left<R>(&self, accept: &mut impl FnMut(Reader<'_>) -> Option<R>) -> Option<R> {
        if fault(Fault::AnswerLost) {
            return None;
        }
        self.next_answer(accept).ok()?
    }

    /// Whether another receiver has come after the one of that generation.
    pub(crate) fn is_replaced(&self, receiver: u64) -> bool {
        self.receiver() != receiver && !fault(Fault::SuccessorNotSeen)
    }

    /// Waits until a receiver is there, and says which; [`SendError::Disconnected`] where none can come
    /// any more. One that takes the role in this moment is
    /// waited for until it has said so, or its predecessor's generation would be taken for its.
    pub(crate) fn await_receiver(&self, deadline: Deadline) -> Result<u64, SendError> {
        self.park_until(deadline, |sender| {
            let served = sender.is_served()?;
            if !served && sender.is_abandoned()? {
                return Err(SendError::Disconnected { channel: sender.control.name() });
            }
            Ok(served)
        })?;
        Ok(self.receiver())
    }

    /// Waits until a receiver has come, and says which came last, if it is gone or not.
    pub(crate) fn await_first_receiver(&self, deadline: Deadline) -> Result<u64, SendError> {
        self.park_until(deadline, |sender| {
            // Acquire: pairs with the receiver's Release, which comes after its generation.
            let came = sender.control.word(word::RECEIVER_CAME).load(Ordering::Acquire) != 0;
            Ok(came && (sender.is_served()? || !sender.has_receiver()?))
        })?;
        Ok(self.receiver())
    }

    /// Whether a receiver is there that has said which it is.
    fn is_served(&self) -> Result<bool, SendError> {
        if fault(Fault::ServingNotAwaited) {
            // Acquire: as above.
            let came = self.control.word(word::RECEIVER_CAME).load(Ordering::Acquire) != 0;
            return Ok(came && self.has_receiver()?);
        }
        self.control.has_serving_receiver().map_err(|error| self.control.slept(error).into())
    }

    /// Waits until the receiver of that generation is gone.
    pub(crate) fn await_end_of(&self, receiver: u64, deadline: Deadline) -> Result<(), SendError> {
        self.park_until(deadline, |sender| sender.has_ended(receiver))
    }

    /// Whether the receiver of that generation is gone.
    pub(crate) fn has_ended(&self, receiver: u64) -> Result<bool, SendError> {
        Ok(self.is_replaced(receiver) || !self.has_receiver()?)
    }

    /// Whether a receiver is there now.
    pub(crate) fn has_receiver(&self) -> Result<bool, SendError> {
        self.control.has_receiver().map_err(|error| self.control.slept(error).into())
    }

    /// Which receiver came last.
    fn receiver(&self) -> u64 {
        // Acquire: pairs with the receiver's Release; its predecessor's answers are seen then.
        let relaxed = fault(Fault::ReceiverRelaxed);
        let order = if relaxed { Ordering::Relaxed } else { Ordering::Acquire };
        self.control.word(word::RECEIVER_GENERATION).load(order)
    }

    /// Which channel this is.
    pub(crate) fn handle(&self) -> Handle {
        self.control.handle()
    }

    /// The way back to this sender.
    pub(crate) fn origin(&self) -> Origin {
        Origin { lane: self.lane, generation: self.generation }
    }

    fn has_standby(&self) -> Result<bool, RecvError> {
        semaphores::has_standby(self.control.set).map_err(|error| self.control.slept(error).into())
    }

    /// Whether everything before `end` was consumed.
    pub(crate) fn was_consumed(&self, end: u64) -> bool {
        let layout = self.control.layout().ring(self.lane);
        // Acquire: only to come before a look for the receiver that follows. `renew` says what orders
        // it there.
        self.control.word(layout.head_at).load(Ordering::Acquire) >= end
    }

    /// Whether a receiver before the present one consumed everything before `end`.
    fn was_consumed_by_a_predecessor(&self, end: u64) -> bool {
        // Acquire: pairs with the Release of the receiver that found it consumed; what its predecessor
        // answered is seen then.
        let order =
            if fault(Fault::ReceiverStartRelaxed) { Ordering::Relaxed } else { Ordering::Acquire };
        self.control.lane_word(self.lane, lane_word::RECEIVER_START).load(order) >= end
    }

    /// Takes what answers there are, without waiting, also those of a channel that was removed.
    pub(crate) fn take_answers(&self, mut accept: impl FnMut(Reader<'_>)) -> Result<(), RecvError> {
        let mut accept = |reader: Reader<'_>| -> Option<()> {
            accept(reader);
            None
        };
        self.next_answer(&mut accept).map(drop)
    }

    fn next_answer<R>(
        &self,
        accept: &mut impl FnMut(Reader<'_>) -> Option<R>,
    ) -> Result<Option<R>, RecvError> {
        let mut state = self.enter_removed().map_err(back_error)?;
        let Some(answers) = state.answers.as_mut() else { return Ok(None) };
        let next = answers.next(&self.control, self.lane, Deadline::now(), accept);
        next.map_err(|damage| back_error(self.damaged(damage)))
    }

    /// Becomes a new owner of the lane. Afterwards [`was_consumed`](Sender::was_consumed) is final: what
    /// was not consumed by now is no request any more.
    pub(crate) fn renew(&mut self) -> Result<(), AttachError> {
        self.own_again()?;
        if !fault(Fault::NoRenewFence) {
            // SeqCst: pairs with the fence of `Caller::is_there` after the hand-over.
            fence(Ordering::SeqCst);
        }
        let word = |at| self.control.lane_word(self.lane, at);
        // Relaxed: read by a last user, after this one let go of the channel.
        let owner_start = word(lane_word::OWNER_START).load(Ordering::Relaxed);
        word(lane_word::NOT_EXECUTED).store(owner_start, Ordering::Relaxed);
        Ok(())
    }

    /// Ends the ownership before the lane is given up: a receiver that answers knows that no caller waits.
    pub(crate) fn retire(&mut self) {
        // A lane that is damaged, or of a parent process, is left as it is.
        if self.control.is_ours() {
            let _ = self.own_again();
        }
    }

    /// Whether the channel was removed.
    pub(crate) fn is_removed(&self) -> bool {
        self.control.is_removed() || self.control.poll_removed()
    }

    /// Waits until there is a receiver.
    pub(crate) fn wait_for_receiver(&self, deadline: Deadline) -> Result<(), SendError> {
        self.park_until(deadline, |sender| {
            let there = sender.control.has_receiver();
            there.map_err(|error| self.control.slept(error).into())
        })
    }

    /// Tells the receiver that the caller waits no more for the answer to this call, nor to any before
    /// `waited_for`.
    pub(crate) fn cancel(&self, call: u64, waited_for: u64) {
        cancelled(&self.control, self.lane, call).swap(call, Ordering::Relaxed);
        not_waited_for(&self.control, self.lane).swap(waited_for, Ordering::Relaxed);
        if !fault(Fault::CancelNotRung) {
            ring_for_waiting(&self.control, self.lane);
        }
    }
}

/// A sender of requests: when it goes, or its process exits, what no receiver has taken is nobody's
/// request any more.
pub(crate) struct Requester {
    sender: Sender<(), Untyped>,
    requests: Arc<Requests>,
    /// Dropped last: an exit waits for it.
    _entry: at_exit::Entry,
}

impl Requester {
    /// # Errors
    /// [`OpenError::Exiting`].
    pub(crate) fn new(sender: Sender<(), Untyped>) -> Result<Self, OpenError> {
        let (control, lane) = (sender.control.clone(), sender.lane);
        let requests = Arc::new(Requests { control, lane, are_ours: Mutex::new(true) });
        let weak: Weak<Requests> = Arc::downgrade(&requests);
        match at_exit::register(weak) {
            Some(entry) => Ok(Requester { sender, requests, _entry: entry }),
            None => Err(OpenError::Exiting { name: (*sender.control.name()).clone() }),
        }
    }

    /// What the exit of this process does, at any moment.
    #[cfg(all(test, loom))]
    pub(crate) fn exit(&self) -> impl FnOnce() + Send + use<> {
        let (requests, control) = (self.requests.clone(), self.control.clone());
        move || {
            requests.at_exit();
            control.at_exit();
        }
    }
}

impl Deref for Requester {
    type Target = Sender<(), Untyped>;

    #[inline]
    fn deref(&self) -> &Sender<(), Untyped> {
        &self.sender
    }
}

impl DerefMut for Requester {
    fn deref_mut(&mut self) -> &mut Sender<(), Untyped> {
        &mut self.sender
    }
}

impl Drop for Requester {
    fn drop(&mut self) {
        if !self.control.is_ours() {
            return;
        }
        let requests = self.requests.clone();
        // Held until they are given up, so that an exit in this moment waits before it looks whether
        // the channel holds any.
        let mut are_ours = requests.are_ours.lock().unwrap_or_else(PoisonError::into_inner);
        // The lane is another's as soon as the sender is dropped.
        *are_ours = false;
        let held = (!fault(Fault::ExitNotAwaited)).then_some(are_ours);
        // A lane that is damaged is left as it is.
        let _ = self.renew();
        drop(held);
    }
}

/// The requests on a lane, as the exit of their process gives them up.
struct Requests {
    control: Arc<Control>,
    lane: usize,
    are_ours: Mutex<bool>,
}

impl AtExit for Requests {
    /// The thread that has the sender may be in a call and send more.
    fn at_exit(&self) {
        let are_ours = self.are_ours.lock().unwrap_or_else(PoisonError::into_inner);
        if !*are_ours || !self.control.is_ours() {
            return;
        }
        let word = |at| self.control.lane_word(self.lane, at);
        // As if a next owner began behind all that can come.
        word(lane_word::OWNER_START).store(u64::MAX, Ordering::Relaxed);
        // Release: pairs with the receiver's Acquire load in `Origin`.
        word(lane_word::GENERATION).fetch_add(1, Ordering::Release);
        // Relaxed: as in `renew`.
        word(lane_word::NOT_EXECUTED).store(u64::MAX, Ordering::Relaxed);
    }
}

/// Tells the callers on a lane where a receiver that has just taken the role begins: its predecessors
/// consumed the requests before.
pub(super) fn publish_receiver_start(control: &Control, lane: usize) {
    // Relaxed: a predecessor's store came before it gave up the role, and a role changes hands in
    // the kernel.
    let layout = control.layout().ring(lane);
    let head = control.word(layout.head_at).load(Ordering::Relaxed);
    // Release: pairs with the Acquire in `was_consumed_by_a_predecessor`; a caller that sees this
    // sees the answers of the predecessors.
    control.lane_word(lane, lane_word::RECEIVER_START).swap(head, Ordering::Release);
    point!("attach.receiver_start");
}

/// A new owner's requests count, wherever its predecessor's ended.
pub(super) fn begin_requests(control: &Control, lane: usize) {
    let word = |at| control.lane_word(lane, at);
    // Relaxed: as in `renew`.
    let owner_start = word(lane_word::OWNER_START).load(Ordering::Relaxed);
    if word(lane_word::NOT_EXECUTED).load(Ordering::Relaxed) > owner_start {
        word(lane_word::NOT_EXECUTED).store(owner_start, Ordering::Relaxed);
    }
}

/// Whether the caller waits no more for the answer to a call.
pub(super) fn has_cancelled(control: &Control, lane: usize, call: u64) -> bool {
    call < not_waited_for(control, lane).load(Ordering::Relaxed)
        || cancelled(control, lane, call).load(Ordering::Relaxed) == call
}

fn cancelled(control: &Control, lane: usize, call: u64) -> &AtomicU64 {
    control.lane_word(lane, lane_word::CANCELLED + (1 + call % CANCELLED) as usize * 8)
}

/// The caller waits for no call with a smaller number than this.
fn not_waited_for(control: &Control, lane: usize) -> &AtomicU64 {
    control.lane_word(lane, lane_word::CANCELLED)
}

/// Forgets what former owners of the lane cancelled: their calls had the same numbers.
pub(super) fn forget_cancelled(control: &Control, lane: usize) {
    not_waited_for(control, lane).swap(0, Ordering::Relaxed);
    for call in 0..CANCELLED {
        cancelled(control, lane, call).swap(0, Ordering::Relaxed);
    }
}

impl<T, C: Codec<T>> Receiver<T, C> {
    /// Waits on when all senders are gone, since others will come, until it is closed: then calls
    /// say Disconnected.
    pub(crate) fn stays_open(mut self) -> Self {
        self.stays_open = true;
        self
    }

    /// What closes a receiver that stays open.
    pub(crate) fn closer(&self) -> Closer {
        Closer(Arc::downgrade(&self.returns))
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
        self.receive_from(Select::Any, deadline, make)
    }

    /// Receives what `make` makes of a selected value and its sender; waiting ends as at the deadline
    /// with what `attention` is paid to.
    pub(crate) fn receive_selected<V>(
        &self,
        select: Select,
        deadline: Deadline,
        attention: Attention,
        make: impl Fn(Reader<'_>, Origin) -> Result<V, DecodeError>,
    ) -> Result<V, RecvError> {
        self.attention.set(Some(attention));
        let make = |reader: Reader<'_>, _, origin| make(reader, origin);
        let received = self.receive_from(select, deadline, make);
        self.attention.set(None);
        received
    }

    /// What a call is told that found nothing until the deadline, or now.
    pub(crate) fn nothing_came(&self, deadline: Deadline) -> RecvError {
        super::nothing_came(&self.control, deadline)
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
    pub(crate) fn in_hand(&self, origin: Origin, due: Due) -> InHand {
        self.returns.take_in_hand(origin, due);
        InHand { caller: self.caller(origin), call: due.call }
    }
}

impl<T, C> Receiver<T, C> {
    /// Has it receive nothing more.
    pub(crate) fn close(&self) {
        self.returns.close_receiver();
    }

    /// Sends what answers wait for room until it is `over`, and receives nothing; `false` at the
    /// deadline, or when the channel is gone. Whatever makes it over has to ring.
    pub(crate) fn attend(&self, deadline: Deadline, over: impl Fn() -> bool) -> bool {
        let (mut late, mut parks) = (false, 0);
        loop {
            let bell = self.control.items_bell();
            // An answer that is late is not waited for, nor one that is still due.
            let until = deadline.earlier(self.returns.next_late());
            let parked = self.control.park(bell, until, parks, || -> Result<_, RecvError> {
                self.returns.look_after(true);
                Ok(over().then_some(()))
            });
            match parked {
                Ok(Parked::Found(())) => return true,
                Ok(_) => parks = parks.saturating_add(1),
                // An answer became late, and not this wait.
                Err(RecvError::Timeout { .. }) if !deadline.has_passed() => {
                    parks = parks.saturating_add(1);
                }
                Err(_) => return over(),
            }
            // The bell may be rung for nothing, time and again.
            if std::mem::replace(&mut late, deadline.has_passed()) {
                return over();
            }
        }
    }

    /// Waits until every request in hand is answered, and every answer has gone, that a caller waits
    /// for.
    pub(crate) fn drain(&self, deadline: Deadline) {
        if !self.control.is_ours() || self.returns.is_idle() {
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

/// Closes a [`Server`](crate::rpc::Server) or a [`Mailbox`](crate::actor::Mailbox) from another thread
/// of its process.
#[derive(Debug, Clone)]
pub struct Closer(Weak<Returns>);

impl Closer {
    /// Ends the call that receives: a mailbox's as soon as it has nothing in hand, a server's as soon as
    /// what it has received is answered, and the replies have gone or
    /// [`ServerOptions::drain`](crate::rpc::ServerOptions::drain) is over.
    ///
    /// Messages that a mailbox has not received stay for the next actor. Requests that a server has not
    /// received are the next server's, once the server is dropped, if one
    /// [stands by](crate::rpc::ServerOptions::stand_by) or if they may be
    /// [repeated](crate::rpc::ClientOptions::repeatable). Other callers are told at once:
    /// [`ServerDied`](crate::rpc::CallError::ServerDied), not received.
    pub fn close(&self) {
        if let Some(returns) = self.0.upgrade() {
            returns.close_receiver();
        }
    }
}

/// Who sent a request: the way back to it, for any thread of the receiver's process.
#[derive(Clone)]
pub(crate) struct Caller {
    returns: Arc<Returns>,
    origin: Origin,
}

impl Caller {
    /// Whether it still waits for answers, as far as it told.
    ///
    /// Asked after the request was handed over: a caller that was told that its request was not
    /// taken is not there any more.
    pub(crate) fn is_there(&self) -> bool {
        // SeqCst: pairs with `Sender::renew`.
        fence(Ordering::SeqCst);
        self.returns.is_there(self.origin.lane, self.origin.generation)
    }

    /// Whether it was killed, which takes a system call. Whoever goes by itself becomes nobody's
    /// lane before it gives the role up.
    pub(crate) fn was_killed(&self) -> bool {
        let Origin { lane, generation } = self.origin;
        !self.returns.is_owned(lane) && self.returns.is_there(lane, generation)
    }

    /// How errors name the channel.
    pub(crate) fn channel(&self) -> Arc<Name> {
        self.returns.control().name()
    }

    /// The longest answer, in bytes.
    pub(crate) fn max_value(&self) -> u64 {
        self.returns.max_value()
    }

    /// Whether the caller waits no more for the answer to this call.
    pub(crate) fn has_cancelled(&self, call: u64) -> bool {
        has_cancelled(self.returns.control(), self.origin.lane, call)
    }

    /// Has an answer encoded, and sends it behind a head. It is due to a call: where it has to wait and
    /// the caller waits no more for it, it is thrown away.
    pub(crate) fn answer_behind(
        &self,
        head: &[u8],
        due: Due,
        encode: impl Fn(&mut Writer<'_>) -> Result<(), EncodeError>,
    ) -> Result<(), SendError> {
        self.returns.send_value(self.origin, head, encode, WhenFull::Keep(Some(due)))
    }

    /// Sends an answer that was encoded, behind a head.
    pub(crate) fn answer_with(&self, head: &[u8], bytes: &[u8]) -> Result<(), SendError> {
        self.returns.send_bytes(self.origin, head, bytes, WhenFull::Keep(None))
    }
}

/// Who sent a request that a reply is due to: a receiver that drains waits until it is dropped, or the
/// caller waits no more.
pub(crate) struct InHand {
    caller: Caller,
    call: u64,
}

impl InHand {
    /// Whether the receiver was closed.
    pub(crate) fn is_receiver_closed(&self) -> bool {
        self.caller.returns.is_receiver_closed()
    }
}

impl Deref for InHand {
    type Target = Caller;

    #[inline]
    fn deref(&self) -> &Caller {
        &self.caller
    }
}

impl Drop for InHand {
    fn drop(&mut self) {
        self.caller.returns.let_go(self.caller.origin, self.call);
    }
}

/// Rings the receiver, from any thread of its process.
pub(crate) struct ReceiverBell(Arc<Returns>);

impl ReceiverBell {
    pub(crate) fn ring(&self) {
        self.0.ring_receiver();
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::thread;

    use super::*;
    use crate::Channel;
    use crate::codec::Raw;
    use crate::control::Heads;

    /// Values and answers, with the heads that the channel's layer has, from a program that puts one
    /// byte more in front.
    #[test]
    fn nothing_longer_than_the_longest_value_is_received_behind_any_head() {
        let heads = [(0, 0), (16, 9), (22, 9)].map(|(value, answer)| Heads { value, answer });
        // In messages, in messages beside records, in records, and in fragments.
        let shapes = [(2048, 0, 1000), (256, 4096, 1000), (0, 4096, 1000), (0, 4096, 9000)];
        for heads in heads {
            for (inline_limit, capacity, max) in shapes {
                let options = Channel::<Vec<u8>, Raw>::options().inline_limit(inline_limit);
                let options = options.capacity(capacity).return_capacity(4096);
                let channel = options.max_value(max as u64).heads(heads).private().unwrap();
                for more in [0, 1] {
                    let about = format!("{heads:?}, {inline_limit}, {capacity}, {max} + {more}");
                    let (tx, rx) = (channel.sender().unwrap(), channel.receiver().unwrap());
                    let len = heads.value + max + more;
                    let encode = |out: &mut Writer<'_>| Ok(out.write(&vec![7; len])?);
                    let sent = thread::scope(|scope| {
                        let tx = scope.spawn(move || {
                            let never = Deadline::never();
                            let sent = tx.send_as(Tag::DEFAULT, heads.value + more, encode, never);
                            (tx, sent)
                        });
                        let got =
                            rx.receive_call(Deadline::never(), |reader, _| Ok(reader.remaining()));
                        match got {
                            Ok(got) => assert!(more == 0 && got == len, "{about}: {got}"),
                            Err(RecvError::Corrupt { .. }) => assert_eq!(more, 1, "{about}"),
                            Err(error) => panic!("{about}: {error}"),
                        }
                        tx.join().unwrap().0
                    });
                    drop((sent, rx));

                    let (tx, rx) = (channel.sender().unwrap(), channel.receiver().unwrap());
                    let head = vec![1; heads.answer + more];
                    let caller = rx.caller(tx.origin());
                    caller.answer_with(&head, &vec![7; max]).unwrap();
                    let mut got = None;
                    let end = loop {
                        let taken = tx.take_answers(|reader| got = Some(reader.remaining()));
                        if taken.is_err() || got.is_some() {
                            break taken;
                        }
                        // What did not go at once goes while this receives.
                        assert!(rx.try_recv().unwrap_err().is_empty(), "{about}");
                    };
                    match end {
                        Ok(()) => assert_eq!((more, got), (0, Some(heads.answer + max)), "{about}"),
                        Err(RecvError::Corrupt { .. }) => assert_eq!((more, got), (1, None)),
                        Err(error) => panic!("{about}: {error}"),
                    }
                }
            }
        }
    }
}
