//! Mapping tables and recognition against real checkpoints, and against every way in which one tensor can be wrong.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::support::{gold_yolo_tiny, reference, repository};
use converters::{Dtype, Tensor};
use files::Failure;
use network::models::gfocal_v2::GFocalV2;
use network::models::gold_yolo::GoldYolo;
use network::models::nanodet_plus::{Auxiliary, NanoDetPlus};
use network::models::{Block, Deformable, Fpn, Model, ResNet, family, preset};
use port::identify::{IdentifyError, Request, expected_parameters, figures, identify};
use port::mapping::{Expected, Table, tables};
use proptest::prelude::*;
use rayon::prelude::*;
use serde_json::Value as Json;

fn sample() -> PathBuf {
    repository().join("samples/nanodet-plus-shapes.pth")
}

/// A network small enough to make thousands of.
fn tiny(classes: usize, auxiliary: bool) -> Model {
    let mut config = NanoDetPlus { channels: 16, stacked: 1, classes, ..NanoDetPlus::M };
    config.backbone.stem = 8;
    config.backbone.stages = [16, 24, 32];
    config.auxiliary = auxiliary.then_some(Auxiliary { channels: 32, stacked: 1 });
    config.into()
}

/// Another one: a Res2Net with deformable stages, or plain and without quality.
fn tiny_gfocal(classes: usize, is_v1: bool) -> Model {
    let v1 = Some(Deformable::V1);
    let v2 = Some(Deformable { modulated: true, groups: 1 });
    let (block, deformable) = match is_v1 {
        true => (Block::Basic, [None; 4]),
        false => (Block::Res2Net { scales: 4, width: 2 }, [None, None, v1, v2]),
    };
    let backbone = ResNet { deep: !is_v1, stem: 8, block, channels: 4, depths: [1, 2, 1, 2], deformable };
    let upstream = if is_v1 { GFocalV2::v1(backbone) } else { GFocalV2::on(backbone) };
    let neck = Fpn { channels: 16, ..upstream.neck };
    GFocalV2 { neck, channels: 32, stacked: 2, classes, ..upstream }.into()
}

/// Canonical tensors with numbers that differ; counters are zero and constants what the network says.
fn weights_of(model: &Model, salt: u32) -> Vec<Tensor> {
    let mut state = salt;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        f64::from(state >> 8) / 1024.0
    };
    let tensor = |parameter: &Expected| {
        let count = parameter.shape.iter().product();
        let values = match (&parameter.constant, parameter.dtype) {
            (Some(values), _) => values.clone(),
            (None, Dtype::I64) => vec![0.0; count],
            (None, _) => (0..count).map(|_| next()).collect(),
        };
        Tensor::from_values(&parameter.name, parameter.dtype, &parameter.shape, &values).unwrap()
    };
    expected_parameters(model).unwrap().iter().map(tensor).collect()
}

/// Name, type, shape and bytes, sorted by name.
fn content(tensors: &[Tensor]) -> Vec<(String, Dtype, Vec<usize>, Vec<u8>)> {
    let of = |tensor: &Tensor| {
        (tensor.name().to_owned(), tensor.dtype(), tensor.shape().to_vec(), tensor.bytes().unwrap())
    };
    let mut all: Vec<_> = tensors.iter().map(of).collect();
    all.sort_by(|left, right| left.0.cmp(&right.0));
    all
}

/// The trainer's own checkpoint: the average is taken, the other weights and the optimiser are named.
#[test]
fn a_lightning_checkpoint_gives_its_average() {
    let Some(folder) = reference("nanodet-plus") else { return };
    let checkpoint = converters::open_unnamed(folder.join("weights/tiny_lightning.ckpt")).unwrap();
    let listing = std::fs::read_to_string(folder.join("weights/tiny_lightning.json")).unwrap();
    let listing: Json = serde_json::from_str(&listing).unwrap();
    for (wanted, prefix) in [(None, "avg_model."), (Some("model"), "model.")] {
        let found =
            identify(checkpoint.tensors(), Request { weights: wanted, ..Request::default() }).unwrap();
        assert_eq!(found.table.name(), "nanodet-plus/upstream");
        assert_eq!((found.model.classes(), found.model.has_auxiliary()), (6, true));
        assert_eq!(found.weights.beginning, format!("state_dict.{prefix}"));
        let tensors = found.mapping.tensors().unwrap();
        assert_eq!(tensors.len(), 869);
        for tensor in &tensors {
            let entry = &listing["state_dict"][format!("{prefix}{}", tensor.name())];
            assert_eq!(serde_json::json!(tensor.shape()), entry[0], "{}", tensor.name());
            let mut sum = 0.0;
            tensor
                .read(&mut |chunk| {
                    let elements = chunk.chunks(tensor.dtype().size());
                    sum += elements.map(|element| converters::decode(tensor.dtype(), element)).sum::<f64>();
                    Ok(())
                })
                .unwrap();
            let theirs = entry[2].as_f64().unwrap();
            assert!(
                (sum - theirs).abs() <= 1e-9 * theirs.abs().max(1.0),
                "{}: {sum} {theirs}",
                tensor.name()
            );
        }
        let beside: Vec<_> =
            found.weights.beside.iter().map(|one| (one.beginning.as_str(), one.tensors)).collect();
        let other = if wanted.is_some() { "state_dict.avg_model." } else { "state_dict.model." };
        assert!(beside.contains(&(other, 869)), "{beside:?}");
        assert!(
            beside.iter().any(|(name, _)| *name == "optimizer_states") && beside.len() == 3,
            "{beside:?}"
        );
    }
}

#[test]
fn the_published_weights_are_recognised() {
    let Some(folder) = reference("nanodet-plus") else { return };
    let checkpoint = converters::open(folder.join("weights/nanodet-plus-m_416_coco.pth")).unwrap();
    let found = identify(checkpoint.tensors(), Request::default()).unwrap();
    assert_eq!((found.model.name().as_str(), found.model.classes()), ("nanodet-plus-m", 80));
    assert!(!found.model.has_auxiliary());
    assert_eq!((found.mapping.moves.len(), found.weights.name.as_str()), (645, "weights"));
    assert!(found.mapping.dropped.is_empty() && found.mapping.defaulted.is_empty());
}

#[test]
fn other_networks_are_not_taken_for_known_ones() {
    // The first layers of SSD300 in torchvision; its backbone has no batch norms.
    let shapes: [(&str, &[usize]); 5] = [
        ("backbone.scale_weight", &[512]),
        ("backbone.features.0.weight", &[64, 3, 3, 3]),
        ("backbone.features.0.bias", &[64]),
        ("head.classification_head.module_list.0.weight", &[364, 512, 3, 3]),
        ("head.classification_head.module_list.0.bias", &[364]),
    ];
    let tensors = shapes.map(|(name, shape)| {
        let values = vec![0.5; shape.iter().product()];
        Tensor::from_values(name, Dtype::F32, shape, &values).unwrap()
    });
    let error = identify(&tensors, Request::default()).unwrap_err();
    assert!(matches!(error, IdentifyError::Unknown { .. }), "{error}");
}

#[test]
fn the_sample_keeps_every_byte() {
    let checkpoint = converters::open(sample()).unwrap();
    let found = identify(checkpoint.tensors(), Request::default()).unwrap();
    assert_eq!(found.description(), "nanodet-plus-0.5x-64 with 6 classes and the auxiliary branch");
    let mapped = found.mapping.tensors().unwrap();
    let bare = checkpoint.at_root("state_dict").unwrap();
    assert_eq!(content(&mapped), content(bare.tensors()));
    // Nothing was copied: the tensors are views of the file.
    assert!(mapped.iter().all(|tensor| bare.tensors().iter().any(|other| other.shares_storage(tensor))));
}

/// The dialect of a Jittor port: its own scale shape, no counters, perhaps no constant.
#[test]
fn a_jittor_checkpoint_is_completed() {
    let model = tiny(4, true);
    let canonical = weights_of(&model, 1);
    let table = Table::shipped("nanodet-plus/jittor").unwrap();
    let foreign = table.invert(&canonical, &figures(&model)).unwrap();
    assert!(!foreign.tensors.iter().any(|tensor| tensor.name().ends_with("num_batches_tracked")));
    let without_constant = foreign.tensors.iter().filter(|tensor| !tensor.name().ends_with(".project"));
    let file: Vec<Tensor> =
        without_constant.map(|tensor| tensor.named(&format!("model_state_dict.{}", tensor.name()))).collect();
    let scale = file.iter().find(|tensor| tensor.name().ends_with("scales.0.scale")).unwrap();
    assert_eq!(scale.shape(), [1]);
    let found = identify(&file, Request::default()).unwrap();
    assert_eq!((found.table.name().as_str(), &found.model), ("nanodet-plus/jittor", &model));
    assert_eq!(content(&found.mapping.tensors().unwrap()), content(&canonical));
    assert_eq!(found.mapping.defaulted.len(), foreign.omitted.len() + 1);
}

/// Every table serves every variant of its family.
#[test]
fn tables_cover_their_families() {
    for table in tables() {
        for model in family(table.family()).unwrap().presets.iter().map(|preset| preset.model()) {
            for model in [model.with_classes(1), model.clone(), model.without_auxiliary()] {
                let expected = expected_parameters(&model).unwrap();
                let coverage =
                    table.cover(&expected, &figures(&model)).unwrap_or_else(|error| panic!("{error}"));
                let filled = expected.iter().filter(|parameter| table.fills(&parameter.name)).count();
                assert_eq!(coverage.foreign.len() + coverage.defaulted.len(), filled);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    /// There and back again, from both sides, name by name and byte by byte.
    #[test]
    fn tables_can_be_read_in_both_directions(classes in 1..40_usize, auxiliary: bool, salt: u32) {
        let models = [
            tiny(classes, auxiliary),
            tiny_gfocal(classes, auxiliary),
            GoldYolo { classes, ..gold_yolo_tiny() }.into(),
        ];
        let of_tables = tables().iter().filter_map(|table| {
            Some((table, models.iter().find(|model| model.family().name == table.family())?))
        });
        for (table, model) in of_tables {
            let mut canonical = weights_of(model, salt);
            canonical.retain(|tensor| table.fills(tensor.name()));
            let expected = expected_parameters(model).unwrap();
            let foreign = table.invert(&canonical, &figures(model)).unwrap().tensors;
            let weights = table.choose(&foreign, None).unwrap();
            let mapped = table.apply(&weights, &expected, &figures(model)).unwrap().tensors().unwrap();
            prop_assert_eq!(content(&mapped), content(&canonical));
            let again = table.invert(&mapped, &figures(model)).unwrap().tensors;
            prop_assert_eq!(content(&again), content(&foreign));
        }
    }
}

/// What the error says of the one tensor that was changed.
fn names_at_fault(tensors: &[Tensor]) -> Vec<String> {
    let error = identify(tensors, Request::default()).unwrap_err();
    assert!(!error.problems().is_empty(), "{error}");
    error.problems().iter().map(|problem| problem.name().to_owned()).collect()
}

/// The tensor at `index` renamed, doubled, transposed and removed: each time it alone is at fault.
fn one_is_wrong(tensors: &[Tensor], index: usize) {
    let (tensor, name) = (&tensors[index], tensors[index].name());
    let odd = format!("{name}x");
    let mut changed = tensors.to_vec();
    changed[index] = tensor.named(&odd);
    let mut at_fault = names_at_fault(&changed);
    at_fault.sort();
    assert_eq!(at_fault, [name, &odd], "{name} renamed");

    changed[index] = tensor.clone();
    changed.push(tensor.named(&odd));
    assert_eq!(names_at_fault(&changed), [odd], "{name} and another");
    changed.pop();

    let axes: Vec<usize> = (0..tensor.shape().len()).rev().collect();
    let transposed = tensor.transposed(&axes).unwrap();
    if transposed.shape() != tensor.shape() {
        changed[index] = transposed;
        assert_eq!(names_at_fault(&changed), [name], "{name} transposed");
    }

    changed.remove(index);
    assert_eq!(names_at_fault(&changed), [name], "{name} missing");
}

/// Whichever tensor is renamed, missing, doubled or transposed: that one is named, and no other network is seen.
#[test]
fn one_wrong_tensor_is_named_whichever_it_is() {
    let training = weights_of(&tiny(7, true), 3);
    (0..training.len()).into_par_iter().for_each(|index| one_is_wrong(&training, index));
    // Most of it is the same without the auxiliary branch.
    let inference = weights_of(&tiny(7, false), 3);
    (0..inference.len()).into_par_iter().step_by(7).for_each(|index| one_is_wrong(&inference, index));
    let constant = inference.iter().position(|tensor| tensor.name().ends_with(".project")).unwrap();
    one_is_wrong(&inference, constant);
    for model in [tiny_gfocal(7, false), tiny_gfocal(7, true)] {
        let tensors = weights_of(&model, 3);
        (0..tensors.len()).into_par_iter().step_by(5).for_each(|index| one_is_wrong(&tensors, index));
    }
    let gold_yolo = weights_of(&gold_yolo_tiny().into(), 3);
    (0..gold_yolo.len()).into_par_iter().step_by(9).for_each(|index| one_is_wrong(&gold_yolo, index));
}

#[test]
fn what_the_user_names_is_what_is_compared() {
    let checkpoint = converters::open(sample()).unwrap();
    let with = |model| identify(checkpoint.tensors(), Request { model: Some(model), ..Request::default() });
    assert!(with("nanodet-plus").is_ok());
    let error = with("nanodet-plus-m").unwrap_err();
    assert!(error.to_string().starts_with("taken for nanodet-plus-m with 6 classes"), "{error}");
    assert!(error.problems().iter().any(|problem| problem.kind() == "shape"));
    assert!(with("resnet").unwrap_err().is_usage());
    let table = Table::shipped("nanodet-plus/upstream").unwrap();
    let request = Request { table: Some(table), weights: Some("avg"), ..Request::default() };
    let error = identify(checkpoint.tensors(), request).unwrap_err().to_string();
    assert!(error.contains("no weights `avg`") && error.contains("--weights weights"), "{error}");
}

/// Sizes that a hostile file claims do not make us build anything large.
#[test]
fn absurd_shapes_are_no_evidence() {
    let model = tiny(3, false);
    let mut tensors = weights_of(&model, 5);
    for tensor in &mut tensors {
        if tensor.name().ends_with(".project") || tensor.name().contains("gfl_cls") {
            *tensor = Tensor::from_bytes(tensor.name(), Dtype::F32, &[1 << 40, 0], vec![]).unwrap();
        }
    }
    assert!(identify(&tensors, Request::default()).is_err());
}

/// The nearest name is the one that was meant.
#[test]
fn the_nearest_name_is_suggested() {
    let model = &preset("nanodet-plus-m").unwrap().model().without_auxiliary().with_classes(2);
    let mut tensors = weights_of(model, 9);
    let right = "fpn.top_down_blocks.0.blocks.0.ghost1.primary_conv.0.weight";
    let wrong = "fpn.top_down_blocks.0.blocks.0.ghost1.primary_convs.0.weight";
    let place = tensors.iter().position(|tensor| tensor.name() == right).unwrap();
    tensors[place] = tensors[place].named(wrong);
    let error = identify(&tensors, Request::default()).unwrap_err();
    let near: BTreeMap<&str, &str> =
        error.problems().iter().map(|problem| (problem.name(), problem.near()[0].name.as_str())).collect();
    assert_eq!(near, BTreeMap::from([(wrong, right), (right, wrong)]));
}
