//! `docs/adding-an-operator.md` against the sources.

use std::path::Path;

use crate::support::repository;

/// The variants of `Op`, by name.
fn operators(root: &Path) -> Vec<String> {
    let source = std::fs::read_to_string(root.join("crates/network/src/graph/op.rs")).unwrap();
    let (_, body) = source.split_once("pub enum Op {").unwrap();
    let (body, _) = body.split_once("\n}").unwrap();
    let variants =
        body.lines().filter_map(|line| line.strip_prefix("    ").filter(|line| !line.starts_with(' ')));
    let names = variants.map(|line| line.chars().take_while(char::is_ascii_alphanumeric).collect::<String>());
    names.filter(|name| name.starts_with(|letter: char| letter.is_ascii_uppercase())).collect()
}

fn sources(folder: &Path, found: &mut Vec<std::path::PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => sources(&path, found),
            false if path.extension().is_some_and(|extension| extension == "rs") => found.push(path),
            false => {}
        }
    }
}

/// Whether a source names an operator.
fn names(source: &str, operator: &str) -> bool {
    let mention = format!("Op::{operator}");
    let mut rests = source.match_indices(&mention).map(|(at, found)| &source[at + found.len()..]);
    rests.any(|rest| !rest.starts_with(|next: char| next.is_ascii_alphanumeric()))
}

/// Places in which some operators are named for what they are: what rewrites them, what their weights' order is, which
/// mistakes they are known for.
const SOME: [&str; 7] = [
    "crates/network/src/graph/cost.rs",
    "crates/network/src/graph/rewrite",
    "crates/engine/src/reference",
    "crates/engine/src/cpu",
    "crates/engine/src/lower",
    "crates/engine/src/store/layout.rs",
    "src/verify/diagnosis.rs",
];

#[test]
fn every_operator_stands_in_the_places_that_the_document_lists() {
    let root = repository();
    let document = std::fs::read_to_string(root.join("docs/adding-an-operator.md")).unwrap();
    let rows = document.lines().filter(|line| line.starts_with("| ") && line.contains(".rs`"));
    let places: Vec<&str> = rows.map(|row| row.split('`').nth(1).unwrap()).collect();
    assert_eq!(places.len(), 5);
    let operators = operators(&root);
    assert!(operators.len() > 20, "{operators:?}");
    for place in &places {
        let source = std::fs::read_to_string(root.join(place)).unwrap();
        for operator in operators.iter().filter(|operator| *operator != "Input") {
            assert!(names(&source, operator), "{place} does not name {operator}");
        }
    }
    let mut files = Vec::new();
    for folder in ["src", "crates", "converters"] {
        sources(&root.join(folder), &mut files);
    }
    for file in files {
        let path = file.strip_prefix(&root).unwrap().to_string_lossy().replace('\\', "/");
        let is_listed = places.contains(&path.as_str()) || SOME.iter().any(|place| path.starts_with(place));
        if !is_listed && !path.contains("/tests/") {
            let source = std::fs::read_to_string(&file).unwrap();
            let named = operators.iter().find(|operator| names(&source, operator));
            assert_eq!(named, None, "{path} names an operator");
        }
    }
}
