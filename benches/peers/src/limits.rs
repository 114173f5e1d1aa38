//! What no channel can be faster than.

use std::hint::{black_box, spin_loop};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Instant;

use crate::Failure;
use crate::cores::{self, Cores, Line};
use crate::samples::{Ready, nanos};

type Limit = Result<Box<dyn Ready>, Failure>;

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
