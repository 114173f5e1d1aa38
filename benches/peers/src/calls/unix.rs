//! A Unix stream socket with bincode, each message behind its length.
//!
//! The server has a thread for each client. A side that spins reads without waiting, time and again.

use std::hint::black_box;
use std::io::{ErrorKind, Read, Write};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::thread;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_bytes::ByteBuf;

use super::peer::{Client, Peer, STOP, Work};
use crate::Failure;
use crate::values::CODEC;
use crate::values::{Order, Wait};

pub struct Unix;

/// One end of a connection, with buffers that are kept.
pub struct Line {
    stream: UnixStream,
    spins: bool,
    out: Vec<u8>,
    read: Vec<u8>,
    /// How much of `read` was received.
    filled: usize,
}

impl Line {
    fn new(stream: UnixStream, wait: Wait) -> Result<Self, Failure> {
        let spins = wait == Wait::Spin;
        stream.set_nonblocking(spins)?;
        Ok(Line { stream, spins, out: Vec::new(), read: vec![0; 256 << 10], filled: 0 })
    }

    fn send(&mut self, value: &impl Serialize) -> Result<(), Failure> {
        self.out.clear();
        self.out.extend([0; 4]);
        bincode::serde::encode_into_std_write(value, &mut self.out, CODEC)?;
        let len = (self.out.len() - 4) as u32;
        self.out[..4].copy_from_slice(&len.to_le_bytes());
        let mut left = &self.out[..];
        while !left.is_empty() {
            match self.stream.write(left) {
                Ok(sent) => left = &left[sent..],
                Err(error) if again(&error, self.spins) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// The next message; `None` when the other side is gone. There is one under way at a time, so
    /// what was read ends where it ends.
    fn receive<T: DeserializeOwned>(&mut self) -> Result<Option<T>, Failure> {
        self.filled = 0;
        let mut due = 4;
        while self.filled < due {
            match self.stream.read(&mut self.read[self.filled..]) {
                Ok(0) => return Ok(None),
                Ok(len) => self.filled += len,
                Err(error) if again(&error, self.spins) => {
                    std::hint::spin_loop();
                    continue;
                }
                Err(error) => return Err(error.into()),
            }
            if let Some(&[a, b, c, d]) = self.read[..self.filled].first_chunk() {
                due = 4 + u32::from_le_bytes([a, b, c, d]) as usize;
                if self.read.len() < due {
                    self.read.resize(due, 0);
                }
            }
        }
        Ok(Some(bincode::serde::decode_from_slice(&self.read[4..due], CODEC)?.0))
    }
}

fn again(error: &std::io::Error, spins: bool) -> bool {
    error.kind() == ErrorKind::Interrupted || spins && error.kind() == ErrorKind::WouldBlock
}

impl Peer for Unix {
    const NAME: &'static str = "unix stream";
    type Meeting = UnixListener;
    type Client = Line;

    /// The clients' process listens, so that nobody has to look whether the other is there. The name
    /// is an abstract one, of which no file is left.
    fn meet(clients: usize) -> Result<(UnixListener, String), Failure> {
        let name = crate::process::unused_name();
        let listener = UnixListener::bind_addr(&SocketAddr::from_abstract_name(&name)?)?;
        Ok((listener, format!("{clients} {name}")))
    }

    fn serve(address: &str, work: Work, wait: Wait) -> Result<(), Failure> {
        let (clients, name) = address.split_once(' ').ok_or("that is no address")?;
        let address = SocketAddr::from_abstract_name(name)?;
        thread::scope(|scope| {
            let mut serving = Vec::new();
            for _ in 0..clients.parse()? {
                let mut line = Line::new(UnixStream::connect_addr(&address)?, wait)?;
                serving.push(scope.spawn(move || match work {
                    Work::Orders => orders(&mut line),
                    Work::Bulk => bulk(&mut line),
                }));
            }
            for thread in serving {
                thread.join().map_err(|_| "a thread panicked")??;
            }
            Ok(())
        })
    }

    fn connect(
        listener: UnixListener,
        _: &str,
        _: Work,
        wait: Wait,
        clients: usize,
    ) -> Result<Vec<Line>, Failure> {
        let lines = (0..clients).map(|_| Line::new(listener.accept()?.0, wait));
        lines.collect()
    }
}

fn orders(line: &mut Line) -> Result<(), Failure> {
    while let Some(order) = line.receive::<Order>()? {
        line.send(&order)?;
    }
    Ok(())
}

fn bulk(line: &mut Line) -> Result<(), Failure> {
    while let Some(len) = line.receive::<u64>()? {
        let len = if len == STOP { 0 } else { len };
        line.send(&ByteBuf::from(vec![7; len as usize]))?;
    }
    Ok(())
}

impl Client for Line {
    fn call(&mut self, order: &Order) -> Result<u64, Failure> {
        self.send(order)?;
        Ok(self.receive::<Order>()?.ok_or("the server is gone")?.id)
    }

    fn fetch(&mut self, len: u64) -> Result<u64, Failure> {
        self.send(&len)?;
        Ok(black_box(self.receive::<ByteBuf>()?).ok_or("the server is gone")?.len() as u64)
    }
}
