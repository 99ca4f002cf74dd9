//! The tables that are built in: `mappings/<family>/<dialect>.toml`.

use std::sync::LazyLock;

use super::table::Table;

macro_rules! shipped {
    ($($name:literal),+ $(,)?) => {
        [$(($name, include_str!(concat!("../../mappings/", $name, ".toml")))),+]
    };
}

/// Name and text of every table.
const TEXTS: [(&str, &str); 2] = shipped!["nanodet-plus/upstream", "nanodet-plus/jittor"];

/// A test reads each; one that cannot be read would be missing here.
static TABLES: LazyLock<Vec<Table>> =
    LazyLock::new(|| TEXTS.iter().filter_map(|(name, text)| Table::parse(text, name).ok()).collect());

/// The built-in tables, those of a family after one another, the dialect of the original first.
pub fn tables() -> &'static [Table] {
    &TABLES
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_table_is_read_and_named_like_its_file() {
        for (name, text) in TEXTS {
            let table = Table::parse(text, name).unwrap_or_else(|error| panic!("{error}"));
            assert_eq!(table.name(), name);
            assert!(!table.description().is_empty() && !table.source().is_empty());
        }
        assert_eq!(tables().len(), TEXTS.len());
    }
}
