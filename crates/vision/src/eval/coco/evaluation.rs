//! The numbers that are published, and the arrays they are means of.

use std::ops::Range;

use rayon::prelude::*;

use super::accumulate::ClassCurves;
use super::grid::{AREAS, IOUS, RECALLS};
use super::groups::groups;
use super::settings::Settings;
use crate::eval::{Detections, Error, GroundTruth, Id, Rules, Warning, mean};

/// The twelve numbers in COCO's order.
pub const STATS: [&str; 12] =
    ["AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl"];

/// The result of an evaluation.
#[derive(Debug, Clone, PartialEq)]
pub struct Evaluation {
    /// The categories in the order of their ids.
    pub classes: Vec<ClassCurves>,
    /// What is odd about the detections.
    pub warnings: Vec<Warning>,
    limits: [usize; 3],
    rules: Rules,
}

/// The numbers of a category; -1 where there is nothing to find.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ClassRow {
    /// Average precision at the overlaps from 0.5 to 0.95.
    pub ap: f64,
    /// At an overlap of 0.5.
    pub ap50: f64,
    /// At an overlap of 0.75.
    pub ap75: f64,
    /// AP of small, medium and large objects.
    pub ap_by_size: [f64; 3],
    /// Average recall at the overlaps from 0.5 to 0.95.
    pub ar: f64,
    /// AR of small, medium and large objects.
    pub ar_by_size: [f64; 3],
}

/// Evaluates detections; the result does not depend on the number of threads.
///
/// # Errors
/// Settings that name images or categories that there are not, or limits that are not three different ones.
pub fn evaluate(
    truth: &GroundTruth,
    detections: &Detections,
    settings: &Settings,
) -> Result<Evaluation, Error> {
    let [first, second, third] = settings.max_detections;
    if first == 0 || first >= second || second >= third {
        return Err(Error::Limits);
    }
    let groups = groups(truth, detections, settings)?;
    let classes: Vec<ClassCurves> =
        groups.into_par_iter().map(|group| ClassCurves::of(group, settings)).collect();
    let mut warnings = oddities(truth, detections, settings);
    let objects = classes.iter().map(|class| class.objects.iter().sum::<usize>()).sum::<usize>();
    if objects == 0 {
        warnings.push(Warning::NoObjects);
    }
    Ok(Evaluation { classes, warnings, limits: settings.max_detections, rules: settings.rules })
}

fn oddities(truth: &GroundTruth, detections: &Detections, settings: &Settings) -> Vec<Warning> {
    let Detections { unknown_categories, negative_sizes, .. } = detections;
    let limit = settings.largest_limit();
    let candidates = [
        (detections.total() == 0, Warning::NoDetections),
        (*negative_sizes > 0, Warning::NegativeDetections(*negative_sizes)),
        (!unknown_categories.is_empty(), Warning::UnknownCategories(unknown_categories.clone())),
        (looks_like_labels(truth, detections), Warning::LooksLikeLabels),
        (limit != 100, Warning::OtherLimit(limit)),
    ];
    candidates.into_iter().filter(|(applies, _)| *applies).map(|(_, warning)| warning).collect()
}

/// Unknown ids among numbers that all are less than the count of categories: class numbers instead of ids.
fn looks_like_labels(truth: &GroundTruth, detections: &Detections) -> bool {
    let count = truth.categories().len() as i64;
    let is_label = |id: &Id| matches!(id, Id::Number(number) if (0..count).contains(number));
    let known = |index: u32| truth.categories().get(index as usize);
    let mut ids =
        detections.entries.iter().filter_map(|one| known(one.category)).map(|category| &category.id);
    let unknown = &detections.unknown_categories;
    !unknown.is_empty() && unknown.keys().all(is_label) && ids.all(is_label)
}

impl Evaluation {
    /// COCO's twelve numbers, in the order of [`STATS`]; -1 where there is nothing to find.
    pub fn stats(&self) -> [f64; 12] {
        let all = 0..IOUS;
        let ap = |area| self.mean_precision(all.clone(), area, 2);
        let ar = |area, limit| self.mean_recall(area, limit);
        let first = self.first_limit().map_or(-1.0, |limit| self.mean_precision(all.clone(), 0, limit));
        [
            first,
            self.mean_precision(0..1, 0, 2),
            self.mean_precision(5..6, 0, 2),
            ap(1),
            ap(2),
            ap(3),
            ar(0, 0),
            ar(0, 1),
            ar(0, 2),
            ar(1, 2),
            ar(2, 2),
            ar(3, 2),
        ]
    }

    /// The limit of the first number: the largest, but pycocotools always asks for 100.
    fn first_limit(&self) -> Option<usize> {
        match self.rules {
            Rules::Sound => Some(2),
            Rules::Pycocotools => self.limits.iter().position(|limit| *limit == 100),
        }
    }

    /// Mean over overlaps, recalls and categories at once, in numpy's order.
    fn mean_precision(&self, ious: Range<usize>, area: usize, limit: usize) -> f64 {
        let mut values = Vec::new();
        for iou in ious {
            let curves: Vec<&[f64]> =
                self.classes.iter().map(|class| class.precision(iou, area, limit)).collect();
            for recall in 0..RECALLS {
                values.extend(curves.iter().filter_map(|curve| curve.get(recall)));
            }
        }
        mean(values)
    }

    fn mean_recall(&self, area: usize, limit: usize) -> f64 {
        let ious = 0..IOUS;
        mean(
            ious.flat_map(|iou| self.classes.iter().map(move |class| class.recall(iou, area, limit)))
                .collect(),
        )
    }

    /// pycocotools' array `precision`: overlap, recall, category, area, limit.
    pub fn precision(&self) -> impl Iterator<Item = f64> + '_ {
        self.curves(ClassCurves::precision)
    }

    /// pycocotools' array `scores`, in the same order.
    pub fn scores(&self) -> impl Iterator<Item = f64> + '_ {
        self.curves(ClassCurves::scores)
    }

    /// pycocotools' array `recall`: overlap, category, area, limit.
    pub fn recall(&self) -> impl Iterator<Item = f64> + '_ {
        let ranges = || (0..AREAS).flat_map(|area| (0..3).map(move |limit| (area, limit)));
        (0..IOUS).flat_map(move |iou| {
            self.classes
                .iter()
                .flat_map(move |class| ranges().map(move |(area, limit)| class.recall(iou, area, limit)))
        })
    }

    fn curves<'a>(
        &'a self,
        curve: impl Fn(&'a ClassCurves, usize, usize, usize) -> &'a [f64] + Copy + 'a,
    ) -> impl Iterator<Item = f64> + 'a {
        let points = (0..IOUS).flat_map(|iou| (0..RECALLS).map(move |recall| (iou, recall)));
        points.flat_map(move |(iou, recall)| {
            let ranges = (0..AREAS).flat_map(|area| (0..3).map(move |limit| (area, limit)));
            let ranges: Vec<(usize, usize)> = ranges.collect();
            self.classes.iter().flat_map(move |class| {
                let value =
                    move |(area, limit)| curve(class, iou, area, limit).get(recall).copied().unwrap_or(-1.0);
                ranges.clone().into_iter().map(value)
            })
        })
    }
}

impl ClassCurves {
    /// The numbers of this category.
    pub fn row(&self) -> ClassRow {
        let ap = |ious: Range<usize>, area: usize| {
            mean(ious.flat_map(|iou| self.precision(iou, area, 2).iter().copied()).collect())
        };
        let ar = |area: usize| mean((0..IOUS).map(|iou| self.recall(iou, area, 2)).collect());
        ClassRow {
            ap: ap(0..IOUS, 0),
            ap50: ap(0..1, 0),
            ap75: ap(5..6, 0),
            ap_by_size: [1, 2, 3].map(|area| ap(0..IOUS, area)),
            ar: ar(0),
            ar_by_size: [1, 2, 3].map(ar),
        }
    }
}
