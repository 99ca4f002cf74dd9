//! The network to be verified.

use std::collections::HashMap;
use std::path::Path;

use super::decoded::{Part, decoded};
use super::error::VerifyError;
use super::recording::{DECODED, Recording};
use engine::{Executor, NormStatistics, Parameters};
use network::element::Element;
use network::graph::{Array, Graph, Value, Weights};
use network::models::{Form, Model, Size};

/// The most elements of an input: five million pixels. The values of all layers are in memory, about a hundred
/// for every pixel.
const MAX_INPUT: usize = 1 << 24;

/// The raw output, from which boxes and scores are decoded.
pub(super) const OUTPUT: &str = "preds";

/// A network with its weights, written for one input, in f32 and in f64.
#[derive(Debug)]
pub struct Network {
    model: Model,
    pub(super) graph: Graph,
    size: Size,
    single: Parameters<f32>,
    double: Parameters<f64>,
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
        let single = Parameters::frozen(&graph, weights)?;
        let double = Parameters::frozen(&graph, weights)?;
        let [_, _, height, width] = shape;
        Ok(Network { model: model.clone(), graph, size: Size { width, height }, single, double })
    }

    /// The graph.
    pub fn graph(&self) -> &Graph {
        &self.graph
    }

    pub(super) fn single(&self) -> Executor<'_, f32> {
        Executor::new(&self.graph, &self.single, NormStatistics::Running)
    }

    pub(super) fn double(&self, statistics: NormStatistics) -> Executor<'_, f64> {
        Executor::new(&self.graph, &self.double, statistics)
    }

    /// One of [`DECODED`] from a raw output `[N, points, row]`, computed in `T`; `None` for a network whose output
    /// is not decoded so.
    pub(super) fn decoded<T: Element>(&self, name: &str, raw: &Array<T>) -> Option<Part> {
        decoded::<T>(name, raw, &self.model.facts(self.size).head, self.size)
    }

    /// What this network makes of `input`, as a recording to hold another against.
    ///
    /// # Errors
    /// An operator that fails.
    pub fn record(&self, file: &Path, input: &Array) -> Result<Recording, VerifyError> {
        let mut paths: HashMap<Value, Vec<&str>> = HashMap::new();
        for tap in self.graph.taps().iter().filter(|tap| tap.path != "input") {
            paths.entry(tap.value).or_default().push(&tap.path);
        }
        let mut values = HashMap::new();
        let outputs = self.single().observe(input, |value, handle| {
            for path in paths.get(&value).into_iter().flatten() {
                values.insert((*path).to_owned(), handle.array()?);
            }
            Ok(())
        })?;
        let raw = outputs.output(OUTPUT)?;
        for name in DECODED {
            if let Some(Part { values: numbers, shape }) = self.decoded(name, &raw) {
                let data = numbers.into_iter().map(|number| number as f32).collect();
                values.insert(name.to_owned(), Array { shape, data });
            }
        }
        Ok(Recording::of_run(file, input.clone(), values))
    }
}
