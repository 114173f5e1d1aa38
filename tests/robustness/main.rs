//! A channel stays usable: values at every limit, values that fail or panic on their way in or
//! out, signals, calls within calls, foreign messages, wrong options; and that nothing leaks.

#![cfg(feature = "bincode")]

mod errors;
mod foreign;
#[path = "../common/kernel.rs"]
#[allow(dead_code, reason = "shared with other tests, and used in part")]
mod kernel;
mod leaks;
mod lengths;
mod liveness;
#[cfg(not(loom))]
mod objects;
mod poison;
mod reentrant;
mod signals;
mod trap;

use std::fmt;
use std::ops::Deref;
use std::process::{Command, abort};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use sysv_channel::codec::Raw;
use sysv_channel::{Channel, DefaultCodec, Options, Receiver, Schema, Sender};

/// How long a test may take before it counts as hanging.
const HANGS: Duration = Duration::from_secs(120);

/// The three shapes of a channel, of sizes that tests can work with.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Shape {
    Mixed,
    RingOnly,
    QueueOnly,
}

impl Shape {
    const ALL: [Shape; 3] = [Shape::Mixed, Shape::RingOnly, Shape::QueueOnly];

    fn inline_limit(self) -> usize {
        match self {
            Shape::Mixed => 256,
            Shape::RingOnly => 0,
            Shape::QueueOnly => 2048,
        }
    }

    fn capacity(self) -> usize {
        if self == Shape::QueueOnly { 0 } else { 16 << 10 }
    }

    /// Options for a type that need not be one that can be traced.
    fn options<T: Serialize + DeserializeOwned>(self) -> Options<T, DefaultCodec> {
        Channel::<T>::options()
            .inline_limit(self.inline_limit())
            .capacity(self.capacity())
            .schema(Schema::named("test value", 1))
    }

    fn ends<T: Serialize + DeserializeOwned>(self) -> (Sender<T>, Receiver<T>) {
        let channel = self.options().private().unwrap();
        (channel.sender().unwrap(), channel.receiver().unwrap())
    }
}

/// A name that no other test and no other run has; its channel goes with it, also when the test
/// fails.
struct Name(String);

fn unique_name(test: &str) -> Name {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    Name(format!("sysv-channel {test} {}.{count}", std::process::id()))
}

impl Deref for Name {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl Drop for Name {
    fn drop(&mut self) {
        // Most tests leave nothing.
        let _ = Channel::<Vec<u8>, Raw>::unlink(&**self);
    }
}

/// Ends the test's process if the test hangs.
struct Watchdog(#[allow(dead_code, reason = "dropping it is what counts")] mpsc::Sender<()>);

fn watchdog(test: &'static str) -> Watchdog {
    let (over, watched) = mpsc::channel::<()>();
    thread::spawn(move || {
        if watched.recv_timeout(HANGS) == Err(RecvTimeoutError::Timeout) {
            eprintln!("{test} hangs");
            abort();
        }
    });
    Watchdog(over)
}

const ALONE: &str = "SYSV_CHANNEL_TEST_ALONE";

/// Runs a test in a process where no other test runs; `test` is its whole name.
fn alone(test: &str, body: impl FnOnce()) {
    if std::env::var_os(ALONE).is_some_and(|alone| alone == test) {
        return body();
    }
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .env(ALONE, test)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}");
    assert!(text.contains("1 passed"), "{test} is no test: {text}");
}

/// Checks that an error's text has all of the words, and reads like one.
#[track_caller]
fn reads(error: &dyn fmt::Display, words: &[&str]) {
    let text = error.to_string();
    for word in words {
        assert!(text.contains(word), "{word:?} is missing: {text}");
    }
    assert!(!text.contains("  ") && !text.contains('\n'), "{text:?}");
    assert!(!text.ends_with('.') && !text.ends_with(' ') && !text.ends_with(':'), "{text:?}");
    assert!(text.len() > 15 && text.chars().filter(|&it| it == '{').count() == 0, "{text:?}");
}
