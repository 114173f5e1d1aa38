//! A typed channel between unrelated Linux processes, on System V IPC.

#[cfg(not(target_os = "linux"))]
compile_error!(
    "sysv-channel runs on Linux only: it rests on Linux's System V IPC and its SEM_UNDO"
);

mod channel;
pub mod codec;
mod control;
mod error;
mod name;
mod queue;
mod ring;
mod schema;
mod sys;
mod tag;

pub use channel::{
    Channel, Iter, Lease, Options, Origin, Receiver, Sender, Stats, TryIter, channel,
};
pub use control::{Owner, Removed, sweep, sweep_all};
pub use error::{AttachError, OpenError, RecvError, SendError};
pub use name::{Handle, InvalidName, Name};
pub use queue::{Queue, QueueError, QueueLimit, QueueOptions, QueueRecvError, QueueSendError};
pub use ring::TrustedPeers;
pub use schema::Schema;
pub use sys::{Key, KeyError, Ownership, QueueStat, SystemError, SystemErrorKind};
pub use tag::{InvalidTag, Message, Select, Tag};

/// The codec of channels and queues that name none.
#[cfg(feature = "bincode")]
pub type DefaultCodec = codec::Bincode;

/// The codec of channels and queues that name none: without the feature `bincode`, bytes only.
#[cfg(not(feature = "bincode"))]
pub type DefaultCodec = codec::Raw;
