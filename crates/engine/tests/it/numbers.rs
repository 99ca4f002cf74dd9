//! Numbers for tests: without pattern, the same every time.

use engine::{Device, Precision, Writer};
use engine::{Engine, Training, engine};
use network::graph::{Graph, Parameter, Role, Weights};

/// Numbers in [-1, 1) without pattern.
pub fn numbers(seed: u32, count: usize) -> Vec<f32> {
    let mut state = seed.wrapping_mul(2_654_435_761).wrapping_add(1);
    let number = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / 8_388_608.0 - 1.0
    };
    std::iter::repeat_with(number).take(count).collect()
}

/// Weights that keep signals at their size: kernels of He's variance, norms that change a little.
pub fn weights(graph: &Graph, seed: u32) -> Weights {
    let mut seed = seed;
    Weights::fill(graph, |parameter: &Parameter| {
        seed += 1;
        let inputs: usize = parameter.shape.iter().skip(1).product();
        let (middle, width) = match parameter.role {
            Role::Kernel => (0.0, (6.0 / inputs.max(1) as f32).sqrt()),
            Role::NormWeight | Role::RunningVariance | Role::Scale => (1.0, 0.3),
            Role::BatchCount => (0.0, 0.0),
            _ => (0.0, 0.5),
        };
        numbers(seed, parameter.elements()).into_iter().map(|number| middle + width * number).collect()
    })
}

/// An engine for a network that is written by a function of the input's shape.
pub fn engine_of(
    choice: (Device, Precision),
    write: impl Fn([usize; 4]) -> Graph + Send + Sync + 'static,
    shape: [usize; 4],
    weights: &Weights,
    training: Option<Training>,
) -> Box<dyn Engine> {
    let writer: Writer = Box::new(move |shape| Ok(write(shape)));
    engine(choice, writer, shape, weights.clone(), training).unwrap()
}

/// A gradient for every output: numbers as small as there are many.
pub fn gradients(graph: &Graph) -> Vec<(String, Vec<f32>)> {
    let of = |(name, value): &(String, network::graph::Value)| {
        let count: usize = graph.node(*value).unwrap().shape.iter().product();
        let gradient = numbers(77, count).into_iter().map(|number| number / (count as f32).sqrt());
        (name.clone(), gradient.collect())
    };
    graph.outputs().iter().map(of).collect()
}

/// The same, borrowed.
pub fn borrowed(gradients: &[(String, Vec<f32>)]) -> Vec<(&str, &[f32])> {
    gradients.iter().map(|(name, numbers)| (name.as_str(), numbers.as_slice())).collect()
}

/// The largest difference, and the largest magnitude of what is expected.
pub fn distance(found: &[f32], expected: &[f32]) -> (f64, f64) {
    assert_eq!(found.len(), expected.len());
    let largest = |numbers: &mut dyn Iterator<Item = f64>| numbers.fold(0.0, f64::max);
    let pairs = || found.iter().zip(expected).map(|(a, b)| (f64::from(*a), f64::from(*b)));
    assert!(pairs().all(|(a, _)| a.is_finite()));
    (largest(&mut pairs().map(|(a, b)| (a - b).abs())), largest(&mut pairs().map(|(_, b)| b.abs())))
}
