//! Runs a graph.
//!
//! - [`Executor`] interprets the nodes with candle tensors and candle's autograd: the reference for everything
//!   faster, for f32 and f64, with an observer of every value;
//! - [`Plan`] runs a graph in f32 as fast as possible, [`Plans`] a network for inputs of several shapes;
//! - [`Parameters`] are the tensors of a graph's parameters, frozen or trainable;
//! - [`RuntimeError`] says why a graph could not be run.

mod error;
mod kernels;
mod plan;
mod reference;
mod resample;
mod statistics;
mod training;

pub use error::RuntimeError;
pub use kernels::channels_last::instructions::instructions;
pub use kernels::channels_last::peak::peak_flops;
pub use plan::{Plan, Plans};
pub use reference::{Executor, Outputs, Parameters, Run, array_tensor, plain, to_array, to_f64};
pub use statistics::NormStatistics;
pub use training::{Sgd, Training, TrainingPlan};
