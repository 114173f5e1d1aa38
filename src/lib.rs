//! A typed channel between unrelated Linux processes, on System V IPC.
//!
//! Two programs that know only a name and a type exchange values, small and large, in order, with
//! nothing lost when one of them dies. Small values travel as messages of a System V queue, large
//! ones through lock-free rings in a System V shared-memory segment, and System V semaphores wake
//! the sides that sleep.
//!
//! ```
//! # #[cfg(feature = "bincode")] {
//! use serde::{Deserialize, Serialize};
//! use sysv_channel::Channel;
//!
//! #[derive(Debug, PartialEq, Serialize, Deserialize)]
//! struct Order {
//!     id: u64,
//!     symbol: String,
//! }
//!
//! # let name = format!("doc-crate-{}", std::process::id());
//! # let name = name.as_str();
//! // One process receives.
//! let rx = Channel::<Order>::create(name)?.receiver()?;
//!
//! // Another sends. It knows only the name and the type.
//! let tx = Channel::<Order>::open(name)?.sender()?;
//! tx.send(&Order { id: 7, symbol: "ACME".to_owned() })?;
//! drop(tx);
//!
//! // The values come in order, until the senders have come and gone.
//! let orders = rx.iter().collect::<Result<Vec<_>, _>>()?;
//! assert_eq!(orders, [Order { id: 7, symbol: "ACME".to_owned() }]);
//! # }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What to start from
//!
//! | | |
//! |---|---|
//! | [`Channel`] | many senders, one receiver or [several](Options::receivers); created by one process, opened by others |
//! | [`channel`] | both ends of a private channel, like [`std::sync::mpsc::channel`] |
//! | [`Options`] | sizes, shape, owner and lifetime of a channel |
//! | [`Handle`] | one very channel, to be sent to a child or inside a message |
//! | [`rpc`] | request and response: servers and clients |
//! | [`actor`] | mailboxes, addresses and reply ports that travel inside messages |
//! | [`Queue`] | a bare System V queue: many receivers, programs in C and other languages |
//! | [`codec`] | how values become bytes, and [`Bytes`](codec::Bytes) for bulk inside a value |
//! | [`Segment`], [`Semaphores`] | bare System V shared memory and semaphores, shared with programs in C |
//! | [`list`], [`inspect`], [`tap`] | which channels there are, who uses them, what waits and what goes by |
//! | [`dynamic`] | channels and servers without their types, their values as JSON |
//! | [`sweep`] | removes what crashes left behind |
//!
//! # Three shapes
//!
//! [`Options::inline_limit`] decides by encoded size which way a value takes.
//!
//! - **Mixed**, the default: values of up to 1,024 bytes are queue messages, larger ones records of
//!   the sender's ring, announced on the queue. The kernel keeps one order over all senders, and the
//!   receiver can [select](Select) by [tag](Tag).
//! - **Ring only**, `inline_limit(0)`: no system call while both sides are busy, order for each
//!   sender, no selection.
//! - **Queue only**, `capacity(0)`: many small values, selection, and several receivers.
//!
//! # What holds
//!
//! - A value whose `send` returned arrives, also if the sender dies; a half-written one never does.
//! - What a receiver had not handed over when it died waits for the next one, each value once. (A
//!   [`Queue`] is at most once: a message dies with the receiver that the kernel gave it to.)
//! - [Several receivers](Options::receivers) share the values of one queue; what one had in hand when it died, or
//!   [gave back](RecvGuard), goes to another. None is lost, and none comes twice otherwise.
//! - Blocked calls wake when the other side dies, by the kernel: no process polls or sends heartbeats.
//! - A task, a [`WaitSet`] and a descriptor (`Readiness`) are woken as a call that blocks is; a future that is dropped
//!   loses no value.
//! - `send` waits while a channel is full; nothing is overwritten or dropped.
//! - A channel that is removed under its users says so, for good: it never looks like a normal end.
//! - [`open`](Channel::open) compares codec, layout and the [shape](Schema) of `T`.
//! - A type that no receiver could decode is refused when the channel is opened, a value that its
//!   receiver would refuse or read as something else when it is sent.
//! - Whatever stands in the shared memory: no access out of bounds, no endless loop, no unbounded
//!   allocation, but an error.
//! - The last user removes the channel, unless it is named and holds values, or is
//!   [durable](Options::durable).
//!
//! # What it is made of
//!
//! One key names a semaphore set, a segment and, unless the channel is ring only, a message queue;
//! `ipcs` lists them. A name is hashed to a key ([`Key::from_name`]). The roles of sender and
//! receiver are semaphores that the kernel gives back when their process dies (`SEM_UNDO` in
//! [semop(2)]); where a kernel ignores that, as gVisor does, creating or opening a channel says so.
//! An error that a limit of the kernel causes names the sysctl to raise.
//!
//! Endpoints are [`Send`] and work through `&self`; a forked child opens the channel again. Each ipc
//! namespace, and so usually each container, has channels of its own.
//!
//! # Models
//!
//! With `--cfg loom` the same types run on a model of the kernel, and [loom](https://docs.rs/loom)
//! explores what you build on them: see [`model_checking`].
//!
//! # Features
//!
//! - `bincode` (default): the default codec, for any serde type.
//! - `postcard`: a second serde codec, shorter and slower.
//! - `json`: a serde codec whose format describes itself, [`codec::Json`](codec), for types that the
//!   others refuse: `untagged`, `tag`, `flatten`, skipped fields, JSON values.
//! - `async`: a receiver as a `Stream` and a sender as a `Sink`, by `Receiver::into_stream` and
//!   `Sender::into_sink`; [`Receiver::recv_async`] and [`Sender::send_async`] need no feature.
//! - `tracing`: events for a subscriber of [`tracing`](https://docs.rs/tracing), target `sysv_channel`: created,
//!   opened, attached, asleep and awake, a peer gone, a role taken over, something corrupt, removed, swept.
//! - `metrics`: a channel's figures for the facade [`metrics`](https://docs.rs/metrics), by `Stats::record_metrics`.
//! - `pod`: `repr(C)` structs as their own bytes, for [`Queue`]s and segments shared with C programs.
//!
//! [semop(2)]: https://man7.org/linux/man-pages/man2/semop.2.html

#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(not(target_os = "linux"))]
compile_error!(
    "sysv-channel runs on Linux only: it rests on Linux's System V IPC and its SEM_UNDO"
);

// The lists of `tests/model`, which name the crate from outside, judge generated programs too.
#[cfg(all(test, loom))]
extern crate self as sysv_channel;

#[macro_use]
mod trace;
#[macro_use]
mod verify;

pub mod actor;
mod bare;
pub mod bridge;
mod channel;
pub mod codec;
mod control;
#[cfg(not(loom))]
pub mod dynamic;
mod error;
#[cfg(not(loom))]
mod inspect;
#[cfg(feature = "metrics")]
mod metrics;
#[cfg(any(loom, documents_model))]
pub mod model;
#[cfg(doc)]
pub mod model_checking;
mod name;
mod panics;
mod private;
mod queue;
mod ring;
pub mod rpc;
mod schema;
#[cfg(not(loom))]
mod segment;
#[cfg(not(loom))]
mod semaphores;
mod service;
mod sys;
mod tag;
#[cfg(not(loom))]
mod tap;
mod transfer;
mod wait_set;

#[cfg(not(loom))]
pub use channel::Readiness;
pub use channel::{
    Channel, Closer, IntoIter, Iter, Lease, Options, Receiver, RecvGuard, Sender, Stats, TryIter,
    channel,
};
#[cfg(feature = "async")]
pub use channel::{ReceiverStream, SenderSink};
pub use codec::DefaultCodec;
pub use control::{Owner, Removed, sweep, sweep_all};
#[cfg(not(loom))]
pub use error::InspectError;
pub use error::{AttachError, OpenError, RecvError, SendError};
#[cfg(not(loom))]
pub use inspect::{
    ChannelKind, ChannelShape, Inspection, LaneInfo, Listed, ReceiverInfo, inspect, list,
};
pub use name::{Handle, InvalidName, Name};
pub use queue::{Queue, QueueError, QueueLimit, QueueOptions, QueueRecvError, QueueSendError};
pub use ring::TrustedPeers;
pub use schema::Schema;
#[cfg(not(loom))]
pub use segment::{Segment, SegmentAccessError, SegmentError, SegmentOptions};
#[cfg(not(loom))]
pub use semaphores::{
    SemaphoreGuard, SemaphoreOp, SemaphoreOpError, Semaphores, SemaphoresError, SemaphoresOptions,
    SemaphoresStat,
};
#[cfg(not(loom))]
pub use sys::SegmentStat;
pub use sys::{Key, KeyError, Ownership, QueueStat, SystemError, SystemErrorKind};
pub use tag::{InvalidTag, Message, Select, Tag};
#[cfg(not(loom))]
pub use tap::{Tap, Tapped, tap};
#[cfg(fuzzing)]
#[doc(hidden)]
pub use verify::fuzzing;
pub use wait_set::{WaitSet, Waitable};

/// The README's programs, compiled and run with the documentation's.
#[cfg(all(doctest, feature = "bincode"))]
#[doc = include_str!("../README.md")]
struct Readme;
