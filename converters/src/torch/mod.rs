//! PyTorch checkpoints: the zip archive of today, the stream of pickles before 1.6, the tar archive of 0.1.
//!
//! All three keep an object tree in a pickle and the elements beside it; the tree refers to them by
//! persistent references. [`mod@reference`] reads those, one module per container finds the bytes.

pub(crate) mod legacy;
mod reference;
pub(crate) mod tar;
pub(crate) mod zip;
