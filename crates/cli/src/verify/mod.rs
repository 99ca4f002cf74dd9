//! `port verify`: is this the same detector, and if not, where and why does it differ?

mod findings;

use std::fmt::Write;
use std::path::PathBuf;

use crate::failure::Result;
use clap::Args;
use converters::Checkpoint;
use serde_json::json;

use self::findings::{Findings, first_diverging};
use super::network::find_table;
use super::outcome::{Report, Usage};
use super::size::image_size;
use crate::report::{count, number};
use network::graph::Array;
use network::models::{Form, Size};
use port::detect::{Placement, preprocess};
use port::identify::{Loaded, Request, load, load_from};
use port::verify::{
    Cause, Layer, Network, Recording, WeightDifference, compare_input, compare_layers, compare_weights,
    diagnose,
};
use vision::pictures::read_image;

/// Arguments of `port verify`.
#[derive(Debug, Args)]
pub(super) struct Verify {
    /// The checkpoint to be verified
    #[arg(value_name = "A")]
    checkpoint: PathBuf,
    /// What it is compared with: another checkpoint of the same network, or a recording of what the original
    /// computed (samples/record_torch.py makes one); without it, A is only checked by itself
    #[arg(value_name = "B")]
    original: Option<PathBuf>,
    /// A picture: with a recording, its input is compared with ours of this picture; with a checkpoint, both are
    /// run on it
    #[arg(long, value_name = "FILE")]
    image: Option<PathBuf>,
    /// A file with the tensor `input`, for a recording that has none
    #[arg(long, value_name = "FILE", conflicts_with = "image")]
    input: Option<PathBuf>,
    /// Size of the input on which two checkpoints are run; by default the family's usual one
    #[arg(long, value_name = "SIZE", value_parser = image_size)]
    image_size: Option<Size>,
    /// The set of weights to take from A where it has several: `avg`, `model`, `ema`
    #[arg(long, value_name = "NAME")]
    weights: Option<String>,
    /// The set of weights to take from B
    #[arg(long, value_name = "NAME")]
    weights_b: Option<String>,
    /// The mapping table for A, a file or one that port mapping list names; by default the built-in one that fits
    #[arg(long, value_name = "TABLE")]
    mapping: Option<String>,
    /// List every layer
    #[arg(long)]
    all: bool,
    /// Print one JSON document
    #[arg(long)]
    pub(super) json: bool,
}

impl Verify {
    pub(super) fn run(&self) -> Result<Report> {
        let table = self.mapping.as_deref().map(find_table).transpose()?;
        let request = Request { table: table.as_deref(), weights: self.weights.as_deref(), model: None };
        let ours = load(&self.checkpoint, request)?;
        let Some(original) = &self.original else {
            return self.alone(&ours);
        };
        let original = converters::open(original)?;
        // Names of modules do not depend on the input's size.
        let graph = ours.model.graph(Form::Training, ours.model.usual_size().batch(1))?;
        let is_recording = original.tensor("input").is_some() || Recording::is_in(&original, &graph);
        let (theirs, findings) = if is_recording || self.input.is_some() {
            (
                format!("recording, {} tensors", count(original.tensors().len() as u64)),
                self.recording(&ours, &original)?,
            )
        } else {
            let request = Request { weights: self.weights_b.as_deref(), ..Request::default() };
            let theirs = load_from(&original, request)?;
            if ours.model.without_auxiliary() != theirs.model.without_auxiliary() {
                return Ok(other_network(&ours, &theirs));
            }
            (theirs.description.clone(), self.pair(&ours, &theirs)?)
        };
        let mut text = format!("A      {}: {}\n", ours.file.display(), ours.description);
        writeln!(text, "B      {}: {theirs}", original.path().display())?;
        write!(text, "{}", findings.text(self.all)?)?;
        Ok(Report { text, json: findings.document(&ours, original.path()), answer: findings.is_equal() })
    }

    /// Without anything to compare with: the file is explained, and its numbers are numbers.
    fn alone(&self, ours: &Loaded) -> Result<Report> {
        let size = self.size(ours);
        let network = Network::new(&ours.model, &ours.weights, [1, 3, size.height, size.width])?;
        let input = self.picture(ours, size)?.unwrap_or_else(|| noise(size));
        let recording = network.record(&ours.file, &input)?;
        let layers = compare_layers(&network, &recording)?;
        let odd = recording.not_finite(network.graph());
        let noise = layers.iter().map(|layer| layer.total.relative).fold(0.0, f64::max);
        let mut text = format!("A      {}: {}\n", ours.file.display(), ours.description);
        writeln!(
            text,
            "every tensor is explained; {} layers run in f32 and f64 differ by at most {} of their largest magnitude",
            layers.len(),
            number(noise)
        )?;
        if let Some(path) = odd {
            writeln!(
                text,
                "not all values are finite, first in {path}: look at the parameters of that module"
            )?;
        }
        let json = json!({
            "a": ours.file.display().to_string(),
            "network": ours.description,
            "equal": odd.is_none(),
            "layers": layers.len(),
            "rounding": noise,
            "not_finite": odd,
        });
        Ok(Report { text, json, answer: odd.is_none() })
    }

    fn recording(&self, ours: &Loaded, original: &Checkpoint) -> Result<Findings> {
        let input = self.input.as_ref().map(converters::open).transpose()?;
        let recording = Recording::read(original, input.as_ref())?;
        let network = network(ours, recording.input())?;
        let layers = compare_layers(&network, &recording)?;
        let [.., height, width] = recording.input().shape[..] else {
            return Ok(Findings::default());
        };
        let picture = self.picture(ours, Size { width, height })?;
        Ok(Findings {
            weights: None,
            input: picture.map(|picture| compare_input(&picture, recording.input())),
            cause: cause(&network, &recording, &layers, &[]),
            unknown: recording.unknown(network.graph()),
            alone: Vec::new(),
            layers,
        })
    }

    fn pair(&self, ours: &Loaded, theirs: &Loaded) -> Result<Findings> {
        let size = self.size(ours);
        let input = self.picture(ours, size)?.unwrap_or_else(|| noise(size));
        // Only what both have is compared.
        let model = if theirs.model.has_auxiliary() { &ours.model } else { &theirs.model };
        let shape = [1, 3, size.height, size.width];
        let network = Network::new(model, &ours.weights, shape)?;
        let original = Network::new(model, &theirs.weights, shape)?;
        let recording = original.record(&theirs.file, &input)?;
        let layers = compare_layers(&network, &recording)?;
        let weights = compare_weights(network.graph(), &ours.weights, &theirs.weights)?;
        Ok(Findings {
            cause: cause(&network, &recording, &layers, &weights),
            weights: Some(weights),
            input: None,
            unknown: Vec::new(),
            alone: parameters_of_one(ours, theirs),
            layers,
        })
    }

    fn size(&self, ours: &Loaded) -> Size {
        self.image_size.unwrap_or_else(|| ours.model.usual_size())
    }

    /// The network's input for the picture that was given.
    fn picture(&self, ours: &Loaded, size: Size) -> Result<Option<Array>> {
        let Some(file) = &self.image else {
            return Ok(None);
        };
        let picture = read_image(file)?;
        let facts = ours.model.facts(size).preprocessing;
        let sides = Size { width: picture.width() as usize, height: picture.height() as usize };
        let shape = Placement::new(&facts, sides).input.batch(1).to_vec();
        Ok(Some(Array { shape, data: preprocess(&picture, &facts) }))
    }
}

fn network(ours: &Loaded, input: &Array) -> Result<Network> {
    let shape = <[usize; 4]>::try_from(input.shape.clone());
    let shape = shape.map_err(|shape| Usage(format!("the input {shape:?} is no batch of pictures")))?;
    Ok(Network::new(&ours.model, &ours.weights, shape)?)
}

/// The answer for two networks that have no layers in common.
fn other_network(ours: &Loaded, theirs: &Loaded) -> Report {
    let line = |side: &str, loaded: &Loaded| {
        format!("{side}      {}: {}\n", loaded.file.display(), loaded.description)
    };
    let text = format!("{}{}\nnot equal: these are different networks\n", line("A", ours), line("B", theirs));
    let json = json!({
        "a": ours.file.display().to_string(),
        "b": theirs.file.display().to_string(),
        "network": ours.description,
        "other_network": theirs.description,
        "equal": false,
    });
    Report { text, json, answer: false }
}

fn cause(
    network: &Network,
    recording: &Recording,
    layers: &[Layer],
    changed: &[WeightDifference],
) -> Option<Cause> {
    diagnose(network, recording, first_diverging(layers)?, changed)
}

/// Parameters that only one of two checkpoints has: those of the auxiliary branch.
fn parameters_of_one(ours: &Loaded, theirs: &Loaded) -> Vec<String> {
    let of_one = |one: &Loaded, other: &Loaded| -> Vec<String> {
        let alone = one.weights.iter().map(|(name, _)| name.to_owned());
        alone.filter(|name| other.weights.get(name).is_none()).collect()
    };
    let mut names = [of_one(ours, theirs), of_one(theirs, ours)].concat();
    names.sort();
    names
}

/// A picture without any pattern, the same in every run, in the range of normalised pictures.
fn noise(size: Size) -> Array {
    let shape = vec![1, 3, size.height, size.width];
    let mut state = 1_u64;
    let mut next = || {
        // Knuth's MMIX generator; the upper bits are the good ones.
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1_u64 << 22) as f32 - 2.0
    };
    let data = (0..shape.iter().product::<usize>()).map(|_| next()).collect();
    Array { shape, data }
}
