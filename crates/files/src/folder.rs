//! A folder that appears whole or not at all.

use std::path::Path;

use crate::error::{Error, Fault, Result};
use crate::output::directory;

/// Fills a new folder beside `target`, and gives it that name when all went well. Folders above it are made; of its
/// own name there may be an empty one.
///
/// # Errors
/// Those of `fill`, and when the system refuses to make, replace or rename the folder.
pub fn fill_whole<T, E: From<Error>>(
    target: &Path,
    fill: impl FnOnce(&Path) -> std::result::Result<T, E>,
) -> std::result::Result<T, E> {
    let folder = temporary(directory(target))?;
    let filled = fill(folder.path())?;
    let at = |source| Error::new(target, Fault::Io(source));
    if target.exists() {
        std::fs::remove_dir(target).map_err(at)?;
    }
    std::fs::rename(folder.path(), target).map_err(at)?;
    // Nothing is left to clean up under the old name.
    drop(folder.keep());
    Ok(filled)
}

fn temporary(parent: &Path) -> Result<tempfile::TempDir> {
    let at = |source| Error::new(parent, Fault::Io(source));
    std::fs::create_dir_all(parent).map_err(at)?;
    let mut builder = tempfile::Builder::new();
    builder.prefix(".port-").suffix(".part");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        // The umask applies, as to any new folder.
        builder.permissions(std::fs::Permissions::from_mode(0o777));
    }
    builder.tempdir_in(parent).map_err(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_appears_whole_or_not_at_all() {
        let parent = tempfile::tempdir().unwrap();
        let target = parent.path().join("new/folder");
        let fault = || Error::new("x", Fault::NotRegularFile);
        assert!(
            fill_whole(&target, |folder| std::fs::write(folder.join("a"), "").map_err(|_| fault())).is_ok()
        );
        assert!(target.join("a").is_file());
        let failed = fill_whole(&parent.path().join("other"), |_| Err::<(), _>(fault()));
        assert!(matches!(failed.unwrap_err().fault(), Fault::NotRegularFile));
        assert!(fill_whole(&target, |_| Ok::<_, Error>(())).is_err(), "one that is full stays");
        let names = std::fs::read_dir(parent.path()).unwrap().map(|entry| entry.unwrap().file_name());
        assert_eq!(names.collect::<Vec<_>>(), ["new"]);
    }
}
