//! `Channel<T>` and its two ends.
//!
//! | file | subject |
//! |---|---|
//! | `options`, `open` | what a channel is created and opened with |
//! | `sender` | which path a value takes, waiting for room |
//! | `receiver` | waiting for values, handing them over |
//! | `sources` | where the receiver looks, in the shape that the channel has |
//! | `lanes`, `slots` | all lanes in turns; the queue, and the slots into which its messages come, of one receiver (`sole`) or several (`shared`) |
//! | `lane_consumer` | one lane as the receiver sees it |
//! | `joined` | the fragments of a value or a reply, joined |
//! | `closer` | ending a call that waits |
//! | `iter` | a receiver's values one after another |
//! | `sink` | a sender as a task sends with it |
//! | `lease` | a value read in place |
//! | `returns`, `replies` | the way back from the receiver to a sender, and its other end |
//! | `encoded` | a value encoded in this process's memory |
//! | `origin`, `peer` | who sent a value, and which process that is |
//! | `calls` | what request and response need of the two ends |
//! | `holders`, `ports` | which process holds an actor's reply port, and the word that says so |
//! | `inlet`, `outlet`, `value_id` | the two ends of a bridge, and which value it carries |
//! | `space` | who has the room in the queue that comes free |
//! | `stats` | figures |

mod calls;
mod closer;
mod encoded;
#[cfg(fuzzing)]
#[path = "../verify/fuzzing/messages.rs"]
pub(crate) mod fuzzing;
mod holders;
mod inlet;
mod iter;
mod joined;
mod lane_consumer;
mod lanes;
mod lease;
mod open;
mod options;
mod origin;
mod outlet;
mod peer;
mod ports;
mod receiver;
mod replies;
mod returns;
mod sender;
#[cfg(feature = "async")]
mod sink;
mod slots;
mod sources;
mod space;
mod stats;
mod value_id;

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use crate::codec::{Codec, DefaultCodec};
use crate::control::{Control, envelope, fragmented};
use crate::error::{AttachError, RecvError};
use crate::name::Handle;
use crate::ring::{Damage, Record, TrustedPeers};
use crate::sys::{Deadline, SystemError, SystemErrorKind};

pub(crate) use calls::credit::{Credit, STREAMS, WINDOW, charge};
pub(crate) use calls::{
    Caller, EndWatch, Parts, ReceiverBell, RequestGuard, SenderBell, Unanswered, Untyped,
};
pub use closer::Closer;
pub(crate) use encoded::{Encoded, NotEncoded};
pub(crate) use holders::{Holding, LostPort, Whereabouts};
pub use inlet::Inlet;
#[cfg(feature = "async")]
pub use iter::ReceiverStream;
pub use iter::{IntoIter, Iter, TryIter};
pub use lease::Lease;
pub use open::channel;
pub use options::Options;
pub(crate) use origin::Origin;
pub use outlet::Outlet;
pub use peer::Peer;
pub(crate) use ports::PortId;
#[cfg(not(loom))]
pub use receiver::Readiness;
pub(crate) use receiver::WakeOn;
pub use receiver::{Receiver, RecvGuard};
pub(crate) use returns::Due;
pub use sender::Sender;
#[cfg(feature = "async")]
pub use sink::SenderSink;
#[cfg(all(test, loom))]
pub(crate) use space::{look_at_line, stay_in_line};
pub use stats::Stats;
#[cfg(not(loom))]
pub(crate) use stats::{in_hand, waiting_in_ring};
pub use value_id::ValueId;

/// A typed channel between processes: many senders, one receiver or [several](Options::receivers), values of one type in order.
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
    local: Local,
    value: PhantomData<fn(T) -> C>,
}

/// What each program chooses for its own ends, also where another program created the channel.
#[derive(Clone, Copy)]
struct Local {
    spin: Duration,
    trust: Option<TrustedPeers>,
    /// Whether a receiver waits on when all senders are gone.
    stays_open: bool,
}

impl<T, C: Codec<T>> Channel<T, C> {
    /// A handle to this channel, to be sent to another process.
    pub fn handle(&self) -> Handle {
        self.control.handle()
    }

    /// The same channel, whose receiver waits on when all senders are gone.
    fn staying_open(&self) -> Self {
        let local = Local { stays_open: true, ..self.local };
        Channel::from_control(self.control.clone(), local)
    }

    fn from_control(control: Arc<Control>, local: Local) -> Self {
        Channel { control, local, value: PhantomData }
    }
}

impl<T, C> Clone for Channel<T, C> {
    fn clone(&self) -> Self {
        Channel { control: self.control.clone(), local: self.local, value: PhantomData }
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

/// What a receiver is told that found nothing until the deadline, or now.
fn nothing_came(control: &Control, deadline: Deadline) -> RecvError {
    let channel = control.name();
    if deadline.is_now() { RecvError::Empty { channel } } else { RecvError::Timeout { channel } }
}

/// A value that the receiver has found and not handed over yet.
#[derive(Clone, Copy)]
enum Delivery {
    /// It stands in a slot.
    Slot { slot: usize, len: usize, origin: Origin },
    /// It is a record of a lane's ring; its descriptor, if it has one, stands in a slot.
    Record { lane: usize, record: Record, slot: Option<usize> },
    /// It came in fragments, of which `record` is the last; the lane's consumer has its bytes.
    Fragments { lane: usize, record: Record, start: u64, slot: Option<usize> },
}

impl Delivery {
    /// Whether its sender still waits, and has not given it up for good.
    fn may_be_taken_back(&self) -> bool {
        matches!(self, Delivery::Fragments { .. })
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

/// What is said of a lane whose ring is damaged.
fn lane_damage(lane: usize, damage: Damage) -> String {
    format!("lane {lane}, line {}: {}", damage.position, damage.what)
}
