//! The queue, as a receiver looks at it: one message after another comes into a slot.
//!
//! Which slots are the receiver's is for `sole` to say where it is alone, and for `shared` where there may be
//! several.

mod shared;
mod sole;

use self::shared::Shared;
use self::sole::Sole;
use super::Delivery;
use super::envelope::Envelope;
use super::lanes::Lanes;
use super::origin::Origin;
use super::space::Space;
use crate::codec::Reader;
use crate::control::{Control, ENVELOPE, TYPE_WORD, slot_word, word};
use crate::error::RecvError;
use crate::ring::{self, TrustedPeers, WATCHED};
use crate::sys::{
    Deadline, Fault, MessageBuffer, MessageQueue, MessageSelect, Ordering, SystemErrorKind, Wait,
    fault, fence,
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
    owned: Owned,
    /// For which selection, at which event count, the queue was found empty.
    empty: Option<(Select, u64)>,
    messages: usize,
    space: Space,
}

/// Which slots are this receiver's.
enum Owned {
    /// All of them.
    Sole(Sole),
    /// Those that it took.
    Shared(Shared),
}

impl Slots {
    pub(super) fn new(control: &Control, queue: MessageQueue, place: usize) -> Self {
        let owned = match control.layout().has_receivers() {
            true => Owned::Shared(Shared::new(place)),
            false => Owned::Sole(Sole::new(control)),
        };
        Slots { queue, owned, empty: None, messages: 0, space: Space::new(control) }
    }

    /// The receiver has said which it is.
    pub(super) fn serve(&mut self, control: &Control, generation: u64) {
        if let Owned::Shared(shared) = &mut self.owned {
            shared.serve(control, generation);
        }
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
            let slot = match self.filled_slot(control, select, ask_kernel)? {
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
                // Relaxed: the slot is this receiver's.
                let deliveries = control.slot_word(slot.0, slot_word::DELIVERIES);
                let before = deliveries.load(Ordering::Relaxed);
                // Release: pairs with the Acquire of taps, which see all of the message then.
                deliveries.store(before.saturating_add(1), Ordering::Release);
                if fault(Fault::SlotClearedEarly) {
                    control.word(control.layout().slot(slot.0)).store(0, Ordering::Release);
                }
                return Ok(Some(delivery));
            }
        }
    }

    /// Whether a message waits, in a slot or on the queue, which keeps it: the next call may
    /// select another.
    pub(super) fn is_ready(
        &mut self,
        control: &Control,
        lanes: &mut Lanes,
        ask_kernel: bool,
    ) -> Result<bool, RecvError> {
        let filled = match &mut self.owned {
            Owned::Sole(sole) => Ok(sole.is_filled()),
            Owned::Shared(shared) => shared.is_ready(control, ask_kernel),
        };
        if filled.map_err(|error| control.wait_error(error))? {
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

    /// A slot with a message that `select` asks for, from before.
    fn filled_slot(
        &mut self,
        control: &Control,
        select: Select,
        ask_kernel: bool,
    ) -> Result<Option<usize>, RecvError> {
        match &mut self.owned {
            Owned::Sole(sole) => Ok(sole.filled(control, select)),
            Owned::Shared(shared) => {
                let claimed = shared.claim(control, select, ask_kernel);
                claimed.map_err(|error| control.wait_error(error).into())
            }
        }
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
        let free = match &mut self.owned {
            Owned::Sole(sole) => sole.free(control),
            Owned::Shared(shared) => {
                shared.take_free(control).map_err(|error| control.wait_error(error))?
            }
        };
        let Some(slot) = free else {
            return Err(RecvError::SlotsFull { channel: control.name() });
        };
        // Set before the message is there: a slot without a type counts as empty.
        control.slot_word(slot, slot_word::DELIVERIES).store(0, Ordering::Relaxed);
        if WATCHED {
            // Release: pairs with the Acquire fence of taps: one that sees anything of the next message
            // sees that the slot is not the last one's any more.
            fence(Ordering::Release);
        }
        let at = control.layout().slot(slot);
        let room = control.layout().message_len();
        // A successor reads the envelope that stands here. It must be this message's, also if the
        // message is a foreign one too short to have any.
        control.segment.copy_in(at + TYPE_WORD, &[0; ENVELOPE]);
        let received = self.queue.receive_into(kernel_select(select), &control.segment, at, room);
        match received {
            Ok(len) => {
                self.messages += 1;
                // Relaxed: the kernel has written it for this thread.
                let type_ = control.word(at).load(Ordering::Relaxed);
                if WATCHED {
                    control.slot_word(slot, slot_word::LAST_TYPE).store(type_, Ordering::Relaxed);
                }
                let tag = Tag::new(type_ as i64);
                match &mut self.owned {
                    Owned::Sole(sole) => sole.filled_with(slot, tag),
                    Owned::Shared(shared) => shared.filled_with(control, slot, tag),
                }
                point!("slot.filled");
                // Its sender may have claimed a lane after the look for values began.
                lanes.see_claimed(control);
                self.space.came_free(control, len);
                Ok(Some((slot, len)))
            }
            Err(error) => {
                if let Owned::Shared(shared) = &mut self.owned {
                    shared.let_go(control, slot);
                }
                match error.kind() {
                    SystemErrorKind::NoMessage => {
                        self.empty = Some((select, events));
                        Ok(None)
                    }
                    SystemErrorKind::TooLong => Err(self.drop_foreign(control, select)),
                    _ => Err(control.wait_error(error).into()),
                }
            }
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
        let expected = envelope.map(|envelope| control.layout().padded(envelope.text_len()));
        let whole = expected.is_some_and(|len| {
            len <= control.layout().message_len() && text_len.is_none_or(|found| found == len)
        });
        match envelope {
            Some(Envelope::Inline { len, lane, generation, .. })
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
                let tag = self.tag(slot);
                self.clear(control, slot);
                event!(WARN, control, %tag, "a message that is not of this crate was dropped");
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
        let tag = match &self.owned {
            Owned::Sole(sole) => sole.tag(slot),
            Owned::Shared(shared) => shared.tag(),
        };
        tag.unwrap_or_default()
    }

    #[inline]
    pub(super) fn clear(&mut self, control: &Control, slot: usize) {
        // Release: what was read from the slot is read before the slot counts as empty. The
        // kernel writes there next, through msgrcv of this very thread or of the slot's next owner.
        point!("slot.before");
        control.word(control.layout().slot(slot)).store(0, Ordering::Release);
        point!("slot.cleared");
        match &mut self.owned {
            Owned::Sole(sole) => sole.emptied(slot),
            Owned::Shared(shared) => shared.let_go(control, slot),
        }
    }

    /// Leaves the message in its slot, to be received again.
    pub(super) fn give_back(&mut self, control: &Control, slot: usize) {
        match &mut self.owned {
            // It stands there as one that a predecessor left.
            Owned::Sole(_) => {}
            Owned::Shared(shared) => shared.give_back(control, slot),
        }
    }

    /// The message stays in its slot, and is not found again. Only a receiver that is alone holds values.
    pub(super) fn hold(&mut self, slot: usize) {
        if let Owned::Sole(sole) = &mut self.owned {
            sole.hold(slot);
        }
    }

    /// Has what is held found again.
    pub(super) fn rewind(&mut self) {
        if let Owned::Sole(sole) = &mut self.owned {
            sole.rewind();
        }
    }

    /// Whether another receiver may have a value in hand that `select` asks for, and rings this one then.
    pub(super) fn await_others(&self, control: &Control, select: Select) -> bool {
        match &self.owned {
            Owned::Sole(_) => false,
            Owned::Shared(_) => shared::await_others(control, select),
        }
    }
}

/// What tells the message in a slot from its sender's others: the generation and the number.
pub(super) fn message_number(control: &Control, slot: usize) -> u64 {
    let at = control.layout().slot(slot) + TYPE_WORD;
    let number = control.segment.read(at, ENVELOPE, |mut reader| {
        reader.read_array::<8>()?;
        reader.read_array()
    });
    number.map_or(0, u64::from_le_bytes)
}

/// How often the value in a slot was given out, this time included.
pub(super) fn deliveries(control: &Control, slot: usize) -> u64 {
    // Relaxed: the slot is this receiver's.
    control.slot_word(slot, slot_word::DELIVERIES).load(Ordering::Relaxed)
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
    // Relaxed: written by the slot's owners alone, one after another.
    control.slot_word(slot, slot_word::ORDER).load(Ordering::Relaxed)
}

/// The tag of the message in a slot, if there is one.
fn slot_tag(control: &Control, slot: usize) -> Option<Tag> {
    // Relaxed: of a slot that is a predecessor's, which comes before this receiver through the semaphore of
    // the role or the word of the slot's owner; of another's, a hint.
    let at = control.layout().slot(slot);
    Tag::new(control.word(at).load(Ordering::Relaxed) as i64)
}

/// The slot among these whose message `select` asks for first.
fn first_of(
    control: &Control,
    select: Select,
    filled: impl Iterator<Item = (usize, Tag)>,
) -> Option<usize> {
    let matching = filled.filter(|&(_, tag)| select.matches(tag));
    let order = |slot| slot_order(control, slot);
    let first = match select {
        Select::UpTo(_) => matching.min_by_key(|&(slot, tag)| (tag, order(slot))),
        _ => matching.min_by_key(|&(slot, _)| order(slot)),
    };
    first.map(|(slot, _)| slot)
}

/// Has the kernel able to write to a slot, or a message would be lost.
fn touch(control: &Control, slot: usize) {
    let end = control.layout().slot(slot) + TYPE_WORD + control.layout().message_len();
    control.segment.copy_in(end - 1, &[0]);
}

/// All slots once, from this one on.
fn in_turn(first: usize, slots: usize) -> impl Iterator<Item = usize> {
    (first..slots).chain(0..first.min(slots))
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

    /// Where values are counted and go through rings, a slot has room for a descriptor alone.
    #[test]
    fn a_foreign_value_in_a_slot_for_descriptors_is_dropped() {
        let channel = Channel::<u32>::options().max_waiting(2).private().unwrap();
        let (tx, rx) = (channel.sender().unwrap(), channel.receiver().unwrap());
        for len in [0, 4, 1024, 1 << 20, u32::MAX as usize] {
            let mut message = MessageBuffer::with_capacity(ENVELOPE);
            let inline = Envelope::Inline { len, lane: 0, generation: 1, number: 0 };
            inline.write(message.text_mut_full());
            message.set_len(ENVELOPE);
            channel.control.queue.unwrap().send(&message, Wait::No).unwrap();
            let error = rx.try_recv().unwrap_err();
            let told = matches!(error, RecvError::Corrupt { .. } | RecvError::Decode { .. });
            assert!(told, "{len}: {error}");
            tx.send(&7).unwrap();
            assert_eq!(rx.recv().unwrap(), 7);
        }
    }

    #[test]
    fn whatever_number_a_slot_has_the_next_message_is_taken() {
        let channel = Channel::<u32>::private().unwrap();
        let control = channel.control.clone();
        // A message that seems to have been the last of all in a dead receiver's hand.
        let (held, other) = (Tag::new(5).unwrap(), Tag::new(6).unwrap());
        control.word(control.layout().slot(0)).store(held.get() as u64, Ordering::Relaxed);
        control.slot_word(0, slot_word::ORDER).store(u64::MAX, Ordering::Relaxed);
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
