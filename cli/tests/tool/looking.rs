//! `list`, `show`, `schema` and `doctor`.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sysv_channel::codec::Raw;
use sysv_channel::rpc::Server;
use sysv_channel::{Channel, Key, Queue};

use crate::stage::{Stage, fails, prints, run, text, tool};

#[derive(Serialize, Deserialize)]
struct Order {
    id: u64,
    text: String,
}

/// The line of `list` that begins with this.
fn line(begin: &str) -> Option<String> {
    prints(&["list"]).lines().find(|line| line.starts_with(begin)).map(str::to_owned)
}

fn json_of(name: &str) -> Option<Value> {
    let lines = prints(&["list", "--json"]);
    let mut values = lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    values.find(|value| value["name"] == name)
}

#[test]
fn a_channel_is_listed_with_who_uses_it_and_what_waits() {
    let stage = Stage::new("list");
    let channel = Channel::<Order>::create(stage.name()).unwrap();
    let (tx, rx) = (channel.sender().unwrap(), channel.receiver().unwrap());
    for id in 0..3 {
        tx.send(&Order { id, text: "x".repeat(id as usize * 2000) }).unwrap();
    }
    let cells = line(stage.name()).unwrap()[stage.name().len()..].to_owned();
    let cells: Vec<_> = cells.split_whitespace().collect();
    let me = std::process::id().to_string();
    assert_eq!(cells[..6], ["channel", "Order", "1", &me, &me, "3"]);
    let seen = json_of(stage.name()).unwrap();
    assert_eq!(seen["kind"], "channel");
    assert_eq!(seen["schema"], "Order{id:u64,text:str}");
    assert_eq!(seen["stats"]["waiting"], 3);
    assert_eq!(seen["receivers"][0]["pid"], std::process::id());
    drop((tx, rx, channel));
    let seen = json_of(stage.name()).unwrap();
    assert_eq!((&seen["users"], &seen["stats"]["waiting"]), (&Value::from(0), &Value::from(3)));
}

#[test]
fn services_and_bare_queues_are_listed_as_what_they_are() {
    let (serves, bare) = (Stage::new("list server"), Stage::new("list queue"));
    let _server = Server::<u32, String>::bind(serves.name()).unwrap();
    assert_eq!(json_of(serves.name()).unwrap()["kind"], "server");
    let queue = Queue::<Vec<u8>, Raw>::create(bare.name()).unwrap();
    queue.send(&b"12345".to_vec()).unwrap();
    let listed = line(&queue.key().to_string()).unwrap();
    assert!(listed.contains("queue") && listed.contains(" 5 B"), "{listed}");
}

#[test]
fn a_channel_is_shown_in_full() {
    let stage = Stage::new("show");
    let channel = Channel::<Order>::options().lanes(5).durable().create(stage.name()).unwrap();
    let tx = channel.sender().unwrap();
    tx.send(&Order { id: 1, text: String::new() }).unwrap();
    let shown = prints(&["show", stage.name()]);
    for words in [
        stage.name(),
        "Order{id:u64,text:str}",
        "at most 5 senders and 1 receiver",
        "until it is removed (durable)",
        "1 value",
        &format!("  {}", std::process::id()),
    ] {
        assert!(shown.contains(words), "{words}: {shown}");
    }
    let json: Value = serde_json::from_str(&prints(&["show", "--json", stage.name()])).unwrap();
    assert_eq!((&json["shape"]["lanes"], &json["shape"]["durable"]), (&5.into(), &true.into()));
    assert_eq!(prints(&["schema", stage.name()]), "Order{id:u64,text:str}\n");
    // By its key, too.
    assert_eq!(
        prints(&["schema", &Key::from_name(stage.name()).to_string()]),
        "Order{id:u64,text:str}\n"
    );
}

#[test]
fn what_is_not_there_is_told_with_what_to_do() {
    let stage = Stage::new("missing");
    for command in ["show", "schema", "rm"] {
        let complaint = fails(&[command, stage.name()], 3);
        assert!(complaint.contains(stage.name()) && complaint.contains("list"), "{complaint}");
    }
}

#[test]
fn names_of_others_move_no_terminal() {
    let stage = Stage::new("escapes");
    let name = format!("{}\u{1b}[2J\n\u{202e}", stage.name());
    let channel = Channel::<u8>::create(&name).unwrap();
    for arguments in [&["list"][..], &["show", &name]] {
        let shown = prints(arguments);
        assert!(shown.contains("\\u{1b}[2J\\n\\u{202e}"), "{shown}");
        assert!(!shown.contains('\u{1b}') && !shown.contains('\u{202e}'), "{shown}");
    }
    drop(channel);
    let complaint = fails(&["show", &name], 3);
    assert!(!complaint.contains('\u{1b}'), "{complaint}");
}

#[test]
fn colours_are_for_terminals_and_for_those_who_ask() {
    let stage = Stage::new("colours");
    let _channel = Channel::<u8>::create(stage.name()).unwrap();
    assert!(!prints(&["show", stage.name()]).contains('\u{1b}'));
    assert!(prints(&["show", "--color", "always", stage.name()]).contains('\u{1b}'));
}

#[test]
fn the_doctor_looks_at_limits_the_kernel_and_the_place() {
    let output = run(&["doctor"]);
    let said = text(&output.stdout);
    for check in
        ["SEM_UNDO", "kernel.msgmnb", "kernel.shmmni", "kernel.sem", "ipc namespace", "RemoveIPC"]
    {
        assert!(said.contains(check), "{check}: {said}");
    }
    let lines = text(&run(&["doctor", "--json"]).stdout);
    let checks: Vec<Value> =
        lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let bad = checks.iter().any(|check| check["verdict"] == "bad");
    assert_eq!(output.status.code(), Some(i32::from(bad)), "{said}");
    assert_eq!(checks[0]["check"], "SEM_UNDO");
    assert_eq!(checks[0]["verdict"], "ok");
}

#[test]
fn a_reader_that_has_seen_enough_is_no_failure() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = tool(&["completions", "bash"]).stdout(writer).output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert_eq!(text(&output.stderr), "");
}
