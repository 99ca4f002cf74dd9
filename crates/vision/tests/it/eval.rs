//! Evaluation against the numbers of pycocotools and of the VOC development kit.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::support::{reference, repository};
use serde_json::Value as Json;
use sha2::{Digest, Sha256};
use vision::eval::coco::{ClassRow, Evaluation, Settings, evaluate};
use vision::eval::voc::{self, Class, Detection, Object, Scene, add_results, read_ground_truth};
use vision::eval::{Error, Id, Rules, Warning, read_annotations, read_file, read_results};

/// Means depend on the order of summation.
const TOLERANCE: f64 = 1e-12;

fn json(file: &Path) -> Json {
    serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap()
}

/// The cases of a folder, sorted by name.
fn cases(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut cases: Vec<PathBuf> = entries.filter(|path| path.join("expected.json").is_file()).collect();
    cases.sort();
    cases
}

/// Evaluates a case with its parameters; warnings of the annotations come first.
fn evaluated(case: &Path, expected: &Json, rules: Rules) -> Result<Evaluation, Error> {
    let (annotations, results) = (case.join("gt.json"), case.join("dt.json"));
    let (truth, mut warnings) = read_annotations(&read_file(&annotations)?, &annotations, rules)?;
    let detections = read_results(&read_file(&results)?, &results, &truth, rules)?;
    let mut evaluation = evaluate(&truth, &detections, &settings(&expected["params"], rules))?;
    warnings.append(&mut evaluation.warnings);
    evaluation.warnings = warnings;
    Ok(evaluation)
}

fn settings(parameters: &Json, rules: Rules) -> Settings {
    let numbers = |name: &str| -> Option<Vec<i64>> {
        Some(parameters[name].as_array()?.iter().map(|number| number.as_i64().unwrap()).collect())
    };
    let ids = |name: &str| numbers(name).map(|ids| ids.into_iter().map(Id::Number).collect());
    let limits = numbers("max_dets").map(|limits| [0, 1, 2].map(|index| limits[index] as usize));
    Settings {
        max_detections: limits.unwrap_or([1, 10, 100]),
        image_ids: ids("img_ids"),
        category_ids: ids("cat_ids"),
        class_agnostic: parameters["use_cats"] == 0,
        limit: None,
        rules,
    }
}

fn sha256(values: impl Iterator<Item = f64>) -> String {
    let mut hash = Sha256::new();
    values.for_each(|value| hash.update(value.to_le_bytes()));
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn assert_close(what: &str, ours: f64, theirs: &Json) {
    let theirs = theirs.as_f64().unwrap();
    assert!((ours - theirs).abs() <= TOLERANCE, "{what}: {ours} instead of {theirs}");
}

/// Compares everything that a reference states; AP is that at the largest limit unless pycocotools' rules hold.
fn assert_equal(case: &str, ours: &Evaluation, theirs: &Json, rules: Rules) {
    let hashes = [sha256(ours.precision()), sha256(ours.recall()), sha256(ours.scores())];
    for (hash, name) in hashes.iter().zip(["sha256_precision", "sha256_recall", "sha256_scores"]) {
        assert_eq!(Some(hash.as_str()), theirs[name].as_str(), "{case}: {name}");
    }
    for (index, stat) in ours.stats().into_iter().enumerate() {
        let theirs = match (index, rules) {
            (0, Rules::Sound) => &theirs["ap_at_largest_max_dets"],
            _ => &theirs["stats"][index],
        };
        assert_close(&format!("{case}: stat {index}"), stat, theirs);
    }
    let rows = theirs["per_class"].as_array().unwrap();
    assert_eq!(ours.classes.len(), rows.len(), "{case}");
    for (class, theirs) in ours.classes.iter().zip(rows) {
        if let Some(id) = &class.id {
            assert_eq!(id.json(), theirs["category_id"], "{case}");
        }
        assert_row(&format!("{case}: class {:?}", class.id), class.row(), theirs);
    }
}

fn assert_row(what: &str, ours: ClassRow, theirs: &Json) {
    let [ap_small, ap_medium, ap_large] = ours.ap_by_size;
    let [ar_small, ar_medium, ar_large] = ours.ar_by_size;
    for (name, ours) in [
        ("ap", ours.ap),
        ("ap50", ours.ap50),
        ("ap75", ours.ap75),
        ("ap_small", ap_small),
        ("ap_medium", ap_medium),
        ("ap_large", ap_large),
        ("ar", ours.ar),
        ("ar_small", ar_small),
        ("ar_medium", ar_medium),
        ("ar_large", ar_large),
    ] {
        assert_close(&format!("{what}: {name}"), ours, &theirs[name]);
    }
}

/// What must happen by our rules, beside the numbers: a warning, or an error that says these words.
enum Wanted {
    Quiet,
    Warns(&'static [&'static str]),
    Fails(&'static str),
}

fn wanted(case: &str) -> Wanted {
    match case {
        "annotation_id_zero" => Wanted::Warns(&["annotation-id-zero"]),
        "gold_yolo_custom" => Wanted::Warns(&["annotation-id-zero"]),
        "duplicate_annotation_ids" => Wanted::Warns(&["repeated-annotation-ids"]),
        "missing_area" => Wanted::Warns(&["missing-area"]),
        "missing_iscrowd" => Wanted::Warns(&["missing-iscrowd"]),
        "orphan_annotations" => Wanted::Warns(&["unlisted-images", "unlisted-categories"]),
        "negative_size" => Wanted::Warns(&["negative-objects", "negative-detections"]),
        "no_gt_at_all" => Wanted::Warns(&["no-objects"]),
        "empty_detections" => Wanted::Warns(&["no-detections"]),
        "unknown_category" => Wanted::Warns(&["unknown-categories"]),
        "labels_instead_of_ids" => Wanted::Warns(&["unknown-categories", "looks-like-labels"]),
        "params_max_dets_300" | "params_max_dets_5" => Wanted::Warns(&["other-limit"]),
        "missing_score" => Wanted::Fails("result 5 (the first is 0): `score` is missing"),
        "nan_score" => Wanted::Fails("result 3 (the first is 0): `score` is not finite"),
        "null_score" => Wanted::Fails("result 3 (the first is 0): `score` is not a number"),
        "nan_box" => Wanted::Fails("result 5 (the first is 0): `bbox` is not finite"),
        "short_box" => Wanted::Fails("result 5 (the first is 0): `bbox` has 3 numbers"),
        "results_as_object" => Wanted::Fails("results must be an array"),
        "unknown_image" => {
            Wanted::Fails("1 detections are in 1 images that the annotations do not have: 999999 (1)")
        }
        _ => Wanted::Quiet,
    }
}

fn check_sound(case: &Path) {
    let (name, expected) = (name(case), json(&case.join("expected.json")));
    let theirs = match &expected["wanted_reference"] {
        Json::Null => &expected["reference"],
        wanted => wanted,
    };
    let kinds =
        |evaluation: &Evaluation| -> Vec<&str> { evaluation.warnings.iter().map(Warning::kind).collect() };
    match (evaluated(case, &expected, Rules::Sound), wanted(&name)) {
        (Ok(ours), Wanted::Quiet) => {
            assert_eq!(kinds(&ours), [""; 0], "{name}");
            assert_equal(&name, &ours, theirs, Rules::Sound);
        }
        (Ok(ours), Wanted::Warns(warnings)) => {
            assert_eq!(kinds(&ours), warnings, "{name}");
            assert_equal(&name, &ours, theirs, Rules::Sound);
        }
        (Err(error), Wanted::Fails(words)) => {
            assert!(error.to_string().contains(words), "{name}: {error}");
        }
        (Ok(_), Wanted::Fails(words)) => panic!("{name} should fail: {words}"),
        (Err(error), _) => panic!("{name}: {error}"),
    }
}

/// pycocotools' numbers, or a refusal where it raises an exception.
fn check_pycocotools(case: &Path) {
    let (name, expected) = (name(case), json(&case.join("expected.json")));
    let theirs = &expected["reference"];
    match evaluated(case, &expected, Rules::Pycocotools) {
        Ok(ours) => {
            assert_eq!(theirs["ok"], true, "{name}: pycocotools says {}", theirs["error"]);
            assert_equal(&name, &ours, theirs, Rules::Pycocotools);
        }
        Err(error) => assert_eq!(theirs["ok"], false, "{name}: {error}"),
    }
}

fn name(case: &Path) -> String {
    case.file_name().unwrap().to_string_lossy().into_owned()
}

fn shipped(folder: &str) -> Vec<PathBuf> {
    cases(&repository().join("tests/data/eval").join(folder))
}

#[test]
fn shipped_cases_have_the_numbers_of_their_references() {
    assert_eq!(shipped("coco").len(), 17);
    for case in shipped("coco") {
        check_sound(&case);
        check_pycocotools(&case);
    }
    assert_eq!(shipped("voc").len(), 8);
    shipped("voc").iter().for_each(|case| check_voc(case));
}

#[test]
fn numbers_are_pycocotools_numbers_where_it_is_right() {
    let Some(folder) = reference("eval") else { return };
    let cases = cases(&folder.join("coco"));
    assert_eq!(cases.len(), 45);
    cases.iter().for_each(|case| check_sound(case));
}

#[test]
fn strictly_numbers_are_pycocotools_numbers_where_it_is_wrong() {
    let Some(folder) = reference("eval") else { return };
    cases(&folder.join("coco")).iter().for_each(|case| check_pycocotools(case));
}

/// Every point of the curves of 200 images, for all areas and 100 detections.
#[test]
fn curves_are_pycocotools_curves() {
    let Some(folder) = reference("eval") else { return };
    let case = folder.join("coco/coco200");
    let ours = evaluated(&case, &json(&case.join("expected.json")), Rules::Sound).unwrap();
    let curves = converters::open(case.join("curves.safetensors")).unwrap();
    let theirs = |name: &str| -> Vec<f64> {
        let bytes = curves.tensor(name).unwrap().bytes().unwrap();
        bytes.as_chunks::<8>().0.iter().map(|bytes| f64::from_le_bytes(*bytes)).collect()
    };
    let points = || (0..10).flat_map(|iou| (0..101).map(move |recall| (iou, recall)));
    let classes = || ours.classes.iter();
    let precision: Vec<f64> = points()
        .flat_map(|(iou, recall)| classes().map(move |class| class.precision(iou, 0, 2)[recall]))
        .collect();
    let scores: Vec<f64> = points()
        .flat_map(|(iou, recall)| classes().map(move |class| class.scores(iou, 0, 2)[recall]))
        .collect();
    let recall: Vec<f64> =
        (0..10).flat_map(|iou| classes().map(move |class| class.recall(iou, 0, 2))).collect();
    assert!(precision == theirs("precision"));
    assert!(scores == theirs("scores"));
    assert!(recall == theirs("recall"));
}

#[test]
fn results_do_not_depend_on_the_number_of_threads() {
    let case = &shipped("coco")[0];
    let expected = json(&case.join("expected.json"));
    let run = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| evaluated(case, &expected, Rules::Sound).unwrap())
    };
    assert_eq!(run(1), run(4));
}

/// A scene as the reference writes it: objects by image, detections in a list.
fn scene(case: &Path) -> Scene {
    let (truth, detections) = (json(&case.join("gt.json")), json(&case.join("dt.json")));
    let corners = |record: &Json| [0, 1, 2, 3].map(|index| record["bbox"][index].as_f64().unwrap());
    let class = |record: &Json| record["class"].as_str().unwrap().to_owned();
    let images: Vec<&String> = truth.as_object().unwrap().keys().collect();
    let mut classes: BTreeMap<String, Class> = BTreeMap::new();
    for (image, name) in (0..).zip(&images) {
        for object in truth[name.as_str()].as_array().unwrap() {
            let is_difficult = object["difficult"] == 1;
            let object_class = classes.entry(class(object)).or_default();
            object_class.objects.push(Object { image, corners: corners(object), is_difficult });
        }
    }
    for one in detections.as_array().unwrap() {
        let image = images.iter().position(|name| one["image"] == **name).unwrap() as u32;
        let score = one["score"].as_f64().unwrap();
        let detection = Detection { image, corners: corners(one), score };
        classes.entry(class(one)).or_default().detections.push(detection);
    }
    let named = |(name, class)| Class { name, ..class };
    Scene { classes: classes.into_iter().map(named).collect() }
}

fn check_voc(case: &Path) {
    check_scene(&name(case), &scene(case), &json(&case.join("expected.json")));
}

fn check_scene(case: &str, scene: &Scene, expected: &Json) {
    let devkit = voc::Settings::default();
    for (name, settings) in [
        ("devkit", devkit),
        ("no_plus_one", voc::Settings { plus_one: false, ..devkit }),
        ("strict_iou", voc::Settings { strict_iou: true, ..devkit }),
    ] {
        let ours = voc::evaluate(scene, &settings);
        let theirs = expected[name]["per_class"].as_object().unwrap();
        assert_eq!(ours.len(), theirs.len(), "{case}");
        for class in &ours {
            assert_class(&format!("{case}, {name}, {}", class.name), class, &theirs[&class.name]);
        }
        for (map, values) in [
            ("map07", ours.iter().map(|class| class.ap07).collect::<Vec<_>>()),
            ("map10", ours.iter().map(|class| class.ap10).collect()),
        ] {
            let mean = voc::mean_average_precision(values).unwrap();
            assert_close(&format!("{case}, {name}: {map}"), mean, &expected[name][map]);
        }
    }
}

fn assert_class(what: &str, ours: &voc::ClassResult, theirs: &Json) {
    assert_eq!(theirs["npos"], ours.objects, "{what}");
    assert_eq!(theirs["dets"], ours.detections, "{what}");
    for (name, value) in [("ap07", ours.ap07), ("ap10", ours.ap10)] {
        match value {
            Some(value) => assert_close(&format!("{what}: {name}"), value, &theirs[name]),
            None => assert!(theirs[name].is_null(), "{what}: {name}"),
        }
    }
    if ours.objects > 0 {
        assert_eq!(theirs["tp"], ours.true_positives, "{what}");
        assert_eq!(theirs["fp"], ours.false_positives, "{what}");
    }
}

#[test]
fn voc_numbers_are_the_development_kits() {
    let Some(folder) = reference("eval") else { return };
    let cases = cases(&folder.join("voc"));
    assert_eq!(cases.len(), 9);
    cases.iter().for_each(|case| check_voc(case));
}

#[test]
fn the_development_kits_files_give_the_same_numbers() {
    let Some(folder) = reference("eval") else { return };
    let case = folder.join("voc/mixed");
    let set = case.join("test.txt");
    let mut truth = read_ground_truth(&case.join("Annotations"), Some(&set)).unwrap();
    let results = add_results(&mut truth, &case.join("results"), Some(&set)).unwrap();
    assert_eq!((truth.files.len(), results.len()), (40, 6));
    check_scene("mixed files", &truth.scene, &json(&case.join("expected.json")));
}
