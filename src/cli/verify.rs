//! `port verify`: is this the same detector, and if not, where and why does it differ?

use std::fmt::Write;
use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::Args;
use converters::Checkpoint;
use serde_json::{Value as Json, json};

use super::size::ImageSize;
use super::{Report, Usage};
use crate::detect::{preprocess, read_image};
use crate::graph::Array;
use crate::identify::{Loaded, Request, load, load_from};
use crate::models::Size;
use crate::report::{Align, Table, count, number};
use crate::verify::{
    Cause, Difference, InputCause, Layer, Network, Recording, Tolerance, Verdict, WeightDifference,
    compare_input, compare_layers, compare_weights, diagnose,
};

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
    #[arg(long, value_name = "SIZE")]
    image_size: Option<ImageSize>,
    /// List every layer
    #[arg(long)]
    all: bool,
    /// Print one JSON document
    #[arg(long)]
    pub(super) json: bool,
}

/// Everything that was compared.
#[derive(Default)]
struct Findings {
    weights: Option<Vec<WeightDifference>>,
    input: Option<(Difference, Option<InputCause>)>,
    layers: Vec<Layer>,
    unknown: Vec<String>,
    cause: Option<Cause>,
}

impl Verify {
    pub(super) fn run(&self) -> Result<Report> {
        let ours = load(&self.checkpoint, Request::default())?;
        let Some(original) = &self.original else {
            return self.alone(&ours);
        };
        let original = converters::open(original)?;
        let (theirs, findings) = if Recording::is_in(&original) || self.input.is_some() {
            (
                format!("recording, {} tensors", count(original.tensors().len() as u64)),
                self.recording(&ours, &original)?,
            )
        } else {
            let theirs = load_from(&original, Request::default())?;
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
        let odd =
            layers.iter().find(|layer| !layer.total.max_abs.is_finite() || layer.total.relative.is_nan());
        let noise = layers.iter().map(|layer| layer.total.relative).fold(0.0, f64::max);
        let mut text = format!("A      {}: {}\n", ours.file.display(), ours.description);
        writeln!(
            text,
            "every tensor is explained; {} layers run in f32 and f64 differ by at most {} of their largest magnitude",
            layers.len(),
            number(noise)
        )?;
        if let Some(layer) = odd {
            writeln!(text, "{}: the values are not all numbers", layer.path)?;
        }
        let json = json!({
            "a": ours.file.display().to_string(),
            "network": ours.description,
            "equal": odd.is_none(),
            "layers": layers.len(),
            "rounding": noise,
            "not_finite": odd.map(|layer| layer.path.clone()),
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
            cause: cause(&network, &recording, &layers)?,
            unknown: recording.unknown(network.graph()),
            layers,
        })
    }

    fn pair(&self, ours: &Loaded, theirs: &Loaded) -> Result<Findings> {
        if ours.model.without_auxiliary() != theirs.model.without_auxiliary() {
            let (a, b) = (ours.model.name(), theirs.model.name());
            let message = format!(
                "A is {a} with {} classes, B is {b} with {}: they have no layers in common",
                ours.model.classes(),
                theirs.model.classes()
            );
            return Err(Usage(message).into());
        }
        let size = self.size(ours);
        let input = self.picture(ours, size)?.unwrap_or_else(|| noise(size));
        // Only what both have is compared.
        let model = if theirs.model.has_auxiliary() { &ours.model } else { &theirs.model };
        let shape = [1, 3, size.height, size.width];
        let network = Network::new(model, &ours.weights, shape)?;
        let original = Network::new(model, &theirs.weights, shape)?;
        let recording = original.record(&theirs.file, &input)?;
        let layers = compare_layers(&network, &recording)?;
        Ok(Findings {
            weights: Some(compare_weights(network.graph(), &ours.weights, &theirs.weights)?),
            input: None,
            cause: cause(&network, &recording, &layers)?,
            unknown: Vec::new(),
            layers,
        })
    }

    fn size(&self, ours: &Loaded) -> Size {
        let usual = ours.model.usual_size();
        self.image_size.map_or(usual, |size| Size { width: size.width, height: size.height })
    }

    /// The network's input for the picture that was given.
    fn picture(&self, ours: &Loaded, size: Size) -> Result<Option<Array>> {
        let Some(file) = &self.image else {
            return Ok(None);
        };
        let data = preprocess(&read_image(file)?, &ours.model.facts(size).preprocessing);
        Ok(Some(Array { shape: vec![1, 3, size.height, size.width], data }))
    }
}

fn network(ours: &Loaded, input: &Array) -> Result<Network> {
    let shape = <[usize; 4]>::try_from(input.shape.clone());
    let shape = shape.map_err(|shape| Usage(format!("the input {shape:?} is no batch of pictures")))?;
    Ok(Network::new(&ours.model, &ours.weights, shape)?)
}

fn cause(network: &Network, recording: &Recording, layers: &[Layer]) -> Result<Option<Cause>> {
    let first = first_diverging(layers);
    Ok(first.map(|layer| diagnose(network, recording, layer)).transpose()?.flatten())
}

fn first_diverging(layers: &[Layer]) -> Option<&Layer> {
    let is = |verdict: Verdict| layers.iter().find(|layer| layer.verdict == verdict);
    let own = layers.iter().find(|layer| matches!(layer.verdict, Verdict::Diverges | Verdict::Shape));
    own.or_else(|| is(Verdict::Inherited))
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

/// Layers that are listed on either side of the first diverging one.
const CONTEXT: usize = 3;

impl Findings {
    fn is_equal(&self) -> bool {
        let same_weights = self.weights.as_ref().is_none_or(Vec::is_empty);
        let same_input = self.input.as_ref().is_none_or(|(_, cause)| cause.is_none());
        same_weights && same_input && first_diverging(&self.layers).is_none()
    }

    fn text(&self, all: bool) -> Result<String> {
        let mut text = String::new();
        if let Some(differences) = &self.weights {
            write!(text, "\n{}", weights_text(differences)?)?;
        }
        if let Some((difference, cause)) = &self.input {
            write!(
                text,
                "\ninput  ours of the picture and the recorded one differ by at most {} (cosine {:.6})",
                number(difference.max_abs),
                difference.cosine
            )?;
            writeln!(text, "{}", cause.map_or(String::new(), |cause| format!(": {cause}")))?;
        }
        let first = first_diverging(&self.layers);
        write!(text, "\n{}", layer_table(&self.shown(all, first)))?;
        let equal = self.layers.iter().filter(|layer| layer.verdict == Verdict::Equal).count();
        writeln!(text, "\n{equal} of {} layers and outputs are within tolerance", self.layers.len())?;
        if !self.unknown.is_empty() {
            let some = self.unknown.iter().take(5).cloned().collect::<Vec<_>>().join(", ");
            writeln!(
                text,
                "{} recorded values belong to no module of the network, for instance {some}",
                self.unknown.len()
            )?;
        }
        match first {
            Some(layer) => writeln!(text, "first diverging: {}", explained(layer, self.cause.as_ref()))?,
            None if self.is_equal() => writeln!(text, "equal")?,
            None => writeln!(text, "not equal")?,
        }
        Ok(text)
    }

    /// The layers around the first diverging one; the worst ones when none diverges.
    fn shown(&self, all: bool, first: Option<&Layer>) -> Vec<&Layer> {
        if all {
            return self.layers.iter().collect();
        }
        let at = first.and_then(|first| self.layers.iter().position(|layer| layer.path == first.path));
        if let Some(at) = at {
            return self.layers.iter().skip(at.saturating_sub(CONTEXT)).take(2 * CONTEXT + 1).collect();
        }
        let mut worst: Vec<&Layer> = self.layers.iter().collect();
        let share = |layer: &Layer| layer.tolerance.share(&layer.total);
        worst.sort_by(|a, b| share(b).total_cmp(&share(a)));
        worst.truncate(CONTEXT);
        let outputs = self.layers.iter().filter(|layer| layer.path.starts_with("output."));
        for output in outputs {
            if !worst.iter().any(|layer| layer.path == output.path) {
                worst.push(output);
            }
        }
        worst
    }

    fn document(&self, ours: &Loaded, original: &Path) -> Json {
        let first = first_diverging(&self.layers);
        json!({
            "a": ours.file.display().to_string(),
            "b": original.display().to_string(),
            "network": ours.description,
            "equal": self.is_equal(),
            "weights": self.weights.as_ref().map(|all| all.iter().map(weight_document).collect::<Vec<_>>()),
            "input": self.input.as_ref().map(|(difference, cause)| json!({
                "difference": difference_document(difference),
                "cause": cause.map(|cause| cause.to_string()),
            })),
            "layers": self.layers.iter().map(layer_document).collect::<Vec<_>>(),
            "not_compared": self.unknown,
            "first_diverging": first.map(|layer| layer.path.clone()),
            "cause": self.cause.as_ref().map(ToString::to_string),
        })
    }
}

fn explained(layer: &Layer, cause: Option<&Cause>) -> String {
    let shape = layer.recorded_shape.as_ref();
    let what = match (cause, shape) {
        (Some(cause), _) => cause.to_string(),
        (None, Some(shape)) => format!("its shape is {:?} here and {shape:?} in the recording", layer.shape),
        (None, None) if layer.verdict == Verdict::Inherited => {
            "no layer diverges by itself, the differences add up".to_owned()
        }
        (None, None) => "nothing that usually goes wrong explains it".to_owned(),
    };
    format!("{}\n  {what}", layer.path)
}

fn weights_text(differences: &[WeightDifference]) -> Result<String> {
    if differences.is_empty() {
        return Ok("weights  equal, bit by bit\n".to_owned());
    }
    let mut text = format!("weights  {} parameters differ\n", count(differences.len() as u64));
    let right = ["elements", "max abs", "relative"].map(|name| (name, Align::Right));
    let mut table = Table::new([("parameter", Align::Left)].into_iter().chain(right));
    for WeightDifference { name, difference, elements, .. } in differences.iter().take(10) {
        let Difference { max_abs, relative, .. } = difference;
        table.row(vec![name.clone(), count(*elements as u64), number(*max_abs), number(*relative)]);
    }
    write!(text, "{table}")?;
    if differences.len() > 10 {
        writeln!(text, "... and {} more", differences.len() - 10)?;
    }
    Ok(text)
}

fn verdict(layer: &Layer) -> &'static str {
    match layer.verdict {
        Verdict::Equal => "equal",
        Verdict::Inherited => "inherited",
        Verdict::Diverges => "DIVERGES",
        Verdict::Shape => "SHAPE",
    }
}

fn layer_table(layers: &[&Layer]) -> Table {
    let right = ["max abs", "relative", "cosine", "of tolerance", "on its own", "of tolerance"];
    let columns = right.map(|name| (name, Align::Right));
    let mut table =
        Table::new([("layer", Align::Left)].into_iter().chain(columns).chain([("", Align::Left)]));
    for layer in layers {
        let Difference { max_abs, relative, cosine, .. } = layer.total;
        let share =
            |tolerance: &Tolerance, difference: &Difference| format!("{:.2}", tolerance.share(difference));
        let local = layer.local.as_ref();
        table.row(vec![
            layer.path.clone(),
            number(max_abs),
            number(relative),
            format!("{cosine:.7}"),
            share(&layer.tolerance, &layer.total),
            local.map(|local| number(local.relative)).unwrap_or_default(),
            local.map(|local| share(&layer.local_tolerance, local)).unwrap_or_default(),
            verdict(layer).to_owned(),
        ]);
    }
    table
}

fn tolerance_document(tolerance: &Tolerance) -> Json {
    json!({ "relative": tolerance.relative, "rms": tolerance.rms })
}

/// A number that JSON has a form for, or nothing.
fn finite(value: f64) -> Option<f64> {
    value.is_finite().then_some(value)
}

fn difference_document(difference: &Difference) -> Json {
    let Difference { max_abs, relative, rms, cosine, at } = *difference;
    json!({ "max_abs": finite(max_abs), "relative": finite(relative), "rms": finite(rms), "cosine": finite(cosine), "at": at })
}

fn weight_document(weight: &WeightDifference) -> Json {
    json!({
        "name": weight.name,
        "shape": weight.shape,
        "elements": weight.elements,
        "difference": difference_document(&weight.difference),
    })
}

fn layer_document(layer: &Layer) -> Json {
    json!({
        "path": layer.path,
        "shape": layer.shape,
        "recorded_shape": layer.recorded_shape,
        "step": layer.step,
        "verdict": verdict(layer).to_lowercase(),
        "total": difference_document(&layer.total),
        "tolerance": tolerance_document(&layer.tolerance),
        "local": layer.local.as_ref().map(difference_document),
        "local_tolerance": tolerance_document(&layer.local_tolerance),
    })
}
