//! Values that fail or panic half-way, on each path: the channel stays usable, nothing partial is
//! seen, and nothing that was poisoned comes twice.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use serde::{Deserialize, Deserializer, Serialize, Serializer, ser::SerializeTuple};
use sysv_channel::codec::Bytes;
use sysv_channel::{Receiver, RecvError, Select, SendError, Sender};

use super::trap::{Trap, Trapped, without_backtraces};
use super::{Shape, watchdog};

/// Encoded lengths of each path: a message, a record, fragments.
fn lengths(shape: Shape) -> &'static [usize] {
    match shape {
        Shape::QueueOnly => &[10, 1900],
        _ => &[10, 200, 1000, 6000, 50_000],
    }
}

/// Sends a value that is trapped; says whether it went after all.
fn spring(tx: &Sender<Trapped>, value: &Trapped, trap: Trap) -> bool {
    match (catch_unwind(AssertUnwindSafe(|| tx.send(value))), trap) {
        (Ok(Ok(())), _) => true,
        (Ok(Err(SendError::Encode { error, .. })), Trap::Error) => {
            assert_eq!(error.to_string(), "sprung");
            false
        }
        (Err(panic), Trap::Panic) => {
            assert_eq!(panic.downcast_ref(), Some(&"sprung"));
            false
        }
        (other, _) => panic!("{other:?}"),
    }
}

#[test]
fn a_serialize_that_fails_half_way_leaves_nothing() {
    let _watchdog = watchdog("a_serialize_that_fails_half_way_leaves_nothing");
    without_backtraces(|| {
        for shape in Shape::ALL {
            for trap in [Trap::Error, Trap::Panic] {
                for pass in [0, 1] {
                    for &len in lengths(shape) {
                        fails_to_encode(shape, len, trap, pass);
                    }
                }
            }
        }
    });
}

fn fails_to_encode(shape: Shape, len: usize, trap: Trap, pass: usize) {
    let about = format!("{shape:?}, {len} bytes, {trap:?} in pass {pass}");
    let (tx, rx) = shape.ends::<Trapped>();
    let sender = thread::spawn(move || {
        let mut sprung = 0;
        // Often enough to come to each place of the ring, its end included.
        for round in 0..40 {
            tx.send(&Trapped::good(3 * round, 20)).unwrap();
            let value = Trapped::fails_to_encode(3 * round + 1, len, trap, pass);
            sprung += u64::from(!spring(&tx, &value, trap));
            tx.send(&Trapped::good(3 * round + 2, len)).unwrap();
        }
        sprung
    });
    let mut got = Vec::new();
    while let Some(value) = rx.iter().next() {
        got.push(value.unwrap().id);
    }
    let sprung = sender.join().unwrap();
    // What did not fail is what came.
    assert_eq!(got.len() as u64, 120 - sprung, "{about}");
    assert!(got.is_sorted() && (0..40).all(|round| got.contains(&(3 * round + 2))), "{about}");
    let second_pass = match shape {
        Shape::Mixed => len > 256,
        // One pass is enough where the value fits into what is free.
        Shape::RingOnly => len > 8 << 10,
        Shape::QueueOnly => false,
    };
    match (pass, second_pass) {
        (0, _) | (1, true) => assert_eq!(sprung, 40, "{about}"),
        _ => assert!(sprung < 40, "{about}"),
    }
}

#[test]
fn a_deserialize_that_fails_half_way_consumes_its_value() {
    let _watchdog = watchdog("a_deserialize_that_fails_half_way_consumes_its_value");
    without_backtraces(|| {
        for shape in Shape::ALL {
            for trap in [Trap::Error, Trap::Panic] {
                for &len in lengths(shape) {
                    fails_to_decode(shape, len, trap);
                }
            }
        }
    });
}

fn fails_to_decode(shape: Shape, len: usize, trap: Trap) {
    let about = format!("{shape:?}, {len} bytes, {trap:?}");
    let channel = shape.options::<Trapped>().private().unwrap();
    let (tx, mut rx) = (channel.sender().unwrap(), channel.receiver().unwrap());
    let sender = thread::spawn(move || {
        for round in 0..40 {
            for value in
                [Trapped::good(2 * round, len), Trapped::fails_to_decode(2 * round + 1, len, trap)]
            {
                // Between two receivers it is refused, and then was not sent.
                while let Err(error) = tx.send(&value) {
                    assert!(error.is_disconnected(), "{error}");
                    thread::yield_now();
                }
            }
        }
    });
    for round in 0..40 {
        assert_eq!(rx.recv().unwrap().id, 2 * round, "{about}");
        match (catch_unwind(AssertUnwindSafe(|| take(&rx, round))), trap) {
            (Ok(Err(RecvError::Decode { error, .. })), Trap::Error) => {
                assert_eq!(error.to_string(), "Trapped: sprung");
            }
            (Err(_), Trap::Panic) => {}
            (other, _) => panic!("{about}: {other:?}"),
        }
        if round % 10 == 9 {
            // Nor does the next receiver get it.
            drop(rx);
            rx = channel.receiver().unwrap();
        }
    }
    sender.join().unwrap();
    assert!(rx.recv().unwrap_err().is_disconnected(), "{about}");
    assert_eq!(channel.stats().unwrap().queued, 0, "{about}");
}

/// Receives in another way each time.
fn take(rx: &Receiver<Trapped>, round: u64) -> Result<(), RecvError> {
    match round % 4 {
        0 => rx.recv().map(drop),
        1 => rx.recv_matching(Select::Any).map(drop),
        2 => rx.recv_batch(&mut Vec::new(), 1).map(drop),
        _ => rx.iter().next().expect("a sender is there").map(drop),
    }
}

#[test]
fn an_iterator_goes_on_after_a_value_that_cannot_be_decoded() {
    let (tx, rx) = Shape::Mixed.ends::<Trapped>();
    for id in 0..10 {
        let value = match id % 2 {
            0 => Trapped::good(id, 1000),
            _ => Trapped::fails_to_decode(id, 1000, Trap::Error),
        };
        tx.send(&value).unwrap();
    }
    drop(tx);
    let all: Vec<_> = rx.iter().map(|value| value.map(|value| value.id).ok()).collect();
    let expected: Vec<_> = (0..10).map(|id| (id % 2 == 0).then_some(id)).collect();
    assert_eq!(all, expected);
}

#[test]
fn a_batch_keeps_what_came_before_a_value_that_cannot_be_decoded() {
    let (tx, rx) = Shape::Mixed.ends::<Trapped>();
    tx.send_all(&[Trapped::good(1, 10), Trapped::fails_to_decode(2, 10, Trap::Error)]).unwrap();
    tx.send_all(&[Trapped::good(3, 10)]).unwrap();
    let mut batch = Vec::new();
    let first = rx.recv_batch(&mut batch, 10);
    assert!(matches!(first, Err(RecvError::Decode { .. })), "{first:?}");
    assert_eq!(rx.recv_batch(&mut batch, 10).unwrap(), 1);
    assert_eq!(batch.iter().map(|value| value.id).collect::<Vec<_>>(), [1, 3]);
}

/// Has another length each time that it is encoded: those given, then always the last.
#[derive(Debug)]
struct Changing {
    lengths: Vec<usize>,
    passes: AtomicUsize,
}

impl Changing {
    fn new(lengths: &[usize]) -> Self {
        Changing { lengths: lengths.to_vec(), passes: AtomicUsize::new(0) }
    }
}

impl Serialize for Changing {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let pass = self.passes.fetch_add(1, Ordering::Relaxed);
        let len = self.lengths[pass.min(self.lengths.len() - 1)];
        Bytes::from(vec![7; len]).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Changing {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let bytes = Bytes::deserialize(deserializer)?;
        assert!(bytes.iter().all(|&byte| byte == 7));
        Ok(Changing::new(&[bytes.len()]))
    }
}

#[test]
fn a_serialize_that_gives_other_lengths_each_time_is_refused_or_sent_as_it_last_was() {
    let _watchdog = watchdog("a_serialize_that_gives_other_lengths_each_time");
    for shape in [Shape::Mixed, Shape::RingOnly] {
        for lengths in [
            &[100, 5000][..],
            &[2000, 10],
            &[2000, 5000],
            &[2000, 100_000],
            &[2000, 200_000],
            &[50_000, 0],
            &[50_000, 10],
            &[50_000, 20_000],
            &[50_000, 50_001],
            &[50_000, 100_000],
            &[50_000, 150_000],
            &[50_000, 10_000_000],
            &[150_000, 10],
        ] {
            let channel = shape.options::<Changing>().max_value(100_100).private().unwrap();
            let (tx, rx) = (channel.sender().unwrap(), channel.receiver().unwrap());
            let sender = thread::spawn(move || {
                let mut sent = Vec::new();
                for _ in 0..30 {
                    let value = Changing::new(lengths);
                    match tx.send(&value) {
                        Ok(()) => {
                            // As it was when it was encoded for the last time.
                            let passes = value.passes.load(Ordering::Relaxed);
                            sent.push(lengths[passes.min(lengths.len()) - 1]);
                        }
                        Err(SendError::Encode { error, .. }) => {
                            assert!(error.to_string().contains("second time"), "{error}");
                        }
                        Err(SendError::TooLong { max, .. }) => assert_eq!(max, 100_100),
                        Err(error) => panic!("{shape:?}, {lengths:?}: {error}"),
                    }
                    tx.send(&Changing::new(&[1])).unwrap();
                    sent.push(1);
                }
                sent
            });
            let got: Vec<usize> = rx.iter().map(|value| value.unwrap().lengths[0]).collect();
            assert_eq!(got, sender.join().unwrap(), "{shape:?}, {lengths:?}");
        }
    }
}

/// Goes on after its serializer refused.
#[derive(Debug)]
struct Stubborn(usize);

impl Serialize for Stubborn {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut tuple = serializer.serialize_tuple(self.0)?;
        for _ in 0..self.0 {
            let _ = tuple.serialize_element(&7_u64);
        }
        tuple.end()
    }
}

impl<'de> Deserialize<'de> for Stubborn {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        u64::deserialize(deserializer).map(|_| Stubborn(1))
    }
}

#[test]
fn a_serialize_that_ignores_refusal_is_refused_all_the_same() {
    for shape in Shape::ALL {
        let channel = shape.options::<Stubborn>().max_value(1000).private().unwrap();
        let (tx, rx) = (channel.sender().unwrap(), channel.receiver().unwrap());
        for count in [126, 300, 3000, 30_000] {
            let refused = tx.send(&Stubborn(count)).unwrap_err();
            assert!(
                matches!(refused, SendError::TooLong { max: 1000, .. }),
                "{shape:?}: {refused}"
            );
        }
        tx.send(&Stubborn(1)).unwrap();
        assert_eq!(rx.recv().unwrap().0, 1);
        assert!(rx.try_recv().unwrap_err().is_empty());
    }
}
