//! The channel within one process: paths, order, tags, waiting, limits.

use std::thread;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use sysv_channel::codec::{Bytes, Raw};
use sysv_channel::{Channel, Options, Receiver, RecvError, Select, SendError, Sender, Tag};

#[derive(Serialize, Deserialize, Debug, PartialEq, Clone)]
struct Order {
    id: u64,
    symbol: String,
    body: Bytes,
}

fn order(id: u64, len: usize) -> Order {
    let body = (0..len).map(|at| (at as u64).wrapping_mul(31).wrapping_add(id) as u8);
    Order { id, symbol: format!("S{id}"), body: body.collect::<Vec<u8>>().into() }
}

fn shapes() -> [(&'static str, Options<Order, sysv_channel::DefaultCodec>); 3] {
    let options = Channel::<Order>::options;
    [
        ("mixed", options().capacity(16 << 10).inline_limit(256)),
        ("ring only", options().capacity(16 << 10).inline_limit(0)),
        ("queue only", options().capacity(0).inline_limit(2048)),
    ]
}

fn ends(options: &Options<Order, sysv_channel::DefaultCodec>) -> (Sender<Order>, Receiver<Order>) {
    let channel = options.private().unwrap();
    (channel.sender().unwrap(), channel.receiver().unwrap())
}

#[test]
fn values_arrive_once_in_order_and_whole_on_every_path() {
    for (shape, options) in shapes() {
        let (tx, rx) = ends(&options);
        let longest = if shape == "queue only" { 1900 } else { 60_000 };
        let sender = thread::spawn(move || {
            for id in 0..3000 {
                let len = (id as usize * 7919) % if id % 50 == 0 { longest } else { 1000 };
                tx.send(&order(id, len)).unwrap();
            }
        });
        for id in 0..3000 {
            let len = (id as usize * 7919) % if id % 50 == 0 { longest } else { 1000 };
            let got = rx.recv().unwrap();
            assert_eq!(got.id, id, "{shape}");
            assert!(got == order(id, len), "{shape} {id}");
        }
        sender.join().unwrap();
        assert!(rx.recv().unwrap_err().is_disconnected(), "{shape}");
    }
}

#[test]
fn a_full_channel_refuses_and_loses_nothing() {
    for (shape, options) in shapes() {
        let (tx, rx) = ends(&options);
        let mut sent = 0;
        loop {
            match tx.try_send(&order(sent, 100)) {
                Ok(()) => sent += 1,
                Err(error) if error.is_full() => break,
                Err(error) => panic!("{shape}: {error}"),
            }
        }
        assert!(sent > 10, "{shape}: {sent}");
        let timeout = Duration::from_millis(2);
        assert!(tx.send_timeout(&order(sent, 100), timeout).unwrap_err().is_timeout());
        for id in 0..sent {
            assert_eq!(rx.try_recv().unwrap(), order(id, 100), "{shape}");
        }
        assert!(rx.try_recv().unwrap_err().is_empty(), "{shape}");
    }
}

#[test]
fn a_long_value_goes_in_fragments() {
    for (_, options) in shapes().into_iter().take(2) {
        let (tx, rx) = ends(&options);
        let sender = thread::spawn(move || {
            for (id, len) in [(0, 1 << 20), (1, 5), (2, 100_000), (3, 0), (4, 3 << 20)] {
                tx.send(&order(id, len)).unwrap();
            }
        });
        for (id, len) in [(0, 1 << 20), (1, 5), (2, 100_000), (3, 0), (4, 3 << 20)] {
            assert!(rx.recv().unwrap() == order(id, len));
        }
        sender.join().unwrap();
    }
}

#[test]
fn selection_passes_over_and_keeps_what_was_passed() {
    for (shape, options) in shapes() {
        let (tx, rx) = ends(&options);
        let tag = |number| Tag::new(number).unwrap();
        for (id, number) in [(0, 5), (1, 3), (2, 5), (3, 4), (4, 1 << 40)] {
            tx.send_tagged(tag(number), &order(id, 700)).unwrap();
        }
        if shape == "ring only" {
            let refused = rx.recv_matching(Select::Exactly(tag(3))).unwrap_err();
            assert!(matches!(refused, sysv_channel::RecvError::NoSelection { .. }));
            for number in [5, 3, 5, 4, 1 << 40] {
                assert_eq!(rx.recv_matching(Select::Any).unwrap().tag, tag(number));
            }
            continue;
        }
        let next = |select| {
            let message = rx.try_recv_matching(select).unwrap();
            assert_eq!(message.value, order(message.value.id, 700));
            (message.value.id, message.tag.get())
        };
        assert_eq!(next(Select::Exactly(tag(4))), (3, 4), "{shape}");
        assert_eq!(next(Select::UpTo(tag(5))), (1, 3), "{shape}");
        assert_eq!(next(Select::Except(tag(5))), (4, 1 << 40), "{shape}");
        assert_eq!(next(Select::Any), (0, 5), "{shape}");
        assert_eq!(next(Select::Any), (2, 5), "{shape}");
        assert!(rx.try_recv_matching(Select::Any).unwrap_err().is_empty());
    }
}

#[test]
fn many_senders_each_keep_their_order() {
    for (shape, options) in shapes() {
        let channel = options.private().unwrap();
        let rx = channel.receiver().unwrap();
        let senders: Vec<_> = (0..5u64)
            .map(|sender| {
                let tx = channel.sender().unwrap();
                thread::spawn(move || {
                    for id in 0..1000 {
                        tx.send(&order(sender << 32 | id, (id % 700) as usize)).unwrap();
                    }
                })
            })
            .collect();
        let mut next = [0; 5];
        for value in rx.iter().take(5000) {
            let value = value.unwrap();
            let (sender, id) = ((value.id >> 32) as usize, value.id & 0xffff_ffff);
            assert_eq!(id, next[sender], "{shape}");
            next[sender] += 1;
        }
        assert_eq!(next, [1000; 5], "{shape}");
        for sender in senders {
            sender.join().unwrap();
        }
    }
}

#[test]
fn bytes_are_reserved_filled_and_read_in_place() {
    // SAFETY: the channel is private, and only this test opens it.
    let trust = unsafe { sysv_channel::TrustedPeers::promise() };
    for inline in [0, 512] {
        let channel = Channel::<Bytes, Raw>::options();
        let channel = channel.inline_limit(inline).in_place(trust).private().unwrap();
        let (tx, rx) = (channel.sender().unwrap(), channel.receiver().unwrap());
        tx.send_with(100_000, |bytes| bytes.fill(3)).unwrap();
        tx.send(&Bytes::from(vec![4; 100])).unwrap();
        let lease = rx.recv_in_place().unwrap();
        assert!(lease.len() == 100_000 && lease.iter().all(|&byte| byte == 3));
        drop(lease);
        assert_eq!(&*rx.recv_in_place().unwrap(), &[4; 100]);
    }
}

#[test]
fn a_mailbox_that_is_created_again_waits_for_new_senders() {
    let name = format!("reopened mailbox {}", std::process::id());
    let leave_a_value = || {
        let channel = Channel::<u8>::create(name.as_str()).unwrap();
        channel.sender().unwrap().send(&7).unwrap();
    };
    leave_a_value();
    let rx = Channel::<u8>::open_or_create(name.as_str()).unwrap().receiver().unwrap();
    assert_eq!(rx.recv().unwrap(), 7);
    assert!(rx.recv().unwrap_err().is_disconnected(), "who only opens it finds the old life over");
    drop(rx);
    leave_a_value();
    let rx = Channel::<u8>::create(name.as_str()).unwrap().receiver().unwrap();
    assert_eq!(rx.recv().unwrap(), 7);
    assert!(rx.try_recv().unwrap_err().is_empty(), "whoever creates it begins a new life");
}

#[test]
fn what_waits_is_counted_and_what_is_full_says_so() {
    for (shape, options) in shapes() {
        let (tx, rx) = ends(&options);
        let (again, other) = (tx.try_clone().unwrap(), ends(&options));
        assert!(tx.same_channel(&again) && !tx.same_channel(&other.0), "{shape}");
        assert!(rx.same_channel(&rx) && !rx.same_channel(&other.1), "{shape}");
        assert_eq!(tx.capacity(), rx.capacity());
        assert_eq!(tx.capacity() == 0, shape == "queue only", "{shape}");
        let mut sent = 0;
        while tx.try_send(&order(sent, 10)).is_ok() {
            sent += 1;
            assert_eq!(
                (tx.len().unwrap() as u64, rx.len().unwrap() as u64),
                (sent, sent),
                "{shape}"
            );
        }
        // On a queue, one shorter than these may have room.
        assert!(tx.is_full().unwrap() || shape != "ring only");
        for left in (0..sent).rev() {
            rx.try_recv().unwrap();
            assert_eq!(rx.len().unwrap() as u64, left, "{shape}");
        }
        assert!(tx.is_empty().unwrap() && rx.is_empty().unwrap() && !tx.is_full().unwrap());
    }
}

#[test]
fn deadlines_are_moments() {
    for (shape, options) in shapes() {
        let (tx, rx) = ends(&options);
        let soon = || Instant::now() + Duration::from_millis(3);
        let passed = Instant::now();
        for deadline in [passed, soon()] {
            assert!(rx.recv_deadline(deadline).unwrap_err().is_timeout(), "{shape}");
            assert!(Instant::now() >= deadline);
        }
        tx.send_deadline(&order(1, 10), passed).unwrap();
        assert_eq!(rx.recv_deadline(passed).unwrap(), order(1, 10), "there is one, so none waits");
        while tx.try_send(&order(1, 10)).is_ok() {}
        for deadline in [passed, soon()] {
            let refused = tx.send_deadline(&order(1, 10), deadline).unwrap_err();
            assert!(refused.is_timeout() && Instant::now() >= deadline, "{shape}");
        }
    }
}

#[test]
fn receiver_is_an_iterator_by_itself() {
    for (shape, options) in shapes() {
        let (tx, rx) = ends(&options);
        let values = [order(1, 1), order(2, 2)];
        tx.send_all(&values).unwrap();
        drop(tx);
        let received: Result<Vec<Order>, RecvError> = rx.into_iter().collect();
        assert_eq!(received.unwrap(), values, "{shape}");
    }
}

#[test]
fn errors_can_be_compared_and_name_their_channel() {
    let channel = Channel::<Order>::private().unwrap();
    let (tx, rx) = (channel.sender().unwrap(), channel.receiver().unwrap());
    let empty = rx.try_recv().unwrap_err();
    assert_eq!(rx.try_recv(), Err(empty.clone()));
    assert_ne!(rx.recv_timeout(Duration::ZERO), Err(empty.clone()));
    let key = format!("{:?}", channel).split("key: ").nth(1).unwrap()[..10].to_owned();
    assert!(empty.to_string().contains(&key), "{empty}, and not {key}");
    drop(tx);
}

#[test]
fn a_value_that_was_taken_back_where_a_window_ends_leaves_room_for_any_that_goes_in_one_piece() {
    let bytes = |len: usize| Bytes::from(vec![7; len]);
    // What is used of the ring by default holds 4,096 of these.
    for (sent, len) in (4090..4100).flat_map(|sent| [(sent, 128 << 10), (sent, 2 << 20)]) {
        let channel = Channel::<Bytes, Raw>::options().inline_limit(16).private().unwrap();
        let (tx, rx) = (channel.sender().unwrap(), channel.receiver().unwrap());
        for _ in 0..sent {
            tx.send(&bytes(40)).unwrap();
            rx.recv().unwrap();
        }
        while tx.try_send(&bytes(8)).is_ok() {}
        // No room for a descriptor either.
        while tx.try_send(&bytes(0)).is_ok() {}
        assert!(tx.try_send(&bytes(40)).unwrap_err().is_full());
        while rx.try_recv().is_ok() {}
        // Nobody receives now, and all is free.
        match tx.try_send(&bytes(len - 16)) {
            Ok(()) => assert_eq!(rx.recv().unwrap().len(), len - 16),
            Err(SendError::NeedsWaiting { max, .. }) => tx.try_send(&bytes(max)).unwrap(),
            Err(error) => panic!("{len} bytes after {sent}: {error}"),
        }
    }
}
