//! Several receivers of one queue: a value is one receiver's at a time, and never stays behind.

use std::panic::catch_unwind;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Waker};

use loom::thread;

use super::{finds, finds_killed, holds, holds_killed, process_with_receiver, ring_only};
use crate::codec::{Bincode, Bytes, Raw};
use crate::model::{check_kills_to, check_to, expire_deadlines, set_queue_capacity};
use crate::sys::Fault;
use crate::verify::fault::with_fault;
use crate::{Channel, Options, Receiver};

/// Options for a queue with so many receivers.
fn shared(receivers: usize) -> Options<u8, Bincode> {
    ring_only(2).inline_limit(1).capacity(0).receivers(receivers)
}

/// Receives until all senders are gone and no value is left, or in hand of another.
fn receive_all(rx: &Receiver<u8>) -> Vec<u8> {
    let mut values = Vec::new();
    loop {
        match rx.recv() {
            Ok(value) => values.push(value),
            Err(error) => {
                assert!(error.is_disconnected(), "{error}");
                return values;
            }
        }
    }
}

#[test]
fn each_value_goes_to_one_of_two_receivers() {
    let model = || {
        let channel = shared(2).private().unwrap();
        let tx = channel.sender().unwrap();
        let [one, two] = [channel.receiver().unwrap(), channel.receiver().unwrap()];
        tx.send(&1).unwrap();
        tx.send(&2).unwrap();
        let other = thread::spawn(move || {
            let job = one.recv_guard().unwrap();
            let value = *job;
            assert_eq!(job.deliveries(), 1);
            job.done();
            (one, value)
        });
        let value = two.recv().unwrap();
        let (one, other) = other.join().unwrap();
        assert_eq!(value + other, 3, "{value} and {other}");
        assert!(one.try_recv().unwrap_err().is_empty());
        drop((one, two, tx));
    };
    holds("two receivers, two values", model);
    finds("two receivers, two values", &[Fault::OwnerNotAsked], model);
}

/// The first receiver sleeps, as a task does, and does not look when it is woken.
#[test]
fn a_value_wakes_every_receiver_that_sleeps() {
    let model = || {
        let channel = shared(2).private().unwrap();
        let tx = channel.sender().unwrap();
        let [idle, rx] = [channel.receiver().unwrap(), channel.receiver().unwrap()];
        let mut context = Context::from_waker(Waker::noop());
        assert!(idle.poll_recv(&mut context).is_pending());
        let sender = thread::spawn(move || {
            tx.send(&1).unwrap();
            tx
        });
        assert_eq!(rx.recv().unwrap(), 1);
        drop((sender.join().unwrap(), idle));
    };
    holds("one of two is busy elsewhere", model);
    // The queue's lock does what the fences do.
    let faults = [Fault::OneReceiverRung, Fault::NoRecheck];
    finds("one of two is busy elsewhere", &faults, model);
}

/// One receiver is killed at any step of receiving and handing over, the senders are gone, and the
/// other receives what is left.
#[test]
fn a_value_whose_receiver_is_killed_comes_to_another_once() {
    let model = |step| {
        let channel = shared(2).private().unwrap();
        let tx = channel.sender().unwrap();
        let (process, victim) = process_with_receiver(&channel);
        let rx = channel.receiver().unwrap();
        tx.send(&1).unwrap();
        drop(tx);
        let handing_over = Arc::new(AtomicBool::new(false));
        let told = handing_over.clone();
        let dying = process.kill_at(step).spawn(move || {
            // Not there if the other has it.
            let value = victim.try_recv_guard().ok().map(|job| {
                told.store(true, Ordering::Relaxed);
                let value = job.done();
                told.store(false, Ordering::Relaxed);
                value
            });
            std::mem::forget(victim);
            value
        });
        // It begins by now, unless loom has it otherwise.
        thread::yield_now();
        let mut values = receive_all(&rx);
        values.extend(dying.join().flatten());
        // Killed in the moment of the hand-over, it takes the value along.
        assert!(values == [1] || values.is_empty() && handing_over.load(Ordering::Relaxed));
    };
    // Threads change where they block, and at the end: both wait for one another in many ways.
    let (steps, executions) = check_kills_to(0, model);
    println!("one of two receivers killed: at each of {steps} steps, {executions} executions");
    let broken = || with_fault(Fault::NoUndo, || check_kills_to(0, model));
    assert!(catch_unwind(broken).is_err(), "NoUndo was not found");
}

/// A dead receiver left a value, and two others look for it at one time.
#[test]
fn a_value_that_a_dead_receiver_left_is_claimed_by_one() {
    let model = || {
        let channel = shared(3).private().unwrap();
        let tx = channel.sender().unwrap();
        let (process, dead) = process_with_receiver(&channel);
        let [one, two] = [channel.receiver().unwrap(), channel.receiver().unwrap()];
        tx.send(&1).unwrap();
        process.enter(|| std::mem::forget(dead.recv_guard().unwrap()));
        process.spawn(move || std::mem::forget(dead)).join();
        let received = |rx: &Receiver<u8>| match rx.try_recv_guard() {
            Ok(job) => {
                assert_eq!(job.deliveries(), 2);
                job.done();
                true
            }
            Err(error) => {
                assert!(error.is_empty(), "{error}");
                false
            }
        };
        let other = thread::spawn(move || (received(&one), one));
        let mine = received(&two);
        let (theirs, one) = other.join().unwrap();
        assert!(mine != theirs, "one of them has it");
        drop((one, two, tx));
    };
    holds("two claim a dead one's value", model);
    finds("two claim a dead one's value", &[Fault::ClaimNotExclusive], model);
}

/// Another receiver takes the dead one's place before those that the kernel rang have looked, and receives
/// nothing itself.
#[test]
fn a_value_of_a_dead_receiver_is_found_although_another_has_its_place() {
    let model = || {
        let channel = shared(2).private().unwrap();
        let tx = channel.sender().unwrap();
        let (process, dead) = process_with_receiver(&channel);
        let rx = channel.receiver().unwrap();
        tx.send(&1).unwrap();
        process.enter(|| std::mem::forget(dead.recv_guard().unwrap()));
        let receiving = thread::spawn(move || {
            assert_eq!(rx.recv().unwrap(), 1);
            rx
        });
        // It waits by now, unless loom has it otherwise.
        thread::yield_now();
        process.spawn(move || std::mem::forget(dead)).join();
        let successor = channel.receiver().unwrap();
        drop((receiving.join().unwrap(), successor, tx));
    };
    holds("a dead receiver's place is taken", model);
    finds("a dead receiver's place is taken", &[Fault::SuccessorNotTold], model);
}

#[test]
fn a_value_that_is_given_back_wakes_another_receiver() {
    let model = || {
        let channel = shared(2).private().unwrap();
        let tx = channel.sender().unwrap();
        let [one, two] = [channel.receiver().unwrap(), channel.receiver().unwrap()];
        tx.send(&1).unwrap();
        let job = one.recv_guard().unwrap();
        let other = thread::spawn(move || {
            let job = two.recv_guard().unwrap();
            assert_eq!((*job, job.deliveries()), (1, 2));
            job.done();
            two
        });
        drop(job);
        drop((other.join().unwrap(), one, tx));
    };
    holds("a value is given back", model);
    let faults = [Fault::GiveBackNotRung, Fault::NoRingFence, Fault::NoParkFence, Fault::NoRecheck];
    finds("a value is given back", &faults, model);
}

/// A receiver is killed while it gives a value back: the other has it, and once.
#[test]
fn a_value_is_given_back_also_by_one_that_is_killed_meanwhile() {
    let model = |step| {
        let channel = shared(2).private().unwrap();
        let tx = channel.sender().unwrap();
        let (process, victim) = process_with_receiver(&channel);
        let rx = channel.receiver().unwrap();
        tx.send(&1).unwrap();
        let dying = process.kill_at(step).spawn(move || {
            drop(victim.try_recv_guard());
            std::mem::forget(victim);
        });
        assert_eq!(rx.recv().unwrap(), 1);
        dying.join();
        expire_deadlines();
        assert!(rx.try_recv().unwrap_err().is_empty());
        drop((rx, tx));
    };
    holds_killed("killed while it gives back", model);
    let faults = [Fault::NoUndo, Fault::ReceiverBellsNotArmed];
    finds_killed("killed while it gives back", &faults, model);
}

#[test]
fn a_receiver_hears_of_the_end_when_the_last_value_in_hand_is_handed_over() {
    let model = || {
        let channel = shared(2).private().unwrap();
        let tx = channel.sender().unwrap();
        let [one, two] = [channel.receiver().unwrap(), channel.receiver().unwrap()];
        tx.send(&1).unwrap();
        drop(tx);
        let job = one.recv_guard().unwrap();
        let other = thread::spawn(move || {
            assert_eq!(receive_all(&two), []);
            two
        });
        job.done();
        drop((other.join().unwrap(), one));
    };
    holds("the last value in hand", model);
    finds("the last value in hand", &[Fault::HandOverNotRung], model);
}

#[test]
fn a_receiver_waits_for_the_last_value_in_hand_which_may_be_given_back() {
    let model = || {
        let channel = shared(2).private().unwrap();
        let tx = channel.sender().unwrap();
        let [one, two] = [channel.receiver().unwrap(), channel.receiver().unwrap()];
        tx.send(&1).unwrap();
        drop(tx);
        let job = one.recv_guard().unwrap();
        let other = thread::spawn(move || {
            assert_eq!(receive_all(&two), [1]);
            two
        });
        drop(job);
        drop((other.join().unwrap(), one));
    };
    holds("the last value is given back", model);
    let faults = [Fault::OthersNotAwaited, Fault::GiveBackNotRung];
    finds("the last value is given back", &faults, model);
}

/// A sender waits for as much room as two receivers make together.
#[test]
fn room_that_two_receivers_make_together_wakes_a_sender_although_both_are_busy_then() {
    let model = || {
        set_queue_capacity(34);
        let options = Channel::<Bytes, Raw>::options().lanes(1).inline_limit(18).capacity(0);
        let channel = options.receivers(2).private().unwrap();
        let tx = channel.sender().unwrap();
        let [one, two] = [channel.receiver().unwrap(), channel.receiver().unwrap()];
        let value = |len| Bytes::from(vec![7; len]);
        tx.send(&value(1)).unwrap();
        tx.send(&value(1)).unwrap();
        let sender = thread::spawn(move || {
            tx.send(&value(18)).unwrap();
            tx
        });
        let receiving = thread::spawn(move || {
            assert_eq!(two.recv().unwrap(), value(1));
            two
        });
        assert_eq!(one.recv().unwrap(), value(1));
        let two = receiving.join().unwrap();
        // Neither looks again.
        drop(sender.join().unwrap());
        assert_eq!(one.try_recv().unwrap(), value(18));
        drop(two);
    };
    // Three threads in a hundred steps.
    let executions = check_to(1, model);
    println!("room for a long message: {executions} executions");
    finds("room for a long message", &[Fault::RoomCounted, Fault::QueueSpaceNotGiven], model);
}
