//! Raw msgsnd and msgrcv: bytes as they are, without codec, names or retries.

use std::hint::black_box;
use std::sync::Arc;

use nix::errno::Errno;
use nix::libc::{self, c_int, c_long};
use sysv_channel::codec::Bytes;

use super::{Rx, Setting, Tx, Way};
use crate::Failure;
use crate::stop::{self, spin};
use crate::values::{Small, Value, Wait, id_of};

pub struct Msg;

/// The kernel's default for the longest message.
pub const LONGEST: usize = 8192;

/// A message as msgsnd wants it.
#[repr(C)]
struct Message {
    mtype: c_long,
    text: [u8; LONGEST],
}

/// A queue; removed by whoever made it.
pub struct Queue {
    id: c_int,
    made: bool,
}

impl Queue {
    fn make() -> Result<Self, Failure> {
        // SAFETY: msgget takes no pointers.
        let id = Errno::result(unsafe { libc::msgget(libc::IPC_PRIVATE, 0o600) })?;
        Ok(Queue { id, made: true })
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

/// An end of a queue.
pub struct Line {
    queue: Arc<Queue>,
    message: Box<Message>,
    wait: Wait,
}

impl Line {
    fn new(queue: Queue, wait: Wait) -> Self {
        Line::of(&Arc::new(queue), wait)
    }

    fn of(queue: &Arc<Queue>, wait: Wait) -> Self {
        let message = Box::new(Message { mtype: 1, text: [7; LONGEST] });
        Line { queue: queue.clone(), message, wait }
    }

    /// Sends the text's first bytes.
    fn put(&self, len: usize) -> Result<(), Failure> {
        assert!(len <= LONGEST);
        let message = (&raw const *self.message).cast();
        // SAFETY: the text has at least `len` bytes.
        stop::restart(|| unsafe { libc::msgsnd(self.queue.id, message, len, 0) })?;
        Ok(())
    }

    /// Receives into the text; says how long it is.
    fn take(&mut self) -> Result<usize, Failure> {
        let into = (&raw mut *self.message).cast();
        let id = self.queue.id;
        let receive = |flags| {
            // SAFETY: the text has room for as much as is said.
            stop::restart(|| unsafe { libc::msgrcv(id, into, LONGEST, 0, flags) })
        };
        let len = match self.wait {
            Wait::Block => receive(0)?,
            Wait::Spin => spin(|| match receive(libc::IPC_NOWAIT) {
                Err(Errno::ENOMSG) => Ok(None),
                received => Ok(Some(received?)),
            })?,
        };
        Ok(len as usize)
    }
}

impl<V: Value> Way<V> for Msg
where
    Line: Tx<V> + Rx<V>,
{
    const NAME: &'static str = "msgsnd, msgrcv";
    type Meeting = [Queue; 2];
    type Tx = Line;
    type Rx = Line;

    fn meet(_: Setting) -> Result<([Queue; 2], String), Failure> {
        let queues = [Queue::make()?, Queue::make()?];
        let address = format!("{} {}", queues[0].id, queues[1].id);
        Ok((queues, address))
    }

    fn join(address: &str, Setting { wait, .. }: Setting) -> Result<(Line, Line), Failure> {
        let (there, back) = address.split_once(' ').ok_or("that is no address")?;
        let open = |id: &str| -> Result<_, Failure> {
            Ok(Line::new(Queue { id: id.parse()?, made: false }, wait))
        };
        Ok((open(back)?, open(there)?))
    }

    fn connect(
        [there, back]: [Queue; 2],
        Setting { wait, senders, .. }: Setting,
    ) -> Result<(Vec<Line>, Line), Failure> {
        let there = Arc::new(there);
        let txs = (0..senders).map(|_| Line::of(&there, wait)).collect();
        Ok((txs, Line::new(back, wait)))
    }
}

impl<V: Small> Tx<V> for Line {
    fn send(&mut self, value: &V) -> Result<(), Failure> {
        self.message.text[..8].copy_from_slice(&value.id().to_le_bytes());
        self.put(V::LEN)
    }
}

impl<V: Small> Rx<V> for Line {
    fn recv(&mut self) -> Result<u64, Failure> {
        let len = self.take()?;
        Ok(id_of(black_box(&self.message.text[..len])))
    }
}

impl Tx<Bytes> for Line {
    fn send(&mut self, value: &Bytes) -> Result<(), Failure> {
        self.message.text[..value.len()].copy_from_slice(value);
        self.put(value.len())
    }
}

impl Rx<Bytes> for Line {
    fn recv(&mut self) -> Result<u64, Failure> {
        let len = self.take()?;
        Ok(black_box(Bytes::from(&self.message.text[..len])).id())
    }
}
