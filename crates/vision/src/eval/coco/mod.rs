//! COCO's metrics, with the rules of pycocotools 2.0.11 and equal to it bit for bit.
//!
//! [`evaluate`] takes ground truth and detections apart by category (`groups`), finds in every image which detections
//! hit (`matching`), and turns hits in the order of their scores into precision at fixed recalls (`accumulate`). What
//! comes out is an [`Evaluation`]: the curves, and the means that are published.

mod accumulate;
mod evaluation;
mod grid;
mod groups;
mod matching;
mod settings;

pub use accumulate::{ClassCurves, OperatingPoint};
pub use evaluation::{ClassRow, Evaluation, STATS, evaluate};
pub use grid::{AREA_NAMES, AREAS, IOUS, RECALLS, iou_thresholds, recall_thresholds};
pub use groups::chosen_images;
pub use settings::Settings;
