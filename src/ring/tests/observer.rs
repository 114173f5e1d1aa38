//! Watching a ring from outside.

use std::sync::atomic::{AtomicBool, AtomicU64};
use std::thread;

use super::*;

fn observer(shared: &Shared) -> Observer {
    Observer::new(shared.segment.clone(), shared.layout)
}

fn see(observer: &mut Observer) -> Option<Vec<u8>> {
    let mut payload = Vec::new();
    match observer.next(u64::MAX, &mut payload) {
        Observed::Record { .. } => Some(payload),
        Observed::Lost | Observed::Nothing => None,
    }
}

#[test]
fn what_was_consumed_is_seen_until_it_is_written_over() {
    let shared = Shared::new(64);
    let (mut producer, mut consumer) = (shared.producer(), shared.consumer());
    let mut observer = observer(&shared);
    for value in 0..8 {
        put(&mut producer, tag(1), &[value; 100], Flags::WHOLE).unwrap();
        get(&mut consumer).unwrap();
    }
    let seen: Vec<_> = std::iter::from_fn(|| see(&mut observer)).collect();
    assert_eq!(seen, (0..8).map(|value| vec![value; 100]).collect::<Vec<_>>());
    for value in 0..40 {
        put(&mut producer, tag(1), &[value; 100], Flags::WHOLE).unwrap();
        get(&mut consumer).unwrap();
    }
    put(&mut producer, tag(1), b"last", Flags::WHOLE).unwrap();
    let mut payload = Vec::new();
    assert_eq!(observer.next(u64::MAX, &mut payload), Observed::Lost);
    assert_eq!(see(&mut observer).as_deref(), Some(&b"last"[..]));
    assert_eq!(observer.next(u64::MAX, &mut payload), Observed::Nothing);
}

#[test]
fn what_may_be_taken_back_is_left_alone() {
    let shared = Shared::new(64);
    let mut producer = shared.producer();
    let mut observer = observer(&shared);
    let position = put(&mut producer, tag(1), b"not announced", Flags::WHOLE).unwrap();
    let mut payload = Vec::new();
    assert_eq!(observer.next(position, &mut payload), Observed::Nothing);
    let seen = observer.next(position + 1, &mut payload);
    assert_eq!(seen, Observed::Record { position, tag: tag(1), flags: Flags::WHOLE });
    assert_eq!(payload, b"not announced");
}

/// A producer died while it wrote behind its window, at the array's start: what it told counts for its successor too.
#[test]
fn what_a_dead_producer_wrote_over_is_not_seen() {
    let shared = Shared::with_window(256, 64);
    let (mut producer, mut consumer) = (shared.producer(), shared.consumer());
    let mut observer = observer(&shared);
    for value in 0..32 {
        put(&mut producer, tag(1), &[value; 100], Flags::WHOLE).unwrap();
        get(&mut consumer).unwrap();
    }
    let room = producer.reserve(100, tag(1)).unwrap().unwrap();
    assert_eq!(producer.tail(), 256, "the window has ended");
    producer.fill(room, |writer| writer.write(&[0xee; 100])).unwrap();
    drop(producer);
    let mut successor = shared.producer();
    put(&mut successor, tag(1), b"next", Flags::WHOLE).unwrap();
    while let Some(seen) = see(&mut observer) {
        assert!(!seen.contains(&0xee), "a record that was written over");
    }
}

/// One side writes records whose words all say the same, the other consumes them as fast, and what an
/// observer sees is never of two records.
#[test]
fn no_record_is_seen_that_is_half_written_over() {
    const RECORDS: u64 = 400_000;
    for (lines, window) in [(64, 64), (256, 64)] {
        let shared = Shared::with_window(lines, window);
        let (mut producer, mut consumer) = (shared.producer(), shared.consumer());
        let mut observer = observer(&shared);
        let (over, consumed) = (AtomicBool::new(false), AtomicU64::new(0));
        let (mut seen, mut lost) = (0, 0);
        thread::scope(|scope| {
            scope.spawn(|| {
                for record in 1..=RECORDS {
                    let words = 1 + record as usize * 31 % (lines as usize * LINE / 8 / 4);
                    let bytes = record.to_le_bytes().repeat(words);
                    while put(&mut producer, tag(1), &bytes, Flags::WHOLE).is_none() {
                        thread::yield_now();
                    }
                }
            });
            scope.spawn(|| {
                while consumed.load(Ordering::Relaxed) < RECORDS {
                    match get(&mut consumer) {
                        Some(_) => _ = consumed.fetch_add(1, Ordering::Relaxed),
                        None => thread::yield_now(),
                    }
                }
                over.store(true, Ordering::Release);
            });
            let (mut payload, mut last) = (Vec::new(), 0);
            loop {
                let was_over = over.load(Ordering::Acquire);
                match observer.next(u64::MAX, &mut payload) {
                    Observed::Record { .. } => {
                        let words: Vec<_> = payload.chunks(8).collect();
                        assert!(words.iter().all(|word| *word == words[0]), "of two records");
                        let record = u64::from_le_bytes(words[0].try_into().unwrap());
                        assert!(record > last, "{record} after {last}");
                        (last, seen) = (record, seen + 1);
                    }
                    Observed::Lost => lost += 1,
                    Observed::Nothing if was_over => break,
                    Observed::Nothing => thread::yield_now(),
                }
            }
        });
        assert!(seen > 0 && lost > 0, "{seen} seen, {lost} times some were lost");
    }
}

#[test]
fn whatever_stands_there_an_observer_comes_to_an_end() {
    let shared = Shared::new(16);
    let mut random = 7_u64;
    let mut payload = Vec::new();
    let mut observer = observer(&shared);
    for _ in 0..20_000 {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let at = (random >> 33) as usize % ((LINES_AT + 16 * LINE) / 8) * 8;
        let value = [random, random >> 56, random >> 50 & 31, u64::MAX][random as usize >> 60 & 3];
        shared.set(at, value);
        observer.next(random >> 60, &mut payload);
        assert!(payload.len() <= 16 * LINE);
    }
}
