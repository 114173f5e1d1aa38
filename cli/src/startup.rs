//! Whether standard output was open when the program was started.
//!
//! Rust opens /dev/null in the place of a standard stream that is closed, before `main` runs: then what is written is
//! lost without an error. So this looks before that, in a function that the C library calls first.

#![allow(unsafe_code)]

use std::io;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::fcntl::{FcntlArg, fcntl};

static IS_CLOSED: AtomicBool = AtomicBool::new(false);

// SAFETY: the C library calls each pointer of this section once, while there is one thread; arguments that a function
// does not take do no harm in C's calling convention. The function unwinds nowhere, and needs nothing of Rust's runtime.
#[used]
#[unsafe(link_section = ".init_array")]
static LOOK: extern "C" fn() = look;

extern "C" fn look() {
    let found = fcntl(io::stdout().as_fd(), FcntlArg::F_GETFD);
    IS_CLOSED.store(found.is_err(), Ordering::Relaxed);
}

/// Whether what is written to standard output goes nowhere, since the program was started without one.
pub(crate) fn output_is_closed() -> bool {
    IS_CLOSED.load(Ordering::Relaxed)
}
