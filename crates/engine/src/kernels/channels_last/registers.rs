//! Floats in registers.

use pulp::{Simd, WithSimd};

use super::elementwise::{LIMIT, LN_2, ROUNDING, SERIES};
use network::graph::Activation;

/// The first floats in `COUNT` registers; zeros beyond the end.
#[inline(always)]
pub(super) fn load<S: Simd, const COUNT: usize>(simd: S, floats: &[f32]) -> [S::f32s; COUNT] {
    let (whole, rest) = S::as_simd_f32s(floats);
    if let Some(all) = whole.first_chunk() {
        return *all;
    }
    std::array::from_fn(|at| match whole.get(at) {
        Some(register) => *register,
        None if at == whole.len() => simd.partial_load_f32s(rest),
        None => simd.splat_f32s(0.0),
    })
}

/// Writes a function of registers, as far as there is room.
#[inline(always)]
pub(super) fn store<S: Simd>(
    simd: S,
    registers: &[S::f32s],
    activation: Option<Activation>,
    floats: &mut [f32],
) {
    match activation {
        None | Some(Activation::Relu | Activation::LeakyRelu(_)) => {
            write(simd, registers, activation, floats);
        }
        Some(_) => {
            write(simd, registers, None, floats);
            activate_floats(simd, activation, floats);
        }
    }
}

#[inline(always)]
fn write<S: Simd>(simd: S, registers: &[S::f32s], activation: Option<Activation>, floats: &mut [f32]) {
    let (whole, rest) = S::as_mut_simd_f32s(floats);
    for (slot, register) in whole.iter_mut().zip(registers) {
        *slot = simple(simd, activation, *register);
    }
    if let (false, Some(register)) = (rest.is_empty(), registers.get(whole.len())) {
        simd.partial_store_f32s(rest, simple(simd, activation, *register));
    }
}

/// Never part of another function: its many constants would be kept in registers there, instead of sums.
#[inline(never)]
fn activate_floats<S: Simd>(simd: S, activation: Option<Activation>, floats: &mut [f32]) {
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

/// Adds rows of registers, as many as there are.
#[inline(always)]
pub(super) fn add<S: Simd, const REGISTERS: usize>(
    simd: S,
    rows: &mut [[S::f32s; REGISTERS]],
    sums: &[[S::f32s; REGISTERS]],
) {
    for (slots, sums) in rows.iter_mut().zip(sums) {
        for (slot, sum) in slots.iter_mut().zip(sums) {
            *slot = simd.add_f32s(*slot, *sum);
        }
    }
}

/// A function of every float of a register.
#[inline(always)]
pub(super) fn activated<S: Simd>(simd: S, activation: Option<Activation>, x: S::f32s) -> S::f32s {
    match activation {
        Some(Activation::Sigmoid) => sigmoid(simd, x),
        Some(Activation::Silu) => simd.mul_f32s(x, sigmoid(simd, x)),
        Some(Activation::Relu6) => relu6(simd, x),
        Some(Activation::HardSigmoid) => {
            let shifted = relu6(simd, simd.add_f32s(x, simd.splat_f32s(3.0)));
            simd.mul_f32s(shifted, simd.splat_f32s(1.0 / 6.0))
        }
        None | Some(Activation::Relu | Activation::LeakyRelu(_)) => simple(simd, activation, x),
    }
}

/// One of those that take two or three instructions; the others leave the register as it is.
#[inline(always)]
fn simple<S: Simd>(simd: S, activation: Option<Activation>, x: S::f32s) -> S::f32s {
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
fn relu6<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    within(simd, x, 0.0, 6.0)
}

/// NaN stays NaN.
#[inline(always)]
fn within<S: Simd>(simd: S, x: S::f32s, least: f32, most: f32) -> S::f32s {
    let [least, most] = [simd.splat_f32s(least), simd.splat_f32s(most)];
    let x = simd.select_f32s(simd.less_than_f32s(x, least), least, x);
    simd.select_f32s(simd.less_than_f32s(most, x), most, x)
}

#[inline(always)]
fn sigmoid<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    let one = simd.splat_f32s(1.0);
    simd.div_f32s(one, simd.add_f32s(one, exp(simd, simd.neg_f32s(x))))
}

/// As [`exp`](super::elementwise::exp) of single floats, step by step.
#[inline(always)]
fn exp<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    let factor = |factor: f32| simd.splat_f32s(factor);
    let x = within(simd, x, -LIMIT, LIMIT);
    let n = rounded(simd, simd.mul_f32s(x, factor(std::f32::consts::LOG2_E)));
    let r = simd.mul_add_e_f32s(n, factor(-LN_2[0]), x);
    let r = simd.mul_add_e_f32s(n, factor(-LN_2[1]), r);
    let mut value = simd.splat_f32s(0.0);
    for term in SERIES {
        value = simd.mul_add_e_f32s(value, r, simd.splat_f32s(term));
    }
    let half = rounded(simd, simd.mul_f32s(n, factor(0.5)));
    let rest = simd.sub_f32s(n, half);
    simd.mul_f32s(simd.mul_f32s(value, power_of_two(simd, half)), power_of_two(simd, rest))
}

/// The nearest integer.
#[inline(always)]
fn rounded<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    let rounding = simd.splat_f32s(ROUNDING);
    simd.sub_f32s(simd.add_f32s(x, rounding), rounding)
}

/// 2^n for an integer within the range of exponents.
#[inline(always)]
fn power_of_two<S: Simd>(simd: S, n: S::f32s) -> S::f32s {
    // The lowest bits of the sum are those of n + 127; what is above them is shifted out.
    let biased = simd.add_f32s(n, simd.splat_f32s(ROUNDING + 127.0));
    let bits = simd.wrapping_dyn_shl_u32s(simd.transmute_u32s_f32s(biased), simd.splat_u32s(23));
    simd.transmute_f32s_u32s(bits)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::channels_last::elementwise::activate;
    use crate::kernels::channels_last::instructions::Instructions;

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
