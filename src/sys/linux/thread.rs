//! Threads of this crate's own.

use std::sync::Arc;
use std::task::{Wake, Waker};
use std::thread::{self, Builder, Thread};

pub(crate) use std::thread::{JoinHandle, current};

use super::Deadline;
use crate::sys::SystemError;

/// Enough for a thread that makes system calls, in bytes; the least that glibc takes is 16 KiB and what
/// the program's thread-local variables need.
const STACK: usize = 128 << 10;

std::thread_local! {
    static HERE: u8 = const { 0 };
}

/// Which thread calls, among those that run; never zero.
// NB: `thread::current` counts a reference up and down.
pub(crate) fn current_id() -> u64 {
    HERE.with(|here| std::ptr::from_ref(here).addr() as u64)
}

/// Starts a thread.
pub(crate) fn spawn(body: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, SystemError> {
    let thread = Builder::new().name("sysv-channel".to_owned()).stack_size(STACK);
    thread.spawn(body).map_err(|error| SystemError::of_thread(&error))
}

/// Where a thread sleeps that was not told which bell to sleep at.
pub(crate) struct Parker(Waker);

/// Wakes the thread that is parked.
struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

impl Parker {
    /// The calling thread's.
    pub(crate) fn new() -> Self {
        Parker(Arc::new(Unpark(thread::current())).into())
    }

    /// What wakes it.
    pub(crate) fn waker(&self) -> &Waker {
        &self.0
    }

    /// Sleeps until the thread is woken or the deadline passes, or for no reason.
    pub(crate) fn park(&self, deadline: Deadline) {
        match deadline.remaining() {
            None => thread::park(),
            Some(left) => thread::park_timeout(left),
        }
    }
}
