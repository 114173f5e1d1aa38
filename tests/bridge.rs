//! Builds the tool with its feature `zenoh`, which nobody else has to build, and runs the tests of the bridge:
//! `cargo test --test bridge kills` runs some.
//!
//! It is some 300 packages, a few minutes' work. With `BRIDGE=tested` it does nothing: `.ci/run` says so where it has done
//! this already, in a step of its own.

#[path = "common/package.rs"]
mod package;

fn main() {
    if std::env::var("BRIDGE").is_ok_and(|state| state == "tested") {
        println!("tested before");
        return;
    }
    let package = ["--package", "sysv-channel-cli", "--features", "zenoh"];
    package::test(&[&package[..], &["--bins", "--test", "bridge"]].concat());
}
