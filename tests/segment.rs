//! What a bare `Segment` promises.

#![cfg(not(loom))]

mod common;

use std::sync::atomic::{AtomicBool, Ordering};

use common::kernel::{Kind, Object};
use common::{Stage, halt, play, say, until};
use nix::libc;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, Uid, fork};
use sysv_channel::{
    Channel, Key, Owner, Segment, SegmentAccessError, SegmentError, SystemErrorKind,
};

const CHANGES: u64 = 20_000;

#[test]
fn child() {
    play(|role, arguments| match role {
        "fills" => fill(arguments[0]),
        "leaves it to its exit" => {
            let segment = Segment::private(8).unwrap();
            say(segment.key().raw());
            std::mem::forget(segment);
        }
        "holds" => {
            let segment = Segment::open(arguments[0]).unwrap();
            halt(segment.size());
        }
        "may only read" => {
            let key: i32 = arguments[1].parse().unwrap();
            read_only_for_others(Key::new(key).unwrap());
        }
        _ => unreachable!("{role}"),
    });
}

/// Stores words of equal bytes, and counts how often, until it is told to end by a word; then it raises
/// another.
fn fill(name: &str) {
    let segment = Segment::open(name).unwrap();
    let (count, stop) = (segment.atomic_u64(0).unwrap(), segment.atomic_u32(300).unwrap());
    for change in 1.. {
        segment.store_bytes(8, &[change as u8; 8]).unwrap();
        segment.store_bytes(20, &[change as u8; 4]).unwrap();
        segment.store_bytes(26, &[change as u8; 2]).unwrap();
        count.store(change, Ordering::Release);
        if stop.load(Ordering::Relaxed) != 0 {
            break;
        }
    }
    raise(&segment);
}

/// Adds to a word that another process adds to.
fn raise(segment: &Segment) {
    let raised = segment.atomic_u32(256).unwrap();
    for _ in 0..CHANGES {
        raised.fetch_add(1, Ordering::Relaxed);
    }
}

fn read_only_for_others(key: Key) {
    let options = || Segment::options().owner(Owner::Anyone);
    let refused = options().open(key).unwrap_err();
    assert!(matches!(refused, SegmentError::NotAllowed { read_only: false, .. }), "{refused:?}");
    say(refused);
    let segment = options().read_only().open(key).unwrap();
    say(String::from_utf8(segment.load_bytes(0..5).unwrap()).unwrap());
    say(segment.remove().unwrap_err());
}

#[test]
fn found_by_name_by_key_and_by_path() {
    let stage = Stage::new("segment found");
    let by_name = Segment::create(stage.name(), 100).unwrap();
    assert_eq!((by_name.key(), by_name.size()), (stage.key(), 100));
    by_name.store_bytes(0, b"seen").unwrap();
    for same in [stage.name().into(), sysv_channel::Name::from(stage.key())] {
        let same = Segment::open(same).unwrap();
        assert_eq!((same.id(), same.load_bytes(..4).unwrap()), (by_name.id(), b"seen".to_vec()));
    }
    let file = tempfile::NamedTempFile::new().unwrap();
    let key = Key::from_path(file.path(), b's').unwrap();
    let by_path = Segment::create(key, 1).unwrap();
    let found = Segment::open(key).map(|found| found.id());
    by_path.remove().unwrap();
    assert_eq!(found.unwrap(), by_path.id());
}

#[test]
fn create_wants_none_and_open_wants_one() {
    let stage = Stage::new("segment created");
    let missing = Segment::open(stage.name()).unwrap_err();
    assert!(missing.is_not_found(), "{missing}");
    let text = missing.to_string();
    assert!(text.contains(stage.name()) && text.contains("create it first"), "{text}");
    let made = Segment::open_or_create(stage.name(), 64).unwrap();
    assert_eq!(Segment::open_or_create(stage.name(), 64).unwrap().id(), made.id());
    let twice = Segment::create(stage.name(), 64).unwrap_err();
    assert!(twice.is_already_exists(), "{twice}");
    let small = Segment::open_or_create(stage.name(), 65).unwrap_err();
    assert!(matches!(small, SegmentError::TooSmall { size: 64, wanted: 65, .. }), "{small:?}");
    let small = Segment::options().at_least(100).open(stage.name()).unwrap_err().to_string();
    assert!(small.contains("has 64 bytes, and at least 100 were asked for"), "{small}");
    assert!(matches!(Segment::open(""), Err(SegmentError::InvalidName(_))));
}

#[test]
fn sizes_that_cannot_be_are_refused_with_the_limit_and_leave_nothing() {
    let stage = Stage::new("segment sizes");
    let none = Segment::create(stage.name(), 0).unwrap_err();
    assert!(matches!(none, SegmentError::InvalidOption(_)), "{none:?}");
    for size in [usize::MAX, isize::MAX as usize, 1 << 60] {
        let error = Segment::create(stage.name(), size).unwrap_err();
        let SegmentError::System(system) = &error else { panic!("{error:?}") };
        assert_eq!(system.kind(), SystemErrorKind::LimitReached, "{size}: {error}");
        let text = error.to_string();
        let advice = ["kernel.shmmax", "kernel.shmall", "make the segment smaller"];
        assert!(advice.iter().any(|advice| text.contains(advice)), "{text}");
    }
    let mode = Segment::options().mode(0o1000).create(stage.name(), 1).unwrap_err();
    assert!(matches!(mode, SegmentError::InvalidOption(_)), "{mode:?}");
    assert_eq!(stage.objects(), []);
}

#[test]
fn ranges_and_words_outside_are_refused_and_change_nothing() {
    let segment = Segment::private(2048).unwrap();
    let error = segment.load_bytes(2040..2060).unwrap_err();
    let expected = format!("{} has 2048 bytes; 2040..2060 was asked for", object(&segment));
    assert_eq!(error.to_string(), expected);
    let outside = |result: Result<(), SegmentAccessError>| {
        let error = result.unwrap_err();
        assert!(matches!(error, SegmentAccessError::OutOfBounds { size: 2048, .. }), "{error:?}");
    };
    outside(segment.store_bytes(2047, b"ab"));
    outside(segment.store_bytes(usize::MAX, b"ab"));
    outside(segment.load_into(usize::MAX, &mut [0; 3]));
    outside(segment.load_bytes(2049..).map(drop));
    #[allow(clippy::reversed_empty_ranges)]
    outside(segment.load_bytes(8..4).map(drop));
    outside(segment.load_bytes(..=usize::MAX).map(drop));
    outside(segment.atomic_u64(2044).map(drop));
    outside(segment.atomic_u32(2048).map(drop));
    outside(segment.atomic_i64(usize::MAX - 7).map(drop));
    assert!(matches!(
        segment.atomic_u64(4).unwrap_err(),
        SegmentAccessError::Unaligned { offset: 4, size: 8, .. }
    ));
    assert!(matches!(
        segment.atomic_i32(2).unwrap_err(),
        SegmentAccessError::Unaligned { offset: 2, size: 4, .. }
    ));
    assert_eq!(segment.load_bytes(..).unwrap(), [0; 2048]);
    segment.store_bytes(2048, b"").unwrap();
    segment.store_bytes(2046, b"ab").unwrap();
    assert_eq!(segment.load_bytes(2046..=2047).unwrap(), b"ab");
}

fn object(segment: &Segment) -> String {
    format!("shared-memory segment {} (id {})", segment.key(), segment.id())
}

#[test]
fn what_is_stored_is_loaded_at_every_offset() {
    let segment = Segment::private(300).unwrap();
    for offset in 0..17 {
        for len in 0..70_usize {
            let bytes: Vec<u8> = (0..len).map(|byte| (byte * 7 + offset) as u8).collect();
            segment.store_bytes(offset, &bytes).unwrap();
            assert_eq!(segment.load_bytes(offset..offset + len).unwrap(), bytes);
        }
    }
}

#[test]
fn atomic_words_of_two_attachments_are_one() {
    let one = Segment::private(64).unwrap();
    let other = Segment::open(one.key()).unwrap();
    one.atomic_i32(4).unwrap().store(-7, Ordering::Relaxed);
    assert_eq!(other.atomic_i32(4).unwrap().load(Ordering::Relaxed), -7);
    assert_eq!(other.atomic_u32(4).unwrap().load(Ordering::Relaxed), -7_i32 as u32);
    other.atomic_i64(8).unwrap().store(i64::MIN, Ordering::Relaxed);
    assert_eq!(one.atomic_u64(8).unwrap().fetch_add(1, Ordering::Relaxed), 1 << 63);
    let word = one.atomic_u32(60).unwrap();
    assert_eq!(word.compare_exchange(0, 5, Ordering::AcqRel, Ordering::Acquire), Ok(0));
    assert_eq!(other.load_bytes(60..).unwrap(), 5_u32.to_ne_bytes());
}

/// Negative: with copies byte by byte the words are seen torn.
#[test]
fn words_are_seen_whole_while_another_process_writes() {
    let stage = Stage::new("segment words");
    let segment = Segment::create(stage.name(), 4096).unwrap();
    let writer = stage.child("fills", &[]);
    let (mut seen, mut last) = (0, 0);
    while seen < CHANGES {
        let [mut eight, mut four, mut two] = [[0; 8]; 3];
        let (four, two) = (&mut four[..4], &mut two[..2]);
        segment.load_into(8, &mut eight).unwrap();
        segment.load_into(20, four).unwrap();
        segment.load_into(26, two).unwrap();
        for word in [&eight, &*four, &*two] {
            assert!(word.iter().all(|byte| *byte == word[0]), "{word:?}");
        }
        let count = segment.atomic_u64(0).unwrap().load(Ordering::Acquire);
        seen += u64::from(count != last);
        last = count;
    }
    segment.atomic_u32(300).unwrap().store(1, Ordering::Relaxed);
    raise(&segment);
    writer.finish();
    let raised = segment.atomic_u32(256).unwrap().load(Ordering::Relaxed);
    assert_eq!(raised, 2 * CHANGES as u32);
}

#[test]
fn what_was_stored_before_a_flag_is_seen_with_it() {
    let segment = Segment::private(128).unwrap();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for round in 1..=CHANGES as u32 {
                segment.store_bytes(64, &round.to_ne_bytes()).unwrap();
                segment.store_bytes(0, &round.to_ne_bytes()).unwrap();
            }
            stop.store(true, Ordering::Relaxed);
        });
        let load = |offset| {
            let mut word = [0; 4];
            segment.load_into(offset, &mut word).unwrap();
            u32::from_ne_bytes(word)
        };
        while !stop.load(Ordering::Relaxed) {
            let flag = load(0);
            let text = load(64);
            assert!(text >= flag, "{text} before {flag}");
        }
    });
}

#[test]
fn attached_for_reading_alone_refuses_stores_and_words_and_does_not_fault() {
    let segment = Segment::private(64).unwrap();
    segment.store_bytes(0, b"text").unwrap();
    let reader = Segment::options().read_only().open(segment.key()).unwrap();
    assert!(reader.is_read_only() && !segment.is_read_only());
    assert_eq!(reader.load_bytes(..4).unwrap(), b"text");
    let refused = reader.store_bytes(0, b"x").unwrap_err();
    assert!(matches!(refused, SegmentAccessError::ReadOnly { .. }), "{refused:?}");
    assert!(refused.to_string().contains("without SegmentOptions::read_only"), "{refused}");
    assert!(matches!(reader.atomic_u32(0), Err(SegmentAccessError::ReadOnly { .. })));
    assert_eq!(segment.load_bytes(..4).unwrap(), b"text");
}

#[test]
fn removed_segment_works_for_those_that_have_it_and_goes_with_the_last() {
    let stage = Stage::new("segment removed");
    let segment = Segment::create(stage.name(), 64).unwrap();
    let other = Segment::open(stage.name()).unwrap();
    let mut holder = stage.child("holds", &[]);
    holder.expect("64");
    assert_eq!(segment.stat().unwrap().attached, 3);
    segment.remove().unwrap();
    assert!(Segment::open(stage.name()).unwrap_err().is_not_found());
    let next = Segment::create(stage.name(), 8).unwrap();
    assert_ne!(next.id(), segment.id());
    segment.store_bytes(0, b"still").unwrap();
    assert_eq!(other.load_bytes(..5).unwrap(), b"still");
    let stat = other.stat().unwrap();
    assert!(stat.removed && stat.ownership.key == 0 && stat.attached == 3, "{stat:?}");
    assert!(other.remove().unwrap_err().is_removed());
    assert!(!next.stat().unwrap().removed);

    let id = segment.id();
    drop((segment, other));
    assert!(is_there(id), "a process has it attached");
    // The kernel detaches what a killed process had.
    holder.kill();
    until(|| !is_there(id));
}

/// Whether the kernel lists a segment of this id.
fn is_there(id: i32) -> bool {
    let table = std::fs::read_to_string("/proc/sysvipc/shm").unwrap();
    table.lines().any(|line| line.split_whitespace().nth(1) == Some(&id.to_string()))
}

#[test]
fn private_segment_goes_with_its_creator_and_no_other_user() {
    let segment = Segment::private(64).unwrap();
    let key = segment.key();
    drop(Segment::open(key).unwrap());
    // SAFETY: the child drops its copy and leaves without running the test harness.
    match unsafe { fork() }.unwrap() {
        ForkResult::Child => {
            // A forked child has it attached.
            let stored = segment.store_bytes(0, b"child");
            drop(segment);
            // SAFETY: as above.
            unsafe { libc::_exit(if stored.is_ok() { 0 } else { 1 }) }
        }
        ForkResult::Parent { child } => {
            assert_eq!(waitpid(child, None), Ok(WaitStatus::Exited(child, 0)));
        }
    }
    assert_eq!(segment.load_bytes(..5).unwrap(), b"child");
    drop(segment);
    assert!(Segment::open(key).unwrap_err().is_not_found());
}

#[test]
fn private_segment_goes_with_a_process_that_exits_by_itself() {
    let stage = Stage::new("segment at exit");
    let mut child = stage.child("leaves it to its exit", &[]);
    let key = Key::new(child.hear().parse().unwrap()).unwrap();
    child.finish();
    assert!(Segment::open(key).unwrap_err().is_not_found());
}

#[test]
fn other_users_are_kept_out_or_may_read_as_the_mode_says() {
    let stage = Stage::new("segment users");
    if !Uid::effective().is_root() {
        println!("skipped: only root can start a process of another user");
        return;
    }
    let segment = Segment::options().mode(0o644).create(stage.name(), 64).unwrap();
    segment.store_bytes(0, b"hello").unwrap();
    let key = segment.key().raw().to_string();
    let mut other = stage.child_of(65534, "may only read", &[&key]);
    let refused = other.hear();
    assert!(refused.contains("has mode 0o644") && refused.contains("read_only"), "{refused}");
    other.expect("hello");
    let removing = other.hear();
    assert!(removing.contains("only its owner, its creator or root may do that"), "{removing}");
    other.finish();

    let stat = segment.stat().unwrap();
    segment.set_permissions(65534, stat.ownership.gid, 0o600).unwrap();
    let foreign = Segment::open(stage.name()).unwrap_err();
    assert!(matches!(foreign, SegmentError::NotOwned { uid: 65534, .. }), "{foreign:?}");
    assert!(foreign.to_string().contains("SegmentOptions::owner"), "{foreign}");
    Segment::options().owner(Owner::User(65534)).open(stage.name()).unwrap();
    let unknown = segment.set_permissions(u32::MAX, 0, 0o600).unwrap_err();
    assert!(matches!(unknown, SegmentError::InvalidOption(_)), "{unknown:?}");
}

#[test]
fn a_channels_memory_is_refused_and_a_set_of_the_same_key_is_none_of_its_business() {
    let stage = Stage::new("segment channel");
    let channel = Channel::<u32>::create(stage.name()).unwrap();
    for refused in [
        Segment::open(stage.name()),
        Segment::create(stage.name(), 8),
        Segment::open_or_create(stage.name(), 8),
        Segment::open(channel.handle()),
    ] {
        let error = refused.unwrap_err();
        assert!(matches!(error, SegmentError::IsChannel { .. }), "{error:?}");
        assert!(error.to_string().contains("Channel::open"), "{error}");
    }
    drop(channel);
    Object::foreign(Kind::Set, stage.key());
    assert_eq!(Segment::create(stage.name(), 8).unwrap().size(), 8);
}

#[cfg(feature = "pod")]
#[test]
fn values_are_loaded_and_stored_by_copy_at_any_offset() {
    use zerocopy::{FromBytes, Immutable, IntoBytes};

    #[derive(Debug, Clone, Copy, PartialEq, FromBytes, IntoBytes, Immutable)]
    #[repr(C)]
    struct Reading {
        sensor: u64,
        celsius: f64,
    }

    let segment = Segment::private(64).unwrap();
    let reader = Segment::options().read_only().open(segment.key()).unwrap();
    for offset in [0, 8, 13, 48] {
        let reading = Reading { sensor: offset as u64, celsius: 36.6 };
        segment.store(offset, &reading).unwrap();
        assert_eq!(reader.load::<Reading>(offset), Ok(reading));
    }
    assert!(matches!(segment.load::<Reading>(49), Err(SegmentAccessError::OutOfBounds { .. })));
    assert!(matches!(segment.store(57, &1_u64), Err(SegmentAccessError::OutOfBounds { .. })));
    assert!(matches!(reader.store(0, &1_u8), Err(SegmentAccessError::ReadOnly { .. })));
}
