//! What an evaluation found.

use super::measure::Measure;
use super::provenance::Provenance;
use vision::eval::Warning;
use vision::eval::coco::{Evaluation, Settings};
use vision::eval::voc::ClassResult;

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
