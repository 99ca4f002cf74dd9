//! Intersection over union, as the originals compute it.

/// Width times height of a box (left, top, right, bottom), negative if one of them is.
#[inline]
pub fn corner_area([left, top, right, bottom]: [f32; 4]) -> f32 {
    (right - left) * (bottom - top)
}

/// Overlap of two boxes (left, top, right, bottom) whose areas are known, in f32 as torchvision's `nms`. That of two
/// empty boxes (0 / 0) is not a number.
#[inline]
pub fn corner_overlap(a: [f32; 4], b: [f32; 4], [area, other_area]: [f32; 2]) -> f32 {
    let ([left, top, right, bottom], [other_left, other_top, other_right, other_bottom]) = (a, b);
    let width = (right.min(other_right) - left.max(other_left)).max(0.0);
    let height = (bottom.min(other_bottom) - top.max(other_top)).max(0.0);
    let intersection = width * height;
    intersection / (area + other_area - intersection)
}

/// Overlap of a detection and an object (left, top, width, height), as `bbIou` of pycocotools' maskApi.c.
#[inline]
pub fn side_overlap(detection: [f64; 4], object: [f64; 4]) -> f64 {
    let ([_, _, width, height], [_, _, other_width, other_height]) = (detection, object);
    let union = |own, intersection| own + other_width * other_height - intersection;
    intersection(detection, object)
        .map_or(0.0, |intersection| intersection / union(width * height, intersection))
}

/// The part of a detection that lies in a crowd (both left, top, width, height), as `bbIou` for `iscrowd`.
#[inline]
pub fn crowd_overlap(detection: [f64; 4], crowd: [f64; 4]) -> f64 {
    let [_, _, width, height] = detection;
    intersection(detection, crowd).map_or(0.0, |intersection| intersection / (width * height))
}

/// What two boxes (left, top, width, height) have in common; `None` if nothing.
fn intersection(a: [f64; 4], b: [f64; 4]) -> Option<f64> {
    let ([left, top, width, height], [other_left, other_top, other_width, other_height]) = (a, b);
    let across = (width + left).min(other_width + other_left) - left.max(other_left);
    if across <= 0.0 {
        return None;
    }
    let down = (height + top).min(other_height + other_top) - top.max(other_top);
    if down <= 0.0 {
        return None;
    }
    Some(across * down)
}

/// Overlap of two boxes (left, top, right, bottom) as Pascal VOC's development kit. If `plus_one`, right and bottom
/// are the last pixels that belong to them, so that a box is one pixel wider than its corners are apart.
#[inline]
pub fn pixel_overlap(a: [f64; 4], b: [f64; 4], plus_one: bool) -> f64 {
    let more = if plus_one { 1.0 } else { 0.0 };
    let area = |[left, top, right, bottom]: [f64; 4]| (right - left + more) * (bottom - top + more);
    let ([left, top, right, bottom], [other_left, other_top, other_right, other_bottom]) = (a, b);
    let across = right.min(other_right) - left.max(other_left) + more;
    let down = bottom.min(other_bottom) - top.max(other_top) + more;
    if across <= 0.0 || down <= 0.0 {
        return 0.0;
    }
    let intersection = across * down;
    intersection / (area(a) + area(b) - intersection)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The same two boxes in each convention: 10 by 10 and 5 by 10 within it, half of the union in common.
    #[test]
    fn conventions_agree_on_whole_pixels() {
        let (large, small) = ([2.0, 3.0, 12.0, 13.0], [2.0, 3.0, 7.0, 13.0]);
        assert_eq!(corner_overlap(large, small, [corner_area(large), corner_area(small)]), 0.5);
        assert_eq!(side_overlap([2.0, 3.0, 10.0, 10.0], [2.0, 3.0, 5.0, 10.0]), 0.5);
        assert_eq!(pixel_overlap([2.0, 3.0, 11.0, 12.0], [2.0, 3.0, 6.0, 12.0], true), 0.5);
        assert_eq!(pixel_overlap(large.map(f64::from), small.map(f64::from), false), 0.5);
    }

    #[test]
    fn a_crowd_is_asked_how_much_of_the_detection_it_has() {
        assert_eq!(crowd_overlap([0.0, 0.0, 10.0, 10.0], [5.0, 0.0, 500.0, 500.0]), 0.5);
        assert_eq!(crowd_overlap([0.0, 0.0, 10.0, 10.0], [10.0, 0.0, 5.0, 5.0]), 0.0);
    }

    #[test]
    fn boxes_apart_do_not_overlap_and_empty_ones_are_no_number() {
        assert_eq!(corner_overlap([0.0, 0.0, 1.0, 1.0], [5.0, 0.0, 6.0, 1.0], [1.0; 2]), 0.0);
        assert_eq!(side_overlap([0.0, 0.0, 1.0, 1.0], [5.0, 0.0, 1.0, 1.0]), 0.0);
        assert_eq!(pixel_overlap([0.0, 0.0, 1.0, 1.0], [5.0, 0.0, 6.0, 1.0], true), 0.0);
        assert!(corner_overlap([1.0; 4], [1.0; 4], [0.0; 2]).is_nan());
    }
}
