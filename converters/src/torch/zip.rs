//! The zip archive of PyTorch 1.6 and later: `<prefix>/data.pkl` names storages, `<prefix>/data/<key>` holds
//! their bytes. Jittor writes the same for `.pth`, with numbers as keys.

use std::collections::HashMap;
use std::sync::Arc;

use super::reference::StorageReference;
use crate::archive::{Archive, Entry};
use crate::checkpoint::{Checkpoint, Note};
use crate::dtype::Dtype;
use crate::error::{InFile, Problem, Result};
use crate::format::Format;
use crate::memory::Memory;
use crate::objects::{self, Referent, Storages, TypedStorage};
use crate::pickle::machine::Persistence;
use crate::pickle::node::Id;
use crate::pickle::{self, Pickle};
use crate::source::Source;
use crate::storage::Storage;

const PICKLE: &str = "data.pkl";

/// Reads a zip archive that has a `data.pkl`.
///
/// # Errors
/// When the archive, the pickle or a storage is damaged, hostile or of an unsupported kind.
pub(crate) fn read(source: &Source, archive: &Archive) -> Result<Checkpoint> {
    read_archive(source, archive).in_file(&source.path)
}

fn read_archive(source: &Source, archive: &Archive) -> std::result::Result<Checkpoint, Problem> {
    let (entry, prefix) = pickle_entry(archive)?;
    let has =
        |name: &str| archive.entries().iter().any(|entry| entry.name.strip_prefix(prefix) == Some(name));
    let is_script = has("constants.pkl");
    let format = if is_script { Format::TorchScript } else { Format::TorchZip };
    let content = archive.content(entry)?;
    let place = format!("record `{}`", entry.name);
    let mut memory = Memory::of_file(source.bytes.len());
    memory.take(archive.memory() + content.len(), || place.clone())?;
    let pickle = pickle::run(&content, &place, Persistence::Allowed, &mut memory)?;
    if pickle.len != content.len() {
        return Err(Problem::malformed(place, "bytes follow the end of the pickle"));
    }
    let big_endian = big_endian(archive, prefix)?;
    let mut storages = Records { archive, prefix, big_endian, known: HashMap::new() };
    let mut checkpoint = objects::read(&source.path, format, &pickle, memory, &mut storages)?;
    if is_script {
        let (name, reason) = ("constants.pkl".to_owned(), "constants of the compiled code".to_owned());
        checkpoint.notes.push(Note { name, reason });
    }
    Ok(checkpoint)
}

/// The only `data.pkl`, and the path of its folder: with two of them, two readers would see two checkpoints.
fn pickle_entry(archive: &Archive) -> std::result::Result<(&Entry, &str), Problem> {
    let entries = archive.entries().iter();
    let named = entries.filter_map(|entry| Some((entry, entry.name.strip_suffix(PICKLE)?)));
    let found: Vec<_> = named.filter(|(_, folder)| folder.is_empty() || folder.ends_with('/')).collect();
    match *found.as_slice() {
        [found] => Ok(found),
        _ => Err(Problem::malformed("the zip archive", "it has more than one data.pkl")),
    }
}

/// Files of PyTorch before 2.1 do not say; they were written on little-endian machines.
fn big_endian(archive: &Archive, prefix: &str) -> std::result::Result<bool, Problem> {
    let Some(entry) = archive.entry(&format!("{prefix}byteorder")) else {
        return Ok(false);
    };
    match &*archive.content(entry)? {
        b"little" => Ok(false),
        b"big" => Ok(true),
        _ => Err(Problem::malformed(
            format!("record `{}`", entry.name),
            "the byteorder is neither `little` nor `big`",
        )),
    }
}

/// The storages of an archive, each read once.
struct Records<'a> {
    archive: &'a Archive,
    prefix: &'a str,
    big_endian: bool,
    known: HashMap<String, (Arc<Storage>, Option<Dtype>)>,
}

impl Records<'_> {
    fn open(&self, reference: &StorageReference) -> std::result::Result<Arc<Storage>, Problem> {
        let name = format!("{}data/{}", self.prefix, reference.key);
        let entry = self.archive.entry(&name).ok_or_else(|| Problem::Missing {
            what: format!("record `{name}`"),
            wanted_by: "the pickle in data.pkl".to_owned(),
        })?;
        let storage = self.archive.storage(entry);
        match reference.byte_len() {
            Some(needs) if needs == storage.len() => Ok(Arc::new(storage)),
            Some(needs) if needs < storage.len() => Err(Problem::Contradiction {
                place: storage.place().to_owned(),
                says: format!("{needs} bytes"),
                but: format!("it has {}", storage.len()),
            }),
            needs => Err(Problem::Truncated {
                place: storage.place().to_owned(),
                needs: needs.unwrap_or(u64::MAX),
                has: storage.len(),
            }),
        }
    }
}

impl Storages for Records<'_> {
    fn resolve(&mut self, pickle: &Pickle, id: Id) -> std::result::Result<Referent, Problem> {
        let reference = StorageReference::read(pickle, id, &[5])?;
        let bytes = match self.known.get(&reference.key) {
            Some((_, dtype)) if *dtype != reference.dtype => {
                return Err(Problem::malformed(
                    format!("storage `{}`", reference.key),
                    "it is used with two element types",
                ));
            }
            Some((bytes, _)) => bytes.clone(),
            None => {
                let bytes = self.open(&reference)?;
                self.known.insert(reference.key, (bytes.clone(), reference.dtype));
                bytes
            }
        };
        let big_endian = self.big_endian;
        Ok(Referent::Storage(TypedStorage { bytes, dtype: reference.dtype, start: 0, big_endian }))
    }
}

/// What a zip archive is that has no `data.pkl`.
pub(crate) fn without_pickle(archive: &Archive) -> Problem {
    let names = || archive.entries().iter().map(|entry| &*entry.name);
    if names()
        .any(|name| name.ends_with("serialized_exported_program.json") || name.ends_with("archive_format"))
    {
        return Problem::unsupported(
            "the zip archive",
            "a program of torch.export (.pt2)",
            "save the weights with torch.save(program.state_dict, ...)",
        );
    }
    if archive.entries().is_empty() {
        return Problem::NoPickleRecord { contents: "nothing: it is empty".to_owned() };
    }
    let extensions = [".pth", ".pt", ".ckpt", ".pkl", ".safetensors", ".onnx", ".bin", ".npz", ".npy"];
    let likely = |name: &&str| extensions.iter().any(|extension| name.ends_with(extension));
    let found: Vec<_> =
        names().filter(likely).chain(names()).take(3).map(|name| format!("`{name}`")).collect();
    Problem::NoPickleRecord { contents: found.join(", ") }
}
