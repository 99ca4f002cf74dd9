//! numpy's own files: `.npy`, one array behind a header in Python syntax, and `.npz`, a zip archive of them.

pub(crate) mod dtype;
mod literal;
pub(crate) mod npy;
pub(crate) mod npz;
