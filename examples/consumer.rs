//! Prints the lines that `producer` sends from another terminal.
//!
//! ```sh
//! cargo run --release --example consumer [NAME [AT_MOST]]
//! ```
//!
//! Either of the two may start first. It ends when all producers have gone and nothing is left, after
//! `AT_MOST` lines, or with Ctrl-C. What it has not taken stays: started again, it goes on with
//! exactly that, even if it was killed.

use std::error::Error;
use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use nix::sys::signal::{SigSet, Signal};
use serde::{Deserialize, Serialize};
use sysv_channel::Channel;

/// What the two programs agree on; `producer` has its own copy, and opening compares the shapes.
#[derive(Debug, Serialize, Deserialize)]
struct Line {
    number: u64,
    text: String,
}

/// How long to wait between two looks at whether Ctrl-C was pressed.
const LOOK: Duration = Duration::from_millis(100);

const USAGE: &str = "usage: consumer [NAME [AT_MOST]]";

static STOP: AtomicBool = AtomicBool::new(false);

fn main() -> ExitCode {
    match std::env::args().nth(1).as_deref() {
        Some("--help" | "-h") => {
            println!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        Some(option) if option.starts_with('-') => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
        _ => {}
    }
    match run() {
        Ok(received) => {
            eprintln!("consumer: received {received} lines");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("consumer: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<u64, Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let name = arguments.next().unwrap_or_else(|| "lines".to_owned());
    let at_most = match arguments.next() {
        None => u64::MAX,
        Some(number) => {
            number.parse().map_err(|_| format!("AT_MOST is a number, and {number:?} is none"))?
        }
    };
    stop_on_ctrl_c()?;
    let receiver = Channel::<Line>::open_or_create(&name)?.receiver()?;
    let mut output = io::stdout().lock();
    let mut received = 0;
    while received < at_most && !STOP.load(Ordering::Relaxed) {
        match receiver.recv_timeout(LOOK) {
            Ok(line) => {
                received += 1;
                writeln!(output, "{:>6}  {}", line.number, line.text)
                    .map_err(|error| format!("line {} was lost: {error}", line.number))?;
            }
            Err(error) if error.is_timeout() => {}
            Err(error) if error.is_disconnected() => break,
            Err(error) => return Err(error.into()),
        }
    }
    Ok(received)
}

/// Takes SIGINT and SIGTERM as a wish to stop. They are blocked in all threads but one that waits
/// for them, so no call is interrupted.
fn stop_on_ctrl_c() -> nix::Result<()> {
    let signals = SigSet::from_iter([Signal::SIGINT, Signal::SIGTERM]);
    signals.thread_block()?;
    thread::spawn(move || {
        if signals.wait().is_ok() {
            STOP.store(true, Ordering::Relaxed);
        }
    });
    Ok(())
}
