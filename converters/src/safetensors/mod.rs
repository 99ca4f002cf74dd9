//! safetensors: the length of a JSON header, the header, the elements; and the JSON index of several such files.

pub(crate) mod header;
pub(crate) mod index;

use std::sync::Arc;

use crate::checkpoint::Checkpoint;
use crate::error::{InFile, Problem, Result};
use crate::format::Format;
use crate::limits;
use crate::source::Source;
use crate::storage::Storage;
use crate::tensor::{Change, Tensor, View, byte_len};
use crate::value::{Key, Value};
use header::{Header, TensorEntry};

/// Bytes of the length before the header.
const PREFIX: usize = 8;

/// Whether the bytes are a length and the beginning of a JSON object, or a length that only this format has.
pub(crate) fn recognises(bytes: &[u8]) -> bool {
    let Some((length, rest)) = bytes.split_first_chunk::<PREFIX>() else {
        // Seven bytes of a length: too short for anything, but not text.
        return bytes.len() == PREFIX - 1 && bytes.ends_with(&[0, 0, 0]);
    };
    let length = u64::from_le_bytes(*length);
    match rest.first() {
        // A length may begin like a pickle, with 0x80; no pickle has four zeros before its first brace.
        Some(b'{') => bytes.first() != Some(&0x80) || length <= u32::MAX.into(),
        Some(b'[' | b'"') => length <= bytes.len() as u64,
        _ => false,
    }
}

/// Reads a safetensors file. The entries must tile the data without hole or overlap.
///
/// # Errors
/// When the header is malformed or contradicts the length of the file.
pub(crate) fn read(source: &Source) -> Result<Checkpoint> {
    let (tensors, metadata) = read_tensors(source).in_file(&source.path)?;
    if tensors.is_empty() {
        return Err(Problem::NoTensors).in_file(&source.path);
    }
    Checkpoint::flat(&source.path, Format::Safetensors, tensors, metadata)
}

fn read_tensors(source: &Source) -> std::result::Result<(Vec<Tensor>, Value), Problem> {
    let (header, data_start) = parse_header(&source.bytes)?;
    let data = source.bytes.slice(data_start..);
    let views = check_layout(&header.tensors, data.len() as u64)?;
    let mut tensors = Vec::new();
    for (entry, shape) in header.tensors.iter().zip(views) {
        let place = format!("tensor `{}`", entry.name);
        let (start, end) = (entry.data_offsets.0 as usize, entry.data_offsets.1 as usize);
        let storage = Arc::new(Storage::raw(source.path.clone(), &*place, data.slice(start..end)));
        let view = View::whole(&place, storage, 0, entry.dtype, shape, Change::default())?;
        tensors.push(Tensor::new(vec![Key::Text(entry.name.clone())], view));
    }
    let metadata = header.metadata.into_iter().map(|(key, value)| (key, Value::Text(value)));
    Ok((tensors, Value::dict(metadata)))
}

fn parse_header(bytes: &[u8]) -> std::result::Result<(Header, usize), Problem> {
    let truncated = |needs| Problem::Truncated {
        place: "the safetensors header".to_owned(),
        needs,
        has: bytes.len() as u64,
    };
    let (length, rest) = bytes.split_first_chunk().ok_or_else(|| truncated(PREFIX as u64))?;
    let length = u64::from_le_bytes(*length);
    let json = usize::try_from(length).ok().and_then(|length| rest.get(..length));
    let json = json.ok_or_else(|| truncated(length.saturating_add(PREFIX as u64)))?;
    if length > limits::MAX_SAFETENSORS_HEADER {
        return Err(Problem::Limit {
            place: "the safetensors header".to_owned(),
            what: format!("its length of {length} bytes"),
            limit: limits::MAX_SAFETENSORS_HEADER,
        });
    }
    Ok((header::parse(json)?, PREFIX + json.len()))
}

/// Checks that the entries tile the data; returns their shapes, in header order.
fn check_layout(entries: &[TensorEntry], data_len: u64) -> std::result::Result<Vec<Vec<usize>>, Problem> {
    let mut shapes = Vec::new();
    for entry in entries {
        let place = format!("tensor `{}`", entry.name);
        let sizes = entry.shape.iter().map(|size| usize::try_from(*size));
        let shape: Vec<usize> = sizes
            .collect::<std::result::Result<_, _>>()
            .map_err(|_| Problem::malformed(&*place, "a size is too large for this machine"))?;
        let needs = byte_len(&place, entry.dtype, &shape)?;
        let (start, end) = entry.data_offsets;
        if end.checked_sub(start) != Some(needs) {
            return Err(Problem::Contradiction {
                place,
                says: format!("{} {shape:?}, {needs} bytes", entry.dtype),
                but: format!("its data_offsets are {start} to {end}"),
            });
        }
        shapes.push(shape);
    }
    let mut order: Vec<&TensorEntry> = entries.iter().collect();
    order.sort_by_key(|entry| entry.data_offsets);
    let mut at = 0;
    for entry in order {
        let (start, end) = entry.data_offsets;
        if end > data_len {
            let place = format!("tensor `{}`", entry.name);
            return Err(Problem::Truncated { place, needs: end, has: data_len });
        }
        if start != at {
            return Err(Problem::Contradiction {
                place: format!("tensor `{}`", entry.name),
                says: format!("it begins at {start}"),
                but: format!("the data before it end at {at}"),
            });
        }
        at = end;
    }
    if at != data_len {
        return Err(Problem::Contradiction {
            place: "the safetensors data".to_owned(),
            says: format!("{data_len} bytes"),
            but: format!("the tensors end at {at}"),
        });
    }
    Ok(shapes)
}
