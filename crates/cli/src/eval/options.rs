//! How a detector that is evaluated is to be run.

use clap::Args;
use serde::{Deserialize, Serialize};

use crate::share::share;
use crate::size::image_size;

/// How a detector is run, where that is not the family's usual way.
#[derive(Debug, Clone, PartialEq, Default, Args, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct DetectorOptions {
    /// The network in the checkpoint, as port models lists them; by default it is found out
    #[arg(long, value_name = "NAME", requires = "weights")]
    pub(super) model: Option<String>,
    /// Names of the network's classes, as the annotations have them: separated by commas, or a file with one on each
    /// line, or COCO annotations (.json)
    #[arg(long, requires = "weights")]
    pub(super) names: Option<String>,
    /// Size of the network's input: a side or WIDTHxHEIGHT in pixels; by default the family's usual one
    #[arg(long, value_name = "SIZE", requires = "weights", value_parser = size)]
    pub(super) image_size: Option<String>,
    /// Detections score more than this [default: the family's]
    #[arg(long, value_name = "SCORE", requires = "weights", value_parser = share)]
    pub(super) score_threshold: Option<f64>,
    /// Of two boxes of a class that overlap more than this, the better one counts [default: the family's]
    #[arg(long, value_name = "IOU", requires = "weights", value_parser = share)]
    pub(super) nms_iou: Option<f64>,
    /// Detections in a picture [default: the family's]
    #[arg(long, value_name = "NUMBER", requires = "weights")]
    pub(super) max_detections: Option<usize>,
    /// Pictures that go through the network at a time; the numbers are the same for any [default: 4]
    #[arg(long, value_name = "NUMBER", requires = "weights", value_parser = clap::value_parser!(u16).range(1..=MAX_BATCH))]
    pub(super) batch: Option<u16>,
}

/// More pictures at a time would only take memory.
const MAX_BATCH: i64 = 256;

/// Checks a size and keeps it as it is written.
fn size(text: &str) -> Result<String, String> {
    image_size(text).map(|_| text.to_owned())
}
