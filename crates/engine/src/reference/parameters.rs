//! The numbers of a graph's parameters.

use std::marker::PhantomData;

use candle_core::{Tensor, Var};

use super::handle::{Handle, array, fault};
use crate::error::RuntimeError;
use network::element::Element;
use network::graph::{Array, Graph, Node, Parameter, ParameterId, Role, Weights};

/// Numbers for every parameter of a graph, in the graph's order.
#[derive(Debug, Clone)]
pub struct Parameters<T = f32> {
    slots: Vec<Slot>,
    numbers: PhantomData<T>,
}

#[derive(Debug, Clone)]
enum Slot {
    /// Nothing changes it, and it has no gradient.
    Frozen(Tensor),
    Variable(Var),
    /// A count of batches, which no operator reads.
    Unread,
}

impl<T: Element> Parameters<T> {
    /// Parameters that nothing changes and that have no gradients, so that nothing is remembered of a run.
    ///
    /// # Errors
    /// A parameter without a value, or with one of another shape.
    pub fn frozen(graph: &Graph, weights: &Weights) -> Result<Parameters<T>, RuntimeError> {
        Parameters::new(graph, weights, |_| false)
    }

    /// Parameters to train: those of the network have gradients, and running statistics move.
    ///
    /// # Errors
    /// A parameter without a value, or with one of another shape.
    pub fn trainable(graph: &Graph, weights: &Weights) -> Result<Parameters<T>, RuntimeError> {
        Parameters::trained(graph, weights, |_| true)
    }

    /// Parameters of which those have gradients that `trains` says; running statistics move.
    ///
    /// # Errors
    /// A parameter without a value, or with one of another shape.
    pub fn trained(
        graph: &Graph,
        weights: &Weights,
        trains: impl Fn(&Parameter) -> bool,
    ) -> Result<Parameters<T>, RuntimeError> {
        Parameters::new(graph, weights, |parameter| match parameter.role {
            Role::RunningMean | Role::RunningVariance => true,
            Role::Constant(_) | Role::BatchCount => false,
            _ => trains(parameter),
        })
    }

    fn new(
        graph: &Graph,
        weights: &Weights,
        is_variable: impl Fn(&Parameter) -> bool,
    ) -> Result<Parameters<T>, RuntimeError> {
        let slot = |parameter: &Parameter| {
            if parameter.role == Role::BatchCount {
                return Ok(Slot::Unread);
            }
            let tensor = Handle::<T>::of(weights.of(parameter)?)?.tensor;
            match is_variable(parameter) {
                true => Ok(Slot::Variable(Var::from_tensor(&tensor).map_err(fault)?)),
                false => Ok(Slot::Frozen(tensor)),
            }
        };
        let slots = graph.parameters().iter().map(slot).collect::<Result<_, RuntimeError>>()?;
        Ok(Parameters { slots, numbers: PhantomData })
    }

    /// The numbers of a parameter.
    ///
    /// # Errors
    /// A parameter of another graph, or one that no operator reads.
    pub fn array(&self, id: ParameterId) -> Result<Array<T>, RuntimeError> {
        array(self.tensor(id)?).map_err(fault)
    }

    /// Replaces the numbers of a parameter.
    ///
    /// # Errors
    /// A parameter of another graph, one that no operator reads, or numbers of another shape.
    pub fn set(&mut self, id: ParameterId, array: &Array<T>) -> Result<(), RuntimeError> {
        let expected = self.tensor(id)?.dims();
        if array.shape != expected {
            let what = format!("a parameter of shape {expected:?} is given {:?}", array.shape);
            return Err(RuntimeError::internal("", what));
        }
        let new = Handle::<T>::of(array)?.tensor;
        match self.slots.get_mut(id.index()) {
            Some(Slot::Variable(variable)) => variable.set(&new).map_err(fault)?,
            Some(slot) => *slot = Slot::Frozen(new),
            None => return Err(foreign(id)),
        }
        Ok(())
    }

    /// The parameters of a node, in its order.
    pub(super) fn of(&self, node: &Node) -> Result<Vec<Tensor>, RuntimeError> {
        node.parameters.iter().map(|id| self.tensor(*id).cloned()).collect()
    }

    /// The variable of a parameter, if it is one.
    pub(super) fn variable(&self, id: ParameterId) -> Option<&Var> {
        match self.slots.get(id.index())? {
            Slot::Variable(variable) => Some(variable),
            Slot::Frozen(_) | Slot::Unread => None,
        }
    }

    fn tensor(&self, id: ParameterId) -> Result<&Tensor, RuntimeError> {
        match self.slots.get(id.index()) {
            Some(Slot::Frozen(tensor)) => Ok(tensor),
            Some(Slot::Variable(variable)) => Ok(variable.as_tensor()),
            Some(Slot::Unread) => Err(RuntimeError::internal(
                "",
                format!("parameter {} counts batches and is not read", id.index()),
            )),
            None => Err(foreign(id)),
        }
    }
}

fn foreign(id: ParameterId) -> RuntimeError {
    RuntimeError::internal("", format!("parameter {} is not of this graph", id.index()))
}
