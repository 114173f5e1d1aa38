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
    // What cargo tells this program of its package is nothing of the other one's, and build scripts look at it: they would
    // run anew each time.
    for (name, _) in std::env::vars_os() {
        let is_of_this =
            |name: &str| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_");
        if name.to_str().is_some_and(is_of_this) {
            cargo.env_remove(name);
        }
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
