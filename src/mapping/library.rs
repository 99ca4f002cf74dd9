//! Tables by name and from files: read, proved, and those that are built in, every
//! `mappings/<family>/<dialect>.toml`.

use std::borrow::Cow;
use std::io::Read;
use std::path::Path;
use std::sync::LazyLock;

use include_dir::{Dir, File, include_dir};

use super::document;
use super::fault::{TableError, TableFault};
use super::proof;
use super::table::Table;

impl Table {
    /// Reads a table and proves what can be proved of it without a network. `origin` is what messages call it.
    ///
    /// # Errors
    /// When the text is no table, or the table is not one-to-one.
    pub fn parse(text: &str, origin: &str) -> Result<Table, TableError> {
        let fail = |fault: TableFault| TableError { origin: origin.to_owned(), fault };
        let table = document::read(text, origin).map_err(fail)?;
        proof::prove(&table).map_err(fail)?;
        Ok(table)
    }

    /// The table of a file.
    ///
    /// # Errors
    /// When the file cannot be read, and as [`Table::parse`].
    pub fn open(path: &Path) -> Result<Table, TableError> {
        let origin = path.display().to_string();
        let fail = |fault: TableFault| TableError { origin: origin.clone(), fault };
        let text = read_file(path).map_err(|error| fail(error.into()))?;
        if text.len() > document::MAX_BYTES {
            return Err(fail(TableFault::TooLarge { what: "bytes", limit: document::MAX_BYTES }));
        }
        Table::parse(&text, &origin)
    }

    /// The shipped table of this name, `family/dialect`.
    pub fn shipped(name: &str) -> Option<&'static Table> {
        tables().iter().find(|table| table.name() == name)
    }

    /// The table of this name or in this file, and `None` when there is neither.
    ///
    /// # Errors
    /// When the file is no table.
    pub fn find(name: &str) -> Result<Option<Cow<'static, Table>>, TableError> {
        if let Some(table) = Table::shipped(name) {
            return Ok(Some(Cow::Borrowed(table)));
        }
        let path = Path::new(name);
        path.exists().then(|| Table::open(path).map(Cow::Owned)).transpose()
    }
}

/// The built-in tables, those of a family after one another, the dialect of the original first.
pub fn tables() -> &'static [Table] {
    &TABLES
}

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

/// The text of a file, as far as a table may be long and one byte more. Devices have no end and pipes wait.
fn read_file(path: &Path) -> std::io::Result<String> {
    if !std::fs::metadata(path)?.is_file() {
        return Err(std::io::Error::other("this is no regular file"));
    }
    let mut text = String::new();
    std::fs::File::open(path)?.take(document::MAX_BYTES as u64 + 1).read_to_string(&mut text)?;
    Ok(text)
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
