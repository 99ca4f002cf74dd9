//! The inert tree of everything a checkpoint holds: what a pickle or a header says, as plain data.

use bytes::Bytes;
use num_bigint::BigInt;

/// One node of the tree. Nothing in it can run; its depth is at most [`crate::limits::MAX_DEPTH`].
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// `None`, `null`.
    None,
    /// A truth value.
    Bool(bool),
    /// An integer that fits 64 bits.
    Int(i64),
    /// A longer integer.
    BigInt(BigInt),
    /// A floating-point number.
    Float(f64),
    /// Text.
    Text(String),
    /// A byte string.
    Bytes(Bytes),
    /// A list.
    List(Vec<Value>),
    /// A tuple, also `torch.Size`.
    Tuple(Vec<Value>),
    /// A set or frozen set, in file order.
    Set(Vec<Value>),
    /// A dictionary, in file order.
    Dict(Dict),
    /// A class, function or constant that is referred to by its dotted name, such as `torch.float32`.
    Name(String),
    /// An instance of a class that exists nowhere here.
    Record(Box<Record>),
    /// A pickled module.
    Module(Box<Module>),
    /// The tensor with this index in [`crate::Checkpoint::tensors`].
    Tensor(usize),
    /// Something that is no tensor and no plain data, and why: an object array, a tensor without data.
    Skipped(String),
}

/// A dictionary: entries in file order, keys of any plain kind.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Dict {
    /// Whether it was a `collections.OrderedDict`.
    pub ordered: bool,
    /// Keys and values.
    pub entries: Vec<(Value, Value)>,
}

/// An instance of an unknown class: what its constructor was given and what its state says.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// Dotted name of the class.
    pub class: String,
    /// Arguments of its construction.
    pub args: Vec<Value>,
    /// Attributes and, for a subclass of dict, entries.
    pub fields: Vec<(Value, Value)>,
    /// Elements, for a subclass of list.
    pub items: Vec<Value>,
}

/// A pickled module: its state dictionary, and what else its instance holds.
#[derive(Debug, Clone, PartialEq)]
pub struct Module {
    /// Dotted name of the class.
    pub class: String,
    /// Tensors by their `state_dict` names.
    pub state: Dict,
    /// Other attributes: class names, strides, settings.
    pub attributes: Vec<(Value, Value)>,
}

impl Value {
    /// A dictionary of text keys, as the formats with a fixed header give it.
    pub fn dict(entries: impl IntoIterator<Item = (String, Value)>) -> Value {
        let entries = entries.into_iter().map(|(key, value)| (Value::Text(key), value)).collect();
        Value::Dict(Dict { ordered: false, entries })
    }

    /// Looks up one step of a path: a key of a dictionary or a record, or an index of a list or a tuple.
    pub fn get(&self, key: &Key) -> Option<&Value> {
        let find = |entries: &'_ [(Value, Value)]| {
            entries.iter().position(|(candidate, _)| candidate.as_key().as_ref() == Some(key))
        };
        let at = |items: &'_ [Value]| match key {
            Key::Index(index) => usize::try_from(*index).ok().filter(|index| *index < items.len()),
            Key::Text(_) => None,
        };
        match self {
            Value::Dict(dict) => dict.entries.get(find(&dict.entries)?).map(|(_, value)| value),
            Value::Module(module) => match find(&module.state.entries) {
                Some(index) => module.state.entries.get(index).map(|(_, value)| value),
                None => module.attributes.get(find(&module.attributes)?).map(|(_, value)| value),
            },
            Value::Record(record) => match find(&record.fields) {
                Some(index) => record.fields.get(index).map(|(_, value)| value),
                None => record.items.get(at(&record.items)?),
            },
            Value::List(items) | Value::Tuple(items) | Value::Set(items) => items.get(at(items)?),
            _ => None,
        }
    }

    /// This value as a step of a path, if it can be one.
    pub fn as_key(&self) -> Option<Key> {
        match self {
            Value::Text(text) => Some(Key::Text(text.clone())),
            Value::Int(number) => Some(Key::Index(*number)),
            Value::Name(name) => Some(Key::Text(name.clone())),
            _ => None,
        }
    }

    /// This value as a step of a path, whatever it is: keys that are neither text nor integers are spelled as
    /// Python spells them.
    pub fn step(&self) -> Key {
        self.as_key().unwrap_or_else(|| Key::Text(Spelling(self).to_string()))
    }

    /// The steps that lead from this value to those in it.
    pub(crate) fn steps(&self) -> Vec<Key> {
        let keys = |entries: &[(Value, Value)]| entries.iter().map(|(key, _)| key.step()).collect();
        let indices = |items: &[Value]| (0..items.len()).map(|index| Key::Index(index as i64)).collect();
        match self {
            Value::Dict(dict) => keys(&dict.entries),
            Value::Module(module) => [keys(&module.state.entries), keys(&module.attributes)].concat(),
            Value::Record(record) => keys(&record.fields),
            Value::List(items) | Value::Tuple(items) | Value::Set(items) => indices(items),
            _ => Vec::new(),
        }
    }

    /// Whether a tensor stands anywhere inside.
    pub fn holds_tensor(&self) -> bool {
        match self {
            Value::Tensor(_) => true,
            Value::List(items) | Value::Tuple(items) | Value::Set(items) => {
                items.iter().any(Value::holds_tensor)
            }
            Value::Dict(dict) => dict.entries.iter().any(|(_, value)| value.holds_tensor()),
            Value::Module(module) => module.state.entries.iter().any(|(_, value)| value.holds_tensor()),
            Value::Record(record) => {
                record.fields.iter().any(|(_, value)| value.holds_tensor())
                    || record.items.iter().chain(&record.args).any(Value::holds_tensor)
            }
            _ => false,
        }
    }
}

/// A value that shows as Python spells it; containers that cannot be keys show as dots.
pub(crate) struct Spelling<'a>(pub(crate) &'a Value);

impl std::fmt::Display for Spelling<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut all = |items: &[Value], open: &str, close: &str| {
            f.write_str(open)?;
            for (index, item) in items.iter().enumerate() {
                let comma = if index > 0 { ", " } else { "" };
                write!(f, "{comma}{}", Spelling(item))?;
            }
            f.write_str(close)
        };
        match self.0 {
            Value::Tuple(items) if items.len() == 1 => all(items, "(", ",)"),
            Value::Tuple(items) => all(items, "(", ")"),
            Value::Set(items) => all(items, "frozenset({", "})"),
            Value::Record(record) => all(&record.args, &format!("{}(", record.class), ")"),
            Value::None => f.write_str("None"),
            Value::Bool(truth) => f.write_str(if *truth { "True" } else { "False" }),
            Value::Int(number) => write!(f, "{number}"),
            Value::BigInt(number) => write!(f, "{number}"),
            Value::Float(number) => write!(f, "{number:?}"),
            Value::Text(text) => write!(f, "'{text}'"),
            Value::Bytes(bytes) => write!(f, "b'{}'", bytes.escape_ascii()),
            Value::Name(name) => f.write_str(name),
            Value::List(_) | Value::Dict(_) | Value::Module(_) | Value::Tensor(_) | Value::Skipped(_) => {
                f.write_str("...")
            }
        }
    }
}

/// One step of the path from the root of a checkpoint to a tensor.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Key {
    /// A text key. A whole module contributes the full `state_dict` name as one of these.
    Text(String),
    /// An integer key or a position in a list.
    Index(i64),
}

impl Key {
    /// Bytes of text in the key.
    pub(crate) fn text_len(&self) -> usize {
        match self {
            Key::Text(text) => text.len(),
            Key::Index(_) => 0,
        }
    }
}

impl std::fmt::Display for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Key::Text(text) => f.write_str(text),
            Key::Index(index) => write!(f, "{index}"),
        }
    }
}

/// A path that shows as its steps joined with dots.
pub(crate) struct Dotted<'a>(pub(crate) &'a [Key]);

impl std::fmt::Display for Dotted<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (index, key) in self.0.iter().enumerate() {
            let dot = if index > 0 { "." } else { "" };
            write!(f, "{dot}{key}")?;
        }
        Ok(())
    }
}

/// Joins the steps of a path with dots: the flat name of a tensor.
pub fn join(path: &[Key]) -> String {
    Dotted(path).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_keys_are_spelled_as_in_python() {
        let pair = Value::Tuple(vec![Value::Int(1), Value::Text("a".to_owned())]);
        assert_eq!(pair.step(), Key::Text("(1, 'a')".to_owned()));
        assert_eq!(Value::Bool(true).step(), Key::Text("True".to_owned()));
        assert_eq!(Value::Float(1.0).step(), Key::Text("1.0".to_owned()));
        assert_eq!(Value::Tuple(vec![Value::None]).step(), Key::Text("(None,)".to_owned()));
        assert_eq!(Value::Text("a.b".to_owned()).step(), Key::Text("a.b".to_owned()));
    }
}
