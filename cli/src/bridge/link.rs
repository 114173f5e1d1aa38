//! A link: what is carried from where to where, and what its thread has for that.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sysv_channel::{Name, Owner};
use tracing::{Span, error_span, info};
use zenoh::Session;
use zenoh::key_expr::OwnedKeyExpr;

use super::log::TARGET;
use crate::ending::Endings;

/// How long a link waits before it looks again for what nothing tells of: a channel that is not there yet.
pub(crate) const LOOK: Duration = Duration::from_millis(100);

/// What a link does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    Out,
    In,
    Serve,
    Call,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Kind::Out => "out",
            Kind::In => "in",
            Kind::Serve => "serve",
            Kind::Call => "call",
        })
    }
}

/// What was asked for.
#[derive(Debug, Clone)]
pub(crate) struct LinkOptions {
    pub(crate) kind: Kind,
    /// The local channel or server.
    pub(crate) name: Name,
    pub(crate) key: OwnedKeyExpr,
    pub(crate) owner: Owner,
    /// An `in` makes its channel if it is not there.
    pub(crate) create: bool,
}

impl LinkOptions {
    /// What a subscriber of `tracing` sees all that happens to this link in.
    pub(crate) fn span(&self) -> Span {
        let (kind, name, key) = (self.kind, &self.name, &self.key);
        // Of the level of the gravest event, so that each event is seen in it.
        error_span!(target: TARGET, "bridge", %kind, %name, %key)
    }

    /// The local name without its quotes, for others to quote.
    pub(crate) fn name_text(&self) -> String {
        match &self.name {
            Name::Text(text) => text.clone(),
            name => name.to_string(),
        }
    }
}

/// What a link's thread works with.
pub(crate) struct Link {
    pub(crate) options: LinkOptions,
    pub(crate) session: Session,
    /// The longest message that the session takes from others, in bytes.
    pub(crate) longest: u64,
    pub(crate) endings: Endings,
    pub(crate) figures: Arc<Figures>,
}

/// What is seen of a link from outside.
#[derive(Debug)]
pub(crate) struct Figures {
    /// The link's thread works in it. What other threads tell of the link names it.
    pub(crate) span: Span,
    /// Values or calls that went through.
    pub(crate) values: AtomicU64,
    pub(crate) bytes: AtomicU64,
    /// Of these so many are under way, or in the hands of this bridge.
    pub(crate) in_flight: AtomicU64,
    /// How often the two ends found each other.
    pub(crate) meetings: AtomicU64,
    /// There and back, in microseconds; 0 if it was not measured yet.
    pub(crate) round_trip: AtomicU64,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    text: String,
    /// It was said on standard error.
    told: bool,
}

impl Figures {
    pub(crate) fn new(span: Span) -> Self {
        let word = || AtomicU64::new(0);
        Figures {
            span,
            values: word(),
            bytes: word(),
            in_flight: word(),
            meetings: word(),
            round_trip: word(),
            state: Mutex::new(State { text: "starts".to_owned(), told: false }),
        }
    }

    pub(crate) fn count(&self, values: u64, bytes: u64) {
        self.values.fetch_add(values, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// What the link does or waits for.
    pub(crate) fn state(&self) -> String {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).text.clone()
    }

    /// The link cannot go on.
    pub(crate) fn ended(&self, why: &str) {
        self.change(&format!("ended: {why}"), true);
    }

    /// Says that the link is held up by what holds up a sender, too, which is no fault: to those alone that look. What was
    /// said aloud stays.
    pub(crate) fn is_held_up(&self, text: &str) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.told || state.text == text {
            return;
        }
        text.clone_into(&mut state.text);
        drop(state);
        info!(target: TARGET, parent: &self.span, state = text, "is held up");
    }

    /// Says what the link does, if it is something else than before; then, whether that was said aloud.
    pub(crate) fn goes_on(&self, text: &str) -> Option<bool> {
        let was_told = self.change(text, false)?;
        info!(target: TARGET, parent: &self.span, state = text, "goes on");
        Some(was_told)
    }

    /// What the link was said to do before, if it is something else now; with whether that was told.
    fn change(&self, text: &str, tell: bool) -> Option<bool> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let was_told = state.told;
        if state.text == text {
            return None;
        }
        *state = State { text: text.to_owned(), told: tell };
        Some(was_told)
    }
}

impl Link {
    /// A key below the link's own, of words that are none of the user's.
    pub(crate) fn key(&self, below: impl fmt::Display) -> String {
        format!("{}/{below}", self.options.key)
    }

    /// The number by which the receiving channel remembers this link.
    pub(crate) fn number(&self) -> u64 {
        // FNV-1a: the same in every program and at all times.
        self.options.key.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        })
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.endings.ended().is_some()
    }

    /// Says what the link waits for, once.
    pub(crate) fn waits(&self, text: &str) {
        if self.figures.change(text, true).is_some() {
            info!(target: TARGET, parent: &self.figures.span, state = text, "waits");
            self.tell(text);
        }
    }

    /// Says that the link does what it is there for; aloud only where it was said before that it waits.
    pub(crate) fn goes_on(&self, text: &str) {
        if self.figures.goes_on(text) == Some(true) {
            self.tell(text);
        }
    }

    pub(crate) fn tell(&self, text: &str) {
        crate::note(&format!("{self}: {text}"));
    }
}

impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "bridge {} {} at {}", self.options.kind, self.options.name, self.options.key)
    }
}

/// A number that no other bridge has drawn, and not 0.
pub(crate) fn drawn() -> std::io::Result<u64> {
    use std::io::Read;
    let mut bytes = [0; 8];
    std::fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(u64::from_le_bytes(bytes) | 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_is_true_from_the_start_and_what_was_said_aloud_stays() {
        let figures = Figures::new(Span::none());
        assert_eq!(figures.state(), "starts");
        figures.is_held_up("no room");
        assert_eq!(figures.state(), "no room");
        assert_eq!(figures.change("waits", true), Some(false));
        figures.is_held_up("no room");
        assert_eq!(figures.state(), "waits");
        assert_eq!(figures.goes_on("carries"), Some(true));
        assert_eq!(figures.goes_on("carries"), None);
    }
}
