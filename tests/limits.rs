//! The kernel's and the process's limits, each in an ipc namespace of its own: what cannot be made
//! is an error that names the limit, and leaves nothing. And what a channel takes of memory.

use std::fs;
use std::os::unix::process::CommandExt;
use std::process::Command;

use nix::libc;
use nix::sched::{CloneFlags, unshare};
#[cfg(feature = "bincode")]
use sysv_channel::actor::Mailbox;
use sysv_channel::codec::Raw;
#[cfg(feature = "bincode")]
use sysv_channel::rpc::{Client, ClientOptions, ReplyError, ServeError, Server, ServerOptions};
use sysv_channel::{AttachError, Channel, OpenError, Options, SendError, SystemErrorKind};

type Bytes = Vec<u8>;

const APART: &str = "SYSV_CHANNEL_TEST_APART";

/// Runs a test's body in a process and an ipc namespace of its own; `test` is its name.
fn apart(test: &str, body: impl FnOnce()) {
    if std::env::var_os(APART).is_some_and(|apart| apart == test) {
        return body();
    }
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", test, "--nocapture", "--test-threads=1"]).env(APART, test);
    // SAFETY: between fork and exec the closure makes one system call.
    unsafe { command.pre_exec(|| Ok(unshare(CloneFlags::CLONE_NEWIPC)?)) };
    let output = match command.output() {
        Ok(output) => output,
        Err(error) => return println!("skipped: no ipc namespace for {test}: {error}"),
    };
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}");
    assert!(text.contains("1 passed"), "{test} is no test: {text}");
}

/// Sets a sysctl of the namespace; says why if it cannot.
fn set(sysctl: &str, value: impl ToString) -> bool {
    let path = format!("/proc/sys/{}", sysctl.replace('.', "/"));
    match fs::write(&path, value.to_string()) {
        Ok(()) => true,
        Err(error) => {
            println!("skipped: {path} is not to be written: {error}");
            false
        }
    }
}

/// The numbers of `kernel.sem`: semaphores in a set and in all, operations in a call, sets.
fn set_sem(numbers: [u32; 4]) -> bool {
    set("kernel.sem", numbers.map(|number| number.to_string()).join(" "))
}

const SEM: [u32; 4] = [32_000, 1_024_000_000, 500, 32_000];

/// How many objects the namespace has.
fn objects() -> usize {
    let count = |kind| fs::read_to_string(format!("/proc/sysvipc/{kind}")).unwrap().lines().count();
    ["msg", "sem", "shm"].map(|kind| count(kind) - 1).iter().sum()
}

fn options() -> Options<Bytes, Raw> {
    Channel::<Bytes, Raw>::options()
}

/// Each way of creating fails with these words and leaves as many objects as there were.
#[track_caller]
fn refused(options: &Options<Bytes, Raw>, words: &[&str]) -> OpenError {
    let before = objects();
    let mut last = None;
    for refused in [options.create("limits"), options.open_or_create("limits"), options.private()] {
        let error = refused.unwrap_err();
        for word in words {
            assert!(error.to_string().contains(word), "{word:?} is missing: {error}");
        }
        assert_eq!(objects(), before, "{error}");
        last = Some(error);
    }
    last.unwrap()
}

#[track_caller]
fn is_limit(error: OpenError) {
    let OpenError::System(error) = error else { panic!("{error:?}") };
    assert_eq!(error.kind(), SystemErrorKind::LimitReached);
}

#[track_caller]
fn works(options: &Options<Bytes, Raw>) {
    let channel = options.create("limits").unwrap();
    let (tx, rx) = (channel.sender().unwrap(), channel.receiver().unwrap());
    tx.try_send(&vec![1; 10]).unwrap();
    assert_eq!(rx.try_recv().unwrap(), [1; 10]);
}

#[test]
fn message_queues_run_out() {
    apart("message_queues_run_out", || {
        if !set("kernel.msgmni", 0) {
            return;
        }
        is_limit(refused(&options(), &["msgget", "raise kernel.msgmni (now 0 queues)"]));
        works(&options().inline_limit(0));
        set("kernel.msgmni", 1);
        works(&options());
        let _channel = options().create("other").unwrap();
        is_limit(refused(&options(), &["raise kernel.msgmni (now 1 queues)"]));
    });
}

#[test]
fn segments_run_out() {
    apart("segments_run_out", || {
        if !set("kernel.shmmni", 0) {
            return;
        }
        let words = ["shmget", "raise kernel.shmmni (now 0 segments)", "kernel.shmall"];
        is_limit(refused(&options(), &words));
        is_limit(refused(&options().inline_limit(0), &words));
        set("kernel.shmmni", 1);
        works(&options());
    });
}

#[test]
fn shared_memory_runs_out() {
    apart("shared_memory_runs_out", || {
        if !set("kernel.shmmax", 1 << 20) {
            return;
        }
        let words = ["shmget", "raise kernel.shmmax (now 1048576 bytes in a segment)"];
        is_limit(refused(&options(), &words));
        works(&options().capacity(4096));
        set("kernel.shmmax", 1_u64 << 40);
        set("kernel.shmall", 100);
        is_limit(refused(&options(), &["shmget", "raise kernel.shmall", "pages"]));
        works(&options().capacity(4096).lanes(2));
    });
}

#[test]
fn semaphore_sets_run_out() {
    apart("semaphore_sets_run_out", || {
        let [in_a_set, in_all, operations, sets] = SEM;
        if !set_sem([in_a_set, in_all, operations, 0]) {
            return;
        }
        // Already the look whether the kernel does SEM_UNDO wants one.
        let words = ["semget", "raise the fourth number of kernel.sem (now 0 semaphore sets)"];
        is_limit(refused(&options(), &words));
        set_sem([in_a_set, in_all, operations, 1]);
        works(&options());
        let _channel = options().create("other").unwrap();
        is_limit(refused(&options(), &["raise the fourth number of kernel.sem (now 1 "]));
        // A default channel has 79 semaphores.
        set_sem([78, in_all, operations, sets]);
        let words = ["raise the first number of kernel.sem (now 78 semaphores in a set)"];
        is_limit(refused(&options(), &words));
        works(&options().lanes(31));
        set_sem([in_a_set, 79 + 78, operations, sets]);
        is_limit(refused(&options(), &["the second number of kernel.sem (now 157 "]));
        works(&options().lanes(31));
    });
}

#[test]
fn semaphore_operations_run_out() {
    apart("semaphore_operations_run_out", || {
        let [in_a_set, in_all, operations, sets] = SEM;
        if !set_sem([in_a_set, in_all, 20, sets]) {
            return;
        }
        let channel = options().create("limits").unwrap();
        let tx = channel.sender().unwrap();
        for _ in 0..3 {
            let error = channel.receiver().unwrap_err();
            assert!(matches!(error, AttachError::System { .. }), "{error}");
            let words = "raise the third number of kernel.sem (now 20 operations in one call)";
            assert!(error.to_string().contains(words), "{error}");
            tx.send(&vec![1]).unwrap();
        }
        set_sem([in_a_set, in_all, operations, sets]);
        let rx = channel.receiver().unwrap();
        assert_eq!(rx.try_iter().count(), 3);
        drop(tx);
        assert!(rx.recv().unwrap_err().is_disconnected());
    });
}

#[test]
fn queues_are_too_small_for_a_message() {
    apart("queues_are_too_small_for_a_message", || {
        if !set("kernel.msgmnb", 500) {
            return;
        }
        let words = ["inline_limit of 1024", "1040 bytes", "holds 500", "kernel.msgmnb"];
        let error = refused(&options(), &words);
        assert!(matches!(error, OpenError::InvalidOptions { .. }));
        works(&options().inline_limit(484));
        refused(&options().inline_limit(485), &["501 bytes", "holds 500"]);
    });
}

#[test]
fn messages_are_too_short_for_a_value() {
    apart("messages_are_too_short_for_a_value", || {
        if !set("kernel.msgmax", 500) {
            return;
        }
        let words = ["inline_limit is 1024", "at most 484", "kernel.msgmax is 500"];
        let error = refused(&options(), &words);
        assert!(matches!(error, OpenError::InvalidOptions { .. }));
        let channel = options().inline_limit(484).create("limits").unwrap();
        let (tx, rx) = (channel.sender().unwrap(), channel.receiver().unwrap());
        tx.send(&vec![1; 484]).unwrap();
        // Lowered under a channel that is in use: what was sent arrives, what is now too long is
        // refused on every kind of call.
        set("kernel.msgmax", 100);
        let value = vec![2; 85];
        let hour = std::time::Duration::from_secs(3600);
        for refused in [tx.send(&value), tx.try_send(&value), tx.send_timeout(&value, hour)] {
            let error = refused.unwrap_err();
            assert!(matches!(error, SendError::System { .. }), "{error}");
            assert!(error.to_string().contains("raise kernel.msgmax (now 100 "), "{error}");
        }
        tx.send(&vec![3; 84]).unwrap();
        tx.send(&vec![4; 1000]).unwrap();
        for expected in [vec![1; 484], vec![3; 84], vec![4; 1000]] {
            assert_eq!(rx.recv().unwrap(), expected);
        }
        drop((tx, rx, channel));
        // As long as an int can say.
        let longest = 4 << 20;
        if set("kernel.msgmax", longest) && set("kernel.msgmnb", 2 * longest) {
            works(&options().inline_limit(longest - 16));
            refused(&options().inline_limit(longest - 15), &["at most 4194288"]);
        }
        assert_eq!(objects(), 0);
    });
}

#[test]
fn the_address_space_is_too_small_for_the_segment() {
    apart("the_address_space_is_too_small_for_the_segment", || {
        // More than any machine has room for.
        let huge = options().lanes(4096).capacity(1 << 40);
        let error = huge.create("limits").unwrap_err();
        assert!(matches!(error, OpenError::System(_)), "{error}");
        // Not the process's limit, which it has not.
        assert!(!error.to_string().contains("RLIMIT_AS"), "{error}");
        assert!(
            error.to_string().contains("lower the channel's capacity times its lanes"),
            "{error}"
        );
        assert_eq!(objects(), 0);

        let large = options().lanes(4).capacity(1 << 30);
        let channel = large.create("other").unwrap();
        let limit = libc::rlimit { rlim_cur: 5 << 30, rlim_max: 5 << 30 };
        // SAFETY: the limit outlives the call.
        assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_AS, &limit) }, 0);
        is_limit(refused(&large, &["shmat", "address space", "RLIMIT_AS"]));
        let before = objects();
        let error = Channel::<Bytes, Raw>::open("other").unwrap_err();
        assert!(error.to_string().contains("RLIMIT_AS"), "{error}");
        assert_eq!(objects(), before);
        // Whoever had it open goes on.
        let (tx, rx) = (channel.sender().unwrap(), channel.receiver().unwrap());
        tx.send(&vec![1; 5000]).unwrap();
        assert_eq!(rx.recv().unwrap(), [1; 5000]);
        works(&options());
        drop((tx, rx, channel));
        assert_eq!(objects(), 0);
    });
}

/// Bytes of all segments of the namespace: of address space, and in memory.
fn segments() -> (u64, u64) {
    let text = fs::read_to_string("/proc/sysvipc/shm").unwrap();
    let column = |name: &str| {
        let mut names = text.lines().next().unwrap().split_whitespace();
        names.position(|column| column == name).unwrap()
    };
    let sum = |column: usize| {
        let number = |line: &str| line.split_whitespace().nth(column).unwrap().parse::<u64>();
        text.lines().skip(1).map(|line| number(line).unwrap()).sum()
    };
    (sum(column("size")), sum(column("rss")))
}

#[test]
fn a_lane_costs_the_memory_that_it_needs() {
    apart("a_lane_costs_the_memory_that_it_needs", || {
        let channel = Channel::<Bytes, Raw>::options().inline_limit(0).private().unwrap();
        let idle = segments().1;
        let (tx, rx) = (channel.sender().unwrap(), channel.receiver().unwrap());
        // Most of the time they wait, as the receiver comes only now and then.
        for _ in 0..4 {
            (0..250).for_each(|_| tx.send(&vec![1; 44]).unwrap());
            (0..250).for_each(|_| assert_eq!(rx.recv().unwrap().len(), 44));
        }
        let used = segments().1 - idle;
        assert!(used <= 128 << 10, "{used} bytes for a thousand small values");
        // Windows are used anew for as long as little waits: no more, whatever went.
        for _ in 0..100_000 {
            tx.send(&vec![1; 44]).unwrap();
            rx.recv().unwrap();
        }
        let used = segments().1 - idle;
        assert!(used <= (256 << 10) + 4096, "{used} bytes for small values");
        // A receiver that has not come leaves no room at the start.
        drop((tx, rx, channel));
        let channel = Channel::<Bytes, Raw>::options().inline_limit(0).private().unwrap();
        let tx = channel.sender().unwrap();
        (0..50_000).for_each(|_| tx.send(&vec![1; 44]).unwrap());
        assert!(segments().1 > 3 << 20);
        let rx = channel.receiver().unwrap();
        (0..50_000).for_each(|_| assert_eq!(rx.recv().unwrap().len(), 44));
    });
}

#[cfg(feature = "bincode")]
#[test]
fn a_thousand_mailboxes_with_default_options_take_little_memory() {
    apart("a_thousand_mailboxes_with_default_options_take_little_memory", || {
        let bind = |_| Mailbox::<String>::private().unwrap();
        let mailboxes: Vec<_> = (0..1000).map(bind).collect();
        let (size, used) = segments();
        let (size, used) = (size >> 20, used >> 20);
        assert!(used <= 1000 * 16 / 1024, "{used} MiB of {size} are in memory");
        drop(mailboxes);
        assert_eq!(objects(), 0);
    });
}

#[test]
fn creation_that_cannot_sign_its_set_removes_it() {
    apart("creation_that_cannot_sign_its_set_removes_it", || {
        let [in_a_set, in_all, operations, sets] = SEM;
        // Before and after the kernel was seen to do SEM_UNDO.
        for _ in 0..2 {
            if !set_sem([in_a_set, in_all, 3, sets]) {
                return;
            }
            let words = "raise the third number of kernel.sem (now 3 operations in one call)";
            refused(&options(), &["semop", words]);
            assert_eq!(objects(), 0);
            set_sem([in_a_set, in_all, operations, sets]);
            works(&options());
        }
    });
}

#[test]
fn limit_that_only_a_creator_meets_does_not_keep_from_opening() {
    apart("limit_that_only_a_creator_meets_does_not_keep_from_opening", || {
        if !set("kernel.msgmax", 100) {
            return;
        }
        let feed = options().inline_limit(0).create("limits").unwrap();
        let (tx, rx) = (options().open("limits").unwrap().sender().unwrap(), feed.receiver());
        tx.send(&vec![1]).unwrap();
        assert_eq!(rx.unwrap().recv().unwrap(), [1]);
        options().open_or_create("limits").unwrap();
        let words = ["inline_limit is 1024", "at most 84"];
        for refused in [options().create("other"), options().open_or_create("other")] {
            let refused = refused.unwrap_err().to_string();
            words.iter().for_each(|word| assert!(refused.contains(word), "{refused}"));
        }
        #[cfg(feature = "bincode")]
        {
            use sysv_channel::rpc::{Client, Server};
            let _server = Server::<u32, u32>::bind("server").unwrap();
            Client::<u32, u32>::connect("server").unwrap();
        }
    });
}

/// Leaves this process so many bytes of address space more than it has.
#[cfg(feature = "bincode")]
fn leave_room(bytes: u64) {
    let pages = fs::read_to_string("/proc/self/statm").unwrap();
    let pages: u64 = pages.split_whitespace().next().unwrap().parse().unwrap();
    // SAFETY: sysconf reads nothing of ours.
    let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) } as u64;
    let limit = libc::rlimit { rlim_cur: pages * page + bytes, rlim_max: libc::RLIM_INFINITY };
    // SAFETY: the limit outlives the call.
    assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_AS, &limit) }, 0);
}

#[cfg(feature = "bincode")]
#[test]
fn a_value_for_which_there_is_no_memory_is_an_error_that_names_its_length() {
    use std::sync::mpsc;

    use serde::{Serialize, de::DeserializeOwned};
    use sysv_channel::codec::{Bincode, Bytes as Bulk, Codec};
    use sysv_channel::{Receiver, RecvError};

    const LEN: usize = 64 << 20;
    const ROOM: u64 = 24 << 20;

    #[track_caller]
    fn no_memory(refused: Result<(), RecvError>, length: usize) {
        let Err(RecvError::Decode { error, .. }) = refused else { panic!("{refused:?}") };
        let text = error.to_string();
        assert!(text.contains("no memory") && text.contains(&length.to_string()), "{text}");
    }

    /// A value that lies in the ring as a whole.
    fn whole<T: Serialize + DeserializeOwned, C: Codec<T>>(value: T) -> Receiver<T, C> {
        let channel = Channel::<T, C>::options().capacity(4 * LEN).max_value(1 << 30);
        let channel = channel.private().unwrap();
        let (tx, rx) = (channel.sender().unwrap(), channel.receiver().unwrap());
        tx.send(&value).unwrap();
        rx
    }

    apart("a_value_for_which_there_is_no_memory_is_an_error_that_names_its_length", || {
        let numbers = whole::<_, Bincode>((1_u8, vec![7_u64; LEN / 8]));
        let text = whole::<_, Bincode>(Some("x".repeat(LEN)));
        let bulk = whole::<_, Bincode>((1_u8, Bulk::from(vec![1; LEN])));
        let bytes = whole::<_, Raw>(vec![1_u8; LEN]);

        // In fragments, which the receiver collects.
        let channel = options().capacity(1 << 20).max_value(LEN as u64).private().unwrap();
        let rx = channel.receiver().unwrap();
        let (ready, go) = mpsc::channel();
        let (ready_too, told) = mpsc::channel();
        let sender = std::thread::spawn({
            let channel = Channel::<Bytes, Raw>::open(channel.handle()).unwrap();
            move || {
                let tx = channel.sender().unwrap();
                let value = vec![3; LEN];
                ready_too.send(()).unwrap();
                go.recv().unwrap();
                for value in [&value, &vec![4; 5000], &value, &vec![5; 5000]] {
                    tx.send(value).unwrap();
                }
            }
        });
        told.recv().unwrap();

        leave_room(ROOM);
        no_memory(numbers.recv().map(drop), LEN);
        no_memory(text.recv().map(drop), LEN);
        no_memory(bulk.recv().map(drop), LEN);
        no_memory(bytes.recv().map(drop), LEN);
        ready.send(()).unwrap();
        no_memory(rx.recv().map(drop), LEN);
        assert_eq!(rx.recv().unwrap(), [4; 5000]);
        no_memory(rx.recv().map(drop), LEN);
        assert_eq!(rx.recv().unwrap(), [5; 5000]);
        sender.join().unwrap();
        leave_room(u64::MAX >> 2);
    });
}

#[cfg(feature = "bincode")]
#[test]
fn threads_of_a_server_that_cannot_be_started_are_an_error() {
    apart("threads_of_a_server_that_cannot_be_started_are_an_error", || {
        let server: Server<u8, u8> = Server::bind("threads").unwrap();
        let client: Client<u8, u8> = Client::connect("threads").unwrap();
        let call = client.start(&1).unwrap();
        for threads in [1000, usize::MAX] {
            leave_room(64 << 20);
            let error = server.serve_concurrently(threads, |number| number + 1).unwrap_err();
            leave_room(u64::MAX >> 2);
            assert!(matches!(error, ServeError::NoThread { .. }), "{error}");
            for word in ["server \"threads\"", "pthread_create", "RLIMIT_AS", "with fewer"] {
                assert!(error.to_string().contains(word), "{word:?} is missing: {error}");
            }
        }
        // The request is still there.
        server.recv().unwrap().unwrap().reply(&2).unwrap();
        assert_eq!(call.wait().unwrap(), 2);
    });
}

#[cfg(feature = "bincode")]
#[test]
fn a_reply_for_which_there_is_no_memory_is_an_error_that_names_its_length() {
    apart("a_reply_for_which_there_is_no_memory_is_an_error_that_names_its_length", || {
        let name = "replies and no memory";
        let options = ServerOptions::new().clients(1).reply_capacity(4096).max_value(1 << 30);
        let server: Server<u8, Vec<u8>> = options.bind(name).unwrap();
        let client = ClientOptions::new().max_value(1 << 30);
        let client: Client<u8, Vec<u8>> = client.connect(name).unwrap();
        // One that cannot be encoded, and one that can but not be kept for its client. The allocator
        // has 64 MiB in reserve.
        let replies = [vec![0; 200 << 20], vec![0; 100 << 20]];
        leave_room(130 << 20);
        for reply in &replies {
            let call = client.start(&1).unwrap();
            let refused = server.recv().unwrap().unwrap().reply(reply).unwrap_err();
            assert!(matches!(refused, ReplyError::Send(SendError::Encode { .. })), "{refused}");
            let text = refused.to_string();
            assert!(text.contains("no memory") && text.contains("bytes"), "{text}");
            // What had gone of it is no reply.
            let told = call.wait().unwrap_err();
            assert!(told.to_string().contains("no memory"), "{told}");
        }
        let call = client.start(&1).unwrap();
        server.recv().unwrap().unwrap().reply(&vec![8; 1000]).unwrap();
        assert_eq!(call.wait().unwrap(), [8; 1000]);
        leave_room(u64::MAX >> 2);
    });
}

#[cfg(feature = "bincode")]
#[test]
fn what_a_channel_says_of_its_messages_takes_no_memory_of_its_users() {
    apart("what_a_channel_says_of_its_messages_takes_no_memory_of_its_users", || {
        const LONGEST: usize = 64 << 20;
        if !(set("kernel.msgmax", 2 * LONGEST) && set("kernel.msgmnb", 2 * LONGEST)) {
            return;
        }
        let channel = options().inline_limit(LONGEST).max_value(u64::MAX).create("long").unwrap();
        leave_room(24 << 20);
        let (tx, rx) = (channel.sender().unwrap(), channel.receiver().unwrap());
        for len in [10, 8000, 8176, 8177, 100_000] {
            tx.send(&vec![7; len]).unwrap();
            assert_eq!(channel.stats().unwrap().queued, 1);
            assert_eq!(rx.recv().unwrap(), vec![7; len]);
        }
        drop((tx, rx, channel));
        assert_eq!(objects(), 0);
        leave_room(u64::MAX >> 2);
    });
}
