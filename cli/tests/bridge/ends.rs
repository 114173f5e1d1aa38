//! How a bridge ends, and what it says to mistakes.

use std::collections::BTreeSet;
use std::net::TcpListener;
use std::thread;

use nix::sys::signal::Signal;
use serde::{Deserialize, Serialize};
use sysv_channel::Channel;
use sysv_channel::actor::Mailbox;
use sysv_channel::rpc::Server;

use crate::pair::{Bridge, Pair};
use crate::stage::until;

/// How it ended, and the line that it said last.
fn fails(bridge: Bridge, code: i32) -> String {
    let (status, said) = bridge.end();
    assert_eq!(status.code(), Some(code), "{said:?}");
    said.last().unwrap_or_else(|| panic!("it said nothing")).clone()
}

#[test]
fn each_mistake_is_told_in_a_line_with_its_exit_code() {
    let pair = Pair::new("bridge mistakes");
    let (name, address) = (pair.here.name(), &*pair.address);
    let said = |arguments: &[&str], code| fails(pair.bridge(arguments), code);
    let of = |key| ["out", name, "--key", key, "--connect", address];
    for key in ["", "/a", "a/", "a/*/b", "**", "a?", "@/router"] {
        let said = said(&of(key), 2);
        assert!(said.contains("a key is words between slashes"), "{said}");
    }
    for address in ["localhost:1", "udp/127.0.0.1:1", "tcp"] {
        let said = said(&["in", name, "--key", "k", "--listen", address], 2);
        assert!(said.contains("an address is PROTOCOL/HOST:PORT"), "{said}");
    }
    let any_port = said(&["in", name, "--key", "k", "--listen", "tcp/127.0.0.1:0"], 2);
    assert!(any_port.contains("port 0 is any port"), "{any_port}");
    assert!(said(&["out", name, "--key", "k"], 2).contains("needs an address"));
    let file = pair.runtime.path().join("bridge.toml");
    let path = file.to_str().unwrap();
    assert!(said(&["run", path], 2).contains("cannot be read"));
    for (text, words) in [
        ("", "names no link"),
        ("\n[[out]]\nname = 'a'\n", "line 2: missing field `key`"),
        ("[[out]]\nname = 'a'\nkey = 'b*'\n", "line 3: a key is words"),
        ("[[out]]\nname = 'a'\nkey = 'b'\nfar = 1\n", "line 4: unknown field `far`"),
        (
            "[[in]]\nname='a'\nkey='b'\n[[in]]\nname='c'\nkey='b'\n",
            "line 5: two links `in` have the key b: this one and that of line 2",
        ),
        (
            "[[out]]\nname='a'\nkey='b'\n[[out]]\nname='a'\nkey='c'\n",
            "line 5: two links `out` take from the channel \"a\", with the keys b and c: this one and that of line 2",
        ),
        (
            "[[serve]]\nname='a'\nkey='b'\n[[serve]]\nkey='c'\nname='a'\n",
            "line 6: two links `serve` bind the server \"a\", with the keys b and c: this one and that of line 2",
        ),
        // These can be; that no address is named is what comes next.
        ("[[in]]\nname='a'\nkey='b'\n[[in]]\nname='a'\nkey='c'\n", "needs an address"),
        ("[[call]]\nname='a'\nkey='b'\n[[call]]\nname='a'\nkey='c'\n", "needs an address"),
        ("[[in]]\nname='a'\nkey='b'\n[[out]]\nname='a'\nkey='b'\n", "needs an address"),
        ("listen = ['tcp/0.0.0.0:0']\n", "line 1: port 0 is any port"),
        ("listen = ['x']\n", "line 1: an address is"),
        ("[[out]]\nname = 'a'\nkey = 'b'\n", "needs an address"),
    ] {
        std::fs::write(&file, text).unwrap();
        let said = said(&["run", path], 2);
        assert!(said.contains(words), "{text}: {said}");
    }
    let with_file = ["out", name, "--key", "k", "--config", path];
    assert!(said(&with_file, 2).contains("the zenoh configuration"));

    let listener = TcpListener::bind(address.strip_prefix("tcp/").unwrap()).unwrap();
    let in_use = said(&["in", name, "--key", "k", "--listen", address], 1);
    assert!(in_use.contains("in use") && in_use.contains(&address[4..]), "{in_use}");
    drop(listener);

    let nobody = crate::stage::tool(&["bridge", "status"])
        .env("XDG_RUNTIME_DIR", pair.runtime.path())
        .output()
        .unwrap();
    assert_eq!(nobody.status.code(), Some(4));
}

#[derive(Debug, Serialize, Deserialize)]
enum Message {
    Only(u8),
}

#[test]
fn what_is_no_channel_of_its_own_is_refused() {
    let pair = Pair::new("bridge refused");
    let (name, address) = (pair.here.name(), &*pair.address);
    let started = |kind, side| pair.bridge(&[kind, name, "--key", "k", side, address]);
    for (kind, side) in [("out", "--connect"), ("in", "--listen")] {
        let server = Server::<u8, u8>::bind(name).unwrap();
        assert!(fails(started(kind, side), 5).contains("is a server"));
        drop(server);
        let mailbox = Mailbox::<Message>::bind(name).unwrap();
        assert!(fails(started(kind, side), 5).contains("is a mailbox"));
        drop(mailbox);
    }
    let channel = Channel::<u8>::create(name).unwrap();
    let receiver = channel.receiver().unwrap();
    assert!(fails(started("out", "--connect"), 5).contains("receiver"));
    drop(receiver);
    let first = started("in", "--listen");
    until(|| sysv_channel::inspect(name).unwrap().lanes.iter().any(|lane| lane.attached));
    let other = crate::pair::address("tcp");
    let second = pair.bridge(&["in", name, "--key", "k", "--listen", &other]);
    assert!(fails(second, 5).contains("has this link"));
    first.stop();
}

#[test]
fn two_bridges_of_one_kind_with_one_key_are_told() {
    let pair = Pair::new("bridge two");
    let options = Channel::<u64>::options().durable();
    let [here, there] = pair.make(&options);
    let (into, first) = (pair.inlet(), pair.outlet());
    here.sender().unwrap().send(&1).unwrap();
    let rx = there.receiver().unwrap();
    assert_eq!(rx.recv().unwrap(), 1);
    let other = Pair::new("bridge two, another");
    let [another, _] = other.make(&options);
    another.sender().unwrap().send(&2).unwrap();
    let second =
        pair.bridge(&["out", other.here.name(), "--key", &pair.key, "--connect", &pair.address]);
    second.says("another `bridge out` has this key");
    // The first one is not disturbed, and its end makes room for the second.
    here.sender().unwrap().send(&3).unwrap();
    assert_eq!(rx.recv().unwrap(), 3);
    first.stop();
    assert_eq!(rx.recv().unwrap(), 2);
    second.stop();
    into.stop();
}

#[test]
fn channels_of_two_types_are_refused_with_the_first_difference() {
    mod theirs {
        use serde::{Deserialize, Serialize};

        #[derive(Serialize, Deserialize)]
        pub(crate) struct Order {
            id: u32,
            symbol: String,
        }
    }
    #[derive(Serialize, Deserialize)]
    struct Order {
        id: u64,
        symbol: String,
    }
    let pair = Pair::new("bridge types");
    let here = Channel::<Order>::create(pair.here.name()).unwrap();
    let there = Channel::<theirs::Order>::create(pair.there.name()).unwrap();
    here.sender().unwrap().send(&Order { id: 1, symbol: String::new() }).unwrap();
    let into = pair.inlet();
    let said = fails(pair.outlet(), 5);
    for words in [pair.here.name(), pair.there.name(), "Order.id: u64 here, u32 there"] {
        assert!(said.contains(words), "{said}");
    }
    // What is there for the one is here for the other.
    into.says("Order.id: u32 here, u64 there");
    assert_eq!(sysv_channel::inspect(pair.here.name()).unwrap().stats.waiting, 1);
    into.stop();
    drop((here, there));
}

#[test]
fn a_value_that_the_far_channel_does_not_take_stays_and_is_told() {
    let pair = Pair::new("bridge too long");
    let here = Channel::<Vec<u8>>::create(pair.here.name()).unwrap();
    let options = Channel::<Vec<u8>>::options().max_value(1000);
    let there = options.create(pair.there.name()).unwrap();
    let rx = there.receiver().unwrap();
    let tx = here.sender().unwrap();
    [10, 500, 2000, 20].into_iter().for_each(|len| tx.send(&vec![0; len]).unwrap());
    let into = pair.inlet();
    let said = fails(pair.outlet(), 1);
    assert!(said.contains(pair.there.name()) && said.contains("stays here"), "{said}");
    assert_eq!([rx.recv().unwrap().len(), rx.recv().unwrap().len()], [10, 500]);
    let left = here.receiver().unwrap();
    assert_eq!([left.recv().unwrap().len(), left.recv().unwrap().len()], [2000, 20]);
    into.stop();
}

/// A signal at any moment: each value is here or there, once.
#[test]
fn a_signal_at_any_moment_loses_and_doubles_nothing() {
    let pair = Pair::new("bridge signals");
    let options = Channel::<u64>::options().durable();
    let [here, there] = pair.make(&options);
    let rx = there.receiver().unwrap();
    const ROUNDS: u64 = 24;
    const VALUES: u64 = 20_000;
    let tx = here.sender().unwrap();
    let sending = thread::spawn(move || (0..VALUES).for_each(|value| tx.send(&value).unwrap()));
    let mut next = 0;
    for round in 0..ROUNDS {
        let (out, into) = (pair.outlet(), pair.inlet());
        // Somewhere in the middle of it.
        let until = (round + 1) * VALUES / (ROUNDS + 1);
        while next < until {
            assert_eq!(rx.recv().unwrap(), next);
            next += 1;
        }
        let signal = if round % 2 == 0 { Signal::SIGTERM } else { Signal::SIGINT };
        let (first, second) = if round % 3 == 0 { (out, into) } else { (into, out) };
        first.signal(signal);
        let (status, said) = first.end();
        assert_eq!(status.code(), Some(128 + signal as i32), "{said:?}");
        second.signal(signal);
        assert_eq!(second.end().0.code(), Some(128 + signal as i32));
    }
    // Without bridges, what is left is here.
    let mut values: BTreeSet<u64> = (0..next).collect();
    let left = here.receiver().unwrap();
    while let Ok(value) = rx.try_recv() {
        assert!(values.insert(value), "{value} came twice");
    }
    while values.len() < VALUES as usize {
        let value = left.recv().unwrap();
        assert!(values.insert(value), "{value} is here and there");
    }
    sending.join().unwrap();
    assert_eq!(values.len(), VALUES as usize);
}
