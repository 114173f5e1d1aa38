//! What no channel can be faster than.

use std::hint::{black_box, spin_loop};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Instant;

use crate::Failure;
use crate::cores::{self, Cores, Line};
use crate::process::Server;
use crate::samples::{Ready, nanos};
use crate::stop::spin;
use crate::values::{Order, Small};
use crate::ways::Memory;

type Limit = Result<Box<dyn Ready>, Failure>;

/// The codec's part of receiving the small struct. In a process of one thread, as receivers are: the
/// allocator takes locks in others, which makes it half as slow again.
struct Decoding {
    words: Arc<Memory>,
    round: u64,
    server: Server,
}

/// Which sample is asked for, which was taken, and what it says.
const WORDS: [usize; 3] = [0, 64, 72];
const STOP: u64 = u64::MAX;

pub fn decode(cores: Cores) -> Limit {
    let words = Memory::make(0)?;
    let server = Server::start(cores.other, &["decode", &words.path()])?;
    let mut decoding = Decoding { words, round: 0, server };
    decoding.sample()?;
    Ok(Box::new(decoding))
}

impl Ready for Decoding {
    fn sample(&mut self) -> Result<f64, Failure> {
        self.server.go_on()?;
        self.round += 1;
        let [asked, taken, nanos] = WORDS.map(|word| self.words.word(word));
        asked.store(self.round, Ordering::Release);
        spin(|| Ok((taken.load(Ordering::Acquire) == self.round).then_some(())))?;
        let nanos = f64::from_bits(nanos.load(Ordering::Relaxed));
        self.server.stand_still()?;
        Ok(nanos)
    }

    fn end(self: Box<Self>) -> Result<(), Failure> {
        self.words.word(WORDS[0]).store(STOP, Ordering::Release);
        self.server.go_on()?;
        self.server.end()
    }
}

/// Plays the process that decodes.
pub fn serve_decoding(memory: &str) -> Result<(), Failure> {
    const ROUNDS: u32 = 20_000;
    let words = Memory::open(memory, 0)?;
    let [asked, taken, result] = WORDS.map(|word| words.word(word));
    let mut memory = [0; Order::LEN];
    Order::new(7).encode(&mut memory)?;
    let mut last = 0;
    loop {
        last = spin(|| Ok(Some(asked.load(Ordering::Acquire)).filter(|&round| round != last)))?;
        if last == STOP {
            return Ok(());
        }
        let start = Instant::now();
        for _ in 0..ROUNDS {
            black_box(Order::decode(black_box(&memory))?);
        }
        let each = nanos(start.elapsed()) / f64::from(ROUNDS);
        result.store(each.to_bits(), Ordering::Relaxed);
        taken.store(last, Ordering::Release);
    }
}

/// About as many bytes are copied for a sample.
const COPIED: usize = 32 << 20;

fn copies(len: usize) -> u64 {
    (COPIED / len).clamp(2, 500) as u64
}

/// A copy of what this core has just copied before.
pub fn hot_copy(len: usize) -> Limit {
    let (from, mut to) = (vec![7_u8; len], vec![0; len]);
    Ok(Box::new(move || {
        let start = Instant::now();
        for _ in 0..copies(len) {
            to.copy_from_slice(black_box(&from));
            black_box(&to);
        }
        Ok(nanos(start.elapsed()) / copies(len) as f64)
    }))
}

/// A copy, into memory of the receiver's own, of what the other core has just written: nothing but
/// the copy itself is timed.
pub fn cross_copy(cores: Cores, len: usize) -> Limit {
    let (written, mut to) = (Mutex::new(vec![0_u8; len]), vec![0; len]);
    Ok(Box::new(move || {
        let (turn, rounds) = (Line(AtomicU64::new(0)), copies(len));
        let wait_for = |value| {
            while turn.0.load(Ordering::Acquire) != value {
                spin_loop();
            }
        };
        let lock = || written.lock().map_err(|_| "the other side panicked");
        thread::scope(|scope| {
            let write = scope.spawn(|| -> Result<(), Failure> {
                let pinned = cores::pin(cores.other);
                let from = vec![7_u8; len];
                for round in 0..=rounds {
                    lock()?.copy_from_slice(black_box(&from));
                    turn.0.store(round * 2 + 1, Ordering::Release);
                    wait_for(round * 2 + 2);
                }
                pinned
            });
            let mut time = 0.0;
            for round in 0..=rounds {
                wait_for(round * 2 + 1);
                let written = lock()?;
                let start = Instant::now();
                to.copy_from_slice(black_box(&written));
                black_box(&to);
                // The first is for warming up.
                time += if round == 0 { 0.0 } else { nanos(start.elapsed()) };
                drop(written);
                turn.0.store(round * 2 + 2, Ordering::Release);
            }
            write.join().map_err(|_| "the other side panicked")??;
            Ok(time / rounds as f64)
        })
    }))
}
