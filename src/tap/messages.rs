//! What goes by the queue, as one sees it that takes no part: the messages that wait, which the kernel
//! copies (MSG_COPY in msgrcv(2)), and those in the slots of receivers.

use std::collections::HashSet;
use std::mem;

use super::{Budget, Found};
use crate::control::envelope::{Envelope, NUMBERS};
use crate::control::{Control, ENVELOPE, TYPE_WORD, slot_word, word};
use crate::sys::{MessageBuffer, MessageQueue, Ordering, SystemErrorKind, fence};
use crate::tag::Tag;

/// Of how many messages it is known that they were seen, at least. A sender's next message of the same
/// number comes after eight times as many.
const REMEMBERED: usize = 1 << 16;

/// What tells a message from the others that are, or lately were, on the queue: the lane, and its sender's
/// generation and number, or zero and the record's position.
type Id = (usize, u64, u64);

/// A message that was not seen before.
pub(super) struct Message {
    id: Id,
    pub(super) what: What,
}

/// What a message stands for.
pub(super) enum What {
    Value(Found),
    /// The record at a position of a lane's ring.
    Record {
        lane: usize,
        position: u64,
    },
}

impl Message {
    /// `None` if its text is shorter than it says.
    fn new(type_: i64, envelope: Envelope, bytes: Vec<u8>) -> Option<Self> {
        Some(match envelope {
            Envelope::Inline { len, lane, generation, number } => {
                if bytes.len() != len {
                    return None;
                }
                let tag = Tag::new(type_).unwrap_or_default();
                let value = Found { lane, tag, bytes, position: 0 };
                Message { id: (lane, generation, number), what: What::Value(value) }
            }
            Envelope::Descriptor { lane, position } => {
                Message { id: (lane, 0, position), what: What::Record { lane, position } }
            }
        })
    }

    /// Whether it was sent before another of the same sender.
    fn comes_before(&self, other: &Message) -> bool {
        let ((lane, generation, number), (other_lane, other_generation, other)) =
            (self.id, other.id);
        let ahead = other.wrapping_sub(number) % NUMBERS;
        (lane, generation) == (other_lane, other_generation) && ahead < NUMBERS / 2
    }
}

/// Messages that were seen, of the latest at least.
#[derive(Default)]
struct Seen {
    latest: HashSet<Id>,
    before: HashSet<Id>,
}

impl Seen {
    fn contains(&self, id: &Id) -> bool {
        self.latest.contains(id) || self.before.contains(id)
    }

    /// `false` if it was seen before.
    fn insert(&mut self, id: Id) -> bool {
        if self.contains(&id) {
            return false;
        }
        if self.latest.len() >= REMEMBERED {
            self.before = mem::take(&mut self.latest);
        }
        self.latest.insert(id)
    }
}

/// A look at the queue, from the newest message to the last one that was seen before. It may take several
/// looks at the channel.
#[derive(Default)]
struct Scan {
    /// How many of the oldest messages were not looked at, at most: others may be received meanwhile.
    left: usize,
    /// The messages that were not seen before, newest first.
    found: Vec<Message>,
    ids: HashSet<Id>,
}

/// Watches a channel's queue.
pub(super) struct Messages {
    queue: MessageQueue,
    buffer: MessageBuffer,
    seen: Seen,
    /// The numbers of the messages that were in the slots.
    slots: Vec<Option<u64>>,
    /// How many messages had been sent when the queue was looked at.
    looked_at: Option<u64>,
    /// A look at the queue that has not come to its end.
    scan: Option<Scan>,
    /// Whether the kernel copies messages.
    can_copy: bool,
}

/// The number of the message that was in a slot, if it was handed over already.
fn handed_over(control: &Control, slot: usize) -> Option<u64> {
    // Relaxed, all: what is received in this moment is shown or not.
    let word = |at| control.slot_word(slot, at).load(Ordering::Relaxed);
    let is_empty = control.word(control.layout().slot(slot)).load(Ordering::Relaxed) == 0;
    (is_empty && word(slot_word::DELIVERIES) != 0).then(|| word(slot_word::ORDER))
}

impl Messages {
    pub(super) fn new(control: &Control, queue: MessageQueue) -> Self {
        Messages {
            queue,
            buffer: MessageBuffer::with_capacity(control.layout().message_len()),
            seen: Seen::default(),
            slots: (0..control.layout().slots()).map(|slot| handed_over(control, slot)).collect(),
            looked_at: None,
            scan: None,
            can_copy: true,
        }
    }

    /// What came since the last look, as far as the budget goes, oldest first.
    pub(super) fn look(&mut self, control: &Control, budget: &mut Budget) -> Vec<Message> {
        // Relaxed: raised after the message was put there, so one that is not counted yet is seen next time.
        let sends = control.word(word::QUEUE_SENDS).load(Ordering::Relaxed);
        let mut messages = Vec::new();
        if self.can_copy && (self.scan.is_some() || self.looked_at != Some(sends)) {
            if self.scan.is_none() {
                self.looked_at = Some(sends);
            }
            messages = self.look_at_queue(budget);
        }
        // After the queue: what is on neither was received, and the slot was filled again.
        let mut in_slots: Vec<_> =
            (0..self.slots.len()).filter_map(|slot| self.look_at_slot(control, slot)).collect();
        in_slots.sort_unstable_by_key(|&(order, _)| order);
        let mut in_front = 0;
        for (_, message) in in_slots {
            budget.spend(0);
            // It was sent before what is on the queue, if it did not come after the look there.
            let before = messages.iter().rposition(|other| other.comes_before(&message));
            let at = before.map_or(in_front, |before| before + 1);
            in_front += usize::from(before.is_none());
            messages.insert(at, message);
        }
        messages
    }

    /// The message in a slot, if there is a whole one that was not seen, and when it came there.
    ///
    /// The kernel writes the next message there at any moment after the receiver has said that there is none.
    fn look_at_slot(&mut self, control: &Control, slot: usize) -> Option<(u64, Message)> {
        let word = |at| control.slot_word(slot, at);
        // Acquire: pairs with the Release in `Slots::next`: all of the message is there.
        let deliveries = word(slot_word::DELIVERIES).load(Ordering::Acquire);
        let order = word(slot_word::ORDER).load(Ordering::Relaxed);
        if deliveries == 0 || self.slots[slot] == Some(order) {
            return None;
        }
        let type_ = word(slot_word::LAST_TYPE).load(Ordering::Relaxed);
        let text = control.layout().slot(slot) + TYPE_WORD;
        let mut envelope = [0; ENVELOPE];
        control.segment.copy_out(text, &mut envelope);
        let envelope = Envelope::read(envelope);
        let mut bytes = Vec::new();
        if let Some(Envelope::Inline { len, .. }) = envelope
            && ENVELOPE + len <= control.layout().message_len()
        {
            bytes.resize(len, 0);
            control.segment.copy_out(text + ENVELOPE, &mut bytes);
        }
        // Acquire: pairs with the Release fence in `Slots::next_message`: if anything of this is of another
        // message, the numbers say so.
        fence(Ordering::Acquire);
        let is_whole = word(slot_word::DELIVERIES).load(Ordering::Relaxed) != 0
            && word(slot_word::ORDER).load(Ordering::Relaxed) == order;
        if !is_whole {
            return None;
        }
        self.slots[slot] = Some(order);
        let message = Message::new(type_ as i64, envelope?, bytes)?;
        self.seen.insert(message.id).then_some((order, message))
    }

    /// The messages on the queue that were not seen, oldest first: none while the look goes on.
    fn look_at_queue(&mut self, budget: &mut Budget) -> Vec<Message> {
        let mut scan = match self.scan.take() {
            Some(scan) => scan,
            None => match self.queue.stat() {
                Ok(stat) => Scan { left: stat.messages as usize, ..Scan::default() },
                Err(_) => return Vec::new(),
            },
        };
        // From the newest on, so that none is passed over when the oldest is received meanwhile.
        while let Some(index) = scan.left.checked_sub(1) {
            if budget.is_spent() {
                self.scan = Some(scan);
                return Vec::new();
            }
            scan.left = index;
            if let Err(error) = self.queue.peek(index, &mut self.buffer) {
                match error.kind() {
                    // Others were received meanwhile; or it is a foreign one.
                    SystemErrorKind::NoMessage | SystemErrorKind::TooLong => continue,
                    SystemErrorKind::Unsupported => self.can_copy = false,
                    _ => {}
                }
                break;
            }
            let text = self.buffer.text();
            budget.spend(text.len());
            let envelope = text.first_chunk().copied().and_then(Envelope::read);
            let Some(envelope) = envelope.filter(|envelope| envelope.text_len() <= text.len())
            else {
                continue;
            };
            let bytes = text[ENVELOPE..envelope.text_len()].to_vec();
            let Some(message) = Message::new(self.buffer.type_(), envelope, bytes) else {
                continue;
            };
            if self.seen.contains(&message.id) {
                break;
            }
            if scan.ids.insert(message.id) {
                scan.found.push(message);
            }
        }
        // One that was received meanwhile may have been seen in a slot.
        scan.found.retain(|message| self.seen.insert(message.id));
        scan.found.reverse();
        scan.found
    }
}
