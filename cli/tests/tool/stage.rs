//! What the tests share.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{self, Child, ChildStdin, Command, Output, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use sysv_channel::codec::Raw;
use sysv_channel::{Channel, Queue};

/// How long a test may take before it counts as hanging.
const LIMIT: Duration = Duration::from_secs(120);

/// One test: a name of its own, whose objects are removed at the end whatever happens, and a watchdog.
pub(crate) struct Stage {
    name: String,
    /// Dropped at the end, which the watchdog sees.
    _over: mpsc::Sender<()>,
}

impl Stage {
    pub(crate) fn new(test: &'static str) -> Self {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let (over, watched) = mpsc::channel::<()>();
        thread::spawn(move || {
            if watched.recv_timeout(LIMIT) == Err(RecvTimeoutError::Timeout) {
                eprintln!("{test} hangs");
                process::abort();
            }
        });
        Stage { name: format!("tool {test} {} {count}.", process::id()), _over: over }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        // Most tests leave nothing.
        let _ = Channel::<Vec<u8>, Raw>::unlink(self.name());
        if let Ok(queue) = Queue::<Vec<u8>, Raw>::open(self.name()) {
            let _ = queue.remove();
        }
    }
}

/// The tool with these arguments, without what the tester's environment says of colours.
pub(crate) fn tool(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sysv-channel"));
    command.args(arguments).stdin(Stdio::null());
    for variable in ["NO_COLOR", "CLICOLOR", "CLICOLOR_FORCE", "COLUMNS"] {
        command.env_remove(variable);
    }
    command
}

/// Runs the tool to its end.
pub(crate) fn run(arguments: &[&str]) -> Output {
    tool(arguments).output().unwrap()
}

/// Runs it, and returns what it printed; it must have had nothing to complain about.
pub(crate) fn prints(arguments: &[&str]) -> String {
    let output = run(arguments);
    assert!(output.status.success(), "{arguments:?}: {} {}", output.status, text(&output.stderr));
    assert_eq!(text(&output.stderr), "", "{arguments:?}");
    text(&output.stdout)
}

/// Runs it, and returns its complaint, which is one line; it must have ended with this code.
pub(crate) fn fails(arguments: &[&str], code: i32) -> String {
    complaint(run(arguments), code)
}

/// The complaint of a tool that has ended with this code.
pub(crate) fn complaint(output: Output, code: i32) -> String {
    let complaint = text(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{complaint}");
    assert_eq!(complaint.lines().count(), 1, "{complaint}");
    let said = complaint.strip_prefix("sysv-channel: ").unwrap_or_else(|| panic!("{complaint}"));
    said.trim_end().to_owned()
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A tool that runs beside the test, killed if the test ends before it.
pub(crate) struct Running {
    child: Option<Child>,
    lines: Option<BufReader<process::ChildStdout>>,
}

impl Running {
    /// Starts it with pipes to all its ends.
    pub(crate) fn start(arguments: &[&str]) -> Self {
        let mut command = tool(arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let lines = child.stdout.take().map(BufReader::new);
        Running { child: Some(child), lines }
    }

    fn child(&mut self) -> &mut Child {
        self.child.as_mut().unwrap()
    }

    /// Its standard input; it ends when this is dropped.
    pub(crate) fn input(&mut self) -> ChildStdin {
        self.child().stdin.take().unwrap()
    }

    pub(crate) fn tell(&mut self, line: &str) {
        self.child().stdin.as_mut().unwrap().write_all(format!("{line}\n").as_bytes()).unwrap();
    }

    /// The next line that it prints.
    pub(crate) fn hear(&mut self) -> String {
        let mut line = String::new();
        self.lines.as_mut().unwrap().read_line(&mut line).unwrap();
        line.trim_end_matches('\n').to_owned()
    }

    /// Reads its output no more.
    pub(crate) fn hang_up(&mut self) {
        self.lines = None;
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.as_ref().unwrap().id()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.id() as i32), signal).unwrap();
    }

    /// Waits for its end; what it printed and was not read yet, and how it ended.
    pub(crate) fn end(mut self) -> (String, Output) {
        let mut child = self.child.take().unwrap();
        drop(child.stdin.take());
        let mut rest = String::new();
        if let Some(mut lines) = self.lines.take() {
            lines.read_to_string(&mut rest).unwrap();
        }
        (rest, child.wait_with_output().unwrap())
    }

    /// Ends it with SIGKILL; what it printed and was not read yet.
    pub(crate) fn kill(mut self) -> String {
        let mut child = self.child.take().unwrap();
        child.kill().unwrap();
        let mut rest = String::new();
        self.lines.take().unwrap().read_to_string(&mut rest).unwrap();
        child.wait().unwrap();
        rest
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Looks until something is so; the watchdog ends it if it never is.
pub(crate) fn until(mut so: impl FnMut() -> bool) {
    while !so() {
        thread::yield_now();
    }
}
