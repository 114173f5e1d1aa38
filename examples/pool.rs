//! A pool of worker processes on one bare queue: the kernel hands each job to whoever is free.
//!
//! This program starts itself again four times. The workers all receive from one [`Queue`] and send
//! results to a second one. Each is checked; removing the queues is also what ends the workers.
//!
//! ```sh
//! cargo run --release --example pool
//! ```
//!
//! # What a bare queue does not do
//!
//! - A message holds at most `kernel.msgmax` bytes (8,192 unless raised), and all that wait together
//!   at most the queue's capacity, `kernel.msgmnb` (16,384 unless raised; see
//!   `QueueOptions::capacity`). A job that can never fit is the error that this program prints, not
//!   a wait. Larger jobs go by a `Channel`, or by name: a path, a key, an offset.
//! - It is at most once: a job dies with the worker that has it. Whoever needs it done all the same
//!   notices the missing result, as this program would, and sends the job again; or shares a channel
//!   among several receivers, which do each job at least once: see the example `jobs`.

use std::collections::BTreeMap;
use std::error::Error;
use std::process::{Child, Command, ExitCode};
use std::time::Duration;
use std::{env, io};

use serde::{Deserialize, Serialize};
use sysv_channel::{Queue, QueueRecvError, QueueSendError};

type Failure = Box<dyn Error + Send + Sync>;

#[derive(Debug, Serialize, Deserialize)]
struct Job {
    number: u64,
    factors: Vec<u64>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Done {
    number: u64,
    worker: u32,
    product: u64,
}

const WORKERS: usize = 4;
const JOBS: u64 = 2000;
/// Jobs under way. Their results fit on the second queue, so that nobody waits in a circle.
const UNDER_WAY: u64 = 64;

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let done = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => lead(),
        ["--worker", name] => worker(name),
        _ => Err("usage: pool".into()),
    };
    done.map_or_else(failed, |()| ExitCode::SUCCESS)
}

fn failed(error: Failure) -> ExitCode {
    eprintln!("pool: {error}");
    ExitCode::FAILURE
}

fn lead() -> Result<(), Failure> {
    let name = format!("pool {}", std::process::id());
    let names = ["jobs", "done"].map(|queue| format!("{name} {queue}"));
    let jobs = Owned(Queue::<Job>::create(names[0].as_str())?);
    let done = Owned(Queue::<Done>::create(names[1].as_str())?);
    let workers: Vec<_> = (0..WORKERS).map(|_| start(&name)).collect();
    let shared = too_long(&jobs.0).and_then(|()| share_out(&jobs.0, &done.0));
    // Whoever waits for a job is told that the queue is gone, and ends.
    drop(jobs);
    let ended: Vec<_> = workers.into_iter().map(wait_for).collect();
    drop(done);
    shared?;
    ended.into_iter().collect::<Result<(), _>>()?;
    let left = names.into_iter().any(|name| Queue::<()>::open(name).is_ok());
    println!("left behind: {}", if left { "a queue" } else { "nothing" });
    Ok(())
}

/// A bare queue stays until somebody removes it.
struct Owned<T>(Queue<T>);

impl<T> Drop for Owned<T> {
    fn drop(&mut self) {
        if let Err(error) = self.0.remove() {
            eprintln!("pool: {error}");
        }
    }
}

fn start(name: &str) -> io::Result<Child> {
    Command::new(env::current_exe()?).args(["--worker", name]).spawn()
}

fn wait_for(worker: io::Result<Child>) -> Result<(), Failure> {
    let status = worker?.wait()?;
    if status.success() { Ok(()) } else { Err(format!("a worker failed: {status}").into()) }
}

/// A job with more bytes than the queue has is refused, whatever the limits are here.
fn too_long(jobs: &Queue<Job>) -> Result<(), Failure> {
    let factors = vec![1; jobs.stat()?.capacity as usize / 8 + 1];
    match jobs.send(&Job { number: JOBS, factors }) {
        Err(error @ QueueSendError::TooLong { .. }) => {
            println!("too long: {error}");
            Ok(())
        }
        other => Err(format!("a job longer than the queue gave {other:?}").into()),
    }
}

fn share_out(jobs: &Queue<Job>, done: &Queue<Done>) -> Result<(), Failure> {
    let mut missing = BTreeMap::new();
    let mut shares = BTreeMap::<u32, u64>::new();
    let mut next = 0;
    while next < JOBS || !missing.is_empty() {
        while next < JOBS && (missing.len() as u64) < UNDER_WAY {
            let factors: Vec<u64> = (1..=next % 20 + 1).collect();
            missing.insert(next, factors.iter().product::<u64>());
            jobs.send(&Job { number: next, factors })?;
            next += 1;
        }
        // The next result, whoever has it. A worker that died leaves its job missing.
        let Done { number, worker, product } = done.recv_timeout(Duration::from_secs(10))?;
        if missing.remove(&number) != Some(product) {
            return Err(format!("job {number} came back twice or wrong: {product}").into());
        }
        *shares.entry(worker).or_default() += 1;
    }
    println!("{JOBS} jobs, each done once; by process: {shares:?}");
    Ok(())
}

fn worker(name: &str) -> Result<(), Failure> {
    let jobs = match Queue::<Job>::open(format!("{name} jobs")) {
        // The others were done before this one had started.
        Err(error) if error.is_not_found() => return Ok(()),
        jobs => jobs?,
    };
    let done = Queue::<Done>::open(format!("{name} done"))?;
    loop {
        let Job { number, factors } = match jobs.recv() {
            Err(QueueRecvError::Removed { .. }) => return Ok(()),
            job => job?,
        };
        done.send(&Done { number, worker: std::process::id(), product: factors.iter().product() })?;
    }
}
