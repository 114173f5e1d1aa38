//! The three System V objects of a channel, and who may use, make and remove them.
//!
//! One key names a semaphore set, a shared-memory segment and, where small values travel as
//! messages, a message queue. The set comes first and goes last; its lock semaphore is held over
//! every step that makes, opens or removes. An object is ours if key, owner, creator, mode and
//! magic say so; nothing else is ever removed.

mod closing;
mod doorbell;
pub(crate) mod envelope;
mod find;
pub(crate) mod fragmented;
#[cfg(fuzzing)]
#[path = "../verify/fuzzing/header.rs"]
pub(crate) mod fuzzing;
mod header;
mod layout;
mod lifecycle;
pub(crate) mod links;
mod listener;
mod lock;
#[cfg(not(loom))]
mod observe;
mod ownership;
mod removal;
pub(crate) mod semaphores;
mod sweep;
mod wait;

use std::sync::atomic::{AtomicBool, AtomicU64 as PrivateU64};
use std::sync::{Arc, Mutex};

use crate::error::SendError;
use crate::name::Name;
use crate::ring::RingLayout;
use crate::sys::{
    self, AtomicU64, MessageQueue, Ordering, Segment, SemaphoreSet, SystemError, SystemErrorKind,
};

pub(crate) use doorbell::Doorbell;
pub(crate) use find::is_channel;
pub(crate) use header::{Header, cut};
pub(crate) use layout::{
    ENVELOPE, Layout, MAX_LANES, MAX_RECEIVERS, ReceiverWords, TYPE_WORD, WINDOW, lane_word,
    slot_word, word,
};
pub(crate) use lifecycle::{BRIEFLY, Unlink, Wanted, create, open, unlink, wait_for};
pub(crate) use listener::{Listener, Registrant, Woken};
pub use ownership::Owner;
pub(crate) use removal::VALUES_BETWEEN_LOOKS;
pub use sweep::{Removed, sweep, sweep_all};
pub(crate) use wait::{End, Look, Waiter};

/// Bytes in front of a reply: the generation that it is for.
pub(crate) const ADDRESS: usize = 8;

/// How many bytes a layer above puts in front of a value and of a reply, at most: they do not count
/// against the longest value. Every process that opens a channel of such a layer knows them, so they
/// are never read from shared memory.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Heads {
    pub(crate) value: usize,
    pub(crate) reply: usize,
}

/// A channel that this process uses. Dropping it gives the use up, and removes the channel if it
/// was the last.
pub(crate) struct Control {
    pub(crate) segment: Arc<Segment>,
    pub(crate) set: SemaphoreSet,
    pub(crate) queue: Option<MessageQueue>,
    pub(crate) header: Header,
    heads: Heads,
    /// How errors name the channel.
    name: Arc<Name>,
    /// Whether all wakers are known to fence: see `doorbell`.
    all_fence: AtomicBool,
    /// The count of alarms up to which this process knows that the channel is there: see `removal`.
    alarms: PrivateU64,
    /// When a user that makes system calls anyway looks for the objects, as a deadline's number.
    look_again: PrivateU64,
    /// The kernel's last refusal to wake a peer, until a caller is told of it.
    unwoken: Mutex<Option<SystemError>>,
    has_unwoken: AtomicBool,
    /// Whose process this belongs to; a forked child has another token.
    token: u64,
    /// Whether the use was given up: when this is dropped, or before, when the process exits.
    closed: AtomicBool,
    /// Has it given up when the process exits; missing where this is no user.
    entry: Option<sys::at_exit::Entry>,
}

/// How a wait ended without what was waited for.
pub(crate) enum WaitError {
    /// The deadline passed.
    Timeout { channel: Arc<Name> },
    /// The channel was removed.
    Removed { channel: Arc<Name> },
    /// A system call failed.
    Failed { channel: Arc<Name>, error: SystemError },
}

impl Control {
    #[inline]
    pub(crate) fn layout(&self) -> &Layout {
        &self.header.layout
    }

    /// How errors name the channel; asked for when one is made.
    #[cold]
    pub(crate) fn name(&self) -> Arc<Name> {
        self.name.clone()
    }

    /// Has errors name the channel as its creator did, also where it was opened by a handle.
    pub(crate) fn called_as_created(&mut self) {
        if !self.header.name.is_empty() {
            self.name = Arc::new(Name::Text(self.header.name.clone()));
        }
    }

    /// What a refused system call means to its caller.
    #[cold]
    pub(crate) fn wait_error(&self, error: SystemError) -> WaitError {
        match error.kind() {
            SystemErrorKind::Removed => {
                self.notice_removed();
                self.removed()
            }
            _ => WaitError::Failed { channel: self.name(), error },
        }
    }

    /// Whether this process opened the channel, and not its parent before a fork.
    #[inline]
    pub(crate) fn is_ours(&self) -> bool {
        self.token == sys::process::token()
    }

    #[inline]
    pub(crate) fn word(&self, at: usize) -> &AtomicU64 {
        self.segment.word(at)
    }

    /// A word of a lane's block.
    #[inline]
    pub(crate) fn lane_word(&self, lane: usize, at: usize) -> &AtomicU64 {
        self.segment.word(self.layout().lane(lane) + at)
    }

    /// A word of a slot.
    #[inline]
    pub(crate) fn slot_word(&self, slot: usize, at: usize) -> &AtomicU64 {
        self.segment.word(self.layout().slot_words(slot) + at)
    }

    /// How many values all receivers have received.
    pub(crate) fn received_values(&self) -> u64 {
        self.sum_of_receivers(|words| words.values)
    }

    /// The sum of a figure over all receivers.
    pub(crate) fn sum_of_receivers(&self, at: impl Fn(ReceiverWords) -> usize) -> u64 {
        let figure = |place| self.word(at(self.layout().receiver(place))).load(Ordering::Relaxed);
        (0..self.layout().receivers).map(figure).fold(0, u64::wrapping_add)
    }

    /// How many lanes were ever owned; the others were never touched.
    #[inline]
    pub(crate) fn claimed(&self) -> usize {
        // Relaxed: what is read of the lane then is read by stamp, or means something by itself.
        let claimed = self.word(word::CLAIMED).load(Ordering::Relaxed);
        (claimed as usize).min(self.layout().lanes)
    }

    /// Makes a lane visible to the receiver.
    pub(crate) fn claim_lane(&self, lane: usize) {
        self.word(word::CLAIMED).fetch_max(lane as u64 + 1, Ordering::Relaxed);
        point!("lane.claimed");
    }

    /// Whether a receiver is attached, by the semaphore that the kernel keeps true.
    pub(crate) fn has_receiver(&self) -> Result<bool, SystemError> {
        Ok(!semaphores::is_zero(self.set, semaphores::RECEIVER)?)
    }

    /// Whether a receiver is attached that has said which it is, by the semaphore that the kernel
    /// keeps true.
    pub(crate) fn has_serving_receiver(&self) -> Result<bool, SystemError> {
        Ok(!semaphores::is_zero(self.set, semaphores::serving(self.layout().lanes))?)
    }

    /// Whether a sender is attached, by the semaphore that the kernel keeps true.
    pub(crate) fn has_sender(&self) -> Result<bool, SystemError> {
        Ok(!semaphores::is_zero(self.set, semaphores::SENDERS)?)
    }

    /// The ring from the lane's sender to the receiver.
    pub(crate) fn ring_of(&self, lane: usize) -> RingLayout {
        RingLayout { max_value: self.longest_value(), ..self.layout().ring(lane) }
    }

    /// The ring from the receiver back to the lane's sender.
    pub(crate) fn return_ring_of(&self, lane: usize) -> RingLayout {
        RingLayout { max_value: self.longest_reply(), ..self.layout().return_ring(lane) }
    }

    /// The longest value with its head, in bytes.
    #[inline]
    pub(crate) fn longest_value(&self) -> u64 {
        self.layout().max_value.saturating_add(self.heads.value as u64)
    }

    /// The longest reply with its address and its head, in bytes.
    pub(crate) fn longest_reply(&self) -> u64 {
        self.layout().max_value.saturating_add((ADDRESS + self.heads.reply) as u64)
    }

    /// The longest encoded value that the channel takes.
    #[inline]
    pub(crate) fn max_value(&self) -> u64 {
        if self.layout().has_ring() {
            self.layout().max_value
        } else {
            self.layout().max_value.min(self.layout().inline_limit as u64)
        }
    }

    /// The error for a value that is longer than that.
    pub(crate) fn too_long(&self) -> SendError {
        let max = self.max_value();
        let option = if max < self.layout().max_value { "inline_limit" } else { "max_value" };
        SendError::TooLong { channel: self.name(), max, option }
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        if self.is_ours() {
            // The entry goes after this, so that a process that exits waits for it.
            self.close();
        }
    }
}
