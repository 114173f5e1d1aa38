//! The two processors that everything is pinned to, and what lies between them.

use std::hint::spin_loop;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Instant;

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;

use crate::Failure;
use crate::samples::nanos;
use crate::topology;

/// Bare round trips on each side of a sample.
const BARE_ROUNDS: u64 = 1000;

const TOO_FEW: &str = "this takes two processors";

/// Nanoseconds of a bare round trip that no two cores come below, and two threads of one do.
const SIBLINGS: f64 = 60.0;

/// The two cores that everything is pinned to: this process's, and the server's.
#[derive(Debug, Clone, Copy)]
pub struct Cores {
    pub mine: usize,
    pub other: usize,
}

impl Cores {
    /// Takes two cores that this process may use, and stays on the first: two with an L2 of their own
    /// if there are any, as bulk looks free between others.
    pub fn take() -> Result<Self, Failure> {
        let allowed = sched_getaffinity(Pid::from_raw(0))?;
        let cores = (0..CpuSet::count()).filter(|&core| allowed.is_set(core) == Ok(true));
        let cores: Vec<usize> = cores.collect();
        let [mine, ref others @ ..] = cores[..] else { return Err(TOO_FEW.into()) };
        let apart = others.iter().find(|&&other| topology::share(mine, other, 2) == Some(false));
        let other = *apart.or(others.first()).ok_or(TOO_FEW)?;
        pin(mine)?;
        Ok(Cores { mine, other })
    }

    /// Whether they look like two threads of one core, whatever a virtual machine says of them.
    pub fn look_like_siblings(round_trip: f64) -> bool {
        round_trip < SIBLINGS
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
