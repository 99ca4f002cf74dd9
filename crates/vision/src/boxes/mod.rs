//! Boxes: conventions of coordinates, areas, overlaps, clipping.
//!
//! Files say a box in one of three ways ([`Shape`]); [`Bounds`] is what they have in common. Detectors have corners:
//! left, top, right, bottom. Overlaps are intersections over unions, and each original rounds them in its own way,
//! which decides ties: the order of operations in a function here is its original's, and none stands for another.

mod bounds;
mod clip;
mod overlap;

pub use bounds::{Bounds, Shape};
pub use clip::clipped;
pub use overlap::{corner_area, corner_overlap, crowd_overlap, pixel_overlap, side_overlap};
