//! A service and three client processes: request and response with `sysv_channel::rpc`.
//!
//! This program binds a server to a name and starts itself again three times. Each client is told
//! nothing but the name: it calls, checks every reply, and ends. Nothing is left behind.
//!
//! ```sh
//! cargo run --release --example calculator
//! ```

use std::error::Error;
use std::process::{Child, Command, ExitCode};
use std::time::{Duration, Instant};
use std::{env, thread};

use serde::{Deserialize, Serialize};
use sysv_channel::rpc::{CallError, Client, ClientOptions, ConnectError, Server, ServerOptions};

type Failure = Box<dyn Error + Send + Sync>;

/// What can be asked. Client and server compare the shapes of both types when they connect.
#[derive(Debug, Serialize, Deserialize)]
enum Task {
    Add(f64, f64),
    Divide(f64, f64),
    Sum(Vec<f64>),
    /// Takes longer than anybody waits.
    Ponder,
}

/// What a service has to say against a request is part of its reply.
type Answer = Result<f64, String>;

const CLIENTS: usize = 3;
const CALLS: u32 = 10_000;

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let done = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => lead(),
        ["--client", name] => client(name),
        _ => Err("usage: calculator".into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("calculator: {error}");
            ExitCode::FAILURE
        }
    }
}

// ------------------------------------------------------------------ the service

fn lead() -> Result<(), Failure> {
    let name = format!("calculator {}", std::process::id());
    // It serves two requests at a time, so that one that ponders holds nobody up.
    let server: Server<Task, Answer> = ServerOptions::new().clients(CLIENTS).bind(name.as_str())?;
    let closer = server.closer();
    let serving = thread::spawn(move || server.serve_concurrently(2, calculate));

    let mut clients = Vec::new();
    for _ in 0..CLIENTS {
        clients.push(Command::new(env::current_exe()?).args(["--client", &name]).spawn());
    }
    // All are waited for before the first failure counts, so that none outlives this process.
    let ended: Vec<Result<(), Failure>> =
        clients.into_iter().map(|client| wait_for(client?)).collect();
    closer.close();
    serving.join().map_err(|_| "the server panicked")??;
    ended.into_iter().collect::<Result<(), _>>()?;

    // The last user of the name removed what was behind it.
    let again = ClientOptions::new().wait_for_server(Duration::ZERO);
    let again: Result<Client<Task, Answer>, _> = again.connect(name.as_str());
    if !matches!(again, Err(ConnectError::NotFound { .. })) {
        return Err(format!("{name} is still there: {again:?}").into());
    }
    println!("left behind: nothing");
    Ok(())
}

fn calculate(task: Task) -> Answer {
    match task {
        Task::Add(a, b) => Ok(a + b),
        Task::Divide(_, 0.0) => Err("a division by zero".to_owned()),
        Task::Divide(a, b) => Ok(a / b),
        Task::Sum(numbers) => Ok(numbers.iter().sum()),
        Task::Ponder => {
            thread::sleep(Duration::from_millis(200));
            Ok(42.0)
        }
    }
}

fn wait_for(mut client: Child) -> Result<(), Failure> {
    let status = client.wait()?;
    if status.success() { Ok(()) } else { Err(format!("a client failed: {status}").into()) }
}

// ------------------------------------------------------------------ a client

fn client(name: &str) -> Result<(), Failure> {
    // Waits for a server that is not there yet, ten seconds unless told otherwise.
    let client = Client::<Task, Answer>::connect(name)?;

    let start = Instant::now();
    for number in 0..CALLS {
        let number = f64::from(number);
        expect(client.call(&Task::Add(number, 1.0))?, Ok(number + 1.0))?;
    }
    let each = start.elapsed() / CALLS;

    // The service's own refusal is a reply like any other.
    expect(client.call(&Task::Divide(7.0, 2.0))?, Ok(3.5))?;
    expect(client.call(&Task::Divide(7.0, 0.0))?, Err("a division by zero".to_owned()))?;

    // A request longer than the client's ring goes in fragments; nobody has to know.
    let many = Task::Sum(vec![0.5; 100_000]);
    expect(client.call(&many)?, Ok(50_000.0))?;

    // Several calls under way at a time, waited for in any order.
    let (first, second) = (Task::Add(1.0, 2.0), Task::Add(3.0, 4.0));
    let (first, second) = (client.start(&first)?, client.start(&second)?);
    expect(second.wait()?, Ok(7.0))?;
    expect(first.wait()?, Ok(3.0))?;

    // A call that nobody answers in time says so, and says what may have become of it.
    match client.call_timeout(&Task::Ponder, Duration::from_millis(20)) {
        Err(CallError::Timeout { .. }) => {}
        other => return Err(format!("pondering for a moment gave {other:?}").into()),
    }
    // Its reply comes later, and is not taken for that of another call.
    expect(client.call(&Task::Add(20.0, 22.0))?, Ok(42.0))?;
    println!("client {}: every reply was right, {each:?} a call", std::process::id());
    Ok(())
}

fn expect(answer: Answer, due: Answer) -> Result<(), Failure> {
    if answer == due { Ok(()) } else { Err(format!("{due:?} was due, {answer:?} came").into()) }
}
