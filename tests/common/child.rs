//! Children: the test binary itself, started again to run the test `child` alone, with a role and
//! its arguments in the environment.
//!
//! Both sides talk in lines over the child's standard input and output.

use std::fmt::Display;
use std::io::{BufRead, BufReader, Lines, Write};
use std::process::{self, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::thread;

use nix::sys::prctl;
use nix::sys::signal::Signal;

use super::kernel;

const ROLE: &str = "SYSV_CHANNEL_ROLE";
const ARGUMENTS: &str = "SYSV_CHANNEL_ARGUMENTS";

/// Tells a line of ours from those of the test harness.
const MARK: &str = "= ";

/// A process in a role, killed and reaped when dropped.
pub(crate) struct Child {
    process: process::Child,
    input: ChildStdin,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Child {
    /// Starts this test binary again.
    pub(crate) fn start(
        role: &str,
        arguments: &[&str],
        prepare: impl FnOnce(&mut Command),
    ) -> Child {
        // By this link, another user reaches the binary too, wherever it stands.
        let mut command = Command::new("/proc/self/exe");
        command
            .args(["--exact", "child", "--nocapture", "--test-threads=1"])
            .env(ROLE, role)
            .env(ARGUMENTS, arguments.join("\n"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        prepare(&mut command);
        let mut process = command.spawn().expect("the test binary starts itself");
        let input = process.stdin.take().expect("a pipe");
        let output = process.stdout.take().expect("a pipe");
        Child { process, input, lines: BufReader::new(output).lines() }
    }

    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }

    /// Sends a line to the child.
    pub(crate) fn tell(&mut self, line: &str) {
        writeln!(self.input, "{line}").expect("the child listens");
    }

    /// The child's next line; `None` if it has ended.
    pub(crate) fn try_hear(&mut self) -> Option<String> {
        loop {
            let line = self.lines.next()?.expect("the child writes text");
            if let Some(ours) = line.strip_prefix(MARK) {
                return Some(ours.to_owned());
            }
        }
    }

    /// The child's next line.
    pub(crate) fn hear(&mut self) -> String {
        self.try_hear().expect("the child has something to say")
    }

    /// Waits for this very line.
    pub(crate) fn expect(&mut self, line: &str) {
        assert_eq!(self.hear(), line);
    }

    /// Kills the child, waits until it is gone, and returns what it still said.
    pub(crate) fn kill(mut self) -> Vec<String> {
        self.process.kill().expect("the child is there");
        let _ = self.process.wait();
        std::iter::from_fn(|| self.try_hear()).collect()
    }

    /// Stops the child as a debugger would.
    pub(crate) fn stop(&self) {
        kernel::stop(self.id());
    }

    /// Lets a stopped child go on.
    pub(crate) fn go_on(&self) {
        kernel::go_on(self.id());
    }

    /// Waits for the child to end by itself, which it must do well.
    pub(crate) fn finish(mut self) -> Vec<String> {
        let rest = std::iter::from_fn(|| self.try_hear()).collect();
        let status = self.process.wait().expect("the child is ours");
        assert_eq!(status, ExitStatus::default(), "the child failed");
        rest
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // Both fail if it has ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Plays the role that this process was started for, if it was.
pub(crate) fn play(act: impl FnOnce(&str, &[&str])) {
    let Ok(role) = std::env::var(ROLE) else { return };
    prctl::set_pdeathsig(Signal::SIGKILL).expect("a child dies with its parent");
    let arguments = std::env::var(ARGUMENTS).expect("a role comes with arguments");
    // The harness has begun a line.
    println!();
    act(&role, &arguments.split('\n').collect::<Vec<_>>());
    process::exit(0);
}

/// Says a line to the parent.
pub(crate) fn say(line: impl Display) {
    println!("{MARK}{line}");
}

/// Waits for a line from the parent.
pub(crate) fn listen() -> String {
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).expect("the parent writes text");
    line.trim_end().to_owned()
}

/// Says a line and waits to be killed.
pub(crate) fn halt(line: impl Display) -> ! {
    say(line);
    loop {
        thread::park();
    }
}
