//! Runs the crate's models, each with the faults that it must find, and the example of a user's own.
//!
//! They need a build of their own, with `--cfg loom`, which this makes below the target directory.
//! `cargo test --test loom models::wake` runs some, and `LOOM_MAX_PREEMPTIONS=3` explores further,
//! which takes much longer.
//! `models::programs` generates programs over the public API and checks a sample of them; which
//! others it runs, and how long, its documentation says.

use std::path::Path;
use std::process::{Command, exit};

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.iter().any(|argument| argument == "--list") {
        return;
    }
    let (options, mut names): (Vec<_>, Vec<_>) =
        arguments.into_iter().partition(|argument| argument.starts_with('-'));
    if names.is_empty() {
        names.push("model".to_owned());
    }
    // Whatever else the library's tests are, they run without loom.
    names.retain(|name| name.starts_with("model"));
    if names.is_empty() {
        return;
    }
    a_normal_build_knows_nothing_of_loom();
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("loom");
    let built = Command::new(env!("CARGO"))
        .args(["test", "--profile", "loom", "--lib", "--test", "protocol"])
        .args(["--manifest-path", concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml")])
        .args(["--", "--nocapture"])
        .args(options)
        .args(names)
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
    println!("a normal build needs {}", packages(&[]).join(", "));
    packages(&["--all-features"]);
}

/// The packages that a build needs, of which loom must not be one.
fn packages(features: &[&str]) -> Vec<String> {
    let tree = Command::new(env!("CARGO"))
        .args(["tree", "--edges", "normal,build", "--prefix", "none"])
        .args(["--manifest-path", concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml")])
        .args(features)
        .output();
    let tree = tree.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    let tree = tree.unwrap_or_default();
    let names = tree.lines().filter_map(|line| line.split(' ').next());
    let mut packages: Vec<String> = names.map(str::to_owned).collect();
    packages.sort_unstable();
    packages.dedup();
    let has = |name| packages.iter().any(|package| package == name);
    if !has("sysv-channel") || has("loom") {
        eprintln!("loom belongs to builds with --cfg loom alone");
        exit(1);
    }
    packages
}
