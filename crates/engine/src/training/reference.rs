//! Nodes without a kernel: by the reference executor, forward and backward.

use candle_core::{DType, Device, Tensor, Var};

use super::place::Place;
use super::step::{State, Step, Sum};
use crate::kernels::channels_last::aligned::Aligned;
use crate::reference::Parameters;
use crate::{Executor, NormStatistics, RuntimeError, array_tensor};
use network::graph::{Graph, Node, Value, Weights};

/// The graph with the parameters of those nodes that the reference executor runs.
#[derive(Debug)]
pub(super) struct Reference {
    graph: Graph,
    parameters: Parameters,
}

impl Reference {
    pub(super) fn new(
        graph: &Graph,
        weights: &Weights,
        is_chosen: impl Fn(Value) -> bool,
    ) -> Result<Reference, RuntimeError> {
        let parameters = Parameters::variables_of_nodes(graph, weights, DType::F32, is_chosen)?;
        Ok(Reference { graph: graph.clone(), parameters })
    }

    pub(super) fn graph(&self) -> &Graph {
        &self.graph
    }
}

impl State {
    pub(super) fn forward_by_reference(&mut self, step: &Step) -> Result<(), RuntimeError> {
        let Some(node) = self.reference.graph.node(step.value) else { return Ok(()) };
        self.refresh(node)?;
        let inputs = self.tensors(node, &step.operands)?;
        let executor =
            Executor::new(&self.reference.graph, &self.reference.parameters, NormStatistics::Running);
        let result = executor.apply(node, &inputs)?.detach();
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
        let Some(node) = self.reference.graph.node(step.value) else { return Ok(()) };
        self.refresh(node)?;
        let (gradient, inputs) =
            step.operands.split_last().map_or((None, &[][..]), |(last, rest)| (Some(last), rest));
        let inputs = self.tensors(node, inputs)?;
        let inputs = inputs.iter().map(Var::from_tensor).collect::<candle_core::Result<Vec<Var>>>()?;
        let Some(gradient) = gradient else { return Ok(()) };
        let gradient = tensor(&self.buffers, gradient, &node.shape)?;
        let executor =
            Executor::new(&self.reference.graph, &self.reference.parameters, NormStatistics::Running);
        let taken: Vec<Tensor> = inputs.iter().map(|input| input.as_tensor().clone()).collect();
        let result = executor.apply(node, &taken)?;
        let gradients = (result * gradient)?.sum_all()?.backward()?;
        for (target, input) in step.targets.iter().zip(&inputs) {
            if let (Some(target), Some(gradient)) = (target, gradients.get(input)) {
                write(&mut self.buffers, &target.place, gradient, target.add)?;
            }
        }
        for (sum, id) in sums.iter().zip(&node.parameters) {
            let variable = self.reference.parameters.variable(*id);
            let gradient = variable.and_then(|variable| gradients.get(variable));
            let (Some(sum), Some(gradient)) = (sum, gradient) else { continue };
            let numbers = gradient.flatten_all()?.to_vec1::<f32>()?;
            if let Some(own) = self.learned.get_mut(sum.parameter) {
                own.put_gradient(&numbers, sum.add);
            }
        }
        Ok(())
    }

    /// Gives the variables of a node the numbers of its parameters.
    fn refresh(&self, node: &Node) -> Result<(), RuntimeError> {
        for id in &node.parameters {
            if let (Some(variable), Some(own)) =
                (self.reference.parameters.variable(*id), self.learned.get(id.index()))
            {
                let array = network::graph::Array { shape: own.parameter.shape.clone(), data: own.numbers() };
                variable.set(&array_tensor(&array, DType::F32)?)?;
            }
        }
        Ok(())
    }

    fn tensors(&self, node: &Node, places: &[Place]) -> Result<Vec<Tensor>, RuntimeError> {
        let inputs = places.iter().zip(&node.inputs).map(|(place, input)| {
            let shape = self.reference.graph.node(*input).map(|node| node.shape.as_slice());
            tensor(&self.buffers, place, shape.unwrap_or_default())
        });
        inputs.collect()
    }
}

fn tensor(buffers: &[Aligned], place: &Place, shape: &[usize]) -> Result<Tensor, RuntimeError> {
    let mut numbers = vec![0.0; place.elements()];
    place.read(buffers.get(place.buffer).map(Aligned::floats).unwrap_or_default(), &mut numbers);
    Ok(Tensor::from_vec(numbers, shape, &Device::Cpu)?)
}

fn write(buffers: &mut [Aligned], place: &Place, result: &Tensor, add: bool) -> Result<(), RuntimeError> {
    let numbers = result.flatten_all()?.to_vec1::<f32>()?;
    if let Some(buffer) = buffers.get_mut(place.buffer) {
        place.write(&numbers, buffer.floats_mut(), add);
    }
    Ok(())
}
