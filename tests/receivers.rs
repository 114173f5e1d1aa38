//! Several receivers of one queue, and values that are handed over when their work is done: none is lost
//! with its receiver, and none is two receivers' at once.

#![cfg(not(loom))]

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::Duration;

use common::kernel::{self, is_asleep};
use common::{Child, Stage, at_any_moment, halt, listen, play, random, say, until};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::gettid;
use serde::{Deserialize, Deserializer, Serialize};
use sysv_channel::{
    AttachError, Channel, DefaultCodec, OpenError, Options, Receiver, RecvError, Schema, Select,
    SendError, Tag,
};

/// Long enough for anything that happens at all.
const LONG: Duration = Duration::from_secs(100);
const SHORT: Duration = Duration::from_millis(5);

fn jobs(receivers: usize) -> Options<u64, DefaultCodec> {
    Channel::<u64>::options().lanes(4).capacity(0).receivers(receivers)
}

/// The parts that this binary plays when it is started as a child.
#[test]
fn child() {
    play(|role, arguments| {
        let open = || Channel::<u64>::open(arguments[0]).unwrap();
        match role {
            "take one" => {
                let rx = open().receiver().unwrap();
                let job = rx.recv_guard().unwrap();
                halt(format!("{} {}", *job, job.deliveries()));
            }
            "take two" => {
                let channel = open();
                let receivers = [channel.receiver().unwrap(), channel.receiver().unwrap()];
                let values = receivers.each_ref().map(|rx| rx.recv_guard().unwrap());
                halt(*values[0] + *values[1]);
            }
            "receive when asked" => {
                let rx = open().receiver().unwrap();
                say("attached");
                listen();
                say(rx.recv().unwrap());
                listen();
            }
            "wait" => {
                let rx = open().receiver().unwrap();
                say("attached");
                say(rx.recv().unwrap());
            }
            "work" => work(arguments[0], arguments[1]),
            "send" => {
                let tx = open().sender().unwrap();
                let range = arguments[1].parse::<u64>().unwrap()..arguments[2].parse().unwrap();
                range.for_each(|number| tx.send(&number).unwrap());
            }
            _ => unreachable!("no such role: {role}"),
        }
    });
}

/// What a worker did, to the one who counts it.
#[derive(Serialize, Deserialize, Debug)]
struct Done {
    number: u64,
    worker: u32,
    deliveries: u64,
}

/// Does jobs until there are none any more: tells of each before it is handed over.
fn work(name: &str, results: &str) {
    let rx = jobs(1).open(name).unwrap().receiver().unwrap();
    let tx = Channel::<Done>::open(results).unwrap().sender().unwrap();
    say("attached");
    loop {
        match rx.recv_guard() {
            // Gives some back, for another or for itself.
            Ok(job) if job.deliveries() == 1 && *job % 16 == 3 => drop(job),
            Ok(job) => {
                let (worker, deliveries) = (std::process::id(), job.deliveries());
                tx.send(&Done { number: *job, worker, deliveries }).unwrap();
                job.done();
            }
            Err(error) => return assert!(error.is_disconnected(), "{error}"),
        }
    }
}

/// Waits until a thread of this process sleeps in a system call, which it says the number of.
fn sleeping<R: Send>(wait: impl FnOnce() -> R + Send, meanwhile: impl FnOnce()) -> R {
    thread::scope(|scope| {
        let (tell, told) = std::sync::mpsc::channel();
        let waiting = scope.spawn(move || {
            tell.send(gettid()).unwrap();
            wait()
        });
        let thread = told.recv().unwrap();
        until(|| waiting.is_finished() || is_asleep(format_args!("self/task/{thread}")));
        meanwhile();
        waiting.join().unwrap()
    })
}

#[test]
fn each_value_comes_to_one_receiver() {
    let channel = jobs(4).private().unwrap();
    let tx = channel.sender().unwrap();
    let receivers = [(); 4].map(|()| channel.receiver().unwrap());
    let all = thread::scope(|scope| {
        let receiving = receivers.map(|rx| {
            scope.spawn(move || {
                let values: Vec<u64> = rx.iter().map(Result::unwrap).collect();
                // Of one sender's values each has a part, in order.
                assert!(values.is_sorted());
                values
            })
        });
        (0..20_000).for_each(|number| tx.send(&number).unwrap());
        drop(tx);
        receiving.map(|receiving| receiving.join().unwrap())
    });
    let mut all = all.concat();
    all.sort_unstable();
    assert!(all.iter().copied().eq(0..20_000), "{} values", all.len());
    let stats = channel.stats().unwrap();
    assert_eq!((stats.received_values, stats.waiting, stats.receivers), (20_000, 0, 0));
}

#[test]
fn options_that_cannot_be_are_refused_and_say_why() {
    let refused = |options: Options<u64, DefaultCodec>, word: &str| match options.private() {
        Err(OpenError::InvalidOptions { what, .. }) => assert!(what.contains(word), "{what}"),
        other => panic!("{other:?}"),
    };
    refused(jobs(0), "1 to 64");
    refused(jobs(65), "1 to 64");
    refused(jobs(2).capacity(4096), "capacity of 0");
    refused(jobs(2).capacity(4096).inline_limit(0), "capacity of 0");
    refused(Channel::<u64>::options().receivers(2), "capacity of 0");
    for receivers in [1, 2, 64] {
        let channel = jobs(receivers).private().unwrap();
        let (tx, rx) = (channel.sender().unwrap(), channel.receiver().unwrap());
        tx.send(&7).unwrap();
        assert_eq!(rx.recv().unwrap(), 7);
    }
}

#[test]
fn what_the_creator_said_counts_and_an_unused_channel_of_other_options_is_refused() {
    let stage = Stage::new("receivers of another number");
    let channel = jobs(2).durable().create(stage.name()).unwrap();
    let same = jobs(1).open(stage.name()).unwrap();
    let receivers = [channel.receiver().unwrap(), same.receiver().unwrap()];
    assert!(matches!(same.receiver(), Err(AttachError::ReceiversExhausted { receivers: 2, .. })));
    drop((channel, same, receivers));
    match jobs(3).durable().create(stage.name()) {
        Err(OpenError::OtherOptions { difference, .. }) => {
            assert_eq!(difference, "receivers is 2, and 3 was asked for");
        }
        other => panic!("{other:?}"),
    }
    Channel::<u64>::unlink(stage.name()).unwrap();
}

#[test]
fn there_are_as_many_receivers_as_the_creator_said() {
    let channel = jobs(3).private().unwrap();
    let mut receivers = [(); 3].map(|()| Some(channel.receiver().unwrap()));
    let error = channel.receiver().unwrap_err();
    assert!(matches!(error, AttachError::ReceiversExhausted { receivers: 3, .. }), "{error}");
    assert_eq!(channel.stats().unwrap().receivers, 3);
    // A place that is free again is taken, whichever it is.
    for place in [1, 0, 2] {
        receivers[place] = None;
        receivers[place] = Some(channel.receiver().unwrap());
    }
    assert!(channel.receiver().is_err());
    drop(receivers);
    assert_eq!(channel.stats().unwrap().receivers, 0);
    let alone = jobs(1).private().unwrap();
    let _rx = alone.receiver().unwrap();
    assert!(matches!(alone.receiver(), Err(AttachError::ReceiverExists { .. })));
}

#[test]
fn a_guard_needs_a_channel_without_rings_and_says_so_at_once() {
    for options in [Channel::<u64>::options(), Channel::<u64>::options().inline_limit(0)] {
        let channel = options.private().unwrap();
        let (tx, rx) = (channel.sender().unwrap(), channel.receiver().unwrap());
        let error = rx.recv_guard().unwrap_err();
        assert!(matches!(error, RecvError::NoGuard { .. }), "{error}");
        tx.send(&1).unwrap();
        assert!(matches!(rx.try_recv_guard(), Err(RecvError::NoGuard { .. })));
        assert_eq!(rx.recv().unwrap(), 1);
    }
}

#[test]
fn a_value_that_is_not_done_comes_again() {
    for receivers in [1, 2] {
        let channel = jobs(receivers).private().unwrap();
        let (tx, rx) = (channel.sender().unwrap(), channel.receiver().unwrap());
        assert!(rx.try_recv_guard().unwrap_err().is_empty());
        assert!(rx.recv_guard_timeout(SHORT).unwrap_err().is_timeout());
        tx.send_tagged(Tag::new(5).unwrap(), &1).unwrap();
        tx.send(&2).unwrap();
        // Dropped.
        drop(rx.recv_guard().unwrap());
        // With a panic.
        let panicked = catch_unwind(AssertUnwindSafe(|| {
            let job = rx.recv_guard_timeout(LONG).unwrap();
            assert_eq!(*job, 2, "it is the first one");
        }));
        assert!(panicked.is_err());
        let mut job = rx.try_recv_guard().unwrap();
        assert_eq!((*job, job.deliveries(), job.tag()), (1, 3, Tag::new(5).unwrap()));
        // While it is held nothing else is received, and it counts as waiting.
        assert!(matches!(rx.try_recv(), Err(RecvError::Reentrant { .. })));
        assert_eq!(channel.stats().unwrap().waiting, 2);
        *job += 10;
        assert_eq!(format!("{job:?}"), "RecvGuard { value: 11, deliveries: 3 }");
        assert_eq!(job.done(), 11);
        assert_eq!((rx.recv().unwrap(), rx.len().unwrap()), (2, 0));
        let stats = channel.stats().unwrap();
        assert_eq!((stats.received_values, stats.received_bytes), (2, 16));
    }
}

#[test]
fn a_value_that_was_given_back_is_one_receivers_as_it_was_sent() {
    let channel = jobs(3).private().unwrap();
    let tx = channel.sender().unwrap();
    let [one, two, three] = [(); 3].map(|()| channel.receiver().unwrap());
    tx.send(&1).unwrap();
    let mut job = one.recv_guard().unwrap();
    *job = 100;
    // One waits for it, and the others find nothing.
    let received = sleeping(|| (two.recv().unwrap(), two), || drop(job));
    assert_eq!(received.0, 1);
    for rx in [&one, &received.1, &three] {
        assert!(rx.recv_timeout(SHORT).unwrap_err().is_timeout());
    }
}

#[test]
fn a_selection_finds_what_was_given_back_and_passes_over_the_rest() {
    let tag = |number| Tag::new(number).unwrap();
    let channel = jobs(2).private().unwrap();
    let tx = channel.sender().unwrap();
    let [one, two] = [(); 2].map(|()| channel.receiver().unwrap());
    for number in 1..=9 {
        tx.send_tagged(tag(number), &(number as u64)).unwrap();
    }
    drop(one.recv_guard().unwrap());
    assert_eq!(two.recv_matching(Select::Exactly(tag(3))).unwrap().value, 3);
    assert_eq!(two.recv_matching(Select::UpTo(tag(2))).unwrap().value, 1);
    // It goes on as long as there is a place.
    let held = one.recv_guard().unwrap();
    assert_eq!(*held, 2);
    drop(held);
    assert_eq!(two.recv_matching(Select::Except(tag(2))).unwrap().value, 4);
    assert_eq!(two.recv_matching(Select::Exactly(tag(2))).unwrap().value, 2);
    let rest: Vec<u64> = two.try_iter().map(Result::unwrap).collect();
    assert_eq!(rest, [5, 6, 7, 8, 9]);
}

#[test]
fn a_value_whose_receiver_is_killed_comes_to_one_that_waits() {
    let stage = Stage::new("receiver killed with a value");
    let channel = jobs(2).create(stage.name()).unwrap();
    let (tx, rx) = (channel.sender().unwrap(), channel.receiver().unwrap());
    tx.send(&7).unwrap();
    let mut child = stage.child("take one", &[]);
    child.expect("7 1");
    let rx = sleeping(
        || {
            let job = rx.recv_guard().unwrap();
            assert_eq!((*job, job.deliveries()), (7, 2));
            job.done();
            rx
        },
        || drop(child.kill()),
    );
    assert!(rx.try_recv().unwrap_err().is_empty());
    drop((tx, rx, channel));
    assert_eq!(stage.objects(), []);
}

#[test]
fn a_busy_receiver_has_what_a_dead_one_left_soon() {
    let stage = Stage::new("value of a dead receiver, busy");
    let channel = jobs(2).create(stage.name()).unwrap();
    let (tx, rx) = (channel.sender().unwrap(), channel.receiver().unwrap());
    tx.send(&7).unwrap();
    let mut child = stage.child("take one", &[]);
    child.expect("7 1");
    drop(child.kill());
    // There is always something on the queue, so it never waits.
    tx.send(&0).unwrap();
    until(|| {
        tx.send(&0).unwrap();
        rx.recv().unwrap() == 7
    });
}

#[test]
fn a_value_that_kills_its_receivers_tells_how_often() {
    let stage = Stage::new("deadly value");
    let channel = jobs(2).create(stage.name()).unwrap();
    let tx = channel.sender().unwrap();
    tx.send(&7).unwrap();
    for times in 1..=3 {
        let mut child = stage.child("take one", &[]);
        child.expect(&format!("7 {times}"));
        drop(child.kill());
    }
    let rx = channel.receiver().unwrap();
    let job = rx.recv_guard().unwrap();
    assert_eq!((*job, job.deliveries()), (7, 4));
    job.done();
    // The next value begins anew.
    tx.send(&8).unwrap();
    assert_eq!(rx.recv_guard().unwrap().deliveries(), 1);
}

#[test]
fn one_receiver_alone_hands_over_when_the_work_is_done_too() {
    let stage = Stage::new("guard of one receiver");
    let channel = jobs(1).create(stage.name()).unwrap();
    let tx = channel.sender().unwrap();
    tx.send(&7).unwrap();
    let mut child = stage.child("take one", &[]);
    child.expect("7 1");
    assert!(matches!(channel.receiver(), Err(AttachError::ReceiverExists { .. })));
    drop(child.kill());
    let rx = channel.receiver().unwrap();
    let job = rx.recv_guard().unwrap();
    assert_eq!((*job, job.deliveries()), (7, 2));
}

#[test]
fn a_process_with_several_receivers_gives_all_of_it_back_when_it_dies() {
    let stage = Stage::new("process with two receivers");
    let channel = jobs(3).create(stage.name()).unwrap();
    let (tx, rx) = (channel.sender().unwrap(), channel.receiver().unwrap());
    tx.send_all(&[1, 2]).unwrap();
    let mut child = stage.child("take two", &[]);
    child.expect("3");
    assert!(rx.try_recv().unwrap_err().is_empty());
    drop(child.kill());
    assert_eq!((rx.recv().unwrap(), rx.recv().unwrap()), (1, 2));
    assert_eq!(channel.stats().unwrap().receivers, 1);
}

#[test]
fn a_receiver_that_is_dropped_gives_back_what_was_forgotten() {
    let channel = jobs(2).private().unwrap();
    let tx = channel.sender().unwrap();
    let [one, two] = [(); 2].map(|()| channel.receiver().unwrap());
    tx.send(&1).unwrap();
    std::mem::forget(one.recv_guard().unwrap());
    assert!(two.recv_timeout(SHORT).unwrap_err().is_timeout());
    let (value, _two) = sleeping(|| (two.recv().unwrap(), two), || drop(one));
    assert_eq!(value, 1);
}

#[test]
fn the_end_comes_when_no_other_has_a_value_in_hand() {
    for done in [true, false] {
        let channel = jobs(2).private().unwrap();
        let tx = channel.sender().unwrap();
        let [one, two] = [(); 2].map(|()| channel.receiver().unwrap());
        tx.send(&1).unwrap();
        let job = one.recv_guard().unwrap();
        drop(tx);
        assert!(two.try_recv().unwrap_err().is_empty());
        assert!(two.recv_timeout(SHORT).unwrap_err().is_timeout());
        let (rest, two) = sleeping(
            move || (two.iter().map_while(Result::ok).collect::<Vec<u64>>(), two),
            || {
                if done {
                    job.done();
                } else {
                    drop(job);
                }
            },
        );
        assert_eq!(rest, if done { vec![] } else { vec![1] });
        for rx in [&one, &two] {
            assert!(rx.try_recv().unwrap_err().is_disconnected());
            assert!(rx.recv().unwrap_err().is_disconnected());
        }
    }
}

#[test]
fn the_end_comes_also_when_the_last_value_was_a_killed_receivers() {
    let stage = Stage::new("end with a killed receiver");
    let channel = jobs(2).create(stage.name()).unwrap();
    let tx = channel.sender().unwrap();
    tx.send(&7).unwrap();
    let mut child = stage.child("take one", &[]);
    child.expect("7 1");
    drop(tx);
    let rx = channel.receiver().unwrap();
    let rest = sleeping(
        move || rx.iter().map_while(Result::ok).collect::<Vec<u64>>(),
        || drop(child.kill()),
    );
    assert_eq!(rest, [7]);
}

#[test]
fn senders_go_on_as_long_as_one_receiver_is_there() {
    let channel = jobs(2).private().unwrap();
    let tx = channel.sender().unwrap();
    let [one, two] = [(); 2].map(|()| channel.receiver().unwrap());
    for rx in [one, two] {
        tx.send(&1).unwrap();
        drop(rx);
    }
    assert!(matches!(tx.send(&2), Err(SendError::Disconnected { .. })));
    let rx = channel.receiver().unwrap();
    tx.send(&3).unwrap();
    let all: Vec<u64> = rx.try_iter().map(Result::unwrap).collect();
    assert_eq!(all, [1, 1, 3]);
}

#[test]
fn a_sender_that_waits_for_room_hears_that_the_last_receiver_is_gone() {
    let channel = jobs(2).private().unwrap();
    let tx = channel.sender().unwrap();
    let [one, two] = [(); 2].map(|()| channel.receiver().unwrap());
    while tx.try_send(&0).is_ok() {}
    drop(one);
    let sent = sleeping(move || tx.send(&1), || drop(two));
    assert!(matches!(sent, Err(SendError::Disconnected { .. })), "{sent:?}");
}

#[test]
fn an_idle_receiver_has_the_value_although_another_that_was_woken_is_stopped() {
    let stage = Stage::new("woken and stopped");
    let channel = jobs(2).create(stage.name()).unwrap();
    let mut child = stage.child("wait", &[]);
    child.expect("attached");
    let (tx, rx) = (channel.sender().unwrap(), channel.receiver().unwrap());
    until(|| channel.stats().unwrap().receiver_parks > 0 && is_asleep(child.id()));
    child.stop();
    let rx = sleeping(
        || {
            assert_eq!(rx.recv().unwrap(), 1);
            rx
        },
        || tx.send(&1).unwrap(),
    );
    child.go_on();
    // It sleeps again, and has the next one.
    tx.send(&2).unwrap();
    child.expect("2");
    drop((rx, child.finish()));
}

#[test]
fn a_value_in_a_dead_receivers_hand_keeps_the_channel_for_the_next_creator() {
    let stage = Stage::new("adopted from a dead receiver");
    let channel = jobs(2).create(stage.name()).unwrap();
    let tx = channel.sender().unwrap();
    tx.send(&7).unwrap();
    let mut child = stage.child("take one", &[]);
    child.expect("7 1");
    drop((tx, channel));
    drop(child.kill());
    assert_eq!(sysv_channel::sweep().map(|_| stage.objects().len()), Ok(3));
    let channel = jobs(2).create(stage.name()).unwrap();
    assert_eq!(channel.stats().unwrap().waiting, 1);
    let [one, two] = [(); 2].map(|()| channel.receiver().unwrap());
    assert_eq!(two.recv().unwrap(), 7);
    assert!(one.try_recv().unwrap_err().is_empty());
    drop((one, two, channel));
    assert_eq!(stage.objects(), []);
}

#[test]
fn a_closer_ends_the_call_of_its_own_receiver() {
    let channel = jobs(2).private().unwrap();
    let tx = channel.sender().unwrap();
    let [one, two] = [(); 2].map(|()| channel.receiver().unwrap());
    let closer = one.closer();
    let one = sleeping(
        || {
            assert!(one.recv_guard().unwrap_err().is_closed());
            one
        },
        || closer.close(),
    );
    tx.send(&1).unwrap();
    assert_eq!(two.recv().unwrap(), 1);
    tx.send(&2).unwrap();
    assert_eq!(one.recv().unwrap(), 2);
}

/// Counts how often it was woken.
#[derive(Default)]
struct Woken(AtomicUsize);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn tasks_that_wait_are_woken_by_values_and_by_what_is_given_back() {
    let channel = jobs(2).private().unwrap();
    let tx = channel.sender().unwrap();
    let [one, mut two] = [(); 2].map(|()| channel.receiver().unwrap());
    tx.send(&1).unwrap();
    let job = one.recv_guard().unwrap();
    let woken = Arc::new(Woken::default());
    let waker = Waker::from(woken.clone());
    let mut context = Context::from_waker(&waker);
    let mut receiving = pin!(two.recv_async());
    assert!(receiving.as_mut().poll(&mut context).is_pending());
    drop(job);
    let received = loop {
        until(|| woken.0.load(Ordering::Relaxed) > 0);
        woken.0.store(0, Ordering::Relaxed);
        if let Poll::Ready(received) = receiving.as_mut().poll(&mut context) {
            break received;
        }
    };
    assert_eq!(received.unwrap(), 1);
}

/// A value that cannot be decoded, and takes the call along.
#[derive(Debug, Serialize)]
struct Poison(u64);

impl<'de> Deserialize<'de> for Poison {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match u64::deserialize(deserializer)? {
            0 => panic!("poison"),
            1 => Err(serde::de::Error::custom("never valid")),
            number => Ok(Poison(number)),
        }
    }
}

#[test]
fn a_value_that_nobody_can_decode_does_not_come_again() {
    for receivers in [1, 2] {
        let options = Channel::<Poison>::options().capacity(0).receivers(receivers);
        let channel = options.schema(Schema::named("poison", 1)).private().unwrap();
        let (tx, rx) = (channel.sender().unwrap(), channel.receiver().unwrap());
        for number in [0, 1, 2] {
            tx.send(&Poison(number)).unwrap();
        }
        assert!(catch_unwind(AssertUnwindSafe(|| rx.recv_guard().map(drop))).is_err());
        assert!(matches!(rx.recv_guard(), Err(RecvError::Decode { .. })));
        assert_eq!(rx.recv_guard().unwrap().done().0, 2);
        assert!(rx.try_recv().unwrap_err().is_empty());
    }
}

/// Receivers that come and go, wait and poll, take and give back, and senders that fill the queue.
#[test]
fn receivers_come_and_go_and_every_value_is_done_once() {
    const VALUES: u64 = 4_000;
    let channel = jobs(4).private().unwrap();
    let received = |channel: &Channel<u64>| {
        let mut done = Vec::new();
        let mut rx: Option<Receiver<u64>> = None;
        loop {
            if random(50) == 0 {
                rx = None;
            }
            let rx = rx.get_or_insert_with(|| channel.receiver().unwrap());
            let job = match random(3) {
                0 => rx.recv_guard(),
                1 => rx.recv_guard_timeout(Duration::from_micros(random(200))),
                _ => rx.try_recv_guard(),
            };
            match job {
                Ok(job) if random(4) == 0 => drop(job),
                Ok(job) => done.push(job.done()),
                Err(error) if error.is_disconnected() => return done,
                Err(error) => assert!(error.is_empty() || error.is_timeout(), "{error}"),
            }
        }
    };
    let mut all = thread::scope(|scope| {
        let senders = [0, 1].map(|part| {
            let tx = channel.sender().unwrap();
            scope.spawn(move || {
                for number in part * VALUES / 2..(part + 1) * VALUES / 2 {
                    // All of them may have gone in the same moment.
                    while let Err(error) = tx.send(&number) {
                        assert!(error.is_disconnected(), "{error}");
                        thread::yield_now();
                    }
                }
            })
        });
        let keeper = channel.sender().unwrap();
        let receiving = [(); 3].map(|()| scope.spawn(|| received(&channel)));
        for sender in senders {
            sender.join().unwrap();
        }
        drop(keeper);
        receiving.map(|receiving| receiving.join().unwrap()).concat()
    });
    all.sort_unstable();
    assert!(all.iter().copied().eq(0..VALUES), "{} of {VALUES}", all.len());
}

/// Workers are killed at any moment, and others come in their place. Two things may happen twice: what a
/// worker told of and did not come to hand over, when it was killed.
#[test]
fn a_pool_whose_workers_are_killed_at_any_moment_does_every_job() {
    const JOBS: u64 = 3_000;
    let stage = Stage::new("pool of workers");
    let channel = jobs(4).create(stage.name()).unwrap();
    // While no worker is attached, the sender is not told that the receivers are gone.
    let keeper = channel.receiver().unwrap();
    let told = Stage::new("results of workers");
    let results = Channel::<Done>::options().lanes(8).stays_open().create(told.name()).unwrap();
    let (sink, tx) = (results.receiver().unwrap(), channel.sender().unwrap());
    let start = || stage.child("work", &[told.name()]);
    let mut killed = BTreeSet::new();
    let mut workers: Vec<Child> = (0..3).map(|_| start()).collect();
    thread::scope(|scope| {
        // Goes with a test that fails, and with it the sender.
        let _keeper = keeper;
        scope.spawn(move || (0..JOBS).for_each(|number| tx.send(&number).unwrap()));
        let mut done: BTreeMap<u64, Vec<(u32, u64)>> = BTreeMap::new();
        let mut take = || {
            let Ok(Done { number, worker, deliveries }) = sink.try_recv() else {
                return done.len();
            };
            done.entry(number).or_default().push((worker, deliveries));
            done.len()
        };
        // While there is a lot to do: one after another.
        for turn in 0.. {
            if take() as u64 > JOBS * 3 / 4 || turn == 60 {
                break;
            }
            at_any_moment(3_000);
            let worker = workers.swap_remove(random(3) as usize);
            killed.insert(worker.id());
            worker.kill();
            workers.push(start());
            for _ in 0..JOBS / 60 {
                take();
            }
        }
        until(|| take() as u64 == JOBS || workers.iter().all(has_gone));
        workers.drain(..).for_each(|worker| drop(worker.finish()));
        while sink.len().unwrap() > 0 {
            take();
        }
        assert!(done.keys().copied().eq(0..JOBS), "{} of {JOBS} jobs", done.len());
        for (number, by) in &done {
            // All but the last worker that told of it were killed before they had handed it over.
            let (_, twice) = by.split_last().unwrap();
            assert!(twice.iter().all(|(worker, _)| killed.contains(worker)), "{number}: {by:?}");
            assert!(by.is_sorted_by(|one, two| one.1 < two.1), "{number}: {by:?}");
        }
    });
    drop((sink, results, channel));
    assert_eq!((stage.objects(), told.objects()), (vec![], vec![]));
}

fn has_gone(worker: &Child) -> bool {
    common::kernel::has_ended(worker.id())
}

#[test]
fn all_that_dead_receivers_left_is_there_for_calls_that_do_not_wait() {
    for _ in 0..10 {
        let stage = Stage::new("left by the dead");
        let channel = jobs(4).create(stage.name()).unwrap();
        let tx = channel.sender().unwrap();
        tx.send_all(&[1, 2, 3]).unwrap();
        let mut holders: Vec<Child> = (0..3).map(|_| stage.child("take one", &[])).collect();
        holders.iter_mut().for_each(|holder| drop(holder.hear()));
        holders.into_iter().for_each(|holder| drop(holder.kill()));
        drop(tx);
        let rx = channel.receiver().unwrap();
        let mut left: Vec<u64> = rx.try_iter().map(Result::unwrap).collect();
        left.sort_unstable();
        assert_eq!(left, [1, 2, 3]);
        assert!(rx.try_recv().unwrap_err().is_disconnected());
    }
}

#[test]
fn a_forked_child_hands_nothing_over_and_gives_nothing_back() {
    let channel = jobs(2).private().unwrap();
    let (tx, one, other) =
        (channel.sender().unwrap(), channel.receiver().unwrap(), channel.receiver().unwrap());
    for hands_over in [true, false] {
        tx.send(&3).unwrap();
        let mut held = Some(one.recv_guard().unwrap());
        let child = kernel::forked(|| {
            // Once the parent has the next value in its place.
            thread::sleep(Duration::from_millis(30));
            let held = held.take().unwrap();
            if hands_over {
                held.done();
            }
        });
        held.take().unwrap().done();
        tx.send(&4).unwrap();
        let held = one.recv_guard().unwrap();
        assert_eq!(*held, 4);
        assert!(matches!(waitpid(child, None), Ok(WaitStatus::Exited(_, 0))));
        assert!(other.try_recv().unwrap_err().is_empty());
        drop(held);
        assert_eq!(other.recv().unwrap(), 4);
    }
}
