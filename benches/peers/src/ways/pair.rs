//! Both sides of two channels, measured.

use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use super::{Field, Inside, Rx, Setting, Shape, Tx, Way};
use crate::Failure;
use crate::cores::{self, Cores};
use crate::process::Server;
use crate::samples::{LEAST_BYTES, Ready, nanos};
use crate::values::Value;

pub type Started = Result<Box<dyn Ready>, Failure>;

/// The id of a value after which an answer is due.
const MARK: u64 = u64::MAX - 1;
/// The id of a value that ends the other side, after its answer.
const STOP: u64 = u64::MAX;
/// An answer's length, where it can have any.
const ANSWER: usize = 8;

/// About how long a sample takes.
const SAMPLE: Duration = Duration::from_millis(3);
/// With many senders, whose threads take turns on one core for milliseconds each.
const SAMPLE_OF_MANY: Duration = Duration::from_millis(20);
/// So few only where the values are large.
const FEWEST_ROUNDS: u64 = 3;
/// For a first look at what one takes.
const FIRST_ROUNDS: u64 = 8;
/// With many senders, whose threads take longer to start than to send so much.
const FIRST_ROUNDS_OF_MANY: u64 = 4096;

/// This side.
struct Near<V, T, R> {
    txs: Vec<T>,
    rx: R,
    value: V,
    setting: Setting,
    rounds: u64,
}

impl<V: Value, T: Tx<V> + Send, R: Rx<V>> Near<V, T, R> {
    fn new(txs: Vec<T>, rx: R, setting: Setting) -> Self {
        Near { txs, rx, value: V::sized(setting.len), setting, rounds: 0 }
    }

    /// Nanoseconds a round, of so many as fill a sample.
    fn measure(&mut self) -> Result<f64, Failure> {
        if self.rounds == 0 {
            let (few, sample) = match self.setting.shape {
                Shape::FanIn => (FIRST_ROUNDS_OF_MANY, SAMPLE_OF_MANY),
                _ => (FIRST_ROUNDS, SAMPLE),
            };
            self.run(few)?;
            let first = self.run(few * 8)?;
            let fewest = match (self.setting.shape, self.setting.len as u64) {
                (Shape::Stream, len @ 1024..) => (LEAST_BYTES / len).max(FEWEST_ROUNDS),
                _ => FEWEST_ROUNDS,
            };
            self.rounds = ((sample.as_nanos() as f64 / first) as u64).max(fewest);
        }
        // The other side was just woken up, or started: its caches are another's.
        self.run(self.rounds / 8 + 1)?;
        self.run(self.rounds)
    }

    fn run(&mut self, rounds: u64) -> Result<f64, Failure> {
        match self.setting.shape {
            Shape::RoundTrip => {
                let start = Instant::now();
                for id in 0..rounds {
                    self.round_trip(id)?;
                }
                Ok(nanos(start.elapsed()) / rounds as f64)
            }
            Shape::Stream => {
                let start = Instant::now();
                stream(&mut self.txs[0], &mut self.value.clone(), rounds)?;
                self.answered(MARK)?;
                Ok(nanos(start.elapsed()) / rounds as f64)
            }
            Shape::FanIn => self.fan_in(rounds),
        }
    }

    fn round_trip(&mut self, id: u64) -> Result<(), Failure> {
        self.value.set_id(id);
        self.txs[0].send(&self.value)?;
        self.txs[0].flush()?;
        self.answered(id)
    }

    fn answered(&mut self, id: u64) -> Result<(), Failure> {
        match self.rx.recv()? {
            came if came == id => Ok(()),
            came => Err(format!("an answer to {id} was due, one to {came} came").into()),
        }
    }

    fn fan_in(&mut self, rounds: u64) -> Result<f64, Failure> {
        let each = rounds / self.txs.len() as u64 + 1;
        let total = each * self.txs.len() as u64;
        let barrier = Barrier::new(self.txs.len() + 1);
        let value = &self.value;
        let Near { txs, rx, .. } = self;
        thread::scope(|scope| {
            let send = |tx| {
                let mut value = value.clone();
                let barrier = &barrier;
                scope.spawn(move || {
                    barrier.wait();
                    let start = Instant::now();
                    stream(tx, &mut value, each).map(|()| start)
                })
            };
            let threads: Vec<_> = txs.iter_mut().map(send).collect();
            barrier.wait();
            let came = rx.recv();
            let end = Instant::now();
            // This thread shares their core, and may go on long after the first of them.
            let mut first = end;
            for thread in threads {
                first = first.min(thread.join().map_err(|_| "a sender panicked")??);
            }
            if came? != MARK {
                return Err("another answer was due".into());
            }
            Ok(nanos(end - first) / total as f64)
        })
    }

    fn latencies(&mut self, count: usize) -> Result<Vec<f64>, Failure> {
        let mut latencies = Vec::with_capacity(count);
        let mut last = Instant::now();
        for id in 0..count as u64 {
            self.round_trip(id)?;
            let now = Instant::now();
            latencies.push(nanos(now - last));
            last = now;
        }
        Ok(latencies)
    }

    fn stop(&mut self) -> Result<(), Failure> {
        self.round_trip(STOP)
    }
}

/// So many values, and the one that asks for an answer.
fn stream<V: Value>(tx: &mut impl Tx<V>, value: &mut V, count: u64) -> Result<(), Failure> {
    for id in 0..count {
        value.set_id(id);
        tx.send(value)?;
    }
    value.set_id(MARK);
    tx.send(value)?;
    tx.flush()
}

/// The other side's work, until it is told to stop.
fn answer<V: Value>(
    tx: &mut impl Tx<V>,
    rx: &mut impl Rx<V>,
    setting: Setting,
) -> Result<(), Failure> {
    let mut value = V::sized(ANSWER);
    let mut answer = |id| {
        value.set_id(id);
        tx.send(&value)?;
        tx.flush()
    };
    let (mut due, mut marks) = (0, 0);
    loop {
        let id = rx.recv()?;
        match id {
            STOP => return answer(id),
            _ if setting.shape == Shape::RoundTrip => answer(id)?,
            MARK => {
                marks += 1;
                if marks == setting.senders {
                    answer(id)?;
                    (due, marks) = (0, 0);
                }
            }
            _ if setting.senders > 1 || id == due => due += 1,
            _ => return Err(format!("value {due} was due, {id} came").into()),
        }
    }
}

// ------------------------------------------------------------------ with another process

struct Pair<V, T, R> {
    // It goes first, also where an error ends it.
    near: Near<V, T, R>,
    server: Server,
}

pub fn start<W: Way<V>, V: Value>(
    cores: Cores,
    setting: Setting,
    name: &'static str,
    field: Field,
) -> Started {
    let (meeting, address) = W::meet(setting)?;
    let core = if setting.one_core { cores.mine } else { cores.other };
    let told = serde_json::to_string(&setting)?;
    let server = Server::start(core, &["way", name, &format!("{field:?}"), &told, &address])?;
    let (txs, rx) = W::connect(meeting, setting)?;
    let mut pair = Pair { near: Near::<V, _, _>::new(txs, rx, setting), server };
    pair.near.measure()?;
    pair.server.stand_still()?;
    Ok(Box::new(pair))
}

/// The other side.
pub fn serve<W: Way<V>, V: Value>(address: &str, setting: Setting) -> Result<(), Failure> {
    let (mut tx, mut rx) = W::join(address, setting)?;
    answer(&mut tx, &mut rx, setting)
}

impl<V: Value, T: Tx<V> + Send, R: Rx<V>> Pair<V, T, R> {
    /// Does something while the other side runs.
    fn awake<D>(
        &mut self,
        work: impl FnOnce(&mut Near<V, T, R>) -> Result<D, Failure>,
    ) -> Result<D, Failure> {
        self.server.go_on()?;
        let done = work(&mut self.near);
        self.server.stand_still()?;
        done
    }
}

impl<V: Value, T: Tx<V> + Send, R: Rx<V>> Ready for Pair<V, T, R> {
    fn sample(&mut self) -> Result<f64, Failure> {
        self.awake(Near::measure)
    }

    fn latencies(&mut self, count: usize) -> Result<Vec<f64>, Failure> {
        self.awake(|near| {
            near.measure()?;
            near.latencies(count)
        })
    }

    fn end(mut self: Box<Self>) -> Result<(), Failure> {
        self.server.go_on()?;
        self.near.stop()?;
        let Pair { near, server } = *self;
        // It may have to wait until it is told that nobody is there any more.
        drop(near);
        server.end()
    }
}

// ------------------------------------------------------------------ with another thread

struct Beside<V, T, R> {
    near: Near<V, T, R>,
    far: (T, R),
    core: usize,
}

pub fn start_inside<W: Inside<V>, V: Value>(cores: Cores, setting: Setting) -> Started {
    let (there, mut back) = (W::channel(setting), W::channel(Setting { senders: 1, ..setting }));
    let tx = back.0.pop().ok_or("there is no sender")?;
    let near = Near::<V, _, _>::new(there.0, back.1, setting);
    let core = if setting.one_core { cores.mine } else { cores.other };
    Ok(Box::new(Beside { near, far: (tx, there.1), core }))
}

impl<V: Value, T: Tx<V> + Send, R: Rx<V> + Send> Beside<V, T, R> {
    /// Does something while there is another side.
    fn beside<D>(
        &mut self,
        work: impl FnOnce(&mut Near<V, T, R>) -> Result<D, Failure>,
    ) -> Result<D, Failure> {
        let Beside { near, far: (tx, rx), core } = self;
        let setting = near.setting;
        thread::scope(|scope| {
            let far = scope.spawn(|| {
                cores::pin(*core)?;
                answer(tx, rx, setting)
            });
            let done = work(near)?;
            near.stop()?;
            far.join().map_err(|_| "the other side panicked")??;
            Ok(done)
        })
    }
}

impl<V: Value, T: Tx<V> + Send, R: Rx<V> + Send> Ready for Beside<V, T, R> {
    fn sample(&mut self) -> Result<f64, Failure> {
        self.beside(Near::measure)
    }

    fn latencies(&mut self, count: usize) -> Result<Vec<f64>, Failure> {
        self.beside(|near| {
            near.measure()?;
            near.latencies(count)
        })
    }
}
