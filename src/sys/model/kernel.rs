//! What one execution's processes share: objects, processes, the clock.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64 as StdAtomicU64, Ordering as StdOrdering};

use loom::sync::Mutex;
use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::thread::{self, ThreadId};

use crate::sys::{ObjectKind, ObjectName, Ownership, SystemError};

pub(super) const ENOENT: i32 = 2;
pub(super) const EAGAIN: i32 = 11;
pub(super) const E2BIG: i32 = 7;
pub(super) const EEXIST: i32 = 17;
pub(super) const ERANGE: i32 = 34;
pub(super) const ENOMSG: i32 = 42;
pub(super) const EIDRM: i32 = 43;

/// What no process's token is: the caller is dead.
pub(super) const NO_PROCESS: u64 = u64::MAX;

/// The process of threads that were given none.
pub(super) const MAIN: u64 = 1;

static EXECUTIONS: StdAtomicU64 = StdAtomicU64::new(1);

loom::lazy_static! {
    /// The number of this execution: loom makes lazy statics anew for each.
    static ref EXECUTION: u64 = EXECUTIONS.fetch_add(1, StdOrdering::Relaxed);
}

/// An object that one execution has made, of whichever kind.
pub(super) trait Object: Any + Send + Sync {
    /// What it is called where it is left behind, if it was not removed.
    #[cfg(test)]
    fn left(&self) -> Option<&'static str>;

    /// Applies what a process that ended left to be undone.
    fn exit(&self, _process: u64) {}

    /// Ends every sleep whose deadline has passed.
    fn expire(&self) {}
}

/// Everything of one execution. All threads of a model run on one thread of the operating system.
pub(super) struct Kernel {
    execution: u64,
    next_id: i32,
    objects: BTreeMap<i32, Arc<dyn Object>>,
    processes: Vec<(ThreadId, u64)>,
    next_process: u64,
    /// How many steps each process that will be killed has left.
    kills: BTreeMap<u64, usize>,
    dying: Vec<u64>,
    pub(super) clock: u64,
    /// Whether longer deadlines never pass, and whether short ones that are made from here on have
    /// passed already.
    pub(super) only_short_times_pass: bool,
    pub(super) short_times_passed: bool,
    pub(super) random: u64,
    /// Taken over every call that looks up or changes what a key stands for.
    names: Option<Arc<Mutex<()>>>,
    /// Touched before each fence: loom takes none for a point where threads can change.
    step: Option<Arc<AtomicUsize>>,
}

impl Kernel {
    const fn new() -> Self {
        Kernel {
            execution: 0,
            next_id: 0,
            objects: BTreeMap::new(),
            processes: Vec::new(),
            next_process: MAIN,
            kills: BTreeMap::new(),
            dying: Vec::new(),
            clock: 0,
            only_short_times_pass: false,
            short_times_passed: false,
            random: 0,
            names: None,
            step: None,
        }
    }

    fn current(&self) -> u64 {
        let thread = thread::current().id();
        let of = self.processes.iter().find(|(id, _)| *id == thread);
        of.map_or(MAIN, |(_, process)| *process)
    }
}

thread_local! {
    static KERNEL: RefCell<Kernel> = const { RefCell::new(Kernel::new()) };
    static QUEUE_CAPACITY: Cell<u64> = const { Cell::new(16_384) };
    static KILLED: Cell<bool> = const { Cell::new(false) };
}

/// Does something with the kernel; nothing in it may be a step of loom's.
pub(super) fn with<R>(action: impl FnOnce(&mut Kernel) -> R) -> R {
    KERNEL.with_borrow_mut(action)
}

/// Makes sure that the kernel is this execution's.
pub(super) fn begin() {
    let execution = *EXECUTION;
    if with(|kernel| kernel.execution) == execution {
        return;
    }
    // What the execution before left is dropped outside of the borrow: mappings may be in it.
    let old = with(|kernel| std::mem::replace(kernel, Kernel::new()));
    drop(old);
    let names = Arc::new(Mutex::new(()));
    let step = Arc::new(AtomicUsize::new(0));
    with(|kernel| {
        kernel.execution = execution;
        kernel.names = Some(names);
        kernel.step = Some(step);
    });
}

/// Makes an object known, and gives it its id.
pub(super) fn add(object: Arc<dyn Object>) -> i32 {
    with(|kernel| {
        kernel.next_id += 1;
        kernel.objects.insert(kernel.next_id, object);
        kernel.next_id
    })
}

/// The object of this kind with that id.
pub(super) fn object<O: Object>(id: i32) -> Option<Arc<O>> {
    let object: Arc<dyn Any + Send + Sync> = with(|kernel| kernel.objects.get(&id).cloned())?;
    object.downcast().ok()
}

/// All objects of this kind, by id.
pub(super) fn objects<O: Object>() -> Vec<(i32, Arc<O>)> {
    let ids: Vec<i32> = with(|kernel| kernel.objects.keys().copied().collect());
    ids.into_iter().filter_map(|id| Some((id, object(id)?))).collect()
}

fn all_objects() -> Vec<Arc<dyn Object>> {
    with(|kernel| kernel.objects.values().cloned().collect())
}

/// Time passes for the threads that sleep in the kernel.
pub(super) fn expire() {
    with(|kernel| kernel.clock += 1);
    all_objects().iter().for_each(|object| object.expire());
}

/// Holds the lock over names for `action`.
pub(super) fn with_names<R>(action: impl FnOnce() -> R) -> R {
    begin();
    let names = with(|kernel| kernel.names.clone()).expect("begin made it");
    let _guard = names.lock().expect("a model's kernel does not panic");
    action()
}

/// A point at which loom may let another thread run, for what is none by itself.
pub(super) fn yield_point() {
    if let Some(step) = with(|kernel| kernel.step.clone()) {
        step.fetch_add(1, Ordering::Relaxed);
    }
}

/// Whether the caller is dead, or unwinding: then nothing that it does has an effect.
pub(super) fn is_inert() -> bool {
    std::thread::panicking() || with(|kernel| kernel.dying.contains(&kernel.current()))
}

/// The calling thread's process.
pub(super) fn current_process() -> u64 {
    if is_inert() { NO_PROCESS } else { with(|kernel| kernel.current()) }
}

/// The payload with which a killed process unwinds.
pub(super) struct Killed;

/// One step of the calling process, before which it may be killed; `false` if it is dead.
#[inline]
pub(super) fn step() -> bool {
    if is_inert() {
        return false;
    }
    let killed = with(|kernel| {
        let process = kernel.current();
        let Some(left) = kernel.kills.get_mut(&process) else { return false };
        if *left > 0 {
            *left -= 1;
            return false;
        }
        kernel.kills.remove(&process);
        kernel.dying.push(process);
        true
    });
    if killed {
        KILLED.set(true);
        std::panic::resume_unwind(Box::new(Killed));
    }
    true
}

/// A new process.
pub(super) fn new_process() -> u64 {
    begin();
    with(|kernel| {
        kernel.next_process += 1;
        kernel.next_process
    })
}

/// Lets the calling thread be of a process, to be killed before its step number `kill_at`, and
/// returns of which it was before.
pub(super) fn enter_process(process: u64, kill_at: Option<usize>) -> u64 {
    let thread = thread::current().id();
    with(|kernel| {
        let before = kernel.current();
        kernel.processes.retain(|(id, _)| *id != thread);
        kernel.processes.push((thread, process));
        if let Some(steps) = kill_at {
            kernel.kills.insert(process, steps);
        }
        before
    })
}

/// The process is gone: the kernel applies its undo entries, set by set.
pub(super) fn end_process(process: u64) {
    with(|kernel| {
        kernel.kills.remove(&process);
        kernel.dying.retain(|&dying| dying != process);
    });
    all_objects().iter().for_each(|object| object.exit(process));
    // Whatever the thread does from here on, it does for no process.
    with(|kernel| kernel.dying.push(process));
}

/// Whether a process was killed since the last call.
pub(super) fn take_killed() -> bool {
    KILLED.replace(false)
}

/// Sets how many bytes a queue that is created from here on holds; 16,384 at first.
///
/// A model of a full queue needs a small one.
pub fn set_queue_capacity(bytes: u64) {
    QUEUE_CAPACITY.set(bytes);
}

pub(super) fn queue_capacity() -> u64 {
    QUEUE_CAPACITY.get()
}

/// The objects that stand in this execution's kernel.
#[cfg(test)]
pub(crate) fn objects_left() -> Vec<String> {
    begin();
    all_objects().iter().filter_map(|object| object.left()).map(str::to_owned).collect()
}

pub(super) fn error(
    kind: ObjectKind,
    key: i32,
    id: Option<i32>,
    call: &'static str,
    errno: i32,
) -> SystemError {
    SystemError::new(ObjectName { kind, key, id }, call, errno)
}

/// All objects of a model belong to one user.
pub(super) fn ownership(key: i32, mode: u32) -> Ownership {
    Ownership { key, uid: 0, gid: 0, creator_uid: 0, creator_gid: 0, mode }
}
