//! A ring whose memory others write to.

use std::sync::LazyLock;

use super::*;
use crate::sys::Ordering;
use crate::verify::fuzzing::{Memory, Script};

const MAX_LINES: usize = 64;
const HEAD_AT: usize = LINE;
const HEAD_HINT_AT: usize = 2 * LINE;
const REACH_AT: usize = 2 * LINE + 8;
const LINES_AT: usize = 4 * LINE;

/// Less than fits into one record of the largest ring.
const MAX_VALUE: u64 = 1500;

/// What stands before and behind the ring, and must stay.
const GUARD: [u8; LINE] = [0xa5; LINE];

static MEMORY: LazyLock<Memory> = LazyLock::new(|| Memory::new(LINES_AT + MAX_LINES * LINE + LINE));

/// One ring with both sides, which come and go.
struct Rig {
    segment: Arc<Segment>,
    layout: RingLayout,
    producer: Option<Producer>,
    /// Where the record stands that can be retracted.
    last: Option<u64>,
    consumer: Option<Consumer>,
    /// A record that the consumer found.
    held: Option<Record>,
}

/// Runs a script of what both sides do and what others write to the ring meanwhile.
pub fn records(data: &[u8]) {
    MEMORY.clear();
    let segment = MEMORY.segment.clone();
    let mut script = Script(data);
    let sizes = script.byte();
    let lines = 2 << (sizes % 6);
    let window = (lines >> (sizes / 6 % 6)).max(2);
    let layout = RingLayout {
        lines_at: LINES_AT,
        lines,
        window,
        max_record: lines / 2,
        head_at: HEAD_AT,
        head_hint_at: HEAD_HINT_AT,
        reach_at: REACH_AT,
        max_value: MAX_VALUE,
    };
    let end = LINES_AT + lines as usize * LINE;
    let guards = [0, LINES_AT - LINE, end];
    for at in guards {
        segment.copy_in(at, &GUARD);
    }
    segment.word(HEAD_AT).store(script.number(), Ordering::Relaxed);
    let nonsense = script.number();
    for at in [HEAD_HINT_AT, REACH_AT] {
        segment.word(at).store(nonsense, Ordering::Relaxed);
    }
    let foreign = script.below(MAX_LINES * LINE).min(end - LINES_AT);
    segment.copy_in(LINES_AT, script.bytes(foreign));

    let mut rig = Rig { segment, layout, producer: None, last: None, consumer: None, held: None };
    while !script.is_over() {
        rig.step(&mut script);
    }
    for at in guards {
        let mut found = [0; LINE];
        rig.segment.copy_out(at, &mut found);
        assert_eq!(found, GUARD, "the line at {at} was written");
    }
}

impl Rig {
    fn step(&mut self, script: &mut Script<'_>) {
        let step = script.byte();
        match step % 16 {
            0 => {
                self.last = None;
                self.producer = match Producer::attach(self.segment.clone(), self.layout) {
                    Ok((producer, last)) => {
                        last.iter().for_each(|record| self.check(record));
                        Some(producer)
                    }
                    Err(damage) => none(damage),
                };
            }
            1 => {
                self.consumer = match Consumer::attach(self.segment.clone(), self.layout) {
                    Ok(consumer) => Some(consumer),
                    Err(damage) => none(damage),
                };
            }
            2 => self.found(|consumer| consumer.next()),
            3 => self.found(|consumer| {
                let value = consumer.peek() == Peeked::Value;
                Ok(value.then(|| consumer.peeked_record()).flatten())
            }),
            4 => {
                let (position, announced) = (self.position(script), self.position(script));
                self.found(|consumer| {
                    Ok(consumer.at(position, announced)?.map(|(record, _)| record))
                });
            }
            5 => {
                let position = self.position(script);
                self.found(|consumer| match consumer.find(position)? {
                    Found::Record(record) => Ok(Some(record)),
                    Found::Consumed | Found::Nothing => Ok(None),
                });
            }
            6 | 7 => {
                if let (Some(consumer), Some(record)) = (&mut self.consumer, &self.held) {
                    consumer.consume(record);
                    self.held = None;
                }
            }
            8 => {
                // What a party looks at that is not the ring's consumer.
                Consumer::holds_value(self.segment.clone(), self.layout, |first, last| {
                    assert!(first <= last, "a value ends before it starts");
                    false
                });
                let _ = Consumer::last_records(self.segment.clone(), self.layout).count();
                if let Some(consumer) = &mut self.consumer {
                    consumer.take_moved();
                }
            }
            9 => self.put(script, false),
            10 => self.put(script, true),
            11 => self.stream(script),
            12 => {
                if let (Some(producer), Some(position)) = (&mut self.producer, self.last.take()) {
                    producer.retract(position);
                }
            }
            13 => {
                let at = LINES_AT + script.below(self.layout.lines as usize * LINE);
                let len = usize::from(script.byte()).min(self.end() - at);
                self.segment.copy_in(at, script.bytes(len));
            }
            14 => {
                let position = self.position(script);
                let flags = u64::from(script.byte() % 8) << 61;
                self.set(self.line(position), position.wrapping_add(1) | flags);
                // Position, length, tag and flags: what a producer writes, with any numbers.
                let (len, tag, flags) = (script.number(), script.byte(), script.byte());
                let word = len & 0xffff_ffff | u64::from(tag) << 32 | u64::from(flags % 32) << 56;
                self.set(self.line(position) + 8, word);
            }
            _ => {
                let at = if step & 16 == 0 { HEAD_AT } else { HEAD_HINT_AT };
                let position = self.position(script);
                self.set(at, position);
            }
        }
    }

    fn end(&self) -> usize {
        LINES_AT + self.layout.lines as usize * LINE
    }

    fn line(&self, position: u64) -> usize {
        LINES_AT + (position % self.layout.lines) as usize * LINE
    }

    fn set(&self, at: usize, value: u64) {
        self.segment.word(at).store(value, Ordering::Relaxed);
    }

    /// A position, mostly one near those of both sides.
    fn position(&self, script: &mut Script<'_>) -> u64 {
        let producer = self.producer.as_ref().map(Producer::tail);
        let consumer = self.consumer.as_ref().map(Consumer::head);
        let base = consumer.or(producer).unwrap_or_default();
        match script.byte() {
            255 => script.number(),
            near => base.wrapping_add(u64::from(near)).wrapping_sub(64),
        }
    }

    /// Looks for a record, checks what is found and reads it.
    fn found(&mut self, look: impl FnOnce(&mut Consumer) -> Result<Option<Record>, Damage>) {
        let Some(consumer) = &mut self.consumer else { return };
        let before = consumer.head();
        let found = match look(consumer) {
            Ok(found) => found,
            Err(damage) => {
                // As a channel does: a lane that is damaged is given up.
                self.consumer = none(damage);
                return;
            }
        };
        assert!(consumer.head() >= before);
        assert!(consumer.head() - before <= 2 * self.layout.lines, "more than a lap was skipped");
        if let Some(record) = &found {
            self.check(record);
            if let Some(consumer) = &self.consumer {
                let bytes = consumer.read(record, |mut reader| reader.read_vec(reader.remaining()));
                assert_eq!(bytes.map(|bytes| bytes.len()), Ok(record.len));
            }
            self.held = found;
        }
    }

    /// Whether a record that passed for good lies within its own lines, and these in the ring.
    fn check(&self, record: &Record) {
        let start = self.line(record.position);
        let lines_end = start + record.lines as usize * LINE;
        assert!(record.lines >= 1 && lines_end <= self.end(), "{record:?}");
        let value = !record.flags.is_padding();
        assert!(!value || record.len as u64 <= MAX_VALUE, "{record:?}");
        assert!(!value || record.lines <= self.layout.lines / 2, "{record:?}");
        assert!(record.payload >= start + HEADER, "{record:?}");
        assert!(record.payload + record.len <= lines_end, "{record:?}");
        assert!(record.payload + record.len > lines_end - LINE, "{record:?}");
        assert!(record.end() > record.position, "{record:?}");
    }

    /// Publishes a record, in what is available or in a reservation of the right length.
    fn put(&mut self, script: &mut Script<'_>, exactly: bool) {
        let tag = tag(script);
        let end = self.end();
        let Some(producer) = &mut self.producer else { return };
        let len = script.below(producer.max_payload(tag) + 1);
        let room =
            if exactly { producer.reserve(len, tag) } else { producer.reserve_available(tag) };
        let room = match room {
            Ok(Some(room)) => room,
            Ok(None) => return,
            Err(damage) => return self.producer = none(damage),
        };
        assert!(room.offset >= LINES_AT + HEADER && room.offset + room.len <= end, "{room:?}");
        let len = if exactly { len } else { len.min(room.len) };
        assert!(len <= room.len, "{len} bytes of {room:?}");
        let bytes = script.bytes(len);
        producer.fill(room, |writer| writer.write(bytes)).expect("a writer has no limit");
        let position = producer.tail();
        let flags = [Flags::WHOLE, Flags::FIRST, Flags::part(false, false), Flags::LAST];
        producer.publish(len, tag, flags[usize::from(script.byte()) % flags.len()]);
        self.last = Some(position);
    }

    /// Writes a value in fragments, until the ring is full.
    fn stream(&mut self, script: &mut Script<'_>) {
        let tag = tag(script);
        let len = script.below(2 * self.layout.lines as usize * LINE);
        let Some(producer) = &mut self.producer else { return };
        let mut wait = |producer: &mut Producer, len: usize| match producer.reserve(len, tag) {
            Ok(Some(room)) => Ok(room),
            Ok(None) => Err(None),
            Err(damage) => Err(Some(damage)),
        };
        let bytes = vec![0x5a; len];
        match producer.stream(tag, len, &mut wait, |writer| writer.write(&bytes)) {
            Ok(streamed) => {
                self.last = Some(producer.tail());
                producer.publish(streamed.last, tag, streamed.flags);
            }
            Err(None) => {}
            Err(Some(damage)) => self.producer = none(damage),
        }
    }
}

fn tag(script: &mut Script<'_>) -> Tag {
    Tag::new(script.number() as i64).unwrap_or_default()
}

/// Damage names what is wrong.
fn none<T>(damage: Damage) -> Option<T> {
    assert!(!damage.what.is_empty());
    None
}
