//! How many values wait at most, where that is bounded by their number.

use loom::thread;

use super::{finds, finds_killed, holds_killed, mixed, process_with_sender};
use crate::Channel;
use crate::model::check_to;
use crate::sys::Fault;

/// A channel in which one value waits.
fn one() -> Channel<u8> {
    mixed(4).lanes(2).max_waiting(1).private().unwrap()
}

/// The same without rings, whose messages are longer than its values.
fn one_message() -> Channel<u8> {
    mixed(0).inline_limit(40).lanes(2).max_waiting(1).private().unwrap()
}

fn two_senders(channel: Channel<u8>) {
    let rx = channel.receiver().unwrap();
    let senders = [1_u8, 2].map(|value| {
        let tx = channel.sender().unwrap();
        thread::spawn(move || {
            tx.send(&value).unwrap();
            tx
        })
    });
    let mut sum = 0;
    for _ in 0..2 {
        assert!(rx.len().unwrap() <= 1, "more wait than were asked for");
        sum += rx.recv().unwrap();
    }
    assert_eq!(sum, 3);
    for sender in senders {
        drop(sender.join().unwrap());
    }
}

#[test]
fn no_more_values_wait_than_were_asked_for_and_no_sender_waits_in_vain() {
    for (name, model) in [
        ("bound by number, records", (|| two_senders(one())) as fn()),
        ("bound by number, messages", || two_senders(one_message())),
    ] {
        let executions = check_to(1, model);
        println!("{name}: {executions} executions");
        finds(name, &[Fault::CapacityNotSet, Fault::QueueSpaceNotGiven], model);
    }
    let model = || two_senders(one_message());
    finds("bound by number, messages", &[Fault::NotPadded], model);
}

#[test]
fn a_killed_sender_takes_no_place_along() {
    let model = |step| {
        let channel = one();
        let (process, other) = process_with_sender(&channel);
        let (tx, rx) = (channel.sender().unwrap(), channel.receiver().unwrap());
        let dying = process.kill_at(step).spawn(move || {
            other.send(&1).unwrap();
            std::mem::forget(other);
        });
        let sender = thread::spawn(move || {
            tx.send(&2).unwrap();
            tx
        });
        while rx.recv().unwrap() != 2 {}
        dying.join();
        let tx = sender.join().unwrap();
        while rx.try_recv().is_ok() {}
        // There is room for one.
        tx.try_send(&3).unwrap();
        assert!(tx.try_send(&4).unwrap_err().is_full());
        assert_eq!(rx.recv().unwrap(), 3);
    };
    holds_killed("bound by number, sender killed", model);
    finds_killed("bound by number, sender killed", &[Fault::CapacityNotSet], model);
}
