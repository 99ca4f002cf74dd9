//! The network to be verified.

use candle_core::{DType, Tensor};

use super::recording::{Recording, VerifyError};
use crate::graph::{Array, Graph, Weights};
use crate::models::{Form, Model, Size};
use crate::runtime::{Executor, NormStatistics, Parameters, array_tensor, to_array};

/// A network with its weights, written for one input, in f32 and in f64.
#[derive(Debug)]
pub struct Network {
    pub(super) model: Model,
    pub(super) graph: Graph,
    pub(super) size: Size,
    single: Parameters,
    double: Parameters,
}

impl Network {
    /// The network for inputs of `shape`, in training form where the weights have it.
    ///
    /// # Errors
    /// A shape that the network cannot take, or weights that do not fit.
    pub fn new(model: &Model, weights: &Weights, shape: [usize; 4]) -> Result<Network, VerifyError> {
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

    /// What this network makes of `input`, as a recording to hold another against.
    ///
    /// # Errors
    /// An operator that fails.
    pub fn record(&self, file: &std::path::Path, input: &Array) -> Result<Recording, VerifyError> {
        let mut values = std::collections::HashMap::new();
        let mut failed = None;
        let mut paths: std::collections::HashMap<_, Vec<&str>> = std::collections::HashMap::new();
        for tap in self.graph.taps().iter().filter(|tap| tap.path != "input") {
            paths.entry(tap.value).or_default().push(&tap.path);
        }
        let executor = self.executor(DType::F32, NormStatistics::Running);
        executor.observe(&input_tensor(input)?, |value, tensor| {
            for path in paths.get(&value).into_iter().flatten() {
                match to_array(tensor) {
                    Ok(array) => drop(values.insert((*path).to_owned(), array)),
                    Err(error) => failed = Some(error),
                }
            }
        })?;
        failed.map_or_else(|| Ok(Recording::of_run(file, input.clone(), values)), |error| Err(error.into()))
    }
}

pub(super) fn input_tensor(input: &Array) -> candle_core::Result<Tensor> {
    array_tensor(input, DType::F32)
}
