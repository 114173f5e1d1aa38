//! Create a channel in one process, open it in another, and bring the first value across: beside
//! the system calls that anything made of the same three objects needs for it.
//!
//! Both processes run already, and meet over bare memory. What it takes to close and remove is not
//! timed.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use sysv_channel::{Channel, Receiver, Sender};

use crate::Failure;
use crate::cores::Cores;
use crate::figures::{Offer, Start};
use crate::process::{Server, unused_name};
use crate::samples::{Ready, nanos};
use crate::stop::spin;
use crate::syscalls::Objects;
use crate::values::Order;
use crate::ways::Memory;

/// Channels for a sample.
const ROUNDS: u64 = 8;
const STOP: u64 = u64::MAX;

/// A way to open.
trait Kind {
    const NAME: &'static str;
    /// What the creator keeps.
    type Created;
    /// What the other keeps.
    type Opened;

    fn create(name: &str, round: u64) -> Result<Self::Created, Failure>;
    /// The first value.
    fn send(created: &Self::Created, value: u64) -> Result<(), Failure>;
    /// The other side, and what came.
    fn receive(name: &str, round: u64) -> Result<(Self::Opened, u64), Failure>;
}

struct Own;

impl Kind for Own {
    const NAME: &'static str = "channel";
    type Created = Sender<Order>;
    type Opened = Receiver<Order>;

    fn create(name: &str, round: u64) -> Result<Sender<Order>, Failure> {
        Ok(Channel::create(format!("{name} {round}"))?.sender()?)
    }

    fn send(created: &Sender<Order>, value: u64) -> Result<(), Failure> {
        Ok(created.send(&Order::new(value))?)
    }

    fn receive(name: &str, round: u64) -> Result<(Receiver<Order>, u64), Failure> {
        let rx = Channel::<Order>::open(format!("{name} {round}"))?.receiver()?;
        let id = rx.recv()?.id;
        Ok((rx, id))
    }
}

struct Bare;

impl Kind for Bare {
    const NAME: &'static str = "bare system calls";
    type Created = Objects;
    type Opened = Objects;

    fn create(_: &str, round: u64) -> Result<Objects, Failure> {
        Objects::create(round)
    }

    fn send(created: &Objects, value: u64) -> Result<(), Failure> {
        created.send(value)
    }

    fn receive(name: &str, round: u64) -> Result<(Objects, u64), Failure> {
        let objects = Objects::open(name, round)?;
        let value = objects.receive()?;
        Ok((objects, value))
    }
}

/// The words of the memory by which both sides go together.
struct Words(Arc<Memory>);

impl Words {
    /// The round that this side has created for.
    fn created(&self) -> &AtomicU64 {
        self.0.word(0)
    }

    /// The last round whose value came, and the last that was closed, one above.
    fn received(&self) -> &AtomicU64 {
        self.0.word(64)
    }

    fn closed(&self) -> &AtomicU64 {
        self.0.word(72)
    }
}

fn wait_for(word: &AtomicU64, value: u64) -> Result<(), Failure> {
    spin(|| Ok((word.load(Ordering::Acquire) == value).then_some(())))
}

struct Opening {
    sample: fn(&mut Opening) -> Result<f64, Failure>,
    words: Words,
    name: String,
    round: u64,
    server: Server,
}

fn start<K: Kind>(cores: Cores) -> Result<Box<dyn Ready>, Failure> {
    let words = Words(Memory::make(0)?);
    let name = unused_name();
    let server = Server::start(cores.other, &["open", K::NAME, &name, &words.0.path()])?;
    let mut opening = Opening { sample: sample::<K>, words, name, round: 0, server };
    opening.sample()?;
    Ok(Box::new(opening))
}

fn sample<K: Kind>(opening: &mut Opening) -> Result<f64, Failure> {
    let Opening { words, name, round, .. } = opening;
    let mut time = 0.0;
    for _ in 0..ROUNDS {
        *round += 1;
        let start = Instant::now();
        let created = K::create(name, *round)?;
        words.created().store(*round, Ordering::Release);
        K::send(&created, *round)?;
        wait_for(words.received(), *round)?;
        time += nanos(start.elapsed());
        drop(created);
        wait_for(words.closed(), *round)?;
    }
    Ok(time / ROUNDS as f64)
}

impl Ready for Opening {
    fn sample(&mut self) -> Result<f64, Failure> {
        self.server.go_on()?;
        let done = (self.sample)(self);
        self.server.stand_still()?;
        done
    }

    fn end(self: Box<Self>) -> Result<(), Failure> {
        self.words.created().store(STOP, Ordering::Release);
        self.server.go_on()?;
        self.server.end()
    }
}

pub fn offers(cores: Cores) -> Vec<Offer> {
    fn offer<K: Kind + 'static>(cores: Cores) -> Offer {
        let start: Start = Box::new(move || start::<K>(cores));
        Offer { peer: K::NAME, yields: false, start: Ok(start) }
    }
    vec![offer::<Own>(cores), offer::<Bare>(cores)]
}

/// Plays the other side.
pub fn serve(kind: &str, name: &str, memory: &str) -> Result<(), Failure> {
    let words = Words(Memory::open(memory, 0)?);
    match kind {
        Own::NAME => receive::<Own>(&words, name),
        Bare::NAME => receive::<Bare>(&words, name),
        _ => Err("there is no such way to open".into()),
    }
}

fn receive<K: Kind>(words: &Words, name: &str) -> Result<(), Failure> {
    for round in 1.. {
        let created = spin(|| match words.created().load(Ordering::Acquire) {
            created if created >= round => Ok(Some(created)),
            _ => Ok(None),
        })?;
        if created == STOP {
            break;
        }
        let (opened, value) = K::receive(name, round)?;
        if value != round {
            return Err(format!("value {round} was due, {value} came").into());
        }
        words.received().store(round, Ordering::Release);
        drop(opened);
        words.closed().store(round, Ordering::Release);
    }
    Ok(())
}
