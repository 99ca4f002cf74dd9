//! Gold-YOLO against the original: parameters, layers, costs, deploy form, checkpoints.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)] // a failing test may panic

mod support;

use std::collections::HashMap;
use std::path::Path;

use candle_core::{DType, Device, Tensor};
use converters::Checkpoint;
use port::graph::cost::costs;
use port::graph::passes::{Folding, Merging, fold_batch_norms, merge_branches};
use port::graph::{Array, Graph, Op, Parameter, Role, Weights};
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
        let parts = [("boxes", true, noise("max_abs_boxes")), ("scores", false, noise("max_abs_scores"))];
        for (part, of_box, noise) in parts {
            let pick = |all: &[f64]| -> Vec<f64> {
                let pairs = columns.iter().zip(all);
                pairs.filter(|(column, _)| (**column < 5) == of_box).map(|(_, value)| *value).collect()
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

/// The deploy form: branches merged, then batch norms folded.
fn deploy(graph: &Graph) -> (Graph, Merging, Folding) {
    let (merged, merging) = merge_branches(graph);
    let (folded, folding) = fold_batch_norms(&merged);
    (folded, merging, folding)
}

/// Norms that upstream's deploy form keeps: `fuse_model` goes by exact types, and these are of others.
const KEPT_NORMS: [&str; 4] = ["neck.low_IFM.0.bn", "neck.low_IFM.4.bn", "neck.Inject_", "neck.high_IFM."];

/// Parameters and operations of both forms at 640x640. Upstream counts what is never trained (`proj` and `proj_conv`)
/// as well, and keeps some norms where we fold all.
#[test]
fn costs_equal_the_original() {
    let Some(folder) = reference("gold-yolo") else { return };
    for row in json(&folder.join("counts.json"))["rows"].as_array().unwrap() {
        let variant = row["variant"].as_str().unwrap();
        let network = networks().into_iter().find(|(name, _)| *name == variant).unwrap().1;
        let graph = graph(&network, Form::Training, [640, 640]);
        let count = |row: &Json, key: &str| row[key].as_u64().unwrap();
        let gigaflops = |row: &Json| row["gflops_2mac"].as_f64().unwrap();
        let constants = 34;

        let training = &row["training"];
        let all = costs(&graph);
        let of = |path: &str| all[graph.modules().iter().position(|module| module.path == path).unwrap()];
        assert_eq!(of("").parameters, count(training, "trainable"), "{variant}");
        assert_eq!(of("").parameters + constants, count(training, "parameters"), "{variant}");
        assert_eq!(graph.parameters().len() as u64, count(training, "tensors"), "{variant}");
        assert_eq!(of("backbone").parameters, count(training, "backbone"), "{variant}");
        assert_eq!(of("neck").parameters, count(training, "neck"), "{variant}");
        assert_eq!(of("detect").parameters + constants, count(training, "detect"), "{variant}");
        assert_eq!(of("").flops as f64 / 1e9, gigaflops(training), "{variant}");

        let (deployed, merging, folding) = deploy(&graph);
        assert_eq!(merging.is_empty(), network.block == Block::ConvSilu, "{variant}");
        // Every norm is folded: the ones that upstream keeps have a weight and a bias where ours is a bias.
        let norms = |graph: &Graph| {
            let norm = |parameter: &&Parameter| parameter.role == Role::NormWeight;
            graph.parameters().iter().filter(norm).cloned().collect::<Vec<Parameter>>()
        };
        assert!(norms(&deployed).is_empty(), "{variant}");
        let kept = norms(&graph)
            .into_iter()
            .filter(|norm| KEPT_NORMS.iter().any(|kept| norm.name.starts_with(kept)));
        let kept: Vec<Parameter> = kept.filter(|norm| !norm.name.contains(".rbr_")).collect();
        let cost = costs(&deployed)[0];
        let surplus = kept.iter().map(|norm| norm.elements() as u64).sum::<u64>();
        let theirs = &row["deploy"];
        assert_eq!(cost.parameters + constants + surplus, count(theirs, "parameters"), "{variant}");
        let tensors = deployed.parameters().len() + 4 * kept.len();
        assert_eq!(tensors as u64, count(theirs, "tensors"), "{variant}");
        assert_eq!(cost.flops as f64 / 1e9, gigaflops(theirs), "{variant}");
        println!("{variant}: {} parameters, {} norms folded", cost.parameters, folding.len());
    }
}

/// The tensors of the deploy form in upstream's order, but for the norms that upstream keeps: there a weight, a bias,
/// two statistics and a counter stand where ours is a bias of the convolution.
#[test]
fn the_deploy_form_has_the_tensors_of_the_original() {
    let Some(folder) = reference("gold-yolo") else { return };
    for variant in ["n", "l", "n-conv_silu-voc"] {
        let network = networks().into_iter().find(|(name, _)| *name == variant).unwrap().1;
        let (deployed, ..) = deploy(&graph(&network, Form::Training, [64, 64]));
        let ours = deployed.parameters().iter().map(|p| (p.name.clone(), p.shape.clone()));
        let is_statistic = |name: &str| {
            ["bn.weight", "bn.running_mean", "bn.running_var", "bn.num_batches_tracked"]
                .iter()
                .any(|end| name.ends_with(end))
        };
        let theirs = names_and_shapes(&json(&folder.join(variant).join("state_dict_deploy.json")));
        let theirs = theirs.into_iter().filter(|(name, _)| !is_statistic(name)).map(|(name, shape)| {
            let folded = name.strip_suffix(".bn.bias").map(|layer| {
                let conv = if layer.contains("high_IFM") { "c" } else { "conv" };
                format!("{layer}.{conv}.bias")
            });
            (folded.unwrap_or(name), shape)
        });
        assert_eq!(ours.collect::<Vec<_>>(), theirs.collect::<Vec<_>>(), "{variant}");
    }
}

/// The deploy form computes what the training form does: decoded outputs differ by no more than four times what those
/// of the original's two forms do, the factor that layers have over the original's own rounding.
#[test]
fn the_deploy_form_computes_the_same() {
    let Some(folder) = reference("gold-yolo") else { return };
    for (name, network) in networks() {
        let report = folder.join(name).join("report.json");
        let file = ["activations.safetensors", "activations_sampled.safetensors"]
            .map(|file| folder.join(name).join(file))
            .into_iter()
            .find(|file| file.is_file());
        let (true, Some(file)) = (report.is_file(), file) else { continue };
        let report = json(&report);
        let input = input(&converters::open(file).unwrap());
        let size = [input.dims()[2], input.dims()[3]];
        let graph = graph(&network, Form::Inference, size);
        let weights = synthetic_weights(&graph);
        let (deployed, merging, folding) = deploy(&graph);
        let merged = merging.merge(&weights).unwrap();
        let folded = folding.fold(&merged).unwrap();
        let run = |graph: &Graph, weights: &Weights| {
            decoded(&taps(graph, weights, &input, NormStatistics::Running)["output.preds"], size)
        };
        let (training, deploy) = (run(&graph, &weights), run(&deployed, &folded));
        let worst = |columns: std::ops::Range<usize>| {
            let rows = training.iter().zip(&deploy);
            let differences = rows.flat_map(|(a, b)| {
                a[columns.clone()].iter().zip(&b[columns.clone()]).map(|(a, b)| (a - b).abs())
            });
            differences.fold(0.0, f64::max)
        };
        let boxes = worst(0..4);
        let scores = worst(5..5 + network.classes);
        let theirs = |of: &str| report["deploy_vs_training_linspace_proj"][of].as_f64().unwrap();
        println!(
            "{name}: boxes {boxes:e} ({:e}), scores {scores:e} ({:e})",
            theirs("max_abs_boxes"),
            theirs("max_abs_scores")
        );
        assert!(boxes <= 4.0 * theirs("max_abs_boxes") && scores <= 4.0 * theirs("max_abs_scores"), "{name}");

        // And back again: split and unfolded weights are weights of the training form that deploy to the same.
        let again = merging.split(&folding.unfold(&folded).unwrap()).unwrap();
        for parameter in graph.parameters() {
            again.of(parameter).unwrap();
        }
        assert_eq!(folding.fold(&merging.merge(&again).unwrap()).unwrap(), folded, "{name}");
    }
}
