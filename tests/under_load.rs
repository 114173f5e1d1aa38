//! Processes stopped, objects removed and channels swept at any moment, under load. Kills are in `kills`.

#![cfg(not(loom))]

mod common;

use std::time::Duration;

use common::kernel::{Kind, Object};
use common::{Child, Parcel, Shape, Stage, at_any_moment, play, random, say};
use sysv_channel::{AttachError, Channel, OpenError, Receiver, SendError, Sender};
use sysv_channel::{sweep, sweep_all};

/// Long enough for a look, too short for a process that is stopped.
const SHORT: Duration = Duration::from_millis(5);

/// How many processes are killed.
const KILLS: u64 = 60;

/// The parts that this binary plays when it is started as a child.
#[test]
fn child() {
    play(|role, arguments| {
        let name = arguments[0];
        let channel = || Channel::<Parcel>::open(name).unwrap();
        match role {
            "send on" => {
                let shape = Shape::named(arguments[1]);
                send_on(&channel().sender().unwrap(), shape, arguments[2].parse().unwrap());
            }
            "receive on" => receive_on(&channel().receiver().unwrap()),
            "send until refused" => {
                let (tx, shape) = (channel().sender().unwrap(), Shape::named(arguments[1]));
                say("attached");
                let mut ids = 0..;
                let send = |id| tx.send(&Parcel::new(1, id, shape.some_len(id))).err();
                let error = ids.find_map(send).unwrap();
                assert!(error.is_disconnected() || error.is_removed(), "{error}");
                say(error);
            }
            "receive until refused" => {
                let rx = channel().receiver().unwrap();
                say("attached");
                let error = loop {
                    match rx.recv() {
                        Ok(parcel) => parcel.check(),
                        Err(error) => break error,
                    }
                };
                assert!(error.is_disconnected() || error.is_removed(), "{error}");
                say(error);
            }
            "come until refused" => {
                say("attached");
                loop {
                    match Channel::<Parcel>::open(name).map(|channel| channel.sender()) {
                        Ok(Ok(_) | Err(AttachError::Removed { .. })) => {}
                        Ok(Err(error)) => panic!("{error}"),
                        Err(error) => {
                            // Of what is left, some may look like another program's.
                            let gone = matches!(
                                error,
                                OpenError::NotFound { .. } | OpenError::KeyCollision { .. }
                            );
                            assert!(gone, "{error}");
                            break say(error);
                        }
                    }
                }
            }
            "sweep under load" => sweep_under_load(name),
            "come and go" => come_and_go(name),
            "sweep" => loop {
                sweep().unwrap();
                sweep_all().unwrap();
            },
            _ => unreachable!("no such role: {role}"),
        }
    });
}

/// Sends one parcel after another, and says the number of each that was sent.
fn send_on(tx: &Sender<Parcel>, shape: Shape, sender: u64) {
    say("attached");
    for id in 0.. {
        tx.send(&Parcel::new(sender, id, shape.some_len(id))).unwrap();
        say(id);
    }
}

/// Receives whatever comes, and says what it was.
fn receive_on(rx: &Receiver<Parcel>) {
    say("attached");
    loop {
        match rx.recv() {
            Ok(parcel) => {
                parcel.check();
                say(format_args!("{} {}", parcel.sender, parcel.id));
            }
            Err(error) => assert!(error.is_disconnected() || error.is_removed(), "{error}"),
        }
    }
}

// ---------------------------------------------------------------------- stopped

#[test]
fn deadlines_hold_while_the_other_process_is_stopped_and_nothing_is_lost() {
    for shape in Shape::ALL {
        let stage = Stage::new("stopped");
        let channel = shape.options::<Parcel>().create(stage.name()).unwrap();
        let tx = channel.sender().unwrap();
        let mut child = stage.child("receive on", &[]);
        child.expect("attached");
        let mut sent = 0;
        for _ in 0..10 {
            at_any_moment(500);
            child.stop();
            let full = loop {
                match tx.send_timeout(&Parcel::new(1, sent, 500), SHORT) {
                    Ok(()) => sent += 1,
                    Err(error) => break error,
                }
            };
            assert!(full.is_timeout(), "{shape:?}: {full}");
            assert!(tx.try_send(&Parcel::new(1, sent, 500)).is_err_and(|error| error.is_full()));
            child.go_on();
            // It blocks until the other goes on.
            tx.send(&Parcel::new(1, sent, 5)).unwrap();
            sent += 1;
        }
        (0..sent).for_each(|id| child.expect(&format!("1 {id}")));
        child.kill();

        let rx = channel.receiver().unwrap();
        drop(tx);
        let mut child = stage.child("send on", &[&format!("{shape:?}"), "2"]);
        child.expect("attached");
        let mut received = 0;
        for _ in 0..10 {
            at_any_moment(500);
            child.stop();
            let empty = loop {
                match rx.recv_timeout(SHORT) {
                    Ok(parcel) => {
                        assert_eq!(parcel, Parcel::new(2, received, shape.some_len(received)));
                        received += 1;
                    }
                    Err(error) => break error,
                }
            };
            assert!(empty.is_timeout(), "{shape:?}: {empty}");
            child.go_on();
            // It blocks until the other goes on.
            assert_eq!(rx.recv().unwrap().id, received);
            received += 1;
        }
    }
}

// ---------------------------------------------------------------------- removed by hand

#[test]
fn removing_an_object_under_load_is_an_error_for_every_user_and_a_hang_for_none() {
    // A queue's removal is noticed within a second, and not told by the kernel: hence the fewer.
    for (kind, rounds) in [(Kind::Set, 5), (Kind::Segment, 5), (Kind::Queue, 1)] {
        for shape in Shape::ALL {
            if (kind, shape) == (Kind::Queue, Shape::RingOnly) {
                continue;
            }
            (0..rounds).for_each(|_| remove_under_load(kind, shape));
        }
    }
}

fn remove_under_load(kind: Kind, shape: Shape) {
    let stage = Stage::new("removed by hand");
    let channel = shape.options::<Parcel>().create(stage.name()).unwrap();
    let name = format!("{shape:?}");
    let start = |role: &str| {
        let mut child = stage.child(role, &[&name]);
        child.expect("attached");
        child
    };
    let users = ["receive until refused", "send until refused", "send until refused"].map(start);
    let comer = start("come until refused");
    at_any_moment(3000);
    let remove = |kind| {
        let object = stage.objects().into_iter().find(|object| object.kind == kind);
        object.into_iter().for_each(Object::remove);
    };
    remove(kind);
    // Who comes is told what is missing. Those who use the segment go on with it, unless who comes
    // took what is left for what a killed remover left, and removed it.
    assert_eq!(comer.finish().len(), 1, "{kind:?} {shape:?}");
    if kind == Kind::Segment {
        at_any_moment(3000);
        remove(Kind::Set);
    }
    for user in users {
        assert_eq!(user.finish().len(), 1, "{kind:?} {shape:?}");
    }
    drop(channel);
}

// ---------------------------------------------------------------------- sweep

#[test]
fn sweepers_never_touch_a_channel_that_is_in_use() {
    let stage = Stage::new("sweep under load");
    // Of its own, because a sweep concerns every channel of a namespace.
    stage.child_apart("sweep under load", &[]).finish();
}

fn sweep_under_load(name: &str) {
    let start = |role: &str| Child::start(role, &[name], |_| {});
    let mut users = [(); 4].map(|()| start("come and go"));
    let mut sweepers = [(); 2].map(|()| start("sweep"));
    for _ in 0..KILLS {
        let lives = 1 + random(20);
        let user = &mut users[random(4) as usize];
        (0..lives).for_each(|_| user.expect("alive"));
        at_any_moment(1000);
        // What a user that was looked in on says after it was killed is read with the child.
        drop(std::mem::replace(user, start("come and go")));
        if random(4) == 0 {
            sweepers[random(2) as usize] = start("sweep");
        }
    }
    // Each still does what it should.
    users.iter_mut().for_each(|user| (0..50).for_each(|_| user.expect("alive")));
    drop((users, sweepers));
    sweep_all().unwrap();
    for shape in Shape::ALL {
        shape.options::<Parcel>().create(format!("{name} {shape:?}")).unwrap();
    }
}

/// Uses one channel after another, each of which must be there for as long as it is used.
fn come_and_go(name: &str) {
    loop {
        let shape = Shape::ALL[random(3) as usize];
        let named = format!("{name} {shape:?}");
        let options = shape.options::<Parcel>();
        let channel = match random(4) {
            0 => options.private().unwrap(),
            1 => match options.create(&*named) {
                Err(OpenError::AlreadyExists { .. }) => continue,
                created => created.unwrap(),
            },
            2 => match options.open(&*named) {
                Err(OpenError::NotFound { .. }) => continue,
                opened => opened.unwrap(),
            },
            _ => options.open_or_create(&*named).unwrap(),
        };
        // Open, and nothing attached.
        at_any_moment(200);
        let there = || {
            assert!(channel.stats().unwrap().users > 0);
            drop(options.open(channel.handle()).unwrap());
        };
        there();
        let tx = match channel.sender() {
            Err(AttachError::LanesExhausted { .. }) => None,
            tx => Some(tx.unwrap()),
        };
        let rx = match channel.receiver() {
            Err(AttachError::ReceiverExists { .. }) => None,
            rx => Some(rx.unwrap()),
        };
        at_any_moment(200);
        match tx.as_ref().map(|tx| tx.try_send(&Parcel::new(1, 1, 10))) {
            None | Some(Ok(()) | Err(SendError::Full { .. })) => {}
            // The receiver may be another's, and gone; the channel is there.
            Some(Err(SendError::Disconnected { .. })) => {}
            Some(Err(error)) => panic!("{error}"),
        }
        rx.into_iter().for_each(|rx| rx.try_iter().for_each(|parcel| parcel.unwrap().check()));
        drop(tx);
        there();
        say("alive");
    }
}
