//! Kills real processes with SIGKILL, at named points in the code and at random moments, and checks
//! what is left: nothing lost, nothing torn, nobody hanging, nothing left behind.
//!
//! `KILLS=10000 cargo test --release --test kills` kills so many; without the variable it is a few
//! hundred. `KILLS_ONLY=ServerBesideStandby` plays of these rounds the ones whose description contains
//! the text. The named points need the feature `fail-points`; without it this builds itself again.

#[cfg(feature = "fail-points")]
mod actors;
#[cfg(feature = "fail-points")]
mod calls;
#[cfg(feature = "fail-points")]
#[path = "../common/mod.rs"]
mod common;
#[cfg(feature = "fail-points")]
mod harness;
#[cfg(feature = "fail-points")]
mod ledger;
#[cfg(feature = "fail-points")]
mod lifetimes;
#[cfg(feature = "fail-points")]
mod plan;
#[cfg(feature = "fail-points")]
mod points;
#[cfg(feature = "fail-points")]
mod rounds;
#[cfg(feature = "fail-points")]
mod scene;
#[cfg(feature = "fail-points")]
mod victim;
#[cfg(feature = "fail-points")]
mod wakes;

fn main() {
    #[cfg(feature = "fail-points")]
    harness::play();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let mut names = arguments.iter().filter(|argument| !argument.starts_with('-')).peekable();
    let asked = names.peek().is_none() || names.any(|name| "kills".contains(&name[..]));
    if asked && !arguments.iter().any(|argument| argument == "--list") {
        run();
    }
}

#[cfg(feature = "fail-points")]
fn run() {
    harness::run();
}

#[cfg(not(feature = "fail-points"))]
fn run() {
    use std::process::{Command, exit};
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["test", "--test", "kills", "--features", "fail-points"]);
    cargo.args(["--manifest-path", concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml")]);
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
