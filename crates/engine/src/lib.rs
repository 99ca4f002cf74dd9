//! Runs a network, forward and back.
//!
//! - [`engine()`] makes an [`Engine`] for a network of any input shape: the CPU's fastest kernels, or the reference;
//! - [`Plan`] is a graph compiled for one input shape, to run it or to train it ([`Training`]);
//! - [`Store`] holds the parameters of what is trained; a [`Rule`] changes them, with [`Factors`] for each group;
//! - [`Executor`] is the reference: it interprets nodes in f32 or f64, and shows every value;
//! - [`RuntimeError`] says why a graph could not be run.

mod choice;
mod cpu;
mod engine;
mod error;
mod lower;
mod plan;
mod plans;
mod reference;
mod resample;
mod statistics;
mod store;
mod training;

pub use choice::{Device, Precision, engine};
pub use cpu::instructions::instructions;
pub use cpu::peak::peak_flops;
pub use engine::{Engine, Writer};
pub use error::RuntimeError;
pub use plan::Plan;
pub use reference::{Executor, Forward, Gradients, Handle, NodeGradients, Outputs, Parameters, Run};
pub use statistics::NormStatistics;
pub use store::{Factors, Group, Rule, Store};
pub use training::{GroupOf, StatisticsOf, Training};
