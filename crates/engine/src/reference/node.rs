//! One node on its own, with parameters that are given: for whoever has no kernel for it.

use candle_core::backprop::GradStore;
use candle_core::{Tensor, Var, bail};

use super::compute::compute;
use super::handle::{array, failed, tensor};
use crate::error::RuntimeError;
use network::element::Element;
use network::graph::{Array, Graph, Node};

/// Which gradients of a node are wanted, in the order of its inputs and of its parameters.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted<'a> {
    pub(crate) inputs: &'a [bool],
    pub(crate) parameters: &'a [bool],
}

/// Gradients of a node, in the order of its inputs and of its parameters; `None` where one is not wanted.
#[derive(Debug, Clone, PartialEq)]
pub struct NodeGradients<T = f32> {
    /// Of the inputs, each for itself where one value is taken twice.
    pub inputs: Vec<Option<Array<T>>>,
    /// Of the parameters.
    pub parameters: Vec<Option<Array<T>>>,
}

/// The result of a node. Batch norms use running statistics.
///
/// # Errors
/// An operator that fails, with the path of its module.
pub(crate) fn forward<T: Element>(
    graph: &Graph,
    node: &Node,
    inputs: &[Array<T>],
    parameters: &[Array<T>],
) -> Result<Array<T>, RuntimeError> {
    let result = || array(&compute(node, &tensors(inputs)?, &tensors(parameters)?, None)?);
    result().map_err(failed(graph, node))
}

/// The gradients of a node that are wanted, given that of its result. Batch norms use running statistics.
///
/// # Errors
/// An operator that fails, or one through which no gradient flows to something that is wanted, with the path of its
/// module.
pub(crate) fn backward<T: Element>(
    graph: &Graph,
    node: &Node,
    inputs: &[Array<T>],
    parameters: &[Array<T>],
    gradient: &Array<T>,
    wanted: Wanted<'_>,
) -> Result<NodeGradients<T>, RuntimeError> {
    let gradients = || {
        let inputs = Operands::of(inputs, wanted.inputs)?;
        let parameters = Operands::of(parameters, wanted.parameters)?;
        let result = compute(node, &inputs.tensors, &parameters.tensors, None)?;
        let found = (result * tensor(gradient)?)?.sum_all()?.backward()?;
        Ok(NodeGradients { inputs: inputs.gradients(&found)?, parameters: parameters.gradients(&found)? })
    };
    gradients().map_err(failed(graph, node))
}

fn tensors<T: Element>(arrays: &[Array<T>]) -> candle_core::Result<Vec<Tensor>> {
    arrays.iter().map(tensor).collect()
}

/// Inputs or parameters; those whose gradients are wanted are variables.
struct Operands {
    tensors: Vec<Tensor>,
    variables: Vec<Option<Var>>,
}

impl Operands {
    fn of<T: Element>(arrays: &[Array<T>], wanted: &[bool]) -> candle_core::Result<Operands> {
        if arrays.len() != wanted.len() {
            bail!("gradients of {} operands are asked for where there are {}", wanted.len(), arrays.len());
        }
        let mut operands = Operands { tensors: tensors(arrays)?, variables: Vec::new() };
        for (operand, is_wanted) in operands.tensors.iter_mut().zip(wanted) {
            let variable = is_wanted.then(|| Var::from_tensor(operand)).transpose()?;
            if let Some(variable) = &variable {
                *operand = variable.as_tensor().clone();
            }
            operands.variables.push(variable);
        }
        Ok(operands)
    }

    fn gradients<T: Element>(&self, found: &GradStore) -> candle_core::Result<Vec<Option<Array<T>>>> {
        let gradient = |variable: &Var| match found.get(variable) {
            Some(gradient) => array(gradient),
            None => bail!("no gradient flows back to an operand"),
        };
        self.variables.iter().map(|variable| variable.as_ref().map(gradient).transpose()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use network::graph::{Conv, Op};

    fn graph() -> Graph {
        let written = Graph::write([1, 2, 1, 2], |net, x| {
            let x = net.conv("conv", x, Conv::pointwise(1).biased());
            let x = net.multiply(x, x);
            net.output("squared", x);
        });
        written.unwrap()
    }

    fn node(graph: &Graph, is_it: impl Fn(&Op) -> bool) -> &Node {
        graph.nodes().iter().find(|node| is_it(&node.op)).unwrap()
    }

    fn array_of<const COUNT: usize>(shape: &[usize], data: [f32; COUNT]) -> Array {
        Array { shape: shape.to_vec(), data: data.to_vec() }
    }

    #[test]
    fn what_is_wanted_has_a_gradient() {
        let graph = graph();
        let conv = node(&graph, |op| matches!(op, Op::Conv(_)));
        let x = [array_of(&[1, 2, 1, 2], [1.0, 2.0, 3.0, 4.0])];
        let parameters = [array_of(&[1, 2, 1, 1], [10.0, 1.0]), array_of(&[1], [0.5])];
        let result = forward(&graph, conv, &x, &parameters).unwrap();
        assert_eq!(result, array_of(&[1, 1, 1, 2], [13.5, 24.5]));
        let gradient = array_of(&[1, 1, 1, 2], [1.0, -1.0]);
        let wanted = Wanted { inputs: &[false], parameters: &[true, true] };
        let gradients = backward(&graph, conv, &x, &parameters, &gradient, wanted).unwrap();
        assert_eq!(gradients.inputs, [None]);
        let [kernel, bias] = [array_of(&[1, 2, 1, 1], [-1.0, -1.0]), array_of(&[1], [0.0])];
        assert_eq!(gradients.parameters, [Some(kernel), Some(bias)]);
        let wanted = Wanted { inputs: &[true], parameters: &[false, false] };
        let gradients = backward(&graph, conv, &x, &parameters, &gradient, wanted).unwrap();
        assert_eq!(gradients.inputs, [Some(array_of(&[1, 2, 1, 2], [10.0, -10.0, 1.0, -1.0]))]);
        assert_eq!(gradients.parameters, [None, None]);
    }

    /// Whoever takes a value twice adds the two up.
    #[test]
    fn a_value_that_is_taken_twice_has_two_gradients() {
        let graph = graph();
        let product = node(&graph, |op| matches!(op, Op::Multiply));
        let x = array_of(&[1, 1, 1, 2], [3.0, 5.0]);
        let one = array_of(&[1, 1, 1, 2], [1.0, 1.0]);
        let wanted = Wanted { inputs: &[true, true], parameters: &[] };
        let gradients = backward(&graph, product, &[x.clone(), x.clone()], &[], &one, wanted).unwrap();
        assert_eq!(gradients.inputs, [Some(x.clone()), Some(x)]);
    }

    #[test]
    fn operands_that_do_not_fit_name_the_module() {
        let graph = graph();
        let conv = node(&graph, |op| matches!(op, Op::Conv(_)));
        let x = [array_of(&[1, 2, 1, 2], [1.0; 4])];
        let error = forward(&graph, conv, &x, &[]).unwrap_err().to_string();
        assert_eq!(error, "conv: convolution with 0 parameters");
    }
}
