//! A Rust and a C program hand each other texts in a System V shared-memory segment, both ways.
//!
//! It is the pair of programs of the textbooks, a writer and a reader of
//! `struct { int written; char text[2048]; }`: the writer waits until `written` is 0, fills the text and
//! sets it, the reader waits until it is 1, takes the text and clears it. The C program is `c_segment.c`
//! beside this file. It is compiled here with `cc`, finds the segment with ftok and checks each text,
//! as is done here. Nothing is left behind.
//!
//! ```sh
//! cargo run --example c_segment --features pod
//! ```

use std::error::Error;
use std::io::{BufRead, BufReader};
use std::mem::offset_of;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Instant;

use sysv_channel::{Key, Segment};
use zerocopy::{FromBytes, Immutable, IntoBytes};

#[path = "c_program/mod.rs"]
mod c_program;

use c_program::{Directory, compile};

const LINES: i32 = 2_000;

/// `struct shared` of `c_segment.c`, field by field.
#[derive(FromBytes, IntoBytes, Immutable)]
#[repr(C)]
struct Shared {
    written: i32,
    text: [u8; 2048],
}

const WRITTEN: usize = offset_of!(Shared, written);
const TEXT: usize = offset_of!(Shared, text);

/// Runs the exchange; its test calls this as well.
pub(crate) fn main() -> Result<(), Box<dyn Error>> {
    let directory = Directory::new("c-segment")?;
    let program = compile(&directory.0, "c_segment", include_bytes!("c_segment.c"))?;
    let started = Instant::now();
    write_to_c(&program, &directory.0)?;
    read_from_c(&program, &directory.0)?;
    println!("texts to C, checked there       {LINES:>8}");
    println!("texts to Rust, checked here     {LINES:>8}");
    println!("time                            {:>8.1?}", started.elapsed());
    Ok(())
}

/// Rust creates the segment and writes, C opens it and reads.
fn write_to_c(program: &Path, file: &Path) -> Result<(), Box<dyn Error>> {
    let segment = Segment::create(Key::from_path(file, b'r')?, size_of::<Shared>())?;
    let _removed = Removed(&segment);
    let mut peer = Peer::start(program, "read", file)?;
    for number in 0..LINES {
        peer.await_written(&segment, 0)?;
        segment.store(TEXT, &line(number))?;
        segment.atomic_i32(WRITTEN)?.store(1, Ordering::Release);
    }
    peer.finish()
}

/// C creates the segment and writes, Rust opens it and reads.
fn read_from_c(program: &Path, file: &Path) -> Result<(), Box<dyn Error>> {
    let mut peer = Peer::start(program, "write", file)?;
    peer.await_created()?;
    let key = Key::from_path(file, b'w')?;
    let segment = Segment::options().at_least(size_of::<Shared>()).open(key)?;
    let _removed = Removed(&segment);
    for number in 0..LINES {
        peer.await_written(&segment, 1)?;
        let shared: Shared = segment.load(0)?;
        if shared.text != line(number) {
            return Err(format!("line {number} arrived damaged").into());
        }
        segment.atomic_i32(WRITTEN)?.store(0, Ordering::Release);
    }
    // It removes the segment; this program has it attached until it drops it.
    peer.finish()?;
    if !segment.stat()?.removed {
        return Err("the C program has not removed the segment".into());
    }
    Ok(())
}

fn line(number: i32) -> [u8; 2048] {
    let filling = b'a' + (number % 26) as u8;
    let mut text = [filling; 2048];
    let start = format!("line {number} ");
    text[..start.len()].copy_from_slice(start.as_bytes());
    text[2047] = 0;
    text
}

/// The C program, ended with its owner.
struct Peer(Child);

impl Peer {
    fn start(program: &Path, role: &str, file: &Path) -> Result<Self, Box<dyn Error>> {
        let mut command = Command::new(program);
        command.arg(role).arg(file).arg(LINES.to_string());
        Ok(Peer(command.stdout(Stdio::piped()).spawn()?))
    }

    /// Waits for the flag, but not for a program that has ended.
    fn await_written(&mut self, segment: &Segment, written: i32) -> Result<(), Box<dyn Error>> {
        let flag = segment.atomic_i32(WRITTEN)?;
        while flag.load(Ordering::Acquire) != written {
            if let Some(status) = self.0.try_wait()? {
                return Err(format!("the C program: {status}").into());
            }
            thread::yield_now();
        }
        Ok(())
    }

    /// Waits until it says that the segment is there.
    fn await_created(&mut self) -> Result<(), Box<dyn Error>> {
        let output = self.0.stdout.take().ok_or("the C program has no output")?;
        let mut said = String::new();
        BufReader::new(output).read_line(&mut said)?;
        if said != "created\n" {
            return Err(format!("the C program has not created the segment: {said:?}").into());
        }
        Ok(())
    }

    fn finish(mut self) -> Result<(), Box<dyn Error>> {
        let status = self.0.wait()?;
        if status.success() { Ok(()) } else { Err(format!("the C program: {status}").into()) }
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // Both fail if it has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Removes a segment, also after an error; it may be gone already.
struct Removed<'a>(&'a Segment);

impl Drop for Removed<'_> {
    fn drop(&mut self) {
        let _ = self.0.remove();
    }
}
