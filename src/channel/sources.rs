//! Where the receiver looks for values, in the shape that its channel has: lanes alone, or lanes and a
//! queue.

use std::time::Duration;

use super::Delivery;
use super::fragmented::Fragmented;
use super::lanes::Lanes;
use super::origin::Origin;
use super::slots::{self, Slots};
use super::value_id::{LONG, MESSAGE, ValueId};
use crate::codec::{ReadError, Reader};
use crate::control::{Control, lane_word};
use crate::error::RecvError;
use crate::ring::TrustedPeers;
use crate::sys::{Deadline, Fault, Ordering, fault};
use crate::tag::{Select, Tag};

/// How long a caller that only polls goes by what it finds without system calls.
pub(super) const ASK_AGAIN: Duration = Duration::from_millis(2);

/// Everything that a receiver knows of what waits for it.
pub(super) struct Sources {
    pub(super) lanes: Lanes,
    /// Missing where the channel has no queue.
    pub(super) slots: Option<Slots>,
    /// When a caller that only polls asks the kernel again.
    ask_again: Deadline,
    /// Whether values are found that stand behind others which are held.
    holds: bool,
}

impl Sources {
    pub(super) fn new(control: &Control, place: usize) -> Self {
        Sources {
            lanes: Lanes::new(control, place),
            slots: control.queue.map(|queue| Slots::new(control, queue, place)),
            ask_again: Deadline::after(ASK_AGAIN),
            holds: false,
        }
    }

    /// The receiver has said which it is, before it looks for values.
    pub(super) fn serve(&mut self, control: &Control, generation: u64) {
        if let Some(slots) = &mut self.slots {
            slots.serve(control, generation);
        }
    }

    /// The next value that `select` asks for, if there is one.
    ///
    /// Without `ask_kernel` the queue is left alone as long as no sender counted a message up; with it the
    /// kernel is asked in any case, since a sender can die between message and count.
    ///
    /// Everything that is there when it begins is looked at; what comes meanwhile and is no value,
    /// until the deadline.
    #[inline]
    pub(super) fn look(
        &mut self,
        control: &Control,
        select: Select,
        ask_kernel: bool,
        deadline: Deadline,
    ) -> Result<Option<Delivery>, RecvError> {
        self.lanes.see_claimed(control);
        if ask_kernel {
            self.ask_again = Deadline::after(ASK_AGAIN);
        }
        match &mut self.slots {
            None if self.holds => self.lanes.next_behind(control, deadline),
            None => self.lanes.next(control, deadline),
            Some(slots) => slots.next(control, &mut self.lanes, select, ask_kernel, deadline),
        }
    }

    /// Whether there is something for a call that does not wait; it stays where it is. There may be less
    /// than it seems: a value that its sender took back, or a message that is of no value.
    pub(super) fn is_ready(
        &mut self,
        control: &Control,
        ask_kernel: bool,
    ) -> Result<bool, RecvError> {
        self.lanes.see_claimed(control);
        if ask_kernel {
            self.ask_again = Deadline::after(ASK_AGAIN);
        }
        match &mut self.slots {
            None => Ok(self.lanes.next(control, Deadline::now())?.is_some()),
            Some(slots) => slots.is_ready(control, &mut self.lanes, ask_kernel),
        }
    }

    /// The tag of what is ready.
    #[inline]
    pub(super) fn tag(&self, delivery: &Delivery) -> Tag {
        match *delivery {
            Delivery::Slot { slot, .. }
            | Delivery::Record { slot: Some(slot), .. }
            | Delivery::Fragments { slot: Some(slot), .. } => {
                self.slots.as_ref().map_or_else(Tag::default, |slots| slots.tag(slot))
            }
            Delivery::Record { record, .. } | Delivery::Fragments { record, .. } => record.tag,
        }
    }

    /// Who sent what is ready.
    pub(super) fn origin(&self, control: &Control, delivery: &Delivery) -> Origin {
        match *delivery {
            Delivery::Slot { origin, .. } => origin,
            Delivery::Record { lane, record, .. } | Delivery::Fragments { lane, record, .. } => {
                Origin::of_record(control, lane, record.position)
            }
        }
    }

    /// Which value is ready; `None` if its sender has taken it back.
    pub(super) fn id(&self, control: &Control, delivery: &Delivery) -> Option<ValueId> {
        let (lane, number) = match *delivery {
            Delivery::Slot { slot, origin, .. } => {
                (origin.lane as u64 | MESSAGE, slots::message_number(control, slot))
            }
            Delivery::Record { lane, record, .. } => (lane as u64, record.position),
            Delivery::Fragments { lane, start, .. } => {
                // Its place changes where its sender begins again, and this number does not. Acquire: pairs with the
                // Release in `Sender::begin_long`. Where it is the next value's, this one is seen as taken back.
                let number =
                    control.lane_word(lane, lane_word::LONG_VALUES).load(Ordering::Acquire);
                let word = Fragmented(control.lane_word(lane, lane_word::FRAGMENTED));
                if !word.is_open(start) && !fault(Fault::LongTakenForNext) {
                    return None;
                }
                (lane as u64 | LONG, number)
            }
        };
        Some(ValueId::from_words([control.header.incarnation, lane, number]))
    }

    /// From here on values are found that stand behind others which are held.
    pub(super) fn hold_values(&mut self) {
        self.holds = true;
    }

    /// What is ready stays where it is, and is not found again.
    pub(super) fn hold(&mut self, delivery: &Delivery) {
        let (slot, record) = match *delivery {
            Delivery::Slot { slot, .. } => (Some(slot), None),
            Delivery::Record { lane, record, slot }
            | Delivery::Fragments { lane, record, slot, .. } => (slot, Some((lane, record))),
        };
        match (slot, record, &mut self.slots) {
            (Some(slot), _, Some(slots)) => slots.hold(slot),
            (_, Some((lane, record)), _) => self.lanes.consumer_mut(lane).pass(&record),
            _ => {}
        }
    }

    /// Has what is held found again: by its messages, where there are any.
    pub(super) fn rewind(&mut self) {
        match &mut self.slots {
            None => self.lanes.rewind(),
            Some(slots) => slots.rewind(),
        }
    }

    /// Frees what fills a ring behind a value that was held: no look comes by it.
    pub(super) fn free_padding(&mut self, control: &Control, delivery: &Delivery) {
        if let Delivery::Record { lane, .. } | Delivery::Fragments { lane, .. } = *delivery {
            self.lanes.consumer_mut(lane).free_padding(control);
        }
    }

    /// Reads the encoded bytes of what is ready, and leaves them as they are.
    #[inline]
    pub(super) fn look_into<R>(
        &self,
        control: &Control,
        delivery: &Delivery,
        read: impl FnOnce(Reader<'_>) -> R,
    ) -> R {
        match delivery {
            Delivery::Slot { slot, len, .. } => slots::read(control, *slot, *len, read),
            Delivery::Record { lane, record, .. } => self.lanes.consumer(*lane).read(record, read),
            Delivery::Fragments { lane, .. } => {
                read(Reader::new(self.lanes.consumer(*lane).whole().unwrap_or_default()))
            }
        }
    }

    /// Reads the encoded bytes of what is ready, and perhaps moves them out.
    #[inline]
    pub(super) fn read<R>(
        &mut self,
        control: &Control,
        delivery: &Delivery,
        read: impl FnOnce(Reader<'_>) -> R,
    ) -> R {
        match delivery {
            Delivery::Fragments { lane, .. } => self.lanes.consumer_mut(*lane).read_whole(read),
            Delivery::Slot { .. } | Delivery::Record { .. } => {
                self.look_into(control, delivery, read)
            }
        }
    }

    /// Lends the encoded bytes of what is ready.
    pub(super) fn lend<'s>(
        &'s self,
        control: &'s Control,
        delivery: &'s Delivery,
        trust: TrustedPeers,
    ) -> &'s [u8] {
        match delivery {
            Delivery::Slot { slot, len, .. } => slots::lend(control, *slot, *len, trust),
            Delivery::Record { lane, record, .. } => self.lanes.consumer(*lane).lend(record, trust),
            // One that is not whole is not lent.
            Delivery::Fragments { lane, .. } => {
                self.lanes.consumer(*lane).whole().unwrap_or_default()
            }
        }
    }

    /// Whether what is ready can be lent: there may have been no memory to collect it.
    pub(super) fn is_lendable(&self, delivery: &Delivery) -> Result<(), ReadError> {
        match delivery {
            Delivery::Fragments { lane, .. } => self.lanes.consumer(*lane).whole().map(drop),
            Delivery::Slot { .. } | Delivery::Record { .. } => Ok(()),
        }
    }

    /// Hands over what was ready; `false` if its sender took it back before.
    #[inline]
    pub(super) fn hand_over(&mut self, control: &Control, delivery: &Delivery) -> bool {
        let mut accepted = true;
        let slot = match *delivery {
            Delivery::Slot { slot, .. } => Some(slot),
            Delivery::Record { lane, record, slot } => {
                let consumer = self.lanes.consumer_mut(lane);
                consumer.consume(&record);
                if !fault(Fault::SpaceNotRung) {
                    consumer.notify_if_moved(control);
                }
                slot
            }
            Delivery::Fragments { lane, record, start, slot } => {
                accepted = Fragmented(control.lane_word(lane, lane_word::FRAGMENTED))
                    .complete(start)
                    || fault(Fault::LongNotSettled);
                let consumer = self.lanes.consumer_mut(lane);
                consumer.consume(&record);
                if fault(Fault::LongNotRung) {
                    consumer.notify_if_moved(control);
                } else {
                    // Its sender waits for this, also where no room comes free by it.
                    consumer.notify(control);
                }
                slot
            }
        };
        if let (Some(slot), Some(slots)) = (slot, &mut self.slots) {
            slots.clear(control, slot);
        }
        accepted
    }

    /// Gives back what was ready, so that it is received again: by this receiver, or by another one.
    pub(super) fn give_back(&mut self, control: &Control, delivery: &Delivery) {
        if let (Delivery::Slot { slot, .. }, Some(slots)) = (*delivery, &mut self.slots) {
            slots.give_back(control, slot);
        }
    }

    /// Whether another receiver may have a value in hand that `select` asks for. Then this one is rung when
    /// that was handed over, given back, or left by a dead receiver.
    pub(super) fn await_others(&self, control: &Control, select: Select) -> bool {
        self.slots.as_ref().is_some_and(|slots| slots.await_others(control, select))
    }

    /// Gives back the memory of what was handed over.
    #[inline]
    pub(super) fn forget(&mut self, delivery: &Delivery) {
        if let Delivery::Fragments { lane, start, .. } = *delivery {
            self.lanes.consumer_mut(lane).forget_whole(start);
        }
    }

    /// Has a caller that only polls ask the kernel with the next look.
    pub(super) fn ask_now(&mut self) {
        self.ask_again = Deadline::now();
    }

    /// Whether a caller that only polls should ask the kernel again.
    pub(super) fn is_time_to_ask(&self) -> bool {
        self.ask_again.has_passed()
    }
}

#[cfg(all(test, not(loom), feature = "bincode"))]
mod tests {
    use crate::Channel;

    #[test]
    fn whoever_polls_asks_the_kernel_only_now_and_then() {
        for options in [Channel::<u32>::options(), Channel::<u32>::options().inline_limit(0)] {
            let channel = options.private().unwrap();
            let (_tx, rx) = (channel.sender().unwrap(), channel.receiver().unwrap());
            let is_time = || rx.state.borrow().sources.is_time_to_ask();
            while !is_time() {}
            // Of two calls in a row the second leaves the kernel alone, unless time went by.
            let quiet = (0..100).any(|_| rx.try_recv().unwrap_err().is_empty() && !is_time());
            assert!(quiet);
        }
    }
}
