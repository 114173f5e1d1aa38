//! The side that receives.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;
use std::sync::{Arc, Weak};
use std::time::Duration;

use super::address::Address;
use super::error::BindError;
use super::reply::{self, Hold, Relay, Way, answer_at_home};
use super::wire::{self, Errand, Head, ORDINARY, Status, Ticket, URGENT, Untyped};
use crate::channel::Origin;
use crate::codec::{Codec, DecodeError, Reader, Writer};
use crate::error::{AttachError, OpenError, RecvError};
use crate::name::{Handle, Name};
use crate::sys::{Deadline, Fault, fault};
use crate::{Channel, Closing, DefaultCodec, Options, Owner, Receiver, Select, panics};

/// How often a name may appear or vanish between looking and making.
const ATTEMPTS: usize = 100;

/// What a mailbox is bound with.
///
/// ```
/// use sysv_channel::actor::{Mailbox, MailboxOptions};
///
/// # let name = format!("doc-options-actor-{}", std::process::id());
/// # let name = name.as_str();
/// let mailbox: Mailbox<String> = MailboxOptions::new().addresses(1000).bind(name)?;
/// # Ok::<(), sysv_channel::actor::BindError>(())
/// ```
#[derive(Debug, Clone)]
pub struct MailboxOptions {
    addresses: usize,
    inline_limit: usize,
    capacity: usize,
    reply_capacity: usize,
    max_value: u64,
    mode: u32,
    owner: Owner,
    spin: Option<Duration>,
}

impl Default for MailboxOptions {
    fn default() -> Self {
        MailboxOptions::new()
    }
}

impl MailboxOptions {
    /// The defaults that each method names.
    pub fn new() -> Self {
        MailboxOptions {
            addresses: 256,
            inline_limit: 1024,
            capacity: 64 << 10,
            reply_capacity: 64 << 10,
            max_value: 64 << 20,
            mode: 0o600,
            owner: Owner::Myself,
            spin: None,
        }
    }

    /// How many addresses, watches and processes that hold forwarded reply ports can be connected
    /// at one time, 1 to 4,096; default 256.
    pub fn addresses(mut self, addresses: usize) -> Self {
        self.addresses = addresses;
        self
    }

    /// The longest encoded message, in bytes, that waits in the kernel's queue; longer ones wait in
    /// a ring of their sender's; default 1,024. See [`Options::inline_limit`]; at least 1 here.
    pub fn inline_limit(mut self, bytes: usize) -> Self {
        self.inline_limit = bytes.max(1);
        self
    }

    /// The size of each address's ring of longer messages, in bytes; default 64 KiB.
    pub fn capacity(mut self, bytes: usize) -> Self {
        self.capacity = bytes;
        self
    }

    /// The size of each address's ring of replies, in bytes; default 64 KiB. Longer replies go in
    /// fragments, while the actor receives.
    pub fn reply_capacity(mut self, bytes: usize) -> Self {
        self.reply_capacity = bytes;
        self
    }

    /// The longest encoded message or reply, in bytes; default 64 MiB.
    pub fn max_value(mut self, bytes: u64) -> Self {
        self.max_value = bytes;
        self
    }

    /// The permission bits; default 0600. See [`Options::mode`].
    pub fn mode(mut self, mode: u32) -> Self {
        self.mode = mode;
        self
    }

    /// Whose channels may be taken over; default [`Owner::Myself`].
    pub fn owner(mut self, owner: Owner) -> Self {
        self.owner = owner;
        self
    }

    /// How long the actor looks for messages before it sleeps. See [`Options::spin`].
    pub fn spin(mut self, time: Duration) -> Self {
        self.spin = Some(time);
        self
    }

    /// Binds a mailbox to a name. One whose last actor ended is taken over with the messages that
    /// wait there.
    ///
    /// # Errors
    /// [`BindError::AlreadyBound`] if there is an actor; [`BindError`] otherwise.
    pub fn bind<M, C: Codec<M>>(&self, name: impl Into<Name>) -> Result<Mailbox<M, C>, BindError> {
        self.bind_by(name.into(), Deadline::immediate())
    }

    /// Waits until the mailbox has no actor, `timeout` at most, and then is its actor: in the very
    /// moment in which the other one dies, with the messages that it had not received.
    ///
    /// # Errors
    /// [`BindError::Timeout`] if the other actor is there all the time; [`BindError`] otherwise.
    pub fn stand_by<M, C: Codec<M>>(
        &self,
        name: impl Into<Name>,
        timeout: Duration,
    ) -> Result<Mailbox<M, C>, BindError> {
        match self.bind_by(name.into(), Deadline::after(timeout)) {
            Err(BindError::AlreadyBound { .. }) => Err(BindError::Timeout),
            bound => bound,
        }
    }

    /// Makes a mailbox without a name, which only those find who are given its
    /// [`address`](Mailbox::address). It goes with its last user, messages included.
    ///
    /// # Errors
    /// [`BindError`].
    pub fn private<M, C: Codec<M>>(&self) -> Result<Mailbox<M, C>, BindError> {
        let channel = self.channel::<M, C>().private()?;
        let name = Name::Handle(channel.handle());
        let receiver = channel.retyped().receiver().map_err(BindError::Attach)?;
        Ok(Mailbox::new(name, receiver))
    }

    fn bind_by<M, C: Codec<M>>(
        &self,
        name: Name,
        deadline: Deadline,
    ) -> Result<Mailbox<M, C>, BindError> {
        let options = self.channel::<M, C>();
        for _ in 0..ATTEMPTS {
            let channel = match options.create(name.clone()) {
                Err(OpenError::AlreadyExists { .. }) => match options.open(name.clone()) {
                    Err(OpenError::NotFound { .. }) => continue,
                    channel => channel?,
                },
                channel => channel?,
            };
            match channel.retyped().receiver_by(deadline) {
                Ok(receiver) => return Ok(Mailbox::new(name, receiver)),
                Err(AttachError::ReceiverExists { pid, .. }) => {
                    return Err(BindError::AlreadyBound { pid });
                }
                // Its last user removed it meanwhile.
                Err(AttachError::Removed { .. }) => {}
                Err(error) => return Err(BindError::Attach(error)),
            }
        }
        Err(BindError::Open(OpenError::NotFound { name }))
    }

    fn channel<M, C: Codec<M>>(&self) -> Options<M, C> {
        let options = Channel::<M, C>::options()
            .inline_limit(self.inline_limit)
            .lanes(self.addresses)
            .capacity(self.capacity)
            .return_capacity(self.reply_capacity)
            .max_value(self.max_value)
            .mode(self.mode)
            .owner(self.owner)
            .schema(wire::schema::<M, C>());
        match self.spin {
            Some(time) => options.spin(time),
            None => options,
        }
    }
}

/// Where an actor gets its messages; there is one actor at a time.
///
/// Messages told [urgently](Address::tell_urgent) come first, and those of one address in the order
/// in which they were told. What the actor had not received when it died waits for the next one to
/// [`bind`](Mailbox::bind) the name.
///
/// Replies that were forwarded to other processes come by here: they go on to the askers, and their
/// holders' deaths are noticed, while the actor receives.
///
/// ```
/// use serde::{Deserialize, Serialize};
/// use sysv_channel::actor::{Address, Mailbox};
///
/// #[derive(Serialize, Deserialize, Debug, PartialEq)]
/// enum Light { On, Off }
///
/// # let name = format!("doc-mailbox-{}", std::process::id());
/// # let name = name.as_str();
/// let mailbox = Mailbox::<Light>::bind(name)?;
/// let light = Address::<Light>::connect(name)?;
/// light.tell(&Light::On)?;
/// light.tell_urgent(&Light::Off)?;
/// assert_eq!(mailbox.recv()?, Some(Light::Off));
/// assert_eq!(mailbox.recv()?, Some(Light::On));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Mailbox<M, C = DefaultCodec> {
    name: Name,
    home: Handle,
    receiver: Receiver<(), Untyped>,
    /// The ports that other processes hold, by the asker's lane: an asker asks one thing at a time.
    held: RefCell<BTreeMap<usize, Held>>,
    /// The homes of ports that this process holds.
    relays: RefCell<Vec<(Handle, Weak<Relay>)>>,
    message: PhantomData<fn(C) -> M>,
}

/// A port that another process holds.
struct Held {
    generation: u64,
    ask: u64,
    holder: Origin,
}

/// What was received.
enum Received<M> {
    Told { ask: u64, message: Result<M, DecodeError> },
    Errand(Errand),
}

impl<M, C: Codec<M>> Mailbox<M, C> {
    /// Binds a mailbox to a name, with default [`MailboxOptions`].
    ///
    /// # Errors
    /// [`BindError`].
    pub fn bind(name: impl Into<Name>) -> Result<Self, BindError> {
        MailboxOptions::new().bind(name)
    }

    /// Makes a mailbox without a name, with default [`MailboxOptions`]: its
    /// [`address`](Mailbox::address) travels in messages.
    ///
    /// # Errors
    /// [`BindError`].
    pub fn private() -> Result<Self, BindError> {
        MailboxOptions::new().private()
    }

    fn new(name: Name, receiver: Receiver<(), Untyped>) -> Self {
        Mailbox {
            name,
            home: receiver.channel().handle(),
            receiver: receiver.staying(),
            held: RefCell::default(),
            relays: RefCell::default(),
            message: PhantomData,
        }
    }

    /// The mailbox's address, to be used here or sent to others.
    pub fn address(&self) -> Address<M, C> {
        Address::of(self.name.clone())
    }

    /// The next message, and waits until there is one; `None` when the mailbox was
    /// [closed](Mailbox::closer).
    ///
    /// # Errors
    /// [`RecvError`]; after [`RecvError::Decode`] and [`RecvError::Corrupt`], which consumed
    /// something that was no message, the next call goes on with the next. One that panics while it
    /// is decoded is none; whoever asked with it is told.
    pub fn recv(&self) -> Result<Option<M>, RecvError> {
        self.receive(Some(Deadline::never()))
    }

    /// The next message, if there is one now.
    ///
    /// # Errors
    /// As [`recv`](Mailbox::recv).
    pub fn try_recv(&self) -> Result<Option<M>, RecvError> {
        self.receive(None)
    }

    /// The next message, if one comes within `timeout`.
    ///
    /// # Errors
    /// As [`recv`](Mailbox::recv).
    pub fn recv_timeout(&self, timeout: Duration) -> Result<Option<M>, RecvError> {
        self.receive(Some(Deadline::after(timeout)))
    }

    fn receive(&self, deadline: Option<Deadline>) -> Result<Option<M>, RecvError> {
        loop {
            if self.receiver.is_closed() {
                return Ok(None);
            }
            let lost = self.lost();
            let received = if lost.is_empty() {
                let watching = !self.held.borrow().is_empty();
                self.take(Select::UpTo(ORDINARY), deadline, watching)
            } else {
                // What a holder said before it went is urgent: it is here now or never comes.
                self.take(Select::UpTo(URGENT), Some(Deadline::immediate()), false)
            };
            match received {
                Ok(Some(message)) => return Ok(Some(message)),
                Ok(None) => {}
                Err(RecvError::Timeout { .. }) if !lost.is_empty() => self.give_up(&lost),
                Err(RecvError::Timeout { .. }) if deadline.is_some_and(|it| !it.has_passed()) => {}
                Err(RecvError::Empty { .. } | RecvError::Timeout { .. }) => return Ok(None),
                Err(RecvError::Disconnected { .. }) if self.receiver.is_closed() => {
                    return Ok(None);
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Receives a message, or `None` where it was for the mailbox itself.
    fn take(
        &self,
        select: Select,
        deadline: Option<Deadline>,
        watching: bool,
    ) -> Result<Option<M>, RecvError> {
        let ports = RefCell::new(Vec::<(Ticket, Hold, Way)>::new());
        let make = |mut reader: Reader<'_>, from| -> Result<_, DecodeError> {
            // A long message may be taken back by its sender while it is decoded, ports and all.
            for (ticket, _, way) in ports.borrow_mut().drain(..) {
                if let Way::Away(Some(relay)) = way {
                    relay.pass_on(&ticket);
                }
            }
            let ask = match Head::read(&mut reader)? {
                Head::Told { ask } => ask,
                Head::Errand(errand) => return Ok((Received::Errand(errand), from)),
            };
            let (message, came) = reply::decoding(|| panics::decoding(|| C::decode(reader)));
            for (ticket, hold) in came {
                ports.borrow_mut().push((ticket, hold, self.way(&ticket)));
            }
            Ok((Received::Told { ask, message }, from))
        };
        let received = self.receiver.receive_selected(select, deadline, watching, make);
        let (received, from) = received?;
        match received {
            Received::Errand(errand) => {
                self.run(errand, from);
                Ok(None)
            }
            Received::Told { message: Ok(message), .. } => {
                ports.into_inner().into_iter().for_each(|(_, hold, way)| hold.set(way));
                Ok(Some(message))
            }
            Received::Told { ask, message: Err(error) } => {
                if ask != 0 {
                    self.answer(from, ask, Status::Unreadable, error.to_string().as_bytes());
                }
                ports.into_inner().into_iter().for_each(|(ticket, _, way)| {
                    reply::drop_port(ticket, way);
                });
                Err(self.receiver.undecodable(error))
            }
        }
    }

    /// How a port that has just come answers. Its home is told who holds it before the message
    /// counts as received, so that a holder's death is always somebody's to notice.
    fn way(&self, ticket: &Ticket) -> Way {
        if ticket.home == self.home {
            return Way::Home(self.receiver.caller(ticket.origin));
        }
        let relay = self.relay(ticket.home);
        if let Some(relay) = &relay {
            relay.hold(ticket);
            point!("port.held");
        }
        Way::Away(relay)
    }

    fn relay(&self, home: Handle) -> Option<Arc<Relay>> {
        let mut relays = self.relays.borrow_mut();
        relays.retain(|(_, relay)| relay.strong_count() > 0);
        let known = relays.iter().find(|(of, _)| *of == home);
        if let Some(relay) = known.and_then(|(_, relay)| relay.upgrade()) {
            return Some(relay);
        }
        // Where it fails, the port tries again when it is used.
        let relay = Relay::connect(home).ok()?;
        relays.push((home, Arc::downgrade(&relay)));
        Some(relay)
    }

    fn answer(&self, to: Origin, ask: u64, status: Status, bytes: &[u8]) {
        let caller = self.receiver.caller(to);
        // An asker that is gone, or does not take its answers, has itself to blame.
        let _ = answer_at_home(&caller, ask, status, &|out: &mut Writer<'_>| Ok(out.write(bytes)?));
    }

    /// Does what a message asks of the mailbox itself.
    fn run(&self, errand: Errand, from: Origin) {
        let mut held = self.held.borrow_mut();
        match errand {
            Errand::Reply { origin, ask, status, bytes } => {
                let is_it = |held: &Held| (held.generation, held.ask) == (origin.generation, ask);
                if held.get(&origin.lane).is_some_and(is_it) {
                    held.remove(&origin.lane);
                }
                self.answer(origin, ask, status, &bytes);
            }
            Errand::Held { origin, ask } => {
                let Origin { lane, generation } = origin;
                if !self.receiver.caller(origin).is_there() {
                    return;
                }
                let newer = |held: &Held| held.generation == generation && held.ask > ask;
                if !held.get(&lane).is_some_and(newer) {
                    held.insert(lane, Held { generation, ask, holder: from });
                }
            }
            Errand::PassedOn { origin, ask } => {
                let is_it = |held: &Held| {
                    (held.generation, held.ask, held.holder) == (origin.generation, ask, from)
                };
                if held.get(&origin.lane).is_some_and(is_it) {
                    held.remove(&origin.lane);
                }
            }
        }
    }

    /// The ports whose holders are gone; those whose askers are gone are forgotten.
    fn lost(&self) -> Vec<usize> {
        let mut held = self.held.borrow_mut();
        if held.is_empty() || fault(Fault::HolderNotWatched) {
            return Vec::new();
        }
        held.retain(|&lane, held| {
            self.receiver.caller(Origin { lane, generation: held.generation }).is_there()
        });
        let gone = held.iter().filter(|(_, held)| !self.receiver.is_attached(held.holder));
        gone.map(|(&lane, _)| lane).collect()
    }

    /// Tells the askers whose ports were lost.
    fn give_up(&self, lost: &[usize]) {
        for &lane in lost {
            let Some(held) = self.held.borrow_mut().remove(&lane) else { continue };
            let asker = Origin { lane, generation: held.generation };
            self.answer(asker, held.ask, Status::Dropped, &[]);
        }
    }

    /// What closes the mailbox from another thread.
    pub fn closer(&self) -> Closer {
        Closer { closing: self.receiver.closing() }
    }
}

impl<M, C> fmt::Debug for Mailbox<M, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mailbox").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Closes a [`Mailbox`] from another thread of its process.
#[derive(Clone)]
pub struct Closer {
    closing: Closing,
}

impl Closer {
    /// Ends the actor's call as soon as it has nothing in hand. Messages that it has not received
    /// stay for the next actor.
    pub fn close(&self) {
        self.closing.close();
    }
}

impl fmt::Debug for Closer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Closer").finish_non_exhaustive()
    }
}
