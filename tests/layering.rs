//! Each room knows only the rooms before it (docs/architecture.md).

#![allow(clippy::unwrap_used)] // a failing test may panic

use std::path::{Path, PathBuf};

/// A room of `src/` and the rooms it may use.
const ROOMS: [(&str, &[&str]); 5] = [
    ("mapping", &[]),
    ("identify", &["mapping"]),
    ("detect", &[]),
    ("verify", &["identify", "detect"]),
    ("bench", &[]),
];

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files
}

#[test]
fn rooms_use_only_rooms_before_them() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    for entry in std::fs::read_dir(&root).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() {
            assert!(ROOMS.iter().any(|(room, _)| *room == name), "src/{name} is not in the list of rooms");
        }
    }
    for (room, allowed) in ROOMS {
        for file in sources(&root.join(room)) {
            let text = std::fs::read_to_string(&file).unwrap();
            // Ways around the check below.
            let roundabout = text.contains("use crate::{") || text.contains("super::super");
            assert!(!roundabout, "{} should name rooms as crate::ROOM", file.display());
            for (other, _) in ROOMS {
                let is_allowed = other == room || allowed.contains(&other);
                let uses = text.contains(&format!("crate::{other}"));
                assert!(is_allowed || !uses, "{} uses {other}", file.display());
            }
        }
    }
}

/// The first door is guarded by the compiler; this says what must never be let in.
#[test]
fn converters_know_no_networks_and_no_tensor_library() {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("converters/Cargo.toml");
    let manifest = std::fs::read_to_string(manifest).unwrap();
    let (dependencies, _) = manifest.split_once("[dev-dependencies]").unwrap();
    for banned in ["candle", "regex", "port"] {
        let names = dependencies.lines().filter_map(|line| line.split(['=', '.']).next());
        assert!(
            !names.into_iter().any(|name| name.trim().starts_with(banned)),
            "converters depends on {banned}"
        );
    }
}

/// Whoever else wants a tensor has an array.
#[test]
fn candle_is_mentioned_in_the_reference_only() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let candle = ["candle", "core"];
    let folders =
        ["benches", "converters", "crates", "examples", "fuzz/src", "fuzz/fuzz_targets", "src", "tests"];
    let sources = folders.iter().map(|folder| root.join(folder)).filter(|folder| folder.exists());
    let outside = sources.flat_map(|folder| self::sources(&folder));
    for file in outside.filter(|file| !file.starts_with(root.join("crates/engine/src/reference"))) {
        let text = std::fs::read_to_string(&file).unwrap();
        assert!(!text.contains(&candle.join("_")), "{} knows candle", file.display());
    }
    let crates = std::fs::read_dir(root.join("crates")).unwrap().map(|entry| entry.unwrap().path());
    let others = crates.filter(|folder| !folder.ends_with("engine"));
    for folder in others.chain([root.to_owned(), root.join("converters"), root.join("fuzz")]) {
        let manifest = std::fs::read_to_string(folder.join("Cargo.toml")).unwrap();
        assert!(!manifest.contains(&candle.join("-")), "{} depends on candle", folder.display());
    }
}
