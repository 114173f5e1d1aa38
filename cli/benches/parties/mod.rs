//! What the benchmarks of bridges share: processes, sessions of bare zenoh, and times.

use std::env;
use std::io::{BufRead, BufReader, Write};
use std::process::{self, Child, Command, Stdio};
use std::time::Instant;

use zenoh::{Config, Session, Wait};

/// A process that is killed at the end.
pub(crate) struct Program(Child);

impl Program {
    /// Starts this program with these arguments, and waits until it says a line.
    pub(crate) fn of_this(arguments: &[&str]) -> Self {
        let mut command = Command::new(env::current_exe().unwrap());
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let ready = BufReader::new(child.stdout.take().unwrap()).lines().next();
        assert!(ready.is_some());
        Program(child)
    }

    /// Tells it to do its part once more.
    #[allow(dead_code, reason = "servers are asked by their clients")]
    pub(crate) fn go(&mut self) {
        writeln!(self.0.stdin.as_mut().unwrap(), "go").unwrap();
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts a bridge.
pub(crate) fn bridge(arguments: &[&str]) -> Program {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sysv-channel"));
    Program(command.arg("bridge").args(arguments).stderr(Stdio::null()).spawn().unwrap())
}

/// A host of this machine that no other benchmark has.
pub(crate) fn host() -> String {
    let id = process::id();
    format!("127.1.{}.{}", id >> 8 & 0xff, id & 0xff)
}

/// A session of bare zenoh that listens at an address, or connects to it.
pub(crate) fn session(way: &str, address: &str) -> Session {
    let mut config = Config::default();
    let endpoints = format!("[{address:?}]");
    let other = if way == "listen" { "connect" } else { "listen" };
    for (key, value) in [
        ("scouting/multicast/enabled", "false"),
        ("scouting/gossip/enabled", "false"),
        (&format!("{way}/endpoints"), &*endpoints),
        (&format!("{other}/endpoints"), "[]"),
    ] {
        config.insert_json5(key, value).unwrap();
    }
    zenoh::open(config).wait().unwrap()
}

/// The median time of one of so many, in microseconds.
pub(crate) fn median(times: usize, mut one: impl FnMut()) -> f64 {
    let mut times: Vec<_> = (0..times)
        .map(|_| {
            let began = Instant::now();
            one();
            began.elapsed()
        })
        .collect();
    times.sort();
    times[times.len() / 2].as_nanos() as f64 / 1000.0
}
