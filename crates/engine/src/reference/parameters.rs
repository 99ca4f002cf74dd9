//! The tensors of a graph's parameters.

use std::collections::HashSet;

use candle_core::{DType, Device, Tensor, Var};

use super::tensors::array_tensor;
use crate::error::RuntimeError;
use network::graph::{Graph, ParameterId, Role, Value, Weights};

/// A tensor for every parameter of a graph, in the graph's order.
#[derive(Debug, Clone)]
pub struct Parameters {
    tensors: Vec<Slot>,
    dtype: DType,
}

#[derive(Debug, Clone)]
enum Slot {
    Frozen(Tensor),
    Variable(Var),
}

impl Parameters {
    /// Parameters that nothing changes and that have no gradients, so that nothing is remembered of a run.
    ///
    /// # Errors
    /// A parameter without a value, or with one of another shape.
    pub fn frozen(graph: &Graph, weights: &Weights, dtype: DType) -> Result<Parameters, RuntimeError> {
        Parameters::new(graph, weights, dtype, |_, tensor| Ok(Slot::Frozen(tensor)))
    }

    /// Parameters to train: those with gradients and the running statistics are variables.
    ///
    /// # Errors
    /// A parameter without a value, or with one of another shape.
    pub fn trainable(graph: &Graph, weights: &Weights, dtype: DType) -> Result<Parameters, RuntimeError> {
        Parameters::new(graph, weights, dtype, |role, tensor| match role {
            Role::Constant(_) | Role::BatchCount => Ok(Slot::Frozen(tensor)),
            _ => Ok(Slot::Variable(Var::from_tensor(&tensor)?)),
        })
    }

    /// Frozen parameters of the chosen nodes only; the others are empty.
    ///
    /// # Errors
    /// A parameter without a value, or with one of another shape.
    pub(crate) fn of_nodes(
        graph: &Graph,
        weights: &Weights,
        dtype: DType,
        is_chosen: impl Fn(Value) -> bool,
    ) -> Result<Parameters, RuntimeError> {
        Parameters::chosen(graph, weights, dtype, is_chosen, |tensor| Ok(Slot::Frozen(tensor)))
    }

    /// Parameters of the chosen nodes as variables; the others are empty.
    ///
    /// # Errors
    /// A parameter without a value, or with one of another shape.
    pub(crate) fn variables_of_nodes(
        graph: &Graph,
        weights: &Weights,
        dtype: DType,
        is_chosen: impl Fn(Value) -> bool,
    ) -> Result<Parameters, RuntimeError> {
        Parameters::chosen(graph, weights, dtype, is_chosen, |tensor| {
            Ok(Slot::Variable(Var::from_tensor(&tensor)?))
        })
    }

    fn chosen(
        graph: &Graph,
        weights: &Weights,
        dtype: DType,
        is_chosen: impl Fn(Value) -> bool,
        slot: impl Fn(Tensor) -> Result<Slot, RuntimeError>,
    ) -> Result<Parameters, RuntimeError> {
        let chosen = graph.values().filter(|(value, _)| is_chosen(*value));
        let chosen: HashSet<ParameterId> = chosen.flat_map(|(_, node)| &node.parameters).copied().collect();
        let ids = graph.parameter_ids();
        let mut tensors = Vec::with_capacity(graph.parameters().len());
        for parameter in graph.parameters() {
            let is_used = ids.get(parameter.name.as_str()).is_some_and(|id| chosen.contains(id));
            let tensor = match is_used && parameter.role != Role::BatchCount {
                true => array_tensor(weights.of(parameter)?, dtype)?,
                false => Tensor::zeros((), dtype, &Device::Cpu)?,
            };
            tensors.push(slot(tensor)?);
        }
        Ok(Parameters { tensors, dtype })
    }

    fn new(
        graph: &Graph,
        weights: &Weights,
        dtype: DType,
        slot: impl Fn(&Role, Tensor) -> Result<Slot, RuntimeError>,
    ) -> Result<Parameters, RuntimeError> {
        let mut tensors = Vec::with_capacity(graph.parameters().len());
        for parameter in graph.parameters() {
            let tensor = match parameter.role {
                // No operator reads it.
                Role::BatchCount => Tensor::zeros((), dtype, &Device::Cpu)?,
                _ => array_tensor(weights.of(parameter)?, dtype)?,
            };
            tensors.push(slot(&parameter.role, tensor)?);
        }
        Ok(Parameters { tensors, dtype })
    }

    /// Type of the numbers.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// The tensor of a parameter.
    pub fn get(&self, id: ParameterId) -> Option<&Tensor> {
        Some(match self.tensors.get(id.index())? {
            Slot::Frozen(tensor) => tensor,
            Slot::Variable(variable) => variable.as_tensor(),
        })
    }

    /// The variable of a parameter, if it is one.
    pub fn variable(&self, id: ParameterId) -> Option<&Var> {
        match self.tensors.get(id.index())? {
            Slot::Frozen(_) => None,
            Slot::Variable(variable) => Some(variable),
        }
    }
}
