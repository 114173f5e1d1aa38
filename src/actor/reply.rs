//! Reply ports: where one ask is answered, wherever the port has travelled.
//!
//! Its home is the mailbox that was asked: the asker's lane is there, and the home's process alone
//! writes to it. A port in that process answers by itself; one in any other tells the home, which
//! passes it on. The home knows who holds a port elsewhere, because the holder says so before the
//! message that brought the port counts as received; so it notices when that one dies.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::marker::PhantomData;
use std::mem;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use serde::de::{DeserializeOwned, Deserializer};
use serde::ser::{self, Serializer};
use serde::{Deserialize, Serialize};

use super::Peer;
use super::error::ReplyError;
use super::options::AddressOptions;
use super::wire::{FORWARDED, HEADS, PortAddress, REPLY_HEAD, Shape, write_reply};
use crate::channel::{Caller, Encoded, Holding, NotEncoded, Origin, Untyped};
use crate::codec::{Codec, EncodeError, Writer};
use crate::control::BRIEFLY;
use crate::error::{OpenError, SendError};
use crate::name::Name;
use crate::service::reply::{self, Status};
use crate::sys::{ClockOffset, Deadline, Mutex};
use crate::transfer::Refusal;
use crate::{AttachError, Channel, DefaultCodec, Sender, transfer};

/// How long a reply waits for its home, and for room in its home's mailbox: long for a mailbox that is
/// read, and short for the process that holds the port.
const ROOM: Duration = Duration::from_secs(1);

/// Where one [`ask`](super::Address::ask) is answered, once: a field of the message.
///
/// It can be kept, moved to another thread, or put into a message to a third process, which then
/// replies in its place. Dropping it without a reply tells the asker so, and so does the death of
/// the process that holds it.
///
/// Sending a value that contains a port passes the port on, be the value a message, a reply or a value
/// of a plain [`Channel`] or [`Queue`](crate::Queue): once the send has succeeded, the port left behind
/// does nothing, and one that was refused leaves it as it was. Any other encoding of a port, as for a log,
/// is an error and leaves it as it was, too, as is the sending of one that was passed on before.
///
/// Nobody knows of a port, and its asker waits until the deadline:
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

/// The part of a port that knows no types.
struct UntypedPort {
    address: PortAddress,
    hold: Hold,
    /// What its home is opened with.
    options: AddressOptions,
}

/// How a port answers; shared with the call that decodes or sends it in this moment.
#[derive(Clone)]
pub(super) struct Hold(Arc<std::sync::Mutex<Route>>);

#[derive(Clone)]
pub(super) enum Route {
    /// Not at all: one that was passed on, or one that has answered.
    None,
    /// Not at all: the asker's own, which says here whether it was sent.
    Asker(Arc<AtomicBool>),
    /// Straight to the asker, from its home.
    Home(Caller),
    /// Through the home; connected with the first use.
    Away(Option<Link>),
}

/// The connection by which a port answers, and which actor at the home was there when it came.
#[derive(Clone)]
pub(super) struct Link {
    relay: Arc<Relay>,
    actor: u64,
}

impl Link {
    pub(super) fn new(relay: Arc<Relay>) -> Self {
        let actor = relay.holding.receiver();
        Link { relay, actor }
    }

    pub(super) fn holding(&self) -> &Holding {
        &self.relay.holding
    }

    /// Sends the home what it is to answer, if the asker is there and the actor that was asked: no other
    /// answers for that one, and the asker knows of its end. Waits for room at most until the deadline.
    fn reply(
        &self,
        address: &PortAddress,
        status: Status,
        bytes: &[u8],
        deadline: Deadline,
    ) -> Result<(), SendError> {
        let holding = self.holding();
        if !holding.is_there(address.origin) || holding.has_ended(self.actor)? {
            return Err(SendError::Disconnected { channel: holding.channel() });
        }
        let bytes = status.cut(bytes, holding.max_value());
        let encode = |out: &mut Writer<'_>| -> Result<(), EncodeError> {
            write_reply(out, address, status)?;
            Ok(out.write(bytes)?)
        };
        let sender = self.relay.sender.lock().unwrap_or_else(PoisonError::into_inner);
        sender.send_as(FORWARDED, REPLY_HEAD, encode, deadline)
    }
}

impl Route {
    /// Whether the asker was killed, as far as this process can tell.
    fn was_killed(&self, asker: Origin) -> bool {
        match self {
            Route::None | Route::Asker(_) | Route::Away(None) => false,
            Route::Home(caller) => caller.was_killed(),
            Route::Away(Some(link)) => link.holding().was_killed(asker),
        }
    }
}

impl Hold {
    fn new(way: Route) -> Self {
        Hold(Arc::new(std::sync::Mutex::new(way)))
    }

    pub(super) fn set(&self, way: Route) {
        drop(self.replace(way));
    }

    fn replace(&self, way: Route) -> Route {
        mem::replace(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner), way)
    }

    fn take(&self) -> Route {
        self.replace(Route::None)
    }

    /// Whether it answers nothing any more, here, and neither can it be passed on.
    fn is_spent(&self) -> bool {
        match self.way() {
            Route::None => true,
            // Relaxed: the asker's own thread writes it.
            Route::Asker(sent) => sent.load(Ordering::Relaxed),
            Route::Home(_) | Route::Away(_) => false,
        }
    }

    fn way(&self) -> Route {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The port came with a reply: it answers by a relay of its own.
    pub(super) fn receive(
        &self,
        address: &PortAddress,
        options: AddressOptions,
        lock_wait: Duration,
    ) {
        // Where it fails, the port tries again when it is used.
        let link = Relay::connect(address.home, options, lock_wait).ok().map(Link::new);
        if let Some(link) = &link {
            link.holding().hold(address.port());
        }
        self.set(Route::Away(link));
    }

    /// The port is another process's, or another thread's, now.
    fn pass_on(&self, address: &PortAddress) {
        match self.take() {
            Route::Away(Some(link)) => link.holding().pass_on(address.port()),
            // Relaxed: the asker's own thread reads it.
            Route::Asker(sent) => sent.store(true, Ordering::Relaxed),
            _ => {}
        }
    }
}

/// The connection of a process to the home of ports that it holds.
pub(super) struct Relay {
    sender: Mutex<Sender<(), Untyped>>,
    /// Which ports it holds; no call waits for the sender to say so.
    holding: Holding,
}

impl Relay {
    pub(super) fn connect(
        home: crate::Handle,
        options: AddressOptions,
        lock_wait: Duration,
    ) -> Result<Arc<Self>, ReplyError> {
        // The asker trusts the home, and this process trusts the sender of the port. Nothing comes
        // back here, so it does not matter how long the home's values may be.
        let channel = Channel::<(), Untyped>::options().any_type().heads(HEADS).max_value(u64::MAX);
        let channel = channel.owner(options.connect.owner).lock_wait(lock_wait);
        let channel = channel.open(home).map_err(|error| match error {
            OpenError::NotFound { name } => ReplyError::Gone { mailbox: Arc::new(name) },
            error => ReplyError::Open(error),
        })?;
        let sender = channel.sender().map_err(|error| match error {
            AttachError::Removed { channel: mailbox } => ReplyError::Gone { mailbox },
            error => ReplyError::Attach(error),
        })?;
        let holding = sender.holding();
        Ok(Arc::new(Relay { sender: Mutex::new(sender), holding }))
    }
}

impl UntypedPort {
    fn new(address: PortAddress, way: Route) -> Self {
        UntypedPort { address, hold: Hold::new(way), options: AddressOptions::of_this_moment() }
    }

    /// Until when the asker waits.
    fn deadline(&self) -> Deadline {
        ClockOffset::of_this_process().read(self.address.until)
    }

    fn passed_on(&self) -> ReplyError {
        ReplyError::PassedOn { mailbox: Arc::new(Name::Handle(self.address.home)) }
    }

    /// How it answers, connected; an error if it does not.
    fn way(&self, lock_wait: Duration) -> Result<Route, ReplyError> {
        let way = match self.hold.way() {
            Route::None | Route::Asker(_) => return Err(self.passed_on()),
            Route::Away(None) => {
                let relay = Relay::connect(self.address.home, self.options, lock_wait)?;
                Route::Away(Some(Link::new(relay)))
            }
            way => return Ok(way),
        };
        self.hold.set(way.clone());
        Ok(way)
    }

    /// Replies with what was encoded; the port has answered then, or is as it was.
    fn reply(&self, bytes: &[u8]) -> Result<(), ReplyError> {
        let way = self.hold.take();
        let sent = match &way {
            Route::None | Route::Asker(_) | Route::Away(None) => return Err(self.passed_on()),
            Route::Home(caller) => reply_at_home(caller, self.address.ask, Status::Reply, bytes),
            Route::Away(Some(link)) => {
                // Before the relay is free: threads that reply by it do not add up their waits.
                let deadline = Deadline::after(ROOM);
                link.reply(&self.address, Status::Reply, bytes, deadline)
            }
        };
        match sent {
            Err(error) if !error.was_sent() => {
                self.hold.set(way);
                Err(error.into())
            }
            // Looked at when the reply has gone, and delays it not.
            _ if way.was_killed(self.address.origin) => Err(self.gone()),
            sent => Ok(sent?),
        }
    }

    fn gone(&self) -> ReplyError {
        ReplyError::Gone { mailbox: Arc::new(Name::Handle(self.address.home)) }
    }

    /// Ends the port with the reason why there is no reply. It waits for no room.
    fn end(&self, status: Status, text: &str) {
        let way = match self.way(BRIEFLY) {
            Ok(way) => way,
            // An asker that cannot be told hears nothing until its deadline.
            Err(_) => return,
        };
        self.hold.set(Route::None);
        match way {
            Route::None | Route::Asker(_) | Route::Away(None) => {}
            // An asker that cannot be told is gone, or does not take its replies.
            Route::Home(caller) => {
                let _ = reply_at_home(&caller, self.address.ask, status, text.as_bytes());
            }
            Route::Away(Some(link)) => {
                // One that was sent is on its way, if its home was woken or not.
                let tell = || link.reply(&self.address, status, text.as_bytes(), Deadline::now());
                let told = status != Status::Dropped
                    && tell().as_ref().map_or_else(Refusal::was_sent, |()| true);
                if !told {
                    // Which takes no room in the home's mailbox.
                    link.holding().drop_port(self.address.port());
                }
            }
        }
    }
}

/// Answers an ask from the process whose mailbox was asked.
pub(super) fn reply_at_home(
    caller: &Caller,
    ask: u64,
    status: Status,
    bytes: &[u8],
) -> Result<(), SendError> {
    let bytes = status.cut(bytes, caller.max_value());
    caller.reply_with(&reply::head(ask, status), bytes)
}

/// Encodes, up to `max` bytes. Encoding is the user's code, which may do anything, also use other
/// ports of the same home: so it runs before any lock is taken.
fn encoded<R, C: Codec<R>>(
    reply: &R,
    max: u64,
    channel: impl FnOnce() -> Arc<Name>,
) -> Result<Encoded, SendError> {
    Encoded::new(max, |out| transfer::encode::<R, C>(reply, out)).map_err(|error| match error {
        NotEncoded::TooLong => SendError::TooLong { channel: channel(), max, option: "max_value" },
        NotEncoded::Failed(error) => SendError::Encode { channel: channel(), error },
    })
}

impl Drop for UntypedPort {
    fn drop(&mut self) {
        self.end(Status::Dropped, "");
    }
}

impl<R, C> ReplyTo<R, C> {
    /// The asker's own, to be sent, which then says so.
    pub(super) fn of_asker(address: PortAddress, sent: Arc<AtomicBool>) -> Self {
        ReplyTo { port: UntypedPort::new(address, Route::Asker(sent)), reply: PhantomData }
    }

    /// One that was decoded, and does nothing yet.
    fn new(address: PortAddress) -> Self {
        ReplyTo { port: UntypedPort::new(address, Route::None), reply: PhantomData }
    }
}

impl<R, C> ReplyTo<R, C> {
    /// Which process asked, as far as the kernel vouches for it; [`Peer`] says how far that is. Takes some
    /// system calls, and reads procfs.
    ///
    /// `None` where the asker is gone, where it is in a pid namespace that this process does not see, where the
    /// port came by way of a plain channel and was not used yet, and of a port that was passed on.
    pub fn asker(&self) -> Option<Peer> {
        let asker = self.port.address.origin;
        match self.port.hold.way() {
            Route::None | Route::Asker(_) | Route::Away(None) => None,
            Route::Home(caller) => caller.peer(),
            Route::Away(Some(link)) => link.holding().peer(asker),
        }
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
                        || holding.has_ended(link.actor).unwrap_or(true)
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
        let port = &self.port;
        let answered = transfer::sending::<R, _, _>(|| {
            let bytes = match port.way(ROOM)? {
                Route::Home(caller) => {
                    encoded::<R, C>(reply, caller.max_value(), || caller.channel())
                }
                Route::Away(Some(link)) => {
                    let holding = link.holding();
                    encoded::<R, C>(reply, holding.max_value(), || holding.channel())
                }
                Route::None | Route::Asker(_) | Route::Away(None) => return Err(port.passed_on()),
            };
            port.reply(&bytes?)
        });
        use ReplyError::{Full, Send, TooLong};
        if let Err(error @ (TooLong { .. } | Send(_) | Full { .. })) = &answered
            && !error.was_sent()
        {
            port.end(Status::Unsendable, &error.to_string());
        }
        answered
    }
}

impl<R, C> fmt::Debug for ReplyTo<R, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReplyTo").field("ask", &self.port.address.ask).finish_non_exhaustive()
    }
}

/// Ends a port that came with a message which cannot be decoded.
pub(super) fn drop_port(address: PortAddress, way: Route) {
    drop(UntypedPort::new(address, way));
}

/// Ports that this thread decodes in this moment.
pub(super) type Ports = Vec<(PortAddress, Hold)>;

#[cfg(not(loom))]
use std::thread_local;

#[cfg(loom)]
use loom::thread_local;

thread_local! {
    static COMING: RefCell<Option<Ports>> = RefCell::default();
    static OPTIONS: Cell<AddressOptions> = Cell::default();
}

impl AddressOptions {
    /// What the message is received with that this thread decodes; else the default.
    pub(super) fn of_this_moment() -> Self {
        OPTIONS.with(Cell::get)
    }
}

/// Puts back what an outer call collects, also when this one panics.
struct Restore {
    ports: Option<Ports>,
    options: AddressOptions,
}

impl Drop for Restore {
    fn drop(&mut self) {
        OPTIONS.with(|options| options.set(self.options));
        // Outside of the borrow.
        drop(COMING.with(|coming| coming.replace(self.ports.take())));
    }
}

/// Decodes a message, and says which ports came with it: they do nothing yet. They and the addresses
/// in it have the options of the mailbox or address that it came by.
pub(super) fn decoding<V>(options: AddressOptions, decode: impl FnOnce() -> V) -> (V, Ports) {
    let restore = Restore {
        ports: COMING.with(|coming| coming.replace(Some(Ports::new()))),
        options: OPTIONS.with(|of| of.replace(options)),
    };
    let value = decode();
    let ports = COMING.with(RefCell::take).unwrap_or_default();
    drop(restore);
    (value, ports)
}

impl<R, C> Serialize for ReplyTo<R, C> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (address, hold) = (self.port.address, self.port.hold.clone());
        if hold.is_spent() {
            return Err(ser::Error::custom(
                "this reply port was passed on already: the value that it went with was sent, and it \
                 can be sent with no other",
            ));
        }
        if !transfer::when_sent(move || hold.pass_on(&address)) {
            return Err(ser::Error::custom(
                "a reply port can only be encoded in a value that is being sent, which passes it on",
            ));
        }
        (self.port.address, Shape::<R>::new()).serialize(serializer)
    }
}

impl<'de, R: DeserializeOwned, C> Deserialize<'de> for ReplyTo<R, C> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (address, _) = <(PortAddress, Shape<R>)>::deserialize(deserializer)?;
        let reply = ReplyTo::new(address);
        if transfer::is_tracing() {
            return Ok(reply);
        }
        let hold = reply.port.hold.clone();
        let collected = COMING.with(|coming| match &mut *coming.borrow_mut() {
            Some(ports) => {
                ports.push((address, hold.clone()));
                true
            }
            None => false,
        });
        let later = hold.clone();
        if !collected && !transfer::when_received(move || later.set(Route::Away(None))) {
            hold.set(Route::Away(None));
        }
        Ok(reply)
    }
}
