//! What is trained, and how it is saved.

use engine::{Factors, Plan, Rule, Store, Training};
use network::graph::{Activation, Conv, Graph, Role};

use super::numbers::{borrowed, gradients, numbers, weights};

const SHAPE: [usize; 4] = [2, 3, 17, 23];
const RULE: Rule = Rule::Sgd { momentum: 0.9, dampening: 0.1, nesterov: true };

fn network() -> Graph {
    let written = Graph::write(SHAPE, |net, x| {
        let x = net.conv("dense", x, Conv::same(21, 3));
        let x = net.batch_norm("norm", x, 1e-5, 0.1);
        let x = net.activation(x, Activation::LeakyRelu(0.1));
        let x = net.conv("deep", x, Conv::depthwise(21, 3));
        let x = net.conv("grouped", x, Conv { groups: 3, ..Conv::same(9, 1) }.biased());
        net.output("x", x);
    });
    written.unwrap()
}

/// Two groups: norms and biases do not decay.
fn training() -> Training {
    let group = |parameter: &network::graph::Parameter| Some(usize::from(parameter.role == Role::Kernel));
    Training { group: std::sync::Arc::new(group), ..Training::all() }
}

const FACTORS: [Factors; 2] =
    [Factors { learning_rate: 0.1, weight_decay: 0.0 }, Factors { learning_rate: 0.05, weight_decay: 0.01 }];

fn steps(plan: &mut Plan, graph: &Graph, count: usize) {
    for step in 0..count {
        plan.forward(&numbers(step as u32, SHAPE.iter().product())).unwrap();
        plan.backward(&borrowed(&gradients(graph))).unwrap();
        plan.apply(&RULE, &FACTORS).unwrap();
    }
}

/// Three steps, a save, a restore into another plan, and three more are six steps, to the bit.
#[test]
fn training_goes_on_exactly_where_it_was_saved() {
    let graph = network();
    let given = weights(&graph, 1);
    let plan = || Plan::training(&graph, &given, &training()).unwrap();
    let (mut straight, mut first, mut second) = (plan(), plan(), plan());
    steps(&mut straight, &graph, 3);
    steps(&mut first, &graph, 3);
    let saved = first.store().save().unwrap();
    second.store_mut().restore(&saved).unwrap();
    assert!(second.store().save().unwrap() == saved);
    for plan in [&mut straight, &mut second] {
        steps(plan, &graph, 3);
    }
    let [expected, found] = [straight, second].map(|plan| plan.weights().unwrap());
    for (name, expected) in expected.iter() {
        assert!(found.get(name).unwrap() == expected, "{name}");
    }
}

#[test]
fn a_file_of_another_network_is_refused_by_the_name_of_the_tensor() {
    let graph = network();
    let mut plan = Plan::training(&graph, &weights(&graph, 1), &Training::all()).unwrap();
    let other = Graph::write(SHAPE, |net, x| {
        let x = net.conv("dense", x, Conv::same(20, 3));
        net.output("x", x);
    });
    let other = other.unwrap();
    let before = plan.weights().unwrap();
    let saved = Store::new(&other, &weights(&other, 1), |_| Some(0)).unwrap().save().unwrap();
    let message = plan.store_mut().restore(&saved).unwrap_err().to_string();
    assert!(message.starts_with("value/dense.weight"), "{message}");
    assert!(plan.store_mut().restore(b"nothing").is_err());
    let after = plan.weights().unwrap();
    assert!(before.iter().all(|(name, array)| after.get(name) == Some(array)), "the store was changed");
}

/// A group for which no factors are given is a fault, not a step of zero.
#[test]
fn every_group_needs_factors() {
    let graph = network();
    let mut plan = Plan::training(&graph, &weights(&graph, 1), &training()).unwrap();
    plan.forward(&numbers(1, SHAPE.iter().product())).unwrap();
    plan.backward(&borrowed(&gradients(&graph))).unwrap();
    assert!(plan.apply(&RULE, &FACTORS[..1]).is_err());
}
