//! The side that receives.

mod options;

pub use options::MailboxOptions;

use std::cell::{Cell, RefCell};
use std::fmt;
use std::future::poll_fn;
use std::marker::PhantomData;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};
use std::thread;
use std::time::Duration;

use super::address::Address;
use super::ends::{WatchGuard, Watches};
use super::error::ReplyError;
use super::options::AddressOptions;
use super::port::{self, Hold, Link, Relay, Route, reply_at_home};
use super::wire::{FORWARDED, Forwarded, Head, ORDINARY, PortAddress};
use super::{BindError, Closer};
#[cfg(not(loom))]
use crate::Readiness;
use crate::channel::{LostPort, Origin, PortId, Untyped, WakeOn, Whereabouts};
use crate::codec::{Codec, DecodeError, Reader};
use crate::control::BRIEFLY;
use crate::error::{OpenError, RecvError, SendError};
use crate::name::{Handle, Name};
use crate::service::reply::Status;
use crate::sys::{Deadline, Fault, fault};
use crate::wait_set::Waits;
use crate::{DefaultCodec, Receiver, Select, Sender, panics};

/// How many things of the mailbox's own, replies to pass on and ports to give up, a call looks after
/// before its deadline counts: more than stand in a queue, since a message may stand behind them.
const ERRANDS_BEFORE_DEADLINE: usize = 10_000;

/// How long a mailbox that is dropped waits until askers have taken their replies, and a stream goes on whose
/// mailbox was closed.
const LAST_REPLIES: Duration = Duration::from_secs(1);

/// How long no other home of a port is waited for, once one was in vain.
const HASTY: Duration = Duration::from_secs(1);

/// Where an actor gets its messages; there is one actor at a time.
///
/// Messages told [urgently](Address::tell_urgent) come first, and those of one address in the order
/// in which they were told. What the actor had not received when it died waits for the next one to
/// [`bind`](Mailbox::bind) the name.
///
/// Replies that were forwarded to other processes come by here: they go on to the askers, and their
/// holders' deaths are noticed, while the actor receives.
///
/// One that is dropped waits for a second at most while askers take replies that were too long for their
/// rings.
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
    /// What the homes of ports and the mailboxes of addresses are opened with that come here.
    options: AddressOptions,
    /// The askers' lanes whose ports other processes hold: an asker asks one thing at a time.
    held: RefCell<Vec<usize>>,
    /// How often holders had said something when these were last looked for.
    told: Cell<u64>,
    /// The homes of ports that this process holds.
    relays: RefCell<Vec<(Handle, Weak<Relay>)>>,
    /// Until when no home is waited for, since one was in vain.
    hasty_until: Cell<Deadline>,
    /// The actors whose end it is told of.
    watches: Watches<M>,
    /// What it does before it is dropped: dropping knows no codec.
    end: fn(&Self),
    message: PhantomData<fn(C) -> M>,
}

/// A port that came with a message.
struct Came {
    address: PortAddress,
    hold: Hold,
    way: Route,
    /// What its home is told if the message is taken back.
    before: Option<u64>,
}

/// What was received.
enum Received<M> {
    Told { ask: u64, message: Result<M, DecodeError> },
    Reply(Forwarded),
}

impl<M, C: Codec<M>> Mailbox<M, C> {
    /// Binds a mailbox to a name, with default [`MailboxOptions`].
    ///
    /// # Errors
    /// As [`MailboxOptions::bind`].
    pub fn bind(name: impl Into<Name>) -> Result<Self, BindError> {
        MailboxOptions::new().bind(name)
    }

    /// Makes a mailbox without a name, with default [`MailboxOptions`]: its
    /// [`address`](Mailbox::address) travels in messages.
    ///
    /// # Errors
    /// As [`MailboxOptions::private`].
    pub fn private() -> Result<Self, BindError> {
        MailboxOptions::new().private()
    }

    fn new(name: Name, receiver: Receiver<(), Untyped>, options: AddressOptions) -> Self {
        Mailbox {
            name,
            home: receiver.channel().handle(),
            receiver: receiver.of_service().drained_for(LAST_REPLIES),
            options,
            held: RefCell::default(),
            told: Cell::new(0),
            relays: RefCell::default(),
            hasty_until: Cell::new(Deadline::now()),
            watches: Watches::new(),
            end: Self::receive_last,
            message: PhantomData,
        }
    }

    /// The mailbox's address, to be used here or sent to others.
    pub fn address(&self) -> Address<M, C> {
        Address::of(self.name.clone(), self.options)
    }

    /// The next message, and waits until there is one; `None` when the mailbox was
    /// [closed](Mailbox::closer).
    ///
    /// # Errors
    /// [`RecvError::Removed`] if the mailbox was removed; [`RecvError`] otherwise. After
    /// [`RecvError::Decode`] and [`RecvError::Corrupt`], which consumed something that was no message,
    /// the next call goes on with the next. One that panics while it is decoded is none; the asker of
    /// such a message is told.
    pub fn recv(&self) -> Result<Option<M>, RecvError> {
        self.receive(Deadline::never())
    }

    /// The next message, if there is one now; `None` when the mailbox was closed.
    ///
    /// # Errors
    /// [`RecvError::Empty`] if there is none; else as [`recv`](Mailbox::recv).
    pub fn try_recv(&self) -> Result<Option<M>, RecvError> {
        self.receive(Deadline::now())
    }

    /// The next message, and has the task wait until there is one, under any executor; `None` when the
    /// mailbox was closed. A future that is dropped has taken no message. See
    /// [`Receiver::recv_async`](crate::Receiver::recv_async) for what it costs.
    ///
    /// # Errors
    /// As [`recv`](Mailbox::recv).
    // NB: mutable, so that the future can go to another thread.
    pub async fn recv_async(&mut self) -> Result<Option<M>, RecvError> {
        poll_fn(move |context| {
            let receive = || match self.try_recv() {
                Err(RecvError::Empty { .. }) => Ok(None),
                received => received.map(Some),
            };
            self.receiver.poll_call(context, receive)
        })
        .await
    }

    /// The next message, if one comes within `timeout`; `None` when the mailbox was closed.
    ///
    /// ```
    /// use std::time::Duration;
    /// use sysv_channel::actor::Mailbox;
    ///
    /// # let name = format!("doc-tick-{}", std::process::id());
    /// # let name = name.as_str();
    /// let mailbox = Mailbox::<u32>::bind(name)?;
    /// mailbox.address().tell(&7)?;
    /// loop {
    ///     match mailbox.recv_timeout(Duration::from_millis(100)) {
    ///         Ok(Some(number)) => {
    ///             println!("{number}");
    /// #           mailbox.closer().close();
    ///         }
    ///         Ok(None) => break,                          // closed
    ///         Err(error) if error.is_timeout() => {}      // a tick
    ///         Err(error) => return Err(error.into()),
    ///     }
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`RecvError::Timeout`] if none does; else as [`recv`](Mailbox::recv).
    pub fn recv_timeout(&self, timeout: Duration) -> Result<Option<M>, RecvError> {
        self.receive(Deadline::after(timeout))
    }

    /// Whether the mailbox was [closed](Mailbox::closer).
    pub fn is_closed(&self) -> bool {
        self.receiver.is_closed()
    }

    fn receive(&self, deadline: Deadline) -> Result<Option<M>, RecvError> {
        let mut errands = 0;
        loop {
            if self.receiver.is_closed() {
                return Ok(None);
            }
            if errands > ERRANDS_BEFORE_DEADLINE && deadline.has_passed() {
                return Err(self.receiver.nothing_came(deadline));
            }
            errands += 1;
            let nudges = self.receiver.nudges();
            self.watches.look(nudges, || self.receiver.len().unwrap_or(0));
            if let Some(end) = self.watches.next(false) {
                return end.map(Some);
            }
            let (told, lost) = self.lost();
            let ended = self.watches.some_ended();
            let now = Deadline::after(Duration::ZERO);
            let received = if !lost.is_empty() {
                // What a holder said before it went is here now or never comes.
                let wake_on = WakeOn { told, nudges, any_wakeup: false };
                self.take(Select::Exactly(FORWARDED), now, wake_on, |_| true)
            } else {
                let any_wakeup = !self.held.borrow().is_empty();
                let wake_on = WakeOn { told, nudges, any_wakeup };
                // So is what an actor told that has ended.
                let until = if ended { now } else { deadline };
                self.take(Select::UpTo(ORDINARY), until, wake_on, |_| true)
            };
            match received {
                Ok(Some(message)) => return Ok(Some(message)),
                Ok(None) => {}
                Err(RecvError::Timeout { .. }) if !lost.is_empty() => self.give_up(lost),
                Err(RecvError::Timeout { .. }) if ended => {
                    // What else may have ended the call says so; else the mailbox is empty.
                    let empty =
                        (self.receiver.nudges(), self.receiver.holder_changes()) == (nudges, told);
                    if let Some(end) = self.watches.next(empty) {
                        return end.map(Some);
                    }
                }
                Err(RecvError::Timeout { .. }) if !deadline.has_passed() => {}
                Err(RecvError::Closed { .. }) => return Ok(None),
                Err(error) => return Err(error),
            }
        }
    }

    /// Receives what is for no later actor: replies on their way to their askers, and all that is
    /// in a private mailbox, so that askers hear of the ports in it that other actors passed on. Those that
    /// asked here see the actor's end. Then it waits for those that take long replies in this moment.
    fn receive_last(&self) {
        let select =
            if self.receiver.is_private() { Select::Any } else { Select::Exactly(FORWARDED) };
        let (told, nudges) = (self.receiver.holder_changes(), self.receiver.nudges());
        let wake_on = WakeOn { told, nudges, any_wakeup: false };
        let is_away = |way: &Route| matches!(way, Route::Away(_));
        // None that comes meanwhile need be seen.
        for _ in 0..self.receiver.len().unwrap_or(0) {
            match self.take(select, Deadline::now(), wake_on, is_away) {
                Ok(message) => drop(message),
                Err(RecvError::Decode { .. } | RecvError::Corrupt { .. }) => {}
                Err(_) => break,
            }
        }
        self.receiver.send_kept(Deadline::after(LAST_REPLIES));
    }

    /// Receives a message, or `None` where it was for the mailbox itself. The ports in it answer where
    /// `replies` says so.
    fn take(
        &self,
        select: Select,
        deadline: Deadline,
        wake_on: WakeOn,
        replies: impl Fn(&Route) -> bool,
    ) -> Result<Option<M>, RecvError> {
        let ports = RefCell::new(Vec::<Came>::new());
        let make = |mut reader: Reader<'_>, tag, from| -> Result<_, DecodeError> {
            // A long message may be taken back by its sender while it is decoded, ports and all.
            self.give_back(ports.take());
            let ask = match Head::read(&mut reader)? {
                Head::Told { ask } => ask,
                Head::Reply(reply) => return Ok((Received::Reply(reply), tag, from)),
            };
            let max = self.receiver.max_value();
            let decode = || match reader.remaining() as u64 {
                len if len > max => Err(DecodeError::new(format!(
                    "the message has {len} bytes, and the mailbox's longest has {max}"
                ))),
                _ => panics::decoding(|| C::decode(reader)),
            };
            let (message, came) = port::decoding(self.options, decode);
            ports
                .borrow_mut()
                .extend(came.into_iter().map(|(address, hold)| self.came(address, hold)));
            Ok((Received::Told { ask, message }, tag, from))
        };
        let received = self.receiver.receive_selected(select, deadline, wake_on, make);
        let (received, tag, from) = received.inspect_err(|_| self.give_back(ports.take()))?;
        if tag == ORDINARY {
            self.watches.received_one();
        }
        match received {
            Received::Reply(reply) => {
                self.forward(reply);
                Ok(None)
            }
            Received::Told { message: Ok(message), .. } => {
                for came in ports.into_inner().into_iter().filter(|came| replies(&came.way)) {
                    came.hold.set(came.way);
                }
                Ok(Some(message))
            }
            Received::Told { ask, message: Err(error) } => {
                if ask != 0 {
                    self.reply(from, ask, Status::Unreadable, error.to_string().as_bytes());
                }
                ports.into_inner().into_iter().for_each(|came| {
                    port::drop_port(came.address, came.way);
                });
                Err(self.receiver.undecodable(error))
            }
        }
    }

    /// How a port that has just come replies. Its home is told who holds it before the message
    /// counts as received, so that a holder's death is always noticed by one of them.
    fn came(&self, address: PortAddress, hold: Hold) -> Came {
        if address.home == self.home {
            let before = self.receiver.take_home(address.port());
            return Came {
                address,
                hold,
                way: Route::Home(self.receiver.caller(address.origin)),
                before,
            };
        }
        let link = self.relay(address.home, hold.is_stream()).map(Link::new);
        let before = link.as_ref().and_then(|link| link.holding().hold(address.port()));
        point!("port.held");
        Came { address, hold, way: Route::Away(link), before }
    }

    /// Undoes what was done about ports that came with a message which its sender took back.
    fn give_back(&self, ports: Vec<Came>) {
        for Came { address, way, before, .. } in ports {
            match (way, before) {
                (Route::Home(_), Some(before)) => self.receiver.give_back(address.port(), before),
                (Route::Away(Some(link)), Some(before)) => {
                    link.holding().give_back(address.port(), before);
                }
                _ => {}
            }
        }
    }

    /// The connection to a home of ports: the port of a stream, which may wait for long, has its `own`.
    fn relay(&self, home: Handle, own: bool) -> Option<Arc<Relay>> {
        let mut relays = self.relays.borrow_mut();
        relays.retain(|(_, relay)| relay.strong_count() > 0);
        let known = relays.iter().find(|(of, _)| *of == home && !own);
        if let Some(relay) = known.and_then(|(_, relay)| relay.upgrade()) {
            return Some(relay);
        }
        // A process that keeps the lock of another channel must not stop this one's receiver.
        let wait = if self.hasty_until.get().has_passed() { BRIEFLY } else { Duration::ZERO };
        match Relay::connect(home, self.options, wait) {
            Ok(relay) => {
                if !own {
                    relays.push((home, Arc::downgrade(&relay)));
                }
                Some(relay)
            }
            // The port tries again when it is used.
            Err(error) => {
                if matches!(error, ReplyError::Open(OpenError::Busy { .. })) {
                    self.hasty_until.set(Deadline::after(HASTY));
                }
                None
            }
        }
    }

    fn reply(&self, to: Origin, ask: u64, status: Status, bytes: &[u8]) {
        let caller = self.receiver.caller(to);
        // An asker that is gone, or does not take its replies, has itself to blame.
        let replied = reply_at_home(&caller, ask, status, bytes);
        if let Err(error) = replied
            && status == Status::Part
        {
            // Nothing is to come behind a part that is missing.
            let why = ReplyError::from(error).to_string();
            let _ = reply_at_home(&caller, ask, Status::Unsendable, why.as_bytes());
        }
    }

    /// Passes a reply on from the process that held the port.
    fn forward(&self, reply: Forwarded) {
        let Forwarded { origin, ask, status, bytes } = reply;
        if status != Status::Part {
            self.receiver.take_home(PortId { lane: origin.lane, ask });
        }
        self.reply(origin, ask, status, &bytes);
    }

    /// The ports that were dropped elsewhere or whose holders are gone, and how often holders had
    /// said something when these were looked at.
    fn lost(&self) -> (u64, Vec<LostPort>) {
        let mut held = self.held.borrow_mut();
        let told = self.receiver.holder_changes();
        if told != self.told.replace(told) {
            *held = self.receiver.lanes_with_holder();
        }
        let mut lost = Vec::new();
        held.retain(|&lane| match self.receiver.whereabouts(lane) {
            Whereabouts::Here => false,
            Whereabouts::Held => true,
            Whereabouts::Lost(port) => {
                lost.push(port);
                true
            }
        });
        if fault(Fault::HolderNotWatched) {
            lost.clear();
        }
        (told, lost)
    }

    /// Tells the askers whose ports were lost.
    fn give_up(&self, lost: Vec<LostPort>) {
        for port in lost {
            if let Some((asker, ask)) = self.receiver.give_up(port) {
                self.reply(asker, ask, Status::Dropped, &[]);
            }
        }
    }

    /// A descriptor that is readable while there is a message: see [`Readiness`](crate::Readiness).
    ///
    /// # Errors
    /// As [`Receiver::readiness`](crate::Receiver::readiness).
    #[cfg(not(loom))]
    pub fn readiness(&self) -> Result<Readiness, RecvError> {
        self.receiver.readiness()
    }

    /// What closes the mailbox from another thread.
    pub fn closer(&self) -> Closer {
        self.receiver.closer()
    }
}

impl<M, C: Codec<M>> Waits for Mailbox<M, C> {
    fn is_ready(&self) -> Result<bool, RecvError> {
        self.watches.look(self.receiver.nudges(), || self.receiver.len().unwrap_or(0));
        Ok(self.is_closed()
            || self.watches.some_ended()
            || !self.lost().1.is_empty()
            || self.receiver.is_ready()?)
    }

    fn poll_ready(&self, context: &mut Context<'_>) -> Poll<Result<(), RecvError>> {
        self.receiver.poll_ready(context, || Waits::is_ready(self))
    }

    fn stop_polling(&self) {
        self.receiver.stop_polling();
    }

    fn spin(&self) -> Duration {
        self.receiver.spin()
    }
}

impl<M, C> Mailbox<M, C> {
    /// Has the end of an actor come here as a message.
    pub(super) fn watch(
        &self,
        sender: Sender<(), Untyped>,
        actor: u64,
        message: impl FnOnce() -> M + Send + 'static,
    ) -> Result<WatchGuard, SendError> {
        self.watches.begin(sender, actor, self.receiver.bell(), Box::new(message))
    }
}

impl<M, C> Drop for Mailbox<M, C> {
    fn drop(&mut self) {
        if !thread::panicking() {
            (self.end)(self);
        }
    }
}

impl<M, C> fmt::Debug for Mailbox<M, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mailbox").field("name", &self.name).finish_non_exhaustive()
    }
}

#[cfg(all(test, not(loom), feature = "bincode"))]
mod tests {
    use super::*;
    use crate::Tag;
    use crate::actor::wire;
    use crate::codec::{Bytes, Raw, Writer};

    #[test]
    fn a_message_longer_than_the_longest_is_told_of_also_where_a_reply_has_a_longer_head() {
        let options = MailboxOptions::new().max_value(1000);
        let mailbox = options.private::<Bytes, Raw>().unwrap();
        let channel = options.channel::<Bytes, Raw>().open(mailbox.home).unwrap();
        let hostile = channel.untyped().sender().unwrap();
        let told = |len: usize| {
            let encode = |out: &mut Writer<'_>| {
                out.write(&wire::told(0))?;
                Ok(out.write(&vec![7; len])?)
            };
            // What is in front of a reply, instead.
            hostile.send_as(Tag::DEFAULT, wire::HEADS.value, encode, Deadline::now()).unwrap();
            mailbox.recv()
        };
        assert_eq!(told(1000).unwrap().unwrap().len(), 1000);
        for len in [1001, 1000 + wire::HEADS.value - wire::TOLD_HEAD] {
            let error = told(len).unwrap_err();
            let RecvError::Decode { error, .. } = error else { panic!("{error}") };
            let text = error.to_string();
            assert!(text.contains(&format!("{len} bytes")) && text.contains("1000"), "{text}");
        }
    }
}
