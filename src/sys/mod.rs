//! The kernel, as the rest of the crate sees it.
//!
//! A facade: everything above uses these names and signatures and nothing of `linux` itself, so
//! that another module with the same names can stand in its place. What does not depend on the
//! kernel (errors, keys, the shapes of messages and operations) stands beside it.

pub(crate) mod bytes;
mod error;
mod key;
#[cfg(not(loom))]
mod linux;
mod message;
#[cfg(any(loom, documents_model))]
pub(crate) mod model;
mod object;
mod operation;

#[cfg(not(target_os = "linux"))]
compile_error!("sysv-channel runs on Linux alone: it rests on SEM_UNDO, as Linux keeps it");
#[cfg(all(target_os = "linux", not(target_pointer_width = "64")))]
compile_error!("sysv-channel needs a 64-bit target: its messages begin with an 8-byte type word");

/// What is given up when the process exits by itself: see `at_exit`.
pub(crate) trait AtExit: Send + Sync {
    /// Called at most once, on any thread, while the others go on.
    fn at_exit(&self);
}

pub use error::{SystemError, SystemErrorKind};
pub use key::{Key, KeyError};
#[cfg(not(loom))]
pub use object::SegmentStat;
pub use object::{Ownership, QueueStat};

#[cfg(not(loom))]
pub(crate) use linux::*;
pub(crate) use message::{MessageBuffer, MessageSelect, Wait};
#[cfg(loom)]
pub(crate) use model::*;
#[cfg(loom)]
pub(crate) use object::SegmentStat;
#[cfg(not(loom))]
pub(crate) use object::moment;
pub(crate) use object::{ObjectKind, ObjectName, SegmentPlan, SetStat};
pub(crate) use operation::SemOp;

pub(crate) use crate::verify::fault::{Fault, fault, ordering};
