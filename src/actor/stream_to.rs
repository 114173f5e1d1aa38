//! The port of a stream: where one ask is answered in parts.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use serde::de::{DeserializeOwned, Deserializer};
use serde::ser::Serializer;
use serde::{Deserialize, Serialize};

use super::Peer;
use super::error::ReplyError;
use super::port::{ROOM, Route, UntypedPort};
use super::wire::{PortAddress, Shape};
use crate::DefaultCodec;
use crate::channel::{Due, Parts};
use crate::codec::Codec;
use crate::error::SendError;
use crate::name::Name;
use crate::service::reply::{self, Status};
use crate::sys::Deadline;
use crate::transfer::{self, Refusal};

/// The slot of an asker's lane: each stream has a lane of its own.
pub(super) const SLOT: usize = 0;

/// Where one [`stream`](super::Address::stream) is answered in parts: a field of the message.
///
/// All that [`ReplyTo`](super::ReplyTo) says of a reply port holds of this one: it can be kept, moved to another thread
/// or put into a message to a third process, which then streams in its place, also from the middle on. Dropping it
/// before its end tells the asker so, behind the parts that were sent, and so does the death of the process that
/// holds it.
///
/// One in another process than the one that was asked has a place at the mailbox that was asked
/// ([`MailboxOptions::addresses`](super::MailboxOptions::addresses)), by which its parts go while the actor
/// receives there.
///
/// ```
/// use serde::{Deserialize, Serialize};
/// use sysv_channel::actor::{Address, Mailbox, StreamTo};
///
/// #[derive(Serialize, Deserialize)]
/// struct Count { to: u32, port: StreamTo<u32> }
///
/// # let name = format!("doc-stream-to-{}", std::process::id());
/// # let name = name.as_str();
/// let mailbox = Mailbox::<Count>::bind(name)?;
/// let counting = std::thread::spawn(move || {
///     let Count { to, mut port } = mailbox.recv().unwrap().unwrap();
///     (1..=to).try_for_each(|number| port.part(&number))?;
///     port.finish()
/// });
/// let counter = Address::<Count>::connect(name)?;
/// let numbers: Vec<u32> = counter.stream(|port| Count { to: 4, port })?.collect::<Result<_, _>>()?;
/// assert_eq!(numbers, [1, 2, 3, 4]);
/// counting.join().unwrap()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct StreamTo<R, C = DefaultCodec> {
    port: UntypedPort,
    parts: Parts,
    reply: PhantomData<fn(R) -> C>,
}

impl<R, C> StreamTo<R, C> {
    /// The asker's own, to be sent, which then says so.
    pub(super) fn of_asker(
        address: PortAddress,
        sent: Arc<AtomicBool>,
        mailbox: Arc<Name>,
    ) -> Self {
        StreamTo::new(UntypedPort::of_asker(address, sent, mailbox, true), 0)
    }

    fn new(port: UntypedPort, sent: u64) -> Self {
        let due = Due { call: port.address.ask, deadline: port.deadline() };
        StreamTo { port, parts: Parts::resumed(due, SLOT, sent), reply: PhantomData }
    }

    /// Which process asked; as [`ReplyTo::asker`](super::ReplyTo::asker).
    pub fn asker(&self) -> Option<Peer> {
        self.port.asker()
    }

    /// How long the whole stream may still take; `None`: for ever.
    pub fn remaining(&self) -> Option<Duration> {
        self.port.deadline().remaining()
    }

    /// Whether the asker reads no more, as far as this process can tell: it dropped its
    /// [`ReplyStream`](super::ReplyStream) or is gone, the deadline passed, or the actor that was asked is gone, to
    /// which alone the asker listens. Takes system calls.
    pub fn is_cancelled(&self) -> bool {
        let asker = self.port.address.origin;
        self.port.deadline().has_passed()
            || match self.port.hold.way() {
                Route::None | Route::Asker(_) | Route::Away(None) => false,
                Route::Home(caller) => {
                    !caller.is_there() || !caller.reads(&self.parts) || caller.was_killed()
                }
                Route::Away(Some(link)) => {
                    let holding = link.holding();
                    !holding.is_there(asker)
                        || !holding.reads(asker, &self.parts)
                        || holding.was_killed(asker)
                        || link.has_ended()
                }
            }
    }
}

impl<R, C: Codec<R>> StreamTo<R, C> {
    /// Sends a part of the stream, and waits while the asker is a quarter of a MiB behind, or half of the mailbox's
    /// [reply ring](super::MailboxOptions::reply_capacity) if that is less, until it takes more, the
    /// stream's deadline passes, or it is gone. Other parts, or the [last](StreamTo::send), can follow.
    ///
    /// In the process whose mailbox was asked, a part that was sent stands in shared memory, all of it: the asker reads
    /// it even if this process is killed in the next moment, and whether it receives meanwhile or not. From any other
    /// process it has been handed to the mailbox that was asked, and goes on while the actor receives there: if that
    /// one is killed, what it has not passed on is lost with it, up to half a MiB and one part.
    ///
    /// In the process whose mailbox was asked, the asker's taking is noticed at once while the actor receives; else a
    /// handler on another thread looks for it by itself, a tenth of a second later at the latest. One on the thread
    /// that received last waits at the mailbox's bell itself, and no message is received meanwhile. In any other
    /// process, the part goes through the mailbox that was asked, and waits as well while that is full.
    ///
    /// # Errors
    /// [`ReplyError::Gone`] if the asker reads no more, is late or is gone, or the actor that was asked;
    /// [`ReplyError::Closing`] if the part has to wait although the mailbox was closed, once a second is over;
    /// [`ReplyError::PassedOn`] if the port is another process's; [`ReplyError::TooLong`] or [`ReplyError::Send`] for
    /// a part that cannot be sent; [`ReplyError::Open`] or [`ReplyError::Attach`] if the way back is closed. The part
    /// did not go then, but for [`SendError::NotWoken`](crate::SendError::NotWoken).
    pub fn part(&mut self, part: &R) -> Result<(), ReplyError> {
        self.part_by(part, Deadline::never())
    }

    /// Like [`part`](StreamTo::part), but does not wait.
    ///
    /// # Errors
    /// [`ReplyError::WouldWait`] if the asker is too far behind, or the ring or mailbox has no room that the part goes
    /// through; else as [`part`](StreamTo::part). One that goes there in fragments, being longer than half of the
    /// [reply ring](super::MailboxOptions::reply_capacity) or, from another process, of the mailbox's
    /// [capacity](super::MailboxOptions::capacity), has to wait: [`ReplyError::Send`] with
    /// [`NeedsWaiting`](crate::SendError::NeedsWaiting).
    pub fn try_part(&mut self, part: &R) -> Result<(), ReplyError> {
        self.part_by(part, Deadline::now())
    }

    /// Like [`part`](StreamTo::part), but waits at most so long.
    ///
    /// # Errors
    /// [`ReplyError::WouldWait`] if the asker is too far behind until then; else as [`part`](StreamTo::part).
    pub fn part_timeout(&mut self, part: &R, timeout: Duration) -> Result<(), ReplyError> {
        self.part_by(part, Deadline::after(timeout))
    }

    /// Ends the stream behind the parts that were sent; [`send`](StreamTo::send) ends it with one more. It waits for
    /// no asker: behind each part there is room for this.
    ///
    /// # Errors
    /// As [`ReplyTo::send`](super::ReplyTo::send).
    pub fn finish(self) -> Result<(), ReplyError> {
        self.refuse_if_unread()?;
        self.port.finish()
    }

    /// Ends the stream with a last part, which goes as a [`part`](StreamTo::part) does, and waits as that in the
    /// process whose mailbox was asked.
    ///
    /// # Errors
    /// As [`part`](StreamTo::part); the asker is told, if it still reads.
    pub fn send(mut self, last: &R) -> Result<(), ReplyError> {
        self.refuse_if_unread()?;
        if !matches!(self.port.hold.way(), Route::Home(_)) {
            return self.port.reply::<R, C>(last);
        }
        let sent = self.part_as(Status::Reply, last, Deadline::never());
        if sent.as_ref().map_or_else(Refusal::was_sent, |()| true) {
            self.port.hold.set(Route::None);
        }
        sent
    }

    /// An asker that reads no more is told nothing more.
    fn refuse_if_unread(&self) -> Result<(), ReplyError> {
        let asker = self.port.address.origin;
        let unread = match self.port.hold.way() {
            Route::None | Route::Asker(_) | Route::Away(None) => false,
            Route::Home(caller) => !caller.reads(&self.parts),
            Route::Away(Some(link)) => !link.holding().reads(asker, &self.parts),
        };
        if unread { Err(self.port.gone()) } else { Ok(()) }
    }

    fn part_by(&mut self, part: &R, until: Deadline) -> Result<(), ReplyError> {
        self.part_as(Status::Part, part, until)
    }

    fn part_as(&mut self, status: Status, part: &R, until: Deadline) -> Result<(), ReplyError> {
        let StreamTo { port, parts, .. } = self;
        let sent = transfer::sending::<R, _, _>(|| {
            let way = port.way(if until.is_now() { Duration::ZERO } else { ROOM })?;
            let bytes = port.encode::<R, C>(part, &way)?;
            let address = &port.address;
            match way {
                Route::Home(caller) => {
                    let head = reply::head(address.ask, status);
                    Ok(caller.send_part(parts, &head, &bytes, until)?)
                }
                Route::Away(Some(link)) => Ok(link.part(address, parts, &bytes, until)?),
                Route::None | Route::Asker(_) | Route::Away(None) => Err(port.passed_on()),
            }
        });
        self.port.unsendable = match &sent {
            Err(
                error @ (ReplyError::TooLong { .. } | ReplyError::Send(SendError::Encode { .. })),
            ) => Some(error.to_string()),
            _ => None,
        };
        sent.map_err(ReplyError::of_part)
    }
}

impl<R, C> fmt::Debug for StreamTo<R, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamTo").field("ask", &self.port.address.ask).finish_non_exhaustive()
    }
}

/// The port's address, how much was sent, and the types of the parts and of the last.
type Wire<R> = (PortAddress, u64, Shape<R>, Shape<R>);

impl<R, C> Serialize for StreamTo<R, C> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let wire: Wire<R> =
            (self.port.encoded::<S>()?, self.parts.sent(), Shape::new(), Shape::new());
        wire.serialize(serializer)
    }
}

impl<'de, R: DeserializeOwned, C> Deserialize<'de> for StreamTo<R, C> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (address, sent, ..) = Wire::<R>::deserialize(deserializer)?;
        Ok(StreamTo::new(UntypedPort::came(address, true), sent))
    }
}
