//! What `create`, `open` and `unlink` refuse, and leave as it is.

#![cfg(not(loom))]

mod common;

use std::collections::HashMap;

use common::kernel::{self, Kind, Object};
use common::{Parcel, Shape, Stage, follow_orders, halt, play, user};
use sysv_channel::codec::{Bytes, Raw};
use sysv_channel::{Channel, Key, OpenError};

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
fn foreign_object_that_nobody_has_used_yet_is_left_alone_too() {
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
        assert!(refused.to_string().contains(&before[0].id.to_string()), "{refused}");
        assert_eq!(stage.objects(), before, "{shape:?}");
    }
    // Without a set there is nothing that could be a channel.
    let refused = options.open(stage.name()).unwrap_err();
    assert!(matches!(refused, OpenError::KeyCollision { .. } | OpenError::NotFound { .. }));
    let refused = Channel::<Parcel>::unlink(stage.name()).unwrap_err();
    assert!(matches!(refused, OpenError::KeyCollision { .. } | OpenError::NotFound { .. }));
    assert_eq!(stage.objects(), before, "{shape:?}");
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
    let OpenError::Busy { pid } = busy else { panic!("{busy}") };
    assert_eq!(pid as u32, child.id());
    assert!(busy.to_string().contains(&child.id().to_string()), "{busy}");
    child.kill();
    Channel::<Parcel>::open(stage.name()).unwrap();
}
