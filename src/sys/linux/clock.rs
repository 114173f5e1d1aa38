//! Deadlines on the monotonic clock.

use std::time::Duration;

use nix::libc;

/// When to stop waiting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Deadline(When);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum When {
    Never,
    /// Has always passed; a variant of its own because asking the clock costs time.
    Immediate,
    /// Nanoseconds on CLOCK_MONOTONIC, which all processes of a machine share.
    At(u64),
}

/// More than the coarse clock is ever behind.
const COARSE: u64 = 100_000_000;

/// Nanoseconds on CLOCK_MONOTONIC.
fn now() -> u64 {
    read(libc::CLOCK_MONOTONIC)
}

/// The same, as it was at the last tick. See clock_gettime(2), CLOCK_MONOTONIC_COARSE.
fn recently() -> u64 {
    read(libc::CLOCK_MONOTONIC_COARSE)
}

fn read(clock: libc::clockid_t) -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the structure outlives the call, which fails for no clock that Linux has.
    unsafe { libc::clock_gettime(clock, &mut time) };
    (time.tv_sec as u64).wrapping_mul(1_000_000_000).wrapping_add(time.tv_nsec as u64)
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
        let timeout = u64::try_from(timeout.as_nanos()).ok();
        Deadline(
            timeout.and_then(|timeout| now().checked_add(timeout)).map_or(When::Never, When::At),
        )
    }

    /// As a number that other processes of this machine understand.
    pub(crate) fn to_number(self) -> u64 {
        match self.0 {
            When::Never => u64::MAX,
            When::Immediate => 0,
            When::At(moment) => moment,
        }
    }

    pub(crate) fn from_number(number: u64) -> Self {
        Deadline(match number {
            u64::MAX => When::Never,
            0 => When::Immediate,
            moment => When::At(moment),
        })
    }

    /// How long it still takes; `None` = for ever, zero = passed.
    pub(crate) fn remaining(self) -> Option<Duration> {
        match self.0 {
            When::Never => None,
            When::Immediate => Some(Duration::ZERO),
            When::At(moment) => Some(Duration::from_nanos(moment.saturating_sub(now()))),
        }
    }

    pub(crate) fn has_passed(self) -> bool {
        match self.0 {
            When::Never => false,
            When::Immediate => true,
            // NB: the coarse clock takes 5 ns and the other 21, in a call of 330.
            When::At(moment) => moment < recently().saturating_add(COARSE) && moment <= now(),
        }
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
        let soon = Deadline::after(Duration::from_millis(1));
        while !soon.has_passed() {}
        assert_eq!(soon.remaining(), Some(Duration::ZERO));
        assert_eq!(Deadline::after(Duration::MAX), Deadline::never());
        let soon = Deadline::after(Duration::from_secs(1000));
        for deadline in [soon, Deadline::never(), Deadline::immediate()] {
            assert_eq!(Deadline::from_number(deadline.to_number()), deadline);
        }
    }
}
