//! What is seen of a bridge: in `top`, and in `bridge status`.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use nix::sys::signal::Signal;
use serde_json::Value;
use sysv_channel::Channel;

use crate::pair::{Bridge, Pair};
use crate::screen::Terminal;
use crate::stage::{text, tool, until};

/// `top`, which sees the bridges of this test.
fn top(pair: &Pair) -> Terminal {
    let top = pty_process::blocking::Command::new(env!("CARGO_BIN_EXE_sysv-channel"));
    Terminal::of(top.args(["top", "--interval", "0.1"]).env("XDG_RUNTIME_DIR", pair.runtime.path()))
}

/// What stands behind the key in the line of this kind of link: rates, in flight, round trip, state.
fn behind_the_key(top: &Terminal, pair: &Pair, kind: &str) -> Option<String> {
    let line = top.line(kind)?;
    let key = &pair.key[..20];
    Some(line.split_once(key)?.1.split_once(' ')?.1.trim_start().to_owned())
}

fn rate(top: &Terminal, pair: &Pair, kind: &str) -> Option<u64> {
    let behind = behind_the_key(top, pair, kind)?;
    behind.split(' ').next()?.replace(',', "").parse().ok()
}

#[test]
fn top_shows_the_links_of_bridges_and_waits_for_none() {
    let pair = Pair::new("bridge top");
    let [here, there] = pair.make(&Channel::<u64>::options().durable());
    let top = top(&pair);
    until(|| top.text().contains("q leaves"));
    assert!(!top.text().contains("ROUND TRIP"), "{}", top.text());
    let (into, out) = (pair.inlet(), pair.outlet());
    let (tx, rx) = (here.sender().unwrap(), there.receiver().unwrap());
    let over = &AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(move || {
            while !over.load(Ordering::Relaxed) {
                tx.send(&7).unwrap();
                rx.recv().unwrap();
            }
        });
        until(|| {
            let is_measured = behind_the_key(&top, &pair, "out")
                .is_some_and(|behind| behind.contains(" ms") && behind.ends_with("carries values"));
            let rates = ["out", "in"].map(|kind| rate(&top, &pair, kind));
            is_measured && rates.iter().all(|rate| rate.is_some_and(|rate| rate > 0))
        });
        over.store(true, Ordering::Relaxed);
    });
    until(|| rate(&top, &pair, "out") == Some(0));
    drop(out);
    until(|| top.line("out").is_none());
    into.signal(Signal::SIGSTOP);
    until(|| top.line("in").is_some_and(|line| line.contains("does not answer")));
    top.press("s");
    until(|| top.text().contains("order: rate"));
    // One that is seen for the first time.
    let second = self::top(&pair);
    let silent = format!("process {}", into.id());
    until(|| {
        second
            .text()
            .lines()
            .any(|line| line.contains(&silent) && line.ends_with("does not answer"))
    });
    for top in [&top, &second] {
        let text = top.text();
        assert!(!text.contains("sysv-channel:"), "{text}");
    }
    top.press("q");
    assert_eq!(top.end(), Some(0));
    into.signal(Signal::SIGCONT);
    until(|| second.line("in").is_some_and(|line| line.contains("waits for")));
    into.stop();
    until(|| !second.text().contains("ROUND TRIP"));
    second.press("q");
    assert_eq!(second.end(), Some(0));
}

/// The state of this kind of link, as `bridge status` tells it.
fn state(pair: &Pair, kind: &str) -> Option<String> {
    let mut status = tool(&["bridge", "status", "--json"]);
    let output = status.env("XDG_RUNTIME_DIR", pair.runtime.path()).output().unwrap();
    let output = text(&output.stdout);
    let links = output.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let mut states = links.filter(|link| link["kind"] == kind).map(|link| link["state"].clone());
    Some(states.next()?.as_str()?.to_owned())
}

#[test]
fn a_link_that_is_held_up_says_by_what() {
    let pair = Pair::new("bridge held up");
    let options = Channel::<u64>::options().durable().max_waiting(4);
    let [here, there] = pair.make(&options);
    let rx = there.receiver().unwrap();
    let tx = here.sender().unwrap();
    let (into, out) = (pair.inlet(), pair.outlet());
    (0..8).for_each(|value| tx.send(&value).unwrap());
    until(|| state(&pair, "out").is_some_and(|state| state.contains("the far side has no room")));
    until(|| state(&pair, "in").is_some_and(|state| state == "waits for room in the channel"));
    (0..8).for_each(|value| assert_eq!(rx.recv().unwrap(), value));
    until(|| state(&pair, "out").is_some_and(|state| state == "carries values"));
    assert_eq!(state(&pair, "in").unwrap(), "puts values");
    into.signal(Signal::SIGSTOP);
    until(|| {
        state(&pair, "out").is_some_and(|state| state.contains("`bridge in` does not answer"))
    });
    into.signal(Signal::SIGCONT);
    until(|| state(&pair, "out").is_some_and(|state| state == "carries values"));
    // None of that is a fault.
    for bridge in [&into, &out] {
        assert_eq!(bridge.said(), [""; 0]);
    }
    out.stop();
    until(|| {
        state(&pair, "in").is_some_and(|state| state.contains("`bridge out`, which is not there"))
    });
    into.signal(Signal::SIGSTOP);
    let mut status = tool(&["bridge", "status"]);
    let silent = status.env("XDG_RUNTIME_DIR", pair.runtime.path()).output().unwrap();
    assert_eq!(silent.status.code(), Some(1));
    assert!(text(&silent.stderr).contains("no bridge of this user on this machine answers"));
    into.signal(Signal::SIGCONT);
    into.stop();
}

#[test]
fn a_link_that_cannot_go_on_is_seen_while_others_go_on() {
    let pair = Pair::new("bridge of two links");
    let taken = Channel::<u64>::create(pair.here.name()).unwrap();
    let file = pair.runtime.path().join("links.toml");
    let (name, key, address) = (pair.here.name(), &pair.key, &pair.address);
    let (held, other) = (taken.receiver().unwrap(), pair.there.name());
    let text = format!(
        "listen = [{address:?}]\n[[out]]\nname = {name:?}\nkey = {key:?}\n[[in]]\nname = {other:?}\nkey = {key:?}\n"
    );
    std::fs::write(&file, text).unwrap();
    let bridge: Bridge = pair.bridge(&["run", file.to_str().unwrap()]);
    bridge.says("receiver");
    until(|| state(&pair, "out").is_some_and(|state| state.starts_with("ended: ")));
    until(|| state(&pair, "in").is_some_and(|state| state.starts_with("waits")));
    // That was told long before it ends.
    bridge.stop();
    drop(held);
}
