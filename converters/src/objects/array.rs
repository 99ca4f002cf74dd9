//! numpy arrays and scalars inside pickles.

use std::fmt::Display;
use std::sync::Arc;

use bytes::Bytes;

use super::{Reader, Tensorlike};
use crate::cast;
use crate::dtype::Dtype;
use crate::error::Problem;
use crate::memory::hashed;
use crate::numpy::dtype::{ArrayType, parse_descr};
use crate::pickle::globals::Meaning;
use crate::pickle::node::{Id, Node, Object};
use crate::storage::{Encoding, Storage, latin1_length};
use crate::tensor::{Change, View};
use crate::value::{Key, Value, join};

/// The parts of an array's description.
struct Parts {
    shape: Id,
    dtype: Id,
    fortran: bool,
    data: Id,
}

impl Reader<'_> {
    /// The array that `object` describes.
    pub(super) fn array(&mut self, object: &Object, name: &dyn Display) -> Result<Tensorlike, Problem> {
        let place = format!("array `{name}`");
        let parts =
            self.parts(object).ok_or_else(|| Problem::malformed(&*place, "its state is incomplete"))?;
        let element = match self.element_type(parts.dtype, &place)? {
            Ok(element) => element,
            Err(kind) => {
                return Ok(Tensorlike::Skipped(format!("an array of numpy {kind}, which is not read")));
            }
        };
        let shape = self.sizes(parts.shape).and_then(|sizes| {
            sizes.iter().map(|size| usize::try_from(*size).ok()).collect::<Option<Vec<_>>>()
        });
        let shape = shape.ok_or_else(|| Problem::malformed(&*place, "its shape is not a tuple of sizes"))?;
        let data = self.array_bytes(parts.data, &place)?;
        let change = Change { swap: element.big_endian, ..Change::default() };
        let view = match parts.fortran {
            true => View::column_major(&place, data, 0, element.dtype, shape, change),
            false => View::whole(&place, data, 0, element.dtype, shape, change),
        };
        view.map(Tensorlike::Tensor)
    }

    /// `_frombuffer(data, dtype, shape, order)`, or `_reconstruct` with the state
    /// `(version, shape, dtype, is_fortran, data)` (version 0 leaves the first out).
    fn parts(&self, object: &Object) -> Option<Parts> {
        if self.pickle.meaning(object.callable) == Some(Meaning::NumpyFromBuffer) {
            let &[data, dtype, shape, order, ..] = self.pickle.tuple(object.args) else {
                return None;
            };
            let fortran = self.pickle.node(order).text().as_deref() == Some("F");
            return Some(Parts { shape, dtype, fortran, data });
        }
        let state = self.pickle.tuple(*object.state.first()?);
        let &[shape, dtype, order, data] = state.last_chunk()?;
        let fortran = self.pickle.node(order).int()? != 0;
        Some(Parts { shape, dtype, fortran, data })
    }

    /// The element type of a `numpy.dtype` object; the inner error names a type that is no number.
    fn element_type(&self, id: Id, place: &str) -> Result<Result<ArrayType, String>, Problem> {
        let corrupt = || Problem::malformed(place, "its element type is not a numpy.dtype");
        let Node::Object(object) = self.pickle.node(id) else {
            return Err(corrupt());
        };
        if self.pickle.meaning(object.callable) != Some(Meaning::NumpyDtype) {
            return Err(corrupt());
        }
        let descr = self.pickle.tuple(object.args).first().and_then(|descr| self.pickle.node(*descr).text());
        let descr = descr.ok_or_else(corrupt)?;
        // (3, byte order, sub-array, field names, ...)
        let order = match object.state.first().map(|state| self.pickle.tuple(*state)) {
            Some(state) => {
                let order = state.get(1).and_then(|order| self.pickle.node(*order).text());
                order.ok_or_else(corrupt)?
            }
            None => "".into(),
        };
        Ok(parse_descr(&format!("{order}{descr}")).ok_or_else(|| format!("type {descr}")))
    }

    /// The bytes of an array, shared by all arrays that name the same object.
    fn array_bytes(&mut self, id: Id, place: &str) -> Result<Arc<Storage>, Problem> {
        if let Some(storage) = self.arrays.get(&id) {
            return Ok(storage.clone());
        }
        let pickle = self.pickle;
        let storage = match pickle.node(id) {
            Node::Bytes(bytes) | Node::ByteString(bytes) => {
                Some(Storage::raw(self.file.clone(), place, bytes.clone()))
            }
            Node::Object(object) => self.encoded(object, &[Key::Text(place.to_owned())])?,
            _ => None,
        };
        let storage = Arc::new(storage.ok_or_else(|| Problem::malformed(place, "its data are not bytes"))?);
        let entry = size_of::<Storage>() + hashed::<(Id, Arc<Storage>)>();
        self.memory.take(entry + place.len(), || place.to_owned())?;
        self.arrays.insert(id, storage.clone());
        Ok(storage)
    }

    /// Byte strings that protocols below 3 write as calls: `_codecs.encode(text, 'latin1')`,
    /// `bytearray(text, 'latin-1')`, `bytes()`. `None` when the call is another or makes something else.
    pub(super) fn encoded(&self, object: &Object, path: &[Key]) -> Result<Option<Storage>, Problem> {
        let place = join(path);
        match self.pickle.meaning(object.callable) {
            Some(Meaning::Encode | Meaning::Bytes) => {}
            _ => return Ok(None),
        }
        let args = self.pickle.tuple(object.args);
        let codec = args.get(1).and_then(|codec| self.pickle.node(*codec).text());
        let is_latin1 = matches!(codec.as_deref(), Some("latin1" | "latin-1"));
        if !is_latin1 && args.len() > 1 {
            return Err(Problem::ForbiddenOperation {
                place: format!("`{place}`"),
                what: format!("_codecs.encode with the codec {codec:?}"),
            });
        }
        match args.first().map(|text| self.pickle.node(*text)) {
            Some(Node::Text(text)) if is_latin1 => {
                let valid = std::str::from_utf8(text).ok().and_then(latin1_length);
                let size =
                    valid.ok_or_else(|| Problem::malformed(&*place, "its bytes are not latin-1 text"))?;
                let encoding = Encoding::Latin1 { size };
                Ok(Some(Storage::new(self.file.clone(), place, text.clone(), encoding, None)))
            }
            Some(Node::Bytes(bytes) | Node::ByteString(bytes)) => {
                Ok(Some(Storage::raw(self.file.clone(), place, bytes.clone())))
            }
            None => Ok(Some(Storage::raw(self.file.clone(), place, Bytes::new()))),
            // bytearray(_codecs.encode(text, 'latin1'))
            Some(Node::Object(inner)) if self.pickle.meaning(inner.callable) == Some(Meaning::Encode) => {
                self.encoded(inner, path)
            }
            Some(Node::Tuple(_) | Node::List(_)) => Ok(None),
            _ => Err(Problem::malformed(place, "its bytes are not latin-1 text")),
        }
    }

    /// `scalar(dtype, bytes)`: a number.
    pub(super) fn scalar(&mut self, object: &Object, path: &[Key]) -> Result<Value, Problem> {
        self.charge_path(path)?;
        let place = join(path);
        let &[dtype, data, ..] = self.pickle.tuple(object.args) else {
            return Err(Problem::malformed(place, "a numpy scalar lacks its type or value"));
        };
        let element = match self.element_type(dtype, &place)? {
            Ok(element) => element,
            Err(kind) => return self.skip(path, format!("a numpy scalar of {kind}")),
        };
        let storage = self.array_bytes(data, &place)?;
        let mut bytes = storage.decoded()?.to_vec();
        if bytes.len() != element.dtype.size() {
            return Err(Problem::malformed(place, "a numpy scalar has bytes for another type"));
        }
        if element.big_endian {
            bytes.reverse();
        }
        Ok(number(element.dtype, &bytes))
    }
}

/// One little-endian element as plain data.
fn number(dtype: Dtype, bytes: &[u8]) -> Value {
    let decoded = cast::decode(dtype, bytes);
    match dtype {
        Dtype::Bool => Value::Bool(decoded != 0.0),
        Dtype::I64 | Dtype::U64 => match bytes.first_chunk() {
            Some(word) if dtype == Dtype::I64 => Value::Int(i64::from_le_bytes(*word)),
            Some(word) => Value::BigInt(u64::from_le_bytes(*word).into()),
            None => Value::None,
        },
        _ if dtype.is_float() => Value::Float(decoded),
        Dtype::C64 | Dtype::C128 => {
            let (real, imaginary) = bytes.split_at(bytes.len() / 2);
            let parts = [real, imaginary].map(|part| Value::Float(cast::decode(dtype, part)));
            Value::Tuple(parts.into())
        }
        _ => Value::Int(decoded as i64),
    }
}
