//! The oracle: what was sent, what was received, and what that says.

use std::collections::BTreeMap;

/// Values by sender: ids from 0 on, in the order in which they were sent.
#[derive(Default, Debug)]
pub(crate) struct Ledger {
    /// For each sender, how many values it told of, and whether one more may be on its way.
    sent: BTreeMap<u64, (u64, bool)>,
    /// What was received, in order, over all receivers.
    received: BTreeMap<u64, Vec<u64>>,
}

impl Ledger {
    /// A sender told of `count` values; `killed` if one more may have been sent and not told of.
    pub(crate) fn sent(&mut self, sender: u64, count: u64, killed: bool) {
        self.sent.insert(sender, (count, killed));
    }

    pub(crate) fn received(&mut self, sender: u64, id: u64) {
        self.received.entry(sender).or_default().push(id);
    }

    pub(crate) fn receptions(&self) -> u64 {
        self.received.values().map(|ids| ids.len() as u64).sum()
    }

    /// Panics unless every value came once and in order, but for at most `in_hand` that killed
    /// receivers had handed over and not told of.
    pub(crate) fn check(&self, in_hand: u64) {
        let mut missing = Vec::new();
        for (sender, ids) in &self.received {
            assert!(self.sent.contains_key(sender), "values of a sender {sender} that never was");
            for pair in ids.windows(2) {
                assert!(pair[0] < pair[1], "sender {sender}: {} after {}", pair[1], pair[0]);
            }
        }
        for (&sender, &(count, killed)) in &self.sent {
            let ids = self.received.get(&sender).map_or(&[][..], Vec::as_slice);
            let most = count + u64::from(killed);
            assert!(
                ids.last().is_none_or(|&last| last < most),
                "sender {sender}: {ids:?} of {most}"
            );
            missing.extend(
                (0..count).filter(|id| ids.binary_search(id).is_err()).map(|id| (sender, id)),
            );
        }
        assert!(missing.len() as u64 <= in_hand, "lost, as sender and id: {missing:?}");
    }
}
