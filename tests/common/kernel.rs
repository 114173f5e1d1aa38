//! The kernel's System V objects as `ipcs`, `ipcrm` and programs in other languages treat them.

use std::fmt::Display;
use std::fs;
use std::io;
use std::os::unix::process::CommandExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::Command;
use std::ptr;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

use nix::libc::{self, c_int};
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, fork, geteuid};
use sysv_channel::Key;

/// The kinds of System V object, in the order in which a channel makes them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Set,
    Segment,
    Queue,
}

impl Kind {
    pub(crate) const ALL: [Kind; 3] = [Kind::Set, Kind::Segment, Kind::Queue];
}

/// An object that the kernel has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Object {
    pub(crate) kind: Kind,
    pub(crate) id: i32,
}

/// Everything under a key, as `ipcs` lists it.
pub(crate) fn objects(key: Key) -> Vec<Object> {
    let kinds = [(Kind::Set, "sem"), (Kind::Segment, "shm"), (Kind::Queue, "msg")];
    let listed = kinds.into_iter().flat_map(|(kind, file)| {
        let table = fs::read_to_string(format!("/proc/sysvipc/{file}")).expect("a System V kernel");
        let line = move |line: &str| {
            let mut fields = line.split_whitespace();
            let mut number = || fields.next()?.parse::<i32>().ok();
            let (found, id) = (number()?, number()?);
            (found == key.raw()).then_some(Object { kind, id })
        };
        table.lines().filter_map(line).collect::<Vec<_>>()
    });
    listed.collect()
}

/// How many objects this ipc namespace has.
pub(crate) fn all_objects() -> usize {
    let count = |kind| {
        let table = fs::read_to_string(format!("/proc/sysvipc/{kind}"));
        table.expect("a System V kernel").lines().count() - 1
    };
    ["msg", "sem", "shm"].map(count).iter().sum()
}

impl Object {
    /// What another program makes under a key: a set of two semaphores, one of them up; a segment
    /// with text in it; a queue with a message on it.
    pub(crate) fn foreign(kind: Kind, key: Key) -> Object {
        let object = Object::untouched(kind, key);
        match kind {
            Kind::Set => {
                let mut up = libc::sembuf { sem_num: 1, sem_op: 1, sem_flg: 0 };
                // SAFETY: one operation that outlives the call.
                check(unsafe { libc::semop(object.id, &mut up, 1) });
            }
            Kind::Segment => {
                // SAFETY: a new mapping at an address of the kernel's choice touches nothing else.
                let start = unsafe { libc::shmat(object.id, ptr::null(), 0) };
                assert_ne!(start as isize, -1, "{}", io::Error::last_os_error());
                // SAFETY: the segment has 4,096 bytes, and nobody else knows it.
                unsafe { ptr::copy_nonoverlapping(b"text".as_ptr(), start.cast(), 4) };
                // SAFETY: the mapping is not used any more.
                check(unsafe { libc::shmdt(start) });
            }
            Kind::Queue => {
                let message = [1_i64, 2];
                // SAFETY: a type and eight bytes of text, which outlive the call.
                check(unsafe { libc::msgsnd(object.id, message.as_ptr().cast(), 8, 0) });
            }
        }
        object
    }

    /// An object that nobody has used yet.
    pub(crate) fn untouched(kind: Kind, key: Key) -> Object {
        let flags = libc::IPC_CREAT | libc::IPC_EXCL | 0o600;
        let id = match kind {
            // SAFETY: semget takes and answers numbers.
            Kind::Set => unsafe { libc::semget(key.raw(), 2, flags) },
            // SAFETY: shmget takes and answers numbers.
            Kind::Segment => unsafe { libc::shmget(key.raw(), 4096, flags) },
            // SAFETY: msgget takes and answers numbers.
            Kind::Queue => unsafe { libc::msgget(key.raw(), flags) },
        };
        Object { kind, id: check(id) }
    }

    /// A set for a channel with so many lanes: what a creator leaves that was killed before it
    /// signed.
    pub(crate) fn unsigned_set(key: Key, lanes: c_int) -> Object {
        let flags = libc::IPC_CREAT | libc::IPC_EXCL | 0o600;
        // SAFETY: semget takes and answers numbers.
        let id = check(unsafe { libc::semget(key.raw(), 15 + 2 * lanes, flags) });
        Object { kind: Kind::Set, id }
    }

    /// A set of a channel with so many lanes, with the signature that says so: what a creator
    /// leaves that was killed there, or what somebody makes who wants to pass for one.
    pub(crate) fn signed_set(key: Key, lanes: c_int) -> Object {
        let id = Object::unsigned_set(key, lanes).id;
        let sign = |sem_num, sem_op| libc::sembuf { sem_num, sem_op, sem_flg: 0 };
        let mut signature = [sign(1, 0x5356), sign(2, 0x4349)];
        // SAFETY: two operations that outlive the call.
        check(unsafe { libc::semop(id, signature.as_mut_ptr(), 2) });
        Object { kind: Kind::Set, id }
    }

    /// Removes it, as `ipcrm` does.
    pub(crate) fn remove(self) {
        check(self.try_remove());
    }

    /// Removes it if another process has not.
    pub(crate) fn remove_if_there(self) {
        if self.try_remove() == -1 {
            let why = io::Error::last_os_error();
            let gone = [libc::EINVAL, libc::EIDRM].map(Some);
            assert!(gone.contains(&why.raw_os_error()), "{why}");
        }
    }

    fn try_remove(self) -> c_int {
        let (id, remove) = (self.id, libc::IPC_RMID);
        match self.kind {
            // SAFETY: IPC_RMID takes no argument.
            Kind::Set => unsafe { libc::semctl(id, 0, remove) },
            // SAFETY: as above.
            Kind::Segment => unsafe { libc::shmctl(id, remove, ptr::null_mut()) },
            // SAFETY: as above.
            Kind::Queue => unsafe { libc::msgctl(id, remove, ptr::null_mut()) },
        }
    }

    /// Gives it other permission bits.
    pub(crate) fn set_mode(self, mode: u16) {
        self.change(|permissions| permissions.mode = mode as _);
    }

    /// Gives it to another user.
    pub(crate) fn set_owner(self, user: u32) {
        self.change(|permissions| permissions.uid = user);
    }

    /// Makes a queue smaller: it holds so many bytes of text from now on.
    pub(crate) fn set_capacity(self, bytes: u64) {
        // SAFETY: a msqid_ds is plain numbers, for which all zero is valid.
        let mut state: libc::msqid_ds = unsafe { std::mem::zeroed() };
        // SAFETY: the structure outlives the call.
        check(unsafe { libc::msgctl(self.id, libc::IPC_STAT, &raw mut state) });
        state.msg_qbytes = bytes;
        // SAFETY: as above.
        check(unsafe { libc::msgctl(self.id, libc::IPC_SET, &raw mut state) });
    }

    fn change(self, change: impl FnOnce(&mut libc::ipc_perm)) {
        let (id, get, set) = (self.id, libc::IPC_STAT, libc::IPC_SET);
        match self.kind {
            Kind::Set => {
                // SAFETY: a semid_ds is plain numbers, for which all zero is valid.
                let mut state: libc::semid_ds = unsafe { std::mem::zeroed() };
                // SAFETY: the structure outlives the call.
                check(unsafe { libc::semctl(id, 0, get, &raw mut state) });
                change(&mut state.sem_perm);
                // SAFETY: as above.
                check(unsafe { libc::semctl(id, 0, set, &raw mut state) });
            }
            Kind::Segment => {
                // SAFETY: a shmid_ds is plain numbers, for which all zero is valid.
                let mut state: libc::shmid_ds = unsafe { std::mem::zeroed() };
                // SAFETY: the structure outlives the call.
                check(unsafe { libc::shmctl(id, get, &raw mut state) });
                change(&mut state.shm_perm);
                // SAFETY: as above.
                check(unsafe { libc::shmctl(id, set, &raw mut state) });
            }
            Kind::Queue => {
                // SAFETY: a msqid_ds is plain numbers, for which all zero is valid.
                let mut state: libc::msqid_ds = unsafe { std::mem::zeroed() };
                // SAFETY: the structure outlives the call.
                check(unsafe { libc::msgctl(id, get, &raw mut state) });
                change(&mut state.msg_perm);
                // SAFETY: as above.
                check(unsafe { libc::msgctl(id, set, &raw mut state) });
            }
        }
    }

    /// How many wait for a semaphore of the set to be zero.
    pub(crate) fn waiting_for_zero(self, semaphore: u16) -> usize {
        // SAFETY: GETZCNT takes no argument.
        check(unsafe { libc::semctl(self.id, semaphore.into(), libc::GETZCNT) }) as usize
    }

    /// The process that last changed a semaphore of the set, 0 if none did.
    pub(crate) fn last_at(self, semaphore: u16) -> c_int {
        // SAFETY: GETPID takes no argument.
        check(unsafe { libc::semctl(self.id, semaphore.into(), libc::GETPID) })
    }

    /// Waits at a semaphore of the set, as a program without this crate does, until it is raised.
    pub(crate) fn wait_at(self, semaphore: u16) {
        let mut down = libc::sembuf { sem_num: semaphore, sem_op: -1, sem_flg: 0 };
        // SAFETY: one operation that outlives the call.
        check(unsafe { libc::semop(self.id, &mut down, 1) });
    }

    /// Has the kernel raise a semaphore of the set when this process ends.
    pub(crate) fn raise_at_end(self, semaphore: u16) {
        let undo = libc::SEM_UNDO as libc::c_short;
        let mut both = [
            libc::sembuf { sem_num: semaphore, sem_op: 1, sem_flg: 0 },
            libc::sembuf { sem_num: semaphore, sem_op: -1, sem_flg: undo },
        ];
        // SAFETY: two operations that outlive the call.
        check(unsafe { libc::semop(self.id, both.as_mut_ptr(), 2) });
    }

    /// Puts a message straight onto a queue, if there is room for it; says whether there was.
    pub(crate) fn put(self, type_: i64, text: &[u8]) -> bool {
        let mut message = type_.to_ne_bytes().to_vec();
        message.extend_from_slice(text);
        let start = message.as_ptr().cast();
        // SAFETY: the type and as many bytes of text as said outlive the call.
        let sent = unsafe { libc::msgsnd(self.id, start, text.len(), libc::IPC_NOWAIT) };
        sent == 0
    }

    /// Copies the text of the oldest message of a queue.
    pub(crate) fn peek(self) -> Vec<u8> {
        const MSG_COPY: c_int = 0o40000;
        let mut message = vec![0_u8; 16 << 10];
        let start = message.as_mut_ptr().cast();
        let (room, flags) = (message.len() - 8, MSG_COPY | libc::IPC_NOWAIT);
        // SAFETY: there is room for the type and as many bytes of text as said.
        let len = unsafe { libc::msgrcv(self.id, start, room, 0, flags) };
        let len = usize::try_from(len).expect("there is a message");
        message[8..8 + len].to_vec()
    }

    /// Reads some of its content, which the kernel allows to those with the permission.
    pub(crate) fn read(self) -> io::Result<()> {
        let answer = match self.kind {
            // SAFETY: GETVAL takes no argument.
            Kind::Set => unsafe { libc::semctl(self.id, 0, libc::GETVAL) },
            Kind::Segment => {
                // SAFETY: a new mapping at an address of the kernel's choice touches nothing else.
                let start = unsafe { libc::shmat(self.id, ptr::null(), libc::SHM_RDONLY) };
                if start as isize == -1 {
                    return Err(io::Error::last_os_error());
                }
                // SAFETY: the mapping was just made, and nobody uses it.
                unsafe { libc::shmdt(start) }
            }
            Kind::Queue => {
                let mut message = [0_u8; 16];
                let start = message.as_mut_ptr().cast();
                let flags = libc::IPC_NOWAIT | libc::MSG_NOERROR;
                // SAFETY: there is room for the type and eight bytes of text.
                let answer = unsafe { libc::msgrcv(self.id, start, 8, 0, flags) };
                answer.min(0) as c_int
            }
        };
        if answer == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    /// Adds one to a semaphore of a set, unless it has as many as it can.
    pub(crate) fn post(self, sem_num: u16) {
        let mut post = libc::sembuf { sem_num, sem_op: 1, sem_flg: libc::IPC_NOWAIT as i16 };
        // SAFETY: one operation that outlives the call.
        unsafe { libc::semop(self.id, &mut post, 1) };
    }

    /// Adds to a semaphore of a set, or takes from it, as anybody can who may write.
    pub(crate) fn add(self, sem_num: u16, sem_op: i16) {
        let mut add = libc::sembuf { sem_num, sem_op, sem_flg: libc::IPC_NOWAIT as i16 };
        // SAFETY: one operation that outlives the call.
        check(unsafe { libc::semop(self.id, &mut add, 1) });
    }

    /// Takes a channel's lock, semaphore 0 of the set, with undo, and keeps it.
    pub(crate) fn take_lock(self) {
        let mut take =
            libc::sembuf { sem_num: 0, sem_op: 1, sem_flg: libc::SEM_UNDO as libc::c_short };
        // SAFETY: one operation that outlives the call.
        check(unsafe { libc::semop(self.id, &mut take, 1) });
    }
}

/// A segment, mapped as by any program that has the permission. Every access is atomic, so that
/// nothing here races with those who use the segment.
pub(crate) struct Mapping {
    start: *mut u8,
    len: usize,
}

// SAFETY: the mapping belongs to the process, not to a thread, and is reached by atomics alone.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// The first `len` bytes of a segment; `None` if it is gone.
    pub(crate) fn of(segment: Object, len: usize) -> Option<Mapping> {
        // SAFETY: a new mapping at an address of the kernel's choice touches nothing else.
        let start = unsafe { libc::shmat(segment.id, ptr::null(), 0) };
        (start as isize != -1).then_some(Mapping { start: start.cast(), len })
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn byte(&self, at: usize) -> &AtomicU8 {
        assert!(at < self.len);
        let byte = self.start.wrapping_add(at);
        // SAFETY: the byte is within the mapping, which lives as long as `self`.
        unsafe { AtomicU8::from_ptr(byte) }
    }

    pub(crate) fn word(&self, at: usize) -> &AtomicU64 {
        assert!(at.is_multiple_of(8) && at + 8 <= self.len);
        let word = self.start.wrapping_add(at).cast();
        // SAFETY: the word is within the mapping, which starts on a page and lives as long as
        // `self`, and its offset is a multiple of 8.
        unsafe { AtomicU64::from_ptr(word) }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: every borrow of the mapping has ended.
        check(unsafe { libc::shmdt(self.start.cast()) });
    }
}

/// Has the first word of a segment read as something else, as an attacker may with a header's magic.
pub(crate) fn overwrite_magic(segment: Object) {
    let memory = Mapping::of(segment, 8).expect("the segment is there");
    memory.word(0).store(0x1234, Ordering::Relaxed);
}

/// Lets this process start no others. Root is not bound by it.
pub(crate) fn allow_no_processes() {
    let limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the limit outlives the call.
    check(unsafe { libc::setrlimit(libc::RLIMIT_NPROC, &limit) });
}

/// Lets this process have no more than so much address space.
pub(crate) fn limit_address_space(bytes: u64) {
    let limit = libc::rlimit { rlim_cur: bytes, rlim_max: bytes };
    // SAFETY: the limit outlives the call.
    check(unsafe { libc::setrlimit(libc::RLIMIT_AS, &limit) });
}

/// The most memory that this process ever had, in KiB.
pub(crate) fn peak_memory() -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("a process has a status");
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let peak = peak.and_then(|peak| peak.trim().strip_suffix(" kB")?.parse().ok());
    peak.expect("the kernel counts memory")
}

/// What a process has, as the kernel counts it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Footprint {
    /// Memory that nobody shares with it, in KiB.
    pub(crate) memory: u64,
    pub(crate) threads: u64,
    pub(crate) files: usize,
    /// Mappings of System V segments.
    pub(crate) segments: usize,
}

impl Footprint {
    pub(crate) fn of(process: u32) -> Self {
        let read = |file| fs::read_to_string(format!("/proc/{process}/{file}")).expect("it runs");
        let status = read("status");
        let number = |name| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("it is told");
            line.split_whitespace().next().and_then(|number| number.parse().ok()).expect("a number")
        };
        let files = fs::read_dir(format!("/proc/{process}/fd")).expect("it runs");
        Footprint {
            memory: number("RssAnon:"),
            threads: number("Threads:"),
            files: files.count(),
            segments: read("maps").lines().filter(|line| line.contains("/SYSV")).count(),
        }
    }

    /// Panics if anything is more than it was, but for so many KiB of memory.
    pub(crate) fn assert_not_above(self, before: Footprint, memory: u64) {
        let same = Footprint { memory: before.memory, ..self };
        assert_eq!(same, before);
        assert!(self.memory <= before.memory + memory, "{before:?}, then {self:?}");
    }
}

/// Runs `act` in a copy of this process, which has one thread and no destructors to run; its number.
pub(crate) fn forked(act: impl FnOnce()) -> Pid {
    // SAFETY: the callers' other threads hold no lock that the copy could want.
    match unsafe { fork() }.expect("there is room for a process") {
        ForkResult::Parent { child } => child,
        ForkResult::Child => {
            let done = catch_unwind(AssertUnwindSafe(act)).is_ok();
            // SAFETY: ends this process, and runs nothing of its parent's.
            unsafe { libc::_exit(if done { 0 } else { 1 }) }
        }
    }
}

/// Whether a thread, of whatever process, sleeps.
pub(crate) fn is_asleep(thread: impl Display) -> bool {
    let state = fs::read_to_string(format!("/proc/{thread}/stat")).unwrap_or_default();
    // The state follows the name, which stands in parentheses.
    state.rsplit_once(") ").is_some_and(|(_, state)| state.starts_with('S'))
}

/// Whether a process has ended; nobody may have waited for it.
pub(crate) fn has_ended(process: u32) -> bool {
    let state = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    state.rsplit_once(") ").is_none_or(|(_, state)| state.starts_with(['Z', 'X']))
}

/// Stops a child, and waits until it stands still.
pub(crate) fn stop(process: u32) {
    let process = Pid::from_raw(process as i32);
    kill(process, Signal::SIGSTOP).expect("the child is there");
    let stopped = waitpid(process, Some(WaitPidFlag::WUNTRACED));
    assert!(matches!(stopped, Ok(WaitStatus::Stopped(..))), "{stopped:?}");
}

/// Lets a stopped child go on.
pub(crate) fn go_on(process: u32) {
    kill(Pid::from_raw(process as i32), Signal::SIGCONT).expect("the child is there");
}

/// Has a command run in an ipc namespace of its own, and in a user namespace if that takes one.
pub(crate) fn unshare_ipc(command: &mut Command) {
    let ipc = CloneFlags::CLONE_NEWIPC;
    // The same user inside: one that is not mapped is nobody whose objects are trusted.
    let map = format!("{0} {0} 1", geteuid());
    let apart = move || {
        if unshare(ipc).is_ok() {
            return Ok(());
        }
        unshare(ipc | CloneFlags::CLONE_NEWUSER)?;
        fs::write("/proc/self/uid_map", &map)
    };
    // SAFETY: between fork and exec the closure makes system calls only.
    unsafe { command.pre_exec(apart) };
}

/// Has a command run in a time namespace of its own whose monotonic clock is a day ahead, and in a
/// user namespace if that takes one. Where neither is allowed it runs in this one, see
/// [`time_namespace`].
pub(crate) fn unshare_time(command: &mut Command) {
    let time = CloneFlags::from_bits_retain(libc::CLONE_NEWTIME);
    let map = format!("{0} {0} 1", geteuid());
    let apart = move || {
        if unshare(time).is_err() {
            if unshare(time | CloneFlags::CLONE_NEWUSER).is_err() {
                return Ok(());
            }
            fs::write("/proc/self/uid_map", &map)?;
        }
        // Before the first process is there, which this one is after exec.
        fs::write("/proc/self/timens_offsets", "monotonic 86400 0")
    };
    // SAFETY: between fork and exec the closure makes system calls only.
    unsafe { command.pre_exec(apart) };
}

/// The time namespace that this process is in.
pub(crate) fn time_namespace() -> String {
    let namespace = fs::read_link("/proc/self/ns/time");
    namespace.map_or_else(|error| error.to_string(), |link| link.display().to_string())
}

/// Has a command run in a user namespace of its own, in which users are mapped so: "inside outside
/// count", or none at all.
pub(crate) fn unshare_users(command: &mut Command, map: Option<&'static str>) {
    let apart = move || {
        unshare(CloneFlags::CLONE_NEWUSER)?;
        map.map_or(Ok(()), |map| fs::write("/proc/self/uid_map", map))
    };
    // SAFETY: between fork and exec the closure makes system calls only.
    unsafe { command.pre_exec(apart) };
}

/// Has the children that this process starts from here on run in a pid namespace of their own;
/// `false` if it may not.
pub(crate) fn unshare_pids() -> bool {
    unshare(CloneFlags::CLONE_NEWPID).is_ok()
}

fn check(answer: c_int) -> c_int {
    assert_ne!(answer, -1, "{}", io::Error::last_os_error());
    answer
}
