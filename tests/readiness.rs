//! Waiting at a file descriptor: with poll(2), and with tokio's `AsyncFd`.

#![cfg(not(loom))]

mod common;

use std::io;
use std::os::fd::AsFd;
use std::process::{Command, Stdio};
use std::task::{Context, Waker};
use std::thread;
use std::time::Duration;

use common::Stage;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use sysv_channel::actor::Mailbox;
use sysv_channel::rpc::{Client, Server};
use sysv_channel::{Channel, Options, Readiness, RecvError, WaitSet};
use tokio::io::unix::AsyncFd;

type Numbers = Options<u64, sysv_channel::DefaultCodec>;

fn shapes() -> [(&'static str, Numbers); 3] {
    let options = || Channel::<u64>::options().lanes(4);
    [
        ("mixed", options().inline_limit(64)),
        ("ring only", options().inline_limit(0)),
        ("queue only", options().capacity(0)),
    ]
}

fn is_readable(readiness: &Readiness) -> bool {
    poll(&mut [PollFd::new(readiness.as_fd(), PollFlags::POLLIN)], PollTimeout::ZERO).unwrap() > 0
}

fn wait(readiness: &Readiness) {
    let mut watched = [PollFd::new(readiness.as_fd(), PollFlags::POLLIN)];
    assert_eq!(poll(&mut watched, PollTimeout::NONE).unwrap(), 1);
}

#[test]
fn it_is_readable_until_a_call_finds_nothing() {
    for (shape, options) in shapes() {
        let channel = options.private().unwrap();
        let (tx, rx) = (channel.sender().unwrap(), channel.receiver().unwrap());
        tx.send(&0).unwrap();
        let readiness = rx.readiness().unwrap();
        for value in 0..4 {
            // Readable before anybody has looked, while something is left, and when more comes.
            wait(&readiness);
            assert!(is_readable(&rx.readiness().unwrap()), "{shape}");
            assert_eq!(rx.try_recv().unwrap(), value, "{shape}");
            if value == 1 {
                tx.send(&2).unwrap();
                continue;
            }
            assert!(rx.try_recv().unwrap_err().is_empty(), "{shape}");
            assert!(!is_readable(&readiness), "{shape}");
            tx.send(&(value + 1)).unwrap();
        }
        wait(&readiness);
        assert_eq!(rx.recv().unwrap(), 4, "{shape}");
        assert!(rx.try_recv().unwrap_err().is_empty(), "{shape}");
        assert!(!is_readable(&readiness), "{shape}");
        drop(tx);
        wait(&readiness);
        assert!(rx.try_recv().unwrap_err().is_disconnected(), "{shape}");
        // It stays so.
        assert!(is_readable(&readiness), "{shape}");
    }
}

#[test]
fn no_value_comes_without_it() {
    for (shape, options) in shapes() {
        let channel = options.private().unwrap();
        let (tx, rx) = (channel.sender().unwrap(), channel.receiver().unwrap());
        let sending = thread::spawn(move || {
            for value in 0..2000_u64 {
                tx.send(&value).unwrap();
                if value % 3 == 0 {
                    // Also into the moment in which the receiver has found nothing.
                    thread::sleep(Duration::from_micros(value % 40));
                }
            }
        });
        let readiness = rx.readiness().unwrap();
        let mut expected = 0;
        let end = loop {
            wait(&readiness);
            match rx.try_recv() {
                Ok(value) => {
                    assert_eq!(value, expected, "{shape}");
                    expected += 1;
                }
                Err(error) if error.is_empty() => {}
                Err(error) => break error,
            }
        };
        assert!(end.is_disconnected(), "{shape}: {end}");
        assert_eq!(expected, 2000, "{shape}");
        sending.join().unwrap();
    }
}

#[test]
fn closing_and_removing_are_told_of() {
    for (shape, options) in shapes() {
        let stage = Stage::new("fd closed");
        let channel = options.create(stage.name()).unwrap();
        let (_tx, rx) = (channel.sender().unwrap(), channel.receiver().unwrap());
        let readiness = rx.readiness().unwrap();
        assert!(rx.try_recv().unwrap_err().is_empty(), "{shape}");
        let closer = rx.closer();
        let closing = thread::spawn(move || closer.close());
        wait(&readiness);
        assert!(rx.try_recv().unwrap_err().is_closed(), "{shape}");
        closing.join().unwrap();
        assert!(rx.try_recv().unwrap_err().is_empty(), "{shape}");
        let name = stage.name().to_owned();
        let removing = thread::spawn(move || Channel::<u64>::unlink(&*name).unwrap());
        wait(&readiness);
        while rx.try_recv().unwrap_err().is_empty() {
            wait(&readiness);
        }
        assert!(rx.try_recv().unwrap_err().is_removed(), "{shape}");
        removing.join().unwrap();
    }
}

#[test]
fn a_task_and_a_descriptor_take_turns() {
    for (shape, options) in shapes() {
        let channel = options.private().unwrap();
        let (tx, mut rx) = (channel.sender().unwrap(), channel.receiver().unwrap());
        let readiness = rx.readiness().unwrap();
        let sending = thread::spawn(move || {
            for value in 0..300_u64 {
                thread::sleep(Duration::from_micros(50));
                tx.send(&value).unwrap();
            }
        });
        for value in 0..300 {
            let received = match value % 3 {
                0 => smol::block_on(rx.recv_async()).unwrap(),
                1 => rx.recv().unwrap(),
                _ => loop {
                    match rx.try_recv() {
                        Ok(value) => break value,
                        Err(error) => assert!(error.is_empty(), "{shape}: {error}"),
                    }
                    wait(&readiness);
                },
            };
            assert_eq!(received, value, "{shape}");
        }
        sending.join().unwrap();
    }
}

fn register(readiness: Readiness) -> AsyncFd<Readiness> {
    // SAFETY: it keeps one descriptor open until it is dropped, and the `AsyncFd` has it till then.
    unsafe { AsyncFd::register(readiness) }.unwrap()
}

#[test]
fn it_is_readable_again_after_another_way_to_wait() {
    let short = Duration::from_millis(2);
    for (shape, options) in shapes() {
        let channel = options.private().unwrap();
        let (tx, mut rx) = (channel.sender().unwrap(), channel.receiver().unwrap());
        let readiness = rx.readiness().unwrap();
        for way in 0..5 {
            assert!(rx.try_recv().unwrap_err().is_empty(), "{shape}");
            match way {
                0 => assert!(rx.recv_timeout(short).unwrap_err().is_timeout()),
                1 => {
                    let mut set = WaitSet::new();
                    set.add(&rx);
                    assert_eq!(set.ready_timeout(short).unwrap(), None);
                }
                2 => {
                    let mut context = Context::from_waker(Waker::noop());
                    assert!(rx.poll_recv(&mut context).is_pending());
                }
                3 => {
                    let sending = {
                        let tx = channel.sender().unwrap();
                        thread::spawn(move || {
                            thread::sleep(short);
                            tx.send(&17).unwrap();
                            tx
                        })
                    };
                    assert_eq!(smol::block_on(rx.recv_async()).unwrap(), 17);
                    sending.join().unwrap();
                }
                _ => {
                    let sending = {
                        let tx = channel.sender().unwrap();
                        thread::spawn(move || {
                            thread::sleep(short);
                            tx.send(&18).unwrap();
                            tx
                        })
                    };
                    assert_eq!(rx.recv().unwrap(), 18);
                    sending.join().unwrap();
                }
            }
            tx.send(&way).unwrap();
            loop {
                wait(&readiness);
                match rx.try_recv() {
                    Ok(value) => {
                        assert_eq!(value, way, "{shape}");
                        break;
                    }
                    Err(error) => assert!(error.is_empty(), "{shape}, {way}: {error}"),
                }
            }
        }
    }
}

#[test]
fn tokio_waits_for_a_channel_a_mailbox_and_a_server_at_their_descriptors() {
    let stage = Stage::new("fd tokio");
    let name = stage.name().to_owned();
    let server = Server::<u64, u64>::bind(&*name).unwrap();
    let mailbox = Mailbox::<u64>::private().unwrap();
    let channel = shapes()[0].1.private().unwrap();
    let rx = channel.receiver().unwrap();
    let (stop, address, tx) = (server.closer(), mailbox.address(), channel.sender().unwrap());
    let others = [
        thread::spawn(move || {
            let client = Client::<u64, u64>::connect(&*name).unwrap();
            (0..200).for_each(|number| assert_eq!(client.call(&number).unwrap(), number + 1));
            stop.close();
        }),
        thread::spawn(move || (0..200).for_each(|told| address.tell(&told).unwrap())),
        thread::spawn(move || (0..200).for_each(|sent| tx.send(&sent).unwrap())),
    ];
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let counts = runtime.block_on(async {
        let served = register(server.readiness().unwrap());
        let told = register(mailbox.readiness().unwrap());
        let sent = register(rx.readiness().unwrap());
        let nothing = || io::Error::from(io::ErrorKind::WouldBlock);
        let mut counts = [0; 3];
        let mut open = true;
        while open || counts != [200; 3] {
            tokio::select! {
                guard = served.readable(), if open => {
                    let request = guard.unwrap().try_io(|_| match server.try_recv() {
                        Err(error) if error.is_empty() => Err(nothing()),
                        request => Ok(request),
                    });
                    match request {
                        Ok(request) => match request.unwrap().unwrap() {
                            Some(request) => {
                                let (number, responder) = request.into_parts();
                                responder.reply(&(number + 1)).unwrap();
                                counts[0] += 1;
                            }
                            None => open = false,
                        },
                        Err(_would_block) => {}
                    }
                }
                guard = told.readable(), if counts[1] < 200 => {
                    let message = guard.unwrap().try_io(|_| match mailbox.try_recv() {
                        Err(error) if error.is_empty() => Err(nothing()),
                        message => Ok(message),
                    });
                    if let Ok(message) = message {
                        assert_eq!(message.unwrap().unwrap(), Some(counts[1]));
                        counts[1] += 1;
                    }
                }
                guard = sent.readable(), if counts[2] < 200 => {
                    let value = guard.unwrap().try_io(|_| match rx.try_recv() {
                        Err(error) if error.is_empty() => Err(nothing()),
                        value => Ok(value),
                    });
                    if let Ok(value) = value {
                        assert_eq!(value.unwrap().unwrap(), counts[2]);
                        counts[2] += 1;
                    }
                }
            }
        }
        counts
    });
    assert_eq!(counts, [200; 3]);
    others.into_iter().for_each(|other| other.join().unwrap());
}

#[test]
fn it_outlives_its_receiver() {
    let channel = shapes()[1].1.private().unwrap();
    let (tx, rx) = (channel.sender().unwrap(), channel.receiver().unwrap());
    let readiness = rx.readiness().unwrap();
    assert!(rx.try_recv().unwrap_err().is_empty());
    drop(rx);
    assert!(!is_readable(&readiness));
    // The next receiver has its own.
    let rx = channel.receiver().unwrap();
    tx.send(&1).unwrap();
    wait(&rx.readiness().unwrap());
    assert!(!is_readable(&readiness));
}

const SENDER: &str = "SYSV_CHANNEL_TEST_READINESS_SENDER";

/// What a child does: sends without end.
#[test]
fn sends_as_a_child() {
    let Ok(name) = std::env::var(SENDER) else { return };
    let tx = Channel::<u64>::open(&*name).unwrap().sender().unwrap();
    for value in 0.. {
        if tx.send(&value).is_err() {
            return;
        }
    }
}

#[test]
fn it_is_readable_when_the_sender_is_killed() {
    for (shape, options) in shapes() {
        for round in 0..5 {
            let stage = Stage::new("fd killed");
            let channel = options.create(stage.name()).unwrap();
            let rx = channel.receiver().unwrap();
            let readiness = rx.readiness().unwrap();
            let mut child = Command::new(std::env::current_exe().unwrap())
                .args(["--exact", "sends_as_a_child", "--nocapture"])
                .env(SENDER, stage.name())
                .stdout(Stdio::null())
                .spawn()
                .unwrap();
            let mut received = 0;
            let end = loop {
                match rx.try_recv() {
                    Ok(value) => {
                        assert_eq!(value, received, "{shape}");
                        received += 1;
                        if received == 100 * round + 1 {
                            child.kill().unwrap();
                        }
                    }
                    Err(RecvError::Empty { .. }) => wait(&readiness),
                    Err(error) => break error,
                }
            };
            assert!(end.is_disconnected(), "{shape}: {end}");
            assert!(received > 100 * round, "{shape}");
            child.wait().unwrap();
        }
    }
}
