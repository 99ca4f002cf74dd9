//! Layer by layer.
//!
//! Every layer is compared twice. In total: what our network makes of the recorded input, against what the original
//! made of it; that includes whatever was inherited from the layers before. Locally: the layer fed with what the
//! original recorded before it; that is the layer's own. Both are computed in f64 and held against a tolerance that
//! comes from the difference between our own runs in f32 and f64.

use std::collections::HashMap;

use candle_core::{DType, Tensor};

use super::difference::Difference;
use super::error::VerifyError;
use super::local::Local;
use super::network::{Network, input_tensor};
use super::recording::{DECODED, Recorded, Recording, module_of};
use engine::{NormStatistics, Outputs, to_f64};
use network::graph::{Tap, Value};

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
    let comparison = Comparison { network, recording, known: known(network, recording)? };
    let layers = comparison.run()?;
    if layers.is_empty() {
        let example = recording.values.values().next().map(|value| value.name.clone()).unwrap_or_default();
        let (file, values) = (recording.file.clone(), recording.values.len());
        return Err(VerifyError::NothingInCommon { file, values, example });
    }
    Ok(layers)
}

/// The recorded values that can stand in for our own: whole and of the right shape.
pub(super) fn known(network: &Network, recording: &Recording) -> candle_core::Result<HashMap<Value, Tensor>> {
    let graph = &network.graph;
    let mut known = HashMap::new();
    for tap in graph.taps() {
        if recording.is_of_any_call(graph, &tap.path) {
            continue;
        }
        let tensor = recording.value(&tap.path).and_then(Recorded::whole);
        let fits = |tensor: &&Tensor| graph.node(tap.value).is_some_and(|node| node.shape == tensor.dims());
        if let Some(tensor) = tensor.filter(fits) {
            known.entry(tap.value).or_insert_with(|| tensor.clone());
        }
    }
    for input in graph.inputs() {
        known.insert(*input, input_tensor(&recording.input)?);
    }
    Ok(known)
}

struct Comparison<'a> {
    network: &'a Network,
    recording: &'a Recording,
    known: HashMap<Value, Tensor>,
}

/// A value of ours in both precisions.
struct Ours {
    single: Vec<f64>,
    double: Vec<f64>,
    shape: Vec<usize>,
}

impl Ours {
    fn new(single: &Tensor, double: &Tensor) -> candle_core::Result<Ours> {
        Ok(Ours { single: to_f64(single)?, double: to_f64(double)?, shape: double.dims().to_vec() })
    }

    /// The difference to a recorded value, and what it may be.
    fn against(&self, recorded: &Recorded) -> candle_core::Result<(Difference, Tolerance)> {
        let theirs = recorded.numbers()?;
        let noise = Difference::between(self.single.iter().copied(), self.double.iter().copied());
        let tolerance = Tolerance::from_noise(noise, theirs.len());
        Ok((Difference::between(self.double.iter().step_by(recorded.step).copied(), theirs), tolerance))
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
        let input = input_tensor(&self.recording.input)?;
        let start = |dtype| self.network.executor(dtype, NormStatistics::Running).start(&input);
        let (mut single, mut double) = (start(DType::F32), start(DType::F64));
        let mut layers = Vec::new();
        for (value, node) in graph.values() {
            let (in_single, in_double) = (single.step(value, node)?, double.step(value, node)?);
            if let Some(recorded) = recorded.get(&value) {
                let total = Ours::new(&in_single, &in_double)?;
                layers.extend(self.layers(value, &total, recorded)?);
            }
        }
        let mut layers = self.nearest_calls(layers);
        layers.extend(self.decoded(&single.finish(), &double.finish())?);
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
        Ok(layers.collect::<candle_core::Result<Vec<Layer>>>()?)
    }

    /// A value from the recorded ones before it.
    fn local(&self, value: Value) -> Result<Option<Ours>, VerifyError> {
        let local = Local { graph: &self.network.graph, known: &self.known, instead: &|_| None };
        let of = |dtype| local.value(&self.network.executor(dtype, NormStatistics::Running), value);
        match (of(DType::F32)?, of(DType::F64)?) {
            (Some(single), Some(double)) => Ok(Some(Ours::new(&single, &double)?)),
            _ => Ok(None),
        }
    }

    /// What was decoded from the raw output, which has no node in the graph.
    fn decoded(&self, single: &Outputs, double: &Outputs) -> Result<Vec<Layer>, VerifyError> {
        let (Some(single), Some(double)) = (single.get("preds"), double.get("preds")) else {
            return Ok(Vec::new());
        };
        let recorded = self.recording.values.get("output.preds").and_then(Recorded::whole);
        let recorded = recorded.filter(|raw| raw.dims() == double.dims());
        let mut layers = Vec::new();
        for path in DECODED {
            let Some(value) = self.recording.values.get(path) else { continue };
            let shape = value.tensor.dims();
            let Some(total) = self.decode(path, single, double, shape)? else { continue };
            let local = match recorded {
                Some(raw) => self.decode(path, raw, raw, shape)?,
                None => None,
            };
            layers.push(layer(path, &total, local.as_ref(), value)?);
        }
        Ok(layers)
    }

    /// What is decoded in both precisions, laid out as a recording of `shape` has it.
    fn decode(
        &self,
        name: &str,
        single: &Tensor,
        double: &Tensor,
        shape: &[usize],
    ) -> Result<Option<Ours>, VerifyError> {
        let single = self.network.decoded::<f32>(name, single)?;
        let double = self.network.decoded::<f64>(name, double)?;
        let ours = single.zip(double).map(|(single, double)| [single, double].map(|part| part.like(shape)));
        let ours = ours.map(|[single, double]| Ours {
            single: single.values,
            double: double.values,
            shape: double.shape,
        });
        Ok(ours)
    }
}

fn layer(path: &str, total: &Ours, local: Option<&Ours>, recorded: &Recorded) -> candle_core::Result<Layer> {
    let fits = recorded.fits(&total.shape);
    let (difference, tolerance) = match fits {
        true => total.against(recorded)?,
        false => (Difference::INFINITE, Tolerance { relative: 0.0, rms: 0.0 }),
    };
    let local = local.filter(|_| fits).map(|local| local.against(recorded)).transpose()?;
    let layer = Layer {
        path: path.to_owned(),
        shape: total.shape.clone(),
        recorded_shape: (!fits).then(|| recorded.tensor.dims().to_vec()),
        step: recorded.step,
        total: difference,
        tolerance,
        local: local.map(|(difference, _)| difference),
        local_tolerance: local.map_or(tolerance, |(_, tolerance)| tolerance),
        verdict: Verdict::Shape,
    };
    Ok(if fits { layer.judged() } else { layer })
}
