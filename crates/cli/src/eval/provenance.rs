//! What a result was made from: enough to make it again, and to see whether anything has changed.

use std::path::{Path, PathBuf};

use files::{Sha256, sha256};
use serde::{Deserialize, Serialize};

use super::classes::Matching;
use super::options::DetectorOptions;
use vision::annotations::Id;
use vision::eval::{Error, read_file};

/// Inputs, settings and tool of an evaluation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Provenance<S> {
    /// Name and version of the program.
    pub(super) tool: String,
    /// The file of annotations, or the folder of VOC's.
    pub(super) annotations: Hashed,
    /// The file that names VOC's images, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) image_set: Option<Hashed>,
    /// The result file, or the folder of VOC's, where detections come from there.
    pub(super) results: Option<Hashed>,
    /// The detector, where detections come from one.
    pub(super) detector: Option<DetectorRun>,
    pub(super) settings: S,
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
    /// How the network's classes and the categories were matched.
    pub(super) matching: Matching,
    /// The category of each class of the network, where it has one.
    pub(super) categories: Vec<Option<Id>>,
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

    /// Files of a folder: their names and contents are hashed together.
    pub(super) fn folder(folder: &Path, files: &[PathBuf]) -> Result<Hashed, Error> {
        let mut hash = Sha256::default();
        for file in files {
            hash.update(listed(file, &sha256(&read_file(file)?)));
        }
        Ok(Hashed { file: folder.to_owned(), sha256: hash.hexadecimal() })
    }

    /// The first digits of the hash, for people.
    pub(super) fn short(&self) -> &str {
        self.sha256.get(..16).unwrap_or(&self.sha256)
    }
}

/// A file's line in the list of files whose hash stands for them all: its name and the SHA-256 of its content.
pub(super) fn listed(file: &Path, sha256: &str) -> String {
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    format!("{name}\0{sha256}\n")
}

/// SHA-256 of settings as JSON.
pub(super) fn settings_sha256(settings: &impl Serialize) -> serde_json::Result<String> {
    Ok(sha256(&serde_json::to_vec(settings)?))
}
