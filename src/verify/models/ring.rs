//! The ring by itself: publishing and consuming, without a sleeper.

use std::sync::Arc;

use loom::thread;

use super::{finds, holds};
use crate::control::Layout;
use crate::ring::{Consumer, Flags, Producer};
use crate::sys::{Fault, Key, Segment, SegmentId};
use crate::tag::Tag;

fn layout(lines: u64) -> Layout {
    with_window(lines, lines)
}

fn with_window(lines: u64, window: u64) -> Layout {
    Layout {
        lanes: 1,
        receivers: 1,
        ring_lines: lines,
        ring_window: window,
        return_lines: 0,
        return_window: 0,
        inline_limit: 0,
        max_value: 1 << 20,
        max_waiting: 0,
    }
}

fn segment(layout: &Layout) -> Arc<Segment> {
    let key = Key::new(1).unwrap();
    let id = SegmentId::create(key, layout.plan().unwrap(), 0o600).unwrap();
    Arc::new(id.attach(false).unwrap())
}

/// Publishes a payload of `len` bytes that all say `byte`; `false` while there is no room.
fn publish(producer: &mut Producer, len: usize, byte: u8) -> bool {
    let Some(room) = producer.reserve(len, Tag::DEFAULT).unwrap() else { return false };
    producer.fill(room, |writer| writer.write(&vec![byte; len]).unwrap());
    producer.publish(len, Tag::DEFAULT, Flags::WHOLE);
    true
}

fn take(consumer: &mut Consumer) -> Option<Vec<u8>> {
    let record = consumer.next().unwrap()?;
    let bytes = consumer.read(&record, |mut reader| reader.read_vec(reader.remaining()).unwrap());
    consumer.consume(&record);
    Some(bytes)
}

/// A producer sends records of these lengths, a consumer takes them.
fn stream(layout: Layout, warm: usize, lens: &'static [usize]) {
    let segment = segment(&layout);
    let mut producer = Producer::attach(segment.clone(), layout.ring(0)).unwrap().0;
    let mut consumer = Consumer::attach(segment, layout.ring(0)).unwrap();
    // Laps done before another thread runs cost nothing.
    for _ in 0..warm {
        assert!(publish(&mut producer, 10, 0xff));
        take(&mut consumer).unwrap();
    }
    let sender = thread::spawn(move || {
        for (index, &len) in lens.iter().enumerate() {
            while !publish(&mut producer, len, index as u8) {
                thread::yield_now();
            }
        }
    });
    for (index, &len) in lens.iter().enumerate() {
        let bytes = loop {
            match take(&mut consumer) {
                Some(bytes) => break bytes,
                None => thread::yield_now(),
            }
        };
        assert_eq!(bytes, vec![index as u8; len], "record {index}");
    }
    sender.join().unwrap();
}

#[test]
fn records_arrive_once_in_order_and_whole_over_the_wrap() {
    let model = || stream(layout(4), 2, &[8, 8, 8, 8]);
    holds("four values over the wrap", model);
    finds(
        "four values over the wrap",
        &[Fault::StampStoreRelaxed, Fault::StampLoadRelaxed, Fault::StampBeforeHeader],
        model,
    );
}

#[test]
fn lines_are_not_written_over_before_they_are_taken() {
    let model = || stream(layout(2), 1, &[8, 8, 8]);
    holds("a ring of two lines", model);
    finds("a ring of two lines", &[Fault::HeadRelaxed, Fault::FollowingLineNotFree], model);
}

#[test]
fn a_window_ends_only_where_the_next_record_has_room() {
    // The second record begins a lap if the first was consumed, and else stands behind it.
    let model = || stream(with_window(8, 2), 1, &[8, 8, 8, 70]);
    holds("a window of two lines", model);
    let faults = [Fault::WindowEndedEarly, Fault::HeadRelaxed, Fault::FollowingLineNotFree];
    finds("a window of two lines", &faults, model);
}

#[test]
fn a_new_owner_writes_only_over_what_was_taken() {
    let model = || {
        let layout = layout(4);
        let segment = segment(&layout);
        let mut former = Producer::attach(segment.clone(), layout.ring(0)).unwrap().0;
        let mut consumer = Consumer::attach(segment.clone(), layout.ring(0)).unwrap();
        (0..3).for_each(|byte| assert!(publish(&mut former, 8, byte)));
        drop(former);
        let receiver = thread::spawn(move || {
            for byte in 0..3 {
                assert_eq!(take(&mut consumer).unwrap(), [byte; 8]);
            }
            consumer
        });
        let mut next = Producer::attach(segment, layout.ring(0)).unwrap().0;
        let published = (3..6).take_while(|&byte| publish(&mut next, 8, byte)).count();
        let mut consumer = receiver.join().unwrap();
        for byte in 3..3 + published as u8 {
            assert_eq!(take(&mut consumer).unwrap(), [byte; 8]);
        }
        assert!(take(&mut consumer).is_none());
    };
    holds("taken over while records are taken", model);
    let faults = [Fault::TakeoverRelaxed, Fault::HeadRelaxed];
    finds("taken over while records are taken", &faults, model);
}
