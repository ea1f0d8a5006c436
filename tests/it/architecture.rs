//! Who may import whom, as a list; and that what is pure stays pure.

use std::fs;
use std::path::{Path, PathBuf};

/// In the order in which data flows: a module uses only those before it.
const ORDER: [&str; 17] = [
    "record",
    "signals",
    "call",
    "features",
    "risk",
    "alert",
    "pipeline",
    "evaluation",
    "simulation",
    "registry",
    "telemetry",
    "stream",
    "delivery",
    "http",
    "config",
    "cli",
    "main",
];

/// Modules that know no clock, no network, no disk and no unseeded chance.
const PURE: [&str; 9] = [
    "record",
    "signals",
    "call",
    "features",
    "risk",
    "alert",
    "pipeline",
    "evaluation",
    "simulation",
];
const IMPURE_WORDS: [&str; 7] = [
    "tokio",
    "rdkafka",
    "axum",
    "std::net",
    "SystemTime",
    "Instant::now",
    "rand::random",
];

fn sources(folder: &Path, into: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, into);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            into.push(path);
        }
    }
}

fn module_of(path: &Path) -> String {
    let part = path.strip_prefix("src").unwrap().components().next().unwrap();
    part.as_os_str().to_string_lossy().trim_end_matches(".rs").to_owned()
}

#[test]
fn modules_use_only_those_before_them() {
    let mut files = Vec::new();
    sources(Path::new("src"), &mut files);
    let mut wrong = Vec::new();
    for path in files {
        let own = module_of(&path);
        if own == "lib" {
            continue;
        }
        let place = ORDER
            .iter()
            .position(|name| *name == own)
            .unwrap_or_else(|| panic!("{own} has no place"));
        let text = fs::read_to_string(&path).unwrap();
        for later in &ORDER[place + 1..] {
            if text.contains(&format!("crate::{later}::")) || text.contains(&format!("crate::{later};")) {
                wrong.push(format!("{} uses {later}", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn what_is_pure_names_no_clock_and_no_io() {
    let mut files = Vec::new();
    for module in PURE {
        sources(&Path::new("src").join(module), &mut files);
    }
    for path in files {
        let text = fs::read_to_string(&path).unwrap();
        let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
        for word in IMPURE_WORDS {
            assert!(!code.contains(word), "{} names {word}", path.display());
        }
    }
}

#[test]
fn files_stay_short_enough_to_read() {
    let mut files = Vec::new();
    sources(Path::new("src"), &mut files);
    for path in files {
        let lines = fs::read_to_string(&path).unwrap().lines().count();
        assert!(
            lines <= 750,
            "{} has {lines} lines: cut it by its own nouns",
            path.display()
        );
    }
}
