//! Two looks at a channel, and what happened between them.

use std::collections::HashMap;
use std::time::Instant;

use sysv_channel::{Handle, Inspection, Listed, Stats, SystemError};

use crate::list::title;

/// A channel as it was seen, and what goes through it.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) title: String,
    pub(super) seen: Inspection,
    pub(super) waiting: u64,
    /// Values a second; none at the first look.
    pub(super) sent: Option<f64>,
    pub(super) received: Option<f64>,
    /// Bytes a second, sent.
    pub(super) bytes: Option<f64>,
    /// How full it is, from 0 to 1: the fullest of its rings, its queue and its bound.
    pub(super) fill: f64,
}

impl Row {
    /// Values a second, in or out.
    pub(super) fn rate(&self) -> f64 {
        self.sent.unwrap_or(0.0).max(self.received.unwrap_or(0.0))
    }
}

/// Remembers the last look.
#[derive(Default)]
pub(super) struct Sampler {
    last: HashMap<Handle, (Instant, Stats)>,
}

impl Sampler {
    /// Looks at all channels.
    pub(super) fn sample(&mut self) -> Result<Vec<Row>, SystemError> {
        let listed = sysv_channel::list()?;
        let mut last = HashMap::new();
        let rows = listed.into_iter().filter_map(|listed| match listed {
            Listed::Channel(seen) => Some(*seen),
            _ => None,
        });
        let rows = rows
            .map(|seen| {
                let now = Instant::now();
                let before = self.last.get(&seen.handle);
                last.insert(seen.handle, (now, seen.stats));
                row(seen, now, before)
            })
            .collect();
        self.last = last;
        Ok(rows)
    }
}

fn row(seen: Inspection, now: Instant, before: Option<&(Instant, Stats)>) -> Row {
    let stats = seen.stats;
    let rate = |count: fn(&Stats) -> u64| {
        let (then, before) = before?;
        let seconds = now.duration_since(*then).as_secs_f64();
        // A figure of shared memory may go anywhere.
        let more = count(&stats).saturating_sub(count(before));
        (seconds > 0.0).then(|| more as f64 / seconds)
    };
    Row {
        title: title(&seen),
        waiting: stats.waiting,
        sent: rate(|stats| stats.sent_values),
        received: rate(|stats| stats.received_values),
        bytes: rate(|stats| stats.sent_bytes),
        fill: fill(&seen),
        seen,
    }
}

fn fill(seen: &Inspection) -> f64 {
    let share = |part: u64, whole: u64| if whole == 0 { 0.0 } else { part as f64 / whole as f64 };
    let rings = seen.lanes.iter().map(|lane| share(lane.waiting_bytes, seen.shape.capacity as u64));
    let queue =
        seen.queue.map_or(0.0, |queue| share(queue.bytes.max(queue.messages), queue.capacity));
    let bound = seen.shape.max_waiting.map_or(0.0, |most| share(seen.stats.waiting, most));
    rings.fold(queue.max(bound), f64::max).min(1.0)
}
