//! Many signals during blocked calls: no caller sees EINTR, and no deadline comes early.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nix::libc;
use nix::unistd::gettid;
use sysv_channel::codec::Raw;
use sysv_channel::{Channel, Queue, Receiver, Sender};

use super::{Shape, unique_name, watchdog};

type Bytes = Vec<u8>;

static SIGNALS: AtomicU64 = AtomicU64::new(0);

extern "C" fn count(_signal: libc::c_int) {
    SIGNALS.fetch_add(1, Ordering::Relaxed);
}

/// Does something at the end of a scope, also when it ends in a panic.
struct OnDrop<F: Fn()>(F);

impl<F: Fn()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

/// Interrupts what is `blocked` on an endpoint a few hundred times, most of them while it sleeps,
/// then lets `release` end it.
fn interrupted<E: Send, R: Send>(
    endpoint: &mut E,
    blocked: impl FnOnce(&mut E) -> R + Send,
    release: impl FnOnce(),
) -> R {
    // SAFETY: all zero is a valid sigaction: no flags, so that no call is restarted.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = count as extern "C" fn(libc::c_int) as usize;
    // SAFETY: the handler does nothing but count.
    let installed = unsafe { libc::sigaction(libc::SIGUSR1, &action, std::ptr::null_mut()) };
    assert_eq!(installed, 0);
    let (task, over) = (AtomicU64::new(0), AtomicBool::new(false));
    thread::scope(|scope| {
        let thread = scope.spawn(|| {
            task.store(gettid().as_raw() as u64, Ordering::Release);
            let _over = OnDrop(|| over.store(true, Ordering::Release));
            blocked(endpoint)
        });
        let task = loop {
            match task.load(Ordering::Acquire) {
                0 => thread::yield_now(),
                task => break task,
            }
        };
        let asleep = || {
            let state = std::fs::read_to_string(format!("/proc/self/task/{task}/stat"));
            // The state follows the name, which stands in parentheses.
            state.is_ok_and(|it| it.rsplit_once(") ").is_some_and(|(_, it)| it.starts_with('S')))
        };
        let mut caught_asleep = 0;
        while caught_asleep < 200 && !over.load(Ordering::Acquire) {
            caught_asleep += u32::from(asleep());
            let before = SIGNALS.load(Ordering::Relaxed);
            let (process, task) = (std::process::id(), task as libc::pid_t);
            // SAFETY: a thread that has ended is an error of the call, and nothing else.
            let sent = unsafe { libc::syscall(libc::SYS_tgkill, process, task, libc::SIGUSR1) };
            while sent == 0
                && SIGNALS.load(Ordering::Relaxed) == before
                && !over.load(Ordering::Acquire)
            {
                thread::yield_now();
            }
        }
        release();
        thread.join().unwrap()
    })
}

fn ends(shape: Shape) -> (Sender<Bytes, Raw>, Receiver<Bytes, Raw>) {
    let options = Channel::<Bytes, Raw>::options();
    let options = options.inline_limit(shape.inline_limit()).capacity(shape.capacity());
    let channel = options.private().unwrap();
    (channel.sender().unwrap(), channel.receiver().unwrap())
}

fn fill(tx: &Sender<Bytes, Raw>, len: usize) -> usize {
    (0..).take_while(|_| tx.try_send(&vec![1; len]).is_ok()).count()
}

#[test]
fn signals_end_no_wait_for_a_value() {
    let _watchdog = watchdog("signals_end_no_wait_for_a_value");
    for shape in Shape::ALL {
        let (tx, mut rx) = ends(shape);
        let hour = Duration::from_secs(3600);
        for len in [10, 1000] {
            let value = vec![7; len];
            let send = || tx.send(&value).unwrap();
            assert_eq!(interrupted(&mut rx, |rx| rx.recv().unwrap(), send), value);
            assert_eq!(interrupted(&mut rx, |rx| rx.recv_timeout(hour).unwrap(), send), value);
        }
        let gone = interrupted(&mut rx, |rx| rx.recv().unwrap_err(), || drop(tx));
        assert!(gone.is_disconnected(), "{shape:?}: {gone}");
    }
}

#[test]
fn signals_end_no_wait_for_room() {
    let _watchdog = watchdog("signals_end_no_wait_for_room");
    for shape in Shape::ALL {
        for len in [100, 1000] {
            let (mut tx, rx) = ends(shape);
            let send = |tx: &mut Sender<Bytes, Raw>| tx.send(&vec![2; len]);
            let mut waiting = fill(&tx, len);
            // One out makes room for one.
            interrupted(&mut tx, send, || drop(rx.recv().unwrap())).unwrap();
            waiting += fill(&tx, len);
            for _ in 0..waiting {
                assert_eq!(rx.try_recv().unwrap().len(), len);
            }
            assert!(rx.try_recv().unwrap_err().is_empty(), "{shape:?}");
            fill(&tx, len);
            let gone = interrupted(&mut tx, send, || drop(rx)).unwrap_err();
            assert!(gone.is_disconnected(), "{shape:?}: {gone}");
        }
    }
}

#[test]
fn signals_end_no_long_value() {
    let _watchdog = watchdog("signals_end_no_long_value");
    for shape in [Shape::Mixed, Shape::RingOnly] {
        let (mut tx, rx) = ends(shape);
        let value = vec![9; 100_000];
        let send = |tx: &mut Sender<Bytes, Raw>| tx.send(&value);
        interrupted(&mut tx, send, || assert!(rx.recv().unwrap() == value)).unwrap();
        let gone = interrupted(&mut tx, send, || drop(rx)).unwrap_err();
        assert!(gone.is_disconnected(), "{shape:?}: {gone}");
    }
}

#[test]
fn signals_shorten_no_deadline() {
    let _watchdog = watchdog("signals_shorten_no_deadline");
    let time = Duration::from_millis(60);
    for shape in Shape::ALL {
        let (mut tx, mut rx) = ends(shape);
        let start = Instant::now();
        let receive = |rx: &mut Receiver<Bytes, Raw>| rx.recv_timeout(time);
        assert!(interrupted(&mut rx, receive, || ()).unwrap_err().is_timeout());
        assert!(start.elapsed() >= time, "{shape:?}");
        fill(&tx, 100);
        let start = Instant::now();
        let send = |tx: &mut Sender<Bytes, Raw>| tx.send_timeout(&vec![1; 100], time);
        assert!(interrupted(&mut tx, send, || ()).unwrap_err().is_timeout());
        assert!(start.elapsed() >= time, "{shape:?}");
    }
}

#[test]
fn signals_end_no_wait_for_a_creator() {
    let _watchdog = watchdog("signals_end_no_wait_for_a_creator");
    let name = unique_name("late creator");
    let options = Channel::<Bytes, Raw>::options().wait_for_creation(Duration::from_secs(3600));
    let mut created = None;
    let opened = interrupted(
        &mut (),
        |_| options.open(&*name).map(drop),
        || created = Some(Channel::<Bytes, Raw>::create(&*name).unwrap()),
    );
    opened.unwrap();
    let soon = Channel::<Bytes, Raw>::options().wait_for_creation(Duration::from_millis(60));
    let start = Instant::now();
    assert!(interrupted(&mut (), |_| soon.open("nobody makes this").map(drop), || ()).is_err());
    assert!(start.elapsed() >= Duration::from_millis(60));
}

#[test]
fn signals_end_no_call_on_a_bare_queue() {
    let _watchdog = watchdog("signals_end_no_call_on_a_bare_queue");
    let queue = Queue::<Bytes, Raw>::private().unwrap();
    let value = vec![1; 1000];
    let got = interrupted(&mut (), |_| queue.recv().unwrap(), || queue.send(&value).unwrap());
    assert_eq!(got, value);
    while queue.try_send(&value).is_ok() {}
    interrupted(&mut (), |_| queue.send(&value).unwrap(), || drop(queue.recv().unwrap()));
}
