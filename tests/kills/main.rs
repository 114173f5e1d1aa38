//! Kills real processes with SIGKILL, at named points in the code and at random moments, and checks
//! what is left: nothing lost, nothing torn, nobody hanging, nothing left behind.
//!
//! `KILLS=10000 cargo test --release --test kills` kills so many; without the variable it is a few
//! hundred. `KILLS_ONLY=ServerBesideStandby` plays of these rounds the ones whose description contains
//! the text. The named points need `--cfg fail_points`; without it this builds itself again, below the
//! target directory.

#[cfg(fail_points)]
mod actors;
#[cfg(fail_points)]
mod calls;
#[cfg(fail_points)]
#[path = "../common/mod.rs"]
mod common;
#[cfg(fail_points)]
mod harness;
#[cfg(fail_points)]
mod ledger;
#[cfg(fail_points)]
mod lifetimes;
#[cfg(fail_points)]
mod plan;
#[cfg(fail_points)]
mod points;
#[cfg(fail_points)]
mod rounds;
#[cfg(fail_points)]
mod scene;
#[cfg(fail_points)]
mod streams;
#[cfg(fail_points)]
mod victim;
#[cfg(fail_points)]
mod wakes;
#[cfg(fail_points)]
mod watching;
#[cfg(fail_points)]
mod workers;

fn main() {
    #[cfg(fail_points)]
    harness::play();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let mut names = arguments.iter().filter(|argument| !argument.starts_with('-')).peekable();
    let asked = names.peek().is_none() || names.any(|name| "kills".contains(&name[..]));
    if asked && !arguments.iter().any(|argument| argument == "--list") {
        run();
    }
}

#[cfg(fail_points)]
fn run() {
    harness::run();
}

#[cfg(not(fail_points))]
fn run() {
    use std::path::Path;
    use std::process::{Command, exit};
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["test", "--test", "kills"]);
    cargo.args(["--manifest-path", concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml")]);
    cargo.env("CARGO_TARGET_DIR", Path::new(env!("CARGO_TARGET_TMPDIR")).join("kills"));
    cargo.env("RUSTFLAGS", "--cfg fail_points").env_remove("CARGO_ENCODED_RUSTFLAGS");
    if !cfg!(debug_assertions) {
        cargo.arg("--release");
    }
    match cargo.status() {
        Ok(status) if status.success() => {}
        Ok(status) => {
            eprintln!("the kills: {status}");
            exit(1);
        }
        Err(error) => {
            eprintln!("the kills could not be built: {error}");
            exit(1);
        }
    }
}
