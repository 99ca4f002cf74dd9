//! The stream that `torch.save` wrote before PyTorch 1.6: five pickles (magic number, protocol version, system
//! information, objects, list of storage keys), then for each key an element count and the elements.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use num_bigint::BigInt;

use super::reference::{StorageReference, key_text};
use crate::checkpoint::Checkpoint;
use crate::error::{InFile, Problem, Result};
use crate::format::Format;
use crate::memory::{Memory, hashed};
use crate::objects::{self, Referent, Storages, TypedStorage};
use crate::pickle::machine::Persistence;
use crate::pickle::node::{Id, Node};
use crate::pickle::{self, Pickle};
use crate::source::Source;
use crate::storage::Storage;

/// `torch/serialization.py`, MAGIC_NUMBER.
const MAGIC: u128 = 0x1950_a86a_20f9_469c_fc6c;
/// `torch/serialization.py`, PROTOCOL_VERSION.
const VERSION: i64 = 1001;
/// The first pickle is shorter than this at every protocol.
const MAGIC_PICKLE_LEN: usize = 64;

/// Whether the first pickle is the magic number.
pub(crate) fn recognises(bytes: &Bytes) -> bool {
    let head = bytes.slice(..bytes.len().min(MAGIC_PICKLE_LEN));
    let memory = &mut Memory::of_file(head.len());
    let magic = pickle::run(&head, "the magic number", Persistence::Forbidden, memory);
    magic.is_ok_and(|magic| match magic.node(magic.root) {
        Node::BigInt(number) => **number == BigInt::from(MAGIC),
        _ => false,
    })
}

/// Reads a file for which [`recognises`] holds.
///
/// # Errors
/// When a pickle is malformed or hostile, a storage is missing or cut, or the version is another.
pub(crate) fn read(source: &Source) -> Result<Checkpoint> {
    read_stream(source).in_file(&source.path)
}

fn read_stream(source: &Source) -> std::result::Result<Checkpoint, Problem> {
    let memory = Memory::of_file(source.bytes.len());
    let mut stream = Stream { bytes: source.bytes.clone(), at: 0, memory };
    stream.pickle("the magic number")?;
    let version = stream.pickle("the protocol version")?;
    if version.node(version.root).int() != Some(VERSION) {
        return Err(Problem::unsupported(
            "the protocol version",
            "a version other than 1001",
            "load it with the PyTorch that wrote it and save it again",
        ));
    }
    stream.pickle("the system information")?;
    let pickle = stream.pickle("the objects' pickle")?;
    let keys = stream.pickle("the list of storages")?;
    let mut blocks = Blocks { storages: stream.storages(source, &pickle, &keys)? };
    objects::read(&source.path, Format::TorchLegacy, &pickle, stream.memory, &mut blocks)
}

struct Stream {
    bytes: Bytes,
    at: usize,
    memory: Memory,
}

impl Stream {
    fn pickle(&mut self, place: &str) -> std::result::Result<Pickle, Problem> {
        let pickle =
            pickle::run(&self.bytes.slice(self.at..), place, Persistence::Allowed, &mut self.memory)?;
        self.at += pickle.len;
        Ok(pickle)
    }

    fn take(&mut self, len: u64, place: &str) -> std::result::Result<Bytes, Problem> {
        let has = (self.bytes.len() - self.at) as u64;
        if len > has {
            return Err(Problem::Truncated { place: place.to_owned(), needs: len, has });
        }
        let end = self.at + len as usize;
        let bytes = self.bytes.slice(self.at..end);
        self.at = end;
        Ok(bytes)
    }

    fn array<const N: usize>(&mut self, place: &str) -> std::result::Result<[u8; N], Problem> {
        let truncated = || Problem::Truncated {
            place: place.to_owned(),
            needs: N as u64,
            has: (self.bytes.len() - self.at) as u64,
        };
        let array = self.bytes.get(self.at..).and_then(|rest| rest.first_chunk()).copied();
        let array = array.ok_or_else(truncated)?;
        self.at += N;
        Ok(array)
    }

    /// The element blocks after the pickles, in the order of the key list. Their element types stand only in
    /// the references of the objects' pickle.
    fn storages(
        &mut self,
        source: &Source,
        pickle: &Pickle,
        keys: &Pickle,
    ) -> std::result::Result<HashMap<String, Arc<Storage>>, Problem> {
        let wanted = references(pickle, &mut self.memory)?;
        let Node::List(keys_in_order) = keys.node(keys.root) else {
            return Err(Problem::malformed("the list of storages", "it is not a list"));
        };
        let mut storages = HashMap::new();
        for key in keys_in_order {
            let key = key_text(keys, *key)
                .ok_or_else(|| Problem::malformed("the list of storages", "a key is not a text"))?;
            let place = format!("storage `{key}`");
            let reference = wanted.get(&key).ok_or_else(|| Problem::Missing {
                what: format!("a tensor of {place}"),
                wanted_by: "the list of storages".to_owned(),
            })?;
            let count = i64::from_le_bytes(self.array(&place)?);
            if u64::try_from(count) != Ok(reference.elements) {
                return Err(Problem::Contradiction {
                    place,
                    says: format!("{} elements", reference.elements),
                    but: format!("its block counts {count}"),
                });
            }
            let block = self.take(reference.byte_len().unwrap_or(u64::MAX), &place)?;
            let entry = size_of::<Storage>() + hashed::<(String, Arc<Storage>)>() + 2 * key.len();
            self.memory.take(entry, || place.clone())?;
            storages.insert(key, Arc::new(Storage::raw(source.path.clone(), place, block)));
        }
        if self.at != self.bytes.len() {
            return Err(Problem::malformed("the end of the file", "bytes follow the last storage"));
        }
        Ok(storages)
    }
}

/// The lengths that references had: without and with view metadata.
const ARITIES: [usize; 2] = [5, 6];

/// The storage references of a pickle by key.
fn references(
    pickle: &Pickle,
    memory: &mut Memory,
) -> std::result::Result<HashMap<String, StorageReference>, Problem> {
    let mut references: HashMap<String, StorageReference> = HashMap::new();
    for node in &pickle.nodes {
        let Node::Persistent(id) = node else { continue };
        let tag = pickle.tuple(*id).first().and_then(|tag| pickle.node(*tag).text());
        if tag.as_deref() == Some("module") {
            continue;
        }
        let reference = StorageReference::read(pickle, *id, &ARITIES)?;
        match references.get(&reference.key) {
            Some(known) if (known.dtype, known.elements) != (reference.dtype, reference.elements) => {
                return Err(Problem::malformed(
                    format!("storage `{}`", reference.key),
                    "it is used with two element types or sizes",
                ));
            }
            Some(_) => {}
            None => {
                let entry = hashed::<(String, StorageReference)>() + 2 * reference.key.len();
                memory.take(entry, || format!("storage `{}`", reference.key))?;
                references.insert(reference.key.clone(), reference);
            }
        }
    }
    Ok(references)
}

struct Blocks {
    storages: HashMap<String, Arc<Storage>>,
}

impl Storages for Blocks {
    fn resolve(&mut self, pickle: &Pickle, id: Id) -> std::result::Result<Referent, Problem> {
        let reference = StorageReference::read(pickle, id, &ARITIES)?;
        let bytes = self.storages.get(&reference.key).ok_or_else(|| Problem::Missing {
            what: format!("storage `{}`", reference.key),
            wanted_by: "the objects' pickle".to_owned(),
        })?;
        let (start, size) = reference.window.unwrap_or((0, reference.elements));
        if start.checked_add(size).is_none_or(|end| end > reference.elements) {
            return Err(Problem::OutOfRange {
                place: format!("a view of storage `{}`", reference.key),
                reach: format!("{size} elements from {start}, of {}", reference.elements),
            });
        }
        // The elements are little-endian whatever machine wrote them.
        let storage = TypedStorage { bytes: bytes.clone(), dtype: reference.dtype, start, big_endian: false };
        Ok(Referent::Storage(storage))
    }
}
