//! Why the first diverging layer diverges: what usually goes wrong is tried, and what makes the difference go away
//! is named.

use std::collections::HashMap;
use std::fmt;

use super::difference::Difference;
use super::input::{reversed_channels, swapped_sides};
use super::layers::{Layer, Verdict, known};
use super::local::Local;
use super::network::Network;
use super::recording::{Recorded, Recording};
use super::weights::WeightDifference;
use engine::NormStatistics;
use network::graph::{Activation, Array, Node, Op, ResizeMode, Value};

/// A likely cause.
#[derive(Debug, Clone, PartialEq)]
pub enum Cause {
    /// The original was fed with the channels of the recorded input in the other order.
    Channels,
    /// The original was fed with the recorded input's rows for columns.
    Sides,
    /// The recorded value has its rows and columns swapped.
    SwappedValue,
    /// Both have: everything was recorded as `[N, C, W, H]`.
    SwappedRecording,
    /// The original's batch norms used the statistics of the batch.
    BatchStatistics,
    /// The two sides have other weights in this layer.
    Weights {
        /// The parameters.
        parameters: Vec<String>,
    },
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
            Cause::SwappedRecording => f.write_str(
                "it agrees when rows and columns are swapped in the recorded input and value: [N, C, W, H]",
            ),
            Cause::Weights { parameters } => write!(f, "the weights differ: {}", some_of(parameters)),
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
                write!(f, "look at {}", some_of(parameters))
            }
        }
    }
}

/// The first few names, and how many there are.
fn some_of(names: &[String]) -> String {
    match names {
        [first, second, third, _, _, ..] => {
            format!("{first}, {second}, {third}, ... ({} in all)", names.len())
        }
        names => names.join(", "),
    }
}

/// What explains that `layer` diverges, if anything that usually goes wrong does. `changed` are the parameters in
/// which the two sides are known to differ.
pub fn diagnose(
    network: &Network,
    recording: &Recording,
    layer: &Layer,
    changed: &[WeightDifference],
) -> Option<Cause> {
    // What is decoded from an output is no layer.
    let tap = network.graph.taps().iter().find(|tap| tap.path == layer.path)?;
    let recorded = recording.value(&layer.path)?;
    let suspect =
        Suspect { network, recording, layer, recorded, value: tap.value, known: known(network, recording) };
    match layer.verdict {
        // The layer itself is right.
        Verdict::Equal | Verdict::Inherited => None,
        Verdict::Shape => suspect.swaps(),
        Verdict::Diverges => suspect.diagnose(changed),
    }
}

struct Suspect<'a> {
    network: &'a Network,
    recording: &'a Recording,
    layer: &'a Layer,
    recorded: &'a Recorded,
    value: Value,
    known: HashMap<Value, &'a Array>,
}

impl Suspect<'_> {
    fn diagnose(&self, changed: &[WeightDifference]) -> Option<Cause> {
        let parameters = self.parameters();
        let differ = |name: &String| changed.iter().any(|weight| weight.name == *name);
        let changed: Vec<String> = parameters.into_iter().filter(differ).collect();
        if !changed.is_empty() {
            return Some(Cause::Weights { parameters: changed });
        }
        let cause = self.swaps().or_else(|| self.channel_order()).or_else(|| self.statistics());
        cause.or_else(|| self.operators()).or_else(|| self.channels())
    }

    fn local<'l>(
        &'l self,
        known: &'l HashMap<Value, &'l Array>,
        instead: &'l dyn Fn(&Op) -> Option<Op>,
    ) -> Local<'l> {
        Local { graph: &self.network.graph, known, instead }
    }

    fn steps(&self) -> Vec<&Node> {
        let values = self.local(&self.known, &|_| None).steps(self.value);
        values.into_iter().filter_map(|value| self.network.graph.node(value)).collect()
    }

    /// The layer's value with one thing other than it is. What cannot be computed so explains nothing.
    fn with(
        &self,
        known: &HashMap<Value, &Array>,
        statistics: NormStatistics,
        instead: &dyn Fn(&Op) -> Option<Op>,
    ) -> Option<Array<f64>> {
        let executor = self.network.double(statistics);
        self.local(known, instead).value(&executor, self.value).ok().flatten()
    }

    /// The layer's value when the network is fed with something else; `None` when it does not see the input.
    fn fed_with(&self, input: &Array) -> Option<Array<f64>> {
        if !self.local(&self.known, &|_| None).sees_input(self.value) {
            return None;
        }
        let mut known = self.known.clone();
        for value in self.network.graph.inputs() {
            known.insert(*value, input);
        }
        self.with(&known, NormStatistics::Running, &|_| None)
    }

    /// Whether a value is the recorded one, or `recorded` in place of it.
    fn agrees(&self, ours: &Array<f64>, recorded: &Array) -> bool {
        let is_sample = self.recorded.step > 1;
        let theirs = recorded.wide();
        let sampled: Vec<f64> = ours.data.iter().copied().step_by(self.recorded.step).collect();
        if sampled.len() != theirs.len() || (!is_sample && ours.shape != recorded.shape) {
            return false;
        }
        let difference = Difference::between(sampled, theirs);
        match self.layer.verdict {
            // There is no tolerance for a value that has no shape in common with ours.
            Verdict::Shape => difference.rms < SAME_VALUE,
            _ => self.layer.local_tolerance.share(&difference) <= 1.0,
        }
    }

    /// Rows for columns: in the input, in the value, in both.
    fn swaps(&self) -> Option<Cause> {
        let recorded = &self.recorded.array;
        let fed = self.fed_with(&swapped_sides(&self.recording.input));
        if fed.as_ref().is_some_and(|ours| self.agrees(ours, recorded)) {
            return Some(Cause::Sides);
        }
        let [_, _, _, _] = recorded.shape[..] else { return None };
        let swapped = swapped_sides(recorded);
        if fed.is_some_and(|ours| self.agrees(&ours, &swapped)) {
            return Some(Cause::SwappedRecording);
        }
        let ours = self.with(&self.known, NormStatistics::Running, &|_| None);
        ours.is_some_and(|ours| self.agrees(&ours, &swapped)).then_some(Cause::SwappedValue)
    }

    fn channel_order(&self) -> Option<Cause> {
        let ours = self.fed_with(&reversed_channels(&self.recording.input));
        ours.is_some_and(|ours| self.agrees(&ours, &self.recorded.array)).then_some(Cause::Channels)
    }

    fn statistics(&self) -> Option<Cause> {
        let has_norm = self.steps().iter().any(|node| matches!(node.op, Op::BatchNorm { .. }));
        let ours = has_norm.then(|| self.with(&self.known, NormStatistics::Batch, &|_| None)).flatten()?;
        self.agrees(&ours, &self.recorded.array).then_some(Cause::BatchStatistics)
    }

    /// Every operator of one kind in the layer replaced by one that it is often mistaken for.
    fn operators(&self) -> Option<Cause> {
        let mut tried: Vec<&Op> = Vec::new();
        for op in self.steps().into_iter().map(|node| &node.op) {
            if tried.contains(&op) {
                continue;
            }
            tried.push(op);
            let agrees = |other: &Op| {
                let instead = |now: &Op| (now == op).then(|| other.clone());
                let ours = self.with(&self.known, NormStatistics::Running, &instead);
                ours.is_some_and(|ours| self.agrees(&ours, &self.recorded.array))
            };
            if let Some(other) = mistaken_for(op).into_iter().find(agrees) {
                return Some(Cause::Operator { ours: described(op), theirs: described(&other) });
            }
        }
        None
    }

    /// Channels whose own error is beyond the tolerance; all of them by a little is another matter.
    fn channels(&self) -> Option<Cause> {
        let [_, channels, height, width] = self.layer.shape[..] else {
            return None;
        };
        let ours = self.with(&self.known, NormStatistics::Running, &|_| None)?.data;
        let theirs = self.recorded.whole()?.wide();
        let largest = theirs.iter().fold(0.0_f64, |largest, value| largest.max(value.abs()));
        let allowed = self.layer.local_tolerance.relative * largest;
        let area = (height * width).max(1);
        let is_off =
            |(ours, theirs): (&[f64], &[f64])| ours.iter().zip(theirs).any(|(a, b)| (a - b).abs() > allowed);
        let planes: Vec<bool> = ours.chunks(area).zip(theirs.chunks(area)).map(is_off).collect();
        let differs = |channel: usize| planes.iter().skip(channel).step_by(channels).any(|off| *off);
        let differing: Vec<usize> = (0..channels).filter(|channel| differs(*channel)).collect();
        let rms = self.layer.local.unwrap_or(self.layer.total).rms;
        match differing[..] {
            [first, ..] if differing.len() < channels => Some(Cause::SomeChannels {
                first,
                differing: differing.len(),
                of: channels,
                parameters: self.parameters(),
            }),
            [_, ..] if rms < LOW_PRECISION => Some(Cause::LowPrecision { rms }),
            _ => None,
        }
    }

    /// Parameters of the layer.
    fn parameters(&self) -> Vec<String> {
        let graph = &self.network.graph;
        let ids = self.steps().into_iter().flat_map(|node| &node.parameters);
        ids.filter_map(|id| Some(graph.parameter(*id)?.name.clone())).collect()
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
            vec![Op::AveragePool(network::graph::Pool { count_padding, ..*pool })]
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
