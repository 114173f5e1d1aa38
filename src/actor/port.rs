//! What all reply ports are: where one ask is answered, wherever the port has travelled.
//!
//! Its home is the mailbox that was asked: the asker's lane is there, and the home's process alone
//! writes to it. A port in that process answers by itself; one in any other tells the home, which
//! passes it on. The home knows who holds a port elsewhere, because the holder says so before the
//! message that brought the port counts as received; so it notices when that one dies.

use std::cell::{Cell, RefCell};
use std::mem;
use std::ops::DerefMut;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use serde::ser::{Error as _, Serializer};

use super::Peer;
use super::error::ReplyError;
use super::options::AddressOptions;
use super::wire::{FORWARDED, HEADS, PortAddress, REPLY_HEAD, write_reply};
use crate::channel::{Caller, Encoded, Holding, NotEncoded, Origin, Parts, Untyped};
use crate::codec::{Codec, EncodeError, Writer};
use crate::control::BRIEFLY;
use crate::error::{OpenError, SendError};
use crate::name::Name;
use crate::service::reply::{self, Status};
use crate::sys::{Deadline, Mutex};
use crate::transfer::Refusal;
use crate::{AttachError, Channel, Sender, transfer};

/// How long a reply waits for its home, and for room in its home's mailbox: long for a mailbox that is
/// read, and short for the process that holds the port.
pub(super) const ROOM: Duration = Duration::from_secs(1);

/// The part of a port that knows no types.
pub(super) struct UntypedPort {
    pub(super) address: PortAddress,
    pub(super) hold: Hold,
    /// What its home is opened with.
    options: AddressOptions,
    /// Why the last part of its stream could not be sent: what the asker is told of a port that is dropped then.
    pub(super) unsendable: Option<String>,
}

/// How a port answers; shared with the call that decodes or sends it in this moment.
#[derive(Clone)]
pub(super) struct Hold(Arc<std::sync::Mutex<Held>>);

struct Held {
    way: Route,
    /// Its home, where it is known by more than its handle.
    mailbox: Option<Arc<Name>>,
    /// Whether it takes a stream of replies.
    is_stream: bool,
}

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

    /// Whether the actor is gone that was there, as far as is known.
    pub(super) fn has_ended(&self) -> bool {
        self.holding().has_ended(self.actor).unwrap_or(true)
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
        let sender = self.relay.sender();
        self.send(&sender, address, status, bytes, deadline)
    }

    fn send(
        &self,
        sender: &Sender<(), Untyped>,
        address: &PortAddress,
        status: Status,
        bytes: &[u8],
        deadline: Deadline,
    ) -> Result<(), SendError> {
        let bytes = status.cut(bytes, self.holding().max_value());
        let encode = |out: &mut Writer<'_>| -> Result<(), EncodeError> {
            write_reply(out, address, status)?;
            Ok(out.write(bytes)?)
        };
        sender.send_as(FORWARDED, REPLY_HEAD, encode, deadline)
    }

    /// Sends the home a part of a stream, and waits until then for the asker to take others. The relay is the
    /// port's own: no other port waits for it.
    pub(super) fn part(
        &self,
        address: &PortAddress,
        parts: &mut Parts,
        bytes: &[u8],
        until: Deadline,
    ) -> Result<(), SendError> {
        let sender = self.relay.sender();
        let send = || {
            if self.holding().has_ended(self.actor)? {
                return Err(SendError::Disconnected { channel: self.holding().channel() });
            }
            let room_by = until.earlier(Deadline::after(ROOM));
            self.send(&sender, address, Status::Part, bytes, room_by)
        };
        sender.send_part_to(address.origin, self.actor, parts, bytes.len(), until, send)
    }
}

impl Route {
    /// How errors name the home, where this knows.
    fn mailbox(&self) -> Option<Arc<Name>> {
        match self {
            Route::None | Route::Asker(_) | Route::Away(None) => None,
            Route::Home(caller) => Some(caller.channel()),
            Route::Away(Some(link)) => Some(link.holding().channel()),
        }
    }

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
    fn new(way: Route, mailbox: Option<Arc<Name>>, is_stream: bool) -> Self {
        Hold(Arc::new(std::sync::Mutex::new(Held { way, mailbox, is_stream })))
    }

    fn held(&self) -> impl DerefMut<Target = Held> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the port takes a stream of replies.
    pub(super) fn is_stream(&self) -> bool {
        self.held().is_stream
    }

    pub(super) fn set(&self, way: Route) {
        drop(self.replace(way));
    }

    fn replace(&self, way: Route) -> Route {
        let mut held = self.held();
        if let Some(mailbox) = way.mailbox() {
            held.mailbox = Some(mailbox);
        }
        mem::replace(&mut held.way, way)
    }

    fn take(&self) -> Route {
        self.replace(Route::None)
    }

    /// Whether it answers nothing any more, here, and neither can it be passed on.
    pub(super) fn is_spent(&self) -> bool {
        match self.way() {
            Route::None => true,
            // Relaxed: the asker's own thread writes it.
            Route::Asker(sent) => sent.load(Ordering::Relaxed),
            Route::Home(_) | Route::Away(_) => false,
        }
    }

    pub(super) fn way(&self) -> Route {
        self.held().way.clone()
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
    pub(super) fn pass_on(&self, address: &PortAddress) {
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
        let sender = channel.called_as_created().sender().map_err(|error| match error {
            AttachError::Removed { channel: mailbox } => ReplyError::Gone { mailbox },
            error => ReplyError::Attach(error),
        })?;
        let holding = sender.holding();
        Ok(Arc::new(Relay { sender: Mutex::new(sender), holding }))
    }

    fn sender(&self) -> impl DerefMut<Target = Sender<(), Untyped>> {
        self.sender.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl UntypedPort {
    fn new(address: PortAddress, hold: Hold) -> Self {
        UntypedPort { address, hold, options: AddressOptions::of_this_moment(), unsendable: None }
    }

    /// The asker's own, to be sent, which then says so.
    pub(super) fn of_asker(
        address: PortAddress,
        sent: Arc<AtomicBool>,
        mailbox: Arc<Name>,
        is_stream: bool,
    ) -> Self {
        UntypedPort::new(address, Hold::new(Route::Asker(sent), Some(mailbox), is_stream))
    }

    /// One that was decoded, and does nothing yet.
    fn decoded(address: PortAddress, is_stream: bool) -> Self {
        UntypedPort::new(address, Hold::new(Route::None, None, is_stream))
    }

    /// Until when the asker waits.
    pub(super) fn deadline(&self) -> Deadline {
        self.address.deadline()
    }

    /// How errors name the mailbox that was asked.
    fn mailbox(&self) -> Arc<Name> {
        let known = self.hold.held().mailbox.clone();
        known.unwrap_or_else(|| Arc::new(Name::Handle(self.address.home)))
    }

    pub(super) fn passed_on(&self) -> ReplyError {
        ReplyError::PassedOn { mailbox: self.mailbox() }
    }

    /// How it answers, connected; an error if it does not.
    pub(super) fn way(&self, lock_wait: Duration) -> Result<Route, ReplyError> {
        let way = match self.hold.way() {
            Route::None | Route::Asker(_) => return Err(self.passed_on()),
            Route::Away(None) => {
                let link = Link::new(Relay::connect(self.address.home, self.options, lock_wait)?);
                if self.hold.is_stream() {
                    // The asker rings the one that holds the port.
                    link.holding().hold(self.address.port());
                }
                Route::Away(Some(link))
            }
            way => return Ok(way),
        };
        self.hold.set(way.clone());
        Ok(way)
    }

    /// Replies with what was encoded, or ends a stream; the port has answered then, or is as it was.
    fn answer(&self, status: Status, bytes: &[u8]) -> Result<(), ReplyError> {
        let way = self.hold.take();
        let sent = match &way {
            Route::None | Route::Asker(_) | Route::Away(None) => return Err(self.passed_on()),
            Route::Home(caller) => reply_at_home(caller, self.address.ask, status, bytes),
            Route::Away(Some(link)) => {
                // Before the relay is free: threads that reply by it do not add up their waits.
                let deadline = Deadline::after(ROOM);
                link.reply(&self.address, status, bytes, deadline)
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

    pub(super) fn gone(&self) -> ReplyError {
        ReplyError::Gone { mailbox: self.mailbox() }
    }

    /// Encodes a reply or a part, for the way that it goes by.
    pub(super) fn encode<R, C: Codec<R>>(
        &self,
        reply: &R,
        way: &Route,
    ) -> Result<Encoded, ReplyError> {
        Ok(match way {
            Route::Home(caller) => encoded::<R, C>(reply, caller.max_value(), || caller.channel()),
            Route::Away(Some(link)) => {
                let holding = link.holding();
                encoded::<R, C>(reply, holding.max_value(), || holding.channel())
            }
            Route::None | Route::Asker(_) | Route::Away(None) => return Err(self.passed_on()),
        }?)
    }

    /// Replies; an asker whose reply cannot be sent is told why.
    pub(super) fn reply<R, C: Codec<R>>(&self, reply: &R) -> Result<(), ReplyError> {
        let answered = transfer::sending::<R, _, _>(|| {
            let bytes = self.encode::<R, C>(reply, &self.way(ROOM)?)?;
            self.answer(Status::Reply, &bytes)
        });
        self.told(answered)
    }

    /// Ends a stream without a reply.
    pub(super) fn finish(&self) -> Result<(), ReplyError> {
        let ended = self.way(ROOM).and_then(|_| self.answer(Status::End, &[]));
        self.told(ended)
    }

    /// What became of a reply, of which the asker is told.
    pub(super) fn told(&self, answered: Result<(), ReplyError>) -> Result<(), ReplyError> {
        use ReplyError::{Full, Send, TooLong};
        if let Err(error @ (TooLong { .. } | Send(_) | Full { .. })) = &answered
            && !error.was_sent()
        {
            self.end(Status::Unsendable, &error.to_string());
        }
        answered
    }

    /// Which process asked.
    pub(super) fn asker(&self) -> Option<Peer> {
        match self.hold.way() {
            Route::None | Route::Asker(_) | Route::Away(None) => None,
            Route::Home(caller) => caller.peer(),
            Route::Away(Some(link)) => link.holding().peer(self.address.origin),
        }
    }

    /// What goes into the value that the port is sent in.
    pub(super) fn encoded<S: Serializer>(&self) -> Result<PortAddress, S::Error> {
        let (address, hold) = (self.address, self.hold.clone());
        if hold.is_spent() {
            return Err(S::Error::custom(
                "this reply port was passed on already: the value that it went with was sent, and it \
                 can be sent with no other",
            ));
        }
        if !transfer::when_sent(move || hold.pass_on(&address)) {
            return Err(S::Error::custom(
                "a reply port can only be encoded in a value that is being sent, which passes it on",
            ));
        }
        Ok(address)
    }

    /// A port that came in a value; the call that decodes it says how it answers.
    pub(super) fn came(address: PortAddress, is_stream: bool) -> Self {
        let port = UntypedPort::decoded(address, is_stream);
        if transfer::is_tracing() {
            return port;
        }
        let hold = port.hold.clone();
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
        port
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
        match self.unsendable.take() {
            Some(why) => self.end(Status::Unsendable, &why),
            None => self.end(Status::Dropped, ""),
        }
    }
}

/// Ends a port that came with a message which cannot be decoded.
pub(super) fn drop_port(address: PortAddress, way: Route) {
    drop(UntypedPort::new(address, Hold::new(way, None, false)));
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
