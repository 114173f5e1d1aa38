//! How much of a stream of replies may be on its way: the caller says in its lane what it has taken.
//!
//! A stream has a slot of the lane as long as the caller reads it. The slot's word says whose it is and how
//! much the caller has taken, so a receiver that finds another call there, or none, knows that this stream is
//! read no more, however many others were cancelled meanwhile.
//!
//! ```text
//! caller:    slot = (call, taken); fence; if PARTS_WAIT { ring the receiver }
//! receiver:  PARTS_WAIT = 1; fence; look at the slot; wait
//! ```

use std::sync::Arc;

use crate::control::{Control, lane_word};
use crate::sys::{AtomicU64, Fault, Ordering, fault};

/// How much of a stream may be on its way, in bytes as [`charge`] counts them. A part that is longer goes when
/// nothing else is.
pub(crate) const WINDOW: u64 = if cfg!(loom) { 1 } else { 256 << 10 };

/// How many streams a caller can read at a time.
pub(crate) const STREAMS: usize = lane_word::STREAMS;

/// A slot has 24 bits of the call's number and 40 of what was taken.
const TAKEN_BITS: u32 = 40;
const TAKEN: u64 = (1 << TAKEN_BITS) - 1;

/// What a part of so many encoded bytes counts for: it takes memory of its own where it waits.
pub(crate) fn charge(len: usize) -> u64 {
    len as u64 + 64
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
) -> Option<bool> {
    // Relaxed: `notify` and `park` order it, or the fence behind PARTS_WAIT; the request came after the
    // slot was opened.
    let now = slot(control, lane, at).load(Ordering::Relaxed);
    if now >> TAKEN_BITS != value(call, 0) >> TAKEN_BITS {
        return None;
    }
    Some(sent.wrapping_sub(now) & TAKEN >= WINDOW)
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
}

impl Credit {
    pub(in crate::channel) fn new(
        control: Arc<Control>,
        lane: usize,
        at: usize,
        call: u64,
    ) -> Self {
        Credit { control, lane, at, call }
    }

    /// The caller has taken so much in all.
    pub(crate) fn taken(&self, taken: u64) {
        self.say(value(self.call, taken));
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
        // Relaxed: after the fence; the receiver sets it before it looks at the slot a last time.
        let waits = self.control.lane_word(self.lane, lane_word::PARTS_WAIT);
        if waits.load(Ordering::Relaxed) != 0 && !fault(Fault::CreditNotRung) {
            self.control.notify_receivers();
        }
    }
}
