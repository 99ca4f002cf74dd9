//! A batch norm with running statistics: a factor and a shift for each channel.

use crate::graph::ir::{Graph, Node, Parameter, ParameterId};
use crate::graph::{Array, GraphError, Op, Weights};

/// The parameters of a batch norm.
#[derive(Debug, Clone)]
pub(super) struct Norm {
    weight: Parameter,
    bias: Parameter,
    mean: Parameter,
    variance: Parameter,
    epsilon: f64,
}

impl Norm {
    /// Of a node, if it is one.
    pub(super) fn of(graph: &Graph, node: &Node) -> Option<Norm> {
        let Op::BatchNorm { epsilon, .. } = node.op else {
            return None;
        };
        let parameter = |at: usize| graph.parameter(*node.parameters.get(at)?).cloned();
        Some(Norm {
            weight: parameter(0)?,
            bias: parameter(1)?,
            mean: parameter(2)?,
            variance: parameter(3)?,
            epsilon,
        })
    }

    /// What every channel is multiplied by: weight / sqrt(variance + epsilon).
    pub(super) fn factors(&self, weights: &Weights) -> Result<Vec<f64>, GraphError> {
        let pairs = weights.of(&self.weight)?.data.iter().zip(&weights.of(&self.variance)?.data);
        let factor = |(weight, variance): (&f32, &f32)| {
            f64::from(*weight) / (f64::from(*variance) + self.epsilon).sqrt()
        };
        Ok(pairs.map(factor).collect())
    }

    /// What a channel becomes that is `own` everywhere.
    pub(super) fn shifts(&self, weights: &Weights, own: &[f32]) -> Result<Vec<f64>, GraphError> {
        let pairs = weights.of(&self.bias)?.data.iter().zip(&weights.of(&self.mean)?.data);
        let channels = pairs.zip(own).zip(self.factors(weights)?);
        let shift = |(((bias, mean), own), factor): (((&f32, &f32), &f32), f64)| {
            f64::from(*bias) + (f64::from(*own) - f64::from(*mean)) * factor
        };
        Ok(channels.map(shift).collect())
    }

    /// Takes its parameters and its counter out of `weights`.
    pub(super) fn remove_from(&self, weights: &mut Weights) {
        for parameter in [&self.weight, &self.bias, &self.mean, &self.variance] {
            weights.remove(&parameter.name);
        }
        weights.remove(&self.batch_count());
    }

    /// Sets its parameters to what multiplies by `factors` and adds `bias`. Mean 0 and variance 1 - epsilon: the
    /// factors come out again to within 2^-26, so that a product with one of them that is rounded to f32 is exact.
    pub(super) fn set(&self, weights: &mut Weights, factors: Vec<f32>, bias: Vec<f32>) {
        let channels = bias.len();
        let array = |data: Vec<f32>| Array { shape: vec![channels], data };
        weights.insert(&self.weight.name, array(factors));
        weights.insert(&self.bias.name, array(bias));
        weights.insert(&self.mean.name, array(vec![0.0; channels]));
        weights.insert(&self.variance.name, array(vec![(1.0 - self.epsilon) as f32; channels]));
        weights.insert(self.batch_count(), Array { shape: Vec::new(), data: vec![0.0] });
    }

    fn batch_count(&self) -> String {
        let module = self.mean.name.strip_suffix("running_mean").unwrap_or(&self.mean.name);
        format!("{module}num_batches_tracked")
    }
}

/// How many nodes use each parameter.
pub(super) fn parameter_uses(graph: &Graph) -> Vec<usize> {
    let mut uses = vec![0; graph.parameters.len()];
    for id in graph.nodes.iter().flat_map(|node| &node.parameters) {
        if let Some(count) = uses.get_mut(id.0) {
            *count += 1;
        }
    }
    uses
}

/// Whether no other node uses the parameters of this one.
pub(super) fn has_its_own(node: &Node, parameter_uses: &[usize]) -> bool {
    let alone = |id: &ParameterId| parameter_uses.get(id.0) == Some(&1);
    node.parameters.iter().all(alone)
}
