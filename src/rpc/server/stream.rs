//! Replying in parts: a stream that the caller reads while it is made.

use std::time::Duration;

use super::request::{Responder, UntypedResponder};
use crate::codec::{Codec, EncodeError, Writer};
use crate::error::SendError;
use crate::rpc::error::ReplyError;
use crate::service::reply::{self, Status};
use crate::sys::Deadline;
use crate::transfer;

impl<R, C: Codec<R>> Responder<R, C> {
    /// Whether the caller reads a stream of replies ([`Client::stream`](crate::rpc::Client::stream)). One that does
    /// not takes the [reply](Responder::reply) alone: parts are not sent to it.
    pub fn is_stream(&self) -> bool {
        self.untyped.stream.is_some()
    }

    /// Sends a part of a stream of replies, and waits while the caller is a quarter of a MiB behind, or half of the
    /// [reply ring](crate::rpc::ServerOptions::reply_capacity) if that is less, until it takes
    /// more, its deadline passes, or it is gone. Other parts, or the [reply](Responder::reply), can follow.
    ///
    /// A part that was sent stands in shared memory, all of it: the caller reads it even if the server is killed in the
    /// next moment, and whether it receives meanwhile or not. That is not said of the end of the stream, a reply:
    /// where that finds no room, it goes while the server receives.
    ///
    /// The caller's taking is noticed at once while the server receives; else a handler on another thread looks for
    /// it by itself, a tenth of a second later at the latest. One on the thread that received last waits at the
    /// server's bell itself, and no request is received meanwhile.
    ///
    /// ```
    /// # use sysv_channel::rpc::{Client, Server};
    /// # let name = format!("doc-part-{}", std::process::id());
    /// # let name = name.as_str();
    /// let server = Server::<u32, u32>::bind(name)?;
    /// # let closer = server.closer();
    /// let serving = std::thread::spawn(move || {
    ///     for request in server.incoming() {
    ///         let (up_to, mut counting) = request?.into_parts();
    ///         // A caller that has gone, or reads no more, has itself to blame.
    ///         let sent = (1..=up_to).try_for_each(|number| counting.part(&number));
    ///         let _ = sent.and_then(|()| counting.finish());
    ///     }
    ///     Ok::<(), sysv_channel::rpc::ServeError>(())
    /// });
    /// let client = Client::<u32, u32>::connect(name)?;
    /// let numbers: Vec<u32> = client.stream(&4)?.collect::<Result<_, _>>()?;
    /// assert_eq!(numbers, [1, 2, 3, 4]);
    /// # closer.close();
    /// # serving.join().unwrap()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`ReplyError::ClientGone`] if the caller reads no more, is late or is gone, [`ReplyError::Closing`] if the
    /// part has to wait although the server was closed, once its
    /// [drain](crate::rpc::ServerOptions::drain) is over,
    /// [`ReplyError::TooLong`] or [`ReplyError::Send`] for a part that cannot be sent. The part did not go then, but
    /// for [`SendError::NotWoken`].
    pub fn part(&mut self, part: &R) -> Result<(), ReplyError> {
        self.part_as(Deadline::never(), |out| transfer::encode::<R, C>(part, out))
    }

    /// Like [`part`](Responder::part), but does not wait.
    ///
    /// # Errors
    /// [`ReplyError::WouldWait`] if the caller is too far behind, or there is no room for now; else as
    /// [`part`](Responder::part). One that goes in fragments, being longer than half of the
    /// [reply ring](crate::rpc::ServerOptions::reply_capacity), has to wait: [`ReplyError::Send`] with
    /// [`NeedsWaiting`](SendError::NeedsWaiting).
    pub fn try_part(&mut self, part: &R) -> Result<(), ReplyError> {
        self.part_as(Deadline::now(), |out| transfer::encode::<R, C>(part, out))
    }

    /// Like [`part`](Responder::part), but waits at most so long.
    ///
    /// # Errors
    /// [`ReplyError::WouldWait`] if the caller is too far behind until then; else as [`part`](Responder::part).
    pub fn part_timeout(&mut self, part: &R, timeout: Duration) -> Result<(), ReplyError> {
        self.part_as(Deadline::after(timeout), |out| transfer::encode::<R, C>(part, out))
    }

    /// Ends a stream of replies behind the parts that were sent; [`reply`](Responder::reply) ends it with one more.
    /// A caller that reads no stream is told [`CallError::Dropped`](crate::rpc::CallError::Dropped).
    ///
    /// # Errors
    /// As [`reply`](Responder::reply).
    pub fn finish(mut self) -> Result<(), ReplyError> {
        let gone = || ReplyError::ClientGone { server: self.untyped.caller.channel() };
        if self.untyped.was_given_up() {
            let gone = gone();
            self.untyped.answered = true;
            return Err(gone);
        }
        let ended = self.untyped.reply(Status::End, |_| Ok(()));
        ended.map_err(|error| self.untyped.explain(error))
    }

    /// Sends what an encoder of the layer above writes, if the caller reads a stream.
    pub(crate) fn part_as(
        &mut self,
        until: Deadline,
        encode: impl Fn(&mut Writer<'_>) -> Result<(), EncodeError>,
    ) -> Result<(), ReplyError> {
        let UntypedResponder { caller, head, stream, .. } = &mut self.untyped;
        let Some(parts) = stream else { return Ok(()) };
        let sent = transfer::sending::<R, _, _>(|| {
            let bytes = caller.encode_part(&encode)?;
            caller.send_part(parts, &reply::head(head.call, Status::Part), &bytes, until)
        });
        sent.map_err(|error| self.untyped.explain(error))
    }
}

impl UntypedResponder {
    /// Why a part or the end of a stream did not go.
    pub(super) fn explain(&self, error: SendError) -> ReplyError {
        match error {
            // The caller reads on, and the server that was dropped sends no more.
            SendError::Disconnected { channel: server }
                if self.caller.is_receiver_closed() && self.caller.takes_reply(self.head.call) =>
            {
                ReplyError::Closing { server }
            }
            SendError::Disconnected { channel: server }
            | SendError::Removed { channel: server } => ReplyError::ClientGone { server },
            SendError::Full { channel: server } => ReplyError::WouldWait { server },
            SendError::Closed { channel: server } => ReplyError::Closing { server },
            SendError::TooLong { channel: server, max, .. } => ReplyError::TooLong { server, max },
            error => ReplyError::Send(error),
        }
    }
}
