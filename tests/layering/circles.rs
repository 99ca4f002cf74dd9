//! Files that import each other, directly or by way of others.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use crate::tree::{Target, Tree};

/// What a file uses of another one.
pub type Uses = BTreeMap<(String, String), BTreeSet<String>>;

/// Files that are tied to each other, with what ties them.
#[derive(Debug)]
pub struct Circle {
    pub files: BTreeSet<String>,
    uses: Uses,
}

/// Which file uses what of which, where it is defined.
pub fn uses(tree: &Tree) -> Uses {
    let mut uses = Uses::new();
    for (number, module) in tree.modules.iter().enumerate() {
        for target in module.source.paths.iter().flat_map(|path| tree.resolve(number, path)) {
            let Target::Item(home, name) = target else { continue };
            let (from, to) = (&module.file, &tree.modules[home].file);
            if from != to {
                uses.entry((from.clone(), to.clone())).or_default().insert(name);
            }
        }
    }
    uses
}

/// The circles among the files.
pub fn circles(uses: &Uses) -> Vec<Circle> {
    let files: BTreeSet<&String> = uses.keys().flat_map(|(from, to)| [from, to]).collect();
    let reached: BTreeMap<&String, BTreeSet<&String>> =
        files.iter().map(|file| (*file, reach(uses, file))).collect();
    let mut found: Vec<Circle> = Vec::new();
    for file in files {
        let back = |other: &&String| reached[*other].contains(file);
        let circle: BTreeSet<String> = reached[file].iter().copied().filter(back).cloned().collect();
        if !circle.is_empty() && !found.iter().any(|known| known.files == circle) {
            let is_inside = |(from, to): &(String, String)| circle.contains(from) && circle.contains(to);
            let uses = uses.iter().filter(|(ends, _)| is_inside(ends));
            let uses = uses.map(|(ends, names)| (ends.clone(), names.clone())).collect();
            found.push(Circle { files: circle, uses });
        }
    }
    found
}

/// The files that can be reached from this one in one step or more.
fn reach<'u>(uses: &'u Uses, file: &String) -> BTreeSet<&'u String> {
    let next = |file: &String| -> Vec<&'u String> {
        uses.keys().filter(|(from, _)| from == file).map(|(_, to)| to).collect()
    };
    let (mut reached, mut open) = (BTreeSet::new(), next(file));
    while let Some(file) = open.pop() {
        if reached.insert(file) {
            open.extend(next(file));
        }
    }
    reached
}

impl std::fmt::Display for Circle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for ((from, to), names) in &self.uses {
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            writeln!(f, "  {from} uses {} of {to}", names.join(", "))?;
        }
        f.write_char('\n')
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::Files;

    fn tree(files: &[(&str, &str)]) -> Tree {
        let files: Files =
            files.iter().map(|(file, text)| ((*file).to_owned(), (*text).to_owned())).collect();
        Tree::new(&files, "lib.rs", &["other"])
    }

    /// The files of each circle.
    fn found(files: &[(&str, &str)]) -> Vec<String> {
        let circles = circles(&uses(&tree(files))).into_iter();
        circles.map(|circle| circle.files.into_iter().collect::<Vec<_>>().join(" ")).collect()
    }

    #[test]
    fn a_list_of_imports_ties_files() {
        let lib = ("lib.rs", "mod a; mod b; mod c;");
        let b = ("b.rs", "pub struct B; pub fn of(_: crate::c::C) {}");
        let c = ("c.rs", "pub struct C(super::a::A);");
        assert_eq!(
            found(&[lib, ("a.rs", "use crate::{b::{self, B}, c}; pub struct A;"), b, c]),
            ["a.rs b.rs c.rs"]
        );
        assert_eq!(found(&[lib, ("a.rs", "use crate::b; pub struct A;"), b, c]), [""; 0]);
    }

    /// What is named by way of `mod.rs` counts where it is defined, under whatever name.
    #[test]
    fn imports_are_followed_through_re_exports() {
        let lib = ("lib.rs", "mod room; pub use room::Graph as Drawing;");
        let face = ("room/mod.rs", "mod ir; mod op; mod two; pub use ir::Graph; pub use two::*;");
        let ir = ("room/ir.rs", "use super::op::Op; pub struct Graph(Op);");
        let two = ("room/two.rs", "pub struct Two;");
        for used in ["crate::room::Graph", "super::Graph", "crate::Drawing"] {
            let op = format!("use {used}; pub struct Op;");
            assert_eq!(
                found(&[lib, face, ir, ("room/op.rs", &op), two]),
                ["room/ir.rs room/op.rs"],
                "{used}"
            );
        }
        let op = ("room/op.rs", "pub struct Op(crate::room::Two);");
        assert_eq!(found(&[lib, face, ir, op, two]), [""; 0]);
        let two = ("room/two.rs", "pub struct Two; fn of() { vec![crate::room::Graph::new()] }");
        assert_eq!(found(&[lib, face, ir, op, two]), ["room/ir.rs room/op.rs room/two.rs"]);
    }

    #[test]
    fn files_that_only_list_modules_are_in_no_circle() {
        let face = ("room/mod.rs", "mod a; pub use a::{A, of};");
        assert_eq!(
            found(&[("lib.rs", "mod room;"), face, ("room/a.rs", "pub struct A; pub fn of() {}")]),
            [""; 0]
        );
        let does = ("room/mod.rs", "mod a; pub struct Own; fn of() { a::of() }");
        let a = ("room/a.rs", "use super::Own; pub fn of() {}");
        assert_eq!(found(&[("lib.rs", "mod room;"), does, a]), ["room/a.rs room/mod.rs"]);
    }

    #[test]
    fn tests_tie_nothing() {
        let lib = ("lib.rs", "mod a; mod b; #[cfg(test)] mod sample;");
        let a = ("a.rs", "pub struct A; #[cfg(test)] mod tests { use super::*; use crate::b::B; }");
        let b = ("b.rs", "use crate::a::A; pub struct B(A); #[cfg(test)] fn of() -> crate::sample::S {}");
        let sample = ("sample.rs", "use crate::b::B; pub struct S;");
        assert_eq!(found(&[lib, a, b, sample]), [""; 0]);
    }

    #[test]
    fn paths_of_other_crates_lead_out_and_local_names_do_not() {
        let a = "use other::thing::T; use std::fmt; mod other2 {} fn of(other: u8) -> u8 { other }";
        let tree =
            tree(&[("lib.rs", "mod a; mod b;"), ("a.rs", a), ("b.rs", "fn of(other: u8) -> u8 { other }")]);
        let crates = |room: &str| crate::rooms::needs(&tree)[room].crates.len();
        assert_eq!((crates("a"), crates("b")), (1, 0));
    }

    #[test]
    fn the_message_names_what_ties() {
        let files = [
            ("lib.rs", "mod a; mod b;"),
            ("a.rs", "use crate::b::{B, C as D}; pub struct A;"),
            ("b.rs", "pub struct B(crate::a::A); pub struct C;"),
        ];
        let message = circles(&uses(&tree(&files)))[0].to_string();
        assert_eq!(message, "  a.rs uses B, C of b.rs\n  b.rs uses A of a.rs\n\n");
    }
}
