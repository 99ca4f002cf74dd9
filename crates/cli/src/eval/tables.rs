//! The result of a COCO evaluation for people.

use std::fmt::Write;

use crate::failure::Result;
use files::printable;

use super::classes::Matching;
use super::outcome::CocoOutcome;
use super::provenance::{DetectorRun, Hashed};
use crate::report::{Align, Table, count};
use vision::eval::coco::{ClassCurves, Evaluation, STATS};

pub(super) fn text(outcome: &CocoOutcome) -> Result<String> {
    let CocoOutcome { evaluation, provenance, images } = outcome;
    let mut text = String::new();
    let objects: usize =
        evaluation.classes.iter().map(|class| class.objects.iter().take(1).sum::<usize>()).sum();
    let detections: usize = evaluation.classes.iter().map(|class| class.detections).sum();
    writeln!(
        text,
        "annotations  {}: {} images, {} objects",
        shown(&provenance.annotations),
        count(*images as u64),
        count(objects as u64)
    )?;
    if let Some(results) = &provenance.results {
        writeln!(text, "results      {}: {} detections", shown(results), count(detections as u64))?;
    }
    if let Some(run) = &provenance.detector {
        write!(text, "{}", detector(run, detections)?)?;
    }
    writeln!(text, "settings     {}", provenance.settings_sha256.get(..16).unwrap_or_default())?;
    for warning in &evaluation.warnings {
        writeln!(text, "warning: {warning}")?;
    }
    let limits = provenance.settings.max_detections;
    write!(text, "\n{}\n{}", stats(evaluation, limits), classes(evaluation))?;
    Ok(text)
}

/// A file with the beginning of its hash.
pub(super) fn shown(hashed: &Hashed) -> String {
    format!("{} ({})", printable(&hashed.file.to_string_lossy()), hashed.short())
}

/// What was run, on what.
pub(super) fn detector(run: &DetectorRun, detections: usize) -> Result<String> {
    let mut text = String::new();
    writeln!(text, "weights      {}: {}", shown(&run.weights), run.network)?;
    writeln!(text, "images       {}: {} detections", shown(&run.images), count(detections as u64))?;
    writeln!(
        text,
        "detector     input {} ({}), score > {}, NMS IoU {}, at most {} detections",
        run.image_size, run.resize, run.score_threshold, run.nms_iou, run.max_detections
    )?;
    let known = run.categories.iter().flatten().count();
    let matching = match run.matching {
        Matching::Names => "by name",
        Matching::Order => "by order",
    };
    writeln!(text, "classes      {known} of the network's {}, {matching}", run.categories.len())?;
    Ok(text)
}

/// -1 stands for nothing to measure.
fn measured(value: f64) -> String {
    if value < 0.0 { "n/a".to_owned() } else { format!("{value:.4}") }
}

/// Overlap, area and index of the limit of each number, in COCO's order.
const MEANINGS: [(&str, &str, usize); 12] = [
    ("0.50:0.95", "all", 2),
    ("0.50", "all", 2),
    ("0.75", "all", 2),
    ("0.50:0.95", "small", 2),
    ("0.50:0.95", "medium", 2),
    ("0.50:0.95", "large", 2),
    ("0.50:0.95", "all", 0),
    ("0.50:0.95", "all", 1),
    ("0.50:0.95", "all", 2),
    ("0.50:0.95", "small", 2),
    ("0.50:0.95", "medium", 2),
    ("0.50:0.95", "large", 2),
];

fn stats(evaluation: &Evaluation, limits: [usize; 3]) -> Table {
    let mut table = Table::new([
        ("metric", Align::Left),
        ("IoU", Align::Left),
        ("area", Align::Left),
        ("detections", Align::Right),
        ("value", Align::Right),
    ]);
    for ((name, value), (iou, area, limit)) in STATS.iter().zip(evaluation.stats()).zip(MEANINGS) {
        let limit = limits.get(limit).map(ToString::to_string).unwrap_or_default();
        // AR1, AR10 and AR100 are named by the usual limits.
        let name = match *name {
            "AR1" | "AR10" | "AR100" => format!("AR{limit}"),
            name => name.to_owned(),
        };
        table.row(vec![name, iou.to_owned(), area.to_owned(), limit, measured(value)]);
    }
    table
}

fn classes(evaluation: &Evaluation) -> Table {
    let columns = ["objects", "detections", "AP", "AP50", "AP75", "AR", "best F1", "at score"];
    let columns = columns.map(|name| (name, Align::Right));
    let mut table = Table::new([("class", Align::Left)].into_iter().chain(columns));
    for class in &evaluation.classes {
        table.row(row(class));
    }
    table
}

fn row(class: &ClassCurves) -> Vec<String> {
    let numbers = class.row();
    let [objects, ..] = class.objects;
    let id = class.id.as_ref().map_or_else(|| "all classes".to_owned(), ToString::to_string);
    let name = class.name.clone().filter(|name| !name.is_empty()).unwrap_or(id);
    let mut row = vec![name, count(objects as u64), count(class.detections as u64)];
    row.extend([numbers.ap, numbers.ap50, numbers.ap75, numbers.ar].map(measured));
    let none = || "n/a".to_owned();
    row.push(class.best.map_or_else(none, |best| format!("{:.4}", best.f1)));
    row.push(class.best.map_or_else(none, |best| format!("{:.3}", best.score)));
    row
}
