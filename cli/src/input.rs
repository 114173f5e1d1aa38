//! Standard input as lines, read so that a signal ends the waiting.

use std::fs::File;
use std::io::{self, BufRead, BufReader, ErrorKind};
use std::os::fd::AsFd;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::ending::{Ending, Endings};
use crate::failure::Failure;

/// The longest line, in bytes: no value of a channel is longer unless its channel was made so.
const LONGEST: usize = 1 << 30;

/// What came.
pub(crate) enum Line {
    /// A line without its end, and its number from 1.
    Text(Vec<u8>, u64),
    /// Standard input is at its end.
    End,
    /// The command is to end.
    Ended(Ending),
}

/// The lines of standard input.
pub(crate) struct Input {
    reader: BufReader<File>,
    endings: Endings,
    number: u64,
}

impl Input {
    pub(crate) fn new(endings: &Endings) -> Result<Self, Failure> {
        let file = io::stdin().as_fd().try_clone_to_owned().map_err(|error| unreadable(&error))?;
        let reader = BufReader::with_capacity(64 << 10, File::from(file));
        Ok(Input { reader, endings: endings.clone(), number: 0 })
    }

    /// The next line, as soon as it is whole; the last one may lack its end.
    pub(crate) fn line(&mut self) -> Result<Line, Failure> {
        let mut line = Vec::new();
        loop {
            if let Some(ending) = self.endings.ended() {
                return Ok(Line::Ended(ending));
            }
            if self.reader.buffer().is_empty() && !self.is_readable()? {
                continue;
            }
            let available = match self.reader.fill_buf() {
                Ok(available) => available,
                Err(error)
                    if matches!(error.kind(), ErrorKind::Interrupted | ErrorKind::WouldBlock) =>
                {
                    continue;
                }
                Err(error) => return Err(unreadable(&error)),
            };
            if available.is_empty() {
                if line.is_empty() {
                    return Ok(Line::End);
                }
                break;
            }
            let end = available.iter().position(|&byte| byte == b'\n');
            line.extend_from_slice(&available[..end.unwrap_or(available.len())]);
            let used = end.map_or(available.len(), |end| end + 1);
            self.reader.consume(used);
            if end.is_some() {
                break;
            }
            if line.len() > LONGEST {
                return Err(Failure::failed(format!(
                    "line {} of standard input is longer than 1 GiB; end each value with a line end",
                    self.number + 1
                )));
            }
        }
        self.number += 1;
        Ok(Line::Text(line, self.number))
    }

    /// Waits for input or the end of the command; whether there is input.
    fn is_readable(&self) -> Result<bool, Failure> {
        let mut watched = [
            PollFd::new(self.reader.get_ref().as_fd(), PollFlags::POLLIN),
            PollFd::new(self.endings.bell(), PollFlags::POLLIN),
        ];
        match poll(&mut watched, PollTimeout::NONE) {
            Ok(_) => Ok(watched[0].any() == Some(true)),
            Err(Errno::EINTR) => Ok(false),
            Err(errno) => Err(unreadable(&errno.into())),
        }
    }
}

fn unreadable(error: &io::Error) -> Failure {
    Failure::failed(format!("standard input cannot be read: {error}"))
}
