//! Nodes without a kernel: by the reference executor, forward and backward.

use super::place::Place;
use super::step::{State, Step, Sum};
use crate::RuntimeError;
use crate::kernels::channels_last::aligned::Aligned;
use crate::reference::node::{Wanted, backward, forward};
use network::graph::{Array, Graph, Node};

/// The graph whose nodes the reference executor runs.
#[derive(Debug)]
pub(super) struct Reference {
    graph: Graph,
}

impl Reference {
    pub(super) fn new(graph: &Graph) -> Reference {
        Reference { graph: graph.clone() }
    }

    pub(super) fn graph(&self) -> &Graph {
        &self.graph
    }

    fn node(&self, step: &Step) -> Result<&Node, RuntimeError> {
        let missing = || RuntimeError::internal("", "a step for a node that is not in the graph");
        self.graph.node(step.value).ok_or_else(missing)
    }
}

impl State {
    pub(super) fn forward_by_reference(&mut self, step: &Step) -> Result<(), RuntimeError> {
        let node = self.reference.node(step)?;
        let inputs = self.arrays(node, &step.operands)?;
        let result = forward(&self.reference.graph, node, &inputs, &self.parameters(node)?)?;
        if let Some(Some(target)) = step.targets.first() {
            write(&mut self.buffers, &target.place, &result, target.add)?;
        }
        Ok(())
    }

    pub(super) fn backward_by_reference(
        &mut self,
        step: &Step,
        sums: &[Option<Sum>],
    ) -> Result<(), RuntimeError> {
        let node = self.reference.node(step)?;
        let Some((gradient, inputs)) = step.operands.split_last() else {
            return Err(RuntimeError::internal(self.reference.graph.path(node), "there is no gradient"));
        };
        let inputs = self.arrays(node, inputs)?;
        let gradient = array(&self.buffers, gradient, &node.shape)?;
        let parameters = self.parameters(node)?;
        let of_inputs: Vec<bool> = (0..inputs.len()).map(|at| is_some(&step.targets, at)).collect();
        let of_parameters: Vec<bool> = (0..parameters.len()).map(|at| is_some(sums, at)).collect();
        let wanted = Wanted { inputs: &of_inputs, parameters: &of_parameters };
        let gradients = backward(&self.reference.graph, node, &inputs, &parameters, &gradient, wanted)?;
        for (target, gradient) in step.targets.iter().zip(&gradients.inputs) {
            if let (Some(target), Some(gradient)) = (target, gradient) {
                write(&mut self.buffers, &target.place, gradient, target.add)?;
            }
        }
        for (sum, gradient) in sums.iter().zip(&gradients.parameters) {
            let (Some(sum), Some(gradient)) = (sum, gradient) else { continue };
            let missing = || RuntimeError::internal("", "a gradient of a parameter that is not there");
            self.learned.get_mut(sum.parameter).ok_or_else(missing)?.put_gradient(&gradient.data, sum.add);
        }
        Ok(())
    }

    fn parameters(&self, node: &Node) -> Result<Vec<Array>, RuntimeError> {
        let missing =
            || RuntimeError::internal(self.reference.graph.path(node), "a parameter that is not there");
        let parameters = node.parameters.iter().map(|id| {
            let own = self.learned.get(id.index()).ok_or_else(missing)?;
            Ok(Array { shape: own.parameter.shape.clone(), data: own.numbers() })
        });
        parameters.collect()
    }

    fn arrays(&self, node: &Node, places: &[Place]) -> Result<Vec<Array>, RuntimeError> {
        let missing =
            || RuntimeError::internal(self.reference.graph.path(node), "an operand that is nowhere");
        let inputs = places.iter().zip(&node.inputs).map(|(place, input)| {
            let input = self.reference.graph.node(*input).ok_or_else(missing)?;
            array(&self.buffers, place, &input.shape)
        });
        inputs.collect()
    }
}

fn is_some<T>(options: &[Option<T>], at: usize) -> bool {
    options.get(at).is_some_and(Option::is_some)
}

fn array(buffers: &[Aligned], place: &Place, shape: &[usize]) -> Result<Array, RuntimeError> {
    let missing = || RuntimeError::internal("", "a value in a buffer that is not there");
    let mut data = vec![0.0; place.elements()];
    place.read(buffers.get(place.buffer).ok_or_else(missing)?.floats(), &mut data);
    Ok(Array { shape: shape.to_vec(), data })
}

fn write(buffers: &mut [Aligned], place: &Place, result: &Array, add: bool) -> Result<(), RuntimeError> {
    let missing = || RuntimeError::internal("", "a value in a buffer that is not there");
    let buffer = buffers.get_mut(place.buffer).ok_or_else(missing)?;
    place.write(&result.data, buffer.floats_mut(), add);
    Ok(())
}
