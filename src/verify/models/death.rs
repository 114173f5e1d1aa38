//! Death at every step, and the successor.

use std::cell::RefCell;
use std::sync::{Arc, Mutex};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{
    finds_killed, holds_killed, mixed, open, process_with_receiver, process_with_sender, ring_only,
};
use crate::codec::Schema;
use crate::model::Process;
use crate::sys::Fault;
use crate::{Channel, Options, Receiver, Select};

type Log = Arc<Mutex<Vec<u8>>>;

fn rest(rx: &Receiver<u8>) -> Vec<u8> {
    rx.iter().map(|value| value.unwrap()).collect()
}

/// A sender is killed; the receiver wakes, has what was sent, and the lane serves another.
fn sender_killed(options: Options<u8, crate::codec::Bincode>, step: usize) {
    let channel = options.private().unwrap();
    let rx = channel.receiver().unwrap();
    let (process, tx) = process_with_sender(&channel);
    let returned = Log::default();
    let sender = process.kill_at(step).spawn({
        let returned = returned.clone();
        move || {
            for value in [1, 2] {
                tx.send(&value).unwrap();
                returned.lock().unwrap().push(value);
            }
        }
    });
    let got = rest(&rx);
    sender.join();
    assert!([1, 2].starts_with(&got), "{got:?}");
    assert!(got.starts_with(&returned.lock().unwrap()), "a value that was sent is delivered");
    let next = channel.sender().unwrap();
    for value in [7, 8, 9] {
        next.send(&value).unwrap();
        assert_eq!(rx.recv().unwrap(), value);
    }
}

#[test]
fn a_killed_sender_loses_nothing_and_its_lane_serves_another() {
    let model = |step| sender_killed(ring_only(4), step);
    holds_killed("sender killed, ring only", model);
    finds_killed(
        "sender killed, ring only",
        &[Fault::NoUndo, Fault::ItemsBellNotArmed, Fault::NoLastLook],
        model,
    );
}

#[test]
fn a_killed_sender_loses_no_message() {
    let model = |step| sender_killed(mixed(4), step);
    holds_killed("sender killed, queue", model);
    finds_killed("sender killed, queue", &[Fault::NoUndo, Fault::EventsBelieved], model);
}

/// A sender is killed with records in its ring; the next owner of the lane goes on behind them.
fn lane_taken_over(step: usize) {
    let channel = ring_only(8).private().unwrap();
    let (process, tx) = process_with_sender(&channel);
    let returned = Log::default();
    let sender = process.kill_at(step).spawn({
        let returned = returned.clone();
        move || {
            for value in [1, 2] {
                tx.send(&value).unwrap();
                returned.lock().unwrap().push(value);
            }
        }
    });
    sender.join();
    let next = channel.sender().unwrap();
    next.send(&9).unwrap();
    drop(next);
    let got = rest(&channel.receiver().unwrap());
    let (last, first) = got.split_last().unwrap();
    assert_eq!(*last, 9);
    assert!([1, 2].starts_with(first) && first.starts_with(&returned.lock().unwrap()), "{got:?}");
}

#[test]
fn a_lane_goes_on_behind_the_records_of_its_dead_owner() {
    holds_killed("lane taken over", lane_taken_over);
    finds_killed("lane taken over", &[Fault::NoWalk], lane_taken_over);
}

thread_local! {
    /// What was decoded, by whomever.
    static DECODED: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// A value that tells when its decoding began: before, its receiver must not have handed it over.
#[derive(Debug, PartialEq, Eq, Clone, Copy)]
struct Logged(u8);

impl Serialize for Logged {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Logged {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = u8::deserialize(deserializer)?;
        DECODED.with_borrow_mut(|decoded| decoded.push(value));
        Ok(Logged(value))
    }
}

/// The same in two bytes, so that it is too long for a message of one.
#[derive(Debug, PartialEq, Eq, Clone, Copy, Serialize, Deserialize)]
struct Wide(u8, Logged);

impl From<u8> for Logged {
    fn from(value: u8) -> Self {
        Logged(value)
    }
}

impl From<u8> for Wide {
    fn from(value: u8) -> Self {
        Wide(0, Logged(value))
    }
}

impl From<Logged> for u8 {
    fn from(value: Logged) -> Self {
        value.0
    }
}

impl From<Wide> for u8 {
    fn from(value: Wide) -> Self {
        value.1.0
    }
}

/// A receiver is killed while values are sent; the next one has exactly the rest.
fn receiver_killed<V>(inline_limit: usize, step: usize)
where
    V: Serialize + DeserializeOwned + From<u8> + Into<u8> + std::fmt::Debug + 'static,
{
    DECODED.with_borrow_mut(Vec::clear);
    let options = Channel::<V>::options().lanes(1).capacity(512).inline_limit(inline_limit);
    let options = options.schema(Schema::named("logged", 1)).durable();
    let channel = options.create("mailbox").unwrap();
    let tx = channel.sender().unwrap();
    let process = Process::new();
    let handle = channel.handle();
    let rx = process.enter(|| options.open(handle).unwrap().receiver().unwrap());
    let taken = Log::default();
    tx.send(&V::from(1)).unwrap();
    let receiver = process.kill_at(step).spawn({
        let taken = taken.clone();
        move || {
            for _ in 0..2 {
                let value = rx.recv().unwrap();
                taken.lock().unwrap().push(value.into());
            }
        }
    });
    tx.send(&V::from(2)).unwrap();
    receiver.join();
    tx.send(&V::from(3)).unwrap();
    let decoded = DECODED.with_borrow(Vec::clone);
    let rx = channel.receiver().unwrap();
    let mut got = taken.lock().unwrap().clone();
    let handed_over = got.len() as u8 + 1;
    let next = std::iter::repeat_with(|| -> u8 { rx.recv().unwrap().into() });
    let rest: Vec<u8> = next.take_while(|&value| value != 3).collect();
    if got.len() + rest.len() == 1 {
        // A kill between the hand-over and the return takes that one value along.
        assert!(decoded.contains(&handed_over), "{handed_over} was never looked at, and is gone");
        got.push(handed_over);
    }
    got.extend(&rest);
    assert_eq!(got, [1, 2]);
    assert!(rx.try_recv().unwrap_err().is_empty());
    drop((rx, tx));
    Channel::<V>::unlink("mailbox").unwrap();
}

#[test]
fn the_next_receiver_has_exactly_what_a_killed_one_had_not_handed_over() {
    let model = |step| receiver_killed::<Logged>(0, step);
    holds_killed("receiver killed, ring only", model);
    finds_killed("receiver killed, ring only", &[Fault::HeadIgnored, Fault::NoUndo], model);
}

#[test]
fn a_message_in_the_hand_of_a_killed_receiver_is_the_next_ones() {
    let model = |step| receiver_killed::<Logged>(1, step);
    holds_killed("receiver killed, queue", model);
    finds_killed("receiver killed, queue", &[Fault::SlotClearedEarly, Fault::NoUndo], model);
}

#[test]
fn a_large_value_in_the_hand_of_a_killed_receiver_is_the_next_ones() {
    let model = |step| receiver_killed::<Wide>(1, step);
    holds_killed("receiver killed, descriptor", model);
    finds_killed("receiver killed, descriptor", &[Fault::SlotClearedEarly, Fault::NoUndo], model);
}

/// A receiver is killed; a sender that waits for room hears of it.
fn sender_hears(step: usize) {
    let channel = ring_only(2).private().unwrap();
    let (process, rx) = process_with_receiver(&channel);
    let tx = channel.sender().unwrap();
    let receiver = process.kill_at(step).spawn(move || rx.recv().is_ok());
    let mut sent = 0;
    let error = loop {
        match tx.send(&sent) {
            Ok(()) => sent += 1,
            Err(error) => break error,
        }
    };
    assert!(error.is_disconnected(), "{error}");
    assert!((1..=2).contains(&sent));
    receiver.join();
}

#[test]
fn a_blocked_sender_wakes_when_the_receiver_dies() {
    holds_killed("sender waits, receiver killed", sender_hears);
    finds_killed(
        "sender waits, receiver killed",
        &[Fault::NoUndo, Fault::LaneBellsNotArmed],
        sender_hears,
    );
}

#[test]
fn one_of_two_contenders_has_the_receivers_role() {
    let model = |step| {
        let channel = ring_only(2).private().unwrap();
        let handle = channel.handle();
        let other = crate::model::Process::new();
        let theirs = other.enter(|| open(handle));
        let other = other.kill_at(step).spawn(move || theirs.receiver().map(|rx| (theirs, rx)));
        let mine = channel.receiver();
        let theirs = other.join();
        if let Some(theirs) = theirs {
            assert!(mine.is_ok() || theirs.is_ok());
        } else if let Err(error) = &mine {
            assert!(matches!(error, crate::AttachError::ReceiverExists { .. }), "{error}");
        }
        // The process that had it has gone since, however it went.
        drop(mine);
        assert!(channel.receiver().is_ok());
    };
    holds_killed("two contenders", model);
    finds_killed("two contenders", &[Fault::NoUndo], model);
}

#[test]
fn two_receivers_are_never_attached_at_once() {
    let model = || {
        let channel = ring_only(2).private().unwrap();
        let other = channel.clone();
        let thread = loom::thread::spawn(move || other.receiver());
        let mine = channel.receiver();
        let theirs = thread.join().unwrap();
        assert!(mine.is_ok() != theirs.is_ok(), "exactly one has the role");
    };
    super::holds("exactly one receiver", model);
    super::finds("exactly one receiver", &[Fault::RoleNotChecked], model);
}

#[test]
fn selection_passes_over_what_a_dead_receiver_had_in_hand() {
    let model = |step| {
        let channel = mixed(2).durable().create("selected").unwrap();
        let tx = channel.sender().unwrap();
        let tag = |number| crate::Tag::new(number).unwrap();
        tx.send_tagged(tag(5), &5).unwrap();
        tx.send_tagged(tag(6), &6).unwrap();
        let (process, rx) = process_with_receiver(&channel);
        let dead = process.kill_at(step).spawn(move || rx.recv().unwrap());
        let first = dead.join();
        let rx = channel.receiver().unwrap();
        let six = rx.recv_matching(Select::Exactly(tag(6))).unwrap();
        assert_eq!((six.tag, six.value), (tag(6), 6));
        match rx.try_recv() {
            Ok(value) => assert!(value == 5 && first.is_none()),
            // Received, or handed over in the moment of death.
            Err(error) => assert!(error.is_empty()),
        }
        drop((rx, tx));
        Channel::<u8>::unlink("selected").unwrap();
    };
    holds_killed("selection after a death", model);
    finds_killed("selection after a death", &[Fault::NoUndo], model);
}
