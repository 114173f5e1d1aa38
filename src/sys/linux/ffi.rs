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

/// `struct semid_ds`, as Linux fills it on 64-bit machines: libc lacks it for musl.
#[repr(C)]
#[derive(Clone, Copy)]
pub(super) struct SemidDs {
    pub(super) sem_perm: libc::ipc_perm,
    pub(super) sem_otime: i64,
    #[cfg(target_arch = "x86_64")]
    unused_after_otime: u64,
    pub(super) sem_ctime: i64,
    #[cfg(target_arch = "x86_64")]
    unused_after_ctime: u64,
    pub(super) sem_nsems: u64,
    unused: [u64; 2],
}

/// `struct seminfo`: libc lacks it for musl.
#[repr(C)]
#[derive(Clone, Copy)]
pub(super) struct Seminfo {
    before: [c_int; 7],
    /// With `SEM_INFO`, how many sets there are.
    pub(super) semusz: c_int,
    after: [c_int; 2],
}

#[cfg(target_env = "gnu")]
const _: () = {
    use std::mem::offset_of;
    assert!(size_of::<SemidDs>() == size_of::<libc::semid_ds>());
    assert!(offset_of!(SemidDs, sem_otime) == offset_of!(libc::semid_ds, sem_otime));
    assert!(offset_of!(SemidDs, sem_ctime) == offset_of!(libc::semid_ds, sem_ctime));
    assert!(offset_of!(SemidDs, sem_nsems) == offset_of!(libc::semid_ds, sem_nsems));
    assert!(size_of::<Seminfo>() == size_of::<libc::seminfo>());
    assert!(offset_of!(Seminfo, semusz) == offset_of!(libc::seminfo, semusz));
};

/// The errno of a call that answers -1.
pub(super) fn check(reply: c_int) -> Result<c_int, c_int> {
    if reply == -1 { Err(Errno::last_raw()) } else { Ok(reply) }
}

/// The errno of a call that answers a length or -1.
pub(super) fn check_len(reply: isize) -> Result<usize, c_int> {
    usize::try_from(reply).map_err(|_| Errno::last_raw())
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

/// Has `control`, one of the three *ctl calls, fill the structure of the object `id`: by `IPC_STAT` or,
/// for an object that the caller may not read, by `stat_any` and an index in the kernel's table.
pub(super) fn stat(
    id: i32,
    stat_any: c_int,
    mut control: impl FnMut(i32, c_int) -> Result<c_int, c_int>,
) -> Result<(), c_int> {
    match control(id, libc::IPC_STAT) {
        Err(libc::EACCES) => {
            // The index is the id's low 15 bits, or 24 where the kernel was booted with ipcmni_extend.
            let mut indices = [id & 0x7fff, id & 0xff_ffff].into_iter();
            let found = indices.any(|index| control(index, stat_any) == Ok(id));
            if found { Ok(()) } else { Err(libc::EACCES) }
        }
        reply => reply.map(drop),
    }
}
