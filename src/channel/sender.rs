//! The sending endpoint: its calls, and which path a value takes.
//!
//! | file | subject |
//! |---|---|
//! | `attach` | taking a lane, becoming its owner, giving it back |
//! | `encode` | what a value is sent as |
//! | `ring`, `queue`, `fragments` | the paths that it can take |
//! | `wait` | waiting for room |
//! | `poll` | waiting for room in a task |
//! | `long` | a value in fragments that a task sends |
//! | `accept` | waiting for what comes back |

mod accept;
mod attach;
mod encode;
mod fragments;
mod long;
mod poll;
mod queue;
mod ring;
mod wait;

use std::cell::{OnceCell, RefCell, RefMut};
use std::fmt;
use std::iter;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::{Duration, Instant};

pub(super) use accept::back_error;
pub(super) use encode::{Encode, Headed, Request};
#[cfg(feature = "async")]
pub(super) use poll::Progress;
pub(super) use wait::OnDisconnect;

use super::closer::Closing;
use super::replies::Replies;
use super::space::Place;
use super::{Channel, Closer, Local};
use crate::codec::{Codec, DefaultCodec, Writer};
use crate::control::{
    Control, Doorbell, ENVELOPE, Listener, VALUES_BETWEEN_LOOKS, WaitError, lane_word, word,
};
use crate::error::{AttachError, SendError};
use crate::ring::{Producer, Record};
use crate::sys::{Deadline, Fault, MessageBuffer, Ordering, SystemError, fault};
use crate::tag::Tag;
use crate::transfer;

/// The sending side of a channel, in one process at one time.
///
/// Each sender owns a lane of the channel; another one comes from
/// [`try_clone`](Sender::try_clone), since lanes can run out. Values of one sender arrive in the
/// order in which they were sent. Methods work through `&self`; a sender can move to another
/// thread, and cannot be shared by two.
///
/// A value whose `send` returned is in the kernel's memory: it is delivered even if this process
/// dies in the next moment.
///
/// ```
/// let (tx, rx) = sysv_channel::channel::<(u64, String)>()?;
/// tx.send(&(7, "seven".to_owned()))?;
/// assert_eq!(rx.recv()?, (7, "seven".to_owned()));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Sender<T, C = DefaultCodec> {
    pub(super) control: Arc<Control>,
    pub(super) lane: usize,
    /// What it raised the lane's role by.
    pub(super) mark: i16,
    /// Which owner of the lane this is.
    pub(super) generation: u64,
    bell: Doorbell,
    pub(super) local: Local,
    state: RefCell<State>,
    /// Present once there was a closer.
    closing: OnceCell<Arc<Closing>>,
    /// What sleeps at the bell, once a task has waited for room or for a reply.
    listener: RefCell<Option<Arc<Listener>>>,
    value: PhantomData<fn(&T) -> C>,
}

pub(super) struct State {
    producer: Option<Producer>,
    /// The way back from the receiver, if the channel has one.
    pub(super) replies: Option<Replies>,
    /// Where queue messages are made; present if there is a queue.
    message: Option<MessageBuffer>,
    /// How many values it began to send as messages.
    messages: u64,
    /// A record of the lane's last owner whose descriptor may be missing.
    unannounced: Option<Record>,
    /// Bytes that may go on the queue before this sender has to wait for its turn again.
    granted: u64,
    /// Whether the receiver's role was looked at since the last wake-up that perhaps no peer made.
    looked_at_receiver: bool,
    /// Whether the kernel rings the other lanes when this process dies: see `space`.
    armed: bool,
    /// Whether the line for the queue was looked at since the last wake-up that perhaps no peer made.
    looked_at_line: bool,
    /// Whether a park timed out since this sender last looked for room.
    park_timed_out: bool,
    turn: Turn,
}

/// How a call that does not wait comes to its turn on the queue.
enum Turn {
    /// It sends if others in line leave room, and has no place itself.
    Spare,
    /// It is made for a task that waits, and has this place in line once it found no room.
    Task(Option<Place>),
}

impl From<WaitError> for SendError {
    fn from(slept: WaitError) -> Self {
        match slept {
            WaitError::Timeout { channel } => SendError::Timeout { channel },
            WaitError::Removed { channel } => SendError::Removed { channel },
            WaitError::Failed { channel, error } => SendError::System { channel, error },
        }
    }
}

impl<T, C: Codec<T>> Sender<T, C> {
    /// Sends what the layer above encodes; says where the lane's ring stands then.
    pub(super) fn send_positioned(
        &self,
        value: &impl Encode,
        deadline: Deadline,
    ) -> Result<u64, SendError> {
        let mut state = self.enter()?;
        self.send_in(&mut state, Tag::DEFAULT, value, deadline)?;
        Ok(state.producer.as_ref().map_or(0, Producer::end))
    }

    /// Another sender on a lane of its own.
    ///
    /// # Errors
    /// [`AttachError`], as [`Channel::sender`].
    pub fn try_clone(&self) -> Result<Self, AttachError> {
        Sender::attach(self.control.clone(), self.local, None)
    }

    /// Sends a value, and waits while the channel is full.
    ///
    /// A value that takes more than half of the channel's [`capacity`](crate::Options::capacity), 16 bytes
    /// of its own included (by default 2 MiB, or 128 KiB on a channel with a queue), goes in fragments:
    /// `send` then returns when a receiver has received it, also on a
    /// channel that is empty. A thread that sends such a value to its own receiver waits for ever.
    ///
    /// A receiver that is dropped, or whose process exits, says so to the next call. One that was killed
    /// cannot: values go into the channel as long as there is room, for the next receiver, and the first
    /// call that finds none is [`Disconnected`](SendError::Disconnected).
    ///
    /// # Errors
    /// [`SendError::Disconnected`] if the receiver is gone, [`SendError::Closed`] if its
    /// [closer](Sender::closer) ended the call, [`SendError::Removed`] if the channel was removed, [`SendError::TooLong`] or [`SendError::Encode`] for a value that the channel does not
    /// take; [`SendError`] otherwise. The value was not sent then, but for [`SendError::NotWoken`].
    #[inline]
    pub fn send(&self, value: &T) -> Result<(), SendError> {
        self.send_value(Tag::DEFAULT, value, Deadline::never())
    }

    /// Sends a value if there is room now.
    ///
    /// # Errors
    /// [`SendError::Full`] if there is none; [`SendError::NeedsWaiting`] for a value so long that it
    /// goes in fragments; else as [`send`](Sender::send). What was written of a long value that was given
    /// up, by a deadline, a closer or a kill, takes room until the receiver's next call.
    pub fn try_send(&self, value: &T) -> Result<(), SendError> {
        self.send_value(Tag::DEFAULT, value, Deadline::now())
    }

    /// Sends a value, and waits at most `timeout` for room.
    ///
    /// # Errors
    /// [`SendError::Timeout`] if there was none; else as [`send`](Sender::send).
    pub fn send_timeout(&self, value: &T, timeout: Duration) -> Result<(), SendError> {
        self.send_value(Tag::DEFAULT, value, Deadline::after(timeout))
    }

    /// Like [`send_timeout`](Sender::send_timeout), until a moment.
    ///
    /// # Errors
    /// As [`send_timeout`](Sender::send_timeout).
    pub fn send_deadline(&self, value: &T, deadline: Instant) -> Result<(), SendError> {
        self.send_value(Tag::DEFAULT, value, Deadline::at(deadline))
    }

    /// Like [`send`](Sender::send), with a tag that the receiver can select by.
    ///
    /// # Errors
    /// As [`send`](Sender::send).
    pub fn send_tagged(&self, tag: Tag, value: &T) -> Result<(), SendError> {
        self.send_value(tag, value, Deadline::never())
    }

    /// Like [`try_send`](Sender::try_send), with a tag.
    ///
    /// # Errors
    /// As [`try_send`](Sender::try_send).
    pub fn try_send_tagged(&self, tag: Tag, value: &T) -> Result<(), SendError> {
        self.send_value(tag, value, Deadline::now())
    }

    /// Like [`send_timeout`](Sender::send_timeout), with a tag.
    ///
    /// # Errors
    /// As [`send_timeout`](Sender::send_timeout).
    pub fn send_tagged_timeout(
        &self,
        tag: Tag,
        value: &T,
        timeout: Duration,
    ) -> Result<(), SendError> {
        self.send_value(tag, value, Deadline::after(timeout))
    }

    /// Sends values one after another, and waits while the channel is full. Returns how many were
    /// sent.
    ///
    /// The receiver has each value before the next one is asked of the iterator, which may take its
    /// time and may wait for the receiver. With no values it returns 0 at once, whatever became of the
    /// channel.
    ///
    /// ```
    /// let (tx, rx) = sysv_channel::channel::<u32>()?;
    /// assert_eq!(tx.send_all(&[1, 2, 3])?, 3);
    /// assert_eq!(tx.send_all(&[])?, 0);
    /// assert_eq!(rx.try_iter().collect::<Result<Vec<_>, _>>()?, [1, 2, 3]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`send`](Sender::send), if the call ends with the very first value. Nothing was sent then, but
    /// for [`SendError::NotWoken`]: that value was, and no other. If it ends with a later one, the
    /// number of those that were sent is returned: they are the first ones, in order and whole. The
    /// iterator may have given one more, which was not sent, and was asked for no other. Sending the
    /// rest, from that number on, tells why it ended, and repeats no value: where the
    /// [closer](Sender::closer) ended it, the next call that waits does.
    pub fn send_all<'v>(&self, values: impl IntoIterator<Item = &'v T>) -> Result<usize, SendError>
    where
        T: 'v,
    {
        // Before the first value is asked for: the iterator must not use this sender either.
        let entered = self.enter();
        let mut values = values.into_iter();
        let Some(first) = values.next() else { return Ok(0) };
        let mut state = entered?;
        let mut sent = 0;
        for value in iter::once(first).chain(values) {
            let value = |out: &mut Writer<'_>| transfer::encode::<T, C>(value, out);
            let result = transfer::sending::<T, _, _>(|| {
                self.send_in(&mut state, Tag::DEFAULT, &value, Deadline::never())
            });
            match result {
                Ok(()) => sent += 1,
                Err(error) if sent == 0 => return self.told(Err(error)),
                Err(SendError::NotWoken { .. }) => {
                    sent += 1;
                    break;
                }
                Err(_) => break,
            }
        }
        Ok(sent)
    }

    #[inline]
    pub(super) fn enter(&self) -> Result<RefMut<'_, State>, SendError> {
        self.check_is_ours()?;
        if self.control.is_removed() {
            return Err(self.control.removed().into());
        }
        self.borrow()
    }

    /// The same, also on a channel that was removed.
    pub(super) fn enter_removed(&self) -> Result<RefMut<'_, State>, SendError> {
        self.check_is_ours()?;
        self.borrow()
    }

    #[inline]
    fn check_is_ours(&self) -> Result<(), SendError> {
        if self.control.is_ours() {
            return Ok(());
        }
        Err(SendError::Forked { channel: self.control.name() })
    }

    #[inline]
    fn borrow(&self) -> Result<RefMut<'_, State>, SendError> {
        let state = self.state.try_borrow_mut();
        state.map_err(|_| SendError::Reentrant { channel: self.control.name() })
    }

    #[inline]
    fn send_value(&self, tag: Tag, value: &T, deadline: Deadline) -> Result<(), SendError> {
        transfer::sending::<T, _, _>(|| {
            let encode = |out: &mut Writer<'_>| transfer::encode::<T, C>(value, out);
            self.send_encoded(tag, &encode, deadline)
        })
    }

    /// Sends what the layer above encodes.
    #[inline]
    pub(super) fn send_encoded(
        &self,
        tag: Tag,
        value: &impl Encode,
        deadline: Deadline,
    ) -> Result<(), SendError> {
        let mut state = self.enter()?;
        self.told(self.send_in(&mut state, tag, value, deadline))
    }

    /// What ends a call that waits for room: a thread's, or a signal handler's way to this sender.
    ///
    /// The value of the call that was ended was not sent, and the next one sends again.
    ///
    /// ```
    /// # use sysv_channel::Channel;
    /// let (tx, _rx) = sysv_channel::channel::<u64>()?;
    /// let closer = tx.closer();
    /// let filling = std::thread::spawn(move || loop {
    ///     if let Err(error) = tx.send(&0) {
    ///         break error;
    ///     }
    /// });
    /// closer.close();
    /// assert!(filling.join().unwrap().is_closed());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn closer(&self) -> Closer {
        let closing = || Arc::new(Closing::new(self.control.clone(), self.bell));
        Closer::of_sender(self.closing.get_or_init(closing))
    }

    /// Refuses to wait once the sender was closed.
    #[inline]
    pub(super) fn check_open(&self) -> Result<(), SendError> {
        match self.closing.get() {
            Some(closing) if closing.is_closed() => {
                Err(SendError::Closed { channel: self.control.name() })
            }
            _ => Ok(()),
        }
    }

    /// What a call is told; that it was closed, one call.
    #[inline]
    pub(super) fn told<R>(&self, result: Result<R, SendError>) -> Result<R, SendError> {
        if let (Err(SendError::Closed { .. }), Some(closing)) = (&result, self.closing.get()) {
            closing.reopen();
        }
        result
    }

    #[inline]
    fn send_in(
        &self,
        state: &mut State,
        tag: Tag,
        value: &impl Encode,
        deadline: Deadline,
    ) -> Result<(), SendError> {
        self.check_receiver()?;
        let len = match self.control.queue {
            None => self.send_by_ring(state, tag, value, deadline)?,
            Some(queue) => self.send_by_queue(state, queue, tag, value, deadline)?,
        };
        self.sent(len)
    }

    /// Refuses to send to a receiver that said goodbye.
    #[inline]
    fn check_receiver(&self) -> Result<(), SendError> {
        // Relaxed: a hint; the semaphore decides.
        if self.control.word(word::RECEIVER_LEFT).load(Ordering::Relaxed) != 0
            && self.receiver_is_gone()?
        {
            return Err(self.disconnected());
        }
        Ok(())
    }

    /// What follows a value that was sent.
    #[inline]
    fn sent(&self, len: usize) -> Result<(), SendError> {
        let block = self.control.layout().lane(self.lane);
        let values = self.control.count(block + lane_word::SENT_VALUES, 1);
        if values.is_multiple_of(VALUES_BETWEEN_LOOKS) && cfg!(not(loom)) {
            self.control.poll_removed();
        }
        self.control.count(block + lane_word::SENT_BYTES, len as u64);
        let rung = self.control.try_notify_receivers();
        rung.or_else(|error| not_woken(&self.control, error))
    }

    /// Rings the receivers for what stands before a value that is not sent yet.
    #[inline]
    fn notify_receiver(&self) -> Result<(), SendError> {
        let rung = self.control.try_notify_receivers();
        rung.map_err(|error| self.control.wait_error(error).into())
    }

    /// Refuses to wait for a receiver that does not read this lane's ring any more.
    pub(super) fn check_not_damaged(&self) -> Result<(), SendError> {
        // Relaxed: the receiver rings after it has written this.
        let damaged = self.control.lane_word(self.lane, lane_word::DAMAGED_GENERATION);
        if damaged.load(Ordering::Relaxed) != self.generation {
            return Ok(());
        }
        let what = format!(
            "lane {}: the receiver found it damaged and ignores it; another sender can use it",
            self.lane
        );
        Err(SendError::Corrupt { channel: self.control.name(), what })
    }

    /// What is said where the receiver is gone: that, or that the channel is.
    #[cold]
    pub(super) fn disconnected(&self) -> SendError {
        match self.control.was_removed() {
            true => self.control.removed().into(),
            false => {
                event!(INFO, self.control, lane = self.lane, "the receiver is gone");
                SendError::Disconnected { channel: self.control.name() }
            }
        }
    }

    /// Whether a receiver has come and none is attached now.
    pub(super) fn receiver_is_gone(&self) -> Result<bool, SendError> {
        if self.control.header.durable || !self.control.receiver_came() {
            return Ok(false);
        }
        match self.control.has_receiver() {
            Ok(there) => Ok(!there),
            Err(error) => Err(self.control.wait_error(error).into()),
        }
    }

    /// How many values wait to be received now, this sender's and others'. They are counted where
    /// they stand: by a system call where the channel has a queue, and by a look at each of them where
    /// it has none.
    ///
    /// # Errors
    /// [`SendError::Removed`] if the channel was, [`SendError::System`] if the kernel does not say,
    /// [`SendError::Reentrant`] inside of another call, [`SendError::Forked`] in a forked child.
    pub fn len(&self) -> Result<usize, SendError> {
        drop(self.enter()?);
        self.control.check_not_removed()?;
        let waiting = super::stats::waiting(&self.control);
        Ok(waiting.map_err(|error| self.control.wait_error(error))? as usize)
    }

    /// Whether no value waits to be received now.
    ///
    /// # Errors
    /// As [`len`](Sender::len).
    pub fn is_empty(&self) -> Result<bool, SendError> {
        Ok(self.len()? == 0)
    }

    /// Whether there is no room now, not for the shortest of values: [`try_send`](Sender::try_send)
    /// would say [`Full`](SendError::Full) of any. The answer is old when it comes, as others send and
    /// receive. It is of this sender's ring on a channel without a queue, and else of the queue, which
    /// all senders share: a longer value may find no room in the ring, or wait for its turn, where this
    /// says `false`.
    ///
    /// ```
    /// let (tx, rx) = sysv_channel::channel::<()>()?;
    /// assert!(!tx.is_full()?);
    /// while tx.try_send(&()).is_ok() {}
    /// assert!(tx.is_full()?);
    /// rx.recv()?;
    /// assert!(!tx.is_full()?);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`len`](Sender::len), and [`SendError::Corrupt`] if the ring is damaged.
    pub fn is_full(&self) -> Result<bool, SendError> {
        let mut state = self.enter()?;
        self.control.check_not_removed()?;
        let Some(queue) = self.control.queue else {
            let room = self.producer(&mut state).reserve_available(Tag::DEFAULT);
            return Ok(room.map_err(|damage| self.damaged(damage))?.is_none());
        };
        let stat = queue.stat().map_err(|error| self.control.wait_error(error))?;
        // One more message, with the least that a value can be encoded as.
        let least = self.control.layout().padded(ENVELOPE) as u64;
        Ok(stat.bytes + least > stat.capacity || stat.messages >= stat.capacity)
    }

    /// How many bytes each sender's ring has; 0 where values go through the kernel's queue alone.
    pub fn capacity(&self) -> usize {
        self.control.layout().ring_bytes()
    }

    /// Whether both are senders of one very channel.
    pub fn same_channel(&self, other: &Self) -> bool {
        self.control.handle() == other.control.handle()
    }

    /// The channel that this sender belongs to.
    pub fn channel(&self) -> Channel<T, C> {
        Channel::from_control(self.control.clone(), self.local)
    }
}

/// What became of a value that was sent, where the kernel refuses to wake the party that it is for.
///
/// Where the channel was removed, that party may have the value already, so it counts as sent; the
/// next call says that the channel is gone.
#[cold]
pub(super) fn not_woken(control: &Control, error: SystemError) -> Result<(), SendError> {
    match control.wait_error(error) {
        WaitError::Removed { .. } if !fault(Fault::SentTakenBack) => Ok(()),
        WaitError::Failed { channel, error } => Err(SendError::NotWoken { channel, error }),
        slept => Err(slept.into()),
    }
}

impl<T, C> fmt::Debug for Sender<T, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender")
            .field("channel", &self.control.header.name)
            .field("lane", &self.lane)
            .finish()
    }
}
