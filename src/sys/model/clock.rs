//! Time that passes when the model says so.

use std::time::Duration;

use super::kernel;

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
        Deadline(When::After(kernel::with(|kernel| kernel.clock)))
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

/// Lets another thread run.
pub(crate) fn pause(_time: Duration) {
    loom::thread::yield_now();
}
