//! `port eval voc`.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::{Args, ValueEnum};
use converters::printable;
use serde_json::{Value as Json, json};

use super::provenance::{Hashed, settings_sha256, sha256, tool};
use crate::cli::detect::share;
use crate::cli::{Report, Usage};
use crate::eval::voc::{ClassResult, Devkit, Scene, Settings, evaluate, mean_average_precision, read_devkit};
use crate::eval::{Rules, Warning, read_annotations, read_file, read_results};
use crate::report::{Align, Table, count};

/// Arguments of `port eval voc`.
#[derive(Debug, Args)]
pub(super) struct Voc {
    /// What there is: a folder of VOC's XML files, or COCO annotations (.json) with `difficult`
    #[arg(long, value_name = "DIR|GT.json")]
    annotations: PathBuf,
    /// What was detected: a folder of the development kit's result files (comp4_det_SET_CLASS.txt) or one of them,
    /// or with COCO annotations a file in COCO's result form
    #[arg(long, value_name = "DIR|FILE")]
    results: PathBuf,
    /// The names of the images that count, one on each line (ImageSets/Main/test.txt); by default all XML files
    #[arg(long, value_name = "FILE")]
    image_set: Option<PathBuf>,
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
    /// Print one JSON document
    #[arg(long)]
    pub(super) json: bool,
}

/// Which of VOC's metrics.
#[derive(Debug, Clone, Copy, PartialEq, ValueEnum)]
enum Year {
    #[value(name = "07")]
    Seven,
    #[value(name = "10")]
    Ten,
}

impl Year {
    fn of(self, result: &ClassResult) -> Option<f64> {
        match self {
            Year::Seven => result.ap07,
            Year::Ten => result.ap10,
        }
    }
}

/// What is evaluated, what is odd about it, and what it was read from.
struct Input {
    scene: Scene,
    warnings: Vec<Warning>,
    files: Vec<Hashed>,
}

impl Voc {
    pub(super) fn run(&self) -> Result<Report> {
        let input = if self.annotations.is_dir() { self.devkit()? } else { self.coco()? };
        let settings = Settings { iou: self.iou, strict_iou: self.strict_iou, plus_one: !self.no_plus_one };
        let results = evaluate(&input.scene, &settings);
        let json = self.document(&input, &results, &settings)?;
        Ok(Report { text: self.text(&input, &results)?, json, answer: true })
    }

    /// The files are hashed together: their names and contents.
    fn devkit(&self) -> Result<Input> {
        let devkit = Devkit {
            annotations: self.annotations.clone(),
            image_set: self.image_set.clone(),
            results: self.results.clone(),
        };
        let (scene, files) = read_devkit(&devkit)?;
        let mut names = String::new();
        for file in &files {
            writeln!(names, "{}\0{}", name(file), sha256(&read_file(file)?))?;
        }
        let files = vec![Hashed::new(&self.annotations, names.as_bytes())];
        Ok(Input { scene, warnings: Vec::new(), files })
    }

    fn coco(&self) -> Result<Input> {
        if self.image_set.is_some() {
            return Err(Usage("--image-set belongs to a folder of VOC annotations".to_owned()).into());
        }
        let (annotations, results) = (&self.annotations, &self.results);
        let text = read_file(annotations)?;
        let mut files = vec![Hashed::new(annotations, &text)];
        let (truth, warnings) = read_annotations(&text, annotations, Rules::Sound)?;
        let text = read_file(results)?;
        files.push(Hashed::new(results, &text));
        let detections = read_results(&text, results, &truth, Rules::Sound)?;
        let scene = Scene::of_coco(&truth, &detections);
        // Areas, crowd flags and ids matter to COCO's metric only.
        let mut warnings: Vec<Warning> = warnings
            .into_iter()
            .filter(|warning| matches!(warning, Warning::UnlistedImages(_) | Warning::UnlistedCategories(_)))
            .collect();
        if !detections.unknown_categories.is_empty() {
            warnings.push(Warning::UnknownCategories(detections.unknown_categories));
        }
        Ok(Input { scene, warnings, files })
    }

    fn mean(&self, results: &[ClassResult]) -> Option<f64> {
        mean_average_precision(results.iter().map(|result| self.metric.of(result)))
    }

    fn text(&self, input: &Input, results: &[ClassResult]) -> Result<String> {
        let mut text = String::new();
        for warning in &input.warnings {
            writeln!(text, "warning: {warning}")?;
        }
        let year = match self.metric {
            Year::Seven => "07, eleven points",
            Year::Ten => "10, area",
        };
        writeln!(text, "mAP ({year}, IoU {}): {}\n", self.iou, measured(self.mean(results)))?;
        write!(text, "{}", self.table(results))?;
        Ok(text)
    }

    fn table(&self, results: &[ClassResult]) -> Table {
        let columns = ["objects", "difficult", "detections", "right", "wrong", "AP"];
        let columns = columns.map(|name| (name, Align::Right));
        let mut table = Table::new([("class", Align::Left)].into_iter().chain(columns));
        for result in results {
            let counts = [
                result.objects,
                result.difficult,
                result.detections,
                result.true_positives,
                result.false_positives,
            ];
            let mut row = vec![result.name.clone()];
            row.extend(counts.map(|number| count(number as u64)));
            row.push(measured(self.metric.of(result)));
            table.row(row);
        }
        table
    }

    fn document(&self, input: &Input, results: &[ClassResult], settings: &Settings) -> Result<Json> {
        let mean = |of: fn(&ClassResult) -> Option<f64>| mean_average_precision(results.iter().map(of));
        let warnings =
            input.warnings.iter().map(|one| json!({ "kind": one.kind(), "message": one.to_string() }));
        Ok(json!({
            "map": self.mean(results),
            "map07": mean(|result| result.ap07),
            "map10": mean(|result| result.ap10),
            "per_class": serde_json::to_value(results)?,
            "warnings": warnings.collect::<Vec<_>>(),
            "provenance": {
                "tool": tool(),
                "files": serde_json::to_value(&input.files)?,
                "settings": serde_json::to_value(settings)?,
                "settings_sha256": settings_sha256(settings)?,
            },
        }))
    }
}

fn name(file: &Path) -> String {
    printable(&file.file_name().unwrap_or_default().to_string_lossy())
}

fn measured(value: Option<f64>) -> String {
    value.map_or_else(|| "n/a".to_owned(), |value| format!("{value:.4}"))
}
