//! Threads of a model's process.

use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::sync::{Arc, PoisonError};
use std::task::{Wake, Waker};

use loom::sync::{Condvar, Mutex, MutexGuard};
use loom::thread;

pub(crate) use loom::thread::{JoinHandle, current};

use super::{Deadline, kernel};
use crate::sys::SystemError;

/// The stack of a model's thread, in words: a kill unwinds it, through frames that are not small without
/// optimisation. Loom's own choice is a quarter of it.
const STACK: usize = 16 << 10;

/// What goes from one thread of a model to another.
#[derive(Debug)]
pub(crate) struct Here<T>(T);

// SAFETY: loom runs the threads of a model in turns, on a single thread of the system.
unsafe impl<T> Send for Here<T> {}

impl<T> Here<T> {
    pub(crate) fn into_inner(self) -> T {
        self.0
    }
}

/// Starts a thread with a stack that has room for a kill.
pub(crate) fn spawn_with_room<R: 'static>(
    body: impl FnOnce() -> R + 'static,
) -> JoinHandle<Here<R>> {
    let body = Here(body);
    let thread = thread::Builder::new().stack_size(STACK);
    let thread = thread.spawn(move || Here(body.into_inner()()));
    thread.expect("a model can start as many threads as it has")
}

/// Which thread calls; never zero.
pub(crate) fn current_id() -> u64 {
    BuildHasherDefault::<DefaultHasher>::default().hash_one(thread::current().id()) | 1
}

/// Starts a thread of the calling thread's process.
pub(crate) fn spawn(body: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, SystemError> {
    let process = kernel::current_process();
    let thread = thread::Builder::new().stack_size(STACK);
    let thread = thread.spawn(move || {
        kernel::enter_process(process, None);
        body();
    });
    Ok(thread.expect("a model can start as many threads as it has"))
}

/// Where a thread sleeps that was not told which bell to sleep at.
///
/// Not by loom's `unpark`, which also lets a thread go on that waits for a mutex.
pub(crate) struct Parker {
    unpark: Arc<Unpark>,
    waker: Waker,
}

/// Wakes the thread that is parked.
struct Unpark {
    woken: Mutex<bool>,
    changed: Condvar,
}

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        *lock(&self.woken) = true;
        self.changed.notify_one();
    }
}

impl Parker {
    /// The calling thread's.
    pub(crate) fn new() -> Self {
        let unpark = Arc::new(Unpark { woken: Mutex::new(false), changed: Condvar::new() });
        Parker { waker: unpark.clone().into(), unpark }
    }

    /// What wakes it.
    pub(crate) fn waker(&self) -> &Waker {
        &self.waker
    }

    /// Sleeps until the thread is woken. No deadline passes here.
    pub(crate) fn park(&self, _deadline: Deadline) {
        let mut woken = lock(&self.unpark.woken);
        while !std::mem::take(&mut *woken) {
            let waited = self.unpark.changed.wait(woken);
            woken = waited.unwrap_or_else(PoisonError::into_inner);
        }
    }
}

fn lock(woken: &Mutex<bool>) -> MutexGuard<'_, bool> {
    woken.lock().unwrap_or_else(PoisonError::into_inner)
}
