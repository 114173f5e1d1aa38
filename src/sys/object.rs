//! What the kernel says about its objects.

use std::fmt;
#[cfg(not(loom))]
use std::time::Duration;
use std::time::SystemTime;

/// Who owns a System V object and who may use it; see `struct ipc_perm` in
/// [sysvipc(7)](https://man7.org/linux/man-pages/man7/sysvipc.7.html).
///
/// The owner can give the object to another user; the creator never changes, so both are
/// compared wherever ownership decides.
///
/// ```
/// use sysv_channel::Queue;
///
/// let queue = Queue::<u32>::private()?;
/// let ownership = queue.stat()?.ownership;
/// assert_eq!(ownership.uid, ownership.creator_uid);
/// assert_eq!(ownership.mode, 0o600);
/// queue.remove()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ownership {
    /// The key, 0 for an object without one.
    pub key: i32,
    /// The owner's user id.
    pub uid: u32,
    /// The owner's group id.
    pub gid: u32,
    /// The creator's user id.
    pub creator_uid: u32,
    /// The creator's group id.
    pub creator_gid: u32,
    /// The nine permission bits.
    pub mode: u32,
}

/// The state of a message queue at one moment; see `struct msqid_ds` in
/// [msgctl(2)](https://man7.org/linux/man-pages/man2/msgctl.2.html).
///
/// ```
/// use sysv_channel::Queue;
///
/// let queue = Queue::<u32>::private()?;
/// queue.send(&7)?;
/// let stat = queue.stat()?;
/// assert_eq!((stat.messages, stat.bytes), (1, 4));
/// assert_eq!(stat.last_send_pid, std::process::id() as i32);
/// assert_eq!(stat.last_receive, None);
/// queue.remove()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct QueueStat {
    /// Owner, creator and permissions.
    pub ownership: Ownership,
    /// Messages on the queue (`msg_qnum`).
    pub messages: u64,
    /// Bytes of message text on the queue (`msg_cbytes`).
    pub bytes: u64,
    /// The most bytes of text, and the most messages, that the queue holds (`msg_qbytes`).
    pub capacity: u64,
    /// The process that sent last, 0 if none did.
    pub last_send_pid: i32,
    /// The process that received last, 0 if none did.
    pub last_receive_pid: i32,
    /// When a message was last sent, to the second.
    pub last_send: Option<SystemTime>,
    /// When a message was last received, to the second.
    pub last_receive: Option<SystemTime>,
    /// When the queue was created or its settings last changed, to the second.
    pub last_change: Option<SystemTime>,
}

/// The state of a semaphore set; see `struct semid_ds` in semctl(2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SetStat {
    pub(crate) ownership: Ownership,
    /// How many semaphores the set has.
    pub(crate) count: usize,
    /// When semop was last called, in seconds since 1970; 0 = never.
    pub(crate) last_operation: i64,
    /// When the set was created or its settings last changed, in seconds since 1970.
    pub(crate) last_change: i64,
}

/// The state of a shared-memory segment at one moment; see `struct shmid_ds` in
/// [shmctl(2)](https://man7.org/linux/man-pages/man2/shmctl.2.html).
#[cfg_attr(
    not(loom),
    doc = r"
```
use sysv_channel::Segment;

let segment = Segment::private(100)?;
let stat = segment.stat()?;
assert_eq!((stat.size, stat.attached, stat.removed), (100, 1, false));
assert_eq!(stat.creator_pid, std::process::id() as i32);
# Ok::<(), sysv_channel::SegmentError>(())
```"
)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
#[cfg_attr(loom, allow(unreachable_pub, reason = "the model has no `Segment`, which shows it"))]
pub struct SegmentStat {
    /// Owner, creator and permissions. The key of a removed segment is 0.
    pub ownership: Ownership,
    /// The size in bytes that the creator asked for (`shm_segsz`).
    pub size: usize,
    /// Whether it was removed, and stays only for those that have it attached (`SHM_DEST`).
    pub removed: bool,
    /// How often it is attached now, in all processes together (`shm_nattch`).
    pub attached: u64,
    /// The process that created it.
    pub creator_pid: i32,
    /// The process that attached or detached it last, 0 if none did.
    pub last_pid: i32,
    /// When it was last attached, to the second.
    pub last_attach: Option<SystemTime>,
    /// When it was last detached, to the second.
    pub last_detach: Option<SystemTime>,
    /// When it was created or its settings last changed, to the second.
    pub last_change: Option<SystemTime>,
}

/// A moment that the kernel gives in seconds since 1970, where 0 is never.
#[cfg(not(loom))]
pub(crate) fn moment(seconds: i64) -> Option<SystemTime> {
    let seconds = u64::try_from(seconds).ok().filter(|seconds| *seconds > 0)?;
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds))
}

/// How a segment that is made will be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SegmentPlan {
    /// Its size in bytes.
    pub(crate) len: usize,
    /// How many bytes from its start are used as atomic words only. Linux does not care.
    pub(crate) words: usize,
    /// From where on it is used in lines of 64 bytes, whose first word may be used as an atomic;
    /// what stands before is written before another process reads it. Linux does not care.
    pub(crate) lines_at: usize,
}

/// The three kinds of System V object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ObjectKind {
    Queue,
    Set,
    Segment,
}

/// An object as errors name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ObjectName {
    pub(crate) kind: ObjectKind,
    /// 0 = private.
    pub(crate) key: i32,
    /// None before the kernel gave one.
    pub(crate) id: Option<i32>,
}

impl fmt::Display for ObjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            ObjectKind::Queue => "message queue",
            ObjectKind::Set => "semaphore set",
            ObjectKind::Segment => "shared-memory segment",
        };
        match self.key {
            0 => write!(f, "private {kind}")?,
            key => write!(f, "{kind} {key:#010x}")?,
        }
        match self.id {
            Some(id) => write!(f, " (id {id})"),
            None => Ok(()),
        }
    }
}
