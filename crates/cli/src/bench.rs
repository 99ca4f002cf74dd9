//! `port bench`: how fast a network runs on this machine.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use crate::failure::{Error, Result};
use clap::Args;
use files::printable;
use serde_json::{Value as Json, json};

use super::network::find_table;
use super::outcome::{Report, Usage};
use super::size::image_size;
use super::threads::Threads;
use crate::report::{Align, Table, bytes, number};
use engine::RuntimeError;
use network::graph::{GraphError, Weights};
use network::models::{Model, Size, preset};
use port::bench::{Measurement, Mode, Profile, Settings, Share, measure};
use port::identify::{Request, load};

/// Arguments of `port bench`.
#[derive(Debug, Args)]
pub(super) struct Bench {
    /// A checkpoint, or a network that port models lists, which gets weights without meaning
    #[arg(value_name = "WEIGHTS|MODEL", required_unless_present = "compare")]
    subject: Option<String>,
    /// The mapping table for the checkpoint; by default the built-in one that fits
    #[arg(long, value_name = "TABLE")]
    mapping: Option<String>,
    /// Size of the input: a side or WIDTHxHEIGHT in pixels; by default the network's usual one
    #[arg(long, value_name = "SIZE", value_parser = image_size)]
    image_size: Option<Size>,
    /// Images in a run
    #[arg(long, value_name = "NUMBER", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1024))]
    batch: u16,
    /// Timed runs, after those to warm up
    #[arg(long, value_name = "NUMBER", default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..))]
    rounds: u16,
    #[command(flatten)]
    threads: Threads,
    /// Time a training step: forward, backward from fixed gradients at the outputs, SGD
    #[arg(long)]
    train: bool,
    /// Time the network only as far as the results of a module, such as `neck`
    #[arg(long, value_name = "MODULE")]
    until: Option<String>,
    /// Time operators and modules as well
    #[arg(long)]
    profile: bool,
    /// Compare two earlier results, which --json printed
    #[arg(long, value_name = "FILE", num_args = 2, conflicts_with_all = ["subject", "profile", "train", "until"])]
    compare: Option<Vec<PathBuf>>,
    /// Print one JSON document
    #[arg(long)]
    pub(super) json: bool,
}

/// What is measured.
struct Subject {
    /// For people: the file and what it was taken for.
    description: String,
    model: Model,
    weights: Option<Weights>,
}

impl Bench {
    pub(super) fn run(&self) -> Result<Report> {
        if let Some([left, right]) = self.compare.as_deref() {
            return compare(left, right);
        }
        self.threads.limit()?;
        let subject = self.subject()?;
        let size = self.image_size.unwrap_or_else(|| subject.model.usual_size());
        let settings = Settings {
            mode: if self.train { Mode::Training } else { Mode::Inference },
            input: size.batch(usize::from(self.batch)),
            until: self.until.as_deref(),
            rounds: usize::from(self.rounds),
            profile: self.profile,
        };
        let found =
            measure(&subject.model, subject.weights.as_ref(), settings).map_err(|error| match error {
                RuntimeError::Graph(error @ (GraphError::Size { .. } | GraphError::Module { .. })) => {
                    Usage(error.to_string()).into()
                }
                error => Error::from(error),
            })?;
        let mut json = serde_json::to_value(&found)?;
        if let Some(json) = json.as_object_mut() {
            json.insert("tool".to_owned(), concat!("port ", env!("CARGO_PKG_VERSION")).into());
            json.insert("doubts".to_owned(), found.doubts().into());
        }
        Ok(Report { text: text(&subject.description, &found)?, json, answer: true })
    }

    fn subject(&self) -> Result<Subject> {
        let name = self.subject.as_deref().unwrap_or_default();
        let file = Path::new(name);
        match preset(name) {
            Some(preset) if !file.exists() => {
                let description = format!("{name}, with weights without meaning");
                Ok(Subject { description, model: preset.model(), weights: None })
            }
            None if !file.exists() => {
                let message = format!("`{name}` is neither a file nor a network; port models lists networks");
                Err(Usage(message).into())
            }
            _ => {
                let table = self.mapping.as_deref().map(find_table).transpose()?;
                let loaded = load(file, Request { table: table.as_deref(), ..Request::default() })?;
                let description = format!("{}: {}", printable(name), loaded.description);
                Ok(Subject { description, model: loaded.model, weights: Some(loaded.weights) })
            }
        }
    }
}

fn text(description: &str, found: &Measurement) -> Result<String> {
    let [images, channels, height, width] = found.input;
    let until = found.until.as_ref().map_or_else(String::new, |module| format!(", until {module}"));
    let mut text = format!("{description}{until}\n");
    let work = match found.mode {
        Mode::Inference => "",
        Mode::Training => "training step, ",
    };
    writeln!(
        text,
        "{work}input {images}x{channels}x{height}x{width}, {}, {}, {} rounds",
        plural(found.threads, "thread"),
        found.instructions,
        found.rounds
    )?;
    write!(text, "{}", figures(&[found]))?;
    for doubt in found.doubts() {
        writeln!(text, "cannot be trusted: {doubt}")?;
    }
    if let Some(profile) = &found.profile {
        write!(text, "{}", profile_text(profile))?;
    }
    Ok(text)
}

fn plural(count: usize, noun: &str) -> String {
    if count == 1 { format!("{count} {noun}") } else { format!("{count} {noun}s") }
}

/// A figure of a measurement: its name, its value, and how it is shown.
struct Figure {
    name: &'static str,
    value: fn(&Measurement) -> f64,
    show: fn(f64) -> String,
}

const FIGURES: [Figure; 7] = [
    Figure { name: "median, ms", value: |one| 1e3 * one.seconds.median, show: number },
    Figure { name: "p10, ms", value: |one| 1e3 * one.seconds.p10, show: number },
    Figure { name: "p90, ms", value: |one| 1e3 * one.seconds.p90, show: number },
    Figure { name: "images/s", value: |one| one.images_per_second, show: number },
    Figure { name: "GFLOP/s", value: |one| one.flops_per_second / 1e9, show: number },
    Figure {
        name: "  of the machine's peak, %",
        value: |one| 100.0 * one.flops_per_second / one.peak_flops_per_second,
        show: number,
    },
    Figure {
        name: "peak memory",
        value: |one| one.peak_memory.map_or(f64::NAN, |size| size as f64),
        show: |size| if size.is_nan() { "n/a".to_owned() } else { bytes(size as u64) },
    },
];

/// Figures of measurements beside each other, and of two of them how the second relates to the first.
fn figures(found: &[&Measurement]) -> Table {
    let names: &[&str] = if found.len() == 2 { &["A", "B", "B / A"] } else { &[""] };
    let right = names.iter().map(|name| (*name, Align::Right));
    let mut table = Table::new([("", Align::Left)].into_iter().chain(right));
    for Figure { name, value, show } in FIGURES {
        let mut row = vec![name.to_owned()];
        row.extend(found.iter().map(|one| show(value(one))));
        if let [left, right] = found {
            row.push(number(value(right) / value(left)));
        }
        table.row(row);
    }
    table
}

fn profile_text(profile: &Profile) -> String {
    let total: f64 = profile.operators.iter().map(|share| share.seconds).sum();
    let table = |heading: &str, shares: &[Share]| {
        let columns = [heading, "steps", "ms", "%"];
        let aligned = [Align::Left, Align::Right, Align::Right, Align::Right];
        let mut table = Table::new(columns.into_iter().zip(aligned));
        for share in shares {
            table.row(vec![
                share.name.clone(),
                share.steps.to_string(),
                number(1e3 * share.seconds),
                number(100.0 * share.seconds / total),
            ]);
        }
        format!("\n{table}")
    };
    table("operator", &profile.operators) + &table("module", &profile.modules)
}

fn compare(left: &Path, right: &Path) -> Result<Report> {
    let read = |file: &Path| -> Result<Measurement> {
        let text = fs::read_to_string(file)
            .map_err(|problem| Error::Unreadable { file: file.to_owned(), problem })?;
        let what = "no result of port bench --json".to_owned();
        serde_json::from_str(&text).map_err(|_| Error::Document { file: file.to_owned(), what })
    };
    let (a, b) = (read(left)?, read(right)?);
    let mut text = String::new();
    for (name, file, one) in [("A", left, &a), ("B", right, &b)] {
        let shape: Vec<String> = one.input.iter().map(usize::to_string).collect();
        let (file, shape) = (printable(&file.to_string_lossy()), shape.join("x"));
        let threads = plural(one.threads, "thread");
        writeln!(text, "{name}  {file}: {}, {shape}, {threads}, {}", one.network, one.instructions)?;
    }
    write!(text, "\n{}", figures(&[&a, &b]))?;
    let json: Json = json!({ "a": a, "b": b, "time_ratio": b.seconds.median / a.seconds.median });
    Ok(Report { text, json, answer: true })
}
