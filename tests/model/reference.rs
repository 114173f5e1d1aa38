//! What a channel must do, told by lists.

use std::collections::VecDeque;
use std::fmt;

use sysv_channel::{Select, Tag};

/// Bytes in a line of a ring.
const LINE: usize = 64;
/// Bytes in front of a value on the queue.
const ENVELOPE: usize = 16;

/// A value that was sent and not received yet.
#[derive(Clone, PartialEq)]
pub(crate) struct Value {
    pub(crate) tag: Tag,
    pub(crate) bytes: Vec<u8>,
    pub(crate) lane: usize,
    /// Its number, if it stands in the lane's ring.
    pub(crate) record: Option<u64>,
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Value { tag, bytes, lane, record } = self;
        write!(f, "{} bytes {:?}, ", bytes.len(), &bytes[..bytes.len().min(8)])?;
        write!(f, "tag {tag}, lane {lane}, record {record:?}")
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Lines {
    Padding,
    Waiting(u64),
    Taken,
}

/// A ring's lines, in the order in which they were written.
#[derive(Debug, Clone, PartialEq)]
struct Ring {
    lines: u64,
    position: u64,
    head: u64,
    entries: VecDeque<(u64, Lines)>,
}

impl Ring {
    fn padding(&self, lines: u64) -> u64 {
        let to_end = self.lines - self.position % self.lines;
        if lines > to_end { to_end } else { 0 }
    }

    /// The line that follows a record has to be free too.
    fn free(&self) -> u64 {
        self.head + self.lines - (self.position + 1)
    }

    fn has_room(&self, lines: u64) -> bool {
        self.padding(lines) + lines <= self.free()
    }

    fn pad(&mut self, lines: u64) {
        let padding = self.padding(lines);
        if padding > 0 {
            self.position += padding;
            self.entries.push_back((self.position, Lines::Padding));
        }
    }

    fn put(&mut self, lines: u64, number: u64) {
        self.pad(lines);
        self.position += lines;
        self.entries.push_back((self.position, Lines::Waiting(number)));
    }

    fn skip(&mut self) {
        while let Some(&(end, Lines::Padding | Lines::Taken)) = self.entries.front() {
            self.head = end;
            self.entries.pop_front();
        }
    }

    fn take(&mut self, number: u64) {
        self.skip();
        let entry = self.entries.iter_mut().find(|entry| entry.1 == Lines::Waiting(number));
        entry.expect("a record is taken once").1 = Lines::Taken;
        if let Some(&(end, Lines::Taken)) = self.entries.front() {
            self.head = end;
            self.entries.pop_front();
            let mut in_turn =
                self.entries.iter().take_while(|entry| !matches!(entry.1, Lines::Waiting(_)));
            if in_turn.any(|entry| entry.1 == Lines::Taken) {
                self.skip();
            }
        }
    }
}

/// A lane's ring as it may be: whether the receiver has moved over padding that nothing follows
/// cannot be seen from outside, so there can be several.
#[derive(Debug, Clone)]
pub(crate) struct Lane {
    rings: Vec<Ring>,
    /// What waits in the lane, where there is no queue.
    pub(crate) waiting: VecDeque<Value>,
}

impl Lane {
    pub(crate) fn new(capacity: usize) -> Self {
        let lines = (capacity / LINE) as u64;
        let ring = Ring { lines, position: 0, head: 0, entries: VecDeque::new() };
        Lane { rings: vec![ring], waiting: VecDeque::new() }
    }

    fn possible(&self) -> impl Iterator<Item = Ring> + '_ {
        self.rings.iter().flat_map(|ring| {
            let mut skipped = ring.clone();
            skipped.skip();
            [ring.clone(), skipped]
        })
    }

    fn become_one_of(&mut self, rings: impl Iterator<Item = Ring>) {
        let mut different: Vec<Ring> = Vec::new();
        for ring in rings {
            if !different.contains(&ring) {
                different.push(ring);
            }
        }
        self.rings = different;
    }

    /// What the stamp of the next record of so many lines will be, or that many laps later.
    pub(crate) fn stamp(&self, lines: u64, laps: u64) -> u64 {
        let ring = &self.rings[0];
        if ring.lines == 0 {
            0
        } else {
            ring.position + ring.padding(lines) + laps * ring.lines + 1
        }
    }

    /// Whether a record of so many lines surely goes in.
    pub(crate) fn has_room(&self, lines: u64) -> bool {
        self.possible().all(|ring| ring.has_room(lines))
    }

    /// Whether there may be no room at all.
    pub(crate) fn may_be_full(&self) -> bool {
        self.possible().any(|ring| ring.free() == 0)
    }

    /// Learns that a record was or was not sent; `false` if that cannot be.
    pub(crate) fn sent(&mut self, lines: u64, number: u64, queue_full: bool, sent: bool) -> bool {
        let explained = self.possible().filter_map(|mut ring| {
            match (ring.has_room(lines), sent) {
                (true, true) if !queue_full => ring.put(lines, number),
                // The record was taken back, and its padding stays.
                (true, false) if queue_full => ring.pad(lines),
                (false, false) => {}
                _ => return None,
            }
            Some(ring)
        });
        let explained: Vec<Ring> = explained.collect();
        self.become_one_of(explained.into_iter());
        !self.rings.is_empty()
    }

    pub(crate) fn take(&mut self, number: u64) {
        self.rings.iter_mut().for_each(|ring| ring.take(number));
        let rings = std::mem::take(&mut self.rings);
        self.become_one_of(rings.into_iter());
    }

    /// Learns that records of so many lines each went through, after all that was there before.
    pub(crate) fn streamed(&mut self, records: &[u64]) {
        for ring in &mut self.rings {
            for &lines in records {
                // Room is asked for before it is known how long the last one is.
                ring.position += ring.padding(records[0]) + lines;
            }
            ring.head = ring.position;
            ring.entries.clear();
        }
    }
}

/// Where the value stands that must come next.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Place {
    Slot,
    Queue(usize),
    Lane(usize),
}

/// Everything that is on its way.
#[derive(Debug, Clone)]
pub(crate) struct Reference {
    pub(crate) lanes: Vec<Lane>,
    /// The kernel's one order, where there is a queue.
    pub(crate) queue: VecDeque<Value>,
    /// What a dead receiver had in hand.
    pub(crate) slot: Option<Value>,
    pub(crate) has_queue: bool,
}

impl Reference {
    /// Whether a text of so many bytes goes on a queue of that capacity, as the kernel counts.
    pub(crate) fn queue_is_full(&self, text: usize, capacity: u64) -> bool {
        let used: usize = self.queue.iter().map(text_len).sum();
        (used + text) as u64 > capacity || self.queue.len() as u64 + 1 > capacity
    }

    /// Where the next value may come from: one place where there is one order.
    pub(crate) fn next(&self, select: Select) -> Vec<Place> {
        if !self.has_queue {
            let lanes = self.lanes.iter().enumerate();
            return lanes
                .filter(|(_, lane)| !lane.waiting.is_empty())
                .map(|(lane, _)| Place::Lane(lane))
                .collect();
        }
        if self.slot.as_ref().is_some_and(|value| select.matches(value.tag)) {
            return vec![Place::Slot];
        }
        let mut matching = self.queue.iter().enumerate().filter(|(_, it)| select.matches(it.tag));
        let found = match select {
            // `min_by_key` gives the first of equals.
            Select::UpTo(_) => matching.min_by_key(|(_, value)| value.tag),
            _ => matching.next(),
        };
        found.map(|(index, _)| Place::Queue(index)).into_iter().collect()
    }

    pub(crate) fn at(&self, place: Place) -> &Value {
        match place {
            Place::Slot => self.slot.as_ref().expect("a value in the slot"),
            Place::Queue(index) => &self.queue[index],
            Place::Lane(lane) => &self.lanes[lane].waiting[0],
        }
    }

    pub(crate) fn take(&mut self, place: Place) {
        let value = match place {
            Place::Slot => self.slot.take(),
            Place::Queue(index) => self.queue.remove(index),
            Place::Lane(lane) => self.lanes[lane].waiting.pop_front(),
        };
        let value = value.expect("a value in its place");
        if let Some(number) = value.record {
            self.lanes[value.lane].take(number);
        }
    }

    pub(crate) fn push(&mut self, value: Value) {
        if self.has_queue {
            self.queue.push_back(value);
        } else {
            self.lanes[value.lane].waiting.push_back(value);
        }
    }

    pub(crate) fn len(&self) -> usize {
        let lanes: usize = self.lanes.iter().map(|lane| lane.waiting.len()).sum();
        lanes + self.queue.len() + usize::from(self.slot.is_some())
    }
}

/// How long a value's message is on the queue.
fn text_len(value: &Value) -> usize {
    if value.record.is_some() { ENVELOPE } else { ENVELOPE + value.bytes.len() }
}

/// Bytes of a record's header.
pub(crate) fn header(tag: Tag) -> usize {
    if tag.get() < 1 << 24 { 16 } else { 24 }
}

/// Lines of a record.
pub(crate) fn lines(len: usize, tag: Tag) -> u64 {
    (header(tag) + len).div_ceil(LINE) as u64
}

/// The longest value that goes in one record.
pub(crate) fn longest_record(capacity: usize, tag: Tag) -> usize {
    capacity / 2 - header(tag)
}

/// The lines of the records in which a long value goes.
pub(crate) fn fragments(len: usize, capacity: usize, tag: Tag) -> Vec<u64> {
    let full = (capacity / 4 / LINE).clamp(1, 128);
    let bytes = full * LINE - header(tag);
    let mut records = vec![full as u64; len / bytes];
    if !len.is_multiple_of(bytes) {
        records.push(lines(len % bytes, tag));
    }
    records
}
