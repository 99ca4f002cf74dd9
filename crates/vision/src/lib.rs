//! Pictures, boxes, data sets and metrics: what detection needs and no network is asked for.
//!
//! - [`annotations`] reads COCO's and Pascal VOC's files record by record, as they say it;
//! - [`pictures`] reads pictures of strangers, resizes them to OpenCV's bits, and draws boxes on them;
//! - [`boxes`] is their arithmetic: conventions of coordinates, areas, overlaps, clipping;
//! - [`data`] reads data sets into one form, judges, counts, parts and writes them;
//! - [`eval`] turns ground truth and detections into COCO's and Pascal VOC's numbers.

#![forbid(unsafe_code)]

pub mod annotations;
pub mod boxes;
pub mod data;
pub mod eval;
pub mod pictures;
