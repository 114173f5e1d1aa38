//! Values that have arrived and were not put yet, and how far that is.

use std::collections::VecDeque;
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sysv_channel::SendError;
use sysv_channel::bridge::{Inlet, WINDOW};
use tracing::{debug, warn};
use zenoh::bytes::ZBytes;
use zenoh::qos::{CongestionControl, Priority};
use zenoh::{Session, Wait};

use super::super::link::{Figures, Link};
use super::super::log::TARGET;
use super::super::outgoing::BYTES;
use super::super::wire::{self, DownWhat, Up, UpWhat, Values};

/// Values of so many bytes are put by the session's thread itself, if they find room and the link's thread has nothing in
/// hand: that saves waking one.
const SMALL: usize = 4096;

/// What the link does, as it is told, while nothing is put that has arrived.
const NO_ROOM: &str = "waits for room in the channel";

/// What a session's threads leave to the link's. It answers pings, and keeps no more than an `out` may send.
pub(super) struct Arrivals {
    zenoh: Session,
    figures: Arc<Figures>,
    /// Where what is for an `out` goes, but for its number.
    acks: String,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// What arrives belongs to this; 0 if nothing is to arrive.
    session: u64,
    /// The bridge that sends it.
    from: u64,
    /// The number of the last value that arrived, and of the last that was put.
    received: u64,
    put: u64,
    waiting: VecDeque<Arrived>,
    /// Bytes that arrived and were not put.
    bytes: usize,
    /// The length of the message that is being put.
    in_hand: usize,
    /// Where small values are put at once.
    inlet: Option<Arc<Mutex<Inlet>>>,
    memory: Vec<u8>,
    /// The `out` waits until all that was put is acknowledged.
    waits: bool,
    /// The session that is over, of which the `out` has not said that it heard so.
    unheard: u64,
    /// The link's thread knows that something is to be acknowledged.
    told: bool,
    /// The number of the value that was to be put when the last ping came.
    pinged: Option<u64>,
}

/// A message with values.
#[derive(Clone)]
pub(super) struct Arrived {
    pub(super) session: u64,
    /// The number of the first value, and how many there are.
    pub(super) first: u64,
    pub(super) count: u32,
    /// Its `out` waits until they are acknowledged.
    pub(super) waits: bool,
    pub(super) payload: ZBytes,
    /// Where in the message the values begin.
    pub(super) begin: usize,
    /// So many of the values were put already.
    pub(super) skip: u32,
}

impl Arrivals {
    pub(super) fn new(link: &Link) -> Self {
        let (zenoh, acks) = (link.session.clone(), link.key("acks"));
        Arrivals { zenoh, figures: link.figures.clone(), acks, state: Mutex::default() }
    }

    /// Takes a message from an `out`, on a thread of the session; whether the link's thread has something to do.
    pub(super) fn take(&self, payload: &ZBytes) -> bool {
        let Ok((down, begin)) = wire::decode_down(payload) else { return false };
        let mut state = self.state();
        if down.session == state.unheard && matches!(down.what, DownWhat::Ping { .. }) {
            state.unheard = 0;
            return true;
        }
        if down.session != state.session || down.session == 0 {
            drop(state);
            self.answer(down.from, Up { session: down.session, what: UpWhat::Again });
            return false;
        }
        match down.what {
            DownWhat::Values { first, count, waits }
                if state.takes(first, count, payload.len()) =>
            {
                let bytes = payload.len() - begin;
                debug!(target: TARGET, parent: &self.figures.span, first, count, bytes, "arrived");
                state.received += u64::from(count);
                let (session, payload) = (down.session, payload.clone());
                let mut arrived = Arrived { session, first, count, waits, payload, begin, skip: 0 };
                if arrived.payload.len() <= SMALL {
                    arrived.skip = state.put_at_once(&arrived, &self.figures);
                }
                if arrived.skip == count {
                    state.waits |= waits;
                    return waits || !mem::replace(&mut state.told, true);
                }
                state.bytes += arrived.payload.len();
                state.waiting.push_back(arrived);
                true
            }
            DownWhat::Ping { sent, stamp } if sent == state.received => {
                let (received, put) = (state.received, state.put);
                if state.is_held_up() {
                    self.figures.is_held_up(NO_ROOM);
                }
                drop(state);
                let what = UpWhat::Pong { received, put, stamp };
                self.answer(down.from, Up { session: down.session, what });
                false
            }
            // Something is missing, or more came than there is memory for.
            DownWhat::Values { .. } | DownWhat::Ping { .. } => {
                let received = state.received;
                state.end();
                drop(state);
                let why = "something is missing, or more came than there is memory for";
                warn!(target: TARGET, parent: &self.figures.span, received, why, "lost");
                self.answer(down.from, Up { session: down.session, what: UpWhat::Again });
                false
            }
        }
    }

    /// What arrives belongs to this session from here on.
    pub(super) fn begin(&self, session: u64, from: u64, inlet: &Arc<Mutex<Inlet>>) {
        let inlet = Some(inlet.clone());
        *self.state() = State { session, from, inlet, ..State::default() };
    }

    /// Nothing is to arrive, and nothing is to be put. The `out` is told what was, before another `in` gets the rest.
    pub(super) fn finish(&self) {
        let mut state = self.state();
        let last = mem::take(&mut *state);
        (state.from, state.unheard) = (last.from, last.session);
        drop(state);
        if last.session != 0 {
            let what = UpWhat::Bye { up_to: last.put };
            self.say(&Up { session: last.session, what });
        }
    }

    /// Whether the `out` has not said yet that it heard of the end.
    pub(super) fn is_unheard(&self) -> bool {
        self.state().unheard != 0
    }

    /// The bridge whose values are taken; 0 if there is none.
    pub(super) fn from(&self) -> u64 {
        self.state().from
    }

    /// The next message. What it took is free again when the one after it is asked for.
    pub(super) fn next(&self) -> Option<Arrived> {
        let mut state = self.state();
        state.bytes -= mem::take(&mut state.in_hand);
        let next = state.waiting.pop_front()?;
        state.in_hand = next.payload.len();
        Some(next)
    }

    /// This value of the message was put.
    pub(super) fn put(&self, arrived: &Arrived, number: u64) {
        let mut state = self.state();
        if state.session == arrived.session {
            state.put = number;
        }
    }

    pub(super) fn is_current(&self, arrived: &Arrived) -> bool {
        self.state().session == arrived.session
    }

    /// Something of this message cannot be put: what follows is not to be put either.
    pub(super) fn misses(&self, arrived: &Arrived) {
        let mut state = self.state();
        if state.session == arrived.session {
            state.end();
        }
    }

    /// The session, the number of the last value that was put, and how many others have arrived: to be acknowledged.
    pub(super) fn position(&self) -> (u64, u64, u64) {
        let mut state = self.state();
        (state.told, state.waits) = (false, false);
        (state.session, state.put, state.received - state.put)
    }

    /// Whether the `out` waits until what was put at once is acknowledged.
    pub(super) fn waits(&self) -> bool {
        self.state().waits
    }

    /// Says something to the `out` whose values are taken.
    pub(super) fn say(&self, up: &Up) {
        let to = self.state().from;
        let put = self.zenoh.put(self.to(to), wire::encode(up)).express(true);
        let put = put.congestion_control(CongestionControl::Block).priority(Priority::DataHigh);
        // What is lost is made up for by the answer to the next ping.
        let _ = put.wait();
    }

    /// Answers on a thread of the session, which is not to wait: what finds no room is lost, and asked for again.
    fn answer(&self, to: u64, up: Up) {
        let put = self.zenoh.put(self.to(to), wire::encode(&up)).express(true);
        let put = put.congestion_control(CongestionControl::Drop).priority(Priority::DataHigh);
        let _ = put.wait();
    }

    fn to(&self, out: u64) -> String {
        format!("{}/{out:016x}", self.acks)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Whether so many values are the next ones, and not more than an `out` has under way.
    fn takes(&self, first: u64, count: u32, len: usize) -> bool {
        let under_way = (self.received - self.put).saturating_add(count.into());
        // The last message may begin before all of it is under way, and an entry stands before each value.
        let is_bounded = self.bytes == 0 || self.bytes + len <= 2 * BYTES;
        first == self.received + 1 && count > 0 && under_way <= WINDOW as u64 && is_bounded
    }

    /// Whether no value was put since the ping before this one, although some were there.
    fn is_held_up(&mut self) -> bool {
        let oldest = (self.put < self.received).then_some(self.put + 1);
        oldest.is_some() && mem::replace(&mut self.pinged, oldest) == oldest
    }

    /// Puts what finds room now, if all before it was put, and says how many values that were.
    fn put_at_once(&mut self, arrived: &Arrived, figures: &Figures) -> u32 {
        let inlet = self.inlet.as_ref().map(|inlet| inlet.try_lock());
        let (true, 0, Some(Ok(inlet))) = (self.waiting.is_empty(), self.in_hand, inlet) else {
            return 0;
        };
        let Ok(mut values) = Values::of(&arrived.payload, arrived.begin) else { return 0 };
        for done in 0..arrived.count {
            let Ok((id, tag, len)) = values.next(&mut self.memory) else { return done };
            let put = inlet.put(id, tag, &self.memory[..len], Duration::ZERO);
            let (Ok(()) | Err(SendError::NotWoken { .. })) = put else { return done };
            self.put += 1;
            figures.count(1, len as u64);
        }
        arrived.count
    }

    /// The session is over, and what was not put is dropped. Its `out` stays known.
    fn end(&mut self) {
        *self = State {
            from: self.from,
            in_hand: self.in_hand,
            bytes: self.in_hand,
            ..State::default()
        };
    }
}
