//! How many values wait at most, where a channel or a mailbox was created with a number.

#![cfg(not(loom))]

mod common;

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use common::{Child, Stage, at_any_moment, halt, play, random, say};
use sysv_channel::actor::{Address, BindError, Mailbox, MailboxOptions};
use sysv_channel::codec::Bytes;
use sysv_channel::{Channel, DefaultCodec, OpenError, Options, Sender};

type Values = Options<Bytes, DefaultCodec>;

/// Both shapes that count.
fn shapes() -> [(&'static str, Values); 2] {
    let options = || Channel::<Bytes>::options().lanes(8);
    [
        ("records", options().inline_limit(200).capacity(64 << 10)),
        ("messages", options().inline_limit(200).capacity(0)),
    ]
}

fn open(name: &str) -> Channel<Bytes> {
    Channel::open(name).unwrap()
}

/// The parts that this binary plays when it is started as a child.
#[test]
fn child() {
    play(|role, arguments| {
        let channel = open(arguments[0]);
        match role {
            "sends" => {
                let tx = channel.sender().unwrap();
                say("attached");
                loop {
                    let value = vec![7; random(190) as usize].into();
                    match random(3) {
                        0 => drop(tx.try_send(&value)),
                        1 => drop(tx.send_timeout(&value, Duration::from_micros(random(500)))),
                        _ => tx.send(&value).unwrap(),
                    }
                }
            }
            "receives" => {
                let rx = channel.receiver().unwrap();
                say("attached");
                loop {
                    rx.recv().unwrap();
                }
            }
            "sends one" => {
                let tx = channel.sender().unwrap();
                tx.send(&vec![9; 3].into()).unwrap();
                halt("sent");
            }
            _ => unreachable!("no such role: {role}"),
        }
    });
}

/// How many values find room, of any length.
fn fill(tx: &Sender<Bytes>) -> usize {
    (0..)
        .find(|&sent| match tx.try_send(&vec![1; sent % 191].into()) {
            Ok(()) => false,
            Err(error) => {
                assert!(error.is_full(), "{error}");
                true
            }
        })
        .unwrap()
}

#[test]
fn as_many_values_wait_as_were_asked_for_and_no_more() {
    for (shape, options) in shapes() {
        let most = if shape == "records" { 16_384 / 16 } else { 16_384 / 216 };
        for values in [1, 2, 7, most] {
            let options = options.clone().max_waiting(values);
            let options = if shape == "records" { options.capacity(1 << 20) } else { options };
            let channel = options.private().unwrap();
            let (tx, rx) = (channel.sender().unwrap(), channel.receiver().unwrap());
            assert_eq!(fill(&tx), values, "{shape}");
            let other = channel.sender().unwrap();
            assert!(tx.is_full().unwrap() && other.try_send(&Bytes::default()).is_err());
            assert_eq!(rx.len().unwrap(), values);
            for received in 1..=values {
                rx.recv().unwrap();
                other.try_send(&Bytes::default()).unwrap();
                assert!(tx.try_send(&Bytes::default()).is_err(), "{shape}, {received}");
            }
            assert_eq!(rx.len().unwrap(), values);
        }
    }
}

#[test]
fn a_bound_that_cannot_be_kept_is_refused_with_the_one_that_can() {
    let refused = |options: Values, words: &[&str]| {
        let Err(OpenError::InvalidOptions { what, .. }) = options.private() else { panic!() };
        for word in words {
            assert!(what.contains(word), "{what}");
        }
    };
    let [(_, records), (_, messages)] = shapes();
    refused(records.clone().max_waiting(0), &["max_waiting is 0", "at least 1"]);
    refused(records.clone().inline_limit(0).max_waiting(3), &["needs a queue", "inline_limit"]);
    let msgmnb: usize =
        std::fs::read_to_string("/proc/sys/kernel/msgmnb").unwrap().trim().parse().unwrap();
    let most = (msgmnb / 16).to_string();
    refused(records.max_waiting(msgmnb / 16 + 1), &["max_waiting", &most, "kernel.msgmnb"]);
    let most = (msgmnb / 216).to_string();
    refused(messages.max_waiting(usize::MAX), &["max_waiting", &most, "kernel.msgmnb"]);
    let bound = MailboxOptions::new().max_waiting(1 << 20).private::<u8, DefaultCodec>();
    assert!(matches!(bound, Err(BindError::InvalidOptions { .. })));
}

#[test]
fn a_bounded_channel_is_adopted_with_its_bound_and_with_no_other() {
    for (shape, options) in shapes() {
        let stage = Stage::new("adopted");
        let channel = options.clone().max_waiting(2).create(stage.name()).unwrap();
        assert_eq!(fill(&channel.sender().unwrap()), 2, "{shape}");
        drop(channel);
        let error = options.clone().max_waiting(3).create(stage.name()).unwrap_err();
        let OpenError::OtherOptions { ref difference, .. } = error else { panic!("{error}") };
        assert_eq!(difference, "max_waiting is 2, and 3 was asked for");
        let error = options.create(stage.name()).unwrap_err();
        assert!(error.to_string().contains("and unbounded was asked for"), "{error}");
        let channel = options.max_waiting(2).create(stage.name()).unwrap();
        // A program that opens it needs to know nothing.
        let tx = open(stage.name()).sender().unwrap();
        assert!(tx.try_send(&Bytes::default()).unwrap_err().is_full());
        let rx = channel.receiver().unwrap();
        rx.recv().unwrap();
        tx.try_send(&Bytes::default()).unwrap();
        assert!(tx.try_send(&Bytes::default()).unwrap_err().is_full());
    }
}

#[test]
fn senders_that_wait_for_a_place_have_it_in_turn_and_keep_the_bound() {
    for (shape, options) in shapes() {
        for values in [1, 3] {
            let channel = options.clone().max_waiting(values).private().unwrap();
            let rx = channel.receiver().unwrap();
            let over = AtomicBool::new(false);
            thread::scope(|scope| {
                let senders: Vec<_> = (0..4_u8)
                    .map(|number| {
                        let tx = channel.sender().unwrap();
                        let over = &over;
                        scope.spawn(move || {
                            let mut sent = 0_usize;
                            while !over.load(Ordering::Relaxed) {
                                // Longer than the queue takes, too, where there are rings.
                                let len = if shape == "records" { sent % 3000 } else { sent % 190 };
                                tx.send(&vec![number; 1 + len].into()).unwrap();
                                sent += 1;
                            }
                            sent
                        })
                    })
                    .collect();
                let mut received = [0; 4];
                for _ in 0..20_000 {
                    assert!(rx.len().unwrap() <= values, "{shape}");
                    let value = rx.recv().unwrap();
                    let sender = usize::from(value[0]);
                    let expected = if shape == "records" { 3000 } else { 190 };
                    assert_eq!(value.len(), 1 + received[sender] % expected);
                    received[sender] += 1;
                }
                over.store(true, Ordering::Relaxed);
                while senders.iter().any(|sender| !sender.is_finished()) {
                    if let Ok(value) = rx.try_recv() {
                        received[usize::from(value[0])] += 1;
                    }
                }
                while let Ok(value) = rx.try_recv() {
                    received[usize::from(value[0])] += 1;
                }
                for (sender, received) in senders.into_iter().zip(received) {
                    assert_eq!(sender.join().unwrap(), received);
                    // Each has its turns, whatever else runs on this machine.
                    assert!(received > 200, "{shape}: one of {received}");
                }
            });
        }
    }
}

/// Senders and receivers are killed at any moment; afterwards there is room for exactly as many as before.
#[test]
fn no_process_that_is_killed_takes_a_place_along() {
    for (shape, options) in shapes() {
        for values in [1, 5] {
            let stage = Stage::new("killed");
            let options = options.clone().max_waiting(values).durable();
            let channel = options.create(stage.name()).unwrap();
            for _ in 0..8 {
                let mut receiver = stage.child("receives", &[]);
                receiver.expect("attached");
                let mut senders: Vec<Child> = (0..3).map(|_| stage.child("sends", &[])).collect();
                senders.iter_mut().for_each(|sender| sender.expect("attached"));
                at_any_moment(2000);
                let victims = random(8);
                let mut receiver = Some(receiver);
                for (number, sender) in senders.into_iter().enumerate() {
                    if victims >> number & 1 == 0 {
                        receiver.take().map(Child::kill);
                    }
                    at_any_moment(300);
                    let waiting = channel.stats().unwrap().queued;
                    assert!(waiting <= values as u64, "{shape}: {waiting} wait");
                    sender.kill();
                }
                drop(receiver);
                let rx = channel.receiver().unwrap();
                while rx.try_recv().is_ok() {}
                let tx = channel.sender().unwrap();
                // It may have what its lane's last owner did not come to announce.
                let _ = tx.try_send(&Bytes::default());
                while rx.try_recv().is_ok() {}
                // Some died in line, and their lanes have no owner.
                assert_eq!(fill(&tx), values, "{shape}");
                drop(tx);
                while rx.try_recv().is_ok() {}
            }
            drop(channel);
            Channel::<Bytes>::unlink(stage.name()).unwrap();
        }
    }
}

#[test]
fn a_value_in_the_hand_of_a_dead_receiver_does_not_count() {
    for (_, options) in shapes() {
        let stage = Stage::new("in hand");
        let channel = options.max_waiting(1).create(stage.name()).unwrap();
        let mut sender = stage.child("sends one", &[]);
        sender.expect("sent");
        let tx = channel.sender().unwrap();
        assert!(tx.try_send(&Bytes::default()).unwrap_err().is_full());
        sender.kill();
        assert!(tx.try_send(&Bytes::default()).unwrap_err().is_full());
        let rx = channel.receiver().unwrap();
        assert_eq!(rx.recv().unwrap().len(), 3);
        tx.try_send(&Bytes::default()).unwrap();
    }
}

#[test]
fn a_value_in_fragments_counts_once_it_is_complete() {
    let [(_, options), _] = shapes();
    let channel = options.max_waiting(1).private().unwrap();
    let (tx, rx) = (channel.sender().unwrap(), channel.receiver().unwrap());
    let long: Bytes = vec![5; 300_000].into();
    let sending = thread::spawn(move || {
        tx.send(&long).unwrap();
        tx
    });
    assert_eq!(rx.recv().unwrap().len(), 300_000);
    let tx = sending.join().unwrap();
    assert_eq!(fill(&tx), 1);
}

#[test]
fn a_mailbox_holds_as_many_messages_as_it_was_bound_for() {
    let stage = Stage::new("mailbox");
    let options = MailboxOptions::new().max_waiting(3);
    let mailbox: Mailbox<u64> = options.bind(stage.name()).unwrap();
    let addresses: Vec<Address<u64>> =
        (0..3).map(|_| Address::connect(stage.name()).unwrap()).collect();
    for (number, address) in addresses.iter().enumerate() {
        address.tell(&(number as u64)).unwrap();
    }
    assert!(addresses[0].try_tell(&9).unwrap_err().is_full());
    assert!(addresses[1].tell_timeout(&9, Duration::from_millis(1)).unwrap_err().is_timeout());
    assert_eq!(mailbox.recv().unwrap(), Some(0));
    addresses[2].tell_urgent(&7).unwrap();
    let told = std::iter::from_fn(|| mailbox.try_recv().ok().flatten());
    assert_eq!(told.collect::<Vec<_>>(), [7, 1, 2]);
}
