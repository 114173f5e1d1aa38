//! `recv`, `send` and `call`: values as lines of JSON.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::Stdio;
use std::thread;

use nix::sys::signal::Signal;
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sysv_channel::codec::Json;
use sysv_channel::rpc::Server;
use sysv_channel::{Channel, DefaultCodec, Options};

use crate::stage::{Running, Stage, complaint, fails, prints, run, text, tool, until};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum Side {
    Buy,
    Sell { price: f64 },
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Order {
    id: u64,
    side: Side,
    note: Option<String>,
}

impl Order {
    fn of(id: u64) -> Order {
        let side =
            if id.is_multiple_of(2) { Side::Buy } else { Side::Sell { price: id as f64 / 4.0 } };
        // Now and then one that goes through a ring.
        let note = id.is_multiple_of(50).then(|| "\u{e4}\n\u{1b}".repeat(800));
        Order { id, side, note }
    }

    fn line(&self) -> String {
        serde_json::to_string(self).unwrap()
    }
}

fn orders() -> Options<Order, DefaultCodec> {
    Channel::<Order>::options()
}

/// The three shapes that a channel can have.
fn shapes() -> [Options<Order, DefaultCodec>; 3] {
    [orders(), orders().inline_limit(0), orders().capacity(0).inline_limit(8000)]
}

/// The numbers of the orders in these lines.
fn ids(lines: &str) -> Vec<u64> {
    let id = |line| serde_json::from_str::<Value>(line).unwrap()["id"].as_u64().unwrap();
    lines.lines().map(id).collect()
}

/// A channel in which so many orders wait, and nobody is.
fn filled(stage: &Stage, options: Options<Order, DefaultCodec>, count: u64) {
    let tx = options.create(stage.name()).unwrap().sender().unwrap();
    (0..count).for_each(|id| tx.send(&Order::of(id)).unwrap());
}

fn waiting(stage: &Stage) -> u64 {
    sysv_channel::inspect(stage.name()).unwrap().stats.waiting
}

#[test]
fn values_are_printed_as_serde_json_would_and_read_back() {
    for (at, options) in shapes().into_iter().enumerate() {
        let stage = Stage::new(["recv mixed", "recv rings", "recv queue"][at]);
        let rx = options.create(stage.name()).unwrap().receiver().unwrap();
        let mut lines = String::new();
        (0..20).for_each(|id| lines += &(Order::of(id).line() + "\n"));
        let mut sends = Running::start(&["send", stage.name(), "-"]);
        sends.input().write_all(lines.as_bytes()).unwrap();
        for id in 0..20 {
            assert_eq!(rx.recv().unwrap(), Order::of(id));
        }
        let (_, output) = sends.end();
        assert!(output.status.success(), "{}", text(&output.stderr));
        drop(rx);
        filled(&stage, shapes()[at].clone(), 20);
        assert_eq!(prints(&["recv", stage.name()]), lines);
    }
}

#[test]
fn a_long_stream_goes_through_two_pipes_in_order() {
    const VALUES: u64 = 20_000;
    let stage = Stage::new("long stream");
    let channel = Channel::<u64>::create(stage.name()).unwrap();
    let mut sends = Running::start(&["send", stage.name()]);
    let mut recvs = Running::start(&["recv", stage.name(), "--count", &VALUES.to_string()]);
    let mut input = sends.input();
    let feeds =
        thread::spawn(move || (0..VALUES).for_each(|number| writeln!(input, "{number}").unwrap()));
    (0..VALUES).for_each(|number| assert_eq!(recvs.hear(), number.to_string()));
    feeds.join().unwrap();
    for running in [sends, recvs] {
        let (rest, output) = running.end();
        assert_eq!(
            (output.status.code(), rest.as_str()),
            (Some(0), ""),
            "{}",
            text(&output.stderr)
        );
    }
    drop(channel);
}

#[test]
fn named_pipes_serve_as_well() {
    let stage = Stage::new("fifo");
    let directory = tempfile::tempdir().unwrap();
    let [inward, outward] = ["in", "out"].map(|name| directory.path().join(name));
    for path in [&inward, &outward] {
        mkfifo(path, Mode::S_IRWXU).unwrap();
    }
    let _channel = Channel::<(u64, String)>::create(stage.name()).unwrap();
    let script = "\"$0\" send \"$1\" < \"$2\" & \"$0\" recv \"$1\" > \"$3\"; wait";
    let mut shell = std::process::Command::new("sh");
    shell
        .args(["-c", script, env!("CARGO_BIN_EXE_sysv-channel"), stage.name()])
        .args([&inward, &outward]);
    let mut shell = shell.spawn().unwrap();
    File::create(&inward).unwrap().write_all(b"[1,\"a\"]\n[2,\"b\"]").unwrap();
    let mut printed = String::new();
    File::open(&outward).unwrap().read_to_string(&mut printed).unwrap();
    assert_eq!(printed, "[1,\"a\"]\n[2,\"b\"]\n");
    assert!(shell.wait().unwrap().success());
}

#[test]
fn what_cannot_be_written_stays_in_the_channel() {
    for options in shapes() {
        let stage = Stage::new("recv full disk");
        filled(&stage, options, 3);
        let full = File::options().write(true).open("/dev/full").unwrap();
        let said = complaint(tool(&["recv", stage.name()]).stdout(full).output().unwrap(), 1);
        assert!(said.contains("No space left") && said.contains("stays in the channel"), "{said}");
        assert_eq!(waiting(&stage), 3);
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = tool(&["recv", stage.name()]).stdout(writer).output().unwrap();
        assert_eq!((output.status.code(), text(&output.stderr).as_str()), (Some(0), ""));
        assert_eq!(ids(&prints(&["recv", stage.name()])), [0, 1, 2]);
    }
}

#[test]
fn a_signal_at_any_moment_loses_and_doubles_nothing() {
    const VALUES: u64 = 500;
    let signals = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP];
    for (round, signal) in signals.into_iter().cycle().take(12).enumerate() {
        let stage = Stage::new("recv signal");
        let channel = shapes()[round % 3].clone().create(stage.name()).unwrap();
        let sends = channel.clone();
        let sends = thread::spawn(move || {
            let tx = sends.sender().unwrap();
            // The tool comes and goes, and with it the receiver.
            (0..VALUES).for_each(|id| {
                while tx.send(&Order::of(id)).is_err_and(|error| error.is_disconnected()) {}
            });
        });
        let mut recvs = Running::start(&["recv", stage.name()]);
        let read: Vec<_> = (0..round * 7).map(|_| recvs.hear()).collect();
        recvs.signal(signal);
        let (rest, output) = recvs.end();
        // Before it looks for signals it is killed by one.
        let code = output.status.code();
        assert!(
            code.is_none() || code == Some(128 + signal as i32) || code == Some(0),
            "{output:?}"
        );
        let mut lines: Vec<_> =
            read.iter().map(String::as_str).filter(|line| !line.is_empty()).collect();
        lines.extend(rest.lines());
        let mut printed = ids(&lines.join("\n"));
        let missing = VALUES - printed.len() as u64;
        if missing > 0 {
            let rest = prints(&["recv", stage.name(), "--follow", "--count", &missing.to_string()]);
            printed.extend(ids(&rest));
        }
        sends.join().unwrap();
        assert_eq!(printed, (0..VALUES).collect::<Vec<_>>());
    }
}

/// Between the writing of a line and the hand-over of its value a kill doubles it, and never loses one.
#[test]
fn a_kill_at_any_moment_loses_nothing() {
    const VALUES: u64 = 300;
    for round in 0..12 {
        let stage = Stage::new("recv kill");
        filled(&stage, orders().inline_limit(0), VALUES);
        let mut recvs = Running::start(&["recv", stage.name()]);
        let mut printed: Vec<_> = (0..round * 20).map(|_| recvs.hear()).collect();
        printed.extend(recvs.kill().lines().map(str::to_owned));
        // A line may have been cut.
        let whole = |line: &String| serde_json::from_str::<Value>(line).is_ok();
        let printed: Vec<_> = printed.into_iter().filter(whole).collect();
        let printed = ids(&printed.join("\n"));
        let rest = ids(&text(&run(&["recv", stage.name(), "--timeout", "0"]).stdout));
        assert_eq!(printed, (0..printed.len() as u64).collect::<Vec<_>>());
        let first = rest.first().copied().unwrap_or(VALUES);
        assert!(
            first == printed.len() as u64 || first + 1 == printed.len() as u64,
            "{first} {printed:?}"
        );
        assert_eq!(rest, (first..VALUES).collect::<Vec<_>>());
    }
}

#[test]
fn a_sender_that_waits_for_room_is_ended_by_a_signal() {
    let stage = Stage::new("send signal");
    let channel = Channel::<u64>::options().max_waiting(3).create(stage.name()).unwrap();
    let mut sends = Running::start(&["send", stage.name()]);
    (0..10).for_each(|number| sends.tell(&number.to_string()));
    until(|| {
        sysv_channel::inspect(stage.name()).unwrap().lanes.first().is_some_and(|lane| lane.sleeps)
    });
    sends.signal(Signal::SIGTERM);
    let (_, output) = sends.end();
    assert_eq!((output.status.code(), text(&output.stderr).as_str()), (Some(143), ""));
    let rx = channel.receiver().unwrap();
    assert_eq!(rx.try_iter().map(Result::unwrap).collect::<Vec<_>>(), [0, 1, 2]);
}

#[test]
fn a_full_channel_can_be_given_up() {
    let stage = Stage::new("send full");
    let channel = Channel::<u64>::options().max_waiting(1).create(stage.name()).unwrap();
    prints(&["send", stage.name(), "1", "--tag", "5"]);
    fails(&["send", stage.name(), "2", "--timeout", "0"], 4);
    let rx = channel.receiver().unwrap();
    assert_eq!(rx.recv_matching(sysv_channel::Select::Any).unwrap().tag.get(), 5);
}

#[test]
fn a_value_of_another_type_is_refused_with_the_place() {
    let stage = Stage::new("send wrong");
    let channel = orders().create(stage.name()).unwrap();
    for (value, words) in [
        ("{\"id\":1", "no JSON"),
        ("7", "expected"),
        ("{\"id\":-1,\"side\":\"Buy\",\"note\":null}", "$.id"),
        ("{\"id\":1,\"side\":\"Hold\",\"note\":null}", "$.side"),
        ("{\"id\":1,\"side\":{\"Sell\":{\"price\":\"1\"}},\"note\":null}", "$.side.Sell.price"),
    ] {
        let said = fails(&["send", stage.name(), value], 2);
        assert!(said.contains(words), "{value}: {said}");
    }
    let mut sends = Running::start(&["send", stage.name()]);
    sends.tell(&Order::of(1).line());
    sends.tell("");
    sends.tell("{}");
    let said = complaint(sends.end().1, 2);
    assert!(said.contains("line 3 and what follows was not sent"), "{said}");
    assert_eq!(channel.stats().unwrap().waiting, 1);
}

/// Of a type that may be anything, its receiver would keep one of the two, and nobody would know.
#[test]
fn keys_are_not_given_twice_whatever_the_type_is() {
    let stage = Stage::new("send twice");
    let channel = Channel::<Value, Json>::create(stage.name()).unwrap();
    for (value, place) in
        [(r#"{"a":1,"a":2}"#, "$.a"), (r#"[0,{"b":{"c d":1,"e":2,"c d":3}}]"#, "$[1].b[\"c d\"]")]
    {
        let said = fails(&["send", stage.name(), value], 2);
        assert!(said.contains(&format!("{place}: the key is given twice")), "{said}");
    }
    prints(&["send", stage.name(), r#"{"a":{"a":2},"b":[{"a":3}]}"#]);
    let received = channel.receiver().unwrap().recv().unwrap();
    assert_eq!(received, serde_json::json!({"a": {"a": 2}, "b": [{"a": 3}]}));
}

#[test]
fn integers_of_any_size_go_there_and_back() {
    let stage = Stage::new("wide integers");
    let channel = Channel::<(u128, Option<i128>, u64)>::create(stage.name()).unwrap();
    let values =
        [(u128::MAX, Some(i128::MIN), u64::MAX), (1 << 64, Some(i128::MAX), 0), (0, None, 1 << 63)];
    let tx = channel.sender().unwrap();
    values.iter().for_each(|value| tx.send(value).unwrap());
    let tapped = prints(&["tap", "--json", "--count", "1", stage.name()]);
    assert!(tapped.contains(&u128::MAX.to_string()), "{tapped}");
    let peeked = prints(&["peek", stage.name()]);
    let printed = prints(&["recv", stage.name(), "--count", "3"]);
    assert_eq!(peeked, printed);
    let rx = channel.receiver().unwrap();
    for (line, value) in printed.lines().zip(values) {
        prints(&["send", stage.name(), line]);
        assert_eq!(rx.recv().unwrap(), value, "{line}");
    }
    let mut sends = Running::start(&["send", stage.name()]);
    sends.input().write_all(printed.as_bytes()).unwrap();
    values.iter().for_each(|value| assert_eq!(rx.recv().unwrap(), *value));
    assert!(sends.end().1.status.success());
    // Text stands for such a number too.
    prints(&["send", stage.name(), "[\"18446744073709551616\", null, 1]"]);
    assert_eq!(rx.recv().unwrap(), (1 << 64, None, 1));
    for (value, words) in [
        ("[1, 1, 99999999999999999999]", "$[2]: 1e20 does not fit a u64"),
        ("[-1, 1, 1]", "$[0]: -1 does not fit a u128"),
        ("[999999999999999999999999999999999999999, 1, 1]", "$[0]: 1e39 does not fit a u128"),
        ("[1, 1.5, 1]", "$[1]: expected an integer"),
    ] {
        let said = fails(&["send", stage.name(), value], 2);
        assert!(said.contains(words), "{value}: {said}");
    }
}

#[test]
fn what_is_no_json_is_told_apart() {
    let stage = Stage::new("no json");
    let _channel = Channel::<String>::create(stage.name()).unwrap();
    let deep = "[".repeat(200);
    for (value, words) in [("hello", "quote text"), (&deep, "too deep"), ("1e400", "no type holds")]
    {
        let said = fails(&["send", stage.name(), value], 2);
        assert!(said.contains(words), "{said}");
        assert_eq!(said.contains("quote text"), value == "hello", "{said}");
        assert!(!said.contains("line 1"), "{said}");
    }
    let said = fails(&["send", stage.name(), "{"], 2);
    assert!(said.contains("no JSON") && !said.contains("quote text"), "{said}");
}

#[test]
fn so_many_are_received_and_no_more() {
    let stage = Stage::new("recv count");
    filled(&stage, orders(), 5);
    assert_eq!(ids(&prints(&["recv", stage.name(), "--count", "2"])), [0, 1]);
    assert_eq!(ids(&prints(&["recv", stage.name(), "--timeout", "0"])), [2, 3, 4]);
    let channel = orders().create(stage.name()).unwrap();
    let said = fails(&["recv", stage.name(), "--timeout", "0"], 4);
    assert!(said.contains("no value came in time"), "{said}");
    // A receiver has left: who sends now begins anew.
    drop(channel);
    filled(&stage, orders(), 1);
    let few = run(&["recv", stage.name(), "--count", "2"]);
    assert_eq!(ids(&text(&few.stdout)), [0]);
    assert!(complaint(few, 4).contains("after 1 of 2 values"));
}

#[test]
fn a_second_receiver_is_refused() {
    let stage = Stage::new("recv second");
    let _rx = orders().create(stage.name()).unwrap().receiver().unwrap();
    let said = fails(&["recv", stage.name()], 5);
    assert!(said.contains("receiver"), "{said}");
}

#[test]
fn a_channel_that_is_removed_ends_who_receives() {
    let stage = Stage::new("recv removed");
    let channel = orders().create(stage.name()).unwrap();
    let recvs = Running::start(&["recv", stage.name()]);
    until(|| {
        sysv_channel::inspect(stage.name())
            .unwrap()
            .receivers
            .first()
            .is_some_and(|receiver| receiver.sleeps)
    });
    Channel::<Order>::unlink(stage.name()).unwrap();
    assert!(complaint(recvs.end().1, 3).contains("removed"));
    drop(channel);
}

#[test]
fn a_server_is_called() {
    let stage = Stage::new("call");
    let server = Server::<(f64, f64), f64>::bind(stage.name()).unwrap();
    let closer = server.closer();
    thread::scope(|scope| {
        scope.spawn(move || server.serve(|(a, b)| a / b).unwrap());
        assert_eq!(prints(&["call", stage.name(), "[1.5, 2]"]), "0.75\n");
        assert_eq!(prints(&["call", "--stream", stage.name(), "[1.5, 2]"]), "0.75\n");
        let said = fails(&["recv", stage.name()], 5);
        assert!(said.contains("is a server; `sysv-channel call`"), "{said}");
        let said = fails(&["call", stage.name(), "[1.5]"], 2);
        assert!(said.contains("$"), "{said}");
        closer.close();
    });
    fails(&["call", stage.name(), "[1, 2]"], 3);
    let other = Stage::new("call channel");
    let _channel = orders().create(other.name()).unwrap();
    let said = fails(&["call", other.name(), "1"], 5);
    assert!(said.contains("is a channel; `sysv-channel send` and `recv`"), "{said}");
}

#[test]
fn a_call_that_nobody_answers_ends_at_its_deadline() {
    let stage = Stage::new("call late");
    let _server = Server::<u64, u64>::bind(stage.name()).unwrap();
    let said = fails(&["call", stage.name(), "1", "--timeout", "0.05"], 4);
    assert!(!said.is_empty());
}

#[test]
fn parts_of_a_reply_are_lines() {
    let stage = Stage::new("call parts");
    let server = Server::<u32, String>::bind(stage.name()).unwrap();
    let closer = server.closer();
    thread::scope(|scope| {
        scope.spawn(move || {
            for request in server.incoming() {
                let (rows, mut port) = request.unwrap().into_parts();
                (0..rows).for_each(|row| port.part(&format!("row {row}")).unwrap());
                port.reply(&"done".to_owned()).unwrap();
            }
        });
        let printed = prints(&["call", "--stream", stage.name(), "2"]);
        closer.close();
        assert_eq!(printed, "\"row 0\"\n\"row 1\"\n\"done\"\n");
    });
}

/// A stream without an end ends with its reader, and so does what its server does for it.
#[test]
fn a_stream_of_parts_ends_with_its_reader() {
    let stage = Stage::new("call head");
    let server = Server::<u32, u32>::bind(stage.name()).unwrap();
    thread::scope(|scope| {
        let serving = scope.spawn(move || {
            let (row, mut port) = server.recv().unwrap().unwrap().into_parts();
            while port.part(&row).is_ok() {}
        });
        let mut call = tool(&["call", "--stream", stage.name(), "7"]);
        let mut call = call.stdout(Stdio::piped()).spawn().unwrap();
        let mut first = String::new();
        BufReader::new(call.stdout.take().unwrap()).read_line(&mut first).unwrap();
        assert_eq!(first, "7\n");
        assert_eq!(call.wait().unwrap().code(), Some(0));
        serving.join().unwrap();
    });
}

#[test]
fn output_that_is_a_file_is_written_whole() {
    let stage = Stage::new("recv file");
    filled(&stage, orders(), 100);
    let file = tempfile::NamedTempFile::new().unwrap();
    let output =
        tool(&["recv", stage.name()]).stdout(Stdio::from(file.reopen().unwrap())).output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "no progress without a terminal");
    assert_eq!(ids(&std::fs::read_to_string(file.path()).unwrap()), (0..100).collect::<Vec<_>>());
}
