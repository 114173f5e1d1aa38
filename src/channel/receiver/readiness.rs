//! A descriptor that is readable while a receiver has something.

use std::cell::Cell;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::sync::Arc;
use std::task::Waker;

use super::Receiver;
use crate::codec::Codec;
use crate::control::Registrant;
use crate::error::RecvError;
use crate::sys::{Deadline, Event};

/// A file descriptor that is readable while a [`Receiver`], a [`Server`](crate::rpc::Server) or a
/// [`Mailbox`](crate::actor::Mailbox) has something to receive or to tell: for epoll, mio, or `AsyncFd` of tokio.
///
/// It is readable until a call that does not wait, `try_recv`, has said that there is nothing, and again when
/// something comes, all senders are gone, the channel is removed or the receiver is closed. So a program that is told
/// that it is readable calls `try_recv` until that says so. It is polled, and neither read nor written: its bytes mean
/// nothing.
///
/// It may be readable in vain: after another call of the receiver has waited, and when it is time to look whether the
/// channel's objects are still there, a second after the last value and ever more seldom. So a call that blocks is not
/// the one to make.
///
/// It costs a thread that lasts as long as the receiver, which sleeps in the kernel, and a descriptor. It may outlive
/// the receiver, and is not readable any more then.
///
/// ```
/// use std::os::fd::AsFd;
/// use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
///
/// let (tx, rx) = sysv_channel::channel::<u32>()?;
/// let readiness = rx.readiness()?;
/// let readable = |timeout: PollTimeout| {
///     poll(&mut [PollFd::new(readiness.as_fd(), PollFlags::POLLIN)], timeout)
/// };
/// assert!(rx.try_recv().unwrap_err().is_empty());
/// assert_eq!(readable(PollTimeout::ZERO)?, 0);
/// tx.send(&7)?;
/// assert_eq!(readable(PollTimeout::NONE)?, 1);
/// assert_eq!(rx.try_recv()?, 7);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct Readiness(Arc<Event>);

impl AsFd for Readiness {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl AsRawFd for Readiness {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

impl<T, C: Codec<T>> Receiver<T, C> {
    /// A descriptor that is readable while there is something to receive: see [`Readiness`].
    ///
    /// From then on [`try_recv`](Receiver::try_recv) counts as a call that waits: it says
    /// [`RecvError::Closed`], once, where the [closer](Receiver::closer) ended it.
    ///
    /// # Errors
    /// [`RecvError::System`] if the kernel gives no descriptor or no thread, [`RecvError::Forked`] in a forked child.
    pub fn readiness(&self) -> Result<Readiness, RecvError> {
        if !self.control.is_ours() {
            return Err(RecvError::Forked { channel: self.control.name() });
        }
        if let Some(event) = self.event.get() {
            return Ok(Readiness(event.clone()));
        }
        let failed = |error| RecvError::from(self.control.wait_error(error));
        self.listen().map_err(failed)?;
        let event = Arc::new(Event::new().map_err(failed)?);
        // Until a call has looked, there may be something.
        event.set();
        Ok(Readiness(self.event.get_or_init(|| event).clone()))
    }

    /// Has the descriptor readable when something comes, if there is one; what came before is seen by the look that
    /// follows.
    pub(super) fn arm_event(&self) -> Result<bool, RecvError> {
        let Some(event) = self.event.get().filter(|_| !self.in_task.get()) else {
            return Ok(false);
        };
        event.clear();
        let waker = Waker::from(event.clone());
        let failed = |error| RecvError::from(self.control.wait_error(error));
        let registered = self.listen().and_then(|listener| {
            listener.register(Registrant::Descriptor, &waker, Deadline::never())
        });
        registered.map_err(failed)?;
        self.control.arm(self.control.receiver_bell(self.place), &waker);
        self.returns.flush(true);
        Ok(true)
    }

    /// Has it readable: there is something to receive, or to tell.
    pub(super) fn set_event(&self) {
        if let Some(event) = self.event.get() {
            event.set();
        }
    }

    /// Says, until this is dropped, that calls which find nothing look for a task.
    pub(super) fn enter_task(&self) -> impl Drop {
        self.in_task.set(true);
        InTask(&self.in_task)
    }
}

struct InTask<'r>(&'r Cell<bool>);

impl Drop for InTask<'_> {
    fn drop(&mut self) {
        self.0.set(false);
    }
}
