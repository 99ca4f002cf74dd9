//! Choosing detections: candidates above a score, overlaps of a class suppressed, the best of all.

use super::{Decoded, Placement};
use network::models::{ClassShift, Frame, Selection};
use vision::boxes::{corner_area, corner_overlap};

/// A detected object.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Detection {
    /// Left, top, right, bottom in pixels.
    pub corners: [f32; 4],
    /// 0 to 1.
    pub score: f32,
    /// Counted from 0.
    pub class: usize,
}

impl Detection {
    /// Left, top, width, height in pixels, as COCO has boxes.
    pub fn bbox(&self) -> [f32; 4] {
        let [left, top, right, bottom] = self.corners;
        [left, top, right - left, bottom - top]
    }
}

/// The detections in a decoded output, the best first, in pixels of the picture that `placement` is about.
pub fn detections(mut decoded: Decoded<f32>, placement: &Placement, selection: &Selection) -> Vec<Detection> {
    match selection.frame {
        Frame::Picture => {
            decoded.boxes.iter_mut().for_each(|corners| *corners = placement.back(*corners));
            select(&decoded, selection)
        }
        Frame::Input => {
            let mut detections = select(&decoded, selection);
            detections.iter_mut().for_each(|one| one.corners = placement.back(one.corners));
            detections
        }
    }
}

/// The detections in a decoded output, the best first, in its pixels.
///
/// Every class of every point is a candidate; what is not a number is none. Equal scores keep the order of points
/// and classes. Boxes are compared in f32 after [`ClassShift`] moved the classes apart.
pub fn select(decoded: &Decoded<f32>, selection: &Selection) -> Vec<Detection> {
    let mut candidates = candidates(decoded, selection);
    candidates.sort_by(|a, b| b.score.total_cmp(&a.score));
    candidates.truncate(selection.max_candidates.unwrap_or(usize::MAX));
    let shift = shift(&candidates, selection.class_shift);
    // The boxes kept of each class.
    let mut kept: Vec<Vec<Shifted>> = vec![Vec::new(); decoded.columns];
    let mut detections = Vec::new();
    for candidate in candidates {
        if detections.len() == selection.max_detections {
            break;
        }
        let shifted = Shifted::new(&candidate, shift);
        let Some(better) = kept.get_mut(candidate.class) else { continue };
        if better.iter().all(|other| !other.overlaps(&shifted, selection.nms_iou)) {
            better.push(shifted);
            detections.push(candidate);
        }
    }
    // Columns that stand for no class took part, and are left out at last.
    detections.retain(|detection| detection.class < decoded.classes);
    detections
}

fn candidates(decoded: &Decoded<f32>, selection: &Selection) -> Vec<Detection> {
    let mut candidates = Vec::new();
    let mut points = decoded.scores.chunks_exact(decoded.columns.max(1)).zip(&decoded.boxes);
    for level in &decoded.levels {
        let level: Vec<_> = points.by_ref().take(*level).collect();
        for (scores, corners) in best(level, selection.best_of_level) {
            if corners.iter().any(|corner| corner.is_nan()) {
                continue;
            }
            let above = scores.iter().enumerate().filter(|(_, score)| **score > selection.score_threshold);
            candidates.extend(above.map(|(class, &score)| Detection { corners: *corners, score, class }));
        }
    }
    candidates
}

/// The points with the best scores, if there are more than `limit`; the first of equals.
fn best<'a>(
    mut level: Vec<(&'a [f32], &'a [f32; 4])>,
    limit: Option<usize>,
) -> Vec<(&'a [f32], &'a [f32; 4])> {
    if let Some(limit) = limit.filter(|limit| level.len() > *limit) {
        let best = |scores: &[f32]| scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        level.sort_by(|(a, _), (b, _)| best(b).total_cmp(&best(a)));
        level.truncate(limit);
    }
    level
}

/// By how much the boxes of a class are moved for each class before it.
fn shift(candidates: &[Detection], shift: ClassShift) -> f32 {
    match shift {
        ClassShift::Pixels(pixels) => pixels,
        ClassShift::LargestCoordinate { below } if candidates.len() < below => {
            candidates.iter().flat_map(|candidate| candidate.corners).fold(0.0, f32::max) + 1.0
        }
        // Only boxes of one class are ever compared.
        ClassShift::LargestCoordinate { .. } => 0.0,
    }
}

/// A box moved away from those of other classes, and its area.
#[derive(Debug, Clone)]
struct Shifted {
    corners: [f32; 4],
    area: f32,
}

impl Shifted {
    fn new(candidate: &Detection, shift: f32) -> Shifted {
        let corners = candidate.corners.map(|corner| corner + candidate.class as f32 * shift);
        Shifted { corners, area: corner_area(corners) }
    }

    /// Whether the intersection over union is more than `threshold`; two empty boxes (0 / 0) do not overlap.
    fn overlaps(&self, other: &Shifted, threshold: f64) -> bool {
        f64::from(corner_overlap(self.corners, other.corners, [self.area, other.area])) > threshold
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SELECTION: Selection = Selection {
        best_of_level: None,
        score_threshold: 0.05,
        max_candidates: None,
        nms_iou: 0.6,
        class_shift: ClassShift::LargestCoordinate { below: 10_000 },
        frame: Frame::Input,
        max_detections: 100,
    };

    fn decoded(classes: usize, scores: Vec<f32>, boxes: Vec<[f32; 4]>) -> Decoded<f32> {
        Decoded {
            classes,
            columns: classes,
            levels: vec![boxes.len()],
            scores,
            distances: vec![[0.0; 4]; boxes.len()],
            boxes,
        }
    }

    const BOX: [f32; 4] = [10.0, 10.0, 50.0, 50.0];

    #[test]
    fn nothing_is_detected_in_nothing() {
        assert_eq!(select(&decoded(80, vec![], vec![]), &SELECTION), []);
        assert_eq!(select(&decoded(0, vec![], vec![BOX]), &SELECTION), []);
        assert_eq!(select(&decoded(1, vec![0.05], vec![BOX]), &SELECTION), []);
    }

    /// Of equal boxes the first is kept, in each class.
    #[test]
    fn equal_boxes_suppress_each_other_within_a_class() {
        let found = select(&decoded(2, vec![0.5, 0.2, 0.5, 0.9], vec![BOX, BOX]), &SELECTION);
        let expected = [(0.9, 1), (0.5, 0)];
        assert_eq!(found.iter().map(|one| (one.score, one.class)).collect::<Vec<_>>(), expected);
    }

    /// The overlap at the threshold itself does not suppress: 60 of 100 pixels.
    #[test]
    fn suppression_needs_more_than_the_threshold() {
        let boxes = vec![[0.0, 0.0, 100.0, 1.0], [0.0, 0.0, 50.0, 1.0]];
        let at = Selection { nms_iou: 0.5, ..SELECTION };
        assert_eq!(select(&decoded(1, vec![0.9, 0.8], boxes.clone()), &at).len(), 2);
        let below = Selection { nms_iou: 0.49, ..SELECTION };
        assert_eq!(select(&decoded(1, vec![0.9, 0.8], boxes), &below).len(), 1);
    }

    #[test]
    fn the_best_of_all_classes_are_kept() {
        let boxes: Vec<[f32; 4]> =
            (0..50).map(|i| [i as f32 * 20.0, 0.0, i as f32 * 20.0 + 10.0, 9.0]).collect();
        let scores = (0..100).map(|i| 0.1 + i as f32 / 200.0).collect();
        let found = select(&decoded(2, scores, boxes), &Selection { max_detections: 7, ..SELECTION });
        assert_eq!(found.len(), 7);
        assert!(found.is_sorted_by(|a, b| a.score >= b.score) && found[0].score > 0.59);
    }

    #[test]
    fn what_is_not_a_number_is_no_candidate() {
        let nan = f32::NAN;
        let boxes = vec![[nan, 0.0, 1.0, 1.0], BOX, [0.0; 4], [0.0; 4]];
        let found = select(&decoded(1, vec![0.9, nan, 0.8, 0.7], boxes), &SELECTION);
        assert_eq!(found.len(), 2);
    }

    const APART: [[f32; 4]; 3] = [[0.0, 0.0, 9.0, 9.0], [20.0, 0.0, 29.0, 9.0], [40.0, 0.0, 49.0, 9.0]];

    #[test]
    fn levels_and_candidates_are_limited() {
        let all = Decoded { levels: vec![2, 1], ..decoded(1, vec![0.2, 0.3, 0.1], APART.to_vec()) };
        let scores = |selection: &Selection| -> Vec<f32> {
            select(&all, selection).iter().map(|one| one.score).collect()
        };
        assert_eq!(scores(&SELECTION), [0.3, 0.2, 0.1]);
        assert_eq!(scores(&Selection { best_of_level: Some(1), ..SELECTION }), [0.3, 0.1]);
        assert_eq!(scores(&Selection { max_candidates: Some(2), ..SELECTION }), [0.3, 0.2]);
    }

    /// They take places from classes.
    #[test]
    fn columns_without_a_class_take_part_and_are_left_out() {
        let all = Decoded { classes: 1, ..decoded(2, vec![0.2, 0.9, 0.3, 0.0], APART[..2].to_vec()) };
        let two = select(&all, &Selection { max_detections: 2, ..SELECTION });
        assert_eq!(two.iter().map(|one| one.score).collect::<Vec<_>>(), [0.3]);
    }

    /// Far from the origin f32 has fewer digits: an overlap of 0.6 becomes more or less when boxes are moved.
    #[test]
    fn how_classes_are_kept_apart_rounds_overlaps() {
        let boxes = vec![[0.0, 0.0, 1.0, 1.0], [0.0, 0.0, 1.0, 0.5999]];
        let all = decoded(80, [vec![0.0; 79], vec![0.9], vec![0.0; 79], vec![0.8]].concat(), boxes);
        let count = |class_shift| select(&all, &Selection { class_shift, ..SELECTION }).len();
        assert_eq!(count(ClassShift::LargestCoordinate { below: 1 }), 2);
        assert_eq!(count(ClassShift::Pixels(1e4)), 1);
    }

    fn overlap(a: [f32; 4], b: [f32; 4]) -> f32 {
        let area = |b: [f32; 4]| (b[2] - b[0]) * (b[3] - b[1]);
        let width = (a[2].min(b[2]) - a[0].max(b[0])).max(0.0);
        let height = (a[3].min(b[3]) - a[1].max(b[1])).max(0.0);
        width * height / (area(a) + area(b) - width * height)
    }

    /// Straight from the definition: go through the sorted candidates, strike out later ones.
    fn naive(decoded: &Decoded<f32>, selection: &Selection) -> Vec<Detection> {
        let mut all = Vec::new();
        for (point, corners) in decoded.boxes.iter().enumerate() {
            for class in 0..decoded.columns {
                let score = decoded.scores[point * decoded.columns + class];
                if score > selection.score_threshold {
                    all.push(Detection { corners: *corners, score, class });
                }
            }
        }
        all.sort_by(|a, b| b.score.partial_cmp(&a.score).unwrap());
        let largest = all.iter().flat_map(|one| one.corners).fold(0.0, f32::max);
        let shifted: Vec<[f32; 4]> =
            all.iter().map(|one| one.corners.map(|c| c + one.class as f32 * (largest + 1.0))).collect();
        let mut struck = vec![false; all.len()];
        for i in 0..all.len() {
            for j in i + 1..all.len() {
                struck[j] |= !struck[i] && f64::from(overlap(shifted[i], shifted[j])) > selection.nms_iou;
            }
        }
        let kept = all.into_iter().zip(struck).filter(|(_, struck)| !struck).map(|(one, _)| one);
        kept.take(selection.max_detections).collect()
    }

    proptest! {
        /// Boxes and scores on a coarse grid, so that ties and equal overlaps occur.
        #[test]
        fn selection_follows_the_definition(
            points in prop::collection::vec((0u8..12, 0u8..12, 0u8..6, 0u8..6, [0u8..8, 0u8..8, 0u8..8]), 0..60),
            nms_iou in 0.0f64..1.0,
            max_detections in 0usize..40,
        ) {
            let corners = |x: u8, y: u8, w: u8, h: u8| [x, y, x + w, y + h].map(f32::from);
            let boxes = points.iter().map(|&(x, y, w, h, _)| corners(x, y, w, h)).collect();
            let scores = points.iter().flat_map(|point| point.4.map(|score| f32::from(score) / 8.0)).collect();
            let decoded = decoded(3, scores, boxes);
            let selection = Selection { nms_iou, max_detections, ..SELECTION };
            prop_assert_eq!(select(&decoded, &selection), naive(&decoded, &selection));
        }
    }
}
