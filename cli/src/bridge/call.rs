//! `bridge call`: a client of the local server, for the `serve` with the same key.
//!
//! Requests come on the session's thread, which never waits, and are made by workers: a call that waits holds up no other.
//! Each `serve` has a session; what is lost of one ends it, and its calls with it, and it begins anew.

mod clients;
mod desk;
mod job;
mod session;
mod workers;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use sysv_channel::dynamic::{DynamicChannel, DynamicError};
use sysv_channel::{ChannelKind, Handle, InspectError, Inspection, SystemErrorKind, inspect};
use zenoh::Wait;
use zenoh::query::Query;
use zenoh::sample::{Sample, SampleKind};

use super::calls_wire::{Answer, Hello, Served, longest};
use super::events::Events;
use super::link::{LOOK, Link, drawn};
use super::session::refused;
use super::wire;
use crate::failure::Failure;
use clients::Clients;
use desk::Desk;

/// How often it is looked whether the server is there. A call that finds it gone has that looked at at once.
const SERVER_LOOK: Duration = Duration::from_millis(200);

/// How long a start of a call waits at most for room in its client's ring where it could not be told to end.
const PATIENCE: Duration = Duration::from_secs(1);

/// What a `call` hears.
pub(super) enum Event {
    End,
    Hello(Query),
    /// The server may have gone.
    Look,
}

pub(crate) fn run(link: &Link) -> Result<(), Failure> {
    let events = Arc::new(Events::default());
    let hook = events.clone();
    link.endings.on_end(move || hook.push_urgent(Event::End));
    let instance = drawn()?;
    let desk = Arc::new(Desk::new(link, &events));
    let _listening = listen(link, &events, &desk, instance)?;
    while !link.has_ended() {
        match connect(link)? {
            Ok(server) => {
                let token = link.key(format_args!("calls/ready/{instance:016x}"));
                let token =
                    link.session.liveliness().declare_token(token).wait().map_err(refused)?;
                link.goes_on("carries calls");
                desk.opens(&server.clients);
                let why = carry(link, &events, &desk, &server, instance);
                drop(token);
                desk.goes_away(why);
                link.figures.in_flight.store(0, Ordering::Relaxed);
                if !link.has_ended() {
                    link.waits("the server has gone; waits for the next one");
                }
            }
            Err(why) => {
                link.waits(&why);
                wait_for_server(link, &events);
            }
        }
    }
    Ok(())
}

/// What listens for the far side.
fn listen(
    link: &Link,
    events: &Arc<Events<Event>>,
    desk: &Arc<Desk>,
    instance: u64,
) -> Result<impl Sized, Failure> {
    let heard = desk.clone();
    let calls = link
        .session
        .declare_subscriber(link.key(format_args!("calls/down/{instance:016x}")))
        .callback(move |sample: Sample| heard.hear(sample.payload()));
    let calls = calls.wait().map_err(refused)?;
    let gone = desk.clone();
    let serves = link.session.liveliness().declare_subscriber(link.key("calls/serve/*")).callback(
        move |sample: Sample| {
            if let (SampleKind::Delete, Some(from)) =
                (sample.kind(), super::calls_wire::bridge_of(&sample))
            {
                gone.bridge_is_gone(from);
            }
        },
    );
    let serves = serves.wait().map_err(refused)?;
    let told = events.clone();
    let hellos = link
        .session
        .declare_queryable(link.key("calls/hello"))
        .callback(move |query| told.push_urgent(Event::Hello(query)));
    let hellos = hellos.wait().map_err(refused)?;
    let token = link.key(format_args!("calls/alive/{instance:016x}"));
    let token = link.session.liveliness().declare_token(token).wait().map_err(refused)?;
    Ok((calls, serves, hellos, token))
}

/// The server that is called.
struct Server {
    clients: Arc<Clients>,
    served: Served,
    handle: Handle,
}

/// Which server has the name now, if one is bound.
fn bound(link: &Link) -> Result<Option<Inspection>, InspectError> {
    match inspect(link.options.name.clone()) {
        Ok(seen) if seen.kind == ChannelKind::Server && seen.receivers.is_empty() => Ok(None),
        Ok(seen) => Ok(Some(seen)),
        Err(error) if is_not_there(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

fn is_not_there(error: &InspectError) -> bool {
    match error {
        InspectError::NotFound { .. } => true,
        InspectError::System(error) => error.kind() == SystemErrorKind::Removed,
        _ => false,
    }
}

/// Becomes a client of the server, or says what is waited for.
fn connect(link: &Link) -> Result<Result<Server, String>, Failure> {
    let none = || "waits for the server to be there".to_owned();
    // The process that makes the channel in this moment, or what is wrong with it, may be gone in the next.
    let waits = |error: DynamicError| format!("waits: {}", Failure::from(error).of_server());
    let seen = match bound(link) {
        Ok(Some(seen)) => seen,
        Ok(None) => return Ok(Err(none())),
        Err(error) => return Ok(Err(waits(error.into()))),
    };
    let options = DynamicChannel::options().owner(link.options.owner).max_value(u64::MAX);
    let options = options.deadline(PATIENCE);
    let client = match options.connect(link.options.name.clone()) {
        Ok(client) => client,
        Err(DynamicError::Inspect(error)) if is_not_there(&error) => return Ok(Err(none())),
        Err(
            error @ (DynamicError::Inspect(_) | DynamicError::Open(_) | DynamicError::Connect(_)),
        ) => return Ok(Err(waits(error))),
        Err(error) => return Err(Failure::from(error).of_server()),
    };
    let served = Served {
        codec: client.request_codec().name().to_owned(),
        request: client.request_shape().text().to_owned(),
        reply: client.reply_shape().text().to_owned(),
        max_value: seen.shape.max_value,
        clients: seen.shape.lanes as u64,
        capacity: seen.shape.capacity as u64,
        reply_capacity: seen.shape.reply_capacity as u64,
    };
    let clients = Arc::new(Clients::new(client, options, link.options.name.clone()));
    Ok(Ok(Server { clients, served, handle: seen.handle }))
}

/// Waits a little, and tells those that ask that there is no server yet.
fn wait_for_server(link: &Link, events: &Events<Event>) {
    let until = Instant::now() + LOOK;
    while let left = until.saturating_duration_since(Instant::now())
        && !left.is_zero()
        && !link.has_ended()
    {
        if let Some(Event::Hello(query)) = events.wait(left) {
            let why = format!("no server {} is bound", link.options.name);
            reply(link, &query, &Answer::NotReady { why });
        }
    }
}

fn reply(link: &Link, query: &Query, answer: &Answer) {
    // A `serve` that hears nothing asks again.
    let _ = query.reply(link.key("calls/hello"), wire::encode(answer)).wait();
}

/// Welcomes those that ask, until the server is gone; why it is.
fn carry(
    link: &Link,
    events: &Events<Event>,
    desk: &Arc<Desk>,
    server: &Server,
    instance: u64,
) -> &'static str {
    let mut looked = Instant::now();
    loop {
        let look = match events.wait(SERVER_LOOK) {
            Some(Event::End) => return "`bridge call` was ended",
            Some(Event::Hello(query)) => {
                let answer = welcome(link, desk, server, instance, &query);
                reply(link, &query, &answer);
                false
            }
            Some(Event::Look) | None => true,
        };
        if look || looked.elapsed() >= SERVER_LOOK {
            looked = Instant::now();
            desk.drop_the_silent();
            // What cannot be looked at now can later.
            if let Ok(seen) = bound(link)
                && seen.is_none_or(|seen| seen.handle != server.handle)
            {
                return "the server there has gone";
            }
        }
    }
}

fn welcome(link: &Link, desk: &Arc<Desk>, server: &Server, instance: u64, query: &Query) -> Answer {
    let Some(Ok(hello)) = query.payload().map(wire::decode::<Hello>) else {
        // The version says why.
        return Answer::NotReady { why: "no hello came".to_owned() };
    };
    match desk.begin(&hello) {
        Ok(()) => {
            Answer::Welcome { instance, longest: longest(link), served: server.served.clone() }
        }
        Err(why) => Answer::NotReady { why },
    }
}
