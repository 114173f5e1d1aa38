//! What `create`, `open` and `unlink` refuse, and leave as it is.

#![cfg(not(loom))]

mod common;

use std::collections::HashMap;

use common::kernel::{self, Kind, Object};
use common::{Child, Parcel, Shape, Stage, follow_orders, halt, order, play, say, user};
use serde::{Deserialize, Serialize};
#[cfg(feature = "json")]
use sysv_channel::SendError;
use sysv_channel::codec::{Bytes, Raw};
use sysv_channel::rpc::{Client, Server};
use sysv_channel::{
    AttachError, Channel, Key, Name, OpenError, Queue, QueueError, RecvError, Schema, SystemError,
    SystemErrorKind, actor, rpc,
};

/// Semaphores of a channel's set.
const USERS: u16 = 3;
const SENDERS: u16 = 5;
const ITEMS: u16 = 6;

/// As high as a semaphore goes.
const HIGHEST: i16 = 32_767;

/// The parts that this binary plays when it is started as a child.
#[test]
fn child() {
    play(|role, arguments| {
        let name = arguments[0];
        match role {
            "user" => {
                let shape = arguments.get(1).copied().map_or(Shape::Mixed, Shape::named);
                follow_orders(name, &shape.options());
            }
            "hold the lock" => {
                let objects = kernel::objects(Key::from_name(name));
                objects.into_iter().find(|object| object.kind == Kind::Set).unwrap().take_lock();
                halt("held");
            }
            "foreign" => {
                let kind = Kind::ALL[arguments[1].parse::<usize>().unwrap()];
                Object::foreign(kind, Key::from_name(name));
            }
            "sign" => drop(Object::signed_set(Key::from_name(name), 4)),
            "in another pid namespace" => {
                if !kernel::unshare_pids() {
                    return say("skipped");
                }
                let mut inside = Child::start(arguments[1], &[name], |_| {});
                while let Some(line) = inside.try_hear() {
                    say(line);
                }
            }
            "create and open" => {
                let options = Shape::RingOnly.options::<Parcel>();
                for told in [options.create(name), options.open(name), options.open_or_create(name)]
                {
                    say(told.map_or_else(|refused| refused.to_string(), |_| "done".to_owned()));
                }
            }
            "attach" => {
                say(Channel::<Parcel>::open(name).unwrap().receiver().unwrap_err());
            }
            "open" => say(Channel::<Parcel>::open(name).unwrap_err()),
            _ => unreachable!("no such role: {role}"),
        }
    });
}

#[test]
fn foreign_object_under_the_same_key_is_refused_and_left_alone() {
    for shape in Shape::ALL {
        for (number, kind) in Kind::ALL.into_iter().enumerate() {
            for same_process in [true, false] {
                if shape == Shape::RingOnly && kind == Kind::Queue {
                    // Such a channel has no queue to collide with.
                    continue;
                }
                let stage = Stage::new("foreign");
                if same_process {
                    Object::foreign(kind, stage.key());
                } else {
                    stage.child("foreign", &[&number.to_string()]).finish();
                }
                expect_collision(&stage, shape);
            }
        }
    }
}

#[test]
fn foreign_object_that_was_never_used_is_left_alone_too() {
    for shape in Shape::ALL {
        for kind in Kind::ALL {
            if shape != Shape::RingOnly || kind != Kind::Queue {
                let stage = Stage::new("foreign");
                Object::untouched(kind, stage.key());
                expect_collision(&stage, shape);
            }
        }
    }
}

fn expect_collision(stage: &Stage, shape: Shape) {
    let before = stage.objects();
    let options = shape.options::<Parcel>();
    for refused in [options.create(stage.name()), options.open_or_create(stage.name())] {
        let refused = refused.unwrap_err();
        assert!(matches!(refused, OpenError::KeyCollision { .. }), "{before:?}: {refused}");
        says_what_removes(&refused, before[0]);
        assert_eq!(stage.objects(), before, "{shape:?}");
    }
    // Without a set there is nothing that could be a channel.
    let refused = options.open(stage.name()).unwrap_err();
    assert!(matches!(refused, OpenError::KeyCollision { .. } | OpenError::NotFound { .. }));
    let refused = Channel::<Parcel>::unlink(stage.name()).unwrap_err();
    assert!(matches!(refused, OpenError::KeyCollision { .. }), "{refused}");
    says_what_removes(&refused, before[0]);
    assert_eq!(stage.objects(), before, "{shape:?}");
}

/// The refusal of a foreign object names it, what it was expected to have, and what removes it.
fn says_what_removes(refused: &OpenError, object: Object) {
    let (name, missing, flag) = match object.kind {
        Kind::Set => ("semaphore set", "signature", 's'),
        Kind::Segment => ("shared-memory segment", "has no channel's header", 'm'),
        Kind::Queue => ("message queue", "has no channel's header beside it", 'q'),
    };
    let (id, refused) = (object.id, refused.to_string());
    for words in [name, missing, &format!("(id {id})"), &format!("`ipcrm -{flag} {id}`")] {
        assert!(refused.contains(words), "{words}: {refused}");
    }
}

#[test]
fn two_names_with_one_key_are_told_apart() {
    let stage = Stage::new("collision");
    let mut names = HashMap::new();
    let (first, second) = (0..)
        .find_map(|number| {
            let name = format!("{} {number}", stage.name());
            let earlier = names.insert(Key::from_name(&name).raw(), name.clone())?;
            Some((earlier, name))
        })
        .unwrap();
    let channel = Channel::<Parcel>::create(&first).unwrap();
    let options = Channel::<Parcel>::options();
    for refused in [options.create(&second), options.open(&second), options.open_or_create(&second)]
    {
        let refused = refused.unwrap_err();
        assert!(matches!(refused, OpenError::KeyCollision { .. }), "{refused}");
        assert!(refused.to_string().contains(&first), "{refused}");
    }
    let refused = Channel::<Parcel>::unlink(&second).unwrap_err();
    assert!(matches!(refused, OpenError::KeyCollision { .. }), "{refused}");
    let (tx, rx) = (channel.sender().unwrap(), channel.receiver().unwrap());
    tx.send(&Parcel::new(1, 1, 1)).unwrap();
    rx.recv().unwrap();
    // The key itself opens whatever channel is there.
    drop(Channel::<Parcel>::open(Key::from_name(&second)).unwrap());
}

#[test]
fn another_type_or_codec_or_mode_is_refused() {
    for shape in Shape::ALL {
        let stage = Stage::new("wrong");
        let _child = user(&stage, shape, &["create", "send 1"]);
        let refused = Channel::<(u64, u64, u32)>::open(stage.name()).unwrap_err();
        assert!(matches!(refused, OpenError::WrongType { .. }), "{refused}");
        let text = refused.to_string();
        assert!(text.contains("Parcel") && text.contains("u32"), "{text}");
        let refused = Channel::<Bytes, Raw>::open(stage.name()).unwrap_err();
        assert!(matches!(refused, OpenError::WrongCodec { mine: "raw", .. }), "{refused}");
        for object in stage.objects() {
            object.set_mode(0o666);
            let refused = Channel::<Parcel>::open(stage.name()).unwrap_err();
            assert!(
                matches!(refused, OpenError::WrongMode { found: 0o666, expected: 0o600, .. }),
                "{refused}"
            );
            object.set_mode(0o600);
        }
        let rx = Channel::<Parcel>::open(stage.name()).unwrap().receiver().unwrap();
        assert_eq!(rx.recv().unwrap().id, 0);
    }
}

/// Asks its input what it holds, in one field.
#[derive(Serialize, Deserialize)]
struct Setting {
    id: u64,
    values: Vec<Setpoint>,
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Setpoint {
    Number(f64),
    Text(String),
}

/// Leaves out what it reads.
#[derive(Serialize, Deserialize)]
#[allow(dead_code)]
struct Unwritten {
    #[serde(skip_serializing)]
    id: u64,
}

#[test]
fn undecodable_type_is_refused_at_create_and_open_and_leaves_nothing() {
    let stage = Stage::new("undecodable");
    let options = Channel::<Setting>::options();
    let refused = [
        options.create(stage.name()).unwrap_err(),
        options.open(stage.name()).unwrap_err(),
        options.open_or_create(stage.name()).unwrap_err(),
        options.private().unwrap_err(),
        Channel::<(u8, Setting)>::create(stage.name()).unwrap_err(),
        Channel::<Unwritten>::create(stage.name()).unwrap_err(),
    ];
    for (number, refused) in refused.into_iter().enumerate() {
        let text = refused.to_string();
        assert!(matches!(refused, OpenError::Undecodable { .. }), "{text}");
        let part = match number {
            0..=3 => "`Setting.values[]` asks",
            4 => "`(u8, Setting).1.values[]` asks",
            _ => "`skip_serializing`",
        };
        assert!(text.contains(part), "{text}");
        assert!(text.contains("codec::Json") && text.contains("Options::schema"), "{text}");
    }
    type Calls = rpc::Server<u64, Setting>;
    let refused = Calls::bind(stage.name()).unwrap_err().to_string();
    assert!(refused.contains("`Setting.values[]` asks"), "{refused}");
    let refused = actor::Mailbox::<Setting>::bind(stage.name()).unwrap_err().to_string();
    assert!(refused.contains("`Setting.values[]` asks"), "{refused}");
    let queue = Queue::<Setting>::options();
    let refused = queue.private().unwrap_err();
    assert!(matches!(refused, QueueError::Undecodable { .. }), "{refused}");
    assert!(refused.to_string().contains("QueueOptions::schema"), "{refused}");
    let refused = Queue::<Setting>::open(stage.name()).unwrap_err();
    assert!(matches!(refused, QueueError::Undecodable { .. }), "{refused}");
    assert_eq!(stage.objects(), []);
}

#[test]
fn undecodable_type_is_taken_from_a_user_who_vouches_for_it() {
    let stage = Stage::new("vouched");
    let options = Channel::<Setting>::options().schema(Schema::named("setting", 1));
    let channel = options.create(stage.name()).unwrap();
    let (tx, rx) = (channel.sender().unwrap(), channel.receiver().unwrap());
    tx.send(&Setting { id: 1, values: vec![] }).unwrap();
    assert_eq!(rx.recv().unwrap().id, 1);
    tx.send(&Setting { id: 1, values: vec![Setpoint::Number(1.0)] }).unwrap();
    assert!(matches!(rx.recv(), Err(RecvError::Decode { .. })));
    let queue = Queue::<Setting>::options().schema(Schema::named("setting", 1)).private().unwrap();
    queue.send(&Setting { id: 2, values: vec![] }).unwrap();
    assert_eq!(queue.recv().unwrap().id, 2);
}

#[cfg(feature = "json")]
#[test]
fn undecodable_type_is_carried_as_json() {
    use sysv_channel::codec::Json;

    let stage = Stage::new("json");
    let channel = Channel::<Setting, Json>::create(stage.name()).unwrap();
    let (tx, rx) = (channel.sender().unwrap(), channel.receiver().unwrap());
    tx.send(&Setting { id: 7, values: vec![Setpoint::Number(0.5), Setpoint::Text("on".into())] })
        .unwrap();
    let setting = rx.recv().unwrap();
    assert!(setting.id == 7 && matches!(setting.values[0], Setpoint::Number(0.5)));
    assert!(matches!(&setting.values[1], Setpoint::Text(text) if text == "on"));
    let refused = tx.send(&Setting { id: 8, values: vec![Setpoint::Number(f64::NAN)] });
    assert!(matches!(refused, Err(SendError::Encode { .. })), "{refused:?}");
    let refused = Channel::<Setting>::options()
        .schema(Schema::named("setting", 1))
        .open(stage.name())
        .unwrap_err();
    assert!(matches!(refused, OpenError::WrongCodec { .. }), "{refused}");
}

#[test]
fn handle_opens_no_later_channel_of_the_same_name() {
    let stage = Stage::new("stale handle");
    let handle = Channel::<Parcel>::create(stage.name()).unwrap().handle();
    let refused = Channel::<Parcel>::open(handle).unwrap_err();
    assert!(matches!(refused, OpenError::NotFound { .. }), "{refused}");
    let channel = Channel::<Parcel>::create(stage.name()).unwrap();
    let refused = Channel::<Parcel>::open(handle).unwrap_err();
    assert!(matches!(refused, OpenError::NotFound { .. }), "{refused}");
    Channel::<Parcel>::open(channel.handle()).unwrap();
}

#[test]
fn lock_that_is_not_given_back_is_reported_with_its_holder() {
    let stage = Stage::new("busy");
    let _channel = Channel::<Parcel>::create(stage.name()).unwrap();
    let mut child = stage.child("hold the lock", &[]);
    child.expect("held");
    let busy = Channel::<Parcel>::open(stage.name()).unwrap_err();
    let OpenError::Busy { pid, .. } = busy else { panic!("{busy}") };
    assert_eq!(pid as u32, child.id());
    assert!(busy.to_string().contains(&child.id().to_string()), "{busy}");
    assert!(busy.to_string().contains(stage.name()), "{busy}");
    child.kill();
    Channel::<Parcel>::open(stage.name()).unwrap();
}

#[test]
fn bare_queue_refuses_a_channels_name_and_takes_nothing_from_it() {
    for shape in Shape::ALL {
        let stage = Stage::new("queue of a channel");
        let channel = shape.options::<Parcel>().create(stage.name()).unwrap();
        let tx = channel.sender().unwrap();
        tx.send(&Parcel::new(1, 0, 9)).unwrap();
        let before = stage.objects();
        let queue = Queue::<Vec<u8>, Raw>::options;
        for name in [Name::from(stage.name()), Name::from(stage.key()), channel.handle().into()] {
            let tried = [
                queue().open(name.clone()),
                queue().create(name.clone()),
                queue().open_or_create(name.clone()),
            ];
            for refused in tried {
                let refused = refused.unwrap_err().to_string();
                let words = "is no bare queue: open it with Channel::open";
                assert!(refused.contains(words), "{shape:?}: {refused}");
            }
        }
        assert_eq!(stage.objects(), before);
        assert_eq!(channel.receiver().unwrap().recv().unwrap().id, 0);
    }
}

#[test]
fn bare_queue_shares_its_key_with_another_programs_semaphores() {
    // C programs give one ftok key to all three kinds of object.
    let stage = Stage::new("queue beside a set");
    Object::foreign(Kind::Set, stage.key());
    let queue = Queue::<Vec<u8>, Raw>::create(stage.name()).unwrap();
    queue.send(&vec![7]).unwrap();
    assert_eq!(Queue::<Vec<u8>, Raw>::open(stage.name()).unwrap().recv().unwrap(), [7]);
}

fn set_of(stage: &Stage) -> Object {
    stage.objects().into_iter().find(|object| object.kind == Kind::Set).unwrap()
}

fn expect_overflow(error: &SystemError) {
    assert_eq!(error.kind(), SystemErrorKind::Overflow, "{error}");
    assert!(error.to_string().contains("32767"), "{error}");
}

#[test]
fn semaphore_at_its_highest_ends_attaching_in_an_error() {
    for shape in Shape::ALL {
        let stage = Stage::new("highest");
        let channel = shape.options::<Parcel>().create(stage.name()).unwrap();
        let set = set_of(&stage);
        // A bell that is full stands in nobody's way.
        set.add(ITEMS, HIGHEST);
        let (tx, rx) = (channel.sender().unwrap(), channel.receiver().unwrap());
        tx.send(&Parcel::new(1, 0, 9)).unwrap();
        assert_eq!(rx.recv().unwrap().id, 0);
        drop((tx, rx));
        set.add(SENDERS, HIGHEST);
        let AttachError::System { error: refused, .. } = channel.sender().unwrap_err() else {
            panic!()
        };
        expect_overflow(&refused);
        set.add(SENDERS, -HIGHEST);
        let (tx, rx) = (channel.sender().unwrap(), channel.receiver().unwrap());
        tx.send(&Parcel::new(1, 1, 9)).unwrap();
        assert_eq!(rx.recv().unwrap().id, 1);
    }
    let stage = Stage::new("highest of a server");
    let _server = Server::<u32, u32>::bind(stage.name()).unwrap();
    set_of(&stage).add(SENDERS, HIGHEST);
    let refused = Client::<u32, u32>::connect(stage.name()).unwrap_err().to_string();
    assert!(refused.contains("32767"), "{refused}");
    set_of(&stage).add(SENDERS, -HIGHEST);
}

#[test]
fn user_that_is_one_too_many_gives_the_lock_back() {
    let stage = Stage::new("one user too many");
    let channel = Channel::<Parcel>::create(stage.name()).unwrap();
    set_of(&stage).add(USERS, HIGHEST - 1);
    let OpenError::System(refused) = Channel::<Parcel>::open(stage.name()).unwrap_err() else {
        panic!()
    };
    expect_overflow(&refused);
    let refused = Channel::<Parcel>::create(stage.name()).unwrap_err();
    assert!(matches!(refused, OpenError::AlreadyExists { .. }), "{refused}");
    set_of(&stage).add(USERS, 1 - HIGHEST);
    drop(Channel::<Parcel>::open(stage.name()).unwrap());
    drop(channel);
    assert_eq!(stage.objects(), []);
}

#[test]
fn process_numbers_of_another_pid_namespace_prove_nothing() {
    let stage = Stage::new("other pids");
    // Neither has a number there.
    Object::foreign(Kind::Segment, stage.key());
    stage.child("sign", &[]).finish();
    let before = stage.objects();
    let told = stage.child("in another pid namespace", &["create and open"]).finish();
    if told == ["skipped"] {
        return println!("skipped: only root can make a pid namespace");
    }
    assert_eq!(told.len(), 3);
    for refused in told {
        assert!(refused.contains("another pid namespace"), "{refused}");
        assert!(refused.contains("ipcrm -m"), "{refused}");
    }
    assert_eq!(stage.objects(), before);
}

#[test]
fn process_in_another_pid_namespace_is_not_called_process_0() {
    let stage = Stage::new("not process 0");
    let channel = Channel::<Parcel>::create(stage.name()).unwrap();
    let _rx = channel.receiver().unwrap();
    let mut told = stage.child("in another pid namespace", &["attach"]).finish();
    if told == ["skipped"] {
        return println!("skipped: only root can make a pid namespace");
    }
    let mut holder = stage.child("hold the lock", &[]);
    holder.expect("held");
    told.extend(stage.child("in another pid namespace", &["open"]).finish());
    assert_eq!(told.len(), 2);
    for refused in told {
        assert!(refused.contains("a process of another pid namespace"), "{refused}");
    }
}

#[test]
fn owner_can_unlink_whatever_is_left_of_a_channel() {
    for shape in Shape::ALL {
        for damage in ["segment gone", "magic overwritten", "queue gone"] {
            let stage = Stage::new("what is left");
            user(&stage, shape, &["create", "send 2", "receive 1"]).kill();
            let find = |kind| stage.objects().into_iter().find(|object| object.kind == kind);
            let segment = find(Kind::Segment).unwrap();
            match damage {
                "segment gone" => segment.remove(),
                "magic overwritten" => kernel::overwrite_magic(segment),
                _ => find(Kind::Queue).into_iter().for_each(Object::remove),
            }
            Channel::<Parcel>::unlink(stage.name()).unwrap();
            assert_eq!(stage.objects(), [], "{shape:?} {damage}");
            let mut child = user(&stage, shape, &["create", "send 1", "receive 1", "close"]);
            order(&mut child, &["create"]);
        }
    }
}

#[test]
fn queue_that_was_used_before_a_killed_creator_made_its_own_is_left_alone() {
    let stage = Stage::new("used before");
    let queue = Queue::<Parcel>::create(stage.name()).unwrap();
    queue.send(&Parcel::new(1, 1, 1)).unwrap();
    let set = Object::signed_set(stage.key(), 4);
    let options = Shape::Mixed.options::<Parcel>();
    let unlinked = || Channel::<Parcel>::unlink(stage.name()).unwrap_err();
    for refused in [
        options.create(stage.name()).unwrap_err(),
        options.open(stage.name()).unwrap_err(),
        unlinked(),
    ] {
        assert!(matches!(refused, OpenError::KeyCollision { .. }), "{refused}");
        assert!(refused.to_string().contains("ipcrm -q"), "{refused}");
    }
    assert_eq!(queue.recv().unwrap(), Parcel::new(1, 1, 1));
    set.remove();
    queue.remove().unwrap();
}

/// What another program makes under the key of a channel of which a part was removed by hand.
#[test]
fn what_another_made_under_the_key_after_a_removal_by_hand_is_never_touched() {
    for shape in Shape::ALL {
        let ways = ["last user", "create", "open", "sweep", "unlink"];
        let makers = [Object::foreign, Object::untouched];
        let cases = (1..8).flat_map(|removed| ways.map(|way| (removed, way)));
        for ((removed, way), make) in cases.flat_map(|case| makers.map(|make| (case, make))) {
            let stage = Stage::new("made meanwhile");
            let mut child = user(&stage, shape, &["create", "send 2", "receive 2"]);
            let kinds: Vec<Kind> = Kind::ALL
                .into_iter()
                .enumerate()
                .filter_map(|(index, kind)| (removed >> index & 1 == 1).then_some(kind))
                .collect();
            for object in stage.objects() {
                if kinds.contains(&object.kind) {
                    object.remove();
                }
            }
            let foreign: Vec<Object> = kinds.iter().map(|&kind| make(kind, stage.key())).collect();
            match way {
                "last user" => order(&mut child, &["close"]),
                _ => drop(child.kill()),
            }
            let refused = match way {
                "create" => shape.options::<Parcel>().create(stage.name()).err(),
                "open" => shape.options::<Parcel>().open(stage.name()).err(),
                "unlink" => Channel::<Parcel>::unlink(stage.name()).err(),
                "sweep" => {
                    sysv_channel::sweep_all().unwrap();
                    None
                }
                _ => None,
            };
            let about = format!("{shape:?} {kinds:?} {way}: {refused:?}");
            let has_queue = shape != Shape::RingOnly;
            let in_the_way =
                kinds.contains(&Kind::Segment) || has_queue && kinds.contains(&Kind::Queue);
            if way == "create" && in_the_way {
                assert!(matches!(refused, Some(OpenError::KeyCollision { .. })), "{about}");
            }
            let left = stage.objects();
            foreign.iter().for_each(|foreign| assert!(left.contains(foreign), "{about}"));
            foreign.into_iter().for_each(Object::remove);
            // And then the name is free, or its owner can free it.
            drop(Channel::<Parcel>::unlink(stage.name()));
            for object in stage.objects() {
                // A queue or a segment of which nothing says any more whose it is.
                assert!(kinds.contains(&Kind::Set), "{about}");
                object.remove();
            }
        }
    }
}

#[test]
fn channel_that_is_not_there_is_told_in_words_that_fit() {
    let stage = Stage::new("not there");
    let handle = Channel::<Parcel>::create(stage.name()).unwrap().handle();
    let opened = Channel::<Parcel>::open(stage.name()).unwrap_err().to_string();
    assert!(opened.contains("ipc namespace"), "{opened}");
    let waited =
        Channel::<Parcel>::options().wait_for_creation(std::time::Duration::from_millis(1));
    let waited = waited.open(stage.name()).unwrap_err().to_string();
    let unlinked = Channel::<Parcel>::unlink(stage.name()).unwrap_err().to_string();
    let queue = Queue::<Parcel>::create(stage.name()).unwrap();
    let bare = Channel::<Parcel>::open(stage.name()).unwrap_err().to_string();
    queue.remove().unwrap();
    for told in [waited, unlinked, bare] {
        assert!(!told.contains("wait_for_creation"), "{told}");
        // Not what its reader wants, perhaps.
        assert!(
            told.contains("a program that opens it is started after the one that creates it"),
            "{told}"
        );
        assert!(told.contains("bare Queue"), "{told}");
    }
    let stale = Channel::<Parcel>::open(handle).unwrap_err().to_string();
    assert!(!stale.contains("channel channel"), "{stale}");
    assert!(stale.contains("is gone") && stale.contains("handle"), "{stale}");
}
