//! Figures of a channel.

use crate::control::{Control, lane_word, semaphores, word};
use crate::sys::{Ordering, SystemError};

/// What happened on a channel since it was created, over all its senders and receivers.
///
/// Each figure is exact; while values are on their way two of them may be from different moments.
///
/// ```
/// let channel = sysv_channel::Channel::<u64>::private()?;
/// let (tx, rx) = (channel.sender()?, channel.receiver()?);
/// tx.send(&1)?;
/// tx.send(&2)?;
/// rx.recv()?;
/// let stats = channel.stats()?;
/// assert_eq!((stats.sent_values, stats.received_values, stats.depth()), (2, 1, 1));
/// assert_eq!((stats.sent_bytes, stats.received_bytes), (16, 8));
/// assert_eq!((stats.senders, stats.receiver), (1, true));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Stats {
    /// Values sent.
    pub sent_values: u64,
    /// Encoded bytes sent.
    pub sent_bytes: u64,
    /// Values received.
    pub received_values: u64,
    /// Encoded bytes received.
    pub received_bytes: u64,
    /// Messages on the kernel's queue now: small values, and descriptors of large ones.
    pub queued: u64,
    /// How often a sender went to sleep.
    pub sender_parks: u64,
    /// How often a sleeping sender woke.
    pub sender_wakeups: u64,
    /// How often the receiver went to sleep.
    pub receiver_parks: u64,
    /// How often the sleeping receiver woke.
    pub receiver_wakeups: u64,
    /// Senders attached now.
    pub senders: usize,
    /// Whether a receiver is attached now.
    pub receiver: bool,
    /// `Channel`s open now; the ends of a channel keep it open.
    pub users: usize,
}

impl Stats {
    /// Values sent and not received yet, those included whose process died in between.
    pub fn depth(&self) -> u64 {
        self.sent_values.saturating_sub(self.received_values)
    }

    pub(super) fn of(control: &Control) -> Result<Self, SystemError> {
        // Relaxed, all of them: each figure stands for itself.
        let get = |at| control.word(at).load(Ordering::Relaxed);
        let mut stats = Stats {
            received_values: get(word::RECEIVED_VALUES),
            received_bytes: get(word::RECEIVED_BYTES),
            receiver_parks: get(word::RECEIVER_PARKS),
            receiver_wakeups: get(word::RECEIVER_WAKEUPS),
            queued: control.queued()?,
            senders: control.set.value(semaphores::SENDERS)?.into(),
            receiver: control.has_receiver()?,
            users: control.set.value(semaphores::USERS)?.into(),
            ..Stats::default()
        };
        for lane in 0..control.claimed() {
            let add = |sum: &mut u64, at| {
                *sum = sum.wrapping_add(control.lane_word(lane, at).load(Ordering::Relaxed));
            };
            add(&mut stats.sent_values, lane_word::SENT_VALUES);
            add(&mut stats.sent_bytes, lane_word::SENT_BYTES);
            add(&mut stats.sender_parks, lane_word::PARKS);
            add(&mut stats.sender_wakeups, lane_word::WAKEUPS);
        }
        Ok(stats)
    }
}
