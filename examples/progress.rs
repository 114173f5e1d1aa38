//! A job in another process that reports its progress and sends rows while it runs.
//!
//! This program starts itself again as the service, asks it for a table of primes, and reads the replies as they
//! come: how far the service is, each row, and the sum at the end. It reads slowly at first, which holds up that one
//! job and nothing else; it gives up a job without end, which the service notices; and it is told when the service
//! is killed in the middle of one, behind all rows that came before. Then it asks an actor, which has another actor
//! stream the table from the port that it was asked with. Nothing is left behind.
//!
//! ```sh
//! cargo run --release --example progress
//! ```

use std::error::Error;
use std::process::{Child, Command, ExitCode};
use std::time::Duration;
use std::{env, thread};

use serde::{Deserialize, Serialize};
use sysv_channel::DefaultCodec;
use sysv_channel::actor::{Address, AskError, Mailbox, StreamTo};
use sysv_channel::rpc::{
    CallError, Client, ClientOptions, ConnectError, ReplyError, Responder, Server,
};

type Failure = Box<dyn Error + Send + Sync>;

/// What can be asked.
#[derive(Debug, Serialize, Deserialize)]
enum Job {
    /// All primes below a number.
    Primes { below: u64 },
    /// How many jobs were given up by their callers.
    GivenUp,
}

/// What comes of a job, in this order.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
enum News {
    Progress { percent: u64 },
    Row { number: u64, prime: u64 },
    Done { sum: u64 },
}

/// What the actors are told: a table to stream, by oneself or by another.
#[derive(Serialize, Deserialize)]
enum Order {
    Table { below: u64, port: StreamTo<News> },
    TableBy { worker: Box<Address<Order>>, below: u64, port: StreamTo<News> },
    End,
}

const BELOW: u64 = 200_000;

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let done = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => lead(),
        ["--serve", name] => serve(name),
        ["--act", name] => act(name),
        _ => Err("usage: progress".into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("progress: {error}");
            ExitCode::FAILURE
        }
    }
}

// ------------------------------------------------------------------ the service

fn serve(name: &str) -> Result<(), Failure> {
    let server = Server::<Job, News>::bind(name)?;
    let mut jobs = Vec::new();
    let mut given_up = 0;
    for request in server.incoming() {
        let (job, port) = request?.into_parts();
        match job {
            // Each job has a thread, which waits for its own reader alone.
            Job::Primes { below } => jobs.push(thread::spawn(move || table(below, port))),
            Job::GivenUp => {
                for job in jobs.drain(..) {
                    if let Err(ReplyError::ClientGone { .. }) = job.join().expect("no job panics") {
                        given_up += 1;
                    }
                }
                match port.reply(&News::Done { sum: given_up }) {
                    // Its client is gone, too; the others are not.
                    Ok(()) | Err(ReplyError::ClientGone { .. }) => {}
                    Err(error) => return Err(error.into()),
                }
            }
        }
    }
    Ok(())
}

fn table(below: u64, mut port: Responder<News>) -> Result<(), ReplyError> {
    let done = primes(below, |news| port.part(&news))?;
    // The last one ends the stream.
    port.reply(&done)
}

/// Sends the progress and the rows; the sum is to follow.
fn primes<E>(below: u64, mut part: impl FnMut(News) -> Result<(), E>) -> Result<News, E> {
    let (mut sum, mut rows) = (0, 0);
    let each = (below / 100).max(1);
    for number in 2..below {
        if number % each == 0 {
            part(News::Progress { percent: number / each })?;
        }
        if (2..).take_while(|d| d * d <= number).all(|d| number % d != 0) {
            part(News::Row { number: rows, prime: number })?;
            rows += 1;
            sum += number;
        }
    }
    Ok(News::Done { sum })
}

// ------------------------------------------------------------------ the actors

fn act(name: &str) -> Result<(), Failure> {
    let mailbox = Mailbox::<Order>::bind(name)?;
    let mut tables = Vec::new();
    while let Some(order) = mailbox.recv()? {
        match order {
            Order::Table { below, mut port } => tables.push(thread::spawn(move || {
                let done = primes(below, |news| port.part(&news))?;
                port.send(&done)
            })),
            // The port goes on to the worker with the message.
            Order::TableBy { worker, below, port } => {
                worker.tell(&Order::Table { below, port })?;
            }
            Order::End => break,
        }
    }
    Ok(())
}

// ------------------------------------------------------------------ who asks

fn lead() -> Result<(), Failure> {
    let name = format!("progress {}", std::process::id());
    let mut service = Service::start(&name)?;
    let client = Client::<Job, News>::connect(name.as_str())?;

    let mut table = client.stream(&Job::Primes { below: BELOW })?;
    println!("the first: {:?}", table.next().ok_or("no row came")??);
    // The service goes a bit ahead and waits; it answers another job meanwhile.
    let quick: Vec<News> = client.stream(&Job::Primes { below: 12 })?.collect::<Result<_, _>>()?;
    let primes = quick.iter().filter(|news| matches!(news, News::Row { .. })).count();
    check(primes == 5 && quick.last() == Some(&News::Done { sum: 28 }), "the primes below 12")?;

    let (mut rows, mut sum, mut percent, mut done) = (1, 2, 0, None);
    for news in table {
        match news? {
            News::Progress { percent: now } => {
                check(now == percent + 1, "progress comes in order")?;
                percent = now;
            }
            News::Row { number, prime } => {
                check(number == rows, "rows come in order, each once")?;
                rows += 1;
                sum += prime;
            }
            News::Done { sum } => done = Some(sum),
        }
    }
    check(done == Some(sum) && percent == 99, "all rows came, and then the sum")?;
    println!("{rows} primes below {BELOW}, all in order; their sum is {sum}");

    // A stream that is dropped is cancelled: a job without end ends.
    let endless = client.stream(&Job::Primes { below: u64::MAX })?;
    check(endless.take(1000).all(|news| news.is_ok()), "the first thousand came")?;
    let given_up = client.call(&Job::GivenUp)?;
    check(given_up == News::Done { sum: 1 }, "the service noticed that its job was given up")?;
    println!("a job without end was given up, and the service knows");

    let mut endless = client.stream(&Job::Primes { below: u64::MAX })?;
    check(endless.by_ref().take(1000).all(|news| news.is_ok()), "the first thousand came")?;
    service.process.kill()?;
    service.process.wait()?;
    match endless.find_map(Result::err) {
        Some(CallError::ServerDied { received: true, .. }) => {}
        other => return Err(format!("expected to hear of the death, not {other:?}").into()),
    }
    println!("the service was killed in the middle of a job, and its reader was told");
    drop((endless, client));
    let names = ["office", "worker"].map(|role| format!("{name} {role}"));
    ask_actors(&names)?;
    let mut left = Vec::new();
    let client = ClientOptions::new().wait_for_server(Duration::ZERO);
    if !is_gone(client.connect::<Job, News, DefaultCodec>(name.as_str())) {
        left.push(name);
    }
    left.extend(
        names.into_iter().filter(|name| {
            !is_gone(Address::<Order>::connect_timeout(name.as_str(), Duration::ZERO))
        }),
    );
    println!(
        "left behind: {}",
        if left.is_empty() { "nothing".to_owned() } else { left.join(", ") }
    );
    Ok(())
}

/// The same table, from a worker that the actor who is asked passes the port on to.
fn ask_actors(names: &[String; 2]) -> Result<(), Failure> {
    let mut office = Service::play("--act", &names[0])?;
    let mut worker = Service::play("--act", &names[1])?;
    let asked = Address::<Order>::connect(names[0].as_str())?;
    let by = Address::<Order>::connect(names[1].as_str())?;
    let order = |below| {
        let worker = Box::new(by.clone());
        move |port| Order::TableBy { worker, below, port }
    };
    let table: Vec<News> = asked.stream(order(BELOW))?.collect::<Result<_, _>>()?;
    let rows = table.iter().filter(|news| matches!(news, News::Row { .. })).count();
    check(matches!(table.last(), Some(News::Done { .. })), "the sum is the last")?;
    println!("{rows} primes came from a worker that the port was passed on to");

    let mut endless = asked.stream(order(u64::MAX))?;
    check(endless.by_ref().take(1000).all(|news| news.is_ok()), "the first thousand came")?;
    worker.process.kill()?;
    worker.process.wait()?;
    match endless.find_map(Result::err) {
        Some(AskError::Dropped { .. }) => {}
        other => return Err(format!("expected to hear of the death, not {other:?}").into()),
    }
    println!("the worker was killed, and the one who asked was told");
    asked.tell(&Order::End)?;
    check(office.process.wait()?.success(), "the office ends well")
}

/// The service's process, killed when dropped.
struct Service {
    process: Child,
}

impl Service {
    fn start(name: &str) -> Result<Self, Failure> {
        Service::play("--serve", name)
    }

    fn play(role: &str, name: &str) -> Result<Self, Failure> {
        let process = Command::new(env::current_exe()?).args([role, name]).spawn()?;
        Ok(Service { process })
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // Both fail if it has ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn is_gone<E>(connected: Result<E, ConnectError>) -> bool {
    matches!(connected, Err(ConnectError::NotFound { .. }))
}

fn check(so: bool, what: &str) -> Result<(), Failure> {
    if so { Ok(()) } else { Err(format!("not so: {what}").into()) }
}
