//! What travels between two processes, over this crate and over others, in one run.
//!
//! ```sh
//! cargo run --release --manifest-path benches/peers/Cargo.toml -- [--quick] [--only KEY] [--json FILE]
//! cargo run --release --manifest-path benches/peers/Cargo.toml -- plot FILE DIRECTORY
//! ```
//!
//! The first measures; the second draws what the first wrote. Where the machine places its
//! processors moves absolute figures by up to eight times. So each sample stands between two round
//! trips of a bare cache line between the same two cores, and is reported as a ratio to them; one
//! whose two differ by more than a fifth is dropped and counted. Ratios between peers are those of
//! samples of the same round.
//!
//! A peer is a file in `ways` (streams and round trips over two one-way channels) or in `calls`
//! (request and response); `figures` says what is measured, `goals` where this crate must stand.

mod calls;
mod codec;
mod cores;
mod figures;
mod goals;
mod idle;
mod limits;
mod opening;
mod plot;
mod process;
mod report;
mod samples;
mod shared_files;
mod stop;
mod syscalls;
mod topology;
mod values;
mod wakeups;
mod ways;

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

type Failure = Box<dyn Error + Send + Sync>;

const USAGE: &str = "usage: peers [--quick] [--only KEY] [--json FILE] | plot FILE DIRECTORY";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match arguments[..] {
        ["--on", core, ref part @ ..] => process::pin_as_child(core).and_then(|()| play(part)),
        ["plot", file, directory] => plot::draw(Path::new(file), Path::new(directory)),
        _ => run(&arguments),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("peers: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Plays another side, as a process of its own.
fn play(part: &[&str]) -> Result<(), Failure> {
    match part {
        ["call", peer, work, wait, address] => calls::serve(peer, work, wait, address),
        ["way", peer, field, setting, address] => ways::serve(peer, field, setting, address),
        ["open", kind, name, memory] => opening::serve(kind, name, memory),
        ["idle", name] => idle::serve(name),
        ["wakeup", way, name, answers] => wakeups::serve(way, name, answers),
        ["tasks", name, answers] => wakeups::serve_tasks(name, answers),
        ["codec", peer, work, memory] => codec::serve(peer, work, memory),
        _ => Err("there is no such part".into()),
    }
}

fn run(arguments: &[&str]) -> Result<(), Failure> {
    let (mut quick, mut json, mut only) = (false, None, "");
    let mut left = arguments.iter();
    while let Some(&argument) = left.next() {
        match argument {
            "--quick" => quick = true,
            "--json" => json = Some(PathBuf::from(left.next().ok_or("--json takes a file")?)),
            "--only" => only = left.next().ok_or("--only takes the beginning of a key")?,
            // What `cargo bench` adds.
            "--bench" => {}
            _ => return Err(USAGE.into()),
        }
    }
    let measured = figures::measure(quick, only);
    // What a peer of this crate that was killed half way left there.
    sysv_channel::sweep()?;
    let report = measured?;
    report.print_end();
    match json {
        Some(file) => report.write(&file),
        None => Ok(()),
    }
}
