//! Waiting for values in a task.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use super::Receiver;
use crate::codec::Codec;
use crate::control::{Listener, Registrant};
use crate::error::RecvError;
use crate::sys::{Deadline, Fault, SystemError, fault};

impl<T, C: Codec<T>> Receiver<T, C> {
    /// Receives the next value, and has the task wait until there is one, under any executor.
    ///
    /// The first wait starts a thread that sleeps in the kernel in the task's place, and lasts as long as the
    /// receiver: System V has no wait for several things at once. A value that is there costs no more than
    /// with [`try_recv`](Receiver::try_recv), and nothing spins. A future that is dropped has taken no value.
    /// Within one process, calls that block and calls that wait in a task can follow each other.
    ///
    /// ```
    /// # use std::future::Future;
    /// # use std::pin::pin;
    /// # use std::task::{Context, Poll, Waker};
    /// let (tx, mut rx) = sysv_channel::channel::<u32>()?;
    /// let mut receiving = pin!(rx.recv_async());
    /// let mut context = Context::from_waker(Waker::noop());
    /// assert!(receiving.as_mut().poll(&mut context).is_pending());
    /// tx.send(&7)?;
    /// assert_eq!(receiving.poll(&mut context), Poll::Ready(Ok(7)));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`recv`](Receiver::recv), and [`RecvError::System`] if the thread cannot be started.
    // NB: mutable, so that the future can go to another thread, as the receiver can.
    pub async fn recv_async(&mut self) -> Result<T, RecvError> {
        poll_fn(move |context| self.poll_recv(context)).await
    }

    /// Receives the next value if there is one now; else has the task woken when one comes, all senders
    /// are gone or the receiver is closed. Only the task that polled last is woken.
    ///
    /// # Errors
    /// As [`recv_async`](Receiver::recv_async).
    pub fn poll_recv(&self, context: &mut Context<'_>) -> Poll<Result<T, RecvError>> {
        let receive = || match self.receive(Deadline::now()) {
            Err(RecvError::Empty { .. }) => Ok(None),
            received => received.map(Some),
        };
        self.poll_call(context, receive)
    }

    /// What a call that does not wait makes of what is there, if anything is; else the task is woken when
    /// something comes.
    pub(crate) fn poll_call<R, E: From<RecvError>>(
        &self,
        context: &mut Context<'_>,
        call: impl Fn() -> Result<Option<R>, E>,
    ) -> Poll<Result<R, E>> {
        self.poll_call_of(Registrant::Task, context, call)
    }

    /// The same, for a thread that waits for several receivers, or for a task.
    fn poll_call_of<R, E: From<RecvError>>(
        &self,
        who: Registrant,
        context: &mut Context<'_>,
        call: impl Fn() -> Result<Option<R>, E>,
    ) -> Poll<Result<R, E>> {
        // The listener may have been woken for one, and says only that it was.
        self.sender_may_have_gone.set(true);
        self.check_not_told()?;
        #[cfg(not(loom))]
        let _in_task = self.enter_task();
        if let Some(done) = call().transpose() {
            return Poll::Ready(done);
        }
        let failed = |error| RecvError::from(self.control.wait_error(error));
        let registered = self
            .listen()
            .and_then(|listener| listener.register(who, context.waker(), Deadline::never()));
        registered.map_err(failed)?;
        let bell = self.control.receiver_bell(self.place);
        self.control.arm(bell, context.waker());
        if fault(Fault::NoRecheck) {
            return Poll::Pending;
        }
        self.returns.flush(true);
        // Whatever hints say: what is not seen now has to ring.
        if let Ok(mut state) = self.state.try_borrow_mut() {
            state.sources.ask_now();
        }
        let done = match self.check_not_told() {
            Ok(()) => call().transpose(),
            Err(closed) => Some(Err(closed.into())),
        };
        if done.is_some() {
            self.end_wait(who);
        }
        done.map_or(Poll::Pending, Poll::Ready)
    }

    /// Whether a call that does not wait has something to receive or to tell.
    pub(crate) fn is_ready(&self) -> Result<bool, RecvError> {
        if self.check().is_err() || self.control.has_unwoken() {
            return Ok(true);
        }
        let state = self.state.try_borrow_mut();
        let mut state = state.map_err(|_| RecvError::Reentrant { channel: self.control.name() })?;
        self.returns.flush(false);
        self.is_ready_in(&mut state)
    }

    /// Whether it is ready; else the thread is woken that waits for several, when it may be.
    pub(crate) fn poll_ready(
        &self,
        context: &mut Context<'_>,
        is_ready: impl Fn() -> Result<bool, RecvError>,
    ) -> Poll<Result<(), RecvError>> {
        self.poll_call_of(Registrant::Thread, context, || Ok(is_ready()?.then_some(())))
    }

    /// That thread waits no more.
    pub(crate) fn stop_polling(&self) {
        if self.control.is_ours() {
            self.end_wait(Registrant::Thread);
        }
    }

    /// What was registered as `who` waits no more; the other registrants look again.
    fn end_wait(&self, who: Registrant) {
        self.control.disarm(self.control.receiver_bell(self.place));
        if let Some(listener) = self.listener() {
            listener.end_wait(who);
        }
    }

    /// How long a call looks before it sleeps.
    pub(crate) fn spin(&self) -> Duration {
        self.local.spin
    }

    /// Says, once, that the receiver was closed; a service looks for that by itself.
    fn check_not_told(&self) -> Result<(), RecvError> {
        if self.closes_for_good { Ok(()) } else { self.told(self.check_open()) }
    }

    pub(super) fn listen(&self) -> Result<Arc<Listener>, SystemError> {
        if let Some(listener) = self.listener() {
            return Ok(listener);
        }
        let listener = Arc::new(self.control.listen(self.control.receiver_bell(self.place))?);
        self.returns.has_listener(&listener);
        Ok(self.listener.borrow_mut().insert(listener).clone())
    }
}

impl<T, C> Receiver<T, C> {
    pub(in crate::channel) fn listener(&self) -> Option<Arc<Listener>> {
        self.listener.borrow().clone()
    }
}
