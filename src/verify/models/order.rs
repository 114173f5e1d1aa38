//! Two paths, one order; values that go in fragments; selection; goodbyes.

use loom::thread;

use super::{finds, finds_killed, holds, holds_killed};
use crate::codec::{Bincode, Schema};
use crate::model::check_kills_to;
use crate::model::{Process, expire_deadlines, set_queue_capacity};
use crate::sys::Fault;
use crate::verify::fault::with_fault;
use crate::{Channel, Options, Select, Tag};
use std::panic::catch_unwind;
use std::time::Duration;

/// Strings: one letter is a message, more are ring records, many go in fragments.
fn strings(lines: usize) -> Options<String, Bincode> {
    let options = Channel::<String>::options().lanes(1).inline_limit(9).capacity(lines * 64);
    options.schema(Schema::named("string", 1))
}

/// The same without a queue.
fn strings_by_ring(lines: usize) -> Options<String, Bincode> {
    strings(lines).inline_limit(0)
}

fn text(len: usize) -> String {
    "abcdefghij".chars().cycle().take(len).collect()
}

/// Values of these lengths go from a thread to this one.
fn transfer(options: Options<String, Bincode>, lens: &'static [usize]) {
    let channel = options.private().unwrap();
    let (tx, rx) = (channel.sender().unwrap(), channel.receiver().unwrap());
    let sender = thread::spawn(move || {
        for &len in lens {
            tx.send(&text(len)).unwrap();
        }
        tx
    });
    for &len in lens {
        assert_eq!(rx.recv().unwrap(), text(len));
    }
    drop(sender.join().unwrap());
    assert!(rx.recv().unwrap_err().is_disconnected());
}

#[test]
fn small_and_bulk_values_keep_their_order() {
    let model = || transfer(strings(8), &[1, 30, 1]);
    holds("small, bulk, small", model);
    finds("small, bulk, small", &[Fault::NoRecheck], model);
}

#[test]
fn payload_that_looks_like_a_stamp_is_never_taken_for_one() {
    // A record of three lines whose second and third begin with what a stamp there would say;
    // then, a lap later, records that start on those lines.
    let model = || {
        let channel = Channel::<Vec<u8>, crate::codec::Raw>::options().lanes(1).inline_limit(0);
        let channel = channel.capacity(8 * 64).private().unwrap();
        let (tx, rx) = (channel.sender().unwrap(), channel.receiver().unwrap());
        let mut imitation = vec![0; 3 * 64 - 16];
        for line in 1..3_u64 {
            let stamp = (8 + line + 1).to_le_bytes();
            imitation[line as usize * 64 - 16..][..8].copy_from_slice(&stamp);
        }
        tx.send(&imitation).unwrap();
        assert_eq!(rx.recv().unwrap(), imitation);
        for _ in 3..8 {
            tx.send(&vec![1]).unwrap();
            assert_eq!(rx.recv().unwrap(), [1]);
        }
        let sender = thread::spawn(move || {
            tx.send(&vec![2]).unwrap();
            tx
        });
        assert_eq!(rx.recv().unwrap(), [2]);
        assert!(rx.try_recv().unwrap_err().is_empty());
        sender.join().unwrap();
    };
    holds("payload that imitates a stamp", model);
    finds("payload that imitates a stamp", &[Fault::NextStampNotCleared], model);
}

#[test]
fn a_value_in_fragments_arrives_whole() {
    let model = || transfer(strings_by_ring(4), &[200, 1]);
    holds("fragments by ring", model);
    finds("fragments by ring", &[Fault::NoRecheck, Fault::NoRingFence], model);
}

#[test]
fn a_value_in_fragments_keeps_its_place_among_messages() {
    let model = || transfer(strings(4), &[1, 150, 1]);
    holds("fragments and messages", model);
    finds("fragments and messages", &[Fault::NoRecheck], model);
}

#[test]
fn a_value_in_fragments_is_received_or_timed_out_and_never_both() {
    let model = || {
        let channel = strings_by_ring(4).private().unwrap();
        let (tx, rx) = (channel.sender().unwrap(), channel.receiver().unwrap());
        let sender = thread::spawn(move || {
            let sent = tx.send_timeout(&text(150), Duration::from_secs(1));
            drop(tx);
            sent.is_ok()
        });
        let clock = thread::spawn(expire_deadlines);
        let got: Vec<_> = rx.iter().map(|value| value.unwrap()).collect();
        let sent = sender.join().unwrap();
        assert_eq!(got.len(), usize::from(sent), "sent is received");
        clock.join().unwrap();
    };
    holds("fragments against a deadline", model);
    finds("fragments against a deadline", &[Fault::LongNotSettled], model);
}

#[test]
fn a_value_in_fragments_survives_the_receivers_death() {
    let model = |step| {
        let channel = strings_by_ring(4).durable().create("long").unwrap();
        let handle = channel.handle();
        let process = Process::new();
        let options = strings_by_ring(4);
        let rx = process.enter(|| options.open(handle).unwrap().receiver().unwrap());
        let dead = process.kill_at(step).spawn(move || rx.recv().unwrap());
        let tx = channel.sender().unwrap();
        let sender = thread::spawn(move || {
            tx.send(&text(110)).unwrap();
            tx.send(&text(1)).unwrap();
            tx
        });
        let first = dead.join();
        let rx = channel.receiver().unwrap();
        let value = rx.recv().unwrap();
        if value == text(110) {
            assert!(first.is_none(), "received once");
            assert_eq!(rx.recv().unwrap(), text(1));
        } else {
            // Received, or handed over in the moment of death.
            assert_eq!(value, text(1));
        }
        drop((rx, sender.join().unwrap()));
        Channel::<String>::unlink("long").unwrap();
    };
    // Three threads in eighty steps: threads change where they block, and at the kill.
    let (steps, executions) = check_kills_to(0, model);
    println!("fragments, receiver killed: at each of {steps} steps, {executions} executions");
    let broken = || with_fault(Fault::LongNotRestarted, || check_kills_to(0, model));
    assert!(catch_unwind(broken).is_err(), "LongNotRestarted was not found");
}

#[test]
fn a_sender_killed_in_fragments_delivers_nothing_half() {
    let model = |step| {
        let channel = strings_by_ring(4).private().unwrap();
        let rx = channel.receiver().unwrap();
        let handle = channel.handle();
        let process = Process::new();
        let options = strings_by_ring(4);
        let tx = process.enter(|| options.open(handle).unwrap().sender().unwrap());
        let sender = process.kill_at(step).spawn(move || tx.send(&text(150)).unwrap());
        let got: Vec<_> = rx.iter().map(|value| value.unwrap()).collect();
        let sent = sender.join().is_some();
        assert!(got.is_empty() && !sent || got == [text(150)]);
        let next = channel.sender().unwrap();
        next.send(&text(20)).unwrap();
        assert_eq!(rx.recv().unwrap(), text(20));
    };
    holds_killed("fragments, sender killed", model);
    finds_killed("fragments, sender killed", &[Fault::NoUndo], model);
}

#[test]
fn a_record_without_descriptor_is_announced_by_the_next_owner() {
    // Two lines a record in a ring of eight: unless the leftover is taken, its place and all behind
    // it stay taken, and the third value has no room.
    let model = |step| {
        let channel = strings(8).private().unwrap();
        let rx = channel.receiver().unwrap();
        let handle = channel.handle();
        let process = Process::new();
        let tx = process.enter(|| strings(8).open(handle).unwrap().sender().unwrap());
        let dead = process.kill_at(step).spawn(move || tx.send(&text(60)).unwrap());
        let sent = dead.join().is_some();
        let next = channel.sender().unwrap();
        let mut got = Vec::new();
        for len in [61, 62, 63, 64] {
            next.send(&text(len)).unwrap();
            loop {
                let value = rx.recv().unwrap();
                got.push(value.len());
                if value == text(len) {
                    break;
                }
            }
        }
        let others = got.strip_prefix(&[60]).unwrap_or(&got);
        assert_eq!(others, [61, 62, 63, 64]);
        assert!(!sent || got.len() == 5, "sent is received");
    };
    holds_killed("leftover of a dead owner", model);
    finds_killed("leftover of a dead owner", &[Fault::LeftoverNotAnnounced], model);
}

#[test]
fn a_record_whose_descriptor_finds_no_room_is_taken_back() {
    let model = || {
        // Room for one descriptor or one message of one letter.
        set_queue_capacity(16 + 9);
        let channel = strings(8).private().unwrap();
        let (tx, rx) = (channel.sender().unwrap(), channel.receiver().unwrap());
        let receiver = thread::spawn(move || {
            let got = [rx.recv().unwrap().len(), rx.recv().unwrap().len()];
            (rx, got)
        });
        tx.send(&text(1)).unwrap();
        let bulk = match tx.try_send(&text(60)) {
            Ok(()) => 60,
            Err(error) => {
                assert!(error.is_full());
                tx.send(&text(50)).unwrap();
                50
            }
        };
        let (rx, got) = receiver.join().unwrap();
        assert_eq!(got, [1, bulk]);
        for len in [61, 62, 63] {
            tx.send(&text(len)).unwrap();
            assert_eq!(rx.recv().unwrap().len(), len);
        }
        set_queue_capacity(16_384);
    };
    holds("descriptor without room", model);
    finds("descriptor without room", &[Fault::NotRetracted, Fault::AnnouncedIgnored], model);
}

#[test]
fn selection_against_sending() {
    let model = || {
        let channel = strings(8).private().unwrap();
        let (tx, rx) = (channel.sender().unwrap(), channel.receiver().unwrap());
        let tag = |number| Tag::new(number).unwrap();
        let sender = thread::spawn(move || {
            tx.send_tagged(tag(5), &text(30)).unwrap();
            tx.send_tagged(tag(6), &text(1)).unwrap();
            tx
        });
        let six = rx.recv_matching(Select::Exactly(tag(6))).unwrap();
        assert_eq!((six.tag, six.value), (tag(6), text(1)));
        assert_eq!(rx.recv().unwrap(), text(30));
        drop(sender.join().unwrap());
        assert!(rx.recv().unwrap_err().is_disconnected());
    };
    holds("selection against sending", model);
    finds("selection against sending", &[Fault::NoRecheck], model);
}

#[test]
fn a_value_in_fragments_selected_from_behind_another_wakes_its_sender() {
    let model = || {
        // The one passed over takes a line, the long one five; none of them comes free before the
        // first is received.
        let channel = strings(8).private().unwrap();
        let (tx, rx) = (channel.sender().unwrap(), channel.receiver().unwrap());
        let tag = |number| Tag::new(number).unwrap();
        let sender = thread::spawn(move || {
            tx.send_tagged(tag(5), &text(30)).unwrap();
            tx.send_tagged(tag(6), &text(250)).unwrap();
            tx
        });
        let six = rx.recv_matching(Select::Exactly(tag(6))).unwrap();
        assert_eq!((six.tag, six.value), (tag(6), text(250)));
        // Without another look from the receiver, which would ring too.
        let tx = sender.join().unwrap();
        assert_eq!(rx.recv().unwrap(), text(30));
        drop(tx);
        assert!(rx.recv().unwrap_err().is_disconnected());
    };
    holds("fragments from behind another value", model);
    finds("fragments from behind another value", &[Fault::LongNotRung, Fault::NoRecheck], model);
}

#[test]
fn a_deadline_against_a_value() {
    let model = || {
        let channel = strings_by_ring(4).private().unwrap();
        let (tx, rx) = (channel.sender().unwrap(), channel.receiver().unwrap());
        let sender = thread::spawn(move || {
            tx.send(&text(1)).unwrap();
            tx
        });
        let clock = thread::spawn(expire_deadlines);
        match rx.recv_timeout(Duration::from_secs(1)) {
            Ok(value) => assert_eq!(value, text(1)),
            Err(error) => {
                assert!(error.is_timeout());
                assert_eq!(rx.recv().unwrap(), text(1), "a timeout loses nothing");
            }
        }
        drop(sender.join().unwrap());
        clock.join().unwrap();
    };
    holds("deadline against a value", model);
    finds("deadline against a value", &[Fault::NoRingFence], model);
}

#[test]
fn goodbyes_cross() {
    let model = || {
        let channel = strings_by_ring(4).private().unwrap();
        let (tx, rx) = (channel.sender().unwrap(), channel.receiver().unwrap());
        drop(channel);
        let sender = thread::spawn(move || tx.send(&text(1)).is_ok());
        let receiver = thread::spawn(move || rx.recv());
        let sent = sender.join().unwrap();
        let received = receiver.join().unwrap();
        assert!(sent, "the receiver had not gone before");
        assert_eq!(received.unwrap(), text(1));
    };
    holds("sender and receiver go", model);
    finds("sender and receiver go", &[Fault::NoLastLook], model);
}

#[test]
fn a_receiver_that_goes_while_one_sends() {
    let model = || {
        let channel = strings_by_ring(2).private().unwrap();
        let (tx, rx) = (channel.sender().unwrap(), channel.receiver().unwrap());
        let receiver = thread::spawn(move || drop(rx));
        let mut sent = 0;
        while tx.send(&text(1)).is_ok() {
            sent += 1;
        }
        assert!(sent <= 1);
        receiver.join().unwrap();
    };
    holds("receiver goes while one sends", model);
    finds("receiver goes while one sends", &[Fault::NoRecheck], model);
}
