//! Model-checking a protocol of one's own.
//!
//! A client asks a worker to double a number, gets the answer, and may tell the worker to stop at
//! any time. Stopping is urgent, so it travels with a low tag and overtakes. The first worker stops
//! at once, which loses a request that was sent before: loom finds the order of events in which the
//! client waits in vain. The second one answers what was asked before it stops.
//!
//! The same functions run between processes; only the `check` around them is loom's.
#![cfg(loom)]

use std::panic::catch_unwind;

use sysv_channel::codec::{Bincode, Schema};
use sysv_channel::model::{Process, check, check_kills, loom::thread};
use sysv_channel::{Channel, Receiver, Select, Sender, Tag};

const URGENT: Tag = Tag::DEFAULT;

/// What a client asks for: a number to double, or to stop.
type Request = Option<u8>;

/// Stops at once.
fn hasty_worker(requests: &Receiver<Request>, answers: &Sender<u8>) {
    while let Ok(request) = requests.recv_matching(Select::UpTo(ordinary())) {
        match request.value {
            Some(number) => answers.send(&(2 * number)).unwrap(),
            None => return,
        }
    }
}

/// Answers what was asked before it stops.
fn patient_worker(requests: &Receiver<Request>, answers: &Sender<u8>) {
    let mut stopping = false;
    loop {
        let next = match stopping {
            false => requests.recv_matching(Select::UpTo(ordinary())),
            true => requests.try_recv_matching(Select::Any),
        };
        match next.map(|request| request.value) {
            Ok(Some(number)) => answers.send(&(2 * number)).unwrap(),
            Ok(None) => stopping = true,
            Err(_) => return,
        }
    }
}

fn ordinary() -> Tag {
    Tag::new(2).unwrap()
}

fn channel<T>(name: &str) -> Channel<T>
where
    Bincode: sysv_channel::codec::Codec<T>,
{
    // Small numbers make small models: room for values of two bytes in messages, and no rings.
    let options = Channel::<T>::options().capacity(0).inline_limit(2).lanes(1);
    options.schema(Schema::named(name, 1)).private().unwrap()
}

/// One client, one worker, one request.
fn conversation(worker: fn(&Receiver<Request>, &Sender<u8>)) {
    let (requests, answers) = (channel::<Request>("request"), channel::<u8>("answer"));
    let (ask, hear) = (requests.sender().unwrap(), answers.receiver().unwrap());
    let (asked, answer) = (requests.receiver().unwrap(), answers.sender().unwrap());
    let worker = thread::spawn(move || worker(&asked, &answer));
    ask.send_tagged(ordinary(), &Some(21)).unwrap();
    ask.send_tagged(URGENT, &None).unwrap();
    assert_eq!(hear.recv().expect("every request is answered"), 42);
    worker.join().unwrap();
}

#[test]
fn loom_finds_the_request_that_the_hasty_model_worker_loses() {
    let found = catch_unwind(|| check(|| conversation(hasty_worker)));
    assert!(found.is_err(), "the request is lost if both are there when the worker looks");
}

#[test]
fn the_patient_model_worker_answers_in_every_execution() {
    let executions = check(|| conversation(patient_worker));
    println!("request, answer, stop: {executions} executions");
}

#[test]
fn a_dead_sender_is_noticed_wherever_the_model_kills_it() {
    let (steps, executions) = check_kills(|step| {
        let options = Channel::<u8>::options().lanes(1).inline_limit(0).capacity(256);
        let channel = options.private().unwrap();
        let (rx, handle) = (channel.receiver().unwrap(), channel.handle());
        let process = Process::new();
        let tx = process.enter(|| Channel::<u8>::open(handle).unwrap().sender().unwrap());
        let process = process.kill_at(step).spawn(move || tx.send(&42).unwrap());
        let got: Vec<u8> = rx.iter().map(|value| value.unwrap()).collect();
        let sent = process.join().is_some();
        assert!(got == [42] || got.is_empty() && !sent);
    });
    println!("dead sender: killed at each of {steps} steps, {executions} executions");
}
