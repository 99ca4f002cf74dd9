//! `port inspect`: format, totals, tensors, metadata, the names that pickles call.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::PathBuf;

use crate::failure::Result;
use clap::Args;
use converters::{Checkpoint, Dtype, Tensor, Value, decode, json as tree};
use files::Sha256;
use regex::Regex;
use serde_json::{Map, Value as Json, json};

use super::network::inspected;
use super::outcome::Report;
use crate::report::{Align, Table, bytes, count, number};

/// Arguments of `port inspect`.
#[derive(Debug, Args)]
pub(super) struct Inspect {
    /// The checkpoint: .pth, .pt, .ckpt, .pkl, .safetensors, .npy, .npz or .onnx, by content
    file: PathBuf,
    /// Add minimum, maximum, mean, standard deviation, zeros and NaNs of each tensor
    #[arg(long)]
    stats: bool,
    /// Add the SHA-256 of each tensor's row-major little-endian bytes
    #[arg(long)]
    hash: bool,
    /// Show only tensors whose name matches this regular expression
    #[arg(long, value_name = "REGEX")]
    filter: Option<Regex>,
    /// Print one JSON document
    #[arg(long)]
    pub(super) json: bool,
}

/// A tensor and what was computed of it.
struct Row<'a> {
    tensor: &'a Tensor,
    statistics: Option<Statistics>,
    sha256: Option<String>,
}

impl Inspect {
    pub(super) fn run(&self) -> Result<Report> {
        let checkpoint = converters::open(&self.file)?;
        if self.stats || self.hash {
            checkpoint.verify_file()?;
        }
        let is_shown =
            |tensor: &&Tensor| self.filter.as_ref().is_none_or(|filter| filter.is_match(tensor.name()));
        let shown = checkpoint.tensors().iter().filter(is_shown);
        let rows = shown.map(|tensor| self.row(tensor)).collect::<Result<Vec<_>>>()?;
        let (network, summary) = inspected(&checkpoint);
        Ok(Report {
            text: self.text(&checkpoint, network.as_deref(), &rows)?,
            json: document(&checkpoint, summary, &rows),
            answer: true,
        })
    }

    fn row<'a>(&self, tensor: &'a Tensor) -> Result<Row<'a>> {
        let mut row = Row { tensor, statistics: None, sha256: None };
        if !self.stats && !self.hash {
            return Ok(row);
        }
        let mut statistics = Statistics::new(tensor.dtype());
        let mut hasher = Sha256::default();
        tensor.read(&mut |chunk| {
            if self.stats {
                statistics.add(chunk);
            }
            if self.hash {
                hasher.update(chunk);
            }
            Ok(())
        })?;
        row.statistics = (self.stats && statistics.is_meaningful()).then_some(statistics);
        row.sha256 = self.hash.then(|| hasher.hexadecimal());
        Ok(row)
    }

    fn text(&self, checkpoint: &Checkpoint, network: Option<&str>, rows: &[Row]) -> Result<String> {
        let mut text = String::new();
        writeln!(
            text,
            "{}: {} checkpoint ({})",
            checkpoint.path().display(),
            checkpoint.format().framework(),
            checkpoint.format()
        )?;
        writeln!(text, "{}", totals(checkpoint))?;
        writeln!(text, "{}", network.map(|network| format!("{network}\n")).unwrap_or_default())?;
        text.push_str(&self.table(rows).to_string());
        if rows.len() < checkpoint.tensors().len() {
            writeln!(text, "({} of {} tensors shown)", rows.len(), checkpoint.tensors().len())?;
        }
        if let Value::Dict(metadata) = checkpoint.metadata() {
            section(
                &mut text,
                "metadata",
                metadata.entries.iter().map(|(key, value)| (label(key), brief(value))),
            );
        }
        let globals = checkpoint.globals().iter();
        section(
            &mut text,
            "names in the pickle (nothing was imported or called)",
            globals.map(|global| {
                let remark = if global.opaque { "unknown class, read as an inert record" } else { "" };
                (global.name.clone(), remark.to_owned())
            }),
        );
        let notes = checkpoint.notes().iter();
        section(&mut text, "left out", notes.map(|note| (note.name.clone(), note.reason.clone())));
        if checkpoint.needs_file_check() && !self.stats && !self.hash {
            text.push_str("\nThe checksum of this large file was not compared; --hash or --stats does it.\n");
        }
        Ok(text)
    }

    fn table(&self, rows: &[Row]) -> Table {
        use Align::{Left, Right};
        let mut columns = vec![("tensor", Left), ("dtype", Left), ("shape", Left), ("bytes", Right)];
        if self.stats {
            columns.extend(["min", "max", "mean", "std", "zeros", "NaN"].map(|name| (name, Right)));
        }
        if self.hash {
            columns.push(("sha256", Left));
        }
        let mut table = Table::new(columns);
        for row in rows {
            let mut cells = vec![
                row.tensor.name().to_owned(),
                row.tensor.dtype().to_string(),
                format!("{:?}", row.tensor.shape()),
                count(row.tensor.byte_len()),
            ];
            if self.stats {
                cells.extend(
                    row.statistics.as_ref().map_or_else(|| vec!["-".to_owned(); 6], Statistics::cells),
                );
            }
            cells.extend(row.sha256.clone());
            table.row(cells);
        }
        table
    }
}

fn totals(checkpoint: &Checkpoint) -> String {
    let tensors = checkpoint.tensors();
    let mut kinds: BTreeMap<&str, usize> = BTreeMap::new();
    tensors.iter().for_each(|tensor| *kinds.entry(tensor.dtype().name()).or_default() += 1);
    let kinds: Vec<_> = kinds.iter().map(|(name, count)| format!("{count} {name}")).collect();
    let elements = tensors.iter().map(Tensor::elements).sum();
    let size = tensors.iter().map(Tensor::byte_len).sum();
    let shared = checkpoint.aliases().iter().map(|group| group.len() - 1).sum::<usize>();
    let shared = if shared > 0 { format!("; {shared} share storage with another") } else { String::new() };
    format!(
        "{} tensors, {} elements, {} ({}){shared}",
        count(tensors.len() as u64),
        count(elements),
        bytes(size),
        kinds.join(", ")
    )
}

/// A heading and two columns, or nothing.
fn section(text: &mut String, heading: &str, entries: impl Iterator<Item = (String, String)>) {
    let mut table = Table::new([(heading, Align::Left), ("", Align::Left)]);
    let mut is_empty = true;
    for (name, value) in entries {
        is_empty = false;
        table.row(vec![format!("  {name}"), value]);
    }
    if !is_empty {
        text.push('\n');
        text.push_str(&table.to_string());
    }
}

fn label(key: &Value) -> String {
    key.step().to_string()
}

/// A value in at most one line; `--json` prints all of it.
fn brief(value: &Value) -> String {
    const WIDTH: usize = 100;
    let text = tree::describe(value).to_string();
    match text.char_indices().nth(WIDTH) {
        Some((end, _)) => format!("{}...", text.get(..end).unwrap_or_default()),
        None => text,
    }
}

fn document(checkpoint: &Checkpoint, network: Json, rows: &[Row]) -> Json {
    let tensors: Vec<Json> = rows.iter().map(Row::json).collect();
    let globals: Vec<_> = checkpoint.globals().iter().map(|global| &global.name).collect();
    let notes = checkpoint.notes().iter().map(|note| json!({ "name": note.name, "reason": note.reason }));
    json!({
        "file": checkpoint.path().display().to_string(),
        "format": checkpoint.format().name(),
        "network": network,
        "tensors": tensors,
        "metadata": tree::describe(&checkpoint.metadata()),
        "globals": globals,
        "left_out": notes.collect::<Vec<_>>(),
    })
}

impl Row<'_> {
    fn json(&self) -> Json {
        let mut entry = Map::new();
        entry.insert("name".to_owned(), json!(self.tensor.name()));
        entry.insert("dtype".to_owned(), json!(self.tensor.dtype().name()));
        entry.insert("shape".to_owned(), json!(self.tensor.shape()));
        entry.insert("bytes".to_owned(), json!(self.tensor.byte_len()));
        if let Some(sha256) = &self.sha256 {
            entry.insert("sha256".to_owned(), json!(sha256));
        }
        if let Some(statistics) = &self.statistics {
            entry.insert("stats".to_owned(), statistics.json());
        }
        Json::Object(entry)
    }
}

/// Running figures of the elements of a real tensor. NaNs are counted and left out of the others.
struct Statistics {
    dtype: Dtype,
    count: u64,
    mean: f64,
    /// Sum of squared distances from the mean (Welford's method: no cancellation).
    squares: f64,
    min: f64,
    max: f64,
    zeros: u64,
    nans: u64,
}

impl Statistics {
    fn new(dtype: Dtype) -> Self {
        let (min, max) = (f64::INFINITY, f64::NEG_INFINITY);
        Statistics { dtype, count: 0, mean: 0.0, squares: 0.0, min, max, zeros: 0, nans: 0 }
    }

    fn add(&mut self, chunk: &[u8]) {
        for element in chunk.chunks_exact(self.dtype.size()) {
            let value = decode(self.dtype, element);
            if value.is_nan() {
                self.nans += 1;
                continue;
            }
            self.count += 1;
            let distance = value - self.mean;
            self.mean += distance / self.count as f64;
            self.squares += distance * (value - self.mean);
            self.min = self.min.min(value);
            self.max = self.max.max(value);
            self.zeros += u64::from(value == 0.0);
        }
    }

    /// Complex numbers have no order, and an empty tensor no figures.
    fn is_meaningful(&self) -> bool {
        !matches!(self.dtype, Dtype::C64 | Dtype::C128) && self.count + self.nans > 0
    }

    /// Population standard deviation.
    fn deviation(&self) -> f64 {
        (self.squares / self.count as f64).sqrt()
    }

    /// `None` when every element is NaN.
    fn figures(&self) -> Option<[f64; 4]> {
        (self.count > 0).then(|| [self.min, self.max, self.mean, self.deviation()])
    }

    fn cells(&self) -> Vec<String> {
        let figures =
            self.figures().map_or_else(|| ["-"; 4].map(str::to_owned), |figures| figures.map(number));
        figures.into_iter().chain([count(self.zeros), count(self.nans)]).collect()
    }

    /// Infinite figures become texts, which JSON has no numbers for.
    fn json(&self) -> Json {
        let figure = |value: f64| if value.is_finite() { json!(value) } else { json!(value.to_string()) };
        let [min, max, mean, std] =
            self.figures().map_or([const { Json::Null }; 4], |figures| figures.map(figure));
        json!({ "min": min, "max": max, "mean": mean, "std": std, "zeros": self.zeros, "nan": self.nans })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statistics_leave_nan_out() {
        let values = [1.0_f32, 2.0, 3.0, 0.0, f32::NAN];
        let mut statistics = Statistics::new(Dtype::F32);
        statistics.add(&values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<_>>());
        assert_eq!(statistics.figures(), Some([0.0, 3.0, 1.5, 1.25_f64.sqrt()]));
        assert_eq!((statistics.zeros, statistics.nans), (1, 1));
    }
}
