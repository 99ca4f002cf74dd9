//! Tensors of PyTorch and Jittor: calls of `torch._utils._rebuild_*` and `jittor_core.Var`.

use std::fmt::Display;

use super::{Reader, Referent, Tensorlike, TypedStorage};
use crate::dtype::Dtype;
use crate::error::Problem;
use crate::limits;
use crate::memory::hashed;
use crate::pickle::globals::Meaning;
use crate::pickle::node::{Id, Node, Object};
use crate::tensor::{Change, View};

const SAVE_PLAIN: &str =
    "save it again as an ordinary dense tensor, for instance x.dequantize() or x.to_dense()";

impl Reader<'_> {
    /// The tensor that node `id` describes, or `None` when it is something else.
    pub(super) fn tensor(
        &mut self,
        id: Id,
        name: &dyn Display,
        depth: usize,
    ) -> Result<Option<Tensorlike>, Problem> {
        if let Some(found) = self.views.get(&id) {
            return Ok(Some(found.clone()));
        }
        let pickle = self.pickle;
        let found = match pickle.node(id) {
            Node::Object(object) => self.rebuild(object, name, depth)?,
            Node::Persistent(reference) if !self.is_class_reference(*reference) => {
                match self.storages.resolve(pickle, *reference)? {
                    Referent::Tensor(view) => Some(Tensorlike::Tensor(view)),
                    Referent::Storage(_) => None,
                }
            }
            _ => None,
        };
        if let Some(found) = &found {
            let entry = hashed::<(Id, Tensorlike)>() + found.memory();
            self.memory.take(entry, || format!("tensor `{name}`"))?;
            self.views.insert(id, found.clone());
        }
        Ok(found)
    }

    fn rebuild(
        &mut self,
        object: &Object,
        name: &dyn Display,
        depth: usize,
    ) -> Result<Option<Tensorlike>, Problem> {
        let pickle = self.pickle;
        let args = pickle.tuple(object.args);
        let place = || format!("tensor `{name}`");
        if depth > limits::MAX_DEPTH {
            let what = "the depth of the objects".to_owned();
            return Err(Problem::Limit { place: place(), what, limit: limits::MAX_DEPTH as u64 });
        }
        match pickle.meaning(object.callable) {
            Some(Meaning::RebuildTensor | Meaning::RebuildTensorV3) => {
                self.strided(object, args, name).map(|view| Some(Tensorlike::Tensor(view)))
            }
            Some(Meaning::RebuildParameter) => {
                let inner = args.first().map(|tensor| self.tensor(*tensor, name, depth + 1)).transpose()?;
                inner
                    .flatten()
                    .map(Some)
                    .ok_or_else(|| Problem::malformed(place(), "the parameter is not a tensor"))
            }
            Some(Meaning::RebuildFromType) => self.with_attributes(args, name, depth),
            Some(Meaning::RebuildMeta) => {
                Ok(Some(Tensorlike::Skipped("a meta tensor: it has no data".to_owned())))
            }
            Some(Meaning::RebuildOther) => {
                let kind = self.kind(object, args);
                Err(Problem::unsupported(place(), kind, SAVE_PLAIN))
            }
            Some(Meaning::JittorVar) => {
                let array = args.first().map(|array| self.tensor(*array, name, depth + 1)).transpose()?;
                array.flatten().map(Some).ok_or_else(|| Problem::malformed(place(), "the Var holds no array"))
            }
            Some(Meaning::NumpyReconstruct | Meaning::NumpyFromBuffer) => self.array(object, name).map(Some),
            _ => Ok(None),
        }
    }

    /// What kind of tensor a call makes that is not read.
    fn kind(&self, object: &Object, args: &[Id]) -> String {
        let function = self.name(object.callable);
        let storage = args.first().map(|storage| match self.pickle.node(*storage) {
            Node::Persistent(reference) => {
                self.pickle.tuple(*reference).get(1).map(|class| self.name(*class))
            }
            _ => None,
        });
        match (&*function, storage.flatten()) {
            ("torch._utils._rebuild_qtensor", Some(storage)) => {
                let kind = storage.trim_start_matches("torch.").trim_end_matches("Storage").to_lowercase();
                format!("a quantized tensor ({kind}, {function})")
            }
            ("torch._utils._rebuild_sparse_tensor", _) => format!("a sparse tensor ({function})"),
            _ => format!("a tensor made by {function}"),
        }
    }

    /// `_rebuild_from_type_v2(function, type, arguments, state)`: the arguments are those of `function`.
    fn with_attributes(
        &mut self,
        args: &[Id],
        name: &dyn Display,
        depth: usize,
    ) -> Result<Option<Tensorlike>, Problem> {
        let &[callable, _, args, ..] = args else {
            return Err(Problem::malformed(format!("tensor `{name}`"), "its type is not described"));
        };
        let (state, entries, items) = (Vec::new(), Vec::new(), Vec::new());
        let inner = Object { callable, args, state, entries, items };
        self.rebuild(&inner, name, depth + 1)
    }

    /// `(storage, offset, size, stride, requires_grad, hooks, ...)`; then version 3 has the element type, and
    /// both may have a dictionary of conjugate and negative bits.
    fn strided(&mut self, object: &Object, args: &[Id], name: &dyn Display) -> Result<View, Problem> {
        let place = format!("tensor `{name}`");
        let corrupt = |rule| Problem::malformed(&*place, rule);
        let &[storage, offset, size, stride, ref rest @ ..] = args else {
            return Err(corrupt("it lacks storage, offset, size or stride"));
        };
        let storage = self.storage(storage, &place)?;
        let extra = |index: usize| rest.get(index).copied();
        let (dtype, metadata) = match self.pickle.meaning(object.callable) {
            Some(Meaning::RebuildTensorV3) => {
                (extra(2).and_then(|dtype| self.torch_dtype(dtype)).or(storage.dtype), extra(3))
            }
            _ => (storage.dtype, extra(2)),
        };
        let dtype = dtype.ok_or_else(|| {
            let name = extra(2).and_then(|dtype| self.pickle.global(dtype)).map(|global| &*global.name);
            let what = format!("the element type {}", name.unwrap_or("of an untyped storage"));
            Problem::unsupported(&*place, what, SAVE_PLAIN)
        })?;
        let shape = self.sizes(size).ok_or_else(|| corrupt("its size is not a tuple of sizes"))?;
        let strides = self.sizes(stride).ok_or_else(|| corrupt("its strides are not a tuple of steps"))?;
        let offset = self.pickle.node(offset).int().and_then(|offset| u64::try_from(offset).ok());
        let offset = offset.ok_or_else(|| Problem::OutOfRange {
            place: place.clone(),
            reach: "its offset is not a position in the storage".to_owned(),
        })?;
        let change = self.change(metadata, storage.big_endian);
        if change.conjugate && !matches!(dtype, Dtype::C64 | Dtype::C128) || change.negate && !has_sign(dtype)
        {
            return Err(Problem::unsupported(
                &*place,
                format!("a negative or conjugate view of {dtype}"),
                SAVE_PLAIN,
            ));
        }
        let shape = shape.iter().map(|size| usize::try_from(*size)).collect::<Result<_, _>>();
        let shape = shape.map_err(|_| corrupt("a size is too large for this machine"))?;
        let start = offset.saturating_add(storage.start);
        View::strided(&place, storage.bytes, dtype, shape, strides, start, change)
    }

    fn storage(&mut self, id: Id, place: &str) -> Result<TypedStorage, Problem> {
        let pickle = self.pickle;
        let not_a_storage = || Problem::malformed(place, "its storage is not a storage");
        match pickle.node(id) {
            Node::Persistent(reference) => match self.storages.resolve(pickle, *reference)? {
                Referent::Storage(storage) => Ok(storage),
                Referent::Tensor(_) => Err(not_a_storage()),
            },
            _ => Err(not_a_storage()),
        }
    }

    fn torch_dtype(&self, id: Id) -> Option<Dtype> {
        match self.pickle.meaning(id) {
            Some(Meaning::TorchDtype(dtype)) => Some(dtype),
            _ => None,
        }
    }

    /// A tuple (or a list, or a `torch.Size`) of integers that are not negative.
    pub(super) fn sizes(&self, id: Id) -> Option<Vec<u64>> {
        let listed = match self.pickle.node(id) {
            Node::Object(object) if self.pickle.meaning(object.callable) == Some(Meaning::Tuple) => {
                *self.pickle.tuple(object.args).first()?
            }
            _ => id,
        };
        let items = match self.pickle.node(listed) {
            Node::Tuple(items) => items,
            Node::List(items) => items.as_slice(),
            _ => return None,
        };
        items.iter().map(|item| u64::try_from(self.pickle.node(*item).int()?).ok()).collect()
    }

    /// The conjugate and negative bits of `_rebuild_tensor_v2`'s metadata.
    fn change(&self, metadata: Option<Id>, swap: bool) -> Change {
        let mut change = Change { swap, ..Change::default() };
        let Some(Node::Dict(entries)) = metadata.map(|metadata| self.pickle.node(metadata)) else {
            return change;
        };
        for (key, value) in entries {
            let is_set = matches!(self.pickle.node(*value), Node::Bool(true));
            match self.pickle.node(*key).text().as_deref() {
                Some("conj") => change.conjugate = is_set,
                Some("neg") => change.negate = is_set,
                _ => {}
            }
        }
        change
    }

    /// `('module', class, file, source)`, in the tar archive without the tag: how old versions referred to a
    /// module's class.
    fn is_class_reference(&self, reference: Id) -> bool {
        let Some(first) = self.pickle.tuple(reference).first() else { return false };
        self.pickle.global(*first).is_some() || self.pickle.node(*first).text().as_deref() == Some("module")
    }
}

/// Whether flipping the top bit of a word negates it.
fn has_sign(dtype: Dtype) -> bool {
    dtype.is_float() || matches!(dtype, Dtype::C64 | Dtype::C128)
}
