//! What a process gives up when it exits by itself: by `exit`, or by the return of `main`.
//!
//! No destructor runs then for what stands in a static, was leaked, or belongs to a thread that is
//! still running, so a handler of atexit(3) gives it up. It runs beside the threads, which may go on
//! using what they have until the process is gone. A forked child starts with an empty list, since
//! the kernel undoes nothing of its parent's for it; `_exit`, `exec` and a fatal signal run no
//! handler.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::null_mut;
use std::sync::atomic::{AtomicBool, AtomicPtr, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, Weak};

use nix::libc;

use super::process;
use crate::sys::AtExit;

/// What one process holds.
struct Held {
    /// Whose list it is: a child's own is made with its first entry. The parent's stays behind
    /// there, since another thread may have held its lock at the fork.
    token: u64,
    entries: Mutex<Entries>,
}

#[derive(Default)]
struct Entries {
    next: u64,
    all: BTreeMap<u64, Weak<dyn AtExit>>,
}

static HELD: AtomicPtr<Held> = AtomicPtr::new(null_mut());

/// Has something given up when this process exits; the number is for [`forget`].
pub(crate) fn register(what: Weak<dyn AtExit>) -> u64 {
    static HANDLED: AtomicBool = AtomicBool::new(false);
    // Two threads may both find nothing: a handler that runs twice does no harm.
    if !HANDLED.load(Ordering::Relaxed) {
        // SAFETY: the handler is a function without arguments. It fails where memory is full: then a
        // normal exit leaves what a crash leaves.
        unsafe { libc::atexit(give_up_all) };
        HANDLED.store(true, Ordering::Relaxed);
    }
    let mut entries = held().entries();
    entries.next += 1;
    let number = entries.next;
    entries.all.insert(number, what);
    number
}

/// The thing is gone; said by the process that registered it.
pub(crate) fn forget(number: u64) {
    held().entries().all.remove(&number);
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

fn held() -> &'static Held {
    if let Some(held) = existing() {
        return held;
    }
    let before = HELD.load(Ordering::Acquire);
    let entries = Mutex::default();
    let mine = Box::into_raw(Box::new(Held { token: process::token(), entries }));
    // AcqRel: pairs with the loads; whoever sees the list sees what is in it.
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
    let Some(held) = existing() else { return };
    let all = std::mem::take(&mut held.entries().all);
    for what in all.into_values().filter_map(|weak| weak.upgrade()) {
        // A panic must not leave a C function.
        let _ = catch_unwind(AssertUnwindSafe(|| what.at_exit()));
    }
}
