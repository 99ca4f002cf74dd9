//! The zip archive as `torch.save` writes it, readable with `weights_only=True`.

use std::collections::{HashMap, HashSet};

use super::document::DocumentWriter;
use super::layout::{Plan, Tail};
use super::parts::{Content, Parts};
use super::tensors::Tensors;
use super::zip::Zip;
use crate::checkpoint::{Checkpoint, Note};
use crate::dtype::Dtype;
use crate::error::Problem;
use crate::pickle::write::PickleWriter;
use crate::tensor::Tensor;

/// `torch.save` aligns storages to this (`torch.serialization`, storage_alignment).
const ALIGNMENT: u64 = 64;
/// The folder of every record. `torch.save` takes the file's stem; a constant keeps equal files equal.
const PREFIX: &str = "archive";

/// Lays the archive out: the pickle, the small records, the storages.
///
/// # Errors
/// The tree refers to a tensor that the checkpoint lacks.
pub(super) fn plan<'a>(
    checkpoint: &Checkpoint,
    tensors: Tensors<'a>,
    dropped: &mut Vec<Note>,
) -> Result<Plan<'a>, Problem> {
    let mut storages: Vec<(&Tensor, usize)> = Vec::new();
    let mut keys = HashMap::new();
    let document = DocumentWriter {
        pickle: PickleWriter::new(2),
        tensor: |pickle: &mut PickleWriter, index: usize| {
            let tensor = tensors.get(index)?;
            // Tied weights stay tied: one storage under two names.
            let key = *keys.entry(tensor.identity()).or_insert_with(|| {
                storages.push((tensor, index));
                storages.len() - 1
            });
            write_tensor(pickle, tensor, tensors.dtype(tensor), key);
            Ok(())
        },
        dropped,
        torch_names: true,
        written: HashSet::new(),
    };
    let (pickle, written) = document.finish(checkpoint)?;

    let (mut parts, mut zip) = (Parts::default(), Zip::default());
    let mut small = |name: &str, content: Vec<u8>, parts: &mut Parts<'a>| {
        let len = content.len() as u64;
        zip.record(parts, &format!("{PREFIX}/{name}"), ALIGNMENT, vec![(Content::Bytes(content), len)]);
    };
    small("data.pkl", pickle, &mut parts);
    small(".format_version", b"1".to_vec(), &mut parts);
    small(".storage_alignment", b"64".to_vec(), &mut parts);
    small("byteorder", b"little".to_vec(), &mut parts);
    for (key, (tensor, index)) in storages.into_iter().enumerate() {
        let contents = vec![(Content::Tensor(tensor, index), tensors.byte_len(tensor))];
        zip.record(&mut parts, &format!("{PREFIX}/data/{key}"), ALIGNMENT, contents);
    }
    let version = b"3\n".to_vec();
    zip.record(&mut parts, &format!("{PREFIX}/version"), ALIGNMENT, vec![(Content::Bytes(version), 2)]);
    Ok(Plan { parts, tail: Tail::Zip(zip), tensors: written })
}

/// `_rebuild_tensor_v2(storage, offset, size, stride, requires_grad, hooks)`, or version 3 with the element
/// type for those that have no storage class.
fn write_tensor(pickle: &mut PickleWriter, tensor: &Tensor, dtype: Dtype, key: usize) {
    let class = storage_class(dtype);
    let function = if class.is_some() { "_rebuild_tensor_v2" } else { "_rebuild_tensor_v3" };
    pickle.global("torch._utils", function);
    pickle.mark();

    pickle.mark();
    pickle.text("storage");
    match class {
        Some(class) => pickle.global("torch", class),
        None => pickle.global("torch.storage", "UntypedStorage"),
    }
    pickle.text(&key.to_string());
    pickle.text("cpu");
    let elements = tensor.elements();
    pickle.int(if class.is_some() { elements } else { elements * dtype.size() as u64 } as i64);
    pickle.tuple_end();
    pickle.persistent();

    pickle.int(0);
    pickle.sizes(tensor.shape().iter().map(|size| *size as u64));
    pickle.sizes(crate::tensor::row_major(tensor.shape()));
    pickle.bool(false);
    pickle.empty_ordered_dict();
    if class.is_none() {
        pickle.global("torch", dtype_name(dtype));
    }
    pickle.tuple_end();
    pickle.reduce();
}

/// The storage class of `torch`; types that came later have none.
fn storage_class(dtype: Dtype) -> Option<&'static str> {
    Some(match dtype {
        Dtype::F64 => "DoubleStorage",
        Dtype::F32 => "FloatStorage",
        Dtype::F16 => "HalfStorage",
        Dtype::Bf16 => "BFloat16Storage",
        Dtype::I64 => "LongStorage",
        Dtype::I32 => "IntStorage",
        Dtype::I16 => "ShortStorage",
        Dtype::I8 => "CharStorage",
        Dtype::U8 => "ByteStorage",
        Dtype::Bool => "BoolStorage",
        Dtype::C64 => "ComplexFloatStorage",
        Dtype::C128 => "ComplexDoubleStorage",
        Dtype::F8E4M3 | Dtype::F8E5M2 | Dtype::U64 | Dtype::U32 | Dtype::U16 => return None,
    })
}

/// The name in `torch` of the types without a storage class.
fn dtype_name(dtype: Dtype) -> &'static str {
    match dtype {
        Dtype::F8E4M3 => "float8_e4m3fn",
        Dtype::F8E5M2 => "float8_e5m2",
        Dtype::U64 => "uint64",
        Dtype::U32 => "uint32",
        _ => "uint16",
    }
}
