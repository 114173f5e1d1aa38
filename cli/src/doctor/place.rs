//! Where this process runs: namespaces, and what ends with the session.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use nix::unistd::geteuid;

use super::Check;

/// The numbers that the kernel gives the namespaces that it starts with: `PROC_IPC_INIT_INO` and
/// `PROC_PID_INIT_INO` of its proc_ns.h.
const FIRST_IPC: u64 = 0xEFFF_FFFF;
const FIRST_PID: u64 = 0xEFFF_FFFC;

pub(super) fn checks() -> Vec<Check> {
    let root = Path::new("/");
    let ipc = namespace(
        root,
        "ipc namespace",
        "ipc",
        FIRST_IPC,
        "channels of other namespaces, as those of the host, are not seen here: share it \
         (docker run --ipc=container:NAME), or run in that one (nsenter --ipc)",
    );
    let pid = namespace(
        root,
        "pid namespace",
        "pid",
        FIRST_PID,
        "processes of other namespaces have no number here, and are shown as `elsewhere`",
    );
    ipc.into_iter().chain(pid).chain([session(root, geteuid().as_raw())]).collect()
}

/// In which namespace this is; none where procfs does not say.
fn namespace(
    root: &Path,
    name: &'static str,
    kind: &str,
    first: u64,
    advice: &str,
) -> Option<Check> {
    let link = fs::read_link(root.join("proc/self/ns").join(kind)).ok()?;
    let link = link.to_str()?;
    let number: u64 =
        link.strip_prefix(kind)?.strip_prefix(":[")?.strip_suffix(']')?.parse().ok()?;
    Some(match number == first {
        true => Check::good(name, format!("{link}, the machine's own")),
        false => Check::notable(name, format!("{link}, one beside the machine's own"), advice),
    })
}

/// Whether systemd removes this user's objects when the last session ends.
fn session(root: &Path, uid: u32) -> Check {
    const NAME: &str = "RemoveIPC";
    if !root.join("run/systemd/system").exists() {
        return Check::good(NAME, "systemd does not run here");
    }
    if uid <= last_system_user(root) {
        return Check::good(
            NAME,
            format!("user {uid} is a system user, whose objects systemd leaves alone"),
        );
    }
    match remove_ipc(root) {
        false => Check::good(NAME, "no: systemd leaves objects alone when a session ends"),
        true => Check::notable(
            NAME,
            format!("yes: systemd removes what user {uid} has when the last session ends"),
            "run services as system users, or write [Login] and RemoveIPC=no into \
             /etc/systemd/logind.conf.d/ipc.conf",
        ),
    }
}

/// The highest number of a system user: 999, unless login.defs says otherwise.
fn last_system_user(root: &Path) -> u32 {
    let text = fs::read_to_string(root.join("etc/login.defs")).unwrap_or_default();
    let value = text.lines().find_map(|line| line.trim().strip_prefix("SYS_UID_MAX"));
    value.and_then(|value| value.trim().parse().ok()).unwrap_or(999)
}

/// What logind is told: its configuration, then the files beside it in the order of their names, of which
/// those in /etc replace those in /run, and these the distribution's. See logind.conf(5).
fn remove_ipc(root: &Path) -> bool {
    const PLACES: [&str; 4] =
        ["usr/lib/systemd", "usr/local/lib/systemd", "run/systemd", "etc/systemd"];
    let places = PLACES.map(|place| root.join(place));
    let main =
        places.iter().rev().map(|place| place.join("logind.conf")).find(|file| file.exists());
    let mut beside: BTreeMap<_, PathBuf> = BTreeMap::new();
    for place in &places {
        let Ok(entries) = fs::read_dir(place.join("logind.conf.d")) else { continue };
        for path in entries.flatten().map(|entry| entry.path()) {
            if path.extension().is_some_and(|extension| extension == "conf") {
                beside.insert(path.file_name().map(ToOwned::to_owned), path);
            }
        }
    }
    let files = main.into_iter().chain(beside.into_values());
    let said = files.filter_map(|file| setting(&fs::read_to_string(file).ok()?));
    // It is on unless something says no.
    said.fold(true, |_, says| says)
}

/// The last `RemoveIPC=` of a file, if it has one that says something.
fn setting(text: &str) -> Option<bool> {
    let values = text.lines().filter_map(|line| {
        let (key, value) = line.split_once('=')?;
        (key.trim() == "RemoveIPC").then(|| value.trim().to_lowercase())
    });
    let said = values.filter_map(|value| match value.as_str() {
        "no" | "n" | "false" | "f" | "off" | "0" => Some(false),
        "yes" | "y" | "true" | "t" | "on" | "1" => Some(true),
        _ => None,
    });
    said.fold(None, |_, says| Some(says))
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::super::Verdict;
    use super::*;

    fn machine(files: &[(&str, &str)]) -> TempDir {
        let root = TempDir::new().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        root
    }

    #[test]
    fn the_last_file_decides_what_systemd_removes() {
        let removes = |files: &[_]| remove_ipc(machine(files).path());
        let main = ("etc/systemd/logind.conf", "[Login]\n#RemoveIPC=no\n");
        let (no, yes) = ("[Login]\nRemoveIPC=no\n", "[Login]\nRemoveIPC = yes\n");
        assert!(removes(&[]));
        assert!(removes(&[main]));
        assert!(!removes(&[("etc/systemd/logind.conf", no)]));
        assert!(!removes(&[main, ("run/systemd/logind.conf.d/a.conf", no)]));
        assert!(removes(&[
            ("usr/lib/systemd/logind.conf.d/a.conf", no),
            ("etc/systemd/logind.conf.d/b.conf", yes)
        ]));
        // A file of the same name in /etc stands for the distribution's.
        assert!(removes(&[
            ("usr/lib/systemd/logind.conf.d/z.conf", no),
            ("etc/systemd/logind.conf.d/z.conf", "")
        ]));
        assert!(removes(&[("etc/systemd/logind.conf.d/a.txt", no)]));
    }

    #[test]
    fn services_lose_nothing_and_people_are_warned() {
        let verdict = |files: &[_], uid| session(machine(files).path(), uid).verdict;
        let systemd = ("run/systemd/system/x", "");
        let defs = ("etc/login.defs", "# SYS_UID_MAX 1\nSYS_UID_MAX\t\t  499\n");
        assert_eq!(verdict(&[], 1000), Verdict::Good);
        assert_eq!(verdict(&[systemd], 1000), Verdict::Notable);
        assert_eq!(verdict(&[systemd], 999), Verdict::Good);
        assert_eq!(verdict(&[systemd, defs], 999), Verdict::Notable);
        assert_eq!(
            verdict(&[systemd, ("etc/systemd/logind.conf", "RemoveIPC=0")], 1000),
            Verdict::Good
        );
    }

    #[test]
    fn a_container_is_told_from_the_machine() {
        let verdict = |number: u64| {
            let root = machine(&[("proc/self/ns/x", "")]);
            let link = root.path().join("proc/self/ns/ipc");
            std::os::unix::fs::symlink(format!("ipc:[{number}]"), link).unwrap();
            namespace(root.path(), "ipc namespace", "ipc", FIRST_IPC, "share it")
                .map(|check| check.verdict)
        };
        assert_eq!(verdict(4026531839), Some(Verdict::Good));
        assert_eq!(verdict(4026532001), Some(Verdict::Notable));
        let nowhere = machine(&[]);
        assert!(namespace(nowhere.path(), "ipc namespace", "ipc", FIRST_IPC, "").is_none());
    }
}
