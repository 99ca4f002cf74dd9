//! What VOC's evaluation measures.

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use vision::eval::voc::Settings;

/// Which of VOC's metrics.
#[derive(Debug, Clone, Copy, PartialEq, ValueEnum, Serialize, Deserialize)]
pub(super) enum Year {
    #[value(name = "07")]
    #[serde(rename = "07")]
    Seven,
    #[value(name = "10")]
    #[serde(rename = "10")]
    Ten,
}

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(super) struct Measure {
    pub(super) metric: Year,
    #[serde(flatten)]
    pub(super) settings: Settings,
}
