//! Whole pickled modules: their state dictionary, without their classes.
//!
//! Three frameworks pickle modules, each in its own way:
//! - `torch.nn.Module`: the instance dictionary holds `_parameters`, `_buffers`, `_modules` and
//!   `_non_persistent_buffers_set`;
//! - TorchScript: classes below `__torch__`, whose attributes are parameters and sub-modules alike;
//! - `jittor.Module`: attributes are `Var`s and sub-modules; `Sequential` keeps its children in `layers`, which
//!   is no part of the name; attributes that begin with `_` are left out.

use super::{Reader, Tensorlike};
use crate::error::Problem;
use crate::limits;
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
        let Some(kind) = self.module_kind(id) else {
            return Ok(None);
        };
        let mut tensors = Vec::new();
        self.collect(kind, id, "", path, depth, &mut tensors)?;
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
        let mut entries = Vec::new();
        for (name, tensor) in tensors {
            path.push(Key::Text(name.clone()));
            entries.push((Value::Text(name), self.value(tensor, path, depth + 1)?));
            path.pop();
        }
        let Node::Object(object) = self.pickle.node(id) else {
            return Ok(Value::None);
        };
        let (class, _) = self.constructed(object);
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
        for (key, value) in self.fields(object) {
            let Some(name) = self.pickle.node(key).text().map(|name| name.into_owned()) else {
                continue;
            };
            if name.starts_with('_') || name == "training" || self.is_part(value) {
                continue;
            }
            path.push(Key::Text(name.clone()));
            let (tensors, notes) = (self.collector.tensors.len(), self.collector.notes.len());
            let mut value = self.value(value, path, depth + 1)?;
            if self.collector.tensors.len() > tensors {
                self.collector.tensors.truncate(tensors);
                self.collector.notes.truncate(notes);
                value = self
                    .collector
                    .skip(path, "a tensor attribute, no part of the state dictionary".to_owned());
            }
            path.pop();
            attributes.push((Value::Text(name), value));
        }
        Ok(attributes)
    }

    /// Whether an attribute is a part of a module that keeps its parts as attributes.
    fn is_part(&mut self, id: Id) -> bool {
        let Node::Object(object) = self.pickle.node(id) else {
            return false;
        };
        self.pickle.meaning(object.callable) == Some(Meaning::JittorVar) || self.module_kind(id).is_some()
    }

    fn module_kind(&mut self, id: Id) -> Option<Kind> {
        let Node::Object(object) = self.pickle.node(id) else {
            return None;
        };
        let (class, _) = self.constructed(object);
        if class.starts_with("__torch__.") {
            return Some(Kind::Script);
        }
        let fields = self.fields(object);
        // Looking at attributes is work too, and an object may be reached by many paths.
        self.visits += fields.len();
        let has = |name: &str| {
            fields.iter().any(|(key, _)| self.pickle.node(*key).text().is_some_and(|key| key == name))
        };
        if has("_parameters") || has("_modules") {
            return Some(Kind::Torch);
        }
        let holds_var = || {
            fields.iter().any(|(_, value)| match self.pickle.node(*value) {
                Node::Object(value) => {
                    let (class, _) = self.constructed(value);
                    self.pickle.meaning(value.callable) == Some(Meaning::JittorVar)
                        || class.starts_with("jittor.")
                }
                _ => false,
            })
        };
        (class.starts_with("jittor.") || holds_var()).then_some(Kind::Jittor)
    }

    /// The attributes of an object.
    fn fields(&self, object: &Object) -> Vec<(Id, Id)> {
        let mut fields = Vec::new();
        object.state.iter().for_each(|state| self.attributes(*state, &mut fields));
        fields
    }

    fn collect(
        &mut self,
        kind: Kind,
        id: Id,
        prefix: &str,
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
            Kind::Torch => self.torch_parts(object),
            Kind::Script => self.attribute_parts(object, |_| true),
            Kind::Jittor => self.attribute_parts(object, |name| !name.starts_with('_')),
        };
        for (name, value) in own {
            let name = format!("{prefix}{name}");
            self.charge(name.len(), path)?;
            if let Some(Tensorlike::Tensor(_)) = self.tensor(value, &name, depth)? {
                tensors.push((name, value));
            }
        }
        for (name, child) in children {
            let is_layers = kind == Kind::Jittor && name == "layers" && self.is_dictionary(child);
            if is_layers {
                for (name, child) in self.named_entries(child) {
                    let prefix = format!("{prefix}{name}.");
                    self.collect(kind, child, &prefix, path, depth + 1, tensors)?;
                }
            } else if self.module_kind(child) == Some(kind) {
                self.collect(kind, child, &format!("{prefix}{name}."), path, depth + 1, tensors)?;
            }
        }
        Ok(())
    }

    /// Parameters and persistent buffers, then children.
    fn torch_parts(&self, object: &Object) -> (Vec<Named>, Vec<Named>) {
        let fields = self.fields(object);
        let part = |wanted: &str| {
            let found = fields
                .iter()
                .find(|(key, _)| self.pickle.node(*key).text().is_some_and(|name| name == wanted));
            found.map(|(_, value)| *value)
        };
        let entries = |wanted| part(wanted).map(|id| self.named_entries(id)).unwrap_or_default();
        let transient = part("_non_persistent_buffers_set").map(|set| self.texts(set)).unwrap_or_default();
        let mut own = entries("_parameters");
        own.extend(entries("_buffers").into_iter().filter(|(name, _)| !transient.contains(name)));
        (own, entries("_modules"))
    }

    /// Attributes that may be tensors, and those that may be modules: the same ones, told apart later.
    fn attribute_parts(&self, object: &Object, keep: impl Fn(&str) -> bool) -> (Vec<Named>, Vec<Named>) {
        let fields = self.fields(object);
        let names = fields
            .iter()
            .filter_map(|(key, value)| Some((self.pickle.node(*key).text()?.into_owned(), *value)));
        let objects =
            names.filter(|(name, value)| keep(name) && matches!(self.pickle.node(*value), Node::Object(_)));
        let objects: Vec<Named> = objects.collect();
        (objects.clone(), objects)
    }

    fn is_dictionary(&self, id: Id) -> bool {
        match self.pickle.node(id) {
            Node::Dict(_) => true,
            Node::Object(object) => self.pickle.meaning(object.callable) == Some(Meaning::OrderedDict),
            _ => false,
        }
    }

    /// The text-keyed entries of a dictionary.
    fn named_entries(&self, id: Id) -> Vec<Named> {
        let entries = match self.pickle.node(id) {
            Node::Dict(entries) => entries,
            Node::Object(object) => &object.entries,
            _ => return Vec::new(),
        };
        let named = entries.iter().filter_map(|(key, value)| {
            let name = match self.pickle.node(*key) {
                Node::Int(number) => number.to_string(),
                other => other.text()?.into_owned(),
            };
            Some((name, *value))
        });
        named.collect()
    }

    /// The texts in a set, however it was written.
    fn texts(&self, id: Id) -> Vec<String> {
        let items = match self.pickle.node(id) {
            Node::Set(items) | Node::List(items) => items,
            Node::Object(object) => {
                let inner = self.pickle.tuple(object.args).first();
                return inner.map(|inner| self.texts(*inner)).unwrap_or_default();
            }
            _ => return Vec::new(),
        };
        items.iter().filter_map(|item| Some(self.pickle.node(*item).text()?.into_owned())).collect()
    }
}
