//! Where this crate must stand.

use crate::report::Report;
use crate::samples::Spread;

pub struct Goal {
    pub key: &'static str,
    of: Of,
    bound: Bound,
}

/// What a goal is about. A ratio is that of the medians' rounds: both were measured side by side.
enum Of {
    /// A peer in a figure, over the bare round trips beside it.
    OverC2c(&'static str, &'static str),
    /// A peer in a figure, over another in the same figure.
    Over(&'static str, &'static str, &'static str),
    /// A peer's time in a figure.
    Micros(&'static str, &'static str),
    /// What is no time.
    Value,
}

enum Bound {
    AtMost(f64),
    AtLeast(f64),
}

use Bound::{AtLeast, AtMost};
use Of::{Micros, Over, OverC2c, Value};

const fn goal(key: &'static str, of: Of, bound: Bound) -> Goal {
    Goal { key, of, bound }
}

const COPY: &str = "copy, other core";
const MSG: &str = "msgsnd, msgrcv";
const RING: &str = "ring only";

pub const GOALS: [Goal; 16] = [
    goal("small_rtt_over_c2c", OverC2c("small_rtt", RING), AtMost(1.25)),
    goal(
        "small_stream_over_decode",
        Over("small_stream", RING, "bincode decode alone"),
        AtMost(1.5),
    ),
    goal("small_stream_over_bufwriter", Over("small_stream", RING, "unix, BufWriter"), AtMost(0.5)),
    goal("pod_stream_over_rtrb", Over("pod_stream", RING, "rtrb, in process"), AtMost(1.0)),
    goal("bytes_64k_over_copy", Over("bytes_64k", RING, COPY), AtMost(0.92)),
    goal("bytes_1m_over_copy", Over("bytes_1m", RING, COPY), AtMost(1.15)),
    goal("handover_1m_us", Micros("handover_1m", RING), AtMost(1.0)),
    goal("blocking_rtt_over_semop", Over("one_core_rtt", RING, "semop"), AtMost(1.1)),
    goal("queue_rtt_over_msg", Over("one_core_rtt", "bare Queue", MSG), AtMost(1.1)),
    goal("mixed_rtt_over_msg", Over("one_core_rtt", "mixed", MSG), AtMost(1.4)),
    goal("mixed_64k_over_copy", Over("bytes_64k", "mixed", COPY), AtMost(1.15)),
    // The rate of 16 over that of one: the time of one over that of 16.
    goal("fan_in_16_over_1", Over("fan_in", "ring only, 1", "ring only, 16"), AtLeast(0.8)),
    goal("idle_cpu_ms_per_s", Value, AtMost(0.0)),
    goal("idle_committed_bytes", Value, AtMost(16384.0)),
    goal("open_over_syscalls", Over("open", "channel", "bare system calls"), AtMost(10.0)),
    goal("call_rtt_over_c2c", OverC2c("call_spin", "rpc"), AtMost(1.5)),
];

impl Goal {
    /// Where it stands, if that was measured.
    pub fn spread(&self, report: &Report) -> Option<Spread> {
        match self.of {
            OverC2c(figure, peer) => report.row(figure, peer)?.over_c2c(),
            Over(figure, peer, base) => report.row(figure, peer)?.over(report.row(figure, base)?),
            Micros(figure, peer) => {
                let Spread { median, min, max } = report.row(figure, peer)?.nanos()?;
                Some(Spread { median: median / 1e3, min: min / 1e3, max: max / 1e3 })
            }
            Value => report.value(self.key),
        }
    }

    pub fn is_reached(&self, spread: Spread) -> bool {
        match self.bound {
            AtMost(bound) => spread.median <= bound,
            AtLeast(bound) => spread.median >= bound,
        }
    }

    /// As text.
    pub fn bound(&self) -> String {
        match self.bound {
            AtMost(bound) => format!("<= {bound}"),
            AtLeast(bound) => format!(">= {bound}"),
        }
    }
}
