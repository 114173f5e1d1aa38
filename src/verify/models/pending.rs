//! Calls that were started, waited for on a thread of their own beside their client.

use loom::sync::mpsc;
use loom::thread;

use super::calls::pair;
use super::{finds, holds};
use crate::sys::Fault;

/// The server answers the first call when it has the second one, and the second when the first has its
/// reply: so a thread that waits has to let the other one send, and to hand it its reply.
#[test]
fn of_two_threads_that_use_a_client_neither_waits_for_the_others_reply() {
    let model = || {
        let (server, client) = pair("two threads");
        let (has, had) = mpsc::channel();
        let serving = thread::spawn(move || {
            let [first, second] = [(); 2].map(|()| server.recv().unwrap().unwrap());
            assert_eq!((*first.query(), *second.query()), (1, 2));
            first.reply(&11).unwrap();
            had.recv().unwrap();
            second.reply(&12).unwrap();
            server
        });
        let first = client.start(&1).unwrap();
        let waiting = thread::spawn(move || {
            assert_eq!(first.wait().unwrap(), 11);
            has.send(()).unwrap();
        });
        assert_eq!(client.call(&2).unwrap(), 12);
        waiting.join().unwrap();
        drop(serving.join().unwrap());
    };
    holds("two threads of a client", model);
    let faults = [Fault::HolderNotRung, Fault::PutBackUntold, Fault::FollowerNotWoken];
    finds("two threads of a client", &faults, model);
}
