//! GFocalV2 and GFL against the original implementations: parameters, layers, operators, checkpoints.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)] // a failing test may panic

mod support;

use std::ops::Range;
use std::path::{Path, PathBuf};

use converters::Dtype;
use engine::{Executor, Handle, NormStatistics, Parameters};
use network::graph::cost::costs;
use network::graph::rewrite::fold_batch_norms;
use network::graph::{Array, Conv, DeformConv, Graph, Op, Weights};
use network::models::gfocal_v2::GFocalV2;
use network::models::{Block, Deformable, ExtraLevels, Form, Fpn, Head, Model, Network, ResNet, Size};
use port::detect::decode;
use port::identify::{IdentifyError, Request, array, identify, identify_part, load};
use serde_json::Value as Json;
use support::{
    check_gradients, error, input, json, ramp, recorded, reference, synthetic, synthetic_weights, taps,
};

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
    let graph = graph(network, <[usize; 4]>::try_from(input.shape.clone()).unwrap());
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

/// The same for those who do not have the reference data.
#[test]
fn shipped_layers_equal_the_original() {
    check(&shipped(), "activations_64x96.safetensors", &tiny());
}

fn shipped() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/gfocal-v2")
}

/// The levels of the recording are rows of points; boxes and scores were decoded and not clipped.
#[test]
fn the_network_of_liangheming_equals_its_original() {
    let Some(folder) = reference("gfocal-v2") else { return };
    let recording = converters::open(folder.join("liangheming_gfocal_r50/activations.safetensors")).unwrap();
    let input = input(&recording);
    let network = GFocalV2::liangheming();
    let graph = graph(&network, [1, 3, 64, 96]);
    // The values follow from the names of that code base.
    let tensors: Vec<_> =
        named(&folder.join("names/liangheming_gfocal_r50.json")).iter().map(filled).collect();
    let loaded = identify(&tensors, Request::default()).unwrap().mapping.tensors().unwrap();
    let arrays = loaded.iter().filter(|tensor| tensor.dtype() == Dtype::F32);
    let weights: Weights = arrays.map(|one| (one.name().to_owned(), array(one).unwrap())).collect();
    let taps = taps(&graph, &weights, &input);
    let size = Size { width: 96, height: 64 };
    let head = Head { clip: false, ..network.facts(size).head };
    let preds: Array<f64> = taps["output.preds"].to();
    let decoded = decode(&preds.data, &head, size, size).unwrap();
    let boxes_scores = decoded.boxes.iter().zip(decoded.scores.chunks(80));
    let boxes_scores = boxes_scores.flat_map(|(one, scores)| one.iter().chain(scores)).copied();
    let boxes_scores = Array { shape: vec![1, 129, 84], data: boxes_scores.collect() };
    let mut start = 0;
    for (level, points) in decoded.levels.into_iter().enumerate() {
        let rows = start..start + points;
        let check = |ours: &Array<f64>, name: &str| {
            let error = error(ours, &recording, &format!("{name}.{level}"));
            println!("{name}.{level}: {error:.2e}");
            assert!(error < TOLERANCE, "{name}.{level}: {error}");
        };
        check(&taps[&format!("neck.{level}")].to(), "neck");
        check(&part(&preds, rows.clone(), 0..80), "output.cls_logits");
        check(&part(&preds, rows.clone(), 80..148), "output.reg_logits");
        check(&part(&boxes_scores, rows, 0..84), "output.boxes_scores");
        start += points;
    }
}

/// Some rows and columns of `[1, rows, columns]`.
fn part(array: &Array<f64>, rows: Range<usize>, columns: Range<usize>) -> Array<f64> {
    let lines = array.data.chunks(array.shape[2]).skip(rows.start).take(rows.len());
    let data = lines.flat_map(|line| &line[columns.clone()]).copied().collect();
    Array { shape: vec![1, rows.len(), columns.len()], data }
}

/// Sides that no level divides: upstream's convolutions round up, and a level is resized to the one below.
#[test]
fn any_size_of_input_is_taken() {
    for network in [tiny(), small(Block::Res2Net { scales: 4, width: 4 }, true, [Some(Deformable::V1); 4])] {
        for (height, width) in [(97, 33), (50, 130), (16, 16), (1, 1)] {
            let graph = graph(&network, [1, 3, height, width]);
            let preds = &graph.node(graph.output("preds").unwrap()).unwrap().shape;
            let size = Size { width, height };
            let head = network.facts(size).head;
            assert_eq!(*preds, [1, head.points(size), head.row()], "{height}x{width}");
            let input = ramp(3 * height * width, 1009).into_iter().map(|value| value as f32).collect();
            let input = Array { shape: vec![1, 3, height, width], data: input };
            let taps = taps(&graph, &weights(&graph, true), &input);
            assert!(taps["output.preds"].data.iter().all(|value| value.is_finite()));
        }
    }
}

/// A small network on a backbone of these blocks.
fn small(block: Block, deep: bool, deformable: [Option<Deformable>; 4]) -> GFocalV2 {
    let backbone = ResNet { deep, stem: 8, block, channels: 8, depths: [1, 2, 1, 1], deformable };
    let network = GFocalV2::on(backbone);
    GFocalV2 { neck: Fpn { channels: 64, ..network.neck }, channels: 64, stacked: 1, classes: 3, ..network }
}

const INPUT: [usize; 4] = [2, 3, 96, 64];

#[test]
fn gradients_of_a_network_equal_finite_differences() {
    let v2 = Some(Deformable { modulated: true, groups: 2 });
    let network = small(Block::Res2Net { scales: 4, width: 4 }, true, [None, None, Some(Deformable::V1), v2]);
    let graph = graph(&network, INPUT);
    let names = [
        "backbone.stem.3.weight",
        "backbone.layer1.0.downsample.1.weight",
        "backbone.layer2.0.convs.1.weight",
        "backbone.layer2.1.bns.2.bias",
        "backbone.layer3.0.convs.0.weight",
        "backbone.layer3.0.convs.2.conv_offset.weight",
        "backbone.layer4.0.convs.1.conv_offset.bias",
        "backbone.layer4.0.conv1.weight",
        "neck.lateral_convs.2.conv.weight",
        "neck.fpn_convs.3.conv.weight",
        "bbox_head.cls_convs.0.gn.weight",
        "bbox_head.gfl_cls.bias",
        "bbox_head.gfl_reg.weight",
        "bbox_head.scales.1.scale",
        "bbox_head.reg_conf.0.weight",
        "bbox_head.reg_conf.2.bias",
    ];
    check_gradients(&graph, &weights(&graph, true), INPUT, &names);

    let grouped = small(Block::Bottleneck { groups: 2, width: 4 }, false, [None, v2, None, None]);
    let liangheming = GFocalV2::liangheming();
    let neck = Fpn { channels: 64, ..liangheming.neck };
    let network = GFocalV2 { neck, tower_bias: true, quality: None, ..grouped };
    let graph = self::graph(&network, INPUT);
    let names = [
        "backbone.conv1.weight",
        "backbone.layer2.0.conv2.weight",
        "backbone.layer2.0.conv2.conv_offset.weight",
        "backbone.layer3.0.conv2.weight",
        "backbone.layer3.0.downsample.0.weight",
        "neck.fpn_convs.4.conv.weight",
        "bbox_head.reg_convs.0.conv.bias",
    ];
    check_gradients(&graph, &weights(&graph, true), INPUT, &names);
}

/// Batch norms behind deformable convolutions fold like any other.
#[test]
fn folded_batch_norms_change_nothing() {
    let deformable = [None, Some(Deformable::V1), Some(Deformable { modulated: true, groups: 1 }), None];
    let network = small(Block::Bottleneck { groups: 2, width: 4 }, false, deformable);
    let graph = graph(&network, INPUT);
    let weights = weights(&graph, true);
    let (folded, folding) = fold_batch_norms(&graph);
    assert!(!folded.nodes().iter().any(|node| matches!(node.op, Op::BatchNorm { .. })));
    let input = ramp(INPUT.iter().product(), 1009).into_iter().map(|value| value as f32).collect();
    let input = Array { shape: INPUT.to_vec(), data: input };
    let preds = |graph, weights| taps(graph, weights, &input)["output.preds"].wide();
    let (before, after) = (preds(&graph, &weights), preds(&folded, &folding.fold(&weights).unwrap()));
    let largest = before.iter().fold(0.0, |largest: f64, value| largest.max(value.abs()));
    for (before, after) in before.into_iter().zip(after) {
        assert!((before - after).abs() < TOLERANCE * largest, "{before} {after}");
    }
}

/// One deformable convolution in a graph.
fn deform_node(conv: DeformConv, x: [usize; 4]) -> Graph {
    let graph = Graph::write(x, |net, x| {
        let maps = |out| Conv { out, groups: 1, bias: false, ..conv.conv };
        let offsets = net.conv("offsets", x, maps(conv.offsets()));
        let mask = net.conv("mask", x, maps(conv.masks()));
        net.module("with", |net| net.deform_conv(x, offsets, Some(mask), conv));
    });
    graph.unwrap()
}

/// Upstream's deformable convolutions, with gradients for the input, the offsets and the kernel.
#[test]
fn deformable_convolutions_equal_the_original() {
    let file = converters::open(shipped().join("deform_conv.safetensors")).unwrap();
    let facts = json(&shipped().join("facts.json"));
    for (case, facts) in facts["deform_conv"].as_object().unwrap() {
        let fact = |name: &str| facts[name].as_u64().unwrap() as usize;
        let given = |name: &str| -> Array<f64> { recorded(&file, &format!("{case}.{name}")).to() };
        let [x, kernel] = ["input", "weight"].map(given);
        let conv = Conv {
            stride: [fact("stride"); 2],
            padding: [fact("padding"); 2],
            dilation: [fact("dilation"); 2],
            groups: fact("groups"),
            ..Conv::same(kernel.shape[0], 3)
        };
        let conv = DeformConv { conv, offset_groups: fact("deform_groups") };
        let graph = deform_node(conv, <[usize; 4]>::try_from(x.shape.clone()).unwrap());
        let node = graph.nodes().iter().find(|node| matches!(node.op, Op::DeformConv(_))).unwrap();
        let mut parameters = Parameters::<f64>::trainable(&graph, &synthetic_weights(&graph)).unwrap();
        parameters.set(node.parameters[0], &kernel).unwrap();
        let check = |ours: &Array<f64>, name: &str| {
            let error = error(ours, &file, &format!("{case}.{name}"));
            println!("{case}.{name}: {error:.2e}");
            assert!(error < 1e-6, "{case}.{name}: {error}");
        };
        let executor = Executor::new(&graph, &parameters, NormStatistics::Running);
        let check_output = |inputs: &[Array<f64>]| {
            let handles: Vec<_> = inputs.iter().map(|input| Handle::of(input).unwrap()).collect();
            check(&executor.apply(node, &handles).unwrap().array().unwrap(), "output");
        };
        if case == "modulated" {
            let maps = given("maps");
            let [offsets, mut mask] = [0..18, 18..27].map(|channels| some_channels(&maps, channels));
            mask.data.iter_mut().for_each(|value| *value = 1.0 / (1.0 + (-*value).exp()));
            check_output(&[x, offsets, mask]);
            continue;
        }
        let inputs = [x, given("offset")];
        check_output(&inputs);
        let gradients = executor.gradients(node, &inputs, &given("grad_output")).unwrap();
        let [Some(x), Some(offsets)] = &gradients.inputs[..] else { panic!("{gradients:?}") };
        check(x, "grad_input");
        check(offsets, "grad_offset");
        check(gradients.parameters[0].as_ref().unwrap(), "grad_weight");
    }
}

/// Some channels of `[N, C, H, W]`.
fn some_channels(array: &Array<f64>, channels: Range<usize>) -> Array<f64> {
    let [n, all, height, width] = <[usize; 4]>::try_from(array.shape.clone()).unwrap();
    let planes = array.data.chunks(height * width).enumerate();
    let chosen = planes.filter(|(plane, _)| channels.contains(&(plane % all)));
    let data = chosen.flat_map(|(_, plane)| plane).copied().collect();
    Array { shape: vec![n, channels.len(), height, width], data }
}

/// Tensors of the names and shapes of a code base, all zero.
fn named(file: &Path) -> Vec<converters::Tensor> {
    let tensor = |entry: &Json| {
        let shape: Vec<usize> = serde_json::from_value(entry["shape"].clone()).unwrap();
        let dtype = if entry["dtype"] == "int64" { Dtype::I64 } else { Dtype::F32 };
        let bytes = vec![0; shape.iter().product::<usize>() * dtype.size()];
        converters::Tensor::from_bytes(entry["name"].as_str().unwrap(), dtype, &shape, bytes).unwrap()
    };
    json(file)["tensors"].as_array().unwrap().iter().map(tensor).collect()
}

/// The same with the values of the reference data; counters stay zero.
fn filled(tensor: &converters::Tensor) -> converters::Tensor {
    if tensor.dtype() != Dtype::F32 {
        return tensor.clone();
    }
    let values = synthetic(tensor.name(), tensor.shape());
    let bytes: Vec<u8> = values.into_iter().flat_map(f32::to_le_bytes).collect();
    converters::Tensor::from_bytes(tensor.name(), Dtype::F32, tensor.shape(), bytes).unwrap()
}

#[track_caller]
fn check_identified(tensors: &[converters::Tensor], table: &str, network: &GFocalV2, defaulted: usize) {
    let found = identify(tensors, Request::default()).unwrap();
    assert_eq!((found.table.name(), &found.model), (table.to_owned(), &Model::from(network.clone())));
    assert_eq!((found.mapping.defaulted.len(), found.mapping.dropped.len()), (defaulted, 0));
}

/// The names and shapes of every code base tell the network, its version and its variant.
#[test]
fn every_code_base_is_recognised_by_its_names() {
    let Some(folder) = reference("gfocal-v2").map(|folder| folder.join("names")) else { return };
    for (name, network) in variants() {
        let tensors = named(&folder.join(format!("mmdet_{name}.json")));
        check_identified(&tensors, "gfocal-v2/upstream", &network, 0);
        let parallel: Vec<_> = tensors
            .iter()
            .map(|tensor| tensor.named(&format!("state_dict.module.{}", tensor.name())))
            .collect();
        check_identified(&parallel, "gfocal-v2/upstream", &network, 0);
        if network.backbone.deformable.iter().any(Option::is_some) {
            let old = |name: &str| name.replace(".conv_offset", "_offset");
            let old: Vec<_> = tensors.iter().map(|tensor| tensor.named(&old(tensor.name()))).collect();
            check_identified(&old, "gfocal-v2/mmdet-1", &network, 0);
        }
    }
    check_identified(&named(&folder.join("jittordet_gfl_r50_fpn.json")), "gfocal-v2/jittor", &on_input(), 54);
    let liangheming = named(&folder.join("liangheming_gfocal_r50.json"));
    let saved: Vec<_> =
        liangheming.iter().map(|tensor| tensor.named(&format!("ema.{}", tensor.name()))).collect();
    for tensors in [liangheming, saved] {
        check_identified(&tensors, "gfocal-v2/liangheming", &GFocalV2::liangheming(), 1);
    }
}

/// A file may hold 27 maps of offsets, or deform other stages than upstream's configurations.
#[test]
fn deformed_stages_are_told_from_the_shapes() {
    let v2 = Some(Deformable { modulated: true, groups: 1 });
    let backbone = ResNet { deformable: [None, v2, v2, Some(Deformable::V1)], ..ResNet::of_depth(50) };
    let network = Model::from(GFocalV2::on(backbone).clone());
    let graph = network.graph(Form::Training, [1, 3, 64, 64]).unwrap();
    let shapes = graph.parameters().iter().map(|p| (p.name.as_str(), p.shape.clone()));
    assert_eq!(GFocalV2::recognise(&shapes.collect()), Some(GFocalV2::on(backbone)));
    assert_eq!(network.name(), "gfocal-r50-dcnv2-fpn-256");
}

/// A checkpoint as upstream's trainer saves it, and its outputs.
#[test]
fn a_checkpoint_of_upstream_gives_its_outputs() {
    let Some(folder) = reference("gfocal-v2").map(|folder| folder.join("weights")) else { return };
    let loaded = load(&folder.join("gfocal-tiny.pth"), Request::default()).unwrap();
    assert_eq!(loaded.model, Model::from(tiny()));
    println!("{}", loaded.description);
    let recording = converters::open(folder.join("gfocal-tiny-io.safetensors")).unwrap();
    let input = input(&recording);
    let graph = loaded.model.graph(Form::Inference, [1, 3, 64, 96]).unwrap();
    let taps = taps(&graph, &loaded.weights, &input);
    for level in 0..5 {
        for (name, recorded) in [("cls_score", level), ("bbox_pred", 5 + level)] {
            let recorded = format!("output.{recorded}");
            let error = error(&taps[&format!("output.{name}.{level}")], &recording, &recorded);
            println!("{recorded}: {error:.2e}");
            assert!(error < TOLERANCE, "{recorded}: {error}");
        }
    }
}

/// Classifiers' weights as the part of a detector that training begins with; no file of that kind is a detector.
#[test]
fn backbones_are_read_from_classifiers() {
    let Some(folder) = reference("gfocal-v2").map(|folder| folder.join("names")) else { return };
    let r18 = ResNet { block: Block::Basic, depths: [2; 4], ..ResNet::of_depth(50) };
    let cases = [
        ("torchvision_resnet18", r18, 120, 2, 0),
        ("torchvision_resnet50", ResNet::of_depth(50), 318, 2, 0),
        ("torchvision_resnet101", ResNet::of_depth(101), 624, 2, 0),
        // Offsets begin at zero: a kernel and a bias in each of 30 blocks.
        ("torchvision_resnet101", ResNet::of_depth(101).deformed_from(1), 624, 2, 60),
        ("jittor_resnet50", ResNet::of_depth(50), 265, 2, 53),
    ];
    for (name, backbone, moved, dropped, defaulted) in cases {
        let tensors = named(&folder.join(format!("{name}.json")));
        let model = Model::from(GFocalV2::on(backbone));
        let found = identify_part(&tensors, &model).unwrap();
        let mapping = &found.mapping;
        let counts = (mapping.moves.len(), mapping.dropped.len(), mapping.defaulted.len());
        assert_eq!(counts, (moved, dropped, defaulted), "{name}");
        let graph = model.graph(Form::Training, [1, 3, 64, 64]).unwrap();
        let expected = graph.parameters().iter().filter(|parameter| parameter.name.starts_with("backbone."));
        let expected: Vec<_> = expected.map(|parameter| (&*parameter.name, &*parameter.shape)).collect();
        let filled = mapping.tensors().unwrap();
        assert_eq!(
            filled.iter().map(|one| (one.name(), one.shape())).collect::<Vec<_>>(),
            expected,
            "{name}"
        );
        assert!(matches!(identify(&tensors, Request::default()), Err(IdentifyError::Unknown { .. })));
        let other = Model::from(GFocalV2::on(ResNet::of_depth(152)));
        assert!(identify_part(&tensors, &other).is_err());
    }
}
