//! A refused system call, named so that its reader knows what to do.

use std::borrow::Cow;
use std::fmt;
use std::io;

use nix::libc;

use super::ObjectName;

/// A system call on a System V object that the kernel refused.
///
/// It names the object, the call and, where a limit was reached, the sysctl that sets it with its
/// present value.
///
/// ```
/// use sysv_channel::{Key, Queue, QueueError};
///
/// let unused = Key::from_name("never created");
/// if let Err(QueueError::System(error)) = Queue::<u32>::open(unused) {
///     println!("{} in {}: {error}", error.object(), error.call());
/// }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SystemError {
    object: ErrorObject,
    call: &'static str,
    errno: i32,
}

/// Kept unformatted: "would block" and "no message" are errors that a busy caller sees all the time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ErrorObject {
    Named(ObjectName),
    Described(&'static str),
}

impl From<ObjectName> for ErrorObject {
    fn from(name: ObjectName) -> Self {
        ErrorObject::Named(name)
    }
}

impl From<&'static str> for ErrorObject {
    fn from(description: &'static str) -> Self {
        ErrorObject::Described(description)
    }
}

impl fmt::Display for ErrorObject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ErrorObject::Named(name) => name.fmt(f),
            ErrorObject::Described(description) => f.write_str(description),
        }
    }
}

/// What a [`SystemError`] means for the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SystemErrorKind {
    /// No object has that key.
    NotFound,
    /// An object has that key already.
    AlreadyExists,
    /// The object was removed.
    Removed,
    /// The call would have had to wait.
    WouldBlock,
    /// The caller may not do that with this object.
    PermissionDenied,
    /// No message of the wanted type is on the queue.
    NoMessage,
    /// The message is longer than the limit, or there are too many operations.
    TooLong,
    /// A semaphore would leave its range.
    Overflow,
    /// A limit of the kernel or of the process was reached.
    LimitReached,
    /// This kernel does not offer the call.
    Unsupported,
    /// Anything else.
    Other,
}

impl SystemError {
    pub(crate) fn new(object: impl Into<ErrorObject>, call: &'static str, errno: i32) -> Self {
        SystemError { object: object.into(), call, errno }
    }

    /// Why a thread was not started.
    pub(crate) fn of_thread(error: &io::Error) -> Self {
        SystemError::new("a thread", "pthread_create", error.raw_os_error().unwrap_or_default())
    }

    /// Why there is no eventfd.
    #[cfg(not(loom))]
    pub(crate) fn of_eventfd(errno: nix::errno::Errno) -> Self {
        SystemError::new("a descriptor", "eventfd", errno as i32)
    }

    /// What the kernel says of an object that is removed, where it does not refuse the call.
    pub(crate) fn removed(object: ObjectName) -> Self {
        SystemError::new(object, "stat", libc::EIDRM)
    }

    /// The object that the call was about.
    pub fn object(&self) -> String {
        self.object.to_string()
    }

    /// The name of the system call.
    pub fn call(&self) -> &'static str {
        self.call
    }

    /// The `errno` that the kernel returned.
    pub fn raw_os_error(&self) -> i32 {
        self.errno
    }

    /// What the error means for the caller.
    pub fn kind(&self) -> SystemErrorKind {
        use SystemErrorKind::*;
        match self.errno {
            libc::ENOENT => NotFound,
            libc::EEXIST => AlreadyExists,
            libc::EIDRM => Removed,
            libc::EINVAL if !self.makes_object() => Removed,
            libc::EINVAL | libc::ENOSPC | libc::ENOMEM | libc::ENFILE => LimitReached,
            libc::EAGAIN if matches!(self.call, "clone" | "pthread_create") => LimitReached,
            libc::EAGAIN => WouldBlock,
            libc::EACCES | libc::EPERM => PermissionDenied,
            libc::ENOMSG => NoMessage,
            libc::E2BIG => TooLong,
            libc::ERANGE => Overflow,
            libc::ENOSYS => Unsupported,
            _ => Other,
        }
    }

    fn makes_object(&self) -> bool {
        matches!(self.call, "msgget" | "semget" | "shmget")
    }

    fn advice(&self) -> Option<Cow<'static, str>> {
        let sem = |field, what| raise("kernel.sem", Some(field), what);
        let one = |name, what| raise(name, None, what);
        Some(match (self.call, self.errno) {
            ("msgget", libc::ENOSPC) => one("kernel.msgmni", "queues").into(),
            ("msgsnd", libc::E2BIG) => one("kernel.msgmax", "bytes in a message").into(),
            ("msgsnd", libc::EAGAIN) => {
                format!("the queue is full; {}", one("kernel.msgmnb", "bytes in a new queue"))
                    .into()
            }
            ("msgctl", libc::EPERM) => format!(
                "only the owner may do that, and only CAP_SYS_RESOURCE may set a capacity above \
                 the limit; {}",
                one("kernel.msgmnb", "bytes in a queue")
            )
            .into(),
            ("msgrcv", libc::ENOSYS) => {
                "looking at a message without taking it needs a kernel with \
                 CONFIG_CHECKPOINT_RESTORE"
                    .into()
            }
            ("semget", libc::ENOSPC) => format!(
                "{}, or {}",
                sem(3, "semaphore sets"),
                sem(1, "semaphores in all sets together")
            )
            .into(),
            ("semget", libc::EINVAL) => sem(0, "semaphores in a set").into(),
            ("semop", libc::E2BIG) => sem(2, "operations in one call").into(),
            ("semop", libc::ERANGE) => {
                "a semaphore counts to 32767: the channel has as many users, or another program \
                 has raised one"
                    .into()
            }
            ("clone", libc::EAGAIN) => {
                "this user, or its control group, may start no more processes; raise RLIMIT_NPROC \
                 (ulimit -u), see setrlimit(2), or pids.max"
                    .into()
            }
            ("pthread_create", libc::EAGAIN) => {
                "this user, its control group or this process has no room for another; raise \
                 RLIMIT_NPROC (ulimit -u) or pids.max, or RLIMIT_AS (ulimit -v), which holds the \
                 stacks"
                    .into()
            }
            ("semop", libc::ENOSPC) => "the kernel has no room for another undo entry".into(),
            ("shmget", libc::ENOSPC) => format!(
                "{}, or {}, or {LESS_MEMORY}",
                one("kernel.shmmni", "segments"),
                one("kernel.shmall", "pages in all segments together")
            )
            .into(),
            ("shmget", libc::ENOMEM) => format!(
                "the kernel commits no more memory; {LESS_MEMORY}, or see vm.overcommit_memory in \
                 proc(5)"
            )
            .into(),
            ("shmget", libc::EINVAL) => one("kernel.shmmax", "bytes in a segment").into(),
            ("shmat", libc::ENOMEM) => match address_space_limit() {
                Some(limit) => format!(
                    "the address space is full; raise RLIMIT_AS (ulimit -v, now {limit} bytes), see \
                     setrlimit(2), or {LESS_MEMORY}"
                )
                .into(),
                None => format!("no address space has room for the segment; {LESS_MEMORY}").into(),
            },
            (_, libc::EACCES) => "its mode does not let this user in; ask its owner".into(),
            (_, libc::EPERM) => "only its owner, its creator or root may do that".into(),
            (_, libc::EIDRM) => "it was removed".into(),
            (_, libc::EINVAL) if !self.makes_object() => "it was removed".into(),
            (_, libc::ENOENT) => "create it first, or check the name".into(),
            (_, libc::EEXIST) => "open it, or remove it first (ipcrm)".into(),
            (_, libc::ENOMEM) => "the kernel is out of memory".into(),
            _ => return None,
        })
    }
}

/// What makes a segment smaller.
const LESS_MEMORY: &str = "make the segment smaller: for a channel's, lower the channel's capacity \
                           times its lanes (a server's clients, a mailbox's addresses)";

/// How much address space this process may have, if that is limited; see getrlimit(2).
fn address_space_limit() -> Option<u64> {
    let limits = std::fs::read_to_string("/proc/self/limits").ok()?;
    let line = limits.lines().find_map(|line| line.strip_prefix("Max address space"))?;
    line.split_whitespace().next()?.parse().ok()
}

/// "raise kernel.msgmni (now 32000 queues)"; `field` picks one of several numbers.
fn raise(sysctl: &str, field: Option<usize>, what: &str) -> String {
    let path = format!("/proc/sys/{}", sysctl.replace('.', "/"));
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let now = text.split_whitespace().nth(field.unwrap_or(0)).unwrap_or("unknown");
    match field {
        Some(field) => {
            let ordinal = ["first", "second", "third", "fourth"][field];
            format!("raise the {ordinal} number of {sysctl} (now {now} {what})")
        }
        None => format!("raise {sysctl} (now {now} {what})"),
    }
}

impl fmt::Display for SystemError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let reason = io::Error::from_raw_os_error(self.errno);
        write!(f, "{} on {}: {reason}", self.call, self.object)?;
        match self.advice() {
            Some(advice) => write!(f, ": {advice}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for SystemError {}

impl From<SystemError> for io::Error {
    fn from(error: SystemError) -> Self {
        let kind = io::Error::from_raw_os_error(error.errno).kind();
        io::Error::new(kind, error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::ObjectKind;

    fn error(call: &'static str, errno: i32) -> SystemError {
        let object = ObjectName { kind: ObjectKind::Queue, key: 0x162e, id: Some(3) };
        SystemError::new(object, call, errno)
    }

    #[test]
    fn message_names_object_call_and_sysctl() {
        let text = error("msgget", libc::ENOSPC).to_string();
        assert!(text.starts_with("msgget on message queue 0x0000162e (id 3): No space"), "{text}");
        assert!(text.contains("raise kernel.msgmni (now "), "{text}");
        let text = error("semget", libc::ENOSPC).to_string();
        assert!(text.contains("the fourth number of kernel.sem (now "), "{text}");
        assert!(text.contains("the second number of kernel.sem (now "), "{text}");
    }

    #[test]
    fn invalid_argument_means_removed_only_where_an_id_was_passed() {
        assert_eq!(error("semop", libc::EINVAL).kind(), SystemErrorKind::Removed);
        assert_eq!(error("shmget", libc::EINVAL).kind(), SystemErrorKind::LimitReached);
        assert_eq!(error("msgrcv", libc::EIDRM).kind(), SystemErrorKind::Removed);
    }

    #[test]
    fn becomes_an_io_error_of_the_same_kind() {
        let error: io::Error = error("msgget", libc::ENOENT).into();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        assert!(error.to_string().contains("0x0000162e"));
    }
}
