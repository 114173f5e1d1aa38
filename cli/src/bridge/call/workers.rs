//! The threads that make calls: as many as there are calls at a time.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use super::job::Job;

/// A thread that has had nothing to do for so long ends.
const IDLE: Duration = Duration::from_secs(10);

/// So many threads there are at most. Calls beyond wait.
const MOST: usize = 2048;

#[derive(Default)]
pub(super) struct Workers {
    state: Mutex<State>,
    came: Condvar,
}

#[derive(Default)]
struct State {
    jobs: VecDeque<Arc<Job>>,
    idle: usize,
    threads: usize,
}

impl Workers {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has a call made, by a thread that is free or a new one.
    pub(super) fn give(self: &Arc<Self>, job: Arc<Job>) {
        let mut state = self.state();
        state.jobs.push_back(job);
        if state.idle >= state.jobs.len() {
            self.came.notify_one();
            return;
        }
        if state.threads >= MOST {
            return;
        }
        let workers = self.clone();
        let started =
            thread::Builder::new().name("caller".to_owned()).spawn(move || workers.work());
        match started {
            Ok(_) => state.threads += 1,
            // A thread that comes free makes it.
            Err(_) if state.threads > 0 => {}
            Err(error) => {
                let job = state.jobs.pop_back();
                drop(state);
                if let Some(job) = job {
                    job.refuse(&format!("the bridge has no thread for it: {error}"));
                }
            }
        }
    }

    fn work(&self) {
        let mut state = self.state();
        loop {
            if let Some(job) = state.jobs.pop_front() {
                drop(state);
                job.make();
                drop(job);
                state = self.state();
                continue;
            }
            state.idle += 1;
            let is_idle = |state: &mut State| state.jobs.is_empty();
            let waited = self.came.wait_timeout_while(state, IDLE, is_idle);
            (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
            state.idle -= 1;
            if state.jobs.is_empty() {
                state.threads -= 1;
                return;
            }
        }
    }
}
