//! Calls that were started, waited for on a thread of their own beside their client.

use loom::sync::mpsc;
use loom::thread;

use super::calls::client;
use super::{block_on, finds, holds};
use crate::rpc::{Client, Server, ServerOptions};
use crate::sys::Fault;

/// A server whose rings have room for what is sent here, and its client.
pub(super) fn pair(name: &'static str) -> (Server<u8, u8>, Client<u8, u8>) {
    let options = ServerOptions::new().clients(1).capacity(4 * 64).reply_capacity(4 * 64);
    (options.bind(name).unwrap(), client(name))
}

#[test]
fn a_thread_that_waits_lets_the_other_one_send() {
    let model = || {
        let (server, client) = pair("lets send");
        let first = client.start(&1).unwrap();
        let waiting = thread::spawn(move || first.wait().unwrap());
        // Which the other thread may have the connection for, asleep.
        let second = client.start(&2).unwrap();
        for number in [1, 2] {
            let request = server.recv().unwrap().unwrap();
            assert_eq!(*request.query(), number);
            request.reply(&(number + 10)).unwrap();
        }
        assert_eq!(second.wait().unwrap(), 12);
        assert_eq!(waiting.join().unwrap(), 11);
    };
    holds("two threads of a client, one sends", model);
    finds(
        "two threads of a client, one sends",
        &[Fault::HolderNotRung, Fault::PutBackUntold],
        model,
    );
}

/// The second call is answered once the first has its reply: a thread that waits hands the other one its reply.
#[test]
fn a_thread_that_waits_hands_the_other_one_its_reply() {
    let model = || {
        let (server, client) = pair("hands over");
        let (has, had) = mpsc::channel();
        let [first, second] = [&1, &2].map(|number| client.start(number).unwrap());
        let [one, two] = [(); 2].map(|()| server.recv().unwrap().unwrap().into_parts().1);
        let waiting = thread::spawn(move || {
            assert_eq!(first.wait().unwrap(), 11);
            has.send(()).unwrap();
        });
        let serving = thread::spawn(move || {
            one.reply(&11).unwrap();
            had.recv().unwrap();
            two.reply(&12).unwrap();
        });
        assert_eq!(second.wait().unwrap(), 12);
        waiting.join().unwrap();
        serving.join().unwrap();
    };
    holds("two threads of a client, both wait", model);
    finds("two threads of a client, both wait", &[Fault::FollowerNotWoken], model);
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
