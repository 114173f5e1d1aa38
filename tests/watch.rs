//! Actors whose end comes into another actor's mailbox as a message.

#![cfg(not(loom))]

mod common;

use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::Duration;

use common::kernel::{Kind, has_ended, is_asleep};
use common::{Child, Stage, at_any_moment, halt, listen, play, random, say, until};
use serde::{Deserialize, Serialize};
use sysv_channel::Channel;
use sysv_channel::actor::{Address, Mailbox, MailboxOptions, ReplyTo};
use sysv_channel::codec::Bytes;

/// What a child is told, which is nothing that it receives but a question.
type Told = ReplyTo<u64>;

#[derive(Serialize, Deserialize, Debug, PartialEq)]
enum Parent {
    Heard(u64),
    Long(Bytes),
    Ended(usize),
}

/// The parts that this binary plays when it is started as a child.
#[test]
fn child() {
    play(|role, arguments| {
        let name = arguments[0];
        let bind = || Mailbox::<Told>::bind(name).unwrap();
        match role {
            "dies" => {
                let _mailbox = bind();
                halt("bound");
            }
            "drops its mailbox" => {
                let mailbox = bind();
                say("bound");
                listen();
                drop(mailbox);
                halt("dropped");
            }
            "exits" => {
                let mailbox = bind();
                say("bound");
                listen();
                std::mem::forget(mailbox);
            }
            "aborts" => {
                let _mailbox = bind();
                say("bound");
                listen();
                std::process::abort();
            }
            "tells and is killed" => {
                let mailbox = bind();
                let parent = Address::<Parent>::connect(format!("{name} parent")).unwrap();
                say("bound");
                for number in 0..arguments[1].parse().unwrap() {
                    if number % 7 == 6 {
                        parent.tell(&Parent::Long(vec![number as u8; 5000].into())).unwrap();
                    } else {
                        parent.tell(&Parent::Heard(number)).unwrap();
                    }
                }
                say("told");
                listen();
                std::mem::forget(mailbox);
                // Told before, and only then gone.
                parent.tell(&Parent::Heard(u64::MAX)).unwrap();
                nix::sys::signal::raise(nix::sys::signal::SIGKILL).unwrap();
            }
            _ => unreachable!("no such role: {role}"),
        }
    });
}

fn started(stage: &Stage, role: &str, arguments: &[&str]) -> Child {
    let mut child = stage.child(role, arguments);
    child.expect("bound");
    child
}

fn address(stage: &Stage) -> Address<Told> {
    Address::connect(stage.name()).unwrap()
}

fn is_empty(mailbox: &Mailbox<Parent>) -> bool {
    mailbox.try_recv().is_err_and(|error| error.is_empty())
}

#[test]
fn an_end_comes_once_however_it_comes() {
    let stage = Stage::new("ends");
    let parent = Mailbox::<Parent>::private().unwrap();
    let receiver = nix::unistd::gettid();
    for (number, role) in
        ["dies", "drops its mailbox", "exits", "aborts", "unlinked"].into_iter().enumerate()
    {
        let unlinked = role == "unlinked";
        let mut child = started(&stage, if unlinked { "dies" } else { role }, &[]);
        let _watch = address(&stage).watch_into(&parent, Parent::Ended(number)).unwrap();
        assert!(is_empty(&parent));
        // Neither a message nor a stop is an end.
        child.stop();
        assert!(parent.recv_timeout(Duration::from_millis(1)).unwrap_err().is_timeout());
        child.go_on();
        let name = stage.name().to_owned();
        let ending = thread::spawn(move || {
            until(|| is_asleep(receiver));
            match role {
                "dies" => drop(child.kill()),
                "unlinked" => Channel::<Told>::unlink(name).unwrap(),
                _ => child.tell("end"),
            }
        });
        assert_eq!(parent.recv().unwrap(), Some(Parent::Ended(number)), "{role}");
        ending.join().unwrap();
        assert!(is_empty(&parent));
    }
}

#[test]
fn an_end_before_the_watch_comes_at_once_and_that_of_another_actor_never() {
    let stage = Stage::new("ended before");
    let parent = Mailbox::<Parent>::private().unwrap();
    let address = {
        let _child = started(&stage, "dies", &[]);
        address(&stage)
    };
    let _watch = address.watch_into(&parent, Parent::Ended(1)).unwrap();
    assert_eq!(parent.recv().unwrap(), Some(Parent::Ended(1)));
    // Another has the place at once.
    let child = started(&stage, "dies", &[]);
    let _watch = address.watch_into(&parent, Parent::Ended(2)).unwrap();
    let name = stage.name().to_owned();
    let standby =
        thread::spawn(|| MailboxOptions::new().stand_by::<Told, _>(name, Duration::MAX).unwrap());
    child.kill();
    let next: Mailbox<Told> = standby.join().unwrap();
    assert_eq!(parent.recv().unwrap(), Some(Parent::Ended(2)));
    let _watch = address.watch_into(&parent, Parent::Ended(3)).unwrap();
    assert!(is_empty(&parent));
    drop(next);
    assert_eq!(parent.recv().unwrap(), Some(Parent::Ended(3)));
}

#[test]
fn what_an_actor_told_comes_before_its_end() {
    for messages in [0, 1, 20, 300] {
        let stage = Stage::new("told before");
        let name = format!("{} parent", stage.name());
        let parent = Mailbox::<Parent>::bind(name.as_str()).unwrap();
        let mut child = started(&stage, "tells and is killed", &[&messages.to_string()]);
        let _watch = address(&stage).watch_into(&parent, Parent::Ended(0)).unwrap();
        child.expect("told");
        child.tell("go");
        let process = child.id();
        until(|| has_ended(process));
        // Another actor goes on telling.
        let other = parent.address();
        let other = thread::spawn(move || {
            let filler = Parent::Heard(1 << 40);
            while other.tell_timeout(&filler, Duration::from_millis(50)).is_ok() {}
        });
        let (mut heard, mut fillers) = (0, 0);
        let ended = loop {
            match parent.recv().unwrap().unwrap() {
                Parent::Heard(u64::MAX) => {
                    assert_eq!(heard, messages);
                    heard += 1;
                }
                Parent::Heard(number) if number == 1 << 40 => fillers += 1,
                Parent::Heard(number) => {
                    assert_eq!(number, heard);
                    heard += 1;
                }
                Parent::Long(bytes) => {
                    assert_eq!((bytes[0], bytes.len()), (heard as u8, 5000));
                    heard += 1;
                }
                Parent::Ended(number) => break number,
            }
        };
        assert_eq!((ended, heard), (0, messages + 1), "after {fillers} of another");
        other.join().unwrap();
        drop(parent);
        // With what the other told since.
        Channel::<Parent>::unlink(name).unwrap();
    }
}

#[test]
fn an_end_needs_no_room_in_a_full_mailbox() {
    let stage = Stage::new("full");
    let parent = Mailbox::<Parent>::private().unwrap();
    let child = started(&stage, "dies", &[]);
    let _watch = address(&stage).watch_into(&parent, Parent::Ended(7)).unwrap();
    let me = parent.address();
    let mut told = 0;
    while me.try_tell(&Parent::Heard(told)).is_ok() {
        told += 1;
    }
    child.kill();
    for number in 0..told {
        assert_eq!(parent.recv().unwrap(), Some(Parent::Heard(number)));
    }
    assert_eq!(parent.recv().unwrap(), Some(Parent::Ended(7)));
}

#[test]
fn a_watch_that_is_dropped_tells_nothing_and_gives_its_place_back() {
    let stage = Stage::new("dropped");
    let options = MailboxOptions::new().addresses(2);
    let child: Mailbox<Told> = options.bind(stage.name()).unwrap();
    let parent = Mailbox::<Parent>::private().unwrap();
    let address = address(&stage);
    for round in 0..20 {
        let watch = address.watch_into(&parent, Parent::Ended(round)).unwrap();
        assert!(address.watch_into(&parent, Parent::Ended(0)).is_err(), "there is no place left");
        if round % 2 == 0 {
            drop(watch);
        } else {
            thread::spawn(move || drop(watch)).join().unwrap();
        }
    }
    let watch = address.watch_into(&parent, Parent::Ended(99)).unwrap();
    drop(child);
    assert!(matches!(parent.recv_timeout(Duration::from_millis(1)), Ok(Some(Parent::Ended(99)))));
    drop(watch);
    let child: Mailbox<Told> = options.bind(stage.name()).unwrap();
    address.watch_into(&parent, Parent::Ended(100)).unwrap().detach();
    // An end that was noticed, and not received.
    let watch = {
        let other = Mailbox::<Told>::private().unwrap();
        other.address().watch_into(&parent, Parent::Ended(101)).unwrap()
    };
    parent.address().tell(&Parent::Heard(1)).unwrap();
    assert_eq!(parent.recv().unwrap(), Some(Parent::Heard(1)));
    drop(watch);
    assert!(is_empty(&parent));
    drop(child);
    assert_eq!(parent.recv().unwrap(), Some(Parent::Ended(100)));
}

#[test]
fn the_watches_of_a_mailbox_end_with_it() {
    let stage = Stage::new("watcher ends");
    let child: Mailbox<Told> = MailboxOptions::new().addresses(2).bind(stage.name()).unwrap();
    let address = address(&stage);
    for _ in 0..3 {
        let parent = Mailbox::<Parent>::private().unwrap();
        let watch = address.watch_into(&parent, Parent::Ended(0)).unwrap();
        drop(parent);
        // Its place is free although the guard is there.
        drop(address.watch().unwrap());
        drop(watch);
    }
    drop(child);
}

/// Polls a future whenever it is woken, on this thread.
fn block_on<F: Future>(future: F) -> F::Output {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(done) => return done,
            Poll::Pending => thread::park(),
        }
    }
}

#[test]
fn a_task_that_waits_for_messages_is_woken_by_an_end() {
    let stage = Stage::new("task");
    let mut parent = Mailbox::<Parent>::private().unwrap();
    let receiver = nix::unistd::gettid();
    for number in 0..5 {
        let child = started(&stage, "dies", &[]);
        let _watch = address(&stage).watch_into(&parent, Parent::Ended(number)).unwrap();
        let ending = thread::spawn(move || {
            until(|| is_asleep(receiver));
            child.kill();
        });
        let end = block_on(parent.recv_async()).unwrap();
        assert_eq!(end, Some(Parent::Ended(number)));
        ending.join().unwrap();
    }
}

/// Children that are killed at any moment, some of them stopped before, while others tell.
#[test]
fn of_many_children_that_are_killed_each_end_comes_once() {
    const CHILDREN: usize = 30;
    let stage = Stage::new("many");
    let parent = Mailbox::<Parent>::private().unwrap();
    let names: Vec<String> = (0..CHILDREN).map(|n| format!("{} {n}", stage.name())).collect();
    let mut children = Vec::new();
    let mut watches = Vec::new();
    for (number, name) in names.iter().enumerate() {
        let mut child = Child::start("dies", &[name], |_| {});
        child.expect("bound");
        children.push(child);
        let address = Address::<Told>::connect(name.as_str()).unwrap();
        watches.push(address.watch_into(&parent, Parent::Ended(number)).unwrap());
    }
    let teller = parent.address();
    let killing = thread::spawn(move || {
        while !children.is_empty() {
            let child = children.swap_remove(random(children.len() as u64) as usize);
            at_any_moment(300);
            if random(3) == 0 {
                child.stop();
            }
            child.kill();
            let _ = teller.try_tell(&Parent::Heard(0));
        }
    });
    let mut ended = [0; CHILDREN];
    while ended.contains(&0) {
        if let Parent::Ended(number) = parent.recv().unwrap().unwrap() {
            ended[number] += 1;
        }
    }
    killing.join().unwrap();
    while let Ok(message) = parent.try_recv() {
        assert_eq!(message, Some(Parent::Heard(0)));
    }
    assert_eq!(ended, [1; CHILDREN]);
    drop(watches);
    for name in names {
        // What a killed actor left.
        let _ = Channel::<Told>::unlink(name);
    }
}

#[test]
fn a_mailbox_whose_set_was_removed_by_hand_has_ended() {
    let stage = Stage::new("removed by hand");
    let parent = Mailbox::<Parent>::private().unwrap();
    let _child = started(&stage, "dies", &[]);
    let _watch = address(&stage).watch_into(&parent, Parent::Ended(5)).unwrap();
    assert!(is_empty(&parent));
    stage.objects().into_iter().find(|object| object.kind == Kind::Set).unwrap().remove();
    assert_eq!(parent.recv().unwrap(), Some(Parent::Ended(5)));
}
