//! A detector whose detections are evaluated.

use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::Args;
use serde::{Deserialize, Serialize};

use super::classes::{Categories, Class, Matching, matched};
use super::pictures::{Picture, look};
use super::provenance::{DetectorRun, Hashed};
use crate::cli::detect::share;
use crate::cli::size::image_size;
use crate::detect::coco::decimal;
use crate::detect::{Detector, Labels};
use crate::identify::{Loaded, Request, load};
use network::models::DetectorFacts;
use vision::annotations::Id;
use vision::eval::{Detections, read_file};

/// How a detector is run, where that is not the family's usual way.
#[derive(Debug, Clone, PartialEq, Default, Args, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct DetectorOptions {
    /// The network in the checkpoint, as port models lists them; by default it is found out
    #[arg(long, value_name = "NAME", requires = "weights")]
    model: Option<String>,
    /// Names of the network's classes, as the annotations have them: separated by commas, or a file with one on each
    /// line, or COCO annotations (.json)
    #[arg(long, requires = "weights")]
    names: Option<String>,
    /// Size of the network's input: a side or WIDTHxHEIGHT in pixels; by default the family's usual one
    #[arg(long, value_name = "SIZE", requires = "weights", value_parser = size)]
    image_size: Option<String>,
    /// Detections score more than this [default: the family's]
    #[arg(long, value_name = "SCORE", requires = "weights", value_parser = share)]
    score_threshold: Option<f64>,
    /// Of two boxes of a class that overlap more than this, the better one counts [default: the family's]
    #[arg(long, value_name = "IOU", requires = "weights", value_parser = share)]
    nms_iou: Option<f64>,
    /// Detections in a picture [default: the family's]
    #[arg(long, value_name = "NUMBER", requires = "weights")]
    max_detections: Option<usize>,
    /// Pictures that go through the network at a time; the numbers are the same for any [default: 4]
    #[arg(long, value_name = "NUMBER", requires = "weights", value_parser = clap::value_parser!(u16).range(1..=MAX_BATCH))]
    batch: Option<u16>,
}

/// More pictures at a time would only take memory.
const MAX_BATCH: i64 = 256;
/// Pictures at a time: more are no faster (docs/performance.md).
const BATCH: u16 = 4;

/// Checks a size and keeps it as it is written.
fn size(text: &str) -> Result<String, String> {
    image_size(text).map(|_| text.to_owned())
}

impl DetectorOptions {
    fn load(&self, weights: &Path) -> Result<Loaded> {
        Ok(load(weights, Request { model: self.model.as_deref(), ..Request::default() })?)
    }

    /// What the network's classes are to the ground truth.
    fn classes(&self, loaded: &Loaded, categories: &Categories) -> Result<(Matching, Vec<Class>)> {
        let count = loaded.model.classes();
        let names = self.names.as_deref().map(|names| Labels::given(names, count)).transpose()?;
        Ok(matched(names, count, categories)?)
    }

    fn detector(&self, loaded: &Loaded) -> Result<Detector> {
        let size = self.image_size.as_ref().and_then(|size| image_size(size).ok());
        let mut facts = loaded.model.facts(size.unwrap_or_else(|| loaded.model.usual_size()));
        facts.selection = facts.evaluation.clone();
        let selection = &mut facts.selection;
        let score = self.score_threshold.map(|score| score as f32);
        selection.score_threshold = score.unwrap_or(selection.score_threshold);
        selection.nms_iou = self.nms_iou.unwrap_or(selection.nms_iou);
        selection.max_detections = self.max_detections.unwrap_or(selection.max_detections);
        Ok(Detector::new(&loaded.model, &loaded.weights, facts)?)
    }
}

/// A detector, and the folder of the pictures that it looks at.
#[derive(Debug, Clone)]
pub(super) struct Job {
    pub(super) weights: PathBuf,
    pub(super) images: PathBuf,
    pub(super) options: DetectorOptions,
}

impl Job {
    /// The detections in the pictures, by category.
    pub(super) fn run(
        &self,
        pictures: &[Picture],
        categories: &Categories,
    ) -> Result<(Detections, DetectorRun)> {
        let Job { weights, images, options } = self;
        let weights = Hashed::new(weights, &read_file(weights)?);
        let loaded = options.load(&self.weights)?;
        let (matching, classes) = options.classes(&loaded, categories)?;
        let mut detector = options.detector(&loaded)?;
        let batch = usize::from(options.batch.unwrap_or(BATCH).max(1));
        let (detections, sha256) = look(&mut detector, pictures, batch, &classes)?;
        let DetectorFacts { preprocessing, selection, .. } = detector.facts();
        let run = DetectorRun {
            weights,
            network: loaded.description,
            images: Hashed { file: images.clone(), sha256 },
            matching,
            categories: ids(&classes, categories),
            options: options.clone(),
            image_size: preprocessing.size.to_string(),
            resize: preprocessing.resize.to_string(),
            score_threshold: decimal(selection.score_threshold),
            nms_iou: selection.nms_iou,
            max_detections: selection.max_detections,
        };
        Ok((detections, run))
    }
}

fn ids(classes: &[Class], categories: &Categories) -> Vec<Option<Id>> {
    let id = |class: &Class| match class {
        Class::Category(index) => categories.entries.get(*index as usize).map(|one| one.id.clone()),
        Class::Unlisted(_) => None,
    };
    classes.iter().map(id).collect()
}
