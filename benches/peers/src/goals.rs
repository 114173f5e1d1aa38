//! Where this crate must stand, and what is only shown.

use crate::codec;
use crate::report::{Report, Row};
use crate::samples::Spread;
use crate::ways;

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
    /// None: it is shown.
    Shown,
}

use Bound::{AtLeast, AtMost, Shown};
use Of::{Micros, Over, OverC2c, Value};

const fn goal(key: &'static str, of: Of, bound: Bound) -> Goal {
    Goal { key, of, bound }
}

const BARE: &str = "bare memory";
const COPY: &str = "copy, other core";
const ICEORYX: &str = "iceoryx2";
const MIXED: &str = "mixed";
const MSG: &str = "msgsnd, msgrcv";
const RING: &str = "ring only";
const RPC: &str = "rpc";

pub const GOALS: [Goal; 36] = [
    goal("small_rtt_over_c2c", OverC2c("small_rtt", RING), Shown),
    goal("small_rtt_over_bare", Over("small_rtt", RING, BARE), AtMost(1.02)),
    goal("small_stream_over_bare", Over("small_stream", RING, BARE), AtMost(1.02)),
    goal("small_stream_over_bufwriter", Over("small_stream", RING, "unix, BufWriter"), Shown),
    goal("pod_stream_over_rtrb", Over("pod_stream", RING, "rtrb, in process"), AtMost(0.8)),
    goal("encode_over_bincode", Over("codec_encode", codec::OWN, codec::PLAIN), AtMost(1.3)),
    goal("decode_over_bincode", Over("codec_decode", codec::OWN, codec::PLAIN), AtMost(0.7)),
    goal("bytes_1k_over_iceoryx2", Over("bytes_1k", RING, ICEORYX), AtMost(0.2)),
    goal("bytes_8k_over_iceoryx2", Over("bytes_8k", RING, ICEORYX), AtMost(0.25)),
    goal("bytes_64k_over_iceoryx2", Over("bytes_64k", RING, ICEORYX), AtMost(0.35)),
    goal("bytes_64k_over_copy", Over("bytes_64k", RING, COPY), Shown),
    goal("bytes_1m_over_copy", Over("bytes_1m", RING, COPY), AtMost(1.1)),
    goal("bytes_16m_over_iceoryx2", Over("bytes_16m", RING, ICEORYX), AtMost(0.9)),
    goal("in_place_16m_over_iceoryx2", Over("in_place_16m", RING, ICEORYX), AtMost(0.9)),
    goal("mixed_64k_over_ring_64k", Over("bytes_64k", MIXED, RING), AtMost(1.3)),
    goal("handover_1m_us", Micros("handover_1m", RING), AtMost(1.0)),
    goal("reply_64k_over_iceoryx2", Over("bulk_64k", RPC, ICEORYX), AtMost(0.6)),
    goal("reply_1m_over_iceoryx2", Over("bulk_1m", RPC, ICEORYX), AtMost(0.9)),
    goal("call_rtt_over_small_rtt", Over("call_spin", RPC, ways::IN_CALLS), AtMost(1.2)),
    goal("blocking_rtt_over_semop", Over("one_core_rtt", RING, "semop"), AtMost(1.05)),
    goal("queue_rtt_over_msg", Over("one_core_rtt", "bare Queue", MSG), AtMost(1.05)),
    goal("mixed_rtt_over_msg", Over("one_core_rtt", MIXED, MSG), AtMost(1.4)),
    // The rate of 16 over that of one: the time of one over that of 16.
    goal("fan_in_16_over_1", Over("fan_in", "ring only, 1", "ring only, 16"), AtLeast(0.8)),
    goal("open_over_syscalls", Over("open", "channel", "bare system calls"), AtMost(10.0)),
    goal("wake_recv_us", Value, Shown),
    goal("wake_set_over_recv", Value, Shown),
    goal("wake_task_over_recv", Value, Shown),
    goal("wake_descriptor_over_recv", Value, Shown),
    goal("wake_unix_over_recv", Value, Shown),
    goal("wake_tokio_unix_over_recv", Value, Shown),
    goal("task_threads", Value, Shown),
    goal("task_resident_kib", Value, Shown),
    goal("tasks_cpu_ms_per_s", Value, Shown),
    goal("idle_cpu_ms_per_s", Value, AtMost(0.0)),
    goal("idle_committed_bytes", Value, AtMost(16384.0)),
    goal("lane_committed_bytes", Value, AtMost(131_072.0)),
];

impl Goal {
    /// Where it stands, if that was measured.
    pub fn spread(&self, report: &Report) -> Option<Spread> {
        match self.of {
            OverC2c(..) => self.row(report)?.over_c2c(),
            Over(figure, _, base) => self.row(report)?.over(report.row(figure, base)?),
            Micros(..) => {
                let Spread { median, min, max } = self.row(report)?.nanos()?;
                Some(Spread { median: median / 1e3, min: min / 1e3, max: max / 1e3 })
            }
            Value => report.value(self.key),
        }
    }

    /// The peer that it is about, if it was measured.
    pub fn row<'a>(&self, report: &'a Report) -> Option<&'a Row> {
        match self.of {
            OverC2c(figure, peer) | Over(figure, peer, _) | Micros(figure, peer) => {
                report.row(figure, peer)
            }
            Value => None,
        }
    }

    /// Whether it is where it must be, if it must be anywhere.
    pub fn is_reached(&self, spread: Spread) -> Option<bool> {
        match self.bound {
            AtMost(bound) => Some(spread.median <= bound),
            AtLeast(bound) => Some(spread.median >= bound),
            Shown => None,
        }
    }

    /// As text.
    pub fn bound(&self) -> String {
        match self.bound {
            AtMost(bound) => format!("<= {bound}"),
            AtLeast(bound) => format!(">= {bound}"),
            Shown => "none".to_owned(),
        }
    }
}
