//! Nodes that have no kernel here: by the reference, forward and backward.

use std::sync::Arc;

use super::Lower;
use super::backward::Backward;
use super::step::{Reads, Step, SumTarget, Target, Tools, Work, Write, Writes, floats};
use crate::RuntimeError;
use crate::cpu::aligned::Aligned;
use crate::cpu::place::{Form, Part, Place};
use crate::reference::node::{self, Wanted};
use network::graph::{Array, Graph, Node, Value};

/// A node that the reference runs.
#[derive(Debug, Clone)]
pub(crate) struct Reference {
    node: Value,
    /// How the operands lie.
    forms: Vec<(Form, Vec<usize>)>,
    parameters: Parameters,
}

/// Where a node's parameters are.
#[derive(Debug, Clone)]
enum Parameters {
    /// In the store, in the node's order.
    Stored(Vec<usize>),
    /// Here, for good.
    Constant(Arc<Vec<Array>>),
}

/// Has the reference run a node.
pub(super) fn by_reference(lower: &mut Lower<'_>, value: Value, node: &Node) -> Result<(), RuntimeError> {
    let places: Vec<Place> = node.inputs.iter().map(|input| lower.place(*input)).collect::<Result<_, _>>()?;
    let parameters = match lower.is_packed() {
        true => Parameters::Constant(Arc::new(lower.arrays(node)?)),
        false => Parameters::Stored(node.parameters.iter().map(|id| id.index()).collect()),
    };
    let reads = places.iter().map(Place::span).collect();
    let forms = places.into_iter().map(|place| (place.form, rebased(&place))).collect();
    let to = Place::row_major(lower.buffer(node.shape.iter().product()), &node.shape);
    let reference = Reference { node: value, forms, parameters };
    lower.push(value, Write::Reference(reference), reads, to.span());
    lower.settle(value, to);
    Ok(())
}

/// The positions of channels from the first of a span on.
fn rebased(place: &Place) -> Vec<usize> {
    let first = place.span().channel;
    place.positions.iter().map(|position| position - first).collect()
}

impl Reference {
    pub(crate) fn run(
        &self,
        tools: &mut Tools<'_>,
        reads: Reads<'_>,
        to: Writes<'_>,
    ) -> Result<(), RuntimeError> {
        let node = self.node(tools.graph)?;
        let inputs = self.inputs(tools.graph, node, reads)?;
        let result = node::forward(tools.graph, node, &inputs, &self.parameters(tools)?)?;
        let (floats, ..) = to.target();
        floats.iter_mut().zip(&result.data).for_each(|(slot, number)| *slot = *number);
        Ok(())
    }

    /// Gives the gradient of the result on to inputs and parameters.
    pub(super) fn backward(&self, backward: &mut Backward<'_, '_>, step: &Step, gradient: Part) {
        let targets = step.reads.iter().map(|part| backward.wants(*part).then(|| backward.slot(*part)));
        let targets = targets.collect();
        let parameters = match &self.parameters {
            Parameters::Stored(parameters) => parameters.as_slice(),
            Parameters::Constant(_) => &[],
        };
        let sums = parameters.iter().map(|parameter| backward.sum(*parameter)).collect();
        let gradient = backward.packed(step.value, gradient);
        let reads = step.reads.iter().copied().chain([gradient]).collect();
        let work = Work::Differentiate { node: self.clone(), targets, sums };
        backward.push_step(Step { value: step.value, reads, work });
    }

    pub(crate) fn differentiate(
        &self,
        reads: Reads<'_>,
        (targets, sums): (&[Option<Target>], &[Option<SumTarget>]),
        tools: &mut Tools<'_>,
    ) -> Result<Vec<Vec<f32>>, RuntimeError> {
        let node = self.node(tools.graph)?;
        let inputs = self.inputs(tools.graph, node, reads)?;
        let result = Place::row_major(0, &node.shape);
        let gradient = array(&result, floats(reads.buffers(), reads.part(inputs.len())?)?, &node.shape);
        let [inputs_wanted, parameters_wanted] = [
            targets.iter().map(Option::is_some).collect::<Vec<bool>>(),
            sums.iter().map(Option::is_some).collect(),
        ];
        let wanted = Wanted { inputs: &inputs_wanted, parameters: &parameters_wanted };
        let parameters = self.parameters(tools)?;
        let gradients = node::backward(tools.graph, node, &inputs, &parameters, &gradient, wanted)?;
        for (sum, gradient) in sums.iter().zip(&gradients.parameters) {
            if let (Some(SumTarget { parameter, add }), Some(gradient)) = (sum, gradient) {
                tools.store.put_gradient(*parameter, &gradient.data, *add)?;
            }
        }
        Ok(gradients
            .inputs
            .into_iter()
            .map(|gradient| gradient.map_or_else(Vec::new, |array| array.data))
            .collect())
    }

    /// Adds what [`Reference::differentiate`] gave to the gradients of the inputs.
    pub(crate) fn give(
        &self,
        targets: &[Option<Target>],
        gradients: &[Vec<f32>],
        buffers: &mut [Aligned],
    ) -> Result<(), RuntimeError> {
        for ((target, gradient), (form, positions)) in targets.iter().zip(gradients).zip(&self.forms) {
            let Some(Target { part, add }) = target else { continue };
            let missing = || RuntimeError::internal("", "a gradient has no buffer");
            let buffer = buffers.get_mut(part.buffer).ok_or_else(missing)?;
            let place = placed(*part, *form, positions);
            let mut sum = vec![0.0; gradient.len()];
            if *add {
                place.read(buffer.floats(), &mut sum);
            }
            sum.iter_mut().zip(gradient).for_each(|(sum, number)| *sum += number);
            place.write(&sum, buffer.floats_mut());
        }
        Ok(())
    }

    fn node<'g>(&self, graph: &'g Graph) -> Result<&'g Node, RuntimeError> {
        graph.node(self.node).ok_or_else(|| RuntimeError::internal("", "a node is not in the graph"))
    }

    fn inputs(&self, graph: &Graph, node: &Node, reads: Reads<'_>) -> Result<Vec<Array>, RuntimeError> {
        let inputs =
            self.forms.iter().zip(&node.inputs).enumerate().map(|(index, ((form, positions), input))| {
                let part = reads.part(index)?;
                let shape = graph.node(*input).map(|node| node.shape.as_slice()).unwrap_or_default();
                Ok(array(&placed(part, *form, positions), floats(reads.buffers(), part)?, shape))
            });
        inputs.collect()
    }

    fn parameters(&self, tools: &Tools<'_>) -> Result<Vec<Array>, RuntimeError> {
        match &self.parameters {
            Parameters::Stored(parameters) => {
                parameters.iter().map(|parameter| tools.store.array(*parameter)).collect()
            }
            Parameters::Constant(arrays) => Ok(arrays.to_vec()),
        }
    }
}

fn placed(part: Part, form: Form, positions: &[usize]) -> Place {
    let positions = positions.iter().map(|position| part.channel + position).collect();
    Place { buffer: part.buffer, form, grid: part.grid, positions }
}

fn array(place: &Place, floats: &[f32], shape: &[usize]) -> Array {
    let mut data = vec![0.0; shape.iter().product()];
    place.read(floats, &mut data);
    Array { shape: shape.to_vec(), data }
}
