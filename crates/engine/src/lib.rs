//! Runs a graph.
//!
//! - [`Executor`] interprets the nodes with candle tensors and candle's autograd: the reference for everything
//!   faster, for f32 and f64, with an observer of every value;
//! - [`Plan`] runs a graph in f32 as fast as possible, [`Plans`] a network for inputs of several shapes;
//! - [`Parameters`] are the tensors of a graph's parameters, frozen or trainable;
//! - `kernels` hold the arithmetic on slices, each file an operator with its derivative; `kernel` makes candle
//!   operations of them. candle's own pooling, resizing, softmax and convolution have wrong, missing or slow
//!   gradients in cases that detectors meet, and are banned by clippy.toml.

mod element;
mod executor;
mod kernel;
mod kernels;
mod parameters;
mod plan;
mod tensors;
mod training;

pub use element::Element;
pub use executor::{Executor, NormStatistics, Outputs, Run, RuntimeError, plain};
pub use kernels::channels_last::instructions::instructions;
pub use kernels::channels_last::peak::peak_flops;
pub use parameters::Parameters;
pub use plan::{Plan, Plans};
pub use tensors::{array_tensor, to_array, to_f64};
pub use training::{Sgd, Training, TrainingPlan};
