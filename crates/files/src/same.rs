//! Whether two paths are one file: what a command asks before it writes beside what it reads.

use std::path::{Path, PathBuf};

/// Whether both paths lead to one file, through links and whether or not it is there yet.
///
/// Hard links to one file count as two: [`crate::write_whole`] replaces a name and leaves the others as they are.
pub fn is_same(one: &Path, other: &Path) -> bool {
    place(one) == place(other)
}

/// Whether `path` leads to the same file as one of `others`.
pub fn is_among<P: AsRef<Path>>(path: &Path, others: impl IntoIterator<Item = P>) -> bool {
    let wanted = place(path);
    others.into_iter().any(|other| place(other.as_ref()) == wanted)
}

/// Where a path leads: the real path of what is there, or the name in the real path of its folder. Equal exactly when
/// [`is_same`] holds, so that many can be compared as a set.
pub fn place(path: &Path) -> PathBuf {
    if let Ok(real) = path.canonicalize() {
        return real;
    }
    match (path.parent(), path.file_name()) {
        (Some(parent), Some(name)) if parent == Path::new("") => place(Path::new(".")).join(name),
        (Some(parent), Some(name)) => place(parent).join(name),
        _ => path.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_the_same_by_every_path() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::create_dir(at("inner")).unwrap();
        std::fs::write(at("a"), "").unwrap();
        std::fs::write(at("b"), "").unwrap();
        assert!(is_same(&at("a"), &at("inner/../a")));
        assert!(!is_same(&at("a"), &at("b")));
        assert!(is_among(&at("b"), [at("a"), at("./b")]));
        assert!(!is_among(&at("b"), [at("a")]));
    }

    #[test]
    fn a_file_that_is_not_there_yet_is_the_same_by_every_path() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::create_dir(at("inner")).unwrap();
        assert!(is_same(&at("new"), &at("inner/../new")));
        assert!(is_same(&at("no/folder/new"), &at("inner/../no/folder/new")));
        assert!(!is_same(&at("new"), &at("other")));
        let working = std::env::current_dir().unwrap();
        assert!(is_same(Path::new("no such file"), &working.join("no such file")));
    }

    #[cfg(unix)]
    #[test]
    fn links_are_followed() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::write(at("a"), "").unwrap();
        std::os::unix::fs::symlink(at("a"), at("link")).unwrap();
        std::os::unix::fs::symlink(folder.path(), at("folder")).unwrap();
        assert!(is_same(&at("a"), &at("link")));
        assert!(is_same(&at("folder/new"), &at("new")));
    }
}
