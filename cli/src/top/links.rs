//! The links of this user's bridges, and what went through them between two looks.

use std::collections::HashMap;
use std::time::Duration;

use crate::bridge::status::{Answer, Asking, Status};

/// How long one look waits for answers. One that comes later is seen at the next look, so that no key waits.
const BRIEFLY: Duration = Duration::from_millis(30);

/// A bridge that says nothing for so long is said not to answer.
const PATIENCE: Duration = Duration::from_secs(1);

/// A link as its bridge told it, and what goes through it.
#[derive(Clone)]
pub(super) struct Link {
    pub(super) status: Status,
    /// Values or calls a second; none at the first look.
    pub(super) values: Option<f64>,
    /// Bytes a second.
    pub(super) bytes: Option<f64>,
}

/// What is known of a bridge.
pub(super) struct Bridge {
    pub(super) process: u32,
    /// As it told them last.
    pub(super) links: Vec<Link>,
    /// Why it tells nothing now.
    pub(super) fault: Option<String>,
}

/// Asks, and remembers the last answers.
#[derive(Default)]
pub(super) struct Links {
    asking: Asking,
    pub(super) bridges: Vec<Bridge>,
    /// Why no bridge can be asked.
    pub(super) error: Option<String>,
}

impl Links {
    /// Asks all bridges.
    pub(super) fn look(&mut self) {
        let answers = match self.asking.ask(BRIEFLY) {
            Ok(answers) => answers,
            Err(error) => {
                self.bridges.clear();
                self.error = Some(error.to_string());
                return;
            }
        };
        self.error = None;
        let mut known: HashMap<_, _> =
            self.bridges.drain(..).map(|bridge| (bridge.process, bridge)).collect();
        for (process, answer) in answers {
            let known = known.remove(&process);
            let silent = |why: String| {
                let links = known.as_ref().map_or_else(Vec::new, |known| known.links.clone());
                let links =
                    links.into_iter().map(|link| Link { values: None, bytes: None, ..link });
                Bridge { process, links: links.collect(), fault: Some(why) }
            };
            let bridge = match answer {
                Answer::Links(told) => {
                    let before = known.map_or_else(Vec::new, |known| known.links);
                    let links = told.into_iter().map(|status| link(status, &before)).collect();
                    Bridge { process, links, fault: None }
                }
                // It is busy, perhaps, or the machine is.
                Answer::Silence(time) if time < PATIENCE => match known {
                    Some(known) => known,
                    None => continue,
                },
                Answer::Silence(_) => silent("does not answer".to_owned()),
                Answer::Failed(error) => silent(format!("cannot be asked: {error}")),
            };
            self.bridges.push(bridge);
        }
    }
}

fn link(status: Status, before: &[Link]) -> Link {
    let is_same = |link: &&Link| link.status.kind == status.kind && link.status.key == status.key;
    let before = before.iter().find(is_same).map(|link| &link.status);
    let rate = |count: fn(&Status) -> u64| {
        let before = before?;
        // Another process may have the number of one that was killed.
        let time = status.uptime_ms.checked_sub(before.uptime_ms).filter(|&time| time > 0)?;
        Some(count(&status).checked_sub(count(before))? as f64 * 1000.0 / time as f64)
    };
    let (values, bytes) = (rate(|status| status.values), rate(|status| status.bytes));
    Link { status, values, bytes }
}
