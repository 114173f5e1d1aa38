//! What libc lacks of System V IPC, and how its return values become results.

use nix::errno::Errno;
use nix::libc::{self, c_int, sembuf, size_t, timespec};

unsafe extern "C" {
    /// semtimedop(2).
    pub(super) fn semtimedop(
        set: c_int,
        operations: *mut sembuf,
        count: size_t,
        timeout: *const timespec,
    ) -> c_int;
}

/// `IPC_STAT` by index in the kernel's table, for objects that the caller may not read; Linux 4.17.
pub(super) const MSG_STAT_ANY: c_int = 13;
pub(super) const SHM_STAT_ANY: c_int = 15;
pub(super) const SEM_STAT_ANY: c_int = 20;

/// msgrcv: copy the message at an index and leave it on the queue; Linux 3.8.
pub(super) const MSG_COPY: c_int = 0o40000;

/// The errno of a call that answers -1.
pub(super) fn check(answer: c_int) -> Result<c_int, c_int> {
    if answer == -1 { Err(Errno::last_raw()) } else { Ok(answer) }
}

/// The errno of a call that answers a length or -1.
pub(super) fn check_len(answer: isize) -> Result<usize, c_int> {
    usize::try_from(answer).map_err(|_| Errno::last_raw())
}

/// Repeats a call that a signal interrupted.
pub(super) fn retry<T>(mut call: impl FnMut() -> Result<T, c_int>) -> Result<T, c_int> {
    loop {
        match call() {
            Err(libc::EINTR) => {}
            result => return result,
        }
    }
}

/// The key in an `ipc_perm`, whose name differs between C libraries.
pub(super) fn key_of(permissions: &libc::ipc_perm) -> i32 {
    // SAFETY: the key is the first field of ipc_perm in every Linux C library.
    unsafe { *std::ptr::from_ref(permissions).cast() }
}

/// Places in the kernel's table at which an id can stand: its low 15 bits, or 24 where the kernel
/// was booted with ipcmni_extend.
pub(super) fn table_indices(id: i32) -> [i32; 2] {
    [id & 0x7fff, id & 0xff_ffff]
}
