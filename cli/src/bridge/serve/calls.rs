//! The calls that are under way, and what comes back for them.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use sysv_channel::Name;
use sysv_channel::rpc::{CallError, Closer};
use tracing::{Span, debug};
use zenoh::bytes::ZBytes;

use super::super::calls_wire::{self, BYTES, CALLS, DownWhat, Following, Up, UpWhat, Why};
use super::super::link::{Figures, Link};
use super::super::log::{TARGET, call_ends, call_span};
use super::Reply;
use super::stream::{Item, Put, Stream};
use super::way::Way;

/// The calls of a link, from one session to the next.
pub(super) struct Calls {
    /// How errors name the server.
    server: Arc<Name>,
    figures: Arc<Figures>,
    state: Mutex<State>,
    /// There may be room for another call.
    room: Condvar,
    /// Locked while a message is handled, so that they are in their order.
    heard: Mutex<Heard>,
}

#[derive(Default)]
struct State {
    /// Why the session is over, and which messages were heeded, if that is known.
    over: Option<(String, Option<u64>)>,
    way: Option<Arc<Way>>,
    /// Ends the local server's waiting.
    closer: Option<Closer>,
    open: HashMap<u64, Open>,
    /// Of their requests.
    bytes: usize,
    last_call: u64,
}

struct Open {
    span: Span,
    bytes: usize,
    /// The number of the message with the request; none was sent if it has none.
    sent: Option<u64>,
    caller: Caller,
}

enum Caller {
    Reply(Reply),
    Stream(Arc<Stream>),
}

struct Heard {
    session: u64,
    number: u64,
    at: Instant,
}

impl Calls {
    pub(super) fn new(link: &Link) -> Self {
        Calls {
            server: Arc::new(link.options.name.clone()),
            figures: link.figures.clone(),
            state: Mutex::default(),
            room: Condvar::new(),
            heard: Mutex::new(Heard { session: 0, number: 0, at: Instant::now() }),
        }
    }

    pub(super) fn server(&self) -> Arc<Name> {
        self.server.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A session begins.
    pub(super) fn begin(&self, way: &Arc<Way>) {
        let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        *heard = Heard { session: way.session, number: 0, at: Instant::now() };
        let mut state = self.state();
        let last_call = state.last_call;
        *state = State { way: Some(way.clone()), last_call, ..State::default() };
    }

    /// What ends the local server's waiting when the session is over.
    pub(super) fn closes(&self, closer: Closer) {
        let mut state = self.state();
        if state.over.is_some() {
            closer.close();
        }
        state.closer = Some(closer);
    }

    /// The session is over, and it is not known what became of its calls.
    pub(super) fn end(&self, why: &str) {
        self.ends(why.to_owned(), None);
    }

    fn ends(&self, why: String, heeded: Option<u64>) {
        let mut state = self.state();
        if state.over.is_none() {
            state.over = Some((why, heeded));
        }
        if let Some(closer) = &state.closer {
            closer.close();
        }
        self.room.notify_all();
    }

    pub(super) fn bridge_is_gone(&self, bridge: u64) {
        if self.state().way.as_ref().is_some_and(|way| way.instance == bridge) {
            self.end("`bridge call` has gone, or cannot be reached");
        }
    }

    /// Why the session is over, if it is.
    pub(super) fn over(&self) -> Option<String> {
        self.state().over.as_ref().map(|(why, _)| why.clone())
    }

    /// How long nothing has come.
    pub(super) fn silence(&self) -> Duration {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner).at.elapsed()
    }

    pub(super) fn count(&self) -> usize {
        self.state().open.len()
    }

    /// Waits until another call may be under way, at most so long.
    pub(super) fn wait_for_room(&self, timeout: Duration) -> bool {
        let is_full = |state: &mut State| {
            let full = state.open.len() >= CALLS || state.bytes >= BYTES;
            full && state.over.is_none()
        };
        let waited = self.room.wait_timeout_while(self.state(), timeout, is_full);
        let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        !is_full(&mut state)
    }

    /// A request was received; its number.
    pub(super) fn insert(&self, bytes: usize, left: Option<Duration>, reply: Reply) -> u64 {
        let mut state = self.state();
        state.last_call += 1;
        let call = state.last_call;
        let span = call_span(&self.figures, call, left, reply.is_stream());
        let caller = match reply.is_stream() {
            true => Caller::Stream(Arc::new(Stream::new(call, reply))),
            false => Caller::Reply(reply),
        };
        state.bytes += bytes;
        state.open.insert(call, Open { span, bytes, sent: None, caller });
        call
    }

    /// Its request goes in the message of this number, unless the session is over.
    pub(super) fn is_sent(&self, call: u64, number: u64) -> bool {
        let mut state = self.state();
        let goes = state.over.is_none();
        if let Some(open) = state.open.get_mut(&call).filter(|_| goes) {
            open.sent = Some(number);
            debug!(target: TARGET, parent: &open.span, bytes = open.bytes, "is passed on");
        }
        goes
    }

    /// The call has its outcome, or needs none any more.
    pub(super) fn done(&self, call: u64, outcome: &dyn fmt::Display) {
        self.take(call, outcome);
    }

    fn take(&self, call: u64, outcome: &dyn fmt::Display) -> Option<Caller> {
        let mut state = self.state();
        let open = state.open.remove(&call)?;
        state.bytes -= open.bytes;
        drop(state);
        call_ends(&open.span, outcome);
        self.room.notify_all();
        Some(open.caller)
    }

    fn stream(&self, call: u64) -> Option<Arc<Stream>> {
        match &self.state().open.get(&call)?.caller {
            Caller::Stream(stream) => Some(stream.clone()),
            Caller::Reply(_) => None,
        }
    }

    /// Cancels calls whose callers wait no more.
    pub(super) fn drop_those_given_up(&self) {
        let mut state = self.state();
        let given_up = |open: &Open| match &open.caller {
            Caller::Reply(reply) => reply.is_cancelled(),
            Caller::Stream(stream) => stream.is_given_up(),
        };
        let calls = state.open.iter().filter(|(_, open)| given_up(open));
        let calls: Vec<_> = calls.map(|(&call, open)| (call, open.sent)).collect();
        let way = state.way.clone();
        let dropped: Vec<_> = calls
            .iter()
            .filter_map(|(call, _)| {
                let open = state.open.remove(call)?;
                state.bytes -= open.bytes;
                Some(open)
            })
            .collect();
        drop(state);
        dropped.iter().for_each(|open| call_ends(&open.span, &"given up"));
        drop(dropped);
        if !calls.is_empty() {
            self.room.notify_all();
        }
        if let Some(way) = way {
            let sent = calls.into_iter().filter(|(_, sent)| sent.is_some());
            sent.for_each(|(call, _)| way.send(DownWhat::Cancel { call }));
        }
    }

    /// The session is over: tells all callers whether the server may have had their requests.
    pub(super) fn fail_all(&self) {
        let mut state = self.state();
        let heeded = state.over.as_ref().and_then(|(_, heeded)| *heeded);
        let open: Vec<_> = state.open.drain().map(|(_, open)| open).collect();
        (state.bytes, state.closer) = (0, None);
        drop(state);
        for Open { span, sent, caller, .. } in open {
            let received = match (sent, heeded) {
                (None, _) => false,
                (Some(sent), Some(heeded)) => sent <= heeded,
                (Some(_), None) => true,
            };
            let why = Why::Died { received };
            call_ends(&span, &why);
            self.fail(caller, &why, String::new());
        }
    }

    /// A message has come, on a thread of the session, which is not to wait.
    pub(super) fn hear(self: &Arc<Self>, payload: &ZBytes) {
        // One that is unreadable is as one that was lost, which the next one shows.
        let Ok((up, following)) = calls_wire::decode::<Up>(payload) else { return };
        let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        if up.session != heard.session {
            return;
        }
        if let UpWhat::Again = up.what {
            return self.end("`bridge call` has missed something, or was started anew");
        }
        if up.number != heard.number + 1 {
            return self.end("something got lost on the way from `bridge call`");
        }
        (heard.number, heard.at) = (up.number, Instant::now());
        self.handle(up.what, &following);
    }

    fn handle(self: &Arc<Self>, what: UpWhat, following: &Following<'_>) {
        match what {
            UpWhat::Reply { call } => {
                if let Some(Caller::Reply(reply)) = self.take(call, &"reply") {
                    // A caller that has gone has itself to blame.
                    let _ = match following.bytes() {
                        Some(bytes) => reply.reply(&bytes),
                        None => reply.fail(&self.no_memory()),
                    };
                }
            }
            UpWhat::Part { call } => {
                let item =
                    following.bytes().map_or_else(|| Item::Failed(self.no_memory()), Item::Part);
                self.put(call, item);
            }
            UpWhat::End { call } => self.put(call, Item::End),
            // The caller's own deadline ends it, in this moment.
            UpWhat::Failed { why: Why::Late, .. } => {}
            UpWhat::Failed { call, why } => match self.stream(call) {
                Some(stream) => {
                    let error = self.error(&why, following.text(), stream.has_begun());
                    self.put(call, Item::Failed(error));
                }
                None => {
                    if let Some(caller) = self.take(call, &why) {
                        self.fail(caller, &why, following.text());
                    }
                }
            },
            UpWhat::Pong { stamp } => {
                let way = self.state().way.clone();
                if let Some(way) = way {
                    way.measure(stamp);
                }
            }
            UpWhat::Away { heeded } => self.ends(following.text(), Some(heeded)),
            UpWhat::Again => {}
        }
    }

    /// Something of a stream has come.
    fn put(self: &Arc<Self>, call: u64, item: Item) {
        let Some(stream) = self.stream(call) else { return };
        match stream.put(item) {
            Put::Kept => {}
            Put::First(reply) => {
                let way = self.state().way.clone();
                if let Some(way) = way {
                    stream.start(reply, self, &way);
                }
            }
            Put::Over(reply, item) => {
                let _ = match item {
                    Item::Failed(error) => {
                        self.done(call, &error);
                        reply.fail(&error)
                    }
                    _ => {
                        self.done(call, &"reply");
                        reply.finish()
                    }
                };
            }
            Put::TooMuch => self.end("`bridge call` sends more of a stream than is taken"),
        }
    }

    fn fail(&self, caller: Caller, why: &Why, text: String) {
        match caller {
            Caller::Reply(reply) => {
                // A caller that has gone has itself to blame.
                let _ = reply.fail(&self.error(why, text, false));
            }
            Caller::Stream(stream) => {
                let error = self.error(why, text, stream.has_begun());
                if let Put::Over(reply, Item::Failed(error)) = stream.put(Item::Failed(error)) {
                    let _ = reply.fail(&error);
                }
            }
        }
    }

    fn error(&self, why: &Why, text: String, has_begun: bool) -> CallError {
        let server = self.server();
        match *why {
            Why::Died { received } => {
                CallError::ServerDied { server, received: received || has_begun }
            }
            Why::Late => CallError::Timeout { server, received: true },
            Why::Panicked => CallError::Panicked { server, message: text },
            Why::Dropped => CallError::Dropped { server },
            Why::Unreadable => CallError::Unreadable { server, why: text },
            Why::Unsendable => CallError::Unsendable { server, why: text },
            Why::NotPassedOn => CallError::NotPassedOn { server, why: text },
        }
    }

    fn no_memory(&self) -> CallError {
        let why = "the bridge has no memory for it".to_owned();
        CallError::Unsendable { server: self.server(), why }
    }
}
