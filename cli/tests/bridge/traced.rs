//! What a bridge tells to `tracing`.

use std::thread;

use nix::sys::signal::Signal;
use sysv_channel::Channel;
use sysv_channel::rpc::{CallError, Client, Server};

use crate::calls::options;
use crate::pair::{Bridge, Pair};
use crate::stage::tool;

/// A bridge that writes what `RUST_LOG` names.
fn traced(pair: &Pair, log: &str, [kind, name, side]: [&str; 3]) -> Bridge {
    let mut command = tool(&["bridge", kind, name, "--key", &pair.key, side, &pair.address]);
    command.env("RUST_LOG", log);
    Bridge::run(command, pair.runtime.path())
}

/// Waits for a line with all of these words, in their order.
fn tells(bridge: &Bridge, words: &[&str]) {
    let is_so = |line: &str| {
        let mut rest = line;
        words.iter().all(|word| match rest.split_once(word) {
            Some((_, behind)) => {
                rest = behind;
                true
            }
            None => false,
        })
    };
    bridge.says_so(&format!("{words:?}"), is_so);
}

#[test]
fn values_are_traced_in_the_span_of_their_link() {
    let pair = Pair::new("bridge traced");
    let [here, there] = pair.make(&Channel::<u64>::options().durable());
    let log = "sysv_channel_cli=debug";
    let into = traced(&pair, log, ["in", pair.there.name(), "--listen"]);
    let out = traced(&pair, log, ["out", pair.here.name(), "--connect"]);
    let (tx, rx) = (here.sender().unwrap(), there.receiver().unwrap());
    tx.send(&1).unwrap();
    assert_eq!(rx.recv().unwrap(), 1);
    let span =
        |kind: &str, name: &str| format!("bridge{{kind={kind} name={name:?} key={}}}", pair.key);
    let (first, second) = (span("out", pair.here.name()), span("in", pair.there.name()));
    for (bridge, span) in [(&out, &*first), (&into, &*second)] {
        tells(bridge, &["INFO", span, "sysv_channel_cli: starts"]);
        tells(bridge, &["INFO", span, "meets session=", "known=0"]);
        tells(bridge, &["INFO", span, "goes on state="]);
    }
    tells(&out, &["DEBUG", &first, "sends first=1 count=1 bytes="]);
    tells(&out, &["DEBUG", &first, "acknowledged up_to=1 values=1 bytes="]);
    tells(&into, &["DEBUG", &second, "arrived first=1 count=1 bytes="]);
    tells(&into, &["DEBUG", &second, "acknowledges up_to=1"]);
    drop(into);
    tells(&out, &["WARN", &first, "lost why=\"`bridge in` has gone"]);
    tells(&out, &["INFO", &first, "waits state="]);
    out.signal(Signal::SIGTERM);
    let (_, said) = out.end();
    assert!(said.last().is_some_and(|line| line.ends_with("ended why=\"a signal\"")), "{said:?}");
    // Zenoh was not asked for, nor the library.
    let others = said.iter().filter(|line| !line.starts_with("sysv-channel: "));
    for line in others {
        assert!(line.contains("sysv_channel_cli: "), "{line}");
    }
}

#[test]
fn a_refused_value_and_the_end_are_traced() {
    let pair = Pair::new("bridge traced refusal");
    let here = Channel::<Vec<u8>>::create(pair.here.name()).unwrap();
    let there = Channel::<Vec<u8>>::options().max_value(1000).create(pair.there.name()).unwrap();
    let _rx = there.receiver().unwrap();
    let tx = here.sender().unwrap();
    tx.send(&vec![0; 2000]).unwrap();
    let into = traced(&pair, "sysv_channel_cli=warn", ["in", pair.there.name(), "--listen"]);
    let out = traced(&pair, "sysv_channel_cli=warn", ["out", pair.here.name(), "--connect"]);
    tells(&out, &["WARN", "kind=out", "a value is refused number=1 why="]);
    tells(&out, &["ERROR", "kind=out", "ended why=", "stays here"]);
    tells(&into, &["WARN", "kind=in", "a value is refused number=1 why="]);
    assert_eq!(out.end().0.code(), Some(1));
    into.stop();
}

#[test]
fn each_call_has_a_span_at_both_ends() {
    let pair = Pair::new("bridge traced calls");
    let server = Server::<u32, u32>::bind(pair.there.name()).unwrap();
    thread::spawn(move || {
        for request in server.incoming() {
            let Ok(request) = request else { break };
            match *request.query() {
                0 => drop(request),
                number => request.reply(&number).unwrap(),
            }
        }
    });
    let log = "sysv_channel_cli=debug";
    let serve = traced(&pair, log, ["serve", pair.here.name(), "--connect"]);
    let call = traced(&pair, log, ["call", pair.there.name(), "--listen"]);
    let client: Client<u32, u32> = options().connect(pair.here.name()).unwrap();
    assert_eq!(client.call(&5).unwrap(), 5);
    assert!(matches!(client.call(&0), Err(CallError::Dropped { .. })));
    for (bridge, kind) in [(&serve, "kind=serve"), (&call, "kind=call")] {
        tells(bridge, &["INFO", kind, "meets session="]);
        tells(
            bridge,
            &["DEBUG", kind, "call{call=1 left_ms=", "stream=false outcome=reply}", "ends"],
        );
        tells(bridge, &["DEBUG", kind, "call{call=2 left_ms=", "outcome=", "dropped", "}", "ends"]);
    }
    tells(&serve, &["DEBUG", "kind=serve", "call{call=1", "is passed on bytes="]);
    tells(&call, &["DEBUG", "kind=call", "call{call=1", "is made bytes="]);
    serve.stop();
    call.stop();
}

#[test]
fn what_is_not_asked_for_is_not_written() {
    let pair = Pair::new("bridge untraced");
    let [here, there] = pair.make(&Channel::<u64>::options().durable());
    let (into, out) = (pair.inlet(), traced(&pair, "", ["out", pair.here.name(), "--connect"]));
    let (tx, rx) = (here.sender().unwrap(), there.receiver().unwrap());
    tx.send(&1).unwrap();
    assert_eq!(rx.recv().unwrap(), 1);
    for bridge in [out, into] {
        bridge.signal(Signal::SIGTERM);
        let (_, said) = bridge.end();
        assert!(said.iter().all(|line| line.starts_with("sysv-channel: bridge ")), "{said:?}");
    }
    let wrong = traced(&pair, "sysv_channel_cli=loud", ["out", pair.here.name(), "--connect"]);
    wrong.says("RUST_LOG=sysv_channel_cli=loud is not understood");
    wrong.stop();
}
