//! The kernel's limits on System V IPC, each with its use.

use std::fs;
use std::path::Path;

use nix::unistd::{SysconfVar, sysconf};

use super::Check;
use crate::text::{bytes, grouped};

/// From here on a limit counts as nearly reached, in percent.
const NEARLY: u64 = 80;
/// What a queue should hold at least: as much as Linux gives it unless told otherwise.
const USUAL_QUEUE: u64 = 16_384;
/// The same of a message.
const USUAL_MESSAGE: u64 = 8_192;
/// Semaphores of the largest set that a channel has with the lanes that it has unless told otherwise.
const USUAL_SET: u64 = 15 + 2 * 32;

pub(super) fn checks() -> Vec<Check> {
    of(Path::new("/proc/sys"), Path::new("/proc/sysvipc"))
}

fn of(sys: &Path, sysvipc: &Path) -> Vec<Check> {
    let sysctl = Sysctl { root: sys };
    let Some(used) = Used::read(sysvipc) else {
        let advice = "mount procfs, and use a kernel with CONFIG_SYSVIPC";
        return vec![Check::bad("limits", format!("{} cannot be read", sysvipc.display()), advice)];
    };
    let sem = sysctl.numbers("kernel.sem");
    let sem = |at: usize| sem.get(at).copied();
    let checks = [
        at_least(&sysctl, "kernel.msgmax", "in a message", USUAL_MESSAGE),
        at_least(&sysctl, "kernel.msgmnb", "in a queue that is made now", USUAL_QUEUE),
        sysctl
            .number("kernel.msgmni")
            .map(|limit| share("kernel.msgmni", "queues", used.queues, limit, doubled)),
        sysctl
            .number("kernel.shmmni")
            .map(|limit| share("kernel.shmmni", "segments", used.segments, limit, doubled)),
        sysctl.number("kernel.shmall").map(|limit| {
            share("kernel.shmall", "pages of shared memory", used.pages, limit, doubled)
        }),
        sysctl.number("kernel.shmmax").map(segment),
        sem(3).map(|limit| {
            share("kernel.sem", "sets of semaphores", used.sets, limit, |_, to| {
                with(&sysctl, 3, to)
            })
        }),
        sem(1).map(|limit| {
            share("kernel.sem", "semaphores in all sets", used.semaphores, limit, |_, to| {
                with(&sysctl, 1, to)
            })
        }),
        sem(0).map(|limit| set(limit, &sysctl)),
        sysctl.number("vm.overcommit_memory").map(overcommit),
    ];
    checks.into_iter().flatten().collect()
}

struct Sysctl<'a> {
    root: &'a Path,
}

impl Sysctl<'_> {
    /// The numbers of a sysctl; none where it cannot be read.
    fn numbers(&self, name: &str) -> Vec<u64> {
        let text = fs::read_to_string(self.root.join(name.replace('.', "/"))).unwrap_or_default();
        text.split_whitespace().filter_map(|number| number.parse().ok()).collect()
    }

    fn number(&self, name: &str) -> Option<u64> {
        self.numbers(name).first().copied()
    }
}

/// The command that sets a sysctl to this.
fn doubled(name: &str, to: u64) -> String {
    format!("sysctl -w {name}={to}")
}

/// The same of one of the four numbers of `kernel.sem`.
fn with(sysctl: &Sysctl, at: usize, to: u64) -> String {
    let mut numbers = sysctl.numbers("kernel.sem");
    numbers[at] = to;
    let numbers: Vec<_> = numbers.iter().map(u64::to_string).collect();
    format!("sysctl -w kernel.sem=\"{}\"", numbers.join(" "))
}

/// A limit of so many bytes, which lower than usual makes channels refuse what they take elsewhere.
fn at_least(sysctl: &Sysctl, name: &'static str, what: &str, usual: u64) -> Option<Check> {
    let limit = sysctl.number(name)?;
    let found = format!("{} {what}", bytes(limit));
    Some(match limit < usual {
        true => Check::notable(name, found, format!("sysctl -w {name}={usual}, which is usual")),
        false => Check::good(name, found),
    })
}

/// A limit on a number of objects, with how many there are.
fn share(
    name: &'static str,
    what: &str,
    used: u64,
    limit: u64,
    raise: impl Fn(&str, u64) -> String,
) -> Check {
    let found = format!("{} of {} {what}", grouped(used), grouped(limit));
    let command = raise(name, limit.saturating_mul(2));
    let percent = u128::from(used) * 100 / u128::from(limit.max(1));
    match percent {
        100.. => {
            Check::bad(name, found, format!("{command}, or remove some: `sysv-channel sweep`"))
        }
        percent if percent >= u128::from(NEARLY) => {
            Check::notable(name, found, format!("{command}, or remove some: `sysv-channel sweep`"))
        }
        _ => Check::good(name, found),
    }
}

/// The longest segment: a channel that names no sizes reserves 32 rings of 4 MiB.
fn segment(limit: u64) -> Check {
    const USUAL: u64 = 256 << 20;
    let found = format!("{} in a segment", bytes(limit));
    match limit < USUAL {
        true => {
            let advice = format!(
                "sysctl -w kernel.shmmax={USUAL}, or make channels with a smaller capacity"
            );
            Check::notable("kernel.shmmax", found, advice)
        }
        false => Check::good("kernel.shmmax", found),
    }
}

/// How many semaphores a set has at most: two for each lane of a channel.
fn set(limit: u64, sysctl: &Sysctl) -> Check {
    let lanes = limit.saturating_sub(15) / 2;
    let found = format!("{} semaphores in a set, for {} senders", grouped(limit), grouped(lanes));
    match limit < USUAL_SET {
        true => Check::notable("kernel.sem", found, with(sysctl, 0, 32_000)),
        false => Check::good("kernel.sem", found),
    }
}

fn overcommit(mode: u64) -> Check {
    const NAME: &str = "vm.overcommit_memory";
    match mode {
        2 => Check::notable(
            NAME,
            "2: the kernel counts memory in advance, so rings are short",
            "make channels that are to be fast with a capacity, or sysctl -w vm.overcommit_memory=0",
        ),
        mode => Check::good(NAME, mode.to_string()),
    }
}

/// What is used in this ipc namespace.
#[derive(Debug, Default, PartialEq, Eq)]
struct Used {
    queues: u64,
    sets: u64,
    semaphores: u64,
    segments: u64,
    pages: u64,
}

impl Used {
    fn read(root: &Path) -> Option<Used> {
        let text = |kind| fs::read_to_string(root.join(kind)).ok();
        let (queues, sets, segments) = (text("msg")?, text("sem")?, text("shm")?);
        let (queues, sets, segments) = (rows(&queues), rows(&sets), rows(&segments));
        let page = sysconf(SysconfVar::PAGE_SIZE).ok().flatten().map_or(4096, |bytes| bytes as u64);
        Some(Used {
            queues: queues.len() as u64,
            sets: sets.len() as u64,
            semaphores: sets.iter().map(|row| row.number("nsems")).sum(),
            segments: segments.len() as u64,
            pages: segments.iter().map(|row| row.number("size").div_ceil(page)).sum(),
        })
    }
}

/// One object of `/proc/sysvipc`: the names of the columns, and its cells.
struct Row<'a>(Vec<(&'a str, &'a str)>);

impl Row<'_> {
    fn number(&self, name: &str) -> u64 {
        let cell = self.0.iter().find(|(column, _)| *column == name);
        cell.and_then(|(_, cell)| cell.parse().ok()).unwrap_or(0)
    }
}

fn rows(text: &str) -> Vec<Row<'_>> {
    let mut lines = text.lines();
    let names: Vec<_> = lines.next().unwrap_or_default().split_whitespace().collect();
    lines.map(|line| Row(names.iter().copied().zip(line.split_whitespace()).collect())).collect()
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::super::Verdict;
    use super::*;

    /// A made-up `/proc`, where the limits are these.
    fn proc(files: &[(&str, &str)]) -> TempDir {
        let root = TempDir::new().unwrap();
        let usual = [
            ("sys/kernel/msgmax", "8192\n"),
            ("sys/kernel/msgmnb", "16384\n"),
            ("sys/kernel/msgmni", "10\n"),
            ("sys/kernel/shmmni", "4096\n"),
            ("sys/kernel/shmmax", "18446744073692774399\n"),
            ("sys/kernel/shmall", "18446744073692774399\n"),
            ("sys/kernel/sem", "32000\t1024000000\t500\t32000\n"),
            ("sys/vm/overcommit_memory", "0\n"),
            ("sysvipc/msg", "key msqid perms\n"),
            ("sysvipc/sem", "key semid perms nsems uid\n 7 1 600 79 0\n 8 2 600 17 0\n"),
            ("sysvipc/shm", "key shmid perms size cpid\n 7 1 600 4097 1\n"),
        ];
        for (path, text) in usual.iter().chain(files) {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        root
    }

    fn checked(files: &[(&str, &str)]) -> Vec<Check> {
        let root = proc(files);
        of(&root.path().join("sys"), &root.path().join("sysvipc"))
    }

    fn notable(files: &[(&str, &str)]) -> (Verdict, String) {
        let checks = checked(files);
        let [check] =
            &checks.iter().filter(|check| check.verdict != Verdict::Good).collect::<Vec<_>>()[..]
        else {
            panic!("{checks:?}")
        };
        (check.verdict, check.advice.clone().unwrap())
    }

    #[test]
    fn usual_limits_are_good() {
        let checks = checked(&[]);
        assert!(checks.iter().all(|check| check.verdict == Verdict::Good), "{checks:?}");
        let said = |found: &str| {
            assert!(checks.iter().any(|check| check.found == found), "{found}: {checks:?}")
        };
        said("0 of 10 queues");
        said("96 of 1,024,000,000 semaphores in all sets");
        said("2 of 18,446,744,073,692,774,399 pages of shared memory");
    }

    #[test]
    fn what_is_nearly_reached_comes_with_the_command_that_raises_it() {
        let queues = |count| format!("key msqid perms\n{}", " 1 2 600\n".repeat(count));
        let (verdict, advice) = notable(&[("sysvipc/msg", &queues(8))]);
        assert_eq!(verdict, Verdict::Notable);
        assert!(advice.starts_with("sysctl -w kernel.msgmni=20,"), "{advice}");
        assert_eq!(notable(&[("sysvipc/msg", &queues(10))]).0, Verdict::Bad);
        let (_, advice) = notable(&[("sys/kernel/sem", "32000 1024000000 500 2")]);
        assert!(advice.starts_with("sysctl -w kernel.sem=\"32000 1024000000 500 4\""), "{advice}");
        let (_, advice) = notable(&[("sys/kernel/msgmnb", "4096")]);
        assert!(advice.starts_with("sysctl -w kernel.msgmnb=16384"), "{advice}");
        let (_, advice) = notable(&[("sys/kernel/sem", "20 1024000000 500 32000")]);
        assert!(advice.contains("kernel.sem=\"32000 1024000000 500 32000\""), "{advice}");
        let (_, advice) = notable(&[("sys/kernel/shmmax", "33554432")]);
        assert!(advice.contains("kernel.shmmax=268435456"), "{advice}");
        assert_eq!(notable(&[("sys/vm/overcommit_memory", "2")]).0, Verdict::Notable);
    }

    #[test]
    fn a_kernel_without_the_lists_is_bad() {
        let root = TempDir::new().unwrap();
        let checks = of(root.path(), root.path());
        assert_eq!(checks.len(), 1);
        assert_eq!(checks[0].verdict, Verdict::Bad);
    }
}
