//! The sender's side of a call: a request, its reply, and what became of it.

use std::cell::{Cell, RefCell};
use std::sync::Arc;

use super::credit::Credit;
use super::{cancelled, not_waited_for};
use crate::channel::encoded::{Encoded, NotEncoded};
use crate::channel::origin::Origin;
use crate::channel::replies::notify_of_room;
use crate::channel::sender::{Headed, OnDisconnect, Request, Sender, back_error};
use crate::codec::{Codec, EncodeError, Reader, Writer};
use crate::control::{Control, Doorbell, lane_word, semaphores, word};
use crate::error::{AttachError, RecvError, SendError};
use crate::name::Handle;
use crate::sys::{Deadline, Fault, Ordering, fault, fence, ordering};
use crate::tag::Tag;
use crate::transfer;

/// Why there is no reply.
#[derive(Debug)]
pub(crate) enum Unanswered {
    /// The receiver that had taken the request is gone.
    Died,
    /// No receiver is there, none stands by, and none had taken the request.
    NoReceiver,
    /// The caller was to stop waiting for a while.
    Interrupted,
    Failed(RecvError),
}

/// Rings a sender that waits, from any thread of its process.
pub(crate) struct SenderBell {
    control: Arc<Control>,
    bell: Doorbell,
}

impl SenderBell {
    pub(crate) fn notify(&self) {
        self.control.notify(self.bell);
    }
}

impl<T, C: Codec<T>> Sender<T, C> {
    /// Sends a value behind a head; says where the ring stands then. While it waits for room,
    /// `take_reply` has what comes back.
    pub(crate) fn send_behind<V, D: Codec<V>>(
        &self,
        head: &[u8],
        value: &V,
        deadline: Deadline,
        take_reply: impl FnMut(Reader<'_>),
    ) -> Result<u64, SendError> {
        let encode = |out: &mut Writer<'_>| -> Result<(), EncodeError> {
            out.write(head)?;
            transfer::encode::<V, D>(value, out)
        };
        let value = Headed { head: head.len(), encode };
        let request = Request { value, take_reply: RefCell::new(take_reply) };
        transfer::sending::<V, _, _>(|| self.send_positioned(&request, deadline))
    }

    /// A value's encoding, to be sent later or more than once. What its parts say belongs to the call around
    /// this: see `transfer::sending`.
    pub(crate) fn encode_request<V, D: Codec<V>>(&self, value: &V) -> Result<Vec<u8>, SendError> {
        let max = self.control.max_value();
        let encode = |out: &mut Writer<'_>| transfer::encode::<V, D>(value, out);
        let channel = || self.control.name();
        match Encoded::new(max, encode) {
            Ok(encoded) => Ok(encoded.to_vec()),
            Err(NotEncoded::TooLong) => {
                Err(SendError::TooLong { channel: channel(), max, option: "max_value" })
            }
            Err(NotEncoded::Failed(error)) => Err(SendError::Encode { channel: channel(), error }),
        }
    }

    /// Waits until `accept` makes something of a reply to what ended at `end` in the ring. A
    /// caller that is to `stay` waits for the next receiver as long as none has taken it. What makes
    /// `interrupted` so has to ring.
    pub(crate) fn wait_for_reply<R>(
        &self,
        end: u64,
        deadline: Deadline,
        stay: bool,
        interrupted: impl Fn() -> bool,
        mut accept: impl FnMut(Reader<'_>) -> Option<R>,
    ) -> Result<R, Unanswered> {
        let (died, was_interrupted) = (Cell::new(false), Cell::new(false));
        let is_over = |sender: &Self| {
            died.set(sender.was_consumed_by_a_predecessor(end));
            was_interrupted.set(interrupted());
            died.get() || was_interrupted.get()
        };
        let lost = |sender: &Self| {
            // `consumed` is read before the receiver's semaphore: if the request was consumed by then, and no
            // receiver is attached now, the one that consumed it is gone.
            let consumed = sender.was_consumed(end);
            let late = fault(Fault::TakenAskedLate);
            let stays = if consumed {
                sender.has_receiver().map_err(back_error)?
            } else {
                stay && !late || sender.has_standby()?
            };
            died.set(!stays && (consumed || late && sender.was_consumed(end)));
            Ok(if stays { OnDisconnect::Stay } else { OnDisconnect::GiveUp })
        };
        match self.accept_back_unless(deadline, is_over, &mut accept, lost) {
            Ok(reply) => Ok(reply),
            Err(error @ RecvError::Removed { .. }) => {
                self.reply_left(&mut accept).ok_or(Unanswered::Failed(error))
            }
            Err(RecvError::Disconnected { .. }) if died.get() => {
                event!(
                    INFO,
                    self.control,
                    lane = self.lane,
                    "the server died, and may have read the request"
                );
                Err(Unanswered::Died)
            }
            Err(RecvError::Disconnected { .. }) if was_interrupted.get() => {
                Err(Unanswered::Interrupted)
            }
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

    /// Waits until `accept` makes something of a reply, while the receiver is the one of that
    /// generation.
    ///
    /// [`RecvError::Disconnected`] once that one is gone.
    pub(crate) fn wait_for_reply_of<R>(
        &self,
        receiver: u64,
        deadline: Deadline,
        mut accept: impl FnMut(Reader<'_>) -> Option<R>,
    ) -> Result<R, RecvError> {
        let replaced = |sender: &Self| sender.is_replaced(receiver);
        match self.accept_back_unless(deadline, replaced, &mut accept, |_| Ok(OnDisconnect::GiveUp))
        {
            Err(error @ RecvError::Removed { .. }) => self.reply_left(&mut accept).ok_or(error),
            reply => reply,
        }
    }

    /// What `accept` makes of the replies that stand in this process's memory when the channel was
    /// removed: a caller is told the truth about its own request.
    // NB: a channel says Removed at once and for good, and so does `recv_back`. A call ends with this.
    #[cold]
    fn reply_left<R>(&self, accept: &mut impl FnMut(Reader<'_>) -> Option<R>) -> Option<R> {
        if fault(Fault::ReplyLost) {
            return None;
        }
        self.next_reply(accept).ok()?
    }

    /// Whether another receiver has come after the one of that generation.
    pub(crate) fn is_replaced(&self, receiver: u64) -> bool {
        self.receiver() != receiver && !fault(Fault::SuccessorNotSeen)
    }

    /// Waits until a receiver is there, and says which; [`SendError::Disconnected`] where none can come
    /// any more. One that takes the role in this moment is
    /// waited for until it has said so, or its predecessor's generation would be taken for its.
    pub(crate) fn await_receiver(&self, deadline: Deadline) -> Result<u64, SendError> {
        self.park_until(deadline, |sender| Ok(sender.await_receiver_now()?.is_some()))?;
        Ok(self.receiver())
    }

    /// Which receiver is there, if one is and has said which it is.
    pub(super) fn await_receiver_now(&self) -> Result<Option<u64>, SendError> {
        if self.control.is_removed() {
            return Err(self.control.removed().into());
        }
        let served = self.is_served()?;
        if !served && self.is_abandoned()? {
            return Err(SendError::Disconnected { channel: self.control.name() });
        }
        Ok(served.then(|| self.receiver()))
    }

    /// Waits until a receiver has come, and says which came last, even if it has gone since.
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
        self.control.has_serving_receiver().map_err(|error| self.control.wait_error(error).into())
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
        self.control.has_receiver().map_err(|error| self.control.wait_error(error).into())
    }

    /// Which receiver came last.
    fn receiver(&self) -> u64 {
        // Acquire: pairs with the receiver's Release; its predecessor's replies are seen then.
        let order = ordering(Ordering::Acquire, Fault::ReceiverRelaxed);
        self.control.word(word::RECEIVER_GENERATION).load(order)
    }

    /// What rings this sender.
    pub(crate) fn bell(&self) -> SenderBell {
        SenderBell { control: self.control.clone(), bell: self.control.lane_bell(self.lane) }
    }

    /// Opens a slot for a stream of replies, before the request of the call is sent.
    pub(crate) fn open_stream(&self, at: usize, call: u64) {
        self.stream_of(at, call).open();
    }

    /// What says how much of a stream was taken.
    pub(crate) fn stream_of(&self, at: usize, call: u64) -> Credit {
        Credit::new(self.control.clone(), self.lane, at, call)
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
        semaphores::has_standby(self.control.set)
            .map_err(|error| self.control.wait_error(error).into())
    }

    /// Whether everything before `end` was consumed.
    pub(crate) fn was_consumed(&self, end: u64) -> bool {
        let layout = self.control.layout().ring(self.lane);
        // Acquire: only to come before a look for the receiver that follows. `renew_generation`
        // says what orders it there.
        self.control.word(layout.head_at).load(Ordering::Acquire) >= end
    }

    /// Whether a receiver before the present one consumed everything before `end`.
    fn was_consumed_by_a_predecessor(&self, end: u64) -> bool {
        // Acquire: pairs with the Release of the receiver that found it consumed; what its predecessor
        // answered is seen then.
        let order = ordering(Ordering::Acquire, Fault::ReceiverStartRelaxed);
        self.control.lane_word(self.lane, lane_word::RECEIVER_START).load(order) >= end
    }

    /// Takes what replies there are, without waiting, also those of a channel that was removed.
    pub(crate) fn take_replies(&self, mut accept: impl FnMut(Reader<'_>)) -> Result<(), RecvError> {
        let mut accept = |reader: Reader<'_>| -> Option<()> {
            accept(reader);
            None
        };
        self.next_reply(&mut accept).map(drop)
    }

    fn next_reply<R>(
        &self,
        accept: &mut impl FnMut(Reader<'_>) -> Option<R>,
    ) -> Result<Option<R>, RecvError> {
        let mut state = self.enter_removed().map_err(back_error)?;
        let Some(replies) = state.replies.as_mut() else { return Ok(None) };
        let next = replies.next(&self.control, self.lane, Deadline::now(), accept);
        next.map_err(|damage| back_error(self.damaged(damage)))
    }

    /// Becomes a new owner of the lane. Afterwards [`was_consumed`](Sender::was_consumed) is final: what
    /// was not consumed by now is no request any more.
    pub(crate) fn renew_generation(&mut self) -> Result<(), AttachError> {
        self.start_generation()?;
        if !fault(Fault::NoRenewFence) {
            // SeqCst: pairs with the fence of `Caller::is_there` after the hand-over.
            fence(Ordering::SeqCst);
        }
        Ok(())
    }

    /// Ends the ownership before the lane is given up: a receiver that answers knows that no caller waits.
    pub(crate) fn end_generation(&mut self) {
        // A lane that is damaged, or of a parent process, is left as it is.
        if self.control.is_ours() {
            let _ = self.start_generation();
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
            there.map_err(|error| self.control.wait_error(error).into())
        })
    }

    /// Tells the receiver that the caller waits no more for the reply to this call, nor to any before
    /// `waited_for`.
    pub(crate) fn cancel(&self, call: u64, waited_for: u64) {
        cancelled(&self.control, self.lane, call).swap(call, Ordering::Relaxed);
        not_waited_for(&self.control, self.lane).swap(waited_for, Ordering::Relaxed);
        if !fault(Fault::CancelNotRung) {
            notify_of_room(&self.control, self.lane);
        }
    }
}
