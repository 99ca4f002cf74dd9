//! Gold-YOLO against the original: parameters, layers, costs, deploy form, checkpoints.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)] // a failing test may panic

mod checkpoints;
mod deploy;
mod layers;
#[path = "../support/mod.rs"]
mod support;
mod training;

use std::collections::HashMap;

use network::graph::cost::costs;
use network::graph::{Array, Graph, Op, Role, Weights};
use network::models::gold_yolo::{Block, GoldYolo, Head};
use network::models::{Form, Model};
use serde_json::Value as Json;
use support::{gold_yolo_tiny, json, reference, synthetic};

/// The networks of the reference data by folder.
fn networks() -> Vec<(&'static str, GoldYolo)> {
    vec![
        ("n", GoldYolo::N),
        ("s", GoldYolo::S),
        ("m", GoldYolo::M),
        ("l", GoldYolo::L),
        ("tiny", gold_yolo_tiny()),
        ("n-conv_silu-voc", GoldYolo { block: Block::ConvSilu, classes: 20, ..GoldYolo::N }),
        ("n-fuse_ab", GoldYolo { head: Head::FuseAb, ..GoldYolo::N }),
        ("n-distill_ns", GoldYolo { head: Head::DistillNs, ..GoldYolo::N }),
    ]
}

fn network(name: &str) -> GoldYolo {
    networks().into_iter().find(|(known, _)| *known == name).unwrap().1
}

fn graph(network: &GoldYolo, form: Form, size: [usize; 2]) -> Graph {
    Model::from(network.clone()).graph(form, [1, 3, size[0], size[1]]).unwrap()
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

/// The original's output of `preds`: centre, width and height in pixels, a constant 1, the scores.
fn decoded(preds: &Array, size: [usize; 2]) -> Vec<Vec<f64>> {
    let row = preds.shape[2];
    let mut points = Vec::new();
    for stride in [8, 16, 32] {
        let [rows, columns] = size.map(|side| side.div_ceil(stride));
        let cells = (0..rows).flat_map(|y| (0..columns).map(move |x| (x, y)));
        points.extend(cells.map(|(x, y)| (x as f64 + 0.5, y as f64 + 0.5, stride as f64)));
    }
    let preds = preds.wide();
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
