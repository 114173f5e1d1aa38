//! What a process gives up when it exits by itself: by `exit`, or by the return of `main`.
//!
//! No destructor runs then for what stands in a static, was leaked, or belongs to a thread that is
//! still running, so a handler of atexit(3) gives it up, the last first. It runs beside the threads,
//! which may go on using what they have until the process is gone. So the handler waits for what a
//! thread is making, which it then gives up too, and for what a thread is dropping; and from its
//! beginning no thread begins to make anything. A forked child starts with an empty list, since the
//! kernel undoes nothing of its parent's for it; `_exit`, `exec` and a fatal signal run no handler.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::null_mut;
use std::sync::atomic::{AtomicBool, AtomicPtr, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use nix::libc;

use super::process;
use crate::sys::AtExit;

/// How long an exit waits for threads that make or drop something, which takes a few system calls.
/// One that waits for a lock longer than this has made nothing.
const PATIENCE: Duration = Duration::from_secs(1);

/// What one process holds.
struct Held {
    /// Whose list it is: a child's own is made with its first entry. The parent's stays behind
    /// there, since another thread may have held its lock at the fork.
    token: u64,
    entries: Mutex<Entries>,
    /// Told of every change while the process exits.
    changed: Condvar,
}

#[derive(Default)]
struct Entries {
    next: u64,
    /// What is being made or dropped has no strong reference.
    all: BTreeMap<u64, Weak<dyn AtExit>>,
    exit: Exit,
}

/// How far the process's exit is.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Exit {
    #[default]
    None,
    Running,
    /// What is made now would stay.
    Over,
}

/// Something that is given up when the process exits, until this is dropped.
pub(crate) struct Entry {
    token: u64,
    number: u64,
}

/// Stands for what is being made.
enum Making {}

impl AtExit for Making {
    fn at_exit(&self) {
        match *self {}
    }
}

/// Keeps the process from exiting while something is made; `None` if it exits already, and what
/// were made would stay.
pub(crate) fn begin() -> Option<Entry> {
    static HANDLED: AtomicBool = AtomicBool::new(false);
    // Two threads may both find nothing: a handler that runs twice does no harm.
    if !HANDLED.load(Ordering::Relaxed) {
        // SAFETY: the handler is a function without arguments.
        if unsafe { libc::atexit(give_up_all) } != 0 {
            // The last handlers are running, or memory is full.
            return None;
        }
        HANDLED.store(true, Ordering::Relaxed);
    }
    let held = held();
    let mut entries = held.entries();
    if entries.exit != Exit::None {
        return None;
    }
    entries.next += 1;
    let number = entries.next;
    entries.all.insert(number, Weak::<Making>::new());
    Some(Entry { token: held.token, number })
}

impl Entry {
    /// Says what was made; `false` if the process has not waited for it and it has to be given up
    /// at once.
    pub(crate) fn is(&self, what: Weak<dyn AtExit>) -> bool {
        let held = held();
        let mut entries = held.entries();
        if held.token != self.token || entries.exit == Exit::Over {
            return false;
        }
        entries.all.insert(self.number, what);
        held.changed.notify_all();
        true
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        // A forked child's copy of its parent's is in no list.
        if let Some(held) = existing().filter(|held| held.token == self.token) {
            held.entries().all.remove(&self.number);
            held.changed.notify_all();
        }
    }
}

impl Held {
    fn entries(&self) -> MutexGuard<'_, Entries> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// This process's list, if there is one.
fn existing() -> Option<&'static Held> {
    // Acquire: pairs with the exchange in `held`.
    let held = HELD.load(Ordering::Acquire);
    // SAFETY: a list, once published, is never freed.
    unsafe { held.as_ref() }.filter(|held| held.token == process::token())
}

static HELD: AtomicPtr<Held> = AtomicPtr::new(null_mut());

fn held() -> &'static Held {
    if let Some(held) = existing() {
        return held;
    }
    let before = HELD.load(Ordering::Acquire);
    let (entries, changed) = (Mutex::default(), Condvar::new());
    let mine = Box::into_raw(Box::new(Held { token: process::token(), entries, changed }));
    // AcqRel: pairs with the loads; a thread that sees the list sees what is in it.
    match HELD.compare_exchange(before, mine, Ordering::AcqRel, Ordering::Acquire) {
        // SAFETY: published, and from here on never freed.
        Ok(_) => unsafe { &*mine },
        Err(others) => {
            // SAFETY: it was not published, so this is its only owner.
            drop(unsafe { Box::from_raw(mine) });
            // SAFETY: another thread of this process published it; it is never freed.
            unsafe { &*others }
        }
    }
}

extern "C" fn give_up_all() {
    let until = Instant::now() + PATIENCE;
    let held = held();
    let mut entries = held.entries();
    entries.exit = Exit::Running;
    loop {
        let mut last_first = entries.all.iter().rev();
        let last = last_first.find_map(|(&number, what)| Some((number, what.upgrade()?)));
        if let Some((number, what)) = last {
            entries.all.remove(&number);
            drop(entries);
            // A panic must not leave a C function. It may be the last reference, which is dropped
            // here too.
            let _ = catch_unwind(AssertUnwindSafe(move || what.at_exit()));
            entries = held.entries();
            continue;
        }
        let left = until.saturating_duration_since(Instant::now());
        if entries.all.is_empty() || left.is_zero() {
            entries.exit = Exit::Over;
            return;
        }
        let waited = held.changed.wait_timeout(entries, left);
        entries = waited.unwrap_or_else(PoisonError::into_inner).0;
    }
}
