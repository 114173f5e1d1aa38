//! Ending a call as another one ended: for servers that pass requests on.

use super::request::Responder;
use crate::codec::Codec;
use crate::error::OpenError;
use crate::rpc::ConnectError;
use crate::rpc::error::{CallError, ReplyError};
use crate::service::reply::Status;
use crate::transfer::Refusal;

impl<R, C: Codec<R>> Responder<R, C> {
    /// Ends the call as the call ended by which its request was passed on to another server: the caller is told by an
    /// error with this server's name. So what it is told of its request is true of the server behind this one.
    ///
    /// | error | the caller has |
    /// |---|---|
    /// | [`Panicked`](CallError::Panicked), [`Dropped`](CallError::Dropped), [`Unreadable`](CallError::Unreadable), [`Unsendable`](CallError::Unsendable), [`NotPassedOn`](CallError::NotPassedOn), [`ServerDied`](CallError::ServerDied) | the same |
    /// | [`Timeout`](CallError::Timeout), received, [`Unfinished`](CallError::Unfinished) | [`Timeout`](CallError::Timeout), received; [`Unfinished`](CallError::Unfinished) in a stream of which parts came |
    /// | [`Timeout`](CallError::Timeout), not received, [`Full`](CallError::Full), [`TooManyStreams`](CallError::TooManyStreams), and [`Reconnect`](CallError::Reconnect) where a server may come or have room | [`ServerDied`](CallError::ServerDied), not received |
    /// | [`Reentrant`](CallError::Reentrant), [`Reconnect`](CallError::Reconnect) otherwise, [`Send`](CallError::Send) of a request that was not sent | [`NotPassedOn`](CallError::NotPassedOn), with the text of the error |
    /// | all others | [`Unsendable`](CallError::Unsendable), with the text of the error |
    ///
    /// ```
    /// use sysv_channel::rpc::{CallError, Client, Server};
    ///
    /// # let name = format!("doc-fail-{}", std::process::id());
    /// # let (front, back) = (&*format!("{name}-front"), &*format!("{name}-back"));
    /// let server = Server::<u32, u32>::bind(back)?;
    /// let passing = std::thread::spawn({
    ///     let (front, behind) = (Server::<u32, u32>::bind(front)?, Client::<u32, u32>::connect(back)?);
    ///     move || {
    ///         for request in front.incoming() {
    ///             let (query, responder) = request?.into_parts();
    ///             // A caller that has gone has itself to blame.
    ///             let _ = match behind.call(&query) {
    ///                 Ok(reply) => responder.reply(&reply),
    ///                 Err(error) => responder.fail(&error),
    ///             };
    /// #           break;
    ///         }
    ///         Ok::<(), sysv_channel::rpc::ServeError>(())
    ///     }
    /// });
    /// let client = Client::<u32, u32>::connect(front)?;
    /// let call = client.start(&7)?;
    /// server.recv()?.expect("it is not closed").into_parts().1.fail(&CallError::Unreadable {
    ///     server: std::sync::Arc::new(back.into()),
    ///     why: "7 is no prime that I know".to_owned(),
    /// })?;
    /// let error = call.wait().unwrap_err();
    /// assert!(error.to_string().ends_with("-front\" cannot decode the request: 7 is no prime that I know"));
    /// # passing.join().unwrap()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// A caller whose calls may be [repeated](crate::rpc::ClientOptions::repeatable) makes one that ends by
    /// `ServerDied` again, the first time at once, and then with pauses from a millisecond to a tenth of a second: a
    /// server that cannot pass requests on for a while is better dropped meanwhile.
    ///
    /// # Errors
    /// As [`reply`](Responder::reply).
    pub fn fail(mut self, error: &CallError) -> Result<(), ReplyError> {
        let gone = || ReplyError::ClientGone { server: self.untyped.caller.channel() };
        if !self.untyped.caller.takes_reply(self.untyped.head.call) {
            let gone = gone();
            self.untyped.answered = true;
            return Err(gone);
        }
        let (status, text) = status_of(error);
        let sent = self.untyped.try_tell(status, &text);
        sent.map_err(|error| self.untyped.explain(error))
    }
}

/// How a caller is told of an error of the call behind its own.
fn status_of(error: &CallError) -> (Status, String) {
    let nothing = String::new();
    match error {
        CallError::Panicked { message, .. } => (Status::Panicked, message.clone()),
        CallError::Dropped { .. } => (Status::Dropped, nothing),
        CallError::Unreadable { why, .. } => (Status::Unreadable, why.clone()),
        CallError::Unsendable { why, .. } => (Status::Unsendable, why.clone()),
        CallError::NotPassedOn { why, .. } => (Status::NotPassedOn, why.clone()),
        CallError::ServerDied { received: true, .. } => (Status::Closed, nothing),
        CallError::Timeout { received: true, .. } | CallError::Unfinished { .. } => {
            (Status::Late, nothing)
        }
        CallError::ServerDied { received: false, .. }
        | CallError::Timeout { received: false, .. }
        | CallError::Full { .. }
        | CallError::TooManyStreams { .. } => (Status::NotReceived, nothing),
        CallError::Reconnect(refused) if may_pass(refused) => (Status::NotReceived, nothing),
        CallError::Reconnect(_) | CallError::Reentrant { .. } => {
            (Status::NotPassedOn, error.to_string())
        }
        CallError::Send(refused) if !refused.was_sent() => (Status::NotPassedOn, error.to_string()),
        error => (Status::Unsendable, error.to_string()),
    }
}

/// Whether there may be a place at a server later.
fn may_pass(refused: &ConnectError) -> bool {
    match refused {
        ConnectError::NotFound { .. } | ConnectError::TooManyClients { .. } => true,
        ConnectError::Attach(error) => error.is_removed(),
        ConnectError::Open(error) => matches!(
            error,
            OpenError::NotFound { .. } | OpenError::Unsettled { .. } | OpenError::Busy { .. }
        ),
        _ => false,
    }
}
