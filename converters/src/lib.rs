//! Checkpoint files in and out, without running any of their code.
//!
//! [`open()`] recognises a file by its bytes, validates everything it claims and returns a [`Checkpoint`]: ordered
//! tensors whose bytes are read on demand, and an inert tree of everything that is not a tensor. [`mod@write`] turns
//! a checkpoint into another format with every bit intact.
//!
//! ```no_run
//! let checkpoint = converters::open("model.pth")?;
//! for tensor in checkpoint.tensors() {
//!     println!("{} {} {:?}", tensor.name(), tensor.dtype(), tensor.shape());
//! }
//! # Ok::<(), converters::Error>(())
//! ```
//!
//! The formats are described byte by byte in `docs/formats.md`, the limits and the threat model in
//! `docs/security.md`.

#![forbid(unsafe_code)]

mod archive;
mod cast;
mod checkpoint;
mod dtype;
mod error;
mod format;
mod jittor;
pub mod json;
pub mod limits;
mod memory;
mod numpy;
mod objects;
mod onnx;
mod open;
mod pickle;
mod reform;
mod safetensors;
mod select;
mod source;
mod storage;
mod tensor;
mod torch;
mod value;
pub mod write;

pub use cast::{CastReport, decode};
pub use checkpoint::{Checkpoint, Global, Note};
pub use dtype::Dtype;
pub use error::{Error, ErrorClass, Problem, Result};
pub use format::Format;
pub use open::{open, open_bytes, open_unnamed};
pub use tensor::Tensor;
pub use value::{Dict, Key, Module, Record, Value};
