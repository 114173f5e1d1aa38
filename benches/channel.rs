//! What the channel costs, beside what the machine and the kernel cost without it.
//!
//! ```sh
//! cargo bench                       # all
//! cargo bench -- ring bytes         # the sections whose name has one of the words
//! ```
//!
//! Both sides are processes, each pinned to a core. What is compared is measured in turns, a short
//! sample of one and a short sample of the other, so that a change of the clock or a busy machine
//! meets both; the figures are medians over the samples, the ratio the median of the ratios of
//! neighbours.

mod raw;

use std::error::Error;
use std::hint::{black_box, spin_loop};
use std::process::{Child, Command, ExitCode};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use std::{env, thread};

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};
use sysv_channel::codec::{Bincode, Bytes, Codec, Reader, Writer};
use sysv_channel::{Channel, Options, Receiver, Select, Sender, Tag};

type Failure = Box<dyn Error + Send + Sync>;

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Order {
    id: u64,
    time: u64,
    price: f64,
    quantity: u32,
    symbol: String,
}

/// A part of the table, between this process's core and another.
type Section = fn(usize, usize) -> Result<(), Failure>;

const SAMPLES: usize = 101;

fn order(id: u64) -> Order {
    Order { id, time: id * 3, price: id as f64 / 8.0, quantity: 100, symbol: "SYMBOL01".to_owned() }
}

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).filter(|word| word != "--bench").collect();
    let done = match &arguments[..] {
        [flag, role, core, name] if flag == "--peer" => peer(role, core, name),
        words => run(words),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("channel bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(words: &[String]) -> Result<(), Failure> {
    let cores = cores()?;
    let Some(&other) = cores.get(1) else {
        return Err("two processors are needed, and this process may use only one".into());
    };
    let sections: [(&str, Section); 5] =
        [("ring", ring), ("sleep", sleep), ("queue", queue), ("bytes", bytes), ("codec", codec)];
    pin(cores[0])?;
    println!("{:<54}{:>12}{:>10}", "", "median", "ratio");
    for (name, section) in sections {
        if words.is_empty() || words.iter().any(|word| name.contains(word.as_str())) {
            section(cores[0], other)?;
        }
    }
    Ok(())
}

// ------------------------------------------------------------------ sections

/// The ring-only channel between two busy cores.
fn ring(_: usize, other: usize) -> Result<(), Failure> {
    const ROUNDS: u64 = 3000;
    const STREAMED: u64 = 20_000;
    let options = || Channel::<Order>::options().inline_limit(0).lanes(1);
    let echo = Peer::<Order, Order>::start("echo", other, &options(), &options())?;
    let bare = || bare_round_trip(other, ROUNDS);
    let (bare, round_trip) = in_turns(bare, || round_trip(&echo, ROUNDS))?;
    echo.end()?;
    let codec = samples(|| codec_beside_a_busy_core(other, ROUNDS))?;
    row("bare round trip between two cores, one word", &bare, None);
    row("the codec's part of a round trip, other core busy", &codec, Some(&bare));
    row("ring only, round trip of a 44-byte struct", &round_trip, Some(&bare));

    let sink = Peer::<Order, u64>::start("count orders", other, &options(), &answers())?;
    let stream = samples(|| {
        let mut order = order(0);
        let start = Instant::now();
        for id in 0..STREAMED {
            order.id = id;
            sink.there.send(&order)?;
        }
        order.id = u64::MAX;
        sink.there.send(&order)?;
        sink.back.recv()?;
        Ok(nanos(start.elapsed()) / STREAMED as f64)
    })?;
    sink.end()?;
    row("ring only, stream of the struct, a value", &stream, None);
    Ok(())
}

/// Both sides on one core, where each has to sleep for the other to run.
fn sleep(core: usize, _: usize) -> Result<(), Failure> {
    const ROUNDS: u64 = 500;
    let semaphores = raw::Semaphores::make()?;
    let raw_peer = start("raw semaphores", core, &semaphores.id.to_string())?;
    let options = || Channel::<Order>::options().inline_limit(0).lanes(1).spin(Duration::ZERO);
    let echo = Peer::<Order, Order>::start("echo, asleep", core, &options(), &options())?;
    let bare = || {
        per_round(ROUNDS, || {
            semaphores.post(0)?;
            Ok(semaphores.wait(1)?)
        })
    };
    let (bare, ring) = in_turns(bare, || round_trip(&echo, ROUNDS))?;
    echo.end()?;
    drop(semaphores);
    raw_peer.end()?;
    row("semop, blocking round trip on one core", &bare, None);
    row("ring only, blocking round trip on one core", &ring, Some(&bare));
    Ok(())
}

/// The mixed channel's small values, which are messages of the kernel's queue.
fn queue(core: usize, other: usize) -> Result<(), Failure> {
    const ROUNDS: u64 = 500;
    for (peer_core, place) in [(other, "two cores"), (core, "one core")] {
        let queue = raw::Queue::make()?;
        let raw_peer = start("raw queue", peer_core, &queue.id.to_string())?;
        let mut options = Channel::<Order>::options();
        let mut role = "echo";
        if peer_core == core {
            options = options.spin(Duration::ZERO);
            role = "echo, asleep";
        }
        let echo = Peer::<Order, Order>::start(role, peer_core, &options, &options)?;
        let mut message = raw::Message { mtype: 1, text: [7; 64] };
        let bare = || {
            per_round(ROUNDS, || {
                message.mtype = 1;
                queue.send(&message, 44)?;
                Ok(queue.receive(2, &mut message)?)
            })
        };
        let (bare, mixed) = in_turns(bare, || round_trip(&echo, ROUNDS))?;
        echo.end()?;
        drop(queue);
        raw_peer.end()?;
        row(&format!("msgsnd and msgrcv, round trip on {place}"), &bare, None);
        row(&format!("mixed, round trip of the struct on {place}"), &mixed, Some(&bare));
    }
    selection()
}

/// What it costs to take a value from behind others.
fn selection() -> Result<(), Failure> {
    const PASSED_OVER: u64 = 100;
    let (tx, rx) = sysv_channel::channel::<Order>()?;
    let wanted = Tag::new(7).ok_or("a tag is above zero")?;
    let cycle = || {
        per_round(500, || {
            tx.send_tagged(wanted, &order(1))?;
            Ok(rx.recv_matching(Select::Exactly(wanted))?)
        })
    };
    let first = samples(cycle)?;
    for id in 0..PASSED_OVER {
        tx.send(&order(id))?;
    }
    let behind = samples(cycle)?;
    row("mixed, send and select, nothing else queued", &first, None);
    row(&format!("mixed, send and select from behind {PASSED_OVER}"), &behind, Some(&first));
    Ok(())
}

/// Bulk bytes, from a vector in one process to a vector in the other, and an answer.
fn bytes(_: usize, other: usize) -> Result<(), Failure> {
    for (len, rounds, capacity, path) in [
        (64 << 10, 100, 256 << 10, "64 KiB as a record"),
        (1 << 20, 10, 4 << 20, "1 MiB as a record"),
        (1 << 20, 10, 256 << 10, "1 MiB in fragments"),
    ] {
        let options = Channel::<Bytes>::options().inline_limit(0).lanes(1).capacity(capacity);
        let sink = Peer::<Bytes, u64>::start("count bytes", other, &options, &answers())?;
        let value = Bytes::from(vec![7_u8; len]);
        let copy = || cross_core_copy(other, len, rounds);
        let (copy, sent) = in_turns(copy, || {
            per_round(rounds, || {
                sink.there.send(&value)?;
                Ok(sink.back.recv()?)
            })
        })?;
        sink.end()?;
        row(&format!("{} KiB, copied in and copied out by two cores", len >> 10), &copy, None);
        row(&format!("ring only, {path}, and an answer"), &sent, Some(&copy));
    }
    Ok(())
}

/// What serde makes of 64 KiB in a `Vec<u8>` and in `Bytes`.
fn codec(_: usize, _: usize) -> Result<(), Failure> {
    let bytes = Bytes::from(vec![7_u8; 64 << 10]);
    let mut memory = vec![0; bytes.len() + 8];
    Bincode::encode(&bytes, &mut Writer::new(&mut memory))?;
    let copy = || per_round(50, || Ok(black_box(&bytes).to_vec()));
    let (copied, as_bytes) = in_turns(copy, || per_round(50, || decode::<Bytes>(&memory)))?;
    let (copied_too, as_vec) = in_turns(copy, || per_round(5, || decode::<Vec<u8>>(&memory)))?;
    row("64 KiB, copied into a fresh vector", &copied, None);
    row("64 KiB, decoded as codec::Bytes", &as_bytes, Some(&copied));
    row("64 KiB, decoded as Vec<u8>", &as_vec, Some(&copied_too));
    Ok(())
}

fn decode<T>(memory: &[u8]) -> Result<T, Failure>
where
    Bincode: Codec<T>,
{
    Ok(Bincode::decode(Reader::new(black_box(memory)))?)
}

// ------------------------------------------------------------------ without the channel

#[repr(align(128))]
struct Line(AtomicU64);

/// One word there and one back, each on a line of its own.
fn bare_round_trip(other: usize, rounds: u64) -> Result<f64, Failure> {
    let (there, back) = (Line(AtomicU64::new(0)), Line(AtomicU64::new(0)));
    with_echo(
        other,
        &there,
        &back,
        || (),
        || {
            let start = Instant::now();
            for round in 1..=rounds {
                there.0.store(round, Ordering::Release);
                while back.0.load(Ordering::Acquire) != round {
                    spin_loop();
                }
            }
            nanos(start.elapsed()) / rounds as f64
        },
    )
}

/// A struct encoded and decoded twice, as in a round trip, while the other core looks for a word:
/// where two processors share one core's units, they slow each other down.
fn codec_beside_a_busy_core(other: usize, rounds: u64) -> Result<f64, Failure> {
    let (there, back) = (Line(AtomicU64::new(0)), Line(AtomicU64::new(0)));
    let order = order(7);
    let mut memory = [0; 64];
    let twice = || {
        for _ in 0..2 {
            let mut writer = Writer::new(&mut memory);
            Bincode::encode(black_box(&order), &mut writer)?;
            let len = writer.len();
            black_box(decode::<Order>(&memory[..len])?);
        }
        Ok(())
    };
    with_echo(other, &there, &back, || (), || per_round(rounds, twice))?
}

/// Bytes copied into a shared buffer by one core and out of it by another.
fn cross_core_copy(other: usize, len: usize, rounds: u64) -> Result<f64, Failure> {
    let (there, back) = (Line(AtomicU64::new(0)), Line(AtomicU64::new(0)));
    let source = vec![7_u8; len];
    let (shared, target) = (Mutex::new(vec![0_u8; len]), Mutex::new(vec![0_u8; len]));
    let lock = || shared.lock().expect("nobody panics with the lock");
    let take = || {
        let mut target = target.lock().expect("nobody panics with the lock");
        target.copy_from_slice(&lock());
        black_box(&target);
    };
    with_echo(other, &there, &back, take, || {
        let start = Instant::now();
        for round in 1..=rounds {
            lock().copy_from_slice(black_box(&source));
            there.0.store(round, Ordering::Release);
            while back.0.load(Ordering::Acquire) != round {
                spin_loop();
            }
        }
        nanos(start.elapsed()) / rounds as f64
    })
}

/// Runs `measure` while a thread on the `other` core answers each round after it has done `each`.
fn with_echo<R>(
    other: usize,
    there: &Line,
    back: &Line,
    each: impl Fn() + Sync,
    measure: impl FnOnce() -> R,
) -> Result<R, Failure> {
    const READY: u64 = u64::MAX - 1;
    const END: u64 = u64::MAX;
    thread::scope(|scope| {
        let echo = scope.spawn(|| {
            let pinned = pin(other);
            back.0.store(READY, Ordering::Release);
            let mut last = 0;
            loop {
                let round = there.0.load(Ordering::Acquire);
                if round == END {
                    return pinned;
                }
                if round != last {
                    each();
                    back.0.store(round, Ordering::Release);
                    last = round;
                }
                spin_loop();
            }
        });
        while back.0.load(Ordering::Acquire) != READY {
            thread::yield_now();
        }
        let measured = measure();
        there.0.store(END, Ordering::Release);
        echo.join().map_err(|_| "the echoing thread died")??;
        Ok(measured)
    })
}

// ------------------------------------------------------------------ the other process

/// A process on the other side of two channels.
struct Peer<T, A> {
    there: Sender<T>,
    back: Receiver<A>,
    running: Running,
}

/// A process that ends when it is told, and is ended when it is not.
struct Running(Child);

impl<T, A> Peer<T, A>
where
    Bincode: Codec<T> + Codec<A>,
{
    fn start(
        role: &str,
        core: usize,
        there: &Options<T, Bincode>,
        back: &Options<A, Bincode>,
    ) -> Result<Self, Failure> {
        let name = format!("channel bench {} {role}", std::process::id());
        let there = there.create(format!("{name} there"))?.sender()?;
        let back = back.create(format!("{name} back"))?.receiver()?;
        Ok(Peer { there, back, running: start(role, core, &name)? })
    }

    fn end(self) -> Result<(), Failure> {
        drop(self.there);
        self.running.end()
    }
}

fn start(role: &str, core: usize, name: &str) -> Result<Running, Failure> {
    let core = core.to_string();
    Ok(Running(Command::new(env::current_exe()?).args(["--peer", role, &core, name]).spawn()?))
}

impl Running {
    fn end(mut self) -> Result<(), Failure> {
        let status = self.0.wait()?;
        if status.success() { Ok(()) } else { Err(format!("the peer: {status}").into()) }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // After `end` there is nobody left to kill.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn peer(role: &str, core: &str, name: &str) -> Result<(), Failure> {
    pin(core.parse()?)?;
    match role {
        "echo" | "echo, asleep" => {
            let mut options = Channel::<Order>::options();
            if role == "echo, asleep" {
                options = options.spin(Duration::ZERO);
            }
            let there = options.open(format!("{name} there"))?.receiver()?;
            let back = options.open(format!("{name} back"))?.sender()?;
            for order in &there {
                back.send(&order?)?;
            }
        }
        "count orders" => {
            let there = Channel::<Order>::open(format!("{name} there"))?.receiver()?;
            let back = Channel::<u64>::open(format!("{name} back"))?.sender()?;
            let mut expected = 0;
            for order in &there {
                let id = order?.id;
                if id == u64::MAX {
                    back.send(&expected)?;
                    expected = 0;
                } else if id == expected {
                    expected += 1;
                } else {
                    return Err(format!("order {expected} was due, {id} came").into());
                }
            }
        }
        "count bytes" => {
            let there = Channel::<Bytes>::open(format!("{name} there"))?.receiver()?;
            let back = Channel::<u64>::open(format!("{name} back"))?.sender()?;
            for bytes in &there {
                back.send(&(bytes?.len() as u64))?;
            }
        }
        "raw semaphores" => {
            let semaphores = raw::Semaphores::of(name.parse()?);
            // The set is removed when all is over.
            while semaphores.wait(0).is_ok() && semaphores.post(1).is_ok() {}
        }
        "raw queue" => {
            let queue = raw::Queue::of(name.parse()?);
            let mut message = raw::Message { mtype: 1, text: [0; 64] };
            while let Ok(len) = queue.receive(1, &mut message) {
                message.mtype = 2;
                if queue.send(&message, len).is_err() {
                    break;
                }
            }
        }
        _ => return Err(format!("there is no role {role:?}").into()),
    }
    Ok(())
}

fn answers() -> Options<u64, Bincode> {
    Channel::<u64>::options().inline_limit(0).lanes(1)
}

fn round_trip(echo: &Peer<Order, Order>, rounds: u64) -> Result<f64, Failure> {
    let order = order(7);
    per_round(rounds, || {
        echo.there.send(&order)?;
        Ok(echo.back.recv()?)
    })
}

// ------------------------------------------------------------------ measuring

/// Nanoseconds a round.
fn per_round<R>(
    rounds: u64,
    mut round: impl FnMut() -> Result<R, Failure>,
) -> Result<f64, Failure> {
    let start = Instant::now();
    for _ in 0..rounds {
        black_box(round()?);
    }
    Ok(nanos(start.elapsed()) / rounds as f64)
}

fn samples(mut sample: impl FnMut() -> Result<f64, Failure>) -> Result<Vec<f64>, Failure> {
    sample()?;
    (0..SAMPLES).map(|_| sample()).collect()
}

/// Samples of both in turns, after one of each for warming up.
fn in_turns(
    mut one: impl FnMut() -> Result<f64, Failure>,
    mut other: impl FnMut() -> Result<f64, Failure>,
) -> Result<(Vec<f64>, Vec<f64>), Failure> {
    one()?;
    other()?;
    let mut pairs = (Vec::new(), Vec::new());
    for _ in 0..SAMPLES {
        pairs.0.push(one()?);
        pairs.1.push(other()?);
    }
    Ok(pairs)
}

fn median(mut samples: Vec<f64>) -> f64 {
    samples.sort_by(f64::total_cmp);
    samples[samples.len() / 2]
}

fn row(what: &str, samples: &[f64], base: Option<&[f64]>) {
    let time = median(samples.to_vec());
    let time =
        if time < 10_000.0 { format!("{time:.0} ns") } else { format!("{:.1} us", time / 1e3) };
    let ratio = base.map(|base| {
        let ratio = |(at, sample): (usize, &f64)| {
            // The neighbours on both sides, where there are two.
            let after = base.get(at + 1).unwrap_or(&base[at]);
            sample / ((base[at] + after) / 2.0)
        };
        format!("{:.2}", median(samples.iter().enumerate().map(ratio).collect()))
    });
    println!("{what:<54}{time:>12}{:>10}", ratio.unwrap_or_default());
}

fn nanos(time: Duration) -> f64 {
    time.as_nanos() as f64
}

fn cores() -> Result<Vec<usize>, Failure> {
    let allowed = sched_getaffinity(Pid::from_raw(0))?;
    let mut cores = Vec::new();
    for core in 0..CpuSet::count() {
        if allowed.is_set(core)? {
            cores.push(core);
        }
    }
    Ok(cores)
}

/// Keeps the calling thread on one core.
fn pin(core: usize) -> Result<(), Failure> {
    let mut set = CpuSet::new();
    set.set(core)?;
    Ok(sched_setaffinity(Pid::from_raw(0), &set)?)
}
