//! Whose rules hold where pycocotools errs.

use serde::{Deserialize, Serialize};

/// How odd data are treated; with good data both give the same numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Rules {
    /// Every annotation counts whatever its id, and numbers that are not finite are errors.
    #[default]
    Sound,
    /// As pycocotools 2.0.11 does: an annotation with the id 0 is never found, annotations that share an id are
    /// confused, NaN scores come last, AP is -1 without a limit of 100 detections.
    Pycocotools,
}
