//! What the objects of a pickle mean: tensors, arrays, modules, plain data, or inert records.
//!
//! [`read`] walks from the root and turns every path to a tensor into an entry of the checkpoint. Shared
//! objects are visited once per path, so the number of visits is limited, and so is the depth.

mod array;
mod module;
mod rebuild;

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt::Write;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;

use crate::checkpoint::{Checkpoint, Collector, Global};
use crate::dtype::Dtype;
use crate::error::Problem;
use crate::format::Format;
use crate::limits;
use crate::memory::{Memory, grown, hashed};
use crate::pickle::Pickle;
use crate::pickle::globals::Meaning;
use crate::pickle::node::{Id, Node, Object};
use crate::storage::Storage;
use crate::tensor::{Tensor, View};
use crate::value::{Dict, Dotted, Key, Record, Spelling, Value};

/// The field of a record whose state is not made of attributes.
const STATE: &str = "state";

/// What a persistent reference stands for.
pub(crate) enum Referent {
    /// Elements beside the pickle.
    Storage(TypedStorage),
    /// A whole tensor: files of PyTorch 0.1.
    Tensor(View),
}

/// A storage and how a tensor has to read it.
#[derive(Debug, Clone)]
pub(crate) struct TypedStorage {
    pub(crate) bytes: Arc<Storage>,
    /// The element type, or `None` for untyped bytes.
    pub(crate) dtype: Option<Dtype>,
    /// First element: non-zero for views of PyTorch before 0.4.
    pub(crate) start: u64,
    /// Whether words are stored most significant byte first.
    pub(crate) big_endian: bool,
}

/// The storages beside a pickle.
pub(crate) trait Storages {
    /// What the persistent reference whose argument is node `id` stands for.
    fn resolve(&mut self, pickle: &Pickle, id: Id) -> Result<Referent, Problem>;
}

/// Pickles that stand alone.
pub(crate) struct NoStorages;

impl Storages for NoStorages {
    fn resolve(&mut self, _: &Pickle, _: Id) -> Result<Referent, Problem> {
        Err(Problem::malformed("the pickle", "it refers to a storage, but nothing lies beside it"))
    }
}

/// Turns the objects of `pickle`, whose memory has been paid from `memory`, into a checkpoint.
///
/// # Errors
/// When a tensor's description is malformed or leaves its storage, its kind is not supported, or the objects
/// exceed a limit.
pub(crate) fn read(
    file: &Arc<Path>,
    format: Format,
    pickle: &Pickle,
    memory: Memory,
    storages: &mut dyn Storages,
) -> Result<Checkpoint, Problem> {
    let mut reader = Reader {
        file,
        pickle,
        storages,
        collector: Collector::default(),
        views: HashMap::new(),
        arrays: HashMap::new(),
        visits: 0,
        text_bytes: 0,
        memory,
    };
    let document = reader.value(pickle.root, &mut Vec::new(), 0)?;
    let Collector { tensors, notes } = reader.collector;
    let globals = pickle.globals.iter();
    let globals = globals
        .map(|global| Global { name: global.name.clone(), opaque: global.meaning == Meaning::Unknown });
    let checkpoint = Checkpoint {
        path: file.to_path_buf(),
        format,
        tensors,
        document,
        header: Value::Dict(Dict::default()),
        globals: globals.collect(),
        notes,
        unchecked: None,
    };
    if checkpoint.tensors.is_empty() {
        return Err(Problem::NoTensors);
    }
    Ok(checkpoint)
}

struct Reader<'a> {
    file: &'a Arc<Path>,
    pickle: &'a Pickle,
    storages: &'a mut dyn Storages,
    collector: Collector,
    /// Tensors by node: a tied weight is one view under two names.
    views: HashMap<Id, Tensorlike>,
    /// Array bytes by node.
    arrays: HashMap<Id, Arc<Storage>>,
    visits: usize,
    text_bytes: usize,
    memory: Memory,
}

/// What an object is that stands where a tensor may stand.
#[derive(Debug, Clone)]
enum Tensorlike {
    Tensor(View),
    /// Like a tensor, but without data or with elements that are no numbers; and why.
    Skipped(String),
}

impl Tensorlike {
    /// Memory that copies of it take beside their own structure.
    fn memory(&self) -> usize {
        match self {
            Tensorlike::Tensor(view) => view.memory(),
            Tensorlike::Skipped(reason) => 2 * reason.len(),
        }
    }
}

/// Memory for an entry of a dictionary, and beside it while repeated keys are looked for.
const ENTRY: usize = size_of::<(Value, Value)>();
const ENTRY_SEARCH: usize = grown::<(Value, Key, Id)>() + hashed::<(Key, usize)>();
/// Memory for a tensor or a note in the list of them, and in the check for repeated names.
const LEAF: usize = grown::<Tensor>() + hashed::<(&str, &Tensor)>();

impl<'a> Reader<'a> {
    /// The value of node `id`; tensors below it are collected under `path`.
    fn value(&mut self, id: Id, path: &mut Vec<Key>, depth: usize) -> Result<Value, Problem> {
        self.visit(path, depth)?;
        let pickle = self.pickle;
        Ok(match pickle.node(id) {
            Node::None => Value::None,
            Node::Bool(truth) => Value::Bool(*truth),
            Node::Int(number) => Value::Int(*number),
            Node::BigInt(number) => {
                self.take_memory(number.bits() as usize / 8, path)?;
                Value::BigInt((**number).clone())
            }
            Node::Float(number) => Value::Float(*number),
            Node::Text(text) => self.text(text, path)?,
            Node::ByteString(text) if text.is_ascii() => self.text(text, path)?,
            Node::Bytes(bytes) | Node::ByteString(bytes) => self.bytes(bytes.clone(), path)?,
            Node::List(items) => Value::List(self.values(items, path, depth)?),
            Node::Tuple(items) => Value::Tuple(self.values(items, path, depth)?),
            Node::Set(items) => Value::Set(self.values(items, path, depth)?),
            Node::Dict(entries) => {
                let entries = self.entries(entries.iter().copied(), path, depth)?;
                Value::Dict(Dict { ordered: false, entries })
            }
            Node::Global(_) => Value::Name(self.owned_name(self.name(id), path)?),
            Node::Persistent(_) => match self.tensor(id, &Dotted(path), depth)? {
                Some(found) => self.leaf(found, path)?,
                None => self.skip(path, "a storage that no tensor uses".to_owned())?,
            },
            Node::Object(object) => self.object(id, object, path, depth)?,
        })
    }

    fn object(
        &mut self,
        id: Id,
        object: &Object,
        path: &mut Vec<Key>,
        depth: usize,
    ) -> Result<Value, Problem> {
        if let Some(found) = self.tensor(id, &Dotted(path), depth)? {
            return self.leaf(found, path);
        }
        let arg = self.pickle.tuple(object.args).first().copied();
        match self.pickle.meaning(object.callable) {
            Some(Meaning::OrderedDict | Meaning::Dict) => self.dictionary(object, path, depth),
            Some(Meaning::List) => Ok(Value::List(self.sequence(arg, object, path, depth)?)),
            Some(Meaning::Tuple) => Ok(Value::Tuple(self.sequence(arg, object, path, depth)?)),
            Some(Meaning::Set) => Ok(Value::Set(self.sequence(arg, object, path, depth)?)),
            Some(Meaning::BuildList) => self.value(arg.unwrap_or(object.args), path, depth + 1),
            Some(Meaning::Bytes | Meaning::Encode) => {
                self.charge_path(path)?;
                match self.encoded(object, path)? {
                    Some(storage) => self.bytes(storage.decoded()?, path),
                    None => self.record(id, object, path, depth),
                }
            }
            Some(Meaning::NumpyScalar) => self.scalar(object, path),
            _ => match self.module(id, path, depth)? {
                Some(module) => Ok(module),
                None => self.record(id, object, path, depth),
            },
        }
    }

    fn leaf(&mut self, found: Tensorlike, path: &[Key]) -> Result<Value, Problem> {
        self.charge_path(path)?;
        self.take_memory(LEAF + found.memory(), path)?;
        Ok(match found {
            Tensorlike::Tensor(view) => self.collector.add(path, view),
            Tensorlike::Skipped(reason) => self.collector.skip(path, reason),
        })
    }

    /// Notes something that is left out.
    fn skip(&mut self, path: &[Key], reason: String) -> Result<Value, Problem> {
        self.leaf(Tensorlike::Skipped(reason), path)
    }

    fn values(&mut self, items: &[Id], path: &mut Vec<Key>, depth: usize) -> Result<Vec<Value>, Problem> {
        self.take_memory(size_of_val(items) + items.len() * size_of::<Value>(), path)?;
        let mut values = Vec::with_capacity(items.len());
        for (index, item) in items.iter().enumerate() {
            path.push(Key::Index(index as i64));
            values.push(self.value(*item, path, depth + 1)?);
            path.pop();
        }
        Ok(values)
    }

    /// Entries of a dictionary. Of a key that occurs twice Python keeps the last value, in the first place.
    fn entries(
        &mut self,
        entries: impl Iterator<Item = (Id, Id)>,
        path: &mut Vec<Key>,
        depth: usize,
    ) -> Result<Vec<(Value, Value)>, Problem> {
        let mut places: HashMap<Key, usize> = HashMap::new();
        let mut last: Vec<(Value, Key, Id)> = Vec::new();
        let mut searched = 0;
        for (key, value) in entries {
            let key = self.key(key, path, depth)?;
            let step = self.step(&key, path)?;
            let search = ENTRY_SEARCH + 2 * step.text_len();
            searched += search;
            self.take_memory(ENTRY + search, path)?;
            match places.get(&step).and_then(|place| last.get_mut(*place)) {
                Some(entry) => entry.2 = value,
                None => {
                    places.insert(step.clone(), last.len());
                    last.push((key, step, value));
                }
            }
        }
        drop(places);
        let mut values = Vec::with_capacity(last.len());
        for (key, step, value) in last {
            path.push(step);
            values.push((key, self.value(value, path, depth + 1)?));
            path.pop();
        }
        self.memory.give_back(searched);
        Ok(values)
    }

    /// The step of a path that a dictionary key makes. One that is neither text nor number is spelled out.
    fn step(&self, key: &Value, path: &[Key]) -> Result<Key, Problem> {
        if let Value::Text(text) | Value::Name(text) = key {
            self.check_length(path, text.len())?;
        }
        if let Some(step) = key.as_key() {
            return Ok(step);
        }
        let mut spelled = Spelled(String::new());
        match write!(spelled, "{}", Spelling(key)) {
            Ok(()) => self.check_length(path, spelled.0.len())?,
            Err(_) => self.check_length(path, limits::MAX_PATH_BYTES + 1)?,
        }
        Ok(Key::Text(spelled.0))
    }

    /// Refuses paths that no message could show and no format could hold.
    fn check_length(&self, path: &[Key], more: usize) -> Result<(), Problem> {
        let length = text_len(path).saturating_add(more);
        self.limit(path, "the length of the path to an object", length, limits::MAX_PATH_BYTES)
    }

    /// A dictionary key. Tensors and objects cannot be told apart as keys and are refused.
    fn key(&mut self, id: Id, path: &mut Vec<Key>, depth: usize) -> Result<Value, Problem> {
        let tensors = self.collector.tensors.len();
        let key = self.value(id, path, depth + 1)?;
        if self.collector.tensors.len() > tensors || matches!(key, Value::List(_) | Value::Dict(_)) {
            return Err(Problem::malformed(
                place(path),
                "a dictionary key is a tensor, a list or a dictionary",
            ));
        }
        Ok(key)
    }

    /// `OrderedDict`, `defaultdict`, `Counter`: items set later, or given as pairs or as a dictionary.
    fn dictionary(&mut self, object: &Object, path: &mut Vec<Key>, depth: usize) -> Result<Value, Problem> {
        let mut entries = Vec::new();
        for arg in self.pickle.tuple(object.args) {
            match self.pickle.node(*arg) {
                Node::Dict(given) => {
                    self.take_memory(given.len() * grown::<(Id, Id)>(), path)?;
                    entries.extend_from_slice(given);
                }
                Node::List(pairs) => {
                    self.take_memory(pairs.len() * grown::<(Id, Id)>(), path)?;
                    for pair in pairs {
                        let pair = match self.pickle.node(*pair) {
                            Node::List(pair) => pair,
                            _ => self.pickle.tuple(*pair),
                        };
                        match pair {
                            [key, value] => entries.push((*key, *value)),
                            _ => {
                                return Err(Problem::malformed(place(path), "a dictionary item is no pair"));
                            }
                        }
                    }
                }
                _ => {} // the factory of a defaultdict
            }
        }
        entries.extend_from_slice(&object.entries);
        let ordered = self.pickle.meaning(object.callable) == Some(Meaning::OrderedDict);
        Ok(Value::Dict(Dict { ordered, entries: self.entries(entries.into_iter(), path, depth)? }))
    }

    fn sequence(
        &mut self,
        arg: Option<Id>,
        object: &Object,
        path: &mut Vec<Key>,
        depth: usize,
    ) -> Result<Vec<Value>, Problem> {
        let mut items = match arg.map(|arg| self.pickle.node(arg)) {
            Some(Node::List(items) | Node::Set(items)) => items.clone(),
            Some(Node::Tuple(items)) => items.to_vec(),
            _ => Vec::new(),
        };
        items.extend_from_slice(&object.items);
        self.values(&items, path, depth)
    }

    /// An instance of a class that is not known: its arguments, attributes and items, as they are.
    fn record(
        &mut self,
        id: Id,
        object: &Object,
        path: &mut Vec<Key>,
        depth: usize,
    ) -> Result<Value, Problem> {
        let (class, args) = self.constructed(object);
        let class = self.owned_name(class, path)?;
        self.take_memory(size_of::<Record>(), path)?;
        let pickle = self.pickle;
        let attributes_of = fields(pickle, object);
        let mut fields = self.entries(object.entries.iter().copied().chain(attributes_of), path, depth)?;
        // A subclass of dict may name itself as its state: its entries are there already (the package addict).
        let is_other = |state: &Id| *state != id && attributes(pickle, *state).is_none();
        for state in object.state.iter().filter(|state| is_other(state)) {
            self.take_memory(ENTRY + STATE.len(), path)?;
            path.push(Key::Text(STATE.to_owned()));
            fields.push((Value::Text(STATE.to_owned()), self.value(*state, path, depth + 1)?));
            path.pop();
        }
        let args = self.values(args, path, depth)?;
        let items = self.values(&object.items, path, depth)?;
        Ok(Value::Record(Box::new(Record { class, args, fields, items })))
    }

    /// The class of an object and what its constructor was given.
    fn constructed(&self, object: &Object) -> (Cow<'a, str>, &'a [Id]) {
        let args = self.pickle.tuple(object.args);
        match (self.pickle.meaning(object.callable), args) {
            (Some(Meaning::Reconstructor), [class, ..]) => (self.name(*class), &[]),
            _ => (self.name(object.callable), args),
        }
    }

    /// The dotted name of a global, or of a class that is referred to with its source.
    fn name(&self, id: Id) -> Cow<'a, str> {
        let pickle = self.pickle;
        let global = match pickle.node(id) {
            // References are short; a longer tuple is not worth the search.
            Node::Persistent(reference) => {
                pickle.tuple(*reference).iter().take(8).find_map(|item| pickle.global(*item))
            }
            _ => pickle.global(id),
        };
        let Some(global) = global else {
            return Cow::Borrowed("an unnamed class");
        };
        // Python 2's name for the module of built-in classes.
        match global.name.strip_prefix("__builtin__.") {
            Some(name) => Cow::Owned(format!("builtins.{name}")),
            None => Cow::Borrowed(&global.name),
        }
    }

    fn owned_name(&mut self, name: Cow<'_, str>, path: &[Key]) -> Result<String, Problem> {
        self.charge(name.len(), path)?;
        Ok(name.into_owned())
    }

    fn text(&mut self, bytes: &[u8], path: &[Key]) -> Result<Value, Problem> {
        let text = std::str::from_utf8(bytes);
        let text = text.map_err(|_| Problem::malformed(place(path), "a text is not UTF-8"))?;
        self.charge(text.len(), path)?;
        Ok(Value::Text(text.to_owned()))
    }

    fn bytes(&mut self, bytes: Bytes, path: &[Key]) -> Result<Value, Problem> {
        self.charge(bytes.len(), path)?;
        Ok(Value::Bytes(bytes))
    }

    /// Paths are kept with each tensor and note, twice: deep ones add up like texts.
    fn charge_path(&mut self, path: &[Key]) -> Result<(), Problem> {
        let text = text_len(path);
        self.take_memory(text, path)?;
        self.charge(size_of_val(path) + text, path)
    }

    /// Pays for something that is about to be built.
    fn take_memory(&mut self, bytes: usize, path: &[Key]) -> Result<(), Problem> {
        self.memory.take(bytes, || place(path))
    }

    fn charge(&mut self, len: usize, path: &[Key]) -> Result<(), Problem> {
        self.take_memory(len, path)?;
        self.text_bytes = self.text_bytes.saturating_add(len);
        self.limit(path, "the size of names and metadata", self.text_bytes, limits::MAX_METADATA_BYTES)
    }

    fn visit(&mut self, path: &[Key], depth: usize) -> Result<(), Problem> {
        self.visits += 1;
        self.limit(path, "the depth of the objects", depth, limits::MAX_DEPTH)?;
        self.limit(path, "the number of paths to objects", self.visits, limits::MAX_VISITS)
    }

    fn limit(&self, path: &[Key], what: &str, count: usize, limit: usize) -> Result<(), Problem> {
        if count <= limit {
            return Ok(());
        }
        Err(Problem::Limit { place: place(path), what: what.to_owned(), limit: limit as u64 })
    }
}

/// The attributes of an object.
fn fields<'a>(pickle: &'a Pickle, object: &'a Object) -> impl Iterator<Item = (Id, Id)> + Clone {
    object.state.iter().filter_map(|state| attributes(pickle, *state)).flatten().flatten().copied()
}

/// The attributes in a BUILD state: a dictionary, or a pair of one and a dictionary of slots. `None` when the
/// state is something else.
fn attributes(pickle: &Pickle, state: Id) -> Option<[&[(Id, Id)]; 2]> {
    let dictionary = |id| match pickle.node(id) {
        Node::None => Some(&[][..]),
        Node::Dict(entries) => Some(entries.as_slice()),
        _ => None,
    };
    match pickle.node(state) {
        Node::Object(object) if pickle.meaning(object.callable) == Some(Meaning::OrderedDict) => {
            Some([&object.entries, &[]])
        }
        Node::Tuple(parts) => match **parts {
            [attributes, slots] => Some([dictionary(attributes)?, dictionary(slots)?]),
            _ => None,
        },
        _ => Some([dictionary(state)?, &[]]),
    }
}

/// Text of at most [`limits::MAX_PATH_BYTES`].
struct Spelled(String);

impl Write for Spelled {
    fn write_str(&mut self, piece: &str) -> std::fmt::Result {
        if self.0.len() + piece.len() > limits::MAX_PATH_BYTES {
            return Err(std::fmt::Error);
        }
        self.0.push_str(piece);
        Ok(())
    }
}

fn text_len(path: &[Key]) -> usize {
    path.iter().map(Key::text_len).sum()
}

/// The beginning of a path that may be too long to show.
fn first_steps(path: &[Key]) -> &[Key] {
    path.get(..8).unwrap_or(path)
}

/// What messages call an object: its path, or the beginning of a long one.
fn place(path: &[Key]) -> String {
    const SHOWN: usize = 200;
    if path.is_empty() {
        return "the root object".to_owned();
    }
    let name = Dotted(first_steps(path)).to_string();
    match name.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("object `{}...`", name.split_at(end).0),
        None if path.len() > first_steps(path).len() => format!("object `{name}...`"),
        None => format!("object `{name}`"),
    }
}
