//! An opened checkpoint: ordered tensors, an inert tree of everything else, and where they came from.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use bytes::Bytes;

use crate::error::{Error, InFile, Problem, Result};
use crate::format::Format;
use crate::jittor::trailer;
use crate::tensor::{Tensor, View};
use crate::value::{Dict, Key, Record, Value, join};

/// A class or function that a pickle names, and what the reader made of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Global {
    /// `module.name`.
    pub name: String,
    /// Whether it is a class that the reader does not know: its instances became inert records.
    pub opaque: bool,
}

/// Something that was read but is not among the tensors or the metadata, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// Path or record.
    pub name: String,
    /// Why it was left out.
    pub reason: String,
}

/// A checkpoint file, opened and validated. Tensor bytes are read on demand.
#[derive(Debug, Clone)]
pub struct Checkpoint {
    pub(crate) path: PathBuf,
    pub(crate) format: Format,
    pub(crate) tensors: Vec<Tensor>,
    pub(crate) document: Value,
    pub(crate) header: Value,
    pub(crate) globals: Vec<Global>,
    pub(crate) notes: Vec<Note>,
    /// The whole file when a checksum at its end is still to be compared.
    pub(crate) unchecked: Option<Bytes>,
}

impl Checkpoint {
    /// A checkpoint whose only content is named tensors: formats without nesting.
    pub(crate) fn flat(
        path: &Path,
        format: Format,
        tensors: Vec<Tensor>,
        header: Value,
    ) -> Result<Checkpoint> {
        let entries = tensors.iter().enumerate().map(|(i, tensor)| {
            let key = tensor.path().first().cloned().unwrap_or(Key::Text(String::new()));
            (key.to_string(), Value::Tensor(i))
        });
        let document = Value::dict(entries);
        let checkpoint = Checkpoint {
            path: path.to_owned(),
            format,
            tensors,
            document,
            header,
            globals: Vec::new(),
            notes: Vec::new(),
            unchecked: None,
        };
        Ok(checkpoint)
    }

    /// A checkpoint with these tensors instead, named flatly: for weights that were given other names or forms.
    /// The container's header stays; the rest of the tree is gone, which is for the caller to note with
    /// [`Checkpoint::with_notes`].
    ///
    /// # Errors
    /// [`Problem::AmbiguousName`] when two tensors have one name, [`Problem::NoTensors`] when there is none.
    pub fn with_tensors(&self, tensors: Vec<Tensor>) -> Result<Checkpoint> {
        if tensors.is_empty() {
            return Err(Error::new(&self.path, Problem::NoTensors));
        }
        let tensors = tensors.iter().map(|tensor| tensor.named(tensor.name())).collect();
        let mut checkpoint = Checkpoint::flat(&self.path, self.format, tensors, self.header.clone())?;
        checkpoint.globals.clone_from(&self.globals);
        checkpoint.notes.clone_from(&self.notes);
        checkpoint.unchecked.clone_from(&self.unchecked);
        checkpoint.check_names()?;
        Ok(checkpoint)
    }

    /// The checkpoint with more notes about what was left out of it.
    pub fn with_notes(mut self, notes: impl IntoIterator<Item = Note>) -> Checkpoint {
        self.notes.extend(notes);
        self
    }

    /// The file that was opened.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What kind of file it is.
    pub fn format(&self) -> Format {
        self.format
    }

    /// The tensors, in file order.
    pub fn tensors(&self) -> &[Tensor] {
        &self.tensors
    }

    /// The tensor of this flat name.
    pub fn tensor(&self, name: &str) -> Option<&Tensor> {
        self.tensors.iter().find(|tensor| tensor.name() == name)
    }

    /// The whole content as a tree with [`Value::Tensor`] leaves. A pickled module stands in it as its state
    /// dictionary.
    pub fn document(&self) -> &Value {
        &self.document
    }

    /// What the container says beside its content: safetensors `__metadata__`, the ONNX producer and operator
    /// sets. An empty dictionary where there is nothing.
    pub fn header(&self) -> &Value {
        &self.header
    }

    /// Everything that is not a tensor: the header's entries and the document without tensors and without the
    /// branches that held nothing else. A module stands in it as a record of its attributes.
    pub fn metadata(&self) -> Value {
        let mut entries = match &self.header {
            Value::Dict(dict) => dict.entries.clone(),
            _ => Vec::new(),
        };
        match prune(&self.document) {
            None => {}
            Some(Value::Dict(dict)) => entries.extend(dict.entries),
            Some(Value::Record(record)) => entries.extend(record.fields),
            Some(other) => entries.push((Value::Text(String::new()), other)),
        }
        Value::Dict(Dict { ordered: false, entries })
    }

    /// Every class and function that a pickle names, in order of appearance.
    pub fn globals(&self) -> &[Global] {
        &self.globals
    }

    /// What was read but left out, and why.
    pub fn notes(&self) -> &[Note] {
        &self.notes
    }

    /// Names of tensors that share one storage, groups of two and more, in file order.
    pub fn aliases(&self) -> Vec<Vec<&str>> {
        let mut order = Vec::new();
        let mut groups: HashMap<usize, Vec<&str>> = HashMap::new();
        for tensor in &self.tensors {
            let id = tensor.storage_id();
            let group = groups.entry(id).or_default();
            if group.is_empty() {
                order.push(id);
            }
            group.push(tensor.name());
        }
        order.iter().filter_map(|id| groups.remove(id)).filter(|group| group.len() > 1).collect()
    }

    /// Whether a checksum over the whole file is still to be compared with the data.
    ///
    /// Small files are verified when they are opened. A large file's records are verified as they are read,
    /// its checksum over the whole file by [`Checkpoint::verify_file`].
    pub fn needs_file_check(&self) -> bool {
        self.unchecked.is_some()
    }

    /// Compares the checksum over the whole file, where the format has one: a Jittor pickle.
    ///
    /// # Errors
    /// [`Problem::Checksum`].
    pub fn verify_file(&self) -> Result<()> {
        match &self.unchecked {
            Some(bytes) => trailer::verify(bytes).in_file(&self.path),
            None => Ok(()),
        }
    }

    /// Compares every checksum in the file.
    ///
    /// # Errors
    /// [`Problem::Checksum`].
    pub fn verify(&self) -> Result<()> {
        self.verify_file()?;
        self.tensors.iter().try_for_each(Tensor::verify)
    }

    /// Refuses two different tensors of one flat name.
    pub(crate) fn check_names(&self) -> Result<()> {
        let mut seen: HashMap<&str, &Tensor> = HashMap::with_capacity(self.tensors.len());
        for tensor in &self.tensors {
            if let Some(first) = seen.insert(tensor.name(), tensor) {
                return Err(Error::new(
                    &self.path,
                    Problem::AmbiguousName {
                        name: tensor.name().to_owned(),
                        first: show_path(first.path()),
                        second: show_path(tensor.path()),
                    },
                ));
            }
        }
        Ok(())
    }
}

/// A path whose steps can be told apart although keys may contain dots.
fn show_path(path: &[Key]) -> String {
    path.iter().map(|key| format!("[{key}]")).collect()
}

/// `value` without tensors; `None` when nothing else is left.
fn prune(value: &Value) -> Option<Value> {
    // None keeps the place of what is taken out of a sequence.
    let some_of = |items: &[Value]| {
        let pruned: Vec<Option<Value>> = items.iter().map(prune).collect();
        let is_kept = items.is_empty() || pruned.iter().any(Option::is_some);
        is_kept.then(|| pruned.into_iter().map(|item| item.unwrap_or(Value::None)).collect())
    };
    let entries_of = |entries: &[(Value, Value)]| {
        let kept: Vec<_> =
            entries.iter().filter_map(|(key, value)| Some((key.clone(), prune(value)?))).collect();
        (!kept.is_empty() || entries.is_empty()).then_some(kept)
    };
    match value {
        // What was skipped stands in the notes.
        Value::Tensor(_) | Value::Skipped(_) => None,
        Value::List(items) => some_of(items).map(Value::List),
        Value::Tuple(items) => some_of(items).map(Value::Tuple),
        Value::Set(items) => some_of(items).map(Value::Set),
        Value::Dict(dict) => {
            let entries = entries_of(&dict.entries)?;
            Some(Value::Dict(Dict { ordered: dict.ordered, entries }))
        }
        Value::Module(module) => {
            let (class, fields) = (module.class.clone(), entries_of(&module.attributes)?);
            let record = Record { class, args: Vec::new(), fields, items: Vec::new() };
            (!record.fields.is_empty()).then(|| Value::Record(Box::new(record)))
        }
        Value::Record(record) => {
            let mut record = record.clone();
            record.fields.retain_mut(|(_, value)| prune(value).map(|kept| *value = kept).is_some());
            record.items.retain_mut(|value| prune(value).map(|kept| *value = kept).is_some());
            Some(Value::Record(record))
        }
        other => Some(other.clone()),
    }
}

/// Collects tensors and the document around them while a reader walks a tree.
#[derive(Debug, Default)]
pub(crate) struct Collector {
    pub(crate) tensors: Vec<Tensor>,
    pub(crate) notes: Vec<Note>,
}

impl Collector {
    /// Adds a tensor and returns the leaf that stands for it.
    pub(crate) fn add(&mut self, path: &[Key], view: View) -> Value {
        self.tensors.push(Tensor::new(path.to_vec(), view));
        Value::Tensor(self.tensors.len() - 1)
    }

    /// Notes something that is left out and returns the leaf that stands for it.
    pub(crate) fn skip(&mut self, path: &[Key], reason: String) -> Value {
        self.notes.push(Note { name: join(path), reason: reason.clone() });
        Value::Skipped(reason)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pruning_keeps_what_was_empty_from_the_start() {
        let tree = Value::dict([
            ("weights".to_owned(), Value::List(vec![Value::Tensor(0)])),
            ("hooks".to_owned(), Value::List(Vec::new())),
        ]);
        let kept = prune(&tree).unwrap();
        assert!(kept.get(&Key::Text("weights".to_owned())).is_none());
        assert!(kept.get(&Key::Text("hooks".to_owned())).is_some());
    }
}
