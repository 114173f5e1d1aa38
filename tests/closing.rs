//! Ending a call that waits: from another thread, from a signal handler, and what does not end it.

#![cfg(not(loom))]

use std::sync::OnceLock;
use std::thread;
use std::time::Duration;

use nix::libc;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use sysv_channel::codec::{Bytes, Raw};
use sysv_channel::{Channel, Closer, Options, Receiver, Select, Sender};

type Line = Channel<Bytes, Raw>;
type Rx = Receiver<Bytes, Raw>;
type Tx = Sender<Bytes, Raw>;

fn shapes() -> [(&'static str, Options<Bytes, Raw>); 3] {
    let options = || Line::options().lanes(2);
    [
        ("mixed", options().capacity(4096).inline_limit(256)),
        ("ring only", options().capacity(4096).inline_limit(0)),
        ("queue only", options().capacity(0).inline_limit(2048)),
    ]
}

fn bytes(len: usize) -> Bytes {
    vec![7; len].into()
}

/// Waits until the receiver, or else a sender, sleeps for the so-manieth time.
fn asleep(channel: &Line, receiver: bool, parks: u64) {
    let sleeps = || {
        let stats = channel.stats().unwrap();
        if receiver { stats.receiver_parks } else { stats.sender_parks }
    };
    while sleeps() < parks {
        thread::yield_now();
    }
}

/// Runs `wait` on a thread of its own and closes it when it sleeps.
fn closed<E: Send>(
    channel: &Line,
    receiver: bool,
    closer: &Closer,
    wait: impl FnOnce(E) -> E + Send,
    end: E,
) -> E {
    let stats = channel.stats().unwrap();
    let parks = if receiver { stats.receiver_parks } else { stats.sender_parks };
    thread::scope(|scope| {
        let waiting = scope.spawn(move || wait(end));
        asleep(channel, receiver, parks + 1);
        closer.close();
        waiting.join().unwrap()
    })
}

#[test]
fn a_receiver_that_sleeps_is_ended_and_goes_on() {
    const LONG: Duration = Duration::from_secs(1000);
    let calls: [fn(Rx) -> Rx; 5] = [
        |rx| {
            assert!(rx.recv().unwrap_err().is_closed());
            rx
        },
        |rx| {
            assert!(rx.recv_timeout(LONG).unwrap_err().is_closed());
            rx
        },
        |rx| {
            assert!(rx.recv_batch(&mut Vec::new(), 9).unwrap_err().is_closed());
            rx
        },
        |rx| {
            assert!(rx.recv_matching(Select::Any).unwrap_err().is_closed());
            rx
        },
        |rx| {
            let values: Vec<_> = rx.iter().collect();
            assert!(matches!(&values[..], [Err(error)] if error.is_closed()), "{values:?}");
            rx
        },
    ];
    for (shape, options) in shapes() {
        let channel = options.private().unwrap();
        let tx = channel.sender().unwrap();
        let mut rx = channel.receiver().unwrap();
        for call in calls {
            let closer = rx.closer();
            rx = closed(&channel, true, &closer, call, rx);
            // It receives as before, also what waits for it.
            assert!(rx.try_recv().unwrap_err().is_empty(), "{shape}");
            tx.send(&bytes(100)).unwrap();
            assert_eq!(rx.recv().unwrap(), bytes(100), "{shape}");
        }
    }
}

#[test]
fn a_receiver_is_ended_also_while_values_come() {
    for (shape, options) in shapes() {
        let channel = options.private().unwrap();
        let (tx, rx) = (channel.sender().unwrap(), channel.receiver().unwrap());
        tx.send(&bytes(1)).unwrap();
        rx.closer().close();
        // One that does not wait takes what is there.
        assert_eq!(rx.try_recv().unwrap(), bytes(1), "{shape}");
        tx.send(&bytes(2)).unwrap();
        assert!(rx.recv().unwrap_err().is_closed(), "{shape}");
        assert_eq!(rx.recv().unwrap(), bytes(2), "{shape}");
    }
}

#[test]
fn a_sender_that_waits_is_ended_and_its_value_was_not_sent() {
    for (shape, options) in shapes() {
        let channel = options.private().unwrap();
        let (tx, rx) = (channel.sender().unwrap(), channel.receiver().unwrap());
        let mut sent = 0;
        while tx.try_send(&bytes(1000)).is_ok() {
            sent += 1;
        }
        let closer = tx.closer();
        let wait = |tx: Tx| {
            assert!(tx.send(&bytes(1000)).unwrap_err().is_closed());
            tx
        };
        let tx = closed(&channel, false, &closer, wait, tx);
        let all = |rx: &Rx| rx.try_iter().filter(Result::is_ok).count();
        assert_eq!(all(&rx), sent, "{shape}");
        tx.send(&bytes(1000)).unwrap();
        assert_eq!(all(&rx), 1, "{shape}");
        // Of several values those before it, and the next call tells.
        let closer = tx.closer();
        let values: Vec<Bytes> = vec![bytes(1000); sent + 1];
        let wait = |tx: Tx| {
            assert_eq!(tx.send_all(&values).unwrap(), sent);
            tx
        };
        let tx = closed(&channel, false, &closer, wait, tx);
        assert!(tx.send(&bytes(1000)).unwrap_err().is_closed(), "{shape}");
        assert_eq!(all(&rx), sent, "{shape}");
    }
}

#[test]
fn a_value_in_fragments_is_taken_back() {
    for (shape, options) in shapes().into_iter().take(2) {
        let channel = options.private().unwrap();
        let (tx, rx) = (channel.sender().unwrap(), channel.receiver().unwrap());
        for len in [3000, 100_000] {
            let closer = tx.closer();
            let wait = |tx: &Tx| {
                assert!(tx.send(&bytes(len)).unwrap_err().is_closed(), "{shape}");
            };
            let stats = channel.stats().unwrap();
            thread::scope(|scope| {
                let channel = &channel;
                scope.spawn(move || {
                    asleep(channel, false, stats.sender_parks + 1);
                    closer.close();
                });
                wait(&tx);
            });
        }
        tx.send(&bytes(10)).unwrap();
        assert_eq!(rx.recv().unwrap(), bytes(10), "{shape}");
        assert!(rx.try_recv().unwrap_err().is_empty(), "{shape}");
    }
}

static OF_SIGNAL: OnceLock<Closer> = OnceLock::new();

extern "C" fn close(_signal: libc::c_int) {
    if let Some(closer) = OF_SIGNAL.get() {
        closer.close();
    }
}

#[test]
fn a_signal_handler_ends_a_receiver_that_sleeps() {
    let channel = Line::options().inline_limit(0).private().unwrap();
    let (_tx, rx) = (channel.sender().unwrap(), channel.receiver().unwrap());
    OF_SIGNAL.set(rx.closer()).unwrap();
    // SAFETY: the handler does what `Closer::close` says a handler may.
    unsafe { libc::signal(libc::SIGUSR2, close as extern "C" fn(libc::c_int) as usize) };
    for _ in 0..100 {
        let parks = channel.stats().unwrap().receiver_parks;
        thread::scope(|scope| {
            let channel = &channel;
            scope.spawn(move || {
                asleep(channel, true, parks + 1);
                let process = Pid::this();
                kill(process, Signal::SIGUSR2).unwrap();
            });
            assert!(rx.recv().unwrap_err().is_closed());
        });
    }
}

#[test]
fn a_closer_of_what_is_gone_does_nothing() {
    let channel = Line::options().private().unwrap();
    let (tx, rx) = (channel.sender().unwrap(), channel.receiver().unwrap());
    let closers = [tx.closer(), rx.closer()];
    drop((tx, rx));
    let (tx, rx) = (channel.sender().unwrap(), channel.receiver().unwrap());
    closers.iter().for_each(Closer::close);
    tx.send(&bytes(3)).unwrap();
    assert_eq!(rx.recv().unwrap(), bytes(3));
    // Nor does it keep the channel.
    drop((tx, rx, channel));
    closers.iter().for_each(Closer::close);
}

#[test]
fn a_receiver_stays_open_while_senders_come_and_go() {
    for (shape, options) in shapes() {
        let channel = options.stays_open().private().unwrap();
        let rx = channel.receiver().unwrap();
        for client in 1..=3 {
            let tx = channel.sender().unwrap();
            tx.send(&bytes(client)).unwrap();
            drop(tx);
            assert_eq!(rx.recv().unwrap(), bytes(client), "{shape}");
            assert!(rx.try_recv().unwrap_err().is_empty(), "{shape}");
            assert!(rx.recv_timeout(Duration::from_millis(2)).unwrap_err().is_timeout());
        }
        // Not so that of a program that does not say so.
        let (handle, closer) = (channel.handle(), rx.closer());
        let rx = closed(
            &channel,
            true,
            &closer,
            |rx: Rx| {
                assert!(rx.recv().unwrap_err().is_closed());
                rx
            },
            rx,
        );
        drop(rx);
        let rx = Line::options().open(handle).unwrap().receiver().unwrap();
        assert!(rx.recv().unwrap_err().is_disconnected(), "{shape}");
    }
}
