//! Layer by layer.
//!
//! Every layer is compared twice. In total: what our network makes of the recorded input, against what the original
//! made of it; that includes whatever was inherited from the layers before. Locally: the layer fed with what the
//! original recorded before it; that is the layer's own. Both are computed in f64 and held against a tolerance that
//! comes from the difference between our own runs in f32 and f64.

use std::collections::HashMap;

use super::difference::Difference;
use super::error::VerifyError;
use super::local::Local;
use super::network::{Network, OUTPUT};
use super::recording::{DECODED, Recorded, Recording, module_of};
use engine::{NormStatistics, Outputs};
use network::graph::{Array, Tap, Value};

/// How many times our own largest rounding another implementation's may be: it adds in another order, with errors
/// of the same size, and the largest of many is compared. PyTorch and ONNX Runtime reach 2.2 times.
const LARGEST_ROUNDINGS: f64 = 8.0;
/// The same for the root mean square, which varies less. PyTorch and ONNX Runtime reach 1.4 times; Winograd's
/// convolution has a few times the rounding of a direct one.
const MEAN_ROUNDINGS: f64 = 4.0;
/// Rounding that is always to be expected, relative to the largest magnitude: a few units in the last place.
const ULP: f64 = f32::EPSILON as f64;

/// What a difference may be, both relative to the largest magnitude.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Tolerance {
    /// The largest difference.
    pub relative: f64,
    /// The root of the mean squared difference.
    pub rms: f64,
}

impl Tolerance {
    /// From the difference between f32 and f64 over `elements` values: the mean of few is less certain.
    fn from_noise(noise: Difference, elements: usize) -> Tolerance {
        let uncertainty = 1.0 + 3.0 / (elements.max(1) as f64).sqrt();
        Tolerance {
            relative: LARGEST_ROUNDINGS * (noise.relative + ULP),
            rms: MEAN_ROUNDINGS * uncertainty * (noise.rms + ULP / 4.0),
        }
    }

    /// How much of the tolerance a difference takes; more than 1 is too much.
    pub fn share(&self, difference: &Difference) -> f64 {
        let share = |found: f64, allowed: f64| if found == 0.0 { 0.0 } else { found / allowed };
        f64::max(share(difference.relative, self.relative), share(difference.rms, self.rms))
    }
}

/// What is to be said about a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Within tolerance.
    Equal,
    /// Off, but not by its own doing: fed with the original's values it is within tolerance.
    Inherited,
    /// Off by its own doing, or by that of layers before it that were not recorded.
    Diverges,
    /// Of another shape than the original's.
    Shape,
}

/// The comparison of one layer.
#[derive(Debug, Clone)]
pub struct Layer {
    /// Path of the module, or `output.NAME`.
    pub path: String,
    /// Shape of the value in our network.
    pub shape: Vec<usize>,
    /// Shape in the recording, where it is another.
    pub recorded_shape: Option<Vec<usize>>,
    /// Distance between the recorded elements; 1 for a whole value.
    pub step: usize,
    /// Our value against the recorded one.
    pub total: Difference,
    /// What `total` may be.
    pub tolerance: Tolerance,
    /// The same with the recorded values before it, where they are whole.
    pub local: Option<Difference>,
    /// What `local` may be.
    pub local_tolerance: Tolerance,
    /// What is to be said about it.
    pub verdict: Verdict,
}

impl Layer {
    fn judged(mut self) -> Layer {
        let is_within = |tolerance: Tolerance, difference: &Difference| tolerance.share(difference) <= 1.0;
        self.verdict = match &self.local {
            Some(local) if !is_within(self.local_tolerance, local) => Verdict::Diverges,
            _ if is_within(self.tolerance, &self.total) => Verdict::Equal,
            Some(_) => Verdict::Inherited,
            None => Verdict::Diverges,
        };
        self
    }
}

/// Compares every recorded value with the network's, in the order in which data flows.
///
/// # Errors
/// A network that cannot be run, or a recording that has nothing in common with it.
pub fn compare_layers(network: &Network, recording: &Recording) -> Result<Vec<Layer>, VerifyError> {
    if recording.values.is_empty() {
        return Err(VerifyError::Empty(recording.file.clone()));
    }
    let comparison = Comparison { network, recording, known: known(network, recording) };
    let layers = comparison.run()?;
    if layers.is_empty() {
        let example = recording.values.values().next().map(|value| value.name.clone()).unwrap_or_default();
        let (file, values) = (recording.file.clone(), recording.values.len());
        return Err(VerifyError::NothingInCommon { file, values, example });
    }
    Ok(layers)
}

/// The recorded values that can stand in for our own: whole and of the right shape.
pub(super) fn known<'r>(network: &Network, recording: &'r Recording) -> HashMap<Value, &'r Array> {
    let graph = &network.graph;
    let mut known = HashMap::new();
    for tap in graph.taps() {
        if recording.is_of_any_call(graph, &tap.path) {
            continue;
        }
        let array = recording.value(&tap.path).and_then(Recorded::whole);
        let fits = |array: &&Array| graph.node(tap.value).is_some_and(|node| node.shape == array.shape);
        if let Some(array) = array.filter(fits) {
            known.entry(tap.value).or_insert(array);
        }
    }
    for input in graph.inputs() {
        known.insert(*input, &recording.input);
    }
    known
}

struct Comparison<'a> {
    network: &'a Network,
    recording: &'a Recording,
    known: HashMap<Value, &'a Array>,
}

/// A value of ours in both precisions.
struct Ours {
    single: Vec<f64>,
    double: Vec<f64>,
    shape: Vec<usize>,
}

impl Ours {
    fn new(single: &Array<f32>, double: Array<f64>) -> Ours {
        Ours { single: single.wide(), double: double.data, shape: double.shape }
    }

    /// The difference to a recorded value, and what it may be.
    fn against(&self, recorded: &Recorded) -> (Difference, Tolerance) {
        let theirs = recorded.array.wide();
        let noise = Difference::between(self.single.iter().copied(), self.double.iter().copied());
        let tolerance = Tolerance::from_noise(noise, theirs.len());
        (Difference::between(self.double.iter().step_by(recorded.step).copied(), theirs), tolerance)
    }
}

impl Comparison<'_> {
    /// Runs the network in both precisions at once, and compares every value as soon as it is there: none is kept
    /// but for the nodes that use it.
    fn run(&self) -> Result<Vec<Layer>, VerifyError> {
        let graph = &self.network.graph;
        let mut recorded: HashMap<Value, Vec<(&Tap, &Recorded)>> = HashMap::new();
        for tap in graph.taps() {
            if let Some(value) = self.recording.value(&tap.path) {
                recorded.entry(tap.value).or_default().push((tap, value));
            }
        }
        let input = &self.recording.input;
        let mut single = self.network.single().start(input)?;
        let mut double = self.network.double(NormStatistics::Running).start(&input.to())?;
        let mut layers = Vec::new();
        for (value, node) in graph.values() {
            let (in_single, in_double) = (single.step(value, node)?, double.step(value, node)?);
            if let Some(recorded) = recorded.get(&value) {
                let total = Ours::new(&in_single.array()?, in_double.array()?);
                layers.extend(self.layers(value, &total, recorded)?);
            }
        }
        let mut layers = self.nearest_calls(layers);
        layers.extend(self.decoded(&single.finish()?, &double.finish()?)?);
        Ok(layers)
    }

    /// Of a value that may be of any call of its module, the comparison with the call that it is nearest to.
    fn nearest_calls(&self, layers: Vec<Layer>) -> Vec<Layer> {
        let mut kept: Vec<Layer> = Vec::new();
        let mut places = HashMap::new();
        for layer in layers {
            let module = module_of(&layer.path).to_owned();
            let place = match self.recording.is_of_any_call(&self.network.graph, &layer.path) {
                true => *places.entry(module).or_insert(kept.len()),
                false => kept.len(),
            };
            match kept.get_mut(place) {
                Some(other) if layer.total.relative < other.total.relative => *other = layer,
                Some(_) => {}
                None => kept.push(layer),
            }
        }
        kept
    }

    /// The comparisons of one value, which may have been recorded under several names.
    fn layers(
        &self,
        value: Value,
        total: &Ours,
        recorded: &[(&Tap, &Recorded)],
    ) -> Result<Vec<Layer>, VerifyError> {
        let any_fits = recorded.iter().any(|(_, recorded)| recorded.fits(&total.shape));
        let local = if any_fits { self.local(value)? } else { None };
        let layers = recorded.iter().map(|(tap, recorded)| layer(&tap.path, total, local.as_ref(), recorded));
        Ok(layers.collect())
    }

    /// A value from the recorded ones before it.
    fn local(&self, value: Value) -> Result<Option<Ours>, VerifyError> {
        let local = Local { graph: &self.network.graph, known: &self.known, instead: &|_| None };
        let single = local.value(&self.network.single(), value)?;
        let double = local.value(&self.network.double(NormStatistics::Running), value)?;
        Ok(single.zip(double).map(|(single, double)| Ours::new(&single, double)))
    }

    /// What was decoded from the raw output, which has no node in the graph.
    fn decoded(&self, single: &Outputs<f32>, double: &Outputs<f64>) -> Result<Vec<Layer>, VerifyError> {
        let (single, double) = (single.output(OUTPUT)?, double.output(OUTPUT)?);
        let recorded = self.recording.values.get("output.preds").and_then(Recorded::whole);
        let recorded = recorded.filter(|raw| raw.shape == double.shape).map(|raw| (raw, raw.to()));
        let mut layers = Vec::new();
        for path in DECODED {
            let Some(value) = self.recording.values.get(path) else { continue };
            let shape = value.array.shape.as_slice();
            let Some(total) = self.decode(path, &single, &double, shape) else { continue };
            let local =
                recorded.as_ref().and_then(|(single, double)| self.decode(path, single, double, shape));
            layers.push(layer(path, &total, local.as_ref(), value));
        }
        Ok(layers)
    }

    /// What is decoded in both precisions, laid out as a recording of `shape` has it.
    fn decode(&self, name: &str, single: &Array<f32>, double: &Array<f64>, shape: &[usize]) -> Option<Ours> {
        let single = self.network.decoded(name, single)?.like(shape);
        let double = self.network.decoded(name, double)?.like(shape);
        Some(Ours { single: single.values, double: double.values, shape: double.shape })
    }
}

fn layer(path: &str, total: &Ours, local: Option<&Ours>, recorded: &Recorded) -> Layer {
    let fits = recorded.fits(&total.shape);
    let (difference, tolerance) = match fits {
        true => total.against(recorded),
        false => (Difference::INFINITE, Tolerance { relative: 0.0, rms: 0.0 }),
    };
    let local = local.filter(|_| fits).map(|local| local.against(recorded));
    let layer = Layer {
        path: path.to_owned(),
        shape: total.shape.clone(),
        recorded_shape: (!fits).then(|| recorded.array.shape.clone()),
        step: recorded.step,
        total: difference,
        tolerance,
        local: local.map(|(difference, _)| difference),
        local_tolerance: local.map_or(tolerance, |(_, tolerance)| tolerance),
        verdict: Verdict::Shape,
    };
    if fits { layer.judged() } else { layer }
}
