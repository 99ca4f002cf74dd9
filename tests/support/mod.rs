//! What the integration tests share.

#![allow(dead_code, unused_imports)] // every test uses some of it

mod repository;
mod weights;

use std::collections::HashMap;
use std::path::Path;

use candle_core::{DType, Device, Tensor};
use converters::{Checkpoint, Dtype};
use engine::{Executor, NormStatistics, Parameters, to_f64};
use network::graph::{Graph, Weights};
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
pub fn input(recording: &Checkpoint) -> Tensor {
    let shape = recording.tensor("input").unwrap().shape().to_vec();
    Tensor::from_vec(values(recording, "input"), shape, &Device::Cpu).unwrap()
}

/// Every named value of a run in f32.
pub fn taps(graph: &Graph, weights: &Weights, input: &Tensor) -> HashMap<String, Tensor> {
    let parameters = Parameters::frozen(graph, weights, DType::F32).unwrap();
    let executor = Executor::new(graph, &parameters, NormStatistics::Running);
    let mut by_value = HashMap::new();
    executor.observe(input, |value, tensor| drop(by_value.insert(value, tensor.clone()))).unwrap();
    graph.taps().iter().map(|tap| (tap.path.clone(), by_value[&tap.value].clone())).collect()
}

/// The largest difference, relative to the tensor's largest magnitude.
pub fn error(ours: &Tensor, recording: &Checkpoint, name: &str) -> f64 {
    assert_eq!(ours.dims(), recording.tensor(name).unwrap().shape(), "{name}");
    let theirs = values(recording, name);
    let largest = theirs.iter().fold(0.0, |largest, value| f64::max(largest, f64::from(value.abs())));
    let ours = to_f64(ours).unwrap();
    let differences = ours.iter().zip(theirs).map(|(a, b)| (a - f64::from(b)).abs());
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

/// Compares gradients of `loss`, which depends on a graph's parameters, with finite differences: of each named
/// parameter the middle element.
pub fn check_gradients(
    graph: &Graph,
    weights: &Weights,
    names: &[&str],
    loss: impl Fn(&Graph, &Parameters) -> Tensor,
) {
    const STEP: f64 = 1e-6;
    let trainable = || Parameters::trainable(graph, weights, DType::F64).unwrap();
    let parameters = trainable();
    let gradients = loss(graph, &parameters).backward().unwrap();
    let ids = graph.parameter_ids();
    for &name in names {
        let variable = parameters.variable(ids[name]).unwrap();
        let gradient = to_f64(gradients.get(variable).unwrap()).unwrap();
        let at = gradient.len() / 2;
        // The step is taken in f64: weights themselves are f32.
        let moved = |step: f64| {
            let parameters = trainable();
            let variable = parameters.variable(ids[name]).unwrap();
            let mut values = to_f64(variable).unwrap();
            values[at] += step;
            variable.set(&Tensor::from_vec(values, variable.shape(), &Device::Cpu).unwrap()).unwrap();
            to_f64(&loss(graph, &parameters)).unwrap()[0]
        };
        let expected = (moved(STEP) - moved(-STEP)) / (2.0 * STEP);
        let error = (gradient[at] - expected).abs() / gradient.iter().fold(1e-6, |m, g| f64::max(m, g.abs()));
        assert!(error < 1e-4, "{name}: {} instead of {expected}", gradient[at]);
    }
}
