//! Memory and messages as written by an attacker who has the same permission: whatever stands
//! there, nobody panics, aborts, hangs, grows or takes what is too long; everybody is told.

#![cfg(not(loom))]

mod common;

use std::collections::BTreeMap;
use std::fmt::{Debug, Display};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use common::kernel::{self, Kind, Mapping, Object};
use common::{Parcel, Shape, Stage, at_any_moment, listen, play, random, say, until};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sysv_channel::rpc::{
    BindError, CallError, Client, ClientOptions, ConnectError, ReplyError, ServeError, Server,
    ServerOptions,
};
use sysv_channel::{
    AttachError, Channel, DefaultCodec, Message, OpenError, Options, Receiver, RecvError, Schema,
    Select, SendError, Sender, Tag,
};

const SHORT: Duration = Duration::from_millis(20);

/// The longest value, encoded.
const MAX_VALUE: usize = 70_000;

/// What no process of these tests comes near.
const ADDRESS_SPACE: u64 = 1 << 30;
const MEMORY_KIB: u64 = 128 << 10;

/// The parts that this binary plays when it is started as a child.
#[test]
fn child() {
    play(|role, arguments| {
        let (name, shape) = (arguments[0], arguments.get(1).map(|shape| Shape::named(shape)));
        kernel::limit_address_space(ADDRESS_SPACE);
        thread::spawn(|| {
            listen();
            ENOUGH.store(true, Ordering::Relaxed);
        });
        let mut tally = Tally::default();
        match (role, shape) {
            ("send", Some(shape)) => send(name, shape, &mut tally),
            ("receive", Some(shape)) => receive(name, shape, &mut tally),
            ("call", None) => call(name, &mut tally),
            ("serve", None) => serve(name, &mut tally),
            _ => unreachable!("no such role: {role}, {shape:?}"),
        }
        let peak = kernel::peak_memory();
        assert!(peak < MEMORY_KIB, "{role}: {peak} KiB");
        tally.0.iter().for_each(|(what, count)| say(format_args!("{count} {what}")));
    });
}

/// Set when the parent has had enough.
static ENOUGH: AtomicBool = AtomicBool::new(false);

fn go_on() -> bool {
    !ENOUGH.load(Ordering::Relaxed)
}

// ---------------------------------------------------------------------- what is sent

/// A value that meets every part of a decoder.
#[derive(Serialize, Deserialize)]
struct Load {
    parcel: Parcel,
    numbers: Vec<u32>,
    text: Option<String>,
    part: Part,
}

#[derive(Serialize, Deserialize)]
enum Part {
    Nothing,
    One(u8),
    Pair { left: Box<[u16]>, right: char },
}

impl Load {
    fn new(shape: Shape, id: u64) -> Load {
        Load::of(id, shape.some_len(id).saturating_sub(100))
    }

    fn of(id: u64, len: usize) -> Load {
        let few = id % 5;
        Load {
            parcel: Parcel::new(1, id, len),
            numbers: (0..few as u32).collect(),
            text: (few > 2).then(|| "text".repeat(few as usize)),
            part: match id % 3 {
                0 => Part::Nothing,
                1 => Part::One(1),
                _ => Part::Pair { left: Box::new([2, 3]), right: 'r' },
            },
        }
    }

    /// No less than this many bytes were decoded.
    fn len(&self) -> usize {
        let part = match &self.part {
            Part::Pair { left, .. } => 2 * left.len(),
            _ => 0,
        };
        self.parcel.len()
            + 4 * self.numbers.len()
            + self.text.as_ref().map_or(0, String::len)
            + part
    }
}

/// What goes by queue alone has several receivers.
fn options(shape: Shape) -> Options<Load, DefaultCodec> {
    shape.options().max_value(MAX_VALUE as u64).receivers(Map::of(shape).receivers)
}

// ---------------------------------------------------------------------- who is attacked

/// How often what happened.
#[derive(Default)]
struct Tally(BTreeMap<String, u64>);

impl Tally {
    fn count(&mut self, what: &str) {
        *self.0.entry(what.to_owned()).or_default() += 1;
    }

    /// Counts an error, which must be one of those that are expected and say what is wrong.
    fn error(&mut self, call: &str, error: impl Display + Debug, expected: bool) {
        let text = error.to_string();
        assert!(expected && text.len() > 15, "{call}: {text:?}: {error:?}");
        let kind = format!("{error:?}");
        let kind = kind.split([' ', '(']).next().unwrap_or_default();
        self.count(&format!("{call}: {kind}"));
    }

    fn open(&mut self, shape: Shape, name: &str) -> Option<Channel<Load>> {
        match options(shape).open(name) {
            Ok(channel) => Some(channel),
            Err(error) => {
                let expected = is_of_a_scribbled_channel(&error);
                self.error("open", error, expected);
                thread::yield_now();
                None
            }
        }
    }

    fn attached<E>(&mut self, attached: Result<E, AttachError>) -> Option<E> {
        match attached {
            Ok(end) => Some(end),
            Err(error) => {
                let expected = matches!(
                    error,
                    AttachError::Corrupt { .. }
                        | AttachError::Removed { .. }
                        | AttachError::LanesExhausted { .. }
                );
                self.error("attach", error, expected);
                None
            }
        }
    }

    /// Counts the outcome of sending; whether this sender is worth another call.
    fn sent(&mut self, sent: Result<(), SendError>) -> bool {
        let Err(error) = sent else {
            self.count("sent");
            return true;
        };
        let (expected, goes_on) = match error {
            SendError::Full { .. } | SendError::Timeout { .. } | SendError::NeedsWaiting { .. } => {
                (true, true)
            }
            SendError::Corrupt { .. } => (true, random(2) == 0),
            // What it is created for stands in the header.
            SendError::Disconnected { .. }
            | SendError::Removed { .. }
            | SendError::TooLong { .. } => (true, false),
            _ => (false, false),
        };
        self.error("send", error, expected);
        goes_on
    }

    /// Counts the outcome of receiving; whether this receiver is worth another call.
    fn received(&mut self, received: Result<Load, RecvError>) -> bool {
        match received {
            Ok(load) => {
                assert!(load.len() <= MAX_VALUE, "{} bytes", load.len());
                self.count(if load.parcel.is_whole() { "received" } else { "received, changed" });
                true
            }
            Err(error) => self.not_received(error),
        }
    }

    fn not_received(&mut self, error: RecvError) -> bool {
        let (expected, goes_on) = match error {
            RecvError::Empty { .. } | RecvError::Timeout { .. } | RecvError::Decode { .. } => {
                (true, true)
            }
            RecvError::Corrupt { .. } => (true, random(8) > 0),
            // Whether there is a queue stands in the header.
            RecvError::Disconnected { .. }
            | RecvError::Removed { .. }
            | RecvError::SlotsFull { .. }
            | RecvError::NoSelection { .. } => (true, false),
            _ => (false, false),
        };
        self.error("receive", error, expected);
        goes_on
    }
}

/// What no user of a channel is told unless the channel's memory was written over or removed.
fn is_of_a_scribbled_channel(error: &OpenError) -> bool {
    matches!(
        error,
        OpenError::NotFound { .. }
            | OpenError::Corrupt { .. }
            | OpenError::KeyCollision { .. }
            | OpenError::WrongVersion { .. }
            | OpenError::WrongMode { .. }
            | OpenError::WrongType { .. }
            | OpenError::WrongCodec { .. }
            | OpenError::LongerValues { .. }
            | OpenError::System(_)
    )
}

fn send(name: &str, shape: Shape, tally: &mut Tally) {
    let mut id = 0;
    while go_on() {
        let Some(channel) = tally.open(shape, name) else { continue };
        let Some(tx) = tally.attached(channel.sender()) else { continue };
        for _ in 0..random(300) {
            id += 1;
            let load = Load::new(shape, id);
            let tag = Tag::new(1 + random(3) as i64).unwrap();
            let sent = match random(3) {
                0 => tx.try_send_tagged(tag, &load),
                1 => tx.send_timeout(&load, SHORT),
                _ => tx.send_tagged_timeout(tag, &load, SHORT),
            };
            if !tally.sent(sent) || !go_on() {
                break;
            }
        }
    }
}

fn receive(name: &str, shape: Shape, tally: &mut Tally) {
    while go_on() {
        let Some(channel) = tally.open(shape, name) else { continue };
        let Some(rx) = tally.attached(channel.receiver()) else { continue };
        for _ in 0..random(300) {
            let selects = match random(8) {
                _ if shape == Shape::RingOnly => Select::Any,
                0 => Select::Exactly(Tag::new(2).unwrap()),
                1 => Select::UpTo(Tag::new(2).unwrap()),
                2 => Select::Except(Tag::DEFAULT),
                _ => Select::Any,
            };
            let message = |message: Message<Load>| message.value;
            let received = match random(4) {
                0 => rx.try_recv_matching(selects).map(message),
                1 if shape == Shape::QueueOnly => {
                    match rx.recv_guard_timeout(SHORT) {
                        // Given back.
                        Ok(job) if random(2) == 0 => {
                            assert!(job.len() <= MAX_VALUE, "{} bytes", job.len());
                            continue;
                        }
                        job => job.map(|job| job.done()),
                    }
                }
                _ => rx.recv_matching_timeout(selects, SHORT).map(message),
            };
            let goes_on = tally.received(received);
            if !goes_on || !go_on() {
                break;
            }
        }
    }
}

// ---------------------------------------------------------------------- a server and its clients

fn server_options() -> ServerOptions {
    ServerOptions::new()
        .clients(Map::SERVER.lanes)
        .capacity(Map::SERVER.ring_lines * LINE)
        .reply_capacity(Map::SERVER.return_lines * LINE)
        .max_value(MAX_VALUE as u64)
        .drain(SHORT)
}

fn client_options() -> ClientOptions {
    ClientOptions::new().max_value(MAX_VALUE as u64).deadline(SHORT).wait_for_server(SHORT)
}

fn call(name: &str, tally: &mut Tally) {
    let mut id = 0;
    while go_on() {
        let client: Client<Load, Load> = match client_options().connect(name) {
            Ok(client) => client,
            Err(error) => {
                let expected = match &error {
                    ConnectError::NotFound { .. }
                    | ConnectError::LongerValues { .. }
                    | ConnectError::TooManyClients { .. }
                    | ConnectError::Attach(
                        AttachError::Corrupt { .. } | AttachError::Removed { .. },
                    ) => true,
                    ConnectError::Open(error) => is_of_a_scribbled_channel(error),
                    _ => false,
                };
                tally.error("connect", error, expected);
                continue;
            }
        };
        for _ in 0..random(100) {
            id += 1;
            let request = Load::of(id, [10, 100, 1000, 30_000][below(4)]);
            let called = match random(3) {
                0 => client.try_call(&request),
                1 => client.start(&request).and_then(|call| call.wait()),
                _ => client.call(&request),
            };
            match called {
                Ok(load) => {
                    assert!(load.len() <= MAX_VALUE, "{} bytes", load.len());
                    let whole = load.parcel.is_whole();
                    tally.count(if whole { "replied" } else { "replied, changed" });
                }
                Err(error) => {
                    let expected = !matches!(
                        error,
                        CallError::OwnServer { .. }
                            | CallError::Reentrant { .. }
                            | CallError::Panicked { .. }
                    );
                    tally.error("call", error, expected);
                    if random(8) == 0 {
                        break;
                    }
                }
            }
            if !go_on() {
                break;
            }
        }
    }
}

fn serve(name: &str, tally: &mut Tally) {
    while go_on() {
        let server: Server<Load, Load> = match server_options().bind(name) {
            Ok(server) => server,
            Err(error) => {
                let expected = match &error {
                    BindError::Open(OpenError::OtherOptions { .. })
                    | BindError::LongerValues { .. } => true,
                    BindError::Open(error) => is_of_a_scribbled_channel(error),
                    BindError::Attach(
                        AttachError::Corrupt { .. } | AttachError::Removed { .. },
                    ) => true,
                    _ => false,
                };
                tally.error("bind", error, expected);
                thread::yield_now();
                continue;
            }
        };
        for _ in 0..random(300) {
            match server.recv_timeout(SHORT) {
                Ok(Some(request)) => {
                    assert!(request.query().len() <= MAX_VALUE);
                    let reply = Load::of(1, [10, 3000, 40_000][below(3)]);
                    match request.reply(&reply) {
                        Ok(()) => tally.count("answered"),
                        Err(error) => {
                            let expected = matches!(
                                error,
                                ReplyError::ClientGone { .. }
                                    | ReplyError::Full { .. }
                                    | ReplyError::TooLong { .. }
                                    | ReplyError::Send(SendError::Corrupt { .. })
                            );
                            tally.error("reply", error, expected);
                        }
                    }
                }
                Ok(None) => unreachable!("nobody closes it"),
                Err(ServeError::Timeout { .. }) => tally.count("no request came"),
                Err(error) => {
                    let expected = matches!(
                        error,
                        ServeError::Removed { .. } | ServeError::Receive(RecvError::Corrupt { .. })
                    );
                    tally.error("serve", error, expected);
                    break;
                }
            }
            if !go_on() {
                break;
            }
        }
    }
}

// ---------------------------------------------------------------------- the attacker

/// Where the parts of a channel of these tests stand in its segment, in bytes.
#[derive(Clone, Copy)]
struct Map {
    inline_limit: usize,
    lanes: usize,
    receivers: usize,
    ring_lines: usize,
    return_lines: usize,
}

const LINE: usize = 64;
const BLOCK: usize = 11 * LINE;

/// Words of a lane's block.
const LANE_WORDS: [usize; 21] = [
    0,   // announced
    8,   // sent values
    112, // generation
    120, // owned from
    200, // the owner's mark
    208, // how far the producer may write
    328, // the same on the way back
    64,  // parked
    72,  // long
    80,  // ignored
    88,  // answers wait
    96,  // taken before
    384, // cancelled
    448, // handlers wait until parts are taken
    456, // parts taken of the first stream
    128, // head
    192, // head
    256, // head of the return ring
    320, // head on the way back
    216, // values begun in fragments
    136, // nothing
];

impl Map {
    /// Of a server's channel.
    const SERVER: Map =
        Map { inline_limit: 0, lanes: 4, receivers: 1, ring_lines: 256, return_lines: 64 };

    fn of(shape: Shape) -> Map {
        let (inline_limit, ring_lines, receivers) = match shape {
            Shape::Mixed => (256, 256, 1),
            Shape::RingOnly => (0, 256, 1),
            Shape::QueueOnly => (4096, 0, 3),
        };
        Map { inline_limit, lanes: 4, receivers, ring_lines, return_lines: 0 }
    }

    fn slots(self) -> usize {
        match self.inline_limit {
            0 => 0,
            _ if self.receivers > 1 => self.receivers + 3,
            _ => 16,
        }
    }

    fn slot_words_at(self) -> usize {
        10 * LINE
    }

    fn lanes_at(self) -> usize {
        // Which of several receivers are parked, and the words of each.
        let receivers = if self.receivers > 1 { 1 + self.receivers } else { 0 };
        self.slot_words_at() + (self.slots() + receivers) * LINE
    }

    /// What is remembered of bridges: four links of a line, and 257 entries of 32 bytes each.
    fn links_at(self) -> usize {
        self.lanes_at() + self.lanes * BLOCK
    }

    fn words(self) -> usize {
        self.links_at() + 4 * (LINE + (257 * 32_usize).next_multiple_of(LINE))
    }

    fn slots_at(self) -> usize {
        self.words() + 16_576
    }

    fn slot_size(self) -> usize {
        (8 + 16 + self.inline_limit).next_multiple_of(LINE)
    }

    fn rings_at(self) -> usize {
        (self.slots_at() + self.slots() * self.slot_size()).next_multiple_of(4096)
    }

    fn lane_rings(self) -> usize {
        ((self.ring_lines + self.return_lines) * LINE).next_multiple_of(4096)
    }

    fn size(self) -> usize {
        self.rings_at() + self.lanes * self.lane_rings()
    }
}

/// One that writes what it likes.
struct Scribbler {
    map: Map,
    memory: Mapping,
    queue: Option<Object>,
}

impl Scribbler {
    fn new(stage: &Stage, shape: Shape) -> Scribbler {
        Scribbler::on(stage, Map::of(shape)).unwrap()
    }

    /// None where there is no such channel, or none any more.
    fn on(stage: &Stage, map: Map) -> Option<Scribbler> {
        let objects = stage.objects();
        let object = |kind| objects.iter().copied().find(|object| object.kind == kind);
        let memory = Mapping::of(object(Kind::Segment)?, map.size())?;
        Some(Scribbler { map, memory, queue: object(Kind::Queue) })
    }

    fn get(&self, at: usize) -> u64 {
        self.memory.word(at).load(Ordering::Relaxed)
    }

    fn set(&self, at: usize, value: u64) {
        self.memory.word(at).store(value, Ordering::Relaxed);
    }

    /// Writes a word that may mean something.
    fn spoil(&self, at: usize) {
        let old = self.get(at);
        self.set(at, odd(old));
    }

    /// A lane's ring, or its way back, if there are any: where its lines and its head are.
    fn some_ring(&self) -> Option<(usize, usize, usize)> {
        let map = self.map;
        if map.ring_lines == 0 {
            return None;
        }
        let lane = below(map.lanes);
        let lines_at = map.rings_at() + lane * map.lane_rings();
        let block = map.lanes_at() + lane * BLOCK;
        if map.return_lines == 0 || random(3) > 0 {
            Some((lines_at, map.ring_lines, block + 128))
        } else {
            Some((lines_at + map.ring_lines * LINE, map.return_lines, block + 256))
        }
    }

    /// A record near the oldest one, with a stamp that counts.
    fn forge_record(&self) {
        let Some((lines_at, lines, head_at)) = self.some_ring() else { return };
        let mut position = self.get(head_at);
        for _ in 0..1 + random(4) {
            let line = lines_at + position as usize % lines * LINE;
            let len = match random(6) {
                0 => random(u64::from(u32::MAX)),
                1 => random(1 << 20),
                2 => (lines * LINE) as u64 - random(100),
                _ => random(400),
            };
            let flags = match random(4) {
                0 => random(256),
                other => other,
            };
            let tag = if random(3) == 0 { random(1 << 24) } else { 1 };
            self.set(line + 8, len | tag << 32 | flags << 56);
            let marks = if random(2) == 0 { 0 } else { random(8) << 61 };
            self.set(line, position.wrapping_add(1) | marks);
            position = position.wrapping_add((16 + len).div_ceil(LINE as u64));
        }
    }

    fn forge_message(&self) {
        let Some(queue) = self.queue else { return };
        let len = match random(4) {
            0 => below(5000),
            1 => 16,
            _ => below(300),
        };
        let mut text: Vec<u8> = (0..len).map(|_| random(256) as u8).collect();
        if len >= 16 && random(4) > 0 {
            let (kind, len) = if random(2) == 0 { (1, len as u32 - 16) } else { (2, 0) };
            text[..4].copy_from_slice(&len.to_le_bytes());
            text[4..8].copy_from_slice(&[kind, 0, random(5) as u8, 0]);
            if random(2) == 0 {
                let head = self.map.lanes_at() + below(self.map.lanes) * BLOCK + 128;
                let position = self.get(head).wrapping_add(random(40));
                text[8..16].copy_from_slice(&position.to_le_bytes());
            }
        }
        let type_ = if random(4) == 0 { random(i64::MAX as u64) } else { random(3) };
        queue.put(1 + type_ as i64, &text);
    }

    /// A slot's owner that may be a receiver, with a count of times that it was given out.
    fn forge_owner(&self, slot: usize) {
        let words = self.map.slot_words_at() + slot * LINE;
        self.set(words + 16, random(30) << 8 | random(5));
        self.spoil(words + below(2) * 8);
    }

    /// One thing, somewhere.
    fn scribble(&self) {
        let map = self.map;
        let word = |from: usize, to: usize| (from + below(to - from)) & !7;
        match random(13) {
            0 => self.memory.byte(below(map.size())).store(random(256) as u8, Ordering::Relaxed),
            1 => self.memory.byte(below(map.words())).store(random(256) as u8, Ordering::Relaxed),
            2 => self.spoil(word(3 * LINE, map.words())),
            3 | 4 => {
                let lane = map.lanes_at() + below(map.lanes) * BLOCK;
                self.spoil(lane + LANE_WORDS[below(LANE_WORDS.len())]);
            }
            5 => self.spoil(word(3 * LINE, map.lanes_at())),
            6 | 7 => self.forge_record(),
            8 => {
                let Some((lines_at, lines, _)) = self.some_ring() else { return };
                self.spoil(lines_at + below(lines) * LINE + below(2) * 8);
            }
            9 if map.inline_limit > 0 => {
                let slot = below(map.slots());
                match below(2) {
                    0 => self.spoil(map.slots_at() + slot * map.slot_size() + below(3) * 8),
                    _ => self.forge_owner(slot),
                }
            }
            9 => {
                let Some((lines_at, lines, _)) = self.some_ring() else { return };
                let line = lines_at + below(lines) * LINE;
                (0..8).for_each(|at| self.set(line + at * 8, random(u64::MAX)));
            }
            10 if random(40) == 0 => self.spoil(word(0, 3 * LINE)),
            _ => self.forge_message(),
        }
    }
}

/// What may stand in a word that held `old`, for tests that try everything.
fn oddities(old: u64) -> [u64; 6] {
    [0, 1, old.wrapping_add(1), old.wrapping_sub(1), old ^ 1 << 63, u64::MAX]
}

fn below(bound: usize) -> usize {
    random(bound as u64) as usize
}

/// A word that may mean something where `old` stood.
fn odd(old: u64) -> u64 {
    match random(9) {
        0 => 0,
        1 => u64::MAX,
        2 => old.wrapping_add(1 + random(20)),
        3 => old.wrapping_sub(1 + random(20)),
        4 => old ^ 1 << random(64),
        5 => 1 << random(64),
        6 => random(300),
        7 => old | 7 << 61,
        _ => random(u64::MAX),
    }
}

// ---------------------------------------------------------------------- tests

/// How many times something is scribbled on; `SCRIBBLES` sets another number.
fn scribbles() -> u64 {
    let number = std::env::var("SCRIBBLES").ok();
    number.map_or(10_000, |number| number.parse().expect("SCRIBBLES is a number"))
}

#[test]
fn scribbled_memory_and_messages_harm_no_process_mixed() {
    scribble(Shape::Mixed);
}

#[test]
fn scribbled_memory_and_messages_harm_no_process_ring_only() {
    scribble(Shape::RingOnly);
}

#[test]
fn scribbled_memory_and_messages_harm_no_process_queue_only() {
    scribble(Shape::QueueOnly);
}

fn scribble(shape: Shape) {
    let stage = Stage::new("scribbled");
    let arguments = [&*format!("{shape:?}")];
    let roles = ["send", "receive", "send", "receive"];
    // A second receiver where there may be several.
    let roles = if Map::of(shape).receivers > 1 { &roles[..] } else { &roles[..3] };
    let children: Vec<_> = roles.iter().map(|role| stage.child(role, &arguments)).collect();
    let mut left = scribbles();
    while left > 0 {
        // Created anew each time, and it works each time.
        let channel = options(shape).create(stage.name()).unwrap();
        let scribbler = Scribbler::new(&stage, shape);
        let count = left.min(1 + random(400));
        left -= count;
        for _ in 0..count {
            scribbler.scribble();
            if random(10) == 0 {
                at_any_moment(300);
            }
        }
        drop(scribbler);
        if random(2) == 0 {
            drop(channel);
        }
        match Channel::<Load>::unlink(stage.name()) {
            Ok(()) | Err(OpenError::NotFound { .. }) => {}
            // Without its magic nobody can tell whose the segment is.
            Err(OpenError::KeyCollision { .. } | OpenError::WrongMode { .. }) => {}
            Err(error) => panic!("{error}"),
        }
        // A child may be the last user, and remove them in this very moment.
        stage.objects().into_iter().for_each(Object::remove_if_there);
    }
    for mut child in children {
        child.tell("enough");
        println!("{shape:?}: {:?}", child.finish());
    }
}

#[test]
fn scribbled_memory_harms_no_server_and_no_client() {
    let stage = Stage::new("scribbled server");
    let children = ["serve", "call", "call"].map(|role| stage.child(role, &[]));
    let mut left = scribbles();
    while left > 0 {
        // Bound anew each time, and it works each time.
        let mut scribbler = None;
        until(|| {
            scribbler = Scribbler::on(&stage, Map::SERVER);
            scribbler.is_some()
        });
        let count = left.min(1 + random(400));
        left -= count;
        for _ in 0..count {
            scribbler.iter().for_each(Scribbler::scribble);
            if random(10) == 0 {
                at_any_moment(300);
            }
        }
        drop(scribbler);
        stage.objects().into_iter().for_each(Object::remove_if_there);
    }
    for mut child in children {
        child.tell("enough");
        println!("{:?}", child.finish());
    }
    stage.objects().into_iter().for_each(Object::remove_if_there);
}

/// Who comes after the scribbling; the others were there before.
const COME: [&str; 3] = ["nobody", "a sender", "a receiver"];

#[test]
fn channel_goes_on_or_says_why_not_whatever_word_is_scribbled() {
    for shape in Shape::ALL {
        let map = Map::of(shape);
        let words = (3 * LINE..map.lanes_at() + BLOCK).step_by(8);
        let lines = if map.ring_lines > 0 { 24 } else { 0 };
        let lines = (0..lines).map(|line| map.rings_at() + line * LINE);
        let targets = words.chain(lines.flat_map(|line| [line, line + 8]));
        for (at, number) in targets.flat_map(|at| (0..oddities(0).len()).map(move |n| (at, n))) {
            for come in COME {
                let stage = Stage::new("one word");
                let channel = options(shape).create(stage.name()).unwrap();
                let (mut tx, mut rx) =
                    (channel.sender().map(Some).unwrap(), channel.receiver().map(Some).unwrap());
                (0..8).for_each(|id| tx.as_ref().unwrap().send(&Load::new(shape, id)).unwrap());
                (0..4).for_each(|_| drop(rx.as_ref().unwrap().recv().unwrap()));
                match come {
                    "a sender" => tx = None,
                    "a receiver" => rx = None,
                    _ => {}
                }
                let scribbler = Scribbler::new(&stage, shape);
                let new = oddities(scribbler.get(at))[number];
                scribbler.set(at, new);
                let tx = tx.map_or_else(|| channel.sender(), Ok);
                let rx = rx.map_or_else(|| channel.receiver(), Ok);
                match (tx, rx) {
                    (Ok(tx), Ok(rx)) => {
                        let told = goes_on_or_says_so(&tx, &rx, shape);
                        assert!(told, "{shape:?}: {new:x} at {at}, then {come}");
                    }
                    (Err(error), _) | (_, Err(error)) => {
                        assert!(matches!(error, AttachError::Corrupt { .. }), "{error}");
                    }
                }
            }
        }
    }
}

/// Sends and receives by turns, until a value arrives or an error tells why none does.
fn goes_on_or_says_so(tx: &Sender<Load>, rx: &Receiver<Load>, shape: Shape) -> bool {
    let soon = Duration::from_micros(100);
    let mut told = false;
    // More than the channel holds, so that a sender that nobody hears comes to wait for room.
    for round in 0..600 {
        let sent = tx.send_timeout(&Load::new(shape, 1000 + round % 10), soon);
        told |= matches!(sent, Err(SendError::Corrupt { .. } | SendError::Disconnected { .. }));
        match rx.recv_timeout(soon) {
            Ok(load) if load.parcel.id >= 1000 && load.parcel.is_whole() => return true,
            Err(
                RecvError::Corrupt { .. }
                | RecvError::Decode { .. }
                | RecvError::Disconnected { .. },
            ) => {
                told = true;
            }
            _ => {}
        }
        // Time for it to go on all the same.
        if told && round > 100 {
            return true;
        }
    }
    false
}

#[test]
fn receiver_takes_over_slots_with_any_number() {
    let shape = Shape::QueueOnly;
    // One that is alone, and several: of a slot that was given back, and of one that is nobody's.
    for (receivers, tag) in [(1, 0), (3, 1), (3, 0)] {
        let map = Map { receivers, ..Map::of(shape) };
        let stage = Stage::new("slot number");
        let channel = options(shape).receivers(receivers).create(stage.name()).unwrap();
        let tx = channel.sender().unwrap();
        let scribbler = Scribbler::on(&stage, map).unwrap();
        scribbler.set(map.slots_at(), 1);
        scribbler.set(map.slot_words_at(), u64::MAX);
        scribbler.set(map.slot_words_at() + 24, tag);
        tx.send(&Load::new(shape, 1)).unwrap();
        tx.send(&Load::new(shape, 2)).unwrap();
        let rx = channel.receiver().unwrap();
        let received: Vec<_> = (0..3).map(|_| rx.recv()).collect();
        let ids: Vec<_> = received.iter().flatten().map(|load| load.parcel.id).collect();
        assert_eq!(ids, [1, 2], "{receivers}, {tag}");
        let errors: Vec<_> =
            received.iter().filter_map(|received| received.as_ref().err()).collect();
        assert!(
            matches!(errors[..], [RecvError::Corrupt { .. }]),
            "{receivers}, {tag}: {errors:?}"
        );
    }
}

// ---------------------------------------------------------------------- deadlines

/// Flags of a record, and what its stamp says of them.
const WHOLE: (u64, u64) = (0b011, 0);
const FIRST: (u64, u64) = (0b001, 1 << 61);
const LAST: (u64, u64) = (0b010, 0);

/// Lines of a record that is fed.
const FED: u64 = 8;

impl Scribbler {
    /// Writes a record at `position` of the first lane's ring, or of its way back.
    fn write_record(&self, back: bool, position: u64, len: u64, (flags, stamp): (u64, u64)) {
        let map = self.map;
        let (at, lines) = match back {
            false => (map.rings_at(), map.ring_lines),
            true => (map.rings_at() + map.ring_lines * LINE, map.return_lines),
        };
        let line = at + position as usize % lines * LINE;
        self.set(line + 8, len | 1 << 32 | flags << 56);
        self.memory.word(line).store((position + 1) | stamp, Ordering::Release);
    }

    /// Keeps the first lane's ring, or its way back, full of records, these by turns, for as long
    /// as `on`.
    fn feed(&self, back: bool, records: &[(u64, u64)], on: &AtomicBool) {
        let head_at = self.map.lanes_at() + if back { 256 } else { 128 };
        let lines = if back { self.map.return_lines } else { self.map.ring_lines } as u64;
        let mut position = self.get(head_at);
        // Of several lines each, and looking seldom: one who feeds must be faster than who eats.
        let mut number = 0;
        while on.load(Ordering::Relaxed) {
            let end = self.get(head_at) + lines - FED;
            while position < end {
                let record = records[number % records.len()];
                self.write_record(back, position, FED * LINE as u64 - 16, record);
                position += FED;
                number += 1;
            }
        }
    }
}

/// Runs `attack` for as long as `calls` takes, and begins before it.
fn meanwhile(attack: impl Fn(&AtomicBool) + Sync, calls: impl FnOnce()) {
    let on = AtomicBool::new(true);
    thread::scope(|scope| {
        scope.spawn(|| attack(&on));
        let called = catch_unwind(AssertUnwindSafe(calls));
        on.store(false, Ordering::Relaxed);
        called.unwrap_or_else(|panic| resume_unwind(panic));
    });
}

/// No call that has a deadline or does not wait may go on for ever.
fn calls_return(rx: &Receiver<Load>) {
    for _ in 0..3 {
        assert!(rx.recv_timeout(SHORT).is_err());
        assert!(rx.try_recv().is_err());
    }
}

/// A call that does not wait looks at what there is, and not at all that is fed to it meanwhile.
fn looks_at_little(scribbler: &Scribbler, taken_at: usize, lines: usize, mut call: impl FnMut()) {
    // Often, because now and then it is the feeder that is late.
    let mut fed = 0;
    while fed < 200 {
        let before = scribbler.get(taken_at);
        call();
        let looked_at = scribbler.get(taken_at) - before;
        assert!(looked_at <= (4 * lines) as u64 * FED, "{looked_at} of {lines} lines");
        fed += u64::from(looked_at > 0);
    }
}

#[test]
fn deadlines_hold_while_fragments_come_that_never_make_a_value() {
    for shape in [Shape::RingOnly, Shape::Mixed] {
        for records in [&[FIRST][..], &[FIRST, LAST]] {
            if shape == Shape::Mixed && records.len() > 1 {
                // Without a descriptor the last one is not looked at.
                continue;
            }
            let stage = Stage::new("fragments");
            let channel = options(shape).create(stage.name()).unwrap();
            let (_tx, rx) = (channel.sender().unwrap(), channel.receiver().unwrap());
            let scribbler = Scribbler::new(&stage, shape);
            let Map { ring_lines, .. } = scribbler.map;
            let taken_at = scribbler.map.lanes_at() + 128;
            meanwhile(
                |on| scribbler.feed(false, records, on),
                || {
                    calls_return(&rx);
                    looks_at_little(&scribbler, taken_at, ring_lines, || drop(rx.try_recv()));
                },
            );
        }
    }
}

#[test]
fn deadlines_hold_while_descriptors_come_of_values_that_were_taken() {
    let stage = Stage::new("descriptors");
    let channel = options(Shape::Mixed).create(stage.name()).unwrap();
    let (tx, rx) = (channel.sender().unwrap(), channel.receiver().unwrap());
    let load = Load { parcel: Parcel::new(1, 1, 1000), ..Load::new(Shape::Mixed, 0) };
    tx.send(&load).unwrap();
    rx.recv().unwrap();
    let queue = Scribbler::new(&stage, Shape::Mixed).queue.unwrap();
    let mut descriptor = [0; 16];
    descriptor[4] = 2;
    let attack = |on: &AtomicBool| {
        while on.load(Ordering::Relaxed) {
            queue.put(1, &descriptor);
        }
    };
    meanwhile(attack, || calls_return(&rx));
    // What is left of the attack fills the queue, and nobody else takes it off.
    while tx.try_send(&load).is_err() {
        assert!(rx.try_recv().is_err());
    }
    assert!(rx.recv().unwrap().parcel.is_whole());
}

#[test]
fn deadlines_hold_while_replies_come_that_are_for_others() {
    let stage = Stage::new("replies");
    let _server: Server<Load, Load> = server_options().bind(stage.name()).unwrap();
    let client: Client<Load, Load> = client_options().connect(stage.name()).unwrap();
    let scribbler = Scribbler::on(&stage, Map::SERVER).unwrap();
    let head_at = scribbler.map.lanes_at() + 256;
    meanwhile(
        |on| scribbler.feed(true, &[WHOLE], on),
        || {
            let before = scribbler.get(head_at);
            for _ in 0..3 {
                let called = client.call_timeout(&Load::of(0, 10), SHORT);
                assert!(matches!(called, Err(CallError::Timeout { .. })));
            }
            // It looked at them.
            assert!(scribbler.get(head_at) > before);
        },
    );
}

/// A value that makes it look, while it is encoded, as if another receiver had come.
struct Unsettling(Scribbler);

impl Serialize for Unsettling {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.memory.word(4 * LINE + 24).fetch_add(1, Ordering::Relaxed);
        serializer.serialize_bytes(&[1; 60_000])
    }
}

impl<'de> Deserialize<'de> for Unsettling {
    fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        Err(serde::de::Error::custom("only sent"))
    }
}

#[test]
fn deadlines_hold_while_bells_are_rung_for_nothing() {
    for shape in Shape::ALL {
        let stage = Stage::new("bells");
        let channel = options(shape).create(stage.name()).unwrap();
        let (tx, rx) = (channel.sender().unwrap(), channel.receiver().unwrap());
        let set = stage.objects().into_iter().find(|object| object.kind == Kind::Set).unwrap();
        // The receiver's, and the first lane's.
        let attack = |on: &AtomicBool| {
            while on.load(Ordering::Relaxed) {
                [6, 15].into_iter().for_each(|bell| set.post(bell));
            }
        };
        meanwhile(attack, || {
            calls_return(&rx);
            while tx.send_timeout(&Load::new(shape, 1), SHORT).is_ok() {}
        });
    }
}

#[test]
fn deadlines_hold_while_receivers_seem_to_come_and_go() {
    let shape = Shape::RingOnly;
    let stage = Stage::new("generations");
    let options = || {
        let options = shape.options();
        options.schema(Schema::named("unsettling", 1))
    };
    let channel = options().create(stage.name()).unwrap();
    let (tx, rx) = (channel.sender().unwrap(), channel.receiver().unwrap());
    let value = Unsettling(Scribbler::new(&stage, shape));
    let takes = |on: &AtomicBool, rx: &Receiver<Unsettling>| {
        while on.load(Ordering::Relaxed) {
            let _ = rx.try_recv();
        }
    };
    let on = &AtomicBool::new(true);
    thread::scope(|scope| {
        scope.spawn(move || takes(on, &rx));
        let error = tx.send_timeout(&value, SHORT).unwrap_err();
        on.store(false, Ordering::Relaxed);
        assert!(error.is_timeout(), "{error}");
    });
}

// ---------------------------------------------------------------------- telling the other side

#[test]
fn sender_that_waits_on_a_lane_that_was_given_up_is_told_and_the_next_one_goes_on() {
    for shape in [Shape::RingOnly, Shape::Mixed] {
        let stage = Stage::new("given up");
        let channel = options(shape).create(stage.name()).unwrap();
        let (tx, rx) = (channel.sender().unwrap(), channel.receiver().unwrap());
        let scribbler = Scribbler::new(&stage, shape);
        let load = || Load { parcel: Parcel::new(1, 1, 1000), ..Load::new(shape, 0) };
        thread::scope(|scope| {
            let sender = scope.spawn(move || (0..).find_map(|_| tx.send(&load()).err()).unwrap());
            while channel.stats().unwrap().sender_parks == 0 {
                thread::yield_now();
            }
            let oldest = scribbler.map.rings_at();
            scribbler.set(oldest + 8, u64::MAX >> 8);
            let error = rx.recv().err().unwrap();
            assert!(matches!(&error, RecvError::Corrupt { what, .. } if what.contains("lane 0")));
            let error = sender.join().unwrap();
            assert!(matches!(&error, SendError::Corrupt { what, .. } if what.contains("lane 0")));
        });
        let tx = channel.sender().unwrap();
        let mut next = load();
        next.parcel = Parcel::new(2, 2, 2000);
        thread::scope(|scope| {
            let next = &next;
            scope.spawn(move || tx.send(next).unwrap());
            // Messages of before may come first, each of them reported.
            until(|| rx.recv().is_ok_and(|load| load.parcel == next.parcel));
        });
    }
}

#[test]
fn sender_whose_oldest_value_was_hidden_is_told_once_and_goes_on() {
    let shape = Shape::RingOnly;
    let stage = Stage::new("hidden");
    let channel = options(shape).create(stage.name()).unwrap();
    let (tx, rx) = (channel.sender().unwrap(), channel.receiver().unwrap());
    let scribbler = Scribbler::new(&stage, shape);
    tx.send(&Load::new(shape, 1)).unwrap();
    scribbler.set(scribbler.map.rings_at(), 0);
    let error = (2..).find_map(|id| tx.send(&Load::new(shape, id % 10)).err()).unwrap();
    assert!(
        matches!(&error, SendError::Corrupt { what, .. } if what.contains("line 0: its stamp"))
    );
    tx.send(&Load::new(shape, 7)).unwrap();
    assert_eq!(rx.recv().unwrap().parcel.id, 7);
}

// ---------------------------------------------------------------------- lengths

#[test]
fn nothing_longer_than_the_longest_value_is_handed_over() {
    for shape in Shape::ALL {
        let stage = Stage::new("lengths");
        let options = shape.options::<Parcel>().max_value(60);
        let channel = options.create(stage.name()).unwrap();
        let (tx, rx) = (channel.sender().unwrap(), channel.receiver().unwrap());
        // Encoded, the longest one: three numbers and its bytes.
        tx.send(&Parcel::new(1, 1, 36)).unwrap();
        rx.recv().unwrap().check();
        assert!(matches!(tx.send(&Parcel::new(1, 1, 37)), Err(SendError::TooLong { max: 60, .. })));
        let scribbler = Scribbler::new(&stage, shape);
        if let Some(queue) = scribbler.queue {
            let inline = [[61, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0].as_slice(), &[0; 61]];
            queue.put(1, &inline.concat());
            assert!(matches!(rx.recv(), Err(RecvError::Corrupt { .. })), "{shape:?}");
            continue;
        }
        let ring = scribbler;
        let position = ring.get(ring.map.lanes_at() + 128);
        ring.write_record(false, position, 61, WHOLE);
        let error = rx.recv().unwrap_err();
        assert!(error.to_string().contains("longest value"), "{error}");
        drop((tx, rx));
        let (_tx, rx) = (channel.sender().unwrap(), channel.receiver().unwrap());
        ring.write_record(false, position + 1, 30, LAST);
        ring.write_record(false, position, 31, FIRST);
        let error = rx.recv().unwrap_err();
        assert!(error.to_string().contains("longer than the channel's"), "{error}");
    }
}

#[test]
fn header_does_not_make_a_receiver_collect_more_than_it_is_ready_for() {
    let shape = Shape::RingOnly;
    let stage = Stage::new("unbounded");
    let channel = options(shape).max_value(60).create(stage.name()).unwrap();
    let _tx = channel.sender().unwrap();
    let scribbler = Scribbler::new(&stage, shape);
    // The longest value, by the header.
    scribbler.set(56, u64::MAX);
    let error = options(shape).max_value(60).open(stage.name()).unwrap_err();
    assert!(matches!(error, OpenError::LongerValues { mine: 60, theirs: u64::MAX, .. }), "{error}");
    assert!(error.to_string().contains("max_value(18446744073709551615)"), "{error}");
}
