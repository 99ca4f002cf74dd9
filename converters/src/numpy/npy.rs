//! `.npy`: magic, version, header length, header, elements.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;

use super::dtype::parse_descr;
use super::literal;
use crate::checkpoint::Checkpoint;
use crate::error::{InFile, Problem, Result};
use crate::format::Format;
use crate::source::Source;
use crate::storage::Storage;
use crate::tensor::{Change, Tensor, View};
use crate::value::{Dict, Value};

pub(crate) const MAGIC: &[u8; 6] = b"\x93NUMPY";
/// Longest header, with what stands before it; numpy itself refuses headers over 10,000 bytes.
pub(crate) const MAX_HEADER: usize = 1 << 16;

/// Where the elements begin and what they are.
pub(crate) struct Array {
    descr: String,
    fortran_order: bool,
    shape: Vec<usize>,
    /// Bytes of magic, version, length and header.
    data_start: usize,
}

/// Reads an `.npy` file: a checkpoint of one tensor without a name.
///
/// # Errors
/// When the header is malformed, the element type is no number, or the length is wrong.
pub(crate) fn read(source: &Source) -> Result<Checkpoint> {
    let view = view(&source.path, "the array", &source.bytes).in_file(&source.path)?;
    Ok(Checkpoint {
        path: source.path.to_path_buf(),
        format: Format::Npy,
        tensors: vec![Tensor::new(Vec::new(), view)],
        document: Value::Tensor(0),
        header: Value::Dict(Dict::default()),
        globals: Vec::new(),
        notes: Vec::new(),
        unchecked: None,
    })
}

/// A view of the elements of the array file `bytes`.
fn view(file: &Arc<Path>, place: &str, bytes: &Bytes) -> std::result::Result<View, Problem> {
    let array = Array::parse(place, bytes)?;
    array.view(place, Storage::raw(file.clone(), place, bytes.clone()))
}

impl Array {
    /// Reads the header of an array file, whose elements may be elsewhere.
    pub(crate) fn parse(place: &str, bytes: &[u8]) -> std::result::Result<Array, Problem> {
        let cut = |needs: usize| Problem::Truncated {
            place: format!("the header of {place}"),
            needs: needs as u64,
            has: bytes.len() as u64,
        };
        let corrupt = |rule| Problem::malformed(format!("the header of {place}"), rule);
        if !bytes.starts_with(MAGIC) {
            return Err(corrupt("it does not begin with the magic of .npy"));
        }
        let version = *bytes.get(6).ok_or_else(|| cut(8))?;
        // Version 1 has a 16-bit header length, 2 and 3 a 32-bit one; 3 allows UTF-8.
        let (header_start, header_len) = match version {
            1 => (
                10,
                bytes
                    .get(8..10)
                    .and_then(|len| len.try_into().ok())
                    .map(|len| u16::from_le_bytes(len).into()),
            ),
            2 | 3 => (12, bytes.get(8..12).and_then(|len| len.try_into().ok()).map(u32::from_le_bytes)),
            _ => {
                let what = format!(".npy version {version}");
                return Err(Problem::unsupported(place, what, "save it again with numpy.save"));
            }
        };
        let header_len = header_len.ok_or_else(|| cut(header_start))? as usize;
        let data_start = header_start.saturating_add(header_len);
        let header = bytes.get(header_start..data_start).ok_or_else(|| cut(data_start))?;
        if data_start > MAX_HEADER {
            return Err(Problem::Limit {
                place: format!("the header of {place}"),
                what: format!("its length of {header_len} bytes"),
                limit: MAX_HEADER as u64,
            });
        }
        let text = std::str::from_utf8(header).map_err(|_| corrupt("it is not text"))?;
        let header = literal::header(text)
            .ok_or_else(|| corrupt("it is not a dictionary of descr, fortran_order and shape"))?;
        let shape =
            header.shape.iter().map(|size| usize::try_from(*size)).collect::<std::result::Result<_, _>>();
        let shape = shape.map_err(|_| corrupt("a size is negative or too large"))?;
        Ok(Array { descr: header.descr, fortran_order: header.fortran_order, shape, data_start })
    }

    /// A view of the elements in `file`, the storage that begins with the header.
    pub(crate) fn view(self, place: &str, file: Storage) -> std::result::Result<View, Problem> {
        let element = parse_descr(&self.descr).ok_or_else(|| {
            let object = if self.descr.contains('O') { " (a pickled object array)" } else { "" };
            Problem::unsupported(
                place,
                format!("numpy dtype {}{object}", self.descr),
                "save it again as an array of numbers",
            )
        })?;
        let needs = crate::tensor::byte_len(place, element.dtype, &self.shape)?;
        let (start, has) = (self.data_start as u64, file.len().saturating_sub(self.data_start as u64));
        if needs > has {
            return Err(Problem::Truncated { place: place.to_owned(), needs, has });
        }
        let change = Change { swap: element.big_endian, ..Change::default() };
        match self.fortran_order {
            true => View::column_major(place, file.into(), start, element.dtype, self.shape, change),
            false => View::whole(place, file.into(), start, element.dtype, self.shape, change),
        }
    }
}
