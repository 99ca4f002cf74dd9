//! Every operator's gradient against finite differences in f64, with H other than W, odd sizes, and an input that
//! is used a second time.

use candle_core::{DType, Device, Result, Tensor, Var};

use super::matmul::MatMul;
use super::norm::{BatchNorm, ChannelAffine, GroupNorm, batch_moments};
use super::pool::MaxPool;
use super::softmax::Softmax;
use super::top_k::TopK;
use crate::reference::kernel::View;
use crate::reference::operation::{apply1, apply2, apply3};
use crate::resample::Resample;
use network::graph::{Activation, Conv, DeformConv, Op, Pool, ResizeMode};

/// Numbers without pattern in [-1, 1), the same in every run.
pub(crate) fn numbers(count: usize, seed: u64) -> Vec<f64> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 11) as f64 / (1_u64 << 52) as f64 - 1.0
    };
    (0..count).map(|_| next()).collect()
}

fn variable(shape: &[usize], seed: u64) -> Var {
    let data = numbers(shape.iter().product(), seed);
    Var::from_tensor(&Tensor::from_vec(data, shape, &Device::Cpu).unwrap()).unwrap()
}

/// A number that depends on the whole result and, once more, on the first input.
fn loss(inputs: &[Tensor], operator: &dyn Fn(&[Tensor]) -> Result<Tensor>) -> Result<Tensor> {
    let result = operator(inputs)?;
    let weights = Tensor::from_vec(numbers(result.elem_count(), 99), result.shape(), &Device::Cpu)?;
    let again = Tensor::from_vec(numbers(inputs[0].elem_count(), 98), inputs[0].shape(), &Device::Cpu)?;
    (&result * weights)?.sum_all()? + (&inputs[0] * again)?.sum_all()?
}

/// Compares the gradient of every element of every input.
#[track_caller]
fn check(shapes: &[&[usize]], operator: impl Fn(&[Tensor]) -> Result<Tensor>) {
    const STEP: f64 = 1e-5;
    let variables: Vec<Var> = shapes.iter().zip(1..).map(|(shape, seed)| variable(shape, seed)).collect();
    let tensors: Vec<Tensor> = variables.iter().map(|variable| variable.as_tensor().clone()).collect();
    let gradients = loss(&tensors, &operator).unwrap().backward().unwrap();
    for (index, variable) in variables.iter().enumerate() {
        let gradient = gradients.get(variable).unwrap().flatten_all().unwrap().to_vec1::<f64>().unwrap();
        let values = variable.flatten_all().unwrap().to_vec1::<f64>().unwrap();
        for (at, gradient) in gradient.iter().enumerate() {
            let moved = |step: f64| {
                let mut values = values.clone();
                values[at] += step;
                let mut inputs: Vec<Tensor> = tensors.iter().map(Tensor::detach).collect();
                inputs[index] = Tensor::from_vec(values, variable.shape(), &Device::Cpu).unwrap();
                loss(&inputs, &operator).unwrap().to_scalar::<f64>().unwrap()
            };
            let expected = (moved(STEP) - moved(-STEP)) / (2.0 * STEP);
            let error = (gradient - expected).abs() / expected.abs().max(1.0);
            assert!(error < 1e-7, "input {index}, element {at}: {gradient} instead of {expected}");
        }
    }
}

#[test]
fn convolutions() {
    let plain = Conv::same(4, 3);
    let cases = [
        (3, plain),
        (3, plain.stride(2)),
        (4, Conv { groups: 2, stride: [2, 1], padding: [0, 2], ..plain }),
        (3, Conv { kernel: [1, 3], padding: [2, 0], dilation: [1, 2], ..plain }),
        (3, Conv::pointwise(4)),
        (3, Conv::pointwise(4).stride(2)),
        (4, Conv::depthwise(4, 3)),
        (4, Conv::depthwise(4, 5).stride(2)),
        (2, Conv { groups: 2, dilation: [2, 1], padding: [1, 0], ..plain }),
        // A kernel larger than the picture, reaching into the padding on both sides.
        (3, Conv { padding: [4, 4], kernel: [7, 7], ..plain }),
    ];
    for (channels, conv) in cases {
        let [height, width] = conv.kernel;
        let kernel = [conv.out, channels / conv.groups, height, width];
        check(&[&[2, channels, 5, 6], &kernel], |inputs| apply2(conv, &inputs[0], &inputs[1]));
    }
    let biased = Conv::same(4, 3).stride(2).biased();
    check(&[&[2, 3, 5, 6], &[4, 3, 3, 3], &[4]], |i| apply3(biased, &i[0], &i[1], &i[2]));
}

/// Offsets are no whole numbers: there the derivative jumps.
#[test]
fn deformable_convolutions() {
    let plain = Conv::same(4, 3);
    let cases = [
        (3, plain, 1),
        (3, plain.stride(2), 1),
        (4, Conv { groups: 2, padding: [0, 2], ..plain }, 1),
        // Offset groups that groups of channels cut across, and the other way round.
        (6, Conv { groups: 3, ..Conv::same(3, 3) }, 2),
        (4, Conv { stride: [2, 1], dilation: [1, 2], kernel: [3, 2], ..plain }, 4),
    ];
    for (channels, conv, offset_groups) in cases {
        let deform = DeformConv { conv, offset_groups };
        let [height, width] = conv.kernel;
        let x = [2, channels, 5, 4];
        let kernel = [conv.out, channels / conv.groups, height, width];
        let plain = Op::Conv(conv).infer(&[&x]).unwrap();
        for maps in [deform.offsets(), deform.offsets() + deform.masks()] {
            let maps = [2, maps, plain[2], plain[3]];
            check(&[&x, &maps, &kernel], |i| apply3(deform, &i[0], &(&i[1] * 3.0)?, &i[2]));
        }
    }
}

#[test]
fn largest_values_means_and_products() {
    let shapes: [&[usize]; 1] = [&[2, 3, 5, 6]];
    for axis in 0..4 {
        for count in 1..=2 {
            check(&shapes, |i| apply1(TopK { axis, count }, &i[0]));
        }
        check(&shapes, |i| i[0].mean_keepdim(axis));
    }
    for factor in [[2, 1, 5, 6], [2, 3, 1, 1], [1, 1, 1, 6]] {
        check(&[&[2, 3, 5, 6], &factor], |i| i[0].broadcast_mul(&i[1]));
    }
    // The bias of a deformable convolution.
    check(&[&[2, 3, 5, 6], &[3]], |i| i[0].broadcast_add(&i[1].reshape((1, 3, 1, 1))?));
}

#[test]
fn matrix_products() {
    check(&[&[2, 3, 4, 5], &[2, 3, 5, 2]], |i| apply2(MatMul, &i[0], &i[1]));
    check(&[&[3, 1], &[1, 4]], |i| apply2(MatMul, &i[0], &i[1]));
    // Both sides are made of one value, one of them transposed.
    check(&[&[2, 4, 3]], |i| apply2(MatMul, &i[0], &i[0].transpose(1, 2)?));
}

#[test]
fn normalisations() {
    let shapes: [&[usize]; 3] = [&[2, 4, 5, 3], &[4], &[4]];
    check(&shapes, |i| apply3(ChannelAffine, &i[0], &i[1], &i[2]));
    check(&shapes, |i| apply3(GroupNorm { groups: 2, epsilon: 1e-2 }, &i[0], &i[1], &i[2]));
    check(&shapes, |i| {
        let data = i[0].flatten_all()?.to_vec1::<f64>()?;
        let moments = batch_moments(View { data: &data, shape: i[0].dims() });
        apply3(BatchNorm { moments, epsilon: 1e-2 }, &i[0], &i[1], &i[2])
    });
}

#[test]
fn pooling_and_resizing() {
    let size = [5, 6];
    let shapes: [&[usize]; 1] = [&[2, 3, 5, 6]];
    let pools = [
        Pool::new(3, 2, 1),
        Pool::new(5, 1, 2),
        Pool { ceil: true, count_padding: false, ..Pool::new(2, 2, 0) },
        Pool { kernel: [3, 2], stride: [1, 3], ..Pool::new(2, 2, 1) },
    ];
    for pool in pools {
        check(&shapes, |i| apply1(MaxPool(pool), &i[0]));
        check(&shapes, |i| apply1(Resample::average(&pool, size), &i[0]));
    }
    for to in [[2, 4], [10, 12], [7, 3], [1, 1]] {
        check(&shapes, |i| apply1(Resample::adaptive_average(size, to), &i[0]));
        for mode in [ResizeMode::Nearest, ResizeMode::Bilinear, ResizeMode::BilinearAlignCorners] {
            check(&shapes, |i| apply1(Resample::resize(mode, size, to), &i[0]));
        }
    }
}

#[test]
fn activations_and_softmax() {
    let shapes: [&[usize]; 1] = [&[2, 3, 5, 6]];
    let activations = [
        Activation::Relu,
        Activation::Relu6,
        Activation::LeakyRelu(0.1),
        Activation::Sigmoid,
        Activation::Silu,
        Activation::HardSigmoid,
    ];
    for activation in activations {
        // Spread over both kinks of relu6 and of hard sigmoid.
        check(&shapes, |i| apply1(activation, &(&i[0] * 7.0)?));
    }
    for axis in 0..4 {
        check(&shapes, |i| apply1(Softmax { axis }, &i[0]));
    }
}

/// At a kink there is no derivative; these are PyTorch's.
#[test]
fn derivatives_at_kinks() {
    let slope_at = |activation, x: f64| {
        let x = Var::new(&[x], &Device::Cpu).unwrap();
        let gradients = apply1(activation, &x).unwrap().sum_all().unwrap().backward().unwrap();
        gradients.get(&x).unwrap().to_vec1::<f64>().unwrap()[0]
    };
    assert_eq!(slope_at(Activation::Relu, 0.0), 0.0);
    assert_eq!(slope_at(Activation::LeakyRelu(0.1), 0.0), 0.1);
    assert_eq!(slope_at(Activation::Relu6, 6.0), 0.0);
    assert_eq!(slope_at(Activation::HardSigmoid, 3.0), 0.0);
}

#[test]
fn numbers_that_kernels_cannot_compute_with_are_refused() {
    let x = Tensor::zeros((1, 2, 3, 4), DType::F16, &Device::Cpu).unwrap();
    let message = apply1(Activation::Relu, &x).unwrap_err().to_string();
    assert!(message.contains("f32 and f64 only"), "{message}");
}
