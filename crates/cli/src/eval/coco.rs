//! `port eval coco`.

use std::path::PathBuf;

use crate::failure::Result;
use clap::Args;
use serde_json::{Value as Json, json};

use super::outcome::CocoOutcome;
use super::provenance::{Hashed, Provenance, settings_sha256, tool};
use super::replay::Recorded;
use super::source::{Detected, DetectorArguments, Source, results as records};
use super::tables;
use crate::outcome::{Report, Usage};
use vision::annotations::Id;
use vision::eval::coco::{
    Evaluation, STATS, Settings, chosen_images, evaluate, iou_thresholds, recall_thresholds,
};
use vision::eval::{Rules, read_annotations, read_file};

/// Arguments of `port eval coco`.
#[derive(Debug, Args)]
pub(super) struct Coco {
    /// What there is: COCO annotations
    #[arg(long, value_name = "GT.json", required_unless_present = "replay")]
    annotations: Option<PathBuf>,
    /// What was detected, in COCO's result form
    #[arg(long, value_name = "DT.json", required_unless_present_any = ["weights", "replay"], conflicts_with = "weights")]
    results: Option<PathBuf>,
    #[command(flatten)]
    detector: DetectorArguments,
    /// Keep the detections of --weights in this file
    #[arg(long, value_name = "OUT.json", requires = "weights")]
    results_out: Option<PathBuf>,
    /// Detections of an image and class that count: three limits, the last for all numbers but AR
    #[arg(long, value_name = "A,B,C", default_value = "1,10,100", value_parser = limits)]
    max_dets: [usize; 3],
    /// Only these images
    #[arg(long, value_name = "ID,...", value_delimiter = ',')]
    image_ids: Option<Vec<Id>>,
    /// Only these categories
    #[arg(long, value_name = "ID,...", value_delimiter = ',')]
    category_ids: Option<Vec<Id>>,
    /// Only the first images, by id
    #[arg(long, value_name = "NUMBER")]
    limit: Option<usize>,
    /// Take all classes for one
    #[arg(long)]
    class_agnostic: bool,
    /// Give pycocotools' numbers even where it errs: annotation id 0, repeated ids, NaN, limits without 100
    #[arg(long)]
    strict_pycocotools: bool,
    /// Write precision, scores and recall of every class
    #[arg(long, value_name = "OUT.json")]
    curves: Option<PathBuf>,
    /// Evaluate again what a document of --json says, and compare
    #[arg(long, value_name = "RESULT.json", conflicts_with_all = [
        "annotations", "results", "weights", "max_dets", "image_ids", "category_ids", "limit", "class_agnostic",
        "strict_pycocotools",
    ])]
    replay: Option<PathBuf>,
    /// Print one JSON document
    #[arg(long)]
    pub(super) json: bool,
}

/// What is to be evaluated.
struct Plan {
    annotations: PathBuf,
    source: Source,
    settings: Settings,
    /// Where the detections are kept.
    keep: Option<PathBuf>,
}

fn limits(text: &str) -> Result<[usize; 3], String> {
    let numbers: Option<Vec<usize>> = text.split(',').map(|number| number.trim().parse().ok()).collect();
    let mut limits = numbers.and_then(|numbers| <[usize; 3]>::try_from(numbers).ok());
    if let Some(limits) = &mut limits {
        limits.sort_unstable();
    }
    limits.ok_or_else(|| "three numbers as 1,10,100".to_owned())
}

impl Coco {
    pub(super) fn run(&self) -> Result<Report> {
        self.check_outputs()?;
        let recorded = self.replay.as_ref().map(|file| Recorded::read(file, "coco")).transpose()?;
        let plan = recorded.as_ref().map_or_else(|| self.plan(), Plan::again)?;
        let outcome = plan.run()?;
        if let Some(file) = &self.curves {
            files::write_whole(file, &serde_json::to_vec(&curves(&outcome.evaluation))?)?;
        }
        match recorded {
            Some(recorded) => recorded.compare(&outcome.document()?),
            None => outcome.report(),
        }
    }

    /// Refuses to write over anything that is read.
    fn check_outputs(&self) -> Result<()> {
        let inputs = [&self.annotations, &self.results, &self.detector.weights, &self.replay];
        for output in self.curves.iter().chain(&self.results_out) {
            if files::is_among(output, inputs.into_iter().flatten()) {
                let message = format!("{} is an input; write to another file", output.display());
                return Err(Usage(message).into());
            }
        }
        Ok(())
    }

    fn plan(&self) -> Result<Plan> {
        let source = self.detector.source(self.results.as_ref(), None)?;
        let annotations = self.annotations.clone().ok_or_else(|| Usage("give --annotations".to_owned()))?;
        Ok(Plan { annotations, source, settings: self.settings(), keep: self.results_out.clone() })
    }

    fn settings(&self) -> Settings {
        Settings {
            max_detections: self.max_dets,
            image_ids: self.image_ids.clone(),
            category_ids: self.category_ids.clone(),
            limit: self.limit,
            class_agnostic: self.class_agnostic,
            rules: if self.strict_pycocotools { Rules::Pycocotools } else { Rules::Sound },
        }
    }
}

impl Plan {
    /// What was evaluated before.
    fn again(recorded: &Recorded<Settings>) -> Result<Plan> {
        let Provenance { annotations, settings, .. } = recorded.provenance.clone();
        Ok(Plan { annotations: annotations.file, source: recorded.source()?, settings, keep: None })
    }

    fn run(&self) -> Result<CocoOutcome> {
        let Plan { annotations: file, source, settings, keep } = self;
        let text = read_file(file)?;
        let annotations = Hashed::new(file, &text);
        let (truth, mut warnings) = read_annotations(&text, file, settings.rules)?;
        drop(text);
        let Detected { detections, results, detector } = source.detections(&truth, settings)?;
        if let Some(keep) = keep {
            let records = records(&truth, &detections);
            files::write_whole(keep, &serde_json::to_vec(&records)?)?;
        }
        let images = chosen_images(&truth, settings)?.len();
        let mut evaluation = evaluate(&truth, &detections, settings)?;
        warnings.append(&mut evaluation.warnings);
        evaluation.warnings = warnings;
        let settings_sha256 = settings_sha256(settings)?;
        let (settings, image_set) = (settings.clone(), None);
        let provenance =
            Provenance { tool: tool(), annotations, image_set, results, detector, settings, settings_sha256 };
        Ok(CocoOutcome { evaluation, provenance, images })
    }
}

impl CocoOutcome {
    fn report(&self) -> Result<Report> {
        Ok(Report { text: tables::text(self)?, json: self.document()?, answer: true })
    }

    /// Everything, for scripts; -1 stands for nothing to measure, as in pycocotools.
    fn document(&self) -> Result<Json> {
        let CocoOutcome { evaluation, provenance, .. } = self;
        let warnings = evaluation
            .warnings
            .iter()
            .map(|warning| json!({ "kind": warning.kind(), "message": warning.to_string() }));
        Ok(json!({
            "stats": evaluation.stats(),
            "stats_names": STATS,
            "per_class": per_class(evaluation),
            "warnings": warnings.collect::<Vec<_>>(),
            "provenance": serde_json::to_value(provenance)?,
        }))
    }
}

fn per_class(evaluation: &Evaluation) -> Json {
    let class = |class: &vision::eval::coco::ClassCurves| {
        let row = class.row();
        let [ap_small, ap_medium, ap_large] = row.ap_by_size;
        let [ar_small, ar_medium, ar_large] = row.ar_by_size;
        let best = class.best.map(|best| {
            json!({ "score": best.score, "f1": best.f1, "precision": best.precision, "recall": best.recall })
        });
        let [objects, small, medium, large] = class.objects;
        json!({
            "category_id": class.id.as_ref().map(Id::json),
            "name": class.name,
            "objects": objects,
            "objects_by_size": { "small": small, "medium": medium, "large": large },
            "detections": class.detections,
            "ap": row.ap, "ap50": row.ap50, "ap75": row.ap75,
            "ap_small": ap_small, "ap_medium": ap_medium, "ap_large": ap_large,
            "ar": row.ar, "ar_small": ar_small, "ar_medium": ar_medium, "ar_large": ar_large,
            "best_f1": best,
        })
    };
    evaluation.classes.iter().map(class).collect()
}

/// For all areas and the largest limit: precision and scores at every recall, the largest recall, by overlap.
fn curves(evaluation: &Evaluation) -> Json {
    let ious = iou_thresholds();
    let class = |class: &vision::eval::coco::ClassCurves| {
        let all = 0..ious.len();
        json!({
            "category_id": class.id.as_ref().map(Id::json),
            "name": class.name,
            "precision": all.clone().map(|iou| class.precision(iou, 0, 2)).collect::<Vec<_>>(),
            "scores": all.clone().map(|iou| class.scores(iou, 0, 2)).collect::<Vec<_>>(),
            "recall": all.map(|iou| class.recall(iou, 0, 2)).collect::<Vec<_>>(),
        })
    };
    json!({
        "iou_thresholds": ious,
        "recall_thresholds": recall_thresholds().to_vec(),
        "classes": evaluation.classes.iter().map(class).collect::<Vec<_>>(),
    })
}
