//! `bridge in`: values from the `out` with the same key, into a local channel.
//!
//! The session's threads leave what comes to the link's thread, which answers hellos and puts values. Small values the
//! session's threads put themselves, as long as those find room and belong to the session that is welcome: so what is
//! known when a hello is answered is known for good. A question how far it is is answered at once.

mod arrivals;

use std::collections::HashSet;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use sysv_channel::bridge::{Inlet, ValueId};
use sysv_channel::dynamic::{DynamicChannel, DynamicCodec};
use sysv_channel::{Closer, SendError, Tag};
use tracing::{debug, info, warn};
use zenoh::Wait;
use zenoh::liveliness::LivelinessToken;
use zenoh::query::Query;
use zenoh::sample::{Sample, SampleKind};

use super::events::Events;
use super::link::{LOOK, Link, drawn};
use super::local::{self, Local};
use super::log::TARGET;
use super::session::refused;
use super::wire::{self, Answer, Hello, Up, UpWhat, Values};
use crate::failure::Failure;
use arrivals::{Arrivals, Arrived};

/// A wait ends after so long, and begins again.
const LONG: Duration = Duration::from_secs(3600);

/// While values come, it is acknowledged so often what was put, and whenever that is so many bytes: until then the values
/// take room in the channel over there, whose sender waits for it. With 64 KiB each, 1.3 times as many went by for that,
/// and twice as many of a channel with a queue; smaller portions cost more than they bring.
const ACKNOWLEDGE: Duration = Duration::from_millis(5);
const PORTION: usize = 1 << 20;

/// When no more come, it is acknowledged so much later: a reply that goes back meanwhile is not held up by that.
const LAZY: Duration = Duration::from_millis(1);

/// How long the end waits until the `out` has heard of it.
const FAREWELL: Duration = Duration::from_secs(1);

/// What a message may be longer than its values.
const OVERHEAD: u64 = 1 << 16;

/// What the link does, as it is told; and while there is nothing to put. (That is no fault here, and its `out` says aloud
/// what it is.)
const PUTS: &str = "puts values";
const NO_OUT: &str = "waits for `bridge out`, which is not there";

/// What an `in` hears.
enum Event {
    End,
    Hello(Query),
    /// Values have arrived.
    Values,
}

/// Why the putting stopped.
enum Stopped {
    Ended,
    /// The local channel was removed.
    Removed,
}

pub(crate) fn run(link: &Link) -> Result<(), Failure> {
    let events = Arc::new(Events::default());
    let hook = events.clone();
    link.endings.on_end(move || hook.push_urgent(Event::End));
    let instance = drawn()?;
    let arrivals = Arc::new(Arrivals::new(link));
    let outs = Arc::default();
    let _listening = listen(link, &events, &arrivals, &outs, instance)?;
    let mut made = None;
    while !link.has_ended() {
        let found = local::inlet(link)?;
        // From here on the inlet uses it, too.
        drop(made.take());
        match found {
            Some(Local { end, codec }) => {
                let token = link.key(format_args!("alive/in/{instance:016x}"));
                let token =
                    link.session.liveliness().declare_token(token).wait().map_err(refused)?;
                link.goes_on(PUTS);
                if outs.all().is_empty() {
                    link.figures.is_held_up(NO_OUT);
                }
                let mut into = In {
                    link,
                    events: &events,
                    arrivals: &arrivals,
                    closer: end.closer(),
                    inlet: Arc::new(Mutex::new(end)),
                    codec: &codec,
                    outs: &outs,
                    instance,
                    memory: Vec::new(),
                    acknowledged: Acknowledged::default(),
                    _token: token,
                };
                let stopped = into.pump();
                arrivals.finish();
                match stopped? {
                    Stopped::Ended => {
                        let until = Instant::now() + FAREWELL;
                        while arrivals.is_unheard()
                            && outs.all().contains(&arrivals.from())
                            && let left = until.saturating_duration_since(Instant::now())
                            && !left.is_zero()
                        {
                            events.wait(left);
                        }
                        break;
                    }
                    Stopped::Removed => {
                        link.waits("the channel was removed; waits for it to be made anew");
                    }
                }
            }
            None => {
                link.waits("waits for the channel to be there");
                made = wait_for_channel(link, &events)?;
            }
        }
    }
    Ok(())
}

/// What listens for the far side.
fn listen(
    link: &Link,
    events: &Arc<Events<Event>>,
    arrivals: &Arc<Arrivals>,
    outs: &Arc<Outs>,
    instance: u64,
) -> Result<impl Sized, Failure> {
    let (told, arriving) = (events.clone(), arrivals.clone());
    let values = link
        .session
        .declare_subscriber(link.key(format_args!("values/{instance:016x}")))
        .callback(move |sample: Sample| {
            if arriving.take(sample.payload()) {
                told.push(Event::Values);
            }
        });
    let values = values.wait().map_err(refused)?;
    let (alive, figures) = (outs.clone(), link.figures.clone());
    let outs = link
        .session
        .liveliness()
        .declare_subscriber(link.key("alive/out/*"))
        .history(true)
        .callback(move |sample: Sample| {
            let from = sample.key_expr().rsplit('/').next();
            let from = from.and_then(|digits| u64::from_str_radix(digits, 16).ok());
            match (from, sample.kind()) {
                (Some(from), SampleKind::Put) => drop(alive.all().insert(from)),
                (Some(from), SampleKind::Delete) => {
                    let mut all = alive.all();
                    all.remove(&from);
                    if all.is_empty() {
                        figures.is_held_up(NO_OUT);
                    }
                }
                (None, _) => {}
            }
        });
    let outs = outs.wait().map_err(refused)?;
    let told = events.clone();
    let hellos = link
        .session
        .declare_queryable(link.key("hello"))
        .callback(move |query| told.push_urgent(Event::Hello(query)));
    let hellos = hellos.wait().map_err(refused)?;
    Ok((values, outs, hellos))
}

/// The `out` bridges with this key that are alive.
#[derive(Default)]
struct Outs(Mutex<HashSet<u64>>);

impl Outs {
    fn all(&self) -> MutexGuard<'_, HashSet<u64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Waits a little, and tells those that ask that there is no channel yet; or makes it, where it is to be made, as they
/// have it.
fn wait_for_channel(
    link: &Link,
    events: &Events<Event>,
) -> Result<Option<DynamicChannel>, Failure> {
    let until = Instant::now() + LOOK;
    while let left = until.saturating_duration_since(Instant::now())
        && !left.is_zero()
        && !link.has_ended()
    {
        let Some(Event::Hello(query)) = events.wait(left) else { continue };
        let mut made = None;
        if link.options.create
            && let Some(Ok(hello)) = query.payload().map(wire::decode::<Hello>)
            && let Ok(codec) = DynamicCodec::new(&hello.codec, &hello.shape)
        {
            made = Some(local::create(link, codec)?);
        }
        // One that was made is told of as any that comes to be there.
        let why = format!("there is no channel {} yet", link.options.name);
        reply(link, &query, &Answer::NotReady { why });
        if made.is_some() {
            return Ok(made);
        }
    }
    Ok(None)
}

fn reply(link: &Link, query: &Query, answer: &Answer) {
    // An `out` that hears nothing asks again.
    let _ = query.reply(link.key("hello"), wire::encode(answer)).wait();
}

struct In<'a> {
    link: &'a Link,
    events: &'a Events<Event>,
    arrivals: &'a Arrivals,
    /// The local channel's end, also for small values on the session's threads.
    inlet: Arc<Mutex<Inlet>>,
    closer: Closer,
    codec: &'a DynamicCodec,
    outs: &'a Outs,
    /// This bridge, as its messages name it.
    instance: u64,
    /// Of the value in hand.
    memory: Vec<u8>,
    acknowledged: Acknowledged,
    _token: LivelinessToken,
}

/// What the far side was told last.
struct Acknowledged {
    put: u64,
    at: Instant,
    /// Something was put since then.
    is_behind: bool,
    /// By the link's thread so many bytes.
    bytes: usize,
}

impl Default for Acknowledged {
    fn default() -> Self {
        Acknowledged { put: 0, at: Instant::now(), is_behind: false, bytes: 0 }
    }
}

impl Acknowledged {
    fn is_due(&self) -> bool {
        self.bytes >= PORTION || self.at.elapsed() >= ACKNOWLEDGE
    }
}

impl In<'_> {
    fn pump(&mut self) -> Result<Stopped, Failure> {
        loop {
            let patience = if self.acknowledged.is_behind { LAZY } else { LONG };
            match self.events.wait(patience) {
                Some(event) => {
                    if let Some(stopped) = self.handle(event) {
                        return Ok(stopped);
                    }
                }
                None => self.acknowledge(),
            }
            while let Some(arrived) = self.arrivals.next() {
                if let Some(stopped) = self.put_all(&arrived)? {
                    return Ok(stopped);
                }
                self.acknowledged.is_behind = true;
                if arrived.waits || self.acknowledged.is_due() {
                    self.acknowledge();
                }
            }
            if self.arrivals.waits() {
                self.acknowledge();
            }
        }
    }

    fn handle(&mut self, event: Event) -> Option<Stopped> {
        match event {
            Event::End => return Some(Stopped::Ended),
            Event::Hello(query) => self.answer(&query),
            Event::Values => self.acknowledged.is_behind = true,
        }
        None
    }

    /// Answers a hello. Where that is a welcome, what came before is dropped from here on.
    fn answer(&mut self, query: &Query) {
        let Some(Ok(hello)) = query.payload().map(wire::decode::<Hello>) else {
            // The version says why.
            return reply(self.link, query, &Answer::NotReady { why: "no hello came".to_owned() });
        };
        let current = self.arrivals.from();
        if current != 0 && current != hello.from && self.outs.all().contains(&current) {
            return reply(self.link, query, &Answer::Taken);
        }
        let theirs = DynamicCodec::new(&hello.codec, &hello.shape);
        let difference = match &theirs {
            Ok(theirs) => theirs.difference(self.codec),
            Err(error) => Some(error.to_string()),
        };
        if let Some(difference) = difference {
            let channel = self.link.options.name_text();
            // What is here for the one is there for the other.
            let seen_here = theirs.ok().and_then(|theirs| self.codec.difference(&theirs));
            let here = format!(
                "refused a `bridge out` whose channel does not carry the same: {}",
                seen_here.as_deref().unwrap_or(&difference)
            );
            self.link.waits(&here);
            return reply(self.link, query, &Answer::Refused { channel, difference });
        }
        self.arrivals.begin(hello.session, hello.from, &self.inlet);
        self.acknowledged = Acknowledged::default();
        self.link.figures.meetings.fetch_add(1, Ordering::Relaxed);
        let known: Vec<_> = inlet(&self.inlet).known().into_iter().map(ValueId::to_bytes).collect();
        let session = format_args!("{:016x}", hello.session);
        info!(target: TARGET, session, known = known.len(), "meets");
        let longest = self.link.longest.saturating_sub(OVERHEAD);
        let welcome = Answer::Welcome { instance: self.instance, longest, known };
        self.link.goes_on(PUTS);
        reply(self.link, query, &welcome);
    }

    /// Puts the values of a message, unless another session begins meanwhile.
    fn put_all(&mut self, arrived: &Arrived) -> Result<Option<Stopped>, Failure> {
        let Ok(mut values) = Values::of(&arrived.payload, arrived.begin) else {
            self.arrivals.misses(arrived);
            return Ok(None);
        };
        let mut memory = std::mem::take(&mut self.memory);
        let numbers = arrived.first..arrived.first + u64::from(arrived.count);
        for (at, number) in numbers.enumerate() {
            let Ok((id, tag, len)) = values.next(&mut memory) else {
                self.arrivals.misses(arrived);
                break;
            };
            if at < arrived.skip as usize {
                continue;
            }
            match self.put(arrived, number, id, tag, &memory[..len])? {
                Put::Done => {}
                Put::Dropped => break,
                Put::Stopped(stopped) => return Ok(Some(stopped)),
            }
            self.arrivals.put(arrived, number);
            // Not before, since a ping that comes in between says that it waits.
            self.link.goes_on(PUTS);
            self.link.figures.count(1, len as u64);
            self.acknowledged.bytes += len;
            if self.acknowledged.is_due() {
                self.acknowledge();
            }
        }
        self.memory = memory;
        Ok(None)
    }

    /// Puts a value, however long there is no room. Hellos are answered meanwhile.
    fn put(
        &mut self,
        arrived: &Arrived,
        number: u64,
        id: ValueId,
        tag: Tag,
        bytes: &[u8],
    ) -> Result<Put, Failure> {
        let (end, closer) = (self.inlet.clone(), self.closer.clone());
        loop {
            while let Some(event) = self.events.pop_urgent() {
                if let Some(stopped) = self.handle(event) {
                    return Ok(Put::Stopped(stopped));
                }
            }
            if !self.arrivals.is_current(arrived) {
                return Ok(Put::Dropped);
            }
            let put = self.events.during(&closer, || inlet(&end).put(id, tag, bytes, LONG));
            match put {
                // An event is there.
                None | Some(Err(SendError::Closed { .. })) => {}
                // The receiver finds it by itself when it looks.
                Some(Ok(()) | Err(SendError::NotWoken { .. })) => return Ok(Put::Done),
                Some(Err(SendError::Full { .. } | SendError::Timeout { .. })) => {}
                Some(Err(SendError::Disconnected { .. })) => {
                    self.acknowledge();
                    self.link.waits("waits for a receiver of the channel");
                    if let Some(event) = self.events.wait_urgent(LOOK)
                        && let Some(stopped) = self.handle(event)
                    {
                        return Ok(Put::Stopped(stopped));
                    }
                }
                Some(Err(SendError::Removed { .. })) => return Ok(Put::Stopped(Stopped::Removed)),
                Some(Err(
                    error @ (SendError::TooLong { .. } | SendError::QueueTooSmall { .. }),
                )) => {
                    self.acknowledge();
                    self.refuse(arrived, number, &error);
                    return Ok(Put::Dropped);
                }
                Some(Err(error)) => return Err(error.into()),
            }
        }
    }

    /// Tells the far side that the channel does not take this value.
    fn refuse(&self, arrived: &Arrived, number: u64, error: &SendError) {
        let why = Failure::failed(error).to_string();
        warn!(target: TARGET, number, why, "a value is refused");
        self.link.waits(&format!("refused a value: {why}"));
        self.arrivals.misses(arrived);
        let what = UpWhat::Refused { number, channel: self.link.options.name_text(), why };
        self.say(&Up { session: arrived.session, what });
    }

    /// Tells the far side what was put, if that is news.
    fn acknowledge(&mut self) {
        self.acknowledged.at = Instant::now();
        self.acknowledged.is_behind = false;
        self.acknowledged.bytes = 0;
        let (session, put, waiting) = self.arrivals.position();
        self.link.figures.in_flight.store(waiting, Ordering::Relaxed);
        if put > self.acknowledged.put && session != 0 {
            self.acknowledged.put = put;
            debug!(target: TARGET, up_to = put, "acknowledges");
            self.say(&Up { session, what: UpWhat::Put { up_to: put } });
        }
    }

    fn say(&self, up: &Up) {
        self.arrivals.say(up);
    }
}

fn inlet(inlet: &Mutex<Inlet>) -> MutexGuard<'_, Inlet> {
    inlet.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What became of a value.
enum Put {
    Done,
    /// It is of a session that is over.
    Dropped,
    Stopped(Stopped),
}
