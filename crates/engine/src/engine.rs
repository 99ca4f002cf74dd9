//! One face for whatever runs a network.

use std::fmt::Debug;

use crate::RuntimeError;
use crate::store::{Factors, Rule};
use network::graph::{Array, Graph, Weights};

/// Writes a network for an input shape `[N, C, H, W]`, always the same but for sizes.
pub type Writer = Box<dyn Fn([usize; 4]) -> Result<Graph, RuntimeError> + Send + Sync>;

/// A network that runs for any input shape, forward and back.
pub trait Engine: Debug + Send + Sync {
    /// Computes the outputs for an input of this shape, row-major. Where it is trained, running statistics move.
    ///
    /// # Errors
    /// A shape that the network cannot take, an input of another size, or an operator that fails.
    fn forward(&mut self, shape: [usize; 4], input: &[f32]) -> Result<(), RuntimeError>;

    /// Writes the numbers of an output of the last pass, row-major, into `numbers`.
    ///
    /// # Errors
    /// An output that the network does not have.
    fn output(&self, name: &str, numbers: &mut Vec<f32>) -> Result<(), RuntimeError>;

    /// Computes the gradients of all trained parameters from those of outputs, row-major, of the last pass. Outputs
    /// that are not named have a gradient of zero.
    ///
    /// # Errors
    /// A gradient of an unknown output or of another size than it, or an operator that fails.
    fn backward(&mut self, gradients: &[(&str, &[f32])]) -> Result<(), RuntimeError>;

    /// The gradient of a parameter, in the parameter's own order; `None` if it has none.
    ///
    /// # Errors
    /// A mistake of this program.
    fn gradient(&self, name: &str) -> Result<Option<Array>, RuntimeError>;

    /// Changes the parameters by their gradients, each group with its factors.
    ///
    /// # Errors
    /// A group without factors.
    fn apply(&mut self, rule: &Rule, factors: &[Factors]) -> Result<(), RuntimeError>;

    /// The parameters as they are now; none of a network that is only run.
    ///
    /// # Errors
    /// A mistake of this program.
    fn weights(&self) -> Result<Weights, RuntimeError>;
}
