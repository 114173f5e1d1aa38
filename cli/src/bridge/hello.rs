//! How the end of a link that sends finds the one that takes: it says hello until it is welcomed.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Serialize;
use serde::de::DeserializeOwned;
use zenoh::Wait;
use zenoh::query::{ConsolidationMode, QueryTarget, Reply};

use super::events::Events;
use super::link::{Link, drawn};
use super::session::refused;
use super::wire::{self, WireError};
use crate::failure::Failure;

/// How long an answer to a hello is waited for.
const ANSWER: Duration = Duration::from_secs(3);

/// Pauses between hellos that are not welcomed, at first and later. A far end that comes to be there is noticed at once
/// in any case.
const SOON: Duration = Duration::from_millis(100);
const LATER: Duration = Duration::from_secs(1);

/// From then on it is said what the link waits for.
const PATIENCE: Duration = Duration::from_secs(1);

/// What came back for the hello of a session.
pub(super) struct Answered<A> {
    pub(super) session: u64,
    pub(super) with: With<A>,
}

pub(super) enum With<A> {
    Answer(A),
    /// Something that is no message for this program.
    Unreadable(WireError),
    /// There are no more answers.
    Nothing,
}

/// What an end hears: answers to its hellos, and what only its kind of link hears.
pub(super) enum Event<A, H> {
    /// The link is to end.
    End,
    Answered(Answered<A>),
    Heard(H),
}

/// What an answer says.
pub(super) enum Verdict<W> {
    Welcome(W),
    /// Not yet, and why.
    NotYet(String),
}

/// Says hello.
pub(super) struct Greeter<'l, A, H> {
    pub(super) link: &'l Link,
    pub(super) events: &'l Arc<Events<Event<A, H>>>,
    /// Where hellos go, below the link's key.
    pub(super) below: &'static str,
    /// The subcommand at the far end.
    pub(super) far: &'static str,
}

impl<A: DeserializeOwned + Send + 'static, H: Send + 'static> Greeter<'_, A, H> {
    /// Says hello, with the message for a session, until an answer is judged to be a welcome; `None` if the link ends
    /// before.
    pub(super) fn until_welcome<M: Serialize, W>(
        &self,
        hello: impl Fn(u64) -> M,
        judge: impl Fn(u64, A) -> Result<Verdict<W>, Failure>,
    ) -> Result<Option<W>, Failure> {
        let began = Instant::now();
        while !self.link.has_ended() {
            let session = drawn()?;
            self.greet(session, wire::encode(&hello(session)))?;
            let why = match self.answer(session, |answer| judge(session, answer))? {
                Verdict::Welcome(welcome) => return Ok(Some(welcome)),
                Verdict::NotYet(why) => why,
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

    fn greet(&self, session: u64, hello: Vec<u8>) -> Result<(), Failure> {
        let answers = Answers { session, events: self.events.clone() };
        self.link
            .session
            .get(self.link.key(self.below))
            .payload(hello)
            .target(QueryTarget::All)
            .consolidation(ConsolidationMode::None)
            .timeout(ANSWER)
            .callback(move |reply| answers.hear(&reply))
            .wait()
            .map_err(refused)
    }

    /// The verdict on the answers to this hello: the first welcome, or the last reason why there is none yet.
    fn answer<W>(
        &self,
        session: u64,
        judge: impl Fn(A) -> Result<Verdict<W>, Failure>,
    ) -> Result<Verdict<W>, Failure> {
        let mut why = format!("waits for `bridge {}`, which is not there", self.far);
        while let Some(event) = self.events.wait(ANSWER * 2) {
            let answered = match event {
                Event::End => break,
                Event::Answered(answered) if answered.session == session => answered.with,
                Event::Answered(_) | Event::Heard(_) => continue,
            };
            match answered {
                With::Nothing => break,
                With::Unreadable(error) => why = format!("waits: {error}"),
                With::Answer(answer) => match judge(answer)? {
                    Verdict::NotYet(theirs) => why = format!("waits: {theirs}"),
                    welcome => return Ok(welcome),
                },
            }
        }
        Ok(Verdict::NotYet(why))
    }
}

/// Hears the answers to one hello; dropped when there are no more.
struct Answers<A, H> {
    session: u64,
    events: Arc<Events<Event<A, H>>>,
}

impl<A, H> Answers<A, H> {
    fn hear(&self, reply: &Reply)
    where
        A: DeserializeOwned,
    {
        if let Ok(sample) = reply.result() {
            self.tell(match wire::decode(sample.payload()) {
                Ok(answer) => With::Answer(answer),
                Err(error) => With::Unreadable(error),
            });
        }
    }

    fn tell(&self, with: With<A>) {
        self.events.push_urgent(Event::Answered(Answered { session: self.session, with }));
    }
}

impl<A, H> Drop for Answers<A, H> {
    fn drop(&mut self) {
        self.tell(With::Nothing);
    }
}
