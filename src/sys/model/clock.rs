//! Time that passes when the model says so.

use std::time::Duration;

use super::kernel;

/// What counts as a short time where only such passes.
pub(crate) const SHORT: Duration = Duration::from_millis(1);

/// When to stop waiting: never, at once, or when the model next lets time pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Deadline(When);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum When {
    Never,
    Immediate,
    /// Passes when the clock has moved on from this.
    After(u64),
}

impl Deadline {
    pub(crate) fn never() -> Self {
        Deadline(When::Never)
    }

    pub(crate) fn immediate() -> Self {
        Deadline(When::Immediate)
    }

    pub(crate) fn after(timeout: Duration) -> Self {
        if timeout.is_zero() {
            return Deadline::immediate();
        }
        let short = timeout <= SHORT;
        Deadline(kernel::with(|kernel| match kernel {
            kernel if kernel.only_short_times_pass && !short => When::Never,
            kernel if kernel.short_times_passed && short => When::Immediate,
            kernel => When::After(kernel.clock),
        }))
    }

    /// As a number that other processes understand.
    pub(crate) fn to_number(self) -> u64 {
        match self.0 {
            When::Never => u64::MAX,
            When::Immediate => 0,
            When::After(moment) => moment + 1,
        }
    }

    pub(crate) fn from_number(number: u64) -> Self {
        Deadline(match number {
            u64::MAX => When::Never,
            0 => When::Immediate,
            moment => When::After(moment - 1),
        })
    }

    /// The earlier of two.
    pub(crate) fn earlier(self, other: Self) -> Self {
        if other.to_number() < self.to_number() { other } else { self }
    }

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
            When::Immediate => true,
            When::After(moment) => kernel::with(|kernel| kernel.clock) > moment,
        }
    }
}

/// What the clocks of processes differ by: nothing.
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

/// Lets every deadline that anybody has now pass, whenever loom likes: run it in a thread of its
/// own beside a call with a timeout, and every moment at which the call can time out is explored.
pub fn expire_deadlines() {
    kernel::begin();
    kernel::yield_point();
    kernel::with(|kernel| kernel.clock += 1);
    let sets: Vec<_> = kernel::with(|kernel| kernel.sets.values().cloned().collect());
    for set in sets {
        set.expire();
    }
}

/// Of this execution's deadlines, only short ones pass: nobody finds the lock taken for too long.
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
