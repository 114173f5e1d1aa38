//! The actors whose end a mailbox is told of, as a message of its own.
//!
//! A watch is a place at the watched mailbox and a thread that sleeps at the bell there. The thread wakes the
//! mailbox that is to be told, which asks whether the actor is gone. The message waits in this process and
//! takes no room in the queue.
//!
//! What the actor had told before its end stands in the mailbox's queue by then, and comes first: as many
//! ordinary messages as wait when the end is noticed are received before, unless the mailbox is empty sooner.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Wake, Waker};

use crate::Sender;
use crate::channel::{EndWatch, ReceiverBell, Untyped};
use crate::error::{RecvError, SendError};
use crate::sys::{Fault, fault};

/// One watch; its mailbox and its guard have it.
struct Watched {
    /// Missing once the end was noticed, or the watch was given up.
    watch: Mutex<Option<EndWatch>>,
    given_up: AtomicBool,
    /// Says that there is something to look at, and rings the mailbox.
    rung: Arc<Rung>,
    waker: Waker,
}

struct Rung {
    rung: AtomicBool,
    bell: ReceiverBell,
}

impl Wake for Rung {
    fn wake(self: Arc<Self>) {
        // Relaxed: as for all that a receiver is rung for, `ring` and `park` order it.
        self.rung.store(true, Ordering::Relaxed);
        if !fault(Fault::EndNotTold) {
            self.bell.nudge();
        }
    }
}

impl Watched {
    fn take(&self) -> Option<EndWatch> {
        self.watch.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn is_given_up(&self) -> bool {
        // Relaxed: a guard that is dropped on another thread is dropped before or after.
        self.given_up.load(Ordering::Relaxed)
    }

    /// Whether the actor has ended.
    fn look(&self) -> Result<bool, RecvError> {
        let watch = self.watch.lock().unwrap_or_else(PoisonError::into_inner);
        watch.as_ref().map_or(Ok(false), |watch| watch.poll(&self.waker))
    }
}

/// Makes the message, on the thread that receives it.
type Message<M> = Box<dyn FnOnce() -> M + Send>;

/// The watches of one mailbox.
pub(super) struct Watches<M> {
    on: RefCell<Vec<(Arc<Watched>, Message<M>)>>,
    ended: RefCell<VecDeque<Ended<M>>>,
    /// How often the mailbox had been rung when these were last looked at.
    seen: Cell<u64>,
}

/// An end that was noticed and not received yet.
struct Ended<M> {
    watched: Arc<Watched>,
    /// How many ordinary messages come before.
    after: usize,
    message: Result<Message<M>, RecvError>,
}

impl<M> Watches<M> {
    pub(super) fn new() -> Self {
        Watches { on: RefCell::default(), ended: RefCell::default(), seen: Cell::new(0) }
    }

    /// Begins a watch of the receiver that the sender's channel had last.
    pub(super) fn begin(
        &self,
        sender: Sender<(), Untyped>,
        actor: u64,
        bell: ReceiverBell,
        message: Message<M>,
    ) -> Result<WatchGuard, SendError> {
        let watch = EndWatch::start(sender, actor)?;
        let rung = Arc::new(Rung { rung: AtomicBool::new(false), bell });
        let watched = Arc::new(Watched {
            watch: Mutex::new(Some(watch)),
            given_up: AtomicBool::new(false),
            waker: rung.clone().into(),
            rung,
        });
        let mut on = self.on.borrow_mut();
        on.retain(|(watched, _)| !watched.is_given_up());
        on.push((watched.clone(), message));
        drop(on);
        // It may have ended by now: the mailbox looks for itself.
        watched.waker.wake_by_ref();
        Ok(WatchGuard { watched: Some(watched) })
    }

    /// Looks at the watches that were rung, if the mailbox was since it last looked. `waiting` says how many
    /// messages wait there.
    pub(super) fn look(&self, nudges: u64, waiting: impl Fn() -> usize) {
        if self.seen.replace(nudges) == nudges {
            return;
        }
        let mut on = self.on.borrow_mut();
        let mut index = 0;
        while index < on.len() {
            let watched = &on[index].0;
            let given_up = watched.is_given_up();
            let ended = match watched.rung.rung.swap(false, Ordering::Relaxed) {
                true if !given_up => watched.look(),
                _ => Ok(false),
            };
            if !given_up && matches!(ended, Ok(false)) {
                index += 1;
                continue;
            }
            let (watched, message) = on.swap_remove(index);
            drop(watched.take());
            if given_up {
                continue;
            }
            // Asked after the end was seen: what the actor told stands in the queue.
            let after = if fault(Fault::EndOvertakes) { 0 } else { waiting() };
            let message = ended.map(|_| message);
            self.ended.borrow_mut().push_back(Ended { watched, after, message });
        }
    }

    /// An ordinary message was received.
    pub(super) fn received_one(&self) {
        for ended in self.ended.borrow_mut().iter_mut() {
            ended.after = ended.after.saturating_sub(1);
        }
    }

    /// Whether an end waits until what came before it is received.
    pub(super) fn some_ended(&self) -> bool {
        !self.ended.borrow().is_empty()
    }

    /// The message about an end before which nothing is to be received; the mailbox may be `empty`.
    pub(super) fn next(&self, empty: bool) -> Option<Result<M, RecvError>> {
        loop {
            let mut ended = self.ended.borrow_mut();
            ended.front().filter(|next| empty || next.after == 0)?;
            let next = ended.pop_front()?;
            drop(ended);
            if !next.watched.is_given_up() {
                return Some(next.message.map(|message| message()));
            }
        }
    }
}

impl<M> Drop for Watches<M> {
    fn drop(&mut self) {
        // Their guards may live on.
        for (watched, _) in self.on.get_mut().drain(..) {
            drop(watched.take());
        }
    }
}

/// A watch that tells a mailbox of an actor's end: see [`Address::watch_into`](super::Address::watch_into).
/// Dropping it ends the watch; no message comes then that was not received yet.
#[must_use = "dropping it ends the watch; `detach` leaves that to the mailbox"]
pub struct WatchGuard {
    watched: Option<Arc<Watched>>,
}

impl WatchGuard {
    /// Has the watch last as long as the mailbox that it tells.
    pub fn detach(mut self) {
        self.watched = None;
    }
}

impl Drop for WatchGuard {
    fn drop(&mut self) {
        if let Some(watched) = self.watched.take() {
            watched.given_up.store(true, Ordering::Relaxed);
            drop(watched.take());
        }
    }
}

impl fmt::Debug for WatchGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WatchGuard").finish_non_exhaustive()
    }
}
