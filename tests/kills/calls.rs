//! Rounds in which a server or a client of request and response is killed.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use sysv_channel::rpc::{CallError, Client, ClientOptions, Closer, Server, ServerOptions};

use crate::common::{Stage, until};
use crate::rounds::{Outcome, nothing_is_left, see_off, tally};
use crate::scene::{Load, Parcel, Scene};
use crate::victim::{End, Role, Victim};

/// Answers each parcel with itself.
pub(crate) type Echo = Server<Parcel, Parcel>;
/// Calls it.
pub(crate) type Caller = Client<Parcel, Parcel>;

/// A server for two clients, its rings small where the scene's are.
pub(crate) fn options(scene: Scene) -> ServerOptions {
    let options = ServerOptions::new().clients(2);
    match scene.load {
        Load::Fragments | Load::FullRing => options.capacity(4 << 10).reply_capacity(4 << 10),
        _ => options,
    }
}

pub(crate) fn bind(name: &str, scene: Scene) -> Echo {
    options(scene).bind(name).expect("nobody serves the name")
}

pub(crate) fn connect(name: &str) -> Caller {
    Caller::connect(name).expect("a server comes, and there is a place")
}

/// A caller goes on through a server's death, and knows of each request whether it was received.
///
/// Beside a standby it may have its calls made again, and has a reply to each.
pub(crate) fn kill_server(scene: Scene, end: &End, standby: bool) -> Outcome {
    let stage = Stage::new("server killed");
    let victim = Victim::start(stage.name(), Role::Server, scene, 0, end);
    let enough = &AtomicBool::new(false);
    let name = stage.name();
    let (outcome, values) = thread::scope(|scope| {
        let calling = scope.spawn(move || {
            let mut client = ClientOptions::new().deadline(FOR_EVER);
            if standby {
                client = client.repeatable();
            }
            call_until_enough(&client.connect(name).expect("a server, and a place"), scene, enough)
        });
        let has_come = victim.has_come();
        let stands_by = standby.then(|| {
            scope.spawn(move || {
                until(has_come);
                options(scene).stand_by(name, FOR_EVER).expect("it becomes free")
            })
        });
        let lasts = see_off(vec![victim], end);
        let mut executed: Vec<u64> = lasts[0].executed().collect();
        let next = match stands_by {
            Some(stands_by) => stands_by.join().expect("standing by went well"),
            None => bind(name, scene),
        };
        let closing = OnDrop(next.closer());
        let serving = scope.spawn(move || serve(&next));
        enough.store(true, Ordering::Relaxed);
        let calls = calling.join().expect("calling went well");
        drop(closing);
        let successor = serving.join().expect("serving went well");
        if standby {
            calls.check_repeated(&executed, &successor);
        }
        executed.extend(successor);
        if !standby {
            calls.check(&executed);
        }
        (tally(&lasts), executed.len() as u64)
    });
    nothing_is_left(&stage);
    Outcome { values, ..outcome }
}

/// Longer than a round may take.
const FOR_EVER: Duration = Duration::from_secs(1000);

/// Serves until it is closed; returns what it executed.
fn serve(server: &Echo) -> Vec<u64> {
    let mut executed = Vec::new();
    let served = server.serve(|parcel| {
        parcel.check();
        executed.push(parcel.id);
        parcel
    });
    served.expect("serving goes on until it is closed");
    executed
}

/// What a caller was told of its calls.
#[derive(Default)]
struct Calls {
    replied: BTreeSet<u64>,
    not_received: BTreeSet<u64>,
}

fn call_until_enough(client: &Caller, scene: Scene, enough: &AtomicBool) -> Calls {
    let mut calls = Calls::default();
    for id in 0.. {
        // Looked at before the call, so that the last one goes to the server that is there now.
        let last = enough.load(Ordering::Relaxed);
        match client.call(&scene.parcel(0, id)) {
            Ok(reply) => {
                reply.check();
                assert_eq!(reply.id, id, "the reply to another call");
                calls.replied.insert(id);
            }
            Err(CallError::ServerDied { received: true, .. }) => {}
            Err(CallError::ServerDied { received: false, .. }) => {
                calls.not_received.insert(id);
            }
            Err(error) => panic!("{error}"),
        }
        if last {
            break;
        }
    }
    calls
}

impl Calls {
    /// Panics unless what was executed is what the caller was told.
    fn check(&self, executed: &[u64]) {
        let once: BTreeSet<u64> = executed.iter().copied().collect();
        assert_eq!(once.len(), executed.len(), "executed twice: {executed:?}");
        let never: Vec<_> = self.replied.difference(&once).collect();
        assert!(never.is_empty(), "a reply to what nobody executed: {never:?}");
        let all_the_same: Vec<_> = self.not_received.intersection(&once).collect();
        assert!(all_the_same.is_empty(), "executed, and said not to be: {all_the_same:?}");
    }

    /// Panics unless every call has its reply, and was made again for a server's death alone.
    fn check_repeated(&self, by_the_first: &[u64], by_the_next: &[u64]) {
        for executed in [by_the_first, by_the_next] {
            assert!(executed.is_sorted_by(|one, next| one < next), "executed twice: {executed:?}");
        }
        let all: BTreeSet<u64> = by_the_first.iter().chain(by_the_next).copied().collect();
        let twice = by_the_first.len() + by_the_next.len() - all.len();
        assert!(twice <= 1, "{twice} calls were executed twice for one death");
        assert_eq!(self.replied, all);
        let last = all.last().expect("the last call is made when there is a server");
        assert_eq!(all.len() as u64, last + 1, "without a reply: some of {last}");
    }
}

/// A client's death stops nobody else, and frees its place.
pub(crate) fn kill_client(scene: Scene, end: &End) -> Outcome {
    let stage = Stage::new("client killed");
    let server = bind(stage.name(), scene);
    let closer = server.closer();
    let (outcome, values) = thread::scope(|scope| {
        let serving = scope.spawn(move || serve(&server));
        let closing = OnDrop(closer);
        let other = connect(stage.name());
        let victim = Victim::start(stage.name(), Role::Client, scene, 1, end);
        let calling = scope.spawn(move || {
            for id in 0..20 {
                assert_eq!(other.call(&scene.parcel(2, id)).expect("a reply").id, id);
            }
            other
        });
        let lasts = see_off(vec![victim], end);
        let other = calling.join().expect("calling went well");
        // The place is free again.
        let next = connect(stage.name());
        assert_eq!(next.call(&scene.parcel(3, 1)).expect("a reply").id, 1);
        drop((next, other, closing));
        (tally(&lasts), serving.join().expect("serving went well").len() as u64)
    });
    nothing_is_left(&stage);
    Outcome { values, ..outcome }
}

/// Closes the server also when a check fails, or its thread would serve on.
pub(crate) struct OnDrop(pub(crate) Closer);

impl Drop for OnDrop {
    fn drop(&mut self) {
        self.0.close();
    }
}
