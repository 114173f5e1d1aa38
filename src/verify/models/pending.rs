//! Calls that were started, waited for on a thread of their own beside their client.

use loom::sync::mpsc;
use loom::thread;

use super::calls::pair;
use super::{block_on, finds, holds};
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

#[test]
fn a_task_that_waits_for_a_call_is_woken() {
    let model = || {
        let (server, client) = pair("a task");
        let serving = thread::spawn(move || {
            server.recv().unwrap().unwrap().reply(&12).unwrap();
            server
        });
        let call = client.start(&2).unwrap();
        assert_eq!(block_on(call.wait_async()).unwrap(), 12);
        drop(serving.join().unwrap());
    };
    holds("a task waits for a call", model);
    finds("a task waits for a call", &[Fault::NoRecheck], model);
}

/// The replies are there: which of the two tasks looks first, and whether it has the connection, is open.
#[test]
fn a_task_that_does_not_get_the_connection_looks_again() {
    let model = || {
        let (server, client) = pair("two tasks");
        let [first, second] = [1, 2].map(|number| client.start(&number).unwrap());
        for _ in 0..2 {
            let request = server.recv().unwrap().unwrap();
            let reply = 10 + *request.query();
            request.reply(&reply).unwrap();
        }
        let waiting = thread::spawn(move || {
            assert_eq!(block_on(first.wait_async()).unwrap(), 11);
        });
        assert_eq!(block_on(second.wait_async()).unwrap(), 12);
        waiting.join().unwrap();
        drop(server);
    };
    holds("two tasks of a client", model);
    finds("two tasks of a client", &[Fault::TaskNotTold], model);
}
