//! The two ends of a bridge between two channels: whatever process is killed, each value arrives once and in order.

#![cfg(not(loom))]

mod common;

use std::collections::{HashMap, VecDeque};
use std::num::NonZeroU64;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use common::kernel::forked;
use common::{Child, Stage, listen, play, say};
use nix::sys::wait::{WaitStatus, waitpid};
use sysv_channel::bridge::{BridgeError, Inlet, Outlet, ValueId, WINDOW};
use sysv_channel::codec::{Raw, Reader};
use sysv_channel::{AttachError, Channel, Closer, Options, RecvError, SendError, Tag};

type Bytes = Channel<Vec<u8>, Raw>;

const LINK: NonZeroU64 = NonZeroU64::new(7).unwrap();
const LONG: Duration = Duration::from_secs(100);

/// Lane, number and length of a value, and what fills it.
fn value(sender: u64, number: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![sender.wrapping_mul(31).wrapping_add(number) as u8; len.max(16)];
    bytes[..8].copy_from_slice(&sender.to_le_bytes());
    bytes[8..16].copy_from_slice(&number.to_le_bytes());
    bytes
}

fn read(bytes: &[u8]) -> (u64, u64) {
    let word = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap());
    let (sender, number) = (word(0), word(8));
    assert_eq!(bytes, value(sender, number, bytes.len()), "a value arrives whole");
    (sender, number)
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    RingOnly,
    Mixed,
    Counted,
}

fn options(kind: Kind) -> Options<Vec<u8>, Raw> {
    let options = Bytes::options().capacity(32 << 10).lanes(4).durable();
    match kind {
        Kind::RingOnly => options.inline_limit(0),
        Kind::Mixed => options.inline_limit(200),
        Kind::Counted => options.inline_limit(200).max_waiting(5),
    }
}

/// Lengths of all kinds: messages, records of one line and of many, and fragments.
fn len(number: u64) -> usize {
    match number % 50 {
        0 => 40_000,
        n if n < 10 => 3000 + n as usize * 700,
        n => 16 + n as usize * 9,
    }
}

fn copy(id: ValueId, tag: Tag, mut bytes: Reader<'_>) -> (ValueId, Tag, Vec<u8>) {
    (id, tag, bytes.read_vec(bytes.remaining()).unwrap())
}

/// Carries values as a bridge does, with a few on their way at a time, until it is killed.
fn carry(from: &str, to: &str) {
    let outlet = Outlet::attach(&Bytes::open(from).unwrap()).unwrap();
    let inlet = Inlet::attach(&Bytes::open(to).unwrap(), LINK).unwrap();
    let known: Vec<ValueId> = inlet.known();
    let mut way = VecDeque::new();
    say("carries");
    for round in 0_u64.. {
        let room = if round % 7 == 0 { 1 } else { 5 };
        while way.len() < room {
            match outlet.next(Duration::ZERO, copy) {
                Ok((id, ..)) if known.contains(&id) => assert!(outlet.settle(id).unwrap()),
                Ok(next) => way.push_back(next),
                Err(
                    RecvError::Timeout { .. }
                    | RecvError::Empty { .. }
                    | RecvError::HeldTooMany { .. },
                ) => break,
                Err(error) => panic!("{error}"),
            }
        }
        if way.is_empty() {
            match outlet.next(LONG, copy) {
                Ok((id, ..)) if known.contains(&id) => assert!(outlet.settle(id).unwrap()),
                Ok(next) => way.push_back(next),
                Err(error) => panic!("{error}"),
            }
        }
        // What was put is settled later than it was put.
        let put: Vec<ValueId> = way
            .drain(..)
            .map(|(id, tag, bytes)| {
                inlet.put(id, tag, &bytes, LONG).unwrap();
                id
            })
            .collect();
        for id in put {
            outlet.settle(id).unwrap();
        }
    }
}

/// The parts that this binary plays when it is started as a child.
#[test]
fn child() {
    play(|role, arguments| {
        let name = arguments[0];
        match role {
            "carrier" => carry(name, arguments[1]),
            "holder" => {
                let inlet = Inlet::attach(&Bytes::open(name).unwrap(), LINK).unwrap();
                say("attached");
                listen();
                drop(inlet);
            }
            role => panic!("no role {role}"),
        }
    });
}

struct Two {
    from: Stage,
    to: Stage,
}

impl Two {
    fn new(test: &'static str, from: Kind, to: Kind) -> (Self, Bytes, Bytes) {
        let two = Two { from: Stage::new(test), to: Stage::new(test) };
        let here = options(from).create(two.from.name()).unwrap();
        let there = options(to).create(two.to.name()).unwrap();
        (two, here, there)
    }

    fn carrier(&self) -> Child {
        let mut child = self.from.child("carrier", &[self.to.name()]);
        child.expect("carries");
        child
    }
}

/// Carriers are killed at any moment while two senders send; each value arrives once, those of a sender in order.
fn carriers_are_killed(test: &'static str, from: Kind, to: Kind) {
    const KILLS: usize = 60;
    let (two, here, there) = Two::new(test, from, to);
    let rx = there.receiver().unwrap();
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let senders: Vec<_> = (0..2)
            .map(|sender| {
                let (here, over) = (&here, &over);
                scope.spawn(move || {
                    let tx = here.sender().unwrap();
                    let mut number = 0;
                    while !over.load(Ordering::Relaxed) {
                        tx.send(&value(sender, number, len(number))).unwrap();
                        number += 1;
                    }
                    number
                })
            })
            .collect();
        let receiving = scope.spawn(move || {
            let mut next: HashMap<u64, u64> = HashMap::new();
            loop {
                let bytes = rx.recv().unwrap();
                let (sender, number) = read(&bytes);
                if sender == u64::MAX {
                    return next;
                }
                let expected = next.entry(sender).or_default();
                assert_eq!(number, *expected, "of sender {sender}");
                *expected += 1;
            }
        });
        for kill in 0..KILLS {
            let carrier = two.carrier();
            thread::sleep(Duration::from_micros(500 + 1931 * (kill as u64 % 11)));
            carrier.kill();
            two.from.goes_on();
            two.to.goes_on();
        }
        let carrier = two.carrier();
        over.store(true, Ordering::Relaxed);
        let sent: Vec<u64> = senders.into_iter().map(|sender| sender.join().unwrap()).collect();
        here.sender().unwrap().send(&value(u64::MAX, 0, 16)).unwrap();
        let received = receiving.join().unwrap();
        assert_eq!(vec![received[&0], received[&1]], sent);
        drop(carrier);
    });
}

#[test]
fn nothing_is_lost_and_nothing_doubled_where_carriers_are_killed() {
    carriers_are_killed("carried", Kind::RingOnly, Kind::RingOnly);
}

#[test]
fn nothing_is_lost_and_nothing_doubled_on_queues() {
    carriers_are_killed("carried by queue", Kind::Mixed, Kind::Mixed);
}

#[test]
fn nothing_is_lost_and_nothing_doubled_where_values_are_counted() {
    carriers_are_killed("carried and counted", Kind::RingOnly, Kind::Counted);
}

fn both(options: &Options<Vec<u8>, Raw>) -> (Bytes, Outlet) {
    let channel = options.private().unwrap();
    let outlet = Outlet::attach(&channel).unwrap();
    (channel, outlet)
}

fn id(number: u8) -> ValueId {
    ValueId::from_bytes([number; 24])
}

#[test]
fn values_are_given_out_in_order_and_stay_until_they_are_settled() {
    for kind in [Kind::RingOnly, Kind::Mixed, Kind::Counted] {
        let (channel, outlet) = both(&options(kind));
        let tx = channel.sender().unwrap();
        for number in 0..3 {
            tx.send_tagged(
                Tag::new(number as i64 + 5).unwrap(),
                &value(0, number, len(number + 10)),
            )
            .unwrap();
        }
        let given: Vec<_> = (0..3).map(|_| outlet.next(LONG, copy).unwrap()).collect();
        for (number, (_, tag, bytes)) in (0_u64..).zip(&given) {
            assert_eq!((read(bytes), tag.get()), ((0, number), number as i64 + 5), "{kind:?}");
        }
        assert!(outlet.next(Duration::ZERO, copy).is_err());
        assert_eq!((outlet.held(), tx.len().unwrap()), (3, 3));
        // Out of order.
        assert!(outlet.settle(given[1].0).unwrap());
        assert!(!outlet.settle(given[1].0).unwrap(), "once");
        assert!(!outlet.settle(id(1)).unwrap(), "what it does not hold");
        outlet.rewind().unwrap();
        assert_eq!(outlet.held(), 0);
        assert_eq!(outlet.next(LONG, copy).unwrap(), given[0]);
        drop(outlet);
        // Any receiver has what was not settled.
        let rx = channel.receiver().unwrap();
        assert_eq!(read(&rx.recv().unwrap()), (0, 0));
        drop(rx);
        let outlet = Outlet::attach(&channel).unwrap();
        assert_eq!(outlet.next(LONG, copy).unwrap(), given[2]);
        assert!(outlet.settle(given[2].0).unwrap());
        assert_eq!(tx.len().unwrap(), 0);
    }
}

#[test]
fn an_outlet_holds_so_many_values_and_no_more() {
    let (channel, outlet) = both(&Bytes::options().inline_limit(0));
    let tx = channel.sender().unwrap();
    for number in 0..=WINDOW as u64 {
        tx.send(&value(0, number, 16)).unwrap();
    }
    let first = outlet.next(LONG, copy).unwrap().0;
    for _ in 1..WINDOW {
        outlet.next(LONG, copy).unwrap();
    }
    let full = outlet.next(LONG, copy).unwrap_err();
    assert!(matches!(full, RecvError::HeldTooMany { held: WINDOW, .. }), "{full}");
    assert!(outlet.settle(first).unwrap());
    assert_eq!(read(&outlet.next(LONG, copy).unwrap().2), (0, WINDOW as u64));
}

#[test]
fn a_long_value_that_its_sender_gives_up_is_not_settled() {
    let (channel, outlet) = both(&Bytes::options().inline_limit(0).capacity(8 << 10));
    let tx = channel.sender().unwrap();
    let long = value(0, 7, 20_000);
    thread::scope(|scope| {
        let (given, heard) = std::sync::mpsc::channel();
        let closer = tx.closer();
        let sender = scope.spawn(move || {
            let error = tx.send(&long).unwrap_err();
            assert!(error.is_closed(), "{error}");
            given.send(()).unwrap();
            tx.send(&long).unwrap();
        });
        let (first, _, bytes) = outlet.next(LONG, copy).unwrap();
        assert_eq!(read(&bytes), (0, 7));
        closer.close();
        heard.recv().unwrap();
        assert!(!outlet.settle(first).unwrap(), "its sender was told that it was not sent");
        let (second, _, bytes) = outlet.next(LONG, copy).unwrap();
        assert_eq!(read(&bytes), (0, 7));
        assert_ne!(first, second, "it is another value");
        assert!(outlet.settle(second).unwrap());
        sender.join().unwrap();
    });
}

#[test]
fn a_long_value_is_given_out_again_as_the_same_one() {
    for kind in [Kind::RingOnly, Kind::Mixed, Kind::Counted] {
        let (channel, outlet) = both(&options(kind));
        let tx = channel.sender().unwrap();
        thread::scope(|scope| {
            let sender = scope.spawn(move || {
                for number in 0..3 {
                    tx.send(&value(0, number, 40_000)).unwrap();
                    tx.send(&value(1, number, 20)).unwrap();
                }
            });
            for number in 0..3 {
                let given = outlet.next(LONG, copy).unwrap();
                assert_eq!(read(&given.2), (0, number), "{kind:?}");
                for _ in 0..3 {
                    outlet.rewind().unwrap();
                    assert_eq!(outlet.next(LONG, copy).unwrap(), given, "{kind:?}");
                }
                // Its sender waits until it is settled, and sends nothing before.
                assert!(outlet.next(Duration::from_millis(2), copy).is_err());
                outlet.rewind().unwrap();
                assert_eq!(outlet.next(LONG, copy).unwrap(), given, "{kind:?}");
                assert!(outlet.settle(given.0).unwrap(), "{kind:?}");
                let (id, _, short) = outlet.next(LONG, copy).unwrap();
                assert_eq!(read(&short), (1, number), "{kind:?}");
                assert!(outlet.settle(id).unwrap());
            }
            sender.join().unwrap();
        });
    }
}

/// What an inlet has forgotten must not be held any more: a killed bridge's successor would put it again.
#[test]
fn no_value_is_held_for_longer_than_an_inlet_remembers_it() {
    let (channel, outlet) = both(&Bytes::options().inline_limit(0).durable());
    let (there, _rx) = both(&Bytes::options().inline_limit(0).durable());
    let (tx, inlet) = (channel.sender().unwrap(), Inlet::attach(&there, LINK).unwrap());
    for number in 0..=WINDOW as u64 {
        tx.send(&value(0, number, 16)).unwrap();
    }
    let (oldest, tag, bytes) = outlet.next(LONG, copy).unwrap();
    inlet.put(oldest, tag, &bytes, LONG).unwrap();
    for _ in 1..WINDOW {
        let (id, tag, bytes) = outlet.next(LONG, copy).unwrap();
        inlet.put(id, tag, &bytes, LONG).unwrap();
        assert!(outlet.settle(id).unwrap());
    }
    let full = outlet.next(LONG, copy).unwrap_err();
    assert!(matches!(full, RecvError::HeldTooMany { held: 1, .. }), "{full}");
    assert_eq!(inlet.known()[0], oldest);
    assert!(outlet.settle(oldest).unwrap());
    assert_eq!(read(&outlet.next(LONG, copy).unwrap().2), (0, WINDOW as u64));
}

#[test]
fn an_outlet_is_not_used_inside_of_its_own_call() {
    let (channel, outlet) = both(&Bytes::options());
    channel.sender().unwrap().send(&value(0, 1, 16)).unwrap();
    let (settled, rewound, next, held) = outlet
        .next(LONG, |id, _, _| {
            (outlet.settle(id), outlet.rewind(), outlet.next(LONG, copy).map(drop), outlet.held())
        })
        .unwrap();
    for error in [settled.map(drop), rewound, next] {
        assert!(matches!(error, Err(RecvError::Reentrant { .. })), "{error:?}");
    }
    assert_eq!((held, outlet.held()), (0, 1));
}

#[test]
fn settling_what_its_sender_gave_up_leaves_its_next_value() {
    for kind in [Kind::RingOnly, Kind::Mixed, Kind::Counted] {
        let (channel, outlet) = both(&options(kind).capacity(8 << 10));
        let tx = channel.sender().unwrap();
        thread::scope(|scope| {
            let closer = tx.closer();
            let sender = scope.spawn(move || {
                // So that the ring has room for the rest of the one and all of the other behind it.
                tx.send(&value(0, 0, 3000)).unwrap();
                assert!(tx.send(&value(0, 1, 4500)).unwrap_err().is_closed());
                tx.send(&value(0, 2, 4500)).unwrap();
            });
            let (short, ..) = outlet.next(LONG, copy).unwrap();
            assert!(outlet.settle(short).unwrap());
            let (first, _, bytes) = outlet.next(LONG, copy).unwrap();
            assert_eq!(read(&bytes), (0, 1));
            closer.close();
            let second = outlet.next(LONG, copy).unwrap();
            assert_eq!(read(&second.2), (0, 2), "{kind:?}");
            assert!(!outlet.settle(first).unwrap(), "{kind:?}");
            outlet.rewind().unwrap();
            assert_eq!(outlet.next(LONG, copy).unwrap(), second, "{kind:?}");
            assert!(outlet.settle(second.0).unwrap(), "{kind:?}");
            sender.join().unwrap();
        });
    }
}

/// Numbers below the one that is asked for, the same in each run.
fn random(seed: u64) -> impl FnMut(usize) -> usize {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    move |below| {
        for shift in [13, -7, 17] {
            state ^= if shift > 0 { state << shift } else { state >> -shift };
        }
        (state >> 33) as usize % below
    }
}

/// Ends the calls of senders also where a test fails, which waits for their threads.
struct Closes(Vec<Closer>);

impl Drop for Closes {
    fn drop(&mut self) {
        self.0.iter().for_each(Closer::close);
    }
}

/// A sender that sees another receiver come begins its long value again, also where that one has all of it already.
#[test]
fn a_long_value_that_is_begun_again_is_given_out_once() {
    for kind in [Kind::RingOnly, Kind::Mixed, Kind::Counted] {
        let stage = Stage::new("begun again");
        let channel = options(kind).capacity(4 << 10).create(stage.name()).unwrap();
        let tx = channel.sender().unwrap();
        thread::scope(|scope| {
            let _closes = Closes(vec![tx.closer()]);
            scope.spawn(move || {
                let mut numbers = 0..;
                while tx.send(&value(0, numbers.next().unwrap(), 2100)).is_ok() {}
            });
            // The number of the next value, and the id of the one before if its sender was not told.
            let (mut due, mut arrived) = (0, None);
            for round in 0..5000 {
                let outlet = Outlet::attach(&channel).unwrap();
                let before = arrived;
                for _ in 0..round % 4 {
                    let (id, _, bytes) = outlet.next(LONG, copy).unwrap();
                    let is_settled = outlet.settle(id).unwrap();
                    // Only another outlet gives it out again.
                    if before != Some(id) {
                        assert_eq!(read(&bytes), (0, due), "{kind:?}, round {round}");
                        due += 1;
                    }
                    arrived = (!is_settled).then_some(id);
                }
                if round % 3 == 0 {
                    let _ = outlet.next(Duration::from_millis(1), copy);
                }
            }
        });
    }
}

#[test]
fn what_a_sender_gives_up_is_never_taken_for_a_part_of_its_next_value() {
    for kind in [Kind::RingOnly, Kind::Mixed, Kind::Counted] {
        let (channel, outlet) = both(&options(kind).capacity(4 << 10));
        thread::scope(|scope| {
            let mut closes = Closes(Vec::new());
            let senders = [0, 1, 2].map(|sender| {
                let tx = channel.sender().unwrap();
                closes.0.push(tx.closer());
                scope.spawn(move || {
                    let mut sent = Vec::new();
                    let mut random = random(sender + 71);
                    for number in 0..4000 {
                        let len = [16, 1000, 3000, 4000][random(4)];
                        let patience = [0, random(60) as u64, 3000, 5_000_000][random(4)];
                        let patience = Duration::from_micros(patience);
                        match tx.send_timeout(&value(sender, number, len), patience) {
                            Ok(()) => sent.push((sender, number)),
                            Err(error) if error.is_closed() => break,
                            Err(_) => {}
                        }
                    }
                    sent
                })
            });
            let (mut settled, mut held) = (Vec::new(), VecDeque::new());
            let mut settle = |(id, number)| {
                if outlet.settle(id).unwrap() {
                    settled.push(number);
                }
            };
            let mut random = random(9);
            loop {
                let is_last = senders.iter().all(|sender| sender.is_finished());
                match outlet.next(Duration::from_millis(1), copy) {
                    Ok((id, _, bytes)) => held.push_back((id, read(&bytes))),
                    Err(_) if is_last => break,
                    Err(_) => {}
                }
                while held.len() > 12 || (!held.is_empty() && random(2) == 0) {
                    held.pop_front().into_iter().for_each(&mut settle);
                }
                if random(5) == 0 {
                    outlet.rewind().unwrap();
                    held.clear();
                }
            }
            held.into_iter().for_each(&mut settle);
            let mut sent: Vec<_> =
                senders.into_iter().flat_map(|sender| sender.join().unwrap()).collect();
            sent.sort_unstable();
            settled.sort_unstable();
            assert!(sent == settled, "{kind:?}: {} sent, {} settled", sent.len(), settled.len());
        });
    }
}

#[test]
fn an_outlet_waits_on_when_senders_have_gone() {
    let (channel, outlet) = both(&Bytes::options());
    drop(channel.sender().unwrap());
    assert!(outlet.next(Duration::from_millis(5), copy).unwrap_err().is_timeout());
    let closer = outlet.closer();
    closer.close();
    assert!(outlet.next(LONG, copy).unwrap_err().is_closed());
    channel.sender().unwrap().send(&value(1, 1, 16)).unwrap();
    assert_eq!(read(&outlet.next(LONG, copy).unwrap().2), (1, 1));
}

#[test]
fn an_inlet_knows_the_last_values_that_were_put() {
    for kind in [Kind::RingOnly, Kind::Mixed, Kind::Counted] {
        let channel = options(kind).private().unwrap();
        let rx = channel.receiver().unwrap();
        let inlet = Inlet::attach(&channel, LINK).unwrap();
        assert_eq!(inlet.known(), []);
        let ids: Vec<_> = (0..2 * WINDOW).map(|number| id_of(number as u64)).collect();
        let mut attached = Some(inlet);
        for (number, &id) in ids.iter().enumerate() {
            let inlet = attached.get_or_insert_with(|| Inlet::attach(&channel, LINK).unwrap());
            inlet.put(id, Tag::DEFAULT, &value(0, number as u64, 16), LONG).unwrap();
            assert_eq!(read(&rx.recv().unwrap()), (0, number as u64));
            if number % 9 == 0 {
                attached = None;
                // Whoever has the lane next says what was put.
                channel.sender().unwrap().send(&value(1, 0, 16)).unwrap();
                rx.recv().unwrap();
            }
        }
        drop(attached);
        let known = Inlet::attach(&channel, LINK).unwrap().known();
        assert_eq!(known, ids[WINDOW..], "{kind:?}");
    }
}

fn id_of(number: u64) -> ValueId {
    let mut bytes = [9; 24];
    bytes[..8].copy_from_slice(&number.to_le_bytes());
    ValueId::from_bytes(bytes)
}

#[test]
fn what_was_not_put_is_not_known() {
    for kind in [Kind::RingOnly, Kind::Mixed, Kind::Counted] {
        let channel = options(kind).private().unwrap();
        let inlet = Inlet::attach(&channel, LINK).unwrap();
        let mut put = Vec::new();
        let refused = loop {
            let next = id_of(put.len() as u64);
            let short = Duration::from_millis(2);
            match inlet.put(next, Tag::DEFAULT, &value(0, put.len() as u64, 3000), short) {
                Ok(()) => put.push(next),
                Err(error) => break error,
            }
        };
        assert!(refused.is_timeout(), "{refused}");
        // Nobody receives it.
        let long = inlet.put(id(1), Tag::DEFAULT, &vec![0; 40_000], Duration::from_millis(2));
        assert!(long.unwrap_err().is_timeout());
        assert_eq!(inlet.known(), put, "{kind:?}");
        let rx = channel.receiver().unwrap();
        for number in 0..put.len() as u64 {
            assert_eq!(read(&rx.recv().unwrap()), (0, number));
        }
        inlet.put(id(2), Tag::DEFAULT, &value(0, 99, 16), LONG).unwrap();
        assert_eq!(read(&rx.recv().unwrap()), (0, 99));
        put.push(id(2));
        assert_eq!(inlet.known(), put, "{kind:?}");
    }
}

#[test]
fn a_link_has_one_inlet_at_a_time() {
    let stage = Stage::new("one inlet");
    let channel = options(Kind::Mixed).create(stage.name()).unwrap();
    let mut holder = stage.child("holder", &[]);
    holder.expect("attached");
    let error = Inlet::attach(&channel, LINK).unwrap_err();
    let expected = matches!(error, BridgeError::LinkInUse { pid, .. } if pid == holder.id() as i32);
    assert!(expected, "{error}");
    assert!(error.to_string().contains("has this link into channel"), "{error}");
    // Another link is another's.
    let other = Inlet::attach(&channel, NonZeroU64::new(8).unwrap()).unwrap();
    holder.kill();
    let inlet = Inlet::attach(&channel, LINK).unwrap();
    drop((inlet, other));
}

#[test]
fn a_channel_remembers_four_links_and_forgets_the_one_unused_longest() {
    let channel = options(Kind::RingOnly).lanes(6).private().unwrap();
    let rx = channel.receiver().unwrap();
    let link = |number| NonZeroU64::new(number).unwrap();
    let attach = |number| Inlet::attach(&channel, link(number));
    let mut inlets: Vec<_> = (1..=4).map(|number| attach(number).unwrap()).collect();
    for (inlet, number) in inlets.iter().zip(1..) {
        inlet.put(id(number), Tag::DEFAULT, &value(0, number.into(), 16), LONG).unwrap();
        rx.recv().unwrap();
    }
    let error = attach(5).unwrap_err();
    assert!(matches!(error, BridgeError::LinksExhausted { .. }), "{error}");
    inlets.truncate(2);
    let fifth = attach(5).unwrap();
    assert_eq!(fifth.known(), []);
    inlets.clear();
    assert_eq!(attach(4).unwrap().known(), [id(4)], "the third was unused longest");
    assert_eq!(attach(1).unwrap().known(), [id(1)]);
    assert_eq!(attach(2).unwrap().known(), [id(2)]);
    assert_eq!(attach(3).unwrap().known(), []);
}

#[test]
fn channels_that_keep_no_order_have_no_outlet() {
    let channel = Bytes::options().capacity(0).receivers(2).private().unwrap();
    let error = Outlet::attach(&channel).unwrap_err();
    assert!(matches!(error, BridgeError::SeveralReceivers { receivers: 2, .. }), "{error}");
    let (channel, _outlet) = both(&Bytes::options());
    let error = Outlet::attach(&channel).unwrap_err();
    assert!(error.to_string().contains("has the receiver of"), "{error}");
}

/// Into a channel without rings a value may come twice, and none is lost.
#[test]
fn an_end_of_a_removed_channel_is_refused_as_removed() {
    let stage = Stage::new("carry removed");
    let channel = options(Kind::Mixed).create(stage.name()).unwrap();
    Bytes::unlink(stage.name()).unwrap();
    let told = Inlet::attach(&channel, LINK).unwrap_err();
    assert!(matches!(&told, BridgeError::Attach(error) if error.is_removed()), "{told:?}");
    let told = Outlet::attach(&channel).unwrap_err();
    assert!(matches!(&told, BridgeError::Attach(error) if error.is_removed()), "{told:?}");
}

#[test]
fn a_forked_child_has_no_inlet_and_changes_no_link() {
    let channel = options(Kind::RingOnly).lanes(6).private().unwrap();
    let rx = channel.receiver().unwrap();
    let attach = |number| Inlet::attach(&channel, NonZeroU64::new(number).unwrap());
    for number in 1..=4 {
        let inlet = attach(number.into()).unwrap();
        inlet.put(id(number), Tag::DEFAULT, &value(0, number.into(), 16), LONG).unwrap();
        rx.recv().unwrap();
    }
    let first = attach(1).unwrap();
    let child = forked(|| {
        let told = attach(5).unwrap_err();
        let is_told = matches!(&told, BridgeError::Attach(AttachError::Forked { .. }));
        assert!(is_told, "{told:?}");
        assert_eq!(first.known(), [id(1)]);
        let told = first.put(id(9), Tag::DEFAULT, &value(0, 9, 16), LONG).unwrap_err();
        assert!(matches!(told, SendError::Forked { .. }), "{told:?}");
    });
    assert_eq!(waitpid(child, None), Ok(WaitStatus::Exited(child, 0)));
    assert_eq!(first.known(), [id(1)]);
    drop(first);
    for number in 1..=4 {
        assert_eq!(attach(number.into()).unwrap().known(), [id(number)]);
    }
}

#[test]
fn values_go_into_a_channel_of_messages_alone() {
    let channel = Bytes::options().capacity(0).receivers(2).private().unwrap();
    let rx = channel.receiver().unwrap();
    let inlet = Inlet::attach(&channel, LINK).unwrap();
    for number in 0..10 {
        inlet.put(id_of(number), Tag::DEFAULT, &value(0, number, 100), LONG).unwrap();
        assert_eq!(read(&rx.recv().unwrap()), (0, number));
    }
    assert_eq!(inlet.known().len(), 10);
    let error = inlet.put(id(1), Tag::DEFAULT, &vec![0; 5000], LONG).unwrap_err();
    assert!(matches!(error, SendError::TooLong { .. }), "{error}");
    assert_eq!(inlet.known().len(), 10);
    drop(inlet);
    let known = Inlet::attach(&channel, LINK).unwrap().known();
    assert_eq!(known, (0..10).map(id_of).collect::<Vec<_>>());
}
