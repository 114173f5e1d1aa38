//! Runs the tests of another package of the workspace, with the same profile and target directory.

use std::path::Path;
use std::process::{Command, exit};

/// Runs `cargo test` with these arguments, and hands on those of this program.
pub(crate) fn test(selection: &[&str]) {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.iter().any(|argument| argument == "--list") {
        return;
    }
    let mut cargo = Command::new(env!("CARGO"));
    cargo.arg("test").args(selection);
    cargo.args(["--manifest-path", concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml")]);
    if let Some(target) = Path::new(env!("CARGO_TARGET_TMPDIR")).parent() {
        cargo.arg("--target-dir").arg(target);
    }
    if !cfg!(debug_assertions) {
        cargo.arg("--release");
    }
    match cargo.arg("--").args(arguments).status() {
        Ok(status) if status.success() => {}
        Ok(status) => {
            eprintln!("{}: {status}", selection.join(" "));
            exit(1);
        }
        Err(error) => {
            eprintln!("cargo could not be run: {error}");
            exit(1);
        }
    }
}
