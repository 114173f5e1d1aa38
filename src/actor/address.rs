//! The side that tells and asks.

use std::cell::{RefCell, RefMut};
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use serde::de::{DeserializeOwned, Deserializer};
use serde::ser::Serializer;
use serde::{Deserialize, Serialize};

use super::error::{AskError, ConnectError, TellError, WatchError};
use super::reply::{ReplyTo, sending};
use super::watch::Watch;
use super::wire::{self, ORDINARY, Shape, Status, Ticket, URGENT, Untyped};
use crate::codec::{Codec, EncodeError, Reader, Writer};
use crate::error::{OpenError, RecvError, SendError};
use crate::name::{Handle, Name};
use crate::sys::{Deadline, Fault, Key, fault};
use crate::{Channel, DefaultCodec, Sender, Tag};

/// How long a call waits that names no time.
pub(super) const TEN_SECONDS: Duration = Duration::from_secs(10);

/// Where an actor gets its messages, as a value: it can be stored, cloned, and sent inside of
/// messages to other processes, where it works as well.
///
/// It holds the mailbox's name, and a place there, which it takes when it is first used and keeps
/// until it is dropped. A clone, and an address that came in a message, take a place of their own
/// with their first use. When the actor is replaced by another one the same address reaches that,
/// also if the mailbox was removed meanwhile and made again. An address is used by one thread at a
/// time.
///
/// The address of a [private](super::Mailbox::private) mailbox reaches that mailbox alone, and does
/// not keep it before it is first used.
///
/// ```
/// use serde::{Deserialize, Serialize};
/// use sysv_channel::actor::{Address, Mailbox};
///
/// #[derive(Serialize, Deserialize)]
/// enum Clock { Subscribe(Address<u64>) }
///
/// # let name = format!("doc-address-{}", std::process::id());
/// # let name = name.as_str();
/// let clock = Mailbox::<Clock>::bind(name)?;
///
/// // Another process, which is told the time:
/// let ticks = Mailbox::<u64>::private()?;
/// Address::<Clock>::connect(name)?.tell(&Clock::Subscribe(ticks.address()))?;
///
/// // The first again:
/// let Some(Clock::Subscribe(subscriber)) = clock.recv()? else { unreachable!() };
/// subscriber.tell(&42)?;
/// assert_eq!(ticks.recv()?, Some(42));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Address<M, C = DefaultCodec> {
    name: Name,
    line: RefCell<Option<Line>>,
    message: PhantomData<fn(M) -> C>,
}

/// The connection, which is made again when the mailbox was removed.
struct Line {
    sender: Sender<(), Untyped>,
    home: Handle,
    last_ask: u64,
}

impl Drop for Line {
    fn drop(&mut self) {
        // So that whoever answers knows before somebody else has the place.
        self.sender.retire();
    }
}

impl<M, C: Codec<M>> Address<M, C> {
    /// Connects to a mailbox by its name, and waits ten seconds at most for it to be there.
    ///
    /// # Errors
    /// [`ConnectError::TooManyAddresses`] if the mailbox has no place left; [`ConnectError`]
    /// otherwise.
    pub fn connect(name: impl Into<Name>) -> Result<Self, ConnectError> {
        Self::connect_timeout(name, TEN_SECONDS)
    }

    /// Like [`connect`](Address::connect), and waits at most `timeout`.
    ///
    /// # Errors
    /// As [`connect`](Address::connect).
    pub fn connect_timeout(name: impl Into<Name>, timeout: Duration) -> Result<Self, ConnectError> {
        let address = Address::of(name.into());
        drop(address.connected(Deadline::after(timeout))?);
        Ok(address)
    }

    /// Tells the actor a message, and waits ten seconds at most while its mailbox is full or has no
    /// actor. A message that was told is in the kernel's memory, and waits there if the actor dies.
    ///
    /// # Errors
    /// [`TellError::Timeout`] if it waited in vain; [`TellError`] otherwise. The message was not
    /// told then, and reply ports in it are still this process's.
    pub fn tell(&self, message: &M) -> Result<(), TellError> {
        self.tell_timeout(message, TEN_SECONDS)
    }

    /// Like [`tell`](Address::tell), and waits at most `timeout`.
    ///
    /// # Errors
    /// As [`tell`](Address::tell).
    pub fn tell_timeout(&self, message: &M, timeout: Duration) -> Result<(), TellError> {
        self.tell_by(ORDINARY, message, Some(Deadline::after(timeout)))
    }

    /// Like [`tell`](Address::tell), but does not wait.
    ///
    /// # Errors
    /// [`TellError::Full`] if there is no room, [`TellError::Gone`] if there is no mailbox or its
    /// actor has left it; [`TellError`] otherwise.
    pub fn try_tell(&self, message: &M) -> Result<(), TellError> {
        self.tell_by(ORDINARY, message, None)
    }

    /// Like [`tell`](Address::tell), for a message that overtakes all that are not urgent. It finds
    /// no more room than they do.
    ///
    /// # Errors
    /// As [`tell`](Address::tell).
    pub fn tell_urgent(&self, message: &M) -> Result<(), TellError> {
        self.tell_urgent_timeout(message, TEN_SECONDS)
    }

    /// Like [`tell_urgent`](Address::tell_urgent), and waits at most `timeout`.
    ///
    /// # Errors
    /// As [`tell`](Address::tell).
    pub fn tell_urgent_timeout(&self, message: &M, timeout: Duration) -> Result<(), TellError> {
        self.tell_by(URGENT, message, Some(Deadline::after(timeout)))
    }

    /// Like [`tell_urgent`](Address::tell_urgent), but does not wait.
    ///
    /// # Errors
    /// As [`try_tell`](Address::try_tell).
    pub fn try_tell_urgent(&self, message: &M) -> Result<(), TellError> {
        self.tell_by(URGENT, message, None)
    }

    /// Asks the actor something, and waits ten seconds at most for the reply. `message` makes the
    /// message around a reply port.
    ///
    /// # Errors
    /// [`AskError`].
    pub fn ask<R>(&self, message: impl FnOnce(ReplyTo<R, C>) -> M) -> Result<R, AskError>
    where
        C: Codec<R>,
    {
        self.ask_timeout(message, TEN_SECONDS)
    }

    /// Like [`ask`](Address::ask), and waits at most `timeout`.
    ///
    /// # Errors
    /// As [`ask`](Address::ask).
    pub fn ask_timeout<R>(
        &self,
        message: impl FnOnce(ReplyTo<R, C>) -> M,
        timeout: Duration,
    ) -> Result<R, AskError>
    where
        C: Codec<R>,
    {
        let deadline = Deadline::after(timeout);
        let (receiver, ticket) = self.next_ask(deadline)?;
        // The address is free meanwhile: the user's code may use it.
        let message = message(ReplyTo::new(ticket));
        let mut place = self.place()?;
        let Some(line) = place.as_mut().filter(|line| line.sender.origin() == ticket.origin) else {
            return Err(AskError::Died);
        };
        let sent =
            sending(|| send::<M, C>(&line.sender, ORDINARY, ticket.ask, &message, Some(deadline)));
        match sent {
            Ok(()) => {}
            Err(SendError::Disconnected { .. } | SendError::Removed { .. }) => {
                return Err(AskError::Died);
            }
            Err(error) => return Err(tell_error(error).into()),
        }
        let answer = line.sender.wait_for_answer_of(receiver, deadline, |mut reader| {
            let (ask, status) = wire::read_answer(&mut reader)?;
            // Others are for asks that nobody waits for any more.
            (ask == ticket.ask || fault(Fault::AskNotCompared))
                .then(|| outcome::<R, C>(status, reader))
        });
        match answer {
            // The one that comes next says so of a port whose holder found no actor to reply to.
            Ok(Err(AskError::Dropped)) if line.sender.is_replaced(receiver) => Err(AskError::Died),
            Ok(outcome) => outcome,
            Err(RecvError::Timeout { .. }) => Err(AskError::Timeout),
            Err(RecvError::Disconnected { .. } | RecvError::Removed { .. }) => Err(AskError::Died),
            Err(error) => Err(AskError::Wait(error)),
        }
    }

    /// Watches the actor that has the mailbox now; waits ten seconds at most for the first one.
    ///
    /// # Errors
    /// [`WatchError`].
    pub fn watch(&self) -> Result<Watch, WatchError> {
        let deadline = Deadline::after(TEN_SECONDS);
        let mut place = self.connected(deadline)?;
        if place.as_ref().is_some_and(|line| line.sender.is_removed()) {
            drop(place.take());
            drop(place);
            place = self.connected(deadline)?;
        }
        let line = place.as_ref().expect("it was just connected");
        let sender = line.sender.try_clone().map_err(ConnectError::from)?;
        Watch::begin(sender, deadline)
    }

    /// The number and the way back of the next ask, and the actor that is to answer it.
    fn next_ask(&self, deadline: Deadline) -> Result<(u64, Ticket), TellError> {
        loop {
            let mut place = self.connected(deadline)?;
            let line = place.as_mut().expect("it was just connected");
            match line.sender.await_receiver(deadline) {
                Ok(receiver) => {
                    line.last_ask += 1;
                    let origin = line.sender.origin();
                    return Ok((receiver, Ticket { home: line.home, origin, ask: line.last_ask }));
                }
                Err(SendError::Disconnected { .. } | SendError::Removed { .. }) => *place = None,
                Err(error) => return Err(tell_error(error)),
            }
        }
    }

    fn tell_by(&self, tag: Tag, message: &M, deadline: Option<Deadline>) -> Result<(), TellError> {
        sending(|| {
            loop {
                let mut place = match self.connected(deadline.unwrap_or_else(Deadline::immediate)) {
                    Err(ConnectError::Open(OpenError::NotFound { .. })) if deadline.is_none() => {
                        return Err(TellError::Gone);
                    }
                    place => place?,
                };
                let line = place.as_ref().expect("it was just connected");
                let error = match send::<M, C>(&line.sender, tag, 0, message, deadline) {
                    Err(error) if error.is_disconnected() || error.is_removed() => error,
                    sent => return sent.map_err(tell_error),
                };
                // There is no actor: one may come until the deadline.
                let next = match deadline {
                    _ if line.sender.is_removed() => Err(error),
                    Some(deadline) => line.sender.await_receiver(deadline).map(drop),
                    None => return Err(TellError::Gone),
                };
                match next {
                    Ok(()) => {}
                    Err(SendError::Disconnected { .. } | SendError::Removed { .. }) => {
                        *place = None
                    }
                    Err(error) => return Err(tell_error(error)),
                }
            }
        })
    }

    fn place(&self) -> Result<RefMut<'_, Option<Line>>, TellError> {
        self.line.try_borrow_mut().map_err(|_| {
            TellError::Send(SendError::Reentrant { channel: Arc::new(self.name.clone()) })
        })
    }

    /// The line, connected if it is not.
    fn connected(&self, deadline: Deadline) -> Result<RefMut<'_, Option<Line>>, ConnectError> {
        let mut place = self
            .line
            .try_borrow_mut()
            .map_err(|_| ConnectError::Open(OpenError::Busy { pid: std::process::id() as i32 }))?;
        if place.is_none() {
            // A mailbox without a name never comes again.
            let wait = match &self.name {
                Name::Handle(_) => Duration::ZERO,
                _ => deadline.remaining().unwrap_or(Duration::MAX),
            };
            let options =
                Channel::<M, C>::options().wait_for_creation(wait).schema(wire::schema::<M, C>());
            let channel = options.open(self.name.clone())?.retyped::<(), Untyped>();
            let home = channel.handle();
            *place = Some(Line { sender: channel.sender()?, home, last_ask: 0 });
        }
        Ok(place)
    }
}

/// Sends a message; zero is no ask.
fn send<M, C: Codec<M>>(
    sender: &Sender<(), Untyped>,
    tag: Tag,
    ask: u64,
    message: &M,
    deadline: Option<Deadline>,
) -> Result<(), SendError> {
    let head = wire::told(ask);
    let encode = |out: &mut Writer<'_>| -> Result<(), EncodeError> {
        out.write(&head)?;
        C::encode(message, out)
    };
    sender.send_as(tag, &encode, deadline)
}

fn tell_error(error: SendError) -> TellError {
    match error {
        SendError::Full { .. } => TellError::Full,
        SendError::Timeout { .. } => TellError::Timeout,
        SendError::Disconnected { .. } | SendError::Removed { .. } => TellError::Gone,
        error => TellError::Send(error),
    }
}

fn outcome<R, C: Codec<R>>(status: Status, mut reader: Reader<'_>) -> Result<R, AskError> {
    let mut text = || {
        let text = reader.read_vec(reader.remaining()).unwrap_or_default();
        String::from_utf8_lossy(&text).into_owned()
    };
    match status {
        Status::Dropped => Err(AskError::Dropped),
        Status::Unreadable => Err(AskError::Unreadable(text())),
        Status::Unsendable => Err(AskError::Unsendable(text())),
        Status::Reply => C::decode(reader).map_err(AskError::Decode),
    }
}

impl<M, C> Address<M, C> {
    /// The address of this name, which connects with its first use.
    pub(super) fn of(name: Name) -> Self {
        Address { name, line: RefCell::new(None), message: PhantomData }
    }

    /// What the mailbox is found by.
    pub fn name(&self) -> &Name {
        &self.name
    }
}

impl<M, C> Clone for Address<M, C> {
    fn clone(&self) -> Self {
        Address::of(self.name.clone())
    }
}

impl<M, C> fmt::Debug for Address<M, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Address").field("name", &self.name).finish_non_exhaustive()
    }
}

/// A name as a value: a text, or a key, with an incarnation if it is a handle. Whatever stands there
/// is an address, so that its shape can be traced; the use of one that is none is an error.
type Wire<M> = (String, i32, u64, Shape<M>);

impl<M, C> Serialize for Address<M, C> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (text, key, incarnation) = match &self.name {
            Name::Text(text) => (text.as_str(), 0, 0),
            Name::Key(key) => ("", key.raw(), 0),
            Name::Handle(handle) => ("", handle.key.raw(), handle.incarnation),
        };
        (text, key, incarnation, Shape::<M>::new()).serialize(serializer)
    }
}

impl<'de, M: DeserializeOwned, C> Deserialize<'de> for Address<M, C> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (text, key, incarnation, _) = Wire::<M>::deserialize(deserializer)?;
        Ok(Address::of(match Key::new(key) {
            None => Name::Text(text),
            Some(key) if incarnation == 0 => Name::Key(key),
            Some(key) => Name::Handle(Handle { key, incarnation }),
        }))
    }
}
