//! A call inside a call on the same endpoint is an error; on another endpoint it is just a call.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sysv_channel::codec::{Bytes, Raw};
use sysv_channel::{Channel, Receiver, RecvError, SendError, Sender, TrustedPeers};

use super::{Shape, watchdog};

thread_local! {
    static INSIDE: RefCell<Option<Inside>> = const { RefCell::new(None) };
    static BUSY: Cell<bool> = const { Cell::new(false) };
}

/// What a value does while it is encoded or decoded.
#[derive(Clone)]
struct Inside {
    sender: Rc<Sender<Meddler>>,
    receiver: Rc<Receiver<Meddler>>,
    while_encoding: fn(&Inside),
    while_decoding: fn(&Inside),
}

impl Inside {
    /// What is done inside does not do it again.
    fn act(which: fn(&Inside) -> fn(&Inside)) {
        if !BUSY.replace(true) {
            let inside = INSIDE.with_borrow(Clone::clone);
            if let Some(inside) = inside {
                which(&inside)(&inside);
            }
            BUSY.set(false);
        }
    }
}

struct Meddler(Bytes);

impl Meddler {
    fn new(len: usize) -> Self {
        Meddler(vec![1; len].into())
    }
}

impl Serialize for Meddler {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Inside::act(|inside| inside.while_encoding);
        self.0.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Meddler {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Inside::act(|inside| inside.while_decoding);
        Bytes::deserialize(deserializer).map(Meddler)
    }
}

fn channel(shape: Shape) -> Channel<Meddler> {
    // SAFETY: the channel is private, and only this test opens it.
    let trust = unsafe { TrustedPeers::promise() };
    let options = shape.options().in_place(trust);
    // A ring that holds what nobody receives while it is sent.
    let capacity = if shape == Shape::QueueOnly { 0 } else { 256 << 10 };
    options.capacity(capacity).private().unwrap()
}

fn with(
    shape: Shape,
    while_encoding: fn(&Inside),
    while_decoding: fn(&Inside),
    body: impl Fn(&Inside),
) {
    let channel = channel(shape);
    let sender = Rc::new(channel.sender().unwrap());
    let receiver = Rc::new(channel.receiver().unwrap());
    let inside = Inside { sender, receiver, while_encoding, while_decoding };
    INSIDE.set(Some(inside.clone()));
    body(&inside);
    INSIDE.set(None);
}

fn nothing(_: &Inside) {}

/// Lengths of a message and of a record, where the shape has them.
fn lengths(shape: Shape) -> &'static [usize] {
    if shape == Shape::QueueOnly { &[10] } else { &[10, 1000, 60_000] }
}

#[track_caller]
fn send_refused(result: Result<(), SendError>) {
    let error = result.unwrap_err();
    assert!(matches!(error, SendError::Reentrant { .. }), "{error}");
    assert!(error.to_string().contains("in the middle of another call"), "{error}");
}

#[track_caller]
fn recv_refused<T>(result: Result<T, RecvError>) {
    let Err(error) = result else { panic!("received inside of a call") };
    assert!(matches!(error, RecvError::Reentrant { .. }), "{error}");
    assert!(error.to_string().contains("in the middle of another call"), "{error}");
}

#[test]
fn a_serialize_cannot_send_on_the_sender_that_runs_it() {
    let _watchdog = watchdog("a_serialize_cannot_send_on_the_sender_that_runs_it");
    let meddle = |inside: &Inside| {
        let value = Meddler::new(10);
        send_refused(inside.sender.send(&value));
        send_refused(inside.sender.try_send(&value));
        send_refused(inside.sender.send_all(&[value]).map(drop));
    };
    for shape in Shape::ALL {
        with(shape, meddle, nothing, |inside| {
            for &len in lengths(shape) {
                inside.sender.send(&Meddler::new(len)).unwrap();
                assert_eq!(inside.receiver.recv().unwrap().0.len(), len, "{shape:?}");
            }
            assert!(inside.receiver.try_recv().is_err_and(|error| error.is_empty()));
        });
    }
}

#[test]
fn a_deserialize_cannot_receive_from_the_receiver_that_runs_it() {
    let _watchdog = watchdog("a_deserialize_cannot_receive_from_the_receiver_that_runs_it");
    let meddle = |inside: &Inside| {
        recv_refused(inside.receiver.recv());
        recv_refused(inside.receiver.try_recv());
        recv_refused(inside.receiver.recv_in_place().map(drop));
        recv_refused(inside.receiver.recv_batch(&mut Vec::new(), 1));
        assert!(inside.receiver.try_iter().next().is_some_and(|value| value.is_err()));
    };
    for shape in Shape::ALL {
        with(shape, nothing, meddle, |inside| {
            for &len in lengths(shape) {
                inside.sender.send(&Meddler::new(len)).unwrap();
                assert_eq!(inside.receiver.recv().unwrap().0.len(), len, "{shape:?}");
            }
        });
    }
}

#[test]
fn other_endpoints_can_be_used_inside_of_a_call() {
    let _watchdog = watchdog("other_endpoints_can_be_used_inside_of_a_call");
    let send_clone = |inside: &Inside| {
        inside.sender.try_clone().unwrap().send(&Meddler::new(1)).unwrap();
    };
    let answer = |inside: &Inside| inside.sender.send(&Meddler::new(2)).unwrap();
    for shape in Shape::ALL {
        with(shape, send_clone, answer, |inside| {
            for &len in lengths(shape) {
                inside.sender.send(&Meddler::new(len)).unwrap();
                // The value itself, what its encoding sent, and what decoding either of them sent.
                let mut got: Vec<usize> = Vec::new();
                for _ in 0..4 {
                    got.push(inside.receiver.recv().unwrap().0.len());
                }
                // And so on: each value that is decoded sends another.
                BUSY.set(true);
                while let Ok(value) = inside.receiver.try_recv() {
                    got.push(value.0.len());
                }
                BUSY.set(false);
                got.sort_unstable();
                // It is encoded twice where the first attempt did not fit.
                let encoded = got.iter().filter(|&&len| len == 1).count();
                assert!((1..=2).contains(&encoded), "{shape:?}: {got:?}");
                assert_eq!(got[encoded..], [2, 2, 2, 2, len], "{shape:?}");
            }
        });
    }
}

#[test]
fn what_fills_or_feeds_a_call_cannot_send_either() {
    let channel = Channel::<Bytes, Raw>::options().inline_limit(0).private().unwrap();
    let (tx, rx) = (channel.sender().unwrap(), channel.receiver().unwrap());
    tx.send_with(5, |bytes| {
        bytes.fill(1);
        send_refused(tx.send(&vec![2].into()));
    })
    .unwrap();
    let (two, three) = (Bytes::from(vec![2]), Bytes::from(vec![3]));
    let values = [&two, &three].into_iter().inspect(|value| send_refused(tx.send(value)));
    assert_eq!(tx.send_all(values).unwrap(), 2);
    let got: Vec<Bytes> = rx.try_iter().collect::<Result<_, _>>().unwrap();
    assert_eq!(got, [vec![1; 5].into(), two, three]);
}

#[test]
fn a_lent_value_keeps_its_receiver_busy() {
    for shape in Shape::ALL {
        let channel = channel(shape);
        let (tx, rx) = (channel.sender().unwrap(), channel.receiver().unwrap());
        tx.send(&Meddler::new(3)).unwrap();
        tx.send(&Meddler::new(4)).unwrap();
        let lease = rx.recv_in_place().unwrap();
        recv_refused(rx.try_recv());
        recv_refused(rx.try_recv_in_place().map(drop));
        drop(lease);
        assert_eq!(rx.try_recv().unwrap().0.len(), 4, "{shape:?}");
    }
}
