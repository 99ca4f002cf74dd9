//! `port detect`.

use std::io::Cursor;
use std::path::{Path, PathBuf};

use image::{ImageFormat, RgbImage};
use serde_json::Value as Json;

use crate::{Ran, Sandbox, repository};

const SAMPLE: &str = "nanodet-plus-shapes.pth";

/// A directory with the sample network and some of its pictures.
fn sample(pictures: &[&str]) -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.copy(&format!("samples/{SAMPLE}"));
    for picture in pictures {
        sandbox.copy(&format!("samples/shapes/{picture}"));
    }
    sandbox
}

fn detect(sandbox: &Sandbox, arguments: &[&str]) -> Ran {
    let fixed = ["detect", "--weights", SAMPLE, "--image-size", "192"];
    sandbox.port(&[&fixed, arguments].concat())
}

/// A detection of either side: picture, class, score, corners.
#[derive(Debug, Clone)]
struct Found {
    picture: String,
    class: u64,
    score: f64,
    corners: [f64; 4],
}

fn numbers(json: &Json) -> [f64; 4] {
    [0, 1, 2, 3].map(|index| json[index].as_f64().unwrap())
}

fn from_width([left, top, width, height]: [f64; 4]) -> [f64; 4] {
    [left, top, left + width, top + height]
}

/// The detections in what `port detect --json` printed.
fn found(document: &Json) -> Vec<Found> {
    let images = document["images"].as_array().unwrap().iter();
    let of_image = |image: &Json| {
        let name =
            Path::new(image["file"].as_str().unwrap()).file_name().unwrap().to_str().unwrap().to_owned();
        let detections = image["detections"].as_array().unwrap().clone();
        detections.into_iter().map(move |detection| Found {
            picture: name.clone(),
            class: detection["class_id"].as_u64().unwrap(),
            score: detection["score"].as_f64().unwrap(),
            corners: from_width(numbers(&detection["bbox"])),
        })
    };
    images.flat_map(of_image).collect()
}

/// Every detection of one side that scores more than 0.1 has its like among all of the other side: the same
/// class, score within 0.01, corners within 2 pixels. (Near 0.1 the two sides may differ in which they have.)
fn assert_same(ours: &[Found], theirs: &[Found]) {
    let like = |one: &Found, other: &Found| {
        let corners = one.corners.iter().zip(other.corners).all(|(a, b)| (a - b).abs() < 2.0);
        let same = one.picture == other.picture && one.class == other.class;
        same && corners && (one.score - other.score).abs() < 0.01
    };
    for (side, others) in [(ours, theirs), (theirs, ours)] {
        let clear: Vec<&Found> = side.iter().filter(|one| one.score > 0.1).collect();
        assert!(!clear.is_empty());
        for one in clear {
            assert!(others.iter().any(|other| like(one, other)), "nothing like {one:?}");
        }
    }
}

/// The published COCO weights on three photographs, against upstream's detections.
#[test]
fn photographs_show_what_the_original_sees() {
    let Some(reference) = reference() else { return };
    let weights = reference.join("weights/nanodet-plus-m_416_coco.pth");
    let pictures = ["000000000030.jpg", "000000000036.jpg", "000000000061.jpg"];
    let pictures = pictures.map(|name| reference.join("detect").join(name).to_str().unwrap().to_owned());
    let ran = Sandbox::new().port(&[
        "detect",
        &pictures[0],
        &pictures[1],
        &pictures[2],
        "--weights",
        weights.to_str().unwrap(),
        "--json",
    ]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let text = std::fs::read_to_string(reference.join("detect/detections.json")).unwrap();
    let mut expected: Json = serde_json::from_str(&text).unwrap();
    for image in expected["images"].as_array_mut().unwrap() {
        for detection in image["detections"].as_array_mut().unwrap() {
            // There boxes are corners.
            let [left, top, right, bottom] = numbers(&detection["bbox"]);
            detection["bbox"] = serde_json::json!([left, top, right - left, bottom - top]);
        }
    }
    assert_same(&found(&ran.json()), &found(&expected));
    assert_eq!(ran.json()["images"][1]["detections"][0]["label"], "person");
}

/// The NanoDet-Plus reference data beside the repository, if there.
fn reference() -> Option<PathBuf> {
    let folder = repository("../shared/reference/nanodet-plus");
    if folder.is_dir() {
        return Some(folder);
    }
    assert!(std::env::var_os("CI").is_none(), "no reference data at {}", folder.display());
    eprintln!("SKIPPED: no reference data at {}", folder.display());
    None
}

/// The sample network on its 24 pictures, as JSON and as COCO results, against upstream's detections.
#[test]
fn samples_show_what_the_original_sees() {
    let sandbox = Sandbox::new();
    let [weights, pictures, annotations] =
        [SAMPLE, "shapes", "shapes/annotations.json"].map(|name| repository("samples").join(name));
    let ran = sandbox.port(&[
        "detect",
        pictures.to_str().unwrap(),
        "--weights",
        weights.to_str().unwrap(),
        "--image-size=192x192",
        "--coco=results.json",
        "--names",
        annotations.to_str().unwrap(),
        "--json",
    ]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let text = std::fs::read_to_string(repository("samples/nanodet-plus-shapes.expected.json")).unwrap();
    let expected: Json = serde_json::from_str(&text).unwrap();
    let expected = results(&expected["detections"]);
    assert_same(&found(&ran.json()), &expected);
    let written = std::fs::read_to_string(sandbox.path("results.json")).unwrap();
    assert_same(&results(&serde_json::from_str(&written).unwrap()), &expected);
    assert_eq!(ran.json()["images"].as_array().unwrap().len(), 24);
}

/// The detections in results in COCO's form, for the sample's pictures and classes.
fn results(json: &Json) -> Vec<Found> {
    let entry = |json: &Json| Found {
        picture: format!("{:06}.jpg", json["image_id"].as_u64().unwrap()),
        class: json["category_id"].as_u64().unwrap() - 1,
        score: json["score"].as_f64().unwrap(),
        corners: from_width(numbers(&json["bbox"])),
    };
    json.as_array().unwrap().iter().map(entry).collect()
}

#[test]
fn the_table_has_what_is_clear_and_json_has_all() {
    let sandbox = sample(&["000001.jpg"]);
    let names = ["--names", "circle,square,triangle,star,cross,ring"];
    let ran = detect(&sandbox, &[&["000001.jpg", "--draw-threshold", "0.5"][..], &names].concat());
    assert!(ran.stdout.starts_with("nanodet-plus-shapes.pth: nanodet-plus"), "{}", ran.stdout);
    assert!(ran.stdout.contains("\ninput 192x192\n\n000001.jpg (320x320): "), "{}", ran.stdout);
    assert!(ran.stdout.contains("label") && ran.stdout.contains("1 picture in "), "{}", ran.stdout);
    let json = detect(&sandbox, &[&["000001.jpg", "--json"][..], &names].concat()).json();
    assert_eq!(json["weights"], SAMPLE);
    assert_eq!(
        (json["images"][0]["width"].as_u64(), json["images"][0]["height"].as_u64()),
        (Some(320), Some(320))
    );
    let detections = json["images"][0]["detections"].as_array().unwrap();
    let scores: Vec<f64> = detections.iter().map(|one| one["score"].as_f64().unwrap()).collect();
    assert!(scores.is_sorted_by(|a, b| a >= b) && scores.iter().all(|score| *score > 0.05));
    assert_eq!(ran.stdout.matches("  0.").count(), scores.iter().filter(|score| **score >= 0.5).count());
    let few =
        detect(&sandbox, &["000001.jpg", "--json", "--max-detections=3", "--score-threshold=0.2"]).json();
    assert_eq!(few["images"][0]["detections"].as_array().unwrap().len(), 3);
    assert!(few["images"][0]["detections"][0]["label"].as_str().unwrap().starts_with("class "));
}

#[test]
fn drawings_are_saved_apart_from_their_originals() {
    let sandbox = sample(&["000001.jpg", "000002.jpg"]);
    let picture = image::open(sandbox.path("000002.jpg")).unwrap();
    picture.save(sandbox.path("other.png")).unwrap();
    let ran = detect(&sandbox, &["000001.jpg", "other.png", "--save", "new/drawn"]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let drawn = image::open(sandbox.path("new/drawn/other.png.jpg")).unwrap();
    assert_eq!((drawn.width(), drawn.height()), (picture.width(), picture.height()));
    assert!(sandbox.path("new/drawn/000001.jpg").exists());
    let before = std::fs::read(sandbox.path("000001.jpg")).unwrap();
    let ran = detect(&sandbox, &["000001.jpg", "--save", "."]);
    assert_eq!(ran.code, 2);
    assert!(ran.stderr.contains("000001.jpg is an input"), "{}", ran.stderr);
    assert_eq!(std::fs::read(sandbox.path("000001.jpg")).unwrap(), before);
    assert_eq!(detect(&sandbox, &["000001.jpg", "./000001.jpg", "--save", "twice"]).code, 2);
}

fn encoded(width: u32, height: u32, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    RgbImage::new(width, height).write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

#[test]
fn pictures_that_cannot_be_read_name_file_and_reason() {
    let sandbox = sample(&[]);
    let jpeg = encoded(64, 64, ImageFormat::Jpeg);
    sandbox
        .file("cut.jpg", &jpeg[..jpeg.len() / 2])
        .file("empty.jpg", "")
        .file("text.jpg", "no picture")
        .file("pixel.png", encoded(1, 1, ImageFormat::Png))
        .file("wide.jpg", encoded(20_000, 8, ImageFormat::Jpeg));
    for (file, class, message) in [
        ("cut.jpg", "corrupt", "cannot be decoded"),
        ("empty.jpg", "truncated", "the file is empty"),
        ("text.jpg", "not-an-image", "not a picture"),
        ("pixel.png", "limit", "1x1 pixels"),
        ("wide.jpg", "limit", "20000x8 pixels; at most 16384 on a side"),
        ("absent.jpg", "io", "No such file"),
    ] {
        let ran = detect(&sandbox, &[file, "--json"]);
        let error = &ran.json()["error"];
        assert_eq!((ran.code, error["class"].as_str()), (3, Some(class)), "{file}: {}", ran.stderr);
        assert_eq!(error["file"], file);
        assert!(error["message"].as_str().unwrap().contains(message), "{error}");
    }
}

#[test]
fn wrong_arguments_are_usage_errors() {
    let sandbox = sample(&["000001.jpg"]);
    std::fs::create_dir(sandbox.path("nothing")).unwrap();
    for (arguments, message) in [
        (&["000001.jpg", "--image-size", "200"][..], "multiples of 32"),
        (&["000001.jpg", "--image-size", "wide"], "WIDTHxHEIGHT"),
        (&["000001.jpg", "--score-threshold", "7"], "from 0 to 1"),
        (&["000001.jpg", "--threads", "0"], "threads"),
        (&["000001.jpg", "--names", "a,b"], "2 class names for 6 classes"),
        (&["nothing"], "no pictures"),
        (&[], "required"),
    ] {
        let fixed = ["detect", "--weights", SAMPLE];
        let ran = sandbox.port(&[&fixed, arguments].concat());
        assert_eq!(ran.code, 2, "{arguments:?}: {}", ran.stderr);
        assert!(ran.stderr.contains(message), "{}", ran.stderr);
    }
}

#[test]
fn a_checkpoint_of_no_known_network_is_an_input_error() {
    let sandbox = sample(&["000001.jpg"]);
    sandbox.copy("tests/data/formats/pytorch/zip_state_dict.pth");
    let ran = sandbox.port(&["detect", "000001.jpg", "--weights", "zip_state_dict.pth", "--json"]);
    assert_eq!(ran.code, 3, "{}", ran.stderr);
    assert!(
        ran.stderr.contains("zip_state_dict.pth") && ran.json()["error"]["class"] == "unknown-network",
        "{}",
        ran.stderr
    );
}

#[test]
fn results_never_replace_what_is_read() {
    let sandbox = sample(&["000009.jpg"]);
    for input in ["000009.jpg", SAMPLE] {
        let before = std::fs::read(sandbox.path(input)).unwrap();
        let ran = detect(&sandbox, &["000009.jpg", "--coco", input]);
        assert_eq!(ran.code, 2, "{}", ran.stderr);
        assert!(ran.stderr.contains("another file"), "{}", ran.stderr);
        assert_eq!(std::fs::read(sandbox.path(input)).unwrap(), before);
    }
    assert_eq!(detect(&sandbox, &["000009.jpg", "--threads", "100000"]).code, 2);
}

#[test]
fn weights_that_are_no_numbers_are_not_an_empty_picture() {
    let sandbox = sample(&["000009.jpg"]);
    assert_eq!(sandbox.port(&["convert", SAMPLE, "--to", "safetensors", "-o", "nan.safetensors"]).code, 0);
    let mut bytes = std::fs::read(sandbox.path("nan.safetensors")).unwrap();
    let checkpoint = converters::open(sandbox.path("nan.safetensors")).unwrap();
    let kernel = checkpoint.tensor("state_dict.backbone.conv1.0.weight").unwrap().bytes().unwrap();
    let at = bytes.windows(kernel.len()).position(|window| window == kernel).unwrap();
    bytes[at..at + 4].fill(0xff);
    sandbox.file("nan.safetensors", &bytes);
    let ran = sandbox.port(&["detect", "000009.jpg", "--weights", "nan.safetensors", "--image-size", "192"]);
    assert_eq!(ran.code, 3, "{}", ran.stdout);
    assert!(ran.stderr.contains("port verify"), "{}", ran.stderr);
}
