//! Channels and servers that are made of a shape, by programs that have no type, and values that are passed on unread.

mod common;

use std::thread;

use common::Stage;
use sysv_channel::Channel;
use sysv_channel::codec::Json;
use sysv_channel::dynamic::{DynamicChannel, DynamicClient};
use sysv_channel::rpc::Server;

/// What a program does that stands between two others and has the types of neither.
#[test]
fn values_are_passed_on_unread() {
    let (from, to) = (Stage::new("dynamic from"), Stage::new("dynamic to"));
    let orders = Channel::<(u64, String), Json>::create(from.name()).unwrap();
    let copies = Channel::<(u64, String), Json>::create(to.name()).unwrap();
    let dynamic = DynamicChannel::open(from.name()).unwrap();
    let passing = (dynamic.bytes(), DynamicChannel::open(to.name()).unwrap().bytes());
    assert_eq!(passing.0.handle(), orders.handle());
    drop(dynamic);

    let (tx, rx) = (orders.sender().unwrap(), copies.receiver().unwrap());
    let passing = thread::spawn(move || {
        let (rx, tx) = (passing.0.receiver().unwrap(), passing.1.sender().unwrap());
        let mut passed = 0;
        for value in rx.iter() {
            tx.send(&value.unwrap()).unwrap();
            passed += 1;
        }
        passed
    });
    // As messages, by the ring, and in fragments.
    let lengths = [3, 5_000, 300_000];
    let values = lengths.map(|len| (len as u64, "x".repeat(len)));
    tx.send(&values[0]).unwrap();
    tx.send(&values[1]).unwrap();
    assert_eq!([rx.recv().unwrap(), rx.recv().unwrap()], values[..2]);
    let sending = thread::spawn(move || tx.send(&values[2]).map(|()| values));
    let last = rx.recv().unwrap();
    assert_eq!(last, sending.join().unwrap().unwrap()[2]);
    assert_eq!(passing.join().unwrap(), lengths.len());
}

#[test]
fn calls_are_passed_on_unread() {
    let stage = Stage::new("dynamic client bytes");
    let server = Server::<(u8, String), Option<u16>, Json>::bind(stage.name()).unwrap();
    let closer = server.closer();
    let serving = thread::spawn(move || server.serve(|(number, _)| Some(number.into())));
    let client = DynamicClient::connect(stage.name()).unwrap();
    let bytes = client.bytes();
    assert_eq!(bytes.call(&br#"[7,"seven"]"#.to_vec()).unwrap(), b"7");
    // What is its own, and what others make of it, are the server's too.
    let other = bytes.try_clone().unwrap();
    let started = other.start(&br#"[8,""]"#.to_vec()).unwrap();
    assert_eq!(started.wait().unwrap(), b"8");
    // Nobody looked at it before the server did.
    let error = bytes.call(&b"[]".to_vec()).unwrap_err();
    assert!(matches!(error, sysv_channel::rpc::CallError::Unreadable { .. }), "{error}");
    closer.close();
    serving.join().unwrap().unwrap();
}
