//! Sending in tasks, under tokio and smol: room that comes, turns, ends, futures that are dropped.

#![cfg(not(loom))]

mod common;

use std::pin::Pin;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use common::Stage;
use futures_sink::Sink;
use sysv_channel::codec::{Bytes, Raw};
use sysv_channel::{Channel, Options, Receiver, SendError, Sender};

type Line = Channel<Bytes, Raw>;

fn shapes() -> [(&'static str, Options<Bytes, Raw>); 3] {
    let options = || Line::options().lanes(8);
    [
        ("mixed", options().capacity(4096).inline_limit(256)),
        ("ring only", options().capacity(4096).inline_limit(0)),
        ("queue only", options().capacity(0).inline_limit(2048)),
    ]
}

/// A value that says which it is; the longest go in fragments, where the channel has rings.
fn numbered(shape: &str, number: u64) -> Bytes {
    let len =
        [8, 100, 1000, 9000, 40_000][number as usize % if shape == "queue only" { 3 } else { 5 }];
    let mut bytes = number.to_le_bytes().to_vec();
    bytes.resize(len, number as u8);
    bytes.into()
}

fn number(of: &Bytes) -> u64 {
    let number = u64::from_le_bytes(of[..8].try_into().unwrap());
    assert!(of[8..].iter().all(|byte| *byte == number as u8));
    number
}

fn tokio() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

async fn send_all(mut tx: Sender<Bytes, Raw>, shape: &'static str, values: u64) {
    for value in 0..values {
        tx.send_async(&numbered(shape, value)).await.unwrap();
    }
}

fn receive_all(rx: &Receiver<Bytes, Raw>, values: u64, pause: Duration) {
    for value in 0..values {
        assert_eq!(number(&rx.recv().unwrap()), value);
        // So that the task finds no room most of the time.
        thread::sleep(pause);
    }
    assert!(rx.recv().unwrap_err().is_disconnected());
}

#[test]
fn values_of_any_length_go_when_there_is_room() {
    let runtime = tokio();
    for (shape, options) in shapes() {
        let channel = options.private().unwrap();
        for (values, pause) in [(3000, Duration::ZERO), (60, Duration::from_micros(300))] {
            let (tx, rx) = (channel.sender().unwrap(), channel.receiver().unwrap());
            let receiving = thread::spawn(move || receive_all(&rx, values, pause));
            if pause.is_zero() {
                runtime.block_on(runtime.spawn(send_all(tx, shape, values))).unwrap();
            } else {
                smol::block_on(smol::spawn(send_all(tx, shape, values)));
            }
            receiving.join().unwrap();
        }
    }
}

#[test]
fn a_future_that_is_dropped_has_not_sent_its_value() {
    let runtime = tokio();
    for (shape, options) in shapes() {
        let channel = options.private().unwrap();
        let (mut tx, rx) = (channel.sender().unwrap(), channel.receiver().unwrap());
        let receiving = thread::spawn(move || {
            let mut came = Vec::new();
            while let Ok(value) = rx.recv() {
                came.push(number(&value));
                if came.len() % 8 == 0 {
                    thread::sleep(Duration::from_micros(500));
                }
            }
            came
        });
        let (mut sent, mut given_up) = (Vec::new(), Vec::new());
        runtime.block_on(async {
            for value in 0..2000 {
                let short = Duration::from_micros(200);
                let bytes = numbered(shape, value);
                match tokio::time::timeout(short, tx.send_async(&bytes)).await {
                    Ok(result) => {
                        result.unwrap();
                        sent.push(value);
                    }
                    // One in fragments may have been received in that very moment.
                    Err(_) if bytes.len() > 2000 => given_up.push(value),
                    Err(_) => {}
                }
            }
        });
        drop(tx);
        let mut came = receiving.join().unwrap();
        assert!(came.is_sorted());
        let before = came.len();
        came.retain(|value| !given_up.contains(value));
        println!("{shape}: {} sent, {} received and given up", sent.len(), before - came.len());
        assert_eq!(came, sent, "{shape}");
        assert!(sent.len() < 2000, "{shape}: none was given up");
    }
}

#[test]
fn a_task_wakes_when_it_is_closed_its_receiver_goes_or_its_channel_is_removed() {
    for (shape, options) in shapes() {
        let stage = Stage::new("async room");
        let channel = options.create(stage.name()).unwrap();
        let (mut tx, rx) = (channel.sender().unwrap(), channel.receiver().unwrap());
        let closer = tx.closer();
        let short = numbered(shape, 1);
        while tx.try_send(&short).is_ok() {}
        let name = stage.name().to_owned();
        let elsewhere = thread::spawn(move || {
            let pause = || thread::sleep(Duration::from_millis(5));
            pause();
            closer.close();
            pause();
            drop(rx);
        });
        smol::block_on(async {
            assert!(tx.send_async(&short).await.unwrap_err().is_closed(), "{shape}");
            assert!(tx.send_async(&short).await.unwrap_err().is_disconnected(), "{shape}");
        });
        elsewhere.join().unwrap();
        let rx = channel.receiver().unwrap();
        let removing = thread::spawn(move || {
            thread::sleep(Duration::from_millis(5));
            Line::unlink(&*name).unwrap();
        });
        smol::block_on(async {
            assert!(tx.send_async(&short).await.unwrap_err().is_removed(), "{shape}");
            assert!(tx.send_async(&short).await.unwrap_err().is_removed(), "{shape}");
        });
        removing.join().unwrap();
        drop(rx);
    }
}

#[test]
fn a_long_value_starts_again_with_the_next_receiver() {
    for (shape, options) in shapes().into_iter().take(2) {
        let options = options.stays_open().durable();
        let stage = Stage::new("async restart");
        let channel = options.create(stage.name()).unwrap();
        let mut tx = channel.sender().unwrap();
        let sending = thread::spawn(move || {
            smol::block_on(async {
                for value in 3..53 {
                    tx.send_async(&numbered(shape, value)).await.unwrap();
                }
            });
        });
        let mut expected = 3;
        let mut receivers = 0;
        while expected < 53 {
            let rx = channel.receiver().unwrap();
            receivers += 1;
            // Fragments are collected by calls that find no value yet.
            for _ in 0..receivers % 7 {
                match rx.try_recv() {
                    Ok(value) => {
                        assert_eq!(number(&value), expected, "{shape}");
                        expected += 1;
                    }
                    Err(error) => assert!(error.is_empty(), "{shape}: {error}"),
                }
            }
        }
        sending.join().unwrap();
        drop(channel);
        Line::unlink(stage.name()).unwrap();
    }
}

#[test]
fn a_task_has_its_turns_on_a_full_queue() {
    let channel = shapes()[2].1.private().unwrap();
    let rx = channel.receiver().unwrap();
    let (over, by_tasks, by_threads) =
        (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0));
    thread::scope(|scope| {
        for sender in 0..6_u64 {
            let mut tx = channel.sender().unwrap();
            let (over, by_tasks, by_threads) = (&over, &by_tasks, &by_threads);
            scope.spawn(move || {
                let value = numbered("queue only", 2);
                while !over.load(Ordering::Relaxed) {
                    // A long wait would outlast the receiver.
                    if sender % 2 == 0 {
                        smol::block_on(tx.send_async(&value)).unwrap();
                        by_tasks.fetch_add(1, Ordering::Relaxed);
                    } else {
                        tx.send(&value).unwrap();
                        by_threads.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
        for _ in 0..3000 {
            rx.recv().unwrap();
            // So that the queue is full most of the time, and turns decide.
            thread::sleep(Duration::from_micros(50));
        }
        over.store(true, Ordering::Relaxed);
        // Those that still wait.
        while rx.recv().is_ok() {
            if channel.stats().unwrap().senders == 0 {
                break;
            }
        }
    });
    let (tasks, threads) = (by_tasks.into_inner(), by_threads.into_inner());
    assert!(tasks * 4 > threads && threads * 4 > tasks, "{tasks} by tasks, {threads} by threads");
}

#[test]
fn a_sink_keeps_the_order_and_gives_back_what_it_did_not_send() {
    let runtime = tokio();
    for (shape, options) in shapes() {
        let channel = options.private().unwrap();
        let (tx, rx) = (channel.sender().unwrap(), channel.receiver().unwrap());
        let mut sink = tx.into_sink();
        let receiving = thread::spawn(move || {
            for value in 0..1000 {
                assert_eq!(number(&rx.recv().unwrap()), value, "{shape}");
            }
            rx
        });
        runtime.block_on(async {
            for value in 0..1000 {
                std::future::poll_fn(|context| Pin::new(&mut sink).poll_ready(context))
                    .await
                    .unwrap();
                Pin::new(&mut sink).start_send(numbered(shape, value)).unwrap();
            }
            std::future::poll_fn(|context| Pin::new(&mut sink).poll_close(context)).await.unwrap();
        });
        let rx = receiving.join().unwrap();
        let (tx, unsent) = sink.into_inner();
        assert!(unsent.is_none());

        // Full: one waits in the sink, and no more.
        while tx.try_send(&numbered(shape, 1)).is_ok() {}
        let mut sink = tx.into_sink();
        Pin::new(&mut sink).start_send(numbered(shape, 1)).unwrap();
        let more = Pin::new(&mut sink).start_send(numbered(shape, 6));
        assert!(more.unwrap_err().is_full(), "{shape}");
        let (tx, unsent) = sink.into_inner();
        assert_eq!(number(&unsent.unwrap()), 1, "{shape}");

        // Too long: it is given back, and the next goes.
        while rx.try_recv().is_ok() {}
        let mut sink = tx.into_sink();
        let long = Bytes::from(vec![7; 65 << 20]);
        let refused = Pin::new(&mut sink).start_send(long.clone());
        let refused = match refused {
            Ok(()) => smol::block_on(std::future::poll_fn(|context| {
                Pin::new(&mut sink).poll_flush(context)
            })),
            refused => refused,
        };
        assert!(matches!(refused, Err(SendError::TooLong { .. })), "{shape}");
        Pin::new(&mut sink).start_send(numbered(shape, 5)).unwrap();
        assert_eq!(number(&rx.recv().unwrap()), 5, "{shape}");
        assert!(sink.into_inner().1.unwrap() == long, "{shape}");
    }
}

const RECEIVER: &str = "SYSV_CHANNEL_TEST_ASYNC_RECEIVER";

/// What a child does: receives without end.
#[test]
fn receives_as_a_child() {
    let Ok(name) = std::env::var(RECEIVER) else { return };
    let rx = Line::open(&*name).unwrap().receiver().unwrap();
    println!("receives");
    while let Ok(value) = rx.recv() {
        number(&value);
    }
}

#[test]
fn a_task_wakes_when_its_receiver_is_killed() {
    for round in 0..5 {
        for (shape, options) in shapes() {
            let stage = Stage::new("async receiver killed");
            let channel = options.create(stage.name()).unwrap();
            let mut tx = channel.sender().unwrap();
            let mut child = Command::new(std::env::current_exe().unwrap())
                .args(["--exact", "receives_as_a_child", "--nocapture"])
                .env(RECEIVER, stage.name())
                .stdout(Stdio::null())
                .spawn()
                .unwrap();
            let error = smol::block_on(async {
                let mut sent = 0;
                loop {
                    if let Err(error) = tx.send_async(&numbered(shape, sent)).await {
                        break error;
                    }
                    sent += 1;
                    if sent == 100 * round + 50 {
                        child.kill().unwrap();
                    }
                }
            });
            assert!(error.is_disconnected(), "{shape}: {error}");
            child.wait().unwrap();
            // What the dead receiver left is this process's own.
            drop(tx);
            drop(channel.receiver().map(|rx| rx.try_iter().count()));
        }
    }
}
