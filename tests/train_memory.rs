//! What a training plan allocates.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)] // a failing test may panic

mod support;

use engine::{Factors, Plan, Rule, Training};
use network::graph::{Conv, Graph};
use network::models::{Form, preset};
use peak_alloc::PeakAlloc;
use support::synthetic_weights;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// Memory in use never rises above what it is between steps. The only test of this file, as all share the count.
#[test]
fn nothing_is_allocated_after_the_first_step() {
    // Inside the pool: handing it work from outside takes memory of its own every few dozen times.
    let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build().unwrap();
    let nanodet = preset("nanodet-plus-m").unwrap().model().graph(Form::Training, [2, 3, 96, 64]);
    let gold_yolo = preset("gold-yolo-n").unwrap().model().graph(Form::Training, [2, 3, 64, 96]);
    let gfocal = preset("gfocal-r50-fpn").unwrap().model().graph(Form::Training, [1, 3, 64, 96]);
    // An output that is no list of points.
    let map = Graph::write([2, 3, 24, 16], |net, x| {
        let map = net.conv("conv", x, Conv::same(8, 3).biased());
        net.output("map", map);
    });
    let graphs = [
        ("nanodet-plus-m", nanodet, 10),
        ("gold-yolo-n", gold_yolo, 5),
        ("gfocal-r50-fpn", gfocal, 3),
        ("a map", map, 10),
    ];
    for (name, graph, rounds) in graphs {
        let graph = graph.unwrap();
        let mut plan = Plan::training(&graph, &synthetic_weights(&graph), &Training::all()).unwrap();
        assert_eq!(plan.without_kernel().collect::<Vec<_>>(), [""; 0], "{name}");
        let (before, peak) = pool.install(|| usage(&mut plan, &graph, rounds));
        assert_eq!(peak, before, "{name}");
    }
}

/// Memory in use before some steps and its peak in them.
fn usage(plan: &mut Plan, graph: &Graph, rounds: usize) -> (usize, usize) {
    let elements = |value| graph.node(value).unwrap().shape.iter().product::<usize>();
    let input = vec![0.5; elements(graph.inputs()[0])];
    let seeds: Vec<Vec<f32>> =
        graph.outputs().iter().map(|(_, value)| vec![1e-4; elements(*value)]).collect();
    let names = graph.outputs().iter().map(|(name, _)| name.as_str());
    let gradients: Vec<(&str, &[f32])> = names.zip(seeds.iter().map(Vec::as_slice)).collect();
    let mut numbers: Vec<Vec<f32>> = graph.outputs().iter().map(|_| Vec::new()).collect();
    let sgd = Rule::Sgd { momentum: 0.9, dampening: 0.0, nesterov: false };
    let factors = [Factors { learning_rate: 0.01, weight_decay: 1e-4 }];
    let mut round = || {
        plan.forward(&input).unwrap();
        for ((name, _), numbers) in graph.outputs().iter().zip(&mut numbers) {
            plan.output(name, numbers).unwrap();
        }
        plan.backward(&gradients).unwrap();
        plan.apply(&sgd, &factors).unwrap();
    };
    (0..2).for_each(|_| round());
    MEMORY.reset_peak_usage();
    let before = MEMORY.current_usage();
    (0..rounds).for_each(|_| round());
    (before, MEMORY.peak_usage())
}
