//! A stream of replies on its way to its reader: what came, and was not taken.

use std::collections::VecDeque;
use std::ops::DerefMut;
use std::sync::PoisonError;

use crate::channel::WINDOW;
use crate::rpc::error::CallError;
use crate::sys::Mutex;

/// What comes of a stream.
pub(super) enum Item<R> {
    /// A part, and what it counts for.
    Part(u64, Result<R, CallError>),
    /// The last one, or why there are no more.
    Last(Result<R, CallError>),
    /// There are no more.
    End,
}

/// What came of a stream. The thread that has the client's connection in hand puts in what it finds, and the one
/// that reads takes it out. The sender's window bounds it.
pub(super) struct Incoming<R> {
    queue: Mutex<Queue<R>>,
}

struct Queue<R> {
    items: VecDeque<Item<R>>,
    /// What the parts count for that wait.
    charge: u64,
}

impl<R> Incoming<R> {
    pub(super) fn new() -> Self {
        Incoming { queue: Mutex::new(Queue { items: VecDeque::new(), charge: 0 }) }
    }

    fn queue(&self) -> impl DerefMut<Target = Queue<R>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the window is full: a server that sends more does not keep to it.
    pub(super) fn is_full(&self) -> bool {
        self.queue().charge >= WINDOW
    }

    pub(super) fn put(&self, item: Item<R>) {
        let mut queue = self.queue();
        queue.charge += item.charge();
        queue.items.push_back(item);
    }

    pub(super) fn take(&self) -> Option<Item<R>> {
        let mut queue = self.queue();
        let item = queue.items.pop_front()?;
        queue.charge -= item.charge();
        Some(item)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.queue().items.is_empty()
    }

    /// Forgets what came: its request is sent again.
    pub(super) fn clear(&self) {
        // Dropped after the lock: what came is the user's.
        while let Some(item) = self.take() {
            drop(item);
        }
    }
}

impl<R> Item<R> {
    fn charge(&self) -> u64 {
        match self {
            Item::Part(charge, _) => *charge,
            Item::Last(_) | Item::End => 0,
        }
    }
}
