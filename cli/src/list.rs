//! `list`: what there is.

use anstyle::Style;
use sysv_channel::{ChannelKind, Inspection, Listed};

use crate::args::ListArguments;
use crate::failure::Failure;
use crate::json;
use crate::output::print;
use crate::text::{BAD, GOOD, NOTABLE, Table, age, bytes, grouped, shown};

const HEADING: [&str; 9] =
    ["NAME/KEY", "KIND", "TYPE", "USERS", "RECEIVER", "SENDERS", "WAITING", "BYTES", "AGE"];

pub(crate) fn run(arguments: &ListArguments) -> Result<(), Failure> {
    let mut listed = sysv_channel::list()?;
    listed.sort_by_cached_key(order);
    if arguments.json {
        let lines =
            listed.iter().map(|listed| json::escaped(json::listed(listed).to_string()) + "\n");
        return print(&lines.collect::<String>());
    }
    print(&table(&listed))
}

/// Channels by name, then what cannot be read, then bare queues.
fn order(listed: &Listed) -> (u8, String) {
    match listed {
        Listed::Channel(seen) if seen.name.is_some() => (0, title(seen)),
        Listed::Channel(seen) => (1, title(seen)),
        Listed::Unreadable { key, .. } => (2, key.to_string()),
        Listed::Queue { id, .. } => (3, format!("{id:010}")),
        _ => (4, String::new()),
    }
}

/// A channel's name, or its key if it has none.
pub(crate) fn title(seen: &Inspection) -> String {
    seen.name.as_deref().map_or_else(|| seen.key.to_string(), shown)
}

/// The process, or that it is of another pid namespace.
pub(crate) fn process(pid: Option<u32>) -> String {
    pid.map_or_else(|| "elsewhere".to_owned(), |pid| pid.to_string())
}

/// Bytes that wait, in rings and on the queue.
pub(crate) fn waiting_bytes(seen: &Inspection) -> u64 {
    let in_rings: u64 = seen.lanes.iter().map(|lane| lane.waiting_bytes).sum();
    in_rings + seen.queue.map_or(0, |queue| queue.bytes)
}

fn table(listed: &[Listed]) -> String {
    let mut table = Table::new(&HEADING, &[3, 6, 7, 8]);
    let plain = |cell: String| (cell, Style::new());
    let mut notes = Vec::new();
    for listed in listed {
        match listed {
            Listed::Channel(seen) => {
                let receivers: Vec<_> =
                    seen.receivers.iter().map(|receiver| process(receiver.pid)).collect();
                let senders = seen.lanes.iter().filter(|lane| lane.attached);
                let senders: Vec<_> = senders.map(|lane| process(lane.pid)).collect();
                let used = if seen.users > 0 { GOOD } else { Style::new() };
                let waits = if seen.stats.waiting > 0 { NOTABLE } else { Style::new() };
                let kind = match seen.kind {
                    ChannelKind::Channel if seen.shape.private => "private",
                    kind => json::kind(kind),
                };
                table.row(vec![
                    plain(title(seen)),
                    plain(kind.to_owned()),
                    plain(shown(&seen.type_name)),
                    (grouped(seen.users as u64), used),
                    plain(some_of(&receivers)),
                    plain(some_of(&senders)),
                    (grouped(seen.stats.waiting), waits),
                    plain(bytes(waiting_bytes(seen))),
                    plain(age(seen.created)),
                ]);
                if !seen.damaged_lanes.is_empty() {
                    notes.push(format!("{}: a ring was written over; see `show`", title(seen)));
                }
            }
            Listed::Unreadable { key, error, .. } => {
                table.row(vec![plain(key.to_string()), ("unreadable".to_owned(), BAD)]);
                notes.push(format!("{key}: {}", shown(&error.to_string())));
            }
            Listed::Queue { id, stat } => {
                let key = match stat.ownership.key {
                    0 => format!("id {id}"),
                    key => format!("{key:#010x}"),
                };
                let of = |pid: i32| if pid > 0 { pid.to_string() } else { "-".to_owned() };
                table.row(vec![
                    plain(key),
                    plain("queue".to_owned()),
                    plain("-".to_owned()),
                    plain("-".to_owned()),
                    plain(of(stat.last_receive_pid)),
                    plain(of(stat.last_send_pid)),
                    plain(grouped(stat.messages)),
                    plain(bytes(stat.bytes)),
                    plain(stat.last_change.map_or_else(|| "-".to_owned(), age)),
                ]);
            }
            _ => {}
        }
    }
    let notes = notes.into_iter().map(|note| format!("{BAD}{note}{BAD:#}\n"));
    table.text() + &notes.collect::<String>()
}

/// Process ids as far as a column has room for them.
fn some_of(processes: &[String]) -> String {
    const SHOWN: usize = 3;
    match processes {
        [] => "-".to_owned(),
        all if all.len() <= SHOWN => all.join(","),
        all => format!("{},+{}", all[..SHOWN].join(","), all.len() - SHOWN),
    }
}
