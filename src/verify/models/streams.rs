//! Streams of replies: parts that wait for their caller, on the receiver's thread and beside it.

use loom::thread;

use super::pending::pair;
use super::{finds, holds};
use crate::sys::Fault;

/// The window has room for one part.
#[test]
fn a_handler_on_the_receivers_thread_waits_until_its_caller_takes() {
    let model = || {
        let (server, client) = pair("stream here");
        let stream = client.stream(&1).unwrap();
        let serving = thread::spawn(move || {
            let (_, mut port) = server.recv().unwrap().unwrap().into_parts();
            port.part(&11).unwrap();
            port.part(&12).unwrap();
            port.finish().unwrap();
        });
        let parts: Vec<u8> = stream.map(Result::unwrap).collect();
        assert_eq!(parts, [11, 12]);
        serving.join().unwrap();
    };
    holds("stream on the receiver's thread", model);
    let faults = [Fault::CreditNotRung, Fault::PartsWaitNotSaid];
    finds("stream on the receiver's thread", &faults, model);
}

#[test]
fn a_handler_beside_the_receiver_is_woken_when_its_caller_takes() {
    let model = || {
        let (server, client) = pair("stream beside");
        let closer = server.closer();
        let mut stream = client.stream(&1).unwrap();
        let (_, mut port) = server.recv().unwrap().unwrap().into_parts();
        port.part(&11).unwrap();
        let receiving = thread::spawn(move || {
            // Which receives nothing, and is there when it is rung.
            assert!(server.recv().unwrap().is_none());
            server
        });
        let handling = thread::spawn(move || {
            port.part(&12).unwrap();
            port.finish().unwrap();
        });
        assert_eq!(stream.next().unwrap().unwrap(), 11);
        handling.join().unwrap();
        assert_eq!(stream.next().unwrap().unwrap(), 12);
        assert!(stream.next().is_none());
        closer.close();
        drop(receiving.join().unwrap());
    };
    holds("stream beside the receiver", model);
    finds("stream beside the receiver", &[Fault::CreditNotRung, Fault::PartsWaitNotSaid], model);
}
