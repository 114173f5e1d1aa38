//! Objects that go with their creator: private queues, segments and semaphore sets.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};

use crate::sys::{AtExit, at_exit, process};

/// A private object, removed once: on drop, or before, when its process exits.
pub(crate) struct Private {
    /// Removes it. It may be gone already, and a destructor has no caller to tell.
    remove: Box<dyn Fn() + Send + Sync>,
    /// The process that removes it; a forked child does not.
    token: u64,
    removed: AtomicBool,
    /// Has it removed when the process exits.
    entry: at_exit::Entry,
}

impl Private {
    /// For an object that was made after `entry` was begun. `None` if the process exits and has not
    /// waited for it: the object is removed then.
    pub(crate) fn new(
        entry: at_exit::Entry,
        remove: impl Fn() + Send + Sync + 'static,
    ) -> Option<Arc<Self>> {
        let private = Arc::new(Private {
            remove: Box::new(remove),
            token: process::token(),
            removed: AtomicBool::new(false),
            entry,
        });
        let weak: Weak<Private> = Arc::downgrade(&private);
        private.entry.is(weak).then_some(private)
    }
}

impl AtExit for Private {
    fn at_exit(&self) {
        if self.token == process::token() && !self.removed.swap(true, Ordering::Relaxed) {
            (self.remove)();
        }
    }
}

impl Drop for Private {
    fn drop(&mut self) {
        self.at_exit();
    }
}
