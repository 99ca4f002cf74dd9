//! What a plan does, one kernel after another.

use std::collections::HashMap;
use std::sync::Arc;

use super::place::Place;
use crate::RuntimeError;
use crate::kernels::channels_last::aligned::Aligned;
use crate::kernels::channels_last::axis::{Along, Axis};
use crate::kernels::channels_last::deformed::Samples;
use crate::kernels::channels_last::dense::{Dense, Epilogue};
use crate::kernels::channels_last::depthwise::Depthwise;
use crate::kernels::channels_last::elementwise::{
    Operand, combine, copy, from_planes, interleave, unpack, weigh,
};
use crate::kernels::channels_last::norm::{Groups, normalise, row_moments};
use crate::kernels::channels_last::order::Order;
use crate::kernels::channels_last::product::product;
use crate::kernels::channels_last::resample::{Channels, max_pool, resample};
use crate::kernels::channels_last::team::Team;
use crate::kernels::channels_last::winograd::Winograd;
use crate::kernels::channels_last::workspaces::Workspaces;
use crate::kernels::channels_last::{Grid, Run};
use crate::reference::node;
use crate::resample::Resample;
use network::graph::{Activation, Array, Graph, Pool, Value};

/// Some channels of a value: buffer, pixels, position of the first channel.
#[derive(Debug, Clone, Copy)]
pub(super) struct Part {
    pub(super) buffer: usize,
    pub(super) grid: Grid,
    pub(super) channel: usize,
}

/// A kernel with its operands.
#[derive(Debug)]
pub(super) struct Step {
    /// What it computes, alone or with other steps.
    pub(super) value: Value,
    pub(super) kernel: Kernel,
    pub(super) to: Part,
}

/// A kernel with what it reads.
#[derive(Debug)]
pub(super) enum Kernel {
    Dense {
        dense: Arc<Dense>,
        from: Part,
        residual: Option<Part>,
        activation: Option<Activation>,
    },
    Winograd {
        winograd: Arc<Winograd>,
        from: Part,
        residual: Option<Part>,
        activation: Option<Activation>,
    },
    Depthwise {
        depthwise: Box<Depthwise>,
        from: Part,
        runs: Vec<Run>,
        activation: Option<Activation>,
    },
    Copy {
        from: Part,
        runs: Vec<Run>,
        activation: Option<Activation>,
    },
    /// Two runs of channels in turn.
    Interleave {
        from: Part,
        runs: [Run; 2],
    },
    Add {
        left: Part,
        right: Part,
        channels: usize,
        activation: Option<Activation>,
    },
    Multiply {
        left: Part,
        right: Part,
        channels: usize,
        /// Whether the right side has one channel, a factor for all on the left.
        is_shared: bool,
    },
    /// The first two steps of a group norm, of so many channels, and the last.
    RowMoments {
        from: Part,
        channels: usize,
    },
    Factors {
        moments: Part,
        groups: Box<Groups>,
        width: usize,
    },
    Normalise {
        from: Part,
        factors: Part,
        channels: usize,
        activation: Option<Activation>,
    },
    MaxPool {
        pool: Pool,
        from: Part,
        runs: Vec<Run>,
    },
    Resample {
        resample: Resample,
        from: Part,
        runs: Vec<Run>,
    },
    /// What a deformable convolution reads in an image.
    Sample {
        samples: Samples,
        x: Part,
        offsets: Part,
        masks: Option<Part>,
    },
    /// Pixels from a row-major buffer.
    Pack {
        from: usize,
        positions: Vec<usize>,
    },
    /// Pixels laid out row-major.
    Unpack {
        from: Part,
        positions: Vec<usize>,
    },
    /// Sums or orders along an axis of a row-major buffer.
    Along {
        along: Along,
        from: usize,
        axis: Axis,
    },
    /// Axes of a row-major buffer in another order.
    Transpose {
        from: usize,
        order: Order,
    },
    /// Matrix products of row-major buffers.
    Product {
        left: usize,
        right: usize,
        inner: usize,
    },
    /// Everything that has no kernel here yet, by the reference executor.
    Reference {
        value: Value,
        inputs: Vec<Place>,
    },
}

impl Kernel {
    /// Where a function of its result may be applied at once, if the kernel computes all of the result.
    pub(super) fn activation(&mut self) -> Option<&mut Option<Activation>> {
        match self {
            Kernel::Depthwise { activation, .. }
            | Kernel::Add { activation, .. }
            | Kernel::Normalise { activation, .. } => Some(activation),
            _ => None,
        }
    }

    /// Floats that each thread needs to work in.
    pub(super) fn workspace(&self) -> usize {
        match self {
            Kernel::Winograd { winograd, .. } => winograd.workspace(),
            _ => 0,
        }
    }

    /// Its name, for tables.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Kernel::Dense { .. } => "convolution",
            Kernel::Winograd { .. } => "convolution by Winograd",
            Kernel::Depthwise { .. } => "depthwise convolution",
            Kernel::Copy { .. } | Kernel::Interleave { .. } => "copy",
            Kernel::Sample { .. } => "deformed samples",
            Kernel::Pack { .. } | Kernel::Unpack { .. } | Kernel::Transpose { .. } => "transpose",
            Kernel::Along { along: Along::Softmax, .. } => "softmax",
            Kernel::Along { along: Along::TopK(_), .. } => "top k",
            Kernel::Along { along: Along::Mean, .. } => "mean",
            Kernel::Product { .. } => "matrix product",
            Kernel::Add { .. } => "add",
            Kernel::Multiply { .. } => "multiply",
            Kernel::RowMoments { .. } | Kernel::Factors { .. } | Kernel::Normalise { .. } => "group norm",
            Kernel::MaxPool { .. } => "max pool",
            Kernel::Resample { .. } => "resample",
            Kernel::Reference { .. } => "reference executor",
        }
    }
}

/// The graph with the parameters of those nodes that the reference executor runs.
#[derive(Debug)]
pub(super) struct Reference {
    pub(super) graph: Graph,
    pub(super) parameters: HashMap<Value, Vec<Array>>,
}

/// What steps are run with.
#[derive(Clone, Copy)]
pub(super) struct Tools<'a> {
    pub(super) team: &'a Team,
    pub(super) workspaces: &'a Workspaces,
    pub(super) reference: &'a Reference,
}

/// The floats from each run to the next in a packed result.
fn packed(runs: &[Run]) -> impl Iterator<Item = (Run, usize)> + '_ {
    runs.iter().scan(0, |offset, run| {
        let own = *offset;
        *offset += run.length;
        Some((*run, own))
    })
}

impl Step {
    pub(super) fn run(&self, tools: Tools<'_>, buffers: &mut [Aligned]) -> Result<(), RuntimeError> {
        // A step never reads the buffer that it writes.
        let Some(slot) = buffers.get_mut(self.to.buffer) else { return Ok(()) };
        let mut result = std::mem::take(slot);
        let done = self.write(tools, buffers, result.floats_mut());
        if let Some(slot) = buffers.get_mut(self.to.buffer) {
            *slot = result;
        }
        done
    }

    fn write(
        &self,
        Tools { team, workspaces, reference }: Tools<'_>,
        buffers: &[Aligned],
        result: &mut [f32],
    ) -> Result<(), RuntimeError> {
        let plain = |buffer: usize| buffers.get(buffer).map(Aligned::floats).unwrap_or_default();
        let data = |part: &Part| plain(part.buffer);
        let source = |part: &Part| (data(part), part.grid, part.channel);
        let Part { grid, channel, .. } = self.to;
        match &self.kernel {
            Kernel::Winograd { winograd, from, residual, activation } => {
                let (residual, activation) = (residual.as_ref().map(source), *activation);
                let epilogue = Epilogue { residual, activation, add: false };
                winograd.run(team, workspaces, source(from), (result, grid, channel), epilogue);
            }
            Kernel::Dense { dense, from, residual, activation } => {
                let (residual, activation) = (residual.as_ref().map(source), *activation);
                let epilogue = Epilogue { residual, activation, add: false };
                dense.run(team, data(from), from.grid, result, (grid, channel), epilogue);
            }
            Kernel::Depthwise { depthwise, from, runs, activation } => {
                for (run, offset) in packed(runs) {
                    let source = (data(from), from.grid, run.start);
                    let target = (&mut *result, grid, channel + offset);
                    depthwise.run(team, source, target, (offset, run.length), *activation);
                }
            }
            Kernel::Copy { from, runs, activation } => {
                copy(team, data(from), (from.grid, runs), result, (grid, channel), *activation);
            }
            Kernel::Interleave { from, runs } => {
                interleave(team, data(from), (from.grid, *runs), result, (grid, channel));
            }
            Kernel::Add { left, right, channels, activation } => {
                let [left, right] = [left, right].map(|part| operand(part, data(part)));
                combine(team, left, right, result, (grid, channel, *channels), |a, b| a + b, *activation);
            }
            Kernel::Multiply { left, right, channels, is_shared: true } => {
                let [left, right] = [left, right].map(|part| operand(part, data(part)));
                weigh(team, left, right, result, (grid, channel, *channels));
            }
            Kernel::Multiply { left, right, channels, is_shared: false } => {
                let [left, right] = [left, right].map(|part| operand(part, data(part)));
                combine(team, left, right, result, (grid, channel, *channels), |a, b| a * b, None);
            }
            Kernel::RowMoments { from, channels } => {
                row_moments(team, (data(from), from.grid, from.channel), *channels, (result, grid));
            }
            Kernel::Factors { moments, groups, width } => {
                groups.factors(team, (data(moments), moments.grid), *width, (result, grid));
            }
            Kernel::Normalise { from, factors, channels, activation } => {
                let (source, factors) =
                    ((data(from), from.grid, from.channel), (data(factors), factors.grid));
                normalise(team, source, factors, *channels, (result, grid, channel), *activation);
            }
            Kernel::MaxPool { pool, from, runs } => {
                for (run, offset) in packed(runs) {
                    let channels = Channels { from: run.start, to: channel + offset, count: run.length };
                    max_pool(team, pool, (data(from), from.grid), (result, grid), channels);
                }
            }
            Kernel::Resample { resample: weights, from, runs } => {
                for (run, offset) in packed(runs) {
                    let channels = Channels { from: run.start, to: channel + offset, count: run.length };
                    resample(team, weights, (data(from), from.grid), (result, grid), channels);
                }
            }
            Kernel::Sample { samples, x, offsets, masks } => {
                let masks = masks.as_ref().map(source);
                samples.run(team, source(x), source(offsets), masks, (result, grid));
            }
            Kernel::Pack { from, positions } => from_planes(team, plain(*from), result, grid, positions),
            Kernel::Unpack { from, positions } => {
                unpack(team, data(from), from.grid, positions.iter().copied(), (result, grid));
            }
            Kernel::Along { along, from, axis } => along.run(team, plain(*from), *axis, (result, grid)),
            Kernel::Transpose { from, order } => order.run(team, plain(*from), (result, grid)),
            Kernel::Product { left, right, inner } => {
                product(team, plain(*left), plain(*right), *inner, (result, grid));
            }
            Kernel::Reference { value, inputs } => {
                let numbers = reference.run(*value, inputs, buffers)?;
                result.iter_mut().zip(&numbers).for_each(|(slot, number)| *slot = *number);
            }
        }
        Ok(())
    }
}

fn operand<'a>(part: &Part, data: &'a [f32]) -> Operand<'a> {
    Operand { data, grid: part.grid, channel: part.channel }
}

impl Reference {
    /// The numbers of a node's result, row-major.
    fn run(&self, value: Value, inputs: &[Place], buffers: &[Aligned]) -> Result<Vec<f32>, RuntimeError> {
        let (Some(node), Some(parameters)) = (self.graph.node(value), self.parameters.get(&value)) else {
            return Err(RuntimeError::internal("", "a step for a node that is not in the graph"));
        };
        let fault = || RuntimeError::internal(self.graph.path(node), "an operand that is nowhere");
        let arrays = inputs.iter().zip(&node.inputs).map(|(place, input)| {
            let shape = self.graph.node(*input).map(|node| node.shape.clone()).ok_or_else(fault)?;
            let mut data = vec![0.0; place.elements()];
            place.read(buffers.get(place.buffer).ok_or_else(fault)?.floats(), &mut data);
            Ok(Array { shape, data })
        });
        let arrays = arrays.collect::<Result<Vec<_>, RuntimeError>>()?;
        Ok(node::forward(&self.graph, node, &arrays, parameters)?.data)
    }
}
