//! A Rust and a C program exchange a C struct over two System V message queues, both ways.
//!
//! The C program is `c_peer.c` beside this file. It is compiled here with `cc`, finds the queues
//! with ftok, checks every order that Rust sends, and answers each with a fill, which is checked
//! here. Nothing is left behind.
//!
//! ```sh
//! cargo run --example c_peer --features pod
//! ```

use std::error::Error;
use std::process::Command;
use std::time::Instant;

use sysv_channel::codec::Pod;
use sysv_channel::{Key, Queue, Tag};
use zerocopy::{FromBytes, Immutable, IntoBytes};

#[path = "c_program/mod.rs"]
mod c_program;

use c_program::{Directory, compile};

const ORDERS: u64 = 10_000;
const PARTLY_FILLED: Tag = Tag::new(2).unwrap();
const STOP: Tag = Tag::new(2).unwrap();

/// `struct order` of `c_peer.c`, field by field.
#[derive(Debug, Clone, Copy, PartialEq, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
struct Order {
    id: u64,
    price: f64,
    quantity: u32,
    symbol: [u8; 12],
}

impl Order {
    fn number(id: u64) -> Self {
        let mut symbol = [0; 12];
        symbol[..6].copy_from_slice(format!("SYM{:03}", id % 1000).as_bytes());
        Order { id, price: id as f64 * 0.25, quantity: id as u32 * 3, symbol }
    }

    /// What the C program should answer, and with which tag.
    fn filled(self) -> (Tag, Self) {
        let tag = if self.id.is_multiple_of(7) { PARTLY_FILLED } else { Tag::DEFAULT };
        let quantity = self.quantity / tag.get() as u32;
        (tag, Order { quantity, price: self.price + 1.0, ..self })
    }
}

/// Runs the exchange; its test calls this as well.
pub(crate) fn main() -> Result<(), Box<dyn Error>> {
    let directory = Directory::new("c-peer")?;
    let program = compile(&directory.0, "c_peer", include_bytes!("c_peer.c"))?;
    // ftok makes a key of any file that both programs can reach.
    let orders = OwnedQueue::new(Key::from_path(&directory.0, b'o')?)?;
    let fills = OwnedQueue::new(Key::from_path(&directory.0, b'f')?)?;

    let started = Instant::now();
    let mut peer = Command::new(program).arg(&directory.0).spawn()?;
    std::thread::scope(|scope| {
        let peer = scope.spawn(|| {
            let status = peer.wait();
            if !status.as_ref().is_ok_and(|status| status.success()) {
                // Whoever waits for the C program below is told by this.
                let _ = orders.0.remove();
                let _ = fills.0.remove();
            }
            status
        });
        let sender = scope.spawn(|| {
            (0..ORDERS).try_for_each(|id| orders.0.send(&Order::number(id)))?;
            orders.0.send_tagged(STOP, &Order::number(0))
        });
        let checked = (0..ORDERS).try_for_each(|id| check_fill(&fills.0, id));
        if checked.is_err() {
            // The C program and the sender may be waiting; this ends them.
            let _ = orders.0.remove();
            let _ = fills.0.remove();
        }
        let status = peer.join().map_err(|_| "the thread that waits for the C program died")??;
        let sent = sender.join().map_err(|_| "the sending thread died")?;
        match (checked, sent, status.success()) {
            (Ok(()), Ok(()), true) => Ok::<_, Box<dyn Error>>(()),
            (Err(error), _, _) => Err(format!("{error}; the C program: {status}").into()),
            (_, Err(error), _) => Err(format!("{error}; the C program: {status}").into()),
            (Ok(()), Ok(()), false) => Err(format!("the C program: {status}").into()),
        }
    })?;

    println!("orders to C, checked there      {ORDERS:>8}");
    println!("fills to Rust, checked here     {ORDERS:>8}");
    println!("time                            {:>8.1?}", started.elapsed());
    Ok(())
}

fn check_fill(fills: &Queue<Order, Pod>, id: u64) -> Result<(), Box<dyn Error>> {
    let message = fills.recv_matching(Default::default())?;
    let expected = Order::number(id).filled();
    if (message.tag, message.value) != expected {
        return Err(format!("fill {id} arrived damaged: {message:?}, not {expected:?}").into());
    }
    Ok(())
}

/// A queue that is removed with its owner, also after an error.
struct OwnedQueue(Queue<Order, Pod>);

impl OwnedQueue {
    fn new(key: Key) -> Result<Self, Box<dyn Error>> {
        Ok(OwnedQueue(Queue::create(key)?))
    }
}

impl Drop for OwnedQueue {
    fn drop(&mut self) {
        // After a failure it is gone already.
        let _ = self.0.remove();
    }
}
