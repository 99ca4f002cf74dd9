//! What is written: tensors, each in the type it is to have.

use crate::dtype::Dtype;
use crate::tensor::Tensor;

/// The tensors to write, in the type they are to be written in.
#[derive(Clone, Copy)]
pub(super) struct Tensors<'a> {
    pub(super) all: &'a [Tensor],
    pub(super) dtype: Option<Dtype>,
}

impl Tensors<'_> {
    pub(super) fn dtype(&self, tensor: &Tensor) -> Dtype {
        self.dtype.map_or(tensor.dtype(), |dtype| tensor.dtype_as(dtype))
    }

    pub(super) fn byte_len(&self, tensor: &Tensor) -> u64 {
        tensor.elements() * self.dtype(tensor).size() as u64
    }
}
