//! Streams of replies, as their caller reads them.

use std::fmt;
use std::iter::FusedIterator;
use std::marker::PhantomData;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use super::incoming::{Incoming, Item};
use super::shared::HAND_OVER;
use super::shared::{NotLent, Shared, Waited};
use crate::DefaultCodec;
use crate::channel::Credit;
use crate::codec::Codec;
use crate::error::SendError;
use crate::rpc::error::CallError;
use crate::rpc::self_call;
use crate::sys::Deadline;

/// The replies to one call, as they come: an iterator over the parts that the server sends, the last of which may be
/// its [reply](crate::rpc::Responder::reply). See [`Client::stream`](super::Client::stream).
///
/// The server is a quarter of a MiB ahead of this iterator at most, and one part, and then waits or does something
/// else: that is what waits here of parts that were not taken. Other calls of the same client go on meanwhile.
///
/// An error is the last item, but for a part that cannot be decoded ([`CallError::Decode`]). Dropping it before
/// the end cancels the call: the server's next part is
/// [`ClientGone`](crate::rpc::ReplyError::ClientGone).
#[must_use = "a stream that is dropped is cancelled"]
pub struct ReplyStream<Q, R, C = DefaultCodec> {
    shared: Arc<Shared<R>>,
    call: u64,
    incoming: Arc<Incoming<R>>,
    credit: Credit,
    /// How many parts came.
    parts: u64,
    /// Of all of it.
    deadline: Deadline,
    /// Of each part.
    patience: Duration,
    over: bool,
    /// Whether an iteration over it has ended because the process was forked.
    forked: bool,
    types: PhantomData<fn(Q) -> C>,
}

fn is_forked(error: &CallError) -> bool {
    matches!(error, CallError::Send(SendError::Forked { .. }))
}

impl<Q, R, C> ReplyStream<Q, R, C> {
    pub(super) fn new(
        shared: Arc<Shared<R>>,
        call: u64,
        incoming: Arc<Incoming<R>>,
        credit: Credit,
        deadline: Deadline,
        patience: Duration,
    ) -> Self {
        ReplyStream {
            shared,
            call,
            incoming,
            credit,
            parts: 0,
            deadline,
            patience,
            over: false,
            forked: false,
            types: PhantomData,
        }
    }

    fn end(&mut self) {
        if !std::mem::replace(&mut self.over, true) {
            self.credit.close();
            self.shared.forget(self.call);
        }
    }

    /// Ends the stream at a deadline.
    fn late(&mut self) -> CallError {
        if self.parts > 0 {
            self.end();
            return CallError::Unfinished { server: self.shared.server(), parts: self.parts };
        }
        let received = match self.shared.borrow(Deadline::now()) {
            Ok(lent) => lent.was_received(self.call),
            // Another thread has the connection, and knows.
            Err(_) => true,
        };
        self.end();
        CallError::Timeout { server: self.shared.server(), received }
    }

    fn take(&mut self, item: Item<R>) -> Option<Result<R, CallError>> {
        match item {
            Item::Part(charge, part) => {
                self.parts += 1;
                self.credit.take(charge);
                Some(part)
            }
            // The stream behind this one did not end in time.
            Item::Last(Err(CallError::Timeout { .. })) if self.parts > 0 => Some(Err(self.late())),
            // Of a handler that gave up at the deadline, word comes before this side has looked at its clock.
            Item::Last(Err(CallError::Dropped { .. })) if self.deadline.has_passed() => {
                Some(Err(self.late()))
            }
            Item::Last(last) => {
                self.end();
                Some(last)
            }
            Item::End => {
                self.end();
                None
            }
        }
    }
}

impl<Q, R, C> ReplyStream<Q, R, C>
where
    C: Codec<Q> + Codec<R>,
{
    /// The next part if it has come, [`Poll::Pending`] if it has not, and `None` behind the last. Where another
    /// thread waits for a call of the same client in this moment, this waits until that has given the connection
    /// away, for 10 milliseconds at most.
    ///
    /// # Errors
    /// As [`next_timeout`](ReplyStream::next_timeout).
    pub fn try_next(&mut self) -> Poll<Option<Result<R, CallError>>> {
        self.next_by(Deadline::now())
    }

    /// The next part, waited for at most so long; [`Poll::Pending`] if it has not come by then, and `None` behind
    /// the last. The stream goes on: only the deadline of [`Client::stream_timeout`](super::Client::stream_timeout)
    /// ends it.
    ///
    /// # Errors
    /// The last item may be an error: [`CallError::ServerDied`] if the server died or went away, with all parts before
    /// it that had come, and else as [`Client::call`](super::Client::call).
    pub fn next_timeout(&mut self, timeout: Duration) -> Poll<Option<Result<R, CallError>>> {
        self.next_by(Deadline::after(timeout))
    }

    fn next_by(&mut self, until: Deadline) -> Poll<Option<Result<R, CallError>>> {
        if self.over {
            return Poll::Ready(None);
        }
        if let Some(item) = self.incoming.take() {
            return Poll::Ready(self.take(item));
        }
        self.credit.tell_all();
        match self.wait(until.earlier(self.deadline)) {
            Ok(Some(item)) => Poll::Ready(self.take(item)),
            Ok(None) if self.deadline.has_passed() => Poll::Ready(Some(Err(self.late()))),
            Ok(None) => Poll::Pending,
            Err(error) => {
                // The stream goes on once the other call is over, or in the process that this one came from.
                if !is_forked(&error) && !matches!(error, CallError::Reentrant { .. }) {
                    self.end();
                }
                Poll::Ready(Some(Err(error)))
            }
        }
    }

    /// Waits for what comes; nothing comes until the deadline.
    fn wait(&self, until: Deadline) -> Result<Option<Item<R>>, CallError> {
        let shared = &*self.shared;
        let waits = !until.is_now();
        let mut lent = match shared.borrow(if waits { until } else { Deadline::after(HAND_OVER) }) {
            Ok(lent) => lent,
            Err(NotLent::Late) => return Ok(self.incoming.take()),
            Err(refused) => return Err(shared.refused(refused)),
        };
        if waits && self_call::is_served_here(&lent.sender) {
            lent.take_replies::<C>(&shared.name);
            if self.incoming.is_empty() {
                return Err(CallError::OwnServer { server: shared.server() });
            }
        }
        match shared.wait_for::<C, _>(lent, &[self.call], until, |_, _| self.incoming.take()) {
            Waited::Found(item) => Ok(Some(item)),
            Waited::Late(_) => Ok(None),
        }
    }
}

impl<Q, R, C> Iterator for ReplyStream<Q, R, C>
where
    C: Codec<Q> + Codec<R>,
{
    type Item = Result<R, CallError>;

    /// The next part; [`CallError::Timeout`] ends the stream where the client's
    /// [deadline](super::ClientOptions::deadline) passes before the first comes, and [`CallError::Unfinished`] before
    /// a later one.
    fn next(&mut self) -> Option<Self::Item> {
        match self.next_by(Deadline::after(self.patience)) {
            Poll::Ready(Some(Err(error))) if is_forked(&error) => {
                let said = std::mem::replace(&mut self.forked, true);
                (!said).then_some(Err(error))
            }
            Poll::Ready(next) => next,
            Poll::Pending => Some(Err(self.late())),
        }
    }
}

impl<Q, R, C> FusedIterator for ReplyStream<Q, R, C> where C: Codec<Q> + Codec<R> {}

impl<Q, R, C> Drop for ReplyStream<Q, R, C> {
    fn drop(&mut self) {
        self.end();
    }
}

impl<Q, R, C> fmt::Debug for ReplyStream<Q, R, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReplyStream")
            .field("server", &self.shared.name)
            .field("call", &self.call)
            .field("over", &self.over)
            .finish_non_exhaustive()
    }
}
