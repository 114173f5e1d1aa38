//! The two processors that everything is pinned to, and what lies between them.

use std::hint::spin_loop;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Instant;

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;

use crate::Failure;
use crate::samples::nanos;

/// Bare round trips on each side of a sample.
const BARE_ROUNDS: u64 = 1000;

/// The two cores that everything is pinned to: this process's, and the server's.
#[derive(Debug, Clone, Copy)]
pub struct Cores {
    pub mine: usize,
    pub other: usize,
}

impl Cores {
    /// Takes the first two cores that this process may use, and stays on the first.
    pub fn take() -> Result<Self, Failure> {
        let allowed = sched_getaffinity(Pid::from_raw(0))?;
        let mut cores = (0..CpuSet::count()).filter(|&core| allowed.is_set(core) == Ok(true));
        let (Some(mine), Some(other)) = (cores.next(), cores.next()) else {
            return Err("this takes two processors".into());
        };
        pin(mine)?;
        Ok(Cores { mine, other })
    }
}

/// Keeps the calling thread on one core, and those that it starts.
pub fn pin(core: usize) -> Result<(), Failure> {
    let mut set = CpuSet::new();
    set.set(core)?;
    Ok(sched_setaffinity(Pid::from_raw(0), &set)?)
}

/// A cache line, alone on the pair of lines that processors fetch together.
#[repr(align(128))]
pub struct Line(pub AtomicU64);

/// One word to the other core and one back, each in a line that one side writes, as the two ways of
/// any channel are.
pub fn bare_round_trip(cores: Cores) -> Result<f64, Failure> {
    const READY: u64 = u64::MAX;
    let (there, back) = (Line(AtomicU64::new(0)), Line(AtomicU64::new(0)));
    let wait_for = |line: &Line, value| {
        while line.0.load(Ordering::Acquire) != value {
            spin_loop();
        }
    };
    thread::scope(|scope| {
        let echo = scope.spawn(|| {
            let pinned = pin(cores.other);
            back.0.store(READY, Ordering::Release);
            for round in 1..=BARE_ROUNDS {
                wait_for(&there, round);
                back.0.store(round, Ordering::Release);
            }
            pinned
        });
        // The other one may have to wait for its core.
        while back.0.load(Ordering::Acquire) != READY {
            thread::yield_now();
        }
        let start = Instant::now();
        for round in 1..=BARE_ROUNDS {
            there.0.store(round, Ordering::Release);
            wait_for(&back, round);
        }
        let time = nanos(start.elapsed()) / BARE_ROUNDS as f64;
        echo.join().map_err(|_| "the echoing thread died")??;
        Ok(time)
    })
}
