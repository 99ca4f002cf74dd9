//! Nodes that are computed together: an operator with the addition and the function that follow it.

use std::collections::{HashMap, HashSet};

use crate::graph::{Activation, Graph, Node, Op, Value};

/// What an operator can do with its result before it is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Takes {
    /// Add another value of the same shape.
    pub residual: bool,
    /// Apply a function to every element.
    pub activation: bool,
    /// Apply the function of what it will be a part of: where only such operators are joined, the function of the
    /// joined value is applied to each part.
    pub early: bool,
}

/// An operator, and what is done with its result in the same step: first the addition, then the function.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Group {
    /// The node whose operator is computed.
    pub root: Value,
    /// The value that is added.
    pub residual: Option<Value>,
    /// The function that is applied.
    pub activation: Option<Activation>,
    /// The last of the nodes, whose value the group computes.
    pub result: Value,
}

impl Group {
    fn of(value: Value) -> Group {
        Group { root: value, residual: None, activation: None, result: value }
    }
}

/// The nodes of a graph as groups, in an order in which they can be computed.
#[derive(Debug, Clone, PartialEq)]
pub struct Groups {
    /// One for every node that is computed on its own or takes others along.
    pub groups: Vec<Group>,
    /// Functions of joined values that the parts have applied: each is equal to its input.
    pub applied: HashSet<Value>,
}

/// Groups the nodes of a graph by what each operator `takes` along. A value that anything else uses, an output
/// included, is never hidden in a group.
pub fn fuse(graph: &Graph, takes: impl Fn(&Node) -> Takes) -> Groups {
    let mut fusing = Fusing::new(graph, takes);
    for (value, node) in graph.values() {
        fusing.visit(value, node);
    }
    let open: Vec<Value> = graph.values().map(|(value, _)| value).collect();
    open.into_iter().for_each(|value| fusing.close(value));
    Groups { groups: fusing.groups, applied: fusing.applied }
}

struct Fusing<'a, T> {
    graph: &'a Graph,
    takes: T,
    /// The node that alone uses a value.
    only_users: HashMap<Value, Value>,
    /// Functions that the parts of joined values apply.
    early: HashMap<Value, Activation>,
    applied: HashSet<Value>,
    /// Groups that may still take something along, by the value that they compute so far.
    open: HashMap<Value, Group>,
    groups: Vec<Group>,
}

impl<'a, T: Fn(&Node) -> Takes> Fusing<'a, T> {
    fn new(graph: &'a Graph, takes: T) -> Fusing<'a, T> {
        let mut fusing = Fusing {
            graph,
            takes,
            only_users: only_users(graph),
            early: HashMap::new(),
            applied: HashSet::new(),
            open: HashMap::new(),
            groups: Vec::new(),
        };
        fusing.find_early();
        fusing
    }

    /// Functions of joined values, where every part can apply them and nothing else uses a part.
    fn find_early(&mut self) {
        for (value, node) in self.graph.values() {
            let (Op::Activation(activation), Some(x)) = (&node.op, node.inputs.first()) else { continue };
            let is_joined = self.graph.node(*x).is_some_and(|node| matches!(node.op, Op::Concat { .. }));
            let mut parts = Vec::new();
            if is_joined && self.collect(*x, &mut parts) {
                self.early.extend(parts.into_iter().map(|part| (part, *activation)));
                self.applied.insert(value);
            }
        }
    }

    /// The operators that a value is put together of; false if one of them cannot apply a function early, or if
    /// anything else uses a part.
    fn collect(&self, value: Value, parts: &mut Vec<Value>) -> bool {
        let Some(node) = self.graph.node(value) else { return false };
        let is_known = match &node.op {
            Op::Concat { .. } | Op::Reshape { .. } => {
                node.inputs.iter().all(|input| self.collect(*input, parts))
            }
            _ => {
                parts.push(value);
                (self.takes)(node).early
            }
        };
        is_known && self.only_users.contains_key(&value)
    }

    fn visit(&mut self, value: Value, node: &Node) {
        if let Some(group) = self.taken(value, node) {
            return self.keep(group);
        }
        node.inputs.iter().for_each(|input| self.close(*input));
        let group = Group { activation: self.early.get(&value).copied(), ..Group::of(value) };
        self.keep(group);
    }

    /// The group that takes this node along.
    fn taken(&mut self, value: Value, node: &Node) -> Option<Group> {
        match (&node.op, node.inputs.as_slice()) {
            (Op::Activation(activation), [x]) if self.takes_of(*x).activation => {
                let group = self.open.remove(x)?;
                Some(Group { activation: Some(*activation), result: value, ..group })
            }
            (Op::Add, [left, right]) => {
                [(left, right), (right, left)].into_iter().find_map(|(x, residual)| {
                    let fits = x != residual && self.takes_of(*x).residual;
                    let group = if fits { self.open.remove(x)? } else { return None };
                    self.close(*residual);
                    Some(Group { residual: Some(*residual), result: value, ..group })
                })
            }
            _ => None,
        }
    }

    /// What the open group of a value can still take.
    fn takes_of(&self, value: Value) -> Takes {
        let group = self.open.get(&value).filter(|group| group.activation.is_none());
        let Some((group, root)) = group.and_then(|group| Some((group, self.graph.node(group.root)?))) else {
            return Takes::default();
        };
        let takes = (self.takes)(root);
        Takes { residual: takes.residual && group.residual.is_none(), ..takes }
    }

    /// Holds a group open while its only user may go into it.
    fn keep(&mut self, group: Group) {
        self.open.insert(group.result, group);
        let takes = self.takes_of(group.result);
        let user = self.only_users.get(&group.result).and_then(|user| self.graph.node(*user));
        let may_grow = match user.map(|user| &user.op) {
            Some(Op::Activation(_)) => takes.activation,
            Some(Op::Add) => takes.residual,
            _ => false,
        };
        if !may_grow {
            self.close(group.result);
        }
    }

    fn close(&mut self, value: Value) {
        self.groups.extend(self.open.remove(&value));
    }
}

/// The node that uses a value, for those that are used once.
fn only_users(graph: &Graph) -> HashMap<Value, Value> {
    let uses = graph.uses();
    let of_node = graph.values().flat_map(|(user, node)| node.inputs.iter().map(move |input| (*input, user)));
    of_node.filter(|(value, _)| uses.get(value.index()) == Some(&1)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::{Conv, Scope};

    fn takes(node: &Node) -> Takes {
        let is_convolution = matches!(node.op, Op::Conv(_));
        let activation = is_convolution || matches!(node.op, Op::Add);
        Takes { residual: is_convolution, activation, early: is_convolution }
    }

    fn written(write: impl FnOnce(&mut Scope<'_>, Value)) -> Graph {
        Graph::write([1, 3, 4, 4], write).unwrap()
    }

    #[test]
    fn a_convolution_takes_an_addition_and_then_a_function() {
        let graph = written(|net, x| {
            let inner = net.conv("inner", x, Conv::pointwise(3));
            let sum = net.add(x, inner);
            let sum = net.activation(sum, Activation::Relu);
            net.output("sum", sum);
        });
        let values: Vec<Value> = graph.values().map(|(value, _)| value).collect();
        let groups = fuse(&graph, takes).groups;
        let [input, group] = groups.as_slice() else { panic!("{groups:?}") };
        assert_eq!(input.root, values[0]);
        assert_eq!((group.root, group.residual, group.result), (values[1], Some(values[0]), values[3]));
        assert_eq!(group.activation, Some(Activation::Relu));
    }

    #[test]
    fn what_others_use_is_not_hidden() {
        let graph = written(|net, x| {
            let inner = net.conv("inner", x, Conv::pointwise(3));
            let active = net.activation(inner, Activation::Relu);
            net.output("inner", inner);
            net.output("active", active);
        });
        let groups = fuse(&graph, takes).groups;
        assert_eq!(groups.len(), 3, "{groups:?}");
        assert!(groups.iter().all(|group| group.root == group.result));
    }

    #[test]
    fn the_second_addition_is_a_group_of_its_own() {
        let graph = written(|net, x| {
            let [a, b] = ["a", "b"].map(|name| net.conv(name, x, Conv::pointwise(3)));
            let sum = net.add(a, b);
            let sum = net.add(sum, x);
            let sum = net.activation(sum, Activation::Relu);
            net.output("sum", sum);
        });
        let groups = fuse(&graph, takes).groups;
        // Input, b, a + b, and the other addition with its function.
        assert_eq!(groups.len(), 4, "{groups:?}");
        assert!(groups[2].residual.is_some() && groups[2].activation.is_none());
        assert_eq!(groups[3].activation, Some(Activation::Relu));
    }

    #[test]
    fn functions_of_joined_values_reach_the_parts_that_nothing_else_uses() {
        let graph = |is_used: bool| {
            written(|net, x| {
                let [a, b] = ["a", "b"].map(|name| net.conv(name, x, Conv::pointwise(2)));
                let joined = net.concat(&[a, b]);
                let joined = net.activation(joined, Activation::Sigmoid);
                net.output("joined", joined);
                if is_used {
                    net.output("b", b);
                }
            })
        };
        let early = |groups: &Groups| groups.groups.iter().filter(|group| group.activation.is_some()).count();
        let groups = fuse(&graph(false), takes);
        assert_eq!((early(&groups), groups.applied.len()), (2, 1));
        let groups = fuse(&graph(true), takes);
        assert_eq!((early(&groups), groups.applied.len()), (0, 0));
    }
}
