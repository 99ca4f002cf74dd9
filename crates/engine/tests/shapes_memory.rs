//! What a network takes that runs on several input shapes in turn. A program of its own, as it counts all memory.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)] // a failing test may panic

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use engine::{Device, Engine, Factors, Precision, Rule, Training, Writer, engine};
use network::graph::rewrite::deploy;
use network::graph::{Graph, Role, Weights};
use network::models::{Form, preset};
use peak_alloc::PeakAlloc;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

const SMALL: [usize; 4] = [2, 3, 192, 224];
const LARGEST: [usize; 4] = [2, 3, 320, 320];
const MIDDLE: [usize; 4] = [1, 3, 416, 256];

fn network(shape: [usize; 4], form: Form) -> Graph {
    let graph = preset("nanodet-plus-m").unwrap().model().graph(form, shape).unwrap();
    if form == Form::Inference { deploy(&graph).0 } else { graph }
}

/// Variances of one and small numbers elsewhere: what is learned does not matter.
fn weights(graph: &Graph) -> Weights {
    Weights::fill(graph, |parameter| {
        let number = if parameter.role == Role::RunningVariance { 1.0 } else { 0.01 };
        vec![number; parameter.elements()]
    })
}

/// Passes for each shape, with a step of training where the form is that of training.
fn rounds(engine: &mut dyn Engine, form: Form, shapes: &[[usize; 4]]) {
    let mut numbers = Vec::new();
    for shape in shapes.iter().cycle().take(3 * shapes.len()) {
        engine.forward(*shape, &vec![0.5; shape.iter().product()]).unwrap();
        engine.output("preds", &mut numbers).unwrap();
        if form == Form::Training {
            let gradient = vec![1e-4; numbers.len()];
            engine.backward(&[("preds", &gradient)]).unwrap();
            let rule = Rule::Sgd { momentum: 0.9, dampening: 0.0, nesterov: false };
            engine.apply(&rule, &[Factors { learning_rate: 1e-3, weight_decay: 0.0 }]).unwrap();
        }
    }
}

/// Bytes that an engine holds after rounds of these shapes, and how many graphs were written for it.
fn held(form: Form, shapes: &[[usize; 4]]) -> (usize, usize) {
    let written = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&written);
    let weights = weights(&network(LARGEST, form));
    let before = MEMORY.current_usage();
    let writer: Writer = Box::new(move |shape| {
        count.fetch_add(1, Ordering::Relaxed);
        Ok(network(shape, form))
    });
    let training = (form == Form::Training).then(Training::all);
    let choice = (Device::Cpu, Precision::F32);
    let mut engine = engine(choice, writer, shapes[0], weights, training).unwrap();
    rounds(engine.as_mut(), form, shapes);
    (MEMORY.current_usage() - before, written.load(Ordering::Relaxed))
}

/// One store, one memory, and each plan is made once.
#[test]
fn several_shapes_take_little_more_than_the_largest() {
    for form in [Form::Training, Form::Inference] {
        // Threads and tables that live on are made first.
        held(form, &[SMALL]);
        let (largest, _) = held(form, &[LARGEST]);
        let (all, written) = held(form, &[SMALL, LARGEST, MIDDLE]);
        println!("{form:?}: {largest} bytes for the largest, {all} for all");
        assert_eq!(written, 3, "{form:?}");
        assert!(
            10 * all <= 11 * largest,
            "{form:?}: {all} bytes for three shapes, {largest} for the largest"
        );
    }
}
