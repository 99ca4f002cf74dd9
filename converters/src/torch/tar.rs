//! The tar archive of PyTorch 0.1: `storages` and `tensors` hold descriptions between pickles, `pickle` the
//! objects, which refer to tensors by number.

use std::collections::HashMap;
use std::io::Cursor;
use std::sync::Arc;

use bytes::Bytes;

use super::reference::{dtype, key_text};
use crate::checkpoint::Checkpoint;
use crate::dtype::Dtype;
use crate::error::{InFile, Problem, Result};
use crate::format::Format;
use crate::memory::{Memory, hashed};
use crate::objects::{self, Referent, Storages};
use crate::pickle::globals::Meaning;
use crate::pickle::machine::Persistence;
use crate::pickle::node::{Id, Node};
use crate::pickle::{self, Pickle};
use crate::source::Source;
use crate::storage::Storage;
use crate::tensor::{Change, View};

/// Reads a tar archive.
///
/// # Errors
/// When a member is missing, cut or malformed.
pub(crate) fn read(source: &Source) -> Result<Checkpoint> {
    read_members(source).in_file(&source.path)
}

fn read_members(source: &Source) -> std::result::Result<Checkpoint, Problem> {
    let members = members(&source.bytes)?;
    let member = |name: &str| {
        members.get(name).cloned().ok_or_else(|| Problem::NotACheckpoint {
            found: format!("the tar archive has no member `{name}`"),
            remedy: "extract the archive and open the checkpoint inside",
        })
    };
    let mut memory = Memory::of_file(source.bytes.len());
    let storages = read_storages(source, Member::new("member `storages`", member("storages")?, &mut memory))?;
    let views = read_tensors(&storages, Member::new("member `tensors`", member("tensors")?, &mut memory))?;
    let pickle = Member::new("member `pickle`", member("pickle")?, &mut memory).pickle()?;
    objects::read(&source.path, Format::TorchTar, &pickle, memory, &mut Tensors { views })
}

/// The members' contents, as slices of the file.
fn members(bytes: &Bytes) -> std::result::Result<HashMap<String, Bytes>, Problem> {
    let corrupt = || Problem::malformed("the tar archive", "a header cannot be read");
    let mut members = HashMap::new();
    let mut archive = ::tar::Archive::new(Cursor::new(&**bytes));
    for entry in archive.entries().map_err(|_| corrupt())? {
        let entry = entry.map_err(|_| corrupt())?;
        let name = entry.path().map_err(|_| corrupt())?.to_string_lossy().into_owned();
        let (start, len) = (entry.raw_file_position(), entry.size());
        let has = bytes.len() as u64;
        let Some(end) = start.checked_add(len).filter(|end| *end <= has) else {
            let place = format!("member `{name}`");
            return Err(Problem::Truncated { place, needs: len, has: has.saturating_sub(start) });
        };
        members.insert(name.trim_start_matches("./").to_owned(), bytes.slice(start as usize..end as usize));
    }
    Ok(members)
}

/// A member that alternates between pickles and plain numbers.
struct Member<'a> {
    place: &'static str,
    bytes: Bytes,
    at: usize,
    memory: &'a mut Memory,
}

impl<'a> Member<'a> {
    fn new(place: &'static str, bytes: Bytes, memory: &'a mut Memory) -> Self {
        Member { place, bytes, at: 0, memory }
    }

    fn pickle(&mut self) -> std::result::Result<Pickle, Problem> {
        let pickle =
            pickle::run(&self.bytes.slice(self.at..), self.place, Persistence::Allowed, self.memory)?;
        self.at += pickle.len;
        Ok(pickle)
    }

    /// Pays for an entry of the table that is read, and for what it refers to.
    fn take_memory<T>(&mut self, key: &str, more: usize) -> std::result::Result<(), Problem> {
        self.memory.take(hashed::<(String, T)>() + 2 * key.len() + more, || self.place.to_owned())
    }

    fn count(&mut self) -> std::result::Result<u64, Problem> {
        let pickle = self.pickle()?;
        let count = pickle.node(pickle.root).int().and_then(|count| u64::try_from(count).ok());
        count.ok_or_else(|| Problem::malformed(self.place, "it does not begin with a count"))
    }

    fn take(&mut self, len: u64) -> std::result::Result<Bytes, Problem> {
        let has = (self.bytes.len() - self.at) as u64;
        if len > has {
            return Err(Problem::Truncated { place: self.place.to_owned(), needs: len, has });
        }
        let end = self.at + len as usize;
        let bytes = self.bytes.slice(self.at..end);
        self.at = end;
        Ok(bytes)
    }

    fn array<const N: usize>(&mut self) -> std::result::Result<[u8; N], Problem> {
        let has = self.bytes.len() - self.at;
        let array = self.bytes.get(self.at..).and_then(|rest| rest.first_chunk()).copied();
        self.at += N.min(has);
        let (place, needs, has) = (self.place.to_owned(), N as u64, has as u64);
        array.ok_or(Problem::Truncated { place, needs, has })
    }

    fn number(&mut self) -> std::result::Result<u64, Problem> {
        u64::try_from(i64::from_le_bytes(self.array()?))
            .map_err(|_| Problem::malformed(self.place, "a size, stride or offset is negative"))
    }
}

/// A storage or a window of one.
#[derive(Clone)]
struct Window {
    storage: Arc<Storage>,
    dtype: Dtype,
    start: u64,
}

/// Count, then for each storage the pickle `(key, location, class)`, the element count and the elements; last
/// a pickled list of windows `(key, key of the whole, offset, size)`.
fn read_storages(
    source: &Source,
    mut member: Member,
) -> std::result::Result<HashMap<String, Window>, Problem> {
    let mut storages = HashMap::new();
    for _ in 0..member.count()? {
        let pickle = member.pickle()?;
        let &[key, _location, class] = pickle.tuple(pickle.root) else {
            return Err(Problem::malformed(member.place, "a storage is no tuple of three"));
        };
        let key = key_text(&pickle, key).ok_or_else(|| no_key(member.place))?;
        let dtype = dtype(&pickle, class, &key)?.unwrap_or(Dtype::U8);
        let len = member.number()?.saturating_mul(dtype.size() as u64);
        let block = member.take(len)?;
        member.take_memory::<Window>(&key, size_of::<Storage>())?;
        let storage = Storage::raw(source.path.clone(), format!("storage `{key}`"), block);
        storages.insert(key, Window { storage: storage.into(), dtype, start: 0 });
    }
    let views = member.pickle()?;
    let Node::List(items) = views.node(views.root) else {
        return Err(Problem::malformed(member.place, "the views of storages are no list"));
    };
    for item in items {
        let window = window(&views, *item, &storages);
        let (key, window) =
            window.ok_or_else(|| Problem::malformed(member.place, "a view of a storage is malformed"))?;
        member.take_memory::<Window>(&key, 0)?;
        storages.insert(key, window);
    }
    Ok(storages)
}

fn window(views: &Pickle, item: Id, storages: &HashMap<String, Window>) -> Option<(String, Window)> {
    let &[key, whole, offset, _size] = views.tuple(item) else {
        return None;
    };
    let whole = storages.get(&key_text(views, whole)?)?;
    let offset = u64::try_from(views.node(offset).int()?).ok()?;
    let start = whole.start.checked_add(offset)?;
    Some((key_text(views, key)?, Window { start, ..whole.clone() }))
}

/// Count, then for each tensor the pickle `(key, storage key, class)`, the number of dimensions (in 4 of 8
/// bytes), sizes, strides and offset.
fn read_tensors(
    storages: &HashMap<String, Window>,
    mut member: Member,
) -> std::result::Result<HashMap<String, View>, Problem> {
    let mut views = HashMap::new();
    for _ in 0..member.count()? {
        let pickle = member.pickle()?;
        let corrupt = |rule| Problem::malformed("member `tensors`", rule);
        let &[key, storage, class] = pickle.tuple(pickle.root) else {
            return Err(corrupt("a tensor is no tuple of three"));
        };
        if pickle.meaning(class) != Some(Meaning::LegacyTensor) {
            return Err(corrupt("a tensor's class is no tensor class"));
        }
        let key = key_text(&pickle, key).ok_or_else(|| no_key(member.place))?;
        let storage = key_text(&pickle, storage).ok_or_else(|| no_key(member.place))?;
        let window = storages.get(&storage).ok_or_else(|| Problem::Missing {
            what: format!("storage `{storage}`"),
            wanted_by: format!("tensor {key}"),
        })?;
        // Their number, and four bytes that say nothing.
        let [a, b, c, d, ..] = member.array::<8>()?;
        let mut numbers = || -> std::result::Result<Vec<u64>, Problem> {
            (0..u32::from_le_bytes([a, b, c, d])).map(|_| member.number()).collect()
        };
        let shape = numbers()?.into_iter().map(|size| size as usize).collect();
        let strides = numbers()?;
        let start = member.number()?.saturating_add(window.start);
        let place = format!("tensor {key}");
        let bytes = window.storage.clone();
        let view = View::strided(&place, bytes, window.dtype, shape, strides, start, Change::default())?;
        member.take_memory::<View>(&key, view.memory())?;
        views.insert(key, view);
    }
    Ok(views)
}

fn no_key(place: &str) -> Problem {
    Problem::malformed(place, "a key is neither short text nor a number")
}

struct Tensors {
    views: HashMap<String, View>,
}

impl Storages for Tensors {
    fn resolve(&mut self, pickle: &Pickle, id: Id) -> std::result::Result<Referent, Problem> {
        let key = key_text(pickle, id).ok_or_else(|| no_key("the objects' pickle"))?;
        let view = self.views.get(&key).cloned().ok_or_else(|| Problem::Missing {
            what: format!("tensor {key}"),
            wanted_by: "the objects' pickle".to_owned(),
        })?;
        Ok(Referent::Tensor(view))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is wrong with an archive of one storage of one element and nothing else.
    fn problem(key: &[u8], views: &[u8]) -> String {
        let storage = [b"(", key, b"Nctorch\nFloatStorage\nt."].concat();
        let content = [b"I1\n.", &*storage, &1_i64.to_le_bytes(), &[0; 4], views].concat();
        let mut header = ::tar::Header::new_ustar();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        let mut archive = ::tar::Builder::new(Vec::new());
        archive.append_data(&mut header, "storages", &*content).unwrap();
        let bytes = archive.into_inner().unwrap().into();
        read(&Source { path: std::path::Path::new("made.tar").into(), bytes }).unwrap_err().to_string()
    }

    #[test]
    fn keys_and_views_of_storages_are_what_they_should_be() {
        assert!(problem(b"I7\n", b"].").contains("no member `tensors`"));
        assert!(problem(b"N", b"].").contains("a key is neither short text nor a number"));
        assert!(problem(b"I7\n", b"}.").contains("the views of storages are no list"));
    }
}
