//! Request and response between unrelated processes.
//!
//! A [`Server`] is bound to a name; any number of [`Client`]s, up to as many as it was bound for,
//! call it with values of one type and get values of another back. Each client has its own way
//! there and back in shared memory, so a slow or dead client stops no other.
//!
//! ```
//! use sysv_channel::rpc::{Client, Server};
//!
//! # let name = format!("doc-rpc-{}", std::process::id());
//! # let name = name.as_str();
//! // One process:
//! let server = Server::<(f64, f64), f64>::bind(name)?;
//! let closer = server.closer();
//! let serving = std::thread::spawn(move || server.serve(|(a, b)| a + b));
//!
//! // Another, which knows only the name and the two types:
//! let client = Client::<(f64, f64), f64>::connect(name)?;
//! assert_eq!(client.call(&(1.5, 2.0))?, 3.5);
//!
//! closer.close();
//! serving.join().unwrap()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What holds
//!
//! - A call has a deadline, ten seconds unless it says otherwise. It travels with the request, also
//!   between time namespaces: a server does not start what is already late.
//! - When a server dies, each client that waits for it is told at once, and whether the request may have been
//!   executed ([`CallError::ServerDied`]). The same client finds the next server.
//! - A server that [stands by](ServerOptions::stand_by) has the place of a dead one in the same
//!   moment, and the requests that the dead one had not received.
//! - No server executes a call twice. One that may be [repeated](ClientOptions::repeatable) is made
//!   again when its server is gone, and the next one may execute it again.
//! - A server that is [closed](Server::closer) answers what it has received, for at most
//!   [`ServerOptions::drain`]. What it has not received waits until [`Server::serve`] returns or the
//!   server is dropped. Then a server that stands by has it. Where none does, the caller is told at once that it was not
//!   received, or, if the call may be repeated, waits for the next server.
//! - No client makes the server wait: replies that one leaves unread wait in the server's memory, up
//!   to [`ServerOptions::max_value`], and are lost beyond that.
//! - A reply can be a [stream](Client::stream) of parts: the client reads them as they come, in order, and
//!   the server is a window ahead of that reader at most. Bounded on both sides, and no other call waits for it.
//! - A handler that calls the server that runs it is told at once ([`CallError::OwnServer`]), unless
//!   that serves with several threads: see there for what is not noticed.
//! - Everything is bounded: a call waits while the client's ring is full,
//!   [`try_call`](Client::try_call) does not.

mod client;
mod error;
mod self_call;
mod server;

pub use client::{Client, ClientOptions, Pending, ReplyStream};
pub use error::{CallError, ReplyError, ServeError};
pub use server::{ClientId, Event, Incoming, Request, Responder, Server, ServerOptions};

pub use crate::channel::{Closer, Peer};
pub use crate::service::{BindError, ConnectError, Service};

use crate::channel::STREAMS;
use crate::codec::{Codec, DecodeError, Reader};
use crate::control::Heads;
use crate::schema::Schema;
use crate::service::{Kind, Protocol, reply};
use crate::sys::{ClockOffset, Deadline};

/// What stands in front of a request: the call's number and its deadline.
struct RequestHead {
    call: u64,
    /// The caller's slot, if it reads a stream of replies.
    slot: Option<usize>,
    deadline: Deadline,
}

/// A call's number is the lower bits of what stands there, and above it one more than the slot, or nothing.
const SLOT_AT: u32 = 56;

impl RequestHead {
    fn write(&self, clock: ClockOffset) -> [u8; REQUEST_HEAD] {
        let mut bytes = [0; REQUEST_HEAD];
        let slot = self.slot.map_or(0, |slot| slot as u64 + 1);
        bytes[..8].copy_from_slice(&(slot << SLOT_AT | self.call).to_le_bytes());
        bytes[8..].copy_from_slice(&clock.publish(self.deadline).to_le_bytes());
        bytes
    }

    fn read(reader: &mut Reader<'_>, clock: ClockOffset) -> Result<Self, DecodeError> {
        let mut number = || reader.read_array().map(u64::from_le_bytes);
        let call = number()?;
        // What no caller has is a slot in which the call does not stand.
        let slot = (call >> SLOT_AT).checked_sub(1).map(|slot| slot as usize % STREAMS);
        let call = call & ((1 << SLOT_AT) - 1);
        Ok(RequestHead { call, slot, deadline: clock.read(number()?) })
    }
}

/// Bytes in front of a request.
pub(crate) const REQUEST_HEAD: usize = 16;

const HEADS: Heads = Heads { value: REQUEST_HEAD, reply: reply::HEAD };

/// The types of a server as one.
pub(crate) fn schema_of_calls(request: &Schema, reply: &Schema) -> Schema {
    Schema::both("Call", [("request", request), ("reply", reply)])
}

/// What client and server must agree on.
fn protocol<Q, R, C: Codec<Q> + Codec<R>>() -> Protocol {
    Protocol {
        kind: Kind::Server,
        schema: schema_of_calls(&<C as Codec<Q>>::schema(), &<C as Codec<R>>::schema()),
        #[cfg(not(loom))]
        codec: None,
        heads: HEADS,
    }
}
