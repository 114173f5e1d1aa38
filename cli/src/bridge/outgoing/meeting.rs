//! How an `out` finds its `in`, and hears of it.

use std::cell::Cell;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sysv_channel::dynamic::DynamicCodec;
use zenoh::liveliness::LivelinessToken;
use zenoh::pubsub::Subscriber;
use zenoh::query::{ConsolidationMode, QueryTarget, Reply};
use zenoh::sample::{Sample, SampleKind};
use zenoh::{Session, Wait};

use super::super::events::Events;
use super::super::link::{Link, drawn};
use super::super::session::refused;
use super::super::wire::{self, Answer, Hello, Up, WireError};
use crate::failure::{Code, Failure};

/// How long an answer to a hello is waited for.
const ANSWER: Duration = Duration::from_secs(3);

/// Pauses between hellos to which nobody answers, at first and later. An `in` that comes to be there is noticed at once
/// in any case.
const SOON: Duration = Duration::from_millis(100);
const LATER: Duration = Duration::from_secs(1);

/// From then on it is said that nobody answers.
const PATIENCE: Duration = Duration::from_secs(1);

/// What an `out` hears.
pub(super) enum Event {
    End,
    /// An `in` has come to be there.
    Alive,
    /// This one has gone.
    Gone(u64),
    Up(Up),
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
                    told.push_urgent(Event::Up(up));
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
                SampleKind::Put => told.push_urgent(Event::Alive),
                SampleKind::Delete => {
                    let instance = sample.key_expr().rsplit('/').next();
                    let instance = instance.and_then(|digits| u64::from_str_radix(digits, 16).ok());
                    if let Some(instance) = instance {
                        told.push_urgent(Event::Gone(instance));
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
        let began = Instant::now();
        while !self.link.has_ended() {
            let session = drawn()?;
            self.hello(session, codec)?;
            let why = match self.answer(session)? {
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

    fn hello(&self, session: u64, codec: &DynamicCodec) -> Result<(), Failure> {
        let (name, shape) = (codec.name().to_owned(), codec.shape().text().to_owned());
        let hello = Hello { session, from: self.from, codec: name, shape };
        let over = Answers { session, events: self.events.clone() };
        self.link
            .session
            .get(self.link.key("hello"))
            .payload(wire::encode(&hello))
            .target(QueryTarget::All)
            .consolidation(ConsolidationMode::None)
            .timeout(ANSWER)
            .callback(move |reply| over.hear(&reply))
            .wait()
            .map_err(refused)
    }

    /// The welcome to this hello, or why there is none yet.
    fn answer(&self, session: u64) -> Result<Result<Welcome, String>, Failure> {
        let mut why = "waits for `bridge in`, which is not there".to_owned();
        while let Some(event) = self.events.wait(ANSWER * 2) {
            match event {
                Event::End => break,
                Event::Answered { session: of } if of == session => break,
                Event::Unreadable { session: of, error } if of == session => {
                    why = format!("waits: {error}");
                }
                Event::Answer { session: of, answer } if of == session => {
                    match answer {
                        Answer::Welcome { instance, longest, known } => {
                            return Ok(Ok(Welcome { session, instance, longest, known }));
                        }
                        Answer::Refused { channel, difference } => {
                            return Err(Failure::new(
                                Code::Refused,
                                format!(
                                    "{} here and {channel:?} there, at the key {}, do not carry the same values: \
                                 {difference}; make both of the same type",
                                    self.link.options.name, self.link.options.key
                                ),
                            ));
                        }
                        Answer::Taken => {
                            why = "waits: another `bridge out` has this key; end one, or use another key".to_owned();
                        }
                        Answer::NotReady { why: theirs } => why = format!("waits: there, {theirs}"),
                    }
                }
                _ => {}
            }
        }
        Ok(Err(why))
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
