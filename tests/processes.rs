//! What the channel promises between processes: order, nothing lost and nothing twice, and that
//! nobody waits for the dead.

#![cfg(not(loom))]

mod common;

use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use common::{Child, Parcel, Shape, Stage, halt, listen, play, say, until};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, fork, gettid};
use sysv_channel::codec::{Bytes, Codec, DecodeError, EncodeError, Raw, Reader, Schema, Writer};
use sysv_channel::{AttachError, Channel, OpenError, Options, RecvError, SendError, Stats};

/// Long enough for anything that happens at all.
const LONG: Duration = Duration::from_secs(100);
const SHORT: Duration = Duration::from_millis(5);

/// The sender of a value that is not sent.
const LARGE: u64 = 9;

/// The parts that this binary plays when it is started as a child.
#[test]
fn child() {
    play(|role, arguments| {
        let name = arguments[0];
        let shape = arguments.get(1).copied().map_or(Shape::Mixed, Shape::named);
        let channel = || Channel::<Parcel>::open(name).unwrap();
        match role {
            "echo" => echo(name, arguments[2], shape),
            "mirror" => {
                let spin = Duration::from_micros(arguments[3].parse().unwrap());
                let options = || Channel::<u64>::options().spin(spin);
                let rx = options().open(name).unwrap().receiver().unwrap();
                let tx = options().open(arguments[2]).unwrap().sender().unwrap();
                rx.iter().for_each(|value| tx.send(&value.unwrap()).unwrap());
            }
            "handle" => {
                let channel = Channel::<Parcel>::open(common::read_handle(arguments[1])).unwrap();
                channel.sender().unwrap().send(&Parcel::new(1, 1, 5000)).unwrap();
            }
            "wait for creation" => {
                let absent = Channel::<Parcel>::open(name).unwrap_err();
                assert!(matches!(absent, OpenError::NotFound { .. }));
                say("waiting");
                let options = Channel::<Parcel>::options().wait_for_creation(LONG);
                let tx = options.open(name).unwrap().sender().unwrap();
                tx.send(&Parcel::new(1, 1, 10)).unwrap();
            }
            "send some" => {
                let tx = channel().sender().unwrap();
                let count: u64 = listen().parse().unwrap();
                for id in 0..count {
                    tx.send(&Parcel::new(1, id, shape.some_len(id))).unwrap();
                }
                say("sent");
                match &*listen() {
                    "close" => drop(tx),
                    _ => unreachable!("killed"),
                }
                say("closed");
                listen();
            }
            "send large" => {
                let tx = channel().sender().unwrap();
                say(gettid());
                tx.send(&Parcel::new(LARGE, 0, 3000)).unwrap();
            }
            "receive some" => {
                let rx = channel().receiver().unwrap();
                say("attached");
                let count = listen().parse().unwrap();
                for parcel in rx.iter().take(count) {
                    let parcel = parcel.unwrap();
                    parcel.check();
                    say(parcel.id);
                }
                say("received");
                match &*listen() {
                    "close" => drop(rx),
                    _ => unreachable!("killed"),
                }
                say("closed");
                listen();
            }
            "try to receive" => {
                let channel = channel();
                say("ready");
                listen();
                match channel.receiver() {
                    Ok(_rx) => halt("won"),
                    Err(AttachError::ReceiverExists { pid, .. }) => halt(pid),
                    Err(error) => panic!("{error}"),
                }
            }
            "take a lane" => {
                let _tx = channel().sender().unwrap();
                halt("attached");
            }
            "halt in encoding" => {
                let tx = halting(shape).open(name).unwrap().sender().unwrap();
                say("attached");
                tx.send(&Bytes::from(b"whole".to_vec())).unwrap();
                let [len, pass] = [2, 3].map(|at: usize| arguments[at].parse::<usize>().unwrap());
                HALT_IN.store(pass, Ordering::Relaxed);
                let _ = tx.send(&Bytes::from(vec![1; len]));
                unreachable!("killed");
            }
            "halt in decoding" => {
                let rx = halting(shape).open(name).unwrap().receiver().unwrap();
                for _ in 0..arguments[2].parse().unwrap() {
                    say(rx.recv().unwrap().len());
                }
                HALT_IN.store(1, Ordering::Relaxed);
                let _ = rx.recv();
                unreachable!("killed");
            }
            "fork" => fork_alive(name),
            "exec as a sender" => {
                let tx = channel().sender().unwrap();
                tx.send(&Parcel::new(1, 1, 10)).unwrap();
                become_another_program();
            }
            "exec as the receiver" => {
                let rx = channel().receiver().unwrap();
                say("attached");
                rx.recv().unwrap();
                become_another_program();
            }
            _ => unreachable!("no such role: {role}"),
        }
    });
}

fn stats(channel: &Channel<Parcel>) -> Stats {
    channel.stats().unwrap()
}

// ---------------------------------------------------------------------- values

/// Sizes around every limit that a value can meet on its way.
fn sizes(shape: Shape) -> Vec<usize> {
    let small = [0, 1, 7, 20, 24, 25, 100, 220, 256, 300, 1000, 1024, 2000, 4000];
    let large = [4097, 8000, 8100, 8192, 8193, 16_000, 65_536, 100_003, 1 << 20, 16 << 20];
    match shape {
        Shape::QueueOnly => small.to_vec(),
        _ => [&small[..], &large].concat(),
    }
}

fn echo(there: &str, back: &str, shape: Shape) {
    let rx = Channel::<Parcel>::open(there).unwrap().receiver().unwrap();
    let tx = Channel::<Parcel>::open(back).unwrap().sender().unwrap();
    for parcel in rx.iter() {
        let parcel = parcel.unwrap();
        parcel.check();
        assert_eq!(parcel.len(), sizes(shape)[parcel.id as usize]);
        tx.send(&parcel).unwrap();
    }
}

#[test]
fn values_of_every_size_go_both_ways_between_processes_that_know_name_and_type() {
    for shape in Shape::ALL {
        let (there, back) = (Stage::new("values there"), Stage::new("values back"));
        let tx = shape.options::<Parcel>().create(there.name()).unwrap().sender().unwrap();
        let rx = shape.options::<Parcel>().create(back.name()).unwrap().receiver().unwrap();
        let child = there.child("echo", &[&format!("{shape:?}"), back.name()]);
        thread::scope(|scope| {
            scope.spawn(|| {
                for (id, len) in sizes(shape).into_iter().enumerate() {
                    tx.send(&Parcel::new(1, id as u64, len)).unwrap();
                }
                drop(tx);
            });
            for (id, len) in sizes(shape).into_iter().enumerate() {
                let parcel = rx.recv().unwrap();
                assert_eq!((parcel.id, parcel.len()), (id as u64, len), "{shape:?}");
                parcel.check();
            }
        });
        assert!(rx.recv().unwrap_err().is_disconnected());
        child.finish();
        drop(rx);
        assert_eq!((there.objects(), back.objects()), (vec![], vec![]), "{shape:?}");
    }
}

/// Whoever rings and whoever sleeps fence in one of two ways, and agree which while both work.
#[test]
fn no_receiver_sleeps_through_a_value_however_long_either_side_spins() {
    for (here, other) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
        let (there, back) = (Stage::new("wake there"), Stage::new("wake back"));
        let spin = Duration::from_micros(here);
        let options = Shape::RingOnly.options::<u64>().spin(spin);
        let tx = options.create(there.name()).unwrap().sender().unwrap();
        let options = Shape::RingOnly.options::<u64>().spin(spin);
        let rx = options.create(back.name()).unwrap().receiver().unwrap();
        let child = there.child("mirror", &["RingOnly", back.name(), &other.to_string()]);
        for value in 0..20_000 {
            // At every moment between the other side's last look and its sleep.
            (0..value * 7 % 128).for_each(|_| std::hint::spin_loop());
            tx.send(&value).unwrap();
            assert_eq!(rx.recv().unwrap(), value);
        }
        drop(tx);
        child.finish();
    }
}

#[test]
fn handle_opens_a_private_channel_in_a_child() {
    let stage = Stage::new("handle");
    let channel = Channel::<Parcel>::private().unwrap();
    let rx = channel.receiver().unwrap();
    let child =
        Child::start("handle", &[stage.name(), &common::write_handle(channel.handle())], |_| {});
    assert_eq!(rx.recv().unwrap(), Parcel::new(1, 1, 5000));
    child.finish();
    assert!(rx.recv().unwrap_err().is_disconnected());
}

#[test]
fn opener_may_start_before_the_creator() {
    let stage = Stage::new("opener first");
    let mut child = stage.child("wait for creation", &[]);
    child.expect("waiting");
    let rx = Channel::<Parcel>::create(stage.name()).unwrap().receiver().unwrap();
    assert_eq!(rx.recv().unwrap(), Parcel::new(1, 1, 10));
    child.finish();
}

// ---------------------------------------------------------------------- going away

#[test]
fn receiver_that_waits_gets_everything_and_then_learns_that_the_sender_was_killed() {
    sender_goes("killed", |mut child| {
        child.expect("sent");
        child.kill();
        None
    });
}

#[test]
fn receiver_that_waits_gets_everything_and_then_learns_that_the_sender_closed() {
    sender_goes("closed", |mut child| {
        child.expect("sent");
        child.tell("close");
        child.expect("closed");
        Some(child)
    });
}

/// `go` gives the child back if it is still there.
fn sender_goes(how: &'static str, go: impl Fn(Child) -> Option<Child>) {
    for (shape, spin) in Shape::ALL.into_iter().flat_map(|shape| [(shape, SHORT), (shape, LONG)]) {
        let stage = Stage::new(how);
        let channel = shape.options::<Parcel>().spin(spin).create(stage.name()).unwrap();
        let rx = channel.receiver().unwrap();
        let mut child = stage.child("send some", &[&format!("{shape:?}")]);
        child.tell("100");
        let (thread, threads) = mpsc::channel();
        thread::scope(|scope| {
            let receiver = scope.spawn(move || {
                for id in 0..100 {
                    assert_eq!(rx.recv().unwrap(), Parcel::new(1, id, shape.some_len(id)));
                }
                thread.send(gettid()).unwrap();
                rx.recv().unwrap_err()
            });
            let thread = threads.recv().unwrap();
            until(|| spin == LONG || receiver.is_finished() || common::kernel::is_asleep(thread));
            let _there = go(child);
            assert!(receiver.join().unwrap().is_disconnected(), "{shape:?}, spinning for {spin:?}");
        });
    }
}

#[test]
fn the_iterator_of_a_batch_may_wait_for_the_receiver() {
    for shape in Shape::ALL {
        let stage = Stage::new("batch");
        let channel = shape.options::<u64>().spin(Duration::ZERO).create(stage.name()).unwrap();
        let (tx, rx) = (channel.sender().unwrap(), channel.receiver().unwrap());
        let (received, to_wait_for) = mpsc::channel();
        let (thread, threads) = mpsc::channel();
        let receiver = thread::spawn(move || {
            thread.send(gettid()).unwrap();
            (0..10).for_each(|_| received.send(rx.recv().unwrap()).unwrap());
        });
        let receiving = threads.recv().unwrap();
        let values: Vec<u64> = (0..10).collect();
        let one_by_one = values.iter().inspect(|&&value| {
            if value > 0 {
                assert_eq!(to_wait_for.recv().unwrap(), value - 1, "{shape:?}");
            }
            until(|| common::kernel::is_asleep(receiving));
        });
        assert_eq!(tx.send_all(one_by_one).unwrap(), 10);
        receiver.join().unwrap();
    }
}

#[test]
fn values_of_a_dead_sender_wait_for_the_receiver() {
    for shape in Shape::ALL {
        let stage = Stage::new("dead sender");
        let channel = shape.options::<Parcel>().create(stage.name()).unwrap();
        let mut child = stage.child("send some", &[&format!("{shape:?}")]);
        child.tell("3");
        child.expect("sent");
        child.kill();
        let rx = channel.receiver().unwrap();
        let ids: Vec<_> = rx.iter().map(|parcel| parcel.unwrap().id).collect();
        assert_eq!(ids, [0, 1, 2], "{shape:?}");
    }
}

#[test]
fn sender_that_waits_for_room_learns_that_the_receiver_was_killed() {
    receiver_goes("killed", |child| {
        child.kill();
        None
    });
}

#[test]
fn sender_that_waits_for_room_learns_that_the_receiver_closed() {
    receiver_goes("closed", |mut child| {
        child.tell("close");
        child.expect("closed");
        Some(child)
    });
}

fn receiver_goes(how: &'static str, go: impl Fn(Child) -> Option<Child>) {
    let lens = [
        (Shape::RingOnly, 100),
        (Shape::RingOnly, 1 << 20),
        (Shape::Mixed, 100),
        (Shape::Mixed, 3000),
        (Shape::Mixed, 1 << 20),
        (Shape::QueueOnly, 100),
    ];
    for ((shape, len), spin) in lens.into_iter().flat_map(|case| [(case, SHORT), (case, LONG)]) {
        let stage = Stage::new(how);
        let channel = shape.options::<Parcel>().spin(spin).create(stage.name()).unwrap();
        let tx = channel.sender().unwrap();
        let mut child = stage.child("receive some", &[&format!("{shape:?}")]);
        child.expect("attached");
        child.tell("0");
        child.expect("received");
        thread::scope(|scope| {
            let sender = scope.spawn(move || {
                (0..).find_map(|id| tx.send(&Parcel::new(1, id, len)).err()).unwrap()
            });
            until(|| spin == LONG || stats(&channel).sender_parks > 0 || sender.is_finished());
            let _there = go(child);
            let error = sender.join().unwrap();
            assert!(error.is_disconnected(), "{shape:?} {len}, spinning for {spin:?}: {error}");
        });
    }
}

#[test]
fn second_sender_process_keeps_the_receiver_connected() {
    for shape in Shape::ALL {
        let stage = Stage::new("two senders");
        let channel = shape.options::<Parcel>().create(stage.name()).unwrap();
        let rx = channel.receiver().unwrap();
        let mut senders = [(); 3].map(|()| {
            let mut child = stage.child("send some", &[&format!("{shape:?}")]);
            child.tell("1");
            child.expect("sent");
            rx.recv().unwrap();
            child
        });
        senders[0].tell("close");
        senders[0].expect("closed");
        assert!(rx.recv_timeout(SHORT).unwrap_err().is_timeout(), "{shape:?}");
        let [closed, killed, last] = senders;
        killed.kill();
        assert!(rx.recv_timeout(SHORT).unwrap_err().is_timeout(), "{shape:?}");
        last.kill();
        assert!(rx.recv().unwrap_err().is_disconnected(), "{shape:?}");
        drop(closed);
    }
}

// ---------------------------------------------------------------------- one after another

#[test]
fn next_receiver_continues_with_what_a_killed_one_left() {
    for shape in Shape::ALL {
        let stage = Stage::new("next receiver");
        let channel = shape.options::<Parcel>().create(stage.name()).unwrap();
        let tx = channel.sender().unwrap();
        let mut sent = 0;
        while tx.try_send(&Parcel::new(1, sent, (sent * 37 % 900) as usize)).is_ok() {
            sent += 1;
        }
        assert!(sent > 12, "{shape:?}: {sent}");
        let mut next = 0;
        for count in [0, 5, 1, sent - 6] {
            let mut child = stage.child("receive some", &[&format!("{shape:?}")]);
            child.expect("attached");
            child.tell(&count.to_string());
            for _ in 0..count {
                child.expect(&next.to_string());
                next += 1;
            }
            child.expect("received");
            child.kill();
        }
        assert_eq!(stats(&channel).depth(), 0, "{shape:?}");
    }
}

/// Bytes as they are, from a codec that halts in the middle.
struct Halting;

/// In which pass from now on the codec halts in this process; 0 = never.
static HALT_IN: AtomicUsize = AtomicUsize::new(0);

fn pass(what: &str) {
    if HALT_IN.load(Ordering::Relaxed) > 0 && HALT_IN.fetch_sub(1, Ordering::Relaxed) == 1 {
        halt(what);
    }
}

impl Codec<Bytes> for Halting {
    const NAME: &'static str = "halting";

    fn encode(value: &Bytes, out: &mut Writer<'_>) -> Result<(), EncodeError> {
        let (first, second) = value.split_at(value.len() / 2);
        out.write(first)?;
        pass("half-written");
        Ok(out.write(second)?)
    }

    fn decode(input: Reader<'_>) -> Result<Bytes, DecodeError> {
        pass("in hand");
        Raw::decode(input)
    }

    fn schema() -> Schema {
        Schema::bytes("bytes")
    }
}

fn halting(shape: Shape) -> Options<Bytes, Halting> {
    let options = Channel::<Bytes, Halting>::options().lanes(1);
    match shape {
        Shape::Mixed => options.capacity(16 << 10).inline_limit(256),
        Shape::RingOnly => options.capacity(16 << 10).inline_limit(0),
        Shape::QueueOnly => options.capacity(0).inline_limit(4096),
    }
}

#[test]
fn value_that_a_killed_receiver_had_in_hand_comes_first_to_the_next() {
    for (shape, len) in [
        (Shape::RingOnly, 100),
        (Shape::RingOnly, 100_000),
        (Shape::Mixed, 100),
        (Shape::Mixed, 3000),
        (Shape::Mixed, 100_000),
        (Shape::QueueOnly, 100),
    ] {
        let stage = Stage::new("in hand");
        let channel = halting(shape).create(stage.name()).unwrap();
        let tx = channel.sender().unwrap();
        let values = [5, len, 6, 7].map(|len| Bytes::from(vec![len as u8; len]));
        thread::scope(|scope| {
            let values = &values;
            let sender = scope.spawn(move || {
                for value in values {
                    // A value in fragments needs a receiver that lives.
                    until(|| match tx.send(value) {
                        Ok(()) => true,
                        Err(error) => {
                            assert!(error.is_disconnected(), "{error}");
                            false
                        }
                    });
                }
            });
            // Each has the same value in hand when it is killed.
            for before in ["1", "0", "0"] {
                let arguments = [&*format!("{shape:?}"), before];
                let mut child = stage.child("halt in decoding", &arguments);
                if before == "1" {
                    child.expect("5");
                }
                child.expect("in hand");
                child.kill();
            }
            let rx = channel.receiver().unwrap();
            for value in &values[1..] {
                assert!(rx.recv().unwrap() == *value, "{shape:?} {len}");
            }
            sender.join().unwrap();
        });
    }
}

#[test]
fn half_written_value_is_never_delivered() {
    for (shape, len, pass) in [
        (Shape::RingOnly, 100, 1),
        (Shape::RingOnly, 1_000_000, 1),
        (Shape::RingOnly, 1_000_000, 2),
        (Shape::Mixed, 100, 1),
        (Shape::Mixed, 3000, 2),
        (Shape::Mixed, 1_000_000, 2),
        (Shape::QueueOnly, 1000, 1),
    ] {
        let stage = Stage::new("half-written");
        let channel = halting(shape).create(stage.name()).unwrap();
        let rx = channel.receiver().unwrap();
        for _ in 0..2 {
            let arguments = [format!("{shape:?}"), len.to_string(), pass.to_string()];
            let arguments = arguments.each_ref().map(String::as_str);
            let mut child = stage.child("halt in encoding", &arguments);
            child.expect("attached");
            assert_eq!(&*rx.recv().unwrap(), b"whole");
            thread::scope(|scope| {
                // Takes what there is of the value while the sender is killed in the middle of it.
                let killer = scope.spawn(move || {
                    child.expect("half-written");
                    child.kill();
                });
                assert!(rx.recv().unwrap_err().is_disconnected(), "{shape:?} {len}");
                killer.join().unwrap();
            });
        }
        // The lane is good for whoever comes next.
        let tx = channel.sender().unwrap();
        let long = if shape == Shape::QueueOnly { 4000 } else { 200_000 };
        let values = [3, long, 4].map(|len| Bytes::from(vec![2; len]));
        thread::scope(|scope| {
            let values = &values;
            scope.spawn(move || values.iter().for_each(|value| tx.send(value).unwrap()));
            values.iter().for_each(|value| assert!(rx.recv().unwrap() == *value));
        });
    }
}

#[test]
fn large_value_that_was_not_sent_because_the_queue_was_full_blocks_no_other() {
    for killed in [false, true] {
        let stage = Stage::new("queue full");
        let channel = Shape::Mixed.options::<Parcel>().lanes(2).create(stage.name()).unwrap();
        let (tx, rx) = (channel.sender().unwrap(), channel.receiver().unwrap());
        // Messages of 64 bytes, which leave no room for the descriptor of a large value.
        let mut sent = 0;
        while tx.try_send(&Parcel::new(1, sent, 24)).is_ok() {
            sent += 1;
        }
        let large = |sender, id| Parcel::new(sender, id, 3000);
        let next = if killed {
            let mut child = stage.child("send large", &[]);
            let thread = child.hear();
            until(|| common::kernel::is_asleep(&thread));
            child.kill();
            channel.sender().unwrap()
        } else {
            let next = channel.sender().unwrap();
            assert!(next.try_send(&large(LARGE, 0)).unwrap_err().is_full());
            assert!(next.send_timeout(&large(LARGE, 0), SHORT).unwrap_err().is_timeout());
            next
        };
        for id in 0..sent {
            assert_eq!(rx.recv().unwrap(), Parcel::new(1, id, 24));
        }
        // The lane is good for more than its ring holds at once.
        thread::scope(|scope| {
            scope.spawn(move || (0..50).for_each(|id| next.send(&large(2, id)).unwrap()));
            let mut first = rx.recv().unwrap();
            if killed && first == large(LARGE, 0) {
                // A send that did not return may have happened or not.
                first = rx.recv().unwrap();
            }
            assert_eq!(first, large(2, 0));
            (1..50).for_each(|id| assert_eq!(rx.recv().unwrap(), large(2, id)));
        });
        assert!(rx.try_recv().unwrap_err().is_empty());
    }
}

// ---------------------------------------------------------------------- roles

#[test]
fn one_of_many_receivers_wins_and_the_others_learn_its_process() {
    let stage = Stage::new("contend");
    let channel = Channel::<Parcel>::options().lanes(600).create(stage.name()).unwrap();
    for _ in 0..5 {
        let mut children: Vec<_> = (0..4).map(|_| stage.child("try to receive", &[])).collect();
        children.iter_mut().for_each(|child| child.expect("ready"));
        children.iter_mut().for_each(|child| child.tell("go"));
        let answers: Vec<_> = children.iter_mut().map(Child::hear).collect();
        let winner = answers.iter().position(|answer| answer == "won").unwrap();
        let pid = children[winner].id();
        for (at, answer) in answers.iter().enumerate() {
            assert!(at == winner || *answer == pid.to_string(), "{pid}: {answers:?}");
        }
        let refused = channel.receiver().unwrap_err();
        assert!(refused.to_string().contains(&pid.to_string()), "{refused}");
    }
}

#[test]
fn exhausted_lane_comes_free_when_its_sender_is_killed() {
    for shape in Shape::ALL {
        let stage = Stage::new("lanes");
        let channel = shape.options::<Parcel>().lanes(2).create(stage.name()).unwrap();
        let [first, second] = [(); 2].map(|()| {
            let mut child = stage.child("take a lane", &[]);
            child.expect("attached");
            child
        });
        let refused = channel.sender().unwrap_err();
        assert!(matches!(refused, AttachError::LanesExhausted { lanes: 2, .. }), "{refused}");
        first.kill();
        let tx = channel.sender().unwrap();
        assert!(matches!(tx.try_clone(), Err(AttachError::LanesExhausted { lanes: 2, .. })));
        second.kill();
        let _other = tx.try_clone().unwrap();
    }
}

#[test]
fn no_user_of_a_durable_channel_is_told_that_the_others_are_gone() {
    for shape in Shape::ALL {
        let stage = Stage::new("durable");
        let options = shape.options::<Parcel>().durable();
        let channel = options.create(stage.name()).unwrap();
        let name = format!("{shape:?}");
        let mut sender = stage.child("send some", &[&name]);
        sender.tell("2");
        sender.expect("sent");
        sender.kill();
        let rx = channel.receiver().unwrap();
        assert_eq!(rx.try_iter().count(), 2);
        assert!(rx.recv_timeout(SHORT).unwrap_err().is_timeout(), "{shape:?}");
        assert!(rx.try_recv().unwrap_err().is_empty(), "{shape:?}");
        drop(rx);

        let mut receiver = stage.child("receive some", &[&name]);
        receiver.expect("attached");
        receiver.kill();
        let tx = channel.sender().unwrap();
        let parcel = |id| Parcel::new(1, id, 100);
        let mut sent = 0;
        let full = loop {
            match tx.send_timeout(&parcel(sent), SHORT) {
                Ok(()) => sent += 1,
                Err(error) => break error,
            }
        };
        assert!(full.is_timeout(), "{shape:?}: {full}");
        assert!(tx.try_send(&parcel(sent)).unwrap_err().is_full(), "{shape:?}");

        // The values wait in the kernel, with nobody there.
        drop((tx, channel));
        assert!(!stage.objects().is_empty());
        let mut receiver = stage.child("receive some", &[&name]);
        receiver.expect("attached");
        receiver.tell(&sent.to_string());
        (0..sent).for_each(|id| receiver.expect(&id.to_string()));
        receiver.expect("received");
        receiver.kill();
        assert!(!stage.objects().is_empty());
        Channel::<Parcel>::unlink(stage.name()).unwrap();
        assert_eq!(stage.objects(), [], "{shape:?}");
    }
}

// ---------------------------------------------------------------------- fork

#[test]
fn forked_child_cannot_use_its_parents_endpoints_and_does_them_no_harm() {
    let stage = Stage::new("fork");
    // In a process of its own, which forks while no other thread does anything.
    stage.child("fork", &[]).finish();
}

fn fork_alive(name: &str) {
    for shape in Shape::ALL {
        let channel = shape.options::<Parcel>().create(name).unwrap();
        let (tx, rx) = (channel.sender().unwrap(), channel.receiver().unwrap());
        tx.send(&Parcel::new(1, 0, 10)).unwrap();
        // SAFETY: no other thread of this process holds a lock that the child could want.
        match unsafe { fork() }.unwrap() {
            ForkResult::Child => {
                let refused =
                    matches!(tx.send(&Parcel::new(1, 1, 1)), Err(SendError::Forked { .. }))
                        && matches!(
                            tx.try_send(&Parcel::new(1, 1, 1)),
                            Err(SendError::Forked { .. })
                        )
                        && matches!(rx.recv(), Err(RecvError::Forked { .. }))
                        && matches!(rx.try_recv(), Err(RecvError::Forked { .. }))
                        && matches!(channel.sender(), Err(AttachError::Forked { .. }))
                        && matches!(channel.receiver(), Err(AttachError::Forked { .. }))
                        && matches!(tx.try_clone(), Err(AttachError::Forked { .. }));
                drop((tx, rx, channel));
                // Opened anew, it is the child's own.
                let own = Channel::<Parcel>::open(name).unwrap();
                let taken = matches!(own.receiver(), Err(AttachError::ReceiverExists { .. }));
                let sent = own.sender().unwrap().send(&Parcel::new(2, 2, 2)).is_ok();
                std::process::exit(if refused && taken && sent { 0 } else { 1 });
            }
            ForkResult::Parent { child } => {
                assert_eq!(waitpid(child, None), Ok(WaitStatus::Exited(child, 0)));
            }
        }
        tx.send(&Parcel::new(1, 1, 10)).unwrap();
        let mut received =
            [(); 3].map(|()| rx.recv().map(|parcel| (parcel.sender, parcel.id)).unwrap());
        // A channel of rings alone keeps each sender's order and no other.
        received.sort_unstable();
        assert_eq!(received, [(1, 0), (1, 1), (2, 2)], "{shape:?}");
        let stats = channel.stats().unwrap();
        assert_eq!((stats.senders, stats.receivers, stats.users), (1, 1, 1));
        drop((tx, rx, channel));
        assert!(matches!(Channel::<Parcel>::open(name), Err(OpenError::NotFound { .. })));
    }
}

// ---------------------------------------------------------------------- exec

/// Goes on as a program that repeats one line and ends.
fn become_another_program() -> ! {
    panic!("{}", Command::new("head").arg("-n1").exec());
}

/// Waits until the child has become the other program.
fn until_another_program(child: &Child) {
    let name = format!("/proc/{}/comm", child.id());
    until(|| std::fs::read_to_string(&name).unwrap() == "head\n");
}

#[test]
fn process_that_calls_exec_keeps_its_roles_until_it_ends() {
    for shape in Shape::ALL {
        for killed in [false, true] {
            let end = |mut child: Child| {
                if killed {
                    child.kill();
                } else {
                    child.tell("the last line");
                    child.finish();
                }
            };
            let stage = Stage::new("exec");
            let channel = shape.options::<Parcel>().create(stage.name()).unwrap();
            let rx = channel.receiver().unwrap();
            let child = stage.child("exec as a sender", &[]);
            assert_eq!(rx.recv().unwrap().id, 1);
            until_another_program(&child);
            assert!(rx.recv_timeout(SHORT).unwrap_err().is_timeout(), "{shape:?}");
            assert_eq!(stats(&channel).senders, 1);
            end(child);
            assert!(rx.recv().unwrap_err().is_disconnected(), "{shape:?}");
            drop(rx);

            let tx = channel.sender().unwrap();
            let mut child = stage.child("exec as the receiver", &[]);
            child.expect("attached");
            tx.send(&Parcel::new(1, 2, 10)).unwrap();
            until_another_program(&child);
            let refused = channel.receiver().unwrap_err();
            assert!(
                matches!(refused, AttachError::ReceiverExists { pid, .. } if pid as u32 == child.id())
            );
            let full = (0..).find_map(|id| tx.send_timeout(&Parcel::new(1, id, 900), SHORT).err());
            assert!(full.unwrap().is_timeout(), "{shape:?}");
            end(child);
            assert!(tx.send(&Parcel::new(1, 1, 900)).unwrap_err().is_disconnected(), "{shape:?}");
        }
    }
}

// ---------------------------------------------------------------------- threads

#[test]
fn end_outlives_the_thread_that_attached_it() {
    for shape in Shape::ALL {
        let stage = Stage::new("thread ended");
        let channel = shape.options::<Parcel>().create(stage.name()).unwrap();
        // The kernel's undo belongs to the process, and these threads are over.
        let attached = thread::scope(|scope| {
            let tx = scope.spawn(|| channel.sender().unwrap()).join();
            let rx = scope.spawn(|| channel.receiver().unwrap()).join();
            (tx.unwrap(), rx.unwrap())
        });
        let (tx, rx) = attached;
        assert!(rx.recv_timeout(SHORT).unwrap_err().is_timeout(), "{shape:?}");
        let moved = thread::spawn(move || {
            tx.send(&Parcel::new(1, 1, 10)).unwrap();
            tx
        });
        assert_eq!(rx.recv().unwrap().id, 1);
        let tx = moved.join().unwrap();
        assert_eq!((stats(&channel).senders, stats(&channel).receivers), (1, 1));
        assert!(rx.recv_timeout(SHORT).unwrap_err().is_timeout(), "{shape:?}");
        drop(tx);
        assert!(rx.recv().unwrap_err().is_disconnected(), "{shape:?}");
    }
}

#[test]
fn end_goes_with_the_thread_that_panics_over_it() {
    for shape in Shape::ALL {
        let stage = Stage::new("thread panicked");
        let channel = shape.options::<Parcel>().create(stage.name()).unwrap();
        let (tx, rx) = (channel.sender().unwrap(), channel.receiver().unwrap());
        let panicked = thread::spawn(move || {
            tx.send(&Parcel::new(1, 1, 10)).unwrap();
            // Without a message on the terminal.
            std::panic::resume_unwind(Box::new(tx.send(&Parcel::new(1, 2, 10))));
        });
        assert!(panicked.join().is_err());
        let ids: Vec<_> = rx.iter().map(|parcel| parcel.unwrap().id).collect();
        assert_eq!(ids, [1, 2], "{shape:?}");

        let tx = channel.sender().unwrap();
        let panicked = thread::spawn(move || {
            rx.recv().unwrap();
            std::panic::resume_unwind(Box::new(()));
        });
        tx.send(&Parcel::new(1, 3, 10)).unwrap();
        assert!(panicked.join().is_err());
        assert!(tx.send(&Parcel::new(1, 4, 10)).unwrap_err().is_disconnected(), "{shape:?}");
        // The next one goes on.
        let _rx = channel.receiver().unwrap();
        tx.send(&Parcel::new(1, 5, 10)).unwrap();
    }
}
