//! Values of length 0, exactly at each limit, and one above.

use std::thread;
use std::time::Duration;

use sysv_channel::codec::{Bytes, Raw};
use sysv_channel::{Channel, SendError};

use super::{Shape, unique_name, watchdog};

const MAX_VALUE: usize = 40_000;

/// The longest value of one record: half the ring without its header.
const LONGEST_RECORD: usize = (16 << 10) / 2 - 16;

fn channel(shape: Shape) -> Channel<Vec<u8>, Raw> {
    Channel::<Vec<u8>, Raw>::options()
        .inline_limit(shape.inline_limit())
        .capacity(shape.capacity())
        .max_value(MAX_VALUE as u64)
        .private()
        .unwrap()
}

fn bytes(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at * 31 + len) as u8).collect()
}

#[test]
fn every_limit_holds_to_the_byte() {
    let _watchdog = watchdog("every_limit_holds_to_the_byte");
    for shape in Shape::ALL {
        let channel = channel(shape);
        let (tx, rx) = (channel.sender().unwrap(), channel.receiver().unwrap());
        let longest = if shape == Shape::QueueOnly { 2048 } else { MAX_VALUE };
        let limits = [0, 1, 48, shape.inline_limit(), LONGEST_RECORD, longest];
        let lengths = limits.iter().flat_map(|&limit| [limit.saturating_sub(1), limit, limit + 1]);
        for len in lengths {
            let value = bytes(len);
            let about = format!("{shape:?}, {len} bytes");
            let in_one_piece = len <= LONGEST_RECORD.min(longest);
            match tx.try_send(&value) {
                Ok(()) => assert!(in_one_piece, "{about}"),
                Err(SendError::NeedsWaiting { len: found, max, .. }) => {
                    assert_eq!((found, max), (len, LONGEST_RECORD));
                    assert!(!in_one_piece && len <= longest, "{about}");
                }
                Err(SendError::TooLong { max, .. }) => {
                    assert_eq!(max, longest as u64);
                    assert!(len > longest, "{about}");
                }
                Err(error) => panic!("{about}: {error}"),
            }
            if in_one_piece {
                assert!(rx.try_recv().unwrap() == value, "{about}");
            }
            assert!(rx.try_recv().unwrap_err().is_empty(), "{about}");
            thread::scope(|scope| {
                let sends = channel.sender().unwrap();
                let value = &value;
                let sender = scope.spawn(move || match len % 2 {
                    0 => sends.send(value),
                    _ => sends.send_timeout(value, Duration::from_secs(60)),
                });
                if len <= longest {
                    assert!(rx.recv().unwrap() == *value, "{about}");
                    sender.join().unwrap().unwrap();
                } else {
                    let refused = sender.join().unwrap().unwrap_err();
                    assert!(
                        matches!(refused, SendError::TooLong { max, .. } if max == longest as u64)
                    );
                }
            });
        }
    }
}

#[test]
fn what_asks_for_nothing_waits_for_nothing() {
    let _watchdog = watchdog("what_asks_for_nothing_waits_for_nothing");
    for shape in Shape::ALL {
        let channel = channel(shape);
        let (tx, rx) = (channel.sender().unwrap(), channel.receiver().unwrap());
        let none = || std::iter::empty::<&Vec<u8>>();
        let mut batch = Vec::new();
        // Empty, with a value, full, without the other end, removed.
        assert_eq!((rx.recv_batch(&mut batch, 0).unwrap(), tx.send_all(none()).unwrap()), (0, 0));
        tx.send(&vec![1]).unwrap();
        assert_eq!(rx.recv_batch(&mut batch, 0).unwrap(), 0);
        while tx.try_send(&vec![2; 200]).is_ok() {}
        assert_eq!(tx.send_all(none()).unwrap(), 0);
        assert_eq!(rx.recv().unwrap(), [1]);
        drop(rx);
        assert_eq!(tx.send_all(none()).unwrap(), 0);
        let rx = channel.receiver().unwrap();
        drop(tx);
        while rx.recv().is_ok() {}
        assert_eq!(rx.recv_batch(&mut batch, 0).unwrap(), 0);
        let name = unique_name("nothing");
        let channel = Channel::<Vec<u8>, Raw>::create(&*name).unwrap();
        let (tx, rx) = (channel.sender().unwrap(), channel.receiver().unwrap());
        Channel::<Vec<u8>, Raw>::unlink(&*name).unwrap();
        assert!(tx.send(&vec![3]).unwrap_err().is_removed());
        assert_eq!((rx.recv_batch(&mut batch, 0).unwrap(), tx.send_all(none()).unwrap()), (0, 0));
        assert!(batch.is_empty(), "{shape:?}");
    }
}

#[test]
fn filled_memory_has_the_same_limits() {
    for shape in Shape::ALL {
        let options = Channel::<Bytes, Raw>::options();
        let options = options.inline_limit(shape.inline_limit()).capacity(shape.capacity());
        let channel = options.max_value(MAX_VALUE as u64).private().unwrap();
        let (tx, rx) = (channel.sender().unwrap(), channel.receiver().unwrap());
        let longest = if shape == Shape::QueueOnly { 2048 } else { LONGEST_RECORD };
        for len in [0, 1, 256, longest, longest + 1, usize::MAX] {
            let sent = tx.send_with(len, |bytes| bytes.fill(len as u8));
            if len <= longest {
                sent.unwrap();
                assert!(rx.try_recv().unwrap() == Bytes::from(vec![len as u8; len]));
            } else {
                let refused =
                    matches!(sent, Err(SendError::TooLong { max, .. }) if max == longest as u64);
                assert!(refused, "{shape:?}: {sent:?}");
            }
        }
        assert!(rx.try_recv().unwrap_err().is_empty());
    }
}

#[test]
fn a_value_that_encodes_to_nothing_is_a_value() {
    for shape in Shape::ALL {
        let (tx, rx) = shape.ends::<()>();
        tx.send_all(&[(), (), ()]).unwrap();
        assert_eq!(rx.channel().stats().unwrap().depth(), 3);
        for _ in 0..3 {
            rx.try_recv().unwrap();
        }
        assert!(rx.try_recv().unwrap_err().is_empty());
    }
}

#[test]
fn the_limit_is_on_the_encoded_length() {
    for shape in Shape::ALL {
        let channel = shape.options::<String>().max_value(100).private().unwrap();
        let (tx, rx) = (channel.sender().unwrap(), channel.receiver().unwrap());
        // Eight bytes say the string's length.
        tx.send(&"x".repeat(92)).unwrap();
        assert!(matches!(tx.send(&"x".repeat(93)), Err(SendError::TooLong { max: 100, .. })));
        assert_eq!(rx.recv().unwrap().len(), 92);
    }
}

#[test]
fn a_timeout_of_zero_looks_once() {
    let zero = Duration::ZERO;
    for shape in Shape::ALL {
        let channel = channel(shape);
        let (tx, rx) = (channel.sender().unwrap(), channel.receiver().unwrap());
        assert!(rx.recv_timeout(zero).unwrap_err().is_timeout(), "{shape:?}");
        let mut sent = 0;
        while tx
            .send_timeout(&vec![7; 200], zero)
            .inspect_err(|it| assert!(it.is_timeout()))
            .is_ok()
        {
            sent += 1;
        }
        assert!(sent > 5 && tx.try_send(&vec![7; 200]).unwrap_err().is_full(), "{shape:?}");
        for _ in 0..sent {
            assert_eq!(rx.recv_timeout(zero).unwrap().len(), 200);
        }
        assert!(rx.recv_timeout(zero).unwrap_err().is_timeout(), "{shape:?}");
        // Longer than any clock runs is for ever.
        tx.send_timeout(&vec![8], Duration::MAX).unwrap();
        assert_eq!(rx.recv_timeout(Duration::MAX).unwrap(), [8]);
    }
}

#[test]
fn a_long_value_without_a_receiver_times_out_and_leaves_nothing() {
    for shape in [Shape::Mixed, Shape::RingOnly] {
        let channel = channel(shape);
        let tx = channel.sender().unwrap();
        for timeout in [Duration::ZERO, Duration::from_millis(1)] {
            assert!(tx.send_timeout(&vec![1; 30_000], timeout).unwrap_err().is_timeout());
        }
        let rx = channel.receiver().unwrap();
        assert!(rx.try_recv().unwrap_err().is_empty(), "{shape:?}");
        thread::scope(|scope| {
            scope.spawn(move || {
                assert!(tx.send_timeout(&vec![2; 30_000], Duration::from_secs(60)).is_ok());
                tx.send(&vec![3]).unwrap();
            });
            assert_eq!(rx.recv().unwrap()[..], [2; 30_000]);
            assert_eq!(rx.recv().unwrap(), [3]);
        });
    }
}
