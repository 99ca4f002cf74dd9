//! Pre-processing, decoding and selection against NanoDet-Plus's own (reference data `nanodet-plus`).

use std::path::Path;

use crate::support::reference;
use network::models::nanodet_plus::NanoDetPlus;
use network::models::{DetectorFacts, Network, Size};
use port::detect::{Decoded, Detection, Placement, decode, detections, preprocess, priors};
use serde_json::Value as Json;
use vision::pictures::read_image;

const REAL_INPUT: Size = Size::square(416);

/// Input of the synthetic activations.
const SYNTHETIC_INPUT: Size = Size { width: 64, height: 96 };

fn facts(size: Size) -> DetectorFacts {
    NanoDetPlus::M.facts(size)
}

/// The values of an f32 tensor.
fn values(checkpoint: &converters::Checkpoint, name: &str) -> Vec<f32> {
    let tensor = checkpoint.tensor(name).unwrap_or_else(|| panic!("no tensor {name}"));
    assert_eq!(tensor.dtype(), converters::Dtype::F32, "{name}");
    let bytes = tensor.bytes().unwrap();
    bytes.as_chunks::<4>().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect()
}

/// Largest difference between values and a reference.
fn difference(values: impl IntoIterator<Item = f32>, reference: &[f32]) -> f32 {
    let values: Vec<f32> = values.into_iter().collect();
    assert_eq!(values.len(), reference.len());
    values.iter().zip(reference).map(|(value, reference)| (value - reference).abs()).fold(0.0, f32::max)
}

/// Scores, distances, boxes and points of synthetic weights, in f32; tolerances are a few roundings of the
/// largest values (1, 448 pixels).
#[test]
fn decoding_matches_the_original() {
    let Some(folder) = reference("nanodet-plus") else { return };
    for network in ["nanodet-plus-m", "nanodet-plus-m-1.5x"] {
        let file = converters::open(folder.join(network).join("activations.safetensors")).unwrap();
        let head = facts(SYNTHETIC_INPUT).head;
        let decoded =
            decode(&values(&file, "output.preds"), &head, SYNTHETIC_INPUT, SYNTHETIC_INPUT).unwrap();
        let of = |name| values(&file, name);
        assert!(difference(decoded.scores, &of("output.scores")) < 1e-6);
        assert!(difference(decoded.distances.into_iter().flatten(), &of("output.distances")) < 2e-4);
        assert!(difference(decoded.boxes.into_iter().flatten(), &of("output.boxes")) < 1e-4);
        let points =
            priors(&head, SYNTHETIC_INPUT).into_iter().flat_map(|[x, y, stride]| [x, y, stride, stride]);
        assert_eq!(difference(points, &of("output.priors")), 0.0);
    }
}

/// f64 agrees with f32 to f32's rounding: the decoding itself adds no noise.
#[test]
fn decoding_in_f64_agrees() {
    let Some(folder) = reference("nanodet-plus") else { return };
    let file = converters::open(folder.join("nanodet-plus-m/activations_real.safetensors")).unwrap();
    let head = facts(REAL_INPUT).head;
    let output: Vec<f64> = values(&file, "output.preds").into_iter().map(f64::from).collect();
    let decoded = decode(&output, &head, REAL_INPUT, REAL_INPUT).unwrap();
    let boxes = decoded.boxes.into_iter().flatten().map(|corner| corner as f32);
    assert!(difference(boxes, &values(&file, "output.boxes")) < 2e-4);
}

/// The output of the published weights for a photograph, decoded.
fn real_output(folder: &Path) -> Decoded<f32> {
    let file = converters::open(folder.join("nanodet-plus-m/activations_real.safetensors")).unwrap();
    let decoded =
        decode(&values(&file, "output.preds"), &facts(REAL_INPUT).head, REAL_INPUT, REAL_INPUT).unwrap();
    assert!(difference(decoded.boxes.clone().into_iter().flatten(), &values(&file, "output.boxes")) < 2e-4);
    decoded
}

/// Upstream's detections of a photograph and its size.
fn expected(folder: &Path, file: &str) -> (Vec<Detection>, Size) {
    let text = std::fs::read_to_string(folder.join("detect/detections.json")).unwrap();
    let document: Json = serde_json::from_str(&text).unwrap();
    let images = document["images"].as_array().unwrap();
    let image = images.iter().find(|image| image["file"] == file).unwrap();
    let detection = |json: &Json| Detection {
        corners: [0, 1, 2, 3].map(|corner| json["bbox"][corner].as_f64().unwrap() as f32),
        score: json["score"].as_f64().unwrap() as f32,
        class: json["class_id"].as_u64().unwrap() as usize,
    };
    let side = |name: &str| image[name].as_u64().unwrap() as usize;
    let size = Size { width: side("width"), height: side("height") };
    (image["detections"].as_array().unwrap().iter().map(detection).collect(), size)
}

/// From the same output come the same detections: number, order and class of all 100, scores and corners to the
/// roundings of f32.
#[test]
fn selection_matches_the_original() {
    let Some(folder) = reference("nanodet-plus") else { return };
    let facts = facts(REAL_INPUT);
    let (expected, picture) = expected(&folder, "000000000036.jpg");
    let placement = Placement::new(&facts.preprocessing, picture);
    let found = detections(real_output(&folder), &placement, &facts.selection);
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().zip(&expected) {
        assert_eq!(found.class, expected.class);
        assert!((found.score - expected.score).abs() < 1e-6, "{found:?} for {expected:?}");
        assert!(difference(found.corners, &expected.corners) < 1e-3, "{found:?} for {expected:?}");
    }
}

/// The photographs are decoded to upstream's bytes: the sums are equal (means are given with six decimals).
#[test]
fn photographs_have_the_colours_of_the_original() {
    let Some(folder) = reference("nanodet-plus") else { return };
    let text = std::fs::read_to_string(folder.join("detect/detections.json")).unwrap();
    let document: Json = serde_json::from_str(&text).unwrap();
    for image in document["images"].as_array().unwrap() {
        let picture = read_image(&folder.join("detect").join(image["file"].as_str().unwrap())).unwrap();
        assert_eq!(u64::from(picture.width()), image["width"].as_u64().unwrap());
        assert_eq!(u64::from(picture.height()), image["height"].as_u64().unwrap());
        let count = f64::from(picture.width() * picture.height());
        for channel in 0..3 {
            let sum: f64 = picture.pixels().map(|pixel| f64::from(pixel.0[2 - channel])).sum();
            let expected = image["mean_bgr"][channel].as_f64().unwrap();
            assert!((sum / count - expected).abs() < 1e-6, "{}, {channel}: {}", image["file"], sum / count);
        }
    }
}

/// Every value is upstream's but for the last bits of f32.
#[test]
fn preprocessing_matches_the_original() {
    let Some(folder) = reference("nanodet-plus") else { return };
    let file = converters::open(folder.join("nanodet-plus-m/activations_real.safetensors")).unwrap();
    let picture = read_image(&folder.join("detect/000000000036.jpg")).unwrap();
    let input = preprocess(&picture, &facts(REAL_INPUT).preprocessing);
    assert_eq!(difference(input, &values(&file, "input")), 0.0);
}
