//! Every kind of kernel, forward and backward: one operator in a plan, of which the profile gives the time of each step.
//!
//!     cargo bench --bench kernels                # all
//!     cargo bench --bench kernels -- depthwise   # those whose name has this in it
//!
//! `inference` is the step of a [`Plan`], with weights packed once; `training` are those of one that trains, in the
//! order in which they run: forward, the gradient of the result into its place (`elements`), gradients of parameters
//! and of the input.
//! Threads are those of the machine unless `RAYON_NUM_THREADS` says otherwise.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, missing_docs)] // a failing bench may panic

use std::time::Duration;

use criterion::{BenchmarkId, Criterion, SamplingMode, criterion_group, criterion_main};
use engine::{Plan, Training};
use network::graph::{Activation, Conv, Graph, Parameter, Pool, ResizeMode, Role, Scope, Value, Weights};

/// The module of the operator that is measured.
const SUBJECT: &str = "subject";

/// What a graph gives to `observer`: a kernel, the path of its module, the time it took.
type Observer<'a> = &'a mut (dyn FnMut(&'static str, &str, Duration) + Send);

fn kernels(criterion: &mut Criterion) {
    let conv = |conv: Conv| move |net: &mut Scope<'_>, x| net.conv("conv", x, conv);
    measure(criterion, "3x3 64 to 64, 80x80", [1, 64, 80, 80], conv(Conv::same(64, 3)));
    measure(criterion, "3x3 256 to 256, 100x168", [1, 256, 100, 168], conv(Conv::same(256, 3)));
    measure(criterion, "3x3 512 to 512, 10x10", [1, 512, 10, 10], conv(Conv::same(512, 3)));
    measure(
        criterion,
        "3x3 stride 2 128 to 128, 80x80",
        [1, 128, 80, 80],
        conv(Conv::same(128, 3).stride(2)),
    );
    measure(criterion, "1x1 116 to 116, 26x26", [1, 116, 26, 26], conv(Conv::pointwise(116)));
    measure(
        criterion,
        "7x7 stride 2 3 to 64, 800x1344",
        [1, 3, 800, 1344],
        conv(Conv::same(64, 7).stride(2)),
    );
    measure(criterion, "depthwise 3x3 116, 26x26", [1, 116, 26, 26], conv(Conv::depthwise(116, 3)));
    measure(criterion, "depthwise 5x5 96, 52x52, batch 8", [8, 96, 52, 52], conv(Conv::depthwise(96, 5)));
    measure(criterion, "batch norm and leaky relu 116, 26x26, batch 8", [8, 116, 26, 26], |net, x| {
        let normal = net.batch_norm("norm", x, 1e-5, 0.1);
        net.act("act", normal, Activation::LeakyRelu(0.1))
    });
    measure(criterion, "group norm 32 256, 100x168", [1, 256, 100, 168], |net, x| {
        net.group_norm("norm", x, 32, 1e-5)
    });
    measure(criterion, "max pool 3x3 stride 2 64, 400x672", [1, 64, 400, 672], |net, x| {
        net.max_pool("pool", x, Pool::new(3, 2, 1))
    });
    measure(criterion, "bilinear resize 96, 26x26 to 52x52", [1, 96, 26, 26], |net, x| {
        net.resize(x, ResizeMode::Bilinear, [52, 52])
    });
}

/// Measures an operator on values of this shape in a plan of its own, each of its steps by itself.
fn measure(
    criterion: &mut Criterion,
    name: &str,
    shape: [usize; 4],
    operator: impl Fn(&mut Scope<'_>, Value) -> Value,
) {
    let [images, channels, height, width] = shape;
    let picture = [images, 3, height, width];
    let graph = Graph::write(picture, |net, picture| {
        // Something to learn before the operator, so that the gradient of its input is wanted.
        let x = if channels == 3 { picture } else { net.conv("before", picture, Conv::pointwise(channels)) };
        let result = net.module(SUBJECT, |net| operator(net, x));
        net.output("result", result);
    });
    let graph = graph.unwrap();
    let weights = Weights::fill(&graph, numbers);
    let input = ramp(picture.iter().product());
    let result = &graph.node(graph.outputs()[0].1).unwrap().shape;
    let gradient = ramp(result.iter().product());

    let mut plan = Plan::new(&graph, weights.clone()).unwrap();
    each_step(criterion, name, "inference", |observer| plan.profile(&input, &[], observer).unwrap());
    let mut plan = Plan::training(&graph, &weights, &Training::all()).unwrap();
    each_step(criterion, name, "training", |observer| {
        plan.profile(&input, &[("result", &gradient)], observer).unwrap();
    });
}

/// A benchmark for every step that the operator takes.
fn each_step(criterion: &mut Criterion, name: &str, plan: &str, mut run: impl FnMut(Observer<'_>)) {
    let mut steps = Vec::new();
    run(&mut |kernel, path, _| {
        if path.starts_with(SUBJECT) {
            steps.push(kernel);
        }
    });
    let mut group = criterion.benchmark_group(name);
    group.sampling_mode(SamplingMode::Flat).sample_size(20);
    group.warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(2));
    for (own, kernel) in steps.into_iter().enumerate() {
        let id = BenchmarkId::new(plan, format!("{} {kernel}", own + 1));
        group.bench_function(id, |bencher| {
            bencher.iter_custom(|rounds| {
                let mut total = Duration::ZERO;
                for _ in 0..rounds {
                    let mut step = 0;
                    run(&mut |_, path, time| {
                        if path.starts_with(SUBJECT) {
                            total += if step == own { time } else { Duration::ZERO };
                            step += 1;
                        }
                    });
                }
                total
            });
        });
    }
    group.finish();
}

fn numbers(parameter: &Parameter) -> Vec<f32> {
    let count = parameter.shape.iter().product();
    match parameter.role {
        Role::Kernel => ramp(count),
        _ => vec![1.0; count],
    }
}

/// Numbers from -0.5 to 0.5.
fn ramp(count: usize) -> Vec<f32> {
    (0..count).map(|at| (at * 7919 % 1009) as f32 / 1009.0 - 0.5).collect()
}

criterion_group!(benches, kernels);
criterion_main!(benches);
