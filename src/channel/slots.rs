//! The queue, as the receiver looks at it: one message after another comes into a slot.

use super::Delivery;
use super::envelope::Envelope;
use super::lanes::Lanes;
use super::origin::Origin;
use super::space::Space;
use crate::codec::Reader;
use crate::control::{Control, ENVELOPE, SLOTS, TYPE_WORD, word};
use crate::error::RecvError;
use crate::ring::{self, TrustedPeers};
use crate::sys::{
    Deadline, Fault, MessageBuffer, MessageQueue, MessageSelect, Ordering, SystemErrorKind, Wait,
    fault,
};
use crate::tag::{Select, Tag};

/// How many queue messages in a row are taken before fragments are collected.
const MESSAGES_BEFORE_FRAGMENTS: usize = 8;

/// How many queue messages in a row that are no values are taken before the deadline counts. A
/// queue of the kernel's default size holds no more descriptors than this.
const MESSAGES_BEFORE_DEADLINE: usize = 1024;

/// The slots, and the queue whose messages come into them.
pub(super) struct Slots {
    queue: MessageQueue,
    /// The tags of the messages in the slots.
    tags: [Option<Tag>; SLOTS],
    /// The number of the next message put into a slot.
    order: u64,
    /// For which selection, at which event count, the queue was found empty.
    empty: Option<(Select, u64)>,
    messages: usize,
    space: Space,
}

impl Slots {
    pub(super) fn new(control: &Control, queue: MessageQueue) -> Self {
        let mut tags = [None; SLOTS];
        let mut order = 0;
        for (slot, tag) in tags.iter_mut().enumerate() {
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
        Slots { queue, tags, order, empty: None, messages: 0, space: Space::new(control) }
    }

    /// The next value that `select` asks for, if there is one.
    pub(super) fn next(
        &mut self,
        control: &Control,
        lanes: &mut Lanes,
        select: Select,
        ask_kernel: bool,
        deadline: Deadline,
    ) -> Result<Option<Delivery>, RecvError> {
        let mut messages = 0;
        loop {
            if self.messages >= MESSAGES_BEFORE_FRAGMENTS {
                self.collect(control, lanes, deadline)?;
            }
            messages += 1;
            if messages > MESSAGES_BEFORE_DEADLINE && deadline.has_passed() {
                return Ok(None);
            }
            let slot = match self.filled_slot(control, select) {
                Some(slot) => (slot, None),
                None => match self.next_message(control, lanes, select, ask_kernel)? {
                    Some((slot, len)) => (slot, Some(len)),
                    None => {
                        self.collect(control, lanes, deadline)?;
                        self.space.found_nothing(control, self.queue, ask_kernel);
                        return Ok(None);
                    }
                },
            };
            if let Some(delivery) = self.open(control, lanes, slot.0, slot.1)? {
                if fault(Fault::SlotClearedEarly) {
                    control.word(control.layout().slot(slot.0)).store(0, Ordering::Release);
                }
                return Ok(Some(delivery));
            }
        }
    }

    /// Whether a message waits, in a slot or on the queue, which keeps it: whoever receives next may
    /// select another.
    pub(super) fn is_ready(
        &mut self,
        control: &Control,
        lanes: &mut Lanes,
        ask_kernel: bool,
    ) -> Result<bool, RecvError> {
        if self.tags.iter().any(Option::is_some) {
            return Ok(true);
        }
        // Relaxed: as in `next_message`.
        let events = control.word(word::QUEUE_SENDS).load(Ordering::Relaxed);
        let ask_kernel = ask_kernel && !fault(Fault::EventsBelieved);
        if !ask_kernel && self.empty == Some((Select::Any, events)) {
            return Ok(false);
        }
        let stat = self.queue.stat().map_err(|error| control.wait_error(error))?;
        if stat.messages > 0 {
            // Its sender may not have counted it yet: the call that follows asks the kernel too.
            self.empty = None;
            return Ok(true);
        }
        self.empty = Some((Select::Any, events));
        self.collect(control, lanes, Deadline::now())?;
        self.space.found_nothing(control, self.queue, ask_kernel);
        Ok(false)
    }

    fn collect(
        &mut self,
        control: &Control,
        lanes: &mut Lanes,
        deadline: Deadline,
    ) -> Result<(), RecvError> {
        self.messages = 0;
        if control.layout().has_ring() { lanes.collect(control, deadline) } else { Ok(()) }
    }

    /// The slot whose message `select` asks for first.
    fn filled_slot(&self, control: &Control, select: Select) -> Option<usize> {
        let matching = (0..SLOTS).filter_map(|slot| Some((slot, self.tags[slot]?)));
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
        lanes: &mut Lanes,
        select: Select,
        ask_kernel: bool,
    ) -> Result<Option<(usize, usize)>, RecvError> {
        // Relaxed: a count that is seen was raised after msgsnd, and the kernel's lock of the queue
        // puts that before the msgrcv below.
        let events = control.word(word::QUEUE_SENDS).load(Ordering::Relaxed);
        let ask_kernel = ask_kernel && !fault(Fault::EventsBelieved);
        if !ask_kernel && self.empty == Some((select, events)) {
            return Ok(None);
        }
        let Some(slot) = self.tags.iter().position(Option::is_none) else {
            return Err(RecvError::SlotsFull { channel: control.name() });
        };
        // Set before the message is there: a slot without a type counts as empty.
        control.word(word::SLOT_ORDER + slot * 8).store(self.order, Ordering::Relaxed);
        let at = control.layout().slot(slot);
        let room = control.layout().message_len();
        // A successor reads the envelope that stands here. It must be this message's, also if the
        // message is a foreign one too short to have any.
        control.segment.copy_in(at + TYPE_WORD, &[0; ENVELOPE]);
        let received = self.queue.receive_into(kernel_select(select), &control.segment, at, room);
        match received {
            Ok(len) => {
                // Saturating: a predecessor's number may be whatever was scribbled there.
                self.order = self.order.saturating_add(1);
                self.messages += 1;
                self.tags[slot] = Tag::new(control.word(at).load(Ordering::Relaxed) as i64);
                // Its sender may have claimed a lane after the look for values began.
                lanes.see_claimed(control);
                self.space.came_free(control, len);
                Ok(Some((slot, len)))
            }
            Err(error) => match error.kind() {
                SystemErrorKind::NoMessage => {
                    self.empty = Some((select, events));
                    Ok(None)
                }
                SystemErrorKind::TooLong => Err(self.drop_foreign(control, select)),
                _ => Err(control.wait_error(error).into()),
            },
        }
    }

    /// Takes a message off that is longer than any of ours, which nothing else would ever do.
    fn drop_foreign(&mut self, control: &Control, select: Select) -> RecvError {
        let mut message = MessageBuffer::with_capacity(0);
        match self.queue.receive(kernel_select(select), &mut message, Wait::No, true) {
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
            Err(error) => control.wait_error(error).into(),
        }
    }

    /// What the message in a slot stands for; `None` if that was taken before.
    fn open(
        &mut self,
        control: &Control,
        lanes: &mut Lanes,
        slot: usize,
        text_len: Option<usize>,
    ) -> Result<Option<Delivery>, RecvError> {
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
                lanes.turn_to(lane);
                Ok(Some(Delivery::Slot { slot, len, origin }))
            }
            Some(Envelope::Descriptor { lane, position }) if whole && lanes.contains(lane) => {
                let resolved = lanes.consumer_mut(lane).resolve(control, position, slot);
                lanes.turn_to(lane);
                if !matches!(resolved, Ok(Some(_))) {
                    self.clear(control, slot);
                }
                resolved
            }
            _ => {
                let tag = self.tags[slot].unwrap_or_default();
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

    /// The tag of the message in a slot.
    pub(super) fn tag(&self, slot: usize) -> Tag {
        self.tags[slot].unwrap_or_default()
    }

    #[inline]
    pub(super) fn clear(&mut self, control: &Control, slot: usize) {
        self.tags[slot] = None;
        // Release: what was read from the slot is read before the slot counts as empty. The
        // kernel writes there next, through msgrcv of this very thread or of a successor.
        point!("slot.before");
        control.word(control.layout().slot(slot)).store(0, Ordering::Release);
        point!("slot.cleared");
    }
}

/// Reads the payload of the message in a slot.
#[inline]
pub(super) fn read<R>(
    control: &Control,
    slot: usize,
    len: usize,
    read: impl FnOnce(Reader<'_>) -> R,
) -> R {
    control.segment.read(inline_at(control, slot), len, read)
}

/// Lends the payload of the message in a slot.
pub(super) fn lend(control: &Control, slot: usize, len: usize, trust: TrustedPeers) -> &[u8] {
    ring::lend(&control.segment, inline_at(control, slot), len, trust)
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
