//! Which engine runs a network.

use crate::engine::{Engine, Writer};
use crate::plans::Plans;
use crate::reference::ReferenceEngine;
use crate::{RuntimeError, Training};
use network::graph::Weights;

/// Where a network runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Device {
    /// On this processor, by its fastest kernels.
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

/// An engine for a network, made ready for inputs of one `shape`; others follow as they come. Without `training` the
/// network is only run: its batch norms should have been folded, and weights may be kept in any form.
///
/// # Errors
/// A shape that the network cannot take, weights that do not fit, a device that does not have the precision.
pub fn engine(
    (device, precision): (Device, Precision),
    writer: Writer,
    shape: [usize; 4],
    weights: Weights,
    training: Option<Training>,
) -> Result<Box<dyn Engine>, RuntimeError> {
    Ok(match (device, precision) {
        (Device::Cpu, Precision::F32) => Box::new(Plans::new(writer, shape, weights, training)?),
        (Device::Reference, Precision::F32) => {
            Box::new(ReferenceEngine::<f32>::new(writer, shape, &weights, training)?)
        }
        (Device::Reference, Precision::F64) => {
            Box::new(ReferenceEngine::<f64>::new(writer, shape, &weights, training)?)
        }
        (Device::Cpu, Precision::F64) => {
            let what = "the kernels of the CPU compute in f32; the reference computes in f64".to_owned();
            return Err(RuntimeError::Unsupported { what });
        }
    })
}
