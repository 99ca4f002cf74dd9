//! Parallel branches merged into one convolution, and split again (RepVGG, arXiv 2101.03697).

use std::collections::HashSet;

use super::branches::{Branch, Merge};
use super::norm::{Norm, has_its_own, parameter_uses};
use super::remove_dead;
use crate::graph::ir::{Graph, Module, ModuleId, Node, Parameter, ParameterId, Role, Tap, Value};
use crate::graph::{Conv, GraphError, Op, Weights};

/// The module of a merged convolution inside that of the sum, as upstreams call it.
const MERGED: &str = "rbr_reparam";

/// What [`merge_branches`] did, to do the same to weights.
#[derive(Debug, Clone, Default)]
pub struct Merging(Vec<Merge>);

/// The graph with every sum of convolutions with batch norms, and of batch norms alone, of one value replaced by a
/// single convolution with bias, in a module `rbr_reparam` beside the branches. Kernels must have one centre, and
/// what the branches compute must not be used elsewhere.
pub fn merge_branches(graph: &Graph) -> (Graph, Merging) {
    let finder = Finder { graph, uses: graph.uses(), sharing: parameter_uses(graph) };
    let mut merged = graph.clone();
    let mut merging = Merging::default();
    let mut within: HashSet<Value> = HashSet::new();
    // The last addition of a sum is met before those within it.
    for value in (0..graph.nodes.len()).rev().map(Value) {
        if within.contains(&value) {
            continue;
        }
        let merge = finder.sum(value).and_then(|sum| {
            within.extend(&sum.additions);
            replace(&mut merged, value, sum)
        });
        merging.0.extend(merge);
    }
    merging.0.reverse();
    merged.sort_parameters();
    (remove_dead(&merged), merging)
}

/// A sum that can become one convolution.
struct Sum {
    input: Value,
    /// The convolution with the largest kernel.
    conv: Conv,
    branches: Vec<Branch>,
    additions: Vec<Value>,
}

/// What is added in a sum.
struct Part {
    input: Value,
    /// The convolution, for a batch norm alone one that changes nothing.
    conv: Conv,
    branch: Branch,
}

impl Part {
    /// Taps of its kernel; none for a batch norm alone.
    fn taps(&self) -> usize {
        if self.branch.conv.is_some() { self.conv.kernel.iter().product() } else { 0 }
    }

    /// Whether its kernel can be put in the middle of that of `outer`.
    fn fits(&self, outer: Conv) -> bool {
        let groups = if self.branch.conv.is_some() { self.conv.groups } else { outer.groups };
        let Conv { kernel, padding, bias, .. } = outer;
        let like_outer = Conv { kernel, padding, bias, groups, ..self.conv };
        let kernels = outer.kernel.iter().zip(self.conv.kernel);
        let paddings = outer.padding.iter().zip(self.conv.padding);
        // As many taps more on each side as there is padding more.
        let mut margins = kernels.zip(paddings).map(|((large, small), (around_large, around_small))| {
            (large.checked_sub(small), around_large.checked_sub(around_small))
        });
        like_outer == outer
            && outer.dilation == [1; 2]
            && margins.all(|margin| matches!(margin, (Some(taps), Some(padding)) if taps == 2 * padding))
    }
}

struct Finder<'a> {
    graph: &'a Graph,
    /// How many nodes and outputs use each value.
    uses: Vec<usize>,
    /// How many nodes use each parameter.
    sharing: Vec<usize>,
}

impl Finder<'_> {
    fn is_used_once(&self, value: Value) -> bool {
        self.uses.get(value.0) == Some(&1)
    }

    /// The sum whose last addition is `last`, if it can become one convolution.
    fn sum(&self, last: Value) -> Option<Sum> {
        let (mut additions, mut parts, mut open) = (Vec::new(), Vec::new(), vec![last]);
        while let Some(value) = open.pop() {
            let node = self.graph.node(value)?;
            if node.op == Op::Add && (value == last || self.is_used_once(value)) {
                additions.push(value);
                open.extend(node.inputs.iter().rev());
            } else {
                parts.push(self.part(value, node)?);
            }
        }
        parts.sort_by_key(|part| std::cmp::Reverse(part.taps()));
        let first = parts.first()?;
        let (input, conv) = (first.input, first.conv);
        let is_one = first.taps() > 0 && parts.iter().all(|part| part.input == input && part.fits(conv));
        let branches = parts.into_iter().map(|part| part.branch);
        (is_one && !additions.is_empty()).then(|| Sum {
            input,
            conv,
            branches: branches.collect(),
            additions,
        })
    }

    fn part(&self, value: Value, node: &Node) -> Option<Part> {
        let norm = Norm::of(self.graph, node)?;
        let input = *node.inputs.first()?;
        let before = self.graph.node(input)?;
        if !self.is_used_once(value) || !has_its_own(node, &self.sharing) {
            return None;
        }
        if let Op::Conv(conv) = before.op
            && self.is_used_once(input)
        {
            let parameter = |at: usize| self.graph.parameter(*before.parameters.get(at)?).cloned();
            let branch = Branch { conv: Some((parameter(0)?, parameter(1))), norm };
            let part = Part { input: *before.inputs.first()?, conv, branch };
            return has_its_own(before, &self.sharing).then_some(part);
        }
        let channels = *node.shape.get(1)?;
        Some(Part { input, conv: Conv::pointwise(channels), branch: Branch { conv: None, norm } })
    }
}

/// Puts a convolution in the place of the sum's last addition; `None` where its name is taken.
fn replace(graph: &mut Graph, last: Value, sum: Sum) -> Option<Merge> {
    let (kernel, _) = sum.branches.first()?.conv.clone()?;
    let parent = graph.node(last)?.module;
    let path = match graph.modules.get(parent.0)?.path.as_str() {
        "" => MERGED.to_owned(),
        path => format!("{path}.{MERGED}"),
    };
    if graph.modules.iter().any(|module| module.path == path) {
        return None;
    }
    let kernel = Parameter { name: format!("{path}.weight"), ..kernel };
    let bias = Parameter { name: format!("{path}.bias"), shape: vec![sum.conv.out], role: Role::Bias };
    let parameters: Vec<ParameterId> =
        [&kernel, &bias].map(|parameter| add_parameter(graph, parameter)).into();
    let module = ModuleId(graph.modules.len());
    graph.modules.get_mut(parent.0)?.children.push(module);
    let (children, own) = (Vec::new(), parameters.clone());
    graph.modules.push(Module { path: path.clone(), parent: Some(parent), children, parameters: own });
    let place = graph.taps.iter().position(|tap| tap.value >= last).unwrap_or(graph.taps.len());
    graph.taps.insert(place, Tap { path, value: last });
    let node = graph.nodes.get_mut(last.0)?;
    let op = Op::Conv(sum.conv.biased());
    *node = Node { op, inputs: vec![sum.input], parameters, shape: node.shape.clone(), module };
    Some(Merge { branches: sum.branches, kernel, bias })
}

fn add_parameter(graph: &mut Graph, parameter: &Parameter) -> ParameterId {
    graph.parameters.push(parameter.clone());
    ParameterId(graph.parameters.len() - 1)
}

impl Merging {
    /// Number of merged sums.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether nothing was merged.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Weights of the merged graph from those of the original, computed in f64 and rounded once.
    ///
    /// # Errors
    /// [`GraphError::Missing`] and [`GraphError::Mismatch`] for weights of the original graph.
    pub fn merge(&self, weights: &Weights) -> Result<Weights, GraphError> {
        let mut merged = weights.clone();
        for merge in &self.0 {
            merge.merge(weights, &mut merged)?;
        }
        Ok(merged)
    }

    /// Weights of the original graph from those of the merged one. At every tap each branch that reaches it gets
    /// half of what those before it left, the last all of it. Merging them again gives the same numbers, but for
    /// those so small that their halves are no f32.
    ///
    /// # Errors
    /// [`GraphError::Missing`] and [`GraphError::Mismatch`] for weights of the merged graph.
    pub fn split(&self, weights: &Weights) -> Result<Weights, GraphError> {
        let mut original = weights.clone();
        for merge in &self.0 {
            merge.split(weights, &mut original)?;
        }
        Ok(original)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::{Activation, Scope};

    fn branch(net: &mut Scope<'_>, name: &str, x: Value, conv: Conv) -> Value {
        net.module(name, |net| {
            let x = net.conv("conv", x, conv);
            net.batch_norm("bn", x, 1e-3, 0.03)
        })
    }

    /// A block with all three branches, one that halves the size, and sums that are none of the kind.
    fn network() -> Graph {
        let graph = Graph::write([1, 4, 8, 6], |net, x| {
            let x = net.module("full", |net| {
                let dense = branch(net, "rbr_dense", x, Conv { groups: 2, ..Conv::same(4, 3) });
                let point = branch(net, "rbr_1x1", x, Conv { groups: 2, ..Conv::pointwise(4) });
                let identity = net.batch_norm("rbr_identity", x, 1e-5, 0.1);
                let sum = net.add(dense, point);
                let sum = net.add(sum, identity);
                net.act("nonlinearity", sum, Activation::Relu)
            });
            let x = net.module("half", |net| {
                let dense = branch(net, "rbr_dense", x, Conv::same(3, 3).stride(2).biased());
                let point = branch(net, "rbr_1x1", x, Conv::pointwise(3).stride(2));
                net.add(point, dense)
            });
            let residual = branch(net, "residual", x, Conv::same(3, 3));
            let x = net.add(residual, x);
            let (left, right) =
                (branch(net, "left", x, Conv::pointwise(3)), net.conv("bare", x, Conv::pointwise(3)));
            let x = net.add(left, right);
            net.output("features", x);
        });
        graph.unwrap()
    }

    /// Numbers of both signs without pattern, a few of them large.
    fn weights(graph: &Graph) -> Weights {
        let mut state = 7_u32;
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / 8_388_608.0 - 1.0
        };
        Weights::fill(graph, |parameter| {
            let mut number = |at: usize| match parameter.role {
                Role::RunningVariance => 0.5 + next().abs(),
                _ if at.is_multiple_of(5) => 1000.0 * next(),
                _ => next(),
            };
            (0..parameter.elements()).map(&mut number).collect()
        })
    }

    #[test]
    fn sums_of_branches_become_one_convolution() {
        let (merged, merging) = merge_branches(&network());
        assert_eq!(merging.len(), 2);
        let names: Vec<&str> = merged.parameters().iter().map(|p| p.name.as_str()).take(6).collect();
        let expected = "full.rbr_reparam.weight full.rbr_reparam.bias half.rbr_reparam.weight \
                        half.rbr_reparam.bias residual.conv.weight residual.bn.weight";
        assert_eq!(names.join(" "), expected);
        let taps: Vec<&str> = merged.taps().iter().map(|tap| tap.path.as_str()).take(6).collect();
        assert_eq!(
            taps,
            ["input", "full.rbr_reparam", "full.nonlinearity", "full", "half.rbr_reparam", "half"]
        );
        let convs = merged.nodes().iter().filter(|node| matches!(node.op, Op::Conv(_)));
        assert_eq!(convs.count(), 5);
    }

    #[test]
    fn merged_numbers_are_the_sums() {
        let graph = network();
        let (merged, merging) = merge_branches(&graph);
        let weights = Weights::fill(&graph, |parameter| vec![0.5; parameter.elements()]);
        let after = merging.merge(&weights).unwrap();
        for parameter in merged.parameters() {
            after.of(parameter).unwrap();
        }
        assert!(
            after.get("full.rbr_dense.conv.weight").is_none()
                && after.get("half.rbr_dense.conv.bias").is_none()
        );
        let factor = |epsilon: f64| 0.5 / (0.5 + epsilon).sqrt();
        let (conv, alone) = (factor(1e-3), factor(1e-5));
        let kernel = &after.get("full.rbr_reparam.weight").unwrap().data;
        let [around, centre] = [0.5 * conv, 2.0 * 0.5 * conv].map(|value| value as f32);
        let own = (conv + alone) as f32;
        // Output channel 1 of group 0: input channel 0, then 1, which is its own.
        let rows = [[around, around, around, around, centre], [around, around, around, around, own]];
        assert_eq!((&kernel[18..23], &kernel[27..32]), (&rows[0][..], &rows[1][..]));
        let bias = after.get("full.rbr_reparam.bias").unwrap().data[0];
        assert_eq!(bias, (2.0 * (0.5 - 0.5 * conv) + 0.5 - 0.5 * alone) as f32);
        // The convolution's own bias equals the mean.
        assert_eq!(after.get("half.rbr_reparam.bias").unwrap().data[0], (1.0 - 0.5 * conv) as f32);
    }

    #[test]
    fn split_branches_merge_to_the_same_numbers() {
        let graph = network();
        let (_, merging) = merge_branches(&graph);
        let merged = merging.merge(&weights(&graph)).unwrap();
        let split = merging.split(&merged).unwrap();
        for parameter in graph.parameters() {
            let array = split.of(parameter).unwrap();
            let is_kernel = parameter.role == Role::Kernel;
            assert!(!is_kernel || array.data.iter().any(|value| *value != 0.0), "{}", parameter.name);
        }
        assert_eq!(merging.merge(&split).unwrap(), merged);
    }
}
