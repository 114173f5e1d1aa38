//! Processes, cores, and samples that stand between two bare round trips.

use std::env;
use std::hint::spin_loop;
use std::process::{Child, Command};
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Pid, getppid};

use crate::peer::{Client, Failure, Order, Peer, STOP, Wait, Work};

/// How far the bare round trips on both sides of a sample may differ.
const MOVED: f64 = 0.2;
/// Bare round trips on each side of a sample.
const BARE_ROUNDS: u64 = 1000;
/// About how long a sample takes.
const SAMPLE: Duration = Duration::from_millis(2);
const FEWEST_ROUNDS: u64 = 16;

/// The two cores that everything is pinned to: this process's, and the server's.
#[derive(Debug, Clone, Copy)]
pub struct Cores {
    pub mine: usize,
    pub other: usize,
}

impl Cores {
    /// Takes the first two cores that this process may use, and stays on the first.
    pub fn take() -> Result<Self, Failure> {
        let allowed = sched_getaffinity(Pid::from_raw(0))?;
        let mut cores = (0..CpuSet::count()).filter(|&core| allowed.is_set(core) == Ok(true));
        let (Some(mine), Some(other)) = (cores.next(), cores.next()) else {
            return Err("this takes two processors".into());
        };
        pin(mine)?;
        Ok(Cores { mine, other })
    }
}

/// Keeps the calling thread on one core, and those that it starts.
fn pin(core: usize) -> Result<(), Failure> {
    let mut set = CpuSet::new();
    set.set(core)?;
    Ok(sched_setaffinity(Pid::from_raw(0), &set)?)
}

/// For a server's process: stays on its core, and ends with its parent.
pub fn pin_as_child(core: &str) -> Result<(), Failure> {
    set_pdeathsig(Signal::SIGKILL)?;
    if getppid() == Pid::from_raw(1) {
        return Err("the benchmark is gone".into());
    }
    pin(core.parse()?)
}

static STOP_ASKED: AtomicBool = AtomicBool::new(false);

/// Has a run end like a failed one on Ctrl-C, so that nothing is left behind then either.
pub fn stop_on_signals() -> Result<(), Failure> {
    let signals = SigSet::from_iter([Signal::SIGINT, Signal::SIGTERM]);
    signals.thread_block()?;
    thread::spawn(move || signals.wait().map(|_| STOP_ASKED.store(true, Ordering::Relaxed)));
    Ok(())
}

// ------------------------------------------------------------------ a server and its clients

/// A server's process, which stands still except while it is measured.
struct Server(Child);

impl Server {
    fn start<P: Peer>(core: usize, work: Work, wait: Wait, address: &str) -> Result<Self, Failure> {
        let core = core.to_string();
        let (work, wait) = (format!("{work:?}"), format!("{wait:?}"));
        let arguments = ["--serve", P::NAME, &core, &work, &wait, address];
        Ok(Server(Command::new(env::current_exe()?).args(arguments).spawn()?))
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(self.0.id() as i32)
    }

    fn stand_still(&self) -> Result<(), Failure> {
        kill(self.pid(), Signal::SIGSTOP)?;
        match waitpid(self.pid(), Some(WaitPidFlag::WUNTRACED))? {
            WaitStatus::Stopped(..) => Ok(()),
            ended => Err(format!("the server ended: {ended:?}").into()),
        }
    }

    fn go_on(&self) -> Result<(), Failure> {
        Ok(kill(self.pid(), Signal::SIGCONT)?)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // After a good end there is nobody left to kill.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What is measured on a peer.
#[derive(Debug, Clone, Copy)]
pub struct Setting {
    pub work: Work,
    pub wait: Wait,
    pub one_core: bool,
    pub clients: usize,
    /// Bytes of a reply in bulk.
    pub len: u64,
}

/// A peer that is ready to be measured, with its type forgotten.
pub trait Ready {
    fn name(&self) -> &'static str;
    fn blocks(&self) -> bool;
    /// Nanoseconds a call, of one sample.
    fn sample(&mut self) -> Result<f64, Failure>;
    fn end(self: Box<Self>) -> Result<(), Failure>;
}

struct Pair<P: Peer> {
    // The clients go first, also where an error ends it.
    clients: Vec<P::Client>,
    server: Server,
    setting: Setting,
    rounds: u64,
}

/// Starts a peer's server and connects its clients.
pub fn start<P: Peer + 'static>(cores: Cores, setting: Setting) -> Result<Box<dyn Ready>, Failure> {
    let Setting { work, wait, one_core, clients, .. } = setting;
    let (meeting, address) = P::meet(clients)?;
    let core = if one_core { cores.mine } else { cores.other };
    let server = Server::start::<P>(core, work, wait, &address)?;
    let clients = P::connect(meeting, &address, work, wait, clients)?;
    let mut pair = Pair::<P> { clients, server, setting, rounds: FEWEST_ROUNDS };
    // So many rounds as fill a sample, by a look at a few.
    let first = pair.measure()?;
    let fitting = SAMPLE.as_nanos() as f64 / first;
    pair.rounds = (fitting as u64 / setting.clients as u64).max(FEWEST_ROUNDS);
    pair.server.stand_still()?;
    Ok(Box::new(pair))
}

impl<P: Peer> Pair<P> {
    fn measure(&mut self) -> Result<f64, Failure> {
        let Setting { len, work, .. } = self.setting;
        let rounds = self.rounds;
        let run = |client: &mut P::Client, rounds: u64| match work {
            Work::Orders => ask(client, rounds),
            Work::Bulk => fetch(client, rounds, len),
        };
        if let [client] = &mut self.clients[..] {
            // The server was just woken up, or started: its caches are another's.
            run(client, rounds / 8 + 1)?;
            let start = Instant::now();
            run(client, rounds)?;
            return Ok(nanos(start.elapsed()) / rounds as f64);
        }
        let count = self.clients.len();
        let barrier = Barrier::new(count + 1);
        thread::scope(|scope| {
            let threads: Vec<_> = self
                .clients
                .iter_mut()
                .map(|client| {
                    scope.spawn(|| {
                        let warm = run(client, rounds / 8 + 1);
                        barrier.wait();
                        let done = warm.and_then(|()| run(client, rounds));
                        barrier.wait();
                        done
                    })
                })
                .collect();
            barrier.wait();
            let start = Instant::now();
            barrier.wait();
            let time = nanos(start.elapsed());
            for thread in threads {
                thread.join().map_err(|_| "a client panicked")??;
            }
            Ok(time / (rounds * count as u64) as f64)
        })
    }
}

fn ask(client: &mut impl Client, rounds: u64) -> Result<(), Failure> {
    let mut order = Order::new(0);
    for id in 1..=rounds {
        order.id = id;
        let came = client.call(&order)?;
        if came != id {
            return Err(format!("order {id} was due, {came} came").into());
        }
    }
    Ok(())
}

fn fetch(client: &mut impl Client, rounds: u64, len: u64) -> Result<(), Failure> {
    for _ in 0..rounds {
        let came = client.fetch(len)?;
        if came != len {
            return Err(format!("{len} bytes were due, {came} came").into());
        }
    }
    Ok(())
}

impl<P: Peer> Ready for Pair<P> {
    fn name(&self) -> &'static str {
        P::NAME
    }

    fn blocks(&self) -> bool {
        P::BLOCKS
    }

    fn sample(&mut self) -> Result<f64, Failure> {
        self.server.go_on()?;
        let time = self.measure();
        self.server.stand_still()?;
        time
    }

    fn end(mut self: Box<Self>) -> Result<(), Failure> {
        self.server.go_on()?;
        if let Some(client) = self.clients.first_mut() {
            match self.setting.work {
                Work::Orders => client.call(&Order::new(STOP)).map(drop)?,
                Work::Bulk => client.fetch(STOP).map(drop)?,
            }
        }
        let Pair { clients, mut server, .. } = *self;
        drop(clients);
        let status = server.0.wait()?;
        if status.success() { Ok(()) } else { Err(format!("{}: {status}", P::NAME).into()) }
    }
}

// ------------------------------------------------------------------ samples

/// One peer's samples of one figure.
#[derive(Debug, Default)]
pub struct Samples {
    /// Nanoseconds a call, and how often the bare round trip beside it that is.
    pub kept: Vec<(f64, f64)>,
    pub dropped: usize,
}

/// Measures all in turns. Also what the bare round trips took.
pub fn in_turns(
    cores: Cores,
    peers: &mut [Box<dyn Ready>],
    rounds: usize,
) -> Result<(Vec<Samples>, Vec<f64>), Failure> {
    let mut samples: Vec<Samples> = peers.iter().map(|_| Samples::default()).collect();
    let mut bare = vec![bare_round_trip(cores)?];
    for _ in 0..rounds {
        if STOP_ASKED.load(Ordering::Relaxed) {
            return Err("it was asked to stop".into());
        }
        for (peer, samples) in peers.iter_mut().zip(&mut samples) {
            let before = bare[bare.len() - 1];
            let time = peer.sample()?;
            let after = bare_round_trip(cores)?;
            bare.push(after);
            if (after - before).abs() > MOVED * before.min(after) {
                samples.dropped += 1;
            } else {
                samples.kept.push((time, time * 2.0 / (before + after)));
            }
        }
    }
    Ok((samples, bare))
}

/// A cache line, alone on the pair of lines that processors fetch together.
#[repr(align(128))]
struct Line(AtomicU64);

/// One word to the other core and back, in one line that both write.
fn bare_round_trip(cores: Cores) -> Result<f64, Failure> {
    const READY: u64 = 1;
    // Even: it is this side's turn to be looked at by the other.
    const START: u64 = 2;
    let line = Line(AtomicU64::new(0));
    let wait_for = |value| {
        while line.0.load(Ordering::Acquire) != value {
            spin_loop();
        }
    };
    thread::scope(|scope| {
        let echo = scope.spawn(|| {
            let pinned = pin(cores.other);
            line.0.store(READY, Ordering::Release);
            for round in 0..BARE_ROUNDS {
                wait_for(START + round * 2);
                line.0.store(START + round * 2 + 1, Ordering::Release);
            }
            pinned
        });
        // The other one may have to wait for its core.
        while line.0.load(Ordering::Acquire) != READY {
            thread::yield_now();
        }
        let start = Instant::now();
        for round in 0..BARE_ROUNDS {
            line.0.store(START + round * 2, Ordering::Release);
            wait_for(START + round * 2 + 1);
        }
        let time = nanos(start.elapsed()) / BARE_ROUNDS as f64;
        echo.join().map_err(|_| "the echoing thread died")??;
        Ok(time)
    })
}

fn nanos(time: Duration) -> f64 {
    time.as_nanos() as f64
}
