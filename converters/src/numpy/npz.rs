//! `.npz`: a zip archive whose records `NAME.npy` are array files, stored or deflated.

use crate::archive::{Archive, Entry};
use crate::checkpoint::{Checkpoint, Note};
use crate::error::{ErrorClass, InFile, Problem, Result};
use crate::format::Format;
use crate::numpy::npy::{Array, MAX_HEADER};
use crate::source::Source;
use crate::tensor::{Tensor, View};
use crate::value::{Dict, Key, Value};

const EXTENSION: &str = ".npy";

/// Whether the archive has array files.
pub(crate) fn recognises(archive: &Archive) -> bool {
    archive.entries().iter().any(|entry| entry.name.ends_with(EXTENSION))
}

/// Reads an archive for which [`recognises`] holds. Arrays of objects or text, and other records, are noted.
///
/// # Errors
/// When a record is damaged or no array of numbers is there.
pub(crate) fn read(source: &Source, archive: &Archive) -> Result<Checkpoint> {
    let mut tensors = Vec::new();
    let mut notes = Vec::new();
    for entry in archive.entries() {
        let Some(name) = entry.name.strip_suffix(EXTENSION) else {
            notes.push(Note { name: entry.name.clone(), reason: "a record that is no array".to_owned() });
            continue;
        };
        match view(archive, entry) {
            Ok(view) => tensors.push(Tensor::new(vec![Key::Text(name.to_owned())], view)),
            Err(problem) if problem.class() == ErrorClass::Unsupported => {
                notes.push(Note { name: name.to_owned(), reason: problem.to_string() });
            }
            Err(problem) => return Err(problem).in_file(&source.path),
        }
    }
    if tensors.is_empty() {
        return Err(Problem::NoTensors).in_file(&source.path);
    }
    let mut checkpoint = Checkpoint::flat(&source.path, Format::Npz, tensors, Value::Dict(Dict::default()))?;
    checkpoint.notes = notes;
    Ok(checkpoint)
}

fn view(archive: &Archive, entry: &Entry) -> std::result::Result<View, Problem> {
    let storage = archive.storage(entry);
    let place = storage.place().to_owned();
    let mut head = Vec::new();
    storage.stream::<Problem>(0, storage.len().min(MAX_HEADER as u64), &mut |chunk| {
        head.extend_from_slice(chunk);
        Ok(())
    })?;
    Array::parse(&place, &head)?.view(&place, storage)
}
