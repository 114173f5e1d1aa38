//! Standard output as a stream of lines that may have a reader.

use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::os::fd::AsFd;

use anstream::{AutoStream, ColorChoice};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::ending::{Ending, Endings};
use crate::failure::Failure;

/// Whether standard output gets colours: by `--color`, the environment (`NO_COLOR` and others), and what it is.
pub(crate) fn has_colours() -> bool {
    AutoStream::choice(&io::stdout()) != ColorChoice::Never
}

/// Writes all of a text at once; a reader that has gone is no failure.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    let mut output = anstream::stdout().lock();
    let written = output.write_all(text.as_bytes()).and_then(|()| output.flush());
    match written {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(unwritable(&error)),
        _ => Ok(()),
    }
}

pub(crate) fn unwritable(error: &io::Error) -> Failure {
    Failure::failed(format!("standard output cannot be written: {error}"))
}

/// Standard output, where each value is one line and is written at once.
///
/// A command asks whether there is room before it takes a value, so that what is not read stays where it is.
pub(crate) struct Output {
    /// Without a buffer: what was written is with the reader, or with the kernel.
    file: File,
    endings: Endings,
}

impl Output {
    pub(crate) fn new(endings: &Endings) -> Result<Self, Failure> {
        let file = io::stdout().as_fd().try_clone_to_owned().map_err(|error| unwritable(&error))?;
        Ok(Output { file: File::from(file), endings: endings.clone() })
    }

    /// Waits until standard output takes a line; `false` if the command is to end.
    pub(crate) fn has_room(&self) -> Result<bool, Failure> {
        loop {
            if self.endings.ended().is_some() {
                return Ok(false);
            }
            let mut watched = [
                PollFd::new(self.file.as_fd(), PollFlags::POLLOUT),
                PollFd::new(self.endings.bell(), PollFlags::POLLIN),
            ];
            match poll(&mut watched, PollTimeout::NONE) {
                Ok(_) | Err(Errno::EINTR) => {}
                Err(errno) => return Err(unwritable(&errno.into())),
            }
            let found = watched[0].revents().unwrap_or(PollFlags::empty());
            if found.contains(PollFlags::POLLERR) {
                self.endings.end(Ending::OutputClosed);
            } else if found.contains(PollFlags::POLLOUT) {
                return Ok(self.endings.ended().is_none());
            }
        }
    }

    /// Writes a line; `false` if its reader has gone, so that it was not read.
    ///
    /// It is finished also if a signal comes meanwhile: half a line is no value.
    pub(crate) fn line(&mut self, line: &[u8]) -> Result<bool, Failure> {
        let mut line = line;
        while !line.is_empty() {
            match self.file.write(line) {
                Ok(written) => line = &line[written..],
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // A process that shares the output has made it non-blocking.
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.wait_for_room()?,
                Err(error) if error.kind() == ErrorKind::BrokenPipe => {
                    self.endings.end(Ending::OutputClosed);
                    return Ok(false);
                }
                Err(error) => return Err(unwritable(&error)),
            }
        }
        Ok(true)
    }

    fn wait_for_room(&self) -> Result<(), Failure> {
        let mut watched = [PollFd::new(self.file.as_fd(), PollFlags::POLLOUT)];
        match poll(&mut watched, PollTimeout::NONE) {
            Ok(_) | Err(Errno::EINTR) => Ok(()),
            Err(errno) => Err(unwritable(&errno.into())),
        }
    }
}
