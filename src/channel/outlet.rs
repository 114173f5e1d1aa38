//! The end of a bridge that takes values out of a channel, each of them once it has arrived.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

use super::value_id::ValueId;
use super::{Channel, Closer, Delivery, Receiver};
use crate::codec::{Raw, Reader};
use crate::control::WINDOW;
use crate::error::{BridgeError, RecvError};
use crate::sys::Deadline;
use crate::tag::Tag;

/// The end of a bridge that carries a channel's values far away: its receiver, which gives out one value after
/// another and leaves each in the channel until that is [settled](Outlet::settle).
///
/// When it is dropped, or its process is killed, the channel's next receiver has all values that were not settled, in
/// order and with the same ids: from those an [`Inlet`](crate::bridge::Inlet) far away tells which ones it has put.
///
/// A value that goes in [fragments](crate::Options::capacity) is given out once all of it is there. Its sender waits
/// until it is settled, and may give it up before: then it may arrive although its sender was told that it was
/// not sent.
pub struct Outlet {
    receiver: Receiver<Vec<u8>, Raw>,
    /// What was given out and not settled, oldest first.
    held: RefCell<VecDeque<Held>>,
}

/// A value that was given out.
#[derive(Clone, Copy)]
struct Held {
    id: ValueId,
    delivery: Delivery,
    len: usize,
}

impl Outlet {
    /// Attaches the outlet: the channel's receiver, which waits on when senders have come and gone.
    ///
    /// # Errors
    /// [`BridgeError::SeveralReceivers`] if the channel was created for more than one, and [`BridgeError::Attach`] as
    /// [`Channel::receiver`].
    pub fn attach(channel: &Channel<Vec<u8>, Raw>) -> Result<Outlet, BridgeError> {
        let layout = channel.control.layout();
        if layout.has_receivers() {
            return Err(BridgeError::SeveralReceivers {
                channel: channel.control.name(),
                receivers: layout.receivers,
            });
        }
        let receiver = channel.staying_open().receiver()?;
        Ok(Outlet { receiver, held: RefCell::default() })
    }

    /// Gives out the next value, and waits at most `timeout` for it: `take` gets its id, its tag and its encoded bytes, and
    /// what it returns is returned.
    ///
    /// Values of one sender come in order. At most [`WINDOW`](crate::bridge::WINDOW) are held at a time; of a channel
    /// with a queue as many as it has slots.
    ///
    /// # Errors
    /// [`RecvError::SlotsFull`] if as many as can be are held: one has to be settled first. Else as
    /// [`Receiver::recv_timeout`], but for [`RecvError::Disconnected`].
    pub fn next<R>(
        &self,
        timeout: Duration,
        take: impl FnOnce(ValueId, Tag, Reader<'_>) -> R,
    ) -> Result<R, RecvError> {
        let mut held = self.held.borrow_mut();
        if held.len() >= WINDOW {
            return Err(self.receiver.slots_full());
        }
        let (delivery, (id, len, taken)) =
            self.receiver.hold_next(Deadline::after(timeout), |id, tag, bytes| {
                (id, bytes.remaining(), take(id, tag, bytes))
            })?;
        held.push_back(Held { id, delivery, len });
        Ok(taken)
    }

    /// Counts a value that was given out as received; `false` if this outlet does not hold it, or if its sender
    /// has taken it back.
    ///
    /// # Errors
    /// [`RecvError::Removed`] if the channel was, [`RecvError::Forked`] in a forked child.
    pub fn settle(&self, id: ValueId) -> Result<bool, RecvError> {
        let mut held = self.held.borrow_mut();
        let Some(index) = held.iter().position(|held| held.id == id) else { return Ok(false) };
        let Held { delivery, len, .. } = held[index];
        let accepted = self.receiver.settle(&delivery, len)?;
        held.remove(index);
        Ok(accepted)
    }

    /// Has everything that was given out and not settled given out again, in order.
    ///
    /// # Errors
    /// As [`settle`](Outlet::settle).
    pub fn rewind(&self) -> Result<(), RecvError> {
        let mut held = self.held.borrow_mut();
        self.receiver.rewind()?;
        held.clear();
        Ok(())
    }

    /// How many values were given out and not settled.
    pub fn held(&self) -> usize {
        self.held.borrow().len()
    }

    /// What ends a call that waits for a value, as [`Receiver::closer`].
    pub fn closer(&self) -> Closer {
        self.receiver.closer()
    }
}

impl fmt::Debug for Outlet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outlet")
            .field("receiver", &self.receiver)
            .field("held", &self.held())
            .finish()
    }
}
