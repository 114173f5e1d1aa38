//! An eventfd: a descriptor that is readable while it is set.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::sync::Arc;
use std::task::Wake;

use nix::sys::eventfd::{EfdFlags, EventFd};

use crate::sys::SystemError;

/// See [eventfd(2)](https://man7.org/linux/man-pages/man2/eventfd.2.html).
#[derive(Debug)]
pub(crate) struct Event(EventFd);

impl Event {
    /// One that is not set.
    pub(crate) fn new() -> Result<Self, SystemError> {
        let flags = EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK;
        let event = EventFd::from_value_and_flags(0, flags);
        event.map(Event).map_err(SystemError::of_eventfd)
    }

    pub(crate) fn set(&self) {
        // It fails where the count is as high as it goes, and readable then.
        let _ = self.0.write(1);
    }

    pub(crate) fn clear(&self) {
        // It fails where it is not set.
        let _ = self.0.read();
    }
}

impl Wake for Event {
    fn wake(self: Arc<Self>) {
        self.set();
    }
}

impl AsFd for Event {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl AsRawFd for Event {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}
