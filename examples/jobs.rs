//! A pool of worker processes on one channel that finishes every job, although its workers are killed at random.
//!
//! This program starts itself again three times. The workers all receive from one channel, each job with a guard,
//! and send the result before they say that the job is done. Meanwhile the program kills one worker after another,
//! at any moment, and starts others in their place: the kernel gives what a killed one had in hand to another. In the
//! end every job was done, and twice only where its worker was killed between the result and `done`. One job ends
//! every worker that begins it; the others set it aside when they see how often it was given out.
//!
//! ```sh
//! cargo run --release --example jobs
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::process::{Child, Command, ExitCode};
use std::time::Duration;
use std::{env, thread};

use serde::{Deserialize, Serialize};
use sysv_channel::{Channel, Receiver, RecvError};

type Failure = Box<dyn Error + Send + Sync>;

#[derive(Debug, Serialize, Deserialize)]
struct Job {
    number: u64,
    factors: Vec<u64>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Outcome {
    number: u64,
    worker: u32,
    /// Nothing where the job was set aside.
    product: Option<u64>,
}

const WORKERS: usize = 3;
const JOBS: u64 = 2000;
const KILLS: usize = 20;

/// The job that no worker survives.
const DEADLY: u64 = 777;

/// How often a job is begun before it is set aside.
const ATTEMPTS: u64 = 3;

/// With which a worker ends that the deadly job ended.
const ENDED: i32 = 7;

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let done = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => lead(),
        ["--worker", jobs, outcomes] => worker(jobs, outcomes),
        _ => Err("usage: jobs".into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("jobs: {error}");
            ExitCode::FAILURE
        }
    }
}

fn factors(number: u64) -> Vec<u64> {
    (1..=number % 20 + 1).collect()
}

fn lead() -> Result<(), Failure> {
    let names = ["jobs", "outcomes"].map(|name| format!("{name} {}", std::process::id()));
    let jobs = Channel::<Job>::options().capacity(0).receivers(WORKERS + 1).create(&*names[0])?;
    // Receives nothing: it keeps the sender from hearing that the receivers are gone, in a moment in which
    // each worker was killed or is only about to attach.
    let keeper = jobs.receiver()?;
    // Workers come and go.
    let outcomes = Channel::<Outcome>::options().stays_open().create(&*names[1])?;
    let (tx, rx) = (jobs.sender()?, outcomes.receiver()?);
    let sending = thread::spawn(move || {
        (0..JOBS).try_for_each(|number| tx.send(&Job { number, factors: factors(number) }))
    });
    let mut pool = Pool { names: &names, workers: Vec::new(), killed: BTreeSet::new() };
    for _ in 0..WORKERS {
        pool.workers.push(pool.start()?);
    }
    let told = pool.run(&rx);
    let workers = pool.killed.len();
    let checked = told.and_then(|told| check(&told, &pool.killed));
    // Without receivers a sender that waits for room ends too.
    drop((pool, keeper, jobs));
    sending.join().map_err(|_| "the sender panicked")??;
    let twice = checked?;
    println!("{JOBS} jobs, {} done and one set aside; {workers} workers killed", JOBS - 1);
    println!("done twice, by a worker that was killed before it could say so: {twice}");
    drop((rx, outcomes));
    let left =
        Channel::<Job>::open(&*names[0]).is_ok() || Channel::<Outcome>::open(&*names[1]).is_ok();
    println!("left behind: {}", if left { "a channel" } else { "nothing" });
    Ok(())
}

/// The workers, which end with it.
struct Pool<'n> {
    names: &'n [String; 2],
    workers: Vec<Child>,
    killed: BTreeSet<u32>,
}

impl Pool<'_> {
    /// Keeps the pool working, kills now and then, and collects who told what of each job.
    fn run(&mut self, rx: &Receiver<Outcome>) -> Result<BTreeMap<u64, Vec<Outcome>>, Failure> {
        let mut told: BTreeMap<u64, Vec<Outcome>> = BTreeMap::new();
        let mut kills = 0;
        while (told.len() as u64) < JOBS {
            self.replace()?;
            // Spread over the run; at which moment of a worker's is chance.
            if kills < KILLS && told.len() * KILLS > kills * JOBS as usize {
                let place = kills % WORKERS;
                let victim = &mut self.workers[place];
                self.killed.insert(victim.id());
                victim.kill()?;
                victim.wait()?;
                self.workers[place] = self.start()?;
                kills += 1;
            }
            match rx.recv_timeout(Duration::from_millis(10)) {
                Ok(outcome) => told.entry(outcome.number).or_default().push(outcome),
                Err(error) if error.is_timeout() => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(told)
    }

    fn start(&self) -> Result<Child, Failure> {
        let mut worker = Command::new(env::current_exe()?);
        Ok(worker.arg("--worker").args(self.names).spawn()?)
    }

    /// Starts a worker in the place of each that the deadly job has ended.
    fn replace(&mut self) -> Result<(), Failure> {
        for place in 0..WORKERS {
            let worker = &mut self.workers[place];
            match worker.try_wait()?.map(|status| status.code()) {
                None => {}
                // There are no jobs left.
                Some(Some(0)) => {}
                Some(Some(ENDED)) => {
                    self.killed.insert(worker.id());
                    self.workers[place] = self.start()?;
                }
                Some(status) => return Err(format!("a worker failed: {status:?}").into()),
            }
        }
        Ok(())
    }
}

impl Drop for Pool<'_> {
    fn drop(&mut self) {
        for worker in &mut self.workers {
            // Both fail if it has ended.
            let _ = worker.kill();
            let _ = worker.wait();
        }
    }
}

/// Whether every job was done once, or by workers that were killed before they had handed it over; says how
/// many were done twice.
fn check(told: &BTreeMap<u64, Vec<Outcome>>, killed: &BTreeSet<u32>) -> Result<usize, Failure> {
    let mut twice = 0;
    for (&number, outcomes) in told {
        let expected = (number != DEADLY).then(|| factors(number).iter().product());
        if outcomes.iter().any(|outcome| outcome.product != expected) {
            return Err(format!("job {number} came out wrong: {outcomes:?}").into());
        }
        let (_, before) = outcomes.split_last().ok_or("a job without an outcome")?;
        if let Some(outcome) = before.iter().find(|outcome| !killed.contains(&outcome.worker)) {
            return Err(format!("job {number} was done again: {outcome:?}").into());
        }
        twice += before.len();
    }
    Ok(twice)
}

fn worker(jobs: &str, outcomes: &str) -> Result<(), Failure> {
    let rx = Channel::<Job>::open(jobs)?.receiver()?;
    let tx = Channel::<Outcome>::open(outcomes)?.sender()?;
    let me = std::process::id();
    loop {
        let job = match rx.recv_guard() {
            Err(RecvError::Disconnected { .. }) => return Ok(()),
            job => job?,
        };
        let aside = job.deliveries() > ATTEMPTS;
        if job.number == DEADLY && !aside {
            std::process::exit(ENDED);
        }
        let product = (!aside).then(|| job.factors.iter().product());
        tx.send(&Outcome { number: job.number, worker: me, product })?;
        job.done();
    }
}
