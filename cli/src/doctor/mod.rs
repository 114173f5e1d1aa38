//! `doctor`: what stands in the way of channels, and what to change.

mod limits;
mod place;
mod remains;

use anstyle::Style;
use serde_json::json;
use sysv_channel::codec::Raw;
use sysv_channel::{Channel, OpenError};

use crate::Finished;
use crate::args::DoctorArguments;
use crate::failure::Failure;
use crate::output::print;
use crate::text::{BAD, GOOD, NOTABLE, Table};

/// How a check came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Good,
    /// It works, and there is something to know or to change.
    Notable,
    /// Channels do not work, or not all of them.
    Bad,
}

impl Verdict {
    fn word(self) -> (&'static str, Style) {
        match self {
            Verdict::Good => ("ok", GOOD),
            Verdict::Notable => ("note", NOTABLE),
            Verdict::Bad => ("BAD", BAD),
        }
    }
}

/// One thing that was looked at.
#[derive(Debug)]
struct Check {
    verdict: Verdict,
    /// What was looked at: a sysctl, or a few words.
    name: &'static str,
    found: String,
    /// What to do, where there is something.
    advice: Option<String>,
}

impl Check {
    fn good(name: &'static str, found: impl Into<String>) -> Self {
        Check { verdict: Verdict::Good, name, found: found.into(), advice: None }
    }

    fn notable(name: &'static str, found: impl Into<String>, advice: impl Into<String>) -> Self {
        let (found, advice) = (found.into(), Some(advice.into()));
        Check { verdict: Verdict::Notable, name, found, advice }
    }

    fn bad(name: &'static str, found: impl Into<String>, advice: impl Into<String>) -> Self {
        Check { verdict: Verdict::Bad, ..Check::notable(name, found, advice) }
    }
}

pub(crate) fn run(arguments: &DoctorArguments) -> Result<Finished, Failure> {
    let mut checks = vec![undo()];
    checks.extend(limits::checks());
    checks.extend(place::checks());
    checks.extend(remains::checks());
    let text = match arguments.json {
        true => checks.iter().map(json_line).collect(),
        false => table(&checks),
    };
    print(&text)?;
    match checks.iter().any(|check| check.verdict == Verdict::Bad) {
        true => Ok(Finished::With(1)),
        false => Ok(Finished::Done),
    }
}

/// Makes a private channel: a kernel that ignores `SEM_UNDO` is found out, and so is a limit that is reached.
fn undo() -> Check {
    const NAME: &str = "SEM_UNDO";
    match Channel::<Vec<u8>, Raw>::options().capacity(4096).lanes(1).private() {
        Ok(_) => Check::good(NAME, "a channel can be made, and the kernel tells of deaths"),
        Err(OpenError::UndoIgnored) => Check::bad(
            NAME,
            "the kernel ignores it, so that no peer would be told of a death",
            "run on a Linux kernel: gVisor (runsc) has no SEM_UNDO, another container runtime does",
        ),
        Err(error) => Check::bad(NAME, "no channel can be made", error.to_string()),
    }
}

fn json_line(check: &Check) -> String {
    let verdict = check.verdict.word().0.to_lowercase();
    let line = json!({ "check": check.name, "verdict": verdict, "found": check.found, "advice": check.advice });
    format!("{line}\n")
}

fn table(checks: &[Check]) -> String {
    let mut table = Table::default();
    for check in checks {
        let (word, style) = check.verdict.word();
        let plain = |cell: &str| (cell.to_owned(), Style::new());
        table.row(vec![(word.to_owned(), style), plain(check.name), plain(&check.found)]);
        if let Some(advice) = &check.advice {
            table.row(vec![plain(""), plain(""), (format!("-> {advice}"), style)]);
        }
    }
    table.text()
}
