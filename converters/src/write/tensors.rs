//! What is written: tensors, each in the type it is to have.

use super::target::Target;
use crate::dtype::Dtype;
use crate::error::Problem;
use crate::tensor::Tensor;

/// The tensors to write, in the type they are to be written in.
#[derive(Clone, Copy)]
pub(super) struct Tensors<'a> {
    pub(super) all: &'a [Tensor],
    pub(super) dtype: Option<Dtype>,
}

impl<'a> Tensors<'a> {
    /// The tensor with this index.
    ///
    /// # Errors
    /// The tree refers to a tensor that is not in the list, which no checkpoint does.
    pub(super) fn get(&self, index: usize) -> Result<&'a Tensor, Problem> {
        self.all.get(index).ok_or_else(|| Problem::malformed("the checkpoint", "it lacks one of its tensors"))
    }

    /// That a tensor's type is none of the format's.
    pub(super) fn unfit(&self, tensor: &Tensor, target: Target) -> Problem {
        let (tensor, dtype) = (tensor.name().to_owned(), self.dtype(tensor));
        Problem::DtypeNotWritable { tensor, dtype, format: target.name() }
    }

    pub(super) fn dtype(&self, tensor: &Tensor) -> Dtype {
        self.dtype.map_or(tensor.dtype(), |dtype| tensor.dtype_as(dtype))
    }

    pub(super) fn byte_len(&self, tensor: &Tensor) -> u64 {
        tensor.elements() * self.dtype(tensor).size() as u64
    }
}
