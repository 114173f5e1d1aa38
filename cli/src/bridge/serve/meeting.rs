//! How a `serve` finds its `call`.

use std::cell::Cell;
use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use zenoh::Wait;
use zenoh::liveliness::LivelinessToken;
use zenoh::pubsub::Subscriber;
use zenoh::sample::{Sample, SampleKind};

use super::super::calls_wire::{Answer, Hello, Served, bridge_of, longest};
use super::super::events::Events;
use super::super::hello::{self, Greeter, Verdict};
use super::super::link::Link;
use super::super::session::refused;
use super::calls::Calls;
use crate::failure::Failure;

/// What a `serve` hears while it looks for its `call`.
pub(super) type Event = hello::Event<Answer, Ready>;

/// A `call` has a server to be called.
pub(super) struct Ready;

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
                        told.push_urgent(Event::Heard(Ready));
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
        let greeter =
            Greeter { link: self.link, events: self.events, below: "calls/hello", far: "call" };
        let hello = |session| Hello { session, from: self.from, longest: longest(self.link) };
        greeter.until_welcome(hello, |session, answer| {
            Ok(match answer {
                Answer::Welcome { instance, longest, served } => {
                    Verdict::Welcome(Welcome { session, instance, longest, served })
                }
                Answer::NotReady { why } => Verdict::NotYet(format!("there, {why}")),
            })
        })
    }
}
