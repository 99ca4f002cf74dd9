//! The bytes of a data set's files, within limits, and its list of classes.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use crate::data::{Category, Error};

/// The largest file of annotations read; COCO's own for 118,287 pictures has 449 MiB.
pub(super) const MAX_COCO_BYTES: u64 = 1 << 31;
/// The largest file read for one image, or list.
pub(super) const MAX_TEXT_BYTES: u64 = 64 << 20;

/// The bytes of a file of at most `limit`.
pub(super) fn bytes(file: &Path, limit: u64) -> Result<Vec<u8>, Error> {
    let io = |problem| Error::Io { file: file.to_owned(), problem };
    let mut bytes = Vec::new();
    File::open(file).map_err(io)?.take(limit + 1).read_to_end(&mut bytes).map_err(io)?;
    match bytes.len() as u64 > limit {
        true => Err(Error::TooLarge { file: file.to_owned(), limit }),
        false => Ok(bytes),
    }
}

/// The names in `classes.txt` beside the data, where there is one.
pub(super) fn class_list(root: &Path) -> Result<Option<Vec<String>>, Error> {
    let file = root.join("classes.txt");
    if !file.is_file() {
        return Ok(None);
    }
    let names = crate::data::names::parse(&bytes(&file, MAX_TEXT_BYTES)?);
    Ok(Some(names.map_err(|fault| Error::Content { file, fault })?))
}

/// Categories of these names, without ids.
pub(super) fn named(names: Vec<String>) -> Vec<Category> {
    names.into_iter().map(|name| Category { name, id: None }).collect()
}
