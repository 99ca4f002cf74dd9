//! `port verify`.

use network::graph::{Array, Weights};
use network::models::{Form, preset};

use crate::weights::{synthetic_weights, write_safetensors};
use crate::{Sandbox, repository};

const RECORDING: &str = "tests/data/nanodet-plus/activations.safetensors";

/// The network of the recording, changed by `change`, as a checkpoint in the sandbox.
fn checkpoint(sandbox: &Sandbox, change: impl FnOnce(&mut Weights)) {
    let graph = preset("nanodet-plus-m").unwrap().model().graph(Form::Training, [1, 3, 64, 64]).unwrap();
    let mut weights = synthetic_weights(&graph);
    change(&mut weights);
    let arrays: Vec<(String, Array)> = graph
        .parameters()
        .iter()
        .map(|parameter| (parameter.name.clone(), weights.get(&parameter.name).unwrap().clone()))
        .collect();
    write_safetensors(&sandbox.path("weights.safetensors"), &arrays);
}

#[test]
fn a_checkpoint_that_meets_its_recording_is_equal() {
    let sandbox = Sandbox::new();
    checkpoint(&sandbox, |_| ());
    let recording = repository(RECORDING);
    let arguments = ["verify", "weights.safetensors", recording.to_str().unwrap(), "--all"];
    let ran = sandbox.port(&arguments);
    assert_eq!(ran.code, 0, "{}{}", ran.stdout, ran.stderr);
    assert!(ran.stdout.contains("nanodet-plus-m with 80 classes and the auxiliary branch"), "{}", ran.stdout);
    assert!(ran.stdout.contains("head.gfl_cls.3"), "{}", ran.stdout);
    assert!(
        ran.stdout.ends_with("15 of 15 layers and outputs are within tolerance\nequal\n"),
        "{}",
        ran.stdout
    );
    let json = sandbox.port(&[&arguments[..3], &["--json"]].concat()).json();
    assert_eq!(json["equal"], true);
    assert_eq!(json["layers"].as_array().unwrap().len(), 15);
    assert!(json["layers"][0]["total"]["relative"].as_f64().unwrap() < 1e-5);
}

#[test]
fn the_first_diverging_layer_is_named_with_exit_code_1() {
    let sandbox = Sandbox::new();
    checkpoint(&sandbox, |weights| {
        weights.get_mut("head.cls_convs.3.1.dwnorm.bias").unwrap().data.iter_mut().for_each(|b| *b += 1e-3);
    });
    let recording = repository(RECORDING);
    let ran = sandbox.port(&["verify", "weights.safetensors", recording.to_str().unwrap()]);
    assert_eq!(ran.code, 1, "{}{}", ran.stdout, ran.stderr);
    assert!(ran.stdout.contains("first diverging: head.gfl_cls.3"), "{}", ran.stdout);
    let json = sandbox.port(&["verify", "weights.safetensors", recording.to_str().unwrap(), "--json"]).json();
    assert_eq!((&json["equal"], &json["first_diverging"]), (&false.into(), &"head.gfl_cls.3".into()));
}

#[test]
fn checkpoints_in_two_formats_are_compared_bit_by_bit() {
    let sandbox = Sandbox::new();
    sandbox.copy("samples/nanodet-plus-shapes.pth");
    let (input, output) = ("nanodet-plus-shapes.pth", "nanodet-plus-shapes.safetensors");
    assert_eq!(sandbox.port(&["convert", input, "--to", "safetensors"]).code, 0);
    let ran = sandbox.port(&["verify", input, output, "--image-size", "64x96"]);
    assert_eq!(ran.code, 0, "{}{}", ran.stdout, ran.stderr);
    assert!(ran.stdout.contains("weights  equal as f32, bit by bit"), "{}", ran.stdout);

    let half = "half.safetensors";
    assert_eq!(
        sandbox.port(&["convert", input, "--to", "safetensors", "--dtype", "f16", "-o", half]).code,
        0
    );
    let ran = sandbox.port(&["verify", input, half, "--image-size", "64", "--json"]);
    assert_eq!(ran.code, 1, "{}", ran.stderr);
    let json = ran.json();
    assert_eq!(json["first_diverging"], "backbone.conv1.0");
    assert_eq!(json["weights"][0]["name"], "backbone.conv1.0.weight");
}

#[test]
fn a_checkpoint_alone_is_explained_and_run() {
    let sandbox = Sandbox::new();
    sandbox.copy("samples/nanodet-plus-shapes.pth");
    let ran = sandbox.port(&["verify", "nanodet-plus-shapes.pth", "--image-size", "64"]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert!(ran.stdout.contains("every tensor is explained"), "{}", ran.stdout);
}

#[test]
fn numbers_that_are_none_are_found() {
    let sandbox = Sandbox::new();
    checkpoint(&sandbox, |weights| {
        weights.get_mut("fpn.reduce_layers.1.bn.weight").unwrap().data[3] = f32::NAN;
    });
    let ran = sandbox.port(&["verify", "weights.safetensors", "--image-size", "64"]);
    assert_eq!(ran.code, 1, "{}", ran.stderr);
    assert!(ran.stdout.contains("first in fpn.reduce_layers.1.bn:"), "{}", ran.stdout);
}

#[test]
fn sides_that_cannot_be_compared_are_refused() {
    let sandbox = Sandbox::new();
    checkpoint(&sandbox, |_| ());
    sandbox.copy("samples/nanodet-plus-shapes.pth").copy("tests/data/formats/safetensors/dtypes.safetensors");
    let ran = sandbox.port(&["verify", "weights.safetensors", "nanodet-plus-shapes.pth"]);
    assert_eq!(ran.code, 1, "{}", ran.stderr);
    assert!(ran.stdout.contains("different networks"), "{}", ran.stdout);
    let ran = sandbox.port(&["verify", "weights.safetensors", "dtypes.safetensors"]);
    assert_eq!(ran.code, 3, "{}", ran.stdout);
    assert!(ran.stderr.contains("dtypes.safetensors: "), "{}", ran.stderr);
    let image = array(vec![1, 3, 50, 64]);
    write_safetensors(
        &sandbox.path("odd.safetensors"),
        &[("input".to_owned(), image.clone()), ("x".to_owned(), image)],
    );
    let ran = sandbox.port(&["verify", "weights.safetensors", "odd.safetensors"]);
    assert_eq!(ran.code, 3, "{}", ran.stdout);
    assert!(ran.stderr.contains("multiples of 32"), "{}", ran.stderr);
    let ran = sandbox.port(&["verify", "weights.safetensors", "--image-size", "8192"]);
    assert_eq!(ran.code, 3, "{}", ran.stdout);
    assert!(ran.stderr.contains("too large"), "{}", ran.stderr);
    let recording = [("backbone.conv1.0".to_owned(), array(vec![1, 24, 32, 32]))];
    write_safetensors(&sandbox.path("no-input.safetensors"), &recording);
    let ran = sandbox.port(&["verify", "weights.safetensors", "no-input.safetensors", "--json"]);
    assert_eq!(ran.code, 3, "{}", ran.stdout);
    assert!(ran.stderr.contains("--input"), "{}", ran.stderr);
    assert_eq!(ran.json()["error"]["file"], "no-input.safetensors");
    let image = array(vec![1, 3, 64, 64]);
    write_safetensors(
        &sandbox.path("alien.safetensors"),
        &[("input".to_owned(), image.clone()), ("x".to_owned(), image)],
    );
    let ran = sandbox.port(&["verify", "weights.safetensors", "alien.safetensors"]);
    assert_eq!(ran.code, 3, "{}", ran.stdout);
    assert!(ran.stderr.contains("none of its 1 values"), "{}", ran.stderr);
}

fn array(shape: Vec<usize>) -> Array {
    let data = vec![0.5; shape.iter().product()];
    Array { shape, data }
}
