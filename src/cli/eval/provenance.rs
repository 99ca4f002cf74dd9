//! What a result was made from: enough to make it again, and to see whether anything has changed.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::detector::DetectorOptions;
use crate::eval::coco::Settings;

/// Inputs, settings and tool of a COCO evaluation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Provenance {
    /// Name and version of the program.
    pub(super) tool: String,
    pub(super) annotations: Hashed,
    /// The result file, where detections come from one.
    pub(super) results: Option<Hashed>,
    /// The detector, where detections come from one.
    pub(super) detector: Option<DetectorRun>,
    pub(super) settings: Settings,
    /// SHA-256 of the settings as JSON.
    pub(super) settings_sha256: String,
}

/// A file, or the files of a folder, and the SHA-256 of what was read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Hashed {
    pub(super) file: PathBuf,
    pub(super) sha256: String,
}

/// How a detector was run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct DetectorRun {
    pub(super) weights: Hashed,
    /// What was recognised.
    pub(super) network: String,
    /// The folder of pictures; the hash is of the names and contents of all that were read.
    pub(super) images: Hashed,
    /// What was asked for.
    pub(super) options: DetectorOptions,
    /// What held, with the family's defaults.
    pub(super) image_size: String,
    pub(super) resize: String,
    pub(super) score_threshold: f64,
    pub(super) nms_iou: f64,
    pub(super) max_detections: usize,
}

/// This program.
pub(super) fn tool() -> String {
    concat!("port ", env!("CARGO_PKG_VERSION")).to_owned()
}

impl Hashed {
    pub(super) fn new(file: &Path, bytes: &[u8]) -> Hashed {
        Hashed { file: file.to_owned(), sha256: sha256(bytes) }
    }

    /// The first digits of the hash, for people.
    pub(super) fn short(&self) -> &str {
        self.sha256.get(..16).unwrap_or(&self.sha256)
    }
}

/// In hexadecimal digits.
pub(super) fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// SHA-256 of settings as JSON.
pub(super) fn settings_sha256(settings: &impl Serialize) -> serde_json::Result<String> {
    Ok(sha256(&serde_json::to_vec(settings)?))
}
