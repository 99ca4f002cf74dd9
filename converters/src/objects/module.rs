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
use crate::checkpoint::Note;
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

const TENSOR_ATTRIBUTE: &str = "a tensor attribute, no part of the state dictionary";

/// A walk through a module and its sub-modules.
struct Walk<'a> {
    kind: Kind,
    /// Where the module stands.
    path: &'a [Key],
    /// Names of the sub-modules on the way down, each with a dot.
    prefix: String,
    /// Parts of the state found so far.
    parts: Vec<Named>,
}

/// A tensor of a module by its `state_dict` name.
type Named = (String, Id);

impl Reader<'_> {
    /// The module at node `id`, or `None` when the object is no module: its tensors by their `state_dict`
    /// names, and its other attributes.
    pub(super) fn module(
        &mut self,
        id: Id,
        path: &mut Vec<Key>,
        depth: usize,
    ) -> Result<Option<Value>, Problem> {
        let (Some(kind), Node::Object(object)) = (self.module_kind(id, path)?, self.pickle.node(id)) else {
            return Ok(None);
        };
        let mut walk = Walk { kind, path: &path.clone(), prefix: String::new(), parts: Vec::new() };
        self.collect(&mut walk, id, depth)?;
        let parts = walk.parts;
        // An object of another kind that happens to look like an empty module is a record.
        if kind != Kind::Torch && parts.is_empty() {
            return Ok(None);
        }
        let mut entries = Vec::with_capacity(parts.len());
        for (name, part) in parts {
            self.take_memory(size_of::<(Value, Value)>() + 2 * name.len(), path)?;
            path.push(Key::Text(name.clone()));
            let (value, tensors) = self.counted(part, path, depth)?;
            path.pop();
            // A part that is no tensor counts when it holds one.
            if tensors > 0 || matches!(value, Value::Skipped(_)) {
                entries.push((Value::Text(name), value));
            }
        }
        let (class, _) = self.constructed(object);
        let class = self.owned_name(class, path)?;
        self.take_memory(size_of::<Module>(), path)?;
        let attributes = self.plain_attributes(kind, object, "", path, depth)?;
        let state = Dict { ordered: true, entries };
        Ok(Some(Value::Module(Box::new(Module { class, state, attributes }))))
    }

    /// The value of a node, and how many tensors were collected below it.
    fn counted(&mut self, id: Id, path: &mut Vec<Key>, depth: usize) -> Result<(Value, usize), Problem> {
        let before = self.collector.tensors.len();
        let value = self.value(id, path, depth + 1)?;
        Ok((value, self.collector.tensors.len() - before))
    }

    /// Attributes of a module that are no part of its state. Tensors in them are named and left out, as
    /// `state_dict` leaves them out; so are attributes whose names begin with `_`.
    fn plain_attributes(
        &mut self,
        kind: Kind,
        object: &Object,
        prefix: &str,
        path: &mut Vec<Key>,
        depth: usize,
    ) -> Result<Vec<(Value, Value)>, Problem> {
        let mut attributes = Vec::new();
        for (key, value) in fields(self.pickle, object) {
            let Some(name) = self.pickle.node(key).text() else {
                continue;
            };
            if !prefix.is_empty() && self.is_simple(value) {
                continue;
            }
            self.take_memory(grown::<(Value, Value)>(), path)?;
            let name = self.owned_name(name, path)?;
            if self.is_state(kind, &name, value, path, depth)? {
                continue;
            }
            self.check_length(path, prefix.len().saturating_add(name.len()))?;
            path.push(Key::Text(format!("{prefix}{name}")));
            let (tensors, notes) = (self.collector.tensors.len(), self.collector.notes.len());
            let mut value = self.value(value, path, depth + 1)?;
            if self.collector.tensors.len() > tensors {
                self.collector.tensors.truncate(tensors);
                self.collector.notes.truncate(notes);
                value = self.skip(path, TENSOR_ATTRIBUTE.to_owned())?;
            }
            path.pop();
            if !name.starts_with('_') && name != "training" {
                attributes.push((Value::Text(name), value));
            }
        }
        Ok(attributes)
    }

    /// Names the tensors in the attributes of a sub-module; its other attributes say how it computes.
    fn note_attributes(&mut self, walk: &Walk<'_>, object: &Object, depth: usize) -> Result<(), Problem> {
        let notes = self.collector.notes.len();
        self.plain_attributes(walk.kind, object, &walk.prefix, &mut walk.path.to_vec(), depth)?;
        let is_tensor = |note: &Note| note.reason == TENSOR_ATTRIBUTE;
        let kept: Vec<_> = self.collector.notes.drain(notes..).filter(is_tensor).collect();
        self.collector.notes.extend(kept);
        Ok(())
    }

    /// Whether a value cannot hold a tensor, which most attributes of sub-modules cannot.
    fn is_simple(&self, id: Id) -> bool {
        match self.pickle.node(id) {
            Node::List(items) | Node::Set(items) => items.is_empty(),
            Node::Tuple(items) => items.iter().all(|item| matches!(self.pickle.node(*item), Node::Int(_))),
            Node::Dict(entries) => entries.is_empty(),
            Node::Object(object) => {
                let is_bare = self.pickle.tuple(object.args).is_empty() && object.state.is_empty();
                is_bare && object.entries.is_empty() && object.items.is_empty()
            }
            Node::Persistent(_) => false,
            _ => true,
        }
    }

    /// Whether an attribute is where a module of this kind keeps its state.
    fn is_state(
        &mut self,
        kind: Kind,
        name: &str,
        value: Id,
        path: &[Key],
        depth: usize,
    ) -> Result<bool, Problem> {
        const TORCH: [&str; 4] = ["_parameters", "_buffers", "_modules", "_non_persistent_buffers_set"];
        if kind == Kind::Torch {
            return Ok(TORCH.contains(&name));
        }
        if kind == Kind::Jittor && name.starts_with('_') {
            return Ok(false);
        }
        let is_layers = kind == Kind::Jittor && name == "layers" && self.is_dictionary(value);
        let is_module = self.module_kind(value, path)? == Some(kind);
        Ok(is_layers || is_module || self.tensor(value, &name, depth)?.is_some())
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

    fn collect(&mut self, walk: &mut Walk<'_>, id: Id, depth: usize) -> Result<(), Problem> {
        let (kind, path) = (walk.kind, walk.path);
        self.visit(path, depth)?;
        let Node::Object(object) = self.pickle.node(id) else {
            return Ok(());
        };
        let (own, children) = match kind {
            Kind::Torch => self.torch_parts(object, walk)?,
            Kind::Script => self.attribute_parts(object, path, |_| true)?,
            Kind::Jittor => self.attribute_parts(object, path, |name| !name.starts_with('_'))?,
        };
        for (name, value) in own {
            let name = format!("{}{name}", walk.prefix);
            if kind == Kind::Torch || self.tensor(value, &name, depth)?.is_some() {
                self.add_part(walk, name, value)?;
            }
        }
        if !walk.prefix.is_empty() {
            self.note_attributes(walk, object, depth)?;
        }
        for (name, child) in children {
            if kind == Kind::Jittor && name == "layers" && self.is_dictionary(child) {
                for (name, layer) in self.named_entries(child, path)? {
                    self.collect_child(walk, &name, layer, depth)?;
                }
            } else if self.module_kind(child, path)? == Some(kind) {
                self.collect_child(walk, &name, child, depth)?;
            } else if kind == Kind::Torch {
                // A sub-module that is pickled in a way of its own: what it holds is found by its paths.
                let name = format!("{}{name}", walk.prefix);
                self.add_part(walk, name, child)?;
            }
        }
        Ok(())
    }

    fn collect_child(
        &mut self,
        walk: &mut Walk<'_>,
        name: &str,
        child: Id,
        depth: usize,
    ) -> Result<(), Problem> {
        let end = walk.prefix.len();
        self.check_length(walk.path, end.saturating_add(name.len()))?;
        walk.prefix.push_str(name);
        walk.prefix.push('.');
        let outcome = self.collect(walk, child, depth + 1);
        walk.prefix.truncate(end);
        outcome
    }

    fn add_part(&mut self, walk: &mut Walk<'_>, name: String, part: Id) -> Result<(), Problem> {
        if matches!(self.pickle.node(part), Node::None) {
            return Ok(());
        }
        self.charge(name.len(), walk.path)?;
        self.take_memory(grown::<Named>(), walk.path)?;
        walk.parts.push((name, part));
        Ok(())
    }

    /// Parameters and persistent buffers, then children. The other buffers are named.
    fn torch_parts(&mut self, object: &Object, walk: &Walk<'_>) -> Result<(Vec<Named>, Vec<Named>), Problem> {
        let pickle = self.pickle;
        let part = |wanted| fields(pickle, object).find(|(key, _)| pickle.node(*key).is_text(wanted));
        let mut named = |wanted| match part(wanted) {
            Some((_, id)) => self.named_entries(id, walk.path),
            None => Ok(Vec::new()),
        };
        let (mut own, buffers, modules) = (named("_parameters")?, named("_buffers")?, named("_modules")?);
        let transient = match part("_non_persistent_buffers_set") {
            Some((_, set)) => self.texts(set, walk.path)?,
            None => HashSet::new(),
        };
        for (name, buffer) in buffers {
            if !transient.contains(&name) {
                own.push((name, buffer));
            } else if !matches!(pickle.node(buffer), Node::None) {
                let name = Key::Text(format!("{}{name}", walk.prefix));
                self.skip(&[walk.path, &[name]].concat(), "a buffer that is not persistent".to_owned())?;
            }
        }
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
