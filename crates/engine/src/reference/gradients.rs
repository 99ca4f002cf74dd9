//! Gradients of a whole graph by candle's autograd.

use std::collections::BTreeMap;

use candle_core::Var;

use super::executor::Executor;
use super::handle::{Handle, array, fault, tensor};
use super::node::{NodeGradients, Wanted, backward};
use super::run::Outputs;
use crate::error::RuntimeError;
use network::element::Element;
use network::graph::{Array, Node, Parameter};

impl<T: Element> Executor<'_, T> {
    /// Runs the graph and keeps what gradients are made of. Running statistics move where a norm uses those of the
    /// batch.
    ///
    /// # Errors
    /// As [`Executor::run`].
    pub fn forward(&self, input: &Array<T>) -> Result<Forward<T>, RuntimeError> {
        let input = Var::from_tensor(&Handle::<T>::of(input)?.tensor).map_err(fault)?;
        let mut run = self.start_with(input.as_tensor().clone());
        for (value, node) in self.graph.values() {
            run.step(value, node)?;
        }
        Ok(Forward { input, outputs: run.finish()?, trained: self.trained() })
    }

    /// The parameters that have gradients, by name.
    fn trained(&self) -> Vec<(String, Var)> {
        let ids = self.graph.parameter_ids().into_iter();
        let trained = ids.filter(|(_, id)| is_trainable(self.graph.parameter(*id)));
        let variable = |(name, id): (&str, _)| Some((name.to_owned(), self.parameters.variable(id)?.clone()));
        trained.filter_map(variable).collect()
    }

    /// All gradients of one node for given inputs, given that of its result; of buffers there is none. Batch norms use
    /// running statistics.
    ///
    /// # Errors
    /// An operator that fails, with the path of its module.
    pub fn gradients(
        &self,
        node: &Node,
        inputs: &[Array<T>],
        gradient: &Array<T>,
    ) -> Result<NodeGradients<T>, RuntimeError> {
        let parameters = node.parameters.iter().map(|id| self.parameters.array(*id));
        let parameters = parameters.collect::<Result<Vec<_>, _>>()?;
        let trained = node.parameters.iter().map(|id| is_trainable(self.graph.parameter(*id)));
        let trained: Vec<bool> = trained.collect();
        let wanted = Wanted { inputs: &vec![true; inputs.len()], parameters: &trained };
        backward(self.graph, node, inputs, &parameters, gradient, wanted)
    }
}

fn is_trainable(parameter: Option<&Parameter>) -> bool {
    parameter.is_some_and(|parameter| parameter.role.is_trainable())
}

/// A run whose gradients can be asked for.
#[derive(Debug)]
pub struct Forward<T = f32> {
    input: Var,
    outputs: Outputs<T>,
    /// The parameters that have gradients, by name.
    trained: Vec<(String, Var)>,
}

/// Gradients of a network.
#[derive(Debug, Clone, PartialEq)]
pub struct Gradients<T = f32> {
    /// Of the parameters that are trained, by name; of those that no output with a gradient depends on there is none.
    pub parameters: BTreeMap<String, Array<T>>,
    /// Of the input; `None` when no output with a gradient depends on it.
    pub input: Option<Array<T>>,
}

impl<T: Element> Forward<T> {
    /// The output of this name.
    ///
    /// # Errors
    /// A name that the network has no output of.
    pub fn output(&self, name: &str) -> Result<Array<T>, RuntimeError> {
        self.outputs.output(name)
    }

    /// The gradients, given those of outputs by name, row-major; an output that is not named has none.
    ///
    /// # Errors
    /// A name that the network has no output of, or a gradient of another size than its output.
    pub fn backward(&self, gradients: &[(&str, &[T])]) -> Result<Gradients<T>, RuntimeError> {
        let mut sums = Vec::new();
        for (name, gradient) in gradients {
            let output = self.outputs.handle(name)?;
            let shape = output.shape().to_vec();
            if gradient.len() != shape.iter().product::<usize>() {
                return Err(RuntimeError::Input { expected: shape, found: vec![gradient.len()] });
            }
            let gradient = tensor(&Array { shape, data: gradient.to_vec() }).map_err(fault)?;
            let sum = (&output.tensor * gradient).and_then(|product| product.sum_all()).map_err(fault)?;
            sums.push(sum);
        }
        self.gradients_of_sum(sums)
    }

    /// The gradients of the sum of some numbers.
    fn gradients_of_sum(&self, sums: Vec<candle_core::Tensor>) -> Result<Gradients<T>, RuntimeError> {
        let mut gradients = Gradients { parameters: BTreeMap::new(), input: None };
        let Some(sum) = sums.into_iter().map(Ok).reduce(|left, right| left? + right?) else {
            return Ok(gradients);
        };
        let found = sum.and_then(|sum| sum.backward()).map_err(fault)?;
        let gradient = |variable: &Var| found.get(variable).map(array).transpose().map_err(fault);
        gradients.input = gradient(&self.input)?;
        for (name, variable) in &self.trained {
            if let Some(gradient) = gradient(variable)? {
                gradients.parameters.insert(name.clone(), gradient);
            }
        }
        Ok(gradients)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reference::Parameters;
    use crate::statistics::NormStatistics;
    use network::graph::{Conv, Graph, Weights};

    /// A convolution with a norm, and one on its own.
    fn graph() -> Graph {
        let written = Graph::write([2, 1, 1, 1], |net, x| {
            let left = net.conv("left", x, Conv::pointwise(1));
            let normal = net.batch_norm("norm", left, 1e-5, 0.1);
            net.output("left", normal);
            let right = net.conv("right", x, Conv::pointwise(1).biased());
            net.output("right", right);
        });
        written.unwrap()
    }

    #[test]
    fn gradients_are_those_of_the_outputs_that_have_one() {
        let graph = graph();
        let weights = Weights::fill(&graph, |parameter| vec![2.0; parameter.elements()]);
        let parameters = Parameters::<f64>::trainable(&graph, &weights).unwrap();
        let executor = Executor::new(&graph, &parameters, NormStatistics::Running);
        let forward = executor.forward(&Array { shape: vec![2, 1, 1, 1], data: vec![3.0, 5.0] }).unwrap();
        assert_eq!(forward.output("right").unwrap().data, [8.0, 12.0]);
        let gradients = forward.backward(&[("right", &[1.0, 10.0])]).unwrap();
        let found: Vec<_> =
            gradients.parameters.iter().map(|(name, one)| (name.as_str(), one.data[0])).collect();
        assert_eq!(found, [("right.bias", 11.0), ("right.weight", 53.0)]);
        assert_eq!(gradients.input.unwrap().data, [2.0, 20.0]);
        assert!(matches!(forward.backward(&[("preds", &[])]), Err(RuntimeError::NoOutput { .. })));
        assert!(matches!(forward.backward(&[("left", &[1.0])]), Err(RuntimeError::Input { .. })));
        assert_eq!(forward.backward(&[]).unwrap().input, None);
    }

    /// Each module for itself, and only what is trained has a gradient.
    #[test]
    fn statistics_move_where_the_batch_is_used() {
        let graph = graph();
        let weights = Weights::fill(&graph, |parameter| vec![1.0; parameter.elements()]);
        let is_norm = |parameter: &Parameter| parameter.name.starts_with("norm");
        let input = Array { shape: vec![2, 1, 1, 1], data: vec![3.0, 5.0] };
        for (statistics, mean, variance) in
            [(NormStatistics::Batch, 1.3, 1.1), (NormStatistics::Running, 1.0, 1.0)]
        {
            let parameters = Parameters::<f64>::trained(&graph, &weights, is_norm).unwrap();
            let of_module =
                |path: &str| if path == "norm" { statistics } else { panic!("{path} is no norm") };
            let executor = Executor::with_statistics(&graph, &parameters, &of_module);
            let gradients = executor.forward(&input).unwrap().backward(&[("left", &[1.0, 1.0])]).unwrap();
            assert_eq!(gradients.parameters.keys().collect::<Vec<_>>(), ["norm.bias", "norm.weight"]);
            let ids = graph.parameter_ids();
            let now = |name: &str| parameters.array(ids[name]).unwrap().data[0];
            assert!((now("norm.running_mean") - mean).abs() < 1e-12);
            assert!((now("norm.running_var") - variance).abs() < 1e-12);
        }
    }
}
