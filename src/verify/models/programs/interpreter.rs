//! Runs a program: one execution of its parties on threads of the model, and of those whose process
//! is killed or stopped on processes of their own.
//!
//! A party keeps its endpoints until all have ended, unless it leaves: a goodbye rings, and would
//! hide a wake-up that was lost. In an epilogue what is left is received, new parties take the
//! places of those that are gone, and then nothing must be left.

mod actors;
mod calls;
mod channel;
mod names;

use std::cell::RefCell;
use std::collections::HashSet;
use std::sync::Arc;
use std::thread_local;
use std::time::Duration;

use loom::sync::{Condvar, Mutex};
use loom::thread::JoinHandle;

use super::checker::{EPILOGUE, Journal, Outcome, value};
use super::language::{Fate, How, Operation, Program, Scene};
use super::machines;
use crate::model::{Process, Running, set_queue_capacity};
use crate::sys::model::{SHORT, let_short_times_pass, objects_left, only_short_times_pass};
use crate::sys::thread::{Here, spawn_with_room};

/// How long a timed operation waits: so short a time passes when the model says so, and no other.
const TIMEOUT: Duration = SHORT;

thread_local! {
    /// What this execution's parties saw. All threads of a model run on one of the system's.
    static JOURNAL: RefCell<Journal> = RefCell::default();
    /// What was explained before: most executions differ in nothing that can be seen.
    static EXPLAINED: RefCell<HashSet<(String, Journal)>> = RefCell::default();
}

/// What the last execution's parties saw.
pub(super) fn journal() -> Journal {
    JOURNAL.with_borrow(Clone::clone)
}

/// Carries out one execution and checks it; the victim is killed or stopped before that step.
pub(super) fn execute(program: &Arc<Program>, step: usize) {
    let parties = vec![Vec::new(); program.parties.len()];
    JOURNAL.set(Journal { parties, ..Journal::default() });
    set_queue_capacity(program.scene.queue_capacity());
    only_short_times_pass();
    match program.scene {
        Scene::Calls => calls::execute(program, step),
        Scene::Actors => actors::execute(program, step),
        Scene::Names => names::execute(program, step),
        _ => channel::execute(program, step),
    }
    // A stopped process keeps what it has.
    if program.parties.iter().all(|party| party.fate != Fate::Stopped) {
        let left = objects_left();
        assert!(left.is_empty(), "left behind: {left:?}");
    }
    check(program);
}

fn check(program: &Program) {
    let seen = (program.to_string(), journal());
    if EXPLAINED.with_borrow(|explained| explained.contains(&seen)) {
        return;
    }
    let failed = |outcome: &Outcome| matches!(outcome, Outcome::Failed(_));
    let outcomes = seen.1.parties.iter().flatten();
    if let Some(failure) =
        outcomes.chain(seen.1.epilogue.iter().map(|it| &it.2)).find(|it| failed(it))
    {
        panic!("{failure:?}");
    }
    // A thread of the model has a small stack.
    let explained =
        std::thread::scope(|scope| scope.spawn(|| machines::explain(program, &seen.1)).join());
    assert!(explained.expect("the checker does not panic"), "no order explains what was seen");
    EXPLAINED.with_borrow_mut(|all| {
        if all.len() > 100_000 {
            all.clear();
        }
        all.insert(seen)
    });
}

/// One party, as it does one operation after another.
#[derive(Clone)]
struct Part {
    program: Arc<Program>,
    party: usize,
}

impl Part {
    fn operations(&self) -> &[Operation] {
        &self.program.parties[self.party].operations
    }

    /// The value that the operation sends.
    fn value(&self, index: usize) -> u8 {
        value(self.party, index)
    }

    /// Writes down what the next operation came to.
    fn saw(&self, outcome: Outcome) {
        JOURNAL.with_borrow_mut(|journal| journal.parties[self.party].push(outcome));
    }

    /// Starts the party, which returns what it keeps.
    fn start<R: 'static>(
        self,
        process: Option<Process>,
        step: usize,
        main: impl FnOnce(Part) -> R + 'static,
    ) -> Started<R> {
        let Some(process) = process else {
            return Started::Thread(spawn_with_room(|| main(self)));
        };
        let stops = self.program.parties[self.party].fate == Fate::Stopped;
        let process = if stops { process.stop_at(step) } else { process.kill_at(step) };
        Started::Process(process.spawn(move || main(self)))
    }
}

/// The process of a party that is killed or stopped.
fn process_of(program: &Program, party: usize) -> Option<Process> {
    (program.parties[party].fate != Fate::Lives).then(Process::new)
}

/// Does something in the name of that process, or of this one.
fn enter<R>(process: Option<&Process>, action: impl FnOnce() -> R) -> R {
    match process {
        Some(process) => process.enter(action),
        None => action(),
    }
}

enum Started<R> {
    Thread(JoinHandle<Here<R>>),
    Process(Running<R>),
}

impl<R> Started<R> {
    /// Waits for its end; what a living party keeps.
    fn join(self) -> Option<R> {
        match self {
            Started::Thread(thread) => Some(thread.join().unwrap().into_inner()),
            Started::Process(process) => {
                // What it kept is the dead process's.
                std::mem::forget(process.join());
                None
            }
        }
    }
}

/// How the one that attends is ended once the others are done.
#[derive(Default)]
struct Attending {
    /// What ends it, once it has begun.
    end: Mutex<Option<Box<dyn FnOnce()>>>,
    begun: Condvar,
}

impl Attending {
    fn begin(&self, end: impl FnOnce() + 'static) {
        *self.end.lock().unwrap() = Some(Box::new(end));
        self.begun.notify_all();
    }

    fn end(&self) {
        let mut end = self.end.lock().unwrap();
        while end.is_none() {
            end = self.begun.wait(end).unwrap();
        }
        let end = end.take();
        end.expect("it has begun")();
    }
}

/// Waits for all, and for the one that attends once the others are done; what living ones keep.
fn join_all<R>(
    program: &Program,
    started: Vec<Started<R>>,
    attending: &Attending,
) -> Vec<Option<R>> {
    let attends = |party: &usize| {
        program.parties[*party].operations.iter().any(|operation| operation.attends())
    };
    let attends = (0..program.parties.len()).find(attends);
    let mut last = None;
    let mut kept = Vec::new();
    for (party, started) in started.into_iter().enumerate() {
        if Some(party) == attends {
            last = Some(started);
            kept.push(None);
        } else {
            kept.push(started.join());
        }
    }
    if let (Some(party), Some(started)) = (attends, last) {
        attending.end();
        kept[party] = started.join();
    }
    kept
}

/// Lets deadlines pass, if there are any, whenever loom likes.
fn let_time_pass(program: &Program) {
    if program.has(|operation| operation.how() == How::Timed) {
        let_short_times_pass();
    }
}

/// Writes down that a value was decoded, or looked at in place.
fn decoded(id: u8) {
    JOURNAL.with_borrow_mut(|journal| journal.decoded.insert(id));
}

/// Writes down what an operation of the epilogue came to.
fn epilogue(party: usize, operation: Operation, outcome: Outcome) -> Outcome {
    JOURNAL.with_borrow_mut(|journal| journal.epilogue.push((party, operation, outcome.clone())));
    outcome
}

/// The value that the epilogue's next operation sends.
fn next_value(party: usize) -> u8 {
    value(party, EPILOGUE + JOURNAL.with_borrow(|journal| journal.epilogue.len()))
}

/// An error that is never right.
fn failed(error: impl std::fmt::Debug) -> Outcome {
    Outcome::Failed(format!("{error:?}"))
}
