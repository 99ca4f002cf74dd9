//! Boxes in pixels, and the three ways in which files say them.

use std::fmt;

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
}

impl Bounds {
    /// Width times height, in square pixels.
    pub fn area(self) -> f64 {
        self.width * self.height
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
    pub fn excess(self, size: PictureSize) -> f64 {
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
}
