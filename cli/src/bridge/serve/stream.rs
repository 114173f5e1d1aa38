//! A stream of replies on its way to its reader, who may be slow: a thread waits for it.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use sysv_channel::rpc::{CallError, ReplyError};

use super::super::calls_wire::{DownWhat, WINDOW, charge};
use super::calls::Calls;
use super::way::Way;
use super::{Bytes, Reply, TICK};

pub(super) enum Item {
    Part(Bytes),
    /// There are no more.
    End,
    /// There are no more, since the call failed.
    Failed(CallError),
}

pub(super) struct Stream {
    call: u64,
    state: Mutex<State>,
    came: Condvar,
}

struct State {
    items: VecDeque<Item>,
    /// What the parts count for that are here.
    charge: u64,
    /// Until a thread has it.
    reply: Option<Reply>,
}

/// What is to be done with what came.
pub(super) enum Put {
    /// A thread does it.
    Kept,
    /// It is the first part: a thread is to be started.
    First(Reply),
    /// It is the end, and no part came before.
    Over(Reply, Item),
    /// More came than may be on its way.
    TooMuch,
}

impl Stream {
    pub(super) fn new(call: u64, reply: Reply) -> Self {
        let state = State { items: VecDeque::new(), charge: 0, reply: Some(reply) };
        Stream { call, state: Mutex::new(state), came: Condvar::new() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn put(&self, item: Item) -> Put {
        let mut state = self.state();
        match (&item, state.reply.take()) {
            (Item::End | Item::Failed(_), Some(reply)) => return Put::Over(reply, item),
            (Item::Part(_), None) if state.charge >= WINDOW => return Put::TooMuch,
            (Item::Part(bytes), reply) => {
                state.charge += charge(bytes.len());
                state.items.push_back(item);
                self.came.notify_one();
                return reply.map_or(Put::Kept, Put::First);
            }
            (_, None) => state.items.push_back(item),
        }
        self.came.notify_one();
        Put::Kept
    }

    /// Whether the caller waits no more. Once a thread has the reply, that looks after it.
    pub(super) fn is_given_up(&self) -> bool {
        self.state().reply.as_ref().is_some_and(Reply::is_cancelled)
    }

    /// Whether parts came, so that the server must have had the request.
    pub(super) fn has_begun(&self) -> bool {
        self.state().reply.is_none()
    }

    /// Starts the thread; if that cannot be, the caller is told.
    pub(super) fn start(self: &Arc<Self>, reply: Reply, calls: &Arc<Calls>, way: &Arc<Way>) {
        let (stream, told, to) = (self.clone(), calls.clone(), way.clone());
        // What cannot be started gives it back.
        let reply = Arc::new(Mutex::new(Some(reply)));
        let given = reply.clone();
        let taken = |reply: &Mutex<Option<Reply>>| {
            reply.lock().unwrap_or_else(PoisonError::into_inner).take()
        };
        let started = thread::Builder::new().name("stream".to_owned()).spawn(move || {
            let outcome = taken(&given).map(|reply| stream.deliver(reply, &to));
            told.done(stream.call, &outcome.unwrap_or_default());
        });
        if let Err(error) = started {
            let why = format!("the bridge has no thread for its parts: {error}");
            calls.done(self.call, &why);
            if let Some(reply) = taken(&reply) {
                let server = calls.server();
                let _ = reply.fail(&CallError::Unsendable { server, why });
            }
            way.send(DownWhat::Cancel { call: self.call });
        }
    }

    /// The next item, if one comes soon.
    fn next(&self) -> Option<Item> {
        let state = self.state();
        let waited = self.came.wait_timeout_while(state, TICK, |state| state.items.is_empty());
        let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        let item = state.items.pop_front()?;
        if let Item::Part(bytes) = &item {
            state.charge -= charge(bytes.len());
        }
        Some(item)
    }

    fn is_empty(&self) -> bool {
        self.state().items.is_empty()
    }

    /// Gives the parts to the caller, and tells the far side how much it has taken; what became of the call.
    fn deliver(&self, mut reply: Reply, way: &Way) -> String {
        let call = self.call;
        let mut taken = 0;
        loop {
            match self.next() {
                None if reply.is_cancelled() => {
                    way.send(DownWhat::Cancel { call });
                    return "given up".to_owned();
                }
                None => {}
                Some(Item::Part(bytes)) => {
                    match reply.part(&bytes) {
                        Ok(()) => {}
                        Err(ReplyError::Send(error)) if is_sent(&error) => {}
                        Err(error) => {
                            way.send(DownWhat::Cancel { call });
                            let why = error.to_string();
                            drop_or_tell(reply, error);
                            return why;
                        }
                    }
                    taken += charge(bytes.len());
                    if taken >= WINDOW / 2 || self.is_empty() {
                        way.send(DownWhat::Taken { call, charge: std::mem::take(&mut taken) });
                    }
                }
                // A caller that has gone has itself to blame.
                Some(Item::End) => {
                    let _ = reply.finish();
                    return "reply".to_owned();
                }
                Some(Item::Failed(error)) => {
                    let _ = reply.fail(&error);
                    return error.to_string();
                }
            }
        }
    }
}

/// Whether a part has gone although its reader could not be woken.
fn is_sent(error: &sysv_channel::SendError) -> bool {
    matches!(error, sysv_channel::SendError::NotWoken { .. })
}

/// A part did not go.
fn drop_or_tell(reply: Reply, error: ReplyError) {
    match &error {
        ReplyError::TooLong { server, .. } => {
            let (server, why) = (server.clone(), error.to_string());
            let _ = reply.fail(&CallError::Unsendable { server, why });
        }
        // The caller has gone, or the server here ends, which is as if the one there did.
        ReplyError::ClientGone { server } | ReplyError::Closing { server } => {
            let server = server.clone();
            let _ = reply.fail(&CallError::ServerDied { server, received: true });
        }
        _ => drop(reply),
    }
}
