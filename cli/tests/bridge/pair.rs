//! Two channels, and bridges between them.

use std::io::{BufRead, BufReader};
use std::process::{self, Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use sysv_channel::codec::Codec;
use sysv_channel::{Channel, Options};

use crate::stage::{Stage, tool};

/// An address that no other test has: this machine has as many as there are numbers.
pub(crate) fn address(protocol: &str) -> String {
    static COUNT: AtomicU32 = AtomicU32::new(1);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let (high, low) = (process::id() >> 8 & 0xff, process::id() & 0xff);
    format!("{protocol}/127.{}.{high}.{low}:{}", 1 + (process::id() >> 16 & 0x7f), 20_000 + count)
}

/// A channel here and one there, the key of the link between them, and where its bridges meet.
pub(crate) struct Pair {
    pub(crate) here: Stage,
    pub(crate) there: Stage,
    pub(crate) key: String,
    pub(crate) address: String,
    /// Where the status sockets are.
    pub(crate) runtime: tempfile::TempDir,
}

impl Pair {
    pub(crate) fn new(test: &'static str) -> Self {
        let (here, there) = (Stage::new(test), Stage::new(test));
        let key = here.name().replace([' ', '.'], "-");
        let runtime = tempfile::tempdir().unwrap();
        Pair { here, there, key, address: address("tcp"), runtime }
    }

    /// Makes both channels.
    pub(crate) fn make<T, C: Codec<T>>(&self, options: &Options<T, C>) -> [Channel<T, C>; 2] {
        [&self.here, &self.there].map(|stage| options.create(stage.name()).unwrap())
    }

    /// A bridge with these arguments, which is not awaited.
    pub(crate) fn bridge(&self, arguments: &[&str]) -> Bridge {
        Bridge::start(self.runtime.path(), arguments)
    }

    pub(crate) fn outlet(&self) -> Bridge {
        let (name, key) = (self.here.name(), &self.key);
        self.bridge(&["out", name, "--key", key, "--connect", &self.address])
    }

    pub(crate) fn inlet(&self) -> Bridge {
        let (name, key) = (self.there.name(), &self.key);
        self.bridge(&["in", name, "--key", key, "--listen", &self.address])
    }
}

/// A running bridge, killed if the test ends before it.
pub(crate) struct Bridge {
    child: Child,
    said: Arc<(Mutex<Said>, Condvar)>,
}

#[derive(Default)]
struct Said {
    lines: Vec<String>,
    over: bool,
}

impl Bridge {
    pub(crate) fn start(runtime: &std::path::Path, arguments: &[&str]) -> Self {
        Bridge::run(tool(&[&["bridge"], arguments].concat()), runtime)
    }

    /// Runs this command, which is one of the tool's bridges.
    pub(crate) fn run(mut command: Command, runtime: &std::path::Path) -> Self {
        command.stdout(Stdio::null()).stderr(Stdio::piped()).env("XDG_RUNTIME_DIR", runtime);
        // What the tester wants to see is not what the test says.
        if !command.get_envs().any(|(variable, _)| variable == "RUST_LOG") {
            command.env_remove("RUST_LOG");
        }
        let mut child = command.spawn().unwrap();
        let errors = BufReader::new(child.stderr.take().unwrap());
        let said = Arc::<(Mutex<Said>, Condvar)>::default();
        let heard = said.clone();
        thread::spawn(move || {
            for line in errors.lines() {
                let line = line.unwrap();
                // What a failing test prints.
                eprintln!("{line}");
                heard.0.lock().unwrap().lines.push(line);
                heard.1.notify_all();
            }
            heard.0.lock().unwrap().over = true;
            heard.1.notify_all();
        });
        Bridge { child, said }
    }

    /// Waits until it has said a line with these words.
    pub(crate) fn says(&self, words: &str) -> String {
        self.says_so(words, |line| line.contains(words))
    }

    /// Waits until it has said a line for which this holds.
    pub(crate) fn says_so(&self, words: &str, is_so: impl Fn(&str) -> bool) -> String {
        let mut said = self.said.0.lock().unwrap();
        loop {
            if let Some(line) = said.lines.iter().find(|line| is_so(line)) {
                return line.clone();
            }
            assert!(!said.over, "it ended, and said {:?} and not {words:?}", said.lines);
            said = self.said.1.wait(said).unwrap();
        }
    }

    /// Waits until the last line that it has said is that it waits.
    pub(crate) fn is_waiting(&self) {
        let mut said = self.said.0.lock().unwrap();
        while !said.lines.last().is_some_and(|line| line.contains("waits")) {
            assert!(!said.over, "it ended, and said {:?}", said.lines);
            said = self.said.1.wait(said).unwrap();
        }
    }

    /// What it has said so far.
    pub(crate) fn said(&self) -> Vec<String> {
        self.said.0.lock().unwrap().lines.clone()
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.id() as i32), signal).unwrap();
    }

    /// Waits for its end; how it ended, and all it said.
    pub(crate) fn end(mut self) -> (ExitStatus, Vec<String>) {
        let status = self.child.wait().unwrap();
        let mut said = self.said.0.lock().unwrap();
        while !said.over {
            said = self.said.1.wait(said).unwrap();
        }
        (status, said.lines.clone())
    }

    /// Ends it as a user does; it must end well.
    pub(crate) fn stop(self) {
        self.signal(Signal::SIGTERM);
        let (status, said) = self.end();
        assert_eq!(status.code(), Some(143), "{said:?}");
    }
}

impl Drop for Bridge {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
