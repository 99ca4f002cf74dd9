//! From a tensor message to a view of its bytes: element type, shape, and the one field that holds the data.
//!
//! `raw_data`, `float_data` and `double_data` are little-endian elements in the file itself and stay there. The
//! integer fields are varints and are converted when the model is opened: a byte of the file gives at most eight,
//! which keeps the whole below [`crate::limits::MAX_DECODED_RATIO`].

use bytes::Bytes;

use super::external::ExternalFiles;
use super::messages::{DataLocation, DataType, TensorProto};
use super::varint;
use crate::dtype::Dtype;
use crate::error::{Error, InFile, Problem, Result};
use crate::storage::Storage;
use crate::tensor::{Change, View, byte_len};

/// The bytes of `tensor`, which the graph knows as `name`.
///
/// # Errors
/// When its type has no counterpart here, when its data are not in exactly one place, and when they are not as
/// many as its shape says.
pub(super) fn view(name: &str, tensor: &TensorProto, files: &mut ExternalFiles<'_>) -> Result<View> {
    let path = files.model().clone();
    let place = format!("tensor `{name}`");
    let (dtype, shape) = describe(&place, tensor).in_file(&path)?;
    let inline = Inline::of(&place, tensor).in_file(&path)?;
    let external = is_external(&place, tensor).in_file(&path)?;
    let storage = match inline {
        Some(_) if external => {
            let rule = "its data are in the model and in another file";
            return Err(Error::new(&*path, Problem::malformed(place, rule)));
        }
        None if external => files.storage(&place, &tensor.external_data)?,
        Some(inline) => {
            let bytes = inline.elements(&place, dtype, &shape).in_file(&path)?;
            Storage::raw(path.clone(), format!("{} of {place}", inline.field.name()), bytes)
        }
        None => Storage::raw(path.clone(), format!("the missing data of {place}"), Bytes::new()),
    };
    View::whole(&place, storage.into(), 0, dtype, shape, Change::default()).in_file(&path)
}

/// Element type and shape.
fn describe(place: &str, tensor: &TensorProto) -> std::result::Result<(Dtype, Vec<usize>), Problem> {
    if tensor.segment.is_some() {
        let remedy = "store it in one piece";
        return Err(Problem::unsupported(place, "a tensor cut into segments", remedy));
    }
    let dtype = supported(place, tensor.data_type)?;
    let sizes = tensor.dims.iter().map(|size| usize::try_from(*size).ok());
    let shape = sizes.collect::<Option<Vec<_>>>().ok_or_else(|| Problem::Malformed {
        place: format!("{place}, dims {:?},", tensor.dims),
        rule: "a size is negative",
    })?;
    byte_len(place, dtype, &shape)?;
    Ok((dtype, shape))
}

fn supported(place: &str, code: i32) -> std::result::Result<Dtype, Problem> {
    match DataType::try_from(code) {
        Ok(DataType::Undefined) => Err(Problem::malformed(place, "its data_type is UNDEFINED")),
        Ok(kind) => dtype(kind).ok_or_else(|| {
            let remedy = "export the model with elements of 8 bits and more in one of the common types";
            Problem::unsupported(place, format!("element type {}", kind.name()), remedy)
        }),
        Err(_) => {
            let remedy = "the model is damaged, or newer than this program";
            Err(Problem::unsupported(place, format!("data_type {code}"), remedy))
        }
    }
}

/// The element type here that is the same as ONNX's `kind`.
pub(super) fn dtype(kind: DataType) -> Option<Dtype> {
    Some(match kind {
        DataType::Double => Dtype::F64,
        DataType::Float => Dtype::F32,
        DataType::Float16 => Dtype::F16,
        DataType::Bfloat16 => Dtype::Bf16,
        DataType::Float8E4m3fn => Dtype::F8E4M3,
        DataType::Float8E5m2 => Dtype::F8E5M2,
        DataType::Int64 => Dtype::I64,
        DataType::Int32 => Dtype::I32,
        DataType::Int16 => Dtype::I16,
        DataType::Int8 => Dtype::I8,
        DataType::Uint64 => Dtype::U64,
        DataType::Uint32 => Dtype::U32,
        DataType::Uint16 => Dtype::U16,
        DataType::Uint8 => Dtype::U8,
        DataType::Bool => Dtype::Bool,
        DataType::Complex64 => Dtype::C64,
        DataType::Complex128 => Dtype::C128,
        _ => return None,
    })
}

fn is_external(place: &str, tensor: &TensorProto) -> std::result::Result<bool, Problem> {
    match DataLocation::try_from(tensor.data_location) {
        Ok(location) => Ok(location == DataLocation::External),
        Err(_) => Err(Problem::malformed(place, "its data_location is neither DEFAULT nor EXTERNAL")),
    }
}

/// The fields of a tensor message that can hold its data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum DataField {
    Raw,
    Float,
    Int32,
    Text,
    Int64,
    Double,
    Uint64,
}

impl DataField {
    const fn name(self) -> &'static str {
        match self {
            DataField::Raw => "raw_data",
            DataField::Float => "float_data",
            DataField::Int32 => "int32_data",
            DataField::Text => "string_data",
            DataField::Int64 => "int64_data",
            DataField::Double => "double_data",
            DataField::Uint64 => "uint64_data",
        }
    }

    /// The field that ONNX assigns to elements that are not in `raw_data`.
    const fn of(dtype: Dtype) -> DataField {
        match dtype {
            Dtype::F32 | Dtype::C64 => DataField::Float,
            Dtype::F64 | Dtype::C128 => DataField::Double,
            Dtype::I64 => DataField::Int64,
            Dtype::U64 | Dtype::U32 => DataField::Uint64,
            Dtype::I32 | Dtype::I16 | Dtype::I8 | Dtype::U16 | Dtype::U8 | Dtype::Bool => DataField::Int32,
            Dtype::F16 | Dtype::Bf16 | Dtype::F8E4M3 | Dtype::F8E5M2 => DataField::Int32,
        }
    }
}

/// Data inside the model: the field and its pieces.
struct Inline<'a> {
    field: DataField,
    pieces: &'a [Bytes],
}

impl Inline<'_> {
    /// The one field that is not empty, if any is.
    fn of<'a>(place: &str, tensor: &'a TensorProto) -> std::result::Result<Option<Inline<'a>>, Problem> {
        let fields = [
            (DataField::Raw, tensor.raw_data.as_slice()),
            (DataField::Float, &*tensor.float_data),
            (DataField::Int32, &*tensor.int32_data),
            (DataField::Text, &*tensor.string_data),
            (DataField::Int64, &*tensor.int64_data),
            (DataField::Double, &*tensor.double_data),
            (DataField::Uint64, &*tensor.uint64_data),
        ];
        let mut used = fields.into_iter().filter(|(_, pieces)| pieces.iter().any(|piece| !piece.is_empty()));
        let first = used.next();
        if let (Some((first, _)), Some((second, _))) = (first, used.next()) {
            return Err(Problem::Contradiction {
                place: place.to_owned(),
                says: format!("its data are in {}", first.name()),
                but: format!("{} holds some too", second.name()),
            });
        }
        Ok(first.map(|(field, pieces)| Inline { field, pieces }))
    }

    /// The row-major little-endian elements.
    fn elements(&self, place: &str, dtype: Dtype, shape: &[usize]) -> std::result::Result<Bytes, Problem> {
        if self.field != DataField::Raw && self.field != DataField::of(dtype) {
            return Err(Problem::Contradiction {
                place: place.to_owned(),
                says: format!("its elements are {dtype}"),
                but: format!("they are in {}", self.field.name()),
            });
        }
        match self.field {
            DataField::Raw | DataField::Float | DataField::Double | DataField::Text => Ok(self.joined()),
            DataField::Int32 | DataField::Int64 | DataField::Uint64 => self.converted(place, dtype, shape),
        }
    }

    /// All pieces in one. There is one, as good as always, which is not copied.
    fn joined(&self) -> Bytes {
        match self.pieces {
            [piece] => piece.clone(),
            pieces => pieces.concat().into(),
        }
    }

    /// Varints to elements. They are counted before any memory is taken.
    fn converted(&self, place: &str, dtype: Dtype, shape: &[usize]) -> std::result::Result<Bytes, Problem> {
        let wanted = byte_len(place, dtype, shape)? / dtype.size() as u64;
        let there = self.pieces.iter().map(|piece| varint::count(piece)).sum::<usize>();
        if there as u64 != wanted {
            return Err(Problem::Contradiction {
                place: place.to_owned(),
                says: format!("{dtype} {shape:?}, {wanted} elements"),
                but: format!("{} holds {there}", self.field.name()),
            });
        }
        let mut elements = Vec::with_capacity(there * dtype.size());
        for piece in self.pieces {
            convert(place, piece, dtype, &mut elements)?;
        }
        Ok(elements.into())
    }
}

/// Appends the varints in `piece` to `elements`, each in the width of `dtype`.
fn convert(
    place: &str,
    mut piece: &[u8],
    dtype: Dtype,
    elements: &mut Vec<u8>,
) -> std::result::Result<(), Problem> {
    while !piece.is_empty() {
        let (value, rest) =
            varint::read(piece).and_then(|(value, len)| Some((value, piece.get(len..)?))).ok_or_else(
                || Problem::malformed(place, "its data end in the middle of a number, or one is too long"),
            )?;
        let value = narrow(value, dtype).ok_or_else(|| Problem::Contradiction {
            place: place.to_owned(),
            says: format!("its elements are {dtype}"),
            but: format!("one of them is {}", value.cast_signed()),
        })?;
        elements.extend(value.to_le_bytes().iter().take(dtype.size()));
        piece = rest;
    }
    Ok(())
}

/// `value` if it is one of `dtype`. Numbers of `int32_data` are cut to 32 bits, as protobuf does; 16-bit and
/// 8-bit floats are bit patterns.
fn narrow(value: u64, dtype: Dtype) -> Option<u64> {
    let int32 = (value as u32).cast_signed();
    let fits = match dtype {
        Dtype::I64 | Dtype::U64 => return Some(value),
        Dtype::U32 => return u32::try_from(value).ok().map(u64::from),
        Dtype::I32 => true,
        Dtype::I16 => i16::try_from(int32).is_ok(),
        Dtype::I8 => i8::try_from(int32).is_ok(),
        Dtype::U16 | Dtype::F16 | Dtype::Bf16 => u16::try_from(int32).is_ok(),
        Dtype::U8 | Dtype::F8E4M3 | Dtype::F8E5M2 => u8::try_from(int32).is_ok(),
        Dtype::Bool => matches!(int32, 0 | 1),
        Dtype::F64 | Dtype::F32 | Dtype::C64 | Dtype::C128 => false,
    };
    fits.then(|| i64::from(int32).cast_unsigned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packed(values: &[i64]) -> Bytes {
        let mut bytes = Vec::new();
        values.iter().for_each(|value| prost::encoding::encode_varint(value.cast_unsigned(), &mut bytes));
        bytes.into()
    }

    fn elements(
        dtype: Dtype,
        field: DataField,
        pieces: &[Bytes],
        len: usize,
    ) -> std::result::Result<Bytes, Problem> {
        Inline { field, pieces }.elements("tensor `t`", dtype, &[len])
    }

    #[test]
    fn integers_take_the_width_of_their_type() {
        let pieces = [packed(&[1, -1]), packed(&[]), packed(&[-128])];
        assert_eq!(elements(Dtype::I8, DataField::Int32, &pieces, 3).unwrap(), [1, 0xff, 0x80][..]);
        let pieces = [packed(&[0x3c00, 0xffff])];
        assert_eq!(elements(Dtype::F16, DataField::Int32, &pieces, 2).unwrap(), [0, 0x3c, 0xff, 0xff][..]);
        let pieces = [packed(&[0xffff_ffff])];
        assert_eq!(elements(Dtype::I32, DataField::Int32, &pieces, 1).unwrap(), [0xff; 4][..]);
        assert_eq!(elements(Dtype::U32, DataField::Uint64, &pieces, 1).unwrap(), [0xff; 4][..]);
    }

    #[test]
    fn values_that_do_not_fit_are_refused() {
        for (dtype, value) in [(Dtype::I8, 128), (Dtype::U8, -1), (Dtype::Bool, 2), (Dtype::F16, 0x10000)] {
            let problem = elements(dtype, DataField::Int32, &[packed(&[value])], 1).unwrap_err();
            assert!(problem.to_string().contains(&format!("one of them is {value}")), "{problem}");
        }
        assert!(elements(Dtype::U32, DataField::Uint64, &[packed(&[1 << 32])], 1).is_err());
    }

    #[test]
    fn data_are_counted_and_belong_to_the_type() {
        let problem = elements(Dtype::I64, DataField::Int64, &[packed(&[1, 2])], 3).unwrap_err();
        assert!(problem.to_string().contains("i64 [3], 3 elements, but int64_data holds 2"), "{problem}");
        let problem = elements(Dtype::F32, DataField::Int32, &[packed(&[1])], 1).unwrap_err();
        assert!(problem.to_string().contains("f32, but they are in int32_data"), "{problem}");
        // One number, and another that does not end.
        assert!(elements(Dtype::I64, DataField::Int64, &[Bytes::from_static(&[1, 0x80])], 1).is_err());
    }

    #[test]
    fn only_one_field_may_hold_data() {
        let tensor = TensorProto {
            raw_data: Some(Bytes::from_static(&[0; 4])),
            float_data: vec![Bytes::from_static(&[0; 4])],
            ..TensorProto::default()
        };
        let problem = Inline::of("tensor `t`", &tensor).err().unwrap();
        assert!(problem.to_string().contains("in raw_data, but float_data holds some too"), "{problem}");
    }

    #[test]
    fn every_type_of_ours_is_one_of_onnx() {
        let known: Vec<Dtype> = (0..29).filter_map(|code| dtype(DataType::try_from(code).unwrap())).collect();
        assert!(Dtype::ALL.iter().all(|dtype| known.contains(dtype)) && known.len() == Dtype::ALL.len());
    }
}
