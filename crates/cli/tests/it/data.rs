//! `port data`.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value as Json;

use crate::{Ran, Sandbox, repository};

/// A directory with the sample pictures and their annotations in `shapes`.
fn sample() -> Sandbox {
    let sandbox = Sandbox::new();
    std::fs::create_dir(sandbox.path("shapes")).unwrap();
    for entry in std::fs::read_dir(repository("samples/shapes")).unwrap() {
        let from = entry.unwrap().path();
        std::fs::copy(&from, sandbox.path("shapes").join(from.file_name().unwrap())).unwrap();
    }
    sandbox
}

/// A data set of one picture, 320x320, and this file.
fn with(files: &[(&str, &str)]) -> Sandbox {
    let sandbox = Sandbox::new();
    for (name, content) in files {
        let file = sandbox.path(name);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        match *content {
            "PICTURE" => drop(std::fs::copy(repository("samples/shapes/000001.jpg"), file).unwrap()),
            content => std::fs::write(file, content).unwrap(),
        }
    }
    sandbox
}

/// Reason and count of everything that `port data check` found.
fn reasons(ran: &Ran) -> Vec<(String, u64)> {
    let document = ran.json();
    let reasons = document["defects"]["reasons"].as_array().unwrap().iter();
    reasons.map(|one| (one["reason"].as_str().unwrap().to_owned(), one["count"].as_u64().unwrap())).collect()
}

fn owned(expected: &[(&str, u64)]) -> Vec<(String, u64)> {
    expected.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect()
}

#[test]
fn statistics_count_everything() {
    let sandbox = sample();
    let ran = sandbox.port(&["data", "stats", "shapes/annotations.json", "--strict", "--json"]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let statistics = &ran.json()["statistics"];
    assert_eq!((&statistics["images"], &statistics["objects"]), (&Json::from(24), &Json::from(102)));
    assert_eq!(statistics["images_without_objects"], 2);
    let classes = statistics["classes"].as_array().unwrap();
    assert_eq!(classes.iter().map(|class| class["objects"].as_u64().unwrap()).sum::<u64>(), 102);
    assert_eq!(classes[0]["name"], "circle");
}

/// From format to format and back, the boxes stay.
#[test]
fn converting_in_a_circle_changes_nothing() {
    let sandbox = sample();
    let steps = [
        &["shapes/annotations.json", "--to", "voc", "-o", "voc"][..],
        &["voc", "--to", "yolo", "-o", "yolo", "--copy-images"],
        &["yolo", "--to", "coco", "-o", "again.json", "--strict"],
        &["again.json", "--images", "shapes", "--to", "coco", "-o", "copied", "--copy-images"],
    ];
    for step in steps {
        let ran = sandbox.port(&[&["data", "convert"], step].concat());
        assert_eq!(ran.code, 0, "{step:?}: {}{}", ran.stdout, ran.stderr);
    }
    let boxes = |file: &str| -> Vec<Json> {
        let document: Json = serde_json::from_slice(&std::fs::read(sandbox.path(file)).unwrap()).unwrap();
        let boxes = document["annotations"].as_array().unwrap();
        boxes.iter().map(|one| one["bbox"].as_array().unwrap().iter().map(Json::as_f64).collect()).collect()
    };
    assert_eq!(boxes("again.json"), boxes("shapes/annotations.json"));
    assert_eq!(boxes("copied/all.json"), boxes("again.json"));
    assert!(sandbox.path("copied/images/000024.jpg").is_file());
}

#[test]
fn defects_of_yolo_are_counted() {
    let labels = "\u{feff}0 0.5 0.5 0.25 0.25\r\n\r\n1 0.5 0.5 0.1 0.1\r\n0 1.5 0.5 0.1 0.1\r\n0 0.5 0.5 0 0.1\r\n\
                  0 0.5 0.5 -0.1 0.1\r\n0 nan 0.5 0.1 0.1\r\n0 0.5\r\nred 0.5 0.5 0.1 0.1\r\n";
    let sandbox = with(&[
        ("d/images/größe.jpg", "PICTURE"),
        ("d/images/empty.jpg", "PICTURE"),
        ("d/images/text.jpg", "this is no picture"),
        ("d/labels/größe.txt", labels),
        ("d/labels/gone.txt", "0 0.5 0.5 0.1 0.1"),
        ("d/classes.txt", "\u{feff}circle\r\n"),
    ]);
    let ran = sandbox.port(&["data", "check", "d", "--json", "--strict"]);
    assert_eq!(ran.code, 1, "{}", ran.stderr);
    let expected = [
        ("not-finite", 1),
        ("zero-size", 1),
        ("negative-size", 1),
        ("beyond-border", 1),
        ("unknown-class", 1),
        ("malformed", 2),
        ("no-size", 1),
        ("label-without-image", 1),
        ("unreadable-image", 1),
        ("no-objects", 1),
    ];
    assert_eq!(reasons(&ran), owned(&expected));
    assert_eq!((&ran.json()["images"], &ran.json()["objects"]), (&Json::from(2), &Json::from(1)));
    assert_eq!(sandbox.port(&["data", "check", "d"]).code, 0);
    let refused = sandbox.port(&["data", "convert", "d", "--to", "voc", "-o", "out", "--strict"]);
    assert_eq!(refused.code, 1);
    assert!(refused.stdout.contains("nothing was written") && !sandbox.path("out").exists());
}

fn voc(name: &str, objects: &str) -> String {
    let size = "<size><width>320</width><height>200</height></size>";
    format!("<annotation><filename>{name}</filename>{size}{objects}</annotation>")
}

fn voc_object(class: &str, corners: [&str; 4]) -> String {
    let [left, top, right, bottom] = corners;
    let corners = format!("<xmin>{left}</xmin><ymin>{top}</ymin><xmax>{right}</xmax><ymax>{bottom}</ymax>");
    format!("<object><name>{class}</name><bndbox>{corners}</bndbox></object>")
}

#[test]
fn defects_of_voc_are_counted() {
    let objects = [
        voc_object("circle", ["1", "1", "320", "320"]),
        voc_object("circle", ["20.5", "1", "40", "30"]),
        voc_object("circle", ["40", "1", "20", "30"]),
        voc_object("circle", ["40", "1", "500", "30"]),
        voc_object("dog", ["1", "1", "30", "30"]),
        voc_object("circle", ["one", "1", "30", "30"]),
    ];
    let sandbox = with(&[
        ("d/JPEGImages/a.jpg", "PICTURE"),
        ("d/Annotations/a.xml", &voc("other.jpg", &objects.concat())),
        ("d/Annotations/b.xml", &voc("b.jpg", "")),
        ("d/Annotations/c.xml", "<annotation>&bomb;</annotation>"),
        ("d/ImageSets/Main/val.txt", "a\r\nb  1\r\na\r\n../x\r\nnone\r\n\r\n"),
        ("d/classes.txt", "circle\n"),
    ]);
    let ran = sandbox.port(&["data", "check", "d", "--split", "val", "--json"]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let mut expected = vec![
        ("swapped-corners", 1),
        ("beyond-border", 1),
        ("unknown-class", 1),
        ("malformed", 1),
        ("unsafe-name", 1),
        ("not-annotated", 1),
        ("missing-image", 1),
        ("other-size", 1),
        ("duplicate-name", 1),
        ("other-name", 1),
        ("fractional", 1),
        ("no-objects", 1),
    ];
    assert_eq!(reasons(&ran), owned(&expected));
    expected.retain(|(name, _)| !["unsafe-name", "not-annotated", "duplicate-name"].contains(name));
    expected.insert(4, ("unreadable", 1));
    let ran = sandbox.port(&["data", "check", "d", "--json"]);
    assert_eq!(reasons(&ran), owned(&expected));
}

#[test]
fn the_exif_orientation_is_a_defect() {
    let sandbox =
        with(&[("d/labels/a.txt", "0 0.5 0.5 0.5 0.5"), ("d/images/b.txt", ""), ("d/classes.txt", "x")]);
    let jpeg = std::fs::read(repository("samples/shapes/000002.jpg")).unwrap();
    let exif = b"\xff\xe1\0\x22Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0";
    sandbox.file("d/images/a.jpg", [&jpeg[..2], exif, &jpeg[2..]].concat());
    let ran = sandbox.port(&["data", "check", "d", "--json"]);
    assert_eq!(reasons(&ran), owned(&[("turned", 1)]));
    let example = &ran.json()["defects"]["reasons"][0]["examples"][0]["detail"];
    assert_eq!(example, "240x320 upright");
}

#[test]
fn splits_are_disjoint_complete_and_repeatable() {
    let sandbox = sample();
    let split = |output: &str, seed: &str| {
        let fixed = ["data", "split", "shapes/annotations.json", "--ratio", "3:1", "--json"];
        let ran = sandbox.port(&[&fixed[..], &["-o", output, "--seed", seed]].concat());
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        ["train", "val"].map(|part| {
            let bytes = std::fs::read(Path::new(&sandbox.path(output)).join(format!("{part}.json"))).unwrap();
            let document: Json = serde_json::from_slice(&bytes).unwrap();
            let images = document["images"].as_array().unwrap().iter();
            images.map(|image| image["file_name"].as_str().unwrap().to_owned()).collect::<BTreeSet<_>>()
        })
    };
    let [train, val] = split("a", "7");
    assert_eq!((train.len(), val.len(), train.union(&val).count()), (18, 6, 24));
    assert_eq!([train, val.clone()], split("b", "7"));
    assert_ne!(val, split("c", "8")[1]);
}

#[test]
fn nothing_is_written_over() {
    let sandbox = sample();
    let before = std::fs::read(sandbox.path("shapes/annotations.json")).unwrap();
    for (to, output, message) in [
        ("coco", "shapes/annotations.json", "is the input"),
        ("coco", "shapes", "is there already"),
        ("yolo", "shapes", "is there already"),
        ("voc", "shapes/annotations.json", "is there already"),
    ] {
        let ran = sandbox.port(&["data", "convert", "shapes/annotations.json", "--to", to, "-o", output]);
        assert_eq!(ran.code, 2, "{to}: {}", ran.stderr);
        assert!(ran.stderr.contains(message), "{}", ran.stderr);
    }
    assert_eq!(std::fs::read(sandbox.path("shapes/annotations.json")).unwrap(), before);
}

#[test]
fn wrong_arguments_and_files_are_told_apart() {
    let sandbox = with(&[
        ("empty/x", ""),
        ("d/labels/a.txt", ""),
        ("bad.json", "{\"images\": 3}"),
        ("y/data.yaml", "names: *a"),
    ]);
    for (arguments, code, message) in [
        (&["check", "nothing"][..], 3, "nothing"),
        (&["check", "empty"], 3, "no data set"),
        (&["check", "d"], 3, "no names of classes"),
        (&["check", "d", "--names", "x"], 3, "no data set"),
        (&["check", "bad.json"], 3, "bad.json: `images` is not a list; give"),
        (&["check", "y"], 3, "line 1"),
        (&["check", "bad.json", "--split", "val"], 3, "there is no split"),
        (&["check", "d", "--names", "x,x"], 2, "named twice"),
        (&["split", "d", "-o", "o", "--ratio", "8"], 2, "two parts or more"),
        (&["convert", "d", "-o", "o"], 2, "--to"),
        (&["check"], 2, "DATA"),
    ] {
        let ran = sandbox.port(&[&["data"], arguments, &["--json"]].concat());
        assert_eq!(ran.code, code, "{arguments:?}: {}", ran.stderr);
        assert!(ran.stderr.contains(message), "{arguments:?}: {}", ran.stderr);
        assert!(ran.json()["error"]["message"].is_string());
    }
}
