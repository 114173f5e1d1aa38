//! Ending a call as another one ended: for servers that pass requests on.

use super::request::Responder;
use crate::codec::Codec;
use crate::rpc::error::{CallError, ReplyError};
use crate::service::reply::Status;
use crate::transfer::Refusal;

impl<R, C: Codec<R>> Responder<R, C> {
    /// Ends the call as the call ended by which its request was passed on to another server: the caller has that error,
    /// with this server's name. So what it is told of its request is true of the server behind this one.
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
    /// An error of the passing client's own, as [`CallError::Full`], is
    /// [`ServerDied`](CallError::ServerDied), not received, to the caller where it says that no server will execute the
    /// request, and else [`Unsendable`](CallError::Unsendable) with its text. A caller whose calls may be
    /// [repeated](crate::rpc::ClientOptions::repeatable) makes one that ends by `ServerDied` again, at once where this
    /// server is still there: a server that cannot pass requests on for a while is better dropped meanwhile.
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
        CallError::ServerDied { received: true, .. } => (Status::Closed, nothing),
        CallError::ServerDied { received: false, .. }
        | CallError::Timeout { received: false, .. }
        | CallError::Full { .. }
        | CallError::TooManyStreams { .. }
        | CallError::Reentrant { .. }
        | CallError::Reconnect(_) => (Status::NotReceived, nothing),
        CallError::Send(refused) if !refused.was_sent() => (Status::NotReceived, nothing),
        error => (Status::Unsendable, error.to_string()),
    }
}
