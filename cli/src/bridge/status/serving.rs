//! A bridge tells what its links do.

use std::fs::{self, DirBuilder};
use std::io::{self, Write};
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::process;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use super::super::link::{Figures, LinkOptions};
use super::{Status, check, directory, socket_of};

/// Who does not read for so long is given up, and what cannot be accepted is tried again so much later.
const PATIENCE: Duration = Duration::from_secs(2);

/// The socket of this bridge, as long as it is there.
pub(crate) struct Socket(PathBuf);

impl Drop for Socket {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// Tells each process that asks what these links do, from a thread of its own.
pub(crate) fn serve(links: Vec<(LinkOptions, Arc<Figures>)>) -> io::Result<Socket> {
    let began = Instant::now();
    let directory = directory();
    match DirBuilder::new().mode(0o700).create(&directory) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => check(&directory)?,
    }
    let name = socket_of(process::id());
    let (new, path) = (directory.join(format!(".{name}")), directory.join(name));
    // Of a killed bridge that had this number.
    let _ = fs::remove_file(&new);
    let listener = UnixListener::bind(&new)?;
    let socket = Socket(path);
    // It gets its name once it is listened at: a process that asks removes a socket of that name at which no
    // bridge listens.
    fs::rename(&new, &socket.0)?;
    thread::Builder::new().name("status".to_owned()).spawn(move || {
        for asked in listener.incoming() {
            let Ok(mut stream) = asked else {
                thread::sleep(PATIENCE);
                continue;
            };
            let lines = links.iter().filter_map(|(options, figures)| {
                serde_json::to_string(&Status::of(options, figures, began)).ok()
            });
            let text: String = lines.map(|line| line + "\n").collect();
            let _ = stream.set_write_timeout(Some(PATIENCE));
            let _ = stream.write_all(text.as_bytes());
        }
    })?;
    Ok(socket)
}
