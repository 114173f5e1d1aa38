//! The ring by itself, over a segment of its own.

use std::collections::VecDeque;
use std::thread;

use proptest::prelude::*;

use super::*;
use crate::sys::{Ordering, SegmentId};

mod observer;

const HEAD_AT: usize = 0;
const HEAD_HINT_AT: usize = LINE;
const REACH_AT: usize = LINE + 8;
const LINES_AT: usize = 2 * LINE;

/// A ring's memory, to which producers and consumers come and go.
#[derive(Clone)]
struct Shared {
    segment: Arc<Segment>,
    layout: RingLayout,
}

impl Shared {
    fn new(lines: u64) -> Self {
        Shared::with_window(lines, lines)
    }

    fn with_window(lines: u64, window: u64) -> Self {
        let len = LINES_AT + lines as usize * LINE;
        let id = SegmentId::create_private(len, 0o600).unwrap();
        let segment = id.attach(false);
        id.remove().unwrap();
        let layout = RingLayout {
            lines_at: LINES_AT,
            lines,
            window,
            max_record: lines / 2,
            head_at: HEAD_AT,
            head_hint_at: HEAD_HINT_AT,
            reach_at: REACH_AT,
            max_value: u64::MAX,
        };
        Shared { segment: Arc::new(segment.unwrap()), layout }
    }

    fn producer(&self) -> Producer {
        self.take_over().0
    }

    /// A new producer, and where the last record stands, if it was not consumed.
    fn take_over(&self) -> (Producer, Option<u64>) {
        let (producer, last) = Producer::attach(self.segment.clone(), self.layout).unwrap();
        (producer, last.map(|record| record.position))
    }

    fn consumer(&self) -> Consumer {
        Consumer::attach(self.segment.clone(), self.layout).unwrap()
    }

    fn holds_value(&self) -> bool {
        Consumer::holds_value(self.segment.clone(), self.layout, |_, _| true)
    }

    fn set(&self, at: usize, value: u64) {
        self.segment.word(at).store(value, Ordering::Relaxed);
    }

    fn get(&self, at: usize) -> u64 {
        self.segment.word(at).load(Ordering::Relaxed)
    }

    /// Where a position's line starts in the segment.
    fn line(&self, position: u64) -> usize {
        LINES_AT + (position % self.layout.lines) as usize * LINE
    }
}

fn tag(number: i64) -> Tag {
    Tag::new(number).unwrap()
}

/// Tags at and around those that take more room.
const TAGS: [i64; 5] = [1, WIDE_TAG - 1, WIDE_TAG, 1 << 40, i64::MAX];

fn header_of(tag: Tag) -> usize {
    if tag.get() < WIDE_TAG { HEADER } else { HEADER + 8 }
}

fn lines_of(len: usize, tag: Tag) -> u64 {
    (header_of(tag) + len).div_ceil(LINE) as u64
}

/// Payload which, wherever it stands, looks like the stamps of the lines that it stands on, of the
/// lap `laps` from now.
fn imitation(shared: &Shared, position: u64, tag: Tag, len: usize, laps: u64) -> Vec<u8> {
    let lines = shared.layout.lines;
    // A record never wraps: one that reaches over the end starts on the next lap.
    let to_end = lines - position % lines;
    let start = if lines_of(len, tag) > to_end { position + to_end } else { position };
    let byte = |at: usize| {
        let at = header_of(tag) + at;
        let stamp = start + (at / LINE) as u64 + laps * lines + 1;
        stamp.to_le_bytes()[at % 8]
    };
    (0..len).map(byte).collect()
}

/// Publishes a record if there is room; says where it stands.
fn put(producer: &mut Producer, tag: Tag, bytes: &[u8], flags: Flags) -> Option<u64> {
    let room = producer.reserve(bytes.len(), tag).unwrap()?;
    producer.fill(room, |writer| writer.write(bytes)).unwrap();
    let position = producer.tail();
    producer.publish(bytes.len(), tag, flags);
    Some(position)
}

fn payload(consumer: &Consumer, record: &Record) -> Vec<u8> {
    consumer.read(record, |mut reader| reader.read_vec(reader.remaining())).unwrap()
}

/// Takes the next record if there is one.
fn get(consumer: &mut Consumer) -> Option<(Tag, Vec<u8>)> {
    let record = consumer.next().unwrap()?;
    let bytes = payload(consumer, &record);
    consumer.consume(&record);
    Some((record.tag, bytes))
}

/// What is in the ring, oldest first.
#[derive(Debug)]
struct Waiting {
    position: u64,
    tag: Tag,
    bytes: Vec<u8>,
}

#[derive(Debug, Clone)]
enum Step {
    Put {
        len: usize,
        tag: usize,
        laps: u64,
    },
    /// A producer dies before it stores the stamp, with or without having written the header.
    DieHalfway {
        len: usize,
        tag: usize,
        laps: u64,
        header: bool,
    },
    Retract {
        len: usize,
        tag: usize,
    },
    Take,
    TakeOutOfTurn(prop::sample::Index),
    NewProducer,
    NewConsumer,
}

fn step() -> impl Strategy<Value = Step> {
    let (len, tag, laps) = (0..3000_usize, 0..TAGS.len(), 0..2_u64);
    prop_oneof![
        8 => (len.clone(), tag.clone(), laps.clone())
            .prop_map(|(len, tag, laps)| Step::Put { len, tag, laps }),
        1 => (len.clone(), tag.clone(), laps, any::<bool>())
            .prop_map(|(len, tag, laps, header)| Step::DieHalfway { len, tag, laps, header }),
        1 => (len, tag).prop_map(|(len, tag)| Step::Retract { len, tag }),
        6 => Just(Step::Take),
        2 => any::<prop::sample::Index>().prop_map(Step::TakeOutOfTurn),
        1 => Just(Step::NewProducer),
        1 => Just(Step::NewConsumer),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Whichever side is replaced, in whatever order records are consumed: each once, whole, and no room
    /// refused that is there.
    #[test]
    fn records_are_what_a_list_would_hold(
        power in 1..7_u32,
        smaller in 0..6_u32,
        steps in prop::collection::vec(step(), 1..150),
    ) {
        let shared = Shared::with_window(1 << power, 1 << power.saturating_sub(smaller).max(1));
        let mut producer = shared.producer();
        let mut consumer = shared.consumer();
        let mut waiting: VecDeque<Waiting> = VecDeque::new();
        for step in steps {
            match step {
                Step::Put { len, tag: at, laps } => {
                    let tag = tag(TAGS[at]);
                    let len = len % (producer.max_payload(tag) + 1);
                    let bytes = imitation(&shared, producer.tail(), tag, len, laps);
                    let lines = lines_of(len, tag);
                    let to_end = shared.layout.lines - producer.tail() % shared.layout.lines;
                    let needed = if lines > to_end { to_end + lines } else { lines };
                    let head = consumer.head();
                    let free = head + shared.layout.lines - (producer.tail() + 1);
                    let position = put(&mut producer, tag, &bytes, Flags::WHOLE);
                    prop_assert_eq!(position.is_some(), needed <= free);
                    if let Some(position) = position {
                        waiting.push_back(Waiting { position, tag, bytes });
                    }
                }
                Step::DieHalfway { len, tag: at, laps, header } => {
                    let tag = tag(TAGS[at]);
                    let len = len % (producer.max_payload(tag) + 1);
                    let before = producer.tail();
                    let Some(room) = producer.reserve(len, tag).unwrap() else { continue };
                    let position = producer.tail();
                    let bytes = imitation(&shared, position, tag, len, laps);
                    producer.fill(room, |writer| writer.write(&bytes)).unwrap();
                    if header {
                        let word = len as u64 | 1 << 32 | u64::from(Flags::WHOLE.0) << 56;
                        shared.set(shared.line(position) + 8, word);
                        shared.set(shared.line(position + lines_of(len, tag)), 0);
                    }
                    producer = shared.producer();
                    // Padding at the array's end is published at once, that behind a window with the record.
                    prop_assert!([before, position].contains(&producer.tail()));
                }
                Step::Retract { len, tag: at } => {
                    let tag = tag(TAGS[at]);
                    let bytes = vec![1; len % (producer.max_payload(tag) + 1)];
                    if let Some(position) = put(&mut producer, tag, &bytes, Flags::WHOLE) {
                        producer.retract(position);
                        prop_assert_eq!(producer.tail(), position);
                    }
                }
                Step::Take => {
                    let expected = waiting.pop_front().map(|record| (record.tag, record.bytes));
                    prop_assert_eq!(get(&mut consumer), expected);
                }
                Step::TakeOutOfTurn(_) if waiting.is_empty() => {}
                Step::TakeOutOfTurn(index) => {
                    let expected = waiting.remove(index.index(waiting.len())).unwrap();
                    let Found::Record(record) = consumer.find(expected.position).unwrap() else {
                        panic!("no record at {}", expected.position);
                    };
                    prop_assert_eq!(record.tag, expected.tag);
                    prop_assert_eq!(payload(&consumer, &record), expected.bytes);
                    consumer.consume(&record);
                    let again = consumer.find(expected.position).unwrap();
                    prop_assert!(matches!(again, Found::Consumed));
                }
                Step::NewProducer => {
                    let before = producer.tail();
                    let last;
                    (producer, last) = shared.take_over();
                    prop_assert_eq!(producer.tail(), before);
                    prop_assert_eq!(last, waiting.back().map(|record| record.position));
                }
                Step::NewConsumer => {
                    let before = consumer.head();
                    consumer = shared.consumer();
                    prop_assert!(consumer.head() >= before);
                }
            }
            prop_assert_eq!(shared.get(HEAD_AT), consumer.head());
            prop_assert_eq!(shared.holds_value(), !waiting.is_empty());
        }
        while let Some(expected) = waiting.pop_front() {
            prop_assert_eq!(get(&mut consumer), Some((expected.tag, expected.bytes)));
        }
        prop_assert_eq!(get(&mut consumer), None);
        prop_assert_eq!(consumer.head(), producer.tail());
    }
}

#[test]
fn every_length_up_to_the_longest_comes_back() {
    for lines in [2, 4, 16] {
        let shared = Shared::new(lines);
        let (mut producer, mut consumer) = (shared.producer(), shared.consumer());
        for number in TAGS {
            let tag = tag(number);
            for len in 0..=producer.max_payload(tag) {
                let bytes = imitation(&shared, producer.tail(), tag, len, 1);
                put(&mut producer, tag, &bytes, Flags::WHOLE).unwrap();
                assert_eq!(get(&mut consumer), Some((tag, bytes)), "{lines} lines, {len} bytes");
            }
        }
    }
}

/// The highest line that is used while so many records go, with up to so many of them waiting.
fn highest_line(shared: &Shared, len: usize, records: usize, waiting: usize) -> u64 {
    let (mut producer, mut consumer) = (shared.producer(), shared.consumer());
    let mut highest = 0;
    for sent in 0..records {
        let position = put(&mut producer, tag(1), &vec![1; len], Flags::WHOLE).unwrap();
        highest = highest.max(position % shared.layout.lines + lines_of(len, tag(1)) - 1);
        if sent >= waiting {
            get(&mut consumer).unwrap();
        }
    }
    while get(&mut consumer).is_some() {}
    highest
}

#[test]
fn small_values_stay_in_the_window_and_bulk_takes_all() {
    for waiting in [0, 1, 100] {
        let shared = Shared::with_window(1 << 12, 256);
        assert_eq!(highest_line(&shared, 40, 3000, waiting), 255);
    }
    let shared = Shared::with_window(1 << 12, 256);
    assert!(highest_line(&shared, 40, 3000, 600) > 511, "more wait than a window holds");
    let shared = Shared::with_window(1 << 12, 256);
    // As fast as this test is: a window in ten milliseconds.
    assert!(highest_line(&shared, 1024, 3000, 1) > 4000);
    // The window is used again from the next lap on.
    highest_line(&shared, 40, 3000, 0);
    assert_eq!(highest_line(&shared, 40, 3000, 0), 255);
}

#[test]
fn a_record_is_not_refused_for_a_window_that_ends() {
    let shared = Shared::with_window(64, 16);
    let (mut producer, mut consumer) = (shared.producer(), shared.consumer());
    for _ in 0..16 {
        put(&mut producer, tag(1), &[1; 40], Flags::WHOLE).unwrap();
        get(&mut consumer).unwrap();
    }
    // Nothing waits. In front of the window's start there is no room for the longest.
    let short = producer.reserve_available(tag(1)).unwrap().unwrap();
    assert!(short.len < producer.max_payload(tag(1)));
    // What a new owner says of where it begins holds for both.
    assert_eq!((producer.end(), producer.tail()), (16, 64));
    let longest = vec![2; producer.max_payload(tag(1))];
    assert_eq!(put(&mut producer, tag(1), &longest, Flags::WHOLE), Some(16));
    assert_eq!(get(&mut consumer), Some((tag(1), longest)));
}

#[test]
fn a_record_stays_within_what_its_length_word_can_say() {
    // 16 GiB of lines, of which the first page alone is touched.
    let shared = Shared::new(1 << 28);
    let producer = shared.producer();
    for number in TAGS {
        let longest = header_of(tag(number)) + producer.max_payload(tag(number));
        assert!(u32::try_from(longest).is_ok(), "{longest}");
    }
}

#[test]
fn room_is_found_in_front_of_the_end_or_behind_it() {
    let shared = Shared::new(8);
    let (mut producer, mut consumer) = (shared.producer(), shared.consumer());
    let one = tag(1);
    for _ in 0..3 {
        put(&mut producer, one, &[1; 100], Flags::WHOLE).unwrap();
        get(&mut consumer).unwrap();
    }
    // Two lines are left before the end: what is there now is no more, and a record of three lines
    // starts on the next lap.
    assert!(producer.reserve_available(one).unwrap().unwrap().len <= 2 * LINE - HEADER);
    assert_eq!(put(&mut producer, one, &[2; 150], Flags::WHOLE), Some(8));
    assert_eq!(consumer.next().unwrap().unwrap().position, 8);
    assert_eq!(put(&mut producer, one, &[3; 100], Flags::WHOLE), Some(11));
    // Three lines are free, one of which has to stay.
    assert!(producer.reserve(150, one).unwrap().is_none());
    assert!(producer.reserve(100, one).unwrap().is_some());
    assert_eq!(get(&mut consumer), Some((one, vec![2; 150])));
    assert_eq!(get(&mut consumer), Some((one, vec![3; 100])));
}

#[test]
fn head_moves_over_consumed_records_when_their_turn_comes() {
    let shared = Shared::new(16);
    let (mut producer, mut consumer) = (shared.producer(), shared.consumer());
    let at: Vec<u64> = (0..4)
        .map(|number| put(&mut producer, tag(1), &[number; 60], Flags::WHOLE).unwrap())
        .collect();
    for later in [at[2], at[1]] {
        let Found::Record(record) = consumer.find(later).unwrap() else { panic!("no record") };
        consumer.consume(&record);
        assert_eq!(shared.get(HEAD_AT), 0);
    }
    // A successor of either side finds what was consumed.
    let mut consumer = shared.consumer();
    assert!(matches!(consumer.find(at[2]).unwrap(), Found::Consumed));
    assert_eq!(shared.take_over().1, Some(at[3]));
    assert_eq!(get(&mut consumer), Some((tag(1), vec![0; 60])));
    assert_eq!(shared.get(HEAD_AT), at[3]);
    assert_eq!(get(&mut consumer), Some((tag(1), vec![3; 60])));
    assert!(consumer.take_moved() && !consumer.take_moved());
}

#[test]
fn a_successor_skips_marks_before_anything_is_taken() {
    let shared = Shared::new(8);
    let (mut producer, mut consumer) = (shared.producer(), shared.consumer());
    put(&mut producer, tag(1), &[1; 100], Flags::WHOLE).unwrap();
    put(&mut producer, tag(1), &[2; 100], Flags::WHOLE).unwrap();
    let Found::Record(second) = consumer.find(2).unwrap() else { panic!("no record") };
    consumer.consume(&second);
    // The predecessor dies between the store of the head and the look at what was consumed behind it.
    shared.set(HEAD_AT, 2);
    let consumer = shared.consumer();
    assert_eq!(consumer.head(), 4);
    assert_eq!(shared.get(HEAD_AT), 4);
    assert_eq!(shared.get(HEAD_HINT_AT), 4);
}

#[test]
fn whole_values_are_told_from_begun_ones() {
    let shared = Shared::new(32);
    let mut producer = shared.producer();
    let mut holds_after = |flags| {
        put(&mut producer, tag(1), &[0; 10], flags).unwrap();
        shared.holds_value()
    };
    assert!(!holds_after(Flags::part(false, false)));
    assert!(!holds_after(Flags::LAST));
    assert!(!holds_after(Flags::FIRST));
    assert!(!holds_after(Flags::part(false, false)));
    assert!(holds_after(Flags::LAST));
}

#[test]
fn lent_bytes_are_those_that_were_filled() {
    // SAFETY: the segment is this test's alone.
    let trust = unsafe { TrustedPeers::promise() };
    let shared = Shared::new(8);
    let (mut producer, mut consumer) = (shared.producer(), shared.consumer());
    let room = producer.reserve(70, tag(1)).unwrap().unwrap();
    producer.lend(room, 70, |bytes| bytes.fill(5));
    producer.publish(70, tag(1), Flags::WHOLE);
    let record = consumer.next().unwrap().unwrap();
    assert_eq!(consumer.lend(&record, trust), [5; 70]);
}

#[test]
fn a_long_value_goes_in_fragments_and_comes_whole() {
    for lines in [2, 8, 64] {
        let shared = Shared::new(lines);
        let (mut producer, mut consumer) = (shared.producer(), shared.consumer());
        for len in [0, 1, 48, 49, 96, 1000, 1008, 5000, 20_000] {
            let value: Vec<u8> = (0..len).map(|at| (at * 7 + len) as u8).collect();
            let mut got = Vec::new();
            let mut collect = |consumer: &mut Consumer| {
                while let Some(record) = consumer.next().unwrap() {
                    assert_eq!(record.flags.is_first(), got.is_empty());
                    got.extend(payload(consumer, &record));
                    consumer.consume(&record);
                }
            };
            let mut wait = |producer: &mut Producer, len: usize| -> Result<Reservation, ()> {
                collect(&mut consumer);
                Ok(producer.reserve(len, tag(1)).unwrap().expect("an empty ring has room"))
            };
            let streamed = producer
                .stream(tag(1), usize::MAX, &mut wait, |writer| writer.write(&value))
                .unwrap();
            streamed.result.unwrap();
            assert!(streamed.flags.is_last());
            producer.publish(streamed.last, tag(1), streamed.flags);
            let last = consumer.next().unwrap().unwrap();
            got.extend(payload(&consumer, &last));
            consumer.consume(&last);
            assert!(got == value, "{lines} lines, {len} bytes");
        }
    }
}

#[test]
fn a_stream_ends_with_what_its_wait_says() {
    let shared = Shared::new(8);
    let mut producer = shared.producer();
    let mut wait =
        |producer: &mut Producer, len: usize| producer.reserve(len, tag(1)).unwrap().ok_or("full");
    // The writing closure's own result does not hide it.
    let streamed =
        producer.stream(tag(1), usize::MAX, &mut wait, |writer| _ = writer.write(&[0; 1000]));
    assert_eq!(streamed.err(), Some("full"));
    assert!(shared.consumer().next().unwrap().is_some_and(|record| record.flags.is_first()));
    assert!(!shared.holds_value());
}

#[test]
fn records_cross_from_one_thread_to_another() {
    const RECORDS: u64 = 100_000;
    // Some ninety records each turn: a thread that yields on a busy machine waits for every other.
    let shared = Shared::new(512);
    let (mut producer, mut consumer) = (shared.producer(), shared.consumer());
    let len = |number: u64| (number * 7919 % 700) as usize;
    thread::scope(|scope| {
        scope.spawn(|| {
            for number in 0..RECORDS {
                let bytes = vec![number as u8; len(number)];
                let tag = tag(1 + number as i64);
                while put(&mut producer, tag, &bytes, Flags::WHOLE).is_none() {
                    thread::yield_now();
                }
            }
        });
        for number in 0..RECORDS {
            let (found, bytes) = loop {
                match get(&mut consumer) {
                    Some(record) => break record,
                    None => thread::yield_now(),
                }
            };
            assert_eq!((found.get(), bytes.len()), (1 + number as i64, len(number)));
            assert!(bytes.iter().all(|&byte| byte == number as u8));
        }
    });
}

// ---------------------------------------------------------------------- hostile memory

#[test]
fn an_impossible_head_is_damage() {
    let shared = Shared::new(8);
    for position in [POSITION_LIMIT, u64::MAX] {
        shared.set(HEAD_AT, position);
        assert!(Producer::attach(shared.segment.clone(), shared.layout).is_err());
        assert!(Consumer::attach(shared.segment.clone(), shared.layout).is_err());
    }
}

#[test]
fn a_head_outside_of_what_was_written_is_damage() {
    for nonsense in [u64::MAX, POSITION_LIMIT, 9, 3] {
        let shared = Shared::new(8);
        let (mut producer, mut consumer) = (shared.producer(), shared.consumer());
        for _ in 0..4 {
            put(&mut producer, tag(1), &[], Flags::WHOLE).unwrap();
            get(&mut consumer).unwrap();
        }
        while put(&mut producer, tag(1), &[], Flags::WHOLE).is_some() {
            assert!(producer.tail() < 12);
        }
        assert_eq!(producer.tail(), 11);
        shared.set(HEAD_AT, nonsense);
        let found = producer.reserve(0, tag(1));
        match nonsense {
            9 => assert!(found.unwrap().is_some()),
            _ => assert_eq!(found.unwrap_err().position, nonsense),
        }
    }
}

#[test]
fn a_head_that_is_no_hint_is_ignored() {
    for nonsense in [u64::MAX, POSITION_LIMIT, 8, 0] {
        let shared = Shared::new(8);
        let (mut producer, mut consumer) = (shared.producer(), shared.consumer());
        while put(&mut producer, tag(1), &[], Flags::WHOLE).is_some() {}
        shared.set(HEAD_HINT_AT, nonsense);
        assert!(producer.reserve(0, tag(1)).unwrap().is_none());
        get(&mut consumer).unwrap();
        shared.set(HEAD_HINT_AT, nonsense);
        assert!(producer.reserve(0, tag(1)).unwrap().is_some());
    }
}

#[test]
fn impossible_headers_are_damage() {
    let whole = u64::from(Flags::WHOLE.0);
    let wide = u64::from(Flags::WHOLE.0 | Flags::WIDE);
    let padding = u64::from(Flags::PADDING.0);
    for (word, what) in [
        (whole << 56 | 1 << 32 | 0xffff_ffff, "over the end"),
        (whole << 56 | 1 << 32 | (8 * 64 - 15), "over the end"),
        (whole << 56 | 1 << 32 | (4 * 64 - 15), "longer than a record"),
        (whole << 56 | 5, "tag"),
        (wide << 56 | 7, "tag"),
        (wide << 56 | 8, "tag"),
        (padding << 56, "padding"),
        (padding << 56 | (7 * 64 - 16), "padding"),
        ((padding | whole) << 56 | 1 << 32 | (8 * 64 - 16), "padding and a value"),
    ] {
        let shared = Shared::new(8);
        shared.set(LINES_AT, 1);
        shared.set(LINES_AT + 8, word);
        let mut consumer = shared.consumer();
        let damage = consumer.next().unwrap_err();
        assert!(damage.what.contains(what), "{word:#x}: {damage:?}");
        assert!(consumer.find(0).is_err() && !shared.holds_value());
        // The next producer writes over it.
        let mut producer = shared.producer();
        assert_eq!(put(&mut producer, tag(1), b"good", Flags::WHOLE), Some(0));
        assert_eq!(get(&mut consumer), Some((tag(1), b"good".to_vec())));
    }
}

/// What a hostile program may leave on a line: mostly what lets a walk go on.
fn hostile_line() -> impl Strategy<Value = (u8, u64, u64)> {
    let len = prop_oneof![6 => 0..112_u64, 2 => 0..300_u64, 1 => 0..0x1_0000_0000_u64];
    let flags = prop_oneof![6 => Just(u64::from(Flags::WHOLE.0)), 2 => 0..16_u64, 1 => 0..256_u64];
    let tag = prop_oneof![8 => 1..4_u64, 1 => Just(0)];
    let word = (len, tag, flags).prop_map(|(len, tag, flags)| len | tag << 32 | flags << 56);
    (0..8_u8, word, any::<u64>())
}

/// A position near another, or anywhere.
fn position_near(near: u64) -> impl Strategy<Value = u64> {
    prop_oneof![4 => near..near + 70, 1 => any::<u64>(), 1 => Just(u64::MAX)]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever bytes stand in the ring: neither side panics, reaches outside or goes on for ever.
    #[test]
    fn any_bytes_are_survived(
        power in 1..7_u32,
        smaller in 0..6_u32,
        start in prop_oneof![0..200_u64, Just(POSITION_LIMIT - 5), any::<u64>()],
        head in prop_oneof![0..200_u64, any::<u64>()],
        lines in prop::collection::vec(hostile_line(), 64),
        positions in prop::collection::vec(position_near(0), 8),
        later in prop::collection::vec(prop_oneof![0..400_u64, any::<u64>()], 0..8),
    ) {
        let shared = Shared::with_window(1 << power, 1 << power.saturating_sub(smaller).max(1));
        shared.set(HEAD_AT, start);
        shared.set(HEAD_HINT_AT, head);
        for (index, (kind, word, random)) in (0..shared.layout.lines).zip(lines) {
            let position = start.wrapping_add(index);
            let at = LINES_AT + (position % shared.layout.lines) as usize * LINE;
            let stamp = position.wrapping_add(1);
            shared.set(
                at,
                match kind {
                    0 => random,
                    1 | 2 => stamp | CONSUMED,
                    _ => stamp,
                },
            );
            shared.set(at + 8, word);
            shared.set(at + 16, random);
        }
        if let Ok((mut producer, _)) = Producer::attach(shared.segment.clone(), shared.layout) {
            for later in &later {
                let tag = tag(TAGS[(later % 5) as usize]);
                let len = (*later % 3000) as usize % (producer.max_payload(tag) + 1);
                let room = if later % 2 == 0 {
                    producer.reserve(len, tag)
                } else {
                    producer.reserve_available(tag)
                };
                if let Ok(Some(room)) = room {
                    let len = len.min(room.len);
                    producer.fill(room, |writer| writer.write(&vec![0; len])).unwrap();
                    producer.publish(len, tag, Flags::WHOLE);
                }
                shared.set(HEAD_AT, later.wrapping_add(start));
                shared.set(HEAD_HINT_AT, later.wrapping_mul(3));
            }
        }
        shared.set(HEAD_AT, start);
        let Ok(mut consumer) = Consumer::attach(shared.segment.clone(), shared.layout) else {
            return Ok(());
        };
        let _ = shared.holds_value();
        for position in positions {
            for position in [position, start.wrapping_add(position)] {
                if let Ok(Found::Record(record)) = consumer.find(position) {
                    prop_assert_eq!(payload(&consumer, &record).len(), record.len);
                    consumer.consume(&record);
                }
            }
        }
        let mut consumed = 0;
        while let Ok(Some(record)) = consumer.next() {
            prop_assert_eq!(payload(&consumer, &record).len(), record.len);
            consumer.consume(&record);
            consumed += 1;
            prop_assert!(consumed <= 2 * shared.layout.lines, "a lap ends");
        }
        let _ = shared.holds_value();
    }
}
