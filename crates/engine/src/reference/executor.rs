//! The reference executor: nodes in order, candle tensors, candle's autograd.

use std::collections::HashMap;

use candle_core::{DType, Tensor, Var, WithDType};

use super::kernel::View;
use super::operation::{apply1, apply2, apply3};
use super::operators::matmul::MatMul;
use super::operators::norm::{BatchNorm, ChannelAffine, GroupNorm, Moments, batch_moments};
use super::operators::pool::MaxPool;
use super::operators::softmax::Softmax;
use super::operators::top_k::TopK;
use super::parameters::Parameters;
use super::tensors::{plain, to_f64};
use crate::error::RuntimeError;
use crate::resample::Resample;
use crate::statistics::NormStatistics;
use network::element::Element;
use network::graph::{DeformConv, Graph, Node, Op, Value};

/// Outputs of a run by name.
#[derive(Debug, Clone, Default)]
pub struct Outputs(HashMap<String, Tensor>);

impl Outputs {
    /// The output of this name.
    pub fn get(&self, name: &str) -> Option<&Tensor> {
        self.0.get(name)
    }
}

/// Runs a graph with its parameters.
#[derive(Debug, Clone, Copy)]
pub struct Executor<'a> {
    graph: &'a Graph,
    parameters: &'a Parameters,
    statistics: NormStatistics,
}

impl<'a> Executor<'a> {
    /// An executor of `graph`; `parameters` must have been made for it.
    pub fn new(graph: &'a Graph, parameters: &'a Parameters, statistics: NormStatistics) -> Executor<'a> {
        Executor { graph, parameters, statistics }
    }

    /// Type of the numbers it computes with.
    pub fn dtype(&self) -> DType {
        self.parameters.dtype()
    }

    /// Runs the graph. A value is freed after its last use.
    ///
    /// # Errors
    /// An input of another shape, or an operator that fails, with the path of its module.
    pub fn run(&self, input: &Tensor) -> Result<Outputs, RuntimeError> {
        self.observe(input, |_, _| ())
    }

    /// Runs the graph and shows every node's value to `observer`, in order.
    ///
    /// # Errors
    /// As [`Executor::run`].
    pub fn observe(
        &self,
        input: &Tensor,
        mut observer: impl FnMut(Value, &Tensor),
    ) -> Result<Outputs, RuntimeError> {
        let mut run = self.start(input);
        for (value, node) in self.graph.values() {
            observer(value, &run.step(value, node)?);
        }
        Ok(run.finish())
    }

    /// Begins a run that goes on node by node.
    pub fn start(&self, input: &Tensor) -> Run<'a> {
        let values = vec![None; self.graph.nodes().len()];
        Run { executor: *self, input: input.clone(), uses: self.graph.uses(), values }
    }

    fn checked(&self, node: &Node, input: &Tensor) -> Result<Tensor, RuntimeError> {
        if input.dims() != node.shape {
            let (expected, found) = (node.shape.clone(), input.dims().to_vec());
            return Err(RuntimeError::Input { expected, found });
        }
        Ok(input.to_dtype(self.parameters.dtype())?)
    }

    fn taken(&self, node: &Node, values: &[Option<Tensor>]) -> Result<Vec<Tensor>, RuntimeError> {
        let value = |value: &Value| values.get(value.index()).cloned().flatten();
        let tensors = node.inputs.iter().map(value).collect::<Option<Vec<_>>>();
        tensors.ok_or_else(|| {
            RuntimeError::internal(self.graph.path(node), "a value is used before it is computed")
        })
    }

    /// The result of one node for given inputs.
    ///
    /// # Errors
    /// An operator that fails, with the path of its module.
    pub fn apply(&self, node: &Node, inputs: &[Tensor]) -> Result<Tensor, RuntimeError> {
        let parameters = node.parameters.iter().map(|id| self.parameters.get(*id));
        let parameters: Vec<&Tensor> = parameters.flatten().collect();
        let result = match (&node.op, inputs) {
            (Op::Concat { axis }, _) => Tensor::cat(inputs, *axis),
            (Op::Add, [left, right]) => left + right,
            (Op::Multiply, [left, right]) => left.broadcast_mul(right),
            (Op::DeformConv(conv), [x, maps @ ..]) => deformed(*conv, x, maps, &parameters),
            (Op::MatMul, [left, right]) => apply2(MatMul, left, right),
            (Op::BatchNorm { epsilon, momentum }, [x]) => {
                self.batch_norm(node, x, &parameters, *epsilon, *momentum)
            }
            (_, [x]) => unary(node, x, &parameters),
            _ => Err(candle_core::Error::Msg(format!("{} without inputs", node.op.name()))),
        };
        result.map_err(|source| {
            let (module, message) = (self.graph.path(node).to_owned(), plain(&source).to_string());
            RuntimeError::Operator { module, message }
        })
    }

    fn batch_norm(
        &self,
        node: &Node,
        x: &Tensor,
        parameters: &[&Tensor],
        epsilon: f64,
        momentum: f64,
    ) -> candle_core::Result<Tensor> {
        let [weight, bias, mean, variance] = parameters else {
            candle_core::bail!("a batch norm needs four parameters")
        };
        if self.statistics == NormStatistics::Running {
            let factor = (*weight / (variance.detach() + epsilon)?.sqrt()?)?;
            let shift = (*bias - (mean.detach() * &factor)?)?;
            return apply3(ChannelAffine, x, &factor, &shift);
        }
        let moments = moments(x)?;
        self.move_statistics(node, &moments, x.elem_count() / x.dim(1)?.max(1), momentum)?;
        apply3(BatchNorm { moments, epsilon }, x, weight, bias)
    }

    /// Moves running statistics towards those of a batch, whose variance is taken as that of a sample.
    fn move_statistics(
        &self,
        node: &Node,
        moments: &[Moments],
        count: usize,
        momentum: f64,
    ) -> candle_core::Result<()> {
        let variable = |at: usize| node.parameters.get(at).and_then(|id| self.parameters.variable(*id));
        let sample = count as f64 / count.saturating_sub(1).max(1) as f64;
        if let Some(mean) = variable(2) {
            blend(mean, moments.iter().map(|m| m.mean), momentum)?;
        }
        if let Some(variance) = variable(3) {
            blend(variance, moments.iter().map(|m| m.variance * sample), momentum)?;
        }
        Ok(())
    }
}

/// A run in progress.
#[derive(Debug)]
pub struct Run<'a> {
    executor: Executor<'a>,
    input: Tensor,
    /// How often each value is still to be used.
    uses: Vec<usize>,
    values: Vec<Option<Tensor>>,
}

impl Run<'_> {
    /// Computes the next node of [`Graph::values`], and frees what it was the last to use.
    ///
    /// # Errors
    /// As [`Executor::run`], and a node out of order.
    pub fn step(&mut self, value: Value, node: &Node) -> Result<Tensor, RuntimeError> {
        let result = match node.op {
            Op::Input => self.executor.checked(node, &self.input)?,
            _ => self.executor.apply(node, &self.executor.taken(node, &self.values)?)?,
        };
        for used in &node.inputs {
            release(&mut self.uses, &mut self.values, *used);
        }
        if self.uses.get(value.index()).is_some_and(|uses| *uses > 0)
            && let Some(slot) = self.values.get_mut(value.index())
        {
            *slot = Some(result.clone());
        }
        Ok(result)
    }

    /// The outputs, once every node was computed.
    pub fn finish(self) -> Outputs {
        let output = |(name, value): &(String, Value)| {
            self.values.get(value.index()).cloned().flatten().map(|tensor| (name.clone(), tensor))
        };
        Outputs(self.executor.graph.outputs().iter().filter_map(output).collect())
    }
}

/// old * (1 - momentum) + new * momentum
fn blend(variable: &Var, new: impl Iterator<Item = f64>, momentum: f64) -> candle_core::Result<()> {
    let old = to_f64(variable)?;
    let blended: Vec<f64> = old.iter().zip(new).map(|(old, new)| old + (new - old) * momentum).collect();
    variable.set(&Tensor::new(blended, variable.device())?.to_dtype(variable.dtype())?)
}

fn moments(x: &Tensor) -> candle_core::Result<Vec<Moments>> {
    fn of<T: Element + WithDType>(x: &Tensor) -> candle_core::Result<Vec<Moments>> {
        let data = x.flatten_all()?.to_vec1::<T>()?;
        Ok(batch_moments(View { data: &data, shape: x.dims() }))
    }
    match x.dtype() {
        DType::F64 => of::<f64>(x),
        _ => of::<f32>(x),
    }
}

fn unary(node: &Node, x: &Tensor, parameters: &[&Tensor]) -> candle_core::Result<Tensor> {
    let size = || match x.dims() {
        [_, _, height, width] => [*height, *width],
        _ => [0; 2],
    };
    match (&node.op, parameters) {
        (Op::Conv(conv), [kernel]) => apply2(*conv, x, kernel),
        (Op::Conv(conv), [kernel, bias]) => apply3(*conv, x, kernel, bias),
        (Op::GroupNorm { groups, epsilon }, [weight, bias]) => {
            apply3(GroupNorm { groups: *groups, epsilon: *epsilon }, x, weight, bias)
        }
        (Op::Scale, [factor]) => x.broadcast_mul(&factor.flatten_all()?),
        (Op::Activation(activation), _) => apply1(*activation, x),
        (Op::MaxPool(pool), _) => apply1(MaxPool(*pool), x),
        (Op::AveragePool(pool), _) => apply1(Resample::average(pool, size()), x),
        (Op::AdaptiveAveragePool { size: to }, _) => apply1(Resample::adaptive_average(size(), *to), x),
        (Op::Resize { mode, size: to }, _) => apply1(Resample::resize(*mode, size(), *to), x),
        (Op::Slice { axis, start, length }, _) => x.narrow(*axis, *start, *length),
        (Op::Softmax { axis }, _) => apply1(Softmax { axis: *axis }, x),
        (Op::TopK { axis, count }, _) => apply1(TopK { axis: *axis, count: *count }, x),
        (Op::Mean { axis }, _) => x.mean_keepdim(*axis),
        (Op::Reshape { shape }, _) => x.reshape(shape.as_slice()),
        (Op::Transpose { order }, _) => x.permute(order.as_slice()),
        (Op::ChannelShuffle { groups }, _) => {
            let (n, channels, height, width) = x.dims4()?;
            let dealt = x.reshape((n, *groups, channels / groups, height * width))?.transpose(1, 2)?;
            dealt.reshape((n, channels, height, width))
        }
        _ => candle_core::bail!("{} with {} parameters", node.op.name(), parameters.len()),
    }
}

/// `maps` are the offsets and, where samples are weighted, their factors.
fn deformed(
    conv: DeformConv,
    x: &Tensor,
    maps: &[Tensor],
    parameters: &[&Tensor],
) -> candle_core::Result<Tensor> {
    let Some((kernel, bias)) = parameters.split_first() else { candle_core::bail!("there is no kernel") };
    let result = apply3(conv, x, &Tensor::cat(maps, 1)?, kernel)?;
    match bias.first() {
        Some(bias) => result.broadcast_add(&bias.reshape((1, conv.conv.out, 1, 1))?),
        None => Ok(result),
    }
}

fn release(uses: &mut [usize], values: &mut [Option<Tensor>], value: Value) {
    if let Some(count) = uses.get_mut(value.index()) {
        *count = count.saturating_sub(1);
        if *count == 0
            && let Some(slot) = values.get_mut(value.index())
        {
            *slot = None;
        }
    }
}
