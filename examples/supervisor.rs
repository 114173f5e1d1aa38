//! A supervisor that restarts its workers whenever they are killed; callers see a retried call at most.
//!
//! ```sh
//! cargo run --release --example supervisor
//! ```
//!
//! The workers are this program again, as processes of their own. They are killed in the middle of their
//! work, time and again. The supervisor is one thread with one mailbox:
//! [`watch_into`](sysv_channel::actor::Address::watch_into) has the end of each worker arrive there.

use std::error::Error;
use std::process::{Child, Command};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use nix::sys::prctl;
use nix::sys::signal::Signal;
use serde::{Deserialize, Serialize};
use sysv_channel::Channel;
use sysv_channel::actor::{Address, Mailbox, ReplyTo, WatchGuard};

/// What a worker is told.
#[derive(Serialize, Deserialize)]
enum Worker {
    /// Says that it is there.
    Hello(ReplyTo<()>),
    /// Squares a number.
    Square(u64, ReplyTo<u64>),
}

/// What the supervisor is told.
#[derive(Serialize, Deserialize)]
enum Supervisor {
    /// This worker has ended.
    Ended(usize),
    /// There is nothing more to do.
    Over,
}

const WORKERS: usize = 3;

/// How many numbers are squared, and after how many a worker is killed.
const CALLS: u64 = 600;
const CALLS_A_LIFE: u64 = 30;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match &arguments[..] {
        [role, name] if role == "worker" => work(name),
        _ => run(),
    }
}

/// A worker's process.
fn work(name: &str) -> Result<(), Box<dyn Error>> {
    prctl::set_pdeathsig(Signal::SIGKILL)?;
    let mailbox = Mailbox::<Worker>::bind(name)?;
    while let Some(message) = mailbox.recv()? {
        // A caller that has gone needs no reply.
        match message {
            Worker::Hello(reply) => drop(reply.send(&())),
            Worker::Square(number, reply) => drop(reply.send(&(number * number))),
        }
    }
    Ok(())
}

/// The workers' processes, and the watches that tell of their ends.
#[derive(Default)]
struct Workers(Mutex<[Option<(Child, WatchGuard)>; WORKERS]>);

impl Workers {
    /// Starts a worker, which is not killed before it is watched.
    fn start(&self, number: usize, supervisor: &Mailbox<Supervisor>) -> Result<(), Box<dyn Error>> {
        let mut workers = self.0.lock().expect("no thread panics");
        let name = name_of(std::process::id(), number);
        let child = Command::new(std::env::current_exe()?).args(["worker", &name]).spawn()?;
        let address = Address::<Worker>::connect(name)?;
        // Once it answers, it and not its predecessor is the one that is watched.
        address.ask(Worker::Hello)?;
        let watch = address.watch_into(supervisor, Supervisor::Ended(number))?;
        workers[number] = Some((child, watch));
        Ok(())
    }

    fn kill(&self, number: usize) -> std::io::Result<()> {
        let mut workers = self.0.lock().expect("no thread panics");
        workers[number].as_mut().map_or(Ok(()), |(child, _)| child.kill())
    }

    /// Takes note of one that has ended.
    fn reap(&self, number: usize) -> std::io::Result<()> {
        let ended = self.0.lock().expect("no thread panics")[number].take();
        ended.map_or(Ok(()), |(mut child, _)| child.wait().map(drop))
    }
}

fn name_of(supervisor: u32, worker: usize) -> String {
    format!("supervisor {supervisor} worker {worker}")
}

/// Restarts each worker that ends, until all is over.
fn supervise(
    workers: &Workers,
    mailbox: &Mailbox<Supervisor>,
    restarts: &AtomicU64,
) -> Result<(), Box<dyn Error>> {
    while let Some(message) = mailbox.recv()? {
        match message {
            Supervisor::Over => break,
            Supervisor::Ended(number) => {
                workers.reap(number)?;
                // The policy is the user's: here, always and at once.
                workers.start(number, mailbox)?;
                restarts.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
    Ok(())
}

fn run() -> Result<(), Box<dyn Error>> {
    let (workers, restarts, mut retries) = (Workers::default(), AtomicU64::new(0), 0);
    let mailbox = Mailbox::<Supervisor>::private()?;
    let supervisor = mailbox.address();
    for number in 0..WORKERS {
        workers.start(number, &mailbox)?;
    }
    thread::scope(|scope| -> Result<(), Box<dyn Error>> {
        let (workers, restarts) = (&workers, &restarts);
        let supervising = scope.spawn(move || {
            supervise(workers, &mailbox, restarts).map_err(|error| error.to_string())
        });
        let connect = |number| Address::<Worker>::connect(name_of(std::process::id(), number));
        let addresses = (0..WORKERS).map(connect).collect::<Result<Vec<_>, _>>()?;
        for number in 0..CALLS {
            let worker = number as usize % WORKERS;
            if number % CALLS_A_LIFE == CALLS_A_LIFE - 1 {
                workers.kill(number as usize / CALLS_A_LIFE as usize % WORKERS)?;
            }
            let square = loop {
                match addresses[worker].ask(|reply| Worker::Square(number, reply)) {
                    Ok(square) => break square,
                    // Squaring twice does no harm.
                    Err(error) if error.is_died() => retries += 1,
                    Err(error) => return Err(error.into()),
                }
            };
            assert_eq!(square, number * number);
        }
        supervisor.tell(&Supervisor::Over)?;
        Ok(supervising.join().expect("the supervisor does not panic")?)
    })?;
    for number in 0..WORKERS {
        workers.kill(number)?;
        workers.reap(number)?;
    }
    let restarts = restarts.into_inner();
    println!(
        "{CALLS} calls answered by {WORKERS} workers, {restarts} restarts, {retries} calls made again"
    );
    assert!(restarts > 1, "no worker was ever killed");
    for number in 0..WORKERS {
        // A question that was asked just before a kill, and again, may have been left in the mailbox.
        match Channel::<()>::unlink(name_of(std::process::id(), number)) {
            Ok(()) | Err(sysv_channel::OpenError::NotFound { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}
