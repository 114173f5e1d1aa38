//! A small System V kernel made of loom's primitives, under `--cfg loom`.
//!
//! It has the names and signatures of `linux`, so that the source that ships is what loom explores.
//! Every call is one step: it takes the object's lock, does what the kernel would do, and lets the
//! calls that slept carry on, which the waker does for the sleeper, as Linux does. A model process
//! is a thread with a process number of its own; when it ends, or is killed before its n-th step,
//! its undo entries are applied. Objects live for one execution.

pub(crate) mod at_exit;
mod atomics;
mod barrier;
mod clock;
mod kernel;
pub(crate) mod process;
mod queue;
mod segment;
mod semaphore;
pub(crate) mod thread;

pub(crate) use atomics::{AtomicU64, Ordering, current_processor, fence, spin_budget, spin_hint};
pub(crate) use barrier::{heavy_barrier, light_barrier, register_waker};
pub(crate) use clock::{ClockOffset, Deadline, Moment, pause};
pub(crate) use queue::{MessageQueue, message_limits};
pub(crate) use segment::{Segment, SegmentId, memory_is_counted};
pub(crate) use semaphore::SemaphoreSet;

pub use clock::expire_deadlines;
pub use kernel::set_queue_capacity;
pub use process::{Process, Running, killed_anybody};

/// What threads of one process exclude each other with.
pub(crate) type Mutex<T> = loom::sync::Mutex<T>;

/// The smallest ring, in lines; models need small ones.
pub(crate) const MIN_RING_LINES: usize = 2;

/// What rings are aligned to; nothing is paged here.
pub(crate) const PAGE: usize = 64;

#[cfg(test)]
pub(crate) use {
    clock::{SHORT, let_short_times_pass, only_short_times_pass},
    kernel::objects_left,
};
