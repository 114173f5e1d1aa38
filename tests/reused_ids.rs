//! Ids of objects that were removed, which the kernel has given to others: in an ipc namespace of its own, where
//! the next id can be chosen. Needs root.

#![cfg(not(loom))]

mod common;

use std::fs;

use common::{Stage, play, say};
use nix::sched::{CloneFlags, unshare};
use sysv_channel::{Channel, Queue, Segment, Semaphores, SystemErrorKind, inspect};

/// Has the next object of a kind (`msg`, `sem`, `shm`) get this id.
fn choose_id(kind: &str, id: i32) {
    fs::write(format!("/proc/sys/kernel/{kind}_next_id"), id.to_string()).unwrap();
}

#[test]
fn child() {
    play(|role, _| {
        unshare(CloneFlags::CLONE_NEWIPC).unwrap();
        match role {
            "sets" => sets(),
            "segments" => segments(),
            "queues" => queues(),
            "channels" => channels(),
            _ => unreachable!("no such role: {role}"),
        }
        say("done");
    });
}

fn run(role: &str) {
    let stage = Stage::new("reused ids");
    let mut child = stage.child(role, &[]);
    child.expect("done");
    child.finish();
}

/// A set of 2,000 semaphores has the id of one of two.
fn sets() {
    for private in [false, true] {
        let old = match private {
            true => Semaphores::private(&[1, 1]).unwrap(),
            false => Semaphores::create("old", &[1, 1]).unwrap(),
        };
        let guard = old.acquire_guard(0, 1).unwrap();
        let id = old.id();
        Semaphores::open(old.key()).unwrap().remove().unwrap();
        choose_id("sem", id);
        let new = Semaphores::create("new", &vec![7; 2000]).unwrap();
        assert_eq!(new.id(), id);
        assert!(old.values().unwrap_err().is_removed());
        assert!(old.set_values(&[1, 2]).unwrap_err().is_removed());
        assert!(old.stat().unwrap_err().is_removed());
        assert!(old.remove().unwrap_err().is_removed());
        assert!(guard.release().unwrap_err().is_removed());
        drop(old);
        assert_eq!(new.values().unwrap(), [7; 2000]);
        new.remove().unwrap();
    }
}

fn segments() {
    for private in [false, true] {
        let old = match private {
            true => Segment::private(1 << 20).unwrap(),
            false => Segment::create("old", 1 << 20).unwrap(),
        };
        // A segment keeps its id while it is mapped; that of another namespace is this one's too.
        let id = old.id();
        unshare(CloneFlags::CLONE_NEWIPC).unwrap();
        choose_id("shm", id);
        let new = Segment::create("new", 100).unwrap();
        assert_eq!((new.id(), new.size()), (id, 100));
        assert!(old.stat().unwrap_err().is_removed());
        assert!(old.remove().unwrap_err().is_removed());
        old.store_bytes(1 << 19, b"still there").unwrap();
        drop(old);
        assert!(!new.stat().unwrap().removed);
        new.remove().unwrap();
    }
}

fn queues() {
    let old = Queue::<u64>::private().unwrap();
    unshare(CloneFlags::CLONE_NEWIPC).unwrap();
    choose_id("msg", old.id());
    let new = Queue::<u64>::create("new").unwrap();
    assert_eq!(new.id(), old.id());
    drop(old);
    new.send(&7).unwrap();
    assert_eq!(new.recv().unwrap(), 7);
    new.remove().unwrap();
}

/// A channel whose objects' ids are others' objects now leaves those alone.
fn channels() {
    let old = Channel::<u64>::create("channel").unwrap();
    let tx = old.sender().unwrap();
    tx.send(&1).unwrap();
    unshare(CloneFlags::CLONE_NEWIPC).unwrap();
    let objects = (
        Semaphores::create("set", &[1]).unwrap(),
        Segment::create("segment", 100).unwrap(),
        Queue::<u64>::create("queue").unwrap(),
    );
    assert!(old.stats().is_err_and(|error| error.kind() == SystemErrorKind::Removed));
    drop((tx, old));
    assert_eq!(objects.0.values().unwrap(), [1]);
    assert_eq!(objects.1.size(), objects.1.stat().unwrap().size);
    assert_eq!(objects.2.stat().unwrap().messages, 0);
    assert!(inspect("channel").is_err());
    objects.0.remove().unwrap();
    objects.1.remove().unwrap();
    objects.2.remove().unwrap();
}

#[test]
fn a_set_of_the_same_id_is_left_alone() {
    run("sets");
}

#[test]
fn a_segment_of_the_same_id_is_left_alone() {
    run("segments");
}

#[test]
fn a_queue_of_the_same_id_is_left_alone() {
    run("queues");
}

#[test]
fn objects_with_the_ids_of_a_channels_are_left_alone() {
    run("channels");
}
