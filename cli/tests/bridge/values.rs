//! Values, from one channel to another.

use std::thread;

use nix::sys::signal::Signal;
use sysv_channel::{Channel, DefaultCodec, Options, Select, Tag};

use crate::pair::Pair;
use crate::stage::until;

type Numbered = (u64, u64, Vec<u8>);

/// The three shapes that a channel can have.
fn shapes() -> [(&'static str, Options<Numbered, DefaultCodec>); 3] {
    let options = Channel::<Numbered>::options;
    [
        ("bridge mixed", options()),
        ("bridge rings", options().inline_limit(0)),
        ("bridge queue", options().capacity(0).inline_limit(4000)),
    ]
}

#[test]
fn values_of_each_shape_arrive_in_order_from_many_senders() {
    for (shape, options) in shapes() {
        let pair = Pair::new(shape);
        let [here, there] = pair.make(&options);
        let rx = there.receiver().unwrap();
        let _bridges = [pair.inlet(), pair.outlet()];
        const SENDERS: u64 = 4;
        const VALUES: u64 = 500;
        let senders: Vec<_> = (0..SENDERS)
            .map(|sender| {
                let tx = here.sender().unwrap();
                thread::spawn(move || {
                    for number in 0..VALUES {
                        let len = (number * 37 % 2000) as usize;
                        tx.send(&(sender, number, vec![number as u8; len])).unwrap();
                    }
                })
            })
            .collect();
        let mut next = [0; SENDERS as usize];
        for _ in 0..SENDERS * VALUES {
            let (sender, number, bytes) = rx.recv().unwrap();
            assert_eq!(number, next[sender as usize], "{shape}");
            assert!(bytes.len() == (number * 37 % 2000) as usize);
            assert!(bytes.iter().all(|&byte| byte == number as u8));
            next[sender as usize] += 1;
        }
        assert!(rx.try_recv().is_err());
        senders.into_iter().for_each(|sender| sender.join().unwrap());
        // What has arrived there is gone here.
        until(|| sysv_channel::inspect(pair.here.name()).unwrap().stats.waiting == 0);
    }
}

#[test]
fn long_values_and_tags_arrive_as_they_were_sent() {
    let pair = Pair::new("bridge long");
    let [here, there] = pair.make(&Channel::<Numbered>::options().capacity(1 << 20));
    let (tx, rx) = (here.sender().unwrap(), there.receiver().unwrap());
    let _bridges = [pair.inlet(), pair.outlet()];
    // As messages, through the ring, and in fragments of a ring that is shorter; one is longer than all that may be
    // under way.
    let values: Vec<_> = [10, 5_000, 60_000, 3_000_000, 7, 18_000_000, 7]
        .into_iter()
        .enumerate()
        .map(|(number, len)| (Tag::new(number as i64 + 3).unwrap(), vec![number as u8; len]))
        .collect();
    let sent = values.clone();
    let sending = thread::spawn(move || {
        for (number, (tag, bytes)) in sent.into_iter().enumerate() {
            tx.send_tagged(tag, &(0, number as u64, bytes)).unwrap();
        }
    });
    for (number, (tag, bytes)) in values.into_iter().enumerate() {
        let message = rx.recv_matching(Select::Any).unwrap();
        assert_eq!((message.tag, message.value.1), (tag, number as u64));
        assert!(message.value.2 == bytes);
    }
    sending.join().unwrap();
}

#[test]
fn links_in_both_directions_share_one_bridge_on_each_side() {
    let pair = Pair::new("bridge both ways");
    let back = Pair::new("bridge back");
    let options = Channel::<Numbered>::options();
    let ([here, there], [there_back, here_back]) = (pair.make(&options), back.make(&options));
    let file = |listen: bool, out: (&str, &str), into: (&str, &str)| {
        let side = if listen { "listen" } else { "connect" };
        format!(
            "{side} = [\"{}\"]\n[[out]]\nname = {:?}\nkey = {:?}\n[[in]]\nname = {:?}\nkey = {:?}\n",
            pair.address, out.0, out.1, into.0, into.1
        )
    };
    let directory = pair.runtime.path();
    let (first, second) = (directory.join("here.toml"), directory.join("there.toml"));
    let one = file(true, (pair.here.name(), &pair.key), (back.there.name(), &back.key));
    let other = file(false, (back.here.name(), &back.key), (pair.there.name(), &pair.key));
    std::fs::write(&first, one).unwrap();
    std::fs::write(&second, other).unwrap();
    let _bridges = [&first, &second].map(|file| pair.bridge(&["run", file.to_str().unwrap()]));
    let answering = thread::spawn(move || {
        let (rx, tx) = (there.receiver().unwrap(), there_back.sender().unwrap());
        for _ in 0..100 {
            let (sender, number, bytes) = rx.recv().unwrap();
            tx.send(&(sender + 1, number, bytes)).unwrap();
        }
    });
    let (tx, rx) = (here.sender().unwrap(), here_back.receiver().unwrap());
    for number in 0..100 {
        tx.send(&(0, number, vec![1, 2, 3])).unwrap();
        assert_eq!(rx.recv().unwrap(), (1, number, vec![1, 2, 3]));
    }
    answering.join().unwrap();

    // Both are seen, each with both of its links.
    let mut links: Vec<serde_json::Value> = Vec::new();
    // An `out` hears of the last ones a little later than they come.
    until(|| {
        let mut status = crate::stage::tool(&["bridge", "status", "--json"]);
        let output = status.env("XDG_RUNTIME_DIR", directory).output().unwrap();
        let lines = crate::stage::text(&output.stdout);
        links = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        links.iter().all(|link| link["values"] == 100)
    });
    assert_eq!(links.len(), 4, "{links:?}");
    for link in &links {
        assert_eq!(link["meetings"], 1, "{links:?}");
    }
    let mut status = crate::stage::tool(&["bridge", "status"]);
    let output = status.env("XDG_RUNTIME_DIR", directory).output().unwrap();
    let table = crate::stage::text(&output.stdout);
    assert!(table.contains("PID") && table.contains("carries values"), "{table}");
}

/// Of a process, as the kernel counts it.
fn memory_kib(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[test]
fn a_receiver_that_is_away_stops_the_sender_and_fills_no_bridge() {
    let pair = Pair::new("bridge full");
    let options = Channel::<Numbered>::options().inline_limit(0).capacity(1 << 20);
    let [here, there] = pair.make(&options);
    let bridges = [pair.inlet(), pair.outlet()];
    let tx = here.sender().unwrap();
    let value = |number| (0, number, vec![7; 50_000]);
    // One after the other: the far channel, what is under way, and this channel.
    let mut sent = 0;
    let mut refused = 0;
    while refused < 20 {
        match tx.send_timeout(&value(sent), std::time::Duration::from_millis(100)) {
            Ok(()) => (sent, refused) = (sent + 1, 0),
            Err(error) if error.is_timeout() => refused += 1,
            Err(error) => panic!("{error}"),
        }
    }
    // Two rings, and what is under way stands in the first.
    assert!(sent < 250, "{sent} values found room");
    for bridge in &bridges {
        let memory = memory_kib(bridge.id());
        assert!(memory < 150 << 10, "{memory} KiB");
    }
    let rx = there.receiver().unwrap();
    for number in 0..sent {
        assert_eq!(rx.recv().unwrap(), value(number));
    }
    assert!(rx.try_recv().is_err());
}

#[test]
fn a_channel_that_comes_later_or_is_made_anew_is_waited_for() {
    let pair = Pair::new("bridge later");
    let (out, into) = (pair.outlet(), pair.inlet());
    out.says("waits for the channel to be there");
    into.says("waits for the channel to be there");
    for round in 0..3 {
        let [here, there] = pair.make(&Channel::<Numbered>::options());
        let rx = there.receiver().unwrap();
        here.sender().unwrap().send(&(round, 0, vec![])).unwrap();
        assert_eq!(rx.recv().unwrap().0, round);
        until(|| sysv_channel::inspect(pair.here.name()).unwrap().stats.waiting == 0);
        for stage in [&pair.here, &pair.there] {
            Channel::<Numbered>::unlink(stage.name()).unwrap();
        }
    }
    // Once each time, and not all the time.
    let said = out.said();
    assert!(said.len() < 20, "{said:?}");
    into.stop();
    out.stop();
}

#[test]
fn a_bridge_that_nobody_answers_says_so_and_loses_nothing() {
    let pair = Pair::new("bridge alone");
    let [here, there] = pair.make(&Channel::<Numbered>::options().stays_open());
    let out = pair.outlet();
    out.says("waits for `bridge in`, which is not there");
    here.sender().unwrap().send(&(1, 2, vec![3])).unwrap();
    let into = pair.inlet();
    let rx = there.receiver().unwrap();
    assert_eq!(rx.recv().unwrap(), (1, 2, vec![3]));
    out.says("carries values");
    drop(into);
    let into = pair.inlet();
    here.sender().unwrap().send(&(4, 5, vec![])).unwrap();
    assert_eq!(rx.recv().unwrap(), (4, 5, vec![]));
    into.stop();
    out.signal(Signal::SIGINT);
    assert_eq!(out.end().0.code(), Some(130));
}

#[test]
fn a_channel_that_is_to_be_made_has_the_far_type() {
    let pair = Pair::new("bridge create");
    let here = Channel::<Numbered>::create(pair.here.name()).unwrap();
    let (name, key, address) = (pair.there.name(), &pair.key, &pair.address);
    let _inlet = pair.bridge(&["in", name, "--key", key, "--listen", address, "--create"]);
    let _outlet = pair.outlet();
    here.sender().unwrap().send(&(1, 2, vec![3])).unwrap();
    until(|| sysv_channel::inspect(name).is_ok_and(|seen| seen.stats.waiting == 1));
    let there = Channel::<Numbered>::open(name).unwrap();
    assert_eq!(there.receiver().unwrap().recv().unwrap(), (1, 2, vec![3]));
}
