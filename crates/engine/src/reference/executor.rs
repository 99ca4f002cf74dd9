//! The reference executor: the result of a node, with the parameters of its graph.

use candle_core::Tensor;

use super::compute::compute;
use super::handle::{Handle, array, failed, tensor};
use super::kernel::View;
use super::operators::norm::{Moments, batch_moments};
use super::parameters::Parameters;
use crate::error::RuntimeError;
use crate::statistics::NormStatistics;
use network::element::Element;
use network::graph::{Array, Graph, Node, Op, ParameterId};

/// Runs a graph with its parameters, in the precision `T`.
#[derive(Clone, Copy)]
pub struct Executor<'a, T = f32> {
    pub(super) graph: &'a Graph,
    pub(super) parameters: &'a Parameters<T>,
    /// By the path of the module.
    statistics: &'a dyn Fn(&str) -> NormStatistics,
}

impl<'a, T: Element> Executor<'a, T> {
    /// An executor of `graph`; `parameters` must have been made for it.
    pub fn new(graph: &'a Graph, parameters: &'a Parameters<T>, statistics: NormStatistics) -> Self {
        match statistics {
            NormStatistics::Running => Self::with_statistics(graph, parameters, &|_| NormStatistics::Running),
            NormStatistics::Batch => Self::with_statistics(graph, parameters, &|_| NormStatistics::Batch),
        }
    }

    /// An executor in which each batch norm has the statistics that are said of its module's path.
    pub fn with_statistics(
        graph: &'a Graph,
        parameters: &'a Parameters<T>,
        statistics: &'a dyn Fn(&str) -> NormStatistics,
    ) -> Self {
        Executor { graph, parameters, statistics }
    }

    /// The result of one node for given inputs.
    ///
    /// # Errors
    /// An operator that fails, with the path of its module.
    pub fn apply(&self, node: &Node, inputs: &[Handle<T>]) -> Result<Handle<T>, RuntimeError> {
        let inputs: Vec<Tensor> = inputs.iter().map(|input| input.tensor.clone()).collect();
        Ok(Handle::new(self.result(node, &inputs)?))
    }

    pub(super) fn result(&self, node: &Node, inputs: &[Tensor]) -> Result<Tensor, RuntimeError> {
        let parameters = self.parameters.of(node)?;
        let result = self.batch(node, inputs).and_then(|batch| compute(node, inputs, &parameters, batch));
        result.map_err(failed(self.graph, node))
    }

    /// The statistics of the batch for a norm that uses these; the running ones move towards them.
    fn batch(&self, node: &Node, inputs: &[Tensor]) -> candle_core::Result<Option<Vec<Moments>>> {
        let (Op::BatchNorm { momentum, .. }, [x]) = (&node.op, inputs) else { return Ok(None) };
        if (self.statistics)(self.graph.path(node)) == NormStatistics::Running {
            return Ok(None);
        }
        let moments = batch_moments(View::of(&array::<T>(x)?));
        self.move_statistics(node, &moments, x.elem_count() / moments.len().max(1), *momentum)?;
        Ok(Some(moments))
    }

    /// Moves running statistics towards those of a batch, whose variance is taken as that of a sample. Those that
    /// are frozen stay.
    fn move_statistics(
        &self,
        node: &Node,
        moments: &[Moments],
        count: usize,
        momentum: f64,
    ) -> candle_core::Result<()> {
        let [_, _, mean, variance] = node.parameters[..] else {
            candle_core::bail!("batch norm with {} parameters instead of four", node.parameters.len())
        };
        let sample = count as f64 / count.saturating_sub(1).max(1) as f64;
        self.blend(mean, moments.iter().map(|m| m.mean), momentum)?;
        self.blend(variance, moments.iter().map(|m| m.variance * sample), momentum)
    }

    /// old * (1 - momentum) + new * momentum
    fn blend(
        &self,
        id: ParameterId,
        new: impl Iterator<Item = f64>,
        momentum: f64,
    ) -> candle_core::Result<()> {
        let Some(variable) = self.parameters.variable(id) else { return Ok(()) };
        let mut blended: Array<T> = array(variable)?;
        for (number, new) in blended.data.iter_mut().zip(new) {
            *number = T::of(number.wide() + (new - number.wide()) * momentum);
        }
        variable.set(&tensor(&blended)?)
    }
}
