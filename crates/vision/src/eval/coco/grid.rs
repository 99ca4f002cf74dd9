//! Where COCO measures: overlaps, recalls and areas.

/// Number of overlaps (intersection over union) from which a detection hits.
pub const IOUS: usize = 10;
/// Number of recalls at which precision is taken.
pub const RECALLS: usize = 101;
/// Number of ranges of areas.
pub const AREAS: usize = 4;

/// Names of the ranges of areas.
pub const AREA_NAMES: [&str; AREAS] = ["all", "small", "medium", "large"];

/// Square pixels, both ends included: an area of 1024 is small and medium (`areaRng` of pycocotools).
const AREA_RANGES: [(f64, f64); AREAS] = [(0.0, 1e10), (0.0, 1024.0), (1024.0, 9216.0), (9216.0, 1e10)];

/// Of each range whether the area lies outside.
pub(super) fn is_outside(area: f64) -> [bool; AREAS] {
    AREA_RANGES.map(|(least, most)| area < least || area > most)
}

/// 0.5, 0.55, ..., 0.95 as numpy computes them: the ninth is 0.8999999999999999.
pub fn iou_thresholds() -> [f64; IOUS] {
    linspace(0.5, 0.95)
}

/// 0, 0.01, ..., 1 as numpy computes them.
pub fn recall_thresholds() -> [f64; RECALLS] {
    linspace(0.0, 1.0)
}

/// `numpy.linspace(start, stop, COUNT)`.
fn linspace<const COUNT: usize>(start: f64, stop: f64) -> [f64; COUNT] {
    let last = COUNT - 1;
    let step = (stop - start) / last as f64;
    std::array::from_fn(|index| if index == last { stop } else { index as f64 * step + start })
}
