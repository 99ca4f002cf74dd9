//! Which detections of an image hit an object, at every overlap and for every range of areas.

use std::borrow::Cow;

use super::grid::{AREAS, iou_thresholds, is_outside};
use super::groups::Ranked;
use crate::boxes::{crowd_overlap, side_overlap};
use crate::eval::{Id, Object, Rules};

/// A bit for each overlap.
pub(super) type OverlapBits = u16;

/// The bits of all overlaps.
pub(super) const EVERY_OVERLAP: OverlapBits = (1 << super::IOUS) - 1;

/// What became of a detection.
#[derive(Debug, Clone, Copy)]
pub(super) struct Outcome {
    /// See [`Ranked::place`].
    pub(super) place: u64,
    pub(super) score: f64,
    /// Its position among the detections of its image and group, from 0.
    pub(super) rank: usize,
    /// Where it hit, for each range of areas.
    pub(super) hits: [OverlapBits; AREAS],
    /// Where it does not count: it hit an ignored object, or nothing and its own area is outside.
    pub(super) ignored: [OverlapBits; AREAS],
}

/// Largest overlap that is ever asked for: of equal boxes it may be computed as less than 1.
const ALMOST_ONE: f64 = 1.0 - 1e-10;

/// Appends the outcome of every detection of an image to `outcomes`.
pub(super) fn match_image(
    objects: &[Cow<'_, Object>],
    detections: &[Ranked<'_>],
    rules: Rules,
    outcomes: &mut Vec<Outcome>,
) {
    let overlaps: Vec<f64> =
        detections.iter().flat_map(|one| objects.iter().map(|object| overlap(one, object))).collect();
    let start = outcomes.len();
    outcomes.extend(detections.iter().enumerate().map(|(rank, one)| Outcome {
        place: one.place,
        score: one.detection.score,
        rank,
        hits: [0; AREAS],
        ignored: [0; AREAS],
    }));
    let of_image = outcomes.get_mut(start..).unwrap_or_default();
    if !objects.is_empty() {
        for area in 0..AREAS {
            let mut targets = targets(objects, area, rules);
            for (row, outcome) in overlaps.chunks(objects.len()).zip(of_image.iter_mut()) {
                hit(&mut targets, row, outcome, area);
            }
        }
    }
    for (outcome, one) in of_image.iter_mut().zip(detections) {
        let [_, _, width, height] = one.detection.bbox;
        ignore_outside(outcome, is_outside(width * height));
    }
}

/// A detection that hits nothing and is not of the range's size does not count in it.
fn ignore_outside(outcome: &mut Outcome, outside: [bool; AREAS]) {
    let areas = outcome.ignored.iter_mut().zip(outcome.hits).zip(outside);
    for ((ignored, hits), _) in areas.filter(|(_, is_outside)| *is_outside) {
        *ignored |= EVERY_OVERLAP & !hits;
    }
}

/// An object as detections meet it within a range of areas.
struct Target {
    /// Its column in the overlaps.
    column: usize,
    is_ignored: bool,
    is_crowd: bool,
    /// pycocotools notes the annotation's id as the match, and 0 means none.
    is_never_found: bool,
    /// At which overlaps a detection has it.
    taken: OverlapBits,
}

/// Objects in the order in which they are tried: those that do not count come last.
fn targets(objects: &[Cow<'_, Object>], area: usize, rules: Rules) -> Vec<Target> {
    let target = |(column, object): (usize, &Cow<'_, Object>)| Target {
        column,
        is_ignored: object.is_crowd || is_outside(object.area).get(area).copied().unwrap_or(false),
        is_crowd: object.is_crowd,
        is_never_found: rules == Rules::Pycocotools && object.id == Some(Id::Number(0)),
        taken: 0,
    };
    let mut targets: Vec<Target> = objects.iter().enumerate().map(target).collect();
    targets.sort_by_key(|target| target.is_ignored);
    targets
}

/// Lets a detection hit the best target that is free, at every overlap.
fn hit(targets: &mut [Target], row: &[f64], outcome: &mut Outcome, area: usize) {
    let (Some(hits), Some(ignored)) = (outcome.hits.get_mut(area), outcome.ignored.get_mut(area)) else {
        return;
    };
    for (index, threshold) in iou_thresholds().into_iter().enumerate() {
        let bit = 1 << index;
        if let Some(target) = best(targets, row, threshold.min(ALMOST_ONE), bit) {
            target.taken |= bit;
            *hits |= if target.is_never_found { 0 } else { bit };
            *ignored |= if target.is_ignored { bit } else { 0 };
        }
    }
}

/// Of equal overlaps the later target wins; one that does not count only if no other does.
fn best<'t>(
    targets: &'t mut [Target],
    row: &[f64],
    threshold: f64,
    bit: OverlapBits,
) -> Option<&'t mut Target> {
    let (mut least, mut chosen) = (threshold, None::<&mut Target>);
    for target in targets {
        if target.taken & bit != 0 && !target.is_crowd {
            continue;
        }
        if target.is_ignored && chosen.as_ref().is_some_and(|chosen| !chosen.is_ignored) {
            break;
        }
        let overlap = row.get(target.column).copied().unwrap_or(0.0);
        // NaN is not less than anything: pycocotools lets it hit.
        if overlap < least {
            continue;
        }
        least = overlap;
        chosen = Some(target);
    }
    chosen
}

/// With a crowd, all of the detection may count.
fn overlap(one: &Ranked<'_>, object: &Object) -> f64 {
    match object.is_crowd {
        true => crowd_overlap(one.detection.bbox, object.bbox),
        false => side_overlap(one.detection.bbox, object.bbox),
    }
}
