//! A detector whose detections are evaluated.

use std::path::{Path, PathBuf};

use crate::failure::Result;

use super::classes::{Categories, Class, Matching, matched};
use super::options::DetectorOptions;
use super::pictures::{Picture, look};
use super::provenance::{DetectorRun, Hashed};
use crate::size::image_size;
use network::models::DetectorFacts;
use port::detect::coco::decimal;
use port::detect::{Detector, Labels};
use port::identify::{Loaded, Request, load};
use vision::annotations::Id;
use vision::eval::{Detections, read_file};

/// Pictures at a time: more are no faster (docs/performance.md).
const BATCH: u16 = 4;

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
