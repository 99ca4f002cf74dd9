//! A Jittor pickle: protocol 4, tensors as numpy arrays, the checksum at the end.
//!
//! `jt.load` returns arrays as they are and `Module.load_parameters` takes them. Wrapping them in `jittor.Var`
//! would narrow `f64` and `i64` when the file is read, and need Jittor to read it at all.

use std::collections::HashSet;

use super::document::DocumentWriter;
use super::layout::{Plan, Tail};
use super::parts::Parts;
use super::target::Target;
use super::tensors::Tensors;
use crate::checkpoint::{Checkpoint, Note};
use crate::error::Problem;
use crate::numpy::dtype::descr;
use crate::pickle::write::PickleWriter;
use crate::tensor::Tensor;

/// Lays the pickle out: its opcodes and, in between, the elements.
///
/// # Errors
/// A tensor's type is none of numpy's.
pub(super) fn plan<'a>(
    checkpoint: &Checkpoint,
    tensors: Tensors<'a>,
    dropped: &mut Vec<Note>,
) -> Result<Plan<'a>, Problem> {
    let mut parts = Parts::default();
    let document = DocumentWriter {
        pickle: PickleWriter::new(4),
        tensor: |pickle: &mut PickleWriter, index: usize| {
            let tensor = tensors.get(index)?;
            let descr = descr(tensors.dtype(tensor)).ok_or_else(|| tensors.unfit(tensor, Target::Jittor))?;
            let len = tensors.byte_len(tensor);
            begin_array(pickle, tensor, descr, len);
            parts.bytes(pickle.take());
            parts.tensor(tensor, index, len);
            end_array(pickle);
            Ok(())
        },
        dropped,
        torch_names: false,
        written: HashSet::new(),
    };
    let (rest, written) = document.finish(checkpoint)?;
    parts.bytes(rest);
    Ok(Plan { parts, tail: Tail::JittorTrailer, tensors: written })
}

/// `_reconstruct(ndarray, (0,), b'b')` and its state `(1, shape, dtype, is_fortran, `, then the byte string's
/// header. `numpy.core` is the name that numpy 1 and 2 both read.
fn begin_array(pickle: &mut PickleWriter, tensor: &Tensor, descr: &str, len: u64) {
    pickle.global("numpy.core.multiarray", "_reconstruct");
    pickle.mark();
    pickle.global("numpy", "ndarray");
    pickle.sizes([0]);
    pickle.bytes(b"b");
    pickle.tuple_end();
    pickle.reduce();

    pickle.mark();
    pickle.int(1);
    pickle.sizes(tensor.shape().iter().map(|size| *size as u64));
    write_dtype(pickle, descr);
    pickle.bool(false);
    pickle.bytes_header(len);
}

fn end_array(pickle: &mut PickleWriter) {
    pickle.tuple_end();
    pickle.build();
}

/// `dtype(kind, False, True)` with the state `(3, order, None, None, None, -1, -1, 0)`.
fn write_dtype(pickle: &mut PickleWriter, descr: &str) {
    let (order, kind) = descr.split_at(1);
    pickle.global("numpy", "dtype");
    pickle.mark();
    pickle.text(kind);
    pickle.bool(false);
    pickle.bool(true);
    pickle.tuple_end();
    pickle.reduce();
    pickle.mark();
    pickle.int(3);
    pickle.text(order);
    (0..3).for_each(|_| pickle.none());
    pickle.int(-1);
    pickle.int(-1);
    pickle.int(0);
    pickle.tuple_end();
    pickle.build();
}
