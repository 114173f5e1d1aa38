//! The side that asks.
//!
//! | file | subject |
//! |---|---|
//! | `options` | what a client is connected with |
//! | `connection` | the lane: sending a request, waiting for replies, what is known of each call |
//! | `shared` | the connection among the threads that wait for calls of one client |
//! | `pending` | calls that were started |
//! | `tasks` | calls that tasks wait for |
//! | `repeats` | pauses before a call is made again |
//! | `stream`, `incoming` | calls whose replies are a stream |

mod connection;
mod incoming;
mod options;
mod pending;
mod repeats;
mod shared;
mod stream;
mod tasks;

use std::cell::{RefCell, RefMut};
use std::fmt;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::time::Duration;

pub use options::ClientOptions;
pub use pending::Pending;
pub use stream::ReplyStream;

use self::connection::{Connection, How};
use self::incoming::Incoming;
use self::pending::StartedCall;
use self::repeats::Repeats;
use self::shared::{Lent, NotLent, Shared};
use super::ConnectError;
use super::error::CallError;
use crate::channel::Untyped;
use crate::codec::{Codec, Raw};
use crate::name::Name;
use crate::sys::{self, Deadline};
use crate::{DefaultCodec, Sender, transfer};

/// Calls a [`Server`](super::Server) by its name.
///
/// A client is used by one thread at a time; another thread takes a client of its own, by
/// [`try_clone`](Client::try_clone) or [`connect`](Client::connect), which costs no kernel object. Calls that
/// were started may be waited for on any thread.
/// When the server's place is taken by another one, the same client finds it.
pub struct Client<Q, R, C = DefaultCodec> {
    shared: Arc<Shared<R>>,
    /// Present while no call is started: then no other thread can want it.
    own: RefCell<Option<Box<Connection<R>>>>,
    types: PhantomData<fn(Q) -> C>,
}

/// The connection in a client's hands.
enum Held<'a, R> {
    Own(RefMut<'a, Box<Connection<R>>>),
    Lent(Lent<'a, R>),
}

impl<R> Deref for Held<'_, R> {
    type Target = Connection<R>;

    #[inline]
    fn deref(&self) -> &Connection<R> {
        match self {
            Held::Own(own) => own,
            Held::Lent(lent) => lent,
        }
    }
}

impl<R> DerefMut for Held<'_, R> {
    #[inline]
    fn deref_mut(&mut self) -> &mut Connection<R> {
        match self {
            Held::Own(own) => own,
            Held::Lent(lent) => lent,
        }
    }
}

impl<Q, R, C> Client<Q, R, C>
where
    C: Codec<Q> + Codec<R>,
{
    fn new(name: Arc<Name>, options: ClientOptions, sender: Sender<(), Untyped>) -> Self {
        let shared = Shared::new(name, options, ClientOptions::sender::<Q, R, C>);
        let own = RefCell::new(Some(Box::new(Connection::new(sender))));
        Client { shared: Arc::new(shared), own, types: PhantomData }
    }

    /// Connects to a server by its name, with default [`ClientOptions`]: waits ten seconds at most for the server to be
    /// there, as [`ClientOptions::connect`] has it.
    ///
    /// # Errors
    /// As [`ClientOptions::connect`].
    pub fn connect(name: impl Into<Name>) -> Result<Self, ConnectError> {
        ClientOptions::new().connect(name)
    }

    #[cfg(not(loom))]
    pub(crate) fn server(&self) -> Arc<Name> {
        self.shared.server()
    }

    /// Another client of the same server, for another thread.
    ///
    /// # Errors
    /// As [`ClientOptions::connect`].
    pub fn try_clone(&self) -> Result<Self, ConnectError> {
        self.shared.options.connect((*self.shared.name).clone())
    }

    /// Calls the server and waits for its reply, ten seconds at most unless
    /// [`ClientOptions::deadline`] says otherwise.
    ///
    /// # Errors
    /// [`CallError::Timeout`] or [`CallError::ServerDied`], which say whether the server had received
    /// the request; [`CallError::Panicked`], [`CallError::Dropped`], [`CallError::Unreadable`] or
    /// [`CallError::Unsendable`] if the server says so; [`CallError`] otherwise.
    pub fn call(&self, request: &Q) -> Result<R, CallError> {
        self.call_timeout(request, self.shared.options.deadline)
    }

    /// Calls the server and waits at most `timeout` for its reply.
    ///
    /// # Errors
    /// As [`call`](Client::call).
    pub fn call_timeout(&self, request: &Q, timeout: Duration) -> Result<R, CallError> {
        self.call_by(request, Deadline::after(timeout), How::Call)
    }

    /// Like [`call`](Client::call), but does not wait for room for the request, nor for a server. A
    /// server that was closed counts as there until [`serve`](crate::rpc::Server::serve) returns or it is
    /// dropped. A request that was sent is waited for, and made again where it may be, as by
    /// `call`.
    ///
    /// # Errors
    /// [`CallError::Full`] if there is no room; [`CallError::Send`] with [`NeedsWaiting`](crate::SendError::NeedsWaiting) for a
    /// request so long that it goes in fragments; else as [`call`](Client::call).
    pub fn try_call(&self, request: &Q) -> Result<R, CallError> {
        self.call_by(request, Deadline::after(self.shared.options.deadline), How::TryCall)
    }

    /// Makes a call, and makes it again where it may be.
    fn call_by(&self, request: &Q, deadline: Deadline, mut how: How) -> Result<R, CallError> {
        let shared = &*self.shared;
        // Whether a server that is gone had received it before.
        let mut received = false;
        let mut repeats = Repeats::default();
        loop {
            let explained =
                |error: CallError| error.of_call_received_before(received, &shared.name);
            let mut held = self.connection(deadline).map_err(explained)?;
            let room_by = if how == How::TryCall { Deadline::now() } else { deadline };
            let asked = held.ask::<Q, C, C>(shared, request, deadline, room_by, how);
            let (call, end) = asked.map_err(explained)?;
            let explained = |error: CallError| explained(error).of_call_until(deadline);
            let outcome = match held {
                Held::Own(mut own) => {
                    let outcome = own.reply::<C>(shared, call, end, deadline);
                    self.pause(&outcome, &mut repeats, deadline);
                    if !self.is_made_again(&mut own, &outcome, deadline) {
                        return outcome.map_err(explained);
                    }
                    outcome
                }
                Held::Lent(mut lent) => {
                    lent.keep_started(call, end);
                    let outcome = shared.outcome_of::<C>(lent, call, deadline);
                    self.pause(&outcome, &mut repeats, deadline);
                    let died = matches!(outcome, Err(CallError::ServerDied { .. }));
                    let again = died
                        && self.connection(deadline).is_ok_and(|mut held| {
                            self.is_made_again(&mut held, &outcome, deadline)
                        });
                    if !again {
                        return outcome.map_err(explained);
                    }
                    outcome
                }
            };
            received |= matches!(outcome, Err(CallError::ServerDied { received: true, .. }));
            how = How::Call;
        }
    }

    /// Waits until a call that ended so may be repeated.
    fn pause(&self, outcome: &Result<R, CallError>, repeats: &mut Repeats, deadline: Deadline) {
        if !self.shared.options.repeatable || !matches!(outcome, Err(CallError::ServerDied { .. }))
        {
            return;
        }
        let pause = repeats.next_pause();
        if !pause.is_zero() {
            sys::pause(pause.min(deadline.remaining().unwrap_or(Duration::MAX)));
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
        let may = self.shared.options.repeatable || connection.removed && !received;
        if !may || deadline.has_passed() {
            return false;
        }
        let wait = if self.shared.options.repeatable { deadline } else { Deadline::now() };
        !connection.removed || connection.reconnect::<C>(&self.shared, wait).is_ok()
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
    /// tells: until another one comes, requests are accepted for that.
    pub fn start(&self, request: &Q) -> Result<Pending<Q, R, C>, CallError> {
        self.start_timeout(request, self.shared.options.deadline)
    }

    /// Like [`start`](Client::start), with a deadline of its own.
    ///
    /// # Errors
    /// As [`start`](Client::start).
    pub fn start_timeout(
        &self,
        request: &Q,
        timeout: Duration,
    ) -> Result<Pending<Q, R, C>, CallError> {
        let deadline = Deadline::after(timeout);
        let held = self.connection(deadline)?;
        self.start_with(held, request, deadline, deadline, How::Start)
    }

    /// Like [`start`](Client::start), with a deadline of its own, but does not wait for room for the request, nor for a
    /// server. The connection, which another thread may have, is waited for.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use sysv_channel::rpc::{Client, Server};
    /// # let name = format!("doc-try-start-{}", std::process::id());
    /// # let name = name.as_str();
    /// let server = Server::<u32, u32>::bind(name)?;
    /// let client = Client::<u32, u32>::connect(name)?;
    /// let started = client.try_start(&9, Duration::from_secs(10))?;
    /// server.recv()?.expect("it is not closed").reply(&81)?;
    /// assert_eq!(started.wait()?, 81);
    ///
    /// drop(server);
    /// let refused = client.try_start(&9, Duration::from_secs(10)).unwrap_err();
    /// assert!(refused.is_server_died());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`CallError::Full`] if there is no room, [`CallError::ServerDied`], not received, if the server was dropped and
    /// no other is there (that it was killed, [`Pending::wait`] tells, of each call),
    /// [`CallError::Send`] with [`NeedsWaiting`](crate::SendError::NeedsWaiting) for a request so long that it goes in
    /// fragments, [`CallError::OwnServer`] of a handler's own server; else as [`start`](Client::start).
    pub fn try_start(&self, request: &Q, timeout: Duration) -> Result<Pending<Q, R, C>, CallError> {
        let deadline = Deadline::after(timeout);
        let held = self.connection(deadline)?;
        self.start_with(held, request, deadline, Deadline::now(), How::TryCall)
    }

    /// Sends a request, and waits until `room_by` for room.
    fn start_with(
        &self,
        mut held: Held<'_, R>,
        request: &Q,
        deadline: Deadline,
        room_by: Deadline,
        how: How,
    ) -> Result<Pending<Q, R, C>, CallError> {
        let shared = &*self.shared;
        let (call, kept) = if shared.options.repeatable {
            // Encoded once: what goes later is what the parts of the request were passed on with.
            transfer::sending::<Q, _, _>(|| {
                let encoded =
                    held.sender.encode_request::<Q, C>(request).map_err(CallError::Send)?;
                let (call, end) =
                    held.ask::<Vec<u8>, Raw, C>(shared, &encoded, deadline, room_by, how)?;
                held.keep_started(call, end);
                Ok::<_, CallError>((call, Some(encoded)))
            })?
        } else {
            let (call, end) = held.ask::<Q, C, C>(shared, request, deadline, room_by, how)?;
            held.keep_started(call, end);
            (call, None)
        };
        drop(held);
        self.share();
        Ok(Pending::new(self.shared.clone(), StartedCall::new(call, deadline, kept)))
    }

    /// Makes a call whose replies are a stream: an iterator over the parts as the server sends them
    /// ([`Responder::part`](super::Responder::part)), and its [`reply`](super::Responder::reply) behind them, if
    /// there is one. Any call can be made so: one that is answered by a reply alone is a stream of one.
    ///
    /// The stream may take as long as it likes, but each part has to come within the client's
    /// [deadline](ClientOptions::deadline) of the moment in which it is waited for. Up to 31 streams of a client
    /// can be read at a time. A call that its server has received is never
    /// made again.
    ///
    /// ```
    /// # use sysv_channel::rpc::{Client, Server};
    /// # let name = format!("doc-stream-{}", std::process::id());
    /// # let name = name.as_str();
    /// # let server = Server::<u32, String>::bind(name)?;
    /// # let closer = server.closer();
    /// # let serving = std::thread::spawn(move || {
    /// #     for request in server.incoming() {
    /// #         let (rows, mut port) = request?.into_parts();
    /// #         for row in 0..rows {
    /// #             let _ = port.part(&format!("row {row}"));
    /// #         }
    /// #         let _ = port.reply(&"done".to_owned());
    /// #     }
    /// #     Ok::<(), sysv_channel::rpc::ServeError>(())
    /// # });
    /// let client = Client::<u32, String>::connect(name)?;
    /// for part in client.stream(&3)? {
    ///     println!("{}", part?);
    /// }
    /// assert_eq!(client.stream(&2)?.count(), 3);
    /// # closer.close();
    /// # serving.join().unwrap()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`CallError::TooManyStreams`] if there are as many already, else as [`start`](Client::start).
    pub fn stream(&self, request: &Q) -> Result<ReplyStream<Q, R, C>, CallError> {
        self.stream_by(request, Deadline::never())
    }

    /// Like [`stream`](Client::stream), with a deadline for all of it.
    ///
    /// # Errors
    /// As [`stream`](Client::stream).
    pub fn stream_timeout(
        &self,
        request: &Q,
        timeout: Duration,
    ) -> Result<ReplyStream<Q, R, C>, CallError> {
        self.stream_by(request, Deadline::after(timeout))
    }

    fn stream_by(
        &self,
        request: &Q,
        deadline: Deadline,
    ) -> Result<ReplyStream<Q, R, C>, CallError> {
        let patience = self.shared.options.deadline;
        let room_by = deadline.earlier(Deadline::after(patience));
        let incoming = Arc::new(Incoming::new());
        let mut held = self.connection(room_by)?;
        let (call, credit) =
            held.start_stream::<Q, C>(&self.shared, request, deadline, room_by, &incoming)?;
        drop(held);
        self.share();
        let shared = self.shared.clone();
        Ok(ReplyStream::new(shared, call, incoming, credit, deadline, patience))
    }

    /// From here on calls that were started need the connection too.
    fn share(&self) {
        if let Some(own) = self.own.take() {
            self.shared.share(own);
        }
    }

    /// Waits until one of several calls that this client started has its outcome: says which of them, in the
    /// order in which they were given, and the outcome. Of those that have it, the one that came first; those
    /// whose outcome was taken before are passed over, and `None` says that they all are.
    ///
    /// The others go on, each until its own deadline. How many there are counts: each is looked at, whenever
    /// this is called.
    ///
    /// ```
    /// # use sysv_channel::rpc::{Client, Server};
    /// # let name = format!("doc-wait-any-{}", std::process::id());
    /// # let name = name.as_str();
    /// # let server = Server::<u32, u32>::bind(name)?;
    /// # let closer = server.closer();
    /// # let serving = std::thread::spawn(move || server.serve(|n| n * n));
    /// let client = Client::<u32, u32>::connect(name)?;
    /// let mut calls = [client.start(&3)?, client.start(&4)?, client.start(&5)?];
    /// let mut sum = 0;
    /// while let Some((_which, square)) = client.wait_any(&mut calls) {
    ///     sum += square?;
    /// }
    /// assert_eq!(sum, 9 + 16 + 25);
    /// # closer.close();
    /// # serving.join().unwrap()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// The outcome says what became of that call, as [`call`](Client::call) does, and
    /// [`CallError::OtherClient`] of one that another client started, which is cancelled.
    pub fn wait_any<'p>(
        &self,
        calls: impl IntoIterator<Item = &'p mut Pending<Q, R, C>>,
    ) -> Option<(usize, Result<R, CallError>)>
    where
        Q: 'p,
        R: 'p,
        C: 'p,
    {
        let mut waiting = Vec::new();
        for (place, call) in calls.into_iter().enumerate() {
            if !call.is_of(&self.shared) {
                call.cancel();
                return Some((place, Err(CallError::OtherClient { server: self.shared.server() })));
            }
            if !call.is_over() {
                waiting.push((place, call));
            }
        }
        let mut started: Vec<_> = waiting.iter_mut().map(|(_, call)| call.call()).collect();
        let (at, outcome) = self.shared.first_of::<C>(&mut started, Deadline::never(), false)?;
        let (place, call) = &mut waiting[at];
        call.end(&outcome);
        Some((*place, outcome))
    }

    fn connection(&self, until: Deadline) -> Result<Held<'_, R>, CallError> {
        self.connection_or(|| self.shared.borrow(until))
    }

    /// The connection, which another thread has perhaps.
    fn connection_or<'a>(
        &'a self,
        borrow: impl FnOnce() -> Result<Lent<'a, R>, NotLent>,
    ) -> Result<Held<'a, R>, CallError> {
        let own = self.own.try_borrow_mut();
        let mut own = own.map_err(|_| CallError::Reentrant { server: self.shared.server() })?;
        if own.is_none() && Arc::strong_count(&self.shared) == 1 {
            *own = self.shared.take_back();
        }
        match RefMut::filter_map(own, Option::as_mut) {
            Ok(own) => Ok(Held::Own(own)),
            Err(_) => {
                let lent = borrow();
                lent.map(Held::Lent).map_err(|refused| self.shared.refused(refused))
            }
        }
    }
}

impl<Q, R, C> fmt::Debug for Client<Q, R, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("server", &self.shared.name)
            .field("options", &self.shared.options)
            .finish_non_exhaustive()
    }
}
