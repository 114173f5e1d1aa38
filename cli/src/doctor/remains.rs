//! The channels that are there: what crashes left, what is full, what is damaged.

use sysv_channel::Listed;

use super::Check;
use crate::list::title;
use crate::remove::is_swept;
use crate::text::count;

/// Names that are told; of more than these the number.
const NAMED: usize = 5;

pub(super) fn checks() -> Vec<Check> {
    match sysv_channel::list() {
        Ok(listed) => of(&listed),
        Err(error) => vec![Check::bad("channels", "they cannot be listed", error.to_string())],
    }
}

fn of(listed: &[Listed]) -> Vec<Check> {
    let channels = || {
        listed.iter().filter_map(|listed| match listed {
            Listed::Channel(seen) => Some(seen),
            _ => None,
        })
    };
    let mut checks = Vec::new();
    let total = channels().count() as u64;
    checks.push(Check::good("channels", count(total, "channel is here", "channels are here")));

    let left = listed.iter().filter(|listed| is_swept(listed, false)).count() as u64;
    if left > 0 {
        let found = count(left, "channel is left by a crash", "channels are left by crashes");
        checks.push(Check::notable("left", found, "sysv-channel sweep"));
    }

    let full: Vec<_> = channels()
        .filter(|seen| {
            seen.queue
                .is_some_and(|queue| queue.bytes.max(queue.messages) * 10 >= queue.capacity * 9)
        })
        .map(|seen| title(seen))
        .collect();
    if !full.is_empty() {
        let advice = "see that the receiver runs and is fast enough (`sysv-channel top`), or raise what a new \
                      queue holds before the channel is made: sysctl -w kernel.msgmnb=1048576";
        checks.push(Check::notable("full", some(&full), advice));
    }

    let damaged: Vec<_> =
        channels().filter(|seen| !seen.damaged_lanes.is_empty()).map(|seen| title(seen)).collect();
    if !damaged.is_empty() {
        let advice = "a program wrote over a ring, whose values are lost: end the senders that \
                      `sysv-channel show` names, and look for the program";
        checks.push(Check::notable("damaged", some(&damaged), advice));
    }

    let unreadable: Vec<_> = listed
        .iter()
        .filter_map(|listed| match listed {
            Listed::Unreadable { key, .. } => Some(key.to_string()),
            _ => None,
        })
        .collect();
    if !unreadable.is_empty() {
        let advice = "`sysv-channel list` says why: look at another user's as that user, and remove what a \
                      crash left by `sysv-channel sweep` or `rm --force KEY`";
        checks.push(Check::notable("unreadable", some(&unreadable), advice));
    }

    let elsewhere: Vec<_> = channels()
        .filter(|seen| {
            let receivers = seen.receivers.iter().any(|receiver| receiver.pid.is_none());
            receivers || seen.lanes.iter().any(|lane| lane.attached && lane.pid.is_none())
        })
        .map(|seen| title(seen))
        .collect();
    if !elsewhere.is_empty() {
        let advice = "that is fine for values; their numbers are seen in their own pid namespace";
        checks.push(Check::notable(
            "elsewhere",
            format!("used from other pid namespaces: {}", some(&elsewhere)),
            advice,
        ));
    }
    checks
}

fn some(names: &[String]) -> String {
    match names.len() {
        0..=NAMED => names.join(", "),
        more => format!(
            "{} and {}",
            names[..NAMED].join(", "),
            count((more - NAMED) as u64, "other", "others")
        ),
    }
}
