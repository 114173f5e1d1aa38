//! Values that go back to their senders, in one process.

use std::cell::RefCell;
use std::rc::Rc;
use std::thread;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::Origin;
use crate::channel::sender::Sender;
use crate::codec::{Bytes, Codec, Raw};
use crate::error::SendError;
use crate::{Channel, Options, Receiver};

/// What comes back next; what the receiver keeps goes while it receives.
fn next_back<T, C: Codec<T> + Codec<R>, R>(tx: &Sender<T, C>, rx: &Receiver<T, C>) -> R {
    loop {
        match tx.try_recv_back() {
            Ok(reply) => return reply,
            Err(error) => assert!(error.is_empty(), "{error}"),
        }
        assert!(rx.try_recv().is_err_and(|error| error.is_empty()));
    }
}

fn numbers() -> Options<u32, crate::DefaultCodec> {
    Channel::<u32>::options().return_capacity(4096)
}

#[test]
fn replies_go_back_to_the_sender_that_asked() {
    for inline_limit in [0, 256] {
        let channel = Channel::<(u64, Bytes)>::options().inline_limit(inline_limit);
        let channel = channel.return_capacity(8192).private().unwrap();
        let rx = channel.receiver().unwrap();
        let clients: Vec<_> = (0..3u64)
            .map(|client| {
                let tx = channel.sender().unwrap();
                thread::spawn(move || {
                    for call in 0..300 {
                        let request = (client << 32 | call, vec![call as u8; call as usize].into());
                        tx.send(&request).unwrap();
                        assert_eq!(tx.recv_back::<(u64, Bytes)>().unwrap(), request);
                    }
                })
            })
            .collect();
        for _ in 0..900 {
            let (request, origin) = rx.recv_from().unwrap();
            rx.send_back(origin, &request).unwrap();
        }
        for client in clients {
            client.join().unwrap();
        }
    }
}

#[test]
fn a_reply_is_never_read_by_the_next_owner_of_the_lane() {
    let channel = numbers().lanes(1).private().unwrap();
    let rx = channel.receiver().unwrap();
    let first = channel.sender().unwrap();
    first.send(&1).unwrap();
    let (_, origin) = rx.recv_from().unwrap();
    rx.send_back(origin, &"for the first".to_owned()).unwrap();
    drop(first);
    let second = channel.sender().unwrap();
    assert!(second.try_recv_back::<String>().unwrap_err().is_empty());
    assert!(rx.send_back(origin, &"too late".to_owned()).unwrap_err().is_disconnected());
    second.send(&2).unwrap();
    let (_, origin) = rx.recv_from().unwrap();
    rx.send_back(origin, &"for the second".to_owned()).unwrap();
    assert_eq!(second.recv_back::<String>().unwrap(), "for the second");
    drop(rx);
    assert!(second.recv_back::<String>().unwrap_err().is_disconnected());
}

#[test]
fn replies_to_a_former_owner_take_no_room_from_the_next() {
    let channel = numbers().lanes(1).max_value(10_000).private().unwrap();
    let rx = channel.receiver().unwrap();
    let first = channel.sender().unwrap();
    first.send(&1).unwrap();
    let (_, origin) = rx.recv_from().unwrap();
    while rx.send_back(origin, &0_u32).is_ok() {}
    drop(first);
    let second = channel.sender().unwrap();
    second.send(&2).unwrap();
    let (_, origin) = rx.recv_from().unwrap();
    rx.send_back(origin, &7_u32).unwrap();
    assert_eq!(next_back::<_, _, u32>(&second, &rx), 7);
}

#[test]
fn a_receiver_never_waits_to_reply_and_keeps_what_finds_no_room_up_to_the_longest_value() {
    const LONGEST: usize = 10_000;
    let channel = numbers().max_value(LONGEST as u64).private().unwrap();
    let (tx, rx) = (channel.sender().unwrap(), channel.receiver().unwrap());
    tx.send(&1).unwrap();
    let (_, origin) = rx.recv_from().unwrap();
    let mut sent = 0_u32;
    while rx.send_back(origin, &sent).is_ok() {
        sent += 1;
    }
    assert!(rx.send_back(origin, &0_u32).unwrap_err().is_full());
    assert!(rx.send_back(origin, &Bytes::from(vec![0; 3000])).unwrap_err().is_full());
    let too_long = rx.send_back(origin, &Bytes::from(vec![0; LONGEST])).unwrap_err();
    assert!(matches!(too_long, SendError::TooLong { .. }), "{too_long}");
    for reply in 0..sent {
        assert_eq!(next_back::<_, _, u32>(&tx, &rx), reply);
    }
    rx.send_back(origin, &7_u32).unwrap();
    assert_eq!(next_back::<_, _, u32>(&tx, &rx), 7);
}

#[test]
fn an_origin_that_cannot_be_is_told_as_such() {
    let channel = numbers().lanes(1).private().unwrap();
    let (_tx, rx) = (channel.sender().unwrap(), channel.receiver().unwrap());
    let error = rx.send_back(Origin { lane: 1, generation: 1 }, &1_u32).unwrap_err();
    assert!(matches!(error, SendError::Corrupt { .. }), "{error}");
    let text = error.to_string();
    assert!(text.contains("origin is lane 1, and there are 1"), "{text}");
}

#[test]
fn every_limit_holds_to_the_byte_on_the_way_back() {
    /// Of a reply.
    const MAX_VALUE: usize = 40_000;
    /// What goes in one record of the ring.
    const LONGEST_RECORD: usize = (16 << 10) / 2 - 16;
    // Messages only, messages beside records, records only.
    for (inline_limit, capacity) in [(2048, 0), (256, 4096), (0, 4096)] {
        let options = Channel::<Vec<u8>, Raw>::options().max_value(MAX_VALUE as u64);
        let options = options.inline_limit(inline_limit).capacity(capacity);
        let channel = options.return_capacity(16 << 10).private().unwrap();
        let (tx, rx) = (channel.sender().unwrap(), channel.receiver().unwrap());
        tx.send(&vec![]).unwrap();
        let (_, origin) = rx.recv_from().unwrap();
        // In front of a reply stand eight bytes that say whom it is for.
        for limit in [0, 1, 48 - 8, LONGEST_RECORD - 8, MAX_VALUE] {
            for len in [limit.saturating_sub(1), limit, limit + 1] {
                let value: Vec<u8> = (0..len).map(|at| at as u8).collect();
                let about = format!("{inline_limit}, {capacity}, {len} bytes");
                match rx.send_back(origin, &value) {
                    Ok(()) => assert!(len <= MAX_VALUE, "{about}"),
                    Err(SendError::TooLong { max, .. }) => {
                        assert!(len > MAX_VALUE && max == MAX_VALUE as u64, "{about}");
                        continue;
                    }
                    Err(error) => panic!("{about}: {error}"),
                }
                assert!(next_back::<_, _, Vec<u8>>(&tx, &rx) == value, "{about}");
            }
        }
    }
}

/// The replies that are sent while another one is encoded, to the same sender.
#[test]
fn a_reply_can_be_sent_inside_of_another() {
    thread_local! {
        static INNER: RefCell<Option<(Rc<Receiver<u8>>, Origin)>> = const { RefCell::new(None) };
    }
    struct Outer(usize);
    impl Serialize for Outer {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            if let Some((rx, to)) = INNER.take() {
                rx.send_back(to, &Bytes::from(vec![1; 10])).unwrap();
                // A panic inside leaves the way back as it was.
                std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                    let _ = rx.send_back(to, &Panics);
                }))
                .unwrap_err();
            }
            Bytes::from(vec![2; self.0]).serialize(serializer)
        }
    }
    struct Panics;
    impl Serialize for Panics {
        fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
            panic!("a reply that cannot be encoded");
        }
    }
    impl<'de> Deserialize<'de> for Outer {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            Ok(Outer(Bytes::deserialize(deserializer)?.len()))
        }
    }
    impl<'de> Deserialize<'de> for Panics {
        fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
            Ok(Panics)
        }
    }
    // In one record, and kept beside one that was kept before.
    for len in [10, 1000, 60_000] {
        let channel = Channel::<u8>::options().return_capacity(4096).private().unwrap();
        let (tx, rx) = (channel.sender().unwrap(), Rc::new(channel.receiver().unwrap()));
        tx.send(&1).unwrap();
        let (_, origin) = rx.recv_from().unwrap();
        INNER.set(Some((rx.clone(), origin)));
        rx.send_back(origin, &Outer(len)).unwrap();
        assert_eq!(tx.try_recv_back::<Bytes>().unwrap(), Bytes::from(vec![1; 10]));
        assert_eq!(next_back::<_, _, Bytes>(&tx, &rx), Bytes::from(vec![2; len]));
    }
}

/// The replies that are sent when a part of another one, if it is long, has gone to the same sender.
#[test]
fn a_reply_can_be_sent_in_the_middle_of_another() {
    thread_local! {
        static INNER: RefCell<Option<(Rc<Receiver<u8>>, Origin)>> = const { RefCell::new(None) };
    }
    struct Outer(usize);
    impl Serialize for Outer {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            (Bytes::from(vec![2; self.0]), Middle, Bytes::from(vec![3; self.0]))
                .serialize(serializer)
        }
    }
    struct Middle;
    impl Serialize for Middle {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            if let Some((rx, to)) = INNER.take() {
                rx.send_back(to, &(Bytes::from(vec![1; 10]), 7_u8, Bytes::default())).unwrap();
                rx.send_back(to, &(Bytes::from(vec![1; 20_000]), 7_u8, Bytes::default())).unwrap();
            }
            7_u8.serialize(serializer)
        }
    }
    struct Panics(usize);
    impl Serialize for Panics {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            use serde::ser::SerializeTuple;
            let mut tuple = serializer.serialize_tuple(2)?;
            tuple.serialize_element(&Bytes::from(vec![4; self.0]))?;
            panic!("a reply that cannot be encoded to its end");
        }
    }
    impl<'de> Deserialize<'de> for Outer {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            let (bytes, _, _) = <(Bytes, u8, Bytes)>::deserialize(deserializer)?;
            Ok(Outer(bytes.len()))
        }
    }
    impl<'de> Deserialize<'de> for Panics {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            let (bytes, _) = <(Bytes, u8)>::deserialize(deserializer)?;
            Ok(Panics(bytes.len()))
        }
    }
    for (capacity, len) in [(4096, 10), (4096, 20_000), (65_536, 20_000), (1 << 20, 20_000)] {
        let channel = Channel::<u8>::options().return_capacity(capacity).private().unwrap();
        let (tx, rx) = (channel.sender().unwrap(), Rc::new(channel.receiver().unwrap()));
        tx.send(&1).unwrap();
        let (_, origin) = rx.recv_from().unwrap();
        // Leaves the way back as it was.
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let _ = rx.send_back(origin, &Panics(len));
        }))
        .unwrap_err();
        INNER.set(Some((rx.clone(), origin)));
        rx.send_back(origin, &Outer(len)).unwrap();
        let mut got = Vec::new();
        while got.len() < 3 {
            let (first, seven, second): (Bytes, u8, Bytes) = next_back(&tx, &rx);
            assert_eq!(seven, 7);
            let all = |bytes: &[u8], byte| bytes.iter().all(|&it| it == byte);
            let inner = second.is_empty() && all(&first, 1);
            assert!(inner || all(&first, 2) && all(&second, 3));
            got.push((first.len(), second.len()));
        }
        got.sort_unstable();
        let mut expected = [(10, 0), (20_000, 0), (len, len)];
        expected.sort_unstable();
        assert_eq!(got, expected);
    }
}
