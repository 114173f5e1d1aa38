//! Waiting for a receiver's end beside whatever else its caller does.
//!
//! A listener sleeps at the lane's bell, which the kernel rings when the receiver dies and the receiver when
//! it goes. It wakes what was registered, which asks again.

use std::task::Waker;

use super::Untyped;
use crate::channel::sender::{Sender, back_error};
use crate::error::{RecvError, SendError};
use crate::sys::{Deadline, Fault, fault};

/// Waits for the end of one receiver. Costs a thread that sleeps, and the sender's lane.
pub(crate) struct EndWatch {
    sender: Sender<(), Untyped>,
    receiver: u64,
}

impl EndWatch {
    pub(crate) fn start(sender: Sender<(), Untyped>, receiver: u64) -> Result<Self, SendError> {
        sender.start_listener()?;
        Ok(EndWatch { sender, receiver })
    }

    /// Whether the receiver is gone; else the waker is woken once, when it may be.
    pub(crate) fn poll(&self, waker: &Waker) -> Result<bool, RecvError> {
        match self.arm_and_look(waker) {
            // A channel that was removed has no receiver, also where a part was that a receiver does without.
            Ok(false) => Ok(self.sender.is_removed()),
            Err(SendError::Disconnected { .. } | SendError::Removed { .. }) => Ok(true),
            ended => ended.map_err(back_error),
        }
    }

    fn arm_and_look(&self, waker: &Waker) -> Result<bool, SendError> {
        self.sender.arm(waker, Deadline::never())?;
        if fault(Fault::NoRecheck) {
            return Ok(false);
        }
        self.sender.has_ended(self.receiver)
    }
}
