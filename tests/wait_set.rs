//! Waiting for several receivers at once: values, deaths, closing, removal, turns, and what stays where it is.

#![cfg(not(loom))]

mod common;

use std::collections::BTreeMap;
use std::os::fd::AsFd;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use common::Stage;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use sysv_channel::actor::Mailbox;
use sysv_channel::codec::{Bytes, Raw};
use sysv_channel::rpc::{Client, Event, Server};
use sysv_channel::{Channel, Options, RecvError, Select, Tag, WaitSet};

type Line = Channel<Bytes, Raw>;

fn shapes() -> [(&'static str, Options<Bytes, Raw>); 3] {
    let options = || Line::options().lanes(4);
    [
        ("mixed", options().capacity(4096).inline_limit(256)),
        ("ring only", options().capacity(4096).inline_limit(0)),
        ("queue only", options().capacity(0).inline_limit(2048)),
    ]
}

fn number(of: &Bytes) -> u64 {
    u64::from_le_bytes(of[..8].try_into().unwrap())
}

fn numbered(number: u64, len: usize) -> Bytes {
    let mut bytes = number.to_le_bytes().to_vec();
    bytes.resize(len.max(8), 7);
    bytes.into()
}

#[test]
fn values_of_all_members_come_whole_and_in_order() {
    // The longer ones go in records, or in fragments.
    for (lens, pause) in [(&[8, 200][..], 0), (&[8, 600, 9000][..], 0), (&[8, 9000][..], 100)] {
        let channels = shapes().map(|(shape, options)| (shape, options.private().unwrap()));
        let receivers = channels.each_ref().map(|(_, channel)| channel.receiver().unwrap());
        let values = if pause == 0 { 2000 } else { 60 };
        thread::scope(|scope| {
            for (shape, channel) in &channels {
                let tx = channel.sender().unwrap();
                scope.spawn(move || {
                    for value in 0..values {
                        let len = lens[value as usize % lens.len()];
                        let len = if *shape == "queue only" { len.min(1000) } else { len };
                        tx.send(&numbered(value, len)).unwrap();
                        // So that the set sleeps most of the time.
                        thread::sleep(Duration::from_micros(pause));
                    }
                });
            }
            let mut set = WaitSet::new();
            let mut expected = BTreeMap::new();
            for receiver in &receivers {
                expected.insert(set.add(receiver), 0);
            }
            let mut nothing = 0;
            while let Some(ready) = set.ready().unwrap() {
                match receivers[ready].try_recv() {
                    Ok(value) => {
                        let expected = expected.get_mut(&ready).unwrap();
                        assert_eq!(number(&value), *expected, "{}", channels[ready].0);
                        *expected += 1;
                    }
                    Err(error) if error.is_empty() => nothing += 1,
                    Err(error) if error.is_disconnected() => assert!(set.remove(ready)),
                    Err(error) => panic!("{error}"),
                }
            }
            assert!(expected.values().all(|&came| came == values), "{expected:?}");
            println!("{lens:?}: {nothing} times there was nothing");
        });
    }
}

#[test]
fn members_that_are_always_ready_have_their_turns() {
    let channels = shapes().map(|(_, options)| options.private().unwrap());
    let receivers = channels.each_ref().map(|channel| channel.receiver().unwrap());
    let senders = channels.each_ref().map(|channel| channel.sender().unwrap());
    let mut set = WaitSet::new();
    receivers.iter().for_each(|receiver| assert!(set.add(receiver) < 3));
    for sender in &senders {
        for value in 0..10 {
            sender.send(&numbered(value, 8)).unwrap();
        }
    }
    for round in 0..30 {
        assert_eq!(set.ready().unwrap(), Some(round % 3));
        assert_eq!(number(&receivers[round % 3].try_recv().unwrap()), round as u64 / 3);
    }
    assert_eq!(set.try_ready().unwrap(), None);
}

#[test]
fn nothing_is_taken_by_waiting() {
    for (shape, options) in shapes() {
        let channel = options.private().unwrap();
        let (tx, rx) = (channel.sender().unwrap(), channel.receiver().unwrap());
        let mut set = WaitSet::new();
        assert_eq!(set.ready().unwrap(), None, "a set without members");
        let only = set.add(&rx);
        assert_eq!(set.try_ready().unwrap(), None, "{shape}");
        for value in 0..3 {
            tx.send(&numbered(value, 8)).unwrap();
        }
        for _ in 0..100 {
            assert_eq!(set.ready().unwrap(), Some(only), "{shape}");
        }
        assert_eq!(rx.len().unwrap(), 3, "{shape}");
        // The receiver of another day has all of it.
        drop(set);
        drop(rx);
        let rx = channel.receiver().unwrap();
        for value in 0..3 {
            assert_eq!(number(&rx.recv().unwrap()), value, "{shape}");
        }
    }
}

#[test]
fn what_waits_is_selected_by_the_call_that_receives_it() {
    let channel = shapes()[0].1.private().unwrap();
    let (tx, rx) = (channel.sender().unwrap(), channel.receiver().unwrap());
    let [urgent, ordinary] = [1, 5].map(|tag| Tag::new(tag).unwrap());
    let mut set = WaitSet::new();
    set.add(&rx);
    tx.send_tagged(ordinary, &numbered(0, 8)).unwrap();
    assert!(set.ready().unwrap().is_some());
    tx.send_tagged(urgent, &numbered(1, 8)).unwrap();
    let first = rx.try_recv_matching(Select::UpTo(ordinary)).unwrap();
    assert_eq!((first.tag, number(&first.value)), (urgent, 1));

    let mailbox = Mailbox::<u32>::private().unwrap();
    let address = mailbox.address();
    let mut set = WaitSet::new();
    set.add(&mailbox);
    address.tell(&5).unwrap();
    assert!(set.ready().unwrap().is_some());
    address.tell_urgent(&1).unwrap();
    assert!(set.ready().unwrap().is_some());
    assert_eq!(mailbox.try_recv().unwrap(), Some(1));
    assert_eq!(mailbox.try_recv().unwrap(), Some(5));
}

#[test]
fn a_value_in_fragments_stays_until_it_is_received() {
    for (shape, options) in shapes().into_iter().take(2) {
        let channel = options.private().unwrap();
        let (tx, rx) = (channel.sender().unwrap(), channel.receiver().unwrap());
        let long = numbered(7, 100_000);
        thread::scope(|scope| {
            let sending = scope.spawn(|| {
                let sent = tx.send(&long);
                // One that is given up is ready for a while, and is nothing then.
                let late = tx.send_timeout(&long, Duration::from_millis(20));
                (tx, sent, late)
            });
            let mut set = WaitSet::new();
            let only = set.add(&rx);
            for _ in 0..50 {
                assert_eq!(set.ready().unwrap(), Some(only), "{shape}");
            }
            assert!(!sending.is_finished(), "{shape}");
            assert!(rx.try_recv().unwrap() == long, "{shape}");
            let ready = set.ready().unwrap();
            let (tx, sent, late) = sending.join().unwrap();
            sent.unwrap();
            assert!(late.unwrap_err().is_timeout(), "{shape}");
            assert_eq!(ready, Some(only));
            assert!(rx.try_recv().unwrap_err().is_empty(), "{shape}");
            assert_eq!(set.try_ready().unwrap(), None, "{shape}");
            tx.send(&numbered(8, 8)).unwrap();
            assert_eq!(set.ready().unwrap(), Some(only), "{shape}");
            assert_eq!(number(&rx.try_recv().unwrap()), 8, "{shape}");
        });
    }
}

#[test]
fn a_set_waits_no_longer_than_it_is_told() {
    let channels = shapes().map(|(_, options)| options.private().unwrap());
    let ends = channels.each_ref().map(|channel| {
        let (tx, rx) = (channel.sender().unwrap(), channel.receiver().unwrap());
        (tx, rx)
    });
    let mut set = WaitSet::new();
    ends.iter().for_each(|(_, rx)| assert!(set.add(rx) < 3));
    for timeout in [0, 1, 30] {
        let timeout = Duration::from_millis(timeout);
        let start = Instant::now();
        assert_eq!(set.ready_timeout(timeout).unwrap(), None);
        assert!(start.elapsed() >= timeout);
        let until = Instant::now() + timeout;
        assert_eq!(set.ready_deadline(until).unwrap(), None);
        assert!(Instant::now() >= until);
    }
    // A member that was removed from the set is not waited for.
    ends[1].0.send(&numbered(0, 8)).unwrap();
    assert!(set.remove(1));
    assert!(!set.remove(1) && !set.remove(17));
    assert_eq!(set.try_ready().unwrap(), None);
    let again = set.add(&ends[1].1);
    assert_eq!(set.try_ready().unwrap(), Some(again));
}

#[test]
fn closing_a_member_ends_the_wait_once_and_loses_nothing() {
    let [one, other] = [0, 1].map(|shape| shapes()[shape].1.private().unwrap());
    let (tx, rx) = (one.sender().unwrap(), one.receiver().unwrap());
    let (_other_tx, other_rx) = (other.sender().unwrap(), other.receiver().unwrap());
    let mut set = WaitSet::new();
    let (first, _) = (set.add(&rx), set.add(&other_rx));
    let closer = other_rx.closer();
    let closing = thread::spawn(move || {
        // Before the wait or in the middle of it: the test holds for both.
        thread::sleep(Duration::from_millis(5));
        closer.close();
    });
    let error = set.ready().unwrap_err();
    assert!(error.is_closed(), "{error}");
    closing.join().unwrap();
    tx.send(&numbered(3, 8)).unwrap();
    assert_eq!(set.ready().unwrap(), Some(first));
    assert_eq!(number(&rx.try_recv().unwrap()), 3);
    assert_eq!(set.ready_timeout(Duration::from_millis(1)).unwrap(), None);
}

#[test]
fn a_member_that_is_removed_is_ready() {
    for (shape, options) in shapes() {
        let stage = Stage::new("set removed");
        let channel = options.create(stage.name()).unwrap();
        let (_tx, rx) = (channel.sender().unwrap(), channel.receiver().unwrap());
        let mut set = WaitSet::new();
        let only = set.add(&rx);
        let name = stage.name().to_owned();
        let removing = thread::spawn(move || {
            thread::sleep(Duration::from_millis(5));
            Line::unlink(&*name).unwrap();
        });
        for _ in 0..2 {
            assert_eq!(set.ready().unwrap(), Some(only), "{shape}");
            assert!(rx.try_recv().unwrap_err().is_removed(), "{shape}");
        }
        removing.join().unwrap();
    }
}

#[test]
fn a_member_in_the_middle_of_a_call_is_an_error() {
    let channel = shapes()[1].1.private().unwrap();
    // SAFETY: both ends are this test's.
    let trust = unsafe { sysv_channel::TrustedPeers::promise() };
    let options = Line::options().in_place(trust);
    let lending = options.open(channel.handle()).unwrap();
    let (tx, rx) = (channel.sender().unwrap(), lending.receiver().unwrap());
    tx.send(&numbered(0, 8)).unwrap();
    let mut set = WaitSet::new();
    set.add(&rx);
    let lease = rx.recv_in_place().unwrap();
    assert!(matches!(set.ready(), Err(RecvError::Reentrant { .. })));
    drop(lease);
    assert_eq!(set.try_ready().unwrap(), None);
}

#[test]
fn one_thread_serves_a_server_a_mailbox_and_a_channel() {
    let stage = Stage::new("set services");
    let name = stage.name().to_owned();
    let server = Server::<u64, u64>::bind(&*name).unwrap();
    let mailbox = Mailbox::<u64>::private().unwrap();
    let channel = shapes()[0].1.private().unwrap();
    let rx = channel.receiver().unwrap();
    let (stop, address, tx) = (server.closer(), mailbox.address(), channel.sender().unwrap());
    thread::scope(|scope| {
        let calls = scope.spawn(move || {
            let client = Client::<u64, u64>::connect(&*name).unwrap();
            (0..300).for_each(|number| assert_eq!(client.call(&number).unwrap(), number + 1));
            stop.close();
        });
        let tells = scope.spawn(move || (0..300).for_each(|told| address.tell(&told).unwrap()));
        let sends =
            scope.spawn(move || (0..300).for_each(|sent| tx.send(&numbered(sent, 8)).unwrap()));
        let mut set = WaitSet::new();
        let [calling, telling, sending] = [set.add(&server), set.add(&mailbox), set.add(&rx)];
        let (mut called, mut told, mut sent) = (0, 0, 0);
        while let Some(ready) = set.ready().unwrap() {
            if ready == calling {
                match server.try_recv() {
                    Ok(Some(request)) => {
                        called += 1;
                        let (number, responder) = request.into_parts();
                        responder.reply(&(number + 1)).unwrap();
                    }
                    Ok(None) => assert!(set.remove(calling)),
                    Err(error) => assert!(error.is_empty(), "{error}"),
                }
            } else if ready == telling {
                if let Ok(message) = mailbox.try_recv() {
                    assert_eq!(message, Some(told));
                    told += 1;
                }
                if told == 300 {
                    assert!(set.remove(telling));
                }
            } else {
                match rx.try_recv() {
                    Ok(value) => {
                        assert_eq!(number(&value), sent);
                        sent += 1;
                    }
                    Err(error) if error.is_disconnected() => assert!(set.remove(sending)),
                    Err(error) => assert!(error.is_empty(), "{error}"),
                }
            }
        }
        assert_eq!((called, told, sent), (300, 300, 300));
        calls.join().unwrap();
        tells.join().unwrap();
        sends.join().unwrap();
    });
}

#[test]
fn clients_and_actors_that_go_are_told_of_in_a_set_and_at_a_descriptor() {
    let stage = Stage::new("set ends");
    let server = Server::<u64, u64>::bind(stage.name()).unwrap();
    let parent = Mailbox::<String>::private().unwrap();
    let at = [server.readiness().unwrap(), parent.readiness().unwrap()];
    for round in 0..40 {
        let child = Mailbox::<u64>::private().unwrap();
        let watch = child.address().watch_into(&parent, "ended".to_owned()).unwrap();
        let name = stage.name().to_owned();
        let calling = thread::spawn(move || {
            let client = Client::<u64, u64>::connect(&*name).unwrap();
            assert_eq!(client.call(&1).unwrap(), 2);
            thread::sleep(Duration::from_micros(round * 10));
            // Now it goes, and the child with it.
            drop(client);
            drop(child);
        });
        let mut set = WaitSet::new();
        let (serving, _) = (set.add(&server), set.add(&parent));
        let (mut gone, mut ended) = (false, false);
        while !gone || !ended {
            let mut look_at = |serves: bool| match serves {
                true => match server.try_next_event() {
                    Ok(Some(Event::Request(request))) => {
                        let (number, responder) = request.into_parts();
                        responder.reply(&(number + 1)).unwrap();
                        true
                    }
                    Ok(Some(Event::ClientGone(_))) => {
                        gone = true;
                        true
                    }
                    Ok(None) => panic!("it was not closed"),
                    Err(error) => {
                        assert!(error.is_empty(), "{error}");
                        false
                    }
                },
                false => match parent.try_recv() {
                    Ok(message) => {
                        assert_eq!(message.as_deref(), Some("ended"));
                        ended = true;
                        true
                    }
                    Err(error) => {
                        assert!(error.is_empty(), "{error}");
                        false
                    }
                },
            };
            if round % 2 == 0 {
                let ready = set.ready().unwrap().unwrap();
                look_at(ready == serving);
            } else {
                while look_at(true) || look_at(false) {}
                if !gone || !ended {
                    let mut watched =
                        at.each_ref().map(|at| PollFd::new(at.as_fd(), PollFlags::POLLIN));
                    assert!(poll(&mut watched, PollTimeout::NONE).unwrap() > 0);
                }
            }
        }
        calling.join().unwrap();
        drop(watch);
    }
}

#[test]
fn watches_are_waited_for_in_a_set() {
    let children: Vec<_> = (0..3).map(|_| Mailbox::<u64>::private().unwrap()).collect();
    let watches: Vec<_> = children.iter().map(|child| child.address().watch().unwrap()).collect();
    let mut set = WaitSet::new();
    watches.iter().for_each(|watch| assert!(set.add(watch) < 3));
    assert_eq!(set.ready_timeout(Duration::from_millis(1)).unwrap(), None);
    for (number, child) in children.into_iter().enumerate().rev() {
        let ending = thread::spawn(move || {
            thread::sleep(Duration::from_millis(2));
            drop(child);
        });
        assert_eq!(set.ready().unwrap(), Some(number));
        assert!(watches[number].is_over().unwrap());
        assert!(set.remove(number));
        ending.join().unwrap();
    }
    assert_eq!(set.ready().unwrap(), None);
}

const SENDER: &str = "SYSV_CHANNEL_TEST_WAIT_SET_SENDER";

/// What a child does: sends without end.
#[test]
fn sends_as_a_child() {
    let Ok(name) = std::env::var(SENDER) else { return };
    let tx = Line::open(&*name).unwrap().sender().unwrap();
    for value in 0.. {
        if tx.send(&numbered(value, if value % 7 == 0 { 700 } else { 8 })).is_err() {
            return;
        }
    }
}

#[test]
fn a_set_wakes_when_a_sender_is_killed() {
    for round in 0..5 {
        for (shape, options) in shapes() {
            let stage = Stage::new("set killed");
            let channel = options.create(stage.name()).unwrap();
            let idle = shapes()[1].1.private().unwrap();
            let (_tx, idle) = (idle.sender().unwrap(), idle.receiver().unwrap());
            let rx = channel.receiver().unwrap();
            let mut child = Command::new(std::env::current_exe().unwrap())
                .args(["--exact", "sends_as_a_child", "--nocapture"])
                .env(SENDER, stage.name())
                .stdout(Stdio::null())
                .spawn()
                .unwrap();
            let mut set = WaitSet::new();
            let (_, sending) = (set.add(&idle), set.add(&rx));
            let mut received = 0;
            let end = loop {
                assert_eq!(set.ready().unwrap(), Some(sending), "{shape}");
                match rx.try_recv() {
                    Ok(value) => assert_eq!(number(&value), received, "{shape}"),
                    Err(error) if error.is_empty() => continue,
                    Err(error) => break error,
                }
                received += 1;
                if received == 100 * round + 1 {
                    child.kill().unwrap();
                }
            };
            assert!(end.is_disconnected(), "{shape}: {end}");
            assert!(received > 100 * round, "{shape}");
            child.wait().unwrap();
        }
    }
}

#[test]
fn calls_that_block_wait_beside_a_set() {
    for (shape, options) in shapes() {
        let channel = options.private().unwrap();
        let (tx, rx) = (channel.sender().unwrap(), channel.receiver().unwrap());
        let mut set = WaitSet::new();
        let only = set.add(&rx);
        assert_eq!(set.ready_timeout(Duration::from_millis(1)).unwrap(), None);
        let sending = thread::spawn(move || {
            for value in 0..200 {
                thread::sleep(Duration::from_micros(50));
                tx.send(&numbered(value, 8)).unwrap();
            }
        });
        for value in 0..200 {
            let received = if value % 2 == 0 {
                rx.recv().unwrap()
            } else {
                assert_eq!(set.ready().unwrap(), Some(only), "{shape}");
                rx.try_recv().unwrap()
            };
            assert_eq!(number(&received), value, "{shape}");
        }
        sending.join().unwrap();
    }
}
