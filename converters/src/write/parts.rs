//! The parts of a file, each at its offset.

use crate::tensor::Tensor;

/// A part of the file.
#[derive(Debug)]
pub(super) enum Content<'a> {
    /// Bytes made by the writer.
    Bytes(Vec<u8>),
    /// The row-major elements of a tensor, and its index.
    Tensor(&'a Tensor, usize),
}

/// Parts in the order of the file, with room between them for what is written at the end.
#[derive(Debug, Default)]
pub(super) struct Parts<'a> {
    parts: Vec<(u64, Content<'a>)>,
    len: u64,
}

impl<'a> Parts<'a> {
    /// Appends bytes.
    pub(super) fn bytes(&mut self, bytes: Vec<u8>) {
        let len = bytes.len() as u64;
        self.parts.push((self.len, Content::Bytes(bytes)));
        self.len += len;
    }

    /// Appends the elements of `tensor`, which has this index, `len` bytes.
    pub(super) fn tensor(&mut self, tensor: &'a Tensor, index: usize, len: u64) {
        self.parts.push((self.len, Content::Tensor(tensor, index)));
        self.len += len;
    }

    /// Leaves `len` bytes for what is written at the end.
    pub(super) fn skip(&mut self, len: u64) {
        self.len += len;
    }

    /// Bytes laid out so far.
    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// Each part with its offset.
    pub(super) fn all(&self) -> &[(u64, Content<'a>)] {
        &self.parts
    }
}
