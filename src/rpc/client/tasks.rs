//! Calls that tasks wait for.
//!
//! A task never waits with the connection in hand. It follows, as a thread does that another one waits for, and
//! is woken as well when the lane's bell is rung, for which a listener sleeps there. Each task looks then.

use std::future::poll_fn;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use super::connection::How;
use super::shared::Shared;
use super::{Client, Pending};
use crate::codec::Codec;
use crate::rpc::error::CallError;
use crate::sys::{Deadline, Fault, fault};

/// Has all tasks look that wait for calls of a client.
// NB: it keeps nothing, since the connection has the listener, which has it.
struct TaskBell<R>(Weak<Shared<R>>);

impl<R: Send + 'static> Wake for TaskBell<R> {
    fn wake(self: Arc<Self>) {
        if let Some(shared) = self.0.upgrade() {
            shared.wake_tasks();
        }
    }
}

/// A task that waits for a call, until this is dropped.
struct Task<R> {
    shared: Arc<Shared<R>>,
    number: u64,
}

impl<R> Drop for Task<R> {
    fn drop(&mut self) {
        self.shared.forget_task(self.number);
    }
}

impl<R: Send + 'static> Task<R> {
    fn begin(shared: &Arc<Shared<R>>) -> Self {
        Task { shared: shared.clone(), number: shared.new_task() }
    }

    /// Has the task woken when the bell is rung from now on; says with what the lane is to be armed.
    fn register(&self, call: u64, context: &Context<'_>, until: Deadline) -> (Waker, Deadline) {
        let until = self.shared.register_task(self.number, call, context.waker(), until);
        (Arc::new(TaskBell(Arc::downgrade(&self.shared))).into(), until)
    }
}

impl<Q, R, C> Client<Q, R, C>
where
    R: Send + 'static,
    C: Codec<Q> + Codec<R>,
{
    /// Calls the server, as [`call`](Client::call) does, and has the task wait for room and for the reply, under any
    /// executor.
    ///
    /// The first wait starts a thread, as in [`Sender::send_async`](crate::Sender::send_async). A server that was
    /// dropped or died is waited for, a name that has none is not. A future that is dropped cancels its call.
    ///
    /// ```
    /// # use sysv_channel::rpc::{Client, Server};
    /// # let name = format!("doc-call-async-{}", std::process::id());
    /// # let name = name.as_str();
    /// # let server = Server::<u32, u32>::bind(name)?;
    /// # let closer = server.closer();
    /// # let serving = std::thread::spawn(move || server.serve(|n| n * n));
    /// let mut client = Client::<u32, u32>::connect(name)?;
    /// assert_eq!(smol::block_on(client.call_async(&7))?, 49);
    /// # closer.close();
    /// # serving.join().unwrap()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`call`](Client::call), and [`CallError::Send`] with
    /// [`NeedsWaiting`](crate::SendError::NeedsWaiting) for a request so long that it goes in fragments (see
    /// [`ServerOptions::capacity`](crate::rpc::ServerOptions::capacity)).
    // NB: mutable, so that the future can go to another thread, as the client can.
    pub async fn call_async(&mut self, request: &Q) -> Result<R, CallError> {
        self.call_timeout_async(request, self.shared.options.deadline).await
    }

    /// Like [`call_async`](Client::call_async), and waits at most `timeout` for the reply.
    ///
    /// # Errors
    /// As [`call_async`](Client::call_async).
    pub async fn call_timeout_async(
        &mut self,
        request: &Q,
        timeout: Duration,
    ) -> Result<R, CallError> {
        self.start_as_task(request, Deadline::after(timeout)).await?.wait_async().await
    }

    /// Sends a request as [`start`](Client::start) does, and has the task wait for room. The calls of one client
    /// can be waited for by many tasks.
    ///
    /// # Errors
    /// As [`call_async`](Client::call_async), but for what becomes of the call.
    pub async fn start_async(&mut self, request: &Q) -> Result<Pending<Q, R, C>, CallError> {
        self.start_as_task(request, Deadline::after(self.shared.options.deadline)).await
    }

    async fn start_as_task(
        &mut self,
        request: &Q,
        deadline: Deadline,
    ) -> Result<Pending<Q, R, C>, CallError> {
        let task = Task::begin(&self.shared);
        let client = self;
        poll_fn(move |context| {
            // Before a look for the connection: who has it tells.
            let (waker, until) = task.register(0, context, deadline);
            for armed in [false, true] {
                let held = client.connection_or(|| client.shared.borrow_by_task());
                let started = held.and_then(|held| {
                    if armed {
                        held.sender.arm(&waker, until).map_err(CallError::Send)?;
                    }
                    let now = Deadline::now();
                    client.start_with(held, request, deadline, now, How::TryCall)
                });
                match started {
                    // There is no room, no server, which may come until the deadline, or another thread has the
                    // connection.
                    Err(
                        CallError::Full { .. }
                        | CallError::ServerDied { received: false, .. }
                        | CallError::Timeout { .. },
                    ) => {}
                    started => return Poll::Ready(started),
                }
            }
            if deadline.has_passed() {
                let server = client.shared.server();
                return Poll::Ready(Err(CallError::Timeout { server, received: false }));
            }
            Poll::Pending
        })
        .await
    }
}

impl<Q, R, C> Pending<Q, R, C>
where
    R: Send + 'static,
    C: Codec<Q> + Codec<R>,
{
    /// Has the task wait for the reply, until the call's deadline, under any executor. A future that is dropped
    /// cancels the call.
    ///
    /// # Errors
    /// As [`wait`](Pending::wait).
    pub async fn wait_async(mut self) -> Result<R, CallError> {
        let task = Task::begin(&self.shared);
        poll_fn(move |context| self.poll_wait(&task, context)).await
    }

    fn poll_wait(&mut self, task: &Task<R>, context: &Context<'_>) -> Poll<Result<R, CallError>> {
        let (number, deadline) = (self.call().number(), self.call().deadline());
        // Before a look for the connection: who has it tells.
        let (waker, until) = task.register(number, context, deadline);
        for armed in [false, true] {
            if armed && let Ok(lent) = task.shared.borrow_by_task() {
                lent.sender.arm(&waker, until).map_err(CallError::Send)?;
            }
            if armed && fault(Fault::NoRecheck) {
                break;
            }
            if let Some(outcome) = self.outcome_for_task() {
                return Poll::Ready(outcome);
            }
        }
        Poll::Pending
    }
}
