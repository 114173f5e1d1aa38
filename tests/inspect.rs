//! Looking at channels from outside, without their types.

#![cfg(not(loom))]

mod common;

use std::sync::atomic::Ordering;
use std::thread;
use std::time::SystemTime;

use common::kernel::{self, Kind, Mapping};
use common::{Stage, halt, listen, play, random, say, until};
use serde::{Deserialize, Serialize};
use sysv_channel::actor::{Mailbox, ReplyTo};
use sysv_channel::rpc::Server;
use sysv_channel::{
    Channel, ChannelKind, InspectError, Inspection, Listed, Name, Queue, inspect, list,
};

/// A user that owns nothing here.
const NOBODY: u32 = 65534;

#[derive(Debug, Serialize, Deserialize)]
struct Order {
    id: u64,
    text: String,
}

impl Order {
    fn of(len: usize) -> Order {
        Order { id: 7, text: "x".repeat(len) }
    }
}

/// The parts that this binary plays when it is started as a child.
#[test]
fn child() {
    play(|role, arguments| {
        let name = arguments[0];
        let channel = || Channel::<Order>::open(name).unwrap();
        match role {
            "receives" => {
                let rx = channel().receiver().unwrap();
                say("attached");
                let _ = rx.recv();
                halt("received");
            }
            "sends" => {
                let tx = channel().sender().unwrap();
                for len in [10, 3000] {
                    tx.send(&Order::of(len)).unwrap();
                }
                halt("sent");
            }
            "sends until it is full" => {
                let tx = channel().sender().unwrap();
                say("attached");
                loop {
                    tx.send(&Order::of(3000)).unwrap();
                }
            }
            "creates as another" => {
                let _channel = Channel::<u64>::create(name).unwrap();
                say("created");
                listen();
            }
            "looks" => match inspect(name) {
                Ok(seen) => say(seen.type_name),
                Err(error) => say(error),
            },
            _ => unreachable!("no such role: {role}"),
        }
    });
}

fn look(stage: &Stage) -> Inspection {
    inspect(stage.name()).unwrap()
}

/// What is listed under the stage's key.
fn listed(stage: &Stage) -> Vec<Listed> {
    let key = stage.key();
    let mine = |listed: &Listed| match listed {
        Listed::Channel(seen) => seen.key == key,
        Listed::Unreadable { key: found, .. } => *found == key,
        Listed::Queue { stat, .. } => stat.ownership.key == key.raw(),
        _ => false,
    };
    list().unwrap().into_iter().filter(mine).collect()
}

#[test]
fn a_channel_tells_what_it_carries_and_how_it_was_made() {
    let stage = Stage::new("inspect options");
    let before = SystemTime::now();
    let options = Channel::<Order>::options().lanes(5).inline_limit(100).capacity(8192);
    let channel = options.max_value(5000).durable().mode(0o640).create(stage.name()).unwrap();
    let seen = look(&stage);
    assert_eq!(seen.name.as_deref(), Some(stage.name()));
    assert_eq!((seen.key, seen.handle), (stage.key(), channel.handle()));
    assert_eq!(seen.kind, ChannelKind::Channel);
    assert_eq!(seen.type_name, "Order");
    assert_eq!(seen.schema, "Order{id:u64,text:str}");
    assert!(seen.codec.starts_with("bincode 2"), "{}", seen.codec);
    let shape = &seen.shape;
    assert_eq!((shape.lanes, shape.receivers, shape.capacity), (5, 1, 8192));
    assert_eq!((shape.inline_limit, shape.max_value, shape.max_waiting), (100, 5000, None));
    assert_eq!((shape.reply_capacity, shape.durable, shape.private), (0, true, false));
    assert_eq!(seen.ownership.mode, 0o640);
    // The kernel counts seconds.
    let age = before.duration_since(seen.created).map_or(0, |age| age.as_secs());
    assert!(age <= 1, "{:?}, {before:?}", seen.created);
    assert_eq!((seen.users, seen.receivers.len(), seen.lanes.len(), seen.in_hand), (1, 0, 0, 0));
    assert_eq!(seen.queue.unwrap().messages, 0);
    assert_eq!((seen.lock_holder, seen.standbys), (None, 0));
    assert!(seen.segment_bytes >= 5 * 8192);
    // A header is little beside what is reserved.
    assert!(seen.resident_bytes.unwrap() <= 64 << 10, "{:?}", seen.resident_bytes);
    drop(channel);
    assert_eq!(look(&stage).users, 0);
    Channel::<Order>::unlink(stage.name()).unwrap();
    assert!(matches!(inspect(stage.name()), Err(InspectError::NotFound { .. })));
}

#[test]
fn services_are_told_from_channels() {
    #[derive(Serialize, Deserialize)]
    struct Ask(ReplyTo<u8>);
    let (serves, acts) = (Stage::new("inspect server"), Stage::new("inspect mailbox"));
    let _server = Server::<u32, String>::bind(serves.name()).unwrap();
    let _mailbox = Mailbox::<Ask>::bind(acts.name()).unwrap();
    let (server, mailbox) = (look(&serves), look(&acts));
    assert_eq!((server.kind, server.receivers.len()), (ChannelKind::Server, 1));
    assert_eq!(server.schema, "Call{request:u32,reply:str}");
    assert_eq!((mailbox.kind, mailbox.receivers.len()), (ChannelKind::Mailbox, 1));
    assert!(mailbox.schema.starts_with("Mailbox{message:Ask("), "{}", mailbox.schema);
}

#[test]
fn who_is_attached_is_told_with_its_process_and_whether_it_sleeps() {
    let stage = Stage::new("inspect who");
    let channel = Channel::<Order>::create(stage.name()).unwrap();
    let mut receiver = stage.child("receives", &[]);
    receiver.expect("attached");
    until(|| look(&stage).receivers[0].sleeps);
    let seen = look(&stage);
    assert_eq!(seen.receivers[0].pid, Some(receiver.id()));
    assert_eq!(seen.users, 2);
    let mut sender = stage.child("sends", &[]);
    sender.expect("sent");
    receiver.expect("received");
    let seen = look(&stage);
    assert_eq!(seen.receivers[0].received_values, 1);
    let [lane] = &seen.lanes[..] else { panic!("{:?}", seen.lanes) };
    assert_eq!((lane.lane, lane.attached, lane.pid), (0, true, Some(sender.id())));
    assert_eq!((lane.waiting_values, lane.sent_values), (1, 2));
    assert!((3000..3100).contains(&lane.waiting_bytes), "{lane:?}");
    assert_eq!((seen.stats.sent_values, seen.stats.waiting), (2, 1));
    assert_eq!(seen.queue.unwrap().messages, 1);
    // What a killed sender left waits on.
    sender.kill();
    let seen = look(&stage);
    let [lane] = &seen.lanes[..] else { panic!("{:?}", seen.lanes) };
    assert_eq!((lane.attached, lane.pid, lane.waiting_values), (false, None, 1));
    receiver.kill();
    assert_eq!(look(&stage).receivers, []);
    drop(channel);
    // A named channel stays with its value.
    assert_eq!(look(&stage).users, 0);
    let rx = Channel::<Order>::create(stage.name()).unwrap().receiver().unwrap();
    assert_eq!(rx.recv().unwrap().text.len(), 3000);
}

#[test]
fn a_sender_that_waits_for_room_sleeps() {
    let stage = Stage::new("inspect full");
    let options = Channel::<Order>::options().inline_limit(0).capacity(16_384);
    let channel = options.create(stage.name()).unwrap();
    let mut sender = stage.child("sends until it is full", &[]);
    sender.expect("attached");
    until(|| look(&stage).lanes[0].sleeps);
    let lane = &look(&stage).lanes[0];
    assert_eq!(lane.waiting_values, 5);
    assert_eq!(look(&stage).stats.waiting, 5);
    sender.kill();
    let rx = channel.receiver().unwrap();
    assert_eq!((0..5).filter(|_| rx.try_recv().is_ok()).count(), 5);
}

#[test]
fn several_receivers_are_told_each_with_its_process() {
    let stage = Stage::new("inspect several");
    let options = Channel::<Order>::options().receivers(3).capacity(0);
    let channel = options.create(stage.name()).unwrap();
    let mut workers: Vec<_> = (0..2).map(|_| stage.child("receives", &[])).collect();
    workers.iter_mut().for_each(|worker| worker.expect("attached"));
    let mut ids: Vec<_> =
        look(&stage).receivers.iter().map(|receiver| receiver.pid.unwrap()).collect();
    let mut due: Vec<_> = workers.iter().map(|worker| worker.id()).collect();
    ids.sort_unstable();
    due.sort_unstable();
    assert_eq!(ids, due);
    // Senders have lanes where there are no rings, too.
    let tx = channel.sender().unwrap();
    tx.send(&Order::of(10)).unwrap();
    let lane = &look(&stage).lanes[0];
    assert_eq!((lane.pid, lane.waiting_values, lane.sent_values), (Some(std::process::id()), 0, 1));
    workers.pop().unwrap().kill();
    assert_eq!(look(&stage).receivers.len(), 1);
    drop(channel);
}

#[test]
fn looking_disturbs_nobody_and_keeps_no_channel() {
    const VALUES: u64 = 20_000;
    for (round, inline_limit) in [0, 1024].into_iter().enumerate() {
        let stage = Stage::new("inspect busy");
        let options = Channel::<Order>::options().inline_limit(inline_limit);
        let channel = options.create(stage.name()).unwrap();
        let (tx, rx) = (channel.sender().unwrap(), channel.receiver().unwrap());
        drop(channel);
        thread::scope(|scope| {
            scope.spawn(move || {
                for id in 0..VALUES {
                    let len = if id % 10 == 0 { 2000 } else { 5 };
                    tx.send(&Order { id, ..Order::of(len) }).unwrap();
                }
            });
            scope.spawn(move || {
                for id in 0..VALUES {
                    let order = rx.recv().unwrap();
                    assert_eq!((order.id, order.text.len() >= 5), (id, true));
                }
                assert!(rx.recv().unwrap_err().is_disconnected());
            });
            let mut seen = 0;
            loop {
                match inspect(stage.name()) {
                    Ok(inspection) => {
                        let stats = inspection.stats;
                        assert!(stats.received_values <= VALUES && stats.waiting <= VALUES);
                        seen += 1;
                    }
                    Err(InspectError::NotFound { .. }) => break,
                    // It is removed in this moment.
                    Err(InspectError::Incomplete { .. }) => {}
                    Err(error) => panic!("{error}"),
                }
            }
            assert!(seen > 0, "round {round}");
        });
        assert!(stage.objects().is_empty());
    }
}

#[test]
fn channels_come_and_go_while_all_are_listed() {
    let stages: Vec<_> = (0..4).map(|_| Stage::new("inspect many")).collect();
    let steady = Stage::new("inspect steady");
    let _channel = Channel::<u8>::create(steady.name()).unwrap();
    thread::scope(|scope| {
        let makers: Vec<_> = stages
            .iter()
            .map(|stage| {
                scope.spawn(|| {
                    for _ in 0..200 {
                        drop(Channel::<u8>::create(stage.name()).unwrap());
                    }
                })
            })
            .collect();
        while !makers.iter().all(|maker| maker.is_finished()) {
            let [Listed::Channel(seen)] = &listed(&steady)[..] else { panic!("it is there") };
            assert_eq!(seen.users, 1);
        }
    });
    assert!(stages.iter().all(|stage| stage.objects().is_empty()));
}

#[test]
fn what_is_left_of_a_channel_is_listed_and_says_why() {
    let stage = Stage::new("inspect rest");
    let unreadable = || match &listed(&stage)[..] {
        [Listed::Unreadable { error, .. }] => error.clone(),
        other => panic!("{other:?}"),
    };
    for (kind, missing) in [(Kind::Queue, "message queue"), (Kind::Segment, "segment")] {
        let channel = Channel::<u8>::create(stage.name()).unwrap();
        stage
            .objects()
            .into_iter()
            .filter(|object| object.kind == kind)
            .for_each(|gone| gone.remove());
        let error = unreadable();
        assert!(error.to_string().starts_with(&format!("the {missing} of the channel")), "{error}");
        assert_eq!(inspect(stage.name()).unwrap_err(), error);
        drop(channel);
        assert!(stage.objects().is_empty(), "{kind:?}");
    }
    let channel = Channel::<u8>::create(stage.name()).unwrap();
    let segment = stage.objects().into_iter().find(|object| object.kind == Kind::Segment).unwrap();
    kernel::overwrite_magic(segment);
    assert!(matches!(unreadable(), InspectError::Unfinished { .. }));
    drop(channel);
    assert!(stage.objects().is_empty());
}

#[test]
fn a_bare_queue_is_listed_with_what_the_kernel_knows() {
    let stage = Stage::new("inspect queue");
    let queue = Queue::<u64>::create(stage.name()).unwrap();
    queue.send(&1).unwrap();
    let [Listed::Queue { stat, .. }] = &listed(&stage)[..] else { panic!("it is a queue") };
    assert_eq!((stat.messages, stat.bytes), (1, 8));
    assert!(matches!(inspect(stage.name()), Err(InspectError::NotFound { .. })));
    queue.remove().unwrap();
}

#[test]
fn a_name_is_told_from_another_with_its_key() {
    let stage = Stage::new("inspect key");
    let channel = Channel::<u8>::create(stage.key()).unwrap();
    assert_eq!(inspect(stage.key()).unwrap().name, None);
    let by_name = inspect(stage.name()).unwrap_err();
    assert!(matches!(by_name, InspectError::KeyCollision { .. }), "{by_name}");
    assert_eq!(inspect(channel.handle()).unwrap().handle, channel.handle());
    let old = channel.handle();
    drop(channel);
    let _next = Channel::<u8>::create(stage.key()).unwrap();
    assert!(matches!(inspect(old), Err(InspectError::NotFound { name: Name::Handle(_) })));
    assert!(matches!(inspect(""), Err(InspectError::InvalidName(_))));
    let foreign = Stage::new("inspect foreign");
    let _set = kernel::Object::foreign(Kind::Set, foreign.key());
    assert!(matches!(inspect(foreign.name()), Err(InspectError::KeyCollision { .. })));
    assert_eq!(listed(&foreign).len(), 0);
}

#[test]
fn another_users_channel_is_shown_as_far_as_its_mode_lets() {
    let other = NOBODY;
    let stage = Stage::new("inspect user");
    let channel = Channel::<u64>::create(stage.name()).unwrap();
    let mut looks = stage.child_of(other, "looks", &[]);
    let said = looks.hear();
    assert!(said.contains("ermission"), "{said}");
    looks.finish();
    drop(channel);
    let channel = Channel::<u64>::options().mode(0o644).create(stage.name()).unwrap();
    let mut looks = stage.child_of(other, "looks", &[]);
    looks.expect("u64");
    looks.finish();
    drop(channel);
    let mut creates = stage.child_of(other, "creates as another", &[]);
    creates.expect("created");
    assert_eq!(look(&stage).ownership.uid, other);
    creates.tell("go");
    creates.finish();
}

#[test]
fn whatever_stands_in_the_segment_is_shown_or_refused() {
    let stage = Stage::new("inspect scribbled");
    for round in 0..300 {
        let options = Channel::<Order>::options().lanes(3).inline_limit(round % 2 * 64);
        let channel = options.capacity(4096).create(stage.name()).unwrap();
        let tx = channel.sender().unwrap();
        let (id, text) = (round as u64, "text".to_owned());
        tx.send(&Order { id, text }).unwrap();
        let segment =
            stage.objects().into_iter().find(|object| object.kind == Kind::Segment).unwrap();
        let mapping = Mapping::of(segment, 4096).unwrap();
        for _ in 0..20 {
            // Beyond the magic and the version, which are all that refuses at once.
            let at = 16 + random(4080 / 8 - 2) as usize * 8;
            let number = [0, 1, u64::MAX, 1 << 40, 63, random(u64::MAX)][random(6) as usize];
            mapping.word(at).store(number, Ordering::Relaxed);
            let _ = inspect(stage.name());
            assert_eq!(listed(&stage).len(), 1, "round {round}, {number} at {at}");
        }
        drop((tx, channel));
        let _ = Channel::<Order>::unlink(stage.name());
        stage.objects().into_iter().for_each(kernel::Object::remove_if_there);
    }
}
