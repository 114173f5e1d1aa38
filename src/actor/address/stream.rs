//! Asking for a stream, and reading it.

use std::fmt;
use std::iter::FusedIterator;
use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::task::Poll;
use std::time::Duration;

use super::{Address, Connection, TEN_SECONDS, outcome, receive_ports};
use crate::DefaultCodec;
use crate::actor::error::AskError;
use crate::actor::options::AddressOptions;
use crate::actor::port::{Ports, decoding};
use crate::actor::stream_to::{SLOT, StreamTo};
use crate::channel::{Credit, charge};
use crate::codec::{Codec, Reader};
use crate::error::RecvError;
use crate::name::Name;
use crate::service::reply::{self, Status};
use crate::sys::Deadline;

impl<M, C: Codec<M>> Address<M, C> {
    /// Asks the actor for a stream: an iterator over the parts as the port's holder sends them
    /// ([`StreamTo::part`]), and its [last](StreamTo::send) behind them, if there is one. `message` makes the message
    /// around the port, as for [`ask`](Address::ask); telling it waits ten seconds at most.
    ///
    /// The stream may take as long as it likes, but each part has to come within ten seconds of the moment in which
    /// it is waited for with `next`; [`next_timeout`](ReplyStream::next_timeout) names another time. The address can
    /// tell and ask meanwhile: each stream takes one of the mailbox's
    /// [places](crate::actor::MailboxOptions::addresses) until its end.
    ///
    /// ```
    /// use serde::{Deserialize, Serialize};
    /// use sysv_channel::actor::{Address, Mailbox, StreamTo};
    ///
    /// #[derive(Serialize, Deserialize)]
    /// struct Rows { of: String, port: StreamTo<String> }
    ///
    /// # let name = format!("doc-actor-stream-{}", std::process::id());
    /// # let name = name.as_str();
    /// let mailbox = Mailbox::<Rows>::bind(name)?;
    /// # let closer = mailbox.closer();
    /// let table = std::thread::spawn(move || {
    ///     while let Some(Rows { of, mut port }) = mailbox.recv().unwrap() {
    ///         // An asker that has gone, or reads no more, has itself to blame.
    ///         let sent = (0..3).try_for_each(|row| port.part(&format!("{of} {row}")));
    ///         let _ = sent.and_then(|()| port.finish());
    ///     }
    /// });
    /// let address = Address::<Rows>::connect(name)?;
    /// for row in address.stream(|port| Rows { of: "row".to_owned(), port })? {
    ///     println!("{}", row?);
    /// }
    /// # closer.close();
    /// # table.join().unwrap();
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`AskError::Tell`] if the message was not told, as where the mailbox has no place left
    /// ([`ConnectError::TooManyClients`](crate::actor::ConnectError::TooManyClients)), [`AskError::Died`] if no actor
    /// can come any more, [`AskError::Dropped`] if the message was without the port; [`AskError`] otherwise.
    pub fn stream<R>(
        &self,
        message: impl FnOnce(StreamTo<R, C>) -> M,
    ) -> Result<ReplyStream<R, C>, AskError>
    where
        C: Codec<R>,
    {
        self.stream_by(message, Deadline::never())
    }

    /// Like [`stream`](Address::stream), with a deadline for all of it.
    ///
    /// # Errors
    /// As [`stream`](Address::stream).
    pub fn stream_timeout<R>(
        &self,
        message: impl FnOnce(StreamTo<R, C>) -> M,
        timeout: Duration,
    ) -> Result<ReplyStream<R, C>, AskError>
    where
        C: Codec<R>,
    {
        self.stream_by(message, Deadline::after(timeout))
    }

    fn stream_by<R>(
        &self,
        message: impl FnOnce(StreamTo<R, C>) -> M,
        deadline: Deadline,
    ) -> Result<ReplyStream<R, C>, AskError>
    where
        C: Codec<R>,
    {
        let room_by = deadline.earlier(Deadline::after(TEN_SECONDS));
        // NB: a lane of its own. So no part waits for, or holds up, another ask's reply; the port's home knows its
        // holder as that of any port; and the stream's reader needs the address no more.
        let (receiver, connection) = self.with_actor(room_by, |connection| {
            let Connection { sender, clock } = connection;
            let own = Connection { sender: sender.try_clone()?, clock: *clock };
            Ok((own.sender.await_receiver(room_by)?, own))
        })?;
        let address = connection.next_port(deadline);
        connection.sender.open_stream(SLOT, address.ask);
        let port_sent = Arc::new(AtomicBool::new(false));
        let message = message(StreamTo::of_asker(address, port_sent.clone(), self.mailbox()));
        let told = (receiver, room_by);
        let receiver = self.tell_ask(&connection, address.ask, &message, told, &port_sent)?;
        Ok(ReplyStream {
            credit: connection.sender.stream_of(SLOT, address.ask),
            connection: Some(connection),
            receiver,
            ask: address.ask,
            mailbox: self.mailbox(),
            options: self.options,
            deadline,
            parts: 0,
            forked: false,
            types: PhantomData,
        })
    }
}

/// The answer to one [`stream`](Address::stream), as it comes: an iterator over the parts.
///
/// The actor is a quarter of a MiB ahead of this iterator at most (see [`StreamTo::part`]), and one part, and then waits or does something
/// else; the address that asked, and all others, go on meanwhile.
///
/// An error is the last item, but for a part that cannot be decoded ([`AskError::Decode`]). Dropping it before the end
/// cancels the stream: the next part of its port is [`ReplyError::Gone`](crate::actor::ReplyError::Gone).
#[must_use = "a stream that is dropped is cancelled"]
pub struct ReplyStream<R, C = DefaultCodec> {
    credit: Credit,
    /// Missing once the stream is over.
    connection: Option<Connection>,
    /// The actor that was asked.
    receiver: u64,
    ask: u64,
    mailbox: Arc<Name>,
    options: AddressOptions,
    /// Of all of it.
    deadline: Deadline,
    /// How many parts came.
    parts: u64,
    /// Whether an iteration over it has ended because the process was forked.
    forked: bool,
    types: PhantomData<fn(C) -> R>,
}

/// What came of a stream, what it counts for, and the ports in it.
type Came<R> = (Status, u64, (Result<R, AskError>, Ports));

impl<R, C> ReplyStream<R, C> {
    fn end(&mut self) {
        if let Some(connection) = self.connection.take() {
            self.credit.close();
            drop(connection);
        }
    }

    /// Ends the stream at a deadline.
    fn late(&mut self) -> AskError {
        self.end();
        let mailbox = self.mailbox.clone();
        match self.parts {
            0 => AskError::Timeout { mailbox },
            parts => AskError::Unfinished { mailbox, parts },
        }
    }
}

impl<R, C: Codec<R>> ReplyStream<R, C> {
    /// The next part if it has come, [`Poll::Pending`] if it has not, and `None` behind the last.
    ///
    /// # Errors
    /// As [`next_timeout`](ReplyStream::next_timeout).
    pub fn try_next(&mut self) -> Poll<Option<Result<R, AskError>>> {
        self.next_by(Deadline::now())
    }

    /// The next part, waited for at most so long; [`Poll::Pending`] if it has not come by then, and `None` behind
    /// the last. The stream goes on: only the deadline of [`Address::stream_timeout`] ends it.
    ///
    /// # Errors
    /// The last item may be an error, behind all parts before it that had come: [`AskError::Died`] if the actor that
    /// was asked ended, [`AskError::Dropped`] if the port was dropped before its end or its holder died,
    /// [`AskError::Timeout`] or [`AskError::Unfinished`] at the stream's deadline, [`AskError::Wait`] with
    /// [`RecvError::Removed`](crate::RecvError::Removed) if the mailbox was removed; else as [`Address::ask`]. In a
    /// process that was forked meanwhile it is [`RecvError::Forked`](crate::RecvError::Forked), each time.
    pub fn next_timeout(&mut self, timeout: Duration) -> Poll<Option<Result<R, AskError>>> {
        self.next_by(Deadline::after(timeout))
    }

    fn next_by(&mut self, until: Deadline) -> Poll<Option<Result<R, AskError>>> {
        let until = until.earlier(self.deadline);
        let Some(mut came) = self.look(Deadline::now()) else { return Poll::Ready(None) };
        if matches!(came, Err(RecvError::Empty { .. } | RecvError::Timeout { .. })) {
            // Nothing is here: whatever was taken, the actor is to know of.
            self.credit.tell_all();
            if !until.has_passed() {
                let Some(waited) = self.look(until) else { return Poll::Ready(None) };
                came = waited;
            }
        }
        let mailbox = self.mailbox.clone();
        let error = match came {
            Ok((Status::End, ..)) => {
                self.end();
                return Poll::Ready(None);
            }
            Ok((status, charge, (outcome, ports))) => {
                receive_ports(ports, self.options);
                if status == Status::Part {
                    self.parts += 1;
                    self.credit.take(charge);
                    return Poll::Ready(Some(outcome));
                }
                match outcome {
                    // As in `Address::answered`.
                    Err(AskError::Dropped { mailbox }) if self.is_replaced() => {
                        AskError::Died { mailbox }
                    }
                    // Of a holder that gave up at the deadline, word comes before this side has looked at its clock.
                    Err(AskError::Dropped { .. }) if self.deadline.has_passed() => {
                        return Poll::Ready(Some(Err(self.late())));
                    }
                    outcome => {
                        self.end();
                        return Poll::Ready(Some(outcome));
                    }
                }
            }
            Err(RecvError::Empty { .. } | RecvError::Timeout { .. }) => {
                return match self.deadline.has_passed() {
                    true => Poll::Ready(Some(Err(self.late()))),
                    false => Poll::Pending,
                };
            }
            Err(RecvError::Disconnected { .. }) => AskError::Died { mailbox },
            // The stream goes on once the other call is over, or in the process that this one came from.
            Err(error @ (RecvError::Reentrant { .. } | RecvError::Forked { .. })) => {
                return Poll::Ready(Some(Err(AskError::Wait(error))));
            }
            Err(error) => AskError::of_waiting(mailbox, error),
        };
        self.end();
        Poll::Ready(Some(Err(error)))
    }

    /// Waits until then for what comes next; `None` if the stream is over.
    fn look(&self, until: Deadline) -> Option<Result<Came<R>, RecvError>> {
        let sender = &self.connection.as_ref()?.sender;
        let accept = |mut reader: Reader<'_>| {
            let (ask, status) = reply::read_head(&mut reader)?;
            if ask != self.ask {
                return None;
            }
            let counts = charge(reader.remaining());
            let says = if status == Status::Part { Status::Reply } else { status };
            let decode = || outcome::<R, C>(&self.mailbox, says, reader);
            Some((status, counts, decoding(self.options, decode)))
        };
        Some(sender.wait_for_reply_of(self.receiver, until, accept))
    }

    fn is_replaced(&self) -> bool {
        let connection = self.connection.as_ref();
        connection.is_some_and(|connection| connection.sender.is_replaced(self.receiver))
    }
}

impl<R, C: Codec<R>> Iterator for ReplyStream<R, C> {
    type Item = Result<R, AskError>;

    /// The next part; [`AskError::Timeout`] ends the stream where it does not come within ten seconds, or
    /// [`AskError::Unfinished`] if others had come.
    fn next(&mut self) -> Option<Self::Item> {
        match self.next_by(Deadline::after(TEN_SECONDS)) {
            Poll::Ready(next @ Some(Err(AskError::Wait(RecvError::Forked { .. })))) => {
                let said = std::mem::replace(&mut self.forked, true);
                if said { None } else { next }
            }
            Poll::Ready(next) => next,
            Poll::Pending => Some(Err(self.late())),
        }
    }
}

impl<R, C: Codec<R>> FusedIterator for ReplyStream<R, C> {}

impl<R, C> Drop for ReplyStream<R, C> {
    fn drop(&mut self) {
        self.end();
    }
}

impl<R, C> fmt::Debug for ReplyStream<R, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReplyStream")
            .field("mailbox", &self.mailbox)
            .field("ask", &self.ask)
            .field("over", &self.connection.is_none())
            .finish_non_exhaustive()
    }
}
