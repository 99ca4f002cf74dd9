//! The folder of the pictures: which there are, and what their heads say.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use super::Error;
use super::draft::Look;
use super::name;
use crate::pictures::{self, EXTENSIONS, PictureSize, read_picture_head};

/// Folders inside one another.
const MAX_DEPTH: usize = 8;
/// Files and folders in a data set; the largest public ones have nine million pictures.
const MAX_FILES: usize = 1 << 24;

/// The files of these extensions in a folder and those in it, as paths relative to it in their order. Folders that are
/// links are not entered; names that are no Unicode are passed over.
///
/// # Errors
/// A folder cannot be read, there are too many.
pub(super) fn listing(folder: &Path, extensions: &[&str]) -> Result<Vec<String>, Error> {
    let mut files = Vec::new();
    let mut folders = vec![(folder.to_owned(), String::new(), 0)];
    while let Some((path, prefix, depth)) = folders.pop() {
        let io = |problem| Error::Io { file: path.clone(), problem };
        for entry in std::fs::read_dir(&path).map_err(io)? {
            let entry = entry.map_err(io)?;
            let Ok(name) = entry.file_name().into_string() else { continue };
            let relative = format!("{prefix}{name}");
            if entry.file_type().map_err(io)?.is_dir() {
                folders.push((entry.path(), format!("{relative}/"), depth + 1));
            } else if has_extension(&name, extensions) && entry.path().is_file() {
                files.push(relative);
            }
        }
        if depth > MAX_DEPTH || files.len() + folders.len() > MAX_FILES {
            return Err(Error::TooMany { folder: folder.to_owned() });
        }
    }
    files.sort_unstable();
    Ok(files)
}

fn has_extension(name: &str, extensions: &[&str]) -> bool {
    let extension = name.rsplit_once('.').map(|(_, extension)| extension.to_lowercase());
    extension.is_some_and(|extension| extensions.contains(&extension.as_str()))
}

/// The pictures in a folder, by their names without extension.
pub(super) fn by_stem(folder: &Path) -> Result<BTreeMap<String, Vec<String>>, Error> {
    let mut stems: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for file in listing(folder, &EXTENSIONS)? {
        stems.entry(name::stem(&file).to_owned()).or_default().push(file);
    }
    Ok(stems)
}

/// Looks at the heads of pictures, on all cores.
pub(super) fn look(folder: &Path, files: Vec<String>) -> HashMap<String, Look> {
    let seen = files.into_par_iter().map(|file| (file.clone(), look_at(&folder.join(&file))));
    seen.collect()
}

fn look_at(file: &Path) -> Look {
    match read_picture_head(file) {
        Ok(head) => Look::Seen {
            size: PictureSize { width: head.width, height: head.height },
            is_turned: head.is_turned,
        },
        Err(pictures::Error::Io { problem, .. }) if problem.kind() == std::io::ErrorKind::NotFound => {
            Look::Missing
        }
        Err(error) => Look::Unreadable(error.to_string()),
    }
}

/// Images of a COCO file that are looked for to find their folder.
const TRIED: usize = 16;

/// The folder with the pictures of a COCO file: the first of the usual places that has one of the first images. For
/// `annotations/instances_val2017.json` these are its folder and the one above, and in each `images`, `JPEGImages`,
/// `val2017` and `images/val2017`.
pub(super) fn beside(annotations: &Path, files: &[String]) -> Option<PathBuf> {
    let folder = annotations.parent()?;
    let stem = annotations.file_stem()?.to_string_lossy();
    let split = stem.strip_prefix("instances_").unwrap_or(&stem);
    let places = ["".to_owned(), "images".to_owned(), "JPEGImages".to_owned(), split.to_owned()];
    let places = places.into_iter().chain([format!("images/{split}")]);
    let within =
        |folder: &Path, place: &str| if place.is_empty() { folder.to_owned() } else { folder.join(place) };
    let near = places.clone().map(|place| within(folder, &place));
    let above = places.map(|place| within(&folder.join(".."), &place));
    let has_one = |place: &PathBuf| files.iter().take(TRIED).any(|file| place.join(file).is_file());
    near.chain(above).find(has_one)
}
