//! `bridge serve`: a local server, whose calls go to the `call` with the same key.
//!
//! It is bound as long as the server there is: so its callers see no difference to a server here that comes and goes. One
//! that is away is waited for until the deadline, and a call that may be repeated is made again when it is back.
//!
//! The link's thread receives requests and passes them on. What comes back is handled on the session's thread, which
//! never waits: replies go as they come, and a stream of replies has a thread of its own that waits for its reader.

mod calls;
mod meeting;
mod stream;
mod way;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use sysv_channel::codec::Raw;
use sysv_channel::dynamic::{DynamicChannel, DynamicCodec, DynamicError};
use sysv_channel::rpc::{BindError, CallError, Responder, ServeError, Server, ServerOptions};
use tracing::{debug, info, warn};

use super::calls_wire::{DownWhat, Served};
use super::events::Events;
use super::link::{LOOK, Link, drawn};
use super::log::TARGET;
use crate::failure::Failure;
use calls::Calls;
use meeting::{Event, Meeting, Welcome};
use way::Way;

/// How often the far side is asked whether it is there.
const PING: Duration = Duration::from_secs(1);

/// Without a word for so long the far side is looked for anew.
const SILENCE: Duration = Duration::from_secs(6);

/// How often callers are asked whether they still wait.
const TICK: Duration = Duration::from_millis(50);

/// How long the local server stays, at its end, for replies that wait for room.
const DRAIN: Duration = Duration::from_secs(2);

/// What the link does, as it is told.
const CARRIES: &str = "carries calls";

type Bytes = Vec<u8>;
type LocalServer = Server<Bytes, Bytes, Raw>;
type Reply = Responder<Bytes, Raw>;

pub(crate) fn run(link: &Link) -> Result<(), Failure> {
    let events = Arc::new(Events::default());
    let hook = events.clone();
    link.endings.on_end(move || hook.push_urgent(Event::End));
    let from = drawn()?;
    let calls = Arc::new(Calls::new(link));
    let ended = calls.clone();
    link.endings.on_end(move || ended.end("the bridge ends"));
    let meeting = Meeting::begin(link, &events, &calls, from)?;
    while let Some(welcome) = meeting.welcome()? {
        let way = match Way::begin(link, &welcome, from) {
            Ok(way) => Arc::new(way),
            // The session ends, or will be there again.
            Err(_) => continue,
        };
        calls.begin(&way);
        if link.has_ended() {
            break;
        }
        link.figures.meetings.fetch_add(1, Ordering::Relaxed);
        info!(target: TARGET, session = format_args!("{:016x}", way.session), "meets");
        if let Some(server) = bind(link, &events, &calls, &welcome)? {
            calls.closes(server.closer());
            link.goes_on(CARRIES);
            let carried = carry(link, &meeting, &server, &calls, &way);
            if let Some(why) = calls.over() {
                if !link.has_ended() {
                    warn!(target: TARGET, why, "lost");
                }
                link.waits(&format!("the server here is not bound meanwhile: {why}"));
            }
            calls.fail_all();
            link.figures.in_flight.store(0, Ordering::Relaxed);
            carried?;
        }
    }
    Ok(())
}

/// Binds the local server; `None` if the session is over before that could be done.
fn bind(
    link: &Link,
    events: &Events<Event>,
    calls: &Calls,
    welcome: &Welcome,
) -> Result<Option<LocalServer>, Failure> {
    let Served { codec, request, reply, max_value, clients, capacity, reply_capacity } =
        &welcome.served;
    let size = |size: &u64| usize::try_from(*size).unwrap_or(usize::MAX);
    let server = ServerOptions::new()
        .clients(size(clients))
        .capacity(size(capacity))
        .reply_capacity(size(reply_capacity))
        .max_value(*max_value)
        .drain(DRAIN)
        // What goes to another machine takes longer than a spinning thread is of use.
        .spin(Duration::ZERO);
    let options = DynamicChannel::options().server(server).owner(link.options.owner);
    let bind = || {
        let (request, reply) =
            (DynamicCodec::new(codec, request)?, DynamicCodec::new(codec, reply)?);
        options.bind(link.options.name.clone(), request, reply)
    };
    while calls.over().is_none() {
        match bind() {
            Ok(server) => return Ok(Some(server.into_bytes())),
            Err(error) => link.waits(&format!("waits: {}", explained(&error))),
        }
        events.wait(LOOK);
    }
    Ok(None)
}

fn explained(error: &DynamicError) -> String {
    match error {
        DynamicError::Bind(BindError::AlreadyBound { .. }) => {
            format!("{error}; end it, since calls are to go to the server of `bridge call`")
        }
        error => error.to_string(),
    }
}

/// Passes calls on until the session is over.
fn carry(
    link: &Link,
    meeting: &Meeting<'_>,
    server: &LocalServer,
    calls: &Arc<Calls>,
    way: &Arc<Way>,
) -> Result<(), Failure> {
    let (mut looked, mut pinged) = (Instant::now(), Instant::now());
    way.ping();
    while calls.over().is_none() {
        if looked.elapsed() >= TICK {
            calls.drop_those_given_up();
            looked = Instant::now();
        }
        if pinged.elapsed() >= PING {
            if calls.silence() > SILENCE {
                calls.end("`bridge call` does not answer");
                break;
            }
            match calls.silence() > 2 * PING {
                true => link.figures.is_held_up("waits: `bridge call` does not answer"),
                false => link.goes_on(CARRIES),
            }
            meeting.tell_of_others();
            way.ping();
            pinged = Instant::now();
        }
        link.figures.in_flight.store(calls.count() as u64, Ordering::Relaxed);
        if !calls.wait_for_room(TICK) {
            continue;
        }
        let wait = if calls.count() > 0 { TICK } else { PING };
        match server.recv_timeout(wait) {
            Ok(Some(request)) => {
                let (bytes, responder) = request.into_parts();
                link.figures.count(1, bytes.len() as u64);
                pass_on(calls, way, bytes, responder);
            }
            Ok(None) | Err(ServeError::Timeout { .. }) => {}
            Err(ServeError::Removed { .. }) => {
                calls.end("its channel was removed");
            }
            Err(error) => return Err(Failure::failed(error)),
        }
    }
    Ok(())
}

fn pass_on(calls: &Calls, way: &Way, bytes: Bytes, responder: Reply) {
    let left = responder.remaining().map(|left| left.saturating_sub(way.half_way()));
    if bytes.len() as u64 > way.longest {
        let why =
            format!("it is longer than {} bytes, the most that `bridge call` takes", way.longest);
        debug!(target: TARGET, why, "a call is refused");
        let refused = CallError::Unreadable { server: calls.server(), why };
        // A caller that has gone has itself to blame.
        let _ = responder.fail(&refused);
        return;
    }
    let stream = responder.is_stream();
    let call = calls.insert(bytes.len(), left, responder);
    if left.is_some_and(|left| left.is_zero()) {
        // It would be late when it is there. The caller's deadline tells it.
        return;
    }
    let left = left.map(|left| u64::try_from(left.as_micros()).unwrap_or(u64::MAX));
    let what = DownWhat::Request { call, left, stream };
    // Noted before it is sent, since what is not noted counts as not received.
    way.send_if(what, bytes, |number| calls.is_sent(call, number));
}
