//! Raw semop: a wake-up there and one back, which carry nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use nix::errno::Errno;
use nix::libc::{self, c_int, sembuf};

use super::bare::Memory;
use super::{Rx, Setting, Tx, Way};
use crate::values::{Order, Value};
use crate::{Failure, stop};

pub struct Sem;

/// A set for both ways; removed by whoever made it.
pub struct Set {
    id: c_int,
    made: bool,
}

impl Set {
    fn operate(&self, number: u16, by: i16) -> Result<(), Failure> {
        let mut operation = sembuf { sem_num: number, sem_op: by, sem_flg: 0 };
        // SAFETY: the pointer is to one operation, as the count says.
        stop::restart(|| unsafe { libc::semop(self.id, &mut operation, 1) })?;
        Ok(())
    }
}

impl Drop for Set {
    fn drop(&mut self) {
        if self.made {
            // SAFETY: IPC_RMID takes no pointers.
            unsafe { libc::semctl(self.id, 0, libc::IPC_RMID) };
        }
    }
}

const THERE: u16 = 0;
const BACK: u16 = 1;

/// One way: a semaphore, and a word for the number that is said to go along.
pub struct Bell {
    set: Set,
    memory: Arc<Memory>,
    number: u16,
}

impl Bell {
    fn word(&self) -> &AtomicU64 {
        self.memory.word(usize::from(self.number) * 8)
    }
}

impl Way<Order> for Sem {
    const NAME: &'static str = "semop";
    type Meeting = (Vec<Bell>, Bell);
    type Tx = Bell;
    type Rx = Bell;

    fn meet(_: Setting) -> Result<(Self::Meeting, String), Failure> {
        // SAFETY: semget takes no pointers.
        let id = Errno::result(unsafe { libc::semget(libc::IPC_PRIVATE, 2, 0o600) })?;
        let set = Set { id, made: true };
        let memory = Memory::make(0)?;
        let address = format!("{id} {}", memory.path());
        let there = Bell { set: Set { id, made: false }, memory: memory.clone(), number: THERE };
        Ok(((vec![there], Bell { set, memory, number: BACK }), address))
    }

    fn join(address: &str, _: Setting) -> Result<(Bell, Bell), Failure> {
        let (id, memory) = address.split_once(' ').ok_or("that is no address")?;
        let (id, memory) = (id.parse()?, Memory::open(memory, 0)?);
        let bell = |number| Bell { set: Set { id, made: false }, memory: memory.clone(), number };
        Ok((bell(BACK), bell(THERE)))
    }

    fn connect(met: Self::Meeting, _: Setting) -> Result<Self::Meeting, Failure> {
        Ok(met)
    }
}

// The calls order what is stored before and loaded after.
impl Tx<Order> for Bell {
    fn send(&mut self, value: &Order) -> Result<(), Failure> {
        self.word().store(value.id(), Ordering::Relaxed);
        self.set.operate(self.number, 1)
    }
}

impl Rx<Order> for Bell {
    fn recv(&mut self) -> Result<u64, Failure> {
        self.set.operate(self.number, -1)?;
        Ok(self.word().load(Ordering::Relaxed))
    }
}
