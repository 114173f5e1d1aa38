//! The system calls of create, open and a first value, bare: get the three objects, map the segment,
//! lock, look whose they are, take a role that the kernel gives back at death.

use std::mem::MaybeUninit;
use std::ptr::null_mut;

use nix::errno::Errno;
use nix::libc::{self, c_int, c_long, key_t, sembuf};

use crate::Failure;

/// As many as a channel has by default.
const SEMAPHORES: c_int = 72;
/// As large as a channel's is by default.
const SEGMENT: usize = 134_242_304;
const LOCK: u16 = 0;

pub struct Objects {
    set: c_int,
    segment: c_int,
    queue: c_int,
    mapped: *mut libc::c_void,
    made: bool,
}

/// A key that no other run uses.
fn key(process: u32, round: u64) -> key_t {
    (process << 12 | (round & 0xfff) as u32) as key_t
}

#[repr(C)]
struct Message {
    mtype: c_long,
    text: [u64; 6],
}

impl Objects {
    pub fn create(round: u64) -> Result<Self, Failure> {
        let key = key(std::process::id(), round);
        let objects = Self::make(key, 0o600 | libc::IPC_CREAT | libc::IPC_EXCL)?;
        // SAFETY: the mapping is larger than a word, and page-aligned.
        unsafe { objects.mapped.cast::<u64>().write_volatile(1) };
        objects.take_role(1)?;
        Ok(objects)
    }

    /// Opens what the process with the number in `name` made.
    pub fn open(name: &str, round: u64) -> Result<Self, Failure> {
        let process = name.split('-').nth(1).ok_or("there is no number")?;
        let objects = Self::make(key(process.parse()?, round), 0)?;
        objects.look()?;
        objects.take_role(2)?;
        Ok(objects)
    }

    fn make(key: key_t, flags: c_int) -> Result<Self, Failure> {
        let made = flags != 0;
        let mut objects = Objects { set: -1, segment: -1, queue: -1, mapped: null_mut(), made };
        // SAFETY: semget takes no pointers.
        objects.set = Errno::result(unsafe { libc::semget(key, SEMAPHORES, flags) })?;
        objects.operate(&mut [operation(LOCK, 0, 0), operation(LOCK, 1, libc::SEM_UNDO)])?;
        // SAFETY: shmget takes no pointers.
        objects.segment = Errno::result(unsafe { libc::shmget(key, SEGMENT, flags) })?;
        // SAFETY: a new mapping takes nothing away.
        let mapped = unsafe { libc::shmat(objects.segment, null_mut(), 0) };
        Errno::result(mapped as isize)?;
        objects.mapped = mapped;
        // SAFETY: msgget takes no pointers.
        objects.queue = Errno::result(unsafe { libc::msgget(key, flags) })?;
        objects.operate(&mut [operation(LOCK, -1, libc::SEM_UNDO)])?;
        Ok(objects)
    }

    /// Asks the kernel whose the objects are.
    fn look(&self) -> Result<(), Failure> {
        let mut set = MaybeUninit::<libc::semid_ds>::uninit();
        // SAFETY: the kernel writes one such struct.
        Errno::result(unsafe { libc::semctl(self.set, 0, libc::IPC_STAT, set.as_mut_ptr()) })?;
        let mut segment = MaybeUninit::<libc::shmid_ds>::uninit();
        // SAFETY: the kernel writes one such struct.
        Errno::result(unsafe { libc::shmctl(self.segment, libc::IPC_STAT, segment.as_mut_ptr()) })?;
        let mut queue = MaybeUninit::<libc::msqid_ds>::uninit();
        // SAFETY: the kernel writes one such struct.
        Errno::result(unsafe { libc::msgctl(self.queue, libc::IPC_STAT, queue.as_mut_ptr()) })?;
        Ok(())
    }

    fn take_role(&self, role: u16) -> Result<(), Failure> {
        self.operate(&mut [operation(role, 0, 0), operation(role, 1, libc::SEM_UNDO)])
    }

    fn operate(&self, operations: &mut [sembuf]) -> Result<(), Failure> {
        let (pointer, count) = (operations.as_mut_ptr(), operations.len());
        // SAFETY: the pointer and the count are those of one slice.
        Errno::result(unsafe { libc::semop(self.set, pointer, count) })?;
        Ok(())
    }

    pub fn send(&self, value: u64) -> Result<(), Failure> {
        let message = Message { mtype: 1, text: [value; 6] };
        let (pointer, len) = ((&raw const message).cast(), size_of_val(&message.text));
        // SAFETY: the text is as long as is said.
        Errno::result(unsafe { libc::msgsnd(self.queue, pointer, len, 0) })?;
        Ok(())
    }

    pub fn receive(&self) -> Result<u64, Failure> {
        let mut message = Message { mtype: 0, text: [0; 6] };
        let (pointer, len) = ((&raw mut message).cast(), size_of_val(&message.text));
        // SAFETY: the text has as much room as is said.
        Errno::result(unsafe { libc::msgrcv(self.queue, pointer, len, 0, 0) })?;
        Ok(message.text[0])
    }
}

fn operation(number: u16, by: i16, flags: c_int) -> sembuf {
    sembuf { sem_num: number, sem_op: by, sem_flg: flags as i16 }
}

impl Drop for Objects {
    fn drop(&mut self) {
        if !self.mapped.is_null() {
            // SAFETY: nothing refers to the mapping any more.
            unsafe { libc::shmdt(self.mapped) };
        }
        if self.made {
            // Those that were not made have no id, and the kernel refuses.
            // SAFETY: IPC_RMID takes no pointers.
            unsafe { libc::semctl(self.set, 0, libc::IPC_RMID) };
            // SAFETY: IPC_RMID uses no buffer.
            unsafe { libc::shmctl(self.segment, libc::IPC_RMID, null_mut()) };
            // SAFETY: IPC_RMID uses no buffer.
            unsafe { libc::msgctl(self.queue, libc::IPC_RMID, null_mut()) };
        }
    }
}
