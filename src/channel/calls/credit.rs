//! How much of a stream of replies may be on its way: the caller says in its lane what it has taken.
//!
//! A stream has a slot of the lane as long as the caller reads it. The slot's word says whose it is and how
//! much the caller has taken, so a receiver that finds another call there, or none, knows that this stream is
//! read no more, however many others were cancelled meanwhile.
//!
//! ```text
//! caller:   slot = (call, taken); fence; if PARTS_WAIT { ring the holder of the port, or the receiver }
//! handler:  PARTS_WAIT = 1; fence; look at the slot; wait
//! ```
//!
//! The handler is the receiver's, or that of a process which holds the reply port of an actor's stream.

use std::sync::Arc;

use crate::channel::ports;
use crate::control::{Control, lane_word};
use crate::ring::LINE;
use crate::sys::{AtomicU64, Fault, Ordering, fault, fence};

/// How much of a stream may be on its way, in bytes as [`charge`] counts them. A part that is longer goes when
/// nothing else is.
pub(crate) const WINDOW: u64 = if cfg!(loom) { 1 } else { 256 << 10 };

/// The same for the receiver's process, which writes to the ring back: no more than half of that, so that what may be
/// on its way seldom waits for room there.
pub(in crate::channel) fn window(control: &Control) -> u64 {
    WINDOW.min(control.layout().return_lines * LINE as u64 / 2)
}

/// How many bytes the window takes at most where its parts are kept, which takes more than they count for.
pub(in crate::channel) const KEPT_AHEAD: u64 = 3 * WINDOW;

/// How many streams a caller can read at a time.
pub(crate) const STREAMS: usize = lane_word::STREAMS;

/// A slot has 24 bits of the call's number and 40 of what was taken.
const TAKEN_BITS: u32 = 40;
const TAKEN: u64 = (1 << TAKEN_BITS) - 1;

/// What a part of so many encoded bytes counts for: no less than it takes of the ring, with what stands in front.
pub(crate) fn charge(len: usize) -> u64 {
    len as u64 + 96
}

fn slot(control: &Control, lane: usize, slot: usize) -> &AtomicU64 {
    control.lane_word(lane, lane_word::TAKEN + slot * 8)
}

fn value(call: u64, taken: u64) -> u64 {
    call << TAKEN_BITS | taken & TAKEN
}

/// Whether so much of a call's stream was sent that the receiver waits until the caller has taken some;
/// `None` if the caller reads it no more.
pub(in crate::channel) fn is_ahead(
    control: &Control,
    lane: usize,
    at: usize,
    call: u64,
    sent: u64,
    window: u64,
) -> Option<bool> {
    // Relaxed: `notify` and `park` order it, or the fence behind PARTS_WAIT; the request came after the
    // slot was opened.
    let now = slot(control, lane, at).load(Ordering::Relaxed);
    if now >> TAKEN_BITS != value(call, 0) >> TAKEN_BITS {
        return None;
    }
    Some(sent.wrapping_sub(now) & TAKEN >= window)
}

/// Whether the caller has this slot open.
pub(in crate::channel) fn is_open(control: &Control, lane: usize, at: usize) -> bool {
    slot(control, lane, at).load(Ordering::Relaxed) != 0
}

/// Says that a stream of the lane waits, before the last look whether it has to.
pub(in crate::channel) fn says_that_parts_wait(control: &Control, lane: usize) {
    if !fault(Fault::PartsWaitNotSaid) {
        control.lane_word(lane, lane_word::PARTS_WAIT).swap(1, Ordering::Relaxed);
    }
    point!("parts.wait");
    // SeqCst: pairs with the caller's `waker_fence` in `Credit::say`.
    fence(Ordering::SeqCst);
}

/// Whether a handler said that a stream of the lane waits.
pub(in crate::channel) fn parts_wait(control: &Control, lane: usize) -> bool {
    control.lane_word(lane, lane_word::PARTS_WAIT).load(Ordering::Relaxed) != 0
}

/// Forgets that one said so: it is rung, and looks before it says so again.
pub(in crate::channel) fn forget_parts_wait(control: &Control, lane: usize) {
    control.lane_word(lane, lane_word::PARTS_WAIT).swap(0, Ordering::Relaxed);
}

/// Forgets the streams of former owners of the lane.
pub(in crate::channel) fn forget_streams(control: &Control, lane: usize) {
    for at in 0..STREAMS {
        slot(control, lane, at).swap(0, Ordering::Relaxed);
    }
}

/// A caller's slot for a stream of replies, for any thread of its process.
pub(crate) struct Credit {
    control: Arc<Control>,
    lane: usize,
    at: usize,
    call: u64,
    /// How much was taken, and what the sender knows of.
    taken: u64,
    told: u64,
}

impl Credit {
    pub(in crate::channel) fn new(
        control: Arc<Control>,
        lane: usize,
        at: usize,
        call: u64,
    ) -> Self {
        Credit { control, lane, at, call, taken: 0, told: 0 }
    }

    /// Opens the slot, before the request of the call is sent.
    pub(in crate::channel) fn open(&self) {
        self.say(value(self.call, 0));
    }

    /// The caller has taken a part that counts for so much, and says so once it is worth waking the sender for.
    pub(crate) fn take(&mut self, charge: u64) {
        self.taken += charge;
        self.tell(window(&self.control).div_ceil(2));
    }

    /// The caller waits for more: whatever it has taken, the sender is to know of.
    pub(crate) fn tell_all(&mut self) {
        self.tell(1);
    }

    fn tell(&mut self, least: u64) {
        if self.taken - self.told >= least {
            self.told = self.taken;
            self.say(value(self.call, self.taken));
        }
    }

    /// The caller reads no more.
    pub(crate) fn close(&self) {
        self.say(0);
    }

    fn say(&self, value: u64) {
        if !self.control.is_ours() {
            return;
        }
        slot(&self.control, self.lane, self.at).swap(value, Ordering::Relaxed);
        point!("credit.said");
        self.control.waker_fence();
        // Relaxed: after the fence; the handler sets it before it looks at the slot a last time.
        let waits = self.control.lane_word(self.lane, lane_word::PARTS_WAIT);
        if waits.load(Ordering::Relaxed) != 0 && !fault(Fault::CreditNotRung) {
            match ports::holder_of(&self.control, self.lane) {
                Some(holder) => self.control.notify(self.control.lane_bell(holder)),
                None => self.control.notify_receivers(),
            }
        }
    }
}
