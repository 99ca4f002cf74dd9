//! Boxes in pixels, and the three ways in which files say them.

use std::fmt;

use super::defect::Reason;
use crate::pictures::PictureSize;

/// A box in pixels; the picture's left upper corner is (0, 0), a box around its first pixel has width and height 1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bounds {
    /// The left side.
    pub x: f64,
    /// The upper side.
    pub y: f64,
    /// Pixels across.
    pub width: f64,
    /// Pixels down.
    pub height: f64,
}

impl fmt::Display for Bounds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{}, {}, {}, {}]", self.x, self.y, self.width, self.height)
    }
}

/// A box as a file says it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Shape {
    /// COCO: left, top, width, height in pixels.
    Sides([f64; 4]),
    /// Pascal VOC: first and last pixel, across and down (`xmin`, `ymin`, `xmax`, `ymax`), counted from 1.
    Pixels([f64; 4]),
    /// YOLO: middle, width and height (x, y, width, height) as shares of the picture's.
    Shares([f64; 4]),
}

/// How far a box may reach over the border: what counting pixels from 0 and from 1 differs by.
pub const BORDER_TOLERANCE: f64 = 1.0;
/// Reaching over the border by less is rounding: YOLO's six decimals are 0.012 pixels in the largest picture.
const ROUNDING: f64 = 0.02;
/// Boxes that are computed from the numbers in a file are rounded to 1 / this of a pixel, about what those can say.
const STEPS: f64 = 1000.0;

impl Shape {
    /// The box in a picture of this size. Those of COCO are taken as they are; those of VOC and YOLO, which have to
    /// be computed, are rounded to thousandths of a pixel, so that one box is the same from every format.
    pub fn bounds(self, size: PictureSize) -> Bounds {
        match self {
            Shape::Sides([x, y, width, height]) => Bounds { x, y, width, height },
            Shape::Pixels([left, top, right, bottom]) => Bounds {
                x: rounded(left - 1.0),
                y: rounded(top - 1.0),
                width: rounded(right - left + 1.0),
                height: rounded(bottom - top + 1.0),
            },
            Shape::Shares([x, y, width, height]) => {
                let (across, down) = (f64::from(size.width), f64::from(size.height));
                Bounds {
                    x: rounded((x - width / 2.0) * across),
                    y: rounded((y - height / 2.0) * down),
                    width: rounded(width * across),
                    height: rounded(height * down),
                }
            }
        }
    }

    /// Whether these are pixels counted in fractions, which the VOC devkit never writes but some tools do.
    pub fn is_fractional(self) -> bool {
        matches!(self, Shape::Pixels(pixels) if pixels.iter().any(|pixel| pixel.fract() != 0.0))
    }

    /// What makes this no box in a picture of this size.
    pub fn fault(self, size: PictureSize) -> Option<Reason> {
        let Bounds { x, y, width, height } = self.bounds(size);
        let is_pixels = matches!(self, Shape::Pixels(_));
        if ![x, y, width, height].iter().all(|value| value.is_finite()) {
            Some(Reason::NotFinite)
        } else if width < 0.0 || height < 0.0 {
            Some(if is_pixels { Reason::SwappedCorners } else { Reason::NegativeSize })
        } else if width == 0.0 || height == 0.0 {
            Some(Reason::ZeroSize)
        } else {
            (self.bounds(size).excess(size) > BORDER_TOLERANCE + ROUNDING).then_some(Reason::BeyondBorder)
        }
    }
}

impl Bounds {
    /// Width times height, in square pixels.
    pub fn area(self) -> f64 {
        self.width * self.height
    }

    /// What is odd about a box that is one.
    pub fn oddity(self, size: PictureSize) -> Option<Reason> {
        if self.width.min(self.height) <= 1.0 {
            return Some(Reason::OnePixel);
        }
        (self.excess(size) > ROUNDING).then_some(Reason::GrazesBorder)
    }

    /// First and last pixel, across and down, counted from 1: the inverse of [`Shape::Pixels`].
    pub fn pixels(self) -> [f64; 4] {
        let Bounds { x, y, width, height } = self;
        [x + 1.0, y + 1.0, x + width, y + height].map(rounded)
    }

    /// Middle, width and height as shares of the picture's: the inverse of [`Shape::Shares`].
    pub fn shares(self, size: PictureSize) -> [f64; 4] {
        let Bounds { x, y, width, height } = self;
        let (across, down) = (f64::from(size.width), f64::from(size.height));
        [(x + width / 2.0) / across, (y + height / 2.0) / down, width / across, height / down]
    }

    /// By how many pixels this reaches over the picture's border, on the side where it does most.
    fn excess(self, size: PictureSize) -> f64 {
        let right = self.x + self.width - f64::from(size.width);
        let bottom = self.y + self.height - f64::from(size.height);
        right.max(bottom).max(-self.x).max(-self.y)
    }
}

fn rounded(value: f64) -> f64 {
    // Adding zero makes -0 plain.
    (value * STEPS).round() / STEPS + 0.0
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: PictureSize = PictureSize { width: 640, height: 480 };

    #[test]
    fn the_three_ways_say_the_same_box() {
        let expected = Bounds { x: 259.0, y: 176.0, width: 232.0, height: 200.0 };
        assert_eq!(Shape::Sides([259.0, 176.0, 232.0, 200.0]).bounds(SIZE), expected);
        assert_eq!(Shape::Pixels([260.0, 177.0, 491.0, 376.0]).bounds(SIZE), expected);
        assert_eq!(Shape::Shares([0.585938, 0.575, 0.3625, 0.416667]).bounds(SIZE), expected);
        assert_eq!(expected.pixels(), [260.0, 177.0, 491.0, 376.0]);
    }

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
        for (shape, fault) in cases {
            assert_eq!(shape.fault(SIZE), fault, "{shape:?}");
        }
    }

    #[test]
    fn odd_boxes_are_boxes() {
        let oddity = |sides| Shape::Sides(sides).bounds(SIZE).oddity(SIZE);
        assert_eq!(oddity([5.0, 5.0, 1.0, 30.0]), Some(Reason::OnePixel));
        assert_eq!(oddity([-1.0, 5.0, 20.0, 30.0]), Some(Reason::GrazesBorder));
        assert_eq!(oddity([0.0, 5.0, 640.01, 30.0]), None);
    }
}
