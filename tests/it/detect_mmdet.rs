//! Pre-processing, decoding and suppression as mmdetection does them (reference data `gfocal-v2`).

use crate::support::{json, reference, values};
use converters::Checkpoint;
use image::RgbImage;
use network::models::gfocal_v2::GFocalV2;
use network::models::{DetectorFacts, Head, Network, ResNet, Selection, Size};
use port::detect::{Decoded, Detection, Placement, decode, detections, preprocess, select};
use serde_json::Value as Json;
use vision::pictures::{PictureSize, resize};

fn facts(limit: Size, classes: usize, is_second: bool) -> DetectorFacts {
    let backbone = ResNet::of_depth(50);
    let network = if is_second { GFocalV2::on(backbone) } else { GFocalV2::v1(backbone) };
    network.with_classes(classes).facts(limit)
}

fn size(hw: &Json) -> Size {
    Size { width: hw[1].as_u64().unwrap() as usize, height: hw[0].as_u64().unwrap() as usize }
}

fn difference(values: impl IntoIterator<Item = f32>, reference: &[f32]) -> f32 {
    let values: Vec<f32> = values.into_iter().collect();
    assert_eq!(values.len(), reference.len());
    values.iter().zip(reference).map(|(value, reference)| (value - reference).abs()).fold(0.0, f32::max)
}

fn integers(file: &Checkpoint, name: &str) -> Vec<usize> {
    let bytes = file.tensor(name).unwrap().bytes().unwrap();
    bytes.as_chunks::<8>().0.iter().map(|&bytes| i64::from_le_bytes(bytes) as usize).collect()
}

/// Columns of scores and sides, level by level, as the networks here give them.
fn rows(file: &Checkpoint, levels: usize) -> Vec<f32> {
    let mut rows = Vec::new();
    for level in 0..levels {
        let planes = ["cls_score", "bbox_pred"].map(|name| values(file, &format!("{name}.{level}")));
        let shape = file.tensor(&format!("cls_score.{level}")).unwrap().shape().to_vec();
        let points = shape[2] * shape[3];
        for point in 0..points {
            for planes in &planes {
                rows.extend(planes.iter().skip(point).step_by(points));
            }
        }
    }
    rows
}

fn decoded(case: &Json, file: &Checkpoint, head: &Head) -> Decoded<f32> {
    let output = rows(file, head.strides.len());
    decode(&output, head, size(&case["pad_shape"]), size(&case["img_shape"])).unwrap()
}

fn corners_and_scores(detections: &[Detection]) -> Vec<f32> {
    detections.iter().flat_map(|one| one.corners.into_iter().chain([one.score])).collect()
}

/// Distances, boxes, scores and the detections that are left, in the input's pixels and in the picture's.
#[test]
fn decoding_and_suppression_match_the_original() {
    let Some(folder) = reference("gfocal-v2") else { return };
    let all = json(&folder.join("head/facts.json"));
    for (name, is_second) in [("gfocal", true), ("gfl_v1", false), ("nothing", true)] {
        let case = &all["decode"][name];
        let file = converters::open(folder.join(format!("head/decode_{name}.safetensors"))).unwrap();
        let facts = facts(Size::square(1), case["classes"].as_u64().unwrap() as usize, is_second);
        let decoded = decoded(case, &file, &facts.head);
        // Recorded in strides, of which there are up to 16.
        let strides = decoded.levels.iter().zip(&facts.head.strides);
        let strides = strides.flat_map(|(points, stride)| std::iter::repeat_n(*stride as f32, *points));
        let ours = decoded.distances.iter().zip(strides);
        let ours = ours.flat_map(|(sides, stride)| sides.map(|side| side / stride));
        let expected: Vec<f32> =
            (0..5).flat_map(|level| values(&file, &format!("distance.{level}"))).collect();
        let worst = difference(ours, &expected);
        assert!(worst < 1e-5, "{name}: {worst}");

        let factor = |at: usize| case["scale_factor"][at].as_f64().unwrap();
        let placement = Placement {
            picture: Size::square(10_000),
            input: size(&case["pad_shape"]),
            scaled: size(&case["img_shape"]),
            offset: [0; 2],
            scale: [factor(0), factor(1)],
            shift: [0.0; 2],
        };
        let found = detections(decoded, &placement, &facts.selection);
        let classes: Vec<usize> = found.iter().map(|one| one.class).collect();
        assert_eq!(classes, integers(&file, "final.kept_classes.labels"), "{name}");
        let expected = values(&file, "final.kept_classes.dets");
        let worst = difference(corners_and_scores(&found), &expected);
        assert!(worst < 2e-4, "{name}: {worst}");
    }
}

/// An overlap of exactly the threshold, in f32, does not suppress.
#[test]
fn suppression_keeps_the_box_at_the_threshold() {
    let Some(folder) = reference("gfocal-v2") else { return };
    let file = converters::open(folder.join("head/batched_nms.safetensors")).unwrap();
    let labels = integers(&file, "labels");
    let columns = labels.iter().max().unwrap() + 1;
    let mut scores = vec![0.0; labels.len() * columns];
    for (point, (label, score)) in labels.iter().zip(values(&file, "scores")).enumerate() {
        scores[point * columns + label] = score;
    }
    let boxes: Vec<[f32; 4]> = values(&file, "boxes").as_chunks::<4>().0.to_vec();
    let decoded = Decoded {
        classes: columns,
        columns,
        levels: vec![labels.len()],
        scores,
        distances: vec![[0.0; 4]; labels.len()],
        boxes,
    };
    let rule = facts(Size::square(1), columns, true).selection;
    let found = select(&decoded, &Selection { score_threshold: 0.0, best_of_level: None, ..rule });
    assert_eq!(corners_and_scores(&found), values(&file, "dets"));
}

/// Bytes of the resized pictures and values of the tensors, all of them.
#[test]
fn preprocessing_matches_the_original() {
    let Some(folder) = reference("gfocal-v2") else { return };
    let all = json(&folder.join("preprocess/facts.json"));
    let file = converters::open(folder.join("preprocess/pipeline.safetensors")).unwrap();
    for (name, case) in all["cases"].as_object().unwrap() {
        let picture = |part: &str| {
            let tensor = file.tensor(&format!("{name}.{part}_bgr")).unwrap();
            let (height, width) = (tensor.shape()[0] as u32, tensor.shape()[1] as u32);
            let mut bytes = tensor.bytes().unwrap();
            bytes.as_chunks_mut::<3>().0.iter_mut().for_each(|pixel| pixel.reverse());
            RgbImage::from_raw(width, height, bytes).unwrap()
        };
        let source = picture("source");
        let scale = &case["img_scale"];
        let limit =
            Size { width: scale[0].as_u64().unwrap() as usize, height: scale[1].as_u64().unwrap() as usize };
        let facts = facts(limit, 80, true).preprocessing;
        let Size { width, height } = size(&case["img_shape"]);
        let to = PictureSize { width: width as u32, height: height as u32 };
        assert_eq!(resize(&source, to), picture("resized"), "{name}");
        let tensor = preprocess(&source, &facts);
        assert_eq!(difference(tensor, &values(&file, &format!("{name}.tensor"))), 0.0, "{name}");
    }
}

/// Sizes and scales at 1333 x 800.
#[test]
fn sizes_match_the_original() {
    let Some(folder) = reference("gfocal-v2") else { return };
    let all = json(&folder.join("preprocess/facts.json"));
    let facts = facts(Size { width: 1333, height: 800 }, 80, true).preprocessing;
    for (name, case) in all["sizes_for_1333x800"].as_object().unwrap() {
        let (height, width) = name.split_once('x').unwrap();
        let picture = Size { width: width.parse().unwrap(), height: height.parse().unwrap() };
        let placement = Placement::new(&facts, picture);
        assert_eq!(placement.scaled, size(&case["resized_hw"]), "{name}");
        assert_eq!(placement.input, size(&case["padded_hw"]), "{name}");
        let factors: Vec<f64> = serde_json::from_value(case["scale_factor"].clone()).unwrap();
        assert_eq!(placement.scale.to_vec(), factors, "{name}");
    }
}
