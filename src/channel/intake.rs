//! Where the receiver looks for values: slots, lanes, queue.

use std::time::Duration;

use super::Ready;
use super::envelope::Envelope;
use super::inbox::{InHand, Inbox};
use super::long::Long;
use super::origin::Origin;
use super::space::Space;
use crate::codec::{ReadError, Reader};
use crate::control::{Control, ENVELOPE, Ends, SLOTS, TYPE_WORD, lane_word, word};
use crate::error::RecvError;
use crate::ring::{self, Peeked, Record, TrustedPeers};
use crate::sys::{
    Deadline, Fault, MessageBuffer, MessageQueue, MessageSelect, Ordering, SystemErrorKind, Wait,
    fault,
};
use crate::tag::{Select, Tag};

/// How many values in a row come from one lane while others wait.
const BURST: usize = 32;

/// How many looks at lanes without a request one request more from the same lane is worth.
///
/// A caller that runs on another processor asks again before the server looks for the next request, and
/// one that sleeps does not. So a burst would be its alone.
// NB: measured with six callers that call without a pause, each of 200 us: in bursts of 32 one had 108
// calls and another 2,926, by this rule 1,824 and 1,880.
const LOOKS_FOR_ONE_MORE: usize = 16;

/// How many queue messages in a row are taken before fragments are collected.
const MESSAGES_BEFORE_FRAGMENTS: usize = 8;

/// How many queue messages in a row that are no values are taken before the deadline counts. A
/// queue of the kernel's default size holds no more descriptors than this.
const MESSAGES_BEFORE_DEADLINE: usize = 1024;

/// How long a caller that only polls goes by what it finds without system calls.
const ASK_AGAIN: Duration = Duration::from_millis(2);

/// Everything that a receiver knows of what waits for it.
pub(super) struct Intake {
    inboxes: Vec<Inbox>,
    /// The lane that a value last came from, which rings are looked at first; and how many values
    /// came from it in a row.
    turn: usize,
    burst: usize,
    /// How many may come from it in a row.
    longest_burst: usize,
    /// Whether a value is a request, whose sender asks again as soon as it has its answer.
    requests: bool,
    /// The tags of the messages in the slots.
    slots: [Option<Tag>; SLOTS],
    /// The number of the next message put into a slot.
    order: u64,
    /// For which selection, at which event count, the queue was found empty.
    empty: Option<(Select, u64)>,
    messages: usize,
    /// When a caller that only polls asks the kernel again.
    ask_again: Deadline,
    space: Space,
}

impl Intake {
    pub(super) fn new(control: &Control) -> Self {
        let mut slots = [None; SLOTS];
        let mut order = 0;
        if control.layout().has_queue() {
            for (slot, tag) in slots.iter_mut().enumerate() {
                // Relaxed: a predecessor's, who comes before us through the role semaphore.
                let at = control.layout().slot(slot);
                *tag = Tag::new(control.word(at).load(Ordering::Relaxed) as i64);
                if tag.is_some() {
                    order = order.max(slot_order(control, slot).saturating_add(1));
                } else {
                    // The kernel must be able to write here, or a message would be lost: have the
                    // memory there before.
                    let end = at + TYPE_WORD + control.layout().message_len();
                    control.segment.copy_in(end - 1, &[0]);
                }
            }
        }
        Intake {
            inboxes: Vec::new(),
            turn: 0,
            burst: 0,
            longest_burst: BURST,
            requests: control.layout().return_lines > 0,
            slots,
            order,
            empty: None,
            messages: 0,
            ask_again: Deadline::after(ASK_AGAIN),
            space: Space::new(control),
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
        self.see_claimed(control);
        if ask {
            self.ask_again = Deadline::after(ASK_AGAIN);
        }
        match control.queue {
            None => self.look_at_lanes(control, deadline),
            Some(queue) => self.look_at_queue(control, queue, select, ask, deadline),
        }
    }

    /// This end, and the sender that a value last came from.
    #[inline]
    pub(super) fn ends(&self, control: &Control) -> Ends {
        let claimed = self.turn < self.inboxes.len();
        control.receiving_end(if claimed { self.turn } else { 0 })
    }

    /// Learns of lanes that were claimed since the last look.
    #[inline]
    fn see_claimed(&mut self, control: &Control) {
        for lane in self.inboxes.len()..control.claimed() {
            self.inboxes.push(Inbox::new(control, lane));
        }
    }

    /// Looks at the lanes as `look` does, at what is there most often.
    #[inline(always)]
    pub(super) fn peek(&mut self, control: &Control) -> Peeked {
        if self.inboxes.len() < control.claimed() {
            return Peeked::Other;
        }
        let seen = self.in_turns(|inbox| match inbox.peek() {
            Peeked::Empty => None,
            seen => Some(seen),
        });
        if seen.is_some() {
            // Counted when it is in hand. Where it is no whole value, the longer look that follows
            // begins with this lane.
            self.burst -= 1;
        }
        seen.unwrap_or(Peeked::Empty)
    }

    /// The lane in which [`Intake::peek`] saw a value, and that value.
    #[inline(always)]
    pub(super) fn in_hand<'i>(&'i mut self, control: &'i Control) -> Option<(usize, InHand<'i>)> {
        let lane = self.turn;
        let in_hand = self.inboxes.get_mut(lane)?.in_hand(control)?;
        self.burst += 1;
        Some((lane, in_hand))
    }

    /// Reads the encoded bytes of a record.
    #[inline]
    fn read_record<R>(
        &self,
        lane: usize,
        record: &Record,
        read: impl FnOnce(Reader<'_>) -> R,
    ) -> R {
        match self.inboxes[lane].consumer() {
            Some(consumer) => consumer.read(record, read),
            // A lane that is given up has nothing ready.
            None => read(Reader::new(&[])),
        }
    }

    /// Hands over a record that has no descriptor.
    #[inline]
    fn take_record(&mut self, control: &Control, lane: usize, record: &Record) {
        self.inboxes[lane].consume(record);
        if !fault(Fault::SpaceNotRung) {
            self.inboxes[lane].ring_if_moved(control);
        }
    }

    #[inline]
    fn look_at_lanes(
        &mut self,
        control: &Control,
        deadline: Deadline,
    ) -> Result<Option<Ready>, RecvError> {
        self.in_turns(|inbox| inbox.next(control, deadline).transpose()).transpose()
    }

    /// Asks one lane after another until one has something; the same one first for a while.
    #[inline(always)]
    fn in_turns<R>(&mut self, mut ask: impl FnMut(&mut Inbox) -> Option<R>) -> Option<R> {
        if self.burst >= self.longest_burst {
            self.burst = 0;
            self.turn += 1;
        }
        for looks in 0..self.inboxes.len() {
            if self.turn >= self.inboxes.len() {
                self.turn = 0;
            }
            let found = ask(&mut self.inboxes[self.turn]);
            if found.is_some() {
                if self.requests && self.burst == 0 {
                    self.longest_burst = (1 + looks / LOOKS_FOR_ONE_MORE).min(BURST);
                }
                self.burst += 1;
                return found;
            }
            self.burst = 0;
            self.turn += 1;
        }
        None
    }

    fn look_at_queue(
        &mut self,
        control: &Control,
        queue: MessageQueue,
        select: Select,
        ask: bool,
        deadline: Deadline,
    ) -> Result<Option<Ready>, RecvError> {
        let mut messages = 0;
        loop {
            if self.messages >= MESSAGES_BEFORE_FRAGMENTS {
                self.collect(control, deadline)?;
            }
            messages += 1;
            if messages > MESSAGES_BEFORE_DEADLINE && deadline.has_passed() {
                return Ok(None);
            }
            let slot = match self.filled_slot(control, select) {
                Some(slot) => (slot, None),
                None => match self.next_message(control, queue, select, ask)? {
                    Some((slot, len)) => (slot, Some(len)),
                    None => {
                        self.collect(control, deadline)?;
                        self.space.found_nothing(control, queue, ask);
                        return Ok(None);
                    }
                },
            };
            if let Some(ready) = self.open(control, slot.0, slot.1)? {
                if fault(Fault::SlotClearedEarly) {
                    control.word(control.layout().slot(slot.0)).store(0, Ordering::Release);
                }
                return Ok(Some(ready));
            }
        }
    }

    fn collect(&mut self, control: &Control, deadline: Deadline) -> Result<(), RecvError> {
        self.messages = 0;
        if control.layout().has_ring() {
            for inbox in &mut self.inboxes {
                inbox.collect(control, deadline)?;
            }
        }
        Ok(())
    }

    /// The slot whose message `select` asks for first.
    fn filled_slot(&self, control: &Control, select: Select) -> Option<usize> {
        let matching = (0..SLOTS).filter_map(|slot| Some((slot, self.slots[slot]?)));
        let matching = matching.filter(|&(_, tag)| select.matches(tag));
        let order = |slot| slot_order(control, slot);
        let first = match select {
            Select::UpTo(_) => matching.min_by_key(|&(slot, tag)| (tag, order(slot))),
            _ => matching.min_by_key(|&(slot, _)| order(slot)),
        };
        first.map(|(slot, _)| slot)
    }

    /// Takes the next message into a slot; says which, and how long its text is.
    fn next_message(
        &mut self,
        control: &Control,
        queue: MessageQueue,
        select: Select,
        ask: bool,
    ) -> Result<Option<(usize, usize)>, RecvError> {
        // Relaxed: a count that is seen was raised after msgsnd, and the kernel's lock of the queue
        // puts that before the msgrcv below.
        let events = control.word(word::EVENTS).load(Ordering::Relaxed);
        let ask = ask && !fault(Fault::EventsBelieved);
        if !ask && self.empty == Some((select, events)) {
            return Ok(None);
        }
        let Some(slot) = self.slots.iter().position(Option::is_none) else {
            return Err(RecvError::SlotsFull { channel: control.name() });
        };
        // Set before the message is there: a slot without a type counts as empty.
        control.word(word::SLOT_ORDER + slot * 8).store(self.order, Ordering::Relaxed);
        let at = control.layout().slot(slot);
        let room = control.layout().message_len();
        // A successor reads the envelope that stands here. It must be this message's, also if the
        // message is a foreign one too short to have any.
        control.segment.copy_in(at + TYPE_WORD, &[0; ENVELOPE]);
        let received = queue.receive_into(kernel_select(select), &control.segment, at, room);
        match received {
            Ok(len) => {
                // Saturating: a predecessor's number may be whatever was scribbled there.
                self.order = self.order.saturating_add(1);
                self.messages += 1;
                self.slots[slot] = Tag::new(control.word(at).load(Ordering::Relaxed) as i64);
                // Its sender may have claimed a lane after the look for values began.
                self.see_claimed(control);
                self.space.came_free(control, len);
                Ok(Some((slot, len)))
            }
            Err(error) => match error.kind() {
                SystemErrorKind::NoMessage => {
                    self.empty = Some((select, events));
                    Ok(None)
                }
                SystemErrorKind::TooLong => Err(self.drop_foreign(control, queue, select)),
                _ => Err(control.slept(error).into()),
            },
        }
    }

    /// Takes a message off that is longer than any of ours, which nothing else would ever do.
    fn drop_foreign(
        &mut self,
        control: &Control,
        queue: MessageQueue,
        select: Select,
    ) -> RecvError {
        let mut message = MessageBuffer::with_capacity(0);
        match queue.receive(kernel_select(select), &mut message, Wait::No, true) {
            Ok(()) => {
                // How long it was is not known: at least as long as the channel's longest.
                self.space.came_free(control, control.layout().message_len());
                RecvError::Corrupt {
                    channel: control.name(),
                    what: format!(
                        "a message with type {} on the queue is longer than the channel's {} bytes, so \
                         it is not of this crate; it was dropped",
                        message.type_(),
                        control.layout().message_len()
                    ),
                }
            }
            Err(error) => control.slept(error).into(),
        }
    }

    /// What the message in a slot stands for; `None` if that was taken before.
    fn open(
        &mut self,
        control: &Control,
        slot: usize,
        text_len: Option<usize>,
    ) -> Result<Option<Ready>, RecvError> {
        let text = control.layout().slot(slot) + TYPE_WORD;
        let envelope = control.segment.read(text, ENVELOPE, |mut reader| reader.read_array());
        let envelope = envelope.ok().and_then(Envelope::read);
        let expected = envelope.map(Envelope::text_len);
        let whole = expected.is_some_and(|len| {
            len <= control.layout().message_len() && text_len.is_none_or(|found| found == len)
        });
        match envelope {
            Some(Envelope::Inline { len, lane, generation })
                if whole
                    && len as u64 <= control.longest_value()
                    && lane < control.layout().lanes =>
            {
                let origin = Origin { lane, generation };
                self.turn = lane;
                Ok(Some(Ready::Slot { slot, len, origin }))
            }
            Some(Envelope::Descriptor { lane, position }) if whole && lane < self.inboxes.len() => {
                let resolved = self.inboxes[lane].resolve(control, position, slot);
                self.turn = lane;
                if !matches!(resolved, Ok(Some(_))) {
                    self.clear(control, slot);
                }
                resolved
            }
            _ => {
                let tag = self.slots[slot].unwrap_or_default();
                self.clear(control, slot);
                Err(RecvError::Corrupt {
                    channel: control.name(),
                    what: format!(
                        "a message with type {tag} on the queue is not of this crate; it was \
                         dropped"
                    ),
                })
            }
        }
    }

    #[inline]
    fn clear(&mut self, control: &Control, slot: usize) {
        self.slots[slot] = None;
        // Release: what was read from the slot is read before the slot counts as empty. The
        // kernel writes there next, through msgrcv of this very thread or of a successor.
        point!("slot.before");
        control.word(control.layout().slot(slot)).store(0, Ordering::Release);
        point!("slot.cleared");
    }

    /// The tag of what is ready.
    #[inline]
    pub(super) fn tag(&self, ready: &Ready) -> Tag {
        match *ready {
            Ready::Slot { slot, .. }
            | Ready::Record { slot: Some(slot), .. }
            | Ready::Long { slot: Some(slot), .. } => self.slots[slot].unwrap_or_default(),
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
            Ready::Slot { slot, len, .. } => {
                control.segment.read(inline_at(control, *slot), *len, read)
            }
            Ready::Record { lane, record, .. } => self.read_record(*lane, record, read),
            Ready::Long { lane, .. } => self.inboxes[*lane].read_whole(read),
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
            Ready::Slot { slot, len, .. } => {
                ring::lend(&control.segment, inline_at(control, *slot), *len, trust)
            }
            Ready::Record { lane, record, .. } => {
                self.inboxes[*lane].consumer().map_or(&[], |consumer| consumer.lend(record, trust))
            }
            // One that is not whole is not lent.
            Ready::Long { lane, .. } => self.inboxes[*lane].whole().unwrap_or_default(),
        }
    }

    /// Whether what is ready can be lent: there may have been no memory to collect it.
    pub(super) fn is_lendable(&self, ready: &Ready) -> Result<(), ReadError> {
        match ready {
            Ready::Long { lane, .. } => self.inboxes[*lane].whole().map(drop),
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
                self.take_record(control, lane, &record);
                slot
            }
            Ready::Long { lane, record, start, slot } => {
                accepted = Long(control.lane_word(lane, lane_word::LONG)).complete(start)
                    || fault(Fault::LongNotSettled);
                self.inboxes[lane].consume(&record);
                if fault(Fault::LongNotRung) {
                    self.inboxes[lane].ring_if_moved(control);
                } else {
                    // Its sender waits for this, also where no room comes free by it.
                    self.inboxes[lane].ring(control);
                }
                slot
            }
        };
        if let Some(slot) = slot {
            self.clear(control, slot);
        }
        accepted
    }

    /// Gives back the memory of what was handed over.
    #[inline]
    pub(super) fn forget(&mut self, ready: &Ready) {
        if let Ready::Long { lane, .. } = *ready {
            self.inboxes[lane].forget_whole();
        }
    }

    /// Whether a caller that only polls should ask the kernel again.
    pub(super) fn is_time_to_ask(&self) -> bool {
        self.ask_again.has_passed()
    }
}

fn slot_order(control: &Control, slot: usize) -> u64 {
    // Relaxed: written by receivers alone, one after another.
    control.word(word::SLOT_ORDER + slot * 8).load(Ordering::Relaxed)
}

/// Where the payload of an inline message stands.
fn inline_at(control: &Control, slot: usize) -> usize {
    control.layout().slot(slot) + TYPE_WORD + ENVELOPE
}

fn kernel_select(select: Select) -> MessageSelect {
    match select {
        Select::Any => MessageSelect::Any,
        Select::Exactly(tag) => MessageSelect::Exactly(tag.get()),
        Select::UpTo(tag) => MessageSelect::UpTo(tag.get()),
        Select::Except(tag) => MessageSelect::Except(tag.get()),
    }
}

#[cfg(all(test, not(loom), feature = "bincode"))]
mod tests {
    use super::*;
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

    #[test]
    fn whatever_number_a_slot_has_the_next_message_is_taken() {
        let channel = Channel::<u32>::private().unwrap();
        let control = channel.control.clone();
        // A message that seems to have been the last of all in a dead receiver's hand.
        let (held, other) = (Tag::new(5).unwrap(), Tag::new(6).unwrap());
        control.word(control.layout().slot(0)).store(held.get() as u64, Ordering::Relaxed);
        control.word(word::SLOT_ORDER).store(u64::MAX, Ordering::Relaxed);
        let (tx, rx) = (channel.sender().unwrap(), channel.receiver().unwrap());
        for value in 0..3 {
            tx.send_tagged(other, &value).unwrap();
            assert_eq!(rx.recv_matching(Select::Exactly(other)).unwrap().value, value);
        }
        let error = rx.try_recv().unwrap_err();
        assert!(matches!(error, RecvError::Corrupt { .. }), "{error}");
        assert!(rx.try_recv().unwrap_err().is_empty());
    }
}
