//! Room in the queue: senders that wait for it, of whom some give up, stop or die.

use std::panic::catch_unwind;

use loom::thread;

use super::{finds, finds_killed, holds, holds_killed, mixed, process_with_sender};
use crate::channel::{look_at_line, stay_in_line};
use crate::model::{check_kills_to, check_to, expire_deadlines, set_queue_capacity};
use crate::sys::Fault;
use crate::sys::model::{SHORT, let_short_times_pass};
use crate::verify::fault::with_fault;
use crate::{Channel, Receiver};

/// A channel for two senders, whose queue has room for one message.
fn narrow() -> Channel<u8> {
    set_queue_capacity(17);
    let channel = mixed(2).lanes(2).private().unwrap();
    set_queue_capacity(16_384);
    channel
}

/// Receives until `last` came; says what came before it.
fn receive_until(rx: &Receiver<u8>, last: u8) -> Vec<u8> {
    let values = std::iter::repeat_with(|| rx.recv().unwrap());
    values.take_while(|&value| value != last).collect()
}

/// One of two senders that wait ends before it has sent; the other has its turn.
fn one_ends(step: usize, stops: bool) {
    let channel = narrow();
    // Its turn comes first.
    let (process, other) = process_with_sender(&channel);
    let (tx, rx) = (channel.sender().unwrap(), channel.receiver().unwrap());
    // The receiver rings each sender when it first looks at its ring, which would hide a wake-up that
    // was lost.
    assert!(rx.try_recv().unwrap_err().is_empty());
    tx.send(&0).unwrap();
    let process = if stops { process.stop_at(step) } else { process.kill_at(step) };
    let ending = process.spawn(move || {
        other.send(&1).unwrap();
        std::mem::forget(other);
    });
    let sender = thread::spawn(move || {
        tx.send(&2).unwrap();
        tx
    });
    // Both wait by now, unless loom has it otherwise.
    thread::yield_now();
    let before = receive_until(&rx, 2);
    assert!(before == [0] || before == [0, 1], "{before:?}");
    ending.join();
    // A goodbye rings, and would hide a wake-up that was lost.
    drop(sender.join().unwrap());
}

/// Checks the model with the one ending at each of its steps, and with each fault, which loom has to
/// find. Three threads in fifty steps: threads change where they block, and at the end.
fn a_waiting_sender_ends(name: &str, stops: bool, faults: &[Fault]) {
    let model = move |step| one_ends(step, stops);
    let (steps, executions) = check_kills_to(0, model);
    println!("{name}: at each of {steps} steps, {executions} executions");
    for &fault in faults {
        let broken = || with_fault(fault, || check_kills_to(0, model));
        assert!(catch_unwind(broken).is_err(), "{name}: {fault:?} was not found");
        println!("{name}: found {fault:?}");
    }
}

#[test]
fn a_waiting_sender_that_is_killed_keeps_no_other_from_its_turn() {
    a_waiting_sender_ends("waiting sender killed", false, &[Fault::QueueSpaceNotGiven]);
}

#[test]
fn a_waiting_sender_that_is_stopped_keeps_no_other_from_its_turn() {
    let faults = [Fault::FullNotRung, Fault::RestNotWoken];
    a_waiting_sender_ends("waiting sender stopped", true, &faults);
}

#[test]
fn a_sender_behind_one_that_is_gone_never_waits_for_a_receiver_that_sleeps() {
    let model = || {
        let channel = narrow();
        let (gone, tx) = (channel.sender().unwrap(), channel.sender().unwrap());
        let rx = channel.receiver().unwrap();
        stay_in_line(&gone);
        look_at_line(&tx);
        let sender = thread::spawn(move || {
            tx.send(&2).unwrap();
            tx
        });
        assert_eq!(rx.recv().unwrap(), 2);
        drop((gone, sender.join().unwrap()));
    };
    holds("behind one that is gone", model);
    finds("behind one that is gone", &[Fault::YieldsToSleeper, Fault::NoYieldFence], model);
}

#[test]
fn two_senders_that_wait_for_room_both_have_their_turn() {
    let model = || {
        let channel = narrow();
        let rx = channel.receiver().unwrap();
        let senders = [1_u8, 2].map(|value| (value, channel.sender().unwrap()));
        senders[0].1.send(&0).unwrap();
        let senders = senders.map(|(value, tx)| {
            thread::spawn(move || {
                tx.send(&value).unwrap();
                tx
            })
        });
        let sum: u8 = (0..3).map(|_| rx.recv().unwrap()).sum();
        assert_eq!(sum, 1 + 2);
        for sender in senders {
            drop(sender.join().unwrap());
        }
    };
    let executions = check_to(1, model);
    println!("two wait for room: {executions} executions");
    finds("two wait for room", &[Fault::QueueSpaceNotGiven, Fault::NoRecheck], model);
}

#[test]
fn a_receiver_that_only_polls_wakes_those_that_wait() {
    let model = |step| {
        let channel = narrow();
        let (tx, rx) = (channel.sender().unwrap(), channel.receiver().unwrap());
        tx.send(&0).unwrap();
        let (process, other) = process_with_sender(&channel);
        let stopping = process.stop_at(step).spawn(move || other.send(&1).unwrap());
        let sender = thread::spawn(move || tx.send(&2).unwrap());
        let mut got = Vec::new();
        while got.last() != Some(&2) {
            match rx.try_recv() {
                Ok(value) => got.push(value),
                Err(error) => {
                    assert!(error.is_empty(), "{error}");
                    // Time passes for a receiver that polls.
                    expire_deadlines();
                    thread::yield_now();
                }
            }
        }
        stopping.join();
        sender.join().unwrap();
    };
    holds_killed("waiting sender stopped, receiver polls", model);
    finds_killed("waiting sender stopped, receiver polls", &[Fault::RestNotWoken], model);
}

/// One of two senders that wait is killed in line, and the receiver receives nothing while the other
/// has room.
#[test]
fn a_killed_sender_leaves_its_room_to_the_next_although_the_receiver_is_busy_elsewhere() {
    let model = |step| {
        let channel = narrow();
        let (process, other) = process_with_sender(&channel);
        let (tx, rx) = (channel.sender().unwrap(), channel.receiver().unwrap());
        assert!(rx.try_recv().unwrap_err().is_empty());
        tx.send(&0).unwrap();
        let dying = process.kill_at(step).spawn(move || {
            other.send(&1).unwrap();
            std::mem::forget(other);
        });
        let sender = thread::spawn(move || {
            tx.send(&2).unwrap();
            tx.send(&3).unwrap();
            tx
        });
        // Both wait by now, unless loom has it otherwise.
        thread::yield_now();
        assert_eq!(rx.recv().unwrap(), 0);
        let second = rx.recv().unwrap();
        dying.join();
        // One more where the killed sender's stands in the way. That is asked without a look for
        // values, which would wake a sender that waits.
        if second == 1 || !rx.is_empty().unwrap() {
            rx.recv().unwrap();
        }
        drop(sender.join().unwrap());
    };
    let (steps, executions) = check_kills_to(0, model);
    println!("killed in line: at each of {steps} steps, {executions} executions");
    for fault in [Fault::LineNotArmed, Fault::DeadKeepPlace] {
        let broken = || with_fault(fault, || check_kills_to(0, model));
        assert!(catch_unwind(broken).is_err(), "{fault:?} was not found");
        println!("killed in line: found {fault:?}");
    }
}

/// A sender dies with its turn, and its lane has a new owner before the other looks for the dead.
#[test]
fn a_sender_that_takes_the_lane_of_a_dead_one_passes_its_turn_on() {
    let model = || {
        let channel = narrow();
        let (process, gone) = process_with_sender(&channel);
        process.enter(|| stay_in_line(&gone));
        let (tx, rx) = (channel.sender().unwrap(), channel.receiver().unwrap());
        look_at_line(&tx);
        let sender = thread::spawn(move || {
            tx.send(&2).unwrap();
            tx
        });
        // It waits by now, unless loom has it otherwise.
        thread::yield_now();
        process.spawn(|| std::mem::forget(gone)).join();
        let successor = channel.sender().unwrap();
        // There is room, and the receiver is busy with something else.
        drop((sender.join().unwrap(), successor));
        assert_eq!(rx.recv().unwrap(), 2);
    };
    holds("lane of a dead one taken", model);
    finds("lane of a dead one taken", &[Fault::DeadTurnForgotten], model);
}

#[test]
fn a_sender_that_gives_up_leaves_its_turn_to_the_next_although_the_receiver_is_busy_elsewhere() {
    let model = || {
        let channel = narrow();
        let other = channel.sender().unwrap();
        let (tx, rx) = (channel.sender().unwrap(), channel.receiver().unwrap());
        assert!(rx.try_recv().unwrap_err().is_empty());
        tx.send(&0).unwrap();
        let giving_up = thread::spawn(move || {
            let sent = other.send_timeout(&1, SHORT).is_ok();
            (other, sent)
        });
        let sender = thread::spawn(move || {
            tx.send(&2).unwrap();
            tx
        });
        thread::yield_now();
        let_short_times_pass();
        assert_eq!(rx.recv().unwrap(), 0);
        let (other, sent) = giving_up.join().unwrap();
        if sent {
            rx.recv().unwrap();
        }
        drop((other, sender.join().unwrap()));
    };
    let executions = check_to(1, model);
    println!("gives up its turn: {executions} executions");
    finds("gives up its turn", &[Fault::TurnKept], model);
}
