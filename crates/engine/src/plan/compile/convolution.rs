//! Convolutions, with the addition and the function that they take along.

use std::sync::Arc;

use super::Compiler;
use crate::RuntimeError;
use crate::kernels::channels_last::Grid;
use crate::kernels::channels_last::deformed::Samples;
use crate::kernels::channels_last::dense::{Dense, Layout};
use crate::kernels::channels_last::depthwise::Depthwise;
use crate::kernels::channels_last::instructions::Instructions;
use crate::kernels::channels_last::winograd::{self, Tiling, Winograd};
use crate::plan::place::{Form, Place};
use crate::plan::step::{Kernel, Part};
use network::graph::{Activation, Conv, DeformConv, GraphError, Node, Op, Value};

/// A convolution whose result may still take an addition or a function along.
#[derive(Debug, Clone, Copy)]
pub(super) struct Waiting {
    convolution: Value,
    residual: Option<Value>,
    activation: Option<Activation>,
}

impl Waiting {
    pub(super) fn new(convolution: Value) -> Waiting {
        Waiting { convolution, residual: None, activation: None }
    }

    pub(super) fn activated(self, activation: Activation) -> Waiting {
        Waiting { activation: Some(activation), ..self }
    }
}

/// What is done with the sums of a convolution.
#[derive(Debug, Clone, Copy)]
struct Fused {
    residual: Option<Part>,
    activation: Option<Activation>,
}

impl Compiler<'_, '_> {
    /// Keeps a convolution back while its only user may go into it.
    pub(super) fn wait_or_write(&mut self, value: Value, waiting: Waiting) -> Result<(), RuntimeError> {
        match (self.only_user(value), waiting.residual) {
            (Some(Op::Activation(_)), _) | (Some(Op::Add), None) => {
                self.waiting.insert(value, waiting);
                Ok(())
            }
            _ => self.write(value, waiting),
        }
    }

    /// Adds one of two values in the convolution that computes the other, if that was kept back; false if none was.
    pub(super) fn add_in_convolution(
        &mut self,
        value: Value,
        left: Value,
        right: Value,
    ) -> Result<bool, RuntimeError> {
        for (convolution, residual) in [(left, right), (right, left)] {
            let is_free = |waiting: &&Waiting| waiting.residual.is_none();
            let found = self.waiting.get(&convolution).filter(is_free).copied();
            let is_dense = found.is_some_and(|waiting| self.is_dense_convolution(waiting.convolution));
            if let (Some(waiting), true, true) = (found, is_dense, convolution != residual) {
                self.waiting.remove(&convolution);
                self.ordered(residual)?;
                self.wait_or_write(value, Waiting { residual: Some(residual), ..waiting })?;
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn is_dense_convolution(&self, value: Value) -> bool {
        let Some(node) = self.graph.node(value) else { return false };
        let channels = node.inputs.first().and_then(|x| self.shape(*x).get(1).copied());
        match &node.op {
            Op::Conv(conv) => !is_depthwise(conv, channels.unwrap_or(0)),
            _ => matches!(node.op, Op::DeformConv(_)),
        }
    }

    /// Writes a convolution with what it takes along.
    pub(super) fn write(&mut self, value: Value, waiting: Waiting) -> Result<(), RuntimeError> {
        let Waiting { convolution, residual, activation } = waiting;
        let graph = self.graph;
        let node = graph.node(convolution).ok_or_else(|| self.out_of_order(convolution))?;
        // First, as it may move the value that is also the convolution's input.
        let residual_part = residual.map(|residual| self.ordered(residual)).transpose()?;
        let x = node.inputs.first().copied().ok_or_else(|| self.out_of_order(convolution))?;
        let from = self.map(x)?;
        let reads: Vec<usize> =
            [Some(from.buffer), residual_part.map(|part| part.buffer)].into_iter().flatten().collect();
        let fused = Fused { residual: residual_part, activation };
        let place = match &node.op {
            Op::DeformConv(conv) => self.deformed(value, node, conv, fused)?,
            Op::Conv(conv) if is_depthwise(conv, from.positions.len()) => {
                let target = self.target(value, &reads)?;
                let [kernel, bias] = self.kernel_and_bias(node, conv)?;
                self.write_depthwise(value, (conv, &kernel, &bias), &from, target, activation)
            }
            Op::Conv(conv) => {
                let target = self.target(value, &reads)?;
                self.dense(value, node, conv, &from, &target, fused)?;
                target
            }
            _ => return Err(self.out_of_order(convolution)),
        };
        self.places.insert(value, place);
        node.inputs.iter().chain(&residual).for_each(|value| self.used(*value));
        Ok(())
    }

    fn kernel_and_bias(&mut self, node: &Node, conv: &Conv) -> Result<[Vec<f32>; 2], GraphError> {
        let [kernel, mut bias] = self.numbers(node)?;
        bias.resize(conv.out, 0.0);
        Ok([kernel, bias])
    }

    /// A step for each group of channels, or one by Winograd.
    fn dense(
        &mut self,
        value: Value,
        node: &Node,
        conv: &Conv,
        from: &Place,
        target: &Place,
        fused: Fused,
    ) -> Result<(), RuntimeError> {
        let first = target.positions.first().copied().unwrap_or(0);
        let to = Part { buffer: target.buffer, grid: target.grid, channel: first };
        let source = Part { buffer: from.buffer, grid: from.grid, channel: 0 };
        let channels = from.positions.len();
        if let (true, Some(channel)) = (winograd::pays(conv, channels), from.first_in_order()) {
            let [kernel, bias] = self.kernel_and_bias(node, conv)?;
            let tiling = Tiling::of([target.grid.height, target.grid.width], kernel.len());
            let pack = || Winograd::new(tiling, &kernel, &bias, channels, self.instructions);
            let winograd = self.packed.winograd(node, tiling, pack);
            let (from, Fused { residual, activation }) = (Part { channel, ..source }, fused);
            self.push(value, Kernel::Winograd { winograd, from, residual, activation }, to);
            return Ok(());
        }
        let groups = self.groups(node, conv, from)?;
        self.push_groups(value, &groups, conv, (source, to), fused);
        Ok(())
    }

    fn push_groups(
        &mut self,
        value: Value,
        groups: &[Arc<Dense>],
        conv: &Conv,
        (from, to): (Part, Part),
        Fused { residual, activation }: Fused,
    ) {
        let out = conv.out / conv.groups.max(1);
        for (group, dense) in groups.iter().enumerate() {
            let part = |part: Part| Part { channel: part.channel + group * out, ..part };
            let (dense, residual) = (Arc::clone(dense), residual.map(part));
            self.push(value, Kernel::Dense { dense, from, residual, activation }, part(to));
        }
    }

    /// Packed weights for each group of channels.
    fn groups(&mut self, node: &Node, conv: &Conv, from: &Place) -> Result<Vec<Arc<Dense>>, GraphError> {
        let [kernel, bias] = self.kernel_and_bias(node, conv)?;
        let (out, channels) = (conv.out / conv.groups, from.positions.len() / conv.groups);
        let floats = kernel.len() / conv.groups;
        let own = Conv { out, groups: 1, ..*conv };
        let padding = conv.padding.into_iter().max().unwrap_or(0);
        let is_bordered = padding > 0 && from.grid.border >= padding;
        let instructions = self.instructions;
        let group = |group: usize| {
            let part = |all: &'_ [f32], each: usize| {
                all.iter().skip(group * each).take(each).copied().collect::<Vec<_>>()
            };
            let positions = from.positions.iter().skip(group * channels).take(channels).copied().collect();
            let layout = Layout { positions, record: from.grid.record, is_bordered };
            self.packed.dense(node, group, layout, |layout| {
                Dense::new(own, &part(&kernel, floats), &part(&bias, out), layout, instructions)
            })
        };
        Ok((0..conv.groups).map(group).collect())
    }

    /// A deformable convolution: what the taps read is laid out, and multiplied as by a pointwise convolution. Image by
    /// image, as all of it is several times as large as the input.
    fn deformed(
        &mut self,
        value: Value,
        node: &Node,
        conv: &DeformConv,
        fused: Fused,
    ) -> Result<Place, RuntimeError> {
        let mut parts = Vec::with_capacity(node.inputs.len());
        for input in &node.inputs {
            parts.push(self.ordered(*input)?);
        }
        let [x, offsets, masks] = [0, 1, 2].map(|at| parts.get(at).copied());
        let (Some(x), Some(offsets)) = (x, offsets) else { return Err(self.out_of_order(value)) };
        let reads: Vec<usize> = parts.iter().chain(&fused.residual).map(|part| part.buffer).collect();
        let target = self.target(value, &reads)?;
        let channels = node.inputs.first().and_then(|x| self.shape(*x).get(1).copied()).unwrap_or(0);
        let (taps, Grid { height, width, .. }) = (conv.taps(), target.grid);
        let grid = Grid::packed(1, [height, width], taps * channels);
        let columns = Part { buffer: self.temporary(grid.end()), grid, channel: 0 };
        let pointwise =
            Conv { kernel: [1; 2], stride: [1; 2], padding: [0; 2], dilation: [1; 2], ..conv.conv };
        let positions = (0..channels).flat_map(|channel| (0..taps).map(move |tap| tap * channels + channel));
        let place = Place { buffer: columns.buffer, form: Form::Map, grid, positions: positions.collect() };
        let groups = self.groups(node, &pointwise, &place)?;
        let first = target.positions.first().copied().unwrap_or(0);
        let to = Part { buffer: target.buffer, grid: target.grid, channel: first };
        for image in 0..target.grid.images {
            let of_image = |part: Part| Part { grid: part.grid.image(image), ..part };
            let samples = Samples::new(*conv, channels);
            let [x, offsets] = [x, offsets].map(of_image);
            let masks = masks.map(of_image);
            self.push(value, Kernel::Sample { samples, x, offsets, masks }, columns);
            let fused = Fused { residual: fused.residual.map(of_image), ..fused };
            self.push_groups(value, &groups, &pointwise, (columns, of_image(to)), fused);
        }
        Ok(target)
    }

    /// A depthwise convolution; its result's channels lie in the order of the input's.
    pub(super) fn write_depthwise(
        &mut self,
        value: Value,
        (conv, kernel, bias): (&Conv, &[f32], &[f32]),
        from: &Place,
        mut target: Place,
        activation: Option<Activation>,
    ) -> Place {
        let first = target.positions.first().copied().unwrap_or(0);
        let to = Part { buffer: target.buffer, grid: target.grid, channel: first };
        let (kernel, ranks) = depthwise(conv, kernel, bias, from, activation, self.instructions);
        self.push(value, kernel, to);
        target.positions = ranks.iter().map(|rank| first + rank).collect();
        target
    }
}

fn is_depthwise(conv: &Conv, channels: usize) -> bool {
    conv.groups > 1 && conv.groups == channels && conv.out == channels
}

/// Whether there is a kernel for a convolution: a depthwise one with several results for a channel has none.
pub(super) fn has_kernel(conv: &Conv, input: Option<&Node>) -> bool {
    let channels = input.and_then(|input| input.shape.get(1).copied()).unwrap_or(0);
    is_depthwise(conv, channels) || conv.groups < channels || conv.groups == 1
}

fn depthwise(
    conv: &Conv,
    kernel: &[f32],
    bias: &[f32],
    from: &Place,
    activation: Option<Activation>,
    instructions: Instructions,
) -> (Kernel, Vec<usize>) {
    let (runs, ranks) = from.sorted();
    let mut order = vec![0; ranks.len()];
    for (channel, rank) in ranks.iter().enumerate() {
        if let Some(slot) = order.get_mut(*rank) {
            *slot = channel;
        }
    }
    let depthwise = Box::new(Depthwise::new(*conv, kernel, bias, &order, instructions));
    let from = Part { buffer: from.buffer, grid: from.grid, channel: 0 };
    (Kernel::Depthwise { depthwise, from, runs, activation }, ranks)
}
