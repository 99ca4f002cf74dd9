//! `--replay`: a result once more, and what has changed since.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use converters::printable;
use serde_json::{Value as Json, json};

use super::coco::{Outcome, Plan, Source};
use super::provenance::Provenance;
use crate::cli::Report;
use crate::eval::{coco::STATS, read_file};
use crate::report::{Align, Table};

/// What an earlier run printed.
pub(super) struct Recorded {
    file: PathBuf,
    document: Json,
    provenance: Provenance,
}

impl Recorded {
    pub(super) fn read(file: &Path) -> Result<Recorded> {
        let wrong = || {
            let file = printable(&file.to_string_lossy());
            format!("{file}: not what port eval coco --json prints\n  keep that document to replay it")
        };
        let document: Json = serde_json::from_slice(&read_file(file)?).with_context(wrong)?;
        let provenance = document.get("provenance").cloned().unwrap_or_default();
        let provenance = serde_json::from_value(provenance).with_context(wrong)?;
        Ok(Recorded { file: file.to_owned(), document, provenance })
    }

    pub(super) fn plan(&self) -> Result<Plan> {
        let Provenance { annotations, results, detector, settings, .. } = self.provenance.clone();
        let source = match (results, detector) {
            (Some(results), _) => Source::Results(results.file),
            (None, Some(run)) => Source::Detector {
                weights: run.weights.file,
                images: run.images.file,
                options: run.options,
                keep: None,
            },
            (None, None) => anyhow::bail!("{}: it names no detections", self.file.display()),
        };
        Ok(Plan { annotations: annotations.file, source, settings })
    }

    /// Whether inputs and numbers are the same to the last digit.
    pub(super) fn compare(&self, outcome: &Outcome) -> Result<Report> {
        // Through text, as the recorded numbers went.
        let again: Json = serde_json::from_str(&outcome.document()?.to_string())?;
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

/// What is compared, and where it is in the documents.
const COMPARED: [(&str, &str); 8] = [
    ("annotations", "/provenance/annotations/sha256"),
    ("results", "/provenance/results/sha256"),
    ("weights", "/provenance/detector/weights/sha256"),
    ("images", "/provenance/detector/images/sha256"),
    ("settings", "/provenance/settings_sha256"),
    ("version", "/provenance/tool"),
    ("stats", "/stats"),
    ("classes", "/per_class"),
];

fn stats(recorded: &Json, again: &Json) -> Table {
    let columns = ["recorded", "again"].map(|name| (name, Align::Right));
    let mut table = Table::new([("metric", Align::Left)].into_iter().chain(columns));
    for (index, name) in STATS.iter().enumerate() {
        let number = |document: &Json| {
            let number = document.pointer(&format!("/stats/{index}")).and_then(Json::as_f64);
            number.map_or_else(|| "?".to_owned(), |number| format!("{number:.6}"))
        };
        table.row(vec![(*name).to_owned(), number(recorded), number(again)]);
    }
    table
}
