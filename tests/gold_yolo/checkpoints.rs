//! Checkpoints: which network they hold, their names, what the network computes with them.

use std::collections::BTreeSet;

use converters::{Dtype, Tensor};
use network::models::gold_yolo::{Block, FAMILY, GoldYolo, Head};
use network::models::{Form, Model, Shapes};
use port::identify::{IdentifyError, Request, expected_parameters, figures, identify, load};
use port::mapping::Table;

use super::layers::{share, wide};
use super::support::{gold_yolo_tiny, input, json, reference, taps};
use super::{decoded, graph, network, networks};
use network::graph::rewrite::deploy;

/// Name, type, shape and bytes, sorted by name.
fn content<'a>(tensors: impl IntoIterator<Item = &'a Tensor>) -> Vec<(String, Dtype, Vec<usize>, Vec<u8>)> {
    let of = |tensor: &Tensor| {
        (tensor.name().to_owned(), tensor.dtype(), tensor.shape().to_vec(), tensor.bytes().unwrap())
    };
    let mut all: Vec<_> = tensors.into_iter().map(of).collect();
    all.sort_by(|left, right| left.0.cmp(&right.0));
    all
}

/// Whole modules have the names and the bits of their state dictionary, whichever way they were saved.
#[test]
fn whole_modules_equal_their_state_dictionaries() {
    let Some(folder) = reference("gold-yolo") else { return };
    let folder = folder.join("weights");
    let twin = converters::open(folder.join("gold_yolo-tiny_module.safetensors")).unwrap();
    let files = [
        ("gold_yolo-tiny_module.pt", None, "model."),
        ("gold_yolo-tiny_training.pt", None, "ema."),
        ("gold_yolo-tiny_training.pt", Some("ema"), "ema."),
        ("gold_yolo-tiny_module.safetensors", None, ""),
    ];
    for (file, weights, beginning) in files {
        let checkpoint = converters::open(folder.join(file)).unwrap();
        let found = identify(checkpoint.tensors(), Request { weights, ..Request::default() }).unwrap();
        assert_eq!(found.table.name(), "gold-yolo/upstream", "{file}");
        assert_eq!(found.model, Model::from(gold_yolo_tiny()), "{file}");
        assert_eq!(found.weights.beginning, beginning, "{file}");
        assert!(found.mapping.dropped.is_empty() && found.mapping.defaulted.is_empty(), "{file}");
        assert_eq!(content(&found.mapping.tensors().unwrap()), content(twin.tensors()), "{file}");
    }
    // The weights that were trained lie beside their average.
    let checkpoint = converters::open(folder.join("gold_yolo-tiny_training.pt")).unwrap();
    let trained =
        identify(checkpoint.tensors(), Request { weights: Some("model"), ..Request::default() }).unwrap();
    assert_eq!((trained.weights.beginning.as_str(), trained.mapping.moves.len()), ("model.", 929));
}

/// A whole module in half precision computes, in f32, what the original computed with it in f32: in training and in
/// deploy form.
#[test]
fn a_whole_module_computes_the_original_outputs() {
    let Some(folder) = reference("gold-yolo") else { return };
    let folder = folder.join("weights");
    let recording = converters::open(folder.join("gold_yolo-tiny_module_output.safetensors")).unwrap();
    let loaded = load(&folder.join("gold_yolo-tiny_module.pt"), Request::default()).unwrap();
    let input = input(&recording);
    let size = [input.shape[2], input.shape[3]];
    let graph = graph(&gold_yolo_tiny(), Form::Inference, size);
    let (deployed, deployment) = deploy(&graph);
    let folded = deployment.apply(&loaded.weights).unwrap();
    // Either form of the original is as far from the other as rounding takes it.
    let rows_of = |name: &str| -> Vec<Vec<f64>> {
        wide(&recording, name).chunks(5 + 10).map(<[f64]>::to_vec).collect()
    };
    let recorded = ["output.decoded", "output.decoded_deploy"].map(rows_of);
    let forms = [(&graph, &loaded.weights), (&deployed, &folded)];
    for ((graph, weights), theirs) in forms.into_iter().zip(&recorded) {
        let ours = decoded(&taps(graph, weights, &input)["output.preds"], size);
        for columns in [0..5, 5..15] {
            let pick = |rows: &[Vec<f64>]| -> Vec<f64> {
                rows.iter().flat_map(|row| row[columns.clone()].to_vec()).collect()
            };
            let [training, deploy] = [pick(&recorded[0]), pick(&recorded[1])];
            let differences =
                training.iter().zip(&deploy).map(|(training, deploy)| (training - deploy).abs());
            let noise = differences.fold(0.0, f64::max);
            let share = share(&pick(&ours), &pick(theirs), Some(noise));
            println!("columns {columns:?}: {share:.3} of what is allowed");
            assert!(share <= 1.0, "columns {columns:?}: {share} times what is allowed");
        }
    }
}

/// All kinds of networks that one code base makes.
fn variants() -> Vec<GoldYolo> {
    let mut all: Vec<GoldYolo> = networks().into_iter().map(|(_, network)| network).collect();
    for head in [Head::FuseAb, Head::DistillNs] {
        all.push(GoldYolo { head, classes: 3, ..GoldYolo::L });
        all.push(GoldYolo { head, block: Block::ConvSilu, dfl: false, ..gold_yolo_tiny() });
    }
    // One block alone in each stage.
    all.push(GoldYolo { backbone_blocks: [1; 4], neck_blocks: 1, classes: 1, ..GoldYolo::S });
    all
}

/// The configuration that shapes tell is the one they come from, whichever tensor is missing or of another shape.
#[test]
fn networks_are_recognised_whichever_tensor_is_odd() {
    for network in variants() {
        let graph = graph(&network, Form::Training, [32, 32]);
        let all: Vec<(&str, Vec<usize>)> =
            graph.parameters().iter().map(|p| (p.name.as_str(), p.shape.clone())).collect();
        let recognised =
            |shapes: Vec<(&str, Vec<usize>)>| (FAMILY.recognise)(&shapes.into_iter().collect::<Shapes>());
        let expected = Some(Model::from(network.clone()));
        assert_eq!(recognised(all.clone()), expected);
        for odd in (0..all.len()).step_by(3) {
            let mut rest = all.clone();
            let (name, shape) = rest.remove(odd);
            assert_eq!(recognised(rest.clone()), expected, "without {name}");
            rest.push((name, shape.iter().map(|size| size + 3).collect()));
            assert_eq!(recognised(rest), expected, "with another {name}");
        }
    }
}

#[test]
fn names_say_how_a_network_differs_from_the_published_ones() {
    let name = |network: GoldYolo| Model::from(network).name();
    assert_eq!(name(GoldYolo { classes: 7, ..GoldYolo::M }), "gold-yolo-m");
    assert_eq!(name(network("n-distill_ns")), "gold-yolo-n, no DFL, distill_ns head");
    assert_eq!(name(network("n-conv_silu-voc")), "gold-yolo-n, conv_silu, no DFL");
    assert_eq!(name(gold_yolo_tiny()), "gold-yolo-8-8-16-32-64, RepVGG, DFL");
}

fn tensors_of(shapes: impl IntoIterator<Item = (String, Vec<usize>)>) -> Vec<Tensor> {
    let tensor = |(name, shape): (String, Vec<usize>)| {
        let zeros = vec![0.0; shape.iter().product()];
        Tensor::from_values(&name, Dtype::F32, &shape, &zeros).unwrap()
    };
    shapes.into_iter().map(tensor).collect()
}

/// The port of the seeds has other widths, layers and constants than the original; each of its tensors that cannot be
/// the original's is named, and the 708 others are not.
#[test]
fn the_jittor_port_is_refused_tensor_by_tensor() {
    let Some(folder) = reference("gold-yolo") else { return };
    let names = json(&folder.join("port/names.json"));
    let rows = || names["rows"].as_array().unwrap().iter();
    let name = |row: &serde_json::Value| row["port"].as_str().unwrap().to_owned();
    let shapes = rows().map(|row| (name(row), serde_json::from_value(row["shape"].clone()).unwrap()));
    let all = tensors_of(shapes.chain([("stride".to_owned(), vec![3])]));
    let odd: BTreeSet<String> = rows()
        .filter(|row| ["shape differs", "extra"].contains(&row["verdict"].as_str().unwrap()))
        .map(name)
        .collect();
    for layout in ["", "model_state_dict.", "model.", "ema."] {
        let file: Vec<Tensor> =
            all.iter().map(|tensor| tensor.named(&format!("{layout}{}", tensor.name()))).collect();
        let request = Request { model: Some("gold-yolo-n"), ..Request::default() };
        let error = identify(&file, request).unwrap_err();
        assert!(matches!(error, IdentifyError::Mapping { .. }), "{error}");
        assert!(error.to_string().starts_with("taken for gold-yolo-n with 20 classes"), "{error}");
        let refused: BTreeSet<String> = error
            .problems()
            .iter()
            .map(|problem| problem.name().trim_start_matches(layout).to_owned())
            .collect();
        assert_eq!(refused, odd, "{layout}");
    }
}

/// A port of the right widths is read in each of the layouts that are in use, and completed.
#[test]
fn a_faithful_jittor_port_is_read() {
    let model = Model::from(gold_yolo_tiny());
    let canonical = expected_parameters(&model).unwrap().into_iter().map(|expected| {
        let count = expected.shape.iter().product();
        let values = expected.constant.unwrap_or_else(|| vec![0.0; count]);
        Tensor::from_values(&expected.name, expected.dtype, &expected.shape, &values).unwrap()
    });
    let canonical: Vec<Tensor> = canonical.collect();
    let table = Table::shipped("gold-yolo/jittor").unwrap();
    let foreign = table.invert(&canonical, &figures(&model)).unwrap().tensors;
    assert!(foreign.iter().any(|tensor| tensor.name() == "neck.Inject_p3.global_act.norm.bn.running_var"));
    let with_stride = foreign.into_iter().chain(tensors_of([("stride".to_owned(), vec![3])]));
    let with_stride: Vec<Tensor> = with_stride.collect();
    for (layout, weights) in
        [("model_state_dict.", "model"), ("model.", "model"), ("ema.", "ema"), ("", "model")]
    {
        let file: Vec<Tensor> =
            with_stride.iter().map(|tensor| tensor.named(&format!("{layout}{}", tensor.name()))).collect();
        let found = identify(&file, Request::default()).unwrap();
        assert_eq!((found.table.name().as_str(), &found.model), ("gold-yolo/jittor", &model), "{layout}");
        assert_eq!((found.weights.name.as_str(), found.weights.beginning.as_str()), (weights, layout));
        assert_eq!(content(&found.mapping.tensors().unwrap()), content(&canonical), "{layout}");
        assert_eq!((found.mapping.dropped.len(), found.mapping.defaulted.len()), (1, 157), "{layout}");
    }
}
