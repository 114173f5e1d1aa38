//! What a bare `Queue` promises.

use std::collections::BTreeSet;
use std::process::Command;
use std::sync::atomic::{AtomicI32, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use nix::libc;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, fork, gettid};
use proptest::prelude::*;
use serde::{Deserialize, Serialize, Serializer, ser};
use sysv_channel::codec::Raw;
use sysv_channel::{
    Key, Owner, Queue, QueueError, QueueLimit, QueueRecvError, QueueSendError, Select, Tag,
};

type RawQueue = Queue<Vec<u8>, Raw>;

const NEVER: Duration = Duration::from_secs(100_000);

fn tag(number: i64) -> Tag {
    Tag::new(number).unwrap()
}

/// A name that no other test and no other run has.
fn unique_name() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    format!("sysv-channel test queue {}.{count}", std::process::id())
}

/// Removes a queue that is not private, also when the test fails.
struct Removed<'a, T, C>(&'a Queue<T, C>);

impl<T, C> Drop for Removed<'_, T, C> {
    fn drop(&mut self) {
        let _ = self.0.remove();
    }
}

/// Runs `blocked` in a thread and `release` once the thread sleeps in that system call.
fn when_blocked<R: Send>(
    call: libc::c_long,
    blocked: impl FnOnce() -> R + Send,
    release: impl FnOnce(),
) -> R {
    let thread_id = AtomicI32::new(0);
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            thread_id.store(gettid().as_raw(), Ordering::Release);
            blocked()
        });
        // The file begins with the number of the call that the thread sleeps in.
        let sleeping = || {
            let path = format!("/proc/self/task/{}/syscall", thread_id.load(Ordering::Acquire));
            let text = std::fs::read_to_string(path).unwrap_or_default();
            text.split(' ').next() == Some(&call.to_string())
        };
        while !thread.is_finished() && !sleeping() {
            std::thread::yield_now();
        }
        release();
        thread.join().unwrap()
    })
}

#[test]
fn found_by_name_by_key_and_by_path() {
    let name = unique_name();
    let by_name = Queue::<u64>::create(name.as_str()).unwrap();
    let _by_name = Removed(&by_name);
    by_name.send(&1).unwrap();
    assert_eq!(Queue::<u64>::open(name.as_str()).unwrap().recv().unwrap(), 1);
    by_name.send(&2).unwrap();
    assert_eq!(Queue::<u64>::open(Key::from_name(&name)).unwrap().recv().unwrap(), 2);

    let file = std::env::temp_dir().join(&name);
    std::fs::write(&file, "").unwrap();
    let key = Key::from_path(&file, 1);
    std::fs::remove_file(&file).unwrap();
    let by_path = Queue::<u64>::create(key.unwrap()).unwrap();
    let _by_path = Removed(&by_path);
    assert_eq!(by_path.key().raw() >> 24, 1);
    by_path.send(&3).unwrap();
    assert_eq!(Queue::<u64>::open(by_path.key()).unwrap().recv().unwrap(), 3);
}

#[test]
fn create_wants_none_and_open_wants_one() {
    let name = unique_name();
    let missing = Queue::<u64>::open(name.as_str()).unwrap_err();
    assert!(missing.is_not_found(), "{missing}");
    assert!(missing.to_string().contains(&name), "{missing}");

    let made = Queue::<u64>::open_or_create(name.as_str()).unwrap();
    let _made = Removed(&made);
    assert_eq!(Queue::<u64>::open_or_create(name.as_str()).unwrap().id(), made.id());
    let twice = Queue::<u64>::create(name.as_str()).unwrap_err();
    assert!(twice.is_already_exists(), "{twice}");

    assert!(matches!(Queue::<u64>::open(""), Err(QueueError::InvalidName(_))));
    assert!(matches!(Queue::<u64>::open("n".repeat(256)), Err(QueueError::InvalidName(_))));
}

#[test]
fn many_that_open_or_create_find_one_queue() {
    let name = unique_name();
    let open = || Queue::<u64>::open_or_create(name.as_str()).unwrap();
    let queues: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(open)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let _removed = Removed(&queues[0]);
    assert!(queues.iter().all(|queue| queue.id() == queues[0].id()));
}

#[test]
fn private_queue_goes_with_its_creator_and_no_other_user() {
    let queue = Queue::<u64>::private().unwrap();
    let key = queue.key();
    drop(Queue::<u64>::open(key).unwrap());
    // SAFETY: the child drops its copy and leaves without running the test harness.
    match unsafe { fork() }.unwrap() {
        ForkResult::Child => {
            drop(queue);
            // SAFETY: as above.
            unsafe { libc::_exit(0) }
        }
        ForkResult::Parent { child } => {
            assert_eq!(waitpid(child, None), Ok(WaitStatus::Exited(child, 0)));
        }
    }
    queue.send(&1).unwrap();
    drop(queue);
    assert!(Queue::<u64>::open(key).unwrap_err().is_not_found());
}

#[test]
fn options_set_mode_and_capacity() {
    let queue = Queue::<u64>::options().mode(0o640).capacity(100).private().unwrap();
    let stat = queue.stat().unwrap();
    assert_eq!((stat.ownership.mode, stat.capacity), (0o640, 100));
    let bad = Queue::<u64>::options().mode(0o1000).private();
    assert!(matches!(bad, Err(QueueError::InvalidOption(_))));
    let bad = Queue::<u64>::options().capacity(0).private();
    assert!(matches!(bad, Err(QueueError::InvalidOption(_))));
}

#[test]
fn wire_is_tag_and_encoded_value_and_nothing_else() {
    let typed = Queue::<(u16, String)>::private().unwrap();
    let raw = RawQueue::open(typed.key()).unwrap();
    typed.send_tagged(tag(9), &(0x0102, "hi".to_owned())).unwrap();
    let message = raw.recv_matching(Select::Any).unwrap();
    assert_eq!(message.tag, tag(9));
    assert_eq!(message.value, b"\x02\x01\x02\0\0\0\0\0\0\0hi");
    raw.send_tagged(tag(i64::MAX), &message.value).unwrap();
    let back = typed.recv_matching(Select::Any).unwrap();
    assert_eq!((back.tag.get(), back.value), (i64::MAX, (0x0102, "hi".to_owned())));
}

#[test]
fn selection_by_tag() {
    let queue = Queue::<u8>::private().unwrap();
    for (number, value) in [(3, 0), (1, 1), (2, 2), (3, 3), (5, 4)] {
        queue.send_tagged(tag(number), &value).unwrap();
    }
    let take = |select| {
        let message = queue.try_recv_matching(select).unwrap();
        (message.tag.get(), message.value)
    };
    assert!(queue.try_recv_matching(Select::Exactly(tag(4))).unwrap_err().is_empty());
    assert_eq!(take(Select::Exactly(tag(3))), (3, 0));
    assert_eq!(take(Select::UpTo(tag(3))), (1, 1));
    assert_eq!(take(Select::Except(tag(2))), (3, 3));
    assert_eq!(take(Select::Any), (2, 2));
    assert!(queue.try_recv_matching(Select::UpTo(tag(4))).unwrap_err().is_empty());
    let last = queue.recv_matching_timeout(Select::Except(tag(4)), NEVER).unwrap();
    assert_eq!((last.tag, last.value), (tag(5), 4));
}

#[test]
fn full_queue_is_full_then_times_out_then_waits() {
    let queue = Queue::<u64>::options().capacity(16).private().unwrap();
    queue.try_send(&0).unwrap();
    queue.try_send_tagged(tag(2), &1).unwrap();
    assert!(queue.try_send(&2).unwrap_err().is_full());
    let begun = Instant::now();
    let timeout = Duration::from_millis(20);
    assert!(queue.send_timeout(&2, timeout).unwrap_err().is_timeout());
    assert!(queue.send_tagged_timeout(tag(2), &2, Duration::ZERO).unwrap_err().is_timeout());
    assert!(begun.elapsed() >= timeout);
    let receive = || assert_eq!(queue.recv().unwrap(), 0);
    when_blocked(libc::SYS_msgsnd, || queue.send(&2), receive).unwrap();
    let receive = || assert_eq!(queue.recv().unwrap(), 1);
    when_blocked(libc::SYS_clock_nanosleep, || queue.send_timeout(&3, NEVER), receive).unwrap();
    assert_eq!((queue.recv().unwrap(), queue.recv().unwrap()), (2, 3));
}

#[test]
fn empty_queue_is_empty_then_times_out_then_waits() {
    let queue = Queue::<u64>::private().unwrap();
    assert!(queue.try_recv().unwrap_err().is_empty());
    let begun = Instant::now();
    let timeout = Duration::from_millis(20);
    assert!(queue.recv_timeout(timeout).unwrap_err().is_timeout());
    assert!(queue.recv_timeout(Duration::ZERO).unwrap_err().is_timeout());
    assert!(begun.elapsed() >= timeout);
    let send = || queue.send(&1).unwrap();
    assert_eq!(when_blocked(libc::SYS_msgrcv, || queue.recv(), send).unwrap(), 1);
    let send = || queue.send(&2).unwrap();
    let receive = || queue.recv_timeout(NEVER);
    assert_eq!(when_blocked(libc::SYS_clock_nanosleep, receive, send).unwrap(), 2);
}

#[test]
fn removal_ends_blocked_calls() {
    let queue = Queue::<u64>::options().capacity(8).private().unwrap();
    let remove = || queue.remove().unwrap();
    let received = when_blocked(libc::SYS_msgrcv, || queue.recv(), remove).unwrap_err();
    assert!(received.is_removed(), "{received}");
    assert!(received.to_string().contains(&queue.key().to_string()), "{received}");

    let queue = Queue::<u64>::options().capacity(8).private().unwrap();
    queue.send(&1).unwrap();
    let remove = || queue.remove().unwrap();
    let sent = when_blocked(libc::SYS_msgsnd, || queue.send(&2), remove).unwrap_err();
    assert!(sent.is_removed(), "{sent}");

    assert!(queue.try_send(&1).unwrap_err().is_removed());
    assert!(queue.recv_timeout(NEVER).unwrap_err().is_removed());
    assert!(queue.peek(0).unwrap_err().is_removed());
    assert!(queue.stat().unwrap_err().is_removed());
    assert!(queue.set_capacity(1).unwrap_err().is_removed());
    assert!(queue.remove().unwrap_err().is_removed());
}

#[test]
fn peek_shows_and_leaves() {
    let queue = Queue::<String>::private().unwrap();
    queue.send(&"one".to_owned()).unwrap();
    queue.send_tagged(tag(2), &"two".to_owned()).unwrap();
    let second = queue.peek(1).unwrap().unwrap();
    assert_eq!((second.tag, second.value.as_str()), (tag(2), "two"));
    assert_eq!(queue.peek(0).unwrap().unwrap().value, "one");
    assert!(queue.peek(2).unwrap().is_none());
    assert!(queue.peek(usize::MAX).unwrap().is_none());
    assert_eq!(queue.stat().unwrap().messages, 2);
}

#[test]
fn statistics_follow_what_happens() {
    let queue = Queue::<u64>::private().unwrap();
    let fresh = queue.stat().unwrap();
    assert_eq!((fresh.messages, fresh.bytes, fresh.last_send), (0, 0, None));
    queue.send(&1).unwrap();
    queue.send(&2).unwrap();
    queue.recv().unwrap();
    let stat = queue.stat().unwrap();
    let pid = std::process::id() as i32;
    assert_eq!((stat.messages, stat.bytes), (1, 8));
    assert_eq!((stat.last_send_pid, stat.last_receive_pid), (pid, pid));
    assert!(stat.last_send.is_some() && stat.last_receive.is_some());
    assert_eq!(stat.ownership.key, queue.key().raw());
    queue.set_capacity(77).unwrap();
    assert_eq!(queue.stat().unwrap().capacity, 77);
    assert!(matches!(queue.set_capacity(0), Err(QueueError::InvalidOption(_))));
}

fn system_maximum() -> usize {
    std::fs::read_to_string("/proc/sys/kernel/msgmax").unwrap().trim().parse().unwrap()
}

#[test]
fn values_of_every_length_up_to_the_maximum() {
    let queue = RawQueue::private().unwrap();
    let maximum = system_maximum().min(queue.stat().unwrap().capacity as usize);
    for len in [0, 1, 7, 8, 9, maximum - 1, maximum] {
        let value: Vec<u8> = (0..len).map(|byte| (byte % 251) as u8).collect();
        queue.send(&value).unwrap();
        assert!(queue.peek(0).unwrap().unwrap().value == value);
        assert!(queue.recv().unwrap() == value);
    }
}

#[test]
fn too_long_for_the_system_is_an_error_and_no_wait() {
    let queue = RawQueue::private().unwrap();
    let value = vec![0; system_maximum() + 1];
    let error = queue.send(&value).unwrap_err();
    let QueueSendError::TooLong { len, max, limit: QueueLimit::Message, .. } = &error else {
        panic!("{error}");
    };
    assert_eq!((*len, *max), (value.len(), value.len() - 1));
    assert!(error.to_string().contains("kernel.msgmax"), "{error}");
    assert_eq!(queue.stat().unwrap().messages, 0);
}

#[test]
fn too_long_for_the_queue_is_an_error_and_no_wait() {
    let queue = RawQueue::private().unwrap();
    queue.send(&vec![0; 100]).unwrap();
    // Lowered behind the back of the sender below.
    RawQueue::open(queue.key()).unwrap().set_capacity(99).unwrap();
    for waits in [queue.send(&vec![0; 100]), queue.send_timeout(&vec![0; 100], NEVER)] {
        let error = waits.unwrap_err();
        let limits = matches!(
            error,
            QueueSendError::TooLong { len: 100, max: 99, limit: QueueLimit::Capacity, .. }
        );
        assert!(limits, "{error}");
        assert!(error.to_string().contains("set_capacity"), "{error}");
    }
    assert!(queue.try_send(&vec![0; 99]).unwrap_err().is_full());
    queue.recv().unwrap();
    queue.try_send(&vec![0; 99]).unwrap();
}

#[test]
fn what_the_kernel_would_cut_or_does_not_know_is_refused_and_not_taken_for_removal() {
    for bytes in [1 << 31, 1 << 32, (1 << 32) + 500, u64::MAX] {
        let bad = Queue::<u64>::options().capacity(bytes).private();
        assert!(matches!(bad, Err(QueueError::InvalidOption(_))), "{bytes}: {bad:?}");
        let queue = Queue::<u64>::private().unwrap();
        let before = queue.stat().unwrap().capacity;
        let bad = queue.set_capacity(bytes);
        assert!(matches!(bad, Err(QueueError::InvalidOption(_))), "{bytes}: {bad:?}");
        assert_eq!(queue.stat().unwrap().capacity, before);
    }
    let queue = Queue::<u64>::private().unwrap();
    let ownership = queue.stat().unwrap().ownership;
    for (uid, gid) in [(u32::MAX, ownership.gid), (ownership.uid, u32::MAX)] {
        let bad = queue.set_permissions(uid, gid, 0o600);
        assert!(matches!(bad, Err(QueueError::InvalidOption(_))), "{bad:?}");
    }
    let other = RawQueue::open(queue.key()).unwrap();
    other.remove().unwrap();
    let gone = queue.set_permissions(ownership.uid, ownership.gid, 0o600);
    assert!(matches!(gone, Err(QueueError::Removed { .. })), "{gone:?}");
}

#[test]
fn empty_values_count_against_the_capacity_too() {
    let queue = RawQueue::options().capacity(3).private().unwrap();
    (0..3).for_each(|_| queue.try_send(&Vec::new()).unwrap());
    assert!(queue.try_send(&Vec::new()).unwrap_err().is_full());
}

#[test]
fn message_of_another_type_is_reported_once() {
    let queue = Queue::<u32>::private().unwrap();
    let raw = RawQueue::open(queue.key()).unwrap();
    raw.send_tagged(tag(6), &vec![1, 2, 3]).unwrap();
    queue.send(&7).unwrap();
    let seen = queue.peek(0).unwrap_err();
    assert!(matches!(seen, QueueRecvError::Decode { .. }), "{seen}");
    let error = queue.recv().unwrap_err();
    assert!(matches!(error, QueueRecvError::Decode { len: 3, .. }), "{error}");
    let text = error.to_string();
    assert!(text.contains("type 6") && text.contains(&queue.key().to_string()), "{text}");
    assert_eq!(queue.recv().unwrap(), 7);
}

/// Does what its field says when it is encoded.
#[derive(Deserialize)]
struct Awkward(u8);

impl Serialize for Awkward {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            1 => Err(ser::Error::custom("this value does not want to be sent")),
            2 => panic!("this value panics"),
            other => serializer.serialize_u8(other),
        }
    }
}

#[test]
fn value_that_cannot_be_encoded_leaves_nothing() {
    let queue = Queue::<(u64, Awkward)>::private().unwrap();
    let error = queue.send(&(1, Awkward(1))).unwrap_err();
    assert!(matches!(error, QueueSendError::Encode(_)), "{error}");
    let send = std::panic::AssertUnwindSafe(|| queue.send(&(1, Awkward(2))));
    std::panic::catch_unwind(send).unwrap_err();
    assert_eq!(queue.stat().unwrap().messages, 0);
    queue.send(&(1, Awkward(3))).unwrap();
    assert_eq!(queue.recv().unwrap().1.0, 3);
}

#[test]
fn value_that_sends_on_its_own_queue_while_it_is_encoded() {
    struct Nested<'a>(&'a Queue<u64>);
    impl Serialize for Nested<'_> {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            self.0.send(&1).map_err(ser::Error::custom)?;
            serializer.serialize_u64(2)
        }
    }
    impl<'de> Deserialize<'de> for Nested<'_> {
        fn deserialize<D: serde::Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
            Err(serde::de::Error::custom("only sent"))
        }
    }
    let plain = Queue::<u64>::private().unwrap();
    let nesting = Queue::<Nested<'_>>::open(plain.key()).unwrap();
    nesting.send(&Nested(&plain)).unwrap();
    assert_eq!((plain.recv().unwrap(), plain.recv().unwrap()), (1, 2));
}

#[test]
fn worker_pool_shares_the_work() {
    const EACH: u64 = 2000;
    let queue = Queue::<u64>::private().unwrap();
    let taken: Vec<u64> = std::thread::scope(|scope| {
        let work = || {
            let mut taken = Vec::new();
            while let Some(value) = queue.recv().unwrap().checked_sub(1) {
                taken.push(value);
            }
            taken
        };
        let workers: Vec<_> = (0..3).map(|_| scope.spawn(work)).collect();
        let senders: Vec<_> = (0..3)
            .map(|sender| {
                let queue = &queue;
                scope.spawn(move || {
                    (1..=EACH).for_each(|n| queue.send(&(sender * EACH + n)).unwrap())
                })
            })
            .collect();
        senders.into_iter().for_each(|sender| sender.join().unwrap());
        workers.iter().for_each(|_| queue.send(&0).unwrap());
        workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect()
    });
    assert_eq!(taken.len() as u64, 3 * EACH);
    assert_eq!(BTreeSet::from_iter(taken), BTreeSet::from_iter(0..3 * EACH));
}

#[test]
fn queue_of_another_user_is_refused_unless_allowed() {
    const NOBODY: u32 = 65534;
    if !nix::unistd::geteuid().is_root() {
        println!("skipped: only root can make a queue as another user");
        return;
    }
    let name = unique_name();
    let key = Key::from_name(&name);
    let script = format!("msgget({}, 01666) // die $!", key.raw());
    let mut perl = Command::new("perl");
    std::os::unix::process::CommandExt::uid(&mut perl, NOBODY);
    match perl.args(["-e", &script]).status() {
        Ok(status) if status.success() => {}
        other => {
            println!("skipped: perl, which makes a queue as another user, says {other:?}");
            return;
        }
    }
    let allowed = Queue::<u64>::options().owner(Owner::Anyone).open(key).unwrap();
    let _removed = Removed(&allowed);
    let open = |owner| Queue::<u64>::options().owner(owner).open(name.as_str());
    let refused = Queue::<u64>::open(name.as_str()).unwrap_err();
    assert!(matches!(refused, QueueError::NotOwned { uid: NOBODY, creator_uid: NOBODY, .. }));
    assert!(refused.to_string().contains("belongs to user 65534"), "{refused}");
    assert!(matches!(open(Owner::User(1)), Err(QueueError::NotOwned { .. })));
    assert!(matches!(
        Queue::<u64>::open_or_create(name.as_str()),
        Err(QueueError::NotOwned { .. })
    ));
    assert_eq!(open(Owner::User(NOBODY)).unwrap().id(), allowed.id());
}

/// Whether this process has an ipc namespace of its own, whose limits it may change. If not, runs
/// the test again in one.
fn in_own_namespace(test: &str) -> bool {
    const INSIDE: &str = "SYSV_CHANNEL_TEST_NAMESPACE";
    if std::env::var_os(INSIDE).is_some() {
        return true;
    }
    let user: &[&str] =
        if nix::unistd::geteuid().is_root() { &[] } else { &["--user", "--map-root-user"] };
    let output = Command::new("unshare")
        .args(user)
        .arg("--ipc")
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(INSIDE, "1")
        .output();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    match output {
        Ok(output) if output.status.success() => print!("{}", text(&output.stdout)),
        Ok(output) if !text(&output.stderr).starts_with("unshare:") => {
            panic!("{}{}", text(&output.stdout), text(&output.stderr));
        }
        other => println!("skipped: no ipc namespace of our own: {other:?}"),
    }
    false
}

fn set_limit(name: &str, value: usize) -> bool {
    let written = std::fs::write(format!("/proc/sys/kernel/{name}"), value.to_string());
    if let Err(error) = &written {
        println!("skipped: cannot set kernel.{name}: {error}");
    }
    written.is_ok()
}

#[test]
fn limits_of_the_kernel_are_named_and_followed() {
    if !in_own_namespace("limits_of_the_kernel_are_named_and_followed") {
        return;
    }
    let queue = RawQueue::private().unwrap();
    let unchanged = system_maximum();

    // Raised under an open queue: longer messages go, and come.
    if !set_limit("msgmax", unchanged + 1000) {
        return;
    }
    for len in [unchanged + 1, unchanged + 1000] {
        queue.send(&vec![7; len]).unwrap();
        assert_eq!(queue.peek(0).unwrap().unwrap().value.len(), len);
        assert_eq!(queue.recv().unwrap(), vec![7; len]);
    }

    // Lowered: what is longer is refused, and what was sent before is taken off and reported.
    let fresh = RawQueue::open(queue.key()).unwrap();
    fresh.send_tagged(tag(5), &vec![7; unchanged + 1000]).unwrap();
    fresh.send(&vec![8]).unwrap();
    assert!(set_limit("msgmax", 100));
    let late = queue.send(&vec![0; 101]).unwrap_err();
    assert!(matches!(late, QueueSendError::TooLong { len: 101, max: 100, .. }), "{late}");
    let strict = RawQueue::open(queue.key()).unwrap();
    let seen = strict.peek(0).unwrap_err();
    assert!(matches!(seen, QueueRecvError::Corrupt { tag: None, .. }), "{seen}");
    let error = strict.recv().unwrap_err();
    let reported = matches!(
        error,
        QueueRecvError::Corrupt { tag: Some(found), longer_than: 100, .. } if found == tag(5)
    );
    assert!(reported, "{error}");
    assert_eq!(strict.recv().unwrap(), [8]);

    // None left: the error says which number to raise.
    assert!(set_limit("msgmni", 1));
    let none_left = RawQueue::private().unwrap_err().to_string();
    assert!(none_left.contains("raise kernel.msgmni (now 1 queues)"), "{none_left}");
}

#[derive(Debug, Clone)]
enum Step {
    Send(Tag, u16),
    Receive(Select),
    Peek(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let tags = || (1..5_i64).prop_map(tag);
    let selects = prop_oneof![
        Just(Select::Any),
        tags().prop_map(Select::Exactly),
        tags().prop_map(Select::UpTo),
        tags().prop_map(Select::Except),
    ];
    let step = prop_oneof![
        (tags(), any::<u16>()).prop_map(|(tag, value)| Step::Send(tag, value)),
        selects.prop_map(Step::Receive),
        (0..6_usize).prop_map(Step::Peek),
    ];
    prop::collection::vec(step, 0..60)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn behaves_like_a_list(steps in steps()) {
        const PLACES: usize = 4;
        let queue = Queue::<u16>::options().capacity(PLACES as u64 * 2).private().unwrap();
        let mut list: Vec<(Tag, u16)> = Vec::new();
        for step in steps {
            match step {
                Step::Send(tag, value) => match queue.try_send_tagged(tag, &value) {
                    Ok(()) => list.push((tag, value)),
                    Err(error) => prop_assert!(error.is_full() && list.len() == PLACES),
                },
                Step::Receive(select) => {
                    let matching = (0..list.len()).filter(|at| select.matches(list[*at].0));
                    let expected = match select {
                        Select::UpTo(_) => matching.min_by_key(|at| list[*at].0),
                        _ => matching.min(),
                    };
                    match (queue.try_recv_matching(select), expected) {
                        (Ok(found), Some(at)) => {
                            prop_assert_eq!((found.tag, found.value), list.remove(at));
                        }
                        (Err(error), None) => prop_assert!(error.is_empty()),
                        (found, expected) => prop_assert!(false, "{found:?} for {expected:?}"),
                    }
                }
                Step::Peek(index) => {
                    let found = queue.peek(index).unwrap().map(|found| (found.tag, found.value));
                    prop_assert_eq!(found, list.get(index).copied());
                }
            }
        }
    }
}
