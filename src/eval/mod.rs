//! Metrics of detectors: ground truth and detections in memory become numbers.
//!
//! [`coco`] has COCO's metrics, [`voc`] Pascal VOC's. Both work on plain structures; [`read_annotations`] and
//! [`read_results`] fill COCO's from JSON, which [`json`] reads value by value.

mod annotations;
pub mod coco;
mod dataset;
mod error;
mod file;
mod id;
pub mod json;
mod mean;
mod record;
mod results;
mod rules;
pub mod voc;
mod warning;

pub use annotations::read_annotations;
pub use dataset::{Category, Detection, Detections, GroundTruth, Image, Object};
pub use error::{Error, Flaw};
pub use file::read_file;
pub use id::Id;
use mean::mean;
pub use results::read_results;
pub use rules::Rules;
pub use warning::Warning;
