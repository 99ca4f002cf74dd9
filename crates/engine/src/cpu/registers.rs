//! Floats in registers.

use pulp::Simd;

use super::activation::{activate_floats, simple};
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
