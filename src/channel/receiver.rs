//! The receiving endpoint: its calls, and handing values over.
//!
//! | file | subject |
//! |---|---|
//! | `attach` | taking a receiver's place, and giving it up |
//! | `hold` | values that stay while others are received |
//! | `guard` | a value that is handed over when its work is done |
//! | `poll` | waiting for values in a task |
//! | `readiness` | waiting for values at a file descriptor |
//! | `state` | what its calls change |
//! | `wait` | waiting for values |

mod attach;
mod guard;
mod hold;
mod poll;
#[cfg(not(loom))]
mod readiness;
pub(super) mod state;
mod wait;

#[cfg(not(loom))]
use std::cell::OnceCell;
use std::cell::{Cell, RefCell, RefMut};
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::{Duration, Instant};

pub use self::guard::RecvGuard;
#[cfg(not(loom))]
pub use self::readiness::Readiness;
use self::state::{OnPanic, State, received};
use super::lane_consumer::NextRecord;
use super::lease::Lease;
use super::origin::Origin;
use super::returns::ReplyProducers;
use super::{Channel, Closer, Delivery, Local};
use crate::codec::{Codec, DecodeError, DefaultCodec, Reader};
use crate::control::{Control, Listener, ReceiverWords, WaitError};
use crate::error::RecvError;
use crate::sys::Deadline;
#[cfg(not(loom))]
use crate::sys::Event;
use crate::tag::{Message, Select, Tag};
use crate::transfer;

/// The receiving side of a channel; there is one at a time, or as many as
/// [`Options::receivers`](crate::Options::receivers) says.
///
/// Methods work through `&self`; a receiver can move to another thread, and cannot be shared by
/// two. When its process dies, every value that it had not handed over stays, and the next receiver
/// continues with exactly those.
///
/// ```
/// use std::time::Duration;
///
/// let (tx, rx) = sysv_channel::channel::<String>()?;
/// assert!(rx.recv_timeout(Duration::from_millis(1)).unwrap_err().is_timeout());
/// tx.send(&"one".to_owned())?;
/// tx.send(&"two".to_owned())?;
/// drop(tx);
/// let all: Vec<String> = rx.iter().collect::<Result<_, _>>()?;
/// assert_eq!(all, ["one", "two"]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Receiver<T, C = DefaultCodec> {
    pub(super) control: Arc<Control>,
    pub(super) local: Local,
    pub(super) state: RefCell<State>,
    /// The ways back to the senders.
    pub(super) returns: Arc<ReplyProducers>,
    /// Whether it receives nothing more once it was closed.
    pub(super) closes_for_good: bool,
    /// Its place among the receivers, and where its words stand.
    pub(super) place: usize,
    words: ReceiverWords,
    /// Whether it has said which receiver it is.
    serving: bool,
    /// Whether it is the receiver no more.
    released: Cell<bool>,
    /// What ends waiting, as a deadline does, beside values.
    pub(super) wake_on: Cell<Option<WakeOn>>,
    /// Whether it was woken, perhaps by the kernel for a sender that went, since its layer last looked.
    pub(super) sender_may_have_gone: Cell<bool>,
    /// What sleeps at the bell, once a task has waited for values.
    listener: RefCell<Option<Arc<Listener>>>,
    /// What is set while there is something to receive, once the program asked for a descriptor.
    #[cfg(not(loom))]
    pub(super) event: OnceCell<Arc<Event>>,
    /// Whether a call looks for a task, which is told instead.
    #[cfg(not(loom))]
    in_task: Cell<bool>,
    value: PhantomData<fn(C) -> T>,
}

/// What ends a receiver's waiting, as a deadline does, beside values.
#[derive(Clone, Copy)]
pub(crate) struct WakeOn {
    /// What [`Receiver::holder_changes`] was: another holder said something since.
    pub(crate) told: u64,
    /// What [`Receiver::nudges`] was: this process has something for the layer above since.
    pub(crate) nudges: u64,
    /// Whether every wake-up does: a holder that dies says nothing.
    pub(crate) any_wakeup: bool,
}

impl From<WaitError> for RecvError {
    fn from(slept: WaitError) -> Self {
        match slept {
            WaitError::Timeout { channel } => RecvError::Timeout { channel },
            WaitError::Removed { channel } => RecvError::Removed { channel },
            WaitError::Failed { channel, error } => RecvError::System { channel, error },
        }
    }
}

impl<T, C: Codec<T>> Receiver<T, C> {
    /// Receives the next value, and waits until there is one.
    ///
    /// A receiver whose senders come and go is one of a channel that
    /// [stays open](crate::Options::stays_open).
    ///
    /// # Errors
    /// [`RecvError::Disconnected`] if senders have come, all are gone and nothing is left,
    /// [`RecvError::Closed`] if its [closer](Receiver::closer) ended the call, [`RecvError::Removed`] if the channel was removed; [`RecvError`] otherwise.
    /// [`RecvError::Decode`] and [`RecvError::Corrupt`] consumed something that was no value, and the
    /// next call goes on with the next.
    #[inline]
    pub fn recv(&self) -> Result<T, RecvError> {
        self.receive(Deadline::never())
    }

    /// Receives the next value if there is one now.
    ///
    /// # Errors
    /// [`RecvError::Empty`] if there is none; else as [`recv`](Receiver::recv).
    pub fn try_recv(&self) -> Result<T, RecvError> {
        self.receive(Deadline::now())
    }

    /// Receives the next value, and waits at most `timeout` for it.
    ///
    /// # Errors
    /// [`RecvError::Timeout`] if none came; else as [`recv`](Receiver::recv).
    pub fn recv_timeout(&self, timeout: Duration) -> Result<T, RecvError> {
        self.receive(Deadline::after(timeout))
    }

    /// Like [`recv_timeout`](Receiver::recv_timeout), until a moment.
    ///
    /// ```
    /// use std::time::{Duration, Instant};
    ///
    /// let (_tx, rx) = sysv_channel::channel::<u32>()?;
    /// let deadline = Instant::now() + Duration::from_millis(5);
    /// assert!(rx.recv_deadline(deadline).unwrap_err().is_timeout());
    /// assert!(Instant::now() >= deadline);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`recv_timeout`](Receiver::recv_timeout).
    pub fn recv_deadline(&self, deadline: Instant) -> Result<T, RecvError> {
        self.receive(Deadline::at(deadline))
    }

    /// Receives the next value that `select` asks for, with its tag, and waits until there is one.
    ///
    /// Values passed over stay and keep their space. On a full queue they block every sender, also
    /// those whose value is waited for: that is what selection costs. In its sender's ring, a value
    /// passed over keeps the space behind it too: one that goes in fragments and does not fit into
    /// the rest of the ring is not complete before the other was received, and a receiver that waits
    /// for it alone waits for ever.
    ///
    /// ```
    /// use sysv_channel::{Select, Tag};
    ///
    /// let (tx, rx) = sysv_channel::channel::<String>()?;
    /// let urgent = Tag::new(7).unwrap();
    /// tx.send(&"ordinary".to_owned())?;
    /// tx.send_tagged(urgent, &"urgent".to_owned())?;
    /// let first = rx.recv_matching(Select::Exactly(urgent))?;
    /// assert_eq!((first.tag, first.value.as_str()), (urgent, "urgent"));
    /// assert_eq!(rx.recv()?, "ordinary");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`RecvError::NoSelection`] on a channel without a queue, unless `select` is
    /// [`Select::Any`]; [`RecvError::SlotsFull`] if what dead receivers had in hand is to be received
    /// first; else as [`recv`](Receiver::recv).
    pub fn recv_matching(&self, select: Select) -> Result<Message<T>, RecvError> {
        self.receive_message(select, Deadline::never())
    }

    /// Like [`recv_matching`](Receiver::recv_matching), if there is such a value now.
    ///
    /// # Errors
    /// [`RecvError::Empty`] if there is none; else as [`recv_matching`](Receiver::recv_matching).
    pub fn try_recv_matching(&self, select: Select) -> Result<Message<T>, RecvError> {
        self.receive_message(select, Deadline::now())
    }

    /// Like [`recv_matching`](Receiver::recv_matching), and waits at most `timeout`.
    ///
    /// # Errors
    /// [`RecvError::Timeout`] if none came; else as [`recv_matching`](Receiver::recv_matching).
    pub fn recv_matching_timeout(
        &self,
        select: Select,
        timeout: Duration,
    ) -> Result<Message<T>, RecvError> {
        self.receive_message(select, Deadline::after(timeout))
    }

    /// Appends up to `max` values to `batch`: waits for the first, takes what else is there. A receiver
    /// that is killed meanwhile takes along what it has appended.
    /// Returns how many it appended. With a `max` of 0 that is 0 at once, whatever waits and whatever
    /// became of the channel.
    ///
    /// ```
    /// let (tx, rx) = sysv_channel::channel::<u32>()?;
    /// tx.send_all(&[1, 2, 3])?;
    /// let mut batch = Vec::new();
    /// assert_eq!(rx.recv_batch(&mut batch, 2)?, 2);
    /// assert_eq!(rx.recv_batch(&mut batch, 2)?, 1);
    /// assert_eq!(rx.recv_batch(&mut batch, 0)?, 0);
    /// assert_eq!(batch, [1, 2, 3]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`recv`](Receiver::recv), for the first value. What is wrong with a later one is told too, and
    /// the values before it stay in `batch`; that the channel was removed, the next call tells.
    pub fn recv_batch(&self, batch: &mut Vec<T>, max: usize) -> Result<usize, RecvError> {
        if max == 0 {
            return Ok(0);
        }
        batch.push(self.recv()?);
        let mut received = 1;
        while received < max {
            match self.try_recv() {
                Ok(value) => batch.push(value),
                Err(error) if error.is_empty() || error.is_disconnected() || error.is_removed() => {
                    break;
                }
                Err(error) => return Err(error),
            }
            received += 1;
        }
        Ok(received)
    }

    /// Waits for the next value and lends its encoded bytes, without copying or decoding.
    ///
    /// The value is handed over when the [`Lease`] is dropped, one that came in fragments when it is lent;
    /// until the drop the receiver is in the middle of this call. Needs [`Options::in_place`](crate::Options::in_place).
    ///
    /// # Errors
    /// [`RecvError::NotTrusted`] without that option; else as [`recv`](Receiver::recv).
    pub fn recv_in_place(&self) -> Result<Lease<'_>, RecvError> {
        self.told(self.lend(Deadline::never()))
    }

    /// Like [`recv_in_place`](Receiver::recv_in_place), if there is a value now.
    ///
    /// # Errors
    /// [`RecvError::Empty`] if there is none; else as [`recv_in_place`](Receiver::recv_in_place).
    pub fn try_recv_in_place(&self) -> Result<Lease<'_>, RecvError> {
        self.lend(Deadline::now())
    }

    fn lend(&self, deadline: Deadline) -> Result<Lease<'_>, RecvError> {
        let trust = self
            .local
            .trust
            .ok_or_else(|| RecvError::NotTrusted { channel: self.control.name() })?;
        let mut state = self.enter()?;
        if !deadline.is_now() {
            self.check_open()?;
        }
        let mut spin = self.local.spin;
        let found = self.next_record(&mut state, deadline, &mut spin);
        let found = found.map(|(lane, next)| (lane, next.keep()));
        if let Some((lane, record)) = found {
            let delivery = Delivery::Record { lane, record, slot: None };
            return Ok(Lease::new(&self.control, state, self.words, delivery, trust));
        }
        let mut withdrawn = 0;
        loop {
            let delivery = self.wait(&mut state, Select::Any, deadline, spin)?;
            // The hand-over of a value in fragments is where its lease begins, since its sender waits
            // and may take it back before.
            if !delivery.may_be_taken_back() || state.sources.hand_over(&self.control, &delivery) {
                if let Err(error) = state.sources.is_lendable(&delivery) {
                    state.sources.forget(&delivery);
                    return Err(self.undecodable(error.into()));
                }
                return Ok(Lease::new(&self.control, state, self.words, delivery, trust));
            }
            state.sources.forget(&delivery);
            count_withdrawn(&self.control, &mut withdrawn, deadline)?;
        }
    }

    /// What ends a call that waits for a value: a thread's, or a signal handler's way to this receiver.
    ///
    /// Nothing is lost: values stay, and the call after the one that was ended receives again. An
    /// iterator ends with the error; another one goes on.
    ///
    /// ```
    /// let (_tx, rx) = sysv_channel::channel::<u32>()?;
    /// let closer = rx.closer();
    /// let receiving = std::thread::spawn(move || rx.recv());
    /// closer.close();
    /// assert!(receiving.join().unwrap().unwrap_err().is_closed());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn closer(&self) -> Closer {
        Closer::of_receiver(&self.returns)
    }

    /// What a call is told; that it was closed, one call.
    #[inline]
    fn told<R>(&self, result: Result<R, RecvError>) -> Result<R, RecvError> {
        if let Err(RecvError::Closed { .. }) = result
            && !self.closes_for_good
        {
            self.returns.reopen_receiver();
        }
        result
    }

    #[inline]
    fn enter(&self) -> Result<RefMut<'_, State>, RecvError> {
        self.check()?;
        if let Some(error) = self.control.take_unwoken() {
            return Err(RecvError::NotWoken { channel: self.control.name(), error });
        }
        let state = self.state.try_borrow_mut();
        state.map_err(|_| RecvError::Reentrant { channel: self.control.name() })
    }

    /// Refuses a call from inside of another one, and to use what is the parent's, or gone.
    pub(super) fn can_enter(&self) -> Result<(), RecvError> {
        self.enter().map(drop)
    }

    /// Refuses to use what is the parent's, or gone.
    #[inline]
    fn check(&self) -> Result<(), RecvError> {
        if !self.control.is_ours() {
            return Err(RecvError::Forked { channel: self.control.name() });
        }
        if self.control.is_removed() {
            return Err(self.control.removed().into());
        }
        Ok(())
    }

    #[inline]
    fn receive(&self, deadline: Deadline) -> Result<T, RecvError> {
        let make = |reader: Reader<'_>, _, ()| C::decode(reader);
        self.told(self.receive_with(Select::Any, deadline, |_| (), make))
    }

    #[inline]
    fn receive_message(&self, select: Select, deadline: Deadline) -> Result<Message<T>, RecvError> {
        let make = |reader: Reader<'_>, tag, ()| Ok(Message { tag, value: C::decode(reader)? });
        self.told(self.receive_with(select, deadline, |_| (), make))
    }

    /// Receives what the layer above makes of a value's bytes and its tag.
    #[cfg(not(loom))]
    pub(crate) fn receive_as<V>(
        &self,
        select: Select,
        deadline: Deadline,
        make: impl Fn(Reader<'_>, Tag) -> Result<V, DecodeError>,
    ) -> Result<V, RecvError> {
        let make = |reader: Reader<'_>, tag, ()| make(reader, tag);
        self.told(self.receive_with(select, deadline, |_| (), make))
    }

    /// Receives what `make` makes of a value's bytes, its tag and who sent it.
    #[inline]
    pub(super) fn receive_from<V>(
        &self,
        select: Select,
        deadline: Deadline,
        make: impl Fn(Reader<'_>, Tag, Origin) -> Result<V, DecodeError>,
    ) -> Result<V, RecvError> {
        self.receive_with(select, deadline, |origin| origin(), make)
    }

    /// Receives what `make` makes of a value's bytes, its tag and what `ask` asks of its sender.
    #[inline]
    fn receive_with<V, O>(
        &self,
        select: Select,
        deadline: Deadline,
        ask: impl Fn(&dyn Fn() -> Origin) -> O,
        make: impl Fn(Reader<'_>, Tag, O) -> Result<V, DecodeError>,
    ) -> Result<V, RecvError> {
        let mut state = self.enter()?;
        if select != Select::Any && !self.control.layout().has_queue() {
            return Err(RecvError::NoSelection { channel: self.control.name() });
        }
        if !deadline.is_now() {
            self.check_open()?;
        }
        self.returns.flush(false);
        let control = &*self.control;
        let mut withdrawn = 0;
        loop {
            let mut spin = self.local.spin;
            if let Some((lane, next)) = self.next_record(&mut state, deadline, &mut spin) {
                let record = *next.record();
                let asked = ask(&|| Origin::of_record(control, lane, record.position));
                let value = next.read(|reader| make(reader, record.tag, asked));
                drop(next);
                received(control, &ReceiverWords::ALONE, record.len);
                return value.map_err(|error| self.undecodable(error));
            }
            let delivery = self.wait(&mut state, select, deadline, spin)?;
            let tag = state.sources.tag(&delivery);
            let asked = ask(&|| state.sources.origin(control, &delivery));
            let poisoned = OnPanic { control, state: &mut state, delivery: &delivery };
            let read = || {
                poisoned.state.sources.read(control, &delivery, |reader| {
                    let len = reader.remaining();
                    (make(reader, tag, asked), len)
                })
            };
            let ((value, len), come) = transfer::receiving(delivery.may_be_taken_back(), read);
            std::mem::forget(poisoned);
            let accepted = state.sources.hand_over(control, &delivery);
            state.sources.forget(&delivery);
            if accepted {
                received(control, &self.words, len);
                come.into_iter().for_each(|part| part());
                return value.map_err(|error| self.undecodable(error));
            }
            // Its sender took it back while it was decoded: it was never sent.
            count_withdrawn(&self.control, &mut withdrawn, deadline)?;
        }
    }

    /// The next value where there is no queue to look at, if it is a record and comes while this spins.
    #[inline(always)]
    fn next_record<'s>(
        &'s self,
        state: &'s mut State,
        deadline: Deadline,
        spin: &mut Duration,
    ) -> Option<(usize, NextRecord<'s>)> {
        if state.sources.slots.is_some() {
            return None;
        }
        // A sender that makes room for the rest of a reply waits for it, and sends nothing before.
        let flush = || self.returns.flush(false);
        state.sources.lanes.next_record(&self.control, deadline, spin, flush, || self.is_closed())
    }

    #[cold]
    pub(crate) fn undecodable(&self, error: DecodeError) -> RecvError {
        event!(WARN, self.control, %error, "a value cannot be decoded");
        RecvError::Decode { channel: self.control.name(), error }
    }

    /// How many values wait to be received now. They are counted where they stand: by a system call
    /// where the channel has a queue, and by a look at each of them where it has none.
    ///
    /// ```
    /// let (tx, rx) = sysv_channel::channel::<u32>()?;
    /// tx.send_all(&[1, 2, 3])?;
    /// assert_eq!((rx.len()?, rx.is_empty()?), (3, false));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`RecvError::Removed`] if the channel was, [`RecvError::System`] if the kernel does not say.
    pub fn len(&self) -> Result<usize, RecvError> {
        self.check()?;
        self.control.check_not_removed()?;
        let waiting = super::stats::waiting(&self.control);
        Ok(waiting.map_err(|error| self.control.wait_error(error))? as usize)
    }

    /// Whether no value waits to be received now.
    ///
    /// # Errors
    /// As [`len`](Receiver::len).
    pub fn is_empty(&self) -> Result<bool, RecvError> {
        Ok(self.len()? == 0)
    }

    /// How many bytes each sender's ring has; 0 where values go through the kernel's queue alone.
    pub fn capacity(&self) -> usize {
        self.control.layout().ring_bytes()
    }

    /// Whether both are, or were, receivers of the same channel.
    pub fn same_channel(&self, other: &Self) -> bool {
        self.control.handle() == other.control.handle()
    }

    /// The channel that this receiver belongs to.
    pub fn channel(&self) -> Channel<T, C> {
        Channel::from_control(self.control.clone(), self.local)
    }
}

/// How many values in a row may be taken back before the deadline counts.
const WITHDRAWN_BEFORE_DEADLINE: usize = 64;

/// Ends a call whose values are taken back as fast as they come.
fn count_withdrawn(
    control: &Control,
    withdrawn: &mut usize,
    deadline: Deadline,
) -> Result<(), RecvError> {
    *withdrawn += 1;
    if *withdrawn < WITHDRAWN_BEFORE_DEADLINE || !deadline.has_passed() {
        return Ok(());
    }
    Err(super::nothing_came(control, deadline))
}

impl<T, C> fmt::Debug for Receiver<T, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiver").field("channel", &self.control.header.name).finish()
    }
}
