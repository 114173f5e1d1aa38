//! How long a blocked call takes to hear that the other process was killed, beside a bare semaphore.

use std::thread;
use std::time::{Duration, Instant};

use crate::common::Shape;
use crate::common::kernel::{Kind, Object, is_asleep};
use crate::common::{Child, Stage, halt, until};
use crate::scene::{Load, Scene};

const FEED: Scene = Scene { load: Load::FullRing, shape: Shape::RingOnly };

/// The roles of this file's children: the name, and how many MiB to own beside.
pub(crate) fn child(role: &str, arguments: &[&str]) {
    let megabytes: usize = arguments[1].parse().expect("a number");
    // Written, so that the kernel has pages to take down.
    let _memory = vec![1_u8; megabytes << 20];
    match role {
        "idle sender" => {
            let _tx = FEED.options().open(arguments[0]).unwrap().sender().unwrap();
            halt("ready");
        }
        "idle receiver" => {
            let _rx = FEED.options().open(arguments[0]).unwrap().receiver().unwrap();
            halt("ready");
        }
        "bare" => {
            let id = arguments[0].parse().expect("a number");
            Object { kind: Kind::Set, id }.raise_at_end(0);
            halt("ready");
        }
        _ => unreachable!("no such role: {role}"),
    }
}

/// Prints the distributions, for victims of these sizes.
pub(crate) fn report(rounds: usize) {
    println!(
        "time from SIGKILL until a blocked call has returned, in microseconds, {rounds} each:"
    );
    println!(
        "{:>12} {:>16} {:>10} {:>10} {:>10}",
        "victim owns", "waiting in", "median", "90 %", "maximum"
    );
    for megabytes in [0, 64, 256] {
        let mut bare = Vec::new();
        let mut recv = Vec::new();
        let mut send = Vec::new();
        // In turn, so that all three see the same machine.
        for _ in 0..rounds {
            bare.push(wake_bare(megabytes));
            recv.push(wake_receiver(megabytes));
            send.push(wake_sender(megabytes));
        }
        for (what, mut times) in [("bare semop", bare), ("recv", recv), ("send, full", send)] {
            times.sort();
            let at = |share: usize| times[(times.len() - 1) * share / 100].as_micros();
            println!("{megabytes:>8} MiB {what:>16} {:>10} {:>10} {:>10}", at(50), at(90), at(100));
        }
    }
}

/// Kills the child as soon as the thread sleeps, and returns how long the thread took to return.
fn time_to_wake(child: Child, wait: impl FnOnce() + Send) -> Duration {
    thread::scope(|scope| {
        let (tell, told) = std::sync::mpsc::channel();
        let waiter = scope.spawn(move || {
            tell.send(nix::unistd::gettid()).expect("somebody listens");
            wait();
            Instant::now()
        });
        let thread = told.recv().expect("the thread runs");
        until(|| is_asleep(format_args!("self/task/{thread}")));
        let killed = Instant::now();
        child.kill();
        waiter.join().expect("waiting went well").duration_since(killed)
    })
}

fn ready(name: &str, role: &str, megabytes: usize) -> Child {
    let mut child = Child::start(role, &[name, &megabytes.to_string()], |_| {});
    child.expect("ready");
    child
}

fn wake_bare(megabytes: usize) -> Duration {
    let stage = Stage::new("bare semaphore");
    let set = Object::untouched(Kind::Set, stage.key());
    let child = ready(&set.id.to_string(), "bare", megabytes);
    let time = time_to_wake(child, || set.wait_at(0));
    set.remove();
    time
}

fn wake_receiver(megabytes: usize) -> Duration {
    let stage = Stage::new("receiver wakes");
    let channel = FEED.options().create(stage.name()).unwrap();
    let rx = channel.receiver().unwrap();
    let child = ready(stage.name(), "idle sender", megabytes);
    time_to_wake(child, move || assert!(rx.recv().unwrap_err().is_disconnected()))
}

fn wake_sender(megabytes: usize) -> Duration {
    let stage = Stage::new("sender wakes");
    let channel = FEED.options().create(stage.name()).unwrap();
    let tx = channel.sender().unwrap();
    let child = ready(stage.name(), "idle receiver", megabytes);
    child.stop();
    let mut id = 0;
    while tx.try_send(&FEED.parcel(0, id)).is_ok() {
        id += 1;
    }
    time_to_wake(child, move || {
        assert!(tx.send(&FEED.parcel(0, id)).unwrap_err().is_disconnected())
    })
}
