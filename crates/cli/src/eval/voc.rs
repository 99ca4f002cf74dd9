//! `port eval voc`.

use std::path::PathBuf;

use crate::failure::Result;
use clap::Args;

use super::classes::{Categories, Category};
use super::measure::{Measure, Year};
use super::outcome::VocOutcome;
use super::pictures::{Picture, of_stem};
use super::provenance::{DetectorRun, Hashed, Provenance, settings_sha256, tool};
use super::replay::Recorded;
use super::source::{Detected, DetectorArguments, Source};
use super::voc_tables;
use crate::outcome::{Report, Usage};
use crate::share::share;
use vision::annotations::Id;
use vision::eval::voc::{DevkitTruth, Scene, Settings, add_results, evaluate, read_ground_truth};
use vision::eval::{Detections, Rules, Warning, coco, read_annotations, read_file};

/// Arguments of `port eval voc`.
#[derive(Debug, Args)]
pub(super) struct Voc {
    /// What there is: a folder of VOC's XML files, or COCO annotations (.json) with `difficult`
    #[arg(long, value_name = "DIR|GT.json", required_unless_present = "replay")]
    annotations: Option<PathBuf>,
    /// What was detected: a folder of the development kit's result files (comp4_det_SET_CLASS.txt) or one of them,
    /// or with COCO annotations a file in COCO's result form
    #[arg(long, value_name = "DIR|FILE", required_unless_present_any = ["weights", "replay"], conflicts_with = "weights")]
    results: Option<PathBuf>,
    /// The names of the images that count, one on each line (ImageSets/Main/test.txt); by default all XML files
    #[arg(long, value_name = "FILE")]
    image_set: Option<PathBuf>,
    #[command(flatten)]
    detector: DetectorArguments,
    /// 07: mean of the precisions at eleven recalls; 10: area under the curve
    #[arg(long, value_enum, default_value = "10")]
    metric: Year,
    /// Least intersection over union
    #[arg(long, value_name = "IOU", default_value_t = 0.5, value_parser = share)]
    iou: f64,
    /// Ask for more than that overlap, not for as much (py-faster-rcnn)
    #[arg(long)]
    strict_iou: bool,
    /// Take corners for points, not for pixels that belong to the box
    #[arg(long)]
    no_plus_one: bool,
    /// Evaluate again what a document of --json says, and compare
    #[arg(long, value_name = "RESULT.json", conflicts_with_all = [
        "annotations", "results", "image_set", "weights", "metric", "iou", "strict_iou", "no_plus_one",
    ])]
    replay: Option<PathBuf>,
    /// Print one JSON document
    #[arg(long)]
    pub(super) json: bool,
}

/// What is to be evaluated.
struct Plan {
    annotations: PathBuf,
    image_set: Option<PathBuf>,
    source: Source,
    measure: Measure,
}

/// What is evaluated, what is odd about it, and what it was read from.
struct Input {
    scene: Scene,
    warnings: Vec<Warning>,
    annotations: Hashed,
    image_set: Option<Hashed>,
    results: Option<Hashed>,
    detector: Option<DetectorRun>,
}

impl Voc {
    pub(super) fn run(&self) -> Result<Report> {
        let recorded = self.replay.as_ref().map(|file| Recorded::read(file, "voc")).transpose()?;
        let plan = recorded.as_ref().map_or_else(|| self.plan(), Plan::again)?;
        let outcome = plan.run()?;
        let document = voc_tables::document(&outcome)?;
        match recorded {
            Some(recorded) => recorded.compare(&document),
            None => Ok(Report { text: voc_tables::text(&outcome)?, json: document, answer: true }),
        }
    }

    fn plan(&self) -> Result<Plan> {
        let annotations = self.annotations.clone().ok_or_else(|| Usage("give --annotations".to_owned()))?;
        if self.image_set.is_some() && !annotations.is_dir() {
            return Err(Usage("--image-set belongs to a folder of VOC annotations".to_owned()).into());
        }
        let beside = annotations.parent().map(|root| root.join("JPEGImages"));
        let usual = beside.filter(|folder| annotations.is_dir() && folder.is_dir());
        let source = self.detector.source(self.results.as_ref(), usual)?;
        let settings = Settings { iou: self.iou, strict_iou: self.strict_iou, plus_one: !self.no_plus_one };
        let measure = Measure { metric: self.metric, settings };
        Ok(Plan { annotations, image_set: self.image_set.clone(), source, measure })
    }
}

impl Plan {
    /// What was evaluated before.
    fn again(recorded: &Recorded<Measure>) -> Result<Plan> {
        let Provenance { annotations, image_set, settings, .. } = recorded.provenance.clone();
        let image_set = image_set.map(|set| set.file);
        Ok(Plan { annotations: annotations.file, image_set, source: recorded.source()?, measure: settings })
    }

    fn run(&self) -> Result<VocOutcome> {
        let Input { scene, warnings, annotations, image_set, results, detector } =
            if self.annotations.is_dir() { self.devkit()? } else { self.coco()? };
        let settings = self.measure;
        let settings_sha256 = settings_sha256(&settings)?;
        let provenance =
            Provenance { tool: tool(), annotations, image_set, results, detector, settings, settings_sha256 };
        Ok(VocOutcome { classes: evaluate(&scene, &settings.settings), warnings, provenance })
    }

    fn devkit(&self) -> Result<Input> {
        let image_set = self.image_set.as_deref();
        let mut truth = read_ground_truth(&self.annotations, image_set)?;
        let annotations = Hashed::folder(&self.annotations, &truth.files)?;
        let (mut warnings, mut results, mut detector) = (Vec::new(), None, None);
        match &self.source {
            Source::Results(folder) => {
                results = Some(Hashed::folder(folder, &add_results(&mut truth, folder, image_set)?)?);
            }
            Source::Detector(job) => {
                let picture =
                    |(image, name): (u32, &String)| Picture { image, file: of_stem(&job.images, name) };
                let pictures: Vec<Picture> = (0..).zip(&truth.images).map(picture).collect();
                let (detections, run) = job.run(&pictures, &categories(&truth))?;
                truth.scene.add(&detections.entries);
                warnings.extend(unlisted(detections));
                detector = Some(run);
            }
        }
        let set = |file| -> Result<_> { Ok(Hashed::new(file, &read_file(file)?)) };
        let image_set = image_set.map(set).transpose()?;
        Ok(Input { scene: truth.scene, warnings, annotations, image_set, results, detector })
    }

    fn coco(&self) -> Result<Input> {
        let file = &self.annotations;
        let text = read_file(file)?;
        let annotations = Hashed::new(file, &text);
        let (truth, warnings) = read_annotations(&text, file, Rules::Sound)?;
        let Detected { detections, results, detector } =
            self.source.detections(&truth, &coco::Settings::default())?;
        let scene = Scene::of_coco(&truth, &detections);
        // Areas, crowd flags and ids matter to COCO's metric only.
        let matters =
            |one: &Warning| matches!(one, Warning::UnlistedImages(_) | Warning::UnlistedCategories(_));
        let warnings = warnings.into_iter().filter(matters).chain(unlisted(detections)).collect();
        Ok(Input { scene, warnings, annotations, image_set: None, results, detector })
    }
}

/// What must be said about detections of categories that are not evaluated.
fn unlisted(detections: Detections) -> Option<Warning> {
    let unknown = detections.unknown_categories;
    (!unknown.is_empty()).then_some(Warning::UnknownCategories(unknown))
}

/// The names that occur, whose alphabetical order says nothing about the network's classes.
fn categories(truth: &DevkitTruth) -> Categories {
    let entries = truth.scene.classes.iter().map(|class| Category {
        id: Id::Text(class.name.as_str().into()),
        name: class.name.clone(),
        is_wanted: true,
    });
    Categories { entries: entries.collect(), are_ordered: false }
}
