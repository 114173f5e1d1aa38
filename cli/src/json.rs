//! What was looked at, as JSON.

use std::time::SystemTime;

use crate::text::is_escaped;
use serde::Serialize;
use serde_json::{Value, json};
use sysv_channel::{ChannelKind, Inspection, Listed, Ownership, QueueStat};

/// One object of `list --json`.
pub(crate) fn listed(listed: &Listed) -> Value {
    match listed {
        Listed::Channel(seen) => channel(seen),
        Listed::Unreadable { key, ownership, error } => json!({
            "kind": "unreadable",
            "key": key.to_string(),
            "owner": ownership_of(ownership),
            "error": error.to_string(),
        }),
        Listed::Queue { id, stat } => queue(*id, stat),
        // The enum may grow.
        _ => json!({ "kind": "unknown" }),
    }
}

/// What a channel is used for, in one word.
pub(crate) fn kind(kind: ChannelKind) -> &'static str {
    match kind {
        ChannelKind::Channel => "channel",
        ChannelKind::Server => "server",
        ChannelKind::Mailbox => "mailbox",
        _ => "unknown",
    }
}

/// A channel, as `show --json` and `list --json` print it.
pub(crate) fn channel(seen: &Inspection) -> Value {
    let (shape, stats) = (&seen.shape, &seen.stats);
    json!({
        "kind": kind(seen.kind),
        "name": seen.name,
        "key": seen.key.to_string(),
        "owner": ownership_of(&seen.ownership),
        "created": seconds(seen.created),
        "codec": seen.codec,
        "type": seen.type_name,
        "schema": seen.schema,
        "shape": {
            "lanes": shape.lanes,
            "receivers": shape.receivers,
            "capacity": shape.capacity,
            "reply_capacity": shape.reply_capacity,
            "inline_limit": shape.inline_limit,
            "max_value": shape.max_value,
            "max_waiting": shape.max_waiting,
            "durable": shape.durable,
            "private": shape.private,
        },
        "users": seen.users,
        "standbys": seen.standbys,
        "receivers": seen.receivers.iter().map(|receiver| json!({
            "pid": receiver.pid,
            "sleeps": receiver.sleeps,
            "received_values": receiver.received_values,
        })).collect::<Vec<_>>(),
        "lanes": seen.lanes.iter().map(|lane| json!({
            "lane": lane.lane,
            "attached": lane.attached,
            "pid": lane.pid,
            "sleeps": lane.sleeps,
            "waiting_values": lane.waiting_values,
            "waiting_bytes": lane.waiting_bytes,
            "sent_values": lane.sent_values,
            "sent_bytes": lane.sent_bytes,
        })).collect::<Vec<_>>(),
        "in_hand": seen.in_hand,
        "queue": seen.queue.as_ref().map(queue_figures),
        "stats": {
            "sent_values": stats.sent_values,
            "sent_bytes": stats.sent_bytes,
            "received_values": stats.received_values,
            "received_bytes": stats.received_bytes,
            "waiting": stats.waiting,
            "queued": stats.queued,
            "sender_parks": stats.sender_parks,
            "sender_wakeups": stats.sender_wakeups,
            "receiver_parks": stats.receiver_parks,
            "receiver_wakeups": stats.receiver_wakeups,
        },
        "segment_bytes": seen.segment_bytes,
        "resident_bytes": seen.resident_bytes,
        "lock_holder": seen.lock_holder,
        "damaged_lanes": seen.damaged_lanes,
    })
}

/// A message queue that belongs to no channel.
pub(crate) fn queue(id: i32, stat: &QueueStat) -> Value {
    let mut queue = json!({
        "kind": "queue",
        "id": id,
        "key": format!("{:#010x}", stat.ownership.key),
        "owner": ownership_of(&stat.ownership),
    });
    if let (Value::Object(queue), Value::Object(figures)) = (&mut queue, queue_figures(stat)) {
        queue.extend(figures);
    }
    queue
}

fn queue_figures(stat: &QueueStat) -> Value {
    json!({
        "messages": stat.messages,
        "bytes": stat.bytes,
        "capacity": stat.capacity,
        "last_send_pid": stat.last_send_pid,
        "last_receive_pid": stat.last_receive_pid,
        "last_send": stat.last_send.map(seconds),
        "last_receive": stat.last_receive.map(seconds),
        "last_change": stat.last_change.map(seconds),
    })
}

fn ownership_of(ownership: &Ownership) -> Value {
    json!({
        "uid": ownership.uid,
        "gid": ownership.gid,
        "creator_uid": ownership.creator_uid,
        "creator_gid": ownership.creator_gid,
        "mode": format!("{:03o}", ownership.mode),
    })
}

/// Seconds since 1970, as the kernel counts them.
fn seconds(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// One value as a line of JSON.
pub(crate) fn line(value: &impl Serialize) -> Result<String, serde_json::Error> {
    serde_json::to_string(value).map(|json| escaped(json) + "\n")
}

/// The same JSON, where also those characters are escaped that JSON need not escape and that steer a terminal or turn
/// the direction of a line.
pub(crate) fn escaped(json: String) -> String {
    if !json.chars().any(is_escaped) {
        return json;
    }
    let mut escaped = String::with_capacity(json.len() + 16);
    for character in json.chars() {
        match is_escaped(character) {
            // It stands in a text, and four digits reach all of these characters.
            true => escaped += &format!("\\u{:04x}", u32::from(character)),
            false => escaped.push(character),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_moves_no_terminal_and_is_the_same_value() {
        let hostile = "a\u{7f}\u{85}\u{9b}31m\u{202e}\u{feff}\u{1b}\\\u{e4}\u{1f600}";
        let printed = escaped(json!({ hostile: [hostile] }).to_string());
        assert!(!printed.chars().any(is_escaped), "{printed:?}");
        assert!(
            printed.contains("\\u007f\\u0085\\u009b31m\\u202e\\ufeff\\u001b\\\\\u{e4}\u{1f600}"),
            "{printed}"
        );
        assert_eq!(serde_json::from_str::<Value>(&printed).unwrap(), json!({ hostile: [hostile] }));
    }
}
