//! Time that passes when the model says so.

use std::time::{Duration, Instant};

use super::kernel;

/// What counts as a short time where only such passes.
pub(crate) const SHORT: Duration = Duration::from_millis(1);

/// When a call stops waiting: never, now, or when the model next lets time pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Deadline(When);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum When {
    Never,
    /// The call does not wait.
    Now,
    /// Passes when the clock has come to this.
    At(u64),
}

/// A moment that has passed when an execution begins.
const PASSED: Deadline = Deadline(When::At(0));

impl Deadline {
    pub(crate) fn never() -> Self {
        Deadline(When::Never)
    }

    /// Of a call that does not wait, and so says Empty or Full instead of Timeout.
    pub(crate) fn now() -> Self {
        Deadline(When::Now)
    }

    pub(crate) fn after(timeout: Duration) -> Self {
        if timeout.is_zero() {
            return PASSED;
        }
        let short = timeout <= SHORT;
        Deadline(kernel::with(|kernel| match kernel {
            kernel if kernel.only_short_times_pass && !short => When::Never,
            kernel if kernel.short_times_passed && short => PASSED.0,
            kernel => When::At(kernel.clock + 1),
        }))
    }

    /// At a moment, which may have passed.
    pub(crate) fn at(moment: Instant) -> Self {
        Deadline::after(moment.saturating_duration_since(Instant::now()))
    }

    /// Whether the call does not wait, as no call does whose deadline is a moment.
    pub(crate) fn is_now(self) -> bool {
        self.0 == When::Now
    }

    /// As a number that other processes understand.
    pub(crate) fn to_number(self) -> u64 {
        match self.0 {
            When::Never => u64::MAX,
            When::Now => 0,
            When::At(moment) => moment,
        }
    }

    pub(crate) fn from_number(number: u64) -> Self {
        Deadline(match number {
            u64::MAX => When::Never,
            moment => When::At(moment),
        })
    }

    /// The earlier of two.
    pub(crate) fn earlier(self, other: Self) -> Self {
        if other.to_number() < self.to_number() { other } else { self }
    }

    /// How long it still takes; `None` = for ever, zero = passed.
    pub(crate) fn remaining(self) -> Option<Duration> {
        match self.0 {
            When::Never => None,
            _ if self.has_passed() => Some(Duration::ZERO),
            _ => Some(Duration::MAX),
        }
    }

    pub(crate) fn has_passed(self) -> bool {
        match self.0 {
            When::Never => false,
            When::Now => true,
            When::At(moment) => kernel::with(|kernel| kernel.clock) >= moment,
        }
    }
}

/// What the clocks of processes differ by: nothing.
/// A moment, which is as long ago as may be.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moment;

impl Moment {
    pub(crate) fn now() -> Self {
        Moment
    }

    pub(crate) fn elapsed(self) -> Duration {
        Duration::MAX
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ClockOffset;

impl ClockOffset {
    pub(crate) fn of_this_process() -> Self {
        ClockOffset
    }

    /// A deadline as a number that every process understands.
    pub(crate) fn publish(self, deadline: Deadline) -> u64 {
        deadline.to_number()
    }

    /// A deadline that another process has published.
    pub(crate) fn read(self, number: u64) -> Deadline {
        Deadline::from_number(number)
    }
}

/// Lets every deadline that any thread has now pass, whenever loom likes: run it in a thread of its
/// own beside a call with a timeout, and every moment at which the call can time out is explored.
pub fn expire_deadlines() {
    kernel::begin();
    kernel::yield_point();
    kernel::expire();
}

/// Of this execution's deadlines, only short ones pass: no process finds the lock taken for too long.
#[cfg(test)]
pub(crate) fn only_short_times_pass() {
    kernel::begin();
    kernel::with(|kernel| kernel.only_short_times_pass = true);
}

/// Lets short deadlines pass, whenever loom likes, and for good: those that are made later have
/// passed too.
#[cfg(test)]
pub(crate) fn let_short_times_pass() {
    kernel::begin();
    kernel::yield_point();
    kernel::with(|kernel| kernel.short_times_passed = true);
    expire_deadlines();
}

/// Lets another thread run.
pub(crate) fn pause(_time: Duration) {
    loom::thread::yield_now();
}
