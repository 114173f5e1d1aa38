//! The side that answers.

mod events;
mod options;
mod passed_on;
mod stream;

pub use events::{ClientId, Event};
pub use options::ServerOptions;

use std::cell::{OnceCell, RefCell};
use std::fmt;
use std::future::poll_fn;
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll};
use std::thread;
use std::time::Duration;

use self::events::Clients;
use super::error::{ReplyError, ServeError};
use super::self_call::Serving;
use super::{BindError, Closer, Peer, RequestHead};
#[cfg(not(loom))]
use crate::Readiness;
use crate::channel::{Due, Parts, ReceiverBell, RequestGuard, Untyped};
use crate::codec::{Codec, DecodeError, EncodeError, Reader, Writer};
use crate::error::text::{Describe, server};
use crate::error::{RecvError, SendError};
use crate::name::Name;
use crate::service::reply::{self, Status};
use crate::sys::{ClockOffset, Deadline, Fault, Moment, SystemError, fault};
use crate::transfer::Refusal;
use crate::wait_set::Waits;
use crate::{DefaultCodec, Receiver, panics, transfer};

/// How many requests wait for threads that are free, at most.
const MAX_GIVEN: usize = 1024;

/// Answers requests of type `Q` with replies of type `R`, under a name; there is one at a time.
///
/// See [`rpc`](crate::rpc) for what holds when it dies. One that is dropped receives nothing more and
/// waits until its requests, wherever they are, are answered or dropped and the replies have gone,
/// for at most [`ServerOptions::drain`]: so drop requests that will not be answered first. What is
/// not answered then is lost to its client, which is told
/// [`ServerDied`](super::CallError::ServerDied).
pub struct Server<Q, R, C = DefaultCodec> {
    receiver: Receiver<(), Untyped>,
    clock: ClockOffset,
    drain: Duration,
    /// When that is over, once the server has begun to end.
    drained_by: OnceCell<Deadline>,
    /// The clients whose requests were handed out as events.
    clients: RefCell<Clients>,
    types: PhantomData<fn(R, C) -> Q>,
}

impl<Q, R, C> Server<Q, R, C> {
    /// Receives nothing more, waits until what was received is answered, for as long as that may take in
    /// all, and lets the next server have the place.
    fn end(&self) {
        self.receiver.end(*self.drained_by.get_or_init(|| Deadline::after(self.drain)));
    }
}

impl<Q, R, C> Drop for Server<Q, R, C> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.receiver.close();
        } else {
            self.end();
        }
    }
}

impl<Q, R, C> Server<Q, R, C>
where
    C: Codec<Q> + Codec<R>,
{
    /// Binds a server to a name, with default [`ServerOptions`].
    ///
    /// # Errors
    /// As [`ServerOptions::bind`].
    pub fn bind(name: impl Into<Name>) -> Result<Self, BindError> {
        ServerOptions::new().bind(name)
    }

    fn new(receiver: Receiver<(), Untyped>, drain: Duration) -> Self {
        Server {
            receiver: receiver.of_service().drained_for(drain),
            clock: ClockOffset::of_this_process(),
            drain,
            drained_by: OnceCell::new(),
            clients: RefCell::default(),
            types: PhantomData,
        }
    }

    /// Answers requests, one after another, until it is [closed](Server::closer). A handler that
    /// panics is an error for its caller alone, and so is a value that panics while it is decoded or
    /// encoded. One that calls this very server is told so at once: [`CallError::OwnServer`].
    ///
    /// [`CallError::OwnServer`]: super::CallError::OwnServer
    ///
    /// # Errors
    /// As [`recv`](Server::recv).
    pub fn serve(&self, mut handler: impl FnMut(Q) -> R) -> Result<(), ServeError> {
        let serving = Serving::begin(self.receiver.channel().handle());
        for request in self.incoming() {
            request?.handle(&mut handler);
        }
        drop(serving);
        self.end();
        Ok(())
    }

    /// Answers as many requests at a time as there are `threads`, until it is
    /// [closed](Server::closer). This thread receives; requests beyond wait in their clients' rings. No
    /// thread counts as one.
    ///
    /// A handler may call this very server as long as another thread is free to answer: where all of
    /// them do so at a time, their calls wait until the first deadline.
    ///
    /// # Errors
    /// [`ServeError::NoThread`] if the threads could not be started; else as [`recv`](Server::recv).
    pub fn serve_concurrently(
        &self,
        threads: usize,
        handler: impl Fn(Q) -> R + Sync,
    ) -> Result<(), ServeError>
    where
        Q: Send,
    {
        let threads = threads.max(1);
        // No more are given than threads are free.
        let (give, given) = mpsc::sync_channel::<Request<Q, R, C>>(threads.min(MAX_GIVEN));
        let given = Mutex::new(given);
        let home = self.receiver.channel().handle();
        let crew = Crew { free: AtomicU64::new(0), bell: self.receiver.bell() };
        thread::scope(|scope| {
            // Dropped at the end, which ends the threads.
            let give = give;
            for _ in 0..threads {
                let serve = || {
                    let _serving = (threads == 1).then(|| Serving::begin(home));
                    let next = || {
                        crew.come_free();
                        given.lock().unwrap_or_else(PoisonError::into_inner).recv()
                    };
                    while let Ok(request) = next() {
                        request.handle(&handler);
                    }
                };
                let started = thread::Builder::new().spawn_scoped(scope, serve);
                started.map_err(|error| ServeError::NoThread {
                    server: self.receiver.name(),
                    error: SystemError::of_thread(&error),
                })?;
            }
            // Requests are decoded here, by the user's code.
            let _serving = Serving::begin(home);
            loop {
                // No thread is waited for without a look at the replies that wait for room.
                crew.wait(self, |free| free > 0 || self.is_closed());
                let Some(request) = self.recv()? else { break };
                crew.occupy();
                if give.send(request).is_err() {
                    break;
                }
            }
            crew.wait(self, |free| free == threads as u64);
            Ok::<_, ServeError>(())
        })?;
        self.end();
        Ok(())
    }

    /// The requests as they come, to be answered now or later, until it is
    /// [closed](Server::closer).
    pub fn incoming(&self) -> Incoming<'_, Q, R, C> {
        Incoming { server: self }
    }

    /// The next request; `None` when the server was [closed](Server::closer).
    ///
    /// # Errors
    /// [`ServeError::Removed`] if the server's channel was removed, [`ServeError::Receive`] if it cannot
    /// be received from.
    pub fn recv(&self) -> Result<Option<Request<Q, R, C>>, ServeError> {
        self.receive(Deadline::never())
    }

    /// The next request, if there is one now; `None` when the server was [closed](Server::closer).
    ///
    /// # Errors
    /// [`ServeError::Empty`] if there is none; else as [`recv`](Server::recv).
    pub fn try_recv(&self) -> Result<Option<Request<Q, R, C>>, ServeError> {
        self.receive(Deadline::now())
    }

    /// The next request, and has the task wait until there is one, under any executor; `None` when the
    /// server was [closed](Server::closer). A future that is dropped has taken no request.
    ///
    /// Replies that wait for room go while the server receives, and so while this is polled. See
    /// [`Receiver::recv_async`](crate::Receiver::recv_async) for what it costs.
    ///
    /// # Errors
    /// As [`recv`](Server::recv).
    // NB: mutable, so that the future can go to another thread.
    pub async fn recv_async(&mut self) -> Result<Option<Request<Q, R, C>>, ServeError> {
        poll_fn(move |context| {
            let receive = || match self.try_recv() {
                Err(ServeError::Empty { .. }) => Ok(None),
                received => received.map(Some),
            };
            self.receiver.poll_call(context, receive)
        })
        .await
    }

    /// The next request, and waits at most `timeout` for it; `None` when the server was
    /// [closed](Server::closer).
    ///
    /// # Errors
    /// [`ServeError::Timeout`] if none came; else as [`recv`](Server::recv).
    pub fn recv_timeout(&self, timeout: Duration) -> Result<Option<Request<Q, R, C>>, ServeError> {
        self.receive(Deadline::after(timeout))
    }

    /// Whether the server was [closed](Server::closer).
    pub fn is_closed(&self) -> bool {
        self.receiver.is_closed()
    }

    fn receive(&self, deadline: Deadline) -> Result<Option<Request<Q, R, C>>, ServeError> {
        self.receive_as(deadline, C::decode)
    }

    /// Receives what a decoder of the layer above makes of the next request that it can read.
    pub(crate) fn receive_as<V>(
        &self,
        deadline: Deadline,
        decode: impl Fn(Reader<'_>) -> Result<V, DecodeError>,
    ) -> Result<Option<Request<V, R, C>>, ServeError> {
        let make = |mut reader: Reader<'_>, origin| -> Result<_, DecodeError> {
            let head = RequestHead::read(&mut reader, self.clock)?;
            Ok((head, origin, panics::decoding(|| decode(reader))))
        };
        loop {
            if self.receiver.is_closed() {
                return Ok(None);
            }
            let (head, origin, query) = match self.receiver.receive_call(deadline, make) {
                Ok(received) => received,
                Err(RecvError::Empty { channel: server }) => {
                    return Err(ServeError::Empty { server });
                }
                Err(RecvError::Timeout { channel: server }) => {
                    return Err(ServeError::Timeout { server });
                }
                Err(RecvError::Closed { .. }) => return Ok(None),
                Err(
                    RecvError::Disconnected { channel: server }
                    | RecvError::Removed { channel: server },
                ) => return Err(ServeError::Removed { server }),
                // For what was no request, no client waits for a reply.
                Err(RecvError::Decode { .. } | RecvError::Corrupt { .. }) => continue,
                Err(error) => return Err(ServeError::Receive(error)),
            };
            let due = Due { call: head.call, deadline: head.deadline };
            let guard = self.receiver.outstanding(origin, due);
            let mut responder = Responder::new(guard, head, self.receiver.seen_empty());
            if responder.untyped.was_given_up() {
                // The client is gone or waits no more, or would take word of this for the server's reply.
                responder.untyped.answered = true;
                continue;
            }
            match query {
                Ok(query) => return Ok(Some(Request { query, responder })),
                Err(error) => responder.untyped.tell(Status::Unreadable, &error.to_string()),
            }
        }
    }

    /// A descriptor that is readable while there is a request: see [`Readiness`](crate::Readiness).
    ///
    /// # Errors
    /// As [`Receiver::readiness`](crate::Receiver::readiness).
    #[cfg(not(loom))]
    pub fn readiness(&self) -> Result<Readiness, RecvError> {
        self.receiver.readiness()
    }

    /// What closes the server from another thread.
    pub fn closer(&self) -> Closer {
        self.receiver.closer()
    }
}

impl<Q, R, C: Codec<Q> + Codec<R>> Waits for Server<Q, R, C> {
    fn is_ready(&self) -> Result<bool, RecvError> {
        match self.receiver.is_ready() {
            // For what was no request, no client waits for a reply: the next call looks on.
            Err(RecvError::Corrupt { .. }) => Ok(true),
            ready => {
                let gone = || self.clients.borrow_mut().some_gone(&self.receiver);
                Ok(ready? || self.is_closed() || gone())
            }
        }
    }

    fn poll_ready(&self, context: &mut Context<'_>) -> Poll<Result<(), RecvError>> {
        self.receiver.poll_ready(context, || Waits::is_ready(self))
    }

    fn stop_polling(&self) {
        self.receiver.stop_polling();
    }

    fn spin(&self) -> Duration {
        self.receiver.spin()
    }
}

impl<Q, R, C> fmt::Debug for Server<Q, R, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("receiver", &self.receiver).finish()
    }
}

/// The threads of a server that wait for requests, as a number: twice how many, and one more while
/// the server waits for them.
struct Crew {
    free: AtomicU64,
    bell: ReceiverBell,
}

impl Crew {
    fn come_free(&self) {
        // Release: as for all that is rung for, `ring` orders it.
        if self.free.fetch_add(2, Ordering::Release) & 1 != 0 {
            self.bell.notify();
        }
    }

    fn occupy(&self) {
        self.free.fetch_sub(2, Ordering::Relaxed);
    }

    /// Waits until so many are free, and sends what replies wait for room meanwhile.
    fn wait<Q, R, C>(&self, server: &Server<Q, R, C>, enough: impl Fn(u64) -> bool)
    where
        C: Codec<Q> + Codec<R>,
    {
        if enough(self.free.load(Ordering::Acquire) / 2) {
            return;
        }
        self.free.fetch_or(1, Ordering::Relaxed);
        let over = || enough(self.free.load(Ordering::Acquire) / 2);
        // It ends early where the channel was removed, which the next call tells.
        server.receiver.attend(Deadline::never(), over);
        self.free.fetch_and(!1, Ordering::Relaxed);
    }
}

/// The requests of a [`Server`] as they come.
#[derive(Debug)]
pub struct Incoming<'a, Q, R, C> {
    server: &'a Server<Q, R, C>,
}

impl<Q, R, C> Iterator for Incoming<'_, Q, R, C>
where
    C: Codec<Q> + Codec<R>,
{
    type Item = Result<Request<Q, R, C>, ServeError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.server.recv().transpose()
    }
}

/// A request that waits for its reply; dropping it without one tells the caller so.
pub struct Request<Q, R, C = DefaultCodec> {
    query: Q,
    responder: Responder<R, C>,
}

impl<Q, R, C> Request<Q, R, C> {
    /// What was asked.
    pub fn query(&self) -> &Q {
        &self.query
    }

    /// What was asked, and where to reply to it later, from any thread.
    pub fn into_parts(self) -> (Q, Responder<R, C>) {
        (self.query, self.responder)
    }

    /// As [`Responder::client_id`].
    pub fn client_id(&self) -> ClientId {
        self.responder.client_id()
    }

    /// As [`Responder::client`].
    pub fn client(&self) -> Option<Peer> {
        self.responder.client()
    }

    /// As [`Responder::remaining`].
    pub fn remaining(&self) -> Option<Duration> {
        self.responder.remaining()
    }

    /// As [`Responder::is_cancelled`].
    pub fn is_cancelled(&self) -> bool {
        self.responder.is_cancelled()
    }
}

impl<Q, R, C: Codec<R>> Request<Q, R, C> {
    /// Replies.
    ///
    /// # Errors
    /// As [`Responder::reply`].
    pub fn reply(self, reply: &R) -> Result<(), ReplyError> {
        self.responder.reply(reply)
    }

    fn handle(self, mut handler: impl FnMut(Q) -> R) {
        let Request { query, mut responder } = self;
        // A caller that has gone, or does not take its replies, has itself to blame.
        let handled = catch_unwind(AssertUnwindSafe(|| {
            let reply = handler(query);
            drop(responder.send(|out| transfer::encode::<R, C>(&reply, out)));
        }));
        if let Err(panic) = handled {
            responder.untyped.tell(Status::Panicked, panics::text_of(&*panic));
        }
    }
}

impl<Q: fmt::Debug, R, C> fmt::Debug for Request<Q, R, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request").field("query", &self.query).finish_non_exhaustive()
    }
}

/// The kernel takes a killed process's memory down before it says so, which takes longer than this.
// NB: measured: 122 microseconds in the median for a process without memory of its own. Without the
// system call that asks, a call and its reply take 0.97 of the time.
const KILLS_ARE_KNOWN: Duration = Duration::from_micros(20);

/// Where to reply to one request, once; dropping it without a reply tells the caller so.
pub struct Responder<R, C = DefaultCodec> {
    untyped: UntypedResponder,
    reply: PhantomData<fn(R) -> C>,
}

/// The part of a responder that knows no types.
struct UntypedResponder {
    caller: RequestGuard,
    head: RequestHead,
    /// A moment before the request was sent, if one is known.
    before: Option<Moment>,
    answered: bool,
    /// What was sent of a stream of replies, if the caller reads one.
    stream: Option<Parts>,
}

impl<R, C> Responder<R, C> {
    fn new(caller: RequestGuard, head: RequestHead, before: Option<Moment>) -> Self {
        let due = Due { call: head.call, deadline: head.deadline };
        let stream = head.slot.map(|slot| Parts::new(due, slot));
        Responder {
            untyped: UntypedResponder { caller, head, before, answered: false, stream },
            reply: PhantomData,
        }
    }

    /// By which connection the request came: the same for all requests of one client, until that loses its
    /// server.
    pub fn client_id(&self) -> ClientId {
        ClientId::of(self.untyped.caller.origin())
    }

    /// Which process made the call, as far as the kernel vouches for it; [`Peer`] says how far that is. Takes
    /// some system calls, and reads procfs.
    ///
    /// `None` where the client is gone, has lost its server and begun anew, or is in a pid namespace that this
    /// process does not see.
    ///
    /// ```
    /// use sysv_channel::rpc::{Client, Server};
    ///
    /// # let name = format!("doc-client-{}", std::process::id());
    /// # let name = name.as_str();
    /// let server = Server::<(), u32>::bind(name)?;
    /// let calling = std::thread::spawn({
    ///     let client = Client::<(), u32>::connect(name)?;
    ///     move || client.call(&())
    /// });
    /// let request = server.recv()?.unwrap();
    /// let pid = request.client().unwrap().pid();
    /// request.reply(&pid)?;
    /// assert_eq!(calling.join().unwrap()?, std::process::id());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn client(&self) -> Option<Peer> {
        self.untyped.caller.peer()
    }

    /// How long the caller still waits; `None`: for ever.
    pub fn remaining(&self) -> Option<Duration> {
        self.untyped.head.deadline.remaining()
    }

    /// Whether the client waits no more for the reply: the deadline passed, the caller dropped the
    /// call, or it is gone. Takes a system call.
    pub fn is_cancelled(&self) -> bool {
        self.untyped.was_given_up() || self.untyped.caller.was_killed()
    }
}

impl<R, C: Codec<R>> Responder<R, C> {
    /// Replies, without waiting. A reply for which the client's ring has too little room waits in the
    /// server's memory, and goes while the server receives or is dropped: a process that ends before that,
    /// by a kill or by `exit`, loses it, and the client is told.
    ///
    /// # Errors
    /// [`ReplyError::ClientGone`] if the client is gone or has given the call up,
    /// [`ReplyError::Full`] if it leaves its replies unread, [`ReplyError::TooLong`] or
    /// [`ReplyError::Send`] for a reply that cannot be sent. A server can ignore them all.
    pub fn reply(self, reply: &R) -> Result<(), ReplyError> {
        self.reply_as(|out| transfer::encode::<R, C>(reply, out))
    }

    /// Replies with what an encoder of the layer above writes.
    pub(crate) fn reply_as(
        mut self,
        encode: impl Fn(&mut Writer<'_>) -> Result<(), EncodeError>,
    ) -> Result<(), ReplyError> {
        // NB: without a look at the clock, and without the fence of `was_given_up`: with both, a call and
        // its reply took 1.05 of the time.
        let gone = if self.untyped.caller.takes_reply(self.untyped.head.call) {
            self.send(encode)?;
            // Looked at when the reply has gone, and delays it not.
            self.untyped.may_have_been_killed() && self.untyped.caller.was_killed()
        } else {
            self.untyped.answered = true;
            true
        };
        match gone {
            true => Err(ReplyError::ClientGone { server: self.untyped.caller.channel() }),
            false => Ok(()),
        }
    }

    fn send(
        &mut self,
        encode: impl Fn(&mut Writer<'_>) -> Result<(), EncodeError>,
    ) -> Result<(), ReplyError> {
        let answered = transfer::sending::<R, _, _>(|| self.untyped.reply(Status::Reply, &encode));
        answered.map_err(|error| match error {
            SendError::Disconnected { channel: server }
            | SendError::Removed { channel: server } => ReplyError::ClientGone { server },
            SendError::Full { channel: server } => {
                self.untyped
                    .tell(Status::Unsendable, "the client has left too many replies unread");
                ReplyError::Full { server }
            }
            // The client has its reply.
            error if error.was_sent() => ReplyError::Send(error),
            error => {
                let why = error.in_words_of(server).to_string();
                self.untyped.tell(Status::Unsendable, &why);
                match error {
                    SendError::TooLong { channel: server, max, .. } => {
                        ReplyError::TooLong { server, max }
                    }
                    error => ReplyError::Send(error),
                }
            }
        })
    }
}

impl UntypedResponder {
    /// Whether the client waits no more for the reply, as far as the server was told.
    fn was_given_up(&self) -> bool {
        let late = self.head.deadline.has_passed() && !fault(Fault::LateStarted);
        let call = self.head.call;
        let unread = |stream: &Parts| !self.caller.reads(stream);
        late || !self.caller.is_there()
            || self.caller.has_cancelled(call)
            || self.stream.as_ref().is_some_and(unread)
    }

    /// Whether the kernel may know by now that the client was killed since it sent the request.
    fn may_have_been_killed(&self) -> bool {
        self.before.is_none_or(|before| before.elapsed() >= KILLS_ARE_KNOWN)
    }

    fn reply(
        &mut self,
        status: Status,
        reply: impl Fn(&mut Writer<'_>) -> Result<(), EncodeError>,
    ) -> Result<(), SendError> {
        self.answered = true;
        let head = reply::head(self.head.call, status);
        let due = Due { call: self.head.call, deadline: self.head.deadline };
        self.caller.reply_behind(&head, due, reply)
    }

    fn tell(&mut self, status: Status, text: &str) {
        // A caller that does not take its replies cannot be told either.
        let _ = self.try_tell(status, text);
    }

    fn try_tell(&mut self, status: Status, text: &str) -> Result<(), SendError> {
        let reason = status.cut(text.as_bytes(), self.caller.max_value());
        self.reply(status, |out| Ok(out.write(reason)?))
    }
}

impl Drop for UntypedResponder {
    fn drop(&mut self) {
        if !self.answered {
            let closed = self.caller.is_receiver_closed();
            self.tell(if closed { Status::Closed } else { Status::Dropped }, "");
        }
    }
}

impl<R, C> fmt::Debug for Responder<R, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Responder").field("call", &self.untyped.head.call).finish_non_exhaustive()
    }
}
