//! The networks against the original implementations: parameter lists and counts.

use std::collections::BTreeMap;

use crate::support::{reference, repository};
use network::graph::cost::costs;
use network::graph::{Graph, Parameter};
use network::models::{FAMILIES, Form, Model, Shapes, preset};
use serde_json::Value as Json;

fn training_graph(model: &Model) -> Graph {
    model.graph(Form::Training, [1, 3, 64, 64]).unwrap()
}

/// Every parameter, in the order of upstream's `state_dict`, with its shape.
#[test]
fn parameters_equal_the_original_name_by_name() {
    let Some(folder) = reference("nanodet-plus") else { return };
    for name in ["nanodet-plus-m", "nanodet-plus-m-1.5x"] {
        let text = std::fs::read_to_string(folder.join(name).join("state_dict.json")).unwrap();
        let expected: Json = serde_json::from_str(&text).unwrap();
        let graph = training_graph(&preset(name).unwrap().model());
        let ours = graph.parameters().iter().map(|p| (p.name.clone(), p.shape.clone()));
        let theirs = expected["tensors"].as_array().unwrap().iter().map(|tensor| {
            let shape = serde_json::from_value(tensor["shape"].clone()).unwrap();
            (tensor["name"].as_str().unwrap().to_owned(), shape)
        });
        assert_eq!(ours.collect::<Vec<_>>(), theirs.collect::<Vec<(String, Vec<usize>)>>());

        let totals = &expected["totals"];
        let cost = costs(&graph)[0];
        assert_eq!(cost.parameters, totals["trainable"].as_u64().unwrap());
        let inference = preset(name).unwrap().model().graph(Form::Inference, [1, 3, 64, 64]).unwrap();
        assert_eq!(costs(&inference)[0].parameters, totals["parameters_without_aux"].as_u64().unwrap());
        assert_eq!(inference.parameters().len() as u64, totals["tensors_without_aux"].as_u64().unwrap());
    }
}

/// The sample has a backbone, class count and auxiliary branch of its own.
#[test]
fn the_sample_is_recognised_with_all_its_parameters() {
    let path = repository().join("samples/nanodet-plus-shapes.pth");
    let checkpoint = converters::open(&path).unwrap().at_root("state_dict").unwrap();
    let shapes = checkpoint.tensors().iter().map(|tensor| (tensor.name(), tensor.shape()));
    let model = (FAMILIES[0].recognise)(&shapes.collect::<Shapes>()).unwrap();
    assert_eq!(model.name(), "nanodet-plus-0.5x-64");
    assert_eq!(model.classes(), 6);
    let graph = training_graph(&model);
    let by_name = |p: &Parameter| (p.name.clone(), p.shape.clone());
    let ours: BTreeMap<String, Vec<usize>> = graph.parameters().iter().map(by_name).collect();
    let theirs = checkpoint.tensors().iter().map(|t| (t.name().to_owned(), t.shape().to_vec()));
    assert_eq!(ours, theirs.collect());
    let without = model.without_auxiliary();
    assert_eq!(costs(&without.graph(Form::Training, [1, 3, 64, 64]).unwrap())[0].parameters, 321_336);
}

/// The configuration that shapes tell is the one they come from, whichever tensor is missing.
#[test]
fn one_missing_tensor_does_not_change_what_is_recognised() {
    for preset in FAMILIES.iter().flat_map(|family| family.presets) {
        let graph = training_graph(&preset.model().with_classes(11));
        let all: Vec<(&str, Vec<usize>)> =
            graph.parameters().iter().map(|p| (p.name.as_str(), p.shape.clone())).collect();
        for missing in 0..all.len() {
            let rest =
                all.iter().enumerate().filter(|(at, _)| *at != missing).map(|(_, entry)| entry.clone());
            let model = (preset.model().family().recognise)(&rest.collect::<Shapes>());
            assert_eq!(model, Some(preset.model().with_classes(11)), "without {}", all[missing].0);
        }
    }
}
