//! What two processors share, as sysfs says it.
//!
//! Bulk through a ring depends on it: to write lines that another core still holds in an L2 of its own is
//! dear, and two threads of one core show nothing of that.

use std::fs;

use serde_json::{Value, json};

/// A cache of a processor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cache {
    level: u8,
    kind: String,
    size: String,
    /// Which processors it serves.
    shared: Vec<usize>,
}

impl Cache {
    /// How it is called: of the first level there are two.
    fn name(&self) -> String {
        match &*self.kind {
            "Data" => format!("L{}d", self.level),
            "Instruction" => format!("L{}i", self.level),
            _ => format!("L{}", self.level),
        }
    }
}

/// The caches of a processor, nearest first; empty where the kernel does not say.
pub fn caches(processor: usize) -> Vec<Cache> {
    let folder = format!("/sys/devices/system/cpu/cpu{processor}/cache");
    let read = |index: usize, file: &str| {
        let text = fs::read_to_string(format!("{folder}/index{index}/{file}")).ok()?;
        Some(text.trim().to_owned())
    };
    let cache = |index| {
        Some(Cache {
            level: read(index, "level")?.parse().ok()?,
            kind: read(index, "type")?,
            size: read(index, "size")?,
            shared: list(&read(index, "shared_cpu_list")?),
        })
    };
    (0..).map_while(cache).filter(|cache| cache.kind != "Instruction").collect()
}

/// Whether the two share a cache of this level; `None` where the kernel does not say.
pub fn share(one: usize, other: usize, level: u8) -> Option<bool> {
    let cache = caches(one).into_iter().find(|cache| cache.level == level)?;
    Some(cache.shared.contains(&other))
}

/// A line that says what there is, and what the two have in common.
pub fn describe(one: usize, other: usize) -> String {
    let caches = caches(one);
    if caches.is_empty() {
        return format!("processors {one} and {other}; the kernel names no caches");
    }
    let all: Vec<String> =
        caches.iter().map(|cache| format!("{} {}", cache.name(), cache.size)).collect();
    let common: Vec<String> = caches
        .iter()
        .filter(|cache| cache.shared.contains(&other))
        .map(|cache| cache.name())
        .collect();
    let common = if common.is_empty() { "none".to_owned() } else { common.join(", ") };
    format!("processors {one} and {other}: {}; in common: {common}", all.join(", "))
}

/// The same as JSON.
pub fn json(one: usize, other: usize) -> Value {
    let caches: Vec<Value> = caches(one)
        .iter()
        .map(|cache| {
            let shared = cache.shared.contains(&other);
            json!({ "name": cache.name(), "size": cache.size, "shared": shared })
        })
        .collect();
    json!({ "processors": [one, other], "caches": caches })
}

/// The numbers in a list as the kernel writes it, such as `0-3,8`.
fn list(text: &str) -> Vec<usize> {
    let range = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        Some(first.trim().parse().ok()?..=last.trim().parse().ok()?)
    };
    text.split(',').filter_map(range).flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_lists_are_read() {
        assert_eq!(list("0-3,8\n"), [0, 1, 2, 3, 8]);
        assert_eq!(list("7"), [7]);
        assert!(list("").is_empty());
    }
}
