//! What a channel at full speed loses when a tap watches it.
//!
//! ```sh
//! cargo bench --bench watched          # 30 pairs of a second for each shape
//! cargo bench --bench watched -- 5     # so many
//! ```
//!
//! One process sends values of 64 bytes without a pause, another receives them, and every other second a third
//! watches. The two seconds of a pair follow each other, so that what else the machine does meets both; the order
//! changes with every pair.

use std::env;
use std::error::Error;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;
use sysv_channel::codec::{Bytes, Raw};
use sysv_channel::{Channel, Sender, tap};

type Failure = Box<dyn Error + Send + Sync>;

const PAIRS: usize = 30;
const WINDOW: Duration = Duration::from_secs(1);

/// How each shape is called, its rings' capacity and its limit for values that go by the queue, in bytes.
const SHAPES: [(&str, usize, usize); 3] =
    [("ring only", 4 << 20, 0), ("mixed", 4 << 20, 1024), ("queue only", 0, 1024)];

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).filter(|word| word != "--bench").collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match arguments[..] {
        ["--receive", name] => receive(name),
        ["--watch", name] => watch(name),
        [] => run(PAIRS),
        [pairs] => pairs.parse().map_err(Failure::from).and_then(run),
        _ => Err("at most the number of pairs is expected".into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("watched bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(pairs: usize) -> Result<(), Failure> {
    println!(
        "shape      | ns a value: alone | watched | speed, watched to alone: median | mean | seen"
    );
    for (shape, capacity, inline_limit) in SHAPES {
        let name = format!("watched bench {}", std::process::id());
        let options = Channel::<Bytes, Raw>::options().capacity(capacity);
        let channel = options.inline_limit(inline_limit).create(name.as_str())?;
        let mut receiver = child("--receive", &name)?;
        let tx = channel.sender()?;
        let value = Bytes::from(vec![7; 64]);
        let (mut alone, mut watched, mut seen) = (Vec::new(), Vec::new(), 0.0);
        speed(&tx, &value)?;
        for pair in 0..pairs {
            for with_tap in [pair % 2 == 0, pair % 2 == 1] {
                if !with_tap {
                    alone.push(speed(&tx, &value)?);
                    continue;
                }
                let mut tap = child("--watch", &name)?;
                let mut said = BufReader::new(tap.stdout.take().ok_or("no output of the tap")?);
                said.read_line(&mut String::new())?;
                watched.push(speed(&tx, &value)?);
                drop(tap.stdin.take());
                let mut line = String::new();
                said.read_line(&mut line)?;
                seen += line.trim().parse::<f64>()? / pairs as f64;
                tap.wait()?;
            }
        }
        drop((tx, channel));
        receiver.wait()?;
        let mean = |speeds: &[f64]| speeds.iter().sum::<f64>() / speeds.len() as f64;
        let mut ratios: Vec<f64> =
            watched.iter().zip(&alone).map(|(with, without)| with / without).collect();
        ratios.sort_by(f64::total_cmp);
        println!(
            "{shape:10} | {:17.1} | {:7.1} | {:31.3} | {:4.3} | {:.1} %",
            1e9 / mean(&alone),
            1e9 / mean(&watched),
            ratios[ratios.len() / 2],
            mean(&watched) / mean(&alone),
            seen * 100.0,
        );
    }
    Ok(())
}

/// Starts this program in another role. It goes with this one.
fn child(role: &str, name: &str) -> Result<Child, Failure> {
    let mut command = Command::new(env::current_exe()?);
    command.args([role, name]).stdin(Stdio::piped()).stdout(Stdio::piped());
    Ok(command.spawn()?)
}

/// Values a second.
fn speed(tx: &Sender<Bytes, Raw>, value: &Bytes) -> Result<f64, Failure> {
    let (start, mut sent) = (Instant::now(), 0);
    while start.elapsed() < WINDOW {
        for _ in 0..100 {
            tx.send(value)?;
        }
        sent += 100;
    }
    Ok(f64::from(sent) / start.elapsed().as_secs_f64())
}

fn receive(name: &str) -> Result<(), Failure> {
    set_pdeathsig(Signal::SIGKILL)?;
    for value in Channel::<Bytes, Raw>::open(name)?.receiver()? {
        value?;
    }
    Ok(())
}

/// Watches until its standard input ends; says which part of the values it has seen.
fn watch(name: &str) -> Result<(), Failure> {
    set_pdeathsig(Signal::SIGKILL)?;
    let mut tap = tap(name)?;
    println!("watches");
    let over = std::thread::spawn(|| std::io::stdin().lines().for_each(drop));
    let mut seen = 0_u64;
    while !over.is_finished() {
        seen += u64::from(tap.next_timeout(Duration::from_millis(10)).is_some());
    }
    println!("{}", seen as f64 / (seen + tap.missed()).max(1) as f64);
    Ok(())
}
