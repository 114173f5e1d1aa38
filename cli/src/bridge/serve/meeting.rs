//! How a `serve` finds its `call`.

use std::cell::Cell;
use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use zenoh::Wait;
use zenoh::liveliness::LivelinessToken;
use zenoh::pubsub::Subscriber;
use zenoh::query::{ConsolidationMode, QueryTarget, Reply};
use zenoh::sample::{Sample, SampleKind};

use super::super::calls_wire::{Answer, Hello, Served, bridge_of, longest};
use super::super::events::Events;
use super::super::link::{Link, drawn};
use super::super::session::refused;
use super::super::wire::{self, WireError};
use super::calls::Calls;
use crate::failure::Failure;

/// How long an answer to a hello is waited for.
const ANSWER: Duration = Duration::from_secs(3);

/// Pauses between hellos, at first and later. A server that comes to be there is noticed at once in any case.
const SOON: Duration = Duration::from_millis(100);
const LATER: Duration = Duration::from_secs(1);

/// From then on it is said that nobody answers.
const PATIENCE: Duration = Duration::from_secs(1);

/// What a `serve` hears while it looks for its `call`.
pub(super) enum Event {
    End,
    /// A `call` has a server to be called.
    Ready,
    Answer {
        session: u64,
        answer: Answer,
    },
    /// There are no more answers to this hello.
    Answered {
        session: u64,
    },
    /// Something came that is no message for this program.
    Unreadable {
        session: u64,
        error: WireError,
    },
}

/// The far side takes calls from here on.
pub(super) struct Welcome {
    pub(super) session: u64,
    pub(super) instance: u64,
    pub(super) longest: u64,
    pub(super) served: Served,
}

/// What listens for the far side, as long as the link is there.
pub(super) struct Meeting<'l> {
    link: &'l Link,
    events: &'l Arc<Events<Event>>,
    from: u64,
    /// The bridges that have a server to be called.
    callable: Arc<Mutex<HashSet<u64>>>,
    /// It was told that they are several.
    told: Cell<bool>,
    _replies: Subscriber<()>,
    _alive: Subscriber<()>,
    _ready: Subscriber<()>,
    _token: LivelinessToken,
}

impl<'l> Meeting<'l> {
    pub(super) fn begin(
        link: &'l Link,
        events: &'l Arc<Events<Event>>,
        calls: &Arc<Calls>,
        from: u64,
    ) -> Result<Self, Failure> {
        let heard = calls.clone();
        let replies = link
            .session
            .declare_subscriber(link.key(format_args!("calls/up/{from:016x}")))
            .callback(move |sample: Sample| heard.hear(sample.payload()));
        let replies = replies.wait().map_err(refused)?;
        let gone = calls.clone();
        let alive = link
            .session
            .liveliness()
            .declare_subscriber(link.key("calls/alive/*"))
            .callback(move |sample: Sample| {
                if let (SampleKind::Delete, Some(bridge)) = (sample.kind(), bridge_of(&sample)) {
                    gone.bridge_is_gone(bridge);
                }
            });
        let alive = alive.wait().map_err(refused)?;
        let told = events.clone();
        let callable = Arc::<Mutex<HashSet<u64>>>::default();
        let all = callable.clone();
        let ready = link
            .session
            .liveliness()
            .declare_subscriber(link.key("calls/ready/*"))
            .history(true)
            .callback(move |sample: Sample| {
                let Some(bridge) = bridge_of(&sample) else { return };
                let mut all = all.lock().unwrap_or_else(PoisonError::into_inner);
                match sample.kind() {
                    SampleKind::Put => {
                        all.insert(bridge);
                        told.push_urgent(Event::Ready);
                    }
                    SampleKind::Delete => drop(all.remove(&bridge)),
                }
            });
        let ready = ready.wait().map_err(refused)?;
        let token = link.key(format_args!("calls/serve/{from:016x}"));
        let token = link.session.liveliness().declare_token(token).wait().map_err(refused)?;
        Ok(Meeting {
            link,
            events,
            from,
            callable,
            told: Cell::new(false),
            _replies: replies,
            _alive: alive,
            _ready: ready,
            _token: token,
        })
    }

    /// Tells, once, of a second `call` with this key.
    pub(super) fn tell_of_others(&self) {
        let count = self.callable.lock().unwrap_or_else(PoisonError::into_inner).len();
        if !self.told.replace(count > 1) && count > 1 {
            self.link.tell(
                "two `bridge call` have this key, and calls go to the first that answers; end one",
            );
        }
    }

    /// Says hello until it is welcomed; `None` if the link ends before.
    pub(super) fn welcome(&self) -> Result<Option<Welcome>, Failure> {
        let began = Instant::now();
        while !self.link.has_ended() {
            let session = drawn()?;
            self.hello(session)?;
            let why = match self.answer(session) {
                Ok(welcome) => return Ok(Some(welcome)),
                Err(why) => why,
            };
            let mut pause = SOON;
            if began.elapsed() >= PATIENCE {
                self.link.waits(&why);
                pause = LATER;
            }
            if let Some(Event::End) = self.events.wait(pause) {
                break;
            }
        }
        Ok(None)
    }

    fn hello(&self, session: u64) -> Result<(), Failure> {
        let hello = Hello { session, from: self.from, longest: longest(self.link) };
        let over = Answers { session, events: self.events.clone() };
        self.link
            .session
            .get(self.link.key("calls/hello"))
            .payload(wire::encode(&hello))
            .target(QueryTarget::All)
            .consolidation(ConsolidationMode::None)
            .timeout(ANSWER)
            .callback(move |reply| over.hear(&reply))
            .wait()
            .map_err(refused)
    }

    /// The welcome to this hello, or why there is none yet.
    fn answer(&self, session: u64) -> Result<Welcome, String> {
        let mut why = "waits for `bridge call`, which is not there".to_owned();
        while let Some(event) = self.events.wait(ANSWER * 2) {
            match event {
                Event::End => break,
                Event::Answered { session: of } if of == session => break,
                Event::Unreadable { session: of, error } if of == session => {
                    why = format!("waits: {error}");
                }
                Event::Answer { session: of, answer } if of == session => match answer {
                    Answer::Welcome { instance, longest, served } => {
                        return Ok(Welcome { session, instance, longest, served });
                    }
                    Answer::NotReady { why: theirs } => why = format!("waits: there, {theirs}"),
                },
                _ => {}
            }
        }
        Err(why)
    }
}

/// The answers to one hello; dropped when there are no more.
struct Answers {
    session: u64,
    events: Arc<Events<Event>>,
}

impl Answers {
    fn hear(&self, reply: &Reply) {
        let session = self.session;
        if let Ok(sample) = reply.result() {
            self.events.push_urgent(match wire::decode(sample.payload()) {
                Ok(answer) => Event::Answer { session, answer },
                Err(error) => Event::Unreadable { session, error },
            });
        }
    }
}

impl Drop for Answers {
    fn drop(&mut self) {
        self.events.push_urgent(Event::Answered { session: self.session });
    }
}
