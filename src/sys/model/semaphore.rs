//! Semaphore sets, with undo and with sleepers whose operation the waker carries out.

use std::collections::BTreeMap;
use std::sync::Arc;

use loom::sync::{Condvar, Mutex, MutexGuard};

use super::clock::Deadline;
use super::kernel::{self, EAGAIN, EEXIST, EIDRM, ENOENT, ERANGE, ownership};
use crate::sys::{Fault, Key, ObjectKind, SemOp, SetStat, SystemError, fault};

const HIGHEST: i32 = 32_767;

/// A set, by its id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SemaphoreSet {
    id: i32,
    key: i32,
}

pub(super) struct SetObject {
    key: i32,
    mode: u32,
    creator: u64,
    state: Mutex<State>,
}

struct State {
    values: Vec<i32>,
    pids: Vec<u64>,
    /// What is added to each semaphore when a process ends.
    undo: BTreeMap<u64, Vec<i32>>,
    sleepers: Vec<Sleeper>,
    next_ticket: u64,
    used: bool,
    removed: bool,
}

struct Sleeper {
    ticket: u64,
    process: u64,
    operations: Vec<SemOp>,
    deadline: Deadline,
    outcome: Option<Result<(), i32>>,
    woken: Arc<Condvar>,
}

impl State {
    /// Carries the operations out whole, or says why not: `None` is that it would have to wait.
    fn perform(&mut self, operations: &[SemOp], process: u64) -> Option<Result<(), i32>> {
        let mut values = self.values.clone();
        let mut undo = self.undo.get(&process).cloned();
        for operation in operations {
            let value = &mut values[usize::from(operation.index)];
            let delta = i32::from(operation.delta);
            let possible = if delta == 0 { *value == 0 } else { *value + delta >= 0 };
            if !possible {
                return if operation.wait { None } else { Some(Err(EAGAIN)) };
            }
            *value += delta;
            if *value > HIGHEST {
                return Some(Err(ERANGE));
            }
            if operation.undo && !fault(Fault::NoUndo) {
                let undo = undo.get_or_insert_with(|| vec![0; self.values.len()]);
                undo[usize::from(operation.index)] -= delta;
            }
        }
        for operation in operations {
            self.pids[usize::from(operation.index)] = process;
        }
        self.values = values;
        self.used = true;
        if let Some(undo) = undo {
            self.undo.insert(process, undo);
        }
        Some(Ok(()))
    }

    /// Lets each sleeper go on whose operation has become possible.
    fn wake(&mut self) {
        while let Some(index) = (0..self.sleepers.len()).find(|&index| {
            let sleeper = &self.sleepers[index];
            if sleeper.outcome.is_some() {
                return false;
            }
            let (operations, process) = (sleeper.operations.clone(), sleeper.process);
            match self.perform(&operations, process) {
                None => false,
                outcome => {
                    self.sleepers[index].outcome = outcome;
                    true
                }
            }
        }) {
            self.sleepers[index].woken.notify_one();
        }
    }

    fn end_all(&mut self, errno: i32, ends: impl Fn(&Sleeper) -> bool) {
        for sleeper in &mut self.sleepers {
            if sleeper.outcome.is_none() && ends(sleeper) {
                sleeper.outcome = Some(Err(errno));
                sleeper.woken.notify_one();
            }
        }
    }
}

impl SetObject {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("a model's kernel does not panic")
    }
}

impl kernel::Object for SetObject {
    #[cfg(test)]
    fn left(&self) -> Option<&'static str> {
        (!self.lock().removed).then_some("a semaphore set")
    }

    fn exit(&self, process: u64) {
        let mut state = self.lock();
        if state.removed {
            return;
        }
        if let Some(undo) = state.undo.remove(&process) {
            for (value, undo) in state.values.iter_mut().zip(undo) {
                *value = (*value + undo).clamp(0, HIGHEST);
            }
            state.wake();
        }
    }

    fn expire(&self) {
        self.lock().end_all(EAGAIN, |sleeper| sleeper.deadline.has_passed());
    }
}

impl SemaphoreSet {
    pub(crate) fn create(key: Key, count: usize, mode: u32) -> Result<Self, SystemError> {
        if !kernel::step() {
            return Err(missing(key.raw(), EIDRM));
        }
        kernel::with_names(|| {
            if find(key.raw()).is_some() {
                return Err(missing(key.raw(), EEXIST));
            }
            let id = kernel::add(Arc::new(SetObject {
                key: key.raw(),
                mode,
                creator: kernel::current_process(),
                state: Mutex::new(State {
                    values: vec![0; count],
                    pids: vec![0; count],
                    undo: BTreeMap::new(),
                    sleepers: Vec::new(),
                    next_ticket: 0,
                    used: false,
                    removed: false,
                }),
            }));
            Ok(SemaphoreSet { id, key: key.raw() })
        })
    }

    pub(crate) fn open(key: Key) -> Result<Self, SystemError> {
        if !kernel::step() {
            return Err(missing(key.raw(), EIDRM));
        }
        kernel::with_names(|| {
            let id = find(key.raw()).ok_or_else(|| missing(key.raw(), ENOENT))?;
            Ok(SemaphoreSet { id, key: key.raw() })
        })
    }

    pub(crate) fn id(&self) -> i32 {
        self.id
    }

    pub(crate) fn key(&self) -> i32 {
        self.key
    }

    fn error(&self, call: &'static str, errno: i32) -> SystemError {
        kernel::error(ObjectKind::Set, self.key, Some(self.id), call, errno)
    }

    fn object(&self, call: &'static str) -> Result<Arc<SetObject>, SystemError> {
        kernel::object(self.id).ok_or_else(|| self.error(call, EIDRM))
    }

    /// One step on the set's state.
    fn call<R>(
        &self,
        call: &'static str,
        action: impl FnOnce(&SetObject, &mut State) -> R,
    ) -> Result<R, SystemError> {
        if !kernel::step() {
            return Err(self.error(call, EIDRM));
        }
        let object = self.object(call)?;
        let mut state = object.lock();
        if state.removed {
            return Err(self.error(call, EIDRM));
        }
        Ok(action(&object, &mut state))
    }

    pub(crate) fn operate(&self, ops: &[SemOp], deadline: Deadline) -> Result<(), SystemError> {
        if !kernel::step() {
            return Err(self.error("semop", EIDRM));
        }
        let object = self.object("semop")?;
        let process = kernel::current_process();
        let mut state = object.lock();
        if state.removed {
            return Err(self.error("semop", EIDRM));
        }
        match state.perform(ops, process) {
            Some(Ok(())) => {
                state.wake();
                return Ok(());
            }
            Some(Err(errno)) => return Err(self.error("semop", errno)),
            None if deadline.has_passed() => return Err(self.error("semop", EAGAIN)),
            None => {}
        }
        let ticket = state.next_ticket;
        state.next_ticket += 1;
        let woken = Arc::new(Condvar::new());
        state.sleepers.push(Sleeper {
            ticket,
            process,
            operations: ops.to_vec(),
            deadline,
            outcome: None,
            woken: woken.clone(),
        });
        loop {
            state = woken.wait(state).expect("a model's kernel does not panic");
            let index = state.sleepers.iter().position(|sleeper| sleeper.ticket == ticket);
            let index = index.expect("only the sleeper takes its entry off");
            if let Some(outcome) = state.sleepers[index].outcome {
                state.sleepers.remove(index);
                return outcome.map_err(|errno| self.error("semop", errno));
            }
        }
    }

    pub(crate) fn value(&self, index: u16) -> Result<u16, SystemError> {
        self.call("semctl", |_, state| state.values[usize::from(index)] as u16)
    }

    pub(crate) fn values(&self) -> Result<Vec<u16>, SystemError> {
        self.call("semctl", |_, state| state.values.iter().map(|&value| value as u16).collect())
    }

    pub(crate) fn waiting_for_zero(&self, index: u16) -> Result<i32, SystemError> {
        self.call("semctl", |_, state| {
            let waits = |operation: &SemOp| operation.index == index && operation.delta == 0;
            let sleeps = |sleeper: &&Sleeper| sleeper.outcome.is_none();
            let sleepers = state.sleepers.iter().filter(sleeps);
            sleepers.filter(|sleeper| sleeper.operations.iter().any(waits)).count() as i32
        })
    }

    pub(crate) fn last_pid(&self, index: u16) -> Result<i32, SystemError> {
        self.call("semctl", |_, state| state.pids[usize::from(index)] as i32)
    }

    pub(crate) fn stat(&self) -> Result<SetStat, SystemError> {
        self.call("semctl", |object, state| SetStat {
            ownership: ownership(object.key, object.mode),
            count: state.values.len(),
            last_operation: i64::from(state.used),
            last_change: 1 + object.creator as i64,
        })
    }

    pub(crate) fn remove(&self) -> Result<(), SystemError> {
        if !kernel::step() {
            return Err(self.error("semctl", EIDRM));
        }
        kernel::with_names(|| {
            let object = self.object("semctl")?;
            let mut state = object.lock();
            if state.removed {
                return Err(self.error("semctl", EIDRM));
            }
            state.removed = true;
            if !fault(Fault::NoRemovalWake) {
                state.end_all(EIDRM, |_| true);
            }
            Ok(())
        })
    }

    pub(crate) fn list() -> Result<Vec<(SemaphoreSet, SetStat)>, SystemError> {
        if !kernel::step() {
            return Ok(Vec::new());
        }
        let all = kernel::with_names(|| {
            let sets = kernel::objects::<SetObject>().into_iter();
            sets.map(|(id, set)| SemaphoreSet { id, key: set.key }).collect::<Vec<_>>()
        });
        Ok(all.into_iter().filter_map(|set| Some((set, set.stat().ok()?))).collect())
    }
}

/// The set that a key stands for now.
fn find(key: i32) -> Option<i32> {
    let mut sets = kernel::objects::<SetObject>().into_iter().filter(|(_, set)| set.key == key);
    sets.find(|(_, set)| !set.lock().removed).map(|(id, _)| id)
}

fn missing(key: i32, errno: i32) -> SystemError {
    kernel::error(ObjectKind::Set, key, None, "semget", errno)
}
