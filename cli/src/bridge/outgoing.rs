//! `bridge out`: values of a local channel, to the `in` with the same key.
//!
//! A value stays in the channel until the far side says that it has put it. So nothing is kept here: whatever happens to
//! either side or to what lies between, this one says hello again, hears which values are known, and sends the others.

mod flight;
mod meeting;

use std::collections::HashSet;
use std::mem;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use sysv_channel::RecvError;
use sysv_channel::bridge::{Outlet, ValueId};
use tracing::{debug, info, warn};
use zenoh::Wait;
use zenoh::pubsub::Publisher;
use zenoh::qos::{CongestionControl, Priority};

use super::events::Events;
use super::hello::{Answered, With};
use super::link::{LOOK, Link, drawn};
use super::local::{self, Local};
use super::log::TARGET;
use super::session::refused;
use super::wire::{self, Batch, Down, DownWhat, UpWhat};
use crate::failure::Failure;
pub(super) use flight::BYTES;
use flight::Flight;
use meeting::{Event, Heard, Meeting};

/// How often the far side is asked how far it is.
const PING: Duration = Duration::from_secs(2);

/// Without an answer for so long the far side is looked for anew.
const SILENCE: Duration = Duration::from_secs(10);

/// How long the end waits until what is under way has arrived.
const DRAIN: Duration = Duration::from_secs(2);

/// A message is sent when it has so many bytes, or nothing more is there.
const BATCH: usize = 256 << 10;

/// What the link does, as it is told.
const CARRIES: &str = "carries values";
const NO_ROOM: &str = "waits: the far side has no room, or no receiver";

/// Why the carrying stopped.
enum Stopped {
    /// The link is to end.
    Ended,
    /// The local channel was removed.
    Removed,
    /// The far side has gone, or missed something.
    Lost(&'static str),
}

pub(crate) fn run(link: &Link) -> Result<(), Failure> {
    let events = Arc::new(Events::default());
    let hook = events.clone();
    link.endings.on_end(move || hook.push_urgent(Event::End));
    let from = drawn()?;
    let meeting = Meeting::begin(link, &events, from)?;
    while !link.has_ended() {
        let Some(local) = local::outlet(link)? else {
            link.waits("waits for the channel to be there");
            events.wait(LOOK);
            continue;
        };
        let mut out = Out { link, events: &events, from, meeting: &meeting, local };
        match out.carry()? {
            Stopped::Ended => break,
            Stopped::Removed | Stopped::Lost(_) => {}
        }
    }
    Ok(())
}

struct Out<'a> {
    link: &'a Link,
    events: &'a Events<Event>,
    /// This bridge, as its messages name it.
    from: u64,
    meeting: &'a Meeting<'a>,
    local: Local<Outlet>,
}

/// The way to the far side, from one hello to the next.
struct Way<'s> {
    session: u64,
    instance: u64,
    longest: u64,
    publisher: Publisher<'s>,
    /// Of values that the far side has put already.
    known: HashSet<ValueId>,
    flight: Flight,
    /// With a value that is longer than all that may be under way: it goes alone.
    long: Batch,
    /// All places for values in hand are taken, until one is settled.
    is_full: bool,
    /// The far side was seen not to go on.
    is_held_up: bool,
    /// The oldest value that was under way at each of the last two pings.
    oldest: [Option<u64>; 2],
    pinged: Instant,
    heard: Instant,
    began: Instant,
}

/// What became of a value that was given out.
enum Taken {
    Sends,
    Known(ValueId),
    TooLong(usize),
    NoMemory(String),
}

impl Out<'_> {
    /// Carries values until the link ends or the channel is gone.
    fn carry(&mut self) -> Result<Stopped, Failure> {
        loop {
            let Some(welcome) = self.meeting.welcome(&self.local.codec)? else {
                return Ok(Stopped::Ended);
            };
            match self.outlet().rewind() {
                Err(RecvError::Removed { .. }) => return Ok(Stopped::Removed),
                rewound => rewound?,
            }
            let to = self.link.key(format_args!("values/{:016x}", welcome.instance));
            let publisher = self.link.session.declare_publisher(to);
            let publisher = publisher
                .congestion_control(CongestionControl::Block)
                .priority(Priority::Data)
                .express(true);
            let publisher = publisher.wait().map_err(refused)?;
            let (session, known) = (welcome.session, welcome.known.len());
            info!(target: TARGET, session = format_args!("{session:016x}"), known, "meets");
            let now = Instant::now();
            let mut way = Way {
                session: welcome.session,
                instance: welcome.instance,
                longest: welcome.longest,
                publisher,
                known: welcome.known.into_iter().map(ValueId::from_bytes).collect(),
                flight: Flight::default(),
                long: Batch::default(),
                is_full: false,
                is_held_up: false,
                oldest: [None; 2],
                pinged: now,
                heard: now,
                began: now,
            };
            self.link.figures.meetings.fetch_add(1, Ordering::Relaxed);
            self.link.goes_on(CARRIES);
            self.ping(&mut way);
            let stopped = self.pump(&mut way);
            self.link.figures.in_flight.store(0, Ordering::Relaxed);
            match stopped? {
                Stopped::Lost(why) => warn!(target: TARGET, why, "lost"),
                stopped => return Ok(stopped),
            }
        }
    }

    fn outlet(&self) -> &Outlet {
        &self.local.end
    }

    /// Sends what comes, and settles what has arrived.
    fn pump(&self, way: &mut Way<'_>) -> Result<Stopped, Failure> {
        loop {
            while let Some(event) = self.events.pop() {
                if let Some(stopped) = self.handle(way, event)? {
                    return self.stop(way, stopped);
                }
            }
            let now = Instant::now();
            if now.duration_since(way.heard) > SILENCE {
                return Ok(Stopped::Lost("`bridge in` has said nothing for too long"));
            }
            if now.duration_since(way.pinged) >= PING {
                if way.heard < way.pinged {
                    self.is_held_up(way, "waits: `bridge in` does not answer");
                }
                self.ping(way);
            }
            let tick = (way.pinged + PING).saturating_duration_since(now);
            let holds = way.long.count() > 0;
            if holds && !way.flight.is_under_way() {
                let long = mem::take(&mut way.long);
                self.send(way, long);
                continue;
            }
            if holds || way.is_full || !way.flight.has_room(0) {
                way.is_full = false;
                if let Some(event) = self.events.wait(tick)
                    && let Some(stopped) = self.handle(way, event)?
                {
                    return self.stop(way, stopped);
                }
                continue;
            }
            let mut batch = Batch::default();
            // The first one is waited for; an event ends that.
            let closer = self.outlet().closer();
            let waited = self.events.during(&closer, || self.next(way, &mut batch, tick));
            let mut found = waited.unwrap_or(Ok(false));
            while let Ok(true) = found
                && batch.bytes() < BATCH
                && way.flight.has_room(batch.bytes())
            {
                found = self.next(way, &mut batch, Duration::ZERO);
            }
            if batch.bytes() > BYTES && way.flight.is_under_way() {
                way.long = batch;
            } else if batch.count() > 0 {
                self.send(way, batch);
            }
            match found {
                Ok(_) => {}
                Err(Next::Removed) => return Ok(self.removed()),
                Err(Next::Failed(failure)) => return Err(failure),
            }
        }
    }

    /// Takes the next value into the batch; whether there was one.
    fn next(&self, way: &mut Way<'_>, batch: &mut Batch, timeout: Duration) -> Result<bool, Next> {
        let (known, longest) = (&mut way.known, way.longest);
        let flight = &mut way.flight;
        let taken = self.outlet().next(timeout, |id, tag, bytes| {
            let len = bytes.remaining();
            if !known.is_empty() && known.remove(&id) {
                return Taken::Known(id);
            }
            if len as u64 > longest {
                return Taken::TooLong(len);
            }
            match batch.push(id, tag, bytes) {
                Ok(()) => {
                    flight.take(id, len);
                    Taken::Sends
                }
                Err(error) => Taken::NoMemory(error.to_string()),
            }
        });
        let name = &self.link.options.name;
        match taken {
            Ok(Taken::Sends) => Ok(true),
            // It arrived before the two met.
            Ok(Taken::Known(id)) => match self.outlet().settle(id) {
                Ok(_) => Ok(true),
                Err(error) => Err(error.into()),
            },
            Ok(Taken::TooLong(len)) => Err(Next::Failed(Failure::failed(format!(
                "{name} has a value of {len} bytes, and the far side takes {longest}: have zenoh's \
                 transport/link/rx/max_message_size raised there; the value stays here"
            )))),
            Ok(Taken::NoMemory(error)) => Err(Next::Failed(Failure::failed(format!(
                "a value of {name} could not be taken: {error}; it stays there"
            )))),
            Err(RecvError::HeldTooMany { .. }) => {
                way.is_full = true;
                Ok(false)
            }
            // Closed: an event came. NotWoken: a sender finds the room by itself when it looks.
            Err(
                RecvError::Timeout { .. }
                | RecvError::Empty { .. }
                | RecvError::Closed { .. }
                | RecvError::NotWoken { .. },
            ) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    fn send(&self, way: &mut Way<'_>, batch: Batch) {
        let (first, count) = (way.flight.sends(&batch), u64::from(batch.count()));
        let waits = way.is_full || !way.flight.has_room(0);
        let bytes = batch.bytes();
        debug!(target: TARGET, first, count, bytes, "sends");
        let message = batch.message(way.session, self.from, first, waits);
        self.link.figures.in_flight.fetch_add(count, Ordering::Relaxed);
        // What does not arrive is missed by the far side, or its answer by this one.
        let _ = way.publisher.put(message).wait();
    }

    fn ping(&self, way: &mut Way<'_>) {
        way.pinged = Instant::now();
        way.oldest = [way.oldest[1], way.flight.oldest()];
        let stamp = way.began.elapsed().as_micros() as u64;
        let what = DownWhat::Ping { sent: way.flight.sent(), stamp };
        let message = wire::encode(&Down { session: way.session, from: self.from, what });
        let _ = way.publisher.put(message).wait();
    }

    /// Follows what was heard, and says whether the carrying stops.
    fn handle(&self, way: &mut Way<'_>, event: Event) -> Result<Option<Stopped>, Failure> {
        match event {
            Event::End => return Ok(Some(Stopped::Ended)),
            Event::Heard(Heard::Gone(instance)) if instance == way.instance => {
                return Ok(Some(Stopped::Lost("`bridge in` has gone, or cannot be reached")));
            }
            Event::Heard(Heard::Up(up)) if up.session == way.session => {
                way.heard = Instant::now();
                match up.what {
                    UpWhat::Put { up_to } => return self.settle(way, up_to),
                    UpWhat::Bye { up_to } => {
                        let settled = self.settle(way, up_to);
                        self.ping(way);
                        return settled;
                    }
                    UpWhat::Pong { received, put, stamp } => {
                        let now = way.began.elapsed().as_micros() as u64;
                        let round_trip = now.saturating_sub(stamp).max(1);
                        self.link.figures.round_trip.store(round_trip, Ordering::Relaxed);
                        let settled = self.settle(way, put)?;
                        // What was under way at the ping before is in its hands still.
                        match way.oldest[0] {
                            Some(oldest) if put < oldest && oldest <= received => {
                                self.is_held_up(way, NO_ROOM);
                            }
                            _ => self.goes_on(way),
                        }
                        return Ok(settled);
                    }
                    UpWhat::Again => {
                        let why = "`bridge in` has missed something, or was started anew";
                        return Ok(Some(Stopped::Lost(why)));
                    }
                    UpWhat::Refused { number, channel, why } => {
                        warn!(target: TARGET, number, why, "a value is refused");
                        self.settle(way, number.saturating_sub(1))?;
                        return Err(Failure::failed(format!(
                            "{channel:?} there does not take a value of {} here: {why}; the value stays here",
                            self.link.options.name
                        )));
                    }
                }
            }
            Event::Answered(Answered { session, with: With::Answer(answer) })
                if session == way.session =>
            {
                self.meeting.hear_another(way.instance, &answer);
            }
            Event::Heard(_) | Event::Answered(_) => {}
        }
        Ok(None)
    }

    /// Counts all up to this number as received.
    fn settle(&self, way: &mut Way<'_>, up_to: u64) -> Result<Option<Stopped>, Failure> {
        let (mut values, mut bytes) = (0, 0);
        let mut settled = Ok(true);
        while let Some((id, len)) = way.flight.arrived(up_to) {
            settled = self.outlet().settle(id);
            if settled.is_err() {
                break;
            }
            values += 1;
            bytes += len as u64;
        }
        way.is_full &= values == 0;
        if values > 0 {
            debug!(target: TARGET, up_to, values, bytes, "acknowledged");
            self.goes_on(way);
        }
        self.link.figures.count(values, bytes);
        self.link.figures.in_flight.fetch_sub(values, Ordering::Relaxed);
        match settled {
            Ok(_) => Ok(None),
            Err(RecvError::Removed { .. }) => Ok(Some(self.removed())),
            Err(error) => Err(error.into()),
        }
    }

    fn is_held_up(&self, way: &mut Way<'_>, why: &str) {
        way.is_held_up = true;
        self.link.figures.is_held_up(why);
    }

    /// The far side goes on, if it had not.
    fn goes_on(&self, way: &mut Way<'_>) {
        if mem::take(&mut way.is_held_up) {
            self.link.goes_on(CARRIES);
        }
    }

    fn removed(&self) -> Stopped {
        self.link.waits("the channel was removed; waits for it to be made anew");
        Stopped::Removed
    }

    /// Stops; at the end only when what is under way has arrived, so that another receiver does not get it too.
    fn stop(&self, way: &mut Way<'_>, stopped: Stopped) -> Result<Stopped, Failure> {
        if !matches!(stopped, Stopped::Ended) {
            return Ok(stopped);
        }
        let until = Instant::now() + DRAIN;
        while way.flight.is_under_way() {
            let left = until.saturating_duration_since(Instant::now());
            let Some(event) = self.events.wait(left) else { break };
            match self.handle(way, event)? {
                None | Some(Stopped::Ended) => {}
                Some(_) => break,
            }
        }
        Ok(Stopped::Ended)
    }
}

/// Why no value was taken.
enum Next {
    Removed,
    Failed(Failure),
}

impl From<RecvError> for Next {
    fn from(error: RecvError) -> Self {
        match error {
            RecvError::Removed { .. } => Next::Removed,
            error => Next::Failed(error.into()),
        }
    }
}
