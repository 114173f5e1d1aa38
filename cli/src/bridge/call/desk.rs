//! Where messages come in: the sessions, one for each `serve`.

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tracing::{Span, info, warn};
use zenoh::Wait;
use zenoh::bytes::ZBytes;
use zenoh::key_expr::OwnedKeyExpr;
use zenoh::qos::{CongestionControl, Priority};

use super::super::calls_wire::{self, Down, DownWhat, Hello, Up, UpWhat};
use super::super::events::Events;
use super::super::link::{Figures, Link};
use super::super::log::{TARGET, call_span};
use super::super::wire;
use super::Event;
use super::clients::Clients;
use super::job::{Asked, Job};
use super::session::Session;
use super::workers::Workers;

/// So many `serve` can call at a time.
const SESSIONS: usize = 16;

/// Of a `serve` that says nothing for so long the calls are cancelled. It asks every second.
const SILENCE: Duration = Duration::from_secs(20);

/// How long calls whose server has gone may take to know.
const KNOWN: Duration = Duration::from_secs(2);

pub(super) struct Desk {
    state: Mutex<State>,
    workers: Arc<Workers>,
    looks: Looks,
    zenoh: zenoh::Session,
    key: OwnedKeyExpr,
}

#[derive(Default)]
struct State {
    /// By the bridge that each is with.
    sessions: HashMap<u64, Arc<Session>>,
    /// Present while there is a server.
    clients: Option<Arc<Clients>>,
}

/// What a call has to tell beside its outcome.
#[derive(Clone)]
pub(super) struct Looks {
    events: Arc<Events<Event>>,
    figures: Arc<Figures>,
}

impl Looks {
    /// The server may have gone.
    pub(super) fn look(&self) {
        self.events.push(Event::Look);
    }

    /// What a call is made in.
    pub(super) fn span(&self, call: u64, left: Option<Duration>, stream: bool) -> Span {
        call_span(&self.figures, call, left, stream)
    }

    /// A reply has gone.
    pub(super) fn count(&self, bytes: usize) {
        self.figures.count(1, bytes as u64);
    }
}

impl Desk {
    pub(super) fn new(link: &Link, events: &Arc<Events<Event>>) -> Self {
        let looks = Looks { events: events.clone(), figures: link.figures.clone() };
        let (zenoh, key) = (link.session.clone(), link.options.key.clone());
        Desk { state: Mutex::default(), workers: Arc::default(), looks, zenoh, key }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// There is a server to be called.
    pub(super) fn opens(&self, clients: &Arc<Clients>) {
        self.state().clients = Some(clients.clone());
    }

    /// The server has gone, and every session with it.
    pub(super) fn goes_away(&self, why: &str) {
        let mut state = self.state();
        state.clients = None;
        let sessions: Vec<_> = state.sessions.values().cloned().collect();
        drop(state);
        // What comes meanwhile is not heeded, and said to be so.
        sessions.iter().for_each(|session| session.goes_away(why, KNOWN));
        self.state().sessions.retain(|_, session| !session.is_over());
    }

    /// A `serve` begins a session, in place of one that it had.
    pub(super) fn begin(&self, hello: &Hello) -> Result<(), String> {
        let from = hello.from;
        let mut state = self.state();
        let before = state.sessions.remove(&from);
        let begun = match state.sessions.len() {
            SESSIONS.. => {
                Err(format!("{SESSIONS} `bridge serve` call already, the most at a time"))
            }
            _ => {
                let begun = Session::begin(&self.zenoh, hello, self.to(from));
                begun.map_err(|error| error.to_string())
            }
        };
        let begun = begun.map(|session| drop(state.sessions.insert(from, Arc::new(session))));
        drop(state);
        if let Some(before) = before {
            before.end();
        }
        self.looks.figures.meetings.fetch_add(1, Ordering::Relaxed);
        if begun.is_ok() {
            let session = format_args!("{:016x}", hello.session);
            info!(target: TARGET, parent: &self.looks.figures.span, session, "meets");
        }
        begun
    }

    pub(super) fn bridge_is_gone(&self, from: u64) {
        let session = self.state().sessions.remove(&from);
        if let Some(session) = session {
            self.lost(
                &session,
                "`bridge serve` has gone, or something got lost on the way from it",
            );
            session.end();
        }
    }

    /// Ends the sessions with bridges that say nothing any more, and counts what is under way.
    pub(super) fn drop_the_silent(&self) {
        let mut state = self.state();
        let silent = |session: &Session| session.silence() > SILENCE;
        let gone: Vec<_> = state.sessions.extract_if(|_, session| silent(session)).collect();
        let count: usize = state.sessions.values().map(|session| session.count()).sum();
        drop(state);
        self.looks.figures.in_flight.store(count as u64, Ordering::Relaxed);
        for (_, session) in gone {
            self.lost(&session, "`bridge serve` has said nothing for too long");
            session.end();
        }
    }

    fn lost(&self, session: &Session, why: &str) {
        let session = format_args!("{:016x}", session.number);
        warn!(target: TARGET, parent: &self.looks.figures.span, session, why, "lost");
    }

    /// A message has come, on a thread of the session, which is not to wait.
    pub(super) fn hear(&self, payload: &ZBytes) {
        // One that is unreadable is as one that was lost, which the next one shows.
        let Ok((down, following)) = calls_wire::decode::<Down>(payload) else { return };
        let state = self.state();
        let found = state.sessions.get(&down.from).filter(|it| it.number == down.session).cloned();
        let clients = state.clients.clone();
        drop(state);
        let Some(session) = found else { return self.again(&down) };
        let Some(clients) = clients.filter(|_| !session.is_over()) else { return };
        if !session.heeds(down.number) {
            self.bridge_is_gone(down.from);
            return self.again(&down);
        }
        match down.what {
            DownWhat::Request { call, left, stream } => {
                let left = left.map(Duration::from_micros);
                let Some(request) = following.bytes() else {
                    self.bridge_is_gone(down.from);
                    return self.again(&down);
                };
                let asked = Asked { call, left, stream, request };
                let job = Arc::new(Job::new(asked, &session, &clients, &self.looks));
                if !session.takes(&job) {
                    self.bridge_is_gone(down.from);
                    return self.again(&down);
                }
                job.start_at_once();
                self.workers.give(job);
            }
            DownWhat::Cancel { call } => {
                if let Some(job) = session.job(call) {
                    session.done(&job);
                    job.cancel();
                }
            }
            DownWhat::Taken { call, charge } => {
                if let Some(job) = session.job(call) {
                    job.taken(charge);
                }
            }
            DownWhat::Ping { stamp } => session.send(UpWhat::Pong { stamp }, Vec::new()),
        }
    }

    /// Where this bridge listens.
    fn to(&self, from: u64) -> String {
        format!("{}/calls/up/{from:016x}", self.key)
    }

    /// Has a `serve` begin anew. What finds no room is lost, and asked for again.
    fn again(&self, down: &Down) {
        let up = Up { session: down.session, number: 0, what: UpWhat::Again };
        let put = self.zenoh.put(self.to(down.from), wire::encode(&up)).express(true);
        let put =
            put.congestion_control(CongestionControl::Drop).priority(Priority::InteractiveHigh);
        let _ = put.wait();
    }
}
