//! How channels come and go: who creates, adopts, refuses and removes their objects.

#![cfg(not(loom))]

mod common;

use std::time::Duration;

use common::kernel::{self, Kind, Object};
use common::{
    Child, Parcel, Shape, Stage, at_any_moment, follow_orders, listen, order, play, say, until,
    user,
};
use nix::unistd::gettid;
use sysv_channel::{AttachError, Channel, Key, OpenError, Select, Tag};
use sysv_channel::{sweep, sweep_all};

const SHORT: Duration = Duration::from_millis(5);

/// The parts that this binary plays when it is started as a child.
#[test]
fn child() {
    play(|role, arguments| {
        let name = arguments[0];
        let shape = arguments.get(1).copied().map_or(Shape::Mixed, Shape::named);
        match role {
            "user" => follow_orders(name, &shape.options()),
            "durable user" => follow_orders(name, &shape.options().durable()),
            "create and close" => {
                say("started");
                loop {
                    match shape.options::<Parcel>().create(name) {
                        Ok(_) | Err(OpenError::AlreadyExists { .. }) => {}
                        Err(error) => panic!("{error}"),
                    }
                }
            }
            "open or create and close" => {
                say("started");
                listen();
                for _ in 0..200 {
                    let channel = shape.options::<Parcel>().open_or_create(name).unwrap();
                    assert!(channel.stats().unwrap().users > 0);
                }
            }
            "block in recv" => {
                let rx = Channel::<Parcel>::open(name).unwrap().receiver().unwrap();
                say(gettid());
                let error = loop {
                    match rx.recv() {
                        Ok(parcel) => say(parcel.id),
                        Err(error) => break error,
                    }
                };
                say(error);
            }
            "block in selection" => {
                let rx = Channel::<Parcel>::open(name).unwrap().receiver().unwrap();
                say(gettid());
                say(rx.recv_matching(Select::Exactly(Tag::new(7).unwrap())).unwrap_err());
            }
            "block in send" => {
                let tx = Channel::<Parcel>::open(name).unwrap().sender().unwrap();
                say(gettid());
                let parcel = Parcel::new(1, 1, arguments[2].parse().unwrap());
                let error = loop {
                    if let Err(error) = tx.send(&parcel) {
                        break error;
                    }
                };
                say(error);
            }
            "sweep" => sweep_apart(name),
            _ => unreachable!("no such role: {role}"),
        }
    });
}

/// How many objects a channel has.
fn count(shape: Shape) -> usize {
    if shape == Shape::RingOnly { 2 } else { 3 }
}

// ---------------------------------------------------------------------- the last user

#[test]
fn last_user_removes_the_objects() {
    for shape in Shape::ALL {
        let stage = Stage::new("last user");
        let channel = shape.options::<Parcel>().create(stage.name()).unwrap();
        assert_eq!(stage.objects().len(), count(shape));
        let mut child = user(&stage, shape, &["open", "send 1"]);
        assert_eq!(channel.receiver().unwrap().recv().unwrap().id, 0);
        drop(channel);
        assert_eq!(stage.objects().len(), count(shape));
        order(&mut child, &["close"]);
        assert_eq!(stage.objects(), [], "{shape:?}");
    }
}

#[test]
fn endpoints_are_users_of_their_own() {
    let stage = Stage::new("endpoints");
    let channel = Channel::<Parcel>::create(stage.name()).unwrap();
    let (tx, rx) = (channel.sender().unwrap(), channel.receiver().unwrap());
    drop(channel);
    tx.send(&Parcel::new(1, 1, 1)).unwrap();
    drop(tx);
    rx.recv().unwrap();
    assert_eq!(stage.objects().len(), 3);
    drop(rx);
    assert_eq!(stage.objects(), []);
}

#[test]
fn private_channel_is_removed_with_the_values_that_it_holds() {
    for shape in Shape::ALL {
        let stage = Stage::new("private");
        let mut child = user(&stage, shape, &[]);
        child.tell("private");
        let key = common::key_of(common::read_handle(&child.hear()));
        child.expect("ok");
        order(&mut child, &["send 3"]);
        assert_eq!(kernel::objects(key).len(), count(shape));
        order(&mut child, &["close"]);
        assert_eq!(kernel::objects(key), [], "{shape:?}");
    }
}

#[test]
fn restarted_creator_adopts_the_values_that_wait() {
    for shape in Shape::ALL {
        for killed in [false, true] {
            let stage = Stage::new("adopt");
            let mut receiver = user(&stage, shape, &["create", "receive 0"]);
            let mut sender = user(&stage, shape, &["open", "send 5"]);
            order(&mut receiver, &["receive 2"]);
            if killed {
                receiver.kill();
                sender.kill();
            } else {
                order(&mut sender, &["close"]);
                order(&mut receiver, &["close"]);
            }
            let left = stage.objects();
            assert_eq!(left.len(), count(shape));

            let channel = shape.options::<Parcel>().create(stage.name()).unwrap();
            assert_eq!(stage.objects(), left, "{shape:?}: adopted");
            let rx = channel.receiver().unwrap();
            for id in 2..5 {
                assert_eq!(rx.recv().unwrap(), Parcel::new(1, id, (id * 100) as usize));
            }
            // A new life: nobody has come yet who could be gone.
            assert!(rx.recv_timeout(SHORT).unwrap_err().is_timeout(), "{shape:?}");
            drop((rx, channel));
            assert_eq!(stage.objects(), [], "{shape:?}");
        }
    }
}

// ---------------------------------------------------------------------- create

#[test]
fn creating_a_channel_in_use_is_refused() {
    for shape in Shape::ALL {
        let stage = Stage::new("in use");
        let child = user(&stage, shape, &["create", "send 1"]);
        let before = stage.objects();
        for options in [shape.options::<Parcel>(), shape.options().lanes(7)] {
            let refused = options.create(stage.name()).unwrap_err();
            assert!(matches!(refused, OpenError::AlreadyExists { .. }), "{refused}");
            assert!(refused.to_string().contains(stage.name()), "{refused}");
        }
        assert_eq!(stage.objects(), before);
        let rx = Channel::<Parcel>::open(stage.name()).unwrap().receiver().unwrap();
        assert_eq!(rx.recv().unwrap().id, 0);
        drop(child);
    }
}

#[test]
fn unused_channel_of_other_sizes_is_replaced_if_it_is_empty() {
    for shape in Shape::ALL {
        for lanes in [2, 4, 9] {
            let stage = Stage::new("replace");
            user(&stage, shape, &["create", "send 3", "receive 3"]).kill();
            let left = stage.objects();
            assert_eq!(left.len(), count(shape));
            let options = shape.options::<Parcel>().lanes(lanes).max_value(1 << 20);
            let channel = options.create(stage.name()).unwrap();
            assert!(stage.objects().iter().any(|object| !left.contains(object)), "{shape:?}");
            let (tx, rx) = (channel.sender().unwrap(), channel.receiver().unwrap());
            tx.send(&Parcel::new(1, 1, 1)).unwrap();
            assert_eq!(rx.recv().unwrap().id, 1);
            drop((tx, rx, channel));
            assert_eq!(stage.objects(), [], "{shape:?}");
        }
    }
}

#[test]
fn unused_channel_of_other_sizes_is_kept_if_it_holds_values() {
    for shape in Shape::ALL {
        let stage = Stage::new("holds values");
        user(&stage, shape, &["create", "send 3", "receive 2"]).kill();
        let left = stage.objects();
        let refused = shape.options::<Parcel>().lanes(2).create(stage.name()).unwrap_err();
        assert!(matches!(refused, OpenError::HoldsValues { .. }), "{refused}");
        let refused = Channel::<u64>::create(stage.name()).unwrap_err();
        assert!(matches!(refused, OpenError::WrongType { .. }), "{refused}");
        assert_eq!(stage.objects(), left);
        let rx = Channel::<Parcel>::open(stage.name()).unwrap().receiver().unwrap();
        assert_eq!(rx.recv().unwrap().id, 2);
        drop(rx);
        assert_eq!(stage.objects(), [], "{shape:?}");
    }
}

#[test]
fn creator_killed_at_any_moment_is_no_obstacle_to_the_next() {
    for round in 0..200 {
        let shape = Shape::ALL[round % 3];
        let stage = Stage::new("creator killed");
        let mut child = stage.child("create and close", &[&format!("{shape:?}")]);
        child.expect("started");
        at_any_moment(500);
        child.kill();
        let options = shape.options::<Parcel>();
        let channel = match round / 3 % 3 {
            0 => options.create(stage.name()).unwrap(),
            1 => options.open_or_create(stage.name()).unwrap(),
            _ => match options.open(stage.name()) {
                Err(OpenError::NotFound { .. }) => options.create(stage.name()).unwrap(),
                opened => opened.unwrap(),
            },
        };
        let (tx, rx) = (channel.sender().unwrap(), channel.receiver().unwrap());
        tx.send(&Parcel::new(1, 1, 3000)).unwrap();
        assert_eq!(rx.recv().unwrap(), Parcel::new(1, 1, 3000));
        drop((tx, rx, channel));
        assert_eq!(stage.objects(), [], "{shape:?}");
    }
}

#[test]
fn openers_find_a_channel_whole_or_not_at_all_while_others_create_and_close_it() {
    for shape in Shape::ALL {
        let stage = Stage::new("open meanwhile");
        let mut child = stage.child("create and close", &[&format!("{shape:?}")]);
        child.expect("started");
        let (mut found, mut missed) = (0, 0);
        while found < 100 || missed < 100 {
            match Channel::<Parcel>::open(stage.name()) {
                Ok(channel) => {
                    found += 1;
                    drop(channel);
                }
                Err(OpenError::NotFound { .. }) => missed += 1,
                Err(error) => panic!("{shape:?}: {error}"),
            }
        }
        child.kill();
        drop(shape.options::<Parcel>().open_or_create(stage.name()).unwrap());
        assert_eq!(stage.objects(), [], "{shape:?}");
    }
}

#[test]
fn any_number_may_open_or_create_and_close_at_once() {
    for shape in Shape::ALL {
        let stage = Stage::new("open or create");
        let name = format!("{shape:?}");
        let mut children = [(); 4].map(|()| stage.child("open or create and close", &[&name]));
        children.iter_mut().for_each(|child| child.expect("started"));
        children.iter_mut().for_each(|child| child.tell("go"));
        children.into_iter().for_each(|child| drop(child.finish()));
        assert_eq!(stage.objects(), [], "{shape:?}");
    }
}

// ---------------------------------------------------------------------- sweep

#[test]
fn sweep_removes_what_killed_users_left_and_nothing_else() {
    let stage = Stage::new("sweep");
    // Of its own, because a sweep concerns every channel of a namespace.
    stage.child_apart("sweep", &[]).finish();
}

fn sweep_apart(name: &str) {
    assert_eq!(sweep().unwrap(), []);
    for shape in Shape::ALL {
        let named = |what: &str| format!("{name} {what}");
        let start = |role: &str, what: &str, orders: &[&str]| {
            let mut child = Child::start(role, &[&named(what), &format!("{shape:?}")], |_| {});
            order(&mut child, orders);
            child
        };
        let objects = |what: &str| kernel::objects(Key::from_name(&named(what)));
        start("user", "left", &["create", "send 2", "receive 2"]).kill();
        start("user", "full", &["create", "send 2", "receive 1"]).kill();
        start("durable user", "durable", &["create"]).kill();
        let used = start("user", "used", &["create"]);
        let mut private = start("user", "private", &[]);
        private.tell("private");
        let handle = common::read_handle(&private.hear());
        private.expect("ok");
        order(&mut private, &["send 2"]);
        private.kill();
        let foreign = Object::foreign(Kind::Set, Key::from_name(&named("foreign")));

        let keys = |removed: Vec<sysv_channel::Removed>| {
            let mut keys: Vec<_> = removed.into_iter().map(|removed| removed.key.raw()).collect();
            keys.sort_unstable();
            keys
        };
        let expected = |mut keys: Vec<i32>| {
            keys.sort_unstable();
            keys
        };
        let key = |what: &str| Key::from_name(&named(what)).raw();
        let private = common::key_of(handle);
        assert_eq!(keys(sweep().unwrap()), expected(vec![key("left"), private.raw()]));
        assert_eq!((objects("left"), kernel::objects(private)), (vec![], vec![]), "{shape:?}");
        assert_eq!(keys(sweep_all().unwrap()), expected(vec![key("full"), key("durable")]));
        assert_eq!((objects("full"), objects("durable")), (vec![], vec![]), "{shape:?}");
        assert_eq!(objects("used").len(), count(shape));
        assert_eq!(objects("foreign"), [foreign]);
        foreign.remove();
        drop(used);
        assert_eq!(sweep().unwrap().len(), 1);
        assert_eq!(objects("used"), []);

        // A creator that was killed half-way; only a set that it had not signed may stay.
        for _ in 0..30 {
            let mut child =
                Child::start("create and close", &[&named("half"), &format!("{shape:?}")], |_| {});
            child.expect("started");
            at_any_moment(300);
            child.kill();
            sweep().unwrap();
            let left = objects("half");
            assert!(left.iter().all(|object| object.kind == Kind::Set), "{shape:?}: {left:?}");
        }
        drop(shape.options::<Parcel>().create(named("half")).unwrap());
        assert_eq!(objects("half"), []);
    }
}

// ---------------------------------------------------------------------- removed in use

/// A channel on which a child, or two, are blocked.
struct Blocked {
    stage: Stage,
    channel: Channel<Parcel>,
    children: Vec<Child>,
}

/// All ways to be blocked.
fn blocked() -> Vec<Blocked> {
    let asleep = |mut child: Child| {
        let thread = child.hear();
        until(|| kernel::is_asleep(&thread));
        child
    };
    let start = |shape: Shape| {
        let stage = Stage::new("removed");
        let channel = shape.options::<Parcel>().create(stage.name()).unwrap();
        (stage, channel)
    };
    let mut all = Vec::new();
    for shape in Shape::ALL {
        let (stage, channel) = start(shape);
        let receiver = asleep(stage.child("block in recv", &[]));
        all.push(Blocked { stage, channel, children: vec![receiver] });

        let lens: &[_] = if shape == Shape::QueueOnly { &["9"] } else { &["9", "3000", "100000"] };
        for len in lens {
            let (stage, channel) = start(shape);
            let sender = asleep(stage.child("block in send", &["", len]));
            all.push(Blocked { stage, channel, children: vec![sender] });
        }
    }
    for shape in [Shape::Mixed, Shape::QueueOnly] {
        let (stage, channel) = start(shape);
        let receiver = asleep(stage.child("block in selection", &[]));
        let sender = asleep(stage.child("block in send", &["", "9"]));
        all.push(Blocked { stage, channel, children: vec![receiver, sender] });
    }
    all
}

fn expect_removed(mut child: Child, name: &str) {
    let error = child.hear();
    assert!(error.starts_with(&format!("channel {name:?} was removed")), "{error}");
}

fn expect_gone(Blocked { stage, channel, children }: Blocked) {
    children.into_iter().for_each(|child| expect_removed(child, stage.name()));
    assert!(matches!(channel.sender().unwrap_err(), AttachError::Removed { .. }));
    assert!(matches!(channel.receiver().unwrap_err(), AttachError::Removed { .. }));
}

#[test]
fn unlink_wakes_whoever_waits_on_the_channel() {
    for blocked in blocked() {
        Channel::<Parcel>::unlink(blocked.stage.name()).unwrap();
        assert_eq!(blocked.stage.objects(), []);
        expect_gone(blocked);
    }
}

#[test]
fn removal_of_the_set_wakes_whoever_waits_on_the_channel() {
    for blocked in blocked() {
        object(&blocked.stage, Kind::Set).unwrap().remove();
        expect_gone(blocked);
    }
}

#[test]
fn removal_of_the_queue_wakes_whoever_waits_on_the_channel() {
    let mut all = blocked();
    all.retain(|blocked| object(&blocked.stage, Kind::Queue).is_some());
    // At once, because it is noticed within a second, and not told by the kernel.
    all.iter().for_each(|blocked| object(&blocked.stage, Kind::Queue).unwrap().remove());
    for Blocked { stage, channel, children } in all {
        children.into_iter().for_each(|child| expect_removed(child, stage.name()));
        let (tx, rx) = (channel.sender().unwrap(), channel.receiver().unwrap());
        assert!(tx.send(&Parcel::new(1, 1, 1)).unwrap_err().is_removed());
        assert!(rx.recv().unwrap_err().is_removed());
        drop((tx, rx, channel));
        assert_eq!(stage.objects(), []);
    }
}

#[test]
fn users_of_a_segment_that_was_removed_go_on_and_remove_the_rest() {
    for shape in Shape::ALL {
        for comes_late in [false, true] {
            let stage = Stage::new("segment removed");
            let channel = shape.options::<Parcel>().create(stage.name()).unwrap();
            let (tx, rx) = (channel.sender().unwrap(), channel.receiver().unwrap());
            let mut child = user(&stage, shape, &["open", "send 2"]);
            object(&stage, Kind::Segment).unwrap().remove();
            // The kernel keeps it until the last of them has gone.
            order(&mut child, &["send 3"]);
            tx.send(&Parcel::new(2, 0, 9)).unwrap();
            for _ in 0..6 {
                rx.recv().unwrap();
            }
            if comes_late {
                let refused = Channel::<Parcel>::open(stage.name()).unwrap_err();
                assert!(
                    matches!(refused, OpenError::NotFound { .. } | OpenError::KeyCollision { .. }),
                    "{refused}"
                );
            }
            order(&mut child, &["close"]);
            drop((tx, rx, channel));
            assert_eq!(stage.objects(), [], "{shape:?}");
            Channel::<Parcel>::create(stage.name()).unwrap();
        }
    }
}

#[test]
fn next_creator_takes_over_what_a_removed_set_left() {
    for shape in Shape::ALL {
        for (lanes, values) in [(4, 2), (7, 0)] {
            let stage = Stage::new("set removed");
            user(&stage, shape, &["create", "send 2"]).kill();
            object(&stage, Kind::Set).unwrap().remove();
            let channel = shape.options::<Parcel>().lanes(lanes).create(stage.name()).unwrap();
            let rx = channel.receiver().unwrap();
            // Another number of lanes makes another layout, and the old one is of no use.
            assert_eq!(rx.try_iter().count(), values, "{shape:?} {lanes}");
            drop((rx, channel));
            assert_eq!(stage.objects(), [], "{shape:?}");
        }
    }
}

fn object(stage: &Stage, kind: Kind) -> Option<Object> {
    stage.objects().into_iter().find(|object| object.kind == kind)
}
