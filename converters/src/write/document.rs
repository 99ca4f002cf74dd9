//! The tree of a checkpoint as a pickle of plain objects.
//!
//! What the target cannot hold (instances of unknown classes, for the most part) is left out and noted. In a
//! list its place is kept by `None`.

use std::collections::HashSet;

use crate::checkpoint::{Checkpoint, Note};
use crate::error::Problem;
use crate::pickle::write::PickleWriter;
use crate::value::{Dict, Key, Module, Record, Value, join};

/// Writes the tree; `tensor` writes the tensor with a given index.
pub(super) struct DocumentWriter<'a, T> {
    pub(super) pickle: PickleWriter,
    /// Called for each tensor, in document order.
    pub(super) tensor: T,
    pub(super) dropped: &'a mut Vec<Note>,
    /// Whether names such as `torch.float32` can be read back.
    pub(super) torch_names: bool,
    /// Tensors written so far.
    pub(super) written: HashSet<usize>,
}

impl<T: FnMut(&mut PickleWriter, usize) -> Result<(), Problem>> DocumentWriter<'_, T> {
    /// Writes the whole tree; returns the end of the pickle and the number of tensors in it. Tensors that could
    /// not be written are noted.
    ///
    /// # Errors
    /// Those of writing a tensor.
    pub(super) fn finish(mut self, checkpoint: &Checkpoint) -> Result<(Vec<u8>, usize), Problem> {
        self.value(checkpoint.document(), &mut Vec::new())?;
        for (index, tensor) in checkpoint.tensors().iter().enumerate() {
            if !self.written.contains(&index) {
                self.drop(tensor.path(), "a tensor that only an instance of its class can hold".to_owned());
            }
        }
        Ok((self.pickle.finish(), self.written.len()))
    }

    /// Writes `value`, which stands at `path`.
    fn value(&mut self, value: &Value, path: &mut Vec<Key>) -> Result<(), Problem> {
        match value {
            Value::None => self.pickle.none(),
            Value::Bool(truth) => self.pickle.bool(*truth),
            Value::Int(number) => self.pickle.int(*number),
            Value::BigInt(number) => self.pickle.big_int(number),
            Value::Float(number) => self.pickle.float(*number),
            Value::Text(text) => self.pickle.text(text),
            Value::Bytes(bytes) => self.pickle.bytes(bytes),
            Value::Tensor(index) => {
                self.written.insert(*index);
                (self.tensor)(&mut self.pickle, *index)?;
            }
            Value::Name(name) => match name.split_once('.') {
                Some((module, name)) if self.is_torch_dtype(value) => self.pickle.global(module, name),
                _ => self.pickle.none(),
            },
            Value::List(items) => {
                self.pickle.list_begin();
                self.items(items, path)?;
                self.pickle.list_end();
            }
            Value::Tuple(items) => {
                self.pickle.mark();
                self.items(items, path)?;
                self.pickle.tuple_end();
            }
            Value::Set(items) => {
                self.pickle.set_begin();
                for item in items {
                    path.push(item.step());
                    if self.can_hold_key(item, path) {
                        self.value(item, path)?;
                    }
                    path.pop();
                }
                self.pickle.set_end();
            }
            Value::Dict(dict) => self.dict(dict, path)?,
            Value::Module(module) => self.module(module, path)?,
            Value::Record(record) => self.record(record, path)?,
            Value::Skipped(_) => self.pickle.none(),
        }
        Ok(())
    }

    fn items(&mut self, items: &[Value], path: &mut Vec<Key>) -> Result<(), Problem> {
        for (index, item) in items.iter().enumerate() {
            path.push(Key::Index(index as i64));
            self.can_hold(item, path);
            self.value(item, path)?;
            path.pop();
        }
        Ok(())
    }

    fn dict(&mut self, dict: &Dict, path: &mut Vec<Key>) -> Result<(), Problem> {
        self.pickle.dict_begin(dict.ordered);
        for (key, value) in &dict.entries {
            path.push(key.step());
            if self.can_hold_key(key, path) && self.can_hold(value, path) {
                self.value(key, path)?;
                self.value(value, path)?;
            }
            path.pop();
        }
        self.pickle.dict_end();
        Ok(())
    }

    /// A module is written as its state dictionary.
    fn module(&mut self, module: &Module, path: &mut Vec<Key>) -> Result<(), Problem> {
        self.dict(&module.state, path)?;
        for (key, value) in &module.attributes {
            if matches!(value, Value::Skipped(_)) {
                continue;
            }
            path.push(key.step());
            self.drop(
                path,
                format!("an attribute of {}: only its state dictionary is written", module.class),
            );
            path.pop();
        }
        Ok(())
    }

    /// An instance cannot be written. One that holds tensors becomes the dictionary of its attributes, or the
    /// list of its items, so that they are not lost.
    fn record(&mut self, record: &Record, path: &mut Vec<Key>) -> Result<(), Problem> {
        let entries = &record.fields;
        if entries.iter().any(|(_, value)| value.holds_tensor()) {
            self.drop(
                path,
                format!("the class {}: its attributes are written as a dictionary", record.class),
            );
            self.dict(&Dict { ordered: false, entries: entries.clone() }, path)
        } else if record.items.iter().any(Value::holds_tensor) {
            self.drop(path, format!("the class {}: its items are written as a list", record.class));
            self.value(&Value::List(record.items.clone()), path)
        } else {
            self.pickle.none();
            Ok(())
        }
    }

    fn can_hold_key(&mut self, key: &Value, path: &[Key]) -> bool {
        let is_plain = is_hashable(key);
        if !is_plain {
            self.drop(path, "its key is not plain data".to_owned());
        }
        is_plain
    }

    /// Whether the value can be written; notes it when not.
    fn can_hold(&mut self, value: &Value, path: &[Key]) -> bool {
        let reason = match value {
            Value::Record(_) if value.holds_tensor() => return true,
            Value::Record(record) => format!("an instance of {}", record.class),
            Value::Name(_) if self.is_torch_dtype(value) => return true,
            Value::Name(name) => format!("the class or function {name}"),
            // Noted when it was read.
            Value::Skipped(_) => return false,
            _ => return true,
        };
        self.drop(path, reason);
        false
    }

    fn drop(&mut self, path: &[Key], reason: String) {
        self.dropped.push(Note { name: join(path), reason });
    }

    fn is_torch_dtype(&self, value: &Value) -> bool {
        use crate::pickle::globals::{Meaning, meaning};
        match value {
            Value::Name(name) if self.torch_names => {
                let split = name.rsplit_once('.');
                split.is_some_and(|(module, name)| {
                    matches!(meaning(module, name), Some(Meaning::TorchDtype(_)))
                })
            }
            _ => false,
        }
    }
}

/// Whether the value, once written, can be a dictionary key or an element of a set. A frozen set is read as a
/// set, which cannot.
fn is_hashable(key: &Value) -> bool {
    match key {
        Value::Tuple(items) => items.iter().all(is_hashable),
        Value::None | Value::Bool(_) | Value::Int(_) | Value::BigInt(_) | Value::Float(_) => true,
        Value::Text(_) | Value::Bytes(_) => true,
        _ => false,
    }
}
