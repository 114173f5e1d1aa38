//! How channels come and go: who creates, adopts, refuses and removes their objects.

#![cfg(not(loom))]

mod common;

use std::error::Error;
use std::sync::Barrier;
use std::thread;
use std::time::Duration;

use common::kernel::{self, Kind, Object};
use common::{
    Child, Parcel, Shape, Stage, at_any_moment, follow_orders, listen, order, play, say, until,
    user, write_handle,
};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::gettid;
use sysv_channel::actor::Mailbox;
use sysv_channel::rpc::{CallError, Client, ClientOptions, Server};
use sysv_channel::{AttachError, Channel, Key, OpenError, Queue, Select, SystemErrorKind, Tag};
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
                let mut options = shape.options::<Parcel>();
                if let Some(lanes) = arguments.get(2) {
                    options = options.lanes(lanes.parse().unwrap());
                }
                loop {
                    match options.create(name) {
                        Ok(_) | Err(OpenError::AlreadyExists { .. }) => {}
                        Err(error) => panic!("{error}"),
                    }
                }
            }
            "open or create and close" => {
                let mut options = shape.options::<Parcel>();
                if let Some(lanes) = arguments.get(2) {
                    options = options.lanes(lanes.parse().unwrap());
                }
                say("started");
                listen();
                for _ in 0..200 {
                    let channel = options.open_or_create(name).unwrap();
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
            "open again" => {
                say("started");
                open_again(name, shape);
            }
            "stay busy" => {
                let (tx, rx) = match arguments[2] {
                    "receive" => (None, Some(shape.options::<Parcel>().open(name).unwrap())),
                    _ => (Some(shape.options::<Parcel>().open(name).unwrap()), None),
                };
                let tx = tx.map(|channel| channel.sender().unwrap());
                let rx = rx.map(|channel| channel.receiver().unwrap());
                say("busy");
                let error: Box<dyn Error> = match (tx, rx) {
                    (Some(tx), _) => {
                        let send = |id| tx.send(&Parcel::new(1, id, shape.some_len(id))).err();
                        Box::new((0..).find_map(send).unwrap())
                    }
                    (_, rx) => Box::new(rx.unwrap().iter().find_map(Result::err).unwrap()),
                };
                say(error);
            }
            "leave the namespace" => leave_the_namespace(name, shape),
            "leave the namespace twice" => leave_the_namespace_twice(name, shape),
            "leak a channel" => {
                let channel = shape.options::<Parcel>().create(name).unwrap();
                channel.sender().unwrap().send(&Parcel::new(1, 1, 9)).unwrap();
                std::mem::forget(channel);
                say("started");
                listen();
            }
            "sweep" => sweep_apart(name),
            "create private and close" => {
                say("started");
                loop {
                    drop(shape.options::<Parcel>().private().unwrap());
                }
            }
            "exit" => exit_with(arguments[2], name, shape),
            "fork and exit" => fork_and_exit(shape),
            "exit while making" => exit_while_making(name),
            "leak a client" => {
                let client = Client::<u32, u32>::connect(name).unwrap();
                let client = Box::leak(Box::new(client));
                std::mem::forget(client.start(&1).unwrap());
                say("started");
                listen();
            }
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

#[test]
fn value_that_was_taken_back_keeps_no_channel() {
    for shape in [Shape::Mixed, Shape::RingOnly] {
        // In fragments: all of it in the ring, or as much as goes into it.
        for len in ["give up 9000", "give up 100000"] {
            let stage = Stage::new("taken back");
            user(&stage, shape, &["create", len, "close"]);
            assert_eq!(stage.objects(), [], "{shape:?} {len}");
            // Nor does it when its sender was killed before it closed.
            user(&stage, shape, &["create", len]).kill();
            assert_ne!(stage.objects(), []);
            let other = shape.options::<Parcel>().lanes(7).create(stage.name()).unwrap();
            drop(other);
            assert_eq!(stage.objects(), [], "{shape:?} {len}");
            // What was sent before and not taken back does.
            user(&stage, shape, &["create", "send 1", len, "close"]);
            assert_ne!(stage.objects(), []);
            let rx = Channel::<Parcel>::open(stage.name()).unwrap().receiver().unwrap();
            assert_eq!(rx.recv().unwrap().id, 0);
        }
    }
}

#[test]
fn request_that_no_server_will_execute_keeps_no_channel() {
    let stage = Stage::new("never executed");
    let server = Server::<u32, u32>::bind(stage.name()).unwrap();
    let client = Client::<u32, u32>::connect(stage.name()).unwrap();
    let pending = client.start(&1).unwrap();
    drop(server);
    let told = pending.wait().unwrap_err();
    assert!(matches!(told, CallError::ServerDied { received: false, .. }), "{told}");
    drop(client);
    assert_eq!(stage.objects(), []);
}

// ---------------------------------------------------------------------- a normal exit

/// Holds a named and a private channel, and the ends of both, where no destructor runs.
fn exit_with(way: &str, name: &str, shape: Shape) {
    let channel = shape.options::<Parcel>().create(name).unwrap();
    let private = shape.options::<Parcel>().private().unwrap();
    let queue = Queue::<u32>::private().unwrap();
    say(write_handle(private.handle()));
    say(queue.key().raw());
    let (tx, rx) = (channel.sender().unwrap(), channel.receiver().unwrap());
    let (private_tx, private_rx) = (private.sender().unwrap(), private.receiver().unwrap());
    match way {
        "leaked" => {
            private_tx.send(&Parcel::new(1, 1, 9)).unwrap();
            Box::leak(Box::new((channel, private, queue, tx, rx, private_tx, private_rx)));
        }
        "values" => {
            tx.send(&Parcel::new(1, 7, 9)).unwrap();
            Box::leak(Box::new((channel, private, queue, tx, rx, private_tx, private_rx)));
        }
        "asleep" => {
            let thread = thread::spawn(move || {
                let _all = (channel, private, queue, tx, private_tx, private_rx);
                rx.recv().map(drop)
            });
            drop(thread);
        }
        _ => {
            // Both go on while the process exits, and may hear of the removal.
            thread::spawn(move || {
                let _all = (channel, queue, tx, rx);
                while private_tx.send(&Parcel::new(1, 1, 3000)).is_ok() {}
                thread::park();
            });
            let mut received = private_rx.recv().map(|_| private_rx);
            let rx = received.as_mut().unwrap();
            (0..1000).for_each(|_| drop(rx.recv()));
            thread::spawn(move || {
                let rx = received.unwrap();
                while rx.recv().is_ok() {}
                thread::park();
            });
        }
    }
}

#[test]
fn normal_exit_gives_up_what_the_process_holds() {
    for shape in Shape::ALL {
        for way in ["leaked", "values", "asleep", "busy"] {
            let stage = Stage::new("exit");
            let mut child = stage.child("exit", &[&format!("{shape:?}"), way]);
            let private = common::key_of(common::read_handle(&child.hear()));
            let queue = Key::new(child.hear().parse().unwrap()).unwrap();
            child.finish();
            for key in [private, queue] {
                assert_eq!(kernel::objects(key), [], "{shape:?} {way}");
            }
            if way == "values" {
                let rx = Channel::<Parcel>::open(stage.name()).unwrap().receiver().unwrap();
                assert_eq!(rx.recv().unwrap().id, 7);
            }
            assert_eq!(stage.objects(), [], "{shape:?} {way}");
        }
    }
}

/// A child that exits has given up what it made, and nothing of its parent's.
fn fork_and_exit(shape: Shape) {
    let mine = shape.options::<Parcel>().private().unwrap();
    let queue = Queue::<u32>::private().unwrap();
    let child = kernel::forked(|| {
        let theirs = shape.options::<Parcel>().private().unwrap();
        say(write_handle(theirs.handle()));
        std::mem::forget(theirs);
        std::process::exit(0);
    });
    assert_eq!(waitpid(child, None), Ok(WaitStatus::Exited(child, 0)));
    assert_eq!(mine.stats().unwrap().users, 1);
    let (tx, rx) = (mine.sender().unwrap(), mine.receiver().unwrap());
    tx.send(&Parcel::new(1, 1, 9)).unwrap();
    assert_eq!(rx.recv().unwrap().id, 1);
    queue.send(&1).unwrap();
    say(write_handle(mine.handle()));
    std::mem::forget((mine, queue, tx, rx));
}

#[test]
fn exit_of_a_forked_child_gives_up_what_is_its_own() {
    for shape in Shape::ALL {
        let stage = Stage::new("fork and exit");
        let told = stage.child("fork and exit", &[&format!("{shape:?}")]).finish();
        assert_eq!(told.len(), 2);
        for handle in told {
            let key = common::key_of(common::read_handle(&handle));
            assert_eq!(kernel::objects(key), [], "{shape:?}");
        }
    }
}

/// Threads that make, open, use and drop everything there is, one kind each.
fn makers(name: &str) {
    /// Repeats it in a thread that nobody waits for, until this process exits.
    fn repeat<R: 'static>(mut make: impl FnMut() -> Option<R> + Send + 'static) {
        thread::spawn(move || {
            for turn in 0.. {
                match make() {
                    // Some in a place where no destructor runs.
                    Some(made) if turn % 3 == 0 => std::mem::forget(made),
                    Some(made) => drop(made),
                    None => thread::yield_now(),
                }
            }
        });
    }
    let named = |what: &str| format!("{name} {what}");
    for (number, shape) in Shape::ALL.into_iter().enumerate() {
        let name = named(&format!("channel {number}"));
        repeat(move || {
            let channel = shape.options::<Parcel>().open_or_create(&*name).ok()?;
            Some((channel.sender().ok(), channel.receiver().ok(), channel))
        });
        repeat(move || {
            let channel = shape.options::<Parcel>().private().ok()?;
            let tx = channel.sender().ok()?;
            tx.try_send(&Parcel::new(1, 1, 9)).ok()?;
            Some((channel, tx))
        });
    }
    // Which has a channel's lock for a moment, and removes nothing that is in use.
    repeat(|| sysv_channel::sweep().ok().and(None::<()>));
    repeat(|| Queue::<u32>::private().ok());
    repeat(|| Mailbox::<u32>::private().ok());
    let mailbox = named("mailbox");
    repeat(move || Mailbox::<u32>::bind(&*mailbox).ok());
    let server = named("server");
    repeat(move || Server::<u32, u32>::bind(&*server).ok());
    let served = named("served");
    let name = served.clone();
    repeat(move || Server::<u32, u32>::bind(&*name).ok());
    let connect = ClientOptions::new().wait_for_server(Duration::ZERO);
    repeat(move || {
        let client: Client<u32, u32> = connect.connect(&*served).ok()?;
        let call = client.start_timeout(&1, SHORT).ok()?;
        Some((client, call))
    });
}

/// Processes exit while their threads make things, one after another.
fn exit_while_making(name: &str) {
    assert_eq!(kernel::all_objects(), 0);
    for round in 0..200 {
        let child = kernel::forked(|| {
            makers(name);
            at_any_moment(5000);
            std::process::exit(0);
        });
        assert_eq!(waitpid(child, None), Ok(WaitStatus::Exited(child, 0)));
        assert_eq!(kernel::all_objects(), 0, "after {round} exits");
    }
}

#[test]
fn what_a_thread_is_making_when_its_process_exits_is_given_up() {
    let stage = Stage::new("exit while making");
    // Of its own, so that everything that is left there is known.
    stage.child_apart("exit while making", &[]).finish();
}

#[test]
fn request_of_a_process_that_exits_keeps_no_channel() {
    let stage = Stage::new("exit with a request");
    let server = Server::<u32, u32>::bind(stage.name()).unwrap();
    let mut child = stage.child("leak a client", &[]);
    child.expect("started");
    drop(server);
    assert_ne!(stage.objects(), []);
    child.tell("exit");
    child.finish();
    assert_eq!(stage.objects(), []);
    // With a server that is there, it is not executed, and a client that comes next is not taken
    // for it.
    let server = Server::<u32, u32>::bind(stage.name()).unwrap();
    let mut child = stage.child("leak a client", &[]);
    child.expect("started");
    child.tell("exit");
    child.finish();
    let client = Client::<u32, u32>::connect(stage.name()).unwrap();
    let pending = client.start(&2).unwrap();
    assert_eq!(*server.recv().unwrap().unwrap().query(), 2);
    assert!(matches!(pending.wait().unwrap_err(), CallError::Dropped { .. }));
}

// ---------------------------------------------------------------------- create

#[test]
fn what_another_writes_into_a_set_never_passes_for_a_kernel_without_undo() {
    for shape in Shape::ALL {
        let stage = Stage::new("undo");
        // As a creator leaves it that is killed at any moment, and with each semaphore raised by
        // another program that may write there.
        for semaphore in 6..16 {
            Object::signed_set(stage.key(), 4).add(semaphore, 1);
            user(&stage, shape, &["create", "send 1", "receive 1", "close"]);
            assert_eq!(stage.objects(), [], "{shape:?} {semaphore}");
        }
    }
}

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
        assert!(matches!(refused, OpenError::OtherOptions { .. }), "{refused}");
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

#[test]
fn any_number_may_open_or_create_and_close_at_once_with_other_options() {
    for shape in Shape::ALL {
        let stage = Stage::new("open or create otherwise");
        let name = format!("{shape:?}");
        let mut children = ["1024", "32", "64", "1024"]
            .map(|lanes| stage.child("open or create and close", &[&name, lanes]));
        children.iter_mut().for_each(|child| child.expect("started"));
        children.iter_mut().for_each(|child| child.tell("go"));
        children.into_iter().for_each(|child| drop(child.finish()));
        assert_eq!(stage.objects(), [], "{shape:?}");
    }
}

#[test]
fn creator_killed_at_any_moment_is_in_the_way_of_no_options_and_no_removal() {
    for round in 0..200 {
        let shape = Shape::ALL[round % 3];
        let stage = Stage::new("creator of many lanes killed");
        // The more lanes, the longer the kernel makes the set, and finishes it for a dying process.
        let mut child = stage.child("create and close", &[&format!("{shape:?}"), "1024"]);
        child.expect("started");
        at_any_moment(500);
        child.kill();
        let options = shape.options::<Parcel>();
        match round / 3 % 3 {
            0 => drop(options.create(stage.name()).unwrap()),
            1 => drop(options.open_or_create(stage.name()).unwrap()),
            _ => match Channel::<Parcel>::unlink(stage.name()) {
                Ok(()) | Err(OpenError::NotFound { .. }) => {}
                Err(error) => panic!("{shape:?}: {error}"),
            },
        }
        assert_eq!(stage.objects(), [], "{shape:?}");
    }
}

#[test]
fn set_that_its_creator_did_not_live_to_sign_is_taken_over_or_unlinked() {
    for shape in Shape::ALL {
        for lanes in [1, 4, 512] {
            let stage = Stage::new("not signed");
            let unsigned = || Object::unsigned_set(stage.key(), lanes);
            let options = shape.options::<Parcel>().mode(0o660);
            let left = unsigned();
            let none = options.open(stage.name()).unwrap_err();
            assert!(matches!(none, OpenError::NotFound { .. }), "{none}");
            assert_eq!(stage.objects(), [left]);
            let channel = options.create(stage.name()).unwrap();
            let opened = options.open(stage.name()).unwrap();
            let (tx, rx) = (opened.sender().unwrap(), channel.receiver().unwrap());
            tx.send(&Parcel::new(1, 1, 9)).unwrap();
            assert_eq!(rx.recv().unwrap().id, 1);
            drop((tx, rx, opened, channel));
            assert_eq!(stage.objects(), [], "{shape:?} {lanes}");
            unsigned();
            drop(options.open_or_create(stage.name()).unwrap());
            unsigned();
            drop(Server::<u32, u32>::bind(stage.name()).unwrap());
            unsigned();
            drop(Mailbox::<u32>::bind(stage.name()).unwrap());
            unsigned();
            Channel::<Parcel>::unlink(stage.name()).unwrap();
            assert_eq!(stage.objects(), [], "{shape:?} {lanes}");
            let gone = Channel::<Parcel>::unlink(stage.name()).unwrap_err();
            assert!(matches!(gone, OpenError::NotFound { .. }), "{gone}");
        }
    }
}

#[test]
fn unlink_removes_what_a_removed_set_left_beside_one_that_is_not_signed() {
    let stage = Stage::new("not signed beside a rest");
    user(&stage, Shape::Mixed, &["create", "send 2"]).kill();
    object(&stage, Kind::Set).unwrap().remove();
    Object::unsigned_set(stage.key(), 7);
    Channel::<Parcel>::unlink(stage.name()).unwrap();
    assert_eq!(stage.objects(), []);
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

        // A creator that was killed half-way; only a set that it had not signed stays, for the next
        // creator of the name.
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
        // Of a private channel nothing at all, since nobody could find it again.
        for _ in 0..150 {
            let mut child =
                Child::start("create private and close", &[name, &format!("{shape:?}")], |_| {});
            child.expect("started");
            at_any_moment(300);
            child.kill();
            sweep().unwrap();
            assert_eq!(kernel::all_objects(), 0, "{shape:?}");
        }
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
fn unlink_wakes_all_that_wait_on_the_channel() {
    for blocked in blocked() {
        Channel::<Parcel>::unlink(blocked.stage.name()).unwrap();
        assert_eq!(blocked.stage.objects(), []);
        expect_gone(blocked);
    }
}

#[test]
fn of_several_that_unlink_a_channel_at_once_one_has_removed_it() {
    let stage = Stage::new("unlinked at once");
    for _ in 0..200 {
        let channel = Channel::<Parcel>::create(stage.name()).unwrap();
        let start = Barrier::new(4);
        let removed = thread::scope(|scope| {
            let unlink = || {
                start.wait();
                match Channel::<Parcel>::unlink(stage.name()) {
                    Ok(()) => 1,
                    Err(OpenError::NotFound { .. }) => 0,
                    Err(error) => panic!("{error}"),
                }
            };
            let unlinking = [(); 4].map(|()| scope.spawn(unlink));
            unlinking.into_iter().map(|thread| thread.join().unwrap()).sum::<u32>()
        });
        assert_eq!(removed, 1);
        assert_eq!(stage.objects(), []);
        drop(channel);
    }
}

#[test]
fn removal_of_the_set_wakes_all_that_wait_on_the_channel() {
    for blocked in blocked() {
        object(&blocked.stage, Kind::Set).unwrap().remove();
        expect_gone(blocked);
    }
}

#[test]
fn removal_of_the_queue_wakes_all_that_wait_on_the_channel() {
    let mut all = blocked();
    all.retain(|blocked| object(&blocked.stage, Kind::Queue).is_some());
    // At once, because it is noticed within a second, and not told by the kernel.
    all.iter().for_each(|blocked| object(&blocked.stage, Kind::Queue).unwrap().remove());
    for Blocked { stage, channel, children } in all {
        children.into_iter().for_each(|child| expect_removed(child, stage.name()));
        assert!(matches!(channel.sender().unwrap_err(), AttachError::Removed { .. }));
        assert!(matches!(channel.receiver().unwrap_err(), AttachError::Removed { .. }));
        drop(channel);
        assert_eq!(stage.objects(), []);
    }
}

#[test]
fn removal_of_the_segment_wakes_all_that_wait_on_the_channel() {
    let all = blocked();
    // At once, for the same reason.
    all.iter().for_each(|blocked| object(&blocked.stage, Kind::Segment).unwrap().remove());
    for Blocked { stage, channel, children } in all {
        children.into_iter().for_each(|child| expect_removed(child, stage.name()));
        assert!(channel.sender().unwrap_err().is_removed());
        assert!(channel.receiver().unwrap_err().is_removed());
        drop(channel);
        assert_eq!(stage.objects(), []);
    }
}

/// All ways to remove a channel under its users: by its name, and each of its objects.
fn removals(shape: Shape) -> Vec<Option<Kind>> {
    let kinds =
        Kind::ALL.into_iter().filter(|&kind| shape != Shape::RingOnly || kind != Kind::Queue);
    [None].into_iter().chain(kinds.map(Some)).collect()
}

fn remove(stage: &Stage, how: Option<Kind>) {
    match how {
        None => Channel::<Parcel>::unlink(stage.name()).unwrap(),
        Some(kind) => object(stage, kind).unwrap().remove(),
    }
}

#[test]
fn busy_users_are_told_of_every_removal() {
    for shape in Shape::ALL {
        for how in removals(shape) {
            let stage = Stage::new("busy");
            let channel = shape.options::<Parcel>().create(stage.name()).unwrap();
            let name = format!("{shape:?}");
            let mut children =
                ["receive", "send", "send"].map(|what| stage.child("stay busy", &[&name, what]));
            children.iter_mut().for_each(|child| child.expect("busy"));
            until(|| channel.stats().unwrap().received_values > 1000);
            remove(&stage, how);
            children.into_iter().for_each(|child| expect_removed(child, stage.name()));
            assert!(channel.sender().unwrap_err().is_removed(), "{shape:?} {how:?}");
            drop(channel);
            assert_eq!(stage.objects(), [], "{shape:?} {how:?}");
        }
    }
}

#[test]
fn a_value_that_was_received_counts_as_sent_where_the_channel_is_removed_then() {
    let stage = Stage::new("removed when received");
    for inline_limit in [0, 1024] {
        let options = Channel::<Vec<u8>>::options().inline_limit(inline_limit).capacity(4096);
        // In one piece and in fragments.
        for len in [10, 1500, 6000].into_iter().cycle().take(90) {
            let channel = options.clone().create(stage.name()).unwrap();
            let (tx, rx) = (channel.sender().unwrap(), channel.receiver().unwrap());
            let sending = thread::spawn(move || tx.send(&vec![7; len]));
            assert_eq!(rx.recv().unwrap().len(), len);
            Channel::<()>::unlink(stage.name()).unwrap();
            let sent = sending.join().unwrap();
            assert!(sent.is_ok(), "{inline_limit}, {len}: {sent:?}");
        }
    }
}

#[test]
fn nothing_is_sent_into_or_received_from_a_channel_that_was_removed_and_never_again() {
    for shape in Shape::ALL {
        for how in removals(shape) {
            let stage = Stage::new("never again");
            let channel = shape.options::<Parcel>().create(stage.name()).unwrap();
            let (tx, rx) = (channel.sender().unwrap(), channel.receiver().unwrap());
            tx.send(&Parcel::new(1, 1, 9)).unwrap();
            tx.send(&Parcel::new(1, 2, 3000.min(shape.some_len(14)))).unwrap();
            remove(&stage, how);
            if how.is_some() {
                // What is removed by hand raises no mark: one that polls hears of it, and is told so
                // within a second.
                until(|| rx.try_recv().is_err_and(|error| error.is_removed()));
            }
            for _ in 0..3 {
                assert!(tx.try_send(&Parcel::new(1, 3, 9)).unwrap_err().is_removed());
                assert!(tx.send(&Parcel::new(1, 3, 9)).unwrap_err().is_removed());
                assert!(rx.try_recv().unwrap_err().is_removed(), "{shape:?} {how:?}");
                assert!(rx.recv().unwrap_err().is_removed());
                assert!(rx.recv_timeout(SHORT).unwrap_err().is_removed());
                for mut values in [rx.iter().collect::<Vec<_>>(), rx.try_iter().collect()] {
                    assert!(values.pop().unwrap().unwrap_err().is_removed());
                    assert!(values.is_empty(), "{shape:?} {how:?}");
                }
            }
            drop((tx, rx, channel));
            assert_eq!(stage.objects(), [], "{shape:?} {how:?}");
        }
    }
}

#[test]
fn the_end_of_a_peer_after_a_removal_by_hand_is_no_normal_end() {
    for shape in Shape::ALL {
        for kind in removals(shape).into_iter().flatten() {
            let stage = Stage::new("end after removal");
            let about = format!("{shape:?} {kind:?}");
            let channel = || shape.options::<Parcel>().create(stage.name()).unwrap();
            let remove = || object(&stage, kind).unwrap().remove();
            let ends = |channel: &Channel<Parcel>| {
                let (tx, rx) = (channel.sender().unwrap(), channel.receiver().unwrap());
                tx.send(&Parcel::new(1, 1, 9)).unwrap();
                rx.recv().unwrap();
                remove();
                (tx, rx)
            };
            for wait in [false, true] {
                let old = channel();
                let (tx, rx) = ends(&old);
                drop(rx);
                let send = || match wait {
                    true => tx.send(&Parcel::new(1, 2, 9)),
                    false => tx.try_send(&Parcel::new(1, 2, 9)),
                };
                for _ in 0..2 {
                    assert!(send().unwrap_err().is_removed(), "{about}");
                }
                drop((old, tx));
                let old = channel();
                let (tx, rx) = ends(&old);
                drop(tx);
                let receive = || if wait { rx.recv() } else { rx.try_recv() };
                for _ in 0..2 {
                    assert!(receive().unwrap_err().is_removed(), "{about}");
                }
            }
        }
    }
}

#[test]
fn figures_of_a_channel_that_was_removed_say_so_for_good() {
    for shape in Shape::ALL {
        for how in removals(shape) {
            let stage = Stage::new("figures");
            let channel = shape.options::<Parcel>().create(stage.name()).unwrap();
            let (tx, rx) = (channel.sender().unwrap(), channel.receiver().unwrap());
            assert!(rx.is_empty().unwrap() && !tx.is_full().unwrap());
            remove(&stage, how);
            // One that only asks for figures hears of removal by hand too, within a second or two.
            until(|| tx.len().is_err_and(|error| error.is_removed()));
            for _ in 0..3 {
                assert!(tx.is_empty().unwrap_err().is_removed(), "{shape:?} {how:?}");
                assert!(tx.is_full().unwrap_err().is_removed(), "{shape:?} {how:?}");
                assert!(rx.len().unwrap_err().is_removed(), "{shape:?} {how:?}");
                assert!(rx.is_empty().unwrap_err().is_removed(), "{shape:?} {how:?}");
                let error = channel.stats().unwrap_err();
                assert_eq!(error.kind(), SystemErrorKind::Removed, "{shape:?} {how:?}: {error}");
            }
            drop((tx, rx, channel));
            assert_eq!(stage.objects(), [], "{shape:?} {how:?}");
        }
    }
}

#[test]
fn sender_alone_is_told_of_removal_by_hand_within_a_thousand_values() {
    for how in removals(Shape::RingOnly) {
        let stage = Stage::new("sender alone");
        let options = Shape::RingOnly.options::<Parcel>().capacity(1 << 20);
        let channel = options.create(stage.name()).unwrap();
        let tx = channel.sender().unwrap();
        tx.send(&Parcel::new(1, 1, 9)).unwrap();
        remove(&stage, how);
        let send = |id| tx.try_send(&Parcel::new(1, id, 9)).err().map(|error| (id, error));
        let (sent, error) = (0..).find_map(send).unwrap();
        assert!(error.is_removed(), "{how:?}: {error} after {sent}");
        assert!(sent <= if how.is_some() { 1024 } else { 0 }, "{how:?}: {sent}");
        drop((tx, channel));
        assert_eq!(stage.objects(), [], "{how:?}");
    }
}

#[test]
fn the_last_user_removes_what_removals_by_hand_left() {
    for shape in Shape::ALL {
        let kinds: Vec<Kind> = removals(shape).into_iter().flatten().collect();
        for removed in 1..1 << kinds.len() {
            let stage = Stage::new("removed by hand");
            let options = shape.options::<Parcel>();
            for durable in [options.clone(), options.durable()] {
                let channel = durable.create(stage.name()).unwrap();
                let opened = durable.open(stage.name()).unwrap();
                let tx = opened.sender().unwrap();
                tx.send(&Parcel::new(1, 1, 9)).unwrap();
                for (index, &kind) in kinds.iter().enumerate() {
                    if removed >> index & 1 == 1 {
                        object(&stage, kind).unwrap().remove();
                    }
                }
                drop((tx, opened, channel));
                let left = stage.objects();
                assert_eq!(left, [], "{shape:?} {kinds:?} {removed:b}");
            }
        }
        // Of a private one nobody else could find anything again.
        let channel = shape.options::<Parcel>().private().unwrap();
        let key = common::key_of(channel.handle());
        let find = |kind| kernel::objects(key).into_iter().find(|object| object.kind == kind);
        find(Kind::Set).unwrap().remove();
        drop(channel);
        assert_eq!(kernel::objects(key), [], "{shape:?}");
    }
}

/// Everything that a process does with its channels once it is in another ipc namespace.
fn leave_the_namespace(name: &str, shape: Shape) {
    let channel = shape.options::<Parcel>().capacity(1 << 20).open(name).unwrap();
    let (tx, rx) = (channel.sender().unwrap(), channel.receiver().unwrap());
    tx.send(&Parcel::new(1, 1, 9)).unwrap();
    if nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWIPC).is_err() {
        return say("skipped: only root can go to another ipc namespace");
    }
    let send = |id| tx.try_send(&Parcel::new(1, id, 9)).err().map(|error| (id, error));
    let (sent, error) = (0..).find_map(send).unwrap();
    assert!(error.is_removed() && sent <= 1024, "{error} after {sent}");
    for _ in 0..3 {
        assert!(tx.send(&Parcel::new(1, 3, 9)).unwrap_err().is_removed());
        assert!(rx.try_recv().unwrap_err().is_removed());
        let mut values = rx.iter();
        assert!(values.next().unwrap().unwrap_err().is_removed() && values.next().is_none());
    }
    say("told");
}

#[test]
fn process_that_leaves_the_namespace_is_told_and_the_others_go_on() {
    for shape in Shape::ALL {
        let stage = Stage::new("namespace");
        let options =
            shape.options::<Parcel>().capacity(if shape == Shape::QueueOnly { 0 } else { 1 << 20 });
        let channel = options.durable().create(stage.name()).unwrap();
        let tx = channel.sender().unwrap();
        let said = stage.child("leave the namespace", &[&format!("{shape:?}")]).hear();
        println!("{said}");
        assert!(said == "told" || said.starts_with("skipped"), "{said}");
        // The other one's roles came free, and its values may be there.
        let rx = channel.receiver().unwrap();
        tx.send(&Parcel::new(2, 7, 9)).unwrap();
        until(|| rx.recv().unwrap() == Parcel::new(2, 7, 9));
        drop((tx, rx, channel));
        Channel::<Parcel>::unlink(stage.name()).unwrap();
    }
}

/// Closes a channel in another ipc namespace, where a channel of its name has a segment and a queue with
/// its ids.
fn leave_the_namespace_twice(name: &str, shape: Shape) {
    let leave = || nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWIPC);
    if leave().is_err() {
        return say("skipped: only root can go to another ipc namespace");
    }
    let make = || {
        let channel = shape.options::<Parcel>().create(name).unwrap();
        let tx = channel.sender().unwrap();
        tx.send(&Parcel::new(1, 1, 9)).unwrap();
        (channel, tx)
    };
    let key = Key::from_name(name);
    let ids_but_the_sets =
        || kernel::objects(key).into_iter().filter(|it| it.kind != Kind::Set).collect::<Vec<_>>();
    // The set alone has another id, so that the old channel's is gone.
    Object::untouched(Kind::Set, Key::from_name("before"));
    let old = make();
    let ids = ids_but_the_sets();
    leave().unwrap();
    let new = make();
    assert_eq!(ids_but_the_sets(), ids);
    drop(old);
    assert_eq!(kernel::objects(key).len(), count(shape));
    assert_eq!(new.0.receiver().unwrap().recv().unwrap().id, 1);
    drop(new);
    assert_eq!(kernel::objects(key), []);
    say("left");
}

#[test]
fn a_user_in_another_namespace_removes_nothing_that_has_its_ids() {
    for shape in Shape::ALL {
        let stage = Stage::new("another's ids");
        let said = stage.child("leave the namespace twice", &[&format!("{shape:?}")]).hear();
        println!("{said}");
        assert!(said == "left" || said.starts_with("skipped"), "{said}");
    }
}

#[test]
fn exit_removes_what_a_removed_set_left() {
    for shape in Shape::ALL {
        let stage = Stage::new("exit without set");
        let mut child = stage.child("leak a channel", &[&format!("{shape:?}")]);
        child.expect("started");
        object(&stage, Kind::Set).unwrap().remove();
        child.tell("exit");
        child.finish();
        assert_eq!(stage.objects(), [], "{shape:?}");
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

#[test]
fn unlink_removes_what_a_removed_set_left_and_tells_its_users() {
    for shape in Shape::ALL {
        let stage = Stage::new("unlinked without set");
        let mut sender = user(&stage, shape, &["create", "send 2"]);
        object(&stage, Kind::Set).unwrap().remove();
        Channel::<Parcel>::unlink(stage.name()).unwrap();
        assert_eq!(stage.objects(), [], "{shape:?}");
        sender.tell("send 1");
        let told = sender.hear();
        assert!(told.contains("was removed"), "{shape:?}: {told}");
        let gone = Channel::<Parcel>::unlink(stage.name()).unwrap_err();
        assert!(matches!(gone, OpenError::NotFound { .. }), "{gone}");
    }
}

#[test]
fn unlink_names_what_it_cannot_tell_from_another_programs() {
    let stage = Stage::new("not recognized");
    user(&stage, Shape::Mixed, &["create", "send 2", "receive 1"]).kill();
    object(&stage, Kind::Set).unwrap().remove();
    object(&stage, Kind::Segment).unwrap().remove();
    let queue = object(&stage, Kind::Queue).unwrap();
    let unlinked = Channel::<Parcel>::unlink(stage.name()).unwrap_err().to_string();
    let created = Channel::<Parcel>::create(stage.name()).unwrap_err().to_string();
    for told in [unlinked, created] {
        assert!(told.contains(&format!("ipcrm -q {}", queue.id)), "{told}");
    }
    assert_eq!(stage.objects(), [queue]);
    queue.remove();
    let segment = Object::foreign(Kind::Segment, stage.key());
    let unlinked = Channel::<Parcel>::unlink(stage.name()).unwrap_err().to_string();
    assert!(unlinked.contains(&format!("ipcrm -m {}", segment.id)), "{unlinked}");
    segment.remove();
}

/// Values go through the new channel, and no others.
fn is_untouched(channel: &Channel<Parcel>) {
    let (tx, rx) = (channel.sender().unwrap(), channel.receiver().unwrap());
    assert!(rx.try_recv().unwrap_err().is_empty());
    let parcels: Vec<_> = (0..5).map(|id| Parcel::new(7, id, id as usize * 700)).collect();
    for parcel in &parcels {
        tx.send(parcel).unwrap();
    }
    drop(tx);
    assert_eq!(rx.iter().collect::<Result<Vec<_>, _>>().unwrap(), parcels);
}

#[test]
fn users_of_a_channel_that_was_removed_by_hand_share_nothing_with_its_successor() {
    for shape in Shape::ALL {
        for kind in removals(shape).into_iter().flatten() {
            let stage = Stage::new("successor");
            // None of them is in a call when it happens, and each is told with its next.
            let mut sender = user(&stage, shape, &["create", "send 2"]);
            let mut receiver = user(&stage, shape, &["open", "receive 1"]);
            // In this process, too.
            let old = shape.options::<Parcel>().open(stage.name()).unwrap();
            let tx = old.sender().unwrap();
            tx.send(&Parcel::new(1, 1, 9)).unwrap();
            object(&stage, kind).unwrap().remove();
            let new = shape.options::<Parcel>().create(stage.name()).unwrap();
            if kind == Kind::Segment {
                // What is left of it has no place where a creator could tell its users: they look.
                until(|| tx.try_send(&Parcel::new(1, 2, 9)).is_err_and(|error| error.is_removed()));
            }
            is_untouched(&new);
            for _ in 0..3 {
                assert!(
                    tx.try_send(&Parcel::new(1, 3, 9)).unwrap_err().is_removed(),
                    "{shape:?} {kind:?}"
                );
                for (user, order) in [(&mut sender, "send 1"), (&mut receiver, "receive 1")] {
                    user.tell(order);
                    let told = user.hear();
                    let removed = format!("channel {:?} was removed", stage.name());
                    assert!(told.starts_with(&removed), "{shape:?} {kind:?}: {told}");
                }
            }
            is_untouched(&new);
            drop((tx, old));
            order(&mut sender, &["close"]);
            is_untouched(&new);
            receiver.kill();
            is_untouched(&new);
            // Who was told opens the new one.
            let rx = new.receiver().unwrap();
            order(&mut sender, &["open", "send 1"]);
            assert_eq!(rx.recv().unwrap(), Parcel::new(1, 0, 0));
            order(&mut sender, &["close"]);
            drop((rx, new));
            assert_eq!(stage.objects(), [], "{shape:?} {kind:?}");
        }
    }
}

#[test]
fn sleeping_and_busy_users_of_a_channel_that_was_removed_by_hand_never_meet_its_successor() {
    for shape in Shape::ALL {
        for kind in removals(shape).into_iter().flatten() {
            let stage = Stage::new("successor of busy ones");
            let channel = shape.options::<Parcel>().create(stage.name()).unwrap();
            let name = format!("{shape:?}");
            let mut children =
                ["receive", "send", "send"].map(|what| stage.child("stay busy", &[&name, what]));
            children.iter_mut().for_each(|child| child.expect("busy"));
            until(|| channel.stats().unwrap().received_values > 1000);
            object(&stage, kind).unwrap().remove();
            let new = shape.options::<Parcel>().create(stage.name()).unwrap();
            is_untouched(&new);
            children.into_iter().for_each(|child| expect_removed(child, stage.name()));
            is_untouched(&new);
            assert!(channel.sender().unwrap_err().is_removed(), "{shape:?} {kind:?}");
            drop((channel, new));
            assert_eq!(stage.objects(), [], "{shape:?} {kind:?}");
        }
    }
}

/// Uses the channel until it is removed, and opens it again at once, until this is told to end.
fn open_again(name: &str, shape: Shape) {
    let over = thread::spawn(listen);
    while !over.is_finished() {
        let channel = match shape.options::<Parcel>().open_or_create(name) {
            Ok(channel) => channel,
            // As busy as this process: the others come and go with each removal.
            Err(OpenError::Unsettled { .. } | OpenError::Busy { .. }) => continue,
            Err(error) => panic!("{error}"),
        };
        let (Ok(tx), rx) = (channel.sender(), channel.receiver()) else { continue };
        while !over.is_finished() && tx.try_send(&Parcel::new(1, 1, 9)).is_ok() {
            let received = rx.as_ref().map(|rx| rx.try_recv());
            if received.is_ok_and(|received| received.is_err_and(|error| error.is_removed())) {
                break;
            }
        }
    }
}

#[test]
fn users_that_open_a_channel_again_at_once_leave_nothing_of_one_that_was_removed_by_hand() {
    for shape in Shape::ALL {
        for kinds in [&[Kind::Segment][..], &[Kind::Queue], &[Kind::Segment, Kind::Queue]] {
            let stage = Stage::new("opened again");
            let name = format!("{shape:?}");
            let mut users = [(); 3].map(|()| stage.child("open again", &[&name]));
            users.iter_mut().for_each(|user| user.expect("started"));
            for _ in 0..30 {
                at_any_moment(2000);
                for &kind in kinds {
                    // The users may have removed it in this moment.
                    if let Some(object) = object(&stage, kind) {
                        object.remove_if_there();
                    }
                }
            }
            for mut user in users {
                user.tell("end");
                user.finish();
            }
            // Which may hold values.
            let channel = shape.options::<Parcel>().open_or_create(stage.name()).unwrap();
            channel.receiver().unwrap().try_iter().for_each(|value| drop(value.unwrap()));
            drop(channel);
            assert_eq!(stage.objects(), [], "{shape:?} {kinds:?}");
        }
    }
}

fn object(stage: &Stage, kind: Kind) -> Option<Object> {
    stage.objects().into_iter().find(|object| object.kind == kind)
}

#[test]
fn removal_of_what_is_unused_never_takes_a_value() {
    let stage = Stage::new("unlink unused");
    for round in 0..300 {
        thread::scope(|scope| {
            scope.spawn(|| {
                let tx = Channel::<u64>::open_or_create(stage.name()).unwrap().sender().unwrap();
                tx.send(&round).unwrap();
            });
            let removed = Channel::<u64>::unlink_unused(stage.name());
            let refused = removed.err().is_none_or(|error| {
                matches!(
                    error,
                    OpenError::NotFound { .. }
                        | OpenError::InUse { .. }
                        | OpenError::HoldsValues { .. }
                )
            });
            assert!(refused);
        });
        let refused = Channel::<u64>::unlink_unused(stage.name());
        assert!(matches!(refused, Err(OpenError::HoldsValues { .. })), "{refused:?}");
        let rx = Channel::<u64>::open(stage.name()).unwrap().receiver().unwrap();
        assert_eq!(rx.recv().unwrap(), round);
    }
    assert!(matches!(Channel::<u64>::unlink_unused(stage.name()), Err(OpenError::NotFound { .. })));
}

#[test]
fn a_durable_channel_that_is_not_used_is_removed_as_such() {
    let stage = Stage::new("unlink durable");
    let channel = Channel::<u64>::options().durable().create(stage.name()).unwrap();
    let refused = Channel::<u64>::unlink_unused(stage.name());
    assert!(matches!(refused, Err(OpenError::InUse { users: 1, .. })), "{refused:?}");
    drop(channel);
    Channel::<u64>::unlink_unused(stage.name()).unwrap();
    assert!(stage.objects().is_empty());
}
