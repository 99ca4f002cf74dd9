//! Whole pickled modules: their state dictionary, without their classes.
//!
//! Three frameworks pickle modules, each in its own way:
//! - `torch.nn.Module`: the instance dictionary holds `_parameters`, `_buffers`, `_modules` and
//!   `_non_persistent_buffers_set`;
//! - TorchScript: classes below `__torch__`, whose attributes are parameters and sub-modules alike;
//! - `jittor.Module`: attributes are `Var`s and sub-modules; `Sequential` keeps its children in `layers`, which
//!   is no part of the name; attributes that begin with `_` are left out.

use std::collections::HashSet;

use super::{Reader, fields};
use crate::error::Problem;
use crate::limits;
use crate::memory::{grown, hashed};
use crate::pickle::globals::Meaning;
use crate::pickle::node::{Id, Node, Object};
use crate::value::{Dict, Key, Module, Value};

/// How a module keeps its parts.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Torch,
    Script,
    Jittor,
}

/// A tensor of a module by its `state_dict` name.
pub(super) type Named = (String, Id);

impl Reader<'_> {
    /// The state dictionary of the module at node `id`, or `None` when the object is no module.
    pub(super) fn module_tensors(
        &mut self,
        id: Id,
        path: &[Key],
        depth: usize,
    ) -> Result<Option<Vec<Named>>, Problem> {
        let Some(kind) = self.module_kind(id, path)? else {
            return Ok(None);
        };
        let mut tensors = Vec::new();
        self.collect(kind, id, &mut String::new(), path, depth, &mut tensors)?;
        // An object of another kind that happens to look like an empty module is a record.
        Ok((kind == Kind::Torch || !tensors.is_empty()).then_some(tensors))
    }

    /// The module: its tensors and its other attributes.
    pub(super) fn module(
        &mut self,
        id: Id,
        tensors: Vec<Named>,
        path: &mut Vec<Key>,
        depth: usize,
    ) -> Result<Value, Problem> {
        let mut entries = Vec::with_capacity(tensors.len());
        for (name, tensor) in tensors {
            self.take_memory(size_of::<(Value, Value)>() + 2 * name.len(), path)?;
            path.push(Key::Text(name.clone()));
            entries.push((Value::Text(name), self.value(tensor, path, depth + 1)?));
            path.pop();
        }
        let Node::Object(object) = self.pickle.node(id) else {
            return Ok(Value::None);
        };
        let (class, _) = self.constructed(object);
        let class = self.owned_name(class, path)?;
        self.take_memory(size_of::<Module>(), path)?;
        let attributes = self.plain_attributes(object, path, depth)?;
        Ok(Value::Module(Box::new(Module { class, state: Dict { ordered: true, entries }, attributes })))
    }

    /// Attributes that are neither internal nor sub-modules. Tensors among them are no part of the module's
    /// state and are left out.
    fn plain_attributes(
        &mut self,
        object: &Object,
        path: &mut Vec<Key>,
        depth: usize,
    ) -> Result<Vec<(Value, Value)>, Problem> {
        let mut attributes = Vec::new();
        for (key, value) in fields(self.pickle, object) {
            let Some(name) = self.pickle.node(key).text() else {
                continue;
            };
            self.take_memory(grown::<(Value, Value)>(), path)?;
            let name = self.owned_name(name, path)?;
            if name.starts_with('_') || name == "training" || self.is_part(value, path)? {
                continue;
            }
            path.push(Key::Text(name.clone()));
            let (tensors, notes) = (self.collector.tensors.len(), self.collector.notes.len());
            let mut value = self.value(value, path, depth + 1)?;
            if self.collector.tensors.len() > tensors {
                self.collector.tensors.truncate(tensors);
                self.collector.notes.truncate(notes);
                value = self.skip(path, "a tensor attribute, no part of the state dictionary".to_owned())?;
            }
            path.pop();
            attributes.push((Value::Text(name), value));
        }
        Ok(attributes)
    }

    /// Whether an attribute is a part of a module that keeps its parts as attributes.
    fn is_part(&mut self, id: Id, path: &[Key]) -> Result<bool, Problem> {
        let Node::Object(object) = self.pickle.node(id) else {
            return Ok(false);
        };
        let is_var = self.pickle.meaning(object.callable) == Some(Meaning::JittorVar);
        Ok(is_var || self.module_kind(id, path)?.is_some())
    }

    fn module_kind(&mut self, id: Id, path: &[Key]) -> Result<Option<Kind>, Problem> {
        let pickle = self.pickle;
        let Node::Object(object) = pickle.node(id) else {
            return Ok(None);
        };
        let (class, _) = self.constructed(object);
        if class.starts_with("__torch__.") {
            return Ok(Some(Kind::Script));
        }
        let fields = fields(pickle, object);
        self.visit_many(fields.clone().count(), path)?;
        let has = |name: &str| fields.clone().any(|(key, _)| pickle.node(key).is_text(name));
        if has("_parameters") || has("_modules") {
            return Ok(Some(Kind::Torch));
        }
        let holds_var = || {
            fields.clone().any(|(_, value)| match pickle.node(value) {
                Node::Object(value) => {
                    let (class, _) = self.constructed(value);
                    pickle.meaning(value.callable) == Some(Meaning::JittorVar) || class.starts_with("jittor.")
                }
                _ => false,
            })
        };
        Ok((class.starts_with("jittor.") || holds_var()).then_some(Kind::Jittor))
    }

    /// Looking at attributes is work too, and an object may be reached by many paths.
    fn visit_many(&mut self, count: usize, path: &[Key]) -> Result<(), Problem> {
        self.visits = self.visits.saturating_add(count);
        self.limit(path, "the number of paths to objects", self.visits, limits::MAX_VISITS)
    }

    fn collect(
        &mut self,
        kind: Kind,
        id: Id,
        prefix: &mut String,
        path: &[Key],
        depth: usize,
        tensors: &mut Vec<Named>,
    ) -> Result<(), Problem> {
        self.visit(path, depth)?;
        self.limit(path, "the names of a module's tensors", prefix.len(), limits::MAX_METADATA_BYTES)?;
        let Node::Object(object) = self.pickle.node(id) else {
            return Ok(());
        };
        let (own, children) = match kind {
            Kind::Torch => self.torch_parts(object, path)?,
            Kind::Script => self.attribute_parts(object, path, |_| true)?,
            Kind::Jittor => self.attribute_parts(object, path, |name| !name.starts_with('_'))?,
        };
        for (name, value) in own {
            let name = format!("{prefix}{name}");
            self.charge(name.len(), path)?;
            if self.tensor(value, &name, depth)?.is_some() {
                self.take_memory(grown::<Named>(), path)?;
                tensors.push((name, value));
            }
        }
        let mut below = |reader: &mut Self, (name, child): Named| {
            let end = prefix.len();
            prefix.push_str(&name);
            prefix.push('.');
            let outcome = reader.collect(kind, child, prefix, path, depth + 1, tensors);
            prefix.truncate(end);
            outcome
        };
        for (name, child) in children {
            let is_layers = kind == Kind::Jittor && name == "layers" && self.is_dictionary(child);
            if is_layers {
                let layers = self.named_entries(child, path)?;
                layers.into_iter().try_for_each(|layer| below(self, layer))?;
            } else if self.module_kind(child, path)? == Some(kind) {
                below(self, (name, child))?;
            }
        }
        Ok(())
    }

    /// Parameters and persistent buffers, then children.
    fn torch_parts(&mut self, object: &Object, path: &[Key]) -> Result<(Vec<Named>, Vec<Named>), Problem> {
        let pickle = self.pickle;
        let part = |wanted| fields(pickle, object).find(|(key, _)| pickle.node(*key).is_text(wanted));
        let mut named = |wanted| match part(wanted) {
            Some((_, id)) => self.named_entries(id, path),
            None => Ok(Vec::new()),
        };
        let (mut own, buffers, modules) = (named("_parameters")?, named("_buffers")?, named("_modules")?);
        let transient = match part("_non_persistent_buffers_set") {
            Some((_, set)) => self.texts(set, path)?,
            None => HashSet::new(),
        };
        own.extend(buffers.into_iter().filter(|(name, _)| !transient.contains(name)));
        Ok((own, modules))
    }

    /// Attributes that may be tensors, and those that may be modules: the same ones, told apart later.
    fn attribute_parts(
        &mut self,
        object: &Object,
        path: &[Key],
        keep: impl Fn(&str) -> bool,
    ) -> Result<(Vec<Named>, Vec<Named>), Problem> {
        let pickle = self.pickle;
        let mut objects = Vec::new();
        for (key, value) in fields(pickle, object) {
            let name = pickle.node(key).text().filter(|name| keep(name));
            if let (Some(name), Node::Object(_)) = (name, pickle.node(value)) {
                self.take_memory(2 * grown::<Named>() + name.len(), path)?;
                objects.push((self.owned_name(name, path)?, value));
            }
        }
        Ok((objects.clone(), objects))
    }

    fn is_dictionary(&self, id: Id) -> bool {
        match self.pickle.node(id) {
            Node::Dict(_) => true,
            Node::Object(object) => self.pickle.meaning(object.callable) == Some(Meaning::OrderedDict),
            _ => false,
        }
    }

    /// The text-keyed entries of a dictionary.
    fn named_entries(&mut self, id: Id, path: &[Key]) -> Result<Vec<Named>, Problem> {
        let pickle = self.pickle;
        let entries = match pickle.node(id) {
            Node::Dict(entries) => entries,
            Node::Object(object) => &object.entries,
            _ => return Ok(Vec::new()),
        };
        self.visit_many(entries.len(), path)?;
        self.take_memory(entries.len() * grown::<Named>(), path)?;
        let mut named = Vec::new();
        for (key, value) in entries {
            let name = match pickle.node(*key) {
                Node::Int(number) => Some(number.to_string().into()),
                other => other.text(),
            };
            if let Some(name) = name {
                named.push((self.owned_name(name, path)?, *value));
            }
        }
        Ok(named)
    }

    /// The texts in a set or list, or in what a set is made of.
    fn texts(&mut self, id: Id, path: &[Key]) -> Result<HashSet<String>, Problem> {
        let pickle = self.pickle;
        let listed = match pickle.node(id) {
            Node::Object(object) => pickle.tuple(object.args).first().copied().unwrap_or(id),
            _ => id,
        };
        let (Node::Set(items) | Node::List(items)) = pickle.node(listed) else {
            return Ok(HashSet::new());
        };
        self.visit_many(items.len(), path)?;
        self.take_memory(items.len() * hashed::<String>(), path)?;
        let texts = items.iter().filter_map(|item| pickle.node(*item).text());
        texts.map(|text| self.owned_name(text, path)).collect()
    }
}
