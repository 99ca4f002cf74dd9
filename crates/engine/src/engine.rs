//! One face for whatever runs a network.

use std::fmt::Debug;

use crate::cpu_engine::CpuEngine;
use crate::plan::Training;
use crate::reference::ReferenceEngine;
use crate::store::{Factors, Rule};
use crate::RuntimeError;
use network::graph::{Array, Graph, GraphError, Weights};

/// Writes a network for an input shape `[N, C, H, W]`, always the same but for sizes.
pub type Writer = Box<dyn Fn([usize; 4]) -> Result<Graph, GraphError> + Send>;

/// A network that runs for any input shape, forward and back.
pub trait Engine: Debug + Send {
    /// Computes the outputs for an input of this shape, row-major.
    ///
    /// # Errors
    /// A shape that the network cannot take, an input of another size, or an operator that fails.
    fn forward(&mut self, shape: [usize; 4], input: &[f32]) -> Result<(), RuntimeError>;

    /// Writes the numbers of an output of the last pass, row-major, into `numbers`; the result is its shape.
    ///
    /// # Errors
    /// An output that the network does not have, no pass yet.
    fn output(&self, name: &str, numbers: &mut Vec<f32>) -> Result<Vec<usize>, RuntimeError>;

    /// Computes the gradients of all trained parameters from those of outputs, row-major, of the pass before. Outputs
    /// that are not named have a gradient of zero.
    ///
    /// # Errors
    /// A gradient of an unknown output or of another size than it, no pass yet, an operator that fails.
    fn backward(&mut self, gradients: &[(&str, &[f32])]) -> Result<(), RuntimeError>;

    /// The gradient of a parameter, in the parameter's own order; `None` if it has none.
    ///
    /// # Errors
    /// None but a mistake of this program.
    fn gradient(&self, name: &str) -> Result<Option<Array>, RuntimeError>;

    /// Changes the parameters by their gradients, each group with its factors.
    ///
    /// # Errors
    /// A group without factors, a rule that the engine does not have.
    fn apply(&mut self, rule: &Rule, factors: &[Factors]) -> Result<(), RuntimeError>;

    /// The parameters as they are now.
    ///
    /// # Errors
    /// None but a mistake of this program.
    fn weights(&self) -> Result<Weights, RuntimeError>;
}

/// Where a network runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Device {
    /// By this processor's fastest kernels.
    #[default]
    Cpu,
    /// By the reference, node by node: slow, and what all others are held against.
    Reference,
}

/// The arithmetic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Precision {
    /// 32 bits.
    #[default]
    F32,
    /// 64 bits.
    F64,
}

/// An engine for a network that is trained, or, without `training`, only run.
///
/// # Errors
/// A device that does not have the precision.
pub fn engine(
    (device, precision): (Device, Precision),
    writer: Writer,
    weights: Weights,
    training: Option<Training<'static>>,
) -> Result<Box<dyn Engine>, RuntimeError> {
    match (device, precision) {
        (Device::Cpu, Precision::F32) => Ok(Box::new(CpuEngine::new(writer, weights, training))),
        (Device::Reference, Precision::F32) => Ok(Box::new(ReferenceEngine::<f32>::new(writer, weights, training))),
        (Device::Reference, Precision::F64) => Ok(Box::new(ReferenceEngine::<f64>::new(writer, weights, training))),
        (Device::Cpu, Precision::F64) => Err(RuntimeError::Unsupported {
            what: "the kernels of the CPU compute in f32; the reference computes in f64".to_owned(),
        }),
    }
}
