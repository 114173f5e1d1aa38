//! Watching what goes through a channel from outside.

#![cfg(not(loom))]

mod common;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use common::kernel::{self, Kind, Mapping};
use common::{Stage, random, until};
use serde::{Deserialize, Serialize};
use sysv_channel::actor::{Mailbox, ReplyTo};
use sysv_channel::codec::Bincode;
use sysv_channel::rpc::{Client, Server};
use sysv_channel::{Channel, InspectError, Options, Select, Tag, Tap, Tapped, inspect, tap};

/// A value whose parts all say which it is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Numbered {
    number: u64,
    again: Vec<u64>,
}

impl Numbered {
    fn new(number: u64, words: usize) -> Self {
        Numbered { number, again: vec![number; words] }
    }

    fn check(&self) -> u64 {
        assert!(self.again.iter().all(|&word| word == self.number), "of two values: {self:?}");
        self.number
    }
}

/// The three shapes.
fn shapes() -> [Options<Numbered, Bincode>; 3] {
    let options = Channel::<Numbered>::options;
    [
        options().capacity(64 << 10),
        options().capacity(64 << 10).inline_limit(0),
        options().capacity(0).inline_limit(4096),
    ]
}

fn numbered(tapped: Tapped) -> Numbered {
    tapped.decode::<Numbered, Bincode>().unwrap()
}

/// Everything that a tap finds in the next tenth of a second.
fn rest(tap: &mut Tap) -> Vec<u64> {
    let all = std::iter::from_fn(|| tap.next_timeout(Duration::from_millis(100)));
    all.map(|tapped| numbered(tapped).check()).collect()
}

#[test]
fn what_waits_and_what_comes_is_seen_once_and_in_order() {
    for (shape, options) in shapes().into_iter().enumerate() {
        let stage = Stage::new("tap order");
        let channel = options.create(stage.name()).unwrap();
        let (tx, rx) = (channel.sender().unwrap(), channel.receiver().unwrap());
        for number in 0..5 {
            tx.send(&Numbered::new(number, number as usize * 40)).unwrap();
        }
        rx.recv().unwrap();
        let mut tap = tap(stage.name()).unwrap();
        // What was handed over is not shown, what waits is.
        let mut due = 1..400;
        for number in 5..400 {
            tx.send(&Numbered::new(number, number as usize % 200)).unwrap();
            if number % 7 == 0 {
                while rx.try_recv().is_ok() {}
            }
            while let Some(tapped) = tap.try_next() {
                assert_eq!(Some(numbered(tapped).check()), due.next(), "shape {shape}");
            }
        }
        let missed = tap.missed();
        assert!(rest(&mut tap).into_iter().eq(due), "shape {shape}");
        assert_eq!((missed, tap.missed()), (0, 0));
        while rx.try_recv().is_ok() {}
        assert!(rest(&mut tap).is_empty());
        drop((channel, tx, rx));
        assert!(stage.objects().is_empty());
        assert_eq!(tap.next(), None);
        assert!(tap.is_over());
    }
}

/// Senders and a receiver go as fast as they can. Each value is seen whole, in its sender's order, and seen or
/// counted as missed.
#[test]
fn what_is_not_seen_is_counted() {
    const VALUES: u64 = 100_000;
    for (shape, options) in shapes().into_iter().enumerate() {
        let stage = Stage::new("tap busy");
        let channel = options.create(stage.name()).unwrap();
        let rx = channel.receiver().unwrap();
        let mut tap = tap(stage.name()).unwrap();
        let over = AtomicBool::new(false);
        let (mut seen, mut last) = (0, HashMap::new());
        thread::scope(|scope| {
            for sender in 0..2_u64 {
                let tx = channel.sender().unwrap();
                scope.spawn(move || {
                    for value in 0..VALUES {
                        let words = if value % 100 == 0 { 1500 } else { value as usize % 60 };
                        let words = if shape == 2 { words % 400 } else { words };
                        tx.send(&Numbered::new(sender << 32 | value, words)).unwrap();
                    }
                });
            }
            let over = &over;
            scope.spawn(move || {
                for value in rx.iter() {
                    value.unwrap().check();
                }
                over.store(true, Ordering::Release);
            });
            loop {
                let was_over = over.load(Ordering::Acquire);
                match tap.next_timeout(Duration::from_millis(if was_over { 100 } else { 1 })) {
                    Some(tapped) => {
                        let lane = tapped.lane;
                        let number = numbered(tapped).check();
                        let before = last.insert(lane, number);
                        // By the queue a value may be seen in a slot after the next on the queue.
                        let known = shape != 1 || before.is_none_or(|before| before < number);
                        assert!(known, "shape {shape}: {number} after {before:?}");
                        seen += 1;
                    }
                    None if was_over => break,
                    None => {}
                }
            }
        });
        assert_eq!(seen + tap.missed(), 2 * VALUES, "shape {shape}, {seen} seen");
        assert!(seen > 100, "{seen} seen");
    }
}

/// Its fragments are seen while it is on its way, and the value once it was handed over.
#[test]
fn a_value_in_fragments_is_put_together() {
    for inline_limit in [0, 1024] {
        let stage = Stage::new("tap long");
        let options = Channel::<Numbered>::options().capacity(16 << 10).inline_limit(inline_limit);
        let channel = options.create(stage.name()).unwrap();
        let (tx, rx) = (channel.sender().unwrap(), channel.receiver().unwrap());
        let mut tap = tap(stage.name()).unwrap();
        thread::scope(|scope| {
            scope.spawn(move || {
                for number in 0..20 {
                    tx.send(&Numbered::new(number, 1500)).unwrap();
                }
            });
            for number in 0..20 {
                let waits = || inspect(stage.name()).unwrap().lanes[0].waiting_values == 1;
                until(waits);
                assert_eq!(tap.try_next(), None);
                assert_eq!(rx.recv().unwrap().check(), number);
                assert_eq!(tap.next().map(numbered), Some(Numbered::new(number, 1500)));
            }
        });
        assert_eq!(tap.missed(), 0);
    }
}

#[test]
fn what_was_not_sent_is_not_seen() {
    let stage = Stage::new("tap unsent");
    let options = Channel::<Numbered>::options().inline_limit(64).capacity(8192);
    let channel = options.create(stage.name()).unwrap();
    let tx = channel.sender().unwrap();
    let mut tap = tap(stage.name()).unwrap();
    // The queue is filled with small values; then records are written and taken back.
    let mut sent = 0;
    while tx.try_send(&Numbered::new(sent, 0)).is_ok() {
        sent += 1;
    }
    for _ in 0..10 {
        tx.try_send(&Numbered::new(9999, 100)).unwrap_err();
        tx.send_timeout(&Numbered::new(9999, 700), Duration::from_millis(5)).unwrap_err();
    }
    assert!(rest(&mut tap).into_iter().eq(0..sent));
    assert_eq!(tap.missed(), 0);
    let rx = channel.receiver().unwrap();
    while rx.try_recv().is_ok() {}
}

#[test]
fn a_selection_by_tag_changes_nothing() {
    let stage = Stage::new("tap tags");
    let channel = Channel::<Numbered>::create(stage.name()).unwrap();
    let (tx, rx) = (channel.sender().unwrap(), channel.receiver().unwrap());
    let mut tap = tap(stage.name()).unwrap();
    let tag = |number| Tag::new(number as i64 + 1).unwrap();
    for number in 0..6 {
        let words = [0, 400][number as usize % 2];
        tx.send_tagged(tag(number), &Numbered::new(number, words)).unwrap();
    }
    for number in [3, 4] {
        rx.recv_matching(Select::Exactly(tag(number))).unwrap();
    }
    let mut seen: Vec<_> = std::iter::from_fn(|| tap.next_timeout(Duration::from_millis(100)))
        .map(|tapped| {
            let at = tapped.tag;
            let number = numbered(tapped).check();
            assert_eq!(at, tag(number));
            number
        })
        .collect();
    seen.sort_unstable();
    assert_eq!(seen, [0, 1, 2, 3, 4, 5]);
    while rx.try_recv().is_ok() {}
}

#[derive(Serialize, Deserialize)]
enum Told {
    Add(u64),
    Sum(ReplyTo<u64>),
}

#[test]
fn requests_and_messages_are_seen_without_their_heads() {
    let stage = Stage::new("tap service");
    let server = Server::<(u64, String), u64>::bind(stage.name()).unwrap();
    let mut requests = tap(stage.name()).unwrap();
    thread::scope(|scope| {
        scope.spawn(|| {
            let client = Client::<(u64, String), u64>::connect(stage.name()).unwrap();
            assert_eq!(client.call(&(7, "seven".to_owned())).unwrap(), 8);
        });
        let request = server.recv().unwrap().unwrap();
        let number = request.query().0;
        request.reply(&(number + 1)).unwrap();
    });
    let seen = requests.next().unwrap();
    assert_eq!(seen.decode::<(u64, String), Bincode>().unwrap(), (7, "seven".to_owned()));

    let stage = Stage::new("tap mailbox");
    let mailbox = Mailbox::<Told>::bind(stage.name()).unwrap();
    let mut messages = tap(stage.name()).unwrap();
    let address = mailbox.address();
    address.tell(&Told::Add(5)).unwrap();
    let seen = messages.next().unwrap();
    let told = <Bincode as sysv_channel::codec::Codec<u64>>::decode;
    // The variant, then the number.
    assert_eq!(told(sysv_channel::codec::Reader::new(&seen.bytes[4..])).unwrap(), 5);
    assert!(matches!(mailbox.recv().unwrap(), Some(Told::Add(5))));
    let _ = Told::Sum;
}

/// Messages are put into the slots in turn, and shown in the order in which they came there.
#[test]
fn what_was_just_received_is_seen_in_order() {
    let stage = Stage::new("tap slots");
    let options = Channel::<Numbered>::options().capacity(0).max_waiting(3);
    let channel = options.create(stage.name()).unwrap();
    let (tx, rx) = (channel.sender().unwrap(), channel.receiver().unwrap());
    let mut tap = tap(stage.name()).unwrap();
    let mut due = 0..;
    for round in 0..200 {
        for number in 0..3 {
            let tag = Tag::new(number as i64 + 5).unwrap();
            tx.send_tagged(tag, &Numbered::new(3 * round + number, 0)).unwrap();
        }
        (0..3).for_each(|_| drop(rx.recv().unwrap()));
        while let Some(tapped) = tap.try_next() {
            assert_eq!(tapped.tag.get() as u64, due.start % 3 + 5);
            assert_eq!(Some(numbered(tapped).check()), due.next());
        }
        assert_eq!(due.start, 3 * round + 3);
    }
    assert_eq!(tap.missed(), 0);
}

/// Taps begin right behind a value that was received: what they see and miss later is what was sent since.
#[test]
fn no_value_is_counted_that_was_not_sent() {
    const VALUES: u64 = 60;
    let stage = Stage::new("tap counts");
    let channel = Channel::<Numbered>::options().capacity(0).create(stage.name()).unwrap();
    let (tx, rx) = (channel.sender().unwrap(), channel.receiver().unwrap());
    let (go, started) = mpsc::channel();
    let (done, over) = mpsc::channel();
    thread::scope(|scope| {
        scope.spawn(move || {
            for () in started {
                for number in 0..VALUES {
                    tx.send(&Numbered::new(number, 0)).unwrap();
                    thread::sleep(Duration::from_micros(100));
                }
                done.send(()).unwrap();
            }
        });
        scope.spawn(move || rx.iter().for_each(|value| drop(value.unwrap())));
        for round in 0..20 {
            // One that the receiver has in hand would be shown.
            until(|| channel.stats().unwrap().received_values == round * VALUES);
            let mut tap = tap(stage.name()).unwrap();
            go.send(()).unwrap();
            let mut seen = 0;
            while over.try_recv().is_err() {
                seen += u64::from(tap.next_timeout(Duration::from_millis(1)).is_some());
            }
            seen += rest(&mut tap).len() as u64;
            assert_eq!(seen + tap.missed(), VALUES, "{seen} seen");
        }
        drop(go);
    });
}

#[test]
fn a_port_in_a_message_that_is_watched_is_the_actors() {
    let stage = Stage::new("tap port");
    let mailbox = Mailbox::<ReplyTo<u64>>::bind(stage.name()).unwrap();
    let mut messages = tap(stage.name()).unwrap();
    let address = mailbox.address();
    thread::scope(|scope| {
        scope.spawn(move || assert_eq!(address.ask(|port| port).unwrap(), 7));
        let seen = messages.next().unwrap();
        let port = seen.decode::<ReplyTo<u64>, Bincode>().unwrap();
        port.send(&666).unwrap_err();
        drop(seen.decode::<ReplyTo<u64>, Bincode>().unwrap());
        mailbox.recv().unwrap().unwrap().send(&7).unwrap();
    });
}

#[test]
fn a_channel_of_which_an_object_was_removed_is_over() {
    for kind in [Kind::Set, Kind::Segment, Kind::Queue] {
        let stage = Stage::new("tap removed");
        let channel = Channel::<Numbered>::create(stage.name()).unwrap();
        let mut tap = tap(stage.name()).unwrap();
        let objects = stage.objects();
        let object = objects.iter().find(|object| object.kind == kind).unwrap();
        object.remove_if_there();
        assert_eq!(tap.next(), None, "{kind:?}");
        assert!(tap.is_over());
        drop(channel);
        stage.objects().into_iter().for_each(kernel::Object::remove_if_there);
    }
}

#[test]
fn nobody_notices() {
    let stage = Stage::new("tap unnoticed");
    let channel = Channel::<Numbered>::create(stage.name()).unwrap();
    let (tx, rx) = (channel.sender().unwrap(), channel.receiver().unwrap());
    for number in 0..10 {
        tx.send(&Numbered::new(number, number as usize * 100)).unwrap();
    }
    let before = format!("{:?}", channel.stats().unwrap());
    let mut tap = tap(stage.name()).unwrap();
    assert_eq!(rest(&mut tap), Vec::from_iter(0..10));
    assert_eq!(format!("{:?}", channel.stats().unwrap()), before);
    assert_eq!(tap.channel().name.as_deref(), Some(stage.name()));
    for number in 0..10 {
        assert_eq!(rx.recv().unwrap(), Numbered::new(number, number as usize * 100));
    }
    drop((channel, tx, rx));
    // The channel goes with its last user, and another can be made while the tap looks at the old one.
    let again = Channel::<Numbered>::create(stage.name()).unwrap();
    until(|| tap.try_next().is_none() && tap.is_over());
    drop(again);
    assert!(stage.objects().is_empty());
}

#[test]
fn only_a_channel_can_be_watched() {
    let stage = Stage::new("tap none");
    let error = tap(stage.name()).err().unwrap();
    assert!(matches!(error, InspectError::NotFound { .. }), "{error}");
}

#[test]
fn a_scribbled_segment_cannot_hurt() {
    for (round, options) in shapes().into_iter().cycle().take(60).enumerate() {
        let stage = Stage::new("tap scribbled");
        let channel = options.lanes(3).create(stage.name()).unwrap();
        let tx = channel.sender().unwrap();
        let rx = channel.receiver().unwrap();
        let objects = stage.objects();
        let segment = objects.iter().find(|object| object.kind == Kind::Segment).unwrap();
        let len = inspect(stage.name()).unwrap().segment_bytes.min(32 << 10) as usize;
        let mapping = Mapping::of(*segment, len).unwrap();
        let mut tap = tap(stage.name()).unwrap();
        for step in 0..300 {
            // The header's sizes are read once; everything behind them may change at any moment.
            let at = 192 + random((mapping.len() as u64 - 200) / 8) as usize * 8;
            let number = [0, 1, 5, u64::MAX, 1 << 40, random(u64::MAX)][random(6) as usize];
            mapping.word(at).store(number, Ordering::Relaxed);
            let _ = tx.try_send(&Numbered::new(step, random(200) as usize));
            if step % 3 == 0 {
                let _ = rx.try_recv();
            }
            while let Some(tapped) = tap.try_next() {
                let _ = tapped.decode::<Numbered, Bincode>();
            }
        }
        let _ = tap.next_timeout(Duration::from_millis(2));
        drop((tx, rx, channel, tap));
        let _ = Channel::<Numbered>::unlink(stage.name());
        stage.objects().into_iter().for_each(kernel::Object::remove_if_there);
        assert!(stage.objects().is_empty(), "round {round}");
    }
}
