//! Processes, and killing them.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use loom::thread::JoinHandle;

use super::SemaphoreSet;
use super::kernel::{self, Killed};
use super::thread::{Here, spawn_with_room};
use crate::sys::SystemError;

/// A number that tells this process from every other; of a dead one it is no endpoint's.
pub(crate) fn token() -> u64 {
    kernel::current_process()
}

pub(crate) fn effective_uid() -> u32 {
    0
}

pub(crate) fn user_of(_pid: i32) -> Option<u32> {
    Some(0)
}

pub(crate) fn online_cpus() -> usize {
    1
}

pub(crate) fn is_overflow_uid(_uid: u32) -> bool {
    false
}

pub(crate) fn undo_works(
    _try_once: impl Fn(usize) -> Result<Option<bool>, SystemError>,
) -> Result<bool, SystemError> {
    Ok(true)
}

pub(crate) fn is_undone(_set: SemaphoreSet, _index: u16) -> Result<bool, SystemError> {
    Ok(true)
}

/// A number that no other call of the same execution gives.
pub(crate) fn random() -> u64 {
    kernel::begin();
    kernel::with(|kernel| {
        kernel.random += 1;
        kernel.random.wrapping_mul(0x9e37_79b9_7f4a_7c15)
    })
}

/// A process of a model: a thread whose semaphore undo entries are its own, and are applied when
/// it ends, however it ends.
///
/// ```ignore
/// let worker = Process::new();
/// // Done before the process starts, so that loom does not explore it:
/// let rx = worker.enter(|| Channel::<u32>::open("jobs").unwrap().receiver().unwrap());
/// let worker = worker.kill_at(k).spawn(move || rx.recv().unwrap());
/// let result = worker.join();     // None: it was killed
/// ```
#[derive(Debug)]
pub struct Process {
    number: u64,
    kill_at: Option<usize>,
    /// Whether it only stops there: nothing is undone.
    stops: bool,
}

impl Default for Process {
    fn default() -> Self {
        Process::new()
    }
}

/// A [`Process`] that was started.
#[derive(Debug)]
pub struct Running<R>(JoinHandle<Here<Option<R>>>);

impl Process {
    /// A process that ends by itself.
    pub fn new() -> Self {
        Process { number: kernel::new_process(), kill_at: None, stops: false }
    }

    /// Does something in the process's name, on the calling thread.
    pub fn enter<R>(&self, action: impl FnOnce() -> R) -> R {
        let before = kernel::enter_process(self.number, None);
        let result = action();
        kernel::enter_process(before, None);
        result
    }

    /// Kills the process before its step number `step`, counted from 0: an access to shared memory
    /// or a system call. A process with fewer steps ends by itself, and [`killed_anybody`] says so.
    pub fn kill_at(mut self, step: usize) -> Self {
        self.kill_at = Some(step);
        self
    }

    /// Stops the process before its step number `step` for good, as `SIGSTOP` does: it does nothing
    /// more, and nothing is undone. For [`killed_anybody`] and `check_kills` it counts as killed.
    pub fn stop_at(mut self, step: usize) -> Self {
        self.kill_at = Some(step);
        self.stops = true;
        self
    }

    /// Starts it.
    pub fn spawn<R: 'static>(self, main: impl FnOnce() -> R + 'static) -> Running<R> {
        Running(spawn_with_room(move || {
            kernel::enter_process(self.number, self.kill_at);
            let ended = catch_unwind(AssertUnwindSafe(main));
            let stopped = self.stops && ended.as_ref().is_err_and(|payload| payload.is::<Killed>());
            if !stopped {
                kernel::end_process(self.number);
            }
            match ended {
                Ok(result) => Some(result),
                Err(payload) if payload.is::<Killed>() => None,
                Err(payload) => resume_unwind(payload),
            }
        }))
    }
}

impl<R> Running<R> {
    /// Waits for its end; `None` if it was killed.
    pub fn join(self) -> Option<R> {
        match self.0.join() {
            Ok(result) => result.into_inner(),
            Err(payload) => resume_unwind(payload),
        }
    }
}

/// Whether any process was killed since the last call.
///
/// To kill a process at every point, check the model for step 0, 1, 2 and so on until this says no.
pub fn killed_anybody() -> bool {
    kernel::take_killed()
}
