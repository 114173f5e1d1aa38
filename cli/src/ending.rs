//! What ends a command that goes on: a signal, or a reader of its output, or its terminal, that has gone.
//!
//! One thread waits for all of them. It blocks no call: the command looks before it takes the next value, and what
//! waits inside of a call is closed by a hook. So a signal never comes between taking a value and printing it.

use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::process;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

/// The signals that ask a program to end.
const SIGNALS: [Signal; 3] = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP];

/// Why a command ends before its work is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// This signal came.
    Signal(Signal),
    /// The output has no reader any more.
    OutputClosed,
}

impl Ending {
    /// The exit code: as of a process that the signal killed, and 0 where a reader has seen enough.
    pub(crate) fn code(self) -> u8 {
        match self {
            Ending::Signal(signal) => 128 + signal as i32 as u8,
            Ending::OutputClosed => 0,
        }
    }
}

/// Whose end is the command's end too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Peer {
    /// That of no peer.
    None,
    /// That of standard output's reader.
    Reader,
    /// That of the terminal which is standard input.
    Terminal,
}

impl Peer {
    /// The descriptor that tells, of the thread's own.
    fn watched(self) -> io::Result<Option<OwnedFd>> {
        match self {
            Peer::None => Ok(None),
            Peer::Reader => io::stdout().as_fd().try_clone_to_owned().map(Some),
            Peer::Terminal => io::stdin().as_fd().try_clone_to_owned().map(Some),
        }
    }
}

/// Whether the terminal that is standard input has gone.
pub(crate) fn terminal_is_gone() -> bool {
    let stdin = io::stdin();
    let mut watched = [PollFd::new(stdin.as_fd(), PollFlags::empty())];
    poll(&mut watched, PollTimeout::ZERO).is_ok() && watched[0].any() == Some(true)
}

/// Tells whether the command is to end.
#[derive(Clone)]
pub(crate) struct Endings(Arc<Inner>);

struct Inner {
    state: Mutex<State>,
    /// Readable from the end on.
    bell: EventFd,
}

#[derive(Default)]
struct State {
    ending: Option<Ending>,
    /// End the calls that wait.
    hooks: Vec<Box<dyn Fn() + Send>>,
}

impl Endings {
    /// Begins to watch for signals, and for a peer's end. To be called before there is another thread.
    pub(crate) fn watch(peer: Peer) -> io::Result<Self> {
        let signals: SigSet = SIGNALS.into_iter().filter(|&signal| !is_ignored(signal)).collect();
        signals.thread_block()?;
        let signals = SignalFd::with_flags(&signals, SfdFlags::SFD_CLOEXEC)?;
        let bell = EventFd::from_flags(EfdFlags::EFD_CLOEXEC)?;
        let endings = Endings(Arc::new(Inner { state: Mutex::default(), bell }));
        let mut watched_peer = peer.watched()?;
        let told = endings.clone();
        thread::Builder::new().name("signals".to_owned()).spawn(move || {
            loop {
                let mut watched = vec![PollFd::new(signals.as_fd(), PollFlags::POLLIN)];
                let its_end = |fd| PollFd::new(fd, PollFlags::empty());
                watched.extend(watched_peer.as_ref().map(|fd| its_end(fd.as_fd())));
                if poll(&mut watched, PollTimeout::NONE).is_err() {
                    continue;
                }
                let is_gone = watched.get(1).is_some_and(|peer| peer.any() == Some(true));
                if watched[0].any() == Some(true)
                    && let Ok(Some(signal)) = signals.read_signal()
                    && let Ok(signal) = Signal::try_from(signal.ssi_signo as i32)
                {
                    let ending = Ending::Signal(signal);
                    if told.ended().is_some_and(|ending| matches!(ending, Ending::Signal(_))) {
                        // Since the first signal the command may be waiting for a reader that does not read.
                        process::exit(ending.code().into());
                    }
                    told.end(ending);
                }
                if is_gone {
                    watched_peer = None;
                    match peer {
                        Peer::Terminal => {
                            let hang_up = Ending::Signal(Signal::SIGHUP);
                            told.end(hang_up);
                            // A command that reads keys may read the terminal's end for ever, and nothing is there to be restored.
                            process::exit(told.ended().unwrap_or(hang_up).code().into());
                        }
                        _ => told.end(Ending::OutputClosed),
                    }
                }
            }
        })?;
        Ok(endings)
    }

    /// Why to end, if so.
    pub(crate) fn ended(&self) -> Option<Ending> {
        self.state().ending
    }

    /// Has a call ended that may wait, now if it is time already.
    pub(crate) fn on_end(&self, hook: impl Fn() + Send + 'static) {
        let mut state = self.state();
        if state.ending.is_some() {
            hook();
        }
        state.hooks.push(Box::new(hook));
    }

    /// What becomes readable at the end.
    pub(crate) fn bell(&self) -> BorrowedFd<'_> {
        self.0.bell.as_fd()
    }

    /// Says why to end; the first reason stays.
    pub(crate) fn end(&self, ending: Ending) {
        let mut state = self.state();
        state.ending.get_or_insert(ending);
        state.hooks.iter().for_each(|hook| hook());
        // It can only fail if it was rung 2^64 times.
        let _ = self.0.bell.write(1);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether the process that started this one has it ignore the signal, as `nohup` and a shell's `&` do: then it
/// stays ignored.
fn is_ignored(signal: Signal) -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
    mask >> (signal as i32 - 1) & 1 == 1
}
