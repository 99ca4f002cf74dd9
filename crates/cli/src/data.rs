//! `port data`: what is in a data set, what is wrong with it, in another format, in parts.

mod report;

use std::path::{Path, PathBuf};

use crate::failure::Result;
use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Value as Json, json};

use super::outcome::{Report, Usage};
use report::{balance, defects_document, defects_text, statistics_document, statistics_text};
use vision::data::{DataSet, Defects, Effect, Error, Fault, Format, Loaded, Pictures, Ratio, Request};
use vision::data::{Statistics, load, losses, names, split, store};

/// Arguments of `port data`.
#[derive(Debug, Args)]
pub(super) struct Data {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Count images, objects, classes and sizes
    Stats {
        #[command(flatten)]
        source: Source,
    },
    /// List what is wrong, by reason, and what is dropped for it
    Check {
        #[command(flatten)]
        source: Source,
    },
    /// Write the data set in another format
    Convert {
        #[command(flatten)]
        source: Source,
        #[command(flatten)]
        target: Target,
        /// The format to write
        #[arg(long, value_enum)]
        to: Kind,
    },
    /// Part the data set by images, the same way for the same seed everywhere
    Split {
        #[command(flatten)]
        source: Source,
        #[command(flatten)]
        target: Target,
        /// How large the parts are: train and val, or train, val and test
        #[arg(long, default_value = "8:2")]
        ratio: Ratio,
        /// Which of all partings
        #[arg(long, default_value_t = 0)]
        seed: u64,
    },
}

/// The data set to read.
#[derive(Debug, Args)]
struct Source {
    /// COCO annotations (.json), a data.yaml, or a folder of Pascal VOC's or YOLO's form
    #[arg(value_name = "DATA")]
    path: PathBuf,
    /// The format, where the folder has more than one
    #[arg(long, value_enum)]
    from: Option<Kind>,
    /// The folder of the pictures; by default the usual places are looked at
    #[arg(long, value_name = "DIR")]
    images: Option<PathBuf>,
    /// A part of the data set: a list in ImageSets/Main (VOC), a split of data.yaml or a folder in images (YOLO)
    #[arg(long, value_name = "NAME")]
    split: Option<String>,
    /// Names of the classes of VOC or YOLO, in their order: separated by commas, or a file with one on each line
    #[arg(long)]
    names: Option<String>,
    /// Fail when there is any defect
    #[arg(long)]
    strict: bool,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

/// Where to write.
#[derive(Debug, Args)]
struct Target {
    /// A folder that is new or empty; for COCO's form without pictures a .json file
    #[arg(short, long, value_name = "OUT")]
    output: PathBuf,
    /// Copy the pictures; by default VOC and YOLO get links to them
    #[arg(long)]
    copy_images: bool,
}

/// A format, on the command line.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Kind {
    /// One JSON file
    Coco,
    /// Pascal VOC's XML files
    Voc,
    /// YOLO's text files
    Yolo,
}

impl Kind {
    fn format(self) -> Format {
        match self {
            Kind::Coco => Format::Coco,
            Kind::Voc => Format::Voc,
            Kind::Yolo => Format::Yolo,
        }
    }
}

impl Data {
    pub(super) fn json(&self) -> bool {
        match &self.command {
            Command::Stats { source } | Command::Check { source } => source.json,
            Command::Convert { source, .. } | Command::Split { source, .. } => source.json,
        }
    }

    pub(super) fn run(&self) -> Result<Report> {
        match &self.command {
            Command::Stats { source } => source.stats(),
            Command::Check { source } => source.check(),
            Command::Convert { source, target, to } => convert(source, target, to.format()),
            Command::Split { source, target, ratio, seed } => part(source, target, ratio, *seed),
        }
    }
}

impl Source {
    fn load(&self) -> Result<Loaded> {
        let request = Request {
            path: self.path.clone(),
            format: self.from.map(Kind::format),
            images: self.images.clone(),
            split: self.split.clone(),
            names: self.names.as_deref().map(class_names).transpose()?,
        };
        Ok(load(&request)?)
    }

    /// The first line of every answer.
    fn heading(&self, loaded: &Loaded) -> String {
        let split = self.split.as_ref().map(|split| format!(", {split}")).unwrap_or_default();
        format!("{} ({}{split})\n", self.path.display(), loaded.format.name())
    }

    /// The beginning of every document.
    fn document(&self, loaded: &Loaded) -> Json {
        json!({
            "data": self.path.display().to_string(),
            "format": loaded.format.name(),
            "split": self.split,
            "pictures": loaded.pictures.as_ref().map(|folder| folder.display().to_string()),
        })
    }

    /// Whether the defects may be.
    fn accepts(&self, defects: &Defects) -> bool {
        !self.strict || defects.total() == 0
    }

    fn stats(&self) -> Result<Report> {
        let loaded = self.load()?;
        let statistics = Statistics::of(&loaded.set);
        let mut text = self.heading(&loaded) + &statistics_text(&statistics)?;
        text.push_str(&hint(&loaded.defects));
        let mut json = self.document(&loaded);
        extend(&mut json, "statistics", statistics_document(&statistics));
        extend(&mut json, "defects", defects_document(&loaded.defects));
        Ok(Report { text, json, answer: self.accepts(&loaded.defects) })
    }

    fn check(&self) -> Result<Report> {
        let loaded = self.load()?;
        let mut text = self.heading(&loaded);
        text.push_str(&match &loaded.pictures {
            Some(folder) => format!("pictures in {}\n", folder.display()),
            None => "no pictures found, so none were looked at (--images DIR)\n".to_owned(),
        });
        text.push_str(&defects_text(&loaded)?);
        let mut json = self.document(&loaded);
        extend(&mut json, "images", loaded.set.images().len().into());
        extend(&mut json, "objects", loaded.set.object_count().into());
        extend(&mut json, "clean", (loaded.defects.total() == 0).into());
        extend(&mut json, "defects", defects_document(&loaded.defects));
        Ok(Report { text, json, answer: self.accepts(&loaded.defects) })
    }

    /// The report of a data set that `--strict` refuses: nothing is written.
    fn refusal(&self, loaded: &Loaded) -> Result<Report> {
        let mut report = self.check()?;
        report.text.push_str("\nnothing was written (--strict)\n");
        extend(&mut report.json, "written", Json::Null);
        report.answer = self.accepts(&loaded.defects);
        Ok(report)
    }
}

/// Names on the command line, or in the file that it names.
fn class_names(given: &str) -> Result<Vec<String>> {
    let file = Path::new(given);
    let content = |fault: Fault| Error::Content { file: file.to_owned(), fault };
    if file.is_file() {
        let bytes = std::fs::read(file).map_err(|problem| Error::Io { file: file.to_owned(), problem })?;
        return Ok(names::parse(&bytes).map_err(content)?);
    }
    let list = given.trim_end_matches(',').split(',').map(|name| name.trim().to_owned());
    names::checked(list.collect()).map_err(|fault| Usage(format!("--names {given}: {fault}")).into())
}

fn convert(source: &Source, target: &Target, format: Format) -> Result<Report> {
    let loaded = source.load()?;
    if !source.accepts(&loaded.defects) {
        return source.refusal(&loaded);
    }
    // The name of all there is where nothing gives another.
    let name = source.split.as_deref().unwrap_or("all");
    let parts = [(name.to_owned(), loaded.set.clone())];
    let mut report = target.write(source, &loaded, &parts, format)?;
    let losses = losses(&loaded.set, format);
    let kinds = [
        (losses.ids, "ids", "ids of images"),
        (losses.crowds, "crowds", "crowds, which become plain objects"),
        (losses.difficult, "difficult", "difficult objects, which become plain ones"),
        (losses.areas, "areas", "areas of outlines"),
    ];
    for (count, _, words) in kinds.into_iter().filter(|(count, ..)| *count > 0) {
        report.text.push_str(&format!("left behind: {count} {words}\n"));
    }
    let kinds = kinds.into_iter().map(|(count, name, _)| (name.to_owned(), count.into()));
    extend(&mut report.json, "left_behind", Json::Object(kinds.collect()));
    Ok(report)
}

fn part(source: &Source, target: &Target, ratio: &Ratio, seed: u64) -> Result<Report> {
    let loaded = source.load()?;
    if !source.accepts(&loaded.defects) {
        return source.refusal(&loaded);
    }
    let sets = split(&loaded.set, ratio, seed);
    let parts: Vec<(String, DataSet)> = ratio.names().into_iter().zip(sets).collect();
    let mut report = target.write(source, &loaded, &parts, loaded.format)?;
    let counted: Vec<_> = parts.iter().map(|(name, set)| (name.as_str(), Statistics::of(set))).collect();
    report.text.push_str(&format!("\n{}", balance(&counted)));
    let documents = counted.iter().map(|(name, part)| ((*name).to_owned(), statistics_document(part)));
    extend(&mut report.json, "seed", seed.into());
    extend(&mut report.json, "parts", Json::Object(documents.collect()));
    Ok(report)
}

impl Target {
    fn write(
        &self,
        source: &Source,
        loaded: &Loaded,
        parts: &[(String, DataSet)],
        format: Format,
    ) -> Result<Report> {
        let treatment = if self.copy_images { Pictures::Copied } else { Pictures::Referenced };
        let pictures = (loaded.pictures.as_deref(), treatment);
        let stored = store(parts, format, pictures, &source.path, &self.output)?;
        let (images, objects) = (loaded.set.images().len(), loaded.set.object_count());
        let mut text = source.heading(loaded);
        let output = self.output.display();
        text.push_str(&format!("wrote {output} ({}): {images} images, {objects} objects\n", format.name()));
        let verb = if self.copy_images { "copied" } else { "linked" };
        text.push_str(&match (&loaded.pictures, stored.pictures) {
            (None, _) => "pictures: it is not known where they are (--images DIR)\n".to_owned(),
            (Some(folder), 0) => format!("pictures: still in {} (--images)\n", folder.display()),
            (_, count) => format!("pictures: {count} {verb}\n"),
        });
        if stored.missing > 0 {
            text.push_str(&format!("pictures: {} are not there\n", stored.missing));
        }
        text.push_str(&hint(&loaded.defects));
        let mut json = source.document(loaded);
        extend(&mut json, "written", self.output.display().to_string().into());
        extend(&mut json, "to", format.name().into());
        extend(&mut json, "images", images.into());
        extend(&mut json, "objects", objects.into());
        extend(&mut json, "pictures_written", stored.pictures.into());
        extend(&mut json, "pictures_missing", stored.missing.into());
        extend(&mut json, "defects", defects_document(&loaded.defects));
        Ok(Report { text, json, answer: true })
    }
}

/// Points to the defects, where there are some.
fn hint(defects: &Defects) -> String {
    let dropped = defects.iter().filter(|(reason, ..)| reason.effect() == Effect::BoxDropped);
    match (defects.total(), dropped.map(|(_, count, _)| count).sum::<u64>()) {
        (0, _) => String::new(),
        (total, dropped) => {
            format!("defects: {total}, boxes dropped: {dropped} (port data check lists them)\n")
        }
    }
}

/// Adds an entry to a document.
fn extend(document: &mut Json, name: &str, value: Json) {
    if let Some(document) = document.as_object_mut() {
        document.insert(name.to_owned(), value);
    }
}
