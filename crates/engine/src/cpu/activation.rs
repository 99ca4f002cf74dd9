//! Functions of an element: of slices, in registers, and their gradients.

use pulp::{Simd, WithSimd};

use super::exponential::{exp, exp_in_registers, within};
use network::graph::Activation;

/// Replaces every value by its function.
#[inline(always)]
pub(crate) fn activate(activation: Option<Activation>, values: &mut [f32]) {
    #[inline(always)]
    fn each(values: &mut [f32], function: impl Fn(f32) -> f32) {
        values.iter_mut().for_each(|value| *value = function(*value));
    }
    match activation {
        None => {}
        Some(Activation::Relu) => each(values, |x| if x < 0.0 { 0.0 } else { x }),
        Some(Activation::Relu6) => each(values, relu6),
        Some(Activation::LeakyRelu(slope)) => {
            let slope = slope as f32;
            each(values, |x| if x > 0.0 { x } else { x * slope });
        }
        Some(Activation::Sigmoid) => each(values, sigmoid),
        Some(Activation::Silu) => each(values, |x| x * sigmoid(x)),
        Some(Activation::HardSigmoid) => each(values, |x| relu6(x + 3.0) / 6.0),
    }
}

#[inline(always)]
fn relu6(x: f32) -> f32 {
    let x = if x < 0.0 { 0.0 } else { x };
    if x > 6.0 { 6.0 } else { x }
}

#[inline(always)]
fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}

/// Never part of another function: its many constants would be kept in registers there, instead of sums.
#[inline(never)]
pub(super) fn activate_floats<S: Simd>(simd: S, activation: Option<Activation>, floats: &mut [f32]) {
    simd.vectorize(Activate { activation, floats });
}

struct Activate<'a> {
    activation: Option<Activation>,
    floats: &'a mut [f32],
}

impl WithSimd for Activate<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let (whole, rest) = S::as_mut_simd_f32s(self.floats);
        for slot in whole {
            *slot = activated(simd, self.activation, *slot);
        }
        if !rest.is_empty() {
            let register = simd.partial_load_f32s(rest);
            simd.partial_store_f32s(rest, activated(simd, self.activation, register));
        }
    }
}

/// A function of every float of a register.
#[inline(always)]
pub(super) fn activated<S: Simd>(simd: S, activation: Option<Activation>, x: S::f32s) -> S::f32s {
    match activation {
        Some(Activation::Sigmoid) => sigmoid_in_registers(simd, x),
        Some(Activation::Silu) => simd.mul_f32s(x, sigmoid_in_registers(simd, x)),
        Some(Activation::Relu6) => relu6_in_registers(simd, x),
        Some(Activation::HardSigmoid) => {
            let shifted = relu6_in_registers(simd, simd.add_f32s(x, simd.splat_f32s(3.0)));
            simd.mul_f32s(shifted, simd.splat_f32s(1.0 / 6.0))
        }
        None | Some(Activation::Relu | Activation::LeakyRelu(_)) => simple(simd, activation, x),
    }
}

/// One of those that take two or three instructions; the others leave the register as it is.
#[inline(always)]
pub(super) fn simple<S: Simd>(simd: S, activation: Option<Activation>, x: S::f32s) -> S::f32s {
    let zero = simd.splat_f32s(0.0);
    match activation {
        // A comparison and not a maximum, so that NaN stays NaN.
        Some(Activation::Relu) => simd.select_f32s(simd.less_than_f32s(x, zero), zero, x),
        Some(Activation::LeakyRelu(slope)) => {
            let scaled = simd.mul_f32s(x, simd.splat_f32s(slope as f32));
            simd.select_f32s(simd.less_than_f32s(zero, x), x, scaled)
        }
        _ => x,
    }
}

#[inline(always)]
fn relu6_in_registers<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    within(simd, x, 0.0, 6.0)
}

#[inline(always)]
fn sigmoid_in_registers<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    let one = simd.splat_f32s(1.0);
    simd.div_f32s(one, simd.add_f32s(one, exp_in_registers(simd, simd.neg_f32s(x))))
}

/// A gradient times the derivative of a function at `x`; at a kink what PyTorch takes.
#[inline(always)]
pub(super) fn activation_gradient<S: Simd>(
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
            let (value, rest) = sigmoid_and_rest(simd, x);
            simd.mul_f32s(gradient, simd.mul_f32s(value, rest))
        }
        Some(Activation::Silu) => {
            let (value, rest) = sigmoid_and_rest(simd, x);
            let factor = simd.mul_add_e_f32s(x, rest, simd.splat_f32s(1.0));
            simd.mul_f32s(gradient, simd.mul_f32s(value, factor))
        }
    }
}

/// The sigmoid and what is missing to one.
#[inline(always)]
fn sigmoid_and_rest<S: Simd>(simd: S, x: S::f32s) -> (S::f32s, S::f32s) {
    let value = sigmoid_in_registers(simd, x);
    (value, simd.sub_f32s(simd.splat_f32s(1.0), value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu::instructions::Instructions;
    use crate::cpu::registers::{load, store};
    use crate::cpu::value::{Value, assert_near};
    use crate::reference::kernel::Kernel;

    const ACTIVATIONS: [Activation; 6] = [
        Activation::Relu,
        Activation::Relu6,
        Activation::LeakyRelu(0.125),
        Activation::Sigmoid,
        Activation::Silu,
        Activation::HardSigmoid,
    ];

    #[test]
    fn functions_equal_the_references() {
        let x = Value::packed([1, 100, 1, 1], 1).map(|x| 8.0 * x);
        for activation in ACTIVATIONS {
            let mut found = x.floats.clone();
            activate(Some(activation), &mut found);
            assert_near(&found, &activation.forward([x.view()]).0);
            let mut none = [f32::NAN];
            activate(Some(activation), &mut none);
            assert!(none[0].is_nan(), "{activation:?}");
        }
    }

    struct Activated<'a>(Activation, &'a mut [f32]);

    impl WithSimd for Activated<'_> {
        type Output = ();

        #[inline(always)]
        fn with_simd<S: Simd>(self, simd: S) {
            for floats in self.1.chunks_mut(S::F32_LANES) {
                let [register] = load::<S, 1>(simd, floats);
                store(simd, &[register], Some(self.0), floats);
            }
        }
    }

    #[test]
    fn functions_of_registers_equal_those_of_floats() {
        let x: Vec<f32> =
            (-2000..2000).map(|step| step as f32 / 15.0).chain([f32::NAN, 1e30, -1e30]).collect();
        for activation in [
            Activation::Sigmoid,
            Activation::Silu,
            Activation::Relu6,
            Activation::HardSigmoid,
            Activation::Relu,
        ] {
            let (mut expected, mut found) = (x.clone(), x.clone());
            activate(Some(activation), &mut expected);
            Instructions::get().run(Activated(activation, &mut found));
            for ((found, expected), x) in found.iter().zip(&expected).zip(&x) {
                let is_equal = (found - expected).abs() <= 4.0 * f32::EPSILON * expected.abs();
                assert!(
                    is_equal || (found.is_nan() && x.is_nan()),
                    "{activation:?} of {x}: {found}, {expected}"
                );
            }
        }
    }
}
