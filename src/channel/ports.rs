//! The word of a lane that says which process holds the reply port of its last ask: see `holders`.

use super::origin::Origin;
use crate::control::{Control, lane_word, word};
use crate::sys::Ordering;

/// How often another process may change a word while this one does.
const ATTEMPTS: usize = 100;

/// HOLDER is 32 bits of the ask's number, 18 of the holder's generation and 14 that say who it is.
const ASK_AT: u32 = 32;
pub(super) const GENERATION_AT: u32 = 14;
pub(super) const GENERATION: u64 = (1 << (ASK_AT - GENERATION_AT)) - 1;
pub(super) const WHO: u64 = (1 << GENERATION_AT) - 1;

/// No other process holds the port.
pub(super) const NONE: u64 = 0;
/// The port was dropped.
pub(super) const DROPPED: u64 = 1;
/// The holder on the first lane.
pub(super) const FIRST_LANE: u64 = 2;

/// A reply port at its home: the asker's lane, and the number of the ask.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct PortId {
    pub(crate) lane: usize,
    pub(crate) ask: u64,
}

impl PortId {
    pub(super) fn with(self, who: u64) -> u64 {
        self.ask << ASK_AT | who
    }

    pub(super) fn held_by(self, holder: Origin) -> u64 {
        let generation = holder.generation & GENERATION;
        self.with(generation << GENERATION_AT | (holder.lane as u64 + FIRST_LANE))
    }

    /// Whether a HOLDER is about this port.
    pub(super) fn is_of(self, holder: u64) -> bool {
        holder != NONE && holder >> ASK_AT == self.ask & (u64::MAX >> ASK_AT)
    }

    /// Says where the port is, and returns what stood there; `None` if its ask is not waited for any
    /// more.
    pub(super) fn say(self, control: &Control, who: u64) -> Option<u64> {
        if self.lane >= control.layout().lanes {
            return None;
        }
        let holder = control.lane_word(self.lane, lane_word::HOLDER);
        // Acquire, here and below: pairs with the Release of the holder of a later ask's port. That
        // ask is seen then, and its holder is not written over.
        let mut before = holder.load(Ordering::Acquire);
        for _ in 0..ATTEMPTS {
            // Relaxed: the ask itself came with the port.
            let last = control.lane_word(self.lane, lane_word::LAST_ASK).load(Ordering::Relaxed);
            if last != self.ask {
                return None;
            }
            // Release: pairs with the home's Acquire, and with the one above.
            match holder.compare_exchange(before, who, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return Some(before),
                Err(now) => before = now,
            }
        }
        None
    }
}

/// Whether the asker waits for this ask, or has asked nothing since.
pub(super) fn is_last_ask(control: &Control, port: PortId) -> bool {
    // Relaxed: the ask itself came with the port.
    port.lane < control.layout().lanes
        && control.lane_word(port.lane, lane_word::LAST_ASK).load(Ordering::Relaxed) == port.ask
}

/// Says that the port is somewhere else, if it still is where `from` says.
pub(super) fn move_on(control: &Control, lane: usize, from: u64, to: u64) -> bool {
    let holder = control.lane_word(lane, lane_word::HOLDER);
    holder.compare_exchange(from, to, Ordering::AcqRel, Ordering::Relaxed).is_ok()
}

/// Has the receiver look at who the senders are, and which of them hold reply ports.
pub(super) fn tell_receiver(control: &Control) {
    // Release: pairs with the receiver's Acquire, which comes before it looks at the lanes.
    control.word(word::HOLDERS).fetch_add(1, Ordering::Release);
    point!("holder.told");
    control.notify_receivers();
}

/// The lane of the process that holds the lane's reply port, if another process than the receiver's does.
pub(super) fn holder_of(control: &Control, lane: usize) -> Option<usize> {
    // Relaxed: a holder says so before it says that it waits, and the asker looks behind the fence for that.
    let holder = control.lane_word(lane, lane_word::HOLDER).load(Ordering::Relaxed);
    let lane = usize::try_from((holder & WHO).checked_sub(FIRST_LANE)?).ok()?;
    (lane < control.layout().lanes).then_some(lane)
}
