//! The tables that are built in: every `mappings/<family>/<dialect>.toml`.

use std::sync::LazyLock;

use include_dir::{Dir, File, include_dir};

use super::table::Table;

static FILES: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/mappings");

/// The dialect that comes first in its family: the original's own names.
const ORIGINAL: &str = "upstream";

/// Name and text of every table.
fn texts() -> Vec<(String, &'static str)> {
    let files = FILES.dirs().flat_map(Dir::files);
    let text = |file: &'static File<'static>| {
        let name = file.path().with_extension("").to_str()?.replace('\\', "/");
        Some((name, file.contents_utf8()?))
    };
    let mut texts: Vec<_> = files.filter_map(text).collect();
    texts.sort_by_cached_key(|(name, _)| {
        let (family, dialect) = name.split_once('/').unwrap_or((name, ""));
        (family.to_owned(), dialect != ORIGINAL, dialect.to_owned())
    });
    texts
}

/// A test reads each; one that cannot be read would be missing here.
static TABLES: LazyLock<Vec<Table>> =
    LazyLock::new(|| texts().iter().filter_map(|(name, text)| Table::parse(text, name).ok()).collect());

/// The built-in tables, those of a family after one another, the dialect of the original first.
pub fn tables() -> &'static [Table] {
    &TABLES
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_table_is_read_and_named_like_its_file() {
        let texts = texts();
        for (name, text) in &texts {
            let table = Table::parse(text, name).unwrap_or_else(|error| panic!("{error}"));
            assert_eq!(table.name(), *name);
            assert!(!table.description().is_empty() && !table.source().is_empty());
        }
        assert_eq!(tables().len(), texts.len());
        let folders = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/mappings")).unwrap();
        let files = folders.map(|folder| std::fs::read_dir(folder.unwrap().path()).unwrap().count());
        assert_eq!(tables().len(), files.sum::<usize>());
    }

    #[test]
    fn the_original_comes_first_in_its_family() {
        let mut families: Vec<&str> = tables().iter().map(Table::family).collect();
        families.dedup();
        for family in families {
            let first = tables().iter().find(|table| table.family() == family).unwrap();
            assert_eq!(first.dialect(), ORIGINAL);
        }
    }
}
