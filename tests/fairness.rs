//! Senders that wait for a full queue: all have their turn, also if one is slow, stopped or killed, and
//! however long its values are.

#![cfg(not(loom))]

mod common;

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use common::kernel::is_asleep;
use common::{Child, Stage, at_any_moment, play, random, say, until};
use nix::unistd::gettid;
use sysv_channel::codec::Bytes;
use sysv_channel::rpc::{Client, Server, ServerOptions};
use sysv_channel::{Channel, DefaultCodec, Options, Receiver, Sender};

/// Who sent it, which of its values it is, and some more.
type Value = (u64, u64, Bytes);

fn options(lanes: usize) -> Options<Value, DefaultCodec> {
    Channel::options().lanes(lanes).inline_limit(1024).capacity(4096)
}

fn value(sender: u64, id: u64, len: usize) -> Value {
    (sender, id, vec![sender as u8; len].into())
}

/// The parts that this binary plays when it is started as a child.
#[test]
fn child() {
    play(|role, arguments| {
        assert_eq!(role, "send on");
        let tx = options(1).open(arguments[0]).unwrap().sender().unwrap();
        let (sender, len) = (arguments[1].parse().unwrap(), arguments[2].parse().unwrap());
        say("attached");
        for id in 0.. {
            tx.send(&value(sender, id, len)).unwrap();
        }
    });
}

fn send_on(stage: &Stage, sender: u64, len: usize) -> Child {
    let mut child = stage.child("send on", &[&sender.to_string(), &len.to_string()]);
    child.expect("attached");
    child
}

/// Fills the queue; says how many messages it holds.
fn fill(tx: &Sender<Value>) -> u64 {
    let full = (0..).take_while(|&id| match tx.try_send(&value(u64::MAX, id, 0)) {
        Ok(()) => true,
        Err(error) => {
            assert!(error.is_full(), "{error}");
            false
        }
    });
    full.count() as u64
}

/// Counts the values of each sender, each of which must come in its order.
struct Count(Vec<u64>);

impl Count {
    fn add(&mut self, (sender, id, bytes): Value) {
        assert!(bytes.iter().all(|&byte| byte == sender as u8), "torn");
        // What filled the queue is none of theirs.
        if let Some(count) = self.0.get_mut(sender as usize) {
            assert_eq!(id, *count, "sender {sender}");
            *count += 1;
        }
    }
}

#[test]
fn senders_that_wait_for_a_full_queue_have_their_turn_one_after_another() {
    const SENDERS: u64 = 8;
    const ROUNDS: u64 = 20;
    let stage = Stage::new("one after another");
    let channel = options(SENDERS as usize + 1).create(stage.name()).unwrap();
    let (tx, rx) = (channel.sender().unwrap(), channel.receiver().unwrap());
    let full = fill(&tx);
    let _senders: Vec<Child> = (0..SENDERS).map(|sender| send_on(&stage, sender, 0)).collect();
    let mut count = Count(vec![0; SENDERS as usize]);
    // One place comes free at a time, and one of those that wait for it has it.
    for _ in 0..full + SENDERS * ROUNDS {
        count.add(rx.recv().unwrap());
        until(|| channel.stats().unwrap().queued == full);
    }
    println!("{:?}", count.0);
    assert!(count.0.iter().all(|&sent| sent >= ROUNDS / 2), "{:?}", count.0);
}

/// A thread that sends one value each time that it is told to.
struct Teller {
    /// Where its state stands, below /proc.
    thread: String,
    go: mpsc::Sender<()>,
    idle: Arc<AtomicBool>,
}

impl Teller {
    fn start(tx: Sender<Value>, sender: u64, len: usize) -> Teller {
        let (go, told) = mpsc::channel();
        let (say, started) = mpsc::channel();
        let idle = Arc::new(AtomicBool::new(false));
        let is_idle = idle.clone();
        thread::spawn(move || {
            say.send(format!("self/task/{}", gettid())).unwrap();
            for id in 0.. {
                is_idle.store(true, Ordering::SeqCst);
                // The channel goes with the test.
                if told.recv().is_err() || tx.send(&value(sender, id, len)).is_err() {
                    return;
                }
            }
        });
        Teller { thread: started.recv().unwrap(), go, idle }
    }

    /// Has it send, if it has nothing to do, and lets it come as far as it can.
    fn come(&self) {
        loop {
            let idle = self.idle.swap(false, Ordering::SeqCst);
            if idle {
                self.go.send(()).unwrap();
            }
            until(|| is_asleep(&self.thread));
            if !idle && !self.idle.load(Ordering::SeqCst) {
                return;
            }
        }
    }
}

#[test]
fn a_long_message_has_its_turn_among_short_ones() {
    long_among_short("long and short", 100, |_| {});
}

#[test]
fn a_long_message_has_its_turn_although_another_gives_up_time_and_again() {
    long_among_short("gives up", 20, |tx| {
        let sent = tx.send_timeout(&value(u64::MAX, 0, 900), Duration::from_millis(1));
        assert!(sent.is_ok() || sent.is_err_and(|error| error.is_timeout()));
    });
}

#[test]
fn a_long_message_has_its_turn_beside_one_that_only_tries() {
    long_among_short("only tries", 100, |tx| {
        let sent = tx.try_send(&value(u64::MAX, 0, 0));
        assert!(sent.is_ok() || sent.is_err_and(|error| error.is_full()));
    });
}

/// Has a sender of long messages and some of short ones wait for a full queue until the long one has
/// had so many turns. Before each receive another sender does as it is told.
fn long_among_short(stage: &'static str, turns: u64, other: impl Fn(&Sender<Value>)) {
    const SHORT: u64 = 6;
    let stage = Stage::new(stage);
    let channel = options(SHORT as usize + 2).create(stage.name()).unwrap();
    let (tx, rx) = (channel.sender().unwrap(), channel.receiver().unwrap());
    fill(&tx);
    let start = |sender| {
        let len = if sender == 0 { 900 } else { 0 };
        Teller::start(channel.sender().unwrap(), sender, len)
    };
    let senders: Vec<Teller> = (0..=SHORT).map(start).collect();
    let mut count = Count(vec![0; SHORT as usize + 1]);
    while count.0[0] < turns {
        // Each sender that was woken runs, and comes again, before more room comes free: so the turns
        // that the channel gives are seen, and not those of the kernel's scheduler.
        senders.iter().for_each(Teller::come);
        until(|| senders.iter().all(|sender| is_asleep(&sender.thread)));
        other(&tx);
        count.add(rx.recv().unwrap());
        // A short one may have an equal share of the bytes in its turn.
        let short: u64 = count.0[1..].iter().sum();
        assert!(short * 40 / SHORT < 2 * (count.0[0] + 1) * 940, "{:?}", count.0);
    }
}

#[test]
fn a_request_in_fragments_has_its_turn_however_many_short_ones_stand_there() {
    const PATIENCE: u64 = 1000;
    // Of some the last fragment stands there alone.
    for len in (10_000..30_000).step_by(500) {
        let stage = Stage::new("request in fragments");
        let options = ServerOptions::new().clients(3).capacity(8 << 10);
        let server: Server<Value, ()> = options.bind(stage.name()).unwrap();
        let connect = || Client::<Value, ()>::connect(stage.name()).unwrap();
        let short = [1, 2].map(|client| (connect(), value(client, 0, 10)));
        // There is always one more of each.
        let mut calls = short.each_ref().map(|(client, request)| {
            VecDeque::from([client.start(request).unwrap(), client.start(request).unwrap()])
        });
        let long = connect();
        let (tell, told) = mpsc::channel();
        thread::scope(|scope| {
            scope.spawn(move || {
                tell.send(gettid()).unwrap();
                // It hears of the end where the server gives up.
                let _ = long.call(&value(3, 0, len));
            });
            let client_of_long = told.recv().unwrap();
            for received in 0.. {
                // What there is room for has been written.
                until(|| is_asleep(format_args!("self/task/{client_of_long}")));
                let request = server.recv().unwrap().unwrap();
                let (client, _, bytes) = request.query();
                let (client, answered_len) = (*client as usize, bytes.len());
                request.reply(&()).unwrap();
                if client == 3 {
                    assert_eq!(answered_len, len);
                    break;
                }
                let (short, request) = &short[client - 1];
                calls[client - 1].push_back(short.start(request).unwrap());
                calls[client - 1].pop_front().unwrap().wait().unwrap();
                if received == PATIENCE {
                    drop(server);
                    panic!("a request of {len} bytes was passed over {PATIENCE} times");
                }
            }
        });
    }
}

#[test]
fn one_that_comes_has_its_turn_behind_a_long_message_that_waits() {
    let stage = Stage::new("behind a long message");
    let first = loop {
        if let Some(first) = first_behind_a_long_message(stage.name()) {
            break first;
        }
        stage.goes_on();
    };
    assert_eq!(first, 0, "a short one came first");
}

/// Has senders of short messages come while a long one waits, and says whose message is received first.
///
/// A sender waits behind others for a second at most if the receiver receives nothing meanwhile. So a
/// round in which this test was not given a processor for half as long shows nothing.
fn first_behind_a_long_message(name: &str) -> Option<u64> {
    const COMING: u64 = 12;
    let channel = options(COMING as usize + 2).create(name).unwrap();
    let (tx, rx) = (channel.sender().unwrap(), channel.receiver().unwrap());
    fill(&tx);
    let mut received = Instant::now();
    let mut receive = || {
        let (sender, ..) = rx.recv().unwrap();
        let in_time = received.elapsed() < Duration::from_millis(500);
        received = Instant::now();
        in_time.then_some(sender)
    };
    let long = Teller::start(channel.sender().unwrap(), 0, 900);
    long.come();
    let mut senders = Vec::new();
    for sender in 1..=COMING {
        // Room for this one, and not yet enough for the long one.
        assert!(matches!(receive()?, u64::MAX));
        let teller = Teller::start(channel.sender().unwrap(), sender, 0);
        teller.come();
        senders.push(teller);
    }
    loop {
        match receive()? {
            u64::MAX => {}
            sender => return Some(sender),
        }
        long.come();
        senders.iter().for_each(Teller::come);
    }
}

/// Receives until so many values more have come of each of these senders.
fn all_go_on(rx: &Receiver<Value>, count: &mut Count, senders: &[u64], more: u64) {
    let before = count.0.clone();
    while senders.iter().any(|&sender| count.0[sender as usize] < before[sender as usize] + more) {
        count.add(rx.recv().unwrap());
    }
}

#[test]
fn senders_killed_or_stopped_while_they_wait_keep_no_other_from_its_turn() {
    const SENDERS: usize = 6;
    const KILLS: u64 = 60;
    let stage = Stage::new("waiting senders killed");
    let channel = options(SENDERS).create(stage.name()).unwrap();
    let rx = channel.receiver().unwrap();
    let mut count = Count(vec![0; SENDERS + KILLS as usize]);
    let start = |sender: u64| send_on(&stage, sender, random(200) as usize);
    let mut senders: Vec<(u64, Child)> =
        (0..SENDERS as u64).map(|sender| (sender, start(sender))).collect();
    for kill in 0..KILLS {
        let numbers: Vec<u64> = senders.iter().map(|&(number, _)| number).collect();
        all_go_on(&rx, &mut count, &numbers, 3);
        // All of them wait, or are about to.
        at_any_moment(1000);
        let (victim, other) = (random(SENDERS as u64) as usize, random(SENDERS as u64) as usize);
        if other != victim {
            senders[other].1.stop();
        }
        // Room comes free, and one or the other may have been woken for it.
        (0..random(100)).for_each(|_| count.add(rx.recv().unwrap()));
        let next = SENDERS as u64 + kill;
        let (dead, child) = senders.remove(victim);
        child.kill();
        senders.insert(victim, (next, start(next)));
        let numbers = senders.iter().map(|&(number, _)| number);
        let stopped = if other == victim { dead } else { senders[other].0 };
        let living: Vec<u64> = numbers.filter(|&number| number != stopped).collect();
        all_go_on(&rx, &mut count, &living, 3);
        senders[other].1.go_on();
        stage.goes_on();
    }
}
