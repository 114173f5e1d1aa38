//! What the bridges of this user on this machine do, as they tell it.
//!
//! Each bridge listens at a socket in a directory that is this user's alone, and writes a line of JSON for each of its
//! links to each process that connects.

mod asking;
mod printing;
mod serving;

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use nix::unistd::getuid;
use serde::{Deserialize, Serialize};

use super::link::{Figures, Kind, LinkOptions};
pub(crate) use asking::{Answer, Asking};
pub(super) use printing::print;
pub(super) use serving::serve;

/// A link as it is told.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Status {
    pub(crate) process: u32,
    pub(crate) kind: Kind,
    pub(crate) name: String,
    pub(crate) key: String,
    pub(crate) state: String,
    pub(crate) values: u64,
    pub(crate) bytes: u64,
    pub(crate) in_flight: u64,
    pub(crate) meetings: u64,
    pub(crate) round_trip_us: Option<u64>,
    /// How long the bridge had run when it told this.
    pub(crate) uptime_ms: u64,
}

impl Status {
    fn of(options: &LinkOptions, figures: &Figures, began: Instant) -> Self {
        let read = |word: &AtomicU64| word.load(Ordering::Relaxed);
        Status {
            process: process::id(),
            kind: options.kind,
            name: options.name_text(),
            key: options.key.to_string(),
            state: figures.state(),
            values: read(&figures.values),
            bytes: read(&figures.bytes),
            in_flight: read(&figures.in_flight),
            meetings: read(&figures.meetings),
            round_trip_us: Some(read(&figures.round_trip)).filter(|&time| time > 0),
            uptime_ms: u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX),
        }
    }

    /// There and back, for a table.
    pub(crate) fn round_trip(&self) -> String {
        match self.round_trip_us {
            Some(time) => format!("{:.2} ms", time as f64 / 1000.0),
            None => "-".to_owned(),
        }
    }
}

/// Where the sockets are.
fn directory() -> PathBuf {
    match std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|path| path.is_absolute()) {
        Some(runtime) => runtime.join("sysv-channel"),
        None => PathBuf::from(format!("/tmp/sysv-channel-{}", getuid())),
    }
}

/// The name of a process's socket in that directory.
fn socket_of(process: u32) -> String {
    format!("bridge-{process}.sock")
}

/// The process whose socket has this name.
fn process_of(socket: &str) -> Option<u32> {
    socket.strip_prefix("bridge-")?.strip_suffix(".sock")?.parse().ok()
}

/// Refuses a directory that is not this user's alone: another could have made it in `/tmp`.
fn check(directory: &Path) -> io::Result<()> {
    let found = fs::symlink_metadata(directory)?;
    let is_ours = found.is_dir() && found.uid() == getuid().as_raw() && found.mode() & 0o077 == 0;
    match is_ours {
        true => Ok(()),
        false => {
            let what = "must be a directory of this user that no other user can enter (mode 0700)";
            Err(io::Error::other(format!("{} {what}", directory.display())))
        }
    }
}
