//! Receiving in tasks, under tokio and smol: values, deaths, closing, futures that are dropped.

#![cfg(not(loom))]

mod common;

use std::io::Write;
use std::pin::{Pin, pin};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use common::Stage;
use futures_core::Stream;
use serde::{Deserialize, Serialize};
use sysv_channel::actor::{Mailbox, ReplyTo};
use sysv_channel::codec::Bytes;
use sysv_channel::rpc::{Client, Server, ServerOptions};
use sysv_channel::{Channel, Options, RecvError, WaitSet};
use tokio::io::AsyncReadExt;

type Numbers = Options<u64, sysv_channel::DefaultCodec>;

fn shapes() -> [(&'static str, Numbers); 3] {
    let options = || Channel::<u64>::options().lanes(4);
    [
        ("mixed", options().inline_limit(64)),
        ("ring only", options().inline_limit(0)),
        ("queue only", options().capacity(0)),
    ]
}

fn tokio() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

/// The next item.
async fn next<S: Stream + Unpin>(stream: &mut S) -> Option<S::Item> {
    std::future::poll_fn(|context| Pin::new(&mut *stream).poll_next(context)).await
}

/// Receives all of them, in order, and then that the senders are gone.
async fn all(mut rx: sysv_channel::Receiver<u64>, values: u64) {
    for value in 0..values {
        assert_eq!(rx.recv_async().await.unwrap(), value);
    }
    assert!(rx.recv_async().await.unwrap_err().is_disconnected());
}

#[test]
fn values_come_to_tasks_that_sleep_and_to_those_that_do_not() {
    let runtime = tokio();
    for (_, options) in shapes() {
        for pause in [0, 100] {
            let channel = options.private().unwrap();
            let (tx, rx) = (channel.sender().unwrap(), channel.receiver().unwrap());
            let values = if pause == 0 { 20_000 } else { 50 };
            let sender = std::thread::spawn(move || {
                for value in 0..values {
                    // So that the task sleeps most of the time.
                    std::thread::sleep(Duration::from_micros(pause));
                    tx.send(&value).unwrap();
                }
            });
            if pause == 0 {
                runtime.block_on(runtime.spawn(all(rx, values))).unwrap();
            } else {
                smol::block_on(smol::spawn(all(rx, values)));
            }
            sender.join().unwrap();
        }
    }
}

#[test]
fn a_stream_ends_with_its_senders_and_bad_values_are_items() {
    for (shape, options) in shapes() {
        let channel = options.private().unwrap();
        let mut stream = channel.receiver().unwrap().into_stream();
        let tx = channel.sender().unwrap();
        tx.send_all(&[1, 2, 3]).unwrap();
        drop(tx);
        smol::block_on(async {
            for value in 1..=3 {
                assert_eq!(next(&mut stream).await.unwrap().unwrap(), value, "{shape}");
            }
            assert!(next(&mut stream).await.is_none(), "{shape}");
            assert!(next(&mut stream).await.is_none(), "{shape}");
        });
        assert!(stream.into_inner().try_recv().unwrap_err().is_disconnected());
    }
}

#[test]
fn a_future_that_is_dropped_takes_no_value() {
    let runtime = tokio();
    for (shape, options) in shapes() {
        let channel = options.private().unwrap();
        let (tx, mut rx) = (channel.sender().unwrap(), channel.receiver().unwrap());
        let sender = std::thread::spawn(move || {
            for value in 0..3000_u64 {
                tx.send(&value).unwrap();
                if value % 64 == 0 {
                    std::thread::sleep(Duration::from_micros(300));
                }
            }
        });
        let (mut expected, mut given_up) = (0, 0);
        runtime.block_on(async {
            while expected < 3000 {
                let short = Duration::from_micros(100);
                match tokio::time::timeout(short, rx.recv_async()).await {
                    Ok(value) => {
                        assert_eq!(value.unwrap(), expected, "{shape}");
                        expected += 1;
                    }
                    Err(_) => given_up += 1,
                }
            }
        });
        sender.join().unwrap();
        println!("{shape}: {given_up} futures were dropped");
    }
}

#[test]
fn two_channels_and_a_socket_are_waited_for_in_one_task() {
    let (left, right) = (shapes()[0].1.private().unwrap(), shapes()[1].1.private().unwrap());
    let (mut one, mut other) = (left.receiver().unwrap(), right.receiver().unwrap());
    let (left, right) = (left.sender().unwrap(), right.sender().unwrap());
    tokio().block_on(async move {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let sender = std::thread::spawn(move || {
            let mut socket = std::net::TcpStream::connect(address).unwrap();
            for number in 0..300_u64 {
                match number % 3 {
                    0 => left.send(&number).unwrap(),
                    1 => right.send(&number).unwrap(),
                    _ => socket.write_all(&[1]).unwrap(),
                }
            }
        });
        let (mut socket, _) = listener.accept().await.unwrap();
        let (mut first, mut second, mut bytes) = (0, 0, 0);
        let mut buffer = [0; 64];
        while first + second + bytes < 300 {
            tokio::select! {
                value = one.recv_async(), if first < 100 => {
                    assert_eq!(value.unwrap(), 3 * first);
                    first += 1;
                }
                value = other.recv_async(), if second < 100 => {
                    assert_eq!(value.unwrap(), 3 * second + 1);
                    second += 1;
                }
                read = socket.read(&mut buffer), if bytes < 100 => bytes += read.unwrap() as u64,
            }
        }
        assert_eq!((first, second, bytes), (100, 100, 100));
        sender.join().unwrap();
    });
}

#[test]
fn a_task_wakes_when_it_is_closed_or_its_channel_removed() {
    for (shape, options) in shapes() {
        let stage = Stage::new("async removed");
        let name = stage.name().to_owned();
        let channel = options.create(&*name).unwrap();
        let (_tx, mut rx) = (channel.sender().unwrap(), channel.receiver().unwrap());
        let closer = rx.closer();
        let elsewhere = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(5));
            closer.close();
            std::thread::sleep(Duration::from_millis(5));
            Channel::<u64>::unlink(&*name).unwrap();
        });
        smol::block_on(async {
            assert!(rx.recv_async().await.unwrap_err().is_closed(), "{shape}");
            assert!(rx.recv_async().await.unwrap_err().is_removed(), "{shape}");
            assert!(rx.recv_async().await.unwrap_err().is_removed(), "{shape}");
        });
        elsewhere.join().unwrap();
        // A call that blocks says so too.
        assert!(matches!(rx.recv(), Err(RecvError::Removed { .. })), "{shape}");
    }
}

#[test]
fn calls_that_block_and_tasks_take_turns() {
    for (shape, options) in shapes() {
        let channel = options.private().unwrap();
        let (tx, mut rx) = (channel.sender().unwrap(), channel.receiver().unwrap());
        let mut context = Context::from_waker(Waker::noop());
        assert!(rx.poll_recv(&mut context).is_pending());
        let sender = std::thread::spawn(move || {
            for value in 0..200_u64 {
                std::thread::sleep(Duration::from_micros(50));
                tx.send(&value).unwrap();
            }
        });
        for value in 0..200 {
            let received = match value % 3 {
                0 => rx.recv(),
                1 => smol::block_on(rx.recv_async()),
                _ => rx.recv_timeout(Duration::from_secs(1000)),
            };
            assert_eq!(received.unwrap(), value, "{shape}");
        }
        sender.join().unwrap();
        assert!(
            matches!(rx.poll_recv(&mut context), Poll::Ready(Err(error)) if error.is_disconnected())
        );
        let waits = pin!(rx.recv_async());
        assert!(smol::block_on(waits).unwrap_err().is_disconnected(), "{shape}");
    }
}

/// Counts, and panics if it is to.
struct Told {
    times: AtomicU64,
    panics: bool,
}

impl Wake for Told {
    fn wake(self: Arc<Self>) {
        self.times.fetch_add(1, Ordering::Relaxed);
        assert!(!self.panics, "a waker panics");
    }
}

#[test]
fn a_task_that_waits_is_told_again_when_another_wait_is_over() {
    for (shape, options) in shapes() {
        let channel = options.private().unwrap();
        let (tx, rx) = (channel.sender().unwrap(), channel.receiver().unwrap());
        let told = Arc::new(Told { times: AtomicU64::new(0), panics: false });
        let waker = Waker::from(told.clone());
        let mut context = Context::from_waker(&waker);
        let mut set = WaitSet::new();
        set.add(&rx);
        for wait in [false, true] {
            let before = told.times.load(Ordering::Relaxed);
            assert!(rx.poll_recv(&mut context).is_pending());
            let short = Duration::from_millis(2);
            match wait {
                false => assert!(rx.recv_timeout(short).unwrap_err().is_timeout()),
                true => assert_eq!(set.ready_timeout(short).unwrap(), None),
            }
            // It looks again, for nothing, and is told of the value.
            let again = told.times.load(Ordering::Relaxed);
            assert!(again > before, "{shape}");
            assert!(rx.poll_recv(&mut context).is_pending());
            tx.send(&7).unwrap();
            while told.times.load(Ordering::Relaxed) == again {
                std::thread::yield_now();
            }
            assert!(matches!(rx.poll_recv(&mut context), Poll::Ready(Ok(7))), "{shape}");
        }
    }
}

#[test]
fn a_waker_that_panics_makes_nobody_deaf() {
    let told = || Arc::new(Told { times: AtomicU64::new(0), panics: true });
    for (shape, options) in shapes() {
        let channel = options.private().unwrap();
        let (mut tx, mut rx) = (channel.sender().unwrap(), channel.receiver().unwrap());
        let panics = told();
        let waker = Waker::from(panics.clone());
        assert!(rx.poll_recv(&mut Context::from_waker(&waker)).is_pending());
        tx.send(&1).unwrap();
        while panics.times.load(Ordering::Relaxed) == 0 {
            std::thread::yield_now();
        }
        assert_eq!(rx.recv().unwrap(), 1, "{shape}");
        let sending = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(5));
            tx.send(&2).unwrap();
            tx
        });
        assert_eq!(smol::block_on(rx.recv_async()).unwrap(), 2, "{shape}");
        tx = sending.join().unwrap();

        // The same on the other side.
        while tx.try_send(&3).is_ok() {}
        let panics = told();
        let waker = Waker::from(panics.clone());
        {
            let mut sending = pin!(tx.send_async(&4));
            assert!(sending.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
            rx.recv().unwrap();
            while panics.times.load(Ordering::Relaxed) == 0 {
                std::thread::yield_now();
            }
        }
        while tx.try_send(&5).is_ok() {}
        let receiving = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(5));
            while rx.try_recv().is_ok() {}
            rx
        });
        smol::block_on(tx.send_async(&6)).unwrap();
        receiving.join().unwrap();
    }
    let stage = Stage::new("waker panics");
    let server: Server<u32, u32> = Server::bind(stage.name()).unwrap();
    let mut client = Client::<u32, u32>::connect(stage.name()).unwrap();
    let first = client.start(&1).unwrap();
    let panics = told();
    let waker = Waker::from(panics.clone());
    {
        let mut waiting = pin!(first.wait_async());
        assert!(waiting.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        server.recv().unwrap().unwrap().reply(&1).unwrap();
        while panics.times.load(Ordering::Relaxed) == 0 {
            std::thread::yield_now();
        }
    }
    let serving = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(5));
        server.recv().unwrap().unwrap().reply(&2).unwrap();
        server
    });
    assert_eq!(smol::block_on(client.call_async(&2)).unwrap(), 2);
    serving.join().unwrap();
}

#[test]
fn a_server_answers_from_a_task() {
    let stage = Stage::new("async server");
    let name = stage.name().to_owned();
    let mut server: Server<Bytes, Bytes> = Server::bind(&*name).unwrap();
    let closer = server.closer();
    let clients: Vec<_> = (0..3)
        .map(|client| {
            let name = name.clone();
            std::thread::spawn(move || {
                let client_of = Client::<Bytes, Bytes>::connect(&*name).unwrap();
                // Also replies that find no room at once, and go while the server is polled.
                for len in [0, 44, 1000, 70_000, 5 << 20].into_iter().cycle().take(60) {
                    let request = Bytes::from(vec![client; len]);
                    assert!(client_of.call(&request).unwrap() == request, "{len}");
                }
            })
        })
        .collect();
    let runtime = tokio();
    let serving = runtime.spawn(async move {
        let mut served = 0;
        while let Some(request) = server.recv_async().await.unwrap() {
            let (request, responder) = request.into_parts();
            responder.reply(&request).unwrap();
            served += 1;
        }
        served
    });
    clients.into_iter().for_each(|client| client.join().unwrap());
    closer.close();
    assert_eq!(runtime.block_on(serving).unwrap(), 3 * 60);
}

#[derive(Serialize, Deserialize)]
enum Letter {
    Told(u64),
    Asked(u64, ReplyTo<u64>),
}

#[test]
fn an_actor_receives_in_a_task() {
    let mut mailbox = Mailbox::<Letter>::private().unwrap();
    let (address, closer) = (mailbox.address(), mailbox.closer());
    let actor = smol::spawn(async move {
        let mut sum = 0;
        while let Some(letter) = mailbox.recv_async().await.unwrap() {
            match letter {
                Letter::Told(number) => sum += number,
                Letter::Asked(number, reply) => reply.send(&(number + sum)).unwrap(),
            }
        }
        sum
    });
    for number in 0..500 {
        address.tell(&Letter::Told(1)).unwrap();
        assert_eq!(address.ask(|reply| Letter::Asked(number, reply)).unwrap(), 2 * number + 1);
    }
    closer.close();
    assert_eq!(smol::block_on(actor), 500);
}

#[test]
fn tasks_tell_and_ask() {
    let mailbox = Mailbox::<Letter>::private().unwrap();
    let (address, closer) = (mailbox.address(), mailbox.closer());
    let actor = std::thread::spawn(move || {
        let mut sum = 0;
        while let Some(letter) = mailbox.recv().unwrap() {
            match letter {
                Letter::Told(number) => sum += number,
                Letter::Asked(number, reply) => reply.send(&(number + 1)).unwrap(),
            }
            if sum % 64 == 0 {
                // So that the mailbox is full now and then.
                std::thread::sleep(Duration::from_micros(300));
            }
        }
        sum
    });
    let runtime = tokio();
    runtime.block_on(async {
        let tasks: Vec<_> = (0..4_u64)
            .map(|task| {
                let mut address = address.clone();
                tokio::spawn(async move {
                    for number in 0..500 {
                        address.tell_async(&Letter::Told(1)).await.unwrap();
                        if number % 5 == task {
                            let asked = address.ask_async(|reply| Letter::Asked(number, reply));
                            assert_eq!(asked.await.unwrap(), number + 1);
                        }
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
    });
    // Behind all that was told: what a closed mailbox has not received, it leaves.
    assert_eq!(address.ask(|reply| Letter::Asked(6, reply)).unwrap(), 7);
    closer.close();
    assert_eq!(actor.join().unwrap(), 4 * 500);
}

#[test]
fn tasks_call_and_wait_for_many_calls_of_one_client() {
    let stage = Stage::new("async calls");
    let server: Server<Bytes, Bytes> = Server::bind(stage.name()).unwrap();
    let closer = server.closer();
    let serving = std::thread::spawn(move || server.serve_concurrently(2, |request| request));
    let runtime = tokio();
    runtime.block_on(async {
        let tasks: Vec<_> = (0..3_u8)
            .map(|task| {
                let mut client = Client::<Bytes, Bytes>::connect(stage.name()).unwrap();
                tokio::spawn(async move {
                    for round in 0..200_usize {
                        let len = [0, 44, 1000, 70_000, 1 << 20][round % 5];
                        let request = Bytes::from(vec![task; len]);
                        assert!(client.call_async(&request).await.unwrap() == request, "{len}");
                    }
                    // Many at a time, each waited for by a task of its own, and one by a thread that blocks.
                    let mut waiting = Vec::new();
                    for number in 0..300_u64 {
                        let request = Bytes::from(number.to_le_bytes().to_vec());
                        let call = client.start_async(&request).await.unwrap();
                        match number % 50 {
                            7 => drop(call),
                            9 => {
                                let reply = tokio::task::spawn_blocking(move || call.wait());
                                assert!(reply.await.unwrap().unwrap() == request);
                            }
                            _ => waiting.push(tokio::spawn(async move {
                                assert!(call.wait_async().await.unwrap() == request);
                            })),
                        }
                    }
                    for task in waiting {
                        task.await.unwrap();
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
    });
    closer.close();
    serving.join().unwrap().unwrap();
}

#[test]
fn a_call_of_a_task_ends_in_time_and_with_its_server() {
    let stage = Stage::new("async call ends");
    let options = ServerOptions::new().drain(Duration::from_millis(10));
    let server: Server<u32, u32> = options.bind(stage.name()).unwrap();
    let mut client = Client::<u32, u32>::connect(stage.name()).unwrap();
    let timeout = Duration::from_millis(20);
    for request in 0..3 {
        let start = std::time::Instant::now();
        let error = smol::block_on(client.call_timeout_async(&request, timeout)).unwrap_err();
        assert!(error.is_timeout(), "{error}");
        assert!(start.elapsed() >= timeout);
    }
    // One that is dropped is cancelled.
    {
        let mut calling = pin!(client.call_async(&7));
        let mut context = Context::from_waker(Waker::noop());
        assert!(calling.as_mut().poll(&mut context).is_pending());
    }
    assert!(server.try_recv().unwrap_err().is_empty());
    let calling = std::thread::spawn(move || {
        assert_eq!(smol::block_on(client.call_async(&8)).unwrap(), 9);
        let call = smol::block_on(client.start_async(&10)).unwrap();
        drop(client);
        smol::block_on(call.wait_async())
    });
    let (request, responder) = server.recv().unwrap().unwrap().into_parts();
    responder.reply(&(request + 1)).unwrap();
    let request = server.recv().unwrap().unwrap();
    // Neither answered nor dropped before the server ends.
    std::mem::forget(request);
    drop(server);
    let error = calling.join().unwrap().unwrap_err();
    assert!(error.is_server_died(), "{error}");
}

#[test]
fn an_ask_ends_in_time_and_with_its_actor() {
    let mailbox = Mailbox::<Letter>::private().unwrap();
    let mut address = mailbox.address();
    let start = std::time::Instant::now();
    let timeout = Duration::from_millis(20);
    // Nothing rings: the deadline does.
    for _ in 0..3 {
        let asked = address.ask_timeout_async(|reply| Letter::Asked(1, reply), timeout);
        assert!(smol::block_on(asked).unwrap_err().is_timeout());
    }
    assert!(start.elapsed() >= 3 * timeout);
    // A future that is dropped is asked in vain, and the next one gets its own reply.
    {
        let mut asking = pin!(address.ask_async(|reply| Letter::Asked(10, reply)));
        let mut context = Context::from_waker(Waker::noop());
        assert!(asking.as_mut().poll(&mut context).is_pending());
    }
    let asking = std::thread::spawn(move || {
        let asked = smol::block_on(address.ask_async(|reply| Letter::Asked(20, reply)));
        assert_eq!(asked.unwrap(), 21);
        smol::block_on(address.ask_async(|reply| Letter::Asked(30, reply)))
    });
    loop {
        let Some(Letter::Asked(number, reply)) = mailbox.recv().unwrap() else { panic!() };
        if number == 30 {
            break;
        }
        // The first ones are not waited for any more.
        let _ = reply.send(&(number + 1));
    }
    drop(mailbox);
    let error = asking.join().unwrap().unwrap_err();
    assert!(error.is_died() || error.is_dropped(), "{error}");
}

const SENDER: &str = "SYSV_CHANNEL_TEST_ASYNC_SENDER";

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
fn a_task_wakes_when_its_sender_is_killed() {
    for (shape, options) in shapes() {
        for round in 0..5 {
            let stage = Stage::new("async killed");
            let channel = options.create(stage.name()).unwrap();
            let mut rx = channel.receiver().unwrap();
            let mut child = Command::new(std::env::current_exe().unwrap())
                .args(["--exact", "sends_as_a_child", "--nocapture"])
                .env(SENDER, stage.name())
                .stdout(Stdio::null())
                .spawn()
                .unwrap();
            let received = smol::block_on(async {
                let mut received = 0;
                loop {
                    match rx.recv_async().await {
                        Ok(value) => assert_eq!(value, received, "{shape}"),
                        Err(error) if error.is_disconnected() => break received,
                        Err(error) => panic!("{shape}: {error}"),
                    }
                    received += 1;
                    if received == 100 * round + 1 {
                        child.kill().unwrap();
                    }
                }
            });
            assert!(received > 100 * round, "{shape}");
            child.wait().unwrap();
            drop(rx);
            drop(channel);
        }
    }
}
