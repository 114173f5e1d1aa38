//! What was agreed with one `serve`: its calls, and the way of messages to it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use zenoh::Wait;
use zenoh::pubsub::Publisher;
use zenoh::qos::{CongestionControl, Priority};

use super::super::calls_wire::{self, BYTES, CALLS, Hello, Up, UpWhat};
use super::job::Job;

pub(super) struct Session {
    pub(super) number: u64,
    /// The longest reply that arrives there, in bytes.
    pub(super) longest: u64,
    calls: Mutex<Calls>,
    /// A call has come to its end.
    done: Condvar,
    sending: Mutex<Sending>,
    over: AtomicBool,
}

struct Calls {
    open: HashMap<u64, Arc<Job>>,
    /// Of their requests.
    bytes: usize,
    /// The number of the last message that came.
    heeded: u64,
    /// The number of the last call.
    last: u64,
    heard: Instant,
}

struct Sending {
    publisher: Publisher<'static>,
    number: u64,
}

impl Session {
    /// Begins the session with the bridge that listens at this key.
    pub(super) fn begin(zenoh: &zenoh::Session, hello: &Hello, to: String) -> zenoh::Result<Self> {
        let publisher = zenoh.declare_publisher(to).congestion_control(CongestionControl::Block);
        let publisher = publisher.priority(Priority::InteractiveHigh).express(true).wait()?;
        let (open, heard) = (HashMap::new(), Instant::now());
        Ok(Session {
            number: hello.session,
            longest: hello.longest,
            calls: Mutex::new(Calls { open, bytes: 0, heeded: 0, last: 0, heard }),
            done: Condvar::new(),
            sending: Mutex::new(Sending { publisher, number: 0 }),
            over: AtomicBool::new(false),
        })
    }

    fn calls(&self) -> MutexGuard<'_, Calls> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next message has come; `false` if it is not the next one, or the session is over.
    pub(super) fn heeds(&self, number: u64) -> bool {
        let mut calls = self.calls();
        if self.is_over() || number != calls.heeded + 1 {
            return false;
        }
        calls.heeded = number;
        calls.heard = Instant::now();
        true
    }

    /// Takes a call; `false` if it was there before, or more come than may be under way.
    pub(super) fn takes(&self, job: &Arc<Job>) -> bool {
        let mut calls = self.calls();
        // What its `serve` knows to be over may not be so here yet.
        let is_bounded = calls.bytes < 2 * BYTES && calls.open.len() < 2 * CALLS;
        if job.call <= calls.last || !is_bounded {
            return false;
        }
        calls.last = job.call;
        calls.bytes += job.len;
        calls.open.insert(job.call, job.clone());
        true
    }

    pub(super) fn job(&self, call: u64) -> Option<Arc<Job>> {
        self.calls().open.get(&call).cloned()
    }

    /// The call has come to its end.
    pub(super) fn done(&self, job: &Job) {
        let mut calls = self.calls();
        if calls.open.remove(&job.call).is_some() {
            calls.bytes -= job.len;
        }
        drop(calls);
        self.done.notify_all();
    }

    pub(super) fn count(&self) -> usize {
        self.calls().open.len()
    }

    /// How long nothing has come.
    pub(super) fn silence(&self) -> Duration {
        self.calls().heard.elapsed()
    }

    pub(super) fn is_over(&self) -> bool {
        // Relaxed: who sees it late sends to one that does not listen any more.
        self.over.load(Ordering::Relaxed)
    }

    /// Nothing more is taken; the number of the last message that was.
    fn stops(&self) -> u64 {
        let calls = self.calls();
        self.over.store(true, Ordering::Relaxed);
        calls.heeded
    }

    /// Cancels what is under way. Its `serve` is gone, or begins anew.
    pub(super) fn end(&self) {
        self.stops();
        let open: Vec<_> = self.calls().open.values().cloned().collect();
        open.iter().for_each(|job| job.cancel());
    }

    /// The server has gone: waits until its calls know, at most so long, and tells the `serve`.
    pub(super) fn goes_away(&self, why: &str, patience: Duration) {
        let heeded = self.stops();
        let waited =
            self.done.wait_timeout_while(self.calls(), patience, |calls| !calls.open.is_empty());
        drop(waited);
        self.send(UpWhat::Away { heeded }, why.as_bytes().to_vec());
        self.end();
    }

    /// Sends a message, in its turn.
    pub(super) fn send(&self, what: UpWhat, bytes: Vec<u8>) {
        let mut sending = self.sending.lock().unwrap_or_else(PoisonError::into_inner);
        sending.number += 1;
        let up = Up { session: self.number, number: sending.number, what };
        let _ = sending.publisher.put(calls_wire::encode(&up, bytes)).wait();
    }
}
