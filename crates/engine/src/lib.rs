//! Runs a graph.
//!
//! - [`Executor`] interprets the nodes one by one, with gradients by autograd: the reference for everything
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
pub use reference::{Executor, Forward, Gradients, Handle, NodeGradients, Outputs, Parameters, Run};
pub use statistics::NormStatistics;
pub use training::{Sgd, Training, TrainingPlan};
