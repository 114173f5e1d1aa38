//! The side that tells and asks.

mod stream;
mod tasks;

pub use stream::ReplyStream;

use std::cell::{RefCell, RefMut};
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde::de::{DeserializeOwned, Deserializer};
use serde::ser::Serializer;
use serde::{Deserialize, Serialize};

use super::error::{AskError, TellError, WatchError};
use super::options::AddressOptions;
use super::port::{Ports, decoding};
use super::reply::ReplyTo;
use super::watch::Watch;
use super::wire::{self, ORDINARY, PortAddress, Shape, URGENT};
use super::{ConnectError, Service};
use crate::channel::Untyped;
use crate::codec::{Codec, EncodeError, Reader, Writer};
use crate::control::BRIEFLY;
use crate::error::{AttachError, RecvError, SendError};
use crate::name::{Handle, Name};
use crate::service::Kind;
use crate::service::reply::{self, Status};
use crate::sys::{ClockOffset, Deadline, Fault, Key, fault};
use crate::{DefaultCodec, Sender, Tag, panics, transfer};

/// How long a call waits that names no time.
pub(super) const TEN_SECONDS: Duration = Duration::from_secs(10);

impl AddressOptions {
    /// Connects to a mailbox by its name, and waits ten seconds at most for it to be there.
    ///
    /// # Errors
    /// As [`Address::connect`].
    pub fn connect<M, C: Codec<M>>(
        &self,
        name: impl Into<Name>,
    ) -> Result<Address<M, C>, ConnectError> {
        self.connect_timeout(name, TEN_SECONDS)
    }

    /// Like [`connect`](AddressOptions::connect), and waits at most `timeout`.
    ///
    /// # Errors
    /// As [`Address::connect`].
    pub fn connect_timeout<M, C: Codec<M>>(
        &self,
        name: impl Into<Name>,
        timeout: Duration,
    ) -> Result<Address<M, C>, ConnectError> {
        let address = Address::of(name.into(), *self);
        drop(address.connected(Deadline::after(timeout))?);
        Ok(address)
    }
}

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
/// not keep it before it is first used. Once its actor has ended, telling it is
/// [`TellError::Gone`] and asking it [`AskError::Died`], at once.
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
    name: Arc<Name>,
    options: AddressOptions,
    connection: RefCell<Option<Connection>>,
    message: PhantomData<fn(M) -> C>,
}

/// The connection, which is made again when the mailbox was removed.
struct Connection {
    sender: Sender<(), Untyped>,
    clock: ClockOffset,
}

impl Connection {
    /// The address of the next ask's reply port.
    fn next_port(&self, deadline: Deadline) -> PortAddress {
        let Connection { sender, clock } = self;
        let (home, origin) = (sender.handle(), sender.origin());
        PortAddress { home, origin, ask: sender.next_ask(), until: clock.publish(deadline) }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        // So that the actor that answers knows before another address has the place.
        self.sender.end_generation();
    }
}

impl<M, C: Codec<M>> Address<M, C> {
    /// Connects to a mailbox by its name, and waits ten seconds at most for it to be there.
    ///
    /// # Errors
    /// [`ConnectError::TooManyClients`] if the mailbox has no place left, [`ConnectError::NotFound`] if
    /// there is none, [`ConnectError::Open`] if it takes other or longer messages;
    /// [`ConnectError::Attach`] otherwise.
    pub fn connect(name: impl Into<Name>) -> Result<Self, ConnectError> {
        Self::connect_timeout(name, TEN_SECONDS)
    }

    /// Like [`connect`](Address::connect), and waits at most `timeout`.
    ///
    /// # Errors
    /// As [`connect`](Address::connect).
    pub fn connect_timeout(name: impl Into<Name>, timeout: Duration) -> Result<Self, ConnectError> {
        AddressOptions::new().connect_timeout(name, timeout)
    }

    /// Tells the actor a message, and waits ten seconds at most while its mailbox is full or has no
    /// actor.
    ///
    /// A message that was told is in the kernel's memory, and waits there if the actor ends: for the
    /// next one that binds the mailbox's name, for as long as that takes. An actor that drops its
    /// mailbox says so, and the next message waits for the next actor until its deadline. One that is
    /// killed, or whose process exits without that, cannot say so: telling a mailbox with a name goes
    /// on succeeding then, as long as there is room. [`is_alive`] asks.
    ///
    /// # Errors
    /// [`TellError::Timeout`] if it waited in vain, [`TellError::Gone`] if the mailbox is private and
    /// its actor has ended; [`TellError`] otherwise. The message was not told then, and reply ports
    /// in it are still this process's, but for [`SendError::NotWoken`], which has told it.
    ///
    /// [`is_alive`]: Address::is_alive
    pub fn tell(&self, message: &M) -> Result<(), TellError> {
        self.tell_timeout(message, TEN_SECONDS)
    }

    /// Like [`tell`](Address::tell), and waits at most `timeout`.
    ///
    /// # Errors
    /// As [`tell`](Address::tell).
    pub fn tell_timeout(&self, message: &M, timeout: Duration) -> Result<(), TellError> {
        self.tell_by(ORDINARY, message, Deadline::after(timeout))
    }

    /// Like [`tell`](Address::tell), but does not wait.
    ///
    /// # Errors
    /// [`TellError::Full`] if there is no room, [`TellError::Gone`] if there is no mailbox, its actor
    /// has dropped it, or it is private and its actor has ended; [`TellError`] otherwise.
    pub fn try_tell(&self, message: &M) -> Result<(), TellError> {
        self.tell_by(ORDINARY, message, Deadline::now())
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
        self.tell_by(URGENT, message, Deadline::after(timeout))
    }

    /// Like [`tell_urgent`](Address::tell_urgent), but does not wait.
    ///
    /// # Errors
    /// As [`try_tell`](Address::try_tell).
    pub fn try_tell_urgent(&self, message: &M) -> Result<(), TellError> {
        self.tell_by(URGENT, message, Deadline::now())
    }

    /// Asks the actor something, and waits ten seconds at most for the reply. `message` makes the
    /// message around a reply port; one without the port is told, and is [`AskError::Dropped`].
    ///
    /// An actor that asks its own mailbox, on the thread that receives there, waits until its
    /// deadline: it can tell itself instead, or ask from another thread. Nothing notices this, since a
    /// mailbox may go to another thread between two messages.
    ///
    /// # Errors
    /// [`AskError::Timeout`] if no reply came, [`AskError::Died`] if the actor's process ended before,
    /// [`AskError::Wait`] with [`RecvError::Removed`](crate::RecvError::Removed) if the mailbox was removed before,
    /// [`AskError::Dropped`] if the reply port was dropped, [`AskError::Unreadable`] or
    /// [`AskError::Unsendable`] if the actor says so, [`AskError::Tell`] if the message was not told;
    /// [`AskError`] otherwise.
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
        let (receiver, address) = self.next_ask(deadline)?;
        // The address is free meanwhile: the user's code may use it.
        let port_sent = Arc::new(AtomicBool::new(false));
        let message = message(ReplyTo::of_asker(address, port_sent.clone(), self.mailbox()));
        let mut place = self.place().map_err(TellError::from)?;
        let Some(connection) =
            place.as_mut().filter(|connection| connection.sender.origin() == address.origin)
        else {
            // The user's code has found that it was removed.
            return Err(self.untold(true));
        };
        let receiver =
            self.tell_ask(connection, address.ask, &message, (receiver, deadline), &port_sent)?;
        let accept =
            |reader: Reader<'_>| accept::<R, C>(&self.name, self.options, address.ask, reader);
        let reply = connection.sender.wait_for_reply_of(receiver, deadline, accept);
        let replaced = connection.sender.is_replaced(receiver);
        self.answered(reply, replaced, deadline)
    }

    /// Tells the message of an ask, whose port says that it was sent; says which actor it was told.
    fn tell_ask(
        &self,
        connection: &Connection,
        ask: u64,
        message: &M,
        (mut receiver, deadline): (u64, Deadline),
        port_sent: &AtomicBool,
    ) -> Result<u64, AskError> {
        let sender = &connection.sender;
        let sent = transfer::sending::<M, _, _>(|| {
            loop {
                match send::<M, C>(sender, ORDINARY, ask, message, deadline) {
                    // It was not told, and the next actor may come until the deadline.
                    Err(SendError::Disconnected { .. }) if !sender.is_removed() => {
                        receiver = sender.await_receiver(deadline)?;
                    }
                    sent => return sent,
                }
            }
        });
        match sent {
            // It was told without its port: no reply can come.
            Ok(()) if !port_sent.load(Ordering::Relaxed) => {
                Err(AskError::Dropped { mailbox: self.mailbox() })
            }
            Ok(()) => Ok(receiver),
            Err(SendError::Disconnected { .. } | SendError::Removed { .. }) => {
                Err(self.untold(sender.is_removed()))
            }
            Err(error) => Err(self.tell_error(error).into()),
        }
    }

    /// Why the message of an ask was not told to the actor that was there before.
    fn untold(&self, removed: bool) -> AskError {
        match *self.name {
            Name::Text(_) | Name::Key(_) if removed => {
                let error = SendError::Removed { channel: self.mailbox() };
                AskError::Tell(TellError::Send(error))
            }
            _ => AskError::Died { mailbox: self.mailbox() },
        }
    }

    /// What became of an ask until then, by how the wait for its reply ended, and whether the actor that was asked
    /// has a successor.
    fn answered<R>(
        &self,
        reply: Result<Reply<R>, RecvError>,
        replaced: bool,
        deadline: Deadline,
    ) -> Result<R, AskError> {
        match reply {
            Ok((outcome, came)) => {
                receive_ports(came, self.options);
                match outcome {
                    // The one that comes next says so of a port whose holder found no actor to reply to.
                    Err(AskError::Dropped { mailbox }) if replaced => {
                        Err(AskError::Died { mailbox })
                    }
                    // Of an actor that gave up at the deadline, word comes before this side has looked at its clock.
                    Err(AskError::Dropped { mailbox }) if deadline.has_passed() => {
                        Err(AskError::Timeout { mailbox })
                    }
                    outcome => outcome,
                }
            }
            Err(RecvError::Timeout { .. }) => Err(AskError::Timeout { mailbox: self.mailbox() }),
            Err(RecvError::Disconnected { .. }) => Err(AskError::Died { mailbox: self.mailbox() }),
            Err(error) => Err(AskError::of_waiting(self.mailbox(), error)),
        }
    }

    /// Watches the actor that has the mailbox now, or had it last; waits ten seconds at most for the
    /// first one, and for a mailbox that was removed to be made again.
    ///
    /// # Errors
    /// [`WatchError::NoActor`] if none came, [`WatchError::Connect`] if the mailbox is not there or has
    /// no place left; [`WatchError::Watch`] otherwise.
    pub fn watch(&self) -> Result<Watch, WatchError> {
        let deadline = Deadline::after(TEN_SECONDS);
        let mut place = self.connected(deadline)?;
        if place.as_ref().is_some_and(|connection| connection.sender.is_removed()) {
            drop(place.take());
            drop(place);
            place = self.connected(deadline)?;
        }
        let connection = place.as_ref().expect("it was just connected");
        let sender = connection.sender.try_clone();
        let sender = sender.map_err(|error| ConnectError::of_attach(Kind::Mailbox, error))?;
        Watch::begin(sender, deadline)
    }

    /// Whether the mailbox has an actor now. It may end in the next moment, and of a mailbox with a
    /// name another may come.
    ///
    /// # Errors
    /// [`ConnectError`], but for a mailbox that is not there: that has none.
    pub fn is_alive(&self) -> Result<bool, ConnectError> {
        let mut place = match self.connected(Deadline::now()) {
            Err(ConnectError::NotFound { .. }) => return Ok(false),
            place => place?,
        };
        if place.as_ref().is_some_and(|connection| connection.sender.is_removed()) {
            *place = None;
            drop(place);
            // One made again under the name, if there is any.
            place = match self.connected(Deadline::now()) {
                Err(ConnectError::NotFound { .. }) => return Ok(false),
                place => place?,
            };
        }
        let connection = place.as_ref().expect("it was just connected");
        match connection.sender.has_receiver() {
            Err(SendError::System { channel, error }) => {
                Err(ConnectError::Attach(AttachError::System { channel, error }))
            }
            // Removed meanwhile.
            alive => Ok(alive.unwrap_or(false)),
        }
    }

    /// The number and the way back of the next ask, and the actor that is to answer it.
    fn next_ask(&self, deadline: Deadline) -> Result<(u64, PortAddress), AskError> {
        self.with_actor(deadline, |connection| {
            let receiver = connection.sender.await_receiver(deadline)?;
            Ok((receiver, connection.next_port(deadline)))
        })
    }

    /// Has something done at the mailbox where an actor is; again where the mailbox was removed, which may be made
    /// again until the deadline.
    fn with_actor<V>(
        &self,
        deadline: Deadline,
        mut act: impl FnMut(&Connection) -> Result<V, NoActor>,
    ) -> Result<V, AskError> {
        drop(self.place().map_err(TellError::from)?);
        loop {
            let mut place = match self.connected(deadline) {
                Err(error) if self.never_comes(&error) => {
                    return Err(AskError::Died { mailbox: self.mailbox() });
                }
                place => place.map_err(TellError::from)?,
            };
            let connection = place.as_mut().expect("it was just connected");
            match act(connection) {
                Ok(done) => return Ok(done),
                Err(NoActor::Send(SendError::Removed { .. })) => *place = None,
                Err(NoActor::Send(SendError::Disconnected { .. })) => {
                    return Err(AskError::Died { mailbox: self.mailbox() });
                }
                Err(NoActor::Send(error)) => return Err(self.tell_error(error).into()),
                Err(NoActor::Attach(error)) => {
                    let error = ConnectError::of_attach(Kind::Mailbox, error);
                    return Err(TellError::from(error).into());
                }
            }
        }
    }

    /// Whether the mailbox is not there and never will be: one of no name is not made again.
    fn never_comes(&self, error: &ConnectError) -> bool {
        let missing = matches!(error, ConnectError::NotFound { .. });
        missing && matches!(*self.name, Name::Handle(_))
    }

    fn tell_by(&self, tag: Tag, message: &M, deadline: Deadline) -> Result<(), TellError> {
        drop(self.place()?);
        transfer::sending::<M, _, _>(|| {
            loop {
                let mut place = match self.connected(deadline) {
                    Err(ConnectError::NotFound { .. }) if deadline.is_now() => {
                        return Err(TellError::Gone { mailbox: self.mailbox() });
                    }
                    Err(error) if self.never_comes(&error) => {
                        return Err(TellError::Gone { mailbox: self.mailbox() });
                    }
                    place => place?,
                };
                let connection = place.as_ref().expect("it was just connected");
                // NB: a system call for each message to a private mailbox, 0.25 microseconds: the
                // kernel alone knows of a kill.
                match connection.sender.is_abandoned() {
                    Ok(false) | Err(SendError::Removed { .. }) => {}
                    Ok(true) => return Err(TellError::Gone { mailbox: self.mailbox() }),
                    Err(error) => return Err(self.tell_error(error)),
                }
                let error = match send::<M, C>(&connection.sender, tag, 0, message, deadline) {
                    Err(error) if error.is_disconnected() || error.is_removed() => error,
                    sent => return sent.map_err(|error| self.tell_error(error)),
                };
                // There is no actor: one may come until the deadline.
                let next = if connection.sender.is_removed() {
                    Err(error)
                } else if deadline.is_now() {
                    return Err(TellError::Gone { mailbox: self.mailbox() });
                } else {
                    connection.sender.await_receiver(deadline).map(drop)
                };
                match next {
                    Ok(()) => {}
                    Err(SendError::Removed { .. }) => *place = None,
                    Err(error) => return Err(self.tell_error(error)),
                }
            }
        })
    }

    fn place(&self) -> Result<RefMut<'_, Option<Connection>>, ConnectError> {
        let place = self.connection.try_borrow_mut();
        place.map_err(|_| ConnectError::Reentrant {
            service: Service::new(Kind::Mailbox, self.mailbox()),
        })
    }

    fn tell_error(&self, error: SendError) -> TellError {
        match error {
            SendError::Full { .. } => TellError::Full { mailbox: self.mailbox() },
            SendError::Timeout { .. } => TellError::Timeout { mailbox: self.mailbox() },
            SendError::Disconnected { .. } | SendError::Removed { .. } => {
                TellError::Gone { mailbox: self.mailbox() }
            }
            error => TellError::Send(error),
        }
    }

    /// How errors name the mailbox.
    fn mailbox(&self) -> Arc<Name> {
        self.name.clone()
    }

    /// The connection, connected if it is not.
    fn connected(
        &self,
        deadline: Deadline,
    ) -> Result<RefMut<'_, Option<Connection>>, ConnectError> {
        let mut place = self.place()?;
        if place.is_none() {
            let wait = deadline.remaining().unwrap_or(Duration::MAX);
            let protocol = wire::protocol::<M, C>();
            let sender = self.options.connect.connect::<M, C>(protocol, &self.name, wait)?;
            *place = Some(Connection { sender, clock: ClockOffset::of_this_process() });
        }
        Ok(place)
    }
}

/// Why nothing was done at the mailbox.
enum NoActor {
    Send(SendError),
    Attach(AttachError),
}

impl From<SendError> for NoActor {
    fn from(error: SendError) -> Self {
        NoActor::Send(error)
    }
}

impl From<AttachError> for NoActor {
    fn from(error: AttachError) -> Self {
        match error {
            AttachError::Removed { channel } => NoActor::Send(SendError::Removed { channel }),
            error => NoActor::Attach(error),
        }
    }
}

/// The ports that came with a reply answer from here on.
fn receive_ports(came: Ports, options: AddressOptions) {
    let brief = Deadline::after(BRIEFLY);
    for (address, hold) in came {
        hold.receive(&address, options, brief.remaining().unwrap_or_default());
    }
}

/// What a reply says, and the ports that came with it.
type Reply<R> = (Result<R, AskError>, Ports);

/// Sends a message; zero is no ask.
fn send<M, C: Codec<M>>(
    sender: &Sender<(), Untyped>,
    tag: Tag,
    ask: u64,
    message: &M,
    deadline: Deadline,
) -> Result<(), SendError> {
    let head = wire::told(ask);
    let encode = |out: &mut Writer<'_>| -> Result<(), EncodeError> {
        out.write(&head)?;
        transfer::encode::<M, C>(message, out)
    };
    sender.send_as(tag, head.len(), encode, deadline)
}

/// What a reply says, and the ports in it, if it is the one to this ask.
fn accept<R, C: Codec<R>>(
    mailbox: &Arc<Name>,
    options: AddressOptions,
    ask: u64,
    mut reader: Reader<'_>,
) -> Option<Reply<R>> {
    let (answered, status) = reply::read_head(&mut reader)?;
    // Others are for asks that are not waited for any more.
    (answered == ask || fault(Fault::AskNotCompared))
        .then(|| decoding(options, || outcome::<R, C>(mailbox, status, reader)))
}

fn outcome<R, C: Codec<R>>(
    mailbox: &Arc<Name>,
    status: Status,
    reader: Reader<'_>,
) -> Result<R, AskError> {
    if status == Status::Reply {
        return panics::decoding(|| C::decode(reader))
            .map_err(|error| AskError::Decode { mailbox: mailbox.clone(), error });
    }
    let mailbox = mailbox.clone();
    match status {
        Status::Reply
        | Status::Dropped
        | Status::Panicked
        | Status::Closed
        | Status::Part
        | Status::End
        | Status::NotReceived
        | Status::NotPassedOn
        | Status::Late => Err(AskError::Dropped { mailbox }),
        Status::Unreadable => Err(AskError::Unreadable { mailbox, why: reader.read_text() }),
        Status::Unsendable => Err(AskError::Unsendable { mailbox, why: reader.read_text() }),
    }
}

impl<M, C> Address<M, C> {
    /// The address of this name, which connects with its first use.
    pub(super) fn of(name: impl Into<Arc<Name>>, options: AddressOptions) -> Self {
        Address { name: name.into(), options, connection: RefCell::new(None), message: PhantomData }
    }

    /// The same address with other options, for one that came in a message.
    pub fn with(self, options: AddressOptions) -> Self {
        Address::of(self.name, options)
    }

    /// What the mailbox is found by.
    pub fn name(&self) -> &Name {
        &self.name
    }
}

impl<M, C> Clone for Address<M, C> {
    fn clone(&self) -> Self {
        Address::of(self.name.clone(), self.options)
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
        let (text, key, incarnation) = match &*self.name {
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
        let name = match Key::new(key) {
            None => Name::Text(text),
            Some(key) if incarnation == 0 => Name::Key(key),
            Some(key) => Name::Handle(Handle { key, incarnation }),
        };
        Ok(Address::of(name, AddressOptions::of_this_moment()))
    }
}
