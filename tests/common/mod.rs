//! What the tests with real processes share.
//!
//! They wait for lines that a child says and for conditions, never for time to pass.

#![allow(dead_code, unused_imports, reason = "each test file uses its part")]

mod child;
#[cfg(not(loom))]
mod coding;
pub(crate) mod kernel;
mod parcel;
pub(crate) mod parts;
mod user;

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::os::unix::process::CommandExt;
use std::process;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use sysv_channel::Key;

pub(crate) use child::{Child, halt, listen, play, say};
#[cfg(not(loom))]
pub(crate) use coding::{dynamic, encoded};
use kernel::Object;
pub(crate) use parcel::{Parcel, Shape, key_of, read_handle, write_handle};
pub(crate) use user::{follow_orders, order, user};

/// How long a test may take before it counts as hanging.
const LIMIT: Duration = Duration::from_secs(120);

/// One test: a channel name of its own, removed at the end whatever happens, and a watchdog.
pub(crate) struct Stage {
    name: String,
    over: Option<mpsc::Sender<()>>,
}

impl Stage {
    pub(crate) fn new(test: &'static str) -> Self {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let (over, watched) = mpsc::channel::<()>();
        thread::spawn(move || {
            loop {
                match watched.recv_timeout(LIMIT) {
                    Ok(()) => {}
                    Err(RecvTimeoutError::Disconnected) => return,
                    Err(RecvTimeoutError::Timeout) => {
                        eprintln!("{test} hangs");
                        process::abort();
                    }
                }
            }
        });
        Stage { name: format!("{test} {} {count}", process::id()), over: Some(over) }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Tells the watchdog that a long test has done another part.
    pub(crate) fn goes_on(&self) {
        self.over.as_ref().and_then(|over| over.send(()).ok()).expect("the watchdog listens");
    }

    pub(crate) fn key(&self) -> Key {
        Key::from_name(&self.name)
    }

    /// The objects that the kernel has under the name's key.
    pub(crate) fn objects(&self) -> Vec<Object> {
        kernel::objects(self.key())
    }

    /// Starts a child in a role; its first argument is the name.
    pub(crate) fn child(&self, role: &str, arguments: &[&str]) -> Child {
        Child::start(role, &[&[self.name()], arguments].concat(), |_| {})
    }

    /// Like [`Stage::child`], as another user.
    pub(crate) fn child_of(&self, user: u32, role: &str, arguments: &[&str]) -> Child {
        self.child_in_group(user, user, role, arguments)
    }

    /// Like [`Stage::child`], as another user in a group.
    pub(crate) fn child_in_group(
        &self,
        user: u32,
        group: u32,
        role: &str,
        arguments: &[&str],
    ) -> Child {
        let arguments = [&[self.name()], arguments].concat();
        Child::start(role, &arguments, |command| {
            command.uid(user).gid(group);
        })
    }

    /// Like [`Stage::child`], in an ipc namespace of its own.
    pub(crate) fn child_apart(&self, role: &str, arguments: &[&str]) -> Child {
        let arguments = [&[self.name()], arguments].concat();
        Child::start(role, &arguments, kernel::unshare_ipc)
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        // Most tests leave nothing.
        self.objects().into_iter().for_each(Object::remove);
        drop(self.over.take());
    }
}

/// Looks until something is so; the watchdog ends it if it never is.
pub(crate) fn until(mut so: impl FnMut() -> bool) {
    while !so() {
        thread::yield_now();
    }
}

/// A number below `bound`, another one each time.
pub(crate) fn random(bound: u64) -> u64 {
    RandomState::new().hash_one(0) % bound
}

/// Lets up to so many microseconds pass, so that what follows happens at any moment.
pub(crate) fn at_any_moment(microseconds: u64) {
    thread::sleep(Duration::from_micros(random(microseconds)));
}
