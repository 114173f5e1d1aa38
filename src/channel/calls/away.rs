//! A stream of replies from another process than the receiver's: one that holds an actor's reply port.
//!
//! Its parts go through the receiver. How much may be on its way, this process sees in the asker's lane, and the
//! asker rings the lane by which it is connected: see `credit`.

use std::cell::Cell;

use super::credit;
use super::server::Parts;
use crate::channel::origin::Origin;
use crate::channel::returns::PartWait;
use crate::channel::sender::Sender;
use crate::codec::Codec;
use crate::control::Control;
use crate::error::SendError;
use crate::sys::Deadline;
use crate::transfer::Refusal;

/// Whether the next part may go now: `Late` if it has to wait.
fn look_at(control: &Control, to: Origin, parts: &Parts) -> PartWait {
    let Parts { due, stream, .. } = parts;
    if due.deadline.has_passed() || !to.is_there(control) {
        return PartWait::Gone;
    }
    match credit::is_ahead(control, to.lane, stream.slot, due.call, stream.sent, credit::WINDOW) {
        None => PartWait::Gone,
        Some(true) => PartWait::Late,
        Some(false) => PartWait::Room,
    }
}

impl<T, C: Codec<T>> Sender<T, C> {
    /// Has a part of so many bytes sent to the asker, through the receiver of that generation, and waits until then
    /// for the asker to take others. `send` sends the part; one that says [`SendError::Full`] is called again.
    ///
    /// [`SendError::Full`] if the asker is too far behind, [`SendError::Disconnected`] if it reads no more or the
    /// receiver is gone.
    pub(crate) fn send_part_to(
        &self,
        to: Origin,
        receiver: u64,
        parts: &mut Parts,
        len: usize,
        until: Deadline,
        mut send: impl FnMut() -> Result<(), SendError>,
    ) -> Result<(), SendError> {
        let control = &*self.control;
        if to.lane >= control.layout().lanes {
            return Err(SendError::Disconnected { channel: control.name() });
        }
        loop {
            let sent = match look_at(control, to, parts) {
                PartWait::Room => send(),
                PartWait::Late if until.has_passed() => {
                    return Err(SendError::Full { channel: control.name() });
                }
                PartWait::Late => {
                    self.await_credit(to, receiver, parts, until)?;
                    continue;
                }
                PartWait::Gone | PartWait::Closed => {
                    return Err(SendError::Disconnected { channel: control.name() });
                }
            };
            if sent.as_ref().map_or_else(SendError::was_sent, |()| true) {
                parts.stream.count(len);
            }
            match sent {
                // The receiver reads nothing for now; meanwhile the asker may go.
                Err(SendError::Full { .. } | SendError::Timeout { .. }) if !until.has_passed() => {
                    if to.was_killed(control) {
                        return Err(SendError::Disconnected { channel: control.name() });
                    }
                }
                sent => return sent,
            }
        }
    }

    /// Sleeps until the next part may go, as far as is known, or until then.
    fn await_credit(
        &self,
        to: Origin,
        receiver: u64,
        parts: &Parts,
        until: Deadline,
    ) -> Result<(), SendError> {
        let over = Cell::new(false);
        let waited = self.park_until(until.earlier(parts.due.deadline), |sender| {
            credit::says_that_parts_wait(&sender.control, to.lane);
            if look_at(&sender.control, to, parts) != PartWait::Late {
                return Ok(true);
            }
            over.set(sender.has_ended(receiver)? || to.was_killed(&sender.control));
            Ok(over.get())
        });
        match waited {
            Ok(()) if over.get() => Err(SendError::Disconnected { channel: self.control.name() }),
            // Its own look says so.
            Ok(()) | Err(SendError::Timeout { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }
}
