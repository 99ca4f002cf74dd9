//! A numpy archive: one `.npy` record a tensor, stored, as `numpy.savez` writes it.

use super::layout::{Plan, Tail};
use super::parts::{Content, Parts};
use super::target::Target;
use super::tensors::Tensors;
use super::zip::Zip;
use crate::checkpoint::{Checkpoint, Note};
use crate::error::Problem;
use crate::numpy::{dtype::descr, npy};
use crate::tensor::Tensor;
use crate::value::{Key, Value, join};

pub(super) const EXTENSION: &str = ".npy";
/// numpy pads its headers so that the elements begin at a multiple of this.
const ALIGNMENT: usize = 64;

/// Lays the archive out. It has no place for anything but arrays.
///
/// # Errors
/// A tensor's type is none of numpy's.
pub(super) fn plan<'a>(
    checkpoint: &Checkpoint,
    tensors: Tensors<'a>,
    dropped: &mut Vec<Note>,
) -> Result<Plan<'a>, Problem> {
    drop_metadata(checkpoint.document(), &mut Vec::new(), dropped);
    let (mut parts, mut zip) = (Parts::default(), Zip::default());
    for (index, tensor) in tensors.all.iter().enumerate() {
        let descr = descr(tensors.dtype(tensor)).ok_or_else(|| tensors.unfit(tensor, Target::Npz))?;
        let header = header(tensor, descr);
        let len = header.len() as u64;
        let contents =
            vec![(Content::Bytes(header), len), (Content::Tensor(tensor, index), tensors.byte_len(tensor))];
        zip.record(&mut parts, &format!("{}{EXTENSION}", tensor.name()), ALIGNMENT as u64, contents);
    }
    Ok(Plan { parts, tail: Tail::Zip(zip), tensors: tensors.all.len() })
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
    let mut below = |step: Key, value: &Value| {
        path.push(step);
        if value.holds_tensor() {
            drop_metadata(value, path, dropped);
        } else if !matches!(value, Value::Skipped(_)) {
            dropped.push(Note { name: join(path), reason: "a numpy archive holds arrays only".to_owned() });
        }
        path.pop();
    };
    let mut all = |entries: &[(Value, Value)], items: &[Value]| {
        entries.iter().for_each(|(key, value)| below(key.step(), value));
        items.iter().enumerate().for_each(|(index, item)| below(Key::Index(index as i64), item));
    };
    match value {
        Value::Dict(dict) => all(&dict.entries, &[]),
        Value::Module(module) => all(&module.attributes, &[]),
        Value::Record(record) => all(&record.fields, &record.items),
        Value::List(items) | Value::Tuple(items) | Value::Set(items) => all(&[], items),
        _ => {}
    }
}
