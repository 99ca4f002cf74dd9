//! The deploy form: what a network is while it detects.

use super::{Folding, Merging, fold_batch_norms, merge_branches};
use crate::graph::{Graph, GraphError, Weights};

/// What [`deploy`] did, to do the same to weights.
#[derive(Debug, Clone)]
pub struct Deployment {
    merging: Merging,
    folding: Folding,
}

/// The graph with parallel branches merged and batch norms folded, which computes the same with fewer operators.
pub fn deploy(graph: &Graph) -> (Graph, Deployment) {
    let (merged, merging) = merge_branches(graph);
    let (folded, folding) = fold_batch_norms(&merged);
    (folded, Deployment { merging, folding })
}

impl Deployment {
    /// Sums of branches that became one convolution.
    pub fn merged(&self) -> usize {
        self.merging.len()
    }

    /// Batch norms that became part of a convolution, those of merged branches not counted.
    pub fn folded(&self) -> usize {
        self.folding.len()
    }

    /// Weights of the deploy form from those of the original.
    ///
    /// # Errors
    /// [`GraphError::Missing`] and [`GraphError::Mismatch`] for weights of the original graph.
    pub fn apply(&self, weights: &Weights) -> Result<Weights, GraphError> {
        self.folding.fold(&self.merging.merge(weights)?)
    }

    /// Weights of the original, such that it computes and can be trained again, from those of the deploy form.
    /// Applied again they give the same numbers.
    ///
    /// # Errors
    /// [`GraphError::Missing`] and [`GraphError::Mismatch`] for weights of the deploy form.
    pub fn undo(&self, weights: &Weights) -> Result<Weights, GraphError> {
        self.merging.split(&self.folding.unfold(weights)?)
    }
}
