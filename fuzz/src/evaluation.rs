//! The evaluator: what its files say, and the numbers that follow.

use std::path::Path;

use files::Failure;
use vision::eval::coco::{Settings, evaluate};
use vision::eval::voc::{self, Scene};
use vision::eval::{Rules, read_annotations, read_results};

/// Parts the annotations from the results; in JSON it can only stand between values.
pub const SEPARATOR: u8 = 0x1E;
/// Larger products take too long for a fuzz target: curves of every category, overlaps of every pair.
const MAX_CATEGORIES: usize = 64;
const MAX_PAIRS: usize = 1 << 16;

/// Annotations, and results for them after a [`SEPARATOR`] (none without), evaluated by both metrics and by either's rules.
pub fn check(bytes: &[u8]) {
    let mut parts = bytes.splitn(2, |byte| *byte == SEPARATOR);
    let annotations = parts.next().unwrap_or_default();
    let results = parts.next().unwrap_or(b"[]");
    for rules in [Rules::Sound, Rules::Pycocotools] {
        check_with(annotations, results, rules);
    }
}

fn check_with(annotations: &[u8], results: &[u8], rules: Rules) {
    let (truth, warnings) = match read_annotations(annotations, Path::new("gt.json"), rules) {
        Ok(read) => read,
        Err(error) => return drop((error.class(), error.to_string())),
    };
    warnings.iter().for_each(|warning| drop(warning.to_string()));
    let detections = match read_results(results, Path::new("dt.json"), &truth, rules) {
        Ok(detections) => detections,
        Err(error) => return drop((error.class(), error.to_string())),
    };
    for object in &truth.objects {
        assert!((object.image as usize) < truth.images().len(), "{object:?}");
        assert!((object.category as usize) < truth.categories().len(), "{object:?}");
    }
    let pairs = truth.objects.len() * detections.entries.len();
    if truth.categories().len() > MAX_CATEGORIES || pairs > MAX_PAIRS {
        return;
    }
    let evaluation = evaluate(&truth, &detections, &Settings { rules, ..Settings::default() });
    let evaluation = evaluation.expect("the usual settings choose nothing");
    if rules == Rules::Sound {
        for stat in evaluation.stats() {
            assert!(stat == -1.0 || (0.0..=1.0 + 1e-9).contains(&stat), "{stat}");
        }
    }
    let scene = Scene::of_coco(&truth, &detections);
    let classes = voc::evaluate(&scene, &voc::Settings::default());
    assert_eq!(classes.len(), scene.classes.len());
    for (result, class) in classes.iter().zip(&scene.classes) {
        assert_eq!(result.objects + result.difficult, class.objects.len(), "{}", class.name);
    }
}
