//! The requests on a lane, which nobody executes once their sender is gone.

use std::ops::Deref;
use std::sync::{Arc, PoisonError, Weak};

use super::Untyped;
use crate::channel::sender::Sender;
use crate::control::{Control, lane_word};
use crate::error::{AttachError, OpenError};
use crate::sys::{AtExit, Fault, Mutex, MutexGuard, Ordering, at_exit, fault};

/// A sender of requests: when it goes, or its process exits, what no receiver has taken is nobody's
/// request any more.
pub(crate) struct Requester {
    sender: Sender<(), Untyped>,
    requests: Arc<Requests>,
    /// Dropped last: an exit waits for it.
    _entry: at_exit::Entry,
}

impl Requester {
    /// # Errors
    /// [`OpenError::Exiting`].
    pub(crate) fn new(sender: Sender<(), Untyped>) -> Result<Self, OpenError> {
        let (control, lane) = (sender.control.clone(), sender.lane);
        let requests = Arc::new(Requests { control, lane, standing: Mutex::new(Standing::Open) });
        let weak: Weak<Requests> = Arc::downgrade(&requests);
        match at_exit::register(weak) {
            Some(entry) => Ok(Requester { sender, requests, _entry: entry }),
            None => Err(OpenError::Exiting { name: (*sender.control.name()).clone() }),
        }
    }

    /// Becomes a new owner of the lane, as [`Sender::renew`] does. What a client sends whose process
    /// exits stays disowned.
    pub(crate) fn renew(&mut self) -> Result<(), AttachError> {
        let standing = self.requests.standing();
        let renewed = self.sender.renew();
        if *standing == Standing::Disowned && !fault(Fault::ExitNotAwaited) {
            self.requests.disown();
        }
        renewed
    }

    /// What the exit of this process gives up, at any moment.
    #[cfg(all(test, loom))]
    pub(crate) fn exit(&self) -> [Arc<dyn AtExit>; 2] {
        // In the order in which they are given up.
        [self.requests.clone(), self.control.clone()]
    }
}

impl Deref for Requester {
    type Target = Sender<(), Untyped>;

    #[inline]
    fn deref(&self) -> &Sender<(), Untyped> {
        &self.sender
    }
}

impl Drop for Requester {
    fn drop(&mut self) {
        if !self.sender.control.is_ours() {
            return;
        }
        // Held until the requests are given up, so that an exit in this moment waits before it looks
        // whether the channel holds any.
        let mut standing = self.requests.standing();
        // The lane is another's as soon as the sender is dropped.
        *standing = Standing::GivenUp;
        let held = (!fault(Fault::ExitNotAwaited)).then_some(standing);
        // A lane that is damaged is left as it is.
        let _ = self.sender.renew();
        drop(held);
    }
}

/// The requests on a lane, as the exit of their process gives them up.
struct Requests {
    control: Arc<Control>,
    lane: usize,
    standing: Mutex<Standing>,
}

/// What the requests of a lane's client are to a server.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// The client is there.
    Open,
    /// Its process exits: what it goes on to send has no client either.
    Disowned,
    /// The client was dropped, and the lane may be another's.
    GivenUp,
}

impl Requests {
    fn standing(&self) -> MutexGuard<'_, Standing> {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What was sent on the lane, and will be, has no client.
    fn disown(&self) {
        let word = |at| self.control.lane_word(self.lane, at);
        // As if a next owner began behind all that can come.
        word(lane_word::OWNER_START).store(u64::MAX, Ordering::Relaxed);
        // Release: pairs with the receiver's Acquire load in `Origin`.
        word(lane_word::GENERATION).fetch_add(1, Ordering::Release);
        // Relaxed: as in `renew`.
        word(lane_word::NOT_EXECUTED).store(u64::MAX, Ordering::Relaxed);
    }
}

impl AtExit for Requests {
    /// The thread that has the sender may be in a call and send more.
    fn at_exit(&self) {
        let mut standing = self.standing();
        if *standing == Standing::Open && self.control.is_ours() {
            *standing = Standing::Disowned;
            self.disown();
        }
    }
}

/// A new owner's requests count, wherever its predecessor's ended.
pub(in crate::channel) fn begin_requests(control: &Control, lane: usize) {
    let word = |at| control.lane_word(lane, at);
    // Relaxed: as in `renew`.
    let owner_start = word(lane_word::OWNER_START).load(Ordering::Relaxed);
    if word(lane_word::NOT_EXECUTED).load(Ordering::Relaxed) > owner_start {
        word(lane_word::NOT_EXECUTED).store(owner_start, Ordering::Relaxed);
    }
}
