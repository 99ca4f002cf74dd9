//! The inference plan against the reference executor.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)] // a failing test may panic

mod support;

use candle_core::{DType, Device, Tensor};
use port::graph::passes::fold_batch_norms;
use port::graph::{Graph, Weights};
use port::models::{Form, preset};
use port::runtime::{Executor, NormStatistics, Parameters, Plan};
use support::synthetic_weights;

fn input(shape: &[usize]) -> Vec<f32> {
    let count = shape.iter().product::<usize>();
    (0..count).map(|i| (i * 7919 % 1000) as f32 / 500.0 - 1.0).collect()
}

/// The largest difference of an output to the reference executor's, relative to its largest magnitude.
fn difference(graph: &Graph, weights: &Weights) -> f32 {
    let shape = graph.node(graph.inputs()[0]).unwrap().shape.clone();
    let input = input(&shape);
    let mut plan = Plan::new(graph, weights).unwrap();
    let parameters = Parameters::frozen(graph, weights, DType::F32).unwrap();
    let executor = Executor::new(graph, &parameters, NormStatistics::Running);
    let expected =
        executor.run(&Tensor::from_slice(&input, shape.as_slice(), &Device::Cpu).unwrap()).unwrap();
    // Twice, as buffers are used again.
    plan.run(&input).unwrap();
    plan.run(&input).unwrap();
    let mut worst = 0.0_f32;
    for (name, _) in graph.outputs() {
        let expected = expected.get(name).unwrap();
        let mut found = Vec::new();
        plan.output(name, &mut found).unwrap();
        assert_eq!(plan.output_shape(name).unwrap(), expected.dims());
        let expected: Vec<f32> = expected.flatten_all().unwrap().to_vec1().unwrap();
        let largest = expected.iter().fold(0.0_f32, |largest, value| largest.max(value.abs()));
        let differences = found.iter().zip(&expected).map(|(found, expected)| (found - expected).abs());
        worst = worst.max(differences.fold(0.0, f32::max) / largest);
    }
    worst
}

#[test]
fn nanodet_plus_equals_the_reference_executor() {
    for (shape, form) in [
        ([1, 3, 64, 96], Form::Training),
        ([1, 3, 96, 32], Form::Inference),
        ([3, 3, 32, 64], Form::Inference),
    ] {
        let graph = preset("nanodet-plus-m").unwrap().model().graph(form, shape).unwrap();
        let weights = synthetic_weights(&graph);
        let (folded, folding) = fold_batch_norms(&graph);
        let worst = difference(&folded, &folding.fold(&weights).unwrap());
        assert!(worst < 1e-5, "{shape:?}: {worst}");
    }
}
