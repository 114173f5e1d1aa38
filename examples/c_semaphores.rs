//! A Rust and a C program change an account in a segment at once, which a System V semaphore guards.
//!
//! The C program is `c_semaphores.c` beside this file, compiled here with `cc`. First Rust makes segment
//! and semaphore and C opens them, then the other way round. Then the C program is killed while it
//! holds the semaphore, which the kernel gives back. Nothing is left behind.
//!
//! ```sh
//! cargo run --example c_semaphores --features pod
//! ```

use std::error::Error;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use sysv_channel::{Key, Segment, Semaphores};
use zerocopy::{FromBytes, Immutable, IntoBytes};

#[path = "c_program/mod.rs"]
mod c_program;

use c_program::{Directory, compile};

const ENTRIES: u64 = 20_000;

/// `struct account` of `c_semaphores.c`, field by field.
#[derive(FromBytes, IntoBytes, Immutable)]
#[repr(C)]
struct Account {
    balance: u64,
    entries: u64,
    last: [u8; 48],
}

/// Runs the exchange; its test calls this as well.
pub(crate) fn main() -> Result<(), Box<dyn Error>> {
    let directory = Directory::new("c-semaphores")?;
    let program = compile(&directory.0, "c_semaphores", include_bytes!("c_semaphores.c"))?;
    let started = Instant::now();

    let key = Key::from_path(&directory.0, b'o')?;
    let segment = Segment::create(key, size_of::<Account>())?;
    let _segment = OnDrop(|| drop(segment.remove()));
    let semaphores = Semaphores::create(key, &[1])?;
    let _semaphores = OnDrop(|| drop(semaphores.remove()));
    let peer = Peer::start(&program, "open", &directory.0)?;
    share(&segment, &semaphores)?;
    peer.finish()?;
    check(&segment)?;
    println!("made by Rust, entries of both   {:>8}", 2 * ENTRIES);

    survive(&program, &directory.0, &semaphores)?;
    println!("killed while it held it         given back");

    let mut peer = Peer::start(&program, "create", &directory.0)?;
    peer.await_line("created\n")?;
    let key = Key::from_path(&directory.0, b'c')?;
    let segment = Segment::options().at_least(size_of::<Account>()).open(key)?;
    let _segment = OnDrop(|| drop(segment.remove()));
    // This waits for the first operation of the C program, by which it is known to be initialised.
    let semaphores = Semaphores::open(key)?;
    let _semaphores = OnDrop(|| drop(semaphores.remove()));
    share(&segment, &semaphores)?;
    peer.finish()?;
    check(&segment)?;
    println!("made by C, entries of both      {:>8}", 2 * ENTRIES);
    println!("time                            {:>8.1?}", started.elapsed());
    Ok(())
}

/// Makes entries while the C program does.
fn share(segment: &Segment, semaphores: &Semaphores) -> Result<(), Box<dyn Error>> {
    for _ in 0..ENTRIES {
        let guard = semaphores.acquire_guard(0, 1)?;
        let mut account: Account = segment.load(0)?;
        account.balance += 7;
        account.last = [0; 48];
        let last = format!("Rust after {}", account.entries);
        account.last[..last.len()].copy_from_slice(last.as_bytes());
        account.entries += 1;
        segment.store(0, &account)?;
        guard.release()?;
    }
    Ok(())
}

/// No entry of either was lost.
fn check(segment: &Segment) -> Result<(), Box<dyn Error>> {
    let account: Account = segment.load(0)?;
    let end = account.last.iter().position(|byte| *byte == 0).unwrap_or(account.last.len());
    let last = std::str::from_utf8(&account.last[..end])?;
    let whole = account.entries == 2 * ENTRIES && account.balance == (3 + 7) * ENTRIES;
    if !whole || !last.ends_with(&format!("after {}", 2 * ENTRIES - 1)) {
        let (entries, balance) = (account.entries, account.balance);
        return Err(format!("{entries} entries, {balance} in all, the last one {last:?}").into());
    }
    Ok(())
}

/// The C program holds the semaphore, with `SEM_UNDO`, and is killed.
fn survive(program: &Path, file: &Path, semaphores: &Semaphores) -> Result<(), Box<dyn Error>> {
    let mut peer = Peer::start(program, "hold", file)?;
    peer.await_line("held\n")?;
    if !semaphores.try_acquire(0, 1).is_err_and(|error| error.is_would_block()) {
        return Err("the C program says that it holds the semaphore, and does not".into());
    }
    drop(peer);
    drop(semaphores.acquire_guard(0, 1)?);
    Ok(())
}

/// The C program, killed with its owner.
struct Peer(Child);

impl Peer {
    fn start(program: &Path, role: &str, file: &Path) -> Result<Self, Box<dyn Error>> {
        let mut command = Command::new(program);
        command.arg(role).arg(file).arg(ENTRIES.to_string());
        Ok(Peer(command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?))
    }

    /// Waits until it says so.
    fn await_line(&mut self, line: &str) -> Result<(), Box<dyn Error>> {
        let output = self.0.stdout.take().ok_or("its output was taken before")?;
        let mut said = String::new();
        BufReader::new(output).read_line(&mut said)?;
        if said != line {
            return Err(format!("the C program says {said:?}, not {line:?}").into());
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

/// Does something at the end, also after an error.
struct OnDrop<F: FnMut()>(F);

impl<F: FnMut()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}
