//! Floats in registers.

use pulp::Simd;

use super::elementwise::activate;
use crate::graph::Activation;

/// The first floats in `COUNT` registers; zeros beyond the end.
#[inline(always)]
pub(super) fn load<S: Simd, const COUNT: usize>(simd: S, floats: &[f32]) -> [S::f32s; COUNT] {
    let (whole, rest) = S::as_simd_f32s(floats);
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
    let (whole, rest) = S::as_mut_simd_f32s(floats);
    for (slot, register) in whole.iter_mut().zip(registers) {
        *slot = activated(simd, activation, *register);
    }
    if let (false, Some(register)) = (rest.is_empty(), registers.get(whole.len())) {
        simd.partial_store_f32s(rest, activated(simd, activation, *register));
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
    let zero = simd.splat_f32s(0.0);
    match activation {
        None => x,
        // A comparison and not a maximum, so that NaN stays NaN.
        Some(Activation::Relu) => simd.select_f32s(simd.less_than_f32s(x, zero), zero, x),
        Some(Activation::LeakyRelu(slope)) => {
            let scaled = simd.mul_f32s(x, simd.splat_f32s(slope as f32));
            simd.select_f32s(simd.less_than_f32s(zero, x), x, scaled)
        }
        Some(_) => {
            let mut x = x;
            activate(activation, pulp::bytemuck::cast_slice_mut(std::slice::from_mut(&mut x)));
            x
        }
    }
}
