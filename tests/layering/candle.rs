//! The tensor library has one home, the reference: whoever else wants a tensor has an array.

use std::fs::{read_dir, read_to_string};
use std::path::{Path, PathBuf};

/// Folders with sources, tests and benches among them.
const FOLDERS: [&str; 8] =
    ["benches", "converters", "crates", "examples", "fuzz/src", "fuzz/fuzz_targets", "src", "tests"];

#[test]
fn candle_is_mentioned_in_the_reference_only() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let candle = ["candle", "core"];
    let folders = FOLDERS.iter().map(|folder| root.join(folder)).filter(|folder| folder.exists());
    let outside = folders.flat_map(|folder| sources(&folder));
    for file in outside.filter(|file| !file.starts_with(root.join("crates/engine/src/reference"))) {
        let text = read_to_string(&file).unwrap();
        assert!(!text.contains(&candle.join("_")), "{} knows candle", file.display());
    }
    let crates = read_dir(root.join("crates")).unwrap().map(|entry| entry.unwrap().path());
    let others = crates.filter(|folder| !folder.ends_with("engine"));
    for folder in others.chain([root.to_owned(), root.join("converters"), root.join("fuzz")]) {
        let manifest = read_to_string(folder.join("Cargo.toml")).unwrap();
        assert!(!manifest.contains(&candle.join("-")), "{} depends on candle", folder.display());
    }
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files
}
