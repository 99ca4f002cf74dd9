//! The reference: nodes in order, candle tensors, candle's autograd, in f32 and f64. What is faster is held against
//! it, and what has no fast kernel is run by it.
//!
//! - [`Executor`] interprets a graph with its [`Parameters`];
//! - `operators` is the arithmetic on slices, each file an operator with its derivative; `operation` makes candle
//!   operations of them.
//!
//! candle's own pooling, resizing, softmax and convolution have wrong, missing or slow gradients in cases that
//! detectors meet, and are banned by clippy.toml. This is the only room that knows candle.

mod executor;
pub(crate) mod kernel;
mod operation;
pub(crate) mod operators;
mod parameters;
mod tensors;

pub use executor::{Executor, Outputs, Run};
pub use parameters::Parameters;
pub use tensors::{array_tensor, plain, to_array, to_f64};
