//! `rm` and `sweep`: removing what is not used any more.

use std::collections::HashMap;

use sysv_channel::codec::Raw;
use sysv_channel::{
    Channel, ChannelKind, InspectError, Inspection, Listed, Name, OpenError, Queue, QueueError,
    inspect,
};

use crate::Finished;
use crate::args::{RmArguments, SweepArguments};
use crate::failure::{Code, Failure};
use crate::list::{process, title};
use crate::output::print;
use crate::text::{count, shown};

/// A channel whose values do not matter.
type Untyped = Channel<Vec<u8>, Raw>;

/// Removes one after another, and goes on where one is refused; the exit code is that of the first refusal.
pub(crate) fn rm(arguments: &RmArguments) -> Finished {
    let mut outcome = Finished::Done;
    for name in &arguments.names {
        if let Err(failure) = remove(name, arguments.force) {
            crate::complain(&failure);
            if let Finished::Done = outcome {
                outcome = Finished::With(failure.code());
            }
        }
    }
    outcome
}

fn remove(name: &Name, force: bool) -> Result<(), Failure> {
    let removed = match force {
        true => Untyped::unlink(name.clone()),
        // Looked at and removed under the channel's lock: nothing comes between.
        false => Untyped::unlink_unused(name.clone()),
    };
    match removed {
        Ok(()) => Ok(()),
        Err(error @ (OpenError::NotFound { .. } | OpenError::KeyCollision { .. })) => {
            remove_queue(name, error, force)
        }
        Err(OpenError::InUse { users, .. }) => Err(Failure::new(
            Code::Refused,
            format!(
                "{name} is in use by {}; end them first, or remove it under them with --force",
                users_of(name, users)
            ),
        )),
        Err(OpenError::HoldsValues { .. }) => Err(Failure::new(
            Code::Refused,
            format!("{name} holds values; receive them first, or remove it with them by --force"),
        )),
        Err(error @ (OpenError::Corrupt { .. } | OpenError::WrongVersion { .. })) if !force => {
            Err(Failure::new(Code::Refused, error).and("--force removes it"))
        }
        Err(error) => Err(error.into()),
    }
}

/// Who uses the channel, as far as its ends tell.
fn users_of(name: &Name, users: usize) -> String {
    let Ok(seen) = inspect(name.clone()) else { return count(users as u64, "user", "users") };
    let receivers = seen.receivers.iter().map(|receiver| receiver.pid);
    let senders = seen.lanes.iter().filter(|lane| lane.attached).map(|lane| lane.pid);
    let mut processes: Vec<_> = receivers.chain(senders).collect();
    processes.sort_unstable();
    processes.dedup();
    match processes.as_slice() {
        [] => count(users as u64, "process that has it open", "processes that have it open"),
        [one] => format!("process {}", process(*one)),
        several => {
            let several: Vec<_> = several.iter().map(|&pid| process(pid)).collect();
            format!("processes {}", several.join(", "))
        }
    }
}

/// Removes the bare queue of that name; `error` says that there is no channel.
fn remove_queue(name: &Name, error: OpenError, force: bool) -> Result<(), Failure> {
    let queue = match Queue::<Vec<u8>, Raw>::open(name.clone()) {
        Ok(queue) => queue,
        Err(QueueError::NotFound { .. }) => return Err(error.into()),
        Err(error) => return Err(error.into()),
    };
    let messages = queue.stat()?.messages;
    if messages > 0 && !force {
        let messages = count(messages, "message", "messages");
        return Err(Failure::new(
            Code::Refused,
            format!(
                "message queue {name} holds {messages}; receive them first, or remove it with them by --force"
            ),
        ));
    }
    Ok(queue.remove()?)
}

pub(crate) fn sweep(arguments: &SweepArguments) -> Result<(), Failure> {
    let before = sysv_channel::list()?;
    if arguments.dry_run {
        let would: Vec<_> =
            before.iter().filter(|listed| is_swept(listed, arguments.all)).map(named).collect();
        return print(&report(&would, "would be removed", "would remove"));
    }
    let names: HashMap<_, _> =
        before.iter().filter_map(|listed| Some((key_of(listed)?, named(listed)))).collect();
    let removed = match arguments.all {
        true => sysv_channel::sweep_all()?,
        false => sysv_channel::sweep()?,
    };
    let name =
        |key: sysv_channel::Key| names.get(&key.raw()).cloned().unwrap_or_else(|| key.to_string());
    let removed: Vec<_> = removed.iter().map(|removed| name(removed.key)).collect();
    print(&report(&removed, "was removed", "removed"))
}

fn report(names: &[String], passive: &str, verb: &str) -> String {
    match names {
        [] => format!("nothing {passive}\n"),
        names => names.iter().map(|name| format!("{verb} {name}\n")).collect(),
    }
}

fn key_of(listed: &Listed) -> Option<i32> {
    match listed {
        Listed::Channel(seen) => Some(seen.key.raw()),
        Listed::Unreadable { key, .. } => Some(key.raw()),
        _ => None,
    }
}

fn named(listed: &Listed) -> String {
    match listed {
        Listed::Channel(seen) => title(seen),
        Listed::Unreadable { key, error, .. } => format!("{key} ({})", shown(&error.to_string())),
        _ => String::new(),
    }
}

/// Whether `sweep` removes it, as far as it can be seen from outside.
pub(crate) fn is_swept(listed: &Listed, all: bool) -> bool {
    let mine = |uid: u32| uid == nix::unistd::geteuid().as_raw();
    match listed {
        Listed::Channel(seen) => {
            let ownership = &seen.ownership;
            mine(ownership.uid)
                && mine(ownership.creator_uid)
                && seen.users == 0
                && (all || !stays(seen))
        }
        // What is left of a channel, which `sweep` removes whole.
        Listed::Unreadable { ownership, error, .. } => {
            mine(ownership.uid)
                && mine(ownership.creator_uid)
                && matches!(
                    error,
                    InspectError::Unfinished { .. } | InspectError::Incomplete { .. }
                )
        }
        _ => false,
    }
}

/// Whether it is kept without a user: as the library decides it.
fn stays(seen: &Inspection) -> bool {
    let keeps_values = !seen.shape.private && seen.kind != ChannelKind::Server;
    seen.shape.durable || keeps_values && seen.stats.waiting > 0
}
