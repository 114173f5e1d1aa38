//! Sends the lines of its standard input to `consumer`, which runs in another terminal.
//!
//! ```sh
//! cargo run --release --example producer [NAME] < TEXT
//! ```
//!
//! Either of the two may start first. Without a consumer the values wait in the channel; when it is
//! full, so does this program. Ctrl-C and the end of the input end it, and what was sent stays for
//! the consumer, also if nobody runs any more.

use std::error::Error;
use std::io;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use nix::sys::signal::{SigSet, Signal};
use serde::{Deserialize, Serialize};
use sysv_channel::{Channel, Closer, Sender};

/// What the two programs agree on; `consumer` has its own copy, and opening compares the shapes.
#[derive(Debug, Serialize, Deserialize)]
struct Line {
    number: u64,
    text: String,
}

/// How long to wait between two looks at whether Ctrl-C was pressed.
const LOOK: Duration = Duration::from_millis(100);

const USAGE: &str = "usage: producer [NAME] < TEXT";

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
        Ok(sent) => {
            eprintln!("producer: sent {sent} lines");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("producer: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<u64, Box<dyn Error>> {
    let name = std::env::args().nth(1).unwrap_or_else(|| "lines".to_owned());
    let signals = block_signals()?;
    let lines = read_lines();
    let sender = Channel::<Line>::open_or_create(&name)?.sender()?;
    stop_on(signals, sender.closer());
    let mut number = 0;
    while !stopped() {
        match lines.recv_timeout(LOOK) {
            Ok(text) => {
                if !send(&sender, &Line { number, text: text? })? {
                    break;
                }
                number += 1;
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    Ok(number)
}

/// Sends one line, however long it takes; `false` if Ctrl-C was pressed before it went. (A long line goes in fragments
/// for as long as its consumer takes: one that is given up and sent again after a while would never end.)
fn send(sender: &Sender<Line>, line: &Line) -> Result<bool, Box<dyn Error>> {
    let mut told = false;
    while !stopped() {
        match sender.send(line) {
            Ok(()) => return Ok(true),
            Err(error) if error.is_closed() => {}
            Err(error) if error.is_disconnected() => {
                // A removed channel has no figures; one that lost its consumer gets another.
                sender.channel().stats()?;
                if !told {
                    eprintln!("producer: the consumer left, line {} waits for one", line.number);
                    told = true;
                }
                thread::sleep(LOOK);
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(false)
}

/// The input, read by a thread of its own, since reading cannot be interrupted.
fn read_lines() -> mpsc::Receiver<io::Result<String>> {
    let (lines, input) = mpsc::sync_channel(64);
    thread::spawn(move || {
        // The main thread hangs up when it has enough.
        io::stdin().lines().try_for_each(|line| lines.send(line))
    });
    input
}

fn stopped() -> bool {
    STOP.load(Ordering::Relaxed)
}

/// Blocks SIGINT and SIGTERM in all threads, so that no call is interrupted.
fn block_signals() -> nix::Result<SigSet> {
    let signals = SigSet::from_iter([Signal::SIGINT, Signal::SIGTERM]);
    signals.thread_block()?;
    Ok(signals)
}

/// Takes the signals as a wish to stop, also while a line waits for room.
fn stop_on(signals: SigSet, sender: Closer) {
    thread::spawn(move || {
        if signals.wait().is_ok() {
            STOP.store(true, Ordering::Relaxed);
            sender.close();
        }
    });
}
