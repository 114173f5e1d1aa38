//! A thread that sleeps at a bell for an end that waits elsewhere: in a task of an executor.
//!
//! ```text
//! end:       register a waker; say that it sleeps; look once more; go and do something else
//! listener:  sleep at the bell; wake what was registered
//! ```
//!
//! System V has no wait for several things at once, so each end that waits like this costs a thread, from
//! its first wait until it is dropped. While there is one it alone sleeps at the bell: a call of the same
//! end that blocks waits for the listener.

use std::mem;
use std::sync::{Arc, PoisonError};
use std::task::Waker;
use std::time::Duration;

use super::doorbell::Doorbell;
use super::{Control, semaphores};
use crate::panics;
use crate::sys::thread::{JoinHandle, Parker, current, spawn};
use crate::sys::{Deadline, Fault, Mutex, SemaphoreSet, SystemError, fault};

/// How long a listener first sleeps before it has its end look whether the channel's objects are still
/// there. Each time it takes twice as long, `LOOKS_DOUBLED` times.
const LOOK_FOR_OBJECTS: Duration = Duration::from_secs(1);
const LOOKS_DOUBLED: u32 = 6;

pub(crate) struct Listener {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    set: SemaphoreSet,
    bell: u16,
    state: Mutex<State>,
}

/// Why an end that waits elsewhere is to look again.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Woken {
    /// The bell was rung.
    Rung,
    /// No party rang for a while.
    Elapsed,
}

/// What is woken when an end's bell is rung; one of each kind at a time.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Registrant {
    /// A task of an executor.
    Task,
    /// A thread, in a call that blocks or in a set.
    Thread,
    /// A descriptor that a program polls.
    #[cfg(not(loom))]
    Descriptor,
}

#[derive(Default)]
struct State {
    /// Why the end is to look again, if it is, since it was last told.
    woken: Option<Woken>,
    /// What is woken, of each kind.
    wakers: [Option<Waker>; 3],
    /// Until when the end waits, if it waits no longer than until then.
    deadline: Option<Deadline>,
    /// Until when the listener sleeps, if the bell is not rung.
    until: Option<Deadline>,
    /// Why the listener listens no more.
    failed: Option<SystemError>,
    stopped: bool,
}

impl Listener {
    pub(super) fn start(set: SemaphoreSet, bell: u16) -> Result<Self, SystemError> {
        let shared = Arc::new(Shared { set, bell, state: Mutex::default() });
        let thread = spawn({
            let shared = shared.clone();
            move || shared.listen()
        })?;
        Ok(Listener { shared, thread: Some(thread) })
    }

    /// Has a waker woken when the bell is rung next, and when the deadline has passed; says whether and why it
    /// was since this was last asked.
    pub(crate) fn register(
        &self,
        who: Registrant,
        waker: &Waker,
        deadline: Deadline,
    ) -> Result<Option<Woken>, SystemError> {
        let mut state = self.shared.state();
        state.deadline = deadline.remaining().map(|_| deadline);
        let sleeps_longer = state.until.is_some_and(|until| {
            until.remaining().is_none_or(|left| deadline.remaining().is_some_and(|end| end < left))
        });
        if sleeps_longer && !cfg!(loom) {
            // It sleeps no longer than until then from now on.
            semaphores::post(self.shared.set, self.shared.bell)?;
        }
        match &mut state.wakers[who as usize] {
            Some(registered) => registered.clone_from(waker),
            none => *none = Some(waker.clone()),
        }
        match &state.failed {
            Some(error) => Err(error.clone()),
            None => Ok(state.woken.take()),
        }
    }

    /// What was registered as `who` waits no more, and the end is not armed any more: the other registrants look
    /// again.
    pub(crate) fn end_wait(&self, who: Registrant) {
        let mut state = self.shared.state();
        state.wakers[who as usize] = None;
        let others = mem::take(&mut state.wakers);
        drop(state);
        if fault(Fault::OthersNotTold) {
            return;
        }
        others.into_iter().flatten().for_each(panics::waking);
    }

    /// Sleeps until the bell was rung; `false` when the deadline passed.
    pub(super) fn sleep(&self, deadline: Deadline) -> Result<bool, SystemError> {
        let parker = Parker::new();
        loop {
            if self.register(Registrant::Thread, parker.waker(), Deadline::never())?.is_some() {
                return Ok(true);
            }
            if deadline.has_passed() {
                return Ok(false);
            }
            parker.park(deadline);
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let Some(thread) = self.thread.take() else { return };
        self.shared.state().stopped = true;
        // Where the bell is gone the listener is, or about to. Where it may not be rung any more, the
        // listener ends when it is time for a look.
        // Nor is it waited for by itself: a task that it wakes may be dropped there, with its end.
        let rung = semaphores::post(self.shared.set, self.shared.bell).is_ok();
        if rung && thread.thread().id() != current().id() {
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn state(&self) -> impl std::ops::DerefMut<Target = State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Until when to sleep, at most so long.
    fn next_look(&self, longest: Duration) -> Deadline {
        if cfg!(loom) {
            return Deadline::never();
        }
        let mut state = self.state();
        let until = Deadline::after(longest);
        let until = state.deadline.map_or(until, |deadline| until.earlier(deadline));
        *state.until.insert(until)
    }

    fn listen(&self) {
        let mut naps = 0;
        loop {
            let until = self.next_look(LOOK_FOR_OBJECTS * (1 << naps));
            let slept = semaphores::sleep(self.set, self.bell, until);
            naps = match slept {
                Ok(false) => LOOKS_DOUBLED.min(naps + 1),
                _ => 0,
            };
            let mut state = self.state();
            if state.stopped {
                return;
            }
            state.woken = match slept {
                Ok(false) => state.woken.or(Some(Woken::Elapsed)),
                _ => Some(Woken::Rung),
            };
            state.failed = slept.err();
            let ends = state.failed.is_some();
            // The end says anew until when it waits, if it goes on.
            state.deadline = None;
            let wakers = mem::take(&mut state.wakers);
            // Waking may run the end's code, which may ask this listener.
            drop(state);
            wakers.into_iter().flatten().for_each(panics::waking);
            if ends {
                return;
            }
        }
    }
}

impl Control {
    /// Starts what sleeps at a bell for an end that waits elsewhere.
    pub(crate) fn listen(&self, bell: Doorbell) -> Result<Listener, SystemError> {
        Listener::start(self.set, bell.bell)
    }
}
