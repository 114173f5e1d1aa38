//! The end of a run before its time, which leaves nothing behind either.
//!
//! Ctrl-C has the run end like a failed one: by an error that passes all owners of processes and
//! objects. Whoever waits for the other side just then is helped: whoever looks time and again looks
//! here too; and the other side's processes are ended, which most calls that sleep notice, and a
//! signal interrupts the others. A sample that takes far too long ends the run in the same way.

use std::hint::spin_loop;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use nix::errno::{Errno, ErrnoSentinel};
use nix::libc::{IPC_RMID, msgctl};
use nix::sys::pthread::{pthread_kill, pthread_self};
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, kill, sigaction};
use nix::unistd::{Pid, alarm};

use crate::Failure;

/// Longer than any sample takes, in seconds.
const FAR_TOO_LONG: u32 = 60;

static ASKED: AtomicBool = AtomicBool::new(false);

/// Queues that only their removal wakes.
static QUEUES: Mutex<Vec<i32>> = Mutex::new(Vec::new());

/// The processes that run for this one.
static CHILDREN: Mutex<Vec<Pid>> = Mutex::new(Vec::new());

/// Listens to Ctrl-C; called by the thread that measures.
pub fn listen() -> Result<(), Failure> {
    extern "C" fn interrupt(_: i32) {}
    let handler = SigAction::new(SigHandler::Handler(interrupt), SaFlags::empty(), SigSet::empty());
    // SAFETY: the handler does nothing.
    unsafe { sigaction(Signal::SIGUSR1, &handler) }?;
    let signals = SigSet::from_iter([Signal::SIGINT, Signal::SIGTERM, Signal::SIGALRM]);
    signals.thread_block()?;
    let measuring = pthread_self();
    thread::spawn(move || {
        let _ = signals.wait();
        ASKED.store(true, Ordering::Relaxed);
        thread::sleep(Duration::from_secs(1));
        for &child in locked(&CHILDREN).iter() {
            let _ = kill(child, Signal::SIGKILL);
        }
        for &queue in locked(&QUEUES).iter() {
            // SAFETY: IPC_RMID uses no buffer.
            unsafe { msgctl(queue, IPC_RMID, std::ptr::null_mut()) };
        }
        // Time and again: it may be between two calls.
        while pthread_kill(measuring, Signal::SIGUSR1).is_ok() {
            thread::sleep(Duration::from_millis(100));
        }
    });
    Ok(())
}

/// An error if the run is to end. The next sample has its full time again.
pub fn check() -> Result<(), Failure> {
    if asked() {
        return Err("it was asked to stop, or a sample did not end".into());
    }
    alarm::set(FAR_TOO_LONG);
    Ok(())
}

/// Looks until there is something.
#[inline]
pub fn spin<T>(mut look: impl FnMut() -> Result<Option<T>, Failure>) -> Result<T, Failure> {
    loop {
        for _ in 0..1 << 16 {
            if let Some(found) = look()? {
                return Ok(found);
            }
            spin_loop();
        }
        if asked() {
            return Err("it was asked to stop".into());
        }
    }
}

/// Makes a system call again that was interrupted: some are, on Linux, when a process that stood
/// still goes on.
pub fn restart<R: ErrnoSentinel + PartialEq>(mut call: impl FnMut() -> R) -> nix::Result<R> {
    loop {
        match Errno::result(call()) {
            Err(Errno::EINTR) if !asked() => {}
            done => return done,
        }
    }
}

/// Has a process ended with the run.
pub fn adopt(child: Pid) {
    locked(&CHILDREN).push(child);
}

/// Forgets a process, before it is waited for and its number can be another's.
pub fn forget(child: Pid) {
    locked(&CHILDREN).retain(|&adopted| adopted != child);
}

/// Has a queue removed if the run ends before its time: who waits on one is told nothing else.
pub fn adopt_queue(id: i32) {
    locked(&QUEUES).push(id);
}

/// Forgets a queue, before it is removed.
pub fn forget_queue(id: i32) {
    locked(&QUEUES).retain(|&adopted| adopted != id);
}

fn locked<T>(list: &Mutex<T>) -> MutexGuard<'_, T> {
    list.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether the run is to end.
pub fn asked() -> bool {
    ASKED.load(Ordering::Relaxed)
}
