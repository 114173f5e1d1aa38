//! Sleep and wake: on items, on ring space, on queue space, by several senders.

use std::task::{Context, Poll};

use loom::thread;

use super::{block_on, finds, holds, mixed, process_with_sender, ring_only};
use crate::model::set_queue_capacity;
use crate::sys::thread::Parker;
use crate::sys::{Deadline, Fault};
use crate::{Options, WaitSet};

/// A sender sends these values, a receiver takes them. Neither goes before both are done: a goodbye
/// rings, and would hide a wake-up that was lost.
fn one_sender(options: Options<u8, crate::codec::Bincode>, values: u8) {
    let channel = options.private().unwrap();
    let (tx, rx) = (channel.sender().unwrap(), channel.receiver().unwrap());
    let sender = thread::spawn(move || {
        for value in 0..values {
            tx.send(&value).unwrap();
        }
        tx
    });
    for value in 0..values {
        assert_eq!(rx.recv().unwrap(), value);
    }
    drop(sender.join().unwrap());
    assert!(rx.recv().unwrap_err().is_disconnected());
}

#[test]
fn no_wake_up_on_items_is_lost() {
    let model = || one_sender(ring_only(4), 2);
    holds("sleep on items", model);
    finds("sleep on items", &[Fault::NoRingFence, Fault::NoParkFence, Fault::NoRecheck], model);
}

#[test]
fn no_wake_up_on_ring_space_is_lost() {
    let model = || one_sender(ring_only(2), 3);
    holds("sleep on items and on ring space", model);
    finds("sleep on items and on ring space", &[Fault::NoRingFence, Fault::NoRecheck], model);
}

#[test]
fn one_value_that_is_taken_lets_a_waiting_sender_through() {
    let model = || {
        let channel = ring_only(2).private().unwrap();
        let (tx, rx) = (channel.sender().unwrap(), channel.receiver().unwrap());
        tx.send(&0).unwrap();
        let sender = thread::spawn(move || {
            tx.send(&1).unwrap();
            tx
        });
        assert_eq!(rx.recv().unwrap(), 0);
        // Without another look from the receiver, which would ring too.
        drop(sender.join().unwrap());
    };
    holds("sleep on ring space, one value taken", model);
    finds("sleep on ring space, one value taken", &[Fault::SpaceNotRung, Fault::NoRecheck], model);
}

#[test]
fn no_wake_up_on_queue_space_is_lost() {
    let model = || {
        set_queue_capacity(17);
        one_sender(mixed(2), 2);
    };
    holds("sleep on items and on queue space", model);
    finds(
        "sleep on items and on queue space",
        &[Fault::QueueSpaceNotWanted, Fault::QueueSpaceNotGiven, Fault::NoRecheck],
        model,
    );
}

#[test]
fn two_senders_share_the_items_bell() {
    let model = || {
        let channel = ring_only(4).lanes(2).private().unwrap();
        let rx = channel.receiver().unwrap();
        let senders = [1_u8, 2].map(|value| {
            let tx = channel.sender().unwrap();
            thread::spawn(move || {
                tx.send(&value).unwrap();
                tx
            })
        });
        let mut sum = rx.recv().unwrap();
        sum += rx.recv().unwrap();
        assert_eq!(sum, 3);
        for sender in senders {
            drop(sender.join().unwrap());
        }
    };
    holds("two senders, one bell", model);
    finds("two senders, one bell", &[Fault::NoRecheck, Fault::NoRingFence], model);
}

#[test]
fn a_waker_that_is_killed_costs_no_sleeper_its_wake_up() {
    let model = |step| {
        let channel = ring_only(4).lanes(2).private().unwrap();
        let rx = channel.receiver().unwrap();
        let (killed, tx) = process_with_sender(&channel);
        drop(channel);
        let killed = killed.kill_at(step).spawn(move || tx.send(&1).unwrap());
        let mut got = Vec::new();
        while let Ok(value) = rx.recv() {
            got.push(value);
        }
        assert!(got.is_empty() || got == [1]);
        let sent = killed.join().is_some();
        assert!(!sent || got == [1]);
    };
    super::holds_killed("waker killed", model);
    let faults = [Fault::NoUndo, Fault::ItemsBellNotArmed, Fault::NoRecheck];
    super::finds_killed("waker killed", &faults, model);
}

#[test]
fn a_stopped_waker_costs_no_sleeper_its_wake_up() {
    let model = |step| {
        let channel = ring_only(4).lanes(2).private().unwrap();
        let (tx, rx) = (channel.sender().unwrap(), channel.receiver().unwrap());
        let (stopped, other) = process_with_sender(&channel);
        let stopped = stopped.stop_at(step).spawn(move || {
            other.send(&1).unwrap();
            std::mem::forget(other);
        });
        let sender = thread::spawn(move || {
            tx.send(&2).unwrap();
            tx
        });
        // One value may be all that comes, and it has to.
        let first = rx.recv().unwrap();
        assert!(first == 1 || first == 2);
        if first == 1 {
            assert_eq!(rx.recv().unwrap(), 2);
        }
        stopped.join();
        drop(sender.join().unwrap());
    };
    super::holds_killed("waker stopped", model);
    super::finds_killed("waker stopped", &[Fault::ClearBeforePost], model);
}

#[test]
fn what_is_closed_while_it_sleeps_wakes() {
    let receiver = || {
        let channel = ring_only(2).private().unwrap();
        let (tx, rx) = (channel.sender().unwrap(), channel.receiver().unwrap());
        let closer = rx.closer();
        let closing = thread::spawn(move || closer.close());
        assert!(rx.recv().unwrap_err().is_closed());
        closing.join().unwrap();
        // Once.
        tx.send(&1).unwrap();
        assert_eq!(rx.recv().unwrap(), 1);
    };
    let sender = || {
        let channel = ring_only(2).private().unwrap();
        let (tx, rx) = (channel.sender().unwrap(), channel.receiver().unwrap());
        tx.send(&1).unwrap();
        let closer = tx.closer();
        let closing = thread::spawn(move || closer.close());
        assert!(tx.send(&2).unwrap_err().is_closed());
        closing.join().unwrap();
        assert_eq!(rx.recv().unwrap(), 1);
        tx.send(&3).unwrap();
        assert_eq!(rx.recv().unwrap(), 3);
    };
    let faults = [Fault::NoRingFence, Fault::NoParkFence, Fault::NoRecheck];
    holds("a receiver is closed", receiver);
    finds("a receiver is closed", &faults, receiver);
    holds("a sender is closed", sender);
    finds("a sender is closed", &faults, sender);
}

#[test]
fn a_task_that_waits_is_woken() {
    let model = || {
        let channel = ring_only(4).private().unwrap();
        let (tx, mut rx) = (channel.sender().unwrap(), channel.receiver().unwrap());
        let sender = thread::spawn(move || {
            tx.send(&0).unwrap();
            tx
        });
        assert_eq!(block_on(rx.recv_async()).unwrap(), 0);
        drop(sender.join().unwrap());
        assert!(block_on(rx.recv_async()).unwrap_err().is_disconnected());
    };
    holds("a task waits for a value", model);
    let faults = [Fault::NoRingFence, Fault::NoParkFence, Fault::NoRecheck];
    finds("a task waits for a value", &faults, model);
}

#[test]
fn a_call_that_blocks_is_woken_while_a_listener_sleeps_at_the_bell() {
    let model = || {
        let channel = ring_only(4).private().unwrap();
        let (tx, rx) = (channel.sender().unwrap(), channel.receiver().unwrap());
        let mut context = Context::from_waker(std::task::Waker::noop());
        assert!(rx.poll_recv(&mut context).is_pending());
        let sender = thread::spawn(move || {
            tx.send(&0).unwrap();
            tx
        });
        assert_eq!(rx.recv().unwrap(), 0);
        drop(sender.join().unwrap());
    };
    holds("a call blocks beside a listener", model);
    finds("a call blocks beside a listener", &[Fault::ListenerIgnored], model);
}

/// A set of two is waited for, and one of them gets a value.
fn set_of_two(options: [Options<u8, crate::codec::Bincode>; 2], sends: usize) {
    let channels = options.map(|options| options.private().unwrap());
    let senders = channels.each_ref().map(|channel| channel.sender().unwrap());
    let receivers = channels.each_ref().map(|channel| channel.receiver().unwrap());
    let sender = thread::spawn(move || {
        senders[sends].send(&7).unwrap();
        senders
    });
    let mut set = WaitSet::new();
    receivers.iter().for_each(|rx| assert!(set.add(rx) < 2));
    assert_eq!(set.ready().unwrap(), Some(sends));
    assert_eq!(receivers[sends].try_recv().unwrap(), 7);
    drop(sender.join().unwrap());
}

#[test]
fn a_set_is_woken_by_each_of_its_members() {
    let first = || set_of_two([ring_only(2), ring_only(2)], 0);
    let second = || set_of_two([ring_only(2), ring_only(2)], 1);
    let queue = || set_of_two([ring_only(2), mixed(2)], 1);
    let faults = [Fault::NoRingFence, Fault::NoParkFence, Fault::NoRecheck];
    holds("the first of a set gets a value", first);
    finds("the first of a set gets a value", &faults, first);
    holds("the second of a set gets a value", second);
    finds("the second of a set gets a value", &faults, second);
    holds("a member with a queue gets a value", queue);
    finds("a member with a queue gets a value", &[Fault::NoRecheck], queue);
}

#[test]
fn a_task_that_waits_looks_again_when_a_call_that_blocked_is_over() {
    let model = || {
        let channel = ring_only(4).private().unwrap();
        let (tx, rx) = (channel.sender().unwrap(), channel.receiver().unwrap());
        let parker = Parker::new();
        let mut context = Context::from_waker(parker.waker());
        assert!(rx.poll_recv(&mut context).is_pending());
        let sender = thread::spawn(move || {
            tx.send(&0).unwrap();
            tx.send(&1).unwrap();
            tx
        });
        assert_eq!(rx.recv().unwrap(), 0);
        let received = loop {
            parker.park(Deadline::never());
            if let Poll::Ready(received) = rx.poll_recv(&mut context) {
                break received;
            }
        };
        assert_eq!(received.unwrap(), 1);
        drop(sender.join().unwrap());
    };
    holds("a task beside a call that blocks", model);
    finds("a task beside a call that blocks", &[Fault::OthersNotTold], model);
}

#[test]
fn a_task_that_waits_for_room_is_woken() {
    let ring = || {
        let channel = ring_only(2).private().unwrap();
        let (mut tx, rx) = (channel.sender().unwrap(), channel.receiver().unwrap());
        let sender = thread::spawn(move || {
            for value in 0..2 {
                block_on(tx.send_async(&value)).unwrap();
            }
            tx
        });
        for value in 0..2 {
            assert_eq!(rx.recv().unwrap(), value);
        }
        drop(sender.join().unwrap());
    };
    let queue = || {
        set_queue_capacity(17);
        let channel = mixed(2).private().unwrap();
        let (mut tx, rx) = (channel.sender().unwrap(), channel.receiver().unwrap());
        // Its first look at a lane rings the lane.
        assert!(rx.try_recv().unwrap_err().is_empty());
        tx.send(&0).unwrap();
        let sender = thread::spawn(move || {
            block_on(tx.send_async(&1)).unwrap();
            tx
        });
        for value in 0..2 {
            assert_eq!(rx.recv().unwrap(), value);
        }
        drop(sender.join().unwrap());
    };
    holds("a task waits for room in a ring", ring);
    finds("a task waits for room in a ring", &[Fault::NoRecheck], ring);
    holds("a task waits for room in a queue", queue);
    let faults = [Fault::QueueSpaceNotWanted, Fault::QueueSpaceNotGiven, Fault::NoRecheck];
    finds("a task waits for room in a queue", &faults, queue);
}

#[test]
fn a_call_that_blocks_hears_that_the_senders_are_gone_beside_a_listener() {
    let model = || {
        let channel = ring_only(4).private().unwrap();
        let (tx, rx) = (channel.sender().unwrap(), channel.receiver().unwrap());
        let mut context = Context::from_waker(std::task::Waker::noop());
        assert!(rx.poll_recv(&mut context).is_pending());
        let sender = thread::spawn(move || tx.send(&0).unwrap());
        assert_eq!(rx.recv().unwrap(), 0);
        assert!(rx.recv().unwrap_err().is_disconnected());
        sender.join().unwrap();
    };
    holds("senders gone beside a listener", model);
    finds("senders gone beside a listener", &[Fault::ListenerTrusted], model);
}
