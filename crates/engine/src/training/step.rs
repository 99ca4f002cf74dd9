//! What a training plan does, one kernel after another.

use std::sync::Arc;

use super::convolution::{Convolution, Scratch};
use super::learned::Learned;
use super::place::Place;
use super::reference::Reference;
use crate::RuntimeError;
use crate::kernels::channels_last::aligned::Aligned;
use crate::kernels::channels_last::axis::{Along, Axis};
use crate::kernels::channels_last::channelwise::Channelwise;
use crate::kernels::channels_last::elementwise::unpack;
use crate::kernels::channels_last::gradients::{Function, channel_sums, deal, dot, each, pack, pixel_dots};
use crate::kernels::channels_last::normalise::Normalisation;
use crate::kernels::channels_last::order::Order;
use crate::kernels::channels_last::pool_gradient::max_pool_gradient;
use crate::kernels::channels_last::product::product;
use crate::kernels::channels_last::products::Source;
use crate::kernels::channels_last::resample::{Channels, max_pool, resample};
use crate::kernels::channels_last::team::Team;
use crate::resample::Resample;
use network::graph::{Pool, Value};

/// A parameter's gradient: its position, and whether others have written to it before.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sum {
    pub(super) parameter: usize,
    pub(super) add: bool,
}

/// Where a result is written, or added to what is there.
#[derive(Debug, Clone, Copy)]
pub(super) struct Target {
    pub(super) place: Place,
    pub(super) add: bool,
}

/// A kernel with its operands.
#[derive(Debug)]
pub(super) struct Step {
    /// The node that it belongs to.
    pub(super) value: Value,
    pub(super) kernel: Kernel,
    pub(super) operands: Vec<Place>,
    pub(super) targets: Vec<Option<Target>>,
}

/// Kernels. Numbers name parameters and normalisations of the plan; operands are those of the step.
#[derive(Debug)]
pub(super) enum Kernel {
    /// Zeros.
    Zero,
    Dense {
        own: Arc<Convolution>,
        weight: usize,
        bias: Option<usize>,
    },
    /// Operand: the gradient of the result.
    DenseInput {
        backward: Arc<Convolution>,
        forward: Arc<Convolution>,
        weight: usize,
    },
    /// Operands: the input, and the gradient of the result.
    DenseWeight {
        own: Arc<Convolution>,
        sum: Sum,
    },
    Channelwise {
        own: Arc<Channelwise>,
        weight: usize,
        bias: Option<usize>,
    },
    ChannelwiseWeight {
        own: Arc<Channelwise>,
        sum: Sum,
    },
    /// Operand: the gradient of the result.
    Bias(Sum),
    /// Parameters: weight, bias, and running statistics where there are any.
    Normalise {
        norm: usize,
        parameters: [usize; 2],
        statistics: Option<[usize; 2]>,
        momentum: Option<f64>,
    },
    /// Operands: the input, and the gradient of the result. Nothing is written for parameters that are not trained.
    NormSums {
        norm: usize,
        weight: usize,
        sums: [Option<Sum>; 2],
    },
    NormInput {
        norm: usize,
    },
    Each(Function),
    /// Channels in another order.
    Deal(Vec<usize>),
    /// Times a parameter of one number.
    Scale(usize),
    /// Operands: the input, and the gradient of the result.
    ScaleFactor(Sum),
    /// Row-major numbers of the only operand, or of channels.
    Unpack,
    /// Channels of row-major numbers.
    Pack,
    /// Axes in another order.
    Order(Order),
    Along {
        along: Along,
        axis: Axis,
    },
    /// Operands: what is known, and the gradient of the result.
    AlongInput {
        along: Along,
        axis: Axis,
    },
    /// Products of matrices, whose inner size is this.
    Product {
        inner: usize,
    },
    /// Sums of the products of two operands' channels, for each pixel.
    PixelDots,
    MaxPool(Pool),
    /// Operands: the input, and the gradient of the result. Adds always.
    MaxPoolInput(Pool),
    Resample(Resample),
    /// By the reference executor.
    Reference,
    /// Operands: the inputs, then the gradient of the result. A target for each input, a sum for each parameter.
    ReferenceGradient {
        sums: Vec<Option<Sum>>,
    },
}

impl Kernel {
    /// Its name, for tables.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Kernel::Zero => "zero",
            Kernel::Dense { .. } => "convolution",
            Kernel::DenseInput { .. } => "convolution, gradient of the input",
            Kernel::DenseWeight { .. } => "convolution, gradient of the weights",
            Kernel::Channelwise { .. } => "depthwise convolution",
            Kernel::ChannelwiseWeight { .. } => "depthwise convolution, gradient of the weights",
            Kernel::Bias(_) => "gradient of a bias",
            Kernel::Normalise { .. } => "norm",
            Kernel::NormSums { .. } => "norm, gradient of the parameters",
            Kernel::NormInput { .. } => "norm, gradient of the input",
            Kernel::Each(_) | Kernel::PixelDots => "elements",
            Kernel::Unpack | Kernel::Pack | Kernel::Order(_) => "reorder",
            Kernel::Along { .. } | Kernel::AlongInput { .. } => "along an axis",
            Kernel::Product { .. } => "matrix product",
            Kernel::Deal(_) => "channel shuffle",
            Kernel::Scale(_) | Kernel::ScaleFactor(_) => "scale",
            Kernel::MaxPool(_) | Kernel::MaxPoolInput(_) => "max pool",
            Kernel::Resample(_) => "resample",
            Kernel::Reference | Kernel::ReferenceGradient { .. } => "reference executor",
        }
    }

    /// Whether it can add to what is there.
    pub(super) fn adds(&self) -> bool {
        !matches!(
            self,
            Kernel::Resample(_)
                | Kernel::MaxPool(_)
                | Kernel::Normalise { .. }
                | Kernel::Reference
                | Kernel::Unpack
                | Kernel::Order(_)
                | Kernel::Along { .. }
                | Kernel::AlongInput { .. }
                | Kernel::Product { .. }
        )
    }
}

/// Everything that steps change.
#[derive(Debug)]
pub(super) struct State {
    pub(super) buffers: Vec<Aligned>,
    pub(super) learned: Vec<Learned>,
    pub(super) norms: Vec<Normalisation>,
    pub(super) scratch: Scratch,
    pub(super) reference: Reference,
}

impl Step {
    /// Buffers that it uses.
    pub(super) fn buffers(&self) -> impl Iterator<Item = usize> + '_ {
        let targets = self.targets.iter().flatten().map(|target| target.place.buffer);
        self.operands.iter().map(|place| place.buffer).chain(targets)
    }

    /// Puts the numbers of buffers in the place of those of values.
    pub(super) fn renumber(&mut self, numbers: &[usize]) {
        let targets = self.targets.iter_mut().flatten().map(|target| &mut target.place);
        for place in self.operands.iter_mut().chain(targets) {
            place.buffer = numbers.get(place.buffer).copied().unwrap_or(place.buffer);
        }
    }

    pub(super) fn run(&self, team: &Team, state: &mut State) -> Result<(), RuntimeError> {
        match &self.kernel {
            Kernel::Reference => return state.forward_by_reference(self),
            Kernel::ReferenceGradient { sums } => return state.backward_by_reference(self, sums),
            _ => {}
        }
        match self.targets.first() {
            Some(Some(target)) => {
                // A step never reads the buffer that it writes.
                let mut result =
                    state.buffers.get_mut(target.place.buffer).map(std::mem::take).unwrap_or_default();
                self.write(team, state, result.floats_mut(), target);
                if let Some(slot) = state.buffers.get_mut(target.place.buffer) {
                    *slot = result;
                }
            }
            _ => self.sum(team, state),
        }
        Ok(())
    }

    fn write(&self, team: &Team, state: &mut State, result: &mut [f32], target: &Target) {
        let State { buffers, learned, norms, scratch, .. } = state;
        let sources = [0, 1].map(|index| source(buffers, self.operands.get(index)));
        let [first, _] = sources;
        let Target { place, add } = *target;
        let values =
            |parameter: usize| learned.get(parameter).map(|own| own.value.floats()).unwrap_or_default();
        let bias = |bias: &Option<usize>| bias.map(values).unwrap_or_default();
        let (to, channel, channels) = (place.grid, place.channel, place.channels);
        match &self.kernel {
            Kernel::Zero => zero(result, &place),
            Kernel::Dense { own, weight, bias: shift } => {
                let weights = [values(*weight), bias(shift)];
                own.run(team, scratch, weights, first, (result, to, channel), add);
            }
            Kernel::DenseInput { backward, forward, weight } => {
                let weights = (forward.as_ref(), values(*weight));
                backward.run_back(team, scratch, weights, first, (result, to, channel), add);
            }
            Kernel::Channelwise { own, weight, bias: shift } => {
                own.run(team, [values(*weight), bias(shift)], first, (result, to, channel), add);
            }
            Kernel::Normalise { norm, parameters, statistics, momentum } => {
                let Some(norm) = norms.get_mut(*norm) else { return };
                let given = statistics.filter(|_| momentum.is_none()).map(|own| own.map(values));
                norm.forward(team, first, parameters.map(values), given, (result, to, channel));
                let (Some(statistics), Some(momentum)) = (statistics, momentum) else { return };
                move_statistics(norm, learned, *statistics, *momentum, to.images * to.pixels());
            }
            Kernel::NormInput { norm } => {
                if let Some(norm) = norms.get(*norm) {
                    norm.input_gradient(team, sources, (result, to, channel), add);
                }
            }
            Kernel::Each(function) => {
                each(team, *function, sources, (result, to, channel), channels, add);
            }
            Kernel::Scale(factor) => {
                let factor = values(*factor).first().copied().unwrap_or_default();
                each(team, Function::Scaled(factor), sources, (result, to, channel), channels, add);
            }
            Kernel::Deal(order) => deal(team, order, first, (result, to, channel), add),
            Kernel::Unpack => {
                let positions = first.2..first.2 + self.operands.first().map_or(0, |own| own.channels);
                unpack(team, first.0, first.1, positions, (result, to));
            }
            Kernel::Pack => pack(team, first.0, (result, to, channel), channels, add),
            Kernel::Order(order) => order.run(team, first.0, (result, to)),
            Kernel::Along { along, axis } => along.run(team, first.0, *axis, (result, to)),
            Kernel::AlongInput { along, axis } => {
                along.gradient(team, sources.map(|(floats, ..)| floats), *axis, (result, to));
            }
            Kernel::Product { inner } => {
                let [(left, ..), (right, ..)] = sources;
                product(team, left, right, *inner, (result, to));
            }
            Kernel::PixelDots => {
                let channels = self.operands.first().map_or(0, |own| own.channels);
                pixel_dots(team, sources, channels, (result, to, channel), add);
            }
            Kernel::MaxPool(pool) => {
                let channels = Channels { from: first.2, to: channel, count: channels };
                max_pool(team, pool, (first.0, first.1), (result, to), channels);
            }
            Kernel::MaxPoolInput(pool) => {
                max_pool_gradient(team, pool, sources, (result, to, channel), channels);
            }
            Kernel::Resample(weights) => {
                let channels = Channels { from: first.2, to: channel, count: channels };
                resample(team, weights, (first.0, first.1), (result, to), channels);
            }
            _ => {}
        }
    }

    /// Steps that change parameters' gradients only.
    fn sum(&self, team: &Team, state: &mut State) {
        let State { buffers, learned, norms, scratch, .. } = state;
        let sources = [0, 1].map(|index| source(buffers, self.operands.get(index)));
        let [first, second] = sources;
        match &self.kernel {
            Kernel::DenseWeight { own, sum } => with_gradient(learned, *sum, |gradient| {
                own.weight_gradient(team, scratch, first, second, (gradient, sum.add));
            }),
            Kernel::ChannelwiseWeight { own, sum } => with_gradient(learned, *sum, |gradient| {
                own.weight_gradient(team, first, second, gradient, sum.add);
            }),
            Kernel::Bias(sum) => with_gradient(learned, *sum, |gradient| {
                channel_sums(team, first, gradient, sum.add);
            }),
            Kernel::ScaleFactor(sum) => {
                let channels = self.operands.first().map_or(0, |place| place.channels);
                let product = dot(sources, channels) as f32;
                with_gradient(learned, *sum, |gradient| {
                    if let Some(slot) = gradient.first_mut() {
                        *slot = product + if sum.add { *slot } else { 0.0 };
                    }
                });
            }
            Kernel::NormSums { norm, weight, sums } => {
                let Some(norm) = norms.get_mut(*norm) else { return };
                let mut gradients = sums.map(|sum| sum.map(|sum| taken(learned, sum)));
                let weights = learned.get(*weight).map(|own| own.value.floats()).unwrap_or_default();
                let targets = gradients.each_mut().map(|own| own.as_mut().map(Aligned::floats_mut));
                norm.sums(team, sources, weights, targets, sums.map(|sum| sum.is_some_and(|sum| sum.add)));
                for (sum, gradient) in sums.iter().zip(gradients) {
                    if let (Some(sum), Some(gradient)) = (sum, gradient) {
                        give_back(learned, *sum, gradient);
                    }
                }
            }
            _ => {}
        }
    }
}

fn source<'a>(buffers: &'a [Aligned], place: Option<&Place>) -> Source<'a> {
    match place {
        Some(place) => {
            let floats = buffers.get(place.buffer).map(Aligned::floats).unwrap_or_default();
            (floats, place.grid, place.channel)
        }
        None => (&[], Place::packed(0, &[]).grid, 0),
    }
}

fn taken(learned: &mut [Learned], sum: Sum) -> Aligned {
    learned.get_mut(sum.parameter).map(|own| std::mem::take(&mut own.gradient)).unwrap_or_default()
}

fn give_back(learned: &mut [Learned], sum: Sum, gradient: Aligned) {
    if let Some(own) = learned.get_mut(sum.parameter) {
        own.gradient = gradient;
    }
}

fn with_gradient(learned: &mut [Learned], sum: Sum, change: impl FnOnce(&mut [f32])) {
    if let Some(own) = learned.get_mut(sum.parameter) {
        change(own.gradient.floats_mut());
    }
}

fn zero(result: &mut [f32], place: &Place) {
    let grid = place.grid;
    for image in 0..grid.images {
        for y in 0..grid.height {
            let start = grid.at(image, y, 0);
            let row = result.get_mut(start..start + grid.width * grid.record).unwrap_or_default();
            for record in row.chunks_mut(grid.record.max(1)) {
                let own = record.get_mut(place.channel..place.channel + place.channels);
                own.unwrap_or_default().fill(0.0);
            }
        }
    }
}

/// Moves running statistics towards those of the batch, whose variance is taken as that of a sample.
fn move_statistics(
    norm: &Normalisation,
    learned: &mut [Learned],
    [mean, variance]: [usize; 2],
    momentum: f64,
    count: usize,
) {
    let sample = count as f64 / count.saturating_sub(1).max(1) as f64;
    let blend = |old: &mut f32, new: f64| *old = (f64::from(*old) * (1.0 - momentum) + new * momentum) as f32;
    if let Some(own) = learned.get_mut(mean) {
        own.value.floats_mut().iter_mut().zip(norm.moments()).for_each(|(old, (mean, _))| blend(old, mean));
    }
    if let Some(own) = learned.get_mut(variance) {
        let values = own.value.floats_mut().iter_mut().zip(norm.moments());
        values.for_each(|(old, (_, variance))| blend(old, variance * sample));
    }
}
