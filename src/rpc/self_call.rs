//! Which server this thread serves: a call to it, made by its own handler, could not be answered
//! before the handler returns.

use std::cell::Cell;

use crate::Sender;
use crate::channel::Untyped;
use crate::name::Handle;
use crate::sys::process;

#[cfg(not(loom))]
use std::thread_local;

#[cfg(loom)]
use loom::thread_local;

/// A server's channel, and the process that serves it: a forked child has its parent's memory and
/// may call its parent's server.
#[derive(Clone, Copy)]
struct Served {
    channel: Handle,
    process: u64,
}

thread_local! {
    static SERVED: Cell<Option<Served>> = Cell::default();
}

/// Says, until it is dropped, that no thread but this one can answer the channel's requests. The
/// innermost counts where one server's handler serves another.
pub(super) struct Serving {
    outer: Option<Served>,
}

impl Serving {
    pub(super) fn begin(channel: Handle) -> Self {
        let served = Served { channel, process: process::token() };
        Serving { outer: SERVED.with(|served_now| served_now.replace(Some(served))) }
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        SERVED.with(|served| served.set(self.outer));
    }
}

/// Whether what the sender sends is for the server that this thread serves.
#[inline]
pub(super) fn is_served_here(sender: &Sender<(), Untyped>) -> bool {
    SERVED.with(Cell::get).is_some_and(|served| {
        served.channel == sender.handle()
            && served.process == process::token()
            // One that was removed has no server, and its client finds the next.
            && !sender.is_removed()
    })
}
