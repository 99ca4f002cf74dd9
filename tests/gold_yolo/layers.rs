//! Layer by layer.

use std::collections::HashMap;
use std::path::Path;

use converters::Checkpoint;
use network::graph::{Array, Graph, ResizeMode, Weights};
use network::models::Form;
use network::models::gold_yolo::GoldYolo;
use serde_json::Value as Json;

use super::support::{gold_yolo_tiny, input, json, recorded, reference, synthetic_weights, taps, values};
use super::{decoded, graph, networks, synthetic_constants};

/// What a difference may be: a share of the largest magnitude, or four times the difference between the original's
/// own runs in f64 and f32 where that was recorded.
fn tolerance(theirs: &[f64], noise: Option<f64>) -> f64 {
    let largest = theirs.iter().fold(0.0, |largest, value| f64::max(largest, value.abs()));
    f64::max(2e-5 * largest, 4.0 * noise.unwrap_or(0.0))
}

/// The largest difference in shares of what is allowed.
#[track_caller]
pub fn share(ours: &[f64], theirs: &[f64], noise: Option<f64>) -> f64 {
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

pub fn wide(recording: &Checkpoint, name: &str) -> Vec<f64> {
    values(recording, name).into_iter().map(f64::from).collect()
}

/// Which elements of a flattened value were recorded: every `step`-th.
fn step(report: &Json, name: &str) -> usize {
    report["activations"][name]["step"].as_u64().unwrap_or(1) as usize
}

/// What our graph computes of a recorded value, if it is a single value in it.
fn ours(taps: &HashMap<String, Array>, name: &str) -> Vec<f64> {
    if let Some(module) = name.strip_suffix(".act.relu") {
        // Within our hard sigmoid: relu6(x + 3), which is divided by 6.
        let sigmoid = taps[&format!("{module}.act")].wide();
        return sigmoid.into_iter().map(|value| 6.0 * value).collect();
    }
    // The recordings hold the last call of a module that is called several times.
    let last = (1..).map(|call| format!("{name}#{call}")).take_while(|path| taps.contains_key(path)).last();
    let path = last.as_deref().unwrap_or(name);
    taps.get(path).unwrap_or_else(|| panic!("no tap {name}")).wide()
}

/// Compares all layers of a recording, and the decoded outputs with synthetic and with real constants.
fn compare(name: &str, network: &GoldYolo, folder: &Path, file: &str) {
    let recording = converters::open(folder.join(name).join(file)).unwrap();
    let report = folder.join(name).join("report.json");
    let report = if report.is_file() { json(&report) } else { Json::Null };
    let input = input(&recording);
    let size = [input.shape[2], input.shape[3]];
    let graph = graph(network, Form::Training, size);
    let real = synthetic_weights(&graph);
    let taps_of = |weights: &Weights| taps(&graph, weights, &input);
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

#[test]
fn shipped_layers_equal_the_original() {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data");
    compare("gold-yolo", &gold_yolo_tiny(), &data, "activations.safetensors");
}

/// Upstream's adaptive pooling, which is not what it exports where sizes do not divide, and its resizing.
#[test]
fn pooling_and_resizing_equal_the_original() {
    let Some(folder) = reference("gold-yolo") else { return };
    let recording = converters::open(folder.join("pooling.safetensors")).unwrap();
    for case in 0..6 {
        let name = |of: &str| format!("{case}.{of}");
        let size =
            |of: &str| <[usize; 4]>::try_from(recording.tensor(&name(of)).unwrap().shape().to_vec()).unwrap();
        let [_, _, height, width] = size("input");
        let [_, _, rows, columns] = size("adaptive");
        let graph = Graph::write(size("input"), |net, x| {
            let pooled = net.adaptive_average_pool(x, [rows, columns]);
            net.name("adaptive", pooled);
            let back = net.resize(pooled, ResizeMode::Bilinear, [height, width]);
            net.output("bilinear_back", back);
        })
        .unwrap();
        let taps = taps(&graph, &Weights::default(), &recorded(&recording, &name("input")));
        for (of, ours) in [("adaptive", &taps["adaptive"]), ("bilinear_back", &taps["output.bilinear_back"])]
        {
            let share = share(&ours.wide(), &wide(&recording, &name(of)), None);
            assert!(share <= 1.0, "case {case}, {of}: {share} times what is allowed");
        }
    }
}

/// Decoded outputs at two more sizes, one of them with levels that do not divide each other.
#[test]
fn outputs_at_other_sizes_equal_the_original() {
    let Some(folder) = reference("gold-yolo") else { return };
    let recording = converters::open(folder.join("weights/gold_yolo-tiny_onnx_outputs.safetensors")).unwrap();
    for (input, output) in
        [("input", "gold_yolo-tiny.torch"), ("input.uneven", "gold_yolo-tiny-uneven.torch")]
    {
        let x = recorded(&recording, input);
        let size = [x.shape[2], x.shape[3]];
        let graph = graph(&gold_yolo_tiny(), Form::Inference, size);
        let taps = taps(&graph, &synthetic_weights(&graph), &x);
        let ours = decoded(&taps["output.preds"], size);
        let theirs = wide(&recording, output);
        for columns in [0..5, 5..15] {
            let theirs: Vec<f64> = theirs.chunks(15).flat_map(|row| row[columns.clone()].to_vec()).collect();
            let ours: Vec<f64> = ours.iter().flat_map(|row| row[columns.clone()].to_vec()).collect();
            let share = share(&ours, &theirs, None);
            println!("{output}, columns {columns:?}: {share:.3} of what is allowed");
            assert!(share <= 1.0, "{output}, columns {columns:?}: {share} times what is allowed");
        }
    }
}
