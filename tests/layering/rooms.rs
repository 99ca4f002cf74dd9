//! The rooms of a crate, which are the modules of its root, and what each uses.

use std::collections::{BTreeMap, BTreeSet};

use crate::tree::{Target, Tree};

/// What a room uses: rooms of its own crate and crates of the workspace, each with a file that does.
#[derive(Debug, Default)]
pub struct Needs {
    pub rooms: BTreeMap<String, String>,
    pub crates: BTreeMap<String, String>,
}

/// What every room uses.
pub fn needs(tree: &Tree) -> BTreeMap<String, Needs> {
    let mut all: BTreeMap<String, Needs> = BTreeMap::new();
    for (number, module) in tree.modules.iter().enumerate() {
        let Some(room) = tree.room(number) else { continue };
        let needs = all.entry(room.to_owned()).or_default();
        for path in &module.source.paths {
            let rooms = named(tree, number, path).into_iter().filter(|other| other != room);
            needs.rooms.extend(rooms.map(|other| (other, module.file.clone())));
            let crates = tree.resolve(number, path).into_iter().filter_map(|target| match target {
                Target::Crate(name) => Some(name),
                _ => None,
            });
            needs.crates.extend(crates.map(|name| (name, module.file.clone())));
        }
    }
    all
}

/// The rooms that a path names: the one behind the root, or the home of what the root hands on.
fn named(tree: &Tree, from: usize, path: &[String]) -> BTreeSet<String> {
    let Some((0, [name, ..])) = tree.base(from, path) else { return BTreeSet::new() };
    if let Some(room) = tree.child(0, name).and_then(|child| tree.room(child)) {
        return [room.to_owned()].into();
    }
    let homes = tree.resolve(from, path).into_iter().filter_map(|target| match target {
        Target::Item(module, _) | Target::Module(module) => tree.room(module),
        Target::Crate(_) => None,
    });
    homes.map(str::to_owned).collect()
}
