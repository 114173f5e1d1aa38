//! One call, as a worker makes it.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::{Duration, Instant};

use sysv_channel::SendError;
use sysv_channel::codec::Raw;
use sysv_channel::rpc::{CallError, Pending, ReplyStream};
use tracing::{Span, debug};

use super::super::calls_wire::{UpWhat, WINDOW, Why, charge};
use super::super::log::{TARGET, call_ends};
use super::clients::{Clients, Lease};
use super::desk::Looks;
use super::session::Session;

/// How soon a call that is cancelled while it waits is dropped.
const SLICE: Duration = Duration::from_millis(50);

/// A request of this length at most goes on the thread to which it comes, before a worker is woken to wait.
const SHORT: usize = 16 << 10;

/// How soon it is looked again for room in a client's ring.
const ROOM: Duration = Duration::from_millis(2);

type Bytes = Vec<u8>;
type Started = Pending<Bytes, Bytes, Raw>;

pub(super) struct Job {
    pub(super) call: u64,
    /// Of its request.
    pub(super) len: usize,
    span: Span,
    session: Arc<Session>,
    clients: Arc<Clients>,
    looks: Looks,
    deadline: Option<Instant>,
    stream: bool,
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    request: Bytes,
    /// A call that went at once.
    started: Option<(Lease, Started)>,
    cancelled: bool,
    /// Of a stream: what may be sent before more is taken.
    credit: i64,
}

/// What a job is made of.
pub(super) struct Asked {
    pub(super) call: u64,
    pub(super) left: Option<Duration>,
    pub(super) stream: bool,
    pub(super) request: Bytes,
}

/// The caller waits no more.
struct Cancelled;

impl Job {
    pub(super) fn new(
        asked: Asked,
        session: &Arc<Session>,
        clients: &Arc<Clients>,
        looks: &Looks,
    ) -> Self {
        let Asked { call, left, stream, request } = asked;
        let len = request.len();
        let span = looks.span(call, left, stream);
        debug!(target: TARGET, parent: &span, bytes = len, "is made");
        Job {
            call,
            len,
            span,
            session: session.clone(),
            clients: clients.clone(),
            looks: looks.clone(),
            // One that cannot be reckoned does not pass.
            deadline: left.and_then(|left| Instant::now().checked_add(left)),
            stream,
            state: Mutex::new(State {
                request,
                started: None,
                cancelled: false,
                credit: WINDOW as i64,
            }),
            changed: Condvar::new(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The caller waits no more.
    pub(super) fn cancel(&self) {
        let mut state = self.state();
        state.cancelled = true;
        let dropped = (std::mem::take(&mut state.request), state.started.take());
        drop(state);
        drop(dropped);
        self.changed.notify_all();
    }

    /// The caller has taken parts of its stream that counted for so much.
    pub(super) fn taken(&self, charge: u64) {
        let mut state = self.state();
        let charge = i64::try_from(charge).unwrap_or(i64::MAX);
        state.credit = state.credit.saturating_add(charge).min(WINDOW as i64);
        drop(state);
        self.changed.notify_all();
    }

    fn check(&self) -> Result<(), Cancelled> {
        match self.state().cancelled {
            true => Err(Cancelled),
            false => Ok(()),
        }
    }

    /// Waits so long, or until the caller waits no more.
    fn pause(&self, time: Duration) -> Result<(), Cancelled> {
        let waited = self.changed.wait_timeout_while(self.state(), time, |state| !state.cancelled);
        drop(waited);
        self.check()
    }

    /// How long the caller waits on.
    fn left(&self) -> Duration {
        match self.deadline {
            Some(deadline) => deadline.saturating_duration_since(Instant::now()),
            None => Duration::MAX,
        }
    }

    /// Sends a short request now, if a client has nothing else to do. What does not go is left to a worker.
    pub(super) fn start_at_once(&self) {
        if self.stream || self.len > SHORT {
            return;
        }
        let (left, mut state) = (self.left(), self.state());
        if left.is_zero() || state.cancelled {
            return;
        }
        if let Some(lease) = self.clients.idle() {
            let started = lease.client().bytes().try_start(&state.request, left);
            if let Ok(started) = started {
                state.started = Some((lease, started));
            }
        }
    }

    /// Makes the call, unless its caller waits no more.
    pub(super) fn make(&self) {
        let work = || if self.stream { self.make_stream() } else { self.make_call() };
        match self.span.in_scope(work) {
            Ok(Ok(())) => call_ends(&self.span, &"reply"),
            Ok(Err(error)) => {
                call_ends(&self.span, &error);
                self.fail(&error);
            }
            // No caller waits for what was cancelled.
            Err(Cancelled) => call_ends(&self.span, &"cancelled"),
        }
        // Behind its outcome, which comes before word that the server has gone.
        self.session.done(self);
    }

    /// It could not be begun.
    pub(super) fn refuse(&self, why: &str) {
        call_ends(&self.span, &why);
        let what = UpWhat::Failed { call: self.call, why: Why::Unreadable };
        self.session.send(what, why.as_bytes().to_vec());
        self.session.done(self);
    }

    fn make_call(&self) -> Result<Result<(), CallError>, Cancelled> {
        let started = self.state().started.take();
        let (lease, mut pending) = match started {
            Some(started) => started,
            None => {
                let Some(lease) = self.lease()? else { return Ok(Err(self.late())) };
                match self.start(&lease)? {
                    Ok(pending) => (lease, pending),
                    Err(error) => return Ok(Err(error)),
                }
            }
        };
        loop {
            self.check()?;
            match pending.wait_timeout(SLICE) {
                Ok(None) => {}
                Ok(Some(reply)) => {
                    drop((pending, lease));
                    return Ok(self.send(UpWhat::Reply { call: self.call }, reply));
                }
                Err(error) => return Ok(Err(error)),
            }
        }
    }

    /// A client for it; `None` if the deadline passed meanwhile.
    fn lease(&self) -> Result<Option<Lease>, Cancelled> {
        loop {
            self.check()?;
            if self.left().is_zero() {
                return Ok(None);
            }
            match self.clients.lease(self.stream) {
                Some(lease) => return Ok(Some(lease)),
                None => self.pause(ROOM)?,
            }
        }
    }

    fn late(&self) -> CallError {
        let server = Arc::new(self.clients.name().clone());
        CallError::Timeout { server, received: false }
    }

    fn start(&self, lease: &Lease) -> Result<Result<Started, CallError>, Cancelled> {
        let request = std::mem::take(&mut self.state().request);
        loop {
            let left = self.left();
            if left.is_zero() {
                return Ok(Err(self.late()));
            }
            let client = lease.client();
            match client.bytes().try_start(&request, left) {
                // Others can use the client meanwhile.
                Err(CallError::Full { .. }) => {}
                Err(CallError::Send(SendError::NeedsWaiting { .. })) => {
                    return Ok(client.bytes().start_timeout(&request, left));
                }
                started => return Ok(started),
            }
            drop(client);
            self.pause(ROOM)?;
        }
    }

    fn make_stream(&self) -> Result<Result<(), CallError>, Cancelled> {
        let Some(lease) = self.lease()? else { return Ok(Err(self.late())) };
        let request = std::mem::take(&mut self.state().request);
        let started = match self.deadline {
            Some(_) => lease.client().bytes().stream_timeout(&request, self.left()),
            None => lease.client().bytes().stream(&request),
        };
        drop(request);
        match started {
            Ok(stream) => self.pass_on(stream),
            Err(error) => Ok(Err(error)),
        }
    }

    /// Sends the parts as they come, as far as the caller takes them.
    fn pass_on(
        &self,
        mut stream: ReplyStream<Bytes, Bytes, Raw>,
    ) -> Result<Result<(), CallError>, Cancelled> {
        loop {
            self.wait_for_credit()?;
            match stream.next_timeout(SLICE) {
                Poll::Pending => {}
                Poll::Ready(Some(Ok(part))) => {
                    self.state().credit -= charge(part.len()) as i64;
                    if let Err(error) = self.send(UpWhat::Part { call: self.call }, part) {
                        return Ok(Err(error));
                    }
                }
                Poll::Ready(Some(Err(error))) => return Ok(Err(error)),
                Poll::Ready(None) => {
                    self.session.send(UpWhat::End { call: self.call }, Bytes::new());
                    return Ok(Ok(()));
                }
            }
        }
    }

    fn wait_for_credit(&self) -> Result<(), Cancelled> {
        let has_none = |state: &mut State| state.credit <= 0 && !state.cancelled;
        let waited = self.changed.wait_while(self.state(), has_none);
        drop(waited);
        self.check()
    }

    fn send(&self, what: UpWhat, bytes: Bytes) -> Result<(), CallError> {
        if bytes.len() as u64 > self.session.longest {
            let server = Arc::new(self.clients.name().clone());
            let longest = self.session.longest;
            let why =
                format!("it is longer than {longest} bytes, the most that `bridge serve` takes");
            return Err(CallError::Unsendable { server, why });
        }
        self.looks.count(bytes.len());
        self.session.send(what, bytes);
        Ok(())
    }

    /// Tells why there is no reply.
    fn fail(&self, error: &CallError) {
        let (why, text) = match error {
            CallError::Panicked { message, .. } => (Why::Panicked, message.clone()),
            CallError::Dropped { .. } => (Why::Dropped, String::new()),
            CallError::Unreadable { why, .. } => (Why::Unreadable, why.clone()),
            CallError::Unsendable { why, .. } => (Why::Unsendable, why.clone()),
            CallError::NotPassedOn { why, .. } => (Why::NotPassedOn, why.clone()),
            CallError::Timeout { .. } => (Why::Late, String::new()),
            CallError::ServerDied { received, .. } => {
                self.looks.look();
                (Why::Died { received: *received }, String::new())
            }
            CallError::Reconnect(_) => {
                self.looks.look();
                (Why::Died { received: false }, String::new())
            }
            // It was not sent, and never will be.
            CallError::Send(refused) if !matches!(refused, SendError::NotWoken { .. }) => {
                (Why::NotPassedOn, error.to_string())
            }
            _ => (Why::Unsendable, error.to_string()),
        };
        self.session.send(UpWhat::Failed { call: self.call, why }, text.into_bytes());
    }
}
