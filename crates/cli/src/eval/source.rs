//! Where detections come from: a result file, or a detector that is run.

use std::path::PathBuf;

use crate::failure::Result;
use clap::Args;

use super::classes::{Categories, Category};
use super::detector::Job;
use super::options::DetectorOptions;
use super::pictures::{Picture, named};
use super::provenance::{DetectorRun, Hashed};
use crate::outcome::Usage;
use vision::annotations::results::ResultEntry;
use vision::eval::coco::{Settings, chosen_images};
use vision::eval::{Detection, Detections, GroundTruth, read_file, read_results};

/// Arguments that name a detector.
#[derive(Debug, Args)]
pub(super) struct DetectorArguments {
    /// A detector's checkpoint to run instead
    #[arg(long, value_name = "FILE")]
    pub(super) weights: Option<PathBuf>,
    /// The folder of the annotations' pictures, for --weights
    #[arg(long, value_name = "DIR", requires = "weights")]
    images: Option<PathBuf>,
    #[command(flatten)]
    options: DetectorOptions,
}

/// Where detections come from.
#[derive(Debug)]
pub(super) enum Source {
    Results(PathBuf),
    Detector(Job),
}

/// Detections, and the file or the run that they are from.
#[derive(Debug)]
pub(super) struct Detected {
    pub(super) detections: Detections,
    pub(super) results: Option<Hashed>,
    pub(super) detector: Option<DetectorRun>,
}

impl DetectorArguments {
    /// What is asked for: results, or a detector and its pictures, which may lie in the `usual` folder.
    pub(super) fn source(&self, results: Option<&PathBuf>, usual: Option<PathBuf>) -> Result<Source, Usage> {
        match (results, &self.weights, self.images.clone().or(usual)) {
            (Some(results), ..) => Ok(Source::Results(results.clone())),
            (None, Some(weights), Some(images)) => {
                let (weights, options) = (weights.clone(), self.options.clone());
                Ok(Source::Detector(Job { weights, images, options }))
            }
            (None, Some(_), None) => Err(Usage("give --images, the folder of the pictures".to_owned())),
            (None, None, _) => {
                Err(Usage("give --annotations, and --results or --weights with --images".to_owned()))
            }
        }
    }
}

impl Source {
    /// The detections in the images that the settings choose from COCO's ground truth.
    pub(super) fn detections(&self, truth: &GroundTruth, settings: &Settings) -> Result<Detected> {
        match self {
            Source::Results(file) => {
                let text = read_file(file)?;
                let detections = read_results(&text, file, truth, settings.rules)?;
                Ok(Detected { detections, results: Some(Hashed::new(file, &text)), detector: None })
            }
            Source::Detector(job) => {
                let (detections, run) =
                    job.run(&pictures(truth, settings, job)?, &categories(truth, settings))?;
                Ok(Detected { detections, results: None, detector: Some(run) })
            }
        }
    }
}

/// The pictures of the chosen images, under the names that annotations give.
fn pictures(truth: &GroundTruth, settings: &Settings, job: &Job) -> Result<Vec<Picture>> {
    let mut pictures = Vec::new();
    for image in chosen_images(truth, settings)? {
        let Some(entry) = truth.images().get(image as usize) else { continue };
        let name = entry.file_name.as_deref().ok_or_else(|| {
            Usage(format!("the annotations do not name the file of image {}: evaluate results", entry.id))
        })?;
        pictures.push(Picture { image, file: named(&job.images, name) });
    }
    Ok(pictures)
}

fn categories(truth: &GroundTruth, settings: &Settings) -> Categories {
    let wanted = settings.category_ids.as_deref();
    let entries = truth.categories().iter().map(|category| Category {
        id: category.id.clone(),
        name: category.name.clone(),
        is_wanted: wanted.is_none_or(|ids| ids.contains(&category.id)),
    });
    Categories { entries: entries.collect(), are_ordered: true }
}

/// Detections in COCO's result form; read again they are the same to the bit.
pub(super) fn results(truth: &GroundTruth, detections: &Detections) -> Vec<ResultEntry> {
    let entry = |one: &Detection| {
        let image_id = truth.images().get(one.image as usize)?.id.clone();
        let category_id = truth.categories().get(one.category as usize)?.id.clone();
        Some(ResultEntry { image_id, category_id, bbox: one.bbox, score: one.score })
    };
    detections.entries.iter().filter_map(entry).collect()
}
