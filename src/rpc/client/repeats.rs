//! Pauses before a call is made again.

use std::time::Duration;

/// Before the second repetition; each later one waits twice as long, up to the longest.
const FIRST: Duration = Duration::from_millis(if cfg!(loom) { 0 } else { 1 });
const LONGEST: Duration = Duration::from_millis(100);

/// How often a call was made again.
#[derive(Default)]
pub(super) struct Repeats(u32);

impl Repeats {
    /// How long to wait before the call is made once more. The first time not at all: where its server has died,
    /// another may stand by. One that is there and has each request dropped is left in peace after that.
    pub(super) fn next_pause(&mut self) -> Duration {
        let repeated = self.0;
        self.0 = repeated.saturating_add(1);
        match repeated.checked_sub(1) {
            // As often as it takes to be longer than the longest.
            Some(doubled) => LONGEST.min(FIRST * (1 << doubled.min(7))),
            None => Duration::ZERO,
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_from_nothing_to_the_longest() {
        let mut repeats = Repeats::default();
        let pauses: Vec<_> = (0..12).map(|_| repeats.next_pause().as_millis()).collect();
        assert_eq!(pauses, [0, 1, 2, 4, 8, 16, 32, 64, 100, 100, 100, 100]);
        repeats.0 = u32::MAX;
        assert_eq!((repeats.next_pause(), repeats.next_pause()), (LONGEST, LONGEST));
    }
}
