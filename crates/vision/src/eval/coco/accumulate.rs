//! From hits in the order of scores to precision at fixed recalls.

use std::borrow::Cow;

use super::grid::{AREAS, IOUS, RECALLS, is_outside, recall_thresholds};
use super::groups::Group;
use super::matching::{EVERY_OVERLAP, Outcome, OverlapBits, match_image};
use super::settings::Settings;
use crate::eval::{Id, Object};

/// Number of limits of detections.
const LIMITS: usize = 3;

/// The curves of a category; -1 where there is no object to find.
#[derive(Debug, Clone, PartialEq)]
pub struct ClassCurves {
    /// Id of the category; none when classes do not matter.
    pub id: Option<Id>,
    /// Its name.
    pub name: Option<String>,
    /// Objects to find in each range of areas.
    pub objects: [usize; AREAS],
    /// Detections, also those beyond the largest limit.
    pub detections: usize,
    /// The score from which on keeping detections gives the best F1.
    pub best: Option<OperatingPoint>,
    precision: Vec<f64>,
    scores: Vec<f64>,
    recall: Vec<f64>,
}

/// What keeping only detections from a score on gives, at an overlap of 0.5.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct OperatingPoint {
    /// Detections that score as much or more are kept.
    pub score: f64,
    /// Harmonic mean of precision and recall.
    pub f1: f64,
    /// Share of the kept that hit.
    pub precision: f64,
    /// Share of the objects that are found.
    pub recall: f64,
}

impl ClassCurves {
    /// Evaluates a group.
    pub(super) fn of(mut group: Group<'_>, settings: &Settings) -> ClassCurves {
        group.sort();
        let outcomes = outcomes(&group, settings);
        let mut curves = ClassCurves {
            id: group.category.map(|category| category.id.clone()),
            name: group.category.map(|category| category.name.clone()),
            objects: count(&group.objects),
            detections: group.detections.len(),
            best: None,
            precision: Vec::with_capacity(AREAS * LIMITS * IOUS * RECALLS),
            scores: Vec::with_capacity(AREAS * LIMITS * IOUS * RECALLS),
            recall: Vec::with_capacity(AREAS * LIMITS * IOUS),
        };
        for (area, objects) in curves.objects.into_iter().enumerate() {
            for limit in settings.max_detections {
                let hits = hits(&outcomes, area, limit);
                hits.iter().for_each(|hits| curves.push(hits, objects));
            }
        }
        let [objects, ..] = curves.objects;
        curves.best = best(&outcomes, objects);
        curves
    }

    /// Appends the curve of an overlap.
    fn push(&mut self, hits: &Hits, objects: usize) {
        if objects == 0 {
            self.precision.extend([-1.0; RECALLS]);
            self.scores.extend([-1.0; RECALLS]);
            self.recall.push(-1.0);
            return;
        }
        let objects = objects as f64;
        self.recall.push(hits.points.len() as f64 / objects);
        let envelope = hits.envelope();
        let mut index = 0;
        for recall in recall_thresholds() {
            let reached = |index: usize| (index + 1) as f64 / objects;
            while index < envelope.len() && reached(index) < recall {
                index += 1;
            }
            let score = hits.points.get(index).map_or(0.0, |point| point.score);
            // Recall 0 is reached by the very first detection, whether it hits or not.
            let score = if recall == 0.0 { hits.first_score.unwrap_or(0.0) } else { score };
            self.precision.push(envelope.get(index).copied().unwrap_or(0.0));
            self.scores.push(score);
        }
    }

    /// Precision at each of [`super::recall_thresholds`].
    pub fn precision(&self, iou: usize, area: usize, limit: usize) -> &[f64] {
        row(&self.precision, place(iou, area, limit))
    }

    /// The score at which each of [`super::recall_thresholds`] is reached; 0 where it is not.
    pub fn scores(&self, iou: usize, area: usize, limit: usize) -> &[f64] {
        row(&self.scores, place(iou, area, limit))
    }

    /// The largest recall.
    pub fn recall(&self, iou: usize, area: usize, limit: usize) -> f64 {
        self.recall.get(place(iou, area, limit)).copied().unwrap_or(-1.0)
    }
}

fn place(iou: usize, area: usize, limit: usize) -> usize {
    (area * LIMITS + limit) * IOUS + iou
}

fn row(values: &[f64], place: usize) -> &[f64] {
    values.get(place * RECALLS..(place + 1) * RECALLS).unwrap_or_default()
}

/// Objects to find in each range of areas.
fn count(objects: &[Cow<'_, Object>]) -> [usize; AREAS] {
    let mut counts = [0; AREAS];
    for object in objects.iter().filter(|object| !object.is_crowd) {
        for (count, is_outside) in counts.iter_mut().zip(is_outside(object.area)) {
            *count += usize::from(!is_outside);
        }
    }
    counts
}

/// What became of the group's detections, the best first; of equal scores, in the order of images.
fn outcomes(group: &Group<'_>, settings: &Settings) -> Vec<Outcome> {
    let mut outcomes = Vec::with_capacity(group.detections.len());
    let mut objects = group.objects.as_slice();
    for detections in group.detections.chunk_by(|a, b| a.detection.image == b.detection.image) {
        let Some(image) = detections.first().map(|one| one.detection.image) else { continue };
        let (_, rest) = objects.split_at(objects.partition_point(|object| object.image < image));
        let (of_image, rest) = rest.split_at(rest.partition_point(|object| object.image == image));
        objects = rest;
        let kept = detections.get(..settings.largest_limit()).unwrap_or(detections);
        match_image(of_image, kept, settings.rules, &mut outcomes);
    }
    outcomes.sort_by_key(|outcome| outcome.place);
    outcomes
}

/// The hits at an overlap.
#[derive(Default)]
struct Hits {
    /// Score of the best detection, if there is one.
    first_score: Option<f64>,
    points: Vec<Point>,
    /// Detections so far that do not count.
    ignored: usize,
}

/// A hit among the detections in the order of scores.
struct Point {
    score: f64,
    precision: f64,
}

impl Hits {
    /// Of every hit the best precision from it on.
    fn envelope(&self) -> Vec<f64> {
        let mut envelope: Vec<f64> = self.points.iter().map(|point| point.precision).collect();
        let mut best = f64::NEG_INFINITY;
        for precision in envelope.iter_mut().rev() {
            best = best.max(*precision);
            *precision = best;
        }
        envelope
    }
}

/// The hits at every overlap. Precision is needed only there: between hits it falls.
fn hits(outcomes: &[Outcome], area: usize, limit: usize) -> [Hits; IOUS] {
    let mut all: [Hits; IOUS] = Default::default();
    let mut counted = 0;
    let mut first_score = None;
    for outcome in outcomes.iter().filter(|outcome| outcome.rank < limit) {
        first_score = first_score.or(Some(outcome.score));
        let (hits, ignored) = outcome.in_range(area);
        if ignored == EVERY_OVERLAP {
            continue;
        }
        counted += 1;
        if hits | ignored == 0 {
            continue;
        }
        for (index, all) in all.iter_mut().enumerate() {
            let bit = 1 << index;
            all.ignored += usize::from(ignored & bit != 0);
            if hits & !ignored & bit != 0 {
                let found = all.points.len() + 1;
                all.points
                    .push(Point { score: outcome.score, precision: precision(found, counted - all.ignored) });
            }
        }
    }
    for hits in &mut all {
        hits.first_score = first_score;
    }
    all
}

impl Outcome {
    /// Hits, and where it does not count, in a range of areas.
    fn in_range(&self, area: usize) -> (OverlapBits, OverlapBits) {
        let of = |bits: &[OverlapBits; AREAS]| bits.get(area).copied().unwrap_or(0);
        (of(&self.hits), of(&self.ignored))
    }
}

/// As pycocotools computes it, with `numpy.spacing(1)` against a division by zero.
fn precision(found: usize, counted: usize) -> f64 {
    found as f64 / (counted as f64 + f64::EPSILON)
}

/// The best F1 at the first overlap, 0.5. Detections of equal score are kept or dropped together.
fn best(outcomes: &[Outcome], objects: usize) -> Option<OperatingPoint> {
    let (mut found, mut counted) = (0_usize, 0_usize);
    let mut best = None::<OperatingPoint>;
    for equal in outcomes.chunk_by(|a, b| a.place == b.place) {
        for (hits, ignored) in equal.iter().map(|outcome| outcome.in_range(0)) {
            counted += usize::from(ignored & 1 == 0);
            found += usize::from(hits & !ignored & 1 != 0);
        }
        let f1 = 2.0 * found as f64 / (counted + objects) as f64;
        if found > 0 && best.is_none_or(|best| f1 > best.f1) {
            let score = equal.first().map_or(f64::NAN, |outcome| outcome.score);
            let (precision, recall) = (found as f64 / counted as f64, found as f64 / objects as f64);
            best = Some(OperatingPoint { score, f1, precision, recall });
        }
    }
    best
}
