//! Waiting for room in a task.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use super::long::Long;
use super::{Encode, Headed, Sender, Turn};
use crate::codec::{Codec, EncodeError, Writer};
use crate::control::{Listener, Registrant, Woken};
use crate::error::SendError;
use crate::sys::{Deadline, Fault, SystemError, fault};
use crate::tag::Tag;
use crate::transfer::{self, Refusal};

impl<T, C: Codec<T>> Sender<T, C> {
    /// Sends a value, and has the task wait while the channel is full, under any executor.
    ///
    /// The first wait starts a thread that sleeps in the kernel in the task's place, and lasts as long as the
    /// sender. A value for which there is room costs no more than with [`try_send`](Sender::try_send). On a full
    /// queue the task has its place in line, as a call that blocks has, and keeps it until the future is polled or dropped: one
    /// that is kept and not polled holds up those behind it for some seconds. A future that is dropped before it was ready has
    /// not sent its value, but for one that goes in fragments and was received in that moment.
    ///
    /// ```
    /// # use std::future::Future;
    /// # use std::pin::pin;
    /// # use std::task::{Context, Poll, Waker};
    /// let (mut tx, rx) = sysv_channel::channel::<u32>()?;
    /// while tx.try_send(&1).is_ok() {}
    /// let mut sending = pin!(tx.send_async(&2));
    /// let mut context = Context::from_waker(Waker::noop());
    /// assert!(sending.as_mut().poll(&mut context).is_pending());
    /// rx.recv()?;
    /// assert_eq!(sending.poll(&mut context), Poll::Ready(Ok(())));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`send`](Sender::send), and [`SendError::System`] if the thread cannot be started.
    // NB: mutable, so that the future can go to another thread, as the sender can.
    pub async fn send_async(&mut self, value: &T) -> Result<(), SendError> {
        self.send_tagged_async(Tag::DEFAULT, value).await
    }

    /// Like [`send_async`](Sender::send_async), with a tag that the receiver can select by.
    ///
    /// # Errors
    /// As [`send_async`](Sender::send_async).
    pub async fn send_tagged_async(&mut self, tag: Tag, value: &T) -> Result<(), SendError> {
        let mut sending = Sending { sender: self, progress: Progress::until(Deadline::never()) };
        poll_fn(move |context| {
            let Sending { sender, progress } = &mut sending;
            let encode = |out: &mut Writer<'_>| transfer::encode::<T, C>(value, out);
            progress.poll::<T, _, _>(sender, context, tag, &encode)
        })
        .await
    }

    /// Sends what the layer above encodes behind a head of so many bytes, a value of type `V`; waits as a
    /// task, at most until the deadline.
    pub(crate) async fn send_as_task<V>(
        &mut self,
        tag: Tag,
        head: usize,
        encode: impl Fn(&mut Writer<'_>) -> Result<(), EncodeError>,
        deadline: Deadline,
    ) -> Result<(), SendError> {
        let value = Headed { head, encode };
        let mut sending = Sending { sender: self, progress: Progress::until(deadline) };
        poll_fn(move |context| {
            let Sending { sender, progress } = &mut sending;
            progress.poll::<V, _, _>(sender, context, tag, &value)
        })
        .await
    }

    /// Has the task wait until `look` finds something, at most until the deadline.
    pub(in crate::channel) async fn wait_as_task<R, E: From<SendError>>(
        &mut self,
        deadline: Deadline,
        mut look: impl FnMut(&Self) -> Result<Option<R>, E>,
    ) -> Result<R, E> {
        let armed = Armed { sender: self };
        poll_fn(move |context| {
            let sender = &*armed.sender;
            sender.poll_in_task(context, deadline, || look(sender))
        })
        .await
    }

    /// Looks for something; else has the task woken when there may be something.
    fn poll_in_task<R, E: From<SendError>>(
        &self,
        context: &Context<'_>,
        deadline: Deadline,
        mut look: impl FnMut() -> Result<Option<R>, E>,
    ) -> Poll<Result<R, E>> {
        if let Some(found) = look().transpose() {
            return Poll::Ready(found);
        }
        self.arm(context.waker(), deadline)?;
        if fault(Fault::NoRecheck) {
            return Poll::Pending;
        }
        if let Some(found) = look().transpose() {
            return Poll::Ready(found);
        }
        if let Err(closed) = self.check_open() {
            return Poll::Ready(self.told(Err(closed)).map_err(E::from));
        }
        if deadline.has_passed() {
            let channel = self.control.name();
            return Poll::Ready(Err(SendError::Timeout { channel }.into()));
        }
        Poll::Pending
    }

    fn listen(&self) -> Result<Arc<Listener>, SystemError> {
        if let Some(listener) = &*self.listener.borrow() {
            return Ok(listener.clone());
        }
        let listener = Arc::new(self.control.listen(self.bell)?);
        Ok(self.listener.borrow_mut().insert(listener).clone())
    }

    /// Starts what sleeps at this sender's bell while it waits elsewhere.
    pub(in crate::channel) fn start_listener(&self) -> Result<(), SendError> {
        let started = self.listen().map(drop);
        started.map_err(|error| self.control.wait_error(error).into())
    }

    /// Has a waker woken when room comes, a reply, or the receiver's end. What came before this is not told:
    /// the end looks again.
    pub(crate) fn arm(&self, waker: &Waker, deadline: Deadline) -> Result<(), SendError> {
        let registered =
            self.listen().and_then(|listener| listener.register(Registrant::Task, waker, deadline));
        let woken = registered.map_err(|error| self.control.wait_error(error))?;
        if let Ok(mut state) = self.state.try_borrow_mut() {
            // It may have been the kernel, for a peer that died.
            (state.looked_at_receiver, state.looked_at_line) = (false, false);
            state.park_timed_out = woken == Some(Woken::Elapsed);
        }
        self.control.arm(self.bell, waker);
        Ok(())
    }

    /// Waits no more for what [`arm`](Sender::arm) would have woken a task for.
    pub(crate) fn disarm(&self) {
        if !self.control.is_ours() {
            return;
        }
        self.control.disarm(self.bell);
        if let Some(listener) = &*self.listener.borrow() {
            listener.end_wait(Registrant::Task);
        }
    }
}

/// A sender whose task waits, until this is dropped.
struct Armed<'s, T, C: Codec<T>> {
    sender: &'s mut Sender<T, C>,
}

impl<T, C: Codec<T>> Drop for Armed<'_, T, C> {
    fn drop(&mut self) {
        self.sender.disarm();
    }
}

/// A value that a task sends.
struct Sending<'s, T, C: Codec<T>> {
    sender: &'s mut Sender<T, C>,
    progress: Progress,
}

impl<T, C: Codec<T>> Drop for Sending<'_, T, C> {
    fn drop(&mut self) {
        self.progress.end(self.sender);
    }
}

/// How far the value is that a task sends.
pub(in crate::channel) struct Progress {
    deadline: Deadline,
    /// Whether the task waits.
    waits: bool,
    /// The value, once it turned out to go in fragments.
    long: Option<Long>,
}

impl Progress {
    /// Of a task that waits until the deadline.
    pub(in crate::channel) fn until(deadline: Deadline) -> Self {
        Progress { deadline, waits: false, long: None }
    }

    /// Sends a value of type `V` if that can be done now; else the task is woken when it may.
    pub(in crate::channel) fn poll<V, T, C: Codec<T>>(
        &mut self,
        sender: &Sender<T, C>,
        context: &mut Context<'_>,
        tag: Tag,
        value: &impl Encode,
    ) -> Poll<Result<(), SendError>> {
        let deadline = self.deadline;
        let polled = sender.poll_in_task(context, deadline, || {
            let sent = self.advance::<V, T, C>(sender, tag, value)?;
            self.waits |= sent.is_none();
            Ok::<_, SendError>(sent)
        });
        let sent = match polled {
            Poll::Pending => return Poll::Pending,
            // The receiver may have it in this very moment.
            Poll::Ready(Err(SendError::Closed { .. } | SendError::Timeout { .. }))
                if self.take_back(sender) =>
            {
                Ok(())
            }
            Poll::Ready(sent) => sent,
        };
        self.end(sender);
        Poll::Ready(sent)
    }

    /// Does what can be done now; `None` if the value has to wait.
    fn advance<V, T, C: Codec<T>>(
        &mut self,
        sender: &Sender<T, C>,
        tag: Tag,
        value: &impl Encode,
    ) -> Result<Option<()>, SendError> {
        let mut state = sender.enter()?;
        if let Turn::Spare = state.turn {
            state.turn = Turn::Task(None);
        }
        if self.long.is_none() {
            let now = Deadline::now();
            let sent = transfer::sending::<V, _, _>(|| sender.send_in(&mut state, tag, value, now));
            match sent {
                Err(SendError::Full { .. }) => return Ok(None),
                Err(SendError::NeedsWaiting { len, .. }) => {
                    let (bytes, has_parts) = transfer::ahead(|| sender.encode_apart(value, len));
                    self.long = Some(Long::new(bytes?, has_parts));
                    sender.begin_long();
                }
                sent => return sent.map(Some),
            }
        }
        let Some(long) = &mut self.long else { return Ok(None) };
        let sent = match sender.advance_long(&mut state, tag, long) {
            Err(SendError::Full { .. }) => return Ok(None),
            sent => sent,
        };
        if long.has_parts && sent.as_ref().map_or_else(Refusal::was_sent, |()| true) {
            // Encoded once more, for what is to be done of its parts now that it has gone.
            let again = || sender.encode(value, &mut Writer::new(&mut []));
            let _ = transfer::sending::<V, _, _>(again);
        }
        sent.map(Some)
    }

    /// Takes back what is on its way; whether it was received before.
    fn take_back<T, C: Codec<T>>(&mut self, sender: &Sender<T, C>) -> bool {
        self.long.take().is_some_and(|long| sender.take_long_back(&long))
    }

    /// Registrant no more: what was not sent goes no more.
    pub(in crate::channel) fn end<T, C: Codec<T>>(&mut self, sender: &Sender<T, C>) {
        if !sender.control.is_ours() {
            return;
        }
        self.take_back(sender);
        if let Ok(mut state) = sender.state.try_borrow_mut() {
            // With its place in line, if it has one.
            state.turn = Turn::Spare;
        }
        if std::mem::take(&mut self.waits) {
            sender.disarm();
        }
    }
}
