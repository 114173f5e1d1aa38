//! A supervisor that restarts its worker whenever that is killed; callers see a retried call at most.
//!
//! ```sh
//! cargo run --release --example supervisor
//! ```
//!
//! The worker is this program again, as a process of its own. It is killed in the middle of its
//! work, time and again; the kernel tells the supervisor's [`Watch`](sysv_channel::actor::Watch).

use std::error::Error;
use std::process::{Child, Command};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use nix::sys::prctl;
use nix::sys::signal::Signal;
use serde::{Deserialize, Serialize};
use sysv_channel::Channel;
use sysv_channel::actor::{Address, Mailbox, ReplyTo};

/// What the worker is told.
#[derive(Serialize, Deserialize)]
enum Worker {
    /// Says that it is there.
    Hello(ReplyTo<()>),
    /// Squares a number.
    Square(u64, ReplyTo<u64>),
}

/// How many numbers are squared, and after how many the worker is killed.
const CALLS: u64 = 300;
const CALLS_A_LIFE: u64 = 30;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match &arguments[..] {
        [role, name] if role == "worker" => work(name),
        _ => supervise(),
    }
}

/// The worker's process.
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

fn supervise() -> Result<(), Box<dyn Error>> {
    let name = format!("supervisor {}", std::process::id());
    let program = std::env::current_exe()?;
    let start = || Command::new(&program).args(["worker", &name]).spawn();
    let (worker, over) = (Mutex::new(None::<Child>), AtomicBool::new(false));
    let kill = || worker.lock().expect("nobody panics").as_mut().map(Child::kill).transpose();
    let (starts, retries) = (AtomicU64::new(0), AtomicU64::new(0));
    thread::scope(|scope| {
        scope.spawn(|| {
            loop {
                let mut place = worker.lock().expect("nobody panics");
                if over.load(Ordering::Relaxed) {
                    break;
                }
                *place = Some(start().expect("this program starts again"));
                starts.fetch_add(1, Ordering::Relaxed);
                let address = Address::<Worker>::connect(name.as_str()).expect("a mailbox appears");
                address.ask(Worker::Hello).expect("nobody kills it while the place is locked");
                let watch = address.watch().expect("it can be watched");
                drop(place);
                watch.wait().expect("the kernel tells");
                let ended = worker.lock().expect("nobody panics").take();
                ended.expect("it was put there").wait().expect("it is ours");
            }
        });
        let address = Address::<Worker>::connect(name.as_str()).expect("a mailbox appears");
        for number in 0..CALLS {
            if number % CALLS_A_LIFE == CALLS_A_LIFE - 1 {
                kill().expect("it is ours");
            }
            let square = loop {
                match address.ask(|reply| Worker::Square(number, reply)) {
                    Ok(square) => break square,
                    // Squaring twice does no harm.
                    Err(error) if error.is_died() => retries.fetch_add(1, Ordering::Relaxed),
                    Err(error) => panic!("{error}"),
                };
            };
            assert_eq!(square, number * number);
        }
        over.store(true, Ordering::Relaxed);
        kill().expect("it is ours");
    });
    let (restarts, retries) = (starts.into_inner() - 1, retries.into_inner());
    println!("{CALLS} calls answered, {restarts} restarts, {retries} calls made again");
    assert!(restarts > 1, "the worker was never killed");
    // A question that was asked just before a kill, and again, may have been left in the mailbox.
    match Channel::<()>::unlink(name.as_str()) {
        Ok(()) | Err(sysv_channel::OpenError::NotFound { .. }) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
