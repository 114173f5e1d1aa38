//! Figures of a channel.

use super::Channel;
use super::envelope::Envelope;
use crate::codec::Codec;
use crate::control::fragmented::Fragmented;
use crate::control::{Control, ENVELOPE, TYPE_WORD, lane_word, semaphores};
use crate::ring::Consumer;
#[cfg(not(loom))]
use crate::ring::Record;
use crate::sys::{Ordering, SystemError};

/// What happened on a channel since it was created, over all its senders and receivers.
///
/// While values are on their way two figures may be from different moments. What is there now is exact, `waiting` too.
/// What happened since the channel was created is exact unless a process was killed, which may not have come to count
/// what it did last: a sender its last value, which arrives all the same, and a receiver the last value, or batch, that
/// it handed over. So `received_values` may be more than `sent_values`, and the difference of the two is not what waits.
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
/// assert_eq!((stats.senders, stats.receivers), (1, 1));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Stats {
    /// Values sent, as their senders counted them.
    pub sent_values: u64,
    /// Encoded bytes sent.
    pub sent_bytes: u64,
    /// Values received, as their receivers counted them.
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
    /// How often a receiver went to sleep.
    pub receiver_parks: u64,
    /// How often a sleeping receiver woke.
    pub receiver_wakeups: u64,
    /// Senders attached now.
    pub senders: usize,
    /// Receivers attached now.
    pub receivers: usize,
    /// `Channel`s open now; the ends of a channel keep it open.
    pub users: usize,
}

impl Stats {
    /// Values that wait to be received.
    pub fn depth(&self) -> u64 {
        self.waiting
    }

    pub(super) fn of(control: &Control) -> Result<Self, SystemError> {
        let stats = Stats::read(control)?;
        // A segment that was removed still has its figures, for processes that have it mapped.
        if control.is_removed() || cfg!(not(loom)) && control.poll_removed() {
            return Err(SystemError::removed(control.segment.id().name()));
        }
        Ok(stats)
    }

    /// The figures as they stand, also of a channel that was removed or is only looked at: nothing is
    /// written.
    pub(crate) fn read(control: &Control) -> Result<Self, SystemError> {
        // Relaxed, all of them: each figure stands for itself.
        let mut stats = Stats {
            received_values: control.received_values(),
            received_bytes: control.sum_of_receivers(|words| words.bytes),
            receiver_parks: control.sum_of_receivers(|words| words.parks),
            receiver_wakeups: control.sum_of_receivers(|words| words.wakeups),
            waiting: waiting(control)?,
            queued: control.queued()?,
            senders: control.set.value(semaphores::SENDERS)?.into(),
            receivers: control.set.value(semaphores::RECEIVER)?.into(),
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
    if !control.layout().has_queue() {
        let values = |lane| last_records(control, lane).filter(|&(_, waits)| waits).count() as u64;
        return Ok((0..control.claimed()).map(values).sum());
    }
    // Every value has one message, on the queue or in a slot. A message may stand for none: its value went
    // in fragments, and was taken back.
    let messages = (0..control.layout().slots()).filter_map(|slot| in_slot(control, slot));
    let (waits, stale): (Vec<_>, Vec<_>) = messages.partition(|&is_value| is_value);
    let all_stale: usize = (0..control.claimed())
        .filter(|&lane| fragmented(control, lane).was_used())
        .map(|lane| last_records(control, lane).filter(|&(_, waits)| !waits).count())
        .sum();
    let on_queue = all_stale.saturating_sub(stale.len()) as u64;
    Ok(control.queued()?.saturating_sub(on_queue) + waits.len() as u64)
}

fn fragmented(control: &Control, lane: usize) -> Fragmented<'_> {
    Fragmented(control.lane_word(lane, lane_word::FRAGMENTED))
}

/// How many values wait in a lane's ring, and how many bytes its records have, those of values that are
/// half sent included.
#[cfg(not(loom))]
pub(crate) fn waiting_in_ring(control: &Control, lane: usize) -> (u64, u64) {
    if !control.layout().has_ring() {
        return (0, 0);
    }
    // One that its sender may still take back does not wait. Relaxed: figures of this moment.
    let announced = match control.layout().has_queue() {
        true => control.lane_word(lane, lane_word::ANNOUNCED).load(Ordering::Relaxed),
        false => u64::MAX,
    };
    let records = Consumer::waiting(control.segment.clone(), control.layout().ring(lane));
    let sent = |record: &Record| !record.flags.is_last() || record.position < announced;
    records.filter(sent).fold((0, 0), |(values, bytes), record| {
        let flags = record.flags;
        let open = || fragmented(control, lane).is_open_at(record.position);
        let waits = flags.is_last() && (flags.is_whole() || open());
        (values + u64::from(waits), bytes + record.len as u64)
    })
}

/// How many messages receivers have in hand, or left there when they died.
#[cfg(not(loom))]
pub(crate) fn in_hand(control: &Control) -> usize {
    (0..control.layout().slots()).filter(|&slot| in_slot(control, slot).is_some()).count()
}

/// Where the last records of values stand in a lane's ring, and whether their values wait.
fn last_records(control: &Control, lane: usize) -> impl Iterator<Item = (u64, bool)> {
    let last = Consumer::last_records(control.segment.clone(), control.layout().ring(lane));
    last.map(move |(last, whole)| (last, whole || fragmented(control, lane).is_open_at(last)))
}

/// Whether the message in a slot stands for a value that waits; `None` if there is none, or that of a
/// record that was consumed.
fn in_slot(control: &Control, slot: usize) -> Option<bool> {
    let layout = control.layout();
    let at = layout.slot(slot);
    // Relaxed: the figures may be of different moments.
    if control.word(at).load(Ordering::Relaxed) == 0 {
        return None;
    }
    let envelope = control.segment.read(at + TYPE_WORD, ENVELOPE, |mut reader| reader.read_array());
    match envelope.ok().and_then(Envelope::read) {
        Some(Envelope::Descriptor { lane, position })
            if layout.has_ring() && lane < layout.lanes =>
        {
            let mut records = last_records(control, lane);
            records.find(|&(last, _)| last == position).map(|(_, waits)| waits)
        }
        _ => Some(true),
    }
}

#[cfg(all(test, not(loom), feature = "bincode"))]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::time::Duration;

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

    /// As of a sender that is killed between the publication of a value and the count of it.
    #[test]
    fn value_that_was_not_counted_as_sent_waits_all_the_same() {
        for (inline_limit, capacity) in [(1024, 65_536), (0, 65_536), (4096, 0)] {
            let options = Channel::<Vec<u8>>::options().inline_limit(inline_limit);
            let channel = options.capacity(capacity).private().unwrap();
            let (tx, rx) = (channel.sender().unwrap(), channel.receiver().unwrap());
            let mut tap = crate::tap(channel.handle()).unwrap();
            for len in [1, 2000] {
                tx.send(&vec![0; len]).unwrap();
            }
            channel.control.lane_word(0, lane_word::SENT_VALUES).store(1, Ordering::Relaxed);
            for received in 0..=2 {
                let stats = channel.stats().unwrap();
                assert_eq!((stats.sent_values, stats.received_values), (1, received));
                assert_eq!(stats.depth(), 2 - received);
                let seen = std::iter::from_fn(|| tap.try_next()).count();
                assert_eq!((seen, tap.missed()), (if received == 0 { 2 } else { 0 }, 0));
                assert_eq!(rx.try_recv().is_ok(), received < 2);
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

    #[test]
    fn what_was_given_up_in_fragments_does_not_wait() {
        const LENGTHS: [usize; 7] = [0, 10, 500, 1500, 2100, 3000, 5000];
        let mut seed = 7_u64;
        let mut random = |below: usize| {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            (seed >> 20) as usize % below
        };
        for run in 0..100 {
            let inline_limit = [0, 1024][run % 2];
            let options = Channel::<Bytes>::options().inline_limit(inline_limit).capacity(4096);
            let channel = options.private().unwrap();
            let (tx, rx) = (channel.sender().unwrap(), channel.receiver().unwrap());
            let mut sent = std::collections::VecDeque::new();
            for step in 0..40 {
                if random(5) < 3 {
                    let len = LENGTHS[random(LENGTHS.len())];
                    let value = Bytes::from(vec![len as u8; len]);
                    if tx
                        .send_timeout(&value, Duration::from_micros(random(2) as u64 * 300))
                        .is_ok()
                    {
                        sent.push_back(value);
                    }
                } else {
                    assert_eq!(rx.try_recv().ok(), sent.pop_front());
                }
                let waiting = channel.stats().unwrap().depth() as usize;
                let counted = (waiting, rx.len().unwrap(), tx.is_empty().unwrap());
                let due = (sent.len(), sent.len(), sent.is_empty());
                assert_eq!(counted, due, "run {run}, step {step}, inline_limit {inline_limit}");
            }
        }
    }
}
