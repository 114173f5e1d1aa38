//! Standard streams that are closed, full, or a terminal: what is printed there, and what is not lost.

use std::fs::File;
use std::process::Command;

use serde_json::Value;
use sysv_channel::codec::Raw;
use sysv_channel::{Channel, Queue};

use crate::stage::{Stage, complaint, fails, prints, run, text, tool};

/// Characters that JSON need not escape, and that a terminal obeys.
const HOSTILE: &str = "\u{7f}\u{85}\u{9b}31m\u{202e}\u{feff}";

fn is_harmless(printed: &str) -> bool {
    !printed.contains(['\u{7f}', '\u{85}', '\u{9b}', '\u{202e}', '\u{feff}'])
}

/// The tool without a standard output.
fn closed(arguments: &[&str]) -> std::process::Output {
    let mut shell = Command::new("sh");
    shell.args(["-c", "exec \"$0\" \"$@\" >&-", env!("CARGO_BIN_EXE_sysv-channel")]);
    shell.args(arguments).output().unwrap()
}

#[test]
fn a_closed_standard_output_takes_no_value() {
    let stage = Stage::new("closed output");
    let channel = Channel::<u64>::create(stage.name()).unwrap();
    channel.sender().unwrap().send(&7).unwrap();
    let bare = Stage::new("closed output queue");
    let queue = Queue::<Vec<u8>, Raw>::create(bare.name()).unwrap();
    queue.send(&b"one".to_vec()).unwrap();
    for arguments in [
        &["recv", stage.name()][..],
        &["queue", "recv", bare.name()],
        &["list"],
        &["show", stage.name()],
        &["sweep"],
        &["--help"],
    ] {
        let said = complaint(closed(arguments), 1);
        assert!(said.contains("standard output is closed"), "{arguments:?}: {said}");
    }
    // What prints nothing needs none.
    assert!(closed(&["send", stage.name(), "8"]).status.success());
    assert_eq!(prints(&["recv", stage.name()]), "7\n8\n");
    assert_eq!(queue.try_recv().unwrap(), b"one");
}

#[test]
fn a_standard_error_that_is_full_changes_no_exit_code() {
    let stage = Stage::new("full error");
    let full = || File::options().write(true).open("/dev/full").unwrap();
    for (arguments, code) in [
        (&["show", stage.name()][..], 3),
        (&["nosuch"], 2),
        (&["rm", stage.name(), stage.name()], 3),
        (&["call", stage.name(), "1"], 3),
    ] {
        let status = tool(arguments).stderr(full()).status().unwrap();
        assert_eq!(status.code(), Some(code), "{arguments:?}");
    }
}

#[test]
fn a_message_that_cannot_be_written_is_put_back() {
    let stage = Stage::new("queue full disk");
    let queue = Queue::<Vec<u8>, Raw>::create(stage.name()).unwrap();
    queue.send(&b"one".to_vec()).unwrap();
    let full = File::options().write(true).open("/dev/full").unwrap();
    let said = complaint(tool(&["queue", "recv", stage.name()]).stdout(full).output().unwrap(), 1);
    assert!(said.contains("No space left") && said.contains("on the queue again"), "{said}");
    assert_eq!(queue.try_recv().unwrap(), b"one");
}

/// Whether the message is taken before the reader's end is seen or not: it stays, and that is no failure.
#[test]
fn a_message_whose_reader_goes_meanwhile_is_put_back() {
    // The pipe is the shell's: processes that other tests start meanwhile do not hold its end.
    let script = "{ \"$0\" queue recv --follow \"$1\"; echo $? >&2; } | \
                  { head -n 1; exec <&-; \"$0\" queue send \"$1\" two; }";
    for _ in 0..20 {
        let stage = Stage::new("queue reader goes");
        let queue = Queue::<Vec<u8>, Raw>::create(stage.name()).unwrap();
        queue.send(&b"one".to_vec()).unwrap();
        let mut shell = Command::new("sh");
        shell.args(["-c", script, env!("CARGO_BIN_EXE_sysv-channel"), stage.name()]);
        let output = shell.output().unwrap();
        let said = text(&output.stderr);
        assert_eq!(
            (text(&output.stdout).as_str(), said.lines().last()),
            ("one\n", Some("0")),
            "{said}"
        );
        assert_eq!(queue.try_recv().unwrap(), b"two", "{said}");
    }
}

#[test]
fn what_others_sent_moves_no_terminal() {
    let stage = Stage::new("hostile text");
    let channel = Channel::<String>::create(stage.name()).unwrap();
    let hostile = HOSTILE.to_owned();
    channel.sender().unwrap().send(&hostile).unwrap();
    let bare = Stage::new("hostile message");
    let queue = Queue::<Vec<u8>, Raw>::create(bare.name()).unwrap();
    queue.send(&HOSTILE.into()).unwrap();
    let tapped = prints(&["tap", "--count", "1", stage.name()]);
    assert!(is_harmless(&tapped) && tapped.contains("\\u009b31m\\u202e"), "{tapped:?}");
    for arguments in [
        &["peek", stage.name()][..],
        &["tap", "--json", "--count", "1", stage.name()],
        &["queue", "show", "--json", bare.name()],
        &["queue", "recv", "--as", "json", bare.name()],
        &["recv", stage.name()],
    ] {
        let printed = prints(arguments);
        assert!(is_harmless(&printed), "{arguments:?}: {printed:?}");
        let value: Value = serde_json::from_str(printed.lines().last().unwrap()).unwrap();
        let found = [&value, &value["text"], &value["value"]];
        assert!(found.contains(&&Value::String(hostile.clone())), "{arguments:?}: {printed}");
    }
}

#[test]
fn tap_has_colours_where_they_are_wanted() {
    let stage = Stage::new("tap colours");
    let channel = Channel::<u64>::create(stage.name()).unwrap();
    channel.sender().unwrap().send(&7).unwrap();
    let tap = ["tap", "--count", "1", stage.name()];
    let printed = |more: &[&str]| text(&run(&[&tap[..], more].concat()).stdout);
    assert!(!printed(&[]).contains('\u{1b}'));
    assert!(!printed(&["--color", "never"]).contains('\u{1b}'));
    assert!(printed(&["--color", "always"]).contains('\u{1b}'));
    let forced = tool(&tap).env("CLICOLOR_FORCE", "1").output().unwrap();
    assert!(text(&forced.stdout).contains('\u{1b}'));
    let refused = tool(&tap).env("NO_COLOR", "1").output().unwrap();
    assert!(!text(&refused.stdout).contains('\u{1b}'));
}

#[test]
fn a_bare_queue_is_told_from_nothing() {
    let stage = Stage::new("bare queue");
    let queue = Queue::<Vec<u8>, Raw>::create(stage.name()).unwrap();
    for (command, value) in [
        ("show", None),
        ("schema", None),
        ("recv", None),
        ("peek", None),
        ("tap", None),
        ("send", Some("1")),
        ("call", Some("1")),
    ] {
        let arguments: Vec<_> = [command, stage.name()].into_iter().chain(value).collect();
        let said = fails(&arguments, 5);
        assert!(said.contains("is a bare queue") && said.contains("`queue recv`"), "{said}");
    }
    drop(queue);
    prints(&["rm", stage.name()]);
    assert!(fails(&["show", stage.name()], 3).contains("there is no channel"));
    assert!(fails(&["call", stage.name(), "1"], 3).contains("there is no server"));
}
