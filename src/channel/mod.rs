//! `Channel<T>` and its two ends.
//!
//! | file | subject |
//! |---|---|
//! | `options` | what a channel is created and opened with |
//! | `sender` | which path a value takes, waiting for room |
//! | `receiver` | waiting for values, handing them over |
//! | `intake` | where the receiver looks: slots, lanes, queue |
//! | `inbox` | one lane as the receiver sees it |
//! | `joined` | the fragments of a value or an answer, joined |
//! | `iter` | a receiver's values one after another |
//! | `lease` | a value read in place |
//! | `returns`, `answers` | the way back from the receiver to a sender, and its other end |
//! | `encoded` | a value encoded in this process's memory |
//! | `calls` | what request and response need of the two ends |
//! | `holders` | which process holds an actor's reply port |
//! | `space` | who has the room in the queue that comes free |
//! | `stats` | figures |

mod answers;
mod calls;
mod encoded;
#[cfg(fuzzing)]
#[path = "../verify/fuzzing/messages.rs"]
pub(crate) mod fuzzing;
mod holders;
mod inbox;
mod intake;
mod iter;
mod joined;
mod lease;
mod options;
mod receiver;
mod returns;
mod sender;
mod space;
mod stats;

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use crate::DefaultCodec;
use crate::codec::Codec;
use crate::control::{self, Control, Owner, envelope, long};
use crate::error::{AttachError, OpenError, RecvError};
use crate::name::{Handle, Name};
use crate::ring::{Record, TrustedPeers};
use crate::sys::{Deadline, SystemError, SystemErrorKind};

pub use calls::Closer;
pub(crate) use calls::{Caller, InHand, ReceiverBell, Unanswered, Untyped};
pub(crate) use encoded::{Encoded, NotEncoded};
pub(crate) use holders::{Attention, Holding, LostPort, Port, Whereabouts};
pub use iter::{IntoIter, Iter, TryIter};
pub use lease::Lease;
pub use options::Options;
pub use receiver::Receiver;
pub(crate) use returns::Due;
pub(crate) use returns::Origin;
pub use sender::Sender;
#[cfg(all(test, loom))]
pub(crate) use space::{look_at_line, stay_in_line};
pub use stats::Stats;

/// A typed channel between processes: many senders, one receiver, values of one type in order.
///
/// Created by one process and opened by others, by name, by key or through a [`Handle`]; see
/// [`Options`] for its sizes and for its three shapes. Each process takes a [`Sender`] or the
/// [`Receiver`] from it. The last user removes it, unless it is named and holds values that no receiver
/// has received, or is [durable](Options::durable).
///
/// ```
/// use serde::{Deserialize, Serialize};
/// use sysv_channel::Channel;
///
/// #[derive(Serialize, Deserialize, Debug, PartialEq)]
/// struct Order { id: u64, symbol: String }
///
/// # let name = format!("doc-channel-{}", std::process::id());
/// # let name = name.as_str();
/// // One process:
/// let orders = Channel::<Order>::create(name)?;
/// let rx = orders.receiver()?;
///
/// // Another, which knows only the name and the type:
/// let tx = Channel::<Order>::open(name)?.sender()?;
/// tx.send(&Order { id: 7, symbol: "ACME".to_owned() })?;
///
/// // The first again:
/// assert_eq!(rx.recv()?, Order { id: 7, symbol: "ACME".to_owned() });
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Channel<T, C = DefaultCodec> {
    control: Arc<Control>,
    spin: Duration,
    trust: Option<TrustedPeers>,
    value: PhantomData<fn(T) -> C>,
}

impl<T, C: Codec<T>> Channel<T, C> {
    /// What a channel is created or opened with.
    pub fn options() -> Options<T, C> {
        Options::new()
    }

    /// Creates a channel with default options; adopts an unused one of the same kind, with the
    /// values that it holds.
    ///
    /// # Errors
    /// As [`Options::create`].
    pub fn create(name: impl Into<Name>) -> Result<Self, OpenError> {
        Self::options().create(name)
    }

    /// Opens a channel that was created.
    ///
    /// # Errors
    /// As [`Options::open`].
    pub fn open(name: impl Into<Name>) -> Result<Self, OpenError> {
        Self::options().open(name)
    }

    /// Opens a channel, or creates it with default options.
    ///
    /// # Errors
    /// As [`Options::open_or_create`].
    pub fn open_or_create(name: impl Into<Name>) -> Result<Self, OpenError> {
        Self::options().open_or_create(name)
    }

    /// Creates a channel that only those find who are given its [`handle`](Channel::handle).
    ///
    /// # Errors
    /// As [`Options::private`].
    pub fn private() -> Result<Self, OpenError> {
        Self::options().private()
    }

    /// Removes a channel at once, also a durable one and one in use: its users are told that it
    /// is gone, and the values that it holds are lost.
    ///
    /// # Errors
    /// [`OpenError::NotFound`] if there is none, also where another process removes it in this moment:
    /// of several that do, one has `Ok`. [`OpenError::NotOwned`] if it is another user's,
    /// [`OpenError::KeyCollision`] if what is there is no channel or one of another name,
    /// [`OpenError::Busy`] if another process keeps its lock; [`OpenError`] otherwise.
    pub fn unlink(name: impl Into<Name>) -> Result<(), OpenError> {
        control::unlink(&name.into(), Owner::Myself)
    }

    /// Attaches a sender.
    ///
    /// # Errors
    /// [`AttachError::LanesExhausted`] if there are as many as the channel has lanes,
    /// [`AttachError::Removed`] if the channel was removed; [`AttachError`] otherwise.
    pub fn sender(&self) -> Result<Sender<T, C>, AttachError> {
        Sender::attach(self.control.clone(), self.spin, self.trust)
    }

    /// Attaches the receiver.
    ///
    /// # Errors
    /// [`AttachError::ReceiverExists`] if there is one, [`AttachError::Removed`] if the channel was
    /// removed; [`AttachError`] otherwise.
    pub fn receiver(&self) -> Result<Receiver<T, C>, AttachError> {
        self.receiver_by(Deadline::now())
    }

    /// Attaches the receiver, waiting until the one that there is has gone.
    pub(crate) fn receiver_by(&self, deadline: Deadline) -> Result<Receiver<T, C>, AttachError> {
        Receiver::attach(self.control.clone(), self.spin, self.trust, deadline)
    }

    /// A handle to this channel, to be sent to another process.
    pub fn handle(&self) -> Handle {
        self.control.handle()
    }

    /// What happened on the channel so far.
    ///
    /// # Errors
    /// [`SystemError`], of kind [`Removed`](SystemErrorKind::Removed) if the channel was removed.
    pub fn stats(&self) -> Result<Stats, SystemError> {
        Stats::of(&self.control)
    }

    /// The same channel, for a layer above that says by itself what its bytes are.
    pub(crate) fn untyped(self) -> Channel<(), Untyped> {
        let Channel { control, spin, trust, .. } = self;
        Channel { control, spin, trust, value: PhantomData }
    }

    fn from_control(control: Arc<Control>, spin: Duration, trust: Option<TrustedPeers>) -> Self {
        Channel { control, spin, trust, value: PhantomData }
    }
}

impl<T, C> Clone for Channel<T, C> {
    fn clone(&self) -> Self {
        Channel {
            control: self.control.clone(),
            spin: self.spin,
            trust: self.trust,
            value: PhantomData,
        }
    }
}

impl<T, C> fmt::Debug for Channel<T, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let header = &self.control.header;
        f.debug_struct("Channel")
            .field("name", &header.name)
            .field("key", &format_args!("{}", header.key))
            .field("type", &header.type_name)
            .finish()
    }
}

/// A private channel with its two ends, like [`std::sync::mpsc::channel`].
///
/// ```
/// let (tx, rx) = sysv_channel::channel::<u32>()?;
/// tx.send(&7)?;
/// assert_eq!(rx.recv()?, 7);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// As [`Options::private`], and [`OpenError::Attach`] if the ends could not be attached.
pub fn channel<T>() -> Result<(Sender<T>, Receiver<T>), OpenError>
where
    DefaultCodec: Codec<T>,
{
    let channel = Channel::<T>::private()?;
    let ends = || Ok((channel.sender()?, channel.receiver()?));
    ends().map_err(OpenError::Attach)
}

/// What a receiver is told that found nothing until the deadline, or now.
fn nothing_came(control: &Control, deadline: Deadline) -> RecvError {
    let channel = control.name();
    if deadline.is_now() { RecvError::Empty { channel } } else { RecvError::Timeout { channel } }
}

/// A value that the receiver has found and not handed over yet.
#[derive(Clone, Copy)]
enum Ready {
    /// It stands in a slot.
    Slot { slot: usize, len: usize, origin: Origin },
    /// It is a record of a lane's ring; its descriptor, if it has one, stands in a slot.
    Record { lane: usize, record: Record, slot: Option<usize> },
    /// It came in fragments, of which `record` is the last; the lane's inbox has its bytes.
    Long { lane: usize, record: Record, start: u64, slot: Option<usize> },
}

impl Ready {
    /// Whether its sender still waits, and has not given it up for good.
    fn may_be_taken_back(&self) -> bool {
        matches!(self, Ready::Long { .. })
    }
}

fn attach_error(control: &Control, error: SystemError) -> AttachError {
    let channel = control.name();
    match error.kind() {
        SystemErrorKind::Removed => {
            control.notice_removed();
            AttachError::Removed { channel }
        }
        _ => AttachError::System { channel, error },
    }
}

/// Refuses to attach an end to a channel that was removed, also by hand.
fn check_there(control: &Control) -> Result<(), AttachError> {
    // Models remove no single object that an end is attached to afterwards.
    if control.is_removed() || cfg!(not(loom)) && control.poll_removed() {
        return Err(AttachError::Removed { channel: control.name() });
    }
    Ok(())
}
