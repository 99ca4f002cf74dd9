//! The reference: nodes in order, candle tensors, candle's autograd, in f32 and f64. What is faster is held against
//! it, and what has no fast kernel is run by it.
//!
//! - [`Executor`] interprets a graph with its [`Parameters`]: a [`Run`] forward, or [`Forward`] and back;
//! - `node` runs one node for those who hold parameters of their own;
//! - `operators` is the arithmetic on slices, each file an operator with its derivative; `operation` makes candle
//!   operations of them, `compute` chooses the one of a node.
//!
//! Numbers go in and out as arrays; a [`Handle`] is a value that is not copied yet. candle's own pooling, resizing,
//! softmax and convolution have wrong, missing or slow gradients in cases that detectors meet, and are banned by
//! clippy.toml. This is the only room that knows candle.

mod compute;
mod engine;
mod executor;
mod gradients;
mod handle;
pub(crate) mod kernel;
pub(crate) mod node;
mod operation;
pub(crate) mod operators;
mod parameters;
mod run;

pub(crate) use engine::ReferenceEngine;
pub use executor::Executor;
pub use gradients::{Forward, Gradients};
pub use handle::Handle;
pub use node::NodeGradients;
pub use parameters::Parameters;
pub use run::{Outputs, Run};
