//! `show` and `schema`: one channel, in full.

use std::fmt::Write;

use anstyle::Style;
use sysv_channel::{Inspection, Name, inspect};

use crate::args::ShowArguments;
use crate::failure::Failure;
use crate::json;
use crate::list::{process, title};
use crate::output::print;
use crate::text::{BAD, GOOD, HEADING, NOTABLE, Table, age, bytes, count, grouped, shown};

pub(crate) fn run(arguments: &ShowArguments) -> Result<(), Failure> {
    let seen = inspect(arguments.name.clone())?;
    if arguments.json {
        return print(&(json::escaped(json::channel(&seen).to_string()) + "\n"));
    }
    print(&text(&seen))
}

/// Prints the shape of a channel's values.
pub(crate) fn schema(name: &Name) -> Result<(), Failure> {
    let seen = inspect(name.clone())?;
    print(&format!("{}\n", shown(&seen.schema)))
}

fn text(seen: &Inspection) -> String {
    let mut text = String::new();
    let kind = json::kind(seen.kind);
    let _ = writeln!(text, "{HEADING}{kind} {}{HEADING:#}", title(seen));
    let mut facts = Table::default();
    let mut fact = |what: &str, value: String, style: Style| {
        facts.row(vec![(format!("  {what}"), Style::new()), (value, style)]);
    };
    let plain = Style::new();
    fact("key", seen.key.to_string(), plain);
    fact("type", shown(&seen.type_name), plain);
    fact("schema", shown(&seen.schema), plain);
    fact("codec", shown(&seen.codec), plain);
    fact("created", format!("{} ago", age(seen.created)), plain);
    fact("owner", owner(seen), plain);
    fact("way", way(seen), plain);
    fact("values", format!("of up to {}", bytes(seen.shape.max_value)), plain);
    if let Some(values) = seen.shape.max_waiting {
        fact("bound", format!("{} may wait", count(values, "value", "values")), plain);
    }
    fact("stays", stays(seen).to_owned(), plain);
    fact("memory", memory(seen), plain);
    let style = if seen.users > 0 { GOOD } else { plain };
    fact("users", grouped(seen.users as u64), style);
    if seen.standbys > 0 {
        fact("stand by", grouped(seen.standbys as u64), plain);
    }
    let style = if seen.stats.waiting > 0 { NOTABLE } else { plain };
    fact("waiting", count(seen.stats.waiting, "value", "values"), style);
    if seen.in_hand > 0 {
        fact("in hand", count(seen.in_hand as u64, "value", "values"), plain);
    }
    if let Some(queue) = &seen.queue {
        let room = format!("{} of {}", bytes(queue.bytes), bytes(queue.capacity));
        fact("queue", format!("{}, {room}", count(queue.messages, "message", "messages")), plain);
    }
    let stats = &seen.stats;
    fact(
        "sent",
        format!("{}, {}", count(stats.sent_values, "value", "values"), bytes(stats.sent_bytes)),
        plain,
    );
    let received = count(stats.received_values, "value", "values");
    fact("received", format!("{received}, {}", bytes(stats.received_bytes)), plain);
    let slept = |parks| count(parks, "time", "times");
    let waits = format!(
        "senders slept {}, receivers {}",
        slept(stats.sender_parks),
        slept(stats.receiver_parks)
    );
    fact("waits", waits, plain);
    if let Some(pid) = seen.lock_holder {
        let pid = if pid > 0 { pid.to_string() } else { "elsewhere".to_owned() };
        fact("lock", format!("held by process {pid}"), NOTABLE);
    }
    if !seen.damaged_lanes.is_empty() {
        let lanes: Vec<_> = seen.damaged_lanes.iter().map(usize::to_string).collect();
        fact(
            "damaged",
            format!("the rings of lanes {}: they are not read any more", lanes.join(", ")),
            BAD,
        );
    }
    text += &facts.text();
    if !seen.receivers.is_empty() {
        text.push('\n');
        text += &receivers(seen);
    }
    if !seen.lanes.is_empty() {
        text.push('\n');
        text += &lanes(seen);
    }
    text
}

fn owner(seen: &Inspection) -> String {
    let ownership = &seen.ownership;
    let mut owner = format!("user {}, mode {:04o}", ownership.uid, ownership.mode);
    if ownership.creator_uid != ownership.uid {
        let _ = write!(owner, ", created by user {}", ownership.creator_uid);
    }
    owner
}

/// Which way values take.
fn way(seen: &Inspection) -> String {
    let shape = &seen.shape;
    let lanes = count(shape.lanes as u64, "sender", "senders");
    let receivers = count(shape.receivers as u64, "receiver", "receivers");
    let ring = bytes(shape.capacity as u64);
    let way = match (shape.capacity, shape.inline_limit) {
        (0, limit) => format!("a queue alone, for values of up to {}", bytes(limit as u64)),
        (_, 0) => format!("rings of {ring} alone"),
        (_, limit) => format!(
            "a queue for values of up to {}, rings of {ring} for others",
            bytes(limit as u64)
        ),
    };
    format!("{way}; at most {lanes} and {receivers}")
}

fn stays(seen: &Inspection) -> &'static str {
    match (seen.shape.durable, seen.shape.private) {
        (true, _) => "until it is removed (durable)",
        (false, true) => "until its last user goes (private)",
        (false, false) => "until its last user goes and no value waits",
    }
}

fn memory(seen: &Inspection) -> String {
    let reserved = bytes(seen.segment_bytes);
    match seen.resident_bytes {
        Some(resident) => format!("{} of {reserved} in use", bytes(resident)),
        None => format!("{reserved} reserved"),
    }
}

fn sleeps(sleeps: bool) -> (String, Style) {
    match sleeps {
        true => ("sleeps".to_owned(), NOTABLE),
        false => ("awake".to_owned(), Style::new()),
    }
}

fn receivers(seen: &Inspection) -> String {
    let plain = |cell: String| (cell, Style::new());
    let mut table = Table::new(&["  RECEIVER", "STATE", "RECEIVED"], &[2]);
    for receiver in &seen.receivers {
        table.row(vec![
            plain(format!("  {}", process(receiver.pid))),
            sleeps(receiver.sleeps),
            plain(grouped(receiver.received_values)),
        ]);
    }
    table.text()
}

fn lanes(seen: &Inspection) -> String {
    let plain = |cell: String| (cell, Style::new());
    let heading = ["  SENDER", "STATE", "LANE", "IN ITS RING", "BYTES", "SENT", "BYTES SENT"];
    let mut table = Table::new(&heading, &[2, 3, 4, 5, 6]);
    for lane in &seen.lanes {
        let (sender, state) = match lane.attached {
            true => (process(lane.pid), sleeps(lane.sleeps)),
            false => ("-".to_owned(), ("gone".to_owned(), NOTABLE)),
        };
        table.row(vec![
            plain(format!("  {sender}")),
            state,
            plain(lane.lane.to_string()),
            plain(grouped(lane.waiting_values)),
            plain(bytes(lane.waiting_bytes)),
            plain(grouped(lane.sent_values)),
            plain(bytes(lane.sent_bytes)),
        ]);
    }
    table.text()
}
