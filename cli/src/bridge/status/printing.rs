//! `bridge status`: a table, or JSON.

use std::time::Duration;

use anstyle::Style;

use super::super::args::StatusArguments;
use super::{Answer, Asking, Status, directory, socket_of};
use crate::failure::{Code, Failure};
use crate::json;
use crate::output;
use crate::text::{Table, bytes, grouped, shown};

/// How long answers are waited for.
const PATIENCE: Duration = Duration::from_secs(2);

pub(crate) fn print(arguments: &StatusArguments) -> Result<(), Failure> {
    let (all, silent) = collect()?;
    if all.is_empty() && silent > 0 {
        return Err(Failure::failed("no bridge of this user on this machine answers"));
    }
    if all.is_empty() {
        let what = "no bridge of this user runs on this machine";
        return Err(Failure::new(
            Code::Empty,
            format!("{what}; `sysv-channel bridge out` starts one"),
        ));
    }
    if arguments.json {
        let lines = all.iter().filter_map(|status| serde_json::to_string(status).ok());
        return output::print(&lines.map(|line| json::escaped(line) + "\n").collect::<String>());
    }
    let heading =
        ["PID", "LINK", "NAME", "KEY", "VALUES", "BYTES", "IN FLIGHT", "ROUND TRIP", "STATE"];
    let mut table = Table::new(&heading, &[0, 4, 5, 6, 7]);
    for status in &all {
        let cells = [
            status.process.to_string(),
            status.kind.to_string(),
            shown(&status.name),
            shown(&status.key),
            grouped(status.values),
            bytes(status.bytes),
            grouped(status.in_flight),
            status.round_trip(),
            shown(&status.state),
        ];
        table.row(cells.into_iter().map(|cell| (cell, Style::new())).collect());
    }
    output::print(&table.text())
}

/// What all bridges of this user tell, and how many tell nothing: of these it is said on standard error.
fn collect() -> Result<(Vec<Status>, usize), Failure> {
    let (mut found, mut silent) = (Vec::new(), 0);
    for (process, answer) in Asking::default().ask(PATIENCE).map_err(Failure::failed)? {
        let why = match answer {
            Answer::Links(links) => {
                found.extend(links);
                continue;
            }
            Answer::Silence(time) => format!("it has said nothing for {} s", time.as_secs()),
            Answer::Failed(error) => error.to_string(),
        };
        silent += 1;
        let path = directory().join(socket_of(process));
        let what = format!("a bridge does not answer at {}: {why}", path.display());
        crate::complain(&Failure::failed(what));
    }
    Ok((found, silent))
}
