//! What request and response need of the two ends beside what everybody does.
//!
//! A caller has to know whether its request was taken, and by whom. On a channel without a queue the
//! delivered position says whether; `TAKEN_BEFORE`, which every receiver writes where it begins,
//! says whether it was a predecessor of the present receiver. A caller that wants to be sure that a
//! request which was not taken never will be becomes a new owner of its lane: what a former owner
//! sent is for nobody any more. The two fences there make sure that either the caller sees the
//! request taken or the receiver sees the caller gone.

use std::sync::Arc;

use super::Patience;
use super::answers::{Lost, back_error};
use super::holders::Attention;
use super::receiver::Receiver;
use super::returns::{Origin, Returns};
use super::sender::Sender;
use crate::codec::{Codec, DecodeError, EncodeError, Reader, Writer};
use crate::control::{Control, lane_word, semaphores, word};
use crate::error::{AttachError, RecvError, SendError};
use crate::name::Name;
use crate::sys::{AtomicU64, Deadline, Fault, Ordering, SystemErrorKind, fault, fence};
use crate::tag::{Select, Tag};
use crate::transfer;

/// How many cancelled calls a lane remembers behind one that is waited for.
const CANCELLED: u64 = 7;

impl<T, C: Codec<T>> Sender<T, C> {
    /// Sends a value behind a head; says where the ring stands then. Without a deadline it does not
    /// wait.
    pub(crate) fn send_behind(
        &self,
        head: &[u8],
        value: &T,
        deadline: Option<Deadline>,
    ) -> Result<u64, SendError> {
        let encode = |out: &mut Writer<'_>| -> Result<(), EncodeError> {
            out.write(head)?;
            C::encode(value, out)
        };
        transfer::sending::<T, _, _>(|| {
            self.send_encoded(Tag::DEFAULT, &encode, Patience(deadline))
        })?;
        self.ring_position()
    }

    /// Waits until `accept` makes something of an answer to what ended at `end` in the ring.
    ///
    /// [`RecvError::Disconnected`] once it was taken by a receiver that is gone, or the receiver is
    /// gone without having taken it and nobody stands by.
    pub(crate) fn wait_for_answer<R>(
        &self,
        end: u64,
        deadline: Option<Deadline>,
        accept: impl FnMut(Reader<'_>) -> Option<R>,
    ) -> Result<R, RecvError> {
        let lost = |sender: &Self| {
            let stay = if sender.was_taken(end) {
                // By the one that is gone, unless another has come since that was asked.
                sender.has_receiver().map_err(back_error)?
            } else {
                sender.has_standby()?
            };
            Ok(if stay { Lost::Stay } else { Lost::GiveUp })
        };
        self.accept_back(Patience(deadline), Some(end), accept, lost)
    }

    /// Sends what the layer above encodes. Without a deadline it does not wait.
    pub(crate) fn send_as(
        &self,
        tag: Tag,
        encode: &impl Fn(&mut Writer<'_>) -> Result<(), EncodeError>,
        deadline: Option<Deadline>,
    ) -> Result<(), SendError> {
        self.send_encoded(tag, encode, Patience(deadline))
    }

    /// Waits until `accept` makes something of an answer, while the receiver is the one of that
    /// generation.
    ///
    /// [`RecvError::Disconnected`] once that one is gone.
    pub(crate) fn wait_for_answer_of<R>(
        &self,
        receiver: u64,
        deadline: Deadline,
        accept: impl FnMut(Reader<'_>) -> Option<R>,
    ) -> Result<R, RecvError> {
        let replaced = |sender: &Self| sender.is_replaced(receiver);
        let patience = Patience(Some(deadline));
        self.accept_back_unless(patience, replaced, accept, |_| Ok(Lost::GiveUp))
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

    /// The way back to this sender.
    pub(crate) fn origin(&self) -> Origin {
        Origin { lane: self.lane, generation: self.generation }
    }

    fn has_standby(&self) -> Result<bool, RecvError> {
        semaphores::has_standby(self.control.set).map_err(|error| self.control.slept(error).into())
    }

    /// Whether everything before `end` was taken.
    pub(crate) fn was_taken(&self, end: u64) -> bool {
        let place = self.control.layout().ring(self.lane);
        // Relaxed: nothing is read on the strength of it. `renew` says what orders it there.
        self.control.word(place.delivered_at).load(Ordering::Relaxed) >= end
    }

    /// Whether there is a receiver that has what ended at `end` or will have it.
    pub(crate) fn has_successor(&self, end: u64) -> bool {
        self.has_receiver().is_ok_and(|there| there) && !self.was_taken_before(end)
    }

    /// Whether it was a receiver before the present one that took it.
    pub(super) fn was_taken_before(&self, end: u64) -> bool {
        // Relaxed: a hint to look once more; the receiver rings after it has written this.
        self.control.lane_word(self.lane, lane_word::TAKEN_BEFORE).load(Ordering::Relaxed) >= end
    }

    /// Becomes a new owner of the lane. Afterwards [`was_taken`](Sender::was_taken) is final: what
    /// was not taken by now is nobody's request any more.
    pub(crate) fn renew(&mut self) -> Result<(), AttachError> {
        self.own_again()?;
        if !fault(Fault::NoRenewFence) {
            // SeqCst: pairs with the fence of `Caller::is_there` after the hand-over.
            fence(Ordering::SeqCst);
        }
        let word = |at| self.control.lane_word(self.lane, at);
        // Relaxed: read by a last user, after this one let go of the channel.
        let owned_from = word(lane_word::OWNED_FROM).load(Ordering::Relaxed);
        word(lane_word::NOT_EXECUTED).store(owned_from, Ordering::Relaxed);
        Ok(())
    }

    /// Like [`retire`](Sender::retire), and what was not taken is nobody's request any more.
    pub(crate) fn retire_with_requests(&mut self) {
        if self.control.is_ours() {
            let _ = self.renew();
        }
    }

    /// Becomes nobody's lane before it is given up: whoever answers knows that nobody waits.
    pub(crate) fn retire(&mut self) {
        // A lane that is damaged, or of a parent process, is left as it is.
        if self.control.is_ours() {
            let _ = self.own_again();
        }
    }

    /// Whether the channel was removed.
    pub(crate) fn is_removed(&self) -> bool {
        let there = self.control.has_receiver();
        there.is_err_and(|error| error.kind() == SystemErrorKind::Removed)
    }

    /// Waits until there is a receiver.
    pub(crate) fn wait_for_receiver(&self, deadline: Deadline) -> Result<(), SendError> {
        self.park_until(deadline, |sender| {
            let there = sender.control.has_receiver();
            there.map_err(|error| self.control.slept(error).into())
        })
    }

    /// Tells the receiver that nobody waits for the answer to this call any more, nor to any before
    /// `waited_for`.
    pub(crate) fn cancel(&self, call: u64, waited_for: u64) {
        cancelled(&self.control, self.lane, call).swap(call, Ordering::Relaxed);
        not_waited_for(&self.control, self.lane).swap(waited_for, Ordering::Relaxed);
    }
}

fn cancelled(control: &Control, lane: usize, call: u64) -> &AtomicU64 {
    control.lane_word(lane, lane_word::CANCELLED + (1 + call % CANCELLED) as usize * 8)
}

/// Nobody waits for calls with smaller numbers than this.
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
    /// Receives what `make` makes of a value and its sender. Without a deadline it does not wait.
    #[inline]
    pub(crate) fn receive_call<V>(
        &self,
        deadline: Option<Deadline>,
        make: impl Fn(Reader<'_>, Origin) -> Result<V, DecodeError>,
    ) -> Result<V, RecvError> {
        let make = |reader: Reader<'_>, _, origin| make(reader, origin);
        self.receive_from(Select::Any, Patience(deadline), make)
    }

    /// Receives what `make` makes of a selected value and its sender. Without a deadline it does not
    /// wait; waiting ends as at the deadline with what `attention` is paid to.
    pub(crate) fn receive_selected<V>(
        &self,
        select: Select,
        deadline: Option<Deadline>,
        attention: Attention,
        make: impl Fn(Reader<'_>, Origin) -> Result<V, DecodeError>,
    ) -> Result<V, RecvError> {
        self.attention.set(Some(attention));
        let make = |reader: Reader<'_>, _, origin| make(reader, origin);
        let received = self.receive_from(select, Patience(deadline), make);
        self.attention.set(None);
        received
    }

    /// What a call is told that waited until the deadline, or did not wait.
    pub(crate) fn nothing_came(&self, deadline: Option<Deadline>) -> RecvError {
        Patience(deadline).ended(&self.control)
    }

    /// The way back to the sender of a value.
    pub(crate) fn caller(&self, origin: Origin) -> Caller {
        Caller { returns: self.returns.clone(), origin }
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
        self.returns.control().layout().max_value
    }

    /// Whether nobody waits for the answer to this call.
    pub(crate) fn has_cancelled(&self, call: u64) -> bool {
        let (control, lane) = (self.returns.control(), self.origin.lane);
        call < not_waited_for(control, lane).load(Ordering::Relaxed)
            || cancelled(control, lane, call).load(Ordering::Relaxed) == call
    }

    /// Sends an answer.
    pub(crate) fn answer(
        &self,
        answer: &impl Fn(&mut Writer<'_>) -> Result<(), EncodeError>,
    ) -> Result<(), SendError> {
        self.returns.send(self.origin, answer)
    }
}
