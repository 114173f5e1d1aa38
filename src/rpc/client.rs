//! The side that asks.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use super::error::CallError;
use super::{ConnectError, RequestHead, self_call};
use crate::channel::{Unanswered, Untyped};
use crate::codec::{Codec, DecodeError, Reader};
use crate::error::{RecvError, SendError};
use crate::name::Name;
use crate::service::ConnectOptions;
use crate::service::reply::{self, Status};
use crate::sys::{ClockOffset, Deadline, Fault, fault};
use crate::transfer::Refusal;
use crate::{DefaultCodec, Owner, Sender, panics};

/// What a client is connected with.
#[derive(Debug, Clone)]
pub struct ClientOptions {
    wait: Duration,
    deadline: Duration,
    repeatable: bool,
    connect: ConnectOptions,
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
            connect: ConnectOptions::new(),
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

    /// Says that a call may be repeated: one whose server died or was closed is then made again,
    /// until its deadline. No server executes it twice; the next one may execute it again.
    pub fn repeatable(mut self) -> Self {
        self.repeatable = true;
        self
    }

    /// The longest encoded request or reply that the server may be bound for, in bytes; default
    /// 64 MiB.
    pub fn max_value(mut self, bytes: u64) -> Self {
        self.connect.max_value = bytes;
        self
    }

    /// Whose servers may be called; default [`Owner::Myself`].
    pub fn owner(mut self, owner: Owner) -> Self {
        self.connect.owner = owner;
        self
    }

    /// How long a call looks for its reply before it sleeps. See [`Options::spin`](crate::Options::spin).
    pub fn spin(mut self, time: Duration) -> Self {
        self.connect.spin = Some(time);
        self
    }

    /// Connects a client.
    ///
    /// # Errors
    /// [`ConnectError::TooManyClients`] if the server has no place left, [`ConnectError::NotFound`] if there
    /// is none, [`ConnectError::Open`] if it serves other types or longer values;
    /// [`ConnectError::Attach`] otherwise.
    pub fn connect<Q, R, C>(&self, name: impl Into<Name>) -> Result<Client<Q, R, C>, ConnectError>
    where
        C: Codec<Q> + Codec<R>,
    {
        let name = Arc::new(name.into());
        let sender = self.sender::<Q, R, C>(&name, self.wait)?;
        Ok(Client {
            name,
            options: self.clone(),
            clock: ClockOffset::of_this_process(),
            connection: RefCell::new(Connection {
                sender,
                removed: false,
                last_call: 0,
                started: BTreeMap::new(),
                early: None,
            }),
            types: PhantomData,
        })
    }

    fn sender<Q, R, C>(
        &self,
        name: &Name,
        wait: Duration,
    ) -> Result<Sender<(), Untyped>, ConnectError>
    where
        C: Codec<Q> + Codec<R>,
    {
        let protocol = super::protocol::<Q, R, C>();
        self.connect.connect::<Q, C>(protocol, name, wait)
    }
}

/// Calls a [`Server`](super::Server) by its name.
///
/// A client is used by one thread at a time; another thread takes a client of its own, by
/// [`try_clone`](Client::try_clone) or [`connect`](Client::connect), which costs no kernel object.
/// When the server's place is taken by another one, the same client finds it.
pub struct Client<Q, R, C = DefaultCodec> {
    name: Arc<Name>,
    options: ClientOptions,
    clock: ClockOffset,
    connection: RefCell<Connection<R>>,
    types: PhantomData<fn(Q) -> C>,
}

/// The connection, which is made again when the server's channel was removed.
struct Connection<R> {
    sender: Sender<(), Untyped>,
    /// Whether its channel was removed: the next call has another.
    removed: bool,
    last_call: u64,
    /// The calls that were started and not waited for yet.
    started: BTreeMap<u64, Started<R>>,
    /// The reply to the call that is made now, if it came while its request was still being sent: a
    /// server answers a long request in the moment in which it hands it over.
    early: Option<Result<R, CallError>>,
}

impl<R> Drop for Connection<R> {
    fn drop(&mut self) {
        // A server starts none of the calls that were started, and another client has the lane.
        self.sender.end_generation();
    }
}

/// How a request is sent.
#[derive(Clone, Copy, PartialEq, Eq)]
enum How {
    /// Waits for room, and its caller for the reply.
    Call,
    /// Does not wait for room.
    TryCall,
    /// Waits for room; its caller waits for the reply later, if at all.
    Start,
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
    /// As [`ClientOptions::connect`].
    pub fn connect(name: impl Into<Name>) -> Result<Self, ConnectError> {
        ClientOptions::new().connect(name)
    }

    /// Another client of the same server, for another thread.
    ///
    /// # Errors
    /// As [`ClientOptions::connect`].
    pub fn try_clone(&self) -> Result<Self, ConnectError> {
        self.options.connect((*self.name).clone())
    }

    /// Calls the server and waits for its reply, ten seconds at most unless
    /// [`ClientOptions::deadline`] says otherwise.
    ///
    /// # Errors
    /// [`CallError::Timeout`] or [`CallError::ServerDied`], which say whether the server had received
    /// the request; [`CallError::Panicked`], [`CallError::Dropped`], [`CallError::Unreadable`] or
    /// [`CallError::Unsendable`] if the server says so; [`CallError`] otherwise.
    pub fn call(&self, request: &Q) -> Result<R, CallError> {
        self.call_timeout(request, self.options.deadline)
    }

    /// Calls the server and waits at most `timeout` for its reply.
    ///
    /// # Errors
    /// As [`call`](Client::call).
    pub fn call_timeout(&self, request: &Q, timeout: Duration) -> Result<R, CallError> {
        self.call_by(request, Deadline::after(timeout), true, false)
    }

    /// Like [`call`](Client::call), but does not wait for room for the request, nor for a server. A
    /// server that was closed counts as there until [`serve`](crate::rpc::Server::serve) returns or it is
    /// dropped. A request that was sent is waited for, and made again where it may be, as by
    /// `call`.
    ///
    /// # Errors
    /// [`CallError::Full`] if there is no room; [`CallError::Send`] with [`SendError::NeedsWaiting`] for a
    /// request so long that it goes in fragments; else as [`call`](Client::call).
    pub fn try_call(&self, request: &Q) -> Result<R, CallError> {
        self.call_by(request, Deadline::after(self.options.deadline), false, false)
    }

    /// Makes a call, and makes it again where it may be; `received` says whether a server that is
    /// gone had received it before.
    fn call_by(
        &self,
        request: &Q,
        deadline: Deadline,
        wait: bool,
        mut received: bool,
    ) -> Result<R, CallError> {
        let mut how = if wait { How::Call } else { How::TryCall };
        loop {
            let mut connection = self.connection()?;
            let (call, end) = self
                .ask(&mut connection, request, deadline, how)
                .map_err(|error| error.of_call_received_before(received, &self.name))?;
            let outcome = self.reply(&mut connection, call, end, deadline);
            if !self.is_made_again(&mut connection, &outcome, deadline) {
                return outcome
                    .map_err(|error| error.of_call_received_before(received, &self.name));
            }
            received |= was_received(&outcome);
            how = How::Call;
        }
    }

    /// Whether a call that ended so is made again: one that may be repeated and whose server is
    /// gone, and one that no server had received, if the name has another channel by now.
    fn is_made_again(
        &self,
        connection: &mut Connection<R>,
        outcome: &Result<R, CallError>,
        deadline: Deadline,
    ) -> bool {
        let Err(CallError::ServerDied { received, .. }) = outcome else { return false };
        let may = self.options.repeatable || connection.removed && !received;
        if !may || deadline.has_passed() {
            return false;
        }
        let wait = if self.options.repeatable { deadline } else { Deadline::now() };
        !connection.removed || self.reconnect(connection, wait).is_ok()
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
    /// [`CallError::Timeout`], not received, if there was no room until the deadline, or no server: it
    /// waits for the next one where the last was closed or dropped. [`CallError::Reconnect`] if the
    /// server's channel was removed and the name had no other until the deadline,
    /// [`CallError::Send`] for a request that cannot be sent or whose server cannot be woken,
    /// [`CallError::Reentrant`] inside of another call. That a server was killed, [`Pending::wait`]
    /// tells.
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
        let mut connection = self.connection()?;
        let (call, end) = self.ask(&mut connection, request, deadline, How::Start)?;
        let outcome = connection.early.take();
        connection.started.insert(call, Started { end, outcome });
        Ok(Pending { client: self, request, call, deadline })
    }

    fn connection(&self) -> Result<std::cell::RefMut<'_, Connection<R>>, CallError> {
        let connection = self.connection.try_borrow_mut();
        connection.map_err(|_| CallError::Reentrant { server: self.server() })
    }

    /// How errors name the server.
    fn server(&self) -> Arc<Name> {
        self.name.clone()
    }

    /// Sends a request; says what the call's number is and where the request ends in the ring.
    fn ask(
        &self,
        connection: &mut Connection<R>,
        request: &Q,
        deadline: Deadline,
        how: How,
    ) -> Result<(u64, u64), CallError> {
        let wait = how != How::TryCall;
        let room_by = if wait { deadline } else { Deadline::now() };
        connection.last_call += 1;
        let call = connection.last_call;
        let head = RequestHead { call, deadline }.write(self.clock);
        if connection.removed {
            self.reconnect(connection, room_by)?;
        }
        if !connection.started.is_empty() {
            // The server has no room for more than a ring of replies, and something beside it.
            connection.take_replies::<C>(&self.name);
        }
        loop {
            if how != How::Start && self_call::is_served_here(&connection.sender) {
                return Err(CallError::OwnServer { server: self.server() });
            }
            let Connection { sender, started, early, .. } = &mut *connection;
            *early = None;
            // The server may have to be rid of its replies before it has room.
            let sent = sender.send_behind::<Q, C>(&head, request, room_by, |mut reader| {
                let Some((answered, status)) = reply::read_head(&mut reader) else { return };
                if answered == call && !fault(Fault::EarlyReplyLost) {
                    *early = Some(read_guarded::<R, C>(&self.name, status, reader));
                } else {
                    note::<R, C>(&self.name, started, answered, status, reader);
                }
            });
            let error = match sent {
                Ok(end) => return Ok((call, end)),
                // It was sent, whatever became of waking the server.
                Err(_) if early.is_some() => return Ok((call, 0)),
                Err(error) => error,
            };
            let next = match error {
                // Servers may come and go for longer than the caller has time.
                SendError::Disconnected { .. } if wait && deadline.has_passed() => {
                    return Err(CallError::Timeout { server: self.server(), received: false });
                }
                // There is no server: one may come until the deadline.
                SendError::Disconnected { .. } if wait => {
                    connection.sender.wait_for_receiver(deadline)
                }
                error => Err(error),
            };
            match next {
                Ok(()) => {}
                Err(SendError::Disconnected { .. } | SendError::Removed { .. }) if wait => {
                    self.reconnect(connection, deadline)?;
                }
                Err(SendError::Disconnected { .. } | SendError::Removed { .. }) => {
                    // The next call has another.
                    connection.removed = connection.sender.is_removed();
                    return Err(CallError::ServerDied { server: self.server(), received: false });
                }
                Err(SendError::Timeout { .. }) => {
                    return Err(CallError::Timeout { server: self.server(), received: false });
                }
                Err(SendError::Full { .. }) => {
                    return Err(CallError::Full { server: self.server() });
                }
                Err(error) => {
                    if error.was_sent() {
                        connection.cancel(call);
                    }
                    return Err(CallError::Send(error));
                }
            }
        }
    }

    /// Makes the connection again, to the channel that has the name now.
    fn reconnect(
        &self,
        connection: &mut Connection<R>,
        deadline: Deadline,
    ) -> Result<(), CallError> {
        let wait = deadline.remaining().unwrap_or(Duration::MAX);
        let sender = self.options.sender::<Q, R, C>(&self.name, wait);
        let sender = sender.map_err(CallError::Reconnect)?;
        connection.give_up::<C>(&self.name);
        connection.sender = sender;
        connection.removed = false;
        Ok(())
    }

    /// Waits for the reply to a call.
    fn reply(
        &self,
        connection: &mut Connection<R>,
        call: u64,
        end: u64,
        deadline: Deadline,
    ) -> Result<R, CallError> {
        if let Some(outcome) = connection.early.take() {
            return outcome;
        }
        loop {
            let Connection { sender, started, .. } = &mut *connection;
            let accept = |mut reader: Reader<'_>| {
                let (answered, status) = reply::read_head(&mut reader)?;
                if answered == call {
                    return Some(read_outcome(&self.name, status, reader, |reader| {
                        C::decode(reader)
                    }));
                }
                note::<R, C>(&self.name, started, answered, status, reader);
                None
            };
            let stay = self.options.repeatable;
            return match sender.wait_for_reply(end, deadline, stay, accept) {
                Ok(outcome) => outcome,
                Err(Unanswered::Died) => {
                    Err(CallError::ServerDied { server: self.server(), received: true })
                }
                // A server that has come in this moment takes the request.
                Err(Unanswered::NoReceiver)
                    if !deadline.has_passed() && sender.has_receiver().is_ok_and(|there| there) =>
                {
                    continue;
                }
                Err(Unanswered::NoReceiver | Unanswered::Failed(RecvError::Removed { .. })) => {
                    let certain = connection.give_up::<C>(&self.name);
                    connection.removed = connection.sender.is_removed();
                    let received = !certain || connection.sender.was_consumed(end);
                    Err(CallError::ServerDied { server: self.server(), received })
                }
                Err(Unanswered::Failed(RecvError::Timeout { .. })) => {
                    let received = sender.was_consumed(end);
                    connection.cancel(call);
                    Err(CallError::Timeout { server: self.server(), received })
                }
                Err(Unanswered::Failed(error)) => Err(CallError::Wait(error)),
            };
        }
    }
}

impl<R> Connection<R> {
    /// Takes the replies that are there.
    fn take_replies<C: Codec<R>>(&mut self, server: &Arc<Name>) {
        let Connection { sender, started, .. } = self;
        // What is wrong with the lane is told to a call that waits.
        let _ = sender.take_replies(|reader| note_reply::<R, C>(server, started, reader));
    }

    /// Tells the server that this client waits no more for a call's reply.
    fn cancel(&self, call: u64) {
        let waits = |(&other, started): (&u64, &Started<R>)| {
            (other != call && started.outcome.is_none()).then_some(other)
        };
        let waited_for = self.started.iter().find_map(waits).unwrap_or(self.last_call + 1);
        self.sender.cancel(call, waited_for);
    }

    /// Sees to it that no server receives any more what none has received by now; says whether that
    /// is certain.
    fn give_up<C: Codec<R>>(&mut self, server: &Arc<Name>) -> bool {
        self.take_replies::<C>(server);
        let certain = self.sender.renew_generation().is_ok();
        for started in self.started.values_mut() {
            let received = !certain || self.sender.was_consumed(started.end);
            let server = server.clone();
            started.outcome.get_or_insert(Err(CallError::ServerDied { server, received }));
        }
        certain
    }
}

/// Whether the server that is gone had received the call.
fn was_received<R>(outcome: &Result<R, CallError>) -> bool {
    matches!(outcome, Err(CallError::ServerDied { received: true, .. }))
}

/// Keeps the reply to a call that is waited for later; the client waits no more for others.
fn note<R, C: Codec<R>>(
    server: &Arc<Name>,
    started: &mut BTreeMap<u64, Started<R>>,
    call: u64,
    status: Status,
    reader: Reader<'_>,
) {
    if let Some(started) = started.get_mut(&call) {
        started.outcome = Some(read_guarded::<R, C>(server, status, reader));
    }
}

/// The same, of a reply that may be for any call.
fn note_reply<R, C: Codec<R>>(
    server: &Arc<Name>,
    started: &mut BTreeMap<u64, Started<R>>,
    mut reader: Reader<'_>,
) {
    if let Some((call, status)) = reply::read_head(&mut reader) {
        note::<R, C>(server, started, call, status, reader);
    }
}

/// What a reply says that is read inside of another call: the panic of its decoder is its own error.
fn read_guarded<R, C: Codec<R>>(
    server: &Arc<Name>,
    status: Status,
    reader: Reader<'_>,
) -> Result<R, CallError> {
    read_outcome(server, status, reader, |reader| panics::decoding(|| C::decode(reader)))
}

/// What a reply says behind its head.
#[inline]
fn read_outcome<R>(
    server: &Arc<Name>,
    status: Status,
    reader: Reader<'_>,
    decode: impl FnOnce(Reader<'_>) -> Result<R, DecodeError>,
) -> Result<R, CallError> {
    if status == Status::Reply {
        return decode(reader).map_err(|error| CallError::Decode { server: server.clone(), error });
    }
    Err(failure(server.clone(), status, reader))
}

/// Why there is no reply, as a reply says it behind its head.
#[cold]
fn failure(server: Arc<Name>, status: Status, reader: Reader<'_>) -> CallError {
    match status {
        Status::Panicked => CallError::Panicked { server, message: reader.read_text() },
        Status::Reply | Status::Dropped => CallError::Dropped { server },
        Status::Closed => CallError::ServerDied { server, received: true },
        Status::Unreadable => CallError::Unreadable { server, why: reader.read_text() },
        Status::Unsendable => CallError::Unsendable { server, why: reader.read_text() },
    }
}

impl<Q, R, C> fmt::Debug for Client<Q, R, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("server", &self.name)
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

/// A call that was started; dropping it tells the server that the client waits no more for the
/// reply. Of those that are dropped while an earlier call is waited for, the server is told of the last
/// seven; it may execute the others in vain.
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
    /// As [`Client::call`].
    pub fn wait(self) -> Result<R, CallError> {
        let received = {
            let mut connection = self.client.connection()?;
            if self_call::is_served_here(&connection.sender) {
                connection.take_replies::<C>(&self.client.name);
                let started = connection.started.get(&self.call);
                if started.is_some_and(|started| started.outcome.is_none()) {
                    return Err(CallError::OwnServer { server: self.client.server() });
                }
            }
            let Some(started) = connection.started.get_mut(&self.call) else {
                return Err(CallError::Dropped { server: self.client.server() });
            };
            let (end, known) = (started.end, started.outcome.take());
            let outcome = match known {
                Some(outcome) => outcome,
                None => self.client.reply(&mut connection, self.call, end, self.deadline),
            };
            connection.started.remove(&self.call);
            if !self.client.is_made_again(&mut connection, &outcome, self.deadline) {
                return outcome;
            }
            was_received(&outcome)
        };
        self.client.call_by(self.request, self.deadline, true, received)
    }
}

impl<Q, R, C> Drop for Pending<'_, Q, R, C>
where
    C: Codec<Q> + Codec<R>,
{
    fn drop(&mut self) {
        // Held only while a call of this very client runs, which then is where this is dropped.
        let Ok(mut connection) = self.client.connection.try_borrow_mut() else { return };
        if connection.started.remove(&self.call).is_some_and(|started| started.outcome.is_none()) {
            connection.cancel(self.call);
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
