//! GFocalV2 and GFL against the original implementations: parameters, layers, operators, checkpoints.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)] // a failing test may panic

mod support;

use std::path::Path;

use port::graph::cost::costs;
use port::graph::{Graph, ResizeMode, Weights};
use port::models::gfocal_v2::{GFocalV2, Quality};
use port::models::{Block, ExtraLevels, Form, Fpn, Model, ResNet};
use serde_json::Value as Json;
use support::{error, input, reference, synthetic_weights, taps};

/// ResNet-18 with 8 channels, a pyramid and head of 64, two convolutions in a tower, 5 classes.
fn tiny() -> GFocalV2 {
    let backbone =
        ResNet { stem: 8, block: Block::Basic, channels: 8, depths: [2; 4], ..ResNet::of_depth(50) };
    let network = GFocalV2::on(backbone);
    GFocalV2 { neck: Fpn { channels: 64, ..network.neck }, channels: 64, stacked: 2, classes: 5, ..network }
}

fn x101() -> ResNet {
    ResNet::of_depth(101).with_block(Block::Bottleneck { groups: 32, width: 4 })
}

fn r2n101() -> ResNet {
    ResNet { deep: true, ..ResNet::of_depth(101) }.with_block(Block::Res2Net { scales: 4, width: 26 })
}

/// GFL with the pyramid of the Jittor port.
fn on_input() -> GFocalV2 {
    let network = GFocalV2::v1(ResNet::of_depth(50));
    GFocalV2 { neck: Fpn { extra: ExtraLevels::OnInput, ..network.neck }, ..network }
}

/// The variants of the reference data, by folder.
fn variants() -> Vec<(&'static str, GFocalV2)> {
    vec![
        ("gfocal_tiny", tiny()),
        ("gfocal_r50_fpn", GFocalV2::on(ResNet::of_depth(50))),
        ("gfocal_r101_fpn", GFocalV2::on(ResNet::of_depth(101))),
        ("gfocal_r101_dcn_fpn", GFocalV2::on(ResNet::of_depth(101).deformed_from(1))),
        ("gfocal_x101_fpn", GFocalV2::on(x101())),
        ("gfocal_x101_dcn_fpn", GFocalV2::on(x101().deformed_from(2))),
        ("gfocal_r2n101_fpn", GFocalV2::on(r2n101())),
        ("gfocal_r2n101_dcn_fpn", GFocalV2::on(r2n101().deformed_from(2))),
        ("gfl_r50_fpn", GFocalV2::v1(ResNet::of_depth(50))),
    ]
}

fn json(file: &Path) -> Json {
    serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap()
}

fn graph(network: &GFocalV2, input: [usize; 4]) -> Graph {
    Model::from(network.clone()).graph(Form::Training, input).unwrap()
}

/// Every parameter, in the order of upstream's `state_dict`, with its shape; which are frozen; how many there are.
#[test]
fn parameters_equal_the_original_name_by_name() {
    let Some(folder) = reference("gfocal-v2") else { return };
    for (name, network) in variants() {
        let expected = json(&folder.join(name).join("state_dict.json"));
        let graph = graph(&network, [1, 3, 64, 96]);
        let frozen = network.frozen().modules;
        let is_frozen = |name: &str| frozen.iter().any(|module| name.starts_with(&format!("{module}.")));
        let ours = graph.parameters().iter().map(|p| {
            let kind = match p.role.is_trainable() {
                false => "buffer",
                true if is_frozen(&p.name) => "frozen",
                true => "parameter",
            };
            (p.name.clone(), p.shape.clone(), kind)
        });
        let tensors = expected["tensors"].as_array().unwrap();
        let theirs = tensors.iter().map(|tensor| {
            let shape: Vec<usize> = serde_json::from_value(tensor["shape"].clone()).unwrap();
            (tensor["name"].as_str().unwrap().to_owned(), shape, tensor["kind"].as_str().unwrap())
        });
        assert_eq!(ours.collect::<Vec<_>>(), theirs.collect::<Vec<_>>(), "{name}");
        assert_eq!(costs(&graph)[0].parameters, expected["parameters"].as_u64().unwrap(), "{name}");
        let trainable = graph.parameters().iter().filter(|p| p.role.is_trainable() && !is_frozen(&p.name));
        let trainable: usize = trainable.map(|parameter| parameter.elements()).sum();
        assert_eq!(trainable as u64, expected["trainable"].as_u64().unwrap(), "{name}");
    }
}

/// The values of the reference data: synthetic, but smaller where offsets would otherwise leave the picture.
fn weights(graph: &Graph, is_deformed: bool) -> Weights {
    let mut weights = synthetic_weights(graph);
    for parameter in graph.parameters().iter().filter(|_| is_deformed) {
        let divisor = match parameter.name.as_str() {
            name if name.ends_with(".bn3.weight") => 4.0,
            name if name.ends_with(".conv_offset.weight") => 8.0,
            _ => continue,
        };
        let array = weights.get_mut(&parameter.name).unwrap();
        array.data.iter_mut().for_each(|value| *value /= divisor);
    }
    weights
}

/// The name of a recorded value in our graph: calls of a module are numbered by level.
fn tap(name: &str) -> String {
    match name.rsplit_once('@') {
        Some((path, "0")) => path.to_owned(),
        Some((path, level)) => format!("{path}#{level}"),
        None => name.to_owned(),
    }
}

/// Largest difference allowed with synthetic weights, relative to the tensor's largest magnitude, unless four times
/// the rounding that the original shows against itself in float64 is more.
const TOLERANCE: f64 = 2e-5;

#[track_caller]
fn check(folder: &Path, file: &str, network: &GFocalV2) {
    let facts = folder.join("facts.json");
    let facts = if facts.exists() { json(&facts) } else { Json::Null };
    let noise = &facts["files"][file]["float32_noise"];
    let recording = converters::open(folder.join(file)).unwrap();
    let input = input(&recording);
    let graph = graph(network, <[usize; 4]>::try_from(input.dims().to_vec()).unwrap());
    let is_deformed = network.backbone.deformable.iter().any(Option::is_some);
    let taps = taps(&graph, &weights(&graph, is_deformed), &input);
    // Boxes and scores are decoded from the outputs, which are compared.
    let decoded = ["output.boxes", "output.scores"];
    let mut worst = (0.0, "", 0.0);
    for tensor in recording.tensors().iter().filter(|tensor| !decoded.contains(&tensor.name())) {
        let ours = taps.get(&tap(tensor.name())).unwrap_or_else(|| panic!("no tap {}", tensor.name()));
        let error = error(ours, &recording, tensor.name());
        let tolerance = TOLERANCE.max(4.0 * noise[tensor.name()].as_f64().unwrap_or(0.0));
        assert!(error <= tolerance, "{}: {}: {error}", folder.display(), tensor.name());
        worst = if error > worst.0 { (error, tensor.name(), tolerance) } else { worst };
    }
    let (error, name, tolerance) = worst;
    println!("{}/{file}: worst {error:.2e} at {name}, allowed {tolerance:.2e}", folder.display());
}

#[test]
fn every_layer_equals_the_original() {
    let Some(folder) = reference("gfocal-v2") else { return };
    let on_input = [("gfl_r50_fpn_on_input", on_input())];
    for (name, network) in variants().into_iter().chain(on_input) {
        let mut files = 0;
        for file in ["activations.safetensors", "activations_64x96.safetensors"] {
            if folder.join(name).join(file).exists() {
                check(&folder.join(name), file, &network);
                files += 1;
            }
        }
        assert!(files > 0, "nothing is recorded of {name}");
    }
}
