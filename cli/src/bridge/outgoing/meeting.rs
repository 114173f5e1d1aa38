//! How an `out` finds its `in`, and hears of it.

use std::cell::Cell;
use std::sync::Arc;

use sysv_channel::dynamic::DynamicCodec;
use zenoh::liveliness::LivelinessToken;
use zenoh::pubsub::Subscriber;
use zenoh::sample::{Sample, SampleKind};
use zenoh::{Session, Wait};

use super::super::events::Events;
use super::super::hello::{self, Greeter, Verdict};
use super::super::link::Link;
use super::super::session::refused;
use super::super::wire::{self, Answer, Hello, Up};
use crate::failure::{Code, Failure};

pub(super) type Event = hello::Event<Answer, Heard>;

/// What an `out` hears beside answers.
pub(super) enum Heard {
    /// An `in` has come to be there.
    Alive,
    /// This one has gone.
    Gone(u64),
    Up(Up),
}

/// The far side takes values from here on.
pub(super) struct Welcome {
    pub(super) session: u64,
    pub(super) instance: u64,
    pub(super) longest: u64,
    pub(super) known: Vec<[u8; 24]>,
}

/// What listens for the far side, as long as the link is there.
pub(super) struct Meeting<'l> {
    link: &'l Link,
    events: &'l Arc<Events<Event>>,
    from: u64,
    /// An `in` beside the one that is used was told of.
    told: Cell<u64>,
    _acknowledgements: Subscriber<()>,
    _alive: Subscriber<()>,
    _token: LivelinessToken,
}

impl<'l> Meeting<'l> {
    pub(super) fn begin(
        link: &'l Link,
        events: &'l Arc<Events<Event>>,
        from: u64,
    ) -> Result<Self, Failure> {
        let session: &Session = &link.session;
        let told = events.clone();
        let acknowledgements = session
            .declare_subscriber(link.key(format_args!("acks/{from:016x}")))
            .callback(move |sample| {
                // One that is unreadable is as one that was lost.
                if let Ok(up) = wire::decode(sample.payload()) {
                    told.push_urgent(Event::Heard(Heard::Up(up)));
                }
            })
            .wait()
            .map_err(refused)?;
        let told = events.clone();
        let alive = session
            .liveliness()
            .declare_subscriber(link.key("alive/in/*"))
            .history(true)
            .callback(move |sample: Sample| match sample.kind() {
                SampleKind::Put => told.push_urgent(Event::Heard(Heard::Alive)),
                SampleKind::Delete => {
                    let instance = sample.key_expr().rsplit('/').next();
                    let instance = instance.and_then(|digits| u64::from_str_radix(digits, 16).ok());
                    if let Some(instance) = instance {
                        told.push_urgent(Event::Heard(Heard::Gone(instance)));
                    }
                }
            })
            .wait()
            .map_err(refused)?;
        let token =
            session.liveliness().declare_token(link.key(format_args!("alive/out/{from:016x}")));
        let token = token.wait().map_err(refused)?;
        Ok(Meeting {
            link,
            events,
            from,
            told: Cell::new(0),
            _acknowledgements: acknowledgements,
            _alive: alive,
            _token: token,
        })
    }

    /// Says hello until it is welcomed; `None` if the link ends before.
    pub(super) fn welcome(&self, codec: &DynamicCodec) -> Result<Option<Welcome>, Failure> {
        let greeter = Greeter { link: self.link, events: self.events, below: "hello", far: "in" };
        let hello = |session| {
            let (codec, shape) = (codec.name().to_owned(), codec.shape().text().to_owned());
            Hello { session, from: self.from, codec, shape }
        };
        greeter.until_welcome(hello, |session, answer| match answer {
            Answer::Welcome { instance, longest, known } => {
                Ok(Verdict::Welcome(Welcome { session, instance, longest, known }))
            }
            Answer::Refused { channel, difference } => {
                let (name, key) = (&self.link.options.name, &self.link.options.key);
                let what = format!(
                    "{name} here and {channel:?} there, at the key {key}, do not carry the same values: {difference}; \
                     make both of the same type"
                );
                Err(Failure::new(Code::Refused, what))
            }
            Answer::Taken => {
                let what = "another `bridge out` has this key; end one, or use another key";
                Ok(Verdict::NotYet(what.to_owned()))
            }
            Answer::NotReady { why } => Ok(Verdict::NotYet(format!("there, {why}"))),
        })
    }

    /// Tells, once, of a second `in` with this key.
    pub(super) fn hear_another(&self, used: u64, answer: &Answer) {
        if let Answer::Welcome { instance, .. } = *answer
            && instance != used
            && self.told.replace(instance) != instance
        {
            self.link.tell(
                "two `bridge in` have this key, and values go to the first that answers; end one",
            );
        }
    }
}
