//! VOC's average precision.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use super::{Class, Object, Scene};
use crate::boxes::pixel_overlap;

/// When a detection overlaps an object enough.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// Least intersection over union.
    pub iou: f64,
    /// The overlap must be more than `iou`, as in py-faster-rcnn; the development kit lets as much do.
    pub strict_iou: bool,
    /// Corners are pixels that belong to the box, so that it is one pixel wider than their difference.
    pub plus_one: bool,
}

impl Default for Settings {
    /// The development kit's.
    fn default() -> Settings {
        Settings { iou: 0.5, strict_iou: false, plus_one: true }
    }
}

/// The numbers of a class.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ClassResult {
    /// Its name.
    pub name: String,
    /// Objects to find.
    pub objects: usize,
    /// Objects that need not be found.
    pub difficult: usize,
    /// Detections.
    pub detections: usize,
    /// Detections that hit an object.
    pub true_positives: usize,
    /// Detections that hit nothing, or what was hit before.
    pub false_positives: usize,
    /// Mean of the precisions at eleven recalls (VOC 2007); none without an object to find.
    pub ap07: Option<f64>,
    /// Area under the curve (VOC 2010 and later).
    pub ap10: Option<f64>,
}

/// Evaluates every class.
pub fn evaluate(scene: &Scene, settings: &Settings) -> Vec<ClassResult> {
    scene.classes.iter().map(|class| evaluate_class(class, settings)).collect()
}

/// The mean over the classes that have a number; none where no class has.
pub fn mean_average_precision(values: impl IntoIterator<Item = Option<f64>>) -> Option<f64> {
    let values: Vec<f64> = values.into_iter().flatten().collect();
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

/// What became of a detection.
#[derive(Clone, Copy, PartialEq)]
enum Verdict {
    Hit,
    Wrong,
    /// It hit a difficult object.
    Ignored,
}

fn evaluate_class(class: &Class, settings: &Settings) -> ClassResult {
    let verdicts = verdicts(class, settings);
    let difficult = class.objects.iter().filter(|object| object.is_difficult).count();
    let objects = class.objects.len() - difficult;
    let count = |verdict| verdicts.iter().filter(|one| **one == verdict).count();
    let curve = curve(&verdicts, objects);
    ClassResult {
        name: class.name.clone(),
        objects,
        difficult,
        detections: class.detections.len(),
        true_positives: count(Verdict::Hit),
        false_positives: count(Verdict::Wrong),
        ap07: (objects > 0).then(|| eleven_points(&curve)),
        ap10: (objects > 0).then(|| area(curve)),
    }
}

/// What became of each detection, the surest first. Each looks only at the object that it overlaps most.
fn verdicts(class: &Class, settings: &Settings) -> Vec<Verdict> {
    let mut by_image: HashMap<u32, Vec<(&Object, bool)>> = HashMap::new();
    for object in &class.objects {
        by_image.entry(object.image).or_default().push((object, false));
    }
    let mut detections: Vec<_> = class.detections.iter().collect();
    // Adding 0 makes -0 equal to it.
    detections.sort_by(|a, b| (b.score + 0.0).total_cmp(&(a.score + 0.0)));
    let verdict = |one: &super::Detection| {
        let (mut most, mut best) = (f64::NEG_INFINITY, None);
        for target in by_image.get_mut(&one.image).into_iter().flatten() {
            let overlap = pixel_overlap(one.corners, target.0.corners, settings.plus_one);
            if overlap > most {
                (most, best) = (overlap, Some(target));
            }
        }
        let is_enough = if settings.strict_iou { most > settings.iou } else { most >= settings.iou };
        match best.filter(|_| is_enough) {
            Some((object, _)) if object.is_difficult => Verdict::Ignored,
            Some((_, is_taken)) if !*is_taken => {
                *is_taken = true;
                Verdict::Hit
            }
            _ => Verdict::Wrong,
        }
    };
    detections.into_iter().map(verdict).collect()
}

/// Recall and precision after every detection.
fn curve(verdicts: &[Verdict], objects: usize) -> Vec<(f64, f64)> {
    let (mut hits, mut wrong) = (0_usize, 0_usize);
    let point = |verdict: &Verdict| {
        hits += usize::from(*verdict == Verdict::Hit);
        wrong += usize::from(*verdict == Verdict::Wrong);
        (hits as f64 / objects as f64, hits as f64 / (hits + wrong).max(1) as f64)
    };
    verdicts.iter().map(point).collect()
}

/// The recalls are `numpy.arange(0, 1.1, 0.1)`: the fourth is 0.30000000000000004, which 3 of 10 do not reach.
fn eleven_points(curve: &[(f64, f64)]) -> f64 {
    let best = |least: f64| {
        let reached = curve.iter().filter(|(recall, _)| *recall >= least);
        reached.map(|(_, precision)| *precision).fold(0.0, f64::max)
    };
    (0..11).map(|tenth| best(f64::from(tenth) * 0.1) / 11.0).sum()
}

/// The area under the curve, each precision raised to the best at a larger recall.
fn area(mut curve: Vec<(f64, f64)>) -> f64 {
    let mut best = 0.0_f64;
    for (_, precision) in curve.iter_mut().rev() {
        best = best.max(*precision);
        *precision = best;
    }
    let mut reached = 0.0;
    let mut area = 0.0;
    for (recall, precision) in curve {
        area += (recall - reached) * precision;
        reached = recall;
    }
    area
}
