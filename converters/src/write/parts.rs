//! The parts of a file, each at its offset.

/// A part of the file.
#[derive(Debug)]
pub(super) enum Content {
    /// Bytes made by the writer.
    Bytes(Vec<u8>),
    /// The row-major elements of the tensor with this index.
    Tensor(usize),
}

/// Parts in the order of the file, with room between them for what is written at the end.
#[derive(Debug, Default)]
pub(super) struct Parts {
    parts: Vec<(u64, Content)>,
    len: u64,
}

impl Parts {
    /// Appends bytes.
    pub(super) fn bytes(&mut self, bytes: Vec<u8>) {
        let len = bytes.len() as u64;
        self.parts.push((self.len, Content::Bytes(bytes)));
        self.len += len;
    }

    /// Appends the elements of tensor `index`, `len` bytes.
    pub(super) fn tensor(&mut self, index: usize, len: u64) {
        self.parts.push((self.len, Content::Tensor(index)));
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
    pub(super) fn all(&self) -> &[(u64, Content)] {
        &self.parts
    }
}
