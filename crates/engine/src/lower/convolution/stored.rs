//! Convolutions with weights that stay in the store and change there.

use std::sync::Arc;

use super::Convolution;
use crate::RuntimeError;
use crate::cpu::convolution::chosen;
use crate::cpu::convolution::depthwise::stored::Channelwise;
use crate::cpu::convolution::taps;
use crate::cpu::place::Part;
use crate::lower::step::Write;
use crate::lower::{Lower, reference};
use crate::store::Order;
use network::graph::{Conv, Node, Value};

impl Lower<'_> {
    /// By the kernels for all channels or for each its own, if the weights lie as these want them.
    pub(super) fn stored_convolution(
        &mut self,
        value: Value,
        node: &Node,
        conv: &Conv,
    ) -> Result<(), RuntimeError> {
        let weight = self.parameter(node, 0)?;
        let bias = if node.parameters.len() > 1 { Some(self.parameter(node, 1)?) } else { None };
        let from = self.ordered(self.one(node)?)?;
        let write = match self.order(weight) {
            Order::Panels(_) if fits_dense(conv, from) => {
                let padding = conv.padding.into_iter().max().unwrap_or(0);
                let is_bordered =
                    padding > 0 && from.grid.border >= padding && from.grid.record == from.channels;
                let size = [from.grid.height, from.grid.width];
                let convolution = Arc::new(chosen::Dense::forward(conv, from.channels, size, is_bordered));
                self.reserve(convolution.scratch());
                Convolution::Stored { convolution, weight, bias }
            }
            Order::Blocks(_) if from.grid.border == 0 && conv.groups == from.channels => {
                let convolution = Arc::new(Channelwise::new(taps::forward(conv), conv.kernel, from.channels));
                Convolution::StoredDepthwise { convolution, weight, bias, conv: *conv }
            }
            _ => return reference::by_reference(self, value, node),
        };
        let to = self.target(value, &[from.buffer])?;
        self.push(value, Write::Convolution(write), vec![from], to.span());
        self.settle(value, to);
        Ok(())
    }
}

/// A border narrower than the padding, or beside other channels, is neither a border nor none.
fn fits_dense(conv: &Conv, from: Part) -> bool {
    let padding = conv.padding.into_iter().max().unwrap_or(0);
    let is_bordered = from.grid.border >= padding && from.grid.record == from.channels;
    conv.groups == 1 && (padding == 0 || from.grid.border == 0 || is_bordered)
}
