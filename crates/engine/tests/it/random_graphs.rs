//! Random graphs: the CPU's engine against the reference and both against finite differences in f64, forward and back.
//!
//! Channels from 1 to 70, odd sizes, and values that several operators take, each in another way: views, parts of
//! concatenations and what is copied meet as no network of ours lets them.

use engine::{Device, Precision, Training};
use network::graph::rewrite::deploy;
use network::graph::{Activation, Conv, Graph, Pool, ResizeMode, Scope, Value, Weights};
use proptest::prelude::*;

use super::numbers::{borrowed, distance, engine_of, gradients, numbers, weights};

/// A graph to be written: what each operator is, and which earlier values it takes.
#[derive(Debug, Clone)]
struct Plan {
    size: [usize; 2],
    images: usize,
    channels: usize,
    operators: Vec<(u8, usize, usize)>,
}

impl Plan {
    fn shape(&self) -> [usize; 4] {
        [self.images, 3, self.size[0], self.size[1]]
    }

    /// Every value has the same pixels, so that all can be taken together; channels differ.
    fn write(&self, shape: [usize; 4]) -> Graph {
        let written = Graph::write(shape, |net, x| {
            let stem = net.conv("stem", x, Conv::same(self.channels, 3).biased());
            let mut values = vec![stem];
            for (index, (operator, one, other)) in self.operators.iter().enumerate() {
                let [one, other] = [one, other].map(|at| values[at % values.len()]);
                let value = operate(net, &format!("at{index}"), *operator, one, other);
                values.push(value);
            }
            // All are outputs, so that every operator has a gradient and some values are read from outside as well.
            let last = values.len() - 1;
            net.output("last", values[last]);
            net.output("middle", values[last / 2]);
            let all: Vec<Value> = values.iter().skip(last.saturating_sub(3)).copied().collect();
            let joined = net.concat(&all);
            let points = flattened(net, joined);
            let points = net.transpose(points, &[0, 2, 1]);
            net.output("points", points);
        });
        written.unwrap()
    }
}

fn flattened(net: &mut Scope<'_>, x: Value) -> Value {
    let shape = net.shape(x).to_vec();
    net.reshape(x, &[shape[0], shape[1], shape[2] * shape[3]])
}

/// One operator that keeps the pixels.
fn operate(net: &mut Scope<'_>, name: &str, operator: u8, one: Value, other: Value) -> Value {
    let channels = net.channels(one);
    match operator % 16 {
        0 => net.conv(name, one, Conv::same(channels.div_ceil(2) + 3, 3)),
        1 => net.conv(name, one, Conv::pointwise(channels / 2 + 1).biased()),
        2 => net.conv(name, one, Conv::depthwise(channels, 3)),
        3 => {
            let x = net.batch_norm(name, one, 1e-3, 0.1);
            net.activation(x, Activation::Silu)
        }
        4 => net.batch_norm(name, one, 1e-3, 0.1),
        5 => net.group_norm(name, one, 1, 1e-3),
        6 => net.activation(one, Activation::Sigmoid),
        7 if channels == net.channels(other) => net.add(one, other),
        7 | 8 => net.concat(&[one, other]),
        9 if channels > 1 => net.slice(one, 1, channels / 3, channels - channels / 3),
        10 if channels == net.channels(other) => net.multiply(one, other),
        10 => {
            let factor = net.conv(name, other, Conv::pointwise(1));
            net.multiply(one, factor)
        }
        11 if channels.is_multiple_of(2) => net.channel_shuffle(one, 2),
        12 => net.max_pool(name, one, Pool::new(3, 1, 1)),
        13 => {
            let small = net.average_pool(name, one, Pool::new(2, 2, 0));
            let size = net.size(one);
            net.resize(small, ResizeMode::Bilinear, size)
        }
        14 => net.scale(name, one),
        15 if channels > 1 => {
            let halves = [net.slice(one, 1, 0, 1), net.slice(one, 1, 1, channels - 1)];
            let shares = net.softmax(halves[1], 1);
            net.concat(&[shares, halves[0], halves[1]])
        }
        _ => net.activation(one, Activation::HardSigmoid),
    }
}

fn plans() -> impl Strategy<Value = Plan> {
    let operators = prop::collection::vec((any::<u8>(), 0..64_usize, 0..64_usize), 1..9);
    let size = (2..=11_usize, 2..=13_usize);
    (size, 1..=3_usize, 1..=70_usize, operators).prop_map(|((height, width), images, channels, operators)| {
        Plan { size: [2 * height + 1, 2 * width + 1], images, channels, operators }
    })
}

/// Weights and an input for a plan.
fn given(plan: &Plan) -> (Graph, Weights, Vec<f32>) {
    let graph = plan.write(plan.shape());
    let weights = weights(&graph, 5);
    let input = numbers(3, plan.shape().iter().product());
    (graph, weights, input)
}

/// Outputs and gradients of an engine, by name.
fn trained(plan: &Plan, choice: (Device, Precision)) -> Vec<(String, Vec<f32>)> {
    let (graph, weights, input) = given(plan);
    let write = {
        let plan = plan.clone();
        move |shape| plan.write(shape)
    };
    let mut engine = engine_of(choice, write, plan.shape(), &weights, Some(Training::all()));
    engine.forward(plan.shape(), &input).unwrap();
    let mut found = Vec::new();
    for (name, _) in graph.outputs() {
        let mut numbers = Vec::new();
        engine.output(name, &mut numbers).unwrap();
        found.push((name.clone(), numbers));
    }
    engine.backward(&borrowed(&gradients(&graph))).unwrap();
    for parameter in graph.parameters() {
        if let Some(gradient) = engine.gradient(&parameter.name).unwrap() {
            found.push((format!("gradient of {}", parameter.name), gradient.data));
        }
    }
    let weights = engine.weights().unwrap();
    for parameter in graph.parameters().iter().filter(|parameter| parameter.name.contains("running")) {
        found.push((parameter.name.clone(), weights.get(&parameter.name).unwrap().data.clone()));
    }
    found
}

/// Sums that cancel are as far from the truth as their terms are large: tensors are compared with the largest of all
/// gradients where their own are tiny.
fn check_training(plan: &Plan) {
    let exact = trained(plan, (Device::Reference, Precision::F64));
    let rounded = trained(plan, (Device::Reference, Precision::F32));
    let found = trained(plan, (Device::Cpu, Precision::F32));
    let largest = exact.iter().filter(|(name, _)| name.starts_with("gradient")).flat_map(|(_, data)| data);
    let largest = f64::from(largest.fold(0.0, |largest: f32, number| largest.max(number.abs())));
    for (name, exact) in &exact {
        let of = |numbers: &[(String, Vec<f32>)]| {
            numbers.iter().find(|(other, _)| other == name).map(|(_, numbers)| distance(numbers, exact))
        };
        let Some((error, magnitude)) = of(&found) else {
            assert!(exact.iter().all(|number| *number == 0.0), "{plan:?}: no {name}");
            continue;
        };
        let noise = of(&rounded).unwrap().0;
        let floor = if name.starts_with("gradient") { 4e-6 * largest } else { 0.0 };
        let allowed = (2e-5 * magnitude).max(8.0 * noise).max(floor);
        assert!(error <= allowed, "{plan:?}: {name} is off by {error:.2e}, rounding gives {noise:.2e}");
    }
}

/// The deploy form of the same graph, with packed weights.
fn check_inference(plan: &Plan) {
    let (graph, weights, input) = given(plan);
    let (_, deployment) = deploy(&graph);
    let weights = deployment.apply(&weights).unwrap();
    let outputs = |choice| {
        let write = {
            let plan = plan.clone();
            move |shape| deploy(&plan.write(shape)).0
        };
        let mut engine = engine_of(choice, write, plan.shape(), &weights, None);
        engine.forward(plan.shape(), &input).unwrap();
        let output = |(name, _): &(String, Value)| {
            let mut numbers = Vec::new();
            engine.output(name, &mut numbers).unwrap();
            numbers
        };
        graph.outputs().iter().map(output).collect::<Vec<_>>()
    };
    let exact = outputs((Device::Reference, Precision::F64));
    let rounded = outputs((Device::Reference, Precision::F32));
    let found = outputs((Device::Cpu, Precision::F32));
    for ((found, rounded), exact) in found.iter().zip(&rounded).zip(&exact) {
        let ((error, magnitude), (noise, _)) = (distance(found, exact), distance(rounded, exact));
        assert!(error <= (1e-5 * magnitude).max(8.0 * noise), "{plan:?}: {error:.2e} of {magnitude:.2e}");
    }
}

/// The reference's gradients along one direction against the difference of two runs in f64.
fn check_differences(plan: &Plan) {
    const STEP: f64 = 1e-3;
    let (graph, weights, input) = given(plan);
    let gradients = gradients(&graph);
    let choice = (Device::Reference, Precision::F64);
    let engine = |weights: &Weights| {
        let write = {
            let plan = plan.clone();
            move |shape| plan.write(shape)
        };
        engine_of(choice, write, plan.shape(), weights, Some(Training::all()))
    };
    let loss = |weights: &Weights| {
        let mut engine = engine(weights);
        engine.forward(plan.shape(), &input).unwrap();
        let of = |(name, gradient): &(String, Vec<f32>)| {
            let mut numbers = Vec::new();
            engine.output(name, &mut numbers).unwrap();
            numbers.iter().zip(gradient).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>()
        };
        gradients.iter().map(of).sum::<f64>()
    };
    let mut engine = engine(&weights);
    engine.forward(plan.shape(), &input).unwrap();
    engine.backward(&borrowed(&gradients)).unwrap();
    // The stem's bias is before everything: all other operators are differentiated on the way to it.
    let gradient = engine.gradient("stem.bias").unwrap().unwrap();
    let moved = |step: f64| {
        let mut weights = weights.clone();
        let bias = weights.get_mut("stem.bias").unwrap();
        bias.data
            .iter_mut()
            .zip(&gradient.data)
            .for_each(|(value, own)| *value += (step * f64::from(own.signum())) as f32);
        loss(&weights)
    };
    let difference = (moved(STEP) - moved(-STEP)) / (2.0 * STEP);
    let expected: f64 = gradient.data.iter().map(|own| f64::from(own.abs())).sum();
    // Outputs are rounded to f32 on their way out, and kinks lie on the way.
    let allowed = 0.02 * expected + 1e-3;
    assert!((difference - expected).abs() <= allowed, "{plan:?}: {difference} and {expected}");
}

/// Random graphs in a run: a few dozen, or as many as the environment says.
fn cases() -> u32 {
    std::env::var("PROPTEST_CASES").map_or(24, |cases| cases.parse().unwrap())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), ..ProptestConfig::default() })]

    #[test]
    fn training_equals_the_reference(plan in plans()) {
        check_training(&plan);
    }

    #[test]
    fn inference_equals_the_reference(plan in plans()) {
        check_inference(&plan);
    }

    #[test]
    fn gradients_equal_finite_differences(plan in plans()) {
        check_differences(&plan);
    }
}
