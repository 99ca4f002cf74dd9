//! The modules of a crate, as its files declare them, and what a path in one of them leads to.

use std::collections::{BTreeMap, HashMap, HashSet};

use crate::source::{Name, Source, read};

/// Texts of files by their paths below `src`.
pub type Files = BTreeMap<String, String>;

/// A module.
#[derive(Debug)]
pub struct Module {
    /// Its file below `src`.
    pub file: String,
    parent: Option<usize>,
    children: HashMap<String, usize>,
    pub source: Source,
}

/// All modules but those of tests. The first is the crate's root.
#[derive(Debug)]
pub struct Tree {
    pub modules: Vec<Module>,
    /// Names of crates that its paths may begin with.
    crates: HashSet<String>,
    /// Files of tests.
    tests: HashSet<String>,
}

/// What a path leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// A module.
    Module(usize),
    /// What the module of this number defines under this name.
    Item(usize, String),
    /// Another crate of the workspace.
    Crate(String),
}

impl Tree {
    /// The modules below `root`, one of the files; `crates` are those of the workspace.
    pub fn new(files: &Files, root: &str, crates: &[&str]) -> Tree {
        let crates = crates.iter().map(|name| (*name).to_owned()).collect();
        let mut tree = Tree { modules: Vec::new(), crates, tests: HashSet::new() };
        tree.grow(files, None, root, "", read(&files[root]));
        tree
    }

    /// Adds a module of `file` whose own modules lie in `folder`.
    fn grow(
        &mut self,
        files: &Files,
        parent: Option<usize>,
        file: &str,
        folder: &str,
        mut source: Source,
    ) -> usize {
        let (inside, below) = (std::mem::take(&mut source.inside), std::mem::take(&mut source.below));
        let place = |name: &String| {
            let places = [format!("{folder}{name}.rs"), format!("{folder}{name}/mod.rs")];
            places.into_iter().find(|place| files.contains_key(place))
        };
        self.tests.extend(source.tests.iter().filter_map(place));
        let number = self.modules.len();
        self.modules.push(Module { file: file.to_owned(), parent, children: HashMap::new(), source });
        for name in below {
            let place = place(&name).unwrap_or_else(|| panic!("{file}: no file for the module {name}"));
            let source = read(&files[&place]);
            let child = self.grow(files, Some(number), &place, &format!("{folder}{name}/"), source);
            self.modules[number].children.insert(name, child);
        }
        for (name, source) in inside {
            let child = self.grow(files, Some(number), file, &format!("{folder}{name}/"), source);
            self.modules[number].children.insert(name, child);
        }
        number
    }

    /// Files that no module declares.
    pub fn strays<'f>(&self, files: &'f Files) -> Vec<&'f str> {
        let is_module = |file: &str| self.modules.iter().any(|module| module.file == *file);
        let folders =
            || self.tests.iter().map(|file| file.trim_end_matches("mod.rs").trim_end_matches(".rs"));
        let is_test = |file: &str| self.tests.contains(file) || folders().any(|one| file.starts_with(one));
        files.keys().map(String::as_str).filter(|file| !is_module(file) && !is_test(file)).collect()
    }

    /// What a path in a module leads to, through imports; nothing for what is none of the workspace's.
    pub fn resolve(&self, from: usize, path: &[String]) -> Vec<Target> {
        self.walk(from, path, &mut HashSet::new())
    }

    /// The module that the keywords at the beginning of a path stand for, and the rest; `None` without keywords.
    pub fn base<'p>(&self, from: usize, path: &'p [String]) -> Option<(usize, &'p [String])> {
        let keywords =
            path.iter().take_while(|one| ["crate", "self", "super"].contains(&one.as_str())).count();
        let (keywords, rest) = path.split_at(keywords);
        let step = |module: usize, keyword: &String| match keyword.as_str() {
            "crate" => Some(0),
            "super" => self.modules[module].parent,
            _ => Some(module),
        };
        let base = keywords.iter().try_fold(from, step);
        base.filter(|_| !keywords.is_empty()).map(|module| (module, rest))
    }

    /// The module of this name in another one.
    pub fn child(&self, module: usize, name: &str) -> Option<usize> {
        self.modules[module].children.get(name).copied()
    }

    /// The root's module that this one is, or lies in; `None` for the root itself.
    pub fn room(&self, module: usize) -> Option<&str> {
        let parent = self.modules[module].parent?;
        if parent != 0 {
            return self.room(parent);
        }
        let rooms = self.modules[0].children.iter();
        rooms.filter(|(_, room)| **room == module).map(|(name, _)| name.as_str()).next()
    }

    fn walk(&self, from: usize, path: &[String], seen: &mut HashSet<(usize, String)>) -> Vec<Target> {
        if let Some((module, rest)) = self.base(from, path) {
            return self.named(module, rest, seen);
        }
        let found = self.named(from, path, seen);
        match path {
            // A name alone may be a variable.
            [name, _, ..] if found.is_empty() && self.crates.contains(name) => {
                vec![Target::Crate(name.clone())]
            }
            _ => found,
        }
    }

    fn named(&self, module: usize, path: &[String], seen: &mut HashSet<(usize, String)>) -> Vec<Target> {
        let [name, rest @ ..] = path else { return vec![Target::Module(module)] };
        // An import of a crate's item under the crate's name would lead to itself.
        if !seen.insert((module, name.clone())) {
            return Vec::new();
        }
        let Module { children, source, .. } = &self.modules[module];
        let mut found = children.get(name).map(|child| self.named(*child, rest, seen)).unwrap_or_default();
        // Behind the name of a module and of something else is what the module has.
        if found.is_empty() || rest.is_empty() {
            for meaning in source.names.get(name).into_iter().flatten() {
                match meaning {
                    Name::Defined => found.push(Target::Item(module, name.clone())),
                    Name::Imported(path) => found.extend(self.walk(module, &[path, rest].concat(), seen)),
                }
            }
        }
        if found.is_empty() {
            found = source.globs.iter().flat_map(|glob| self.through(module, glob, path, seen)).collect();
        }
        seen.remove(&(module, name.clone()));
        found
    }

    /// What `path` is in the module all of whose names are imported.
    fn through(
        &self,
        module: usize,
        glob: &[String],
        path: &[String],
        seen: &mut HashSet<(usize, String)>,
    ) -> Vec<Target> {
        let sources = self.walk(module, glob, seen);
        let in_source = |source| match source {
            Target::Module(source) => self.named(source, path, seen),
            _ => Vec::new(),
        };
        sources.into_iter().flat_map(in_source).collect()
    }
}
