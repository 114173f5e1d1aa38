//! A value that is handed over when its work is done.

use std::cell::RefMut;
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::time::Duration;

use super::Receiver;
use super::state::{OnPanic, State, received};
use crate::channel::{Delivery, slots};
use crate::codec::Codec;
use crate::control::{Control, ReceiverWords};
use crate::error::RecvError;
use crate::sys::Deadline;
use crate::tag::{Select, Tag};

/// A received value that counts as received when [`done`](RecvGuard::done) says so.
///
/// Dropped without that, as by a panic or an early return, it gives the value back: the next receiver that asks has
/// it, which may be the same one. So does the death of the process. It is a value for at least once: work
/// that was done and not reported is done again.
///
/// The receiver is in the middle of a call as long as the guard is held; a process that works on several
/// values at a time has several [`receivers`](crate::Options::receivers).
///
/// ```
/// let jobs = sysv_channel::Channel::<u32>::options().capacity(0).private()?;
/// let (tx, rx) = (jobs.sender()?, jobs.receiver()?);
/// tx.send(&7)?;
/// drop(rx.recv_guard()?);
/// let job = rx.recv_guard()?;
/// assert_eq!((*job, job.deliveries()), (7, 2));
/// assert_eq!(job.done(), 7);
/// assert!(rx.try_recv().unwrap_err().is_empty());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "a guard that is dropped gives its value back"]
pub struct RecvGuard<'r, T> {
    value: T,
    held: Held<'r>,
}

/// What the guard hands over, or gives back when it is dropped.
struct Held<'r> {
    control: &'r Control,
    state: RefMut<'r, State>,
    words: ReceiverWords,
    delivery: Delivery,
    len: usize,
    is_done: bool,
}

impl<T> RecvGuard<'_, T> {
    /// Hands the value over: it counts as received, and no other receiver has it.
    pub fn done(self) -> T {
        let RecvGuard { value, mut held } = self;
        // A forked child has a copy of the parent's guard.
        if held.control.is_ours() {
            held.hand_over();
        }
        value
    }

    /// How often the value was given out, this time included: 1 unless a receiver died with it or gave it back.
    ///
    /// A value that ends every process which works on it comes again and again; this tells when to set it aside.
    ///
    /// ```
    /// # let jobs = sysv_channel::Channel::<u32>::options().capacity(0).private()?;
    /// # let (tx, rx) = (jobs.sender()?, jobs.receiver()?);
    /// # let mut set_aside = Vec::new();
    /// # let work = |_: &u32| Err::<(), ()>(());
    /// tx.send(&7)?;
    /// while let Ok(job) = rx.try_recv_guard() {
    ///     if job.deliveries() > 3 {
    ///         set_aside.push(job.done());
    ///     } else if work(&job).is_ok() {
    ///         job.done();
    ///     }
    /// }
    /// assert_eq!(set_aside, [7]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn deliveries(&self) -> u64 {
        match self.held.delivery {
            Delivery::Slot { slot, .. } => slots::deliveries(self.held.control, slot),
            Delivery::Record { .. } | Delivery::Fragments { .. } => 1,
        }
    }

    /// The tag that the value was sent with.
    pub fn tag(&self) -> Tag {
        self.held.state.sources.tag(&self.held.delivery)
    }
}

impl<T> Deref for RecvGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T> DerefMut for RecvGuard<'_, T> {
    /// Changes this process's copy: a value that is given back is as it was sent.
    fn deref_mut(&mut self) -> &mut T {
        &mut self.value
    }
}

impl<T: fmt::Debug> fmt::Debug for RecvGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecvGuard")
            .field("value", &self.value)
            .field("deliveries", &self.deliveries())
            .finish()
    }
}

impl Held<'_> {
    fn hand_over(&mut self) {
        self.is_done = true;
        self.state.sources.hand_over(self.control, &self.delivery);
        received(self.control, &self.words, self.len);
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        // A forked child has a copy of the parent's guard.
        if !self.is_done && self.control.is_ours() {
            self.state.sources.give_back(self.control, &self.delivery);
        }
    }
}

impl<T, C: Codec<T>> Receiver<T, C> {
    /// Receives the next value with a guard, and waits until there is one. The value is handed over by
    /// [`RecvGuard::done`], and given back otherwise.
    ///
    /// A value that cannot be decoded is handed over at once, as with [`recv`](Receiver::recv).
    ///
    /// # Errors
    /// [`RecvError::NoGuard`] on a channel that has rings; else as [`recv`](Receiver::recv).
    pub fn recv_guard(&self) -> Result<RecvGuard<'_, T>, RecvError> {
        self.told(self.guard(Deadline::never()))
    }

    /// Like [`recv_guard`](Receiver::recv_guard), if there is a value now.
    ///
    /// # Errors
    /// [`RecvError::Empty`] if there is none; else as [`recv_guard`](Receiver::recv_guard).
    pub fn try_recv_guard(&self) -> Result<RecvGuard<'_, T>, RecvError> {
        self.guard(Deadline::now())
    }

    /// Like [`recv_guard`](Receiver::recv_guard), and waits at most `timeout`.
    ///
    /// # Errors
    /// [`RecvError::Timeout`] if none came; else as [`recv_guard`](Receiver::recv_guard).
    pub fn recv_guard_timeout(&self, timeout: Duration) -> Result<RecvGuard<'_, T>, RecvError> {
        self.told(self.guard(Deadline::after(timeout)))
    }

    fn guard(&self, deadline: Deadline) -> Result<RecvGuard<'_, T>, RecvError> {
        let mut state = self.enter()?;
        if !self.control.layout().is_queue_only() {
            return Err(RecvError::NoGuard { channel: self.control.name() });
        }
        if !deadline.is_now() {
            self.check_open()?;
        }
        let control = &*self.control;
        let delivery = self.wait(&mut state, Select::Any, deadline, self.local.spin)?;
        let poisoned = OnPanic { control, state: &mut state, delivery: &delivery };
        let (value, len) = poisoned.state.sources.read(control, &delivery, |reader| {
            let len = reader.remaining();
            (C::decode(reader), len)
        });
        std::mem::forget(poisoned);
        let mut held = Held { control, state, words: self.words, delivery, len, is_done: false };
        match value {
            Ok(value) => Ok(RecvGuard { value, held }),
            Err(error) => {
                held.hand_over();
                Err(self.undecodable(error))
            }
        }
    }
}
