//! Streams of replies: parts that wait for their caller, on the receiver's thread, beside it, and in a process that
//! holds an actor's port.

use std::time::Duration;

use loom::thread;

use super::pending::pair;
use super::{finds, finds_by, finds_killed, holds};
use crate::actor::{Address, Mailbox, MailboxOptions, ReplyError, ReplyStream, StreamTo};
use crate::model::{Process, check_kills_to, check_to};
use crate::sys::Fault;

/// All that these actors are told: where to stream to.
type Question = StreamTo<u8>;

fn mailbox(name: &'static str) -> Mailbox<Question> {
    // An address, its stream and the port's holder; a port or a part is a message.
    let options = MailboxOptions::new().addresses(3).inline_limit(64);
    options.capacity(2 * 64).reply_capacity(4 * 64).bind(name).unwrap()
}

fn stream_from(name: &'static str) -> ReplyStream<u8> {
    let address: Address<Question> = Address::connect_timeout(name, Duration::ZERO).unwrap();
    address.stream(|port| port).unwrap()
}

/// Has another mailbox take the port that came to the first.
fn forwarded(home: &Mailbox<Question>, holder: &Mailbox<Question>) -> Question {
    holder.address().tell_timeout(&home.recv().unwrap().unwrap(), Duration::MAX).unwrap();
    holder.recv().unwrap().unwrap()
}

/// The window has room for one part.
#[test]
fn a_handler_on_the_receivers_thread_waits_until_its_caller_takes() {
    let model = || {
        let (server, client) = pair("stream here");
        let stream = client.stream(&1).unwrap();
        let serving = thread::spawn(move || {
            let (_, mut port) = server.recv().unwrap().unwrap().into_parts();
            port.part(&11).unwrap();
            port.part(&12).unwrap();
            port.finish().unwrap();
        });
        let parts: Vec<u8> = stream.map(Result::unwrap).collect();
        assert_eq!(parts, [11, 12]);
        serving.join().unwrap();
    };
    holds("stream on the receiver's thread", model);
    let faults = [Fault::CreditNotRung, Fault::PartsWaitNotSaid];
    finds("stream on the receiver's thread", &faults, model);
}

#[test]
fn a_handler_beside_the_receiver_is_woken_when_its_caller_takes() {
    let model = || {
        let (server, client) = pair("stream beside");
        let closer = server.closer();
        let mut stream = client.stream(&1).unwrap();
        let (_, mut port) = server.recv().unwrap().unwrap().into_parts();
        port.part(&11).unwrap();
        let receiving = thread::spawn(move || {
            // Which receives nothing, and is there when it is rung.
            assert!(server.recv().unwrap().is_none());
            server
        });
        let handling = thread::spawn(move || {
            port.part(&12).unwrap();
            port.finish().unwrap();
        });
        assert_eq!(stream.next().unwrap().unwrap(), 11);
        handling.join().unwrap();
        assert_eq!(stream.next().unwrap().unwrap(), 12);
        assert!(stream.next().is_none());
        closer.close();
        drop(receiving.join().unwrap());
    };
    holds("stream beside the receiver", model);
    finds("stream beside the receiver", &[Fault::CreditNotRung, Fault::PartsWaitNotSaid], model);
}

#[test]
fn a_handler_that_holds_a_forwarded_port_is_woken_when_its_asker_takes() {
    let model = || {
        let (home, holder) = (mailbox("home"), mailbox("holder"));
        let closer = home.closer();
        let mut stream = stream_from("home");
        let mut port = forwarded(&home, &holder);
        port.part(&11).unwrap();
        let receiving = thread::spawn(move || {
            // The parts go by while it receives.
            assert!(home.recv().unwrap().is_none());
            home
        });
        let handling = thread::spawn(move || {
            port.part(&12).unwrap();
            port.finish().unwrap();
            holder
        });
        let parts: Vec<u8> = stream.by_ref().map(Result::unwrap).collect();
        assert_eq!(parts, [11, 12]);
        closer.close();
        drop((receiving.join().unwrap(), handling.join().unwrap()));
    };
    // Three parties and two mailboxes: one preemption finds the faults, and two take minutes.
    let check = move || check_to(1, model);
    println!("stream from a forwarded port: {} executions", check());
    let faults = [Fault::CreditNotRung, Fault::PartsWaitNotSaid];
    finds_by("stream from a forwarded port", &faults, check);
}

#[test]
fn a_handler_that_holds_a_forwarded_port_is_told_of_its_killed_asker() {
    let model = |step| {
        let (home, holder) = (mailbox("home"), mailbox("holder"));
        let closer = home.closer();
        let process = Process::new();
        let mut stream = process.enter(|| stream_from("home"));
        let mut port = forwarded(&home, &holder);
        port.part(&11).unwrap();
        let receiving = thread::spawn(move || {
            assert!(home.recv().unwrap().is_none());
            home
        });
        let dying = process.kill_at(step).spawn(move || {
            assert_eq!(stream.next().unwrap().unwrap(), 11);
            drop(stream);
        });
        let waited = [12, 13].iter().try_for_each(|number| port.part(number));
        assert!(matches!(waited, Err(ReplyError::Gone { .. }) | Ok(())), "{waited:?}");
        let _ = dying.join();
        drop(port);
        closer.close();
        drop((receiving.join().unwrap(), holder));
    };
    let (steps, executions) = check_kills_to(0, model);
    println!("asker of a forwarded port killed: at each of {steps} steps, {executions} executions");
    let faults = [Fault::HolderOfDeadNotRung];
    finds_killed("asker of a forwarded port killed", &faults, model);
}
