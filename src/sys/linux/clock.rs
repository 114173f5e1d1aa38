//! Deadlines on the monotonic clock.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::libc;

/// When a call stops waiting: never, now or at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Deadline(When);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum When {
    Never,
    /// The call does not wait.
    Now,
    /// Nanoseconds on CLOCK_MONOTONIC, which all processes of a time namespace share.
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

    /// Of a call that does not wait, and so says Empty or Full instead of Timeout.
    pub(crate) fn now() -> Self {
        Deadline(When::Now)
    }

    /// So long from now; one beyond the clock's range never passes.
    pub(crate) fn after(timeout: Duration) -> Self {
        let timeout = u64::try_from(timeout.as_nanos()).ok();
        Deadline(
            timeout.and_then(|timeout| now().checked_add(timeout)).map_or(When::Never, When::At),
        )
    }

    /// At a moment, which may have passed.
    pub(crate) fn at(moment: Instant) -> Self {
        Deadline::after(moment.saturating_duration_since(Instant::now()))
    }

    /// Whether the call does not wait, as no call does whose deadline is a moment.
    pub(crate) fn is_now(self) -> bool {
        self.0 == When::Now
    }

    /// As a number that other processes of this time namespace understand; `ClockOffset` makes one for
    /// all. For them, now is a moment that has passed.
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
            When::Now => Some(Duration::ZERO),
            When::At(moment) => Some(Duration::from_nanos(moment.saturating_sub(now()))),
        }
    }

    pub(crate) fn has_passed(self) -> bool {
        match self.0 {
            When::Never => false,
            When::Now => true,
            // NB: the coarse clock takes 5 ns and the other 21, in a call of 330.
            When::At(moment) => moment < recently().saturating_add(COARSE) && moment <= now(),
        }
    }
}

/// A moment of this process's monotonic clock.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moment(u64);

impl Moment {
    pub(crate) fn now() -> Self {
        Moment(now())
    }

    /// How long ago it was.
    pub(crate) fn elapsed(self) -> Duration {
        Duration::from_nanos(now().saturating_sub(self.0))
    }
}

/// The time namespace in which the machine's clocks are as they are, by a number that the kernel
/// fixes.
const FIRST_NAMESPACE: &str = "time:[4026531834]";

/// How far CLOCK_MONOTONIC is ahead of the machine's own in this process's time namespace, in
/// nanoseconds. See time_namespaces(7).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ClockOffset(i64);

impl ClockOffset {
    /// Of the namespace that this process is in now. Where the kernel does not say, none is assumed:
    /// without procfs, and in a process that has made a namespace for its children inside of one that
    /// is not the first.
    pub(crate) fn of_this_process() -> Self {
        let read = || {
            let namespace = fs::read_link("/proc/self/ns/time").ok()?;
            if namespace == Path::new(FIRST_NAMESPACE) {
                return None;
            }
            // The offsets are those of the namespace that children come to.
            if fs::read_link("/proc/self/ns/time_for_children").ok()? != namespace {
                return None;
            }
            parse_offset(&fs::read_to_string("/proc/self/timens_offsets").ok()?)
        };
        ClockOffset(read().unwrap_or(0))
    }

    /// A deadline as a number that every process of this machine understands.
    pub(crate) fn publish(self, deadline: Deadline) -> u64 {
        match deadline.0 {
            When::At(moment @ 1..) => at(moment.saturating_add_signed(self.0.saturating_neg())),
            _ => deadline.to_number(),
        }
    }

    /// A deadline that another process has published.
    pub(crate) fn read(self, number: u64) -> Deadline {
        match Deadline::from_number(number) {
            Deadline(When::At(moment @ 1..)) => {
                Deadline(When::At(moment.saturating_add_signed(self.0)))
            }
            deadline => deadline,
        }
    }
}

/// The moment as a number that stands for no other deadline.
fn at(moment: u64) -> u64 {
    moment.clamp(1, u64::MAX - 1)
}

/// The monotonic clock's offset, in nanoseconds, of a text with a line for each clock: its name (its
/// number in the first kernels that had one), seconds, nanoseconds.
fn parse_offset(text: &str) -> Option<i64> {
    let mut lines = text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let line = lines.find(|line| matches!(line[..], ["monotonic" | "1", _, _]))?;
    let (seconds, nanoseconds) = (line[1].parse::<i64>().ok()?, line[2].parse().ok()?);
    Some(seconds.saturating_mul(1_000_000_000).saturating_add(nanoseconds))
}

/// Lets time pass, where the kernel has nothing to wait on.
pub(crate) fn pause(time: Duration) {
    std::thread::sleep(time);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_published_deadline_is_the_same_moment_in_every_time_namespace() {
        let offsets = [0, 1, -1, 100_000_000_000_000, -5_000_000_000, i64::MAX, i64::MIN];
        let moments = [1_u64, 7, 3_600_000_000_000, 1 << 60].map(|it| Deadline(When::At(it)));
        for offset in offsets.map(ClockOffset) {
            assert_eq!(offset.read(offset.publish(Deadline::never())), Deadline::never());
            assert!(offset.read(offset.publish(Deadline::now())).has_passed());
            // Whatever number it is, it is no deadline that always or never passes.
            for deadline in moments {
                let published = Deadline::from_number(offset.publish(deadline));
                assert!(matches!(published.0, When::At(_)), "{published:?}");
            }
        }
        // A process whose clock is 100 seconds ahead, and one whose clock is 7 behind.
        let (ahead, behind) = (ClockOffset(100_000_000_000), ClockOffset(-7_000_000_000));
        let deadline = Deadline(When::At(500_000_000_000));
        let there = Deadline(When::At(393_000_000_000));
        assert_eq!(behind.read(ahead.publish(deadline)), there);
        assert_eq!(ahead.read(behind.publish(there)), deadline);
    }

    #[test]
    fn the_offset_of_the_monotonic_clock_is_read_as_every_kernel_writes_it() {
        let text = "monotonic      100000         7\nboottime            5         0\n";
        assert_eq!(parse_offset(text), Some(100_000_000_000_007));
        assert_eq!(parse_offset("7 5 0\n1 -2 500000000\n"), Some(-1_500_000_000));
        assert_eq!(parse_offset("monotonic 9223372036854775807 1\n"), Some(i64::MAX));
        for text in ["", "boottime 1 2", "monotonic", "monotonic x 0", "\n\n"] {
            assert_eq!(parse_offset(text), None, "{text}");
        }
    }

    #[test]
    fn deadlines_keep_their_word() {
        assert_eq!(Deadline::never().remaining(), None);
        assert!(Deadline::now().has_passed());
        assert!(Deadline::after(Duration::ZERO).has_passed());
        assert!(!Deadline::after(Duration::from_secs(1000)).has_passed());
        let soon = Deadline::after(Duration::from_millis(1));
        while !soon.has_passed() {}
        assert_eq!(soon.remaining(), Some(Duration::ZERO));
        assert_eq!(Deadline::after(Duration::MAX), Deadline::never());
        let soon = Deadline::after(Duration::from_secs(1000));
        for deadline in [soon, Deadline::never()] {
            assert_eq!(Deadline::from_number(deadline.to_number()), deadline);
        }
        assert!(Deadline::from_number(Deadline::now().to_number()).has_passed());
    }

    #[test]
    fn only_a_call_that_does_not_wait_has_the_deadline_now() {
        assert!(Deadline::now().is_now());
        let passed = [Deadline::after(Duration::ZERO), Deadline::at(Instant::now())];
        for deadline in passed {
            assert!(deadline.has_passed() && !deadline.is_now());
        }
        assert!(!Deadline::never().is_now());
        assert!(!Deadline::from_number(Deadline::now().to_number()).is_now());
    }
}
