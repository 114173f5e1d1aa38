//! Who sent a value.

use crate::control::{Control, lane_word, semaphores};
use crate::sys::Ordering;

/// Who sent a value: where a reply to it goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Origin {
    pub(crate) lane: usize,
    /// Zero: the sender was gone when its value was received.
    pub(crate) generation: u64,
}

impl Origin {
    /// Whether the lane is still the sender's, as far as it told.
    pub(super) fn is_there(self, control: &Control) -> bool {
        let Origin { lane, generation } = self;
        // Relaxed: a lane that changes hands in this moment drops what is not its own.
        let owner = |lane| control.lane_word(lane, lane_word::GENERATION).load(Ordering::Relaxed);
        lane < control.layout().lanes && owner(lane) == generation
    }

    /// Whether the sender was killed, which takes a system call. One that goes by itself has another
    /// generation before it gives its lane up. Where the kernel refuses to say, it may be there.
    pub(super) fn was_killed(self, control: &Control) -> bool {
        // In this order: one that goes by itself says so before it gives its lane up.
        self.lane < control.layout().lanes
            && semaphores::is_zero(control.set, semaphores::lane_role(self.lane)) == Ok(true)
            && self.is_there(control)
    }

    /// The sender of the record at `position`.
    pub(super) fn of_record(control: &Control, lane: usize, position: u64) -> Self {
        // Acquire: pairs with the owner's Release in `Sender::start_generation`, which comes after it said
        // where it begins.
        let generation = control.lane_word(lane, lane_word::GENERATION).load(Ordering::Acquire);
        let owner_start = control.lane_word(lane, lane_word::OWNER_START).load(Ordering::Relaxed);
        Origin { lane, generation: if position < owner_start { 0 } else { generation } }
    }
}
