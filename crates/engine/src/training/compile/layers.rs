//! Convolutions, normalisations and functions of every element.

use std::sync::Arc;

use super::{Compiler, Done};
use crate::kernels::channels_last::channelwise::Channelwise;
use crate::kernels::channels_last::gradients::Function;
use crate::kernels::channels_last::normalise::{Normalisation, Together};
use crate::kernels::channels_last::taps;
use crate::training::convolution::Convolution;
use crate::training::learned::Layout;
use crate::training::step::Kernel;
use crate::{NormStatistics, RuntimeError};
use network::graph::{Activation, Conv, Node, Op, Value};

impl Compiler<'_> {
    pub(super) fn convolution(
        &mut self,
        value: Value,
        node: &Node,
        conv: &Conv,
        x: Value,
    ) -> Result<Done, RuntimeError> {
        let from = self.place(x)?;
        let Some(weight) = node.parameters.first().map(|id| id.index()) else {
            return self.reference(value, node);
        };
        let bias = node.parameters.get(1).map(|id| id.index());
        let reach = |axis: fn([usize; 2]) -> usize| {
            axis(conv.dilation) * (axis(conv.kernel) - 1) >= axis(conv.padding)
        };
        let fits = reach(|[height, _]| height) && reach(|[_, width]| width);
        let is_depthwise = conv.groups > 1 && conv.groups == from.channels && conv.out == conv.groups;
        if fits && is_depthwise && Channelwise::serves(conv.kernel) && from.grid.border == 0 {
            let own = Arc::new(Channelwise::new(taps::forward(conv), conv.kernel, from.channels));
            if let Layout::Channelwise(_) = self.layout(weight, || Layout::Channelwise(own.clone())) {
                self.write(value, node, vec![from], Kernel::Channelwise { own: own.clone(), weight, bias });
                return Ok(Done::Channelwise(own));
            }
        } else if fits && conv.groups == 1 {
            let padding = conv.padding.into_iter().max().unwrap_or(0);
            let is_bordered = padding > 0 && from.grid.border >= padding && from.grid.record == from.channels;
            if is_bordered || from.grid.border == 0 || padding == 0 {
                let size = [from.grid.height, from.grid.width];
                let own = Arc::new(Convolution::forward(conv, from.channels, size, is_bordered));
                if let Layout::Dense(_) = self.layout(weight, || Layout::Dense(own.clone())) {
                    self.scratch = self.scratch.union(own.scratch());
                    let kernel = Kernel::Dense { own: own.clone(), weight, bias };
                    self.write(value, node, vec![from], kernel);
                    return Ok(Done::Dense(own));
                }
            }
        }
        self.reference(value, node)
    }

    /// Whether a value has no user but a function of every element.
    fn is_joined(&self, value: Value) -> bool {
        let is_output = self.graph.outputs().iter().any(|(_, output)| *output == value);
        let user = match self.users.get(&value).map(Vec::as_slice) {
            Some([user]) => self.graph.node(*user),
            _ => None,
        };
        !is_output && user.is_some_and(|user| matches!(user.op, Op::Activation(_)))
    }

    pub(super) fn norm(&mut self, value: Value, x: Value) -> Result<Done, RuntimeError> {
        match self.is_joined(value) {
            true => Ok(Done::Joined),
            false => self.normalised(value, x, value, None),
        }
    }

    fn normalised(
        &mut self,
        value: Value,
        x: Value,
        owner: Value,
        activation: Option<Activation>,
    ) -> Result<Done, RuntimeError> {
        let from = self.place(x)?;
        let (Some(node), Some(own)) = (self.graph.node(value), self.graph.node(owner)) else {
            return Err(RuntimeError::internal("", "a norm that is no node of the graph"));
        };
        let shape = <[usize; 4]>::try_from(node.shape.as_slice()).unwrap_or_default();
        let ids: Vec<usize> = own.parameters.iter().map(|id| id.index()).collect();
        let is_running = (self.training.statistics)(self.graph.path(own)) == NormStatistics::Running;
        let (together, epsilon, statistics, momentum) = match (own.op.clone(), ids.as_slice()) {
            (Op::GroupNorm { groups, epsilon }, _) => (Together::Groups(groups), epsilon, None, None),
            (Op::BatchNorm { epsilon, .. }, [_, _, mean, variance]) if is_running => {
                (Together::Given, epsilon, Some([*mean, *variance]), None)
            }
            (Op::BatchNorm { epsilon, momentum }, [_, _, mean, variance]) => {
                (Together::Batch, epsilon, Some([*mean, *variance]), Some(momentum))
            }
            _ => return self.reference(value, node),
        };
        let [Some(weight), Some(bias)] = [ids.first(), ids.get(1)] else {
            return self.reference(value, node);
        };
        let norm = self.norms.len();
        self.norms.push(Normalisation::new(together, epsilon, activation, shape));
        let kernel = Kernel::Normalise { norm, parameters: [*weight, *bias], statistics, momentum };
        self.write(value, node, vec![from], kernel);
        Ok(Done::Normalised { x, node: owner, norm })
    }

    pub(super) fn activation(
        &mut self,
        value: Value,
        node: &Node,
        x: Value,
        activation: Activation,
    ) -> Result<Done, RuntimeError> {
        if let (Some(Done::Joined), Some(norm)) = (self.done.get(&x), self.graph.node(x))
            && let Some(input) = norm.inputs.first().copied()
        {
            return self.normalised(value, input, x, Some(activation));
        }
        let from = self.place(x)?;
        if from.grid.border > 0 {
            return self.reference(value, node);
        }
        self.alongside(value, vec![from], Kernel::Each(Function::Activated(activation)));
        Ok(Done::Activation)
    }
}
