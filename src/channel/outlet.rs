//! The end of a bridge that takes values out of a channel, each of them once it has arrived.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

use super::value_id::ValueId;
use super::{Channel, Closer, Delivery, Receiver, nothing_came};
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
/// until it is settled, with those that it sends later, and may give it up before: then it may arrive although its
/// sender was told that it was not sent.
pub struct Outlet {
    receiver: Receiver<Vec<u8>, Raw>,
    /// What was given out and not settled, oldest first.
    held: RefCell<VecDeque<Held>>,
    /// What was settled while its sender, that had seen another receiver come, began it again: it is not given out
    /// again. Of each sender it is the last one in fragments.
    arrived: RefCell<Vec<ValueId>>,
    /// How many values were given out since the last rewind.
    given: Cell<u64>,
}

/// A value that was given out.
#[derive(Clone, Copy)]
struct Held {
    id: ValueId,
    delivery: Delivery,
    len: usize,
    /// How many were given out before.
    number: u64,
}

/// So many values in a row that were given out before are looked at, whatever the deadline says.
const REPEATED_BEFORE_DEADLINE: usize = 64;

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
        Ok(Outlet {
            receiver,
            held: RefCell::default(),
            arrived: RefCell::default(),
            given: Cell::new(0),
        })
    }

    /// Gives out the next value, and waits at most `timeout` for it: `take` gets its id, its tag and its encoded bytes, and
    /// what it returns is returned.
    ///
    /// Values of one sender come in order. The oldest that is held is one of the last [`WINDOW`](crate::bridge::WINDOW)
    /// that were given out, since an [`Inlet`](crate::bridge::Inlet) remembers so many; and of a channel with a queue
    /// at most 16 are held.
    ///
    /// # Errors
    /// [`RecvError::HeldTooMany`] if one has to be settled first, the oldest best; [`RecvError::Reentrant`] in `take`,
    /// as every other method here. Else as [`Receiver::recv_timeout`], but for [`RecvError::Disconnected`].
    pub fn next<R>(
        &self,
        timeout: Duration,
        take: impl FnOnce(ValueId, Tag, Reader<'_>) -> R,
    ) -> Result<R, RecvError> {
        let deadline = Deadline::after(timeout);
        let mut take = Some(take);
        let mut repeated = 0;
        loop {
            let number = self.given.get();
            let oldest = self.held.borrow().front().map_or(number, |oldest| oldest.number);
            if number - oldest >= WINDOW as u64 {
                return Err(self.held_too_many());
            }
            let held = self.receiver.hold_next(deadline, |id, tag, bytes| {
                let len = bytes.remaining();
                let take = if self.was_given_out(id) { None } else { take.take() };
                (id, len, take.map(|take| take(id, tag, bytes)))
            });
            let (delivery, (id, len, taken)) = match held {
                Err(RecvError::SlotsFull { .. }) => return Err(self.held_too_many()),
                held => held?,
            };
            if let Some(taken) = taken {
                self.held.borrow_mut().push_back(Held { id, delivery, len, number });
                self.given.set(number + 1);
                return Ok(taken);
            }
            self.begun_again(id, delivery, len)?;
            repeated += 1;
            if repeated >= REPEATED_BEFORE_DEADLINE && deadline.has_passed() {
                return Err(nothing_came(&self.receiver.control, deadline));
            }
        }
    }

    /// Whether the value was given out already: its sender, that had seen another receiver come, has begun it again.
    fn was_given_out(&self, id: ValueId) -> bool {
        id.is_long()
            && (self.held.borrow().iter().any(|held| held.id == id)
                || self.arrived.borrow().contains(&id))
    }

    /// A value that was given out stands somewhere else now.
    fn begun_again(&self, id: ValueId, delivery: Delivery, len: usize) -> Result<(), RecvError> {
        let mut held = self.held.borrow_mut();
        match held.iter_mut().find(|held| held.id == id) {
            Some(held) => {
                let before = std::mem::replace(&mut held.delivery, delivery);
                self.receiver.settle(&before, len).map(drop)
            }
            None => {
                if self.receiver.settle(&delivery, len)? {
                    self.arrived.borrow_mut().retain(|arrived| *arrived != id);
                }
                Ok(())
            }
        }
    }

    #[cold]
    fn held_too_many(&self) -> RecvError {
        RecvError::HeldTooMany { channel: self.receiver.control.name(), held: self.held() }
    }

    /// Counts a value that was given out as received; `false` if this outlet does not hold it, or if its sender
    /// has taken it back. It is not given out again in any case, unless its sender sends it as another one.
    ///
    /// # Errors
    /// [`RecvError::Removed`] if the channel was, [`RecvError::Forked`] in a forked child.
    pub fn settle(&self, id: ValueId) -> Result<bool, RecvError> {
        self.receiver.can_enter()?;
        let mut held = self.held.borrow_mut();
        let Some(index) = held.iter().position(|held| held.id == id) else { return Ok(false) };
        let Held { delivery, len, .. } = held[index];
        let accepted = self.receiver.settle(&delivery, len)?;
        held.remove(index);
        if !accepted {
            let mut arrived = self.arrived.borrow_mut();
            arrived.retain(|arrived| !arrived.is_of_lane_of(id));
            arrived.push(id);
        }
        Ok(accepted)
    }

    /// Has everything that was given out and not settled given out again, in order.
    ///
    /// # Errors
    /// As [`settle`](Outlet::settle).
    pub fn rewind(&self) -> Result<(), RecvError> {
        self.receiver.rewind()?;
        self.held.borrow_mut().clear();
        self.given.set(0);
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
