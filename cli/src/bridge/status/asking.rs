//! `bridge status` and `top` ask all bridges at once; a bridge that does not answer holds them up for as long as they say.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, ErrorKind, Read};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, socket};

use super::{Status, check, directory, process_of};

/// The longest status of a bridge, in bytes.
const LONGEST: usize = 1 << 20;

/// Asks bridges. A question that was not answered yet stays, and is not asked anew: so one that is stopped is not asked
/// more often than it can hold.
#[derive(Default)]
pub(crate) struct Asking(BTreeMap<u32, Asked>);

/// A question that is under way.
struct Asked {
    stream: UnixStream,
    since: Instant,
    /// What has come of the answer.
    text: Vec<u8>,
}

/// What a bridge says.
pub(crate) enum Answer {
    Links(Vec<Status>),
    /// Nothing for so long.
    Silence(Duration),
    /// It cannot be asked.
    Failed(io::Error),
}

impl Asking {
    /// What all bridges of this user say, by process. Answers are waited for at most so long.
    pub(crate) fn ask(&mut self, patience: Duration) -> io::Result<Vec<(u32, Answer)>> {
        let until = Instant::now() + patience;
        let mut sockets = sockets()?;
        self.0.retain(|process, _| sockets.contains_key(process));
        sockets.retain(|process, _| !self.0.contains_key(process));
        let mut answers = Vec::new();
        for (process, path) in sockets {
            match begin(&path) {
                Ok(Some(asked)) => drop(self.0.insert(process, asked)),
                Ok(None) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    let error = io::Error::other("as many wait for its answer as can");
                    answers.push((process, Answer::Failed(error)));
                }
                Err(error) => answers.push((process, Answer::Failed(error))),
            }
        }
        loop {
            answers.extend(self.take());
            let left = until.saturating_duration_since(Instant::now());
            if self.0.is_empty() || left.is_zero() {
                break;
            }
            self.wait(left)?;
        }
        let silent = self.0.iter();
        answers.extend(silent.map(|(&it, asked)| (it, Answer::Silence(asked.since.elapsed()))));
        answers.sort_by_key(|&(process, _)| process);
        Ok(answers)
    }

    /// The answers that have come as a whole.
    fn take(&mut self) -> Vec<(u32, Answer)> {
        let mut answers = Vec::new();
        self.0.retain(|&process, asked| match asked.read() {
            Ok(false) => true,
            Ok(true) => {
                let text = String::from_utf8_lossy(&asked.text);
                let links = text.lines().filter_map(|line| serde_json::from_str(line).ok());
                answers.push((process, Answer::Links(links.collect())));
                false
            }
            Err(error) => {
                answers.push((process, Answer::Failed(error)));
                false
            }
        });
        answers
    }

    fn wait(&self, left: Duration) -> io::Result<()> {
        let asked = self.0.values();
        let mut watched: Vec<_> =
            asked.map(|asked| PollFd::new(asked.stream.as_fd(), PollFlags::POLLIN)).collect();
        // Rounded up: poll would not wait for less than a millisecond.
        let left = u16::try_from(left.as_millis() + 1).unwrap_or(u16::MAX);
        match poll(&mut watched, PollTimeout::from(left)) {
            Ok(_) | Err(nix::errno::Errno::EINTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

impl Asked {
    /// Reads what is there; whether that was the end.
    fn read(&mut self) -> io::Result<bool> {
        let mut bytes = [0; 4096];
        loop {
            match self.stream.read(&mut bytes) {
                Ok(0) => return Ok(true),
                Ok(read) if self.text.len() + read <= LONGEST => {
                    self.text.extend_from_slice(&bytes[..read]);
                }
                Ok(_) => return Err(io::Error::other("it says more than any bridge does")),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// The sockets in this user's directory, by process.
fn sockets() -> io::Result<BTreeMap<u32, PathBuf>> {
    let directory = directory();
    let entries = match fs::read_dir(&directory) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(BTreeMap::new()),
        Err(error) => {
            let what = format!("{}: {error}", directory.display());
            return Err(io::Error::new(error.kind(), what));
        }
        Ok(entries) => entries,
    };
    check(&directory)?;
    let mut found = BTreeMap::new();
    for entry in entries {
        let name = entry?.file_name();
        if let Some(process) = process_of(&name.to_string_lossy()) {
            found.insert(process, directory.join(name));
        }
    }
    Ok(found)
}

/// Asks a bridge, without waiting for it; `None` if the bridge is gone. A socket at which no process listens is what a
/// killed bridge left; it is removed.
fn begin(path: &Path) -> io::Result<Option<Asked>> {
    let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
    let stream = socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
    let connected = connect(stream.as_raw_fd(), &UnixAddr::new(path)?);
    match connected.map_err(io::Error::from) {
        Ok(()) => {
            let stream = UnixStream::from(stream);
            Ok(Some(Asked { stream, since: Instant::now(), text: Vec::new() }))
        }
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => {
            let _ = fs::remove_file(path);
            Ok(None)
        }
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}
