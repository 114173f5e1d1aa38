//! What a receiver's calls change, and what each value that is handed over changes.

use crate::channel::Delivery;
use crate::channel::sources::Sources;
use crate::control::{Control, ReceiverWords, VALUES_BETWEEN_LOOKS};

pub(in crate::channel) struct State {
    pub(in crate::channel) sources: Sources,
    /// Whether the senders' semaphore was looked at since the last wake-up that perhaps no peer made.
    pub(super) looked_at_senders: bool,
}

/// Counts a value.
#[inline]
pub(in crate::channel) fn received(control: &Control, words: &ReceiverWords, len: usize) {
    let values = control.count(words.values, 1);
    if values.is_multiple_of(VALUES_BETWEEN_LOOKS) && cfg!(not(loom)) {
        control.poll_removed();
    }
    control.count(words.bytes, len as u64);
}

/// Consumes what was ready when decoding it panics: a poisoned value never comes twice.
pub(super) struct OnPanic<'a> {
    pub(super) control: &'a Control,
    pub(super) state: &'a mut State,
    pub(super) delivery: &'a Delivery,
}

impl Drop for OnPanic<'_> {
    fn drop(&mut self) {
        self.state.sources.hand_over(self.control, self.delivery);
    }
}
