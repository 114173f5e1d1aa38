//! The named points in the library's code, as its sources name them.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use nix::sys::signal::{Signal, raise};

use crate::rounds::AFTER_HAND_OVER;

/// Points in the test's own values: within encoding and within decoding.
pub(crate) const IN_VALUES: [&str; 2] = ["value.encode", "value.decode"];

/// Every point that there is.
pub(crate) fn names() -> Vec<String> {
    let mut names = IN_VALUES.map(str::to_owned).to_vec();
    collect(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src")), &mut names);
    names.sort();
    names.dedup();
    for name in AFTER_HAND_OVER {
        assert!(names.iter().any(|known| known == name), "no point is called {name} any more");
    }
    names
}

fn collect(folder: &Path, names: &mut Vec<String>) {
    for entry in fs::read_dir(folder).expect("the sources are there") {
        let path = entry.expect("a file").path();
        if path.is_dir() {
            collect(&path, names);
            continue;
        }
        let source = fs::read_to_string(&path).expect("a source file");
        let found = source.split("point!(\"").skip(1).filter_map(|rest| rest.split('"').next());
        names.extend(found.filter(|name| name.contains('.')).map(str::to_owned));
    }
}

/// Where and when a victim ends itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Point {
    pub(crate) name: String,
    /// The first time that it comes by is 1.
    pub(crate) pass: u64,
}

/// Has this process end at the point.
pub(crate) fn arm(point: &Point) {
    let (passed, pass) = (AtomicU64::new(0), point.pass);
    fail::cfg_callback(&point.name, move || {
        if passed.fetch_add(1, Ordering::Relaxed) + 1 == pass {
            raise(Signal::SIGKILL).expect("a process may kill itself");
        }
    })
    .expect("a fail point");
}

/// Counts how often this process comes by each point.
pub(crate) struct Census(Arc<Mutex<BTreeMap<String, u64>>>);

impl Census {
    pub(crate) fn start() -> Self {
        let counts = Arc::new(Mutex::new(BTreeMap::new()));
        for name in names() {
            let (counts, point) = (counts.clone(), name.clone());
            fail::cfg_callback(name, move || {
                let mut counts = counts.lock().expect("nothing panics under it");
                *counts.entry(point.clone()).or_insert(0) += 1;
            })
            .expect("a fail point");
        }
        Census(counts)
    }

    /// Says the counts to the parent.
    pub(crate) fn report(self) {
        let counts = std::mem::take(&mut *self.0.lock().expect("nothing panics under it"));
        for (name, count) in counts {
            println!("point {name} {count}");
        }
    }
}
