//! Where the receiver looks for values, in the shape that its channel has: lanes alone, or lanes and a
//! queue.

use std::time::Duration;

use super::Ready;
use super::lanes::Lanes;
use super::long::Long;
use super::origin::Origin;
use super::slots::{self, Slots};
use crate::codec::{ReadError, Reader};
use crate::control::{Control, lane_word};
use crate::error::RecvError;
use crate::ring::TrustedPeers;
use crate::sys::{Deadline, Fault, fault};
use crate::tag::{Select, Tag};

/// How long a caller that only polls goes by what it finds without system calls.
const ASK_AGAIN: Duration = Duration::from_millis(2);

/// Everything that a receiver knows of what waits for it.
pub(super) struct Intake {
    pub(super) lanes: Lanes,
    /// Missing where the channel has no queue.
    pub(super) slots: Option<Slots>,
    /// When a caller that only polls asks the kernel again.
    ask_again: Deadline,
}

impl Intake {
    pub(super) fn new(control: &Control) -> Self {
        Intake {
            lanes: Lanes::new(control),
            slots: control.queue.map(|queue| Slots::new(control, queue)),
            ask_again: Deadline::after(ASK_AGAIN),
        }
    }

    /// The next value that `select` asks for, if there is one.
    ///
    /// Without `ask` the queue is left alone as long as no sender counted a message up; with it the
    /// kernel is asked in any case, since a sender can die between message and count.
    ///
    /// Everything that is there when it begins is looked at; what comes meanwhile and is no value,
    /// until the deadline.
    #[inline]
    pub(super) fn look(
        &mut self,
        control: &Control,
        select: Select,
        ask: bool,
        deadline: Deadline,
    ) -> Result<Option<Ready>, RecvError> {
        self.lanes.see_claimed(control);
        if ask {
            self.ask_again = Deadline::after(ASK_AGAIN);
        }
        match &mut self.slots {
            None => self.lanes.next(control, deadline),
            Some(slots) => slots.next(control, &mut self.lanes, select, ask, deadline),
        }
    }

    /// The tag of what is ready.
    #[inline]
    pub(super) fn tag(&self, ready: &Ready) -> Tag {
        match *ready {
            Ready::Slot { slot, .. }
            | Ready::Record { slot: Some(slot), .. }
            | Ready::Long { slot: Some(slot), .. } => {
                self.slots.as_ref().map_or_else(Tag::default, |slots| slots.tag(slot))
            }
            Ready::Record { record, .. } | Ready::Long { record, .. } => record.tag,
        }
    }

    /// Who sent what is ready.
    pub(super) fn origin(&self, control: &Control, ready: &Ready) -> Origin {
        match *ready {
            Ready::Slot { origin, .. } => origin,
            Ready::Record { lane, record, .. } | Ready::Long { lane, record, .. } => {
                Origin::of_record(control, lane, record.position)
            }
        }
    }

    /// Reads the encoded bytes of what is ready.
    #[inline]
    pub(super) fn read<R>(
        &mut self,
        control: &Control,
        ready: &Ready,
        read: impl FnOnce(Reader<'_>) -> R,
    ) -> R {
        match ready {
            Ready::Slot { slot, len, .. } => slots::read(control, *slot, *len, read),
            Ready::Record { lane, record, .. } => self.lanes.inbox_ref(*lane).read(record, read),
            Ready::Long { lane, .. } => self.lanes.inbox(*lane).read_whole(read),
        }
    }

    /// Lends the encoded bytes of what is ready.
    pub(super) fn lend<'s>(
        &'s self,
        control: &'s Control,
        ready: &'s Ready,
        trust: TrustedPeers,
    ) -> &'s [u8] {
        match ready {
            Ready::Slot { slot, len, .. } => slots::lend(control, *slot, *len, trust),
            Ready::Record { lane, record, .. } => self.lanes.inbox_ref(*lane).lend(record, trust),
            // One that is not whole is not lent.
            Ready::Long { lane, .. } => self.lanes.inbox_ref(*lane).whole().unwrap_or_default(),
        }
    }

    /// Whether what is ready can be lent: there may have been no memory to collect it.
    pub(super) fn is_lendable(&self, ready: &Ready) -> Result<(), ReadError> {
        match ready {
            Ready::Long { lane, .. } => self.lanes.inbox_ref(*lane).whole().map(drop),
            Ready::Slot { .. } | Ready::Record { .. } => Ok(()),
        }
    }

    /// Hands over what was ready; `false` if its sender took it back before.
    #[inline]
    pub(super) fn hand_over(&mut self, control: &Control, ready: &Ready) -> bool {
        let mut accepted = true;
        let slot = match *ready {
            Ready::Slot { slot, .. } => Some(slot),
            Ready::Record { lane, record, slot } => {
                let inbox = self.lanes.inbox(lane);
                inbox.consume(&record);
                if !fault(Fault::SpaceNotRung) {
                    inbox.ring_if_moved(control);
                }
                slot
            }
            Ready::Long { lane, record, start, slot } => {
                accepted = Long(control.lane_word(lane, lane_word::LONG)).complete(start)
                    || fault(Fault::LongNotSettled);
                let inbox = self.lanes.inbox(lane);
                inbox.consume(&record);
                if fault(Fault::LongNotRung) {
                    inbox.ring_if_moved(control);
                } else {
                    // Its sender waits for this, also where no room comes free by it.
                    inbox.ring(control);
                }
                slot
            }
        };
        if let (Some(slot), Some(slots)) = (slot, &mut self.slots) {
            slots.clear(control, slot);
        }
        accepted
    }

    /// Gives back the memory of what was handed over.
    #[inline]
    pub(super) fn forget(&mut self, ready: &Ready) {
        if let Ready::Long { lane, .. } = *ready {
            self.lanes.inbox(lane).forget_whole();
        }
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
            let is_time = || rx.state.borrow().intake.is_time_to_ask();
            while !is_time() {}
            // Of two calls in a row the second leaves the kernel alone, unless time went by.
            let quiet = (0..100).any(|_| rx.try_recv().unwrap_err().is_empty() && !is_time());
            assert!(quiet);
        }
    }
}
