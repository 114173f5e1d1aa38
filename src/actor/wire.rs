//! What stands in a mailbox's messages, in replies, and in ports and addresses inside of values.
//!
//! | message | after its kind and ask |
//! |---|---|
//! | told | the value, in the mailbox's codec |
//! | reply | lane, generation, status, what it says: forwarded to the home of the port |
//!
//! A reply that goes straight to the asker is the ask's number, a status and what it says.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{DeserializeOwned, Deserializer};
use serde::ser::Serializer;
use serde::{Deserialize, Serialize};

use crate::Tag;
use crate::channel::{Origin, PortId};
use crate::codec::{Codec, DecodeError, EncodeError, Reader, Schema, Writer};
use crate::control::Heads;
use crate::name::Handle;
use crate::service::reply::{self, Status};
use crate::service::{Kind, Protocol};
use crate::sys::{ClockOffset, Deadline};

/// The tags of a mailbox: the kernel hands out the lowest first. Replies that go through the port's home,
/// urgent messages, and the others.
pub(super) const FORWARDED: Tag = Tag::DEFAULT;
pub(super) const URGENT: Tag = Tag::new(2).unwrap();
pub(super) const ORDINARY: Tag = Tag::new(3).unwrap();

const TOLD: u8 = 0;
const REPLY: u8 = 1;

/// Bytes in front of a value that is told, and of a reply that goes through the port's home.
pub(super) const TOLD_HEAD: usize = 9;
pub(super) const REPLY_HEAD: usize = 22;

pub(super) const HEADS: Heads = Heads { value: REPLY_HEAD, reply: reply::HEAD };

/// What all processes on a mailbox's channel must agree on.
pub(super) fn protocol<M, C: Codec<M>>() -> Protocol {
    let none = Schema::bytes("ring");
    let schema = Schema::both("Mailbox", [("message", &C::schema()), ("reply", &none)]);
    Protocol {
        kind: Kind::Mailbox,
        schema,
        #[cfg(not(loom))]
        codec: None,
        heads: HEADS,
    }
}

/// Which ask a reply is for: the home of the port, the asker's lane there, and the ask.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct PortAddress {
    pub(super) home: Handle,
    pub(super) origin: Origin,
    pub(super) ask: u64,
    /// Until when the asker waits, as `ClockOffset` publishes it.
    pub(super) until: u64,
}

impl PortAddress {
    /// Until when the asker waits.
    pub(super) fn deadline(&self) -> Deadline {
        ClockOffset::of_this_process().read(self.until)
    }

    /// The port at its home.
    pub(super) fn port(&self) -> PortId {
        PortId { lane: self.origin.lane, ask: self.ask }
    }
}

/// A reply that the mailbox passes on to the asker.
pub(super) struct Forwarded {
    pub(super) origin: Origin,
    pub(super) ask: u64,
    pub(super) status: Status,
    pub(super) bytes: Vec<u8>,
}

/// What a message begins with.
pub(super) enum Head {
    /// A value follows; zero is no ask.
    Told {
        ask: u64,
    },
    Reply(Forwarded),
}

fn number(reader: &mut Reader<'_>) -> Result<u64, DecodeError> {
    Ok(u64::from_le_bytes(reader.read_array()?))
}

impl Head {
    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let [kind] = reader.read_array()?;
        let ask = number(reader)?;
        if kind == TOLD {
            return Ok(Head::Told { ask });
        }
        if kind != REPLY {
            return Err(DecodeError::new("a message of a kind that is none"));
        }
        let lane = u32::from_le_bytes(reader.read_array()?) as usize;
        let origin = Origin { lane, generation: number(reader)? };
        let [status] = reader.read_array()?;
        let status = Status::read(status)
            .ok_or_else(|| DecodeError::new("a reply has a status that is none"))?;
        let bytes = reader.read_vec(reader.remaining())?;
        Ok(Head::Reply(Forwarded { origin, ask, status, bytes }))
    }
}

/// Bytes in front of the value that a message tells; `None` if it is another message.
#[cfg(not(loom))]
pub(crate) fn told_head(message: &[u8]) -> Option<usize> {
    (message.first() == Some(&TOLD)).then_some(TOLD_HEAD)
}

/// The head of a value that is told; zero is no ask.
pub(super) fn told(ask: u64) -> [u8; TOLD_HEAD] {
    let mut head = [TOLD; TOLD_HEAD];
    head[1..].copy_from_slice(&ask.to_le_bytes());
    head
}

/// The head of a reply that goes through the port's home.
pub(super) fn write_reply(
    out: &mut Writer<'_>,
    address: &PortAddress,
    status: Status,
) -> Result<(), EncodeError> {
    out.write(&[REPLY])?;
    out.write(&address.ask.to_le_bytes())?;
    out.write(&(address.origin.lane as u32).to_le_bytes())?;
    out.write(&address.origin.generation.to_le_bytes())?;
    Ok(out.write(&[status as u8])?)
}

impl Serialize for PortAddress {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let PortAddress { home, origin, ask, until } = self;
        (home, origin.lane as u32, origin.generation, ask, until).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for PortAddress {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (home, lane, generation, ask, until) =
            <(Handle, u32, u64, u64, u64)>::deserialize(deserializer)?;
        Ok(PortAddress { home, origin: Origin { lane: lane as usize, generation }, ask, until })
    }
}

/// A type that belongs to the shape of a value without being in it: an `Option` that is `None`, so
/// that two programs whose ports or addresses are of other types are told at `connect`.
pub(super) struct Shape<T>(PhantomData<fn() -> T>);

impl<T> Shape<T> {
    pub(super) fn new() -> Self {
        Shape(PhantomData)
    }
}

impl<T> Serialize for Shape<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_none()
    }
}

impl<'de, T: DeserializeOwned> Deserialize<'de> for Shape<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Option::<T>::deserialize(deserializer)?;
        Ok(Shape::new())
    }
}

impl<T> fmt::Debug for Shape<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Shape")
    }
}
