//! Which boxes are none, and which are odd.

use super::defect::Reason;
use crate::boxes::{Bounds, Shape};
use crate::pictures::PictureSize;

/// How far a box may reach over the border: what counting pixels from 0 and from 1 differs by.
pub const BORDER_TOLERANCE: f64 = 1.0;
/// Reaching over the border by less is rounding: YOLO's six decimals are 0.012 pixels in the largest picture.
const ROUNDING: f64 = 0.02;

/// What makes this no box in a picture of this size.
pub(super) fn fault(shape: Shape, size: PictureSize) -> Option<Reason> {
    let bounds = shape.bounds(size);
    let Bounds { x, y, width, height } = bounds;
    let is_pixels = matches!(shape, Shape::Pixels(_));
    if ![x, y, width, height].iter().all(|value| value.is_finite()) {
        Some(Reason::NotFinite)
    } else if width < 0.0 || height < 0.0 {
        Some(if is_pixels { Reason::SwappedCorners } else { Reason::NegativeSize })
    } else if width == 0.0 || height == 0.0 {
        Some(Reason::ZeroSize)
    } else {
        (bounds.excess(size) > BORDER_TOLERANCE + ROUNDING).then_some(Reason::BeyondBorder)
    }
}

/// What is odd about a box that is one.
pub(super) fn oddity(bounds: Bounds, size: PictureSize) -> Option<Reason> {
    if bounds.width.min(bounds.height) <= 1.0 {
        return Some(Reason::OnePixel);
    }
    (bounds.excess(size) > ROUNDING).then_some(Reason::GrazesBorder)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: PictureSize = PictureSize { width: 640, height: 480 };

    #[test]
    fn faults_are_told_apart() {
        let cases = [
            (Shape::Sides([0.0, 0.0, 640.0, 480.0]), None),
            (Shape::Sides([-1.0, 0.0, 642.0, 480.0]), None),
            (Shape::Sides([-1.5, 0.0, 10.0, 10.0]), Some(Reason::BeyondBorder)),
            (Shape::Sides([630.0, 0.0, 12.0, 10.0]), Some(Reason::BeyondBorder)),
            (Shape::Sides([1.0, 1.0, 0.0, 10.0]), Some(Reason::ZeroSize)),
            (Shape::Sides([1.0, 1.0, 10.0, -4.0]), Some(Reason::NegativeSize)),
            (Shape::Sides([1.0, f64::NAN, 10.0, 4.0]), Some(Reason::NotFinite)),
            (Shape::Sides([1e308, 1.0, 1e308, 4.0]), Some(Reason::BeyondBorder)),
            (Shape::Pixels([20.0, 5.0, 10.0, 9.0]), Some(Reason::SwappedCorners)),
            (Shape::Pixels([20.0, 5.0, 19.0, 9.0]), Some(Reason::ZeroSize)),
            (Shape::Pixels([20.0, 5.0, 20.0, 5.0]), None),
            (Shape::Shares([0.5, 0.5, 1e308, 1e308]), Some(Reason::NotFinite)),
            (Shape::Shares([200.0, 0.5, 30.0, 0.1]), Some(Reason::BeyondBorder)),
        ];
        for (shape, expected) in cases {
            assert_eq!(fault(shape, SIZE), expected, "{shape:?}");
        }
    }

    #[test]
    fn odd_boxes_are_boxes() {
        let oddity = |sides| super::oddity(Shape::Sides(sides).bounds(SIZE), SIZE);
        assert_eq!(oddity([5.0, 5.0, 1.0, 30.0]), Some(Reason::OnePixel));
        assert_eq!(oddity([-1.0, 5.0, 20.0, 30.0]), Some(Reason::GrazesBorder));
        assert_eq!(oddity([0.0, 5.0, 640.01, 30.0]), None);
    }
}
