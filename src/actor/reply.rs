//! The port of an ask: where it is answered once.

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
use super::port::{Route, UntypedPort};
use super::wire::{PortAddress, Shape};
use crate::DefaultCodec;
use crate::codec::Codec;
use crate::name::Name;

/// Where one [`ask`](super::Address::ask) is answered, once: a field of the message.
///
/// It can be kept, moved to another thread, or put into a message to a third process, which then
/// replies in its place. Dropping it without a reply tells the asker so, and so does the death of
/// the process that holds it.
///
/// Sending a value that contains a port passes the port on, be the value a message, a reply or a value
/// of a plain [`Channel`](crate::Channel) or [`Queue`](crate::Queue): once the send has succeeded, the port left behind
/// does nothing, and one that was refused leaves it as it was. Any other encoding of a port, as for a log,
/// is an error and leaves it as it was, too, as is the sending of one that was passed on before.
///
/// In these cases no process can tell an asker what became of its port, and the asker waits until its deadline:
///
/// - while it is on its way in the mailbox of an actor that was killed, or whose process exited: it waits
///   there like the message. A mailbox without a name that is dropped drops the ports in it;
/// - in a message that cannot be decoded as far as the port, and in a reply that comes after its own asker
///   gave up;
/// - where the process dies that received it from a plain channel, a queue or a [call](crate::rpc);
/// - where an actor that received it dies before it used the port, if the port's home could not be opened
///   when it came, as where it has no place left, or another process kept the lock of its channel for a
///   tenth of a second.
///
/// ```
/// use serde::{Deserialize, Serialize};
/// use sysv_channel::actor::{Address, Mailbox, ReplyTo};
///
/// #[derive(Serialize, Deserialize)]
/// struct Square(u64, ReplyTo<u64>);
///
/// # let name = format!("doc-reply-{}", std::process::id());
/// # let name = name.as_str();
/// let mailbox = Mailbox::<Square>::bind(name)?;
/// let answering = std::thread::spawn(move || {
///     let Square(number, reply) = mailbox.recv().unwrap().unwrap();
///     reply.send(&(number * number))
/// });
/// let squares = Address::<Square>::connect(name)?;
/// assert_eq!(squares.ask(|reply| Square(7, reply))?, 49);
/// answering.join().unwrap()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct ReplyTo<R, C = DefaultCodec> {
    port: UntypedPort,
    reply: PhantomData<fn(R) -> C>,
}

impl<R, C> ReplyTo<R, C> {
    /// The asker's own, to be sent, which then says so.
    pub(super) fn of_asker(
        address: PortAddress,
        sent: Arc<AtomicBool>,
        mailbox: Arc<Name>,
    ) -> Self {
        ReplyTo::new(UntypedPort::of_asker(address, sent, mailbox, false))
    }

    fn new(port: UntypedPort) -> Self {
        ReplyTo { port, reply: PhantomData }
    }
}

impl<R, C> ReplyTo<R, C> {
    /// Which process asked, as far as the kernel vouches for it; [`Peer`] says how far that is. Takes some
    /// system calls, and reads procfs.
    ///
    /// `None` where the asker is gone, where it is in a pid namespace that this process does not see, where the
    /// port came by way of a plain channel and was not used yet, and of a port that was passed on.
    pub fn asker(&self) -> Option<Peer> {
        self.port.asker()
    }

    /// How long the asker still waits; `None`: for ever.
    pub fn remaining(&self) -> Option<Duration> {
        self.port.deadline().remaining()
    }

    /// Whether no reply is waited for any more, as far as this process can tell: the deadline passed, the
    /// asker is gone or has asked something else, or the actor that was asked is gone, to which alone the asker
    /// listens. Takes system calls.
    ///
    /// ```
    /// use std::time::Duration;
    /// use sysv_channel::actor::{Address, Mailbox, ReplyTo};
    ///
    /// # let name = format!("doc-cancelled-{}", std::process::id());
    /// # let name = name.as_str();
    /// let mailbox = Mailbox::<ReplyTo<u64>>::bind(name)?;
    /// let address = Address::<ReplyTo<u64>>::connect(name)?;
    /// let asking = std::thread::spawn(move || {
    ///     address.ask_timeout(|reply| reply, Duration::from_millis(100)).unwrap_err().is_timeout()
    /// });
    /// let reply = mailbox.recv()?.unwrap();
    /// assert!(reply.remaining().unwrap() <= Duration::from_millis(100));
    /// assert!(asking.join().unwrap());
    /// assert!(reply.is_cancelled());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn is_cancelled(&self) -> bool {
        let UntypedPort { address, hold, .. } = &self.port;
        self.port.deadline().has_passed()
            || match hold.way() {
                Route::None | Route::Asker(_) | Route::Away(None) => false,
                Route::Home(caller) => {
                    !caller.is_there() || !caller.is_last_ask(address.ask) || caller.was_killed()
                }
                Route::Away(Some(link)) => {
                    let holding = link.holding();
                    !holding.is_there(address.origin)
                        || !holding.is_last_ask(address.port())
                        || holding.was_killed(address.origin)
                        || link.has_ended()
                }
            }
    }
}

impl<R, C: Codec<R>> ReplyTo<R, C> {
    /// Replies. In the process whose mailbox was asked it does not wait: what the asker's ring has
    /// too little room for goes while the actor receives or drops its mailbox, and is lost where
    /// the actor ends otherwise, of which the asker is told. Elsewhere it waits up to a second
    /// while that mailbox is full, and then has the asker told that the reply was
    /// [`Unsendable`](super::AskError::Unsendable), or [`Dropped`](super::AskError::Dropped) where
    /// the mailbox has no room for that either. A reply longer than half of
    /// [`capacity`](super::MailboxOptions::capacity) goes while that mailbox is read: of two actors
    /// that tell each other such, one may find no room.
    ///
    /// # Errors
    /// [`ReplyError::Gone`] if the asker is gone, or the actor that was asked; [`ReplyError::PassedOn`]
    /// if the port is another process's to answer; [`ReplyError::Full`] if there is no room;
    /// [`ReplyError::TooLong`] or [`ReplyError::Send`] for a reply that cannot be sent;
    /// [`ReplyError::Open`] or [`ReplyError::Attach`] if the way back is closed. An actor can ignore them
    /// all.
    pub fn send(self, reply: &R) -> Result<(), ReplyError> {
        self.port.reply::<R, C>(reply)
    }
}

impl<R, C> fmt::Debug for ReplyTo<R, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReplyTo").field("ask", &self.port.address.ask).finish_non_exhaustive()
    }
}

impl<R, C> Serialize for ReplyTo<R, C> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (self.port.encoded::<S>()?, Shape::<R>::new()).serialize(serializer)
    }
}

impl<'de, R: DeserializeOwned, C> Deserialize<'de> for ReplyTo<R, C> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (address, _) = <(PortAddress, Shape<R>)>::deserialize(deserializer)?;
        Ok(ReplyTo::new(UntypedPort::came(address, false)))
    }
}
