//! The kernel's calls themselves, as the channel's rivals: no retries, no names, no error texts.

#![allow(dead_code, reason = "each benchmark uses its part")]

use std::io::{Error, Result};

use nix::libc::{self, c_int, c_long, sembuf};

/// Two semaphores, both zero, for a round trip; removed by whoever made them.
pub(crate) struct Semaphores {
    pub(crate) id: c_int,
    made: bool,
}

impl Semaphores {
    pub(crate) fn make() -> Result<Self> {
        // SAFETY: semget takes no pointers.
        let id = check(unsafe { libc::semget(libc::IPC_PRIVATE, 2, 0o600) })?;
        Ok(Semaphores { id, made: true })
    }

    pub(crate) fn of(id: c_int) -> Self {
        Semaphores { id, made: false }
    }

    pub(crate) fn post(&self, number: u16) -> Result<()> {
        self.operate(number, 1)
    }

    pub(crate) fn wait(&self, number: u16) -> Result<()> {
        self.operate(number, -1)
    }

    fn operate(&self, number: u16, by: i16) -> Result<()> {
        let mut operation = sembuf { sem_num: number, sem_op: by, sem_flg: 0 };
        // SAFETY: the pointer is to one operation, as the count says.
        check(unsafe { libc::semop(self.id, &mut operation, 1) }).map(drop)
    }
}

impl Drop for Semaphores {
    fn drop(&mut self) {
        if self.made {
            // SAFETY: IPC_RMID takes no pointers.
            unsafe { libc::semctl(self.id, 0, libc::IPC_RMID) };
        }
    }
}

/// A message as msgsnd wants it: its type, then its text.
#[repr(C)]
pub(crate) struct Message {
    pub(crate) mtype: c_long,
    pub(crate) text: [u8; 64],
}

/// A queue; removed by whoever made it.
pub(crate) struct Queue {
    pub(crate) id: c_int,
    made: bool,
}

impl Queue {
    pub(crate) fn make() -> Result<Self> {
        // SAFETY: msgget takes no pointers.
        let id = check(unsafe { libc::msgget(libc::IPC_PRIVATE, 0o600) })?;
        Ok(Queue { id, made: true })
    }

    pub(crate) fn of(id: c_int) -> Self {
        Queue { id, made: false }
    }

    pub(crate) fn send(&self, message: &Message, len: usize) -> Result<()> {
        assert!(len <= message.text.len());
        // SAFETY: the text has at least `len` bytes.
        let sent = unsafe { libc::msgsnd(self.id, (&raw const *message).cast(), len, 0) };
        check(sent).map(drop)
    }

    pub(crate) fn receive(&self, mtype: c_long, message: &mut Message) -> Result<usize> {
        let room = message.text.len();
        let into = (&raw mut *message).cast();
        // SAFETY: the text has room for as much as is said.
        let received = unsafe { libc::msgrcv(self.id, into, room, mtype, 0) };
        check(received as i64).map(|len| len as usize)
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        if self.made {
            // SAFETY: IPC_RMID uses no buffer.
            unsafe { libc::msgctl(self.id, libc::IPC_RMID, std::ptr::null_mut()) };
        }
    }
}

fn check<N: Into<i64> + Copy>(result: N) -> Result<N> {
    if result.into() < 0 { Err(Error::last_os_error()) } else { Ok(result) }
}
