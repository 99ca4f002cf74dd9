//! `port convert`: a checkpoint in another format, and an account of what was written and what was not.

use std::collections::{HashMap, HashSet};
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::failure::Result;
use clap::{Args, ValueEnum};
use converters::write::{Options, Target, Written, write};
use converters::{CastReport, Checkpoint, Dtype, Note, Tensor};
use serde_json::{Value as Json, json};

use super::network::{NetworkOptions, Recognised};
use super::outcome::{Report, Usage};
use crate::progress;
use crate::report::{Align, Table, bytes, count};
use port::mapping::Rename;

/// Arguments of `port convert`.
#[derive(Debug, Args)]
pub(super) struct Convert {
    /// The checkpoint to read, of any format
    input: PathBuf,
    /// The format to write
    #[arg(long, value_enum)]
    to: Format,
    /// The file to write; by default the input's name with the format's extension
    #[arg(short, long, value_name = "OUT")]
    output: Option<PathBuf>,
    /// Take only the part of the file at this dotted path, for instance `state_dict` or `ema`
    #[arg(long, value_name = "PATH")]
    root: Option<String>,
    /// Cast floating-point tensors; what overflows or loses precision is named
    #[arg(long, value_enum, default_value_t = Cast::Keep)]
    dtype: Cast,
    /// Rename tensors: 'FROM => TO' with placeholders {part}, {number:int}, {parts..}; the first rule that
    /// fits a name counts
    #[arg(long, value_name = "FROM => TO")]
    rename: Vec<Rename>,
    #[command(flatten)]
    network: NetworkOptions,
    /// Print one JSON document
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// One safetensors file
    Safetensors,
    /// A PyTorch archive, readable with torch.load(weights_only=True)
    Pth,
    /// A Jittor pickle, readable with jt.load
    Pkl,
    /// A numpy archive
    Npz,
}

impl Format {
    fn target(self) -> Target {
        match self {
            Format::Safetensors => Target::Safetensors,
            Format::Pth => Target::Torch,
            Format::Pkl => Target::Jittor,
            Format::Npz => Target::Npz,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Cast {
    Keep,
    F32,
    F16,
    Bf16,
}

impl Cast {
    fn dtype(self) -> Option<Dtype> {
        match self {
            Cast::Keep => None,
            Cast::F32 => Some(Dtype::F32),
            Cast::F16 => Some(Dtype::F16),
            Cast::Bf16 => Some(Dtype::Bf16),
        }
    }
}

impl Convert {
    pub(super) fn run(&self) -> Result<Report> {
        let started = Instant::now();
        let target = self.to.target();
        let Prepared { checkpoint, network } = self.prepare()?;
        let output = self.output_path(&checkpoint)?;
        let size = checkpoint.tensors().iter().map(Tensor::byte_len).sum();
        let bar = progress::of_bytes(size);
        let advance = |copied: u64| bar.inc(copied);
        let options = Options { dtype: self.dtype.dtype(), progress: Some(&advance) };
        let written = write(&checkpoint, target, &output, options);
        bar.finish_and_clear();
        let written = written?;
        let elapsed = started.elapsed();
        Ok(Report {
            text: self.text(&checkpoint, network.as_ref(), &output, &written, elapsed)?,
            json: self.document(&checkpoint, network, &output, &written, elapsed),
            answer: true,
        })
    }

    /// Opens the input and gives its tensors the names that are wanted.
    fn prepare(&self) -> Result<Prepared> {
        let sought = self.network.sought()?;
        let checkpoint = self.narrowed(sought.is_some())?;
        let Some(sought) = sought else {
            return Ok(Prepared { checkpoint, network: None });
        };
        let Recognised { checkpoint, text, json, filled } = sought.find(&checkpoint)?;
        Ok(Prepared { checkpoint, network: Some(Network { text, json, filled }) })
    }

    /// Opens the input, narrows it to the root, renames. When only a part is wanted in the end, names in the whole
    /// file need not differ.
    fn narrowed(&self, is_part: bool) -> Result<Checkpoint> {
        if self.root.is_none() && self.rename.is_empty() {
            let open = if is_part { converters::open_unnamed } else { converters::open };
            return Ok(open(&self.input)?);
        }
        // Names that clash in the whole file need not clash in a part of it, or under other names.
        let mut checkpoint = converters::open_unnamed(&self.input)?;
        if let Some(root) = &self.root {
            checkpoint = checkpoint.at_root(root)?;
        }
        let mut applied = 0;
        checkpoint = checkpoint.renamed(&mut |name| {
            let renamed = self.rename.iter().find_map(|rule| rule.apply(name));
            applied += usize::from(renamed.is_some());
            renamed
        })?;
        if !self.rename.is_empty() && applied == 0 {
            let message = "--rename fits none of the tensor names; port inspect lists them".to_owned();
            return Err(Usage(message).into());
        }
        Ok(checkpoint)
    }

    /// The input's name with the format's extension; that of an index says what it is an index of.
    fn default_output(&self) -> PathBuf {
        let name = self.input.to_string_lossy();
        let stem = name.strip_suffix(".index.json").map_or(self.input.as_path(), Path::new);
        stem.with_extension(self.to.target().extension())
    }

    /// The file to write, which is none of those that are read.
    fn output_path(&self, checkpoint: &Checkpoint) -> Result<PathBuf> {
        let output = self.output.clone().unwrap_or_else(|| self.default_output());
        let inputs: HashSet<&Path> = checkpoint.tensors().iter().map(Tensor::file).collect();
        if files::is_among(&output, inputs.into_iter().chain([self.input.as_path()])) {
            let message = format!("{} is an input; name another output with -o", output.display());
            return Err(Usage(message).into());
        }
        Ok(output)
    }

    fn text(
        &self,
        from: &Checkpoint,
        network: Option<&Network>,
        to: &Path,
        written: &Written,
        elapsed: Duration,
    ) -> Result<String> {
        let mut text = String::new();
        let source = std::fs::metadata(from.path()).map_or(0, |metadata| metadata.len());
        writeln!(text, "read   {} ({}, {})", from.path().display(), from.format(), bytes(source))?;
        writeln!(text, "wrote  {} ({}, {})", to.display(), self.to.target().name(), bytes(written.bytes))?;
        let tensors = count(written.tensors as u64);
        writeln!(text, "{tensors} tensors in {:.2} s", elapsed.as_secs_f64())?;
        if let Some(network) = network {
            text.push_str(&network.text);
        }
        self.casts(&mut text, written)?;
        section(&mut text, "filled in", network.map_or(&[], |network| &network.filled));
        section(&mut text, "left out", &written.dropped);
        Ok(text)
    }

    fn casts(&self, text: &mut String, written: &Written) -> Result<()> {
        let Some(dtype) = self.dtype.dtype() else {
            return Ok(());
        };
        if written.casts.is_empty() {
            writeln!(text, "casting to {dtype} changed no value")?;
            return Ok(());
        }
        let overflowed = written.casts.iter().filter(|(_, report)| report.overflowed > 0).count();
        writeln!(
            text,
            "casting to {dtype}: {} tensors lost precision, {overflowed} overflowed\n",
            written.casts.len()
        )?;
        let columns = [("cast", Align::Left), ("overflowed", Align::Right), ("rounded", Align::Right)];
        let mut table = Table::new(columns.into_iter().chain([("to zero", Align::Right)]));
        for (name, report) in &written.casts {
            let CastReport { overflowed, rounded, flushed } = *report;
            table.row(vec![name.clone(), count(overflowed), count(rounded), count(flushed)]);
        }
        write!(text, "{table}")?;
        Ok(())
    }

    fn document(
        &self,
        from: &Checkpoint,
        network: Option<Network>,
        to: &Path,
        written: &Written,
        elapsed: Duration,
    ) -> Json {
        let dropped = written.dropped.iter().map(|note| json!({ "name": note.name, "reason": note.reason }));
        let casts = written.casts.iter().map(|(name, report)| {
            json!({
                "name": name,
                "overflowed": report.overflowed,
                "rounded": report.rounded,
                "to_zero": report.flushed,
            })
        });
        let mut document = json!({
            "input": from.path().display().to_string(),
            "output": to.display().to_string(),
            "format": self.to.target().name(),
            "tensors": written.tensors,
            "bytes": written.bytes,
            "seconds": elapsed.as_secs_f64(),
            "dropped": dropped.collect::<Vec<_>>(),
            "casts": casts.collect::<Vec<_>>(),
        });
        if let (Some(Json::Object(network)), Some(document)) =
            (network.map(|network| network.json), document.as_object_mut())
        {
            document.extend(network);
        }
        document
    }
}

/// The checkpoint as it is to be written.
struct Prepared {
    checkpoint: Checkpoint,
    network: Option<Network>,
}

/// The network that the names are of.
struct Network {
    text: String,
    json: Json,
    filled: Vec<Note>,
}

/// Names and reasons under a heading, or nothing. Many names of one reason become one line.
fn section(text: &mut String, heading: &str, notes: &[Note]) {
    const NAMED: usize = 4;
    let mut counts: HashMap<&str, usize> = HashMap::new();
    notes.iter().for_each(|note| *counts.entry(&note.reason).or_default() += 1);
    let mut told = HashSet::new();
    let mut table = Table::new([(heading, Align::Left), ("why", Align::Left)]);
    for note in notes {
        let count = counts.get(note.reason.as_str()).copied().unwrap_or_default();
        if count <= NAMED {
            table.row(vec![note.name.clone(), note.reason.clone()]);
        } else if told.insert(&note.reason) {
            table.row(vec![format!("{} and {} more", note.name, count - 1), note.reason.clone()]);
        }
    }
    if !notes.is_empty() {
        text.push_str(&format!("\n{table}"));
    }
}
