//! Parts of a checkpoint, and other names for its tensors.

use std::collections::HashMap;

use crate::checkpoint::{Checkpoint, Note};
use crate::error::{Error, InFile, Problem, Result};
use crate::tensor::Tensor;
use crate::value::{Dict, Key, Value, join};

impl Checkpoint {
    /// The part of the checkpoint below `root`, dotted steps from the top, as a checkpoint of its own: names
    /// lose the prefix, everything beside it is left out and noted. In a flat checkpoint, and inside a module,
    /// the tensors whose names begin so.
    ///
    /// # Errors
    /// [`Problem::NoSuchRoot`] when the path leads nowhere, [`Problem::NoTensors`] when nothing below is one.
    pub fn at_root(&self, root: &str) -> Result<Checkpoint> {
        let fail = |problem| Error::new(&self.path, problem);
        let Some((path, value)) = find(&self.document, root) else {
            return self.at_prefix(root);
        };
        // A single tensor keeps its own name.
        let (steps, value) = match (value, path.split_last()) {
            (Value::Tensor(_), Some((last, above))) => {
                (above.len(), Value::dict([(last.to_string(), value.clone())]))
            }
            _ => (path.len(), value.clone()),
        };
        let mut part = Checkpoint {
            tensors: Vec::new(),
            document: Value::None,
            header: Value::Dict(Dict::default()),
            notes: self.notes_at(&path),
            ..self.clone()
        };
        part.document = renumber(&value, &mut |index| {
            let tensor = self.tensors.get(index)?;
            part.tensors.push(tensor.at(tensor.path().get(steps..)?.to_vec()));
            Some(part.tensors.len() - 1)
        });
        if part.tensors.is_empty() {
            return Err(fail(Problem::NoTensors));
        }
        part.check_names()?;
        Ok(part)
    }

    /// The tensors whose flat names begin with `root` and a dot: nested once, before they came into a flat format.
    fn at_prefix(&self, root: &str) -> Result<Checkpoint> {
        let rest = |tensor: &Tensor| Some(tensor.name().strip_prefix(root)?.strip_prefix('.')?.to_owned());
        let inside = self.tensors.iter().filter_map(|tensor| Some(tensor.at(vec![Key::Text(rest(tensor)?)])));
        let inside: Vec<Tensor> = inside.collect();
        if inside.is_empty() {
            let present = branches(&self.document);
            return Err(Error::new(&self.path, Problem::NoSuchRoot { root: root.to_owned(), present }));
        }
        let mut part = Checkpoint::flat(&self.path, self.format, inside, Value::Dict(Dict::default()))?;
        let header = self.header.steps().into_iter().map(|step| step.to_string());
        let beside = self.tensors.iter().filter(|tensor| rest(tensor).is_none());
        let beside = header.chain(beside.map(|tensor| tensor.name().to_owned()));
        part.notes.extend(beside.map(|name| Note { name, reason: format!("beside the root `{root}`") }));
        part.globals.clone_from(&self.globals);
        part.unchecked.clone_from(&self.unchecked);
        part.check_names()?;
        Ok(part)
    }

    /// The notes of the part at `path`, and one for everything beside it.
    fn notes_at(&self, path: &[Key]) -> Vec<Note> {
        let prefix = format!("{}.", join(path));
        let inside = self.notes.iter().filter_map(|note| {
            let name = note.name.strip_prefix(&prefix)?.to_owned();
            Some(Note { name, reason: note.reason.clone() })
        });
        let mut notes: Vec<Note> = inside.collect();
        let mut beside = |name: String| {
            notes.push(Note { name, reason: format!("beside the root `{}`", join(path)) });
        };
        if let Value::Dict(dict) = &self.header {
            dict.entries.iter().for_each(|(key, _)| beside(key.step().to_string()));
        }
        let mut level = &self.document;
        for (depth, step) in path.iter().enumerate() {
            let (above, _) = path.split_at(depth);
            for key in level.steps().into_iter().filter(|key| key != step) {
                beside(join(&[above, &[key]].concat()));
            }
            let Some(below) = level.get(step) else { break };
            level = below;
        }
        notes
    }

    /// The checkpoint with tensors renamed: `rename` gives a new flat name, or `None` to keep the old one.
    ///
    /// In a nested checkpoint a tensor stays in its dictionary, so its new name has to begin with the path of
    /// that.
    ///
    /// # Errors
    /// [`Problem::CannotRename`] when it does not, or when the tensor stands in a list;
    /// [`Problem::AmbiguousName`] when two tensors get one name.
    pub fn renamed(&self, rename: &mut dyn FnMut(&str) -> Option<String>) -> Result<Checkpoint> {
        let mut renamed = self.clone();
        for tensor in &mut renamed.tensors {
            let Some(name) = rename(tensor.name()) else {
                continue;
            };
            let path = renamed_path(tensor, &name).in_file(&self.path)?;
            *tensor = tensor.at(path);
        }
        renamed.check_names()?;
        let tensors = &renamed.tensors;
        let mut key = |index| tensors.get(index).and_then(|tensor: &Tensor| tensor.path().last());
        rekey(&mut renamed.document, &mut key).in_file(&self.path)?;
        Ok(renamed)
    }
}

/// The path of `tensor` under a new flat name, in the same dictionary.
fn renamed_path(tensor: &Tensor, name: &str) -> std::result::Result<Vec<Key>, Problem> {
    let cannot = |why| Problem::CannotRename { tensor: tensor.name().to_owned(), name: name.to_owned(), why };
    let Some((Key::Text(_), container)) = tensor.path().split_last() else {
        return Err(cannot("it has no name of its own"));
    };
    let rest = match container {
        [] => Some(name),
        _ => name.strip_prefix(&join(container)).and_then(|rest| rest.strip_prefix('.')),
    };
    let rest = rest.ok_or_else(|| cannot("that would move it out of its dictionary"))?;
    Ok(container.iter().cloned().chain([Key::Text(rest.to_owned())]).collect())
}

/// Which key the entry of a tensor is to have.
type KeyOf<'a, 'k> = &'a mut dyn FnMut(usize) -> Option<&'k Key>;

/// Gives the dictionary entries of tensors the keys that `key` says.
fn rekey<'k>(value: &mut Value, key: KeyOf<'_, 'k>) -> std::result::Result<(), Problem> {
    match value {
        Value::List(items) | Value::Tuple(items) | Value::Set(items) => {
            items.iter_mut().try_for_each(|item| rekey(item, key))
        }
        Value::Dict(dict) => rekey_entries(&mut dict.entries, key),
        Value::Module(module) => rekey_entries(&mut module.state.entries, key),
        Value::Record(record) => {
            rekey_entries(&mut record.fields, key)?;
            record.items.iter_mut().try_for_each(|value| rekey(value, key))
        }
        _ => Ok(()),
    }
}

fn rekey_entries<'k>(entries: &mut [(Value, Value)], key: KeyOf<'_, 'k>) -> std::result::Result<(), Problem> {
    let mut changed = Vec::new();
    for (name, value) in entries.iter_mut() {
        match value {
            Value::Tensor(index) => {
                if let Some(Key::Text(text)) = key(*index).filter(|key| **key != name.step()) {
                    changed.push((name.step(), text.clone()));
                    *name = Value::Text(text.clone());
                }
            }
            other => rekey(other, key)?,
        }
    }
    // A new name may be free among the tensors and yet be taken by something else.
    let mut steps = HashMap::new();
    entries.iter().for_each(|(name, _)| *steps.entry(name.step()).or_insert(0) += 1);
    let clash = changed.into_iter().find(|(_, name)| steps.get(&Key::Text(name.clone())) > Some(&1));
    clash.map_or(Ok(()), |(tensor, name)| {
        let why = "its dictionary already has an entry of that name";
        Err(Problem::CannotRename { tensor: tensor.to_string(), name, why })
    })
}

/// Follows dotted `root` from `value`; keys may contain dots themselves. Returns the steps taken.
fn find<'a>(value: &'a Value, root: &str) -> Option<(Vec<Key>, &'a Value)> {
    if root.is_empty() {
        return Some((Vec::new(), value));
    }
    let ends = root.match_indices('.').map(|(at, _)| at).chain([root.len()]);
    for end in ends {
        let (head, rest) = (root.get(..end)?, root.get(end..)?);
        let candidates = [Some(Key::Text(head.to_owned())), head.parse().ok().map(Key::Index)];
        for key in candidates.into_iter().flatten() {
            let below = value.get(&key).and_then(|next| find(next, rest.strip_prefix('.').unwrap_or(rest)));
            if let Some((mut steps, found)) = below {
                steps.insert(0, key);
                return Some((steps, found));
            }
        }
    }
    None
}

/// The top-level keys, for a message.
fn branches(document: &Value) -> String {
    let Value::Dict(dict) = document else {
        return "no named parts".to_owned();
    };
    let with_tensors = dict.entries.iter().filter(|(_, value)| value.holds_tensor());
    let mut names: Vec<String> =
        with_tensors.filter_map(|(key, _)| key.as_key()).map(|key| format!("`{key}`")).collect();
    if names.len() > 8 {
        names.truncate(8);
        names.push("...".to_owned());
    }
    names.join(", ")
}

/// `value` with its tensors numbered anew by `number`, called in file order.
fn renumber(value: &Value, number: &mut dyn FnMut(usize) -> Option<usize>) -> Value {
    let mut all = |items: &[Value]| items.iter().map(|item| renumber(item, number)).collect();
    match value {
        Value::List(items) => Value::List(all(items)),
        Value::Tuple(items) => Value::Tuple(all(items)),
        Value::Set(items) => Value::Set(all(items)),
        Value::Tensor(index) => number(*index).map_or(Value::None, Value::Tensor),
        Value::Dict(dict) => {
            let entries = dict.entries.iter().map(|(key, value)| (key.clone(), renumber(value, number)));
            Value::Dict(Dict { ordered: dict.ordered, entries: entries.collect() })
        }
        Value::Module(module) => {
            let mut module = module.clone();
            module.state.entries.iter_mut().for_each(|(_, value)| *value = renumber(value, number));
            Value::Module(module)
        }
        Value::Record(record) => {
            let mut record = record.clone();
            for value in record.fields.iter_mut().map(|(_, value)| value).chain(&mut record.items) {
                *value = renumber(value, number);
            }
            Value::Record(record)
        }
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roots_are_found_through_keys_with_dots() {
        let leaf = Value::dict([("c".to_owned(), Value::Int(1))]);
        let tree =
            Value::dict([("a.b".to_owned(), leaf), ("l".to_owned(), Value::List(vec![Value::Int(2)]))]);
        let text = |text: &str| Key::Text(text.to_owned());
        assert_eq!(find(&tree, "a.b.c").unwrap(), (vec![text("a.b"), text("c")], &Value::Int(1)));
        assert_eq!(find(&tree, "l.0").unwrap(), (vec![text("l"), Key::Index(0)], &Value::Int(2)));
        assert!(find(&tree, "a.c").is_none());
    }
}
