//! Calls that tasks wait for.
//!
//! A task never waits with the connection in hand. It follows, as a thread does that another one waits for, and
//! is woken as well when the lane's bell is rung, for which a listener sleeps there. Each task looks then.

use std::future::poll_fn;
use std::ops::DerefMut;
use std::sync::{Arc, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use super::connection::How;
use super::shared::Shared;
use super::{Client, Pending};
use crate::Sender;
use crate::channel::Untyped;
use crate::codec::Codec;
use crate::panics;
use crate::rpc::error::CallError;
use crate::sys::{Deadline, Fault, Mutex, fault};

/// The tasks that wait for calls of a client: all look when the bell is rung.
// NB: apart from what else they share with the client: the connection has the listener, which has this.
#[derive(Default)]
pub(super) struct TaskBell(Mutex<Vec<(u64, Waker)>>);

impl TaskBell {
    fn tasks(&self) -> impl DerefMut<Target = Vec<(u64, Waker)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has a task woken, once.
    fn register(&self, number: u64, waker: &Waker) {
        let mut tasks = self.tasks();
        match tasks.iter_mut().find(|(task, _)| *task == number) {
            Some((_, registered)) => registered.clone_from(waker),
            None => tasks.push((number, waker.clone())),
        }
    }

    fn forget(&self, number: u64) {
        self.tasks().retain(|(task, _)| *task != number);
    }
}

impl Wake for TaskBell {
    fn wake(self: Arc<Self>) {
        let tasks = std::mem::take(&mut *self.tasks());
        tasks.into_iter().for_each(|(_, waker)| panics::waking(waker));
    }
}

/// A task that waits for a call, until this is dropped.
struct Task<R> {
    shared: Arc<Shared<R>>,
    number: u64,
}

impl<R> Drop for Task<R> {
    fn drop(&mut self) {
        self.shared.task_bell.forget(self.number);
        self.shared.forget_task(self.number);
    }
}

impl<R> Task<R> {
    fn begin(shared: &Arc<Shared<R>>) -> Self {
        Task { shared: shared.clone(), number: shared.new_task() }
    }

    /// Has the task woken when the bell is rung from now on; says with what the lane is to be armed.
    fn register(&self, call: u64, context: &Context<'_>, until: Deadline) -> (Waker, Deadline) {
        let until = self.shared.register_task(self.number, call, context.waker(), until);
        self.shared.task_bell.register(self.number, context.waker());
        (self.shared.task_bell.clone().into(), until)
    }
}

/// Has the tasks woken when the lane's bell is rung. That the channel was removed, the next look tells.
fn arm(sender: &Sender<(), Untyped>, waker: &Waker, until: Deadline) -> Result<(), CallError> {
    match sender.arm(waker, until) {
        Err(error) if !error.is_removed() => Err(CallError::Send(error)),
        _ => Ok(()),
    }
}

impl<Q, R, C> Client<Q, R, C>
where
    C: Codec<Q> + Codec<R>,
{
    /// Calls the server, as [`call`](Client::call) does, and has the task wait for room and for the reply, under any
    /// executor.
    ///
    /// The first wait starts a thread, as in [`Sender::send_async`](crate::Sender::send_async). Where the server was
    /// dropped, the next one is waited for; where it was killed, by a client whose calls may be
    /// [repeated](super::ClientOptions::repeatable); a name that has no server's channel is not waited for. A future that is
    /// dropped cancels its call.
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
            // Before a look for the connection: the thread or task that has it tells this one.
            let (waker, until) = task.register(0, context, deadline);
            for armed in [false, true] {
                let held = client.connection_or(|| client.shared.borrow_by_task());
                let started = held.and_then(|held| {
                    if armed {
                        arm(&held.sender, &waker, until)?;
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
        let mut due = self.call().due();
        // Before a look for the connection: the thread or task that has it tells this one.
        let (mut waker, mut until) = task.register(due.0, context, due.1);
        if let Some(outcome) = self.outcome_for_task() {
            return Poll::Ready(outcome);
        }
        loop {
            let is_due = self.call().due();
            if is_due != due {
                due = is_due;
                (waker, until) = task.register(due.0, context, due.1);
            }
            if let Ok(lent) = task.shared.borrow_by_task() {
                arm(&lent.sender, &waker, until)?;
            }
            if fault(Fault::NoRecheck) {
                return Poll::Pending;
            }
            if let Some(outcome) = self.outcome_for_task() {
                return Poll::Ready(outcome);
            }
            // Else it was made again, or is to be at another time.
            if self.call().due() == due {
                return Poll::Pending;
            }
        }
    }
}
