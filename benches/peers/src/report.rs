//! The table that a person reads, and the JSON that a program does.

use std::fs;
use std::path::Path;

use serde_json::{Map, Value, json};

use crate::figures::CALL_SPIN;
use crate::harness::Samples;
use crate::peer::Failure;

/// The peer that others are compared with.
const BASE: &str = "rpc";

pub struct Report {
    quick: bool,
    bare: Vec<f64>,
    rows: Vec<Row>,
}

struct Row {
    key: &'static str,
    title: &'static str,
    peer: &'static str,
    clients: usize,
    /// Whether it looked and yielded where others slept.
    yields: bool,
    kept: usize,
    dropped: usize,
    /// Of what was kept, if there is any.
    nanos: Option<Spread>,
    over_c2c: Option<Spread>,
}

#[derive(Clone, Copy)]
struct Spread {
    median: f64,
    min: f64,
    max: f64,
}

impl Spread {
    fn of(samples: impl Iterator<Item = f64>) -> Option<Self> {
        let mut samples: Vec<f64> = samples.collect();
        samples.sort_by(f64::total_cmp);
        let (&min, &max) = (samples.first()?, samples.last()?);
        Some(Spread { median: samples[samples.len() / 2], min, max })
    }

    fn json(self) -> Value {
        json!({ "median": self.median, "min": self.min, "max": self.max })
    }
}

impl Report {
    /// Begins the table.
    pub fn new(quick: bool) -> Self {
        println!(
            "{:<45}{:>11}{:>9}{:>18}{:>8}{:>11}{:>10}",
            "", "a call", "c2c", "min to max", "to rpc", "calls/s", "dropped"
        );
        Report { quick, bare: Vec::new(), rows: Vec::new() }
    }

    /// Adds what bare round trips took.
    pub fn bare(&mut self, nanos: Vec<f64>) {
        self.bare.extend(nanos);
    }

    pub fn add(
        &mut self,
        key: &'static str,
        title: &'static str,
        peer: &'static str,
        clients: usize,
        yields: bool,
        samples: Samples,
    ) {
        let Samples { kept, dropped } = samples;
        self.rows.push(Row {
            key,
            title,
            peer,
            clients,
            yields,
            kept: kept.len(),
            dropped,
            nanos: Spread::of(kept.iter().map(|&(nanos, _)| nanos)),
            over_c2c: Spread::of(kept.iter().map(|&(_, over)| over)),
        });
        self.print_last();
    }

    /// The row of the base that belongs to a row.
    fn base(&self, row: &Row) -> Option<Spread> {
        self.rows.iter().find(|base| base.key == row.key && base.peer == BASE)?.over_c2c
    }

    /// Prints the last row; a long run is looked at while it goes on.
    fn print_last(&self) {
        let [before @ .., row] = &self.rows[..] else { return };
        let is_first = before.last().is_none_or(|last| last.key != row.key);
        let title = if is_first { row.title } else { "" };
        let peer = format!("{}{}", row.peer, if row.yields { " *" } else { "" });
        let dropped = format!("{}/{}", row.dropped, row.dropped + row.kept);
        let (Some(nanos), Some(over)) = (row.nanos, row.over_c2c) else {
            println!("{title:<31}{peer:<14}{dropped:>67}");
            return;
        };
        let range = format!("{:.1} to {:.1}", over.min, over.max);
        let to_base = self.base(row).map(|base| format!("{:.2}", over.median / base.median));
        println!(
            "{title:<31}{peer:<14}{:>11}{:>9.2}{range:>18}{:>8}{:>11.0}{dropped:>10}",
            time(nanos.median),
            over.median,
            to_base.unwrap_or_default(),
            1e9 / nanos.median,
        );
    }

    /// Prints what belongs below the rows.
    pub fn print_end(&self) {
        println!();
        if let Some(Spread { median, min, max }) = Spread::of(self.bare.iter().copied()) {
            println!(
                "c2c: a bare round trip between the cores, {median:.0} ns ({min:.0} to {max:.0})"
            );
        }
        println!("     here: that of both sides of each sample, which is dropped if they differ");
        if self.rows.iter().any(|row| row.yields) {
            println!("*    has no call that sleeps: looked and yielded");
        }
    }

    /// Writes the JSON.
    pub fn write(&self, file: &Path) -> Result<(), Failure> {
        let mut figures = Map::new();
        let mut call = Value::Null;
        for row in &self.rows {
            let peer = row.peer.replace([' ', '-'], "_");
            let over_c2c = row.over_c2c.map(Spread::json);
            if row.key == CALL_SPIN && row.peer == BASE {
                call = row.over_c2c.map_or(Value::Null, |over| json!(over.median));
            }
            let figure = json!({
                "ns": row.nanos.map(Spread::json),
                "over_c2c": over_c2c,
                "over_rpc": row.over_c2c.zip(self.base(row)).map(|(over, base)| over.median / base.median),
                "calls_per_second": row.nanos.map(|nanos| 1e9 / nanos.median),
                "clients": row.clients,
                "yields": row.yields,
                "kept": row.kept,
                "dropped": row.dropped,
            });
            figures.insert(format!("{}_{peer}", row.key), figure);
        }
        let report = json!({
            "call_rtt_over_c2c": call,
            "c2c_ns": Spread::of(self.bare.iter().copied()).map(Spread::json),
            "quick": self.quick,
            "figures": figures,
        });
        fs::write(file, format!("{report:#}\n"))
            .map_err(|error| format!("cannot write {}: {error}", file.display()).into())
    }
}

fn time(nanos: f64) -> String {
    if nanos < 10_000.0 { format!("{nanos:.0} ns") } else { format!("{:.1} us", nanos / 1e3) }
}
