//! What a module says: the names it has, the paths it mentions, the modules it declares. Tests are left out.

use std::collections::HashMap;

use proc_macro2::{TokenStream, TokenTree};
use syn::visit::{self, Visit};
use syn::{Attribute, Block, Ident, Item, ItemMod, ItemUse, Macro, Meta, UseTree};

/// The segments of a path, `crate`, `self` and `super` among them.
pub type Path = Vec<String>;

/// What a name of a module stands for.
#[derive(Debug, Clone)]
pub enum Name {
    /// Something that the module defines.
    Defined,
    /// What this path leads to.
    Imported(Path),
}

/// A module.
#[derive(Debug, Default)]
pub struct Source {
    pub names: HashMap<String, Vec<Name>>,
    /// Modules all of whose names are imported.
    pub globs: Vec<Path>,
    /// Every path in its imports and in its code.
    pub paths: Vec<Path>,
    /// Modules written inside.
    pub inside: Vec<(String, Source)>,
    /// Modules in files of their own.
    pub below: Vec<String>,
    /// The same, for tests alone.
    pub tests: Vec<String>,
    /// How many blocks the reader is in, where names belong to the block.
    blocks: usize,
}

/// Reads the text of a file.
pub fn read(text: &str) -> Source {
    let mut source = Source::default();
    source.visit_file(&syn::parse_file(text).unwrap());
    source
}

impl Source {
    fn import(&mut self, before: &[String], tree: &UseTree) {
        let joined = |ident: &Ident| before.iter().cloned().chain([text(ident)]).collect::<Path>();
        match tree {
            UseTree::Path(path) => self.import(&joined(&path.ident), &path.tree),
            UseTree::Group(group) => group.items.iter().for_each(|tree| self.import(before, tree)),
            UseTree::Name(name) if name.ident == "self" => self.imported(before.last(), before.to_vec()),
            UseTree::Name(name) => self.imported(Some(&text(&name.ident)), joined(&name.ident)),
            UseTree::Rename(name) if name.ident == "self" => {
                self.imported(Some(&text(&name.rename)), before.to_vec());
            }
            UseTree::Rename(name) => self.imported(Some(&text(&name.rename)), joined(&name.ident)),
            UseTree::Glob(_) => {
                self.paths.push(before.to_vec());
                self.globs.push(before.to_vec());
            }
        }
    }

    fn imported(&mut self, name: Option<&String>, path: Path) {
        if let Some(name) = name.filter(|name| *name != "_") {
            self.names.entry(name.clone()).or_default().push(Name::Imported(path.clone()));
        }
        self.paths.push(path);
    }
}

impl<'ast> Visit<'ast> for Source {
    fn visit_item(&mut self, item: &'ast Item) {
        let (name, attributes) = head(item);
        if attributes.iter().any(is_for_tests) {
            if let Item::Mod(ItemMod { ident, content: None, .. }) = item {
                self.tests.push(text(ident));
            }
            return;
        }
        if let Some(name) = name.filter(|_| self.blocks == 0) {
            self.names.entry(text(name)).or_default().push(Name::Defined);
        }
        visit::visit_item(self, item);
    }

    fn visit_item_mod(&mut self, module: &'ast ItemMod) {
        assert!(!module.attrs.iter().any(|one| one.path().is_ident("path")), "#[path] is not followed");
        let Some((_, items)) = &module.content else { return self.below.push(text(&module.ident)) };
        let mut inside = Source::default();
        items.iter().for_each(|item| inside.visit_item(item));
        self.inside.push((text(&module.ident), inside));
    }

    fn visit_item_use(&mut self, import: &'ast ItemUse) {
        self.import(&[], &import.tree);
    }

    fn visit_block(&mut self, block: &'ast Block) {
        self.blocks += 1;
        visit::visit_block(self, block);
        self.blocks -= 1;
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        self.paths.push(path.segments.iter().map(|segment| text(&segment.ident)).collect());
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, call: &'ast Macro) {
        self.visit_path(&call.path);
        scan(call.tokens.clone(), &mut self.paths);
    }

    fn visit_attribute(&mut self, attribute: &'ast Attribute) {
        if let Meta::List(list) = &attribute.meta {
            scan(list.tokens.clone(), &mut self.paths);
        }
    }
}

/// A name as it is looked up.
fn text(ident: &Ident) -> String {
    ident.to_string().trim_start_matches("r#").to_owned()
}

/// What an item defines, and its attributes.
fn head(item: &Item) -> (Option<&Ident>, &[Attribute]) {
    match item {
        Item::Const(item) => (Some(&item.ident), &item.attrs),
        Item::Enum(item) => (Some(&item.ident), &item.attrs),
        Item::Fn(item) => (Some(&item.sig.ident), &item.attrs),
        Item::Macro(item) => (item.ident.as_ref(), &item.attrs),
        Item::Static(item) => (Some(&item.ident), &item.attrs),
        Item::Struct(item) => (Some(&item.ident), &item.attrs),
        Item::Trait(item) => (Some(&item.ident), &item.attrs),
        Item::TraitAlias(item) => (Some(&item.ident), &item.attrs),
        Item::Type(item) => (Some(&item.ident), &item.attrs),
        Item::Union(item) => (Some(&item.ident), &item.attrs),
        Item::Impl(item) => (None, &item.attrs),
        Item::Mod(item) => (None, &item.attrs),
        Item::Use(item) => (None, &item.attrs),
        _ => (None, &[]),
    }
}

/// `#[cfg(test)]`, be it with other conditions.
fn is_for_tests(attribute: &Attribute) -> bool {
    let Meta::List(list) = &attribute.meta else { return false };
    let says = |word: &str| list.tokens.clone().into_iter().any(|token| mentions(&token, word));
    list.path.is_ident("cfg") && says("test") && !says("not")
}

fn mentions(token: &TokenTree, word: &str) -> bool {
    match token {
        TokenTree::Ident(ident) => ident == word,
        TokenTree::Group(group) => group.stream().into_iter().any(|token| mentions(&token, word)),
        _ => false,
    }
}

/// Paths of two segments or more in what a macro is given. Single names need no look: they were imported.
fn scan(tokens: TokenStream, found: &mut Vec<Path>) {
    let (mut path, mut colons) = (Path::new(), 0);
    for token in tokens {
        match token {
            TokenTree::Ident(ident) => {
                let before = if colons == 2 { Path::new() } else { std::mem::take(&mut path) };
                found.extend(Some(before).filter(|path| path.len() > 1));
                path.push(text(&ident));
                colons = 0;
            }
            TokenTree::Punct(punct) if punct.as_char() == ':' => colons += 1,
            other => {
                found.extend(Some(std::mem::take(&mut path)).filter(|path| path.len() > 1));
                if let TokenTree::Group(group) = other {
                    scan(group.stream(), found);
                }
            }
        }
    }
    found.extend(Some(path).filter(|path| path.len() > 1));
}
