//! Who the calling process is, and whether its death would be noticed.

use std::fs;
use std::hash::{BuildHasher, RandomState};
use std::ptr::{self, null_mut};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, Ordering};
use std::time::SystemTime;

use nix::libc::{self, c_int, c_void};

use super::ffi::{check, check_len, retry};
use super::semaphore::SemaphoreSet;
use crate::sys::SystemError;

/// A page that a forked child sees zeroed, or null before there is one.
static PAGE: AtomicPtr<AtomicU64> = AtomicPtr::new(null_mut());

/// A number that tells this process from every other, its forked children included; never 0.
///
/// An endpoint remembers it and so notices that it is used in a child, to which the kernel gives
/// none of its parent's undo entries. See `MADV_WIPEONFORK` in madvise(2).
#[inline]
pub(crate) fn token() -> u64 {
    let page = PAGE.load(Ordering::Acquire);
    if !page.is_null() {
        // SAFETY: a page, once published, stays mapped for the life of the process.
        let word = unsafe { &*page }.load(Ordering::Relaxed);
        if word != 0 {
            return word;
        }
    }
    draw_token(page)
}

#[cold]
fn draw_token(page: *mut AtomicU64) -> u64 {
    let page = if page.is_null() { wiped_page() } else { page };
    if page.is_null() {
        return token_of_pid();
    }
    let drawn = random();
    // SAFETY: as in `token`.
    let word = unsafe { &*page };
    // Two threads may draw at once; the first one's word stays.
    match word.compare_exchange(0, drawn, Ordering::Relaxed, Ordering::Relaxed) {
        Ok(_) => drawn,
        Err(first) => first,
    }
}

/// Publishes the page; null where the kernel does not wipe pages on fork.
fn wiped_page() -> *mut AtomicU64 {
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    let len = size_of::<AtomicU64>();
    // SAFETY: a new anonymous mapping at an address of the kernel's choice touches nothing else.
    let page = unsafe { libc::mmap(null_mut(), len, protection, flags, -1, 0) };
    if page == libc::MAP_FAILED {
        return null_mut();
    }
    // SAFETY: the advice concerns the page just mapped, which no other thread knows.
    let advised = unsafe { libc::madvise(page, len, libc::MADV_WIPEONFORK) };
    let ours = if advised == 0 { page.cast() } else { null_mut() };
    let published = match advised {
        0 => PAGE.compare_exchange(null_mut(), ours, Ordering::AcqRel, Ordering::Acquire),
        _ => Err(null_mut()),
    };
    match published {
        Ok(_) => ours,
        Err(others) => {
            // SAFETY: the page was not published, so no other thread refers to it.
            unsafe { libc::munmap(page, len) };
            others
        }
    }
}

/// A random base, inherited by children, mixed with the process id.
fn token_of_pid() -> u64 {
    static BASE: OnceLock<u64> = OnceLock::new();
    let base = *BASE.get_or_init(random);
    // An odd factor keeps different ids different.
    let mixed = base.wrapping_add((pid() as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    if mixed == 0 { base } else { mixed }
}

/// A random number, never 0; see getrandom(2).
pub(crate) fn random() -> u64 {
    let mut number = 0_u64;
    let len = size_of::<u64>();
    let filled = retry(|| {
        let start = ptr::from_mut(&mut number).cast();
        // SAFETY: the buffer is a u64, of which at most its size is written.
        check_len(unsafe { libc::getrandom(start, len, 0) })
    });
    if filled != Ok(len) || number == 0 {
        // The id and the time are hashed in because a forked child has its parent's state.
        number = RandomState::new().hash_one((pid(), SystemTime::now()));
    }
    number.max(1)
}

/// The process id.
pub(crate) fn pid() -> i32 {
    std::process::id() as i32
}

/// The user that the kernel checks permissions for.
pub(crate) fn effective_uid() -> u32 {
    nix::unistd::geteuid().as_raw()
}

/// The user that a process of this one's pid namespace runs as, all its user ids being one. `None`
/// where procfs is another namespace's or does not show it, where the ids differ, and where this process's
/// user namespace has no number for it. See proc_pid_status(5).
pub(crate) fn user_of(pid: i32) -> Option<u32> {
    // A number for each pid namespace, from the one that procfs shows to the process's own.
    if numbers("/proc/self/status", "NSpid:")? != [std::process::id()] {
        return None;
    }
    let ids = numbers(&format!("/proc/{pid}/status"), "Uid:")?;
    let (&real, others) = ids.split_first()?;
    let one = others.len() == 3 && others.iter().all(|&id| id == real);
    (one && !is_overflow_uid(real)).then_some(real)
}

/// The numbers in a line of a file.
fn numbers(path: &str, line: &str) -> Option<Vec<u32>> {
    let text = fs::read_to_string(path).ok()?;
    let numbers = text.lines().find_map(|found| found.strip_prefix(line))?;
    numbers.split_whitespace().map(|number| number.parse().ok()).collect()
}

/// How many processors the machine has online; at least 1.
pub(crate) fn online_cpus() -> usize {
    static CPUS: OnceLock<usize> = OnceLock::new();
    // SAFETY: sysconf takes a number and returns one.
    *CPUS.get_or_init(|| unsafe { libc::sysconf(libc::_SC_NPROCESSORS_ONLN) }.max(1) as usize)
}

/// Whether an owner's user id tells nothing: the kernel gives this one for every user that this
/// process's user namespace does not map. See user_namespaces(7).
///
/// Where all users are mapped, as in a machine's first namespace, it is a user like any other.
pub(crate) fn is_overflow_uid(uid: u32) -> bool {
    static OVERFLOW: OnceLock<u32> = OnceLock::new();
    let read = || fs::read_to_string("/proc/sys/kernel/overflowuid").ok()?.trim().parse().ok();
    uid == *OVERFLOW.get_or_init(|| read().unwrap_or(65534)) && !all_users_are_mapped()
}

fn all_users_are_mapped() -> bool {
    // A line for each range: its start inside, its start outside, its length.
    let map = fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    let lens = map.lines().filter_map(|line| line.split_whitespace().nth(2)?.parse::<u64>().ok());
    lens.sum::<u64>() >= u64::from(u32::MAX)
}

/// How often the trial of `SEM_UNDO` is made before a bad outcome is believed.
const TRIALS: usize = 3;

/// Whether the kernel takes `SEM_UNDO` operations back when a process dies.
///
/// Linux does; some sandboxes that imitate it (gVisor) do not, and there a peer's death goes
/// unnoticed. Once this process has seen it work, it is not tried again; another outcome is never
/// remembered.
pub(crate) fn undo_works(
    try_once: impl Fn(usize) -> Result<Option<bool>, SystemError>,
) -> Result<bool, SystemError> {
    static WORKS: AtomicBool = AtomicBool::new(false);
    if WORKS.load(Ordering::Relaxed) {
        return Ok(true);
    }
    for trial in 0..TRIALS {
        if try_once(trial)? == Some(true) {
            WORKS.store(true, Ordering::Relaxed);
            return Ok(true);
        }
    }
    Ok(false)
}

/// What the child of the trial is given, and what it leaves for its parent.
struct Trial {
    set: c_int,
    index: u16,
    /// The errno of its system call, or 0; none until that was made.
    errno: Option<c_int>,
}

/// Tries it: a child raises semaphore `index` of `set`, which must be zero, and dies.
///
/// The child shares this memory but no undo list: it costs tens of microseconds and copies nothing.
pub(crate) fn is_undone(set: SemaphoreSet, index: u16) -> Result<bool, SystemError> {
    let mut trial = Trial { set: set.id(), index, errno: None };
    let failed = |call, errno| SystemError::new(set.name(), call, errno);
    // 16 KiB, aligned as every stack wants it; semop and the C library's wrapper need a few words.
    let mut stack = vec![0_u128; 1024];
    let top = stack.as_mut_ptr_range().end.cast();
    let flags = libc::CLONE_VM | libc::CLONE_VFORK;
    // A signal handler must not run in the child, which stands on our memory with a small stack.
    let masked = SignalsBlocked::new();
    // SAFETY: the child runs on its own stack, ends before `stack` and `trial` are dropped (VFORK
    // and the wait below), and does nothing but one system call.
    let child = unsafe { libc::clone(add_and_die, top, flags, ptr::from_mut(&mut trial).cast()) };
    drop(masked);
    let child = check(child).map_err(|errno| failed("clone", errno))?;
    let mut status = 0;
    // The memory is given back before the undo is done, so VFORK alone is too early to look.
    let waited = retry(|| {
        // SAFETY: the status is an int that outlives the call.
        check(unsafe { libc::waitpid(child, &mut status, libc::__WALL) })
    });
    match waited {
        // ECHILD: another thread waited for all children; the child is gone all the same.
        Ok(_) | Err(libc::ECHILD) => {}
        Err(errno) => return Err(failed("waitpid", errno)),
    }
    match trial.errno {
        Some(0) => Ok(set.value(index)? == 0),
        Some(errno) => Err(failed("semop", errno)),
        // It was killed before it did anything.
        None => Ok(false),
    }
}

extern "C" fn add_and_die(trial: *mut c_void) -> c_int {
    // SAFETY: the parent passes a pointer to its trial, waits for this child, and does not touch it
    // before that.
    let trial = unsafe { &mut *trial.cast::<Trial>() };
    let flags = (libc::SEM_UNDO | libc::IPC_NOWAIT) as i16;
    let mut operation = libc::sembuf { sem_num: trial.index, sem_op: 1, sem_flg: flags };
    // SAFETY: one operation that outlives the call.
    let reply = check(unsafe { libc::semop(trial.set, &mut operation, 1) });
    trial.errno = Some(reply.err().unwrap_or(0));
    0
}

/// All signals blocked in this thread while it lives.
struct SignalsBlocked(libc::sigset_t);

impl SignalsBlocked {
    fn new() -> Self {
        // SAFETY: a sigset_t is plain bits, for which all zero is valid.
        let mut all: libc::sigset_t = unsafe { std::mem::zeroed() };
        let mut before = all;
        // SAFETY: the set outlives the call.
        unsafe { libc::sigfillset(&mut all) };
        // SAFETY: both sets outlive the call.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &all, &mut before) };
        SignalsBlocked(before)
    }
}

impl Drop for SignalsBlocked {
    fn drop(&mut self) {
        // SAFETY: the set was filled by `new`; the old mask is not asked for.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &self.0, null_mut()) };
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::sys::{Cleanup, Deadline, SemOp};
    use nix::sys::wait::{WaitStatus, waitpid};
    use nix::unistd::{ForkResult, fork};

    #[test]
    fn token_is_one_number_per_process() {
        assert_ne!(token(), 0);
        assert_eq!(token(), token());
        let from_threads: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(token)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert!(from_threads.iter().all(|other| *other == token()));
    }

    #[test]
    fn forked_child_has_another_token() {
        let (parent, parent_by_pid) = (token(), token_of_pid());
        // SAFETY: the child calls nothing that allocates or locks, then exits.
        match unsafe { fork() }.unwrap() {
            ForkResult::Child => {
                let child = token();
                let good = child != parent && child != 0 && child == token();
                let good = good && token_of_pid() != parent_by_pid;
                // SAFETY: leaves the child without running the test harness' exit handlers.
                unsafe { libc::_exit(if good { 0 } else { 1 }) }
            }
            ForkResult::Parent { child } => {
                assert_eq!(waitpid(child, None), Ok(WaitStatus::Exited(child, 0)));
            }
        }
    }

    #[test]
    fn self_test_agrees_with_a_dying_child() {
        let set = SemaphoreSet::create_private(2, 0o600).unwrap();
        let _cleanup = Cleanup(|| drop(set.remove()));
        // SAFETY: the child makes one system call, then exits.
        match unsafe { fork() }.unwrap() {
            ForkResult::Child => {
                let done = set.operate(&[SemOp::add(0, 1).undo()], Deadline::now());
                // SAFETY: as above.
                unsafe { libc::_exit(if done.is_ok() { 0 } else { 1 }) }
            }
            ForkResult::Parent { child } => {
                assert_eq!(waitpid(child, None), Ok(WaitStatus::Exited(child, 0)));
            }
        }
        assert_eq!(is_undone(set, 1).unwrap(), set.value(0).unwrap() == 0);
        assert!(online_cpus() >= 1);
    }

    #[test]
    fn bad_outcome_of_the_self_test_is_tried_again_and_not_remembered() {
        let tried = Cell::new(0);
        let outcome = |outcome: Option<bool>| {
            tried.set(0);
            undo_works(|_| {
                tried.set(tried.get() + 1);
                Ok(outcome)
            })
            .unwrap()
        };
        if outcome(Some(false)) {
            // Another test of this process has seen that it works.
            return assert_eq!(tried.get(), 0);
        }
        assert!(!outcome(None));
        assert_eq!(tried.get(), TRIALS);
        assert!(outcome(Some(true)));
        assert!(outcome(Some(false)), "seen once, it is believed");
    }

    #[test]
    fn the_user_of_a_process_is_what_procfs_says() {
        assert_eq!(user_of(pid()), Some(effective_uid()));
        // The highest number that a process can have, and more.
        assert_eq!(user_of(i32::MAX), None);
    }

    #[test]
    fn overflow_uid_is_a_user_where_all_are_mapped() {
        let all = all_users_are_mapped();
        assert_eq!(is_overflow_uid(65534), !all);
        assert!(!is_overflow_uid(0));
    }
}
