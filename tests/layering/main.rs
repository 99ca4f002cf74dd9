//! The order of the house (docs/architecture.md): crates depend one way, rooms use only rooms before them, and no
//! file imports one that imports it.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)] // a failing test may panic

mod candle;
mod circles;
mod house;
mod rooms;
mod source;
mod tree;
mod workspace;

use std::collections::BTreeSet;

use circles::{Circle, circles, uses};
use house::{BANNED, CRATES, KNOWN, ROOMS};
use rooms::needs;
use tree::Tree;
use workspace::{Member, members};

#[test]
fn no_file_imports_one_that_imports_it() {
    let (mut found, mut met) = (String::new(), BTreeSet::new());
    for (member, tree) in trees() {
        for circle in circles(&uses(&tree)) {
            match KNOWN.iter().position(|(name, folder, _)| *name == member && is_in(&circle, folder)) {
                Some(known) => {
                    met.insert(known);
                }
                None => found += &format!("in {member}:\n{circle}"),
            }
        }
    }
    assert!(found.is_empty(), "circles of files\n{found}");
    let gone: Vec<_> = (0..KNOWN.len()).filter(|known| !met.contains(known)).map(|at| KNOWN[at]).collect();
    assert!(gone.is_empty(), "no circles any more, to be taken from the list: {gone:?}");
}

fn is_in(circle: &Circle, folder: &str) -> bool {
    circle.files.iter().all(|file| file.starts_with(folder))
}

/// A path that leads nowhere would hide what it uses.
#[test]
fn every_file_and_every_path_is_followed() {
    let members = members();
    for member in &members {
        let files = member.files();
        let trees = member.trees(&files, &names(&members));
        let is_stray = |file: &&str| trees.iter().all(|tree| tree.strays(&files).contains(file));
        let strays: Vec<&str> = files.keys().map(String::as_str).filter(is_stray).collect();
        assert!(strays.is_empty(), "{}: no module declares {strays:?}", member.name);
        for tree in &trees {
            let lost = lost(tree);
            assert!(lost.is_empty(), "{}: nothing at {}", member.name, lost.join(", "));
        }
    }
}

/// Paths of a crate that lead to nothing in it, and imports of all of its root, which would name every room.
fn lost(tree: &Tree) -> Vec<String> {
    let mut lost = Vec::new();
    for (number, module) in tree.modules.iter().enumerate() {
        let is_lost =
            |path: &&Vec<String>| tree.base(number, path).is_some() && tree.resolve(number, path).is_empty();
        let is_root = |path: &&Vec<String>| tree.base(number, path).is_some_and(|base| base == (0, &[]));
        let paths = module.source.paths.iter().filter(is_lost);
        let all = paths.chain(module.source.globs.iter().filter(is_root));
        lost.extend(all.map(|path| format!("{} ({})", path.join("::"), module.file)));
    }
    lost
}

#[test]
fn rooms_use_only_rooms_before_them() {
    let trees = trees();
    for (name, rooms) in ROOMS {
        // A crate that is to come has no rooms yet.
        for (_, tree) in trees.iter().filter(|(member, _)| member == name) {
            for (room, needs) in needs(tree) {
                let entry = rooms.iter().position(|entry| entry.name == room);
                let entry = entry.unwrap_or_else(|| panic!("{name}: {room} is not in the list of rooms"));
                let (before, room) = (&rooms[..entry], &rooms[entry]);
                for (other, file) in needs.rooms {
                    let is_before = before.iter().any(|entry| entry.name == other);
                    let is_allowed = room.rooms.contains(&other.as_str());
                    assert!(is_before && is_allowed, "{name}: {file} uses the room {other}");
                }
                for (other, file) in needs.crates {
                    assert!(room.crates.contains(&other.as_str()), "{name}: {file} uses the crate {other}");
                }
            }
        }
    }
}

#[test]
fn crates_use_only_crates_before_them() {
    let members = members();
    for member in &members {
        let place = CRATES.iter().position(|(name, _)| *name == member.name);
        let place = place.unwrap_or_else(|| panic!("{} is not in the list of crates", member.name));
        let (_, allowed) = CRATES[place];
        for other in member.packages.iter().filter(|name| names(&members).contains(&name.as_str())) {
            let is_before = CRATES[..place].iter().any(|(name, _)| name == other);
            assert!(is_before && allowed.contains(&other.as_str()), "{} depends on {other}", member.name);
        }
    }
}

#[test]
fn what_may_never_be_let_in_is_not() {
    let members = members();
    for (name, banned) in BANNED {
        for member in members.iter().filter(|member| member.name == *name) {
            for package in below(member, &members) {
                let is_banned = banned.iter().any(|prefix| package.starts_with(prefix));
                assert!(!is_banned, "{name} depends on {package}");
            }
        }
    }
}

/// The packages of a crate and of the workspace's crates that it depends on.
fn below<'m>(member: &'m Member, members: &'m [Member]) -> BTreeSet<&'m str> {
    let (mut found, mut open) = (BTreeSet::new(), vec![member]);
    while let Some(member) = open.pop() {
        for package in &member.packages {
            if found.insert(package.as_str()) {
                open.extend(members.iter().filter(|member| member.name == *package));
            }
        }
    }
    found
}

/// The modules of every crate, under its name.
fn trees() -> Vec<(String, Tree)> {
    let members = members();
    let of = |member: &Member| {
        let trees = member.trees(&member.files(), &names(&members));
        trees.into_iter().map(|tree| (member.name.clone(), tree)).collect::<Vec<_>>()
    };
    members.iter().flat_map(of).collect()
}

fn names(members: &[Member]) -> Vec<&str> {
    members.iter().map(|member| member.name.as_str()).collect()
}
