//! What a plan allocates.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)] // a failing test may panic

mod support;

use engine::Plan;
use network::graph::Graph;
use network::graph::rewrite::deploy;
use network::models::{Form, preset};
use peak_alloc::PeakAlloc;
use support::synthetic_weights;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// Memory in use never rises above what it is between runs. The only test of this file, as all share the count.
#[test]
fn nothing_is_allocated_after_the_first_run() {
    // Inside the pool: handing it work from outside takes memory of its own every few dozen times.
    let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build().unwrap();
    for (name, rounds) in [("nanodet-plus-m", 50), ("gold-yolo-n", 10), ("gfocal-r50-fpn", 5)] {
        let graph = preset(name).unwrap().model().graph(Form::Inference, [2, 3, 96, 64]).unwrap();
        let (deployed, deployment) = deploy(&graph);
        let mut plan = Plan::new(&deployed, deployment.apply(&synthetic_weights(&graph)).unwrap()).unwrap();
        assert_eq!(plan.without_kernel().collect::<Vec<_>>(), [""; 0], "{name}");
        let (before, peak) = pool.install(|| usage(&mut plan, &deployed, rounds));
        assert_eq!(peak, before, "{name}");
    }
}

/// Memory in use before some rounds and its peak in them.
fn usage(plan: &mut Plan, graph: &Graph, rounds: usize) -> (usize, usize) {
    let input = vec![0.5; plan.input_shape().iter().product()];
    let mut numbers: Vec<Vec<f32>> = graph.outputs().iter().map(|_| Vec::new()).collect();
    let mut round = || {
        plan.forward(&input).unwrap();
        for ((name, _), numbers) in graph.outputs().iter().zip(&mut numbers) {
            plan.output(name, numbers).unwrap();
        }
    };
    (0..3).for_each(|_| round());
    MEMORY.reset_peak_usage();
    let before = MEMORY.current_usage();
    (0..rounds).for_each(|_| round());
    (before, MEMORY.peak_usage())
}
