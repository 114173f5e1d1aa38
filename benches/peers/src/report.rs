//! The table that a person reads, and the JSON that a program does.

use std::fs;
use std::path::Path;

use serde_json::{Map, Value, json};

use crate::Failure;
use crate::cores::Cores;
use crate::goals::{GOALS, Goal};
use crate::samples::{Samples, Spread};
use crate::topology;

pub struct Report {
    quick: bool,
    cores: Cores,
    bare: Vec<f64>,
    rows: Vec<Row>,
    /// What is no time, by its key.
    measured: Vec<(&'static str, Spread)>,
}

/// One peer in one figure.
#[derive(Default)]
pub struct Row {
    pub key: &'static str,
    pub title: &'static str,
    pub peer: &'static str,
    /// Whether it looked and yielded where others slept.
    pub yields: bool,
    /// Why it was not measured.
    pub cannot: Option<&'static str>,
    pub samples: Samples,
    /// Single round trips, in nanoseconds, of the figure that has them.
    pub latencies: Vec<f64>,
}

impl Row {
    /// Of what was kept, if there is any.
    pub fn nanos(&self) -> Option<Spread> {
        Spread::of(self.samples.kept().map(|sample| sample.nanos))
    }

    pub fn over_c2c(&self) -> Option<Spread> {
        Spread::of(self.samples.kept().map(|sample| sample.over_c2c))
    }

    /// The median of the ratios to another of the same figure, by the round.
    pub fn over(&self, base: &Row) -> Option<Spread> {
        Spread::of(self.samples.over(&base.samples))
    }
}

impl Report {
    /// Begins the table.
    pub fn new(quick: bool, cores: Cores) -> Self {
        println!(
            "{:<51}{:>11}{:>10}{:>20}{:>9}{:>11}{:>9}",
            "", "each", "over c2c", "min to max", "to first", "a second", "dropped"
        );
        Report { quick, cores, bare: Vec::new(), rows: Vec::new(), measured: Vec::new() }
    }

    /// Adds what bare round trips took.
    pub fn bare(&mut self, nanos: Vec<f64>) {
        self.bare.extend(nanos);
    }

    pub fn add(&mut self, row: Row) {
        self.rows.push(row);
        self.print_last();
    }

    /// Adds what is no time.
    pub fn measured(&mut self, key: &'static str, title: &str, values: Vec<f64>) {
        if let Some(spread) = Spread::of(values) {
            println!("{title:<51}{:>11}", spread.median);
            self.measured.push((key, spread));
        }
    }

    pub fn row(&self, key: &str, peer: &str) -> Option<&Row> {
        self.rows.iter().find(|row| row.key == key && row.peer == peer)
    }

    pub fn value(&self, key: &str) -> Option<Spread> {
        self.measured.iter().find(|(measured, _)| *measured == key).map(|&(_, spread)| spread)
    }

    /// The first row of a row's figure, which others are compared with.
    fn first(&self, row: &Row) -> Option<&Row> {
        self.rows.iter().find(|first| first.key == row.key)
    }

    /// Prints the last row; a long run is looked at while it goes on.
    fn print_last(&self) {
        let [before @ .., row] = &self.rows[..] else { return };
        let is_first = before.last().is_none_or(|last| last.key != row.key);
        let title = if is_first { row.title } else { "" };
        let peer = format!("{}{}", row.peer, if row.yields { " *" } else { "" });
        if let Some(why) = row.cannot {
            println!("{title:<29}{peer:<22}{:>11}   {why}", "n/a");
            return;
        }
        let dropped = format!("{}/{}", row.samples.dropped(), row.samples.rounds.len());
        let (Some(nanos), Some(over)) = (row.nanos(), row.over_c2c()) else {
            println!("{title:<29}{peer:<22}{dropped:>70}");
            return;
        };
        let siblings = siblings(row);
        let range = format!("{} to {}", short(over.min), short(over.max));
        let to_first = self.first(row).and_then(|first| row.over(first));
        println!(
            "{title:<29}{peer:<22}{:>11}{:>10}{range:>20}{:>9}{:>11.0}{dropped:>9}{siblings}",
            time(nanos.median),
            short(over.median),
            to_first.map(|over| short(over.median)).unwrap_or_default(),
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
            if Cores::look_like_siblings(median) {
                println!(
                    "     as between two threads of one core: bulk costs more between two cores"
                );
            }
        }
        println!("     here: that of both sides of each sample, which is dropped if they differ");
        if self.rows.iter().any(|row| row.yields) {
            println!("*    has no call that sleeps: looked and yielded");
        }
        if self.rows.iter().any(|row| row.samples.look_like_siblings()) {
            println!("=    measured where the processors looked like two threads of one core");
        }
        println!("\n{:<30}{:>9}{:>20}{:>12}", "goal", "median", "min to max", "goal");
        for goal in &GOALS {
            let Some(spread) = goal.spread(self) else { continue };
            let range = format!("{} to {}", short(spread.min), short(spread.max));
            let reached = match goal.is_reached(spread) {
                Some(true) => "  reached",
                Some(false) => "  missed",
                None => "",
            };
            let median = short(spread.median);
            let siblings = goal.row(self).map(siblings).unwrap_or_default();
            println!(
                "{:<30}{median:>9}{range:>20}{:>12}{reached}{siblings}",
                goal.key,
                goal.bound()
            );
        }
    }

    /// Writes the JSON.
    pub fn write(&self, file: &Path) -> Result<(), Failure> {
        let figures: Map<String, Value> = self.rows.iter().map(|row| self.figure(row)).collect();
        let goals: Map<String, Value> = GOALS.iter().map(|goal| self.goal(goal)).collect();
        let bare = Spread::of(self.bare.iter().copied());
        let siblings = bare.map(|bare| Cores::look_like_siblings(bare.median));
        let report = json!({
            "machine": topology::json(self.cores.mine, self.cores.other),
            "look_like_siblings": siblings,
            "goals": goals,
            "c2c_ns": json(bare),
            "quick": self.quick,
            "figures": figures,
        });
        fs::write(file, format!("{report:#}\n"))
            .map_err(|error| format!("cannot write {}: {error}", file.display()).into())
    }

    fn goal(&self, goal: &Goal) -> (String, Value) {
        let spread = goal.spread(self);
        let mut value = json!({
            "goal": goal.bound(),
            "reached": spread.and_then(|spread| goal.is_reached(spread)),
        });
        for (name, of) in [
            ("median", spread.map(|spread| spread.median)),
            ("min", spread.map(|spread| spread.min)),
            ("max", spread.map(|spread| spread.max)),
        ] {
            value[name] = json!(of);
        }
        (goal.key.to_owned(), value)
    }

    fn figure(&self, row: &Row) -> (String, Value) {
        let name = format!("{}_{}", row.key, row.peer.replace(", ", "_").replace([' ', '-'], "_"));
        let mut value = json!({ "figure": row.key, "title": row.title, "peer": row.peer });
        if let Some(why) = row.cannot {
            value["cannot"] = json!(why);
            return (name, value);
        }
        value["ns"] = json(row.nanos());
        value["over_c2c"] = json(row.over_c2c());
        value["over_first"] = json(self.first(row).and_then(|first| row.over(first)));
        value["per_second"] = json!(row.nanos().map(|nanos| 1e9 / nanos.median));
        value["look_like_siblings"] = json!(row.samples.look_like_siblings());
        value["yields"] = json!(row.yields);
        value["kept"] = json!(row.samples.kept().count());
        value["dropped"] = json!(row.samples.dropped());
        if !row.latencies.is_empty() {
            value["latency_ns"] = json!(percentiles(&row.latencies));
        }
        (name, value)
    }
}

/// What marks a row behind its end.
fn siblings(row: &Row) -> &'static str {
    if row.samples.look_like_siblings() { "  =" } else { "" }
}

fn json(spread: Option<Spread>) -> Value {
    spread.map_or(
        Value::Null,
        |Spread { median, min, max }| json!({ "median": median, "min": min, "max": max }),
    )
}

/// How many nanoseconds were enough for so many of a hundred.
fn percentiles(latencies: &[f64]) -> Vec<(f64, f64)> {
    const SHARES: [f64; 17] = [
        0.0, 10.0, 20.0, 30.0, 40.0, 50.0, 60.0, 70.0, 80.0, 90.0, 95.0, 98.0, 99.0, 99.5, 99.8,
        99.9, 99.99,
    ];
    let mut sorted = latencies.to_vec();
    sorted.sort_by(f64::total_cmp);
    let last = (sorted.len() - 1) as f64;
    SHARES.iter().map(|share| (*share, sorted[(last * share / 100.0) as usize])).collect()
}

fn time(nanos: f64) -> String {
    match nanos {
        ..100.0 => format!("{nanos:.1} ns"),
        ..10_000.0 => format!("{nanos:.0} ns"),
        _ => format!("{:.1} us", nanos / 1e3),
    }
}

/// Three digits or more.
fn short(number: f64) -> String {
    match number.abs() {
        ..10.0 => format!("{number:.2}"),
        ..100.0 => format!("{number:.1}"),
        _ => format!("{number:.0}"),
    }
}
