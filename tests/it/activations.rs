//! Layer by layer against the original implementations.

use std::path::Path;

use crate::support::{error, input, reference, repository, synthetic_weights, taps, values};
use network::graph::rewrite::fold_batch_norms;
use network::graph::{Graph, Weights};
use network::models::{Form, preset};

/// Values that are made of the network's outputs.
const DECODED: [&str; 4] = ["output.boxes", "output.distances", "output.priors", "output.scores"];

/// Largest difference allowed with synthetic weights, relative to the tensor's largest magnitude.
const TOLERANCE: f64 = 1e-5;

#[track_caller]
fn check(name: &str, file: &Path) {
    let recording = converters::open(file).unwrap();
    let input = input(&recording);
    let shape = <[usize; 4]>::try_from(input.shape.clone()).unwrap();
    let graph = preset(name).unwrap().model().graph(Form::Training, shape).unwrap();
    let taps = taps(&graph, &synthetic_weights(&graph), &input);
    let mut worst = (0.0, "");
    for tensor in recording.tensors().iter().filter(|tensor| !DECODED.contains(&tensor.name())) {
        let ours = taps.get(tensor.name()).unwrap_or_else(|| panic!("no tap {}", tensor.name()));
        let error = error(ours, &recording, tensor.name());
        worst = if error > worst.0 { (error, tensor.name()) } else { worst };
    }
    println!("{name}: worst {} at {}", worst.0, worst.1);
    assert!(worst.0 < TOLERANCE, "{name}: {} at {}", worst.0, worst.1);
}

#[test]
fn every_layer_equals_the_original() {
    let Some(folder) = reference("nanodet-plus") else { return };
    for name in ["nanodet-plus-m", "nanodet-plus-m-1.5x"] {
        check(name, &folder.join(name).join("activations.safetensors"));
    }
}

/// Some of the same layers, for those who do not have the reference data.
#[test]
fn shipped_layers_equal_the_original() {
    let data = repository().join("tests/data/nanodet-plus");
    check("nanodet-plus-m", &data.join("activations.safetensors"));
}

fn real_weights(path: &Path, graph: &Graph) -> Weights {
    let checkpoint = converters::open(path).unwrap().at_root("state_dict").unwrap();
    Weights::fill(graph, |parameter| match parameter.shape[..] {
        [] => vec![0.0],
        _ => values(&checkpoint, &parameter.name),
    })
}

/// The published weights on a photograph, also with batch norms folded: 1e-4 of the largest magnitude.
#[test]
fn published_weights_give_the_original_outputs() {
    let Some(folder) = reference("nanodet-plus") else { return };
    let recording = converters::open(folder.join("nanodet-plus-m/activations_real.safetensors")).unwrap();
    let graph = preset("nanodet-plus-m").unwrap().model().graph(Form::Inference, [1, 3, 416, 416]).unwrap();
    let weights = real_weights(&folder.join("weights/nanodet-plus-m_416_coco.pth"), &graph);
    let (folded, folding) = fold_batch_norms(&graph);
    assert_eq!(folding.len(), 106);
    let folded_weights = folding.fold(&weights).unwrap();
    for (graph, weights) in [(&graph, &weights), (&folded, &folded_weights)] {
        let taps = taps(graph, weights, &input(&recording));
        for name in ["fpn.2", "fpn.3", "output.preds"] {
            let error = error(&taps[name], &recording, name);
            println!("{name}: {error}");
            assert!(error < 1e-4, "{name}: {error}");
        }
    }
}
