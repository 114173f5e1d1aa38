//! Figures of a channel.

use super::Channel;
use super::envelope::Envelope;
use crate::codec::Codec;
use crate::control::fragmented::Fragmented;
use crate::control::{Control, ENVELOPE, SLOTS, TYPE_WORD, lane_word, semaphores, word};
use crate::ring::Consumer;
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
    /// Values that wait to be received now, those included whose sender died; without one that a
    /// receiver had handed over when it was killed, though it did not come to count it.
    pub waiting: u64,
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
    /// Values that wait to be received.
    pub fn depth(&self) -> u64 {
        self.waiting
    }

    pub(super) fn of(control: &Control) -> Result<Self, SystemError> {
        // Relaxed, all of them: each figure stands for itself.
        let get = |at| control.word(at).load(Ordering::Relaxed);
        let mut stats = Stats {
            received_values: get(word::RECEIVED_VALUES),
            received_bytes: get(word::RECEIVED_BYTES),
            receiver_parks: get(word::RECEIVER_PARKS),
            receiver_wakeups: get(word::RECEIVER_WAKEUPS),
            waiting: waiting(control)?,
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
        // A segment that was removed still has its figures, for those who have it mapped.
        if control.is_removed() || cfg!(not(loom)) && control.poll_removed() {
            return Err(SystemError::removed(control.segment.id().name()));
        }
        Ok(stats)
    }
}

impl<T, C: Codec<T>> Channel<T, C> {
    /// What happened on the channel so far.
    ///
    /// # Errors
    /// [`SystemError`], of kind [`Removed`](crate::SystemErrorKind::Removed) if the channel was removed.
    pub fn stats(&self) -> Result<Stats, SystemError> {
        Stats::of(&self.control)
    }
}

/// How many values wait: counted where they stand, since a process can be killed between what it does
/// with a value and the count of it.
pub(super) fn waiting(control: &Control) -> Result<u64, SystemError> {
    let layout = control.layout();
    if layout.has_queue() {
        // Every value has one message, on the queue or in a slot.
        let in_slots = (0..SLOTS).filter(|&slot| holds_value(control, slot)).count();
        return Ok(control.queued()? + in_slots as u64);
    }
    let of_lane = |lane| {
        let long_waits = Fragmented(control.lane_word(lane, lane_word::FRAGMENTED)).is_any_open();
        Consumer::count_values(control.segment.clone(), layout.ring(lane), long_waits)
    };
    Ok((0..control.claimed()).map(of_lane).sum())
}

/// Whether a slot holds a value, and not the descriptor of one that was handed over.
fn holds_value(control: &Control, slot: usize) -> bool {
    let layout = control.layout();
    let at = layout.slot(slot);
    // Relaxed: the figures may be of different moments.
    if control.word(at).load(Ordering::Relaxed) == 0 {
        return false;
    }
    let envelope = control.segment.read(at + TYPE_WORD, ENVELOPE, |mut reader| reader.read_array());
    match envelope.ok().and_then(Envelope::read) {
        Some(Envelope::Descriptor { lane, position })
            if layout.has_ring() && lane < layout.lanes =>
        {
            !Consumer::is_consumed(control.segment.clone(), layout.ring(lane), position)
        }
        _ => true,
    }
}

#[cfg(all(test, not(loom), feature = "bincode"))]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use serde::{Deserialize, Serialize};

    use super::*;
    use crate::codec::Bytes;
    use crate::{Channel, Select, Tag};

    #[test]
    fn a_descriptor_where_there_are_no_rings_harms_nobody() {
        let channel = Channel::<u32>::options().capacity(0).private().unwrap();
        let control = &channel.control;
        let slot = control.layout().slot(0);
        control.word(slot).store(1, Ordering::Relaxed);
        let mut text = [0; ENVELOPE];
        Envelope::Descriptor { lane: 0, position: 7 }.write(&mut text);
        control.segment.copy_in(slot + TYPE_WORD, &text);
        // It counts as a value, of which the next receiver is to hear.
        assert_eq!(channel.stats().unwrap().depth(), 1);
        assert!(control.holds_values());
        assert!(channel.receiver().unwrap().try_recv().is_err());
    }

    /// A value that cannot be decoded, and takes the call along.
    #[derive(Serialize)]
    struct Poison(Bytes);

    impl<'de> Deserialize<'de> for Poison {
        fn deserialize<D: serde::Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
            panic!("poison")
        }
    }

    /// As in a receiver that is killed between the hand-over of a value and the count of it, the
    /// value is gone and was not counted.
    #[test]
    fn value_that_was_handed_over_and_not_counted_does_not_wait() {
        for (inline_limit, capacity) in [(1024, 65_536), (0, 65_536), (4096, 0)] {
            let options = Channel::<Poison>::options().inline_limit(inline_limit);
            let schema = crate::Schema::named("poison", 1);
            let channel = options.capacity(capacity).schema(schema).private().unwrap();
            let (tx, rx) = (channel.sender().unwrap(), channel.receiver().unwrap());
            for len in [1, 2000, 3] {
                tx.send(&Poison(vec![0; len].into())).unwrap();
            }
            for left in [3, 2, 1, 0] {
                let stats = channel.stats().unwrap();
                assert_eq!((stats.depth(), stats.received_values), (left, 0));
                let taken = catch_unwind(AssertUnwindSafe(|| rx.try_recv().map(drop)));
                assert_eq!(taken.is_err(), left > 0);
            }
        }
    }

    #[test]
    fn values_taken_out_of_order_do_not_wait() {
        let channel = Channel::<Vec<u8>>::private().unwrap();
        let (tx, rx) = (channel.sender().unwrap(), channel.receiver().unwrap());
        let other = Tag::new(7).unwrap();
        for tag in [Tag::DEFAULT, other, Tag::DEFAULT] {
            tx.send_tagged(tag, &vec![1; 3000]).unwrap();
        }
        rx.recv_matching(Select::Exactly(other)).unwrap();
        assert_eq!(channel.stats().unwrap().depth(), 2);
        rx.recv().unwrap();
        assert_eq!(channel.stats().unwrap().depth(), 1);
    }
}
