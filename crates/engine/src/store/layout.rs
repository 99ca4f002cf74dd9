//! Where each parameter lies in a slab.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use crate::RuntimeError;
use crate::cpu::convolution::dense::stored::Products;
use crate::cpu::convolution::depthwise::stored::Channelwise;
use crate::cpu::convolution::taps;
use network::graph::{Conv, Graph, Node, Op, Parameter};

/// Parameters begin at multiples of this: floats of a line of the cache, so that no two share one.
const ALIGNMENT: usize = 16;

/// The order of a parameter's numbers.
#[derive(Debug, Clone)]
pub(crate) enum Order {
    /// As in its array.
    RowMajor,
    /// Panels of a convolution of all channels.
    Panels(Arc<Products>),
    /// Blocks of channels, each with a kernel of its own.
    Blocks(Arc<Channelwise>),
}

/// The group of a parameter: all of a group are changed with the same factors.
pub type Group = usize;

/// A parameter and its place.
#[derive(Debug, Clone)]
pub(crate) struct Slot {
    pub(crate) parameter: Parameter,
    pub(crate) order: Order,
    /// Where its numbers lie in a slab, with what fills registers up.
    pub(crate) floats: Range<usize>,
    pub(crate) is_trained: bool,
    pub(crate) group: Group,
}

/// The places of all parameters of a graph, those that are trained first.
#[derive(Debug, Clone)]
pub(crate) struct Layout {
    /// In the order of the graph's parameters.
    slots: Vec<Slot>,
    /// Floats of all that are trained.
    trained: usize,
    /// Floats of all.
    size: usize,
}

impl Layout {
    /// The layout for a graph of any input shape. `group` is the group of each parameter that is trained.
    pub(crate) fn of(graph: &Graph, group: impl Fn(&Parameter) -> Option<Group>) -> Layout {
        let mut orders = orders(graph);
        let slot = |(index, parameter): (usize, &Parameter)| {
            let group = group(parameter).filter(|_| parameter.role.is_trainable());
            let order = orders.remove(&index).unwrap_or(Order::RowMajor);
            let (is_trained, group) = (group.is_some(), group.unwrap_or(0));
            Slot { parameter: parameter.clone(), order, floats: 0..0, is_trained, group }
        };
        let mut slots: Vec<Slot> = graph.parameters().iter().enumerate().map(slot).collect();
        let trained = place(slots.iter_mut().filter(|slot| slot.is_trained), 0);
        let size = place(slots.iter_mut().filter(|slot| !slot.is_trained), trained);
        Layout { slots, trained, size }
    }

    /// Whether a graph has the parameters that lie here.
    ///
    /// # Errors
    /// A parameter that has no place, or another one.
    pub(crate) fn check(&self, graph: &Graph) -> Result<(), RuntimeError> {
        match self.slots.iter().map(|slot| &slot.parameter).eq(graph.parameters()) {
            true => Ok(()),
            false => {
                Err(RuntimeError::internal("", "the network has other parameters for another input shape"))
            }
        }
    }

    /// No parameters.
    pub(crate) fn none() -> Layout {
        Layout { slots: Vec::new(), trained: 0, size: 0 }
    }

    /// The parameters in the graph's order.
    pub(crate) fn slots(&self) -> &[Slot] {
        &self.slots
    }

    /// Floats of all parameters that are trained: gradients and what rules keep have these only.
    pub(crate) fn trained(&self) -> usize {
        self.trained
    }

    /// Floats of all parameters.
    pub(crate) fn size(&self) -> usize {
        self.size
    }

    /// Whether a parameter is trained.
    pub(crate) fn trains(&self, parameter: usize) -> bool {
        self.slots.get(parameter).is_some_and(|slot| slot.is_trained)
    }

    /// The order of a parameter's numbers.
    pub(crate) fn order(&self, parameter: usize) -> &Order {
        self.slots.get(parameter).map_or(&Order::RowMajor, |slot| &slot.order)
    }
}

/// Gives slots their places from `start` on; the result is the end.
fn place<'s>(slots: impl Iterator<Item = &'s mut Slot>, start: usize) -> usize {
    slots.fold(start, |start, slot| {
        let end = start + slot.size();
        slot.floats = start..end;
        aligned(end)
    })
}

/// Where a parameter behind `end` begins.
pub(super) fn aligned(end: usize) -> usize {
    end.next_multiple_of(ALIGNMENT)
}

impl Slot {
    /// Floats that it takes.
    fn size(&self) -> usize {
        match &self.order {
            Order::RowMajor => self.parameter.elements(),
            Order::Panels(products) => products.size(),
            Order::Blocks(depthwise) => depthwise.size(),
        }
    }

    /// Positions of the numbers of the parameter's array, in the array's order. Kernels are `[out, in, height, width]`.
    pub(crate) fn positions(&self) -> impl Iterator<Item = usize> + '_ {
        let taps: usize = self.parameter.shape.iter().skip(2).product::<usize>().max(1);
        let inputs = self.parameter.shape.get(1).copied().unwrap_or(1).max(1);
        (0..self.parameter.elements()).map(move |index| {
            let (tap, channel, out) = (index % taps, index / taps % inputs, index / taps / inputs);
            match &self.order {
                Order::RowMajor => index,
                Order::Panels(products) => products.position(tap, channel, out),
                Order::Blocks(depthwise) => depthwise.position(tap, out),
            }
        })
    }
}

/// The orders that convolutions want their weights in. Where several use the same weights, the first decides.
fn orders(graph: &Graph) -> HashMap<usize, Order> {
    let mut orders = HashMap::new();
    for (_, node) in graph.values() {
        if let (Op::Conv(conv), Some(weight)) = (&node.op, node.parameters.first())
            && let Some(order) = wanted(graph, node, conv)
        {
            orders.entry(weight.index()).or_insert(order);
        }
    }
    orders
}

/// The order that a convolution has kernels for; none where padding is wider than what the kernel reaches.
fn wanted(graph: &Graph, node: &Node, conv: &Conv) -> Option<Order> {
    let input = graph.node(*node.inputs.first()?)?;
    let [_, channels, _, _] = *input.shape else { return None };
    let reach =
        |axis: fn([usize; 2]) -> usize| axis(conv.dilation) * (axis(conv.kernel) - 1) >= axis(conv.padding);
    let reaches = reach(|[height, _]| height) && reach(|[_, width]| width);
    let is_depthwise = conv.groups > 1 && conv.groups == channels && conv.out == channels;
    match conv.groups {
        1 if reaches => Some(Order::Panels(Products::forward(conv, channels, false).into())),
        _ if reaches && is_depthwise && Channelwise::serves(conv.kernel) => {
            Some(Order::Blocks(Channelwise::new(taps::forward(conv), conv.kernel, channels).into()))
        }
        _ => None,
    }
}
