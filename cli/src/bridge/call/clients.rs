//! The clients of the local server, each with a place of its own there.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sysv_channel::Name;
use sysv_channel::dynamic::{DynamicClient, DynamicOptions};

/// So many places are taken at most. More calls than that share them.
const MOST: usize = 16;

/// So many streams can be read by a client at a time.
const STREAMS: usize = 31;

/// The clients that were connected so far. The next one is when all have something to do.
pub(super) struct Clients {
    all: Mutex<Vec<Arc<One>>>,
    options: DynamicOptions,
    name: Name,
}

struct One {
    client: Mutex<DynamicClient>,
    calls: AtomicUsize,
    streams: AtomicUsize,
}

/// A client for one call.
pub(super) struct Lease {
    one: Arc<One>,
    stream: bool,
}

impl Clients {
    pub(super) fn new(first: DynamicClient, options: DynamicOptions, name: Name) -> Self {
        Clients { all: Mutex::new(vec![Arc::new(One::new(first))]), options, name }
    }

    /// The server's name.
    pub(super) fn name(&self) -> &Name {
        &self.name
    }

    /// A client that has nothing to do, if there is one.
    pub(super) fn idle(&self) -> Option<Lease> {
        let all = self.all.try_lock().ok()?;
        let is_idle = |one: &&Arc<One>| one.calls.load(Ordering::Relaxed) == 0;
        let one = all.iter().find(is_idle)?.clone();
        one.calls.fetch_add(1, Ordering::Relaxed);
        Some(Lease { one, stream: false })
    }

    /// The client that has least to do; `None` where none can read another stream.
    pub(super) fn lease(&self, stream: bool) -> Option<Lease> {
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        let least = |all: &[Arc<One>]| {
            let takes = |one: &&Arc<One>| !stream || one.streams.load(Ordering::Relaxed) < STREAMS;
            let calls = |one: &&Arc<One>| one.calls.load(Ordering::Relaxed);
            all.iter().filter(takes).min_by_key(calls).cloned()
        };
        let mut found = least(&all);
        let is_busy = found.as_ref().is_none_or(|one| one.calls.load(Ordering::Relaxed) > 0);
        if is_busy
            && all.len() < MOST
            && let Ok(client) = self.options.connect(self.name.clone())
        {
            let one = Arc::new(One::new(client));
            all.push(one.clone());
            found = Some(one);
        }
        let one = found?;
        one.calls.fetch_add(1, Ordering::Relaxed);
        one.streams.fetch_add(stream.into(), Ordering::Relaxed);
        Some(Lease { one, stream })
    }
}

impl One {
    fn new(client: DynamicClient) -> Self {
        One { client: Mutex::new(client), calls: AtomicUsize::new(0), streams: AtomicUsize::new(0) }
    }
}

impl Lease {
    /// The client, to start a call with.
    pub(super) fn client(&self) -> MutexGuard<'_, DynamicClient> {
        self.one.client.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.one.calls.fetch_sub(1, Ordering::Relaxed);
        self.one.streams.fetch_sub(self.stream.into(), Ordering::Relaxed);
    }
}
