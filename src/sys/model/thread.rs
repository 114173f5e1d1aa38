//! Threads of a model's process.

use std::sync::Arc;
use std::task::{Wake, Waker};

use loom::thread::{self, Thread};

pub(crate) use loom::thread::JoinHandle;

use super::{Deadline, kernel};
use crate::sys::SystemError;

/// Starts a thread of the calling thread's process.
pub(crate) fn spawn(body: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, SystemError> {
    let process = kernel::current_process();
    Ok(thread::spawn(move || {
        kernel::enter_process(process, None);
        body();
    }))
}

/// Wakes the thread that is parked.
struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// What wakes the calling thread from [`park`].
pub(crate) fn current_waker() -> Waker {
    Arc::new(Unpark(thread::current())).into()
}

/// Sleeps until the thread is woken. No deadline passes here.
pub(crate) fn park(_deadline: Deadline) {
    thread::park();
}
