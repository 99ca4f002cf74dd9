//! Gold-YOLO against the original: parameters, layers, costs, deploy form, checkpoints.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)] // a failing test may panic

mod support;

use std::collections::HashMap;
use std::path::Path;

use candle_core::{DType, Device, Tensor};
use converters::Checkpoint;
use port::graph::cost::costs;
use port::graph::{Array, Graph, Op, Role, Weights};
use port::models::gold_yolo::{Block, GoldYolo, Head};
use port::models::{Form, Model};
use port::runtime::{Executor, NormStatistics, Parameters, to_f64};
use serde_json::Value as Json;
use support::{reference, synthetic, synthetic_weights, values};

/// The networks of the reference data by folder. `tiny` is n at width 1/16 with DFL and two heads.
fn networks() -> Vec<(&'static str, GoldYolo)> {
    let tiny = GoldYolo {
        backbone: [8, 8, 16, 32, 64],
        neck: [16, 8, 16, 32],
        fusion: 24,
        heads: 2,
        dfl: true,
        classes: 10,
        ..GoldYolo::N
    };
    vec![
        ("n", GoldYolo::N),
        ("s", GoldYolo::S),
        ("m", GoldYolo::M),
        ("l", GoldYolo::L),
        ("tiny", tiny),
        ("n-conv_silu-voc", GoldYolo { block: Block::ConvSilu, classes: 20, ..GoldYolo::N }),
        ("n-fuse_ab", GoldYolo { head: Head::FuseAb, ..GoldYolo::N }),
        ("n-distill_ns", GoldYolo { head: Head::DistillNs, ..GoldYolo::N }),
    ]
}

fn json(file: &Path) -> Json {
    serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap()
}

fn graph(network: &GoldYolo, form: Form, size: [usize; 2]) -> Graph {
    Model::from(network.clone()).graph(form, [1, 3, size[0], size[1]]).unwrap()
}

fn names_and_shapes(list: &Json) -> Vec<(String, Vec<usize>)> {
    let tensors = list["tensors"].as_array().unwrap().iter();
    let entry = |tensor: &Json| {
        let shape = serde_json::from_value(tensor["shape"].clone()).unwrap();
        (tensor["name"].as_str().unwrap().to_owned(), shape)
    };
    tensors.map(entry).collect()
}

/// Every parameter in the order of upstream's `state_dict`, and what every batch norm adds and how far it moves.
#[test]
fn parameters_and_norms_equal_the_original_name_by_name() {
    let Some(folder) = reference("gold-yolo") else { return };
    for (name, network) in networks() {
        let expected = json(&folder.join(name).join("state_dict.json"));
        let graph = graph(&network, Form::Training, [64, 64]);
        let ours = graph.parameters().iter().map(|p| (p.name.clone(), p.shape.clone()));
        assert_eq!(ours.collect::<Vec<_>>(), names_and_shapes(&expected), "{name}");
        let cost = costs(&graph)[0];
        assert_eq!(cost.parameters, expected["trainable"].as_u64().unwrap(), "{name}");

        let mut ours = HashMap::new();
        for node in graph.nodes() {
            if let Op::BatchNorm { epsilon, momentum } = node.op {
                ours.insert(graph.path(node).to_owned(), (epsilon, momentum));
            }
        }
        let theirs = expected["batch_norms"].as_array().unwrap().iter().map(|norm| {
            let number = |key: &str| norm[key].as_f64().unwrap();
            (norm["name"].as_str().unwrap().to_owned(), (number("eps"), number("momentum")))
        });
        assert_eq!(ours, theirs.collect(), "{name}");
    }
}

fn input(recording: &Checkpoint) -> Tensor {
    let shape = recording.tensor("input").unwrap().shape().to_vec();
    Tensor::from_vec(values(recording, "input"), shape, &Device::Cpu).unwrap()
}

/// The scheme's values also for what upstream never changes, as in the recordings of `output.decoded`.
fn synthetic_constants(graph: &Graph, weights: &Weights) -> Weights {
    let mut weights = weights.clone();
    for parameter in graph.parameters().iter().filter(|p| matches!(p.role, Role::Constant(_))) {
        let data = synthetic(&parameter.name, &parameter.shape);
        weights.insert(&parameter.name, Array { shape: parameter.shape.clone(), data });
    }
    weights
}

/// Every named value of a run in f32.
fn taps(
    graph: &Graph,
    weights: &Weights,
    input: &Tensor,
    statistics: NormStatistics,
) -> HashMap<String, Tensor> {
    let parameters = Parameters::frozen(graph, weights, DType::F32).unwrap();
    let executor = Executor::new(graph, &parameters, statistics);
    let mut by_value = HashMap::new();
    executor.observe(input, |value, tensor| drop(by_value.insert(value, tensor.clone()))).unwrap();
    graph.taps().iter().map(|tap| (tap.path.clone(), by_value[&tap.value].clone())).collect()
}

/// The original's output of `preds`: centre, width and height in pixels, a constant 1, the scores.
fn decoded(preds: &Tensor, size: [usize; 2]) -> Vec<Vec<f64>> {
    let row = preds.dims()[2];
    let mut points = Vec::new();
    for stride in [8, 16, 32] {
        let [rows, columns] = size.map(|side| side.div_ceil(stride));
        let cells = (0..rows).flat_map(|y| (0..columns).map(move |x| (x, y)));
        points.extend(cells.map(|(x, y)| (x as f64 + 0.5, y as f64 + 0.5, stride as f64)));
    }
    let preds = to_f64(preds).unwrap();
    assert_eq!(preds.len(), points.len() * row);
    let decode = |((x, y, stride), row): (&(f64, f64, f64), &[f64])| {
        let (scores, sides) = row.split_at(row.len() - 4);
        let [left, top, right, bottom] = <[f64; 4]>::try_from(sides).unwrap();
        let (x, y) = (x + (right - left) / 2.0, y + (bottom - top) / 2.0);
        let box_ = [x, y, left + right, top + bottom].map(|number| number * stride);
        box_.into_iter().chain([1.0]).chain(scores.iter().copied()).collect()
    };
    points.iter().zip(preds.chunks(row)).map(decode).collect()
}

/// What a difference may be: a share of the largest magnitude, or four times the difference between the original's
/// own runs in f64 and f32 where that was recorded.
fn tolerance(theirs: &[f64], noise: Option<f64>) -> f64 {
    let largest = theirs.iter().fold(0.0, |largest, value| f64::max(largest, value.abs()));
    f64::max(2e-5 * largest, 4.0 * noise.unwrap_or(0.0))
}

/// The largest difference in shares of what is allowed.
#[track_caller]
fn share(ours: &[f64], theirs: &[f64], noise: Option<f64>) -> f64 {
    assert_eq!(ours.len(), theirs.len());
    let differences = ours.iter().zip(theirs).map(|(ours, theirs)| (ours - theirs).abs());
    let largest =
        differences.fold(
            0.0,
            |largest: f64, difference| {
                if difference.is_nan() { f64::INFINITY } else { largest.max(difference) }
            },
        );
    largest / tolerance(theirs, noise)
}

fn wide(recording: &Checkpoint, name: &str) -> Vec<f64> {
    values(recording, name).into_iter().map(f64::from).collect()
}

/// Which elements of a flattened value were recorded: every `step`-th.
fn step(report: &Json, name: &str) -> usize {
    report["activations"][name]["step"].as_u64().unwrap_or(1) as usize
}

/// What our graph computes of a recorded value, if it is a single value in it.
fn ours(taps: &HashMap<String, Tensor>, name: &str) -> Vec<f64> {
    if let Some(module) = name.strip_suffix(".act.relu") {
        // Within our hard sigmoid: relu6(x + 3), which is divided by 6.
        let sigmoid = to_f64(&taps[&format!("{module}.act")]).unwrap();
        return sigmoid.into_iter().map(|value| 6.0 * value).collect();
    }
    // The recordings hold the last call of a module that is called several times.
    let last = (1..).map(|call| format!("{name}#{call}")).take_while(|path| taps.contains_key(path)).last();
    let path = last.as_deref().unwrap_or(name);
    to_f64(taps.get(path).unwrap_or_else(|| panic!("no tap {name}"))).unwrap()
}

/// Compares all layers of a recording, and the decoded outputs with synthetic and with real constants.
fn compare(name: &str, network: &GoldYolo, folder: &Path, file: &str) {
    let recording = converters::open(folder.join(name).join(file)).unwrap();
    let report = folder.join(name).join("report.json");
    let report = if report.is_file() { json(&report) } else { Json::Null };
    let input = input(&recording);
    let size = [input.dims()[2], input.dims()[3]];
    let graph = graph(network, Form::Training, size);
    let real = synthetic_weights(&graph);
    let taps_of = |weights: &Weights| taps(&graph, weights, &input, NormStatistics::Running);
    let [with_real, with_synthetic] = [taps_of(&real), taps_of(&synthetic_constants(&graph, &real))];
    let mut worst = (0.0, "".to_owned());
    let mut note = |share: f64, what: &str| {
        if share > worst.0 {
            worst = (share, what.to_owned());
        }
    };
    for tensor in recording.tensors() {
        let name = tensor.name();
        let theirs = wide(&recording, name);
        let taps = match name {
            "output.decoded" => &with_synthetic,
            _ => &with_real,
        };
        if !name.starts_with("output.decoded") {
            let ours: Vec<f64> = ours(taps, name).into_iter().step_by(step(&report, name)).collect();
            note(share(&ours, &theirs, None), name);
            continue;
        }
        let rows = decoded(&taps["output.preds"], size);
        let every = step(&report, name);
        let numbers = rows.iter().flat_map(|row| row.iter().copied().enumerate()).step_by(every);
        let (columns, ours): (Vec<usize>, Vec<f64>) = numbers.unzip();
        assert_eq!(ours.len(), theirs.len(), "{name}");
        let noise = |of: &str| report["float64_vs_float32"][of].as_f64();
        let parts: [(&str, fn(usize) -> bool, Option<f64>); 2] = [
            ("boxes", |column| column < 5, noise("max_abs_boxes")),
            ("scores", |column| column >= 5, noise("max_abs_scores")),
        ];
        for (part, belongs, noise) in parts {
            let pick = |all: &[f64]| -> Vec<f64> {
                let pairs = columns.iter().zip(all);
                pairs.filter(|(column, _)| belongs(**column)).map(|(_, value)| *value).collect()
            };
            note(share(&pick(&ours), &pick(&theirs), noise), &format!("{name} {part}"));
        }
    }
    println!(
        "{name}: {} values, at worst {:.3} of what is allowed, at {}",
        recording.tensors().len(),
        worst.0,
        worst.1
    );
    assert!(worst.0 <= 1.0, "{name}: {} times what is allowed at {}", worst.0, worst.1);
}

#[test]
fn every_layer_equals_the_original() {
    let Some(folder) = reference("gold-yolo") else { return };
    for (name, network) in networks() {
        let sampled = folder.join(name).join("activations_sampled.safetensors").is_file();
        let file = if sampled { "activations_sampled.safetensors" } else { "activations.safetensors" };
        compare(name, &network, &folder, file);
    }
}
