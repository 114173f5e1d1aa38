//! Model-checking with loom, under `--cfg loom`.
//!
//! The kernel is a model here, made of loom's primitives, and channels and queues are the same
//! types with the same methods. What runs inside [`check`] is explored by
//! [loom](https://docs.rs/loom): every interleaving of its threads up to a bound, every value that
//! a load may return, and with [`Process::kill_at`] death at every step.
//!
//! Modelled: queues, segments, semaphores with undo, processes and their death, deadlines (they
//! pass when [`expire_deadlines`] is called, in a thread of its own). Not modelled: signals, fork,
//! users and permissions, memory that is full, spinning. A model has at most five threads, main
//! included, and small numbers: two or three values, rings of two to eight lines, inline limits of
//! some bytes.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

pub use crate::sys::model::{
    Process, Running, expire_deadlines, killed_anybody, set_queue_capacity,
};
pub use loom;

/// Thread switches in one execution at most; a loop without end shows by reaching it.
const MAX_BRANCHES: usize = 20_000;

/// Preemptions in one execution at most, unless `LOOM_MAX_PREEMPTIONS` says otherwise.
const PREEMPTIONS: usize = 2;

/// The same where a process is killed at each of its steps, which takes that many times as long.
const PREEMPTIONS_WITH_KILLS: usize = 1;

/// Explores the executions of `model` up to two preemptions, or as many as the environment variable
/// `LOOM_MAX_PREEMPTIONS` says, and returns how many there were.
///
/// With `LOOM_LOG` the bounds are those of the environment alone: see
/// [how to see the failing execution](crate::model_checking#the-execution-that-fails).
///
/// # Panics
/// When an execution panics, deadlocks or never ends.
pub fn check(model: impl Fn() + Sync + Send + 'static) -> usize {
    check_to(PREEMPTIONS, model)
}

pub(crate) fn check_to(preemptions: usize, model: impl Fn() + Sync + Send + 'static) -> usize {
    check_some(preemptions, None, model)
}

/// The same, and stops after so many executions.
pub(crate) fn check_some(
    preemptions: usize,
    most: Option<usize>,
    model: impl Fn() + Sync + Send + 'static,
) -> usize {
    let executions = Arc::new(AtomicUsize::new(0));
    let counted = executions.clone();
    let model = move || {
        counted.fetch_add(1, Ordering::Relaxed);
        model();
    };
    let mut builder = loom::model::Builder::new();
    if builder.log {
        // Loom writes its log from here alone, with the bounds that the environment names.
        loom::model(model);
        return executions.load(Ordering::Relaxed);
    }
    if let Some(most) = most {
        // It is looked at with each checkpoint only, and counted from one.
        builder.max_permutations = Some(most + 1);
        builder.checkpoint_interval = most + 1;
    }
    builder.preemption_bound = builder.preemption_bound.or(Some(preemptions));
    builder.max_branches = builder.max_branches.max(MAX_BRANCHES);
    builder.check(model);
    executions.load(Ordering::Relaxed)
}

/// Checks `model` with a kill before step 0, 1, 2 and so on, until no process is killed any more, up to
/// one preemption, or as many as the environment variable `LOOM_MAX_PREEMPTIONS` says. Returns how
/// many steps and executions there were.
///
/// `model` gives the number to [`Process::kill_at`]. Standard error has the step at which it fails;
/// `check(|| model(STEP))` explores this one alone.
///
/// # Panics
/// As [`check`].
pub fn check_kills(model: impl Fn(usize) + Copy + Sync + Send + 'static) -> (usize, usize) {
    check_kills_to(PREEMPTIONS_WITH_KILLS, model)
}

pub(crate) fn check_kills_to(
    preemptions: usize,
    model: impl Fn(usize) + Copy + Sync + Send + 'static,
) -> (usize, usize) {
    /// Says where the model failed.
    struct Step(usize);
    impl Drop for Step {
        fn drop(&mut self) {
            if std::thread::panicking() {
                eprintln!("the model fails with a process that is killed before step {}", self.0);
            }
        }
    }

    let mut executions = 0;
    for step in 0.. {
        let _step = Step(step);
        killed_anybody();
        executions += check_to(preemptions, move || model(step));
        if !killed_anybody() {
            return (step, executions);
        }
    }
    unreachable!("a model has fewer steps than numbers")
}
