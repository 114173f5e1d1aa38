//! Replies through the lane that a value came by: to the sender that asked, or to none.

use loom::thread;

use super::{finds, finds_killed, holds, holds_killed, mixed, process_with_receiver, ring_only};
use crate::codec::Bincode;
use crate::model::check_to;
use crate::sys::{Deadline, Fault};
use crate::{Channel, Options, Receiver};

/// A feed with one lane and a way back.
fn both_ways() -> Options<u8, Bincode> {
    ring_only(2).return_capacity(2 * 64)
}

/// Answers so many values, each with ten more; the sender that asked may be gone.
fn answer(rx: &Receiver<u8>, values: usize) {
    for _ in 0..values {
        let Ok((value, origin)) = rx.recv_from() else { return };
        if let Err(error) = rx.send_back(origin, &(value + 10)) {
            assert!(error.is_disconnected(), "{error}");
        }
    }
}

#[test]
fn a_reply_wakes_who_asked() {
    let model = |options: fn() -> Options<u8, Bincode>| {
        let channel = options().private().unwrap();
        let (tx, rx) = (channel.sender().unwrap(), channel.receiver().unwrap());
        let receiver = thread::spawn(move || {
            answer(&rx, 2);
            rx
        });
        for value in 0..2 {
            tx.send(&value).unwrap();
            assert_eq!(tx.recv_back::<u8>().unwrap(), value + 10);
        }
        drop(receiver.join().unwrap());
        assert!(tx.recv_back::<u8>().unwrap_err().is_disconnected());
    };
    let by_ring = move || model(both_ways);
    holds("ask and reply, ring only", by_ring);
    finds("ask and reply, ring only", &[Fault::NoRingFence, Fault::NoRecheck], by_ring);
    let by_queue = move || model(|| mixed(2).return_capacity(2 * 64));
    holds("ask and reply, mixed", by_queue);
    finds("ask and reply, mixed", &[Fault::NoRecheck], by_queue);
}

#[test]
fn a_reply_never_reaches_the_next_owner_of_the_lane() {
    let model = || {
        // Durable, so that the receiver stays while there is no sender. Room for a reply to the
        // former owner beside the one to the next.
        let options = ring_only(2).return_capacity(4 * 64).durable();
        let channel = options.create("replies").unwrap();
        let rx = channel.receiver().unwrap();
        let first = channel.sender().unwrap();
        first.send(&1).unwrap();
        let receiver = thread::spawn(move || {
            answer(&rx, 1);
            rx
        });
        drop(first);
        let second = channel.sender().unwrap();
        let rx = receiver.join().unwrap();
        assert!(second.try_recv_back::<u8>().unwrap_err().is_empty());
        second.send(&2).unwrap();
        answer(&rx, 1);
        assert_eq!(second.try_recv_back::<u8>().unwrap(), 12);
        drop((second, rx, channel));
        Channel::<u8>::unlink("replies").unwrap();
    };
    holds("reply against a change of owner", model);
    let faults = [Fault::ReplyNotAddressed, Fault::OwnerRelaxed];
    finds("reply against a change of owner", &faults, model);
}

#[test]
fn a_reply_in_fragments_arrives_whole() {
    let model = || {
        let channel = ring_only(2).return_capacity(4 * 64).private().unwrap();
        let (tx, rx) = (channel.sender().unwrap(), channel.receiver().unwrap());
        let answer: Vec<u8> = (0..170).collect();
        let receiver = thread::spawn(move || {
            let (_, origin) = rx.recv_from().unwrap();
            // More than the ring holds: it begins at once, and again once that does not suffice.
            rx.send_back(origin, &answer).unwrap();
            assert_eq!(rx.recv().unwrap(), 2);
        });
        tx.send(&1).unwrap();
        assert!(tx.recv_back::<Vec<u8>>().unwrap().into_iter().eq(0..170));
        tx.send(&2).unwrap();
        receiver.join().unwrap();
    };
    // Two preemptions are 40 seconds.
    let executions = check_to(1, model);
    println!("a reply in fragments: {executions} executions");
    let faults = [Fault::HalfReplyKept, Fault::NoRecheck, Fault::NoRingFence];
    finds("a reply in fragments", &faults, model);
}

#[test]
fn a_reply_is_seen_although_another_receiver_has_come() {
    let model = || {
        let channel = both_ways().private().unwrap();
        let (tx, first) = (channel.sender().unwrap(), channel.receiver().unwrap());
        let receiver = tx.await_receiver(Deadline::never()).unwrap();
        tx.send(&1).unwrap();
        let receivers = thread::spawn(move || {
            answer(&first, 1);
            drop(first);
            channel.receiver().unwrap()
        });
        let answered = tx.wait_for_reply_of(receiver, Deadline::never(), |mut reader| {
            reader.read_array::<1>().ok().map(|[answer]| answer)
        });
        assert_eq!(answered.unwrap(), 11);
        drop(receivers.join().unwrap());
    };
    holds("reply against a change of receiver", model);
    finds("reply against a change of receiver", &[Fault::ReceiverRelaxed], model);
}

#[test]
fn a_reply_is_seen_although_its_receiver_is_gone_and_another_has_come() {
    let model = || {
        let channel = both_ways().private().unwrap();
        let (tx, first) = (channel.sender().unwrap(), channel.receiver().unwrap());
        let end = tx.send_behind::<_, Bincode>(&[], &1_u8, Deadline::never(), |_| ()).unwrap();
        let receivers = thread::spawn(move || {
            answer(&first, 1);
            drop(first);
            channel.receiver().unwrap()
        });
        let never = Deadline::never();
        let answered = tx.wait_for_reply(
            end,
            never,
            true,
            || false,
            |mut reader| reader.read_array::<1>().ok().map(|[answer]| answer),
        );
        assert_eq!(answered.unwrap(), 11);
        drop(receivers.join().unwrap());
    };
    holds("reply of a receiver that is gone", model);
    finds("reply of a receiver that is gone", &[Fault::ReceiverStartRelaxed], model);
}

#[test]
fn a_sender_that_waits_for_a_reply_hears_of_the_receivers_death() {
    let model = |step| {
        let channel = both_ways().private().unwrap();
        let (process, rx) = process_with_receiver(&channel);
        let tx = channel.sender().unwrap();
        let receiver = process.kill_at(step).spawn(move || answer(&rx, 1));
        let sent = tx.send(&1);
        match tx.recv_back::<u8>() {
            Ok(value) => assert_eq!(value, 11),
            Err(error) => assert!(error.is_disconnected(), "{error}"),
        }
        assert!(tx.recv_back::<u8>().unwrap_err().is_disconnected());
        assert!(sent.is_ok() || sent.is_err_and(|error| error.is_disconnected()));
        receiver.join();
    };
    holds_killed("the one that answers is killed", model);
    let faults = [Fault::NoUndo, Fault::LaneBellsNotArmed, Fault::NoLastLook];
    finds_killed("the one that answers is killed", &faults, model);
}
