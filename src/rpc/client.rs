//! The side that asks.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use super::error::{CallError, ConnectError};
use super::{RequestHead, Status};
use crate::codec::{Codec, Reader};
use crate::error::{RecvError, SendError};
use crate::name::Name;
use crate::sys::Deadline;
use crate::{Channel, DefaultCodec, Options, Owner, Sender};

/// What a client is connected with.
#[derive(Debug, Clone)]
pub struct ClientOptions {
    wait: Duration,
    deadline: Duration,
    repeatable: bool,
    max_value: u64,
    owner: Owner,
    spin: Option<Duration>,
}

impl Default for ClientOptions {
    fn default() -> Self {
        ClientOptions::new()
    }
}

impl ClientOptions {
    /// The defaults that each method names.
    pub fn new() -> Self {
        let ten_seconds = Duration::from_secs(10);
        ClientOptions {
            wait: ten_seconds,
            deadline: ten_seconds,
            repeatable: false,
            max_value: 64 << 20,
            owner: Owner::Myself,
            spin: None,
        }
    }

    /// How long [`connect`](ClientOptions::connect) waits for a server that was not bound yet;
    /// default ten seconds.
    pub fn wait_for_server(mut self, time: Duration) -> Self {
        self.wait = time;
        self
    }

    /// The deadline of a call that names none; default ten seconds.
    pub fn deadline(mut self, time: Duration) -> Self {
        self.deadline = time;
        self
    }

    /// Says that a call may be executed twice: one whose server died is then made again, until its
    /// deadline.
    pub fn repeatable(mut self) -> Self {
        self.repeatable = true;
        self
    }

    /// The longest encoded request or reply that the server may be bound for, in bytes; default
    /// 64 MiB.
    pub fn max_value(mut self, bytes: u64) -> Self {
        self.max_value = bytes;
        self
    }

    /// Whose servers may be called; default [`Owner::Myself`].
    pub fn owner(mut self, owner: Owner) -> Self {
        self.owner = owner;
        self
    }

    /// How long a call looks for its reply before it sleeps. See [`Options::spin`].
    pub fn spin(mut self, time: Duration) -> Self {
        self.spin = Some(time);
        self
    }

    /// Connects a client.
    ///
    /// # Errors
    /// [`ConnectError::TooManyClients`] if the server has no place left; [`ConnectError`] otherwise.
    pub fn connect<Q, R, C>(&self, name: impl Into<Name>) -> Result<Client<Q, R, C>, ConnectError>
    where
        C: Codec<Q> + Codec<R>,
    {
        let name = name.into();
        let sender = self.sender::<Q, R, C>(&name, self.wait)?;
        Ok(Client {
            name,
            options: self.clone(),
            line: RefCell::new(Line {
                sender,
                reconnected: 0,
                last_call: 0,
                started: BTreeMap::new(),
            }),
            reply: PhantomData,
        })
    }

    fn sender<Q, R, C>(&self, name: &Name, wait: Duration) -> Result<Sender<Q, C>, ConnectError>
    where
        C: Codec<Q> + Codec<R>,
    {
        let mut options: Options<Q, C> = Channel::<Q, C>::options()
            .owner(self.owner)
            .max_value(self.max_value)
            .wait_for_creation(wait)
            .schema(super::schema::<Q, R, C>());
        if let Some(time) = self.spin {
            options = options.spin(time);
        }
        Ok(options.open(name.clone())?.sender()?)
    }
}

/// Calls a [`Server`](super::Server) by its name.
///
/// A client is used by one thread at a time; another thread takes a client of its own, by
/// [`try_clone`](Client::try_clone) or [`connect`](Client::connect), which costs no kernel object.
/// When the server's place is taken by another one, the same client finds it.
pub struct Client<Q, R, C: Codec<Q> = DefaultCodec> {
    name: Name,
    options: ClientOptions,
    line: RefCell<Line<Q, R, C>>,
    reply: PhantomData<fn() -> R>,
}

impl<Q, R, C: Codec<Q>> Drop for Line<Q, R, C> {
    fn drop(&mut self) {
        // So that the server knows before somebody else has the place.
        self.sender.retire_with_requests();
    }
}

/// The connection, which is made again when the server's channel was removed.
struct Line<Q, R, C: Codec<Q>> {
    sender: Sender<Q, C>,
    /// How often the connection was made again.
    reconnected: u64,
    last_call: u64,
    /// The calls that were started and not waited for yet.
    started: BTreeMap<u64, Started<R>>,
}

/// A call that was started.
struct Started<R> {
    /// Where its request ends in the ring.
    end: u64,
    /// What became of it, if that is known.
    outcome: Option<Result<R, CallError>>,
}

impl<Q, R, C> Client<Q, R, C>
where
    C: Codec<Q> + Codec<R>,
{
    /// Connects to a server by its name, with default [`ClientOptions`]: waits ten seconds at most
    /// for the server to be there.
    ///
    /// # Errors
    /// [`ConnectError`].
    pub fn connect(name: impl Into<Name>) -> Result<Self, ConnectError> {
        ClientOptions::new().connect(name)
    }

    /// Another client of the same server, for another thread.
    ///
    /// # Errors
    /// [`ConnectError`].
    pub fn try_clone(&self) -> Result<Self, ConnectError> {
        self.options.connect(self.name.clone())
    }

    /// Calls the server and waits for its reply, ten seconds at most unless
    /// [`ClientOptions::deadline`] says otherwise.
    ///
    /// # Errors
    /// [`CallError`].
    pub fn call(&self, request: &Q) -> Result<R, CallError> {
        self.call_timeout(request, self.options.deadline)
    }

    /// Calls the server and waits at most `timeout` for its reply.
    ///
    /// # Errors
    /// [`CallError`].
    pub fn call_timeout(&self, request: &Q, timeout: Duration) -> Result<R, CallError> {
        self.call_by(request, Deadline::after(timeout), true)
    }

    /// Like [`call`](Client::call), but does not wait for room for the request.
    ///
    /// # Errors
    /// [`CallError::Full`] if there is none; else as [`call`](Client::call).
    pub fn try_call(&self, request: &Q) -> Result<R, CallError> {
        self.call_by(request, Deadline::after(self.options.deadline), false)
    }

    fn call_by(&self, request: &Q, deadline: Deadline, wait: bool) -> Result<R, CallError> {
        loop {
            let mut line = self.line()?;
            let (call, end) = self.ask(&mut line, request, deadline, wait)?;
            let reconnected = line.reconnected;
            match self.answer(&mut line, call, end, deadline) {
                Err(CallError::ServerDied { received })
                    if self.may_repeat(received, line.reconnected != reconnected)
                        && !deadline.has_passed() => {}
                outcome => return outcome,
            }
        }
    }

    /// Whether a call whose server died is made again: one that may be executed twice, and one that
    /// never reached the server whose channel was removed.
    fn may_repeat(&self, received: bool, reconnected: bool) -> bool {
        self.options.repeatable || reconnected && !received
    }

    /// Sends a request and does not wait for its reply: [`Pending::wait`] does. Replies can come in
    /// any order.
    ///
    /// ```
    /// # use sysv_channel::rpc::{Client, Server};
    /// # let name = format!("doc-start-{}", std::process::id());
    /// # let name = name.as_str();
    /// # let server = Server::<u32, u32>::bind(name)?;
    /// # let closer = server.closer();
    /// # let serving = std::thread::spawn(move || server.serve(|n| n * n));
    /// let client = Client::<u32, u32>::connect(name)?;
    /// let (three, four) = (client.start(&3)?, client.start(&4)?);
    /// assert_eq!((four.wait()?, three.wait()?), (16, 9));
    /// # closer.close();
    /// # serving.join().unwrap()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`CallError`], for sending.
    pub fn start<'c>(&'c self, request: &'c Q) -> Result<Pending<'c, Q, R, C>, CallError> {
        self.start_timeout(request, self.options.deadline)
    }

    /// Like [`start`](Client::start), with a deadline of its own.
    ///
    /// # Errors
    /// As [`start`](Client::start).
    pub fn start_timeout<'c>(
        &'c self,
        request: &'c Q,
        timeout: Duration,
    ) -> Result<Pending<'c, Q, R, C>, CallError> {
        let deadline = Deadline::after(timeout);
        let mut line = self.line()?;
        let (call, end) = self.ask(&mut line, request, deadline, true)?;
        line.started.insert(call, Started { end, outcome: None });
        Ok(Pending { client: self, request, call, deadline })
    }

    fn line(&self) -> Result<std::cell::RefMut<'_, Line<Q, R, C>>, CallError> {
        self.line.try_borrow_mut().map_err(|_| {
            CallError::Send(SendError::Reentrant { channel: Arc::new(self.name.clone()) })
        })
    }

    /// Sends a request; says what the call's number is and where the request ends in the ring.
    fn ask(
        &self,
        line: &mut Line<Q, R, C>,
        request: &Q,
        deadline: Deadline,
        wait: bool,
    ) -> Result<(u64, u64), CallError> {
        line.last_call += 1;
        let call = line.last_call;
        let head = RequestHead { call, deadline }.write();
        loop {
            let sent = line.sender.send_behind(&head, request, wait.then_some(deadline));
            let error = match sent {
                Ok(end) => return Ok((call, end)),
                Err(error) => error,
            };
            let next = match error {
                // There is no server: one may come until the deadline.
                SendError::Disconnected { .. } if wait => line.sender.wait_for_receiver(deadline),
                error => Err(error),
            };
            match next {
                Ok(()) => {}
                Err(SendError::Disconnected { .. } | SendError::Removed { .. }) if wait => {
                    self.reconnect(line, deadline)?;
                }
                Err(SendError::Disconnected { .. } | SendError::Removed { .. }) => {
                    return Err(CallError::ServerDied { received: false });
                }
                Err(SendError::Timeout { .. }) => {
                    return Err(CallError::Timeout { received: false });
                }
                Err(SendError::Full { .. }) => return Err(CallError::Full),
                Err(error) => return Err(CallError::Send(error)),
            }
        }
    }

    /// Makes the connection again, to the channel that has the name now.
    fn reconnect(&self, line: &mut Line<Q, R, C>, deadline: Deadline) -> Result<(), CallError> {
        let wait = deadline.remaining().unwrap_or(Duration::MAX);
        let sender = self.options.sender::<Q, R, C>(&self.name, wait);
        line.sender = sender.map_err(CallError::Reconnect)?;
        line.reconnected += 1;
        for started in line.started.values_mut() {
            // What became of the requests in a removed channel, nobody knows.
            started.outcome.get_or_insert(Err(CallError::ServerDied { received: true }));
        }
        Ok(())
    }

    /// Waits for the reply to a call.
    fn answer(
        &self,
        line: &mut Line<Q, R, C>,
        call: u64,
        end: u64,
        deadline: Deadline,
    ) -> Result<R, CallError> {
        let Line { sender, started, .. } = &mut *line;
        let mut wait = || {
            sender.wait_for_answer(end, Some(deadline), |mut reader| {
                let (answered, status) = read_head(&mut reader)?;
                if answered == call {
                    return Some(read_outcome::<R, C>(status, reader));
                }
                // Of a call that nobody waits for any more, if it was not started.
                if let Some(started) = started.get_mut(&answered) {
                    started.outcome = Some(read_outcome::<R, C>(status, reader));
                }
                None
            })
        };
        let mut waited = wait();
        // Another server may have come in the moment in which there was none.
        while matches!(waited, Err(RecvError::Disconnected { .. })) && sender.has_successor(end) {
            waited = wait();
        }
        match waited {
            Ok(outcome) => outcome,
            Err(RecvError::Timeout { .. }) => {
                Err(CallError::Timeout { received: line.sender.was_taken(end) })
            }
            Err(RecvError::Removed { .. } | RecvError::Disconnected { .. })
                if line.sender.is_removed() =>
            {
                let received = line.sender.was_taken(end);
                self.reconnect(line, deadline)?;
                Err(CallError::ServerDied { received })
            }
            Err(RecvError::Disconnected { .. }) => {
                Err(CallError::ServerDied { received: self.was_received(line, end) })
            }
            Err(error) => Err(CallError::Wait(error)),
        }
    }

    /// Whether the server that is gone had received the request that ends there; if not, no server
    /// will execute it any more.
    fn was_received(&self, line: &mut Line<Q, R, C>, end: u64) -> bool {
        if line.sender.was_taken(end) {
            return true;
        }
        // What was started before and not received is not received by anybody either, now.
        let certain = line.sender.renew().is_ok();
        for started in line.started.values_mut() {
            let received = !certain || line.sender.was_taken(started.end);
            started.outcome.get_or_insert(Err(CallError::ServerDied { received }));
        }
        !certain || line.sender.was_taken(end)
    }
}

/// Which call an answer is for, and of what kind; `None` if it is no answer.
#[inline]
fn read_head(reader: &mut Reader<'_>) -> Option<(u64, Status)> {
    let call = u64::from_le_bytes(reader.read_array().ok()?);
    let [status] = reader.read_array().ok()?;
    Some((call, Status::read(status)?))
}

/// What an answer says behind its head.
#[inline]
fn read_outcome<R, C: Codec<R>>(status: Status, reader: Reader<'_>) -> Result<R, CallError> {
    let text = |mut reader: Reader<'_>| {
        let text = reader.read_vec(reader.remaining()).unwrap_or_default();
        String::from_utf8_lossy(&text).into_owned()
    };
    match status {
        Status::Reply => C::decode(reader).map_err(CallError::Decode),
        Status::Panicked => Err(CallError::Panicked(text(reader))),
        Status::Dropped => Err(CallError::Dropped),
        Status::Unreadable => Err(CallError::Unreadable(text(reader))),
        Status::Unsendable => Err(CallError::Unsendable(text(reader))),
    }
}

impl<Q, R, C: Codec<Q>> fmt::Debug for Client<Q, R, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("server", &self.name)
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

/// A call that was started; dropping it tells the server that nobody waits for the reply. Of those
/// dropped while an earlier one is waited for, the server is told of the last few.
#[must_use = "a call that is dropped is cancelled"]
pub struct Pending<'c, Q, R, C = DefaultCodec>
where
    C: Codec<Q> + Codec<R>,
{
    client: &'c Client<Q, R, C>,
    request: &'c Q,
    call: u64,
    deadline: Deadline,
}

impl<Q, R, C> Pending<'_, Q, R, C>
where
    C: Codec<Q> + Codec<R>,
{
    /// Waits for the reply, until the call's deadline.
    ///
    /// # Errors
    /// [`CallError`].
    pub fn wait(self) -> Result<R, CallError> {
        let outcome = {
            let mut line = self.client.line()?;
            let Some(started) = line.started.get_mut(&self.call) else {
                return Err(CallError::Dropped);
            };
            let (end, known) = (started.end, started.outcome.take());
            let reconnected = line.reconnected;
            let outcome = match known {
                Some(outcome) => outcome,
                None => self.client.answer(&mut line, self.call, end, self.deadline),
            };
            line.started.remove(&self.call);
            (outcome, line.reconnected != reconnected)
        };
        let (outcome, reconnected) = outcome;
        match outcome {
            Err(CallError::ServerDied { received })
                if self.client.may_repeat(received, reconnected) && !self.deadline.has_passed() =>
            {
                self.client.call_by(self.request, self.deadline, true)
            }
            outcome => outcome,
        }
    }
}

impl<Q, R, C> Drop for Pending<'_, Q, R, C>
where
    C: Codec<Q> + Codec<R>,
{
    fn drop(&mut self) {
        // Held only while a call of this very client runs, which then is where this is dropped.
        let Ok(mut line) = self.client.line.try_borrow_mut() else { return };
        if line.started.remove(&self.call).is_some_and(|started| started.outcome.is_none()) {
            let waited_for = line.started.keys().next().copied();
            line.sender.cancel(self.call, waited_for.unwrap_or(line.last_call + 1));
        }
    }
}

impl<Q, R, C> fmt::Debug for Pending<'_, Q, R, C>
where
    C: Codec<Q> + Codec<R>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pending").field("call", &self.call).finish_non_exhaustive()
    }
}
