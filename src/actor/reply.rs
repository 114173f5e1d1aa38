//! Reply ports: where one ask is answered, wherever the port has travelled.
//!
//! Its home is the mailbox that was asked: the asker's lane is there, and the home's process alone
//! writes to it. A port in that process answers by itself; one in any other tells the home, which
//! passes it on. The home knows who holds a port elsewhere, because the holder says so before the
//! message that brought the port counts as received; so it notices when that one dies.

use std::cell::RefCell;
use std::fmt;
use std::marker::PhantomData;
use std::mem;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use serde::de::{DeserializeOwned, Deserializer};
use serde::ser::Serializer;
use serde::{Deserialize, Serialize};

use super::error::ReplyError;
use super::wire::{
    Shape, Status, Ticket, URGENT, Untyped, write_answer, write_held, write_passed_on, write_reply,
};
use crate::channel::Caller;
use crate::codec::{Codec, EncodeError, Writer};
use crate::error::{OpenError, SendError};
use crate::name::Handle;
use crate::sys::{Deadline, Mutex};
use crate::{AttachError, Channel, DefaultCodec, Owner, Sender};

/// How long a port waits for room in its home's mailbox: long for a mailbox that is read, and short
/// for whoever holds the port.
const ROOM: Duration = Duration::from_secs(1);

/// Where one [`ask`](super::Address::ask) is answered, once: a field of the message.
///
/// It can be kept, moved to another thread, or put into a message to a third process, which then
/// replies in its place. Dropping it without a reply tells the asker so, and so does the death of
/// the process that holds it. Dropping one that came from another process may wait up to a second,
/// while the mailbox that was asked is full.
///
/// Telling a message that contains a port passes the port on: once `tell` has returned, the one
/// left behind does nothing. While it is on its way in the mailbox of an actor that died, it waits
/// there like the message, and the asker until its deadline.
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
    port: Port,
    reply: PhantomData<fn(R) -> C>,
}

/// The part of a port that knows no types.
struct Port {
    ticket: Ticket,
    hold: Hold,
}

/// How a port answers; shared with whoever decodes or sends it in this moment.
#[derive(Clone)]
pub(super) struct Hold(Arc<std::sync::Mutex<Way>>);

#[derive(Clone)]
pub(super) enum Way {
    /// Not at all: the asker's own, one that was passed on, or one that has answered.
    None,
    /// Straight to the asker, from its home.
    Home(Caller),
    /// Through the home; connected with the first use.
    Away(Option<Arc<Relay>>),
}

impl Hold {
    fn new(way: Way) -> Self {
        Hold(Arc::new(std::sync::Mutex::new(way)))
    }

    pub(super) fn set(&self, way: Way) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = way;
    }

    fn take(&self) -> Way {
        mem::replace(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner), Way::None)
    }

    /// The port is somebody else's now.
    pub(super) fn pass_on(&self, ticket: &Ticket) {
        if let Way::Away(Some(relay)) = self.take() {
            relay.pass_on(ticket);
        }
    }
}

/// The connection of a process to the home of ports that it holds.
pub(super) struct Relay {
    sender: Mutex<Sender<(), Untyped>>,
}

impl Relay {
    pub(super) fn connect(home: Handle) -> Result<Arc<Self>, ReplyError> {
        // Whoever asked trusts the home, and this process trusts whoever sent it the port.
        let options = Channel::<(), Untyped>::options().any_type().owner(Owner::Myself);
        let channel = options.open(home).map_err(|error| match error {
            OpenError::NotFound { .. } => ReplyError::Gone,
            error => ReplyError::Open(error),
        })?;
        let sender = channel.sender().map_err(|error| match error {
            AttachError::Removed { .. } => ReplyError::Gone,
            error => ReplyError::Attach(error),
        })?;
        Ok(Arc::new(Relay { sender: Mutex::new(sender) }))
    }

    /// Says that this process holds the port.
    pub(super) fn hold(&self, ticket: &Ticket) {
        // A home that is gone has told the asker already.
        let _ = self.send(&|out: &mut Writer<'_>| write_held(out, ticket));
    }

    pub(super) fn pass_on(&self, ticket: &Ticket) {
        let _ = self.send(&|out: &mut Writer<'_>| write_passed_on(out, ticket));
    }

    fn send(
        &self,
        encode: &impl Fn(&mut Writer<'_>) -> Result<(), EncodeError>,
    ) -> Result<(), SendError> {
        let sender = self.sender.lock().unwrap_or_else(PoisonError::into_inner);
        sender.send_as(URGENT, encode, Some(Deadline::after(ROOM)))
    }
}

impl Port {
    fn answer(
        &mut self,
        status: Status,
        answer: impl Fn(&mut Writer<'_>) -> Result<(), EncodeError>,
    ) -> Result<(), ReplyError> {
        let sent = match self.hold.take() {
            Way::None => return Err(ReplyError::PassedOn),
            Way::Home(caller) => answer_at_home(&caller, self.ticket.ask, status, &answer),
            Way::Away(relay) => {
                let relay = match relay {
                    Some(relay) => relay,
                    None => Relay::connect(self.ticket.home)?,
                };
                relay.send(&|out: &mut Writer<'_>| {
                    write_reply(out, &self.ticket, status)?;
                    answer(out)
                })
            }
        };
        sent.map_err(ReplyError::from)
    }

    fn tell(&mut self, status: Status, text: &str) {
        // An asker that cannot be told is gone, or does not take its answers.
        let _ = self.answer(status, |out| Ok(out.write(text.as_bytes())?));
    }
}

/// Answers an ask from the process whose mailbox was asked.
pub(super) fn answer_at_home(
    caller: &Caller,
    ask: u64,
    status: Status,
    answer: &impl Fn(&mut Writer<'_>) -> Result<(), EncodeError>,
) -> Result<(), SendError> {
    caller.answer(&|out: &mut Writer<'_>| -> Result<(), EncodeError> {
        write_answer(out, ask, status)?;
        answer(out)
    })
}

impl Drop for Port {
    fn drop(&mut self) {
        self.tell(Status::Dropped, "");
    }
}

impl<R, C> ReplyTo<R, C> {
    /// The asker's own, to be sent.
    pub(super) fn new(ticket: Ticket) -> Self {
        ReplyTo { port: Port { ticket, hold: Hold::new(Way::None) }, reply: PhantomData }
    }
}

impl<R, C: Codec<R>> ReplyTo<R, C> {
    /// Replies. In the process whose mailbox was asked it does not wait; elsewhere it waits up to a
    /// second while that mailbox is full, and as long again to tell the asker that it was. A reply
    /// longer than half of [`capacity`](super::MailboxOptions::capacity) goes while that mailbox is
    /// read: of two actors that tell each other such, one may find no room.
    ///
    /// # Errors
    /// [`ReplyError`], which an actor can ignore.
    pub fn send(mut self, reply: &R) -> Result<(), ReplyError> {
        let way = {
            let way = self.port.hold.0.lock().unwrap_or_else(PoisonError::into_inner);
            way.clone()
        };
        let answered = self.port.answer(Status::Reply, |out| C::encode(reply, out));
        use ReplyError::{Full, Send, TooLong};
        if let Err(error @ (TooLong { .. } | Send(_) | Full)) = &answered {
            self.port.hold.set(way);
            self.port.tell(Status::Unsendable, &error.to_string());
        }
        answered
    }
}

impl<R, C> fmt::Debug for ReplyTo<R, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReplyTo").field("ask", &self.port.ticket.ask).finish_non_exhaustive()
    }
}

/// Tells the asker that a port which came with a message that cannot be decoded was dropped.
pub(super) fn drop_port(ticket: Ticket, way: Way) {
    drop(Port { ticket, hold: Hold::new(way) });
}

/// Ports that are decoded, or encoded, by this thread in this moment.
pub(super) type Ports = Vec<(Ticket, Hold)>;

#[derive(Default)]
struct Traffic {
    coming: Option<Ports>,
    going: Option<Ports>,
}

#[cfg(not(loom))]
use std::thread_local;

#[cfg(loom)]
use loom::thread_local;

thread_local! {
    static TRAFFIC: RefCell<Traffic> = RefCell::default();
}

/// Puts back what an outer call collects, also when this one panics.
struct Restore {
    pick: fn(&mut Traffic) -> &mut Option<Ports>,
    outer: Option<Ports>,
}

impl Drop for Restore {
    fn drop(&mut self) {
        let outer = self.outer.take();
        TRAFFIC.with(|traffic| *(self.pick)(&mut traffic.borrow_mut()) = outer);
    }
}

fn collect<V>(
    pick: fn(&mut Traffic) -> &mut Option<Ports>,
    action: impl FnOnce() -> V,
) -> (V, Ports) {
    let begin =
        |ports| TRAFFIC.with(|traffic| mem::replace(pick(&mut traffic.borrow_mut()), ports));
    let restore = Restore { pick, outer: begin(Some(Ports::new())) };
    let value = action();
    let ports = begin(None).unwrap_or_default();
    drop(restore);
    (value, ports)
}

/// Decodes a message, and says which ports came with it: they do nothing yet.
pub(super) fn decoding<V>(decode: impl FnOnce() -> V) -> (V, Ports) {
    collect(|traffic| &mut traffic.coming, decode)
}

/// Sends a message; the ports in it are passed on if it went, and stay what they were if not.
pub(super) fn sending<E>(send: impl FnOnce() -> Result<(), E>) -> Result<(), E> {
    let (sent, ports) = collect(|traffic| &mut traffic.going, send);
    if sent.is_ok() {
        point!("port.sent");
        ports.iter().for_each(|(ticket, hold)| hold.pass_on(ticket));
    }
    sent
}

/// Has it collected if somebody does.
fn collected(pick: fn(&mut Traffic) -> &mut Option<Ports>, port: &Port) -> bool {
    TRAFFIC.with(|traffic| match pick(&mut traffic.borrow_mut()) {
        Some(ports) => {
            ports.push((port.ticket, port.hold.clone()));
            true
        }
        None => false,
    })
}

impl<R, C> Serialize for ReplyTo<R, C> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if !collected(|traffic| &mut traffic.going, &self.port) {
            self.port.hold.pass_on(&self.port.ticket);
        }
        (self.port.ticket, Shape::<R>::new()).serialize(serializer)
    }
}

impl<'de, R: DeserializeOwned, C> Deserialize<'de> for ReplyTo<R, C> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (ticket, _) = <(Ticket, Shape<R>)>::deserialize(deserializer)?;
        let reply = ReplyTo::new(ticket);
        if !collected(|traffic| &mut traffic.coming, &reply.port) {
            reply.port.hold.set(Way::Away(None));
        }
        Ok(reply)
    }
}
