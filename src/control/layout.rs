//! Where everything stands in the control segment.
//!
//! ```text
//! words   header, channel state, one block a receiver,
//!         a slot, a lane and a link                     atomic 64-bit words, nothing else
//! texts   name, codec, type, schema
//! slots   where the kernel puts the message that a receiver has in hand
//! rings   for each lane its ring, then its return ring, page-aligned
//! ```
//!
//! Only pages that are used cost memory: lanes that were never claimed are never touched. The header's
//! layout fields are copied once, checked against the segment's real size, and never read again.

use crate::name::MAX_NAME;
use crate::ring::{LINE, RingLayout};
use crate::sys::{Fault, PAGE, SegmentPlan, fault};

/// Changes with every change of the layout or of a protocol over it.
pub(crate) const VERSION: u64 = 3;

/// The first word of a finished control segment: "SysVChan" in ASCII.
pub(crate) const MAGIC: u64 = u64::from_le_bytes(*b"SysVChan");

/// Concurrent senders at most: a set of 32,000 semaphores has room for many more, an attaching
/// receiver has two operations for each.
pub(crate) const MAX_LANES: usize = 4096;

/// Concurrent receivers at most: a sender that attaches has two operations for each, and a receiver as
/// well, in one call.
pub(crate) const MAX_RECEIVERS: usize = 64;

/// Slots beside one for each receiver: for messages that were in hand, and that a selection passes over.
const SPARE_SLOTS: usize = 3;

/// Slots of a receiver that is alone: as many messages can be on their way over a bridge.
const SOLE_SLOTS: usize = if cfg!(loom) { 4 } else { 16 };

/// How many bridges' inlets a channel remembers.
pub(crate) const LINKS: usize = if cfg!(loom) { 1 } else { 4 };

/// How many values an outlet holds at most, and so how many of the last ones an inlet has to remember.
pub(crate) const WINDOW: usize = if cfg!(loom) { 2 } else { 256 };

/// Bytes kept for the codec's name.
pub(crate) const MAX_CODEC: usize = 63;

/// Bytes kept for the type's name.
pub(crate) const MAX_TYPE: usize = 255;

/// Bytes kept for the type's shape; a longer one is cut, the fingerprint covers it whole. A program that
/// opens the channel without its type needs all of it. Only the pages that a text reaches are used.
pub(crate) const MAX_SHAPE: usize = if cfg!(loom) { 1472 } else { 16_000 };

/// Bytes in front of the payload of each queue message: length, kind, lane, position.
pub(crate) const ENVELOPE: usize = 16;

/// Bytes in front of a message's text in a slot: the kernel writes the type there.
pub(crate) const TYPE_WORD: usize = 8;

/// Words of the header, in bytes from the segment's start.
pub(crate) mod word {
    use super::LINE;

    pub(crate) const MAGIC: usize = 0;
    pub(crate) const VERSION: usize = 8;
    pub(crate) const SIZE: usize = 16;
    pub(crate) const LANES: usize = 24;
    pub(crate) const RING_LINES: usize = 32;
    pub(crate) const RETURN_LINES: usize = 40;
    pub(crate) const INLINE_LIMIT: usize = 48;
    pub(crate) const MAX_VALUE: usize = 56;

    pub(crate) const FINGERPRINT_LOW: usize = LINE;
    pub(crate) const FINGERPRINT_HIGH: usize = LINE + 8;
    pub(crate) const FLAGS: usize = LINE + 16;
    pub(crate) const KEY: usize = LINE + 24;
    /// Drawn by the creator: tells this channel from a later one with the same key.
    pub(crate) const INCARNATION: usize = LINE + 32;
    pub(crate) const MODE: usize = LINE + 40;
    pub(crate) const NAME_LEN: usize = LINE + 48;
    pub(crate) const CODEC_LEN: usize = LINE + 56;

    pub(crate) const TYPE_LEN: usize = 2 * LINE;
    pub(crate) const SHAPE_LEN: usize = 2 * LINE + 8;
    /// One more than the id of the queue; zero where there is none.
    pub(crate) const QUEUE: usize = 2 * LINE + 16;
    pub(crate) const RING_WINDOW: usize = 2 * LINE + 24;
    pub(crate) const RETURN_WINDOW: usize = 2 * LINE + 32;
    pub(crate) const RECEIVERS: usize = 2 * LINE + 40;
    /// How many values wait at most; zero where only bytes bound them.
    pub(crate) const MAX_WAITING: usize = 2 * LINE + 48;

    /// One more than the highest lane that was ever owned.
    pub(crate) const CLAIMED: usize = 3 * LINE;
    /// Not zero once a sender has come.
    pub(crate) const SENDERS_CAME: usize = 3 * LINE + 8;
    /// Not zero when a sender closed and none has come since: a hint to look at the semaphore.
    pub(crate) const SENDER_LEFT: usize = 3 * LINE + 16;

    /// The ticket of the parked receiver, or zero.
    pub(crate) const RECEIVER_PARKED: usize = 4 * LINE;
    /// Not zero when the receiver closed and none has come since: a hint, like `SENDER_LEFT`.
    pub(crate) const RECEIVER_LEFT: usize = 4 * LINE + 8;
    /// Not zero once a receiver has come.
    pub(crate) const RECEIVER_CAME: usize = 4 * LINE + 16;
    /// Not zero once a process came that cannot leave its fences to sleepers.
    pub(crate) const FENCED: usize = 4 * LINE + 32;
    /// Raised by every receiver that takes the role.
    pub(crate) const RECEIVER_GENERATION: usize = 4 * LINE + 24;
    /// One more than the processor on which the receiver last waited.
    pub(crate) const RECEIVER_PROCESSOR: usize = 4 * LINE + 40;
    /// Raised after each change of a lane's `HOLDER` or owner that the receiver is to look at.
    pub(crate) const HOLDERS: usize = 4 * LINE + 56;

    /// Raised by each party that removed the channel or found an object of it gone; in a line that
    /// both sides read with every value. See `removal`.
    pub(crate) const ALARMS: usize = 4 * LINE + 48;

    /// The last ticket given out to a sleeper.
    pub(crate) const TICKET: usize = 5 * LINE;

    /// Raised after each message put on the queue.
    pub(crate) const QUEUE_SENDS: usize = 6 * LINE;

    pub(crate) const RECEIVED_VALUES: usize = 7 * LINE;
    pub(crate) const RECEIVED_BYTES: usize = 7 * LINE + 8;
    pub(crate) const RECEIVER_PARKS: usize = 7 * LINE + 16;
    pub(crate) const RECEIVER_WAKEUPS: usize = 7 * LINE + 24;

    /// Where there are several receivers: the number of the next message that one of them takes.
    pub(crate) const TAKEN: usize = 8 * LINE;
    /// Raised after each value that a receiver gave back.
    pub(crate) const GIVEN_BACK: usize = 8 * LINE + 8;
    /// Not zero while a receiver waits for what another has in hand.
    pub(crate) const HAND_OVER_AWAITED: usize = 8 * LINE + 16;

    /// How many inlets have attached: their links are looked at only then.
    pub(crate) const LINKS_CAME: usize = 8 * LINE + 24;

    /// Bytes of room in the queue that were shared out to no sender: see `channel::space`.
    pub(crate) const QUEUE_FREE: usize = 8 * LINE + 32;
    /// The lane from which on the next turn is given.
    pub(crate) const QUEUE_NEXT: usize = 8 * LINE + 40;

    /// Which lanes ask for space in the queue, a bit each. Behind them, which are in line for it.
    pub(crate) const WANT_QUEUE: usize = 9 * LINE;
}

/// Words of a slot, in bytes from its block's start.
pub(crate) mod slot_word {
    use super::LINE;

    /// In which order the slots were filled.
    pub(crate) const ORDER: usize = 0;
    /// How often the value in the slot was given out.
    pub(crate) const DELIVERIES: usize = 8;
    /// Where there are several receivers: which of them has the slot, or zero. See `channel::slots`.
    pub(crate) const OWNER: usize = 16;
    /// Where there are several receivers: the tag of the value in the slot, or zero. The kernel may be
    /// writing the type word when others look.
    pub(crate) const TAG: usize = 24;
    /// The type of the message that came last, for taps: the type word is cleared when the value
    /// was handed over.
    pub(crate) const LAST_TYPE: usize = 32;

    pub(crate) const BLOCK: usize = LINE;
}

/// Words of a link, in bytes from its block's start: see `control::links`.
pub(crate) mod link_word {
    use super::{LINE, WINDOW};

    /// Which link it is; zero where there is none.
    pub(crate) const LINK: usize = 0;
    /// The lane and the mark of the inlet that has it, or had it last.
    pub(crate) const OWNER: usize = 8;
    /// When that inlet attached, by the channel's count of them.
    pub(crate) const CAME: usize = 16;
    /// The number of the last value that was begun.
    pub(crate) const BEGUN: usize = 24;
    /// The number of the last value of which it is written down whether it was put.
    pub(crate) const SETTLED: usize = 32;
    /// Which owner of that lane it is: another one may have drawn the same mark.
    pub(crate) const GENERATION: usize = 40;
    /// What is written down of each value, by its number: three words that say which it is, and one that tells
    /// whether it was put. There is one entry more than are remembered, which is written meanwhile.
    pub(crate) const ENTRIES: usize = LINE;
    pub(crate) const ENTRY: usize = 32;
    pub(crate) const ENTRY_COUNT: u64 = WINDOW as u64 + 1;

    pub(crate) const BLOCK: usize = (ENTRIES + ENTRY_COUNT as usize * ENTRY).next_multiple_of(LINE);
}

/// Words of a receiver, in bytes from its block's start. One that is alone has them in the header.
mod receiver_word {
    use super::LINE;

    pub(super) const VALUES: usize = 0;
    pub(super) const BYTES: usize = 8;
    pub(super) const PARKS: usize = 16;
    pub(super) const WAKEUPS: usize = 24;
    pub(super) const PROCESSOR: usize = 32;
    pub(super) const GENERATION: usize = 40;

    pub(super) const BLOCK: usize = LINE;
}

/// Where the words of one receiver stand.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ReceiverWords {
    /// Its ticket while it is parked, or zero.
    pub(crate) parked: usize,
    /// One more than the processor on which it last waited.
    pub(crate) processor: usize,
    pub(crate) values: usize,
    pub(crate) bytes: usize,
    pub(crate) parks: usize,
    pub(crate) wakeups: usize,
    /// Which receiver has this place, by the channel's count of receivers.
    pub(crate) generation: usize,
}

impl ReceiverWords {
    /// Those of a receiver that is alone, as every one is on a channel with rings.
    pub(crate) const ALONE: ReceiverWords = ReceiverWords {
        parked: word::RECEIVER_PARKED,
        processor: word::RECEIVER_PROCESSOR,
        values: word::RECEIVED_VALUES,
        bytes: word::RECEIVED_BYTES,
        parks: word::RECEIVER_PARKS,
        wakeups: word::RECEIVER_WAKEUPS,
        generation: word::RECEIVER_GENERATION,
    };
}

/// Words of a lane, in bytes from its block's start.
pub(crate) mod lane_word {
    use super::LINE;

    /// The end of the last ring record whose descriptor is on the queue. This line is written with
    /// every value, so nothing is here that the receiver reads with each.
    pub(crate) const ANNOUNCED: usize = 0;
    pub(crate) const SENT_VALUES: usize = 8;
    pub(crate) const SENT_BYTES: usize = 16;
    pub(crate) const PARKS: usize = 24;
    pub(crate) const WAKEUPS: usize = 32;
    /// The number of the owner's last ask; owners go on counting where their predecessors were.
    pub(crate) const LAST_ASK: usize = 40;
    /// Which other process holds the reply port of that ask: see `channel::holders`.
    pub(crate) const HOLDER: usize = 48;
    /// Bytes of room in the queue that the owner asks for, or was given: see `channel::space`.
    pub(crate) const QUEUE_SHARE: usize = 56;

    /// The ticket of the parked sender, or zero.
    pub(crate) const PARKED: usize = LINE;
    /// The state of the value that goes in fragments: see `control::fragmented`.
    pub(crate) const FRAGMENTED: usize = LINE + 8;
    /// The generation of the owner whose damaged ring the receiver does not read any more.
    pub(crate) const DAMAGED_GENERATION: usize = LINE + 16;
    /// Where in the ring the present receiver began: its predecessors consumed what stood before.
    pub(crate) const RECEIVER_START: usize = LINE + 32;
    /// Whether replies for the owner wait for room in its return ring.
    pub(crate) const REPLIES_WAIT: usize = LINE + 24;
    /// One more than the processor on which the owner last waited.
    pub(crate) const PROCESSOR: usize = LINE + 40;
    /// Raised by every owner.
    pub(crate) const GENERATION: usize = LINE + 48;
    /// Where in the ring the present owner began: its predecessors sent what stood before.
    pub(crate) const OWNER_START: usize = LINE + 56;

    /// The end of the longest prefix of consumed records, and a hint of it that may lag behind.
    pub(crate) const HEAD: usize = 2 * LINE;
    pub(crate) const HEAD_HINT: usize = 3 * LINE;
    /// By how much the present owner raised the lane's role when it took it: see `channel::peer`.
    pub(crate) const OWNER_MARK: usize = 3 * LINE + 8;
    /// How far the ring's producer may write, as it told before it did: see `ring::Observer`.
    pub(crate) const REACH: usize = 3 * LINE + 16;
    /// How many values were begun in fragments: the same number as long as one value's sender begins again.
    pub(crate) const LONG_VALUES: usize = 3 * LINE + 24;
    pub(crate) const RETURN_HEAD: usize = 4 * LINE;
    pub(crate) const RETURN_HEAD_HINT: usize = 5 * LINE;
    pub(crate) const RETURN_REACH: usize = 5 * LINE + 8;

    /// Calls that their caller waits for no more: the first that is waited for, and the numbers of some
    /// behind it.
    pub(crate) const CANCELLED: usize = 6 * LINE;

    /// Whether streams of replies wait until the owner has taken parts of them. Behind it, what it has
    /// taken of each: see `channel::calls::credit`.
    pub(crate) const PARTS_WAIT: usize = 7 * LINE;
    pub(crate) const TAKEN: usize = PARTS_WAIT + 8;
    /// How many streams an owner can read at a time.
    pub(crate) const STREAMS: usize = CREDIT_LINES * 8 - 1;
    const CREDIT_LINES: usize = if cfg!(loom) { 1 } else { 4 };

    pub(crate) const BLOCK: usize = (7 + CREDIT_LINES) * LINE;
}

/// The sizes that the creator chose, which fix everything else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    pub(crate) lanes: usize,
    pub(crate) receivers: usize,
    /// Lines of each lane's ring: 0 or a power of two.
    pub(crate) ring_lines: u64,
    /// How many of them are used while little goes: 0 where there are none, else a power of two.
    pub(crate) ring_window: u64,
    /// The same of each lane's return ring.
    pub(crate) return_lines: u64,
    pub(crate) return_window: u64,
    /// Longest encoded value that travels as a queue message; 0: there is no queue.
    pub(crate) inline_limit: usize,
    /// Longest encoded value at all, without the head that a layer above puts in front of it.
    pub(crate) max_value: u64,
    /// How many values wait at most; zero where only bytes bound them. All messages of the queue are of one
    /// length then, and the queue holds the bytes of as many: so the kernel keeps the bound.
    pub(crate) max_waiting: u64,
}

impl Layout {
    #[inline]
    pub(crate) fn has_queue(&self) -> bool {
        self.inline_limit > 0
    }

    #[inline]
    pub(crate) fn has_ring(&self) -> bool {
        self.ring_lines > 0
    }

    /// Whether the number of values that wait is bounded.
    #[inline]
    fn is_counted(&self) -> bool {
        self.max_waiting > 0
    }

    /// Whether a short value is itself a message. Where values are counted and there are rings, the
    /// queue has their descriptors alone: more of these fit than of padded values.
    #[inline]
    pub(crate) fn sends_inline(&self) -> bool {
        self.has_queue() && !(self.is_counted() && self.has_ring())
    }

    /// How long a message is that needs `len` bytes of text.
    #[inline]
    pub(crate) fn padded(&self, len: usize) -> usize {
        if self.is_counted() && !fault(Fault::NotPadded) {
            len.max(self.message_len())
        } else {
            len
        }
    }

    /// How many bytes the queue is to hold, if not what the kernel gives it.
    pub(crate) fn queue_capacity(&self) -> Option<u64> {
        self.is_counted().then(|| self.max_waiting.saturating_mul(self.message_len() as u64))
    }

    /// Bytes of each lane's ring.
    pub(crate) fn ring_bytes(&self) -> usize {
        self.ring_lines as usize * LINE
    }

    /// Bytes of each lane's return ring.
    #[cfg(not(loom))]
    pub(crate) fn return_bytes(&self) -> usize {
        self.return_lines as usize * LINE
    }

    /// The bitmap of lanes that are in line for space in the queue.
    #[inline]
    pub(crate) fn in_line(&self) -> usize {
        word::WANT_QUEUE + self.lanes.div_ceil(64) * 8
    }

    fn slot_words_at(&self) -> usize {
        (self.in_line() + self.lanes.div_ceil(64) * 8).next_multiple_of(LINE)
    }

    /// A slot's words.
    #[inline]
    pub(crate) fn slot_words(&self, slot: usize) -> usize {
        debug_assert!(slot < self.slots());
        self.slot_words_at() + slot * slot_word::BLOCK
    }

    /// The words that say which receivers are parked, side by side: a sender looks at all of them.
    fn parked_at(&self) -> usize {
        self.slot_words_at() + self.slots() * slot_word::BLOCK
    }

    fn receivers_at(&self) -> usize {
        let parked = if self.has_receivers() { self.receivers * 8 } else { 0 };
        self.parked_at() + parked.next_multiple_of(LINE)
    }

    /// Whether there may be several receivers.
    #[inline]
    pub(crate) fn has_receivers(&self) -> bool {
        self.receivers > 1
    }

    /// The words of a receiver.
    #[inline]
    pub(crate) fn receiver(&self, index: usize) -> ReceiverWords {
        debug_assert!(index < self.receivers);
        if !self.has_receivers() {
            return ReceiverWords::ALONE;
        }
        let block = self.receivers_at() + index * receiver_word::BLOCK;
        ReceiverWords {
            parked: self.parked_at() + index * 8,
            processor: block + receiver_word::PROCESSOR,
            values: block + receiver_word::VALUES,
            bytes: block + receiver_word::BYTES,
            parks: block + receiver_word::PARKS,
            wakeups: block + receiver_word::WAKEUPS,
            generation: block + receiver_word::GENERATION,
        }
    }

    #[inline]
    fn lanes_at(&self) -> usize {
        let receivers = if self.has_receivers() { self.receivers } else { 0 };
        self.receivers_at() + receivers * receiver_word::BLOCK
    }

    fn links_at(&self) -> usize {
        self.lanes_at() + self.lanes * lane_word::BLOCK
    }

    /// The words of a link.
    pub(crate) fn link(&self, link: usize) -> usize {
        debug_assert!(link < LINKS);
        self.links_at() + link * link_word::BLOCK
    }

    /// Bytes of atomic words at the segment's start.
    pub(crate) fn words(&self) -> usize {
        self.links_at() + LINKS * link_word::BLOCK
    }

    #[inline]
    pub(crate) fn lane(&self, lane: usize) -> usize {
        debug_assert!(lane < self.lanes);
        self.lanes_at() + lane * lane_word::BLOCK
    }

    pub(crate) fn name_at(&self) -> usize {
        self.words()
    }

    pub(crate) fn codec_at(&self) -> usize {
        self.name_at() + (MAX_NAME + 1)
    }

    pub(crate) fn type_at(&self) -> usize {
        self.codec_at() + (MAX_CODEC + 1)
    }

    pub(crate) fn shape_at(&self) -> usize {
        self.type_at() + (MAX_TYPE + 1)
    }

    /// Longest text of a queue message of this crate.
    pub(crate) fn message_len(&self) -> usize {
        ENVELOPE + if self.sends_inline() { self.inline_limit } else { 0 }
    }

    /// How many messages receivers can have in hand, those included that died with one.
    #[inline]
    pub(crate) fn slots(&self) -> usize {
        match self.has_queue() {
            true if self.has_receivers() => self.receivers + SPARE_SLOTS,
            true => SOLE_SLOTS,
            false => 0,
        }
    }

    fn slot_size(&self) -> usize {
        (TYPE_WORD + self.message_len()).next_multiple_of(LINE)
    }

    /// A slot's type word; its text follows.
    pub(crate) fn slot(&self, slot: usize) -> usize {
        debug_assert!(slot < self.slots());
        self.slots_at() + slot * self.slot_size()
    }

    fn slots_at(&self) -> usize {
        self.shape_at() + MAX_SHAPE
    }

    fn rings_at(&self) -> usize {
        (self.slots_at() + self.slots() * self.slot_size()).next_multiple_of(PAGE)
    }

    /// Bytes of one lane's rings; `None` if that is more than memory can have.
    fn lane_rings(&self) -> Option<usize> {
        let bytes = |lines: u64| usize::try_from(lines).ok()?.checked_mul(LINE);
        let both = bytes(self.ring_lines)?.checked_add(bytes(self.return_lines)?)?;
        both.checked_next_multiple_of(PAGE)
    }

    /// The segment's size; `None` if that is more than memory can have.
    pub(crate) fn size(&self) -> Option<usize> {
        let size = self.lane_rings()?.checked_mul(self.lanes)?.checked_add(self.rings_at())?;
        (size <= isize::MAX as usize).then_some(size)
    }

    /// How the segment is used; `None` if it is more than memory can have.
    pub(crate) fn plan(&self) -> Option<SegmentPlan> {
        Some(SegmentPlan { len: self.size()?, words: self.words(), lines_at: self.slots_at() })
    }

    /// Whether every value is a message of its own, so that receivers can share them out.
    pub(crate) fn is_queue_only(&self) -> bool {
        self.has_queue() && !self.has_ring() && self.return_lines == 0
    }

    /// Whether the numbers, perhaps read from shared memory, can be a layout at all.
    pub(crate) fn is_sound(&self) -> bool {
        let power = |lines: u64| lines.is_power_of_two() && lines >= 2;
        let ring = |lines: u64, window: u64| match lines {
            0 => window == 0,
            _ => power(lines) && power(window) && window <= lines,
        };
        (1..=MAX_LANES).contains(&self.lanes)
            && (1..=MAX_RECEIVERS).contains(&self.receivers)
            && (self.receivers == 1 || self.is_queue_only())
            && ring(self.ring_lines, self.ring_window)
            && ring(self.return_lines, self.return_window)
            && (self.ring_lines > 0 || self.inline_limit > 0)
            && self.inline_limit <= i32::MAX as usize
            && (self.has_queue() || !self.is_counted())
            && self.size().is_some()
    }

    fn ring_at(&self, lane: usize) -> usize {
        // `size` was checked, so neither step overflows.
        self.rings_at() + lane * self.lane_rings().unwrap_or(0)
    }

    /// The ring from the lane's sender to the receiver, with records of any length: for processes that
    /// take nothing from it. See `Control::ring_of`.
    pub(crate) fn ring(&self, lane: usize) -> RingLayout {
        RingLayout {
            lines_at: self.ring_at(lane),
            lines: self.ring_lines,
            window: self.ring_window,
            max_record: if self.has_queue() { self.ring_window } else { self.ring_lines } / 2,
            head_at: self.lane(lane) + lane_word::HEAD,
            head_hint_at: self.lane(lane) + lane_word::HEAD_HINT,
            reach_at: self.lane(lane) + lane_word::REACH,
            max_value: u64::MAX,
        }
    }

    /// The ring from the receiver back to the lane's sender, as above.
    pub(crate) fn return_ring(&self, lane: usize) -> RingLayout {
        RingLayout {
            lines_at: self.ring_at(lane) + self.ring_lines as usize * LINE,
            lines: self.return_lines,
            window: self.return_window,
            max_record: self.return_lines / 2,
            head_at: self.lane(lane) + lane_word::RETURN_HEAD,
            head_hint_at: self.lane(lane) + lane_word::RETURN_HEAD_HINT,
            reach_at: self.lane(lane) + lane_word::RETURN_REACH,
            max_value: u64::MAX,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEFAULT: Layout = Layout {
        lanes: 32,
        receivers: 1,
        ring_lines: 65536,
        ring_window: 4096,
        return_lines: 64,
        return_window: 64,
        inline_limit: 1024,
        max_value: 1 << 30,
        max_waiting: 0,
    };

    #[test]
    fn counted_messages_are_of_one_length() {
        let with_rings = Layout { max_waiting: 7, ..DEFAULT };
        let without = Layout { ring_lines: 0, ring_window: 0, ..with_rings };
        for (layout, len) in [(with_rings, ENVELOPE), (without, ENVELOPE + 1024)] {
            assert!(layout.is_sound());
            assert_eq!((layout.message_len(), layout.padded(ENVELOPE)), (len, len));
            assert_eq!(layout.queue_capacity(), Some(7 * len as u64));
        }
        assert_eq!((DEFAULT.padded(17), DEFAULT.queue_capacity()), (17, None));
    }

    #[test]
    fn parts_do_not_overlap() {
        let layout = DEFAULT;
        let mut parts = vec![
            (0, layout.slot_words_at()),
            (layout.name_at(), MAX_NAME),
            (layout.codec_at(), MAX_CODEC),
            (layout.type_at(), MAX_TYPE),
            (layout.shape_at(), MAX_SHAPE),
        ];
        for slot in 0..layout.slots() {
            parts.push((layout.slot_words(slot), slot_word::BLOCK));
            parts.push((layout.slot(slot), TYPE_WORD + layout.message_len()));
        }
        for lane in 0..layout.lanes {
            parts.push((layout.lane(lane), lane_word::BLOCK));
            for ring in [layout.ring(lane), layout.return_ring(lane)] {
                parts.push((ring.lines_at, ring.lines as usize * LINE));
            }
        }
        for link in 0..LINKS {
            parts.push((layout.link(link), link_word::BLOCK));
        }
        parts.sort_unstable();
        for pair in parts.windows(2) {
            assert!(pair[0].0 + pair[0].1 <= pair[1].0, "{pair:?}");
        }
        let (start, len) = parts[parts.len() - 1];
        assert!(start + len <= layout.size().unwrap());
    }

    #[test]
    fn slots_and_lines_start_on_lines() {
        for lanes in [1, 7, 64, 65, 4096] {
            let layout = Layout { lanes, inline_limit: 1000, ..DEFAULT };
            assert_eq!(layout.slot(1) % LINE, 0);
            assert_eq!(layout.lane(lanes - 1) % LINE, 0);
            assert_eq!(layout.ring(lanes - 1).lines_at % LINE, 0);
        }
    }

    #[test]
    fn numbers_that_cannot_be_are_refused() {
        for bad in [
            Layout { lanes: 0, ..DEFAULT },
            Layout { lanes: MAX_LANES + 1, ..DEFAULT },
            Layout { ring_lines: 3, ..DEFAULT },
            Layout { ring_lines: 1, ..DEFAULT },
            Layout { ring_lines: 1 << 62, ..DEFAULT },
            Layout { ring_lines: 0, ring_window: 0, inline_limit: 0, ..DEFAULT },
            Layout { ring_lines: 0, ..DEFAULT },
            Layout { ring_window: 0, ..DEFAULT },
            Layout { ring_window: 1, ..DEFAULT },
            Layout { ring_window: 96, ..DEFAULT },
            Layout { ring_window: DEFAULT.ring_lines * 2, ..DEFAULT },
            Layout { return_window: 128, ..DEFAULT },
            Layout { inline_limit: usize::MAX, ..DEFAULT },
            Layout { inline_limit: 0, max_waiting: 1, ..DEFAULT },
        ] {
            assert!(!bad.is_sound(), "{bad:?}");
        }
        assert!(DEFAULT.is_sound());
    }
}
