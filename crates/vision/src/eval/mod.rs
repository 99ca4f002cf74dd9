//! Metrics of detectors: ground truth and detections in memory become numbers.
//!
//! [`coco`] has COCO's metrics, [`voc`] Pascal VOC's. Both work on plain structures; [`read_annotations`] and
//! [`read_results`] fill them from COCO's files, [`voc::read_ground_truth`] from the development kit's.

mod annotations;
pub mod coco;
mod dataset;
mod error;
mod file;
mod mean;
mod results;
mod rules;
pub mod voc;
mod warning;

pub use crate::annotations::Id;
pub use annotations::read_annotations;
pub use dataset::{Category, Detection, Detections, GroundTruth, Image, Object};
pub use error::Error;
pub use file::read_file;
use mean::mean;
pub use results::read_results;
pub use rules::Rules;
pub use warning::Warning;
