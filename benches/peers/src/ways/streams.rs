//! A Unix stream socket and a pipe, with bincode; bytes as they are, behind their length.
//!
//! Reading is buffered. Writing is, where the name says so; else each value is a write. A side that
//! spins reads and writes without waiting, time and again.

use std::fs::File;
use std::hint::black_box;
use std::io::{self, BufReader, BufWriter, ErrorKind, PipeReader, PipeWriter, Read, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use sysv_channel::codec::Bytes;

use super::{Rx, Setting, Tx, Way};
use crate::Failure;
use crate::process::unused_name;
use crate::stop;
use crate::values::{CODEC, Small, Value, Wait};

/// A file that is asked until it does what is wanted.
pub struct Patient<F>(F);

impl<F: AsFd> Patient<F> {
    fn new(file: F, wait: Wait) -> Result<Self, Failure> {
        if wait == Wait::Spin {
            fcntl(&file, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        }
        Ok(Patient(file))
    }

    fn ask<R>(&mut self, mut call: impl FnMut(&mut F) -> io::Result<R>) -> io::Result<R> {
        loop {
            match call(&mut self.0) {
                Err(error) if error.kind() == ErrorKind::WouldBlock && !stop::asked() => {
                    std::hint::spin_loop();
                }
                // Standard readers and writers go on after an interruption.
                Err(error) if error.kind() == ErrorKind::Interrupted && stop::asked() => {
                    return Err(io::Error::other("it was asked to stop"));
                }
                done => return done,
            }
        }
    }
}

impl<F: Read + AsFd> Read for Patient<F> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.ask(|file| file.read(buffer))
    }
}

impl<F: Write + AsFd> Write for Patient<F> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.ask(|file| file.write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

const BUFFER: usize = 64 << 10;

pub struct Writing<W: Write + AsFd> {
    out: BufWriter<Patient<W>>,
    keeps_back: bool,
}

impl<W: Write + AsFd> Writing<W> {
    fn new(file: W, wait: Wait, keeps_back: bool) -> Result<Self, Failure> {
        let out = BufWriter::with_capacity(BUFFER, Patient::new(file, wait)?);
        Ok(Writing { out, keeps_back })
    }

    fn sent(&mut self) -> Result<(), Failure> {
        if !self.keeps_back {
            self.out.flush()?;
        }
        Ok(())
    }
}

pub struct Reading<R>(BufReader<Patient<R>>);

impl<R: Read + AsFd> Reading<R> {
    fn new(file: R, wait: Wait) -> Result<Self, Failure> {
        Ok(Reading(BufReader::with_capacity(BUFFER, Patient::new(file, wait)?)))
    }
}

impl<V: Small, W: Write + AsFd> Tx<V> for Writing<W> {
    fn send(&mut self, value: &V) -> Result<(), Failure> {
        bincode::serde::encode_into_std_write(value, &mut self.out, CODEC)?;
        self.sent()
    }

    fn flush(&mut self) -> Result<(), Failure> {
        Ok(self.out.flush()?)
    }
}

impl<V: Small, R: Read + AsFd> Rx<V> for Reading<R> {
    fn recv(&mut self) -> Result<u64, Failure> {
        let value: V = bincode::serde::decode_from_std_read(&mut self.0, CODEC)?;
        Ok(black_box(value).id())
    }
}

impl<W: Write + AsFd> Tx<Bytes> for Writing<W> {
    fn send(&mut self, value: &Bytes) -> Result<(), Failure> {
        self.out.write_all(&value.len().to_le_bytes())?;
        self.out.write_all(value)?;
        self.sent()
    }

    fn flush(&mut self) -> Result<(), Failure> {
        Ok(self.out.flush()?)
    }
}

impl<R: Read + AsFd> Rx<Bytes> for Reading<R> {
    fn recv(&mut self) -> Result<u64, Failure> {
        let mut len = [0; 8];
        self.0.read_exact(&mut len)?;
        let len = u64::from_le_bytes(len);
        let mut bytes = Vec::with_capacity(len as usize);
        (&mut self.0).take(len).read_to_end(&mut bytes)?;
        if bytes.len() as u64 != len {
            return Err("the other side is gone".into());
        }
        Ok(black_box(Bytes::from(bytes)).id())
    }
}

// ------------------------------------------------------------------ sockets

pub struct Unix;
pub struct UnixBuffered;

/// This side listens, so that nobody has to look whether the other is there. The name is an
/// abstract one, of which no file is left.
fn listen() -> Result<(UnixListener, String), Failure> {
    let name = unused_name();
    let listener = UnixListener::bind_addr(&SocketAddr::from_abstract_name(&name)?)?;
    Ok((listener, name))
}

type SocketEnds = (Writing<UnixStream>, Reading<UnixStream>);

fn both(stream: UnixStream, wait: Wait, keeps_back: bool) -> Result<SocketEnds, Failure> {
    Ok((Writing::new(stream.try_clone()?, wait, keeps_back)?, Reading::new(stream, wait)?))
}

macro_rules! socket {
    ($way:ty, $name:literal, $keeps_back:literal) => {
        impl<V: Value> Way<V> for $way
        where
            Writing<UnixStream>: Tx<V>,
            Reading<UnixStream>: Rx<V>,
        {
            const NAME: &'static str = $name;
            type Meeting = UnixListener;
            type Tx = Writing<UnixStream>;
            type Rx = Reading<UnixStream>;

            fn meet(_: Setting) -> Result<(Self::Meeting, String), Failure> {
                listen()
            }

            fn join(address: &str, setting: Setting) -> Result<SocketEnds, Failure> {
                let stream = UnixStream::connect_addr(&SocketAddr::from_abstract_name(address)?)?;
                both(stream, setting.wait, $keeps_back)
            }

            fn connect(
                listener: UnixListener,
                setting: Setting,
            ) -> Result<(Vec<Self::Tx>, Self::Rx), Failure> {
                let (tx, rx) = both(listener.accept()?.0, setting.wait, $keeps_back)?;
                Ok((vec![tx], rx))
            }
        }
    };
}

socket!(Unix, "unix stream", false);
socket!(UnixBuffered, "unix, BufWriter", true);

// ------------------------------------------------------------------ pipes

pub struct Pipe;

/// Both ends of two pipes, until the other side has opened its own.
pub struct Pipes {
    there: (PipeReader, PipeWriter),
    back: (PipeReader, PipeWriter),
}

/// The most that a pipe may hold without privileges, by default.
const PIPE: i32 = 1 << 20;

impl<V: Value> Way<V> for Pipe
where
    Writing<File>: Tx<V>,
    Reading<File>: Rx<V>,
{
    const NAME: &'static str = "pipe";
    type Meeting = Pipes;
    type Tx = Writing<File>;
    type Rx = Reading<File>;

    fn meet(setting: Setting) -> Result<(Pipes, String), Failure> {
        let pipes = Pipes { there: io::pipe()?, back: io::pipe()? };
        if setting.len > BUFFER {
            fcntl(&pipes.there.1, FcntlArg::F_SETPIPE_SZ(PIPE))?;
        }
        let path = |fd: i32| format!("/proc/{}/fd/{fd}", std::process::id());
        let there = path(pipes.there.0.as_raw_fd());
        let address = format!("{there} {}", path(pipes.back.1.as_raw_fd()));
        Ok((pipes, address))
    }

    fn join(address: &str, Setting { wait, .. }: Setting) -> Result<(Self::Tx, Self::Rx), Failure> {
        let (there, back) = address.split_once(' ').ok_or("that is no address")?;
        let rx = Reading::new(File::open(there)?, wait)?;
        let mut tx = Writing::new(File::options().write(true).open(back)?, wait, false)?;
        // Says that it has them.
        tx.out.get_mut().write_all(&[1])?;
        Ok((tx, rx))
    }

    fn connect(
        Pipes { there: (_, there), back: (mut back, _) }: Pipes,
        Setting { wait, .. }: Setting,
    ) -> Result<(Vec<Self::Tx>, Self::Rx), Failure> {
        back.read_exact(&mut [0])?;
        let tx = Writing::new(File::from(std::os::fd::OwnedFd::from(there)), wait, false)?;
        Ok((vec![tx], Reading::new(File::from(std::os::fd::OwnedFd::from(back)), wait)?))
    }
}
