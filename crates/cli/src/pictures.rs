//! Which pictures a user means: files, and the pictures in folders.

use std::path::{Path, PathBuf};

use crate::failure::Result;

use super::outcome::Usage;
use vision::pictures::{EXTENSIONS, Error};

/// The pictures at `paths`, in their order; those of a folder (not of folders in it) sorted by name.
///
/// # Errors
/// A path that does not exist, a folder without pictures.
pub(super) fn pictures(paths: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for path in paths {
        match path.is_dir() {
            true => files.extend(in_folder(path)?),
            false => files.push(path.clone()),
        }
    }
    Ok(files)
}

fn in_folder(folder: &Path) -> Result<Vec<PathBuf>> {
    let io = |problem| Error::Io { file: folder.to_owned(), problem };
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(io)? {
        let path = entry.map_err(io)?.path();
        if is_picture(&path) {
            files.push(path);
        }
    }
    if files.is_empty() {
        let message = format!("{}: no pictures ({}) in this folder", folder.display(), EXTENSIONS.join(", "));
        return Err(Usage(message).into());
    }
    files.sort();
    Ok(files)
}

fn is_picture(path: &Path) -> bool {
    let extension = path.extension().map(|extension| extension.to_string_lossy().to_lowercase());
    extension.is_some_and(|extension| EXTENSIONS.contains(&extension.as_str())) && path.is_file()
}
