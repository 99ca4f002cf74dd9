//! Batch norms folded into the convolutions before them, and unfolded again.

use super::norm::{Norm, has_its_own, parameter_uses};
use super::remove_dead;
use crate::graph::ir::{Graph, Node, Parameter, ParameterId, Role, Value};
use crate::graph::{Array, DeformConv, GraphError, Op, Weights};

/// A convolution and the batch norm that was folded into it.
#[derive(Debug, Clone)]
struct Fold {
    kernel: Parameter,
    bias: Parameter,
    /// Whether the convolution had a bias of its own.
    was_biased: bool,
    norm: Norm,
}

/// What [`fold_batch_norms`] did, to do the same to weights.
#[derive(Debug, Clone, Default)]
pub struct Folding(Vec<Fold>);

/// The graph with every batch norm that directly follows a convolution folded into it: the convolution has a
/// bias, stands at its own path, and its result is tapped at the path of the norm. A convolution whose result
/// or parameters are used elsewhere too keeps its norm.
pub fn fold_batch_norms(graph: &Graph) -> (Graph, Folding) {
    let mut folded = graph.clone();
    let mut folding = Folding::default();
    let (uses, sharing) = (graph.uses(), parameter_uses(graph));
    for index in 0..graph.nodes.len() {
        let Some((conv, fold)) = foldable(graph, &uses, &sharing, Value(index)) else {
            continue;
        };
        add_bias(&mut folded, conv, &fold);
        redirect(&mut folded, Value(index), conv);
        folding.0.push(fold);
    }
    folded.sort_parameters();
    (remove_dead(&folded), folding)
}

/// The convolution before the batch norm at `norm`, if the two can become one.
fn foldable(graph: &Graph, uses: &[usize], sharing: &[usize], norm: Value) -> Option<(Value, Fold)> {
    let node = graph.node(norm)?;
    let norm = Norm::of(graph, node)?;
    let conv_value = *node.inputs.first()?;
    let conv = graph.node(conv_value)?;
    let (Op::Conv(settings) | Op::DeformConv(DeformConv { conv: settings, .. })) = conv.op else {
        return None;
    };
    if uses.get(conv_value.0) != Some(&1) || !has_its_own(node, sharing) || !has_its_own(conv, sharing) {
        return None;
    }
    let parameter = |ids: &[ParameterId], at: usize| graph.parameter(*ids.get(at)?).cloned();
    let kernel = parameter(&conv.parameters, 0)?;
    let bias = parameter(&conv.parameters, 1).unwrap_or_else(|| bias_of(&kernel, settings.out));
    Some((conv_value, Fold { kernel, bias, was_biased: settings.bias, norm }))
}

fn bias_of(kernel: &Parameter, out: usize) -> Parameter {
    let module = kernel.name.strip_suffix("weight").unwrap_or(&kernel.name);
    Parameter { name: format!("{module}bias"), shape: vec![out], role: Role::Bias }
}

fn add_bias(graph: &mut Graph, conv: Value, fold: &Fold) {
    let id = ParameterId(graph.parameters.len());
    let Some(Node { op, parameters, module, .. }) = graph.nodes.get_mut(conv.0) else {
        return;
    };
    let (Op::Conv(settings) | Op::DeformConv(DeformConv { conv: settings, .. })) = op else {
        return;
    };
    if fold.was_biased {
        return;
    }
    settings.bias = true;
    parameters.push(id);
    graph.parameters.push(fold.bias.clone());
    if let Some(module) = graph.modules.get_mut(module.0) {
        module.parameters.push(id);
    }
}

/// Makes everything that used `norm` use `conv`, whose own result is not known any more.
fn redirect(graph: &mut Graph, norm: Value, conv: Value) {
    graph.taps.retain(|tap| tap.value != conv);
    let inputs = graph.nodes.iter_mut().flat_map(|node| &mut node.inputs);
    let taps = graph.taps.iter_mut().map(|tap| &mut tap.value);
    let outputs = graph.outputs.iter_mut().map(|(_, value)| value);
    for value in inputs.chain(taps).chain(outputs).filter(|value| **value == norm) {
        *value = conv;
    }
}

impl Folding {
    /// Number of folded pairs.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether nothing was folded.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Weights of the folded graph from those of the original: kernel * s and bias' = beta + (bias - mean) * s
    /// with s = gamma / sqrt(variance + epsilon), computed in f64 and rounded once.
    ///
    /// # Errors
    /// [`GraphError::Missing`] and [`GraphError::Mismatch`] for weights of the original graph.
    pub fn fold(&self, weights: &Weights) -> Result<Weights, GraphError> {
        let mut folded = weights.clone();
        for fold in &self.0 {
            let (kernel, bias) = fold.merged(weights)?;
            fold.norm.remove_from(&mut folded);
            folded.insert(&fold.kernel.name, kernel);
            folded.insert(&fold.bias.name, bias);
        }
        Ok(folded)
    }

    /// Weights of the original graph from those of the folded one: the kernel as it is, a batch norm that only
    /// adds the bias. Folding them again gives the same numbers.
    ///
    /// # Errors
    /// [`GraphError::Missing`] and [`GraphError::Mismatch`] for weights of the folded graph.
    pub fn unfold(&self, weights: &Weights) -> Result<Weights, GraphError> {
        let mut original = weights.clone();
        for fold in &self.0 {
            let bias = weights.of(&fold.bias)?.clone();
            let zeros = Array { data: vec![0.0; bias.data.len()], shape: bias.shape };
            match fold.was_biased {
                true => original.insert(&fold.bias.name, zeros),
                false => drop(original.remove(&fold.bias.name)),
            }
            fold.norm.set(&mut original, vec![1.0; bias.data.len()], bias.data);
        }
        Ok(original)
    }
}

impl Fold {
    /// The kernel and bias that do what convolution and batch norm did.
    fn merged(&self, weights: &Weights) -> Result<(Array, Array), GraphError> {
        let factors = self.norm.factors(weights)?;
        let own = match self.was_biased {
            true => weights.of(&self.bias)?.data.clone(),
            false => vec![0.0; factors.len()],
        };
        let bias = self.norm.shifts(weights, &own)?.into_iter().map(|shift| shift as f32);
        let bias = Array { shape: self.bias.shape.clone(), data: bias.collect() };
        let mut kernel = weights.of(&self.kernel)?.clone();
        let taps = (kernel.data.len() / factors.len().max(1)).max(1);
        for (row, factor) in kernel.data.chunks_mut(taps).zip(&factors) {
            row.iter_mut().for_each(|weight| *weight = (f64::from(*weight) * factor) as f32);
        }
        Ok((kernel, bias))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::{Activation, Conv};

    fn network() -> Graph {
        let graph = Graph::write([1, 3, 8, 6], |net, x| {
            let x = net.module("stem", |net| {
                let x = net.conv("0", x, Conv::same(4, 3));
                let x = net.batch_norm("1", x, 1e-3, 0.1);
                net.act("2", x, Activation::Relu)
            });
            let biased = net.conv("biased", x, Conv::pointwise(4).biased());
            let x = net.batch_norm("norm", biased, 1e-5, 0.1);
            let x = net.concat(&[x, x]);
            let alone = net.batch_norm("alone", x, 1e-5, 0.1);
            net.output("features", alone);
        });
        graph.unwrap()
    }

    #[test]
    fn folded_norms_leave_a_bias_and_their_tap() {
        let (folded, folding) = fold_batch_norms(&network());
        assert_eq!(folding.len(), 2);
        let names: Vec<&str> = folded.parameters().iter().map(|p| p.name.as_str()).collect();
        let expected = "stem.0.weight stem.0.bias biased.weight biased.bias alone.weight alone.bias \
                        alone.running_mean alone.running_var alone.num_batches_tracked";
        assert_eq!(names.join(" "), expected);
        let taps: Vec<&str> = folded.taps().iter().map(|tap| tap.path.as_str()).collect();
        assert_eq!(taps, ["input", "stem.1", "stem.2", "stem", "norm", "alone", "output.features"]);
    }

    #[test]
    fn folding_computes_what_the_norm_did_and_unfolding_brings_it_back() {
        let graph = network();
        let (folded, folding) = fold_batch_norms(&graph);
        let weights = Weights::fill(&graph, |parameter| vec![0.5; parameter.elements()]);
        let merged = folding.fold(&weights).unwrap();
        let scale = 0.5 / (0.5 + 1e-3_f64).sqrt();
        assert_eq!(merged.get("stem.0.weight").unwrap().data[0], (0.5 * scale) as f32);
        assert_eq!(merged.get("stem.0.bias").unwrap().data[0], (0.5 - 0.5 * scale) as f32);
        // The bias of the convolution equals the mean here.
        assert_eq!(merged.get("biased.bias").unwrap().data[0], 0.5);
        for parameter in folded.parameters() {
            merged.of(parameter).unwrap();
        }
        let unfolded = folding.unfold(&merged).unwrap();
        for parameter in graph.parameters() {
            unfolded.of(parameter).unwrap();
        }
        let again = folding.fold(&unfolded).unwrap();
        for (name, array) in merged.iter() {
            assert_eq!(again.get(name), Some(array), "{name}");
        }
    }
}
