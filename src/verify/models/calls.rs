//! Request and response: reply against deadline against death, and what a caller is told of it.

use std::panic::catch_unwind;
use std::time::Duration;

use loom::thread;

use super::{finds, finds_killed, holds, holds_killed, ring_only};
use crate::Channel;
use crate::codec::Bincode;
use crate::model::{Process, check_kills_to, expire_deadlines};
use crate::rpc::{CallError, Client, ClientOptions, Request, ServeError, Server, ServerOptions};
use crate::sys::{Deadline, Fault};
use crate::verify::fault::with_fault;

/// A server for one client, and the client.
pub(super) fn pair(name: &'static str) -> (Server<u8, u8>, Client<u8, u8>) {
    (server(name), client(name))
}

fn server(name: &'static str) -> Server<u8, u8> {
    let options = ServerOptions::new().clients(1).capacity(2 * 64).reply_capacity(2 * 64);
    options.bind(name).unwrap()
}

pub(super) fn client(name: &'static str) -> Client<u8, u8> {
    let options = ClientOptions::new().wait_for_server(Duration::ZERO).deadline(Duration::MAX);
    options.connect::<u8, u8, Bincode>(name).unwrap()
}

/// The request that is there.
fn take_one(server: &Server<u8, u8>) -> Option<Request<u8, u8>> {
    match server.try_recv() {
        Ok(request) => request,
        Err(error) => {
            assert!(error.is_empty(), "{error}");
            None
        }
    }
}

/// Answers one request with ten more; says whether there was one.
fn answer_one(server: &Server<u8, u8>) -> bool {
    match server.recv().unwrap() {
        Some(request) => {
            let reply = request.query() + 10;
            // The caller may have given up.
            let _ = request.reply(&reply);
            true
        }
        None => false,
    }
}

#[test]
fn a_call_has_its_reply() {
    let model = || {
        let (server, client) = pair("reply");
        let serving = thread::spawn(move || {
            answer_one(&server);
            server
        });
        assert_eq!(client.call(&1).unwrap(), 11);
        drop(serving.join().unwrap());
    };
    holds("call and reply", model);
    finds("call and reply", &[Fault::NoRingFence, Fault::NoRecheck], model);
}

#[test]
fn a_reply_against_the_deadline() {
    let model = || {
        let (server, client) = pair("deadline");
        let serving = thread::spawn(move || {
            let served = take_one(&server).map(|request| request.reply(&11));
            (server, served.is_some())
        });
        let clock = thread::spawn(expire_deadlines);
        let outcome = client.call_timeout(&1, Duration::from_secs(1));
        clock.join().unwrap();
        let (server, mut served) = serving.join().unwrap();
        // Whatever is late is not started.
        served |= take_one(&server).is_some();
        match outcome {
            Ok(reply) => assert!(reply == 11 && served),
            Err(CallError::Timeout { received, .. }) => assert!(received || !served),
            Err(error) => panic!("{error}"),
        }
    };
    holds("reply against deadline", model);
    finds("reply against deadline", &[Fault::LateStarted, Fault::NoRingFence], model);
}

#[test]
fn the_caller_of_a_killed_server_knows_whether_it_had_the_request() {
    let model = |step| {
        let process = Process::new();
        let theirs = process.enter(|| server("killed"));
        let client = client("killed");
        let dying = process.kill_at(step).spawn(move || answer_one(&theirs));
        let outcome = client.call(&1);
        dying.join();
        let next = server("killed");
        let again = take_one(&next).is_some();
        match outcome {
            Ok(reply) => assert!(reply == 11 && !again),
            Err(CallError::ServerDied { .. }) => assert!(!again, "executed after it was given up"),
            Err(error) => panic!("{error}"),
        }
    };
    holds_killed("server killed in a call", model);
    finds_killed("server killed in a call", &[Fault::NoUndo, Fault::LaneBellsNotArmed], model);
}

#[test]
fn a_caller_knows_whether_the_server_had_its_request_where_the_channel_is_removed() {
    let model = || {
        let (server, client) = pair("removed");
        // Which waits for no other server.
        let calling = thread::spawn(move || client.try_call(&1));
        let remover = thread::spawn(|| Channel::<()>::unlink("removed").unwrap());
        let executed = match server.recv() {
            Ok(request) => request.is_some(),
            Err(error) => {
                assert!(matches!(error, ServeError::Removed { .. }), "{error}");
                false
            }
        };
        match calling.join().unwrap() {
            Err(CallError::ServerDied { received, .. }) => assert!(received || !executed),
            Err(CallError::Dropped { .. }) => assert!(executed),
            other => panic!("{other:?}"),
        }
        remover.join().unwrap();
    };
    holds("removal in a call", model);
    finds("removal in a call", &[Fault::SentTakenBack], model);
}

#[test]
fn a_caller_has_the_reply_that_came_before_the_channel_was_removed() {
    let model = || {
        let (server, client) = pair("answered");
        let serving = thread::spawn(move || {
            assert!(answer_one(&server));
            Channel::<()>::unlink("answered").unwrap();
            server
        });
        assert_eq!(client.call(&1).unwrap(), 11);
        drop(serving.join().unwrap());
    };
    holds("removal behind a reply", model);
    finds("removal behind a reply", &[Fault::ReplyLost], model);
}

#[test]
fn a_standby_has_the_place_and_the_requests_of_a_killed_server() {
    let model = |step| {
        let process = Process::new();
        let theirs = process.enter(|| server("standby"));
        let client = client("standby");
        let dying = process.kill_at(step).spawn(move || answer_one(&theirs));
        let standby = thread::spawn(|| {
            let options = ServerOptions::new().clients(1).capacity(2 * 64).reply_capacity(2 * 64);
            let server = options.stand_by::<u8, u8, Bincode>("standby", Duration::MAX).unwrap();
            take_one(&server).map(|request| request.reply(&21)).is_some()
        });
        let outcome = client.call_timeout(&1, Duration::MAX);
        drop(client);
        let first = dying.join();
        let second = standby.join().unwrap();
        match outcome {
            Ok(11) => assert!(!second),
            Ok(21) => assert!(second && first.is_none()),
            Err(CallError::ServerDied { received, .. }) => assert!(received || !second),
            other => panic!("{other:?}"),
        }
    };
    let (steps, executions) = check_kills_to(1, model);
    println!("server killed beside a standby: at each of {steps} steps, {executions} executions");
    let broken = || with_fault(Fault::NoUndo, || check_kills_to(1, model));
    assert!(catch_unwind(broken).is_err(), "NoUndo was not found");
}

#[test]
fn a_repeated_call_is_executed_once_by_each_server_at_most() {
    let model = |step| {
        let process = Process::new();
        let theirs = process.enter(|| server("repeated"));
        let client = ClientOptions::new().wait_for_server(Duration::ZERO).repeatable();
        let client = client.connect::<u8, u8, Bincode>("repeated").unwrap();
        let dying = process.kill_at(step).spawn(move || answer_one(&theirs));
        let next = thread::spawn(|| {
            let options = ServerOptions::new().clients(1).capacity(2 * 64).reply_capacity(2 * 64);
            let server = options.stand_by::<u8, u8, Bincode>("repeated", Duration::MAX).unwrap();
            // A second request would be the same call again, and its caller waits for the reply.
            let executed = server.recv().unwrap().map(|request| request.reply(&21)).is_some();
            (server, executed)
        });
        let reply = client.call_timeout(&1, Duration::MAX).unwrap();
        if reply == 11 {
            // So that the next one has something to receive.
            assert_eq!(client.call_timeout(&2, Duration::MAX).unwrap(), 21);
        } else {
            assert_eq!(reply, 21);
        }
        dying.join();
        let (server, executed) = next.join().unwrap();
        assert!(executed && take_one(&server).is_none());
    };
    let (steps, executions) = check_kills_to(1, model);
    println!("server killed in a repeated call: each of {steps} steps, {executions} executions");
    let broken = || with_fault(Fault::TakenAskedLate, || check_kills_to(1, model));
    assert!(catch_unwind(broken).is_err(), "TakenAskedLate was not found");
}

#[test]
fn a_repeated_call_that_was_not_passed_on_is_made_again() {
    let model = || {
        let server = server("not passed on");
        let client = ClientOptions::new().wait_for_server(Duration::ZERO).repeatable();
        let client = client.connect::<u8, u8, Bincode>("not passed on").unwrap();
        let serving = thread::spawn(move || {
            let (_, responder) = server.recv().unwrap().unwrap().into_parts();
            let behind = std::sync::Arc::new("behind".into());
            let died = CallError::ServerDied { server: behind, received: false };
            responder.fail(&died).unwrap();
            let answered = answer_one(&server);
            (server, answered)
        });
        assert_eq!(client.call_timeout(&1, Duration::MAX).unwrap(), 11);
        let (server, answered) = serving.join().unwrap();
        assert!(answered && take_one(&server).is_none());
    };
    holds("a call that was not passed on", model);
    finds("a call that was not passed on", &[Fault::NoRecheck], model);
}

#[test]
fn a_caller_hears_of_a_death_although_the_next_server_does_not_serve_yet() {
    let model = |step| {
        let process = Process::new();
        let theirs = process.enter(|| server("notice"));
        let client = client("notice");
        let call = client.start(&1).unwrap();
        let request = process.enter(|| theirs.recv().unwrap().unwrap());
        let dying = process.kill_at(step).spawn(move || {
            request.reply(&11).unwrap();
            drop(theirs);
        });
        let next = thread::spawn(|| {
            let options = ServerOptions::new().clients(1).capacity(2 * 64).reply_capacity(2 * 64);
            options.stand_by::<u8, u8, Bincode>("notice", Duration::MAX).unwrap()
        });
        let outcome = call.wait();
        let finished = dying.join().is_some();
        drop(next.join().unwrap());
        match outcome {
            Ok(reply) => assert_eq!(reply, 11),
            Err(CallError::ServerDied { received: true, .. }) => {
                assert!(!finished, "a reply is lost")
            }
            other => panic!("{other:?}"),
        }
    };
    holds_killed("server killed, the next one idle", model);
    let faults = [Fault::ReceiverStartNotPublished];
    finds_killed("server killed, the next one idle", &faults, model);
}

#[test]
fn a_request_that_was_given_up_is_executed_by_no_server() {
    let model = || {
        let channel = ring_only(2).return_capacity(2 * 64).private().unwrap();
        let (mut tx, rx) = (channel.sender().unwrap(), channel.receiver().unwrap());
        let end = tx.send_behind::<_, Bincode>(&[], &1_u8, Deadline::never(), |_| ()).unwrap();
        let receiver = thread::spawn(move || {
            let received = rx.receive_call(Deadline::now(), |_, origin| Ok(origin));
            (received.is_ok_and(|origin| rx.caller(origin).is_there()), rx)
        });
        tx.renew_generation().unwrap();
        let received = tx.was_consumed(end);
        let (executed, rx) = receiver.join().unwrap();
        assert!(received || !executed, "executed, and its caller was told that it would not be");
        drop((tx, rx));
    };
    holds("given up against received", model);
    finds("given up against received", &[Fault::NoRenewFence], model);
}

#[test]
fn a_server_that_is_dropped_waits_until_what_it_received_is_answered() {
    let model = || {
        let (server, client) = pair("drained");
        let one = client.start(&1).unwrap();
        let request = server.recv().unwrap().unwrap();
        // The ring has room for one at a time.
        let two = client.start(&2).unwrap();
        let answering = thread::spawn(move || request.reply(&11).unwrap());
        // Without a deadline: in the model it passes only where a clock is.
        drop(server);
        assert_eq!(one.wait().unwrap(), 11);
        let outcome = two.wait();
        assert!(
            matches!(outcome, Err(CallError::ServerDied { received: false, .. })),
            "{outcome:?}"
        );
        answering.join().unwrap();
    };
    holds("drained server", model);
    finds("drained server", &[Fault::EndNotWatched], model);
}

#[test]
fn a_server_that_is_dropped_waits_for_no_call_that_was_given_up() {
    let model = || {
        let (server, client) = pair("given up");
        let one = client.start(&1).unwrap();
        let first = server.recv().unwrap().unwrap();
        let two = client.start(&2).unwrap();
        let second = server.recv().unwrap().unwrap();
        first.reply(&11).unwrap();
        // There is room for one reply at a time.
        second.reply(&12).unwrap();
        let dropping = thread::spawn(move || drop(server));
        drop(two);
        dropping.join().unwrap();
        assert_eq!(one.wait().unwrap(), 11);
    };
    holds("given up against drained", model);
    finds("given up against drained", &[Fault::CancelNotRung], model);
}

#[test]
fn a_server_that_is_dropped_waits_for_no_request_in_hand_that_was_given_up() {
    let model = || {
        let (server, client) = pair("given up in hand");
        let call = client.start(&1).unwrap();
        let request = server.recv().unwrap().unwrap();
        let dropping = thread::spawn(move || drop(server));
        drop(call);
        // The request is neither answered nor dropped before.
        dropping.join().unwrap();
        drop(request);
    };
    holds("given up in hand against drained", model);
    finds("given up in hand against drained", &[Fault::CancelNotRung], model);
}

#[test]
fn a_reply_that_goes_while_it_is_encoded_is_not_mixed_with_another_threads() {
    let model = || {
        let options = ServerOptions::new().clients(1).capacity(2 * 64).reply_capacity(8 * 64);
        let server: Server<u8, Vec<u8>> = options.bind("two replies").unwrap();
        let client = ClientOptions::new().wait_for_server(Duration::ZERO).deadline(Duration::MAX);
        let client = client.connect::<u8, Vec<u8>, Bincode>("two replies").unwrap();
        let one = client.start(&1).unwrap();
        let first = server.recv().unwrap().unwrap();
        let two = client.start(&2).unwrap();
        let second = server.recv().unwrap().unwrap();
        // The first in two chunks.
        let replying = thread::spawn(move || first.reply(&vec![1; 40]).unwrap());
        second.reply(&vec![2; 3]).unwrap();
        replying.join().unwrap();
        assert_eq!(two.wait().unwrap(), [2; 3]);
        assert_eq!(one.wait().unwrap(), [1; 40]);
        drop(server);
    };
    holds("two replies at a time", model);
    finds("two replies at a time", &[Fault::WayNotKept], model);
}

#[test]
fn the_reply_to_a_request_in_fragments_arrives_also_while_that_is_being_sent() {
    let model = || {
        let options = ServerOptions::new().clients(1).capacity(4 * 64).reply_capacity(2 * 64);
        let server: Server<Vec<u8>, u8> = options.bind("long request").unwrap();
        let client = ClientOptions::new().wait_for_server(Duration::ZERO).deadline(Duration::MAX);
        let client = client.connect::<Vec<u8>, u8, Bincode>("long request").unwrap();
        let serving = thread::spawn(move || {
            let request = server.recv().unwrap().unwrap();
            assert_eq!(request.query().len(), 100);
            request.reply(&11).unwrap();
            server
        });
        assert_eq!(client.call(&vec![7; 100]).unwrap(), 11);
        drop(serving.join().unwrap());
    };
    holds("long request", model);
    finds("long request", &[Fault::EarlyReplyLost], model);
}
