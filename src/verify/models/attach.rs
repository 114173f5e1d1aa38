//! Two parties that attach in the same moment, each of which waits for the other.

use std::time::Duration;

use loom::thread;

use super::{finds, holds, mixed, open, ring_only};
use crate::codec::Bincode;
use crate::model::{check_to, set_queue_capacity};
use crate::rpc::{ClientOptions, ConnectError, ServerOptions};
use crate::sys::{Deadline, Fault};
use crate::{Channel, Sender};

/// A sender attaches and waits for what a receiver does that attaches.
fn awaited(wait: impl Fn(&Sender<u8>) + Send + 'static) {
    let channel = ring_only(2).private().unwrap();
    let handle = channel.handle();
    let sender = thread::spawn(move || {
        let tx = open(handle).sender().unwrap();
        wait(&tx);
        tx
    });
    let rx = channel.receiver().unwrap();
    drop((sender.join().unwrap(), rx));
}

#[test]
fn a_sender_that_awaits_the_first_receiver_hears_of_one_that_attaches() {
    let model = || {
        awaited(|tx| {
            tx.await_first_receiver(Deadline::never()).unwrap();
        });
    };
    holds("sender awaits the first, receiver attaches", model);
    let faults = [Fault::NoAttachFence, Fault::NoParkFence];
    finds("sender awaits the first, receiver attaches", &faults, model);
}

#[test]
fn a_sender_that_awaits_a_receiver_hears_of_one_that_attaches() {
    let model = || {
        awaited(|tx| {
            let came = tx.await_receiver(Deadline::never()).unwrap();
            assert!(!tx.is_replaced(came));
        });
    };
    holds("sender awaits, receiver attaches", model);
    finds("sender awaits, receiver attaches", &[Fault::NoRecheck], model);
}

#[test]
fn a_sender_that_waits_for_a_receivers_role_hears_of_one_that_attaches() {
    let model = || awaited(|tx| tx.wait_for_receiver(Deadline::never()).unwrap());
    holds("sender waits for the role, receiver attaches", model);
    finds("sender waits for the role, receiver attaches", &[Fault::NoRecheck], model);
}

/// A sender attaches and sends more than there is room for; a receiver attaches and takes it.
fn full_at_once(channel: &Channel<u8>) {
    let handle = channel.handle();
    let sender = thread::spawn(move || {
        let tx = open(handle).sender().unwrap();
        tx.send(&1).unwrap();
        tx.send(&2).unwrap();
        tx
    });
    let rx = channel.receiver().unwrap();
    assert_eq!((rx.recv().unwrap(), rx.recv().unwrap()), (1, 2));
    drop(sender.join().unwrap());
}

#[test]
fn a_sender_that_fills_its_ring_meets_a_receiver_that_attaches() {
    let model = || full_at_once(&ring_only(2).private().unwrap());
    holds("ring filled, receiver attaches", model);
    finds("ring filled, receiver attaches", &[Fault::NoRecheck, Fault::NoRingFence], model);
}

#[test]
fn a_sender_that_fills_the_queue_meets_a_receiver_that_attaches() {
    let model = || {
        set_queue_capacity(17);
        let channel = mixed(2).private().unwrap();
        set_queue_capacity(16_384);
        full_at_once(&channel);
    };
    // Two preemptions are a minute.
    let executions = check_to(1, model);
    println!("queue filled, receiver attaches: {executions} executions");
    finds("queue filled, receiver attaches", &[Fault::NoRecheck], model);
}

#[test]
fn an_asker_and_an_answerer_that_attach_at_once_both_have_their_part() {
    let model = || {
        let options = || ring_only(2).return_capacity(2 * 64);
        let channel = options().private().unwrap();
        let handle = channel.handle();
        let asker = thread::spawn(move || {
            let tx = options().open(handle).unwrap().sender().unwrap();
            tx.send(&1).unwrap();
            assert_eq!(tx.recv_back::<u8>().unwrap(), 11);
            tx
        });
        let rx = channel.receiver().unwrap();
        let (value, origin) = rx.recv_from().unwrap();
        rx.send_back(origin, &(value + 10)).unwrap();
        drop((asker.join().unwrap(), rx));
    };
    holds("asker and answerer attach", model);
    finds("asker and answerer attach", &[Fault::NoRecheck, Fault::NoRingFence], model);
}

#[test]
fn a_standby_that_takes_the_role_is_heard_of_by_a_sender_that_attaches() {
    let model = || {
        let channel = ring_only(2).private().unwrap();
        let handle = channel.handle();
        let first = channel.receiver().unwrap();
        let standby = thread::spawn(move || {
            let channel = open(handle);
            let rx = channel.receiver_by(Deadline::never()).unwrap();
            assert_eq!(rx.recv().unwrap(), 1);
            rx
        });
        drop(first);
        let tx = channel.sender().unwrap();
        tx.wait_for_receiver(Deadline::never()).unwrap();
        tx.send(&1).unwrap();
        drop((standby.join().unwrap(), tx));
    };
    holds("standby takes the role, sender attaches", model);
    finds("standby takes the role, sender attaches", &[Fault::NoRecheck], model);
}

#[test]
fn a_client_that_connects_and_calls_is_served_by_a_server_that_binds() {
    let model = || {
        let bind = || {
            let options = ServerOptions::new().clients(2).capacity(2 * 64).reply_capacity(2 * 64);
            options.bind::<u8, u8, Bincode>("both attach").unwrap()
        };
        let connect = || {
            let options = ClientOptions::new().wait_for_server(Duration::ZERO);
            options.deadline(Duration::MAX).connect::<u8, u8, Bincode>("both attach").unwrap()
        };
        let first = bind();
        // Keeps the channel while there is no server.
        let other = connect();
        drop(first);
        let serving = thread::spawn(move || {
            let server = bind();
            let request = server.recv().unwrap().unwrap();
            let reply = request.query() + 10;
            request.reply(&reply).unwrap();
            server
        });
        let client = connect();
        assert_eq!(client.call(&1).unwrap(), 11);
        drop((client, other, serving.join().unwrap()));
    };
    let executions = check_to(1, model);
    println!("client connects, server binds: {executions} executions");
    finds("client connects, server binds", &[Fault::NoRecheck, Fault::NoRingFence], model);
}

#[test]
fn a_client_finds_the_server_that_is_bound_again_while_it_connects_or_none() {
    let model = || {
        let bind = || {
            let options = ServerOptions::new().clients(1).capacity(2 * 64).reply_capacity(2 * 64);
            options.bind::<u8, u8, Bincode>("bound again").unwrap()
        };
        let old = bind();
        let binding = thread::spawn(move || {
            Channel::<u8>::unlink("bound again").unwrap();
            bind()
        });
        let options = ClientOptions::new().wait_for_server(Duration::ZERO);
        match options.connect::<u8, u8, Bincode>("bound again") {
            Ok(client) => drop(client),
            Err(error) => assert!(matches!(error, ConnectError::NotFound { .. }), "{error}"),
        }
        drop((old, binding.join().unwrap()));
    };
    holds("client connects, server bound again", model);
    finds("client connects, server bound again", &[Fault::ConnectedOnce], model);
}
