//! `port eval`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde_json::{Value as Json, json};

use crate::{Ran, Sandbox, repository, support};

/// A directory with a case's annotations and results.
fn case(name: &str) -> Sandbox {
    let sandbox = Sandbox::new();
    for file in ["gt.json", "dt.json"] {
        sandbox.copy(&format!("tests/data/eval/coco/{name}/{file}"));
    }
    sandbox
}

const FILES: [&str; 6] = ["eval", "coco", "--annotations", "gt.json", "--results", "dt.json"];

fn coco(sandbox: &Sandbox, arguments: &[&str]) -> Ran {
    sandbox.port(&[&FILES, arguments].concat())
}

fn expected(name: &str) -> Json {
    let file = repository(&format!("tests/data/eval/coco/{name}/expected.json"));
    serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap()
}

fn assert_stats(ours: &Json, theirs: &Json) {
    let numbers = |stats: &Json| -> Vec<f64> {
        stats.as_array().unwrap().iter().map(|number| number.as_f64().unwrap()).collect()
    };
    let (ours, theirs) = (numbers(ours), numbers(theirs));
    assert_eq!(ours.len(), 12);
    assert!(ours.iter().zip(&theirs).all(|(a, b)| (a - b).abs() <= 1e-12), "{ours:?} {theirs:?}");
}

#[test]
fn tables_have_what_is_measured_and_say_where_nothing_is() {
    let ran = coco(&case("tiny"), &[]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    for line in [
        "annotations  gt.json (",
        "AP      0.50:0.95  all            100  0.3515\n",
        "AR1     0.50:0.95  all              1  0.2500\n",
        "class  objects  detections      AP    AP50    AP75      AR  best F1  at score\n",
        "c1           2           3  0.7030  1.0000  0.5050  0.7000   1.0000     0.800\n",
        "c2           1           0  0.0000  0.0000  0.0000  0.0000      n/a       n/a\n",
    ] {
        assert!(ran.stdout.contains(line), "{line}{}", ran.stdout);
    }
}

#[test]
fn a_document_has_the_numbers_and_what_they_were_made_from() {
    let sandbox = case("tiny");
    let document = coco(&sandbox, &["--json"]).json();
    assert_stats(&document["stats"], &expected("tiny")["reference"]["stats"]);
    assert_eq!(document["stats_names"][8], "AR100");
    assert_eq!(document["warnings"], json!([]));
    assert_eq!(document["per_class"][0]["best_f1"]["score"], 0.8);
    assert_eq!(document["per_class"][1]["category_id"], 2);
    let provenance = &document["provenance"];
    assert_eq!(provenance["annotations"]["sha256"].as_str().unwrap().len(), 64);
    assert_eq!(provenance["settings"]["max_detections"], json!([1, 10, 100]));
    assert_eq!(provenance["tool"], concat!("port ", env!("CARGO_PKG_VERSION")));
}

#[test]
fn odd_data_are_counted_or_refused() {
    let ran = coco(&case("annotation_id_zero"), &["--json"]);
    assert_stats(&ran.json()["stats"], &expected("annotation_id_zero")["wanted_reference"]["stats"]);
    assert_eq!(ran.json()["warnings"][0]["kind"], "annotation-id-zero");
    let strict = coco(&case("annotation_id_zero"), &["--json", "--strict-pycocotools"]);
    assert_stats(&strict.json()["stats"], &expected("annotation_id_zero")["reference"]["stats"]);
    let empty = coco(&case("empty_detections"), &[]);
    assert!(empty.code == 0 && empty.stdout.contains("warning: there are no detections"), "{}", empty.stdout);
    for (name, class, words) in [
        ("nan_score", "corrupt", "dt.json: result 3 (the first is 0): `score` is not finite"),
        ("short_box", "corrupt", "`bbox` has 3 numbers"),
        ("unknown_image", "unknown-image", "999999 (1)"),
    ] {
        let ran = coco(&case(name), &["--json"]);
        let error = &ran.json()["error"];
        assert_eq!((ran.code, error["class"].as_str()), (3, Some(class)), "{name}");
        assert_eq!(error["file"], "dt.json");
        assert!(error["message"].as_str().unwrap().contains(words), "{error}");
    }
}

#[test]
fn results_without_any_known_category_are_refused() {
    let sandbox = case("tiny");
    sandbox.file("dt.json", r#"[{"image_id": 1, "category_id": 80, "bbox": [0, 0, 1, 1], "score": 1}]"#);
    let ran = coco(&sandbox, &[]);
    assert_eq!(ran.code, 3);
    assert!(ran.stderr.contains("they are of 80 (1)"), "{}", ran.stderr);
}

#[test]
fn files_that_are_something_else_are_refused() {
    let sandbox = case("tiny");
    for (text, words) in [
        ("", "the text ends"),
        ("[{]", "expected at byte 2"),
        ("{}", "results must be an array"),
        ("[1]", "result 0 (the first is 0): it is not an object"),
        ("[] 1", "something follows"),
    ] {
        let ran = coco(sandbox.file("dt.json", text), &[]);
        assert!(ran.code == 3 && ran.stderr.contains(words), "{text}: {}", ran.stderr);
    }
    let ran = coco(sandbox.file("gt.json", "[]"), &[]);
    assert!(ran.code == 3 && ran.stderr.contains("annotations must be an object"), "{}", ran.stderr);
}

#[test]
fn selections_choose_and_unknown_ones_are_usage_errors() {
    let sandbox = case("tiny");
    let classes = |arguments: &[&str]| {
        let document = coco(&sandbox, &[arguments, &["--json"]].concat()).json();
        document["per_class"].as_array().unwrap().len()
    };
    assert_eq!(classes(&["--category-ids", "2"]), 1);
    assert_eq!(classes(&["--class-agnostic"]), 1);
    let few = coco(&sandbox, &["--limit", "1", "--json"]).json();
    assert_eq!(few["per_class"][1]["objects"], 0);
    assert_eq!(few["per_class"][1]["ap"], -1.0);
    let same = coco(&sandbox, &["--image-ids", "1", "--json"]).json();
    assert_eq!(few["stats"], same["stats"]);
    for wrong in [
        ["--image-ids", "7"],
        ["--curves", "./dt.json"],
        ["--max-dets", "1,1,100"],
        ["--max-dets", "100"],
        ["--weights", "x"],
    ] {
        assert_eq!(coco(&sandbox, &wrong).code, 2, "{wrong:?}");
    }
}

#[test]
fn curves_have_every_class() {
    let sandbox = case("tiny");
    assert_eq!(coco(&sandbox, &["--curves", "curves.json"]).code, 0);
    let curves: Json = serde_json::from_slice(&std::fs::read(sandbox.path("curves.json")).unwrap()).unwrap();
    assert_eq!(curves["recall_thresholds"].as_array().unwrap().len(), 101);
    assert_eq!(curves["classes"][0]["recall"], json!([1.0, 1.0, 1.0, 1.0, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5]));
    assert_eq!(curves["classes"][0]["precision"][9].as_array().unwrap().len(), 101);
}

#[test]
fn a_result_can_be_replayed() {
    let sandbox = case("tiny");
    let document = coco(&sandbox, &["--json", "--category-ids", "1"]).stdout;
    sandbox.file("result.json", document);
    let again = sandbox.port(&["eval", "coco", "--replay", "result.json"]);
    assert_eq!(again.code, 0, "{}{}", again.stdout, again.stderr);
    assert!(again.stdout.contains("the same, every number and every hash"), "{}", again.stdout);
    let text = std::fs::read_to_string(sandbox.path("dt.json")).unwrap();
    sandbox.file("dt.json", text.replacen("0.9}", "0.1}", 1));
    let again = sandbox.port(&["eval", "coco", "--replay", "result.json", "--json"]);
    assert_eq!((again.code, &again.json()["same"]), (1, &json!(false)));
    assert_eq!(again.json()["different"], json!(["results", "stats", "classes"]));
    assert_eq!(sandbox.port(&["eval", "coco", "--replay", "gt.json"]).code, 3);
}

/// The sample network on its pictures: the same numbers at once and by way of a result file.
#[test]
fn a_detector_is_evaluated_as_its_results_are() {
    let sandbox = Sandbox::new();
    let samples = |name: &str| repository("samples").join(name).to_str().unwrap().to_owned();
    let (annotations, weights) = (samples("shapes/annotations.json"), samples("nanodet-plus-shapes.pth"));
    let pictures = samples("shapes");
    let ran = sandbox.port(&[
        "eval",
        "coco",
        "--annotations",
        &annotations,
        "--weights",
        &weights,
        "--images",
        &pictures,
        "--image-size",
        "192",
        "--results-out",
        "dt.json",
        "--json",
    ]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let by_file =
        sandbox.port(&["eval", "coco", "--annotations", &annotations, "--results", "dt.json", "--json"]);
    let (direct, by_file) = (ran.json(), by_file.json());
    assert_eq!(direct["stats"], by_file["stats"]);
    assert_eq!(direct["per_class"], by_file["per_class"]);
    let detector = &direct["provenance"]["detector"];
    assert_eq!((&detector["image_size"], &detector["resize"]), (&json!("192x192"), &json!("stretch")));
    assert_eq!(detector["nms_iou"], 0.6);
    sandbox.file("result.json", ran.stdout);
    assert_eq!(sandbox.port(&["eval", "coco", "--replay", "result.json"]).code, 0);
}

/// The sample network, its pictures and their annotations, and the arguments that evaluate one on the others.
struct Sample {
    sandbox: Sandbox,
    weights: String,
    pictures: String,
    annotations: String,
}

impl Sample {
    fn new() -> Sample {
        let path = |name: &str| repository("samples").join(name).to_str().unwrap().to_owned();
        let [weights, pictures, annotations] =
            ["nanodet-plus-shapes.pth", "shapes", "shapes/annotations.json"].map(path);
        Sample { sandbox: Sandbox::new(), weights, pictures, annotations }
    }

    fn run(&self, metric: &str, annotations: &str, arguments: &[&str]) -> Ran {
        let files = ["eval", metric, "--annotations", annotations, "--weights", &self.weights];
        let usual = ["--image-size", "192", "--json"];
        self.sandbox.port(&[&files, &usual[..], arguments].concat())
    }

    /// On the annotations and pictures that the network belongs to.
    fn usual(&self, metric: &str, arguments: &[&str]) -> Ran {
        self.run(metric, &self.annotations, &[&["--images", &self.pictures], arguments].concat())
    }

    /// The annotations with only some of their categories, in the reverse order of ids.
    fn with_categories(&self, names: &[&str]) {
        let text = std::fs::read(&self.annotations).unwrap();
        let mut document: Json = serde_json::from_slice(&text).unwrap();
        let categories = document["categories"].as_array_mut().unwrap();
        categories.retain(|one| names.contains(&one["name"].as_str().unwrap()));
        let new_id = |id: &Json| 1000 - id.as_i64().unwrap();
        let ids: Vec<Json> = categories.iter().map(|one| one["id"].clone()).collect();
        categories.iter_mut().for_each(|one| one["id"] = new_id(&one["id"]).into());
        let annotations = document["annotations"].as_array_mut().unwrap();
        annotations.retain(|one| ids.contains(&one["category_id"]));
        annotations.iter_mut().for_each(|one| one["category_id"] = new_id(&one["category_id"]).into());
        written(&self.sandbox, "some.json", &document);
    }
}

/// The rows of classes by their names.
fn by_name(document: &Json) -> BTreeMap<String, Json> {
    let rows = document["per_class"].as_array().unwrap().iter();
    rows.map(|row| (row["name"].as_str().unwrap().to_owned(), row.clone())).collect()
}

/// 24 pictures: in batches of 8 none is left over, of 7 the last batch is smaller.
#[test]
fn batches_change_no_bit() {
    let sample = Sample::new();
    let run = |batch: &str| {
        let ran = sample.usual("coco", &["--batch", batch, "--results-out", "dt.json"]);
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        let document = ran.json();
        let detections = std::fs::read(sample.sandbox.path("dt.json")).unwrap();
        (detections, document["stats"].clone(), document["provenance"]["detector"]["images"].clone())
    };
    let alone = run("1");
    assert!(alone.0.len() > 100_000);
    for batch in ["3", "7", "8", "100"] {
        assert!(run(batch) == alone, "{batch}");
    }
    assert_eq!(sample.usual("coco", &["--batch", "0"]).code, 2);
}

/// The same network and pictures by VOC's metric: from COCO's annotations, from VOC's files, and by way of results.
#[test]
fn a_detector_is_evaluated_by_vocs_metric_too() {
    let sample = Sample::new();
    let sandbox = &sample.sandbox;
    let direct = sample.usual("voc", &[]);
    assert_eq!(direct.code, 0, "{}", direct.stderr);
    let direct = direct.json();
    assert_eq!(sample.usual("coco", &["--results-out", "dt.json"]).code, 0);
    let results = ["eval", "voc", "--annotations", &sample.annotations, "--results", "dt.json", "--json"];
    assert_eq!(sandbox.port(&results).json()["per_class"], direct["per_class"]);

    assert_eq!(sandbox.port(&["data", "convert", &sample.annotations, "--to", "voc", "-o", "voc"]).code, 0);
    let devkit = sample.run("voc", "voc/Annotations", &["--names", "voc/classes.txt"]);
    assert_eq!(devkit.code, 0, "{}", devkit.stderr);
    assert_eq!(by_name(&devkit.json()), by_name(&direct));
    let run = &devkit.json()["provenance"]["detector"];
    assert_eq!((&run["matching"], &run["categories"][0]), (&json!("names"), &json!("circle")));
    // Alphabetical order is not that of the classes.
    let unnamed = sample.run("voc", "voc/Annotations", &[]);
    assert_eq!(unnamed.code, 2);
    assert!(unnamed.stderr.contains("nothing says which of the network's 6 classes"), "{}", unnamed.stderr);
}

#[test]
fn a_result_of_vocs_metric_can_be_replayed() {
    let sample = Sample::new();
    let sandbox = &sample.sandbox;
    assert_eq!(sandbox.port(&["data", "convert", &sample.annotations, "--to", "voc", "-o", "voc"]).code, 0);
    sandbox.file("some.txt", "000001\n000002\n000009\n");
    let arguments = [
        "--names",
        "voc/classes.txt",
        "--image-set",
        "some.txt",
        "--metric",
        "07",
        "--batch",
        "2",
        "--iou",
        "0.6",
    ];
    let ran = sample.run("voc", "voc/Annotations", &arguments);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    sandbox.file("result.json", &ran.stdout);
    let again = sandbox.port(&["eval", "voc", "--replay", "result.json"]);
    assert_eq!(again.code, 0, "{}{}", again.stdout, again.stderr);
    assert!(again.stdout.contains("mAP (07)"), "{}", again.stdout);
    sandbox.file("some.txt", "000001\n000002\n");
    let again = sandbox.port(&["eval", "voc", "--replay", "result.json", "--json"]);
    let different = json!(["annotations", "image set", "images", "map", "classes"]);
    assert_eq!((again.code, &again.json()["different"]), (1, &different));
    assert_eq!(sandbox.port(&["eval", "coco", "--replay", "result.json"]).code, 3);

    let kit = devkit();
    kit.file("result.json", kit.port(&[&DEVKIT[..], &["--json"]].concat()).stdout);
    assert_eq!(kit.port(&["eval", "voc", "--replay", "result.json"]).code, 0);
    kit.file("results/comp4_det_test_dog.txt", "a 0.9 1 1 50 50\n");
    let again = kit.port(&["eval", "voc", "--replay", "result.json", "--json"]).json();
    assert_eq!(again["different"], json!(["results", "classes"]));
}

/// Annotations of two of the six categories, under other ids in another order: names say which they are.
#[test]
fn fewer_categories_are_found_by_their_names() {
    let sample = Sample::new();
    let all = by_name(&sample.usual("coco", &[]).json());
    sample.with_categories(&["ring", "circle"]);
    let some = |arguments: &[&str]| {
        sample.run("coco", "some.json", &[&["--images", &sample.pictures], arguments].concat())
    };
    let unnamed = some(&[]);
    assert_eq!(unnamed.code, 2);
    assert!(unnamed.stderr.contains("2 categories: `ring`, `circle`\n  give --names"), "{}", unnamed.stderr);
    let ran = some(&["--names", &sample.annotations]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let document = ran.json();
    let rows = by_name(&document);
    assert_eq!(rows.len(), 2);
    for (name, row) in &rows {
        assert_eq!((&row["ap"], &row["detections"]), (&all[name]["ap"], &all[name]["detections"]), "{name}");
    }
    assert_eq!(document["warnings"][0]["kind"], "unknown-categories");
    let message = document["warnings"][0]["message"].as_str().unwrap();
    assert!(message.contains("square (375)"), "{message}");
    let categories = json!([999, null, null, null, null, 994]);
    assert_eq!(document["provenance"]["detector"]["categories"], categories);
    // A category that is no class is refused, unless it is left out.
    let names = "circle,square,triangle,star,cross,disc";
    let wrong = some(&["--names", names]);
    assert!(
        wrong.code == 2 && wrong.stderr.contains("none of the network's classes: `ring`"),
        "{}",
        wrong.stderr
    );
    assert_eq!(some(&["--names", names, "--category-ids", "999"]).code, 0);
    assert_eq!(some(&["--names", "a,b"]).code, 2);
}

/// VOC's files are made here, as a user would have them.
fn devkit() -> Sandbox {
    let sandbox = Sandbox::new();
    std::fs::create_dir(sandbox.path("Annotations")).unwrap();
    std::fs::create_dir(sandbox.path("results")).unwrap();
    let object = |difficult: u8, right: u32| {
        format!(
            "<object><name>dog</name><difficult>{difficult}</difficult><bndbox><xmin>1</xmin><ymin>1</ymin>\
             <xmax>{right}</xmax><ymax>50</ymax></bndbox></object>"
        )
    };
    let xml = |objects: String| format!("\u{feff}<annotation>\r\n{objects}\r\n</annotation>");
    sandbox
        .file("Annotations/a.xml", xml(object(0, 50)))
        .file("Annotations/b.xml", xml(object(1, 50) + &object(0, 500)))
        .file("test.txt", "a\r\nb\r\n")
        .file("results/comp4_det_test_dog.txt", "a 0.9 1 1 50 50\nb 0.8 1 1 50 50\nb 0.7 9 9 20 20\n");
    sandbox
}

const DEVKIT: [&str; 8] =
    ["eval", "voc", "--annotations", "Annotations", "--results", "results", "--image-set", "test.txt"];

#[test]
fn voc_reads_the_development_kits_files() {
    let sandbox = devkit();
    let ran = sandbox.port(&DEVKIT);
    assert!(ran.stdout.contains("mAP (10, area, IoU 0.5): 0.5000"), "{}{}", ran.stdout, ran.stderr);
    assert!(
        ran.stdout.contains("dog          2          1           3      1      1  0.5000"),
        "{}",
        ran.stdout
    );
    let document = sandbox.port(&[&DEVKIT[..], &["--metric", "07", "--json"]].concat()).json();
    assert_eq!(document["map"], document["map07"]);
    assert_eq!(document["per_class"][0]["difficult"], 1);
    sandbox.file("results/comp4_det_test_dog.txt", "c 0.9 1 1 50 50\n");
    let ran = sandbox.port(&DEVKIT);
    assert!(ran.code == 3 && ran.stderr.contains("c (1)"), "{}", ran.stderr);
    sandbox.file("results/comp4_det_test_dog.txt", "a 0.9 1 1 50\n");
    assert!(sandbox.port(&DEVKIT).stderr.contains("line 1: 4 numbers after the image"));
}

#[test]
fn voc_reads_cocos_files_too() {
    let sandbox = case("tiny");
    let files = ["eval", "voc", "--annotations", "gt.json", "--results", "dt.json", "--json"];
    let document = sandbox.port(&files).json();
    assert_eq!(document["per_class"][0]["ap10"], 1.0);
    assert_eq!(document["map"], 0.5);
}

fn written(sandbox: &Sandbox, name: &str, document: &Json) {
    sandbox.file(name, serde_json::to_vec(document).unwrap());
}

/// Stats agree to a thousandth.
fn assert_near(ours: &Json, theirs: &Json) {
    for (ours, theirs) in ours.as_array().unwrap().iter().zip(theirs.as_array().unwrap()) {
        assert!((ours.as_f64().unwrap() - theirs.as_f64().unwrap()).abs() <= 0.001, "{ours} {theirs}");
    }
}

/// The sample network has the numbers that pycocotools gave for upstream's detections, which have them exactly.
#[test]
fn the_sample_has_its_upstream_map() {
    let sandbox = Sandbox::new();
    let file = repository("samples/nanodet-plus-shapes.expected.json");
    let upstream: Json = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
    let annotations = repository("samples/shapes/annotations.json").to_str().unwrap().to_owned();
    written(&sandbox, "dt.json", &upstream["detections"]);
    let evaluate = |arguments: &[&str]| {
        let common = ["eval", "coco", "--annotations", &annotations, "--json"];
        sandbox.port(&[&common, arguments].concat()).json()["stats"].clone()
    };
    assert_stats(&evaluate(&["--results", "dt.json"]), &upstream["stats12"]);
    let [weights, pictures] = ["nanodet-plus-shapes.pth", "shapes"]
        .map(|name| repository("samples").join(name).to_str().unwrap().to_owned());
    let ours = evaluate(&["--weights", &weights, "--images", &pictures, "--image-size", "192"]);
    assert_near(&ours, &upstream["stats12"]);
}

/// The published COCO weights on the eight pictures of coco8.
///
/// The numbers are pycocotools 2.0.11's for upstream's export of the same weights in ONNX Runtime, with OpenCV 5 before
/// and upstream's decoding and suppression behind it. On the three pictures whose detections upstream's own code
/// recorded, those are the same to 3e-7.
#[test]
fn coco_weights_have_their_upstream_map() {
    let (Some(reference), Some(data)) = (support::reference("nanodet-plus"), support::data_set("coco8"))
    else {
        return;
    };
    let upstream = [
        ("train", [0.7580681282413956, 0.941065535124941, 0.8585572842998586, -1.0]),
        ("val", [0.4647998124011645, 0.7104424301887013, 0.44966996699669964, 0.10061881188118812]),
    ];
    let weights = reference.join("weights/nanodet-plus-m_416_coco.pth");
    for (split, expected) in upstream {
        let annotations = data.join(format!("{split}.json"));
        let images = data.join("images").join(split);
        let sandbox = Sandbox::new();
        let path = |path: &PathBuf| path.to_str().unwrap().to_owned();
        let (annotations, weights, images) = (path(&annotations), path(&weights), path(&images));
        let files = ["--annotations", &annotations, "--weights", &weights, "--images", &images];
        let ran = sandbox.port(&[&["eval", "coco", "--json"], &files[..]].concat());
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        let stats = ran.json()["stats"].clone();
        for (index, expected) in expected.into_iter().enumerate() {
            let ours = stats[index].as_f64().unwrap();
            assert!((ours - expected).abs() < 1e-3, "{split}: {ours} instead of {expected}");
        }
    }
}

/// COCO's weights where the annotations have only some of COCO's categories, and where these have VOC's names.
#[test]
fn coco_weights_are_evaluated_on_fewer_categories() {
    let (Some(reference), Some(data)) = (support::reference("nanodet-plus"), support::data_set("coco8"))
    else {
        return;
    };
    let sandbox = Sandbox::new();
    let weights = reference.join("weights/nanodet-plus-m_416_coco.pth").to_str().unwrap().to_owned();
    let images = data.join("images/val").to_str().unwrap().to_owned();
    let text = std::fs::read(data.join("val.json")).unwrap();
    let mut document: Json = serde_json::from_slice(&text).unwrap();
    let evaluate = |arguments: &[&str]| {
        let files = ["eval", "coco", "--annotations", "gt.json", "--weights", &weights, "--images", &images];
        sandbox.port(&[&files[..], &["--json"], arguments].concat())
    };
    written(&sandbox, "gt.json", &document);
    let all = evaluate(&[]).json()["stats"].clone();
    let used: Vec<Json> =
        document["annotations"].as_array().unwrap().iter().map(|one| one["category_id"].clone()).collect();
    let categories = document["categories"].as_array_mut().unwrap();
    categories.retain(|one| used.contains(&one["id"]));
    assert!(categories.len() < 12);
    categories.reverse();
    written(&sandbox, "gt.json", &document);
    assert_stats(&evaluate(&[]).json()["stats"], &all);
    let plant = document["categories"].as_array_mut().unwrap();
    let plant = plant.iter_mut().find(|one| one["name"] == "potted plant").unwrap();
    plant["name"] = json!("pottedplant");
    written(&sandbox, "gt.json", &document);
    let refused = evaluate(&[]);
    assert!(refused.code == 2 && refused.stderr.contains("`pottedplant`"), "{}", refused.stderr);
    let names = repository("samples/coco-classes-as-voc.txt").to_str().unwrap().to_owned();
    assert_stats(&evaluate(&["--names", &names]).json()["stats"], &all);
}
