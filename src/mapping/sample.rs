//! Small tables for tests.

use super::Table;

/// A table's text: head and root, then these lines.
pub(crate) fn text(lines: &str) -> String {
    let root = "[[root]]\nname = 'weights'\npath = ''\nprefix = ''\n";
    format!("family = 'tiny'\ndialect = 'test'\ndescription = 'for tests'\n{root}{lines}")
}

/// A table of these renaming rules.
pub(crate) fn rules(rules: &[(&str, &str)]) -> Table {
    let lines: String = rules
        .iter()
        .map(|(foreign, canonical)| format!("[[rule]]\nforeign = '{foreign}'\ncanonical = '{canonical}'\n"))
        .collect();
    Table::parse(&text(&lines), "test").unwrap()
}
