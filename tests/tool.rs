//! Runs the tests of the tool, which is a package of its own in `cli/`: `cargo test --test tool streams` runs some.
//!
//! Those of its feature `zenoh` are `bridge.rs`.

#[path = "common/package.rs"]
mod package;

fn main() {
    package::test(&["--package", "sysv-channel-cli"]);
}
