//! The rooms use each other in one direction only.
#![allow(missing_docs, clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};

/// Every room, and the rooms that it may use.
const ROOMS: [(&str, &[&str]); 21] = [
    ("kernels", &[]),
    ("image", &["kernels"]),
    ("inference", &["kernels", "image"]),
    ("face", &["kernels", "image", "inference"]),
    ("gallery", &["kernels", "inference", "face"]),
    ("decision", &["face", "gallery"]),
    (
        "pipeline",
        &["image", "inference", "face", "gallery", "decision"],
    ),
    ("challenge", &[]),
    (
        "access",
        &[
            "face",
            "gallery",
            "decision",
            "pipeline",
            "challenge",
            "subject",
        ],
    ),
    ("enrolment", &["face", "gallery"]),
    ("event", &[]),
    ("command", &[]),
    ("subject", &[]),
    ("config", &["image", "access", "subject"]),
    ("camera", &["image"]),
    ("store", &["config", "event", "gallery", "face", "subject"]),
    ("door", &["config"]),
    ("mqtt", &["config", "event"]),
    (
        "setup",
        &[
            "access",
            "camera",
            "challenge",
            "command",
            "config",
            "inference",
            "face",
            "gallery",
            "decision",
            "door",
            "pipeline",
            "store",
        ],
    ),
    (
        "daemon",
        &[
            "access",
            "camera",
            "challenge",
            "command",
            "config",
            "decision",
            "door",
            "enrolment",
            "event",
            "face",
            "gallery",
            "image",
            "mqtt",
            "pipeline",
            "setup",
            "store",
        ],
    ),
    (
        "cli",
        &[
            "camera",
            "command",
            "config",
            "daemon",
            "door",
            "enrolment",
            "face",
            "gallery",
            "image",
            "inference",
            "mqtt",
            "setup",
            "store",
        ],
    ),
];

fn sources(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    entries
        .flat_map(|path| {
            if path.is_dir() {
                sources(&path)
            } else {
                vec![path]
            }
        })
        .filter(|path| path.extension().is_some_and(|e| e == "rs"))
        .collect()
}

#[test]
fn rooms_use_only_those_before_them() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut checked = 0;
    for path in sources(&src) {
        let inside = path.strip_prefix(&src).unwrap();
        let first = inside
            .components()
            .next()
            .unwrap()
            .as_os_str()
            .to_str()
            .unwrap();
        let room = first.trim_end_matches(".rs");
        if ["main", "lib"].contains(&room) {
            continue;
        }
        let allowed = ROOMS.iter().find(|(name, _)| *name == room);
        let (_, allowed) = allowed.unwrap_or_else(|| panic!("{room} is no known room"));
        let text = fs::read_to_string(&path).unwrap();
        for (i, line) in text.lines().enumerate() {
            for (at, _) in line.match_indices("crate::") {
                let rest = &line[at + "crate::".len()..];
                let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_');
                let used = &rest[..end.unwrap_or(rest.len())];
                let known = ROOMS.iter().any(|(name, _)| *name == used);
                let fine = used == room || !known || allowed.contains(&used);
                assert!(
                    fine,
                    "{}:{}: {room} must not use {used}",
                    inside.display(),
                    i + 1
                );
                checked += 1;
            }
        }
    }
    assert!(checked > 50, "the walk found only {checked} uses");
}
