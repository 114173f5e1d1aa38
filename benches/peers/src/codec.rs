//! The codec alone, without any channel: this crate's, and plain bincode, which no channel that uses it
//! can be faster than.
//!
//! In a process of one thread, as senders and receivers are: the allocator takes locks in others, which
//! makes decoding half as slow again.

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use sysv_channel::codec::{Bincode, Codec, Reader, Writer};

use crate::Failure;
use crate::cores::Cores;
use crate::figures::{Offer, Start};
use crate::process::Server;
use crate::samples::{Ready, nanos};
use crate::stop::spin;
use crate::values::{Order, Small};
use crate::ways::Memory;

/// What is done with the small struct.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Work {
    /// It is encoded into memory that is there.
    Encode,
    /// It is decoded from such memory.
    Decode,
}

pub const OWN: &str = "this crate";
pub const PLAIN: &str = "plain bincode";

/// Nanoseconds each, of many.
type Time = Result<f64, Failure>;

/// Which sample is asked for, which was taken, and what it says.
const WORDS: [usize; 3] = [0, 64, 72];
const STOP: u64 = u64::MAX;

struct Alone {
    words: Arc<Memory>,
    round: u64,
    server: Server,
}

pub fn offers(cores: Cores, work: Work) -> Vec<Offer> {
    let offer = |peer| {
        let start: Start = Box::new(move || start(cores, work, peer));
        Offer { peer, yields: false, start: Ok(start) }
    };
    vec![offer(OWN), offer(PLAIN)]
}

pub fn start(cores: Cores, work: Work, peer: &str) -> Result<Box<dyn Ready>, Failure> {
    check_same_bytes()?;
    let words = Memory::make(0)?;
    let part = ["codec", peer, &format!("{work:?}"), &words.path()];
    let server = Server::start(cores.other, &part)?;
    let mut alone = Alone { words, round: 0, server };
    alone.sample()?;
    Ok(Box::new(alone))
}

/// Otherwise they would do different work.
fn check_same_bytes() -> Result<(), Failure> {
    let (mut own, mut plain) = ([0; Order::LEN], [0; Order::LEN]);
    let order = Order::new(7);
    let mut out = Writer::new(&mut own);
    Bincode::encode(&order, &mut out)?;
    let lens = (out.len(), order.encode(&mut plain)?);
    if lens != (Order::LEN, Order::LEN) || own != plain {
        return Err(format!("{OWN} encodes to {own:x?}, {PLAIN} to {plain:x?}").into());
    }
    Ok(())
}

impl Ready for Alone {
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

/// Plays the process of one thread.
pub fn serve(peer: &str, work: &str, memory: &str) -> Result<(), Failure> {
    let work = [Work::Encode, Work::Decode].into_iter().find(|which| format!("{which:?}") == work);
    let time = match (peer, work) {
        (OWN, Some(Work::Encode)) => encode_own,
        (OWN, Some(Work::Decode)) => decode_own,
        (PLAIN, Some(Work::Encode)) => encode_plain,
        (PLAIN, Some(Work::Decode)) => decode_plain,
        _ => return Err("there is no such codec".into()),
    };
    let words = Memory::open(memory, 0)?;
    let [asked, taken, result] = WORDS.map(|word| words.word(word));
    let mut last = 0;
    loop {
        last = spin(|| Ok(Some(asked.load(Ordering::Acquire)).filter(|&round| round != last)))?;
        if last == STOP {
            return Ok(());
        }
        result.store(time()?.to_bits(), Ordering::Relaxed);
        taken.store(last, Ordering::Release);
    }
}

#[inline]
fn each(mut once: impl FnMut() -> Result<(), Failure>) -> Time {
    const ROUNDS: u32 = 20_000;
    let start = Instant::now();
    for _ in 0..ROUNDS {
        once()?;
    }
    Ok(nanos(start.elapsed()) / f64::from(ROUNDS))
}

fn encode_own() -> Time {
    let (order, mut memory) = (Order::new(7), [0; Order::LEN]);
    each(|| {
        let mut out = Writer::new(black_box(&mut memory));
        Bincode::encode(black_box(&order), &mut out)?;
        black_box(out.len());
        Ok(())
    })
}

fn encode_plain() -> Time {
    let (order, mut memory) = (Order::new(7), [0; Order::LEN]);
    each(|| {
        black_box(black_box(&order).encode(black_box(&mut memory))?);
        Ok(())
    })
}

/// The struct as it is encoded, by either.
fn encoded() -> Result<[u8; Order::LEN], Failure> {
    let mut memory = [0; Order::LEN];
    Order::new(7).encode(&mut memory)?;
    Ok(memory)
}

fn decode_own() -> Time {
    let memory = encoded()?;
    each(|| {
        let order: Order = Bincode::decode(Reader::new(black_box(&memory)))?;
        black_box(order);
        Ok(())
    })
}

fn decode_plain() -> Time {
    let memory = encoded()?;
    each(|| {
        black_box(Order::decode(black_box(&memory))?);
        Ok(())
    })
}
