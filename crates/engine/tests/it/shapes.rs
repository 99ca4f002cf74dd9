//! One network for inputs of several shapes.

use engine::{Device, Engine, Factors, Precision, Rule, Training};
use network::graph::{Activation, Conv, Graph};

use super::numbers::{borrowed, engine_of, gradients, numbers, weights};

const SHAPES: [[usize; 4]; 3] = [[2, 3, 33, 47], [1, 3, 64, 64], [3, 3, 21, 90]];

fn network(shape: [usize; 4]) -> Graph {
    let written = Graph::write(shape, |net, x| {
        let x = net.conv("stem", x, Conv::same(24, 3).stride(2));
        let x = net.batch_norm("norm", x, 1e-5, 0.1);
        let x = net.activation(x, Activation::Relu);
        let deep = net.conv("deep", x, Conv::depthwise(24, 5));
        let point = net.conv("point", deep, Conv::same(24, 3).biased());
        let sum = net.add(point, x);
        net.output("sum", sum);
    });
    written.unwrap()
}

const RULE: Rule = Rule::Sgd { momentum: 0.9, dampening: 0.0, nesterov: false };
const FACTORS: [Factors; 1] = [Factors { learning_rate: 0.01, weight_decay: 1e-3 }];

/// Steps of training on inputs of these shapes in turn.
fn steps(engine: &mut dyn Engine, shapes: &[[usize; 4]]) {
    for (index, shape) in shapes.iter().enumerate() {
        engine.forward(*shape, &numbers(index as u32, shape.iter().product())).unwrap();
        engine.backward(&borrowed(&gradients(&network(*shape)))).unwrap();
        engine.apply(&RULE, &FACTORS).unwrap();
    }
}

/// All plans view one store: what is learned on one shape is there for the next.
#[test]
fn steps_on_several_shapes_equal_the_reference() {
    let given = weights(&network(SHAPES[0]), 9);
    let turns: Vec<[usize; 4]> = SHAPES.iter().cycle().take(7).copied().collect();
    let after = |choice| {
        let mut engine = engine_of(choice, network, SHAPES[0], &given, Some(Training::all()));
        steps(engine.as_mut(), &turns);
        engine.weights().unwrap()
    };
    let expected = after((Device::Reference, Precision::F64));
    let found = after((Device::Cpu, Precision::F32));
    for (name, expected) in expected.iter() {
        let (error, magnitude) = super::numbers::distance(&found.get(name).unwrap().data, &expected.data);
        assert!(error <= 2e-5 * magnitude.max(1.0), "{name}: {error:.2e} of {magnitude:.2e}");
    }
}

/// Outputs do not depend on which shapes came before.
#[test]
fn memory_that_plans_share_holds_nothing_over() {
    let given = weights(&network(SHAPES[0]), 9);
    for training in [None, Some(Training::all())] {
        let choice = (Device::Cpu, Precision::F32);
        let mut several = engine_of(choice, network, SHAPES[0], &given, training.clone());
        for shape in SHAPES.iter().cycle().take(8) {
            let input = numbers(4, shape.iter().product());
            let output = |engine: &mut dyn Engine| {
                let mut numbers = Vec::new();
                engine.forward(*shape, &input).unwrap();
                engine.output("sum", &mut numbers).unwrap();
                numbers
            };
            let mut alone = engine_of(choice, network, *shape, &given, training.clone());
            assert!(output(several.as_mut()) == output(alone.as_mut()), "{shape:?}");
        }
    }
}
