//! Why the first diverging layer diverges: what usually goes wrong is tried, and what makes the difference go away
//! is named.

use std::collections::HashMap;
use std::fmt;

use candle_core::{DType, Tensor};

use super::difference::Difference;
use super::input::{reversed_channels, swapped_sides};
use super::layers::{Layer, known};
use super::local::Local;
use super::network::{Network, input_tensor};
use super::recording::{Recorded, Recording, VerifyError};
use crate::graph::{Activation, Array, Op, ResizeMode, Value};
use crate::runtime::{NormStatistics, to_f64};

/// A likely cause.
#[derive(Debug, Clone, PartialEq)]
pub enum Cause {
    /// The original was fed with the channels of the recorded input in the other order.
    Channels,
    /// The original was fed with the recorded input's rows for columns.
    Sides,
    /// The recorded value has its rows and columns swapped.
    SwappedValue,
    /// The original's batch norms used the statistics of the batch.
    BatchStatistics,
    /// The original computes another operator.
    Operator {
        /// What our network computes.
        ours: String,
        /// What makes the difference go away.
        theirs: String,
    },
    /// Every channel differs by a little.
    LowPrecision {
        /// By how much: root mean square, relative to the largest magnitude.
        rms: f64,
    },
    /// Only some channels differ.
    SomeChannels {
        /// The first of them.
        first: usize,
        /// How many.
        differing: usize,
        /// Of how many.
        of: usize,
        /// Parameters of the layer.
        parameters: Vec<String>,
    },
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Cause::Channels => f.write_str(
                "it agrees when the channels of the recorded input are reversed: BGR for RGB or RGB for BGR",
            ),
            Cause::Sides => {
                f.write_str("it agrees when rows and columns of the recorded input are swapped: height for width")
            }
            Cause::SwappedValue => f.write_str("it agrees when rows and columns of the recorded value are swapped"),
            Cause::BatchStatistics => f.write_str(
                "it agrees when batch norms use the statistics of the batch: the original was in training mode",
            ),
            Cause::Operator { ours, theirs } => write!(f, "it agrees with {theirs} in place of {ours}"),
            Cause::LowPrecision { rms } => write!(
                f,
                "every channel differs by a little ({rms:.1e} of the largest magnitude): arithmetic of low \
                 precision does that, TF32, f16 or bf16"
            ),
            Cause::SomeChannels { first, differing, of, parameters } => {
                write!(f, "{differing} of {of} channels differ, the first is channel {first}: ")?;
                write!(f, "look at {}", parameters.join(", "))
            }
        }
    }
}

/// What explains that `layer` diverges, if anything that usually goes wrong does.
///
/// # Errors
/// A network that cannot be run.
pub fn diagnose(
    network: &Network,
    recording: &Recording,
    layer: &Layer,
) -> Result<Option<Cause>, VerifyError> {
    let tap = network.graph.taps().iter().find(|tap| tap.path == layer.path);
    let recorded = recording.values.get(&layer.path);
    let (Some(tap), Some(recorded)) = (tap, recorded) else {
        return Ok(None);
    };
    let suspect =
        Suspect { network, recording, layer, recorded, value: tap.value, known: known(network, recording)? };
    if let Some(cause) = suspect.value_altered() {
        return Ok(Some(cause));
    }
    for attempt in [Suspect::input, Suspect::statistics, Suspect::operators, Suspect::channels] {
        if let Some(cause) = attempt(&suspect)? {
            return Ok(Some(cause));
        }
    }
    Ok(None)
}

struct Suspect<'a> {
    network: &'a Network,
    recording: &'a Recording,
    layer: &'a Layer,
    recorded: &'a Recorded,
    value: Value,
    known: HashMap<Value, Tensor>,
}

type Attempt = Result<Option<Cause>, VerifyError>;

impl Suspect<'_> {
    /// The layer's value with one thing other than it is.
    fn with(
        &self,
        known: &HashMap<Value, Tensor>,
        statistics: NormStatistics,
        instead: &dyn Fn(&Op) -> Option<Op>,
    ) -> Result<Option<Vec<f64>>, VerifyError> {
        let local = Local { graph: &self.network.graph, known, instead };
        let executor = self.network.executor(DType::F64, statistics);
        Ok(local.value(&executor, self.value)?.map(|tensor| to_f64(&tensor)).transpose()?)
    }

    /// Whether values are the recorded ones.
    fn agrees(&self, ours: &[f64]) -> bool {
        let sampled = ours.iter().step_by(self.recorded.step).copied();
        let theirs = self.recorded.data.iter().map(|value| f64::from(*value));
        self.layer.local_tolerance.share(&Difference::between(sampled, theirs)) <= 1.0
    }

    fn value_altered(&self) -> Option<Cause> {
        let recorded = Array { shape: self.recorded.shape.clone(), data: self.recorded.data.clone() };
        let swapped = swapped_sides(&recorded);
        if recorded.shape.len() != 4 || swapped.shape != self.layer.shape || self.recorded.step != 1 {
            return None;
        }
        let ours = self.with(&self.known, NormStatistics::Running, &|_| None).ok().flatten()?;
        let theirs = swapped.data.iter().map(|value| f64::from(*value));
        // There is no tolerance for a value that has no shape in common with ours.
        (Difference::between(ours, theirs).rms < SAME_VALUE).then_some(Cause::SwappedValue)
    }

    fn input(&self) -> Attempt {
        let local = Local { graph: &self.network.graph, known: &self.known, instead: &|_| None };
        if !local.sees_input(self.value) {
            return Ok(None);
        }
        let input = &self.recording.input;
        let altered = [(Cause::Channels, reversed_channels(input)), (Cause::Sides, swapped_sides(input))];
        for (cause, altered) in altered.into_iter().filter(|(_, altered)| altered.shape == input.shape) {
            let mut known = self.known.clone();
            for value in self.network.graph.inputs() {
                known.insert(*value, input_tensor(&altered)?);
            }
            let ours = self.with(&known, NormStatistics::Running, &|_| None)?;
            if ours.is_some_and(|ours| self.agrees(&ours)) {
                return Ok(Some(cause));
            }
        }
        Ok(None)
    }

    fn statistics(&self) -> Attempt {
        let ours = self.with(&self.known, NormStatistics::Batch, &|_| None)?;
        Ok(ours.is_some_and(|ours| self.agrees(&ours)).then_some(Cause::BatchStatistics))
    }

    /// Every operator of one kind in the layer replaced by one that it is often mistaken for.
    fn operators(&self) -> Attempt {
        let local = Local { graph: &self.network.graph, known: &self.known, instead: &|_| None };
        let steps = local.steps(self.value);
        let mut tried: Vec<&Op> = Vec::new();
        for op in steps.iter().filter_map(|value| Some(&self.network.graph.node(*value)?.op)) {
            if tried.contains(&op) {
                continue;
            }
            tried.push(op);
            for other in mistaken_for(op) {
                let ours = self
                    .with(&self.known, NormStatistics::Running, &|now| (now == op).then(|| other.clone()))?;
                if ours.is_some_and(|ours| self.agrees(&ours)) {
                    return Ok(Some(Cause::Operator { ours: described(op), theirs: described(&other) }));
                }
            }
        }
        Ok(None)
    }

    /// Channels whose own error is beyond the tolerance.
    fn channels(&self) -> Attempt {
        let Some(ours) = self.with(&self.known, NormStatistics::Running, &|_| None)? else {
            return Ok(None);
        };
        let [_, channels, height, width] = self.layer.shape[..] else {
            return Ok(None);
        };
        if self.recorded.step != 1 || self.recorded.shape != self.layer.shape {
            return Ok(None);
        }
        let largest = self.recorded.data.iter().fold(0.0_f64, |largest, v| largest.max(f64::from(v.abs())));
        let allowed = self.layer.local_tolerance.relative * largest;
        let mut differs = vec![false; channels];
        let area = (height * width).max(1);
        let planes = ours.chunks(area).zip(self.recorded.data.chunks(area));
        for (plane, (ours, theirs)) in planes.enumerate() {
            let off = ours.iter().zip(theirs).any(|(a, b)| (a - f64::from(*b)).abs() > allowed);
            if let Some(flag) = differs.get_mut(plane % channels).filter(|_| off) {
                *flag = true;
            }
        }
        let differing = differs.iter().filter(|differs| **differs).count();
        let first = differs.iter().position(|differs| *differs);
        let cause = first.map(|first| Cause::SomeChannels {
            first,
            differing,
            of: channels,
            parameters: self.parameters(),
        });
        let rms = self.layer.local.unwrap_or(self.layer.total).rms;
        if differing == channels && rms < LOW_PRECISION {
            return Ok(Some(Cause::LowPrecision { rms }));
        }
        Ok(cause.filter(|_| differing < channels))
    }

    fn parameters(&self) -> Vec<String> {
        let local = Local { graph: &self.network.graph, known: &self.known, instead: &|_| None };
        let graph = &self.network.graph;
        let steps = local.steps(self.value);
        let nodes = steps.iter().filter_map(|value| graph.node(*value));
        let ids = nodes.flat_map(|node| &node.parameters);
        let names: Vec<String> = ids.filter_map(|id| Some(graph.parameter(*id)?.name.clone())).collect();
        match names.len() {
            0..=4 => names,
            count => names.into_iter().take(3).chain([format!("... ({count} in all)")]).collect(),
        }
    }
}

/// Two values are the same but for rounding when their difference is below this share of the largest magnitude.
const SAME_VALUE: f64 = 1e-5;
/// TF32 and f16 compute with 10 bits behind the point, bf16 with 7.
const LOW_PRECISION: f64 = 1.0 / 256.0;

/// Epsilons in use: PyTorch's default, those of TensorFlow and YOLO code bases, and smaller ones.
const EPSILONS: [f64; 6] = [1e-3, 1e-4, 1e-5, 1e-6, 1e-8, 1e-12];
/// Slopes in use: PyTorch's default, those of Darknet and GAN code bases, and relu.
const SLOPES: [f64; 4] = [0.01, 0.1, 0.2, 0.0];

/// Operators that are written in place of `op` by mistake.
fn mistaken_for(op: &Op) -> Vec<Op> {
    let others: Vec<Op> = match op {
        Op::BatchNorm { momentum, .. } => {
            EPSILONS.map(|epsilon| Op::BatchNorm { epsilon, momentum: *momentum }).to_vec()
        }
        Op::GroupNorm { groups, .. } => {
            EPSILONS.map(|epsilon| Op::GroupNorm { groups: *groups, epsilon }).to_vec()
        }
        Op::Activation(_) => {
            let others = [
                Activation::Relu,
                Activation::Relu6,
                Activation::Silu,
                Activation::Sigmoid,
                Activation::HardSigmoid,
            ];
            let leaky = SLOPES.map(Activation::LeakyRelu);
            others.into_iter().chain(leaky).map(Op::Activation).collect()
        }
        Op::Resize { size, .. } => {
            [ResizeMode::Nearest, ResizeMode::Bilinear, ResizeMode::BilinearAlignCorners]
                .map(|mode| Op::Resize { mode, size: *size })
                .to_vec()
        }
        Op::AveragePool(pool) => {
            let count_padding = !pool.count_padding;
            vec![Op::AveragePool(crate::graph::Pool { count_padding, ..*pool })]
        }
        _ => Vec::new(),
    };
    others.into_iter().filter(|other| other != op).collect()
}

fn described(op: &Op) -> String {
    match op {
        Op::BatchNorm { epsilon, .. } => format!("batch norm with epsilon {epsilon:e}"),
        Op::GroupNorm { epsilon, .. } => format!("group norm with epsilon {epsilon:e}"),
        Op::Activation(Activation::LeakyRelu(slope)) => format!("leaky relu with slope {slope}"),
        Op::Resize { mode: ResizeMode::Nearest, .. } => "nearest resize".to_owned(),
        Op::Resize { mode: ResizeMode::Bilinear, .. } => "bilinear resize".to_owned(),
        Op::Resize { mode: ResizeMode::BilinearAlignCorners, .. } => {
            "bilinear resize with aligned corners".to_owned()
        }
        Op::AveragePool(pool) if pool.count_padding => "average pool that counts padding".to_owned(),
        Op::AveragePool(_) => "average pool that does not count padding".to_owned(),
        other => other.name().to_owned(),
    }
}
