//! Detections of a data set's pictures: pictures are decoded while the network runs.

use std::path::{Component, Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use anyhow::Result;
use clap::Args;
use image::RgbImage;
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};
use sha2::{Digest, Sha256};

use super::provenance::{DetectorRun, Hashed, sha256};
use crate::cli::Usage;
use crate::cli::detect::{decimal, progress_bar, share};
use crate::cli::size::image_size;
use crate::detect::{Detector, decode_image};
use crate::eval::coco::{Settings, chosen_images};
use crate::eval::{Detection, Detections, GroundTruth, read_file};
use crate::identify::{Loaded, Request, load};

/// How a detector is run, where that is not the family's usual way.
#[derive(Debug, Clone, PartialEq, Default, Args, Serialize, Deserialize)]
pub(super) struct DetectorOptions {
    /// The network in the checkpoint, as port models lists them; by default it is found out
    #[arg(long, value_name = "NAME", requires = "weights")]
    model: Option<String>,
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
}

/// Checks a size and keeps it as it is written.
fn size(text: &str) -> Result<String, String> {
    image_size(text).map(|_| text.to_owned())
}

impl DetectorOptions {
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

/// Runs the detector of `weights` on the chosen pictures, which lie in `folder` under the names that annotations give.
pub(super) fn detect(
    weights: &Path,
    folder: &Path,
    options: &DetectorOptions,
    truth: &GroundTruth,
    settings: &Settings,
) -> Result<(Detections, DetectorRun)> {
    let hashed = Hashed::new(weights, &read_file(weights)?);
    let loaded = load(weights, Request { model: options.model.as_deref(), ..Request::default() })?;
    let (classes, categories) = (loaded.model.classes(), truth.categories().len());
    if classes != categories {
        let message =
            format!("the network knows {classes} classes, the annotations have {categories} categories");
        return Err(Usage(message).into());
    }
    let mut detector = options.detector(&loaded)?;
    let pictures = pictures(truth, settings, folder)?;
    let (entries, images) = look(&mut detector, &pictures)?;
    let run = described(&detector, &loaded, hashed, Hashed { file: folder.to_owned(), sha256: images });
    Ok((Detections { entries, ..Detections::default() }, DetectorRun { options: options.clone(), ..run }))
}

fn described(detector: &Detector, loaded: &Loaded, weights: Hashed, images: Hashed) -> DetectorRun {
    let facts = detector.facts();
    DetectorRun {
        weights,
        network: loaded.description.clone(),
        images,
        options: DetectorOptions::default(),
        image_size: facts.preprocessing.size.to_string(),
        resize: facts.preprocessing.resize.to_string(),
        score_threshold: decimal(facts.selection.score_threshold),
        nms_iou: facts.selection.nms_iou,
        max_detections: facts.selection.max_detections,
    }
}

/// A picture to look at.
struct Picture {
    image: u32,
    file: PathBuf,
}

fn pictures(truth: &GroundTruth, settings: &Settings, folder: &Path) -> Result<Vec<Picture>> {
    let mut pictures = Vec::new();
    for image in chosen_images(truth, settings)? {
        let Some(entry) = truth.images().get(image as usize) else { continue };
        let name = entry.file_name.as_deref().ok_or_else(|| {
            Usage(format!("the annotations do not name the file of image {}: evaluate results", entry.id))
        })?;
        pictures.push(Picture { image, file: place(folder, name) });
    }
    Ok(pictures)
}

/// The file of this name in the folder, with the name's own folders if they are there. Names never lead out of it.
fn place(folder: &Path, name: &str) -> PathBuf {
    let is_below = Path::new(name).components().all(|part| matches!(part, Component::Normal(_)));
    let whole = folder.join(name);
    if is_below && whole.is_file() {
        return whole;
    }
    folder.join(name.rsplit(['/', '\\']).next().unwrap_or_default())
}

/// Decoded pictures that wait for the network.
const WAITING: usize = 4;

/// The detections in all pictures, and the SHA-256 of the pictures' names and contents.
fn look(detector: &mut Detector, pictures: &[Picture]) -> Result<(Vec<Detection>, String)> {
    std::thread::scope(|scope| {
        let (sender, receiver) = sync_channel(WAITING);
        scope.spawn(move || read(pictures, &sender));
        detect_all(detector, pictures, receiver)
    })
}

/// A picture, and the SHA-256 of its file.
type Decoded = Result<(RgbImage, String)>;

fn read(pictures: &[Picture], sender: &SyncSender<Decoded>) {
    let decoded = |file: &Path| -> Decoded {
        let bytes = read_file(file)?;
        Ok((decode_image(&bytes, file)?, sha256(&bytes)))
    };
    for picture in pictures {
        // Nobody listens any more after an error.
        if sender.send(decoded(&picture.file)).is_err() {
            return;
        }
    }
}

fn detect_all(
    detector: &mut Detector,
    pictures: &[Picture],
    decoded: Receiver<Decoded>,
) -> Result<(Vec<Detection>, String)> {
    let bar = progress_bar(pictures.len());
    let (mut entries, mut hash) = (Vec::new(), Sha256::new());
    for (picture, decoded) in pictures.iter().zip(decoded) {
        let (pixels, sha256) = decoded?;
        let name = picture.file.file_name().unwrap_or_default().to_string_lossy();
        hash.update(format!("{name}\0{sha256}\n"));
        entries.extend(detector.detect(&pixels)?.iter().map(|one| Detection {
            image: picture.image,
            category: one.class as u32,
            bbox: one.bbox().map(decimal),
            score: decimal(one.score),
        }));
        bar.inc(1);
    }
    bar.finish_and_clear();
    Ok((entries, hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()))
}

/// Detections in COCO's result form; read again they are the same to the bit.
pub(super) fn results(truth: &GroundTruth, detections: &Detections) -> Json {
    let record = |one: &Detection| {
        let image = truth.images().get(one.image as usize)?.id.json();
        let category = truth.categories().get(one.category as usize)?.id.json();
        Some(json!({ "image_id": image, "category_id": category, "bbox": one.bbox, "score": one.score }))
    };
    detections.entries.iter().filter_map(record).collect()
}
