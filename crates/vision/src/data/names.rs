//! Lists of class names: `classes.txt`, a name on each line.

use std::collections::HashSet;

use super::fault::{Fault, text};

/// The names in a list, one on each line; empty lines at the end do not count.
///
/// # Errors
/// The text is not UTF-8, a line between names is empty, a name comes twice.
pub fn parse(bytes: &[u8]) -> Result<Vec<String>, Fault> {
    let lines = text(bytes)?.trim_end().lines();
    checked(lines.map(|line| line.trim().to_owned()).collect())
}

/// The names, if each is there and different.
///
/// # Errors
/// A name is empty or comes twice.
pub fn checked(names: Vec<String>) -> Result<Vec<String>, Fault> {
    let mut seen = HashSet::new();
    for (index, name) in names.iter().enumerate() {
        if name.is_empty() {
            return Err(Fault::EmptyName(index + 1));
        }
        if !seen.insert(name) {
            return Err(Fault::NameTwice(name.clone()));
        }
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_read_as_any_editor_saves_them() {
        let list = "\u{feff}person\r\ntraffic light\r\n größe \r\n\r\n";
        assert_eq!(parse(list.as_bytes()).unwrap(), ["person", "traffic light", "größe"]);
        assert!(parse(b"").unwrap().is_empty());
        assert!(matches!(parse(b"a\n\nb\n"), Err(Fault::EmptyName(2))));
        assert!(matches!(parse(b"a\na\n"), Err(Fault::NameTwice(_))));
        let fault = parse(b"a\xff").unwrap_err();
        assert!(
            matches!(fault, Fault::Annotations { fault: crate::annotations::Fault::NotUtf8(1) }),
            "{fault}"
        );
    }
}
