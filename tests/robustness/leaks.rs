//! A million small operations leave no descriptor, mapping or object behind, and no memory.

use std::fs;

use sysv_channel::codec::Raw;
use sysv_channel::{Channel, Select, TrustedPeers};

use super::{Shape, alone, watchdog};

type Bytes = Vec<u8>;

/// What this process holds: open files, mappings of segments, and System V objects under keys that
/// were there neither at the start nor by any other program's doing.
#[derive(Debug, PartialEq)]
struct Held {
    files: usize,
    segments: usize,
    attached: usize,
}

impl Held {
    fn now() -> Self {
        let maps = fs::read_to_string("/proc/self/maps").unwrap();
        let segments = fs::read_to_string("/proc/sysvipc/shm").unwrap();
        let pid = std::process::id().to_string();
        Held {
            files: fs::read_dir("/proc/self/fd").unwrap().count(),
            segments: maps.lines().filter(|line| line.contains("/SYSV")).count(),
            // The fifth field is the creator.
            attached: segments
                .lines()
                .filter(|line| line.split_whitespace().nth(4) == Some(pid.as_str()))
                .count(),
        }
    }
}

#[test]
fn a_million_operations_leave_nothing() {
    alone("leaks::a_million_operations_leave_nothing", || {
        let _watchdog = watchdog("a_million_operations_leave_nothing");
        // What is made once and kept: the page that a forked child sees wiped.
        drop(Channel::<Bytes, Raw>::private().unwrap());
        let before = Held::now();
        for shape in Shape::ALL {
            values(shape, 330_000);
            ends(shape, 1000);
            channels(shape, 300);
            failures(shape, 300);
        }
        assert_eq!(Held::now(), before);
    });
}

#[test]
fn channels_that_come_and_go_leave_nothing() {
    alone("leaks::channels_that_come_and_go_leave_nothing", || {
        let count = std::env::var("CHANNELS").map_or(3000, |count| count.parse().unwrap());
        // What is made once and kept, in all three shapes.
        Shape::ALL.into_iter().for_each(|shape| channels(shape, 100));
        let (before, memory) = (Held::now(), resident_kib());
        for round in 0..count {
            channels(Shape::ALL[round % 3], 1);
        }
        assert_eq!(Held::now(), before);
        let grown = resident_kib().saturating_sub(memory);
        println!("{count} channels: {grown} KiB more than the {memory} before");
        assert!(grown < 1024, "{count} channels: {grown} KiB");
    });
}

/// How much of this process stands in memory.
fn resident_kib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    resident.trim().strip_suffix(" kB").unwrap().parse().unwrap()
}

fn channel(shape: Shape) -> Channel<Bytes, Raw> {
    // SAFETY: the channel is private, and only this test opens it.
    let trust = unsafe { TrustedPeers::promise() };
    let options = Channel::<Bytes, Raw>::options();
    let options = options.inline_limit(shape.inline_limit()).capacity(shape.capacity());
    options.in_place(trust).private().unwrap()
}

fn values(shape: Shape, count: usize) {
    let channel = channel(shape);
    let (tx, rx) = (channel.sender().unwrap(), channel.receiver().unwrap());
    let lengths = [0, 8, 100, 300, 1000];
    let during = Held::now();
    for (round, len) in lengths.into_iter().cycle().take(count).enumerate() {
        let value = vec![round as u8; len];
        tx.try_send(&value).unwrap();
        match round % 3 {
            0 => assert_eq!(rx.try_recv().unwrap(), value),
            1 => assert_eq!(*rx.recv_in_place().unwrap(), value),
            _ => assert_eq!(rx.recv_matching(Select::Any).unwrap().value, value),
        }
    }
    assert_eq!(Held::now(), during);
    let stats = channel.stats().unwrap();
    assert_eq!((stats.sent_values, stats.depth()), (count as u64, 0));
}

fn ends(shape: Shape, count: usize) {
    let channel = channel(shape);
    for _ in 0..count {
        let (tx, rx) = (channel.sender().unwrap(), channel.receiver().unwrap());
        tx.try_send(&vec![1]).unwrap();
        rx.recv().unwrap();
    }
    let stats = channel.stats().unwrap();
    assert_eq!((stats.senders, stats.receivers, stats.users), (0, 0, 1));
}

fn channels(shape: Shape, count: usize) {
    for _ in 0..count {
        let channel = channel(shape);
        let opened = Channel::<Bytes, Raw>::open(channel.handle()).unwrap();
        let tx = opened.sender().unwrap();
        drop(opened);
        tx.try_send(&vec![1]).unwrap();
        // The ends keep the channel open.
        drop(channel);
        assert_eq!(tx.channel().receiver().unwrap().recv().unwrap(), [1]);
    }
}

fn failures(shape: Shape, count: usize) {
    let channel = channel(shape);
    for _ in 0..count {
        // Of another type, of a name that nobody has made, and one that is in use.
        assert!(Channel::<u64>::open(channel.handle()).is_err());
        assert!(Channel::<Bytes, Raw>::open("nobody makes this either").is_err());
        assert!(Channel::<Bytes, Raw>::create(channel.handle()).is_err());
    }
}
