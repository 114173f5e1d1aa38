//! Calls that were started, and waiting for their outcomes.

use std::fmt;
use std::marker::PhantomData;
use std::mem;
use std::sync::Arc;
use std::time::Duration;

use super::connection::{Calls, How};
use super::repeats::Repeats;
use super::shared::{HAND_OVER, Known, Lent, NotLent, Shared, Waited};
use crate::DefaultCodec;
use crate::codec::{Codec, Raw};
use crate::error::SendError;
use crate::rpc::error::CallError;
use crate::rpc::self_call;
use crate::sys::{self, Deadline};

/// A call that was started with [`Client::start`](super::Client::start): its reply is waited for later, on any
/// thread. It needs its client no more, so it can be kept in a map or beside the client in a struct.
///
/// ```
/// use std::collections::HashMap;
/// use sysv_channel::rpc::{Client, Pending, Server};
///
/// # let name = format!("doc-pending-{}", std::process::id());
/// # let name = name.as_str();
/// # let server = Server::<u32, u32>::bind(name)?;
/// # let closer = server.closer();
/// # let serving = std::thread::spawn(move || server.serve(|n| n * n));
/// struct Jobs {
///     client: Client<u32, u32>,
///     running: HashMap<u32, Pending<u32, u32>>,
/// }
///
/// let mut jobs = Jobs { client: Client::connect(name)?, running: HashMap::new() };
/// for job in 0..10 {
///     jobs.running.insert(job, jobs.client.start(&job)?);
/// }
/// assert_eq!(jobs.running.remove(&3).unwrap().wait()?, 9);
/// # closer.close();
/// # serving.join().unwrap()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// Dropping it tells the server that the client waits no more for the reply. Of those that are dropped while
/// an earlier call is waited for, the server is told of the last seven; it may execute the others in vain.
///
/// A reply waits in this process from the moment in which a call of the same client, of any kind, finds it,
/// and before that in the client's ring and in the server's memory, up to
/// [`ServerOptions::max_value`](crate::rpc::ServerOptions::max_value).
#[must_use = "a call that is dropped is cancelled"]
pub struct Pending<Q, R, C = DefaultCodec> {
    pub(super) shared: Arc<Shared<R>>,
    call: StartedCall,
    types: PhantomData<fn(Q) -> C>,
}

/// The part of a pending call that knows no types.
pub(super) struct StartedCall {
    state: State,
    deadline: Deadline,
    /// The encoded request of a call that may be made again.
    request: Option<Vec<u8>>,
    /// Whether a server that is gone had received it before.
    received: bool,
    repeats: Repeats,
    /// Until when a call that is to be made again waits for that.
    paused_until: Deadline,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// The call of this number is not answered, as far as is known.
    Waits(u64),
    /// It is to be made again.
    ToMake,
    /// Its outcome was taken.
    Over,
}

impl StartedCall {
    pub(super) fn new(call: u64, deadline: Deadline, request: Option<Vec<u8>>) -> Self {
        StartedCall {
            state: State::Waits(call),
            deadline,
            request,
            received: false,
            repeats: Repeats::default(),
            paused_until: Deadline::now(),
        }
    }

    /// For which number it waits, and when there is something to do whatever comes.
    pub(super) fn due(&self) -> (u64, Deadline) {
        (self.number(), self.pause().map_or(self.deadline, |pause| pause.earlier(self.deadline)))
    }

    /// Until when it waits to be made again.
    fn pause(&self) -> Option<Deadline> {
        let pauses = self.state == State::ToMake && !self.paused_until.has_passed();
        pauses.then_some(self.paused_until)
    }

    /// Its number, or 0.
    fn number(&self) -> u64 {
        match self.state {
            State::Waits(call) => call,
            State::ToMake | State::Over => 0,
        }
    }

    /// The outcome, of which there is one; `None` if the call is made again instead.
    fn outcome<R>(
        &mut self,
        shared: &Shared<R>,
        outcome: Result<R, CallError>,
    ) -> Option<Result<R, CallError>> {
        let before = self.received;
        if let Err(CallError::ServerDied { received, .. }) = &outcome {
            self.received |= received;
            if self.request.is_some() && !self.deadline.has_passed() {
                self.state = State::ToMake;
                self.paused_until = Deadline::after(self.repeats.next_pause());
                return None;
            }
        }
        self.state = State::Over;
        let explained = |error: CallError| {
            error.of_call_received_before(before, &shared.name).of_call_until(self.deadline)
        };
        Some(outcome.map_err(explained))
    }
}

impl<R> Shared<R> {
    /// Waits until one of the calls has its outcome, or does not wait: which of them, and what. None of them
    /// is over.
    pub(super) fn first_of<C: Codec<R>>(
        &self,
        calls: &mut [&mut StartedCall],
        until: Deadline,
        by_task: bool,
    ) -> Option<(usize, Result<R, CallError>)> {
        let waits = !until.is_now();
        let (next, deadline) = soonest(calls)?;
        let until = until.earlier(deadline);
        let lent = match (waits, by_task) {
            (_, true) => self.borrow_by_task(),
            (true, false) => self.borrow(until),
            (false, false) => self.borrow(Deadline::after(HAND_OVER)),
        };
        let mut lent = match lent {
            Ok(lent) => lent,
            Err(NotLent::Late) => return self.late(None, calls, next),
            Err(refused) => return Some((next, Err(self.refused(refused)))),
        };
        loop {
            for (at, call) in calls.iter_mut().enumerate() {
                if call.state == State::ToMake
                    && call.pause().is_none()
                    && let Err(error) = self.make_again::<C>(&mut lent, call, until)
                {
                    call.state = State::Over;
                    let error = error.of_call_received_before(call.received, &self.name);
                    return Some((at, Err(error)));
                }
            }
            // NB: without an allocation for the one call that is mostly waited for.
            let (one, several);
            let numbers: &[u64] = match &*calls {
                [call] => {
                    one = [call.number()];
                    &one
                }
                calls => {
                    several = calls.iter().map(|call| call.number()).collect::<Vec<_>>();
                    &several
                }
            };
            if waits && self_call::is_served_here(&lent.sender) {
                lent.take_replies::<C>(&self.name);
                if self.is_none_known(&lent, numbers) {
                    return Some((next, Err(CallError::OwnServer { server: self.server() })));
                }
            }
            let take = |calls: Option<&mut Calls<R>>, known: &mut Known<R>| {
                known.take_first(numbers).or_else(|| calls?.take_first(numbers))
            };
            let pause = calls.iter().filter_map(|call| call.pause()).reduce(Deadline::earlier);
            let wait_by = pause.map_or(until, |pause| until.earlier(pause));
            match self.wait_for::<C, _>(lent, numbers, wait_by, take) {
                Waited::Found((at, outcome)) => {
                    if let Some(outcome) = calls[at].outcome(self, outcome) {
                        return Some((at, outcome));
                    }
                }
                Waited::Late(lent) if pause.is_none() || until.has_passed() => {
                    return self.late(lent, calls, next);
                }
                Waited::Late(lent) => {
                    drop(lent);
                    // Where no other call was waited for, the pause is not over.
                    sys::pause(wait_by.remaining().unwrap_or_default());
                }
            }
            let again = if by_task { self.borrow_by_task() } else { self.borrow(until) };
            lent = match again {
                Ok(lent) => lent,
                Err(_) => return self.late(None, calls, next),
            };
        }
    }

    /// Waits for the reply to one call, which is made while others are pending.
    pub(super) fn outcome_of<C: Codec<R>>(
        &self,
        lent: Lent<'_, R>,
        call: u64,
        deadline: Deadline,
    ) -> Result<R, CallError> {
        let take = |calls: Option<&mut Calls<R>>, known: &mut Known<R>| {
            known.take_first(&[call]).or_else(|| calls?.take_first(&[call]))
        };
        match self.wait_for::<C, _>(lent, &[call], deadline, take) {
            Waited::Found((_, outcome)) => outcome,
            Waited::Late(lent) => Err(self.timeout(lent, call)),
        }
    }

    /// Ends a call whose deadline has passed.
    fn timeout(&self, lent: Option<Lent<'_, R>>, call: u64) -> CallError {
        let received = match lent {
            Some(mut lent) => lent.forget_late(call),
            // Another thread has the connection, and tells the server.
            None => {
                self.forget(call);
                true
            }
        };
        CallError::Timeout { server: self.server(), received }
    }

    /// What there is at the end of a wait: nothing, or the end of the call whose deadline comes next.
    fn late(
        &self,
        lent: Option<Lent<'_, R>>,
        calls: &mut [&mut StartedCall],
        next: usize,
    ) -> Option<(usize, Result<R, CallError>)> {
        let call = &mut *calls[next];
        if !call.deadline.has_passed() {
            return None;
        }
        let error = match mem::replace(&mut call.state, State::Over) {
            State::Waits(number) => self.timeout(lent, number),
            State::ToMake | State::Over => {
                CallError::Timeout { server: self.server(), received: false }
            }
        };
        Some((next, Err(error.of_call_received_before(call.received, &self.name))))
    }

    /// Makes a call again, now or until then; there is nothing wrong with one that cannot be made yet.
    fn make_again<C: Codec<R>>(
        &self,
        lent: &mut Lent<'_, R>,
        call: &mut StartedCall,
        until: Deadline,
    ) -> Result<(), CallError> {
        let Some(request) = &call.request else { return Ok(()) };
        let how = if until.is_now() { How::TryCall } else { How::Start };
        let asked = lent.ask::<Vec<u8>, Raw, C>(self, request, call.deadline, until, how);
        match asked {
            Ok((number, end)) => {
                lent.keep_started(number, end);
                call.state = State::Waits(number);
                Ok(())
            }
            Err(
                CallError::Timeout { .. } | CallError::Full { .. } | CallError::ServerDied { .. },
            ) if !call.deadline.has_passed() => Ok(()),
            // The server's channel is gone, and there is no other yet.
            Err(CallError::Reconnect(_)) if until.is_now() && !call.deadline.has_passed() => Ok(()),
            Err(error) => Err(error),
        }
    }

    pub(super) fn refused(&self, refused: NotLent) -> CallError {
        let server = self.server();
        match refused {
            NotLent::Late => CallError::Timeout { server, received: false },
            NotLent::Reentrant => CallError::Reentrant { server },
            NotLent::Forked => CallError::Send(SendError::Forked { channel: server }),
        }
    }
}

/// Which of the calls has the earliest deadline.
fn soonest(calls: &[&mut StartedCall]) -> Option<(usize, Deadline)> {
    let deadlines = calls.iter().map(|call| call.deadline).enumerate();
    deadlines.reduce(|first, other| if first.1.earlier(other.1) == first.1 { first } else { other })
}

impl<Q, R, C> Pending<Q, R, C> {
    pub(super) fn new(shared: Arc<Shared<R>>, call: StartedCall) -> Self {
        Pending { shared, call, types: PhantomData }
    }

    /// Whether its outcome was taken.
    pub(super) fn is_over(&self) -> bool {
        self.call.state == State::Over
    }

    pub(super) fn is_of(&self, shared: &Arc<Shared<R>>) -> bool {
        Arc::ptr_eq(&self.shared, shared)
    }

    pub(super) fn call(&mut self) -> &mut StartedCall {
        &mut self.call
    }

    /// It is over with this outcome, but for one that says that the client is in the middle of another call.
    pub(super) fn end(&mut self, outcome: &Result<R, CallError>) {
        if !matches!(outcome, Err(CallError::Reentrant { .. })) {
            self.cancel();
        }
    }

    pub(super) fn cancel(&mut self) {
        if let State::Waits(number) = mem::replace(&mut self.call.state, State::Over) {
            self.shared.forget(number);
        }
    }
}

impl<Q, R, C> Pending<Q, R, C>
where
    C: Codec<Q> + Codec<R>,
{
    /// Waits for the reply, until the call's deadline.
    ///
    /// # Errors
    /// As [`Client::call`](super::Client::call); [`CallError::Taken`] if the outcome was taken before.
    pub fn wait(mut self) -> Result<R, CallError> {
        match self.outcome(Deadline::never()) {
            Some(outcome) => outcome,
            // Not before its deadline.
            None => Err(CallError::Timeout { server: self.shared.server(), received: true }),
        }
    }

    /// The reply, if it has come; `None` if it has not yet. Where another thread waits for a call of the same
    /// client in this moment, this one waits until that has given the connection away, for 10 milliseconds
    /// at most.
    ///
    /// A call that may be [repeated](super::ClientOptions::repeatable) and whose server is gone is made again
    /// by this, if there is another server now and the pause before that is over.
    ///
    /// ```
    /// # use sysv_channel::rpc::{Client, Server};
    /// # let name = format!("doc-try-wait-{}", std::process::id());
    /// # let name = name.as_str();
    /// let server = Server::<u32, u32>::bind(name)?;
    /// let client = Client::<u32, u32>::connect(name)?;
    /// let mut nine = client.start(&9)?;
    /// assert_eq!(nine.try_wait()?, None);
    /// server.recv()?.expect("it is not closed").reply(&81)?;
    /// assert_eq!(nine.try_wait()?, Some(81));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`wait`](Pending::wait); the call is over then, but for [`CallError::Reentrant`].
    pub fn try_wait(&mut self) -> Result<Option<R>, CallError> {
        self.outcome(Deadline::now()).transpose()
    }

    /// Waits for the reply at most so long, and at most until the call's deadline; `None` if it has not come
    /// by then. The call goes on: only its own deadline ends it.
    ///
    /// # Errors
    /// As [`try_wait`](Pending::try_wait).
    pub fn wait_timeout(&mut self, timeout: Duration) -> Result<Option<R>, CallError> {
        self.outcome(Deadline::after(timeout)).transpose()
    }

    fn outcome(&mut self, until: Deadline) -> Option<Result<R, CallError>> {
        if self.is_over() {
            return Some(Err(CallError::Taken { server: self.shared.server() }));
        }
        self.first(until, false)
    }

    /// The outcome, if it is known; a task's look.
    pub(super) fn outcome_for_task(&mut self) -> Option<Result<R, CallError>> {
        self.first(Deadline::now(), true)
    }

    fn first(&mut self, until: Deadline, by_task: bool) -> Option<Result<R, CallError>> {
        let (_, outcome) = self.shared.first_of::<C>(&mut [&mut self.call], until, by_task)?;
        self.end(&outcome);
        Some(outcome)
    }
}

impl<Q, R, C> Drop for Pending<Q, R, C> {
    fn drop(&mut self) {
        self.cancel();
    }
}

impl<Q, R, C> fmt::Debug for Pending<Q, R, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pending")
            .field("server", &self.shared.name)
            .field("call", &self.call.number())
            .finish_non_exhaustive()
    }
}
