//! Norms that were not folded, and learnable factors.

use super::backward::Backward;
use super::step::{Reads, Step, Sum, SumTarget, Tools, Write, Writes};
use super::{Lower, reference};
use crate::cpu::grid::Grid;
use crate::cpu::norm::group::{Groups, normalise, row_moments};
use crate::cpu::norm::normalisation::{Normalisation, Together};
use crate::cpu::place::Part;
use crate::store::Store;
use crate::{NormStatistics, RuntimeError};
use network::graph::rewrite::Group;
use network::graph::{Activation, Conv, Node, Op};

/// Kernels of norms.
#[derive(Debug)]
pub(crate) enum Norm {
    /// Moments of the rows of each channel: the first step of a group norm with packed weights.
    RowMoments,
    /// Factors and shifts of channels from the moments of rows of so many pixels.
    Factors { groups: Box<Groups>, width: usize },
    /// The last: of the value and its factors.
    Factored { activation: Option<Activation> },
    /// A norm whose parameters are in the store. Numbers name normalisations of the plan and parameters.
    Stored { norm: usize, parameters: [usize; 2], statistics: Statistics },
    /// Of the input and the gradient of the result, once the sums were made.
    InputGradient { norm: usize },
}

/// Where a norm takes its statistics from.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Statistics {
    /// Mean and variance that are parameters.
    Running([usize; 2]),
    /// The batch, towards which running mean and variance are moved by a share.
    Batch([usize; 2], f64),
    /// Groups of channels of each image.
    Groups,
}

/// Gradients of weight and bias, and the sums that the gradient of the input is made of: of the input and the gradient
/// of the result. Nothing is written for parameters that are not trained.
#[derive(Debug)]
pub(crate) struct NormSums {
    norm: usize,
    weight: usize,
    targets: [Option<SumTarget>; 2],
}

impl Norm {
    /// Its name, for tables.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Norm::RowMoments | Norm::Factors { .. } | Norm::Factored { .. } => "group norm",
            Norm::Stored { .. } => "norm",
            Norm::InputGradient { .. } => "norm, gradient of the input",
        }
    }

    /// Whether it can add to what is there.
    pub(crate) fn adds(&self) -> bool {
        matches!(self, Norm::InputGradient { .. })
    }

    pub(crate) fn run(
        &self,
        tools: &mut Tools<'_>,
        reads: Reads<'_>,
        to: Writes<'_>,
    ) -> Result<(), RuntimeError> {
        let (team, first) = (tools.team, reads.source(0)?);
        let (channels, add) = (to.channels, to.add);
        let (result, grid, channel) = to.target();
        match self {
            Norm::RowMoments => row_moments(team, first, reads.part(0)?.channels, (result, grid)),
            Norm::Factors { groups, width } => {
                groups.factors(team, (first.0, first.1), *width, (result, grid));
            }
            Norm::Factored { activation } => {
                let (factors, from, _) = reads.source(1)?;
                normalise(team, first, (factors, from), channels, (result, grid, channel), *activation);
            }
            Norm::Stored { norm, parameters, statistics } => {
                let norm = numbered(tools.norms, *norm)?;
                let store = &mut *tools.store;
                let values = |[one, other]: [usize; 2]| store.values(one, Some(other));
                let given = match statistics {
                    Statistics::Running(parameters) => Some(values(*parameters)?),
                    Statistics::Batch(..) | Statistics::Groups => None,
                };
                norm.forward(team, first, values(*parameters)?, given, (result, grid, channel));
                if let Statistics::Batch(running, momentum) = statistics {
                    move_statistics(norm, store, *running, *momentum, grid.images * grid.pixels())?;
                }
            }
            Norm::InputGradient { norm } => {
                let norm = numbered(tools.norms, *norm)?;
                norm.input_gradient(team, reads.two()?, (result, grid, channel), add);
            }
        }
        Ok(())
    }

    /// Gives the gradient of the result on to what was read.
    pub(super) fn backward(
        &self,
        backward: &mut Backward<'_, '_>,
        step: &Step,
        gradient: Part,
    ) -> Result<(), RuntimeError> {
        let (Norm::Stored { norm, parameters, .. }, [x]) = (self, step.reads.as_slice()) else {
            return Err(backward.without_gradient(step));
        };
        let targets = parameters.map(|parameter| backward.sum(parameter));
        let sums = NormSums { norm: *norm, weight: parameters[0], targets };
        backward.push_sum(step.value, Sum::Norm(sums), vec![*x, gradient]);
        let write = Write::Norm(Norm::InputGradient { norm: *norm });
        backward.contribute(step.value, *x, write, vec![*x, gradient])
    }
}

impl NormSums {
    pub(crate) fn run(&self, tools: &mut Tools<'_>, reads: Reads<'_>) -> Result<(), RuntimeError> {
        let norm = numbered(tools.norms, self.norm)?;
        let (weights, gradients) = tools
            .store
            .value_and_gradients(self.weight, self.targets.map(|sum| sum.map(|sum| sum.parameter)))?;
        let adds = self.targets.map(|sum| sum.is_some_and(|sum| sum.add));
        norm.sums(tools.team, reads.two()?, weights, gradients, adds);
        Ok(())
    }
}

fn numbered(norms: &mut [Normalisation], number: usize) -> Result<&mut Normalisation, RuntimeError> {
    norms.get_mut(number).ok_or_else(|| RuntimeError::internal("", "a norm is not among those of the plan"))
}

/// Moves running statistics towards those of the batch, whose variance is taken as that of a sample.
fn move_statistics(
    norm: &Normalisation,
    store: &mut Store,
    [mean, variance]: [usize; 2],
    momentum: f64,
    count: usize,
) -> Result<(), RuntimeError> {
    let sample = count as f64 / count.saturating_sub(1).max(1) as f64;
    let blend = |old: &mut f32, new: f64| *old = (f64::from(*old) * (1.0 - momentum) + new * momentum) as f32;
    let means = store.value_mut(mean)?.iter_mut().zip(norm.moments());
    means.for_each(|(old, (mean, _))| blend(old, mean));
    let variances = store.value_mut(variance)?.iter_mut().zip(norm.moments());
    variances.for_each(|(old, (_, variance))| blend(old, variance * sample));
    Ok(())
}

impl Lower<'_> {
    /// A norm of a map, or a learnable factor, with the function after it.
    pub(super) fn norm(&mut self, group: &Group, node: &Node) -> Result<(), RuntimeError> {
        let is_map = node.shape.len() == 4;
        match &node.op {
            Op::Scale if !self.is_packed() => self.stored_scale(group.result, node),
            _ if !is_map => reference::by_reference(self, group.result, node),
            _ if !self.is_packed() => self.stored_norm(group, node),
            Op::Scale => self.factor(group, node),
            Op::BatchNorm { epsilon, .. } => self.batch_norm(group, node, *epsilon),
            Op::GroupNorm { groups, epsilon } => self.group_norm(group, node, (*groups, *epsilon)),
            _ => Err(self.internal(group.root, "is no norm")),
        }
    }

    /// A batch norm with its running statistics.
    fn batch_norm(&mut self, group: &Group, node: &Node, epsilon: f64) -> Result<(), RuntimeError> {
        let [weight, bias, mean, variance] = self.numbers(node)?;
        let scale =
            |(weight, variance): (&f32, &f32)| f64::from(*weight) / (f64::from(*variance) + epsilon).sqrt();
        let factors: Vec<f64> = weight.iter().zip(&variance).map(scale).collect();
        let shift =
            |((bias, mean), factor): ((&f32, &f32), &f64)| f64::from(*bias) - f64::from(*mean) * factor;
        let shifts: Vec<f32> =
            bias.iter().zip(&mean).zip(&factors).map(shift).map(|shift| shift as f32).collect();
        let factors: Vec<f32> = factors.into_iter().map(|factor| factor as f32).collect();
        self.affine(group, node, [&factors, &shifts])
    }

    fn factor(&mut self, group: &Group, node: &Node) -> Result<(), RuntimeError> {
        let [factor] = self.numbers(node)?;
        let channels = node.shape.get(1).copied().unwrap_or(0);
        let [factor] = *factor.as_slice() else {
            return Err(self.internal(group.root, "a factor is not one number"));
        };
        self.affine(group, node, [&vec![factor; channels], &vec![0.0; channels]])
    }

    /// A factor and a shift for every channel: a depthwise convolution with a kernel of one tap.
    fn affine(
        &mut self,
        group: &Group,
        node: &Node,
        [factors, shifts]: [&[f32]; 2],
    ) -> Result<(), RuntimeError> {
        let conv = Conv::depthwise(factors.len(), 1).biased();
        let from = self.map(self.one(node)?)?;
        self.packed_depthwise(group, (&conv, factors, shifts), &from)
    }

    fn group_norm(
        &mut self,
        group: &Group,
        node: &Node,
        (groups, epsilon): (usize, f64),
    ) -> Result<(), RuntimeError> {
        let [weight, bias] = self.numbers(node)?;
        let from = self.ordered(self.one(node)?)?;
        let Grid { images, height, width, .. } = from.grid;
        let mut scratch = |height| {
            let grid = Grid::packed(images, [height, 1], 2 * from.channels);
            Part::whole(self.buffer(grid.end()), grid)
        };
        let (moments, factors) = (scratch(height), scratch(1));
        let groups = Box::new(Groups { groups, epsilon, weight, bias });
        let value = group.result;
        let to = self.target(value, &[from.buffer])?;
        self.push(value, Write::Norm(Norm::RowMoments), vec![from], moments);
        self.push(value, Write::Norm(Norm::Factors { groups, width }), vec![moments], factors);
        let last = Norm::Factored { activation: group.activation };
        self.push(value, Write::Norm(last), vec![from, factors], to.span());
        self.settle(value, to);
        Ok(())
    }

    fn stored_norm(&mut self, group: &Group, node: &Node) -> Result<(), RuntimeError> {
        let parameters = [self.parameter(node, 0)?, self.parameter(node, 1)?];
        let (together, epsilon, statistics) = match &node.op {
            Op::GroupNorm { groups, epsilon } => (Together::Groups(*groups), *epsilon, Statistics::Groups),
            Op::BatchNorm { epsilon, momentum } => {
                let running = [self.parameter(node, 2)?, self.parameter(node, 3)?];
                match self.statistics(node) {
                    NormStatistics::Running => (Together::Given, *epsilon, Statistics::Running(running)),
                    NormStatistics::Batch => {
                        (Together::Batch, *epsilon, Statistics::Batch(running, *momentum))
                    }
                }
            }
            _ => return Err(self.internal(group.root, "is no norm")),
        };
        let from = self.ordered(self.one(node)?)?;
        let Grid { images, height, width, .. } = from.grid;
        let shape = [images, from.channels, height, width];
        let norm = self.add_norm(Normalisation::new(together, epsilon, group.activation, shape));
        let to = self.target(group.result, &[from.buffer])?;
        let write = Write::Norm(Norm::Stored { norm, parameters, statistics });
        self.push(group.result, write, vec![from], to.span());
        self.settle(group.result, to);
        Ok(())
    }
}
