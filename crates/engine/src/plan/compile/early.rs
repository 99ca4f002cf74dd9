//! Functions of joined values, which the convolutions that make the parts can apply at once.

use std::collections::{HashMap, HashSet};

use super::convolution::has_kernel;
use network::graph::{Activation, Graph, Op, Value};

/// Functions that are applied before values are joined.
#[derive(Debug, Default)]
pub(super) struct Early {
    /// The function of each convolution.
    pub(super) functions: HashMap<Value, Activation>,
    /// Nodes that find their function applied.
    pub(super) done: HashSet<Value>,
}

impl Early {
    pub(super) fn of(graph: &Graph) -> Early {
        let uses = graph.uses();
        let mut early = Early::default();
        for (value, node) in graph.values() {
            let (Op::Activation(activation), Some(x)) = (&node.op, node.inputs.first()) else { continue };
            let is_joined = graph.node(*x).is_some_and(|node| matches!(node.op, Op::Concat { .. }));
            let mut parts = Vec::new();
            if is_joined && collect(graph, &uses, *x, &mut parts) {
                early.functions.extend(parts.into_iter().map(|part| (part, *activation)));
                early.done.insert(value);
            }
        }
        early
    }
}

/// The convolutions that a value is put together of; false if there is anything else in it, or if anything else uses
/// a part.
fn collect(graph: &Graph, uses: &[usize], value: Value, parts: &mut Vec<Value>) -> bool {
    let Some(node) = graph.node(value) else { return false };
    let input = node.inputs.first().and_then(|input| graph.node(*input));
    let is_known = match &node.op {
        Op::Concat { .. } | Op::Reshape { .. } => {
            node.inputs.iter().all(|input| collect(graph, uses, *input, parts))
        }
        Op::Conv(conv) => {
            parts.push(value);
            has_kernel(conv, input)
        }
        _ => false,
    };
    is_known && uses.get(value.index()) == Some(&1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use network::graph::Conv;

    #[test]
    fn functions_reach_convolutions_that_nothing_else_uses() {
        let graph = |is_used: bool| {
            let graph = Graph::write([1, 3, 4, 4], |net, x| {
                let [a, b] = ["a", "b"].map(|name| net.conv(name, x, Conv::pointwise(2)));
                let joined = net.concat(&[a, b]);
                let joined = net.activation(joined, Activation::Sigmoid);
                net.output("joined", joined);
                if is_used {
                    net.output("b", b);
                }
            });
            graph.unwrap()
        };
        let early = Early::of(&graph(false));
        assert_eq!((early.functions.len(), early.done.len()), (2, 1));
        assert!(Early::of(&graph(true)).functions.is_empty());
    }
}
