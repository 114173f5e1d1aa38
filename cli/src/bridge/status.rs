//! `bridge status`: what the bridges of this user on this machine do.
//!
//! Each bridge listens at a socket in a directory that is this user's alone, and writes a line of JSON for each of its
//! links to whoever connects. A socket at which nobody listens is what a killed bridge left; it is removed.

use std::fs::{self, DirBuilder};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use anstyle::Style;
use nix::unistd::getuid;
use serde::{Deserialize, Serialize};

use super::args::StatusArguments;
use super::link::{Figures, Kind, LinkOptions};
use crate::failure::{Code, Failure};
use crate::json;
use crate::output;
use crate::text::{Table, bytes, grouped, shown};

/// Who does not read or write for so long is given up.
const PATIENCE: Duration = Duration::from_secs(2);

/// The longest status of a bridge, in bytes.
const LONGEST: u64 = 1 << 20;

/// A link as it is told.
#[derive(Debug, Serialize, Deserialize)]
struct Status {
    process: u32,
    kind: Kind,
    name: String,
    key: String,
    state: String,
    values: u64,
    bytes: u64,
    in_flight: u64,
    meetings: u64,
    round_trip_us: Option<u64>,
}

impl Status {
    fn of(options: &LinkOptions, figures: &Figures) -> Self {
        let read = |word: &std::sync::atomic::AtomicU64| word.load(Ordering::Relaxed);
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

/// Refuses a directory that is not this user's alone: another could have made it in `/tmp`.
fn check(directory: &Path) -> io::Result<()> {
    let found = fs::symlink_metadata(directory)?;
    let is_ours = found.is_dir() && found.uid() == getuid().as_raw() && found.mode() & 0o077 == 0;
    match is_ours {
        true => Ok(()),
        false => {
            let what = "must be a directory of this user that nobody else can enter (mode 0700)";
            Err(io::Error::other(format!("{} {what}", directory.display())))
        }
    }
}

/// The socket of this bridge, as long as it is there.
pub(crate) struct Socket(PathBuf);

impl Drop for Socket {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// Tells whoever asks what these links do, from a thread of its own.
pub(crate) fn serve(links: Vec<(LinkOptions, Arc<Figures>)>) -> io::Result<Socket> {
    let directory = directory();
    match DirBuilder::new().mode(0o700).create(&directory) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => check(&directory)?,
    }
    let path = directory.join(format!("bridge-{}.sock", process::id()));
    // Of a killed bridge that had this number.
    let _ = fs::remove_file(&path);
    let listener = UnixListener::bind(&path)?;
    let socket = Socket(path);
    thread::Builder::new().name("status".to_owned()).spawn(move || {
        for asked in listener.incoming() {
            let Ok(mut stream) = asked else {
                thread::sleep(PATIENCE);
                continue;
            };
            let lines = links.iter().filter_map(|(options, figures)| {
                serde_json::to_string(&Status::of(options, figures)).ok()
            });
            let text: String = lines.map(|line| line + "\n").collect();
            let _ = stream.set_write_timeout(Some(PATIENCE));
            let _ = stream.write_all(text.as_bytes());
        }
    })?;
    Ok(socket)
}

/// Asks a bridge; nothing where none is there any more.
fn ask(path: &Path) -> io::Result<String> {
    let stream = match UnixStream::connect(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            let _ = fs::remove_file(path);
            return Ok(String::new());
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(String::new()),
        stream => stream?,
    };
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut text = String::new();
    stream.take(LONGEST).read_to_string(&mut text)?;
    Ok(text)
}

/// What all bridges of this user tell, by process and link.
fn collect() -> Result<Vec<Status>, Failure> {
    let directory = directory();
    let unreadable =
        |error: io::Error| Failure::failed(format!("{}: {error}", directory.display()));
    let entries = match fs::read_dir(&directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(unreadable)?,
    };
    check(&directory).map_err(unreadable)?;
    let mut found = Vec::new();
    for entry in entries {
        let name = entry.map_err(unreadable)?.file_name();
        let text = name.to_string_lossy();
        if !(text.starts_with("bridge-") && text.ends_with(".sock")) {
            continue;
        }
        match ask(&directory.join(&name)) {
            Ok(lines) => {
                found.extend(lines.lines().filter_map(|line| serde_json::from_str(line).ok()));
            }
            Err(error) => crate::complain(&Failure::failed(format!(
                "a bridge does not answer at {}: {error}",
                directory.join(&name).display()
            ))),
        }
    }
    found.sort_by_key(|status: &Status| status.process);
    Ok(found)
}

pub(crate) fn print(arguments: &StatusArguments) -> Result<(), Failure> {
    let all = collect()?;
    if all.is_empty() {
        let what = "no bridge of this user runs on this machine";
        return Err(Failure::new(
            Code::Empty,
            format!("{what}; `sysv-channel bridge out` starts one"),
        ));
    }
    if arguments.json {
        let lines = all.iter().filter_map(|status| serde_json::to_string(status).ok());
        return output::print(&lines.map(|line| json::escaped(line) + "\n").collect::<String>());
    }
    let heading =
        ["PID", "LINK", "NAME", "KEY", "VALUES", "BYTES", "IN FLIGHT", "ROUND TRIP", "STATE"];
    let mut table = Table::new(&heading, &[0, 4, 5, 6, 7]);
    for status in &all {
        let round_trip = match status.round_trip_us {
            Some(time) => format!("{:.2} ms", time as f64 / 1000.0),
            None => "-".to_owned(),
        };
        let cells = [
            status.process.to_string(),
            status.kind.to_string(),
            shown(&status.name),
            shown(&status.key),
            grouped(status.values),
            bytes(status.bytes),
            grouped(status.in_flight),
            round_trip,
            shown(&status.state),
        ];
        table.row(cells.into_iter().map(|cell| (cell, Style::new())).collect());
    }
    output::print(&table.text())
}
