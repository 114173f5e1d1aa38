//! Runs the crate's models, each with the faults that it must find, and the example of a user's own.
//!
//! They need a build of their own, with `--cfg loom`, which this makes below the target directory.
//! `LOOM_MAX_PREEMPTIONS=3 cargo test --test loom` explores further, and takes much longer.

use std::path::Path;
use std::process::{Command, exit};

fn main() {
    let filter: Vec<String> = std::env::args().skip(1).collect();
    if filter.iter().any(|argument| argument == "--list") {
        return;
    }
    a_normal_build_knows_nothing_of_loom();
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("loom");
    let built = Command::new(env!("CARGO"))
        .args(["test", "--profile", "loom", "--lib", "--test", "protocol"])
        .args(["--manifest-path", concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml")])
        // Whatever else the library's tests are, they were run without loom.
        .args(["--", "--nocapture", "model"])
        .args(&filter)
        .env("CARGO_TARGET_DIR", target)
        .env("RUSTFLAGS", "--cfg loom")
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        // The faults that are found panic, a hundred times.
        .env("RUST_BACKTRACE", "0")
        .status();
    match built {
        Ok(status) if status.success() => {}
        Ok(status) => {
            eprintln!("the models: {status}");
            exit(1);
        }
        Err(error) => {
            eprintln!("the models could not be built: {error}");
            exit(1);
        }
    }
}

fn a_normal_build_knows_nothing_of_loom() {
    let tree = Command::new(env!("CARGO"))
        .args(["tree", "--edges", "normal,build", "--all-features", "--prefix", "none"])
        .args(["--manifest-path", concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml")])
        .output();
    let tree = tree.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    let tree = tree.unwrap_or_default();
    let mut packages: Vec<&str> = tree.lines().filter_map(|line| line.split(' ').next()).collect();
    packages.sort_unstable();
    packages.dedup();
    println!("a normal build needs {}", packages.join(", "));
    if !packages.contains(&"sysv-channel") || packages.contains(&"loom") {
        eprintln!("loom belongs to builds with --cfg loom alone");
        exit(1);
    }
}
