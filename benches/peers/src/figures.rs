//! What is measured.

use crate::calls::{self, Work};
use crate::cores::Cores;
use crate::report::{Report, Row};
use crate::samples::{self, Ready};
use crate::values::Wait;
use crate::ways::{self, Field, Shape};
use crate::{Failure, codec, idle, opening, stop, topology, wakeups};

pub type Start = Box<dyn FnOnce() -> Result<Box<dyn Ready>, Failure>>;

/// A peer that may take part in a figure.
pub struct Offer {
    pub peer: &'static str,
    /// Whether it looks and yields where others sleep.
    pub yields: bool,
    /// Or why it cannot.
    pub start: Result<Start, &'static str>,
}

struct Figure {
    key: &'static str,
    title: &'static str,
    subject: Subject,
}

#[derive(Clone, Copy)]
enum Subject {
    Calls(calls::Setting),
    Ways(ways::Setting, Field),
    /// What takes part in either, in the same rounds.
    CallsAndWays(calls::Setting, ways::Setting, Field),
    Opening,
    Codec(codec::Work),
}

const fn orders(wait: Wait, one_core: bool, clients: usize) -> calls::Setting {
    calls::Setting { work: Work::Orders, wait, one_core, clients, len: 0 }
}

const fn call(key: &'static str, title: &'static str, wait: Wait, one_core: bool) -> Figure {
    Figure { key, title, subject: Subject::Calls(orders(wait, one_core, 1)) }
}

/// Calls, and beside them the same struct there and back over channels.
const fn call_and_way(key: &'static str, title: &'static str, wait: Wait) -> Figure {
    let way = way(Shape::RoundTrip, wait, false, SMALL);
    Figure {
        key,
        title,
        subject: Subject::CallsAndWays(orders(wait, false, 1), way, Field::InCalls),
    }
}

const fn rate(key: &'static str, title: &'static str, clients: usize) -> Figure {
    Figure { key, title, subject: Subject::Calls(orders(Wait::Block, false, clients)) }
}

const fn bulk(key: &'static str, title: &'static str, len: u64) -> Figure {
    let setting =
        calls::Setting { work: Work::Bulk, wait: Wait::Spin, one_core: false, clients: 1, len };
    Figure { key, title, subject: Subject::Calls(setting) }
}

/// Room for a small value, encoded.
const SMALL: usize = 48;

const fn way(shape: Shape, wait: Wait, one_core: bool, len: usize) -> ways::Setting {
    ways::Setting { shape, wait, one_core, senders: 1, len }
}

/// Small values.
const fn small(
    key: &'static str,
    title: &'static str,
    shape: Shape,
    field: Field,
    wait: Wait,
) -> Figure {
    let one_core = matches!(field, Field::OneCore);
    Figure { key, title, subject: Subject::Ways(way(shape, wait, one_core, SMALL), field) }
}

const fn bytes(key: &'static str, title: &'static str, len: usize, field: Field) -> Figure {
    let way = way(Shape::Stream, Wait::Spin, false, len);
    Figure { key, title, subject: Subject::Ways(way, field) }
}

/// Whose single round trips are plotted.
pub const LATENCY: &str = "small_rtt";

const fn owned(key: &'static str, title: &'static str, len: usize) -> Figure {
    bytes(key, title, len, Field::Owned)
}

const fn in_place(key: &'static str, title: &'static str, len: usize) -> Figure {
    bytes(key, title, len, Field::InPlace)
}

const fn alone(key: &'static str, title: &'static str, work: codec::Work) -> Figure {
    Figure { key, title, subject: Subject::Codec(work) }
}

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;

use Wait::{Block, Spin};

// Two that spin on one core would measure how long the kernel lets each.
const FIGURES: [Figure; 34] = [
    small(LATENCY, "struct, there and back", Shape::RoundTrip, Field::Orders, Spin),
    small("small_stream", "struct, stream", Shape::Stream, Field::Orders, Spin),
    small("pod_rtt", "plain data, there and back", Shape::RoundTrip, Field::Ticks, Spin),
    small("pod_stream", "plain data, stream", Shape::Stream, Field::Ticks, Spin),
    small("one_core_rtt", "struct, asleep, one core", Shape::RoundTrip, Field::OneCore, Block),
    small("fan_in", "struct, 16 senders and 1", Shape::FanIn, Field::FanIn, Block),
    owned("bytes_64", "64 B, owned", 64),
    owned("bytes_1k", "1 KiB, owned", KIB),
    owned("bytes_8k", "8 KiB, owned", 8 * KIB),
    owned("bytes_64k", "64 KiB, owned", 64 * KIB),
    owned("bytes_1m", "1 MiB, owned", MIB),
    owned("bytes_16m", "16 MiB, owned", 16 * MIB),
    in_place("in_place_64", "64 B, in place", 64),
    in_place("in_place_1k", "1 KiB, in place", KIB),
    in_place("in_place_8k", "8 KiB, in place", 8 * KIB),
    in_place("in_place_64k", "64 KiB, in place", 64 * KIB),
    in_place("in_place_1m", "1 MiB, in place", MIB),
    in_place("in_place_16m", "16 MiB, in place", 16 * MIB),
    bytes("capacity_1k", "1 KiB, owned, by capacity", KIB, Field::Capacity),
    bytes("capacity_8k", "8 KiB, owned, by capacity", 8 * KIB, Field::Capacity),
    bytes("capacity_64k", "64 KiB, owned, by capacity", 64 * KIB, Field::Capacity),
    bytes("handover_1m", "1 MiB, hand-over alone", MIB, Field::HandOver),
    alone("codec_encode", "struct, encoding alone", codec::Work::Encode),
    alone("codec_decode", "struct, decoding alone", codec::Work::Decode),
    Figure { key: "open", title: "create, open, first value", subject: Subject::Opening },
    call_and_way("call_spin", "a call, spinning, two cores", Spin),
    call("call_block", "a call, sleeping, two cores", Block, false),
    call("call_block_one_core", "a call, sleeping, one core", Block, true),
    rate("calls_1", "1 caller, sleeping", 1),
    rate("calls_4", "4 callers, sleeping", 4),
    rate("calls_16", "16 callers, sleeping", 16),
    rate("calls_64", "64 callers, sleeping", 64),
    bulk("bulk_64k", "a reply of 64 KiB, spinning", 64 << 10),
    bulk("bulk_1m", "a reply of 1 MiB, spinning", 1 << 20),
];

impl Subject {
    fn offers(self, cores: Cores) -> Vec<Offer> {
        match self {
            Subject::Calls(setting) => calls::offers(cores, setting),
            Subject::Ways(setting, field) => ways::offers(cores, setting, field),
            Subject::CallsAndWays(call, way, field) => {
                let calls = calls::offers(cores, call).into_iter();
                calls.chain(ways::offers(cores, way, field)).collect()
            }
            Subject::Opening => opening::offers(cores),
            Subject::Codec(work) => codec::offers(cores, work),
        }
    }

    /// Where a sample takes long, there are fewer.
    fn rounds(self, quick: bool) -> usize {
        let long = matches!(self, Subject::Ways(setting, _) if setting.len >= MIB);
        match (quick, long) {
            (true, true) => 9,
            (true, false) => 25,
            (false, true) => 51,
            (false, false) => 201,
        }
    }
}

/// Measures every figure, or those whose keys begin with `only`.
pub fn measure(quick: bool, only: &str) -> Result<Report, Failure> {
    let cores = Cores::take()?;
    stop::listen()?;
    println!("{}", topology::describe(cores.mine, cores.other));
    if topology::share(cores.mine, cores.other, 2) != Some(false) {
        println!("no two processors here have an L2 of their own: bulk costs more where they do");
    }
    let mut report = Report::new(quick, cores);
    for figure in FIGURES.iter().filter(|figure| figure.key.starts_with(only)) {
        let singles = if quick { 10_000 } else { 100_000 };
        let latencies = if figure.key == LATENCY { singles } else { 0 };
        one(cores, figure, quick, latencies, &mut report)?;
    }
    let wanted = |key: &str| key.starts_with(only) || only.starts_with(key);
    if wanted("idle") {
        idle::measure(cores, quick, &mut report)?;
    }
    if wanted("wake") {
        wakeups::measure(cores, quick, &mut report)?;
    }
    if wanted("task") {
        wakeups::measure_tasks(cores, quick, &mut report)?;
    }
    if wanted("lane") {
        idle::measure_lane(&mut report)?;
    }
    Ok(report)
}

fn one(
    cores: Cores,
    figure: &Figure,
    quick: bool,
    latencies: usize,
    report: &mut Report,
) -> Result<(), Failure> {
    let &Figure { key, title, subject } = figure;
    let (mut offered, mut ready) = (Vec::new(), Vec::new());
    for Offer { peer, yields, start } in subject.offers(cores) {
        stop::check()?;
        let row = Row { key, title, peer, yields, ..Row::default() };
        match start {
            Ok(start) => {
                offered.push(row);
                ready.push(start().map_err(|error| format!("{key}, {peer}: {error}"))?);
            }
            Err(why) => offered.push(Row { cannot: Some(why), ..row }),
        }
    }
    let measured =
        samples::in_turns(cores, &mut ready, subject.rounds(quick)).and_then(|measured| {
            let singles: Result<Vec<_>, _> =
                ready.iter_mut().map(|peer| peer.latencies(latencies)).collect();
            Ok((measured, singles?))
        });
    // All of them, also after a failure: so they leave nothing behind. Not where the other sides
    // are ended from outside: they would be waited for.
    stop::check()?;
    let ended: Vec<_> = ready.into_iter().map(|peer| peer.end()).collect();
    let ((samples, bare), singles) = measured?;
    ended.into_iter().collect::<Result<(), _>>()?;
    report.bare(bare);
    let mut figures = samples.into_iter().zip(singles);
    for mut row in offered {
        if row.cannot.is_none()
            && let Some((samples, singles)) = figures.next()
        {
            (row.samples, row.latencies) = (samples, singles);
        }
        report.add(row);
    }
    Ok(())
}
