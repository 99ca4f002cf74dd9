//! What an evaluation found.

use super::measure::Measure;
use super::provenance::Provenance;
use crate::eval::Warning;
use crate::eval::coco::{Evaluation, Settings};
use crate::eval::voc::ClassResult;

/// By COCO's metric.
pub(super) struct CocoOutcome {
    pub(super) evaluation: Evaluation,
    pub(super) provenance: Provenance<Settings>,
    pub(super) images: usize,
}

/// By Pascal VOC's metric.
pub(super) struct VocOutcome {
    pub(super) classes: Vec<ClassResult>,
    pub(super) warnings: Vec<Warning>,
    pub(super) provenance: Provenance<Measure>,
}
