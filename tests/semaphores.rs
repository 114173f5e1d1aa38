//! What bare `Semaphores` promise.

#![cfg(not(loom))]

mod common;

use std::sync::atomic::Ordering;
use std::sync::mpsc;
use std::thread::{Scope, ScopedJoinHandle};
use std::time::{Duration, Instant};

use common::kernel::{Kind, Object, has_ended, is_asleep, objects};
use common::{Child, Stage, halt, play, say, until};
use nix::libc::{self, c_int};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, Uid, fork, gettid};
use sysv_channel::{
    Channel, Key, Owner, Segment, SemaphoreOp, SemaphoreOpError, Semaphores, SemaphoresError,
    SystemErrorKind,
};

const NEVER: Duration = Duration::from_secs(100_000);
const ROUNDS: usize = 400;
const RACERS: u16 = 8;

#[test]
fn child() {
    play(|role, arguments| {
        let name = arguments[0];
        match role {
            "holds" => {
                let set = Semaphores::open(name).unwrap();
                let _guard = set.acquire_guard(0, 2).unwrap();
                set.operate(&[SemaphoreOp::release(1, 5).undo()]).unwrap();
                halt("held");
            }
            "waits" => {
                let set = Semaphores::open(name).unwrap();
                say("ready");
                say(match arguments[1] {
                    "acquire" => set.acquire(0, 1).map_or_else(|error| error.to_string(), ok),
                    _ => set.wait_for_zero(1).map_or_else(|error| error.to_string(), ok),
                });
            }
            "leaves it to its exit" => {
                let set = Semaphores::private(&[1]).unwrap();
                say(set.key().raw());
                std::mem::forget(set);
            }
            "races" => race(name),
            "counts" => count(name),
            "another user" => {
                let set = Semaphores::options().owner(Owner::Anyone).open(name).unwrap();
                say(set.acquire(0, 1).unwrap_err());
                say(set.wait_for_zero(1).map_or_else(|error| error.to_string(), ok));
                say(set.set_value(0, 1).unwrap_err());
                say(set.remove().unwrap_err());
            }
            _ => unreachable!("{role}"),
        }
    });
}

fn ok(_: ()) -> String {
    "ok".to_owned()
}

/// Opens or creates one set after another at the moment at which others do, and takes one.
fn race(name: &str) {
    let start = Segment::open(name).unwrap();
    let round = start.atomic_u32(0).unwrap();
    let ready = start.atomic_u32(4).unwrap();
    for number in 1..=ROUNDS as u32 {
        ready.fetch_add(1, Ordering::AcqRel);
        until(|| round.load(Ordering::Acquire) >= number);
        let set = Semaphores::open_or_create(format!("{name} {number}"), &[0, RACERS]).unwrap();
        // Had it been opened before it was initialised, there would be none to take.
        set.try_acquire(1, 1).unwrap();
    }
    say("done");
}

/// Adds to a number under the lock, by a load and a store that others can come between.
fn count(name: &str) {
    let (set, memory) = (Semaphores::open(name).unwrap(), Segment::open(name).unwrap());
    let number = memory.atomic_u64(0).unwrap();
    for _ in 0..2000 {
        let guard = set.acquire_guard(0, 1).unwrap();
        let before = number.load(Ordering::Relaxed);
        std::hint::spin_loop();
        number.store(before + 1, Ordering::Relaxed);
        guard.release().unwrap();
    }
}

/// A set that a program without this crate made, and has not given values.
fn uninitialised(key: Key, count: c_int) -> Object {
    // SAFETY: semget takes and answers numbers.
    let id = unsafe { libc::semget(key.raw(), count, libc::IPC_CREAT | libc::IPC_EXCL | 0o600) };
    assert_ne!(id, -1);
    Object { kind: Kind::Set, id }
}

fn set_by_c(object: Object, index: c_int, value: c_int) {
    // SAFETY: SETVAL takes a number.
    assert_ne!(unsafe { libc::semctl(object.id, index, libc::SETVAL, value) }, -1);
}

#[test]
fn created_with_values_and_found_by_name_by_key_and_by_path() {
    let stage = Stage::new("semaphores found");
    let missing = Semaphores::open(stage.name()).unwrap_err();
    assert!(missing.is_not_found() && missing.to_string().contains(stage.name()), "{missing}");
    let set = Semaphores::create(stage.name(), &[3, 0, 32_767]).unwrap();
    assert_eq!((set.key(), set.count()), (stage.key(), 3));
    let same = Semaphores::open(stage.key()).unwrap();
    assert_eq!((same.id(), same.values().unwrap()), (set.id(), vec![3, 0, 32_767]));
    let twice = Semaphores::create(stage.name(), &[1]).unwrap_err();
    assert!(twice.is_already_exists(), "{twice}");
    let opened = Semaphores::open_or_create(stage.name(), &[7, 7]).unwrap();
    assert_eq!((opened.id(), opened.value(0).unwrap()), (set.id(), 3));
    let few = Semaphores::open_or_create(stage.name(), &[1; 4]).unwrap_err();
    assert!(matches!(few, SemaphoresError::TooFew { count: 3, wanted: 4, .. }), "{few:?}");
    let few = Semaphores::options().at_least(9).open(stage.name()).unwrap_err().to_string();
    assert!(few.contains("has 3 semaphores, and at least 9 were asked for"), "{few}");

    let file = tempfile::NamedTempFile::new().unwrap();
    let key = Key::from_path(file.path(), b'm').unwrap();
    let by_path = Semaphores::create(key, &[1]).unwrap();
    let found = Semaphores::open(key).map(|found| found.id());
    by_path.remove().unwrap();
    assert_eq!(found.unwrap(), by_path.id());
}

#[test]
fn every_initial_value_is_there_and_counts_as_initialised() {
    for first in [0, 1, 32_766, 32_767] {
        let set = Semaphores::private(&[first, 5]).unwrap();
        assert_eq!(set.values().unwrap(), [first, 5]);
        assert!(set.stat().unwrap().last_operation.is_some(), "{first}");
    }
}

#[test]
fn what_cannot_be_created_is_refused_and_leaves_nothing() {
    let stage = Stage::new("semaphores refused");
    for values in [&[][..], &[32_768], &[0, u16::MAX]] {
        let error = Semaphores::create(stage.name(), values).unwrap_err();
        assert!(matches!(error, SemaphoresError::InvalidOption(_)), "{error:?}");
    }
    let mode = Semaphores::options().mode(0o1000).create(stage.name(), &[1]).unwrap_err();
    assert!(matches!(mode, SemaphoresError::InvalidOption(_)), "{mode:?}");
    let many = Semaphores::create(stage.name(), &vec![0; 1 << 20]).unwrap_err();
    let SemaphoresError::System(system) = &many else { panic!("{many:?}") };
    assert_eq!(system.kind(), SystemErrorKind::LimitReached);
    assert!(many.to_string().contains("the first number of kernel.sem"), "{many}");
    assert_eq!(stage.objects(), []);
}

/// Removes what is under some keys, also when the test fails.
struct Removed(Vec<Key>);

impl Drop for Removed {
    fn drop(&mut self) {
        self.0.iter().flat_map(|key| objects(*key)).for_each(Object::remove_if_there);
    }
}

/// Negative: without the wait for `sem_otime` in `find`, one of some runs sees zeros.
#[test]
fn of_many_that_open_or_create_at_once_one_creates_and_all_see_its_values() {
    let stage = Stage::new("semaphores race");
    let start = Segment::create(stage.name(), 8).unwrap();
    let (round, ready) = (start.atomic_u32(0).unwrap(), start.atomic_u32(4).unwrap());
    let racers: Vec<Child> = (0..RACERS).map(|_| stage.child("races", &[])).collect();
    let name = |number| format!("{} {number}", stage.name());
    let _removed = Removed((1..=ROUNDS).map(|number| Key::from_name(&name(number))).collect());
    let mut wrong = Vec::new();
    for number in 1..=ROUNDS as u32 {
        let all_are_ready = || ready.load(Ordering::Acquire) == number * u32::from(RACERS);
        let one_failed = || racers.iter().any(|racer| has_ended(racer.id()));
        until(|| all_are_ready() || one_failed());
        round.store(number, Ordering::Release);
    }
    racers.into_iter().for_each(|mut racer| {
        racer.expect("done");
        racer.finish();
    });
    for number in 1..=ROUNDS {
        let set = Semaphores::open(name(number)).unwrap();
        // Had it been initialised twice, some would be left.
        if set.values().unwrap() != [0, 0] {
            wrong.push((number, set.values().unwrap()));
        }
    }
    assert_eq!(wrong, []);
}

/// Runs `opening` in a thread, and returns when it sleeps; it must not end yet.
fn once_it_waits<'scope>(
    scope: &'scope Scope<'scope, '_>,
    opening: impl FnOnce() -> Vec<u16> + Send + 'scope,
) -> ScopedJoinHandle<'scope, Vec<u16>> {
    let (told, thread_id) = mpsc::channel();
    let opener = scope.spawn(move || {
        told.send(gettid()).unwrap();
        opening()
    });
    let thread_id = thread_id.recv().unwrap();
    until(|| is_asleep(thread_id) || opener.is_finished());
    assert!(!opener.is_finished());
    opener
}

/// Negative: without the wait for `sem_otime` in `find`, they are opened without values.
#[test]
fn opening_waits_for_the_creators_first_operation() {
    let stage = Stage::new("semaphores half-made");
    let half = uninitialised(stage.key(), 2);
    let patient = || Semaphores::options().initialised_within(NEVER);
    std::thread::scope(|scope| {
        let opener =
            once_it_waits(scope, || patient().open(stage.name()).unwrap().values().unwrap());
        let creator = once_it_waits(scope, || {
            patient().open_or_create(stage.name(), &[9, 9]).unwrap().values().unwrap()
        });
        set_by_c(half, 0, 4);
        set_by_c(half, 1, 6);
        half.post(1);
        assert_eq!(opener.join().unwrap(), [4, 7]);
        assert_eq!(creator.join().unwrap(), [4, 7]);
    });
}

#[test]
fn what_a_killed_creator_left_is_an_error_that_says_so_and_can_be_repaired() {
    let stage = Stage::new("semaphores orphan");
    let orphan = uninitialised(stage.key(), 1);
    let options = || Semaphores::options().initialised_within(Duration::from_millis(5));
    let error = options().open(stage.name()).unwrap_err();
    assert!(matches!(error, SemaphoresError::NotInitialised { set_by: None, .. }), "{error:?}");
    let text = error.to_string();
    for part in [
        "was not initialised within 5ms",
        "its creator ended before it set the values",
        &format!("ipcrm -s {}", orphan.id),
        "accept_uninitialised",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
    let error = options().open_or_create(stage.name(), &[1]).unwrap_err();
    assert!(matches!(error, SemaphoresError::NotInitialised { .. }), "{error:?}");

    // A program in C that initialises and does no operation.
    set_by_c(orphan, 0, 3);
    let error = options().open(stage.name()).unwrap_err().to_string();
    assert!(error.contains(&format!("process {} has set values", std::process::id())), "{error}");
    let set = Semaphores::options().accept_uninitialised().open(stage.name()).unwrap();
    assert_eq!(set.value(0).unwrap(), 3);
    set.acquire(0, 1).unwrap();
    assert_eq!(Semaphores::open(stage.name()).unwrap().value(0).unwrap(), 2);
}

#[test]
fn a_half_made_set_that_is_removed_is_made_again() {
    let stage = Stage::new("semaphores made again");
    let half = uninitialised(stage.key(), 1);
    std::thread::scope(|scope| {
        let opener = once_it_waits(scope, || {
            let patient = Semaphores::options().initialised_within(NEVER);
            patient.open_or_create(stage.name(), &[2]).unwrap().values().unwrap()
        });
        half.remove();
        assert_eq!(opener.join().unwrap(), [2]);
    });
}

#[test]
fn acquiring_takes_and_releasing_gives() {
    let set = Semaphores::private(&[2, 0]).unwrap();
    set.acquire(0, 2).unwrap();
    assert!(set.try_acquire(0, 1).unwrap_err().is_would_block());
    let begun = Instant::now();
    let timeout = Duration::from_millis(20);
    assert!(set.acquire_timeout(0, 1, timeout).unwrap_err().is_timeout());
    assert!(set.acquire_timeout(0, 1, Duration::ZERO).unwrap_err().is_timeout());
    let ops = [SemaphoreOp::acquire(0, 1)];
    let deadline = Instant::now() + timeout;
    assert!(set.operate_deadline(&ops, deadline).unwrap_err().is_timeout());
    assert!(Instant::now() >= deadline && begun.elapsed() >= 2 * timeout);
    set.release(0, 3).unwrap();
    set.acquire_timeout(0, 1, NEVER).unwrap();
    set.operate_deadline(&ops, Instant::now() + NEVER).unwrap();
    assert_eq!(set.values().unwrap(), [1, 0]);
    set.wait_for_zero(1).unwrap();
    assert!(set.wait_for_zero_timeout(0, timeout).unwrap_err().is_timeout());
    set.operate(&[]).unwrap();
}

#[test]
fn several_operations_are_one_step() {
    let set = Semaphores::private(&[1, 1, 1]).unwrap();
    let both = [SemaphoreOp::acquire(0, 1), SemaphoreOp::acquire(1, 2)];
    assert!(set.try_operate(&both).unwrap_err().is_would_block());
    assert_eq!(set.values().unwrap(), [1, 1, 1]);
    std::thread::scope(|scope| {
        let waiter = scope.spawn(|| set.operate(&both));
        until(|| set.waiting(1).unwrap() == 1);
        set.release(1, 1).unwrap();
        waiter.join().unwrap().unwrap();
    });
    assert_eq!(set.values().unwrap(), [0, 0, 1]);
    let in_order = [SemaphoreOp::release(0, 1), SemaphoreOp::acquire(0, 1)];
    set.try_operate(&in_order).unwrap();
    let out_of_order = [SemaphoreOp::acquire(0, 1), SemaphoreOp::release(0, 1)];
    assert!(set.try_operate(&out_of_order).unwrap_err().is_would_block());
}

#[test]
fn what_cannot_be_done_is_an_error_that_says_what() {
    let set = Semaphores::private(&[32_767, 0]).unwrap();
    let over = set.release(0, 1).unwrap_err();
    assert!(matches!(over, SemaphoreOpError::Overflow { .. }), "{over:?}");
    assert!(over.to_string().contains("more than 32767"), "{over}");
    let none = set.acquire(2, 1).unwrap_err();
    assert!(matches!(none, SemaphoreOpError::NoSuchSemaphore { index: 2, count: 2, .. }));
    assert!(none.to_string().ends_with("has 2 semaphores, 0 to 1, and none 2"), "{none}");
    for amount in [0, 32_768, u16::MAX] {
        for op in [SemaphoreOp::acquire(0, amount), SemaphoreOp::release(1, amount)] {
            let error = set.operate(&[op]).unwrap_err();
            assert!(matches!(error, SemaphoreOpError::InvalidAmount { .. }), "{error:?}");
        }
    }
    let limits = std::fs::read_to_string("/proc/sys/kernel/sem").unwrap();
    let most: usize = limits.split_whitespace().nth(2).unwrap().parse().unwrap();
    set.operate(&vec![SemaphoreOp::wait_for_zero(1); most]).unwrap();
    let many = set.operate(&vec![SemaphoreOp::wait_for_zero(1); most + 1]).unwrap_err();
    assert!(matches!(many, SemaphoreOpError::TooMany { .. }), "{many:?}");
    assert!(many.to_string().contains(&format!("{} operations are too many", most + 1)), "{many}");
    assert!(many.to_string().contains("the third number of kernel.sem"), "{many}");
    for error in [set.value(2).unwrap_err(), set.last_pid(9).unwrap_err()] {
        assert!(matches!(error, SemaphoresError::NoSuchSemaphore { count: 2, .. }), "{error:?}");
    }
    for error in [
        set.set_value(0, 32_768).unwrap_err(),
        set.set_values(&[1]).unwrap_err(),
        set.set_values(&[1; 3]).unwrap_err(),
    ] {
        assert!(matches!(error, SemaphoresError::InvalidOption(_)), "{error:?}");
    }
    assert_eq!(set.values().unwrap(), [32_767, 0]);
}

#[test]
fn what_is_to_be_undone_beyond_its_range_is_an_overflow() {
    let set = Semaphores::private(&[0]).unwrap();
    let (up, down) = (SemaphoreOp::release(0, 32_767).undo(), SemaphoreOp::acquire(0, 32_767));
    set.operate(&[up]).unwrap();
    set.operate(&[down]).unwrap();
    let error = set.operate(&[up]).unwrap_err();
    assert!(matches!(error, SemaphoreOpError::Overflow { .. }), "{error:?}");
    assert_eq!(set.value(0).unwrap(), 0);
}

#[test]
fn figures_follow_what_happens() {
    let set = Semaphores::private(&[0, 1]).unwrap();
    let own = std::process::id() as i32;
    assert_eq!((set.waiting(0).unwrap(), set.waiting_for_zero(1).unwrap()), (0, 0));
    std::thread::scope(|scope| {
        let acquirer = scope.spawn(|| set.acquire(0, 1));
        let waiter = scope.spawn(|| set.wait_for_zero(1));
        until(|| set.waiting(0).unwrap() == 1 && set.waiting_for_zero(1).unwrap() == 1);
        set.set_values(&[1, 0]).unwrap();
        acquirer.join().unwrap().unwrap();
        waiter.join().unwrap().unwrap();
    });
    assert_eq!((set.last_pid(0).unwrap(), set.last_pid(1).unwrap()), (own, own));
    let stat = set.stat().unwrap();
    assert_eq!((stat.count, stat.ownership.key), (2, set.key().raw()));
    assert!(stat.last_change.is_some());
    set.set_value(1, 300).unwrap();
    assert_eq!(set.values().unwrap(), [0, 300]);
    set.set_permissions(stat.ownership.uid, stat.ownership.gid, 0o640).unwrap();
    assert_eq!(set.stat().unwrap().ownership.mode, 0o640);
    let unknown = set.set_permissions(u32::MAX, 0, 0o600).unwrap_err();
    assert!(matches!(unknown, SemaphoresError::InvalidOption(_)), "{unknown:?}");
}

#[test]
fn a_guard_gives_back_and_with_it_what_is_to_be_undone() {
    let stage = Stage::new("semaphores guard");
    let set = Semaphores::create(stage.name(), &[3]).unwrap();
    {
        let two = set.acquire_guard(0, 2).unwrap();
        assert_eq!((two.index(), two.amount(), set.value(0).unwrap()), (0, 2, 1));
        assert!(set.try_acquire_guard(0, 2).unwrap_err().is_would_block());
        let late = set.acquire_guard_timeout(0, 2, Duration::from_millis(1));
        assert!(late.unwrap_err().is_timeout());
        let one = set.try_acquire_guard(0, 1).unwrap();
        one.release().unwrap();
    }
    assert_eq!(set.value(0).unwrap(), 3);

    // In a process that ends, nothing is given back a second time.
    // SAFETY: the child makes system calls and exits.
    match unsafe { fork() }.unwrap() {
        ForkResult::Child => {
            let done = (0..3).all(|_| set.try_acquire_guard(0, 3).is_ok());
            // SAFETY: leaves the child without running the test harness.
            unsafe { libc::_exit(if done { 0 } else { 1 }) }
        }
        ForkResult::Parent { child } => {
            assert_eq!(waitpid(child, None), Ok(WaitStatus::Exited(child, 0)));
        }
    }
    assert_eq!(set.value(0).unwrap(), 3);
}

#[test]
fn a_forked_child_gives_nothing_of_its_parents_back() {
    let set = Semaphores::private(&[2, 0]).unwrap();
    let (one, other) = (set.acquire_guard(0, 1).unwrap(), set.acquire_guard(0, 1).unwrap());
    // SAFETY: the child drops its copies and leaves without running the test harness.
    match unsafe { fork() }.unwrap() {
        ForkResult::Child => {
            let refused = one.release();
            drop(other);
            let right = matches!(refused, Err(SemaphoreOpError::NotHolder { .. }))
                && set.values().is_ok_and(|values| values == [0, 0]);
            // SAFETY: as above.
            unsafe { libc::_exit(if right { 0 } else { 1 }) }
        }
        ForkResult::Parent { child } => {
            assert_eq!(waitpid(child, None), Ok(WaitStatus::Exited(child, 0)));
        }
    }
    assert_eq!(set.value(0).unwrap(), 0);
    drop((one, other));
    assert_eq!(set.value(0).unwrap(), 2);
}

#[test]
fn what_a_killed_process_held_is_given_back_and_another_acquires() {
    let stage = Stage::new("semaphores killed");
    let set = Semaphores::create(stage.name(), &[2, 0]).unwrap();
    let mut holder = stage.child("holds", &[]);
    holder.expect("held");
    assert_eq!(set.values().unwrap(), [0, 5]);
    assert!(set.try_acquire_guard(0, 1).unwrap_err().is_would_block());
    let mut waiter = stage.child("waits", &["acquire"]);
    waiter.expect("ready");
    until(|| set.waiting(0).unwrap() == 1);
    let pid = holder.id() as i32;
    assert_eq!(set.last_pid(0).unwrap(), pid);
    holder.kill();
    waiter.expect("ok");
    waiter.finish();
    set.acquire(0, 1).unwrap();
    assert_eq!(set.values().unwrap(), [0, 0]);
}

#[test]
fn a_guarded_number_is_counted_right_by_many_processes_some_of_which_are_killed() {
    let stage = Stage::new("semaphores counted");
    let set = Semaphores::create(stage.name(), &[1]).unwrap();
    let memory = Segment::create(stage.name(), 8).unwrap();
    let number = memory.atomic_u64(0).unwrap();
    let killed: Vec<Child> = (0..3).map(|_| stage.child("counts", &[])).collect();
    until(|| number.load(Ordering::Relaxed) > 100);
    killed.into_iter().for_each(|child| drop(child.kill()));
    // Whichever was killed held the lock or did not: it is free.
    drop(set.acquire_guard(0, 1).unwrap());
    number.store(0, Ordering::Relaxed);
    let children: Vec<Child> = (0..3).map(|_| stage.child("counts", &[])).collect();
    children.into_iter().for_each(|child| drop(child.finish()));
    assert_eq!((number.load(Ordering::Relaxed), set.value(0).unwrap()), (6000, 1));
}

#[test]
fn setting_a_value_takes_away_what_would_be_undone() {
    let stage = Stage::new("semaphores set");
    let set = Semaphores::create(stage.name(), &[2, 0]).unwrap();
    let mut holder = stage.child("holds", &[]);
    holder.expect("held");
    set.set_value(0, 1).unwrap();
    holder.kill();
    // The other semaphore was not set.
    assert_eq!(set.values().unwrap(), [1, 0]);
}

#[test]
fn removal_ends_every_call() {
    let stage = Stage::new("semaphores removed");
    let set = Semaphores::create(stage.name(), &[0, 1]).unwrap();
    let guard = set.acquire_guard(1, 1).unwrap();
    set.release(1, 1).unwrap();
    let mut waiters = [stage.child("waits", &["acquire"]), stage.child("waits", &["zero"])];
    until(|| set.waiting(0).unwrap() == 1 && set.waiting_for_zero(1).unwrap() == 1);
    set.remove().unwrap();
    for waiter in &mut waiters {
        waiter.expect("ready");
        let heard = waiter.hear();
        assert!(heard.contains("was removed: create or open it again"), "{heard}");
    }
    assert!(set.try_acquire(0, 1).unwrap_err().is_removed());
    assert!(guard.release().unwrap_err().is_removed());
    assert!(set.values().unwrap_err().is_removed());
    assert!(set.stat().unwrap_err().is_removed());
    assert!(set.set_values(&[0, 0]).unwrap_err().is_removed());
    assert!(set.remove().unwrap_err().is_removed());
    assert!(Semaphores::open(stage.name()).unwrap_err().is_not_found());
}

#[test]
fn private_set_goes_with_its_creator_and_no_other_user() {
    let set = Semaphores::private(&[1]).unwrap();
    let key = set.key();
    drop(Semaphores::open(key).unwrap());
    // SAFETY: the child drops its copy and leaves without running the test harness.
    match unsafe { fork() }.unwrap() {
        ForkResult::Child => {
            drop(set);
            // SAFETY: as above.
            unsafe { libc::_exit(0) }
        }
        ForkResult::Parent { child } => {
            assert_eq!(waitpid(child, None), Ok(WaitStatus::Exited(child, 0)));
        }
    }
    set.acquire(0, 1).unwrap();
    drop(set);
    assert!(Semaphores::open(key).unwrap_err().is_not_found());
}

#[test]
fn private_set_goes_with_a_process_that_exits_by_itself() {
    let stage = Stage::new("semaphores at exit");
    let mut child = stage.child("leaves it to its exit", &[]);
    let key = Key::new(child.hear().parse().unwrap()).unwrap();
    child.finish();
    assert!(Semaphores::open(key).unwrap_err().is_not_found());
}

#[test]
fn other_users_do_what_the_mode_lets_them() {
    let stage = Stage::new("semaphores users");
    if !Uid::effective().is_root() {
        println!("skipped: only root can start a process of another user");
        return;
    }
    let set = Semaphores::options().mode(0o644).create(stage.name(), &[1, 0]).unwrap();
    let mut other = stage.child_of(65534, "another user", &[]);
    let refused = other.hear();
    assert!(refused.contains("its mode does not let this user in; ask its owner"), "{refused}");
    other.expect("ok");
    let refused = other.hear();
    assert!(refused.contains("its mode does not let this user in"), "{refused}");
    let refused = other.hear();
    assert!(refused.contains("only its owner, its creator or root may do that"), "{refused}");
    other.finish();
    let stat = set.stat().unwrap();
    set.set_permissions(65534, stat.ownership.gid, 0o600).unwrap();
    let foreign = Semaphores::open(stage.name()).unwrap_err();
    assert!(matches!(foreign, SemaphoresError::NotOwned { uid: 65534, .. }), "{foreign:?}");
    Semaphores::options().owner(Owner::User(65534)).open(stage.name()).unwrap();
}

#[test]
fn a_channels_semaphores_are_refused() {
    let stage = Stage::new("semaphores channel");
    let channel = Channel::<u32>::create(stage.name()).unwrap();
    for refused in [
        Semaphores::open(stage.name()),
        Semaphores::create(stage.name(), &[1]),
        Semaphores::open_or_create(stage.name(), &[1]),
        Semaphores::open(channel.handle()),
    ] {
        let error = refused.unwrap_err();
        assert!(matches!(error, SemaphoresError::IsChannel { .. }), "{error:?}");
        assert!(error.to_string().contains("Channel::open"), "{error}");
    }
    let (tx, rx) = (channel.sender().unwrap(), channel.receiver().unwrap());
    tx.send(&7).unwrap();
    assert_eq!(rx.recv(), Ok(7));
}
