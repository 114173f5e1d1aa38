//! Values that are under way.

use std::collections::VecDeque;

use sysv_channel::bridge::{ValueId, WINDOW};

use super::super::wire::Batch;

/// So many bytes are under way at most, or one value that is longer. An `in` has as much memory for them.
pub(crate) const BYTES: usize = 16 << 20;

/// What was taken, in the order in which it is numbered.
#[derive(Default)]
pub(super) struct Flight {
    values: VecDeque<(ValueId, usize)>,
    bytes: usize,
    /// Values that have arrived.
    arrived: u64,
    /// Of those that are under way, these were sent.
    sent: u64,
}

impl Flight {
    /// A value was taken into a batch.
    pub(super) fn take(&mut self, id: ValueId, len: usize) {
        self.values.push_back((id, len));
    }

    /// The batch is sent; the number of its first value.
    pub(super) fn sends(&mut self, batch: &Batch) -> u64 {
        let first = self.sent + 1;
        self.sent += u64::from(batch.count());
        self.bytes += batch.bytes();
        first
    }

    /// The number of the last value that was sent.
    pub(super) fn sent(&self) -> u64 {
        self.sent
    }

    /// The number of the oldest value that was sent and has not arrived.
    pub(super) fn oldest(&self) -> Option<u64> {
        self.is_under_way().then_some(self.arrived + 1)
    }

    /// The oldest value, if it has arrived: all up to this number have.
    pub(super) fn arrived(&mut self, up_to: u64) -> Option<(ValueId, usize)> {
        if self.arrived >= up_to.min(self.sent) {
            return None;
        }
        let (id, len) = self.values.pop_front()?;
        self.arrived += 1;
        self.bytes -= len;
        Some((id, len))
    }

    /// Whether another value may be taken beside a batch of so many bytes.
    pub(super) fn has_room(&self, batch: usize) -> bool {
        self.values.is_empty() || (self.values.len() < WINDOW && self.bytes + batch < BYTES)
    }

    /// Whether some that were sent have not arrived.
    pub(super) fn is_under_way(&self) -> bool {
        self.sent > self.arrived
    }
}
