//! Where steps find weights: packed for good, or in the store.

use super::packed::Packed;
use super::places::Lower;
use super::supply::Supply;
use crate::store::{Layout, Order};
use crate::{NormStatistics, RuntimeError};
use network::graph::{Array, Node, Role};

/// Where steps find weights.
pub(crate) enum Source<'a> {
    /// In packed form, which never changes.
    Packed(PackedWeights<'a>),
    /// In a store, where they change.
    Stored(StoredWeights<'a>),
}

/// Weights that are packed while a graph is lowered.
pub(crate) struct PackedWeights<'a> {
    pub(crate) supply: Supply<'a>,
    pub(crate) packed: &'a mut Packed,
}

/// Weights in a store of this layout.
#[derive(Clone, Copy)]
pub(crate) struct StoredWeights<'a> {
    pub(crate) layout: &'a Layout,
    /// Where the batch norm of a module takes its statistics from.
    pub(crate) statistics: &'a dyn Fn(&str) -> NormStatistics,
}

impl Source<'_> {
    /// Whether a parameter is trained.
    pub(super) fn trains(&self, parameter: usize) -> bool {
        match self {
            Source::Packed(_) => false,
            Source::Stored(stored) => stored.layout.trains(parameter),
        }
    }
}

impl<'a> Lower<'a> {
    /// Whether weights are packed for good.
    pub(super) fn is_packed(&self) -> bool {
        matches!(self.source, Source::Packed(_))
    }

    /// The packed weights.
    pub(super) fn packed(&mut self) -> Result<&mut Packed, RuntimeError> {
        match &mut self.source {
            Source::Packed(weights) => Ok(weights.packed),
            Source::Stored(_) => Err(RuntimeError::internal("", "the weights are not packed")),
        }
    }

    /// Numbers of the first parameters of a node, which asks for them once.
    pub(super) fn numbers<const COUNT: usize>(
        &mut self,
        node: &Node,
    ) -> Result<[Vec<f32>; COUNT], RuntimeError> {
        let path = self.graph.path(node);
        let Source::Packed(weights) = &mut self.source else {
            return Err(RuntimeError::internal(path, "the weights are not packed"));
        };
        let parameters = node.parameters.iter().filter_map(|id| self.graph.parameter(*id)).take(COUNT);
        let numbers: Vec<Vec<f32>> =
            parameters.map(|parameter| weights.supply.take(parameter)).collect::<Result<_, _>>()?;
        numbers.try_into().map_err(|_| RuntimeError::internal(path, "an operator lacks a parameter"))
    }

    /// The parameters of a node as they are, for the reference. It reads no counter.
    pub(super) fn arrays(&self, node: &Node) -> Result<Vec<Array>, RuntimeError> {
        let Source::Packed(weights) = &self.source else { return Ok(Vec::new()) };
        let parameters = node.parameters.iter().filter_map(|id| self.graph.parameter(*id));
        let arrays = parameters.map(|parameter| match parameter.role {
            Role::BatchCount => Ok(Array { shape: Vec::new(), data: Vec::new() }),
            _ => weights.supply.weights().of(parameter).cloned(),
        });
        Ok(arrays.collect::<Result<_, _>>()?)
    }

    /// The position of a node's parameter in the store.
    pub(super) fn parameter(&self, node: &Node, index: usize) -> Result<usize, RuntimeError> {
        let missing = || RuntimeError::internal(self.graph.path(node), "an operator lacks a parameter");
        node.parameters.get(index).map(|id| id.index()).ok_or_else(missing)
    }

    /// The order of a parameter's numbers in the store.
    pub(super) fn order(&self, parameter: usize) -> &'a Order {
        match &self.source {
            Source::Packed(_) => &Order::RowMajor,
            Source::Stored(stored) => stored.layout.order(parameter),
        }
    }

    /// Where a batch norm takes its statistics from.
    pub(super) fn statistics(&self, node: &Node) -> NormStatistics {
        match &self.source {
            Source::Packed(_) => NormStatistics::Running,
            Source::Stored(stored) => (stored.statistics)(self.graph.path(node)),
        }
    }

    /// Whether a parameter is trained.
    pub(super) fn trains(&self, parameter: usize) -> bool {
        self.source.trains(parameter)
    }
}
