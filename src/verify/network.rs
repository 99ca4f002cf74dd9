//! The network to be verified.

use std::collections::HashMap;
use std::path::Path;

use candle_core::{DType, Tensor};

use super::decoded::{Part, decoded};
use super::error::VerifyError;
use super::recording::{DECODED, Recording};
use engine::{Executor, NormStatistics, Parameters, array_tensor};
use network::element::Element;
use network::graph::{Array, Graph, Weights};
use network::models::{Form, Model, Size};

/// The most elements of an input: five million pixels. The values of all layers are in memory, about a hundred
/// for every pixel.
const MAX_INPUT: usize = 1 << 24;

/// A network with its weights, written for one input, in f32 and in f64.
#[derive(Debug)]
pub struct Network {
    model: Model,
    pub(super) graph: Graph,
    size: Size,
    single: Parameters,
    double: Parameters,
}

impl Network {
    /// The network for inputs of `shape`, in training form where the weights have it.
    ///
    /// # Errors
    /// A shape that the network cannot take, or weights that do not fit.
    pub fn new(model: &Model, weights: &Weights, shape: [usize; 4]) -> Result<Network, VerifyError> {
        if shape.iter().try_fold(1_usize, |product, size| product.checked_mul(*size)) > Some(MAX_INPUT) {
            return Err(VerifyError::TooLarge { found: shape.to_vec(), limit: MAX_INPUT });
        }
        let graph = model.graph(Form::Training, shape)?;
        let single = Parameters::frozen(&graph, weights, DType::F32)?;
        let double = Parameters::frozen(&graph, weights, DType::F64)?;
        let [_, _, height, width] = shape;
        Ok(Network { model: model.clone(), graph, size: Size { width, height }, single, double })
    }

    /// The graph.
    pub fn graph(&self) -> &Graph {
        &self.graph
    }

    pub(super) fn executor(&self, dtype: DType, statistics: NormStatistics) -> Executor<'_> {
        let parameters = if dtype == DType::F64 { &self.double } else { &self.single };
        Executor::new(&self.graph, parameters, statistics)
    }

    /// One of [`DECODED`] from a raw output `[N, points, row]`, computed in `T`; `None` for a network whose output
    /// is not decoded so.
    pub(super) fn decoded<T: Element>(&self, name: &str, raw: &Tensor) -> Result<Option<Part>, VerifyError> {
        decoded::<T>(name, raw, &self.model.facts(self.size).head, self.size)
    }

    /// What this network makes of `input`, as a recording to hold another against.
    ///
    /// # Errors
    /// An operator that fails.
    pub fn record(&self, file: &Path, input: &Array) -> Result<Recording, VerifyError> {
        let mut tensors = HashMap::new();
        let executor = self.executor(DType::F32, NormStatistics::Running);
        let outputs = executor.observe(&input_tensor(input)?, |value, tensor| {
            tensors.insert(value, tensor.clone());
        })?;
        let mut values = HashMap::new();
        for tap in self.graph.taps().iter().filter(|tap| tap.path != "input") {
            if let Some(tensor) = tensors.get(&tap.value) {
                values.insert(tap.path.clone(), tensor.clone());
            }
        }
        for name in DECODED {
            let raw = outputs.get("preds").map(|raw| self.decoded::<f32>(name, raw)).transpose()?;
            if let Some(Part { values: numbers, shape }) = raw.flatten() {
                let data = numbers.into_iter().map(|number| number as f32).collect();
                values.insert(name.to_owned(), array_tensor(&Array { shape, data }, DType::F32)?);
            }
        }
        Ok(Recording::of_run(file, input.clone(), values))
    }
}

pub(super) fn input_tensor(input: &Array) -> candle_core::Result<Tensor> {
    array_tensor(input, DType::F32)
}
