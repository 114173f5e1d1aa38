//! Request and response between two processes, over this crate and over others, in one run.
//!
//! ```sh
//! cargo run --release --manifest-path benches/peers/Cargo.toml -- [--quick] [--only KEY] [--json FILE]
//! ```
//!
//! Where the machine places its processors moves absolute figures by up to eight times. So each
//! sample stands between two round trips of a bare cache line between the same two cores, and is
//! reported as a ratio to them; one whose two differ by more than a fifth is dropped and counted.
//!
//! A peer is a file in `peers` that implements [`Peer`](peer::Peer); `figures` says what is
//! measured, `harness` how, and `report` prints it.

mod figures;
mod harness;
mod peer;
mod peers;
mod report;

use std::path::PathBuf;
use std::process::ExitCode;

use peer::Failure;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match arguments[..] {
        ["--serve", peer, core, work, wait, address] => {
            harness::pin_as_child(core).and_then(|()| peers::serve(peer, work, wait, address))
        }
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
            _ => return Err("usage: peers [--quick] [--only KEY] [--json FILE]".into()),
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
