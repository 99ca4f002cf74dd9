//! Derivatives of functions of an element, in registers.

use pulp::Simd;

use network::graph::Activation;

/// A gradient times the derivative of a function at `x`; at a kink what PyTorch takes.
#[inline(always)]
pub(super) fn descend<S: Simd>(
    simd: S,
    activation: Option<Activation>,
    x: S::f32s,
    gradient: S::f32s,
) -> S::f32s {
    let zero = simd.splat_f32s(0.0);
    match activation {
        None => gradient,
        Some(Activation::Relu) => simd.select_f32s(simd.less_than_f32s(zero, x), gradient, zero),
        Some(Activation::LeakyRelu(slope)) => {
            let scaled = simd.mul_f32s(gradient, simd.splat_f32s(slope as f32));
            simd.select_f32s(simd.less_than_f32s(zero, x), gradient, scaled)
        }
        Some(Activation::Relu6) => {
            let below = simd.select_f32s(simd.less_than_f32s(x, simd.splat_f32s(6.0)), gradient, zero);
            simd.select_f32s(simd.less_than_f32s(zero, x), below, zero)
        }
        Some(Activation::HardSigmoid) => {
            let scaled = simd.mul_f32s(gradient, simd.splat_f32s(1.0 / 6.0));
            let below = simd.select_f32s(simd.less_than_f32s(x, simd.splat_f32s(3.0)), scaled, zero);
            simd.select_f32s(simd.less_than_f32s(simd.splat_f32s(-3.0), x), below, zero)
        }
        Some(Activation::Sigmoid) => {
            let (value, rest) = sigmoid(simd, x);
            simd.mul_f32s(gradient, simd.mul_f32s(value, rest))
        }
        Some(Activation::Silu) => {
            let (value, rest) = sigmoid(simd, x);
            let factor = simd.mul_add_e_f32s(x, rest, simd.splat_f32s(1.0));
            simd.mul_f32s(gradient, simd.mul_f32s(value, factor))
        }
    }
}

/// The sigmoid and what is missing to one.
#[inline(always)]
fn sigmoid<S: Simd>(simd: S, x: S::f32s) -> (S::f32s, S::f32s) {
    let value = super::registers::activated(simd, Some(Activation::Sigmoid), x);
    (value, simd.sub_f32s(simd.splat_f32s(1.0), value))
}
