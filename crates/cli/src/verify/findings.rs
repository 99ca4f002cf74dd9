//! What was compared, for people and for programs.

use std::fmt::Write;
use std::path::Path;

use crate::failure::Result;
use serde_json::{Value as Json, json};

use crate::report::{Align, Table, count, number};
use port::identify::Loaded;
use port::verify::{Cause, Difference, InputCause, Layer, Tolerance, Verdict, WeightDifference};

/// Layers that are listed on either side of the first diverging one.
const CONTEXT: usize = 3;

/// Everything that was compared.
#[derive(Default)]
pub(super) struct Findings {
    pub(super) weights: Option<Vec<WeightDifference>>,
    pub(super) input: Option<(Difference, Option<InputCause>)>,
    pub(super) layers: Vec<Layer>,
    pub(super) unknown: Vec<String>,
    pub(super) cause: Option<Cause>,
    /// Parameters that only one of two checkpoints has.
    pub(super) alone: Vec<String>,
}

/// The layer to look at first: one that is itself wrong before one that inherits.
pub(super) fn first_diverging(layers: &[Layer]) -> Option<&Layer> {
    let is = |verdict: Verdict| layers.iter().find(|layer| layer.verdict == verdict);
    let own = layers.iter().find(|layer| matches!(layer.verdict, Verdict::Diverges | Verdict::Shape));
    own.or_else(|| is(Verdict::Inherited))
}

impl Findings {
    pub(super) fn is_equal(&self) -> bool {
        let same_weights = self.weights.as_ref().is_none_or(Vec::is_empty);
        let same_input = self.input.as_ref().is_none_or(|(_, cause)| cause.is_none());
        same_weights && same_input && first_diverging(&self.layers).is_none()
    }

    pub(super) fn text(&self, all: bool) -> Result<String> {
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
        if !self.alone.is_empty() {
            let some = self.alone.iter().take(3).cloned().collect::<Vec<_>>().join(", ");
            writeln!(
                text,
                "{} parameters that only one side has are not compared: {some}, ...",
                self.alone.len()
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

    pub(super) fn document(&self, ours: &Loaded, original: &Path) -> Json {
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
            "not_compared": self.unknown.iter().chain(&self.alone).collect::<Vec<_>>(),
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
        return Ok("weights  equal as f32, bit by bit\n".to_owned());
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
    let right = ["max abs", "relative", "cosine", "tolerance used", "own relative", "own used"];
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
