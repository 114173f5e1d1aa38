//! `queue`: bare queues.

use std::io::Write;

use nix::sys::signal::Signal;
use serde_json::Value;
use sysv_channel::codec::Raw;
use sysv_channel::{Channel, Key, Queue, Tag};

use crate::stage::{Running, Stage, complaint, fails, prints, text, tool, until};

fn queue_of(stage: &Stage) -> Queue<Vec<u8>, Raw> {
    Queue::create(stage.name()).unwrap()
}

#[test]
fn messages_go_and_come_in_each_format() {
    let stage = Stage::new("queue formats");
    let name = stage.name();
    let refused = fails(&["queue", "send", name, "hello"], 3);
    assert!(refused.contains("--create"), "{refused}");
    prints(&["queue", "send", name, "hello", "--create"]);
    prints(&["queue", "send", name, "--hex", "00 ff 41", "--tag", "7"]);
    let shown = prints(&["queue", "show", name]);
    assert!(
        shown.contains("2 messages, 8 B") && shown.contains("hello") && shown.contains("\\xff"),
        "{shown}"
    );
    let json = prints(&["queue", "show", "--json", name]);
    let json: Vec<Value> = json.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(json[0]["messages"], 2);
    assert_eq!(json[2], serde_json::json!({ "type": 7, "length": 3, "hex": "00ff41" }));
    assert_eq!(prints(&["queue", "recv", name, "--tag", "7", "--as", "hex"]), "00ff41\n");
    assert_eq!(prints(&["queue", "recv", name, "--as", "length"]), "5\n");
    let empty = fails(&["queue", "recv", name, "--timeout", "0"], 4);
    assert!(empty.contains("no such message"), "{empty}");
    let refused = fails(&["queue", "send", name, "--hex", "0g"], 2);
    assert!(refused.contains("hex digits"), "{refused}");
}

#[test]
fn a_c_programs_key_is_found_by_its_file() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let path = file.path().to_str().unwrap();
    let queue = Queue::<Vec<u8>, Raw>::create(Key::from_path(path, b'q').unwrap()).unwrap();
    prints(&["queue", "send", &format!("ftok:{path}:q"), "from a shell"]);
    let received = queue.try_recv();
    queue.remove().unwrap();
    assert_eq!(received.unwrap(), b"from a shell");
}

#[test]
fn lines_of_standard_input_go_in_order_and_wait_for_room() {
    let stage = Stage::new("queue stream");
    let queue = queue_of(&stage);
    queue.set_capacity(100).unwrap();
    let mut sends = Running::start(&["queue", "send", stage.name(), "-"]);
    let mut recvs = Running::start(&["queue", "recv", stage.name(), "--count", "1000"]);
    let mut input = sends.input();
    let feeds = std::thread::spawn(move || {
        (0..1000).for_each(|number| writeln!(input, "{number}").unwrap());
    });
    (0..1000).for_each(|number| assert_eq!(recvs.hear(), number.to_string()));
    feeds.join().unwrap();
    for running in [sends, recvs] {
        let (rest, output) = running.end();
        assert!(output.status.success() && rest.is_empty(), "{}", text(&output.stderr));
    }
}

#[test]
fn a_signal_ends_the_waiting_and_nothing_is_lost() {
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        let stage = Stage::new("queue signal");
        let queue = queue_of(&stage);
        let mut recvs = Running::start(&["queue", "recv", stage.name(), "--follow"]);
        queue.send(&b"one".to_vec()).unwrap();
        assert_eq!(recvs.hear(), "one");
        recvs.signal(signal);
        let (rest, output) = recvs.end();
        assert_eq!(output.status.code(), Some(128 + signal as i32));
        assert_eq!((rest.as_str(), text(&output.stderr).as_str()), ("", ""));
        queue.send(&b"two".to_vec()).unwrap();
        assert_eq!(queue.try_recv().unwrap(), b"two");
    }
}

#[test]
fn a_full_queue_can_be_given_up() {
    let stage = Stage::new("queue full");
    let queue = queue_of(&stage);
    queue.set_capacity(10).unwrap();
    prints(&["queue", "send", stage.name(), "0123456789"]);
    let refused = fails(&["queue", "send", stage.name(), "x", "--timeout", "0"], 4);
    assert!(refused.contains("is full"), "{refused}");
    let waits = Running::start(&["queue", "send", stage.name(), "x"]);
    waits.signal(Signal::SIGTERM);
    let (_, output) = waits.end();
    // The signal may come before it looks for signals: then it is killed by it.
    assert!(output.status.code().is_none_or(|code| code == 143), "{output:?}");
    assert_eq!(queue.stat().unwrap().messages, 1);
}

/// What nobody reads stays on the queue, but for what fits into the pipe.
#[test]
fn a_reader_that_goes_leaves_the_rest_on_the_queue() {
    let stage = Stage::new("queue reader");
    let queue = queue_of(&stage);
    let mut recvs = Running::start(&["queue", "recv", stage.name(), "--follow"]);
    queue.send(&b"one".to_vec()).unwrap();
    assert_eq!(recvs.hear(), "one");
    recvs.hang_up();
    let (_, output) = recvs.end();
    assert_eq!((output.status.code(), text(&output.stderr).as_str()), (Some(0), ""));
    queue.send(&b"two".to_vec()).unwrap();
    assert_eq!(queue.try_recv().unwrap(), b"two");
}

#[test]
fn back_pressure_reaches_the_queue() {
    let stage = Stage::new("queue pressure");
    let queue = queue_of(&stage);
    let mut recvs = Running::start(&["queue", "recv", stage.name(), "--follow"]);
    let mut sent = 0;
    // Nobody reads: the pipe fills up, and then the queue.
    let full = || queue.stat().unwrap().bytes > 12_000;
    until(|| {
        let number = format!("{sent:0>1000}");
        sent += u32::from(queue.try_send(&number.into_bytes()).is_ok());
        full()
    });
    let mut printed = 0;
    while printed < sent {
        assert_eq!(recvs.hear(), format!("{printed:0>1000}"));
        printed += 1;
    }
    recvs.signal(Signal::SIGINT);
    assert_eq!(recvs.end().1.status.code(), Some(130));
}

#[test]
fn a_channel_is_no_bare_queue() {
    let stage = Stage::new("queue channel");
    let channel = Channel::<u64>::create(stage.name()).unwrap();
    channel.sender().unwrap().send(&1).unwrap();
    for command in ["recv", "show", "send"] {
        let refused = fails(&["queue", command, stage.name()], 5);
        assert!(refused.contains("is a channel"), "{refused}");
    }
    assert_eq!(channel.stats().unwrap().waiting, 1);
}

#[test]
fn a_queue_that_is_removed_ends_who_waits() {
    let stage = Stage::new("queue removed");
    let queue = queue_of(&stage);
    let mut recvs = Running::start(&["queue", "recv", stage.name(), "--follow"]);
    queue.send_tagged(Tag::DEFAULT, &b"one".to_vec()).unwrap();
    assert_eq!(recvs.hear(), "one");
    queue.remove().unwrap();
    let (_, output) = recvs.end();
    assert!(complaint(output, 3).contains("removed"));
}

#[test]
fn ignored_signals_stay_ignored() {
    let stage = Stage::new("queue nohup");
    let queue = queue_of(&stage);
    let shell = "trap '' HUP; exec \"$0\" queue recv \"$1\"";
    let mut command = std::process::Command::new("sh");
    command.args(["-c", shell, tool(&[]).get_program().to_str().unwrap(), stage.name()]);
    command.stdout(std::process::Stdio::piped());
    let child = command.spawn().unwrap();
    let pid = nix::unistd::Pid::from_raw(child.id() as i32);
    nix::sys::signal::kill(pid, Signal::SIGCONT).unwrap();
    let is_tool = || {
        std::fs::read_to_string(format!("/proc/{pid}/comm"))
            .is_ok_and(|name| name.starts_with("sysv"))
    };
    until(is_tool);
    nix::sys::signal::kill(pid, Signal::SIGHUP).unwrap();
    queue.send(&b"one".to_vec()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), text(&output.stdout).as_str()), (Some(0), "one\n"));
}
