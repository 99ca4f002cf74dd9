//! A numpy archive: one `.npy` record a tensor, stored, as `numpy.savez` writes it.

use super::Tensors;
use super::layout::{Content, Plan};
use super::safetensors;
use super::zip::Zip;
use crate::checkpoint::{Checkpoint, Note};
use crate::numpy::{dtype::descr, npy};
use crate::tensor::Tensor;
use crate::value::{Key, Value, join};

pub(super) const EXTENSION: &str = ".npy";
/// numpy pads its headers so that the elements begin at a multiple of this.
const ALIGNMENT: usize = 64;

/// Lays the archive out. It has no place for anything but arrays.
pub(super) fn plan(checkpoint: &Checkpoint, tensors: Tensors<'_>, dropped: &mut Vec<Note>) -> Plan {
    safetensors::drop_header(checkpoint, dropped, "a numpy archive");
    drop_metadata(checkpoint.document(), &mut Vec::new(), dropped);
    let (mut plan, mut zip) = (Plan::new(tensors.all.len()), Zip::default());
    for (index, tensor) in tensors.all.iter().enumerate() {
        let header = header(tensor, descr(tensors.dtype(tensor)).unwrap_or_default());
        let len = header.len() as u64;
        let contents =
            vec![(Content::Bytes(header), len), (Content::Tensor(index), tensors.byte_len(tensor))];
        zip.record(&mut plan, &format!("{}{EXTENSION}", tensor.name()), ALIGNMENT as u64, contents);
    }
    zip.finish(&mut plan);
    plan
}

/// Magic, version 1.0, header length, header, padding, line end.
fn header(tensor: &Tensor, descr: &str) -> Vec<u8> {
    let sizes: Vec<String> = tensor.shape().iter().map(usize::to_string).collect();
    let shape = match sizes.as_slice() {
        [one] => format!("({one},)"),
        _ => format!("({})", sizes.join(", ")),
    };
    let text = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}");
    // At most 64 dimensions of 20 digits: the length fits 16 bits.
    let total = (npy::MAGIC.len() + 4 + text.len() + 1).next_multiple_of(ALIGNMENT);
    let mut header = npy::MAGIC.to_vec();
    header.extend([1, 0]);
    header.extend(((total - npy::MAGIC.len() - 4) as u16).to_le_bytes());
    header.extend(text.as_bytes());
    header.resize(total - 1, b' ');
    header.push(b'\n');
    header
}

/// Notes every branch of the document that holds no tensor.
fn drop_metadata(value: &Value, path: &mut Vec<Key>, dropped: &mut Vec<Note>) {
    let entries: Vec<(Key, &Value)> = match value {
        Value::Dict(dict) => {
            let named = dict
                .entries
                .iter()
                .map(|(key, value)| (key.as_key().unwrap_or_else(|| Key::Text(format!("{key:?}"))), value));
            named.collect()
        }
        Value::List(items) | Value::Tuple(items) => {
            items.iter().enumerate().map(|(index, item)| (Key::Index(index as i64), item)).collect()
        }
        Value::Module(module) => {
            module.attributes.iter().filter_map(|(key, value)| Some((key.as_key()?, value))).collect()
        }
        Value::Record(record) => {
            let fields = record.fields.iter().filter_map(|(key, value)| Some((key.as_key()?, value)));
            fields.collect()
        }
        _ => return,
    };
    for (key, value) in entries {
        path.push(key);
        if value.holds_tensor() {
            drop_metadata(value, path, dropped);
        } else if !matches!(value, Value::Skipped(_)) {
            dropped.push(Note { name: join(path), reason: "a numpy archive holds arrays only".to_owned() });
        }
        path.pop();
    }
}
