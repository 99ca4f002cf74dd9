//! A whole network in training mode: gradients against finite differences, running statistics against their rule.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)] // a failing test may panic

mod support;

use engine::{Executor, Handle, NormStatistics, Parameters};
use network::graph::{Array, Graph};
use network::models::nanodet_plus::{Auxiliary, NanoDetPlus};
use network::models::{Form, Model};
use support::{check_gradients, ramp, synthetic_weights};

const INPUT: [usize; 4] = [2, 3, 96, 64];

/// A small network with everything that a large one has.
fn graph() -> Graph {
    let small = NanoDetPlus {
        channels: 16,
        classes: 3,
        auxiliary: Some(Auxiliary { channels: 32, stacked: 1 }),
        ..NanoDetPlus::M
    };
    Model::from(small).graph(Form::Training, INPUT).unwrap()
}

fn input() -> Array<f64> {
    Array { shape: INPUT.to_vec(), data: ramp(INPUT.iter().product(), 1009) }
}

#[test]
fn gradients_of_a_network_equal_finite_differences() {
    let graph = graph();
    // One of every kind, early and late.
    let names = [
        "backbone.conv1.0.weight",
        "backbone.stage2.0.branch1.0.weight",
        "backbone.stage3.2.branch2.4.weight",
        "backbone.stage4.3.branch2.6.bias",
        "fpn.reduce_layers.0.conv.weight",
        "fpn.top_down_blocks.1.blocks.0.ghost2.cheap_operation.0.weight",
        "fpn.extra_lvl_in_conv.0.depthwise.weight",
        "head.gfl_cls.3.bias",
        "aux_fpn.downsamples.1.pointwise.weight",
        "aux_head.reg_convs.0.gn.weight",
        "aux_head.cls_convs.0.conv.weight",
        "aux_head.scales.2.scale",
    ];
    check_gradients(&graph, &synthetic_weights(&graph), INPUT, &names);
}

#[test]
fn running_statistics_move_a_tenth_of_the_way_to_the_batch() {
    let graph = graph();
    let weights = synthetic_weights(&graph);
    let parameters = Parameters::<f64>::trainable(&graph, &weights).unwrap();
    let executor = Executor::new(&graph, &parameters, NormStatistics::Batch);
    let stem = graph.taps().iter().find(|tap| tap.path == "backbone.conv1.0").unwrap().value;
    let mut channel = Vec::new();
    let observer = |value, handle: &Handle<f64>| {
        if value == stem {
            let Array { shape, data } = handle.array()?;
            let area = shape[2] * shape[3];
            channel = data.chunks(area).skip(5).step_by(shape[1]).flatten().copied().collect();
        }
        Ok(())
    };
    executor.observe(&input(), observer).unwrap();
    let mean = channel.iter().sum::<f64>() / channel.len() as f64;
    let squares = channel.iter().map(|value| (value - mean).powi(2)).sum::<f64>();
    // PyTorch keeps the variance of a sample.
    let variance = squares / (channel.len() - 1) as f64;
    for (name, batch) in [("running_mean", mean), ("running_var", variance)] {
        let name = format!("backbone.conv1.1.{name}");
        let before = f64::from(weights.get(&name).unwrap().data[5]);
        let after = parameters.array(graph.parameter_ids()[name.as_str()]).unwrap().data[5];
        assert!((after - (0.9 * before + 0.1 * batch)).abs() < 1e-12, "{name}: {before} to {after}");
    }
}
