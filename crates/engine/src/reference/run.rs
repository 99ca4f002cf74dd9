//! A run of a graph, node by node.

use std::collections::HashMap;

use candle_core::Tensor;

use super::executor::Executor;
use super::handle::Handle;
use crate::error::RuntimeError;
use network::element::Element;
use network::graph::{Array, Node, Op, Value};

impl<'a, T: Element> Executor<'a, T> {
    /// Runs the graph. A value is freed after its last use.
    ///
    /// # Errors
    /// An input of another shape, or an operator that fails, with the path of its module.
    pub fn run(&self, input: &Array<T>) -> Result<Outputs<T>, RuntimeError> {
        self.observe(input, |_, _| Ok(()))
    }

    /// Runs the graph and shows every node's value to `observer`, in order.
    ///
    /// # Errors
    /// As [`Executor::run`], and those of the observer.
    pub fn observe(
        &self,
        input: &Array<T>,
        mut observer: impl FnMut(Value, &Handle<T>) -> Result<(), RuntimeError>,
    ) -> Result<Outputs<T>, RuntimeError> {
        let mut run = self.start(input)?;
        for (value, node) in self.graph.values() {
            observer(value, &run.step(value, node)?)?;
        }
        run.finish()
    }

    /// Begins a run that goes on node by node.
    ///
    /// # Errors
    /// Numbers of the input that do not fill its shape.
    pub fn start(&self, input: &Array<T>) -> Result<Run<'a, T>, RuntimeError> {
        Ok(self.start_with(Handle::<T>::of(input)?.tensor))
    }

    pub(super) fn start_with(&self, input: Tensor) -> Run<'a, T> {
        Run { executor: *self, input, uses: self.graph.uses(), values: HashMap::new() }
    }
}

/// A run in progress.
pub struct Run<'a, T = f32> {
    executor: Executor<'a, T>,
    input: Tensor,
    /// How often each value is used in all.
    uses: Vec<usize>,
    /// What was computed and is still to be used.
    values: HashMap<Value, Kept>,
}

struct Kept {
    tensor: Tensor,
    /// How often it is still to be used.
    left: usize,
}

impl<T: Element> Run<'_, T> {
    /// Computes the next node of [`Graph::values`](network::graph::Graph::values), and frees what it was the last to
    /// use.
    ///
    /// # Errors
    /// As [`Executor::run`], and a node out of order.
    pub fn step(&mut self, value: Value, node: &Node) -> Result<Handle<T>, RuntimeError> {
        let result = match node.op {
            Op::Input => self.input(node)?,
            _ => self.executor.result(node, &self.taken(node)?)?,
        };
        node.inputs.iter().for_each(|used| self.release(*used));
        match self.uses.get(value.index()) {
            Some(0) => {}
            Some(left) => {
                self.values.insert(value, Kept { tensor: result.clone(), left: *left });
            }
            None => return Err(self.fault(node, "it is not a node of this graph")),
        }
        Ok(Handle::new(result))
    }

    /// The outputs, once every node was computed.
    ///
    /// # Errors
    /// An output that was not.
    pub fn finish(self) -> Result<Outputs<T>, RuntimeError> {
        let output = |(name, value): &(String, Value)| match self.values.get(value) {
            Some(kept) => Ok((name.clone(), Handle::new(kept.tensor.clone()))),
            None => Err(RuntimeError::internal("", format!("output {name} was not computed"))),
        };
        let outputs = self.executor.graph.outputs().iter();
        Ok(Outputs(outputs.map(output).collect::<Result<_, _>>()?))
    }

    fn input(&self, node: &Node) -> Result<Tensor, RuntimeError> {
        if self.input.dims() != node.shape {
            let (expected, found) = (node.shape.clone(), self.input.dims().to_vec());
            return Err(RuntimeError::Input { expected, found });
        }
        Ok(self.input.clone())
    }

    fn taken(&self, node: &Node) -> Result<Vec<Tensor>, RuntimeError> {
        let value = |value: &Value| self.values.get(value).map(|kept| kept.tensor.clone());
        let tensors = node.inputs.iter().map(value).collect::<Option<_>>();
        tensors.ok_or_else(|| self.fault(node, "a value is used before it is computed"))
    }

    fn release(&mut self, value: Value) {
        if let Some(kept) = self.values.get_mut(&value) {
            kept.left -= 1;
            if kept.left == 0 {
                self.values.remove(&value);
            }
        }
    }

    fn fault(&self, node: &Node, what: &str) -> RuntimeError {
        RuntimeError::internal(self.executor.graph.path(node), what)
    }
}

/// Outputs of a run by name.
#[derive(Debug, Clone)]
pub struct Outputs<T = f32>(Vec<(String, Handle<T>)>);

impl<T: Element> Outputs<T> {
    /// The output of this name.
    ///
    /// # Errors
    /// A name that the network has no output of.
    pub fn output(&self, name: &str) -> Result<Array<T>, RuntimeError> {
        self.handle(name)?.array()
    }

    pub(super) fn handle(&self, name: &str) -> Result<&Handle<T>, RuntimeError> {
        let found = self.0.iter().find(|(output, _)| output == name).map(|(_, handle)| handle);
        found.ok_or_else(|| RuntimeError::NoOutput {
            name: name.to_owned(),
            outputs: self.0.iter().map(|(name, _)| name.clone()).collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reference::Parameters;
    use crate::statistics::NormStatistics;
    use network::graph::{Activation, Graph, Weights};

    fn graph() -> Graph {
        let written = Graph::write([1, 3, 2, 2], |net, x| {
            let x = net.activation(x, Activation::Relu);
            let x = net.add(x, x);
            net.output("doubled", x);
        });
        written.unwrap()
    }

    fn run<T: Element>(input: &Array<T>) -> Result<Outputs<T>, RuntimeError> {
        let graph = graph();
        let parameters = Parameters::frozen(&graph, &Weights::default())?;
        Executor::new(&graph, &parameters, NormStatistics::Running).run(input)
    }

    #[test]
    fn a_name_without_an_output_is_an_error() {
        let data = (0..12).map(|number| f64::from(number) - 6.0).collect();
        let outputs = run(&Array { shape: vec![1, 3, 2, 2], data }).unwrap();
        let doubled = outputs.output("doubled").unwrap();
        assert_eq!(doubled.data, [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 2.0, 4.0, 6.0, 8.0, 10.0]);
        let error = outputs.output("preds").unwrap_err().to_string();
        assert_eq!(error, "preds: the network has no output of this name; it has doubled");
    }

    #[test]
    fn inputs_of_another_shape_are_refused() {
        let error = run(&Array { shape: vec![1, 3, 2, 1], data: vec![0.0_f32; 6] }).unwrap_err();
        assert!(matches!(error, RuntimeError::Input { .. }), "{error}");
    }

    #[test]
    fn nodes_out_of_order_are_refused() {
        let graph = graph();
        let parameters = Parameters::<f32>::frozen(&graph, &Weights::default()).unwrap();
        let executor = Executor::new(&graph, &parameters, NormStatistics::Running);
        let mut run = executor.start(&Array { shape: vec![1, 3, 2, 2], data: vec![0.0; 12] }).unwrap();
        let (value, node) = graph.values().nth(1).unwrap();
        let error = run.step(value, node).unwrap_err().to_string();
        assert_eq!(error, "the network: a value is used before it is computed");
        let error = run.finish().unwrap_err().to_string();
        assert_eq!(error, "the network: output doubled was not computed");
    }
}
