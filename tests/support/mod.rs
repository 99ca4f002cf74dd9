//! What the integration tests share.

#![allow(dead_code, unused_imports)] // every test uses some of it

mod repository;
mod weights;

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use converters::{Checkpoint, Dtype};
use engine::{Executor, Handle, NormStatistics, Parameters};
use network::element::Element;
use network::graph::{Array, Graph, Weights};
use network::models::gold_yolo::GoldYolo;

pub use repository::{data_set, reference, repository};
pub use weights::{synthetic, synthetic_weights, write_safetensors};

/// The values of an f32 tensor.
pub fn values(checkpoint: &Checkpoint, name: &str) -> Vec<f32> {
    let tensor = checkpoint.tensor(name).unwrap_or_else(|| panic!("no tensor {name}"));
    assert_eq!(tensor.dtype(), Dtype::F32, "{name}");
    let bytes = tensor.bytes().unwrap();
    bytes.as_chunks::<4>().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect()
}

/// A Gold-YOLO small enough for everything: n at width 1/16, with DFL and two heads of attention.
pub fn gold_yolo_tiny() -> GoldYolo {
    GoldYolo {
        backbone: [8, 8, 16, 32, 64],
        neck: [16, 8, 16, 32],
        fusion: 24,
        heads: 2,
        dfl: true,
        classes: 10,
        ..GoldYolo::N
    }
}

/// The input of a recording.
pub fn input(recording: &Checkpoint) -> Array {
    recorded(recording, "input")
}

/// An f32 tensor with its shape.
pub fn recorded(recording: &Checkpoint, name: &str) -> Array {
    let data = values(recording, name);
    Array { shape: recording.tensor(name).unwrap().shape().to_vec(), data }
}

/// Every named value of a run in f32.
pub fn taps(graph: &Graph, weights: &Weights, input: &Array) -> HashMap<String, Array> {
    let parameters = Parameters::frozen(graph, weights).unwrap();
    let executor = Executor::new(graph, &parameters, NormStatistics::Running);
    let mut by_value = HashMap::new();
    let observer = |value, handle: &Handle| {
        by_value.insert(value, handle.array()?);
        Ok(())
    };
    executor.observe(input, observer).unwrap();
    graph.taps().iter().map(|tap| (tap.path.clone(), by_value[&tap.value].clone())).collect()
}

/// The largest difference, relative to the tensor's largest magnitude.
pub fn error<T: Element>(ours: &Array<T>, recording: &Checkpoint, name: &str) -> f64 {
    assert_eq!(ours.shape, recording.tensor(name).unwrap().shape(), "{name}");
    let theirs = values(recording, name);
    let largest = theirs.iter().fold(0.0, |largest, value| f64::max(largest, f64::from(value.abs())));
    let differences = ours.wide().into_iter().zip(theirs).map(|(a, b)| (a - f64::from(b)).abs());
    differences.fold(0.0, f64::max) / largest
}

/// The contents of a JSON file.
pub fn json(file: &Path) -> serde_json::Value {
    serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap()
}

/// Numbers without pattern in [-0.5, 0.5).
pub fn ramp(count: usize, period: usize) -> Vec<f64> {
    (0..count).map(|i| (i * i % period) as f64 / period as f64 - 0.5).collect()
}

/// A number that depends on all of every output of a network in training form, for an input in f64, and how to find
/// its gradients.
pub struct Loss<'a> {
    pub graph: &'a Graph,
    pub weights: &'a Weights,
    pub input: Array<f64>,
}

impl Loss<'_> {
    fn weights_of(&self, output: &str) -> Vec<f64> {
        let value = self.graph.output(output).unwrap();
        let count = self.graph.node(value).unwrap().shape.iter().product();
        ramp(count, 97).into_iter().map(|weight| weight / count as f64).collect()
    }

    /// The number, after a change of parameters.
    pub fn after(&self, change: impl FnOnce(&mut Parameters<f64>)) -> f64 {
        let mut parameters = Parameters::trainable(self.graph, self.weights).unwrap();
        change(&mut parameters);
        let executor = Executor::new(self.graph, &parameters, NormStatistics::Batch);
        let outputs = executor.run(&self.input).unwrap();
        let parts = self.graph.outputs().iter().map(|(name, _)| {
            let output = outputs.output(name).unwrap().data;
            output.iter().zip(self.weights_of(name)).map(|(number, weight)| number * weight).sum::<f64>()
        });
        parts.sum()
    }

    /// By the reference's autograd, of every parameter by name.
    pub fn gradients(&self) -> BTreeMap<String, Array<f64>> {
        let parameters = Parameters::trainable(self.graph, self.weights).unwrap();
        let executor = Executor::new(self.graph, &parameters, NormStatistics::Batch);
        let names = self.graph.outputs().iter().map(|(name, _)| (name.as_str(), self.weights_of(name)));
        let gradients: Vec<(&str, Vec<f64>)> = names.collect();
        let gradients: Vec<(&str, &[f64])> = gradients.iter().map(|(name, one)| (*name, &one[..])).collect();
        executor.forward(&self.input).unwrap().backward(&gradients).unwrap().parameters
    }

    /// By finite differences, of one element of a parameter. The step is taken in f64: weights themselves are f32.
    pub fn difference(&self, name: &str, at: usize, step: f64) -> f64 {
        let id = self.graph.parameter_ids()[name];
        let moved = |step: f64| {
            self.after(|parameters| {
                let mut array = parameters.array(id).unwrap();
                array.data[at] += step;
                parameters.set(id, &array).unwrap();
            })
        };
        (moved(step) - moved(-step)) / (2.0 * step)
    }
}

/// Compares gradients of a [`Loss`] with finite differences: of each named parameter the middle element.
pub fn check_gradients(graph: &Graph, weights: &Weights, input: [usize; 4], names: &[&str]) {
    let input = Array { shape: input.to_vec(), data: ramp(input.iter().product(), 1009) };
    let loss = Loss { graph, weights, input };
    let gradients = loss.gradients();
    for &name in names {
        let gradient = &gradients[name].data;
        let at = gradient.len() / 2;
        let expected = loss.difference(name, at, 1e-6);
        let error = (gradient[at] - expected).abs() / gradient.iter().fold(1e-6, |m, g| f64::max(m, g.abs()));
        assert!(error < 1e-4, "{name}: {} instead of {expected}", gradient[at]);
    }
}
