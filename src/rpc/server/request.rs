//! A request that was received, and the reply to it.

use std::fmt;
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use super::ClientId;
use crate::channel::{Due, Parts, RequestGuard};
use crate::codec::{Codec, EncodeError, Writer};
use crate::error::SendError;
use crate::error::text::{Describe, server};
use crate::rpc::error::ReplyError;
use crate::rpc::{Peer, RequestHead};
use crate::service::reply::{self, Status};
use crate::sys::{Fault, Moment, fault};
use crate::transfer::Refusal;
use crate::{DefaultCodec, panics, transfer};

/// A request that waits for its reply; dropping it without one tells the caller so.
pub struct Request<Q, R, C = DefaultCodec> {
    pub(super) query: Q,
    pub(super) responder: Responder<R, C>,
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

    pub(super) fn handle(self, mut handler: impl FnMut(Q) -> R) {
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
    pub(super) untyped: UntypedResponder,
    reply: PhantomData<fn(R) -> C>,
}

/// The part of a responder that knows no types.
pub(super) struct UntypedResponder {
    pub(super) caller: RequestGuard,
    pub(super) head: RequestHead,
    /// A moment before the request was sent, if one is known.
    before: Option<Moment>,
    pub(super) answered: bool,
    /// What was sent of a stream of replies, if the caller reads one.
    pub(super) stream: Option<Parts>,
}

impl<R, C> Responder<R, C> {
    pub(super) fn new(caller: RequestGuard, head: RequestHead, before: Option<Moment>) -> Self {
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
    pub(super) fn was_given_up(&self) -> bool {
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

    pub(super) fn reply(
        &mut self,
        status: Status,
        reply: impl Fn(&mut Writer<'_>) -> Result<(), EncodeError>,
    ) -> Result<(), SendError> {
        self.answered = true;
        let head = reply::head(self.head.call, status);
        let due = Due { call: self.head.call, deadline: self.head.deadline };
        self.caller.reply_behind(&head, due, reply)
    }

    pub(super) fn tell(&mut self, status: Status, text: &str) {
        // A caller that does not take its replies cannot be told either.
        let _ = self.try_tell(status, text);
    }

    pub(super) fn try_tell(&mut self, status: Status, text: &str) -> Result<(), SendError> {
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
