//! A fence that only one side pays for; see membarrier(2).
//!
//! A waker looks for sleepers with every value; a sleeper goes to sleep seldom. So the waker's half is
//! no instruction at all, and the sleeper's half makes the kernel interrupt every processor that runs
//! a registered process, which is a fence there. It costs half a microsecond; a fence with every
//! value costs a stream of small ones half its speed, since it waits for the line that the other
//! side is reading.

use std::sync::atomic::{Ordering, compiler_fence, fence};

use nix::libc;

/// Registers this process as one that leaves its fences to others; `false` where the kernel cannot.
///
/// To be repeated by a forked child and wherever in doubt: once registered it costs one call.
pub(crate) fn register_waker() -> bool {
    membarrier(libc::MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED) && heavy_barrier()
}

/// The waker's half: orders what the compiler does.
#[inline]
pub(crate) fn light_barrier() {
    compiler_fence(Ordering::SeqCst);
}

/// The sleeper's half: a fence on every processor that runs a registered process, and here.
///
/// Where the kernel refuses, it is a fence here only, and `false`.
pub(crate) fn heavy_barrier() -> bool {
    // SeqCst: the refusal of a system call orders nothing.
    fence(Ordering::SeqCst);
    membarrier(libc::MEMBARRIER_CMD_GLOBAL_EXPEDITED)
}

fn membarrier(command: i32) -> bool {
    // SAFETY: the call takes numbers and touches no memory of ours.
    unsafe { libc::syscall(libc::SYS_membarrier, command, 0, 0) == 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_registered_process_can_leave_its_fences_to_others() {
        if !membarrier(libc::MEMBARRIER_CMD_QUERY) && !register_waker() {
            println!("skipped: this kernel has no membarrier");
            return;
        }
        assert!(register_waker() && register_waker() && heavy_barrier());
    }
}
