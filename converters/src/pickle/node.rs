//! The objects that a pickle builds: nodes of an arena that refer to each other by number.
//!
//! Numbers instead of pointers make sharing and cycles harmless: nothing recurses when they are dropped.

use std::borrow::Cow;

use bytes::Bytes;
use num_bigint::BigInt;

use super::globals::Meaning;

/// The objects of one pickle.
#[derive(Debug)]
pub(crate) struct Pickle {
    pub(crate) nodes: Vec<Node>,
    pub(crate) globals: Vec<NamedGlobal>,
    pub(crate) root: Id,
    /// Bytes up to and including STOP.
    pub(crate) len: usize,
}

impl Pickle {
    /// The node of this number; a missing one reads as `None`.
    pub(crate) fn node(&self, id: Id) -> &Node {
        self.nodes.get(id as usize).unwrap_or(&Node::None)
    }

    /// The items of a tuple; empty for anything else.
    pub(crate) fn tuple(&self, id: Id) -> &[Id] {
        match self.node(id) {
            Node::Tuple(items) => items,
            _ => &[],
        }
    }

    /// The global behind a node.
    pub(crate) fn global(&self, id: Id) -> Option<&NamedGlobal> {
        match self.node(id) {
            Node::Global(number) => self.globals.get(*number as usize),
            _ => None,
        }
    }

    /// What a node means, if it is a global.
    pub(crate) fn meaning(&self, id: Id) -> Option<Meaning> {
        self.global(id).map(|global| global.meaning)
    }
}

/// Number of a node in [`Pickle::nodes`].
pub(crate) type Id = u32;

/// One object.
#[derive(Debug, Clone)]
pub(crate) enum Node {
    None,
    Bool(bool),
    Int(i64),
    BigInt(Box<BigInt>),
    Float(f64),
    /// Valid UTF-8, most often a slice of the file.
    Text(Bytes),
    Bytes(Bytes),
    /// A `str` of Python 2: text or bytes, whichever is asked for.
    ByteString(Bytes),
    List(Vec<Id>),
    Tuple(Box<[Id]>),
    Set(Vec<Id>),
    Dict(Vec<(Id, Id)>),
    /// A class or function, by its number in [`Pickle::globals`].
    Global(u32),
    /// What a callable would have made of its arguments.
    Object(Box<Object>),
    /// A reference to something outside the pickle: the node says what.
    Persistent(Id),
}

/// A call that was not made, and what was added to its result.
#[derive(Debug, Clone)]
pub(crate) struct Object {
    /// What would have been called: a global, or a persistent reference to a module class.
    pub(crate) callable: Id,
    /// A tuple.
    pub(crate) args: Id,
    /// State given by BUILD, in order.
    pub(crate) state: Vec<Id>,
    /// Items set on it as on a dictionary.
    pub(crate) entries: Vec<(Id, Id)>,
    /// Items appended to it as to a list, or added as to a set.
    pub(crate) items: Vec<Id>,
}

/// A class or function that the pickle names.
#[derive(Debug, Clone)]
pub(crate) struct NamedGlobal {
    /// `module.name`.
    pub(crate) name: String,
    pub(crate) meaning: Meaning,
}

impl Node {
    /// The node as text.
    pub(crate) fn text(&self) -> Option<Cow<'_, str>> {
        match self {
            Node::Text(text) => std::str::from_utf8(text).ok().map(Cow::Borrowed),
            Node::ByteString(bytes) => Some(match std::str::from_utf8(bytes) {
                Ok(text) => Cow::Borrowed(text),
                Err(_) => Cow::Owned(bytes.iter().map(|byte| char::from(*byte)).collect()),
            }),
            _ => None,
        }
    }

    /// Whether the node is this ASCII text.
    pub(crate) fn is_text(&self, wanted: &str) -> bool {
        matches!(self, Node::Text(text) | Node::ByteString(text) if text == wanted)
    }

    /// The node as an integer; booleans count, as in Python.
    pub(crate) fn int(&self) -> Option<i64> {
        match self {
            Node::Int(number) => Some(*number),
            Node::Bool(truth) => Some(i64::from(*truth)),
            _ => None,
        }
    }
}
