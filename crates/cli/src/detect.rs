//! `port detect`: what a detector sees in pictures, as a table, as JSON, drawn, and for evaluation.

use std::collections::HashSet;
use std::fmt::Write;
use std::io::Cursor;
use std::path::{Path, PathBuf};
use std::time::Instant;

use crate::failure::Result;
use clap::Args;
use files::printable;
use image::RgbImage;
use image::codecs::jpeg::JpegEncoder;
use serde_json::{Value as Json, json};

use super::network::find_table;
use super::outcome::{Report, Usage};
use super::pictures::pictures;
use super::size::image_size;
use super::threads::Threads;
use crate::progress;
use crate::report::{Align, Table, count};
use crate::share::share;
use network::models::Size;
use port::detect::coco::{decimal, image_ids, result_entry};
use port::detect::{Annotations, Detection, Detector, Labels, draw};
use port::identify::{Loaded, Request, load};
use vision::annotations::Id;
use vision::annotations::results::ResultEntry;
use vision::pictures::{Error, read_image};

/// Arguments of `port detect`.
#[derive(Debug, Args)]
pub(super) struct Detect {
    /// Pictures (JPEG, PNG, BMP, WebP), or folders of them
    #[arg(required = true, value_name = "IMAGE|DIR")]
    images: Vec<PathBuf>,
    /// The detector's checkpoint, of any format
    #[arg(long, value_name = "FILE")]
    weights: PathBuf,
    /// The network in the checkpoint, as port models lists them; by default it is found out
    #[arg(long, value_name = "NAME")]
    model: Option<String>,
    /// The set of weights to take from a checkpoint that has several: `avg`, `model`, `ema`
    #[arg(long, value_name = "NAME")]
    weights_set: Option<String>,
    /// The mapping table, a file or one that port mapping list names; by default the built-in one that fits
    #[arg(long, value_name = "TABLE")]
    mapping: Option<String>,
    /// Draw the detections and save the pictures in this folder
    #[arg(long, value_name = "DIR")]
    save: Option<PathBuf>,
    /// Write the detections for evaluation, in COCO's result form
    #[arg(long, value_name = "OUT.json")]
    coco: Option<PathBuf>,
    /// Size of the network's input: a side or WIDTHxHEIGHT in pixels; by default the family's usual one
    #[arg(long, value_name = "SIZE", value_parser = image_size)]
    image_size: Option<Size>,
    /// Detections score more than this [default: the family's]
    #[arg(long, value_name = "SCORE", value_parser = share)]
    score_threshold: Option<f64>,
    /// Of two boxes of a class that overlap more than this, the better one counts [default: the family's]
    #[arg(long, value_name = "IOU", value_parser = share)]
    nms_iou: Option<f64>,
    /// Detections in a picture [default: the family's]
    #[arg(long, value_name = "NUMBER")]
    max_detections: Option<usize>,
    /// Detections that score less are neither drawn nor in the table
    #[arg(long, value_name = "SCORE", default_value_t = 0.35, value_parser = share)]
    draw_threshold: f64,
    /// Names of the classes: separated by commas, or a file with one on each line, or COCO annotations (.json),
    /// which give category and image ids too
    #[arg(long)]
    names: Option<String>,
    #[command(flatten)]
    threads: Threads,
    /// Print one JSON document
    #[arg(long)]
    pub(super) json: bool,
}

/// The detections in a picture, the best first, in its pixels.
struct Seen {
    file: PathBuf,
    size: Size,
    detections: Vec<Detection>,
}

impl Detect {
    pub(super) fn run(&self) -> Result<Report> {
        let started = Instant::now();
        self.threads.limit()?;
        let files = pictures(&self.images)?;
        let drawings = self.drawings(&files)?;
        self.check_results(&files, &drawings)?;
        let annotations = self.annotations()?;
        let ids = match &self.coco {
            Some(_) => image_ids(&files, annotations.as_ref())?,
            None => Vec::new(),
        };
        let loaded = self.load()?;
        let labels = self.labels(annotations.as_ref(), loaded.model.classes())?;
        let mut detector = self.detector(&loaded)?;
        let seen = self.look(&mut detector, files, &drawings, &labels)?;
        if let Some(output) = &self.coco {
            write_results(output, &seen, &ids, &labels)?;
        }
        Ok(Report {
            text: heading(&loaded, &detector) + &self.text(&seen, &labels, started)?,
            json: if self.json { self.document(&seen, &labels, &loaded, &detector) } else { Json::Null },
            answer: true,
        })
    }

    fn load(&self) -> Result<Loaded> {
        let table = self.mapping.as_deref().map(find_table).transpose()?;
        let (model, weights) = (self.model.as_deref(), self.weights_set.as_deref());
        Ok(load(&self.weights, Request { model, table: table.as_deref(), weights })?)
    }

    /// Refuses to write results over anything that is read or drawn.
    fn check_results(&self, files: &[PathBuf], drawings: &[PathBuf]) -> Result<()> {
        let Some(output) = &self.coco else { return Ok(()) };
        let names = self.names.as_ref().map(PathBuf::from);
        let others = files.iter().chain([&self.weights]).chain(&names).chain(drawings);
        if files::is_among(output, others) {
            let message = format!("{} is read or drawn; write the results to another file", output.display());
            return Err(Usage(message).into());
        }
        Ok(())
    }

    /// Where each drawn picture goes: under its own name, as JPEG, and never over a picture that is read.
    fn drawings(&self, files: &[PathBuf]) -> Result<Vec<PathBuf>> {
        let Some(folder) = &self.save else { return Ok(Vec::new()) };
        std::fs::create_dir_all(folder).map_err(|problem| Error::Io { file: folder.clone(), problem })?;
        let drawings: Vec<PathBuf> = files.iter().map(|file| folder.join(drawn_name(file))).collect();
        let inputs: HashSet<PathBuf> = files.iter().map(|file| files::place(file)).collect();
        let mut taken = HashSet::new();
        for drawing in &drawings {
            if inputs.contains(&files::place(drawing)) {
                let message = format!("{} is an input; save to another folder", drawing.display());
                return Err(Usage(message).into());
            }
            if !taken.insert(drawing) {
                let message =
                    format!("two pictures would be saved as {}; save them apart", drawing.display());
                return Err(Usage(message).into());
            }
        }
        Ok(drawings)
    }

    /// The annotations among the names.
    fn annotations(&self) -> Result<Option<Annotations>> {
        let file =
            self.names.as_deref().map(Path::new).filter(|file| file.extension().is_some_and(|e| e == "json"));
        Ok(file.map(Annotations::read).transpose()?)
    }

    fn labels(&self, annotations: Option<&Annotations>, classes: usize) -> Result<Labels> {
        Ok(match (annotations, &self.names) {
            (Some(annotations), _) => Labels::of_annotations(annotations, classes)?,
            (None, Some(names)) => Labels::given(names, classes)?,
            (None, None) => Labels::usual(classes),
        })
    }

    fn detector(&self, loaded: &Loaded) -> Result<Detector> {
        let size = self.image_size.unwrap_or_else(|| loaded.model.usual_size());
        let mut facts = loaded.model.facts(size);
        let selection = &mut facts.selection;
        selection.score_threshold =
            self.score_threshold.map_or(selection.score_threshold, |score| score as f32);
        selection.nms_iou = self.nms_iou.unwrap_or(selection.nms_iou);
        selection.max_detections = self.max_detections.unwrap_or(selection.max_detections);
        Ok(Detector::new(&loaded.model, &loaded.weights, facts)?)
    }

    /// Detects in every picture, and saves the drawings where they are wanted.
    fn look(
        &self,
        detector: &mut Detector,
        files: Vec<PathBuf>,
        drawings: &[PathBuf],
        labels: &Labels,
    ) -> Result<Vec<Seen>> {
        let bar = progress::of_pictures(files.len());
        let mut drawings = drawings.iter();
        let mut seen = Vec::with_capacity(files.len());
        for file in files {
            let mut picture = read_image(&file)?;
            let detections = detector.detect(&picture)?;
            let size = Size { width: picture.width() as usize, height: picture.height() as usize };
            if let Some(drawing) = drawings.next() {
                draw(&mut picture, self.shown(&detections), labels);
                save(&picture, drawing)?;
            }
            seen.push(Seen { file, size, detections });
            bar.inc(1);
        }
        bar.finish_and_clear();
        Ok(seen)
    }

    /// The detections worth showing: of those, which are sorted, the first.
    fn shown<'a>(&self, detections: &'a [Detection]) -> &'a [Detection] {
        let count = detections.partition_point(|one| f64::from(one.score) >= self.draw_threshold);
        detections.get(..count).unwrap_or_default()
    }

    fn text(&self, seen: &[Seen], labels: &Labels, started: Instant) -> Result<String> {
        let mut text = String::new();
        for Seen { file, size, detections } in seen {
            let shown = self.shown(detections);
            let (all, threshold) = (detections.len(), self.draw_threshold);
            let file = printable(&file.to_string_lossy());
            writeln!(text, "{file} ({size}): {} of {all} detections score {threshold} or more", shown.len())?;
            if !shown.is_empty() {
                writeln!(text, "{}", table(shown, labels))?;
            }
        }
        let pictures = if seen.len() == 1 { "picture" } else { "pictures" };
        writeln!(
            text,
            "{} {pictures} in {:.2} s",
            count(seen.len() as u64),
            started.elapsed().as_secs_f64()
        )?;
        Ok(text)
    }

    fn document(&self, seen: &[Seen], labels: &Labels, loaded: &Loaded, detector: &Detector) -> Json {
        let timings = detector.timings();
        let images: Vec<Json> = seen.iter().map(|seen| seen.json(labels)).collect();
        json!({
            "weights": self.weights.display().to_string(),
            "network": loaded.description,
            "image_size": detector.facts().preprocessing.size.to_string(),
            "seconds": {
                "preprocessing": timings.preprocessing.as_secs_f64(),
                "network": timings.network.as_secs_f64(),
                "postprocessing": timings.postprocessing.as_secs_f64(),
            },
            "images": images,
        })
    }
}

impl Seen {
    fn json(&self, labels: &Labels) -> Json {
        let detections = self.detections.iter().map(|detection| {
            json!({
                "bbox": detection.bbox().map(decimal),
                "score": decimal(detection.score),
                "class_id": detection.class,
                "label": labels.name(detection.class),
            })
        });
        json!({
            "file": self.file.display().to_string(),
            "width": self.size.width,
            "height": self.size.height,
            "detections": detections.collect::<Vec<_>>(),
        })
    }
}

/// What was recognised, and at which size it runs: a size it was not trained for finds less.
fn heading(loaded: &Loaded, detector: &Detector) -> String {
    let (description, size) = (&loaded.description, detector.facts().preprocessing.size);
    format!("{}: {description}\ninput {size}\n\n", printable(&loaded.file.to_string_lossy()))
}

fn table(detections: &[Detection], labels: &Labels) -> Table {
    let columns = ["score", "left", "top", "width", "height"].map(|name| (name, Align::Right));
    let mut table = Table::new([("label", Align::Left)].into_iter().chain(columns));
    for detection in detections {
        let mut row = vec![labels.name(detection.class).to_owned(), format!("{:.2}", detection.score)];
        row.extend(detection.bbox().map(|pixels| format!("{pixels:.0}")));
        table.row(row);
    }
    table
}

/// `dog.jpg` for `dog.jpg`, `dog.png.jpg` for `dog.png`.
fn drawn_name(file: &Path) -> String {
    let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let extension = file.extension().map(|extension| extension.to_string_lossy().to_lowercase());
    match extension.as_deref() {
        Some("jpg" | "jpeg") => name,
        _ => name + ".jpg",
    }
}

/// JPEG's quality for drawings: letters stay sharp.
const QUALITY: u8 = 92;

fn save(picture: &RgbImage, file: &Path) -> Result<()> {
    let mut bytes = Cursor::new(Vec::new());
    picture.write_with_encoder(JpegEncoder::new_with_quality(&mut bytes, QUALITY))?;
    Ok(files::write_whole(file, bytes.get_ref())?)
}

fn write_results(output: &Path, seen: &[Seen], ids: &[Id], labels: &Labels) -> Result<()> {
    let of = |(seen, id): (&Seen, &Id)| -> Vec<ResultEntry> {
        seen.detections.iter().map(|detection| result_entry(id.clone(), detection, labels)).collect()
    };
    let results: Vec<ResultEntry> = seen.iter().zip(ids).flat_map(of).collect();
    Ok(files::write_whole(output, &serde_json::to_vec(&results)?)?)
}
