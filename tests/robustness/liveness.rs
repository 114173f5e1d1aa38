//! Callers that only poll learn that the other side closed or died; roles are given out once.

use std::io::Read;
use std::process::{Child, Command, Stdio, exit};

use sysv_channel::codec::Raw;
use sysv_channel::{AttachError, Channel};

use super::{Shape, reads, unique_name, watchdog};

type Bytes = Vec<u8>;

const ROLE: &str = "SYSV_CHANNEL_TEST_ROLE";
const NAME: &str = "SYSV_CHANNEL_TEST_NAME";

/// What a child process does, on a channel that is its parent's: it is no test by itself.
#[test]
fn child() {
    let (Ok(role), Ok(name)) = (std::env::var(ROLE), std::env::var(NAME)) else { return };
    let channel = Channel::<Bytes, Raw>::open(name).unwrap();
    let until_told = || std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
    match role.as_str() {
        "sender" => {
            let tx = channel.sender().unwrap();
            tx.send(&vec![1]).unwrap();
            until_told();
        }
        "receiver" => {
            let rx = channel.receiver().unwrap();
            rx.recv().unwrap();
            until_told();
        }
        other => panic!("no role {other}"),
    }
    drop(channel);
    exit(0);
}

fn start(role: &str, name: &str) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "liveness::child", "--test-threads=1"])
        .envs([(ROLE, role), (NAME, name)])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

/// Lets the child close in good order, or kills it.
fn end(mut child: Child, kill: bool) {
    if kill {
        child.kill().unwrap();
    }
    drop(child.stdin.take());
    child.wait().unwrap();
}

fn create(shape: Shape, name: &str) -> Channel<Bytes, Raw> {
    let options = Channel::<Bytes, Raw>::options();
    options.inline_limit(shape.inline_limit()).capacity(shape.capacity()).create(name).unwrap()
}

#[test]
fn a_receiver_that_only_polls_learns_that_its_sender_is_gone() {
    let _watchdog = watchdog("a_receiver_that_only_polls_learns_that_its_sender_is_gone");
    for shape in Shape::ALL {
        for kill in [false, true] {
            let name = unique_name("polling receiver");
            let channel = create(shape, &name);
            let rx = channel.receiver().unwrap();
            assert!(rx.try_recv().unwrap_err().is_empty(), "nobody has come yet");
            let sender = start("sender", &name);
            let value = loop {
                match rx.try_recv() {
                    Err(error) if error.is_empty() => {}
                    value => break value.unwrap(),
                }
            };
            assert_eq!(value, [1]);
            assert!(rx.try_recv().unwrap_err().is_empty());
            end(sender, kill);
            loop {
                let error = rx.try_recv().unwrap_err();
                if error.is_disconnected() {
                    break;
                }
                assert!(error.is_empty(), "{error}");
            }
            // It stays so, and is over when another comes.
            assert!(rx.try_recv().unwrap_err().is_disconnected(), "{shape:?}, {kill}");
            assert!(rx.recv().unwrap_err().is_disconnected());
            assert!(rx.try_recv().unwrap_err().is_disconnected());
            let tx = channel.sender().unwrap();
            assert!(rx.try_recv().unwrap_err().is_empty());
            tx.send(&vec![2]).unwrap();
            drop(tx);
            assert_eq!(rx.try_recv().unwrap(), [2]);
            assert!(rx.try_recv().unwrap_err().is_disconnected());
        }
    }
}

#[test]
fn a_sender_that_only_polls_learns_that_its_receiver_is_gone() {
    let _watchdog = watchdog("a_sender_that_only_polls_learns_that_its_receiver_is_gone");
    for shape in Shape::ALL {
        for kill in [false, true] {
            let name = unique_name("polling sender");
            let channel = create(shape, &name);
            let tx = channel.sender().unwrap();
            tx.try_send(&vec![1]).unwrap();
            let receiver = start("receiver", &name);
            // Until it has come and received.
            while channel.stats().unwrap().received_values == 0 {
                std::thread::yield_now();
            }
            tx.try_send(&vec![2]).unwrap();
            end(receiver, kill);
            // At the latest when there is no room.
            let error = loop {
                match tx.try_send(&vec![3; 100]) {
                    Ok(()) => assert!(kill, "a close is seen by the next call"),
                    Err(error) => break error,
                }
            };
            assert!(error.is_disconnected(), "{shape:?}, {kill}: {error}");
            let rx = channel.receiver().unwrap();
            assert_eq!(rx.try_recv().unwrap(), [2]);
            tx.try_send(&vec![4]).unwrap();
            while rx.try_recv().is_ok() {}
        }
    }
}

#[test]
fn lanes_run_out_and_come_free() {
    for shape in Shape::ALL {
        let options = Channel::<Bytes, Raw>::options().inline_limit(shape.inline_limit());
        let channel = options.capacity(shape.capacity()).lanes(3).private().unwrap();
        let rx = channel.receiver().unwrap();
        for round in 0..5 {
            let mut senders: Vec<_> = (0..3).map(|_| channel.sender().unwrap()).collect();
            for refused in [channel.sender(), senders[0].try_clone()] {
                let error = refused.unwrap_err();
                assert!(matches!(error, AttachError::LanesExhausted { lanes: 3, .. }), "{error}");
                reads(&error, &["all 3 lanes", "Options::lanes"]);
            }
            senders.remove(round % 3);
            senders.push(channel.sender().unwrap());
            for sender in &senders {
                sender.send(&vec![1]).unwrap();
            }
            drop(senders);
            assert_eq!(rx.try_iter().count(), 3, "{shape:?}");
        }
    }
}

#[test]
fn there_is_one_receiver_at_a_time() {
    let name = unique_name("one receiver");
    let channel = create(Shape::Mixed, &name);
    for _ in 0..3 {
        let rx = channel.receiver().unwrap();
        let error = channel.receiver().unwrap_err();
        let pid = std::process::id() as i32;
        assert!(matches!(error, AttachError::ReceiverExists { pid: found, .. } if found == pid));
        reads(&error, &[&pid.to_string(), "one at a time"]);
        drop(rx);
    }
}

#[test]
fn a_value_of_a_lane_that_was_never_seen_is_no_foreign_message() {
    let _watchdog = watchdog("a_value_of_a_lane_that_was_never_seen_is_no_foreign_message");
    // The receiver is in the middle of looking when the lane is claimed.
    for _ in 0..200 {
        let options = Channel::<Bytes, Raw>::options().inline_limit(1).capacity(4096).lanes(64);
        let channel = options.private().unwrap();
        let rx = channel.receiver().unwrap();
        let sender = channel.clone();
        let senders = std::thread::spawn(move || {
            (0..64)
                .map(|lane| {
                    let tx = sender.sender().unwrap();
                    tx.send(&vec![lane; 100]).unwrap();
                    tx
                })
                .collect::<Vec<_>>()
        });
        for lane in 0..64 {
            let value = loop {
                match rx.try_recv() {
                    Err(error) if error.is_empty() => {}
                    value => break value,
                }
            };
            assert_eq!(value.unwrap(), [lane; 100]);
        }
        senders.join().unwrap();
    }
}
