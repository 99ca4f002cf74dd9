//! Convolutions with weights that are packed for good.

use std::sync::Arc;

use super::Convolution;
use crate::RuntimeError;
use crate::cpu::convolution::chosen::ScratchSize;
use crate::cpu::convolution::deformable::Samples;
use crate::cpu::convolution::dense::packed::{Dense, Layout};
use crate::cpu::convolution::depthwise::packed::Depthwise;
use crate::cpu::convolution::winograd::packed::Winograd;
use crate::cpu::convolution::winograd::tiling::{Tiling, pays};
use crate::cpu::grid::Grid;
use crate::cpu::place::{Form, Part, Place};
use crate::lower::Lower;
use crate::lower::step::Write;
use network::graph::rewrite::{Group, Takes};
use network::graph::{Conv, DeformConv, Graph, Node, Op};

/// What a convolution with packed weights takes along.
pub(in crate::lower) fn takes(graph: &Graph, node: &Node) -> Takes {
    match &node.op {
        Op::Conv(conv) if has_kernel(graph, node, conv) => {
            let residual = !is_depthwise(conv, channels(graph, node));
            Takes { residual, activation: true, early: true }
        }
        Op::DeformConv(_) => Takes { residual: true, activation: true, early: false },
        _ => Takes::default(),
    }
}

/// Whether there is a kernel for a convolution: a depthwise one with several results for a channel has none.
pub(super) fn has_kernel(graph: &Graph, node: &Node, conv: &Conv) -> bool {
    let channels = channels(graph, node);
    is_depthwise(conv, channels) || conv.groups < channels || conv.groups == 1
}

/// Channels of a node's input.
fn channels(graph: &Graph, node: &Node) -> usize {
    let input = node.inputs.first().and_then(|x| graph.node(*x));
    input.and_then(|input| input.shape.get(1).copied()).unwrap_or(0)
}

fn is_depthwise(conv: &Conv, channels: usize) -> bool {
    conv.groups > 1 && conv.groups == channels && conv.out == channels
}

impl Lower<'_> {
    /// A depthwise convolution, one by Winograd, or one for each group of channels.
    pub(super) fn packed_convolution(
        &mut self,
        group: &Group,
        node: &Node,
        conv: &Conv,
    ) -> Result<(), RuntimeError> {
        // First, as it may move the value that is also the convolution's input.
        let residual = group.residual.map(|residual| self.ordered(residual)).transpose()?;
        let from = self.map(self.one(node)?)?;
        let channels = from.positions.len();
        if is_depthwise(conv, channels) {
            let [kernel, bias] = self.kernel_and_bias(node, conv)?;
            return self.packed_depthwise(group, (conv, &kernel, &bias), &from);
        }
        let buffers: Vec<usize> =
            [Some(from.span()), residual].iter().flatten().map(|part| part.buffer).collect();
        let to = self.target(group.result, &buffers)?;
        let operands = |from: Part| [Some(from), residual].into_iter().flatten().collect::<Vec<Part>>();
        match from.in_order().filter(|_| pays(conv, channels)) {
            Some(part) => {
                let [kernel, bias] = self.kernel_and_bias(node, conv)?;
                let tiling = Tiling::of([to.grid.height, to.grid.width], kernel.len());
                let weights = self.packed()?.winograd(node, tiling, |instructions| {
                    Winograd::new(tiling, &kernel, &bias, channels, instructions)
                });
                self.reserve(ScratchSize::of_threads(weights.workspace()));
                let write = Convolution::Winograd { weights, activation: group.activation };
                self.push(group.result, Write::Convolution(write), operands(part), to.span());
            }
            None => {
                let groups = self.groups(node, conv, &from)?;
                self.push_groups(group, &groups, operands(from.span()), to.span());
            }
        }
        self.settle(group.result, to);
        Ok(())
    }

    /// A step for each group of channels, of the input and what is added.
    fn push_groups(&mut self, group: &Group, groups: &[Arc<Dense>], reads: Vec<Part>, to: Part) {
        let out = to.channels / groups.len().max(1);
        for (index, weights) in groups.iter().enumerate() {
            let mut reads = reads.clone();
            reads.iter_mut().skip(1).for_each(|residual| *residual = residual.part(index * out, out));
            let write = Convolution::Dense { weights: Arc::clone(weights), activation: group.activation };
            self.push(group.result, Write::Convolution(write), reads, to.part(index * out, out));
        }
    }

    /// The numbers of a convolution, whose bias may be zero.
    fn kernel_and_bias(&mut self, node: &Node, conv: &Conv) -> Result<[Vec<f32>; 2], RuntimeError> {
        match node.parameters.len() {
            1 => {
                let [kernel] = self.numbers(node)?;
                Ok([kernel, vec![0.0; conv.out]])
            }
            _ => self.numbers(node),
        }
    }

    /// Packed weights for each group of channels.
    fn groups(&mut self, node: &Node, conv: &Conv, from: &Place) -> Result<Vec<Arc<Dense>>, RuntimeError> {
        let [kernel, bias] = self.kernel_and_bias(node, conv)?;
        let (out, channels) = (conv.out / conv.groups, from.positions.len() / conv.groups);
        let one = Conv { out, groups: 1, ..*conv };
        let padding = conv.padding.into_iter().max().unwrap_or(0);
        let is_bordered = padding > 0 && from.grid.border >= padding;
        let packed = self.packed()?;
        let mut groups = Vec::with_capacity(conv.groups);
        let numbers = kernel.chunks(kernel.len() / conv.groups).zip(bias.chunks(out));
        for (positions, (kernel, bias)) in from.positions.chunks(channels).zip(numbers) {
            let layout = Layout { positions: positions.to_vec(), record: from.grid.record, is_bordered };
            let pack = |layout: &Layout, instructions| Dense::new(one, kernel, bias, layout, instructions);
            groups.push(packed.dense(node, groups.len(), layout, pack));
        }
        Ok(groups)
    }

    /// A deformable convolution: what the taps read is laid out, and multiplied as by a pointwise convolution. Image by
    /// image, as all of it is several times as large as the input.
    pub(super) fn deformable(
        &mut self,
        group: &Group,
        node: &Node,
        conv: &DeformConv,
    ) -> Result<(), RuntimeError> {
        let residual = group.residual.map(|residual| self.ordered(residual)).transpose()?;
        let parts: Vec<Part> =
            node.inputs.iter().map(|input| self.ordered(*input)).collect::<Result<_, _>>()?;
        let buffers: Vec<usize> = parts.iter().chain(&residual).map(|part| part.buffer).collect();
        let to = self.target(group.result, &buffers)?;
        let channels = channels(self.graph, node);
        let taps = conv.taps();
        let grid = Grid::packed(1, [to.grid.height, to.grid.width], taps * channels);
        let columns = Part::whole(self.buffer(grid.end()), grid);
        let pointwise =
            Conv { kernel: [1; 2], stride: [1; 2], padding: [0; 2], dilation: [1; 2], ..conv.conv };
        let positions = (0..channels).flat_map(|channel| (0..taps).map(move |tap| tap * channels + channel));
        let place = Place { positions: positions.collect(), ..Place::of(columns, Form::Map) };
        let groups = self.groups(node, &pointwise, &place)?;
        for image in 0..to.grid.images {
            let samples = Convolution::Sample { samples: Samples::new(*conv, channels) };
            let parts = parts.iter().map(|part| part.image(image)).collect();
            self.push(group.result, Write::Convolution(samples), parts, columns);
            let reads = [columns].into_iter().chain(residual.map(|part| part.image(image)));
            self.push_groups(group, &groups, reads.collect(), to.span().image(image));
        }
        self.settle(group.result, to);
        Ok(())
    }

    /// A depthwise convolution; its result's channels lie in the order of the input's.
    pub(in crate::lower) fn packed_depthwise(
        &mut self,
        group: &Group,
        (conv, kernel, bias): (&Conv, &[f32], &[f32]),
        from: &Place,
    ) -> Result<(), RuntimeError> {
        let (_, ranks) = from.sorted();
        let mut order: Vec<(usize, usize)> = ranks.into_iter().zip(0..).collect();
        order.sort_unstable();
        let order: Vec<usize> = order.into_iter().map(|(_, channel)| channel).collect();
        let instructions = self.packed()?.instructions();
        let weights = Box::new(Depthwise::new(*conv, kernel, bias, &order, instructions));
        let activation = group.activation;
        self.by_channel(group.result, from, |runs| {
            Write::Convolution(Convolution::Depthwise { weights, runs, activation })
        })
    }
}
