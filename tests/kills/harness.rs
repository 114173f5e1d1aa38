//! The run: how many are killed, by how many at a time, and what is told of it.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::exit;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Instant;

use nix::sched::{CloneFlags, unshare};

use crate::plan::{self, Round};
use crate::rounds::{Outcome, Whom};
use crate::victim::{self, End};
use crate::watching::Watched;
use crate::{actors, common, points, wakes};

/// How many are killed where nobody says how many.
const KILLS: u64 = 300;

/// Rounds at a time: more than processors, so that everybody is interrupted everywhere.
const AT_A_TIME: usize = 4;

/// Plays the part that this process was started for, if it was.
pub(crate) fn play() {
    victim::play_if_asked();
    common::play(wakes::child);
}

pub(crate) fn run() {
    let kills = match std::env::var("KILLS").map(|text| text.parse()) {
        Ok(Ok(kills)) => kills,
        Ok(Err(error)) => {
            eprintln!("KILLS is the number of processes to kill: {error}");
            exit(1);
        }
        Err(_) => KILLS,
    };
    if let Err(error) = unshare(CloneFlags::CLONE_NEWIPC) {
        println!(
            "no ipc namespace of its own ({error}): sweeping sees other programs' channels too"
        );
    }
    let start = Instant::now();
    // Alone: it sets a fail point of this very process.
    actors::ask_while_the_next_actor_takes_the_place();
    let mut tally = Tally::default();
    let only = std::env::var("KILLS_ONLY").unwrap_or_default();
    tally.play(plan::only(&only, plan::census()));
    let census = std::mem::take(&mut tally.census);
    let rounds = plan::kills(&census, kills);
    let over = AtomicBool::new(false);
    let watched = thread::scope(|scope| {
        let watched = scope.spawn(|| Watched::until(&over));
        tally.play(plan::only(&only, rounds));
        over.store(true, Ordering::Relaxed);
        watched.join().expect("whoever looks is not hurt")
    });
    tally.report();
    watched.report();
    wakes::report((kills as usize / 50).clamp(10, 100));
    let left = objects();
    println!(
        "{} kills in {:.0} s, {} values received, {} violations, {left} objects left",
        tally.kills(),
        start.elapsed().as_secs_f64(),
        tally.values,
        tally.violations.len()
    );
    if !tally.violations.is_empty() {
        exit(1);
    }
}

/// How many System V objects this namespace has.
fn objects() -> usize {
    let count = |kind| {
        let table = std::fs::read_to_string(format!("/proc/sysvipc/{kind}"));
        table.expect("a System V kernel").lines().count() - 1
    };
    ["msg", "sem", "shm"].map(count).iter().sum()
}

/// What happened so far.
#[derive(Default)]
struct Tally {
    census: plan::Census,
    by_victim: BTreeMap<Whom, u64>,
    by_point: BTreeMap<String, u64>,
    by_load: BTreeMap<String, u64>,
    /// Rounds whose victim ended before it came by its point.
    not_reached: u64,
    values: u64,
    violations: Vec<String>,
}

impl Tally {
    fn play(&mut self, rounds: Vec<Round>) {
        let (next, tally) = (AtomicU64::new(0), Mutex::new(std::mem::take(self)));
        thread::scope(|scope| {
            for _ in 0..AT_A_TIME {
                scope.spawn(|| {
                    while let Some(round) =
                        rounds.get(next.fetch_add(1, Ordering::Relaxed) as usize)
                    {
                        let played = catch_unwind(AssertUnwindSafe(|| round.play()));
                        tally.lock().expect("nothing panics under it").enter(round, played.ok());
                    }
                });
            }
        });
        *self = tally.into_inner().expect("nothing panics under it");
    }

    /// Enters a round; without an outcome it has said what was wrong.
    fn enter(&mut self, round: &Round, outcome: Option<Outcome>) {
        let Some(outcome) = outcome else {
            println!("violated: {round:?}");
            self.violations.push(format!("{round:?}"));
            return;
        };
        self.values += outcome.values;
        for (name, count) in outcome.points {
            self.census.insert((round.whom, round.scene, name), count);
        }
        if outcome.kills > 0 {
            *self.by_victim.entry(round.whom).or_default() += outcome.kills;
            *self.by_load.entry(round.scene.to_string()).or_default() += outcome.kills;
        }
        if let End::At(point) = &round.end {
            if outcome.kills > 0 {
                *self.by_point.entry(point.name.clone()).or_default() += 1;
            } else {
                self.not_reached += 1;
            }
        }
    }

    fn kills(&self) -> u64 {
        self.by_victim.values().sum()
    }

    fn report(&self) {
        println!("killed, by victim:");
        for (whom, kills) in &self.by_victim {
            println!("{kills:>8} {whom:?}");
        }
        println!("by load and shape:");
        for (load, kills) in &self.by_load {
            println!("{kills:>8} {load}");
        }
        println!("at these points, the others at any moment:");
        let listed = self.by_point.iter().map(|(name, kills)| format!("{name} {kills}"));
        println!("    {}", listed.collect::<Vec<_>>().join(", "));
        let missed: Vec<String> = points::names();
        let missed: Vec<&str> = missed
            .iter()
            .map(String::as_str)
            .filter(|name| !self.by_point.contains_key(*name))
            .collect();
        println!(
            "nobody was killed at: {}",
            if missed.is_empty() { "none".to_owned() } else { missed.join(", ") }
        );
        println!("{} victims ended before they came by their point", self.not_reached);
        for violation in &self.violations {
            println!("VIOLATED {violation}");
        }
    }
}
