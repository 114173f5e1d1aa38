//! Messages that another program puts straight onto a channel's queue: each is reported once and
//! dropped, and the values around it arrive.

use std::thread;

use sysv_channel::codec::Raw;
use sysv_channel::{Channel, Key, RecvError, Select, SendError, Tag};

use super::kernel::{self, Kind, Object};
use super::{unique_name, watchdog};

type Bytes = Vec<u8>;

const INLINE_LIMIT: usize = 100;
/// The longest message of the channel.
const LONGEST: usize = 16 + INLINE_LIMIT;

/// A channel and its queue, as a program without this crate has it.
fn open(name: &str) -> (Channel<Bytes, Raw>, Object) {
    let options = Channel::<Bytes, Raw>::options().inline_limit(INLINE_LIMIT).capacity(4096);
    let channel = options.lanes(3).create(name).unwrap();
    let objects = kernel::objects(Key::from_name(name));
    (channel, objects.into_iter().find(|object| object.kind == Kind::Queue).unwrap())
}

/// The first 16 bytes of a message, as this crate writes them.
fn envelope(len: u32, kind: u8, zero: u8, lane: u16, last: u64) -> Bytes {
    let mut bytes = len.to_le_bytes().to_vec();
    bytes.extend([kind, zero]);
    bytes.extend(lane.to_le_bytes());
    bytes.extend(last.to_le_bytes());
    bytes
}

/// Messages that this crate never writes, and what is said about each, when lane 0 has come to a
/// position.
fn foreign(position: u64) -> Vec<(Bytes, &'static str)> {
    let with = |mut envelope: Bytes, more: usize| {
        envelope.resize(envelope.len() + more, 7);
        envelope
    };
    const INLINE: u8 = 1;
    const DESCRIPTOR: u8 = 2;
    vec![
        (vec![], "not of this crate"),
        (vec![1], "not of this crate"),
        (envelope(0, INLINE, 0, 0, 1)[..15].to_vec(), "not of this crate"),
        (b"a line of text from another program".to_vec(), "not of this crate"),
        (vec![0xff; LONGEST], "not of this crate"),
        (vec![0; LONGEST], "not of this crate"),
        (envelope(0, 0, 0, 0, 0), "not of this crate"),
        (envelope(0, 3, 0, 0, 0), "not of this crate"),
        (envelope(0, INLINE, 1, 0, 0), "not of this crate"),
        (envelope(5, INLINE, 0, 0, 1), "not of this crate"),
        (with(envelope(5, INLINE, 0, 0, 1), 4), "not of this crate"),
        (with(envelope(5, INLINE, 0, 0, 1), 6), "not of this crate"),
        (with(envelope(u32::MAX, INLINE, 0, 0, 1), 5), "not of this crate"),
        // Inline values that are right but for the lane, of which there are three.
        (with(envelope(5, INLINE, 0, 3, 1), 5), "not of this crate"),
        (with(envelope(5, INLINE, 0, u16::MAX, 1), 5), "not of this crate"),
        (vec![7; LONGEST + 1], "longer than the channel's 116 bytes"),
        (vec![7; 4000], "longer than the channel's 116 bytes"),
        (envelope(1, DESCRIPTOR, 0, 0, 0), "not of this crate"),
        (with(envelope(0, DESCRIPTOR, 0, 0, 0), 1), "not of this crate"),
        (envelope(0, DESCRIPTOR, 0, 2, 0), "not of this crate"),
        (envelope(0, DESCRIPTOR, 0, 3, 0), "not of this crate"),
        (envelope(0, DESCRIPTOR, 0, u16::MAX, 0), "not of this crate"),
        (envelope(0, DESCRIPTOR, 0, 0, position), "where no value is"),
        (envelope(0, DESCRIPTOR, 0, 0, position + 40), "where no value is"),
        (envelope(0, DESCRIPTOR, 0, 1, 0), "where no value is"),
        (envelope(0, DESCRIPTOR, 0, 0, 1 << 40), "where no value is"),
        (envelope(0, DESCRIPTOR, 0, 0, u64::MAX), "where no value is"),
    ]
}

#[test]
fn a_foreign_message_is_reported_once_and_dropped() {
    let _watchdog = watchdog("a_foreign_message_is_reported_once_and_dropped");
    let name = unique_name("foreign");
    let (channel, queue) = open(&name);
    let (tx, rx) = (channel.sender().unwrap(), channel.receiver().unwrap());
    let _other_lane = channel.sender().unwrap();
    let tag = Tag::new(5).unwrap();
    // Once with a slot that holds nothing yet, once with what earlier messages left in it.
    for round in 0..2 * foreign(0).len() {
        // A value of 1,000 bytes takes 16 of the ring's 64 lines.
        let (message, said) = foreign(16 * (1 + round as u64)).remove(round % foreign(0).len());
        // One value as a message, one as a record.
        let values = [vec![round as u8; INLINE_LIMIT], vec![round as u8; 1000]];
        tx.send_tagged(tag, &values[round % 2]).unwrap();
        assert!(queue.put(tag.get(), &message));
        tx.send_tagged(tag, &values[1 - round % 2]).unwrap();
        let select = [Select::Any, Select::Exactly(tag), Select::UpTo(tag)][round % 3];
        assert_eq!(rx.recv_matching(select).unwrap().value, values[round % 2]);
        match rx.recv_matching(select) {
            Err(RecvError::Corrupt { what, .. }) => {
                assert!(what.contains(said), "{message:?}: {what}")
            }
            other => panic!("{message:?}: {other:?}"),
        }
        assert_eq!(rx.recv_matching(select).unwrap().value, values[1 - round % 2]);
        assert!(rx.try_recv().unwrap_err().is_empty());
        assert_eq!(channel.stats().unwrap().queued, 0);
    }
}

#[test]
fn selection_passes_over_foreign_messages_too() {
    let name = unique_name("foreign selected");
    let (channel, queue) = open(&name);
    let (tx, rx) = (channel.sender().unwrap(), channel.receiver().unwrap());
    let (ours, theirs) = (Tag::new(5).unwrap(), Tag::new(6).unwrap());
    for message in [vec![1; 3], vec![1; 4000]] {
        assert!(queue.put(theirs.get(), &message));
    }
    tx.send_tagged(ours, &vec![7]).unwrap();
    assert_eq!(rx.recv_matching(Select::Except(theirs)).unwrap().value, [7]);
    let mut reported = 0;
    while let Err(RecvError::Corrupt { what, .. }) =
        rx.recv_matching_timeout(Select::Exactly(theirs), std::time::Duration::from_millis(1))
    {
        assert!(what.contains("type 6"), "{what}");
        reported += 1;
    }
    assert_eq!(reported, 2);
}

#[test]
fn a_descriptor_that_comes_twice_gives_its_value_once() {
    let name = unique_name("foreign twice");
    let (channel, queue) = open(&name);
    let (tx, rx) = (channel.sender().unwrap(), channel.receiver().unwrap());
    for round in 0..50_u8 {
        tx.send(&vec![round; 200]).unwrap();
        let copy = queue.peek();
        for _ in 0..3 {
            assert!(queue.put(1, &copy));
        }
        tx.send(&vec![round; 10]).unwrap();
        assert_eq!(rx.recv().unwrap(), [round; 200]);
        assert_eq!(rx.recv().unwrap(), [round; 10]);
        assert!(rx.try_recv().unwrap_err().is_empty());
        assert!(queue.put(1, &copy));
    }
}

#[test]
fn room_that_a_foreign_message_took_wakes_the_sender_that_waits_for_it() {
    let _watchdog = watchdog("room_that_a_foreign_message_took_wakes_the_sender_that_waits_for_it");
    for len in [50, 5000] {
        let name = unique_name("foreign full");
        let (channel, queue) = open(&name);
        let (tx, rx) = (channel.sender().unwrap(), channel.receiver().unwrap());
        while queue.put(1, &vec![9; len]) {}
        while queue.put(1, &[]) {}
        assert!(tx.try_send(&vec![1; 80]).unwrap_err().is_full());
        thread::scope(|scope| {
            let sender = scope.spawn(move || tx.send(&vec![1; 80]));
            let value = loop {
                match rx.recv() {
                    Err(RecvError::Corrupt { .. }) => {}
                    value => break value,
                }
            };
            assert_eq!(value.unwrap(), [1; 80]);
            sender.join().unwrap().unwrap();
        });
    }
}

#[test]
fn a_queue_made_smaller_than_a_message_is_an_error_and_no_hang() {
    let _watchdog = watchdog("a_queue_made_smaller_than_a_message_is_an_error_and_no_hang");
    let name = unique_name("foreign small");
    let (channel, queue) = open(&name);
    let (tx, rx) = (channel.sender().unwrap(), channel.receiver().unwrap());
    queue.set_capacity(60);
    // What still fits goes; what never will says so, on each kind of call.
    tx.send(&vec![1; 44]).unwrap();
    let hour = std::time::Duration::from_secs(3600);
    for len in [45, INLINE_LIMIT] {
        let value = vec![2; len];
        for refused in [tx.send(&value), tx.try_send(&value), tx.send_timeout(&value, hour)] {
            let error = refused.unwrap_err();
            let needed = 16 + len as u64;
            let small = matches!(error, SendError::QueueTooSmall { needed: of, capacity: 60, .. } if of == needed);
            assert!(small, "{error}");
            assert!(error.to_string().contains("msg_qbytes"), "{error}");
        }
    }
    assert_eq!(rx.recv().unwrap(), [1; 44]);
    // Its descriptor has 16 bytes.
    tx.send(&vec![3; 1000]).unwrap();
    assert_eq!(rx.recv().unwrap(), [3; 1000]);
    queue.set_capacity(15);
    let error = tx.send(&vec![3; 1000]).unwrap_err();
    assert!(matches!(error, SendError::QueueTooSmall { needed: 16, capacity: 15, .. }), "{error}");
    queue.set_capacity(16_384);
    for len in [1000, 5000, 10] {
        thread::scope(|scope| {
            let tx = tx.try_clone().unwrap();
            scope.spawn(move || tx.send(&vec![4; len]).unwrap());
            assert_eq!(rx.recv().unwrap(), vec![4; len]);
        });
    }
}

#[test]
fn a_sender_that_waits_when_its_queue_becomes_too_small_learns_it() {
    let _watchdog = watchdog("a_sender_that_waits_when_its_queue_becomes_too_small_learns_it");
    let name = unique_name("foreign smaller");
    let (channel, queue) = open(&name);
    let (tx, rx) = (channel.sender().unwrap(), channel.receiver().unwrap());
    let value = vec![1; INLINE_LIMIT];
    let sent = (0..).take_while(|_| tx.try_send(&value).is_ok()).count();
    thread::scope(|scope| {
        let sender = scope.spawn(move || tx.send(&value));
        while channel.stats().unwrap().sender_parks == 0 {
            thread::yield_now();
        }
        queue.set_capacity(60);
        assert_eq!(rx.recv().unwrap(), [1; INLINE_LIMIT]);
        let error = sender.join().unwrap().unwrap_err();
        assert!(
            matches!(error, SendError::QueueTooSmall { needed: 116, capacity: 60, .. }),
            "{error}"
        );
    });
    assert_eq!(rx.iter().count(), sent - 1);
}
