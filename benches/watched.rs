//! What a channel at full speed loses when a tap watches it.
//!
//! ```sh
//! cargo bench --bench watched                # a minute for each shape
//! cargo bench --bench watched -- 600         # so many seconds
//! cargo bench --bench watched -- 600 ring    # of one shape
//! ```
//!
//! One process sends values of 64 bytes without a pause, another receives them, and in every other half of a second a
//! third watches. The two halves of a pair follow each other, so that what else the machine does meets both; the order
//! changes with every pair. What is printed is how fast values go with the tap beside them, of how fast they go without:
//! the mean and the median of the pairs, each with its standard error. A loss is shown where it is more than some two of
//! these; with a standard error above a percent, the machine has too much else to do, or the time was too short.

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

const SECONDS: f64 = 60.0;
const WINDOW: Duration = Duration::from_millis(500);

/// How each shape is called, its rings' capacity and its limit for values that go by the queue, in bytes.
const SHAPES: [(&str, usize, usize); 3] =
    [("ring only", 4 << 20, 0), ("mixed", 4 << 20, 1024), ("queue only", 0, 1024)];

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).filter(|word| word != "--bench").collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match arguments[..] {
        ["--receive", name] => receive(name),
        ["--watch", name] => watch(name),
        [] => run(SECONDS, ""),
        [seconds] => seconds.parse().map_err(Failure::from).and_then(|seconds| run(seconds, "")),
        [seconds, shape] => {
            seconds.parse().map_err(Failure::from).and_then(|seconds| run(seconds, shape))
        }
        _ => Err("at most seconds and a shape are expected, as 60 ring".into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("watched bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(seconds: f64, only: &str) -> Result<(), Failure> {
    // Two at least, or there is no standard error.
    let pairs = ((seconds / (2.0 * WINDOW.as_secs_f64())).round() as usize).max(2);
    let shapes = SHAPES.iter().filter(|(shape, ..)| shape.starts_with(only));
    if shapes.clone().next().is_none() {
        return Err(format!("{only} is no shape: ring, mixed or queue is expected").into());
    }
    println!(
        "shape      | pairs | ns a value: alone | watched | speed, watched to alone: mean | median          | seen"
    );
    for &(shape, capacity, inline_limit) in shapes {
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
        let ratios: Vec<f64> =
            watched.iter().zip(&alone).map(|(with, without)| with / without).collect();
        let ((middle, error), (median, median_error)) = (mean(&ratios), median(&ratios));
        println!(
            "{shape:10} | {pairs:5} | {:17.1} | {:7.1} | {:14} {middle:.3} ± {error:.3} | {median:.3} ± {median_error:.3} | {:.1} %",
            1e9 / mean(&alone).0,
            1e9 / mean(&watched).0,
            "",
            seen * 100.0,
        );
    }
    Ok(())
}

/// With its standard error.
fn mean(numbers: &[f64]) -> (f64, f64) {
    let count = numbers.len() as f64;
    let mean = numbers.iter().sum::<f64>() / count;
    let squares: f64 = numbers.iter().map(|number| (number - mean).powi(2)).sum();
    (mean, (squares / (count - 1.0) / count).sqrt())
}

/// With its standard error, as that of normal numbers with these quartiles: some far off count no more than others.
fn median(numbers: &[f64]) -> (f64, f64) {
    let middle = |mut numbers: Vec<f64>| {
        numbers.sort_by(f64::total_cmp);
        let half = numbers.len() / 2;
        match numbers.len().is_multiple_of(2) {
            true => (numbers[half - 1] + numbers[half]) / 2.0,
            false => numbers[half],
        }
    };
    let median = middle(numbers.to_vec());
    let deviation = middle(numbers.iter().map(|number| (number - median).abs()).collect());
    // A median's error is 1.2533 times a mean's, and half of normal numbers are within 0.6745 deviations.
    (median, 1.2533 * deviation / 0.6745 / (numbers.len() as f64).sqrt())
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
