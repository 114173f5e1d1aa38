//! The end of a bridge that puts values into a channel, and knows afterwards which ones.

use std::cell::Cell;
use std::fmt;
use std::num::NonZeroU64;
use std::time::Duration;

use super::sender::Encode;
use super::value_id::ValueId;
use super::{Channel, Closer, Sender, attach_error, check_there};
use crate::codec::{EncodeError, Raw, Writer};
use crate::control::links::{self, Link, LinkOwner, Proof, Refused};
use crate::control::{BRIEFLY, Control};
use crate::error::{AttachError, BridgeError, SendError};
use crate::sys::{self, Deadline, SystemError};
use crate::tag::Tag;

/// Pauses in microseconds between looks whether a sender that has just attached says what its lane's last owner left.
const SETTLED_WITHIN: &[u64] =
    if cfg!(loom) { &[0] } else { &[0, 50, 100, 200, 400, 800, 1600, 3200, 6400, 12_800] };

/// The end of a bridge that puts values from far away into a channel, and remembers in the channel which ones.
///
/// When its process is killed, at whatever moment, the next inlet of the same link [knows](Inlet::known) the last
/// [`WINDOW`](crate::bridge::WINDOW) values that were put, whether or not its predecessor could tell the bridge's
/// other end: so those and no others are to be sent again. Other senders of the channel are not disturbed; their
/// values come between.
///
/// A channel forgets its links when it is removed: it is best [durable](crate::Options::durable).
///
/// ```
/// use std::num::NonZeroU64;
/// use std::time::Duration;
///
/// use sysv_channel::Channel;
/// use sysv_channel::bridge::{Inlet, Outlet};
/// use sysv_channel::codec::Raw;
///
/// let here = Channel::<Vec<u8>, Raw>::private()?;
/// let there = Channel::<Vec<u8>, Raw>::private()?;
/// let (tx, rx) = (here.sender()?, there.receiver()?);
/// let link = NonZeroU64::new(7).unwrap();
///
/// tx.send(&b"over there".to_vec())?;
/// let outlet = Outlet::attach(&here)?;
/// let (id, tag, bytes) = outlet.next(Duration::MAX, |id, tag, mut bytes| {
///     (id, tag, bytes.read_vec(bytes.remaining()))
/// })?;
/// Inlet::attach(&there, link)?.put(id, tag, &bytes?, Duration::MAX)?;
/// assert_eq!(rx.recv()?, b"over there");
///
/// // What became of it is known to another process, too.
/// assert_eq!(Inlet::attach(&there, link)?.known(), [id]);
/// outlet.settle(id)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Inlet {
    sender: Sender<Vec<u8>, Raw>,
    /// Which words of the channel are its own.
    index: usize,
    /// The number of the last value that was put.
    put: Cell<u64>,
}

impl Inlet {
    /// Attaches the inlet of a link: a sender of the channel, and the only process that has the link. No two
    /// bridges into one channel have the same number.
    ///
    /// A channel remembers four links. A fifth takes the place of the one whose inlet attached longest ago and is
    /// gone.
    ///
    /// # Errors
    /// [`BridgeError::LinkInUse`] if another process has the link, [`BridgeError::LinksExhausted`] if four others are
    /// in use, [`BridgeError::Busy`] if another process is about to attach and does not come to an end, and
    /// [`BridgeError::Attach`] as [`Channel::sender`].
    pub fn attach(channel: &Channel<Vec<u8>, Raw>, link: NonZeroU64) -> Result<Inlet, BridgeError> {
        let control = &channel.control;
        // Before the channel's lock is taken and a link is forgotten.
        if !control.is_ours() {
            return Err(AttachError::Forked { channel: control.name() }.into());
        }
        check_there(control)?;
        let refused = |refused| refused_link(control, refused);
        let claim = links::claim(control, link.get(), Deadline::after(BRIEFLY)).map_err(refused)?;
        let link = Link::new(control, claim.index);
        let sender = attach_settled(channel, link)?;
        let Sender { lane, mark, generation, .. } = sender;
        link.take(LinkOwner { lane, mark, generation });
        let put = Cell::new(link.begun());
        Ok(Inlet { sender, index: claim.index, put })
    }

    fn control(&self) -> &Control {
        &self.sender.control
    }

    fn link(&self) -> Link<'_> {
        Link::new(self.control(), self.index)
    }

    /// Puts a value into the channel, and waits at most `timeout` for room. From the return on it is known as put,
    /// whatever happens to this process; where that is an error it was not put, but for
    /// [`NotWoken`](SendError::NotWoken), which says that it was and that the receiver could not be told.
    ///
    /// Into a channel without rings a value may be put twice if this process is killed inside of the call.
    ///
    /// # Errors
    /// As [`Sender::send_tagged_timeout`].
    pub fn put(
        &self,
        id: ValueId,
        tag: Tag,
        bytes: &[u8],
        timeout: Duration,
    ) -> Result<(), SendError> {
        let number = self.put.get().wrapping_add(1);
        let value = Carried { link: self.link(), number, id, bytes, begun: Cell::new(false) };
        let put = self.sender.send_encoded(tag, &value, Deadline::after(timeout));
        match put {
            Ok(()) | Err(SendError::NotWoken { .. }) => {
                if !self.control().layout().has_ring() {
                    self.link().confirm(number);
                }
                self.put.set(number);
            }
            Err(_) if value.begun.get() => self.link().take_back(number),
            Err(_) => {}
        }
        put
    }

    /// The last values that were put over this link, oldest first: all of the last
    /// [`WINDOW`](crate::bridge::WINDOW), also those of killed predecessors. A forked child, which can put nothing
    /// ([`Forked`](SendError::Forked)), can still read them here.
    pub fn known(&self) -> Vec<ValueId> {
        self.link().known().into_iter().map(ValueId::from_words).collect()
    }

    /// What ends a [`put`](Inlet::put) that waits for room, as [`Sender::closer`].
    pub fn closer(&self) -> Closer {
        self.sender.closer()
    }
}

impl fmt::Debug for Inlet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inlet").field("sender", &self.sender).finish_non_exhaustive()
    }
}

/// Attaches a sender, and waits until it is written down what the last inlet of the link put.
fn attach_settled(
    channel: &Channel<Vec<u8>, Raw>,
    link: Link<'_>,
) -> Result<Sender<Vec<u8>, Raw>, BridgeError> {
    let control = &channel.control;
    let owner = link.owner();
    for &pause in SETTLED_WITHIN {
        if pause > 0 {
            sys::pause(Duration::from_micros(pause));
        }
        // The next owner of its lane settles it, which this is if the lane is free.
        let preferred = owner.map(|owner| owner.lane);
        let sender = Sender::attach(control.clone(), channel.local, preferred)?;
        if link.is_settled() {
            return Ok(sender);
        }
    }
    // A sender has taken the lane, and has not come so far that it looked at what was left there.
    let pid = owner.map_or(Ok(0), |owner| owner.pid(control));
    let pid = pid.map_err(|error| system_error(control, error))?;
    Err(BridgeError::Busy { channel: control.name(), pid })
}

fn refused_link(control: &Control, refused: Refused) -> BridgeError {
    let channel = control.name();
    match refused {
        Refused::InUse { pid } => BridgeError::LinkInUse { channel, pid },
        Refused::Exhausted => BridgeError::LinksExhausted { channel },
        Refused::Busy { pid } => BridgeError::Busy { channel, pid },
        Refused::System(error) => system_error(control, error),
    }
}

/// What the kernel says, which may be that the channel was removed meanwhile.
fn system_error(control: &Control, error: SystemError) -> BridgeError {
    match attach_error(control, error) {
        AttachError::System { channel, error } => BridgeError::System { channel, error },
        error => BridgeError::Attach(error),
    }
}

/// A value that is written down before it is published.
struct Carried<'a> {
    link: Link<'a>,
    number: u64,
    id: ValueId,
    bytes: &'a [u8],
    begun: Cell<bool>,
}

impl Encode for Carried<'_> {
    fn encode(&self, out: &mut Writer<'_>) -> Result<(), EncodeError> {
        Ok(out.write(self.bytes)?)
    }

    const IN_RING: bool = true;

    fn goes_as(&self, proof: Proof) {
        self.begun.set(true);
        self.link.begin(self.number, self.id.words(), proof);
    }
}
