//! The training plan against the reference executor's autograd.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)] // a failing test may panic

mod support;

use std::collections::{BTreeMap, BTreeSet};

use engine::{Executor, Factors, NormStatistics, Parameters, Plan, Rule, Training};
use network::element::Element;
use network::graph::{Array, Graph, Parameter, Role, Weights};
use network::models::nanodet_plus::{Auxiliary, NanoDetPlus};
use network::models::{Form, Model, preset};
use support::{gold_yolo_tiny, ramp, synthetic_weights};

/// Gradients of parameters and new running statistics, by name.
type Numbers = BTreeMap<String, Vec<f64>>;

fn input(graph: &Graph) -> Vec<f32> {
    let shape = &graph.node(graph.inputs()[0]).unwrap().shape;
    ramp(shape.iter().product(), 1009).into_iter().map(|value| value as f32).collect()
}

/// A gradient for every output.
fn seeds(graph: &Graph) -> Vec<(&str, Vec<f32>)> {
    let seed = |count: usize| ramp(count, 97).into_iter().map(|value| value as f32 / count as f32).collect();
    let outputs = graph.outputs().iter();
    outputs
        .map(|(name, value)| (name.as_str(), seed(graph.node(*value).unwrap().shape.iter().product())))
        .collect()
}

/// What autograd says, in the type `T`: outputs, gradients and running statistics.
fn expected<T: Element>(graph: &Graph, weights: &Weights, statistics: NormStatistics) -> Numbers {
    let parameters = Parameters::<T>::trainable(graph, weights).unwrap();
    let shape = graph.node(graph.inputs()[0]).unwrap().shape.clone();
    let input: Array<T> = Array { shape, data: input(graph) }.to();
    let forward = Executor::new(graph, &parameters, statistics).forward(&input).unwrap();
    let mut numbers = Numbers::new();
    let narrow = |seed: Vec<f32>| seed.into_iter().map(|number| T::of(f64::from(number))).collect();
    let seeds: Vec<(&str, Vec<T>)> =
        seeds(graph).into_iter().map(|(name, seed)| (name, narrow(seed))).collect();
    for (name, _) in &seeds {
        numbers.insert(format!("output {name}"), forward.output(name).unwrap().wide());
    }
    let seeds: Vec<(&str, &[T])> = seeds.iter().map(|(name, seed)| (*name, seed.as_slice())).collect();
    for (name, gradient) in forward.backward(&seeds).unwrap().parameters {
        numbers.insert(format!("gradient {name}"), gradient.wide());
    }
    for (name, id) in graph.parameter_ids() {
        if matches!(graph.parameter(id).unwrap().role, Role::RunningMean | Role::RunningVariance) {
            numbers.insert(format!("buffer {name}"), parameters.array(id).unwrap().wide());
        }
    }
    numbers
}

/// The same of a plan.
fn planned(graph: &Graph, plan: &mut Plan) -> Numbers {
    plan.forward(&input(graph)).unwrap();
    let mut numbers = Numbers::new();
    for (name, _) in graph.outputs() {
        let mut output = Vec::new();
        plan.output(name, &mut output).unwrap();
        numbers.insert(format!("output {name}"), output.into_iter().map(f64::from).collect());
    }
    let seeds = seeds(graph);
    let seeds: Vec<(&str, &[f32])> = seeds.iter().map(|(name, seed)| (*name, seed.as_slice())).collect();
    plan.backward(&seeds).unwrap();
    let weights = plan.weights().unwrap();
    for parameter in graph.parameters() {
        let wide = |data: &[f32]| data.iter().copied().map(f64::from).collect();
        if let Some(gradient) = plan.gradient(&parameter.name).unwrap() {
            numbers.insert(format!("gradient {}", parameter.name), wide(&gradient.data));
        } else if parameter.name.contains("running_") {
            let data = &weights.get(&parameter.name).unwrap().data;
            numbers.insert(format!("buffer {}", parameter.name), wide(data));
        }
    }
    numbers
}

/// The largest difference.
fn difference(found: &[f64], expected: &[f64]) -> f64 {
    assert_eq!(found.len(), expected.len());
    assert!(found.iter().all(|value| value.is_finite()));
    found.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
}

/// The largest magnitude of a tensor. Factors are tensors of one number, which may be a sum that nearly cancels: of
/// them that of all.
fn magnitude(name: &str, numbers: &Numbers) -> f64 {
    let factor = |name: &str| name.ends_with(".scale");
    let alike = numbers.iter().filter(|(other, _)| *other == name || (factor(name) && factor(other)));
    alike.flat_map(|(_, values)| values).fold(f64::MIN_POSITIVE, |largest, value| largest.max(value.abs()))
}

/// Asserts that a plan's outputs, gradients and statistics are those of autograd in f64: within 1e-5 of the largest
/// magnitude of a tensor, or four times as far as autograd in f32 is; running statistics, among them means that nearly
/// cancel, within 2e-5.
#[track_caller]
fn check(what: &str, graph: &Graph, statistics: NormStatistics) {
    check_weights(what, graph, &synthetic_weights(graph), statistics);
}

#[track_caller]
fn check_weights(what: &str, graph: &Graph, weights: &Weights, statistics: NormStatistics) {
    let training = Training::all().with_statistics(move |_| statistics);
    let mut plan = Plan::training(graph, weights, &training).unwrap();
    assert_eq!(plan.without_kernel().collect::<BTreeSet<_>>(), BTreeSet::new(), "{what}");
    let found = planned(graph, &mut plan);
    let exact_numbers = expected::<f64>(graph, weights, statistics);
    let rounded = expected::<f32>(graph, weights, statistics);
    let mut faults = Vec::new();
    for (name, exact) in &exact_numbers {
        let Some(found) = found.get(name) else {
            // Where autograd gives zeros the plan may give nothing.
            assert!(exact.iter().all(|value| *value == 0.0) || name.contains("buffer"), "{what}: no {name}");
            continue;
        };
        let magnitude = magnitude(name, &exact_numbers);
        let [error, noise] = [found, &rounded[name]].map(|numbers| difference(numbers, exact) / magnitude);
        let tolerance: f64 = if name.starts_with("buffer") { 2e-5 } else { 1e-5 };
        if error > tolerance.max(4.0 * noise) {
            faults.push(format!("{name}: {error:.2e}, where rounding alone gives {noise:.2e}"));
        }
    }
    assert!(faults.is_empty(), "{what}: {} of {}\n{}", faults.len(), exact_numbers.len(), faults.join("\n"));
    assert_eq!(found.keys().find(|name| !exact_numbers.contains_key(*name)), None);
}

/// A small network with everything that a large one has.
fn nanodet() -> Graph {
    let small = NanoDetPlus {
        channels: 16,
        classes: 3,
        auxiliary: Some(Auxiliary { channels: 32, stacked: 1 }),
        ..NanoDetPlus::M
    };
    Model::from(small).graph(Form::Training, [2, 3, 96, 64]).unwrap()
}

#[test]
fn nanodet_plus_equals_autograd() {
    check("nanodet-plus", &nanodet(), NormStatistics::Batch);
}

/// Weights that keep signals around `middles`, channel by channel in turn, away from the kinks of functions: what lies near
/// one falls to either side in f32, in autograd as here, and a gradient is another then.
fn around(graph: &Graph, middles: [f32; 2]) -> Weights {
    let mut weights = synthetic_weights(graph);
    for parameter in graph.parameters().iter().filter(|parameter| parameter.role == Role::NormBias) {
        let data = middles.into_iter().cycle().take(parameter.elements()).collect();
        weights.insert(&parameter.name, Array { shape: parameter.shape.clone(), data });
    }
    weights
}

/// The same with the input's own running statistics, so that signals keep their size in all of the network.
fn settled(graph: &Graph, middles: [f32; 2]) -> Weights {
    let weights = around(graph, middles);
    let mut plan = Plan::training(graph, &weights, &Training::all()).unwrap();
    // The old statistics' share is 0.9^60.
    (0..60).for_each(|_| plan.forward(&input(graph)).unwrap());
    plan.weights().unwrap()
}

#[test]
fn nanodet_plus_with_running_statistics_equals_autograd() {
    let graph = nanodet();
    check_weights("nanodet-plus", &graph, &settled(&graph, [6.0, -6.0]), NormStatistics::Running);
}

#[test]
fn gold_yolo_with_running_statistics_equals_autograd() {
    let graph = Model::from(gold_yolo_tiny()).graph(Form::Training, [2, 3, 64, 96]).unwrap();
    check_weights("gold-yolo", &graph, &settled(&graph, [0.5, -0.5]), NormStatistics::Running);
}

#[test]
fn gold_yolo_equals_autograd() {
    let graph = Model::from(gold_yolo_tiny()).graph(Form::Training, [2, 3, 64, 96]).unwrap();
    check("gold-yolo", &graph, NormStatistics::Batch);
}

/// With running statistics, which gfocal is trained with.
#[test]
fn gfocal_equals_autograd() {
    let graph = preset("gfocal-r50-fpn").unwrap().model().graph(Form::Training, [1, 3, 64, 96]).unwrap();
    check("gfocal-r50-fpn", &graph, NormStatistics::Running);
}

#[test]
fn numbers_do_not_depend_on_the_number_of_threads() {
    let graph = nanodet();
    let of = |threads: usize| {
        let mut plan = Plan::training(&graph, &synthetic_weights(&graph), &Training::all()).unwrap();
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| planned(&graph, &mut plan))
    };
    let alone = of(1);
    for threads in [2, 3, 7] {
        let found = of(threads);
        let differing: Vec<_> = alone.keys().filter(|name| found[*name] != alone[*name]).collect();
        assert_eq!(differing, [""; 0], "{threads} threads");
    }
}

/// Frozen parameters have no gradient, and the others have the same as ever.
#[test]
fn only_what_is_trained_has_a_gradient() {
    let graph = nanodet();
    let weights = synthetic_weights(&graph);
    let is_head = |parameter: &Parameter| !parameter.name.starts_with("backbone");
    let training = Training::of(is_head);
    let found = planned(&graph, &mut Plan::training(&graph, &weights, &training).unwrap());
    let all = planned(&graph, &mut Plan::training(&graph, &weights, &Training::all()).unwrap());
    assert!(found.keys().all(|name| !name.starts_with("gradient backbone")));
    for (name, numbers) in &all {
        assert!(name.starts_with("gradient backbone") || found[name] == *numbers, "{name}");
    }
}

/// `torch.optim.SGD`: v = m v + g + d w, w -= lr v; at the first step v is the gradient.
#[test]
fn steps_are_those_of_torch() {
    let graph = nanodet();
    let weights = synthetic_weights(&graph);
    let mut plan = Plan::training(&graph, &weights, &Training::all()).unwrap();
    let sgd = Rule::Sgd { momentum: 0.9, dampening: 0.0, nesterov: false };
    let factors = [Factors { learning_rate: 0.1, weight_decay: 0.01 }];
    let names = ["backbone.conv1.0.weight", "fpn.reduce_layers.0.conv.weight", "head.gfl_cls.3.bias"];
    let numbers = |plan: &Plan, name: &str| plan.weights().unwrap().get(name).unwrap().data.clone();
    let mut expected: Vec<Vec<f32>> = names.iter().map(|name| numbers(&plan, name)).collect();
    let mut velocities: Vec<Vec<f32>> = expected.iter().map(|values| vec![0.0; values.len()]).collect();
    for _ in 0..2 {
        planned(&graph, &mut plan);
        for ((name, weights), velocities) in names.iter().zip(&mut expected).zip(&mut velocities) {
            let gradient = plan.gradient(name).unwrap().unwrap().data;
            for ((weight, velocity), gradient) in weights.iter_mut().zip(velocities).zip(gradient) {
                *velocity = 0.9 * *velocity + (gradient + 0.01 * *weight);
                *weight -= 0.1 * *velocity;
            }
        }
        plan.apply(&sgd, &factors).unwrap();
        for (name, expected) in names.iter().zip(&expected) {
            let wide = |values: &[f32]| values.iter().copied().map(f64::from).collect::<Vec<_>>();
            let numbers = wide(&numbers(&plan, name));
            let largest = numbers.iter().fold(0.0, |largest, value| f64::max(largest, value.abs()));
            assert!(difference(&numbers, &wide(expected)) < 1e-6 * largest, "{name}");
        }
    }
    assert_eq!(plan.weights().unwrap().get("backbone.conv1.1.num_batches_tracked").unwrap().data, [2.0]);
}

/// The tests of this file with lesser instruction sets than the best, each in a process of its own.
#[test]
fn every_instruction_set_equals_autograd() {
    if std::env::var_os("PORT_INSTRUCTIONS").is_some() {
        return;
    }
    for instructions in ["portable", "avx2"] {
        let mut tests = std::process::Command::new(std::env::current_exe().unwrap());
        let output = tests
            .args(["--skip", "gfocal", "--skip", "running"])
            .env("PORT_INSTRUCTIONS", instructions)
            .output()
            .unwrap();
        assert!(output.status.success(), "{instructions}: {}", String::from_utf8_lossy(&output.stdout));
    }
}
