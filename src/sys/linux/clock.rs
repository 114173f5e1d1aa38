//! Deadlines on the monotonic clock.

use std::time::{Duration, Instant};

/// When to stop waiting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Deadline(When);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum When {
    Never,
    /// Has always passed; a variant of its own because asking the clock costs time.
    Immediate,
    At(Instant),
}

impl Deadline {
    pub(crate) fn never() -> Self {
        Deadline(When::Never)
    }

    /// One that has passed.
    pub(crate) fn immediate() -> Self {
        Deadline(When::Immediate)
    }

    /// From now; one beyond the clock's range never passes.
    pub(crate) fn after(timeout: Duration) -> Self {
        if timeout.is_zero() {
            return Deadline::immediate();
        }
        Deadline(Instant::now().checked_add(timeout).map_or(When::Never, When::At))
    }

    /// How long it still takes; `None` = for ever, zero = passed.
    pub(crate) fn remaining(self) -> Option<Duration> {
        match self.0 {
            When::Never => None,
            When::Immediate => Some(Duration::ZERO),
            When::At(instant) => Some(instant.saturating_duration_since(Instant::now())),
        }
    }

    pub(crate) fn has_passed(self) -> bool {
        self.remaining() == Some(Duration::ZERO)
    }
}

/// Lets time pass, where the kernel has nothing to wait on.
pub(crate) fn pause(time: Duration) {
    std::thread::sleep(time);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deadlines_keep_their_word() {
        assert_eq!(Deadline::never().remaining(), None);
        assert!(Deadline::immediate().has_passed());
        assert!(Deadline::after(Duration::ZERO).has_passed());
        assert!(!Deadline::after(Duration::from_secs(1000)).has_passed());
        assert_eq!(Deadline::after(Duration::MAX), Deadline::never());
    }
}
