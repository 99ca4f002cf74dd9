//! Small tables for tests.

use super::{Table, TableError};

/// A table's text: head and root, then these lines.
pub(crate) fn text(lines: &str) -> String {
    let root = "[[root]]\nname = 'weights'\npath = ''\nprefix = ''\n";
    format!("family = 'tiny'\ndialect = 'test'\ndescription = 'for tests'\n{root}{lines}")
}

/// A table of these lines.
pub(crate) fn table(lines: &str) -> Result<Table, TableError> {
    Table::parse(&text(lines), "test")
}

/// A table of these renaming rules.
pub(crate) fn rules(rules: &[(&str, &str)]) -> Table {
    let lines: String = rules
        .iter()
        .map(|(foreign, canonical)| format!("[[rule]]\nforeign = '{foreign}'\ncanonical = '{canonical}'\n"))
        .collect();
    table(&lines).unwrap()
}
