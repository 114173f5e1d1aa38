//! Calls that are started now and waited for later, on any thread.

#![cfg(not(loom))]

mod common;

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Barrier, mpsc};
use std::thread;
use std::time::Duration;

use common::{Child, Stage, halt, kernel, play, say, until};
use nix::sys::wait::{WaitStatus, waitpid};
use serde::{Deserialize, Serialize, Serializer};
use sysv_channel::SendError;
use sysv_channel::codec::Bytes;
use sysv_channel::rpc::{CallError, Client, ClientOptions, Pending, Server, ServerOptions};

/// Longer than a test may take.
const FOR_EVER: Duration = Duration::from_secs(1000);
const SHORT: Duration = Duration::from_millis(20);

/// The parts that this binary plays when it is started as a child.
#[test]
fn child() {
    play(|role, arguments| {
        let server = Server::<u64, u64>::bind(arguments[0]).unwrap();
        match role {
            "takes all" => {
                say("bound");
                let taken: Vec<_> =
                    (0..arguments[1].parse().unwrap()).map(|_| server.recv().unwrap()).collect();
                halt(format_args!("received {}", taken.len()));
            }
            "serves" => {
                say("bound");
                server.serve(|number| number + 1).unwrap();
            }
            _ => unreachable!("no such role: {role}"),
        }
    });
}

fn started(stage: &Stage, role: &str, arguments: &[&str]) -> Child {
    let mut child = stage.child(role, arguments);
    child.expect("bound");
    child
}

fn pair(stage: &Stage) -> (Server<u64, u64>, Client<u64, u64>) {
    let server = Server::bind(stage.name()).unwrap();
    let client = ClientOptions::new().deadline(FOR_EVER).connect(stage.name()).unwrap();
    (server, client)
}

fn answer_one(server: &Server<u64, u64>) -> u64 {
    let request = server.recv().unwrap().unwrap();
    let query = *request.query();
    request.reply(&(query + 1)).unwrap();
    query
}

#[test]
fn a_pending_call_is_kept_beside_its_client_and_outlives_it() {
    struct Jobs {
        client: Client<u64, u64>,
        running: HashMap<u64, Pending<u64, u64>>,
    }
    let stage = Stage::new("kept");
    let (server, client) = pair(&stage);
    let mut jobs = Jobs { client, running: HashMap::new() };
    for job in 0..5 {
        jobs.running.insert(job, jobs.client.start(&job).unwrap());
    }
    (0..3).for_each(|job| assert_eq!(answer_one(&server), job));
    assert_eq!(jobs.running.remove(&2).unwrap().wait().unwrap(), 3);
    // A call in between, which is answered before those that were started earlier.
    let Jobs { client, mut running } = jobs;
    thread::scope(|scope| {
        let calling = scope.spawn(move || client.call(&100).map(|reply| (client, reply)));
        let requests: Vec<_> = (0..3).map(|_| server.recv().unwrap().unwrap()).collect();
        let mut requests = requests.into_iter().rev();
        let last = requests.next().unwrap();
        assert_eq!(*last.query(), 100);
        last.reply(&101).unwrap();
        let (client, reply) = calling.join().unwrap().unwrap();
        assert_eq!(reply, 101);
        drop(client);
        for request in requests {
            let reply = request.query() + 1;
            request.reply(&reply).unwrap();
        }
    });
    for job in [4, 3, 0, 1] {
        assert_eq!(running.remove(&job).unwrap().wait().unwrap(), job + 1);
    }
}

#[test]
fn waiting_in_vain_does_not_end_a_call_and_its_deadline_does() {
    let stage = Stage::new("in vain");
    let (server, client) = pair(&stage);
    let mut call = client.start(&1).unwrap();
    assert_eq!(call.try_wait().unwrap(), None);
    assert_eq!(call.wait_timeout(SHORT).unwrap(), None);
    let request = server.recv().unwrap().unwrap();
    let (_, port) = request.into_parts();
    assert_eq!(call.wait_timeout(Duration::ZERO).unwrap(), None);
    assert!(!port.is_cancelled());
    port.reply(&2).unwrap();
    assert_eq!(call.try_wait().unwrap(), Some(2));
    // It has one outcome.
    assert!(matches!(call.try_wait(), Err(CallError::Taken { .. })));
    assert!(matches!(call.wait_timeout(FOR_EVER), Err(CallError::Taken { .. })));
    assert!(matches!(call.wait(), Err(CallError::Taken { .. })));

    for received in [false, true] {
        let mut call = client.start_timeout(&3, SHORT).unwrap();
        let request = received.then(|| server.recv().unwrap().unwrap());
        let error = call.wait_timeout(FOR_EVER).unwrap_err();
        assert!(
            matches!(error, CallError::Timeout { received: told, .. } if told == received),
            "{error}"
        );
        assert!(matches!(call.try_wait(), Err(CallError::Taken { .. })));
        if let Some(request) = request {
            assert!(request.into_parts().1.is_cancelled());
        }
    }
    // Also where the program only looks.
    let mut call = client.start_timeout(&4, SHORT).unwrap();
    let error = loop {
        match call.try_wait() {
            Ok(reply) => assert_eq!(reply, None),
            Err(error) => break error,
        }
    };
    assert!(matches!(error, CallError::Timeout { received: false, .. }), "{error}");
    assert!(server.try_recv().unwrap_err().is_empty());
}

#[test]
fn the_first_of_several_calls_is_the_one_that_was_answered_first() {
    let stage = Stage::new("first of several");
    let (server, client) = pair(&stage);
    let mut calls: Vec<_> = (0..20).map(|number| client.start(&number).unwrap()).collect();
    let mut requests: Vec<_> = (0..20).map(|_| server.recv().unwrap().unwrap()).collect();
    let mut order = Vec::new();
    while !requests.is_empty() {
        let request = requests.swap_remove(requests.len() / 3);
        order.push(*request.query() as usize);
        let reply = request.query() + 1;
        request.reply(&reply).unwrap();
    }
    for &next in &order {
        let (which, reply) = client.wait_any(&mut calls).unwrap();
        assert_eq!((which, reply.unwrap()), (next, next as u64 + 1));
    }
    assert!(client.wait_any(&mut calls).is_none());
    assert!(client.wait_any(&mut Vec::new()).is_none());

    // The earliest deadline ends one of them, and not the others.
    let mut calls: HashMap<&str, Pending<u64, u64>> = HashMap::new();
    calls.insert("long", client.start(&1).unwrap());
    calls.insert("short", client.start_timeout(&2, SHORT).unwrap());
    let (which, outcome) = client.wait_any(calls.values_mut()).unwrap();
    assert_eq!(calls.keys().nth(which), Some(&"short"));
    assert!(outcome.unwrap_err().is_timeout());
    // It is waited for while it is asleep.
    thread::scope(|scope| {
        let waiting = scope.spawn(|| {
            let (which, reply) = client_of(&stage).wait_any(calls.values_mut()).unwrap();
            (which, reply.unwrap_err())
        });
        // That client started none of them.
        assert!(matches!(waiting.join().unwrap().1, CallError::OtherClient { .. }));
    });
}

fn client_of(stage: &Stage) -> Client<u64, u64> {
    Client::connect(stage.name()).unwrap()
}

#[test]
fn no_reply_is_lost_of_thousands_that_wait_for_a_client_that_only_starts() {
    let stage = Stage::new("only starts");
    let options = ServerOptions::new().reply_capacity(4096).capacity(64 << 10);
    let server: Server<u64, Bytes> = options.bind(stage.name()).unwrap();
    let closer = server.closer();
    let reply = |number: u64| Bytes::from(vec![number as u8; number as usize % 900]);
    let serving = thread::spawn(move || server.serve(reply));
    let client = Client::<u64, Bytes>::connect(stage.name()).unwrap();
    let start = |number| client.start_timeout(&number, FOR_EVER).unwrap();
    let mut calls: Vec<_> = (0..10_000).map(start).collect();
    // Many of them, out of order, by the way that takes the first.
    let mut others: Vec<_> = calls.drain(9_500..).collect();
    let mut seen = vec![false; others.len()];
    while let Some((which, got)) = client.wait_any(&mut others) {
        assert!(got.unwrap() == reply(9_500 + which as u64));
        assert!(!std::mem::replace(&mut seen[which], true));
    }
    assert!(seen.iter().all(|&seen| seen));
    for (number, call) in calls.into_iter().enumerate().rev() {
        assert!(call.wait().unwrap() == reply(number as u64), "{number}");
    }
    closer.close();
    serving.join().unwrap().unwrap();
}

#[test]
fn a_call_that_is_waited_for_on_another_thread_keeps_its_client_from_nothing() {
    let stage = Stage::new("other thread");
    let (server, client) = pair(&stage);
    let never = client.start(&0).unwrap();
    let (_, port) = server.recv().unwrap().unwrap().into_parts();
    thread::scope(|scope| {
        let waiting = scope.spawn(move || never.wait());
        let serving = scope.spawn(move || {
            (0..2001).for_each(|_| assert!(answer_one(&server) >= 1));
        });
        for number in 1..1000 {
            assert_eq!(client.call(&number).unwrap(), number + 1);
        }
        let mut tried = client.start(&1000).unwrap();
        until(|| tried.try_wait().unwrap() == Some(1001));
        for number in 1001..=2000 {
            assert_eq!(client.start(&number).unwrap().wait().unwrap(), number + 1);
        }
        assert!(!waiting.is_finished());
        port.reply(&7).unwrap();
        assert_eq!(waiting.join().unwrap().unwrap(), 7);
        // And the client has its connection for itself again.
        assert_eq!(client.call(&1).unwrap(), 2);
        serving.join().unwrap();
    });
}

#[test]
fn calls_of_one_client_are_waited_for_on_many_threads_in_any_order() {
    const THREADS: u64 = 8;
    let stage = Stage::new("many threads");
    let server = Server::<u64, u64>::bind(stage.name()).unwrap();
    let closer = server.closer();
    let serving = thread::spawn(move || server.serve_concurrently(3, |number| number + 1));
    let client = Client::<u64, u64>::connect(stage.name()).unwrap();
    thread::scope(|scope| {
        let hands: Vec<_> = (0..THREADS)
            .map(|_| {
                let (hand, take) = mpsc::channel::<(u64, Pending<u64, u64>)>();
                scope.spawn(move || {
                    for (number, mut call) in take {
                        let reply = match number % 3 {
                            0 => call.wait().unwrap(),
                            1 => loop {
                                if let Some(reply) = call.try_wait().unwrap() {
                                    break reply;
                                }
                            },
                            _ => loop {
                                let short = Duration::from_micros(number % 50);
                                if let Some(reply) = call.wait_timeout(short).unwrap() {
                                    break reply;
                                }
                            },
                        };
                        assert_eq!(reply, number + 1);
                    }
                });
                hand
            })
            .collect();
        for number in 0..4000 {
            let call = client.start_timeout(&number, FOR_EVER).unwrap();
            if number % 7 == 0 {
                assert_eq!(client.call(&number).unwrap(), number + 1);
            }
            match number % 10 {
                9 => drop(call),
                _ => hands[(number * 5 % THREADS) as usize].send((number, call)).unwrap(),
            }
        }
    });
    closer.close();
    serving.join().unwrap().unwrap();
}

#[test]
fn a_call_that_is_dropped_while_another_thread_waits_is_cancelled_at_once() {
    let stage = Stage::new("dropped beside");
    let (server, client) = pair(&stage);
    let (waited, dropped) = (client.start(&1).unwrap(), client.start(&2).unwrap());
    let [first, second] = [(); 2].map(|()| server.recv().unwrap().unwrap().into_parts().1);
    thread::scope(|scope| {
        let waiting = scope.spawn(move || waited.wait());
        // Whether that thread sleeps by then or not.
        drop(dropped);
        until(|| second.is_cancelled());
        assert!(!first.is_cancelled());
        first.reply(&2).unwrap();
        assert_eq!(waiting.join().unwrap().unwrap(), 2);
    });
}

#[test]
fn the_death_of_the_server_is_told_to_every_thread_that_waits() {
    let stage = Stage::new("death for all");
    let mut server = started(&stage, "takes all", &["4"]);
    let client = Client::<u64, u64>::connect(stage.name()).unwrap();
    let mut calls: Vec<_> =
        (0..6).map(|number| client.start_timeout(&number, FOR_EVER).unwrap()).collect();
    server.expect("received 4");
    let (last, first) = (calls.pop().unwrap(), calls.remove(0));
    thread::scope(|scope| {
        let waiting = [(true, first), (false, last)]
            .map(|(received, call)| (received, scope.spawn(move || call.wait())));
        server.kill();
        for (received, call) in waiting {
            let error = call.join().unwrap().unwrap_err();
            assert!(
                matches!(error, CallError::ServerDied { received: told, .. } if told == received),
                "{error}"
            );
        }
        let mut told = 0;
        while let Some((which, outcome)) = client.wait_any(&mut calls) {
            let error = outcome.unwrap_err();
            assert!(
                matches!(error, CallError::ServerDied { received, .. } if received == (which < 3)),
                "{which}: {error}"
            );
            told += 1;
        }
        assert_eq!(told, 4);
    });
}

#[test]
fn calls_that_may_be_repeated_are_made_again_however_they_are_waited_for() {
    let stage = Stage::new("made again");
    let mut server = started(&stage, "takes all", &["4"]);
    let options = ClientOptions::new().repeatable().deadline(FOR_EVER);
    let client: Client<u64, u64> = options.connect(stage.name()).unwrap();
    let mut calls: Vec<_> = (0..6).map(|number| client.start(&number).unwrap()).collect();
    server.expect("received 4");
    server.kill();
    // There is no server now.
    assert_eq!(calls[0].try_wait().unwrap(), None);
    assert_eq!(calls[1].wait_timeout(SHORT).unwrap(), None);
    let _server = started(&stage, "serves", &[]);
    let first = calls.remove(0);
    assert_eq!(first.wait().unwrap(), 1);
    until(|| calls[0].try_wait().unwrap() == Some(2));
    let mut left = vec![2, 3, 4, 5];
    while let Some((which, reply)) = client.wait_any(&mut calls) {
        let number = which as u64 + 1;
        assert_eq!(reply.unwrap(), number + 1);
        left.retain(|&other| other != number);
    }
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn a_call_that_is_made_again_in_vain_ends_at_its_deadline() {
    let stage = Stage::new("again in vain");
    let mut server = started(&stage, "takes all", &["1"]);
    let options = ClientOptions::new().repeatable();
    let client: Client<u64, u64> = options.connect(stage.name()).unwrap();
    let long = client.start_timeout(&1, Duration::from_millis(300)).unwrap();
    server.expect("received 1");
    server.kill();
    let error = long.wait().unwrap_err();
    assert!(
        matches!(
            error,
            CallError::Timeout { received: true, .. }
                | CallError::ServerDied { received: true, .. }
        ),
        "{error}"
    );
}

std::thread_local! {
    /// What the next request does when it is encoded.
    static NEXT: RefCell<Option<Box<dyn FnOnce()>>> = const { RefCell::new(None) };
}

#[derive(Deserialize)]
struct Acting(u64);

impl Serialize for Acting {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if let Some(act) = NEXT.take() {
            act();
        }
        serializer.serialize_newtype_struct("Acting", &self.0)
    }
}

#[test]
fn a_request_that_waits_for_a_call_of_its_own_client_is_told_and_spoils_neither() {
    let stage = Stage::new("reentrant");
    let server = Server::<Acting, u64>::bind(stage.name()).unwrap();
    let closer = server.closer();
    let serving = thread::spawn(move || server.serve(|Acting(number)| number + 1));
    let client = Client::<Acting, u64>::connect(stage.name()).unwrap();
    let mut inner = client.start(&Acting(1)).unwrap();
    let (give_back, given_back) = mpsc::channel();
    NEXT.set(Some(Box::new(move || {
        assert!(matches!(inner.try_wait(), Err(CallError::Reentrant { .. })));
        assert!(matches!(inner.wait_timeout(SHORT), Err(CallError::Reentrant { .. })));
        give_back.send(inner).unwrap();
    })));
    assert_eq!(client.call(&Acting(2)).unwrap(), 3);
    assert_eq!(given_back.recv().unwrap().wait().unwrap(), 2);

    // One that is dropped there is cancelled afterwards.
    let inner = client.start(&Acting(1)).unwrap();
    NEXT.set(Some(Box::new(move || drop(inner))));
    assert_eq!(client.start(&Acting(5)).unwrap().wait().unwrap(), 6);
    closer.close();
    serving.join().unwrap().unwrap();
}

#[test]
fn a_call_keeps_its_deadline_while_another_thread_is_in_the_middle_of_a_request() {
    let stage = Stage::new("deadline beside");
    let server = Server::<Acting, u64>::bind(stage.name()).unwrap();
    let client = Client::<Acting, u64>::connect(stage.name()).unwrap();
    let mut call = client.start_timeout(&Acting(1), SHORT).unwrap();
    let (encoding, over) = (Arc::new(Barrier::new(2)), Arc::new(AtomicBool::new(false)));
    thread::scope(|scope| {
        let waiting = scope.spawn({
            let (encoding, over) = (encoding.clone(), over.clone());
            move || {
                encoding.wait();
                assert_eq!(call.try_wait().unwrap_or(None), None);
                let error = call.wait();
                over.store(true, Ordering::Release);
                error
            }
        });
        NEXT.set(Some(Box::new(move || {
            encoding.wait();
            // Does not go on before the other thread has its answer.
            until(|| over.load(Ordering::Acquire));
        })));
        let last = client.start(&Acting(2)).unwrap();
        let error = waiting.join().unwrap().unwrap_err();
        assert!(matches!(error, CallError::Timeout { .. } | CallError::Taken { .. }), "{error}");
        // What was late is not started.
        let request = server.recv().unwrap().unwrap();
        assert_eq!(request.query().0, 2);
        request.reply(&3).unwrap();
        assert_eq!(last.wait().unwrap(), 3);
    });
}

#[test]
fn a_forked_child_has_no_use_of_its_parents_calls_and_does_them_no_harm() {
    let stage = Stage::new("forked");
    let (server, client) = pair(&stage);
    let mut one = client.start(&1).unwrap();
    let mut two = Some(client.start(&2).unwrap());
    let mut client = Some(client);
    let child = kernel::forked(|| {
        let forked = |error: CallError| matches!(error, CallError::Send(SendError::Forked { .. }));
        assert!(one.try_wait().is_err_and(forked));
        assert!(client.as_ref().unwrap().call(&3).is_err_and(forked));
        drop((two.take(), client.take()));
    });
    assert_eq!(waitpid(child, None), Ok(WaitStatus::Exited(child, 0)));
    (1..=2).for_each(|number| assert_eq!(answer_one(&server), number));
    assert_eq!(one.try_wait().unwrap(), Some(2));
    assert_eq!(two.unwrap().wait().unwrap(), 3);
}
