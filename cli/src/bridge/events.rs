//! What a link's thread waits for: events from the session's threads, which also end a call that waits in a channel.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sysv_channel::Closer;

/// Events for one thread. One that is urgent comes first, and ends a call of [`Events::during`].
pub(crate) struct Events<E> {
    state: Mutex<State<E>>,
    came: Condvar,
}

struct State<E> {
    urgent: VecDeque<E>,
    others: VecDeque<E>,
    /// Ends the call in which the thread waits.
    call: Option<Closer>,
    /// The thread waits here.
    waits: bool,
}

impl<E> Default for Events<E> {
    fn default() -> Self {
        let (urgent, others) = (VecDeque::new(), VecDeque::new());
        let state = State { urgent, others, call: None, waits: false };
        Events { state: Mutex::new(state), came: Condvar::new() }
    }
}

impl<E> Events<E> {
    pub(crate) fn push(&self, event: E) {
        let mut state = self.state();
        state.others.push_back(event);
        if state.waits {
            self.came.notify_one();
        }
    }

    pub(crate) fn push_urgent(&self, event: E) {
        let mut state = self.state();
        state.urgent.push_back(event);
        if state.waits {
            self.came.notify_one();
        }
        if let Some(closer) = state.call.take() {
            closer.close();
        }
    }

    /// The next event, if there is one.
    pub(crate) fn pop(&self) -> Option<E> {
        self.state().pop()
    }

    /// The next event that is urgent, if there is one.
    pub(crate) fn pop_urgent(&self) -> Option<E> {
        self.state().urgent.pop_front()
    }

    /// The next event, waited for at most so long.
    pub(crate) fn wait(&self, timeout: Duration) -> Option<E> {
        let mut state = self.state();
        if let Some(event) = state.pop() {
            return Some(event);
        }
        state.waits = true;
        let is_idle = |state: &mut State<E>| state.urgent.is_empty() && state.others.is_empty();
        let waited = self.came.wait_timeout_while(state, timeout, is_idle);
        let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        state.waits = false;
        state.pop()
    }

    /// The next urgent event, waited for at most so long, while others stay.
    pub(crate) fn wait_urgent(&self, timeout: Duration) -> Option<E> {
        let mut state = self.state();
        state.waits = true;
        let is_idle = |state: &mut State<E>| state.urgent.is_empty();
        let waited = self.came.wait_timeout_while(state, timeout, is_idle);
        let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        state.waits = false;
        state.urgent.pop_front()
    }

    /// Makes a call that waits in a channel, unless an urgent event is there: one that comes meanwhile closes it.
    ///
    /// An event that comes when the call has just returned closes the next one, which then is made again.
    pub(crate) fn during<R>(&self, closer: &Closer, call: impl FnOnce() -> R) -> Option<R> {
        let mut state = self.state();
        if !state.urgent.is_empty() {
            return None;
        }
        state.call = Some(closer.clone());
        drop(state);
        let result = call();
        self.state().call = None;
        Some(result)
    }

    fn state(&self) -> MutexGuard<'_, State<E>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<E> State<E> {
    fn pop(&mut self) -> Option<E> {
        self.urgent.pop_front().or_else(|| self.others.pop_front())
    }
}
