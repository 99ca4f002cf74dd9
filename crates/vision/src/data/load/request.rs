//! Which data set to read, and what reading gives.

use std::path::PathBuf;

use crate::data::draft::Draft;
use crate::data::{Category, DataSet, Defects, Format};

/// Which data set to read.
#[derive(Debug, Clone, Default)]
pub struct Request {
    /// A COCO file, a `data.yaml`, or a folder of VOC's or YOLO's form.
    pub path: PathBuf,
    /// The format; found out when `None`.
    pub format: Option<Format>,
    /// The folder of the pictures; looked for in the usual places when `None`.
    pub images: Option<PathBuf>,
    /// A part: VOC's `ImageSets/Main/NAME.txt`, YOLO's `images/NAME`.
    pub split: Option<String>,
    /// The names of the classes in their order, for VOC and YOLO.
    pub names: Option<Vec<String>>,
}

/// A data set that was read.
#[derive(Debug)]
pub struct Loaded {
    /// Its format.
    pub format: Format,
    /// What is in it.
    pub set: DataSet,
    /// The folder of the pictures, where it is known.
    pub pictures: Option<PathBuf>,
    /// What was wrong with it.
    pub defects: Defects,
}

/// What the readers of the formats find.
pub(super) struct Raw {
    pub(super) categories: Vec<Category>,
    /// The file that each image is from, for messages.
    pub(super) drafts: Vec<(String, Draft)>,
    pub(super) pictures: Option<PathBuf>,
}
