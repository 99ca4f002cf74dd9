//! `--replay`: a result once more, and what has changed since.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use crate::failure::{Error, Result};
use files::printable;
use serde::de::DeserializeOwned;
use serde_json::{Value as Json, json};

use super::detector::Job;
use super::provenance::Provenance;
use super::source::Source;
use crate::outcome::Report;
use crate::report::{Align, Table};
use vision::eval::read_file;

/// What an earlier run printed, its settings of type `S`.
pub(super) struct Recorded<S> {
    file: PathBuf,
    document: Json,
    pub(super) provenance: Provenance<S>,
}

impl<S: DeserializeOwned> Recorded<S> {
    /// Reads what `port eval METRIC --json` printed.
    pub(super) fn read(file: &Path, metric: &str) -> Result<Recorded<S>> {
        let wrong = || {
            let what =
                format!("not what port eval {metric} --json prints\n  keep that document to replay it");
            Error::Document { file: file.to_owned(), what }
        };
        let document: Json = serde_json::from_slice(&read_file(file)?).map_err(|_| wrong())?;
        let provenance = document.get("provenance").cloned().unwrap_or_default();
        let provenance = serde_json::from_value(provenance).map_err(|_| wrong())?;
        Ok(Recorded { file: file.to_owned(), document, provenance })
    }

    /// Where the detections came from.
    pub(super) fn source(&self) -> Result<Source> {
        let Provenance { results, detector, .. } = &self.provenance;
        match (results, detector) {
            (Some(results), _) => Ok(Source::Results(results.file.clone())),
            (None, Some(run)) => Ok(Source::Detector(Job {
                weights: run.weights.file.clone(),
                images: run.images.file.clone(),
                options: run.options.clone(),
            })),
            (None, None) => {
                let what = "it names no detections\n  keep the document as port eval printed it".to_owned();
                Err(Error::Document { file: self.file.clone(), what })
            }
        }
    }

    /// Whether inputs and numbers of the new document are the same to the last digit.
    pub(super) fn compare(&self, document: &Json) -> Result<Report> {
        // Through text, as the recorded numbers went.
        let again: Json = serde_json::from_str(&document.to_string())?;
        let differences: Vec<&str> = COMPARED
            .into_iter()
            .filter(|(_, pointer)| self.document.pointer(pointer) != again.pointer(pointer))
            .map(|(name, _)| name)
            .collect();
        let is_same = differences.is_empty();
        let file = printable(&self.file.to_string_lossy());
        let mut text = match is_same {
            true => format!("{file}: the same, every number and every hash\n"),
            false => format!("{file}: different now: {}\n", differences.join(", ")),
        };
        write!(text, "\n{}", stats(&self.document, &again))?;
        let json =
            json!({ "same": is_same, "different": differences, "recorded": self.document, "again": again });
        Ok(Report { text, json, answer: is_same })
    }
}

/// What is compared, and where it is in the documents of either metric.
const COMPARED: [(&str, &str); 11] = [
    ("annotations", "/provenance/annotations/sha256"),
    ("image set", "/provenance/image_set/sha256"),
    ("results", "/provenance/results/sha256"),
    ("weights", "/provenance/detector/weights/sha256"),
    ("images", "/provenance/detector/images/sha256"),
    ("categories of the network", "/provenance/detector/categories"),
    ("settings", "/provenance/settings_sha256"),
    ("version", "/provenance/tool"),
    ("stats", "/stats"),
    ("map", "/map"),
    ("classes", "/per_class"),
];

fn stats(recorded: &Json, again: &Json) -> Table {
    let columns = ["recorded", "again"].map(|name| (name, Align::Right));
    let mut table = Table::new([("metric", Align::Left)].into_iter().chain(columns));
    for (name, pointer) in numbers(again) {
        let number = |document: &Json| {
            let number = document.pointer(&pointer).and_then(Json::as_f64);
            number.map_or_else(|| "?".to_owned(), |number| format!("{number:.6}"))
        };
        table.row(vec![name, number(recorded), number(again)]);
    }
    table
}

/// The published numbers of a document, and where they are: COCO's twelve, or VOC's means.
fn numbers(document: &Json) -> Vec<(String, String)> {
    let names = document.get("stats_names").and_then(Json::as_array);
    let of_coco = names.into_iter().flatten().enumerate();
    let of_coco =
        of_coco.map(|(index, name)| (name.as_str().unwrap_or("?").to_owned(), format!("/stats/{index}")));
    let of_voc = [("mAP (07)", "/map07"), ("mAP (10)", "/map10")];
    let of_voc = of_voc.into_iter().filter(|(_, pointer)| document.pointer(pointer).is_some());
    of_coco.chain(of_voc.map(|(name, pointer)| (name.to_owned(), pointer.to_owned()))).collect()
}
