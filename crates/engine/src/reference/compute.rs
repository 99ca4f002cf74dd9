//! The result of one node.

use candle_core::{Result, Tensor, bail};

use super::operation::{apply1, apply2, apply3};
use super::operators::matmul::MatMul;
use super::operators::norm::{BatchNorm, ChannelAffine, GroupNorm, Moments};
use super::operators::pool::MaxPool;
use super::operators::softmax::Softmax;
use super::operators::top_k::TopK;
use crate::resample::Resample;
use network::graph::{DeformConv, Node, Op, Pool};

/// The result of a node for its inputs and parameters, both in the node's order. Batch norms use running statistics
/// unless there are those of the `batch`.
pub(super) fn compute(
    node: &Node,
    inputs: &[Tensor],
    parameters: &[Tensor],
    batch: Option<Vec<Moments>>,
) -> Result<Tensor> {
    match (&node.op, inputs) {
        (Op::Concat { axis }, [_, ..]) => Tensor::cat(inputs, *axis),
        (Op::Add, [left, right]) => left + right,
        (Op::Multiply, [left, right]) => left.broadcast_mul(right),
        (Op::DeformConv(conv), [x, maps @ ..]) => deformed(*conv, x, maps, parameters),
        (Op::MatMul, [left, right]) => apply2(MatMul, left, right),
        (Op::BatchNorm { epsilon, .. }, [x]) => batch_norm(x, parameters, *epsilon, batch),
        (_, [x]) => unary(node, x, parameters),
        _ => bail!("{} of {} inputs", node.op.name(), inputs.len()),
    }
}

fn batch_norm(
    x: &Tensor,
    parameters: &[Tensor],
    epsilon: f64,
    batch: Option<Vec<Moments>>,
) -> Result<Tensor> {
    let [weight, bias, mean, variance] = parameters else {
        bail!("batch norm with {} parameters instead of four", parameters.len())
    };
    if let Some(moments) = batch {
        return apply3(BatchNorm { moments, epsilon }, x, weight, bias);
    }
    let factor = (weight / (variance.detach() + epsilon)?.sqrt()?)?;
    let shift = (bias - (mean.detach() * &factor)?)?;
    apply3(ChannelAffine, x, &factor, &shift)
}

fn unary(node: &Node, x: &Tensor, parameters: &[Tensor]) -> Result<Tensor> {
    match (&node.op, parameters) {
        (Op::Conv(conv), [kernel]) => apply2(*conv, x, kernel),
        (Op::Conv(conv), [kernel, bias]) => apply3(*conv, x, kernel, bias),
        (Op::GroupNorm { groups, epsilon }, [weight, bias]) => {
            apply3(GroupNorm { groups: *groups, epsilon: *epsilon }, x, weight, bias)
        }
        (Op::Scale, [factor]) => x.broadcast_mul(&factor.flatten_all()?),
        (Op::Activation(activation), []) => apply1(*activation, x),
        (Op::MaxPool(pool), []) => apply1(MaxPool(fitting(*pool, size(x)?)?), x),
        (Op::AveragePool(pool), []) => {
            let size = size(x)?;
            apply1(Resample::average(&fitting(*pool, size)?, size), x)
        }
        (Op::AdaptiveAveragePool { size: to }, []) => apply1(Resample::adaptive_average(size(x)?, *to), x),
        (Op::Resize { mode, size: to }, []) => apply1(Resample::resize(*mode, size(x)?, *to), x),
        (Op::Softmax { axis }, []) => apply1(Softmax { axis: *axis }, x),
        (Op::TopK { axis, count }, []) => apply1(TopK { axis: *axis, count: *count }, x),
        (Op::Mean { axis }, []) => x.mean_keepdim(*axis),
        (Op::Slice { .. } | Op::Reshape { .. } | Op::Transpose { .. } | Op::ChannelShuffle { .. }, []) => {
            rearranged(&node.op, x)
        }
        _ => bail!("{} with {} parameters", node.op.name(), parameters.len()),
    }
}

/// Height and width.
fn size(x: &Tensor) -> Result<[usize; 2]> {
    let (_, _, height, width) = x.dims4()?;
    Ok([height, width])
}

fn fitting(pool: Pool, size: [usize; 2]) -> Result<Pool> {
    match pool.output_size(size) {
        Some(_) => Ok(pool),
        None => bail!("a window {:?} does not fit {size:?}", pool.kernel),
    }
}

/// The same numbers in another place, or some of them.
fn rearranged(op: &Op, x: &Tensor) -> Result<Tensor> {
    match op {
        Op::Slice { axis, start, length } => x.narrow(*axis, *start, *length),
        Op::Reshape { shape } => x.reshape(shape.as_slice()),
        Op::Transpose { order } => x.permute(order.as_slice()),
        Op::ChannelShuffle { groups } => {
            let (n, channels, height, width) = x.dims4()?;
            let grouped = x.reshape((n, *groups, channels / groups, height * width))?;
            grouped.transpose(1, 2)?.reshape((n, channels, height, width))
        }
        _ => bail!("{} computes", op.name()),
    }
}

/// `maps` are the offsets and, where samples are weighted, their factors.
fn deformed(conv: DeformConv, x: &Tensor, maps: &[Tensor], parameters: &[Tensor]) -> Result<Tensor> {
    let maps = Tensor::cat(maps, 1)?;
    match parameters {
        [kernel] => apply3(conv, x, &maps, kernel),
        [kernel, bias] => {
            let bias = bias.reshape((1, conv.conv.out, 1, 1))?;
            apply3(conv, x, &maps, kernel)?.broadcast_add(&bias)
        }
        _ => bail!("a deformable convolution with {} parameters", parameters.len()),
    }
}
