//! The deploy form: parameters, operations, results.

use network::graph::cost::costs;
use network::graph::rewrite::deploy;
use network::graph::{Graph, Parameter, Role, Weights};
use network::models::Form;
use network::models::gold_yolo::Block;
use serde_json::Value as Json;

use super::support::{input, json, reference, synthetic_weights, taps};
use super::{decoded, graph, names_and_shapes, networks};

/// Norms that upstream's deploy form keeps: `fuse_model` goes by exact types, and these are of others.
const KEPT_NORMS: [&str; 4] = ["neck.low_IFM.0.bn", "neck.low_IFM.4.bn", "neck.Inject_", "neck.high_IFM."];

/// Parameters and operations of both forms at 640x640. Upstream counts what is never trained (`proj` and `proj_conv`)
/// as well, and keeps some norms where we fold all.
#[test]
fn costs_equal_the_original() {
    let Some(folder) = reference("gold-yolo") else { return };
    for row in json(&folder.join("counts.json"))["rows"].as_array().unwrap() {
        let variant = row["variant"].as_str().unwrap();
        let network = super::network(variant);
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

        let (deployed, deployment) = deploy(&graph);
        assert_eq!(deployment.merged() == 0, network.block == Block::ConvSilu, "{variant}");
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
        println!("{variant}: {} parameters, {} norms folded", cost.parameters, deployment.folded());
    }
}

/// The tensors of the deploy form in upstream's order, but for the norms that upstream keeps: there a weight, a bias,
/// two statistics and a counter stand where ours is a bias of the convolution.
#[test]
fn the_deploy_form_has_the_tensors_of_the_original() {
    let Some(folder) = reference("gold-yolo") else { return };
    for variant in ["n", "l", "n-conv_silu-voc"] {
        let network = super::network(variant);
        let (deployed, _) = deploy(&graph(&network, Form::Training, [64, 64]));
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
        let size = [input.shape[2], input.shape[3]];
        let graph = graph(&network, Form::Inference, size);
        let weights = synthetic_weights(&graph);
        let (deployed, deployment) = deploy(&graph);
        let folded = deployment.apply(&weights).unwrap();
        let run =
            |graph: &Graph, weights: &Weights| decoded(&taps(graph, weights, &input)["output.preds"], size);
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

        // And back again: to weights of the training form that deploy to the same.
        let again = deployment.undo(&folded).unwrap();
        for parameter in graph.parameters() {
            again.of(parameter).unwrap();
        }
        assert_eq!(deployment.apply(&again).unwrap(), folded, "{name}");
    }
}
