//! Parameters and floating-point operations, module by module.

use std::ops::AddAssign;

use super::ir::{Graph, Node};
use super::op::Op;

/// What a module costs, with everything in it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Cost {
    /// Elements that an optimiser changes.
    pub parameters: u64,
    /// Elements of buffers: running statistics, counters, constants.
    pub buffers: u64,
    /// Floating-point operations of convolutions and matrix products, a multiply-add counted as two. Biases, normalisation,
    /// activations, pooling and resizing are not counted, as is the habit of the field.
    pub flops: u64,
}

impl AddAssign for Cost {
    fn add_assign(&mut self, other: Cost) {
        self.parameters += other.parameters;
        self.buffers += other.buffers;
        self.flops += other.flops;
    }
}

/// Costs of all modules, in the order of [`Graph::modules`]: the first is the whole network.
pub fn costs(graph: &Graph) -> Vec<Cost> {
    let mut costs = vec![Cost::default(); graph.modules().len()];
    for (cost, module) in costs.iter_mut().zip(graph.modules()) {
        for parameter in module.parameters.iter().filter_map(|id| graph.parameter(*id)) {
            let elements = parameter.elements() as u64;
            let kind = if parameter.role.is_trainable() { &mut cost.parameters } else { &mut cost.buffers };
            *kind += elements;
        }
    }
    for node in graph.nodes() {
        if let Some(cost) = costs.get_mut(node.module.index()) {
            cost.flops += flops(graph, node);
        }
    }
    add_to_parents(graph, &mut costs);
    costs
}

/// Operations of one node.
fn flops(graph: &Graph, node: &Node) -> u64 {
    // Multiply-adds that make one number of the result. Sampling between positions is resizing, which is not counted.
    let depth = match node.op {
        Op::Conv(_) | Op::DeformConv(_) => {
            let kernel = node.parameters.first().and_then(|id| graph.parameter(*id));
            kernel.map_or(0, |kernel| kernel.shape.iter().skip(1).product())
        }
        Op::MatMul => {
            let left = node.inputs.first().and_then(|value| graph.node(*value));
            left.and_then(|left| left.shape.last().copied()).unwrap_or(0)
        }
        _ => 0,
    };
    2 * depth as u64 * node.shape.iter().product::<usize>() as u64
}

/// Children come after their parents, so that going backwards every module is complete when it is added.
fn add_to_parents(graph: &Graph, costs: &mut [Cost]) {
    for (index, module) in graph.modules().iter().enumerate().rev() {
        let cost = costs.get(index).copied().unwrap_or_default();
        if let Some(parent) = module.parent.and_then(|parent| costs.get_mut(parent.index())) {
            *parent += cost;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::{Conv, DeformConv};

    #[test]
    fn a_multiply_add_counts_as_two_and_shared_parameters_once() {
        let graph = Graph::write([2, 4, 5, 6], |net, x| {
            let x = net.at("block").conv("conv", x, Conv { groups: 2, ..Conv::same(4, 3).biased() });
            let x = net.at("block").batch_norm("bn", x, 1e-5, 0.1);
            net.at("block").conv("conv", x, Conv { groups: 2, ..Conv::same(4, 3).biased() });
        });
        let costs = costs(&graph.unwrap());
        // Twice 2 * N * out * H * W * in/groups * 3 * 3.
        let flops = 2 * 2 * 2 * 4 * 5 * 6 * 2 * 9;
        assert_eq!(costs[0], Cost { parameters: 4 * 2 * 9 + 4 + 8, buffers: 9, flops });
        assert_eq!(costs[1], costs[0]);
        assert_eq!(costs[2], Cost { parameters: 76, buffers: 0, flops });
    }

    #[test]
    fn a_deformable_convolution_costs_what_it_does_without_offsets() {
        let graph = Graph::write([1, 4, 5, 6], |net, x| {
            let offsets = net.conv("offsets", x, Conv::same(18, 3));
            let conv = DeformConv { conv: Conv::same(8, 3), offset_groups: 1 };
            net.module("conv", |net| net.deform_conv(x, offsets, None, conv));
        });
        let costs = costs(&graph.unwrap());
        assert_eq!((costs[1].flops, costs[2].flops), (2 * 18 * 30 * 36, 2 * 8 * 30 * 36));
        assert_eq!(costs[2].parameters, 8 * 36);
    }

    #[test]
    fn a_matrix_product_counts_once_for_each_of_the_leading_axes() {
        let graph = Graph::write([2, 4, 5, 6], |net, x| {
            let flipped = net.transpose(x, &[0, 1, 3, 2]);
            net.matmul(x, flipped);
        });
        // Twice N * C * M * K * N.
        assert_eq!(costs(&graph.unwrap())[0].flops, 2 * 2 * 4 * 5 * 6 * 5);
    }
}
