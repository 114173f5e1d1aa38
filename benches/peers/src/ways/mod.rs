//! One way: a stream from one side to the other, or a value there and one back over two channels.
//!
//! A peer is a file that implements [`Way`] for those kinds of values that it can carry.

mod bare;
mod iceoryx;
mod inside;
mod ipc;
mod ipmpsc;
mod msg;
mod own;
mod pair;
mod sem;
mod streams;

pub use bare::Memory;

use serde::{Deserialize, Serialize};
use sysv_channel::codec::Bytes;

use crate::cores::Cores;
use crate::figures::{Offer, Start};
use crate::values::{Lent, Order, Tick, Value, Wait};
use crate::{Failure, codec, limits};

/// What is done with the values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Shape {
    /// One there, one back.
    RoundTrip,
    /// Many there, and an answer after the last.
    Stream,
    /// The same from senders that are a thread each.
    FanIn,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Setting {
    pub shape: Shape,
    pub wait: Wait,
    pub one_core: bool,
    pub senders: usize,
    /// The length of bytes.
    pub len: usize,
}

/// Two channels for values of one kind, from this process to another and back.
pub trait Way<V: Value>: 'static {
    const NAME: &'static str;
    /// What this side holds before the other is started.
    type Meeting;
    type Tx: Tx<V> + Send;
    type Rx: Rx<V>;

    /// Prepares a place to meet; its address is told to the other side.
    fn meet(setting: Setting) -> Result<(Self::Meeting, String), Failure>;

    /// Joins as the other side, in a process of its own.
    fn join(address: &str, setting: Setting) -> Result<(Self::Tx, Self::Rx), Failure>;

    /// Connects as many senders as are wanted, and the receiver, to the other side that was started.
    fn connect(
        meeting: Self::Meeting,
        setting: Setting,
    ) -> Result<(Vec<Self::Tx>, Self::Rx), Failure>;
}

/// A channel between two threads.
pub trait Inside<V: Value>: 'static {
    const NAME: &'static str;
    type Tx: Tx<V> + Send;
    type Rx: Rx<V> + Send;

    fn channel(setting: Setting) -> (Vec<Self::Tx>, Self::Rx);
}

/// Where values go in.
pub trait Tx<V> {
    /// Waits while there is no room.
    fn send(&mut self, value: &V) -> Result<(), Failure>;

    /// Lets go of what it may have kept back.
    fn flush(&mut self) -> Result<(), Failure> {
        Ok(())
    }
}

/// Where they come out.
pub trait Rx<V> {
    /// Waits for a value, brings all of it in, and says its id.
    fn recv(&mut self) -> Result<u64, Failure>;
}

/// The kinds of figures, by who can take part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Field {
    /// The small struct, on two cores.
    Orders,
    /// Plain old data, on two cores.
    Ticks,
    /// Bytes from a vector to a vector.
    Owned,
    /// The same, through rings of several capacities.
    Capacity,
    /// Bytes in the channel's memory.
    InPlace,
    /// The same, without bringing them there and looking at them.
    HandOver,
    /// The small struct, on one core.
    OneCore,
    FanIn,
    /// The small struct there and back as in calls, beside them.
    InCalls,
}

impl Field {
    const ALL: [Field; 9] = [
        Field::Orders,
        Field::Ticks,
        Field::Owned,
        Field::Capacity,
        Field::InPlace,
        Field::HandOver,
        Field::OneCore,
        Field::FanIn,
        Field::InCalls,
    ];
}

/// A peer that takes part.
struct Part {
    name: &'static str,
    senders: usize,
    start: fn(Cores, Setting, &'static str, Field) -> pair::Started,
    serve: fn(&str, Setting) -> Result<(), Failure>,
}

enum Entry {
    Part(Part),
    Limit(&'static str, fn(Cores, Setting) -> pair::Started),
    /// One that cannot, and why.
    Cannot(&'static str, &'static str),
}

const fn way<W: Way<V>, V: Value>() -> Entry {
    named::<W, V>(W::NAME, 1)
}

const fn named<W: Way<V>, V: Value>(name: &'static str, senders: usize) -> Entry {
    let (start, serve) = (pair::start::<W, V>, pair::serve::<W, V>);
    Entry::Part(Part { name, senders, start, serve })
}

const fn inside<W: Inside<V>, V: Value>() -> Entry {
    Entry::Limit(W::NAME, pair::start_inside::<W, V>)
}

/// This crate's, with rings of so many KiB.
const fn ring_of<const KIB: usize>(name: &'static str, len: usize) -> Entry {
    if len * 2 < KIB << 10 {
        named::<own::RingOf<KIB>, Bytes>(name, 1)
    } else {
        Entry::Cannot(name, "it goes in fragments: it is longer than half of the ring")
    }
}

/// The only one in [`Field::InCalls`].
pub const IN_CALLS: &str = "ring only, round trip";

const MOVES_POINTERS: &str = "in one process a pointer is moved, no bytes";
const NO_MEMORY: &str = "lends no memory";
const NOT_BUILT: &str = "its receive looks time and again, it cannot sleep";

fn entries(field: Field, len: usize) -> Vec<Entry> {
    use Entry::{Cannot, Limit};
    match field {
        Field::Orders => vec![
            way::<own::Ring, Order>(),
            Limit("bincode decode alone", |cores, _| {
                codec::start(cores, codec::Work::Decode, codec::PLAIN)
            }),
            way::<bare::Bare, Order>(),
            inside::<inside::Rtrb, Order>(),
            inside::<inside::Crossbeam, Order>(),
            way::<own::Mixed, Order>(),
            way::<ipmpsc::Ipmpsc, Order>(),
            way::<iceoryx::Iceoryx, Tick>(),
            way::<ipc::IpcChannel, Order>(),
            way::<streams::Unix, Order>(),
            way::<streams::UnixBuffered, Order>(),
            way::<streams::Pipe, Order>(),
            way::<msg::Msg, Order>(),
            Cannot("semop", "carries no values"),
        ],
        Field::Ticks => vec![
            way::<own::Ring, Tick>(),
            way::<bare::Bare, Tick>(),
            inside::<inside::Rtrb, Tick>(),
            inside::<inside::Crossbeam, Tick>(),
            way::<ipmpsc::Ipmpsc, Tick>(),
            way::<iceoryx::Iceoryx, Tick>(),
            way::<ipc::IpcChannel, Tick>(),
            way::<streams::UnixBuffered, Tick>(),
            way::<streams::Pipe, Tick>(),
        ],
        Field::Owned => {
            let mut entries = vec![
                way::<own::Ring, Bytes>(),
                way::<own::Mixed, Bytes>(),
                Limit("copy, other core", |cores, setting| limits::cross_copy(cores, setting.len)),
                Limit("copy, hot", |_, setting| limits::hot_copy(setting.len)),
                way::<bare::Bare, Bytes>(),
                way::<ipmpsc::Ipmpsc, Bytes>(),
                way::<iceoryx::Iceoryx, Bytes>(),
                way::<ipc::IpcChannel, Bytes>(),
                way::<streams::Unix, Bytes>(),
                way::<streams::Pipe, Bytes>(),
            ];
            entries.push(if len <= msg::LONGEST {
                way::<msg::Msg, Bytes>()
            } else {
                Cannot("msgsnd, msgrcv", "longer than kernel.msgmax")
            });
            entries.extend([Cannot("rtrb", MOVES_POINTERS), Cannot("crossbeam", MOVES_POINTERS)]);
            entries
        }
        Field::Capacity => vec![
            named::<own::Ring, Bytes>("default", 1),
            ring_of::<64>("64 KiB", len),
            ring_of::<256>("256 KiB", len),
            ring_of::<1024>("1 MiB", len),
            ring_of::<4096>("4 MiB", len),
            ring_of::<16384>("16 MiB", len),
        ],
        Field::InPlace => vec![
            way::<own::Ring, Lent<true>>(),
            way::<bare::Bare, Lent<true>>(),
            way::<ipmpsc::Ipmpsc, Lent<true>>(),
            way::<iceoryx::Iceoryx, Lent<true>>(),
            way::<ipc::IpcChannel, Lent<true>>(),
            Cannot("unix stream", NO_MEMORY),
            Cannot("pipe", NO_MEMORY),
            Cannot("msgsnd, msgrcv", NO_MEMORY),
        ],
        Field::HandOver => vec![
            way::<own::Ring, Lent<false>>(),
            way::<bare::Bare, Lent<false>>(),
            way::<iceoryx::Iceoryx, Lent<false>>(),
            Cannot("ipmpsc", "a sender copies in"),
            Cannot("ipc-channel", "a sender copies in"),
        ],
        Field::OneCore => vec![
            way::<own::Ring, Order>(),
            way::<sem::Sem, Order>(),
            way::<own::Mixed, Order>(),
            way::<own::BareQueue, Order>(),
            way::<msg::Msg, Order>(),
            inside::<inside::Crossbeam, Order>(),
            way::<ipmpsc::Ipmpsc, Order>(),
            way::<iceoryx::Iceoryx, Tick>(),
            way::<ipc::IpcChannel, Order>(),
            way::<streams::Unix, Order>(),
            way::<streams::Pipe, Order>(),
            Cannot("rtrb", NOT_BUILT),
            Cannot("bare memory", NOT_BUILT),
        ],
        Field::FanIn => vec![
            named::<own::Ring, Order>("ring only, 16", 16),
            named::<own::Ring, Order>("ring only, 1", 1),
            named::<own::Mixed, Order>("mixed, 16", 16),
            named::<own::Mixed, Order>("mixed, 1", 1),
            named::<ipc::IpcChannel, Order>("ipc-channel, 16", 16),
            named::<ipc::IpcChannel, Order>("ipc-channel, 1", 1),
            named::<ipmpsc::Ipmpsc, Order>("ipmpsc, 16", 16),
            named::<ipmpsc::Ipmpsc, Order>("ipmpsc, 1", 1),
            named::<msg::Msg, Order>("msgsnd, 16", 16),
            named::<msg::Msg, Order>("msgsnd, 1", 1),
            Cannot("rtrb", "one sender"),
        ],
        Field::InCalls => vec![named::<own::Ring, Order>(IN_CALLS, 1)],
    }
}

/// All that there are.
pub fn offers(cores: Cores, setting: Setting, field: Field) -> Vec<Offer> {
    let offer = |entry| match entry {
        Entry::Part(Part { name, senders, start, .. }) => {
            let setting = Setting { senders, ..setting };
            let start: Start = Box::new(move || start(cores, setting, name, field));
            Offer { peer: name, yields: false, start: Ok(start) }
        }
        Entry::Limit(peer, start) => {
            Offer { peer, yields: false, start: Ok(Box::new(move || start(cores, setting))) }
        }
        Entry::Cannot(peer, why) => Offer { peer, yields: false, start: Err(why) },
    };
    entries(field, setting.len).into_iter().map(offer).collect()
}

/// Plays the other side of one, as a process of its own.
pub fn serve(peer: &str, field: &str, setting: &str, address: &str) -> Result<(), Failure> {
    let setting: Setting = serde_json::from_str(setting)?;
    let field = Field::ALL.into_iter().find(|which| format!("{which:?}") == field);
    let entries = field.map_or_else(Vec::new, |field| entries(field, setting.len));
    let part = entries.into_iter().find_map(|entry| match entry {
        Entry::Part(part) if part.name == peer => Some(part),
        _ => None,
    });
    (part.ok_or("there is no such peer")?.serve)(address, setting)
}
