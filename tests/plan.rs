//! The inference plan against the reference executor.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)] // a failing test may panic

mod support;

use std::collections::BTreeSet;
use std::process::Command;

use engine::{Executor, NormStatistics, Parameters, Plan, instructions};
use network::element::Element;
use network::graph::rewrite::deploy;
use network::graph::{Activation, Array, Conv, DeformConv, Graph, Pool, ResizeMode, Weights};
use network::models::gfocal_v2::GFocalV2;
use network::models::gold_yolo::GoldYolo;
use network::models::{Block, Deformable, Form, Fpn, Model, ResNet, preset};
use proptest::prelude::*;
use support::{gold_yolo_tiny, synthetic_weights};

fn input(shape: &[usize]) -> Vec<f32> {
    let count = shape.iter().product::<usize>();
    (0..count).map(|i| (i * 7919 % 1000) as f32 / 500.0 - 1.0).collect()
}

/// Outputs of the reference executor in the type `T`, by name.
fn expected<T: Element>(graph: &Graph, weights: &Weights, input: &[f32]) -> Vec<(String, Vec<f64>)> {
    let shape = graph.node(graph.inputs()[0]).unwrap().shape.clone();
    let parameters = Parameters::<T>::frozen(graph, weights).unwrap();
    let executor = Executor::new(graph, &parameters, NormStatistics::Running);
    let outputs = executor.run(&Array { shape, data: input.to_vec() }.to()).unwrap();
    let output = |name: &String| (name.clone(), outputs.output(name).unwrap().wide());
    graph.outputs().iter().map(|(name, _)| output(name)).collect()
}

/// Outputs of a plan, by name.
fn planned(plan: &Plan, graph: &Graph) -> Vec<(String, Vec<f64>)> {
    let output = |name: &String| {
        let mut numbers = Vec::new();
        plan.output(name, &mut numbers).unwrap();
        (name.clone(), numbers.into_iter().map(f64::from).collect())
    };
    graph.outputs().iter().map(|(name, _)| output(name)).collect()
}

/// The largest difference of an output, relative to its largest magnitude.
fn difference(found: &[(String, Vec<f64>)], expected: &[(String, Vec<f64>)]) -> f64 {
    let of = |found: &[f64], expected: &[f64]| {
        assert_eq!(found.len(), expected.len());
        let largest = expected.iter().fold(f64::MIN_POSITIVE, |largest, value| largest.max(value.abs()));
        let differences = found.iter().zip(expected).map(|(found, expected)| (found - expected).abs());
        assert!(found.iter().all(|value| value.is_finite()));
        differences.fold(0.0, f64::max) / largest
    };
    found.iter().zip(expected).map(|(found, expected)| of(&found.1, &expected.1)).fold(0.0, f64::max)
}

/// Asserts that a plan of a graph's deploy form gives the executor's outputs: at most four times as far from those in f64 as the
/// executor's in f32 are, or within 1e-5 of the largest magnitude.
#[track_caller]
fn check(what: &str, graph: &Graph) {
    let weights = synthetic_weights(graph);
    let (graph, deployment) = deploy(graph);
    let weights = deployment.apply(&weights).unwrap();
    let input = input(&graph.node(graph.inputs()[0]).unwrap().shape);
    let mut plan = Plan::new(&graph, weights.clone()).unwrap();
    // Twice, as buffers are used again.
    plan.forward(&input).unwrap();
    plan.forward(&input).unwrap();
    let exact = expected::<f64>(&graph, &weights, &input);
    let noise = difference(&expected::<f32>(&graph, &weights, &input), &exact);
    let error = difference(&planned(&plan, &graph), &exact);
    println!(
        "{what}: {error} of {noise}, without a kernel: {:?}",
        plan.without_kernel().collect::<BTreeSet<_>>()
    );
    assert!(error < (4.0 * noise).max(1e-5), "{what}: {error}, where rounding alone gives {noise}");
}

fn network(name: &str, form: Form, shape: [usize; 4]) -> Graph {
    preset(name).unwrap().model().graph(form, shape).unwrap()
}

#[test]
fn nanodet_plus_equals_the_reference_executor() {
    for (shape, form) in [
        ([1, 3, 64, 96], Form::Training),
        ([1, 3, 96, 32], Form::Inference),
        ([3, 3, 32, 64], Form::Inference),
    ] {
        check("nanodet-plus-m", &network("nanodet-plus-m", form, shape));
    }
}

#[test]
fn every_family_equals_the_reference_executor() {
    for name in ["gold-yolo-n", "gfocal-r50-fpn"] {
        check(name, &network(name, Form::Inference, [1, 3, 64, 96]));
    }
}

/// A narrow GFocalV2.
fn gfocal(block: Block, deformed: Deformable) -> GFocalV2 {
    let deformable = [None, None, Some(deformed), Some(Deformable::V1)];
    let backbone = ResNet { deep: true, stem: 8, block, channels: 8, depths: [1, 1, 2, 1], deformable };
    let network = GFocalV2::on(backbone);
    GFocalV2 { neck: Fpn { channels: 32, ..network.neck }, channels: 32, stacked: 1, classes: 3, ..network }
}

/// All that the families are made of, in few channels.
#[test]
fn small_networks_equal_the_reference_executor() {
    let modulated = Deformable { modulated: true, groups: 2 };
    let shape = [2, 3, 64, 96];
    for form in [Form::Training, Form::Inference] {
        check("Gold-YOLO", &Model::from(gold_yolo_tiny()).graph(form, shape).unwrap());
    }
    let gold_yolo_c = GoldYolo { stage: GoldYolo::M.stage, ..gold_yolo_tiny() };
    check("Gold-YOLO in two halves", &Model::from(gold_yolo_c).graph(Form::Inference, shape).unwrap());
    for block in [Block::Bottleneck { groups: 4, width: 4 }, Block::Res2Net { scales: 4, width: 6 }] {
        let network = Model::from(gfocal(block, modulated));
        check("GFocalV2", &network.graph(Form::Inference, shape).unwrap());
    }
}

/// 3x3 convolutions on maps that large tiles are for, of odd sizes, one after another.
fn stack() -> Graph {
    let graph = Graph::write([2, 3, 83, 101], |net, x| {
        let mut x = net.conv("stem", x, Conv::same(40, 3).stride(2).biased());
        for (layer, channels) in [24, 70, 70, 40].into_iter().enumerate() {
            let next = net.conv(&format!("conv{layer}"), x, Conv::same(channels, 3).biased());
            let sum = if net.channels(x) == channels { net.add(next, x) } else { next };
            x = net.activation(sum, Activation::Silu);
        }
        let [left, right] = ["left", "right"].map(|name| net.conv(name, x, Conv::pointwise(20).biased()));
        let both = net.concat(&[left, right]);
        let both = net.activation(both, Activation::Sigmoid);
        net.output("both", both);
    });
    graph.unwrap()
}

#[test]
fn small_stacks_of_convolutions_equal_the_reference_executor() {
    check("stack", &stack());
}

/// What has no pixels: attention, distributions; and a kernel whose taps are moved.
#[test]
fn small_row_major_parts_equal_the_reference_executor() {
    const CHANNELS: usize = 18;
    let graph = Graph::write([2, 3, 37, 51], |net, x| {
        let x = net.conv("stem", x, Conv::same(CHANNELS, 3).biased());
        let pooled = net.adaptive_average_pool(x, [5, 7]);
        let keys = net.reshape(pooled, &[2, 2, CHANNELS / 2, 35]);
        let queries = net.transpose(keys, &[0, 1, 3, 2]);
        let scores = net.matmul(queries, keys);
        let shares = net.softmax(scores, 3);
        let mixed = net.matmul(shares, queries);
        let doubled = net.add(mixed, mixed);
        let mixed = net.transpose(doubled, &[0, 1, 3, 2]);
        let mixed = net.reshape(mixed, &[2, CHANNELS, 5, 7]);
        let mixed = net.activation(mixed, Activation::Relu6);
        let mixed = net.conv("mixed", mixed, Conv::pointwise(3));
        net.output("mixed", mixed);

        let sides = net.reshape(x, &[2, 2, CHANNELS / 2, 37, 51]);
        let sides = net.softmax(sides, 2);
        let largest = net.top_k(sides, 2, 3);
        let mean = net.mean(largest, 2);
        let first = net.slice(sides, 2, 1, 2);
        let all = net.concat_along(2, &[largest, mean, first]);
        let all = net.reshape(all, &[2, 12, 37, 51]);
        let quality = net.conv("quality", all, Conv::pointwise(1));
        let quality = net.activation(quality, Activation::Sigmoid);
        let weighted = net.multiply(x, quality);
        net.output("weighted", weighted);

        let conv = DeformConv { conv: Conv { groups: 3, ..Conv::same(12, 3).stride(2) }, offset_groups: 2 };
        let offsets = net.conv("offsets", x, Conv::same(conv.offsets(), 3).stride(2));
        let masks = net.conv("masks", x, Conv::same(conv.masks(), 3).stride(2));
        let deformed = net.module("deformed", |net| net.deform_conv(x, offsets, Some(masks), conv));
        let deformed = net.activation(deformed, Activation::Silu);
        net.output("deformed", deformed);
    });
    check("row-major parts", &graph.unwrap());
}

/// What a random network is made of.
#[derive(Debug, Clone)]
struct Shape {
    shape: [usize; 4],
    channels: usize,
    kernel: usize,
    stride: usize,
    dilation: usize,
    activation: Activation,
}

impl Shape {
    /// Every kind of step: a stem, depthwise and grouped kernels, a unit whose channels are shuffled, pooling, resizing,
    /// a residual, a norm, functions on their own.
    fn network(&self) -> Graph {
        let Shape { shape, channels, kernel, stride, dilation, activation } = *self;
        let both = 2 * channels;
        let spread =
            |conv: Conv| Conv { dilation: [dilation; 2], padding: [kernel / 2 * dilation; 2], ..conv };
        let written = Graph::write(shape, |net, x| {
            let stem = net.conv("stem", x, Conv::same(both, kernel).stride(stride).biased());
            let stem = net.act("stem_act", stem, activation);
            let left = net.slice(stem, 1, 0, channels);
            let right = net.slice(stem, 1, channels, channels);
            let deep = net.conv("deep", right, spread(Conv::depthwise(channels, kernel)));
            let point = net.conv("point", deep, Conv::pointwise(channels).biased());
            let point = net.act("point_act", point, activation);
            let joined = net.concat(&[left, point]);
            let shuffled = net.channel_shuffle(joined, 2);
            let grouped =
                net.conv("grouped", shuffled, spread(Conv { groups: 2, ..Conv::same(both, kernel) }));
            let sum = net.add(grouped, shuffled);
            let sum = net.activation(sum, activation);
            let small = net.max_pool("pool", sum, Pool::new(3, 2, 1));
            let strided = net.conv("strided", sum, Conv::depthwise(both, kernel).stride(2));
            let mean = net.average_pool("mean", sum, Pool::new(3, 2, 1));
            let product = net.multiply(small, mean);
            let again = net.channel_shuffle(strided, both);
            let size = net.size(sum);
            let large = net.resize(product, ResizeMode::Bilinear, size);
            let nearest = net.resize(again, ResizeMode::Nearest, size);
            let normal = net.group_norm("normal", sum, channels, 1e-5);
            let normal = net.activation(normal, activation);
            let all = net.concat(&[large, sum, nearest, normal]);
            net.output("all", all);
            let thin = net.conv("thin", all, Conv::same(1, 3));
            net.output("thin", thin);
        });
        written.unwrap()
    }
}

/// Multiplications that a random network may take, about, for the sake of time.
const WORK: usize = 200_000_000;

/// Pixels that all images of a random network may have together.
const PIXELS: usize = 64 * 32 * 64;

impl Shape {
    /// With as many images and channels as there is time for.
    fn bounded(self) -> Shape {
        let [images, _, height, width] = self.shape;
        let images = images.min(PIXELS / (height * width)).max(1);
        let work = |channels: usize| {
            let taps = self.kernel * self.kernel * channels * (channels + 4) + 100 * channels;
            images * height * width / (self.stride * self.stride) * 2 * taps
        };
        let channels = (1..=self.channels).rev().find(|channels| work(*channels) <= WORK).unwrap_or(1);
        Shape { shape: [images, 3, height, width], channels, ..self }
    }
}

/// Sizes from `low` to `high`, as many between 32 and 64 as between 1024 and 2048.
fn sizes(low: usize, high: usize) -> impl Strategy<Value = usize> {
    let [from, to] = [low, high].map(|size| (size as f64).ln());
    (from..=to).prop_map(move |size| (size.exp().round() as usize).clamp(low, high))
}

/// Pictures of up to 2048 pixels a side, in either direction, up to 64 a batch.
fn shapes() -> impl Strategy<Value = Shape> {
    let activations = [
        Activation::Relu,
        Activation::Relu6,
        Activation::LeakyRelu(0.1),
        Activation::Sigmoid,
        Activation::Silu,
        Activation::HardSigmoid,
    ];
    let kernels = (prop::sample::select(vec![1, 3, 5, 7]), 1..=2_usize, 1..=2_usize);
    let shape = (sizes(1, 64), sizes(32, 2048), sizes(32, 2048), any::<[bool; 2]>());
    (shape, 1..=40_usize, kernels, prop::sample::select(activations.to_vec())).prop_map(
        |((images, long, short, [is_turned, is_batch]), channels, (kernel, stride, dilation), activation)| {
            // What is bounded: the pictures of a large batch, or the batch of large pictures.
            let pixels = if is_batch { PIXELS / images } else { PIXELS };
            let long = long.min(pixels / 32);
            let short = short.min(pixels / long);
            let [height, width] = if is_turned { [short, long] } else { [long, short] };
            Shape { shape: [images, 3, height, width], channels, kernel, stride, dilation, activation }
                .bounded()
        },
    )
}

/// The largest pictures and batches, sides that are prime.
#[test]
fn networks_of_extreme_sizes_equal_the_reference_executor() {
    let sizes = [
        ([1, 2048, 2048], 1, 2),
        ([1, 2048, 32], 12, 1),
        ([2, 32, 2048], 9, 2),
        ([1, 37, 2039], 10, 1),
        ([1, 1021, 127], 7, 1),
        ([64, 32, 32], 11, 1),
        ([61, 43, 37], 5, 2),
    ];
    for ([images, height, width], channels, stride) in sizes {
        let shape = [images, 3, height, width];
        let activation = Activation::LeakyRelu(0.1);
        let shape = Shape { shape, channels, kernel: 3, stride, dilation: 1, activation };
        check(&format!("{shape:?}"), &shape.network());
    }
}

/// Random networks in a run: eight, or as many as the environment says.
fn cases() -> u32 {
    std::env::var("PROPTEST_CASES").map_or(8, |cases| cases.parse().unwrap())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), ..ProptestConfig::default() })]
    #[test]
    fn networks_of_any_size_equal_the_reference_executor(shape in shapes()) {
        check(&format!("{shape:?}"), &shape.network());
    }
}

/// Outputs of a plan that ran with so many threads.
fn with_threads(graph: &Graph, threads: usize) -> Vec<(String, Vec<f64>)> {
    let mut plan = Plan::new(graph, synthetic_weights(graph)).unwrap();
    let input = input(&graph.node(graph.inputs()[0]).unwrap().shape);
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
    pool.install(|| plan.forward(&input)).unwrap();
    planned(&plan, graph)
}

#[test]
fn numbers_do_not_depend_on_the_number_of_threads() {
    let shape = Shape {
        shape: [2, 3, 61, 83],
        channels: 29,
        kernel: 3,
        stride: 1,
        dilation: 1,
        activation: Activation::Silu,
    };
    for graph in [shape.network(), stack()] {
        let alone = with_threads(&graph, 1);
        for threads in [2, 3, 7] {
            assert!(with_threads(&graph, threads) == alone, "{threads} threads");
        }
    }
}

/// No better instruction set is used than was asked for.
#[test]
fn the_environment_chooses_the_instruction_set() {
    match std::env::var("PORT_INSTRUCTIONS").as_deref() {
        Ok("portable") => assert_eq!(instructions(), "portable"),
        Ok("avx2") => assert_ne!(instructions(), "avx512"),
        _ => println!("{}", instructions()),
    }
}

/// Other tests of this file with lesser instruction sets than the best, each in a process of its own. One that the
/// processor does not have is replaced by the portable one.
#[test]
fn every_instruction_set_equals_the_reference_executor() {
    if std::env::var_os("PORT_INSTRUCTIONS").is_some() {
        return;
    }
    for instructions in ["portable", "avx2"] {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command
            .args(["small", "any_size", "threads", "environment"])
            .env("PROPTEST_CASES", "2")
            .env("PORT_INSTRUCTIONS", instructions);
        let output = command.output().unwrap();
        assert!(output.status.success(), "{instructions}: {}", String::from_utf8_lossy(&output.stdout));
    }
}
