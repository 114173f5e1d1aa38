//! The side that answers.

mod events;
mod options;
mod passed_on;
mod request;
mod stream;

pub use events::{ClientId, Event};
pub use options::ServerOptions;
pub use request::{Request, Responder};

use std::cell::{OnceCell, RefCell};
use std::fmt;
use std::future::poll_fn;
use std::marker::PhantomData;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll};
use std::thread;
use std::time::Duration;

use self::events::Clients;
use super::error::ServeError;
use super::self_call::Serving;
use super::{BindError, Closer, RequestHead};
#[cfg(not(loom))]
use crate::Readiness;
use crate::channel::{Due, ReceiverBell, Untyped};
use crate::codec::{Codec, DecodeError, Reader};
use crate::error::RecvError;
use crate::name::Name;
use crate::service::reply::Status;
use crate::sys::{ClockOffset, Deadline, SystemError};
use crate::wait_set::Waits;
use crate::{DefaultCodec, Receiver, panics};

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
