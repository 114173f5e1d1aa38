//! Actors: processes that tell and ask each other.
//!
//! An actor is a process, or a thread of one, with a [`Mailbox`]. Others have its [`Address`], tell
//! it messages, and ask it questions: the port for the reply is a plain field of the message. Both
//! are values, so messages can carry them anywhere.
//!
//! ```
//! use serde::{Deserialize, Serialize};
//! use sysv_channel::actor::{Address, Mailbox, ReplyTo};
//!
//! #[derive(Serialize, Deserialize)]
//! enum Counter {
//!     Add(u64),
//!     Get(ReplyTo<u64>),
//! }
//!
//! # let name = format!("doc-actor-{}", std::process::id());
//! # let name = name.as_str();
//! // One process:
//! let mailbox = Mailbox::<Counter>::bind(name)?;
//! let closer = mailbox.closer();
//! let actor = std::thread::spawn(move || {
//!     let mut count = 0;
//!     while let Some(message) = mailbox.recv().unwrap() {
//!         match message {
//!             Counter::Add(more) => count += more,
//!             Counter::Get(reply) => reply.send(&count).unwrap(),
//!         }
//!     }
//! });
//!
//! // Another, which knows only the name and the type:
//! let counter = Address::<Counter>::connect(name)?;
//! counter.tell(&Counter::Add(2))?;
//! assert_eq!(counter.ask(Counter::Get)?, 2);
//!
//! closer.close();
//! actor.join().unwrap();
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What holds
//!
//! - A message that was told is in the kernel's memory: if the actor dies before it receives it, the
//!   next one that binds the mailbox has it. One that it had received died with it.
//! - Nothing waits for ever: [`tell`](Address::tell) and [`ask`](Address::ask) have a deadline, ten
//!   seconds unless they are told another.
//! - A mailbox with a name outlives its actors. While it has none, telling waits for the next if the
//!   last one dropped its mailbox, and succeeds as long as there is room if that was killed.
//!   A private one has one actor: once that has ended, telling and asking say so at once.
//!   [`Address::is_alive`] asks.
//! - An asker is told at once when the actor's process ends, and when the actor that holds the reply
//!   port drops it or dies, wherever it was forwarded to. [`ReplyTo`] says in which cases no process can tell it.
//! - A forwarded reply, and word of a forwarded port, go through the mailbox that was asked, while its actor
//!   receives. Word of a port goes be the mailbox full or not; a reply waits for room, a second at most.
//! - A reply port is passed on by a send that succeeds, and by nothing else.
//! - [`Watch`] tells at once that an actor has ended, however it did: the kernel rings.
//!   [`Address::watch_into`] brings that into a mailbox as a message, after what the actor had told there.
//! - An answer can be a [stream](Address::stream) of parts, from a [port](StreamTo) that travels as any other: the asker
//!   reads them as they come, in order, and the process that sends them is a window ahead of that reader at most.
//! - [Urgent](Address::tell_urgent) messages overtake all others.
//!
//! No thread is started here but for [`Address::watch_into`], one for each actor that is watched so, and for a
//! mailbox that waits in a task.

mod address;
mod ends;
mod error;
mod mailbox;
mod options;
mod port;
mod reply;
mod stream_to;
mod watch;
mod watch_into;
mod wire;

pub use address::{Address, ReplyStream};
pub use ends::WatchGuard;
pub use error::{AskError, ReplyError, TellError, WatchError};
pub use mailbox::{Mailbox, MailboxOptions};
pub use options::AddressOptions;
pub use reply::ReplyTo;
pub use stream_to::StreamTo;
pub use watch::Watch;
#[cfg(not(loom))]
pub(crate) use wire::told_head;

pub use crate::channel::{Closer, Peer};
pub use crate::service::{BindError, ConnectError, Service};
