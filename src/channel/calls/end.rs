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
        self.sender.poll_end_of(self.receiver, waker)
    }
}

impl Sender<(), Untyped> {
    /// Whether the receiver of that generation is gone; else the waker is woken once, when it may be.
    pub(crate) fn poll_end_of(&self, receiver: u64, waker: &Waker) -> Result<bool, RecvError> {
        match self.arm(waker, Deadline::never()) {
            Ok(()) if fault(Fault::NoRecheck) => Ok(false),
            Ok(()) => self.is_end_of(receiver),
            Err(error) if error.is_removed() => Ok(true),
            Err(error) => Err(back_error(error)),
        }
    }

    /// Whether it is gone. A channel that was removed has no receiver, also where a part was that a receiver does
    /// without.
    pub(crate) fn is_end_of(&self, receiver: u64) -> Result<bool, RecvError> {
        match self.has_ended(receiver) {
            Ok(false) => Ok(self.is_removed()),
            Err(SendError::Disconnected { .. } | SendError::Removed { .. }) => Ok(true),
            ended => ended.map_err(back_error),
        }
    }
}
