//! Linux's own System V IPC.
//!
//! One function for each system call, `EINTR` retried with the time that is left, and every errno
//! an error that names the object.

pub(crate) mod at_exit;
mod atomics;
mod barrier;
mod clock;
mod event;
mod ffi;
mod guarded;
pub(crate) mod process;
mod queue;
mod segment;
mod semaphore;
pub(crate) mod thread;

/// What threads of one process exclude each other with.
pub(crate) type Mutex<T> = std::sync::Mutex<T>;

pub(crate) use atomics::{AtomicU64, Ordering, current_processor, fence, spin_budget, spin_hint};
pub(crate) use barrier::{heavy_barrier, light_barrier, register_waker};
pub(crate) use clock::{ClockOffset, Deadline, Moment, pause};
pub(crate) use event::Event;
pub(crate) use queue::{MessageQueue, message_limits};
pub(crate) use segment::{Segment, SegmentId, memory_is_counted};
pub(crate) use semaphore::SemaphoreSet;

/// The smallest ring, in lines: a page.
pub(crate) const MIN_RING_LINES: usize = 64;

/// Bytes of a page.
pub(crate) const PAGE: usize = 4096;

/// Removes a test's object also when the test fails.
#[cfg(test)]
pub(crate) struct Cleanup<F: FnMut()>(pub(crate) F);

#[cfg(test)]
impl<F: FnMut()> Drop for Cleanup<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, AtomicU64};
    use std::time::Duration;

    use nix::libc;
    use nix::sys::wait::{WaitStatus, waitpid};
    use nix::unistd::{ForkResult, Uid, fork, setuid};

    use super::*;
    use crate::sys::{MessageBuffer, MessageSelect, SemOp, SystemErrorKind, Wait};

    #[test]
    fn stat_works_without_permission_and_nothing_else_does() {
        if !Uid::effective().is_root() {
            println!("skipped: only root can become a user without permission");
            return;
        }
        let queue = MessageQueue::create_private(0o600).unwrap();
        let _queue = Cleanup(|| drop(queue.remove()));
        let set = SemaphoreSet::create_private(1, 0o600).unwrap();
        let _set = Cleanup(|| drop(set.remove()));
        let segment = SegmentId::create_private(4096, 0o600).unwrap();
        let _segment = Cleanup(|| drop(segment.remove()));
        // SAFETY: the child makes system calls and exits.
        match unsafe { fork() }.unwrap() {
            ForkResult::Child => {
                let dropped = setuid(Uid::from_raw(65534)).is_ok();
                let seen = queue.stat().is_ok_and(|stat| stat.ownership.uid == 0)
                    && set.stat().is_ok_and(|stat| stat.ownership.uid == 0)
                    && segment.stat().is_ok_and(|stat| stat.ownership.uid == 0);
                let denied = SystemErrorKind::PermissionDenied;
                let refused = queue.remove().is_err_and(|error| error.kind() == denied)
                    && set.values().is_err_and(|error| error.kind() == denied)
                    && segment.attach(true).is_err_and(|error| error.kind() == denied);
                // SAFETY: leaves the child without running the test harness' exit handlers.
                unsafe { libc::_exit(if dropped && seen && refused { 0 } else { 1 }) }
            }
            ForkResult::Parent { child } => {
                assert_eq!(waitpid(child, None), Ok(WaitStatus::Exited(child, 0)));
            }
        }
    }

    static SIGNALS: AtomicU64 = AtomicU64::new(0);

    extern "C" fn count(_signal: libc::c_int) {
        SIGNALS.fetch_add(1, Ordering::Relaxed);
    }

    /// Interrupts `blocked` a hundred times, then lets `release` end it.
    fn interrupted<R: Send>(blocked: impl FnOnce() -> R + Send, release: impl FnOnce()) -> R {
        // SAFETY: all zero is a valid sigaction: no flags, so that calls are interrupted.
        let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
        action.sa_sigaction = count as extern "C" fn(libc::c_int) as usize;
        // SAFETY: the handler does nothing but count.
        unsafe { libc::sigaction(libc::SIGUSR1, &action, std::ptr::null_mut()) };
        let (thread_id, done) = (AtomicU64::new(0), AtomicBool::new(false));
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                // SAFETY: asks for the calling thread's own id.
                thread_id.store(unsafe { libc::pthread_self() } as u64, Ordering::Release);
                let result = blocked();
                // The thread must not end, and its id lapse, while it is being signalled.
                while !done.load(Ordering::Acquire) {
                    std::thread::yield_now();
                }
                result
            });
            let id = loop {
                match thread_id.load(Ordering::Acquire) {
                    0 => std::thread::yield_now(),
                    id => break id,
                }
            };
            let before = SIGNALS.load(Ordering::Relaxed);
            while SIGNALS.load(Ordering::Relaxed) < before + 100 {
                // SAFETY: the thread lives until `done`.
                unsafe { libc::pthread_kill(id as libc::pthread_t, libc::SIGUSR1) };
                std::thread::yield_now();
            }
            release();
            done.store(true, Ordering::Release);
            thread.join().unwrap()
        })
    }

    #[test]
    fn signals_never_end_a_blocked_call() {
        let queue = MessageQueue::create_private(0o600).unwrap();
        let _queue = Cleanup(|| drop(queue.remove()));
        let set = SemaphoreSet::create_private(1, 0o600).unwrap();
        let _set = Cleanup(|| drop(set.remove()));
        let message = MessageBuffer::with_capacity(8);
        let receive = || {
            let mut buffer = MessageBuffer::with_capacity(8);
            queue.receive(MessageSelect::Any, &mut buffer, Wait::Forever, false)
        };

        interrupted(receive, || queue.send(&message, Wait::No).unwrap()).unwrap();
        queue.set_capacity(1).unwrap();
        queue.send(&message, Wait::No).unwrap();
        interrupted(|| queue.send(&message, Wait::Forever), || receive().unwrap()).unwrap();
        for deadline in [Deadline::never(), Deadline::after(Duration::from_secs(1000))] {
            let wait = || set.operate(&[SemOp::add(0, -1)], deadline);
            let post = || set.operate(&[SemOp::add(0, 1)], Deadline::never()).unwrap();
            interrupted(wait, post).unwrap();
        }
        let deadline = Deadline::after(Duration::from_millis(20));
        let timed_out = interrupted(|| set.operate(&[SemOp::add(0, -1)], deadline), || ());
        assert_eq!(timed_out.unwrap_err().kind(), SystemErrorKind::WouldBlock);
        assert!(deadline.has_passed());
    }
}
