//! safetensors files: header, elements in order of decreasing size of their type, so that all are aligned.

use std::collections::HashSet;

use serde_json::{Map, Value as Json, json};

use super::layout::{Plan, Tail};
use super::parts::Parts;
use super::target::Target;
use super::tensors::Tensors;
use crate::checkpoint::{Checkpoint, Note};
use crate::error::Problem;
use crate::json;
use crate::safetensors::header::{METADATA, dtype_name};
use crate::tensor::Tensor;
use crate::value::{Key, Value, join};

/// The header is padded with spaces to a multiple of this, so that the elements are aligned in the file.
const ALIGNMENT: usize = 8;

/// Lays the file out. The header lists tensors in their own order, whatever the order of the elements.
///
/// # Errors
/// The format has no such type as a tensor's.
pub(super) fn plan<'a>(
    checkpoint: &Checkpoint,
    tensors: Tensors<'a>,
    dropped: &mut Vec<Note>,
) -> Result<Plan<'a>, Problem> {
    let placed = place(tensors);
    let mut listed: Vec<&Placed> = placed.iter().collect();
    listed.sort_by_key(|one| one.index);

    let mut header = Map::new();
    let metadata = texts(checkpoint, dropped);
    if !metadata.is_empty() {
        header.insert(METADATA.to_owned(), Json::Object(metadata));
    }
    for Placed { tensor, start, end, .. } in listed {
        let dtype = dtype_name(tensors.dtype(tensor));
        let entry = json!({
            "dtype": dtype.ok_or_else(|| tensors.unfit(tensor, Target::Safetensors))?,
            "shape": tensor.shape(),
            "data_offsets": [start, end],
        });
        header.insert(tensor.name().to_owned(), entry);
    }
    let mut text = Json::Object(header).to_string().into_bytes();
    text.resize(text.len().next_multiple_of(ALIGNMENT), b' ');

    let mut parts = Parts::default();
    parts.bytes([&(text.len() as u64).to_le_bytes(), &*text].concat());
    placed.iter().for_each(|one| parts.tensor(one.tensor, one.index, one.end - one.start));
    Ok(Plan { parts, tail: Tail::None, tensors: tensors.all.len() })
}

/// A tensor with its index, and where its elements begin and end.
struct Placed<'a> {
    tensor: &'a Tensor,
    index: usize,
    start: u64,
    end: u64,
}

/// The tensors in the order of their elements.
fn place(tensors: Tensors<'_>) -> Vec<Placed<'_>> {
    let mut order: Vec<(usize, &Tensor)> = tensors.all.iter().enumerate().collect();
    order.sort_by_key(|(_, tensor)| std::cmp::Reverse(tensors.dtype(tensor).size()));
    let mut end = 0;
    let placed = order.into_iter().map(|(index, tensor)| {
        let start = end;
        end += tensors.byte_len(tensor);
        Placed { tensor, index, start, end }
    });
    placed.collect()
}

/// The metadata as texts, all that the format holds: dictionaries are flattened with dots, lists and numbers
/// become JSON.
fn texts(checkpoint: &Checkpoint, dropped: &mut Vec<Note>) -> Map<String, Json> {
    let mut flat = Flat { texts: Map::new(), dropped, seen: HashSet::new() };
    flat.add(&checkpoint.metadata(), &mut Vec::new());
    flat.texts
}

struct Flat<'a> {
    texts: Map<String, Json>,
    dropped: &'a mut Vec<Note>,
    seen: HashSet<String>,
}

impl Flat<'_> {
    fn add(&mut self, value: &Value, path: &mut Vec<Key>) {
        let text = match value {
            Value::Dict(dict) if !dict.entries.is_empty() || path.is_empty() => {
                return self.add_all(&dict.entries, path);
            }
            // Settings in an object are as good as settings in a dictionary.
            Value::Record(record) if !record.fields.is_empty() => {
                let mut reason = format!("the class {}: its attributes are kept as texts", record.class);
                if !record.args.is_empty() || !record.items.is_empty() {
                    reason.push_str(", its other content is not");
                }
                self.dropped.push(Note { name: join(path), reason });
                return self.add_all(&record.fields, path);
            }
            // Noted when it was read.
            Value::Skipped(_) => return,
            Value::Text(text) => Ok(text.clone()),
            other => json::plain(other).map(|json| json.to_string()),
        };
        let name = join(path);
        match text {
            Ok(text) if self.seen.insert(name.clone()) => drop(self.texts.insert(name, Json::String(text))),
            Ok(_) => self.dropped.push(Note { name, reason: "another entry has this name".to_owned() }),
            Err(reason) => self.dropped.push(Note { name, reason }),
        }
    }

    fn add_all(&mut self, entries: &[(Value, Value)], path: &mut Vec<Key>) {
        for (key, value) in entries {
            path.push(key.step());
            self.add(value, path);
            path.pop();
        }
    }
}
