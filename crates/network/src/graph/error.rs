//! What can be wrong with a graph.

/// Why a graph cannot be written, or weights cannot fill it. Every message names what it is about first.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GraphError {
    /// Input shapes that the operator cannot take.
    #[error("{module}: {op} cannot take {shapes}: {why}")]
    Shape {
        /// Path of the module.
        module: String,
        /// The operator.
        op: &'static str,
        /// The input shapes.
        shapes: String,
        /// The rule that is broken.
        why: String,
    },
    /// A picture whose sides the network's levels do not divide.
    #[error("{width}x{height} pixels: the sides that {network} takes are multiples of {divisor}")]
    Size {
        /// Name of the network.
        network: String,
        /// Pixels across.
        width: usize,
        /// Pixels down.
        height: usize,
        /// What divides both.
        divisor: usize,
    },
    /// A module that the network does not have, or that has no result.
    #[error("{path}: the network has no module of this name with a result")]
    Module {
        /// Path of the module.
        path: String,
    },
    /// One parameter name with two shapes or two roles.
    #[error("{name}: the parameter is used as {first:?} and as {second:?}")]
    Conflict {
        /// Full name of the parameter.
        name: String,
        /// The shape at its first use.
        first: Vec<usize>,
        /// The shape at a later use.
        second: Vec<usize>,
    },
    /// A parameter without a value.
    #[error("{name}: no value is given for this parameter of shape {shape:?}")]
    Missing {
        /// Full name of the parameter.
        name: String,
        /// The shape it should have.
        shape: Vec<usize>,
    },
    /// A value of another shape than its parameter.
    #[error("{name}: the value has shape {found:?}, the parameter {expected:?}")]
    Mismatch {
        /// Full name of the parameter.
        name: String,
        /// The shape of the parameter.
        expected: Vec<usize>,
        /// The shape of the value.
        found: Vec<usize>,
    },
}
