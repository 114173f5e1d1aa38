//! A server and its clients, measured.

use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use super::peer::{Client, Peer, STOP, Work};
use crate::Failure;
use crate::cores::Cores;
use crate::process::Server;
use crate::samples::{LEAST_BYTES, Ready, nanos};
use crate::values::{Order, Wait};

/// About how long a sample takes.
const SAMPLE: Duration = Duration::from_millis(2);
const FEWEST_ROUNDS: u64 = 16;

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
    let part = ["call", P::NAME, &format!("{work:?}"), &format!("{wait:?}"), &address];
    let server = Server::start(core, &part)?;
    let clients = P::connect(meeting, &address, work, wait, clients)?;
    let mut pair = Pair::<P> { clients, server, setting, rounds: FEWEST_ROUNDS };
    // So many rounds as fill a sample, by a look at a few.
    let first = pair.measure()?;
    let fitting = SAMPLE.as_nanos() as f64 / first;
    let fewest = match work {
        Work::Orders => FEWEST_ROUNDS,
        Work::Bulk => (LEAST_BYTES / setting.len).max(FEWEST_ROUNDS),
    };
    pair.rounds = (fitting as u64 / setting.clients as u64).max(fewest);
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
        let barrier = Barrier::new(count);
        thread::scope(|scope| {
            let threads: Vec<_> = self
                .clients
                .iter_mut()
                .map(|client| {
                    scope.spawn(|| {
                        let warm = run(client, rounds / 8 + 1);
                        barrier.wait();
                        let start = Instant::now();
                        let done = warm.and_then(|()| run(client, rounds));
                        done.map(|()| (start, Instant::now()))
                    })
                })
                .collect();
            // They share a core: the last to begin may do so when the first is half done.
            let mut times = Vec::new();
            for thread in threads {
                times.push(thread.join().map_err(|_| "a client panicked")??);
            }
            let first = times.iter().map(|(start, _)| start).min();
            let last = times.iter().map(|(_, end)| end).max();
            let time = first.zip(last).map_or(0.0, |(first, last)| nanos(*last - *first));
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
        let Pair { clients, server, .. } = *self;
        drop(clients);
        server.end()
    }
}
