//! The state of a value that goes in fragments.
//!
//! Such a value is freed fragment by fragment while the receiver collects it, so a receiver that
//! dies half-way takes the part that it had along. The sender therefore stays in its call until the
//! value was handed over, and starts again if the receiver changed before. One word in the lane
//! decides: the sender opens it, and then either the receiver moves it to done, as the hand-over,
//! or the sender moves it to withdrawn. Both compare and exchange, so exactly one of them happens.

use crate::sys::{AtomicU64, Ordering};

const OPEN: u64 = 1;
const DONE: u64 = 2;
const WITHDRAWN: u64 = 3;

/// What became of a value.
#[cfg(not(loom))]
pub(crate) enum Outcome {
    /// It was handed over.
    Done,
    /// It was taken back.
    Withdrawn,
    /// Another value, or the same one again, was on its way after it.
    Another,
}

/// A lane's word for the value on its way.
pub(crate) struct Fragmented<'a>(pub(crate) &'a AtomicU64);

impl Fragmented<'_> {
    /// A value whose first fragment stands at `start` is on its way.
    pub(crate) fn open(&self, start: u64) {
        self.0.swap(start << 2 | OPEN, Ordering::Relaxed);
        point!("fragmented.opened");
    }

    /// Hands the value over; `false` if it was withdrawn.
    pub(crate) fn complete(&self, start: u64) -> bool {
        self.decide(start, DONE)
    }

    /// Takes the value back; `false` if it was handed over.
    pub(crate) fn withdraw(&self, start: u64) -> bool {
        self.decide(start, WITHDRAWN)
    }

    /// Whether the value is on its way: neither handed over nor withdrawn.
    pub(crate) fn is_open(&self, start: u64) -> bool {
        // Relaxed: asked with no endpoint attached.
        self.0.load(Ordering::Relaxed) == start << 2 | OPEN
    }

    /// Whether the value was handed over.
    pub(crate) fn is_done(&self, start: u64) -> bool {
        // Relaxed: nothing is read on the strength of it.
        self.0.load(Ordering::Relaxed) == start << 2 | DONE
    }

    /// What became of the value, for one that watches; `None` while it is on its way.
    #[cfg(not(loom))]
    pub(crate) fn outcome(&self, start: u64) -> Option<Outcome> {
        // Relaxed: nothing is read on the strength of it.
        match self.0.load(Ordering::Relaxed) {
            state if state >> 2 != start => Some(Outcome::Another),
            state if state & 0b11 == OPEN => None,
            state if state & 0b11 == DONE => Some(Outcome::Done),
            _ => Some(Outcome::Withdrawn),
        }
    }

    /// The state, which another value's differs from.
    pub(crate) fn state(&self) -> u64 {
        // Relaxed: as in `settle`.
        self.0.load(Ordering::Relaxed)
    }

    /// Whether a value that was begun after this was `before` was handed over, asked by the next owner of the
    /// lane: from here on it never is, if it was not.
    pub(crate) fn settle(&self, before: u64) -> bool {
        // Relaxed: the word itself is all that is agreed on.
        let state = self.0.load(Ordering::Relaxed);
        if state & 0b11 == OPEN {
            self.withdraw(state >> 2);
        }
        let state = self.0.load(Ordering::Relaxed);
        state != before && state & 0b11 == DONE
    }

    /// Whether any value has gone in fragments.
    pub(crate) fn was_used(&self) -> bool {
        // Relaxed: as in `is_open_at`.
        self.0.load(Ordering::Relaxed) != 0
    }

    /// Whether the value is on its way whose last fragment stands at `last`. A lane has one on its way at
    /// most, and what was taken back stands before it.
    pub(crate) fn is_open_at(&self, last: u64) -> bool {
        // Relaxed: a figure of this moment; nothing is read on the strength of it.
        let state = self.0.load(Ordering::Relaxed);
        state & 0b11 == OPEN && state >> 2 <= last
    }

    fn decide(&self, start: u64, state: u64) -> bool {
        let (open, decided) = (start << 2 | OPEN, start << 2 | state);
        point!("fragmented.before");
        // Relaxed: the word itself is all that is agreed on.
        let won = self.0.compare_exchange(open, decided, Ordering::Relaxed, Ordering::Relaxed);
        point!("fragmented.decided");
        won.is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_handed_over_or_withdrawn_and_never_both() {
        let word = AtomicU64::new(0);
        let long = Fragmented(&word);
        assert!(!long.complete(5));
        long.open(5);
        assert!(!long.complete(4) && !long.withdraw(6));
        assert!(long.complete(5) && long.is_done(5));
        assert!(!long.withdraw(5) && !long.complete(5));
        long.open(9);
        assert!(long.is_open(9) && !long.is_open(5) && !long.is_done(9));
        assert!(long.withdraw(9) && !long.complete(9) && !long.is_open(9));
    }

    #[test]
    fn the_next_owner_learns_what_became_of_a_value() {
        let word = AtomicU64::new(0);
        let long = Fragmented(&word);
        let before = long.state();
        assert!(!long.settle(before), "none was begun");
        long.open(5);
        assert!(
            !long.settle(before) && !long.complete(5),
            "one that was not received is taken back"
        );
        let before = long.state();
        long.open(9);
        assert!(long.complete(9) && long.settle(before));
        assert!(!long.settle(long.state()), "the one before is another");
    }
}
