//! Convolutions: with weights that are packed for good, and the addition and the function that they take along, or
//! with weights that stay in the store.

mod packed;
mod stored;

use std::sync::Arc;

use super::backward::Backward;
use super::step::{Reads, Step, Sum, SumTarget, Tools, Write, Writes};
use super::{Lower, reference};
use crate::RuntimeError;
use crate::cpu::convolution::chosen::Dense as StoredDense;
use crate::cpu::convolution::deformable::Samples;
use crate::cpu::convolution::dense::packed::Dense;
use crate::cpu::convolution::depthwise::packed::Depthwise;
use crate::cpu::convolution::depthwise::stored::Channelwise;
use crate::cpu::convolution::epilogue::Epilogue;
use crate::cpu::convolution::taps;
use crate::cpu::convolution::winograd::packed::Winograd;
use crate::cpu::elements::sums::channel_sums;
use crate::cpu::grid::{Run, in_turn};
use crate::cpu::place::Part;
use network::graph::rewrite::Group;
use network::graph::{Activation, Conv, Node, Op, Value};

pub(super) use self::packed::takes;

/// Kernels of convolutions.
#[derive(Debug)]
pub(crate) enum Convolution {
    /// Packed. Operands: the input, and what is added.
    Dense { weights: Arc<Dense>, activation: Option<Activation> },
    /// The same by Winograd.
    Winograd { weights: Arc<Winograd>, activation: Option<Activation> },
    /// Packed, of channels that lie in some runs.
    Depthwise { weights: Box<Depthwise>, runs: Vec<Run>, activation: Option<Activation> },
    /// What a deformable convolution reads in an image: of the input, offsets and masks.
    Sample { samples: Samples },
    /// Parameters of the store.
    Stored { convolution: Arc<StoredDense>, weight: usize, bias: Option<usize> },
    /// Operand: the gradient of the result.
    StoredInput { backward: Arc<StoredDense>, forward: Arc<StoredDense>, weight: usize },
    /// Forward, or with the gradient of the result for an operand.
    StoredDepthwise { convolution: Arc<Channelwise>, weight: usize, bias: Option<usize>, conv: Conv },
}

/// Gradients of weights. Operands: the input and the gradient of the result, or that alone for a bias.
#[derive(Debug)]
pub(crate) enum ConvolutionSum {
    Stored(Arc<StoredDense>, SumTarget),
    StoredDepthwise(Arc<Channelwise>, SumTarget),
    Bias(SumTarget),
}

impl Convolution {
    /// Its name, for tables.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Convolution::Dense { .. } | Convolution::Stored { .. } => "convolution",
            Convolution::Winograd { .. } => "convolution by Winograd",
            Convolution::Depthwise { .. } | Convolution::StoredDepthwise { .. } => "depthwise convolution",
            Convolution::Sample { .. } => "deformed samples",
            Convolution::StoredInput { .. } => "convolution, gradient of the input",
        }
    }

    pub(crate) fn run(
        &self,
        tools: &mut Tools<'_>,
        reads: Reads<'_>,
        to: Writes<'_>,
    ) -> Result<(), RuntimeError> {
        let (team, first, add) = (tools.team, reads.source(0)?, to.add);
        let (result, grid, channel) = to.target();
        match self {
            Convolution::Dense { weights, activation } => {
                let epilogue = Epilogue { residual: reads.optional(1)?, activation: *activation, add };
                weights.run(team, first.0, first.1, result, (grid, channel), epilogue);
            }
            Convolution::Winograd { weights, activation } => {
                let epilogue = Epilogue { residual: reads.optional(1)?, activation: *activation, add };
                weights.run(team, tools.scratch.workspaces(), first, (result, grid, channel), epilogue);
            }
            Convolution::Depthwise { weights, runs, activation } => {
                for (run, offset) in in_turn(runs) {
                    let target = (&mut *result, grid, channel + offset);
                    weights.run(
                        team,
                        (first.0, first.1, run.start),
                        target,
                        (offset, run.length),
                        *activation,
                    );
                }
            }
            Convolution::Sample { samples } => {
                samples.run(team, first, reads.source(1)?, reads.optional(2)?, (result, grid));
            }
            Convolution::Stored { convolution, weight, bias } => {
                let weights = tools.store.values(*weight, *bias)?;
                convolution.run(team, tools.scratch, weights, first, (result, grid, channel), add);
            }
            Convolution::StoredInput { backward, forward, weight } => {
                let weights = (forward.as_ref(), tools.store.value(*weight)?);
                backward.run_back(team, tools.scratch, weights, first, (result, grid, channel), add);
            }
            Convolution::StoredDepthwise { convolution, weight, bias, .. } => {
                let weights = tools.store.values(*weight, *bias)?;
                convolution.run(team, weights, first, (result, grid, channel), add);
            }
        }
        Ok(())
    }

    /// Gives the gradient of the result on to input and parameters.
    pub(super) fn backward(
        &self,
        backward: &mut Backward<'_, '_>,
        step: &Step,
        gradient: Part,
    ) -> Result<(), RuntimeError> {
        match (self, step.reads.as_slice()) {
            (Convolution::Stored { convolution, weight, bias }, [x]) => {
                bias_backward(backward, step.value, *bias, gradient);
                if let Some(target) = backward.sum(*weight) {
                    let sum = ConvolutionSum::Stored(Arc::clone(convolution), target);
                    backward.push_sum(step.value, Sum::Convolution(sum), vec![*x, gradient]);
                }
                if !backward.wants(*x) {
                    return Ok(());
                }
                let forward = Arc::clone(convolution);
                let input = Arc::new(forward.input_gradient([x.grid.height, x.grid.width]));
                backward.reserve(input.scratch());
                let write = Convolution::StoredInput { backward: input, forward, weight: *weight };
                backward.contribute(step.value, *x, Write::Convolution(write), vec![gradient])
            }
            (Convolution::StoredDepthwise { convolution, weight, bias, conv }, [x]) => {
                bias_backward(backward, step.value, *bias, gradient);
                if let Some(target) = backward.sum(*weight) {
                    let sum = ConvolutionSum::StoredDepthwise(Arc::clone(convolution), target);
                    backward.push_sum(step.value, Sum::Convolution(sum), vec![*x, gradient]);
                }
                let convolution = Arc::new(Channelwise::new(taps::backward(conv), conv.kernel, x.channels));
                let write =
                    Convolution::StoredDepthwise { convolution, weight: *weight, bias: None, conv: *conv };
                backward.contribute(step.value, *x, Write::Convolution(write), vec![gradient])
            }
            _ => Err(backward.without_gradient(step)),
        }
    }
}

fn bias_backward(backward: &mut Backward<'_, '_>, value: Value, bias: Option<usize>, gradient: Part) {
    if let Some(target) = bias.and_then(|bias| backward.sum(bias)) {
        backward.push_sum(value, Sum::Convolution(ConvolutionSum::Bias(target)), vec![gradient]);
    }
}

impl ConvolutionSum {
    /// Its name, for tables.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            ConvolutionSum::Stored(..) => "convolution, gradient of the weights",
            ConvolutionSum::StoredDepthwise(..) => "depthwise convolution, gradient of the weights",
            ConvolutionSum::Bias(_) => "gradient of a bias",
        }
    }

    pub(crate) fn run(&self, tools: &mut Tools<'_>, reads: Reads<'_>) -> Result<(), RuntimeError> {
        let (team, store) = (tools.team, &mut *tools.store);
        match self {
            ConvolutionSum::Stored(convolution, SumTarget { parameter, add }) => {
                let (gradient, [x, result]) = (store.gradient_mut(*parameter)?, reads.two()?);
                convolution.weight_gradient(team, tools.scratch, x, result, (gradient, *add));
            }
            ConvolutionSum::StoredDepthwise(convolution, SumTarget { parameter, add }) => {
                let (gradient, [x, result]) = (store.gradient_mut(*parameter)?, reads.two()?);
                convolution.weight_gradient(team, x, result, gradient, *add);
            }
            ConvolutionSum::Bias(SumTarget { parameter, add }) => {
                channel_sums(team, reads.source(0)?, store.gradient_mut(*parameter)?, *add);
            }
        }
        Ok(())
    }
}

impl Lower<'_> {
    /// A convolution with what it takes along.
    pub(super) fn convolution(&mut self, group: &Group, node: &Node) -> Result<(), RuntimeError> {
        match &node.op {
            Op::Conv(conv) if self.is_packed() && packed::has_kernel(self.graph, node, conv) => {
                self.packed_convolution(group, node, conv)
            }
            Op::DeformConv(conv) if self.is_packed() => self.deformable(group, node, conv),
            Op::Conv(conv) if !self.is_packed() => self.stored_convolution(group.result, node, conv),
            _ => reference::by_reference(self, group.result, node),
        }
    }
}
